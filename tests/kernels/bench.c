#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "reference.h"

#define ROUNDS 31

typedef struct letterbox_case {
    const char *name;
    om_pixfmt fmt;
    int src_w, src_h, dst_w, dst_h;
    om_prep prep;
} letterbox_case;

#define UNIT                                                                                                 \
    {                                                                                                        \
        1 / 255.0f, 1 / 255.0f, 1 / 255.0f                                                                   \
    }
static const letterbox_case cases[] = {
    {"nv12 1080p -> 640 f32 planar",
     OM_PIX_NV12,
     1920,
     1080,
     640,
     640,
     {.dtype = OM_DTYPE_F32, .scale = UNIT}},
    {"i420 1080p -> 640 f32 planar",
     OM_PIX_I420,
     1920,
     1080,
     640,
     640,
     {.dtype = OM_DTYPE_F32, .scale = UNIT}},
    {"i420 1080p -> 640x384 f32 planar",
     OM_PIX_I420,
     1920,
     1080,
     640,
     384,
     {.dtype = OM_DTYPE_F32, .scale = UNIT}},
    {"i420 1080p -> 640 u8 interleaved",
     OM_PIX_I420,
     1920,
     1080,
     640,
     640,
     {.layout = OM_LAYOUT_NHWC, .dtype = OM_DTYPE_U8}},
    {"i420 1080p -> 640 f16 planar",
     OM_PIX_I420,
     1920,
     1080,
     640,
     640,
     {.dtype = OM_DTYPE_F16, .scale = UNIT}},
    {"i420 1080p -> 640 area",
     OM_PIX_I420,
     1920,
     1080,
     640,
     640,
     {.dtype = OM_DTYPE_F32, .filter = OM_FILTER_AREA, .scale = UNIT}},
    {"i420 1080p -> 416 f32 planar",
     OM_PIX_I420,
     1920,
     1080,
     416,
     416,
     {.dtype = OM_DTYPE_F32, .scale = UNIT}},
    {"nv12 720p -> 640 f32 planar", OM_PIX_NV12, 1280, 720, 640, 640, {.dtype = OM_DTYPE_F32, .scale = UNIT}},
    {"i420 768x576 -> 640 f32 planar",
     OM_PIX_I420,
     768,
     576,
     640,
     640,
     {.dtype = OM_DTYPE_F32, .scale = UNIT}},
    {"i420 2160p -> 640 f32 planar",
     OM_PIX_I420,
     3840,
     2160,
     640,
     640,
     {.dtype = OM_DTYPE_F32, .scale = UNIT}},
    {"p010 1080p -> 640 f32 planar",
     OM_PIX_P010,
     1920,
     1080,
     640,
     640,
     {.dtype = OM_DTYPE_F32, .scale = UNIT}},
    {"bgr24 1080p -> 640 f32 planar",
     OM_PIX_BGR24,
     1920,
     1080,
     640,
     640,
     {.dtype = OM_DTYPE_F32, .scale = UNIT}},
};

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* CPU time, so that other work on the machine disturbs little. */
static double median(int64_t *t, int n)
{
    qsort(t, (size_t)n, sizeof(*t), by_value);
    return (double)t[n / 2];
}

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

static double time_letterbox(const om_kernels *k, const om_image *img, const om_geometry *g, const om_prep *p,
                             void *dst)
{
    int64_t t[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        int64_t start = om_thread_cpu_ns();
        k->letterbox(img, g, p, dst);
        t[i] = om_thread_cpu_ns() - start;
    }
    return median(t, ROUNDS);
}

static void bench_letterbox(const om_kernels *kernels, int n)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const letterbox_case *c = &cases[i];
        om_frame *f;
        om_geometry g;
        size_t count = (size_t)c->dst_w * (size_t)c->dst_h * 3;
        double *dst = malloc(count * sizeof(double)), reference = 0;
        if (!dst || om_frame_create(c->fmt, c->src_w, c->src_h, &f) < 0) {
            free(dst);
            continue;
        }
        fill(f);
        om_geometry_fit(OM_FIT_LETTERBOX, c->src_w, c->src_h, c->dst_w, c->dst_h, &g);
        for (int k = -1; k < n; k++) {
            int64_t start = om_thread_cpu_ns();
            if (k < 0) {
                reference_letterbox(&f->image, &g, &c->prep, dst);
                reference = (double)(om_thread_cpu_ns() - start);
                continue;
            }
            double ns = time_letterbox(&kernels[k], &f->image, &g, &c->prep, dst);
            double bytes = (double)count * (double)om_dtype_size(c->prep.dtype) + 1.5 * c->src_w * c->src_h;
            printf("letterbox %-34s %-6s %10.0f ns %7.1fx reference %6.2f GB/s\n", c->name, kernels[k].name,
                   ns, reference / ns, bytes / ns);
        }
        om_frame_unref(f);
        free(dst);
    }
}

static void bench_nms(const om_kernels *kernels, int n)
{
    enum { BOXES = 2000 };
    static float boxes[4 * BOXES], scores[BOXES];
    static int32_t classes[BOXES];
    static uint32_t keep[BOXES];
    void *work = malloc(om_nms_work_size(BOXES));
    srand(1);
    for (int i = 0; i < BOXES; i++) {
        boxes[4 * i] = (float)(rand() % 600);
        boxes[4 * i + 1] = (float)(rand() % 600);
        boxes[4 * i + 2] = boxes[4 * i] + (float)(1 + rand() % 60);
        boxes[4 * i + 3] = boxes[4 * i + 1] + (float)(1 + rand() % 60);
        scores[i] = (float)rand() / (float)RAND_MAX;
        classes[i] = rand() % 8;
    }
    int64_t start = om_thread_cpu_ns();
    reference_nms(boxes, scores, classes, BOXES, 0.5f, false, BOXES, keep);
    double reference = (double)(om_thread_cpu_ns() - start);
    for (int k = 0; work && k < n; k++) {
        int64_t t[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            start = om_thread_cpu_ns();
            kernels[k].nms(boxes, scores, classes, BOXES, 0.5f, false, BOXES, keep, work);
            t[i] = om_thread_cpu_ns() - start;
        }
        double ns = median(t, ROUNDS);
        printf("nms       %-34s %-6s %10.0f ns %7.1fx reference\n", "2000 boxes, 8 classes", kernels[k].name,
               ns, reference / ns);
    }
    free(work);
}

static void bench_column_max(const om_kernels *kernels, int n)
{
    enum { ROWS = 80, COLUMNS = 8400 };
    float *m = malloc(sizeof(float) * ROWS * COLUMNS), *best = malloc(sizeof(float) * COLUMNS);
    int32_t *row = malloc(sizeof(int32_t) * COLUMNS);
    for (int i = 0; m && i < ROWS * COLUMNS; i++) m[i] = (float)((unsigned)i * 2654435761u >> 8);
    int64_t start = om_thread_cpu_ns();
    if (m && best && row) reference_column_max(m, COLUMNS, ROWS, COLUMNS, best, row);
    double reference = (double)(om_thread_cpu_ns() - start);
    for (int k = 0; m && best && row && k < n; k++) {
        int64_t t[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            start = om_thread_cpu_ns();
            kernels[k].column_max(m, COLUMNS, ROWS, COLUMNS, best, row);
            t[i] = om_thread_cpu_ns() - start;
        }
        double ns = median(t, ROUNDS);
        printf("columnmax %-34s %-6s %10.0f ns %7.1fx reference %6.2f GB/s\n", "80 x 8400", kernels[k].name,
               ns, reference / ns, 4.0 * ROWS * COLUMNS / ns);
    }
    free(m);
    free(best);
    free(row);
}

void bench_all(const om_kernels *kernels, int n)
{
    bench_letterbox(kernels, n);
    bench_nms(kernels, n);
    bench_column_max(kernels, n);
}
