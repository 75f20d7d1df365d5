/* Softmax and layer normalisation over rows, matrix products of any strides, and attention in one kernel. */
#include "backend/cuda/device.cuh"

namespace
{

using namespace omcu;

constexpr int block = 256;

__device__ float warp_sum(float x)
{
    for (int d = 16; d; d /= 2) x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}

__device__ float warp_max(float x)
{
    for (int d = 16; d; d /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, d));
    return x;
}

__device__ void row_offsets(const omcu_rows &p, int64_t row, int64_t *x, int64_t *y)
{
    *x = *y = 0;
    for (int d = p.rank - 1; d >= 0; d--) {
        int64_t next = row / p.dim[d], at = row - next * p.dim[d];
        *x += at * p.x_stride[d];
        *y += at * p.y_stride[d];
        row = next;
    }
}

/* A warp a row. */
__global__ void softmax(const __grid_constant__ omcu_rows p, int64_t rows)
{
    int64_t row = static_cast<int64_t>(blockIdx.x) * (block / 32) + threadIdx.x / 32, x, y;
    int lane = threadIdx.x % 32;
    if (row >= rows) return;
    row_offsets(p, row, &x, &y);
    float top = -INFINITY, sum = 0, weighed = 0;
    for (int i = lane; i < p.len; i += 32) top = fmaxf(top, load(p.x, p.x_type, x + i * p.x_step));
    top = warp_max(top);
    for (int i = lane; i < p.len; i += 32) {
        float e = expf(load(p.x, p.x_type, x + i * p.x_step) - top);
        sum += e;
        if (p.weights) weighed += e * p.weights[i];
    }
    sum = warp_sum(sum);
    if (p.weights) {
        weighed = warp_sum(weighed);
        if (!lane) store(p.y, p.y_type, y, weighed / sum);
        return;
    }
    for (int i = lane; i < p.len; i += 32) {
        float v = load(p.x, p.x_type, x + i * p.x_step) - top;
        store(p.y, p.y_type, y + i * p.y_step, p.log ? v - logf(sum) : expf(v) / sum);
    }
}

/* A thread a row: short rows, or rows whose neighbours lie side by side. */
__global__ void softmax_short(const __grid_constant__ omcu_rows p, int64_t rows)
{
    int64_t row = static_cast<int64_t>(blockIdx.x) * block + threadIdx.x, x, y;
    if (row >= rows) return;
    row_offsets(p, row, &x, &y);
    float top = -INFINITY, sum = 0, weighed = 0;
    for (int i = 0; i < p.len; i++) top = fmaxf(top, load(p.x, p.x_type, x + i * p.x_step));
    for (int i = 0; i < p.len; i++) {
        float e = __expf(load(p.x, p.x_type, x + i * p.x_step) - top);
        sum += e;
        if (p.weights) weighed += e * p.weights[i];
    }
    if (p.weights) {
        store(p.y, p.y_type, y, weighed / sum);
        return;
    }
    for (int i = 0; i < p.len; i++) {
        float v = load(p.x, p.x_type, x + i * p.x_step) - top;
        store(p.y, p.y_type, y + i * p.y_step, p.log ? v - logf(sum) : __expf(v) / sum);
    }
}

/* The distribution of 16 numbers side by side and its mean, f16. */
__global__ void softmax16(const __grid_constant__ omcu_rows p, int64_t rows)
{
    int64_t row = static_cast<int64_t>(blockIdx.x) * block + threadIdx.x, x, y;
    if (row >= rows) return;
    row_offsets(p, row, &x, &y);
    __align__(16) __half raw[16];
    const uint4 *from = reinterpret_cast<const uint4 *>(static_cast<const __half *>(p.x) + x);
    reinterpret_cast<uint4 *>(raw)[0] = from[0];
    reinterpret_cast<uint4 *>(raw)[1] = from[1];
    float top = -INFINITY, sum = 0, weighed = 0;
#pragma unroll
    for (int i = 0; i < 16; i++) top = fmaxf(top, __half2float(raw[i]));
#pragma unroll
    for (int i = 0; i < 16; i++) {
        float e = __expf(__half2float(raw[i]) - top);
        sum += e;
        weighed = fmaf(e, p.weights[i], weighed);
    }
    store(p.y, p.y_type, y, weighed / sum);
}

/* A warp a row. */
__global__ void layer_norm(const __grid_constant__ omcu_rows p, int64_t rows)
{
    int64_t row = static_cast<int64_t>(blockIdx.x) * (block / 32) + threadIdx.x / 32, x, y;
    int lane = threadIdx.x % 32;
    if (row >= rows) return;
    row_offsets(p, row, &x, &y);
    float sum = 0, square = 0;
    for (int i = lane; i < p.len; i += 32) sum += load(p.x, p.x_type, x + i * p.x_step);
    float mean = warp_sum(sum) / static_cast<float>(p.len);
    for (int i = lane; i < p.len; i += 32) {
        float d = load(p.x, p.x_type, x + i * p.x_step) - mean;
        square += d * d;
    }
    float scale = rsqrtf(warp_sum(square) / static_cast<float>(p.len) + p.epsilon);
    for (int i = lane; i < p.len; i += 32) {
        float v = (load(p.x, p.x_type, x + i * p.x_step) - mean) * scale;
        if (p.scale) v *= p.scale[i];
        if (p.bias) v += p.bias[i];
        store(p.y, p.y_type, y + i * p.y_step, v);
    }
}

/* The same for dense f16 rows of up to 8 * 32 * 4 numbers: one read. */
__global__ void layer_norm_half(const __grid_constant__ omcu_rows p, int64_t rows)
{
    constexpr int most = 4;
    int64_t row = static_cast<int64_t>(blockIdx.x) * (block / 32) + threadIdx.x / 32, x, y;
    int lane = threadIdx.x % 32;
    if (row >= rows) return;
    row_offsets(p, row, &x, &y);
    const __half *from = static_cast<const __half *>(p.x) + x;
    float v[most][8], sum = 0, square = 0;
#pragma unroll
    for (int k = 0; k < most; k++) {
        int at = (k * 32 + lane) * 8;
        __align__(16) __half raw[8] = {};
        if (at < p.len) *reinterpret_cast<uint4 *>(raw) = *reinterpret_cast<const uint4 *>(from + at);
        for (int e = 0; e < 8; e++) sum += v[k][e] = __half2float(raw[e]);
    }
    float mean = warp_sum(sum) / static_cast<float>(p.len);
#pragma unroll
    for (int k = 0; k < most; k++)
        for (int e = 0; e < 8 && (k * 32 + lane) * 8 < p.len; e++)
            square += (v[k][e] - mean) * (v[k][e] - mean);
    float scale = rsqrtf(warp_sum(square) / static_cast<float>(p.len) + p.epsilon);
#pragma unroll
    for (int k = 0; k < most; k++) {
        int at = (k * 32 + lane) * 8;
        if (at >= p.len) continue;
        __align__(16) __half raw[8];
        for (int e = 0; e < 8; e++)
            raw[e] = __float2half_rn((v[k][e] - mean) * scale * (p.scale ? p.scale[at + e] : 1.0f) +
                                     (p.bias ? p.bias[at + e] : 0.0f));
        *reinterpret_cast<uint4 *>(static_cast<__half *>(p.y) + y + at) = *reinterpret_cast<uint4 *>(raw);
    }
}

constexpr int tile = 64, depth = 16;

__global__ void matmul(const __grid_constant__ omcu_matmul p)
{
    __shared__ float a[depth][tile + 4], b[depth][tile + 4];
    const int tid = threadIdx.x, m0 = blockIdx.y * tile, n0 = blockIdx.x * tile;
    int64_t at = blockIdx.z, at_a = 0, at_b = 0, at_c = 0;
    for (int d = 3; d >= 0; d--) {
        int64_t i = at % p.dim[d];
        at /= p.dim[d];
        at_a += i * p.a_batch[d];
        at_b += i * p.b_batch[d];
        at_c += i * p.c_batch[d];
    }
    float sum[4][4] = {};
    const int tm = tid / 16 * 4, tn = tid % 16 * 4;
    for (int k0 = 0; k0 < p.k; k0 += depth) {
        for (int i = tid; i < tile * depth; i += block) {
            /* The quicker index runs along what lies dense. */
            int row = p.a_k == 1 ? i / depth : i % tile, k = p.a_k == 1 ? i % depth : i / tile;
            a[k][row] = m0 + row < p.m && k0 + k < p.k
                            ? load(p.a, p.a_type, at_a + (m0 + row) * p.a_m + (k0 + k) * p.a_k)
                            : 0.0f;
            int column = p.b_k == 1 ? i / depth : i % tile, kb = p.b_k == 1 ? i % depth : i / tile;
            b[kb][column] = n0 + column < p.n && k0 + kb < p.k
                                ? load(p.b, p.b_type, at_b + (k0 + kb) * p.b_k + (n0 + column) * p.b_n)
                                : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < depth; k++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] = fmaf(a[k][tm + i], b[k][tn + j], sum[i][j]);
        __syncthreads();
    }
    for (int i = 0; i < 4 && m0 + tm + i < p.m; i++)
        for (int j = 0; j < 4 && n0 + tn + j < p.n; j++) {
            float v = sum[i][j] * p.alpha + (p.bias ? p.bias[n0 + tn + j] : 0.0f);
            store(p.c, p.c_type, at_c + (m0 + tm + i) * p.c_m + (n0 + tn + j) * p.c_n, activate(p.act, v));
        }
}

/* 64 queries a block, 16 a warp; keys pass by 64 at a time, with the running maximum and sum of each query.
 */
template <int D> __global__ void __launch_bounds__(128) attention(const omcu_attention p)
{
    constexpr int keys = 64, pitch = D + 8, chunks = D / 8;
    __shared__ __align__(16) __half k_tile[keys * pitch], v_tile[keys * pitch];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5, group = lane >> 2, quad = lane & 3;
    const int b = blockIdx.y / p.heads, h = blockIdx.y % p.heads, q0 = blockIdx.x * 64;
    const __half *q = static_cast<const __half *>(p.q) + b * p.q_b + h * p.q_h;
    const __half *k = static_cast<const __half *>(p.k) + b * p.k_b + h * p.k_h;
    const __half *v = static_cast<const __half *>(p.v) + b * p.v_b + h * p.v_h;

    for (int i = tid; i < 64 * chunks; i += 128) {
        int row = i / chunks, at = i % chunks * 8;
        uint4 raw = make_uint4(0, 0, 0, 0);
        if (q0 + row < p.queries) raw = *reinterpret_cast<const uint4 *>(q + (q0 + row) * p.q_s + at);
        *reinterpret_cast<uint4 *>(k_tile + row * pitch + at) = raw;
    }
    __syncthreads();
    uint32_t fq[D / 16][4];
#pragma unroll
    for (int i = 0; i < D / 16; i++)
        load_matrix4(fq[i], k_tile + (warp * 16 + (lane & 15)) * pitch + i * 16 + (lane >> 4) * 8);

    float out[D / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {};
    for (int k0 = 0; k0 < p.keys; k0 += keys) {
        __syncthreads();
        for (int i = tid; i < keys * chunks; i += 128) {
            int row = i / chunks, at = i % chunks * 8;
            bool valid = k0 + row < p.keys;
            copy_async(k_tile + row * pitch + at, valid ? k + (k0 + row) * p.k_s + at : p.k, valid);
            copy_async(v_tile + row * pitch + at, valid ? v + (k0 + row) * p.v_s + at : p.v, valid);
        }
        copy_commit();
        copy_wait<0>();
        __syncthreads();

        float s[keys / 8][4] = {};
#pragma unroll
        for (int i = 0; i < D / 16; i++)
#pragma unroll
            for (int j = 0; j < keys / 16; j++) {
                uint32_t fk[4];
                load_matrix4(fk, k_tile + (j * 16 + (lane & 7) + (lane >> 4) * 8) * pitch + i * 16 +
                                     ((lane >> 3) & 1) * 8);
                multiply_add(s[j * 2], fq[i], fk[0], fk[1]);
                multiply_add(s[j * 2 + 1], fq[i], fk[2], fk[3]);
            }
        float best[2] = {top[0], top[1]};
#pragma unroll
        for (int j = 0; j < keys / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                s[j][e] = k0 + j * 8 + quad * 2 + (e & 1) < p.keys ? s[j][e] * p.scale : -INFINITY;
                best[e / 2] = fmaxf(best[e / 2], s[j][e]);
            }
#pragma unroll
        for (int r = 0; r < 2; r++) {
            best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 1));
            best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 2));
            float fade = __expf(top[r] - best[r]);
            top[r] = best[r];
            sum[r] *= fade;
#pragma unroll
            for (int i = 0; i < D / 8; i++) {
                out[i][r * 2] *= fade;
                out[i][r * 2 + 1] *= fade;
            }
        }
#pragma unroll
        for (int j = 0; j < keys / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                s[j][e] = __expf(s[j][e] - top[e / 2]);
                sum[e / 2] += s[j][e];
            }
#pragma unroll
        for (int j = 0; j < keys / 16; j++) {
            uint32_t fp[4];
            for (int e = 0; e < 4; e++) {
                const float *from = &s[j * 2 + e / 2][e % 2 * 2];
                __half2 pair = __floats2half2_rn(from[0], from[1]);
                fp[e] = *reinterpret_cast<uint32_t *>(&pair);
            }
#pragma unroll
            for (int i = 0; i < D / 16; i++) {
                uint32_t fv[4];
                load_matrix4_turned(fv, v_tile + (j * 16 + (lane & 15)) * pitch + i * 16 + (lane >> 4) * 8);
                multiply_add(out[i * 2], fp, fv[0], fv[1]);
                multiply_add(out[i * 2 + 1], fp, fv[2], fv[3]);
            }
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
        sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
        int row = q0 + warp * 16 + group + r * 8;
        if (row >= p.queries) continue;
        __half *y = static_cast<__half *>(p.y) + b * p.y_b + h * p.y_h + row * p.y_s;
        float share = 1.0f / sum[r];
#pragma unroll
        for (int i = 0; i < D / 8; i++)
            *reinterpret_cast<__half2 *>(y + i * 8 + quad * 2) =
                __floats2half2_rn(out[i][r * 2] * share, out[i][r * 2 + 1] * share);
    }
}

int64_t rows_of(const omcu_rows *p)
{
    int64_t rows = 1;
    for (int i = 0; i < p->rank; i++) rows *= p->dim[i];
    return rows;
}

bool aligned(const omcu_rows *p, bool out)
{
    bool ok = p->x_step == 1 && reinterpret_cast<uintptr_t>(p->x) % 16 == 0 &&
              (!out || (p->y_step == 1 && reinterpret_cast<uintptr_t>(p->y) % 16 == 0));
    for (int i = 0; i < p->rank; i++) ok = ok && p->x_stride[i] % 8 == 0 && (!out || p->y_stride[i] % 8 == 0);
    return ok;
}

} // namespace

int omcu_softmax_launch(const omcu_rows *p, CUstream_st *stream)
{
    int64_t rows = rows_of(p);
    unsigned by_thread = static_cast<unsigned>((rows + block - 1) / block);
    if (p->weights && p->len == 16 && p->x_type == OMCU_F16 && aligned(p, false))
        softmax16<<<by_thread, block, 0, stream>>>(*p, rows);
    else if (p->len <= 32 || p->x_step != 1) softmax_short<<<by_thread, block, 0, stream>>>(*p, rows);
    else
        softmax<<<static_cast<unsigned>((rows + block / 32 - 1) / (block / 32)), block, 0, stream>>>(*p,
                                                                                                     rows);
    return cudaGetLastError();
}

int omcu_layer_norm_launch(const omcu_rows *p, CUstream_st *stream)
{
    int64_t rows = rows_of(p);
    unsigned blocks = static_cast<unsigned>((rows + block / 32 - 1) / (block / 32));
    if (p->x_type == OMCU_F16 && p->y_type == OMCU_F16 && p->len % 8 == 0 && p->len <= 1024 &&
        aligned(p, true))
        layer_norm_half<<<blocks, block, 0, stream>>>(*p, rows);
    else layer_norm<<<blocks, block, 0, stream>>>(*p, rows);
    return cudaGetLastError();
}

int omcu_matmul_launch(const omcu_matmul *p, CUstream_st *stream)
{
    int64_t batch = static_cast<int64_t>(p->dim[0]) * p->dim[1] * p->dim[2] * p->dim[3];
    if (batch > 65535 || (p->m + tile - 1) / tile > 65535) return cudaErrorInvalidConfiguration;
    dim3 grid((p->n + tile - 1) / tile, (p->m + tile - 1) / tile, static_cast<unsigned>(batch));
    matmul<<<grid, block, 0, stream>>>(*p);
    return cudaGetLastError();
}

int omcu_attention_launch(const omcu_attention *p, CUstream_st *stream)
{
    dim3 grid((p->queries + 63) / 64, static_cast<unsigned>(p->batch * p->heads));
    switch (p->width) {
    case 32: attention<32><<<grid, 128, 0, stream>>>(*p); break;
    case 64: attention<64><<<grid, 128, 0, stream>>>(*p); break;
    case 128: attention<128><<<grid, 128, 0, stream>>>(*p); break;
    default: return cudaErrorInvalidValue;
    }
    return cudaGetLastError();
}
