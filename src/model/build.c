#include "model/build.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/graph_priv.h"
#include "omma/error.h"

#define MAX_INPUTS 16

const char *om_build_name(char out[OM_BUILD_NAME], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out, OM_BUILD_NAME, fmt, ap);
    va_end(ap);
    return out;
}

int om_build_op(om_build *b, const char *op, const char *name, int n_in, ...)
{
    int in[MAX_INPUTS], n_out = 1;
    va_list ap;
    va_start(ap, n_in);
    for (int i = 0; i < n_in; i++) in[i] = va_arg(ap, int);
    va_end(ap);
    if (b->err) return OM_NO_VALUE;
    if (strcmp(op, "Split") == 0) n_out = (int)b->g->values[in[1]].constant->shape.dim[0];
    b->node = om_graph_add_node(b->g, op, name, in, n_in, n_out);
    if (b->node < 0) b->err = b->node;
    return b->err ? OM_NO_VALUE : om_node_out(b->g, b->node);
}

int om_build_many(om_build *b, const char *op, const char *name, int n_out, int n_in, const int *in)
{
    if (b->err) return OM_NO_VALUE;
    b->node = om_graph_add_node(b->g, op, name, in, n_in, n_out);
    if (b->node < 0) b->err = b->node;
    return om_build_out(b, 0);
}

int om_build_out(const om_build *b, int n) { return b->err ? OM_NO_VALUE : b->g->nodes[b->node].outputs[n]; }

void om_build_int(om_build *b, const char *key, int64_t v)
{
    if (!b->err) b->err = om_node_set_int(&b->g->nodes[b->node], key, v);
}

void om_build_ints(om_build *b, const char *key, int n, ...)
{
    int64_t v[MAX_INPUTS];
    va_list ap;
    va_start(ap, n);
    for (int i = 0; i < n; i++) v[i] = va_arg(ap, int);
    va_end(ap);
    if (!b->err) b->err = om_node_set_ints(&b->g->nodes[b->node], key, v, n);
}

void om_build_float(om_build *b, const char *key, float v)
{
    if (!b->err) b->err = om_node_set_float(&b->g->nodes[b->node], key, v);
}

void om_build_string(om_build *b, const char *key, const char *v)
{
    if (!b->err) b->err = om_node_set_string(&b->g->nodes[b->node], key, v);
}

static bool holds(const om_value *v, om_dtype dtype, const om_shape *shape, const void *data)
{
    const om_const *c = v->constant;
    return c && c->dtype == dtype && om_shape_equal(&c->shape, shape) && memcmp(c->data, data, c->size) == 0;
}

int om_build_const(om_build *b, const char *name, om_dtype dtype, const om_shape *shape, const void *data)
{
    if (b->err) return OM_NO_VALUE;
    int v = om_graph_find(b->g, name);
    if (v >= 0 && holds(&b->g->values[v], dtype, shape, data)) return v;
    v = om_graph_add_const(b->g, v < 0 ? name : NULL, dtype, shape, data);
    if (v < 0) b->err = v;
    return v;
}

int om_build_i64(om_build *b, const char *name, int n, ...)
{
    int64_t v[MAX_INPUTS];
    va_list ap;
    va_start(ap, n);
    for (int i = 0; i < n || i == 0; i++) v[i] = va_arg(ap, int);
    va_end(ap);
    om_shape shape = {.rank = n > 0, .dim = {n}};
    return om_build_const(b, name, OM_DTYPE_I64, &shape, v);
}

int om_build_scalar(om_build *b, int v)
{
    char name[OM_BUILD_NAME];
    return om_build_i64(b, om_build_name(name, "scalar_%d", v), 0, v);
}

int om_build_one(om_build *b, int v)
{
    char name[OM_BUILD_NAME];
    return om_build_i64(b, om_build_name(name, "list_%d", v), 1, v);
}

int om_build_f32(om_build *b, const char *name, const om_shape *shape, const float *data)
{
    return om_build_const(b, name, OM_DTYPE_F32, shape, data);
}

int om_build_f32_scalar(om_build *b, const char *name, float v)
{
    om_shape none = {.rank = 0};
    return om_build_const(b, name, OM_DTYPE_F32, &none, &v);
}

int om_build_gather(om_build *b, const char *name, int shape, int axis)
{
    int v = om_build_op(b, "Gather", name, 2, shape, om_build_scalar(b, axis));
    om_build_int(b, "axis", 0);
    return v;
}

int om_build_join(om_build *b, const char *name, int axis, int n, const int *in)
{
    if (b->err) return OM_NO_VALUE;
    b->node = om_graph_add_node(b->g, "Concat", name, in, n, 1);
    if (b->node < 0) b->err = b->node;
    om_build_int(b, "axis", axis);
    return om_build_out(b, 0);
}

/* A copy of `data` as the attribute `key` of the last node. */
static void set_tensor(om_build *b, const char *key, om_dtype dtype, const om_shape *shape, const void *data)
{
    if (b->err) return;
    om_const *c = om_calloc(1, sizeof *c), **list = om_alloc(sizeof *list);
    size_t size = (size_t)om_shape_count(shape) * om_dtype_size(dtype);
    void *copy = om_alloc(size);
    om_attr *a = c && list && copy ? om_node_fresh_attr(&b->g->nodes[b->node], key) : NULL;
    if (!a) {
        om_free(c);
        om_free(list);
        om_free(copy);
        b->err = OM_ERR_NOMEM;
        return;
    }
    if (size) memcpy(copy, data, size);
    *c = (om_const){.dtype = dtype, .shape = *shape, .data = copy, .size = size};
    list[0] = c;
    a->type = OM_ATTR_TENSOR;
    a->n = 1;
    a->tensors = list;
}

void om_build_tensor(om_build *b, const char *key, float v)
{
    om_shape one = om_shape_make(1, (int64_t)1);
    set_tensor(b, key, OM_DTYPE_F32, &one, &v);
}

int om_build_held(om_build *b, om_dtype dtype, const om_shape *shape, const void *data)
{
    int v = om_build_many(b, "Constant", NULL, 1, 0, NULL);
    set_tensor(b, "value", dtype, shape, data);
    return v;
}

void om_build_branch_begin(const om_build *b, om_build *branch, const char *name)
{
    *branch = (om_build){.err = b->err};
    if (!branch->err) branch->err = om_graph_create(name, &branch->g);
}

int om_build_capture(om_build *branch, const om_build *b, int v)
{
    if (b->err || branch->err) return OM_NO_VALUE;
    const om_value *from = &b->g->values[v];
    v = om_graph_add_value(branch->g, from->name, from->dtype, NULL);
    if (v < 0) branch->err = v;
    return branch->err ? OM_NO_VALUE : v;
}

static int end_branch(om_build *branch, int out, const char *prefix)
{
    char name[OM_BUILD_NAME];
    om_graph *g = branch->g;
    for (int i = 0, n = 0; i < g->n_values; i++) {
        if (g->values[i].producer < 0) continue;
        int err = om_graph_rename_value(g, i, om_build_name(name, "%s_%d", prefix, n++));
        if (err < 0) return err;
    }
    g->values[out].dtype = OM_DTYPE_I64;
    g->values[out].shape = om_shape_make(1, (int64_t)OM_DIM_DYNAMIC);
    return om_graph_mark_output(g, out);
}

void om_build_branch_end(om_build *b, const char *key, om_build *branch, int out, const char *prefix)
{
    int err = branch->err ? branch->err : end_branch(branch, out, prefix);
    om_graph **list = err < 0 ? NULL : om_alloc(sizeof *list);
    om_attr *a = list && !b->err ? om_node_fresh_attr(&b->g->nodes[b->node], key) : NULL;
    if (!a) {
        om_free(list);
        om_graph_destroy(branch->g);
        if (!b->err) b->err = err < 0 ? err : OM_ERR_NOMEM;
        return;
    }
    list[0] = branch->g;
    a->type = OM_ATTR_GRAPH;
    a->n = 1;
    a->graphs = list;
}
