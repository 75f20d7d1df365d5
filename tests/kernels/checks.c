#include "checks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "reference.h"

#define LETTERBOX_CASES 4000
#define NMS_CASES 100000
#define MAX_BOXES 300
#define COLUMN_CASES 2000

static uint64_t state;

static uint32_t draw(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % n);
}

static float draw_float(float low, float high)
{
    return low + (high - low) * (float)draw(1u << 24) / (float)(1u << 24);
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* `size` bytes between two pages that may not be touched; they end at the second, or (odd) start after the
 * first. */
typedef struct guarded {
    uint8_t *map, *data;
    size_t length;
} guarded;

static guarded guarded_new(size_t size, bool at_start)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (size + page - 1) / page * page;
    guarded g = {.length = inner + 2 * page};
    g.map = mmap(NULL, g.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED) die("mmap");
    if (mprotect(g.map, page, PROT_NONE) < 0 || mprotect(g.map + page + inner, page, PROT_NONE) < 0)
        die("mprotect");
    g.data = at_start ? g.map + page : g.map + page + inner - size;
    return g;
}

static void guarded_free(guarded *g) { munmap(g->map, g->length); }

typedef struct picture {
    om_image img;
    guarded plane[3];
} picture;

static void fill_plane(om_pixfmt fmt, uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size; i++) p[i] = (uint8_t)draw(256);
    for (size_t i = 0; om_pixfmt_get(fmt)->sample_bytes == 2 && i + 1 < size; i += 2) {
        uint16_t v = (uint16_t)(draw(1024) << (fmt == OM_PIX_P010 ? 6 : 0));
        memcpy(p + i, &v, sizeof(v));
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
    om_geometry_fit((om_fit)draw(3), w, h, dst_w, dst_h, g);
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

/* The stated bound, in units of the element: arithmetic in single precision, then the rounding to the type.
 */
static double bound_of(const om_prep *p, double v, double scale)
{
    double arithmetic = 255 * fabs(scale) * 4e-6 + fabs(v) * 1e-6;
    switch (p->dtype) {
    case OM_DTYPE_F16: return arithmetic + fmax(fabs(v) / 2048, 3e-8) * 1.001;
    case OM_DTYPE_BF16: return arithmetic + fabs(v) / 256 * 1.001;
    case OM_DTYPE_U8:
    case OM_DTYPE_I8: return 0.5 + 1e-3;
    default: return arithmetic;
    }
}

static double expected(const om_prep *p, double v)
{
    if (p->dtype == OM_DTYPE_I8) return fmin(fmax(v + p->zero_point, -128), 127);
    return v;
}

static int compare_case(const letterbox_case *c, const double *want, double *worst)
{
    const om_prep *p = &c->p;
    size_t plane = (size_t)c->g.dst_w * (size_t)c->g.dst_h, channels = c->count / plane;
    for (size_t i = 0; i < c->count; i++) {
        size_t channel = p->layout == OM_LAYOUT_NCHW ? i / plane : i % channels;
        double scale = p->dtype == OM_DTYPE_U8 ? 1 : p->scale[channel];
        double v = expected(p, want[i]), got = tensor_value(c->dst.data, p->dtype, i);
        double error = fabs(got - v), bound = bound_of(p, v, scale);
        *worst = fmax(*worst, error / bound);
        if (error <= bound) continue;
        printf(
            "FAILED letterbox: %s %dx%d (%d,%d %dx%d) to %dx%d (%d,%d %dx%d), %s, layout %d, channels %d, filter %d: "
            "element %zu is %g, expected %g\n",
            om_pixfmt_get(c->pic.img.fmt)->name, c->pic.img.width, c->pic.img.height, c->g.src_x, c->g.src_y,
            c->g.src_w, c->g.src_h, c->g.dst_w, c->g.dst_h, c->g.pad_x, c->g.pad_y, c->g.inner_w,
            c->g.inner_h, om_dtype_name(p->dtype), (int)p->layout, (int)p->channels, (int)p->filter, i, got,
            v);
        return 1;
    }
    return 0;
}

int check_letterbox(const om_kernels *k)
{
    int failed = 0;
    double worst = 0;
    state = 1;
    for (int i = 0; i < LETTERBOX_CASES && failed < 10; i++) {
        letterbox_case c;
        case_new(&c);
        double *want = malloc(c.count * sizeof(*want));
        if (!want) die("malloc");
        reference_letterbox(&c.pic.img, &c.g, &c.p, want);
        int err = k->letterbox(&c.pic.img, &c.g, &c.p, c.dst.data);
        failed += err != 0 || compare_case(&c, want, &worst);
        free(want);
        case_free(&c);
    }
    printf("%s letterbox %-5s %d cases, largest error %.3f of the bound\n", failed ? "FAILED" : "ok", k->name,
           LETTERBOX_CASES, worst);
    return failed;
}

typedef struct box_case {
    float boxes[4 * MAX_BOXES], scores[MAX_BOXES];
    int32_t classes[MAX_BOXES];
    size_t n, max_out;
    float iou;
    bool agnostic;
} box_case;

/* Crowded on purpose; scores of few values make ties, some boxes are empty, turned over or not numbers. */
static void draw_boxes(box_case *c)
{
    uint32_t span = 1 + draw(100), levels = 1 + draw(1000), classes = 1 + draw(5);
    c->n = draw(draw(20) ? 40 : MAX_BOXES);
    c->max_out = draw(4) ? MAX_BOXES : draw(20);
    c->iou = draw_float(0, 1);
    c->agnostic = draw(2);
    for (size_t i = 0; i < c->n; i++) {
        float *b = c->boxes + 4 * i;
        b[0] = draw_float(0, (float)span);
        b[1] = draw_float(0, (float)span);
        b[2] = b[0] + draw_float(0, 40) * (draw(50) ? 1 : -1);
        b[3] = b[1] + draw_float(0, 40) * (draw(50) ? 1 : 0);
        c->scores[i] = (float)draw(levels) / (float)levels * (draw(100) ? 1 : -1);
        if (draw(300) == 0) c->scores[i] = NAN;
        if (draw(300) == 0) b[draw(4)] = draw(2) ? NAN : INFINITY;
        c->classes[i] = (int32_t)draw(classes);
    }
}

int check_nms(const om_kernels *k)
{
    static box_case c;
    static uint32_t want[MAX_BOXES], got[MAX_BOXES];
    guarded work = guarded_new(om_nms_work_size(MAX_BOXES), false);
    int failed = 0;
    state = 2;
    for (int i = 0; i < NMS_CASES && failed < 10; i++) {
        draw_boxes(&c);
        size_t size = om_nms_work_size(c.n), space = om_nms_work_size(MAX_BOXES);
        size_t n = reference_nms(c.boxes, c.scores, c.classes, c.n, c.iou, c.agnostic, c.max_out, want);
        size_t m = k->nms(c.boxes, c.scores, c.classes, c.n, c.iou, c.agnostic, c.max_out, got,
                          work.data + space - size);
        if (n == m && memcmp(want, got, n * sizeof(*want)) == 0) continue;
        printf("FAILED nms: case %d of %zu boxes keeps %zu, expected %zu\n", i, c.n, m, n);
        failed++;
    }
    guarded_free(&work);
    printf("%s nms %-5s %d cases, equal\n", failed ? "FAILED" : "ok", k->name, NMS_CASES);
    return failed;
}

int check_column_max(const om_kernels *k)
{
    int failed = 0;
    state = 3;
    for (int i = 0; i < COLUMN_CASES && failed < 10; i++) {
        size_t n = 1 + draw(700), rows = draw(20), stride = n + draw(9),
               size = rows ? (rows - 1) * stride + n : 0;
        guarded m = guarded_new(size * sizeof(float), false), best = guarded_new(n * sizeof(float), draw(2)),
                row = guarded_new(n * sizeof(int32_t), draw(2));
        float *v = (float *)m.data, *want = malloc(n * sizeof(*want));
        int32_t *want_row = malloc(n * sizeof(*want_row));
        if (!want || !want_row) die("malloc");
        for (size_t j = 0; j < size; j++) v[j] = draw(9) ? (float)draw(8) : draw(2) ? NAN : -INFINITY;
        reference_column_max(v, stride, rows, n, want, want_row);
        k->column_max(v, stride, rows, n, (float *)best.data, (int32_t *)row.data);
        if (memcmp(want, best.data, n * sizeof(*want)) || memcmp(want_row, row.data, n * sizeof(*want_row))) {
            printf("FAILED column_max: %zu rows of %zu\n", rows, n);
            failed++;
        }
        free(want);
        free(want_row);
        guarded_free(&m);
        guarded_free(&best);
        guarded_free(&row);
    }
    printf("%s column_max %-5s %d cases, equal\n", failed ? "FAILED" : "ok", k->name, COLUMN_CASES);
    return failed;
}

int check_equal(const om_kernels *tables, int n)
{
    int failed = 0;
    state = 4;
    for (int i = 0; n > 1 && i < LETTERBOX_CASES / 4; i++) {
        letterbox_case c;
        case_new(&c);
        size_t size = c.count * om_dtype_size(c.p.dtype);
        uint8_t *first = malloc(size);
        if (!first) die("malloc");
        tables[0].letterbox(&c.pic.img, &c.g, &c.p, first);
        for (int k = 1; k < n; k++) {
            tables[k].letterbox(&c.pic.img, &c.g, &c.p, c.dst.data);
            failed += memcmp(first, c.dst.data, size) != 0;
        }
        free(first);
        case_free(&c);
    }
    printf("%s letterbox %d tables yield equal bytes\n", failed ? "FAILED" : "ok", n);
    return failed;
}
