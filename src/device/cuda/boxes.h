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
    int32_t anchor; /* where it was found */
} om_cuda_box;

#define OM_CUDA_BOX_GRIDS 8
#define OM_CUDA_BOX_ANCHORS 16

enum {
    OM_CUDA_BOX_ROWS,
    OM_CUDA_BOX_COLUMNS,
    OM_CUDA_BOX_FACES,
    OM_CUDA_BOX_GRID,
    OM_CUDA_BOX_CENTERS,
    OM_CUDA_BOX_PRIORS
};

typedef struct om_cuda_box_grid {
    int first; /* its first anchor's number among all */
    int rows, columns, anchors;
    float step_x, step_y, scale_xy;
    float size[OM_CUDA_BOX_ANCHORS][2];
} om_cuda_box_grid;

/* What both kernels share. All pointers but `output` stay the same for a head's life. */
typedef struct om_cuda_boxes {
    const void *outputs[OM_CUDA_BOX_GRIDS]; /* the first item's numbers; f16 where `half` */
    int half, kind;
    int n, anchors, classes;
    om_cuda_box_grid grid[OM_CUDA_BOX_GRIDS];
    int n_grids, points; /* points: of a box */
    float width, height; /* of the input */
    int32_t *raw;        /* PRIORS: an item's scores are no probabilities yet; 0 before and after */
    float conf, iou;
    int max_boxes, agnostic;
    const uint8_t *wanted; /* a byte a class, or NULL: all */
    int capacity;          /* of an item's keys: a power of two, not less than anchors */
    uint64_t
        *keys; /* candidates of an item: best first once sorted, equal ones in the order of their anchors */
    int32_t *class_of;    /* of an item's anchors, where they are candidates */
    int32_t *counts;      /* candidates of each item; 0 before and after */
    float *rects;         /* corners of an item's anchors, where they are candidates */
    om_cuda_box *scratch; /* max_boxes of each item: those kept so far */
    float *kept_points;   /* in host memory: points * 2 of each kept box */
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
