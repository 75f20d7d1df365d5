/* Operators of one number at a time: they stay expressions until somebody wants them in memory. */
#include <math.h>
#include <string.h>

#include "backend/cuda/lower.h"
#include "base/error.h"
#include "base/mem.h"

static const struct {
    const char *op;
    int code;
} pairs[] = {
    {"Add", OMCU_ADD}, {"Sum", OMCU_ADD}, {"Mean", OMCU_ADD}, {"Sub", OMCU_SUB}, {"Mul", OMCU_MUL},
    {"Div", OMCU_DIV}, {"Min", OMCU_MIN}, {"Max", OMCU_MAX},  {"Pow", OMCU_POW}, {"PRelu", OMCU_PRELU},
};

static int pair_of(const char *op)
{
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (strcmp(pairs[i].op, op) == 0) return pairs[i].code;
    return OMCU_NONE;
}

static const omcu_expr *written_leaf(omcu_lower_state *l, int value)
{
    float number;
    omcu_view v;
    if (omcu_const_scalar(l, value, &number)) return omcu_expr_number(l, number);
    int err = omcu_view_any(l, value, &v);
    if (err) l->error = err;
    return err ? NULL : omcu_expr_leaf(l, &v);
}

int omcu_lower_unary(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    omcu_act act;
    if (!omcu_unary_of(l, n, &act))
        return omcu_refuse(l, node, "its limits are computed; expected constants");
    const omcu_expr *x = omcu_expr_of(l, n->inputs[0]);
    if (x && !omcu_expr_fits(x, 4)) x = written_leaf(l, n->inputs[0]);
    omcu_expr *e = x ? omcu_expr_new(l, act.op, x, NULL) : NULL;
    if (!e) return omcu_expr_error(l);
    e->a = act.a;
    e->b = act.b;
    return omcu_set_expr(l, n->outputs[0], e);
}

static bool same(const omcu_expr *a, const omcu_expr *b)
{
    return a == b || (a->op == OMCU_LOAD && b->op == OMCU_LOAD && !a->number && !b->number &&
                      omcu_view_same(&a->view, &b->view));
}

static const omcu_expr *combine(omcu_lower_state *l, int op, const omcu_expr *x, const omcu_expr *y)
{
    if (!x || !y) return NULL;
    if (op == OMCU_MUL && y->op == OMCU_SIGMOID && same(x, y->x)) return omcu_expr_new(l, OMCU_SILU, x, NULL);
    if (op == OMCU_MUL && x->op == OMCU_SIGMOID && same(y, x->x)) return omcu_expr_new(l, OMCU_SILU, y, NULL);
    return omcu_expr_new(l, op, x, y);
}

static const omcu_expr *stretched(omcu_lower_state *l, const omcu_expr *e, int value)
{
    return e ? omcu_expr_expand(l, e, omcu_shape(l, value)) : NULL;
}

static const omcu_expr *of_two(omcu_lower_state *l, int op, const omcu_expr *x, int value_y, int out)
{
    const omcu_expr *y = omcu_expr_of(l, value_y);
    const omcu_expr *e = x && y ? combine(l, op, stretched(l, x, out), stretched(l, y, out)) : NULL;
    if (!e || omcu_expr_fits(e, 2)) return e;
    y = written_leaf(l, value_y);
    return y ? combine(l, op, stretched(l, x, out), stretched(l, y, out)) : NULL;
}

int omcu_lower_binary(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    int op = pair_of(n->op), out = n->outputs[0];
    if (n->n_inputs != 2) return omcu_refuse(l, node, "%d inputs; expected 2", n->n_inputs);
    const omcu_expr *e = of_two(l, op, omcu_expr_of(l, n->inputs[0]), n->inputs[1], out);
    if (e && !omcu_expr_fits(e, 2)) e = of_two(l, op, written_leaf(l, n->inputs[0]), n->inputs[1], out);
    return omcu_set_expr(l, out, e);
}

int omcu_lower_variadic(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    int op = pair_of(n->op), out = n->outputs[0];
    const omcu_expr *e = stretched(l, omcu_expr_of(l, n->inputs[0]), out);
    for (int i = 1; i < n->n_inputs && e; i++) {
        const omcu_expr *next = of_two(l, op, e, n->inputs[i], out);
        if (next && !omcu_expr_fits(next, 2)) {
            /* What there is so far goes to memory. */
            omcu_view v;
            int err = omcu_new_view(l, l->work, omcu_shape(l, out), l->values[out].order, 1, &v);
            if (!err) err = omcu_emit_point(l, e, &v, n->name, n->op);
            if (err) return err;
            next = of_two(l, op, omcu_expr_leaf(l, &v), n->inputs[i], out);
        }
        e = next;
    }
    if (e && strcmp(n->op, "Mean") == 0)
        e = omcu_expr_new(l, OMCU_MUL, e, omcu_expr_number(l, 1.0f / (float)n->n_inputs));
    return omcu_set_expr(l, out, e);
}

int omcu_lower_batch_norm(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    float *p[4] = {NULL}, epsilon = om_node_attr_float(n, "epsilon", 1e-5f);
    const om_shape *shape = omcu_shape(l, n->outputs[0]);
    int64_t count = 0;
    bool ok = true;
    if (n->n_outputs > 1 || om_node_attr_int(n, "training_mode", 0))
        return omcu_refuse(l, node, "it is in training mode");
    for (int i = 0; i < 4; i++) {
        if (!omcu_is_const(l, omcu_input(n, i + 1)))
            return omcu_refuse(l, node, "its parameters are computed");
        p[i] = omcu_const_floats(l, n->inputs[i + 1], &count);
        ok = ok && p[i];
    }
    for (int64_t c = 0; c < count && ok; c++) {
        p[0][c] /= sqrtf(p[3][c] + epsilon);
        p[1][c] -= p[2][c] * p[0][c];
    }
    omcu_view v = {.type = OMCU_F32, .rank = shape->rank};
    for (int i = 0; i < shape->rank; i++) v.dim[i] = i == 1 ? count : 1;
    v.stride[1] = 1;
    const omcu_expr *e = omcu_expr_of(l, n->inputs[0]);
    if (e && !omcu_expr_fits(e, 4)) e = written_leaf(l, n->inputs[0]);
    for (int i = 0; i < 2 && ok && e; i++) {
        v.buffer = omcu_add_const(l->p, p[i], (size_t)count * sizeof(float));
        const omcu_expr *leaf = v.buffer < 0 ? NULL : stretched(l, omcu_expr_leaf(l, &v), n->outputs[0]);
        e = leaf ? omcu_expr_new(l, i ? OMCU_ADD : OMCU_MUL, e, leaf) : NULL;
    }
    for (int i = 0; i < 4; i++) om_free(p[i]);
    return ok ? omcu_set_expr(l, n->outputs[0], e) : OM_ERR_NOMEM;
}

/* A constant of one number, or one along `axis`, as something to compute with. */
static const omcu_expr *along(omcu_lower_state *l, int value, int64_t axis, int out)
{
    const om_shape *shape = omcu_shape(l, out);
    float number;
    int64_t n;
    if (omcu_const_scalar(l, value, &number)) return omcu_expr_number(l, number);
    if (axis < 0) axis += shape->rank;
    float *v = omcu_const_floats(l, value, &n);
    if (!v) l->error = OM_ERR_NOMEM;
    if (!v || axis < 0 || axis >= shape->rank || n != shape->dim[axis]) {
        om_free(v);
        return NULL;
    }
    omcu_view view = {.type = OMCU_F32, .rank = shape->rank};
    for (int i = 0; i < shape->rank; i++) view.dim[i] = i == axis ? n : 1;
    view.stride[axis] = 1;
    view.buffer = omcu_add_const(l->p, v, (size_t)n * sizeof *v);
    om_free(v);
    if (view.buffer < 0) l->error = view.buffer;
    return view.buffer < 0 ? NULL : stretched(l, omcu_expr_leaf(l, &view), out);
}

/* Scale and zero of a QuantizeLinear or DequantizeLinear; *zero NULL: none. */
static int read_linear(omcu_lower_state *l, int node, const omcu_expr **scale, const omcu_expr **zero)
{
    const om_node *n = &l->g->nodes[node];
    int s = omcu_input(n, 1), z = omcu_input(n, 2);
    int64_t axis = om_node_attr_int(n, "axis", 1);
    *zero = NULL;
    if (!omcu_is_const(l, s) || (z >= 0 && !omcu_is_const(l, z)))
        return omcu_refuse(l, node, "its scale is computed; expected a constant");
    *scale = along(l, s, axis, n->outputs[0]);
    if (z >= 0) *zero = along(l, z, axis, n->outputs[0]);
    if (*scale && (z < 0 || *zero)) return OM_OK;
    return l->error ? l->error
                    : omcu_refuse(l, node, "it has blocks; expected a scale a tensor or a channel");
}

int omcu_lower_quantize(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    const omcu_expr *scale, *zero;
    bool negative = l->g->values[n->outputs[0]].dtype == OM_DTYPE_I8;
    int err = read_linear(l, node, &scale, &zero);
    if (err) return err;
    const omcu_expr *x = omcu_expr_of(l, n->inputs[0]);
    if (x && !omcu_expr_fits(x, 8)) x = written_leaf(l, n->inputs[0]);
    omcu_expr *e = omcu_expr_new(l, OMCU_DIV, stretched(l, x, n->outputs[0]), scale);
    e = omcu_expr_new(l, OMCU_ROUND, e, NULL);
    if (zero) e = omcu_expr_new(l, OMCU_ADD, e, zero);
    e = omcu_expr_new(l, OMCU_CLIP, e, NULL);
    if (!e) return omcu_expr_error(l);
    e->a = negative ? -128 : 0;
    e->b = negative ? 127 : 255;
    return omcu_set_expr(l, n->outputs[0], e);
}

int omcu_lower_dequantize(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    const omcu_expr *scale, *zero;
    int err = read_linear(l, node, &scale, &zero);
    if (err) return err;
    const omcu_expr *x = omcu_expr_of(l, n->inputs[0]);
    if (x && !omcu_expr_fits(x, 4)) x = written_leaf(l, n->inputs[0]);
    x = stretched(l, x, n->outputs[0]);
    omcu_expr *e = zero ? omcu_expr_new(l, OMCU_SUB, x, zero) : NULL;
    e = omcu_expr_new(l, OMCU_MUL, zero ? e : x, scale);
    return e ? omcu_set_expr(l, n->outputs[0], e) : omcu_expr_error(l);
}

/* Between floating-point types nothing happens: the program computes in its own. */
int omcu_lower_cast(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    return omcu_set_expr(l, n->outputs[0], omcu_expr_of(l, n->inputs[0]));
}
