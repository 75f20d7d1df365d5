/* A pipeline under measurement: start, warm up, measure between two moments, stop. */
#include "bench/trial.h"

#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"

#define START_LIMIT_NS (300 * OM_NS_PER_SEC) /* compiling takes its time */
#define FIRST_FRAME_NS (30 * OM_NS_PER_SEC)  /* once all are open */
#define END_LIMIT_MS 10000

bool om_bench_is_remote(const char *uri) { return strstr(uri, "://") && strncmp(uri, "file://", 7); }

/* Spread evenly whatever their number: the golden ratio does that. The seed moves all of them. */
static double phase_of(const om_trial_params *p, int i)
{
    double start = fmod((double)p->seed * 0.7548776662466927, 1.0);
    return p->spread_s * fmod(start + (double)i * 0.6180339887498949, 1.0);
}

static int fill_stream(const om_trial_params *p, int i, om_stream_options *s)
{
    s->uri = om_strdup(p->inputs->items[(size_t)i % p->inputs->n]);
    s->name = om_sprintf("%03d", i);
    s->live = p->paced;
    s->loop = !p->once;
    s->fps = p->fps;
    s->every = p->every;
    s->max_frames = p->max_frames;
    if (p->paced) s->phase = phase_of(p, i);
    return s->uri && s->name ? OM_OK : OM_ERR_NOMEM;
}

int om_trial_stream(const om_trial_params *p, int i, om_stream_options *out)
{
    int err = om_options_init(om_stream_option_table, out);
    if (!err) err = fill_stream(p, i, out);
    if (err) om_options_fini(om_stream_option_table, out);
    return err;
}

static int add_stream(const om_trial_params *p, int i, om_config *c)
{
    om_stream_options *s = om_config_new_stream(c);
    if (!s) return OM_ERR_NOMEM;
    int err = fill_stream(p, i, s);
    if (err) om_options_fini(om_stream_option_table, s);
    return err ? err : om_config_stream(c, s);
}

static int configure(om_bench *b, const om_trial_params *p, om_config *c)
{
    int err = om_config_init(c);
    if (err) return err;
    err = b->caller->configure(b->caller->user, &c->run);
    if (!err && p->model) err = om_option_set(om_run_option_table, &c->run, "model", p->model);
    if (p->conf >= 0) c->run.conf = p->conf;
    c->run.reconnect = p->reconnect;
    for (int i = 0; i < p->streams && !err; i++) err = add_stream(p, i, c);
    return err;
}

static void say(om_trial *t, const char *what, double left)
{
    const om_bench_caller *c = t->bench->caller;
    om_stream_stats s;
    char text[200];
    if (!c->progress || om_pipeline_stats(t->pipeline, -1, &s)) return;
    int n = snprintf(text, sizeof text, "%s", what);
    if (left > 0 && n > 0 && n < (int)sizeof text)
        n += snprintf(text + n, sizeof text - (size_t)n, "  %.0f s left", ceil(left));
    if (s.inferred && n > 0 && n < (int)sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, "  %llu frames, latency %.0f ms p50, dropped %llu",
                 (unsigned long long)s.inferred, s.latency_ms_p50, (unsigned long long)s.dropped);
    c->progress(c->user, text);
}

/* OM_ERR_TIMEOUT: it goes on. */
static int tick(om_trial *t, int ms)
{
    if (om_cancelled(t->bench->cancel)) return om_fail(OM_ERR_CANCELLED, "interrupted");
    int err = om_pipeline_wait(t->pipeline, ms);
    return err ? err : OM_ERR_EOF;
}

static void look(om_trial *t)
{
    double memory = om_process_look().memory_mb;
    om_device_usage u;
    if (memory > t->memory_mb) t->memory_mb = memory;
    if (!om_pipeline_gpu_usage(t->pipeline, &u)) return;
    if (u.compute_percent >= 0) t->gpu_sum += u.compute_percent, t->gpu_n++;
    if (u.decode_percent >= 0) t->nvdec_sum += u.decode_percent, t->nvdec_n++;
    int64_t bytes = u.memory_process > 0 ? u.memory_process : u.memory_used;
    double mb = (double)bytes / (1 << 20);
    if (mb > t->gpu_memory_mb) t->gpu_memory_mb = mb;
}

static int opening(om_trial *t)
{
    int n = 0;
    for (size_t i = 0; i < om_pipeline_n_streams(t->pipeline); i++) {
        om_stream_status st;
        om_pipeline_stream_status(t->pipeline, i, &st);
        n += st.state == OM_STREAM_OPENING;
    }
    return n;
}

/* Until no stream is being opened and a frame has come. */
static int wait_for_frames(om_trial *t)
{
    int64_t limit = om_now_ns() + START_LIMIT_NS;
    bool open = false;
    for (int err;;) {
        om_stream_stats s;
        if ((err = tick(t, OM_TICK_MS)) != OM_ERR_TIMEOUT) return err == OM_ERR_EOF ? OM_OK : err;
        if (!open && !opening(t)) {
            open = true;
            limit = om_now_ns() + FIRST_FRAME_NS;
        }
        if (open && !om_pipeline_stats(t->pipeline, -1, &s) && s.inferred) return OM_OK;
        if (om_now_ns() > limit)
            return om_fail(OM_ERR_TIMEOUT,
                           open ? "the streams are open, but no frame has come for %lld s"
                                : "streams were not open after %lld s",
                           (open ? FIRST_FRAME_NS : START_LIMIT_NS) / OM_NS_PER_SEC);
        char text[64];
        snprintf(text, sizeof text, "opening %zu streams", om_pipeline_n_streams(t->pipeline));
        say(t, text, 0);
    }
}

int om_trial_start(om_bench *b, const om_trial_params *p, om_trial *t)
{
    om_config c;
    memset(t, 0, sizeof *t);
    t->bench = b;
    malloc_trim(0); /* what earlier trials have freed is none of this one's memory */
    int err = configure(b, p, &c);
    if (err) {
        om_config_fini(&c);
        return err;
    }
    err = om_pipeline_create_from(&c, &t->pipeline);
    if (!err && p->on_result) err = om_pipeline_on_result(t->pipeline, p->on_result, p->user);
    if (!err) err = om_pipeline_start(t->pipeline);
    if (!err) err = wait_for_frames(t);
    if (err) {
        char message[512];
        snprintf(message, sizeof message, "%s", om_error_message());
        om_trial_fini(t);
        om_fail(err, "%s", message);
    }
    return err;
}

int om_trial_wait(om_trial *t, double seconds, const char *what)
{
    int64_t end = om_now_ns() + (int64_t)(seconds * 1e9), left;
    while ((left = end - om_now_ns()) > 0) {
        int ms = (int)(left / OM_NS_PER_MS) + 1;
        int err = tick(t, ms < OM_TICK_MS ? ms : OM_TICK_MS);
        if (err != OM_ERR_TIMEOUT) return err;
        look(t);
        say(t, what, (double)left / 1e9);
    }
    return OM_OK;
}

int om_trial_measure(om_trial *t, double seconds, const char *what)
{
    int err = om_snapshot_take(t->pipeline, &t->first);
    if (err) return err;
    t->memory_mb = t->gpu_memory_mb = t->gpu_sum = t->nvdec_sum = 0;
    t->gpu_n = t->nvdec_n = 0;
    look(t);
    int rc = om_trial_wait(t, seconds, what);
    err = om_snapshot_take(t->pipeline, &t->last);
    return err ? err : rc;
}

int om_trial_stop(om_trial *t, bool *books)
{
    om_snapshot end = {0};
    om_pipeline_stop(t->pipeline);
    om_pipeline_wait(t->pipeline, END_LIMIT_MS); /* its error is the streams', which are looked at below */
    int err = om_snapshot_take(t->pipeline, &end);
    t->received = end.received;
    t->accounted = end.inferred + end.skipped + end.dropped + end.in_flight;
    *books = !err && t->received == t->accounted;
    om_snapshot_fini(&end);
    return err;
}

void om_trial_fini(om_trial *t)
{
    om_pipeline_destroy(t->pipeline);
    om_snapshot_fini(&t->first);
    om_snapshot_fini(&t->last);
    t->pipeline = NULL;
}

double om_trial_target(om_trial *t, double fps)
{
    double target = fps;
    for (size_t i = 0; i < om_pipeline_n_streams(t->pipeline); i++) {
        om_stream_status st;
        om_pipeline_stream_status(t->pipeline, i, &st);
        if (st.source_fps > 0 && st.source_fps < target) target = st.source_fps;
    }
    return target;
}

static void rung_causes(const om_snapshot *a, const om_snapshot *b, om_rung *out)
{
    for (int i = 0; i < b->n_causes; i++) {
        om_loss *c = &out->causes[out->n_causes++];
        *c = b->causes[i];
        for (int k = 0; k < a->n_causes; k++)
            if (!strcmp(a->causes[k].name, c->name)) c->n -= a->causes[k].n;
    }
}

static int rung_fps(const om_snapshot *a, const om_snapshot *b, double seconds, om_rung *out)
{
    double *fps = om_calloc((size_t)b->n_streams + 1, sizeof *fps);
    if (!fps) return OM_ERR_NOMEM;
    for (int i = 0; i < b->n_streams; i++) {
        uint64_t before = i < a->n_streams ? a->stream_inferred[i] : 0;
        fps[i] = (double)(b->stream_inferred[i] - before) / seconds;
    }
    out->fps_median = om_median(fps, (size_t)b->n_streams); /* sorts */
    out->fps_min = b->n_streams ? fps[0] : NAN;
    om_free(fps);
    return OM_OK;
}

static void rung_latency(const om_snapshot *a, const om_snapshot *b, om_rung *out)
{
    om_hist h;
    om_hist_since(&b->latency, &a->latency, &h);
    bool any = h.count > 0;
    out->mean_ms = any ? om_hist_mean(&h) / 1e6 : NAN;
    out->p50_ms = any ? (double)om_hist_quantile(&h, .50) / 1e6 : NAN;
    out->p95_ms = any ? (double)om_hist_quantile(&h, .95) / 1e6 : NAN;
    out->p99_ms = any ? (double)om_hist_quantile(&h, .99) / 1e6 : NAN;
    out->max_ms = any ? (double)h.max_ns / 1e6 : NAN;
}

/* Ticks are coarse: a little less than nothing is nothing. */
static double others_of(const om_snapshot *a, const om_snapshot *b)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (a->machine_ns < 0 || b->machine_ns < 0 || cores < 1) return NAN;
    double others = (double)(b->machine_ns - a->machine_ns) - (double)(b->cpu_ns - a->cpu_ns);
    return fmax(0, 100.0 * others / (double)(b->ns - a->ns) / (double)cores);
}

int om_trial_rung(const om_trial *t, double target, om_rung *out)
{
    const om_snapshot *a = &t->first, *b = &t->last;
    double seconds = (double)(b->ns - a->ns) / 1e9;
    memset(out, 0, sizeof *out);
    out->streams = b->n_streams;
    out->target = target;
    out->seconds = seconds;
    if (seconds <= 0) return om_fail(OM_ERR_INTERNAL, "nothing was measured");
    out->failed = b->failed;
    memcpy(out->error, b->error, sizeof out->error);
    out->inferred = b->inferred - a->inferred;
    out->dropped = b->dropped - a->dropped;
    rung_causes(a, b, out);
    uint64_t wanted = out->inferred + out->dropped;
    out->drop_percent = wanted ? 100.0 * (double)out->dropped / (double)wanted : NAN;
    out->fps_total = (double)out->inferred / seconds;
    rung_latency(a, b, out);
    out->cpu_percent = 100.0 * (double)(b->cpu_ns - a->cpu_ns) / (double)(b->ns - a->ns) / om_cpu_count();
    out->others_percent = others_of(a, b);
    out->memory_mb = t->memory_mb > 0 ? t->memory_mb : NAN;
    out->gpu_percent = t->gpu_n ? t->gpu_sum / t->gpu_n : NAN;
    out->nvdec_percent = t->nvdec_n ? t->nvdec_sum / t->nvdec_n : NAN;
    out->gpu_memory_mb = t->gpu_memory_mb > 0 ? t->gpu_memory_mb : NAN;
    out->network_mbit = b->networked ? 8e-6 * (double)(b->bytes - a->bytes) / seconds : NAN;
    double batches = b->batches - a->batches;
    out->mean_batch = batches > 0 ? (b->batches * b->mean_batch - a->batches * a->mean_batch) / batches : NAN;
    return rung_fps(a, b, seconds, out);
}
