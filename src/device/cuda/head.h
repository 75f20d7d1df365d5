/* Detection heads on the GPU: a whole batch's raw outputs become final boxes without leaving it. Filter, sort
 * and class-aware suppression are one launch each a batch; the boxes that stay are written straight into
 * pinned host memory, and are, box for box, those of the host's heads: to the last bit where only sums and
 * products make them (ROWS, COLUMNS, FACES), within 1e-5 of a score and 1e-3 of a pixel and a millionth of
 * the coordinate where an exponential does (the GPU's own is a unit in the last place off).
 *
 *   om_cuda_head_create(d, &params, batch, &k)        once a session: it owns what it needs for one batch
 *   om_cuda_head_launch(k, outputs, n, stream)        behind the network, on its stream; never waits
 *   ... once the host knows that the stream is past it (an event, a host function) ...
 *   om_cuda_head_fetch(k, n, geo, dets)               no call of CUDA's: reads pinned memory
 *
 * A launch may be captured into a CUDA graph: all pointers it uses stay the same for the head's life.
 * Thread-safety: one thread at a time. */
#ifndef OM_DEVICE_CUDA_HEAD_H
#define OM_DEVICE_CUDA_HEAD_H

#include "device/device.h"

/* How the numbers of one item lie. */
typedef enum om_cuda_head_kind {
    OM_CUDA_HEAD_ROWS,    /* YOLOv5: [N, anchors, 5 + classes]: centre, size, objectness, classes' scores */
    OM_CUDA_HEAD_COLUMNS, /* YOLOv8, v11: [N, 4 + classes, anchors]: centre, size, classes' scores */
    OM_CUDA_HEAD_FACES, /* YOLOv5-Face: [N, anchors, 15 + classes]: as rows, five points before the classes */
    OM_CUDA_HEAD_GRIDS, /* YOLOv3, v4: an output a grid, [N, anchors * (5 + classes), rows, columns], raw */
    OM_CUDA_HEAD_CENTERS, /* CenterFace: heat, size, offset and landmarks over one grid of 4x4 pixels */
    OM_CUDA_HEAD_PRIORS   /* RetinaFace: offsets, scores and points [N, priors, ...] over squares */
} om_cuda_head_kind;

#define OM_CUDA_HEAD_MAX_GRIDS 8
#define OM_CUDA_HEAD_MAX_ANCHORS 16

typedef struct om_cuda_head_grid {
    int rows, columns, anchors;              /* anchors: of a cell */
    float size[OM_CUDA_HEAD_MAX_ANCHORS][2]; /* of them */
    float scale_xy;                          /* of GRIDS */
} om_cuda_head_grid;

typedef struct om_cuda_head_params {
    om_cuda_head_kind kind;
    om_dtype dtype; /* of the output: F32 or F16 */
    int anchors,
        classes; /* of the output's shape; GRIDS, CENTERS and PRIORS: anchors follow from the grids */
    om_cuda_head_grid grid[OM_CUDA_HEAD_MAX_GRIDS]; /* CENTERS: rows and columns of the first alone */
    int n_grids;
    int width, height; /* of the model's input, for all kinds with grids */
    int points;        /* PRIORS: 4 (a plate's corners) or 5 */
    float conf, iou;   /* as om_head.params has them: a score has to be above, an overlap too */
    int max_boxes;     /* a picture */
    bool agnostic;
    const int *wanted; /* only these classes, copied; n_wanted 0: all */
    int n_wanted;
} om_cuda_head_params;

typedef struct om_cuda_head om_cuda_head;

/* For up to `batch` items at a time. OM_ERR_ARG, OM_ERR_NOMEM, OM_ERR_DEVICE_LOST. */
int om_cuda_head_create(om_device *d, const om_cuda_head_params *p, int batch, om_cuda_head **out);
void om_cuda_head_destroy(om_cuda_head *k); /* NULL is allowed; nothing of it is in flight any more */
/* `outputs`: in the kind's own order, each with its first of n items, one behind the other, in device memory.
 * NULL stream: the device's own, and the call waits. */
int om_cuda_head_launch(om_cuda_head *k, const void *const *outputs, int n, om_stream *s);
/* Appends item i's boxes to dets[i] in source pixels by geo[i]. After the work of the launch is done. */
int om_cuda_head_fetch(const om_cuda_head *k, int n, const om_geometry *geo, om_dets *dets);

#endif
