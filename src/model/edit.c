/* Edits of a graph's structure: rewiring, removing, packing, ordering. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/graph_priv.h"

/* The names that subgraphs of `g` take from outside, changed from one to another. */
static int rename_captures(om_graph *g, const char *from, const char *to)
{
    for (int i = 0; i < g->n_nodes; i++) {
        om_node *n = &g->nodes[i];
        for (int a = 0; a < n->n_attrs; a++) {
            om_attr *attr = &n->attrs[a];
            for (size_t k = 0; attr->graphs && k < attr->n; k++) {
                om_graph *sub = attr->graphs[k];
                int v = om_graph_find(sub, from), err = OM_OK;
                if (v >= 0 && !om_value_is_free(&sub->values[v])) continue; /* its own value of that name */
                int known = om_graph_find(sub, to);
                if (v >= 0 && known < 0) err = om_graph_rename_value(sub, v, to);
                else if (v >= 0 && (err = om_graph_replace_uses(sub, v, known)) >= 0)
                    err = om_graph_compact(sub);
                if (err >= 0) err = rename_captures(sub, from, to);
                if (err < 0) return err;
            }
        }
    }
    return OM_OK;
}

static void move_inputs(om_graph *g, int from, int to)
{
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_inputs; k++)
            if (g->nodes[i].inputs[k] == from) g->nodes[i].inputs[k] = to;
}

/* `to` can take over the name of an output unless its own name is one that others outside the graph know. */
static bool may_rename(const om_graph *g, int v) { return !g->values[v].is_input && !g->values[v].is_output; }

static void hand_over_output(om_graph *g, int from, int to)
{
    for (int i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == from) g->outputs[i] = to;
    om_value *f = &g->values[from], *t = &g->values[to];
    f->is_output = false;
    t->is_output = true;
    bool declared = f->declared;
    f->declared = t->declared;
    t->declared = declared;
    if (t->shape.rank < 0) t->shape = f->shape;
    if (t->dtype == OM_DTYPE_NONE) t->dtype = f->dtype;
}

int om_graph_replace_uses(om_graph *g, int from, int to)
{
    if (from < 0 || to < 0 || from >= g->n_values || to >= g->n_values)
        return om_fail(OM_ERR_ARG, "graph: no value %d", from < 0 || from >= g->n_values ? from : to);
    if (from == to) return OM_OK;
    if (g->values[from].is_output) {
        int target = to;
        if (!may_rename(g, to)) {
            int copy = om_graph_add_node(g, "Identity", NULL, &to, 1, 1);
            if (copy < 0) return copy;
            target = om_node_out(g, copy);
        }
        om_names_swap(g->index, g, from, target);
        hand_over_output(g, from, target);
        move_inputs(g, from, to);
        /* Subgraphs that took `from` read the new holder of that name; those that took `to` follow its new
         * name. */
        return target == to ? rename_captures(g, g->values[from].name, g->values[to].name) : OM_OK;
    }
    move_inputs(g, from, to);
    return rename_captures(g, g->values[from].name, g->values[to].name);
}

void om_graph_remove_node(om_graph *g, int node)
{
    om_node *n = &g->nodes[node];
    n->dead = true;
    for (int i = 0; i < n->n_outputs; i++)
        if (n->outputs[i] >= 0 && g->values[n->outputs[i]].producer == node)
            g->values[n->outputs[i]].producer = -1;
}

typedef struct marks {
    const om_graph *g;
    bool *used;
} marks;

static int mark_name(void *ctx, const char *name)
{
    marks *m = ctx;
    int v = om_graph_find(m->g, name);
    if (v >= 0) m->used[v] = true;
    return 0;
}

static void mark_used(const om_graph *g, bool *used)
{
    marks m = {g, used};
    for (int i = 0; i < g->n_inputs; i++) used[g->inputs[i]] = true;
    for (int i = 0; i < g->n_outputs; i++) used[g->outputs[i]] = true;
    for (int i = 0; i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        if (n->dead) continue;
        for (int k = 0; k < n->n_inputs; k++)
            if (n->inputs[k] >= 0) used[n->inputs[k]] = true;
        for (int k = 0; k < n->n_outputs; k++)
            if (n->outputs[k] >= 0) used[n->outputs[k]] = true;
        om_node_captures(n, mark_name, &m);
    }
}

static void renumber(int *list, int n, const int *to)
{
    for (int i = 0; i < n; i++)
        if (list[i] >= 0) list[i] = to[list[i]];
}

static void pack_nodes(om_graph *g)
{
    int kept = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].dead) {
            om_node_fini(&g->nodes[i]);
            continue;
        }
        if (kept != i) g->nodes[kept] = g->nodes[i];
        kept++;
    }
    g->n_nodes = kept;
}

static void set_producers(om_graph *g)
{
    for (int i = 0; i < g->n_values; i++) g->values[i].producer = -1;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; !g->nodes[i].dead && k < g->nodes[i].n_outputs; k++)
            if (g->nodes[i].outputs[k] >= 0) g->values[g->nodes[i].outputs[k]].producer = i;
}

int om_graph_compact(om_graph *g)
{
    bool *used = om_calloc((size_t)g->n_values, sizeof *used);
    int *to = om_alloc((size_t)g->n_values * sizeof *to);
    int kept = 0, err = OM_ERR_NOMEM;
    if (!used || !to) goto fail;
    mark_used(g, used);
    pack_nodes(g);
    for (int i = 0; i < g->n_values; i++) {
        to[i] = used[i] ? kept : OM_NO_VALUE;
        if (!used[i]) om_value_fini(&g->values[i]);
        else if (kept != i) g->values[kept] = g->values[i];
        kept += used[i];
    }
    g->n_values = kept;
    renumber(g->inputs, g->n_inputs, to);
    renumber(g->outputs, g->n_outputs, to);
    for (int i = 0; i < g->n_nodes; i++) {
        renumber(g->nodes[i].inputs, g->nodes[i].n_inputs, to);
        renumber(g->nodes[i].outputs, g->nodes[i].n_outputs, to);
    }
    set_producers(g);
    err = om_names_rebuild(g->index, g);
fail:
    om_free(used);
    om_free(to);
    return err;
}

/* Kahn's algorithm with a heap-free twist: the order stays as it is wherever that is already right, because
 * ready nodes are taken in a depth-first walk from each node in its present place. */
typedef struct walk {
    om_graph *g;
    uint8_t *state; /* 0 not seen, 1 on the stack, 2 placed */
    int *stack, *next_dep;
    int **deps; /* of each node: producers of its inputs and captures */
    int *n_deps, *cap_deps;
    int *order, n_order;
    int node; /* whose dependencies are being gathered */
} walk;

static int add_dep(walk *w, int value)
{
    int producer = value >= 0 ? w->g->values[value].producer : -1, n = w->node;
    if (producer < 0 || w->g->nodes[producer].dead) return OM_OK;
    int err = om_grow_int((void **)&w->deps[n], &w->cap_deps[n], w->n_deps[n] + 1, sizeof(int));
    if (err < 0) return err;
    w->deps[n][w->n_deps[n]++] = producer;
    return OM_OK;
}

static int add_capture(void *ctx, const char *name)
{
    walk *w = ctx;
    return add_dep(w, om_graph_find(w->g, name));
}

static int gather_deps(walk *w)
{
    for (w->node = 0; w->node < w->g->n_nodes; w->node++) {
        const om_node *n = &w->g->nodes[w->node];
        int err = OM_OK;
        for (int k = 0; !n->dead && k < n->n_inputs && err >= 0; k++) err = add_dep(w, n->inputs[k]);
        if (err >= 0 && !n->dead) err = om_node_captures(n, add_capture, w);
        if (err < 0) return err;
    }
    return OM_OK;
}

static int place(walk *w, int root)
{
    int depth = 0;
    w->stack[depth++] = root;
    w->state[root] = 1;
    while (depth) {
        int n = w->stack[depth - 1];
        if (w->next_dep[n] == w->n_deps[n]) {
            w->state[n] = 2;
            w->order[w->n_order++] = n;
            depth--;
            continue;
        }
        int d = w->deps[n][w->next_dep[n]++];
        char label[OM_NODE_LABEL];
        if (w->state[d] == 1)
            return om_fail(OM_ERR_FORMAT, "%s is on a cycle", om_node_label(w->g, &w->g->nodes[d], label));
        if (w->state[d]) continue;
        w->state[d] = 1;
        w->stack[depth++] = d;
    }
    return OM_OK;
}

static int reorder(walk *w)
{
    om_graph *g = w->g;
    om_node *sorted = om_alloc((size_t)g->n_nodes * sizeof *sorted);
    if (!sorted) return OM_ERR_NOMEM;
    for (int i = 0; i < g->n_nodes; i++) sorted[i] = g->nodes[w->order[i]];
    om_free(g->nodes);
    g->nodes = sorted;
    g->cap_nodes = g->n_nodes;
    set_producers(g);
    return OM_OK;
}

int om_graph_sort(om_graph *g)
{
    size_t n = (size_t)g->n_nodes;
    walk w = {.g = g,
              .state = om_calloc(n, 1),
              .stack = om_calloc(n, sizeof(int)),
              .next_dep = om_calloc(n, sizeof(int)),
              .deps = om_calloc(n, sizeof(int *)),
              .n_deps = om_calloc(n, sizeof(int)),
              .cap_deps = om_calloc(n, sizeof(int)),
              .order = om_calloc(n, sizeof(int))};
    int err = OM_ERR_NOMEM;
    if (!w.state || !w.stack || !w.next_dep || !w.deps || !w.n_deps || !w.cap_deps || !w.order) goto fail;
    err = gather_deps(&w);
    for (int i = 0; err >= 0 && i < g->n_nodes; i++)
        if (!w.state[i]) err = place(&w, i);
    bool moved = false;
    for (int i = 0; err >= 0 && i < g->n_nodes; i++) moved = moved || w.order[i] != i;
    if (moved) err = reorder(&w);
fail:
    for (size_t i = 0; w.deps && i < n; i++) om_free(w.deps[i]);
    void *owned[] = {w.state, w.stack, w.next_dep, w.deps, w.n_deps, w.cap_deps, w.order};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) om_free(owned[i]);
    return err;
}
