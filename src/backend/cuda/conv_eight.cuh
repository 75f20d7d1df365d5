/* Convolutions of 8-bit integers, and of f32 as tf32, as implicit matrix products on the tensor cores: the
 * tiles of conv_tiles.cuh for numbers of another size. 32 bytes of depth are one product of either kind, and
 * lie in the same places. Weights lie in an order that gives each thread channels that follow each other, so
 * that results leave right from its registers. */
#ifndef OM_BACKEND_CUDA_CONV_EIGHT_CUH
#define OM_BACKEND_CUDA_CONV_EIGHT_CUH

#include <type_traits>

#include "backend/cuda/conv_parts.cuh"
#include "backend/cuda/forms.h"

namespace
{

__device__ inline float tanh_fast(float x)
{
    float y;
    asm("tanh.approx.f32 %0, %1;\n" : "=f"(y) : "f"(x));
    return y;
}

/* Called, not inlined, as all here that is seldom: a thread's channels are many. */
static __device__ __noinline__ float called(int op, float x, float a, float b) { return unary(op, x, a, b); }

__device__ inline float other(const omcu_act &act, float x)
{
    if (act.op == OMCU_NONE) return x;
    return act.op == OMCU_RELU ? fmaxf(x, 0.0f) : called(act.op, x, act.a, act.b);
}

static __device__ __noinline__ void residual_apart(const omcu_conv &v, int64_t at, int n, float *out)
{
    for (int e = 0; e < n; e++) out[e] = residual_at(v, at + e);
}

static __device__ __noinline__ void store_apart(const omcu_conv &v, const float *in, int64_t to, int n)
{
    for (int e = 0; e < n; e++)
        if (v.wide) static_cast<float *>(v.y)[to + e] = in[e];
        else static_cast<__half *>(v.y)[to + e] = __float2half_rn(in[e]);
}

/* N (4 or 8) channels of the residual. */
template <int N> __device__ void load_residual(const omcu_conv &v, int64_t at, int channel, float out[N])
{
    if (!v.vector) {
        float apart[N] = {};
        residual_apart(v, at, min(N, v.k - channel), apart);
#pragma unroll
        for (int e = 0; e < N; e++) out[e] = apart[e];
    } else if (v.r_grid.scale > 0) {
        __align__(8) int8_t q[N];
        const int8_t *from = static_cast<const int8_t *>(v.res) + at;
        if constexpr (N == 8) *reinterpret_cast<uint2 *>(q) = *reinterpret_cast<const uint2 *>(from);
        else *reinterpret_cast<uint32_t *>(q) = *reinterpret_cast<const uint32_t *>(from);
#pragma unroll
        for (int e = 0; e < N; e++) out[e] = static_cast<float>(q[e] - v.r_grid.zero) * v.r_grid.scale;
    } else {
        __align__(16) __half half[N];
        const __half *from = static_cast<const __half *>(v.res) + at;
        if constexpr (N == 8) *reinterpret_cast<uint4 *>(half) = *reinterpret_cast<const uint4 *>(from);
        else *reinterpret_cast<uint2 *>(half) = *reinterpret_cast<const uint2 *>(from);
#pragma unroll
        for (int e = 0; e < N; e++) out[e] = __half2float(half[e]);
    }
}

/* N (4 or 8) channels out, in f16 or f32. */
template <int N> __device__ void store_numbers(const omcu_conv &v, const float in[N], int64_t to, int channel)
{
    if (v.vector && !v.wide) {
        __align__(16) __half half[N];
        __half *y = static_cast<__half *>(v.y) + to;
#pragma unroll
        for (int e = 0; e < N; e++) half[e] = __float2half_rn(in[e]);
        if constexpr (N == 8) *reinterpret_cast<uint4 *>(y) = *reinterpret_cast<const uint4 *>(half);
        else *reinterpret_cast<uint2 *>(y) = *reinterpret_cast<const uint2 *>(half);
        return;
    }
    float apart[N];
#pragma unroll
    for (int e = 0; e < N; e++) apart[e] = in[e];
    store_apart(v, apart, to, min(N, v.k - channel));
}

struct integers {
    using in = int8_t;
    using sum = int;
    static constexpr int per = 16;

    static __device__ void multiply(int d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
    {
        asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                     "{%0,%1,%2,%3};\n"
                     : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
    static __device__ void round(uint32_t[4]) {}

    /* Of a thread's channels; of SiLU halved. */
    template <int OWN, bool SILU> struct factors {
        float scale[OWN], bias[OWN];

        __device__ factors(const omcu_conv &v, int channel)
        {
#pragma unroll
            for (int i = 0; i < OWN; i += 4) {
                *reinterpret_cast<float4 *>(scale + i) =
                    *reinterpret_cast<const float4 *>(v.scale + channel + i);
                *reinterpret_cast<float4 *>(bias + i) =
                    *reinterpret_cast<const float4 *>(v.bias + channel + i);
            }
#pragma unroll
            for (int i = 0; i < OWN && SILU; i++) {
                scale[i] *= 0.5f;
                bias[i] *= 0.5f;
            }
        }
        /* SiLU as h + h tanh(h) of half the number: the error of tanh.approx, 2^-11, is far below a step of
         * 8-bit integers. */
        __device__ float value(const omcu_conv &v, int i, int s) const
        {
            float x = fmaf(static_cast<float>(s), scale[i], bias[i]);
            return SILU ? fmaf(x, tanh_fast(x), x) : other(v.act1, x);
        }
    };

    /* All channels of a thread of one pixel: the residual, act2, and out. */
    template <int OWN>
    static __device__ void leave(const omcu_conv &v, const float all[OWN], int64_t to, int64_t from,
                                 int channel)
    {
        constexpr int piece = OWN % 8 == 0 ? 8 : 4;
        const bool second = v.res || v.act2.op != OMCU_NONE, grid = v.y_grid.scale > 0;
        const float by = grid ? __fdividef(1.0f, v.y_grid.scale) : 0.0f,
                    zero = static_cast<float>(v.y_grid.zero);
        __align__(16) uint32_t packed[OWN / 4];
#pragma unroll
        for (int p = 0; p < OWN; p += piece) {
            if (channel + p >= v.k) break;
            float out[piece], add[piece] = {};
            if (v.res) load_residual<piece>(v, from + p, channel + p, add);
#pragma unroll
            for (int e = 0; e < piece; e++) out[e] = second ? other(v.act2, all[p + e] + add[e]) : all[p + e];
            if (grid) {
#pragma unroll
                for (int e = 0; e < piece; e += 4) packed[(p + e) / 4] = pack_grid(by, zero, out + e);
            } else {
                store_numbers<piece>(v, out, to + p, channel + p);
            }
        }
        if (!grid) return;
        int8_t *y = static_cast<int8_t *>(v.y) + to;
        if (OWN % 16 == 0 && channel + OWN <= v.k && reinterpret_cast<uintptr_t>(y) % 16 == 0) {
#pragma unroll
            for (int p = 0; p < OWN / 16 * 16; p += 16)
                *reinterpret_cast<uint4 *>(y + p) = *reinterpret_cast<const uint4 *>(packed + p / 4);
            return;
        }
#pragma unroll
        for (int p = 0; p < OWN; p += piece) {
            if (channel + p >= v.k) break;
            if constexpr (piece == 8)
                *reinterpret_cast<uint2 *>(y + p) = make_uint2(packed[p / 4], packed[p / 4 + 1]);
            else *reinterpret_cast<uint32_t *>(y + p) = packed[p / 4];
        }
    }
};

struct tensor_floats {
    using in = float;
    using sum = float;
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

    template <int OWN, bool SILU> struct factors {
        float bias[OWN];

        __device__ factors(const omcu_conv &v, int channel)
        {
#pragma unroll
            for (int i = 0; i < OWN; i += 4)
                *reinterpret_cast<float4 *>(bias + i) =
                    *reinterpret_cast<const float4 *>(v.bias + channel + i);
        }
        __device__ float value(const omcu_conv &v, int i, float s) const
        {
            float x = s + bias[i];
            return SILU ? x * sigmoid(x) : other(v.act1, x);
        }
    };

    template <int OWN>
    static __device__ void leave(const omcu_conv &v, const float all[OWN], int64_t to, int64_t from,
                                 int channel)
    {
        const float *res = static_cast<const float *>(v.res);
        float *y = static_cast<float *>(v.y);
        const bool second = res || v.act2.op != OMCU_NONE;
#pragma unroll
        for (int p = 0; p < OWN; p += 4) {
            float out[4];
#pragma unroll
            for (int e = 0; e < 4; e++) {
                out[e] = all[p + e];
                if (second && channel + p + e < v.k)
                    out[e] = other(v.act2, out[e] + (res ? res[from + p + e] : 0.0f));
            }
            if (v.vector && channel + p + 4 <= v.k) {
                *reinterpret_cast<float4 *>(y + to + p) = make_float4(out[0], out[1], out[2], out[3]);
                continue;
            }
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (channel + p + e < v.k) y[to + p + e] = out[e];
        }
    }
};

/* Pixels, channels and depth of a tile; what of it a warp computes; stages in flight. */
template <typename E, int BM, int BN, int BK, int WM, int WN, int STAGES> struct tile {
    static constexpr int warps_n = BN / WN, threads = BM / WM * warps_n * 32, chunks = BK / E::per;
    static constexpr int a_rows = BM * chunks / threads, b_rows = (BN * chunks + threads - 1) / threads;
    static constexpr int row_step = threads / chunks, stage = (BM + BN) * chunks * 16;
    static constexpr int own = WN / 4; /* channels of a thread */
    static_assert(chunks == 4 || chunks == 8, "the places below are made for rows of 64 or 128 bytes");
    static_assert(BM * chunks % threads == 0, "each thread copies as much of the pixels");

    static __device__ int place(int row, int chunk)
    {
        int turned = chunks == 4 ? chunk ^ ((row >> 1) & 3) : chunk ^ (row & 7);
        return (row * chunks + turned) * 16;
    }
    /* Where a channel's weights lie: a product gives a thread the columns 2q and 2q + 1 of every eight, and
     * these are to be the channels that follow own * q. */
    static __device__ int turned(int channel)
    {
        int inside = channel % WN, q = inside / own, i = inside % own;
        return channel - inside + i / 2 * 8 + q * 2 + i % 2;
    }
};

/* POINTS: each pixel sees itself alone. */
template <typename E, int BM, int BN, int BK, int WM, int WN, int STAGES, bool POINTS>
__global__ void __launch_bounds__(tile<E, BM, BN, BK, WM, WN, STAGES>::threads) conv_eight(const omcu_conv v)
{
    using F = tile<E, BM, BN, BK, WM, WN, STAGES>;
    using walk = std::conditional_t<POINTS, point_walk<typename E::in, E::per, F::a_rows>,
                                    pixel_walk<typename E::in, E::per, F::a_rows>>;
    extern __shared__ __align__(128) char memory[];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    const int n_tiles = (v.k + BN - 1) / BN, m_total = v.n * v.ho * v.wo;
    const int m0 = static_cast<int>(blockIdx.x / n_tiles) * BM,
              n0 = static_cast<int>(blockIdx.x % n_tiles) * BN;
    const int chunk = tid % F::chunks, row0 = tid / F::chunks;

    walk a;
    a.start(v, m0 + row0, F::row_step, chunk);
    const typename E::in *weights =
        static_cast<const typename E::in *>(v.w) + static_cast<int64_t>(n0 + row0) * v.kdim + chunk * E::per;
    int to_weights[F::b_rows];
#pragma unroll
    for (int i = 0; i < F::b_rows; i++) to_weights[i] = F::place(F::turned(row0 + i * F::row_step), chunk);

    auto fetch = [&](char *to_a, int kt) {
        char *to_b = to_a + BM * F::chunks * 16;
        a.template copy<true>(v, [&](int i) { return to_a + F::place(row0 + i * F::row_step, chunk); });
#pragma unroll
        for (int i = 0; i < F::b_rows; i++)
            if (BN * F::chunks % F::threads == 0 || row0 + i * F::row_step < BN)
                copy_async(to_b + to_weights[i],
                           weights + static_cast<int64_t>(i * F::row_step) * v.kdim + kt * BK, true);
        a.advance(v, BK);
    };

    const int depth = (v.r * v.s * v.c + BK - 1) / BK;
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < depth) fetch(memory + i * F::stage, i);
        copy_commit();
    }

    typename E::sum sum[WM / 16][WN / 8][4] = {};
    const int warp_m = warp / F::warps_n * WM, warp_n = warp % F::warps_n * WN;
    int now = 0, next = STAGES - 1; /* stages */
    for (int kt = 0; kt < depth; kt++) {
        copy_wait<STAGES - 2>();
        __syncthreads();
        if (kt + STAGES - 1 < depth) fetch(memory + next * F::stage, kt + STAGES - 1);
        copy_commit();
        const char *from_a = memory + now * F::stage, *from_b = from_a + BM * F::chunks * 16;
        now = now + 1 < STAGES ? now + 1 : 0;
        next = next + 1 < STAGES ? next + 1 : 0;
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

    const int channel = n0 + warp_n + (lane & 3) * F::own;
    const bool rows = rows_follow(v);
    auto leave = [&](auto kind) {
        const typename E::template factors<F::own, decltype(kind)::value> factors(v, channel);
#pragma unroll
        for (int i = 0; i < WM / 8; i++) {
            int m = m0 + warp_m + i * 8 + (lane >> 2);
            if (m >= m_total) break;
            float all[F::own];
#pragma unroll
            for (int e = 0; e < F::own; e++)
                all[e] = factors.value(v, e, sum[i / 2][e / 2][i % 2 * 2 + e % 2]);
            int64_t to = m * v.y_w, from = m * v.r_w;
            if (!rows) pixel_places(v, m, &to, &from);
            E::template leave<F::own>(v, all, to + channel, from + channel, channel);
        }
    };
    if (channel >= v.k) return;
    if (v.act1.op == OMCU_SILU) leave(std::true_type());
    else leave(std::false_type());
}

template <typename E, int BM, int BN, int BK, int WM, int WN, int STAGES>
omcu_form eight_entry(const char *name)
{
    using F = tile<E, BM, BN, BK, WM, WN, STAGES>;
    omcu_form form = {
        name,       reinterpret_cast<const void *>(&conv_eight<E, BM, BN, BK, WM, WN, STAGES, false>),
        BM,         BN,
        F::threads, STAGES * F::stage};
    form.points = reinterpret_cast<const void *>(&conv_eight<E, BM, BN, BK, WM, WN, STAGES, true>);
    form.stage = F::stage;
    form.depth = BK;
    return form;
}

} // namespace
#endif
