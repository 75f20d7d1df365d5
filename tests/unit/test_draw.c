#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "kernel/draw.h"
#include "kernel/draw_font.h"

#define BLACK 16
#define GRAY 128

static om_frame *blank(om_pixfmt fmt, int w, int h)
{
    om_frame *f;
    assert_int_equal(om_frame_create(fmt, w, h, &f), OM_OK);
    for (int p = 0; p < om_pixfmt_get(fmt)->planes; p++) {
        int bytes, rows;
        om_pixfmt_plane_size(fmt, p, w, h, &bytes, &rows);
        memset(f->image.plane[p], p ? GRAY : BLACK, (size_t)f->image.stride[p] * (size_t)rows);
    }
    return f;
}

static int luma(const om_frame *f, int x, int y)
{
    return f->image.plane[0][(ptrdiff_t)y * f->image.stride[0] + x];
}

/* Which chroma sample (0 or 1) serves pixel (x, y). */
static int chroma(const om_frame *f, int which, int x, int y)
{
    const om_image *m = &f->image;
    if (m->fmt == OM_PIX_NV12) return m->plane[1][(ptrdiff_t)(y / 2) * m->stride[1] + x / 2 * 2 + which];
    return m->plane[1 + which][(ptrdiff_t)(y / 2) * m->stride[1 + which] + x / 2];
}

static int touched(const om_frame *f, int x0, int y0, int x1, int y1)
{
    int n = 0;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) n += luma(f, x, y) != BLACK;
    return n;
}

/* BT.601 red: 81, 90, 240. */
static void fill_colours_planes(void **state)
{
    static const om_pixfmt formats[] = {OM_PIX_I420, OM_PIX_NV12};
    for (int i = 0; i < 2; i++) {
        om_frame *f = blank(formats[i], 17, 11);
        om_draw_fill(&f->image, 4, 4, 5, 4, (om_color){255, 0, 0, 255});
        assert_int_equal(luma(f, 4, 4), 81);
        assert_int_equal(luma(f, 8, 7), 81);
        assert_int_equal(luma(f, 9, 4), BLACK);
        assert_int_equal(luma(f, 4, 8), BLACK);
        assert_int_equal(chroma(f, 0, 4, 4), 90);
        assert_int_equal(chroma(f, 1, 4, 4), 240);
        assert_in_range(chroma(f, 1, 8, 4), (GRAY + 240) / 2 - 1,
                        (GRAY + 240) / 2 + 1); /* half of it is covered */
        assert_int_equal(chroma(f, 1, 10, 4), GRAY);
        om_draw_fill(&f->image, 0, 0, 2, 2, (om_color){255, 255, 255, 128});
        assert_in_range(luma(f, 0, 0), 125, 127);
        assert_int_equal(touched(f, 0, 0, 17, 11), 5 * 4 + 4);
        om_frame_unref(f);
    }
}

static void rect_is_an_outline(void **state)
{
    om_frame *f = blank(OM_PIX_I420, 40, 30);
    om_draw_rect(&f->image, 5, 6, 20, 12, 2, (om_color){255, 255, 255, 255});
    assert_int_equal(touched(f, 0, 0, 40, 30), 20 * 12 - 16 * 8);
    assert_int_equal(luma(f, 5, 6), 235);
    assert_int_equal(luma(f, 24, 17), 235);
    assert_int_equal(luma(f, 7, 8), BLACK);
    om_draw_rect(&f->image, 30, 20, 3, 3, 9, (om_color){255, 255, 255, 255}); /* thicker than it is wide */
    assert_int_equal(touched(f, 26, 18, 40, 30), 9);
    om_frame_unref(f);
}

static void everything_is_clipped(void **state)
{
    static const int far[] = {-100000, -7, -1, 0, 3, 12, 13, 50, 100000, 2147483647, -2147483647 - 1};
    om_color c = {10, 200, 90, 200};
    size_t n = sizeof(far) / sizeof(far[0]);
    for (om_pixfmt fmt = OM_PIX_NONE; fmt < OM_PIX_COUNT; fmt++) {
        if (!om_pixfmt_get(fmt)->planes) continue;
        om_frame *f = blank(fmt, 13, 9);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                om_draw_fill(&f->image, far[i], far[j], far[(i + j) % n], 20, c);
                om_draw_rect(&f->image, far[i], far[j], 30, far[(i + 3 * j) % n], 3, c);
                om_draw_line(&f->image, far[i], far[j], far[j], far[i], 3, c);
                om_draw_disc(&f->image, far[i], far[j], 5, c);
                om_draw_text(&f->image, far[i], far[j], 12, "clip", c);
                om_point path[] = {{(float)far[i], (float)far[j]}, {(float)far[j], 5}, {6, (float)far[i]}};
                om_draw_path(&f->image, path, 3, true, 3, c);
                om_draw_polygon(&f->image, path, 3, c);
            }
        om_frame_unref(f);
    }
}

static void lines_and_discs(void **state)
{
    om_frame *f = blank(OM_PIX_NV12, 64, 64);
    om_color white = {255, 255, 255, 255};
    om_draw_line(&f->image, 10, 20, 50, 20, 3, white);
    assert_int_equal(luma(f, 30, 20), 235);
    assert_int_equal(luma(f, 30, 21), 235);
    assert_int_equal(luma(f, 30, 23), BLACK);
    om_draw_disc(&f->image, 32, 45, 8, white);
    assert_int_equal(luma(f, 32, 45), 235);
    assert_int_equal(luma(f, 39, 45), 235);
    assert_int_equal(luma(f, 39, 52), BLACK);
    om_frame_unref(f);
}

/* Luma of a translucent shape is blended once, also where segments meet or the outline crosses itself. */
static void paths_and_polygons(void **state)
{
    static const om_pixfmt formats[] = {OM_PIX_I420, OM_PIX_NV12, OM_PIX_I422, OM_PIX_I444, OM_PIX_GRAY8};
    static const om_point square[] = {{10, 10}, {40, 10}, {40, 40}, {10, 40}};
    static const om_point askew[] = {{32, 4}, {60, 32}, {32, 60}, {4, 32}};
    static const om_point odd[] = {{NAN, 3}, {INFINITY, 4}, {-1e30f, 1e30f}, {9, 9}};
    om_color veil = {255, 255, 255, 128};
    int half = (BLACK * 127 + 235 * 129 + 128) >> 8;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        assert_true(om_draw_can(formats[i]));
        om_frame *f = blank(formats[i], 65, 65);
        om_draw_path(&f->image, square, 4, true, 4, veil);
        assert_int_equal(luma(f, 10, 25), half); /* the closing side too */
        assert_int_equal(luma(f, 10, 10), half);
        assert_int_equal(luma(f, 40, 40), half);
        assert_int_equal(luma(f, 25, 25), BLACK);
        om_draw_path(&f->image, square, 0, true, 4, veil);
        om_draw_path(&f->image, odd, 4, true, 4, veil);
        om_draw_path(&f->image, square + 2, 1, false, 9, veil); /* a dot */
        assert_true(luma(f, 40, 40) > half);
        om_frame_unref(f);

        f = blank(formats[i], 65, 65);
        om_draw_polygon(&f->image, askew, 4, veil);
        assert_int_equal(luma(f, 32, 32), half);
        assert_int_equal(luma(f, 32, 7), half);
        assert_int_equal(luma(f, 8, 8), BLACK);
        double area = 0;
        for (int y = 0; y < 65; y++)
            for (int x = 0; x < 65; x++) area += (double)(luma(f, x, y) - BLACK) / (half - BLACK);
        assert_float_equal(area, 2 * 28 * 28, 30);
        om_draw_polygon(&f->image, askew, 2, veil);
        om_draw_polygon(&f->image, odd, 4, veil);
        om_frame_unref(f);
    }
    static const om_pixfmt refused[] = {OM_PIX_NONE, OM_PIX_P010, OM_PIX_I010, OM_PIX_RGB24, OM_PIX_BGR24};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) assert_false(om_draw_can(refused[i]));
}

/* A fill is what blending pixel by pixel makes of it, at every offset. */
static void fills_at_every_offset(void **state)
{
    om_color veil = {0, 200, 0, 100};
    for (int x = 0; x < 9; x++)
        for (int w = 1; w < 20; w++) {
            om_frame *planar = blank(OM_PIX_I420, 40, 8), *pairs = blank(OM_PIX_NV12, 40, 8);
            om_draw_fill(&planar->image, x, 1, w, 5, veil);
            om_draw_fill(&pairs->image, x, 1, w, 5, veil);
            for (int y = 0; y < 8; y++)
                for (int at = 0; at < 40; at++) {
                    assert_int_equal(luma(planar, at, y), luma(pairs, at, y));
                    bool in = at >= x && at < x + w && y >= 1 && y < 6;
                    assert_int_equal(luma(planar, at, y) != BLACK, in);
                    for (int c = 0; c < 2; c++)
                        assert_int_equal(chroma(planar, c, at, y), chroma(pairs, c, at, y));
                }
            om_frame_unref(planar);
            om_frame_unref(pairs);
        }
}

static void every_character_is_drawn(void **state)
{
    static const int heights[] = {8, 12, 16, 24, 40, 90};
    for (size_t i = 0; i < sizeof(heights) / sizeof(heights[0]); i++) {
        int h = heights[i];
        for (int c = 33; c < 127; c++) {
            char text[2] = {(char)c, 0};
            om_frame *f = blank(OM_PIX_I420, 2 * h, h + 8);
            int width = om_draw_text(&f->image, 0, 2, h, text, (om_color){255, 255, 255, 255});
            assert_int_equal(width, om_draw_text_width(h, text));
            assert_true(touched(f, 0, 2, width + 1, h + 4) > 0);
            assert_int_equal(touched(f, 0, 0, 2 * h, 1), 0);
            assert_int_equal(touched(f, width + 2, 0, 2 * h, h + 8), 0);
            om_frame_unref(f);
        }
    }
    assert_true(om_draw_text_width(20, "a b") > om_draw_text_width(20, "ab"));
    assert_int_equal(om_draw_text_width(20, ""), 0);
}

/* Each glyph is well formed, and no two look alike. */
static void glyphs_differ(void **state)
{
    for (int c = ' '; c <= '~'; c++) {
        const char *glyph = om_font_glyph((unsigned char)c);
        for (const char *p = glyph; *p; p += *p == ' ' ? 1 : 2) {
            if (*p == ' ') continue;
            assert_true(p[0] >= '0' && p[0] <= '8');
            assert_non_null(strchr("0123456789abcdef", p[1]));
            assert_true(p[1] != 0);
        }
        for (int other = ' '; other < c; other++)
            assert_string_not_equal(glyph, om_font_glyph((unsigned char)other));
    }
    assert_string_equal(om_font_glyph(200), om_font_glyph(7));
}

static void neighbouring_colours_are_apart(void **state)
{
    for (int n = -3; n < 90; n++) {
        om_color a = om_draw_palette(n), b = om_draw_palette(n + 1);
        assert_int_equal(a.a, 255);
        int apart = abs(a.r - b.r) + abs(a.g - b.g) + abs(a.b - b.b);
        assert_true(apart > 120);
    }
}

static void detections_of_any_kind(void **state)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, -1e30f, 1e30f, 0, 5, 40, -20};
    static const char *const names[] = {"person"};
    om_labels labels = {names, 1};
    size_t n = sizeof(odd) / sizeof(odd[0]);
    om_frame *f = blank(OM_PIX_I420, 176, 144);
    om_dets d = {0};
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            om_detection *det = om_dets_add(&d);
            *det = (om_detection){odd[i],
                                  odd[j],
                                  odd[(i + j) % n],
                                  odd[(i * j) % n],
                                  .score = odd[i],
                                  .class_id = (int)i - 2,
                                  .track = (int)j - 1,
                                  .n_landmarks = 1,
                                  .landmarks = {{odd[j], odd[i]}},
                                  .has_quad = i % 2,
                                  .quad = {{odd[i], odd[j]}, {odd[j], 3}, {9, odd[i]}, {odd[i], odd[i]}}};
        }
    assert_int_equal(om_dets_set_text(&d, &d.items[0],
                                      "a text that is far longer than any label that fits into a small "
                                      "picture, so that it is cut",
                                      1),
                     OM_OK);
    om_draw_dets(&f->image, &d, &labels);
    om_dets_clear(&d);
    om_frame_unref(f);

    /* The label of a box in each corner stays within the picture: it is drawn as large there as in the
     * middle. */
    int areas[5];
    static const float at[5][2] = {{60, 60}, {-10, -10}, {170, -10}, {-10, 140}, {170, 140}};
    for (int i = 0; i < 5; i++) {
        f = blank(OM_PIX_I420, 176, 144);
        om_detection *det = om_dets_add(&d);
        *det = (om_detection){at[i][0], at[i][1], 1, 1, .score = 0.5f, .track = -1};
        om_draw_dets(&f->image, &d, &labels);
        areas[i] = touched(f, 0, 0, 176, 144);
        assert_true(areas[i] + 4 >= areas[0]);
        om_dets_clear(&d);
        om_frame_unref(f);
    }
    om_dets_fini(&d);
}

/* What was read makes the label taller, and stays within the picture in every corner. */
static void texts_stand_above(void **state)
{
    static const float at[5][2] = {{60, 60}, {-10, -10}, {170, -10}, {-10, 140}, {170, 140}};
    om_dets d = {0};
    int areas[2][5];
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 5; i++) {
            om_frame *f = blank(OM_PIX_I420, 176, 144);
            om_detection *det = om_dets_add(&d);
            *det = (om_detection){at[i][0], at[i][1], 1, 1, .score = 0.5f, .track = -1};
            if (k) assert_int_equal(om_dets_set_text(&d, det, "A8K526", 0.9f), OM_OK);
            om_draw_dets(&f->image, &d, NULL);
            areas[k][i] = touched(f, 0, 0, 176, 144);
            om_dets_clear(&d);
            om_frame_unref(f);
        }
    assert_true(areas[1][0] > 2 * areas[0][0]);
    for (int i = 1; i < 5; i++) assert_true(areas[1][i] + 4 >= areas[1][0]);
    om_dets_fini(&d);
}

/* Only what was seen in this very picture. */
static void answers_of_this_picture(void **state)
{
    om_answers a = {0};
    om_frame *f = blank(OM_PIX_I420, 176, 144);
    for (int i = 0; i < 4; i++) {
        om_answer *x = om_answers_add(&a);
        assert_non_null(x);
        x->seq = i == 0 ? 7 : 8;
        x->missing = i == 1 ? "queue" : NULL;
        if (i < 2) x->det = (om_detection){20, 20, 40, 30, .class_id = 0};
        if (i == 2) x->det.text = "no place of its own";
        if (i == 3) x->det = (om_detection){100, 100, 40, 30, .class_id = 1};
    }
    om_draw_answers(&f->image, &a, 8);
    assert_int_equal(touched(f, 0, 0, 90, 90), 0);
    assert_true(touched(f, 90, 90, 176, 144) > 100);
    om_answers_fini(&a);
    om_frame_unref(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fill_colours_planes),
        cmocka_unit_test(rect_is_an_outline),
        cmocka_unit_test(everything_is_clipped),
        cmocka_unit_test(lines_and_discs),
        cmocka_unit_test(paths_and_polygons),
        cmocka_unit_test(fills_at_every_offset),
        cmocka_unit_test(every_character_is_drawn),
        cmocka_unit_test(glyphs_differ),
        cmocka_unit_test(neighbouring_colours_are_apart),
        cmocka_unit_test(detections_of_any_kind),
        cmocka_unit_test(texts_stand_above),
        cmocka_unit_test(answers_of_this_picture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
