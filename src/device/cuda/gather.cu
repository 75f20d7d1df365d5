// Letterboxes a batch in one launch, a layer of the grid a picture. The sampling is that of
// kernel/letterbox.c: rows are blended first, then columns, then colours.
#include "device/cuda/gather.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace
{

constexpr int block_w = 32, block_h = 8;
constexpr int most_rows = 4;        // pixels of a thread
constexpr int enough_blocks = 1024; // that keep a large GPU busy

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

__device__ const uint8_t *row_of(const om_cuda_component &c, int y)
{
    return c.base + ((c.odd_y + y) >> c.shift_y) * c.stride;
}

__device__ int column_of(const om_cuda_component &c, int x) { return ((c.odd_x + x) >> c.shift_x) * c.step; }

__device__ float sample(const uint8_t *row, int column, int wide)
{
    return wide ? static_cast<float>(reinterpret_cast<const uint16_t *>(row)[column])
                : static_cast<float>(row[column]);
}

__device__ float sample(const om_cuda_picture &p, const om_cuda_component &c, int x, int y)
{
    return sample(row_of(c, y), column_of(c, x), p.wide);
}

__device__ float blend(float a, float b, float weight) { return a + weight * (b - a); }

// Where the samples of one destination column lie in the rows of each component.
struct columns {
    int first[3], last[3];
    float weight;
};

__device__ columns columns_of(const om_cuda_picture &p, span x)
{
    columns c;
    for (int i = 0; i < 3; i++) {
        c.first[i] = i < p.components ? column_of(p.in[i], x.first) : 0;
        c.last[i] = i < p.components ? column_of(p.in[i], x.last) : 0;
    }
    c.weight = x.weight;
    return c;
}

__device__ void pick_linear(const om_cuda_picture &p, const columns &x, span y, float v[3])
{
    for (int i = 0; i < 3; i++) {
        v[i] = 0;
        if (i >= p.components) continue;
        const uint8_t *upper = row_of(p.in[i], y.first), *lower = row_of(p.in[i], y.last);
        float left = blend(sample(upper, x.first[i], p.wide), sample(lower, x.first[i], p.wide), y.weight);
        float right = blend(sample(upper, x.last[i], p.wide), sample(lower, x.last[i], p.wide), y.weight);
        v[i] = blend(left, right, x.weight);
    }
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
    if (filter == OM_CUDA_LINEAR) {
        pick_linear(p, columns_of(p, x), y, v);
        return;
    }
    for (int i = 0; i < 3; i++) {
        const om_cuda_component &c = p.in[i];
        if (i >= p.components) v[i] = 0;
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

// The pixel's channels: of the picture's components `v`, or of the border.
template <typename T>
__device__ void put(const om_cuda_batch &b, const om_cuda_picture &p, int x, int y, bool inside,
                    const float v[3])
{
    size_t pixel = static_cast<size_t>(y) * p.dst_w + x;
    size_t plane = static_cast<size_t>(p.dst_w) * p.dst_h;
#pragma unroll
    for (int c = 0; c < 3; c++) {
        if (c >= b.channels) break;
        const float *m = p.matrix[c];
        float out = inside ? fminf(fmaxf(v[0] * m[0] + v[1] * m[1] + v[2] * m[2] + m[3], p.low[c]), p.high[c])
                           : b.pad[c];
        size_t at = b.planar ? c * plane + pixel : pixel * b.channels + c;
        store(static_cast<T *>(p.dst) + at, out, b.zero_point);
    }
}

// A thread a pixel, whatever is asked for.
template <typename T> __global__ void gather(const om_cuda_batch b)
{
    const om_cuda_picture &p = b.pictures[blockIdx.z];
    int x = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    int y = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
    if (x >= p.dst_w || y >= p.dst_h) return;
    int at_x = x - p.pad_x, at_y = y - p.pad_y;
    bool inside = at_x >= 0 && at_y >= 0 && at_x < p.inner_w && at_y < p.inner_h;
    float v[3] = {};
    if (inside) pick(p, b.filter, at_x, at_y, v);
    put<T>(b, p, x, y, inside, v);
}

// The linear filter in rectangles alone: a thread some pixels below each other, which share what depends on
// the column. It needs fewer registers, so that more threads hide the memory's latency.
template <typename T>
__global__ void __launch_bounds__(block_w *block_h, 5) gather_linear(const om_cuda_batch b, int rows)
{
    const om_cuda_picture &p = b.pictures[blockIdx.z];
    int x = static_cast<int>(blockIdx.x * block_w + threadIdx.x), at_x = x - p.pad_x;
    if (x >= p.dst_w) return;
    bool across = at_x >= 0 && at_x < p.inner_w;
    columns shared = columns_of(p, linear(across ? at_x : 0, p.src_w, p.inner_w));
#pragma unroll 1
    for (int r = 0; r < rows; r++) {
        int y = static_cast<int>((blockIdx.y * rows + r) * block_h + threadIdx.y), at_y = y - p.pad_y;
        if (y >= p.dst_h) return;
        bool inside = across && at_y >= 0 && at_y < p.inner_h;
        float v[3] = {};
        if (inside) pick_linear(p, shared, linear(at_y, p.src_h, p.inner_h), v);
        put<T>(b, p, x, y, inside, v);
    }
}

template <typename T> const void *kernel(const om_cuda_batch &b)
{
    return b.straight && b.filter == OM_CUDA_LINEAR ? reinterpret_cast<const void *>(&gather_linear<T>)
                                                    : reinterpret_cast<const void *>(&gather<T>);
}

const void *kernel_of(const om_cuda_batch &b)
{
    switch (b.element) {
    case OM_CUDA_F16: return kernel<__half>(b);
    case OM_CUDA_BF16: return kernel<__nv_bfloat16>(b);
    case OM_CUDA_U8: return kernel<uint8_t>(b);
    case OM_CUDA_I8: return kernel<int8_t>(b);
    default: return kernel<float>(b);
    }
}

// As many pixels a thread as leave blocks enough.
int rows_of(const om_cuda_batch &b, dim3 grid)
{
    if (!b.straight || b.filter != OM_CUDA_LINEAR) return 1;
    size_t blocks = static_cast<size_t>(grid.x) * grid.y * grid.z;
    int rows = 1;
    while (rows < most_rows && blocks / (2 * rows) >= enough_blocks) rows *= 2;
    return rows;
}

} // namespace

int om_cuda_gather_launch(const om_cuda_batch *batch, CUstream_st *stream)
{
    dim3 block(block_w, block_h);
    dim3 grid((batch->max_w + block_w - 1) / block_w, (batch->max_h + block_h - 1) / block_h, batch->n);
    om_cuda_batch copy = *batch;
    int rows = rows_of(copy, grid);
    grid.y = (grid.y + rows - 1) / rows;
    void *args[] = {&copy, &rows};
    return cudaLaunchKernel(kernel_of(copy), grid, block, args, 0, stream);
}
