/* Nodes and their attributes. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/graph_priv.h"

/* Frees what the attribute holds, all but its name. */
static void clear_attr(om_attr *a)
{
    om_free(a->s);
    om_free(a->floats);
    om_free(a->ints);
    for (size_t i = 0; a->strings && i < a->n; i++) om_free(a->strings[i]);
    for (size_t i = 0; a->tensors && i < a->n; i++) om_const_destroy(a->tensors[i]);
    for (size_t i = 0; a->graphs && i < a->n; i++) om_graph_destroy(a->graphs[i]);
    om_free(a->strings);
    om_free(a->tensors);
    om_free(a->graphs);
    om_free(a->unknown.bytes);
    *a = (om_attr){.name = a->name};
}

void om_attr_fini(om_attr *a)
{
    clear_attr(a);
    om_free(a->name);
    a->name = NULL;
}

void om_node_fini(om_node *n)
{
    for (int i = 0; i < n->n_attrs; i++) om_attr_fini(&n->attrs[i]);
    void *owned[] = {n->attrs, n->inputs, n->outputs, n->name, n->op, n->domain, n->doc, n->unknown.bytes};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) om_free(owned[i]);
    memset(n, 0, sizeof *n);
}

const char *om_node_label(const om_graph *g, const om_node *n, char out[OM_NODE_LABEL])
{
    const char *name = n->name ? n->name : "", *by = "";
    if (!*name)
        for (int i = 0; i < n->n_outputs && !*name; i++)
            if (n->outputs[i] >= 0) {
                name = g->values[n->outputs[i]].name;
                by = " making";
            }
    snprintf(out, OM_NODE_LABEL, "node%s '%.120s' (%.40s)", by, name, n->op ? n->op : "");
    return out;
}

int om_graph_push_node(om_graph *g)
{
    int err = om_grow_int((void **)&g->nodes, &g->cap_nodes, g->n_nodes + 1, sizeof *g->nodes);
    if (err < 0) return err;
    memset(&g->nodes[g->n_nodes], 0, sizeof *g->nodes);
    return g->n_nodes++;
}

/* As PyTorch's exporter names them, or any free name. */
static int add_output(om_graph *g, const char *node, int i)
{
    char *name = node && *node ? om_sprintf("%s_output_%d", node, i) : NULL;
    if (node && *node && !name) return OM_ERR_NOMEM;
    int v = om_graph_add_value(g, name && om_graph_find(g, name) < 0 ? name : NULL, OM_DTYPE_NONE, NULL);
    om_free(name);
    return v;
}

int om_graph_add_node(om_graph *g, const char *op, const char *name, const int *inputs, int n_inputs,
                      int n_outputs)
{
    for (int i = 0; i < n_inputs; i++)
        if (inputs[i] != OM_NO_VALUE && (inputs[i] < 0 || inputs[i] >= g->n_values))
            return om_fail(OM_ERR_ARG, "graph: a %s with input %d that is no value", op, inputs[i]);
    int at = om_graph_push_node(g);
    if (at < 0) return at;
    om_node *n = &g->nodes[at];
    int err = OM_ERR_NOMEM, first = g->n_values;
    n->op = om_strdup(op);
    n->name = om_strdup(name ? name : "");
    n->domain = om_strdup("");
    n->inputs = om_alloc((size_t)n_inputs * sizeof *n->inputs);
    n->outputs = om_alloc((size_t)n_outputs * sizeof *n->outputs);
    if (!n->op || !n->name || !n->domain || !n->inputs || !n->outputs) goto fail;
    if (n_inputs) memcpy(n->inputs, inputs, (size_t)n_inputs * sizeof *n->inputs);
    n->n_inputs = n_inputs;
    for (int i = 0; i < n_outputs; i++) {
        int v = err = add_output(g, name, i);
        if (v < 0) goto fail;
        g->values[v].producer = at;
        n->outputs[n->n_outputs++] = v;
    }
    return at;
fail:
    om_node_fini(n);
    g->n_nodes--;
    for (; g->n_values > first; g->n_values--) {
        om_names_remove(g->index, g, g->n_values - 1);
        om_value_fini(&g->values[g->n_values - 1]);
    }
    return err;
}

const om_attr *om_node_attr(const om_node *n, const char *name)
{
    for (int i = 0; i < n->n_attrs; i++)
        if (!strcmp(n->attrs[i].name, name)) return &n->attrs[i];
    return NULL;
}

int64_t om_node_attr_int(const om_node *n, const char *name, int64_t def)
{
    const om_attr *a = om_node_attr(n, name);
    return a && a->type == OM_ATTR_INT ? a->i : def;
}

float om_node_attr_float(const om_node *n, const char *name, float def)
{
    const om_attr *a = om_node_attr(n, name);
    return a && a->type == OM_ATTR_FLOAT ? a->f : def;
}

const char *om_node_attr_string(const om_node *n, const char *name, const char *def)
{
    const om_attr *a = om_node_attr(n, name);
    return a && a->type == OM_ATTR_STRING ? a->s : def;
}

int om_node_attr_ints(const om_node *n, const char *name, int64_t *out, int max)
{
    const om_attr *a = om_node_attr(n, name);
    if (!a || a->type != OM_ATTR_INTS) return -1;
    for (size_t i = 0; i < a->n && i < (size_t)max; i++) out[i] = a->ints[i];
    return (int)a->n;
}

om_attr *om_node_fresh_attr(om_node *n, const char *name)
{
    for (int i = 0; i < n->n_attrs; i++) {
        if (strcmp(n->attrs[i].name, name)) continue;
        clear_attr(&n->attrs[i]);
        return &n->attrs[i];
    }
    char *copy = om_strdup(name);
    om_attr *grown = copy ? om_realloc_array(n->attrs, (size_t)n->n_attrs + 1, sizeof *grown) : NULL;
    if (!grown) {
        om_free(copy);
        return NULL;
    }
    n->attrs = grown;
    om_attr *a = &grown[n->n_attrs++];
    *a = (om_attr){.name = copy};
    return a;
}

int om_node_set_int(om_node *n, const char *name, int64_t v)
{
    om_attr *a = om_node_fresh_attr(n, name);
    if (!a) return OM_ERR_NOMEM;
    a->type = OM_ATTR_INT;
    a->i = v;
    return OM_OK;
}

int om_node_set_float(om_node *n, const char *name, float v)
{
    om_attr *a = om_node_fresh_attr(n, name);
    if (!a) return OM_ERR_NOMEM;
    a->type = OM_ATTR_FLOAT;
    a->f = v;
    return OM_OK;
}

int om_node_set_string(om_node *n, const char *name, const char *v)
{
    char *copy = om_strdup(v);
    om_attr *a = copy ? om_node_fresh_attr(n, name) : NULL;
    if (!a) {
        om_free(copy);
        return OM_ERR_NOMEM;
    }
    a->type = OM_ATTR_STRING;
    a->s = copy;
    a->s_len = strlen(v);
    return OM_OK;
}

int om_node_set_ints(om_node *n, const char *name, const int64_t *v, int n_v)
{
    int64_t *copy = om_alloc((size_t)n_v * sizeof *copy);
    om_attr *a = copy ? om_node_fresh_attr(n, name) : NULL;
    if (!a) {
        om_free(copy);
        return OM_ERR_NOMEM;
    }
    if (n_v) memcpy(copy, v, (size_t)n_v * sizeof *copy);
    a->type = OM_ATTR_INTS;
    a->ints = copy;
    a->n = (size_t)n_v;
    return OM_OK;
}

static int graph_captures(const om_graph *g, om_capture_fn *fn, void *ctx);

typedef struct inner {
    const om_graph *g;
    om_capture_fn *fn;
    void *ctx;
} inner;

/* A name that a deeper graph takes is taken from outside this one only if this one does not define it. */
static int pass_on(void *ctx, const char *name)
{
    inner *i = ctx;
    int v = om_graph_find(i->g, name);
    if (v >= 0 && !om_value_is_free(&i->g->values[v])) return 0;
    return i->fn(i->ctx, name);
}

static int graph_captures(const om_graph *g, om_capture_fn *fn, void *ctx)
{
    inner in = {g, fn, ctx};
    for (int i = 0; i < g->n_values; i++) {
        int r = om_value_is_free(&g->values[i]) ? fn(ctx, g->values[i].name) : 0;
        if (r) return r;
    }
    for (int i = 0; i < g->n_nodes; i++) {
        int r = g->nodes[i].dead ? 0 : om_node_captures(&g->nodes[i], pass_on, &in);
        if (r) return r;
    }
    return 0;
}

int om_node_captures(const om_node *n, om_capture_fn *fn, void *ctx)
{
    for (int i = 0; i < n->n_attrs; i++) {
        const om_attr *a = &n->attrs[i];
        for (size_t k = 0; a->graphs && k < a->n; k++) {
            int r = a->graphs[k] ? graph_captures(a->graphs[k], fn, ctx) : 0;
            if (r) return r;
        }
    }
    return 0;
}
