#include "profile/peak_kernels.h"

#include "base/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define LANES 64 /* of the portable loop */

void om_peak_triad(float *restrict a, const float *restrict b, const float *restrict c, float s, size_t n)
{
    for (size_t i = 0; i < n; i++) a[i] = b[i] + s * c[i];
}

/* Whatever the compiler makes of it for the oldest processor it builds for. */
static float f32_portable(long rounds)
{
    float acc[LANES] = {0}, scale = 0.999f, add = 0.001f;
    for (long r = 0; r < rounds; r++) {
        __asm__ volatile("" : "+m"(scale), "+m"(add));
        for (int i = 0; i < LANES; i++) acc[i] = acc[i] * scale + add;
    }
    return acc[rounds % LANES];
}

#if defined(__x86_64__)

/* Ten sums in flight hide the latency of two units of five cycles, and leave registers for the factors. */
#define TEN(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9)
/* Without this the compiler would see that the factors never change and fold rounds together. */
#define OPAQUE(v) __asm__ volatile("" : "+x"(v))
#define OPAQUE512(v) __asm__ volatile("" : "+v"(v))

__attribute__((target("avx2,fma"))) static float f32_avx2(long rounds)
{
    __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
#define DECLARE(i) __m256 a##i = _mm256_set1_ps((float)i);
#define STEP(i) a##i = _mm256_fmadd_ps(a##i, x, y);
#define ADD(i) sum = _mm256_add_ps(sum, a##i);
    TEN(DECLARE)
    for (long r = 0; r < rounds; r++) {
        TEN(STEP)
        OPAQUE(x);
    }
    __m256 sum = _mm256_setzero_ps();
    TEN(ADD)
    return _mm256_cvtss_f32(sum);
#undef DECLARE
#undef STEP
#undef ADD
}

__attribute__((target("avx512f"))) static float f32_avx512(long rounds)
{
    __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
#define DECLARE(i) __m512 a##i = _mm512_set1_ps((float)i);
#define STEP(i) a##i = _mm512_fmadd_ps(a##i, x, y);
#define ADD(i) sum = _mm512_add_ps(sum, a##i);
    TEN(DECLARE)
    for (long r = 0; r < rounds; r++) {
        TEN(STEP)
        OPAQUE512(x);
    }
    __m512 sum = _mm512_setzero_ps();
    TEN(ADD)
    return _mm512_cvtss_f32(sum);
#undef DECLARE
#undef STEP
#undef ADD
}

/* Without a dot-product instruction engines use these three. */
__attribute__((target("avx2"))) static float int8_avx2(long rounds)
{
    __m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(5), ones = _mm256_set1_epi16(1);
#define DECLARE(i) __m256i a##i = _mm256_set1_epi32(i);
#define STEP(i)                                                                                              \
    a##i =                                                                                                   \
        _mm256_add_epi32(a##i, _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_xor_si256(x, a##i), y), ones));
#define ADD(i) sum = _mm256_add_epi32(sum, a##i);
    TEN(DECLARE)
    for (long r = 0; r < rounds; r++) {
        TEN(STEP)
        OPAQUE(x);
    }
    __m256i sum = _mm256_setzero_si256();
    TEN(ADD)
    return (float)_mm256_extract_epi32(sum, 0);
#undef DECLARE
#undef STEP
#undef ADD
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) static float int8_vnni(long rounds)
{
    __m512i x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(5);
#define DECLARE(i) __m512i a##i = _mm512_set1_epi32(i);
#define STEP(i) a##i = _mm512_dpbusd_epi32(a##i, x, y);
#define ADD(i) sum = _mm512_add_epi32(sum, a##i);
    TEN(DECLARE)
    for (long r = 0; r < rounds; r++) {
        TEN(STEP)
        OPAQUE512(x);
    }
    __m512i sum = _mm512_setzero_si512();
    TEN(ADD)
    return (float)_mm_cvtsi128_si32(_mm512_castsi512_si128(sum));
#undef DECLARE
#undef STEP
#undef ADD
}

__attribute__((target("avx512f,avx512bw,avx512bf16"))) static float bf16_avx512(long rounds)
{
    __m512bh x = (__m512bh)_mm512_set1_epi16(0x3f7f), y = (__m512bh)_mm512_set1_epi16(0x3a83);
#define DECLARE(i) __m512 a##i = _mm512_set1_ps((float)i);
#define STEP(i) a##i = _mm512_dpbf16_ps(a##i, x, y);
#define ADD(i) sum = _mm512_add_ps(sum, a##i);
    TEN(DECLARE)
    for (long r = 0; r < rounds; r++) {
        TEN(STEP)
        OPAQUE512(x);
    }
    __m512 sum = _mm512_setzero_ps();
    TEN(ADD)
    return _mm512_cvtss_f32(sum);
#undef DECLARE
#undef STEP
#undef ADD
}

om_peak_kernel om_peak_f32(uint32_t flags)
{
    if (flags & OM_CPU_AVX512) return (om_peak_kernel){10 * 16 * 2, f32_avx512};
    if (flags & OM_CPU_AVX2) return (om_peak_kernel){10 * 8 * 2, f32_avx2};
    return (om_peak_kernel){LANES * 2, f32_portable};
}

om_peak_kernel om_peak_bf16(uint32_t flags)
{
    /* Tiles have a roof of their own, which this does not measure. */
    if (!(flags & OM_CPU_BF16) || !(flags & OM_CPU_AVX512) || flags & OM_CPU_AMX) return (om_peak_kernel){0};
    return (om_peak_kernel){10 * 32 * 2, bf16_avx512};
}

om_peak_kernel om_peak_int8(uint32_t flags)
{
    if (flags & OM_CPU_AMX) return (om_peak_kernel){0};
    if (flags & OM_CPU_VNNI && flags & OM_CPU_AVX512) return (om_peak_kernel){10 * 64 * 2, int8_vnni};
    if (flags & OM_CPU_AVX2) return (om_peak_kernel){10 * 32 * 2, int8_avx2};
    return (om_peak_kernel){0};
}

#else

om_peak_kernel om_peak_f32(uint32_t flags) { return (om_peak_kernel){LANES * 2, f32_portable}; }
om_peak_kernel om_peak_bf16(uint32_t flags) { return (om_peak_kernel){0}; }
om_peak_kernel om_peak_int8(uint32_t flags) { return (om_peak_kernel){0}; }

#endif
