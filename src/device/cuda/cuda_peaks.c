/* What a GPU can do at most: products by cuBLASLt, copies by the driver's own kernels. */
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "device/cuda/cublaslt.h"
#include "device/cuda/cuda.h"
#include "device/cuda/peaks.h"

#define TRIES 4
#define MOST_ALGORITHMS 6
#define WORKSPACE ((size_t)64 << 20)
#define NOISE ((size_t)4 << 20)
#define HOST_COPY ((size_t)64 << 20)
#define MEMORY_COPY ((size_t)1 << 30) /* far more than any cache holds */
#define CACHE_COPY ((size_t)8 << 20)  /* with its source a third of the last cache of the GPUs that matter */
#define CACHE_ROUNDS 50

static const om_cublaslt *lt;
static const char *lt_missing;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) { lt = om_cublaslt_get(&lt_missing); }

/* One kind of product: C = A^T B of squares. */
typedef struct product {
    const char *name;
    cudaDataType type, out;
    cublasComputeType_t compute;
    cudaDataType scale;
    int side, width, out_width; /* bytes of a number */
} product;

/* What one measurement holds. */
typedef struct bench {
    om_device *device;
    cudaStream_t stream;
    cudaEvent_t begin, end;
    uint8_t *a, *b, *c, *workspace; /* `size` bytes each; a and b are noise */
    size_t size;
    cublasLtHandle_t handle;
} bench;

static int check(const bench *x, cudaError_t e, const char *doing)
{
    return om_cuda_check(x->device, (int)e, doing);
}

/* Of what was recorded between begin and end; negative: a failure. */
static double elapsed_ms(const bench *x)
{
    float ms = 0;
    if (cudaEventSynchronize(x->end) != cudaSuccess ||
        cudaEventElapsedTime(&ms, x->begin, x->end) != cudaSuccess) {
        (void)cudaGetLastError();
        return -1;
    }
    return ms;
}

/* As f16 all of it lies in -2..2; in any other type it is noise, too, and no NaN. */
static int fill(bench *x)
{
    uint16_t *noise = om_alloc(NOISE);
    uint32_t seed = 1;
    if (!noise) return om_fail_nomem("a measurement of the GPU");
    for (size_t i = 0; i < NOISE / 2; i++) {
        seed = seed * 1664525u + 1013904223u;
        noise[i] = (uint16_t)((seed >> 16 & 0x83ff) | 0x3000 | (seed >> 8 & 3) << 10);
    }
    int err = OM_OK;
    for (size_t at = 0; at < x->size && !err; at += NOISE) {
        size_t n = x->size - at < NOISE ? x->size - at : NOISE;
        err = check(x, cudaMemcpyAsync(x->a + at, noise, n, cudaMemcpyHostToDevice, x->stream), "copying");
        if (!err)
            err =
                check(x, cudaMemcpyAsync(x->b + at, noise, n, cudaMemcpyHostToDevice, x->stream), "copying");
    }
    if (!err) err = check(x, cudaStreamSynchronize(x->stream), "copying");
    om_free(noise);
    return err;
}

static void bench_fini(bench *x)
{
    if (x->stream) (void)cudaStreamSynchronize(x->stream);
    if (x->handle) lt->destroy(x->handle);
    om_device_mem_free(x->device, x->a);
    om_device_mem_free(x->device, x->b);
    om_device_mem_free(x->device, x->c);
    om_device_mem_free(x->device, x->workspace);
    if (x->begin) (void)cudaEventDestroy(x->begin);
    if (x->end) (void)cudaEventDestroy(x->end);
    if (x->stream) (void)cudaStreamDestroy(x->stream);
    (void)cudaGetLastError();
}

static int bench_init(bench *x, om_device *d)
{
    size_t total = 0, unused = 0;
    x->device = d;
    int err = om_cuda_enter(d);
    if (!err) err = check(x, cudaMemGetInfo(&unused, &total), "asking for its memory");
    if (err) return err;
    x->size = unused / 8 < MEMORY_COPY ? unused / 8 / NOISE * NOISE : MEMORY_COPY;
    err = check(x, cudaStreamCreateWithFlags(&x->stream, cudaStreamNonBlocking), "making a stream");
    if (!err) err = check(x, cudaEventCreate(&x->begin), "making an event");
    if (!err) err = check(x, cudaEventCreate(&x->end), "making an event");
    if (!err) err = om_device_mem_alloc(d, x->size, (void **)&x->a);
    if (!err) err = om_device_mem_alloc(d, x->size, (void **)&x->b);
    if (!err) err = om_device_mem_alloc(d, x->size, (void **)&x->c);
    if (!err) err = om_device_mem_alloc(d, WORKSPACE, (void **)&x->workspace);
    return err ? err : fill(x);
}

typedef struct matmul {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t in, out;
    cublasLtMatmulPreference_t pref;
} matmul;

static void matmul_fini(matmul *m)
{
    if (m->pref) lt->pref_destroy(m->pref);
    if (m->in) lt->layout_destroy(m->in);
    if (m->out) lt->layout_destroy(m->out);
    if (m->desc) lt->desc_destroy(m->desc);
}

static bool matmul_init(matmul *m, const product *p)
{
    const cublasOperation_t turn = CUBLAS_OP_T;
    const size_t workspace = WORKSPACE;
    uint64_t n = (uint64_t)p->side;
    memset(m, 0, sizeof *m);
    return lt->desc_create(&m->desc, p->compute, p->scale) == CUBLAS_STATUS_SUCCESS &&
           lt->desc_set(m->desc, CUBLASLT_MATMUL_DESC_TRANSA, &turn, sizeof turn) == CUBLAS_STATUS_SUCCESS &&
           lt->layout_create(&m->in, p->type, n, n, p->side) == CUBLAS_STATUS_SUCCESS &&
           lt->layout_create(&m->out, p->out, n, n, p->side) == CUBLAS_STATUS_SUCCESS &&
           lt->pref_create(&m->pref) == CUBLAS_STATUS_SUCCESS &&
           lt->pref_set(m->pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace) ==
               CUBLAS_STATUS_SUCCESS;
}

/* One product by one algorithm; the shortest of a few, in ms; negative: it fails. */
static double time_algorithm(const bench *x, const product *p, const matmul *m,
                             const cublasLtMatmulAlgo_t *algorithm)
{
    const float one = 1, zero = 0;
    const int32_t one_i = 1, zero_i = 0;
    bool whole = p->scale == CUDA_R_32I;
    double best = -1;
    for (int i = 0; i < TRIES; i++) {
        (void)cudaEventRecord(x->begin, x->stream);
        cublasStatus_t s = lt->matmul(x->handle, m->desc, whole ? (const void *)&one_i : &one, x->a, m->in,
                                      x->b, m->in, whole ? (const void *)&zero_i : &zero, x->c, m->out, x->c,
                                      m->out, algorithm, x->workspace, WORKSPACE, x->stream);
        (void)cudaEventRecord(x->end, x->stream);
        double ms = elapsed_ms(x);
        if (s != CUBLAS_STATUS_SUCCESS || ms <= 0) return -1;
        if (i && (best < 0 || ms < best)) best = ms;
    }
    return best;
}

/* Giga-operations a second of the best algorithm; 0: none. */
static double time_product(const bench *x, const product *p)
{
    matmul m;
    cublasLtMatmulHeuristicResult_t found[MOST_ALGORITHMS];
    int n = 0;
    double best = -1, side = p->side;
    size_t bytes = (size_t)p->side * (size_t)p->side;
    bool fits = bytes * (size_t)p->width <= x->size && bytes * (size_t)p->out_width <= x->size;
    if (fits && matmul_init(&m, p) &&
        lt->heuristic(x->handle, m.desc, m.in, m.in, m.out, m.out, m.pref, MOST_ALGORITHMS, found, &n) !=
            CUBLAS_STATUS_SUCCESS)
        n = 0;
    for (int i = 0; i < n; i++) {
        double ms = time_algorithm(x, p, &m, &found[i].algo);
        if (ms > 0 && (best < 0 || ms < best)) best = ms;
    }
    if (fits) matmul_fini(&m);
    if (best <= 0)
        om_log(OM_LOG_DEBUG, "%s: its products in %s could not be measured", x->device->id, p->name);
    return best > 0 ? 2 * side * side * side / best / 1e6 : 0;
}

static void time_products(bench *x, om_device_peaks *out)
{
    const product f32 = {"f32", CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F, CUDA_R_32F, 4096, 4, 4};
    const product tf32 = {"tf32",     CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32,
                          CUDA_R_32F, 8192,       4,          4};
    const product f16 = {"f16", CUDA_R_16F, CUDA_R_16F, CUBLAS_COMPUTE_32F, CUDA_R_32F, 8192, 2, 2};
    const product bf16 = {"bf16", CUDA_R_16BF, CUDA_R_16BF, CUBLAS_COMPUTE_32F, CUDA_R_32F, 8192, 2, 2};
    const product int8 = {"int8", CUDA_R_8I, CUDA_R_32I, CUBLAS_COMPUTE_32I, CUDA_R_32I, 8192, 1, 4};
    pthread_once(&once, load);
    if (!lt || lt->create(&x->handle) != CUBLAS_STATUS_SUCCESS) {
        x->handle = NULL;
        om_log(OM_LOG_WARN, "%s: without cuBLASLt its arithmetic cannot be measured (%s)", x->device->id,
               lt_missing ? lt_missing : "it makes no handle");
        return;
    }
    out->f32_gflops = time_product(x, &f32);
    out->tf32_gflops = time_product(x, &tf32);
    out->f16_gflops = time_product(x, &f16);
    out->bf16_gflops = time_product(x, &bf16);
    out->int8_gops = time_product(x, &int8);
}

/* Giga-bytes a second of `rounds` copies behind each other. */
static double time_copies(const bench *x, void *to, const void *from, size_t size, enum cudaMemcpyKind kind,
                          int rounds)
{
    double best = 0;
    for (int i = 0; i < TRIES; i++) {
        (void)cudaEventRecord(x->begin, x->stream);
        for (int k = 0; k < rounds; k++)
            if (cudaMemcpyAsync(to, from, size, kind, x->stream) != cudaSuccess) {
                (void)cudaGetLastError();
                return 0;
            }
        (void)cudaEventRecord(x->end, x->stream);
        double ms = elapsed_ms(x);
        double gbs = ms > 0 ? (double)size * rounds / ms / 1e6 : 0;
        if (i && gbs > best) best = gbs;
    }
    return best;
}

/* The same of bytes that stay in the last cache. */
static double time_cache(const bench *x, size_t size)
{
    double best = 0;
    for (int i = 0; i < TRIES; i++) {
        (void)cudaEventRecord(x->begin, x->stream);
        if (om_cuda_copy_again(x->a, x->c, size, CACHE_ROUNDS, x->stream) != (int)cudaSuccess) return 0;
        (void)cudaEventRecord(x->end, x->stream);
        double ms = elapsed_ms(x);
        double gbs = ms > 0 ? (double)size * CACHE_ROUNDS / ms / 1e6 : 0;
        if (i && gbs > best) best = gbs;
    }
    return best;
}

static int time_memory(bench *x, om_device_peaks *out)
{
    void *host = NULL;
    int err = om_device_pinned_alloc(x->device, HOST_COPY, &host);
    if (err) return err;
    size_t small = CACHE_COPY < x->size ? CACHE_COPY : x->size;
    size_t part = HOST_COPY < x->size ? HOST_COPY : x->size;
    /* Each byte is read and written. */
    out->memory_gbs = 2 * time_copies(x, x->c, x->a, x->size, cudaMemcpyDeviceToDevice, 1);
    out->cache_gbs = 2 * time_cache(x, small);
    out->to_device_gbs = time_copies(x, x->c, host, part, cudaMemcpyHostToDevice, 1);
    out->to_host_gbs = time_copies(x, host, x->c, part, cudaMemcpyDeviceToHost, 1);
    om_device_pinned_free(x->device, host);
    return OM_OK;
}

int om_cuda_peaks(om_device *d, om_device_peaks *out)
{
    bench x = {0};
    int err = bench_init(&x, d);
    if (!err) err = time_memory(&x, out);
    if (!err) time_products(&x, out);
    bench_fini(&x);
    return err;
}
