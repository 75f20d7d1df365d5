/* An operator of one's own on the GPU: depthwise 3x3 convolution, bias and activation in one kernel, f16 and
 * f32.
 *
 *   nvcc -O3 -std=c++17 -arch=sm_90 -shared -Xcompiler -fPIC -I include -o user_depthwise.so
 * user_depthwise.cu omma run -m model.onnx -d cuda --operators ./user_depthwise.so ...
 *
 * It stands for nodes "DepthwiseConvAct" of the domain "com.example" (inputs x, weights [C,1,3,3], bias [C];
 * attributes stride, activation), and for those standard Convs that it accepts: omma folds batch
 * normalisation into their weights, and gives it the activation behind them. */
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <string.h>

#include "omma/operator.h"

namespace
{

constexpr int rows = 4, columns = 2; /* outputs of a thread */

struct job {
    const void *x, *w, *bias;
    void *y;
    int n, c, h, wd, ho, wo, pad;
    int64_t x_n, x_h, x_w, y_n, y_h, y_w; /* channels lie side by side */
    int activation;
    float low, high;
};

__device__ float number(float v) { return v; }
__device__ float number(__half v) { return __half2float(v); }
__device__ void put(float *to, float v) { *to = v; }
__device__ void put(__half *to, float v) { *to = __float2half_rn(v); }

__device__ float activate(const job &j, float v)
{
    switch (j.activation) {
    case OM_OPERATOR_RELU: return fmaxf(v, 0.0f);
    case OM_OPERATOR_CLIP: return fminf(fmaxf(v, j.low), j.high);
    case OM_OPERATOR_SILU: return v / (1.0f + __expf(-v));
    default: return v;
    }
}

/* Neighbouring threads take neighbouring channels; a thread makes rows x columns outputs of its own. */
template <typename T, int STRIDE> __global__ void depthwise3(const job j)
{
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    const int across = (j.wo + columns - 1) / columns, ox0 = blockIdx.y % across * columns,
              oy0 = blockIdx.y / across * rows;
    if (c >= j.c) return;
    const T *x = static_cast<const T *>(j.x) + blockIdx.z * j.x_n + c;
    T *y = static_cast<T *>(j.y) + blockIdx.z * j.y_n + c;
    float tap[3][3], sum[rows][columns];
    for (int i = 0; i < 9; i++) tap[i / 3][i % 3] = number(static_cast<const T *>(j.w)[c * 9 + i]);
    const float bias = j.bias ? number(static_cast<const T *>(j.bias)[c]) : 0.0f;
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int s = 0; s < columns; s++) sum[r][s] = bias;
#pragma unroll
    for (int d = 0; d < (rows - 1) * STRIDE + 3; d++) {
        const int iy = oy0 * STRIDE - j.pad + d;
#pragma unroll
        for (int e = 0; e < (columns - 1) * STRIDE + 3; e++) {
            const int ix = ox0 * STRIDE - j.pad + e;
            if (iy < 0 || iy >= j.h || ix < 0 || ix >= j.wd) continue;
            const float in = number(x[iy * j.x_h + ix * j.x_w]);
#pragma unroll
            for (int r = 0; r < rows; r++)
#pragma unroll
                for (int s = 0; s < columns; s++) {
                    const int ty = d - r * STRIDE, tx = e - s * STRIDE;
                    if (ty >= 0 && ty < 3 && tx >= 0 && tx < 3) sum[r][s] += in * tap[ty][tx];
                }
        }
    }
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int s = 0; s < columns; s++)
            if (oy0 + r < j.ho && ox0 + s < j.wo)
                put(y + (oy0 + r) * j.y_h + (ox0 + s) * j.y_w, activate(j, sum[r][s]));
}

/* ---- what omma asks ---- */

bool is_standard(const om_operator_call *c) { return c->attr_int(c, "group", 0) != 0; }

/* Padding on all four sides, or -1: not the same everywhere. */
int64_t padding(const om_operator_call *c)
{
    if (!is_standard(c)) return 1;
    int64_t pads[4] = {0, 0, 0, 0};
    int32_t n = c->attr_ints(c, "pads", pads, 4);
    bool same = pads[0] == pads[1] && pads[0] == pads[2] && pads[0] == pads[3];
    return strcmp(c->attr_string(c, "auto_pad", "NOTSET"), "NOTSET") || (n != 0 && n != 4) || !same ? -1
                                                                                                    : pads[0];
}

int64_t stride(const om_operator_call *c)
{
    int64_t s[2] = {1, 1};
    if (!is_standard(c)) return c->attr_int(c, "stride", 1);
    c->attr_ints(c, "strides", s, 2);
    return s[0] == s[1] ? s[0] : -1;
}

int shapes(const om_operator_call *c, const char **why)
{
    const om_operator_tensor *x = &c->in[0];
    int64_t s = stride(c);
    if (c->n_in < 2 || x->rank != 4) *why = "expected a picture [N, C, H, W] and weights [C, 1, 3, 3]";
    else if (s != 1 && s != 2) *why = "expected a stride of 1 or 2";
    else {
        c->out[0].rank = 4;
        for (int i = 0; i < 4; i++)
            c->out[0].dim[i] = i < 2 || x->dim[i] < 0 ? x->dim[i] : (x->dim[i] - 1) / s + 1;
        return 0;
    }
    return 1;
}

int accepts(const om_operator_call *c, const char **why)
{
    const om_operator_tensor *x = &c->in[0], *w = &c->in[1];
    int64_t dilations[2] = {1, 1};
    c->attr_ints(c, "dilations", dilations, 2);
    bool window = w->rank == 4 && w->constant && w->dim[1] == 1 && w->dim[2] == 3 && w->dim[3] == 3;
    bool depthwise = x->rank == 4 && window && w->dim[0] == x->dim[1] && dilations[0] == 1 &&
                     dilations[1] == 1 && (!is_standard(c) || c->attr_int(c, "group", 1) == x->dim[1]);
    *why = "expected a depthwise 3x3 convolution with stride 1 or 2, and the same padding on each side";
    return depthwise && padding(c) >= 0 && (stride(c) == 1 || stride(c) == 2);
}

template <typename T> int start(const om_operator_call *c, const job &j, cudaStream_t stream)
{
    const int threads = j.c < 128 ? 64 : 128;
    const dim3 grid((j.c + threads - 1) / threads,
                    ((j.wo + columns - 1) / columns) * ((j.ho + rows - 1) / rows), j.n);
    if (stride(c) == 1) depthwise3<T, 1><<<grid, threads, 0, stream>>>(j);
    else depthwise3<T, 2><<<grid, threads, 0, stream>>>(j);
    return cudaGetLastError();
}

int launch(const om_operator_call *c, void *stream)
{
    const om_operator_tensor *x = &c->in[0], *y = &c->out[0];
    bool bias = c->n_in > 2 && c->in[2].rank >= 0;
    job j = {};
    j.x = x->data;
    j.w = c->in[1].data;
    j.bias = bias ? c->in[2].data : nullptr;
    j.y = y->data;
    j.n = static_cast<int>(x->dim[0]);
    j.c = static_cast<int>(x->dim[1]);
    j.h = static_cast<int>(x->dim[2]);
    j.wd = static_cast<int>(x->dim[3]);
    j.ho = static_cast<int>(y->dim[2]);
    j.wo = static_cast<int>(y->dim[3]);
    j.pad = static_cast<int>(padding(c));
    j.x_n = x->stride[0];
    j.x_h = x->stride[2];
    j.x_w = x->stride[3];
    j.y_n = y->stride[0];
    j.y_h = y->stride[2];
    j.y_w = y->stride[3];
    /* Of the node itself, where it says so; else what omma found behind it. */
    const char *own = c->attr_string(c, "activation", "");
    j.activation = !strcmp(own, "relu")   ? OM_OPERATOR_RELU
                   : !strcmp(own, "silu") ? OM_OPERATOR_SILU
                                          : c->activation;
    j.low = c->low;
    j.high = c->high;
    cudaStream_t s = static_cast<cudaStream_t>(stream);
    return x->type == OM_OPERATOR_F16 ? start<__half>(c, j, s) : start<float>(c, j, s);
}

/* An activation of the node's own leaves no room for another behind it. */
int accepts_own(const om_operator_call *c, const char **why)
{
    *why = "it has an activation already";
    if (c->activation != OM_OPERATOR_NONE && *c->attr_string(c, "activation", "")) return 0;
    return accepts(c, why);
}

constexpr int32_t fused = 1 << OM_OPERATOR_RELU | 1 << OM_OPERATOR_CLIP | 1 << OM_OPERATOR_SILU;
const om_operator own = {"depthwise 3x3", "com.example", "DepthwiseConvAct", OM_OPERATOR_CHANNELS_LAST,
                         fused,           shapes,        accepts_own,        nullptr,
                         launch};
const om_operator standard = {"depthwise 3x3", "",      "Conv", OM_OPERATOR_CHANNELS_LAST, fused, nullptr,
                              accepts,         nullptr, launch};
const om_operator *const operators[] = {&own, &standard};
const om_operator_list list = {OM_OPERATOR_API, "user_depthwise", operators, 2};

} // namespace

extern "C" __attribute__((visibility("default"))) const om_operator_list *omma_operators(void)
{
    return &list;
}
