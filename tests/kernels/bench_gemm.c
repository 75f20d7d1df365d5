#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bench.h"

/* What a head's training asks for: forward, the gradient of its weights, that of its inputs. */
static const struct {
    const char *name;
    size_t m, n, k;
    bool left_turned, right_turned;
} shapes[] = {{"32 x 1000, of 2048 (forward)", 32, 1000, 2048, false, true},
              {"1000 x 2048, of 32 (gradient)", 1000, 2048, 32, true, false},
              {"512 x 512, of 512", 512, 512, 512, false, false}};

void bench_gemm(const om_kernels *kernels, int n)
{
    size_t most = 2048 * 1000;
    float *a = calloc(most, sizeof *a), *b = calloc(most, sizeof *b), *c = calloc(most, sizeof *c);
    void *work = malloc(om_gemm_work_size());
    for (size_t s = 0; a && b && c && work && s < sizeof shapes / sizeof *shapes; s++) {
        size_t m = shapes[s].m, w = shapes[s].n, k = shapes[s].k;
        om_mat left = shapes[s].left_turned ? (om_mat){a, m, k, 1, m} : (om_mat){a, m, k, k, 1};
        om_mat right = shapes[s].right_turned ? (om_mat){b, k, w, 1, k} : (om_mat){b, k, w, w, 1};
        for (int i = 0; i < n; i++) {
            int64_t t[5];
            for (int r = 0; r < 5; r++) {
                int64_t start = om_thread_cpu_ns();
                kernels[i].gemm(&left, &right, c, w, work);
                t[r] = om_thread_cpu_ns() - start;
            }
            double ns = bench_median(t, 5);
            printf("gemm      %-34s %-6s %10.0f ns %8.1f GFLOP/s\n", shapes[s].name, kernels[i].name, ns,
                   2 * (double)m * (double)w * (double)k / ns);
        }
    }
    free(a);
    free(b);
    free(c);
    free(work);
}
