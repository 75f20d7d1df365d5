/* Depthwise convolutions, and what a convolution without them leaves to be done: bias, activation, residual.
 *
 * A thread makes a block of outputs of a few neighbouring channels (16 bytes of them). It walks down the
 * input rows that the block needs, holds one row at a time, and adds it to every output row that it reaches:
 * an input number is fetched once for all the taps it meets. */
#include "backend/cuda/device.cuh"

namespace
{

using namespace omcu;

template <typename T> struct vec {
    static constexpr int size = 16 / sizeof(T);
};

__device__ inline void unpack(const uint4 &raw, float (&out)[4])
{
    out[0] = __uint_as_float(raw.x);
    out[1] = __uint_as_float(raw.y);
    out[2] = __uint_as_float(raw.z);
    out[3] = __uint_as_float(raw.w);
}

__device__ inline void unpack(const uint4 &raw, float (&out)[8])
{
    const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float2 pair = __half22float2(*reinterpret_cast<const __half2 *>(&words[i]));
        out[2 * i] = pair.x;
        out[2 * i + 1] = pair.y;
    }
}

__device__ inline uint4 pack(const float (&v)[4])
{
    return make_uint4(__float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]),
                      __float_as_uint(v[3]));
}

__device__ inline uint4 pack(const float (&v)[8])
{
    uint32_t words[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        __half2 pair = __floats2half2_rn(v[2 * i], v[2 * i + 1]);
        words[i] = *reinterpret_cast<uint32_t *>(&pair);
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

template <typename T> __device__ inline uint4 fetch(const T *p)
{
    return __ldg(reinterpret_cast<const uint4 *>(p));
}

/* One decision for many numbers. */
template <int N> __device__ inline void activate_all(const omcu_act &act, float (&v)[N])
{
    if (act.op == OMCU_NONE) return;
    if (act.op == OMCU_RELU || act.op == OMCU_CLIP) {
        float low = act.op == OMCU_RELU ? 0.0f : act.a, high = act.op == OMCU_RELU ? INFINITY : act.b;
#pragma unroll
        for (int i = 0; i < N; i++) v[i] = fminf(fmaxf(v[i], low), high);
    } else if (act.op == OMCU_SILU || act.op == OMCU_SIGMOID) {
        const bool times = act.op == OMCU_SILU;
#pragma unroll
        for (int i = 0; i < N; i++) v[i] = sigmoid(v[i]) * (times ? v[i] : 1.0f);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) v[i] = rare(act.op, v[i], act.a, act.b);
    }
}

template <typename T, int R, int STRIDE, int COLS, int ROWS>
__global__ void __launch_bounds__(128) depthwise_block(const omcu_conv v)
{
    constexpr int V = vec<T>::size, span = (COLS - 1) * STRIDE + R, deep = (ROWS - 1) * STRIDE + R;
    const unsigned groups = v.groups / V, strips = (v.wo + COLS - 1) / COLS, bands = (v.ho + ROWS - 1) / ROWS;
    const unsigned at = blockIdx.x * 128u + threadIdx.x, pixel = at / groups, column = at - pixel * groups;
    const unsigned row = pixel / strips, n = row / bands;
    const int ox0 = static_cast<int>(pixel - row * strips) * COLS,
              oy0 = static_cast<int>(row - n * bands) * ROWS;
    if (n >= static_cast<unsigned>(v.n)) return;
    const T *x = static_cast<const T *>(v.x) + n * v.x_n + column * V;
    const T *w = static_cast<const T *>(v.w) + column * V;

    float sum[ROWS][COLS][V];
#pragma unroll
    for (int e = 0; e < V; e += 4) {
        float4 b = __ldg(reinterpret_cast<const float4 *>(v.bias + column * V + e));
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int c = 0; c < COLS; c++) {
                sum[r][c][e] = b.x;
                sum[r][c][e + 1] = b.y;
                sum[r][c][e + 2] = b.z;
                sum[r][c][e + 3] = b.w;
            }
    }

    const int iy0 = oy0 * STRIDE - v.pad_y, ix0 = ox0 * STRIDE - v.pad_x;
#pragma unroll
    for (int d = 0; d < deep; d++) {
        const int iy = iy0 + d;
        if (static_cast<unsigned>(iy) >= static_cast<unsigned>(v.h)) continue;
        const T *from = x + iy * v.x_h;
        uint4 raw[span];
#pragma unroll
        for (int i = 0; i < span; i++) {
            const int ix = ix0 + i;
            raw[i] = static_cast<unsigned>(ix) < static_cast<unsigned>(v.wd) ? fetch(from + ix * v.x_w)
                                                                             : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const int tap_row = d - r * STRIDE;
            if (tap_row < 0 || tap_row >= R) continue;
            float taps[R][V];
#pragma unroll
            for (int s = 0; s < R; s++) unpack(fetch(w + (tap_row * R + s) * v.groups), taps[s]);
#pragma unroll
            for (int i = 0; i < span; i++) {
                float in[V];
                unpack(raw[i], in);
#pragma unroll
                for (int c = 0; c < COLS; c++) {
                    const int s = i - c * STRIDE;
                    if (s < 0 || s >= R) continue;
#pragma unroll
                    for (int e = 0; e < V; e++) sum[r][c][e] = fmaf(in[e], taps[s][e], sum[r][c][e]);
                }
            }
        }
    }

#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (oy0 + r >= v.ho) break;
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            if (ox0 + c >= v.wo) break;
            activate_all(v.act1, sum[r][c]);
            if (v.res) {
                float add[V];
                unpack(fetch(static_cast<const T *>(v.res) + n * v.r_n + (oy0 + r) * v.r_h +
                             (ox0 + c) * v.r_w + column * V),
                       add);
#pragma unroll
                for (int e = 0; e < V; e++) sum[r][c][e] += add[e];
            }
            activate_all(v.act2, sum[r][c]);
            *reinterpret_cast<uint4 *>(static_cast<T *>(v.y) + n * v.y_n + (oy0 + r) * v.y_h +
                                       (ox0 + c) * v.y_w + column * V) = pack(sum[r][c]);
        }
    }
}

/* Any window, one number a thread. */
template <typename T> __global__ void depthwise_any(const omcu_conv v)
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

/* y = act2(act1(y + bias) + res), where y lies. */
template <typename T> __global__ void finish(const omcu_conv v)
{
    constexpr int V = vec<T>::size;
    const unsigned groups = v.k * v.groups / V, at = blockIdx.x * 256u + threadIdx.x, pixel = at / groups,
                   column = at - pixel * groups, row = pixel / v.wo, n = row / v.ho;
    if (n >= static_cast<unsigned>(v.n)) return;
    const int ox = static_cast<int>(pixel - row * v.wo), oy = static_cast<int>(row - n * v.ho);
    uint4 *y =
        reinterpret_cast<uint4 *>(static_cast<T *>(v.y) + n * v.y_n + oy * v.y_h + ox * v.y_w + column * V);
    float sum[V];
    unpack(*y, sum);
#pragma unroll
    for (int e = 0; e < V; e++) sum[e] += v.bias[column * V + e];
    activate_all(v.act1, sum);
    if (v.res) {
        float add[V];
        unpack(fetch(static_cast<const T *>(v.res) + n * v.r_n + oy * v.r_h + ox * v.r_w + column * V), add);
#pragma unroll
        for (int e = 0; e < V; e++) sum[e] += add[e];
    }
    activate_all(v.act2, sum);
    *y = pack(sum);
}

unsigned blocks_of(int64_t items, int size) { return static_cast<unsigned>((items + size - 1) / size); }

using launcher = int(bool half, const omcu_conv *c, cudaStream_t stream);

template <typename T, int R, int STRIDE, int COLS, int ROWS>
int start(const omcu_conv *c, cudaStream_t stream)
{
    int64_t items = static_cast<int64_t>(c->n) * ((c->ho + ROWS - 1) / ROWS) * ((c->wo + COLS - 1) / COLS) *
                    (c->groups / vec<T>::size);
    depthwise_block<T, R, STRIDE, COLS, ROWS><<<blocks_of(items, 128), 128, 0, stream>>>(*c);
    return cudaGetLastError();
}

template <int R, int STRIDE, int COLS, int ROWS>
int start_any(bool half, const omcu_conv *c, cudaStream_t stream)
{
    return half ? start<__half, R, STRIDE, COLS, ROWS>(c, stream)
                : start<float, R, STRIDE, COLS, ROWS>(c, stream);
}

/* Outputs a thread, and who makes them: by window (3, 5) and stride (1, 2). */
const struct form {
    const char *name;
    int cols, rows;
    launcher *start[2][2];
} forms[] = {
    {"1x1",
     1,
     1,
     {{start_any<3, 1, 1, 1>, start_any<3, 2, 1, 1>}, {start_any<5, 1, 1, 1>, start_any<5, 2, 1, 1>}}},
    {"2x1", 2, 1, {{start_any<3, 1, 2, 1>, start_any<3, 2, 2, 1>}, {}}},
    {"4x1",
     4,
     1,
     {{start_any<3, 1, 4, 1>, start_any<3, 2, 4, 1>}, {start_any<5, 1, 4, 1>, start_any<5, 2, 4, 1>}}},
    {"1x4", 1, 4, {{start_any<3, 1, 1, 4>, start_any<3, 2, 1, 4>}, {}}},
    {"2x2",
     2,
     2,
     {{start_any<3, 1, 2, 2>, start_any<3, 2, 2, 2>}, {start_any<5, 1, 2, 2>, start_any<5, 2, 2, 2>}}},
    {"4x2", 4, 2, {{start_any<3, 1, 4, 2>, start_any<3, 2, 4, 2>}, {}}},
    {"2x4", 2, 4, {{start_any<3, 1, 2, 4>, start_any<3, 2, 2, 4>}, {}}},
    {"7x1", 7, 1, {{start_any<3, 1, 7, 1>, start_any<3, 2, 7, 1>}, {}}},
};
constexpr int n_forms = sizeof forms / sizeof forms[0];

bool aligned(const void *p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

/* Whether 16 bytes of channels can be read and written at once. */
bool by_vectors(bool half, const omcu_conv *c)
{
    int v = half ? 8 : 4;
    return c->vector && !c->wide && c->groups * c->k % v == 0 && c->x_w % v == 0 && c->x_h % v == 0 &&
           c->x_n % v == 0 && c->y_w % v == 0 && aligned(c->x) && aligned(c->w) && aligned(c->bias) &&
           aligned(c->y) && aligned(c->res);
}

} // namespace

int omcu_depthwise_forms(void) { return n_forms; }
const char *omcu_depthwise_form_name(int form)
{
    return form >= 0 && form < n_forms ? forms[form].name : "any";
}

bool omcu_depthwise_takes(int form, bool half, const omcu_conv *c)
{
    bool square = c->r == c->s && (c->r == 3 || c->r == 5) && c->stride_y == c->stride_x &&
                  (c->stride_y == 1 || c->stride_y == 2) && c->dil_y == 1 && c->dil_x == 1;
    return form >= 0 && form < n_forms && square && c->groups % (half ? 8 : 4) == 0 &&
           forms[form].start[c->r == 5][c->stride_y - 1];
}

int omcu_depthwise_guess(bool half, const omcu_conv *c)
{
    int best = -1, most = 0;
    for (int i = 0; i < n_forms; i++) {
        int64_t threads = static_cast<int64_t>(c->n) * ((c->ho + forms[i].rows - 1) / forms[i].rows) *
                          ((c->wo + forms[i].cols - 1) / forms[i].cols) * (c->groups / (half ? 8 : 4));
        int size = forms[i].cols * forms[i].rows;
        if (!omcu_depthwise_takes(i, half, c) || size <= most || (best >= 0 && threads < 65536)) continue;
        best = i;
        most = size;
    }
    return best;
}

int omcu_depthwise_launch(int form, bool half, const omcu_conv *c, CUstream_st *stream)
{
    if (omcu_depthwise_takes(form, half, c) && by_vectors(half, c))
        return forms[form].start[c->r == 5][c->stride_y - 1](half, c, stream);
    int64_t items = static_cast<int64_t>(c->n) * c->ho * c->wo * c->groups;
    if (half) depthwise_any<__half><<<blocks_of(items, 256), 256, 0, stream>>>(*c);
    else depthwise_any<float><<<blocks_of(items, 256), 256, 0, stream>>>(*c);
    return cudaGetLastError();
}

bool omcu_conv_finish_takes(bool half, const omcu_conv *c)
{
    int v = half ? 8 : 4;
    return c->vector && !c->wide && c->groups * c->k % v == 0;
}

int omcu_conv_finish_launch(bool half, const omcu_conv *c, CUstream_st *stream)
{
    int64_t items = static_cast<int64_t>(c->n) * c->ho * c->wo * (c->k * c->groups / (half ? 8 : 4));
    if (half) finish<__half><<<blocks_of(items, 256), 256, 0, stream>>>(*c);
    else finish<float><<<blocks_of(items, 256), 256, 0, stream>>>(*c);
    return cudaGetLastError();
}
