/* The graph itself, its values, constants, metadata and opsets. Nodes: node.c; edits: edit.c. */
#include "model/graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/graph_priv.h"

int om_grow_int(void **items, int *cap, int need, size_t size)
{
    size_t wide = (size_t)*cap;
    if (need < 0 || need > INT32_MAX / 2) return om_fail(OM_ERR_UNSUPPORTED, "graph: more than 2^30 items");
    int err = om_grow(items, &wide, (size_t)need, size);
    *cap = (int)wide;
    return err;
}

int om_unknown_copy(om_unknown *to, const om_unknown *from)
{
    *to = (om_unknown){0};
    if (!from->len) return OM_OK;
    to->bytes = om_alloc(from->len);
    if (!to->bytes) return OM_ERR_NOMEM;
    memcpy(to->bytes, from->bytes, from->len);
    to->len = from->len;
    return OM_OK;
}

void om_const_destroy(om_const *c)
{
    if (!c) return;
    if (c->strings)
        for (int64_t i = 0, n = om_shape_count(&c->shape); i < n; i++) om_free(c->strings[i]);
    om_free(c->strings);
    om_free(c->string_len);
    om_free(c->data);
    om_free(c->unknown.bytes);
    om_free(c);
}

static int clone_strings(om_const *to, const om_const *from)
{
    size_t n = (size_t)om_shape_count(&from->shape);
    to->strings = om_calloc(n, sizeof *to->strings);
    to->string_len = om_calloc(n, sizeof *to->string_len);
    if (!to->strings || !to->string_len) return OM_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        to->string_len[i] = from->string_len[i];
        to->strings[i] = om_alloc(from->string_len[i] + 1);
        if (!to->strings[i]) return OM_ERR_NOMEM;
        memcpy(to->strings[i], from->strings[i], from->string_len[i] + 1);
    }
    return OM_OK;
}

int om_const_clone(const om_const *c, om_const **out)
{
    *out = NULL;
    om_const *to = om_calloc(1, sizeof *to);
    if (!to) return OM_ERR_NOMEM;
    to->dtype = c->dtype;
    to->shape = c->shape;
    to->size = c->size;
    if (c->data) {
        to->data = om_alloc(c->size);
        if (!to->data) goto fail;
        memcpy(to->data, c->data, c->size);
    }
    if (c->strings && clone_strings(to, c) < 0) goto fail;
    if (om_unknown_copy(&to->unknown, &c->unknown) < 0) goto fail;
    *out = to;
    return OM_OK;
fail:
    om_const_destroy(to);
    return OM_ERR_NOMEM;
}

void om_value_fini(om_value *v)
{
    om_free(v->name);
    om_free(v->doc);
    om_free(v->unknown.bytes);
    for (int i = 0; i < OM_MAX_RANK; i++) om_free(v->dim_param[i]);
    om_const_destroy(v->constant);
    memset(v, 0, sizeof *v);
}

int om_graph_create(const char *name, om_graph **out)
{
    *out = NULL;
    om_graph *g = om_calloc(1, sizeof *g);
    if (!g) return OM_ERR_NOMEM;
    g->name = om_strdup(name ? name : "");
    if (!g->name || om_names_create(&g->index) < 0) {
        om_graph_destroy(g);
        return OM_ERR_NOMEM;
    }
    *out = g;
    return OM_OK;
}

void om_graph_destroy(om_graph *g)
{
    if (!g) return;
    for (int i = 0; i < g->n_nodes; i++) om_node_fini(&g->nodes[i]);
    for (int i = 0; i < g->n_values; i++) om_value_fini(&g->values[i]);
    for (int i = 0; i < g->n_opsets; i++) om_free(g->opsets[i].domain);
    for (int i = 0; i < g->n_metas; i++) {
        om_free(g->metas[i].key);
        om_free(g->metas[i].value);
    }
    void *owned[] = {g->name,
                     g->doc,
                     g->nodes,
                     g->values,
                     g->inputs,
                     g->outputs,
                     g->opsets,
                     g->metas,
                     g->unknown.bytes,
                     g->producer,
                     g->producer_version,
                     g->model_domain,
                     g->model_doc,
                     g->model_unknown.bytes};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) om_free(owned[i]);
    om_names_destroy(g->index);
    om_free(g);
}

int om_graph_find(const om_graph *g, const char *name) { return om_names_find(g->index, g, name); }

static char *fresh_name(const om_graph *g)
{
    char text[32];
    for (int i = g->n_values;; i++) {
        snprintf(text, sizeof text, "v%d", i);
        if (om_graph_find(g, text) < 0) return om_strdup(text);
    }
}

int om_graph_add_value(om_graph *g, const char *name, om_dtype dtype, const om_shape *shape)
{
    if (name && !*name) return om_fail(OM_ERR_FORMAT, "graph: a value without a name");
    if (name && om_graph_find(g, name) >= 0)
        return om_fail(OM_ERR_FORMAT, "graph: value '%s' is defined twice", name);
    int err = om_grow_int((void **)&g->values, &g->cap_values, g->n_values + 1, sizeof *g->values);
    if (err < 0) return err;
    om_value *v = &g->values[g->n_values];
    memset(v, 0, sizeof *v);
    v->name = name ? om_strdup(name) : fresh_name(g);
    if (!v->name) return OM_ERR_NOMEM;
    v->dtype = dtype;
    v->shape = shape ? *shape : (om_shape){.rank = -1};
    v->producer = -1;
    g->n_values++;
    if (om_names_insert(g->index, g, g->n_values - 1) < 0) {
        g->n_values--;
        om_value_fini(v);
        return OM_ERR_NOMEM;
    }
    return g->n_values - 1;
}

/* Takes back the value added last, when what should have followed failed. */
static void drop_last_value(om_graph *g)
{
    om_names_remove(g->index, g, g->n_values - 1);
    om_value_fini(&g->values[g->n_values - 1]);
    g->n_values--;
}

int om_graph_push_input(om_graph *g, int value)
{
    int err = om_grow_int((void **)&g->inputs, &g->cap_inputs, g->n_inputs + 1, sizeof *g->inputs);
    if (err < 0) return err;
    g->inputs[g->n_inputs++] = value;
    g->values[value].is_input = true;
    return OM_OK;
}

int om_graph_push_output(om_graph *g, int value)
{
    int err = om_grow_int((void **)&g->outputs, &g->cap_outputs, g->n_outputs + 1, sizeof *g->outputs);
    if (err < 0) return err;
    g->outputs[g->n_outputs++] = value;
    g->values[value].is_output = true;
    return OM_OK;
}

int om_graph_add_input(om_graph *g, const char *name, om_dtype dtype, const om_shape *shape)
{
    int v = om_graph_add_value(g, name, dtype, shape);
    if (v < 0) return v;
    int err = om_graph_push_input(g, v);
    if (err < 0) {
        drop_last_value(g);
        return err;
    }
    return v;
}

int om_graph_mark_output(om_graph *g, int value)
{
    if (value < 0 || value >= g->n_values) return om_fail(OM_ERR_ARG, "graph: no value %d", value);
    if (g->values[value].is_output) return value;
    int err = om_graph_push_output(g, value);
    return err < 0 ? err : value;
}

int om_graph_add_const(om_graph *g, const char *name, om_dtype dtype, const om_shape *shape, const void *data)
{
    int64_t count = om_shape_count(shape);
    size_t item = om_dtype_size(dtype), size;
    if (count < 0 || !item || __builtin_mul_overflow((size_t)count, item, &size))
        return om_fail(OM_ERR_ARG, "graph: constant '%s' needs a static shape and numbers", name ? name : "");
    om_const *c = om_calloc(1, sizeof *c);
    if (!c) return OM_ERR_NOMEM;
    c->dtype = dtype;
    c->shape = *shape;
    c->size = size;
    c->data = om_alloc(size);
    int v = c->data ? om_graph_add_value(g, name, dtype, shape) : OM_ERR_NOMEM;
    if (v < 0) {
        om_const_destroy(c);
        return v;
    }
    if (size) memcpy(c->data, data, size);
    g->values[v].constant = c;
    return v;
}

int om_graph_add_const_i64(om_graph *g, const char *name, const int64_t *v, int n)
{
    om_shape s = om_shape_make(1, (int64_t)n);
    return om_graph_add_const(g, name, OM_DTYPE_I64, &s, v);
}

int om_graph_add_const_f32(om_graph *g, const char *name, float v)
{
    om_shape s = om_shape_make(0);
    return om_graph_add_const(g, name, OM_DTYPE_F32, &s, &v);
}

void om_graph_set_dim_param(om_graph *g, int value, int dim, const char *name)
{
    if (value < 0 || value >= g->n_values || dim < 0 || dim >= OM_MAX_RANK) return;
    char *copy = name ? om_strdup(name) : NULL;
    om_free(g->values[value].dim_param[dim]);
    g->values[value].dim_param[dim] = copy; /* only a label: without memory the dimension stays nameless */
}

int om_graph_rename_value(om_graph *g, int value, const char *name)
{
    int other = om_graph_find(g, name);
    if (other == value) return OM_OK;
    if (!*name || other >= 0)
        return om_fail(OM_ERR_ARG, "graph: '%s' cannot be the name of a second value", name);
    char *copy = om_strdup(name);
    if (!copy || om_names_reserve(g->index, g) < 0) {
        om_free(copy);
        return OM_ERR_NOMEM;
    }
    om_names_remove(g->index, g, value);
    om_free(g->values[value].name);
    g->values[value].name = copy;
    return om_names_insert(g->index, g, value);
}

const char *om_graph_meta(const om_graph *g, const char *key)
{
    for (int i = 0; i < g->n_metas; i++)
        if (!strcmp(g->metas[i].key, key)) return g->metas[i].value;
    return NULL;
}

int om_graph_set_meta(om_graph *g, const char *key, const char *value)
{
    char *copy = om_strdup(value);
    if (!copy) return OM_ERR_NOMEM;
    for (int i = 0; i < g->n_metas; i++) {
        if (strcmp(g->metas[i].key, key)) continue;
        om_free(g->metas[i].value);
        g->metas[i].value = copy;
        return OM_OK;
    }
    char *name = om_strdup(key);
    om_meta *grown = name ? om_realloc_array(g->metas, (size_t)g->n_metas + 1, sizeof *grown) : NULL;
    if (!grown) {
        om_free(name);
        om_free(copy);
        return OM_ERR_NOMEM;
    }
    g->metas = grown;
    g->metas[g->n_metas++] = (om_meta){name, copy};
    return OM_OK;
}

/* ONNX's own domain has two spellings. */
static bool same_domain(const char *a, const char *b)
{
    if (!strcmp(a, "ai.onnx")) a = "";
    if (!strcmp(b, "ai.onnx")) b = "";
    return !strcmp(a, b);
}

int64_t om_graph_opset(const om_graph *g, const char *domain)
{
    for (int i = 0; i < g->n_opsets; i++)
        if (same_domain(g->opsets[i].domain, domain)) return g->opsets[i].version;
    return 0;
}

int om_graph_set_opset(om_graph *g, const char *domain, int64_t version)
{
    for (int i = 0; i < g->n_opsets; i++)
        if (same_domain(g->opsets[i].domain, domain)) {
            g->opsets[i].version = version;
            return OM_OK;
        }
    char *copy = om_strdup(domain);
    om_opset *grown = copy ? om_realloc_array(g->opsets, (size_t)g->n_opsets + 1, sizeof *grown) : NULL;
    if (!grown) {
        om_free(copy);
        return OM_ERR_NOMEM;
    }
    g->opsets = grown;
    g->opsets[g->n_opsets++] = (om_opset){copy, version};
    return OM_OK;
}
