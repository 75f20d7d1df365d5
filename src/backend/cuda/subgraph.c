#include "backend/cuda/subgraph.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define MAX_TRIES 64
/* Roughly what a CPU does a second, and what crossing to the GPU and back costs: a guess is enough to keep a
 * handful of small operators from being sent around. */
#define CPU_MACS 1e11
#define CROSSING_SECONDS 40e-6
#define CROSSING_BYTES 12e9

typedef struct split {
    const om_graph *g;
    bool *cpu;  /* of each node */
    int *level; /* of each node: its stage */
    int levels;
    omcu_chain *c;
    int *wire_of; /* of each value; -1: none */
} split;

static bool is_shape_op(const char *op)
{
    static const char *const list[] = {"Gather", "Slice", "Pad", "Split", "Tile", NULL};
    for (int i = 0; list[i]; i++)
        if (strcmp(op, list[i]) == 0) return true;
    return strncmp(op, "Reduce", 6) == 0;
}

static bool is_known(const om_value *v) { return v->shape.rank >= 0 && om_shape_static(&v->shape); }

/* What can be told of a node by itself; the lowering has the last word. */
static bool runs_on_gpu(const om_graph *g, const om_node *n)
{
    const char *why;
    if (!omcu_supports(g, n, &why) || strcmp(n->op, "Constant") == 0 || strcmp(n->op, "Shape") == 0)
        return false;
    for (int i = 0; i < n->n_outputs; i++) {
        const om_value *v = n->outputs[i] < 0 ? NULL : &g->values[n->outputs[i]];
        if (v && (!is_known(v) || v->dtype != OM_DTYPE_F32)) return false;
    }
    for (int i = 0; i < n->n_inputs; i++) {
        const om_value *v = n->inputs[i] < 0 ? NULL : &g->values[n->inputs[i]];
        if (!v || v->constant) continue;
        if (!is_known(v) || omcu_type_of(v->dtype) < 0 || (i > 0 && is_shape_op(n->op))) return false;
    }
    return true;
}

static void set_levels(split *s)
{
    const om_graph *g = s->g;
    s->levels = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        int level = s->cpu[i];
        for (int k = 0; k < n->n_inputs && !n->dead; k++) {
            int from = n->inputs[k] < 0 ? -1 : g->values[n->inputs[k]].producer;
            if (from < 0) continue;
            int least = s->level[from] + (s->cpu[from] != s->cpu[i]);
            if (least > level) level = least;
        }
        s->level[i] = level;
        if (!n->dead && level >= s->levels) s->levels = level + 1;
    }
}

/* Seconds that stage `level` of the GPU saves against computing it on the CPU beside its neighbours. */
static double gain(const split *s, int level)
{
    double macs = 0, bytes = 0;
    for (int i = 0; i < s->g->n_nodes; i++) {
        const om_node *n = &s->g->nodes[i];
        if (n->dead || s->level[i] != level) continue;
        int64_t m = om_node_macs(s->g, n);
        if (m > 0) macs += (double)m;
        for (int k = 0; k < n->n_inputs; k++) {
            int from = n->inputs[k] < 0 ? -1 : s->g->values[n->inputs[k]].producer;
            if (from < 0 || s->level[from] == level || !s->cpu[from]) continue;
            const om_value *v = &s->g->values[n->inputs[k]];
            bytes += (double)om_shape_count(&v->shape) * (double)om_dtype_size(v->dtype);
        }
    }
    return macs / CPU_MACS - CROSSING_SECONDS - bytes / CROSSING_BYTES;
}

/* A wire whose shape only the data tells cannot be bound to another part's memory. */
static bool has_open_wire(const split *s)
{
    for (int i = 0; i < s->g->n_nodes; i++)
        for (int k = 0; k < s->g->nodes[i].n_inputs && !s->g->nodes[i].dead; k++) {
            int v = s->g->nodes[i].inputs[k], from = v < 0 ? -1 : s->g->values[v].producer;
            if (from >= 0 && s->level[from] != s->level[i] && !is_known(&s->g->values[v])) return true;
        }
    return false;
}

static bool move_level(split *s, int level)
{
    bool any = false;
    for (int i = 0; i < s->g->n_nodes; i++)
        if (!s->g->nodes[i].dead && s->level[i] >= level && s->level[i] % 2 == 0) any = s->cpu[i] = true;
    set_levels(s);
    return any;
}

/* Late islands that are not worth their crossings join the CPU, the last first. */
static void join_islands(split *s)
{
    set_levels(s);
    for (int level = s->levels - 1; level >= 2; level--) {
        if (level % 2 || gain(s, level) > 0) continue;
        for (int i = 0; i < s->g->n_nodes; i++)
            if (s->level[i] == level) s->cpu[i] = true;
        set_levels(s);
        level = s->levels;
    }
    if (has_open_wire(s)) move_level(s, 2);
}

/* ---- wires ---- */

static int add_wire(split *s, int value, int maker)
{
    omcu_chain *c = s->c;
    if (s->wire_of[value] >= 0) return s->wire_of[value];
    const om_value *v = &s->g->values[value];
    omcu_wire *w = &c->wires[c->n_wires];
    *w = (omcu_wire){.dtype = v->dtype, .shape = v->shape, .maker = maker, .from_gpu = maker % 2 == 0};
    if (is_known(v)) w->bytes = (size_t)om_shape_count(&v->shape) * om_dtype_size(v->dtype);
    if (w->from_gpu && v->dtype != OM_DTYPE_F32)
        return om_fail(OM_ERR_UNSUPPORTED, "'%s' of type %s would have to leave the GPU; expected f32",
                       v->name, om_dtype_name(v->dtype));
    w->name = om_strdup(v->name);
    if (!w->name) return OM_ERR_NOMEM;
    s->wire_of[value] = c->n_wires;
    return c->n_wires++;
}

static int maker_of(const split *s, int value)
{
    int node = s->g->values[value].producer;
    return node < 0 ? -1 : s->level[node];
}

static int list_wires(split *s)
{
    const om_graph *g = s->g;
    omcu_chain *c = s->c;
    for (int i = 0; i < g->n_values; i++) s->wire_of[i] = -1;
    c->n_outputs = g->n_outputs;
    for (int i = 0; i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        for (int k = 0; k < n->n_inputs && !n->dead; k++) {
            int v = n->inputs[k];
            if (v < 0 || g->values[v].constant || maker_of(s, v) == s->level[i]) continue;
            int w = add_wire(s, v, maker_of(s, v));
            if (w < 0) return w;
            if (s->cpu[i]) c->wires[w].to_cpu = true;
            else c->wires[w].to_gpu = true;
        }
    }
    for (int i = 0; i < g->n_outputs; i++) {
        int v = g->outputs[i];
        if (g->values[v].producer < 0)
            return om_fail(OM_ERR_UNSUPPORTED, "output '%s' is computed by no operator", g->values[v].name);
        int w = add_wire(s, v, maker_of(s, v));
        if (w < 0) return w;
        c->wires[w].is_output = true;
        c->outputs[i] = w;
    }
    for (int i = 0; i < c->n_wires; i++) {
        const omcu_wire *w = &c->wires[i];
        if (w->maker < 0) continue;
        if (w->from_gpu && w->to_cpu) c->down += w->bytes;
        if (!w->from_gpu && w->to_gpu) c->up += w->bytes;
    }
    return OM_OK;
}

static bool reads(const split *s, int level, int value)
{
    for (int i = 0; i < s->g->n_nodes; i++)
        for (int k = 0; k < s->g->nodes[i].n_inputs; k++)
            if (!s->g->nodes[i].dead && s->level[i] == level && s->g->nodes[i].inputs[k] == value)
                return true;
    return false;
}

static int list_ports(split *s, int level, omcu_stage *t)
{
    omcu_chain *c = s->c;
    t->in = om_calloc((size_t)c->n_wires + 1, sizeof *t->in);
    t->out = om_calloc((size_t)c->n_wires + 1, sizeof *t->out);
    if (!t->in || !t->out) return OM_ERR_NOMEM;
    for (int v = 0; v < s->g->n_values; v++) {
        int w = s->wire_of[v];
        if (w < 0) continue;
        if (c->wires[w].maker == level) t->out[t->n_out++] = w;
        else if (reads(s, level, v)) t->in[t->n_in++] = w;
    }
    return OM_OK;
}

/* ---- stages ---- */

static void say_operators(const split *s, int level, omcu_stage *t)
{
    int kinds = 0;
    for (int i = 0; i < s->g->n_nodes; i++) {
        const om_node *n = &s->g->nodes[i];
        if (n->dead || s->level[i] != level) continue;
        t->n_nodes++;
        const char *why;
        size_t len = strlen(t->what);
        if (omcu_supports(s->g, n, &why) || kinds > 3 || strstr(t->what, n->op)) continue;
        kinds++;
        snprintf(t->what + len, sizeof t->what - len, "%s%.20s", len ? ", " : "", kinds > 3 ? "..." : n->op);
    }
}

static int cut_stage(const split *s, const omcu_stage *t, om_graph **out)
{
    const omcu_chain *c = s->c;
    const char **names = om_calloc((size_t)(t->n_in + t->n_out) + 1, sizeof *names);
    if (!names) return OM_ERR_NOMEM;
    for (int i = 0; i < t->n_in; i++) names[i] = c->wires[t->in[i]].name;
    for (int i = 0; i < t->n_out; i++) names[t->n_in + i] = c->wires[t->out[i]].name;
    int err = om_graph_clone(s->g, out);
    if (!err) err = om_graph_cut(*out, names, t->n_in, names + t->n_in, t->n_out);
    if (!err) err = om_graph_sort(*out);
    om_free(names);
    return err;
}

static int missing_engine(const split *s, const omcu_stage *t, int err)
{
    for (int i = 0; i < s->g->n_nodes; i++)
        if (!s->g->nodes[i].dead && s->cpu[i])
            return om_fail_prefix(err,
                                  "%d operators that the CUDA engine lacks, first '%s' (%s), run on the CPU",
                                  t->n_nodes, s->g->nodes[i].name, t->what[0] ? t->what : s->g->nodes[i].op);
    return err;
}

static int compile_part(split *s, omcu_stage *t, const om_graph *g, int threads)
{
    const om_backend_ops *ops;
    const char *device;
    int err = om_backend_select("cpu", &ops, &device);
    if (!err && !ops->parts)
        err = om_fail(OM_ERR_UNSUPPORTED, "the %s backend takes no parts of models", ops->name);
    if (err) return missing_engine(s, t, err);
    s->c->parts = ops->parts;
    err = ops->parts->compile(g, threads, &t->part);
    return err ? missing_engine(s, t, err) : OM_OK;
}

/* 1: a node was refused and is the CPU's now. */
static int build_stage(split *s, int level, om_device *device, const omcu_build *how, int threads)
{
    omcu_stage *t = &s->c->stages[level];
    char refused[OMCU_REFUSED] = "";
    omcu_build own = *how;
    om_graph *g = NULL;
    say_operators(s, level, t);
    int err = list_ports(s, level, t);
    if (!err && t->n_nodes) err = cut_stage(s, t, &g);
    own.refused = refused;
    own.picture_nhwc = how->picture_nhwc && level == 0;
    if (!err && g && level % 2) {
        s->c->cpu_nodes += t->n_nodes;
        err = compile_part(s, t, g, threads);
    } else if (!err && g) err = omcu_lower(device, g, &own, &t->program);
    om_graph_destroy(g);
    if (err != OM_ERR_UNSUPPORTED || !refused[0]) return err;
    int value = om_graph_find(s->g, refused), node = value < 0 ? -1 : s->g->values[value].producer;
    if (node < 0) return err;
    om_log(OM_LOG_DEBUG, "cuda: %s: on the CPU", om_error_message());
    s->cpu[node] = true;
    return 1;
}

static int try_split(split *s, om_device *device, const omcu_build *how, int threads)
{
    omcu_chain *c = s->c = om_calloc(1, sizeof *s->c);
    if (!c) return OM_ERR_NOMEM;
    join_islands(s);
    c->stages = om_calloc((size_t)s->levels + 1, sizeof *c->stages);
    c->wires = om_calloc((size_t)s->g->n_values + 1, sizeof *c->wires);
    c->outputs = om_calloc((size_t)s->g->n_outputs + 1, sizeof *c->outputs);
    if (!c->stages || !c->wires || !c->outputs) return OM_ERR_NOMEM;
    c->n_stages = s->levels;
    int err = list_wires(s);
    /* The GPU's stages first: what they refuse changes the CPU's. */
    for (int odd = 0; odd < 2; odd++)
        for (int i = odd; i < c->n_stages && !err; i += 2) err = build_stage(s, i, device, how, threads);
    return err;
}

/* The picture goes through an operator of the first stage: whoever reads it later reads that one's output. */
static int guard_input(om_graph *g)
{
    int input = g->inputs[0], node = om_graph_add_node(g, "Identity", "picture", &input, 1, 1);
    if (node < 0) return node;
    int value = om_node_out(g, node);
    g->values[value].dtype = g->values[input].dtype;
    g->values[value].shape = g->values[input].shape;
    int err = om_graph_replace_uses(g, input, value);
    g->nodes[node].inputs[0] = input;
    return err < 0 ? err : om_graph_sort(g);
}

static int check_subgraphs(const om_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_attrs && !g->nodes[i].dead; k++)
            if (g->nodes[i].attrs[k].type == OM_ATTR_GRAPH || g->nodes[i].attrs[k].type == OM_ATTR_GRAPHS)
                return om_fail(OM_ERR_UNSUPPORTED,
                               "node '%s' (%s): a model with graphs inside of nodes runs on the CPU alone",
                               g->nodes[i].name, g->nodes[i].op);
    return OM_OK;
}

int omcu_chain_build(om_device *device, const om_graph *graph, const omcu_build *how, int threads,
                     omcu_chain **out)
{
    split s = {0};
    om_graph *g = NULL;
    *out = NULL;
    int err = check_subgraphs(graph);
    if (!err) err = om_graph_clone(graph, &g);
    if (!err) err = guard_input(g);
    if (err) goto fail;
    s.g = g;
    s.cpu = om_calloc((size_t)g->n_nodes + 1, sizeof *s.cpu);
    s.level = om_calloc((size_t)g->n_nodes + 1, sizeof *s.level);
    s.wire_of = om_calloc((size_t)g->n_values + 1, sizeof *s.wire_of);
    err = s.cpu && s.level && s.wire_of ? OM_OK : om_fail_nomem("a chain of stages");
    for (int i = 0; i < g->n_nodes && !err; i++)
        s.cpu[i] = !g->nodes[i].dead && !runs_on_gpu(g, &g->nodes[i]);
    for (int i = 0; i < MAX_TRIES && !err; i++) {
        omcu_chain_destroy(s.c);
        err = try_split(&s, device, how, threads);
        if (!err) break;
        if (err == 1) err = i + 1 < MAX_TRIES ? OM_OK : OM_ERR_UNSUPPORTED;
    }
fail:
    if (err) omcu_chain_destroy(s.c);
    else *out = s.c;
    om_free(s.cpu);
    om_free(s.level);
    om_free(s.wire_of);
    om_graph_destroy(g);
    return err;
}

void omcu_chain_destroy(omcu_chain *c)
{
    if (!c) return;
    for (int i = 0; c->stages && i < c->n_stages; i++) {
        omcu_program_destroy(c->stages[i].program);
        if (c->stages[i].part) c->parts->destroy(c->stages[i].part);
        om_free(c->stages[i].in);
        om_free(c->stages[i].out);
    }
    for (int i = 0; c->wires && i < c->n_wires; i++) om_free(c->wires[i].name);
    om_free(c->stages);
    om_free(c->wires);
    om_free(c->outputs);
    om_free(c);
}

void omcu_chain_note(const omcu_chain *c, char *out, size_t size)
{
    const char *what = "";
    for (int i = 1; i < c->n_stages && !what[0]; i += 2) what = c->stages[i].what;
    snprintf(out, size, "%d node%s on the CPU (%.40s), %.1f MB down, %.1f MB up a batch", c->cpu_nodes,
             c->cpu_nodes == 1 ? "" : "s", what, (double)c->down / 1e6, (double)c->up / 1e6);
}
