/* Compares every table of kernels this processor can run with the reference, on random sizes, strides,
 * alignments and values; pictures and tensors end at pages that may not be touched. `--bench` times them
 * instead. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "bench.h"
#include "checks.h"

static int tables(om_kernels out[2])
{
    int n = 1;
    om_kernels_init(&out[0], 0);
    if (om_cpu_flags() & OM_CPU_AVX2) om_kernels_init(&out[n++], OM_CPU_AVX2);
    else printf("skipped: avx2, which this processor lacks\n");
    return n;
}

int main(int argc, char **argv)
{
    om_kernels k[2];
    int n = tables(k), failed = 0;

    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench_all(k, n);
        return 0;
    }
    for (int i = 0; i < n; i++) {
        failed += check_letterbox(&k[i]);
        failed += check_nms(&k[i]);
        failed += check_column_max(&k[i]);
    }
    failed += check_equal(k, n);
    return failed ? 1 : 0;
}
