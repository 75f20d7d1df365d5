/* The linear assignment problem: rows to columns at the least total cost, by shortest augmenting paths
 * (Jonker and Volgenant), rectangular, with a gate. */
#ifndef OM_TRACK_ASSIGN_H
#define OM_TRACK_ASSIGN_H

#include <stddef.h>

/* Working memory; grows and stays. Zeroed is valid. Thread-safety: one thread at a time. */
typedef struct om_assign_work {
    void *memory;
    size_t size;
} om_assign_work;

void om_assign_fini(om_assign_work *w);

/* `cost`: rows x cols, row by row. A pair that costs `gate` or more is never made, and leaving a row and a
 * column alone costs as much as the gate: what is least is the sum of (cost - gate) over the pairs made. A
 * gate of INFINITY pairs min(rows, cols). NaN and infinite costs are never paired. row_col[i]: column of row
 * i, or -1. OM_ERR_NOMEM. */
int om_assign(om_assign_work *w, const float *cost, int rows, int cols, float gate, int *row_col);

#endif
