/* Whether the engine does a node: asked of its own ONNX reader, with a model of that one node. */
#include <stdio.h>
#include <string.h>

#include "backend/openvino/openvino.h"
#include "base/error.h"
#include "base/mem.h"

#define MAX_PORTS 64

static bool has_subgraph(const om_node *n)
{
    for (int i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].type == OM_ATTR_GRAPH || n->attrs[i].type == OM_ATTR_GRAPHS) return true;
    return false;
}

/* The value that stands for `v` of the whole model: a constant stays one, all else becomes an input. */
static int add_input(om_graph *out, const om_value *v)
{
    int there = om_graph_find(out, v->name);
    if (there >= 0) return there;
    const om_const *c = v->constant;
    if (c && c->data) return om_graph_add_const(out, v->name, c->dtype, &c->shape, c->data);
    return om_graph_add_input(out, v->name, v->dtype == OM_DTYPE_NONE ? OM_DTYPE_F32 : v->dtype, &v->shape);
}

static int one_node_graph(const om_graph *g, const om_node *n, om_graph **out)
{
    int inputs[MAX_PORTS];
    if (n->n_inputs > MAX_PORTS || n->n_outputs > MAX_PORTS)
        return om_fail(OM_ERR_UNSUPPORTED, "node '%s' has more than %d inputs or outputs", n->name,
                       MAX_PORTS);
    int rc = om_graph_create("node", out);
    for (int i = 0; i < g->n_opsets && rc == OM_OK; i++)
        rc = om_graph_set_opset(*out, g->opsets[i].domain, g->opsets[i].version);
    if (rc != OM_OK) return rc;
    for (int i = 0; i < n->n_inputs; i++) {
        inputs[i] = n->inputs[i] == OM_NO_VALUE ? OM_NO_VALUE : add_input(*out, &g->values[n->inputs[i]]);
        if (inputs[i] < 0 && n->inputs[i] != OM_NO_VALUE) return inputs[i];
    }
    int node = om_graph_add_node(*out, n->op, n->name, inputs, n->n_inputs, n->n_outputs);
    if (node < 0) return node;
    for (int i = 0; i < n->n_outputs; i++) {
        rc = om_graph_mark_output(*out, (*out)->nodes[node].outputs[i]);
        if (rc < 0) return rc;
    }
    if (!n->domain || !n->domain[0]) return OM_OK;
    om_free((*out)->nodes[node].domain);
    (*out)->nodes[node].domain = om_strdup(n->domain);
    return (*out)->nodes[node].domain ? OM_OK : om_fail_nomem("a node");
}

static int ask(const om_graph *g, const om_node *n)
{
    om_graph *one = NULL;
    ov_core_t *core;
    ov_model_t *model = NULL;
    int rc = omov_core_get(&core);
    if (rc != OM_OK) return rc;
    rc = one_node_graph(g, n, &one);
    if (rc == OM_OK) {
        /* Lent for the writing, and taken back before the graph would free them. */
        om_node *node = &one->nodes[0];
        node->attrs = n->attrs;
        node->n_attrs = n->n_attrs;
        rc = omov_read(core, one, &model);
        node->attrs = NULL;
        node->n_attrs = 0;
    }
    ov_model_free(model);
    om_graph_destroy(one);
    omov_core_put();
    return rc;
}

int omov_supports(const char *device, const om_graph *g, const om_node *n, const char **why)
{
    static _Thread_local char reason[256];
    if (has_subgraph(n)) {
        *why = "a node with subgraphs is only judged with its whole model";
        return 1;
    }
    if (ask(g, n) == OM_OK) {
        *why = "OpenVINO's ONNX reader takes it";
        return 1;
    }
    snprintf(reason, sizeof reason, "%s", om_error_message());
    *why = reason;
    return 0;
}
