/* Convolutions without tensor cores: f32, groups, and the transposed ones. */
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

} // namespace

int omcu_conv_plain_launch(bool half, const omcu_conv *c, CUstream_st *stream)
{
    int64_t m = static_cast<int64_t>(c->n) * c->ho * c->wo;
    dim3 grid(blocks_of(m, tile_m) * ((c->k + tile_n - 1) / tile_n), c->groups);
    if (half) conv_plain<__half><<<grid, threads, 0, stream>>>(*c);
    else conv_plain<float><<<grid, threads, 0, stream>>>(*c);
    return cudaGetLastError();
}

int omcu_deconv_launch(bool half, const omcu_conv *c, CUstream_st *stream)
{
    int64_t items = static_cast<int64_t>(c->n) * c->ho * c->wo * c->k * c->groups;
    if (half) deconv<__half><<<blocks_of(items, 256), 256, 0, stream>>>(*c);
    else deconv<float><<<blocks_of(items, 256), 256, 0, stream>>>(*c);
    return cudaGetLastError();
}
