/* Older models in the words of opset 13: lists that were attributes become inputs. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/graph_priv.h"
#include "quant/quantizer.h"

#define OPSET 13
#define IR_VERSION 7
#define MAX_LIST 64

static void drop_attr(om_node *n, const char *name)
{
    for (int i = 0; i < n->n_attrs; i++) {
        if (strcmp(n->attrs[i].name, name)) continue;
        om_attr_fini(&n->attrs[i]);
        memmove(&n->attrs[i], &n->attrs[i + 1], (size_t)(n->n_attrs - i - 1) * sizeof *n->attrs);
        n->n_attrs--;
        return;
    }
}

int om_quant_set_input(om_graph *g, int node, int k, int value)
{
    if (value < 0) return value;
    om_node *n = &g->nodes[node];
    if (k >= n->n_inputs) {
        int *grown = om_realloc_array(n->inputs, (size_t)k + 1, sizeof *grown);
        if (!grown) return OM_ERR_NOMEM;
        n->inputs = grown;
        while (n->n_inputs <= k) n->inputs[n->n_inputs++] = OM_NO_VALUE;
    }
    n->inputs[k] = value;
    return OM_OK;
}

static int list_to_input(om_graph *g, int node, const char *attr, int k)
{
    int64_t list[MAX_LIST];
    int n = om_node_attr_ints(&g->nodes[node], attr, list, MAX_LIST);
    if (n < 0) return OM_OK;
    char label[OM_NODE_LABEL];
    if (n > MAX_LIST)
        return om_fail(OM_ERR_UNSUPPORTED, "%s: %s has more than %d numbers",
                       om_node_label(g, &g->nodes[node], label), attr, MAX_LIST);
    int err = om_quant_set_input(g, node, k, om_graph_add_const_i64(g, NULL, list, n));
    if (err >= 0) drop_attr(&g->nodes[node], attr);
    return err;
}

static int number_to_input(om_graph *g, int node, const char *attr, int k)
{
    if (!om_node_attr(&g->nodes[node], attr)) return OM_OK;
    float v = om_node_attr_float(&g->nodes[node], attr, 0);
    int err = om_quant_set_input(g, node, k, om_graph_add_const_f32(g, NULL, v));
    if (err >= 0) drop_attr(&g->nodes[node], attr);
    return err;
}

static int raise_top_k(om_graph *g, int node)
{
    if (!om_node_attr(&g->nodes[node], "k")) return OM_OK;
    int64_t k = om_node_attr_int(&g->nodes[node], "k", 1);
    int err = om_quant_set_input(g, node, 1, om_graph_add_const_i64(g, NULL, &k, 1));
    if (err >= 0) drop_attr(&g->nodes[node], "k");
    return err;
}

static int raise_slice(om_graph *g, int node)
{
    if (!om_node_attr(&g->nodes[node], "starts")) return OM_OK;
    int err = list_to_input(g, node, "starts", 1);
    if (err >= 0) err = list_to_input(g, node, "ends", 2);
    return err < 0 ? err : list_to_input(g, node, "axes", 3);
}

static int raise_clip(om_graph *g, int node)
{
    int err = number_to_input(g, node, "min", 1);
    return err < 0 ? err : number_to_input(g, node, "max", 2);
}

static int raise_pad(om_graph *g, int node)
{
    int err = list_to_input(g, node, "pads", 1);
    return err < 0 ? err : number_to_input(g, node, "value", 2);
}

/* (X, scales) becomes (X, roi, scales), sampled as it was: from the corners, rounded down. */
static int raise_resize(om_graph *g, int node)
{
    om_node *n = &g->nodes[node];
    char label[OM_NODE_LABEL];
    if (!strcmp(n->op, "Upsample") && n->n_inputs < 2)
        return om_fail(OM_ERR_UNSUPPORTED, "%s: its scales are no input", om_node_label(g, n, label));
    if (!strcmp(n->op, "Upsample")) {
        char *op = om_strdup("Resize");
        if (!op) return OM_ERR_NOMEM;
        om_free(n->op);
        n->op = op;
    }
    int err = om_quant_set_input(g, node, 2, n->inputs[1]);
    if (err >= 0) g->nodes[node].inputs[1] = OM_NO_VALUE;
    if (err >= 0) err = om_node_set_string(&g->nodes[node], "coordinate_transformation_mode", "asymmetric");
    return err < 0 ? err : om_node_set_string(&g->nodes[node], "nearest_mode", "floor");
}

/* Before, everything from the axis on was one row. */
static int raise_softmax(om_graph *g, int node)
{
    om_node *n = &g->nodes[node];
    const om_shape *s = &g->values[n->inputs[0]].shape;
    int64_t axis = om_node_attr_int(n, "axis", 1);
    char label[OM_NODE_LABEL];
    bool same = s->rank > 0;
    if (axis < 0) axis += s->rank;
    for (int i = (int)axis + 1; i < s->rank; i++) same = same && s->dim[i] == 1;
    if (!same)
        return om_fail(
            OM_ERR_UNSUPPORTED,
            "%s: it goes over several dimensions, which opset 13 cannot say; export the model anew "
            "with opset 13 or later",
            om_node_label(g, n, label));
    return om_node_set_int(n, "axis", axis);
}

static int raise_node(om_graph *g, int node, int64_t from)
{
    const char *op = g->nodes[node].op;
    if (*g->nodes[node].domain && strcmp(g->nodes[node].domain, "ai.onnx")) return OM_OK;
    if (!strcmp(op, "Squeeze") || !strcmp(op, "Unsqueeze") || !strcmp(op, "ReduceSum"))
        return list_to_input(g, node, "axes", 1);
    if (!strcmp(op, "Split")) return list_to_input(g, node, "split", 1);
    if (!strcmp(op, "Softmax") || !strcmp(op, "LogSoftmax") || !strcmp(op, "Hardmax"))
        return raise_softmax(g, node);
    if (!strcmp(op, "Dropout")) {
        drop_attr(&g->nodes[node], "ratio");
        return OM_OK;
    }
    if (from < 11 && !strcmp(op, "Clip")) return raise_clip(g, node);
    if (from < 11 && !strcmp(op, "Pad")) return raise_pad(g, node);
    if (from < 11 && (!strcmp(op, "Resize") || !strcmp(op, "Upsample"))) return raise_resize(g, node);
    if (from < 10 && !strcmp(op, "TopK")) return raise_top_k(g, node);
    if (from < 10 && !strcmp(op, "Slice")) return raise_slice(g, node);
    return OM_OK;
}

static bool has_graphs(const om_node *n)
{
    for (int i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].graphs) return true;
    return false;
}

int om_quant_raise_opset(om_graph *g)
{
    int64_t from = om_graph_opset(g, "");
    int err = OM_OK, n = g->n_nodes;
    if (g->ir_version < IR_VERSION) g->ir_version = IR_VERSION;
    if (from >= OPSET) return OM_OK;
    for (int i = 0; i < n && err >= 0; i++) {
        char label[OM_NODE_LABEL];
        if (g->nodes[i].dead) continue;
        if (has_graphs(&g->nodes[i]))
            return om_fail(OM_ERR_UNSUPPORTED,
                           "%s: it holds graphs of opset %lld; export the model anew with opset 13 or later",
                           om_node_label(g, &g->nodes[i], label), (long long)from);
        err = raise_node(g, i, from);
    }
    if (err >= 0) err = om_graph_set_opset(g, "", OPSET);
    return err < 0 ? err : om_graph_infer_shapes(g);
}
