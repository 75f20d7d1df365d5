/* The run's sinks: shared ones serve all lanes, per-stream ones one lane each. */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/pipeline_priv.h"

#define OM_STOP_SINKS_NS (300 * OM_NS_PER_MS)

static void room_in_shared(void *user)
{
    om_pipeline *p = user;
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < p->n_streams; i++) om_lane_kick(&p->streams[i]->lane);
    pthread_mutex_unlock(&p->roster);
}

static void room_in_own(void *user) { om_lane_kick(user); }

static om_sink_params params_of(const om_pipeline *p)
{
    return (om_sink_params){.policy = (om_sink_policy)p->config.run.sink_policy,
                            .queue = p->config.run.sink_queue,
                            .font = p->font,
                            .append = p->taken != NULL};
}

static bool exists(const char *spec, const char *name)
{
    const char *target = strchr(spec, ':'), *mark = target ? strstr(target, "%s") : NULL;
    char *path = mark ? om_sprintf("%.*s%s%s", (int)(mark - target - 1), target + 1, name, mark + 2) : NULL;
    bool there = path && access(path, F_OK) == 0;
    om_free(path);
    return there;
}

/* What stands for %s: the stream's name; of one that comes while the run goes on "NAME-2", "NAME-3", ..., so
 * that a stream that comes back does not write over what it left. */
static char *own_label(const om_stream_run *s, const char *spec)
{
    char *label = om_strdup(s->name);
    bool appends = s->pipeline->taken && om_sink_ops_for(spec)->flags & OM_SINK_APPENDS;
    bool anew = s->added || (s->pipeline->taken && !appends);
    for (int n = 2; anew && label && exists(spec, label); n++) {
        om_free(label);
        label = om_sprintf("%s-%d", s->name, n);
    }
    return label;
}

/* The same without %s, of a sink that cannot append to what the process before has written: "boxes-2.mp4". */
static char *numbered(const char *spec)
{
    const char *target = strchr(spec, ':') + 1, *slash = strrchr(target, '/'), *dot = strrchr(target, '.');
    size_t stem = dot && dot > (slash ? slash + 1 : target) ? (size_t)(dot - spec) : strlen(spec);
    char *out = om_strdup(spec);
    for (int n = 2; out && access(out + (target - spec), F_OK) == 0; n++) {
        om_free(out);
        out = om_sprintf("%.*s-%d%s", (int)stem, spec, n, spec + stem);
    }
    return out;
}

static int open_own(om_stream_run *s, const char *spec)
{
    om_pipeline *p = s->pipeline;
    om_sink_params params = params_of(p);
    bool many = s->added || p->config.n_streams > 1 || om_pipeline_keeps(p);
    if (many && !strstr(spec, "%s"))
        return om_fail(OM_ERR_ARG,
                       "sink '%s' makes one file a stream: put %%s into its name, which becomes the stream's",
                       spec);
    char *label = own_label(s, spec);
    if (!label) return OM_ERR_NOMEM;
    bool renamed = p->taken && !strstr(spec, "%s") && !(om_sink_ops_for(spec)->flags & OM_SINK_APPENDS);
    char *own = renamed ? numbered(spec) : NULL;
    om_sink *sink = NULL;
    int err = renamed && !own ? OM_ERR_NOMEM : om_sink_open(own ? own : spec, label, &params, &sink);
    om_free(label);
    om_free(own);
    if (err) return err;
    om_sink_on_room(sink, room_in_own, &s->lane);
    s->own_sinks[s->n_own++] = sink;
    return OM_OK;
}

int om_stream_open_sinks(om_stream_run *s)
{
    om_pipeline *p = s->pipeline;
    const om_strlist *specs = &p->config.sinks;
    s->own_sinks = om_calloc(specs->n + 1, sizeof(*s->own_sinks));
    s->lane.sinks = om_calloc(p->n_shared + specs->n + 1, sizeof(*s->lane.sinks));
    if (!s->own_sinks || !s->lane.sinks) return OM_ERR_NOMEM;
    for (size_t i = 0; i < specs->n; i++) {
        int err = om_sink_is_per_stream(specs->items[i]) ? open_own(s, specs->items[i]) : OM_OK;
        if (err) return err;
    }
    for (size_t i = 0; i < p->n_shared; i++) s->lane.sinks[s->lane.n_sinks++] = p->shared_sinks[i];
    for (size_t i = 0; i < s->n_own; i++) s->lane.sinks[s->lane.n_sinks++] = s->own_sinks[i];
    return OM_OK;
}

int om_pipeline_open_sinks(om_pipeline *p)
{
    const om_strlist *specs = &p->config.sinks;
    om_sink_params params = params_of(p);
    p->shared_sinks = om_calloc(specs->n + 1, sizeof(*p->shared_sinks));
    if (!p->shared_sinks) return OM_ERR_NOMEM;
    for (size_t i = 0; i < specs->n; i++) {
        if (!om_sink_ops_for(specs->items[i])) return OM_ERR_ARG;
        if (om_sink_is_per_stream(specs->items[i])) continue;
        om_sink *sink;
        int err = om_sink_open(specs->items[i], NULL, &params, &sink);
        if (err) return err;
        om_sink_on_room(sink, room_in_shared, p);
        p->shared_sinks[p->n_shared++] = sink;
    }
    return OM_OK;
}

static void note_failure(om_pipeline *p, int err)
{
    om_log(OM_LOG_ERROR, "%s", om_error_message());
    om_pipeline_note_error(p, err);
}

bool om_stream_finish_sinks(om_stream_run *s, int timeout_ms)
{
    if (s->own_finished) return true;
    for (size_t k = 0; k < s->n_own; k++)
        if (om_sink_finish(s->own_sinks[k], timeout_ms) == OM_ERR_TIMEOUT) return false;
    s->own_finished = true;
    for (size_t k = 0; k < s->n_own; k++) {
        int err = om_sink_finish(s->own_sinks[k], 0);
        if (err) note_failure(s->pipeline, err);
    }
    return true;
}

void om_stream_close_sinks(om_stream_run *s)
{
    pthread_mutex_lock(&s->pipeline->roster); /* reports walk them */
    om_sink **own = s->own_sinks;
    size_t n = s->n_own;
    s->own_sinks = NULL;
    s->n_own = 0;
    pthread_mutex_unlock(&s->pipeline->roster);
    for (size_t k = 0; k < n; k++) om_sink_destroy(own[k]);
    om_free(own);
}

/* A whole run may take its time to drain; after a stop there is a bound, and a sink that hangs is left
 * behind. */
static void finish(om_pipeline *p, om_sink *s)
{
    int err;
    while ((err = om_sink_finish(s, 100)) == OM_ERR_TIMEOUT) {
        pthread_mutex_lock(&p->lock);
        bool late = p->stopping && om_now_ns() > p->stop_ns + 1000 * OM_NS_PER_MS + OM_STOP_SINKS_NS;
        if (late) p->abandoned = true;
        pthread_mutex_unlock(&p->lock);
        if (!late) continue;
        om_fail(err, "sink '%s' did not finish in time: it may have lost its last records", s->spec);
        break;
    }
    if (err) note_failure(p, err);
}

void om_pipeline_finish_sinks(om_pipeline *p)
{
    for (size_t i = 0; i < p->n_shared; i++) finish(p, p->shared_sinks[i]);
    for (size_t i = 0; i < p->n_streams; i++) {
        om_stream_run *s = p->streams[i];
        for (size_t k = 0; k < s->n_own && !s->own_finished; k++) finish(p, s->own_sinks[k]);
        s->own_finished = true;
    }
}

void om_pipeline_close_sinks(om_pipeline *p)
{
    for (size_t i = 0; i < p->n_shared; i++) om_sink_destroy(p->shared_sinks[i]);
    om_free(p->shared_sinks);
}
