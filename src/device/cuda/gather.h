/* The kernel that writes a batch: what it is told about each picture, and its launch. Plain data, understood
 * alike by C and by nvcc. */
#ifndef OM_DEVICE_CUDA_GATHER_H
#define OM_DEVICE_CUDA_GATHER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st;

typedef enum om_cuda_element {
    OM_CUDA_F32,
    OM_CUDA_F16,
    OM_CUDA_BF16,
    OM_CUDA_U8,
    OM_CUDA_I8
} om_cuda_element;
typedef enum om_cuda_filter { OM_CUDA_LINEAR, OM_CUDA_NEAREST, OM_CUDA_AREA } om_cuda_filter;

/* Positions are computed exactly, in 32 bits: (2 * dst + 1) * src has to fit. */
#define OM_CUDA_MAX_SIDE 32767

/* One colour component; `base` is its sample at the left top of the rectangle that is read. */
typedef struct om_cuda_component {
    const uint8_t *base; /* device memory */
    int64_t stride;      /* bytes; may be negative */
    int step;            /* samples from one to the next of its row */
    int shift_x, shift_y;
    int odd_x, odd_y; /* how far the rectangle's corner lies from this component's grid */
} om_cuda_component;

/* One picture of a batch. */
typedef struct om_cuda_picture {
    om_cuda_component in[3];
    int components, wide; /* wide: 16-bit samples */
    int src_w, src_h, dst_w, dst_h, pad_x, pad_y, inner_w, inner_h;
    int warped;                          /* positions follow `view` and not the rectangles */
    double view[8];                      /* see om_perspective */
    float matrix[3][4], low[3], high[3]; /* components to channels, and their bounds */
    void *dst;
} om_cuda_picture;

/* What all pictures of a batch share. */
typedef struct om_cuda_batch {
    const om_cuda_picture *pictures; /* device memory */
    int n, max_w, max_h;             /* pictures, and the largest destination among them */
    int channels, planar;
    om_cuda_filter filter;
    om_cuda_element element;
    int straight;   /* no picture is warped */
    int zero_point; /* of OM_CUDA_I8 */
    float pad[3];   /* as the channels' values, before they are rounded to elements */
} om_cuda_batch;

/* One launch; returns the cudaError_t of it. */
int om_cuda_gather_launch(const om_cuda_batch *batch, struct CUstream_st *stream);

#ifdef __cplusplus
}
#endif
#endif
