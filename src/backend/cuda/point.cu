/* Chains of one-number operations over strided tensors: one launch reads each operand once and writes once,
 * whatever stands between. The chain is a short program that all threads follow together, each for four
 * numbers. */
#include "backend/cuda/device.cuh"

namespace
{

using namespace omcu;

constexpr int four = 4, block = 256;
constexpr int32_t none = INT32_MIN; /* no place */

/* Division by a number known before the launch, of numbers below 2^31. */
struct divider {
    uint32_t by, factor, shift;
};

/* What the threads read: offsets fit 32 bits. */
struct task {
    int rank, n_in, n_code, out_type;
    divider dim[OMCU_DIMS];
    int32_t out_stride[OMCU_DIMS];
    struct {
        const void *base;
        int type;
        int32_t stride[OMCU_DIMS];
    } in[OMCU_OPERANDS];
    void *out;
    omcu_inst code[OMCU_CODE];
};

template <int W> struct numbers {
    float v[W];
};

/* For each of the four the place of every operand and of the output. */
struct places {
    int at[four][OMCU_DIMS];
    bool valid[four];
};

__device__ int32_t offset_of(const int32_t *stride, const int *at, int rank)
{
    int32_t offset = 0;
#pragma unroll
    for (int d = 0; d < OMCU_DIMS; d++)
        if (d < rank) offset += at[d] * stride[d];
    return offset;
}

/* Which operation it is, is asked once for all numbers: branches between loads would let them wait for each
 * other. */
template <int W, typename F> __device__ void apply(int op, numbers<W> &x, F y)
{
    if (op == OMCU_LOAD) {
#pragma unroll
        for (int i = 0; i < W; i++) x.v[i] = y(i);
    } else if (op == OMCU_ADD) {
#pragma unroll
        for (int i = 0; i < W; i++) x.v[i] += y(i);
    } else if (op == OMCU_MUL) {
#pragma unroll
        for (int i = 0; i < W; i++) x.v[i] *= y(i);
    } else {
#pragma unroll
        for (int i = 0; i < W; i++) x.v[i] = binary(op, x.v[i], y(i));
    }
}

template <int W> __device__ void change(const omcu_inst &c, numbers<W> &x)
{
    if (c.op == OMCU_SIGMOID) {
#pragma unroll
        for (int i = 0; i < W; i++) x.v[i] = sigmoid(x.v[i]);
    } else {
#pragma unroll
        for (int i = 0; i < W; i++) x.v[i] = unary(c.op, x.v[i], c.a, c.b);
    }
}

/* `at(i)`: where number i lies, or `none`. */
template <int W, typename F> __device__ void read(const void *base, int type, numbers<W> &y, F at)
{
    if (type == OMCU_F16) {
#pragma unroll
        for (int i = 0; i < W; i++)
            y.v[i] = at(i) != none ? __half2float(static_cast<const __half *>(base)[at(i)]) : 0.0f;
    } else if (type == OMCU_F32) {
#pragma unroll
        for (int i = 0; i < W; i++) y.v[i] = at(i) != none ? static_cast<const float *>(base)[at(i)] : 0.0f;
    } else {
#pragma unroll
        for (int i = 0; i < W; i++) y.v[i] = at(i) != none ? load(base, type, at(i)) : 0.0f;
    }
}

template <int W, typename F> __device__ void write(void *base, int type, const numbers<W> &x, F at)
{
    if (type == OMCU_F32) {
#pragma unroll
        for (int i = 0; i < W; i++)
            if (at(i) != none) static_cast<float *>(base)[at(i)] = x.v[i];
    } else {
#pragma unroll
        for (int i = 0; i < W; i++)
            if (at(i) != none) store(base, type, at(i), x.v[i]);
    }
}

/* `fetch(k, y)` fills y with operand k's numbers. */
template <int W, typename F> __device__ numbers<W> evaluate(const task &t, F fetch)
{
    numbers<W> x = {}, slots[OMCU_SLOTS] = {};
    for (int n = 0; n < t.n_code; n++) {
        const omcu_inst &c = t.code[n];
        if (c.op < OMCU_UNARY_END) {
            change(c, x);
        } else if (c.op == OMCU_SAVE) {
#pragma unroll
            for (int s = 0; s < OMCU_SLOTS; s++)
                if (c.k == s) slots[s] = x;
        } else if (c.k < 0) {
            apply(c.op, x, [&](int) { return c.a; });
        } else if (c.k >= OMCU_BY_SLOT) {
            numbers<W> y = slots[0];
#pragma unroll
            for (int s = 1; s < OMCU_SLOTS; s++)
                if (c.k == OMCU_BY_SLOT + s) y = slots[s];
            apply(c.op, x, [&](int i) { return y.v[i]; });
        } else {
            numbers<W> y;
            fetch(c.k, y);
            apply(c.op, x, [&](int i) { return y.v[i]; });
        }
    }
    return x;
}

/* Four numbers a block's width apart: neighbours are always a warp's. */
__global__ void spread(const __grid_constant__ task t, uint32_t total)
{
    places p;
#pragma unroll
    for (int i = 0; i < four; i++) {
        uint32_t item = (blockIdx.x * four + i) * block + threadIdx.x;
        p.valid[i] = item < total;
#pragma unroll
        for (int d = OMCU_DIMS - 1; d >= 0; d--) {
            p.at[i][d] = 0;
            if (d >= t.rank || !p.valid[i]) continue;
            uint32_t next = (__umulhi(item, t.dim[d].factor) + item) >> t.dim[d].shift;
            p.at[i][d] = static_cast<int>(item - next * t.dim[d].by);
            item = next;
        }
    }
    numbers<four> x = evaluate<four>(t, [&](int k, numbers<four> &y) {
        int32_t from[four];
#pragma unroll
        for (int i = 0; i < four; i++)
            from[i] = p.valid[i] ? offset_of(t.in[k].stride, p.at[i], t.rank) : none;
        read<four>(t.in[k].base, t.in[k].type, y, [&](int i) { return from[i]; });
    });
    int32_t to[four];
#pragma unroll
    for (int i = 0; i < four; i++) to[i] = p.valid[i] ? offset_of(t.out_stride, p.at[i], t.rank) : none;
    write<four>(t.out, t.out_type, x, [&](int i) { return to[i]; });
}

/* Four neighbours along the last dimension, which four divides. */
__global__ void in_row(const __grid_constant__ task t, uint32_t total)
{
    uint32_t item = blockIdx.x * block + threadIdx.x;
    if (item >= total) return;
    int at[OMCU_DIMS];
#pragma unroll
    for (int d = OMCU_DIMS - 1; d >= 0; d--) {
        at[d] = 0;
        if (d >= t.rank) continue;
        uint32_t next = (__umulhi(item, t.dim[d].factor) + item) >> t.dim[d].shift;
        at[d] = static_cast<int>(item - next * t.dim[d].by);
        if (d == t.rank - 1) at[d] *= four;
        item = next;
    }
    numbers<four> x = evaluate<four>(t, [&](int k, numbers<four> &y) {
        int32_t from = offset_of(t.in[k].stride, at, t.rank), step = t.in[k].stride[t.rank - 1];
        const void *base = t.in[k].base;
        if (step == 1 && t.in[k].type == OMCU_F16 && from % four == 0) {
            uint2 raw = *reinterpret_cast<const uint2 *>(static_cast<const __half *>(base) + from);
            float2 a = __half22float2(*reinterpret_cast<__half2 *>(&raw.x)),
                   b = __half22float2(*reinterpret_cast<__half2 *>(&raw.y));
            y.v[0] = a.x, y.v[1] = a.y, y.v[2] = b.x, y.v[3] = b.y;
        } else if (step == 1 && t.in[k].type == OMCU_F32 && from % four == 0) {
            float4 raw = *reinterpret_cast<const float4 *>(static_cast<const float *>(base) + from);
            y.v[0] = raw.x, y.v[1] = raw.y, y.v[2] = raw.z, y.v[3] = raw.w;
        } else if (step == 1 && t.in[k].type == OMCU_I8 && from % four == 0 &&
                   reinterpret_cast<uintptr_t>(base) % four == 0) {
            char4 raw = *reinterpret_cast<const char4 *>(static_cast<const int8_t *>(base) + from);
            y.v[0] = raw.x, y.v[1] = raw.y, y.v[2] = raw.z, y.v[3] = raw.w;
        } else {
#pragma unroll
            for (int i = 0; i < four; i++) y.v[i] = load(base, t.in[k].type, from + i * step);
        }
    });
    int32_t to = offset_of(t.out_stride, at, t.rank);
    if (t.out_type == OMCU_F16) {
        __half2 a = __floats2half2_rn(x.v[0], x.v[1]), b = __floats2half2_rn(x.v[2], x.v[3]);
        *reinterpret_cast<uint2 *>(static_cast<__half *>(t.out) + to) =
            make_uint2(*reinterpret_cast<uint32_t *>(&a), *reinterpret_cast<uint32_t *>(&b));
    } else if (t.out_type == OMCU_I8) {
        *reinterpret_cast<char4 *>(static_cast<int8_t *>(t.out) + to) =
            make_char4(static_cast<signed char>(x.v[0]), static_cast<signed char>(x.v[1]),
                       static_cast<signed char>(x.v[2]), static_cast<signed char>(x.v[3]));
    } else {
        *reinterpret_cast<float4 *>(static_cast<float *>(t.out) + to) =
            make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
    }
}

/* The place of a row, all dims but `last` and `turn` (none: -1), in the numbering of an operand or the
 * output. */
__device__ int32_t row_offset(const task &t, const int32_t *stride, uint32_t row, int last, int turn)
{
    int32_t offset = 0;
#pragma unroll
    for (int d = OMCU_DIMS - 1; d >= 0; d--) {
        if (d >= t.rank || d == last || d == turn) continue;
        uint32_t next = (__umulhi(row, t.dim[d].factor) + row) >> t.dim[d].shift;
        offset += static_cast<int32_t>(row - next * t.dim[d].by) * stride[d];
        row = next;
    }
    return offset;
}

constexpr int side = 32, eight = 8;

/* Long rows of any length: a block has 32 of them, a warp four at a time along the row. */
__global__ void lines(const __grid_constant__ task t, uint32_t rows)
{
    __shared__ int32_t start[OMCU_OPERANDS + 1][side];
    const int last = t.rank - 1, width = static_cast<int>(t.dim[last].by),
              warp = static_cast<int>(threadIdx.x) / side;
    const int lane = static_cast<int>(threadIdx.x) % side;
    const uint32_t row0 = blockIdx.x * side;
    /* One warp an operand; the last has the output. */
    if (warp <= t.n_in) {
        const int32_t *stride = warp < t.n_in ? t.in[warp].stride : t.out_stride;
        start[warp][lane] = row_offset(t, stride, row0 + lane, last, -1);
    }
    __syncthreads();
    for (int c = lane; c < width; c += side) {
        numbers<four> x = evaluate<four>(t, [&](int k, numbers<four> &y) {
            int32_t step = c * t.in[k].stride[last];
            read<four>(t.in[k].base, t.in[k].type, y, [&](int i) {
                return row0 + warp * four + i < rows ? start[k][warp * four + i] + step : none;
            });
        });
        int32_t step = c * t.out_stride[last];
        write<four>(t.out, t.out_type, x, [&](int i) {
            return row0 + warp * four + i < rows ? start[t.n_in][warp * four + i] + step : none;
        });
    }
}

/* The output lies dense along the last dimension, the operands along dimension `turn`: tiles of 64 by 32 are
 * read along one and written along the other. */
__global__ void turned(const __grid_constant__ task t, int turn, int outer)
{
    constexpr int wide = 2 * side;
    __shared__ float tile[side][wide + 1];
    __shared__ int32_t start[OMCU_OPERANDS + 1];
    const int last = t.rank - 1, tid = static_cast<int>(threadIdx.y * side + threadIdx.x);
    const int width = static_cast<int>(t.dim[last].by), height = static_cast<int>(t.dim[turn].by);
    int tiles = (width + wide - 1) / wide;
    int x0 = static_cast<int>(blockIdx.x) % tiles * wide, y0 = static_cast<int>(blockIdx.x) / tiles * side;
    for (int o = static_cast<int>(blockIdx.y); o < outer; o += static_cast<int>(gridDim.y)) {
        if (tid <= t.n_in)
            start[tid] = row_offset(t, tid < t.n_in ? t.in[tid].stride : t.out_stride,
                                    static_cast<uint32_t>(o), last, turn);
        __syncthreads();
        int y = y0 + static_cast<int>(threadIdx.x), x = x0 + static_cast<int>(threadIdx.y);
        numbers<eight> v = evaluate<eight>(t, [&](int k, numbers<eight> &in) {
            int32_t at = start[k] + y * t.in[k].stride[turn] + x * t.in[k].stride[last],
                    step = eight * t.in[k].stride[last];
            read<eight>(t.in[k].base, t.in[k].type, in,
                        [&](int i) { return y < height && x + i * eight < width ? at + i * step : none; });
        });
#pragma unroll
        for (int i = 0; i < eight; i++) tile[threadIdx.x][threadIdx.y + i * eight] = v.v[i];
        __syncthreads();
        int32_t to = start[t.n_in];
        auto row = [&](int i) { return static_cast<int>(threadIdx.y) * four + i / 2; };
        auto column = [&](int i) { return static_cast<int>(threadIdx.x) + i % 2 * side; };
#pragma unroll
        for (int i = 0; i < eight; i++) v.v[i] = tile[row(i)][column(i)];
        write<eight>(t.out, t.out_type, v, [&](int i) {
            bool inside = x0 + column(i) < width && y0 + row(i) < height;
            return inside ? to + (x0 + column(i)) * t.out_stride[last] + (y0 + row(i)) * t.out_stride[turn]
                          : none;
        });
        __syncthreads();
    }
}

divider divider_of(uint32_t by)
{
    divider d = {by, 0, 0};
    while ((static_cast<uint64_t>(1) << d.shift) < by) d.shift++;
    d.factor = static_cast<uint32_t>((((static_cast<uint64_t>(1) << d.shift) - by) << 32) / by + 1);
    return d;
}

} // namespace

int omcu_point_launch(const omcu_point *p, CUstream_st *stream)
{
    task t = {};
    int64_t total = 1;
    t.rank = p->rank;
    t.n_in = p->n_in;
    t.n_code = p->n_code;
    t.out = p->out;
    t.out_type = p->out_type;
    for (int i = 0; i < p->rank; i++) {
        bool shared = p->vector == four && i == p->rank - 1;
        t.dim[i] = divider_of(static_cast<uint32_t>(shared ? p->dim[i] / four : p->dim[i]));
        t.out_stride[i] = static_cast<int32_t>(p->out_stride[i]);
        total *= p->dim[i];
    }
    for (int k = 0; k < p->n_in; k++) {
        t.in[k].base = p->in[k].base;
        t.in[k].type = p->in[k].type;
        for (int i = 0; i < p->rank; i++) t.in[k].stride[i] = static_cast<int32_t>(p->in[k].stride[i]);
    }
    for (int i = 0; i < p->n_code; i++) t.code[i] = p->code[i];
    if (!total) return cudaSuccess;
    if (p->transpose >= 0) {
        int last = p->rank - 1;
        int64_t outer = total / p->dim[last] / p->dim[p->transpose];
        unsigned tiles = static_cast<unsigned>((p->dim[last] + 2 * side - 1) / (2 * side)) *
                         static_cast<unsigned>((p->dim[p->transpose] + side - 1) / side);
        dim3 grid(tiles, static_cast<unsigned>(outer < 65535 ? outer : 65535));
        turned<<<grid, dim3(side, eight), 0, stream>>>(t, p->transpose, static_cast<int>(outer));
        return cudaGetLastError();
    }
    int length = p->dim[p->rank - 1];
    if (p->vector != four && length >= 24 && total / length >= 64) {
        uint32_t rows = static_cast<uint32_t>(total / length);
        lines<<<(rows + side - 1) / side, block, 0, stream>>>(t, rows);
        return cudaGetLastError();
    }
    uint32_t items = static_cast<uint32_t>(p->vector == four ? total / four : total);
    uint32_t a_block = p->vector == four ? block : block * four;
    unsigned blocks = (items + a_block - 1) / a_block;
    if (p->vector == four) in_row<<<blocks, block, 0, stream>>>(t, items);
    else spread<<<blocks, block, 0, stream>>>(t, items);
    return cudaGetLastError();
}
