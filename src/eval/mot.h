/* How good tracks are against ground truth: CLEAR-MOT (as py-motmetrics counts), identities (IDF1), HOTA. */
#ifndef OM_EVAL_MOT_H
#define OM_EVAL_MOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct om_mot_box {
    int frame;
    int64_t id;
    double x, y, w, h;
} om_mot_box;

/* Zeroed is valid and empty. Thread-safety: one thread. */
typedef struct om_mot_boxes {
    om_mot_box *items; /* by frame, within one by id */
    size_t n, cap;
} om_mot_boxes;

typedef struct om_mot_scores {
    size_t frames, objects, predictions;
    size_t truth_ids, result_ids;
    size_t matches, switches, false_positives, misses, fragmentations;
    size_t mostly_tracked, partially_tracked, mostly_lost;
    double mota, motp, precision, recall; /* motp: mean distance, 1 - IoU */
    double idf1, idp, idr;
    size_t idtp, idfp, idfn;
    double hota, deta, assa, loca; /* means over the overlaps 0.05 to 0.95 */
} om_mot_scores;

void om_mot_boxes_fini(om_mot_boxes *b);
/* A MOTChallenge file ("frame,id,x,y,w,h,..."; frames from 1) or, where it begins with '{', results in JSONL,
 * whose `seq` counts from 0; only objects with a track. `stream`: which of several in JSONL; NULL: there is
 * but one. `truth`: rows whose seventh column is 0 are left out. OM_ERR_FORMAT names file and line;
 * OM_ERR_ARG where `stream` is needed or not there. */
int om_mot_read(const char *path, const char *stream, bool truth, om_mot_boxes *out);
/* Pairs of an object and a box count from this overlap on. */
int om_mot_score(const om_mot_boxes *truth, const om_mot_boxes *result, double min_iou, om_mot_scores *out);

#endif
