/* A GPU's memory: how much of it the run may take, what it takes it for, and what is done when it is short.
 */
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "pipeline/pipeline_priv.h"

#define MB ((int64_t)1 << 20)

int om_gpu_memory_parse(const char *text, int64_t total, int64_t *out)
{
    double v = 0;
    om_str number = {0};
    size_t n = text ? strlen(text) : 0;
    bool share = n && text[n - 1] == '%';
    *out = 0;
    if (!n) return OM_OK;
    om_str_addn(&number, text, share ? n - 1 : n);
    int err = om_parse_double(om_str_get(&number), &v);
    om_str_fini(&number);
    if (err || !(v > 0) || v > (share ? 100 : 1e9))
        return om_fail(OM_ERR_ARG,
                       "--gpu-memory '%s': expected megabytes, as in 4000, or a share, as in 50%%", text);
    *out = share ? (int64_t)((double)total * v / 100) : (int64_t)(v * (double)MB);
    return OM_OK;
}

int om_engine_cap_memory(const om_engine *e, om_device *d)
{
    om_device_info info = {0};
    om_device_usage usage;
    int64_t bytes;
    if (!d || d->ops->memory == OM_MEMORY_HOST || !e->options->gpu_memory) return OM_OK;
    int err = om_device_info_get(d, &info);
    if (!err) err = om_gpu_memory_parse(e->options->gpu_memory, info.memory_total, &bytes);
    if (err) return err;
    om_device_memory_cap(d, bytes);
    if (d->ops->usage) (void)om_device_usage_get(d, &usage); /* from here on the driver's share counts */
    om_log(OM_LOG_INFO, "device %s: at most %.0f MB of its memory", d->id, (double)bytes / (double)MB);
    return OM_OK;
}

om_device *om_engine_memory(const om_engine *e)
{
    if (!e) return NULL; /* asked before the start */
    if (e->first_device && e->first_device->ops->memory != OM_MEMORY_HOST) return e->first_device;
    return e->decode_device;
}

static void member(om_json *j, const char *key, int64_t bytes)
{
    om_json_key(j, key);
    if (bytes < 0) om_json_null(j);
    else om_json_num(j, (double)bytes / (double)MB, 2);
}

static void purposes_json(om_json *j, const char *key, const int64_t *of, int64_t driver, int64_t total)
{
    om_json_key(j, key);
    om_json_begin_object(j);
    for (int i = 0; i < OM_PURPOSES; i++) member(j, om_purpose_name((om_purpose)i), of[i]);
    member(j, "driver", driver);
    member(j, "counted", total);
    om_json_end_object(j);
}

static void steps_json(om_engine *e, om_json *j)
{
    om_json_key(j, "steps");
    om_json_begin_object(j);
    pthread_mutex_lock(&e->compile_lock);
    om_json_key_uint(j, "smaller_batches", (uint64_t)e->spared.batches);
    om_json_key_uint(j, "fewer_sessions", (uint64_t)e->spared.sessions);
    om_json_key_uint(j, "cpu_decoders", e->hwaccel ? om_hwaccel_declined(e->hwaccel) : 0);
    om_json_key_uint(j, "fallback", e->move.at_ns && e->spared.moved);
    pthread_mutex_unlock(&e->compile_lock);
    om_json_end_object(j);
}

static void engine_json(om_engine *e, om_json *j)
{
    om_device_memory m;
    om_device *d = om_engine_memory(e);
    om_json_key(j, "gpu_memory");
    if (!d) {
        om_json_null(j);
        return;
    }
    om_device_memory_get(d, &m);
    om_json_begin_object(j);
    om_json_key_string(j, "device", d->id);
    purposes_json(j, "now", m.now, m.driver, m.total);
    purposes_json(j, "peak", m.peak, m.driver_peak, m.total_peak);
    member(j, "cap", m.cap ? m.cap : -1);
    om_json_key_uint(j, "refused", m.refused);
    steps_json(e, j);
    om_json_end_object(j);
}

void om_pipeline_gpu_memory_json(om_pipeline *p, om_json *j) { engine_json(p->engine, j); }

void om_pipeline_unit_memory_json(const om_unit *u, om_json *j) { engine_json(u->engine, j); }

void om_pipeline_gpu_memory_text(om_pipeline *p, om_str *out)
{
    om_device_memory all = {0}, m;
    for (int k = 0; k < p->n_units; k++) {
        om_device *d = om_engine_memory(p->units[k].engine);
        if (!d) continue;
        om_device_memory_get(d, &m);
        for (int i = 0; i < OM_PURPOSES; i++) all.now[i] += m.now[i];
        if (m.driver > 0) all.driver += m.driver;
    }
    size_t before = out->len;
    for (int i = 0; i < OM_PURPOSES; i++)
        if (all.now[i] >= MB / 2)
            om_str_addf(out, "%s%s %.0f", out->len > before ? ", " : "", om_purpose_name((om_purpose)i),
                        (double)all.now[i] / (double)MB);
    if (all.driver >= MB / 2)
        om_str_addf(out, "%sdriver %.0f", out->len > before ? ", " : "", (double)all.driver / (double)MB);
}
