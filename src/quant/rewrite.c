/* Writes the quantisation into the graph. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "quant/quantizer.h"

/* A constant named after a value; any free name where that one is taken (weights that layers share). */
static int add_const(om_graph *g, int after, const char *suffix, om_dtype dtype, const om_shape *shape,
                     const void *data)
{
    char *name = om_sprintf("%s_%s", g->values[after].name, suffix);
    if (!name) return OM_ERR_NOMEM;
    int v = om_graph_add_const(g, om_graph_find(g, name) < 0 ? name : NULL, dtype, shape, data);
    om_free(name);
    return v;
}

/* `op` of (x, scale, zero); its output, named after `after`. */
static int add_linear(om_graph *g, const char *op, int after, int x, int scale, int zero)
{
    char *name = om_sprintf("%s_%s", g->values[after].name, op);
    if (!name) return OM_ERR_NOMEM;
    int in[] = {x, scale, zero};
    int node = om_graph_add_node(g, op, name, in, zero == OM_NO_VALUE ? 2 : 3, 1);
    om_free(name);
    return node < 0 ? node : om_node_out(g, node);
}

/* The value as it is after its grid: what int8 layers read. */
static int add_act(om_quantizer *q, const om_act *a)
{
    om_graph *g = q->g;
    om_shape scalar = om_shape_make(0);
    uint8_t zero = (uint8_t)a->grid.zero; /* of s8 it is 0 */
    om_dtype dtype = a->grid.least < 0 ? OM_DTYPE_I8 : OM_DTYPE_U8;
    int s = add_const(g, a->value, "scale", OM_DTYPE_F32, &scalar, &a->grid.scale);
    if (s < 0) return s;
    int z = add_const(g, a->value, "zero_point", dtype, &scalar, &zero);
    if (z < 0) return z;
    int x = add_linear(g, "QuantizeLinear", a->value, a->value, s, z);
    return x < 0 ? x : add_linear(g, "DequantizeLinear", a->value, x, s, z);
}

/* Which nodes read int8 was decided; here they get it. */
static int place_acts(om_quantizer *q)
{
    om_graph *g = q->g;
    int *to = om_alloc(((size_t)q->n_acts + 1) * sizeof *to), err = to ? OM_OK : OM_ERR_NOMEM;
    for (int i = 0; i < q->n_acts && err >= 0; i++) {
        to[i] = q->acts[i].used ? add_act(q, &q->acts[i]) : OM_NO_VALUE;
        if (q->acts[i].used && to[i] < 0) err = to[i];
    }
    for (int i = 0; i < q->n_nodes && err >= 0; i++) {
        om_node *n = &g->nodes[i];
        if (n->dead || q->role[i] == OM_ROLE_FLOAT) continue;
        bool all = om_quant_is(g, i, "Concat") || om_quant_is(g, i, "Add");
        for (int k = 0; k < (all ? n->n_inputs : 1); k++) {
            int a = n->inputs[k] < 0 ? -1 : q->act_of[n->inputs[k]];
            if (a >= 0 && to[a] >= 0) n->inputs[k] = to[a];
        }
    }
    om_free(to);
    return err;
}

/* One layer's weights on their grids. */
typedef struct weights {
    om_weight_form form;
    const float *w, *b; /* b NULL: none */
    int64_t count;
    int8_t *q;
    float *scale; /* of each output channel */
    double *bias; /* as it will be: corrected */
    int32_t *bias_q;
    double act_scale; /* of the layer's input */
} weights;

static void weights_fini(weights *w)
{
    om_free(w->q);
    om_free(w->scale);
    om_free(w->bias);
    om_free(w->bias_q);
}

static int weights_init(weights *w, const om_quantizer *q, const om_layer *l)
{
    const om_graph *g = q->g;
    const om_node *n = &g->nodes[l->node];
    memset(w, 0, sizeof *w);
    om_weight_form_of(g, n, &w->form);
    const om_const *c = g->values[n->inputs[1]].constant;
    w->count = om_shape_count(&c->shape);
    w->w = c->data;
    if (n->n_inputs > 2 && n->inputs[2] >= 0) w->b = g->values[n->inputs[2]].constant->data;
    w->act_scale = (double)q->acts[l->act].grid.scale;
    w->q = om_alloc((size_t)w->count);
    w->scale = om_alloc((size_t)w->form.n * sizeof *w->scale);
    w->bias = om_calloc((size_t)w->form.n, sizeof *w->bias);
    w->bias_q = om_calloc((size_t)w->form.n, sizeof *w->bias_q);
    if (!w->q || !w->scale || !w->bias || !w->bias_q) return OM_ERR_NOMEM;
    for (int64_t i = 0; i < w->form.n && w->b; i++) w->bias[i] = (double)w->b[i];
    return OM_OK;
}

/* A grid a channel. A bias that 32 bits could not hold by it makes it wider: such weights are next to
 * nothing. */
static void choose_scales(weights *w, int most)
{
    for (int64_t c = 0; c < w->form.n; c++) {
        double largest = 0;
        OM_FOR_CHANNEL(&w->form, c, at) largest = fmax(largest, fabs((double)w->w[at]));
        double scale = fmax(largest / most, fabs(w->bias[c]) / (w->act_scale * 1e9));
        w->scale[c] = isnormal((float)scale) ? (float)scale : 1.0f;
    }
}

static void round_weights(weights *w, int most, double *noise, double *signal)
{
    for (int64_t c = 0; c < w->form.n; c++) OM_FOR_CHANNEL(&w->form, c, at)
        {
            double x = (double)w->w[at], v = nearbyint(x / (double)w->scale[c]);
            v = fmin(fmax(v, -most), most);
            w->q[at] = (int8_t)v;
            *signal += x * x;
            *noise += (x - v * (double)w->scale[c]) * (x - v * (double)w->scale[c]);
        }
}

/* Errors that cancel for what was seen, in the channels of which something was, unless the bias asks for a
 * wider grid. */
static int fit_weights(weights *w, om_gram *m, int most, bool centered, bool pairs, double *noise,
                       double *signal)
{
    int err = om_gram_round(m, &w->form, w->w, pairs ? 127 : most, centered, pairs);
    for (int64_t c = 0; c < w->form.n && !err; c++) {
        int64_t k = c * m->k;
        double widest = (double)m->scale[c] * w->act_scale * 1e9;
        if (!(m->scale[c] > 0) || fabs(w->bias[c]) > widest) continue;
        w->scale[c] = m->scale[c];
        OM_FOR_CHANNEL(&w->form, c, at) w->q[at] = m->q[k++];
    }
    if (!err && m->signal > 0) *noise = m->noise, *signal = m->signal;
    return err;
}

/* The mean of each number that an output reads is known, with the zeros beyond the edges. */
static void correct_by_windows(weights *w, const om_gram *m)
{
    for (int64_t c = 0; c < w->form.n; c++) {
        int64_t k = 0;
        double shift = 0;
        OM_FOR_CHANNEL(&w->form, c, at)
        shift +=
            om_gram_mean(m, w->form.n, c, k++) * ((double)w->w[at] - (double)w->q[at] * (double)w->scale[c]);
        w->bias[c] += shift;
    }
}

/* Takes what the rounding of the weights adds on average off each channel's bias. */
static void correct_bias(weights *w, const om_quantizer *q, const om_layer *l)
{
    const om_node *n = &q->g->nodes[l->node];
    const om_act *a = &q->acts[l->act];
    bool gemm = !strcmp(n->op, "Gemm");
    if (l->gram && l->gram->n) {
        correct_by_windows(w, l->gram);
        return;
    }
    if (!a->sum || a->per_channel <= 0 || a->last != gemm || !strcmp(n->op, "ConvTranspose")) return;
    int64_t groups = gemm ? 1 : om_node_attr_int(n, "group", 1);
    const om_shape *s = &q->g->values[n->inputs[1]].constant->shape;
    int64_t each = gemm ? s->dim[!w->form.axis] : s->dim[1], window = gemm ? 1 : w->form.inner / each;
    if (groups < 1 || each * groups != a->n_channels) return;
    for (int64_t c = 0; c < w->form.n; c++) {
        int64_t base = c / (w->form.n / groups) * each, i = 0;
        double shift = 0;
        OM_FOR_CHANNEL(&w->form, c, at)
        {
            double mean = a->sum[base + i++ / window] / (double)a->per_channel;
            shift += mean * ((double)w->w[at] - (double)w->q[at] * (double)w->scale[c]);
        }
        w->bias[c] += shift;
    }
}

/* The weights alone are int8: the bias stays float, corrected. */
static int put_float_bias(om_quantizer *q, const om_layer *l, const weights *w)
{
    om_shape shape = om_shape_make(1, w->form.n);
    float *bias = om_alloc((size_t)w->form.n * sizeof *bias);
    if (!bias) return OM_ERR_NOMEM;
    for (int64_t c = 0; c < w->form.n; c++) bias[c] = (float)w->bias[c];
    int v = om_graph_add_const(q->g, NULL, OM_DTYPE_F32, &shape, bias);
    om_free(bias);
    return v < 0 ? v : om_quant_set_input(q->g, l->node, 2, v);
}

/* The int32 bias lies on the grid of the products that it is added to. */
static int put_bias(om_quantizer *q, const om_layer *l, weights *w, int scale_shape_of)
{
    om_graph *g = q->g;
    om_shape shape = om_shape_make(1, w->form.n);
    float *scale = om_alloc((size_t)w->form.n * sizeof *scale);
    int err = OM_ERR_NOMEM, v;
    if (!scale) return err;
    for (int64_t c = 0; c < w->form.n; c++) {
        scale[c] = (float)((double)w->scale[c] * w->act_scale);
        if (!isnormal(scale[c])) scale[c] = 1e-30f;
        double b = nearbyint(w->bias[c] / (double)scale[c]);
        w->bias_q[c] = (int32_t)fmin(fmax(b, -2147483647.0), 2147483647.0);
    }
    const om_node *n = &g->nodes[l->node];
    int after = w->b ? n->inputs[2] : scale_shape_of;
    int s = err = add_const(g, after, w->b ? "scale" : "bias_scale", OM_DTYPE_F32, &shape, scale);
    om_free(scale);
    if (err < 0) return err;
    v = add_const(g, after, w->b ? "quantized" : "bias_quantized", OM_DTYPE_I32, &shape, w->bias_q);
    if (v < 0) return v;
    v = add_linear(g, "DequantizeLinear", v, v, s, OM_NO_VALUE);
    if (v < 0) return v;
    err = om_node_set_int(&g->nodes[g->values[v].producer], "axis", 0);
    if (err < 0) return err;
    return om_quant_set_input(g, l->node, 2, v);
}

static int put_weights(om_quantizer *q, const om_layer *l, weights *w)
{
    om_graph *g = q->g;
    int from = g->nodes[l->node].inputs[1];
    om_shape whole = g->values[from].constant->shape, shape = om_shape_make(1, w->form.n);
    int8_t *zeros = om_calloc((size_t)w->form.n, 1);
    if (!zeros) return OM_ERR_NOMEM;
    int z = add_const(g, from, "zero_point", OM_DTYPE_I8, &shape, zeros);
    om_free(zeros);
    if (z < 0) return z;
    int s = add_const(g, from, "scale", OM_DTYPE_F32, &shape, w->scale);
    if (s < 0) return s;
    int v = add_const(g, from, "quantized", OM_DTYPE_I8, &whole, w->q);
    if (v < 0) return v;
    v = add_linear(g, "DequantizeLinear", v, v, s, z);
    if (v < 0) return v;
    g->nodes[l->node].inputs[1] = v;
    return om_node_set_int(&g->nodes[g->values[v].producer], "axis", w->form.axis);
}

/* Engines multiply numbers that lie next to each other: of layers with a window of one place those are
 * neighbouring channels in all of them. */
static bool has_pairs(const om_quantizer *q, const om_layer *l)
{
    const om_node *n = &q->g->nodes[l->node];
    const om_shape *w = &q->g->values[n->inputs[1]].constant->shape;
    for (int i = 2; i < w->rank; i++)
        if (w->dim[i] != 1) return false;
    return q->pairs && l->gram->groups == 1;
}

/* The layer's weights and bias as they will be; signal to noise of what the weights do to its output. */
static int fill_weights(weights *w, const om_quantizer *q, const om_layer *l, double *db)
{
    double noise = 0, signal = 0;
    int most = (1 << (q->weight_bits - 1)) - 1, err = weights_init(w, q, l);
    bool corrected = q->p->correct_bias && strcmp(q->g->nodes[l->node].op, "MatMul") != 0;
    if (err < 0) return err;
    choose_scales(w, most);
    round_weights(w, most, &noise, &signal);
    if (l->gram && l->gram->n)
        err = fit_weights(w, l->gram, most, corrected, has_pairs(q, l), &noise, &signal);
    if (err >= 0 && corrected) correct_bias(w, q, l);
    *db = noise > 0 && signal > 0 ? fmin(200, 10 * log10(signal / noise)) : 200;
    return err;
}

int om_quant_weight_db(const om_quantizer *q, const om_layer *l, double *db)
{
    weights w;
    int err = fill_weights(&w, q, l, db);
    weights_fini(&w);
    return err;
}

static int quantise_layer(om_quantizer *q, om_layer *l)
{
    weights w;
    int from = q->g->nodes[l->node].inputs[1], err = fill_weights(&w, q, l, &l->weight_db);
    bool biased = strcmp(q->g->nodes[l->node].op, "MatMul") != 0, some = w.b != NULL;
    for (int64_t c = 0; c < w.form.n && err >= 0; c++) some = some || w.bias[c] != 0;
    /* The bias first: once constants are added, the old weights may be nobody's. */
    bool floats = q->p->parts == OM_QUANT_WEIGHTS;
    if (err >= 0 && biased && some) err = floats ? put_float_bias(q, l, &w) : put_bias(q, l, &w, from);
    if (err >= 0) err = put_weights(q, l, &w);
    weights_fini(&w);
    return err;
}

int om_quant_rewrite(om_quantizer *q)
{
    int err = OM_OK;
    for (int i = 0; i < q->n_layers && err >= 0 && q->p->parts != OM_QUANT_ACTIVATIONS; i++)
        if (q->layers[i].quantised) err = quantise_layer(q, &q->layers[i]);
    return err < 0 || q->p->parts == OM_QUANT_WEIGHTS ? err : place_acts(q);
}
