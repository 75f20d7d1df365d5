#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "bench.h"

#define UNIT                                                                                                 \
    {                                                                                                        \
        1 / 255.0f, 1 / 255.0f, 1 / 255.0f                                                                   \
    }
#define F32                                                                                                  \
    {                                                                                                        \
        .dtype = OM_DTYPE_F32, .scale = UNIT                                                                 \
    }
#define F16                                                                                                  \
    {                                                                                                        \
        .dtype = OM_DTYPE_F16, .scale = UNIT                                                                 \
    }
#define BF16                                                                                                 \
    {                                                                                                        \
        .dtype = OM_DTYPE_BF16, .scale = UNIT                                                                \
    }
#define U8                                                                                                   \
    {                                                                                                        \
        .dtype = OM_DTYPE_U8                                                                                 \
    }
#define U8_PIXELS                                                                                            \
    {                                                                                                        \
        .layout = OM_LAYOUT_NHWC, .dtype = OM_DTYPE_U8                                                       \
    }
#define AREA                                                                                                 \
    {                                                                                                        \
        .dtype = OM_DTYPE_F32, .filter = OM_FILTER_AREA, .scale = UNIT                                       \
    }
#define NEAREST                                                                                              \
    {                                                                                                        \
        .dtype = OM_DTYPE_F32, .filter = OM_FILTER_NEAREST, .scale = UNIT                                    \
    }

typedef struct picture_case {
    const char *name;
    om_pixfmt fmt;
    int src_w, src_h, dst_w, dst_h;
    om_prep prep;
} picture_case;

/* clang-format off */
static const picture_case cases[] = {
    {"nv12 1080p -> 640 f32 planar", OM_PIX_NV12, 1920, 1080, 640, 640, F32},
    {"nv12 1080p -> 640 u8 planar", OM_PIX_NV12, 1920, 1080, 640, 640, U8},
    {"nv12 1080p -> 640 u8 interleaved", OM_PIX_NV12, 1920, 1080, 640, 640, U8_PIXELS},
    {"nv12 1080p -> 640x384 u8 interleaved", OM_PIX_NV12, 1920, 1080, 640, 384, U8_PIXELS},
    {"nv12 1080p -> 640 f16 planar", OM_PIX_NV12, 1920, 1080, 640, 640, F16},
    {"nv12 1080p -> 640 bf16 planar", OM_PIX_NV12, 1920, 1080, 640, 640, BF16},
    {"i420 1080p -> 640 f32 planar", OM_PIX_I420, 1920, 1080, 640, 640, F32},
    {"i420 1080p -> 640 u8 interleaved", OM_PIX_I420, 1920, 1080, 640, 640, U8_PIXELS},
    {"i420 1080p -> 640x384 f32 planar", OM_PIX_I420, 1920, 1080, 640, 384, F32},
    {"i420 1080p -> 640 nearest", OM_PIX_I420, 1920, 1080, 640, 640, NEAREST},
    {"i420 1080p -> 640 area", OM_PIX_I420, 1920, 1080, 640, 640, AREA},
    {"i420 1080p -> 416 f32 planar", OM_PIX_I420, 1920, 1080, 416, 416, F32},
    {"nv12 720p -> 640 f32 planar", OM_PIX_NV12, 1280, 720, 640, 640, F32},
    {"i420 768x576 -> 640 f32 planar", OM_PIX_I420, 768, 576, 640, 640, F32},
    {"i420 768x576 -> 640 u8 interleaved", OM_PIX_I420, 768, 576, 640, 640, U8_PIXELS},
    {"i420 2160p -> 640 f32 planar", OM_PIX_I420, 3840, 2160, 640, 640, F32},
    {"p010 1080p -> 640 f32 planar", OM_PIX_P010, 1920, 1080, 640, 640, F32},
    {"bgr24 1080p -> 640 f32 planar", OM_PIX_BGR24, 1920, 1080, 640, 640, F32},
};
/* clang-format on */

static void fill(om_frame *f)
{
    for (int p = 0; p < om_pixfmt_get(f->image.fmt)->planes; p++) {
        int bytes, rows;
        om_pixfmt_plane_size(f->image.fmt, p, f->image.width, f->image.height, &bytes, &rows);
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < bytes; x++)
                f->image.plane[p][(ptrdiff_t)y * f->image.stride[p] + x] =
                    (uint8_t)(x * 7 + y * 13 + (x * y >> 5));
    }
}

/* Bytes that have to be read at least: all of the picture for area, else the rows between which results lie.
 */
static double bytes_read(const om_image *img, const om_geometry *g, om_filter filter)
{
    double sum = 0;
    int taps =
        filter == OM_FILTER_NEAREST || (g->src_h / g->inner_h % 2 == 1 && g->src_h % g->inner_h == 0) ? 1 : 2;
    for (int p = 0; p < om_pixfmt_get(img->fmt)->planes; p++) {
        int bytes, rows, read = taps * g->inner_h;
        om_pixfmt_plane_size(img->fmt, p, img->width, img->height, &bytes, &rows);
        sum += (double)bytes * (filter == OM_FILTER_AREA || read > rows ? rows : read);
    }
    return sum;
}

static void print_line(const char *kernel, const char *name, const char *table, double ns, double reference,
                       double bytes)
{
    printf("%-9s %-37s %-6s %10.0f ns %6.1fx c %6.2f GB/s\n", kernel, name, table, ns, reference / ns,
           bytes / ns);
}

static double time_letterbox(const om_kernels *k, const om_image *img, const om_geometry *g, const om_prep *p,
                             void *dst)
{
    int64_t t[BENCH_ROUNDS];
    for (int i = 0; i < BENCH_ROUNDS; i++) {
        int64_t start = om_thread_cpu_ns();
        k->letterbox(img, g, p, dst);
        t[i] = om_thread_cpu_ns() - start;
    }
    return bench_median(t, BENCH_ROUNDS);
}

static void bench_letterbox(const om_kernels *kernels, int n, const picture_case *c)
{
    om_frame *f = NULL;
    om_geometry g;
    size_t size = (size_t)c->dst_w * (size_t)c->dst_h * 3 * om_dtype_size(c->prep.dtype);
    void *dst = malloc(size);
    if (dst && om_frame_create(c->fmt, c->src_w, c->src_h, &f) == OM_OK) {
        fill(f);
        om_geometry_fit(OM_FIT_LETTERBOX, c->src_w, c->src_h, c->dst_w, c->dst_h, &g);
        double reference = 0, bytes = (double)size + bytes_read(&f->image, &g, c->prep.filter);
        for (int k = 0; k < n; k++) {
            double ns = time_letterbox(&kernels[k], &f->image, &g, &c->prep, dst);
            if (k == 0) reference = ns;
            print_line("letterbox", c->name, kernels[k].name, ns, reference, bytes);
        }
    }
    om_frame_unref(f);
    free(dst);
}

#define ROIS 32
#define ROI_W 160
#define ROI_H 48

static double time_rois(const om_kernels *k, const om_image *img, om_roi *rois, const om_prep *p)
{
    int64_t t[BENCH_ROUNDS];
    for (int i = 0; i < BENCH_ROUNDS; i++) {
        int64_t start = om_thread_cpu_ns();
        k->rois(img, rois, ROIS, OM_FIT_STRETCH, ROI_W, ROI_H, p);
        t[i] = om_thread_cpu_ns() - start;
    }
    return bench_median(t, BENCH_ROUNDS);
}

static double time_warps(const om_kernels *k, const om_image *img, const om_roi *rois, const om_prep *p)
{
    int64_t t[BENCH_ROUNDS];
    for (int i = 0; i < BENCH_ROUNDS; i++) {
        int64_t start = om_thread_cpu_ns();
        for (int r = 0; r < ROIS; r++) {
            const om_roi *o = &rois[r];
            float quad[8] = {o->x,        o->y + 4,        o->x + o->w, o->y,
                             o->x + o->w, o->y + o->h - 4, o->x,        o->y + o->h};
            k->warp(img, quad, ROI_W, ROI_H, p, o->dst);
        }
        t[i] = om_thread_cpu_ns() - start;
    }
    return bench_median(t, BENCH_ROUNDS);
}

/* 32 plates of about 120x40 in a 1080p picture. */
static void bench_rois(const om_kernels *kernels, int n, const char *name, const om_prep *p)
{
    om_frame *f = NULL;
    om_roi rois[ROIS];
    size_t size = (size_t)ROI_W * ROI_H * 3 * om_dtype_size(p->dtype);
    uint8_t *dst = malloc(ROIS * size);
    if (dst && om_frame_create(OM_PIX_NV12, 1920, 1080, &f) == OM_OK) {
        double reference = 0, warp_reference = 0, read = 0;
        fill(f);
        for (int i = 0; i < ROIS; i++) {
            rois[i] = (om_roi){(float)(i * 337 % 1790),
                               (float)(i * 211 % 1030),
                               (float)(112 + i % 17),
                               (float)(36 + i % 9),
                               dst + (size_t)i * size,
                               {0},
                               0};
            read += 1.5 * (double)rois[i].w * (double)rois[i].h;
        }
        for (int k = 0; k < n; k++) {
            double ns = time_rois(&kernels[k], &f->image, rois, p);
            if (k == 0) reference = ns;
            print_line("rois", name, kernels[k].name, ns, reference, read + (double)(ROIS * size));
        }
        for (int k = 0; k < n; k++) {
            double ns = time_warps(&kernels[k], &f->image, rois, p);
            if (k == 0) warp_reference = ns;
            print_line("warp", name, kernels[k].name, ns, warp_reference, read + (double)(ROIS * size));
        }
    }
    om_frame_unref(f);
    free(dst);
}

void bench_picture(const om_kernels *kernels, int n)
{
    static const om_prep f32 = F32, u8 = U8;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) bench_letterbox(kernels, n, &cases[i]);
    bench_rois(kernels, n, "32 of nv12 1080p -> 48x160 f32", &f32);
    bench_rois(kernels, n, "32 of nv12 1080p -> 48x160 u8", &u8);
}
