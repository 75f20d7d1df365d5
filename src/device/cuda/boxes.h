/* The kernels of a detection head: what they are told, and their launches. Plain data, understood alike by C
 * and by nvcc. */
#ifndef OM_DEVICE_CUDA_BOXES_H
#define OM_DEVICE_CUDA_BOXES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st;

/* No more than this many of the best candidates enter suppression, as on the host. */
#define OM_CUDA_MAX_CANDIDATES 30000

typedef struct om_cuda_box {
    float x0, y0, x1, y1, score;
    int32_t class_id;
} om_cuda_box;

/* What both kernels share. All pointers but `output` stay the same for a head's life. */
typedef struct om_cuda_boxes {
    const void *output; /* the first item's numbers; f16 where `half` */
    int half, columns;  /* columns: an anchor is one, not a row */
    int n, anchors, classes;
    float conf, iou;
    int max_boxes, agnostic;
    const uint8_t *wanted; /* a byte a class, or NULL: all */
    int capacity;          /* of an item's keys: a power of two, not less than anchors */
    uint64_t
        *keys; /* candidates of an item: best first once sorted, equal ones in the order of their anchors */
    int32_t *class_of;    /* of an item's anchors, where they are candidates */
    int32_t *counts;      /* candidates of each item */
    om_cuda_box *scratch; /* max_boxes of each item: those kept so far */
    om_cuda_box *kept;    /* the same, in host memory */
    int32_t *n_kept;      /* of each item; in host memory */
} om_cuda_boxes;

/* Each returns a cudaError_t. */
int om_cuda_boxes_filter(const om_cuda_boxes *b, struct CUstream_st *stream);
int om_cuda_boxes_suppress(const om_cuda_boxes *b, struct CUstream_st *stream);

#ifdef __cplusplus
}
#endif
#endif
