/* Constants made for one size: anchor points, strides and grids, recognised by their numbers and computed
 * anew. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/dynamic.h"

#define MAX_LEVELS 5
#define RANGE_OPSET 11 /* the operator that counts */
#define MAX_DIM 8192   /* of a side, in pixels */

typedef struct levels {
    int n, stride[MAX_LEVELS];
} levels;

/* The pyramids in use, finest first. */
static const levels pyramids[] = {{3, {8, 16, 32}},    {4, {8, 16, 32, 64}},
                                  {4, {4, 8, 16, 32}}, {2, {16, 32}},
                                  {2, {8, 16}},        {1, {32}},
                                  {1, {16}},           {1, {8}}};

static const char *node_name(om_build *b, char out[OM_BUILD_NAME], const char *what)
{
    return om_build_name(out, "dynamic_%s_%d", what, b->g->n_nodes);
}

static int op1(om_build *b, const char *op, int a)
{
    char name[OM_BUILD_NAME];
    node_name(b, name, op);
    return om_build_op(b, op, name, 1, a);
}

static int op2(om_build *b, const char *op, int a, int c)
{
    char name[OM_BUILD_NAME];
    node_name(b, name, op);
    return om_build_op(b, op, name, 2, a, c);
}

/* A dim of a value, as a scalar. */
static int dim_of(om_build *b, int value, int dim)
{
    int v = op2(b, "Gather", op1(b, "Shape", value), om_build_scalar(b, dim));
    om_build_int(b, "axis", 0);
    return v;
}

static int f32(om_build *b, float v)
{
    char name[OM_BUILD_NAME];
    return om_build_f32_scalar(b, om_build_name(name, "f32_%.9g", v), v);
}

/* 0, 1, 2, ... as floats. */
static int counting(om_build *b, int count)
{
    char name[OM_BUILD_NAME];
    node_name(b, name, "Range");
    int v =
        op1(b, "Cast", om_build_op(b, "Range", name, 3, om_build_scalar(b, 0), count, om_build_scalar(b, 1)));
    om_build_int(b, "to", 1);
    return v;
}

static int reshape(om_build *b, int value, const int64_t *shape, int n)
{
    int target = b->err ? OM_NO_VALUE : om_graph_add_const_i64(b->g, NULL, shape, n);
    if (target < 0 && !b->err) b->err = target;
    return op2(b, "Reshape", value, target);
}

typedef enum rule { COLUMN, ROW, STRIDE } rule;

typedef struct sequence {
    const levels *l;
    rule rule;
    float offset; /* added to the column or row */
    bool strided; /* in pixels, not in cells */
} sequence;

static float cell_number(const sequence *s, int level, int64_t x, int64_t y)
{
    float stride = (float)s->l->stride[level];
    if (s->rule == STRIDE) return stride;
    float at = (float)(s->rule == COLUMN ? x : y) + s->offset;
    return s->strided ? at * stride : at;
}

/* Whether v[0], v[step], ... are the sequence's numbers for a picture of h rows and w columns. */
static bool follows(const sequence *s, const float *v, int64_t n, int64_t step, int64_t h, int64_t w)
{
    int64_t at = 0;
    for (int i = 0; i < s->l->n; i++)
        for (int64_t y = 0; y < h / s->l->stride[i]; y++)
            for (int64_t x = 0; x < w / s->l->stride[i]; x++, at++)
                if (at >= n || fabsf(v[at * step] - cell_number(s, i, x, y)) > 1e-3f) return false;
    return at == n;
}

static bool find_sequence(const float *v, int64_t n, int64_t step, int64_t h, int64_t w, sequence *out)
{
    for (size_t i = 0; i < sizeof pyramids / sizeof *pyramids; i++) {
        for (int form = 0; form < 5; form++) {
            bool strided = form == 2 || form == 3;
            float first = strided ? v[0] / (float)pyramids[i].stride[0] : v[0];
            *out = (sequence){&pyramids[i], form == 4 ? STRIDE : form % 2 ? ROW : COLUMN, first, strided};
            if (follows(out, v, n, step, h, w)) return true;
        }
    }
    return false;
}

/* One level's part of the sequence, flat. */
static int level_numbers(om_freeing *f, const sequence *s, int level)
{
    om_build *b = &f->to;
    int stride = om_build_scalar(b, s->l->stride[level]);
    int h = op2(b, "Div", dim_of(b, f->input, f->row), stride),
        w = op2(b, "Div", dim_of(b, f->input, f->row + 1), stride);
    int h1 = op2(b, "Reshape", h, om_build_one(b, 1)), w1 = op2(b, "Reshape", w, om_build_one(b, 1));
    char name[OM_BUILD_NAME];
    node_name(b, name, "Concat");
    int size = om_build_join(b, name, 0, 2, (int[]){h1, w1}), v;
    if (s->rule == STRIDE) {
        v = f32(b, (float)s->l->stride[level]);
    } else {
        v = counting(b, s->rule == COLUMN ? w : h);
        if (s->offset != 0) v = op2(b, "Add", v, f32(b, s->offset));
        if (s->strided) v = op2(b, "Mul", v, f32(b, (float)s->l->stride[level]));
        if (s->rule == ROW) v = reshape(b, v, (int64_t[]){-1, 1}, 2);
    }
    return reshape(b, op2(b, "Expand", v, size), (int64_t[]){-1}, 1);
}

static int all_levels(om_freeing *f, const sequence *s)
{
    char name[OM_BUILD_NAME];
    int parts[MAX_LEVELS];
    for (int i = 0; i < s->l->n; i++) parts[i] = level_numbers(f, s, i);
    if (s->l->n == 1) return parts[0];
    node_name(&f->to, name, "Concat");
    return om_build_join(&f->to, name, 0, s->l->n, parts);
}

/* One open dim that counts all cells, and at most one other of coordinates: [1, 2, A], [A, 2], [1, A], ... */
static int pyramid_numbers(om_freeing *f, const om_const *c, int open)
{
    const om_shape *picture = &f->was[f->input];
    int64_t n = c->shape.dim[open], inner = 1, outer = 1, h = picture->dim[f->row],
            w = picture->dim[f->row + 1];
    sequence s[2];
    int parts[2] = {OM_NO_VALUE, OM_NO_VALUE};
    for (int i = 0; i < open; i++) outer *= c->shape.dim[i];
    for (int i = open + 1; i < c->shape.rank; i++) inner *= c->shape.dim[i];
    if (inner * outer > 2 || h <= 0 || w <= 0 || h > MAX_DIM || w > MAX_DIM) return OM_NO_VALUE;
    for (int64_t k = 0; k < inner * outer; k++)
        if (!find_sequence((const float *)c->data + (inner > 1 ? k : k * n), n, inner, h, w, &s[k]))
            return OM_NO_VALUE;
    int64_t flat[OM_MAX_RANK];
    for (int i = 0; i < c->shape.rank; i++) flat[i] = i == open ? -1 : c->shape.dim[i];
    for (int64_t k = 0; k < inner * outer; k++) parts[k] = all_levels(f, &s[k]);
    int v = parts[0];
    if (inner * outer == 2) {
        char name[OM_BUILD_NAME];
        const int64_t *target = inner > 1 ? (int64_t[]){-1, 1} : (int64_t[]){1, -1};
        for (int k = 0; k < 2; k++) parts[k] = reshape(&f->to, parts[k], target, 2);
        node_name(&f->to, name, "Concat");
        v = om_build_join(&f->to, name, inner > 1 ? 1 : 0, 2, parts);
    }
    return reshape(&f->to, v, flat, c->shape.rank);
}

static int64_t offset_of(const om_shape *s, const int64_t *at)
{
    int64_t o = 0;
    for (int i = 0; i < s->rank; i++) o = o * s->dim[i] + at[i];
    return o;
}

static bool advance(const om_shape *s, int64_t *at, const bool *skip)
{
    for (int i = s->rank - 1; i >= 0; i--) {
        if (skip && skip[i]) continue;
        if (++at[i] < s->dim[i]) return true;
        at[i] = 0;
    }
    return false;
}

typedef struct ramp {
    om_shape shape; /* the constant's, its open dims 1 */
    float *base, *step[OM_MAX_RANK];
} ramp;

static void ramp_fini(ramp *r)
{
    om_free(r->base);
    for (int i = 0; i < OM_MAX_RANK; i++) om_free(r->step[i]);
}

static int measure_ramp(const om_const *c, const bool *open, ramp *r)
{
    const float *v = c->data;
    int64_t at[OM_MAX_RANK] = {0}, k = 0;
    memset(r, 0, sizeof *r);
    r->shape = c->shape;
    for (int i = 0; i < c->shape.rank; i++)
        if (open[i]) r->shape.dim[i] = 1;
    size_t n = (size_t)om_shape_count(&r->shape);
    r->base = om_alloc(n * sizeof *r->base);
    for (int i = 0; i < c->shape.rank && r->base; i++)
        if (open[i] && !(r->step[i] = om_alloc(n * sizeof *r->base))) return OM_ERR_NOMEM;
    if (!r->base) return OM_ERR_NOMEM;
    do {
        r->base[k] = v[offset_of(&c->shape, at)];
        for (int i = 0; i < c->shape.rank; i++) {
            if (!open[i]) continue;
            at[i] = 1;
            r->step[i][k] = v[offset_of(&c->shape, at)] - r->base[k];
            at[i] = 0;
        }
        k++;
    } while (advance(&c->shape, at, open));
    return OM_OK;
}

static bool ramp_fits(const om_const *c, const bool *open, const ramp *r)
{
    const float *v = c->data;
    int64_t at[OM_MAX_RANK] = {0};
    do {
        int64_t small[OM_MAX_RANK] = {0};
        for (int i = 0; i < c->shape.rank; i++) small[i] = open[i] ? 0 : at[i];
        int64_t k = offset_of(&r->shape, small);
        float sum = r->base[k];
        for (int i = 0; i < c->shape.rank; i++)
            if (open[i]) sum += r->step[i][k] * (float)at[i];
        if (fabsf(sum - v[offset_of(&c->shape, at)]) > 1e-3f) return false;
    } while (advance(&c->shape, at, NULL));
    return true;
}

static bool all_zero(const float *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (v[i] != 0) return false;
    return true;
}

/* base + step * index for each open dim, the index counted as far as `like` reaches. */
static int ramp_numbers(om_freeing *f, const om_const *c, const bool *open, int like, const int *from)
{
    ramp r;
    int v = OM_NO_VALUE, e = measure_ramp(c, open, &r);
    int64_t n = om_shape_count(&r.shape);
    if (!e && ramp_fits(c, open, &r)) {
        v = om_build_const(&f->to, "dynamic_base", OM_DTYPE_F32, &r.shape, r.base);
        for (int i = 0; i < c->shape.rank; i++) {
            int64_t along[OM_MAX_RANK];
            if (!open[i] || all_zero(r.step[i], n)) continue;
            for (int k = 0; k < c->shape.rank; k++) along[k] = k == i ? -1 : 1;
            int index =
                reshape(&f->to, counting(&f->to, dim_of(&f->to, like, from[i])), along, c->shape.rank);
            int step = om_build_const(&f->to, "dynamic_step", OM_DTYPE_F32, &r.shape, r.step[i]);
            v = op2(&f->to, "Add", v, op2(&f->to, "Mul", index, step));
        }
    }
    ramp_fini(&r);
    if (e) f->to.err = e;
    return v;
}

int om_free_numbers(om_freeing *f, const om_const *c, const bool *open, int like, const int *from)
{
    int n_open = 0, last = 0;
    if (c->dtype != OM_DTYPE_F32 || om_graph_opset(f->to.g, "") < RANGE_OPSET) return OM_NO_VALUE;
    for (int i = 0; i < c->shape.rank; i++) {
        n_open += open[i];
        if (open[i]) last = i;
    }
    int v = ramp_numbers(f, c, open, like, from);
    return v < 0 && n_open == 1 && !f->to.err ? pyramid_numbers(f, c, last) : v;
}

/* Of a constant beside value `like` under broadcasting: the dims that were as large as `like`'s open ones. */
static bool frozen_dims(const om_freeing *f, const om_const *c, int like, bool *open, int *from)
{
    const om_shape *was = om_freeing_was(f, like);
    bool any = false;
    for (int i = 0; i < c->shape.rank; i++) {
        from[i] = i + was->rank - c->shape.rank;
        open[i] = from[i] >= 0 && om_freeing_open(f, like, from[i]) && c->shape.dim[i] > 1 &&
                  c->shape.dim[i] == was->dim[from[i]];
        any = any || open[i];
    }
    return any;
}

int om_free_constant(om_freeing *f, int node)
{
    om_graph *g = f->to.g;
    const om_node *n = &g->nodes[node];
    bool open[OM_MAX_RANK];
    int from[OM_MAX_RANK];
    if (n->n_inputs != 2) return 0;
    for (int i = 0; i < 2; i++) {
        if (n->inputs[i] < 0 || n->inputs[1 - i] < 0) continue;
        const om_const *c = g->values[n->inputs[i]].constant;
        int like = n->inputs[1 - i];
        if (!c || om_freeing_was(f, like)->rank < 0 || !frozen_dims(f, c, like, open, from)) continue;
        int v = om_free_numbers(f, c, open, like, from);
        if (f->to.err) return f->to.err;
        if (v < 0) {
            char shape[OM_SHAPE_TEXT];
            om_shape_text(&c->shape, shape);
            return om_freeing_refuse(
                f, node, "its constant %s was made for one size and follows no known rule", shape);
        }
        g->nodes[node].inputs[i] = v;
        return 1;
    }
    return 0;
}

/* A constant beside pictures, as a class token is: once for each of them. */
static int repeated(om_freeing *f, int constant, int like, const bool *open)
{
    const om_shape *s = &f->to.g->values[constant].shape;
    int parts[OM_MAX_RANK], rank = s->rank, shape = op1(&f->to, "Shape", like);
    for (int i = 0; i < rank; i++) {
        if (open[i]) {
            parts[i] = op2(&f->to, "Gather", shape, om_build_one(&f->to, i));
            om_build_int(&f->to, "axis", 0);
        } else {
            parts[i] = om_build_one(&f->to, 1);
        }
    }
    return op2(&f->to, "Expand", constant, om_build_join(&f->to, NULL, 0, rank, parts));
}

int om_free_concat(om_freeing *f, int node)
{
    om_graph *g = f->to.g;
    const om_node *n = &g->nodes[node];
    int like = OM_NO_VALUE, rank = om_freeing_was(f, n->outputs[0])->rank;
    bool open[OM_MAX_RANK] = {false};
    if (rank < 1) return 0;
    int64_t axis = om_node_attr_int(n, "axis", 0);
    if (axis < 0) axis += rank;
    for (int i = 0; i < n->n_inputs; i++)
        for (int k = 0; k < rank && n->inputs[i] >= 0; k++)
            if (k != axis && om_freeing_open(f, n->inputs[i], k)) {
                open[k] = true;
                like = n->inputs[i];
            }
    for (int i = 0; i < n->n_inputs && like >= 0; i++) {
        const om_const *c = n->inputs[i] >= 0 ? g->values[n->inputs[i]].constant : NULL;
        if (!c || c->shape.rank != rank) continue;
        for (int k = 0; k < rank; k++)
            if (open[k] && c->shape.dim[k] != 1)
                return om_freeing_refuse(f, node, "its constant input %d has %lld places along an open dim",
                                         i, (long long)c->shape.dim[k]);
        int v = repeated(f, n->inputs[i], like, open);
        if (v < 0) return f->to.err;
        g->nodes[node].inputs[i] = v;
        return 1;
    }
    return 0;
}
