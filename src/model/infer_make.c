/* Operators that make tensors from attributes, numbers or shapes. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "model/infer.h"
#include "model/onnx_io.h"

int om_infer_constant(const om_call *c)
{
    static const struct {
        const char *name;
        om_dtype dtype;
        bool list;
    } forms[] = {{"value_float", OM_DTYPE_F32, false},     {"value_floats", OM_DTYPE_F32, true},
                 {"value_int", OM_DTYPE_I64, false},       {"value_ints", OM_DTYPE_I64, true},
                 {"value_string", OM_DTYPE_STRING, false}, {"value_strings", OM_DTYPE_STRING, true}};
    const om_attr *a = om_node_attr(c->n, "value");
    if (a && a->type == OM_ATTR_TENSOR) return om_call_set(c, 0, a->tensors[0]->dtype, &a->tensors[0]->shape);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        a = om_node_attr(c->n, forms[i].name);
        if (!a) continue;
        om_shape s = {.rank = forms[i].list, .dim = {(int64_t)a->n}};
        return om_call_set(c, 0, forms[i].dtype, &s);
    }
    if (c->n->n_attrs) return OM_OK; /* a sparse one */
    return om_call_bad(c, "it has no value");
}

/* The shape that input `i` spells. */
static int spelled_shape(const om_call *c, int i, om_shape *out)
{
    const om_part *p = om_call_part(c, i);
    int64_t dims[OM_MAX_RANK];
    *out = (om_shape){.rank = -1};
    if (p && p->n > OM_MAX_RANK) return om_call_bad(c, "a shape of %" PRId64 " axes", p->n);
    int n = om_call_ints(c, i, dims, OM_MAX_RANK);
    for (int k = 0; k < n; k++) {
        if (dims[k] != OM_CALL_UNKNOWN && dims[k] < 0)
            return om_call_bad(c, "a dimension of %" PRId64, dims[k]);
        out->dim[k] = dims[k] == OM_CALL_UNKNOWN ? OM_DIM_DYNAMIC : dims[k];
    }
    if (n >= 0) out->rank = n;
    return OM_OK;
}

int om_infer_constant_of_shape(const om_call *c)
{
    const om_attr *a = om_node_attr(c->n, "value");
    om_shape s;
    int err = spelled_shape(c, 0, &s);
    om_dtype t = a && a->type == OM_ATTR_TENSOR ? a->tensors[0]->dtype : OM_DTYPE_F32;
    return err < 0 ? err : om_call_set(c, 0, t, &s);
}

static bool number(const om_part *p, double *out)
{
    if (!p || p->n != 1 || !p->known[0]) return false;
    *out = om_dtype_is_float(p->dtype) ? p->v[0].f : (double)p->v[0].i;
    return true;
}

int om_infer_range(const om_call *c)
{
    double start, limit, delta;
    om_shape s = om_shape_make(1, (int64_t)OM_DIM_DYNAMIC);
    if (number(om_call_part(c, 0), &start) && number(om_call_part(c, 1), &limit) &&
        number(om_call_part(c, 2), &delta)) {
        double n = ceil((limit - start) / delta);
        if (delta == 0 || !(n <= (double)OM_DIM_MAX))
            return om_call_bad(c, "a range from %g to %g in steps of %g", start, limit, delta);
        s.dim[0] = n > 0 ? (int64_t)n : 0;
    }
    return om_call_set(c, 0, om_call_dtype(c, 0), &s);
}

/* The part of the axes that Shape speaks of. */
static void shape_span(const om_call *c, int rank, int *from, int *to)
{
    int64_t start = om_node_attr_int(c->n, "start", 0), end = om_node_attr_int(c->n, "end", rank);
    if (start < 0) start += rank;
    if (end < 0) end += rank;
    *from = (int)(start < 0 ? 0 : start > rank ? rank : start);
    *to = (int)(end < *from ? *from : end > rank ? rank : end);
}

int om_infer_shape(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    om_shape s = om_shape_make(1, (int64_t)OM_DIM_DYNAMIC);
    int from, to;
    if (x) {
        shape_span(c, x->rank, &from, &to);
        s.dim[0] = to - from;
    }
    return om_call_set(c, 0, OM_DTYPE_I64, &s);
}

int om_eval_shape(const om_call *c, const om_part *const *in, om_part **out)
{
    const om_shape *x = om_call_shape(c, 0);
    int from, to;
    if (!x || !out[0]) return OM_OK;
    shape_span(c, x->rank, &from, &to);
    for (int i = from; i < to && i - from < out[0]->n; i++) {
        out[0]->known[i - from] = x->dim[i] >= 0;
        out[0]->v[i - from].i = x->dim[i];
    }
    return OM_OK;
}

int om_infer_size(const om_call *c)
{
    om_shape s = {.rank = 0};
    return om_call_set(c, 0, OM_DTYPE_I64, &s);
}

int om_eval_size(const om_call *c, const om_part *const *in, om_part **out)
{
    const om_shape *x = om_call_shape(c, 0);
    int64_t n = x ? om_shape_count(x) : -1;
    if (!out[0] || n < 0) return OM_OK;
    out[0]->known[0] = true;
    out[0]->v[0].i = n;
    return OM_OK;
}

int om_eval_constant(const om_call *c, const om_part *const *in, om_part **out)
{
    if (!out[0]) return OM_OK;
    const om_attr *a = om_node_attr(c->n, "value");
    om_part *p = NULL;
    if (a && a->type == OM_ATTR_TENSOR) {
        int err = om_part_from_const(a->tensors[0], c->in->limit, &p);
        if (err < 0 || !p) return err;
        memcpy(out[0]->v, p->v, (size_t)p->n * sizeof *p->v);
        memcpy(out[0]->known, p->known, (size_t)p->n);
        om_part_destroy(p);
        return OM_OK;
    }
    for (int64_t i = 0; i < out[0]->n; i++) {
        if ((a = om_node_attr(c->n, "value_float"))) out[0]->v[i].f = (double)a->f;
        else if ((a = om_node_attr(c->n, "value_floats")) && a->floats) out[0]->v[i].f = (double)a->floats[i];
        else if ((a = om_node_attr(c->n, "value_int"))) out[0]->v[i].i = a->i;
        else if ((a = om_node_attr(c->n, "value_ints")) && a->ints) out[0]->v[i].i = a->ints[i];
        else return OM_OK;
        out[0]->known[i] = true;
    }
    return OM_OK;
}

int om_eval_constant_of_shape(const om_call *c, const om_part *const *in, om_part **out)
{
    const om_attr *a = om_node_attr(c->n, "value");
    om_num v = {.i = 0};
    om_part *p = NULL;
    if (!out[0]) return OM_OK;
    if (a) {
        int err = a->type == OM_ATTR_TENSOR ? om_part_from_const(a->tensors[0], 1, &p) : OM_OK;
        if (err < 0 || !p || p->n != 1) {
            om_part_destroy(p);
            return err;
        }
        v = p->v[0];
        om_part_destroy(p);
    }
    for (int64_t i = 0; i < out[0]->n; i++) {
        out[0]->v[i] = v;
        out[0]->known[i] = true;
    }
    return OM_OK;
}

int om_eval_range(const om_call *c, const om_part *const *in, om_part **out)
{
    double start, delta;
    if (!out[0] || !number(in[0], &start) || !number(in[2], &delta)) return OM_OK;
    for (int64_t i = 0; i < out[0]->n; i++) {
        out[0]->known[i] = true;
        if (om_dtype_is_float(out[0]->dtype)) out[0]->v[i].f = start + (double)i * delta;
        else out[0]->v[i].i = (int64_t)((uint64_t)in[0]->v[0].i + (uint64_t)i * (uint64_t)in[2]->v[0].i);
        out[0]->v[i] = om_num_fit(out[0]->dtype, out[0]->v[i]);
    }
    return OM_OK;
}

/* RandomNormal, RandomUniform: a shape attribute. */
int om_infer_random(const om_call *c)
{
    om_shape s = {.rank = -1};
    int n = om_node_attr_ints(c->n, "shape", s.dim, OM_MAX_RANK);
    if (n >= 0 && n <= OM_MAX_RANK) s.rank = n;
    for (int i = 0; i < s.rank; i++)
        if (s.dim[i] < 0) return om_call_bad(c, "a dimension of %" PRId64, s.dim[i]);
    return om_call_set(c, 0, om_onnx_dtype((int32_t)om_node_attr_int(c->n, "dtype", 1)), &s);
}

/* The input's shape, of the type an attribute may say. */
int om_infer_like(const om_call *c)
{
    int64_t said = om_node_attr_int(c->n, "dtype", 0);
    return om_call_set(c, 0, said ? om_onnx_dtype((int32_t)said) : om_call_dtype(c, 0), om_call_shape(c, 0));
}

int om_infer_eye(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    if (x && x->rank != 2) return om_call_bad(c, "an input of rank %d, 2 is expected", x->rank);
    return om_infer_like(c);
}
