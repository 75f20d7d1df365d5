/* What a model costs: multiply-accumulates of the operators that are made of them, and parameters. */
#include <string.h>

#include "base/mem.h"
#include "model/model.h"

static const om_shape *shape_of(const om_graph *g, const om_node *n, int input)
{
    if (input >= n->n_inputs || n->inputs[input] < 0) return NULL;
    return &g->values[n->inputs[input]].shape;
}

/* a*b, -1 once either is not known or the product does not fit. */
static int64_t times(int64_t a, int64_t b)
{
    int64_t product;
    if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product)) return -1;
    return product;
}

static int64_t count_of(const om_shape *s) { return s && s->rank >= 0 ? om_shape_count(s) : -1; }

/* A filter [out, in/group, window...] runs once for each position of the output; its transpose for the
 * input's. */
static int64_t conv_macs(const om_graph *g, const om_node *n, const om_shape *positions)
{
    const om_shape *w = shape_of(g, n, 1);
    int64_t per_channel = count_of(w);
    if (per_channel < 0 || !positions || positions->rank < 2 || w->rank < 2 || w->dim[0] <= 0) return -1;
    int64_t each = per_channel / w->dim[0];
    return times(count_of(positions), each);
}

static int64_t gemm_macs(const om_graph *g, const om_node *n, const om_shape *out)
{
    const om_shape *a = shape_of(g, n, 0);
    if (!a || a->rank != 2) return -1;
    return times(count_of(out), a->dim[om_node_attr_int(n, "transA", 0) ? 0 : 1]);
}

static int64_t matmul_macs(const om_graph *g, const om_node *n, const om_shape *out)
{
    const om_shape *a = shape_of(g, n, 0);
    if (!a || a->rank < 1) return -1;
    return times(count_of(out), a->dim[a->rank - 1]);
}

int64_t om_node_macs(const om_graph *g, const om_node *n)
{
    if (n->dead || n->domain[0] || n->n_outputs < 1 || n->outputs[0] < 0) return 0;
    const om_shape *out = &g->values[n->outputs[0]].shape;
    if (strcmp(n->op, "Conv") == 0 || strcmp(n->op, "ConvInteger") == 0) return conv_macs(g, n, out);
    if (strcmp(n->op, "ConvTranspose") == 0) return conv_macs(g, n, shape_of(g, n, 0));
    if (strcmp(n->op, "Gemm") == 0) return gemm_macs(g, n, out);
    if (strcmp(n->op, "MatMul") == 0 || strcmp(n->op, "MatMulInteger") == 0) return matmul_macs(g, n, out);
    return 0;
}

int64_t om_graph_macs(const om_graph *g)
{
    int64_t sum = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        int64_t macs = om_node_macs(g, &g->nodes[i]);
        if (macs < 0 || __builtin_add_overflow(sum, macs, &sum)) return -1;
    }
    return sum;
}

static bool is_op(const om_node *n, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(n->op, *names) == 0) return true;
    return false;
}

/* The constant behind an input, an initializer or a Constant node's output, also where it is stored quantised
 * or in another type; -1 if there is none. */
static int constant_behind(const om_graph *g, int value)
{
    static const char *const wrappers[] = {"DequantizeLinear", "Cast", "Identity", "Transpose", NULL};
    for (int steps = 0; value >= 0 && steps < 8; steps++) {
        const om_value *v = &g->values[value];
        if (v->constant) return value;
        if (v->producer < 0) return -1;
        const om_node *n = &g->nodes[v->producer];
        if (!strcmp(n->op, "Constant")) return value;
        if (!is_op(n, wrappers) || n->n_inputs < 1) return -1;
        value = n->inputs[0];
    }
    return -1;
}

/* An Add that is the bias of a MatMul. */
static bool adds_bias(const om_graph *g, const om_node *n)
{
    if (strcmp(n->op, "Add") != 0 || n->n_inputs != 2) return false;
    for (int i = 0; i < 2; i++) {
        int other = n->inputs[1 - i];
        if (constant_behind(g, n->inputs[i]) < 0 || other < 0 || g->values[other].producer < 0) continue;
        if (strcmp(g->nodes[g->values[other].producer].op, "MatMul") == 0) return true;
    }
    return false;
}

int64_t om_graph_params(const om_graph *g)
{
    static const char *const learned[] = {"Conv",
                                          "ConvTranspose",
                                          "ConvInteger",
                                          "Gemm",
                                          "MatMul",
                                          "MatMulInteger",
                                          "BatchNormalization",
                                          "InstanceNormalization",
                                          "PRelu",
                                          "LSTM",
                                          "GRU",
                                          "RNN",
                                          "LayerNormalization",
                                          "GroupNormalization",
                                          NULL};
    bool *counted = om_calloc((size_t)g->n_values, sizeof *counted);
    int64_t sum = counted ? 0 : -1;
    for (int i = 0; counted && i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        if (n->dead || !(is_op(n, learned) || adds_bias(g, n))) continue;
        /* A normalisation's running mean and variance are statistics, not parameters. */
        int last = strcmp(n->op, "BatchNormalization") == 0 ? 3 : n->n_inputs;
        for (int k = 0; k < last && k < n->n_inputs; k++) {
            int v = constant_behind(g, n->inputs[k]);
            if (v < 0 || counted[v]) continue;
            counted[v] = true;
            int64_t count =
                om_shape_count(g->values[v].constant ? &g->values[v].constant->shape : &g->values[v].shape);
            sum += count > 0 ? count : 0;
        }
    }
    om_free(counted);
    return sum;
}
