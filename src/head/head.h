/* Heads turn a model's raw outputs into detections. A file a family; the room's public header. */
#ifndef OM_HEAD_HEAD_H
#define OM_HEAD_HEAD_H

#include "kernel/kernel.h"
#include "model/model.h"

typedef struct om_head om_head;

typedef struct om_head_params {
    float conf;         /* a box counts when its score is above; negative: the family's own */
    float iou;          /* of two boxes that overlap by more the lesser goes; negative: the family's own */
    int max_boxes;      /* a picture */
    bool agnostic;      /* NMS over all classes */
    int top_k;          /* classification */
    const int *classes; /* only these; NULL: all */
    int n_classes;
    const char *alphabet; /* text: a file with a character a line; NULL: the model's metadata */
    int blank;            /* text: the class that is no character, or one of OM_BLANK_* */
    float mask_conf;      /* text regions: a pixel counts when its likeness is above; negative: 0.3 */
    bool mask_dilate;     /* text regions: the mask grows by a pixel right and down */
    float unclip;         /* text regions: a box grows by area * unclip / perimeter; negative: 1.6 */
    const char *anchors;  /* sizes of anchors or priors, a group for each scale, parted by ';'; NULL: the
                             model's metadata, else the family's own */
    int vector_max;       /* most numbers of a vector in a result */
} om_head_params;

#define OM_VECTOR_MAX 4096
#define OM_BLANK_OWN (-2)  /* the first of a line's classes, the last of a plate's */
#define OM_BLANK_LAST (-1) /* the last */

/* Working memory of one decoding thread; grows and stays. Zeroed is valid. */
typedef struct om_head_scratch {
    void *data;
    size_t size;
} om_head_scratch;

void *om_head_scratch_get(om_head_scratch *s, size_t size); /* NULL when out of memory; contents undefined */
void om_head_scratch_fini(om_head_scratch *s);

#define OM_HEAD_GRIDS 8
#define OM_HEAD_ANCHORS 16

/* What decoding elsewhere than in the host's memory has to know of a head, beyond its parameters. */
typedef struct om_head_grids {
    int output[OM_HEAD_GRIDS]; /* the model's outputs in the family's own order */
    int n_outputs;
    int n;                                           /* grids of anchors or priors; 0: none */
    int anchors[OM_HEAD_GRIDS];                      /* of a cell */
    float anchor[OM_HEAD_GRIDS][OM_HEAD_ANCHORS][2]; /* width, height in input pixels */
    float scale_xy[OM_HEAD_GRIDS];
    int points; /* landmarks of a box */
} om_head_grids;

typedef struct om_head_ops {
    const char *name;  /* "yolov8" */
    const char *title; /* "YOLOv8 and v11 detection" */
    om_family family;
    float conf, iou; /* the family's own; iou 1: suppresses nothing */
    size_t priv_size;
    /* Checks that the outputs fit, keeps what decode needs. OM_ERR_ARG says what was expected and what there
     * is. */
    int (*init)(om_head *h, const om_model_desc *desc);
    void (*fini)(om_head *h); /* optional */
    /* Item `item` of the batch. `outputs` are in the order of desc->outputs, with the batch as first dim;
     * host memory. Appends to `out` in source pixels by `g`. NaN and infinities in the outputs never reach
     * `out`. Thread-safety: reentrant with different scratch. */
    int (*decode)(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out);
    /* Optional: false where the model's outputs are of a form that only decode() knows. */
    bool (*grids)(const om_head *h, om_head_grids *out);
} om_head_ops;

/* Thread-safety: constant after om_head_create(). */
struct om_head {
    const om_head_ops *ops;
    om_head_params params; /* numbers are never negative here; alphabet and anchors for init() alone */
    const om_kernels *kernels;
    const om_model_desc *desc; /* outlives the head */
    int n_classes;             /* 0: not known, or the labels are the model's own numbers */
    float own_iou;             /* the family's own; init() may change it */
    void *priv;
};

/* NULL-terminated registry. */
const om_head_ops *const *om_head_registry(void);
void om_head_params_default(om_head_params *p);

/* The head for desc->family. OM_ERR_ARG lists output shapes and near families where none fits. `params` is
 * copied (the classes array too). */
int om_head_create(const om_model_desc *desc, const om_head_params *params, om_head **out);
void om_head_destroy(om_head *h);
/* The wrapper: validates, traces, calls decode. */
int om_head_decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                   const om_geometry *g, om_dets *out);

#endif
