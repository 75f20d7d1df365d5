/* Checks of what comes after a network and of the smaller kernels: filter, top-k, softmax, CTC, motion,
 * drawing. Each prints a line and returns how many cases failed. */
#ifndef CHECKS_POST_H
#define CHECKS_POST_H

#include "kernel/kernel.h"

int check_scores(const om_kernels *k);
int check_rows(const om_kernels *k);
int check_softmax(const om_kernels *tables, int n);
int check_motion(const om_kernels *k);
int check_blend(const om_kernels *k);

/* All of them, for all tables. */
int check_post(const om_kernels *tables, int n);

#endif
