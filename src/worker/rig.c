#include "worker/rig.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/planfile.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "profile/profile.h"

#define TRIAL_STEPS 5
#define AWAKE_NS (20 * OM_NS_PER_MS)

static int fail_model(const char *name)
{
    om_str all = {0};
    for (const char *const *n = om_model_synth_names(); *n; n++)
        om_str_addf(&all, "%s%s", all.len ? ", " : "", *n);
    int err =
        om_fail(OM_ERR_NOT_FOUND, "model '%s': no such file, and no name of a model that can be made: %s",
                name, om_str_get(&all));
    om_str_fini(&all);
    return err;
}

static int load_graph(om_rig *r, const om_rig_params *p)
{
    struct stat st;
    if (!stat(p->model, &st)) return om_plan_file_open(p->model, &r->graph, NULL);
    if (!om_model_is_synth(p->model)) return fail_model(p->model);
    om_synth_params s = {.seed = p->seed};
    r->random_weights = true;
    return om_model_synth(p->model, &s, &r->graph);
}

/* Models are made and exported for one picture at a time more often than not. */
static int free_batch(om_rig *r, const om_rig_params *p)
{
    const om_shape *s = &r->desc->inputs[0].shape;
    if (r->desc->dynamic_batch || s->rank != 4 || s->dim[0] == p->batch) return OM_OK;
    int err = om_model_make_dynamic(r->graph, true, false);
    if (err) return om_fail_prefix(err, "%s: --batch-size %d", p->model, p->batch);
    om_model_desc_free(r->desc);
    r->desc = NULL;
    err = om_graph_infer_shapes(r->graph);
    return err ? err : om_model_describe(r->graph, &r->desc);
}

int om_rig_load(om_rig *r, const om_rig_params *p)
{
    om_head_params hp;
    memset(r, 0, sizeof *r);
    int err = load_graph(r, p);
    if (!err) err = om_graph_infer_shapes(r->graph);
    if (!err) err = om_model_describe(r->graph, &r->desc);
    if (!err && r->desc->n_inputs != 1)
        err = om_fail(OM_ERR_UNSUPPORTED, "%s: the model has %d inputs; expected one, the picture", p->model,
                      r->desc->n_inputs);
    if (!err) err = free_batch(r, p);
    if (!err && p->labels) err = om_model_desc_load_labels(r->desc, p->labels);
    if (err || r->desc->family == OM_FAMILY_UNKNOWN) return err;
    om_head_params_default(&hp);
    return om_head_create(r->desc, &hp, &r->head);
}

static int open_devices(om_rig *r, const om_rig_params *p, const char **engine_device)
{
    int err = om_backend_select(p->infer_on_gpu ? p->gpu : p->device, &r->backend, engine_device);
    if (err) return p->infer_on_gpu ? om_fail_prefix(err, "--infer-on-gpu") : err;
    if (p->infer_on_gpu || p->prep_on_gpu) {
        om_backend_list(); /* the device comes with the same plug-in */
        om_device *gpu = NULL;
        err = om_device_open(p->gpu, &gpu);
        if (err) return om_fail_prefix(err, p->infer_on_gpu ? "--infer-on-gpu" : "--prep-on-gpu");
        if (p->infer_on_gpu) r->infer = gpu;
        else r->prep = gpu;
    }
    if (!r->infer) err = om_device_open("cpu", &r->infer);
    if (err || r->prep) return err;
    if (p->prep_on_gpu == p->infer_on_gpu) r->prep = r->infer;
    else err = om_device_open("cpu", &r->prep);
    return err;
}

static om_precision choose_precision(om_rig *r, const om_rig_params *p)
{
    if (!p->amp) {
        snprintf(r->precision, sizeof r->precision, "f32");
        return OM_PRECISION_F32;
    }
    if (p->infer_on_gpu) {
        snprintf(r->precision, sizeof r->precision, "f16");
        return OM_PRECISION_F16;
    }
    bool bf16 = om_cpu_flags() & (OM_CPU_BF16 | OM_CPU_AMX);
    snprintf(r->precision, sizeof r->precision, bf16 ? "bf16" : "f32 (this processor has no bf16)");
    if (!bf16) om_log(OM_LOG_WARN, "--use-amp: this processor has no bf16; it computes in f32");
    return bf16 ? OM_PRECISION_BF16 : OM_PRECISION_F32;
}

static void drop_plan(om_rig *r)
{
    om_session_destroy(r->session);
    om_plan_destroy(r->plan);
    r->session = NULL;
    r->plan = NULL;
}

static int compile(om_rig *r, om_compile_params *cp, om_mode mode, int threads)
{
    drop_plan(r);
    cp->mode = mode;
    cp->threads = threads;
    int err = om_plan_compile(r->backend, cp, &r->plan);
    return err ? err : om_session_create(r->plan, &r->session);
}

/* The shortest of a few inferences of whatever is in the input. */
static int try_out(om_rig *r, int64_t *ns)
{
    *ns = OM_NEVER;
    for (int i = 0; i < TRIAL_STEPS; i++) {
        int64_t begin = om_now_ns();
        int err = om_session_submit(r->session, r->plan->batch, om_session_unasked, NULL);
        if (!err) err = om_session_wait(r->session);
        if (err) return err;
        int64_t took = om_now_ns() - begin;
        if (i && took < *ns) *ns = took;
    }
    return OM_OK;
}

/* The modes of the engine, with one thread a core and with what it chooses itself. */
static int tune(om_rig *r, om_compile_params *cp, int threads)
{
    const struct {
        const char *name;
        om_mode mode;
        int threads;
    } ways[] = {{"latency", OM_MODE_LATENCY, threads},
                {"latency, own threads", OM_MODE_LATENCY, 0},
                {"throughput", OM_MODE_THROUGHPUT, threads}};
    size_t n = sizeof ways / sizeof *ways, best = 0;
    int64_t best_ns = OM_NEVER;
    om_str said = {0};
    for (size_t i = 0; i < n; i++) {
        int64_t ns;
        int err = compile(r, cp, ways[i].mode, ways[i].threads);
        if (!err) err = try_out(r, &ns);
        if (err) {
            om_str_fini(&said);
            return err;
        }
        om_str_addf(&said, "%s%s %.2f ms", i ? ", " : "", ways[i].name, (double)ns / 1e6);
        if (ns < best_ns) best = i;
        if (ns < best_ns) best_ns = ns;
    }
    snprintf(r->tuning, sizeof r->tuning, "%s; taken: %s", om_str_get(&said), ways[best].name);
    om_str_fini(&said);
    return best == n - 1 ? OM_OK : compile(r, cp, ways[best].mode, ways[best].threads);
}

static om_stream *stream_of(const om_rig *r)
{
    return r->prep != r->infer ? r->prep_stream : r->session->stream;
}

static int make_staging(om_rig *r)
{
    if (r->prep == r->infer) return OM_OK;
    int err = om_device_mem_alloc_for(r->prep, OM_PURPOSE_INPUTS,
                                      r->session->item_bytes * (size_t)r->plan->batch, &r->staging);
    if (!err && r->prep->ops->stream_create) err = om_device_stream_create(r->prep, 0, &r->prep_stream);
    return err;
}

int om_rig_compile(om_rig *r, const om_rig_params *p)
{
    const char *device = NULL;
    int err = open_devices(r, p, &device);
    if (err) return err;
    om_compile_params cp = {.graph = r->graph,
                            .desc = r->desc,
                            .device = device,
                            .memory = r->infer,
                            .batch = p->batch,
                            .width = r->desc->width,
                            .height = r->desc->height,
                            .precision = choose_precision(r, p),
                            .sessions = 1};
    char *cache = p->infer_on_gpu ? om_peaks_folder() : NULL;
    cp.cache_dir = cache;
    err = p->tuned && !p->infer_on_gpu ? tune(r, &cp, p->threads)
                                       : compile(r, &cp, OM_MODE_LATENCY, p->threads);
    om_free(cache);
    if (!err && p->tuned && p->infer_on_gpu)
        snprintf(r->tuning, sizeof r->tuning, "each layer's kernels were timed: %s", r->plan->note);
    if (err) return om_fail_prefix(err, "%s", p->model);
    err = make_staging(r);
    if (!err && stream_of(r) && r->prep->ops->event_create)
        err = om_device_event_create(r->prep, &r->prepared);
    return err;
}

void om_rig_fini(om_rig *r)
{
    drop_plan(r);
    if (r->prepared) om_device_event_destroy(r->prep, r->prepared);
    if (r->prep_stream) om_device_stream_destroy(r->prep, r->prep_stream);
    if (r->staging) om_device_mem_free(r->prep, r->staging);
    if (r->prep != r->infer) om_device_close(r->prep);
    om_device_close(r->infer);
    om_head_destroy(r->head);
    om_model_desc_free(r->desc);
    om_graph_destroy(r->graph);
    memset(r, 0, sizeof *r);
}

/* The batch from where it was prepared to where it is needed: one of the two is the host. */
static int transfer(om_rig *r, int n)
{
    bool up = r->prep->ops->memory == OM_MEMORY_HOST;
    return om_device_copy(up ? r->infer : r->prep, up ? OM_COPY_TO_DEVICE : OM_COPY_TO_HOST,
                          om_session_item(r->session, 0), r->staging, r->session->item_bytes * (size_t)n,
                          NULL);
}

/* Until the input is written. Sleeping and being woken takes as long as that, so it waits awake; but not
 * long. */
static int settle(om_rig *r, om_stream *stream)
{
    if (!r->prepared) return OM_OK;
    int64_t until = om_now_ns() + AWAKE_NS;
    int err = om_device_event_record(r->prep, r->prepared, stream);
    if (err) return err;
    om_device_count_sync(r->prep);
    while ((err = om_device_event_query(r->prep, r->prepared)) == OM_ERR_AGAIN && om_now_ns() < until)
        sched_yield();
    if (err != OM_ERR_AGAIN) return err;
    return om_device_event_sync(r->prep, r->prepared);
}

int om_rig_prepare(om_rig *r, om_frame *const *frames, int n, om_geometry *geo)
{
    om_gather_item items[OM_RIG_BATCH_MAX];
    bool apart = r->prep != r->infer;
    om_stream *stream = stream_of(r);
    for (int i = 0; i < n; i++) {
        const om_image *img = &frames[i]->image;
        om_geometry_fit(r->desc->fit, img->width, img->height, r->plan->width, r->plan->height, &geo[i]);
        void *dst = apart ? (uint8_t *)r->staging + (size_t)i * r->session->item_bytes
                          : om_session_item(r->session, i);
        items[i] = (om_gather_item){frames[i], geo[i], dst};
    }
    int err = om_device_gather(r->prep, items, (size_t)n, &r->plan->prep, stream);
    if (!err) err = settle(r, stream);
    return err || !apart ? err : transfer(r, n);
}

int om_rig_execute(om_rig *r, int n, const om_geometry *geo, om_dets *dets)
{
    int err = om_session_submit(r->session, n, om_session_unasked, NULL);
    if (err) return err;
    return r->head ? om_session_collect(r->session, r->head, n, geo, dets) : om_session_wait(r->session);
}
