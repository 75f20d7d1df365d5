/* Fewer nodes that compute the same: the rounds, and the edits that the passes share. */
#include "model/simplify.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define MAX_ROUNDS 64
#define MAX_INTS 4096

static int count_capture(void *ctx, const char *name)
{
    om_simplifier *s = ctx;
    int v = om_graph_find(s->g, name);
    if (v >= 0) s->uses[v]++;
    return 0;
}

static void count_uses(om_simplifier *s)
{
    const om_graph *g = s->g;
    for (int i = 0; i < g->n_outputs; i++) s->uses[g->outputs[i]]++;
    for (int i = 0; i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        if (n->dead) continue;
        for (int k = 0; k < n->n_inputs; k++)
            if (n->inputs[k] >= 0) s->uses[n->inputs[k]]++;
        om_node_captures(n, count_capture, s);
    }
}

int om_simplifier_init(om_simplifier *s, om_graph *g)
{
    *s = (om_simplifier){.g = g, .cap = g->n_values};
    s->uses = om_calloc((size_t)g->n_values + 1, sizeof *s->uses);
    if (!s->uses) return OM_ERR_NOMEM;
    count_uses(s);
    return OM_OK;
}

void om_simplifier_fini(om_simplifier *s)
{
    om_free(s->uses);
    s->uses = NULL;
}

int om_simplify_grow(om_simplifier *s)
{
    int n = s->g->n_values;
    if (n <= s->cap) return OM_OK;
    int *grown = om_realloc_array(s->uses, (size_t)n * 2, sizeof *grown);
    if (!grown) return OM_ERR_NOMEM;
    memset(grown + s->cap, 0, (size_t)(n * 2 - s->cap) * sizeof *grown);
    s->uses = grown;
    s->cap = n * 2;
    return OM_OK;
}

bool om_simplify_is(const om_simplifier *s, int node, const char *op)
{
    const om_node *n = node < 0 ? NULL : &s->g->nodes[node];
    return n && !n->dead && (!*n->domain || !strcmp(n->domain, "ai.onnx")) && !strcmp(n->op, op);
}

int om_simplify_maker(const om_simplifier *s, int value, const char *op)
{
    int node = value < 0 ? -1 : s->g->values[value].producer;
    return om_simplify_is(s, node, op) && s->g->nodes[node].outputs[0] == value ? node : -1;
}

bool om_simplify_sole(const om_simplifier *s, int value)
{
    return s->uses[value] == 1 && !s->g->values[value].is_output;
}

int om_simplify_in(const om_simplifier *s, int node, int k)
{
    const om_node *n = &s->g->nodes[node];
    return k < n->n_inputs ? n->inputs[k] : OM_NO_VALUE;
}

const om_const *om_simplify_const(const om_simplifier *s, int node, int k)
{
    int v = om_simplify_in(s, node, k);
    return v < 0 ? NULL : s->g->values[v].constant;
}

int om_simplify_ints(const om_simplifier *s, int node, int k, int64_t *out, int max)
{
    const om_const *c = om_simplify_const(s, node, k);
    if (om_simplify_in(s, node, k) < 0) return -2;
    if (!c || !c->data || (c->dtype != OM_DTYPE_I64 && c->dtype != OM_DTYPE_I32)) return -1;
    int64_t n = om_shape_count(&c->shape);
    if (n < 0 || n > max || n > MAX_INTS) return -1;
    for (int64_t i = 0; i < n; i++)
        out[i] = c->dtype == OM_DTYPE_I64 ? ((const int64_t *)c->data)[i] : ((const int32_t *)c->data)[i];
    return (int)n;
}

double om_simplify_number(const om_const *c, int64_t i)
{
    uint32_t bits;
    float f;
    switch (c->dtype) {
    case OM_DTYPE_F32: return ((const float *)c->data)[i];
    case OM_DTYPE_F64: return ((const double *)c->data)[i];
    case OM_DTYPE_F16: return om_f16_to_f32(((const uint16_t *)c->data)[i]);
    case OM_DTYPE_BF16:
        bits = (uint32_t)((const uint16_t *)c->data)[i] << 16;
        memcpy(&f, &bits, sizeof f);
        return f;
    case OM_DTYPE_I64: return (double)((const int64_t *)c->data)[i];
    case OM_DTYPE_U64: return (double)((const uint64_t *)c->data)[i];
    case OM_DTYPE_I32: return ((const int32_t *)c->data)[i];
    case OM_DTYPE_U32: return ((const uint32_t *)c->data)[i];
    case OM_DTYPE_I16: return ((const int16_t *)c->data)[i];
    case OM_DTYPE_U16: return ((const uint16_t *)c->data)[i];
    case OM_DTYPE_I8: return ((const int8_t *)c->data)[i];
    default: /* U8 and BOOL */ return ((const uint8_t *)c->data)[i];
    }
}

int om_simplify_list(const om_simplifier *s, int node, const char *attr, int k, int64_t *out, int max)
{
    int n = om_node_attr_ints(&s->g->nodes[node], attr, out, max);
    if (n > max) return -1;
    return n >= 0 ? n : om_simplify_ints(s, node, k, out, max);
}

int om_simplify_set_input(om_simplifier *s, int node, int k, int value)
{
    om_node *n = &s->g->nodes[node];
    if (k >= n->n_inputs) {
        int *grown = om_realloc_array(n->inputs, (size_t)k + 1, sizeof *grown);
        if (!grown) return OM_ERR_NOMEM;
        n->inputs = grown;
        while (n->n_inputs <= k) n->inputs[n->n_inputs++] = OM_NO_VALUE;
    }
    int err = om_simplify_grow(s);
    if (err < 0) return err;
    if (n->inputs[k] >= 0) s->uses[n->inputs[k]]--;
    if (value >= 0) s->uses[value]++;
    n->inputs[k] = value;
    return OM_OK;
}

int om_simplify_remake(om_simplifier *s, int node, const char *op, const int *inputs, int n_inputs)
{
    om_node *n = &s->g->nodes[node];
    char *copy = om_strdup(op);
    int *list = om_alloc((size_t)n_inputs * sizeof *list);
    int err = copy && list ? om_simplify_grow(s) : OM_ERR_NOMEM;
    if (err < 0) {
        om_free(copy);
        om_free(list);
        return err;
    }
    for (int i = 0; i < n_inputs; i++)
        if ((list[i] = inputs[i]) >= 0) s->uses[list[i]]++;
    for (int i = 0; i < n->n_inputs; i++)
        if (n->inputs[i] >= 0) s->uses[n->inputs[i]]--;
    for (int i = 0; i < n->n_attrs; i++) om_attr_fini(&n->attrs[i]);
    n->n_attrs = 0;
    om_free(n->op);
    om_free(n->inputs);
    n->op = copy;
    n->inputs = list;
    n->n_inputs = n_inputs;
    return OM_OK;
}

void om_simplify_remove(om_simplifier *s, int node)
{
    const om_node *n = &s->g->nodes[node];
    for (int i = 0; i < n->n_inputs; i++)
        if (n->inputs[i] >= 0) s->uses[n->inputs[i]]--;
    om_graph_remove_node(s->g, node);
}

int om_simplify_bypass(om_simplifier *s, int node, int value)
{
    om_graph *g = s->g;
    int out = om_node_out(g, node);
    const om_value *v = &g->values[value];
    if (out < 0) return 0;
    if (g->values[out].is_output && (v->is_input || v->is_output || v->producer < 0)) return 0;
    int err = om_graph_replace_uses(g, out, value);
    if (err < 0) return err;
    s->uses[value] += s->uses[out];
    s->uses[out] = 0;
    om_simplify_remove(s, node);
    return 1;
}

int om_simplify_add_ints(om_simplifier *s, const int64_t *v, int n)
{
    int value = om_graph_add_const_i64(s->g, NULL, v, n);
    int err = value < 0 ? value : om_simplify_grow(s);
    return err < 0 ? err : value;
}

int om_simplify_own(om_simplifier *s, int node, int k, om_const **out)
{
    om_graph *g = s->g;
    int v = om_simplify_in(s, node, k);
    if (om_simplify_sole(s, v)) {
        *out = g->values[v].constant;
        return OM_OK;
    }
    const om_const *c = g->values[v].constant;
    int copy = om_graph_add_const(g, NULL, c->dtype, &c->shape, c->data);
    int err = copy < 0 ? copy : om_simplify_set_input(s, node, k, copy);
    *out = err < 0 ? NULL : g->values[copy].constant;
    return err;
}

static int mark_capture(void *ctx, const char *name)
{
    om_simplifier *s = ctx;
    int v = om_graph_find(s->g, name);
    if (v >= 0) s->uses[v] = 1;
    return 0;
}

/* From the outputs backwards; `uses` become marks, so this is a round's last pass. */
int om_simplify_dead(om_simplifier *s)
{
    om_graph *g = s->g;
    int removed = 0, err = om_graph_sort(g);
    if (err >= 0) err = om_simplify_grow(s);
    if (err < 0) return err;
    memset(s->uses, 0, (size_t)s->cap * sizeof *s->uses);
    for (int i = 0; i < g->n_outputs; i++) s->uses[g->outputs[i]] = 1;
    for (int i = g->n_nodes; i-- > 0;) {
        const om_node *n = &g->nodes[i];
        bool wanted = false;
        if (n->dead) continue;
        for (int k = 0; k < n->n_outputs; k++)
            wanted = wanted || (n->outputs[k] >= 0 && s->uses[n->outputs[k]]);
        if (!wanted) {
            om_graph_remove_node(g, i);
            removed++;
            continue;
        }
        for (int k = 0; k < n->n_inputs; k++)
            if (n->inputs[k] >= 0) s->uses[n->inputs[k]] = 1;
        om_node_captures(n, mark_capture, s);
    }
    return removed;
}

typedef int om_node_pass(om_simplifier *s, int node);

static int each_node(om_simplifier *s, om_node_pass *pass)
{
    for (int i = 0; i < s->g->n_nodes; i++) {
        const om_node *n = &s->g->nodes[i];
        if (n->dead || (*n->domain && strcmp(n->domain, "ai.onnx")) || n->n_outputs < 1) continue;
        int r = pass(s, i);
        if (r < 0) return r;
        s->changes += r;
    }
    return OM_OK;
}

static int round_of(om_simplifier *s, unsigned flags)
{
    static const struct {
        unsigned flag;
        om_node_pass *node;
        int (*graph)(om_simplifier *s);
    } passes[] = {
        {OM_SIMPLIFY_FOLD, NULL, om_simplify_fold},
        {OM_SIMPLIFY_IDENTITY, om_simplify_identity, NULL},
        {OM_SIMPLIFY_COMMON, NULL, om_simplify_common},
        {OM_SIMPLIFY_MERGE, om_simplify_merge, NULL},
        {OM_SIMPLIFY_BATCHNORM, om_simplify_batchnorm, NULL},
        {OM_SIMPLIFY_SCALE, om_simplify_scale, NULL},
        {OM_SIMPLIFY_DEAD, NULL, om_simplify_dead},
    };
    for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++) {
        if (!(flags & passes[i].flag)) continue;
        int r = passes[i].node ? each_node(s, passes[i].node) : passes[i].graph(s);
        if (r < 0) return r;
        s->changes += r;
    }
    return OM_OK;
}

static int simplify(om_graph *g, unsigned flags, int *changes)
{
    om_simplifier s;
    int err = om_graph_infer_shapes(g);
    if (err < 0) return err;
    err = om_simplifier_init(&s, g);
    if (err >= 0) err = round_of(&s, flags);
    om_simplifier_fini(&s);
    *changes = s.changes;
    return err < 0 ? err : om_graph_compact(g);
}

int om_graph_simplify(om_graph *g, unsigned flags)
{
    int changes = 1, err = OM_OK;
    for (int round = 0; round < MAX_ROUNDS && changes && err >= 0; round++)
        err = simplify(g, flags, &changes);
    return err < 0 ? err : om_graph_infer_shapes(g);
}

int om_graph_fold_batchnorm(om_graph *g)
{
    int changes, err = simplify(g, OM_SIMPLIFY_BATCHNORM, &changes);
    return err < 0 ? err : changes;
}

int om_graph_eliminate_dead(om_graph *g)
{
    om_simplifier s;
    int err = om_simplifier_init(&s, g), removed = err < 0 ? err : om_simplify_dead(&s);
    om_simplifier_fini(&s);
    err = removed < 0 ? removed : om_graph_compact(g);
    return err < 0 ? err : removed;
}
