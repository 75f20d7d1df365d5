/* Compares every table of kernels this processor can run with the reference, on random sizes, strides,
 * alignments and values; pictures and tensors end at pages that may not be touched. `--bench` times them
 * instead, `--long` takes more cases of suppression. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "bench.h"
#include "checks.h"
#include "checks_post.h"

#define MAX_TABLES 3

static int tables(om_kernels out[MAX_TABLES])
{
    static const struct {
        const char *name;
        uint32_t flags;
    } further[] = {{"avx2", OM_CPU_AVX2}, {"avx512", OM_CPU_AVX2 | OM_CPU_AVX512}};
    int n = 1;
    om_kernels_init(&out[0], 0);
    for (size_t i = 0; i < sizeof(further) / sizeof(further[0]); i++) {
        bool runs = (om_cpu_flags() & further[i].flags) == further[i].flags;
        if (runs) om_kernels_init(&out[n++], further[i].flags);
        else printf("skipped: %s, which this processor lacks\n", further[i].name);
    }
    return n;
}

int main(int argc, char **argv)
{
    om_kernels k[MAX_TABLES];
    int n = tables(k), failed = 0;

    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench_all(k, n);
        return 0;
    }
    int nms_cases = argc > 1 && strcmp(argv[1], "--long") == 0 ? 100000 : 20000;
    for (int i = 0; i < n; i++) {
        failed += check_letterbox(&k[i]);
        failed += check_rois(&k[i]);
        failed += check_warp(&k[i]);
        failed += check_nms(&k[i], nms_cases);
        failed += check_column_max(&k[i]);
        failed += check_gemm(&k[i]);
    }
    failed += check_equal(k, n);
    failed += check_post(k, n);
    return failed ? 1 : 0;
}
