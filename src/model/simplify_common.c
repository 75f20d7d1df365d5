/* The same constant twice, the same node twice: once is enough. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/simplify.h"

typedef struct keyed {
    uint64_t key;
    int item;
} keyed;

static uint64_t mix(uint64_t h, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15ull;
        h ^= h >> 29;
    }
    for (; len; len--, p++) h = (h ^ *p) * 1099511628211ull;
    return h;
}

static uint64_t mix_text(uint64_t h, const char *s) { return mix(h, s, strlen(s) + 1); }

static int by_key(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    return x->key != y->key ? (x->key < y->key ? -1 : 1) : x->item - y->item;
}

static bool same_const(const om_const *a, const om_const *b)
{
    return a->dtype == b->dtype && a->size == b->size && om_shape_equal(&a->shape, &b->shape) && a->data &&
           b->data && !memcmp(a->data, b->data, a->size);
}

static void move_uses(om_simplifier *s, int from, int to)
{
    s->uses[to] += s->uses[from];
    s->uses[from] = 0;
}

/* Initializers that older files list among their inputs can be set from outside, and stay apart. */
static int merge_constants(om_simplifier *s)
{
    om_graph *g = s->g;
    int n = 0, merged = 0, err = OM_OK;
    keyed *list = om_alloc(((size_t)g->n_values + 1) * sizeof *list);
    if (!list) return OM_ERR_NOMEM;
    for (int i = 0; i < g->n_values; i++) {
        const om_value *v = &g->values[i];
        const om_const *c = v->constant;
        if (!c || !c->data || v->is_output || v->listed || !s->uses[i]) continue;
        uint64_t h = mix(c->dtype, c->shape.dim, (size_t)c->shape.rank * sizeof c->shape.dim[0]);
        list[n++] = (keyed){mix(h, c->data, c->size), i};
    }
    qsort(list, (size_t)n, sizeof *list, by_key);
    for (int i = 1, first = 0; i < n && err >= 0; i++) {
        int a = list[first].item, b = list[i].item;
        if (list[i].key != list[first].key || !same_const(g->values[a].constant, g->values[b].constant)) {
            first = i;
            continue;
        }
        err = om_graph_replace_uses(g, b, a);
        move_uses(s, b, a);
        merged++;
    }
    om_free(list);
    return err < 0 ? err : merged;
}

static bool same_attr(const om_attr *a, const om_attr *b)
{
    if (a->type != b->type || a->n != b->n || a->s_len != b->s_len) return false;
    switch (a->type) {
    case OM_ATTR_FLOAT: return !memcmp(&a->f, &b->f, sizeof a->f);
    case OM_ATTR_INT: return a->i == b->i;
    case OM_ATTR_STRING: return !memcmp(a->s, b->s, a->s_len);
    case OM_ATTR_FLOATS: return !a->n || !memcmp(a->floats, b->floats, a->n * sizeof *a->floats);
    case OM_ATTR_INTS: return !a->n || !memcmp(a->ints, b->ints, a->n * sizeof *a->ints);
    case OM_ATTR_STRINGS:
        for (size_t i = 0; i < a->n; i++)
            if (strcmp(a->strings[i], b->strings[i])) return false;
        return true;
    case OM_ATTR_TENSOR:
    case OM_ATTR_TENSORS:
        for (size_t i = 0; i < a->n; i++)
            if (!same_const(a->tensors[i], b->tensors[i])) return false;
        return true;
    default: return false; /* graphs, and what is kept as bytes */
    }
}

static bool same_node(const om_node *a, const om_node *b)
{
    if (strcmp(a->op, b->op) || strcmp(a->domain, b->domain) || a->n_inputs != b->n_inputs ||
        a->n_outputs != b->n_outputs || a->n_attrs != b->n_attrs)
        return false;
    if (a->n_inputs && memcmp(a->inputs, b->inputs, (size_t)a->n_inputs * sizeof *a->inputs)) return false;
    for (int i = 0; i < a->n_outputs; i++)
        if ((a->outputs[i] < 0) != (b->outputs[i] < 0)) return false;
    for (int i = 0; i < a->n_attrs; i++) {
        const om_attr *other = om_node_attr(b, a->attrs[i].name);
        if (!other || !same_attr(&a->attrs[i], other)) return false;
    }
    return true;
}

static bool may_differ(const om_node *n)
{
    static const char *const ops[] = {
        "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
        "Multinomial",  "Bernoulli",        "Dropout"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (!strcmp(n->op, ops[i])) return true;
    return *n->domain && strcmp(n->domain, "ai.onnx"); /* who knows */
}

static bool has_output(const om_graph *g, const om_node *n)
{
    for (int i = 0; i < n->n_outputs; i++)
        if (n->outputs[i] >= 0 && g->values[n->outputs[i]].is_output) return true;
    return false;
}

/* Node `b` goes, its readers read `a`'s outputs. */
static int merge_node(om_simplifier *s, int a, int b)
{
    om_graph *g = s->g;
    for (int i = 0; i < g->nodes[b].n_outputs; i++) {
        int from = g->nodes[b].outputs[i], to = g->nodes[a].outputs[i];
        if (from < 0) continue;
        int err = om_graph_replace_uses(g, from, to);
        if (err < 0) return err;
        move_uses(s, from, to);
    }
    om_simplify_remove(s, b);
    return 1;
}

static uint64_t node_key(const om_node *n)
{
    uint64_t h = mix_text(mix_text(1, n->op), n->domain);
    return mix(h, n->inputs, (size_t)n->n_inputs * sizeof *n->inputs);
}

/* One sweep: nodes that become equal by it are for the next round. */
static int merge_nodes(om_simplifier *s)
{
    om_graph *g = s->g;
    int n = 0, merged = 0, err = OM_OK;
    keyed *list = om_alloc(((size_t)g->n_nodes + 1) * sizeof *list);
    if (!list) return OM_ERR_NOMEM;
    for (int i = 0; i < g->n_nodes; i++)
        if (!g->nodes[i].dead && !may_differ(&g->nodes[i])) list[n++] = (keyed){node_key(&g->nodes[i]), i};
    qsort(list, (size_t)n, sizeof *list, by_key);
    for (int i = 0; i < n && err >= 0; i++)
        for (int k = i + 1; k < n && list[k].key == list[i].key && err >= 0; k++) {
            int a = list[i].item, b = list[k].item;
            if (g->nodes[a].dead || g->nodes[b].dead || has_output(g, &g->nodes[b]) ||
                !same_node(&g->nodes[a], &g->nodes[b]))
                continue;
            err = merge_node(s, a, b);
            if (err > 0) merged++;
        }
    om_free(list);
    return err < 0 ? err : merged;
}

int om_simplify_common(om_simplifier *s)
{
    int err = om_simplify_grow(s);
    int constants = err < 0 ? err : merge_constants(s);
    int nodes = constants < 0 ? constants : merge_nodes(s);
    return nodes < 0 ? nodes : constants + nodes;
}
