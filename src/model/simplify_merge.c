/* Two nodes in a row that one can do: reshapes, transposes, joins, cuts, pads, and a product with its bias.
 */
#include <string.h>

#include "base/error.h"
#include "model/simplify.h"

#define MAX_JOINED 1024

static const om_shape *shape_of(const om_simplifier *s, int v) { return &s->g->values[v].shape; }

static int reshaper(const om_simplifier *s, int value)
{
    static const char *const ops[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"};
    for (int i = 0; i < 4; i++) {
        int node = om_simplify_maker(s, value, ops[i]);
        if (node >= 0) return node;
    }
    return -1;
}

/* What a Reshape is to be told for an output of that shape: -1 for its one dynamic dim. False if that would
 * not say it. */
static bool target_of(const om_shape *shape, int64_t *target)
{
    int open = 0;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] == 0) return false;
        target[i] = shape->dim[i] < 0 ? -1 : shape->dim[i];
        open += shape->dim[i] < 0;
    }
    return shape->rank >= 0 && open <= 1;
}

static int become_reshape(om_simplifier *s, int node, int from, const int64_t *target, int rank)
{
    int shape = om_simplify_add_ints(s, target, rank);
    int inputs[] = {from, shape};
    int err = shape < 0 ? shape : om_simplify_remake(s, node, "Reshape", inputs, 2);
    return err < 0 ? err : 1;
}

/* A reshape of a reshape that nobody else reads is one reshape of what was there first. */
static int merge_reshapes(om_simplifier *s, int node)
{
    int64_t target[OM_MAX_RANK];
    int middle = om_simplify_in(s, node, 0), first = middle < 0 ? -1 : reshaper(s, middle);
    if (first < 0 || reshaper(s, om_node_out(s->g, node)) != node || !om_simplify_sole(s, middle)) return 0;
    const om_shape *shape = shape_of(s, om_node_out(s->g, node));
    if (!target_of(shape, target)) return 0;
    return become_reshape(s, node, om_simplify_in(s, first, 0), target, shape->rank);
}

/* A target that is computed although all of it but one dim is known. */
static int settle_target(om_simplifier *s, int node)
{
    int64_t target[OM_MAX_RANK];
    if (!om_simplify_is(s, node, "Reshape") || om_simplify_const(s, node, 1)) return 0;
    const om_shape *shape = shape_of(s, om_node_out(s->g, node));
    if (!target_of(shape, target)) return 0;
    int v = om_simplify_add_ints(s, target, shape->rank);
    int err = v < 0 ? v : om_simplify_set_input(s, node, 1, v);
    return err < 0 ? err : 1;
}

/* The order of axes, reversed where nothing is said; how many, 0 where that is not known. */
static int read_perm(const om_simplifier *s, int node, int64_t *perm)
{
    int rank = shape_of(s, om_simplify_in(s, node, 0))->rank;
    int n = om_node_attr_ints(&s->g->nodes[node], "perm", perm, OM_MAX_RANK);
    if (n < 0)
        for (n = 0; n < rank; n++) perm[n] = rank - 1 - n;
    if (n > OM_MAX_RANK) return 0;
    for (int i = 0; i < n; i++) {
        if (perm[i] < 0) perm[i] += n;
        if (perm[i] < 0 || perm[i] >= n) return 0;
    }
    return n;
}

static int merge_transposes(om_simplifier *s, int node)
{
    int64_t a[OM_MAX_RANK], b[OM_MAX_RANK], both[OM_MAX_RANK];
    if (!om_simplify_is(s, node, "Transpose")) return 0;
    int first = om_simplify_maker(s, om_simplify_in(s, node, 0), "Transpose");
    int n = first < 0 ? 0 : read_perm(s, first, a);
    if (n < 1 || read_perm(s, node, b) != n) return 0;
    for (int i = 0; i < n; i++) both[i] = a[b[i]];
    int err = om_node_set_ints(&s->g->nodes[node], "perm", both, n);
    if (err >= 0) err = om_simplify_set_input(s, node, 0, om_simplify_in(s, first, 0));
    return err < 0 ? err : 1;
}

/* The axis counted from the front, or -1 where the rank is not known. */
static int64_t join_axis(const om_simplifier *s, int node)
{
    const om_shape *shape = shape_of(s, om_node_out(s->g, node));
    int64_t axis = om_node_attr_int(&s->g->nodes[node], "axis", 1);
    return axis >= 0 ? axis : shape->rank < 0 ? -1 : axis + shape->rank;
}

static int merge_joins(om_simplifier *s, int node)
{
    int inputs[MAX_JOINED], n = 0, merged = 0;
    const om_node *outer = &s->g->nodes[node];
    if (!om_simplify_is(s, node, "Concat")) return 0;
    int64_t axis = join_axis(s, node);
    for (int k = 0; k < outer->n_inputs; k++) {
        int v = outer->inputs[k], inner = om_simplify_maker(s, v, "Concat");
        bool opens = inner >= 0 && om_simplify_sole(s, v) && axis >= 0 && join_axis(s, inner) == axis;
        const om_node *from = opens ? &s->g->nodes[inner] : NULL;
        if (n + (opens ? from->n_inputs : 1) > MAX_JOINED) return 0;
        for (int i = 0; opens && i < from->n_inputs; i++) inputs[n++] = from->inputs[i];
        if (!opens) inputs[n++] = v;
        merged += opens;
    }
    if (!merged) return 0;
    int err = om_simplify_remake(s, node, "Concat", inputs, n);
    if (err >= 0) err = om_node_set_int(&s->g->nodes[node], "axis", axis);
    return err < 0 ? err : 1;
}

/* What a Slice with constant lists says. */
typedef struct cut {
    int64_t starts[OM_MAX_RANK], ends[OM_MAX_RANK], axes[OM_MAX_RANK], steps[OM_MAX_RANK];
    int n;
} cut;

static bool read_cut(const om_simplifier *s, int node, cut *c)
{
    int rank = shape_of(s, om_simplify_in(s, node, 0))->rank;
    c->n = om_simplify_ints(s, node, 1, c->starts, OM_MAX_RANK);
    if (rank < 0 || c->n < 1 || om_simplify_ints(s, node, 2, c->ends, OM_MAX_RANK) != c->n) return false;
    int axes = om_simplify_ints(s, node, 3, c->axes, OM_MAX_RANK);
    int steps = om_simplify_ints(s, node, 4, c->steps, OM_MAX_RANK);
    if ((axes != -2 && axes != c->n) || (steps != -2 && steps != c->n)) return false;
    for (int i = 0; i < c->n; i++) {
        if (axes == -2) c->axes[i] = i;
        if (steps == -2) c->steps[i] = 1;
        if (c->axes[i] < 0) c->axes[i] += rank;
        if (c->axes[i] < 0 || c->axes[i] >= rank) return false;
    }
    return true;
}

/* Cuts along different axes are one cut along all of them. */
static int merge_slices(om_simplifier *s, int node)
{
    cut a, b;
    if (!om_simplify_is(s, node, "Slice") || om_graph_opset(s->g, "") < 10) return 0;
    int first = om_simplify_maker(s, om_simplify_in(s, node, 0), "Slice");
    if (first < 0 || !read_cut(s, first, &a) || !read_cut(s, node, &b) || a.n + b.n > OM_MAX_RANK) return 0;
    for (int i = 0; i < a.n; i++)
        for (int k = 0; k < b.n; k++)
            if (a.axes[i] == b.axes[k]) return 0;
    for (int k = 0; k < b.n; k++, a.n++) {
        a.starts[a.n] = b.starts[k];
        a.ends[a.n] = b.ends[k];
        a.axes[a.n] = b.axes[k];
        a.steps[a.n] = b.steps[k];
    }
    const int64_t *lists[] = {a.starts, a.ends, a.axes, a.steps};
    int inputs[5] = {om_simplify_in(s, first, 0)};
    for (int i = 0; i < 4; i++) {
        inputs[i + 1] = om_simplify_add_ints(s, lists[i], a.n);
        if (inputs[i + 1] < 0) return inputs[i + 1];
    }
    int err = om_simplify_remake(s, node, "Slice", inputs, 5);
    return err < 0 ? err : 1;
}

static bool is_zero(const om_simplifier *s, int pad)
{
    if (om_simplify_in(s, pad, 2) < 0) return om_node_attr_float(&s->g->nodes[pad], "value", 0) == 0;
    const om_const *c = om_simplify_const(s, pad, 2);
    if (!c || !c->data) return false;
    for (size_t i = 0; i < c->size; i++)
        if (((const uint8_t *)c->data)[i]) return false;
    return true;
}

/* Zeros around a convolution's picture are its own pads. */
static int merge_pad(om_simplifier *s, int node)
{
    int64_t pads[2 * OM_MAX_RANK], own[2 * OM_MAX_RANK] = {0};
    if (!om_simplify_is(s, node, "Conv")) return 0;
    const om_node *conv = &s->g->nodes[node];
    int middle = om_simplify_in(s, node, 0), pad = om_simplify_maker(s, middle, "Pad");
    if (pad < 0 || !om_simplify_sole(s, middle) || om_simplify_in(s, pad, 3) >= 0 || !is_zero(s, pad) ||
        strcmp(om_node_attr_string(&s->g->nodes[pad], "mode", "constant"), "constant") ||
        strcmp(om_node_attr_string(conv, "auto_pad", "NOTSET"), "NOTSET"))
        return 0;
    int n = om_simplify_list(s, pad, "pads", 1, pads, 2 * OM_MAX_RANK), rank = n / 2, window = rank - 2;
    if (window < 1 || rank != shape_of(s, middle)->rank || n % 2) return 0;
    int have = om_node_attr_ints(conv, "pads", own, 2 * OM_MAX_RANK);
    if (have != -1 && have != 2 * window) return 0;
    for (int i = 0; i < n; i++)
        if (pads[i] < 0 || (i % rank < 2 && pads[i])) return 0;
    for (int i = 0; i < window; i++) {
        own[i] += pads[i + 2];
        own[window + i] += pads[rank + i + 2];
    }
    int err = om_node_set_ints(&s->g->nodes[node], "pads", own, 2 * window);
    if (err >= 0) err = om_simplify_set_input(s, node, 0, om_simplify_in(s, pad, 0));
    return err < 0 ? err : 1;
}

/* A matrix product and a row that is added to each of its rows. */
static int merge_gemm(om_simplifier *s, int node)
{
    if (!om_simplify_is(s, node, "Add")) return 0;
    for (int k = 0; k < 2; k++) {
        int product = om_simplify_in(s, node, 1 - k), row = om_simplify_in(s, node, k);
        int from = om_simplify_maker(s, product, "MatMul");
        const om_const *bias = om_simplify_const(s, node, k);
        if (from < 0 || !bias || !om_simplify_sole(s, product)) continue;
        const om_const *w = om_simplify_const(s, from, 1);
        if (!w || w->shape.rank != 2 || shape_of(s, om_simplify_in(s, from, 0))->rank != 2 ||
            bias->shape.rank != 1 || bias->shape.dim[0] != w->shape.dim[1] || bias->dtype != w->dtype)
            continue;
        int inputs[] = {om_simplify_in(s, from, 0), om_simplify_in(s, from, 1), row};
        int err = om_simplify_remake(s, node, "Gemm", inputs, 3);
        return err < 0 ? err : 1;
    }
    return 0;
}

/* Whether every element is 0, whatever the shape: `depth` steps back at most. */
static bool makes_zeros(const om_simplifier *s, int value, int depth)
{
    static const char *const movers[] = {"Slice",   "Transpose", "Tile",     "Expand",  "Reshape",
                                         "Squeeze", "Unsqueeze", "Identity", "Flatten", "Concat"};
    const om_const *c = s->g->values[value].constant;
    int node = s->g->values[value].producer;
    if (c) {
        int64_t n = om_dtype_size(c->dtype) && c->data ? om_shape_count(&c->shape) : -1;
        for (int64_t i = 0; i < n; i++)
            if (om_simplify_number(c, i) != 0) return false;
        return n >= 0;
    }
    if (node < 0 || !depth) return false;
    const om_node *n = &s->g->nodes[node];
    if (om_simplify_is(s, node, "ConstantOfShape")) { /* 0 is its default */
        const om_attr *a = om_node_attr(n, "value");
        return !a ||
               (a->type == OM_ATTR_TENSOR && a->tensors[0]->data && om_dtype_size(a->tensors[0]->dtype) &&
                om_shape_count(&a->tensors[0]->shape) == 1 && om_simplify_number(a->tensors[0], 0) == 0);
    }
    bool moves = false, joins = om_simplify_is(s, node, "Concat");
    for (size_t i = 0; i < sizeof movers / sizeof movers[0]; i++)
        moves = moves || om_simplify_is(s, node, movers[i]);
    for (int k = 0; moves && k < (joins ? n->n_inputs : 1); k++)
        moves = n->inputs[k] >= 0 && makes_zeros(s, n->inputs[k], depth - 1);
    return moves;
}

/* States that a recurrent layer starts from, where they are the zeros that it would start from anyway. */
static int drop_states(om_simplifier *s, int node)
{
    int dropped = 0, states = om_simplify_is(s, node, "LSTM") ? 2 : 1;
    if (states == 1 && !om_simplify_is(s, node, "GRU") && !om_simplify_is(s, node, "RNN")) return 0;
    for (int k = 5; k < 5 + states; k++) {
        int v = om_simplify_in(s, node, k);
        if (v < 0 || !makes_zeros(s, v, 16)) continue;
        int err = om_simplify_set_input(s, node, k, OM_NO_VALUE);
        if (err < 0) return err;
        dropped = 1;
    }
    return dropped;
}

int om_simplify_merge(om_simplifier *s, int node)
{
    static int (*const passes[])(om_simplifier * s,
                                 int node) = {merge_reshapes, settle_target, merge_transposes, merge_joins,
                                              merge_slices,   merge_pad,     merge_gemm,       drop_states};
    for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++) {
        int r = passes[i](s, node);
        if (r) return r;
    }
    return 0;
}
