/* Shapes frozen into the inputs of Reshape, Resize, Slice and Expand. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/dynamic.h"

/* The numbers of a small constant of int64; how many, -1 if it is none or larger. */
static int constant_ints(const om_graph *g, int value, int64_t *out, int max)
{
    const om_const *c = value >= 0 ? g->values[value].constant : NULL;
    if (!c || c->dtype != OM_DTYPE_I64 || c->shape.rank > 1) return -1;
    int64_t n = om_shape_count(&c->shape);
    if (n < 0 || n > max) return -1;
    memcpy(out, c->data, (size_t)n * sizeof *out);
    return (int)n;
}

static int node_input(const om_node *n, int i) { return i < n->n_inputs ? n->inputs[i] : OM_NO_VALUE; }

static int replace_ints(om_freeing *f, int node, int input, const int64_t *v, int n)
{
    int constant = om_graph_add_const_i64(f->to.g, NULL, v, n);
    if (constant < 0) return constant;
    f->to.g->nodes[node].inputs[input] = constant;
    return 1;
}

/* What one dim of a Reshape's output is: a number, a dim of the input, the product of several, or a dim of a
 * value further up, where a Reshape had joined what this one takes apart. */
typedef struct origin {
    enum { NUMBER, COPY, PRODUCT, ELSEWHERE } kind;
    int64_t number;
    int from;  /* COPY, ELSEWHERE: the dim */
    int value; /* ELSEWHERE */
} origin;

typedef struct group {
    int in0, in1, out0, out1; /* dims [in0, in1) of the input become [out0, out1) of the output */
} group;

/* The next dims of either side whose products agree. */
static bool next_group(const om_shape *in, const om_shape *out, group *g)
{
    *g = (group){g->in1, g->in1, g->out1, g->out1};
    if (g->in1 == in->rank && g->out1 == out->rank) return false;
    int64_t a = g->in1 < in->rank ? in->dim[g->in1++] : 1, b = g->out1 < out->rank ? out->dim[g->out1++] : 1;
    while (a != b && (a < b ? g->in1 < in->rank : g->out1 < out->rank)) {
        if (a < b) a *= in->dim[g->in1++];
        else b *= out->dim[g->out1++];
    }
    /* Dims that happened to be 1 go with what is before them, as the sides of a grid of one cell go with its
     * boxes. */
    while (a == b && g->in1 < in->rank && in->dim[g->in1] == 1 &&
           (g->out1 == out->rank || out->dim[g->out1] != 1))
        g->in1++;
    return a == b;
}

/* The open dim of a group that holds several things of each picture; -1 if there is none. */
static int many_of_each(const om_freeing *f, int value, const om_shape *in, const group *g)
{
    for (int i = g->in0; i < g->in1 && f->pictures; i++)
        if (om_freeing_open(f, value, i) && in->dim[i] > 1) return i;
    return -1;
}

/* Which input a dim of a node's output comes from unchanged, and which dim of it; false: that is not known.
 */
static bool step_back(const om_freeing *f, const om_node *n, int *value, int *dim)
{
    const om_shape *to = om_freeing_was(f, *value);
    int64_t perm[OM_MAX_RANK], size = to->rank > *dim ? to->dim[*dim] : -1;
    bool product = strcmp(n->op, "MatMul") == 0 || strcmp(n->op, "Gemm") == 0;
    if (strcmp(n->op, "Transpose") == 0) {
        if (om_node_attr_ints(n, "perm", perm, OM_MAX_RANK) != to->rank) return false;
        *dim = (int)perm[*dim];
        *value = n->inputs[0];
        return true;
    }
    for (int i = product && *dim == to->rank - 1; i < n->n_inputs; i++) {
        const om_shape *from = om_freeing_was(f, n->inputs[i]);
        if (from->rank != to->rank || from->dim[*dim] != size || !om_freeing_open(f, n->inputs[i], *dim))
            continue;
        *value = n->inputs[i];
        return true;
    }
    return false;
}

/* The Reshape that made an open dim out of several: its input's dims [in0, in1) of *g. OM_NO_VALUE: none is
 * found. */
static int joined_from(const om_freeing *f, int value, int dim, group *g)
{
    for (int steps = 0; steps < f->n_was && f->to.g->values[value].producer >= 0; steps++) {
        const om_node *n = &f->to.g->nodes[f->to.g->values[value].producer];
        if (strcmp(n->op, "Reshape") != 0) {
            if (!step_back(f, n, &value, &dim)) return OM_NO_VALUE;
            continue;
        }
        const om_shape *in = om_freeing_was(f, n->inputs[0]), *out = om_freeing_was(f, value);
        if (!om_shape_static(in) || !om_shape_static(out)) return OM_NO_VALUE;
        *g = (group){0, 0, 0, 0};
        while (next_group(in, out, g))
            if (g->out1 > dim) return g->out1 - g->out0 == 1 ? n->inputs[0] : OM_NO_VALUE;
        return OM_NO_VALUE;
    }
    return OM_NO_VALUE;
}

/* Whether the pictures of a dim that holds several things of each run faster than those: [things, pictures]
 * and not [pictures, things]. */
static bool pictures_inside(const om_freeing *f, int value, int dim)
{
    group g;
    int from = joined_from(f, value, dim, &g);
    return from >= 0 && g.in1 - g.in0 > 1 && om_freeing_open(f, from, g.in1 - 1) &&
           om_freeing_was(f, from)->dim[g.in1 - 1] == 1;
}

/* Takes apart what was joined; false where it is not the same dims. */
static bool apart_again(const om_freeing *f, int value, int dim, const om_shape *out, group g, origin *o)
{
    group joined;
    int from = joined_from(f, value, dim, &joined);
    if (from < 0 || joined.in1 - joined.in0 != g.out1 - g.out0) return false;
    for (int i = 0; i < g.out1 - g.out0; i++)
        if (om_freeing_was(f, from)->dim[joined.in0 + i] != out->dim[g.out0 + i]) return false;
    for (int i = 0; i < g.out1 - g.out0; i++)
        if (om_freeing_open(f, from, joined.in0 + i))
            o[g.out0 + i] = (origin){ELSEWHERE, 0, joined.in0 + i, from};
    return true;
}

/* A dim of one that takes the pictures out of what held several things of each. */
static void take_following_one(const om_freeing *f, int value, const om_shape *in, const om_shape *out,
                               group *g)
{
    bool other = g->in1 < in->rank && in->dim[g->in1] == 1;
    if (many_of_each(f, value, in, g) >= 0 && !other && g->out1 < out->rank && out->dim[g->out1] == 1)
        g->out1++;
}

/* Pictures before a dim that is split go with its first part, as those before an attention's heads do. */
static void leave_to_split(const om_freeing *f, int value, const om_shape *in, const om_shape *out, group *g)
{
    bool split = g->in1 < in->rank && g->out1 + 1 < out->rank && out->dim[g->out1] < in->dim[g->in1];
    if (f->pictures && split && g->in1 - g->in0 > 1 && in->dim[g->in1 - 1] == 1 &&
        om_freeing_open(f, value, g->in1 - 1))
        g->in1--;
}

/* Fills the origins of one group's output dims; false where they do not follow from the input's. */
static bool trace_group(const om_freeing *f, int value, const om_shape *in, const om_shape *out, group g,
                        origin *o)
{
    int64_t fixed = 1, open = 1;
    int n_open = 0, last = -1;
    for (int i = g.in0; i < g.in1; i++) {
        if (!om_freeing_open(f, value, i)) {
            fixed *= in->dim[i];
            continue;
        }
        open *= in->dim[i];
        n_open++;
        last = i;
    }
    for (int j = g.out0; j < g.out1; j++) o[j] = (origin){NUMBER, out->dim[j], 0, 0};
    if (n_open == 0) return true;
    int n_out = g.out1 - g.out0;
    bool each = n_out > 1 && n_open == 1 && many_of_each(f, value, in, &g) >= 0;
    for (int j = g.out0; j < g.out1 && each; j++) {
        if (out->dim[j] != 1) continue;
        o[j] = (origin){PRODUCT, 0, last, 0};
        return j == (pictures_inside(f, value, last) ? g.out1 - 1 : g.out0);
    }
    for (int j = g.out0; j < g.out1; j++) {
        bool whole = n_out == 1, part = n_out > 1 && out->dim[j] == open;
        if (!whole && !part) continue;
        bool copies = n_open == 1 && (part || fixed == 1);
        o[j] = (origin){copies ? COPY : PRODUCT, 0, last, 0};
        return true;
    }
    if (n_open == 1 && !f->pictures && g.in1 - g.in0 == 1) return apart_again(f, value, last, out, g, o);
    /* What comes first in memory stays first: the first dim takes what the others leave. */
    if (!f->pictures || n_open != 1 || last != g.in0) return false;
    o[g.out0] = (origin){PRODUCT, 0, last, 0};
    return true;
}

/* Where each dim of a Reshape's output comes from; false where some does not follow. */
static bool trace_dims(const om_freeing *f, int value, const om_shape *in, const om_shape *out, origin *o)
{
    group g = {0, 0, 0, 0};
    while (next_group(in, out, &g)) {
        leave_to_split(f, value, in, out, &g);
        take_following_one(f, value, in, out, &g);
        if (!trace_group(f, value, in, out, g, o)) return false;
    }
    return g.in1 == in->rank && g.out1 == out->rank;
}

static bool target_fits(const int64_t *target, const origin *o, int rank)
{
    for (int j = 0; j < rank; j++) {
        if (target[j] == -1) continue;
        if (o[j].kind == NUMBER && (target[j] == o[j].number || target[j] == 0)) continue;
        if (o[j].kind == COPY && target[j] == 0 && o[j].from == j) continue;
        return false;
    }
    return true;
}

/* The target put together from the input's own shape. */
static int computed_target(om_freeing *f, int value, const origin *o, int rank)
{
    int parts[OM_MAX_RANK], shape = om_build_op(&f->to, "Shape", NULL, 1, value), open = 0;
    for (int j = 0; j < rank; j++) {
        if (o[j].kind == COPY || o[j].kind == ELSEWHERE) {
            int of = o[j].kind == COPY ? shape : om_build_op(&f->to, "Shape", NULL, 1, o[j].value);
            parts[j] = om_build_op(&f->to, "Gather", NULL, 2, of, om_build_one(&f->to, o[j].from));
            om_build_int(&f->to, "axis", 0);
        } else {
            parts[j] = om_build_one(&f->to, o[j].kind == NUMBER ? (int)o[j].number : -1);
            open += o[j].kind == PRODUCT;
        }
    }
    return open <= 1 ? om_build_join(&f->to, NULL, 0, rank, parts) : OM_NO_VALUE;
}

int om_free_reshape(om_freeing *f, int node)
{
    om_graph *g = f->to.g;
    int value = node_input(&g->nodes[node], 0), rank, deferred = 0;
    const om_shape *in = om_freeing_was(f, value), *out = om_freeing_was(f, g->nodes[node].outputs[0]);
    int64_t target[OM_MAX_RANK];
    origin o[OM_MAX_RANK];
    rank = constant_ints(g, node_input(&g->nodes[node], 1), target, OM_MAX_RANK);
    if (rank < 0 || rank != out->rank || !om_shape_static(in) || !om_shape_static(out)) return 0;
    bool open = false, elsewhere = false;
    for (int i = 0; i < in->rank; i++) open = open || om_freeing_open(f, value, i);
    if (!open) return 0;
    if (!trace_dims(f, value, in, out, o)) {
        char from[OM_SHAPE_TEXT], to[OM_SHAPE_TEXT];
        om_shape_text(in, from);
        om_shape_text(out, to);
        return om_freeing_refuse(f, node, "its target %s does not follow from its input %s", to, from);
    }
    if (target_fits(target, o, rank)) return 0;
    for (int j = 0; j < rank; j++) {
        target[j] = o[j].kind == NUMBER ? o[j].number : o[j].kind == COPY && o[j].from == j ? 0 : -1;
        deferred += target[j] == -1;
        elsewhere = elsewhere || o[j].kind == ELSEWHERE;
    }
    if (om_node_attr(&g->nodes[node], "allowzero") && om_node_set_int(&g->nodes[node], "allowzero", 0) < 0)
        return OM_ERR_NOMEM;
    if (deferred <= 1 && !elsewhere) return replace_ints(f, node, 1, target, rank);
    int computed = computed_target(f, value, o, rank);
    if (computed < 0)
        return f->to.err ? f->to.err : om_freeing_refuse(f, node, "two of its dims follow from products");
    g->nodes[node].inputs[1] = computed;
    return 1;
}

int om_free_resize(om_freeing *f, int node)
{
    om_graph *g = f->to.g;
    om_node *n = &g->nodes[node];
    int64_t sizes[OM_MAX_RANK];
    float scales[OM_MAX_RANK];
    const om_shape *in = om_freeing_was(f, node_input(n, 0));
    int rank = constant_ints(g, node_input(n, 3), sizes, OM_MAX_RANK);
    bool open = false;
    if (rank < 0 || rank != in->rank || !om_shape_static(in)) return 0;
    for (int i = 0; i < rank; i++) {
        open = open || om_freeing_open(f, n->inputs[0], i);
        scales[i] = (float)sizes[i] / (float)in->dim[i];
        if (om_freeing_open(f, n->inputs[0], i) && sizes[i] % in->dim[i] != 0 && in->dim[i] % sizes[i] != 0)
            return om_freeing_refuse(f, node, "it resizes %lld to %lld, which is no whole ratio",
                                     (long long)in->dim[i], (long long)sizes[i]);
    }
    if (!open) return 0;
    om_shape shape = om_shape_make(1, (int64_t)rank);
    int constant = om_build_f32(&f->to, "resize_scales", &shape, scales);
    if (constant < 0) return f->to.err;
    n = &g->nodes[node];
    n->inputs[2] = constant;
    n->inputs[3] = OM_NO_VALUE;
    n->n_inputs = 3;
    return 1;
}

/* An end that is the whole dim stays the whole dim; one that cuts an open dim short would cut at the old
 * size. */
int om_free_slice(om_freeing *f, int node)
{
    om_graph *g = f->to.g;
    const om_node *n = &g->nodes[node];
    int64_t starts[OM_MAX_RANK], ends[OM_MAX_RANK], axes[OM_MAX_RANK];
    const om_shape *in = om_freeing_was(f, node_input(n, 0));
    int count = constant_ints(g, node_input(n, 1), starts, OM_MAX_RANK);
    bool changed = false;
    if (count < 0 || constant_ints(g, node_input(n, 2), ends, OM_MAX_RANK) != count || !om_shape_static(in))
        return 0;
    if (node_input(n, 3) < 0)
        for (int i = 0; i < count; i++) axes[i] = i;
    else if (constant_ints(g, n->inputs[3], axes, OM_MAX_RANK) != count) return 0;
    for (int i = 0; i < count; i++) {
        int axis = (int)(axes[i] < 0 ? axes[i] + in->rank : axes[i]);
        if (axis < 0 || axis >= in->rank || !om_freeing_open(f, n->inputs[0], axis)) continue;
        if (ends[i] < 0 || ends[i] > in->dim[axis]) continue;
        if (ends[i] < in->dim[axis])
            return om_freeing_refuse(f, node, "it cuts dim %d of %lld at %lld", axis,
                                     (long long)in->dim[axis], (long long)ends[i]);
        ends[i] = INT64_MAX;
        changed = true;
    }
    return changed ? replace_ints(f, node, 2, ends, count) : 0;
}

/* A dim that is as large as the input's own need not be named. */
int om_free_expand(om_freeing *f, int node)
{
    om_graph *g = f->to.g;
    const om_node *n = &g->nodes[node];
    int64_t target[OM_MAX_RANK];
    const om_shape *in = om_freeing_was(f, node_input(n, 0));
    int rank = constant_ints(g, node_input(n, 1), target, OM_MAX_RANK);
    bool changed = false;
    if (rank < 0 || in->rank < 0) return 0;
    for (int j = 0; j < rank; j++) {
        int i = j - (rank - in->rank);
        if (i < 0 || !om_freeing_open(f, n->inputs[0], i) || target[j] != in->dim[i] || target[j] == 1)
            continue;
        target[j] = 1;
        changed = true;
    }
    return changed ? replace_ints(f, node, 1, target, rank) : 0;
}
