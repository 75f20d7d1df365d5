/* Ranges from histograms, and graphs rewritten with 8-bit numbers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "quant/quant.h"
#include "quant/span.h"

#define MANY 20000
#define SHAPE(...) om_shape_make((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), __VA_ARGS__)

static uint32_t seed = 7;

static float uniform(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 16777216.0f;
}

static float normal(void)
{
    float sum = 0;
    for (int i = 0; i < 12; i++) sum += uniform();
    return sum - 6;
}

static om_act_hist *new_hist(void)
{
    om_act_hist *h = om_calloc(1, sizeof *h);
    assert_non_null(h);
    return h;
}

static uint64_t total(const om_act_hist *h)
{
    uint64_t n = h->zeros;
    for (int i = 0; i < OM_ACT_BINS; i++) n += h->bin[i];
    return n;
}

static void histogram_grows(void **state)
{
    om_act_hist *h = new_hist();
    float v[64];
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < 64; i++) v[i] = (uniform() - 0.25f) * powf(4, (float)round);
        v[0] = 0;
        assert_int_equal(om_act_hist_add(h, v, 64, NULL), OM_OK);
        double lo = h->lo, hi = h->hi;
        for (int i = 0; i < 64; i++) assert_true((double)v[i] >= lo && (double)v[i] <= hi);
        assert_int_equal(total(h), 64 * (round + 1));
        assert_int_equal(h->zeros, round + 1);
    }
    /* All numbers lie within the bins that hold something. */
    int first = 0, last = OM_ACT_BINS - 1;
    while (!h->bin[first]) first++;
    while (!h->bin[last]) last--;
    assert_true(fabs(om_act_hist_center(h, first) - h->lo) <= h->width);
    assert_true(fabs(om_act_hist_center(h, last) - h->hi) <= h->width);
    om_free(h);
}

static void histogram_refuses_what_is_no_number(void **state)
{
    om_act_hist *h = new_hist();
    float v[19] = {1};
    for (int at = 0; at < 19; at++)
        for (int kind = 0; kind < 2; kind++) {
            float was = v[at];
            v[at] = kind ? NAN : -INFINITY;
            assert_int_equal(om_act_hist_add(h, v, 19, NULL), OM_ERR_FORMAT);
            v[at] = was;
        }
    assert_int_equal(total(h), 0);
    assert_int_equal(om_act_hist_add(h, v, 19, NULL), OM_OK);
    assert_int_equal(om_act_hist_add(h, v, 0, NULL), OM_OK);
    assert_int_equal(total(h), 19);
    om_free(h);
}

static void large_tensors_are_sampled(void **state)
{
    om_act_hist *h = new_hist();
    size_t n = OM_ACT_SAMPLES * 5;
    float *v = om_alloc(n * sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < n; i++) v[i] = normal();
    v[n - 1] = 1000; /* ends are of all */
    assert_int_equal(om_act_hist_add(h, v, n, NULL), OM_OK);
    assert_true(h->hi == 1000);
    assert_true(total(h) <= OM_ACT_SAMPLES && total(h) > OM_ACT_SAMPLES / 2);
    om_free(v);
    om_free(h);
}

static const om_quant_method methods[] = {OM_QUANT_MINMAX, OM_QUANT_PERCENTILE, OM_QUANT_ENTROPY,
                                          OM_QUANT_MSE};

static void ranges_of_known_distributions(void **state)
{
    float *v = om_alloc(MANY * sizeof *v);
    assert_non_null(v);
    for (int i = 0; i < MANY; i++) v[i] = normal();
    v[5] = 60;
    for (int m = 0; m < 4; m++)
        for (int symmetric = 0; symmetric < 2; symmetric++) {
            om_act_hist *h = new_hist();
            assert_int_equal(om_act_hist_add(h, v, MANY, NULL), OM_OK);
            om_span r = om_span_choose(h, methods[m], 99.9, symmetric);
            if (methods[m] == OM_QUANT_MINMAX) assert_true(r.hi == 60 && r.lo == h->lo);
            else if (methods[m] == OM_QUANT_MSE)
                assert_true(r.hi > 50); /* one number of 60 weighs more than all others */
            else assert_true(r.hi < 30 && r.hi > 1.5 && r.lo < -1.5 && r.lo >= h->lo);
            om_grid g = om_grid_make(r, symmetric);
            double noise, signal;
            om_grid_error(h, &g, &noise, &signal);
            assert_true(signal > 0.8 && signal < 1.5);
            if (methods[m] == OM_QUANT_MINMAX) assert_true(noise > 1e-3);
            om_free(h);
        }
    om_free(v);
}

/* No range has a smaller error than the one of the method that looks for it. */
static void mse_is_the_least(void **state)
{
    om_act_hist *h = new_hist();
    float *v = om_alloc(MANY * sizeof *v);
    assert_non_null(v);
    for (int i = 0; i < MANY; i++) v[i] = expf(normal());
    assert_int_equal(om_act_hist_add(h, v, MANY, NULL), OM_OK);
    double least = INFINITY, of_mse = 0, signal;
    for (int m = 0; m < 4; m++) {
        om_grid g = om_grid_make(om_span_choose(h, methods[m], 99.9, false), false);
        double noise = 0, exact = 0;
        assert_int_equal(g.zero, 0);
        om_grid_error(h, &g, &noise, &signal);
        for (int i = 0; i < MANY; i++) {
            double q = fmin(fmax(nearbyint((double)v[i] / (double)g.scale), 0), 255) * (double)g.scale;
            exact += ((double)v[i] - q) * ((double)v[i] - q) / MANY;
        }
        assert_true(fabs(noise - exact) < 0.03 * exact);
        least = fmin(least, exact);
        of_mse = exact;
    }
    assert_true(of_mse <= least * 1.001);
    om_free(v);
    om_free(h);
}

static void grids_hold_zero(void **state)
{
    om_grid g = om_grid_make((om_span){-1, 3}, false);
    assert_int_equal(g.zero, 64);
    assert_true(fabsf(g.scale - 4.0f / 255) < 1e-7f);
    g = om_grid_make((om_span){2, 3}, false); /* zero is taken in */
    assert_true(g.zero == 0 && fabsf(g.scale - 3.0f / 255) < 1e-7f);
    g = om_grid_make((om_span){-5, -1}, false);
    assert_true(g.zero == 255 && fabsf(g.scale - 5.0f / 255) < 1e-7f);
    g = om_grid_make((om_span){-1, 0.5}, true);
    assert_true(g.zero == 0 && g.least == -128 && fabsf(g.scale - 1.0f / 127) < 1e-8f);
    assert_true(om_grid_make((om_span){0, 0}, false).scale == 0);
    assert_true(om_grid_make((om_span){0, 0}, true).scale == 0);
}

static om_graph *new_graph(int opset)
{
    om_graph *g;
    assert_int_equal(om_graph_create("g", &g), OM_OK);
    assert_int_equal(om_graph_set_opset(g, "", opset), OM_OK);
    g->ir_version = 8;
    return g;
}

static int floats(om_graph *g, const char *name, om_shape shape)
{
    float v[512];
    for (int i = 0; i < om_shape_count(&shape); i++) v[i] = normal() * 0.3f;
    int c = om_graph_add_const(g, name, OM_DTYPE_F32, &shape, v);
    assert_true(c >= 0);
    return c;
}

static int node(om_graph *g, const char *op, const char *name, int n_in, ...)
{
    int in[8];
    va_list ap;
    va_start(ap, n_in);
    for (int i = 0; i < n_in; i++) in[i] = va_arg(ap, int);
    va_end(ap);
    int n = om_graph_add_node(g, op, name, in, n_in, 1);
    assert_true(n >= 0);
    return om_node_out(g, n);
}

/* x -> a -> Relu -> { b, MaxPool } -> Concat -> c -> out */
static om_graph *small_net(void)
{
    om_graph *g = new_graph(13);
    om_shape in = SHAPE((int64_t)1, (int64_t)2, (int64_t)6, (int64_t)6);
    int64_t ones[] = {1, 1};
    int x = om_graph_add_input(g, "x", OM_DTYPE_F32, &in);
    int w = floats(g, "wa", SHAPE((int64_t)4, (int64_t)2, (int64_t)1, (int64_t)1));
    int a = node(g, "Conv", "a", 3, x, w, floats(g, "ba", SHAPE((int64_t)4)));
    int r = node(g, "Relu", "r", 1, a);
    int b =
        node(g, "Conv", "b", 2, r, floats(g, "wb", SHAPE((int64_t)3, (int64_t)4, (int64_t)1, (int64_t)1)));
    int p = node(g, "MaxPool", "p", 1, r);
    assert_int_equal(om_node_set_ints(&g->nodes[g->values[p].producer], "kernel_shape", ones, 2), OM_OK);
    int j = node(g, "Concat", "j", 2, b, p);
    assert_int_equal(om_node_set_int(&g->nodes[g->values[j].producer], "axis", 1), OM_OK);
    int m =
        node(g, "Conv", "m", 2, j, floats(g, "wm", SHAPE((int64_t)4, (int64_t)7, (int64_t)1, (int64_t)1)));
    int o =
        node(g, "Conv", "o", 2, m, floats(g, "wo", SHAPE((int64_t)2, (int64_t)4, (int64_t)1, (int64_t)1)));
    assert_true(om_graph_mark_output(g, o) >= 0);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    return g;
}

static int count(const om_graph *g, const char *op)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) n += !g->nodes[i].dead && !strcmp(g->nodes[i].op, op);
    return n;
}

static om_quant_params defaults(void)
{
    return (om_quant_params){
        .method = OM_QUANT_MINMAX, .percent = 99.9, .correct_bias = true, .weight_bits = 8};
}

/* Shows every tap noise of its place times `gain`, `offset` added. */
static int show(om_quantizer *q, float gain, float offset)
{
    for (size_t i = 0; i < om_quantizer_taps(q); i++) {
        float v[512];
        om_tensor t = {OM_DTYPE_F32, SHAPE((int64_t)1, (int64_t)4, (int64_t)6, (int64_t)6), v};
        if (!strcmp(om_quantizer_tap(q, i), "x")) t.shape.dim[1] = 2;
        for (int k = 0; k < om_shape_count(&t.shape); k++) v[k] = normal() * gain + offset;
        int err = om_quantizer_observe(q, i, &t, "a picture");
        if (err) return err;
    }
    return OM_OK;
}

static const om_quant_layer *layer(const om_quant_report *r, const char *name)
{
    for (size_t i = 0; i < r->n_layers; i++)
        if (!strcmp(r->layers[i].name, name)) return &r->layers[i];
    fail_msg("no layer %s", name);
    return NULL;
}

static const om_node *named(const om_graph *g, const char *name)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (!strcmp(g->nodes[i].name, name)) return &g->nodes[i];
    fail_msg("no node %s", name);
    return NULL;
}

static const om_node *maker(const om_graph *g, const om_node *n, int k)
{
    int p = g->values[n->inputs[k]].producer;
    return p < 0 ? NULL : &g->nodes[p];
}

static void rewrites_a_net(void **state)
{
    om_quant_params p = defaults();
    om_quantizer *q;
    om_graph *g;
    om_quant_report r = {0};
    assert_int_equal(om_quantizer_create(small_net(), &p, &q), OM_OK);
    assert_int_equal(om_quantizer_taps(q),
                     5); /* x, r, b, p, j: what the layer before the output reads is none */
    assert_int_equal(show(q, 1, 0), OM_OK);
    assert_int_equal(om_quantizer_finish(q, &g, &r), OM_OK);
    om_quantizer_destroy(q);
    assert_int_equal(om_quant_report_quantised(&r), 3);
    assert_false(layer(&r, "o")->quantised);
    assert_string_equal(layer(&r, "o")->why, "before an output");
    assert_int_equal(count(g, "QuantizeLinear"), 5);
    assert_string_equal(maker(g, named(g, "a"), 0)->op, "DequantizeLinear");
    assert_string_equal(maker(g, named(g, "a"), 2)->op, "DequantizeLinear");
    assert_null(maker(g, named(g, "o"), 1));
    /* One grid before and behind the join and the pool. */
    const om_node *join = named(g, "j"), *m = named(g, "m");
    float s = *(float *)g->values[maker(g, m, 0)->inputs[1]].constant->data;
    for (int k = 0; k < 2; k++)
        assert_true(s == *(float *)g->values[maker(g, join, k)->inputs[1]].constant->data);
    assert_true(s == *(float *)g->values[maker(g, named(g, "p"), 0)->inputs[1]].constant->data);
    /* Weights: a scale a channel, within half a step. */
    const om_node *dq = maker(g, named(g, "b"), 1);
    assert_int_equal(om_node_attr_int(dq, "axis", -1), 0);
    const om_const *w = g->values[dq->inputs[0]].constant;
    assert_true(w->dtype == OM_DTYPE_I8 && g->values[dq->inputs[1]].constant->shape.dim[0] == 3);
    for (int c = 0; c < 3; c++) {
        int most = 0;
        for (int i = 0; i < 4; i++)
            most = abs(((int8_t *)w->data)[c * 4 + i]) > most ? abs(((int8_t *)w->data)[c * 4 + i]) : most;
        assert_int_equal(most, 127);
    }
    om_quant_report_fini(&r);
    om_graph_destroy(g);
}

/* Shows the input its levels `least`..`most` and all else noise. */
static int show_levels(om_quantizer *q, double mean, int least, int most)
{
    for (size_t i = 0; i < om_quantizer_taps(q); i++) {
        const char *name = om_quantizer_tap(q, i);
        bool input = !strcmp(name, "x"), shifted = strstr(name, "levels") != NULL;
        float v[512];
        om_tensor t = {OM_DTYPE_F32,
                       SHAPE((int64_t)1, (int64_t)(input || shifted ? 2 : 4), (int64_t)6, (int64_t)6), v};
        for (int k = 0; k < om_shape_count(&t.shape); k++)
            v[k] = input || shifted
                       ? (float)((least + k % (most - least + 1) - mean - (shifted ? 0.5 : 0)) / 64)
                       : normal();
        int err = om_quantizer_observe(q, i, &t, "a picture");
        if (err) return err;
    }
    return OM_OK;
}

/* A place of the grid for each level, though the pictures showed some of them only; where zero lies between
 * two levels they are moved, and the first layer's bias takes that back. */
static void levels_have_places(void **state)
{
    static const double means[] = {0, 127.5, 100};
    for (int i = 0; i < 3; i++) {
        om_quant_params p = defaults();
        om_quantizer *q;
        om_graph *g, *was = small_net();
        double sum = 0, bias = (double)((float *)was->values[named(was, "a")->inputs[2]].constant->data)[0];
        const om_const *w = was->values[named(was, "a")->inputs[1]].constant;
        for (int64_t k = 0; k < om_shape_count(&w->shape) / w->shape.dim[0]; k++)
            sum += (double)((float *)w->data)[k];
        p.correct_bias = false;
        assert_int_equal(om_quantizer_create(was, &p, &q), OM_OK);
        assert_true(om_quantizer_set_levels(q, means[i], 1.0 / 64) >= 0);
        assert_int_equal(show_levels(q, means[i], 30, 200), OM_OK);
        assert_int_equal(om_quantizer_finish(q, &g, NULL), OM_OK);
        const om_node *a = named(g, "a"), *to = maker(g, a, 0), *moved = maker(g, maker(g, to, 0), 0);
        assert_true(*(float *)g->values[to->inputs[1]].constant->data == 1.0f / 64);
        assert_int_equal(*(uint8_t *)g->values[to->inputs[2]].constant->data, (int)(means[i] + 0.5));
        assert_int_equal(moved != NULL, i == 1);
        if (i == 1) assert_string_equal(moved->op, "Add");
        const om_node *b = maker(g, a, 2);
        double step = (double)((float *)g->values[b->inputs[1]].constant->data)[0],
               now = step * ((int32_t *)g->values[b->inputs[0]].constant->data)[0];
        assert_true(fabs(now - (bias + (i == 1 ? sum * 0.5 / 64 : 0))) <= step);
        om_quantizer_destroy(q);
        om_graph_destroy(g);
    }
}

static void targets_and_bits(void **state)
{
    om_quant_params p = defaults();
    om_quantizer *q;
    om_graph *g;
    om_quant_report r = {0};
    p.target = OM_QUANT_CUDA;
    p.weight_bits = 7;
    p.whole = true;
    assert_int_equal(om_quantizer_create(small_net(), &p, &q), OM_OK);
    assert_int_equal(show(q, 1, 0), OM_OK);
    assert_int_equal(om_quantizer_finish(q, &g, &r), OM_OK);
    om_quantizer_destroy(q);
    assert_int_equal(om_quant_report_quantised(&r), 4);
    for (int i = 0; i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        if (strcmp(n->op, "QuantizeLinear")) continue;
        const om_const *z = g->values[n->inputs[2]].constant;
        assert_true(z->dtype == OM_DTYPE_I8 && *(int8_t *)z->data == 0);
    }
    const om_const *w = g->values[maker(g, named(g, "o"), 1)->inputs[0]].constant;
    for (size_t i = 0; i < w->size; i++) assert_true(abs(((int8_t *)w->data)[i]) <= 63);
    om_quant_report_fini(&r);
    om_graph_destroy(g);
}

/* What the int8 weights make of the mean input, with the corrected bias, is what the float ones make of it.
 */
static void bias_is_corrected(void **state)
{
    om_quant_params p = defaults();
    om_quantizer *q;
    om_graph *net = small_net(), *g;
    om_quant_report r = {0};
    float w[8], b[4], mean[2] = {0};
    memcpy(w, net->values[om_graph_find(net, "wa")].constant->data, sizeof w);
    memcpy(b, net->values[om_graph_find(net, "ba")].constant->data, sizeof b);
    assert_int_equal(om_quantizer_create(net, &p, &q), OM_OK);
    for (size_t i = 0; i < om_quantizer_taps(q); i++) {
        float v[72];
        om_tensor t = {OM_DTYPE_F32, SHAPE((int64_t)1, (int64_t)2, (int64_t)6, (int64_t)6), v};
        bool input = !strcmp(om_quantizer_tap(q, i), "x");
        for (int k = 0; k < 72; k++) {
            v[k] = (k < 36 ? 5.0f : -3.0f) + uniform();
            if (input) mean[k / 36] += v[k] / 36;
        }
        /* The other tensors' channels do not fit, so that their layers get no correction: no harm. */
        assert_int_equal(om_quantizer_observe(q, i, &t, "a picture"), OM_OK);
    }
    assert_int_equal(om_quantizer_finish(q, &g, &r), OM_OK);
    om_quantizer_destroy(q);
    const om_node *dw = maker(g, named(g, "a"), 1), *db = maker(g, named(g, "a"), 2);
    const int8_t *qw = g->values[dw->inputs[0]].constant->data;
    const float *sw = g->values[dw->inputs[1]].constant->data, *sb = g->values[db->inputs[1]].constant->data;
    const int32_t *qb = g->values[db->inputs[0]].constant->data;
    for (int c = 0; c < 4; c++) {
        double is = (double)qb[c] * (double)sb[c], was = (double)b[c];
        for (int i = 0; i < 2; i++) {
            is += (double)qw[c * 2 + i] * (double)sw[c] * (double)mean[i];
            was += (double)w[c * 2 + i] * (double)mean[i];
        }
        assert_true(fabs(is - was) <= (double)sb[c]);
    }
    om_quant_report_fini(&r);
    om_graph_destroy(g);
}

static void constants_stay_float(void **state)
{
    om_quant_params p = defaults();
    om_quantizer *q;
    om_graph *g;
    om_quant_report r = {0};
    assert_int_equal(om_quantizer_create(small_net(), &p, &q), OM_OK);
    assert_int_equal(show(q, 0, 0), OM_OK);
    assert_true(om_quantizer_finish(q, &g, &r) < 0);
    assert_null(g);
    assert_non_null(strstr(om_error_message(), "always 0"));
    om_quantizer_destroy(q);
    om_quant_report_fini(&r);
}

static void bad_models(void **state)
{
    om_quant_params p = defaults();
    om_quantizer *q;
    om_graph *g = small_net();
    ((float *)g->values[om_graph_find(g, "wb")].constant->data)[2] = NAN;
    assert_int_equal(om_quantizer_create(g, &p, &q), OM_ERR_FORMAT);
    assert_non_null(strstr(om_error_message(), "'wb' holds numbers that are not finite"));

    g = new_graph(13);
    om_shape in = SHAPE((int64_t)1, (int64_t)2);
    assert_true(
        om_graph_mark_output(g, node(g, "Relu", "r", 1, om_graph_add_input(g, "x", OM_DTYPE_F32, &in))) >= 0);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    assert_int_equal(om_quantizer_create(g, &p, &q), OM_ERR_UNSUPPORTED);

    const char *wrong[] = {"am"};
    p.keep = wrong;
    p.n_keep = 1;
    assert_int_equal(om_quantizer_create(small_net(), &p, &q), OM_ERR_ARG);
    wrong[0] = "Conv";
    assert_int_equal(om_quantizer_create(small_net(), &p, &q), OM_ERR_UNSUPPORTED);
    assert_non_null(strstr(om_error_message(), "stay float"));

    p = defaults();
    assert_int_equal(om_quantizer_create(small_net(), &p, &q), OM_OK);
    assert_int_equal(show(q, 1, NAN), OM_ERR_FORMAT);
    assert_non_null(
        strstr(om_error_message(), "a picture: the float model makes numbers that are not finite"));
    om_quantizer_destroy(q);
    om_quantizer_destroy(NULL);
}

static void quantised_is_told(void **state)
{
    om_graph *g = new_graph(13);
    om_shape in = SHAPE((int64_t)1, (int64_t)2);
    int x = om_graph_add_input(g, "x", OM_DTYPE_F32, &in), s = om_graph_add_const_f32(g, "s", 1);
    assert_int_equal(om_quant_check_float(g, "m"), OM_OK);
    node(g, "QuantizeLinear", "quant", 2, x, s);
    assert_int_equal(om_quant_check_float(g, "m"), OM_ERR_ARG);
    assert_string_equal(om_error_message(),
                        "m: already quantised (node 'quant' is a QuantizeLinear); give the float model");
    om_graph_destroy(g);
}

static void raises_opsets(void **state)
{
    om_graph *g = new_graph(9);
    om_shape in = SHAPE((int64_t)1, (int64_t)1, (int64_t)4);
    int64_t one[] = {1}, zero[] = {0}, two[] = {2}, last[] = {2};
    int x = om_graph_add_input(g, "x", OM_DTYPE_F32, &in);
    int s = node(g, "Squeeze", "s", 1, x);
    assert_int_equal(om_node_set_ints(&g->nodes[g->values[s].producer], "axes", one, 1), OM_OK);
    int c = node(g, "Clip", "c", 1, s);
    assert_int_equal(om_node_set_float(&g->nodes[g->values[c].producer], "max", 6), OM_OK);
    int u = node(g, "Unsqueeze", "u", 1, c);
    assert_int_equal(om_node_set_ints(&g->nodes[g->values[u].producer], "axes", zero, 1), OM_OK);
    int k = node(g, "Slice", "k", 1, u);
    om_node *n = &g->nodes[g->values[k].producer];
    assert_int_equal(om_node_set_ints(n, "starts", zero, 1) + om_node_set_ints(n, "ends", two, 1) +
                         om_node_set_ints(n, "axes", last, 1),
                     OM_OK);
    int t = node(g, "Softmax", "t", 1, k);
    assert_int_equal(om_node_set_int(&g->nodes[g->values[t].producer], "axis", 2), OM_OK);
    assert_true(om_graph_mark_output(g, t) >= 0);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    assert_int_equal(om_quant_raise_opset(g), OM_OK);
    assert_int_equal(om_graph_opset(g, ""), 13);
    assert_int_equal(named(g, "s")->n_inputs, 2);
    assert_int_equal(named(g, "c")->n_inputs, 3);
    assert_int_equal(named(g, "c")->inputs[1], OM_NO_VALUE);
    assert_int_equal(named(g, "k")->n_inputs, 4);
    assert_int_equal(named(g, "k")->n_attrs, 0);
    assert_int_equal(g->values[g->outputs[0]].shape.dim[2], 2);
    om_graph_destroy(g);

    g = new_graph(11);
    x = om_graph_add_input(g, "x", OM_DTYPE_F32, &(om_shape){3, {1, 3, 4}});
    assert_true(om_graph_mark_output(g, node(g, "Softmax", "soft", 1, x)) >= 0); /* over 3 x 4 */
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    assert_int_equal(om_quant_raise_opset(g), OM_ERR_UNSUPPORTED);
    assert_non_null(strstr(om_error_message(), "'soft'"));
    om_graph_destroy(g);
}

/* Whatever allocation fails, the error comes back and nothing is lost. */
static void survives_without_memory(void **state)
{
    om_quant_params p = defaults();
    p.equalise = p.fit_rounding = true;
    p.layer_floor = 1;
    for (long n = 0;; n++) {
        om_quantizer *q = NULL;
        om_graph *net = small_net(), *g = NULL;
        om_quant_report r = {0};
        om_mem_fail_after(n);
        int err = om_quantizer_create(net, &p, &q);
        if (!err) err = show(q, 1, 0);
        if (!err) err = om_quantizer_equalise(q) < 0 ? OM_ERR_NOMEM : show(q, 1, 0);
        if (!err) err = om_quantizer_finish(q, &g, &r);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        om_quantizer_destroy(q);
        om_quant_report_fini(&r);
        om_graph_destroy(g);
        if (!met) {
            assert_int_equal(err, OM_OK);
            break;
        }
        assert_int_equal(err, OM_ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histogram_grows),
        cmocka_unit_test(histogram_refuses_what_is_no_number),
        cmocka_unit_test(large_tensors_are_sampled),
        cmocka_unit_test(ranges_of_known_distributions),
        cmocka_unit_test(mse_is_the_least),
        cmocka_unit_test(grids_hold_zero),
        cmocka_unit_test(rewrites_a_net),
        cmocka_unit_test(levels_have_places),
        cmocka_unit_test(targets_and_bits),
        cmocka_unit_test(bias_is_corrected),
        cmocka_unit_test(constants_stay_float),
        cmocka_unit_test(bad_models),
        cmocka_unit_test(quantised_is_told),
        cmocka_unit_test(raises_opsets),
        cmocka_unit_test(survives_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
