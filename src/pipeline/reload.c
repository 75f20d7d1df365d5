/* A list of streams that was read again: the difference goes to the run, and nothing else is touched. */
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/pipeline_priv.h"
#include "pipeline/second_config.h"

static bool same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

static bool same_option(const om_option *table, const void *a, const void *b, const char *name)
{
    om_str x = {0}, y = {0};
    bool same = !om_option_get(table, a, name, &x) && !om_option_get(table, b, name, &y) &&
                !strcmp(om_str_get(&x), om_str_get(&y));
    om_str_fini(&x);
    om_str_fini(&y);
    return same;
}

/* Whether a running stream can become that one: what cannot be set is the same. */
static bool same_stream(const om_stream_options *a, const om_stream_options *b)
{
    bool same = same_text(a->uri, b->uri);
    for (const om_option *o = om_stream_option_table; o->name && same; o++)
        same = om_stream_is_tunable(o->name) || same_option(om_stream_option_table, a, b, o->name);
    return same;
}

static const om_stream_options *find(const om_config *c, const char *name)
{
    for (size_t i = 0; i < c->n_streams; i++)
        if (same_text(c->streams[i].name, name)) return &c->streams[i];
    return NULL;
}

typedef struct names {
    om_strlist list;
    int err;
} names;

/* Listed streams that are not in `c`, or not as they are, or have failed and are to be tried again. */
static names outdated(om_pipeline *p, const om_config *c)
{
    names out = {.err = OM_OK};
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < p->n_streams && !out.err; i++) {
        const om_stream_run *s = p->streams[i];
        pthread_mutex_lock(&p->lock);
        const om_stream_options *want = find(c, s->name);
        bool failed = s->state == OM_STREAM_FAILED;
        bool stale = s->listed && !s->leaving && (failed || !want || !same_stream(&s->own, want));
        pthread_mutex_unlock(&p->lock);
        if (stale) out.err = om_strlist_add(&out.list, s->name);
    }
    pthread_mutex_unlock(&p->roster);
    return out;
}

/* A name that somebody has given to a stream of the run cannot be the list's. */
static int check_names(om_pipeline *p, const om_config *c)
{
    int err = OM_OK;
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < c->n_streams && !err; i++) {
        const om_stream_run *s = om_roster_find(p, c->streams[i].name);
        if (s && !s->listed)
            err = om_fail(OM_ERR_ARG, "stream '%s' was added to the run by that name already", s->name);
    }
    pthread_mutex_unlock(&p->roster);
    return err;
}

/* Of a stream that stays: what may be set. True when something was. */
static bool retune(om_pipeline *p, const om_stream_options *want)
{
    static const char *const options[] = {"priority", "weight", "fps", "every"};
    bool changed = false;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        om_str is = {0}, to = {0};
        pthread_mutex_lock(&p->roster);
        om_stream_run *s = om_roster_find(p, want->name);
        if (s) {
            pthread_mutex_lock(&p->lock);
            om_option_get(om_stream_option_table, &s->own, options[i], &is);
            pthread_mutex_unlock(&p->lock);
        }
        pthread_mutex_unlock(&p->roster);
        om_option_get(om_stream_option_table, want, options[i], &to);
        if (s && strcmp(om_str_get(&is), om_str_get(&to)) &&
            !om_pipeline_set_stream(p, want->name, options[i], om_str_get(&to)))
            changed = true;
        om_str_fini(&is);
        om_str_fini(&to);
    }
    return changed;
}

static bool runs(om_pipeline *p, const char *name)
{
    pthread_mutex_lock(&p->roster);
    bool there = om_roster_find(p, name) != NULL;
    pthread_mutex_unlock(&p->roster);
    return there;
}

int om_pipeline_reload(om_pipeline *p, om_config *c, om_reload *out)
{
    memset(out, 0, sizeof(*out));
    int err = check_names(p, c);
    if (err) return err;
    names old = outdated(p, c);
    for (size_t i = 0; i < old.list.n && !old.err; i++)
        out->removed += om_pipeline_remove_stream(p, old.list.items[i]) == OM_OK;
    om_strlist_fini(&old.list);
    if (old.err) return old.err;
    for (size_t i = 0; i < c->n_streams; i++) {
        om_stream_options *want = &c->streams[i];
        if (runs(p, want->name)) {
            out->changed += retune(p, want);
            continue;
        }
        char *name = om_strdup(want->name);
        err = om_pipeline_add(p, want, true, NULL); /* takes it over */
        if (err) {
            om_log(OM_LOG_ERROR, "stream '%s' could not be added: %s", name ? name : "", om_error_message());
            out->failed++;
        } else {
            out->added++;
        }
        om_free(name);
    }
    return OM_OK;
}

static const om_second_options *find_second(const om_config *c, const char *name)
{
    for (size_t i = 0; i < c->n_seconds; i++)
        if (same_text(c->seconds[i].name, name)) return &c->seconds[i];
    return NULL;
}

static bool same_second(const om_second_options *a, const om_second_options *b)
{
    bool same = b != NULL;
    for (const om_option *o = om_second_option_table; o->name && same; o++)
        same = same_option(om_second_option_table, a, b, o->name);
    return same;
}

static void name_difference(om_str *out, const char *what, const char *name)
{
    om_str_addf(out, "%s%s", out->len ? ", " : "", what);
    if (name) om_str_addf(out, " '%s'", name);
}

/* Those that have changed or gone, and those that are new. */
static void seconds_that_differ(const om_config *is, const om_config *c, om_str *out)
{
    for (size_t i = 0; i < is->n_seconds; i++)
        if (!same_second(&is->seconds[i], find_second(c, is->seconds[i].name)))
            name_difference(out, "secondary", is->seconds[i].name);
    for (size_t i = 0; i < c->n_seconds; i++)
        if (!find_second(is, c->seconds[i].name)) name_difference(out, "secondary", c->seconds[i].name);
}

int om_pipeline_differs(om_pipeline *p, const om_config *c, om_str *out)
{
    const om_config *is = &p->config; /* nobody changes it once the run has started */
    for (const om_option *o = om_run_option_table; o->name; o++)
        if (!same_option(om_run_option_table, &is->run, &c->run, o->name))
            name_difference(out, o->name, NULL);
    seconds_that_differ(is, c, out);
    bool sinks = is->sinks.n == c->sinks.n;
    for (size_t i = 0; i < is->sinks.n && sinks; i++)
        sinks = same_text(is->sinks.items[i], c->sinks.items[i]);
    if (!sinks) name_difference(out, "sinks", NULL);
    return out->failed ? OM_ERR_NOMEM : OM_OK;
}
