/* Before anything is lowered: in which order each value's dims lie in memory, and which values are written
 * right into the concatenation they are part of. */
#include <string.h>

#include "backend/cuda/lower.h"
#include "base/error.h"

static void plain_order(int order[OM_MAX_RANK])
{
    for (int i = 0; i < OM_MAX_RANK; i++) order[i] = i;
}

/* Channels innermost. */
static void picture_order(int rank, int order[OM_MAX_RANK])
{
    plain_order(order);
    for (int i = 1; i + 1 < rank; i++) order[i] = i + 1;
    if (rank > 1) order[rank - 1] = 1;
}

static bool is_any(const char *op, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(op, *list) == 0) return true;
    return false;
}

static const char *const picture_ops[] = {"Conv",   "ConvTranspose", "MaxPool",           "AveragePool",
                                          "Resize", "Upsample",      "GlobalAveragePool", "GlobalMaxPool",
                                          NULL};
static const char *const reshape_ops[] = {"Reshape",  "Flatten", "Squeeze", "Unsqueeze",
                                          "Identity", "Dropout", NULL};
static const char *const plain_ops[] = {"MatMul", "Gemm", "DepthToSpace", "SpaceToDepth", NULL};

static void order_of_node(omcu_lower_state *l, const om_node *n, int order[OM_MAX_RANK])
{
    const om_shape *out = omcu_shape(l, n->outputs[0]);
    size_t bytes;
    plain_order(order);
    if (strcmp(n->op, "MatMul") == 0 && omcu_is_const(l, n->inputs[1]) &&
        omcu_shape(l, n->inputs[0])->rank == out->rank) {
        /* Rows come in any order. */
        const int *in = l->values[n->inputs[0]].order;
        if (out->rank > 0 && in[out->rank - 1] == out->rank - 1) memcpy(order, in, sizeof l->values[0].order);
        return;
    }
    if (out->rank < 0 || is_any(n->op, plain_ops)) return;
    if (is_any(n->op, picture_ops)) {
        picture_order(out->rank, order);
        return;
    }
    if (is_any(n->op, reshape_ops) && n->inputs[0] >= 0) {
        omcu_view in = omcu_view_dense(OMCU_F32, omcu_shape(l, n->inputs[0]), l->values[n->inputs[0]].order,
                                       1, &bytes),
                  r;
        if (omcu_view_reshape(&in, out->rank, out->dim, &r)) omcu_view_order(&r, order);
        return;
    }
    if (strcmp(n->op, "Transpose") == 0) {
        int64_t perm[OM_MAX_RANK];
        int p[OM_MAX_RANK], rank = om_node_attr_ints(n, "perm", perm, OM_MAX_RANK);
        for (int i = 0; i < out->rank; i++) p[i] = rank == out->rank ? (int)perm[i] : out->rank - 1 - i;
        omcu_view in =
            omcu_view_dense(OMCU_F32, omcu_shape(l, n->inputs[0]), l->values[n->inputs[0]].order, 1, &bytes);
        omcu_view r = omcu_view_permute(&in, p);
        omcu_view_order(&r, order);
        return;
    }
    /* As the first operand that has the output's rank and is no constant. */
    for (int i = 0; i < n->n_inputs; i++) {
        int v = n->inputs[i];
        if (v < 0 || omcu_is_const(l, v) || omcu_shape(l, v)->rank != out->rank) continue;
        memcpy(order, l->values[v].order, sizeof l->values[v].order);
        return;
    }
}

static int producer(const omcu_lower_state *l, int value) { return l->g->values[value].producer; }

/* `value` shall be written to `view`; through operators that only look at their input differently. */
static bool place(omcu_lower_state *l, int value, const omcu_view *view)
{
    omcu_value *v = &l->values[value];
    int node = producer(l, value);
    if (v->is_placed || v->set || omcu_is_const(l, value) || node < 0) return false;
    const om_node *n = &l->g->nodes[node];
    if (is_any(n->op, reshape_ops)) {
        const om_shape *in = omcu_shape(l, n->inputs[0]);
        omcu_view r;
        return in->rank >= 0 && omcu_view_reshape(view, in->rank, in->dim, &r) && place(l, n->inputs[0], &r);
    }
    if (strcmp(n->op, "Transpose") == 0) {
        int64_t perm[OM_MAX_RANK];
        int back[OM_MAX_RANK], rank = om_node_attr_ints(n, "perm", perm, OM_MAX_RANK);
        for (int i = 0; i < view->rank; i++) back[rank == view->rank ? perm[i] : view->rank - 1 - i] = i;
        omcu_view r = omcu_view_permute(view, back);
        return place(l, n->inputs[0], &r);
    }
    if (strcmp(n->op, "Split") == 0 || strcmp(n->op, "Slice") == 0 || strcmp(n->op, "Expand") == 0)
        return false;
    /* What others read on a finer grid does not lie there alone. */
    const omcu_grid *own = l->how->qdq && value < l->how->qdq->n_values ? &l->how->qdq->grids[value] : NULL;
    if (view->grid.scale > 0 && v->n_users > 1 && own && own->scale > 0 &&
        (own->scale != view->grid.scale || own->zero != view->grid.zero))
        return false;
    v->is_placed = true;
    v->placed = *view;
    return true;
}

static int axis_of(const om_node *n, int rank, int64_t def)
{
    int64_t axis = om_node_attr_int(n, "axis", def);
    return (int)(axis < 0 ? axis + rank : axis);
}

/* From input `i` on, all parts of one split in their order: how many; 0: no such. */
static int whole_split(const omcu_lower_state *l, const om_node *n, int i, int axis)
{
    int node = n->inputs[i] >= 0 ? producer(l, n->inputs[i]) : -1;
    if (node < 0) return 0;
    const om_node *s = &l->g->nodes[node];
    int rank = omcu_shape(l, n->outputs[0])->rank;
    if (strcmp(s->op, "Split") != 0 || axis_of(s, rank, 0) != axis || i + s->n_outputs > n->n_inputs)
        return 0;
    for (int k = 0; k < s->n_outputs; k++)
        if (s->outputs[k] != n->inputs[i + k]) return 0;
    return s->n_outputs;
}

static int place_parts(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    int out = n->outputs[0], rank = omcu_shape(l, out)->rank, axis = axis_of(n, rank, 0);
    omcu_value *v = &l->values[out];
    if (omcu_is_const(l, out) || !om_shape_static(omcu_shape(l, out)) || rank < 1) return OM_OK;
    if (!v->is_placed) {
        omcu_grid grid = omcu_grid_of(l, out);
        int err = grid.scale > 0 ? omcu_new_grid_view(l, &grid, omcu_shape(l, out), v->order, &v->placed)
                                 : omcu_new_view(l, l->work, omcu_shape(l, out), v->order, 1, &v->placed);
        if (err) return err;
        v->is_placed = true;
    }
    int64_t at = 0;
    for (int i = 0; i < n->n_inputs;) {
        int parts = whole_split(l, n, i, axis), take = parts ? parts : 1;
        int64_t size = 0;
        for (int k = i; k < i + take; k++) size += omcu_shape(l, n->inputs[k])->dim[axis];
        omcu_view slot = omcu_view_slice(&v->placed, axis, at, size, 1);
        int value = parts ? l->g->nodes[producer(l, n->inputs[i])].inputs[0] : n->inputs[i];
        place(l, value, &slot);
        at += size;
        i += take;
    }
    return OM_OK;
}

int omcu_plan_layout(omcu_lower_state *l)
{
    const om_graph *g = l->g;
    for (int i = 0; i < g->n_values; i++) plain_order(l->values[i].order);
    for (int i = 0; i < g->n_inputs; i++)
        if (l->values[g->inputs[i]].set)
            omcu_view_order(&l->values[g->inputs[i]].view, l->values[g->inputs[i]].order);
    for (int i = 0; i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        if (n->dead || n->n_outputs < 1 || n->outputs[0] < 0 || n->n_inputs < 1) continue;
        int order[OM_MAX_RANK];
        order_of_node(l, n, order);
        for (int k = 0; k < n->n_outputs; k++)
            if (n->outputs[k] >= 0) memcpy(l->values[n->outputs[k]].order, order, sizeof order);
    }
    /* The last concatenation first: an inner one may lie in an outer one. */
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        if (g->nodes[i].dead || strcmp(g->nodes[i].op, "Concat") != 0) continue;
        int err = place_parts(l, i);
        if (err) return err;
    }
    return OM_OK;
}
