/* Convolutions of f16 as implicit matrix products on the tensor cores: pixels by output channels, the taps
 * and input channels between them. Tiles travel to shared memory by asynchronous copies, several stages deep.
 * Each conv_*.cu compiles a few forms of it. */
#ifndef OM_BACKEND_CUDA_CONV_TILES_CUH
#define OM_BACKEND_CUDA_CONV_TILES_CUH

#include "backend/cuda/conv_parts.cuh"
#include "backend/cuda/forms.h"

namespace
{

using namespace omcu;

/* Pixels, channels and depth of a tile; what of it a warp computes; stages in flight. */
template <int BM, int BN, int BK, int WM, int WN, int STAGES> struct form {
    static constexpr int warps_n = BN / WN, threads = BM / WM * warps_n * 32, chunks = BK / 8;
    static constexpr int a_rows = BM * chunks / threads, b_rows = (BN * chunks + threads - 1) / threads;
    static constexpr int row_step = threads / chunks, stage = (BM + BN) * BK, pitch = BN + 8;
    static constexpr int bytes = STAGES * stage * 2 > BM *pitch * 2 ? STAGES *stage * 2 : BM *pitch * 2;

    /* Where 16 bytes lie so that eight rows of a column never share a bank. */
    static __device__ int place(int row, int chunk)
    {
        int turned = chunks == 4 ? chunk ^ ((row >> 1) & 3) : chunk ^ (row & 7);
        return (row * chunks + turned) * 8;
    }
};

/* What one thread copies of the pixels: always the same chunk of depth, of several rows. */
template <int ROWS> struct pixel_rows {
    const __half *base[ROWS];
    int y[ROWS], x[ROWS];
    int r, s, c; /* of the chunk that is next */
};

template <int ROWS>
__device__ void place_rows(pixel_rows<ROWS> &p, const omcu_conv &v, int first, int step, int m_end)
{
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        int m = first + i * step, area = v.ho * v.wo;
        int n = m / area, at = m - n * area, oy = at / v.wo, ox = at - oy * v.wo;
        p.y[i] = m < m_end ? oy * v.stride_y - v.pad_y : -(1 << 28);
        p.x[i] = ox * v.stride_x - v.pad_x;
        p.base[i] =
            static_cast<const __half *>(v.x) + (m < m_end ? n * v.x_n + p.y[i] * v.x_h + p.x[i] * v.x_w : 0);
    }
}

template <int BM, int BN, int BK, int WM, int WN, int STAGES>
__global__ void __launch_bounds__(form<BM, BN, BK, WM, WN, STAGES>::threads) conv_tiles(const omcu_conv v)
{
    using F = form<BM, BN, BK, WM, WN, STAGES>;
    extern __shared__ __align__(128) __half memory[];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    const int n_tiles = (v.k + BN - 1) / BN, m_total = v.n * v.ho * v.wo;
    const int m0 = static_cast<int>(blockIdx.x / n_tiles) * BM,
              n0 = static_cast<int>(blockIdx.x % n_tiles) * BN;
    const int chunk = tid % F::chunks, row0 = tid / F::chunks;

    pixel_rows<F::a_rows> a;
    place_rows(a, v, m0 + row0, F::row_step, m_total);
    const int tap = chunk * 8 / v.c;
    a.c = chunk * 8 - tap * v.c;
    a.r = tap / v.s;
    a.s = tap - a.r * v.s;
    const __half *weights =
        static_cast<const __half *>(v.w) + static_cast<int64_t>(n0 + row0) * v.kdim + chunk * 8;

    auto fetch = [&](int stage, int kt) {
        __half *to_a = memory + stage * F::stage, *to_b = to_a + BM * BK;
        int dy = a.r * v.dil_y, dx = a.s * v.dil_x;
        int64_t offset = dy * v.x_h + dx * v.x_w + a.c;
        bool inside = a.r < v.r;
#pragma unroll
        for (int i = 0; i < F::a_rows; i++) {
            bool valid = inside && static_cast<unsigned>(a.y[i] + dy) < static_cast<unsigned>(v.h) &&
                         static_cast<unsigned>(a.x[i] + dx) < static_cast<unsigned>(v.wd);
            copy_async(to_a + F::place(row0 + i * F::row_step, chunk), valid ? a.base[i] + offset : v.x,
                       valid);
        }
#pragma unroll
        for (int i = 0; i < F::b_rows; i++) {
            int row = row0 + i * F::row_step;
            if (row < BN)
                copy_async(to_b + F::place(row, chunk),
                           weights + static_cast<int64_t>(i * F::row_step) * v.kdim + kt * BK, true);
        }
        a.c += BK;
        while (a.c >= v.c && a.r < v.r) {
            a.c -= v.c;
            if (++a.s == v.s) {
                a.s = 0;
                a.r++;
            }
        }
    };

    const int depth = (v.r * v.s * v.c + BK - 1) / BK;
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < depth) fetch(i, i);
        copy_commit();
    }

    float sum[WM / 16][WN / 8][4] = {};
    const int warp_m = warp / F::warps_n * WM, warp_n = warp % F::warps_n * WN;
    for (int kt = 0; kt < depth; kt++) {
        copy_wait<STAGES - 2>();
        __syncthreads();
        if (kt + STAGES - 1 < depth) fetch((kt + STAGES - 1) % STAGES, kt + STAGES - 1);
        copy_commit();
        const __half *from_a = memory + kt % STAGES * F::stage, *from_b = from_a + BM * BK;
#pragma unroll
        for (int k = 0; k < BK / 16; k++) {
            uint32_t fa[WM / 16][4], fb[WN / 16][4];
#pragma unroll
            for (int i = 0; i < WM / 16; i++)
                load_matrix4(fa[i], from_a + F::place(warp_m + i * 16 + (lane & 15), k * 2 + (lane >> 4)));
#pragma unroll
            for (int j = 0; j < WN / 16; j++)
                load_matrix4(fb[j], from_b + F::place(warp_n + j * 16 + (lane & 7) + (lane >> 4) * 8,
                                                      k * 2 + ((lane >> 3) & 1)));
#pragma unroll
            for (int i = 0; i < WM / 16; i++)
#pragma unroll
                for (int j = 0; j < WN / 8; j++)
                    multiply_add(sum[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
        }
    }
    copy_wait<0>();
    __syncthreads();

    /* The tile goes through shared memory, so that rows leave in pieces of 16 bytes. */
#pragma unroll
    for (int j = 0; j < WN / 8; j++) {
        int column = warp_n + j * 8 + (lane & 3) * 2;
        float b0 = v.bias[n0 + column], b1 = v.bias[n0 + column + 1];
#pragma unroll
        for (int i = 0; i < WM / 16; i++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int row = warp_m + i * 16 + (lane >> 2) + half * 8;
                *reinterpret_cast<__half2 *>(memory + row * F::pitch + column) =
                    __floats2half2_rn(activate(v.act1, sum[i][j][half * 2] + b0),
                                      activate(v.act1, sum[i][j][half * 2 + 1] + b1));
            }
    }
    __syncthreads();
    for (int at = tid; at < BM * (BN / 8); at += F::threads) {
        int row = at / (BN / 8), column = at % (BN / 8) * 8, m = m0 + row, channel = n0 + column;
        if (m >= m_total || channel >= v.k) continue;
        int64_t to, from;
        pixel_places(v, m, &to, &from);
        __align__(16) __half out[8];
        *reinterpret_cast<uint4 *>(out) = *reinterpret_cast<const uint4 *>(memory + row * F::pitch + column);
        finish_piece(v, out, to + channel, from + channel, channel);
    }
}

template <int BM, int BN, int BK, int WM, int WN, int STAGES> omcu_form entry(const char *name)
{
    using F = form<BM, BN, BK, WM, WN, STAGES>;
    return {name,       reinterpret_cast<const void *>(&conv_tiles<BM, BN, BK, WM, WN, STAGES>),
            BM,         BN,
            F::threads, F::bytes};
}

} // namespace
#endif
