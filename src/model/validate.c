/* What a graph must be before anything computes with it. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/graph_priv.h"
#include "model/model.h"

/* A graph and those it lies in. */
typedef struct scope {
    const om_graph *g;
    const struct scope *outer;
    int depth;
} scope;

static bool defines(const om_graph *g, const char *name)
{
    int v = om_graph_find(g, name);
    return v >= 0 && !om_value_is_free(&g->values[v]);
}

static bool known(const scope *s, const char *name)
{
    for (; s; s = s->outer)
        if (defines(s->g, name)) return true;
    return false;
}

static int check_constant(const om_value *v)
{
    const om_const *c = v->constant;
    if (c->dtype == OM_DTYPE_NONE || c->dtype == OM_DTYPE_STRING) return OM_OK;
    int64_t count = om_shape_count(&c->shape);
    if (count >= 0 && (uint64_t)count * om_dtype_size(c->dtype) == c->size) return OM_OK;
    char text[OM_SHAPE_TEXT];
    om_shape_text(&c->shape, text);
    return om_fail(OM_ERR_FORMAT, "initializer '%s': %zu bytes are not %s of %s", v->name, c->size, text,
                   om_dtype_name(c->dtype));
}

static int check_values(const om_graph *g)
{
    for (int i = 0; i < g->n_values; i++) {
        const om_value *v = &g->values[i];
        if (!v->name || !*v->name)
            return om_fail(OM_ERR_FORMAT, "graph '%s': a value without a name", g->name);
        if ((v->producer >= 0) + (v->constant != NULL) + v->is_input > 1)
            return om_fail(OM_ERR_FORMAT, "value '%s' is defined twice", v->name);
        int err = v->constant ? check_constant(v) : OM_OK;
        if (err < 0) return err;
    }
    return OM_OK;
}

static int check_graph(om_graph *g, const scope *outer);

static int check_node(const om_graph *g, const om_node *n, const scope *s)
{
    char label[OM_NODE_LABEL];
    bool makes = false;
    for (int i = 0; i < n->n_inputs; i++)
        if (n->inputs[i] >= 0 && !known(s, g->values[n->inputs[i]].name))
            return om_fail(OM_ERR_FORMAT, "%s: nothing makes its input '%s'", om_node_label(g, n, label),
                           g->values[n->inputs[i]].name);
    for (int i = 0; i < n->n_outputs; i++) makes = makes || n->outputs[i] >= 0;
    if (!makes) return om_fail(OM_ERR_FORMAT, "%s: it has no output", om_node_label(g, n, label));
    for (int i = 0; i < n->n_attrs; i++)
        for (size_t k = 0; n->attrs[i].graphs && k < n->attrs[i].n; k++) {
            int err = check_graph(n->attrs[i].graphs[k], s);
            if (err < 0) return om_fail_prefix(err, "%s", om_node_label(g, n, label));
        }
    return OM_OK;
}

static int check_graph(om_graph *g, const scope *outer)
{
    scope s = {g, outer, outer ? outer->depth + 1 : 0};
    if (s.depth >= OM_MAX_NESTING)
        return om_fail(OM_ERR_FORMAT, "graph '%s': graphs are nested deeper than %d", g->name,
                       OM_MAX_NESTING);
    int err = check_values(g);
    for (int i = 0; i < g->n_nodes && err >= 0; i++)
        if (!g->nodes[i].dead) err = check_node(g, &g->nodes[i], &s);
    if (err < 0) return err;
    if (!g->n_outputs) return om_fail(OM_ERR_FORMAT, "graph '%s': it has no output", g->name);
    for (int i = 0; i < g->n_outputs; i++)
        if (!known(&s, g->values[g->outputs[i]].name))
            return om_fail(OM_ERR_FORMAT, "graph '%s': nothing makes its output '%s'", g->name,
                           g->values[g->outputs[i]].name);
    return om_graph_sort(g);
}

static int check_opset(const om_graph *g)
{
    int64_t version = om_graph_opset(g, "");
    if (version >= OM_OPSET_MIN && version <= OM_OPSET_MAX) return OM_OK;
    return om_fail(OM_ERR_UNSUPPORTED, "ONNX opset %" PRId64 " is not supported, %d to %d are", version,
                   OM_OPSET_MIN, OM_OPSET_MAX);
}

int om_graph_validate(om_graph *g, const char *name)
{
    int err = check_opset(g);
    if (err >= 0) err = check_graph(g, NULL);
    return err < 0 && err != OM_ERR_NOMEM ? om_fail_prefix(err, "%s", name) : err;
}
