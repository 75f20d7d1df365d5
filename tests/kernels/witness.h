#ifndef WITNESS_H
#define WITNESS_H

#include "kernel/kernel.h"

typedef struct witness_picture {
    int fmt, range, matrix, width, height;
    int stride[3];
    uint8_t *plane[3];
} witness_picture;

const char *witness_table(int simd);
void witness_fit(int fit, const int size[4], int out[10]);
int witness_letterbox(const witness_picture *w, int fit, int dst_w, int dst_h, int channels, int filter,
                      int simd, float *out);
/* As models ask for it: elements of 0..1, or with `bytes` of 0..255. */
int witness_model_input(const witness_picture *w, int dst_w, int dst_h, int layout, int bytes, int simd,
                        void *out);
int witness_rois(const witness_picture *w, const float *boxes, int n, int dst_w, int dst_h, int simd,
                 float *out);
int witness_warp(const witness_picture *w, const float *quad, int dst_w, int dst_h, int simd, float *out);
long witness_nms(const float *boxes, const float *scores, const int32_t *classes, long n, float iou,
                 int agnostic, int simd, uint32_t *keep, void *work);
long witness_nms_work_size(long n);

#endif
