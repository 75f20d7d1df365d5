/* What operators' functions ask of their node, and how they answer. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/infer.h"

int om_call_bad(const om_call *c, const char *fmt, ...)
{
    char text[256], label[OM_NODE_LABEL];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return om_fail(OM_ERR_FORMAT, "%s: %s", om_node_label(c->g, c->n, label), text);
}

bool om_call_has(const om_call *c, int i) { return i < c->n->n_inputs && c->n->inputs[i] >= 0; }

om_dtype om_call_dtype(const om_call *c, int i)
{
    return om_call_has(c, i) ? c->g->values[c->n->inputs[i]].dtype : OM_DTYPE_NONE;
}

const om_shape *om_call_shape(const om_call *c, int i)
{
    if (!om_call_has(c, i)) return NULL;
    const om_shape *s = &c->g->values[c->n->inputs[i]].shape;
    return s->rank < 0 ? NULL : s;
}

const om_part *om_call_part(const om_call *c, int i)
{
    return om_call_has(c, i) ? om_infer_part(c->in, c->n->inputs[i]) : NULL;
}

int om_call_ints(const om_call *c, int i, int64_t *out, int max)
{
    const om_part *p = om_call_part(c, i);
    if (p && (om_dtype_is_float(p->dtype) || p->n > max)) return -1;
    for (int k = 0; p && k < p->n; k++) {
        out[k] = p->known[k] ? p->v[k].i : OM_CALL_UNKNOWN;
        if (p->known[k] && out[k] == OM_CALL_UNKNOWN) out[k]++; /* "to the very end", as good one less far */
    }
    if (p) return (int)p->n;
    const om_shape *s = om_call_shape(c, i);
    if (!s || s->rank > 1 || !om_shape_static(s)) return -1;
    int64_t n = om_shape_count(s);
    if (n < 0 || n > max) return -1;
    for (int k = 0; k < n; k++) out[k] = OM_CALL_UNKNOWN;
    return (int)n;
}

int om_call_attr_or_input(const om_call *c, const char *attr, int i, int64_t *out, int max)
{
    int n = om_node_attr_ints(c->n, attr, out, max);
    if (n > max) return -1;
    if (n >= 0) return n;
    return om_call_has(c, i) ? om_call_ints(c, i, out, max) : OM_CALL_ABSENT;
}

/* Known dimensions of what the file declares stay where inference knows less. */
static void merge(om_value *v, const om_shape *s)
{
    om_shape merged = *s;
    if ((v->declared || v->is_output) && v->shape.rank == s->rank)
        for (int i = 0; i < s->rank; i++)
            if (merged.dim[i] < 0) merged.dim[i] = v->shape.dim[i];
    v->shape = merged;
}

int om_call_set(const om_call *c, int i, om_dtype dtype, const om_shape *shape)
{
    if (i >= c->n->n_outputs || c->n->outputs[i] < 0) return OM_OK;
    om_value *v = &c->g->values[c->n->outputs[i]];
    if (dtype != OM_DTYPE_NONE) v->dtype = dtype;
    if (!shape || shape->rank < 0) {
        if (!v->declared && !v->is_output) v->shape = (om_shape){.rank = -1};
        return OM_OK;
    }
    for (int k = 0; k < shape->rank; k++)
        if (shape->dim[k] > OM_DIM_MAX)
            return om_call_bad(c, "dimension %d of output '%s' would be %" PRId64, k, v->name, shape->dim[k]);
    merge(v, shape);
    return OM_OK;
}

int om_call_axis(const om_call *c, int64_t axis, int rank)
{
    if (axis >= -rank && axis < rank) return (int)(axis < 0 ? axis + rank : axis);
    return om_call_bad(c, "axis %" PRId64 " of a tensor of rank %d", axis, rank);
}

int om_call_sizes(const om_call *c, const char *name, int64_t *out, int n, int64_t def, int64_t min)
{
    int have = om_node_attr_ints(c->n, name, out, n);
    if (have < 0)
        for (int i = 0; i < n; i++) out[i] = def;
    else if (have != n) return om_call_bad(c, "attribute '%s' has %d items, %d are expected", name, have, n);
    for (int i = 0; i < n; i++)
        if (out[i] < min || out[i] > INT32_MAX)
            return om_call_bad(c, "attribute '%s' has %" PRId64 ", at least %" PRId64 " is expected", name,
                               out[i], min);
    return OM_OK;
}

int om_call_broadcast(const om_call *c, const om_shape *a, const om_shape *b, om_shape *out)
{
    om_shape r = {.rank = a->rank > b->rank ? a->rank : b->rank};
    for (int i = 0; i < r.rank; i++) {
        int ia = i - (r.rank - a->rank), ib = i - (r.rank - b->rank);
        int64_t x = ia < 0 ? 1 : a->dim[ia], y = ib < 0 ? 1 : b->dim[ib];
        if (x == y || y == 1) r.dim[i] = x;
        else if (x == 1) r.dim[i] = y;
        else if (x < 0 || y < 0) r.dim[i] = x < 0 ? y : x;
        else {
            char ta[OM_SHAPE_TEXT], tb[OM_SHAPE_TEXT];
            om_shape_text(a, ta);
            om_shape_text(b, tb);
            return om_call_bad(c, "shapes %s and %s do not go together", ta, tb);
        }
    }
    *out = r;
    return OM_OK;
}

int om_call_mul(const om_call *c, int64_t a, int64_t b, int64_t *out)
{
    *out = OM_DIM_DYNAMIC;
    if (a == 0 || b == 0) *out = 0;
    if (a <= 0 || b <= 0) return OM_OK;
    if (__builtin_mul_overflow(a, b, out) || *out > OM_DIM_MAX)
        return om_call_bad(c, "a dimension would be %" PRId64 " times %" PRId64, a, b);
    return OM_OK;
}

int om_call_same(const om_call *c, const char *what, int64_t a, int64_t b)
{
    if (a < 0 || b < 0 || a == b) return OM_OK;
    return om_call_bad(c, "%s: %" PRId64 " and %" PRId64 " should be the same", what, a, b);
}
