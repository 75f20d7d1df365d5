/* Truth and result frame by frame, with their ids as small numbers; what the measures share. Private to the
 * room. */
#ifndef OM_EVAL_MOT_FRAMES_H
#define OM_EVAL_MOT_FRAMES_H

#include "eval/mot.h"
#include "track/assign.h"

/* One frame's boxes: [first, first + n) of each list. */
typedef struct om_mot_frame {
    size_t truth, n_truth, result, n_result;
} om_mot_frame;

/* Two sets of boxes, prepared. Zeroed is valid. */
typedef struct om_mot_pair {
    const om_mot_boxes *truth, *result;
    om_mot_frame *frames;
    size_t n_frames;
    int *truth_id, *result_id; /* of each box: 0 .. n_ids - 1 */
    size_t n_truth_ids, n_result_ids;
    size_t *truth_count, *result_count; /* of each id: its boxes */
    float *cost;                        /* room for the largest frame */
    double *iou;
    int *row_col;
    om_assign_work work;
} om_mot_pair;

int om_mot_pair_init(om_mot_pair *p, const om_mot_boxes *truth, const om_mot_boxes *result);
void om_mot_pair_fini(om_mot_pair *p);
/* Fills p->iou, n_truth rows of n_result. */
void om_mot_pair_overlaps(om_mot_pair *p, const om_mot_frame *f);

int om_mot_clear(om_mot_pair *p, double min_iou, om_mot_scores *out);
int om_mot_identity(om_mot_pair *p, double min_iou, om_mot_scores *out);
int om_mot_hota(om_mot_pair *p, om_mot_scores *out);

#endif
