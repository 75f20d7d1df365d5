#include "quant/quantizer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"

const om_choice om_quant_method_choices[] = {
    {"mse", OM_QUANT_MSE, "the range with the smallest square error"},
    {"minmax", OM_QUANT_MINMAX, "all that was seen"},
    {"percentile", OM_QUANT_PERCENTILE, "all but the rarest, see --percent"},
    {"entropy", OM_QUANT_ENTROPY, "the range that loses least of the distribution"},
    {NULL, 0, NULL},
};

const om_choice om_quant_target_choices[] = {
    {"cpu", OM_QUANT_CPU, "activations u8 with a zero point"},
    {"cuda", OM_QUANT_CUDA, "activations s8 around zero"},
    {NULL, 0, NULL},
};

const om_choice om_quant_bits_choices[] = {
    {"auto", 0, "8; for the CPU where this one has no VNNI as much of it as does not overflow, else 7"},
    {"8", 8, "all of a byte"},
    {"7", 7, "half of its range"},
    {NULL, 0, NULL},
};

const om_choice om_quant_parts_choices[] = {
    {"both", OM_QUANT_BOTH, "weights and activations"},
    {"weights", OM_QUANT_WEIGHTS, "a model of a quarter of the size, which computes in floats"},
    {"activations", OM_QUANT_ACTIVATIONS, "to see what their grids do alone, in floats"},
    {NULL, 0, NULL},
};

/* Without VNNI x86 adds two products of bytes in 16 bits, which 8-bit weights overflow. */
static int weight_bits(const om_quant_params *p)
{
    if (p->weight_bits) return p->weight_bits;
#if defined(__x86_64__)
    if (p->target == OM_QUANT_CPU && !(om_cpu_flags() & OM_CPU_VNNI)) return 7;
#endif
    return 8;
}

void om_quant_report_fini(om_quant_report *r)
{
    for (size_t i = 0; i < r->n_layers; i++) om_free(r->layers[i].name);
    for (size_t i = 0; i < r->n_acts; i++) om_free(r->acts[i].name);
    for (size_t i = 0; i < r->n_outputs; i++) om_free(r->outputs[i].name);
    om_free(r->layers);
    om_free(r->acts);
    om_free(r->outputs);
    om_free(r->advice);
    memset(r, 0, sizeof *r);
}

size_t om_quant_report_quantised(const om_quant_report *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_layers; i++) n += r->layers[i].quantised;
    return n;
}

int om_quant_check_float(const om_graph *g, const char *name)
{
    static const char *const ops[] = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
                                      "QLinearConv",    "QLinearMatMul",    "ConvInteger",
                                      "MatMulInteger"};
    for (int i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < sizeof ops / sizeof ops[0]; k++)
            if (om_quant_is(g, i, ops[k]))
                return om_fail(OM_ERR_ARG, "%s: already quantised (node '%s' is a %s); give the float model",
                               name, om_quant_name(g, i), ops[k]);
    return OM_OK;
}

/* All but the graph. */
static void drop(om_quantizer *q)
{
    for (int i = 0; i < q->n_layers; i++) om_gram_destroy(q->layers[i].gram);
    for (int i = 0; i < q->n_acts; i++) {
        om_free(q->acts[i].hist);
        om_free(q->acts[i].sum);
        om_free(q->acts[i].ends);
        om_free(q->acts[i].power);
        om_free(q->acts[i].matters);
    }
    void *owned[] = {q->role, q->layer_of, q->act_of, q->layers, q->acts};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) om_free(owned[i]);
    q->role = NULL;
    q->layer_of = q->act_of = NULL;
    q->layers = NULL;
    q->acts = NULL;
    q->n_acts = q->n_layers = 0;
}

void om_quantizer_destroy(om_quantizer *q)
{
    if (!q) return;
    drop(q);
    om_graph_destroy(q->g);
    om_free(q);
}

/* What stands in the way, in the words of the first layer. */
int om_quant_nothing(const om_quantizer *q)
{
    if (!q->n_layers)
        return om_fail(OM_ERR_UNSUPPORTED, "nothing to quantise: no Conv, ConvTranspose, Gemm or MatMul with "
                                           "constant weights");
    const om_layer *l = &q->layers[0];
    return om_fail(OM_ERR_UNSUPPORTED, "nothing to quantise: all %d layers stay float ('%s': %s)",
                   q->n_layers, om_quant_name(q->g, l->node), l->why);
}

int om_quant_select_anew(om_quantizer *q)
{
    const om_graph *g = q->g;
    size_t nodes = (size_t)g->n_nodes + 1, values = (size_t)g->n_values + 1;
    drop(q);
    q->n_nodes = g->n_nodes;
    q->role = om_calloc(nodes, sizeof *q->role);
    q->layer_of = om_calloc(nodes, sizeof *q->layer_of);
    q->layers = om_calloc(nodes, sizeof *q->layers);
    q->act_of = om_calloc(values, sizeof *q->act_of);
    q->acts = om_calloc(values, sizeof *q->acts);
    if (!q->role || !q->layer_of || !q->layers || !q->act_of || !q->acts) return OM_ERR_NOMEM;
    for (int i = 0; i < g->n_values; i++) q->act_of[i] = -1;
    return om_quant_select(q);
}

int om_quantizer_create(om_graph *g, const om_quant_params *p, om_quantizer **out)
{
    *out = NULL;
    om_quantizer *q = om_calloc(1, sizeof *q);
    if (!q) {
        om_graph_destroy(g);
        return OM_ERR_NOMEM;
    }
    q->g = g;
    q->p = p;
    q->weight_bits = weight_bits(p);
    q->pairs = !p->weight_bits && q->weight_bits == 7;
    q->equalised = !p->equalise;
    q->levels_of = OM_NO_VALUE;
    int err = om_graph_sort(g);
    if (err >= 0) err = om_quant_select_anew(q);
    if (err >= 0 && !q->n_acts) err = om_quant_nothing(q);
    if (err < 0) {
        om_quantizer_destroy(q);
        return err;
    }
    *out = q;
    return OM_OK;
}

const om_graph *om_quantizer_graph(const om_quantizer *q) { return q->g; }

size_t om_quantizer_taps(const om_quantizer *q) { return (size_t)q->n_acts; }

const char *om_quantizer_tap(const om_quantizer *q, size_t i) { return q->g->values[q->acts[i].value].name; }

static double sum_of(const float *v, int64_t n)
{
    float lane[8] = {0};
    double sum = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) lane[k] += v[i + k];
    for (; i < n; i++) sum += (double)v[i];
    for (int k = 0; k < 8; k++) sum += (double)lane[k];
    return sum;
}

static int add_sums(om_act *a, const om_tensor *t)
{
    int rank = t->shape.rank, axis = a->last ? rank - 1 : 1;
    const float *v = t->data;
    int64_t outer = 1, inner = 1;
    if (!a->wants_sum || rank < 2) return OM_OK;
    int64_t n = t->shape.dim[axis];
    if (!a->sum) {
        a->n_channels = n;
        a->sum = om_calloc((size_t)n, sizeof *a->sum);
        if (!a->sum) return OM_ERR_NOMEM;
    }
    if (a->n_channels != n) return OM_OK; /* another form of the model: its means are another's */
    for (int i = 0; i < axis; i++) outer *= t->shape.dim[i];
    for (int i = axis + 1; i < rank; i++) inner *= t->shape.dim[i];
    for (int64_t o = 0; o < outer; o++)
        for (int64_t c = 0; c < n; c++) a->sum[c] += sum_of(v + (o * n + c) * inner, inner);
    a->per_channel += outer * inner;
    return OM_OK;
}

static int add_ends(om_act *a, const om_tensor *t)
{
    int rank = t->shape.rank, axis = a->last ? rank - 1 : 1;
    const float *v = t->data;
    if (rank < (a->last ? 2 : 3)) return OM_OK;
    int64_t outer = 1, n = t->shape.dim[axis], inner = 1;
    for (int i = 0; i < axis; i++) outer *= t->shape.dim[i];
    for (int i = axis + 1; i < rank; i++) inner *= t->shape.dim[i];
    if (!a->ends) {
        a->n_ends = n;
        a->ends = om_calloc((size_t)n, 2 * sizeof *a->ends);
        a->power = om_calloc((size_t)n, sizeof *a->power);
        if (!a->ends || !a->power) return OM_ERR_NOMEM;
    }
    if (a->n_ends != n) return OM_OK;
    for (int64_t row = 0; row < outer * n; row++, v += inner) {
        float *ends = a->ends + 2 * (row % n);
        double power = 0;
        for (int64_t i = 0; i < inner; i++) {
            ends[0] = fminf(ends[0], v[i]);
            ends[1] = fmaxf(ends[1], v[i]);
            power += (double)v[i] * (double)v[i];
        }
        a->power[row % n] += power;
    }
    a->n_power += outer * inner;
    return OM_OK;
}

static void add_places(om_quantizer *q, int act, const om_tensor *t)
{
    for (int i = 0; i < q->n_layers; i++) {
        const om_layer *l = &q->layers[i];
        const om_node *n = &q->g->nodes[l->node];
        if (l->act == act && l->gram) om_gram_add(l->gram, n, &q->g->values[n->inputs[1]].constant->shape, t);
    }
}

static int add_numbers(om_act *a, const om_tensor *t)
{
    int rank = t->shape.rank, axis = a->last ? rank - 1 : 1;
    size_t n = (size_t)om_shape_count(&t->shape);
    om_act_matter m = {.of = a->matters, .n = (size_t)a->n_matters, .inner = 1};
    bool known = a->matters && rank >= 2 && t->shape.dim[axis] == a->n_matters;
    for (int i = axis + 1; i < rank; i++) m.inner *= (size_t)t->shape.dim[i];
    return om_act_hist_add(a->hist, t->data, n, known ? &m : NULL);
}

int om_quantizer_observe(om_quantizer *q, size_t i, const om_tensor *t, const char *what)
{
    om_act *a = &q->acts[i];
    int64_t n = om_shape_count(&t->shape);
    if (t->dtype != OM_DTYPE_F32 || n < 0)
        return om_fail(OM_ERR_INTERNAL, "tensor '%s' came as %s, not as f32", om_quantizer_tap(q, i),
                       om_dtype_name(t->dtype));
    int err = add_numbers(a, t);
    if (err == OM_ERR_FORMAT)
        return om_fail(err,
                       "%s: the float model makes numbers that are not finite of it, first in tensor '%s'",
                       what, om_quantizer_tap(q, i));
    if (err >= 0 && !q->equalised) err = add_ends(a, t);
    if (err >= 0 && q->equalised && q->p->fit_rounding) add_places(q, (int)i, t);
    return err < 0 ? err : add_sums(a, t);
}
