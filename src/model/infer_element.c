/* Operators that keep their input's shape, or broadcast. */
#include <inttypes.h>

#include "base/error.h"
#include "model/infer.h"
#include "model/onnx_io.h"

/* Outputs beyond the first of these operators are best left unknown. */
int om_infer_same(const om_call *c) { return om_call_set(c, 0, om_call_dtype(c, 0), om_call_shape(c, 0)); }

int om_infer_bool(const om_call *c) { return om_call_set(c, 0, OM_DTYPE_BOOL, om_call_shape(c, 0)); }

static int same_dtype(const om_call *c, int a, int b, om_dtype *out)
{
    om_dtype x = om_call_dtype(c, a), y = om_call_dtype(c, b);
    *out = x != OM_DTYPE_NONE ? x : y;
    if (x != OM_DTYPE_NONE && y != OM_DTYPE_NONE && x != y)
        return om_call_bad(c, "inputs of types %s and %s should be of one type", om_dtype_name(x),
                           om_dtype_name(y));
    return OM_OK;
}

static int broadcast_inputs(const om_call *c, int a, int b, om_shape *out)
{
    const om_shape *x = om_call_shape(c, a), *y = om_call_shape(c, b);
    *out = (om_shape){.rank = -1};
    return x && y ? om_call_broadcast(c, x, y, out) : OM_OK;
}

/* Of a zero that the model itself holds: one made of a shape may be of a branch that is never taken. */
static int check_divisor(const om_call *c)
{
    const om_part *b = om_call_part(c, 1);
    bool divides = c->variant == OM_B_DIV || c->variant == OM_B_MOD;
    if (!divides || !b || !b->pure || om_dtype_is_float(b->dtype)) return OM_OK;
    for (int64_t k = 0; k < b->n; k++)
        if (b->known[k] && b->v[k].i == 0)
            return om_call_bad(c, "an integer divided by 0 has no result of type %s",
                               om_dtype_name(b->dtype));
    return OM_OK;
}

int om_infer_binary(const om_call *c)
{
    om_dtype t = om_call_dtype(c, 0);
    om_shape s;
    int err =
        c->variant == OM_B_POW ? OM_OK : same_dtype(c, 0, 1, &t); /* the exponent may be of another type */
    if (err >= 0) err = broadcast_inputs(c, 0, 1, &s);
    if (err >= 0) err = check_divisor(c);
    return err < 0 ? err : om_call_set(c, 0, t, &s);
}

int om_infer_compare(const om_call *c)
{
    om_dtype t;
    om_shape s;
    int err = same_dtype(c, 0, 1, &t);
    if (err >= 0) err = broadcast_inputs(c, 0, 1, &s);
    return err < 0 ? err : om_call_set(c, 0, OM_DTYPE_BOOL, &s);
}

int om_infer_variadic(const om_call *c)
{
    const om_shape *first = om_call_shape(c, 0);
    om_shape s = first ? *first : (om_shape){.rank = -1};
    om_dtype t = om_call_dtype(c, 0);
    for (int i = 1; i < c->n->n_inputs; i++) {
        const om_shape *x = om_call_shape(c, i);
        int err = same_dtype(c, 0, i, &t);
        if (err >= 0 && x && s.rank >= 0) err = om_call_broadcast(c, &s, x, &s);
        if (err < 0) return err;
        if (!x) s.rank = -1;
    }
    return om_call_set(c, 0, t, &s);
}

int om_infer_where(const om_call *c)
{
    om_dtype t;
    om_shape s;
    const om_shape *cond = om_call_shape(c, 0);
    int err = same_dtype(c, 1, 2, &t);
    if (err >= 0) err = broadcast_inputs(c, 1, 2, &s);
    if (err >= 0 && cond && s.rank >= 0) err = om_call_broadcast(c, cond, &s, &s);
    if (!cond) s.rank = -1;
    return err < 0 ? err : om_call_set(c, 0, t, &s);
}

int om_infer_cast(const om_call *c)
{
    return om_call_set(c, 0, om_onnx_dtype((int32_t)om_node_attr_int(c->n, "to", 0)), om_call_shape(c, 0));
}

int om_infer_castlike(const om_call *c)
{
    return om_call_set(c, 0, om_call_dtype(c, 1), om_call_shape(c, 0));
}

int om_infer_dropout(const om_call *c)
{
    int err = om_infer_same(c);
    om_dtype mask = c->opset < 10 ? om_call_dtype(c, 0) : OM_DTYPE_BOOL;
    return err < 0 ? err : om_call_set(c, 1, mask, om_call_shape(c, 0));
}

int om_infer_quantize(const om_call *c)
{
    om_dtype t = om_call_has(c, 2) ? om_call_dtype(c, 2) : OM_DTYPE_U8;
    int64_t said = om_node_attr_int(c->n, "output_dtype", 0);
    if (said) t = om_onnx_dtype((int32_t)said);
    return om_call_set(c, 0, t, om_call_shape(c, 0));
}

int om_infer_dequantize(const om_call *c)
{
    int64_t said = om_node_attr_int(c->n, "output_dtype", 0);
    om_dtype t = said ? om_onnx_dtype((int32_t)said) : om_call_dtype(c, 1);
    return om_call_set(c, 0, t, om_call_shape(c, 0));
}

int om_infer_dynamic_quantize(const om_call *c)
{
    om_shape scalar = {.rank = 0};
    int err = om_call_set(c, 0, OM_DTYPE_U8, om_call_shape(c, 0));
    if (err >= 0) err = om_call_set(c, 1, OM_DTYPE_F32, &scalar);
    return err < 0 ? err : om_call_set(c, 2, OM_DTYPE_U8, &scalar);
}

/* Mean and inverse deviation keep the axes before `axis`. */
int om_infer_layer_norm(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    int err = om_infer_same(c);
    if (err < 0 || !x) return err;
    int axis = om_call_axis(c, om_node_attr_int(c->n, "axis", -1), x->rank);
    if (axis < 0) return axis;
    om_shape s = *x;
    for (int i = axis; i < s.rank; i++) s.dim[i] = 1;
    om_dtype t = om_onnx_dtype((int32_t)om_node_attr_int(c->n, "stash_type", 1));
    err = om_call_set(c, 1, t, &s);
    return err < 0 ? err : om_call_set(c, 2, t, &s);
}

/* Inputs `first` and on are one number a channel. */
static int check_channels(const om_call *c, int first, int last)
{
    const om_shape *x = om_call_shape(c, 0);
    if (!x || x->rank < 2) return OM_OK;
    for (int i = first; i <= last; i++) {
        const om_shape *s = om_call_shape(c, i);
        if (s && s->rank != 1)
            return om_call_bad(c, "input %d has rank %d, one number a channel is expected", i, s->rank);
        int err = s ? om_call_same(c, "channels", x->dim[1], s->dim[0]) : OM_OK;
        if (err < 0) return err;
    }
    return OM_OK;
}

int om_infer_batch_norm(const om_call *c)
{
    int err = check_channels(c, 1, 4);
    if (err >= 0) err = om_infer_same(c);
    for (int i = 1; i < c->n->n_outputs && err >= 0; i++)
        err = om_call_set(c, i, om_call_dtype(c, i == 1 || i == 3 ? 3 : 4),
                          om_call_shape(c, i == 1 || i == 3 ? 3 : 4));
    return err;
}

int om_infer_instance_norm(const om_call *c)
{
    int err = check_channels(c, 1, 2);
    return err < 0 ? err : om_infer_same(c);
}

/* The slope is broadcast to the input, never the other way. */
int om_infer_prelu(const om_call *c)
{
    om_shape s;
    const om_shape *x = om_call_shape(c, 0), *slope = om_call_shape(c, 1);
    int err = x && slope ? om_call_broadcast(c, x, slope, &s) : OM_OK;
    return err < 0 ? err : om_infer_same(c);
}

int om_infer_scatter_nd(const om_call *c)
{
    const om_shape *data = om_call_shape(c, 0), *idx = om_call_shape(c, 1), *upd = om_call_shape(c, 2);
    if (data && idx && upd && idx->rank > 0 && idx->dim[idx->rank - 1] >= 0) {
        int64_t depth = idx->dim[idx->rank - 1];
        if (depth > data->rank)
            return om_call_bad(c, "indices of %" PRId64 " axes into a tensor of rank %d", depth, data->rank);
        int want = idx->rank - 1 + data->rank - (int)depth;
        if (upd->rank != want) return om_call_bad(c, "updates of rank %d, %d is expected", upd->rank, want);
    }
    return om_infer_same(c);
}

int om_infer_scatter_elements(const om_call *c)
{
    const om_shape *data = om_call_shape(c, 0), *idx = om_call_shape(c, 1);
    if (data && idx && data->rank != idx->rank)
        return om_call_bad(c, "indices of rank %d, %d is expected", idx->rank, data->rank);
    return om_infer_same(c);
}
