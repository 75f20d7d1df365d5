/* What the convolutions' kernels share: how a block's threads copy pixels and weights to shared memory, and
 * how finished pieces leave. */
#ifndef OM_BACKEND_CUDA_CONV_PARTS_CUH
#define OM_BACKEND_CUDA_CONV_PARTS_CUH

#include "backend/cuda/device.cuh"

namespace
{

using namespace omcu;

/* Four numbers on a grid of 8-bit integers, `by` its steps a unit; the first in the lowest byte. */
__device__ inline uint32_t pack_grid(float by, float zero, const float v[4])
{
    int q[4];
    uint32_t out;
#pragma unroll
    for (int i = 0; i < 4; i++) q[i] = __float2int_rn(fmaf(v[i], by, zero));
    asm("{\n.reg .b32 high;\n"
        "cvt.pack.sat.s8.s32.b32 high, %4, %3, 0;\n"
        "cvt.pack.sat.s8.s32.b32 %0, %2, %1, high;\n}\n"
        : "=r"(out)
        : "r"(q[0]), "r"(q[1]), "r"(q[2]), "r"(q[3]));
    return out;
}

/* Eight numbers on a grid, and back. */
__device__ inline uint2 to_grid(const omcu_grid &g, const float v[8])
{
    const float by = __fdividef(1.0f, g.scale), zero = static_cast<float>(g.zero);
    return make_uint2(pack_grid(by, zero, v), pack_grid(by, zero, v + 4));
}

__device__ inline void from_grid(const omcu_grid &g, uint2 raw, float v[8])
{
    union {
        uint2 raw;
        int8_t q[8];
    } in;
    in.raw = raw;
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = static_cast<float>(in.q[i] - g.zero) * g.scale;
}

__device__ inline float residual_at(const omcu_conv &v, int64_t at)
{
    if (v.r_grid.scale > 0)
        return static_cast<float>(static_cast<const int8_t *>(v.res)[at] - v.r_grid.zero) * v.r_grid.scale;
    return __half2float(static_cast<const __half *>(v.res)[at]);
}

/* Eight channels of one pixel, rounded to f16 behind act1: the residual, act2, and out. */
__device__ inline void finish_piece(const omcu_conv &v, __half out[8], int64_t to, int64_t from, int channel)
{
    const bool second = v.res || v.act2.op != OMCU_NONE;
    if (v.vector && !v.wide) {
        if (second) {
            float add[8] = {};
            if (v.res && v.r_grid.scale > 0) {
                from_grid(v.r_grid,
                          *reinterpret_cast<const uint2 *>(static_cast<const int8_t *>(v.res) + from), add);
            } else if (v.res) {
                __align__(16) __half half[8];
                *reinterpret_cast<uint4 *>(half) =
                    *reinterpret_cast<const uint4 *>(static_cast<const __half *>(v.res) + from);
#pragma unroll
                for (int e = 0; e < 8; e++) add[e] = __half2float(half[e]);
            }
#pragma unroll
            for (int e = 0; e < 8; e++)
                out[e] = __float2half_rn(activate(v.act2, __half2float(out[e]) + add[e]));
        }
        if (v.y_grid.scale > 0) {
            float all[8];
#pragma unroll
            for (int e = 0; e < 8; e++) all[e] = __half2float(out[e]);
            *reinterpret_cast<uint2 *>(static_cast<int8_t *>(v.y) + to) = to_grid(v.y_grid, all);
        } else {
            *reinterpret_cast<uint4 *>(static_cast<__half *>(v.y) + to) = *reinterpret_cast<uint4 *>(out);
        }
        return;
    }
#pragma unroll
    for (int e = 0; e < 8; e++) {
        if (channel + e >= v.k) break;
        float one = __half2float(out[e]);
        if (second) one = activate(v.act2, one + (v.res ? residual_at(v, from + e) : 0.0f));
        if (v.wide) static_cast<float *>(v.y)[to + e] = one;
        else static_cast<__half *>(v.y)[to + e] = __float2half_rn(one);
    }
}

/* Where the pixel `m` of all lies in y and res. */
__device__ inline void pixel_places(const omcu_conv &v, int m, int64_t *to, int64_t *from)
{
    int area = v.ho * v.wo, n = m / area, rest = m - n * area, oy = rest / v.wo, ox = rest - oy * v.wo;
    *to = n * v.y_n + oy * v.y_h + ox * v.y_w;
    *from = n * v.r_n + oy * v.r_h + ox * v.r_w;
}

/* As copy_async(); NEAR: through the first cache too. */
template <bool NEAR> __device__ inline void copy_piece(void *to, const void *from, bool valid)
{
    if constexpr (NEAR)
        asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(to)), "l"(from),
                     "r"(valid ? 16 : 0));
    else copy_async(to, from, valid);
}

/* Whether pixels lie at one step over the whole batch, in y and res. */
__device__ inline bool rows_follow(const omcu_conv &v)
{
    return v.y_h == v.wo * v.y_w && v.y_n == v.ho * v.y_h &&
           (!v.res || (v.r_h == v.wo * v.r_w && v.r_n == v.ho * v.r_h));
}

/* What one thread copies of a tile of pixels: always the same 16 bytes of depth, PER numbers of type T, of
 * several rows; and the taps they belong to. */
template <typename T, int PER, int ROWS> struct pixel_walk {
    const T *base[ROWS];
    int y[ROWS], x[ROWS];
    int r, s, c; /* of the piece that is next */

    __device__ void start(const omcu_conv &v, int first, int step, int chunk)
    {
        const int end = v.n * v.ho * v.wo;
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            int m = first + i * step, area = v.ho * v.wo;
            int n = m / area, at = m - n * area, oy = at / v.wo, ox = at - oy * v.wo;
            y[i] = m < end ? oy * v.stride_y - v.pad_y : -(1 << 28);
            x[i] = ox * v.stride_x - v.pad_x;
            base[i] = static_cast<const T *>(v.x) + (m < end ? n * v.x_n + y[i] * v.x_h + x[i] * v.x_w : 0);
        }
        const int tap = chunk * PER / v.c;
        c = chunk * PER - tap * v.c;
        r = tap / v.s;
        s = tap - r * v.s;
    }

    /* `place(i)`: where row i's piece goes. Outside of the picture lies `v.outside`; zeros where that is
     * NULL, and behind the last tap. NEAR: what the next taps read again is kept close. */
    template <bool NEAR = false, typename F> __device__ void copy(const omcu_conv &v, F place)
    {
        int dy = r * v.dil_y, dx = s * v.dil_x;
        int64_t offset = dy * v.x_h + dx * v.x_w + c;
        bool taps = r < v.r;
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            bool inside = taps && static_cast<unsigned>(y[i] + dy) < static_cast<unsigned>(v.h) &&
                          static_cast<unsigned>(x[i] + dx) < static_cast<unsigned>(v.wd);
            const void *other = v.outside ? v.outside : v.x;
            copy_piece<NEAR>(place(i), inside ? base[i] + offset : other, inside || (taps && v.outside));
        }
    }

    __device__ void advance(const omcu_conv &v, int by)
    {
        c += by;
        while (c >= v.c && r < v.r) {
            c -= v.c;
            if (++s == v.s) {
                s = 0;
                r++;
            }
        }
    }
};

/* The same where each pixel sees one pixel alone. */
template <typename T, int PER, int ROWS> struct point_walk {
    const T *base[ROWS];
    int c;

    __device__ void start(const omcu_conv &v, int first, int step, int chunk)
    {
        const int area = v.ho * v.wo, last = v.n * area - 1;
        const bool rows = v.stride_y == 1 && v.stride_x == 1 && v.x_h == v.wd * v.x_w && v.x_n == v.h * v.x_h;
        c = chunk * PER;
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            /* Rows past the last are read, and dropped. */
            int m = min(first + i * step, last);
            int64_t at = m * v.x_w;
            if (!rows) {
                int n = m / area, rest = m - n * area, oy = rest / v.wo, ox = rest - oy * v.wo;
                at = n * v.x_n + oy * v.stride_y * v.x_h + ox * v.stride_x * v.x_w;
            }
            base[i] = static_cast<const T *>(v.x) + at + c;
        }
    }

    template <bool NEAR = false, typename F> __device__ void copy(const omcu_conv &v, F place)
    {
        const bool inside = c < v.c;
#pragma unroll
        for (int i = 0; i < ROWS; i++) copy_async(place(i), inside ? base[i] : v.x, inside);
    }

    __device__ void advance(const omcu_conv &, int by)
    {
        c += by;
#pragma unroll
        for (int i = 0; i < ROWS; i++) base[i] += by;
    }
};

} // namespace
#endif
