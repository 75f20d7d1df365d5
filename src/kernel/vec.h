/* As many floats as the instruction set at hand takes at once, one where there is only C. +, -, * and / work
 * on them as on numbers. Private to the variants. */
#ifndef OM_KERNEL_VEC_H
#define OM_KERNEL_VEC_H

#include <stdint.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__)

#define OM_LANES 16
typedef __m512 om_vec;
static inline om_vec om_vec_set(float v) { return _mm512_set1_ps(v); }
static inline om_vec om_vec_load(const float *p) { return _mm512_loadu_ps(p); }
/* a < b ? a : b and a > b ? a : b: of numbers that cannot be compared, b. */
static inline om_vec om_vec_min(om_vec a, om_vec b) { return _mm512_min_ps(a, b); }
static inline om_vec om_vec_max(om_vec a, om_vec b) { return _mm512_max_ps(a, b); }
/* A bit a lane; false, or true for not_less, where the two cannot be compared. */
static inline uint32_t om_vec_greater(om_vec a, om_vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
static inline uint32_t om_vec_equal(om_vec a, om_vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
static inline uint32_t om_vec_not_less(om_vec a, om_vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ); }

#elif defined(__AVX2__)

#define OM_LANES 8
typedef __m256 om_vec;
static inline om_vec om_vec_set(float v) { return _mm256_set1_ps(v); }
static inline om_vec om_vec_load(const float *p) { return _mm256_loadu_ps(p); }
static inline om_vec om_vec_min(om_vec a, om_vec b) { return _mm256_min_ps(a, b); }
static inline om_vec om_vec_max(om_vec a, om_vec b) { return _mm256_max_ps(a, b); }
static inline uint32_t om_vec_greater(om_vec a, om_vec b)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
static inline uint32_t om_vec_equal(om_vec a, om_vec b)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}
static inline uint32_t om_vec_not_less(om_vec a, om_vec b)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_NLT_UQ));
}

#else

#define OM_LANES 1
typedef float om_vec;
static inline om_vec om_vec_set(float v) { return v; }
static inline om_vec om_vec_load(const float *p) { return *p; }
static inline om_vec om_vec_min(om_vec a, om_vec b) { return a < b ? a : b; }
static inline om_vec om_vec_max(om_vec a, om_vec b) { return a > b ? a : b; }
static inline uint32_t om_vec_greater(om_vec a, om_vec b) { return a > b; }
static inline uint32_t om_vec_equal(om_vec a, om_vec b) { return a == b; }
static inline uint32_t om_vec_not_less(om_vec a, om_vec b) { return !(a < b); }

#endif
#endif
