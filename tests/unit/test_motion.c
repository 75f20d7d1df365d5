#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernel/motion.h"

static om_frame *flat(om_pixfmt fmt, int w, int h, int level)
{
    om_frame *f;
    assert_int_equal(om_frame_create(fmt, w, h, &f), OM_OK);
    for (int p = 0; p < om_pixfmt_get(fmt)->planes; p++) {
        int bytes, rows;
        om_pixfmt_plane_size(fmt, p, w, h, &bytes, &rows);
        for (int y = 0; y < rows; y++) {
            uint8_t *row = f->image.plane[p] + (ptrdiff_t)y * f->image.stride[p];
            memset(row, level, (size_t)bytes);
            if (om_pixfmt_get(fmt)->sample_bytes == 1) continue;
            uint16_t v = (uint16_t)(fmt == OM_PIX_P010 ? level << 8 : level << 2);
            for (int x = 0; x < bytes / 2; x++) memcpy(row + 2 * x, &v, 2);
        }
    }
    return f;
}

/* In every format that holds a picture: the first one is fresh, the same again has no motion, a change of
 * level has as much as it is. */
static void levels_in_every_format(void **state)
{
    for (om_pixfmt fmt = OM_PIX_NONE + 1; fmt < OM_PIX_COUNT; fmt++) {
        om_motion m;
        om_motion_level l;
        om_frame *a = flat(fmt, 321, 181, 100), *b = flat(fmt, 321, 181, 112);
        assert_int_equal(om_motion_init(&m, 64, 36, 8), OM_OK);
        assert_int_equal(om_motion_update(&m, &a->image, &l), OM_OK);
        assert_true(l.fresh && l.changed == 1 && l.mean == 0);
        assert_int_equal(om_motion_update(&m, &a->image, &l), OM_OK);
        assert_true(!l.fresh && l.changed == 0 && l.mean == 0);
        assert_int_equal(om_motion_update(&m, &b->image, &l), OM_OK);
        assert_true(!l.fresh && l.changed == 1);
        assert_float_equal(l.mean, 12, 0.01);
        om_motion_forget(&m);
        assert_int_equal(om_motion_update(&m, &b->image, &l), OM_OK);
        assert_true(l.fresh);
        om_motion_fini(&m);
        om_frame_unref(a);
        om_frame_unref(b);
    }
}

/* A square of a sixteenth of the picture moves by its own width: an eighth of the cells change. */
static void share_of_the_picture(void **state)
{
    om_motion m;
    om_motion_level l;
    om_frame *a = flat(OM_PIX_NV12, 640, 320, 50), *b = flat(OM_PIX_NV12, 640, 320, 50);
    for (int y = 0; y < 80; y++) {
        memset(a->image.plane[0] + y * a->image.stride[0], 200, 160);
        memset(b->image.plane[0] + y * b->image.stride[0] + 160, 200, 160);
    }
    assert_int_equal(om_motion_init(&m, 32, 16, 8), OM_OK);
    assert_int_equal(om_motion_update(&m, &a->image, &l), OM_OK);
    assert_int_equal(om_motion_update(&m, &b->image, &l), OM_OK);
    assert_float_equal(l.changed, 1 / 8.0, 1e-6);
    assert_float_equal(l.mean, 150 / 8.0, 1e-3);
    om_motion_fini(&m);
    om_frame_unref(a);
    om_frame_unref(b);
}

/* Noise that the mean of a cell takes away is none. */
static void noise_is_no_motion(void **state)
{
    om_motion m;
    om_motion_level l;
    om_frame *f = flat(OM_PIX_GRAY8, 1280, 720, 128);
    srand(1);
    assert_int_equal(om_motion_init(&m, 64, 36, 8), OM_OK);
    for (int i = 0; i < 3; i++) {
        for (int y = 0; y < 720; y++)
            for (int x = 0; x < 1280; x++)
                f->image.plane[0][y * f->image.stride[0] + x] = (uint8_t)(118 + rand() % 21);
        assert_int_equal(om_motion_update(&m, &f->image, &l), OM_OK);
    }
    assert_true(!l.fresh && l.changed == 0 && l.mean < 2);
    om_motion_fini(&m);
    om_frame_unref(f);
}

/* Sizes change, and pictures may be smaller than the grid. */
static void any_size(void **state)
{
    static const int sizes[][2] = {{1, 1}, {3, 2}, {64, 36}, {63, 1000}, {1920, 1080}, {1, 700}};
    om_motion m;
    om_motion_level l;
    assert_int_equal(om_motion_init(&m, 64, 36, 8), OM_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        om_frame *f = flat(OM_PIX_I420, sizes[i][0], sizes[i][1], 80),
                 *g = flat(OM_PIX_I420, sizes[i][0], sizes[i][1], 90);
        assert_int_equal(om_motion_update(&m, &f->image, &l), OM_OK);
        assert_true(l.fresh);
        assert_int_equal(om_motion_update(&m, &g->image, &l), OM_OK);
        assert_true(!l.fresh && l.changed == 1);
        assert_float_equal(l.mean, 10, 0.01);
        om_frame_unref(f);
        om_frame_unref(g);
    }
    om_motion_fini(&m);
}

static void wrong_calls(void **state)
{
    om_motion m;
    om_motion_level l;
    om_image none = {0};
    assert_int_equal(om_motion_init(&m, 0, 36, 8), OM_ERR_ARG);
    assert_int_equal(om_motion_init(&m, 64, 257, 8), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "64x257"));
    assert_int_equal(om_motion_init(&m, 64, 36, NAN), OM_ERR_ARG);
    om_motion_fini(&m);
    om_motion_fini(NULL);
    assert_int_equal(om_motion_init(&m, 64, 36, 8), OM_OK);
    assert_int_equal(om_motion_update(&m, &none, &l), OM_ERR_UNSUPPORTED);
    om_motion_fini(&m);
    om_frame *f = flat(OM_PIX_GRAY8, 20, 20, 1);
    for (long n = 0; n < 3; n++) {
        om_mem_fail_after(n);
        int rc = om_motion_init(&m, 64, 36, 8);
        if (rc == OM_OK) rc = om_motion_update(&m, &f->image, &l);
        assert_int_equal(rc, OM_ERR_NOMEM);
        om_mem_fail_after(-1);
        om_motion_fini(&m);
    }
    om_frame_unref(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_in_every_format),
        cmocka_unit_test(share_of_the_picture),
        cmocka_unit_test(noise_is_no_motion),
        cmocka_unit_test(any_size),
        cmocka_unit_test(wrong_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
