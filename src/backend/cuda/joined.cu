/* A depthwise 3x3 convolution and the pointwise one behind it in one kernel (f16): what lies between never
 * leaves the chip. A block makes 64 pixels and all output channels of them. For 32 of the channels between at
 * a time its threads compute the depthwise sums into shared memory, from where the tensor cores take them. */
#include "backend/cuda/device.cuh"

namespace
{

using namespace omcu;

constexpr int pixels = 64, depth = 32, pitch = depth + 8, threads = 128,
              per_thread = pixels * depth / 8 / threads;

__device__ inline void widen(const uint4 &raw, float (&out)[8])
{
    const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float2 pair = __half22float2(*reinterpret_cast<const __half2 *>(&words[i]));
        out[2 * i] = pair.x;
        out[2 * i + 1] = pair.y;
    }
}

/* Eight channels of one output of the depthwise convolution, as f16. */
__device__ inline uint4 depthwise8(const omcu_conv &d, const __half *x, int iy0, int ix0, int channel)
{
    float sum[8];
#pragma unroll
    for (int e = 0; e < 8; e++) sum[e] = __ldg(d.bias + channel + e);
    const __half *w = static_cast<const __half *>(d.w) + channel;
#pragma unroll
    for (int r = 0; r < 3; r++) {
        if (static_cast<unsigned>(iy0 + r) >= static_cast<unsigned>(d.h)) continue;
#pragma unroll
        for (int s = 0; s < 3; s++) {
            if (static_cast<unsigned>(ix0 + s) >= static_cast<unsigned>(d.wd)) continue;
            float in[8], tap[8];
            widen(__ldg(reinterpret_cast<const uint4 *>(x + r * d.x_h + s * d.x_w + channel)), in);
            widen(__ldg(reinterpret_cast<const uint4 *>(w + (r * 3 + s) * d.groups)), tap);
#pragma unroll
            for (int e = 0; e < 8; e++) sum[e] = fmaf(in[e], tap[e], sum[e]);
        }
    }
    uint32_t words[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        __half2 pair = __floats2half2_rn(activate(d.act1, sum[2 * i]), activate(d.act1, sum[2 * i + 1]));
        words[i] = *reinterpret_cast<uint32_t *>(&pair);
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

/* N: output channels, a multiple of 16. */
template <int N> __global__ void __launch_bounds__(threads) joined(const omcu_conv d, const omcu_conv p)
{
    __shared__ __align__(16) __half a[2][pixels][pitch], b[2][N][pitch];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5, chunk = tid & 3;
    const int m0 = static_cast<int>(blockIdx.x) * pixels, area = d.ho * d.wo, total = d.n * area;

    const __half *x[per_thread];
    int iy[per_thread], ix[per_thread];
#pragma unroll
    for (int i = 0; i < per_thread; i++) {
        int m = m0 + tid / 4 + i * (threads / 4);
        bool inside = m < total;
        if (!inside) m = 0;
        int n = m / area, at = m - n * area, oy = at / d.wo, ox = at - oy * d.wo;
        iy[i] = inside ? oy * d.stride_y - d.pad_y : -(1 << 28);
        ix[i] = ox * d.stride_x - d.pad_x;
        x[i] = static_cast<const __half *>(d.x) + n * d.x_n +
               static_cast<int64_t>(inside ? iy[i] : 0) * d.x_h + static_cast<int64_t>(ix[i]) * d.x_w;
    }

    const int steps = (d.groups + depth - 1) / depth;
    auto fetch = [&](int stage, int step) {
        for (int at = tid; at < N * 4; at += threads) {
            int row = at >> 2, k = step * depth + (at & 3) * 8;
            copy_async(&b[stage][row][(at & 3) * 8],
                       static_cast<const __half *>(p.w) +
                           (k < p.kdim ? static_cast<int64_t>(row) * p.kdim + k : 0),
                       k < p.kdim);
        }
        copy_commit();
    };
    fetch(0, 0);

    float sum[N / 8][4] = {};
    for (int step = 0; step < steps; step++) {
        const int stage = step & 1, channel = step * depth + chunk * 8;
#pragma unroll
        for (int i = 0; i < per_thread; i++) {
            uint4 made = make_uint4(0, 0, 0, 0);
            if (channel < d.groups) made = depthwise8(d, x[i], iy[i], ix[i], channel);
            *reinterpret_cast<uint4 *>(&a[stage][tid / 4 + i * (threads / 4)][chunk * 8]) = made;
        }
        copy_wait<0>();
        __syncthreads();
        /* What is fetched now lies where the step before last read: all have left that. */
        if (step + 1 < steps) fetch(stage ^ 1, step + 1);
#pragma unroll
        for (int k = 0; k < depth / 16; k++) {
            uint32_t fa[4];
            load_matrix4(fa, &a[stage][warp * 16 + (lane & 15)][k * 16 + (lane >> 4) * 8]);
#pragma unroll
            for (int j = 0; j < N / 16; j++) {
                uint32_t fb[4];
                load_matrix4(
                    fb, &b[stage][j * 16 + (lane & 7) + (lane >> 4) * 8][k * 16 + ((lane >> 3) & 1) * 8]);
                multiply_add(sum[2 * j], fa, fb[0], fb[1]);
                multiply_add(sum[2 * j + 1], fa, fb[2], fb[3]);
            }
        }
    }

    /* A thread holds two neighbouring channels of two pixels in each piece of eight channels. */
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int m = m0 + warp * 16 + (lane >> 2) + half * 8;
        if (m >= total) continue;
        int n = m / area, at = m - n * area, oy = at / d.wo, ox = at - oy * d.wo;
        __half *y = static_cast<__half *>(p.y) + n * p.y_n + oy * p.y_h + ox * p.y_w;
        const __half *res = static_cast<const __half *>(p.res);
        if (res) res += n * p.r_n + oy * p.r_h + ox * p.r_w;
#pragma unroll
        for (int j = 0; j < N / 8; j++) {
            int c = j * 8 + (lane & 3) * 2;
            if (c >= p.k) continue;
            float u = activate(p.act1, sum[j][half * 2] + __ldg(p.bias + c)),
                  v = activate(p.act1, sum[j][half * 2 + 1] + __ldg(p.bias + c + 1));
            if (res) {
                float2 add = __half22float2(*reinterpret_cast<const __half2 *>(res + c));
                u += add.x;
                v += add.y;
            }
            *reinterpret_cast<__half2 *>(y + c) = __floats2half2_rn(activate(p.act2, u), activate(p.act2, v));
        }
    }
}

template <int N> int start(const omcu_conv *d, const omcu_conv *p, cudaStream_t stream)
{
    int64_t total = static_cast<int64_t>(d->n) * d->ho * d->wo;
    joined<N><<<static_cast<unsigned>((total + pixels - 1) / pixels), threads, 0, stream>>>(*d, *p);
    return cudaGetLastError();
}

} // namespace

int omcu_joined_launch(const omcu_conv *d, const omcu_conv *p, CUstream_st *stream)
{
    if (p->k <= 16) return start<16>(d, p, stream);
    if (p->k <= 32) return start<32>(d, p, stream);
    if (p->k <= 64) return start<64>(d, p, stream);
    if (p->k <= 96) return start<96>(d, p, stream);
    return start<160>(d, p, stream);
}
