/* What becomes int8: layers with constant weights, but for those right before the outputs, and the way to
 * them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "quant/quantizer.h"

#define GATE_STEPS 8 /* nodes between a mean over all places and what multiplies channels by it */

bool om_quant_is(const om_graph *g, int node, const char *op)
{
    if (node < 0) return false;
    const om_node *n = &g->nodes[node];
    return !n->dead && !strcmp(n->op, op) && (!*n->domain || !strcmp(n->domain, "ai.onnx"));
}

const char *om_quant_name(const om_graph *g, int node)
{
    const om_node *n = &g->nodes[node];
    return *n->name || !n->n_outputs || n->outputs[0] < 0 ? n->name : g->values[n->outputs[0]].name;
}

static bool among(const om_graph *g, int node, const char *const *ops)
{
    for (; *ops; ops++)
        if (om_quant_is(g, node, *ops)) return true;
    return false;
}

static const char *const compute_ops[] = {"Conv", "ConvTranspose", "Gemm", "MatMul", NULL};
static const char *const pass_ops[] = {"Concat",    "MaxPool",      "Reshape",      "Transpose", "Squeeze",
                                       "Unsqueeze", "Flatten",      "Slice",        "Identity",  "Split",
                                       "Resize",    "DepthToSpace", "SpaceToDepth", NULL};
static const char *const read_ops[] = {"Add", "AveragePool", "GlobalAveragePool", NULL};

bool om_weight_form_of(const om_graph *g, const om_node *n, om_weight_form *out)
{
    const om_const *w = n->n_inputs > 1 && n->inputs[1] >= 0 ? g->values[n->inputs[1]].constant : NULL;
    bool gemm = !strcmp(n->op, "Gemm"), matmul = !strcmp(n->op, "MatMul");
    if (!w || w->dtype != OM_DTYPE_F32 || !w->data || om_shape_count(&w->shape) <= 0) return false;
    if (gemm || matmul ? w->shape.rank != 2 : w->shape.rank < 3) return false;
    bool second = matmul || (gemm && !om_node_attr_int(n, "transB", 0)) || !strcmp(n->op, "ConvTranspose");
    *out = (om_weight_form){.axis = second, .outer = 1, .n = w->shape.dim[second], .inner = 1};
    for (int i = 0; i < w->shape.rank; i++) {
        if (i < out->axis) out->outer *= w->shape.dim[i];
        if (i > out->axis) out->inner *= w->shape.dim[i];
    }
    return true;
}

static bool all_finite(const om_const *c)
{
    const float *v = c->data;
    for (int64_t i = 0, n = om_shape_count(&c->shape); i < n; i++)
        if (!isfinite(v[i])) return false;
    return true;
}

/* NULL: the layer can be int8; else why not. Weights that are no numbers are an error of the model. */
static const char *unfit(const om_quantizer *q, int node)
{
    const om_graph *g = q->g;
    const om_node *n = &g->nodes[node];
    om_weight_form f;
    if (g->values[n->inputs[0]].constant) return "its input is a constant";
    if (g->values[n->inputs[0]].dtype != OM_DTYPE_F32) return "its input is not f32";
    if (n->n_inputs < 2 || n->inputs[1] < 0 || !g->values[n->inputs[1]].constant)
        return "its weights are not constant";
    if (!om_weight_form_of(g, n, &f)) return "its weights are not f32 or have an unusual shape";
    if (!strcmp(n->op, "ConvTranspose") && om_node_attr_int(n, "group", 1) != 1) return "it has groups";
    if (!strcmp(n->op, "Gemm") && (om_node_attr_float(n, "alpha", 1) != 1 ||
                                   om_node_attr_float(n, "beta", 1) != 1 || om_node_attr_int(n, "transA", 0)))
        return "it scales or transposes its input";
    if (n->n_inputs < 3 || n->inputs[2] < 0) return NULL;
    const om_const *b = g->values[n->inputs[2]].constant;
    if (!b || b->dtype != OM_DTYPE_F32 || !b->data) return "its bias is not a constant of f32";
    return b->shape.rank == 1 && b->shape.dim[0] == f.n ? NULL : "its bias is not one number a channel";
}

static int check_weights(const om_graph *g, int node)
{
    const om_node *n = &g->nodes[node];
    for (int k = 1; k < n->n_inputs && k < 3; k++) {
        const om_const *c = n->inputs[k] < 0 ? NULL : g->values[n->inputs[k]].constant;
        if (c && c->dtype == OM_DTYPE_F32 && c->data && !all_finite(c))
            return om_fail(OM_ERR_FORMAT, "node '%s' (%s): '%s' holds numbers that are not finite",
                           om_quant_name(g, node), n->op, g->values[n->inputs[k]].name);
    }
    return OM_OK;
}

/* Data that comes from a softmax is a distribution that a decoder weighs: no layer of the network proper. */
static bool decodes(const om_graph *g, int node)
{
    int maker = g->values[g->nodes[node].inputs[0]].producer;
    for (int steps = 0; maker >= 0 && steps < 8; steps++) {
        if (om_quant_is(g, maker, "Softmax")) return true;
        if (!among(g, maker, pass_ops)) return false;
        int in = g->nodes[maker].inputs[0];
        maker = in < 0 ? -1 : g->values[in].producer;
    }
    return false;
}

/* Marks all from the outputs back to the last layers, with these. */
static int mark_head(const om_quantizer *q, bool *head)
{
    const om_graph *g = q->g;
    int *stack = om_alloc(((size_t)g->n_nodes + 1) * sizeof *stack), depth = 0;
    if (!stack) return OM_ERR_NOMEM;
    for (int i = 0; i < g->n_outputs; i++) {
        int maker = g->values[g->outputs[i]].producer;
        if (maker < 0 || head[maker]) continue;
        head[maker] = true;
        stack[depth++] = maker;
    }
    while (depth) {
        int node = stack[--depth];
        const om_node *n = &g->nodes[node];
        if (q->layer_of[node] >= 0 && !decodes(g, node)) continue;
        for (int k = 0; k < n->n_inputs; k++) {
            int maker = n->inputs[k] < 0 ? -1 : g->values[n->inputs[k]].producer;
            if (maker < 0 || head[maker]) continue;
            head[maker] = true;
            stack[depth++] = maker;
        }
    }
    om_free(stack);
    return OM_OK;
}

static int find_layers(om_quantizer *q)
{
    const om_graph *g = q->g;
    for (int i = 0; i < g->n_nodes; i++) q->layer_of[i] = -1;
    for (int i = 0; i < g->n_nodes; i++) {
        if (!among(g, i, compute_ops) || g->nodes[i].n_inputs < 2 || g->nodes[i].inputs[0] < 0) continue;
        bool two = g->nodes[i].inputs[1] >= 0 && g->values[g->nodes[i].inputs[1]].constant;
        if (!two && om_quant_is(g, i, "MatMul")) continue; /* a product of two tensors is no layer */
        int err = check_weights(g, i);
        if (err < 0) return err;
        om_layer *l = &q->layers[q->n_layers];
        const char *why = unfit(q, i);
        *l = (om_layer){.node = i, .act = -1, .quantised = !why};
        if (why) snprintf(l->why, sizeof l->why, "%s", why);
        q->layer_of[i] = q->n_layers++;
    }
    return OM_OK;
}

static void leave_out(om_layer *l, const char *why)
{
    if (!l->quantised) return;
    l->quantised = false;
    snprintf(l->why, sizeof l->why, "%s", why);
}

/* What is read by node `node`, followed back to a mean over all places. */
static int mean_before(const om_graph *g, int node)
{
    static const char *const between[] = {"Conv",   "Relu",    "LeakyRelu", "Sigmoid",   "HardSigmoid",
                                          "Clip",   "Reshape", "Squeeze",   "Unsqueeze", "Flatten",
                                          "MatMul", "Gemm",    "Add",       "Mul",       NULL};
    for (int steps = 0; steps < GATE_STEPS; steps++) {
        int in = g->nodes[node].n_inputs ? g->nodes[node].inputs[0] : OM_NO_VALUE;
        node = in < 0 ? -1 : g->values[in].producer;
        if (om_quant_is(g, node, "GlobalAveragePool")) return node;
        if (!among(g, node, between)) return -1;
    }
    return -1;
}

/* A layer that says by how much whole channels are multiplied: of next to no work, and its error is in every
 * place. */
static bool makes_gate(const om_graph *g, int node)
{
    int mean = mean_before(g, node);
    for (int i = 0; i < g->n_nodes && mean >= 0; i++)
        for (int k = 0; k < g->nodes[i].n_inputs && om_quant_is(g, i, "Mul"); k++)
            if (g->nodes[i].inputs[k] == g->nodes[mean].inputs[0]) return true;
    return false;
}

static int keep_named(om_quantizer *q)
{
    const om_graph *g = q->g;
    for (size_t k = 0; k < q->p->n_keep; k++) {
        const char *word = q->p->keep[k];
        bool found = false;
        for (int i = 0; i < q->n_layers; i++) {
            om_layer *l = &q->layers[i];
            if (strcmp(word, om_quant_name(g, l->node)) && strcmp(word, g->nodes[l->node].op)) continue;
            leave_out(l, "asked for");
            found = true;
        }
        if (found) continue;
        const char **names = om_alloc(((size_t)q->n_layers + 1) * sizeof *names);
        if (!names) return OM_ERR_NOMEM;
        for (int i = 0; i < q->n_layers; i++) names[i] = om_quant_name(g, q->layers[i].node);
        const char *near = om_suggest(word, names, (size_t)q->n_layers);
        int err = om_fail(OM_ERR_ARG, "no layer with weights is called '%s', nor is it one's operator%s%s%s",
                          word, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        om_free(names);
        return err;
    }
    return OM_OK;
}

static bool nearest(const om_node *n)
{
    return !strcmp(om_node_attr_string(n, "mode", "nearest"), "nearest");
}

static om_role role_of(const om_quantizer *q, int node)
{
    const om_graph *g = q->g;
    const om_node *n = &g->nodes[node];
    if (n->dead) return OM_ROLE_FLOAT;
    if (q->layer_of[node] >= 0)
        return q->layers[q->layer_of[node]].quantised ? OM_ROLE_COMPUTE : OM_ROLE_FLOAT;
    bool reads = among(g, node, read_ops), passes = among(g, node, pass_ops);
    if (passes && om_quant_is(g, node, "Resize") && !nearest(n)) passes = false;
    if (!reads && !passes) return OM_ROLE_FLOAT;
    int n_data = om_quant_is(g, node, "Concat") || om_quant_is(g, node, "Add") ? n->n_inputs : 1;
    for (int k = 0; k < n_data; k++) {
        int v = n->inputs[k];
        if (v < 0 || g->values[v].constant || g->values[v].dtype != OM_DTYPE_F32) return OM_ROLE_FLOAT;
    }
    return passes ? OM_ROLE_PASS : OM_ROLE_READ;
}

static int add_act(om_quantizer *q, int value)
{
    if (q->act_of[value] >= 0) return q->act_of[value];
    om_act *a = &q->acts[q->n_acts];
    *a = (om_act){.value = value, .group = q->n_acts, .hist = om_calloc(1, sizeof *a->hist)};
    if (!a->hist) return OM_ERR_NOMEM;
    q->act_of[value] = q->n_acts;
    return q->n_acts++;
}

/* An error in a channel is multiplied by the weights that read it. */
static int add_matters(om_act *a, const om_graph *g, const om_node *n)
{
    const om_const *w = g->values[n->inputs[1]].constant;
    bool conv = !strcmp(n->op, "Conv");
    int64_t groups = conv ? om_node_attr_int(n, "group", 1) : 1, step = 1;
    int axis = conv || (!strcmp(n->op, "Gemm") && om_node_attr_int(n, "transB", 0));
    int64_t channels = w->shape.dim[axis] * groups, count = om_shape_count(&w->shape);
    for (int i = axis + 1; i < w->shape.rank; i++) step *= w->shape.dim[i];
    if (a->matters && a->n_matters != channels) return OM_OK;
    if (!a->matters) {
        a->matters = om_calloc((size_t)channels, sizeof *a->matters);
        a->n_matters = channels;
        if (!a->matters) return OM_ERR_NOMEM;
    }
    const float *v = w->data;
    int64_t each = channels / groups, per_group = count / groups;
    for (int64_t i = 0; i < count; i++) a->matters[i / per_group * each + i / step % each] += v[i] * v[i];
    return OM_OK;
}

/* 1 in the mean. */
static void even_matters(om_act *a)
{
    double sum = 0;
    for (int64_t i = 0; i < a->n_matters; i++) sum += (double)a->matters[i];
    for (int64_t i = 0; i < a->n_matters; i++)
        a->matters[i] = sum > 0 ? (float)((double)a->matters[i] * (double)a->n_matters / sum) : 1;
}

static int add_layer_acts(om_quantizer *q)
{
    for (int i = 0; i < q->n_layers; i++) {
        om_layer *l = &q->layers[i];
        const om_node *n = &q->g->nodes[l->node];
        if (!l->quantised) continue;
        int a = add_act(q, n->inputs[0]);
        if (a < 0) return a;
        l->act = a;
        int err = add_matters(&q->acts[a], q->g, n);
        if (err < 0) return err;
        om_weight_form form;
        if (q->p->fit_rounding && om_weight_form_of(q->g, n, &form)) {
            err = om_gram_create(q->g, n, &form, &l->gram);
            if (err < 0) return err;
        }
        q->acts[a].last = !strcmp(n->op, "Gemm") || !strcmp(n->op, "MatMul");
        if (!q->p->correct_bias || !strcmp(n->op, "ConvTranspose") || !strcmp(n->op, "MatMul")) continue;
        q->acts[a].wants_sum = true;
    }
    return OM_OK;
}

/* From the back, so that what lies before several of them in a row is found in one go. */
static int add_passed_acts(om_quantizer *q)
{
    const om_graph *g = q->g;
    for (int i = g->n_nodes; i-- > 0;) {
        const om_node *n = &g->nodes[i];
        bool wanted = false;
        for (int k = 0; k < n->n_outputs && q->role[i] == OM_ROLE_PASS; k++)
            wanted = wanted || (n->outputs[k] >= 0 && q->act_of[n->outputs[k]] >= 0);
        for (int k = 0; k < (om_quant_is(g, i, "Concat") ? n->n_inputs : 1) && wanted; k++) {
            int a = add_act(q, n->inputs[k]);
            if (a < 0) return a;
        }
    }
    return OM_OK;
}

int om_quant_select(om_quantizer *q)
{
    om_graph *g = q->g;
    bool *head = om_calloc((size_t)g->n_nodes + 1, 1);
    int err = head ? find_layers(q) : OM_ERR_NOMEM;
    if (err >= 0 && !q->p->whole) err = mark_head(q, head);
    for (int i = 0; i < q->n_layers && err >= 0; i++)
        if (head[q->layers[i].node]) leave_out(&q->layers[i], "before an output");
    for (int i = 0; i < q->n_layers && err >= 0 && !q->p->whole; i++)
        if (q->layers[i].quantised && makes_gate(g, q->layers[i].node))
            leave_out(&q->layers[i], "it makes a gate of whole channels");
    if (err >= 0) err = keep_named(q);
    for (int i = 0; i < g->n_nodes && err >= 0; i++)
        q->role[i] = head[i] && q->layer_of[i] < 0 ? OM_ROLE_FLOAT : role_of(q, i);
    if (err >= 0) err = add_layer_acts(q);
    for (int i = 0; i < q->n_acts && err >= 0; i++) even_matters(&q->acts[i]);
    if (err >= 0) err = add_passed_acts(q);
    om_free(head);
    return err;
}
