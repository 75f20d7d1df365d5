/* Depthwise convolutions whose channels differ in size, where no layer before them can be scaled: what they
 * read is multiplied by a number a channel, which engines join with the grid behind it, and their weights are
 * divided by it. One grid then serves all channels, as if each had its own. */
#include <math.h>

#include "base/mem.h"
#include "omma/error.h"
#include "quant/quantizer.h"

#define MOST 256.0      /* a channel is made larger by no more than this than the largest one */
#define LEAST_GAIN 0.22 /* of the natural logarithm of the step, in the mean of all channels: 2 dB */

typedef struct channels {
    int64_t n;
    const float *ends;
    double *size; /* of each, that becomes 1 */
} channels;

/* Sizes for which all channels lie within -low..high; the mean logarithm of what a step is in each of them.
 */
static double fit(channels *c, double low, double high)
{
    double largest = 0, sum = 0;
    for (int64_t i = 0; i < c->n; i++) {
        double lo = fmax(-(double)c->ends[2 * i], 0), hi = fmax((double)c->ends[2 * i + 1], 0);
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

/* As it is: one size for all. */
static double plain(const channels *c, bool symmetric)
{
    double lo = 0, hi = 0;
    for (int64_t i = 0; i < c->n; i++) {
        lo = fmax(lo, -(double)c->ends[2 * i]);
        hi = fmax(hi, (double)c->ends[2 * i + 1]);
    }
    return log(symmetric ? 2 * fmax(lo, hi) : lo + hi);
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

static bool fits(const om_quantizer *q, const om_layer *l, const int *uses)
{
    const om_graph *g = q->g;
    const om_node *n = &g->nodes[l->node];
    int v = n->inputs[0], maker = g->values[v].producer;
    if (!l->quantised || !om_quant_is(g, l->node, "Conv") || maker < 0 || uses[v] != 1) return false;
    if (q->role[maker] == OM_ROLE_PASS || uses[n->inputs[1]] != 1) return false;
    const om_act *a = &q->acts[l->act];
    const om_shape *w = &g->values[n->inputs[1]].constant->shape;
    int64_t groups = om_node_attr_int(n, "group", 1);
    return groups > 1 && w->dim[1] == 1 && w->dim[0] % groups == 0 && a->ends && a->n_ends == groups;
}

static int insert(om_quantizer *q, int node, const channels *c)
{
    om_graph *g = q->g;
    int v = g->nodes[node].inputs[0], rank = g->values[g->nodes[node].inputs[1]].constant->shape.rank;
    om_const *w = g->values[g->nodes[node].inputs[1]].constant;
    om_shape shape = om_shape_make(2, (int64_t)1, c->n);
    int64_t each = om_shape_count(&w->shape) / c->n;
    for (; shape.rank < rank; shape.rank++) shape.dim[shape.rank] = 1;
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
        for (int64_t i = 0; i < c->n * each; i++) x[i] /= by[i / each];
    }
    om_free(by);
    return err < 0 ? err : OM_OK;
}

/* Relative to their mean, so that the weights stay about as large as they are. */
static void center(channels *c)
{
    double sum = 0;
    for (int64_t i = 0; i < c->n; i++) sum += log(c->size[i]);
    for (int64_t i = 0; i < c->n; i++) c->size[i] /= exp(sum / (double)c->n);
}

int om_quant_smooth(om_quantizer *q, const om_layer *l, const int *uses)
{
    if (!fits(q, l, uses)) return 0;
    const om_act *a = &q->acts[l->act];
    channels c = {.n = a->n_ends, .ends = a->ends, .size = om_alloc((size_t)a->n_ends * sizeof *c.size)};
    if (!c.size) return OM_ERR_NOMEM;
    int done = 0;
    if (choose_sizes(&c, q->p->target == OM_QUANT_CUDA)) {
        center(&c);
        int err = insert(q, l->node, &c);
        done = err < 0 ? err : 1;
    }
    om_free(c.size);
    return done;
}
