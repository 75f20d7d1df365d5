/* What the files of the graph share among themselves: pieces of a graph made, copied and freed; its index of
 * names. Thread-safety: as graph.h. */
#ifndef OM_MODEL_GRAPH_PRIV_H
#define OM_MODEL_GRAPH_PRIV_H

#include "model/graph.h"

#define OM_MAX_NESTING 64      /* graphs in attributes of nodes of graphs ... */
#define OM_DIM_MAX (1ll << 40) /* a larger dimension is a broken file */
#define OM_NODE_LABEL 192      /* what a message calls a node */

/* The index of names. Every value is in it. */
struct om_name_index;
int om_names_create(struct om_name_index **out);
void om_names_destroy(struct om_name_index *x);
int om_names_find(const struct om_name_index *x, const om_graph *g, const char *name);
int om_names_insert(struct om_name_index *x, const om_graph *g, int value);
void om_names_remove(struct om_name_index *x, const om_graph *g, int value);
/* Afterwards one insertion cannot fail. */
int om_names_reserve(struct om_name_index *x, const om_graph *g);
/* Exchanges the names of two values. */
void om_names_swap(struct om_name_index *x, om_graph *g, int a, int b);
int om_names_rebuild(struct om_name_index *x, const om_graph *g);

int om_unknown_copy(om_unknown *to, const om_unknown *from);
void om_const_destroy(om_const *c);
int om_const_clone(const om_const *c, om_const **out);
void om_attr_fini(om_attr *a);
void om_node_fini(om_node *n);
void om_value_fini(om_value *v);

/* Grows an array counted in ints. */
int om_grow_int(void **items, int *cap, int need, size_t size);
/* Appends a zeroed node whose lists the caller fills; its number. Pointers to nodes move. */
int om_graph_push_node(om_graph *g);
int om_graph_push_output(om_graph *g, int value);
int om_graph_push_input(om_graph *g, int value);
/* The attribute, emptied if there was one of that name; NULL when out of memory. */
om_attr *om_node_fresh_attr(om_node *n, const char *name);
/* "node '/conv/Conv' (Conv)", or by its first output where it has no name. */
const char *om_node_label(const om_graph *g, const om_node *n, char out[OM_NODE_LABEL]);

/* A value that nothing in its graph defines: in a subgraph, a name taken from outside. */
static inline bool om_value_is_free(const om_value *v)
{
    return v->producer < 0 && !v->constant && !v->is_input;
}

/* Calls `fn` for each name that the graphs in the node's attributes take from outside, nested ones too; a
 * name may come more than once. Stops at the first result that is not 0 and returns it. */
typedef int om_capture_fn(void *ctx, const char *name);
int om_node_captures(const om_node *n, om_capture_fn *fn, void *ctx);

#endif
