/* The run's sinks: shared ones serve all lanes, per-stream ones one lane each. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/pipeline_priv.h"

#define OM_STOP_SINKS_NS (300 * OM_NS_PER_MS)

static void room_in_shared(void *user)
{
    om_pipeline *p = user;
    for (size_t i = 0; i < p->n_streams; i++) om_lane_kick(&p->streams[i].lane);
}

static void room_in_own(void *user) { om_lane_kick(user); }

static int open_own(om_pipeline *p, const char *spec, const om_sink_params *params)
{
    if (p->n_streams > 1 && !strstr(spec, "%s"))
        return om_fail(OM_ERR_ARG,
                       "sink '%s' makes one file a stream: put %%s into its name, which becomes the stream's",
                       spec);
    for (size_t i = 0; i < p->n_streams; i++) {
        om_stream_run *s = &p->streams[i];
        om_sink *sink;
        int err = om_sink_open(spec, s->name, params, &sink);
        if (err) return err;
        om_sink_on_room(sink, room_in_own, &s->lane);
        s->own_sinks[s->n_own++] = sink;
    }
    return OM_OK;
}

static int open_shared(om_pipeline *p, const char *spec, const om_sink_params *params)
{
    om_sink *sink;
    int err = om_sink_open(spec, NULL, params, &sink);
    if (err) return err;
    om_sink_on_room(sink, room_in_shared, p);
    p->shared_sinks[p->n_shared++] = sink;
    return OM_OK;
}

static int connect(om_pipeline *p, om_stream_run *s)
{
    s->lane.sinks = om_calloc(p->n_shared + s->n_own + 1, sizeof(*s->lane.sinks));
    if (!s->lane.sinks) return OM_ERR_NOMEM;
    for (size_t i = 0; i < p->n_shared; i++) s->lane.sinks[s->lane.n_sinks++] = p->shared_sinks[i];
    for (size_t i = 0; i < s->n_own; i++) s->lane.sinks[s->lane.n_sinks++] = s->own_sinks[i];
    return OM_OK;
}

int om_pipeline_open_sinks(om_pipeline *p)
{
    const om_strlist *specs = &p->config.sinks;
    om_sink_params params = {.policy = (om_sink_policy)p->config.run.sink_policy,
                             .queue = p->config.run.sink_queue};
    p->shared_sinks = om_calloc(specs->n + 1, sizeof(*p->shared_sinks));
    if (!p->shared_sinks) return OM_ERR_NOMEM;
    for (size_t i = 0; i < p->n_streams; i++) {
        p->streams[i].own_sinks = om_calloc(specs->n + 1, sizeof(om_sink *));
        if (!p->streams[i].own_sinks) return OM_ERR_NOMEM;
    }
    int err = OM_OK;
    for (size_t i = 0; i < specs->n && !err; i++) {
        const char *spec = specs->items[i];
        const om_sink_ops *ops = om_sink_ops_for(spec);
        if (!ops) return OM_ERR_ARG;
        if (ops->flags & OM_SINK_WANTS_FRAMES) p->engine->keep_frames = true;
        err = om_sink_is_per_stream(spec) ? open_own(p, spec, &params) : open_shared(p, spec, &params);
    }
    for (size_t i = 0; i < p->n_streams && !err; i++) err = connect(p, &p->streams[i]);
    return err;
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
    if (!err) return;
    om_log(OM_LOG_ERROR, "%s", om_error_message());
    om_pipeline_note_error(p, err);
}

void om_pipeline_finish_sinks(om_pipeline *p)
{
    for (size_t i = 0; i < p->n_shared; i++) finish(p, p->shared_sinks[i]);
    for (size_t i = 0; i < p->n_streams; i++)
        for (size_t k = 0; k < p->streams[i].n_own; k++) finish(p, p->streams[i].own_sinks[k]);
}

void om_pipeline_close_sinks(om_pipeline *p)
{
    for (size_t i = 0; i < p->n_shared; i++) om_sink_destroy(p->shared_sinks[i]);
    om_free(p->shared_sinks);
    for (size_t i = 0; i < p->n_streams; i++) {
        for (size_t k = 0; k < p->streams[i].n_own; k++) om_sink_destroy(p->streams[i].own_sinks[k]);
        om_free(p->streams[i].own_sinks);
    }
}
