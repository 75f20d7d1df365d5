/* What tells two models apart. */
#ifndef OM_MODEL_DIFF_H
#define OM_MODEL_DIFF_H

#include "model/graph.h"

typedef enum om_diff_part {
    OM_DIFF_HEADER, /* producer, ir version, opsets */
    OM_DIFF_META,
    OM_DIFF_INPUT,
    OM_DIFF_OUTPUT,
    OM_DIFF_NODE,
    OM_DIFF_WEIGHT,
    OM_DIFF_PARTS
} om_diff_part;
extern const char *const om_diff_part_names[OM_DIFF_PARTS]; /* "header" ... */

typedef enum om_diff_change { OM_DIFF_ADDED, OM_DIFF_REMOVED, OM_DIFF_CHANGED } om_diff_change;
extern const char *const om_diff_change_names[]; /* "added" ... */

typedef struct om_diff_item {
    om_diff_part part;
    om_diff_change change; /* from the first to the second */
    char *name;            /* of the key, tensor, node or weight */
    char *a, *b;           /* what it is in either; "" where it is not */
    double max_difference; /* of weights with the same shape; -1 where it says nothing */
} om_diff_item;

/* Thread-safety: constant once made. */
typedef struct om_diff {
    om_diff_item *items; /* by part */
    size_t n, cap;
    int same_nodes, same_weights;
} om_diff;

/* Nodes are matched by what they make, then by their names; weights and tensors by name. Shapes should have
 * been inferred. Freed by om_diff_free(). */
int om_graph_diff(const om_graph *a, const om_graph *b, om_diff **out);
void om_diff_free(om_diff *d);

#endif
