/* How good boxes are: average precision and recall as COCO's own evaluation (pycocotools' COCOeval) counts
 * them, and agreement with another model whose boxes stand for the truth. This is the room's public header.
 *
 * Pictures and classes are numbers from 0: whoever reads a data set maps its ids to them, in rising order
 * where ties between equal scores shall fall as pycocotools has them. */
#ifndef OM_EVAL_DETECTION_H
#define OM_EVAL_DETECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame/result.h"

/* A true object, or a box that a model found. */
typedef struct om_eval_box {
    int image, class_id;
    double x, y, w, h;
    double score; /* of a found box */
    double area;  /* of a true object, which a mask may have told; of a found box always w * h */
    bool crowd;   /* of a true object: a region of many; what is found in it counts neither way */
    bool mute;    /* of a true object: a box that stands for it is no match. COCOeval takes a match with the
                     annotation of id 0 for none; readers of COCO's files keep it so, and say it */
} om_eval_box;

/* Zeroed is valid and empty. Thread-safety: one thread. */
typedef struct om_eval_boxes {
    om_eval_box *items;
    size_t n, cap;
} om_eval_boxes;

/* Appends one box as it is. OM_ERR_NOMEM. */
int om_eval_boxes_add(om_eval_boxes *b, const om_eval_box *box);
/* Appends what a model found in a picture. OM_ERR_NOMEM. */
int om_eval_boxes_add_dets(om_eval_boxes *b, int image, const om_dets *d);
void om_eval_boxes_fini(om_eval_boxes *b);

#define OM_EVAL_THRESHOLDS 10 /* overlaps 0.50, 0.55 ... 0.95 */

/* COCO's twelve figures, or a class's share of them. NAN where there is nothing to measure (COCOeval: -1). */
typedef struct om_eval_scores {
    double ap, ap50, ap75; /* mean over the ten overlaps; at 0.50; at 0.75 */
    double ap_small, ap_medium, ap_large;
    double ar[3]; /* recall with at most max_dets[k] boxes a picture and class */
    double ar_small, ar_medium, ar_large;
} om_eval_scores;

typedef struct om_eval_class {
    om_eval_scores scores;
    size_t truth; /* objects, without crowds */
    size_t found;
} om_eval_class;

typedef struct om_eval_params {
    int max_dets[3]; /* rising; the last bounds the average precisions too. {0}: COCO's 1, 10, 100 */
} om_eval_params;

/* Zeroed is valid and empty. */
typedef struct om_eval_result {
    om_eval_scores scores;  /* means over the classes that have objects */
    om_eval_class *classes; /* n_classes of them; owned */
    int n_classes;
    size_t images, truth, crowds, found; /* boxes of classes and pictures that are judged */
} om_eval_result;

/* Equal boxes of equal score come in the order of the list. `params` NULL: COCO's. Boxes of a picture or
 * class outside 0..n_images-1, 0..n_classes-1 are left out. OM_ERR_ARG: a number that is not finite, or
 * max_dets that do not rise. OM_ERR_NOMEM. Thread-safety: any thread; nothing is kept. */
int om_eval_detection(const om_eval_boxes *truth, const om_eval_boxes *found, int n_images, int n_classes,
                      const om_eval_params *params, om_eval_result *out);
void om_eval_result_fini(om_eval_result *r);

/* A model against a reference on the same pictures. Pairs are a box of the reference from `threshold` on and
 * one of the other model, of one class and overlapping by 0.5 and more; best score first, each box in one
 * pair. */
typedef struct om_eval_agreement {
    double ap50, ap50_95; /* of `found` (all of it), where the reference's boxes from `threshold` are the
                             truth; NAN: it has none */
    size_t images;
    size_t reference; /* its boxes from `threshold` */
    size_t found;     /* the other's boxes from `threshold` */
    size_t matched;   /* pairs whose found box scores `threshold` and more */
    size_t missed;    /* reference - matched */
    size_t extra;     /* found - matched */
    size_t pairs;     /* whatever the found box scores: so that drift sees what fell below the threshold */
    double drift_mean, drift_abs, drift_max; /* score less the reference's, over the pairs: mean, mean size,
                                                largest size; NAN: no pairs */
    double iou_mean;                         /* overlap of the pairs; NAN: none */
} om_eval_agreement;

/* `reference` and `found` are lists of found boxes; give both down to low scores (0.001), for only boxes that
 * are there can make up the precision curve. At most 1000 boxes of a picture and class count. OM_ERR_ARG,
 * OM_ERR_NOMEM as above. */
int om_eval_agree(const om_eval_boxes *reference, const om_eval_boxes *found, int n_images, int n_classes,
                  double threshold, om_eval_agreement *out);

/* Overlap of two boxes, 0..1. `crowd`: share of `found` that lies in `truth`. */
double om_eval_iou(const om_eval_box *found, const om_eval_box *truth, bool crowd);

#endif
