/* Times each table of kernels beside the reference and prints a line a case. */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>

#include "kernel/kernel.h"

#define BENCH_ROUNDS 31

void bench_all(const om_kernels *kernels, int n);
void bench_picture(const om_kernels *kernels, int n);
void bench_post(const om_kernels *kernels, int n);
void bench_gemm(const om_kernels *kernels, int n);

/* The middle one of n times, which it sorts. They are CPU time, so that other work on the machine disturbs
 * little. */
double bench_median(int64_t *t, int n);

#endif
