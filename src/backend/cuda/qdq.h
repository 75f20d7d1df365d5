/* Models that carry their own quantisation: what their QuantizeLinear and DequantizeLinear nodes say. */
#ifndef OM_BACKEND_CUDA_QDQ_H
#define OM_BACKEND_CUDA_QDQ_H

#include "backend/cuda/kernels.h"
#include "model/model.h"

/* Thread-safety: constant once taken. */
typedef struct omcu_qdq {
    int n_values;
    omcu_grid *grids; /* of a value, by its number; 8-bit integers as they are stored, around s8's zero */
    float **scales;   /* of weights: one an output channel; NULL: none */
    int *groups;      /* values that are stored alike have one number; -1: never as 8-bit integers */
    int n_groups;
} omcu_qdq;

/* Weights become floats. With `out`, pairs of QuantizeLinear and DequantizeLinear around a value go too, and
 * the value has a grid instead: whoever computes it may write it so, or keep it as it is. Without, they stay
 * and are computed. `g`: settled. */
int omcu_qdq_take(om_graph *g, omcu_qdq *out);
void omcu_qdq_fini(omcu_qdq *q);

#endif
