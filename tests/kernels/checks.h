/* One check a kernel: prints a line with the number of cases and the largest error; returns how many failed.
 */
#ifndef CHECKS_H
#define CHECKS_H

#include "kernel/kernel.h"

int check_letterbox(const om_kernels *k);
int check_rois(const om_kernels *k);
int check_warp(const om_kernels *k);
int check_nms(const om_kernels *k, int cases);
int check_column_max(const om_kernels *k);
int check_gemm(const om_kernels *k);
/* The tables after the first, which use vectors, yield the same bytes. */
int check_equal(const om_kernels *tables, int n);

#endif
