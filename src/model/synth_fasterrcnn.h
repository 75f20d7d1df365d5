/* Between the parts of Faster R-CNN's maker. */
#ifndef OM_MODEL_SYNTH_FASTERRCNN_H
#define OM_MODEL_SYNTH_FASTERRCNN_H

#include "model/synth.h"

#define OM_RCNN_LEVELS 5
#define OM_RCNN_CHANNELS 256
#define OM_RCNN_PROPOSALS 1000

typedef struct om_rcnn {
    om_synth_tensor level[OM_RCNN_LEVELS]; /* strides 4 to 64 */
    int rows[OM_RCNN_LEVELS], columns[OM_RCNN_LEVELS];
    int height, width;      /* of the picture as the network sees it, before padding */
    int padded_h, padded_w; /* and after */
} om_rcnn;

/* Objectness [1, A, 1] and deltas [1, A, 4] of each level's anchors become proposals [P, 4]. */
int om_rcnn_proposals(om_synth *b, const om_rcnn *r, const int objectness[OM_RCNN_LEVELS],
                      const int deltas[OM_RCNN_LEVELS]);

/* Proposals as the box heads share them. */
typedef struct om_rcnn_rois {
    int boxes;         /* [P, 4] */
    int left, top;     /* [P] each */
    int width, height; /* [P] each */
} om_rcnn_rois;
/* Their features [P, channels, OM_RCNN_POOLED, OM_RCNN_POOLED], from the level that fits each one's size. */
#define OM_RCNN_POOLED 7
int om_rcnn_pool(om_synth *b, const om_rcnn *r, int proposals, om_rcnn_rois *out);
/* Proposals to the three outputs. */
void om_rcnn_detect(om_synth *b, const om_rcnn *r, int proposals);

/* What both stages do with lists of boxes. */
typedef struct om_rcnn_list {
    int boxes, scores, groups; /* [n, 4], [n], [n] */
} om_rcnn_list;
int om_rcnn_op1(om_synth *b, const char *op, int x);
int om_rcnn_op2(om_synth *b, const char *op, int x, int y);
int om_rcnn_number(om_synth *b, const char *op, int x, float y); /* op2 with a scalar */
int om_rcnn_take(om_synth *b, int x, int index, int axis);       /* Gather */
int om_rcnn_column(om_synth *b, int x, int number);              /* [n, k] to [n] */
int om_rcnn_end(om_synth *b);                                    /* a Slice's end that is beyond every list */
int om_rcnn_slice(om_synth *b, int x, int from, int to, int axis, int step); /* `to` a value; step 0: none */
int om_rcnn_stack(om_synth *b, int axis, int n, const int *x);               /* along a new axis */
int om_rcnn_length(om_synth *b, int shape, int axis); /* a dimension of a shape, as a list of one */
int om_rcnn_where(om_synth *b, int test);             /* indices at which a list of bools holds */
/* Deltas x, y, width, height against sizes and centres, in that order, become corners along a new axis 2. */
int om_rcnn_decode(om_synth *b, const int delta[4], int width, int height, int centre_x, int centre_y);
/* Boxes along the last axis, `axis`, clipped to the picture; there is one axis more afterwards. */
int om_rcnn_clip(om_synth *b, const om_rcnn *r, int boxes, int axis);
int om_rcnn_large(om_synth *b, int boxes, float side); /* indices of boxes [n, 4] whose sides are so long */
/* Those of the list, by their indices. */
om_rcnn_list om_rcnn_choose(om_synth *b, const om_rcnn_list *x, int index);
/* Indices of those that stay, the best `most`; boxes of different groups never meet. */
int om_rcnn_suppress(om_synth *b, const char *path, const om_rcnn_list *x, float iou, int most);

#endif
