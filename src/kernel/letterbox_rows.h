/* The inner loops of letterbox.c: each runs along one row. They are short and without aliases, for the
 * compiler to vectorise; letterbox.c is compiled once for each instruction set. */
#ifndef OM_KERNEL_LETTERBOX_ROWS_H
#define OM_KERNEL_LETTERBOX_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "kernel/kernel.h"

typedef uint16_t om_sample16 __attribute__((aligned(1), may_alias)); /* strides need not be even */

/* Vertical: samples of one or more source rows to one row of floats. `wide`: 16-bit samples. */
static inline void om_row_widen(float *restrict dst, const uint8_t *a, bool wide, int n)
{
    const om_sample16 *a16 = (const om_sample16 *)a;
    if (wide)
        for (int i = 0; i < n; i++) dst[i] = (float)a16[i];
    else
        for (int i = 0; i < n; i++) dst[i] = (float)a[i];
}

static inline void om_row_blend(float *restrict dst, const uint8_t *a, const uint8_t *b, float weight,
                                bool wide, int n)
{
    const om_sample16 *a16 = (const om_sample16 *)a, *b16 = (const om_sample16 *)b;
    if (wide)
        for (int i = 0; i < n; i++) dst[i] = (float)a16[i] + weight * (float)(b16[i] - a16[i]);
    else
        for (int i = 0; i < n; i++) dst[i] = (float)a[i] + weight * (float)(b[i] - a[i]);
}

static inline void om_row_scale(float *restrict dst, float weight, int n)
{
    for (int i = 0; i < n; i++) dst[i] *= weight;
}

static inline void om_row_accumulate(float *restrict dst, const uint8_t *a, float weight, bool wide, int n)
{
    const om_sample16 *a16 = (const om_sample16 *)a;
    if (wide)
        for (int i = 0; i < n; i++) dst[i] += weight * (float)a16[i];
    else
        for (int i = 0; i < n; i++) dst[i] += weight * (float)a[i];
}

/* Horizontal: one sample a destination pixel, straight from a source row or from a row of floats; or two of
 * them. */
static inline void om_row_pick_source(float *restrict dst, const uint8_t *src, const int *restrict at,
                                      bool wide, int n)
{
    const om_sample16 *s16 = (const om_sample16 *)src;
    if (wide)
        for (int i = 0; i < n; i++) dst[i] = (float)s16[at[i]];
    else
        for (int i = 0; i < n; i++) dst[i] = (float)src[at[i]];
}

static inline void om_row_pick(float *restrict dst, const float *src, const int *restrict at, int n)
{
    for (int i = 0; i < n; i++) dst[i] = src[at[i]];
}

static inline void om_row_lerp(float *restrict dst, const float *src, const int *restrict at0,
                               const int *restrict at1, const float *restrict weight, int n)
{
    for (int i = 0; i < n; i++) {
        float a = src[at0[i]];
        dst[i] = a + weight[i] * (src[at1[i]] - a);
    }
}

/* Written as the two selections that processors have as single instructions. */
static inline float om_clampf(float v, float low, float high)
{
    v = v > low ? v : low;
    return v < high ? v : high;
}

/* Colour: m has a row of factors and the constant for each channel; the result is kept within low and high.
 */
static inline void om_row_affine(float *restrict dst, const float *restrict a, float factor, float constant,
                                 float low, float high, int n)
{
    for (int i = 0; i < n; i++) dst[i] = om_clampf(a[i] * factor + constant, low, high);
}

static inline void om_row_mix(float *restrict dst, const float *restrict a, const float *restrict b,
                              const float *restrict c, const float m[4], float low, float high, int n)
{
    float m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3];
    for (int i = 0; i < n; i++) dst[i] = om_clampf(a[i] * m0 + b[i] * m1 + c[i] * m2 + m3, low, high);
}

/* Rounds |v| < 2^22 to the nearest integer, halves to even, without leaving the vector registers. */
static inline int32_t om_round_small(float v)
{
    int32_t bits;
    v += 12582912.0f;
    memcpy(&bits, &v, sizeof(bits));
    return bits - 0x4b400000;
}

static inline uint16_t om_bf16(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return om_f32_to_bf16_bits(bits);
}

/* To half precision, nearest even: the magnitude is rounded by adding a number whose last place is the
 * half's. */
static inline uint16_t om_f16(float v)
{
    uint32_t bits, sum;
    float magnitude, magic;
    memcpy(&bits, &v, sizeof(bits));
    uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    uint32_t normal = (bits - 0x38000000u + 0xfffu + (bits >> 13 & 1u)) >> 13;
    memcpy(&magnitude, &bits, sizeof(bits));
    magic = magnitude + 0.5f; /* the last place of 0.5 is that of the smallest half */
    memcpy(&sum, &magic, sizeof(sum));
    uint32_t small = sum - 0x3f000000u;
    uint32_t half = bits < 0x38800000u ? small : normal;
    half = bits >= 0x477ff000u ? 0x7c00u : half;
    return (uint16_t)(half | sign);
}

/* Floats to elements. */
static inline void om_row_store_f16(uint16_t *restrict dst, const float *restrict v, int n)
{
    int i = 0;
#if defined(__F16C__)
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(dst + i), _mm256_cvtps_ph(_mm256_loadu_ps(v + i), 0));
#endif
    for (; i < n; i++) dst[i] = om_f16(v[i]);
}

static inline void om_row_store_bf16(uint16_t *restrict dst, const float *restrict v, int n)
{
    for (int i = 0; i < n; i++) dst[i] = om_bf16(v[i]);
}

static inline void om_row_store_u8(uint8_t *restrict dst, const float *restrict v, int n)
{
    for (int i = 0; i < n; i++) dst[i] = (uint8_t)om_round_small(om_clampf(v[i], 0, 255));
}

static inline void om_row_store_i8(int8_t *restrict dst, const float *restrict v, int zero_point, int n)
{
    float low = (float)(-128 - zero_point), high = (float)(127 - zero_point);
    for (int i = 0; i < n; i++) dst[i] = (int8_t)(om_round_small(om_clampf(v[i], low, high)) + zero_point);
}

/* Three rows of elements into one of pixels. */
static inline void om_row_weave8(uint8_t *restrict dst, const uint8_t *restrict a, const uint8_t *restrict b,
                                 const uint8_t *restrict c, int n)
{
    for (int i = 0; i < n; i++) {
        dst[3 * i] = a[i];
        dst[3 * i + 1] = b[i];
        dst[3 * i + 2] = c[i];
    }
}

static inline void om_row_weave16(uint16_t *restrict dst, const uint16_t *restrict a,
                                  const uint16_t *restrict b, const uint16_t *restrict c, int n)
{
    for (int i = 0; i < n; i++) {
        dst[3 * i] = a[i];
        dst[3 * i + 1] = b[i];
        dst[3 * i + 2] = c[i];
    }
}

static inline void om_row_weave32(float *restrict dst, const float *restrict a, const float *restrict b,
                                  const float *restrict c, int n)
{
    for (int i = 0; i < n; i++) {
        dst[3 * i] = a[i];
        dst[3 * i + 1] = b[i];
        dst[3 * i + 2] = c[i];
    }
}

/* A row of floats to elements of the tensor. */
static inline void om_row_store(const om_prep *p, void *dst, const float *v, int n)
{
    if (p->dtype == OM_DTYPE_F32) memcpy(dst, v, (size_t)n * sizeof(*v));
    else if (p->dtype == OM_DTYPE_F16) om_row_store_f16((uint16_t *)dst, v, n);
    else if (p->dtype == OM_DTYPE_BF16) om_row_store_bf16((uint16_t *)dst, v, n);
    else if (p->dtype == OM_DTYPE_U8) om_row_store_u8((uint8_t *)dst, v, n);
    else om_row_store_i8((int8_t *)dst, v, p->zero_point, n);
}

/* The rows of three channels, already elements of that size, to a row of pixels. */
static inline void om_row_weave(size_t element, void *dst, void *const rows[3], int n)
{
    if (element == 1)
        om_row_weave8((uint8_t *)dst, (const uint8_t *)rows[0], (const uint8_t *)rows[1],
                      (const uint8_t *)rows[2], n);
    else if (element == 2)
        om_row_weave16((uint16_t *)dst, (const uint16_t *)rows[0], (const uint16_t *)rows[1],
                       (const uint16_t *)rows[2], n);
    else
        om_row_weave32((float *)dst, (const float *)rows[0], (const float *)rows[1], (const float *)rows[2],
                       n);
}

#endif
