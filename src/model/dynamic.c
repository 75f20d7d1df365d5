/* Static exports made dynamic: the shapes and grids that were frozen for one size become computed ones. */
#include "model/dynamic.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/graph_priv.h"

#define MAX_REWRITES 2000
#define PROBE_BATCH 3
#define PROBE_ROWS 64
#define PROBE_COLUMNS 128

const om_shape *om_freeing_was(const om_freeing *f, int value)
{
    static const om_shape unknown = {.rank = -1};
    return value >= 0 && value < f->n_was ? &f->was[value] : &unknown;
}

bool om_freeing_open(const om_freeing *f, int value, int dim)
{
    const om_shape *s = &f->to.g->values[value].shape;
    return dim >= 0 && dim < s->rank && s->dim[dim] == OM_DIM_DYNAMIC;
}

int om_freeing_refuse(const om_freeing *f, int node, const char *fmt, ...)
{
    char label[OM_NODE_LABEL], why[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return om_fail(OM_ERR_UNSUPPORTED, "%s cannot be made dynamic: %s",
                   om_node_label(f->to.g, &f->to.g->nodes[node], label), why);
}

static int free_node(om_freeing *f, int node)
{
    static const struct {
        const char *op;
        int (*free)(om_freeing *f, int node);
    } known[] = {{"Reshape", om_free_reshape}, {"Resize", om_free_resize}, {"Slice", om_free_slice},
                 {"Expand", om_free_expand},   {"Concat", om_free_concat}, {"Add", om_free_constant},
                 {"Sub", om_free_constant},    {"Mul", om_free_constant},  {"Div", om_free_constant},
                 {"Pow", om_free_constant}};
    const om_node *n = &f->to.g->nodes[node];
    if (n->dead || n->domain[0]) return 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(n->op, known[i].op) == 0) return known[i].free(f, node);
    return 0;
}

/* Inference keeps what it knew; a rewrite may have made that wrong. */
static int forget_and_infer(om_graph *g, int input)
{
    om_shape shape = g->values[g->inputs[input]].shape;
    int e = om_graph_set_input_shape(g, input, &shape);
    return e ? e : om_graph_infer_shapes(g);
}

/* Producers first, so that each node sees its inputs as they will be. A rewrite opens shapes further down,
 * and the walk starts anew. */
static int free_all(om_freeing *f, int input)
{
    for (int rewrites = 0; rewrites < MAX_REWRITES; rewrites++) {
        int done = 0, e = forget_and_infer(f->to.g, input);
        for (int i = 0; !e && !done && i < f->to.g->n_nodes; i++) {
            done = free_node(f, i);
            if (done < 0) e = done;
        }
        if (!e && f->to.err) e = f->to.err;
        if (e || !done) return e;
    }
    return om_fail(OM_ERR_INTERNAL, "making the model dynamic does not end");
}

static int find_picture(om_freeing *f)
{
    const om_graph *g = f->to.g;
    for (int i = 0; i < g->n_inputs; i++) {
        const om_shape *s = &g->values[g->inputs[i]].shape;
        if (s->rank != 4) continue;
        bool last = (s->dim[3] == 3 || s->dim[3] == 1) && s->dim[1] != 3 && s->dim[1] != 1;
        f->input = g->inputs[i];
        f->row = last ? 1 : 2;
        return i;
    }
    return om_fail(OM_ERR_UNSUPPORTED, "no input looks like a picture: expected one of rank 4");
}

static int record_shapes(om_freeing *f)
{
    int e = om_graph_infer_shapes(f->to.g);
    if (e) return e;
    f->n_was = f->to.g->n_values;
    f->was = om_alloc((size_t)f->n_was * sizeof *f->was);
    if (!f->was) return OM_ERR_NOMEM;
    for (int i = 0; i < f->n_was; i++) f->was[i] = f->to.g->values[i].shape;
    return OM_OK;
}

/* The batch of an output must have followed the input's. */
static int check_outputs(const om_freeing *f, const om_graph *probe, int64_t batch)
{
    for (int i = 0; i < probe->n_outputs; i++) {
        int v = f->to.g->outputs[i], node = f->to.g->values[v].producer;
        const om_shape *was = om_freeing_was(f, v), *is = &probe->values[probe->outputs[i]].shape;
        if (was->rank < 1 || was->dim[0] != f->was[f->input].dim[0] || node < 0) continue;
        if (is->rank != was->rank || is->dim[0] != batch)
            return om_freeing_refuse(f, node, "its first dim stays %lld where the batch is %lld",
                                     is->rank > 0 ? (long long)is->dim[0] : -1LL, (long long)batch);
    }
    return OM_OK;
}

static int probe(const om_freeing *f, int input, const om_shape *shape, bool batch)
{
    om_graph *g = NULL;
    int e = om_graph_clone(f->to.g, &g);
    if (!e) e = om_graph_set_input_shape(g, input, shape);
    if (!e) e = om_graph_infer_shapes(g);
    if (!e && batch) e = check_outputs(f, g, shape->dim[0]);
    om_graph_destroy(g);
    if (e == OM_ERR_FORMAT) {
        char text[OM_SHAPE_TEXT];
        om_shape_text(shape, text);
        om_fail_prefix(e, "the model cannot be made dynamic: with input %s", text);
        return OM_ERR_UNSUPPORTED;
    }
    return e;
}

/* At its own size nothing may have changed, and another must do as well. */
static int check(const om_freeing *f, int input, bool batch, bool size)
{
    om_shape other = f->was[f->input];
    int e = probe(f, input, &other, false);
    if (batch) other.dim[0] = PROBE_BATCH;
    if (size) {
        other.dim[f->row] += PROBE_ROWS;
        other.dim[f->row + 1] += PROBE_COLUMNS;
    }
    return e ? e : probe(f, input, &other, batch);
}

static int open_input(om_freeing *f, int input, bool batch, bool size)
{
    om_shape shape = f->was[f->input];
    if (batch) shape.dim[0] = OM_DIM_DYNAMIC;
    if (size) shape.dim[f->row] = shape.dim[f->row + 1] = OM_DIM_DYNAMIC;
    int e = om_graph_set_input_shape(f->to.g, input, &shape);
    if (!e && batch) om_graph_set_dim_param(f->to.g, f->input, 0, "batch");
    if (!e && size) om_graph_set_dim_param(f->to.g, f->input, f->row, "height");
    if (!e && size) om_graph_set_dim_param(f->to.g, f->input, f->row + 1, "width");
    return e;
}

static int make_dynamic(om_freeing *f, bool batch, bool size)
{
    int e = om_graph_fold_constants(f->to.g), input = e ? e : find_picture(f);
    if (input < 0) return input;
    const om_shape *s = &f->to.g->values[f->input].shape;
    batch = batch && s->dim[0] != OM_DIM_DYNAMIC;
    size = size && (s->dim[f->row] != OM_DIM_DYNAMIC || s->dim[f->row + 1] != OM_DIM_DYNAMIC);
    if (!batch && !size) return OM_OK;
    f->pictures = batch && !size && s->dim[0] == 1;
    e = record_shapes(f);
    if (!e) e = open_input(f, input, batch, size);
    if (!e) e = free_all(f, input);
    if (!e) e = check(f, input, batch, size);
    return e ? e : om_graph_compact(f->to.g);
}

int om_model_make_dynamic(om_graph *g, bool batch, bool size)
{
    om_freeing f = {.input = -1};
    int e = om_graph_clone(g, &f.to.g);
    if (!e) e = make_dynamic(&f, batch, size);
    if (!e) { /* the copy's contents for the caller's */
        om_graph old = *g;
        *g = *f.to.g;
        *f.to.g = old;
    }
    om_graph_destroy(f.to.g);
    om_free(f.was);
    return e;
}
