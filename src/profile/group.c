#include "profile/group.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

/* Changes places: the nodes' names and those kept aside. */
static void swap_names(om_tags *t)
{
    for (int i = 0; i < t->graph->n_nodes; i++) {
        char *name = t->graph->nodes[i].name;
        t->graph->nodes[i].name = t->names[i];
        t->names[i] = name;
    }
}

static void free_names(om_tags *t)
{
    for (int i = 0; t->names && i < t->graph->n_nodes; i++) om_free(t->names[i]);
    om_free(t->names);
    *t = (om_tags){0};
}

int om_tags_put(om_graph *g, om_tags *t)
{
    *t = (om_tags){.graph = g, .names = om_calloc((size_t)g->n_nodes + 1, sizeof *t->names)};
    bool ok = t->names;
    for (int i = 0; i < g->n_nodes && ok; i++) ok = (t->names[i] = om_sprintf("@%d@", i));
    if (ok) swap_names(t);
    else free_names(t);
    return ok ? OM_OK : om_fail_nomem("the layers' names");
}

void om_tags_remove(om_tags *t)
{
    if (t->names) swap_names(t);
    free_names(t);
}

int om_tag_next(const char **text)
{
    for (const char *at = *text; (at = strchr(at, '@')); at++) {
        char *end;
        if (!isdigit((unsigned char)at[1])) continue;
        long n = strtol(at + 1, &end, 10);
        if (*end != '@' || n > INT32_MAX) continue;
        *text = end + 1;
        return (int)n;
    }
    *text += strlen(*text);
    return -1;
}

bool om_node_is_depthwise(const om_graph *g, const om_node *n)
{
    int64_t groups = om_node_attr_int(n, "group", 1);
    if (strcmp(n->op, "Conv") || groups < 2 || n->inputs[0] < 0) return false;
    const om_shape *in = &g->values[n->inputs[0]].shape;
    return in->rank > 1 && in->dim[1] == groups;
}

bool om_node_is_pointwise(const om_graph *g, const om_node *n)
{
    if (strcmp(n->op, "Conv") || n->n_inputs < 2 || n->inputs[1] < 0) return false;
    const om_shape *w = &g->values[n->inputs[1]].shape;
    for (int i = 2; i < w->rank; i++)
        if (w->dim[i] != 1) return false;
    return w->rank > 2 && om_node_attr_int(n, "group", 1) == 1;
}

/* What the assignment works on. */
typedef struct grouping {
    const om_graph *g;
    om_profile *p;
    int *owner;
    int *first_use, *next_use; /* consumers of a value: chains over (node, input) pairs */
    int *use_node;
    int n_uses;
} grouping;

static int index_uses(grouping *q)
{
    const om_graph *g = q->g;
    size_t uses = 1;
    for (int i = 0; i < g->n_nodes; i++) uses += (size_t)g->nodes[i].n_inputs;
    q->first_use = om_calloc((size_t)g->n_values + 1, sizeof *q->first_use);
    q->next_use = om_calloc(uses, sizeof *q->next_use);
    q->use_node = om_calloc(uses, sizeof *q->use_node);
    if (!q->first_use || !q->next_use || !q->use_node) return om_fail_nomem("the layers' groups");
    for (int v = 0; v < g->n_values; v++) q->first_use[v] = -1;
    for (int i = g->n_nodes - 1; i >= 0; i--)
        for (int k = 0; k < g->nodes[i].n_inputs && !g->nodes[i].dead; k++) {
            int v = g->nodes[i].inputs[k];
            if (v < 0) continue;
            q->use_node[q->n_uses] = i;
            q->next_use[q->n_uses] = q->first_use[v];
            q->first_use[v] = q->n_uses++;
        }
    return OM_OK;
}

static bool is_constant(const grouping *q, int value)
{
    if (value < 0) return true;
    const om_value *v = &q->g->values[value];
    return v->constant || (v->producer >= 0 && q->owner[v->producer] == OM_FOLDED);
}

static bool all_constant(const grouping *q, const om_node *n)
{
    for (int i = 0; i < n->n_inputs; i++)
        if (!is_constant(q, n->inputs[i])) return false;
    return true;
}

/* The layer that all users of the node's outputs are in; OM_NO_LAYER where they differ or are not known. */
static int users_layer(const grouping *q, const om_node *n)
{
    int layer = OM_NO_LAYER;
    for (int o = 0; o < n->n_outputs; o++) {
        int v = n->outputs[o];
        if (v < 0) continue;
        if (q->g->values[v].is_output) return OM_NO_LAYER;
        for (int u = q->first_use[v]; u >= 0; u = q->next_use[u]) {
            int user = q->owner[q->use_node[u]];
            if (user < 0 || (layer >= 0 && user != layer)) return OM_NO_LAYER;
            layer = user;
        }
    }
    return layer;
}

/* The one layer that feeds it; OM_NO_LAYER where there are several or none. */
static int feeder(const grouping *q, const om_node *n)
{
    int layer = OM_NO_LAYER;
    for (int i = 0; i < n->n_inputs; i++) {
        if (is_constant(q, n->inputs[i])) continue;
        int producer = q->g->values[n->inputs[i]].producer;
        int from = producer < 0 ? OM_NO_LAYER : q->owner[producer];
        if (from < 0 || (layer >= 0 && from != layer)) return OM_NO_LAYER;
        layer = from;
    }
    return layer;
}

/* Operators the engine names nowhere went into their users or their feeder: a sigmoid into the activation
 * that multiplies by it, a batch normalisation's scale into the convolution. Quantisation belongs to what is
 * before it, dequantisation to what is behind. */
static int place(const grouping *q, const om_node *n)
{
    if (all_constant(q, n)) return OM_FOLDED;
    bool back = !strcmp(n->op, "QuantizeLinear");
    int layer = back ? feeder(q, n) : users_layer(q, n);
    if (layer >= 0) return layer;
    return back ? users_layer(q, n) : OM_NO_LAYER;
}

/* Done to each number of what came before, or with one more operand. */
static bool is_epilogue(const om_node *n)
{
    static const char *const ops[] = {"Add",
                                      "Sub",
                                      "Mul",
                                      "Div",
                                      "Relu",
                                      "LeakyRelu",
                                      "PRelu",
                                      "Clip",
                                      "Sigmoid",
                                      "Tanh",
                                      "HardSigmoid",
                                      "HardSwish",
                                      "Elu",
                                      "Erf",
                                      "Gelu",
                                      "Softplus",
                                      "Mish",
                                      "Exp",
                                      "Sqrt",
                                      "Pow",
                                      "Cast",
                                      "BatchNormalization",
                                      "QuantizeLinear",
                                      NULL};
    for (const char *const *op = ops; *op; op++)
        if (!strcmp(*op, n->op)) return true;
    return false;
}

/* An engine on a device of its own names only what a step begins with: the rest went into the last step that
 * it takes numbers from. In the graph's order, so that chains follow. */
static void place_epilogues(grouping *q)
{
    for (int i = 0; i < q->g->n_nodes; i++) {
        const om_node *n = &q->g->nodes[i];
        if (n->dead || q->owner[i] != OM_NO_LAYER || !is_epilogue(n)) continue;
        for (int k = 0; k < n->n_inputs; k++) {
            int producer = n->inputs[k] < 0 ? -1 : q->g->values[n->inputs[k]].producer;
            if (producer >= 0 && q->owner[producer] > q->owner[i]) q->owner[i] = q->owner[producer];
        }
    }
}

static void place_all(grouping *q)
{
    for (int pass = 0; pass < 2; pass++)
        for (bool changed = true; changed;) {
            changed = false;
            for (int i = q->g->n_nodes - 1; i >= 0; i--) {
                const om_node *n = &q->g->nodes[i];
                if (n->dead || q->owner[i] != OM_NO_LAYER) continue;
                q->owner[i] = place(q, n);
                /* Only where no user claims it, so that chains are followed from their ends first. */
                bool shared = !strcmp(n->op, "DequantizeLinear");
                if (q->owner[i] == OM_NO_LAYER && pass && !shared) q->owner[i] = feeder(q, n);
                changed |= q->owner[i] != OM_NO_LAYER;
            }
        }
}

/* Steps that engines put between operators: they carry the names of both and are neither. */
static bool is_inserted(const char *type)
{
    static const char *const types[] = {"Reorder",   "reorder", "Input",    "Output",
                                        "Parameter", "Result",  "Reformat", NULL};
    for (const char *const *t = types; *t; t++)
        if (!strcmp(type, *t)) return true;
    return false;
}

/* A fused operator follows its host in the engine's list, and has no implementation of its own. */
static bool is_fused_entry(const om_layer_time *t)
{
    return !t->ran && (!t->exec[0] || !strncmp(t->exec, "undef", 5));
}

/* The words behind the last '_' of an implementation's name: "jit_avx2_FP32". */
static const char *precision_of(const char *exec)
{
    static const char *const names[][2] = {
        {"FP32", "f32"},  {"f32", "f32"},   {"tf32", "tf32"}, {"FP16", "f16"}, {"f16", "f16"},
        {"BF16", "bf16"}, {"bf16", "bf16"}, {"I8", "int8"},   {"i8", "int8"},  {"U8", "int8"},
        {"u8", "int8"},   {"I32", "i32"},   {"i32", "i32"},   {"I64", "i64"},  {"i64", "i64"}};
    const char *last = strrchr(exec, '_');
    last = last ? last + 1 : exec;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(last, names[i][0])) return names[i][1];
    return "";
}

static om_layer *add_layer(om_profile *p, const om_layer_time *t)
{
    void *items = p->layers;
    if (om_grow(&items, &p->cap_layers, p->n_layers + 1, sizeof *p->layers)) return NULL;
    p->layers = items;
    om_layer *l = &p->layers[p->n_layers];
    memset(l, 0, sizeof *l);
    l->step = -1;
    snprintf(l->engine_type, sizeof l->engine_type, "%s", t->type);
    snprintf(l->exec, sizeof l->exec, "%s", t->exec);
    snprintf(l->precision, sizeof l->precision, "%s", precision_of(t->exec));
    l->inserted = is_inserted(t->type);
    p->n_layers++;
    return l;
}

/* The first layer that names a node has it. */
static void claim(grouping *q, const char *name, int layer)
{
    for (const char *text = name; *text;) {
        int node = om_tag_next(&text);
        if (node >= 0 && node < q->g->n_nodes && q->owner[node] == OM_NO_LAYER) q->owner[node] = layer;
    }
    /* A step may be called by the value it makes. */
    for (int v = 0; v < q->g->n_values && !strchr(name, '@'); v++) {
        int node = q->g->values[v].producer;
        if (node < 0 || !q->g->values[v].name || strcmp(q->g->values[v].name, name)) continue;
        if (q->owner[node] == OM_NO_LAYER) q->owner[node] = layer;
    }
}

/* "@12@/abc" with the nodes' own names instead of the tags. */
static char *readable(const om_graph *g, const char *name)
{
    om_str out = {0};
    const char *text = name;
    while (*text) {
        const char *before = text;
        int node = om_tag_next(&text);
        if (node < 0 || node >= g->n_nodes) {
            om_str_add(&out, before);
            break;
        }
        om_str_addn(&out, before, (size_t)(strchr(before, '@') - before));
        const om_node *n = &g->nodes[node];
        om_str_add(&out, n->name && n->name[0]                ? n->name
                         : n->n_outputs && n->outputs[0] >= 0 ? g->values[n->outputs[0]].name
                                                              : n->op);
    }
    return om_str_take(&out);
}

static const char *type_of(const om_graph *g, const om_node *n)
{
    if (om_node_is_depthwise(g, n)) return "Conv dw";
    if (om_node_is_pointwise(g, n)) return "Conv 1x1";
    return n->op;
}

/* How well a node stands for its layer: by its arithmetic; a mere conversion hardly. */
static int64_t weight_of(const om_graph *g, const om_node *n)
{
    int64_t macs = om_node_macs(g, n);
    if (macs > 0) return macs + 2;
    return strcmp(n->op, "DequantizeLinear") && strcmp(n->op, "QuantizeLinear") && strcmp(n->op, "Cast") ? 2
                                                                                                         : 1;
}

/* The nodes of each layer as chains, and the one it is called by; all -1 for none. */
typedef struct chains {
    int *first, *main; /* by layer */
    int *next;         /* by node */
} chains;

static int chain_up(const grouping *q, chains *c)
{
    size_t layers = q->p->n_layers + 1;
    c->first = om_calloc(layers, sizeof *c->first);
    c->main = om_calloc(layers, sizeof *c->main);
    c->next = om_calloc((size_t)q->g->n_nodes + 1, sizeof *c->next);
    if (!c->first || !c->main || !c->next) return om_fail_nomem("the layers' groups");
    for (size_t i = 0; i < layers; i++) c->first[i] = c->main[i] = -1;
    for (int i = q->g->n_nodes - 1; i >= 0; i--) {
        int layer = q->owner[i];
        if (layer < 0 || q->g->nodes[i].dead) continue;
        c->next[i] = c->first[layer];
        c->first[layer] = i;
        int best = c->main[layer];
        if (best < 0 || weight_of(q->g, &q->g->nodes[i]) >= weight_of(q->g, &q->g->nodes[best]))
            c->main[layer] = i;
    }
    return OM_OK;
}

static int64_t value_bytes(const grouping *q, const om_plan *plan, const om_layer *l, int value)
{
    const om_value *v = &q->g->values[value];
    int64_t count = om_shape_count(&v->shape);
    if (count <= 0) return 0;
    if (v->is_input) return count * (int64_t)om_dtype_size(plan->prep.dtype);
    bool floats = v->dtype == OM_DTYPE_F32 || v->dtype == OM_DTYPE_NONE;
    bool weights = is_constant(q, value);
    if (floats && (!strcmp(l->precision, "bf16") || !strcmp(l->precision, "f16"))) return count * 2;
    if (floats && weights && !strcmp(l->precision, "int8")) return count;
    return count * (int64_t)(floats ? 4 : om_dtype_size(v->dtype));
}

/* What a reformat between two operators reads and writes: the value that lies between them. */
static void weigh_inserted(grouping *q, const om_plan *plan, const char *name, om_layer *l)
{
    const char *text = name;
    int from = om_tag_next(&text), to = *text ? om_tag_next(&text) : -1;
    int value = -1;
    if (from < 0 || from >= q->g->n_nodes || to >= q->g->n_nodes) return;
    const om_node *n = &q->g->nodes[from];
    if (to >= 0 || n->n_inputs < 1) value = n->n_outputs ? n->outputs[0] : -1;
    else value = n->inputs[0]; /* behind the model's input */
    if (value < 0) return;
    l->bytes = 2 * value_bytes(q, plan, l, value);
    om_shape_text(&q->g->values[value].shape, l->shape);
}

/* True the first time a value is met for this layer. */
static bool mark(int *seen, int value, int layer)
{
    if (seen[value] == layer + 1) return false;
    seen[value] = layer + 1;
    return true;
}

static bool leaves(const grouping *q, int value, int layer)
{
    if (q->g->values[value].is_output) return true;
    for (int u = q->first_use[value]; u >= 0; u = q->next_use[u])
        if (q->owner[q->use_node[u]] != layer) return true;
    return false;
}

/* A dequantisation that several layers share is none's: each reads what it reads. */
static int source_of(const grouping *q, int value)
{
    while (value >= 0) {
        int producer = q->g->values[value].producer;
        if (producer < 0 || q->owner[producer] != OM_NO_LAYER) break;
        if (strcmp(q->g->nodes[producer].op, "DequantizeLinear")) break;
        value = q->g->nodes[producer].inputs[0];
    }
    return value;
}

/* Bytes that come in from other layers, weights among them, and bytes that go out. */
static void add_node(grouping *q, const om_plan *plan, int node, int *seen)
{
    const om_node *n = &q->g->nodes[node];
    int layer = q->owner[node];
    om_layer *l = &q->p->layers[layer];
    int64_t macs = om_node_macs(q->g, n);
    if (macs > 0) l->macs += macs;
    for (int i = 0; i < n->n_inputs; i++) {
        int v = source_of(q, n->inputs[i]);
        if (v < 0) continue;
        int producer = q->g->values[v].producer;
        bool inside = producer >= 0 && q->owner[producer] == layer;
        if (!inside && mark(seen, v, layer)) l->bytes += value_bytes(q, plan, l, v);
    }
    for (int i = 0; i < n->n_outputs; i++) {
        int v = n->outputs[i];
        if (v >= 0 && leaves(q, v, layer) && mark(seen, v, layer)) {
            l->bytes += value_bytes(q, plan, l, v);
            om_shape_text(&q->g->values[v].shape, l->shape);
        }
    }
    char *text = om_sprintf("%s (%s)",
                            n->name && n->name[0] ? n->name
                            : n->outputs[0] >= 0  ? q->g->values[n->outputs[0]].name
                                                  : "",
                            n->op);
    if (text) om_strlist_add(&l->members, text);
    om_free(text);
}

static int take_entries(grouping *q, const om_layer_time *times, int n, const om_plan *plan, int *entry)
{
    int host = OM_NO_LAYER;
    for (int i = 0; i < n; i++) {
        bool fused = host >= 0 && is_fused_entry(&times[i]);
        if (!fused) {
            om_layer *l = add_layer(q->p, &times[i]);
            if (!l) return OM_ERR_NOMEM;
            host = (int)q->p->n_layers - 1;
            l->name = readable(q->g, times[i].name);
            if (!l->name) return OM_ERR_NOMEM;
        }
        entry[i] = fused ? OM_NO_LAYER : host;
        if (!fused && q->p->layers[host].inserted)
            weigh_inserted(q, plan, times[i].name, &q->p->layers[host]);
        if (!q->p->layers[host].inserted) claim(q, times[i].name, host);
    }
    return OM_OK;
}

static int name_layers(grouping *q, const chains *c)
{
    for (size_t i = 0; i < q->p->n_layers; i++) {
        om_layer *l = &q->p->layers[i];
        int node = l->inserted ? -1 : c->main[i];
        l->type = om_strdup(node < 0 ? l->engine_type : type_of(q->g, &q->g->nodes[node]));
        if (!l->type) return OM_ERR_NOMEM;
        if (node < 0) continue;
        char tag[16];
        snprintf(tag, sizeof tag, "@%d@", node);
        char *name = readable(q->g, tag);
        if (!name) return OM_ERR_NOMEM;
        om_free(l->name);
        l->name = name;
    }
    return OM_OK;
}

int om_group_layers(const om_graph *g, const om_layer_time *times, int n, const om_plan *plan, om_profile *p,
                    int *owner, int *entry)
{
    grouping q = {.g = g, .p = p, .owner = owner};
    chains c = {0};
    int *seen = om_calloc((size_t)g->n_values + 1, sizeof *seen);
    int err = seen ? index_uses(&q) : OM_ERR_NOMEM;
    for (int i = 0; i < g->n_nodes; i++) owner[i] = OM_NO_LAYER;
    if (!err) err = take_entries(&q, times, n, plan, entry);
    if (!err && plan->memory && plan->memory->ops->memory != OM_MEMORY_HOST) place_epilogues(&q);
    if (!err) place_all(&q);
    if (!err) err = chain_up(&q, &c);
    for (size_t layer = 0; layer < p->n_layers && !err; layer++)
        for (int i = c.first[layer]; i >= 0; i = c.next[i]) add_node(&q, plan, i, seen);
    if (!err) err = name_layers(&q, &c);
    om_free(seen);
    om_free(c.first);
    om_free(c.main);
    om_free(c.next);
    om_free(q.first_use);
    om_free(q.next_use);
    om_free(q.use_node);
    return err;
}
