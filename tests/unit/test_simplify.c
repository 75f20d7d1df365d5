/* Passes that make a graph smaller, cuts and differences. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/diff.h"
#include "model/model.h"

static om_graph *new_graph(void)
{
    om_graph *g;
    assert_int_equal(om_graph_create("g", &g), OM_OK);
    assert_int_equal(om_graph_set_opset(g, "", 17), OM_OK);
    g->ir_version = 8;
    return g;
}

static int node(om_graph *g, const char *op, const char *name, int n_in, ...)
{
    int in[8], n;
    va_list ap;
    va_start(ap, n_in);
    for (int i = 0; i < n_in; i++) in[i] = va_arg(ap, int);
    va_end(ap);
    n = om_graph_add_node(g, op, name, in, n_in, 1);
    assert_true(n >= 0);
    return om_node_out(g, n);
}

static om_node *maker(om_graph *g, int value) { return &g->nodes[g->values[value].producer]; }

static int floats(om_graph *g, const char *name, om_shape shape, float first, float step)
{
    float v[64];
    for (int i = 0; i < om_shape_count(&shape); i++) v[i] = first + step * (float)i;
    int c = om_graph_add_const(g, name, OM_DTYPE_F32, &shape, v);
    assert_true(c >= 0);
    return c;
}

#define SHAPE(...) om_shape_make((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), __VA_ARGS__)

static int count(const om_graph *g, const char *op)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) n += !g->nodes[i].dead && !strcmp(g->nodes[i].op, op);
    return n;
}

/* x -> Conv -> BatchNormalization -> out, with a dead Relu and an Identity. */
static om_graph *conv_bn(void)
{
    om_graph *g = new_graph();
    om_shape in = SHAPE((int64_t)1, (int64_t)2, (int64_t)5, (int64_t)5);
    int x = om_graph_add_input(g, "x", OM_DTYPE_F32, &in);
    int w = floats(g, "w", SHAPE((int64_t)3, (int64_t)2, (int64_t)1, (int64_t)1), 1, 1);
    int y = node(g, "Conv", "conv", 2, x, w);
    int id = node(g, "Identity", "id", 1, y);
    int bn = node(g, "BatchNormalization", "bn", 5, id, floats(g, "scale", SHAPE((int64_t)3), 2, 1),
                  floats(g, "bias", SHAPE((int64_t)3), 5, 1), floats(g, "mean", SHAPE((int64_t)3), 1, 1),
                  floats(g, "var", SHAPE((int64_t)3), 4, 0));
    om_node_set_float(maker(g, bn), "epsilon", 0);
    node(g, "Relu", "dead", 1, y);
    assert_true(om_graph_mark_output(g, bn) >= 0);
    assert_int_equal(om_graph_rename_value(g, bn, "out"), OM_OK);
    return g;
}

static void folds_batchnorm(void **state)
{
    om_graph *g = conv_bn();
    assert_int_equal(om_graph_simplify(g, OM_SIMPLIFY_ALL), OM_OK);
    assert_int_equal(g->n_nodes, 1);
    assert_string_equal(g->nodes[0].op, "Conv");
    assert_string_equal(g->values[g->outputs[0]].name, "out");
    assert_int_equal(g->nodes[0].n_inputs, 3);
    const float *w = g->values[g->nodes[0].inputs[1]].constant->data;
    const float *b = g->values[g->nodes[0].inputs[2]].constant->data;
    for (int c = 0; c < 3; c++) {
        float scale = (2.0f + (float)c) / 2;
        assert_true(fabsf(w[2 * c] - (1.0f + 2 * (float)c) * scale) < 1e-6f);
        assert_true(fabsf(b[c] - (5.0f + (float)c - (1.0f + (float)c) * scale)) < 1e-6f);
    }
    om_graph_destroy(g);
    g = conv_bn();
    assert_int_equal(om_graph_eliminate_dead(g), 1);
    assert_int_equal(om_graph_fold_batchnorm(g), 0); /* an Identity lies between */
    assert_int_equal(om_graph_simplify(g, OM_SIMPLIFY_IDENTITY), OM_OK);
    assert_int_equal(om_graph_fold_batchnorm(g), 1);
    assert_int_equal(g->n_nodes, 1);
    om_graph_destroy(g);
}

/* Weights that two convolutions share are changed for one of them only; a second reader keeps the batch norm.
 */
static void keeps_what_is_shared(void **state)
{
    om_graph *g = new_graph();
    om_shape in = SHAPE((int64_t)1, (int64_t)2, (int64_t)5, (int64_t)5);
    int x = om_graph_add_input(g, "x", OM_DTYPE_F32, &in);
    int w = floats(g, "w", SHAPE((int64_t)2, (int64_t)2, (int64_t)1, (int64_t)1), 1, 0);
    int first = node(g, "Conv", "first", 2, x, w), second = node(g, "Conv", "second", 2, first, w);
    int half = floats(g, "half", SHAPE((int64_t)1, (int64_t)2, (int64_t)1, (int64_t)1), 0.5f, 0);
    int scaled = node(g, "Mul", "mul", 2, second, half);
    assert_true(om_graph_mark_output(g, scaled) >= 0);
    assert_int_equal(om_graph_simplify(g, OM_SIMPLIFY_ALL), OM_OK);
    assert_int_equal(g->n_nodes, 2);
    assert_true(((float *)g->values[g->nodes[0].inputs[1]].constant->data)[0] == 1);
    assert_true(((float *)g->values[g->nodes[1].inputs[1]].constant->data)[0] == 0.5f);
    om_graph_destroy(g);

    g = conv_bn();
    for (int i = 0; i < g->n_nodes; i++)
        if (!strcmp(g->nodes[i].name, "dead")) om_graph_mark_output(g, om_node_out(g, i));
    assert_int_equal(om_graph_simplify(g, OM_SIMPLIFY_ALL), OM_OK);
    assert_int_equal(count(g, "BatchNormalization"), 1);
    om_graph_destroy(g);
}

/* Shape -> Gather -> Concat -> Reshape: gone where all is fixed, -1 where one dim is open. */
static om_graph *shape_chain(int64_t batch)
{
    om_graph *g = new_graph();
    om_shape in = SHAPE(batch, (int64_t)4, (int64_t)6, (int64_t)5), none = {.rank = 0};
    int64_t zero = 0;
    int x = om_graph_add_input(g, "x", OM_DTYPE_F32, &in);
    int shape = node(g, "Shape", "shape", 1, x);
    int index = om_graph_add_const(g, "zero", OM_DTYPE_I64, &none, &zero);
    int n = node(g, "Gather", "gather", 2, shape, index);
    int axes = om_graph_add_const_i64(g, "axes", &zero, 1);
    int list = node(g, "Unsqueeze", "unsqueeze", 2, n, axes);
    int rest = om_graph_add_const_i64(g, "rest", (int64_t[]){4, 30}, 2);
    int target = node(g, "Concat", "concat", 2, list, rest);
    om_node_set_int(maker(g, target), "axis", 0);
    int y = node(g, "Reshape", "reshape", 2, x, target);
    assert_true(om_graph_mark_output(g, y) >= 0);
    return g;
}

static void folds_shapes(void **state)
{
    for (int64_t batch = -1; batch < 3; batch += 3) {
        om_graph *g = shape_chain(batch);
        assert_int_equal(om_graph_simplify(g, OM_SIMPLIFY_ALL), OM_OK);
        assert_int_equal(g->n_nodes, 1);
        const om_const *c = g->values[g->nodes[0].inputs[1]].constant;
        assert_non_null(c);
        assert_int_equal(((int64_t *)c->data)[0], batch);
        assert_int_equal(((int64_t *)c->data)[2], 30);
        assert_int_equal(g->values[g->outputs[0]].shape.dim[0], batch);
        om_graph_destroy(g);
    }
}

static int permute(om_graph *g, const char *name, int x, int64_t a, int64_t b, int64_t c)
{
    int y = node(g, "Transpose", name, 1, x);
    om_node_set_ints(maker(g, y), "perm", (int64_t[]){a, b, c}, 3);
    return y;
}

static void merges(void **state)
{
    om_graph *g = new_graph();
    om_shape in = SHAPE((int64_t)2, (int64_t)3, (int64_t)4);
    int x = om_graph_add_input(g, "x", OM_DTYPE_F32, &in);
    int t = permute(g, "t2", permute(g, "t1", x, 2, 0, 1), 1, 2, 0); /* both: as it was */
    int same = node(g, "Sigmoid", "s1", 1, t), again = node(g, "Sigmoid", "s2", 1, x);
    int sum = node(g, "Add", "sum", 2, same, again);
    int r = node(g, "Reshape", "r1", 2, sum, om_graph_add_const_i64(g, "to1", (int64_t[]){6, 4}, 2));
    r = node(g, "Reshape", "r2", 2, r, om_graph_add_const_i64(g, "to2", (int64_t[]){0, 2, -1}, 3));
    assert_true(om_graph_mark_output(g, r) >= 0);
    assert_int_equal(om_graph_simplify(g, OM_SIMPLIFY_ALL), OM_OK);
    assert_int_equal(g->n_nodes, 3); /* Sigmoid, Add, Reshape */
    assert_int_equal(count(g, "Sigmoid"), 1);
    const om_shape *out = &g->values[g->outputs[0]].shape;
    assert_int_equal(out->rank, 3);
    assert_int_equal(out->dim[0], 6);
    om_graph_destroy(g);
}

/* An output that is an input by another name needs its Identity; two outputs of equal nodes stay two. */
static void keeps_outputs(void **state)
{
    om_graph *g = new_graph();
    om_shape in = SHAPE((int64_t)2, (int64_t)3);
    int x = om_graph_add_input(g, "x", OM_DTYPE_F32, &in);
    int y = node(g, "Identity", "id", 1, x), a = node(g, "Relu", "a", 1, x), b = node(g, "Relu", "b", 1, x);
    int outs[] = {y, a, b};
    const char *names[] = {"y", "first", "second"};
    for (int i = 0; i < 3; i++) {
        assert_true(om_graph_mark_output(g, outs[i]) >= 0);
        assert_int_equal(om_graph_rename_value(g, outs[i], names[i]), OM_OK);
    }
    assert_int_equal(om_graph_simplify(g, OM_SIMPLIFY_ALL), OM_OK);
    assert_int_equal(g->n_outputs, 3);
    for (int i = 0; i < 3; i++) assert_string_equal(g->values[g->outputs[i]].name, names[i]);
    assert_int_equal(om_graph_validate(g, "kept"), OM_OK);
    om_graph_destroy(g);
}

static void survives_lack_of_memory(void **state)
{
    for (long n = 0;; n++) {
        om_graph *g = n % 2 ? conv_bn() : shape_chain(2);
        om_mem_fail_after(n);
        int err = om_graph_simplify(g, OM_SIMPLIFY_ALL);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_true(met ? err == OM_ERR_NOMEM : err == OM_OK);
        om_graph_destroy(g);
        if (!met && n > 400) break;
    }
}

/* x -> a -> b -> out, a -> c -> out2: two live tensors behind a's readers. */
static om_graph *branches(void)
{
    om_graph *g = new_graph();
    om_shape in = SHAPE((int64_t)1, (int64_t)4);
    int x = om_graph_add_input(g, "x", OM_DTYPE_F32, &in);
    int a = node(g, "Relu", "layer_a", 1, x), b = node(g, "Neg", "layer_b", 1, a);
    int c = node(g, "Abs", "layer_c", 1, a), sum = node(g, "Add", "layer_sum", 2, b, c);
    assert_true(om_graph_mark_output(g, sum) >= 0);
    om_graph_rename_value(g, sum, "out");
    om_graph_set_meta(g, "omma.family", "raw");
    om_graph_set_meta(g, "names", "{0: 'a'}");
    return g;
}

static int cut(om_graph *g, const char *from, const char *from2, const char *to)
{
    const char *f[] = {from, from2}, *t[] = {to};
    return om_graph_cut(g, f, from ? from2 ? 2 : 1 : 0, t, to ? 1 : 0);
}

static void cuts(void **state)
{
    om_graph *g = branches();
    assert_int_equal(cut(g, NULL, NULL, "layer_a"), OM_OK);
    assert_int_equal(g->n_nodes, 1);
    assert_string_equal(g->values[g->outputs[0]].name, "layer_a_output_0");
    assert_int_equal(g->values[g->outputs[0]].shape.dim[1], 4);
    assert_null(om_graph_meta(g, "omma.family"));
    assert_non_null(om_graph_meta(g, "names"));
    assert_int_equal(om_graph_validate(g, "cut"), OM_OK);
    om_graph_destroy(g);

    g = branches();
    assert_int_equal(cut(g, "layer_b_output_0", "layer_c", NULL), OM_OK); /* c's input is a's output */
    assert_int_equal(g->n_inputs, 2);
    assert_int_equal(g->n_nodes, 2);
    assert_int_equal(om_graph_validate(g, "cut"), OM_OK);
    assert_non_null(om_graph_meta(g, "omma.family"));
    om_graph_destroy(g);
}

static void refuses_cuts(void **state)
{
    om_graph *g = branches();
    assert_int_equal(cut(g, "layer_b_output_0", NULL, NULL), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "'x'"));
    assert_non_null(strstr(om_error_message(), "'layer_a_output_0'"));
    assert_int_equal(cut(g, "layer_bb", NULL, NULL), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "did you mean 'layer_b"));
    assert_int_equal(cut(g, "layer_c_output_0", NULL, "layer_b"), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "no output of the cut depends on"));
    assert_int_equal(cut(g, NULL, NULL, "x"), OM_ERR_ARG);
    assert_int_equal(g->n_nodes, 4);
    om_graph_destroy(g);
}

static void differs(void **state)
{
    om_graph *a = conv_bn(), *b = conv_bn();
    om_diff *d;
    assert_int_equal(om_graph_diff(a, b, &d), OM_OK);
    assert_int_equal(d->n, 0);
    assert_int_equal(d->same_nodes, 4);
    assert_int_equal(d->same_weights, 5);
    om_diff_free(d);
    ((float *)b->values[om_graph_find(b, "w")].constant->data)[1] += 0.25f;
    om_graph_set_meta(b, "task", "detect");
    om_graph_eliminate_dead(b);
    for (int i = 0; i < b->n_nodes; i++)
        if (!strcmp(b->nodes[i].op, "BatchNormalization")) om_node_set_float(&b->nodes[i], "epsilon", 0.5f);
    assert_int_equal(om_graph_diff(a, b, &d), OM_OK);
    assert_int_equal(d->n, 4);
    assert_int_equal(d->items[0].part, OM_DIFF_META);
    assert_int_equal(d->items[0].change, OM_DIFF_ADDED);
    assert_int_equal(d->items[3].part, OM_DIFF_WEIGHT);
    assert_true(d->items[3].max_difference == 0.25);
    om_diff_free(d);
    om_graph_destroy(a);
    om_graph_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_batchnorm),
        cmocka_unit_test(keeps_what_is_shared),
        cmocka_unit_test(folds_shapes),
        cmocka_unit_test(merges),
        cmocka_unit_test(keeps_outputs),
        cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(cuts),
        cmocka_unit_test(refuses_cuts),
        cmocka_unit_test(differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
