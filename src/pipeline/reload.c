/* A list of streams that was read again: the difference goes to the run, and nothing else is touched. */
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/pipeline_priv.h"

static bool same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

/* Whether a running stream can become that one: what cannot be set is the same. */
static bool same_stream(const om_stream_options *a, const om_stream_options *b)
{
    om_str x = {0}, y = {0};
    bool same = same_text(a->uri, b->uri);
    for (const om_option *o = om_stream_option_table; o->name && same; o++) {
        if (om_stream_is_tunable(o->name)) continue;
        om_str_clear(&x);
        om_str_clear(&y);
        same = !om_option_get(om_stream_option_table, a, o->name, &x) &&
               !om_option_get(om_stream_option_table, b, o->name, &y) &&
               !strcmp(om_str_get(&x), om_str_get(&y));
    }
    om_str_fini(&x);
    om_str_fini(&y);
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

/* Listed streams that are not in `c`, or not as they are. */
static names outdated(om_pipeline *p, const om_config *c)
{
    names out = {.err = OM_OK};
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < p->n_streams && !out.err; i++) {
        const om_stream_run *s = p->streams[i];
        pthread_mutex_lock(&p->lock);
        const om_stream_options *want = find(c, s->name);
        bool stale = s->listed && !s->leaving && (!want || !same_stream(&s->own, want));
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
