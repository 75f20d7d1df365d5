/* Shapes of operators that users bring. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "model/infer.h"
#include "model/operators.h"

static bool fill_inputs(const om_call *c, om_operator_tensor *in)
{
    for (int i = 0; i < c->n->n_inputs; i++) {
        in[i] = (om_operator_tensor){.rank = -1};
        if (!om_call_has(c, i)) continue;
        const om_shape *s = om_call_shape(c, i);
        if (!s) return false;
        in[i].type = om_call_dtype(c, i) == OM_DTYPE_F16 ? OM_OPERATOR_F16 : OM_OPERATOR_F32;
        in[i].rank = s->rank;
        in[i].constant = c->g->values[c->n->inputs[i]].constant != NULL;
        for (int k = 0; k < s->rank; k++) in[i].dim[k] = s->dim[k] < 0 ? -1 : s->dim[k];
    }
    return true;
}

static int set_output(const om_call *c, int i, const om_operator_tensor *t)
{
    om_shape s = {.rank = t->rank};
    if (t->rank < 0 || t->rank > OM_MAX_RANK)
        return om_call_bad(c, "its operator gives output %d the rank %d", i, t->rank);
    for (int k = 0; k < t->rank; k++) {
        if (t->dim[k] < -1)
            return om_call_bad(c, "its operator gives output %d a dimension of %" PRId64, i, t->dim[k]);
        s.dim[k] = t->dim[k] < 0 ? OM_DIM_DYNAMIC : t->dim[k];
    }
    return om_call_set(c, i, om_call_dtype(c, 0), &s);
}

int om_infer_own(const om_call *c, const om_operator *op)
{
    om_operator_tensor in[OM_OPERATOR_PORTS], out[OM_OPERATOR_PORTS];
    om_operator_node *node = NULL;
    const char *why = "no reason given";
    if (c->n->n_inputs < 1 || c->n->n_inputs > OM_OPERATOR_PORTS || c->n->n_outputs > OM_OPERATOR_PORTS)
        return om_call_bad(c, "%d inputs and %d outputs: an operator of a user's has 1 to %d", c->n->n_inputs,
                           c->n->n_outputs, OM_OPERATOR_PORTS);
    if (!fill_inputs(c, in)) return OM_OK;
    for (int i = 0; i < c->n->n_outputs; i++) out[i] = (om_operator_tensor){.rank = -1};
    int err = om_operator_node_create(c->n, &node);
    if (err) return err;
    om_operator_call call = {.node = c->n->name ? c->n->name : "",
                             .in = in,
                             .out = out,
                             .n_in = c->n->n_inputs,
                             .n_out = c->n->n_outputs};
    om_operator_call_attach(&call, node);
    if (!op->shapes) {
        out[0].rank = in[0].rank;
        memcpy(out[0].dim, in[0].dim, sizeof out[0].dim);
    } else if (op->shapes(&call, &why)) {
        err = om_call_bad(c, "%s: %s", op->name, why ? why : "no reason given");
    }
    om_operator_node_destroy(node);
    for (int i = 0; i < c->n->n_outputs && !err; i++) err = set_output(c, i, &out[i]);
    return err;
}
