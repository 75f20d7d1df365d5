/* Small tensors joined, cut, turned and repeated. */
#include "base/error.h"
#include "model/infer.h"

/* Reshape and its kin: the same elements in the same order. */
int om_eval_copy(const om_call *c, const om_part *const *in, om_part **out)
{
    if (!in[0] || !out[0] || in[0]->n != out[0]->n) return OM_OK;
    for (int64_t i = 0; i < in[0]->n; i++) om_part_take(out[0], i, in[0], i);
    return OM_OK;
}

/* Elements before, along and behind an axis. */
static void around(const om_shape *s, int axis, int64_t *before, int64_t *behind)
{
    *before = *behind = 1;
    for (int i = 0; i < axis; i++) *before *= s->dim[i];
    for (int i = axis + 1; i < s->rank; i++) *behind *= s->dim[i];
}

/* Even an input of which nothing is known has its place, if its size is. */
int om_eval_concat(const om_call *c, const om_part *const *in, om_part **out)
{
    int64_t before, behind, done = 0;
    if (!out[0] || !out[0]->shape.rank) return OM_OK;
    int axis = om_call_axis(c, om_node_attr_int(c->n, "axis", 1), out[0]->shape.rank);
    if (axis < 0) return axis;
    around(&out[0]->shape, axis, &before, &behind);
    int64_t row = out[0]->shape.dim[axis] * behind;
    for (int i = 0; i < c->n->n_inputs; i++) {
        const om_shape *s = om_call_shape(c, i);
        if (!s || s->rank != out[0]->shape.rank || s->dim[axis] < 0) return OM_OK;
        int64_t n = s->dim[axis] * behind;
        for (int64_t b = 0; in[i] && b < before; b++)
            for (int64_t k = 0; k < n && done + k < row; k++)
                om_part_take(out[0], b * row + done + k, in[i], b * n + k);
        done += n;
    }
    return OM_OK;
}

int om_eval_split(const om_call *c, const om_part *const *in, om_part **out)
{
    int64_t before, behind, done = 0;
    if (!in[0] || !in[0]->shape.rank) return OM_OK;
    int axis = om_call_axis(c, om_node_attr_int(c->n, "axis", 0), in[0]->shape.rank);
    if (axis < 0) return axis;
    around(&in[0]->shape, axis, &before, &behind);
    int64_t row = in[0]->shape.dim[axis] * behind;
    for (int i = 0; i < c->n->n_outputs; i++) {
        if (c->n->outputs[i] < 0) return OM_OK;
        const om_shape *s = &c->g->values[c->n->outputs[i]].shape;
        if (s->rank != in[0]->shape.rank || s->dim[axis] < 0) return OM_OK;
        int64_t n = s->dim[axis] * behind;
        for (int64_t b = 0; out[i] && b < before; b++)
            for (int64_t k = 0; k < n && done + k < row; k++)
                om_part_take(out[i], b * n + k, in[0], b * row + done + k);
        done += n;
    }
    return OM_OK;
}

int om_eval_transpose(const om_call *c, const om_part *const *in, om_part **out)
{
    int64_t perm[OM_MAX_RANK], at[OM_MAX_RANK] = {0}, from[OM_MAX_RANK], k = 0;
    if (!in[0] || !out[0] || !out[0]->n) return OM_OK;
    int rank = in[0]->shape.rank, n = om_node_attr_ints(c->n, "perm", perm, OM_MAX_RANK);
    for (int i = 0; i < rank; i++) {
        if (n < 0) perm[i] = rank - 1 - i;
        else if (perm[i] < 0) perm[i] += rank;
    }
    do {
        for (int i = 0; i < rank; i++) from[perm[i]] = at[i];
        om_part_take(out[0], k++, in[0], om_flat_index(&in[0]->shape, from));
    } while (om_next_index(&out[0]->shape, at));
    return OM_OK;
}

/* Expand and Tile: positions wrap around in the input. */
static int repeat(const om_part *in, om_part *out)
{
    int64_t at[OM_MAX_RANK] = {0}, from[OM_MAX_RANK], k = 0;
    if (!in || !out || !out->n || !in->n || out->shape.rank < in->shape.rank) return OM_OK;
    int lead = out->shape.rank - in->shape.rank;
    do {
        for (int i = 0; i < in->shape.rank; i++) from[i] = at[i + lead] % in->shape.dim[i];
        om_part_take(out, k++, in, om_flat_index(&in->shape, from));
    } while (om_next_index(&out->shape, at));
    return OM_OK;
}

int om_eval_expand(const om_call *c, const om_part *const *in, om_part **out)
{
    return repeat(in[0], out[0]);
}
int om_eval_tile(const om_call *c, const om_part *const *in, om_part **out) { return repeat(in[0], out[0]); }
