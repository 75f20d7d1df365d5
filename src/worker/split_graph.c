/* A graph in two: which nodes come first, what is live between them, and the second part's one input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "worker/split.h"

#define MAX_SIDE 16384 /* of the second part's input */

int om_split_prepare(om_graph *g, const om_model_desc *desc, int batch)
{
    int64_t c = desc->prep.channels == OM_CHANNELS_GRAY ? 1 : 3;
    om_shape s = om_shape_make(4, (int64_t)batch, c, (int64_t)desc->height, (int64_t)desc->width);
    if (desc->prep.layout == OM_LAYOUT_NHWC)
        s = om_shape_make(4, (int64_t)batch, (int64_t)desc->height, (int64_t)desc->width, c);
    int err = om_graph_set_input_shape(g, 0, &s);
    return err ? err : om_graph_simplify(g, OM_SIMPLIFY_FOLD | OM_SIMPLIFY_DEAD);
}

void om_split_graphs_fini(om_split_graphs *s)
{
    om_graph_destroy(s->first);
    om_graph_destroy(s->second);
    for (int i = 0; i < s->n_live; i++) om_free(s->live[i].name);
    om_free(s->second_of);
    memset(s, 0, sizeof *s);
}

static bool from_first(const om_graph *g, const bool *first, int v)
{
    if (v < 0 || g->values[v].constant) return false;
    return g->values[v].is_input || (g->values[v].producer >= 0 && first[g->values[v].producer]);
}

static int add_live(om_split_graphs *s, const om_graph *g, const char *at, int v)
{
    const om_value *value = &g->values[v];
    for (int i = 0; i < s->n_live; i++)
        if (!strcmp(s->live[i].name, value->name)) return OM_OK;
    if (value->is_input)
        return om_fail(OM_ERR_ARG, "a split at '%s' leaves the picture itself to the second part", at);
    int64_t count = om_shape_count(&value->shape);
    if (value->dtype == OM_DTYPE_NONE || value->dtype == OM_DTYPE_STRING || count < 1)
        return om_fail(OM_ERR_ARG, "a split at '%s': '%s' is live there, and its size depends on the picture",
                       at, value->name);
    if (s->n_live == OM_SPLIT_LIVE)
        return om_fail(OM_ERR_ARG, "a split at '%s': more than %d tensors are live there", at, OM_SPLIT_LIVE);
    om_live *l = &s->live[s->n_live];
    *l = (om_live){.name = om_strdup(value->name),
                   .dtype = value->dtype,
                   .shape = value->shape,
                   .offset = s->count,
                   .count = (size_t)count};
    if (!l->name) return OM_ERR_NOMEM;
    s->n_live++;
    s->count += (size_t)count;
    return OM_OK;
}

static int find_live(om_split_graphs *s, const om_graph *g, const bool *first, const char *at)
{
    int err = OM_OK;
    for (int i = 0; i < g->n_nodes && !err; i++)
        for (int k = 0; k < g->nodes[i].n_inputs && !err && !first[i] && !g->nodes[i].dead; k++)
            if (from_first(g, first, g->nodes[i].inputs[k])) err = add_live(s, g, at, g->nodes[i].inputs[k]);
    for (int i = 0; i < g->n_outputs && !err; i++)
        if (from_first(g, first, g->outputs[i])) err = add_live(s, g, at, g->outputs[i]);
    return err;
}

/* Width and height whose product is the count, or a little more. */
static int choose_sides(om_split_graphs *s)
{
    if (s->count > (size_t)MAX_SIDE * MAX_SIDE)
        return om_fail(OM_ERR_UNSUPPORTED, "%zu numbers are live at the split; at most %d pass", s->count,
                       MAX_SIDE * MAX_SIDE);
    for (s->width = MAX_SIDE; s->width > 0; s->width--) {
        s->height = (int)(s->count / (size_t)s->width);
        if (s->height > MAX_SIDE) break;
        if (s->height > 0 && (size_t)s->height * (size_t)s->width == s->count) return OM_OK;
    }
    s->width = MAX_SIDE;
    s->height = (int)((s->count + MAX_SIDE - 1) / MAX_SIDE);
    return OM_OK;
}

/* Outputs that are no floats go out as such. */
static int widen_outputs(om_graph *g)
{
    for (int i = 0; i < g->n_outputs; i++) {
        int v = g->outputs[i];
        if (g->values[v].dtype == OM_DTYPE_F32) continue;
        int node = om_graph_add_node(g, "Cast", "", &v, 1, 1);
        if (node < 0) return node;
        int err = om_node_set_int(&g->nodes[node], "to", 1), out = om_node_out(g, node);
        if (err) return err;
        g->values[v].is_output = false;
        g->values[out].is_output = true;
        g->outputs[i] = out;
    }
    return om_graph_infer_shapes(g);
}

static int make_first(om_split_graphs *s, const om_graph *g)
{
    const char *to[OM_SPLIT_LIVE];
    for (int i = 0; i < s->n_live; i++) to[i] = s->live[i].name;
    int err = om_graph_clone(g, &s->first);
    if (!err) err = om_graph_cut(s->first, NULL, 0, to, s->n_live);
    return err ? err : widen_outputs(s->first);
}

/* ONNX's own numbers of types. */
static int onnx_type(om_dtype t)
{
    static const int numbers[] = {
        [OM_DTYPE_F32] = 1,  [OM_DTYPE_U8] = 2,   [OM_DTYPE_I8] = 3,   [OM_DTYPE_U16] = 4,
        [OM_DTYPE_I16] = 5,  [OM_DTYPE_I32] = 6,  [OM_DTYPE_I64] = 7,  [OM_DTYPE_BOOL] = 9,
        [OM_DTYPE_F16] = 10, [OM_DTYPE_F64] = 11, [OM_DTYPE_U32] = 12, [OM_DTYPE_U64] = 13,
        [OM_DTYPE_BF16] = 16};
    return numbers[t];
}

static int add_node(om_graph *g, const char *op, int a, int b)
{
    int node = om_graph_add_node(g, op, "", (const int[]){a, b}, b < 0 ? 1 : 2, 1);
    return node < 0 ? node : om_node_out(g, node);
}

static int reshape(om_graph *g, int v, const int64_t *dims, int n)
{
    int to = om_graph_add_const_i64(g, NULL, dims, n);
    return to < 0 ? to : add_node(g, "Reshape", v, to);
}

/* A run of the flat input. */
static int slice(om_graph *g, int flat, size_t from, size_t count)
{
    const int64_t first = (int64_t)from, behind = (int64_t)(from + count), zero = 0;
    if (om_graph_opset(g, "") < 10) { /* lists were attributes then */
        int n = om_graph_add_node(g, "Slice", "", &flat, 1, 1);
        int err = n < 0 ? n : om_node_set_ints(&g->nodes[n], "starts", &first, 1);
        if (!err) err = om_node_set_ints(&g->nodes[n], "ends", &behind, 1);
        if (!err) err = om_node_set_ints(&g->nodes[n], "axes", &zero, 1);
        return err ? err : om_node_out(g, n);
    }
    int begin = om_graph_add_const_i64(g, NULL, &first, 1);
    int end = begin < 0 ? begin : om_graph_add_const_i64(g, NULL, &behind, 1);
    int axis = end < 0 ? end : om_graph_add_const_i64(g, NULL, &zero, 1);
    if (axis < 0) return axis;
    int node = om_graph_add_node(g, "Slice", "", (const int[]){flat, begin, end, axis}, 4, 1);
    return node < 0 ? node : om_node_out(g, node);
}

/* What stood as an input of its own is taken out of the flat one. */
static int unpack(om_graph *g, const om_live *l, int flat, bool alone)
{
    int old = om_graph_find(g, l->name);
    if (old < 0) return OM_OK; /* nothing in this part reads it: an output of the first */
    int v = alone ? flat : slice(g, flat, l->offset, l->count);
    if (v >= 0) v = reshape(g, v, l->shape.dim, l->shape.rank);
    if (v >= 0 && l->dtype != OM_DTYPE_F32) {
        v = add_node(g, "Cast", v, OM_NO_VALUE);
        if (v >= 0) {
            int err = om_node_set_int(&g->nodes[g->values[v].producer], "to", onnx_type(l->dtype));
            if (err) return err;
        }
    }
    if (v < 0) return v;
    g->values[old].is_input = false;
    int err = om_graph_replace_uses(g, old, v);
    return err < 0 ? err : OM_OK;
}

static int pack_input(om_split_graphs *s)
{
    om_graph *g = s->second;
    size_t all = (size_t)s->width * (size_t)s->height;
    om_shape shape = om_shape_make(4, (int64_t)1, (int64_t)1, (int64_t)s->height, (int64_t)s->width);
    int in = om_graph_add_input(g, "omma_split", OM_DTYPE_F32, &shape);
    if (in < 0) return in;
    int flat = reshape(g, in, (const int64_t[]){(int64_t)all}, 1), err = flat < 0 ? flat : OM_OK;
    for (int i = 0; i < s->n_live && !err; i++) err = unpack(g, &s->live[i], flat, s->live[i].count == all);
    if (err) return err;
    g->inputs[0] = in; /* the only one there is now */
    g->n_inputs = 1;
    err = om_graph_sort(g);
    if (!err) err = om_graph_compact(g);
    return err ? err : om_graph_infer_shapes(g);
}

/* Which outputs the second part makes, and where each of the model's is found. */
static int share_outputs(om_split_graphs *s, const om_graph *g, const bool *first, const char **to, int *n)
{
    s->n_outputs = g->n_outputs;
    s->second_of = om_alloc((size_t)g->n_outputs * sizeof *s->second_of);
    if (!s->second_of) return OM_ERR_NOMEM;
    for (int i = 0; i < g->n_outputs; i++) {
        const char *name = g->values[g->outputs[i]].name;
        if (!from_first(g, first, g->outputs[i])) {
            to[*n] = name;
            s->second_of[i] = (*n)++;
            continue;
        }
        for (int k = 0; k < s->n_live; k++)
            if (!strcmp(s->live[k].name, name)) s->second_of[i] = -1 - k;
    }
    return OM_OK;
}

static int make_second(om_split_graphs *s, const om_graph *g, const bool *first, const char *at)
{
    const char *from[OM_SPLIT_LIVE], **to = om_alloc(((size_t)g->n_outputs + 1) * sizeof *to);
    int n_from = 0, n_to = 0, err = to ? share_outputs(s, g, first, to, &n_to) : OM_ERR_NOMEM;
    if (!err && !n_to) err = om_fail(OM_ERR_ARG, "a split at '%s': nothing comes behind it", at);
    for (int i = 0; i < s->n_live && !err; i++) {
        bool read = false; /* by a node of the second part */
        int v = om_graph_find(g, s->live[i].name);
        for (int n = 0; n < g->n_nodes && !read; n++)
            for (int k = 0; k < g->nodes[n].n_inputs && !first[n]; k++) read |= g->nodes[n].inputs[k] == v;
        if (read) from[n_from++] = s->live[i].name;
    }
    if (!err) err = om_graph_clone(g, &s->second);
    if (!err) err = om_graph_cut(s->second, from, n_from, to, n_to);
    om_free(to);
    if (!err) err = choose_sides(s);
    return err ? err : pack_input(s);
}

static int split(const om_graph *g, const bool *first, const char *at, om_split_graphs *out)
{
    int err = find_live(out, g, first, at);
    if (!err && !out->n_live)
        err = om_fail(OM_ERR_ARG, "a split at '%s': nothing passes from one part to the other", at);
    if (!err) err = make_first(out, g);
    if (!err) err = make_second(out, g, first, at);
    if (!err) {
        out->first_macs = om_graph_macs(out->first);
        out->second_macs = om_graph_macs(out->second);
        return OM_OK;
    }
    om_split_graphs_fini(out);
    return err;
}

/* A node and all that it is made by. `todo`: room for each node once. */
static void mark_above(const om_graph *g, int node, bool *first, int *todo)
{
    int n = 0;
    first[node] = true;
    todo[n++] = node;
    while (n) {
        const om_node *at = &g->nodes[todo[--n]];
        for (int k = 0; k < at->n_inputs; k++) {
            int from = at->inputs[k] >= 0 ? g->values[at->inputs[k]].producer : -1;
            if (from < 0 || first[from]) continue;
            first[from] = true;
            todo[n++] = from;
        }
    }
}

static int find_node(const om_graph *g, const char *name)
{
    int v = om_graph_find(g, name);
    if (v >= 0) return g->values[v].producer;
    for (int i = 0; i < g->n_nodes; i++)
        if (!g->nodes[i].dead && !strcmp(g->nodes[i].name, name)) return i;
    return -1;
}

/* The last node of "layer3" is that of the names that begin with "/layer3/" or "layer3/". */
static int find_module(const om_graph *g, const char *name)
{
    size_t n = strlen(name);
    int last = -1;
    for (int i = 0; i < g->n_nodes && n; i++) {
        const char *at = g->nodes[i].name;
        at += *at == '/' && *name != '/';
        if (!g->nodes[i].dead && !strncmp(at, name, n) && (at[n] == '/' || at[n] == '.')) last = i;
    }
    return last;
}

/* "resnet50" of "models/resnet50.onnx" */
static bool is_model(const char *model, const char *name, size_t n)
{
    const char *slash = strrchr(model, '/'), *base = slash ? slash + 1 : model;
    size_t length = strlen(base);
    if (length == n && !strncmp(base, name, n)) return true;
    if (strlen(model) == n && !strncmp(model, name, n)) return true;
    return length > n && base[n] == '.' && !strchr(base + n + 1, '.') && !strncmp(base, name, n);
}

static int unknown_layer(const om_graph *g, const char *name)
{
    size_t n = 0;
    const char **all = om_alloc(((size_t)g->n_nodes + 1) * sizeof *all);
    if (!all) return OM_ERR_NOMEM;
    for (int i = 0; i < g->n_nodes; i++)
        if (*g->nodes[i].name) all[n++] = g->nodes[i].name;
    const char *near = om_suggest(name, all, n);
    int err = om_fail(OM_ERR_ARG, "--split-point: no layer, tensor or module is called '%s'%s%s%s", name,
                      near ? "; did you mean '" : "; 'omma model inspect --layers' lists them",
                      near ? near : "", near ? "'?" : "");
    om_free(all);
    return err;
}

int om_split_at(const om_graph *g, const char *model, const char *point, om_split_graphs *out)
{
    const char *colon = strchr(point, ':'), *name = point;
    memset(out, 0, sizeof *out);
    int node = find_node(g, name);
    if (node < 0) node = find_module(g, name);
    if (node < 0 && colon) {
        name = colon + 1;
        if (!is_model(model, point, (size_t)(colon - point)))
            return om_fail(OM_ERR_ARG, "--split-point '%s': is for the model '%.*s', but this one is '%s'",
                           point, (int)(colon - point), point, model);
        node = find_node(g, name);
        if (node < 0) node = find_module(g, name);
    }
    if (node < 0) return unknown_layer(g, name);
    bool *first = om_calloc((size_t)g->n_nodes, sizeof *first);
    int *todo = om_alloc((size_t)g->n_nodes * sizeof *todo), err = first && todo ? OM_OK : OM_ERR_NOMEM;
    if (!err) {
        mark_above(g, node, first, todo);
        err = split(g, first, name, out);
    }
    om_free(todo);
    om_free(first);
    return err;
}

int om_split_after(const om_graph *g, int position, om_split_graphs *out)
{
    memset(out, 0, sizeof *out);
    bool *first = om_calloc((size_t)g->n_nodes, sizeof *first);
    if (!first) return OM_ERR_NOMEM;
    for (int i = 0; i <= position && i < g->n_nodes; i++) first[i] = !g->nodes[i].dead;
    int err = split(g, first, g->nodes[position].name, out);
    om_free(first);
    return err;
}
