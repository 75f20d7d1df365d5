/* Convolutions of cuDNN's backend API: the convolution, its bias, activation and residual as one graph, the
 * engines that its heuristics name for it, and one of them as a plan. */
#include <cuda_runtime_api.h>
#include <cudnn_backend.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "backend/cuda/tune.h"
#include "base/error.h"
#include "base/mem.h"
#include "device/cuda/library.h"

#define MAX_OPS 10
#define MAX_TENSORS 20
#define MAX_HANDLES 64
#define MAX_CONFIGS 16
#define MAX_NOTES 16

static struct {
    cudnnStatus_t (*create)(cudnnHandle_t *);
    cudnnStatus_t (*set_stream)(cudnnHandle_t, cudaStream_t);
    size_t (*version)(void);
    cudnnStatus_t (*make)(cudnnBackendDescriptorType_t, cudnnBackendDescriptor_t *);
    cudnnStatus_t (*free)(cudnnBackendDescriptor_t);
    cudnnStatus_t (*finalize)(cudnnBackendDescriptor_t);
    cudnnStatus_t (*set)(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t, cudnnBackendAttributeType_t,
                         int64_t, const void *);
    cudnnStatus_t (*get)(cudnnBackendDescriptor_t const, cudnnBackendAttributeName_t,
                         cudnnBackendAttributeType_t, int64_t, int64_t *, void *);
    cudnnStatus_t (*execute)(cudnnHandle_t, cudnnBackendDescriptor_t, cudnnBackendDescriptor_t);
} api;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char missing[320], version_text[32];

/* Handles are the process's: making one takes long. `lock` guards the pool. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cudnnHandle_t pool[MAX_HANDLES];
static int pool_device[MAX_HANDLES], n_pool;

static void load_library(void)
{
    static const char *const files[] = {"libcudnn.so.9", "/usr/local/cuda/lib64/libcudnn.so.9", NULL};
    const om_cuda_symbol symbols[] = {
        {"cudnnCreate", (void **)&api.create},
        {"cudnnSetStream", (void **)&api.set_stream},
        {"cudnnGetVersion", (void **)&api.version},
        {"cudnnBackendCreateDescriptor", (void **)&api.make},
        {"cudnnBackendDestroyDescriptor", (void **)&api.free},
        {"cudnnBackendFinalize", (void **)&api.finalize},
        {"cudnnBackendSetAttribute", (void **)&api.set},
        {"cudnnBackendGetAttribute", (void **)&api.get},
        {"cudnnBackendExecute", (void **)&api.execute},
    };
    const char *why = om_cuda_library_load("OMMA_CUDNN", files, symbols, sizeof symbols / sizeof symbols[0]);
    if (why) {
        snprintf(missing, sizeof missing, "%.300s", why);
        return;
    }
    size_t v = api.version();
    snprintf(version_text, sizeof version_text, "%zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
}

const char *omcu_cudnn_missing(void)
{
    pthread_once(&once, load_library);
    return missing[0] ? missing : NULL;
}

const char *omcu_cudnn_version(void) { return omcu_cudnn_missing() ? "none" : version_text; }

static cudnnHandle_t take_handle(void)
{
    cudnnHandle_t h = NULL;
    int device = 0;
    (void)cudaGetDevice(&device);
    pthread_mutex_lock(&lock);
    for (int i = n_pool - 1; i >= 0 && !h; i--) {
        if (pool_device[i] != device) continue;
        h = pool[i];
        pool[i] = pool[--n_pool];
        pool_device[i] = pool_device[n_pool];
    }
    pthread_mutex_unlock(&lock);
    if (!h && api.create(&h) != CUDNN_STATUS_SUCCESS) h = NULL;
    return h;
}

/* One that does not fit stays until the process ends. */
static void return_handle(cudnnHandle_t h)
{
    int device = 0;
    (void)cudaGetDevice(&device);
    pthread_mutex_lock(&lock);
    if (h && n_pool < MAX_HANDLES) {
        pool[n_pool] = h;
        pool_device[n_pool++] = device;
    }
    pthread_mutex_unlock(&lock);
}

/* All descriptors of one graph, freed together. */
typedef struct graph {
    cudnnBackendDescriptor_t all[MAX_TENSORS + 3 * MAX_OPS], ops[MAX_OPS], graph;
    int n_all, n_ops;
    bool failed;
} graph;

static cudnnBackendDescriptor_t make(graph *g, cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t d = NULL;
    if (g->failed || api.make(type, &d) != CUDNN_STATUS_SUCCESS) {
        g->failed = true;
        return NULL;
    }
    g->all[g->n_all++] = d;
    return d;
}

static void set(graph *g, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t n, const void *value)
{
    if (!g->failed && api.set(d, name, type, n, value) != CUDNN_STATUS_SUCCESS) g->failed = true;
}

static void finish(graph *g, cudnnBackendDescriptor_t d)
{
    if (!g->failed && api.finalize(d) != CUDNN_STATUS_SUCCESS) g->failed = true;
}

static void free_graph(graph *g)
{
    if (g->graph) api.free(g->graph);
    for (int i = g->n_all - 1; i >= 0; i--) api.free(g->all[i]);
}

typedef struct layout {
    int64_t dim[4], stride[4];
} layout;

static cudnnBackendDescriptor_t tensor(graph *g, int64_t id, cudnnDataType_t type, const layout *l,
                                       bool is_virtual)
{
    cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    /* Single numbers lie behind each other. */
    int64_t align = l->dim[1] == 1 && l->dim[0] == 1 ? 4 : 16;
    set(g, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(g, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(g, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align);
    set(g, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, l->dim);
    set(g, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, l->stride);
    if (is_virtual) set(g, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    finish(g, d);
    return d;
}

/* y = mode(x, b); b NULL: of one number. */
static void pointwise(graph *g, cudnnPointwiseMode_t mode, const omcu_act *act, cudnnBackendDescriptor_t x,
                      cudnnBackendDescriptor_t b, cudnnBackendDescriptor_t y)
{
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR), op;
    set(g, d, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(g, d, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type);
    if (act && act->op == OMCU_LEAKY) {
        double slope = (double)act->a;
        set(g, d, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, CUDNN_TYPE_DOUBLE, 1, &slope);
    }
    if (act && act->op == OMCU_CLIP) {
        double low = (double)act->a, high = (double)act->b;
        set(g, d, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP, CUDNN_TYPE_DOUBLE, 1, &low);
        set(g, d, CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, CUDNN_TYPE_DOUBLE, 1, &high);
    }
    finish(g, d);
    op = make(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set(g, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &d);
    set(g, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &x);
    if (b) set(g, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &b);
    set(g, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &y);
    finish(g, op);
    if (!g->failed) g->ops[g->n_ops++] = op;
}

static bool act_mode(const omcu_act *a, cudnnPointwiseMode_t *mode)
{
    switch (a->op) {
    case OMCU_CLIP:
        if (!isfinite(a->a) || !isfinite(a->b)) return false;
        *mode = CUDNN_POINTWISE_RELU_FWD;
        return true;
    case OMCU_RELU:
    case OMCU_LEAKY: *mode = CUDNN_POINTWISE_RELU_FWD; return true;
    case OMCU_SILU: *mode = CUDNN_POINTWISE_SWISH_FWD; return true;
    case OMCU_SIGMOID: *mode = CUDNN_POINTWISE_SIGMOID_FWD; return true;
    case OMCU_TANH: *mode = CUDNN_POINTWISE_TANH_FWD; return true;
    case OMCU_GELU: *mode = CUDNN_POINTWISE_GELU_FWD; return true;
    default: return false;
    }
}

enum { ID_X = 1, ID_W, ID_BIAS, ID_RES, ID_Y, ID_VIRTUAL };

static void convolution(graph *g, const omcu_conv *c, cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t w,
                        cudnnBackendDescriptor_t y)
{
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    int64_t n = 2, dil[2] = {c->dil_y, c->dil_x}, stride[2] = {c->stride_y, c->stride_x},
            pre[2] = {c->pad_y, c->pad_x};
    int64_t post[2] = {(c->ho - 1) * stride[0] + (c->r - 1) * dil[0] + 1 - c->h - pre[0],
                       (c->wo - 1) * stride[1] + (c->s - 1) * dil[1] + 1 - c->wd - pre[1]};
    for (int i = 0; i < 2; i++)
        if (post[i] < 0) post[i] = 0;
    cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR), op;
    set(g, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(g, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(g, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &n);
    set(g, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dil);
    set(g, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    set(g, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pre);
    set(g, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, post);
    finish(g, d);
    float one = 1, zero = 0;
    op = make(g, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    set(g, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &d);
    set(g, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &x);
    set(g, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &w);
    set(g, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &y);
    set(g, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    set(g, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    finish(g, op);
    if (!g->failed) g->ops[g->n_ops++] = op;
}

/* What a plan computes, and how. */
typedef struct task {
    omcu_conv conv; /* shapes only */
    bool half, residual;
    bool tensor_cores; /* may be used: f16, and f32 as tf32 */
    bool bare;         /* the convolution alone; the rest by our own kernel behind it */
} task;

static bool finish_graph(graph *g, cudnnHandle_t handle)
{
    if (g->failed || api.make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &g->graph) != CUDNN_STATUS_SUCCESS)
        g->failed = true;
    set(g, g->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, g->n_ops, g->ops);
    set(g, g->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    finish(g, g->graph);
    return !g->failed;
}

/* What has been described of a graph so far: the value at its end. */
typedef struct chain {
    graph *g;
    const layout *y;
    cudnnBackendDescriptor_t at;
    int virtual_id, left; /* operations to come; the last writes y */
    cudnnDataType_t y_type;
} chain;

static cudnnBackendDescriptor_t next_value(chain *c)
{
    return --c->left ? tensor(c->g, c->virtual_id++, CUDNN_DATA_FLOAT, c->y, true)
                     : tensor(c->g, ID_Y, c->y_type, c->y, false);
}

static void follow(chain *c, cudnnPointwiseMode_t mode, const omcu_act *act, cudnnBackendDescriptor_t b)
{
    cudnnBackendDescriptor_t next = next_value(c);
    pointwise(c->g, mode, act, c->at, b, next);
    c->at = next;
}

static int count_ops(const task *t)
{
    const omcu_conv *c = &t->conv;
    return 1 + (c->act1.op != OMCU_NONE) + t->residual + (c->act2.op != OMCU_NONE);
}

/* conv -> + bias -> act1 -> + residual -> act2: what is between is virtual,
 * the last one is y. */
static bool describe(const task *t, cudnnHandle_t handle, graph *g)
{
    const omcu_conv *c = &t->conv;
    cudnnDataType_t type = t->half ? CUDNN_DATA_HALF : CUDNN_DATA_FLOAT;
    int64_t from = (int64_t)c->c * c->groups, to = (int64_t)c->k * c->groups;
    const layout x = {{c->n, from, c->h, c->wd}, {c->x_n, 1, c->x_h, c->x_w}};
    const layout w = {{to, c->c, c->r, c->s}, {c->kdim, 1, (int64_t)c->s * c->c, c->c}};
    const layout bias = {{1, to, 1, 1}, {to, 1, to, to}};
    const layout y = {{c->n, to, c->ho, c->wo}, {c->y_n, 1, c->y_h, c->y_w}};
    const layout res = {{c->n, to, c->ho, c->wo}, {c->r_n, 1, c->r_h, c->r_w}};
    cudnnPointwiseMode_t mode[2];
    const omcu_act *acts[2] = {&c->act1, &c->act2};
    for (int i = 0; i < 2 && !t->bare; i++)
        if (acts[i]->op != OMCU_NONE && !act_mode(acts[i], &mode[i])) return false;
    *g = (graph){.failed = false};
    cudnnBackendDescriptor_t x_at = tensor(g, ID_X, type, &x, false), w_at = tensor(g, ID_W, type, &w, false);
    if (t->bare) {
        convolution(g, c, x_at, w_at, tensor(g, ID_Y, type, &y, false));
        return finish_graph(g, handle);
    }
    chain ch = {g, &y, NULL, ID_VIRTUAL, count_ops(t), type};
    ch.at = tensor(g, ch.virtual_id++, CUDNN_DATA_FLOAT, &y, true);
    convolution(g, c, x_at, w_at, ch.at);
    follow(&ch, CUDNN_POINTWISE_ADD, NULL, tensor(g, ID_BIAS, CUDNN_DATA_FLOAT, &bias, false));
    for (int i = 0; i < 2; i++) {
        if (i == 1 && t->residual)
            follow(&ch, CUDNN_POINTWISE_ADD, NULL, tensor(g, ID_RES, type, &res, false));
        if (acts[i]->op != OMCU_NONE) follow(&ch, mode[i], acts[i], NULL);
    }
    return finish_graph(g, handle);
}

struct omcu_cudnn_plan {
    task task;
    int index; /* in the heuristics' list */
    cudnnBackendDescriptor_t config, plan;
    graph graph;
    int64_t workspace;
    char name[32];
    const char *json; /* the engine's own form; NULL: it is asked for by its place in the list */
    size_t json_len;
};

/* Whether an engine multiplies f32 as it is. */
static bool is_exact(cudnnBackendDescriptor_t config)
{
    cudnnBackendDescriptor_t engine = NULL;
    cudnnBackendNumericalNote_t notes[MAX_NOTES];
    int64_t n = 0;
    bool exact = api.make(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) == CUDNN_STATUS_SUCCESS &&
                 api.get(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n,
                         &engine) == CUDNN_STATUS_SUCCESS &&
                 api.get(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, MAX_NOTES, &n,
                         notes) == CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; i < n && i < MAX_NOTES && exact; i++)
        exact = notes[i] != CUDNN_NUMERICAL_NOTE_TENSOR_CORE &&
                notes[i] != CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS &&
                notes[i] != CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION &&
                notes[i] != CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13;
    if (engine) api.free(engine);
    return exact;
}

static int configs(const graph *g, cudnnBackendHeurMode_t mode, cudnnBackendDescriptor_t out[MAX_CONFIGS])
{
    cudnnBackendDescriptor_t h = NULL;
    int64_t n = 0;
    int made = 0;
    if (api.make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &h) != CUDNN_STATUS_SUCCESS) return 0;
    bool ok =
        api.set(h, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->graph) ==
            CUDNN_STATUS_SUCCESS &&
        api.set(h, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode) == CUDNN_STATUS_SUCCESS &&
        api.finalize(h) == CUDNN_STATUS_SUCCESS;
    for (; ok && made < MAX_CONFIGS; made++)
        if (api.make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &out[made]) != CUDNN_STATUS_SUCCESS) break;
    if (ok && api.get(h, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, made, &n, out) !=
                  CUDNN_STATUS_SUCCESS)
        n = 0;
    for (int i = (int)n; i < made; i++) api.free(out[i]);
    api.free(h);
    return n < made ? (int)n : made;
}

/* Those the heuristics name for the task; where these are not of the numbers wanted, and for a convolution of
 * groups alone, also what is said to run everywhere. */
static int fitting_configs(const task *t, const graph *g, cudnnBackendDescriptor_t out[MAX_CONFIGS])
{
    static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    cudnnBackendDescriptor_t list[MAX_CONFIGS];
    int kept = 0;
    for (int m = 0; m < 2 && (!kept || (t->bare && t->conv.groups > 1)); m++) {
        int n = configs(g, modes[m], list);
        for (int i = 0; i < n; i++)
            if (kept < MAX_CONFIGS && (t->tensor_cores || is_exact(list[i]))) out[kept++] = list[i];
            else api.free(list[i]);
    }
    return kept;
}

static int add_candidates(const task *t, cudnnHandle_t handle, omcu_cudnn_plan **out, int max)
{
    graph g = {.failed = false};
    cudnnBackendDescriptor_t list[MAX_CONFIGS];
    int n = describe(t, handle, &g) ? fitting_configs(t, &g, list) : 0, made = 0;
    for (int i = 0; i < n; i++) {
        api.free(list[i]);
        omcu_cudnn_plan *plan = made < max ? om_calloc(1, sizeof *plan) : NULL;
        if (!plan) continue;
        plan->task = *t;
        plan->index = i;
        snprintf(plan->name, sizeof plan->name, "cudnn %s%d", t->bare ? "bare " : "", i);
        out[made++] = plan;
    }
    free_graph(&g);
    return made;
}

/* Pictures lie behind each other without a gap. Engines go by that, whatever step they are told: of what is
 * joined along its rows, as a detector's levels are, all but the first picture of a batch came out wrong on
 * an H200. */
static bool lie_together(const omcu_step *s)
{
    const omcu_conv *c = &s->u.conv;
    if (c->n < 2) return true;
    return c->x_n == c->h * c->x_h && c->y_n == c->ho * c->y_h && (!s->has_res || c->r_n == c->ho * c->r_h);
}

/* What an engine can read and write, in the pieces that it does. */
static bool is_takable(const omcu_step *s)
{
    const omcu_conv *c = &s->u.conv;
    int by = s->half ? 8 : 4;
    if (!lie_together(s)) return false;
    if (c->groups > 1)
        return omcu_conv_finish_takes(s->half, c) && c->kdim == c->r * c->s * c->c && c->x_w % by == 0 &&
               s->in[0].offset % by == 0;
    return s->tactic != OMCU_TACTIC_FIRST && !c->wide && c->vector && c->k % by == 0 && c->c % by == 0;
}

int omcu_cudnn_candidates(const omcu_program *p, const omcu_step *s, omcu_cudnn_plan **out, int max)
{
    const omcu_conv *c = &s->u.conv;
    bool grouped = c->groups > 1;
    /* Graphs of it that read or write 8-bit integers take long to build. */
    if (s->in[0].grid.scale > 0 || c->y_grid.scale > 0 || c->r_grid.scale > 0) return 0;
    if (omcu_cudnn_missing() || !is_takable(s)) return 0;
    task t = {.conv = *c, .half = s->half, .residual = s->has_res, .tensor_cores = s->half || p->tf32};
    int made = 0;
    cudnnHandle_t handle = take_handle();
    if (handle) made = add_candidates(&t, handle, out, grouped ? max / 2 : max);
    /* Few engines without tensor cores, or of groups, do more than the convolution. */
    t.bare = true;
    if (handle && (!t.tensor_cores || grouped)) made += add_candidates(&t, handle, out + made, max - made);
    return_handle(handle);
    return made;
}

/* An engine as it was written down: nothing is asked, and nothing but itself is made. */
static bool restore(omcu_cudnn_plan *plan, cudnnHandle_t handle)
{
    cudnnBackendDescriptor_t d = NULL;
    bool ok =
        handle && api.make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &d) == CUDNN_STATUS_SUCCESS &&
        api.set(d, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle) == CUDNN_STATUS_SUCCESS &&
        api.set(d, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)plan->json_len,
                plan->json) == CUDNN_STATUS_SUCCESS &&
        api.finalize(d) == CUDNN_STATUS_SUCCESS;
    int64_t got = 0;
    if (ok)
        ok = api.get(d, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &got,
                     &plan->workspace) == CUDNN_STATUS_SUCCESS;
    if (ok) plan->plan = d;
    else if (d) api.free(d);
    return ok;
}

void omcu_cudnn_recall(omcu_cudnn_plan *plan, const char *json, size_t len)
{
    plan->json = json;
    plan->json_len = len;
}

int omcu_cudnn_text(const omcu_cudnn_plan *plan, char **out, size_t *len)
{
    int64_t n = 0;
    *out = NULL;
    *len = 0;
    if (!plan->plan ||
        api.get(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, 0, &n, NULL) !=
            CUDNN_STATUS_SUCCESS ||
        n < 1)
        return OM_OK;
    char *text = om_calloc(1, (size_t)n + 1);
    if (!text) return OM_ERR_NOMEM;
    int64_t got = 0;
    if (api.get(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, n, &got, text) !=
        CUDNN_STATUS_SUCCESS) {
        om_free(text);
        return OM_OK;
    }
    *out = text;
    *len = (size_t)(got < n ? got : n);
    return OM_OK;
}

int omcu_cudnn_build(omcu_cudnn_plan *plan)
{
    cudnnHandle_t handle = take_handle();
    if (plan->json && restore(plan, handle)) {
        plan->json = NULL;
        return_handle(handle);
        return OM_OK;
    }
    cudnnBackendDescriptor_t list[MAX_CONFIGS];
    int n = 0;
    bool ok = handle && describe(&plan->task, handle, &plan->graph);
    if (ok) n = fitting_configs(&plan->task, &plan->graph, list);
    for (int i = 0; i < n; i++)
        if (i == plan->index) plan->config = list[i];
        else api.free(list[i]);
    ok = plan->config &&
         api.make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan->plan) == CUDNN_STATUS_SUCCESS &&
         api.set(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle) ==
             CUDNN_STATUS_SUCCESS &&
         api.set(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                 &plan->config) == CUDNN_STATUS_SUCCESS &&
         api.finalize(plan->plan) == CUDNN_STATUS_SUCCESS;
    int64_t got = 0;
    if (ok)
        ok = api.get(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &got,
                     &plan->workspace) == CUDNN_STATUS_SUCCESS;
    return_handle(handle);
    return ok ? OM_OK : om_fail(OM_ERR_UNSUPPORTED, "cuDNN has no plan %d for a convolution", plan->index);
}

void omcu_cudnn_destroy(omcu_cudnn_plan *plan)
{
    if (!plan) return;
    if (plan->plan) api.free(plan->plan);
    if (plan->config) api.free(plan->config);
    free_graph(&plan->graph);
    om_free(plan);
}

size_t omcu_cudnn_workspace(const omcu_cudnn_plan *plan) { return (size_t)plan->workspace; }
const char *omcu_cudnn_name(const omcu_cudnn_plan *plan) { return plan->name; }

int omcu_cudnn_run(const omcu_program *p, const omcu_step *s, const omcu_conv *c, void *workspace,
                   struct CUstream_st *stream)
{
    const task *t = &s->cudnn->task;
    const struct {
        int64_t id;
        const void *data;
        bool used;
    } all[] = {{ID_X, c->x, true},
               {ID_W, c->w, true},
               {ID_Y, c->y, true},
               {ID_BIAS, c->bias, !t->bare},
               {ID_RES, c->res, t->residual && !t->bare}};
    void *data[sizeof all / sizeof all[0]];
    int64_t ids[sizeof all / sizeof all[0]], n = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (!all[i].used) continue;
        ids[n] = all[i].id;
        data[n++] = (void *)(uintptr_t)all[i].data;
    }
    cudnnHandle_t handle = take_handle();
    cudnnBackendDescriptor_t pack = NULL;
    bool ok =
        handle && api.set_stream(handle, stream) == CUDNN_STATUS_SUCCESS &&
        api.make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack) == CUDNN_STATUS_SUCCESS &&
        api.set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n, data) ==
            CUDNN_STATUS_SUCCESS &&
        api.set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, ids) == CUDNN_STATUS_SUCCESS &&
        api.set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace) ==
            CUDNN_STATUS_SUCCESS &&
        api.finalize(pack) == CUDNN_STATUS_SUCCESS &&
        api.execute(handle, s->cudnn->plan, pack) == CUDNN_STATUS_SUCCESS;
    if (pack) api.free(pack);
    return_handle(handle);
    (void)p;
    cudaError_t e = cudaGetLastError();
    if (e != cudaSuccess || !ok) return e != cudaSuccess ? (int)e : (int)cudaErrorUnknown;
    return t->bare ? omcu_conv_finish_launch(s->half, c, stream) : (int)cudaSuccess;
}
