/* f16 numbers: made f32, and compared without that. Private to the variants. */
#ifndef OM_KERNEL_FILTER_HALF_H
#define OM_KERNEL_FILTER_HALF_H

#include <stddef.h>
#include <string.h>

#include "base/tensor.h"
#include "kernel/vec.h"

/* om_f16_to_f32() without branches, so that loops of it become vector code. Scaling by 2^112 moves the
 * exponent and makes normal numbers of f16's subnormal ones; what is not finite gets its exponent back. */
static inline float om_half_widen(uint16_t h)
{
    uint32_t bits = (uint32_t)(h & 0x7fffu) << 13;
    float f;
    memcpy(&f, &bits, sizeof f);
    f *= 0x1p112f;
    memcpy(&bits, &f, sizeof bits);
    bits |= (uint32_t)(h & 0x8000u) << 16 | ((h & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0);
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline void om_halves_widen(const uint16_t *v, size_t n, float *out)
{
    size_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(v + i))));
#endif
    for (; i < n; i++) out[i] = om_half_widen(v[i]);
}

/* Sixteen-bit integers in the order that the numbers have: those below zero count backwards. */
static inline int16_t om_half_order(uint16_t h) { return (int16_t)(h & 0x8000u ? h ^ 0x7fffu : h); }

/* The place in that order of the largest f16 that is not above v: what is above v lies behind it. */
static inline int16_t om_half_floor(float v)
{
    uint16_t h = om_f32_to_f16(v);
    return (int16_t)(om_half_order(h) - (om_half_widen(h) > v));
}

#if OM_LANES > 1
static inline __m256i om_halves_order(const uint16_t *v)
{
    __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)v);
    return _mm256_xor_si256(h, _mm256_and_si256(_mm256_srai_epi16(h, 15), _mm256_set1_epi16(0x7fff)));
}
#endif

/* Whether any of n (a multiple of 16) comes behind `floor` in the order; a not-a-number may. */
static inline bool om_halves_above(const uint16_t *v, size_t n, int16_t floor)
{
#if OM_LANES > 1
    __m256i limit = _mm256_set1_epi16(floor), any = _mm256_setzero_si256();
    if (floor >= 0) /* those below zero are so as integers too */
        for (size_t i = 0; i < n; i += 16) {
            __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)(v + i));
            any = _mm256_or_si256(any, _mm256_cmpgt_epi16(h, limit));
        }
    else
        for (size_t i = 0; i < n; i += 16)
            any = _mm256_or_si256(any, _mm256_cmpgt_epi16(om_halves_order(v + i), limit));
    return !_mm256_testz_si256(any, any);
#else
    int any = 0;
    for (size_t i = 0; i < n; i++) any |= om_half_order(v[i]) > floor;
    return any;
#endif
}

#endif
