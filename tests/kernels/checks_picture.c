#include "checks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "cases.h"
#include "reference.h"

#define LETTERBOX_CASES 4000
#define ROI_CASES 1000
#define WARP_CASES 1500

typedef struct picture {
    om_image img;
    guarded plane[3];
} picture;

/* Mostly noise, now and then two values or one: there roundings add up instead of cancelling. */
static void fill_plane(om_pixfmt fmt, uint8_t *p, size_t size)
{
    uint32_t low = draw(1024), high = draw(1024), kind = draw(6);
    bool wide = om_pixfmt_get(fmt)->sample_bytes == 2;
    for (size_t i = 0; i + (wide ? 1 : 0) < size; i += wide ? 2 : 1) {
        uint32_t sample = kind == 0 ? low : kind == 1 ? (draw(2) ? low : high) : draw(1024);
        uint16_t v = (uint16_t)(sample << (fmt == OM_PIX_P010 ? 6 : 0));
        if (wide) memcpy(p + i, &v, sizeof(v));
        else p[i] = (uint8_t)(sample >> 2);
    }
}

static void picture_new(picture *pic, om_pixfmt fmt, int w, int h)
{
    *pic = (picture){.img = {.fmt = fmt, .width = w, .height = h}};
    pic->img.range = draw(2) ? OM_RANGE_FULL : OM_RANGE_LIMITED;
    pic->img.matrix = (om_matrix)draw(3);
    for (int p = 0; p < om_pixfmt_get(fmt)->planes; p++) {
        int bytes, rows;
        om_pixfmt_plane_size(fmt, p, w, h, &bytes, &rows);
        int stride = bytes + (int)draw(3) * (int)draw(40);
        if (om_pixfmt_get(fmt)->sample_bytes == 2) stride &= ~1;
        size_t size = (size_t)stride * (size_t)(rows - 1) + (size_t)bytes;
        pic->plane[p] = guarded_new(size, draw(2));
        fill_plane(fmt, pic->plane[p].data, size);
        bool upside_down = draw(3) == 0;
        pic->img.plane[p] = pic->plane[p].data + (upside_down ? (size_t)stride * (size_t)(rows - 1) : 0);
        pic->img.stride[p] = upside_down ? -stride : stride;
    }
}

static void picture_free(picture *pic)
{
    for (int p = 0; p < om_pixfmt_get(pic->img.fmt)->planes; p++) guarded_free(&pic->plane[p]);
}

static void draw_prep(om_prep *p)
{
    static const om_dtype dtypes[] = {OM_DTYPE_F32, OM_DTYPE_F16, OM_DTYPE_BF16, OM_DTYPE_U8, OM_DTYPE_I8};
    *p = (om_prep){.layout = (om_layout)draw(2),
                   .channels = (om_channels)draw(3),
                   .dtype = dtypes[draw(5)],
                   .filter = (om_filter)draw(3)};
    bool plain = draw(2);
    for (int c = 0; c < 3; c++) {
        p->mean[c] = plain ? 0 : draw_float(90, 140);
        p->scale[c] = plain ? 1 / 255.0f : draw_float(-0.05f, 0.05f);
        p->scale[c] += p->scale[c] == 0 ? 1 : 0;
        p->pad[c] = (float)draw(256);
    }
    if (p->dtype == OM_DTYPE_I8) {
        p->zero_point = (int)draw(256) - 128;
        for (int c = 0; c < 3; c++) p->scale[c] = draw_float(0.3f, 1.2f);
    }
}

static void draw_geometry(om_geometry *g, int w, int h)
{
    int dst_w = 1 + (int)draw(draw(4) ? 40 : 150), dst_h = 1 + (int)draw(40);
    om_geometry_fit((om_fit)draw(4), w, h, dst_w, dst_h, g);
    if (draw(3) == 0) {
        g->src_x = (int)draw((uint32_t)w);
        g->src_y = (int)draw((uint32_t)h);
        g->src_w = 1 + (int)draw((uint32_t)(w - g->src_x));
        g->src_h = 1 + (int)draw((uint32_t)(h - g->src_y));
    }
}

typedef struct letterbox_case {
    picture pic;
    om_geometry g;
    om_prep p;
    size_t count;
    guarded dst;
} letterbox_case;

static void case_new(letterbox_case *c)
{
    int w = 1 + (int)draw(draw(4) ? 50 : 400), h = 1 + (int)draw(50);
    picture_new(&c->pic, (om_pixfmt)(1 + draw(OM_PIX_COUNT - 1)), w, h);
    draw_geometry(&c->g, w, h);
    draw_prep(&c->p);
    c->count = (size_t)c->g.dst_w * (size_t)c->g.dst_h * (c->p.channels == OM_CHANNELS_GRAY ? 1 : 3);
    c->dst = guarded_new(c->count * om_dtype_size(c->p.dtype), draw(2));
    memset(c->dst.data, 0x5a, c->count * om_dtype_size(c->p.dtype));
}

static void case_free(letterbox_case *c)
{
    picture_free(&c->pic);
    guarded_free(&c->dst);
}

/* How far a table's arithmetic may lie from exact arithmetic, in levels of 0..255: single precision, or
 * 16-bit fixed point where there are vectors. */
static double level_bound(const om_kernels *k) { return strcmp(k->name, "c") == 0 ? 1e-3 : 0.125; }

/* In units of the element: the arithmetic, then the rounding to the type. */
static double bound_of(const om_prep *p, double v, double scale, double level)
{
    double arithmetic = level * fabs(scale) + fabs(v) * 1e-6;
    switch (p->dtype) {
    case OM_DTYPE_F16: return arithmetic + fmax(fabs(v) / 2048, 3e-8) * 1.001;
    case OM_DTYPE_BF16: return arithmetic + fabs(v) / 256 * 1.001;
    case OM_DTYPE_U8:
    case OM_DTYPE_I8: return 0.5 + arithmetic;
    default: return arithmetic;
    }
}

static double expected(const om_prep *p, double v)
{
    if (p->dtype == OM_DTYPE_I8) return fmin(fmax(v + p->zero_point, -128), 127);
    return v;
}

/* Of elements that are not rounded to a short type, in levels: the largest error, the sum of all, of how
 * many. */
typedef struct errors {
    double worst, sum;
    size_t n;
} errors;

/* The element at which a tensor leaves the bound, or -1. What is not a number in `want` may be anything. */
static long compare(const om_prep *p, const void *got, const double *want, size_t count, size_t plane,
                    double level, errors *e)
{
    size_t channels = count / plane;
    for (size_t i = 0; i < count; i++) {
        if (isnan(want[i])) continue;
        size_t channel = p->layout == OM_LAYOUT_NCHW ? i / plane : i % channels;
        double scale = p->dtype == OM_DTYPE_U8 ? 1 : p->scale[channel];
        double v = expected(p, want[i]), error = fabs(tensor_value(got, p->dtype, i) - v);
        double bound = bound_of(p, v, scale, level);
        if (p->dtype == OM_DTYPE_F32) {
            e->worst = fmax(e->worst, error / fabs(scale));
            e->sum += error / fabs(scale);
            e->n++;
        }
        if (!(error <= bound)) return (long)i;
    }
    return -1;
}

static void print_failure(const char *what, const om_image *img, const om_prep *p, int dst_w, int dst_h,
                          long i, double got, double want)
{
    printf("FAILED %s: %s %dx%d, range %d, matrix %d, to %dx%d, %s, layout %d, channels %d, filter %d: "
           "element %ld is %g, expected %g\n",
           what, om_pixfmt_get(img->fmt)->name, img->width, img->height, (int)img->range, (int)img->matrix,
           dst_w, dst_h, om_dtype_name(p->dtype), (int)p->layout, (int)p->channels, (int)p->filter, i, got,
           want);
}

static int compare_picture(const char *what, const om_kernels *k, const om_image *img, const om_geometry *g,
                           const om_prep *p, const void *got, size_t count, errors *e)
{
    double *want = malloc(count * sizeof(*want));
    if (!want) die("malloc");
    reference_letterbox(img, g, p, want);
    long at = compare(p, got, want, count, (size_t)g->dst_w * (size_t)g->dst_h, level_bound(k), e);
    if (at >= 0) {
        print_failure(what, img, p, g->dst_w, g->dst_h, at, tensor_value(got, p->dtype, (size_t)at),
                      expected(p, want[at]));
        printf("    from %d,%d %dx%d to %d,%d %dx%d\n", g->src_x, g->src_y, g->src_w, g->src_h, g->pad_x,
               g->pad_y, g->inner_w, g->inner_h);
    }
    free(want);
    return at >= 0;
}

static void print_result(const char *what, const om_kernels *k, int failed, int cases, const errors *e)
{
    printf("%s %s %-6s %d cases, bound %g level; of f32 the largest error %.4f, the mean %.5f level\n",
           failed ? "FAILED" : "ok", what, k->name, cases, level_bound(k), e->worst,
           e->n ? e->sum / (double)e->n : 0);
}

int check_letterbox(const om_kernels *k)
{
    int failed = 0;
    errors e = {0};
    draw_seed(1);
    for (int i = 0; i < LETTERBOX_CASES && failed < 10; i++) {
        letterbox_case c;
        case_new(&c);
        int err = k->letterbox(&c.pic.img, &c.g, &c.p, c.dst.data);
        failed +=
            err != 0 || compare_picture("letterbox", k, &c.pic.img, &c.g, &c.p, c.dst.data, c.count, &e);
        case_free(&c);
    }
    print_result("letterbox", k, failed, LETTERBOX_CASES, &e);
    return failed;
}

static float draw_edge(int size)
{
    static const float odd[] = {-1e9f, -1, 0, 0.4f, 0.6f, 1e9f, INFINITY, -INFINITY, NAN};
    return draw(12) == 0 ? odd[draw(9)] : draw_float(-0.5f * (float)size, 1.5f * (float)size);
}

/* Whole pixels of 0..size that a span takes; false where it takes none. */
static bool whole_span(double at, double length, int size, int *first, int *count)
{
    if (!(length > 0) || !(at < size) || !((float)at + (float)length > 0)) return false;
    double end = (float)at + (float)length;
    int from = (int)fmin(fmax(rint(at), 0), size - 1), to = (int)fmin(fmax(rint(end), from + 1), size);
    *first = from;
    *count = to - from;
    return true;
}

static int check_roi(const om_kernels *k, const om_image *img, om_fit fit, const om_prep *p, const om_roi *r,
                     int dst_w, int dst_h, size_t count, errors *e)
{
    int x, y, w, h;
    bool there = whole_span(r->x, r->w, img->width, &x, &w) && whole_span(r->y, r->h, img->height, &y, &h);
    om_geometry g = {.dst_w = dst_w, .dst_h = dst_h};
    if (there) {
        om_geometry_fit(fit, w, h, dst_w, dst_h, &g);
        g.src_x += x;
        g.src_y += y;
    }
    if (there != (r->status == OM_OK) || (r->status != OM_OK && r->status != OM_ERR_ARG) ||
        memcmp(&g, &r->geometry, sizeof(g)) != 0) {
        printf("FAILED rois: %g,%g %gx%g of %dx%d: status %d, reads %d,%d %dx%d, expected %d,%d %dx%d\n",
               r->x, r->y, r->w, r->h, img->width, img->height, r->status, r->geometry.src_x,
               r->geometry.src_y, r->geometry.src_w, r->geometry.src_h, g.src_x, g.src_y, g.src_w, g.src_h);
        return 1;
    }
    return compare_picture("rois", k, img, &g, p, r->dst, count, e);
}

int check_rois(const om_kernels *k)
{
    int failed = 0;
    errors e = {0};
    draw_seed(5);
    for (int i = 0; i < ROI_CASES && failed < 10; i++) {
        picture pic;
        om_prep p;
        om_roi rois[4];
        guarded dst[4];
        int n = (int)draw(5), dst_w = 1 + (int)draw(80), dst_h = 1 + (int)draw(20);
        om_fit fit = (om_fit)draw(4);
        picture_new(&pic, (om_pixfmt)(1 + draw(OM_PIX_COUNT - 1)), 1 + (int)draw(200), 1 + (int)draw(100));
        draw_prep(&p);
        size_t count = (size_t)dst_w * (size_t)dst_h * (p.channels == OM_CHANNELS_GRAY ? 1 : 3);
        for (int r = 0; r < n; r++) {
            dst[r] = guarded_new(count * om_dtype_size(p.dtype), draw(2));
            rois[r] = (om_roi){.x = draw_edge(pic.img.width),
                               .y = draw_edge(pic.img.height),
                               .w = draw_edge(pic.img.width),
                               .h = draw_edge(pic.img.height),
                               .dst = dst[r].data};
        }
        failed += k->rois(&pic.img, rois, (size_t)n, fit, dst_w, dst_h, &p) != 0;
        for (int r = 0; r < n; r++) {
            failed += check_roi(k, &pic.img, fit, &p, &rois[r], dst_w, dst_h, count, &e);
            guarded_free(&dst[r]);
        }
        picture_free(&pic);
    }
    print_result("rois", k, failed, ROI_CASES, &e);
    return failed;
}

/* Corners of a rectangle, each moved by up to a fifth of it: convex, and in part beyond the picture. */
static void draw_quad(float quad[8], int w, int h)
{
    float x = draw_float(-0.3f, 0.7f) * (float)w, y = draw_float(-0.3f, 0.7f) * (float)h;
    float wide = draw_float(0.1f, 1) * (float)w, high = draw_float(0.1f, 1) * (float)h;
    const float unit[8] = {0, 0, 1, 0, 1, 1, 0, 1};
    bool mirrored = draw(2);
    for (int i = 0; i < 8; i += 2) {
        float u = mirrored ? 1 - unit[i] : unit[i];
        quad[i] = x + (u + draw_float(-0.2f, 0.2f)) * wide;
        quad[i + 1] = y + (unit[i + 1] + draw_float(-0.2f, 0.2f)) * high;
    }
}

/* Without memory both kernels say so, and no other. */
static int survives(const om_kernels *k, const om_image *img, const om_prep *p, void *dst)
{
    const float quad[8] = {0, 0, 4, 0, 4, 4, 0, 4};
    om_geometry g;
    om_geometry_fit(OM_FIT_STRETCH, img->width, img->height, 1, 1, &g);
    om_mem_fail_after(0);
    bool letterbox = k->letterbox(img, &g, p, dst) == OM_ERR_NOMEM && om_mem_injected();
    om_mem_fail_after(0);
    bool warp = k->warp(img, quad, 1, 1, p, dst) == OM_ERR_NOMEM && om_mem_injected();
    om_mem_fail_after(-1);
    if (!letterbox || !warp) printf("FAILED out of memory: %s\n", letterbox ? "warp" : "letterbox");
    return !letterbox || !warp;
}

static int refuses(const om_kernels *k, const om_image *img, const om_prep *p, void *dst)
{
    static const float bad[][8] = {{0, 0, 10, 0, 10, NAN, 0, 10},  {0, 0, INFINITY, 0, 10, 10, 0, 10},
                                   {0, 0, 10, 10, 20, 20, 30, 30}, {5, 5, 5, 5, 5, 5, 5, 5},
                                   {0, 0, 10, 10, 10, 0, 0, 10},   {0, 0, 20, 0, 3, 3, 0, 20}};
    int failed = 0;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (k->warp(img, bad[i], 4, 4, p, dst) != OM_ERR_ARG) {
            printf("FAILED warp: corners %zu are no convex quadrilateral, and taken\n", i);
            failed++;
        }
    return failed;
}

int check_warp(const om_kernels *k)
{
    int failed = 0;
    errors e = {0};
    draw_seed(6);
    for (int i = 0; i < WARP_CASES && failed < 10; i++) {
        picture pic;
        om_prep p;
        float quad[8];
        int dst_w = 1 + (int)draw(80), dst_h = 1 + (int)draw(20);
        picture_new(&pic, (om_pixfmt)(1 + draw(OM_PIX_COUNT - 1)), 1 + (int)draw(200), 1 + (int)draw(100));
        draw_prep(&p);
        draw_quad(quad, pic.img.width, pic.img.height);
        size_t plane = (size_t)dst_w * (size_t)dst_h,
               count = plane * (p.channels == OM_CHANNELS_GRAY ? 1 : 3);
        guarded dst = guarded_new(count * om_dtype_size(p.dtype), draw(2));
        double *want = malloc(count * sizeof(*want));
        if (!want) die("malloc");
        reference_warp(&pic.img, quad, dst_w, dst_h, &p, want);
        int err = k->warp(&pic.img, quad, dst_w, dst_h, &p, dst.data);
        long at = err ? 0 : compare(&p, dst.data, want, count, plane, level_bound(k), &e);
        if (at >= 0)
            print_failure("warp", &pic.img, &p, dst_w, dst_h, at, tensor_value(dst.data, p.dtype, (size_t)at),
                          expected(&p, want[at]));
        failed += at >= 0;
        if (i == 0) failed += refuses(k, &pic.img, &p, dst.data) + survives(k, &pic.img, &p, dst.data);
        free(want);
        guarded_free(&dst);
        picture_free(&pic);
    }
    print_result("warp", k, failed, WARP_CASES, &e);
    return failed;
}

static bool same_bytes(const om_kernels *a, const om_kernels *b)
{
    letterbox_case c;
    case_new(&c);
    size_t size = c.count * om_dtype_size(c.p.dtype);
    uint8_t *first = malloc(size);
    if (!first) die("malloc");
    bool same = a->letterbox(&c.pic.img, &c.g, &c.p, first) == 0 &&
                b->letterbox(&c.pic.img, &c.g, &c.p, c.dst.data) == 0 && memcmp(first, c.dst.data, size) == 0;
    free(first);
    case_free(&c);
    return same;
}

int check_equal(const om_kernels *tables, int n)
{
    int failed = 0;
    if (n < 3) {
        printf("skipped: equal bytes of tables with vectors, of which this processor runs %d\n", n - 1);
        return 0;
    }
    draw_seed(4);
    for (int i = 0; i < LETTERBOX_CASES / 4; i++)
        for (int k = 2; k < n; k++) failed += !same_bytes(&tables[1], &tables[k]);
    printf("%s letterbox: %d tables with vectors yield equal bytes\n", failed ? "FAILED" : "ok", n - 1);
    return failed;
}
