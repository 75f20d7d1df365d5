/* Channels of one tensor made alike in size, where the layers before and behind it can be scaled instead. One
 * grid then serves all of them: depthwise convolutions, whose channels differ most, gain most. */
#include <math.h>

#include "base/mem.h"
#include "omma/error.h"
#include "quant/quantizer.h"

#define MOST 256.0 /* a channel is scaled by no more than this */

/* before -> (Relu | LeakyRelu) -> behind, which alone reads it. */
typedef struct pair {
    int before, behind, act;
    bool depthwise;
    int64_t n; /* channels between them */
} pair;

static int *count_uses(const om_graph *g)
{
    int *uses = om_calloc((size_t)g->n_values + 1, sizeof *uses);
    for (int i = 0; uses && i < g->n_nodes; i++)
        for (int k = 0; !g->nodes[i].dead && k < g->nodes[i].n_inputs; k++)
            if (g->nodes[i].inputs[k] >= 0) uses[g->nodes[i].inputs[k]]++;
    for (int i = 0; uses && i < g->n_outputs; i++) uses[g->outputs[i]]++;
    return uses;
}

static bool has_graphs(const om_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_attrs; k++)
            if (g->nodes[i].attrs[k].graphs) return true;
    return false;
}

/* Weights and bias that are this convolution's alone. */
static bool owns_weights(const om_graph *g, const int *uses, int node)
{
    const om_node *n = &g->nodes[node];
    for (int k = 1; k < n->n_inputs; k++) {
        int v = n->inputs[k];
        if (v < 0) continue;
        const om_const *c = g->values[v].constant;
        if (!c || !c->data || c->dtype != OM_DTYPE_F32 || uses[v] != 1) return false;
    }
    return n->n_inputs > 1;
}

static bool find_pair(const om_quantizer *q, const int *uses, const om_layer *l, pair *out)
{
    const om_graph *g = q->g;
    const om_node *b = &g->nodes[l->node];
    int v = b->inputs[0];
    if (!l->quantised || !om_quant_is(g, l->node, "Conv") || uses[v] != 1 || !owns_weights(g, uses, l->node))
        return false;
    int maker = g->values[v].producer;
    if (om_quant_is(g, maker, "Relu") || om_quant_is(g, maker, "LeakyRelu")) {
        v = g->nodes[maker].inputs[0];
        if (uses[v] != 1) return false;
        maker = g->values[v].producer;
    }
    if (!om_quant_is(g, maker, "Conv") || !owns_weights(g, uses, maker)) return false;
    const om_shape *wa = &g->values[g->nodes[maker].inputs[1]].constant->shape;
    const om_shape *wb = &g->values[b->inputs[1]].constant->shape;
    int64_t groups = om_node_attr_int(b, "group", 1), n = wa->dim[0];
    *out =
        (pair){.before = maker, .behind = l->node, .act = l->act, .depthwise = groups == n && n > 1, .n = n};
    bool fits = out->depthwise ? wb->dim[1] == 1 && wb->dim[0] % n == 0 : groups == 1 && wb->dim[1] == n;
    return fits && q->acts[l->act].ends && q->acts[l->act].n_ends == n;
}

/* Of the weights that read channel `c`: scales them where `by` is not 0; their largest. */
static double behind_channel(om_graph *g, const pair *p, int64_t c, double by)
{
    om_const *w = g->values[g->nodes[p->behind].inputs[1]].constant;
    int64_t rows = w->shape.dim[0], columns = w->shape.dim[1],
            window = om_shape_count(&w->shape) / (rows * columns);
    int64_t each = p->depthwise ? rows / p->n : rows, first = p->depthwise ? c * each : 0;
    double most = 0;
    for (int64_t r = first; r < first + each; r++) {
        float *v = (float *)w->data + (r * columns + (p->depthwise ? 0 : c)) * window;
        for (int64_t i = 0; i < window; i++) {
            most = fmax(most, fabs((double)v[i]));
            if (by != 0) v[i] = (float)((double)v[i] * by);
        }
    }
    return most;
}

static void shrink_before(om_graph *g, const pair *p, int64_t c, double by)
{
    const om_node *n = &g->nodes[p->before];
    for (int k = 1; k < n->n_inputs && k < 3; k++) {
        if (n->inputs[k] < 0) continue;
        om_const *w = g->values[n->inputs[k]].constant;
        int64_t each = om_shape_count(&w->shape) / w->shape.dim[0];
        float *v = (float *)w->data + c * each;
        for (int64_t i = 0; i < each; i++) v[i] = (float)((double)v[i] / by);
    }
}

/* A depthwise layer has a grid a channel for its weights, so that scaling costs it nothing; another's weights
 * of all channels share a grid, and take half of the difference. */
static void equalise(om_quantizer *q, const pair *p)
{
    const om_act *a = &q->acts[p->act];
    double mean = 0;
    int64_t n = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t c = 0; c < p->n; c++) {
            double w = behind_channel(q->g, p, c, 0),
                   s = fmax(-(double)a->ends[2 * c], (double)a->ends[2 * c + 1]);
            if (!(s > 0) || !(w > 0)) continue;
            if (!p->depthwise) s = sqrt(s / w);
            if (!pass) {
                mean += log(s);
                n++;
                continue;
            }
            s = fmin(fmax(s / exp(mean / (double)n), 1 / MOST), MOST);
            shrink_before(q->g, p, c, s);
            behind_channel(q->g, p, c, s);
        }
}

/* Pairs first: a layer whose input is even by then needs nothing more. */
static int equalise_all(om_quantizer *q, const int *uses, int *smoothed)
{
    int done = 0;
    for (int i = 0; i < q->n_layers; i++) {
        pair p;
        if (find_pair(q, uses, &q->layers[i], &p)) {
            equalise(q, &p);
            done++;
            continue;
        }
        int more = om_quant_smooth(q, &q->layers[i], uses);
        if (more < 0) return more;
        *smoothed += more;
    }
    return done + *smoothed;
}

int om_quantizer_equalise(om_quantizer *q)
{
    int smoothed = 0, *uses = count_uses(q->g);
    if (!uses) return OM_ERR_NOMEM;
    int done = has_graphs(q->g) ? 0 : equalise_all(q, uses, &smoothed), err = done < 0 ? done : OM_OK;
    om_free(uses);
    if (err >= 0 && smoothed) err = om_graph_sort(q->g);
    if (err >= 0 && smoothed) err = om_graph_infer_shapes(q->g);
    if (err >= 0) err = om_quant_select_anew(q);
    q->equalised = true;
    return err < 0 ? err : done;
}
