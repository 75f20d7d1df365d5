/* What matching and counting share: found boxes of one class with what each overlap made of them. Private to
 * the room. */
#ifndef OM_EVAL_DETECTION_PRIV_H
#define OM_EVAL_DETECTION_PRIV_H

#include "eval/detection.h"

#define OM_EVAL_AREAS 4 /* all, small, medium, large */

/* A found box, judged. Bit t of a word is the t-th overlap. */
typedef struct om_judged {
    double score;
    int image, rank;              /* its place among the boxes of its picture and class */
    uint16_t hit[OM_EVAL_AREAS];  /* stands for an object */
    uint16_t mute[OM_EVAL_AREAS]; /* counts neither way */
} om_judged;

/* Boxes of one picture and class: [first, first + n) of `order`, which holds indices of the list. */
typedef struct om_eval_group {
    size_t first, n;
} om_eval_group;

/* Room for the largest group; grows. Zeroed is valid. */
typedef struct om_match_work {
    double *iou;
    size_t cap_iou;
    size_t *order; /* of the truth: what counts comes first */
    size_t cap_order;
    uint8_t *taken;
    size_t cap_taken;
} om_match_work;

void om_match_work_fini(om_match_work *w);

/* The overlaps and the areas of COCO's evaluation. */
double om_eval_threshold(int t);
bool om_eval_in_area(int area, double size);

/* Matches the found boxes of one picture and class, best first, with its true ones for the first `areas`
 * areas: fills hit and mute of judged[0..n_found). */
int om_eval_match(om_match_work *w, const om_eval_box *truth, const size_t *truth_order, size_t n_truth,
                  const om_eval_box *found, const size_t *found_order, size_t n_found, int areas,
                  om_judged *judged);

/* Average precision at each overlap and the recall there, of boxes in falling score with rank < max_det.
 * `objects` > 0. `work`: room for 2 * n doubles. */
void om_eval_curve(const om_judged *boxes, size_t n, int area, int max_det, size_t objects, double *work,
                   double ap[OM_EVAL_THRESHOLDS], double recall[OM_EVAL_THRESHOLDS]);

#endif
