#include "backend/cuda/user_op.h"

#include <stdio.h>
#include <string.h>

#include "backend/cuda/product.h"
#include "base/error.h"
#include "base/mem.h"

struct omcu_user {
    const om_operator *op;
    om_operator_node *attrs;
    om_operator_call call; /* without memory */
    om_operator_tensor in[OM_OPERATOR_PORTS], out[OM_OPERATOR_PORTS];
    omcu_view in_view[OM_OPERATOR_PORTS], out_view[OM_OPERATOR_PORTS];
    char node[OMCU_NAME];
};

const om_operator *omcu_user_find(const om_node *n) { return om_operators_find(n->domain, n->op); }
const char *omcu_user_name(const omcu_user *u) { return u->op->name; }

void omcu_user_destroy(omcu_user *u)
{
    if (!u) return;
    om_operator_node_destroy(u->attrs);
    om_free(u);
}

static int type_of(const omcu_lower_state *l)
{
    return l->work == OMCU_F16 ? OM_OPERATOR_F16 : OM_OPERATOR_F32;
}

static om_operator_tensor tensor_of(const omcu_lower_state *l, int value)
{
    om_operator_tensor t = {.rank = -1};
    if (value < 0) return t;
    const om_shape *s = omcu_shape(l, value);
    t.type = type_of(l);
    t.rank = s->rank;
    t.constant = omcu_is_const(l, value);
    for (int i = 0; i < s->rank; i++) t.dim[i] = s->dim[i];
    return t;
}

/* What is known before anything is placed. */
static int describe(const omcu_lower_state *l, int node, const om_operator *op, omcu_user **out)
{
    const om_node *n = &l->g->nodes[node];
    if (n->n_inputs < 1 || n->n_inputs > OM_OPERATOR_PORTS || n->n_outputs < 1 || n->n_outputs > 3 ||
        n->n_inputs > OMCU_OPERANDS)
        return omcu_refuse(l, node, "%d inputs and %d outputs; a user's operator has 1 to %d, and 1 to 3",
                           n->n_inputs, n->n_outputs, OMCU_OPERANDS);
    omcu_user *u = om_calloc(1, sizeof *u);
    *out = u;
    if (!u) return OM_ERR_NOMEM;
    u->op = op;
    snprintf(u->node, sizeof u->node, "%s", omcu_node_name(l, node));
    for (int i = 0; i < n->n_inputs; i++) u->in[i] = tensor_of(l, n->inputs[i]);
    for (int i = 0; i < n->n_outputs; i++) u->out[i] = tensor_of(l, n->outputs[i]);
    u->call = (om_operator_call){
        .node = u->node, .in = u->in, .out = u->out, .n_in = n->n_inputs, .n_out = n->n_outputs};
    int err = om_operator_node_create(n, &u->attrs);
    om_operator_call_attach(&u->call, u->attrs);
    return err;
}

static bool activation_of(const omcu_act *a, om_operator_call *c)
{
    switch (a->op) {
    case OMCU_NONE: c->activation = OM_OPERATOR_NONE; return true;
    case OMCU_RELU: c->activation = OM_OPERATOR_RELU; return true;
    case OMCU_SILU: c->activation = OM_OPERATOR_SILU; return true;
    case OMCU_CLIP:
        c->activation = OM_OPERATOR_CLIP;
        c->low = a->a;
        c->high = a->b;
        return true;
    default: return false;
    }
}

/* The activation behind it becomes the operator's where that has it; *value is what comes out then. */
static int take_activation(omcu_lower_state *l, omcu_user *u, int *value)
{
    omcu_tail tail;
    size_t bytes = (size_t)l->g->n_nodes * sizeof *l->done;
    bool *before = om_alloc(bytes + 1);
    if (!before) return OM_ERR_NOMEM;
    memcpy(before, l->done, bytes);
    omcu_tail_of(l, *value, false, &tail);
    om_operator_call with = u->call;
    const char *why = NULL;
    bool fits = activation_of(&tail.act1, &with) && (u->op->fuses & 1 << with.activation) &&
                (!u->op->accepts || u->op->accepts(&with, &why) == 1);
    if (tail.act1.op != OMCU_NONE && fits) {
        u->call = with;
        *value = tail.value;
    } else {
        memcpy(l->done, before, bytes);
    }
    om_free(before);
    return OM_OK;
}

static bool by_channels(const omcu_user *u, int rank)
{
    return u->op->layout == OM_OPERATOR_CHANNELS_LAST && rank == 4;
}

static int place_input(omcu_lower_state *l, const omcu_user *u, int value, omcu_view *out)
{
    const om_shape *s = omcu_shape(l, value);
    if (omcu_is_const(l, value)) return omcu_work_view(l, value, out);
    return by_channels(u, s->rank) ? omcu_picture_view(l, value, s->dim, out)
                                   : omcu_dense_view(l, value, out);
}

static int place_output(omcu_lower_state *l, const omcu_user *u, int value, omcu_view *out)
{
    const om_shape *s = omcu_shape(l, value);
    size_t bytes;
    omcu_view dense = omcu_view_dense(l->work, s, NULL, 1, &bytes);
    const omcu_value *v = &l->values[value];
    bool channels = by_channels(u, s->rank);
    /* Where it is wanted, if it lies there as the operator writes. */
    if (v->is_placed && v->placed.type == l->work) {
        dense.buffer = v->placed.buffer;
        dense.offset = v->placed.offset;
        if (channels ? omcu_channels_dense(&v->placed) : omcu_view_same(&dense, &v->placed)) {
            *out = v->placed;
            return OM_OK;
        }
    }
    return omcu_new_view(l, l->work, s, channels ? omcu_nhwc : NULL, channels ? OMCU_CHANNEL_ALIGN : 1, out);
}

static void set_strides(const omcu_view *v, om_operator_tensor *t)
{
    for (int i = 0; i < v->rank; i++) t->stride[i] = v->stride[i];
}

static int emit(omcu_lower_state *l, int node, omcu_user *u, int value)
{
    const om_node *n = &l->g->nodes[node];
    omcu_step s = {.kind = OMCU_STEP_USER, .u.user = u};
    int outputs[3] = {value, n->n_outputs > 1 ? n->outputs[1] : -1, n->n_outputs > 2 ? n->outputs[2] : -1};
    int err = OM_OK;
    omcu_step_name(l, node, &s);
    /* Steps list what they touch without gaps; the operator's own places are kept beside. */
    for (int i = 0; i < n->n_inputs && !err; i++) {
        if (n->inputs[i] < 0) continue;
        err = place_input(l, u, n->inputs[i], &u->in_view[i]);
        set_strides(&u->in_view[i], &u->in[i]);
        s.in[s.n_in++] = u->in_view[i];
    }
    for (int i = 0; i < n->n_outputs && !err; i++) {
        if (outputs[i] < 0) continue;
        err = place_output(l, u, outputs[i], &u->out_view[i]);
        set_strides(&u->out_view[i], &u->out[i]);
        s.out[s.n_out++] = u->out_view[i];
    }
    if (err) return err;
    size_t need = u->op->workspace ? u->op->workspace(&u->call) : 0;
    if (need > l->p->workspace) l->p->workspace = need;
    err = omcu_add_user(l->p, u);
    if (err < 0) return err;
    err = omcu_add_step(l->p, &s);
    for (int i = 0; i < n->n_outputs && err >= 0; i++)
        if (outputs[i] >= 0) err = omcu_written(l, outputs[i], &u->out_view[i]);
    return err < 0 ? err : OM_OK;
}

int omcu_lower_user(omcu_lower_state *l, int node, const om_operator *op, bool *taken, const char **why)
{
    omcu_user *u = NULL;
    int value = l->g->nodes[node].outputs[0], owned = l->p->n_users;
    *taken = false;
    *why = "its first output is absent";
    if (value < 0) return OM_OK;
    *why = "no reason given";
    int err = describe(l, node, op, &u);
    if (!err) *taken = !op->accepts || op->accepts(&u->call, why) == 1;
    if (!*why) *why = "no reason given";
    if (!err && *taken && !l->how->no_fusion) err = take_activation(l, u, &value);
    if (!err && *taken) err = emit(l, node, u, value);
    if (l->p->n_users == owned) omcu_user_destroy(u);
    return err;
}

int omcu_user_run(const omcu_program *p, const omcu_step *s, const omcu_binding *b,
                  struct CUstream_st *stream)
{
    const omcu_user *u = s->u.user;
    om_operator_tensor in[OM_OPERATOR_PORTS], out[OM_OPERATOR_PORTS];
    om_operator_call c = u->call;
    for (int i = 0; i < c.n_in; i++) {
        in[i] = u->in[i];
        if (in[i].rank >= 0) in[i].data = omcu_address(p, &u->in_view[i], b);
    }
    for (int i = 0; i < c.n_out; i++) {
        out[i] = u->out[i];
        if (out[i].rank >= 0) out[i].data = omcu_address(p, &u->out_view[i], b);
    }
    c.in = in;
    c.out = out;
    c.workspace = b->workspace;
    return u->op->launch(&c, stream);
}
