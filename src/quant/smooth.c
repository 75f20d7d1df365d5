/* Layers whose input's channels differ in size, where no layer before them can be scaled: what they read is
 * multiplied by a number a channel, which engines join with the grid behind it, and their weights are divided
 * by it. Behind a depthwise convolution's input one grid then serves all channels as if each had its own.
 * Where all channels are summed, the weights of an output share one grid too, and the numbers are chosen by
 * what both grids do to the output. */
#include <math.h>

#include "base/mem.h"
#include "omma/error.h"
#include "quant/quantizer.h"

#define MOST 256.0      /* a channel is made larger by no more than this than the largest one */
#define LEAST_GAIN 0.22 /* of the natural logarithm of the step, in the mean of all channels: 2 dB */
#define LEAST_LOSS 0.63 /* of the noise at the output that may be left: 2 dB */
#define DEAR_LOSS 0.4   /* where the input gets a grid of its own by it, beside that of others: 4 dB */
#define PARTS 4         /* of the difference between channels that may be evened */
#define FITTED 0.5      /* of the noise of rounded weights is left where their errors cancel */

typedef struct channels {
    int64_t n, step; /* weights of channel i lie at k with k / step % n == i */
    const om_act *act;
    double *size; /* of each, that becomes 1 */
} channels;

/* Sizes for which all channels lie within -low..high; the mean logarithm of what a step is in each of them.
 */
static double fit(channels *c, double low, double high)
{
    double largest = 0, sum = 0;
    for (int64_t i = 0; i < c->n; i++) {
        double lo = fmax(-(double)c->act->ends[2 * i], 0), hi = fmax((double)c->act->ends[2 * i + 1], 0);
        if (lo > 0 && low <= 0) return INFINITY;
        if (hi > 0 && high <= 0) return INFINITY;
        c->size[i] = fmax(lo > 0 ? lo / low : 0, hi > 0 ? hi / high : 0);
        largest = fmax(largest, c->size[i]);
    }
    for (int64_t i = 0; i < c->n; i++) {
        c->size[i] = fmax(c->size[i], largest / MOST);
        sum += log(c->size[i]);
    }
    return largest > 0 ? sum / (double)c->n + log(low + high) : INFINITY;
}

/* From the least to the largest number of all channels, each made smaller by its size. */
static om_span span_of(const channels *c, bool sized)
{
    om_span r = {0, 0};
    for (int64_t i = 0; i < c->n; i++) {
        double by = sized ? c->size[i] : 1;
        r.lo = fmin(r.lo, (double)c->act->ends[2 * i] / by);
        r.hi = fmax(r.hi, (double)c->act->ends[2 * i + 1] / by);
    }
    return r;
}

/* As it is: one size for all. */
static double plain(const channels *c, bool symmetric)
{
    om_span r = span_of(c, false);
    return log(symmetric ? 2 * fmax(-r.lo, r.hi) : r.hi - r.lo);
}

/* Around zero both sides cost the same; else the smaller side gets the part of the grid that serves all best.
 * False: not worth a multiplication. */
static bool choose_sizes(channels *c, bool symmetric)
{
    static const double parts[] = {0, 1.0 / 16, 1.0 / 8, 1.0 / 4, 1.0 / 2};
    double least = fit(c, 1, 1), low = 1, high = 1;
    for (size_t i = 0; i < 2 * sizeof parts / sizeof parts[0] && !symmetric; i++) {
        double l = i % 2 ? 1 : parts[i / 2], h = i % 2 ? parts[i / 2] : 1, loss = fit(c, l, h);
        if (loss < least) least = loss, low = l, high = h;
    }
    return fit(c, low, high) < plain(c, symmetric) - LEAST_GAIN;
}

/* Relative to their mean, so that the weights stay about as large as they are. */
static void center(channels *c)
{
    double sum = 0;
    for (int64_t i = 0; i < c->n; i++) sum += log(c->size[i]);
    for (int64_t i = 0; i < c->n; i++) c->size[i] /= exp(sum / (double)c->n);
}

/* The power at the outputs of what the input's grid and the weights' grids do, with these sizes. */
static double noise_at_outputs(const om_quantizer *q, const om_layer *l, const channels *c)
{
    const om_node *n = &q->g->nodes[l->node];
    const float *w = q->g->values[n->inputs[1]].constant->data;
    om_weight_form form;
    if (!om_weight_form_of(q->g, n, &form)) return INFINITY;
    om_span r = span_of(c, true);
    double step = (r.hi - r.lo) / 255, most = (1 << (q->weight_bits - 1)) - 1, of_input = 0, of_weights = 0;
    for (int64_t o = 0; o < form.n; o++) {
        double largest = 0, power = 0;
        OM_FOR_CHANNEL(&form, o, at)
        {
            int64_t i = at / c->step % c->n;
            double x = (double)w[at] * c->size[i];
            largest = fmax(largest, fabs(x));
            of_input += x * x;
            power += c->act->power[i] / (c->size[i] * c->size[i]);
        }
        of_weights += largest * largest * power;
    }
    of_weights *= (l->gram ? FITTED : 1) / (most * most * (double)c->act->n_power);
    return step * step * of_input + of_weights;
}

/* False: not worth a multiplication. */
static bool choose_parts(const om_quantizer *q, const om_layer *l, double most, channels *c)
{
    double largest = 0, least = INFINITY, as_is = INFINITY;
    int best = 0;
    for (int64_t i = 0; i < c->n; i++)
        largest = fmax(largest, fmax(-(double)c->act->ends[2 * i], (double)c->act->ends[2 * i + 1]));
    for (int k = 0; k <= PARTS + 1 && largest > 0; k++) {
        int part = k > PARTS ? best : k; /* the best one once more at the end */
        for (int64_t i = 0; i < c->n; i++) {
            double size = fmax(-(double)c->act->ends[2 * i], (double)c->act->ends[2 * i + 1]);
            c->size[i] = pow(fmax(size / largest, 1 / MOST), (double)part / PARTS);
        }
        double noise = noise_at_outputs(q, l, c);
        if (!k) as_is = noise;
        if (noise < least) least = noise, best = part;
    }
    return best > 0 && least < most * as_is;
}

static int insert(om_quantizer *q, int node, const channels *c)
{
    om_graph *g = q->g;
    int v = g->nodes[node].inputs[0], rank = g->values[v].shape.rank;
    om_const *w = g->values[g->nodes[node].inputs[1]].constant;
    om_shape shape = om_shape_make(0);
    for (; shape.rank < rank; shape.rank++) shape.dim[shape.rank] = 1;
    shape.dim[c->act->last ? rank - 1 : 1] = c->n;
    float *by = om_alloc((size_t)c->n * sizeof *by);
    char *name = om_sprintf("%s_evened", g->values[v].name);
    int err = by && name ? OM_OK : OM_ERR_NOMEM, k = err;
    for (int64_t i = 0; i < c->n && !err; i++) by[i] = (float)(1 / c->size[i]);
    if (!err) err = k = om_graph_add_const(g, NULL, OM_DTYPE_F32, &shape, by);
    if (err >= 0) err = om_graph_add_node(g, "Mul", name, (int[]){v, k}, 2, 1);
    om_free(name);
    if (err >= 0) {
        g->nodes[node].inputs[0] = om_node_out(g, err);
        float *x = w->data;
        for (int64_t i = 0, all = om_shape_count(&w->shape); i < all; i++) x[i] /= by[i / c->step % c->n];
    }
    om_free(by);
    return err < 0 ? err : OM_OK;
}

/* Numbers of each channel were seen, and nothing else reads the weights. */
static bool fits(const om_quantizer *q, const om_layer *l, const int *uses)
{
    const om_graph *g = q->g;
    const om_node *n = &g->nodes[l->node];
    int v = n->inputs[0];
    if (!l->quantised || g->values[v].producer < 0 || uses[n->inputs[1]] != 1) return false;
    return q->acts[l->act].ends && g->values[v].shape.rank >= 2;
}

/* Others read the layer's input too, or it lies on one grid with what it is joined of. */
static bool shares_grid(const om_quantizer *q, const om_layer *l, const int *uses)
{
    int v = q->g->nodes[l->node].inputs[0];
    return uses[v] != 1 || q->role[q->g->values[v].producer] == OM_ROLE_PASS;
}

static bool is_depthwise(const om_quantizer *q, const om_layer *l)
{
    const om_node *n = &q->g->nodes[l->node];
    const om_shape *w = &q->g->values[n->inputs[1]].constant->shape;
    int64_t groups = om_node_attr_int(n, "group", 1);
    return om_quant_is(q->g, l->node, "Conv") && groups > 1 && w->dim[1] == 1 && w->dim[0] % groups == 0;
}

/* Of a layer that sums all channels: how far those of one output lie apart; 0: it is another. */
static int64_t step_between(const om_quantizer *q, const om_layer *l)
{
    const om_node *n = &q->g->nodes[l->node];
    const om_shape *w = &q->g->values[n->inputs[1]].constant->shape;
    int axis = 0;
    if (om_quant_is(q->g, l->node, "Conv")) axis = om_node_attr_int(n, "group", 1) == 1 ? 1 : -1;
    else if (om_quant_is(q->g, l->node, "Gemm")) axis = om_node_attr_int(n, "transB", 0) ? 1 : 0;
    else if (!om_quant_is(q->g, l->node, "MatMul")) axis = -1;
    if (axis < 0 || w->dim[axis] != q->acts[l->act].n_ends) return 0;
    int64_t step = 1;
    for (int i = axis + 1; i < w->rank; i++) step *= w->dim[i];
    return step;
}

int om_quant_smooth(om_quantizer *q, const om_layer *l, const int *uses)
{
    if (!fits(q, l, uses)) return 0;
    const om_act *a = &q->acts[l->act];
    const om_shape *w = &q->g->values[q->g->nodes[l->node].inputs[1]].constant->shape;
    bool symmetric = q->p->target == OM_QUANT_CUDA, alone = is_depthwise(q, l), worth = false,
         shared = shares_grid(q, l, uses);
    if (alone && shared) return 0;
    channels c = {.n = a->n_ends, .act = a};
    if (alone) c.step = om_shape_count(w) / a->n_ends;
    else if (!symmetric) c.step = step_between(q, l); /* of a GPU's layers it would be another */
    if (!c.step || (alone && om_node_attr_int(&q->g->nodes[l->node], "group", 1) != a->n_ends)) return 0;
    c.size = om_alloc((size_t)c.n * sizeof *c.size);
    if (!c.size) return OM_ERR_NOMEM;
    worth = alone ? choose_sizes(&c, symmetric) : choose_parts(q, l, shared ? DEAR_LOSS : LEAST_LOSS, &c);
    int err = OM_OK;
    if (worth) {
        center(&c);
        err = insert(q, l->node, &c);
    }
    om_free(c.size);
    return err < 0 ? err : worth;
}
