/* Detection heads on the GPU: a whole batch's raw outputs become final boxes without leaving it. Filter, sort
 * and class-aware suppression are one launch each a batch; the boxes that stay are written straight into
 * pinned host memory, and are, box for box, those of the host's heads.
 *
 *   om_cuda_head_create(d, &params, batch, &k)        once a session: it owns what it needs for one batch
 *   om_cuda_head_launch(k, &output, n, stream)        behind the network, on its stream; never waits
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
    OM_CUDA_HEAD_ROWS,   /* YOLOv5: [N, anchors, 5 + classes]: centre, size, objectness, classes' scores */
    OM_CUDA_HEAD_COLUMNS /* YOLOv8, v11: [N, 4 + classes, anchors]: centre, size, classes' scores */
} om_cuda_head_kind;

typedef struct om_cuda_head_params {
    om_cuda_head_kind kind;
    om_dtype dtype;       /* of the output: F32 or F16 */
    int anchors, classes; /* of the output's shape */
    float conf, iou;      /* as om_head.params has them: a score has to be above, an overlap too */
    int max_boxes;        /* a picture */
    bool agnostic;
    const int *wanted; /* only these classes, copied; n_wanted 0: all */
    int n_wanted;
} om_cuda_head_params;

typedef struct om_cuda_head om_cuda_head;

/* For up to `batch` items at a time. OM_ERR_ARG, OM_ERR_NOMEM, OM_ERR_DEVICE_LOST. */
int om_cuda_head_create(om_device *d, const om_cuda_head_params *p, int batch, om_cuda_head **out);
void om_cuda_head_destroy(om_cuda_head *k); /* NULL is allowed; nothing of it is in flight any more */
/* `output`: the first of n items, one behind the other, in device memory. NULL stream: the device's own, and
 * the call waits. */
int om_cuda_head_launch(om_cuda_head *k, const void *output, int n, om_stream *s);
/* Appends item i's boxes to dets[i] in source pixels by geo[i]. After the work of the launch is done. */
int om_cuda_head_fetch(const om_cuda_head *k, int n, const om_geometry *geo, om_dets *dets);

#endif
