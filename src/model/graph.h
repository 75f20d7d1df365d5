/* The model as a graph: what ONNX files become, what passes edit, what engines compile.
 *
 * Values are numbered; nodes name them by number. A value is a graph input, a constant (an initializer), or
 * the output of one node. Subgraphs (If, Loop, Scan) are attributes; a name they take from outside stays a
 * name and is resolved by om_graph_validate(). Thread-safety: one thread edits; any number may read an
 * unedited graph. */
#ifndef OM_MODEL_GRAPH_H
#define OM_MODEL_GRAPH_H

#include "base/str.h"
#include "base/tensor.h"

typedef struct om_graph om_graph;

/* Bytes of fields this schema does not know, kept verbatim per message for the round trip. */
typedef struct om_unknown {
    uint8_t *bytes; /* concatenated tag + payload, as on the wire; owned */
    size_t len;
} om_unknown;

/* A constant. `data` holds shape-count elements of dtype, little-endian; strings are kept apart. */
typedef struct om_const {
    om_dtype dtype;
    om_shape shape;
    void *data; /* owned */
    size_t size;
    char **strings; /* dtype STRING: shape-count owned texts */
    size_t *string_len;
    om_unknown unknown;
} om_const;

typedef enum om_attr_type {
    OM_ATTR_FLOAT = 1,
    OM_ATTR_INT = 2,
    OM_ATTR_STRING = 3,
    OM_ATTR_TENSOR = 4,
    OM_ATTR_GRAPH = 5,
    OM_ATTR_FLOATS = 6,
    OM_ATTR_INTS = 7,
    OM_ATTR_STRINGS = 8,
    OM_ATTR_TENSORS = 9,
    OM_ATTR_GRAPHS = 10,
    OM_ATTR_OTHER = 99 /* sparse tensors, type protos, functions' references: kept as unknown bytes */
} om_attr_type;

typedef struct om_attr {
    char *name;
    om_attr_type type;
    float f;
    int64_t i;
    char *s; /* terminated; s_len bytes */
    size_t s_len;
    size_t n; /* of floats, ints, strings, tensors, graphs */
    float *floats;
    int64_t *ints;
    char **strings;
    om_const **tensors; /* TENSOR: one */
    om_graph **graphs;  /* GRAPH: one */
    om_unknown unknown;
} om_attr;

#define OM_NO_VALUE (-1) /* an absent optional input or output */

typedef struct om_node {
    char *name;   /* may be empty */
    char *op;     /* "Conv" */
    char *domain; /* "" is ONNX's own */
    char *doc;
    int *inputs; /* value numbers or OM_NO_VALUE */
    int n_inputs;
    int *outputs;
    int n_outputs;
    om_attr *attrs;
    int n_attrs;
    bool dead; /* removed; om_graph_compact() drops it */
    om_unknown unknown;
} om_node;

typedef struct om_value {
    char *name; /* unique and not empty */
    om_dtype dtype;
    om_shape shape;               /* rank -1: not known */
    char *dim_param[OM_MAX_RANK]; /* symbolic name of a dynamic dim, or NULL */
    int producer;                 /* node number, or -1 */
    om_const *constant;           /* not NULL: an initializer, or folded; owned */
    bool is_input, is_output;
    bool declared; /* has a value_info of its own in the file */
    bool listed;   /* an initializer that the file lists among its inputs too, as older files do */
    char *doc;
    om_unknown unknown;
} om_value;

typedef struct om_meta {
    char *key, *value;
} om_meta;

typedef struct om_opset {
    char *domain;
    int64_t version;
} om_opset;

struct om_graph {
    char *name, *doc;
    om_node *nodes;
    int n_nodes, cap_nodes;
    om_value *values;
    int n_values, cap_values;
    int *inputs; /* true inputs: initializers that older files list too are not among them */
    int n_inputs, cap_inputs;
    int *outputs;
    int n_outputs, cap_outputs;
    om_unknown unknown;

    /* Of the model; empty in subgraphs. */
    int64_t ir_version, model_version;
    char *producer, *producer_version, *model_domain, *model_doc;
    om_opset *opsets;
    int n_opsets;
    om_meta *metas;
    int n_metas;
    om_unknown model_unknown;
    struct om_name_index *index; /* name -> value number */
};

int om_graph_create(const char *name, om_graph **out);
void om_graph_destroy(om_graph *g);

/* Values. All return a number, or a negative om_err. */
int om_graph_find(const om_graph *g, const char *name); /* OM_ERR_NOT_FOUND without a message */
int om_graph_add_value(om_graph *g, const char *name, om_dtype dtype,
                       const om_shape *shape); /* NULL name: a fresh one */
int om_graph_add_input(om_graph *g, const char *name, om_dtype dtype, const om_shape *shape);
int om_graph_mark_output(om_graph *g, int value);
/* A constant with a copy of `data`. */
int om_graph_add_const(om_graph *g, const char *name, om_dtype dtype, const om_shape *shape,
                       const void *data);
int om_graph_add_const_i64(om_graph *g, const char *name, const int64_t *v, int n); /* rank 1 */
int om_graph_add_const_f32(om_graph *g, const char *name, float v);                 /* rank 0 */
/* OM_ERR_ARG if another value has that name; subgraphs that take it from here do not follow. */
int om_graph_rename_value(om_graph *g, int value, const char *name);
void om_graph_set_dim_param(om_graph *g, int value, int dim, const char *name);

/* Adds a node with new output values; returns the node's number. `n_outputs` fresh values are made. */
int om_graph_add_node(om_graph *g, const char *op, const char *name, const int *inputs, int n_inputs,
                      int n_outputs);
/* The first output of node `n`. */
static inline int om_node_out(const om_graph *g, int n) { return g->nodes[n].outputs[0]; }
const om_attr *om_node_attr(const om_node *n, const char *name); /* NULL: absent */
int64_t om_node_attr_int(const om_node *n, const char *name, int64_t def);
float om_node_attr_float(const om_node *n, const char *name, float def);
const char *om_node_attr_string(const om_node *n, const char *name, const char *def);
/* At most `max` into out; returns how many the attribute has, -1 if absent. */
int om_node_attr_ints(const om_node *n, const char *name, int64_t *out, int max);
int om_node_set_int(om_node *n, const char *name, int64_t v);
int om_node_set_float(om_node *n, const char *name, float v);
int om_node_set_string(om_node *n, const char *name, const char *v);
int om_node_set_ints(om_node *n, const char *name, const int64_t *v, int n_v);
/* Every use of `from` as an input or as a graph output becomes `to` (the output keeps its name). */
int om_graph_replace_uses(om_graph *g, int from, int to);
void om_graph_remove_node(om_graph *g, int node); /* marks it dead; its outputs lose their producer */
/* Drops dead nodes and values nobody uses, renumbering. */
int om_graph_compact(om_graph *g);
/* Sorts nodes so that producers come first; OM_ERR_FORMAT names a node on a cycle. */
int om_graph_sort(om_graph *g);
const char *om_graph_meta(const om_graph *g, const char *key); /* NULL: absent */
int om_graph_set_meta(om_graph *g, const char *key, const char *value);
int64_t om_graph_opset(const om_graph *g, const char *domain); /* 0: not imported */
int om_graph_set_opset(om_graph *g, const char *domain, int64_t version);

#endif
