/* A deep copy of a graph. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/graph_priv.h"
#include "model/model.h"

static int copy_text(char **to, const char *from)
{
    *to = from ? om_strdup(from) : NULL;
    return from && !*to ? OM_ERR_NOMEM : OM_OK;
}

static int copy_ints(int **to, int *n, int *cap, const int *from, int count)
{
    *to = om_alloc((size_t)count * sizeof **to);
    if (!*to) return OM_ERR_NOMEM;
    if (count) memcpy(*to, from, (size_t)count * sizeof **to);
    *n = count;
    if (cap) *cap = count;
    return OM_OK;
}

static int copy_value(om_value *to, const om_value *from)
{
    to->dtype = from->dtype;
    to->shape = from->shape;
    to->producer = from->producer;
    to->is_input = from->is_input;
    to->is_output = from->is_output;
    to->declared = from->declared;
    to->listed = from->listed;
    for (int i = 0; i < OM_MAX_RANK; i++)
        if (copy_text(&to->dim_param[i], from->dim_param[i]) < 0) return OM_ERR_NOMEM;
    if (copy_text(&to->name, from->name) < 0 || copy_text(&to->doc, from->doc) < 0) return OM_ERR_NOMEM;
    if (om_unknown_copy(&to->unknown, &from->unknown) < 0) return OM_ERR_NOMEM;
    return from->constant ? om_const_clone(from->constant, &to->constant) : OM_OK;
}

static void *copy_array(const void *from, size_t n, size_t size)
{
    void *to = om_alloc(n * size);
    if (to && n) memcpy(to, from, n * size);
    return to;
}

static int copy_attr_lists(om_attr *to, const om_attr *from)
{
    to->n = from->n;
    if (from->floats && !(to->floats = copy_array(from->floats, from->n, sizeof *to->floats)))
        return OM_ERR_NOMEM;
    if (from->ints && !(to->ints = copy_array(from->ints, from->n, sizeof *to->ints))) return OM_ERR_NOMEM;
    if (from->strings && !(to->strings = om_calloc(from->n, sizeof *to->strings))) return OM_ERR_NOMEM;
    if (from->tensors && !(to->tensors = om_calloc(from->n, sizeof *to->tensors))) return OM_ERR_NOMEM;
    if (from->graphs && !(to->graphs = om_calloc(from->n, sizeof *to->graphs))) return OM_ERR_NOMEM;
    int err = OM_OK;
    for (size_t i = 0; i < from->n && err >= 0; i++) {
        if (from->strings) err = copy_text(&to->strings[i], from->strings[i]);
        else if (from->tensors) err = om_const_clone(from->tensors[i], &to->tensors[i]);
        else if (from->graphs) err = om_graph_clone(from->graphs[i], &to->graphs[i]);
    }
    return err;
}

static int copy_attr(om_attr *to, const om_attr *from)
{
    to->type = from->type;
    to->f = from->f;
    to->i = from->i;
    to->s_len = from->s_len;
    if (copy_text(&to->name, from->name) < 0 || om_unknown_copy(&to->unknown, &from->unknown) < 0)
        return OM_ERR_NOMEM;
    if (from->s && !(to->s = copy_array(from->s, from->s_len + 1, 1))) return OM_ERR_NOMEM;
    return copy_attr_lists(to, from);
}

static int copy_node(om_node *to, const om_node *from)
{
    to->dead = from->dead;
    if (copy_text(&to->name, from->name) < 0 || copy_text(&to->op, from->op) < 0 ||
        copy_text(&to->domain, from->domain) < 0 || copy_text(&to->doc, from->doc) < 0 ||
        om_unknown_copy(&to->unknown, &from->unknown) < 0 ||
        copy_ints(&to->inputs, &to->n_inputs, NULL, from->inputs, from->n_inputs) < 0 ||
        copy_ints(&to->outputs, &to->n_outputs, NULL, from->outputs, from->n_outputs) < 0)
        return OM_ERR_NOMEM;
    to->attrs = om_calloc((size_t)from->n_attrs, sizeof *to->attrs);
    if (!to->attrs) return OM_ERR_NOMEM;
    for (int i = 0; i < from->n_attrs; i++) {
        to->n_attrs = i + 1;
        int err = copy_attr(&to->attrs[i], &from->attrs[i]);
        if (err < 0) return err;
    }
    return OM_OK;
}

static int copy_contents(om_graph *to, const om_graph *from)
{
    to->values = om_calloc((size_t)from->n_values, sizeof *to->values);
    to->nodes = om_calloc((size_t)from->n_nodes, sizeof *to->nodes);
    if (!to->values || !to->nodes) return OM_ERR_NOMEM;
    to->cap_values = from->n_values;
    to->cap_nodes = from->n_nodes;
    for (int i = 0; i < from->n_values; i++) {
        to->n_values = i + 1;
        int err = copy_value(&to->values[i], &from->values[i]);
        if (err < 0) return err;
    }
    for (int i = 0; i < from->n_nodes; i++) {
        to->n_nodes = i + 1;
        int err = copy_node(&to->nodes[i], &from->nodes[i]);
        if (err < 0) return err;
    }
    if (copy_ints(&to->inputs, &to->n_inputs, &to->cap_inputs, from->inputs, from->n_inputs) < 0 ||
        copy_ints(&to->outputs, &to->n_outputs, &to->cap_outputs, from->outputs, from->n_outputs) < 0)
        return OM_ERR_NOMEM;
    return om_names_rebuild(to->index, to);
}

static int copy_model(om_graph *to, const om_graph *from)
{
    int err = OM_OK;
    to->ir_version = from->ir_version;
    to->model_version = from->model_version;
    if (copy_text(&to->doc, from->doc) < 0 || copy_text(&to->producer, from->producer) < 0 ||
        copy_text(&to->producer_version, from->producer_version) < 0 ||
        copy_text(&to->model_domain, from->model_domain) < 0 ||
        copy_text(&to->model_doc, from->model_doc) < 0 || om_unknown_copy(&to->unknown, &from->unknown) < 0 ||
        om_unknown_copy(&to->model_unknown, &from->model_unknown) < 0)
        return OM_ERR_NOMEM;
    for (int i = 0; i < from->n_opsets && err >= 0; i++)
        err = om_graph_set_opset(to, from->opsets[i].domain, from->opsets[i].version);
    for (int i = 0; i < from->n_metas && err >= 0; i++)
        err = om_graph_set_meta(to, from->metas[i].key, from->metas[i].value);
    return err;
}

int om_graph_clone(const om_graph *g, om_graph **out)
{
    om_graph *to;
    *out = NULL;
    int err = om_graph_create(g->name, &to);
    if (err < 0) return err;
    err = copy_model(to, g);
    if (err >= 0) err = copy_contents(to, g);
    if (err < 0) {
        om_graph_destroy(to);
        return err;
    }
    *out = to;
    return OM_OK;
}
