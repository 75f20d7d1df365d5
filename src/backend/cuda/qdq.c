/* QuantizeLinear and DequantizeLinear taken out of the graph. */
#include "backend/cuda/qdq.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define CHANNEL_ALIGN 16 /* of 8-bit integers: what one access reads */

static bool is(const om_node *n, const char *op) { return !n->dead && strcmp(n->op, op) == 0; }

static const om_const *const_of(const om_graph *g, const om_node *n, int input)
{
    int v = input < n->n_inputs ? n->inputs[input] : OM_NO_VALUE;
    return v < 0 ? NULL : g->values[v].constant;
}

/* Of 8-bit integers, or the biases' 32. */
static bool integer_at(const om_const *c, int64_t i, int *out)
{
    switch (c->dtype) {
    case OM_DTYPE_I8: *out = ((const int8_t *)c->data)[i]; return true;
    case OM_DTYPE_U8: *out = ((const uint8_t *)c->data)[i]; return true;
    case OM_DTYPE_I32: *out = ((const int32_t *)c->data)[i]; return true;
    default: return false;
    }
}

/* One scale and zero for the whole tensor, of 8-bit integers; u8 moves down to s8. */
static bool grid_of(const om_graph *g, const om_node *n, omcu_grid *out)
{
    const om_const *scale = const_of(g, n, 1), *zero = const_of(g, n, 2);
    if (!scale || scale->dtype != OM_DTYPE_F32 || om_shape_count(&scale->shape) != 1) return false;
    if (n->n_inputs > 2 && n->inputs[2] >= 0 && (!zero || om_shape_count(&zero->shape) != 1)) return false;
    *out = (omcu_grid){.scale = ((const float *)scale->data)[0], .zero = -128};
    if (!zero) {
        int integers = is(n, "QuantizeLinear") ? n->outputs[0] : n->inputs[0];
        if (g->values[integers].dtype == OM_DTYPE_I8) out->zero = 0;
        else if (g->values[integers].dtype != OM_DTYPE_U8) return false;
        return out->scale > 0;
    }
    if ((zero->dtype != OM_DTYPE_I8 && zero->dtype != OM_DTYPE_U8) || !integer_at(zero, 0, &out->zero))
        return false;
    if (zero->dtype == OM_DTYPE_U8) out->zero -= 128;
    return out->scale > 0;
}

static bool same_grid(const omcu_grid *a, const omcu_grid *b)
{
    return a->scale == b->scale && a->zero == b->zero;
}

/* ---- weights ---- */

/* The floats that constant integers stand for; `axis`: along which the scales run. *out NULL: not of a kind
 * that is done. */
static int weights_of(const om_graph *g, const om_node *n, int axis, bool *around_zero, float **out)
{
    const om_const *q = const_of(g, n, 0), *scale = const_of(g, n, 1), *zero = const_of(g, n, 2);
    int64_t count = om_shape_count(&q->shape), n_scales = om_shape_count(&scale->shape), inner = 1;
    bool single = n_scales == 1;
    *out = NULL;
    if (!single && (axis < 0 || axis >= q->shape.rank || q->shape.dim[axis] != n_scales)) return OM_OK;
    for (int i = axis + 1; i < q->shape.rank; i++) inner *= q->shape.dim[i];
    float *w = om_alloc((size_t)(count + 1) * sizeof *w);
    *around_zero = true;
    for (int64_t i = 0; i < count && w; i++) {
        int64_t at = single ? 0 : i / inner % n_scales;
        int v = 0, z = 0;
        bool ok = integer_at(q, i, &v) &&
                  (!zero || integer_at(zero, om_shape_count(&zero->shape) == 1 ? 0 : at, &z));
        if (!ok) {
            om_free(w);
            return OM_OK;
        }
        if (v - z < -128 || v - z > 127) *around_zero = false;
        w[i] = (float)(v - z) * ((const float *)scale->data)[at];
    }
    *out = w;
    return w ? OM_OK : OM_ERR_NOMEM;
}

/* The scales of a convolution's weights, kept beside them. */
static int keep_scales(omcu_qdq *out, int value, const om_const *scale, int64_t channels)
{
    float *s = om_alloc((size_t)(channels + 1) * sizeof *s);
    if (!s) return OM_ERR_NOMEM;
    for (int64_t i = 0; i < channels; i++)
        s[i] = ((const float *)scale->data)[om_shape_count(&scale->shape) == 1 ? 0 : i];
    om_free(out->scales[value]);
    out->scales[value] = s;
    return OM_OK;
}

static int grow(omcu_qdq *q, int n)
{
    if (n <= q->n_values) return OM_OK;
    omcu_grid *grids = om_calloc((size_t)n, sizeof *grids);
    float **scales = om_calloc((size_t)n, sizeof *scales);
    if (!grids || !scales) {
        om_free(grids);
        om_free(scales);
        return OM_ERR_NOMEM;
    }
    for (int i = 0; i < q->n_values; i++) {
        grids[i] = q->grids[i];
        scales[i] = q->scales[i];
    }
    om_free(q->grids);
    om_free(q->scales);
    q->grids = grids;
    q->scales = scales;
    q->n_values = n;
    return OM_OK;
}

static int take_weights(om_graph *g, omcu_qdq *out)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        if (!is(n, "DequantizeLinear") || !const_of(g, n, 0) || !const_of(g, n, 1)) continue;
        const om_const *q = const_of(g, n, 0), *scale = const_of(g, n, 1);
        int axis = (int)om_node_attr_int(n, "axis", 1);
        bool around_zero, block = om_node_attr_int(n, "block_size", 0) != 0;
        if (axis < 0) axis += q->shape.rank;
        if (block || scale->dtype != OM_DTYPE_F32) continue;
        float *w;
        int err = weights_of(g, n, axis, &around_zero, &w);
        if (err) return err;
        if (!w) continue;
        om_shape shape = q->shape;
        bool rows = om_shape_count(&scale->shape) == 1 || axis == 0;
        bool kept = out && around_zero && rows && shape.rank >= 3 && q->dtype != OM_DTYPE_I32;
        int old = n->outputs[0], value = om_graph_add_const(g, NULL, OM_DTYPE_F32, &shape, w);
        om_free(w);
        if (value < 0) return value;
        if (out) err = grow(out, g->n_values);
        if (!err && kept) err = keep_scales(out, value, const_of(g, &g->nodes[i], 1), shape.dim[0]);
        if (!err) err = om_graph_replace_uses(g, old, value);
        if (err < 0) return err;
        om_graph_remove_node(g, i);
    }
    return OM_OK;
}

/* ---- values ---- */

/* The node makes integers that only DequantizeLinear nodes with the same numbers read, and no output of the
 * graph. */
static bool is_pair(const om_graph *g, const om_node *q, omcu_grid *grid)
{
    int value = q->outputs[0], readers = 0;
    if (q->inputs[0] < 0 || g->values[q->inputs[0]].constant || !grid_of(g, q, grid) ||
        g->values[value].is_output)
        return false;
    for (int i = 0; i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        omcu_grid other;
        for (int k = 0; k < n->n_inputs && !n->dead; k++) {
            if (n->inputs[k] != value) continue;
            if (k || !is(n, "DequantizeLinear") || !grid_of(g, n, &other) || !same_grid(grid, &other) ||
                g->values[n->outputs[0]].is_output)
                return false;
            readers++;
        }
    }
    return readers > 0;
}

static int drop_pair(om_graph *g, int node)
{
    int from = g->nodes[node].inputs[0], value = g->nodes[node].outputs[0];
    for (int i = 0; i < g->n_nodes; i++) {
        if (!is(&g->nodes[i], "DequantizeLinear") || g->nodes[i].inputs[0] != value) continue;
        int err = om_graph_replace_uses(g, g->nodes[i].outputs[0], from);
        if (err < 0) return err;
        om_graph_remove_node(g, i);
    }
    om_graph_remove_node(g, node);
    return OM_OK;
}

/* A value that somebody reads as it is, or on another grid, keeps its numbers. */
static bool read_plainly(const om_graph *g, int value, const bool *pairs, const omcu_grid *grids,
                         const omcu_grid *grid)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        for (int k = 0; k < n->n_inputs && !n->dead; k++)
            if (n->inputs[k] == value && (!pairs[i] || !same_grid(&grids[i], grid))) return true;
    }
    return g->values[value].is_output;
}

static int take_values(om_graph *g, omcu_qdq *out)
{
    bool *pairs = om_calloc((size_t)g->n_nodes + 1, sizeof *pairs);
    omcu_grid *grids = om_calloc((size_t)g->n_nodes + 1, sizeof *grids);
    int err = pairs && grids ? grow(out, g->n_values) : OM_ERR_NOMEM;
    for (int i = 0; i < g->n_nodes && !err; i++)
        pairs[i] = is(&g->nodes[i], "QuantizeLinear") && is_pair(g, &g->nodes[i], &grids[i]);
    for (int i = 0; i < g->n_nodes && !err; i++) {
        int from = pairs[i] ? g->nodes[i].inputs[0] : OM_NO_VALUE;
        if (from >= 0 && !read_plainly(g, from, pairs, grids, &grids[i])) out->grids[from] = grids[i];
    }
    for (int i = 0; i < g->n_nodes && !err; i++)
        if (pairs[i]) err = drop_pair(g, i);
    om_free(pairs);
    om_free(grids);
    return err;
}

/* ---- groups ---- */

static int root(const int *up, int v)
{
    while (up[v] != v) v = up[v];
    return v;
}

static bool moves(const om_node *n)
{
    static const char *const ops[] = {"Concat",  "Split",  "Slice",    "Reshape", "Identity",
                                      "MaxPool", "Resize", "Upsample", "Dropout"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (is(n, ops[i])) return true;
    return false;
}

/* Pieces of 16 channels: others are not read as integers. */
static bool is_whole(const om_value *v)
{
    return v->shape.rank == 4 && v->shape.dim[1] > 0 && v->shape.dim[1] % CHANNEL_ALIGN == 0;
}

static int make_groups(const om_graph *g, omcu_qdq *q)
{
    int *up = om_alloc(((size_t)q->n_values + 1) * sizeof *up);
    bool *bad = om_calloc((size_t)q->n_values + 1, sizeof *bad);
    q->groups = om_alloc(((size_t)q->n_values + 1) * sizeof *q->groups);
    int err = up && bad && q->groups ? OM_OK : OM_ERR_NOMEM;
    for (int i = 0; i < q->n_values && !err; i++) up[i] = i;
    for (int i = 0; i < g->n_nodes && !err; i++) {
        const om_node *n = &g->nodes[i];
        if (!moves(n)) continue;
        int to = root(up, n->outputs[0]), ports = is(n, "Concat") ? n->n_inputs : 1;
        for (int k = 0; k < ports; k++)
            if (n->inputs[k] >= 0) up[root(up, n->inputs[k])] = to;
        for (int k = 1; k < n->n_outputs; k++)
            if (n->outputs[k] >= 0) up[root(up, n->outputs[k])] = to;
    }
    for (int i = 0; i < q->n_values && !err; i++) {
        const om_value *v = &g->values[i];
        bool used = v->producer >= 0 && !v->constant;
        if (used && !is_whole(v)) bad[root(up, i)] = true;
        q->groups[i] = -1;
    }
    for (int i = 0; i < q->n_values && !err; i++) {
        int top = root(up, i);
        if (q->grids[i].scale <= 0 || bad[top] || g->values[i].is_input) continue;
        if (q->groups[top] < 0) q->groups[top] = q->n_groups++;
        q->groups[i] = q->groups[top];
    }
    om_free(up);
    om_free(bad);
    return err;
}

int omcu_qdq_take(om_graph *g, omcu_qdq *out)
{
    if (out) *out = (omcu_qdq){.n_values = 0};
    int err = out ? grow(out, g->n_values) : OM_OK;
    if (!err) err = take_weights(g, out);
    if (!err && out) err = take_values(g, out);
    if (!err) err = om_graph_infer_shapes(g);
    if (!err) err = om_graph_sort(g);
    if (!err && out) err = grow(out, g->n_values);
    if (!err && out) err = make_groups(g, out);
    if (err && out) omcu_qdq_fini(out);
    return err < 0 ? err : OM_OK;
}

void omcu_qdq_fini(omcu_qdq *q)
{
    for (int i = 0; i < q->n_values && q->scales; i++) om_free(q->scales[i]);
    om_free(q->grids);
    om_free(q->scales);
    om_free(q->groups);
    *q = (omcu_qdq){.n_values = 0};
}
