#include "quant/quantizer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"

#define MAX_UNEVEN 8 /* times that a tensor may be wider than one that is joined with it on one grid */

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
    {"auto", 0, "7 for the CPU where this one has no VNNI, else 8"},
    {"8", 8, "all of a byte"},
    {"7", 7, "half of its range"},
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

void om_quantizer_destroy(om_quantizer *q)
{
    if (!q) return;
    for (int i = 0; i < q->n_acts; i++) {
        om_free(q->acts[i].hist);
        om_free(q->acts[i].sum);
        om_free(q->acts[i].peak);
    }
    void *owned[] = {q->role, q->layer_of, q->act_of, q->layers, q->acts};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) om_free(owned[i]);
    om_graph_destroy(q->g);
    om_free(q);
}

/* What stands in the way, in the words of the first layer. */
static int nothing(const om_quantizer *q)
{
    if (!q->n_layers)
        return om_fail(OM_ERR_UNSUPPORTED, "nothing to quantise: no Conv, ConvTranspose, Gemm or MatMul with "
                                           "constant weights");
    const om_layer *l = &q->layers[0];
    return om_fail(OM_ERR_UNSUPPORTED, "nothing to quantise: all %d layers stay float ('%s': %s)",
                   q->n_layers, om_quant_name(q->g, l->node), l->why);
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
    q->equalised = !p->equalise;
    int err = om_graph_sort(g);
    size_t nodes = (size_t)g->n_nodes + 1, values = (size_t)g->n_values + 1;
    q->n_nodes = g->n_nodes;
    q->role = om_calloc(nodes, sizeof *q->role);
    q->layer_of = om_calloc(nodes, sizeof *q->layer_of);
    q->layers = om_calloc(nodes, sizeof *q->layers);
    q->act_of = om_calloc(values, sizeof *q->act_of);
    q->acts = om_calloc(values, sizeof *q->acts);
    if (!q->role || !q->layer_of || !q->layers || !q->act_of || !q->acts) err = OM_ERR_NOMEM;
    for (int i = 0; i < g->n_values && q->act_of; i++) q->act_of[i] = -1;
    if (err >= 0) err = om_quant_select(q);
    if (err >= 0 && !q->n_acts) err = nothing(q);
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

static int add_peaks(om_act *a, const om_tensor *t)
{
    const float *v = t->data;
    if (t->shape.rank < 3) return OM_OK;
    int64_t outer = t->shape.dim[0], n = t->shape.dim[1], inner = 1;
    for (int i = 2; i < t->shape.rank; i++) inner *= t->shape.dim[i];
    if (!a->peak) {
        a->n_peaks = n;
        a->peak = om_calloc((size_t)n, sizeof *a->peak);
        if (!a->peak) return OM_ERR_NOMEM;
    }
    if (a->n_peaks != n) return OM_OK;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t c = 0; c < n; c++)
            for (int64_t i = 0; i < inner; i++)
                a->peak[c] = fmaxf(a->peak[c], fabsf(v[(o * n + c) * inner + i]));
    return OM_OK;
}

int om_quantizer_observe(om_quantizer *q, size_t i, const om_tensor *t, const char *what)
{
    om_act *a = &q->acts[i];
    int64_t n = om_shape_count(&t->shape);
    if (t->dtype != OM_DTYPE_F32 || n < 0)
        return om_fail(OM_ERR_INTERNAL, "tensor '%s' came as %s, not as f32", om_quantizer_tap(q, i),
                       om_dtype_name(t->dtype));
    int err = om_act_hist_add(a->hist, t->data, (size_t)n);
    if (err == OM_ERR_FORMAT)
        return om_fail(err,
                       "%s: the float model makes numbers that are not finite of it, first in tensor '%s'",
                       what, om_quantizer_tap(q, i));
    if (err >= 0 && !q->equalised) err = add_peaks(a, t);
    return err < 0 ? err : add_sums(a, t);
}

static double extent(om_span r) { return r.hi - r.lo; }

static int root(om_quantizer *q, int a)
{
    while (q->acts[a].group != a) a = q->acts[a].group;
    return a;
}

static void join(om_quantizer *q, int a, int b)
{
    a = root(q, a);
    b = root(q, b);
    if (a < b) q->acts[b].group = a;
    else q->acts[a].group = b;
}

/* Tensors of very different widths on one grid would leave the narrow ones a few levels. */
static bool even(const om_quantizer *q, const om_node *n)
{
    double least = INFINITY, most = 0;
    for (int k = 0; k < n->n_inputs; k++) {
        double e = extent(q->acts[q->act_of[n->inputs[k]]].own);
        if (e <= 0) continue;
        least = fmin(least, e);
        most = fmax(most, e);
    }
    return most <= least * MAX_UNEVEN;
}

/* A join of uneven tensors is computed from their levels, in floats. */
static void join_groups(om_quantizer *q)
{
    const om_graph *g = q->g;
    for (int i = 0; i < q->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        bool concat = om_quant_is(g, i, "Concat");
        if (q->role[i] != OM_ROLE_PASS) continue;
        for (int o = 0; o < n->n_outputs; o++) {
            int to = n->outputs[o] < 0 ? -1 : q->act_of[n->outputs[o]];
            if (to < 0) continue;
            if (concat && !even(q, n)) {
                q->role[i] = OM_ROLE_READ;
                break;
            }
            for (int k = 0; k < (concat ? n->n_inputs : 1); k++) join(q, q->act_of[n->inputs[k]], to);
        }
    }
}

static void choose_ranges(om_quantizer *q)
{
    bool symmetric = q->p->target == OM_QUANT_CUDA;
    for (int i = 0; i < q->n_acts; i++) {
        om_act *a = &q->acts[i];
        /* A picture's numbers end where its levels do; nothing of them is an outlier. */
        om_quant_method method = q->g->values[a->value].is_input ? OM_QUANT_MINMAX : q->p->method;
        a->own = om_span_choose(a->hist, method, q->p->percent, symmetric);
    }
    join_groups(q);
    for (int i = 0; i < q->n_acts; i++) q->acts[i].range = (om_span){0, 0};
    for (int i = 0; i < q->n_acts; i++) {
        om_span *r = &q->acts[root(q, i)].range, own = q->acts[i].own;
        *r = (om_span){fmin(r->lo, own.lo), fmax(r->hi, own.hi)};
    }
    for (int i = 0; i < q->n_acts; i++) {
        om_act *a = &q->acts[i];
        a->range = q->acts[root(q, i)].range;
        a->grid = om_grid_make(a->range, symmetric);
    }
}

/* A tensor that never changes, or only by what no float scale can tell, has no grid. */
static bool has_grid(const om_act *a) { return extent(a->range) > 0 && isnormal(a->grid.scale); }

static void choose_used(om_quantizer *q)
{
    const om_graph *g = q->g;
    for (int i = 0; i < q->n_layers; i++) {
        om_layer *l = &q->layers[i];
        if (!l->quantised) continue;
        if (has_grid(&q->acts[l->act])) {
            q->acts[l->act].used = true;
            continue;
        }
        l->quantised = false;
        q->role[l->node] = OM_ROLE_FLOAT;
        snprintf(l->why, sizeof l->why, "its input '%.100s' was always %.6g",
                 g->values[q->acts[l->act].value].name, q->acts[l->act].hist->lo);
    }
    for (int i = q->n_nodes; i-- > 0;) {
        const om_node *n = &g->nodes[i];
        bool used = false, concat = om_quant_is(g, i, "Concat");
        if (q->role[i] != OM_ROLE_PASS && !(q->role[i] == OM_ROLE_READ && concat)) continue;
        for (int k = 0; k < n->n_outputs; k++) {
            int a = n->outputs[k] < 0 ? -1 : q->act_of[n->outputs[k]];
            used = used || (a >= 0 && q->acts[a].used);
        }
        if (!used) q->role[i] = OM_ROLE_FLOAT;
        for (int k = 0; k < (concat ? n->n_inputs : 1) && used; k++) {
            om_act *a = &q->acts[q->act_of[n->inputs[k]]];
            a->used = has_grid(a);
        }
    }
}

static double decibels(double signal, double noise)
{
    return signal <= 0 ? 0 : noise <= 0 ? 200 : fmin(200, 10 * log10(signal / noise));
}

static int fill_report(const om_quantizer *q, om_quant_report *r)
{
    const om_graph *g = q->g;
    r->weight_bits = q->weight_bits;
    r->layers = om_calloc((size_t)q->n_layers, sizeof *r->layers);
    r->acts = om_calloc((size_t)q->n_acts, sizeof *r->acts);
    if (!r->layers || !r->acts) return OM_ERR_NOMEM;
    for (int i = 0; i < q->n_layers; i++) {
        const om_layer *l = &q->layers[i];
        om_quant_layer *to = &r->layers[r->n_layers++];
        *to = (om_quant_layer){.name = om_strdup(om_quant_name(g, l->node)),
                               .quantised = l->quantised,
                               .weight_db = l->weight_db,
                               .act = l->act};
        if (!to->name) return OM_ERR_NOMEM;
        snprintf(to->op, sizeof to->op, "%s", g->nodes[l->node].op);
        snprintf(to->why, sizeof to->why, "%s", l->why);
    }
    for (int i = 0; i < q->n_acts; i++) {
        const om_act *a = &q->acts[i];
        double noise = 0, signal = 0;
        if (a->used) om_grid_error(a->hist, &a->grid, &noise, &signal);
        r->acts[r->n_acts] = (om_quant_act){.name = om_strdup(g->values[a->value].name),
                                            .used = a->used,
                                            .seen_lo = a->hist->lo,
                                            .seen_hi = a->hist->hi,
                                            .lo = a->range.lo,
                                            .hi = a->range.hi,
                                            .scale = a->grid.scale,
                                            .zero = a->grid.zero,
                                            .db = decibels(signal, noise)};
        if (!r->acts[r->n_acts++].name) return OM_ERR_NOMEM;
    }
    return OM_OK;
}

int om_quantizer_finish(om_quantizer *q, om_graph **out, om_quant_report *r)
{
    *out = NULL;
    bool any = false;
    choose_ranges(q);
    choose_used(q);
    for (int i = 0; i < q->n_layers; i++) any = any || q->layers[i].quantised;
    if (!any) return nothing(q);
    int err = om_quant_rewrite(q);
    if (err >= 0) err = fill_report(q, r);
    if (err >= 0) err = om_graph_compact(q->g);
    if (err >= 0) err = om_graph_sort(q->g);
    if (err >= 0) err = om_graph_infer_shapes(q->g);
    if (err < 0) return err;
    *out = q->g;
    q->g = NULL;
    return OM_OK;
}
