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

#define OM_STOP_LANES_NS (900 * OM_NS_PER_MS)
#define OM_SETTLE_NS (10 * OM_NS_PER_SEC) /* an inference on a machine that is far too slow */
#define OM_JOIN_NS (800 * OM_NS_PER_MS)   /* a camera's goodbye may take 500 */
#define OM_GATE_PATIENCE_NS (30 * OM_NS_PER_SEC)
#define OM_GATE_PLACES_MIN 4
#define OM_GATE_PLACES_MAX 16

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
    pthread_mutex_init(&p->admin, NULL);
    pthread_mutex_init(&p->roster, NULL);
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
    return om_pipeline_add_stream_with(p, uri, name, NULL);
}

int om_pipeline_add_stream_with(om_pipeline *p, const char *uri, const char *name, const char *const *options)
{
    om_stream_options own;
    memset(&own, 0, sizeof(own));
    int err = om_options_init(om_stream_option_table, &own);
    if (!err) err = om_option_set(om_stream_option_table, &own, "uri", uri);
    if (!err && name) err = om_option_set(om_stream_option_table, &own, "name", name);
    for (; !err && options && options[0] && options[1]; options += 2)
        err = om_option_set(om_stream_option_table, &own, options[0], options[1]);
    if (!err) return om_pipeline_add(p, &own, false, NULL);
    om_options_fini(om_stream_option_table, &own);
    return err;
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

void om_pipeline_on_gone(om_pipeline *p, void (*fn)(void *user, int index, const char *name), void *user)
{
    p->on_gone = fn;
    p->on_gone_user = user;
}

void om_pipeline_on_ready(om_pipeline *p, int (*fn)(om_pipeline *p, void *user), void *user)
{
    p->on_ready = fn;
    p->on_ready_user = user;
}

bool om_pipeline_keeps(const om_pipeline *p) { return om_config_keeps(&p->config); }

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

static bool wants_frames(const om_config *c)
{
    for (size_t i = 0; i < c->sinks.n; i++) {
        const om_sink_ops *ops = om_sink_ops_for(c->sinks.items[i]);
        if (ops && ops->flags & OM_SINK_WANTS_FRAMES) return true;
    }
    return false;
}

/* Lock held. Decides at the same moment that nobody may come any more. */
static bool is_over(om_pipeline *p)
{
    if (p->n_active || (om_pipeline_keeps(p) && !p->stopping)) return false;
    return p->closing = true;
}

static int64_t earlier_of(int64_t a, int64_t b) { return a < b ? a : b; }

/* What is due now, without the lock; returns when something is again. */
static int64_t look_after(om_pipeline *p, bool gpu, int64_t *sample, int64_t *reap, bool attention)
{
    int64_t now = om_now_ns();
    if (gpu && now >= *sample) {
        om_pipeline_sample_gpu(p);
        om_decoding_look(p);
        *sample = now + OM_GPU_SAMPLE_NS;
    }
    if (attention || now >= *reap) *reap = om_roster_reap(p);
    if (now >= p->network_next_ns) om_pipeline_watch_network(p);
    int64_t next = earlier_of(earlier_of(gpu ? *sample : OM_NEVER, *reap), p->network_next_ns);
    if (!p->policy.bound_ns) return next;
    if (now >= p->policy.next_ns) om_pipeline_police(p);
    return earlier_of(next, p->policy.next_ns);
}

/* Until all lanes have ended; after a stop only so long. True when they did. */
static bool wait_for_lanes(om_pipeline *p)
{
    bool gpu = false;
    for (int i = 0; i < p->n_units; i++) gpu |= om_engine_gpu(p->units[i].engine) != NULL;
    int64_t next = 0, sample = 0, reap = OM_NEVER;
    pthread_mutex_lock(&p->lock);
    while (!is_over(p)) {
        int64_t deadline = p->stopping ? p->stop_ns + OM_STOP_LANES_NS : OM_NEVER, now = om_now_ns();
        if (now >= deadline) break;
        if (!p->attention && now < next) {
            om_cond_wait_until(&p->changed, &p->lock, earlier_of(next, deadline));
            continue;
        }
        bool attention = p->attention;
        p->attention = false;
        pthread_mutex_unlock(&p->lock);
        next = look_after(p, gpu, &sample, &reap, attention);
        pthread_mutex_lock(&p->lock);
    }
    bool all = !p->n_active;
    p->closing = true;
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
        om_stream_run *s = p->streams[i];
        int64_t left = deadline - om_now_ns();
        if (om_thread_join_timeout(&s->thread, left > 0 ? (int)(left / OM_NS_PER_MS) : 0) != OM_ERR_TIMEOUT)
            continue;
        om_log(OM_LOG_WARN, "stream '%s' hangs in its source and is left behind", s->name);
        p->abandoned = true;
    }
}

static void *supervise(void *arg)
{
    om_pipeline *p = arg;
    if (!wait_for_lanes(p)) om_log(OM_LOG_WARN, "some results could not be handed over before the stop");
    pthread_mutex_lock(&p->roster); /* a stream that was just let in gets its thread first */
    pthread_mutex_unlock(&p->roster);
    /* From here on the roster is as it is: nothing comes, and only this thread took anything out. */
    om_pipeline_finish_sinks(p);
    join_streams(p);
    for (size_t i = 0; i < p->n_streams; i++) om_lane_close(&p->streams[i]->lane);
    om_lane_pool_stop(&p->pool);
    for (size_t i = 0; i < p->n_streams; i++) om_lane_abandon(&p->streams[i]->lane);
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
    for (; n < p->n_streams && !err; n++) err = om_stream_start(p->streams[n]);
    if (err) { /* those that run already end at once; the others are said to have ended */
        om_pipeline_note_error(p, err);
        om_pipeline_stop(p);
    }
    int err2 = om_thread_start(&p->supervisor, "om-main", supervise, p);
    return err ? err : err2;
}

/* Secondary models look at pictures in the lanes. */
static int make_seconds(om_pipeline *p)
{
    p->sinks_want_frames = wants_frames(&p->config);
    for (int i = 0; i < p->n_units; i++)
        p->units[i].engine->keep_frames = p->sinks_want_frames || p->config.n_seconds;
    return p->config.n_seconds ? om_units_make_seconds(p) : OM_OK;
}

/* What a profiled run keeps. */
static int make_logs(om_pipeline *p)
{
    for (int i = 0; i < p->n_units && (p->config.run.profile || p->config.run.trace); i++) {
        om_device *gpu = om_engine_gpu(p->units[i].engine);
        if (gpu) om_device_work_watch(gpu, true);
    }
    if (!p->config.run.profile && !p->config.run.metrics_file) return OM_OK;
    int err = om_batch_log_create(&p->engine->log);
    for (int i = 1; i < p->n_units; i++) p->units[i].engine->log = p->engine->log; /* one for all */
    if (!err) err = om_census_create(&p->census);
    return err ? err : om_stages_create(&p->gone_stages);
}

/* The configuration's streams become the run's; *local: how many the gate waits for. */
static int make_streams(om_pipeline *p, int *local)
{
    om_config *c = &p->config;
    int err = OM_OK;
    for (size_t i = 0; i < c->n_streams && !err; i++) {
        om_stream_run *s;
        err = om_stream_create(p, &c->streams[i], &s);
        if (err) break;
        s->listed = true;
        s->gated = s->local;
        s->on_cpu = om_decoding_begins_on_cpu(s->unit);
        *local += s->local;
        err = om_roster_insert(p, s);
        if (err) om_stream_destroy(s);
    }
    return err;
}

static int open_outputs(om_pipeline *p)
{
    int err = om_pipeline_open_sinks(p);
    for (size_t i = 0; i < p->n_streams && !err; i++) err = om_stream_open_sinks(p->streams[i]);
    p->config.n_streams = 0; /* they are all in the roster */
    return err;
}

/* How many sources are opened at a time. */
static int opening_places(void)
{
    int n = om_cpu_count();
    return n < OM_GATE_PLACES_MIN ? OM_GATE_PLACES_MIN : n > OM_GATE_PLACES_MAX ? OM_GATE_PLACES_MAX : n;
}

int om_pipeline_start(om_pipeline *p)
{
    int local = 0;
    int err = refuse_started(p, "start");
    if (!err) err = om_config_read_seconds(&p->config);
    if (!err) err = om_config_check(&p->config);
    if (!err && p->config.run.font) err = om_font_load(p->config.run.font, &p->font);
    if (err) return err;
    p->start_ns = om_now_ns();
    p->start_cpu_ns = om_process_cpu_ns();
    p->start_wall_us = om_wall_us();
    om_policy_init(&p->policy, p->config.run.latency_bound_ms);
    om_pipeline_watch_network_init(p);
    err = om_units_create(p);
    if (err) return err;
    for (int i = 0; i < p->n_units; i++) {
        p->units[i].engine->on_failed = engine_failed;
        p->units[i].engine->user = p;
        p->units[i].engine->refuge = om_units_refuge;
    }
    err = make_seconds(p);
    if (err) return err;
    p->gone = om_calloc(OM_GONE_MAX, sizeof(*p->gone));
    if (!p->gone) return OM_ERR_NOMEM;
    err = make_logs(p);
    if (!err && p->config.run.drift)
        err = om_drift_create(p->config.run.drift, p->config.run.max_age * 86400, &p->drift);
    if (!err && p->on_ready) err = p->on_ready(p, p->on_ready_user);
    om_decoding_init(p);
    if (!err) err = make_streams(p, &local);
    if (!err) om_pipeline_tell_decoders(p);
    if (!err) err = open_outputs(p);
    if (err) return err;
    om_gate_init(&p->gate, local, opening_places(), OM_GATE_PATIENCE_NS);
    if (!local) om_pipeline_open_gate(p);
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
    for (int i = 0; i < p->n_units; i++)
        if (p->units[i].seconds) om_seconds_cancel(p->units[i].seconds);
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < p->n_streams; i++) om_stream_cancel(p->streams[i]);
    pthread_mutex_unlock(&p->roster);
    pthread_mutex_lock(&p->lock); /* for those that wait to go on after a pause */
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void om_pipeline_destroy(om_pipeline *p)
{
    if (!p) return;
    if (p->started) {
        om_pipeline_stop(p);
        om_thread_join(&p->supervisor);
        if (p->abandoned) return; /* threads that hang in a foreign library still refer to it */
        if (!om_units_settle(p, om_now_ns() + OM_SETTLE_NS)) return; /* so do its inferences */
        om_gate_fini(&p->gate);
    }
    om_pipeline_close_sinks(p);
    om_roster_fini(p);
    if (p->started) om_lane_pool_fini(&p->pool);
    om_units_destroy(p);
    om_census_destroy(p->census);
    om_drift_destroy(p->drift);
    om_font_destroy(p->font);
    om_config_fini(&p->config);
    om_pipeline_taken_fini(p);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->roster);
    pthread_mutex_destroy(&p->admin);
    pthread_mutex_destroy(&p->lock);
    om_free(p);
}
