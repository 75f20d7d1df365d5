/* What the convolutions' kernels share: how a block's threads copy pixels and weights to shared memory, and
 * how finished pieces leave. */
#ifndef OM_BACKEND_CUDA_CONV_PARTS_CUH
#define OM_BACKEND_CUDA_CONV_PARTS_CUH

#include "backend/cuda/device.cuh"

namespace
{

using namespace omcu;

/* Eight numbers on a grid of 8-bit integers, and back. */
__device__ inline uint2 to_grid(const omcu_grid &g, const float v[8])
{
    union {
        int8_t q[8];
        uint2 raw;
    } out;
    const float by = 1.0f / g.scale;
#pragma unroll
    for (int i = 0; i < 8; i++)
        out.q[i] = static_cast<int8_t>(min(max(__float2int_rn(v[i] * by) + g.zero, -128), 127));
    return out.raw;
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
     * NULL, and behind the last tap. */
    template <typename F> __device__ void copy(const omcu_conv &v, F place)
    {
        int dy = r * v.dil_y, dx = s * v.dil_x;
        int64_t offset = dy * v.x_h + dx * v.x_w + c;
        bool taps = r < v.r;
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            bool inside = taps && static_cast<unsigned>(y[i] + dy) < static_cast<unsigned>(v.h) &&
                          static_cast<unsigned>(x[i] + dx) < static_cast<unsigned>(v.wd);
            const void *other = v.outside ? v.outside : v.x;
            copy_async(place(i), inside ? base[i] + offset : other, inside || (taps && v.outside));
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

} // namespace
#endif
