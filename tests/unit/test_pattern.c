/* The test pattern: its text form, its places, its pixels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "media/media.h"
#include "media/pattern.h"

static om_pattern_params parsed(const char *uri)
{
    om_pattern_params p;
    assert_int_equal(om_pattern_parse(uri, &p), OM_OK);
    return p;
}

static void test_defaults(void **state)
{
    om_pattern_params p = parsed("pattern:");
    assert_int_equal(p.width, 640);
    assert_int_equal(p.height, 480);
    assert_true(p.fps == 25);
    assert_int_equal(p.frames, 250);
    assert_int_equal(p.shapes, 3);
    assert_int_equal(p.seed, 1);
}

static void test_every_part(void **state)
{
    om_pattern_params p = parsed("pattern:1280x720@29.97:frames=7:shapes=2:seed=42");
    assert_int_equal(p.width, 1280);
    assert_int_equal(p.height, 720);
    assert_true(p.fps == 29.97);
    assert_int_equal(p.frames, 7);
    assert_int_equal(p.shapes, 2);
    assert_int_equal(p.seed, 42);
    assert_true(parsed("pattern:@10").fps == 10);
    assert_int_equal(parsed("pattern:seed=3:320x240").width, 320);
    assert_int_equal(parsed("pattern:frames=0").frames, 0);
}

static void test_bad_parts_are_named(void **state)
{
    static const char *const bad[] = {"pattern:8x8",       "pattern:640x",      "pattern:99999x10",
                                      "pattern:640x480@0", "pattern:@fast",     "pattern:shapes=4",
                                      "pattern:shapes=0",  "pattern:frames=-1", "pattern:frames=1k",
                                      "pattern:seed=",     "pattern:colour=red"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        om_pattern_params p;
        om_error_clear();
        assert_int_equal(om_pattern_parse(bad[i], &p), OM_ERR_ARG);
        assert_non_null(strstr(om_error_message(), "pattern: "));
        assert_non_null(strstr(om_error_message(), "expected"));
    }
}

/* Worked by hand from docs/pattern.md for 640x480, seed 1. */
static void test_known_places(void **state)
{
    om_pattern_params p = parsed("pattern:");
    static const struct {
        uint64_t n;
        int shape, x, y, w, h;
    } known[] = {
        {0, 0, 36, 16, 64, 56},   /* phases 37 and 17 */
        {10, 0, 76, 56, 64, 56},  /* steps 4 and 4 */
        {0, 1, 250, 176, 76, 66}, /* 37 + 213 and 17 + 160; w = even(76.8), h = even(67.2) */
        {1, 1, 256, 178, 76, 66}, /* steps 6 and 2 */
        {0, 2, 462, 336, 88, 76}, /* 37 + 426 = 463, 17 + 320 = 337 */
    };
    for (size_t i = 0; i < 5; i++) {
        int x, y, w, h;
        om_pattern_truth(&p, known[i].n, known[i].shape, &x, &y, &w, &h);
        assert_int_equal(x, known[i].x);
        assert_int_equal(y, known[i].y);
        assert_int_equal(w, known[i].w);
        assert_int_equal(h, known[i].h);
    }
}

static void test_shapes_stay_inside_and_even(void **state)
{
    static const char *const uris[] = {"pattern:16x16", "pattern:641x361:seed=9",
                                       "pattern:1920x1080:seed=1000000"};
    for (size_t u = 0; u < 3; u++) {
        om_pattern_params p = parsed(uris[u]);
        for (uint64_t n = 0; n < 5000; n += 7)
            for (int i = 0; i < 3; i++) {
                int x, y, w, h;
                om_pattern_truth(&p, n, i, &x, &y, &w, &h);
                assert_true(x >= 0 && y >= 0 && x + w <= p.width && y + h <= p.height);
                assert_int_equal((x | y | w | h) & 1, 0);
            }
    }
    om_pattern_params p = parsed("pattern:");
    int x, y, w, h;
    om_pattern_truth(&p, UINT64_MAX / 16, 2, &x, &y, &w, &h);
    assert_true(x >= 0 && x + w <= 640);
}

static const uint8_t *pixel(const om_frame *f, int plane, int x, int y)
{
    int shift = plane ? 1 : 0;
    return f->image.plane[plane] + (ptrdiff_t)(y >> shift) * f->image.stride[plane] + (x >> shift);
}

static void check_corners(const om_pattern_params *p, const om_frame *f, int shape, const uint8_t yuv[3])
{
    int x, y, w, h;
    om_pattern_truth(p, f->seq, shape, &x, &y, &w, &h);
    for (int plane = 0; plane < 3; plane++) {
        assert_int_equal(*pixel(f, plane, x, y), yuv[plane]);
        assert_int_equal(*pixel(f, plane, x + w - 1, y + h - 1), yuv[plane]);
    }
    if (x > 0) assert_int_equal(*pixel(f, 0, x - 1, y), 126);
    if (x + w < p->width) assert_int_equal(*pixel(f, 0, x + w, y + h - 1), 126);
}

static void test_pixels(void **state)
{
    static const char uri[] = "pattern:320x240@50:frames=4:seed=5:shapes=1";
    static const uint8_t red[3] = {81, 90, 240};
    om_pattern_params p = parsed(uri);
    om_source_params params = {0};
    om_source_counts counts = {0};
    om_source *s;
    assert_int_equal(om_source_open(uri, &params, &counts, &s), OM_OK);
    assert_string_equal(s->info.kind, "pattern");
    for (uint64_t n = 0; n < 4; n++) {
        om_frame *f;
        assert_int_equal(om_source_read(s, &f), OM_OK);
        assert_int_equal(f->seq, n);
        assert_int_equal(f->pts_ns, (int64_t)n * 20000000);
        assert_int_equal(f->image.fmt, OM_PIX_I420);
        assert_int_equal(f->image.range, OM_RANGE_LIMITED);
        check_corners(&p, f, 0, red);
        om_frame_unref(f);
    }
    om_frame *f;
    assert_int_equal(om_source_read(s, &f), OM_ERR_EOF);
    assert_null(f);
    om_source_close(s);
    assert_int_equal(atomic_load(&counts.received), 4);
    assert_int_equal(atomic_load(&counts.decoded), 4);
}

static void test_loop_goes_on(void **state)
{
    om_source_params params = {.loop = true};
    om_source_counts counts = {0};
    om_source *s;
    assert_int_equal(om_source_open("pattern:32x32:frames=2", &params, &counts, &s), OM_OK);
    for (uint64_t n = 0; n < 7; n++) {
        om_frame *f;
        assert_int_equal(om_source_read(s, &f), OM_OK);
        assert_int_equal(f->seq, n);
        om_frame_unref(f);
    }
    om_source_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_part),
        cmocka_unit_test(test_bad_parts_are_named),
        cmocka_unit_test(test_known_places),
        cmocka_unit_test(test_shapes_stay_inside_and_even),
        cmocka_unit_test(test_pixels),
        cmocka_unit_test(test_loop_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
