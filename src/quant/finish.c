/* From what was seen to ranges, and to the int8 graph: as often as wished, each time with other layers left
 * out.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "quant/quantizer.h"

#define MAX_UNEVEN 4 /* times that a tensor may be wider than one that is joined with it on one grid */

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

/* But for what adding and rounding leave: half a level. */
static bool within(om_span r, om_span levels)
{
    double half = extent(levels) / 510;
    return r.lo > levels.lo - half && r.hi < levels.hi + half;
}

/* A tensor's own range, kept until more of it was seen or another method is asked for. */
static void choose_own(om_quantizer *q, om_act *a, om_quant_method method)
{
    /* A picture's numbers end where its levels do; nothing of them is an outlier. */
    if (q->g->values[a->value].is_input || a->value == q->levels_of) method = OM_QUANT_MINMAX;
    if (a->own_tensors == a->hist->tensors && a->own_method == method) return;
    a->own = om_span_choose(a->hist, method, q->p->percent, q->p->target == OM_QUANT_CUDA);
    if (a->value == q->levels_of && extent(a->own) > 0 && within(a->own, q->levels)) a->own = q->levels;
    a->own_tensors = a->hist->tensors;
    a->own_method = method;
}

static void choose_ranges(om_quantizer *q, om_quant_method method)
{
    bool symmetric = q->p->target == OM_QUANT_CUDA;
    for (int i = 0; i < q->n_acts; i++) {
        choose_own(q, &q->acts[i], method);
        q->acts[i].group = i;
        q->acts[i].used = false;
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

/* Layers whose input or weights keep less than what was asked for stay float. */
static int leave_noisy(om_quantizer *q)
{
    for (int i = 0; i < q->n_layers && q->p->layer_floor > 0; i++) {
        om_layer *l = &q->layers[i];
        double noise, signal, weight_db;
        if (!l->quantised) continue;
        int err = om_quant_weight_db(q, l, &weight_db);
        if (err < 0) return err;
        om_grid_error(q->acts[l->act].hist, &q->acts[l->act].grid, &noise, &signal);
        double input_db = decibels(signal, noise);
        if (fmin(weight_db, input_db) >= q->p->layer_floor) continue;
        l->quantised = false;
        q->role[l->node] = OM_ROLE_FLOAT;
        snprintf(l->why, sizeof l->why, "its %s would keep %.1f dB, less than %.4g",
                 weight_db < input_db ? "weights" : "input", fmin(weight_db, input_db), q->p->layer_floor);
    }
    return OM_OK;
}

/* Multiplications of a layer; 0: its size is not known. */
static double products(const om_graph *g, const om_node *n)
{
    om_weight_form f;
    bool deconv = !strcmp(n->op, "ConvTranspose");
    const om_shape *of = &g->values[deconv ? n->inputs[0] : n->outputs[0]].shape;
    if (n->inputs[1] < 0 || !g->values[n->inputs[1]].constant || !om_weight_form_of(g, n, &f)) return 0;
    const om_shape *w = &g->values[n->inputs[1]].constant->shape;
    int64_t places = om_shape_static(of) ? om_shape_count(of) : 0,
            each = deconv ? om_shape_count(w) / w->dim[0] : f.outer * f.inner;
    return places > 0 ? (double)places * (double)each : 0;
}

/* What was seen, in bars from its least to its largest number; the zeros, which are counted apart, in theirs.
 */
static void fill_bars(const om_act_hist *h, float *bar)
{
    double extent = h->hi - h->lo, all = (double)h->samples;
    memset(bar, 0, OM_QUANT_BARS * sizeof *bar);
    if (!(extent > 0) || all <= 0) return;
    for (int i = -1; i < OM_ACT_BINS; i++) {
        uint64_t n = i < 0 ? h->zeros : h->bin[i];
        double x = i < 0 ? 0 : om_act_hist_center(h, i), at = floor((x - h->lo) / extent * OM_QUANT_BARS);
        if (n) bar[(int)fmin(fmax(at, 0), OM_QUANT_BARS - 1)] += (float)((double)n / all);
    }
}

static int fill_layers(const om_quantizer *q, om_quant_report *r)
{
    const om_graph *g = q->g;
    double all = 0, int8 = 0;
    bool known = true;
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
                               .alone_db = NAN,
                               .alone_score = NAN,
                               .float_us = NAN,
                               .int8_us = NAN,
                               .act = l->act};
        if (!to->name) return OM_ERR_NOMEM;
        snprintf(to->op, sizeof to->op, "%s", g->nodes[l->node].op);
        snprintf(to->why, sizeof to->why, "%s", l->why);
        known = known && l->work > 0;
        all += l->work;
        int8 += l->quantised ? l->work : 0;
    }
    r->int8_share = known && all > 0 ? int8 / all : NAN;
    return OM_OK;
}

static int fill_report(const om_quantizer *q, om_quant_report *r)
{
    int err = fill_layers(q, r);
    for (int i = 0; i < q->n_acts && err >= 0; i++) {
        const om_act *a = &q->acts[i];
        double noise = 0, signal = 0;
        if (a->used) om_grid_error(a->hist, &a->grid, &noise, &signal);
        r->acts[r->n_acts] = (om_quant_act){.name = om_strdup(q->g->values[a->value].name),
                                            .used = a->used,
                                            .seen_lo = a->hist->lo,
                                            .seen_hi = a->hist->hi,
                                            .lo = a->range.lo,
                                            .hi = a->range.hi,
                                            .scale = a->grid.scale,
                                            .zero = a->grid.zero,
                                            .db = decibels(signal, noise)};
        fill_bars(a->hist, r->acts[r->n_acts].bar);
        if (!r->acts[r->n_acts++].name) err = OM_ERR_NOMEM;
    }
    return err;
}

/* What making one int8 graph changes, put back behind it. */
typedef struct kept {
    om_graph *g;
    om_role *role;
    om_layer *layers;
} kept;

static int put_aside(om_quantizer *q, kept *k)
{
    size_t roles = ((size_t)q->n_nodes + 1) * sizeof *k->role,
           layers = (size_t)q->n_layers * sizeof *k->layers;
    *k = (kept){.g = q->g, .role = om_alloc(roles), .layers = om_alloc(layers)};
    om_graph *copy = NULL;
    int err = k->role && k->layers ? om_graph_clone(q->g, &copy) : OM_ERR_NOMEM;
    if (err < 0) {
        om_free(k->role);
        om_free(k->layers);
        return err;
    }
    memcpy(k->role, q->role, roles);
    memcpy(k->layers, q->layers, layers);
    q->g = copy;
    return OM_OK;
}

/* Returns what was made. */
static om_graph *put_back(om_quantizer *q, kept *k)
{
    om_graph *made = q->g;
    om_free(q->role);
    om_free(q->layers);
    q->g = k->g;
    q->role = k->role;
    q->layers = k->layers;
    return made;
}

static int rewrite(om_quantizer *q, const om_quant_variant *v, om_quant_report *r)
{
    bool any = false;
    for (int i = 0; i < q->n_layers; i++) {
        om_layer *l = &q->layers[i];
        l->work = products(q->g, &q->g->nodes[l->node]);
        if (!v->keep || !v->keep[i] || !l->quantised) continue;
        l->quantised = false;
        q->role[l->node] = OM_ROLE_FLOAT;
        snprintf(l->why, sizeof l->why, "%s", v->keep[i]);
    }
    choose_ranges(q, v->method);
    choose_used(q);
    if (q->p->layer_floor > 0) {
        int err = leave_noisy(q);
        if (err < 0) return err;
        choose_ranges(q, v->method);
        choose_used(q);
    }
    for (int i = 0; i < q->n_layers; i++) any = any || q->layers[i].quantised;
    if (!any) return om_quant_nothing(q);
    int err = om_quant_rewrite(q);
    if (err >= 0 && r) err = fill_report(q, r);
    if (err >= 0) err = om_graph_compact(q->g);
    if (err >= 0) err = om_graph_sort(q->g);
    return err < 0 ? err : om_graph_infer_shapes(q->g);
}

size_t om_quantizer_layers(const om_quantizer *q) { return (size_t)q->n_layers; }

double om_quantizer_work(const om_quantizer *q, size_t layer)
{
    return products(q->g, &q->g->nodes[q->layers[layer].node]);
}

bool om_quantizer_takes(const om_quantizer *q, size_t layer) { return q->layers[layer].quantised; }

int om_quantizer_make(om_quantizer *q, const om_quant_variant *v, om_graph **out, om_quant_report *r)
{
    kept k;
    *out = NULL;
    int err = put_aside(q, &k);
    if (err < 0) return err;
    err = rewrite(q, v, r);
    om_graph *made = put_back(q, &k);
    if (err < 0) om_graph_destroy(made);
    else *out = made;
    return err < 0 ? err : OM_OK;
}

int om_quantizer_finish(om_quantizer *q, om_graph **out, om_quant_report *r)
{
    return om_quantizer_make(q, &(om_quant_variant){.method = q->p->method}, out, r);
}
