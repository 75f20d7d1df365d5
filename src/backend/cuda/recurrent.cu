/* The recurrence of LSTMs: a block walks all steps of one direction for one or a few items of the batch. */
#include "backend/cuda/device.cuh"

namespace
{

using namespace omcu;

constexpr int most_shared = 48 * 1024;

__device__ inline float gate(float x, bool candidate)
{
    return candidate ? tanhf(x) : 1.0f / (1.0f + expf(-x));
}

__device__ inline int64_t state_at(const int64_t stride[3], int d, int64_t item, int unit)
{
    return d * stride[0] + item * stride[1] + unit * stride[2];
}

__device__ inline void put_unit(const omcu_lstm &p, int d, int t, int64_t item, int unit, float h, float c,
                                bool last)
{
    if (p.y)
        store(p.y, p.out_type[0],
              t * p.y_stride[0] + d * p.y_stride[1] + item * p.y_stride[2] + unit * p.y_stride[3], h);
    if (last && p.y_h) store(p.y_h, p.out_type[1], state_at(p.state_stride[0], d, item, unit), h);
    if (last && p.y_c) store(p.y_c, p.out_type[2], state_at(p.state_stride[1], d, item, unit), c);
}

/* A thread a gate, its recurrent weights in registers; an item a block. N: hidden units at most. */
template <typename T, int N> struct weights;
template <int N> struct weights<float, N> {
    float v[N];
    __device__ void set(int k, float x) { v[k] = x; }
    __device__ float get(int k) const { return v[k]; }
};
template <int N> struct weights<__half, N> {
    __half2 v[N / 2];
    __device__ void set(int k, float x)
    {
        if (k % 2) v[k / 2] = __halves2half2(__low2half(v[k / 2]), __float2half_rn(x));
        else v[k / 2] = __halves2half2(__float2half_rn(x), __float2half_rn(0.0f));
    }
    __device__ float get(int k) const { return k % 2 ? __high2float(v[k / 2]) : __low2float(v[k / 2]); }
};

template <typename T, int N>
__global__ void __launch_bounds__(4 * N) lstm_small(const __grid_constant__ omcu_lstm p)
{
    __shared__ __align__(16) float h[N];
    __shared__ float gates[4 * N];
    const int j = threadIdx.x, d = blockIdx.y, hidden = p.hidden, all = 4 * hidden;
    const int64_t item = blockIdx.x;
    const bool reverse = d == 1 || p.backwards, mine = j < all, unit = j < hidden;
    weights<T, N> r;
#pragma unroll
    for (int k = 0; k < N; k++)
        r.set(k, mine && k < hidden ? load(p.r, p.r_type, (static_cast<int64_t>(d) * hidden + k) * all + j)
                                    : 0.0f);
    float c = unit && p.c0 ? load(p.c0, p.in_type[1], state_at(p.in_stride[1], d, item, j)) : 0.0f;
    if (j < N) h[j] = unit && p.h0 ? load(p.h0, p.in_type[0], state_at(p.in_stride[0], d, item, j)) : 0.0f;
    const int64_t at = item * p.x_item + static_cast<int64_t>(d) * all + j;
    int t = reverse ? p.steps - 1 : 0;
    float next = mine && p.steps > 0 ? load(p.x, p.x_type, at + t * p.x_step) : 0.0f;
    __syncthreads();
    for (int i = 0; i < p.steps; i++) {
        float sum[4] = {next, 0, 0, 0};
        int after = reverse ? t - 1 : t + 1;
        if (mine && i + 1 < p.steps) next = load(p.x, p.x_type, at + after * p.x_step);
#pragma unroll
        for (int k = 0; k < N; k += 4) {
            float4 v = *reinterpret_cast<const float4 *>(h + k);
            sum[0] = fmaf(r.get(k), v.x, sum[0]);
            sum[1] = fmaf(r.get(k + 1), v.y, sum[1]);
            sum[2] = fmaf(r.get(k + 2), v.z, sum[2]);
            sum[3] = fmaf(r.get(k + 3), v.w, sum[3]);
        }
        if (mine) gates[j] = gate(sum[0] + sum[1] + (sum[2] + sum[3]), j >= 3 * hidden);
        __syncthreads();
        if (unit) { /* input, output, forget, candidate */
            c = gates[2 * hidden + j] * c + gates[j] * gates[3 * hidden + j];
            float v = gates[hidden + j] * tanhf(c);
            h[j] = v;
            put_unit(p, d, t, item, j, v, c, i + 1 == p.steps);
        }
        t = after;
        __syncthreads();
    }
}

/* Any size: the weights pass by once a step for B items together. */
template <int B> __global__ void __launch_bounds__(1024) lstm_large(const __grid_constant__ omcu_lstm p)
{
    extern __shared__ float memory[];
    const int hidden = p.hidden, all = 4 * hidden, d = blockIdx.y;
    const int64_t first = static_cast<int64_t>(blockIdx.x) * B;
    float *h = memory, *c = h + B * hidden, *gates = c + B * hidden;
    const bool reverse = d == 1 || p.backwards;
    for (int i = threadIdx.x; i < B * hidden; i += blockDim.x) {
        int64_t item = first + i / hidden;
        bool there = item < p.batch;
        h[i] = there && p.h0 ? load(p.h0, p.in_type[0], state_at(p.in_stride[0], d, item, i % hidden)) : 0.0f;
        c[i] = there && p.c0 ? load(p.c0, p.in_type[1], state_at(p.in_stride[1], d, item, i % hidden)) : 0.0f;
    }
    __syncthreads();
    for (int i = 0; i < p.steps; i++) {
        int t = reverse ? p.steps - 1 - i : i;
        for (int j = threadIdx.x; j < all; j += blockDim.x) {
            float sum[B];
#pragma unroll
            for (int b = 0; b < B; b++)
                sum[b] = first + b < p.batch
                             ? load(p.x, p.x_type,
                                    t * p.x_step + (first + b) * p.x_item + static_cast<int64_t>(d) * all + j)
                             : 0.0f;
            const int64_t row = static_cast<int64_t>(d) * hidden * all + j;
            for (int k = 0; k < hidden; k++) {
                float w = load(p.r, p.r_type, row + static_cast<int64_t>(k) * all);
#pragma unroll
                for (int b = 0; b < B; b++) sum[b] = fmaf(w, h[b * hidden + k], sum[b]);
            }
#pragma unroll
            for (int b = 0; b < B; b++) gates[b * all + j] = gate(sum[b], j >= 3 * hidden);
        }
        __syncthreads();
        for (int u = threadIdx.x; u < B * hidden; u += blockDim.x) {
            int b = u / hidden, j = u % hidden;
            const float *of = gates + b * all;
            c[u] = of[2 * hidden + j] * c[u] + of[j] * of[3 * hidden + j];
            h[u] = of[hidden + j] * tanhf(c[u]);
            if (first + b < p.batch) put_unit(p, d, t, first + b, j, h[u], c[u], i + 1 == p.steps);
        }
        __syncthreads();
    }
}

template <int B> void launch_large(const omcu_lstm *p, CUstream_st *stream)
{
    int threads = 4 * p->hidden < 1024 ? (4 * p->hidden + 31) / 32 * 32 : 1024;
    dim3 grid(static_cast<unsigned>((p->batch + B - 1) / B), static_cast<unsigned>(p->directions));
    size_t shared = sizeof(float) * 6 * static_cast<size_t>(p->hidden) * B;
    lstm_large<B><<<grid, threads, shared, stream>>>(*p);
}

} // namespace

int omcu_lstm_launch(const omcu_lstm *p, CUstream_st *stream)
{
    dim3 grid(static_cast<unsigned>(p->batch), static_cast<unsigned>(p->directions));
    bool half = p->r_type == OMCU_F16;
    if (p->hidden <= 64 && half) lstm_small<__half, 64><<<grid, 256, 0, stream>>>(*p);
    else if (p->hidden <= 64) lstm_small<float, 64><<<grid, 256, 0, stream>>>(*p);
    else if (p->hidden <= 128 && half) lstm_small<__half, 128><<<grid, 512, 0, stream>>>(*p);
    else if (p->batch >= 4 && sizeof(float) * 6 * 4 * static_cast<size_t>(p->hidden) <= most_shared)
        launch_large<4>(p, stream);
    else launch_large<1>(p, stream);
    return cudaGetLastError();
}
