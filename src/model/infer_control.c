/* If and Loop: what the graphs inside make. */
#include <string.h>

#include "base/error.h"
#include "model/infer.h"

static om_graph *sub_graph(const om_call *c, const char *name)
{
    const om_attr *a = om_node_attr(c->n, name);
    return a && a->type == OM_ATTR_GRAPH ? a->graphs[0] : NULL;
}

static int run_inside(const om_call *c, om_graph *g)
{
    om_infer in;
    int err = om_infer_init(&in, g, c->in, c->opset, c->in->limit);
    if (err >= 0) err = om_infer_run(&in);
    om_infer_fini(&in);
    char label[OM_NODE_LABEL];
    return err < 0 && err != OM_ERR_NOMEM ? om_fail_prefix(err, "%s", om_node_label(c->g, c->n, label)) : err;
}

/* What both may be. */
static om_shape common(const om_shape *a, const om_shape *b)
{
    om_shape s = {.rank = a->rank == b->rank ? a->rank : -1};
    for (int i = 0; i < s.rank; i++) s.dim[i] = a->dim[i] == b->dim[i] ? a->dim[i] : OM_DIM_DYNAMIC;
    return s;
}

int om_infer_if(const om_call *c)
{
    om_graph *yes = sub_graph(c, "then_branch"), *no = sub_graph(c, "else_branch");
    const om_part *cond = om_call_part(c, 0);
    if (!yes || !no) return om_call_bad(c, "it needs a then_branch and an else_branch");
    if (yes->n_outputs < c->n->n_outputs || no->n_outputs < c->n->n_outputs)
        return om_call_bad(c, "%d outputs, its branches make %d and %d", c->n->n_outputs, yes->n_outputs,
                           no->n_outputs);
    bool decided = cond && cond->n == 1 && cond->known[0];
    /* A branch that is never taken may be impossible for these shapes. */
    int err = decided && !cond->v[0].i ? OM_OK : run_inside(c, yes);
    if (err >= 0 && !(decided && cond->v[0].i)) err = run_inside(c, no);
    for (int i = 0; i < c->n->n_outputs && err >= 0; i++) {
        const om_value *a = &yes->values[yes->outputs[i]], *b = &no->values[no->outputs[i]];
        om_shape s = common(&a->shape, &b->shape);
        if (decided) s = cond->v[0].i ? a->shape : b->shape;
        err = om_call_set(c, i, a->dtype != OM_DTYPE_NONE ? a->dtype : b->dtype, &s);
    }
    return err;
}

/* The body's inputs: iteration, condition, carried values. A carried shape is trusted only where the body's
 * output has the same one, so it is unknown inside first and then what start and body agree on. */
int om_infer_loop(const om_call *c)
{
    om_graph *body = sub_graph(c, "body");
    om_shape scalar = {.rank = 0};
    if (!body) return om_call_bad(c, "it needs a body");
    int carried = c->n->n_inputs - 2;
    if (carried < 0 || body->n_inputs != carried + 2 || body->n_outputs != 1 + c->n->n_outputs ||
        c->n->n_outputs < carried)
        return om_call_bad(c, "%d inputs and %d outputs do not fit its body of %d and %d", c->n->n_inputs,
                           c->n->n_outputs, body->n_inputs, body->n_outputs);
    for (int i = 0; i < body->n_inputs; i++) {
        om_value *v = &body->values[body->inputs[i]];
        const om_shape *from = i < 2 ? &scalar : om_call_shape(c, i);
        v->dtype = i == 0 ? OM_DTYPE_I64 : i == 1 ? OM_DTYPE_BOOL : om_call_dtype(c, i);
        if (v->shape.rank >= 0) continue; /* as its file declares it */
        v->shape = from ? *from : (om_shape){.rank = -1};
        for (int k = 0; i >= 2 && k < v->shape.rank; k++)
            v->shape.dim[k] = OM_DIM_DYNAMIC; /* may change each time */
    }
    int err = run_inside(c, body);
    for (int i = 0; i < c->n->n_outputs && err >= 0; i++) {
        const om_value *v = &body->values[body->outputs[i + 1]];
        om_shape s = v->shape;
        const om_shape *start = i < carried ? om_call_shape(c, i + 2) : NULL;
        if (i < carried) s = start ? common(&s, start) : (om_shape){.rank = -1};
        else if (s.rank >= 0 && s.rank < OM_MAX_RANK) { /* one slice an iteration */
            memmove(s.dim + 1, s.dim, (size_t)s.rank * sizeof s.dim[0]);
            s.dim[0] = OM_DIM_DYNAMIC;
            s.rank++;
        } else s.rank = -1;
        err = om_call_set(c, i, v->dtype, &s);
    }
    return err;
}
