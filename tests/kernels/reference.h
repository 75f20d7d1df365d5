/* What the kernels must compute, written the plain way in double precision. */
#ifndef REFERENCE_H
#define REFERENCE_H

#include "kernel/kernel.h"

/* The value of every element before it becomes p->dtype: dst_w * dst_h * channels doubles in the tensor's
 * order. */
void reference_letterbox(const om_image *src, const om_geometry *g, const om_prep *p, double *dst);
/* Likewise; not a number where rounding may take one sample or its neighbour. */
void reference_warp(const om_image *src, const float quad[8], int dst_w, int dst_h, const om_prep *p,
                    double *dst);
size_t reference_nms(const float *boxes, const float *scores, const int32_t *classes, size_t n, float iou,
                     bool agnostic, size_t max_out, uint32_t *keep);
void reference_column_max(const float *m, size_t stride, size_t rows, size_t n, float *best, int32_t *row);

/* An element of a tensor as a number. */
double tensor_value(const void *data, om_dtype dtype, size_t i);

#endif
