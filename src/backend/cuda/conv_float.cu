/* Convolutions of f32 without tensor cores, as implicit matrix products: each thread sums a patch of pixels
 * by channels from tiles in shared memory, which travel there by asynchronous copies. */
#include "backend/cuda/conv_parts.cuh"
#include "backend/cuda/forms.h"

namespace
{

constexpr int threads = 256, depth_step = 16, chunks = 4, stages = 3, each_n = 8;
constexpr int pitch = depth_step + 4; /* floats: eight rows never share a bank */

template <int BM, int BN> struct patch {
    static constexpr int across = BN / each_n, down = threads / across, each_m = BM / down;
    static constexpr int wide = across < 8 ? across : 8; /* of a warp */
    static constexpr int row_step = threads / chunks, a_rows = BM / row_step,
                         b_rows = (BN + row_step - 1) / row_step;
    static constexpr int stage = (BM + BN) * pitch, bytes = stages * stage * 4;
};

template <int BM, int BN> __global__ void __launch_bounds__(threads) conv_float(const omcu_conv v)
{
    using F = patch<BM, BN>;
    extern __shared__ __align__(128) float tiles[];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    const int n_tiles = (v.k + BN - 1) / BN, m_total = v.n * v.ho * v.wo;
    const int m0 = static_cast<int>(blockIdx.x / n_tiles) * BM,
              n0 = static_cast<int>(blockIdx.x % n_tiles) * BN;
    const int chunk = tid % chunks, row0 = tid / chunks;

    pixel_walk<float, 4, F::a_rows> a;
    a.start(v, m0 + row0, F::row_step, chunk);
    const float *weights =
        static_cast<const float *>(v.w) + static_cast<int64_t>(n0 + row0) * v.kdim + chunk * 4;
    auto fetch = [&](int stage, int kt) {
        float *to_a = tiles + stage * F::stage, *to_b = to_a + BM * pitch;
        a.copy(v, [&](int i) { return to_a + (row0 + i * F::row_step) * pitch + chunk * 4; });
#pragma unroll
        for (int i = 0; i < F::b_rows; i++) {
            int row = row0 + i * F::row_step;
            if (row < BN)
                copy_async(to_b + row * pitch + chunk * 4,
                           weights + static_cast<int64_t>(i * F::row_step) * v.kdim + kt * depth_step, true);
        }
        a.advance(v, depth_step);
    };

    const int depth = (v.r * v.s * v.c + depth_step - 1) / depth_step;
#pragma unroll
    for (int i = 0; i < stages - 1; i++) {
        if (i < depth) fetch(i, i);
        copy_commit();
    }
    constexpr int warps_across = F::across / F::wide;
    const int column0 = warp % warps_across * F::wide + lane % F::wide;
    const int line0 = warp / warps_across * (32 / F::wide) + lane / F::wide;
    float sum[F::each_m][each_n] = {};
    for (int kt = 0; kt < depth; kt++) {
        copy_wait<stages - 2>();
        __syncthreads();
        if (kt + stages - 1 < depth) fetch((kt + stages - 1) % stages, kt + stages - 1);
        copy_commit();
        const float *from_a = tiles + kt % stages * F::stage + line0 * pitch;
        const float *from_b = tiles + kt % stages * F::stage + (BM + column0) * pitch;
#pragma unroll
        for (int k = 0; k < depth_step; k += 4) {
            float4 x[F::each_m];
#pragma unroll
            for (int i = 0; i < F::each_m; i++)
                x[i] = *reinterpret_cast<const float4 *>(from_a + i * F::down * pitch + k);
#pragma unroll
            for (int j = 0; j < each_n; j++) {
                float4 w = *reinterpret_cast<const float4 *>(from_b + j * F::across * pitch + k);
#pragma unroll
                for (int i = 0; i < F::each_m; i++) {
                    sum[i][j] = fmaf(x[i].x, w.x, sum[i][j]);
                    sum[i][j] = fmaf(x[i].y, w.y, sum[i][j]);
                    sum[i][j] = fmaf(x[i].z, w.z, sum[i][j]);
                    sum[i][j] = fmaf(x[i].w, w.w, sum[i][j]);
                }
            }
        }
    }
    copy_wait<0>();

    const float *res = static_cast<const float *>(v.res);
    const bool second = res || v.act2.op != OMCU_NONE;
#pragma unroll
    for (int i = 0; i < F::each_m; i++) {
        int m = m0 + line0 + i * F::down;
        if (m >= m_total) continue;
        int64_t to, from;
        pixel_places(v, m, &to, &from);
#pragma unroll
        for (int j = 0; j < each_n; j++) {
            int channel = n0 + column0 + j * F::across;
            if (channel >= v.k) continue;
            float one = activate(v.act1, sum[i][j] + v.bias[channel]);
            if (second) one = activate(v.act2, one + (res ? res[from + channel] : 0.0f));
            static_cast<float *>(v.y)[to + channel] = one;
        }
    }
}

template <int BM, int BN> omcu_form entry(const char *name)
{
    return {name, reinterpret_cast<const void *>(&conv_float<BM, BN>), BM, BN, threads, patch<BM, BN>::bytes};
}

} // namespace

const omcu_form *omcu_forms_float(int *n)
{
    static const omcu_form forms[] = {
        entry<256, 16>("256x16"), entry<256, 32>("256x32"), entry<128, 32>("128x32"),
        entry<128, 64>("128x64"), entry<256, 64>("256x64"), entry<128, 128>("128x128"),
    };
    *n = static_cast<int>(sizeof forms / sizeof forms[0]);
    return forms;
}
