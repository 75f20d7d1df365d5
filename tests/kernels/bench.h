/* Times each table of kernels beside the reference and prints a line a case. */
#ifndef BENCH_H
#define BENCH_H

#include "kernel/kernel.h"

void bench_all(const om_kernels *kernels, int n);

#endif
