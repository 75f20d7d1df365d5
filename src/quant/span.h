/* From what was seen of a tensor to the grid of 8-bit numbers that stands for it. Thread-safety: any thread.
 */
#ifndef OM_QUANT_SPAN_H
#define OM_QUANT_SPAN_H

#include <stdbool.h>

#include "quant/act_hist.h"
#include "quant/quant.h"

typedef struct om_span {
    double lo, hi;
} om_span;

/* q = clamp(round(x / scale) + zero, least, most) */
typedef struct om_grid {
    float scale;
    int zero, least, most;
} om_grid;

/* `percent`: of the numbers that PERCENTILE keeps. `symmetric`: the grid will be. Zero lies in the range. */
om_span om_span_choose(const om_act_hist *h, om_quant_method method, double percent, bool symmetric);
/* u8 with a zero point, or s8 around zero. A range without extent has none: scale 0. */
om_grid om_grid_make(om_span r, bool symmetric);
/* Mean square error of what was seen, put on the grid, and mean square of what was seen, each number counted
 * by how much an error in it matters. */
void om_grid_error(const om_act_hist *h, const om_grid *g, double *noise, double *signal);

#endif
