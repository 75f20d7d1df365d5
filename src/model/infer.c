/* Shape inference: the walk over a graph, and folding, which is the same walk with larger values. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/infer.h"
#include "model/model.h"

#define SHAPE_LIMIT 1024  /* elements; shape arithmetic is far smaller */
#define FOLD_LIMIT 262144 /* an anchor grid of a large picture fits */

/* Evaluators look at fixed places, which nodes with too few inputs or outputs must have too, empty. */
#define MIN_SLOTS 4

int om_infer_init(om_infer *in, om_graph *g, om_infer *outer, int64_t opset, int64_t limit)
{
    *in = (om_infer){
        .g = g, .outer = outer, .opset = opset, .limit = limit, .depth = outer ? outer->depth + 1 : 0};
    if (in->depth >= OM_MAX_NESTING)
        return om_fail(OM_ERR_FORMAT, "graph '%s': graphs are nested deeper than %d", g->name,
                       OM_MAX_NESTING);
    in->parts = om_calloc((size_t)g->n_values, sizeof *in->parts);
    return in->parts ? OM_OK : OM_ERR_NOMEM;
}

void om_infer_fini(om_infer *in)
{
    for (int i = 0; in->parts && i < in->g->n_values; i++) om_part_destroy(in->parts[i]);
    om_free(in->parts);
    in->parts = NULL;
}

static const om_value *outer_value(const om_infer *in, const char *name, const om_infer **where, int *number)
{
    for (const om_infer *o = in->outer; o; o = o->outer) {
        int v = om_graph_find(o->g, name);
        if (v < 0 || om_value_is_free(&o->g->values[v])) continue;
        *where = o;
        *number = v;
        return &o->g->values[v];
    }
    return NULL;
}

const om_part *om_infer_part(om_infer *in, int value)
{
    const om_value *v = &in->g->values[value];
    const om_infer *where;
    int number;
    if (in->parts[value]) return in->parts[value];
    if (om_value_is_free(v)) return outer_value(in, v->name, &where, &number) ? where->parts[number] : NULL;
    return NULL;
}

/* Constants know themselves; names from outside know what they are there. */
static int take_known(om_infer *in)
{
    for (int i = 0; i < in->g->n_values; i++) {
        om_value *v = &in->g->values[i];
        const om_infer *where;
        int number;
        if (v->constant) {
            v->dtype = v->constant->dtype;
            v->shape = v->constant->shape;
            int err = om_part_from_const(v->constant, in->limit, &in->parts[i]);
            if (err < 0) return err;
        } else if (om_value_is_free(v)) {
            const om_value *from = outer_value(in, v->name, &where, &number);
            if (!from) continue;
            v->dtype = from->dtype;
            v->shape = from->shape;
        }
    }
    return OM_OK;
}

/* Parts for the outputs that are small enough; how many. */
static int make_outputs(const om_call *c, om_part **outs)
{
    int made = 0;
    for (int i = 0; i < c->n->n_outputs; i++) {
        outs[i] = NULL;
        if (c->n->outputs[i] < 0) continue;
        const om_value *v = &c->g->values[c->n->outputs[i]];
        int64_t n = om_shape_count(&v->shape);
        if (n < 0 || n > c->in->limit || !om_dtype_size(v->dtype)) continue;
        int err = om_part_create(v->dtype, &v->shape, &outs[i]);
        if (err < 0) return err;
        made++;
    }
    return made;
}

static bool knows_something(const om_part *p)
{
    for (int64_t i = 0; i < p->n; i++)
        if (p->known[i]) return true;
    return p->n == 0;
}

static int evaluate(const om_call *c, const om_op_row *row)
{
    om_infer *in = c->in;
    bool pure = row->eval != om_eval_shape && row->eval != om_eval_size;
    const om_part **ins = om_calloc((size_t)c->n->n_inputs + MIN_SLOTS, sizeof *ins);
    om_part **outs = om_calloc((size_t)c->n->n_outputs + MIN_SLOTS, sizeof *outs);
    int err = ins && outs ? make_outputs(c, outs) : OM_ERR_NOMEM;
    for (int i = 0; err > 0 && i < c->n->n_inputs; i++) {
        ins[i] = om_call_part(c, i);
        if (c->n->inputs[i] >= 0 && !(ins[i] && ins[i]->pure)) pure = false;
    }
    if (err > 0) err = row->eval(c, ins, outs);
    for (int i = 0; outs && i < c->n->n_outputs; i++) {
        if (!outs[i]) continue;
        outs[i]->pure = pure;
        bool keep = err >= 0 && knows_something(outs[i]);
        if (keep) om_part_destroy(in->parts[c->n->outputs[i]]);
        if (keep) in->parts[c->n->outputs[i]] = outs[i];
        else om_part_destroy(outs[i]);
    }
    om_free(ins);
    om_free(outs);
    return err < 0 ? err : OM_OK;
}

static int infer_node(om_infer *in, const om_node *n)
{
    if (*n->domain && strcmp(n->domain, "ai.onnx")) {
        const om_operator *own = om_operators_find(n->domain, n->op);
        om_call call = {in, in->g, n, in->opset, 0};
        return own ? om_infer_own(&call, own) : OM_OK;
    }
    const om_op_row *row = om_op_find(n->op);
    if (!row) return OM_OK;
    om_call c = {in, in->g, n, in->opset, row->variant};
    int err = row->infer(&c);
    return err >= 0 && row->eval ? evaluate(&c, row) : err;
}

int om_infer_run(om_infer *in)
{
    int err = take_known(in);
    for (int i = 0; i < in->g->n_nodes && err >= 0; i++)
        if (!in->g->nodes[i].dead) err = infer_node(in, &in->g->nodes[i]);
    return err;
}

int om_graph_infer_shapes(om_graph *g)
{
    om_infer in;
    int err = om_graph_sort(g);
    if (err < 0) return err;
    err = om_infer_init(&in, g, NULL, om_graph_opset(g, ""), SHAPE_LIMIT);
    if (err >= 0) err = om_infer_run(&in);
    om_infer_fini(&in);
    return err;
}

int om_graph_set_input_shape(om_graph *g, int input, const om_shape *shape)
{
    if (input < 0 || input >= g->n_inputs) return om_fail(OM_ERR_ARG, "graph: no input %d", input);
    if (shape->rank < 0 || shape->rank > OM_MAX_RANK)
        return om_fail(OM_ERR_ARG, "graph: an input needs a rank");
    om_value *v = &g->values[g->inputs[input]];
    for (int i = 0; i < OM_MAX_RANK; i++)
        if (i >= shape->rank || shape->dim[i] >= 0) {
            om_free(v->dim_param[i]);
            v->dim_param[i] = NULL;
        }
    v->shape = *shape;
    for (int i = 0; i < g->n_values; i++)
        if (g->values[i].producer >= 0) g->values[i].shape = (om_shape){.rank = -1};
    return OM_OK;
}

/* The node's outputs as constants of their own, if all are known from constants alone. */
static int fold_node(om_infer *in, int node, bool *folded)
{
    om_graph *g = in->g;
    om_node *n = &g->nodes[node];
    int err = OM_OK;
    *folded = false;
    for (int i = 0; i < n->n_outputs; i++) {
        if (n->outputs[i] < 0) continue;
        const om_part *p = in->parts[n->outputs[i]];
        if (!p || !p->pure || !om_part_complete(p) || g->values[n->outputs[i]].is_output) return OM_OK;
    }
    for (int i = 0; i < n->n_outputs && err >= 0; i++) {
        if (n->outputs[i] < 0) continue;
        om_value *v = &g->values[n->outputs[i]];
        err = om_part_to_const(in->parts[n->outputs[i]], &v->constant);
    }
    if (err >= 0) *folded = true;
    for (int i = 0; err < 0 && i < n->n_outputs; i++)
        if (n->outputs[i] >= 0) {
            om_const_destroy(g->values[n->outputs[i]].constant);
            g->values[n->outputs[i]].constant = NULL;
        }
    return err;
}

int om_graph_fold_constants(om_graph *g)
{
    om_infer in;
    bool folded;
    int err = om_graph_sort(g);
    if (err < 0) return err;
    err = om_infer_init(&in, g, NULL, om_graph_opset(g, ""), FOLD_LIMIT);
    if (err >= 0) err = om_infer_run(&in);
    for (int i = 0; i < g->n_nodes && err >= 0; i++) {
        if (g->nodes[i].dead) continue;
        err = fold_node(&in, i, &folded);
        if (err >= 0 && folded) om_graph_remove_node(g, i);
    }
    om_infer_fini(&in);
    return err < 0 ? err : om_graph_compact(g);
}
