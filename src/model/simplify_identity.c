/* Nodes whose output is their input. */
#include <string.h>

#include "base/error.h"
#include "model/simplify.h"

static const om_shape *shape_of(const om_simplifier *s, int v)
{
    static const om_shape unknown = {.rank = -1};
    return v < 0 ? &unknown : &s->g->values[v].shape;
}

/* Equal, with at most `open` dynamic dims. */
static bool same_shape(const om_simplifier *s, int a, int b, int open)
{
    const om_shape *x = shape_of(s, a), *y = shape_of(s, b);
    if (x->rank < 0 || x->rank != y->rank) return false;
    for (int i = 0; i < x->rank; i++) {
        if (x->dim[i] != y->dim[i]) return false;
        open -= x->dim[i] < 0;
    }
    return open >= 0;
}

static bool is_one_of(const char *op, const char *const *names)
{
    for (; *names; names++)
        if (!strcmp(op, *names)) return true;
    return false;
}

/* All elements of the constant are `unit`. */
static bool is_all(const om_const *c, double unit)
{
    int64_t n = c ? om_shape_count(&c->shape) : 0;
    if (!c || !c->data || !om_dtype_size(c->dtype) || n < 1) return false;
    for (int64_t i = 0; i < n; i++)
        if (om_simplify_number(c, i) != unit) return false;
    return true;
}

/* x + 0, x * 1 and their kin: the input that passes through, or -1. */
static int neutral(const om_simplifier *s, int node)
{
    static const struct {
        const char *op;
        double unit;
        bool either; /* the constant may come first */
    } rows[] = {{"Add", 0, true}, {"Sub", 0, false}, {"Mul", 1, true}, {"Div", 1, false}, {"Pow", 1, false}};
    const om_node *n = &s->g->nodes[node];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(n->op, rows[i].op)) continue;
        for (int k = 1; k >= (rows[i].either ? 0 : 1); k--) {
            int x = om_simplify_in(s, node, 1 - k);
            const om_const *c = om_simplify_const(s, node, k);
            if (x < 0 || !c || !is_all(c, rows[i].unit)) continue;
            bool scalar = om_shape_count(&c->shape) == 1 && shape_of(s, x)->rank >= c->shape.rank;
            if (scalar || same_shape(s, x, om_node_out(s->g, node), 0)) return x;
        }
    }
    return -1;
}

static bool whole_slice(const om_simplifier *s, int node)
{
    int64_t steps[OM_MAX_RANK];
    int n = om_simplify_list(s, node, "steps", 4, steps, OM_MAX_RANK);
    if (n == -1) return false;
    for (int i = 0; i < n; i++)
        if (steps[i] < 1) return false;
    return true;
}

static bool in_order(const om_simplifier *s, int node)
{
    int64_t perm[OM_MAX_RANK];
    int n = om_node_attr_ints(&s->g->nodes[node], "perm", perm, OM_MAX_RANK);
    for (int i = 0; i < n && i < OM_MAX_RANK; i++)
        if (perm[i] != i) return false;
    return n >= 0 ? n <= OM_MAX_RANK : shape_of(s, om_simplify_in(s, node, 0))->rank == 1;
}

static bool idle_dropout(const om_simplifier *s, int node)
{
    const om_node *n = &s->g->nodes[node];
    if (n->n_outputs > 1 && n->outputs[1] >= 0 && s->uses[n->outputs[1]]) return false;
    return om_simplify_in(s, node, 2) < 0 || is_all(om_simplify_const(s, node, 2), 0);
}

static bool zero_pad(const om_simplifier *s, int node)
{
    int64_t pads[2 * OM_MAX_RANK];
    int n = om_simplify_list(s, node, "pads", 1, pads, 2 * OM_MAX_RANK);
    for (int i = 0; i < n; i++)
        if (pads[i]) return false;
    return n >= 0;
}

static bool idle_resize(const om_simplifier *s, int node)
{
    const char *how = om_node_attr_string(&s->g->nodes[node], "coordinate_transformation_mode", "half_pixel");
    return strcmp(how, "tf_crop_and_resize") != 0;
}

/* Twice is as good as once. */
static bool repeated(const om_simplifier *s, int node)
{
    static const char *const ops[] = {"Relu", "Ceil", "Floor", "Round", "Abs", "Sign", NULL};
    const char *op = s->g->nodes[node].op;
    return is_one_of(op, ops) && om_simplify_maker(s, om_simplify_in(s, node, 0), op) >= 0;
}

static bool does_nothing(const om_simplifier *s, int node)
{
    static const char *const shaping[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", NULL};
    static const char *const of_many[] = {"Concat", "Sum", "Max", "Min", "Mean", NULL};
    static const char *const growing[] = {"Expand", "Tile", NULL};
    const om_node *n = &s->g->nodes[node];
    int in = om_simplify_in(s, node, 0), out = om_node_out(s->g, node);
    const om_value *x = &s->g->values[in], *y = &s->g->values[out];
    if (!strcmp(n->op, "Identity")) return true;
    if (!strcmp(n->op, "Cast") || !strcmp(n->op, "CastLike"))
        return x->dtype != OM_DTYPE_NONE && x->dtype == y->dtype;
    if (!strcmp(n->op, "Dropout")) return idle_dropout(s, node);
    if (!strcmp(n->op, "Transpose")) return in_order(s, node);
    if (is_one_of(n->op, of_many)) return n->n_inputs == 1;
    if (!strcmp(n->op, "Split")) return n->n_outputs == 1;
    if (!strcmp(n->op, "Pad")) return zero_pad(s, node);
    if (is_one_of(n->op, shaping)) return same_shape(s, in, out, 1);
    if (is_one_of(n->op, growing)) return same_shape(s, in, out, 0);
    if (!strcmp(n->op, "Slice")) return same_shape(s, in, out, 0) && whole_slice(s, node);
    if (!strcmp(n->op, "Resize")) return same_shape(s, in, out, 0) && idle_resize(s, node);
    return repeated(s, node);
}

int om_simplify_identity(om_simplifier *s, int node)
{
    int x = om_simplify_in(s, node, 0);
    if (x < 0) return 0;
    if (does_nothing(s, node)) return om_simplify_bypass(s, node, x);
    x = neutral(s, node);
    return x < 0 ? 0 : om_simplify_bypass(s, node, x);
}
