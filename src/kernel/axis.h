/* One axis of a resampling: of which samples each destination position is made, and how much of each. */
#ifndef OM_KERNEL_AXIS_H
#define OM_KERNEL_AXIS_H

#include <stddef.h>

#include "kernel/arena.h"
#include "kernel/kernel.h"

typedef struct om_axis {
    int n, taps;       /* positions; most samples of one position */
    int *first, *last; /* samples of each position, ascending with it */
    float *weight; /* LINEAR: the second sample's, one a position; AREA: `taps` a position; NEAREST: none */
} om_axis;

/* Takes the memory for `dst` positions made of `src` samples. */
void om_axis_take(om_axis *a, om_arena *from, om_filter filter, int src, int dst);
void om_axis_fill(om_axis *a, om_filter filter, int src, int dst);
/* The share of sample first[i] + k in position i. */
float om_axis_share(const om_axis *a, om_filter filter, int i, int k);

#endif
