/* Products of matrices that lie in host memory, by cuBLASLt in f32: what a head's training asks for. */
#include <cuda_runtime_api.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "device/cuda/cublaslt.h"
#include "device/cuda/cuda.h"

#define WORKSPACE ((size_t)16 << 20)

static const om_cublaslt *lt(void)
{
    const char *why;
    return om_cublaslt_get(&why);
}

/* One of the device's, and kept: buffers grow to what was the largest. `place` is pinned, `at` the device's.
 */
typedef struct side {
    float *at, *place;
    size_t bytes;
} side;

struct om_cuda_products {
    cublasLtHandle_t handle;
    side a, b, c;
    void *workspace;
};

static void drop(om_device *d, side *s)
{
    om_device_mem_free(d, s->at);
    om_device_pinned_free(d, s->place);
    *s = (side){0};
}

void om_cuda_products_fini(om_device *d)
{
    struct om_cuda_products *p = om_cuda_of(d)->products;
    if (!p) return;
    drop(d, &p->a);
    drop(d, &p->b);
    drop(d, &p->c);
    om_device_mem_free(d, p->workspace);
    if (p->handle) lt()->destroy(p->handle);
    om_free(p);
    om_cuda_of(d)->products = NULL;
}

/* Under the lock. */
static int make(om_device *d)
{
    om_cuda *c = om_cuda_of(d);
    const char *why;
    if (!om_cublaslt_get(&why))
        return om_fail(OM_ERR_UNSUPPORTED, "device %s: products need libcublasLt.so.13, which is not here",
                       d->id);
    if (c->products) return OM_OK;
    c->products = om_calloc(1, sizeof *c->products);
    if (!c->products) return om_fail_nomem("a GPU's products");
    int err = om_device_mem_alloc(d, WORKSPACE, &c->products->workspace);
    if (!err && lt()->create(&c->products->handle) != CUBLAS_STATUS_SUCCESS)
        err = om_fail(OM_ERR_DEVICE, "device %s: cuBLASLt does not start", d->id);
    if (err) om_cuda_products_fini(d);
    return err;
}

static int fit(om_device *d, side *s, size_t bytes)
{
    if (bytes <= s->bytes) return OM_OK;
    drop(d, s);
    int err = om_device_mem_alloc(d, bytes, (void **)&s->at);
    if (!err) err = om_device_pinned_alloc(d, bytes, (void **)&s->place);
    if (err) drop(d, s);
    else s->bytes = bytes;
    return err;
}

/* True where the rows, or else (*turned) the columns, lie one behind the other without gaps. */
static bool is_dense(const om_mat *m, bool *turned)
{
    *turned = m->column_step != 1;
    return *turned ? m->row_step == 1 && m->column_step == m->rows : m->row_step == m->columns;
}

static int up(om_device *d, side *s, size_t bytes, const char *doing)
{
    return om_cuda_check(
        d, (int)cudaMemcpyAsync(s->at, s->place, bytes, cudaMemcpyHostToDevice, om_cuda_of(d)->stream),
        doing);
}

static int upload(om_device *d, side *s, const om_mat *m)
{
    size_t bytes = m->rows * m->columns * sizeof(float);
    int err = fit(d, s, bytes);
    if (err) return err;
    memcpy(s->place, m->data, bytes);
    return up(d, s, bytes, "uploading a matrix");
}

/* cuBLASLt counts by columns: rows that lie one behind the other are the columns of the turned matrix, so it
 * computes c' += b' a'. */
typedef struct matmul {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c;
} matmul;

static cublasLtMatrixLayout_t layout_of(const om_mat *m, bool turned)
{
    cublasLtMatrixLayout_t out = NULL;
    uint64_t inner = turned ? m->rows : m->columns, outer = turned ? m->columns : m->rows;
    return lt()->layout_create(&out, CUDA_R_32F, inner, outer, (int64_t)inner) == CUBLAS_STATUS_SUCCESS
               ? out
               : NULL;
}

static bool matmul_init(matmul *m, const om_mat *a, const om_mat *b, bool a_turned, bool b_turned)
{
    const cublasOperation_t of_a = a_turned ? CUBLAS_OP_T : CUBLAS_OP_N,
                            of_b = b_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    const om_mat c = {NULL, a->rows, b->columns, b->columns, 1};
    *m = (matmul){.a = layout_of(a, a_turned), .b = layout_of(b, b_turned), .c = layout_of(&c, false)};
    return m->a && m->b && m->c &&
           lt()->desc_create(&m->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS &&
           lt()->desc_set(m->desc, CUBLASLT_MATMUL_DESC_TRANSA, &of_b, sizeof of_b) ==
               CUBLAS_STATUS_SUCCESS &&
           lt()->desc_set(m->desc, CUBLASLT_MATMUL_DESC_TRANSB, &of_a, sizeof of_a) == CUBLAS_STATUS_SUCCESS;
}

static void matmul_fini(matmul *m)
{
    if (m->desc) lt()->desc_destroy(m->desc);
    if (m->a) lt()->layout_destroy(m->a);
    if (m->b) lt()->layout_destroy(m->b);
    if (m->c) lt()->layout_destroy(m->c);
}

static int multiply(om_device *d, const om_mat *a, const om_mat *b, bool a_turned, bool b_turned)
{
    struct om_cuda_products *p = om_cuda_of(d)->products;
    const float one = 1;
    matmul m;
    int err = OM_OK;
    if (!matmul_init(&m, a, b, a_turned, b_turned) ||
        lt()->matmul(p->handle, m.desc, &one, p->b.at, m.b, p->a.at, m.a, &one, p->c.at, m.c, p->c.at, m.c,
                     NULL, p->workspace, WORKSPACE, om_cuda_of(d)->stream) != CUBLAS_STATUS_SUCCESS)
        err = om_fail(OM_ERR_DEVICE, "device %s: cuBLASLt refuses a product of %zux%zu by %zux%zu", d->id,
                      a->rows, a->columns, b->rows, b->columns);
    matmul_fini(&m);
    return err;
}

/* Under the lock. `c` is written last, when all has gone well. */
static int product(om_device *d, const om_mat *a, const om_mat *b, float *c, size_t c_row)
{
    om_cuda *own = om_cuda_of(d);
    size_t row = b->columns * sizeof(float), bytes = a->rows * row;
    bool a_turned, b_turned;
    if (!is_dense(a, &a_turned) || !is_dense(b, &b_turned))
        return om_fail(OM_ERR_UNSUPPORTED, "device %s: a product of matrices with gaps", d->id);
    int err = make(d);
    if (!err) err = fit(d, &own->products->c, bytes);
    if (!err) err = upload(d, &own->products->a, a);
    if (!err) err = upload(d, &own->products->b, b);
    if (err) return err;
    side *out = &own->products->c;
    for (size_t i = 0; i < a->rows; i++) memcpy(out->place + i * b->columns, c + i * c_row, row);
    err = up(d, out, bytes, "uploading a matrix");
    if (!err) err = multiply(d, a, b, a_turned, b_turned);
    if (!err)
        err = om_cuda_check(
            d, (int)cudaMemcpyAsync(out->place, out->at, bytes, cudaMemcpyDeviceToHost, own->stream),
            "fetching a product");
    int waited = om_cuda_check(d, (int)cudaStreamSynchronize(own->stream), "waiting for a product");
    if (!err) err = waited;
    for (size_t i = 0; i < a->rows && !err; i++) memcpy(c + i * c_row, out->place + i * b->columns, row);
    return err;
}

int om_cuda_product(om_device *d, const om_mat *a, const om_mat *b, float *c, size_t c_row)
{
    int err = om_cuda_enter(d);
    if (err < 0) return err;
    pthread_mutex_lock(&om_cuda_of(d)->products_lock);
    err = product(d, a, b, c, c_row);
    pthread_mutex_unlock(&om_cuda_of(d)->products_lock);
    return err;
}
