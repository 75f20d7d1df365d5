/* Convolutions of 8-bit integers, and of f32 as tf32, as implicit matrix products on the tensor cores: the
 * tiles of conv_tiles.cuh for numbers of another size. 32 bytes of depth are one product of either kind, and
 * lie in the same places. */
#ifndef OM_BACKEND_CUDA_CONV_EIGHT_CUH
#define OM_BACKEND_CUDA_CONV_EIGHT_CUH

#include "backend/cuda/conv_parts.cuh"
#include "backend/cuda/forms.h"

namespace
{

struct integers {
    using in = int8_t;
    using sum = int;
    using staged = __half;
    static constexpr int per = 16;

    static __device__ void multiply(int d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
    {
        asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                     "{%0,%1,%2,%3};\n"
                     : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
    static __device__ void round(uint32_t[4]) {}
    static __device__ float value(const omcu_conv &v, int channel, int s)
    {
        return static_cast<float>(s) * v.scale[channel] + v.bias[channel];
    }
};

struct tensor_floats {
    using in = float;
    using sum = float;
    using staged = float;
    static constexpr int per = 4;

    static __device__ void multiply(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
    {
        asm volatile(
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
            "{%0,%1,%2,%3};\n"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
    static __device__ void round(uint32_t r[4])
    {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint32_t to;
            asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(to) : "f"(__uint_as_float(r[i])));
            r[i] = to;
        }
    }
    static __device__ float value(const omcu_conv &v, int channel, float s) { return s + v.bias[channel]; }
};

/* Pixels, channels and depth of a tile; what of it a warp computes; stages in flight. */
template <typename E, int BM, int BN, int BK, int WM, int WN, int STAGES> struct tile {
    static constexpr int warps_n = BN / WN, threads = BM / WM * warps_n * 32, chunks = BK / E::per;
    static constexpr int a_rows = BM * chunks / threads, b_rows = (BN * chunks + threads - 1) / threads;
    static constexpr int row_step = threads / chunks, stage = (BM + BN) * chunks * 16;
    static constexpr int pitch = BN + 16 / static_cast<int>(sizeof(typename E::staged));
    static constexpr int out = BM * pitch * static_cast<int>(sizeof(typename E::staged));
    static constexpr int bytes = STAGES * stage > out ? STAGES *stage : out;
    static_assert(chunks == 4 || chunks == 8, "the places below are made for rows of 64 or 128 bytes");

    static __device__ int place(int row, int chunk)
    {
        int turned = chunks == 4 ? chunk ^ ((row >> 1) & 3) : chunk ^ (row & 7);
        return (row * chunks + turned) * 16;
    }
};

/* Four channels of one pixel in f32: the residual, act2, and out. */
__device__ inline void finish_floats(const omcu_conv &v, const float in[4], int64_t to, int64_t from,
                                     int channel)
{
    const float *res = static_cast<const float *>(v.res);
    float *y = static_cast<float *>(v.y);
    const bool second = res || v.act2.op != OMCU_NONE;
    float out[4];
#pragma unroll
    for (int e = 0; e < 4; e++) {
        out[e] = in[e];
        if (second && channel + e < v.k) out[e] = activate(v.act2, out[e] + (res ? res[from + e] : 0.0f));
    }
    if (v.vector && channel + 4 <= v.k) {
        *reinterpret_cast<float4 *>(y + to) = make_float4(out[0], out[1], out[2], out[3]);
        return;
    }
#pragma unroll
    for (int e = 0; e < 4; e++)
        if (channel + e < v.k) y[to + e] = out[e];
}

template <typename E, int BM, int BN, int BK, int WM, int WN, int STAGES>
__global__ void __launch_bounds__(tile<E, BM, BN, BK, WM, WN, STAGES>::threads) conv_eight(const omcu_conv v)
{
    using F = tile<E, BM, BN, BK, WM, WN, STAGES>;
    using staged = typename E::staged;
    extern __shared__ __align__(128) char memory[];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    const int n_tiles = (v.k + BN - 1) / BN, m_total = v.n * v.ho * v.wo;
    const int m0 = static_cast<int>(blockIdx.x / n_tiles) * BM,
              n0 = static_cast<int>(blockIdx.x % n_tiles) * BN;
    const int chunk = tid % F::chunks, row0 = tid / F::chunks;

    pixel_walk<typename E::in, E::per, F::a_rows> a;
    a.start(v, m0 + row0, F::row_step, chunk);
    const typename E::in *weights =
        static_cast<const typename E::in *>(v.w) + static_cast<int64_t>(n0 + row0) * v.kdim + chunk * E::per;

    auto fetch = [&](int stage, int kt) {
        char *to_a = memory + stage * F::stage, *to_b = to_a + BM * F::chunks * 16;
        a.copy(v, [&](int i) { return to_a + F::place(row0 + i * F::row_step, chunk); });
#pragma unroll
        for (int i = 0; i < F::b_rows; i++) {
            int row = row0 + i * F::row_step;
            if (row < BN)
                copy_async(to_b + F::place(row, chunk),
                           weights + static_cast<int64_t>(i * F::row_step) * v.kdim + kt * BK, true);
        }
        a.advance(v, BK);
    };

    const int depth = (v.r * v.s * v.c + BK - 1) / BK;
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < depth) fetch(i, i);
        copy_commit();
    }

    typename E::sum sum[WM / 16][WN / 8][4] = {};
    const int warp_m = warp / F::warps_n * WM, warp_n = warp % F::warps_n * WN;
    for (int kt = 0; kt < depth; kt++) {
        copy_wait<STAGES - 2>();
        __syncthreads();
        if (kt + STAGES - 1 < depth) fetch((kt + STAGES - 1) % STAGES, kt + STAGES - 1);
        copy_commit();
        const char *from_a = memory + kt % STAGES * F::stage, *from_b = from_a + BM * F::chunks * 16;
#pragma unroll
        for (int k = 0; k < F::chunks / 2; k++) {
            uint32_t fa[WM / 16][4], fb[WN / 16][4];
#pragma unroll
            for (int i = 0; i < WM / 16; i++) {
                load_matrix4(fa[i], from_a + F::place(warp_m + i * 16 + (lane & 15), k * 2 + (lane >> 4)));
                E::round(fa[i]);
            }
#pragma unroll
            for (int j = 0; j < WN / 16; j++) {
                load_matrix4(fb[j], from_b + F::place(warp_n + j * 16 + (lane & 7) + (lane >> 4) * 8,
                                                      k * 2 + ((lane >> 3) & 1)));
                E::round(fb[j]);
            }
#pragma unroll
            for (int i = 0; i < WM / 16; i++)
#pragma unroll
                for (int j = 0; j < WN / 8; j++)
                    E::multiply(sum[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
        }
    }
    copy_wait<0>();
    __syncthreads();

    /* The tile goes through shared memory, so that rows leave in pieces of 16 bytes. */
    staged *tile = reinterpret_cast<staged *>(memory);
#pragma unroll
    for (int j = 0; j < WN / 8; j++) {
        int column = warp_n + j * 8 + (lane & 3) * 2;
#pragma unroll
        for (int i = 0; i < WM / 16; i++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                staged *to = tile + (warp_m + i * 16 + (lane >> 2) + half * 8) * F::pitch + column;
#pragma unroll
                for (int e = 0; e < 2; e++)
                    to[e] = from_float<staged>(
                        activate(v.act1, E::value(v, n0 + column + e, sum[i][j][half * 2 + e])));
            }
    }
    __syncthreads();
    constexpr int piece = 16 / static_cast<int>(sizeof(staged));
    for (int at = tid; at < BM * (BN / piece); at += F::threads) {
        int row = at / (BN / piece), column = at % (BN / piece) * piece, m = m0 + row, channel = n0 + column;
        if (m >= m_total || channel >= v.k) continue;
        int64_t to, from;
        pixel_places(v, m, &to, &from);
        __align__(16) staged out[piece];
        *reinterpret_cast<uint4 *>(out) = *reinterpret_cast<const uint4 *>(tile + row * F::pitch + column);
        if constexpr (sizeof(staged) == 2) finish_piece(v, out, to + channel, from + channel, channel);
        else finish_floats(v, out, to + channel, from + channel, channel);
    }
}

template <typename E, int BM, int BN, int BK, int WM, int WN, int STAGES>
omcu_form eight_entry(const char *name)
{
    using F = tile<E, BM, BN, BK, WM, WN, STAGES>;
    return {name,       reinterpret_cast<const void *>(&conv_eight<E, BM, BN, BK, WM, WN, STAGES>),
            BM,         BN,
            F::threads, F::bytes};
}

} // namespace
#endif
