/* The measurement: rounds of inferences with and without the engine's own clocks, interleaved. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/planfile.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "profile/group.h"
#include "profile/profile.h"
#include "trace/trace.h"

#define ROUNDS 3
#define WARM 2
#define MAX_LAYERS 65536
#define BUDGET_NS (12 * OM_NS_PER_SEC) /* of the inferences of one kind and round; slow models get fewer */
#define GAP 0.05

typedef struct samples {
    double *v;
    size_t n, cap;
} samples;

static int samples_add(samples *s, double v)
{
    void *items = s->v;
    int err = om_grow(&items, &s->cap, s->n + 1, sizeof *s->v);
    s->v = items;
    if (!err) s->v[s->n++] = v;
    return err;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts. */
static double median(samples *s)
{
    if (!s->n) return 0;
    qsort(s->v, s->n, sizeof *s->v, by_value);
    return s->n % 2 ? s->v[s->n / 2] : (s->v[s->n / 2 - 1] + s->v[s->n / 2]) / 2;
}

/* What one measurement holds. */
typedef struct bench {
    const om_profile_params *params;
    om_profile *p;
    om_graph *graph, *shaped; /* as loaded; with the shapes that are measured */
    om_plan_file *plan_file;  /* that the model came in, or NULL */
    om_model_desc *desc;
    const om_backend_ops *backend;
    const char *device;
    om_device *memory;
    bool apart;   /* the device has memory of its own */
    bool watched; /* by a tool, which slows all down and wants one inference with marks: no times are taken */
    char *cache_dir; /* what its engine chose is remembered there, so that each plan is the same; NULL:
                        nowhere */
    om_tags tags;
    om_plan *plain_plan, *marked_plan; /* marked: with the engine's clocks */
    om_session *plain, *marked;
    om_layer_time *times, *warm; /* of the profiled session; n_times */
    int n_times;
    samples *layers; /* by time entry */
    samples latency, profiled;
} bench;

static void say(const bench *b, const char *what, double share)
{
    if (b->params->progress) b->params->progress(b->params->user, what, share);
}

static int stopped(const bench *b)
{
    return om_cancelled(b->params->cancel) ? om_fail(OM_ERR_CANCELLED, "stopped") : OM_OK;
}

static int load_model(bench *b)
{
    const om_profile_params *q = b->params;
    int err = om_plan_file_open(q->model, &b->graph, &b->plan_file);
    if (!err) err = om_graph_infer_shapes(b->graph);
    if (!err) err = om_model_describe(b->graph, &b->desc);
    if (!err) om_plan_file_describe(b->plan_file, b->desc);
    if (err) return err;
    const om_shape *in = &b->desc->inputs[0].shape;
    if (b->desc->n_inputs != 1 || in->rank != 4)
        return om_fail(OM_ERR_UNSUPPORTED, "%s: expected a model of one input of four dimensions, a picture",
                       q->model);
    if (q->batch > 1 && !b->desc->dynamic_batch && in->dim[0] != q->batch)
        return om_fail(OM_ERR_ARG,
                       "%s has a fixed batch of %lld, not %d: make it dynamic with 'omma model batch'",
                       q->model, (long long)in->dim[0], q->batch);
    if (q->size.width && !b->desc->dynamic_size &&
        (q->size.width != b->desc->width || q->size.height != b->desc->height))
        return om_fail(OM_ERR_ARG, "%s has a fixed input of %dx%d, not %dx%d", q->model, b->desc->width,
                       b->desc->height, q->size.width, q->size.height);
    om_size own = {b->desc->width, b->desc->height};
    int planned = om_plan_file_batch(b->plan_file, false);
    /* Layers are told by tags in the model, which compiled forms lack. */
    if (b->plan_file) b->plan_file->fresh = true;
    om_plan_file_size(b->plan_file, own.width, own.height, &own);
    b->p->batch = q->batch > 0                                ? q->batch
                  : !b->desc->dynamic_batch && in->dim[0] > 0 ? (int)in->dim[0]
                  : planned > 0                               ? planned
                                                              : 1;
    b->p->width = q->size.width ? q->size.width : own.width;
    b->p->height = q->size.width ? q->size.height : own.height;
    b->p->parameters = om_graph_params(b->graph);
    return OM_OK;
}

/* A second graph with the shapes of this measurement: what bytes and arithmetic are counted from. */
static int shape_graph(bench *b)
{
    const om_profile *p = b->p;
    om_shape shape = b->desc->inputs[0].shape;
    bool last = b->desc->prep.layout == OM_LAYOUT_NHWC;
    shape.dim[0] = p->batch;
    shape.dim[last ? 1 : 2] = p->height;
    shape.dim[last ? 2 : 3] = p->width;
    int err = om_graph_clone(b->graph, &b->shaped);
    if (!err) err = om_graph_set_input_shape(b->shaped, 0, &shape);
    return err ? err : om_graph_infer_shapes(b->shaped);
}

/* A backend whose plug-in brings a device of the same name has its tensors there; all others in host memory.
 */
static int open_memory(bench *b)
{
    char id[64];
    if (!om_device_find(b->backend->name)) return om_device_open("cpu", &b->memory);
    snprintf(id, sizeof id, "%s%s%s", b->backend->name, b->device ? ":" : "", b->device ? b->device : "");
    int err = om_device_open(id, &b->memory);
    b->apart = !err && b->memory->ops->memory != OM_MEMORY_HOST;
    if (b->apart) b->cache_dir = om_peaks_folder();
    return err;
}

static int compile(bench *b, bool profiling, om_plan **out)
{
    om_compile_params q = {.graph = b->graph,
                           .desc = b->desc,
                           .device = b->device,
                           .memory = b->memory,
                           .batch = b->p->batch,
                           .width = b->p->width,
                           .height = b->p->height,
                           .precision = b->params->precision,
                           .mode = OM_MODE_LATENCY,
                           .threads = b->params->threads,
                           .sessions = 1,
                           .profiling = profiling,
                           .cache_dir = b->cache_dir,
                           .plan_file = b->plan_file};
    return om_plan_compile(b->backend, &q, out);
}

/* Seeded noise: no zeros that a kernel could skip and no denormals that would slow it down. */
static int fill_input(om_session *s)
{
    size_t bytes = s->item_bytes * (size_t)s->plan->batch;
    bool host = s->plan->memory->ops->memory == OM_MEMORY_HOST;
    void *data = host ? s->input.data : om_alloc(bytes);
    uint32_t seed = 1;
    if (!data) return OM_ERR_NOMEM;
    for (size_t i = 0; i < bytes / om_dtype_size(s->input.dtype); i++) {
        seed = seed * 1664525u + 1013904223u;
        float v = (float)(seed >> 8) / 16777216.0f;
        if (s->input.dtype == OM_DTYPE_F32) ((float *)data)[i] = v;
        else if (s->input.dtype == OM_DTYPE_F16) ((uint16_t *)data)[i] = om_f32_to_f16(v);
        else ((uint8_t *)data)[i] = (uint8_t)(seed >> 24);
    }
    int err =
        host ? OM_OK : om_device_copy(s->plan->memory, OM_COPY_TO_DEVICE, s->input.data, data, bytes, NULL);
    if (!host) om_free(data);
    return err;
}

static void done(void *user) { (void)user; }

/* Until the engine is done; outputs that lie on a device of their own stay there: transfers are timed apart.
 */
static int infer(om_session *s, double *us)
{
    int64_t begin = om_now_ns();
    int err = om_session_submit(s, s->plan->batch, done, NULL);
    s->collecting = s->plan->memory->ops->memory != OM_MEMORY_HOST;
    if (!err) err = om_session_wait(s);
    s->collecting = false;
    *us = (double)(om_now_ns() - begin) / 1e3;
    return err;
}

static int warm_up(om_session *s)
{
    double us;
    int err = fill_input(s);
    for (int i = 0; i < WARM && !err; i++) err = infer(s, &us);
    return err;
}

static int first_times(bench *b, om_session *s)
{
    int n = om_session_layers(s, NULL, 0);
    if (n < 0) return n;
    if (n == 0 || n > MAX_LAYERS)
        return om_fail(OM_ERR_UNSUPPORTED, "the %s backend reports %d layers; expected 1 to %d",
                       b->backend->name, n, MAX_LAYERS);
    b->times = om_calloc((size_t)n, sizeof *b->times);
    b->warm = om_calloc((size_t)n, sizeof *b->warm);
    b->layers = om_calloc((size_t)n, sizeof *b->layers);
    b->n_times = n;
    return b->times && b->warm && b->layers ? OM_OK : om_fail_nomem("the layers");
}

static int read_times(bench *b, om_session *s, om_layer_time *out)
{
    int n = om_session_layers(s, out, b->n_times);
    if (n < 0) return n;
    return n == b->n_times ? OM_OK
                           : om_fail(OM_ERR_INTERNAL, "the engine reports %d layers, then %d", b->n_times, n);
}

/* An engine that tells of its last inference is asked after each; one that tells the mean of all it ran is
 * asked before and behind, and what it warmed up with is taken out again. */
static int note_times(bench *b, om_session *s, bool last)
{
    int err = read_times(b, s, b->times);
    for (int i = 0; i < b->n_times && !err; i++) {
        const om_layer_time *now = &b->times[i], *then = &b->warm[i];
        double us = (double)now->ns / 1e3;
        if (now->runs > 1) {
            if (!last) continue;
            us = ((double)now->ns * now->runs - (double)then->ns * then->runs) / (now->runs - then->runs) /
                 1e3;
        }
        err = samples_add(&b->layers[i], us > 0 ? us : 0);
    }
    return err;
}

/* All f32 outputs of the plain session, one behind the other. */
static int keep_outputs(bench *b)
{
    om_session *s = b->plain;
    om_profile *p = b->p;
    size_t n = 0;
    if (!b->params->keep_outputs) return OM_OK;
    if (b->apart) {
        int err = om_session_wait(s); /* brings them to the host */
        if (err) return err;
    }
    for (int pass = 0; pass < 2; pass++) {
        n = 0;
        for (int i = 0; i < s->n_outputs; i++) {
            int64_t count = om_shape_count(&s->outputs[i].shape);
            if (count <= 0 || s->outputs[i].dtype != OM_DTYPE_F32) continue;
            if (pass) memcpy(p->outputs + n, s->outputs[i].data, (size_t)count * sizeof(float));
            n += (size_t)count;
        }
        if (!pass && !(p->outputs = om_realloc_array(NULL, n + 1, sizeof *p->outputs))) return OM_ERR_NOMEM;
    }
    p->n_outputs = n;
    return OM_OK;
}

static void close_marked(bench *b)
{
    if (b->marked != b->plain) om_session_destroy(b->marked);
    om_plan_destroy(b->marked_plan);
    b->marked = NULL;
    b->marked_plan = NULL;
}

/* A CPU engine lays its memory out anew for each plan, and is slower or faster by it; a GPU's takes long to
 * make one and is not. */
static int open_marked(bench *b)
{
    if (b->watched) b->marked = b->plain;
    if (b->marked) return OM_OK;
    int err = compile(b, true, &b->marked_plan);
    return err ? err : om_session_create(b->marked_plan, &b->marked);
}

static int measured_round(bench *b, int iterations)
{
    int err = open_marked(b);
    om_session *s = b->marked;
    if (!err) err = warm_up(s);
    if (!err && !b->times) err = first_times(b, s);
    if (!err) err = read_times(b, s, b->warm);
    int64_t end = om_now_ns() + BUDGET_NS;
    for (int i = 0; i < iterations && !err; i++) {
        double us;
        bool last = i + 1 == iterations || om_now_ns() > end;
        if (last) om_trace_begin(OM_PROFILE_SPAN, b->p->batch);
        err = infer(s, &us);
        if (last) om_trace_end(OM_PROFILE_SPAN);
        if (!err) err = samples_add(&b->profiled, us);
        if (!err) err = note_times(b, s, last);
        if (!err) err = stopped(b);
        if (last) break;
    }
    if (!b->apart) close_marked(b);
    return err;
}

static int plain_round(bench *b, int iterations)
{
    int err = OM_OK;
    int64_t end = om_now_ns() + BUDGET_NS;
    for (int i = 0; i < iterations && !err && om_now_ns() < end; i++) {
        double us;
        err = infer(b->plain, &us);
        if (!err) err = samples_add(&b->latency, us);
        if (!err) err = stopped(b);
    }
    return err;
}

static int measure_rounds(bench *b)
{
    int rounds = b->watched ? 1 : ROUNDS;
    int each = (b->params->iterations + ROUNDS - 1) / ROUNDS, err = OM_OK;
    for (int r = 0; r < rounds && !err; r++) {
        char what[64];
        snprintf(what, sizeof what, "round %d of %d", r + 1, rounds);
        say(b, what, (double)r / rounds);
        err = plain_round(b, each);
        if (!err) err = measured_round(b, each);
    }
    b->p->rounds = rounds;
    b->p->iterations = (int)b->latency.n;
    return err;
}

static bool is_copy(const om_layer *l)
{
    static const char *const types[] = {
        "Reorder", "Reformat",     "Transpose",    "Concat", "Split",   "Slice",     "Reshape",
        "Gather",  "Pad",          "Convert",      "Cast",   "Squeeze", "Unsqueeze", "Flatten",
        "Expand",  "SpaceToDepth", "DepthToSpace", "Tile",   "Resize",  "Upsample",  "ScatterND",
        NULL};
    for (const char *const *t = types; *t; t++)
        if (!strcmp(l->type, *t)) return true;
    return l->inserted;
}

#define OVERHEAD_US 20
#define OVERHEAD_REACH 0.1

static void judge(const om_peaks *peaks, om_layer *l)
{
    double flops = 2.0 * (double)l->macs, roof = om_peaks_gflops(peaks, l->precision);
    l->gflops = l->us > 0 ? flops / l->us / 1e3 : 0;
    l->gbs = l->us > 0 ? (double)l->bytes / l->us / 1e3 : 0;
    bool known = roof > 0 && peaks->memory_gbs > 0;
    l->reach = known ? fmax(l->gflops / roof, l->gbs / peaks->memory_gbs) : 0;
    bool compute =
        !known ? l->macs > 0 : l->bytes > 0 && flops / (double)l->bytes >= roof / peaks->memory_gbs;
    if (l->us < OVERHEAD_US && l->reach < OVERHEAD_REACH) l->roof = OM_ROOF_OVERHEAD;
    else if (l->macs == 0 && is_copy(l)) l->roof = OM_ROOF_COPY;
    else l->roof = compute ? OM_ROOF_COMPUTE : OM_ROOF_MEMORY;
}

static int take_layer_times(bench *b, const int *entry)
{
    for (int i = 0; i < b->n_times; i++) {
        if (entry[i] < 0) continue;
        om_layer *l = &b->p->layers[entry[i]];
        l->step = i;
        l->us = median(&b->layers[i]);
        if (!b->layers[i].n) continue;
        l->least_us = b->layers[i].v[0];
        l->most_us = b->layers[i].v[b->layers[i].n - 1];
    }
    for (size_t i = 0; i < b->p->n_layers; i++) {
        judge(&b->p->peaks, &b->p->layers[i]);
        b->p->layers_us += b->p->layers[i].us;
    }
    return OM_OK;
}

static char *explain_device(const om_profile *p, double gap)
{
    if (gap > 0)
        return om_sprintf(
            "the layers add up to %.0f us of the %.0f an inference takes: the rest, %.1f us, is starting the graph of "
            "%zu steps on the device and waking the thread that waits for it",
            p->layers_us, p->latency_us, gap, p->n_layers);
    return om_sprintf(
        "the layers add up to %.0f us, %.0f more than an inference without marks takes (%.0f us): without them a step "
        "begins while the one before it ends",
        p->layers_us, -gap, p->latency_us);
}

/* Why the layers do not add up to the inference. */
static char *explain(const om_profile *p)
{
    double gap = p->latency_us - p->layers_us, clocks = p->profiled_us - p->latency_us;
    size_t below = 0;
    for (size_t i = 0; i < p->n_layers; i++) below += p->layers[i].us < 1;
    if (fabs(gap) <= GAP * p->latency_us) return NULL;
    if (!p->in_place) return explain_device(p, gap);
    if (gap < 0)
        return om_sprintf(
            "the layers add up to %.0f us, %.0f more than an inference without clocks takes; with them it took "
            "%.0f us%s",
            p->layers_us, -gap, p->profiled_us,
            clocks > -gap / 2 ? ": the clocks slow it down" : ": layers ran beside each other");
    return om_sprintf(
        "the layers add up to %.0f us of the %.0f an inference takes: the rest, %.1f us a layer, is between "
        "layers%s%zu of %zu took less than the engine's clock tells (1 us)",
        p->layers_us, p->latency_us, gap / (double)(p->n_layers ? p->n_layers : 1), below ? "; " : ", and ",
        below, p->n_layers);
}

/* Kinds of memory differ: what is copied to and from the engine is timed on its own. */
static int measure_transfers(bench *b)
{
    om_session *s = b->plain;
    om_profile *p = b->p;
    samples in = {0}, out = {0};
    p->input_bytes = (int64_t)s->item_bytes * p->batch;
    for (int i = 0; i < s->n_outputs; i++) {
        int64_t n = om_shape_count(&s->outputs[i].shape);
        p->output_bytes += n > 0 ? n * (int64_t)om_dtype_size(s->outputs[i].dtype) : 0;
    }
    p->in_place = !b->apart;
    if (p->in_place) return OM_OK;
    size_t most = (size_t)(p->input_bytes > p->output_bytes ? p->input_bytes : p->output_bytes);
    void *host = NULL;
    int err = om_device_pinned_alloc(b->memory, most, &host);
    for (int i = 0; i < 10 && !err; i++) {
        int64_t t0 = om_now_ns();
        err = om_device_copy(b->memory, OM_COPY_TO_DEVICE, s->input.data, host, (size_t)p->input_bytes, NULL);
        int64_t t1 = om_now_ns();
        for (int k = 0; k < s->n_outputs && !err; k++) {
            int64_t n = om_shape_count(&s->outputs[k].shape) * (int64_t)om_dtype_size(s->outputs[k].dtype);
            if (n > 0)
                err = om_device_copy(b->memory, OM_COPY_TO_HOST, host, s->outputs[k].data, (size_t)n, NULL);
        }
        int64_t t2 = om_now_ns();
        if (!err) err = samples_add(&in, (double)(t1 - t0) / 1e3);
        if (!err) err = samples_add(&out, (double)(t2 - t1) / 1e3);
    }
    p->to_device_us = median(&in);
    p->to_host_us = median(&out);
    om_device_pinned_free(b->memory, host);
    om_free(in.v);
    om_free(out.v);
    return err;
}

static int conclude(bench *b)
{
    om_profile *p = b->p;
    size_t nodes = (size_t)b->shaped->n_nodes;
    int *owner = om_calloc(nodes + 1, sizeof *owner), *entry = om_calloc((size_t)b->n_times, sizeof *entry);
    int err = owner && entry ? OM_OK : om_fail_nomem("the layers' groups");
    p->latency_us = median(&b->latency);
    p->profiled_us = median(&b->profiled);
    if (!err) err = om_group_layers(b->shaped, b->times, b->n_times, b->plain_plan, p, owner, entry);
    if (!err) err = take_layer_times(b, entry);
    if (!err) err = om_fusion_check(b->shaped, owner, p);
    if (!err) err = measure_transfers(b);
    if (!err) p->gap = explain(p);
    om_free(owner);
    om_free(entry);
    return err;
}

static const char *precision_name(om_precision v)
{
    for (const om_choice *c = om_precision_choices; c->name; c++)
        if (c->value == (int)v) return c->name;
    return "auto";
}

static int describe(bench *b)
{
    om_profile *p = b->p;
    p->model = om_strdup(b->params->model);
    p->device = om_strdup(b->params->device);
    p->engine = om_strdup(b->plain_plan->note);
    p->engine_version = om_strdup(b->backend->version());
    p->requested = om_strdup(precision_name(b->params->precision));
    if (!p->model || !p->device || !p->engine || !p->engine_version || !p->requested) return OM_ERR_NOMEM;
    return om_system_describe(&p->system_keys, &p->system_values);
}

static void bench_fini(bench *b)
{
    om_tags_remove(&b->tags);
    close_marked(b);
    om_session_destroy(b->plain);
    om_plan_destroy(b->plain_plan);
    for (int i = 0; b->layers && i < b->n_times; i++) om_free(b->layers[i].v);
    om_free(b->layers);
    om_free(b->times);
    om_free(b->warm);
    om_free(b->latency.v);
    om_free(b->profiled.v);
    om_device_close(b->memory);
    om_free(b->cache_dir);
    om_model_desc_free(b->desc);
    om_graph_destroy(b->shaped);
    om_graph_destroy(b->graph);
    om_plan_file_free(b->plan_file);
}

int om_profile_measure(const om_profile_params *params, om_profile *p)
{
    memset(p, 0, sizeof *p);
    bench b = {.params = params, .p = p};
    p->threads = params->threads > 0 ? params->threads : om_cpu_count();
    int err = om_backend_select(params->device, &b.backend, &b.device);
    if (!err && !b.backend->layers)
        err = om_fail(OM_ERR_UNSUPPORTED, "the %s backend gives no timings of layers", b.backend->name);
    if (!err) err = load_model(&b);
    if (!err) err = shape_graph(&b);
    if (!err) err = open_memory(&b);
    say(&b, "measuring the machine", 0);
    b.watched = b.apart && om_trace_has_tool();
    if (!err && !b.apart) err = om_peaks_get(om_cpu_count(), params->fresh_peaks, &p->peaks);
    if (!err && b.apart && !b.watched) err = om_peaks_get_device(b.memory, params->fresh_peaks, &p->peaks);
    if (err == OM_ERR_UNSUPPORTED && b.apart) err = OM_OK; /* then nothing is known of its roofs */
    if (!err) err = stopped(&b);
    say(&b, "compiling the model", 0);
    if (!err) err = om_tags_put(b.graph, &b.tags);
    if (!err) err = compile(&b, b.watched, &b.plain_plan);
    if (!err) err = stopped(&b);
    if (!err) err = om_session_create(b.plain_plan, &b.plain);
    if (!err) err = warm_up(b.plain);
    if (!err) err = keep_outputs(&b);
    if (!err) err = measure_rounds(&b);
    if (!err) err = describe(&b);
    if (!err) err = conclude(&b);
    bench_fini(&b);
    return err;
}
