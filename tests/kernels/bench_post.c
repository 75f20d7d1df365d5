#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bench.h"

#define PLACES 8400
#define CLASSES 80

typedef struct scores_bench {
    om_scores s;
    uint32_t index[PLACES];
    float best[PLACES];
    int32_t which[PLACES];
} scores_bench;

static void time_pick(const om_kernels *k, scores_bench *b, const char *name)
{
    int64_t t[BENCH_ROUNDS];
    size_t found = 0;
    for (int i = 0; i < BENCH_ROUNDS; i++) {
        int64_t start = om_thread_cpu_ns();
        found = k->pick(&b->s, 0.25f, b->index, b->best, b->which);
        t[i] = om_thread_cpu_ns() - start;
    }
    double ns = bench_median(t, BENCH_ROUNDS);
    double bytes = (double)(PLACES * CLASSES * om_dtype_size(b->s.dtype));
    printf("pick      %-34s %-6s %10.0f ns %6zu picked %6.2f GB/s\n", name, k->name, ns, found, bytes / ns);
}

static void bench_pick(const om_kernels *kernels, int n)
{
    static const int over[] = {0, 30, 300, PLACES};
    scores_bench *b = calloc(1, sizeof *b);
    float *m = malloc(sizeof *m * PLACES * CLASSES);
    uint16_t *half = malloc(sizeof *half * PLACES * CLASSES);
    srand(1);
    for (size_t i = 0; b && m && half && i < sizeof over / sizeof *over; i++) {
        char name[64];
        for (int j = 0; j < PLACES * CLASSES; j++) m[j] = (float)(rand() % 1000) / 5000;
        for (int j = 0; j < over[i]; j++)
            m[rand() % CLASSES * PLACES + (over[i] == PLACES ? j : rand() % PLACES)] = 0.5f;
        for (int j = 0; j < PLACES * CLASSES; j++) half[j] = om_f32_to_f16(m[j]);
        for (int k = 0; k < n; k++) {
            b->s = (om_scores){m, OM_DTYPE_F32, PLACES, CLASSES, 1, PLACES};
            snprintf(name, sizeof name, "80 x 8400 f32, %d over", over[i]);
            time_pick(&kernels[k], b, name);
            b->s = (om_scores){half, OM_DTYPE_F16, PLACES, CLASSES, 1, PLACES};
            snprintf(name, sizeof name, "80 x 8400 f16, %d over", over[i]);
            time_pick(&kernels[k], b, name);
            b->s = (om_scores){m, OM_DTYPE_F32, PLACES, CLASSES, CLASSES, 1};
            snprintf(name, sizeof name, "8400 x 80 f32, the same numbers");
            time_pick(&kernels[k], b, name);
        }
    }
    free(b);
    free(m);
    free(half);
}

static void bench_motion(const om_kernels *kernels, int n)
{
    om_frame *f;
    static uint16_t cells[64 * 36], work[1920];
    if (om_frame_create(OM_PIX_NV12, 1920, 1080, &f) < 0) return;
    memset(f->image.plane[0], 77, (size_t)f->image.stride[0] * 1080);
    for (int k = 0; k < n; k++) {
        int64_t t[BENCH_ROUNDS];
        for (int i = 0; i < BENCH_ROUNDS; i++) {
            int64_t start = om_thread_cpu_ns();
            kernels[k].luma_grid(&f->image, 64, 36, work, cells);
            t[i] = om_thread_cpu_ns() - start;
        }
        double ns = bench_median(t, BENCH_ROUNDS);
        printf("motion    %-34s %-6s %10.0f ns %6.2f GB/s\n", "1080p, 64 x 36 cells of 8 rows",
               kernels[k].name, ns, 1920.0 * 288 / ns);
    }
    om_frame_unref(f);
}

static void bench_small(const om_kernels *kernels, int n)
{
    enum { N = 1000 };
    static float v[N], out[N];
    static uint8_t row[1920];
    for (int i = 0; i < N; i++) v[i] = (float)(rand() % 2000) / 100;
    for (int k = 0; k < n; k++) {
        int64_t t[2][BENCH_ROUNDS];
        for (int i = 0; i < BENCH_ROUNDS; i++) {
            int64_t start = om_thread_cpu_ns();
            kernels[k].softmax(v, N, out);
            int64_t middle = om_thread_cpu_ns();
            for (int y = 0; y < 100; y++) kernels[k].blend_row(row, sizeof row, (uint8_t[]){200, 90}, 100);
            t[0][i] = middle - start;
            t[1][i] = om_thread_cpu_ns() - middle;
        }
        printf("softmax   %-34s %-6s %10.0f ns\n", "1000 classes", kernels[k].name,
               bench_median(t[0], BENCH_ROUNDS));
        double ns = bench_median(t[1], BENCH_ROUNDS);
        printf("blend     %-34s %-6s %10.0f ns %6.2f GB/s\n", "100 rows of 1920", kernels[k].name, ns,
               192000.0 / ns);
    }
}

void bench_post(const om_kernels *kernels, int n)
{
    bench_pick(kernels, n);
    bench_motion(kernels, n);
    bench_small(kernels, n);
}
