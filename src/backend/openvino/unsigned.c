/* Activations of signed bytes around another number than zero, as training tools write them, in unsigned
 * bytes: the same numbers, 128 higher. OpenVINO's CPU engine computes joins of the signed ones wrongly. */
#include <string.h>

#include "backend/openvino/openvino.h"
#include "base/mem.h"
#include "model/model.h"
#include "omma/error.h"

bool omov_is_op(const om_graph *g, int node, const char *op)
{
    const om_node *n = &g->nodes[node];
    return !n->dead && !strcmp(n->op, op) && (!*n->domain || !strcmp(n->domain, "ai.onnx"));
}

/* The zero points of a node that quantises or dequantises, where they are constant signed bytes; else NULL.
 */
static const om_const *signed_zeros(const om_graph *g, int node)
{
    const om_node *n = &g->nodes[node];
    const om_const *z = n->n_inputs > 2 && n->inputs[2] >= 0 ? g->values[n->inputs[2]].constant : NULL;
    return z && z->dtype == OM_DTYPE_I8 && z->data && om_shape_count(&z->shape) > 0 ? z : NULL;
}

/* All that reads the value turns it back into floats by signed zero points. */
static bool only_dequantised(const om_graph *g, int value)
{
    if (g->values[value].is_output) return false;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; !g->nodes[i].dead && k < g->nodes[i].n_inputs; k++)
            if (g->nodes[i].inputs[k] == value &&
                (k || !omov_is_op(g, i, "DequantizeLinear") || !signed_zeros(g, i)))
                return false;
    return true;
}

static bool wanted(const om_graph *g, int node)
{
    const om_const *z = omov_is_op(g, node, "QuantizeLinear") ? signed_zeros(g, node) : NULL;
    const int8_t *v = z ? z->data : NULL;
    for (int64_t i = 0, n = z ? om_shape_count(&z->shape) : 0; i < n; i++)
        if (v[i]) return only_dequantised(g, g->nodes[node].outputs[0]);
    return false;
}

static int raise_zeros(om_graph *g, int node)
{
    const om_const *z = signed_zeros(g, node);
    int64_t n = om_shape_count(&z->shape);
    const int8_t *from = z->data;
    uint8_t *to = om_alloc((size_t)n);
    if (!to) return OM_ERR_NOMEM;
    for (int64_t i = 0; i < n; i++) to[i] = (uint8_t)(from[i] + 128);
    om_shape shape = z->shape;
    int v = om_graph_add_const(g, NULL, OM_DTYPE_U8, &shape, to);
    om_free(to);
    if (v >= 0) g->nodes[node].inputs[2] = v;
    return v < 0 ? v : OM_OK;
}

int omov_make_unsigned(const om_graph *g, om_graph **out)
{
    bool any = false;
    *out = NULL;
    for (int i = 0; i < g->n_nodes && !any; i++) any = wanted(g, i);
    if (!any) return OM_OK;
    int err = om_graph_clone(g, out), n = err ? 0 : (*out)->n_nodes;
    for (int i = 0; i < n && !err; i++) {
        if (!wanted(*out, i)) continue;
        int value = (*out)->nodes[i].outputs[0];
        err = raise_zeros(*out, i);
        (*out)->values[value].dtype = OM_DTYPE_U8;
        for (int k = 0; k < n && !err; k++)
            if (!(*out)->nodes[k].dead && (*out)->nodes[k].n_inputs && (*out)->nodes[k].inputs[0] == value)
                err = raise_zeros(*out, k);
    }
    if (err < 0) {
        om_graph_destroy(*out);
        *out = NULL;
    }
    return err;
}
