/* Between the two halves of Faster R-CNN's maker. */
#ifndef OM_MODEL_SYNTH_FASTERRCNN_H
#define OM_MODEL_SYNTH_FASTERRCNN_H

#include "model/synth.h"

#define OM_RCNN_LEVELS 5
#define OM_RCNN_CHANNELS 256

typedef struct om_rcnn {
    om_synth_tensor level[OM_RCNN_LEVELS]; /* strides 4 to 64 */
    int rows[OM_RCNN_LEVELS], columns[OM_RCNN_LEVELS];
    int height, width;      /* of the picture as the network sees it, before padding */
    int padded_h, padded_w; /* and after */
    float up_x, up_y;       /* its size over the input's */
} om_rcnn;

/* Anchors' objectness [A, 1] and deltas [A, 4] of all levels become proposals [P, 4]. */
int om_rcnn_proposals(om_synth *b, const om_rcnn *r, const int objectness[OM_RCNN_LEVELS],
                      const int deltas[OM_RCNN_LEVELS]);
/* Proposals to the three outputs. */
void om_rcnn_detect(om_synth *b, const om_rcnn *r, int proposals);

#endif
