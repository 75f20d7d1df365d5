/* The CUDA engine's kernels in plain C over host memory, one number at a time: programs made by the engine's
 * own lowering run on a machine without a GPU and are compared with ONNX Runtime. What is checked so is the
 * lowering (layouts, views, fusions, weights); the kernels themselves are checked where there is a GPU. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "backend/cuda/kernels.h"
#include "backend/cuda/tune.h"
#include "base/error.h"
#include "base/tensor.h"
#include "device/cuda/cuda.h"

int cudaMemsetAsync(void *p, int value, size_t count, void *stream);
int cudaMemsetAsync(void *p, int value, size_t count, void *stream)
{
    memset(p, value, count);
    return 0;
}

int om_cuda_check(const om_device *d, int cuda_error, const char *doing)
{
    return cuda_error ? om_fail(OM_ERR_DEVICE, "%s: status %d", doing, cuda_error) : OM_OK;
}

void omcu_tuner_destroy(omcu_tuner *t) {}
int omcu_cudnn_run(const omcu_program *p, const omcu_step *s, const omcu_conv *c, void *w,
                   struct CUstream_st *st)
{
    return 1;
}
int omcu_lt_run(const omcu_program *p, const omcu_step *s, const omcu_conv *c, void *w,
                struct CUstream_st *st)
{
    return 1;
}

static float load(const void *p, int type, int64_t at)
{
    switch (type) {
    case OMCU_F16: return om_f16_to_f32(((const uint16_t *)p)[at]);
    case OMCU_U8: return ((const uint8_t *)p)[at];
    case OMCU_I8: return ((const int8_t *)p)[at];
    case OMCU_I32: return (float)((const int32_t *)p)[at];
    case OMCU_I64: return (float)((const int64_t *)p)[at];
    default: return ((const float *)p)[at];
    }
}

static void store(void *p, int type, int64_t at, float v)
{
    if (type == OMCU_F16) ((uint16_t *)p)[at] = om_f32_to_f16(v);
    else if (type == OMCU_I8) ((int8_t *)p)[at] = (int8_t)v;
    else ((float *)p)[at] = v;
}

static float sigmoid(float x) { return 1 / (1 + expf(-x)); }

static float unary(int op, float x, float a, float b)
{
    switch (op) {
    case OMCU_RELU: return x > 0 ? x : 0;
    case OMCU_SIGMOID: return sigmoid(x);
    case OMCU_SILU: return x * sigmoid(x);
    case OMCU_HARD_SIGMOID: return fminf(fmaxf(a * x + b, 0), 1);
    case OMCU_HARD_SWISH: return x * fminf(fmaxf(x / 6 + 0.5f, 0), 1);
    case OMCU_LEAKY: return x < 0 ? a * x : x;
    case OMCU_ELU: return x < 0 ? a * (expf(x) - 1) : x;
    case OMCU_CLIP: return fminf(fmaxf(x, a), b);
    case OMCU_GELU: return 0.5f * x * (1 + erff(x * 0.70710678f));
    case OMCU_GELU_TANH: return 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case OMCU_TANH: return tanhf(x);
    case OMCU_MISH: return x * tanhf(log1pf(expf(x)));
    case OMCU_SOFTPLUS: return log1pf(expf(x));
    case OMCU_ERF: return erff(x);
    case OMCU_EXP: return expf(x);
    case OMCU_LOG: return logf(x);
    case OMCU_SQRT: return sqrtf(x);
    case OMCU_ABS: return fabsf(x);
    case OMCU_NEG: return -x;
    case OMCU_RECIPROCAL: return 1 / x;
    case OMCU_FLOOR: return floorf(x);
    case OMCU_CEIL: return ceilf(x);
    case OMCU_ROUND: return rintf(x);
    case OMCU_SIGN: return x > 0 ? 1 : x < 0 ? -1 : 0;
    case OMCU_SIN: return sinf(x);
    case OMCU_COS: return cosf(x);
    case OMCU_SOFTSIGN: return x / (1 + fabsf(x));
    case OMCU_SELU: return x > 0 ? b * x : b * a * (expf(x) - 1);
    case OMCU_CELU: return fmaxf(x, 0) + fminf(0, a * (expf(x / a) - 1));
    default: return x;
    }
}

static float binary(int op, float x, float y)
{
    switch (op) {
    case OMCU_ADD: return x + y;
    case OMCU_SUB: return x - y;
    case OMCU_RSUB: return y - x;
    case OMCU_MUL: return x * y;
    case OMCU_DIV: return x / y;
    case OMCU_RDIV: return y / x;
    case OMCU_MIN: return fminf(x, y);
    case OMCU_MAX: return fmaxf(x, y);
    case OMCU_POW: return powf(x, y);
    case OMCU_RPOW: return powf(y, x);
    case OMCU_PRELU: return x < 0 ? x * y : x;
    case OMCU_RPRELU: return y < 0 ? y * x : y;
    default: return y;
    }
}

static float activate(const omcu_act *a, float x) { return unary(a->op, x, a->a, a->b); }

/* The product's sum is rounded where the kernels round it: behind act1, and at the end. */
static void put(const omcu_conv *c, int type, int64_t to, int64_t from, float sum)
{
    float v = activate(&c->act1, sum);
    if (type == OMCU_I8) type = OMCU_F16;
    if (c->res && c->r_grid.scale > 0)
        v += (float)(((const int8_t *)c->res)[from] - c->r_grid.zero) * c->r_grid.scale;
    else if (c->res) v += load(c->res, type, from);
    v = activate(&c->act2, v);
    if (c->y_grid.scale > 0)
        store(c->y, OMCU_I8, to, fminf(fmaxf(rintf(v / c->y_grid.scale) + (float)c->y_grid.zero, -128), 127));
    else store(c->y, c->wide ? OMCU_F32 : type, to, v);
}

typedef float tap_fn(const omcu_conv *c, int type, int g, int k, int r, int s, int ch);

static float tap_rows(const omcu_conv *c, int type, int g, int k, int r, int s, int ch)
{
    return load(c->w, type, (int64_t)(g * c->k + k) * c->kdim + ((int64_t)r * c->s + s) * c->c + ch);
}

static float tap_first(const omcu_conv *c, int type, int g, int k, int r, int s, int ch)
{
    int run = (c->s * 3 + 1) / 2 * 2;
    return load(c->w, type, (int64_t)k * c->kdim + r * run + s * 3 + ch);
}

static float tap_depthwise(const omcu_conv *c, int type, int g, int k, int r, int s, int ch)
{
    return load(c->w, type, (int64_t)(r * c->s + s) * c->groups + g);
}

static int convolve(const omcu_conv *c, int type, tap_fn *tap)
{
    for (int n = 0; n < c->n; n++)
        for (int y = 0; y < c->ho; y++)
            for (int x = 0; x < c->wo; x++)
                for (int all = 0; all < c->k * c->groups; all++) {
                    int g = all / c->k, k = all % c->k;
                    float sum = type == OMCU_I8 ? 0 : c->bias[all];
                    for (int r = 0; r < c->r; r++)
                        for (int s = 0; s < c->s; s++) {
                            int iy = y * c->stride_y - c->pad_y + r * c->dil_y,
                                ix = x * c->stride_x - c->pad_x + s * c->dil_x;
                            bool out = iy < 0 || ix < 0 || iy >= c->h || ix >= c->wd;
                            if (out && !c->outside) continue;
                            int64_t at = n * c->x_n + iy * c->x_h + ix * c->x_w + (int64_t)g * c->c;
                            for (int ch = 0; ch < c->c; ch++)
                                sum += (out ? load(c->outside, type, ch % 16) : load(c->x, type, at + ch)) *
                                       tap(c, type, g, k, r, s, ch);
                        }
                    if (type == OMCU_I8) sum = sum * c->scale[all] + c->bias[all];
                    put(c, type, n * c->y_n + y * c->y_h + x * c->y_w + all,
                        n * c->r_n + y * c->r_h + x * c->r_w + all, sum);
                }
    return 0;
}

/* A form for each kind of numbers. */
int omcu_conv_forms(void) { return 4; }
omcu_numbers omcu_conv_form_numbers(int form) { return (omcu_numbers)form; }
const char *omcu_conv_form_name(int form) { return "64x64x32"; }
int64_t omcu_conv_form_blocks(int form, const omcu_conv *c) { return 1; }

int omcu_conv_launch(int form, const omcu_conv *c, struct CUstream_st *stream)
{
    static const int types[] = {OMCU_F16, OMCU_I8, OMCU_F32, OMCU_F32}, pieces[] = {8, 16, 4, 4};
    int by = pieces[form], type = types[form];
    /* What the tiled kernels demand. */
    if (c->c % by || (c->wd > 1 && c->x_w % by) || (c->h > 1 && c->x_h % by) || (c->n > 1 && c->x_n % by) ||
        c->groups != 1 || c->kdim != c->r * c->s * c->c || (uintptr_t)c->x % 16 ||
        !c->scale != (type != OMCU_I8))
        return 1;
    if (c->vector && ((uintptr_t)c->y % (c->y_grid.scale > 0 ? 8 : 16) || (c->wo > 1 && c->y_w % 8)))
        return 1;
    if ((c->y_grid.scale > 0 && !c->vector) ||
        (type == OMCU_F32 && (c->y_grid.scale > 0 || c->r_grid.scale > 0)))
        return 1;
    return convolve(c, type, tap_rows);
}

int omcu_conv_plain_launch(bool half, const omcu_conv *c, struct CUstream_st *stream)
{
    return convolve(c, half ? OMCU_F16 : OMCU_F32, tap_rows);
}

bool omcu_conv_first_takes(const omcu_conv *c)
{
    return c->groups == 1 && c->c == 3 && c->x_w == 3 && c->stride_y == 2 && c->stride_x == 2 &&
           c->dil_y == 1 && c->dil_x == 1 && c->r == c->s && (c->r == 3 || c->r == 6 || c->r == 7) &&
           c->k % 8 == 0 && c->vector && !c->wide;
}

int omcu_conv_first_kdim(const omcu_conv *c) { return (c->r * ((c->s * 3 + 1) / 2 * 2) + 15) / 16 * 16; }
int omcu_conv_first_launch(const omcu_conv *c, struct CUstream_st *stream)
{
    return convolve(c, OMCU_F16, tap_first);
}

int omcu_depthwise_guess(bool half, const omcu_conv *c) { return c->r == 3 && c->groups % 8 == 0 ? 0 : -1; }

int omcu_depthwise_launch(int form, bool half, const omcu_conv *c, struct CUstream_st *stream)
{
    return convolve(c, half ? OMCU_F16 : OMCU_F32, tap_depthwise);
}

int omcu_deconv_launch(bool half, const omcu_conv *c, struct CUstream_st *stream)
{
    int type = half ? OMCU_F16 : OMCU_F32;
    for (int n = 0; n < c->n; n++)
        for (int y = 0; y < c->ho; y++)
            for (int x = 0; x < c->wo; x++)
                for (int all = 0; all < c->k * c->groups; all++) {
                    int g = all / c->k, k = all % c->k;
                    float sum = c->bias[all];
                    for (int r = 0; r < c->r; r++)
                        for (int s = 0; s < c->s; s++) {
                            int ty = y + c->pad_y - r * c->dil_y, tx = x + c->pad_x - s * c->dil_x;
                            if (ty < 0 || tx < 0 || ty % c->stride_y || tx % c->stride_x) continue;
                            int iy = ty / c->stride_y, ix = tx / c->stride_x;
                            if (iy >= c->h || ix >= c->wd) continue;
                            for (int ch = 0; ch < c->c; ch++)
                                sum +=
                                    load(c->x, type, n * c->x_n + iy * c->x_h + ix * c->x_w + g * c->c + ch) *
                                    tap_rows(c, type, g, k, r, s, ch);
                        }
                    put(c, type, n * c->y_n + y * c->y_h + x * c->y_w + all, 0, sum);
                }
    return 0;
}

/* The place of item `i` of a row-major walk over `dim`, by two kinds of strides. */
static void place(int64_t i, int rank, const int *dim, const int64_t *a, const int64_t *b, int64_t *to_a,
                  int64_t *to_b)
{
    *to_a = *to_b = 0;
    for (int d = rank - 1; d >= 0; d--) {
        int64_t at = i % dim[d];
        i /= dim[d];
        *to_a += at * a[d];
        if (b) *to_b += at * b[d];
    }
}

int omcu_point_launch(const omcu_point *p, struct CUstream_st *stream)
{
    int64_t total = 1, to, from, none;
    for (int i = 0; i < p->rank; i++) total *= p->dim[i];
    for (int64_t i = 0; i < total; i++) {
        float x = 0, slots[OMCU_SLOTS] = {0};
        place(i, p->rank, p->dim, p->out_stride, NULL, &to, &none);
        for (int k = 0; k < p->n_code; k++) {
            const omcu_inst *c = &p->code[k];
            if (c->op < OMCU_UNARY_END) {
                x = unary(c->op, x, c->a, c->b);
                continue;
            }
            if (c->op == OMCU_SAVE) {
                slots[c->k] = x;
                continue;
            }
            float y;
            if (c->k < 0) y = c->a;
            else if (c->k >= OMCU_BY_SLOT) y = slots[c->k - OMCU_BY_SLOT];
            else {
                place(i, p->rank, p->dim, p->in[c->k].stride, NULL, &from, &none);
                y = load(p->in[c->k].base, p->in[c->k].type, from);
            }
            x = binary(c->op, x, y);
        }
        store(p->out, p->out_type, to, x);
    }
    return 0;
}

int omcu_pool_launch(const omcu_pool *p, struct CUstream_st *stream)
{
    int type = p->half ? OMCU_F16 : OMCU_F32;
    for (int n = 0; n < p->n; n++)
        for (int oy = 0; oy < p->ho; oy++)
            for (int ox = 0; ox < p->wo; ox++)
                for (int c = 0; c < p->c; c++) {
                    float v = p->average ? 0 : -INFINITY;
                    int seen = 0;
                    for (int r = 0; r < p->r; r++)
                        for (int s = 0; s < p->s; s++) {
                            int y = oy * p->stride_y - p->pad_y + r * p->dil_y,
                                x = ox * p->stride_x - p->pad_x + s * p->dil_x;
                            bool in = y >= 0 && x >= 0 && y < p->h && x < p->wd;
                            if (p->count_pad ? y < p->h + p->pad_y1 && x < p->wd + p->pad_x1 : in) seen++;
                            if (!in) continue;
                            float one = load(p->x, type, n * p->x_n + y * p->x_h + x * p->x_w + c);
                            v = p->average ? v + one : fmaxf(v, one);
                        }
                    if (p->average) v /= (float)seen;
                    store(p->y, type, n * p->y_n + oy * p->y_h + ox * p->y_w + c, v);
                }
    return 0;
}

bool omcu_sppf_takes(int h, int w) { return h * w <= 1600; }

/* One window of five over bytes. */
static void largest_bytes(const omcu_sppf *p, int k)
{
    const int8_t *x = k ? p->y[k - 1] : p->x;
    int64_t x_n = k ? p->y_n[k - 1] : p->x_n, x_h = k ? p->y_h[k - 1] : p->x_h,
            x_w = k ? p->y_w[k - 1] : p->x_w;
    for (int n = 0; n < p->n; n++)
        for (int i = 0; i < p->h * p->wd; i++)
            for (int c = 0; c < 2 * p->c; c++) {
                int8_t top = -128;
                for (int d = 0; d < 25; d++) {
                    int y = i / p->wd + d / 5 - 2, at = i % p->wd + d % 5 - 2;
                    if (y < 0 || at < 0 || y >= p->h || at >= p->wd) continue;
                    int8_t one = x[2 * (n * x_n + y * x_h + at * x_w) + c];
                    if (one > top) top = one;
                }
                ((int8_t *)p->y[k])[2 * (n * p->y_n[k] + i / p->wd * p->y_h[k] + i % p->wd * p->y_w[k]) + c] =
                    top;
            }
}

int omcu_sppf_launch(const omcu_sppf *p, struct CUstream_st *stream)
{
    for (int k = 0; k < 3 && p->integers; k++) largest_bytes(p, k);
    for (int k = 0; k < 3 && !p->integers; k++) {
        omcu_pool q = {.x = k ? p->y[k - 1] : p->x,
                       .y = p->y[k],
                       .n = p->n,
                       .h = p->h,
                       .wd = p->wd,
                       .c = p->c,
                       .ho = p->h,
                       .wo = p->wd,
                       .r = 5,
                       .s = 5,
                       .stride_y = 1,
                       .stride_x = 1,
                       .pad_y = 2,
                       .pad_x = 2,
                       .dil_y = 1,
                       .dil_x = 1,
                       .x_n = k ? p->y_n[k - 1] : p->x_n,
                       .x_h = k ? p->y_h[k - 1] : p->x_h,
                       .x_w = k ? p->y_w[k - 1] : p->x_w,
                       .y_n = p->y_n[k],
                       .y_h = p->y_h[k],
                       .y_w = p->y_w[k],
                       .half = true};
        omcu_pool_launch(&q, stream);
    }
    return 0;
}

int omcu_resize_launch(const omcu_resize *p, struct CUstream_st *stream)
{
    int type = p->half ? OMCU_F16 : OMCU_F32;
    for (int n = 0; n < p->n; n++)
        for (int oy = 0; oy < p->ho; oy++)
            for (int ox = 0; ox < p->wo; ox++)
                for (int c = 0; c < p->c; c++) {
                    const int *row = p->rows + 2 * oy, *col = p->cols + 2 * ox;
                    size_t size = p->half ? 2 : 4;
                    if (!p->row_share) { /* bits that need not be numbers */
                        memcpy((char *)p->y +
                                   (n * p->y_n + oy * p->y_h + ox * p->y_w + c * p->y_c) * (int64_t)size,
                               (const char *)p->x +
                                   (n * p->x_n + row[0] * p->x_h + col[0] * p->x_w + c * p->x_c) *
                                       (int64_t)size,
                               size);
                        continue;
                    }
                    float v[2][2];
                    for (int i = 0; i < 4; i++)
                        v[i / 2][i % 2] = load(
                            p->x, type, n * p->x_n + row[i / 2] * p->x_h + col[i % 2] * p->x_w + c * p->x_c);
                    float fy = p->row_share ? p->row_share[oy] : 0, fx = p->row_share ? p->col_share[ox] : 0;
                    store(p->y, type, n * p->y_n + oy * p->y_h + ox * p->y_w + c * p->y_c,
                          (v[0][0] * (1 - fx) + v[0][1] * fx) * (1 - fy) +
                              (v[1][0] * (1 - fx) + v[1][1] * fx) * fy);
                }
    return 0;
}

int omcu_reduce_launch(const omcu_reduce *p, struct CUstream_st *stream)
{
    int64_t results = 1, terms = 1, x, y, at, none;
    for (int i = 0; i < p->kept; i++) results *= p->dim[i];
    for (int i = p->kept; i < p->kept + p->reduced; i++) terms *= p->dim[i];
    for (int64_t i = 0; i < results; i++) {
        double sum = p->kind == OMCU_LARGEST    ? -INFINITY
                     : p->kind == OMCU_SMALLEST ? INFINITY
                                                : p->kind == OMCU_PRODUCT;
        place(i, p->kept, p->dim, p->x_stride, p->y_stride, &x, &y);
        for (int64_t k = 0; k < terms; k++) {
            place(k, p->reduced, p->dim + p->kept, p->x_stride + p->kept, NULL, &at, &none);
            double v = load(p->x, p->x_type, x + at);
            switch (p->kind) {
            case OMCU_LARGEST: sum = fmax(sum, v); break;
            case OMCU_SMALLEST: sum = fmin(sum, v); break;
            case OMCU_PRODUCT: sum *= v; break;
            case OMCU_L1: sum += fabs(v); break;
            case OMCU_L2:
            case OMCU_SUM_SQUARE: sum += v * v; break;
            case OMCU_LOG_SUM_EXP: sum += exp(v); break;
            default: sum += v; break;
            }
        }
        if (p->kind == OMCU_MEAN) sum /= (double)terms;
        if (p->kind == OMCU_L2) sum = sqrt(sum);
        if (p->kind == OMCU_LOG_SUM || p->kind == OMCU_LOG_SUM_EXP) sum = log(sum);
        store(p->y, p->y_type, y, (float)sum);
    }
    return 0;
}

int omcu_softmax_launch(const omcu_rows *p, struct CUstream_st *stream)
{
    int64_t rows = 1, x, y;
    for (int i = 0; i < p->rank; i++) rows *= p->dim[i];
    for (int64_t i = 0; i < rows; i++) {
        float top = -INFINITY, sum = 0, weighed = 0;
        place(i, p->rank, p->dim, p->x_stride, p->y_stride, &x, &y);
        for (int k = 0; k < p->len; k++) top = fmaxf(top, load(p->x, p->x_type, x + k * p->x_step));
        for (int k = 0; k < p->len; k++) {
            float e = expf(load(p->x, p->x_type, x + k * p->x_step) - top);
            sum += e;
            if (p->weights) weighed += e * p->weights[k];
        }
        for (int k = 0; k < p->len && !p->weights; k++) {
            float v = load(p->x, p->x_type, x + k * p->x_step) - top;
            store(p->y, p->y_type, y + k * p->y_step, p->log ? v - logf(sum) : expf(v) / sum);
        }
        if (p->weights) store(p->y, p->y_type, y, weighed / sum);
    }
    return 0;
}

int omcu_layer_norm_launch(const omcu_rows *p, struct CUstream_st *stream)
{
    int64_t rows = 1, x, y;
    for (int i = 0; i < p->rank; i++) rows *= p->dim[i];
    for (int64_t i = 0; i < rows; i++) {
        double sum = 0, square = 0;
        place(i, p->rank, p->dim, p->x_stride, p->y_stride, &x, &y);
        for (int k = 0; k < p->len; k++) sum += load(p->x, p->x_type, x + k * p->x_step);
        sum /= p->len;
        for (int k = 0; k < p->len; k++) square += pow(load(p->x, p->x_type, x + k * p->x_step) - sum, 2);
        double scale = 1 / sqrt(square / p->len + p->epsilon);
        for (int k = 0; k < p->len; k++)
            store(p->y, p->y_type, y + k * p->y_step,
                  (float)((load(p->x, p->x_type, x + k * p->x_step) - sum) * scale *
                          (p->scale ? p->scale[k] : 1)) +
                      (p->bias ? p->bias[k] : 0));
    }
    return 0;
}

int omcu_matmul_launch(const omcu_matmul *p, struct CUstream_st *stream)
{
    int64_t batch = (int64_t)p->dim[0] * p->dim[1] * p->dim[2] * p->dim[3], a, b, c, none;
    for (int64_t i = 0; i < batch; i++) {
        place(i, 4, p->dim, p->a_batch, p->b_batch, &a, &b);
        place(i, 4, p->dim, p->c_batch, NULL, &c, &none);
        for (int m = 0; m < p->m; m++)
            for (int n = 0; n < p->n; n++) {
                float sum = 0;
                for (int k = 0; k < p->k; k++)
                    sum += load(p->a, p->a_type, a + m * p->a_m + k * p->a_k) *
                           load(p->b, p->b_type, b + k * p->b_k + n * p->b_n);
                store(p->c, p->c_type, c + m * p->c_m + n * p->c_n,
                      activate(&p->act, sum * p->alpha + (p->bias ? p->bias[n] : 0)));
            }
    }
    return 0;
}

#define MOST_KEYS 4096

int omcu_attention_launch(const omcu_attention *p, struct CUstream_st *stream)
{
    static float s[MOST_KEYS];
    if (p->keys > MOST_KEYS) return 1;
    for (int i = 0; i < p->batch * p->heads; i++) {
        int b = i / p->heads, h = i % p->heads;
        for (int q = 0; q < p->queries; q++) {
            float top = -INFINITY, sum = 0;
            for (int k = 0; k < p->keys; k++) {
                s[k] = 0;
                for (int d = 0; d < p->width; d++)
                    s[k] += load(p->q, OMCU_F16, b * p->q_b + h * p->q_h + q * p->q_s + d) *
                            load(p->k, OMCU_F16, b * p->k_b + h * p->k_h + k * p->k_s + d);
                s[k] *= p->scale;
                top = fmaxf(top, s[k]);
            }
            for (int k = 0; k < p->keys; k++) sum += s[k] = expf(s[k] - top);
            for (int d = 0; d < p->width; d++) {
                float v = 0;
                for (int k = 0; k < p->keys; k++)
                    v += s[k] * load(p->v, OMCU_F16, b * p->v_b + h * p->v_h + k * p->v_s + d);
                store(p->y, OMCU_F16, b * p->y_b + h * p->y_h + q * p->y_s + d, v / sum);
            }
        }
    }
    return 0;
}

int omcu_pick_launch(const omcu_pick *p, struct CUstream_st *stream)
{
    int64_t total = 1;
    for (int i = 0; i < p->rank; i++) total *= p->dim[i];
    for (int64_t i = 0; i < total; i++) {
        int64_t rest = i, from = 0, to = 0;
        for (int d = p->rank - 1; d >= 0; d--) {
            int64_t at = rest % p->dim[d];
            rest /= p->dim[d];
            from += (d == p->axis ? p->index[at] : at) * p->x_stride[d];
            to += at * p->y_stride[d];
        }
        memcpy((char *)p->y + to * p->size, (const char *)p->x + from * p->size, (size_t)p->size);
    }
    return 0;
}

static float state_of(const void *p, int type, const int64_t stride[3], int d, int item, int unit)
{
    return p ? load(p, type, d * stride[0] + item * stride[1] + unit * stride[2]) : 0;
}

#define MOST_HIDDEN 2048

/* One item of one direction through all its steps. */
static void lstm_item(const omcu_lstm *p, int d, int item)
{
    static float h[MOST_HIDDEN], c[MOST_HIDDEN], gates[4 * MOST_HIDDEN];
    int n = p->hidden;
    for (int u = 0; u < n; u++) {
        h[u] = state_of(p->h0, p->in_type[0], p->in_stride[0], d, item, u);
        c[u] = state_of(p->c0, p->in_type[1], p->in_stride[1], d, item, u);
    }
    for (int i = 0; i < p->steps; i++) {
        int t = d == 1 || p->backwards ? p->steps - 1 - i : i;
        for (int j = 0; j < 4 * n; j++) {
            float sum = load(p->x, p->x_type, t * p->x_step + item * p->x_item + (int64_t)d * 4 * n + j);
            for (int k = 0; k < n; k++) sum += load(p->r, p->r_type, ((int64_t)d * n + k) * 4 * n + j) * h[k];
            gates[j] = j < 3 * n ? sigmoid(sum) : tanhf(sum);
        }
        for (int u = 0; u < n; u++) {
            c[u] = gates[2 * n + u] * c[u] + gates[u] * gates[3 * n + u];
            h[u] = gates[n + u] * tanhf(c[u]);
            int64_t at = t * p->y_stride[0] + d * p->y_stride[1] + item * p->y_stride[2] + u * p->y_stride[3];
            if (p->y) store(p->y, p->out_type[0], at, h[u]);
        }
    }
    for (int u = 0; u < n; u++) {
        const int64_t *a = p->state_stride[0], *b = p->state_stride[1];
        if (p->y_h) store(p->y_h, p->out_type[1], d * a[0] + item * a[1] + u * a[2], h[u]);
        if (p->y_c) store(p->y_c, p->out_type[2], d * b[0] + item * b[1] + u * b[2], c[u]);
    }
}

int omcu_lstm_launch(const omcu_lstm *p, struct CUstream_st *stream)
{
    if (p->hidden > MOST_HIDDEN) return 1;
    for (int d = 0; d < p->directions; d++)
        for (int item = 0; item < p->batch; item++) lstm_item(p, d, item);
    return 0;
}

int omcu_tune(omcu_program *p, const omcu_tune_params *params) { return OM_OK; }
