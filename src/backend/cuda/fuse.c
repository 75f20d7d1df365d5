/* What may be computed together: activations and residuals behind a product, and attention. */
#include <math.h>
#include <string.h>

#include "backend/cuda/lower.h"

static const struct {
    const char *op;
    int act;
} simple[] = {
    {"Relu", OMCU_RELU},   {"Sigmoid", OMCU_SIGMOID}, {"HardSwish", OMCU_HARD_SWISH},
    {"Tanh", OMCU_TANH},   {"Mish", OMCU_MISH},       {"Softplus", OMCU_SOFTPLUS},
    {"Erf", OMCU_ERF},     {"Exp", OMCU_EXP},         {"Log", OMCU_LOG},
    {"Sqrt", OMCU_SQRT},   {"Abs", OMCU_ABS},         {"Neg", OMCU_NEG},
    {"Floor", OMCU_FLOOR}, {"Ceil", OMCU_CEIL},       {"Reciprocal", OMCU_RECIPROCAL},
    {"Round", OMCU_ROUND}, {"Sign", OMCU_SIGN},       {"Softsign", OMCU_SOFTSIGN},
    {"Sin", OMCU_SIN},     {"Cos", OMCU_COS},
};

static bool clip_of(const omcu_lower_state *l, const om_node *n, omcu_act *out)
{
    *out = (omcu_act){OMCU_CLIP, om_node_attr_float(n, "min", -INFINITY),
                      om_node_attr_float(n, "max", INFINITY)};
    int low = omcu_input(n, 1), high = omcu_input(n, 2);
    if (low >= 0 && !omcu_const_scalar(l, low, &out->a)) return false;
    return high < 0 || omcu_const_scalar(l, high, &out->b);
}

bool omcu_unary_of(const omcu_lower_state *l, const om_node *n, omcu_act *out)
{
    for (size_t i = 0; i < sizeof simple / sizeof simple[0]; i++)
        if (strcmp(n->op, simple[i].op) == 0) {
            *out = (omcu_act){simple[i].act, 0, 0};
            return true;
        }
    if (strcmp(n->op, "LeakyRelu") == 0)
        *out = (omcu_act){OMCU_LEAKY, om_node_attr_float(n, "alpha", 0.01f), 0};
    else if (strcmp(n->op, "HardSigmoid") == 0)
        *out = (omcu_act){OMCU_HARD_SIGMOID, om_node_attr_float(n, "alpha", 0.2f),
                          om_node_attr_float(n, "beta", 0.5f)};
    else if (strcmp(n->op, "Elu") == 0) *out = (omcu_act){OMCU_ELU, om_node_attr_float(n, "alpha", 1), 0};
    else if (strcmp(n->op, "Celu") == 0) *out = (omcu_act){OMCU_CELU, om_node_attr_float(n, "alpha", 1), 0};
    else if (strcmp(n->op, "Selu") == 0)
        *out = (omcu_act){OMCU_SELU, om_node_attr_float(n, "alpha", 1.67326319217681884765625f),
                          om_node_attr_float(n, "gamma", 1.05070102214813232421875f)};
    else if (strcmp(n->op, "Gelu") == 0)
        *out = (omcu_act){strcmp(om_node_attr_string(n, "approximate", "none"), "tanh") == 0 ? OMCU_GELU_TANH
                                                                                             : OMCU_GELU,
                          0, 0};
    else if (strcmp(n->op, "Swish") == 0 && om_node_attr_float(n, "alpha", 1) == 1)
        *out = (omcu_act){OMCU_SILU, 0, 0};
    else if (strcmp(n->op, "Clip") == 0) return clip_of(l, n, out);
    else return false;
    return true;
}

static bool inside(const omcu_lower_state *l, int value)
{
    return !l->g->values[value].is_output && l->values[value].n_users > 0;
}

int omcu_only_user(const omcu_lower_state *l, int value, const char *op)
{
    const omcu_value *v = &l->values[value];
    if (!inside(l, value) || v->n_users != 1) return -1;
    const om_node *n = &l->g->nodes[v->users[0]];
    return !op || strcmp(n->op, op) == 0 ? v->users[0] : -1;
}

static int other_input(const om_node *n, int value)
{
    if (n->n_inputs != 2) return OM_NO_VALUE;
    return n->inputs[0] == value ? n->inputs[1] : n->inputs[1] == value ? n->inputs[0] : OM_NO_VALUE;
}

/* value * f(value), where f is one or two nodes: which pair of users begins it. */
static bool gated(omcu_lower_state *l, int value, const char *first, const char *second, int *mul)
{
    const omcu_value *v = &l->values[value];
    if (!inside(l, value) || v->n_users != 2) return false;
    for (int i = 0; i < 2; i++) {
        int a = v->users[i], b = v->users[1 - i];
        if (strcmp(l->g->nodes[a].op, first) != 0 || strcmp(l->g->nodes[b].op, "Mul") != 0) continue;
        int gate = l->g->nodes[a].outputs[0], mid = -1;
        if (second) {
            mid = omcu_only_user(l, gate, second);
            if (mid < 0) continue;
            gate = l->g->nodes[mid].outputs[0];
        }
        if (omcu_only_user(l, gate, "Mul") != b || other_input(&l->g->nodes[b], value) != gate) continue;
        l->done[a] = l->done[b] = true;
        if (mid >= 0) l->done[mid] = true;
        *mul = b;
        return true;
    }
    return false;
}

static bool times(const omcu_lower_state *l, int node, int value, float factor, float slack)
{
    float f;
    int other = other_input(&l->g->nodes[node], value);
    return other >= 0 && omcu_const_scalar(l, other, &f) && fabsf(f - factor) < slack;
}

/* x/sqrt(2) -> erf -> +1 -> times x -> times a half, the half before or behind; as exporters spell GELU. */
static bool gelu(omcu_lower_state *l, int value, int *last)
{
    const omcu_value *v = &l->values[value];
    if (!inside(l, value) || v->n_users != 2) return false;
    for (int i = 0; i < 2; i++) {
        int scale = v->users[i], mul = v->users[1 - i];
        const om_node *s = &l->g->nodes[scale];
        bool divides =
            strcmp(s->op, "Div") == 0 && s->inputs[0] == value && times(l, scale, value, 1.41421356f, 1e-3f);
        if (!divides && !(strcmp(s->op, "Mul") == 0 && times(l, scale, value, 0.70710678f, 1e-3f))) continue;
        int erf = omcu_only_user(l, s->outputs[0], "Erf");
        int add = erf >= 0 ? omcu_only_user(l, l->g->nodes[erf].outputs[0], "Add") : -1;
        if (add < 0 || !times(l, add, l->g->nodes[erf].outputs[0], 1, 1e-6f)) continue;
        int sum = l->g->nodes[add].outputs[0], join = omcu_only_user(l, sum, "Mul"), half = -1;
        if (join < 0 || strcmp(l->g->nodes[mul].op, "Mul") != 0) continue;
        if (join == mul && other_input(&l->g->nodes[mul], value) == sum) {
            half = omcu_only_user(l, l->g->nodes[mul].outputs[0], "Mul");
            if (half < 0 || !times(l, half, l->g->nodes[mul].outputs[0], 0.5f, 1e-6f)) continue;
            *last = half;
        } else if (times(l, mul, value, 0.5f, 1e-6f) &&
                   other_input(&l->g->nodes[join], sum) == l->g->nodes[mul].outputs[0] &&
                   omcu_only_user(l, l->g->nodes[mul].outputs[0], "Mul") == join) {
            *last = join;
        } else if (times(l, join, sum, 0.5f, 1e-6f) &&
                   omcu_only_user(l, l->g->nodes[join].outputs[0], "Mul") == mul) {
            *last = mul;
        } else {
            continue;
        }
        l->done[scale] = l->done[erf] = l->done[add] = l->done[join] = l->done[mul] = l->done[*last] = true;
        return true;
    }
    return false;
}

static bool take_act(omcu_lower_state *l, int *value, omcu_act *act)
{
    int node, user = omcu_only_user(l, *value, NULL);
    if (user >= 0 && l->g->nodes[user].inputs[0] == *value && omcu_unary_of(l, &l->g->nodes[user], act)) {
        l->done[user] = true;
        *value = l->g->nodes[user].outputs[0];
        return true;
    }
    if (gated(l, *value, "Sigmoid", NULL, &node)) *act = (omcu_act){OMCU_SILU, 0, 0};
    else if (gated(l, *value, "Softplus", "Tanh", &node)) *act = (omcu_act){OMCU_MISH, 0, 0};
    else if (gelu(l, *value, &node)) *act = (omcu_act){OMCU_GELU, 0, 0};
    else {
        const omcu_value *v = &l->values[*value];
        float a = 0, b = 0;
        for (int i = 0; i < v->n_users; i++) {
            const om_node *n = &l->g->nodes[v->users[i]];
            if (strcmp(n->op, "HardSigmoid") != 0) continue;
            a = om_node_attr_float(n, "alpha", 0.2f);
            b = om_node_attr_float(n, "beta", 0.5f);
        }
        if (fabsf(a - 1 / 6.0f) > 1e-6f || b != 0.5f || !gated(l, *value, "HardSigmoid", NULL, &node))
            return false;
        *act = (omcu_act){OMCU_HARD_SWISH, 0, 0};
    }
    *value = l->g->nodes[node].outputs[0];
    return true;
}

void omcu_tail_of(omcu_lower_state *l, int value, bool residual, omcu_tail *out)
{
    *out = (omcu_tail){.residual = OM_NO_VALUE, .value = value};
    if (l->how->no_fusion) return;
    take_act(l, &out->value, &out->act1);
    int add = residual ? omcu_only_user(l, out->value, "Add") : -1;
    if (add < 0) return;
    int other = other_input(&l->g->nodes[add], out->value);
    if (other < 0 || other == out->value || omcu_is_const(l, other) || !l->values[other].set) return;
    if (!om_shape_equal(omcu_shape(l, other), omcu_shape(l, out->value))) return;
    l->done[add] = true;
    out->residual = other;
    out->value = l->g->nodes[add].outputs[0];
    take_act(l, &out->value, &out->act2);
}

/* Takes scalings off: value = factor * what is returned. */
static int unscaled(omcu_lower_state *l, int value, float *factor, bool *fits)
{
    int node = l->g->values[value].producer;
    float f;
    if (node < 0 || !l->values[value].expr || l->values[value].written) return value;
    const om_node *n = &l->g->nodes[node];
    bool mul = strcmp(n->op, "Mul") == 0, div = strcmp(n->op, "Div") == 0;
    if ((!mul && !div) || n->n_inputs != 2) return value;
    int from = omcu_is_const(l, n->inputs[1])          ? n->inputs[0]
               : mul && omcu_is_const(l, n->inputs[0]) ? n->inputs[1]
                                                       : -1;
    if (from < 0 || !omcu_const_scalar(l, n->inputs[from == n->inputs[0]], &f)) return value;
    if (!om_shape_equal(omcu_shape(l, from), omcu_shape(l, value))) return value;
    *factor *= div ? 1 / f : f;
    *fits = true;
    return unscaled(l, from, factor, fits);
}

bool omcu_attention_of(omcu_lower_state *l, int node, omcu_attention_match *out)
{
    const om_node *n = &l->g->nodes[node];
    if (l->work != OMCU_F16 || l->how->no_fusion) return false;
    bool scaled = false;
    int nodes[2] = {-1, -1}, value = n->outputs[0], softmax;
    *out = (omcu_attention_match){.scale = 1};
    const om_shape *s = omcu_shape(l, value);
    if (s->rank < 3 || s->rank > 4) return false;
    for (int user; (user = omcu_only_user(l, value, NULL)) >= 0;) {
        const om_node *u = &l->g->nodes[user];
        float f;
        bool mul = strcmp(u->op, "Mul") == 0, div = strcmp(u->op, "Div") == 0 && u->inputs[0] == value;
        int other = mul || div ? other_input(u, value) : -1;
        if (nodes[0] >= 0 || other < 0 || !omcu_const_scalar(l, other, &f)) break;
        out->scale *= div ? 1 / f : f;
        nodes[0] = user;
        value = u->outputs[0];
    }
    softmax = omcu_only_user(l, value, "Softmax");
    if (softmax < 0) return false;
    int64_t axis = om_node_attr_int(&l->g->nodes[softmax], "axis", om_graph_opset(l->g, "") < 13 ? 1 : -1);
    int shares = l->g->nodes[softmax].outputs[0], mul = omcu_only_user(l, shares, "MatMul");
    if ((axis != -1 && axis != s->rank - 1) || mul < 0 || l->g->nodes[mul].inputs[0] != shares) return false;
    out->v = l->g->nodes[mul].inputs[1];
    const om_shape *q = omcu_shape(l, n->inputs[0]), *v = omcu_shape(l, out->v);
    int64_t width = q->rank == s->rank ? q->dim[s->rank - 1] : 0;
    if ((width != 32 && width != 64 && width != 128) || v->rank != s->rank || v->dim[s->rank - 1] != width)
        return false;
    for (int i = 0; i < s->rank - 2; i++)
        if (v->dim[i] != s->dim[i] || q->dim[i] != s->dim[i] ||
            omcu_shape(l, n->inputs[1])->dim[i] != s->dim[i])
            return false;
    if (omcu_shape(l, n->inputs[1])->rank != s->rank || omcu_is_const(l, out->v) || !l->values[out->v].set)
        return false;
    if (omcu_is_const(l, n->inputs[0]) || omcu_is_const(l, n->inputs[1])) return false;
    out->q = unscaled(l, n->inputs[0], &out->scale, &scaled);
    out->k = unscaled(l, n->inputs[1], &out->scale, &scaled);
    out->value = l->g->nodes[mul].outputs[0];
    if (nodes[0] >= 0) l->done[nodes[0]] = true;
    l->done[softmax] = l->done[mul] = true;
    return true;
}
