/* What the run asks of its GPU. */
#include <string.h>

#include "base/log.h"
#include "pipeline/pipeline_priv.h"
#include "pipeline/preflight.h"

void om_pipeline_tell_decoders(om_pipeline *p)
{
    for (int i = 0; i < p->n_units; i++) {
        const om_engine *e = p->units[i].engine;
        om_device_info gpu = {0};
        om_str text = {0};
        size_t n = 0;
        for (size_t k = 0; k < p->n_streams; k++) n += p->streams[k]->unit == &p->units[i];
        if (!e->hwaccel || om_device_info_get(e->decode_device, &gpu)) continue;
        bool short_of = om_preflight_decoders(&gpu, n, &text);
        if (text.len) om_log(short_of ? OM_LOG_WARN : OM_LOG_INFO, "%s", om_str_get(&text));
        om_str_fini(&text);
    }
}

/* Shares that the driver does not tell stay negative. */
static void add(double *sum, double v) { *sum = v < 0 || *sum < 0 ? -1 : *sum + v; }

static void sample(om_pipeline *p, om_unit *unit)
{
    om_device *gpu = om_engine_gpu(unit->engine);
    om_device_usage u;
    if (!gpu || om_device_is_lost(gpu, false) || om_device_usage_get(gpu, &u)) return;
    pthread_mutex_lock(&p->lock);
    om_gpu_load *l = &unit->gpu;
    l->last = u;
    add(&l->sum.compute_percent, u.compute_percent);
    add(&l->sum.decode_percent, u.decode_percent);
    add(&l->sum.power_w, u.power_w);
    l->held_back = u.held_back < 0 || l->held_back < 0 ? -1 : l->held_back + u.held_back;
    if (u.memory_used > l->memory_peak) l->memory_peak = u.memory_used;
    if (u.memory_process > l->memory_process_peak) l->memory_process_peak = u.memory_process;
    l->samples++;
    pthread_mutex_unlock(&p->lock);
}

void om_pipeline_sample_gpu(om_pipeline *p)
{
    for (int i = 0; i < p->n_units; i++) sample(p, &p->units[i]);
}

/* Shares are means, the rest are sums. */
static void merge(om_device_usage *into, const om_device_usage *u, int n)
{
    add(&into->compute_percent, u->compute_percent / n);
    add(&into->decode_percent, u->decode_percent / n);
    add(&into->encode_percent, u->encode_percent / n);
    add(&into->power_w, u->power_w);
    into->memory_used = u->memory_used < 0 || into->memory_used < 0 ? -1 : into->memory_used + u->memory_used;
    into->memory_process =
        u->memory_process < 0 || into->memory_process < 0 ? -1 : into->memory_process + u->memory_process;
}

/* Of all GPUs that tell together; `sum` becomes means. */
static om_gpu_load whole_load(om_pipeline *p)
{
    om_gpu_load all = {0};
    int n = 0;
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < p->n_units; i++) n += p->units[i].gpu.samples > 0;
    for (int i = 0; i < p->n_units; i++) {
        const om_gpu_load *l = &p->units[i].gpu;
        if (!l->samples) continue;
        om_device_usage mean = l->sum;
        mean.compute_percent /= l->samples;
        mean.decode_percent /= l->samples;
        mean.power_w /= l->samples;
        merge(&all.last, &l->last, n);
        merge(&all.sum, &mean, n);
        all.memory_peak += l->memory_peak;
        all.memory_process_peak += l->memory_process_peak;
        all.samples = 1;
    }
    pthread_mutex_unlock(&p->lock);
    return all;
}

void om_pipeline_forget_gpu(om_pipeline *p)
{
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < p->n_units; i++) {
        p->units[i].gpu.sum = (om_device_usage){0};
        p->units[i].gpu.held_back = 0;
        p->units[i].gpu.samples = 0;
    }
    pthread_mutex_unlock(&p->lock);
}

static void member(om_json *j, const char *key, bool known, double v)
{
    om_json_key(j, key);
    if (known && v >= 0) om_json_num(j, v, 1);
    else om_json_null(j);
}

static double mb(int64_t bytes) { return (double)bytes / (1 << 20); }

void om_pipeline_gpu_json(om_pipeline *p, om_json *j)
{
    om_gpu_load l = whole_load(p);
    int n = l.samples;
    int64_t memory = l.memory_process_peak > 0 ? l.memory_process_peak : l.memory_peak;
    member(j, "gpu_percent", n, l.sum.compute_percent / (n ? n : 1));
    member(j, "gpu_memory_mb", n, mb(memory));
    om_pipeline_gpu_memory_json(p, j);
    member(j, "nvdec_percent", n, l.sum.decode_percent / (n ? n : 1));
    member(j, "gpu_power_w", n, l.sum.power_w / (n ? n : 1));
}

void om_pipeline_unit_gpu_json(om_pipeline *p, const om_unit *u, om_json *j)
{
    pthread_mutex_lock(&p->lock);
    om_gpu_load l = u->gpu;
    pthread_mutex_unlock(&p->lock);
    int n = l.samples;
    member(j, "gpu_percent", n, l.sum.compute_percent / (n ? n : 1));
    member(j, "gpu_memory_mb", n, mb(l.memory_process_peak > 0 ? l.memory_process_peak : l.memory_peak));
    om_pipeline_unit_memory_json(u, j);
    member(j, "nvdec_percent", n, l.sum.decode_percent / (n ? n : 1));
    member(j, "gpu_power_w", n, l.sum.power_w / (n ? n : 1));
}

bool om_pipeline_gpu_usage(om_pipeline *p, om_device_usage *out)
{
    om_gpu_load l = whole_load(p);
    *out = l.last;
    return l.samples > 0;
}

void om_pipeline_gpu_text(om_pipeline *p, om_str *out)
{
    om_gpu_load l = whole_load(p);
    om_device_usage u = l.last;
    int n = l.samples;
    om_str held = {0};
    om_pipeline_gpu_memory_text(p, &held);
    if (!n) u = (om_device_usage){-1, -1, -1, -1, -1, -1};
    if (u.compute_percent >= 0) om_str_addf(out, "GPU %.0f%%", u.compute_percent);
    if (u.decode_percent >= 0) om_str_addf(out, "%sNVDEC %.0f%%", out->len ? ", " : "", u.decode_percent);
    int64_t memory = u.memory_process > 0 ? u.memory_process : u.memory_used;
    if (memory >= 0) om_str_addf(out, "%s%.0f MB", out->len ? ", " : "", mb(memory));
    else if (held.len) om_str_addf(out, "%sMB", out->len ? ", " : "GPU ");
    if (held.len) om_str_addf(out, " (%s)", om_str_get(&held));
    om_str_fini(&held);
    if (u.power_w >= 0) om_str_addf(out, "%s%.0f W", out->len ? ", " : "", u.power_w);
}
