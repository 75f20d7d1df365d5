/* Convolutions without tensor cores: f32, groups, single channels, and the transposed ones. */
#include "backend/cuda/device.cuh"

namespace
{

using namespace omcu;

constexpr int tile_m = 128, tile_n = 64, tile_k = 16, threads = 256, per_m = 8, per_n = 4;

/* Tiles of pixels by channels; a thread sums 8 by 4 of them. */
template <typename T> __global__ void __launch_bounds__(threads) conv_plain(const omcu_conv v)
{
    __shared__ float pixels[tile_k][tile_m + 4], taps[tile_k][tile_n + 4];
    const int tid = threadIdx.x, k_lane = tid % tile_k, row0 = tid / tile_k, step = threads / tile_k;
    const int tiles_n = (v.k + tile_n - 1) / tile_n, g = blockIdx.y;
    const int m0 = static_cast<int>(blockIdx.x / tiles_n) * tile_m,
              n0 = static_cast<int>(blockIdx.x % tiles_n) * tile_n;
    const int total = v.n * v.ho * v.wo, area = v.ho * v.wo;
    const T *x = static_cast<const T *>(v.x) + static_cast<int64_t>(g) * v.c;
    const T *w = static_cast<const T *>(v.w) + static_cast<int64_t>(g) * v.k * v.kdim;

    int64_t base[tile_m / step];
    int iy[tile_m / step], ix[tile_m / step];
#pragma unroll
    for (int i = 0; i < tile_m / step; i++) {
        int m = m0 + row0 + i * step, n = m / area, at = m - n * area, oy = at / v.wo, ox = at - oy * v.wo;
        iy[i] = m < total ? oy * v.stride_y - v.pad_y : -(1 << 28);
        ix[i] = ox * v.stride_x - v.pad_x;
        base[i] = m < total ? n * v.x_n + iy[i] * v.x_h + ix[i] * v.x_w : 0;
    }

    float sum[per_m][per_n] = {};
    const int depth = v.r * v.s * v.c, tm = tid / (tile_n / per_n) * per_m,
              tn = tid % (tile_n / per_n) * per_n;
    for (int k0 = 0; k0 < depth; k0 += tile_k) {
        int k = k0 + k_lane, tap = k / v.c, c = k - tap * v.c, r = tap / v.s, s = tap - r * v.s;
        int dy = r * v.dil_y, dx = s * v.dil_x;
        int64_t offset = dy * v.x_h + dx * v.x_w + c;
#pragma unroll
        for (int i = 0; i < tile_m / step; i++) {
            bool valid = k < depth && static_cast<unsigned>(iy[i] + dy) < static_cast<unsigned>(v.h) &&
                         static_cast<unsigned>(ix[i] + dx) < static_cast<unsigned>(v.wd);
            pixels[k_lane][row0 + i * step] = valid ? to_float(x[base[i] + offset]) : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < tile_n / step; i++) {
            int row = n0 + row0 + i * step;
            taps[k_lane][row0 + i * step] =
                k < depth && row < v.k ? to_float(w[static_cast<int64_t>(row) * v.kdim + k]) : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int k1 = 0; k1 < tile_k; k1++) {
            float a[per_m], b[per_n];
#pragma unroll
            for (int i = 0; i < per_m; i++) a[i] = pixels[k1][tm + i];
#pragma unroll
            for (int j = 0; j < per_n; j++) b[j] = taps[k1][tn + j];
#pragma unroll
            for (int i = 0; i < per_m; i++)
#pragma unroll
                for (int j = 0; j < per_n; j++) sum[i][j] = fmaf(a[i], b[j], sum[i][j]);
        }
        __syncthreads();
    }

    const T *res = static_cast<const T *>(v.res);
#pragma unroll
    for (int i = 0; i < per_m; i++) {
        int m = m0 + tm + i;
        if (m >= total) break;
        int n = m / area, at = m - n * area, oy = at / v.wo, ox = at - oy * v.wo;
        int64_t to = n * v.y_n + oy * v.y_h + ox * v.y_w, from = n * v.r_n + oy * v.r_h + ox * v.r_w;
#pragma unroll
        for (int j = 0; j < per_n; j++) {
            int channel = n0 + tn + j, all = g * v.k + channel;
            if (channel >= v.k) break;
            float one = activate(v.act1, sum[i][j] + v.bias[all]);
            if (res) one += to_float(res[from + all]);
            one = activate(v.act2, one);
            if (v.wide) static_cast<float *>(v.y)[to + all] = one;
            else static_cast<T *>(v.y)[to + all] = from_float<T>(one);
        }
    }
}

/* Eight channels of `pixels` neighbours in a row a thread. */
template <int R, int STRIDE, int PIXELS> __global__ void depthwise8(const omcu_conv v)
{
    constexpr int span = (PIXELS - 1) * STRIDE + R;
    int c8 = v.groups / 8, at = blockIdx.x * blockDim.x + threadIdx.x;
    int column = at % c8, spans = (v.wo + PIXELS - 1) / PIXELS, ox0 = at / c8 % spans * PIXELS,
        rest = at / c8 / spans;
    int oy = rest % v.ho, n = rest / v.ho;
    if (n >= v.n) return;
    const __half *x = static_cast<const __half *>(v.x) + n * v.x_n + column * 8;
    const __half *w = static_cast<const __half *>(v.w) + column * 8;
    float sum[PIXELS][8];
#pragma unroll
    for (int e = 0; e < 8; e++) {
        float b = v.bias[column * 8 + e];
        for (int i = 0; i < PIXELS; i++) sum[i][e] = b;
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
        int iy = oy * STRIDE - v.pad_y + r;
        if (static_cast<unsigned>(iy) >= static_cast<unsigned>(v.h)) continue;
        __align__(16) __half2 taps[R][4];
#pragma unroll
        for (int s = 0; s < R; s++)
            *reinterpret_cast<uint4 *>(taps[s]) =
                __ldg(reinterpret_cast<const uint4 *>(w + static_cast<int64_t>(r * R + s) * v.groups));
#pragma unroll
        for (int i = 0; i < span; i++) {
            int ix = ox0 * STRIDE - v.pad_x + i;
            if (static_cast<unsigned>(ix) >= static_cast<unsigned>(v.wd)) continue;
            __align__(16) __half2 in[4];
            *reinterpret_cast<uint4 *>(in) =
                __ldg(reinterpret_cast<const uint4 *>(x + iy * v.x_h + ix * v.x_w));
#pragma unroll
            for (int p = 0; p < PIXELS; p++) {
                int s = i - p * STRIDE;
                if (s < 0 || s >= R) continue;
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    float2 a = __half22float2(in[e]), b = __half22float2(taps[s][e]);
                    sum[p][e * 2] = fmaf(a.x, b.x, sum[p][e * 2]);
                    sum[p][e * 2 + 1] = fmaf(a.y, b.y, sum[p][e * 2 + 1]);
                }
            }
        }
    }
    for (int p = 0; p < PIXELS && ox0 + p < v.wo; p++) {
        __align__(16) __half out[8], add[8] = {};
        const __half *res = static_cast<const __half *>(v.res);
        if (res)
            *reinterpret_cast<uint4 *>(add) = *reinterpret_cast<const uint4 *>(
                res + n * v.r_n + oy * v.r_h + (ox0 + p) * v.r_w + column * 8);
#pragma unroll
        for (int e = 0; e < 8; e++)
            out[e] = __float2half_rn(activate(v.act2, activate(v.act1, sum[p][e]) + __half2float(add[e])));
        *reinterpret_cast<uint4 *>(static_cast<__half *>(v.y) + n * v.y_n + oy * v.y_h + (ox0 + p) * v.y_w +
                                   column * 8) = *reinterpret_cast<uint4 *>(out);
    }
}

/* Any window, one number a thread. */
template <typename T> __global__ void depthwise(const omcu_conv v)
{
    int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    int c = static_cast<int>(at % v.groups);
    int64_t pixel = at / v.groups;
    int ox = static_cast<int>(pixel % v.wo), oy = static_cast<int>(pixel / v.wo % v.ho);
    int64_t n = pixel / v.wo / v.ho;
    if (n >= v.n) return;
    float sum = v.bias[c];
    for (int r = 0; r < v.r; r++) {
        int iy = oy * v.stride_y - v.pad_y + r * v.dil_y;
        if (iy < 0 || iy >= v.h) continue;
        for (int s = 0; s < v.s; s++) {
            int ix = ox * v.stride_x - v.pad_x + s * v.dil_x;
            if (ix < 0 || ix >= v.wd) continue;
            sum = fmaf(
                to_float(static_cast<const T *>(v.x)[n * v.x_n + iy * v.x_h + ix * v.x_w + c]),
                to_float(static_cast<const T *>(v.w)[static_cast<int64_t>(r * v.s + s) * v.groups + c]), sum);
        }
    }
    sum = activate(v.act1, sum);
    if (v.res) sum += to_float(static_cast<const T *>(v.res)[n * v.r_n + oy * v.r_h + ox * v.r_w + c]);
    sum = activate(v.act2, sum);
    int64_t to = n * v.y_n + oy * v.y_h + ox * v.y_w + c;
    if (v.wide) static_cast<float *>(v.y)[to] = sum;
    else static_cast<T *>(v.y)[to] = from_float<T>(sum);
}

/* Which inputs reach an output pixel, and by which taps. */
template <typename T> __global__ void deconv(const omcu_conv v)
{
    int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    int all = static_cast<int>(at % (v.k * v.groups)), g = all / v.k, k = all - g * v.k;
    int64_t pixel = at / (v.k * v.groups);
    int ox = static_cast<int>(pixel % v.wo), oy = static_cast<int>(pixel / v.wo % v.ho);
    int64_t n = pixel / v.wo / v.ho;
    if (n >= v.n) return;
    const T *w = static_cast<const T *>(v.w) + (static_cast<int64_t>(g) * v.k + k) * v.kdim;
    float sum = v.bias[all];
    for (int r = 0; r < v.r; r++) {
        int y = oy + v.pad_y - r * v.dil_y, iy = y / v.stride_y;
        if (y < 0 || iy * v.stride_y != y || iy >= v.h) continue;
        for (int s = 0; s < v.s; s++) {
            int x = ox + v.pad_x - s * v.dil_x, ix = x / v.stride_x;
            if (x < 0 || ix * v.stride_x != x || ix >= v.wd) continue;
            const T *from = static_cast<const T *>(v.x) + n * v.x_n + iy * v.x_h + ix * v.x_w + g * v.c;
            const T *tap = w + static_cast<int64_t>(r * v.s + s) * v.c;
            for (int c = 0; c < v.c; c++) sum = fmaf(to_float(from[c]), to_float(tap[c]), sum);
        }
    }
    sum = activate(v.act2, activate(v.act1, sum));
    int64_t to = n * v.y_n + oy * v.y_h + ox * v.y_w + all;
    if (v.wide) static_cast<float *>(v.y)[to] = sum;
    else static_cast<T *>(v.y)[to] = from_float<T>(sum);
}

unsigned blocks_of(int64_t items, int size) { return static_cast<unsigned>((items + size - 1) / size); }

template <int R, int STRIDE> int launch_depthwise8(const omcu_conv *c, cudaStream_t stream)
{
    constexpr int pixels = 4;
    int64_t items = static_cast<int64_t>(c->n) * c->ho * ((c->wo + pixels - 1) / pixels) * (c->groups / 8);
    depthwise8<R, STRIDE, pixels><<<blocks_of(items, 128), 128, 0, stream>>>(*c);
    return cudaGetLastError();
}

} // namespace

int omcu_conv_plain_launch(bool half, const omcu_conv *c, CUstream_st *stream)
{
    int64_t m = static_cast<int64_t>(c->n) * c->ho * c->wo;
    dim3 grid(blocks_of(m, tile_m) * ((c->k + tile_n - 1) / tile_n), c->groups);
    if (half) conv_plain<__half><<<grid, threads, 0, stream>>>(*c);
    else conv_plain<float><<<grid, threads, 0, stream>>>(*c);
    return cudaGetLastError();
}

int omcu_conv_depthwise_launch(bool half, const omcu_conv *c, CUstream_st *stream)
{
    bool square =
        c->r == c->s && c->stride_y == c->stride_x && c->dil_y == 1 && c->dil_x == 1 && c->stride_y <= 2;
    if (half && square && c->vector && !c->wide && c->groups % 8 == 0 && c->x_w % 8 == 0) {
        if (c->r == 3)
            return c->stride_y == 1 ? launch_depthwise8<3, 1>(c, stream) : launch_depthwise8<3, 2>(c, stream);
        if (c->r == 5)
            return c->stride_y == 1 ? launch_depthwise8<5, 1>(c, stream) : launch_depthwise8<5, 2>(c, stream);
    }
    int64_t items = static_cast<int64_t>(c->n) * c->ho * c->wo * c->groups;
    if (half) depthwise<__half><<<blocks_of(items, 256), 256, 0, stream>>>(*c);
    else depthwise<float><<<blocks_of(items, 256), 256, 0, stream>>>(*c);
    return cudaGetLastError();
}

int omcu_deconv_launch(bool half, const omcu_conv *c, CUstream_st *stream)
{
    int64_t items = static_cast<int64_t>(c->n) * c->ho * c->wo * c->k * c->groups;
    if (half) deconv<__half><<<blocks_of(items, 256), 256, 0, stream>>>(*c);
    else deconv<float><<<blocks_of(items, 256), 256, 0, stream>>>(*c);
    return cudaGetLastError();
}
