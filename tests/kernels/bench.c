#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "reference.h"

#define ROUNDS BENCH_ROUNDS

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

double bench_median(int64_t *t, int n)
{
    qsort(t, (size_t)n, sizeof(*t), by_value);
    return (double)t[n / 2];
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
        double ns = bench_median(t, ROUNDS);
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
        double ns = bench_median(t, ROUNDS);
        printf("columnmax %-34s %-6s %10.0f ns %7.1fx reference %6.2f GB/s\n", "80 x 8400", kernels[k].name,
               ns, reference / ns, 4.0 * ROWS * COLUMNS / ns);
    }
    free(m);
    free(best);
    free(row);
}

void bench_all(const om_kernels *kernels, int n)
{
    bench_picture(kernels, n);
    bench_nms(kernels, n);
    bench_column_max(kernels, n);
    bench_post(kernels, n);
    bench_gemm(kernels, n);
}
