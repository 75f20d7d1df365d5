/* Vectors of 16-bit numbers, the same operations at every width. A vector has OM_V_LANES lanes of 16 bytes;
 * shuffling, packing and unpacking stay within a lane, as the processors' instructions do. A further
 * instruction set needs these types and functions and nothing else. Without one, OM_V_LANES is not defined.
 */
#ifndef OM_KERNEL_VEC16_H
#define OM_KERNEL_VEC16_H

#include <stdint.h>

#if defined(__AVX2__)
#include <immintrin.h>

#define OM_INLINE static inline __attribute__((always_inline))

#if defined(__AVX512BW__)
#define OM_V_LANES 4
typedef __m512i om_v16;
typedef __m512 om_v32f;

OM_INLINE om_v16 om_v_load(const void *p) { return _mm512_loadu_si512(p); }
OM_INLINE void om_v_store(void *p, om_v16 v) { _mm512_storeu_si512(p, v); }
OM_INLINE om_v16 om_v_set8(int v) { return _mm512_set1_epi8((int8_t)v); }
OM_INLINE om_v16 om_v_set16(int v) { return _mm512_set1_epi16((int16_t)v); }
OM_INLINE om_v16 om_v_set32(int v) { return _mm512_set1_epi32(v); }
OM_INLINE om_v16 om_v_add8(om_v16 a, om_v16 b) { return _mm512_add_epi8(a, b); }
OM_INLINE om_v16 om_v_add16(om_v16 a, om_v16 b) { return _mm512_add_epi16(a, b); }
OM_INLINE om_v16 om_v_adds16(om_v16 a, om_v16 b) { return _mm512_adds_epi16(a, b); }
OM_INLINE om_v16 om_v_sub16(om_v16 a, om_v16 b) { return _mm512_sub_epi16(a, b); }
OM_INLINE om_v16 om_v_min16(om_v16 a, om_v16 b) { return _mm512_min_epi16(a, b); }
OM_INLINE om_v16 om_v_max16(om_v16 a, om_v16 b) { return _mm512_max_epi16(a, b); }
OM_INLINE om_v16 om_v_mulhrs(om_v16 a, om_v16 b) { return _mm512_mulhrs_epi16(a, b); }
OM_INLINE om_v16 om_v_madd(om_v16 a, om_v16 b) { return _mm512_madd_epi16(a, b); }
OM_INLINE om_v16 om_v_add32(om_v16 a, om_v16 b) { return _mm512_add_epi32(a, b); }
OM_INLINE om_v16 om_v_or(om_v16 a, om_v16 b) { return _mm512_or_si512(a, b); }
OM_INLINE om_v16 om_v_and(om_v16 a, om_v16 b) { return _mm512_and_si512(a, b); }
OM_INLINE om_v16 om_v_shl16(om_v16 v, int n) { return _mm512_slli_epi16(v, (unsigned)n); }
OM_INLINE om_v16 om_v_shr16(om_v16 v, int n) { return _mm512_srli_epi16(v, (unsigned)n); }
OM_INLINE om_v16 om_v_sra32(om_v16 v, int n) { return _mm512_srai_epi32(v, (unsigned)n); }
OM_INLINE om_v16 om_v_shr32(om_v16 v, int n) { return _mm512_srli_epi32(v, (unsigned)n); }
OM_INLINE om_v16 om_v_shuffle(om_v16 v, om_v16 mask) { return _mm512_shuffle_epi8(v, mask); }
OM_INLINE om_v16 om_v_pack32(om_v16 a, om_v16 b) { return _mm512_packs_epi32(a, b); }
OM_INLINE om_v16 om_v_unpack_low16(om_v16 a, om_v16 b) { return _mm512_unpacklo_epi16(a, b); }
OM_INLINE om_v16 om_v_unpack_high16(om_v16 a, om_v16 b) { return _mm512_unpackhi_epi16(a, b); }
OM_INLINE om_v16 om_v_widen(const int16_t *p)
{
    return _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)p));
}
OM_INLINE om_v16 om_v_lanes(const uint8_t *p, const int32_t at[OM_V_LANES])
{
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(p + at[0])));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p + at[1])), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p + at[2])), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p + at[3])), 3);
}
/* The same 16 bytes in every lane. */
OM_INLINE om_v16 om_v_repeat(const uint8_t p[16])
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)p));
}
/* Lane l of `low` and of `high`, for l from 0, each to the next 12 bytes; 16 are written each time. */
OM_INLINE void om_v_store12(uint8_t *p, om_v16 low, om_v16 high)
{
    _mm_storeu_si128((__m128i *)p, _mm512_castsi512_si128(low));
    _mm_storeu_si128((__m128i *)(p + 12), _mm512_castsi512_si128(high));
    _mm_storeu_si128((__m128i *)(p + 24), _mm512_extracti32x4_epi32(low, 1));
    _mm_storeu_si128((__m128i *)(p + 36), _mm512_extracti32x4_epi32(high, 1));
    _mm_storeu_si128((__m128i *)(p + 48), _mm512_extracti32x4_epi32(low, 2));
    _mm_storeu_si128((__m128i *)(p + 60), _mm512_extracti32x4_epi32(high, 2));
    _mm_storeu_si128((__m128i *)(p + 72), _mm512_extracti32x4_epi32(low, 3));
    _mm_storeu_si128((__m128i *)(p + 84), _mm512_extracti32x4_epi32(high, 3));
}
/* 16-bit numbers of 0..255 to bytes. */
OM_INLINE void om_v_store_bytes(void *p, om_v16 v)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi16_epi8(v));
}
OM_INLINE om_v32f om_v_float(om_v16 v) { return _mm512_cvtepi32_ps(v); }
OM_INLINE om_v32f om_v_setf(float v) { return _mm512_set1_ps(v); }
OM_INLINE om_v32f om_v_fma(om_v32f a, om_v32f b, om_v32f c) { return _mm512_fmadd_ps(a, b, c); }
OM_INLINE void om_v_storef(void *p, om_v32f v) { _mm512_storeu_ps(p, v); }
OM_INLINE om_v16 om_v_bits(om_v32f v) { return _mm512_castps_si512(v); }
OM_INLINE void om_v_store_f16(void *p, om_v32f v)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/* 32-bit numbers of 0..65535 to 16 bits. */
OM_INLINE void om_v_store_words(void *p, om_v16 v)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(v));
}
/* Two vectors of floats, rounded, to signed bytes with saturation. */
OM_INLINE void om_v_store_i8(void *p, om_v32f a, om_v32f b)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a)));
    _mm_storeu_si128((__m128i *)p + 1, _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(b)));
}
#else
#define OM_V_LANES 2
typedef __m256i om_v16;
typedef __m256 om_v32f;

OM_INLINE om_v16 om_v_load(const void *p) { return _mm256_loadu_si256(p); }
OM_INLINE void om_v_store(void *p, om_v16 v) { _mm256_storeu_si256(p, v); }
OM_INLINE om_v16 om_v_set8(int v) { return _mm256_set1_epi8((int8_t)v); }
OM_INLINE om_v16 om_v_set16(int v) { return _mm256_set1_epi16((int16_t)v); }
OM_INLINE om_v16 om_v_set32(int v) { return _mm256_set1_epi32(v); }
OM_INLINE om_v16 om_v_add8(om_v16 a, om_v16 b) { return _mm256_add_epi8(a, b); }
OM_INLINE om_v16 om_v_add16(om_v16 a, om_v16 b) { return _mm256_add_epi16(a, b); }
OM_INLINE om_v16 om_v_adds16(om_v16 a, om_v16 b) { return _mm256_adds_epi16(a, b); }
OM_INLINE om_v16 om_v_sub16(om_v16 a, om_v16 b) { return _mm256_sub_epi16(a, b); }
OM_INLINE om_v16 om_v_min16(om_v16 a, om_v16 b) { return _mm256_min_epi16(a, b); }
OM_INLINE om_v16 om_v_max16(om_v16 a, om_v16 b) { return _mm256_max_epi16(a, b); }
OM_INLINE om_v16 om_v_mulhrs(om_v16 a, om_v16 b) { return _mm256_mulhrs_epi16(a, b); }
OM_INLINE om_v16 om_v_madd(om_v16 a, om_v16 b) { return _mm256_madd_epi16(a, b); }
OM_INLINE om_v16 om_v_add32(om_v16 a, om_v16 b) { return _mm256_add_epi32(a, b); }
OM_INLINE om_v16 om_v_or(om_v16 a, om_v16 b) { return _mm256_or_si256(a, b); }
OM_INLINE om_v16 om_v_and(om_v16 a, om_v16 b) { return _mm256_and_si256(a, b); }
OM_INLINE om_v16 om_v_shl16(om_v16 v, int n) { return _mm256_slli_epi16(v, n); }
OM_INLINE om_v16 om_v_shr16(om_v16 v, int n) { return _mm256_srli_epi16(v, n); }
OM_INLINE om_v16 om_v_sra32(om_v16 v, int n) { return _mm256_srai_epi32(v, n); }
OM_INLINE om_v16 om_v_shr32(om_v16 v, int n) { return _mm256_srli_epi32(v, n); }
OM_INLINE om_v16 om_v_shuffle(om_v16 v, om_v16 mask) { return _mm256_shuffle_epi8(v, mask); }
OM_INLINE om_v16 om_v_pack32(om_v16 a, om_v16 b) { return _mm256_packs_epi32(a, b); }
OM_INLINE om_v16 om_v_unpack_low16(om_v16 a, om_v16 b) { return _mm256_unpacklo_epi16(a, b); }
OM_INLINE om_v16 om_v_unpack_high16(om_v16 a, om_v16 b) { return _mm256_unpackhi_epi16(a, b); }
OM_INLINE om_v16 om_v_widen(const int16_t *p)
{
    return _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)p));
}
OM_INLINE om_v16 om_v_lanes(const uint8_t *p, const int32_t at[OM_V_LANES])
{
    __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(p + at[0])));
    return _mm256_inserti128_si256(v, _mm_loadu_si128((const __m128i *)(p + at[1])), 1);
}
/* The same 16 bytes in every lane. */
OM_INLINE om_v16 om_v_repeat(const uint8_t p[16])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p));
}
/* Lane l of `low` and of `high`, for l from 0, each to the next 12 bytes; 16 are written each time. */
OM_INLINE void om_v_store12(uint8_t *p, om_v16 low, om_v16 high)
{
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(low));
    _mm_storeu_si128((__m128i *)(p + 12), _mm256_castsi256_si128(high));
    _mm_storeu_si128((__m128i *)(p + 24), _mm256_extracti128_si256(low, 1));
    _mm_storeu_si128((__m128i *)(p + 36), _mm256_extracti128_si256(high, 1));
}
/* 16-bit numbers of 0..255 to bytes. */
OM_INLINE void om_v_store_bytes(void *p, om_v16 v)
{
    __m128i high = _mm256_extracti128_si256(v, 1);
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi16(_mm256_castsi256_si128(v), high));
}
OM_INLINE om_v32f om_v_float(om_v16 v) { return _mm256_cvtepi32_ps(v); }
OM_INLINE om_v32f om_v_setf(float v) { return _mm256_set1_ps(v); }
OM_INLINE om_v32f om_v_fma(om_v32f a, om_v32f b, om_v32f c) { return _mm256_fmadd_ps(a, b, c); }
OM_INLINE void om_v_storef(void *p, om_v32f v) { _mm256_storeu_ps(p, v); }
OM_INLINE om_v16 om_v_bits(om_v32f v) { return _mm256_castps_si256(v); }
OM_INLINE void om_v_store_f16(void *p, om_v32f v)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/* 32-bit numbers of 0..65535 to 16 bits. */
OM_INLINE void om_v_store_words(void *p, om_v16 v)
{
    __m128i high = _mm256_extracti128_si256(v, 1);
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi32(_mm256_castsi256_si128(v), high));
}
/* Two vectors of floats, rounded, to signed bytes with saturation. */
OM_INLINE void om_v_store_i8(void *p, om_v32f a, om_v32f b)
{
    __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    __m128i high = _mm256_extracti128_si256(words, 1);
    _mm_storeu_si128((__m128i *)p, _mm_packs_epi16(_mm256_castsi256_si128(words), high));
}
#endif

OM_INLINE void om_v_prefetch(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }

#define OM_V_BYTES (16 * OM_V_LANES)
#define OM_V16 (8 * OM_V_LANES) /* 16-bit numbers of a vector */
#define OM_V32 (4 * OM_V_LANES) /* 32-bit numbers of a vector */

#endif
#endif
