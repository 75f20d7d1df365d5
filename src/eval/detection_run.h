/* Boxes by class and picture, and the evaluation with fewer areas. Private to the room. */
#ifndef OM_EVAL_DETECTION_RUN_H
#define OM_EVAL_DETECTION_RUN_H

#include "eval/detection_priv.h"

/* A list in order: by class, then picture, then falling score (of found boxes), then place in the list. */
typedef struct om_eval_sorted {
    const om_eval_boxes *list;
    size_t *order; /* n indices of the list; owned */
    size_t n;      /* without boxes of pictures and classes that are not judged */
} om_eval_sorted;

/* On failure too *out is to be finished. */
int om_eval_sort(const om_eval_boxes *b, int n_images, int n_classes, bool scores, om_eval_sorted *out);
void om_eval_sorted_fini(om_eval_sorted *s);
/* The boxes from `from` on that are of this class and picture. */
om_eval_group om_eval_next_group(const om_eval_sorted *s, size_t from, int class_id, int image);
/* The next picture of a class in either list; false: there is none. */
bool om_eval_next_image(const om_eval_sorted *a, size_t i, const om_eval_sorted *b, size_t k, int class_id,
                        int *image);

/* om_eval_detection() for the first `areas` areas; the others' figures are NAN. */
int om_eval_run(const om_eval_boxes *truth, const om_eval_boxes *found, int n_images, int n_classes,
                const om_eval_params *params, int areas, om_eval_result *out);

#endif
