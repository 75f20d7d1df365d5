/* What the kernels share: numbers of any type to and from float, and the one-number operations. */
#ifndef OM_BACKEND_CUDA_DEVICE_CUH
#define OM_BACKEND_CUDA_DEVICE_CUH

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "backend/cuda/kernels.h"

namespace omcu
{

__device__ inline float to_float(float v) { return v; }
__device__ inline float to_float(__half v) { return __half2float(v); }
template <typename T> __device__ inline T from_float(float v);
template <> __device__ inline float from_float<float>(float v) { return v; }
template <> __device__ inline __half from_float<__half>(float v) { return __float2half_rn(v); }

__device__ inline float load(const void *base, int type, int64_t at)
{
    switch (type) {
    case OMCU_F16: return __half2float(static_cast<const __half *>(base)[at]);
    case OMCU_U8: return static_cast<const uint8_t *>(base)[at];
    case OMCU_I8: return static_cast<const int8_t *>(base)[at];
    case OMCU_I32: return static_cast<float>(static_cast<const int32_t *>(base)[at]);
    case OMCU_I64: return static_cast<float>(static_cast<const int64_t *>(base)[at]);
    default: return static_cast<const float *>(base)[at];
    }
}

__device__ inline void store(void *base, int type, int64_t at, float v)
{
    switch (type) {
    case OMCU_F16: static_cast<__half *>(base)[at] = __float2half_rn(v); break;
    case OMCU_U8: static_cast<uint8_t *>(base)[at] = static_cast<uint8_t>(v); break;
    case OMCU_I8: static_cast<int8_t *>(base)[at] = static_cast<int8_t>(v); break;
    case OMCU_I32: static_cast<int32_t *>(base)[at] = static_cast<int32_t>(v); break;
    case OMCU_I64: static_cast<int64_t *>(base)[at] = static_cast<int64_t>(v); break;
    default: static_cast<float *>(base)[at] = v; break;
    }
}

__device__ inline float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

/* Called, not inlined: every kernel would carry all of them many times over. */
static __device__ __noinline__ float rare(int op, float x, float a, float b)
{
    switch (op) {
    case OMCU_HARD_SIGMOID: return fminf(fmaxf(a * x + b, 0.0f), 1.0f);
    case OMCU_HARD_SWISH: return x * fminf(fmaxf(x * (1.0f / 6.0f) + 0.5f, 0.0f), 1.0f);
    case OMCU_LEAKY: return x < 0 ? a * x : x;
    case OMCU_ELU: return x < 0 ? a * (expf(x) - 1.0f) : x;
    case OMCU_GELU: return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case OMCU_GELU_TANH: return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case OMCU_TANH: return tanhf(x);
    case OMCU_MISH: return x * tanhf(x > 20.0f ? x : log1pf(expf(x)));
    case OMCU_SOFTPLUS: return x > 20.0f ? x : log1pf(expf(x));
    case OMCU_ERF: return erff(x);
    case OMCU_EXP: return expf(x);
    case OMCU_LOG: return logf(x);
    case OMCU_SQRT: return sqrtf(x);
    case OMCU_ABS: return fabsf(x);
    case OMCU_NEG: return -x;
    case OMCU_RECIPROCAL: return 1.0f / x;
    case OMCU_FLOOR: return floorf(x);
    case OMCU_CEIL: return ceilf(x);
    case OMCU_ROUND: return rintf(x);
    case OMCU_SIGN: return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f;
    case OMCU_SIN: return sinf(x);
    case OMCU_COS: return cosf(x);
    case OMCU_SOFTSIGN: return x / (1.0f + fabsf(x));
    case OMCU_SELU: return x > 0 ? b * x : b * a * (expf(x) - 1.0f);
    case OMCU_CELU: return fmaxf(x, 0.0f) + fminf(0.0f, a * (expf(x / a) - 1.0f));
    default: return x;
    }
}

__device__ inline float unary(int op, float x, float a, float b)
{
    if (op == OMCU_SILU) return x * sigmoid(x);
    if (op == OMCU_SIGMOID) return sigmoid(x);
    if (op == OMCU_RELU) return fmaxf(x, 0.0f);
    if (op == OMCU_CLIP) return fminf(fmaxf(x, a), b);
    return rare(op, x, a, b);
}

__device__ inline float activate(const omcu_act &act, float x)
{
    return act.op == OMCU_NONE ? x : unary(act.op, x, act.a, act.b);
}

static __device__ __noinline__ float rare_pair(int op, float x, float y)
{
    switch (op) {
    case OMCU_DIV: return x / y;
    case OMCU_RDIV: return y / x;
    case OMCU_MIN: return fminf(x, y);
    case OMCU_MAX: return fmaxf(x, y);
    case OMCU_POW: return y == 2.0f ? x * x : powf(x, y);
    case OMCU_RPOW: return powf(y, x);
    case OMCU_PRELU: return x < 0 ? x * y : x;
    case OMCU_RPRELU: return y < 0 ? y * x : y;
    default: return y;
    }
}

__device__ inline float binary(int op, float x, float y)
{
    switch (op) {
    case OMCU_ADD: return x + y;
    case OMCU_SUB: return x - y;
    case OMCU_RSUB: return y - x;
    case OMCU_MUL: return x * y;
    case OMCU_LOAD: return y;
    default: return rare_pair(op, x, y);
    }
}

__device__ inline uint32_t shared_address(const void *p)
{
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

/* 16 bytes from global to shared memory; zeros where `valid` is false. */
__device__ inline void copy_async(void *to, const void *from, bool valid)
{
    int size = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(to)), "l"(from),
                 "r"(size));
}

__device__ inline void copy_commit() { asm volatile("cp.async.commit_group;\n" ::); }
template <int N> __device__ inline void copy_wait() { asm volatile("cp.async.wait_group %0;\n" ::"n"(N)); }

__device__ inline void load_matrix4(uint32_t r[4], const void *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(p)));
}

__device__ inline void load_matrix4_turned(uint32_t r[4], const void *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(p)));
}

/* d += a (16x16, row-major) * b (16x8, column-major) */
__device__ inline void multiply_add(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

} // namespace omcu
#endif
