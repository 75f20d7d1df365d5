#include "profile/load.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *key;
    size_t offset;
} members[] = {{"seconds", offsetof(om_load, seconds)},
               {"frames", offsetof(om_load, frames)},
               {"fps", offsetof(om_load, fps)},
               {"received", offsetof(om_load, received)},
               {"superseded", offsetof(om_load, superseded)},
               {"dropped", offsetof(om_load, dropped)},
               {"latency_p50_ms", offsetof(om_load, latency_p50_ms)},
               {"latency_p99_ms", offsetof(om_load, latency_p99_ms)},
               {"n_streams", offsetof(om_load, n_streams)},
               {"live_streams", offsetof(om_load, live_streams)},
               {"mean_batch", offsetof(om_load, mean_batch)},
               {"batch_limit", offsetof(om_load, batch_limit)},
               {"in_flight_limit", offsetof(om_load, sessions)},
               {"batch_infer_ms", offsetof(om_load, batch_infer_ms)},
               {"cores", offsetof(om_load, cores)},
               {"cores_of_machine", offsetof(om_load, machine_cores)},
               {"cpu_seconds", offsetof(om_load, cpu_s)},
               {"cores_busy", offsetof(om_load, cores_busy)},
               {"core_wait_seconds", offsetof(om_load, core_wait_s)},
               {"throttled_seconds", offsetof(om_load, throttled_s)},
               {"power_throttles", offsetof(om_load, power_throttles)}};

static const struct {
    const char *stage;
    size_t offset;
} stages[] = {{"source", offsetof(om_load, source)},    {"decode", offsetof(om_load, decode)},
              {"cores", offsetof(om_load, cores_wait)}, {"mailbox", offsetof(om_load, mailbox)},
              {"gather", offsetof(om_load, gather)},    {"infer", offsetof(om_load, infer)},
              {"finish", offsetof(om_load, finish)},    {"head", offsetof(om_load, head)},
              {"lane", offsetof(om_load, lane)},        {"sink", offsetof(om_load, sink)}};

static void store(om_load *l, size_t offset, double v) { memcpy((char *)l + offset, &v, sizeof v); }

static double share_of(const om_json_value *device, const char *what)
{
    const om_json_value *v = om_json_get(device, what);
    return v && v->type == OM_JSON_OBJ ? om_json_get_num(v, "share", -1) : -1;
}

static double percent(const om_json_value *device, const char *key)
{
    double v = om_json_get_num(device, key, -1);
    return v < 0 ? -1 : fmin(1, v / 100);
}

static void read_device(const om_json_value *d, om_load *out)
{
    out->device = d && d->type == OM_JSON_OBJ;
    if (!out->device) d = NULL;
    out->device_gather = share_of(d, "gather");
    out->device_infer = share_of(d, "infer");
    out->device_head = share_of(d, "head");
    out->device_busy = percent(d, "gpu_percent");
    out->decoders_busy = percent(d, "nvdec_percent");
    out->device_watts = om_json_get_num(d, "gpu_power_w", -1);
    out->device_limit_w = om_json_get_num(d, "gpu_power_limit_w", -1);
    out->held_back = om_json_get_num(d, "held_back", -1);
    double frames = fmax(1, out->frames);
    out->up_bytes = om_json_get_num(d, "bytes_to_device", 0) / frames;
    out->down_bytes = om_json_get_num(d, "bytes_to_host", 0) / frames;
}

void om_load_read(const om_json_value *run, om_load *out)
{
    memset(out, 0, sizeof *out);
    if (!run || run->type != OM_JSON_OBJ) return;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        store(out, members[i].offset, om_json_get_num(run, members[i].key, 0));
    const om_json_value *list = om_json_get(run, "stages");
    for (size_t i = 0; list && list->type == OM_JSON_ARR && i < list->n; i++) {
        const om_json_value *name = om_json_get(&list->children[i], "stage");
        if (!name || name->type != OM_JSON_STR) continue;
        for (size_t k = 0; k < sizeof stages / sizeof stages[0]; k++)
            if (!strcmp(stages[k].stage, name->str))
                store(out, stages[k].offset, om_json_get_num(&list->children[i], "mean_ms", 0));
    }
    const om_json_value *power = om_json_get(run, "power");
    out->watts = om_json_get_num(power, "watts", 0);
    out->joules_a_frame = om_json_get_num(power, "joules_a_frame", 0);
    read_device(om_json_get(run, "device"), out);
    out->there = out->frames > 1 && out->seconds > 0 && out->fps > 0;
    if (out->n_streams < 1) out->n_streams = 1;
    if (out->sessions < 1) out->sessions = 1;
    if (out->mean_batch < 1) out->mean_batch = 1;
    if (out->cores < 1) out->cores = 1;
}

const char *om_resource_name(om_resource r)
{
    static const char *const names[] = {"source", "decode", "gather", "infer", "head", "sink", "cpu"};
    return names[r];
}

void om_load_demands(const om_load *l, double out[OM_RESOURCE_COUNT])
{
    out[OM_RESOURCE_SOURCE] = (l->source + l->cores_wait + l->decode) / l->n_streams;
    out[OM_RESOURCE_DECODE] = l->decode / l->n_streams;
    out[OM_RESOURCE_GATHER] = l->gather;
    out[OM_RESOURCE_INFER] = l->batch_infer_ms / l->mean_batch / l->sessions;
    out[OM_RESOURCE_HEAD] = l->head;
    out[OM_RESOURCE_SINK] = l->sink / l->n_streams;
    out[OM_RESOURCE_CPU] = l->frames > 0 ? 1e3 * l->cpu_s / l->frames / l->cores : 0;
}
