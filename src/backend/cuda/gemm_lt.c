/* Matrix products of cuBLASLt: rows of pixels times weights, with bias, ReLU or GELU, and a residual as the
 * product's own addend. GELU is the library's tanh form: within 1e-3 of the exact one. */
#include <cuda_runtime_api.h>
#include <pthread.h>

#include "backend/cuda/tune.h"
#include "base/error.h"
#include "base/mem.h"
#include "device/cuda/cublaslt.h"

#define MAX_ALGORITHMS 8
#define WORKSPACE ((size_t)32 << 20)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const om_cublaslt *api;
static const char *missing;

static void load_library(void) { api = om_cublaslt_get(&missing); }

const char *omcu_lt_missing(void)
{
    pthread_once(&once, load_library);
    return missing;
}

struct omcu_lt_plan {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c, d;
    cublasLtMatmulAlgo_t algo;
    om_device *device;
    void *bias; /* in the tensors' type; made at the first run outside a capture */
    size_t workspace;
    bool residual;
};

static bool epilogue_of(const omcu_conv *c, bool residual, cublasLtEpilogue_t *out)
{
    int act = c->act1.op;
    if (residual && act != OMCU_NONE) return false;
    if (residual) act = c->act2.op;
    else if (c->act2.op != OMCU_NONE) return false;
    *out = act == OMCU_NONE   ? CUBLASLT_EPILOGUE_BIAS
           : act == OMCU_RELU ? CUBLASLT_EPILOGUE_RELU_BIAS
                              : CUBLASLT_EPILOGUE_GELU_BIAS;
    return act == OMCU_NONE || act == OMCU_RELU || act == OMCU_GELU || act == OMCU_GELU_TANH;
}

/* One handle a GPU, for the process. */
static cublasLtHandle_t handle_of(int device)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static cublasLtHandle_t handles[64]; /* guarded by lock */
    pthread_mutex_lock(&lock);
    cublasLtHandle_t *h = &handles[device & 63];
    if (!*h && api->create(h) != CUBLAS_STATUS_SUCCESS) *h = NULL;
    pthread_mutex_unlock(&lock);
    return *h;
}

/* The bias on the device in the tensors' type, from the step's constant. */
static int make_bias(const omcu_program *p, const omcu_step *s, omcu_lt_plan *plan)
{
    const omcu_buffer *from = &p->buffers[s->in[2].buffer];
    int n = s->u.conv.k, err = om_device_mem_alloc_for(p->device, OM_PURPOSE_WEIGHTS,
                                                       (size_t)n * (s->half ? 2 : 4), &plan->bias);
    if (err) return err;
    omcu_point copy = {.rank = 1,
                       .dim = {n},
                       .n_in = 1,
                       .out = plan->bias,
                       .out_type = s->half ? OMCU_F16 : OMCU_F32,
                       .out_stride = {1},
                       .n_code = 1,
                       .vector = 1,
                       .transpose = -1};
    copy.in[0] = (omcu_operand){.base = from->data, .type = OMCU_F32, .stride = {1}};
    copy.code[0] = (omcu_inst){.op = OMCU_LOAD, .k = 0};
    return omcu_point_launch(&copy, NULL) || cudaStreamSynchronize(NULL) ? OM_ERR_DEVICE : OM_OK;
}

/* Pixels that follow each other at one step over the whole batch are the rows of a matrix. */
static bool is_matrix(const omcu_conv *c, bool residual)
{
    int64_t row = c->wo, area = (int64_t)c->ho * c->wo;
    bool same = c->r == 1 && c->s == 1 && c->groups == 1 && c->stride_y == 1 && c->stride_x == 1 &&
                !c->pad_y && !c->pad_x && c->h == c->ho && c->wd == c->wo;
    bool x = (c->ho == 1 || c->x_h == row * c->x_w) && (c->n == 1 || c->x_n == area * c->x_w);
    bool y = (c->ho == 1 || c->y_h == row * c->y_w) && (c->n == 1 || c->y_n == area * c->y_w);
    bool r = !residual || ((c->ho == 1 || c->r_h == row * c->r_w) && (c->n == 1 || c->r_n == area * c->r_w));
    return same && x && y && r;
}

static int make_plan(const omcu_program *p, const omcu_step *s, omcu_lt_plan *plan)
{
    const omcu_conv *c = &s->u.conv;
    cublasLtEpilogue_t epilogue;
    cublasOperation_t turn = CUBLAS_OP_T;
    uint64_t m = (uint64_t)c->k, n = (uint64_t)c->n * (uint64_t)c->ho * (uint64_t)c->wo, k = (uint64_t)c->c;
    cudaDataType_t type = s->half ? CUDA_R_16F : CUDA_R_32F;
    cublasComputeType_t compute = !s->half && p->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    if (!epilogue_of(c, s->has_res, &epilogue)) return OM_ERR_UNSUPPORTED;
    plan->device = p->device;
    plan->residual = s->has_res;
    plan->handle = handle_of(p->device->index);
    int err = make_bias(p, s, plan);
    if (err || !plan->handle) return OM_ERR_DEVICE;
    bool ok =
        api->desc_create(&plan->desc, compute, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS &&
        api->desc_set(plan->desc, CUBLASLT_MATMUL_DESC_TRANSA, &turn, sizeof turn) == CUBLAS_STATUS_SUCCESS &&
        api->desc_set(plan->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue) ==
            CUBLAS_STATUS_SUCCESS &&
        api->desc_set(plan->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &plan->bias, sizeof plan->bias) ==
            CUBLAS_STATUS_SUCCESS &&
        api->layout_create(&plan->a, type, k, m, c->kdim) == CUBLAS_STATUS_SUCCESS &&
        api->layout_create(&plan->b, type, k, n, c->x_w) == CUBLAS_STATUS_SUCCESS &&
        api->layout_create(&plan->c, type, m, n, s->has_res ? c->r_w : c->y_w) == CUBLAS_STATUS_SUCCESS &&
        api->layout_create(&plan->d, type, m, n, c->y_w) == CUBLAS_STATUS_SUCCESS;
    return ok ? OM_OK : OM_ERR_UNSUPPORTED;
}

int omcu_lt_candidates(const omcu_program *p, const omcu_step *s, omcu_lt_plan **out, int max)
{
    const omcu_conv *c = &s->u.conv;
    cublasLtMatmulHeuristicResult_t found[MAX_ALGORITHMS];
    cublasLtMatmulPreference_t pref = NULL;
    int n = 0, made = 0;
    size_t workspace = WORKSPACE;
    if (s->in[0].grid.scale > 0 || c->y_grid.scale > 0 || c->r_grid.scale > 0) return 0;
    if (!is_matrix(c, s->has_res) || c->wide || !c->vector || c->k % 8 || omcu_lt_missing()) return 0;
    omcu_lt_plan *first = om_calloc(1, sizeof *first);
    if (!first) return 0;
    if (make_plan(p, s, first) == OM_OK && api->pref_create(&pref) == CUBLAS_STATUS_SUCCESS) {
        if (api->pref_set(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace) ==
                CUBLAS_STATUS_SUCCESS &&
            api->heuristic(first->handle, first->desc, first->a, first->b, first->c, first->d, pref,
                           max < MAX_ALGORITHMS ? max : MAX_ALGORITHMS, found, &n) != CUBLAS_STATUS_SUCCESS)
            n = 0;
        api->pref_destroy(pref);
    }
    for (int i = 0; i < n; i++) {
        omcu_lt_plan *plan = om_calloc(1, sizeof *plan);
        if (!plan) break;
        if (make_plan(p, s, plan) != OM_OK) {
            omcu_lt_destroy(plan);
            continue;
        }
        plan->algo = found[i].algo;
        plan->workspace = found[i].workspaceSize;
        out[made++] = plan;
    }
    omcu_lt_destroy(first);
    return made;
}

omcu_lt_plan *omcu_lt_clone(const omcu_program *p, const omcu_step *s, const omcu_lt_plan *from)
{
    omcu_lt_plan *plan = om_calloc(1, sizeof *plan);
    if (!plan) return NULL;
    plan->algo = from->algo;
    plan->workspace = from->workspace;
    if (make_plan(p, s, plan) == OM_OK) return plan;
    omcu_lt_destroy(plan);
    return NULL;
}

void omcu_lt_destroy(omcu_lt_plan *plan)
{
    if (!plan) return;
    if (plan->desc) api->desc_destroy(plan->desc);
    if (plan->a) api->layout_destroy(plan->a);
    if (plan->b) api->layout_destroy(plan->b);
    if (plan->c) api->layout_destroy(plan->c);
    if (plan->d) api->layout_destroy(plan->d);
    if (plan->bias) om_device_mem_free(plan->device, plan->bias);
    om_free(plan);
}

size_t omcu_lt_workspace(const omcu_lt_plan *plan) { return plan->workspace; }

int omcu_lt_run(const omcu_program *p, const omcu_step *s, const omcu_conv *c, void *workspace,
                struct CUstream_st *stream)
{
    const omcu_lt_plan *l = s->lt;
    float one = 1, zero = 0;
    (void)p;
    cublasStatus_t status =
        api->matmul(l->handle, l->desc, &one, c->w, l->a, c->x, l->b, l->residual ? &one : &zero,
                    l->residual ? c->res : c->y, l->c, c->y, l->d, &l->algo, workspace, l->workspace, stream);
    cudaError_t e = cudaGetLastError();
    return e != cudaSuccess                  ? (int)e
           : status == CUBLAS_STATUS_SUCCESS ? (int)cudaSuccess
                                             : (int)cudaErrorUnknown;
}
