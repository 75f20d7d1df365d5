/* The picture's own levels: pixels are whole numbers of 0..255, and a grid that has a place for each of them
 * loses nothing. Where the mean that is taken off lies between two levels (127.5), no grid with a place for
 * zero has that: every level falls between two places. There a part of a level is added before the first
 * layers, and taken off their biases; what is left are borders, whose zeros are that part of a level away. */
#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "quant/quantizer.h"

#define NEXT_TO_NOTHING 1e-3 /* of a level */

/* All that reads the input are convolutions that become int8. */
static bool convolutions_alone(const om_quantizer *q, int value)
{
    const om_graph *g = q->g;
    int readers = 0;
    for (int i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == value) return false;
    for (int i = 0; i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        for (int k = 0; k < n->n_inputs && !n->dead; k++) {
            if (n->inputs[k] != value) continue;
            int l = q->layer_of[i];
            if (k || l < 0 || !q->layers[l].quantised || !om_quant_is(g, i, "Conv")) return false;
            readers++;
        }
    }
    return readers > 0;
}

/* A bias of the layer's own that makes `by`, added to all of its input, undone. */
static int lower_bias(om_graph *g, int node, double by)
{
    om_weight_form f;
    const om_node *n = &g->nodes[node];
    if (!om_weight_form_of(g, n, &f)) return om_fail(OM_ERR_INTERNAL, "a layer without weights");
    const float *w = g->values[n->inputs[1]].constant->data,
                *was = n->n_inputs > 2 && n->inputs[2] >= 0 ? g->values[n->inputs[2]].constant->data : NULL;
    om_shape shape = om_shape_make(1, f.n);
    float *bias = om_alloc((size_t)f.n * sizeof *bias);
    if (!bias) return OM_ERR_NOMEM;
    for (int64_t c = 0; c < f.n; c++) {
        double sum = 0;
        OM_FOR_CHANNEL(&f, c, at) sum += (double)w[at];
        bias[c] = (float)((was ? (double)was[c] : 0) - by * sum);
    }
    int v = om_graph_add_const(g, NULL, OM_DTYPE_F32, &shape, bias);
    om_free(bias);
    return v < 0 ? v : om_quant_set_input(g, node, 2, v);
}

/* The value that all layers read instead of `value`: `by` more. */
static int shift(om_quantizer *q, int value, double by)
{
    om_graph *g = q->g;
    int n_nodes = g->n_nodes, err = OM_OK;
    int k = om_graph_add_const_f32(g, NULL, (float)by);
    char *name = om_sprintf("%s_levels", g->values[value].name);
    int node = !name ? OM_ERR_NOMEM : k < 0 ? k : om_graph_add_node(g, "Add", name, (int[]){value, k}, 2, 1);
    om_free(name);
    if (node < 0) return node;
    int to = om_node_out(g, node);
    for (int i = 0; i < n_nodes && err >= 0; i++) {
        if (g->nodes[i].dead || g->nodes[i].n_inputs < 1 || g->nodes[i].inputs[0] != value) continue;
        g->nodes[i].inputs[0] = to;
        err = lower_bias(g, i, by);
    }
    if (err >= 0) err = om_graph_sort(g);
    if (err >= 0) err = om_graph_infer_shapes(g);
    if (err >= 0) err = om_quant_select_anew(q);
    return err < 0 ? err : to;
}

int om_quantizer_set_levels(om_quantizer *q, double mean, double scale)
{
    int value = OM_NO_VALUE;
    for (int i = 0; i < q->n_acts; i++)
        if (q->g->values[q->acts[i].value].is_input) value = q->acts[i].value;
    if (value < 0 || !(scale > 0) || !isfinite(mean) || mean < 0 || mean > 255) return OM_OK;
    double whole = floor(mean + 0.5), by = mean - whole; /* a level less than half away */
    if (fabs(by) > NEXT_TO_NOTHING) {
        if (q->p->target != OM_QUANT_CPU || !convolutions_alone(q, value)) return OM_OK;
        value = shift(q, value, by * scale);
        if (value < 0) return value;
    }
    q->levels_of = value;
    q->levels = (om_span){-whole * scale, (255 - whole) * scale};
    return OM_OK;
}
