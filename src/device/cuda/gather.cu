// Letterboxes a batch in one launch: a thread a destination pixel, a layer of the grid a picture. The
// sampling is that of kernel/letterbox.c: rows are blended first, then columns, then colours.
#include "device/cuda/gather.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace
{

constexpr int block_w = 32, block_h = 8;

// Of which samples one destination position of an axis is made.
struct span {
    int first, last;
    float weight; // of `last`, for the linear filter
};

__device__ span linear(int i, int src, int dst)
{
    int at = (2 * i + 1) * src - dst; // in units of half a destination pixel of a source sample
    if (at <= 0) return {0, 0, 0.0f};
    int first = at / (2 * dst), rest = at - first * 2 * dst;
    if (first >= src - 1) return {src - 1, src - 1, 0.0f};
    return {first, rest ? first + 1 : first, static_cast<float>(rest) / static_cast<float>(2 * dst)};
}

__device__ span nearest(int i, int src, int dst)
{
    int at = i * src / dst;
    return {at, at, 0.0f};
}

__device__ span area(int i, int src, int dst) { return {i * src / dst, ((i + 1) * src - 1) / dst, 0.0f}; }

__device__ span span_of(om_cuda_filter filter, int i, int src, int dst)
{
    if (filter == OM_CUDA_LINEAR) return linear(i, src, dst);
    return filter == OM_CUDA_NEAREST ? nearest(i, src, dst) : area(i, src, dst);
}

// How much of destination position i source sample k makes up.
__device__ float covered(int i, int k, int src, int dst)
{
    int left = max(k * dst, i * src), right = min((k + 1) * dst, (i + 1) * src);
    return static_cast<float>(right - left) / static_cast<float>(src);
}

__device__ float sample(const om_cuda_picture &p, const om_cuda_component &c, int x, int y)
{
    const uint8_t *row = c.base + ((c.odd_y + y) >> c.shift_y) * c.stride;
    int at = ((c.odd_x + x) >> c.shift_x) * c.step;
    return p.wide ? static_cast<float>(reinterpret_cast<const uint16_t *>(row)[at])
                  : static_cast<float>(row[at]);
}

__device__ float blend(float a, float b, float weight) { return a + weight * (b - a); }

__device__ float sample_linear(const om_cuda_picture &p, const om_cuda_component &c, span x, span y)
{
    float left = blend(sample(p, c, x.first, y.first), sample(p, c, x.first, y.last), y.weight);
    float right = blend(sample(p, c, x.last, y.first), sample(p, c, x.last, y.last), y.weight);
    return blend(left, right, x.weight);
}

__device__ float sample_area(const om_cuda_picture &p, const om_cuda_component &c, span x, span y, int at_x,
                             int at_y)
{
    float sum = 0;
    for (int i = x.first; i <= x.last; i++) {
        float column = 0;
        for (int k = y.first; k <= y.last; k++)
            column += covered(at_y, k, p.src_h, p.inner_h) * sample(p, c, i, k);
        sum += covered(at_x, i, p.src_w, p.inner_w) * column;
    }
    return sum;
}

// Beyond the picture its edges go on; what is no number goes to the low end.
__device__ double keep(double v, double high)
{
    v = v > 0 ? v : 0;
    return v < high ? v : high;
}

__device__ span position(double at)
{
    int first = static_cast<int>(at);
    float part = static_cast<float>(at - first);
    return {first, part > 0 ? first + 1 : first, part};
}

// Where the pixel of a straightened picture lies in the source. Areas are sampled as points between pixels.
__device__ void look(const om_cuda_picture &p, om_cuda_filter filter, int u, int v, span *x, span *y)
{
    const double *m = p.view;
    double inverse = 1 / (m[6] * u + (m[7] * v + 1)), half = filter == OM_CUDA_NEAREST ? 0.5 : 0;
    *x = position(keep((m[0] * u + (m[1] * v + m[2])) * inverse + half, p.src_w - 1));
    *y = position(keep((m[3] * u + (m[4] * v + m[5])) * inverse + half, p.src_h - 1));
}

// The components of the picture's pixel (x, y).
__device__ void pick(const om_cuda_picture &p, om_cuda_filter filter, int at_x, int at_y, float v[3])
{
    span x, y;
    if (p.warped) {
        look(p, filter, at_x, at_y, &x, &y);
        if (filter == OM_CUDA_AREA) filter = OM_CUDA_LINEAR;
    } else {
        x = span_of(filter, at_x, p.src_w, p.inner_w);
        y = span_of(filter, at_y, p.src_h, p.inner_h);
    }
    for (int i = 0; i < 3; i++) {
        const om_cuda_component &c = p.in[i];
        if (i >= p.components) v[i] = 0;
        else if (filter == OM_CUDA_LINEAR) v[i] = sample_linear(p, c, x, y);
        else if (filter == OM_CUDA_NEAREST) v[i] = sample(p, c, x.first, y.first);
        else v[i] = sample_area(p, c, x, y, at_x, at_y);
    }
}

__device__ int rounded(float v, int low, int high)
{
    return __float2int_rn(fminf(fmaxf(v, static_cast<float>(low)), static_cast<float>(high)));
}

__device__ void store(float *dst, float v, int) { *dst = v; }
__device__ void store(__half *dst, float v, int) { *dst = __float2half_rn(v); }
__device__ void store(__nv_bfloat16 *dst, float v, int) { *dst = __float2bfloat16_rn(v); }
__device__ void store(uint8_t *dst, float v, int) { *dst = static_cast<uint8_t>(rounded(v, 0, 255)); }
__device__ void store(int8_t *dst, float v, int zero_point)
{
    *dst = static_cast<int8_t>(rounded(v, -128 - zero_point, 127 - zero_point) + zero_point);
}

template <typename T> __global__ void gather(const om_cuda_batch b)
{
    const om_cuda_picture &p = b.pictures[blockIdx.z];
    int x = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    int y = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
    if (x >= p.dst_w || y >= p.dst_h) return;
    int at_x = x - p.pad_x, at_y = y - p.pad_y;
    bool inside = at_x >= 0 && at_y >= 0 && at_x < p.inner_w && at_y < p.inner_h;
    float v[3];
    if (inside) pick(p, b.filter, at_x, at_y, v);
    size_t pixel = static_cast<size_t>(y) * p.dst_w + x;
    size_t plane = static_cast<size_t>(p.dst_w) * p.dst_h;
    for (int c = 0; c < b.channels; c++) {
        const float *m = p.matrix[c];
        float out = inside ? fminf(fmaxf(v[0] * m[0] + v[1] * m[1] + v[2] * m[2] + m[3], p.low[c]), p.high[c])
                           : b.pad[c];
        size_t at = b.planar ? c * plane + pixel : pixel * b.channels + c;
        store(static_cast<T *>(p.dst) + at, out, b.zero_point);
    }
}

const void *kernel_of(om_cuda_element element)
{
    switch (element) {
    case OM_CUDA_F16: return reinterpret_cast<const void *>(&gather<__half>);
    case OM_CUDA_BF16: return reinterpret_cast<const void *>(&gather<__nv_bfloat16>);
    case OM_CUDA_U8: return reinterpret_cast<const void *>(&gather<uint8_t>);
    case OM_CUDA_I8: return reinterpret_cast<const void *>(&gather<int8_t>);
    default: return reinterpret_cast<const void *>(&gather<float>);
    }
}

} // namespace

int om_cuda_gather_launch(const om_cuda_batch *batch, CUstream_st *stream)
{
    dim3 block(block_w, block_h);
    dim3 grid((batch->max_w + block_w - 1) / block_w, (batch->max_h + block_h - 1) / block_h, batch->n);
    om_cuda_batch copy = *batch;
    void *args[] = {&copy};
    return cudaLaunchKernel(kernel_of(batch->element), grid, block, args, 0, stream);
}
