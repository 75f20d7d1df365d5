/* Second moments of what layers read, and weights rounded by them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "quant/gram.h"

static uint32_t seed = 11;

static float uniform(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 16777216.0f - 0.5f;
}

/* A layer `op` that reads x, with weights of that shape. */
static om_graph *layer(const char *op, om_shape in, om_shape weights, const float *w, int64_t group)
{
    om_graph *g;
    assert_int_equal(om_graph_create("g", &g), 0);
    assert_int_equal(om_graph_set_opset(g, "", 13), 0);
    int x = om_graph_add_input(g, "x", OM_DTYPE_F32, &in),
        c = om_graph_add_const(g, "w", OM_DTYPE_F32, &weights, w);
    int node = om_graph_add_node(g, op, "n", (int[]){x, c}, 2, 1);
    assert_true(node >= 0);
    if (!strcmp(op, "Conv")) {
        assert_int_equal(om_node_set_ints(&g->nodes[node], "pads", (int64_t[]){1, 0, 1, 0}, 4), 0);
        assert_int_equal(om_node_set_ints(&g->nodes[node], "strides", (int64_t[]){1, 2}, 2), 0);
        assert_int_equal(om_node_set_int(&g->nodes[node], "group", group), 0);
    }
    return g;
}

/* Windows of 3x2, a row of zeros above and below, every other column. */
static void moments_of_windows(void **state)
{
    enum { CHANNELS = 2, HEIGHT = 4, WIDTH = 6, K = 6 };
    float w[CHANNELS * K], v[CHANNELS * HEIGHT * WIDTH];
    for (int i = 0; i < CHANNELS * K; i++) w[i] = uniform();
    for (int i = 0; i < CHANNELS * HEIGHT * WIDTH; i++) v[i] = uniform() + 0.2f;
    om_shape in = om_shape_make(4, (int64_t)1, (int64_t)CHANNELS, (int64_t)HEIGHT, (int64_t)WIDTH),
             weights = om_shape_make(4, (int64_t)CHANNELS, (int64_t)1, (int64_t)3, (int64_t)2);
    om_graph *g = layer("Conv", in, weights, w, CHANNELS);
    om_weight_form form = {.axis = 0, .outer = 1, .n = CHANNELS, .inner = K};
    om_gram *m;
    assert_int_equal(om_gram_create(g, &g->nodes[0], &form, &m), 0);
    assert_non_null(m);
    assert_true(m->groups == CHANNELS && m->k == K);
    om_tensor t = {OM_DTYPE_F32, in, v};
    om_gram_add(m, &g->nodes[0], &weights, &t);
    assert_int_equal(m->n, HEIGHT * 3);
    for (int c = 0; c < CHANNELS; c++)
        for (int a = 0; a < K; a++)
            for (int b = 0; b <= a; b++) {
                double xx = 0, sum = 0;
                for (int y = 0; y < HEIGHT; y++)
                    for (int x = 0; x < WIDTH; x += 2) {
                        int ya = y - 1 + a / 2, yb = y - 1 + b / 2;
                        float va = ya < 0 || ya >= HEIGHT ? 0 : v[(c * HEIGHT + ya) * WIDTH + x + a % 2];
                        float vb = yb < 0 || yb >= HEIGHT ? 0 : v[(c * HEIGHT + yb) * WIDTH + x + b % 2];
                        xx += (double)va * (double)vb;
                        sum += (double)va;
                    }
                assert_true(fabs(m->xx[(c * K + a) * K + b] - xx) < 1e-4);
                assert_true(fabs(om_gram_mean(m, CHANNELS, c, a) - sum / (double)m->n) < 1e-6);
            }
    om_gram_destroy(m);
    om_graph_destroy(g);
}

/* Mean square of what the errors of the weights do to the output of channel `c` of n. */
static double harm(const float *x, int rows, int k, int n, int c, const float *w, const float *back)
{
    double sum = 0;
    for (int r = 0; r < rows; r++) {
        double e = 0;
        for (int i = 0; i < k; i++) e += (double)x[r * k + i] * (double)(w[i * n + c] - back[i * n + c]);
        sum += e * e / rows;
    }
    return sum;
}

/* What a MatMul reads goes together: errors that cancel do a fraction of the harm. */
static void errors_cancel(void **state)
{
    enum { K = 24, N = 8, ROWS = 400, MOST = 63 };
    static float w[K * N], x[ROWS * K], near[K * N], fit[K * N];
    for (int i = 0; i < K * N; i++) w[i] = uniform();
    for (int r = 0; r < ROWS; r++) {
        float both = uniform() * 4;
        for (int i = 0; i < K; i++) x[r * K + i] = both + uniform() * 0.2f;
    }
    om_shape in = om_shape_make(2, (int64_t)ROWS, (int64_t)K),
             weights = om_shape_make(2, (int64_t)K, (int64_t)N);
    om_graph *g = layer("MatMul", in, weights, w, 1);
    om_weight_form form = {.axis = 1, .outer = K, .n = N, .inner = 1};
    om_gram *m;
    assert_int_equal(om_gram_create(g, &g->nodes[0], &form, &m), 0);
    om_tensor t = {OM_DTYPE_F32, in, x};
    om_gram_add(m, &g->nodes[0], &weights, &t);
    assert_int_equal(om_gram_round(m, &form, w, MOST, false, false), 0);
    double nearest = 0, fitted = 0;
    for (int c = 0; c < N; c++) {
        float largest = 0;
        for (int i = 0; i < K; i++) largest = fmaxf(largest, fabsf(w[i * N + c]));
        for (int i = 0; i < K; i++) {
            int q = m->q[c * K + i];
            assert_true(q >= -MOST && q <= MOST);
            near[i * N + c] = nearbyintf(w[i * N + c] / (largest / MOST)) * (largest / MOST);
            fit[i * N + c] = (float)q * m->scale[c];
        }
        nearest += harm(x, ROWS, K, N, c, w, near);
        fitted += harm(x, ROWS, K, N, c, w, fit);
    }
    assert_true(fitted < nearest / 4);
    assert_true(m->signal > m->noise && m->noise > 0);
    om_gram_destroy(m);
    om_gram_destroy(NULL);
    om_graph_destroy(g);
}

/* Eight bits where the sums of neighbours allow it: finer than seven, and no two overflow 16 bits. */
static void neighbours_fit_16_bits(void **state)
{
    enum { K = 40, N = 8, ROWS = 500 };
    static float w[K * N], x[ROWS * K];
    for (int i = 0; i < K * N; i++) w[i] = uniform() * uniform() + (i < 2 * N ? 0.05f : 0);
    for (int i = 0; i < ROWS * K; i++) x[i] = uniform() + 0.5f;
    om_shape in = om_shape_make(2, (int64_t)ROWS, (int64_t)K),
             weights = om_shape_make(2, (int64_t)K, (int64_t)N);
    om_graph *g = layer("MatMul", in, weights, w, 1);
    om_weight_form form = {.axis = 1, .outer = K, .n = N, .inner = 1};
    om_tensor t = {OM_DTYPE_F32, in, x};
    double noise[2];
    for (int pairs = 0; pairs < 2; pairs++) {
        om_gram *m;
        int largest = 0;
        assert_int_equal(om_gram_create(g, &g->nodes[0], &form, &m), 0);
        om_gram_add(m, &g->nodes[0], &weights, &t);
        assert_int_equal(om_gram_round(m, &form, w, pairs ? 127 : 63, true, pairs), 0);
        for (int c = 0; c < N; c++)
            for (int i = 0; i < K; i++) {
                int a = m->q[c * K + i], b = i + 1 < K ? m->q[c * K + i + 1] : 0;
                assert_true(abs(a + b) <= 128 || (a > 0) != (b > 0));
                if (abs(a) > largest) largest = abs(a);
            }
        assert_true(pairs ? largest > 63 : largest <= 63);
        noise[pairs] = m->noise;
        om_gram_destroy(m);
    }
    assert_true(noise[1] < noise[0] * 0.8);
    om_graph_destroy(g);
}

/* Nothing was seen but zeros: the channels are left to the nearest. A tensor of another form adds nothing. */
static void nothing_seen(void **state)
{
    float w[4] = {1, 2, 3, 4}, x[4] = {0};
    om_shape in = om_shape_make(2, (int64_t)2, (int64_t)2), odd = om_shape_make(2, (int64_t)1, (int64_t)3);
    om_graph *g = layer("MatMul", in, in, w, 1);
    om_weight_form form = {.axis = 1, .outer = 2, .n = 2, .inner = 1};
    om_gram *m;
    assert_int_equal(om_gram_create(g, &g->nodes[0], &form, &m), 0);
    om_tensor t = {OM_DTYPE_F32, odd, x};
    om_gram_add(m, &g->nodes[0], &in, &t);
    assert_int_equal(m->n, 0);
    t.shape = in;
    om_gram_add(m, &g->nodes[0], &in, &t);
    assert_int_equal(om_gram_round(m, &form, w, 63, false, false), 0);
    assert_true(m->scale[0] == 0 && m->scale[1] == 0);
    om_gram_destroy(m);
    om_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_of_windows),
        cmocka_unit_test(errors_cancel),
        cmocka_unit_test(neighbours_fit_16_bits),
        cmocka_unit_test(nothing_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
