/* Before lowering: with its inputs' shapes fixed a graph has no shape left to compute. */
#include <string.h>

#include "backend/cuda/engine.h"
#include "base/error.h"

/* Shapes that are fixed now are constants for all that is computed from them. */
static int freeze_shapes(om_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        om_node *n = &g->nodes[i];
        bool shape = strcmp(n->op, "Shape") == 0, size = strcmp(n->op, "Size") == 0;
        if (n->dead || (!shape && !size) || n->n_inputs < 1) continue;
        om_shape s = g->values[n->inputs[0]].shape;
        if (s.rank < 0 || !om_shape_static(&s)) continue;
        int64_t first = om_node_attr_int(n, "start", 0), end = om_node_attr_int(n, "end", s.rank);
        if (first < 0) first += s.rank;
        if (end < 0) end += s.rank;
        if (first < 0) first = 0;
        if (end > s.rank) end = s.rank;
        int64_t count = om_shape_count(&s);
        om_shape scalar = {.rank = 0};
        int value = shape
                        ? om_graph_add_const_i64(g, NULL, s.dim + first, end > first ? (int)(end - first) : 0)
                        : om_graph_add_const(g, NULL, OM_DTYPE_I64, &scalar, &count);
        if (value < 0) return value;
        int err = om_graph_replace_uses(g, g->nodes[i].outputs[0], value);
        if (err < 0) return err;
        om_graph_remove_node(g, i);
    }
    return OM_OK;
}

/* Constants that are nodes, of whatever size: weights, in some exports. */
static int freeze_constants(om_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const om_attr *a = om_node_attr(&g->nodes[i], "value");
        if (g->nodes[i].dead || strcmp(g->nodes[i].op, "Constant") != 0 || !a || !a->tensors) continue;
        const om_const *c = a->tensors[0];
        if (!c->data) continue;
        int value = om_graph_add_const(g, NULL, c->dtype, &c->shape, c->data);
        if (value < 0) return value;
        int err = om_graph_replace_uses(g, g->nodes[i].outputs[0], value);
        if (err < 0) return err;
        om_graph_remove_node(g, i);
    }
    return OM_OK;
}

int omcu_settle(const om_graph *graph, const om_shape *inputs, int n_inputs, om_graph **out)
{
    om_graph *g = NULL;
    *out = NULL;
    int err = om_graph_clone(graph, &g);
    for (int i = 0; i < n_inputs && !err; i++) err = om_graph_set_input_shape(g, i, &inputs[i]);
    if (!err) err = freeze_constants(g);
    if (!err) err = om_graph_infer_shapes(g);
    /* A reshape to a folded shape can make the next shape known. */
    for (int i = 0; i < 3 && !err; i++) {
        err = freeze_shapes(g);
        if (!err) err = om_graph_fold_constants(g);
        if (!err) err = om_graph_infer_shapes(g);
    }
    /* What only shapes were computed from is of no use any more. */
    if (!err) err = om_graph_eliminate_dead(g) < 0 ? OM_ERR_NOMEM : OM_OK;
    if (!err) err = om_graph_sort(g);
    if (err) om_graph_destroy(g);
    else *out = g;
    return err;
}
