/* LSTMs: their input's product for all steps becomes a matrix product of its own, which is tuned and fused
 * like any other; what is left is the recurrence, one launch for all steps. */
#include "backend/cuda/recurrent.h"

#include <string.h>

#include "backend/cuda/product.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

enum { X, W, R, B, LENGTHS, H0, C0, PEEPHOLES, PORTS };

static int port(const om_node *n, int i) { return i < n->n_inputs ? n->inputs[i] : OM_NO_VALUE; }

static const om_const *constant(const om_graph *g, const om_node *n, int i)
{
    int v = port(n, i);
    return v < 0 ? NULL : g->values[v].constant;
}

static bool is_float(const om_const *c) { return c && c->dtype == OM_DTYPE_F32 && c->data; }

/* All sequences as long as the input: what an absent list means. */
static bool whole_lengths(const om_graph *g, const om_node *n, int64_t steps)
{
    const om_const *c = constant(g, n, LENGTHS);
    if (port(n, LENGTHS) < 0) return true;
    if (!c || c->dtype != OM_DTYPE_I32) return false;
    for (int64_t i = 0; i < om_shape_count(&c->shape); i++)
        if (((const int32_t *)c->data)[i] != steps) return false;
    return true;
}

static bool usual_activations(const om_node *n)
{
    static const char *const usual[] = {"Sigmoid", "Tanh", "Tanh"};
    const om_attr *a = om_node_attr(n, "activations");
    for (size_t i = 0; a && i < a->n; i++)
        if (strcmp(a->strings[i], usual[i % 3]) != 0) return false;
    return true;
}

bool omcu_lstm_takes(const om_graph *g, const om_node *n, const char **why)
{
    const om_const *w = constant(g, n, W), *r = constant(g, n, R);
    const om_shape *x = port(n, X) < 0 ? NULL : &g->values[port(n, X)].shape;
    if (!is_float(w) || !is_float(r) || (port(n, B) >= 0 && !is_float(constant(g, n, B))))
        *why = "its weights are computed; expected constants of 32-bit floats";
    else if (!x || x->rank != 3 || w->shape.rank != 3 || r->shape.rank != 3)
        *why = "its input or weights have not three dimensions";
    else if (!whole_lengths(g, n, x->dim[om_node_attr_int(n, "layout", 0) ? 1 : 0]))
        *why = "its sequences are of different lengths";
    else if (port(n, PEEPHOLES) >= 0) *why = "it has peepholes";
    else if (om_node_attr(n, "clip") || om_node_attr_int(n, "input_forget", 0) || !usual_activations(n))
        *why = "its cells are not plain (clip, input_forget, other activations)";
    else if (r->shape.dim[2] < 1 || r->shape.dim[2] > OMCU_LSTM_MAX_HIDDEN)
        *why = "its hidden size is beyond 2048";
    else return true;
    return false;
}

/* The input's weights, [directions][4 hidden][in], as a matrix [in][directions * 4 hidden]. */
static int input_weights(om_graph *g, const om_const *w)
{
    int64_t columns = w->shape.dim[0] * w->shape.dim[1], rows = w->shape.dim[2];
    om_shape shape = om_shape_make(2, rows, columns);
    float *turned = om_alloc((size_t)(rows * columns + 1) * sizeof *turned);
    if (!turned) return OM_ERR_NOMEM;
    for (int64_t c = 0; c < columns; c++)
        for (int64_t i = 0; i < rows; i++) turned[i * columns + c] = ((const float *)w->data)[c * rows + i];
    int value = om_graph_add_const(g, NULL, OM_DTYPE_F32, &shape, turned);
    om_free(turned);
    return value;
}

/* Both biases of each direction, [8 hidden], become one. */
static int input_bias(om_graph *g, const om_const *b, int64_t directions, int64_t gates)
{
    om_shape shape = om_shape_make(1, directions * gates);
    float *sum = om_calloc((size_t)(directions * gates), sizeof *sum);
    if (!sum) return OM_ERR_NOMEM;
    for (int64_t d = 0; d < directions && b; d++)
        for (int64_t i = 0; i < gates; i++) {
            const float *from = (const float *)b->data + d * 2 * gates;
            sum[d * gates + i] = from[i] + from[gates + i];
        }
    int value = om_graph_add_const(g, NULL, OM_DTYPE_F32, &shape, sum);
    om_free(sum);
    return value;
}

/* [directions][4 hidden][hidden] to [directions][hidden][4 hidden]: neighbouring gates are read together. */
static int recurrent_weights(om_graph *g, const om_const *r)
{
    int64_t directions = r->shape.dim[0], gates = r->shape.dim[1], hidden = r->shape.dim[2];
    om_shape shape = om_shape_make(3, directions, hidden, gates);
    float *turned = om_alloc((size_t)(directions * gates * hidden + 1) * sizeof *turned);
    if (!turned) return OM_ERR_NOMEM;
    for (int64_t d = 0; d < directions; d++)
        for (int64_t i = 0; i < gates; i++)
            for (int64_t k = 0; k < hidden; k++)
                turned[(d * hidden + k) * gates + i] = ((const float *)r->data)[(d * gates + i) * hidden + k];
    int value = om_graph_add_const(g, NULL, OM_DTYPE_F32, &shape, turned);
    om_free(turned);
    return value;
}

static int add_named(om_graph *g, const char *op, const char *of, int a, int b, const om_shape *shape)
{
    int in[] = {a, b};
    char *name = om_sprintf("%s/%s", of ? of : "", op);
    if (!name) return OM_ERR_NOMEM;
    int node = om_graph_add_node(g, op, name, in, 2, 1);
    om_free(name);
    if (node < 0) return node;
    int value = om_node_out(g, node);
    g->values[value].dtype = OM_DTYPE_F32;
    g->values[value].shape = *shape;
    return value;
}

/* The node itself becomes the steps: other inputs, its outputs as they are. */
static int become_steps(om_graph *g, int node, const int inputs[4])
{
    om_node *n = &g->nodes[node];
    char *op = om_strdup(OMCU_LSTM_STEPS);
    int *list = om_alloc(4 * sizeof *list);
    if (!op || !list) {
        om_free(op);
        om_free(list);
        return OM_ERR_NOMEM;
    }
    memcpy(list, inputs, 4 * sizeof *list);
    om_free(n->op);
    om_free(n->inputs);
    n->op = op;
    n->inputs = list;
    n->n_inputs = 4;
    return OM_OK;
}

static int split(om_graph *g, int node)
{
    const om_node *n = &g->nodes[node];
    const om_const *w = constant(g, n, W), *r = constant(g, n, R), *b = constant(g, n, B);
    int x = n->inputs[X], steps[4] = {0, 0, port(n, H0), port(n, C0)};
    om_shape gates = g->values[x].shape;
    int64_t directions = w->shape.dim[0], each = w->shape.dim[1];
    gates.dim[2] = directions * each;
    int weights = input_weights(g, w), bias = weights < 0 ? weights : input_bias(g, b, directions, each);
    if (bias < 0) return bias;
    steps[1] = recurrent_weights(g, r);
    if (steps[1] < 0) return steps[1];
    int product = add_named(g, "MatMul", g->nodes[node].name, x, weights, &gates);
    if (product < 0) return product;
    steps[0] = add_named(g, "Add", g->nodes[node].name, product, bias, &gates);
    return steps[0] < 0 ? steps[0] : become_steps(g, node, steps);
}

static bool is_lstm(const om_graph *g, const om_node *n)
{
    const char *why;
    return !n->dead && strcmp(n->op, "LSTM") == 0 && omcu_lstm_takes(g, n, &why);
}

int omcu_split_recurrent(const om_graph *graph, om_graph **out)
{
    bool any = false;
    om_graph *g = NULL;
    *out = NULL;
    for (int i = 0; i < graph->n_nodes; i++) any = any || is_lstm(graph, &graph->nodes[i]);
    if (!any) return OM_OK;
    int err = om_graph_clone(graph, &g), n = err ? 0 : g->n_nodes;
    for (int i = 0; i < n && err >= 0; i++)
        if (is_lstm(g, &g->nodes[i])) err = split(g, i);
    if (err >= 0) err = om_graph_sort(g);
    if (err < 0) om_graph_destroy(g);
    else *out = g;
    return err < 0 ? err : OM_OK;
}

/* ---- lowering ---- */

/* Of a state [directions, batch, hidden] (by `layout`, batch first): strides in that order. */
static void state_strides(const omcu_view *v, bool batch_first, int64_t out[3])
{
    out[0] = v->stride[batch_first ? 1 : 0];
    out[1] = v->stride[batch_first ? 0 : 1];
    out[2] = v->stride[2];
}

static bool is_wanted(const omcu_lower_state *l, const om_node *n, int i)
{
    int v = i < n->n_outputs ? n->outputs[i] : OM_NO_VALUE;
    return v >= 0 && (l->values[v].n_users || l->g->values[v].is_output);
}

static int lower_outputs(omcu_lower_state *l, const om_node *n, bool batch_first, omcu_step *s)
{
    omcu_lstm *k = &s->u.lstm;
    for (int i = 0; i < 3; i++) {
        if (!is_wanted(l, n, i)) continue;
        omcu_view *v = &s->out[s->n_out];
        int err = omcu_out_view(l, n->outputs[i], true, 1, v);
        if (err) return err;
        k->out_type[i] = v->type;
        k->out_at[i] = ++s->n_out;
        if (i) {
            state_strides(v, batch_first, k->state_stride[i - 1]);
            continue;
        }
        /* [steps, directions, batch, hidden], or [batch, steps, directions, hidden] */
        static const int from[2][4] = {{0, 1, 2, 3}, {1, 2, 0, 3}};
        for (int d = 0; d < 4; d++) k->y_stride[d] = v->stride[from[batch_first][d]];
    }
    return s->n_out ? OM_OK : om_fail(OM_ERR_INTERNAL, "an LSTM without outputs");
}

int omcu_lower_lstm_steps(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    bool batch_first = om_node_attr_int(n, "layout", 0);
    const om_shape *r = omcu_shape(l, n->inputs[1]);
    omcu_step s = {.kind = OMCU_STEP_LSTM, .n_in = 2};
    omcu_lstm *k = &s.u.lstm;
    int64_t count;
    omcu_step_name(l, node, &s);
    strncpy(s.type, "LSTM", sizeof s.type - 1);
    int err = omcu_work_view(l, n->inputs[0], &s.in[0]);
    if (!err && s.in[0].stride[2] != 1) err = omcu_dense_view(l, n->inputs[0], &s.in[0]);
    if (err) return err;
    const omcu_view *x = &s.in[0];
    k->steps = (int)x->dim[batch_first ? 1 : 0];
    k->batch = (int)x->dim[batch_first ? 0 : 1];
    k->x_step = x->stride[batch_first ? 1 : 0];
    k->x_item = x->stride[batch_first ? 0 : 1];
    k->x_type = x->type;
    k->directions = (int)r->dim[0];
    k->hidden = (int)r->dim[1];
    k->backwards = strcmp(om_node_attr_string(n, "direction", "forward"), "reverse") == 0;
    float *weights = omcu_const_floats(l, n->inputs[1], &count);
    if (!weights) return OM_ERR_NOMEM;
    err = omcu_upload(l, weights, count, count, l->work, &s.in[1]);
    om_free(weights);
    k->r_type = l->work;
    for (int i = 0; i < 2 && !err; i++) {
        if (n->inputs[2 + i] < 0) continue;
        omcu_view *v = &s.in[s.n_in];
        err = omcu_view_of(l, n->inputs[2 + i], v);
        if (err) break;
        k->in_at[i] = s.n_in++;
        k->in_type[i] = v->type;
        state_strides(v, batch_first, k->in_stride[i]);
    }
    if (!err) err = lower_outputs(l, n, batch_first, &s);
    if (!err) err = omcu_add_step(l->p, &s);
    for (int i = 0; i < 3 && err >= 0; i++)
        if (k->out_at[i]) err = omcu_written(l, n->outputs[i], &s.out[k->out_at[i] - 1]);
    return err < 0 ? err : OM_OK;
}
