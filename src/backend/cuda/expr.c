/* Expressions: trees of one-number operations over views, and the programs that compute them. */
#include <string.h>

#include "backend/cuda/lower.h"
#include "base/error.h"
#include "base/mem.h"

omcu_expr *omcu_expr_new(omcu_lower_state *l, int op, const omcu_expr *x, const omcu_expr *y)
{
    /* What could not be made before makes nothing. */
    bool leaf = op == OMCU_LOAD, pair = op >= OMCU_UNARY_END;
    if (!leaf && (!x || (pair && !y))) return NULL;
    omcu_expr *e = om_calloc(1, sizeof *e);
    if (!e) l->error = OM_ERR_NOMEM;
    if (!e) return NULL;
    e->op = op;
    e->x = x;
    e->y = y;
    e->next = l->exprs;
    l->exprs = e;
    return e;
}

omcu_expr *omcu_expr_number(omcu_lower_state *l, float v)
{
    omcu_expr *e = omcu_expr_new(l, OMCU_LOAD, NULL, NULL);
    if (!e) return NULL;
    e->number = true;
    e->a = v;
    return e;
}

static omcu_expr *raw_leaf(omcu_lower_state *l, const omcu_view *v)
{
    omcu_expr *e = omcu_expr_new(l, OMCU_LOAD, NULL, NULL);
    if (e) e->view = *v;
    return e;
}

omcu_expr *omcu_expr_leaf(omcu_lower_state *l, const omcu_view *v)
{
    omcu_expr *e = raw_leaf(l, v);
    if (v->grid.scale <= 0) return e;
    if (v->grid.zero) e = omcu_expr_new(l, OMCU_SUB, e, omcu_expr_number(l, (float)v->grid.zero));
    return omcu_expr_new(l, OMCU_MUL, e, omcu_expr_number(l, v->grid.scale));
}

/* The 8-bit integers that stand for the numbers of `e`. */
static const omcu_expr *to_grid(omcu_lower_state *l, const omcu_expr *e, const omcu_grid *grid)
{
    omcu_expr *q = omcu_expr_new(l, OMCU_MUL, e, omcu_expr_number(l, 1.0f / grid->scale));
    q = omcu_expr_new(l, OMCU_ROUND, q, NULL);
    if (grid->zero) q = omcu_expr_new(l, OMCU_ADD, q, omcu_expr_number(l, (float)grid->zero));
    q = omcu_expr_new(l, OMCU_CLIP, q, NULL);
    if (q) q->a = -128, q->b = 127;
    return q;
}

static bool is_leaf(const omcu_expr *e) { return e->op == OMCU_LOAD; }

int omcu_expr_size(const omcu_expr *e)
{
    return is_leaf(e) ? 0 : 1 + omcu_expr_size(e->x) + (e->y ? omcu_expr_size(e->y) : 0);
}

/* What an expression becomes: instructions and the views they load. */
typedef struct code {
    omcu_inst inst[OMCU_CODE];
    omcu_view in[OMCU_OPERANDS];
    int n, n_in;
    bool full;
} code;

static void push(code *c, int op, int k, float a, float b)
{
    if (c->n == OMCU_CODE) c->full = true;
    else c->inst[c->n++] = (omcu_inst){.op = (int16_t)op, .k = (int16_t)k, .a = a, .b = b};
}

static int operand(code *c, const omcu_view *v)
{
    for (int i = 0; i < c->n_in; i++)
        if (omcu_view_same(&c->in[i], v)) return i;
    if (c->n_in == OMCU_OPERANDS) {
        c->full = true;
        return 0;
    }
    c->in[c->n_in] = *v;
    return c->n_in++;
}

static void push_leaf(code *c, int op, const omcu_expr *e)
{
    if (e->number) push(c, op, OMCU_BY_IMMEDIATE, e->a, 0);
    else push(c, op, operand(c, &e->view), 0, 0);
}

static int reversed(int op)
{
    switch (op) {
    case OMCU_SUB: return OMCU_RSUB;
    case OMCU_DIV: return OMCU_RDIV;
    case OMCU_POW: return OMCU_RPOW;
    case OMCU_PRELU: return OMCU_RPRELU;
    default: return op;
    }
}

static void generate(code *c, const omcu_expr *e, int slot)
{
    if (c->full) return;
    if (is_leaf(e)) {
        push_leaf(c, OMCU_LOAD, e);
    } else if (!e->y) {
        generate(c, e->x, slot);
        push(c, e->op, 0, e->a, e->b);
    } else if (is_leaf(e->y)) {
        generate(c, e->x, slot);
        push_leaf(c, e->op, e->y);
    } else if (is_leaf(e->x)) {
        generate(c, e->y, slot);
        push_leaf(c, reversed(e->op), e->x);
    } else if (slot == OMCU_SLOTS) {
        c->full = true;
    } else {
        generate(c, e->x, slot);
        push(c, OMCU_SAVE, slot, 0, 0);
        generate(c, e->y, slot + 1);
        push(c, reversed(e->op), OMCU_BY_SLOT + slot, 0, 0);
    }
}

bool omcu_expr_fits(const omcu_expr *e, int room)
{
    code c = {.n = 0};
    generate(&c, e, 0);
    return !c.full && c.n + room <= OMCU_CODE;
}

const omcu_expr *omcu_expr_turn(omcu_lower_state *l, const omcu_expr *e, omcu_turn_fn *turn, void *user)
{
    if (e->number) return e;
    if (is_leaf(e)) {
        omcu_view v;
        return turn(&e->view, user, &v) ? raw_leaf(l, &v) : NULL;
    }
    const omcu_expr *x = omcu_expr_turn(l, e->x, turn, user), *y = NULL;
    if (x && e->y) y = omcu_expr_turn(l, e->y, turn, user);
    if (!x || (e->y && !y)) return NULL;
    omcu_expr *out = omcu_expr_new(l, e->op, x, y);
    if (!out) return NULL;
    out->a = e->a;
    out->b = e->b;
    return out;
}

static bool turn_expand(const omcu_view *in, void *user, omcu_view *out)
{
    const om_shape *s = user;
    return omcu_view_expand(in, s->rank, s->dim, out);
}

const omcu_expr *omcu_expr_expand(omcu_lower_state *l, const omcu_expr *e, const om_shape *shape)
{
    om_shape copy = *shape;
    return omcu_expr_turn(l, e, turn_expand, &copy);
}

/* Dims of one are dropped, the rest sorted by the output's strides, and neighbours joined that are as one in
 * every operand. */
static int collapse(const omcu_view *out, const code *c, omcu_point *p)
{
    int order[OM_MAX_RANK], dims[OM_MAX_RANK], n = 0;
    omcu_view_order(out, order);
    for (int i = 0; i < out->rank; i++)
        if (out->dim[order[i]] != 1) dims[n++] = order[i];
    for (int i = 0; i < n; i++) {
        int d = dims[i], last = p->rank - 1;
        bool joins = i > 0 && p->out_stride[last] == out->stride[d] * out->dim[d];
        for (int k = 0; k < c->n_in && joins; k++)
            joins = p->in[k].stride[last] == c->in[k].stride[d] * out->dim[d];
        if (!joins && p->rank == OMCU_DIMS) return OM_ERR_UNSUPPORTED;
        if (!joins) p->dim[last = p->rank++] = 1;
        p->dim[last] *= (int)out->dim[d];
        p->out_stride[last] = out->stride[d];
        for (int k = 0; k < c->n_in; k++) p->in[k].stride[last] = c->in[k].stride[d];
    }
    if (p->rank == 0) p->dim[p->rank++] = 1;
    return OM_OK;
}

static bool takes_four(const omcu_point *p, const omcu_view *out)
{
    int last = p->rank - 1;
    if (p->out_type != OMCU_F16 && p->out_type != OMCU_F32 && p->out_type != OMCU_I8) return false;
    bool ok = p->dim[last] % 4 == 0 && p->out_stride[last] == 1 && out->offset % 4 == 0;
    for (int i = 0; i < last; i++) ok = ok && p->out_stride[i] % 4 == 0;
    return ok;
}

/* The dimension along which the operands lie dense while the output lies dense along its last. */
static int turned(const omcu_point *p)
{
    int last = p->rank - 1, found = -1;
    if (p->out_stride[last] != 1 || p->dim[last] < 8) return -1;
    for (int k = 0; k < p->n_in; k++) {
        const int64_t *s = p->in[k].stride;
        if (s[last] == 1) return -1;
        for (int d = 0; d < last && found < 0; d++)
            if (s[d] == 1 && s[last] != 0 && p->dim[d] >= 8) found = d;
    }
    return found;
}

/* From its first number to its last. */
static int64_t reach(const omcu_view *v)
{
    int64_t n = 0;
    for (int i = 0; i < v->rank; i++)
        n += (v->dim[i] - 1) * (v->stride[i] < 0 ? -v->stride[i] : v->stride[i]);
    return n;
}

int omcu_emit_point(omcu_lower_state *l, const omcu_expr *e, const omcu_view *out, const char *name,
                    const char *type)
{
    om_shape shape = {.rank = out->rank};
    memcpy(shape.dim, out->dim, sizeof shape.dim);
    const omcu_expr *whole = out->grid.scale > 0 ? to_grid(l, e, &out->grid) : e;
    if (whole) whole = omcu_expr_expand(l, whole, &shape);
    if (!whole && l->error) return l->error;
    if (!whole) return om_fail(OM_ERR_INTERNAL, "node '%s': an expression does not fit its output", name);
    code c = {.n = 0};
    generate(&c, whole, 0);
    omcu_step s = {.kind = OMCU_STEP_POINT, .n_in = c.n_in, .n_out = 1, .half = l->work == OMCU_F16};
    omcu_point *p = &s.u.point;
    p->n_in = c.n_in;
    p->n_code = c.n;
    memcpy(p->code, c.inst, sizeof p->code);
    memcpy(s.in, c.in, sizeof s.in);
    s.out[0] = *out;
    p->out_type = out->type;
    for (int i = 0; i < c.n_in; i++) p->in[i].type = c.in[i].type;
    if (c.full || collapse(out, &c, p) < 0)
        return om_fail(OM_ERR_UNSUPPORTED, "node '%s' (%s): too many operands or dimensions at once", name,
                       type);
    p->transpose = turned(p);
    p->vector = p->transpose < 0 && takes_four(p, out) ? 4 : 1;
    for (int i = 0; i < c.n_in; i++)
        if (reach(&c.in[i]) > INT32_MAX) c.full = true;
    if (c.full || reach(out) > INT32_MAX)
        return om_fail(OM_ERR_UNSUPPORTED, "node '%s' (%s): more than 2^31 numbers", name, type);
    strncpy(s.name, name, sizeof s.name - 1);
    strncpy(s.type, type, sizeof s.type - 1);
    int n = omcu_view_count(out) ? omcu_add_step(l->p, &s) : 0;
    return n < 0 ? n : OM_OK;
}

int omcu_emit_copy(omcu_lower_state *l, const omcu_view *from, const omcu_view *to, const char *name)
{
    omcu_expr *leaf = omcu_expr_leaf(l, from);
    return leaf ? omcu_emit_point(l, leaf, to, name, "Copy") : omcu_expr_error(l);
}
