/* Which detection belongs to which track: pairs that overlap enough, the best assignment among them. */
#ifndef OM_TRACK_MATCH_H
#define OM_TRACK_MATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "track/assign.h"

typedef struct om_box {
    float x0, y0, x1, y1;
} om_box;

typedef struct om_match_item {
    om_box box;
    int class_id;
    int index; /* the caller's */
} om_match_item;

typedef struct om_match_rule {
    float min_iou; /* above 0 */
    bool within;   /* measure by the part of the smaller box that lies in the other, instead of by IoU */
    bool agnostic; /* classes may differ */
    /* What a pair is worth, above 0; NULL: its IoU. `row` and `col` are the items' indices. */
    float (*worth)(const void *user, int row, int col, float iou);
    const void *user;
} om_match_rule;

typedef struct om_match_pair {
    int row, col;
    float worth;
} om_match_pair;

/* Working memory; grows and stays. Zeroed is valid. Thread-safety: one thread at a time. */
typedef struct om_matcher {
    om_assign_work assign;
    om_match_pair *pairs;
    size_t n_pairs, cap_pairs;
    void *sorted, *group;
    float *cost;
    int *numbers;
    size_t cap_sorted, cap_group, cap_cost, cap_numbers;
} om_matcher;

void om_matcher_fini(om_matcher *m);
float om_box_iou(om_box a, om_box b);
/* row_col[i]: the column of row i, or -1. What the pairs are worth in all is most; in groups of more than 512
 * x 512 boxes that overlap each other the best pairs go first instead, which bounds the time. OM_ERR_NOMEM.
 */
int om_match(om_matcher *m, const om_match_item *rows, int n_rows, const om_match_item *cols, int n_cols,
             const om_match_rule *rule, int *row_col);

#endif
