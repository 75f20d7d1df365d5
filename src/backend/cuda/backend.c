/* The backend "cuda": plans of our own graph engine on NVIDIA GPUs. */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "backend/cuda/plan_io.h"
#include "backend/cuda/tune.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "device/cuda/cuda.h"
#include "model/operators.h"

#define TUNE_SECONDS 60
#define DEFAULT_SESSIONS 2
#define RUNG_STEP 4

static int cuda_devices(om_backend_device *out, int max)
{
    int n = 0;
    if (cudaGetDeviceCount(&n) != cudaSuccess) {
        (void)cudaGetLastError();
        return 0;
    }
    if (n > max) n = max;
    for (int i = 0; i < n; i++) {
        struct cudaDeviceProp prop;
        if (cudaGetDeviceProperties(&prop, i) != cudaSuccess) return i;
        out[i] = (om_backend_device){{0}, {0}, "f32 tf32 f16 int8"};
        snprintf(out[i].id, sizeof out[i].id, "cuda:%d", i);
        snprintf(out[i].name, sizeof out[i].name, "%.150s", prop.name);
    }
    return n;
}

static const char *cuda_version(void)
{
    static char text[96];
    const char *missing = omcu_cudnn_missing();
    snprintf(text, sizeof text, "CUDA %d.%d, cuDNN %s", CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10,
             missing ? "missing" : omcu_cudnn_version());
    return text;
}

static int cuda_supports(const char *device, const om_graph *g, const om_node *n, const char **why)
{
    return omcu_supports(g, n, why);
}

static bool is_quantised(const om_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (!g->nodes[i].dead && strcmp(g->nodes[i].op, "DequantizeLinear") == 0) return true;
    return false;
}

static int check_precision(const om_compile_params *params)
{
    if (params->precision == OM_PRECISION_INT8 && !is_quantised(params->graph))
        return om_fail(
            OM_ERR_ARG,
            "precision int8: the model carries no quantisation (QuantizeLinear, DequantizeLinear)");
    if (params->precision == OM_PRECISION_BF16)
        return om_fail(
            OM_ERR_UNSUPPORTED,
            "the CUDA engine computes in f32, tf32, f16 and int8; expected one of these as precision");
    return OM_OK;
}

/* The precision to compute in: of a quantised model int8, else f16, where none is asked for. */
static om_precision precision_of(const om_compile_params *params)
{
    if (params->precision != OM_PRECISION_AUTO) return params->precision;
    return is_quantised(params->graph) ? OM_PRECISION_INT8 : OM_PRECISION_F16;
}

static bool is_half(om_precision precision)
{
    return precision == OM_PRECISION_F16 || precision == OM_PRECISION_INT8;
}

/* The caller's GPU, or one of our own where the input comes from the host. */
static int open_device(om_plan *plan, const char *name)
{
    omcu_plan *p = plan->priv;
    char id[40];
    long long index = 0;
    if (name && (om_parse_int(name, &index) != OM_OK || index < 0))
        return om_fail(OM_ERR_NOT_FOUND, "device 'cuda:%s': expected the number of a GPU", name);
    bool memory = plan->memory->ops->memory == OM_MEMORY_CUDA;
    if (memory && name && index != plan->memory->index)
        return om_fail(OM_ERR_ARG, "device 'cuda:%s': the input lies on %s", name, plan->memory->id);
    if (memory) {
        p->device = plan->memory;
        return OM_OK;
    }
    snprintf(id, sizeof id, "cuda:%lld", index);
    p->own_device = true;
    return om_device_open(id, &p->device);
}

/* How the gather shall write: what the first kernel reads. */
static void choose_prep(om_plan *plan, const om_compile_params *params, bool half)
{
    omcu_plan *p = plan->priv;
    p->nhwc = !params->keep_prep && plan->desc->prep.layout == OM_LAYOUT_NCHW;
    if (!p->nhwc) return;
    plan->prep.layout = OM_LAYOUT_NHWC;
    plan->prep.dtype = half ? OM_DTYPE_F16 : OM_DTYPE_F32;
}

static int fold_batchnorm(om_graph *g)
{
    int n = om_graph_fold_batchnorm(g);
    return n < 0 ? n : om_graph_infer_shapes(g);
}

/* The graph becomes a program with 8-bit integers in it; which tensors lie as such is decided for the first,
 * largest batch, where a plan file does not say. */
static int lower_int8(omcu_plan *p, const om_graph *g, omcu_build *how, const omcu_tune_params *tune,
                      const omcu_qdq *qdq, int rung)
{
    int err = OM_OK;
    how->qdq = qdq;
    if (!p->narrow) {
        p->narrow = om_calloc((size_t)qdq->n_groups + 1, sizeof *p->narrow);
        p->n_narrow = qdq->n_groups;
        err = p->narrow ? omcu_choose(p->device, g, how, tune, p->narrow) : OM_ERR_NOMEM;
    }
    if (!err && qdq->n_groups != p->n_narrow)
        err = om_fail(OM_ERR_FORMAT, "the choice of 8-bit integers is one of %d groups of tensors, not %d",
                      p->n_narrow, qdq->n_groups);
    how->narrow = p->narrow;
    return err ? err : omcu_lower(p->device, g, how, &p->programs[rung]);
}

/* A chain computes what a quantised model stands for: its rounding is left out. */
static int chain(om_plan *plan, const om_compile_params *params, om_graph *g, omcu_build *how, int rung)
{
    omcu_plan *p = plan->priv;
    omcu_qdq dropped = {.n_values = 0};
    int err = is_quantised(params->graph) ? omcu_qdq_take(g, &dropped) : OM_OK;
    omcu_qdq_fini(&dropped);
    how->qdq = NULL;
    how->narrow = NULL;
    return err ? err : omcu_chain_build(p->device, g, how, params->threads, &p->chains[rung]);
}

/* The whole model as a program, or as a chain where the engine lacks operators of it. */
static int lower(om_plan *plan, const om_compile_params *params, int batch, const omcu_tune_params *tune,
                 int rung)
{
    omcu_plan *p = plan->priv;
    om_precision precision = precision_of(params);
    bool int8 = precision == OM_PRECISION_INT8;
    omcu_qdq qdq = {.n_values = 0};
    int c = plan->prep.channels == OM_CHANNELS_GRAY ? 1 : 3;
    om_shape in = om_shape_make(4, (int64_t)batch, (int64_t)c, (int64_t)plan->height, (int64_t)plan->width);
    if (plan->desc->prep.layout == OM_LAYOUT_NHWC)
        in = om_shape_make(4, (int64_t)batch, (int64_t)plan->height, (int64_t)plan->width, (int64_t)c);
    om_graph *g = NULL;
    const char *without = getenv("OMMA_CUDA_WITHOUT");
    omcu_build how = {.half = is_half(precision),
                      .tf32 = precision == OM_PRECISION_TF32,
                      .picture_nhwc = p->nhwc,
                      .no_depthwise = without && strstr(without, "depthwise"),
                      .no_blocks = without && strstr(without, "blocks"),
                      .store = p->store};
    int err = omcu_settle(params->graph, &in, 1, &g);
    /* Whoever computes convolutions in our place gets them with what would be folded into ours. */
    if (!err && om_operators_find("", "Conv")) err = fold_batchnorm(g);
    if (!err) err = omcu_qdq_take(g, int8 ? &qdq : NULL);
    bool shared = rung && p->chains[0];
    if (!err && !shared)
        err = int8 ? lower_int8(p, g, &how, tune, &qdq, rung)
                   : omcu_lower(p->device, g, &how, &p->programs[rung]);
    if (err == OM_ERR_UNSUPPORTED && g && !rung) {
        om_log(OM_LOG_DEBUG, "cuda: %s", om_error_message());
        shared = true;
        err = OM_OK;
    }
    if (!err && shared) err = chain(plan, params, g, &how, rung);
    omcu_qdq_fini(&qdq);
    om_graph_destroy(g);
    return err;
}

static int tune(const omcu_plan *p, int rung, const omcu_tune_params *params)
{
    const omcu_chain *chain = p->chains[rung];
    int err = chain ? OM_OK : omcu_tune(p->programs[rung], params);
    for (int i = 0; chain && i < chain->n_stages && !err; i++)
        if (chain->stages[i].program) err = omcu_tune(chain->stages[i].program, params);
    return err;
}

/* What a plan file says was made of the same steps. */
static int check_form(const omcu_plan *p, int rung, const omcu_form_rung *from)
{
    if (!from) return OM_OK;
    if (p->chains[rung])
        return om_fail(OM_ERR_FORMAT, "it was made of a model that runs on the GPU as a whole");
    int n = p->programs[rung]->n_steps;
    return from->steps == n
               ? OM_OK
               : om_fail(OM_ERR_FORMAT, "it was made of %d steps, which are %d now", from->steps, n);
}

/* The plan's batch, and smaller ones for what a part of it fills. `form`: what a plan file says of them;
 * NULL: everything is found out. */
static int build_rungs(om_plan *plan, const om_compile_params *params, const omcu_form *form, om_str *memo)
{
    omcu_plan *p = plan->priv;
    int err = OM_OK;
    for (int batch = plan->batch; batch >= 1 && p->n_rungs < OMCU_RUNGS && !err;) {
        /* The libraries' candidates take long to build: only for the batch that is meant to be full, and only
         * that is remembered. */
        bool top = batch == plan->batch;
        const omcu_form_rung *from = form ? &form->rungs[p->n_rungs] : NULL;
        if (form && (p->n_rungs >= form->n_rungs || from->batch != batch))
            return om_fail(OM_ERR_FORMAT, "it holds nothing for batch %d", batch);
        omcu_tune_params how = {.memo = top ? memo : NULL,
                                .seconds = TUNE_SECONDS,
                                .libraries = top,
                                .threads = params->threads,
                                .recall = from};
        err = lower(plan, params, batch, &how, p->n_rungs);
        if (err) break;
        p->rungs[p->n_rungs++] = batch;
        err = check_form(p, p->n_rungs - 1, from);
        if (!err) err = tune(p, p->n_rungs - 1, &how);
        int next = 1;
        while (next * RUNG_STEP < batch) next *= RUNG_STEP;
        if (batch == 1 || params->profiling) break;
        batch = next;
    }
    return err;
}

static void cuda_plan_fini(om_plan *plan)
{
    omcu_plan *p = plan->priv;
    for (int i = 0; i < OMCU_RUNGS; i++) {
        omcu_program_destroy(p->programs[i]);
        omcu_chain_destroy(p->chains[i]);
    }
    om_free(p->narrow);
    omcu_store_unref(p->store);
    if (p->own_device) om_device_close(p->device);
}

/* With what was timed before at hand, and what is timed now kept with it. */
static int build(om_plan *plan, const om_compile_params *params, const omcu_form *form)
{
    omcu_plan *p = plan->priv;
    om_str memo = {0};
    int err = form ? OM_OK : omcu_memo_load(p->device, params->cache_dir, &memo);
    if (!err) err = build_rungs(plan, params, form, &memo);
    if (!err && !form && omcu_memo_save(p->device, params->cache_dir, &memo))
        om_log(OM_LOG_WARN, "tuning is not remembered: %s", om_error_message());
    om_str_fini(&memo);
    return err;
}

/* What a plan file says of a quantised model's tensors. */
static int take_groups(omcu_plan *p, const omcu_form *form)
{
    int n = form->groups ? (int)strlen(form->groups) : 0;
    p->narrow = om_calloc((size_t)n + 1, sizeof *p->narrow);
    if (!p->narrow) return OM_ERR_NOMEM;
    for (int i = 0; i < n; i++) p->narrow[i] = form->groups[i] == '1';
    p->n_narrow = n;
    return OM_OK;
}

static const char *numbers_of(const omcu_plan *p, om_precision precision)
{
    if (is_half(precision)) return precision == OM_PRECISION_INT8 && !p->chains[0] ? "int8" : "f16";
    return precision == OM_PRECISION_TF32 ? "tf32" : "f32";
}

static int prepare(om_plan *plan, const om_compile_params *params, const omcu_form *form)
{
    omcu_plan *p = plan->priv;
    om_precision precision = precision_of(params);
    int err = om_cuda_enter(p->device);
    if (err) return err;
    static atomic_bool told; /* engines of several GPUs are compiled side by side */
    const char *missing = omcu_cudnn_missing();
    if (!atomic_exchange(&told, true) && missing)
        om_log(OM_LOG_INFO, "cuda: no cuDNN (%s): only own kernels", missing);
    p->profiling = params->profiling;
    choose_prep(plan, params, is_half(precision));
    err = omcu_store_create(p->device, &p->store);
    if (!err && form && precision == OM_PRECISION_INT8) err = take_groups(p, form);
    if (!err) err = build(plan, params, form);
    if (err) return err;
    plan->sessions = params->sessions                  ? params->sessions
                     : params->mode == OM_MODE_LATENCY ? 1
                                                       : DEFAULT_SESSIONS;
    const omcu_program *first = omcu_first_program(p);
    char how[120];
    size_t held, asked;
    if (!first) return om_fail(OM_ERR_UNSUPPORTED, "nothing of the model runs on the GPU");
    omcu_store_sizes(p->store, &held, &asked);
    if (p->chains[0]) omcu_chain_note(p->chains[0], how, sizeof how);
    else snprintf(how, sizeof how, "%s", omcu_tuner_note(first->tuner));
    snprintf(plan->note, sizeof plan->note, "cuda %.12s %s, %.100s, %d MB of weights", p->device->id,
             numbers_of(p, precision), how, (int)(held >> 20));
    om_log(OM_LOG_DEBUG, "cuda: weights of %d batch sizes: %.1f MB, each once (%.1f MB apart)", p->n_rungs,
           (double)held / 1e6, (double)asked / 1e6);
    return OM_OK;
}

static int cuda_compile(om_plan *plan, const om_compile_params *params)
{
    int err = check_precision(params);
    if (!err) err = open_device(plan, params->device);
    return err ? err : prepare(plan, params, NULL);
}

/* ---- plan files ---- */

static int capability(const om_device *d, int *major, int *minor)
{
    cudaError_t e = cudaDeviceGetAttribute(major, cudaDevAttrComputeCapabilityMajor, d->index);
    if (e == cudaSuccess) e = cudaDeviceGetAttribute(minor, cudaDevAttrComputeCapabilityMinor, d->index);
    return om_cuda_check(d, (int)e, "asking for the GPU's compute capability");
}

static int cuda_export(om_plan *plan, char **blob, size_t *len)
{
    const omcu_plan *p = plan->priv;
    omcu_form form = {.n_rungs = p->n_rungs};
    om_str groups = {0};
    *blob = NULL;
    *len = 0;
    if (p->chains[0])
        return om_fail(OM_ERR_UNSUPPORTED,
                       "the cuda backend keeps no compiled form of a model that it shares with the CPU");
    int err = capability(p->device, &form.major, &form.minor);
    for (int i = 0; i < p->n_rungs && !err; i++) {
        err = omcu_tuner_export(p->programs[i], &form.rungs[i]);
        form.rungs[i].batch = p->rungs[i];
    }
    for (int i = 0; i < p->n_narrow; i++) om_str_addc(&groups, p->narrow[i] ? '1' : '0');
    form.groups = om_str_get(&groups);
    if (!err && groups.failed) err = om_fail_nomem("a compiled form");
    if (!err) err = omcu_form_write(&form, blob, len);
    om_str_fini(&groups);
    for (int i = 0; i < p->n_rungs; i++) omcu_rung_fini(&form.rungs[i]);
    return err;
}

static int cuda_import(om_plan *plan, const om_compile_params *params, const void *blob, size_t len)
{
    const omcu_plan *p = plan->priv;
    omcu_form form = {.n_rungs = 0};
    int major = 0, minor = 0, err = omcu_form_parse(blob, len, &form);
    if (err) return err;
    err = check_precision(params);
    if (!err) err = open_device(plan, params->device);
    if (!err) err = capability(p->device, &major, &minor);
    if (!err && (major != form.major || minor != form.minor))
        err = om_fail(OM_ERR_UNSUPPORTED, "it was made for compute capability %d.%d, %s has %d.%d",
                      form.major, form.minor, p->device->id, major, minor);
    if (!err) err = prepare(plan, params, &form);
    omcu_form_fini(&form);
    return err;
}

const om_backend_ops om_backend_cuda = {
    .api_version = OM_BACKEND_API_VERSION,
    .name = "cuda",
    .title = "own graph engine on cuDNN, cuBLASLt and own kernels",
    .plan_priv_size = sizeof(omcu_plan),
    .session_priv_size = sizeof(omcu_session),
    .devices = cuda_devices,
    .version = cuda_version,
    .supports = cuda_supports,
    .compile = cuda_compile,
    .plan_fini = cuda_plan_fini,
    .session_init = omcu_session_init,
    .session_fini = omcu_session_fini,
    .submit = omcu_submit,
    .wait = omcu_wait,
    .decode = omcu_decode,
    .layers = omcu_layers,
    .plan_export = cuda_export,
    .plan_import = cuda_import,
    .plan_parts = omcu_form_parts,
};
