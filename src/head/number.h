/* Numbers out of texts and rows: what several families need besides boxes. Private to the room. */
#ifndef OM_HEAD_NUMBER_H
#define OM_HEAD_NUMBER_H

#include "head/head.h"

/* Reads the next ';'-parted group of numbers, which ',' parts, and leaves *text behind it; returns how many,
 * or -1 where one is none or they are more than max. */
int om_group_read(const char **text, double *out, int max);

/* The largest of n values; NaN never wins. 0 where nothing does. */
size_t om_row_best(const float *v, size_t n);
/* Whether a row is a distribution already: nothing negative, and one in all but for rounding. */
bool om_row_is_distribution(const float *v, size_t n);
/* Element k of the row's softmax. What is not finite counts as no likelihood at all. */
float om_row_softmax(const float *v, size_t n, size_t k);
/* Whether all of n scores lie between 0 and 1; what is not finite is not looked at. */
bool om_scores_are_probabilities(const float *v, size_t n);

/* A tensor's dims as columns times rows of one item: rank 2 without a batch, rank 3 with. */
size_t om_tensor_rows(const om_tensor *t);
size_t om_tensor_columns(const om_tensor *t);
/* A tensor without its batch gets one of 1 in front, up to `rank`. */
void om_tensor_add_batch(om_tensor *t, int rank);

/* Points in the model's input to the detection's landmarks: all of them, or none where one is no number. */
void om_points_set(om_detection *d, const om_geometry *g, const float (*xy)[2], int n);
/* One object that covers what was looked at, with a text. */
int om_text_emit(const om_head *h, const om_geometry *g, const char *text, float score, om_dets *out);

#endif
