/* Operators that only look at memory differently, and those that put parts together. */
#include <string.h>

#include "backend/cuda/lower.h"
#include "base/error.h"
#include "base/mem.h"

/* Value `out` is value `in` seen through `turn`: of an expression its operands, else the memory itself,
 * copied to the plain order first where `turn` cannot see it as it lies. */
static int look(omcu_lower_state *l, int in, int out, omcu_turn_fn *turn, void *user, const char *name)
{
    const omcu_expr *e = omcu_expr_of(l, in);
    if (!e) return omcu_expr_error(l);
    if (e->op != OMCU_LOAD) {
        const omcu_expr *whole = omcu_expr_expand(l, e, omcu_shape(l, in));
        const omcu_expr *turned = whole ? omcu_expr_turn(l, whole, turn, user) : NULL;
        if (turned) return omcu_set_expr(l, out, turned);
        if (l->error) return l->error;
    }
    omcu_view from, to;
    int err = omcu_view_any(l, in, &from);
    if (err) return err;
    if (!turn(&from, user, &to)) {
        omcu_view dense;
        err = omcu_new_view(l, l->work, omcu_shape(l, in), NULL, 1, &dense);
        if (!err) err = omcu_emit_copy(l, &from, &dense, name);
        if (err) return err;
        if (!turn(&dense, user, &to)) return om_fail(OM_ERR_INTERNAL, "node '%s': no such view", name);
    }
    return omcu_written(l, out, &to);
}

static bool turn_same(const omcu_view *in, void *user, omcu_view *out)
{
    *out = *in;
    return true;
}

int omcu_lower_same(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    for (int i = 1; i < n->n_outputs; i++)
        if (n->outputs[i] >= 0 && (l->values[n->outputs[i]].n_users || l->g->values[n->outputs[i]].is_output))
            return omcu_refuse(l, node, "its mask is used");
    return look(l, n->inputs[0], n->outputs[0], turn_same, NULL, n->name);
}

static bool turn_reshape(const omcu_view *in, void *user, omcu_view *out)
{
    const om_shape *s = user;
    return omcu_view_reshape(in, s->rank, s->dim, out);
}

/* The finest dims of which both shapes' are products; group[i]: which of b's dims factor i is of. -1: none
 * such. */
static int refine(const om_shape *a, const om_shape *b, int64_t dim[OM_MAX_RANK], int group[OM_MAX_RANK])
{
    int i = 0, j = 0, n = 0;
    int64_t x = 1, y = 1;
    for (;;) {
        while (x == 1 && i < a->rank) x = a->dim[i++];
        while (y == 1 && j < b->rank) y = b->dim[j++];
        if (x == 1 || y == 1) return x == y ? n : -1;
        int64_t part = x < y ? x : y;
        if (n == OM_MAX_RANK || x % part || y % part) return -1;
        dim[n] = part;
        group[n++] = j - 1;
        x /= part;
        y /= part;
    }
}

/* A reshape that joins dims which the next but one takes apart again, a transpose between them (heads of
 * attention): all three as one view. */
static bool three_as_one(omcu_lower_state *l, int node, const omcu_view *in, int *value, omcu_view *out)
{
    const om_node *n = &l->g->nodes[node];
    int turn = omcu_only_user(l, n->outputs[0], "Transpose"), group[OM_MAX_RANK], order[OM_MAX_RANK],
        n_order = 0;
    int last = turn < 0 ? -1 : omcu_only_user(l, l->g->nodes[turn].outputs[0], "Reshape");
    int64_t dim[OM_MAX_RANK], perm[OM_MAX_RANK];
    if (last < 0 || l->how->no_fusion) return false;
    const om_shape *flat = omcu_shape(l, n->outputs[0]);
    int rank = refine(omcu_shape(l, n->inputs[0]), flat, dim, group);
    if (rank < 0 || om_node_attr_ints(&l->g->nodes[turn], "perm", perm, OM_MAX_RANK) != flat->rank)
        return false;
    for (int i = 0; i < flat->rank; i++)
        for (int k = 0; k < rank; k++)
            if (group[k] == perm[i]) order[n_order++] = k;
    omcu_view fine, turned;
    *value = l->g->nodes[last].outputs[0];
    if (!omcu_view_reshape(in, rank, dim, &fine)) return false;
    turned = omcu_view_permute(&fine, order);
    if (!omcu_view_reshape(&turned, omcu_shape(l, *value)->rank, omcu_shape(l, *value)->dim, out))
        return false;
    l->done[turn] = l->done[last] = true;
    return true;
}

int omcu_lower_reshape(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    om_shape shape = *omcu_shape(l, n->outputs[0]);
    const omcu_value *v = &l->values[n->inputs[0]];
    omcu_view out;
    int value;
    if (v->written && !omcu_view_reshape(&v->view, shape.rank, shape.dim, &out)) {
        if (three_as_one(l, node, &v->view, &value, &out)) return omcu_written(l, value, &out);
        int done = omcu_product_of_rows(l, node);
        if (done) return done < 0 ? done : OM_OK;
    }
    return look(l, n->inputs[0], n->outputs[0], turn_reshape, &shape, n->name);
}

static bool turn_permute(const omcu_view *in, void *user, omcu_view *out)
{
    *out = omcu_view_permute(in, user);
    return true;
}

int omcu_lower_transpose(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    int64_t perm[OM_MAX_RANK];
    int p[OM_MAX_RANK], rank = omcu_shape(l, n->outputs[0])->rank,
                        given = om_node_attr_ints(n, "perm", perm, OM_MAX_RANK);
    for (int i = 0; i < rank; i++) p[i] = given == rank ? (int)perm[i] : rank - 1 - i;
    return look(l, n->inputs[0], n->outputs[0], turn_permute, p, n->name);
}

static bool turn_expand(const omcu_view *in, void *user, omcu_view *out)
{
    const om_shape *s = user;
    return omcu_view_expand(in, s->rank, s->dim, out);
}

int omcu_lower_expand(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    om_shape shape = *omcu_shape(l, n->outputs[0]);
    return look(l, n->inputs[0], n->outputs[0], turn_expand, &shape, n->name);
}

typedef struct cut {
    int n, axis[OM_MAX_RANK];
    int64_t first[OM_MAX_RANK], count[OM_MAX_RANK], step[OM_MAX_RANK];
} cut;

static bool turn_cut(const omcu_view *in, void *user, omcu_view *out)
{
    const cut *c = user;
    *out = *in;
    for (int i = 0; i < c->n; i++)
        *out = omcu_view_slice(out, c->axis[i], c->first[i], c->count[i], c->step[i]);
    return true;
}

int omcu_lower_slice(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    const om_shape *in = omcu_shape(l, n->inputs[0]), *out = omcu_shape(l, n->outputs[0]);
    int64_t starts[OM_MAX_RANK], axes[OM_MAX_RANK], steps[OM_MAX_RANK];
    bool attrs = n->n_inputs == 1;
    int count = attrs ? om_node_attr_ints(n, "starts", starts, OM_MAX_RANK)
                      : omcu_const_ints(l, n, 1, starts, OM_MAX_RANK);
    if (count < 0) return omcu_refuse(l, node, "where it starts is computed; expected constants");
    for (int i = 0; i < count; i++) {
        axes[i] = i;
        steps[i] = 1;
    }
    if (attrs) om_node_attr_ints(n, "axes", axes, OM_MAX_RANK);
    else {
        if (omcu_input(n, 3) >= 0 && omcu_const_ints(l, n, 3, axes, OM_MAX_RANK) != count)
            return omcu_refuse(l, node, "its axes are computed; expected constants");
        if (omcu_input(n, 4) >= 0 && omcu_const_ints(l, n, 4, steps, OM_MAX_RANK) != count)
            return omcu_refuse(l, node, "its steps are computed; expected constants");
    }
    cut c = {.n = count};
    for (int i = 0; i < count; i++) {
        int axis = (int)(axes[i] < 0 ? axes[i] + in->rank : axes[i]);
        int64_t size = in->dim[axis], first = starts[i] < 0 ? starts[i] + size : starts[i];
        int64_t highest = steps[i] < 0 ? size - 1 : size;
        if (first < 0) first = 0;
        if (first > highest) first = highest;
        c.axis[i] = axis;
        c.first[i] = first;
        c.count[i] = out->dim[axis];
        c.step[i] = steps[i];
    }
    return look(l, n->inputs[0], n->outputs[0], turn_cut, &c, n->name);
}

static int axis_of(const om_node *n, int rank, int64_t def)
{
    int64_t axis = om_node_attr_int(n, "axis", def);
    return (int)(axis < 0 ? axis + rank : axis);
}

int omcu_lower_split(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    cut c = {.n = 1, .axis = {axis_of(n, omcu_shape(l, n->inputs[0])->rank, 0)}, .step = {1}};
    for (int i = 0; i < n->n_outputs; i++) {
        if (n->outputs[i] < 0) return omcu_refuse(l, node, "one of its outputs is absent");
        c.count[0] = omcu_shape(l, n->outputs[i])->dim[c.axis[0]];
        int err = look(l, n->inputs[0], n->outputs[i], turn_cut, &c, n->name);
        if (err) return err;
        c.first[0] += c.count[0];
    }
    return OM_OK;
}

int omcu_lower_concat(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    int out = n->outputs[0], axis = axis_of(n, omcu_shape(l, out)->rank, 0);
    omcu_view whole = l->values[out].placed;
    int64_t at = 0;
    for (int i = 0; i < n->n_inputs; i++) {
        int64_t size = omcu_shape(l, n->inputs[i])->dim[axis];
        omcu_view slot = omcu_view_slice(&whole, axis, at, size, 1);
        const omcu_value *v = &l->values[n->inputs[i]];
        at += size;
        if (!size) continue;
        /* An expression that nobody else needs is written right here. */
        const omcu_expr *e = NULL;
        omcu_view from;
        int err = OM_OK;
        if (v->expr && !v->written && !v->is_placed && v->n_users == 1) {
            e = v->expr;
        } else {
            err = omcu_view_any(l, n->inputs[i], &from);
            if (!err && omcu_view_same(&from, &slot)) continue;
            if (!err && v->is_placed && omcu_view_same(&v->placed, &slot))
                continue; /* copied there already */
            if (!err) e = omcu_expr_leaf(l, &from);
        }
        if (!err && !e) err = omcu_expr_error(l);
        if (!err) err = omcu_emit_point(l, e, &slot, n->name, n->op);
        if (err) return err;
    }
    return omcu_written(l, out, &whole);
}

typedef struct choice {
    int axis, rank;
    int64_t at;
    const int64_t *dim;
} choice;

static bool turn_choice(const omcu_view *in, void *user, omcu_view *out)
{
    const choice *c = user;
    omcu_view one = omcu_view_slice(in, c->axis, c->at, 1, 1);
    return omcu_view_reshape(&one, c->rank, c->dim, out);
}

int omcu_lower_gather(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    const om_shape *in = omcu_shape(l, n->inputs[0]), *out = omcu_shape(l, n->outputs[0]);
    int axis = axis_of(n, in->rank, 0);
    if (!omcu_is_const(l, n->inputs[1]))
        return omcu_refuse(l, node, "its indices are computed; expected constants");
    int64_t count = om_shape_count(omcu_shape(l, n->inputs[1]));
    int64_t *index = om_alloc((size_t)(count + 1) * sizeof *index);
    if (!index) return OM_ERR_NOMEM;
    omcu_const_ints(l, n, 1, index, (int)count);
    for (int64_t i = 0; i < count; i++)
        if (index[i] < 0) index[i] += in->dim[axis];
    for (int64_t i = 0; i < count; i++)
        if (index[i] < 0 || index[i] >= in->dim[axis]) {
            om_free(index);
            return omcu_refuse(l, node, "an index lies outside its data");
        }
    choice c = {axis, out->rank, index[0], out->dim};
    int err;
    if (count == 1) {
        err = look(l, n->inputs[0], n->outputs[0], turn_choice, &c, n->name);
        om_free(index);
        return err;
    }
    om_shape flat = *in;
    flat.dim[axis] = count;
    omcu_step s = {.kind = OMCU_STEP_PICK, .n_in = 2, .n_out = 1};
    omcu_view y, own;
    omcu_step_name(l, node, &s);
    err = in->rank > OMCU_DIMS ? omcu_refuse(l, node, "more than %d dimensions", OMCU_DIMS) : OM_OK;
    if (!err) err = omcu_work_view(l, n->inputs[0], &s.in[0]);
    if (!err) err = omcu_new_view(l, l->work, &flat, NULL, 1, &y);
    int b = err ? err : omcu_add_const(l->p, index, (size_t)(count ? count : 1) * sizeof *index);
    om_free(index);
    if (b < 0) return b;
    s.in[1] = (omcu_view){.buffer = b, .type = OMCU_I64, .rank = 1, .dim = {count}, .stride = {1}};
    s.out[0] = y;
    s.u.pick = (omcu_pick){.rank = in->rank, .axis = axis, .size = (int)omcu_type_size(l->work)};
    for (int i = 0; i < in->rank; i++) {
        s.u.pick.dim[i] = (int)flat.dim[i];
        s.u.pick.x_stride[i] = s.in[0].stride[i];
        s.u.pick.y_stride[i] = y.stride[i];
    }
    err = omcu_add_step(l->p, &s);
    if (err < 0) return err;
    if (!omcu_view_reshape(&y, out->rank, out->dim, &own)) return OM_ERR_INTERNAL;
    return omcu_written(l, n->outputs[0], &own);
}

int omcu_lower_pad(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    const om_shape *in = omcu_shape(l, n->inputs[0]);
    int64_t pads[2 * OM_MAX_RANK], axes[OM_MAX_RANK], first[OM_MAX_RANK] = {0};
    float fill = om_node_attr_float(n, "value", 0);
    int count = n->n_inputs > 1 ? omcu_const_ints(l, n, 1, pads, 2 * OM_MAX_RANK)
                                : om_node_attr_ints(n, "pads", pads, 2 * OM_MAX_RANK);
    if (strcmp(om_node_attr_string(n, "mode", "constant"), "constant") != 0)
        return omcu_refuse(l, node, "mode %s; expected constant", om_node_attr_string(n, "mode", ""));
    if (omcu_input(n, 2) >= 0 && !omcu_const_scalar(l, n->inputs[2], &fill))
        return omcu_refuse(l, node, "its value is computed; expected a constant");
    for (int i = 0; i < in->rank; i++) axes[i] = i;
    if (omcu_input(n, 3) >= 0 && omcu_const_ints(l, n, 3, axes, OM_MAX_RANK) * 2 != count)
        return omcu_refuse(l, node, "its axes are computed; expected constants");
    for (int i = 0; i < count / 2; i++) {
        int axis = (int)(axes[i] < 0 ? axes[i] + in->rank : axes[i]);
        if (pads[i] < 0 || pads[count / 2 + i] < 0) return omcu_refuse(l, node, "a negative padding");
        first[axis] = pads[i];
    }
    if (count < 0) return omcu_refuse(l, node, "its paddings are computed; expected constants");
    omcu_view whole, inner;
    int err = omcu_out_view(l, n->outputs[0], true, 1, &whole);
    if (!err) err = omcu_emit_point(l, omcu_expr_number(l, fill), &whole, n->name, n->op);
    inner = whole;
    for (int i = 0; i < in->rank; i++) inner = omcu_view_slice(&inner, i, first[i], in->dim[i], 1);
    const omcu_expr *e = err ? NULL : omcu_expr_of(l, n->inputs[0]);
    if (!err && !e) err = omcu_expr_error(l);
    if (!err) err = omcu_emit_point(l, e, &inner, n->name, n->op);
    return err ? err : omcu_written(l, n->outputs[0], &whole);
}

typedef struct shuffle {
    om_shape apart, together;
    int perm[6];
} shuffle;

static bool turn_shuffle(const omcu_view *in, void *user, omcu_view *out)
{
    const shuffle *s = user;
    omcu_view apart, turned;
    if (!omcu_view_reshape(in, 6, s->apart.dim, &apart)) return false;
    turned = omcu_view_permute(&apart, s->perm);
    *out = turned;
    return true;
}

/* Six dimensions, turned, written, and joined to four again. */
int omcu_lower_depth(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    const om_shape *in = omcu_shape(l, n->inputs[0]), *out = omcu_shape(l, n->outputs[0]);
    int64_t b = om_node_attr_int(n, "blocksize", 1), c = in->dim[1], h = in->dim[2], w = in->dim[3];
    bool to_space = strcmp(n->op, "DepthToSpace") == 0;
    bool columns = strcmp(om_node_attr_string(n, "mode", "DCR"), "CRD") == 0;
    shuffle s;
    if (to_space && columns)
        s = (shuffle){{6, {in->dim[0], c / b / b, b, b, h, w}}, *out, {0, 1, 4, 2, 5, 3}};
    else if (to_space) s = (shuffle){{6, {in->dim[0], b, b, c / b / b, h, w}}, *out, {0, 3, 4, 1, 5, 2}};
    else if (columns) s = (shuffle){{6, {in->dim[0], c, h / b, b, w / b, b}}, *out, {0, 1, 3, 5, 2, 4}};
    else s = (shuffle){{6, {in->dim[0], c, h / b, b, w / b, b}}, *out, {0, 3, 5, 1, 2, 4}};
    omcu_view x, turned, y, dst;
    om_shape six = {.rank = 6};
    int err = omcu_view_of(l, n->inputs[0], &x);
    if (!err && !turn_shuffle(&x, &s, &turned)) {
        err = omcu_dense_view(l, n->inputs[0], &x);
        if (!err && !turn_shuffle(&x, &s, &turned)) err = OM_ERR_INTERNAL;
    }
    if (err) return err;
    memcpy(six.dim, turned.dim, sizeof six.dim);
    err = omcu_new_view(l, l->work, &six, NULL, 1, &dst);
    if (!err) err = omcu_emit_copy(l, &turned, &dst, n->name);
    if (!err && !omcu_view_reshape(&dst, out->rank, out->dim, &y)) err = OM_ERR_INTERNAL;
    return err ? err : omcu_written(l, n->outputs[0], &y);
}
