/* A result as JSON and CSV; the names are those of docs/bench.md. */
#include <math.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bench/bench.h"
#include "media/source.h"
#include "omma/version.h"

static void rung_json(const om_rung *r, om_json *j)
{
    om_json_begin_object(j);
    om_json_key_uint(j, "streams", (uint64_t)r->streams);
    om_json_key_bool(j, "held", r->carried);
    if (!r->carried) om_json_key_string(j, "why", r->why);
    if (r->failed) {
        om_json_key_uint(j, "failed", (uint64_t)r->failed);
        om_json_key_string(j, "error", r->error);
    }
    om_json_key_num(j, "seconds", r->seconds, 4);
    om_json_key_num(j, "fps_wanted", r->target, 4);
    om_json_key_num(j, "fps_min", r->fps_min, 4);
    om_json_key_num(j, "fps_median", r->fps_median, 4);
    om_json_key_num(j, "fps_total", r->fps_total, 4);
    om_json_key(j, "latency_ms");
    om_json_begin_object(j);
    om_json_key_num(j, "mean", r->mean_ms, 4);
    om_json_key_num(j, "p50", r->p50_ms, 4);
    om_json_key_num(j, "p95", r->p95_ms, 4);
    om_json_key_num(j, "p99", r->p99_ms, 4);
    om_json_key_num(j, "max", r->max_ms, 4);
    om_json_end_object(j);
    om_json_key_uint(j, "inferred", r->inferred);
    om_json_key(j, "dropped");
    om_json_begin_object(j);
    for (int i = 0; i < r->n_causes; i++) om_json_key_uint(j, r->causes[i].name, r->causes[i].n);
    om_json_end_object(j);
    om_json_key_num(j, "drop_percent", r->drop_percent, 4);
    om_json_key_num(j, "cpu_percent", r->cpu_percent, 4);
    om_json_key_num(j, "memory_mb", r->memory_mb, 4);
    om_json_key_num(j, "gpu_percent", r->gpu_percent, 4);
    om_json_key_num(j, "gpu_memory_mb", r->gpu_memory_mb, 4);
    om_json_key_num(j, "nvdec_percent", r->nvdec_percent, 4);
    om_json_key_num(j, "network_mbit_s", r->network_mbit, 4);
    om_json_key_num(j, "mean_batch", r->mean_batch, 4);
    om_json_key_bool(j, "accounted", r->books);
    om_json_key_num(j, "others_percent", r->others_percent, 4);
    om_json_end_object(j);
}

static void verdict_json(const om_judgement *v, om_json *j)
{
    const om_limit_info *info = &om_limit_infos[v->limit];
    om_json_begin_object(j);
    om_json_key_string(j, "what", info->key);
    om_json_key_bool(j, "required", v->required);
    om_json_key_string(j, "relation", info->relation);
    om_json_key_num(j, "limit", v->bound, 4);
    om_json_key_num(j, "value", v->value, 4);
    om_json_key_string(j, "outcome", om_outcome_name(v->outcome));
    if (v->why) om_json_key_string(j, "why", v->why);
    om_json_end_object(j);
}

static void acceptance_json(const om_bench_options *o, const om_bench_result *r, om_json *j)
{
    om_json_key(j, "acceptance");
    if (!r->judged) {
        om_json_null(j);
        return;
    }
    om_json_begin_object(j);
    om_json_key_uint(j, "streams", (uint64_t)r->judged->streams);
    om_json_key_bool(j, "passed", !om_bench_failed(o, r));
    om_json_key(j, "limits");
    om_json_begin_array(j);
    for (int i = 0; i < r->n_verdicts; i++) verdict_json(&r->verdicts[i], j);
    om_json_end_array(j);
    om_json_end_object(j);
}

static void accuracy_json(const om_accuracy *a, om_json *j)
{
    const om_eval_agreement *g = &a->agreement;
    om_json_key(j, "accuracy");
    om_json_begin_object(j);
    om_json_key_bool(j, "measured", a->measured);
    if (!a->measured) om_json_key_string(j, "why", a->why);
    if (a->measured) {
        om_json_key_string(j, "against", a->labels ? "labels" : "reference");
        om_json_key_num(j, "ap50", g->ap50, 4);
        om_json_key_num(j, "ap50_95", g->ap50_95, 4);
        om_json_key_uint(j, "frames", g->images);
        om_json_key_uint(j, a->labels ? "objects" : "reference_boxes", g->reference);
        om_json_key_uint(j, "boxes", g->found);
    }
    if (a->measured && !a->labels) {
        om_json_key_num(j, "threshold", a->threshold, 4);
        om_json_key_uint(j, "matched", g->matched);
        om_json_key_num(j, "score_drift", g->drift_mean, 4);
    }
    om_json_end_object(j);
}

static void way_json(const char *key, const om_batching_way *w, om_json *j)
{
    om_json_key(j, key);
    om_json_begin_object(j);
    om_json_key_num(j, "camera_fps", w->camera_fps, 4);
    om_json_key_num(j, "combined_fps", w->combined_fps, 4);
    om_json_key_num(j, "drop_percent", w->drop_percent, 4);
    om_json_key_num(j, "memory_mb", w->memory_mb, 4);
    om_json_key_num(j, "mean_batch", w->mean_batch, 4);
    om_json_end_object(j);
}

static void batching_json(const om_bench_options *o, const om_batching *b, om_json *j)
{
    om_json_key(j, "batching");
    om_json_begin_object(j);
    om_json_key_uint(j, "cameras", (uint64_t)b->cameras);
    om_json_key_uint(j, "rounds", (uint64_t)b->rounds);
    way_json("one_camera", &b->one, j);
    way_json("own_engines", &b->own, j);
    way_json("one_engine", &b->shared, j);
    om_json_key_num(j, "max_drop_percent", o->max_batching_loss, 4);
    om_json_key_bool(j, "passed", b->within);
    om_json_end_object(j);
}

static const char *const trend_keys[OM_TREND_COUNT] = {"memory_mb", "handles", "threads", "latency_mean_ms",
                                                       "latency_p99_ms"};

static void trend_json(const om_trend *t, om_json *j)
{
    om_json_begin_object(j);
    om_json_key_num(j, "first", t->first, 4);
    om_json_key_num(j, "median", t->median, 4);
    om_json_key_num(j, "slope_an_hour", t->slope, 4);
    om_json_key_num(j, "rise", t->rise, 4);
    om_json_key_num(j, "allowed", t->allowed, 4);
    om_json_key_num(j, "z", t->z, 4);
    om_json_key_bool(j, "rising", t->rising);
    om_json_end_object(j);
}

static void soak_json(const om_soak *s, om_json *j)
{
    om_json_key(j, "soak");
    om_json_begin_object(j);
    om_json_key_num(j, "seconds", s->seconds, 4);
    om_json_key_bool(j, "passed", s->flat);
    om_json_key_bool(j, "ended_early", s->ended);
    om_json_key_uint(j, "received", s->received);
    om_json_key_uint(j, "accounted", s->accounted);
    om_json_key_uint(j, "streams_removed", s->removed);
    om_json_key_uint(j, "streams_added", s->added);
    om_json_key(j, "trends");
    om_json_begin_object(j);
    for (int k = 0; k < OM_TREND_COUNT; k++) {
        om_json_key(j, trend_keys[k]);
        trend_json(&s->trends[k], j);
    }
    om_json_end_object(j);
    om_json_key_uint(j, "samples_left_out", s->skipped);
    om_json_key(j, "samples");
    om_json_begin_array(j);
    for (size_t i = 0; i < s->n_samples; i++) {
        const om_soak_sample *x = &s->samples[i];
        om_json_begin_object(j);
        om_json_key_num(j, "at_s", x->at_s, 4);
        om_json_key_uint(j, "streams", (uint64_t)x->streams);
        om_json_key_num(j, "fps_total", x->fps, 4);
        for (int k = 0; k < OM_TREND_COUNT; k++) om_json_key_num(j, trend_keys[k], x->value[k], 4);
        om_json_end_object(j);
    }
    om_json_end_array(j);
    om_json_end_object(j);
}

static void inputs_json(const om_bench_options *o, om_json *j)
{
    om_json_key(j, "inputs");
    om_json_begin_array(j);
    for (size_t i = 0; i < o->inputs.n; i++) {
        char *shown = om_uri_redact(o->inputs.items[i]);
        om_json_string(j, shown);
        om_free(shown);
    }
    om_json_end_array(j);
}

static void options_json(const om_bench_options *o, om_json *j)
{
    om_str value = {0};
    om_json_key(j, "options");
    om_json_begin_object(j);
    for (const om_option *x = om_bench_option_table; x->name; x++) {
        om_str_clear(&value);
        if (x->type == OM_OPT_LIST || om_option_get(om_bench_option_table, o, x->name, &value)) continue;
        if (value.len) om_json_key_string(j, x->name, om_str_get(&value));
    }
    om_json_end_object(j);
    om_str_fini(&value);
}

void om_bench_json(const om_bench_options *o, const om_bench_result *r, om_json *j)
{
    char when[OM_ISO_TIME_SIZE];
    om_iso_time(r->started_us, when);
    om_json_begin_object(j);
    om_json_key_string(j, "omma", OMMA_VERSION_STRING);
    om_json_key_uint(j, "bench", OM_BENCH_VERSION);
    om_json_key_string(j, "started", when);
    om_json_key_string(j, "model", r->model);
    om_json_key_string(j, "engine", r->engine);
    inputs_json(o, j);
    options_json(o, j);
    om_json_key(j, "system");
    om_json_begin_object(j);
    for (size_t i = 0; i < r->system_keys.n; i++)
        om_json_key_string(j, r->system_keys.items[i], r->system_values.items[i]);
    om_json_end_object(j);
    om_json_key_bool(j, "interrupted", r->interrupted);
    om_json_key_uint(j, "held", (uint64_t)r->carried);
    om_json_key(j, "broke");
    if (r->broken) om_json_int(j, r->broken);
    else om_json_null(j);
    om_json_key(j, "rungs");
    om_json_begin_array(j);
    for (size_t i = 0; i < r->n_rungs; i++) rung_json(&r->rungs[i], j);
    om_json_end_array(j);
    acceptance_json(o, r, j);
    accuracy_json(&r->accuracy, j);
    if (r->batching.measured) batching_json(o, &r->batching, j);
    if (r->soak.measured) soak_json(&r->soak, j);
    om_json_end_object(j);
}

static void csv_num(om_str *out, double v)
{
    if (isnan(v)) om_str_addc(out, ',');
    else om_str_addf(out, ",%.6g", v);
}

static void soak_csv(const om_soak *s, om_str *out)
{
    om_str_add(out, "at_s,streams,fps_total");
    for (int k = 0; k < OM_TREND_COUNT; k++) om_str_addf(out, ",%s", trend_keys[k]);
    om_str_addc(out, '\n');
    for (size_t i = 0; i < s->n_samples; i++) {
        const om_soak_sample *x = &s->samples[i];
        om_str_addf(out, "%.3f,%d", x->at_s, x->streams);
        csv_num(out, x->fps);
        for (int k = 0; k < OM_TREND_COUNT; k++) csv_num(out, x->value[k]);
        om_str_addc(out, '\n');
    }
}

void om_bench_csv(const om_bench_result *r, om_str *out)
{
    if (r->soak.measured) {
        soak_csv(&r->soak, out);
        return;
    }
    om_str_add(
        out,
        "streams,held,failed,seconds,fps_wanted,fps_min,fps_median,fps_total,latency_mean_ms,latency_p50_ms,"
        "latency_p95_ms,latency_p99_ms,latency_max_ms,inferred,dropped,drop_percent,cpu_percent,memory_mb,"
        "gpu_percent,gpu_memory_mb,nvdec_percent,network_mbit_s,mean_batch,dropped_by_cause,others_percent\n");
    for (size_t i = 0; i < r->n_rungs; i++) {
        const om_rung *x = &r->rungs[i];
        om_str_addf(out, "%d,%d,%d", x->streams, x->carried, x->failed);
        const double first[] = {x->seconds, x->target, x->fps_min, x->fps_median, x->fps_total,
                                x->mean_ms, x->p50_ms, x->p95_ms,  x->p99_ms,     x->max_ms};
        const double last[] = {x->drop_percent,  x->cpu_percent,   x->memory_mb,    x->gpu_percent,
                               x->gpu_memory_mb, x->nvdec_percent, x->network_mbit, x->mean_batch};
        for (size_t k = 0; k < sizeof first / sizeof *first; k++) csv_num(out, first[k]);
        om_str_addf(out, ",%llu,%llu", (unsigned long long)x->inferred, (unsigned long long)x->dropped);
        for (size_t k = 0; k < sizeof last / sizeof *last; k++) csv_num(out, last[k]);
        om_str_addc(out, ',');
        for (int k = 0, some = 0; k < x->n_causes; k++)
            if (x->causes[k].n)
                om_str_addf(out, "%s%s %llu", some++ ? " " : "", x->causes[k].name,
                            (unsigned long long)x->causes[k].n);
        csv_num(out, x->others_percent);
        om_str_addc(out, '\n');
    }
}
