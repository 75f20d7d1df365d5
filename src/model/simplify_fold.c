/* What comes from constants, or from shapes that are known, becomes a constant. */
#include <float.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/infer.h"
#include "model/simplify.h"

#define SMALL 4096 /* elements that every value may have: shapes and what is made of them */
#define LARGE                                                                                                \
    1048576 /* elements that may be made where the inputs are smaller: a large picture's anchors             \
             */
#define LARGEST 16777216 /* elements of an input that is computed with, at 17 bytes each */
#define MIN_SLOTS 4      /* evaluators look at fixed places */

static void destroy_parts(om_part **parts, int n)
{
    for (int i = 0; parts && i < n; i++) om_part_destroy(parts[i]);
    om_free(parts);
}

/* The node's outputs become constants, and it goes; on failure nothing has changed. */
static int adopt(om_simplifier *s, int node, om_part *const *parts)
{
    om_graph *g = s->g;
    const om_node *n = &g->nodes[node];
    int err = OM_OK, i = 0;
    for (; i < n->n_outputs && err >= 0; i++)
        if (n->outputs[i] >= 0) err = om_part_to_const(parts[i], &g->values[n->outputs[i]].constant);
    for (; err < 0 && i-- > 0;) {
        if (n->outputs[i] < 0) continue;
        om_const_destroy(g->values[n->outputs[i]].constant);
        g->values[n->outputs[i]].constant = NULL;
    }
    if (err < 0) return err;
    om_simplify_remove(s, node);
    return 1;
}

static bool is_kept(const om_graph *g, const om_node *n)
{
    for (int i = 0; i < n->n_outputs; i++)
        if (n->outputs[i] >= 0 && g->values[n->outputs[i]].is_output) return true;
    return false;
}

/* From shape inference: all outputs are known already. */
static int fold_known(om_simplifier *s, om_infer *in, int node)
{
    const om_node *n = &s->g->nodes[node];
    om_part **parts = om_calloc((size_t)n->n_outputs + 1, sizeof *parts);
    if (!parts) return OM_ERR_NOMEM;
    bool all = true;
    for (int i = 0; i < n->n_outputs && all; i++) {
        if (n->outputs[i] < 0) continue;
        parts[i] = in->parts[n->outputs[i]];
        all = parts[i] && om_part_complete(parts[i]);
    }
    int r = all ? adopt(s, node, parts) : 0;
    om_free(parts);
    return r;
}

/* Large ones that only move: the same bytes under another shape. */
static int fold_copy(om_simplifier *s, int node, const om_const *from)
{
    om_graph *g = s->g;
    om_value *v = &g->values[om_node_out(g, node)];
    om_const *c;
    if (!from || !from->data || v->dtype != from->dtype ||
        om_shape_count(&v->shape) != om_shape_count(&from->shape))
        return 0;
    int err = om_const_clone(from, &c);
    if (err < 0) return err;
    om_free(c->unknown.bytes); /* a name and a doc that were the old place's */
    c->unknown = (om_unknown){0};
    c->shape = v->shape;
    v->constant = c;
    om_simplify_remove(s, node);
    return 1;
}

/* Parts of the inputs that are too large for inference to have made them. */
static int read_inputs(om_infer *in, const om_node *n, const om_part **ins, om_part **own, int64_t *total)
{
    for (int i = 0; i < n->n_inputs; i++) {
        int v = n->inputs[i];
        if (v < 0) continue;
        const om_const *c = in->g->values[v].constant;
        if (!in->parts[v]) {
            int err = om_part_from_const(c, LARGEST, &own[i]);
            if (err < 0) return err;
            if (!own[i]) return 0;
        }
        ins[i] = own[i] ? own[i] : in->parts[v];
        *total += ins[i]->n;
    }
    return 1;
}

static int make_outputs(const om_graph *g, const om_node *n, int64_t total, om_part **outs)
{
    for (int i = 0; i < n->n_outputs; i++) {
        if (n->outputs[i] < 0) continue;
        const om_value *v = &g->values[n->outputs[i]];
        int64_t count = om_shape_count(&v->shape);
        if (count < 0 || !om_dtype_size(v->dtype) || (count > LARGE && count > total)) return 0;
        int err = om_part_create(v->dtype, &v->shape, &outs[i]);
        if (err < 0) return err;
    }
    return 1;
}

/* Evaluators ask om_infer for parts too, so that it must know ours meanwhile. */
static void lend(om_infer *in, const om_node *n, om_part **own, bool back)
{
    for (int i = 0; i < n->n_inputs; i++) {
        if (!own[i]) continue;
        in->parts[n->inputs[i]] = back ? NULL : own[i];
    }
}

static int fold_large(om_simplifier *s, om_infer *in, int node, const om_op_row *row)
{
    const om_node *n = &s->g->nodes[node];
    om_call c = {in, s->g, n, in->opset, row->variant};
    const om_part **ins = om_calloc((size_t)n->n_inputs + MIN_SLOTS, sizeof *ins);
    om_part **own = om_calloc((size_t)n->n_inputs + MIN_SLOTS, sizeof *own);
    om_part **outs = om_calloc((size_t)n->n_outputs + MIN_SLOTS, sizeof *outs);
    int64_t total = 0;
    int r = ins && own && outs ? read_inputs(in, n, ins, own, &total) : OM_ERR_NOMEM;
    if (r > 0) {
        /* Shape inference has not seen what folding made of the inputs in this round. */
        lend(in, n, own, false);
        r = row->infer(&c);
        if (r >= 0) r = make_outputs(s->g, n, total, outs);
        if (r > 0) {
            int err = row->eval(&c, ins, outs);
            r = err < 0 ? err : 1;
        }
        lend(in, n, own, true);
    }
    for (int i = 0; r > 0 && i < n->n_outputs; i++)
        if (n->outputs[i] >= 0 && !om_part_complete(outs[i])) r = 0;
    if (r > 0) r = adopt(s, node, outs);
    om_free(ins);
    destroy_parts(own, n->n_inputs);
    destroy_parts(outs, n->n_outputs);
    return r;
}

static bool constant_inputs(const om_graph *g, const om_node *n)
{
    for (int i = 0; i < n->n_inputs; i++)
        if (n->inputs[i] >= 0 && !g->values[n->inputs[i]].constant) return false;
    return true;
}

/* Clip with bounds by input or, before opset 11, by attribute: shape inference has no use for it, but padding
 * that is computed goes through it. */
static int eval_clip(const om_call *c, const om_part *const *in, om_part **out)
{
    const om_part *x = in[0], *low = in[1], *high = in[2];
    if (!x || !out[0] || x->n != out[0]->n || (low && low->n != 1) || (high && high->n != 1)) return OM_OK;
    bool real = om_dtype_is_float(x->dtype);
    for (int64_t i = 0; i < x->n; i++) {
        om_num v = x->v[i];
        if (real) {
            double least = low ? low->v[0].f : (double)om_node_attr_float(c->n, "min", -FLT_MAX);
            double most = high ? high->v[0].f : (double)om_node_attr_float(c->n, "max", FLT_MAX);
            if (v.f < least && (low || om_node_attr(c->n, "min"))) v.f = least;
            if (v.f > most && (high || om_node_attr(c->n, "max"))) v.f = most;
        } else {
            if (low && v.i < low->v[0].i) v.i = low->v[0].i;
            if (high && v.i > high->v[0].i) v.i = high->v[0].i;
        }
        out[0]->v[i] = v;
        out[0]->known[i] = x->known[i];
    }
    return OM_OK;
}

/* What is evaluated here alone. */
static const om_op_row own_rows[] = {{"Clip", om_infer_same, eval_clip, 0}};

static const om_op_row *find_row(const char *op)
{
    for (size_t i = 0; i < sizeof own_rows / sizeof own_rows[0]; i++)
        if (!strcmp(op, own_rows[i].op)) return &own_rows[i];
    return om_op_find(op);
}

static int fold_node(om_simplifier *s, om_infer *in, int node)
{
    const om_node *n = &s->g->nodes[node];
    if (n->dead || (*n->domain && strcmp(n->domain, "ai.onnx")) || is_kept(s->g, n)) return 0;
    const om_op_row *row = find_row(n->op);
    if (!row || !row->eval) return 0;
    int r = fold_known(s, in, node);
    if (r || !constant_inputs(s->g, n)) return r;
    if (row->eval == om_eval_constant) {
        const om_attr *a = om_node_attr(n, "value");
        return a && a->type == OM_ATTR_TENSOR ? fold_copy(s, node, a->tensors[0]) : 0;
    }
    if (row->eval == om_eval_copy && n->n_outputs == 1)
        return fold_copy(s, node, om_simplify_const(s, node, 0));
    return fold_large(s, in, node, row);
}

int om_simplify_fold(om_simplifier *s)
{
    om_infer in;
    int folded = 0, err = om_infer_init(&in, s->g, NULL, om_graph_opset(s->g, ""), SMALL);
    if (err >= 0) err = om_infer_run(&in);
    for (int i = 0; i < s->g->n_nodes && err >= 0; i++) {
        err = fold_node(s, &in, i);
        if (err > 0) folded++;
    }
    om_infer_fini(&in);
    return err < 0 ? err : folded;
}
