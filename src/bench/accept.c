/* The acceptance table: what a rung must be, what it should be, and what it is. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/trial.h"

const om_limit_info om_limit_infos[OM_LIMIT_COUNT] = {
    [OM_LIMIT_FPS] = {"fps of each stream", "fps", "fps", ">=", "fps", 2, true, true, true},
    [OM_LIMIT_LATENCY] = {"mean latency", "mean", "ms", "<", "latency_ms", 1, true, false, true},
    [OM_LIMIT_P99] = {"p99 latency", "p99", "ms", "<", "latency_p99_ms", 1, true, false, true},
    [OM_LIMIT_DROPS] = {"frames lost", "lost", "%", "<", "drop_percent", 3, true, false, true},
    [OM_LIMIT_ACCURACY] = {"accuracy", "accuracy", "%", ">=", "accuracy_percent", 2, true, true, false},
    [OM_LIMIT_GPU_MEMORY] = {"GPU memory", "GPU memory", "GB", "<", "gpu_memory_gb", 2, true, false, true},
    [OM_LIMIT_CPU] = {"CPU load", "CPU", "%", "<", "cpu_percent", 1, false, false, false},
    [OM_LIMIT_GPU] = {"GPU load", "GPU", "%", "<=", "gpu_percent", 1, false, false, false},
    [OM_LIMIT_NETWORK] = {"network", "network", "Mbit/s", "<", "network_mbit_s", 1, false, false, false},
};

const char *om_outcome_name(om_outcome o)
{
    static const char *const names[] = {"passed", "failed", "not measured"};
    return names[o];
}

static double bound_of(const om_bench_options *o, om_limit l, const om_rung *r)
{
    switch (l) {
    case OM_LIMIT_FPS: return o->min_fps > 0 ? o->min_fps : 0.9 * r->target;
    case OM_LIMIT_LATENCY: return o->max_latency;
    case OM_LIMIT_P99: return o->max_p99;
    case OM_LIMIT_DROPS: return o->max_drops;
    case OM_LIMIT_ACCURACY: return o->min_accuracy;
    case OM_LIMIT_GPU_MEMORY: return o->max_gpu_memory;
    case OM_LIMIT_CPU: return o->max_cpu;
    case OM_LIMIT_GPU: return o->max_gpu;
    case OM_LIMIT_NETWORK: return o->max_network;
    case OM_LIMIT_COUNT: break;
    }
    return 0;
}

static double value_of(om_limit l, const om_rung *r, const om_accuracy *a)
{
    switch (l) {
    case OM_LIMIT_FPS: return r->fps_min;
    case OM_LIMIT_LATENCY: return r->mean_ms;
    case OM_LIMIT_P99: return r->p99_ms;
    case OM_LIMIT_DROPS: return r->drop_percent;
    case OM_LIMIT_ACCURACY: return a && a->measured ? 100 * a->agreement.ap50 : NAN;
    case OM_LIMIT_GPU_MEMORY: return r->gpu_memory_mb / 1024;
    case OM_LIMIT_CPU: return r->cpu_percent;
    case OM_LIMIT_GPU: return r->gpu_percent;
    case OM_LIMIT_NETWORK: return r->network_mbit;
    case OM_LIMIT_COUNT: break;
    }
    return NAN;
}

static const char *missing(om_limit l, const om_accuracy *a)
{
    switch (l) {
    case OM_LIMIT_ACCURACY: return a->why;
    case OM_LIMIT_GPU_MEMORY:
    case OM_LIMIT_GPU: return "no GPU";
    case OM_LIMIT_NETWORK: return "no packets";
    case OM_LIMIT_FPS: return "streams came and went";
    default: return "no frame came";
    }
}

static bool holds(const om_limit_info *info, double value, double bound)
{
    bool equal = !strcmp(info->relation, ">=") || !strcmp(info->relation, "<=");
    if (equal && value == bound) return true;
    return info->at_least ? value > bound : value < bound;
}

void om_rung_judge(const om_bench_options *o, om_rung *r)
{
    r->carried = false;
    if (r->failed) {
        snprintf(r->why, sizeof r->why, "%d of %d streams failed: %.110s", r->failed, r->streams, r->error);
        return;
    }
    if (!r->books) {
        snprintf(r->why, sizeof r->why, "frames are unaccounted for");
        return;
    }
    if (!r->inferred) {
        snprintf(r->why, sizeof r->why, "no frame came");
        return;
    }
    for (int l = 0; l < OM_LIMIT_COUNT; l++) {
        const om_limit_info *info = &om_limit_infos[l];
        double bound = bound_of(o, (om_limit)l, r), value = value_of((om_limit)l, r, NULL);
        if (!info->breaks || bound <= 0 || isnan(value) || holds(info, value, bound)) continue;
        snprintf(r->why, sizeof r->why, "%s %.5g%s%s, not %s %g", info->brief, value,
                 l == OM_LIMIT_FPS || *info->unit == '%' ? "" : " ", l == OM_LIMIT_FPS ? "" : info->unit,
                 info->relation, bound);
        return;
    }
    r->carried = true;
    r->why[0] = '\0';
}

/* The rung asked for, else the highest that held, else the lowest there is. */
static const om_rung *choose(const om_bench_options *o, const om_bench_result *r)
{
    const om_rung *best = NULL;
    for (size_t i = 0; i < r->n_rungs; i++) {
        const om_rung *x = &r->rungs[i];
        if (o->streams) {
            if (x->streams == o->streams) return x;
            continue;
        }
        bool better = !best || (x->carried && !best->carried) ||
                      (x->carried == best->carried &&
                       (x->carried ? x->streams > best->streams : x->streams < best->streams));
        if (better) best = x;
    }
    return best;
}

void om_bench_judge(const om_bench_options *o, om_bench_result *r)
{
    r->n_verdicts = 0;
    r->judged = choose(o, r);
    if (!r->judged) return;
    for (int l = 0; l < OM_LIMIT_COUNT; l++) {
        const om_limit_info *info = &om_limit_infos[l];
        om_judgement v = {.limit = (om_limit)l, .required = info->required};
        v.bound = bound_of(o, v.limit, r->judged);
        if (v.bound <= 0) continue;
        v.value = value_of(v.limit, r->judged, &r->accuracy);
        v.outcome = isnan(v.value) ? OM_NOT_MEASURED : holds(info, v.value, v.bound) ? OM_PASSED : OM_FAILED;
        if (v.outcome == OM_NOT_MEASURED) v.why = missing(v.limit, &r->accuracy);
        r->verdicts[r->n_verdicts++] = v;
    }
}

bool om_bench_failed(const om_bench_options *o, const om_bench_result *r)
{
    bool failed = r->judged && (r->judged->failed || !r->judged->books);
    for (int i = 0; i < r->n_verdicts; i++) {
        const om_judgement *v = &r->verdicts[i];
        if (!v->required) continue;
        failed |= v->outcome == OM_FAILED || (o->strict && v->outcome == OM_NOT_MEASURED);
    }
    if (r->batching.measured && !r->batching.within) failed = true;
    if (r->soak.measured && !r->soak.flat) failed = true;
    return failed;
}
