/* Which operators that could run as one do, and what the engine put in between. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "profile/group.h"

typedef struct checker {
    const om_graph *g;
    const int *owner;
    om_profile *p;
    int *uses; /* by value: how many nodes take it, outputs of the model counted too */
    int err;
} checker;

static const char *name_of(const om_graph *g, int node)
{
    const om_node *n = &g->nodes[node];
    if (n->name && n->name[0]) return n->name;
    return n->n_outputs && n->outputs[0] >= 0 ? g->values[n->outputs[0]].name : n->op;
}

/* The node that makes input k, or -1. */
static int before(const om_graph *g, int node, int k)
{
    const om_node *n = &g->nodes[node];
    return k < n->n_inputs && n->inputs[k] >= 0 ? g->values[n->inputs[k]].producer : -1;
}

static bool is_op(const om_graph *g, int node, const char *op)
{
    return node >= 0 && !strcmp(g->nodes[node].op, op);
}

static bool is_conv(const om_graph *g, int node) { return is_op(g, node, "Conv"); }

/* Past what quantisation and batch normalisation put behind a convolution. */
static int behind_wrappers(const om_graph *g, int node)
{
    while (is_op(g, node, "BatchNormalization") || is_op(g, node, "DequantizeLinear") ||
           is_op(g, node, "QuantizeLinear"))
        node = before(g, node, 0);
    return node;
}

static double cost_of(const checker *c, int node)
{
    return c->owner[node] < 0 ? 0 : c->p->layers[c->owner[node]].us;
}

/* `link` makes what `second` takes; `users`: how many users a fused pair has inside. */
static char *reason(const checker *c, int link, int second, int users)
{
    const om_graph *g = c->g;
    int out = g->nodes[link].outputs[0];
    if (out >= 0 && g->values[out].is_output)
        return om_sprintf("the result of '%s' is an output of the model", name_of(g, link));
    if (out >= 0 && c->uses[out] > users)
        return om_sprintf("the result of '%s' is used %d times", name_of(g, link), c->uses[out]);
    int layer = c->owner[second];
    if (layer < 0) return om_sprintf("the engine does not name '%s'", name_of(g, second));
    return om_sprintf("the engine runs %s as a layer of its own (%s %s)", g->nodes[second].op,
                      c->p->layers[layer].engine_type, c->p->layers[layer].exec);
}

static void add(checker *c, const char *pattern, int first, int link, int second, int users)
{
    void *items = c->p->fusions;
    if (c->err) return;
    c->err = om_grow(&items, &c->p->cap_fusions, c->p->n_fusions + 1, sizeof *c->p->fusions);
    c->p->fusions = items;
    if (c->err) return;
    bool done = c->owner[first] == c->owner[second] || c->owner[first] == OM_FOLDED;
    om_fusion *f = &c->p->fusions[c->p->n_fusions++];
    *f = (om_fusion){.pattern = pattern,
                     .where = om_sprintf("%s + %s", name_of(c->g, first), name_of(c->g, second)),
                     .why = done ? NULL : reason(c, link, second, users),
                     .state = done ? OM_FUSION_DONE : OM_FUSION_OPEN,
                     .us = done ? 0 : cost_of(c, second)};
    if (!f->where || (!done && !f->why)) c->err = OM_ERR_NOMEM;
}

static bool is_activation(const om_graph *g, int node)
{
    static const char *const ops[] = {"Relu",      "LeakyRelu", "Clip",  "Sigmoid", "HardSigmoid",
                                      "HardSwish", "PRelu",     "Tanh",  "Elu",     "Gelu",
                                      "Mish",      "Softplus",  "Swish", NULL};
    for (const char *const *op = ops; *op; op++)
        if (is_op(g, node, *op)) return true;
    return false;
}

/* x * f(x): the x's node, or -1. */
static int gated(const om_graph *g, int node)
{
    if (!is_op(g, node, "Mul")) return -1;
    for (int k = 0; k < 2; k++) {
        int gate = before(g, node, k), x = before(g, node, 1 - k);
        bool known = is_op(g, gate, "Sigmoid") || is_op(g, gate, "HardSigmoid") || is_op(g, gate, "Tanh");
        for (int at = gate, steps = 0; known && at >= 0 && steps < 3; at = before(g, at, 0), steps++)
            if (before(g, at, 0) == x) return x;
    }
    return -1;
}

/* The gate of x * f(x) is part of that, no activation by itself. */
static bool is_gate(const checker *c, int node)
{
    int out = c->g->nodes[node].outputs[0];
    for (int i = 0; i < c->g->n_nodes; i++) {
        const om_node *n = &c->g->nodes[i];
        if (n->dead || strcmp(n->op, "Mul") || n->n_inputs != 2) continue;
        if ((n->inputs[0] == out || n->inputs[1] == out) && gated(c->g, i) >= 0) return true;
    }
    return false;
}

static void check_activation(checker *c, int node)
{
    const om_graph *g = c->g;
    int gate = gated(g, node), x = gate >= 0 ? gate : is_activation(g, node) ? before(g, node, 0) : -1;
    int conv = behind_wrappers(g, x);
    if (conv < 0 || !is_conv(g, conv) || is_gate(c, node)) return;
    add(c, "Conv+Activation", conv, x, node, gate >= 0 ? 2 : 1);
}

/* The convolution whose result this is, activation and wrappers left out; -1: it is none's. */
static int conv_behind(const om_graph *g, int node)
{
    for (int steps = 0; node >= 0 && steps < 4; steps++) {
        node = behind_wrappers(g, node);
        if (is_conv(g, node)) return node;
        int x = node < 0 ? -1 : gated(g, node);
        if (x >= 0) node = x;
        else if (node >= 0 && is_activation(g, node)) node = before(g, node, 0);
        else return -1;
    }
    return -1;
}

static void check_add(checker *c, int node)
{
    const om_graph *g = c->g;
    if (!is_op(g, node, "Add") || g->nodes[node].n_inputs != 2) return;
    int a = conv_behind(g, before(g, node, 0)), b = conv_behind(g, before(g, node, 1));
    if (a < 0 && b < 0) return;
    /* Either of two convolutions can take the sum: told is the one that did. */
    bool second = a < 0 || (b >= 0 && c->owner[b] == c->owner[node]);
    add(c, "Conv+Add", second ? b : a, before(g, node, second ? 1 : 0), node, 1);
}

static void check_conv_pair(checker *c, int node)
{
    const om_graph *g = c->g;
    int first = conv_behind(g, before(g, node, 0));
    if (first < 0) return;
    const om_node *n = &g->nodes[node], *f = &g->nodes[first];
    if (om_node_is_depthwise(g, f) && om_node_is_pointwise(g, n))
        add(c, "Depthwise+Pointwise", first, before(g, node, 0), node, 1);
    if (om_node_is_pointwise(g, f) && om_node_is_depthwise(g, n))
        add(c, "Pointwise+Depthwise", first, before(g, node, 0), node, 1);
}

/* A convolution or product whose inputs were quantised is meant to run in integers. */
static void check_island(checker *c, int node)
{
    const om_graph *g = c->g;
    const om_node *n = &g->nodes[node];
    bool dot = is_conv(g, node) || is_op(g, node, "MatMul") || is_op(g, node, "Gemm");
    int dq = before(g, node, 0);
    if (!dot || c->owner[node] < 0 || !is_op(g, dq, "DequantizeLinear")) return;
    add(c, "QDQ island", dq, dq, node, 1);
    if (c->err) return;
    const om_layer *l = &c->p->layers[c->owner[node]];
    om_fusion *f = &c->p->fusions[c->p->n_fusions - 1];
    om_free(f->why);
    *f = (om_fusion){.pattern = f->pattern, .where = f->where, .state = OM_FUSION_DONE};
    if (!strcmp(l->precision, "int8")) return;
    bool weights = n->n_inputs > 1 && is_op(g, before(g, node, 1), "DequantizeLinear");
    f->state = OM_FUSION_OPEN;
    f->us = l->us;
    f->why =
        om_sprintf("%s was quantised but runs in %s (%s)%s", n->op, l->precision[0] ? l->precision : "floats",
                   l->exec, weights ? "" : ": its weights are not quantised");
    if (!f->why) c->err = OM_ERR_NOMEM;
}

static void count_uses(checker *c)
{
    const om_graph *g = c->g;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_inputs && !g->nodes[i].dead; k++)
            if (g->nodes[i].inputs[k] >= 0) c->uses[g->nodes[i].inputs[k]]++;
    for (int i = 0; i < g->n_outputs; i++) c->uses[g->outputs[i]]++;
}

static void note(checker *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(checker *c, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!c->err) c->err = om_strlist_add(&c->p->notes, text);
}

static void note_reformats(checker *c)
{
    for (size_t i = 0; i < c->p->n_layers; i++) {
        const om_layer *l = &c->p->layers[i];
        bool reformat =
            l->inserted && (!strcmp(l->engine_type, "Reorder") || !strcmp(l->engine_type, "Reformat"));
        if (reformat && l->us > 0) note(c, "reformat inserted: %s, %.1f us (%s)", l->name, l->us, l->exec);
    }
}

/* What most of the time is spent in, where nothing was asked for. */
static const char *main_precision(const om_profile *p)
{
    static const char *const names[] = {"f32", "bf16", "f16", "int8"};
    const char *best = "f32";
    double most = 0;
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        double us = 0;
        for (size_t i = 0; i < p->n_layers; i++)
            if (p->layers[i].macs > 0 && !strcmp(p->layers[i].precision, names[k])) us += p->layers[i].us;
        if (us > most) best = names[k];
        if (us > most) most = us;
    }
    return best;
}

static void note_fallbacks(checker *c)
{
    const char *want = strcmp(c->p->requested, "auto") ? c->p->requested : main_precision(c->p);
    for (size_t i = 0; i < c->p->n_layers; i++) {
        const om_layer *l = &c->p->layers[i];
        if (l->macs > 0 && l->precision[0] && strcmp(l->precision, want))
            note(c, "precision fall-back: %s runs in %s, not in %s (%s), %.1f us", l->name, l->precision,
                 want, l->exec, l->us);
    }
}

int om_fusion_check(const om_graph *g, const int *owner, om_profile *p)
{
    checker c = {.g = g, .owner = owner, .p = p};
    c.uses = om_calloc((size_t)g->n_values + 1, sizeof *c.uses);
    if (!c.uses) return om_fail_nomem("the check of fusions");
    count_uses(&c);
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].dead || !g->nodes[i].n_outputs || owner[i] == OM_FOLDED) continue;
        int conv = before(g, i, 0);
        if (is_op(g, i, "BatchNormalization") && conv >= 0 && is_conv(g, conv))
            add(&c, "Conv+BatchNorm", conv, conv, i, 1);
        check_activation(&c, i);
        check_add(&c, i);
        if (is_conv(g, i)) check_conv_pair(&c, i);
        check_island(&c, i);
    }
    note_reformats(&c);
    note_fallbacks(&c);
    om_free(c.uses);
    return c.err;
}
