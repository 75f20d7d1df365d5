/* Pooling, resizing, reductions and picks: kernels that move more than they compute. */
#include <cfloat>

#include "backend/cuda/device.cuh"

namespace
{

using namespace omcu;

constexpr int block = 256;

unsigned blocks_of(int64_t items) { return static_cast<unsigned>((items + block - 1) / block); }

template <typename T, int V> struct pack {
    T v[V];
};

template <typename T, int V> __device__ void read(const T *from, float out[V])
{
    if (V * sizeof(T) == 16) {
        __align__(16) T raw[V];
        *reinterpret_cast<uint4 *>(raw) = *reinterpret_cast<const uint4 *>(from);
        for (int i = 0; i < V; i++) out[i] = to_float(raw[i]);
    } else {
        for (int i = 0; i < V; i++) out[i] = to_float(from[i]);
    }
}

template <typename T, int V> __device__ void write(T *to, const float in[V])
{
    if (V * sizeof(T) == 16) {
        __align__(16) T raw[V];
        for (int i = 0; i < V; i++) raw[i] = from_float<T>(in[i]);
        *reinterpret_cast<uint4 *>(to) = *reinterpret_cast<uint4 *>(raw);
    } else {
        for (int i = 0; i < V; i++) to[i] = from_float<T>(in[i]);
    }
}

template <typename T, int V> __global__ void pool(const omcu_pool p)
{
    int64_t at = static_cast<int64_t>(blockIdx.x) * block + threadIdx.x;
    int groups = p.c / V, c = static_cast<int>(at % groups) * V;
    int64_t pixel = at / groups;
    int ox = static_cast<int>(pixel % p.wo), oy = static_cast<int>(pixel / p.wo % p.ho);
    int64_t n = pixel / p.wo / p.ho;
    if (n >= p.n) return;
    float sum[V], one[V];
    for (int i = 0; i < V; i++) sum[i] = p.average ? 0.0f : -INFINITY;
    int seen = 0, y0 = oy * p.stride_y - p.pad_y, x0 = ox * p.stride_x - p.pad_x;
    for (int r = 0; r < p.r; r++) {
        int y = y0 + r * p.dil_y;
        for (int s = 0; s < p.s; s++) {
            int x = x0 + s * p.dil_x;
            if (y < p.h + p.pad_y1 && x < p.wd + p.pad_x1 && p.count_pad) seen++;
            if (y < 0 || x < 0 || y >= p.h || x >= p.wd) continue;
            if (!p.count_pad) seen++;
            read<T, V>(static_cast<const T *>(p.x) + n * p.x_n + y * p.x_h + x * p.x_w + c, one);
            for (int i = 0; i < V; i++) sum[i] = p.average ? sum[i] + one[i] : fmaxf(sum[i], one[i]);
        }
    }
    for (int i = 0; i < V && p.average; i++) sum[i] /= static_cast<float>(seen ? seen : 1);
    write<T, V>(static_cast<T *>(p.y) + n * p.y_n + oy * p.y_h + ox * p.y_w + c, sum);
}

constexpr int sppf_pixels = 1600, sppf_threads = 256;

template <bool INTEGERS> __device__ uint4 larger(uint4 a, uint4 b)
{
    if (INTEGERS)
        return make_uint4(__vmaxs4(a.x, b.x), __vmaxs4(a.y, b.y), __vmaxs4(a.z, b.z), __vmaxs4(a.w, b.w));
    __half2 *x = reinterpret_cast<__half2 *>(&a);
    const __half2 *y = reinterpret_cast<const __half2 *>(&b);
    for (int i = 0; i < 4; i++) x[i] = __hmax2(x[i], y[i]);
    return a;
}

/* A block has one picture's plane of eight channels in shared memory: columns, then rows, three times. */
template <bool INTEGERS> __global__ void sppf(const omcu_sppf p)
{
    extern __shared__ uint4 planes[];
    const int area = p.h * p.wd, groups = p.c / 8;
    uint4 *in = planes, *half = planes + area;
    int n = blockIdx.x / groups, c = blockIdx.x % groups * 8;
    const __half *x = static_cast<const __half *>(p.x) + n * p.x_n + c;
    for (int i = threadIdx.x; i < area; i += sppf_threads)
        in[i] = *reinterpret_cast<const uint4 *>(x + i / p.wd * p.x_h + i % p.wd * p.x_w);
    __syncthreads();
    for (int k = 0; k < 3; k++) {
        for (int i = threadIdx.x; i < area; i += sppf_threads) {
            int at = i % p.wd;
            uint4 best = in[i];
            for (int d = max(-2, -at); d <= min(2, p.wd - 1 - at); d++)
                best = larger<INTEGERS>(best, in[i + d]);
            half[i] = best;
        }
        __syncthreads();
        __half *y = static_cast<__half *>(p.y[k]) + n * p.y_n[k] + c;
        for (int i = threadIdx.x; i < area; i += sppf_threads) {
            int at = i / p.wd;
            uint4 best = half[i];
            for (int d = max(-2, -at); d <= min(2, p.h - 1 - at); d++)
                best = larger<INTEGERS>(best, half[i + d * p.wd]);
            in[i] = best;
            *reinterpret_cast<uint4 *>(y + at * p.y_h[k] + i % p.wd * p.y_w[k]) = best;
        }
        __syncthreads();
    }
}

template <typename T, int V> __global__ void resize(const omcu_resize p)
{
    int64_t at = static_cast<int64_t>(blockIdx.x) * block + threadIdx.x;
    int groups = p.c / V, c = static_cast<int>(at % groups) * V;
    int64_t pixel = at / groups;
    int ox = static_cast<int>(pixel % p.wo), oy = static_cast<int>(pixel / p.wo % p.ho);
    int64_t n = pixel / p.wo / p.ho;
    if (n >= p.n) return;
    const T *x = static_cast<const T *>(p.x) + n * p.x_n + c * p.x_c;
    T *y = static_cast<T *>(p.y) + n * p.y_n + oy * p.y_h + ox * p.y_w + c * p.y_c;
    const int *rows = p.rows + 2 * oy, *cols = p.cols + 2 * ox;
    float out[V];
    read<T, V>(x + rows[0] * p.x_h + cols[0] * p.x_w, out);
    if (p.row_share) {
        float b[V], a1[V], b1[V], fy = p.row_share[oy], fx = p.col_share[ox];
        read<T, V>(x + rows[0] * p.x_h + cols[1] * p.x_w, b);
        read<T, V>(x + rows[1] * p.x_h + cols[0] * p.x_w, a1);
        read<T, V>(x + rows[1] * p.x_h + cols[1] * p.x_w, b1);
        for (int i = 0; i < V; i++)
            out[i] = (out[i] * (1 - fx) + b[i] * fx) * (1 - fy) + (a1[i] * (1 - fx) + b1[i] * fx) * fy;
    }
    write<T, V>(y, out);
}

__device__ float start_of(int kind)
{
    switch (kind) {
    case OMCU_LARGEST:
    case OMCU_LOG_SUM_EXP: return -INFINITY;
    case OMCU_SMALLEST: return INFINITY;
    case OMCU_PRODUCT: return 1.0f;
    default: return 0.0f;
    }
}

__device__ float take(int kind, float sum, float x)
{
    switch (kind) {
    case OMCU_LARGEST: return fmaxf(sum, x);
    case OMCU_SMALLEST: return fminf(sum, x);
    case OMCU_PRODUCT: return sum * x;
    case OMCU_L1: return sum + fabsf(x);
    case OMCU_L2:
    case OMCU_SUM_SQUARE: return sum + x * x;
    default: return sum + x;
    }
}

__device__ float join(int kind, float a, float b)
{
    switch (kind) {
    case OMCU_LARGEST: return fmaxf(a, b);
    case OMCU_SMALLEST: return fminf(a, b);
    case OMCU_PRODUCT: return a * b;
    case OMCU_LOG_SUM_EXP: {
        float top = fmaxf(a, b);
        return top == -INFINITY ? top : top + logf(expf(a - top) + expf(b - top));
    }
    default: return a + b;
    }
}

__device__ float finish(int kind, float sum, int64_t n)
{
    switch (kind) {
    case OMCU_MEAN: return sum / static_cast<float>(n);
    case OMCU_L2: return sqrtf(sum);
    case OMCU_LOG_SUM: return logf(sum);
    default: return sum;
    }
}

__device__ int64_t offset_of(int64_t item, const int *dim, const int64_t *stride, int rank)
{
    int64_t offset = 0;
    for (int d = rank - 1; d >= 0; d--) {
        int64_t next = item / dim[d];
        offset += (item - next * dim[d]) * stride[d];
        item = next;
    }
    return offset;
}

/* A block is 32 results wide and 8 deep, or (neighbours apart in memory) one warp a result. */
__global__ void reduce(const __grid_constant__ omcu_reduce p, int64_t results, int64_t terms)
{
    __shared__ float part[8][33];
    int lane = threadIdx.x % 32, row = threadIdx.x / 32;
    int64_t item = p.by_column ? static_cast<int64_t>(blockIdx.x) * 32 + lane
                               : static_cast<int64_t>(blockIdx.x) * 8 + row;
    int64_t first = p.by_column ? row : lane, step = p.by_column ? 8 : 32;
    float sum = start_of(p.kind);
    if (item < results) {
        int64_t base = offset_of(item, p.dim, p.x_stride, p.kept);
        for (int64_t i = first; i < terms; i += step) {
            float x =
                load(p.x, p.x_type, base + offset_of(i, p.dim + p.kept, p.x_stride + p.kept, p.reduced));
            sum = p.kind == OMCU_LOG_SUM_EXP ? join(p.kind, sum, x) : take(p.kind, sum, x);
        }
    }
    if (p.by_column) {
        part[row][lane] = sum;
        __syncthreads();
        for (int i = 1; i < 8 && row == 0; i++) sum = join(p.kind, sum, part[i][lane]);
        if (row) return;
    } else {
        for (int d = 16; d; d /= 2) sum = join(p.kind, sum, __shfl_xor_sync(0xffffffffu, sum, d));
        if (lane) return;
    }
    if (item < results)
        store(p.y, p.y_type, offset_of(item, p.dim, p.y_stride, p.kept), finish(p.kind, sum, terms));
}

__global__ void pick(const __grid_constant__ omcu_pick p, int64_t total)
{
    int64_t item = static_cast<int64_t>(blockIdx.x) * block + threadIdx.x, from = 0, to = 0;
    if (item >= total) return;
    for (int d = p.rank - 1; d >= 0; d--) {
        int64_t next = item / p.dim[d], at = item - next * p.dim[d];
        from += (d == p.axis ? p.index[at] : at) * p.x_stride[d];
        to += at * p.y_stride[d];
        item = next;
    }
    if (p.size == 2) static_cast<uint16_t *>(p.y)[to] = static_cast<const uint16_t *>(p.x)[from];
    else static_cast<uint32_t *>(p.y)[to] = static_cast<const uint32_t *>(p.x)[from];
}

} // namespace

int omcu_pool_launch(const omcu_pool *p, CUstream_st *stream)
{
    int64_t pixels = static_cast<int64_t>(p->n) * p->ho * p->wo;
    if (p->half && p->vector) pool<__half, 8><<<blocks_of(pixels * (p->c / 8)), block, 0, stream>>>(*p);
    else if (p->half) pool<__half, 1><<<blocks_of(pixels * p->c), block, 0, stream>>>(*p);
    else if (p->vector) pool<float, 4><<<blocks_of(pixels * (p->c / 4)), block, 0, stream>>>(*p);
    else pool<float, 1><<<blocks_of(pixels * p->c), block, 0, stream>>>(*p);
    return cudaGetLastError();
}

bool omcu_sppf_takes(int h, int w) { return h * w <= sppf_pixels; }

int omcu_sppf_launch(const omcu_sppf *p, CUstream_st *stream)
{
    size_t bytes = static_cast<size_t>(p->h) * p->wd * 32;
    auto kernel = p->integers ? sppf<true> : sppf<false>;
    cudaError_t e =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sppf_pixels * 32);
    if (e != cudaSuccess) return e;
    kernel<<<static_cast<unsigned>(p->n * (p->c / 8)), sppf_threads, bytes, stream>>>(*p);
    return cudaGetLastError();
}

int omcu_resize_launch(const omcu_resize *p, CUstream_st *stream)
{
    int64_t pixels = static_cast<int64_t>(p->n) * p->ho * p->wo;
    if (p->half && p->vector) resize<__half, 8><<<blocks_of(pixels * (p->c / 8)), block, 0, stream>>>(*p);
    else if (p->half) resize<__half, 1><<<blocks_of(pixels * p->c), block, 0, stream>>>(*p);
    else if (p->vector) resize<float, 4><<<blocks_of(pixels * (p->c / 4)), block, 0, stream>>>(*p);
    else resize<float, 1><<<blocks_of(pixels * p->c), block, 0, stream>>>(*p);
    return cudaGetLastError();
}

int omcu_reduce_launch(const omcu_reduce *p, CUstream_st *stream)
{
    int64_t results = 1, terms = 1;
    for (int i = 0; i < p->kept; i++) results *= p->dim[i];
    for (int i = p->kept; i < p->kept + p->reduced; i++) terms *= p->dim[i];
    int64_t a_block = p->by_column ? 32 : 8;
    reduce<<<static_cast<unsigned>((results + a_block - 1) / a_block), block, 0, stream>>>(*p, results,
                                                                                           terms);
    return cudaGetLastError();
}

int omcu_pick_launch(const omcu_pick *p, CUstream_st *stream)
{
    int64_t total = 1;
    for (int i = 0; i < p->rank; i++) total *= p->dim[i];
    if (total) pick<<<blocks_of(total), block, 0, stream>>>(*p, total);
    return cudaGetLastError();
}
