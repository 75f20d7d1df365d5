#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "folder.h"
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
                om_draw_text(&f->image, far[i], far[j], 12, "clip", NULL, c);
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
            int width = om_draw_text(&f->image, 0, 2, h, text, NULL, (om_color){255, 255, 255, 255});
            assert_int_equal(width, om_draw_text_width(h, text, NULL));
            assert_true(touched(f, 0, 2, width + 1, h + 4) > 0);
            assert_int_equal(touched(f, 0, 0, 2 * h, 1), 0);
            assert_int_equal(touched(f, width + 2, 0, 2 * h, h + 8), 0);
            om_frame_unref(f);
        }
    }
    assert_true(om_draw_text_width(20, "a b", NULL) > om_draw_text_width(20, "ab", NULL));
    assert_int_equal(om_draw_text_width(20, "", NULL), 0);
}

static void assert_well_formed(const om_glyph *g)
{
    for (int i = 0; i < g->n; i++)
        for (const char *p = g->parts[i].strokes; *p; p += *p == ' ' ? 1 : 2) {
            if (*p == ' ') continue;
            assert_non_null(strchr("0123456789abc", p[0]));
            assert_non_null(strchr("123456789abcdef", p[1]));
        }
}

/* Each glyph is well formed, and no two look alike. */
static void glyphs_differ(void **state)
{
    om_glyph g, h;
    for (uint32_t c = ' '; c <= '~'; c++) {
        assert_true(om_font_glyph(c, &g));
        assert_int_equal(g.n, 1);
        assert_well_formed(&g);
        for (uint32_t other = ' '; other < c; other++) {
            om_font_glyph(other, &h);
            assert_string_not_equal(g.parts[0].strokes, h.parts[0].strokes);
        }
    }
    assert_false(om_font_glyph(7, &g));
    assert_false(om_font_glyph(0x6f22, &h));
    assert_string_equal(g.parts[0].strokes, h.parts[0].strokes);
}

#define CELL 32

/* The luma of a text in a cell of its own. */
static om_frame *written(const char *text, const om_font *font)
{
    om_frame *f = blank(OM_PIX_GRAY8, 4 * CELL, CELL + 4);
    om_draw_text(&f->image, 2, 2, CELL, text, font, (om_color){255, 255, 255, 255});
    return f;
}

static bool look_alike(const char *a, const char *b, const om_font *font)
{
    om_frame *x = written(a, font), *y = written(b, font);
    bool same = true;
    for (int row = 0; row < CELL + 4 && same; row++)
        same = !memcmp(x->image.plane[0] + (ptrdiff_t)row * x->image.stride[0],
                       y->image.plane[0] + (ptrdiff_t)row * y->image.stride[0], 4 * CELL);
    om_frame_unref(x);
    om_frame_unref(y);
    return same;
}

static const char *utf8(uint32_t c)
{
    static char text[8];
    text[om_utf8_encode(c, text)] = '\0';
    return text;
}

/* All letters of Latin-1, Latin Extended-A, modern Greek, Cyrillic and Vietnamese, within their cells. */
static void letters_beyond_ascii(void **state)
{
    static const uint32_t ranges[][2] = {{0xa1, 0x17f},    {0x386, 0x386},   {0x388, 0x38a},  {0x38c, 0x38c},
                                         {0x38e, 0x3a1},   {0x3a3, 0x3ce},   {0x400, 0x45f},  {0x490, 0x493},
                                         {0x1ea0, 0x1ef9}, {0x2013, 0x2014}, {0x20ac, 0x20ac}};
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
        for (uint32_t c = ranges[r][0]; c <= ranges[r][1]; c++) {
            om_glyph g;
            if (!om_font_glyph(c, &g)) fail_msg("U+%04X is lacking", c);
            assert_well_formed(&g);
            assert_in_range((int)g.width, 0, 14);
            om_frame *f = written(utf8(c), NULL);
            int width = om_draw_text_width(CELL, utf8(c), NULL);
            assert_true(touched(f, 2, 2, 2 + width, CELL + 4) > 0);
            if (touched(f, 0, 0, 4 * CELL, 2) || touched(f, 3 + width, 0, 4 * CELL, CELL + 4))
                fail_msg("U+%04X leaves its cell", c);
            om_frame_unref(f);
        }
    static const char *const pairs[][2] = {{"Ä", "A"}, {"ä", "a"}, {"ö", "o"}, {"Ö", "Ó"}, {"é", "è"},
                                           {"ñ", "n"}, {"ř", "r"}, {"ş", "s"}, {"ž", "ź"}, {"Б", "В"},
                                           {"й", "и"}, {"ё", "е"}, {"Ш", "Щ"}, {"ώ", "ω"}, {"Σ", "Ξ"},
                                           {"ế", "ê"}, {"ø", "o"}, {"ß", "b"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_false(look_alike(pairs[i][0], pairs[i][1], NULL));
}

/* One character, however it is written. */
static void characters_of_several_forms(void **state)
{
    assert_true(look_alike("\u00fc", "u\u0308", NULL)); /* put together, and letter with mark */
    assert_true(look_alike("\u0439", "\u0438\u0306", NULL));
    assert_true(look_alike("\u1ebf", "e\u0302\u0301", NULL));
    assert_true(look_alike("i\u0301", "\u00ed", NULL));  /* the dot is gone */
    assert_true(look_alike("\uff21\uff11", "A1", NULL)); /* as wide as Chinese */
    assert_true(look_alike("A\u00a0B\u200b", "A B", NULL));
    assert_true(look_alike("\ufeff"
                           "AB",
                           "AB", NULL));
    assert_int_equal(om_draw_text_width(CELL, "\u200b\ufe0f", NULL), 0);
    for (int n = 0; n < 9; n++) { /* more marks than a letter can carry */
        char text[32] = "a";
        for (int i = 0; i < n; i++) strcat(text, "\u0301");
        om_frame_unref(written(text, NULL));
    }
    om_frame_unref(written("\u0301", NULL));
}

/* A character that nobody has is one box, and so is a byte that begins none. */
static void unknown_characters(void **state)
{
    int box = om_draw_text_width(CELL, "\u6f22", NULL);
    assert_true(box > 0);
    assert_int_equal(om_draw_text_width(CELL, "\u6f22\u5b57", NULL), 2 * box);
    assert_int_equal(om_draw_text_width(CELL, "\xff\xfe", NULL), 2 * box);
    assert_int_equal(om_draw_text_width(CELL, "\xe6\xbc", NULL), 2 * box); /* cut off */
    assert_int_equal(om_draw_text_width(CELL, "\xc0\x80", NULL), 2 * box); /* longer than it has to be */
    assert_true(look_alike("\u6f22", "\xff", NULL));
    assert_true(look_alike("\u6f22", "\x07", NULL));
    assert_false(look_alike("\u6f22", "0", NULL));
}

#define SQUARE "FFFF80018001800180018001800180018001800180018001800180018001FFFF"
#define HALF "000000FF00000000000000000000FF00"

static void a_font_from_a_file(void **state)
{
    om_font *font;
    int columns;
    const char *path = folder_file("a.hex", "# two of them, one twice\n6F22:" SQUARE "\r\n\n0041:" HALF
                                            "\n10ffff:" HALF "\n6f22:" SQUARE);
    assert_int_equal(om_font_load(path, &font), OM_OK);
    assert_null(om_font_rows(font, 0x6f23, &columns));
    assert_null(om_font_rows(NULL, 0x6f22, &columns));
    assert_non_null(om_font_rows(font, 0x10ffff, &columns));
    assert_int_equal(columns, 8);
    assert_int_equal(om_font_rows(font, 0x6f22, &columns)[2], 0x80);
    assert_int_equal(columns, 16);
    assert_int_equal(om_draw_text_width(CELL, "\u6f22", font), CELL);
    om_frame *f =
        written("\u6f22", font); /* twice as large: rows and columns 0 and 15 of 16, two pixels each */
    assert_int_equal(touched(f, 0, 0, 4 * CELL, CELL + 4), CELL * CELL - (CELL - 4) * (CELL - 4));
    assert_int_equal(luma(f, 2, 2), 235);
    assert_int_equal(luma(f, CELL + 1, CELL + 1), 235);
    assert_int_equal(luma(f, CELL / 2, CELL / 2), BLACK);
    om_frame_unref(f);
    for (int height = 5; height < 40; height++) { /* and at any other size it keeps its brightness */
        f = blank(OM_PIX_GRAY8, 64, 64);
        om_draw_text(&f->image, 3, 3, height, "\u6f22", font, (om_color){255, 255, 255, 255});
        double sum = 0;
        for (int y = 0; y < 64; y++)
            for (int x = 0; x < 64; x++) sum += (luma(f, x, y) - BLACK) / 219.0;
        assert_float_equal(sum, 60.0 / 256 * height * height, 0.02 * height * height + 2);
        assert_int_equal(touched(f, 0, 0, 64, 3) + touched(f, height + 4, 0, 64, 64), 0);
        om_frame_unref(f);
    }
    assert_true(look_alike("A", "A", font));
    assert_int_equal(om_draw_text_width(CELL, "A", font),
                     om_draw_text_width(CELL, "A", NULL)); /* own first */
    om_font_destroy(font);
    om_font_destroy(NULL);
}

static void fonts_that_are_none(void **state)
{
    static const struct {
        const char *text, *said;
    } bad[] = {{"", "no character"},
               {"# nothing\n\n", "no character"},
               {"0041" HALF "\n", ":1:"},
               {"0041:" HALF "\nhello\n", ":2:"},
               {"0041:FF\n", ":1:"},
               {"0041:" HALF "0\n", ":1:"},
               {"0041:" SQUARE SQUARE SQUARE "\n", ":1:"},
               {"110000:" HALF "\n", ":1:"},
               {"000000041:" HALF "\n", ":1:"},
               {":" HALF "\n", ":1:"},
               {"0041:" HALF " x\n", ":1:"},
               {"STARTFONT 2.1\nFONT x\n", ":1:"}};
    om_font *font;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(om_font_load(folder_file("bad.hex", bad[i].text), &font), OM_ERR_FORMAT);
        assert_null(font);
        assert_non_null(strstr(om_error_message(), "bad.hex"));
        if (!strstr(om_error_message(), bad[i].said)) fail_msg("%zu: %s", i, om_error_message());
    }
    assert_int_equal(om_write_file_atomic(folder_path("n.hex"), "0041:\0", 6), OM_OK);
    assert_int_equal(om_font_load(folder_path("n.hex"), &font), OM_ERR_FORMAT);
    assert_int_equal(om_font_load(folder_path("none.hex"), &font), OM_ERR_NOT_FOUND);
    folder_file("good.hex", "0041:" HALF "\n6F22:" SQUARE "\n");
    for (long n = 0;; n++) {
        om_mem_fail_after(n);
        int err = om_font_load(folder_path("good.hex"), &font);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        if (!met) {
            assert_int_equal(err, OM_OK);
            om_font_destroy(font);
            break;
        }
        assert_int_equal(err, OM_ERR_NOMEM);
        assert_null(font);
    }
}

static om_frame *labelled(const char *end)
{
    om_dets d = {0};
    char text[2 * 60 + 1] = "";
    for (int i = 0; i < 49; i++) strcat(text, "\u0431");
    strcat(text, end);
    om_detection *det = om_dets_add(&d);
    *det = (om_detection){10, 60, 1, 1, .score = 0.5f, .track = -1};
    assert_int_equal(om_dets_set_text(&d, det, text, 0.9f), OM_OK);
    om_frame *f = blank(OM_PIX_GRAY8, 1200, 100);
    om_draw_dets(&f->image, &d, NULL, NULL);
    om_dets_fini(&d);
    return f;
}

static int pixels_apart(const om_frame *a, const om_frame *b)
{
    int apart = 0;
    for (int y = 0; y < a->image.height; y++)
        for (int x = 0; x < a->image.width; x++) apart += luma(a, x, y) != luma(b, x, y);
    return apart;
}

/* Between characters, by their number and not by their bytes. */
static void long_texts_are_cut(void **state)
{
    om_frame *whole = labelled("\u0416"), *longer = labelled("\u0416\u0416\u0416"),
             *other = labelled("\u042e");
    assert_int_equal(pixels_apart(whole, longer), 0);
    assert_true(pixels_apart(whole, other) > 0);
    om_frame_unref(whole);
    om_frame_unref(longer);
    om_frame_unref(other);
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
    om_draw_dets(&f->image, &d, &labels, NULL);
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
        om_draw_dets(&f->image, &d, &labels, NULL);
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
            om_draw_dets(&f->image, &d, NULL, NULL);
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
        cmocka_unit_test(letters_beyond_ascii),
        cmocka_unit_test(characters_of_several_forms),
        cmocka_unit_test(unknown_characters),
        cmocka_unit_test(a_font_from_a_file),
        cmocka_unit_test(fonts_that_are_none),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(neighbouring_colours_are_apart),
        cmocka_unit_test(detections_of_any_kind),
        cmocka_unit_test(texts_stand_above),
        cmocka_unit_test(answers_of_this_picture),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
