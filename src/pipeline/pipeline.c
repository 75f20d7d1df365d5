/* The pipeline's life: create, configure, start, wait, stop, destroy. */
#include "pipeline/pipeline.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/pipeline_priv.h"

#define OM_RING_FILE 2 /* pictures a file's mailbox holds */
#define OM_RING_GPU 64 /* all files' together where a GPU decodes, so that few files fill its batches */
#define OM_CREDITS 32  /* of a stream whose results carry no pictures */
#define OM_CREDITS_PICTURES 8 /* of one whose results keep their pictures alive */
#define OM_STOP_LANES_NS (900 * OM_NS_PER_MS)
#define OM_JOIN_NS (800 * OM_NS_PER_MS) /* a camera's goodbye may take 500 */

int om_pipeline_create(om_pipeline **out)
{
    om_config c;
    *out = NULL;
    int err = om_config_init(&c);
    return err ? err : om_pipeline_create_from(&c, out);
}

int om_pipeline_create_from(om_config *c, om_pipeline **out)
{
    *out = NULL;
    om_pipeline *p = om_calloc(1, sizeof(*p));
    if (!p) {
        om_config_fini(c);
        return OM_ERR_NOMEM;
    }
    p->config = *c;
    memset(c, 0, sizeof(*c));
    pthread_mutex_init(&p->lock, NULL);
    om_cond_init(&p->changed);
    om_cancel_init(&p->cancel);
    *out = p;
    return OM_OK;
}

static int refuse_started(const om_pipeline *p, const char *what)
{
    return p->started ? om_fail(OM_ERR_ARG, "%s: the pipeline has been started already", what) : OM_OK;
}

int om_pipeline_set(om_pipeline *p, const char *option, const char *value)
{
    int err = refuse_started(p, option);
    return err ? err : om_option_set(om_run_option_table, &p->config.run, option, value);
}

int om_pipeline_add_stream(om_pipeline *p, const char *uri, const char *name)
{
    int err = refuse_started(p, uri);
    return err ? err : om_config_add_stream(&p->config, uri, name);
}

int om_pipeline_add_sink(om_pipeline *p, const char *spec)
{
    int err = refuse_started(p, spec);
    if (err) return err;
    return om_sink_ops_for(spec) ? om_strlist_add(&p->config.sinks, spec) : OM_ERR_ARG;
}

int om_pipeline_on_result(om_pipeline *p, om_result_fn fn, void *user)
{
    int err = refuse_started(p, "callback");
    if (err) return err;
    p->callback = fn;
    p->callback_user = user;
    return OM_OK;
}

void om_pipeline_end_with_sinks(om_pipeline *p) { p->end_with_sinks = true; }

void om_pipeline_note_error(om_pipeline *p, int code)
{
    pthread_mutex_lock(&p->lock);
    if (!p->error) {
        /* A time-out of om_pipeline_wait() means that the run goes on: a camera's must not be taken for that.
         */
        p->error = code == OM_ERR_TIMEOUT ? OM_ERR_IO : code;
        snprintf(p->error_text, sizeof(p->error_text), "%s", om_error_message());
    }
    pthread_mutex_unlock(&p->lock);
}

static void engine_failed(void *user, int code)
{
    om_pipeline_note_error(user, code);
    om_pipeline_stop(user);
}

static void stream_ended(void *user)
{
    om_stream_run *s = user;
    om_pipeline *p = s->pipeline;
    pthread_mutex_lock(&p->lock);
    p->n_ended++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void sinks_dead(void *user)
{
    om_pipeline *p = user;
    size_t alive = 0;
    for (size_t i = 0; i < p->n_shared; i++) alive += !atomic_load(&p->shared_sinks[i]->status);
    for (size_t i = 0; i < p->n_streams; i++)
        for (size_t k = 0; k < p->streams[i].n_own; k++)
            alive += !atomic_load(&p->streams[i].own_sinks[k]->status);
    if (!alive) om_pipeline_stop(p);
}

/* Cameras are live whatever is said; a file is when asked for. */
static bool is_remote(const char *uri) { return strstr(uri, "://") != NULL; }

static int ring_size(const om_pipeline *p)
{
    int share = OM_RING_GPU / (int)p->config.n_streams;
    if (!p->engine->hwaccel || share < OM_RING_FILE) return OM_RING_FILE;
    return share < OM_MAILBOX_MAX ? share : OM_MAILBOX_MAX;
}

static int init_stream(om_pipeline *p, size_t i)
{
    om_stream_run *s = &p->streams[i];
    const om_stream_options *so = &p->config.streams[i];
    const om_run_options *o = &p->config.run;
    s->pipeline = p;
    s->options = so;
    s->index = (int)i;
    s->local = !is_remote(so->uri);
    s->live = !s->local || (so->live >= 0 ? so->live : o->live);
    s->name = om_strdup(so->name);
    s->shown = om_uri_redact(so->uri);
    if (!s->name || !s->shown) return OM_ERR_NOMEM;
    int credits = o->stream_credits > 0    ? o->stream_credits
                  : p->engine->keep_frames ? OM_CREDITS_PICTURES
                                           : OM_CREDITS;
    om_mailbox_params mp = {.lock = &p->engine->lock,
                            .lane = &s->lane,
                            .account = &s->account,
                            .cap = ring_size(p),
                            .credits = credits,
                            .priority = so->priority,
                            .weight = so->weight,
                            .replace = s->live,
                            .on_end = stream_ended,
                            .user = s};
    int err = om_account_init(&s->account);
    if (!err && p->engine->log) err = om_stages_create(&s->account.stages);
    if (!err) err = om_mailbox_init(&s->mailbox, &mp);
    if (!err) err = om_lane_init(&s->lane, &p->pool, &s->mailbox, &s->account, credits);
    if (err) return err;
    s->lane.stream = s->name;
    s->lane.stream_index = s->index;
    s->lane.on_sinks_dead = p->end_with_sinks ? sinks_dead : NULL;
    s->lane.on_sinks_dead_user = p;
    s->lane.callback = p->callback;
    s->lane.callback_user = p->callback_user;
    const om_tracking *tracking = &p->engine->tracking;
    s->lane.conf = tracking->conf;
    return tracking->ops ? om_tracker_create(tracking->ops, &tracking->params, &s->lane.tracker) : OM_OK;
}

static bool wants_frames(const om_config *c)
{
    for (size_t i = 0; i < c->sinks.n; i++) {
        const om_sink_ops *ops = om_sink_ops_for(c->sinks.items[i]);
        if (ops && ops->flags & OM_SINK_WANTS_FRAMES) return true;
    }
    return false;
}

/* Waits for all lanes to end; after a stop only so long. True when they did. */
static bool wait_for_lanes(om_pipeline *p)
{
    bool gpu = om_engine_gpu(p->engine) != NULL;
    pthread_mutex_lock(&p->lock);
    while (p->n_ended < p->n_streams) {
        int64_t deadline = p->stopping ? p->stop_ns + OM_STOP_LANES_NS : OM_NEVER, now = om_now_ns();
        if (now >= deadline) break;
        int64_t sample = gpu ? now + OM_GPU_SAMPLE_NS : OM_NEVER;
        om_cond_wait_until(&p->changed, &p->lock, sample < deadline ? sample : deadline);
        if (om_now_ns() < sample) continue;
        pthread_mutex_unlock(&p->lock);
        om_pipeline_sample_gpu(p);
        pthread_mutex_lock(&p->lock);
    }
    bool all = p->n_ended == p->n_streams;
    p->end_ns = om_now_ns();
    p->end_cpu_ns = om_process_cpu_ns();
    pthread_mutex_unlock(&p->lock);
    return all;
}

/* One bound for all of them: they are told to end at the same time. */
static void join_streams(om_pipeline *p)
{
    int64_t deadline = om_now_ns() + OM_JOIN_NS;
    for (size_t i = 0; i < p->n_streams; i++) {
        int64_t left = deadline - om_now_ns();
        if (om_thread_join_timeout(&p->streams[i].thread, left > 0 ? (int)(left / OM_NS_PER_MS) : 0) !=
            OM_ERR_TIMEOUT)
            continue;
        om_log(OM_LOG_WARN, "stream '%s' hangs in its source and is left behind", p->streams[i].name);
        p->abandoned = true;
    }
}

static void *supervise(void *arg)
{
    om_pipeline *p = arg;
    if (!wait_for_lanes(p)) om_log(OM_LOG_WARN, "some results could not be handed over before the stop");
    om_pipeline_finish_sinks(p);
    join_streams(p);
    om_lane_pool_stop(&p->pool);
    for (size_t i = 0; i < p->n_streams; i++) om_lane_abandon(&p->streams[i].lane);
    pthread_mutex_lock(&p->lock);
    p->finished = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static int start_threads(om_pipeline *p)
{
    int workers = om_cpu_count() / 2;
    int err = om_lane_pool_start(&p->pool, workers < 1 ? 1 : workers);
    size_t n = 0;
    for (; n < p->n_streams && !err; n++) {
        char name[32];
        snprintf(name, sizeof(name), "om-s%zu", n);
        err = om_thread_start(&p->streams[n].thread, name, om_stream_main, &p->streams[n]);
        if (err) break;
    }
    if (err) { /* those that run already end at once; the others are said to have ended */
        om_pipeline_note_error(p, err);
        om_pipeline_stop(p);
        for (; n < p->n_streams; n++) om_mailbox_abort(&p->streams[n].mailbox);
    }
    int err2 = om_thread_start(&p->supervisor, "om-main", supervise, p);
    return err ? err : err2;
}

int om_pipeline_start(om_pipeline *p)
{
    int err = refuse_started(p, "start");
    if (!err) err = om_config_check(&p->config);
    if (err) return err;
    p->start_ns = om_now_ns();
    p->start_cpu_ns = om_process_cpu_ns();
    p->start_wall_us = om_wall_us();
    err = om_engine_create(&p->config.run, &p->engine);
    if (err) return err;
    p->engine->on_failed = engine_failed;
    p->engine->user = p;
    p->engine->keep_frames = wants_frames(&p->config);
    if (p->config.run.profile || p->config.run.metrics_file) {
        err = om_batch_log_create(&p->engine->log);
        if (!err) err = om_census_create(&p->census);
        if (err) return err;
    }
    p->streams = om_calloc(p->config.n_streams, sizeof(*p->streams));
    if (!p->streams) return OM_ERR_NOMEM;
    int local = 0;
    for (; p->n_streams < p->config.n_streams; p->n_streams++) {
        err = init_stream(p, p->n_streams);
        if (err) {
            p->n_streams++; /* half made: destroyed with the others */
            return err;
        }
        local += p->streams[p->n_streams].local;
    }
    err = om_pipeline_open_sinks(p);
    if (err) return err;
    om_gate_init(&p->gate, local);
    p->started = true;
    return start_threads(p);
}

int om_pipeline_wait(om_pipeline *p, int timeout_ms)
{
    if (!p->started) return om_fail(OM_ERR_ARG, "wait: the pipeline has not been started");
    int64_t deadline = timeout_ms < 0 ? OM_NEVER : om_now_ns() + timeout_ms * OM_NS_PER_MS;
    int err = OM_OK;
    pthread_mutex_lock(&p->lock);
    while (!p->finished && !err) err = om_cond_wait_until(&p->changed, &p->lock, deadline);
    if (p->finished) err = p->error ? om_fail(p->error, "%s", p->error_text) : OM_OK;
    pthread_mutex_unlock(&p->lock);
    return err;
}

void om_pipeline_stop(om_pipeline *p)
{
    pthread_mutex_lock(&p->lock);
    bool again = p->stopping;
    p->stopping = true;
    if (!again) p->stop_ns = om_now_ns();
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (again) return;
    om_cancel_fire(&p->cancel);
    for (size_t i = 0; i < p->n_streams; i++)
        if (p->streams[i].mailbox.lock) om_mailbox_abort(&p->streams[i].mailbox);
}

static void free_streams(om_pipeline *p)
{
    for (size_t i = 0; i < p->n_streams; i++) {
        om_stream_run *s = &p->streams[i];
        om_lane_fini(&s->lane);
        om_mailbox_fini(&s->mailbox);
        if (s->pipeline) om_account_fini(&s->account);
        om_free(s->name);
        om_free(s->shown);
    }
    om_free(p->streams);
}

void om_pipeline_destroy(om_pipeline *p)
{
    if (!p) return;
    if (p->started) {
        om_pipeline_stop(p);
        om_thread_join(&p->supervisor);
        if (p->abandoned) return; /* threads that hang in a foreign library still refer to it */
        om_gate_fini(&p->gate);
    }
    om_pipeline_close_sinks(p);
    free_streams(p);
    om_engine_destroy(p->engine);
    om_census_destroy(p->census);
    om_config_fini(&p->config);
    om_cancel_fini(&p->cancel);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    om_free(p);
}
