/* Inside the room: what the passes of om_graph_simplify() share.
 *
 * A pass looks at one node and rewrites what it finds: 1 if it did, 0 if there was nothing to do, or an
 * error. Passes edit through the functions below, which keep the counts of uses right; values made on the way
 * have no known shape until the next round. Thread-safety: one thread. */
#ifndef OM_MODEL_SIMPLIFY_H
#define OM_MODEL_SIMPLIFY_H

#include "model/graph_priv.h"
#include "model/model.h"

typedef struct om_simplifier {
    om_graph *g;
    int *uses; /* of each value: inputs of live nodes, graph outputs, names that subgraphs take */
    int cap;
    int changes;
} om_simplifier;

int om_simplifier_init(om_simplifier *s, om_graph *g);
void om_simplifier_fini(om_simplifier *s);

/* One of ONNX's own operators, still there. */
bool om_simplify_is(const om_simplifier *s, int node, const char *op);
/* The node of that operator whose first output is `value`, or -1. */
int om_simplify_maker(const om_simplifier *s, int value, const char *op);
/* One node reads the value, and nobody outside. */
bool om_simplify_sole(const om_simplifier *s, int value);
/* The node's input `k`: a value or OM_NO_VALUE; its constant or NULL. */
int om_simplify_in(const om_simplifier *s, int node, int k);
const om_const *om_simplify_const(const om_simplifier *s, int node, int k);
/* Integers of a constant input, at most `max`; -1 where it is none or has more. An absent one has -2. */
int om_simplify_ints(const om_simplifier *s, int node, int k, int64_t *out, int max);
/* A list by attribute or constant input, as operators have it before and since they take lists as inputs; the
 * same results as above. */
int om_simplify_list(const om_simplifier *s, int node, const char *attr, int k, int64_t *out, int max);

/* Element `i` of a constant of numbers. */
double om_simplify_number(const om_const *c, int64_t i);

int om_simplify_set_input(om_simplifier *s, int node, int k, int value);
/* The node becomes `op` of these inputs, without attributes; its outputs stay. */
int om_simplify_remake(om_simplifier *s, int node, const char *op, const int *inputs, int n_inputs);
/* Whoever reads output `out` of the node reads `value` instead, and the node goes. 0: it must stay, because a
 * graph's input or constant cannot be its output by another name. */
int om_simplify_bypass(om_simplifier *s, int node, int value);
void om_simplify_remove(om_simplifier *s, int node);
/* A new list of whole numbers. */
int om_simplify_add_ints(om_simplifier *s, const int64_t *v, int n);
/* A constant of the node's own at input `k`: the one that is there if nobody else reads it, else a copy. */
int om_simplify_own(om_simplifier *s, int node, int k, om_const **out);
/* Counts what was added to the graph behind the passes' back. */
int om_simplify_grow(om_simplifier *s);

/* Whole-graph passes: how many rewrites, or an error. */
int om_simplify_fold(om_simplifier *s);
int om_simplify_common(om_simplifier *s);
int om_simplify_dead(om_simplifier *s);
/* Passes of one node. */
int om_simplify_identity(om_simplifier *s, int node);
int om_simplify_batchnorm(om_simplifier *s, int node);
int om_simplify_scale(om_simplifier *s, int node);
int om_simplify_merge(om_simplifier *s, int node);

#endif
