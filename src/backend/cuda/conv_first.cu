/* The first convolution: three input channels, stride 2. A block keeps the part of the picture its pixels see
 * in shared memory as it is, and the tensor cores read their operands right out of it: no channel is padded,
 * only each row of taps to an even length. */
#include "backend/cuda/conv_parts.cuh"

namespace
{

using namespace omcu;

constexpr int tile_h = 8, tile_w = 32, warps = 4, channels = 3, stride = 2;

template <int R> struct shape {
    static constexpr int run = (R * channels + 1) / 2 * 2; /* taps of one row */
    static constexpr int steps = (R * run + 15) / 16, depth = steps * 16;
    static constexpr int rows = (tile_h - 1) * stride + R;
    static constexpr int row = ((tile_w - 1) * stride + R) * channels, pitch = (row + 1) / 2 * 2 + 2;
};

template <int R, int N> __global__ void __launch_bounds__(warps * 32) conv_first(const omcu_conv v)
{
    using S = shape<R>;
    __shared__ __align__(16) __half picture[S::rows * S::pitch];
    __shared__ __align__(16) __half weights[N * (S::depth + 8)];
    __shared__ __align__(16) __half staged[warps][16 * (N + 8)];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5, group = lane >> 2, quad = lane & 3;
    const int ox0 = blockIdx.x * tile_w, oy0 = blockIdx.y * tile_h;
    const int ix0 = ox0 * stride - v.pad_x, iy0 = oy0 * stride - v.pad_y;
    const __half *x = static_cast<const __half *>(v.x) + blockIdx.z * v.x_n;

    const int first = ix0 < 0 ? -ix0 * channels : 0;
    const int last = min(S::row, (v.wd - ix0) * channels);
    /* All of a row's loads are in flight before the first is stored. */
    constexpr int pieces = (S::pitch + 31) / 32;
#pragma unroll 2
    for (int y = warp; y < S::rows; y += warps) {
        bool inside = static_cast<unsigned>(iy0 + y) < static_cast<unsigned>(v.h);
        const __half *from = x + (iy0 + y) * v.x_h + ix0 * channels;
        __half row[pieces];
#pragma unroll
        for (int k = 0; k < pieces; k++) {
            int i = lane + k * 32;
            row[k] = inside && i >= first && i < last ? from[i] : __half(0.0f);
        }
#pragma unroll
        for (int k = 0; k < pieces; k++)
            if (lane + k * 32 < S::pitch) picture[y * S::pitch + lane + k * 32] = row[k];
    }

    int offset[S::steps][2];
#pragma unroll
    for (int k = 0; k < S::steps; k++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int at = k * 16 + i * 8 + quad * 2, r = at / S::run;
            offset[k][i] = r < R ? r * S::pitch + at - r * S::run : 0;
        }

    for (int n0 = 0; n0 < v.k; n0 += N) {
        __syncthreads();
        for (int i = tid; i < N * S::depth / 8; i += warps * 32) {
            int row = i / (S::depth / 8), column = i % (S::depth / 8) * 8;
            *reinterpret_cast<uint4 *>(weights + row * (S::depth + 8) + column) =
                *reinterpret_cast<const uint4 *>(static_cast<const __half *>(v.w) +
                                                 static_cast<int64_t>(n0 + row) * v.kdim + column);
        }
        __syncthreads();
#pragma unroll 1
        for (int t = warp; t < tile_h * (tile_w / 16); t += warps) {
            int ty = t / (tile_w / 16), tx = t % (tile_w / 16) * 16, oy = oy0 + ty;
            const __half *base = picture + ty * stride * S::pitch + (tx + group) * stride * channels;
            float sum[N / 8][4] = {};
#pragma unroll
            for (int k = 0; k < S::steps; k++) {
                uint32_t a[4];
                a[0] = *reinterpret_cast<const uint32_t *>(base + offset[k][0]);
                a[1] = *reinterpret_cast<const uint32_t *>(base + 8 * stride * channels + offset[k][0]);
                a[2] = *reinterpret_cast<const uint32_t *>(base + offset[k][1]);
                a[3] = *reinterpret_cast<const uint32_t *>(base + 8 * stride * channels + offset[k][1]);
#pragma unroll
                for (int j = 0; j < N / 8; j++) {
                    const __half *b = weights + (j * 8 + group) * (S::depth + 8) + k * 16 + quad * 2;
                    multiply_add(sum[j], a, *reinterpret_cast<const uint32_t *>(b),
                                 *reinterpret_cast<const uint32_t *>(b + 8));
                }
            }
            __half *out = staged[warp];
#pragma unroll
            for (int j = 0; j < N / 8; j++) {
                int column = j * 8 + quad * 2;
                float b0 = v.bias[n0 + column], b1 = v.bias[n0 + column + 1];
#pragma unroll
                for (int i = 0; i < 2; i++)
                    *reinterpret_cast<__half2 *>(out + (group + i * 8) * (N + 8) + column) =
                        __floats2half2_rn(activate(v.act1, sum[j][i * 2] + b0),
                                          activate(v.act1, sum[j][i * 2 + 1] + b1));
            }
            __syncwarp();
            for (int i = lane; i < 16 * (N / 8); i += 32) {
                int pixel = i / (N / 8), column = i % (N / 8) * 8, ox = ox0 + tx + pixel;
                if (oy >= v.ho || ox >= v.wo || n0 + column >= v.k) continue;
                int64_t to = blockIdx.z * v.y_n + oy * v.y_h + ox * v.y_w + n0 + column;
                __align__(16) __half piece[8];
                *reinterpret_cast<uint4 *>(piece) =
                    *reinterpret_cast<const uint4 *>(out + pixel * (N + 8) + column);
                finish_piece(v, piece, to, 0, n0 + column);
            }
            __syncwarp();
        }
    }
}

template <int R> int launch(const omcu_conv *c, cudaStream_t stream)
{
    dim3 grid((c->wo + tile_w - 1) / tile_w, (c->ho + tile_h - 1) / tile_h, c->n);
    if (c->k <= 16) conv_first<R, 16><<<grid, warps * 32, 0, stream>>>(*c);
    else conv_first<R, 32><<<grid, warps * 32, 0, stream>>>(*c);
    return cudaGetLastError();
}

} // namespace

bool omcu_conv_first_takes(const omcu_conv *c)
{
    return c->groups == 1 && c->c == 3 && c->x_w == 3 && c->stride_y == 2 && c->stride_x == 2 &&
           c->dil_y == 1 && c->dil_x == 1 && c->r == c->s && (c->r == 3 || c->r == 6 || c->r == 7) &&
           c->k % 8 == 0 && c->vector && !c->wide && !c->res && c->act2.op == OMCU_NONE && c->n <= 65535;
}

int omcu_conv_first_kdim(const omcu_conv *c)
{
    return c->r == 3 ? shape<3>::depth : c->r == 6 ? shape<6>::depth : shape<7>::depth;
}

int omcu_conv_first_launch(const omcu_conv *c, CUstream_st *stream)
{
    if (c->r == 3) return launch<3>(c, stream);
    return c->r == 6 ? launch<6>(c, stream) : launch<7>(c, stream);
}
