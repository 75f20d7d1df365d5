/* Shapes, element types and half floats. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/tensor.h"

#define D(n) ((int64_t)(n))

static void shapes_as_text(void **state)
{
    char text[OM_SHAPE_TEXT];
    om_shape s = om_shape_make(4, D(1), D(3), D(640), D(640));
    om_shape_text(&s, text);
    assert_string_equal(text, "1x3x640x640");
    s = om_shape_make(2, D(OM_DIM_DYNAMIC), D(85));
    om_shape_text(&s, text);
    assert_string_equal(text, "?x85");
    s = om_shape_make(0);
    om_shape_text(&s, text);
    assert_string_equal(text, "scalar");
    s = om_shape_make(-1);
    om_shape_text(&s, text);
    assert_string_equal(text, "unknown");
    s.rank = OM_MAX_RANK;
    for (int i = 0; i < OM_MAX_RANK; i++) s.dim[i] = INT64_MAX;
    om_shape_text(&s, text);
    assert_int_equal(strlen(text), OM_MAX_RANK * 20 - 1);
}

static void shapes_are_counted(void **state)
{
    om_shape s = om_shape_make(3, D(2), D(3), D(5)), t = s;
    assert_true(om_shape_static(&s));
    assert_int_equal(om_shape_count(&s), 30);
    assert_true(om_shape_equal(&s, &t));
    t.dim[2] = 6;
    assert_false(om_shape_equal(&s, &t));
    t.rank = 2;
    assert_false(om_shape_equal(&s, &t));
    s.dim[0] = OM_DIM_DYNAMIC;
    assert_false(om_shape_static(&s));
    assert_int_equal(om_shape_count(&s), -1);
    s = om_shape_make(0);
    assert_int_equal(om_shape_count(&s), 1);
    s = om_shape_make(-1);
    assert_int_equal(om_shape_count(&s), -1);
    s = om_shape_make(2, D(1) << 40, D(1) << 30);
    assert_int_equal(om_shape_count(&s), -1);
    s = om_shape_make(3, D(1) << 40, D(1) << 30, D(0));
    assert_int_equal(om_shape_count(&s), 0);
}

static void types_have_sizes_and_names(void **state)
{
    assert_int_equal(om_dtype_size(OM_DTYPE_F32), 4);
    assert_int_equal(om_dtype_size(OM_DTYPE_F16), 2);
    assert_int_equal(om_dtype_size(OM_DTYPE_I64), 8);
    assert_int_equal(om_dtype_size(OM_DTYPE_BOOL), 1);
    assert_int_equal(om_dtype_size(OM_DTYPE_NONE), 0);
    assert_int_equal(om_dtype_size(OM_DTYPE_STRING), 0);
    assert_int_equal(om_dtype_size((om_dtype)99), 0);
    assert_string_equal(om_dtype_name(OM_DTYPE_BF16), "bf16");
    assert_string_equal(om_dtype_name(OM_DTYPE_STRING), "string");
    assert_string_equal(om_dtype_name((om_dtype)99), "none");
}

/* What the bits of a half mean, by its definition. */
static double meaning(uint16_t h)
{
    int exp = (h >> 10) & 31, frac = h & 0x3ff;
    double v = exp == 31 ? (frac ? NAN : INFINITY) : exp ? ldexp(1024 + frac, exp - 25) : ldexp(frac, -24);
    return h & 0x8000 ? -v : v;
}

static void every_half_means_what_it_should(void **state)
{
    for (uint32_t h = 0; h < 65536; h++) {
        float f = om_f16_to_f32((uint16_t)h);
        uint16_t back = om_f32_to_f16(f);
        if (isnan(meaning((uint16_t)h))) {
            assert_true(isnan(f));
            assert_int_equal(back, h | 0x200);
            continue;
        }
        assert_true((double)f == meaning((uint16_t)h));
        assert_int_equal(!!signbit(f), h >> 15);
        assert_int_equal(back, h);
    }
}

/* Between each two neighbours: the middle goes to the even one, a step to either side to the nearer. */
static void halves_round_to_nearest_even(void **state)
{
    for (uint32_t h = 0; h < 0x7c00; h++) {
        double low = meaning((uint16_t)h), high = h == 0x7bff ? 65536 : meaning((uint16_t)(h + 1));
        float middle = (float)((low + high) / 2);
        uint16_t even = (uint16_t)(h & 1 ? h + 1 : h);
        assert_int_equal(om_f32_to_f16(middle), even);
        assert_int_equal(om_f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(om_f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(om_f32_to_f16(-middle), even | 0x8000);
    }
    assert_int_equal(om_f32_to_f16(3e38f), 0x7c00);
    assert_int_equal(om_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(om_f32_to_f16(0x1p-149f), 0);
    assert_int_equal(om_f32_to_f16(-0.0f), 0x8000);
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("f16c"))) static uint32_t hardware_f32(uint16_t h)
{
    return (uint32_t)_mm_extract_epi32(_mm_castps_si128(_mm_cvtph_ps(_mm_cvtsi32_si128(h))), 0);
}

__attribute__((target("f16c"))) static uint16_t hardware_f16(float f)
{
    return (uint16_t)_mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(f), _MM_FROUND_TO_NEAREST_INT), 0);
}

static void halves_equal_the_processor_s(void **state)
{
    if (!__builtin_cpu_supports("avx2")) skip();
    for (uint32_t h = 0; h < 65536; h++) {
        float f = om_f16_to_f32((uint16_t)h);
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        assert_int_equal(bits, hardware_f32((uint16_t)h));
    }
    for (uint64_t n = 0; n < 1 << 20; n++) {
        uint32_t bits = (uint32_t)(n * 4099 + (n >> 3));
        float f;
        memcpy(&f, &bits, sizeof f);
        assert_int_equal(om_f32_to_f16(f), hardware_f16(f));
    }
}
#else
static void halves_equal_the_processor_s(void **state) { skip(); }
#endif

static void bf16_rounds_to_nearest_even(void **state)
{
    assert_int_equal(om_f32_to_bf16_bits(0x3f800000), 0x3f80);
    assert_int_equal(om_f32_to_bf16_bits(0x3f808000), 0x3f80);
    assert_int_equal(om_f32_to_bf16_bits(0x3f818000), 0x3f82);
    assert_int_equal(om_f32_to_bf16_bits(0x3f808001), 0x3f81);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_as_text),
        cmocka_unit_test(shapes_are_counted),
        cmocka_unit_test(types_have_sizes_and_names),
        cmocka_unit_test(every_half_means_what_it_should),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(halves_equal_the_processor_s),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
