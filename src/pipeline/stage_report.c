/* A profiled run's own account: the "profile" member of the report, and the metrics file. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "pipeline/pipeline_priv.h"

void om_pipeline_tick(om_pipeline *p) { om_census_take(p->census); }

#define ALL_BARS 48
#define STREAM_BARS 16 /* of each of hundreds */

static void stages_json(const om_hist *h, int bars, om_json *j)
{
    om_json_key(j, "stages");
    om_json_begin_array(j);
    for (int i = 0; i < OM_STAGE_COUNT; i++) om_stage_json((om_stage)i, &h[i], bars, j);
    om_json_end_array(j);
}

static void stream_json(om_stream_run *s, om_hist *h, om_json *j)
{
    memset(h, 0, OM_STAGE_COUNT * sizeof *h);
    om_stages_merge(h, s->account.stages);
    om_json_begin_object(j);
    om_json_key(j, "name");
    om_json_string(j, s->name);
    om_json_key(j, "live");
    om_json_bool(j, s->live);
    stages_json(h, STREAM_BARS, j);
    om_json_end_object(j);
}

/* Frames between the first and the last hand-over, and what got lost of them. */
static void frames_json(om_pipeline *p, om_json *j, uint64_t *frames)
{
    om_tally all = {0}, one;
    uint64_t live = 0;
    pthread_mutex_lock(&p->roster);
    om_tally_merge(&all, &p->earlier);
    for (size_t i = 0; i < p->n_gone; i++) om_tally_merge(&all, &p->gone[i].tally);
    for (size_t i = 0; i < p->n_streams; i++) {
        om_account_tally(&p->streams[i]->account, &one);
        om_tally_merge(&all, &one);
        live += p->streams[i]->live;
    }
    size_t n = p->n_streams;
    pthread_mutex_unlock(&p->roster);
    double seconds = all.last_ns > all.first_ns ? (double)(all.last_ns - all.first_ns) / 1e9 : 0;
    om_json_key_num(j, "seconds", seconds, 4);
    om_json_key_uint(j, "frames", all.inferred);
    om_json_key_num(j, "fps", om_tally_fps(&all), 3);
    om_json_key_uint(j, "received", all.received);
    om_json_key_uint(j, "superseded", all.dropped[OM_DROP_SUPERSEDED]);
    om_json_key_uint(j, "dropped", om_tally_dropped(&all));
    om_json_key_num(j, "latency_p50_ms", (double)om_hist_quantile(&all.latency, .5) / 1e6, 3);
    om_json_key_num(j, "latency_p99_ms", (double)om_hist_quantile(&all.latency, .99) / 1e6, 3);
    om_json_key_uint(j, "n_streams", n);
    om_json_key_uint(j, "live_streams", live);
    *frames = all.inferred;
}

static void engine_json(om_engine *e, om_json *j)
{
    int limit, plan_batch = 0, sessions = 0;
    pthread_mutex_lock(&e->compile_lock);
    if (e->n_batchers) {
        plan_batch = e->batchers[0]->plan->batch;
        sessions = e->batchers[0]->plan->sessions;
    }
    om_json_key(j, "engine");
    om_json_string(j, e->note);
    pthread_mutex_unlock(&e->compile_lock);
    pthread_mutex_lock(&e->lock);
    limit = e->arbiter.limit;
    pthread_mutex_unlock(&e->lock);
    om_json_key_uint(j, "batch_limit", (uint64_t)plan_batch);
    om_json_key_uint(j, "sessions", (uint64_t)sessions);
    om_json_key_uint(j, "in_flight_limit", (uint64_t)limit);
    om_json_key_uint(j, "finishers", (uint64_t)e->n_finishers);
    om_json_key_uint(j, "syncs", om_device_sync_count(e->device));
    om_batch_log_json(e->log, j);
}

/* What the run's GPUs did together, by their clocks; false: it has none. */
static bool whole_work(om_pipeline *p, om_device_work *out, om_str *ids)
{
    bool any = false;
    *out = (om_device_work){0};
    for (int i = 0; i < p->n_units; i++) {
        om_device *d = om_engine_gpu(p->units[i].engine);
        om_device_work w;
        if (!d || d->ops->memory == OM_MEMORY_HOST) continue;
        om_device_work_get(d, &w);
        for (int k = 0; k < OM_WORKS; k++) {
            out->seconds[k] += w.seconds[k];
            out->times[k] += w.times[k];
        }
        out->bytes_to_device += w.bytes_to_device;
        out->bytes_to_host += w.bytes_to_host;
        om_str_addf(ids, "%s%s", any ? " " : "", d->id);
        any = true;
    }
    return any;
}

/* Means and sums of what was sampled. */
static void limits_json(om_pipeline *p, om_json *j)
{
    double limit = 0, held = 0;
    int samples = 0;
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < p->n_units; i++) {
        const om_gpu_load *l = &p->units[i].gpu;
        if (!l->samples) continue;
        limit += l->last.power_limit_w;
        held = l->held_back < 0 || held < 0 ? -1 : held + l->held_back;
        samples += l->samples;
    }
    pthread_mutex_unlock(&p->lock);
    if (samples && limit > 0) om_json_key_num(j, "gpu_power_limit_w", limit, 4);
    if (samples && held >= 0) om_json_key_num(j, "held_back", held / samples, 4);
}

static void device_json(om_pipeline *p, om_json *j)
{
    static const char *const names[OM_WORKS] = {"gather", "infer", "head"};
    om_device_work w;
    om_str ids = {0};
    double all = 0;
    if (whole_work(p, &w, &ids)) {
        for (int i = 0; i < OM_WORKS; i++) all += w.seconds[i];
        om_json_key(j, "device");
        om_json_begin_object(j);
        om_json_key_string(j, "id", om_str_get(&ids));
        for (int i = 0; i < OM_WORKS; i++) {
            om_json_key(j, names[i]);
            om_json_begin_object(j);
            om_json_key_uint(j, "times", w.times[i]);
            om_json_key_num(j, "mean_ms", w.times[i] ? 1e3 * w.seconds[i] / (double)w.times[i] : 0, 5);
            om_json_key_num(j, "seconds", w.seconds[i], 5);
            om_json_key_num(j, "share", all > 0 ? w.seconds[i] / all : 0, 5);
            om_json_end_object(j);
        }
        om_json_key_uint(j, "bytes_to_device", w.bytes_to_device);
        om_json_key_uint(j, "bytes_to_host", w.bytes_to_host);
        om_pipeline_gpu_json(p, j);
        limits_json(p, j);
        om_json_end_object(j);
    }
    om_str_fini(&ids);
}

static void sinks_json(om_pipeline *p, om_json *j)
{
    om_json_key(j, "sinks");
    om_json_begin_array(j);
    for (size_t i = 0; i < p->n_shared; i++) om_json_string(j, p->shared_sinks[i]->spec);
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < p->n_streams; i++)
        for (size_t k = 0; k < p->streams[i]->n_own; k++)
            om_json_string(j, p->streams[i]->own_sinks[k]->spec);
    pthread_mutex_unlock(&p->roster);
    om_json_end_array(j);
}

void om_pipeline_profile_json(om_pipeline *p, om_json *j)
{
    uint64_t frames;
    /* Both on the heap: nine histograms are 46 KB. */
    om_hist *all = om_calloc(OM_STAGE_COUNT, sizeof *all), *one = om_calloc(OM_STAGE_COUNT, sizeof *one);
    om_json_begin_object(j);
    frames_json(p, j, &frames);
    engine_json(p->engine, j);
    device_json(p, j);
    om_census_json(p->census, frames, j);
    sinks_json(p, j);
    if (all && one) {
        pthread_mutex_lock(&p->roster);
        om_stages_merge(all, p->gone_stages);
        for (size_t i = 0; i < p->n_streams; i++) om_stages_merge(all, p->streams[i]->account.stages);
        stages_json(all, ALL_BARS, j);
        om_json_key(j, "streams");
        om_json_begin_array(j);
        for (size_t i = 0; i < p->n_streams; i++) stream_json(p->streams[i], one, j);
        om_json_end_array(j);
        pthread_mutex_unlock(&p->roster);
    }
    om_json_end_object(j);
    om_free(all);
    om_free(one);
}

/* A label's value: Prometheus gives '\', '"' and newlines a meaning. */
static void label(om_str *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\\' || *text == '"') om_str_addc(out, '\\');
        if (*text == '\n') om_str_add(out, "\\n");
        else om_str_addc(out, *text);
    }
}

static void family(om_str *out, const char *name, const char *type, const char *help)
{
    om_str_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* `stream` NULL: of all; `more`: further labels, each with a comma before it. */
static void sample(om_str *out, const char *name, const char *stream, const char *more, double v)
{
    om_str_addf(out, "%s{", name);
    if (stream) {
        om_str_add(out, "stream=\"");
        label(out, stream);
        om_str_addf(out, "\"%s", more);
    } else {
        om_str_add(out, *more ? more + 1 : "");
    }
    om_str_addf(out, "} %.9g\n", v);
}

typedef struct counter {
    const char *name, *help;
    size_t offset; /* of a uint64_t in om_stream_stats */
} counter;

static void counters(const om_stream_row *rows, size_t n, om_str *out)
{
    static const counter all[] = {
        {"omma_frames_received_total", "Video packets received.", offsetof(om_stream_stats, received)},
        {"omma_frames_decoded_total", "Pictures decoded.", offsetof(om_stream_stats, decoded)},
        {"omma_frames_inferred_total", "Pictures that went through the model.",
         offsetof(om_stream_stats, inferred)},
        {"omma_frames_skipped_total", "Pictures left out on purpose.", offsetof(om_stream_stats, skipped)},
        {"omma_frames_dropped_total", "Pictures lost.", offsetof(om_stream_stats, dropped)},
        {"omma_network_bytes_total", "Bytes of the packets of cameras, and of files that stand for them.",
         offsetof(om_stream_stats, network_bytes)},
    };
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        family(out, all[k].name, "counter", all[k].help);
        for (size_t i = 0; i < n; i++) {
            uint64_t v;
            memcpy(&v, (const char *)&rows[i].stats + all[k].offset, sizeof v);
            sample(out, all[k].name, rows[i].status.name, "", (double)v);
        }
    }
}

static bool at_work(const om_stream_row *r)
{
    om_stream_state s = r->status.state;
    return s == OM_STREAM_OPENING || s == OM_STREAM_RUNNING || s == OM_STREAM_RECONNECTING;
}

static void states(const om_stream_row *rows, size_t n, om_str *out)
{
    size_t running = 0;
    family(out, "omma_stream_running", "gauge", "1 while a stream gives pictures.");
    for (size_t i = 0; i < n; i++) {
        sample(out, "omma_stream_running", rows[i].status.name, "",
               rows[i].status.state == OM_STREAM_RUNNING);
        running += at_work(&rows[i]);
    }
    family(out, "omma_stream_reconnects_total", "counter", "Times that a camera was reached again.");
    for (size_t i = 0; i < n; i++)
        sample(out, "omma_stream_reconnects_total", rows[i].status.name, "",
               (double)rows[i].status.reconnects);
    family(out, "omma_stream_lag_seconds", "gauge", "How far a live stream's decoder is behind.");
    for (size_t i = 0; i < n; i++)
        sample(out, "omma_stream_lag_seconds", rows[i].status.name, "", rows[i].lag_ms / 1e3);
    family(out, "omma_streams_running", "gauge", "Streams that have not ended.");
    om_str_addf(out, "omma_streams_running %zu\n", running);
}

static void policy(om_pipeline *p, om_str *out)
{
    if (!p->policy.bound_ns) return;
    pthread_mutex_lock(&p->lock);
    int rung = p->policy.ladder.rung;
    uint64_t down = p->policy.down, up = p->policy.up;
    pthread_mutex_unlock(&p->lock);
    family(out, "omma_policy_rung", "gauge", "Rungs of the latency policy's ladder that are taken; 0: none.");
    om_str_addf(out, "omma_policy_rung %d\n", rung);
    family(out, "omma_policy_steps_total", "counter", "Rungs it went down and up.");
    om_str_addf(out, "omma_policy_steps_total{direction=\"down\"} %llu\n", (unsigned long long)down);
    om_str_addf(out, "omma_policy_steps_total{direction=\"up\"} %llu\n", (unsigned long long)up);
}

static void histogram(om_str *out, const char *name, const char *stream, const char *more, const om_hist *h)
{
    static const double bounds[] = {.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};
    char text[96], bucket[64];
    snprintf(bucket, sizeof bucket, "%s_bucket", name);
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        snprintf(text, sizeof text, "%s,le=\"%g\"", more, bounds[i]);
        sample(out, bucket, stream, text, (double)om_hist_below(h, (int64_t)(bounds[i] * 1e9)));
    }
    snprintf(text, sizeof text, "%s,le=\"+Inf\"", more);
    sample(out, bucket, stream, text, (double)h->count);
    snprintf(bucket, sizeof bucket, "%s_sum", name);
    sample(out, bucket, stream, more, (double)h->sum_ns / 1e9);
    snprintf(bucket, sizeof bucket, "%s_count", name);
    sample(out, bucket, stream, more, (double)h->count);
}

static void latencies(om_pipeline *p, om_str *out)
{
    om_tally t;
    family(out, "omma_latency_seconds", "histogram", "From a frame's due time to its hand-over.");
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < p->n_streams; i++) {
        om_account_tally(&p->streams[i]->account, &t);
        histogram(out, "omma_latency_seconds", p->streams[i]->name, "", &t.latency);
    }
    pthread_mutex_unlock(&p->roster);
}

/* Of all streams together: each has a hundred and forty numbers. */
static int stage_metrics(om_pipeline *p, om_str *out)
{
    om_hist *h = om_calloc(OM_STAGE_COUNT, sizeof *h);
    if (!h) return om_fail_nomem("the metrics");
    family(out, "omma_stage_seconds", "histogram", "A frame's time in a stage.");
    pthread_mutex_lock(&p->roster);
    om_stages_merge(h, p->gone_stages);
    for (size_t i = 0; i < p->n_streams; i++) om_stages_merge(h, p->streams[i]->account.stages);
    pthread_mutex_unlock(&p->roster);
    for (int k = 0; k < OM_STAGE_COUNT; k++) {
        char more[48];
        snprintf(more, sizeof more, ",stage=\"%s\"", om_stage_name((om_stage)k));
        histogram(out, "omma_stage_seconds", NULL, more, &h[k]);
    }
    om_free(h);
    return OM_OK;
}

int om_pipeline_metrics(om_pipeline *p, om_str *out)
{
    if (!p->started) return om_fail(OM_ERR_ARG, "metrics: the pipeline has not been started");
    om_stream_row *rows;
    size_t n;
    int err = om_pipeline_list(p, false, &rows, &n);
    if (err) return err;
    counters(rows, n, out);
    states(rows, n, out);
    om_free(rows);
    latencies(p, out);
    policy(p, out);
    err = p->census ? stage_metrics(p, out) : OM_OK;
    om_batch_log *log = p->engine->log;
    if (log) {
        pthread_mutex_lock(&log->lock);
        family(out, "omma_batches_total", "counter", "Batches that went to the engine.");
        om_str_addf(out, "omma_batches_total %llu\n", (unsigned long long)log->batches);
        family(out, "omma_copied_bytes_total", "counter", "Bytes written as input and read as output.");
        om_str_addf(out, "omma_copied_bytes_total{what=\"input\"} %llu\n",
                    (unsigned long long)log->input_bytes);
        om_str_addf(out, "omma_copied_bytes_total{what=\"output\"} %llu\n",
                    (unsigned long long)log->output_bytes);
        pthread_mutex_unlock(&log->lock);
    }
    family(out, "process_cpu_seconds_total", "counter", "CPU time of the process.");
    om_str_addf(out, "process_cpu_seconds_total %.3f\n", (double)om_process_cpu_ns() / 1e9);
    if (!err && out->failed) err = om_fail_nomem("the metrics");
    return err;
}
