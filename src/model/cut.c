/* A part of a graph: from some tensors to others. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/graph_priv.h"
#include "model/model.h"

#define MAX_NEAR 3

/* Values by number, without repeats. */
typedef struct picks {
    int *v;
    int n, cap;
} picks;

typedef struct cutting {
    om_graph *g;
    picks from, to;
    bool *is_from;      /* of each value */
    bool *value, *node; /* needed for the outputs, by going back to `from` */
    bool *above;        /* of each node: what `from` is made by, all the way up */
    int *stack;
    int depth;
} cutting;

static int pick(picks *p, int value)
{
    for (int i = 0; i < p->n; i++)
        if (p->v[i] == value) return OM_OK;
    int err = om_grow_int((void **)&p->v, &p->cap, p->n + 1, sizeof *p->v);
    if (err >= 0) p->v[p->n++] = value;
    return err;
}

static int find_node(const om_graph *g, const char *name)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (!g->nodes[i].dead && *g->nodes[i].name && !strcmp(g->nodes[i].name, name)) return i;
    return -1;
}

/* What the user may have meant: near in spelling, or with the word in it. */
static int unknown_name(const om_graph *g, const char *name)
{
    om_str text = {0};
    size_t n = 0;
    int near = 0;
    const char **all = om_alloc(((size_t)g->n_nodes + (size_t)g->n_values + 1) * sizeof *all);
    if (!all) return OM_ERR_NOMEM;
    for (int i = 0; i < g->n_values; i++)
        if (!g->values[i].constant) all[n++] = g->values[i].name;
    for (int i = 0; i < g->n_nodes; i++)
        if (*g->nodes[i].name) all[n++] = g->nodes[i].name;
    const char *best = om_suggest(name, all, n);
    if (best) om_str_addf(&text, "; did you mean '%s'", best), near++;
    for (size_t i = 0; i < n && near < MAX_NEAR && strlen(name) > 2; i++)
        if ((!best || strcmp(all[i], best)) && strstr(all[i], name))
            om_str_addf(&text, "%s'%s'", near++ ? ", " : "; did you mean ", all[i]);
    if (near) om_str_addc(&text, '?');
    om_free(all);
    int err = om_fail(OM_ERR_ARG, "no tensor and no layer is called '%s'%s", name,
                      near ? om_str_get(&text) : "; 'omma model inspect --layers' lists them");
    om_str_fini(&text);
    return err;
}

/* A layer's name stands for what goes into it, or for what comes out. */
static int pick_layer(const om_graph *g, int node, bool outputs, picks *p)
{
    const om_node *n = &g->nodes[node];
    const int *list = outputs ? n->outputs : n->inputs;
    int count = outputs ? n->n_outputs : n->n_inputs, err = OM_OK;
    for (int i = 0; i < count && err >= 0; i++)
        if (list[i] >= 0 && !g->values[list[i]].constant) err = pick(p, list[i]);
    return err;
}

static int resolve(const om_graph *g, const char *const *names, int n, bool outputs, picks *p)
{
    int err = OM_OK;
    for (int i = 0; i < n && err >= 0; i++) {
        int v = om_graph_find(g, names[i]), node = v < 0 ? find_node(g, names[i]) : -1;
        if (v < 0 && node < 0) return unknown_name(g, names[i]);
        if (v < 0) {
            err = pick_layer(g, node, outputs, p);
            continue;
        }
        if (g->values[v].constant)
            return om_fail(OM_ERR_ARG, "'%s' is a constant of the model: nothing to cut at", names[i]);
        if (outputs && g->values[v].producer < 0)
            return om_fail(OM_ERR_ARG, "'%s' is an input of the model: nothing makes it", names[i]);
        err = pick(p, v);
    }
    return err;
}

static int default_picks(const int *list, int n, picks *p)
{
    int err = OM_OK;
    for (int i = 0; i < n && err >= 0; i++) err = pick(p, list[i]);
    return err;
}

static void push(cutting *c, int node, bool *seen)
{
    if (node < 0 || seen[node]) return;
    seen[node] = true;
    c->stack[c->depth++] = node;
}

static int need_name(void *ctx, const char *name)
{
    cutting *c = ctx;
    int v = om_graph_find(c->g, name);
    if (v < 0) return 0;
    c->value[v] = true;
    if (!c->is_from[v]) push(c, c->g->values[v].producer, c->node);
    return 0;
}

/* Nodes that the outputs need, going back as far as `from`. */
static void walk_back(cutting *c)
{
    const om_graph *g = c->g;
    for (int i = 0; i < c->to.n; i++) need_name(c, g->values[c->to.v[i]].name);
    while (c->depth) {
        const om_node *n = &g->nodes[c->stack[--c->depth]];
        for (int i = 0; i < n->n_inputs; i++)
            if (n->inputs[i] >= 0) need_name(c, g->values[n->inputs[i]].name);
        om_node_captures(n, need_name, c);
    }
}

static int above_name(void *ctx, const char *name)
{
    cutting *c = ctx;
    int v = om_graph_find(c->g, name);
    if (v >= 0) push(c, c->g->values[v].producer, c->above);
    return 0;
}

static void walk_above(cutting *c)
{
    const om_graph *g = c->g;
    for (int i = 0; i < c->from.n; i++) push(c, g->values[c->from.v[i]].producer, c->above);
    while (c->depth) {
        const om_node *n = &g->nodes[c->stack[--c->depth]];
        for (int i = 0; i < n->n_inputs; i++)
            if (n->inputs[i] >= 0) push(c, g->values[n->inputs[i]].producer, c->above);
        om_node_captures(n, above_name, c);
    }
}

/* Tensors that cross the cut beside those that were named: made above, read below. */
static void tell_live(const cutting *c, om_str *out)
{
    const om_graph *g = c->g;
    int said = 0;
    for (int v = 0; v < g->n_values && said < 2 * MAX_NEAR; v++) {
        int maker = g->values[v].producer;
        bool crosses = false;
        if (c->is_from[v] || maker < 0 || !c->above[maker]) continue;
        for (int i = 0; i < g->n_nodes && !crosses; i++)
            for (int k = 0; k < g->nodes[i].n_inputs && c->node[i] && !c->above[i]; k++)
                crosses = crosses || g->nodes[i].inputs[k] == v;
        if (crosses) om_str_addf(out, "%s'%s'", said++ ? ", " : "; also live there: ", g->values[v].name);
    }
}

static int check_cut(const cutting *c)
{
    const om_graph *g = c->g;
    for (int i = 0; i < c->from.n; i++)
        if (!c->value[c->from.v[i]])
            return om_fail(OM_ERR_ARG, "no output of the cut depends on '%s'", g->values[c->from.v[i]].name);
    for (int i = 0; i < g->n_inputs; i++) {
        int v = g->inputs[i];
        if (!c->value[v] || c->is_from[v]) continue;
        om_str text = {0};
        tell_live(c, &text);
        int err =
            om_fail(OM_ERR_ARG,
                    "the cut still needs the model's input '%s', which reaches its outputs past what was "
                    "named%s",
                    g->values[v].name, om_str_get(&text));
        om_str_fini(&text);
        return err;
    }
    for (int i = 0; i < c->from.n; i++)
        if (g->values[c->from.v[i]].dtype == OM_DTYPE_NONE)
            return om_fail(OM_ERR_UNSUPPORTED, "'%s' cannot become an input: its type is not known",
                           g->values[c->from.v[i]].name);
    return OM_OK;
}

/* A value that its maker, which stays for another of its outputs, does not make any more. */
static int detach(om_graph *g, int value)
{
    int maker = g->values[value].producer;
    g->values[value].producer = -1;
    if (maker < 0 || g->nodes[maker].dead) return OM_OK;
    int fresh = om_graph_add_value(g, NULL, g->values[value].dtype, &g->values[value].shape);
    if (fresh < 0) return fresh;
    om_node *n = &g->nodes[maker];
    for (int i = 0; i < n->n_outputs; i++)
        if (n->outputs[i] == value) n->outputs[i] = fresh;
    g->values[fresh].producer = maker;
    return OM_OK;
}

static int rewire(cutting *c)
{
    om_graph *g = c->g;
    int err = OM_OK;
    for (int i = 0; i < g->n_nodes; i++)
        if (!g->nodes[i].dead && !c->node[i]) {
            om_graph_remove_node(g, i);
        }
    for (int i = 0; i < g->n_inputs; i++) g->values[g->inputs[i]].is_input = false;
    for (int i = 0; i < g->n_outputs; i++) g->values[g->outputs[i]].is_output = false;
    g->n_inputs = g->n_outputs = 0;
    for (int i = 0; i < c->from.n && err >= 0; i++) {
        err = detach(g, c->from.v[i]);
        if (err >= 0) err = om_graph_push_input(g, c->from.v[i]);
    }
    for (int i = 0; i < c->to.n && err >= 0; i++) err = om_graph_push_output(g, c->to.v[i]);
    for (int i = 0; i < g->n_values; i++)
        if (g->values[i].is_input || g->values[i].is_output) g->values[i].declared = false;
    return err < 0 ? err : om_graph_compact(g);
}

/* Metadata that says what the whole model's outputs are is wrong for a part of it. */
static void forget_family(om_graph *g)
{
    int kept = 0;
    for (int i = 0; i < g->n_metas; i++) {
        om_meta *m = &g->metas[i];
        if (!strncmp(m->key, "omma.", 5) || !strcmp(m->key, "task")) {
            om_free(m->key);
            om_free(m->value);
        } else g->metas[kept++] = *m;
    }
    g->n_metas = kept;
}

static bool same_outputs(const cutting *c)
{
    if (c->to.n != c->g->n_outputs) return false;
    for (int i = 0; i < c->to.n; i++)
        if (c->to.v[i] != c->g->outputs[i]) return false;
    return true;
}

static int cut(cutting *c, const char *const *from, int n_from, const char *const *to, int n_to)
{
    om_graph *g = c->g;
    int err = om_graph_infer_shapes(g);
    if (err >= 0) err = resolve(g, from, n_from, false, &c->from);
    if (err >= 0) err = resolve(g, to, n_to, true, &c->to);
    if (err >= 0 && !n_to) err = default_picks(g->outputs, g->n_outputs, &c->to);
    if (err < 0) return err;
    size_t values = (size_t)g->n_values, nodes = (size_t)g->n_nodes;
    c->is_from = om_calloc(values, 1);
    c->value = om_calloc(values, 1);
    c->node = om_calloc(nodes, 1);
    c->above = om_calloc(nodes, 1);
    c->stack = om_calloc(nodes + 1, sizeof *c->stack);
    if (!c->is_from || !c->value || !c->node || !c->above || !c->stack) return OM_ERR_NOMEM;
    for (int i = 0; i < c->from.n; i++) c->is_from[c->from.v[i]] = true;
    walk_back(c);
    for (int i = 0; i < g->n_inputs && !n_from; i++) /* those that the outputs still need */
        if (c->value[g->inputs[i]]) {
            c->is_from[g->inputs[i]] = true;
            if ((err = pick(&c->from, g->inputs[i])) < 0) return err;
        }
    walk_above(c);
    err = check_cut(c);
    if (err < 0) return err;
    bool same = same_outputs(c);
    err = rewire(c);
    if (err >= 0 && !same) forget_family(g);
    return err < 0 ? err : om_graph_infer_shapes(g);
}

int om_graph_cut(om_graph *g, const char *const *from, int n_from, const char *const *to, int n_to)
{
    cutting c = {.g = g};
    int err = cut(&c, from, n_from, to, n_to);
    void *owned[] = {c.from.v, c.to.v, c.is_from, c.value, c.node, c.above, c.stack};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) om_free(owned[i]);
    return err;
}
