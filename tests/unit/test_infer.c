/* Shape inference on small graphs, and what it must not know. ONNX's operator tests are in tests/e2e. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/model.h"

#define N OM_DIM_DYNAMIC

static om_graph *new_graph(int64_t opset)
{
    om_graph *g;
    assert_int_equal(om_graph_create("g", &g), OM_OK);
    om_graph_set_opset(g, "", opset);
    return g;
}

static int input(om_graph *g, const char *name, om_dtype t, int rank, const int64_t *dims)
{
    om_shape s = {.rank = rank};
    for (int i = 0; i < rank; i++) s.dim[i] = dims[i];
    return om_graph_add_input(g, name, t, &s);
}

static om_node *add(om_graph *g, const char *op, const int *in, int n)
{
    int at = om_graph_add_node(g, op, NULL, in, n, 1);
    assert_true(at >= 0);
    return &g->nodes[at];
}

static void expect(const om_graph *g, int value, om_dtype t, const char *shape)
{
    char text[OM_SHAPE_TEXT];
    om_shape_text(&g->values[value].shape, text);
    assert_string_equal(text, shape);
    assert_int_equal(g->values[value].dtype, t);
}

static int i64(om_graph *g, int n, ...)
{
    int64_t v[8];
    va_list ap;
    va_start(ap, n);
    for (int i = 0; i < n; i++) v[i] = va_arg(ap, int);
    va_end(ap);
    return om_graph_add_const_i64(g, NULL, v, n);
}

/* Reshape(x, [Shape(x)[0], 255, -1]): an unknown element stays open without spoiling the others. */
static void partial_shapes(void **state)
{
    om_graph *g = new_graph(13);
    int x = input(g, "x", OM_DTYPE_F32, 4, (int64_t[]){N, 255, 20, 20});
    int shape = add(g, "Shape", &x, 1)->outputs[0];
    int first = add(g, "Slice", (int[]){shape, i64(g, 1, 0), i64(g, 1, 1)}, 3)->outputs[0];
    om_node *join = add(g, "Concat", (int[]){first, i64(g, 2, 255, 400)}, 2);
    om_node_set_int(join, "axis", 0);
    int joined = join->outputs[0];
    int out = add(g, "Reshape", (int[]){x, joined}, 2)->outputs[0];
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    expect(g, out, OM_DTYPE_F32, "?x255x400");
    om_shape set = om_shape_make(4, (int64_t)2, (int64_t)255, (int64_t)20, (int64_t)20);
    assert_int_equal(om_graph_set_input_shape(g, 0, &set), OM_OK);
    expect(g, out, OM_DTYPE_F32, "unknown");
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    expect(g, out, OM_DTYPE_F32, "2x255x400");
    assert_int_equal(om_graph_set_input_shape(g, 1, &set), OM_ERR_ARG);
    om_graph_destroy(g);
}

/* [?, 255, ?, ?] to [0, 3, 85, -1] cannot be said; [?, 255, 4, 5] to [0, 3, 85, -1] can, though the batch is
 * open. */
static void open_dimension(void **state)
{
    for (int dynamic = 0; dynamic < 2; dynamic++) {
        om_graph *g = new_graph(13);
        int x = input(g, "x", OM_DTYPE_F32, 4, (int64_t[]){N, 255, dynamic ? N : 4, 5});
        int out = add(g, "Reshape", (int[]){x, i64(g, 4, 0, 3, 85, -1)}, 2)->outputs[0];
        assert_int_equal(om_graph_infer_shapes(g), OM_OK);
        expect(g, out, OM_DTYPE_F32, dynamic ? "?x3x85x?" : "?x3x85x20");
        om_graph_destroy(g);
    }
}

static void slices(void **state)
{
    static const struct {
        int from, to, step;
        const char *want;
    } cases[] = {{0, 10, 1, "10"}, {1, -1, 1, "8"},  {-3, 100, 1, "3"}, {9, -100, -1, "10"},
                 {5, 2, 1, "0"},   {0, 10, 3, "4"},  {-1, 0, -2, "5"},  {100, 0, -1, "9"},
                 {0, 5, -1, "0"},  {-100, 5, 1, "5"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        om_graph *g = new_graph(13);
        int x = input(g, "x", OM_DTYPE_I32, 1, (int64_t[]){10});
        int out = add(g, "Slice",
                      (int[]){x, i64(g, 1, cases[i].from), i64(g, 1, cases[i].to), i64(g, 1, 0),
                              i64(g, 1, cases[i].step)},
                      5)
                      ->outputs[0];
        assert_int_equal(om_graph_infer_shapes(g), OM_OK);
        expect(g, out, OM_DTYPE_I32, cases[i].want);
        om_graph_destroy(g);
    }
}

/* The forms of before opset 10, 11 and 13: axes, sizes and repeats as attributes. */
static void attribute_forms(void **state)
{
    om_graph *g = new_graph(9);
    int x = input(g, "x", OM_DTYPE_F32, 4, (int64_t[]){1, 6, 8, 1});
    const int64_t axes[] = {3}, starts[] = {2}, ends[] = {1000}, one[] = {1}, parts[] = {2, 4},
                  pads[] = {0, 0, 1, 1, 0, 0, 1, 1};
    om_node *n = add(g, "Squeeze", &x, 1);
    om_node_set_ints(n, "axes", axes, 1);
    int squeezed = n->outputs[0];
    n = add(g, "Unsqueeze", &squeezed, 1);
    om_node_set_ints(n, "axes", axes, 1);
    int back = n->outputs[0];
    n = add(g, "Slice", &x, 1);
    om_node_set_ints(n, "starts", starts, 1);
    om_node_set_ints(n, "ends", ends, 1);
    om_node_set_ints(n, "axes", one, 1);
    int slice = n->outputs[0];
    n = add(g, "Pad", &x, 1);
    om_node_set_ints(n, "pads", pads, 8);
    int pad = n->outputs[0], at = om_graph_add_node(g, "Split", NULL, &x, 1, 2);
    om_node_set_ints(&g->nodes[at], "split", parts, 2);
    om_node_set_int(&g->nodes[at], "axis", 1);
    n = add(g, "TopK", (int[]){x, i64(g, 1, 3)}, 2);
    om_node_set_int(n, "axis", 1);
    int top = n->outputs[0];
    n = add(g, "ReduceSum", &x, 1);
    om_node_set_ints(n, "axes", one, 1);
    om_node_set_int(n, "keepdims", 0);
    int sum = n->outputs[0];
    n = add(g, "Cast", &x, 1);
    om_node_set_int(n, "to", 10);
    int cast = n->outputs[0];
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    expect(g, squeezed, OM_DTYPE_F32, "1x6x8");
    expect(g, back, OM_DTYPE_F32, "1x6x8x1");
    expect(g, slice, OM_DTYPE_F32, "1x4x8x1");
    expect(g, pad, OM_DTYPE_F32, "1x6x10x3");
    expect(g, g->nodes[at].outputs[1], OM_DTYPE_F32, "1x4x8x1");
    expect(g, top, OM_DTYPE_F32, "1x3x8x1");
    expect(g, sum, OM_DTYPE_F32, "1x8x1");
    expect(g, cast, OM_DTYPE_F16, "1x6x8x1");
    om_graph_destroy(g);
}

/* Upsample and the Resize of opset 10 have their scales second. */
static void old_resize(void **state)
{
    const char *ops[] = {"Upsample", "Resize"};
    for (int i = 0; i < 2; i++) {
        om_graph *g = new_graph(10);
        const float scales[] = {1, 1, 2, 2.5f};
        om_shape s = om_shape_make(1, (int64_t)4);
        int x = input(g, "x", OM_DTYPE_F32, 4, (int64_t[]){N, 3, 5, 5});
        int out =
            add(g, ops[i], (int[]){x, om_graph_add_const(g, "s", OM_DTYPE_F32, &s, scales)}, 2)->outputs[0];
        assert_int_equal(om_graph_infer_shapes(g), OM_OK);
        expect(g, out, OM_DTYPE_F32, "?x3x10x12");
        om_graph_destroy(g);
    }
}

static void unknown_operator(void **state)
{
    om_graph *g = new_graph(13);
    int x = input(g, "x", OM_DTYPE_F32, 2, (int64_t[]){2, 3});
    int odd = add(g, "NoSuchOperator", &x, 1)->outputs[0], out = add(g, "Relu", &odd, 1)->outputs[0];
    om_node *n = add(g, "Add", &x, 1); /* of another domain: not ONNX's Add */
    om_free(n->domain);
    n->domain = om_strdup("com.example");
    int foreign = n->outputs[0];
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    expect(g, odd, OM_DTYPE_NONE, "unknown");
    expect(g, out, OM_DTYPE_NONE, "unknown");
    expect(g, foreign, OM_DTYPE_NONE, "unknown");
    om_graph_destroy(g);
}

/* A node with fewer inputs than its operator has, or attributes of absurd size, is answered, not followed. */
static void absurd_nodes(void **state)
{
    static const char *const ops[] = {"Conv",  "Gemm",  "MatMul", "Concat", "Gather", "Resize",  "Split",
                                      "Tile",  "Where", "LSTM",   "Loop",   "If",     "Einsum",  "Range",
                                      "Slice", "TopK",  "OneHot", "Pad",    "Max",    "Constant"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        om_graph *g = new_graph(13);
        add(g, ops[i], NULL, 0);
        om_graph_infer_shapes(g);
        om_graph_fold_constants(g);
        om_graph_destroy(g);
    }
    /* Its output declared, so that there is something to evaluate into. */
    static const char *const small[] = {"Reshape", "Add", "Cast", "Where",    "Slice",
                                        "Gather",  "Sum", "Tile", "ReduceSum"};
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
        om_graph *g = new_graph(13);
        int made = add(g, small[i], NULL, 0)->outputs[0];
        om_value *out = &g->values[made];
        out->declared = true;
        out->dtype = OM_DTYPE_I64;
        out->shape = om_shape_make(1, (int64_t)2);
        om_graph_infer_shapes(g);
        om_graph_fold_constants(g);
        om_graph_destroy(g);
    }
    om_graph *g = new_graph(13);
    const int64_t huge[] = {INT64_MAX, INT64_MAX};
    int x = input(g, "x", OM_DTYPE_F32, 4, (int64_t[]){1, 3, 8, 8});
    om_node *n = add(g, "MaxPool", &x, 1);
    om_node_set_ints(n, "kernel_shape", huge, 2);
    assert_int_equal(om_graph_infer_shapes(g), OM_ERR_FORMAT);
    assert_non_null(strstr(om_error_message(), "kernel_shape"));
    om_graph_destroy(g);
}

/* What comes from constants alone is folded; what comes from a shape is not, since shapes may be set anew. */
static void folding(void **state)
{
    om_graph *g = new_graph(13);
    int x = input(g, "x", OM_DTYPE_F32, 2, (int64_t[]){2, 3});
    int sum = add(g, "Add", (int[]){i64(g, 2, 1, 2), i64(g, 1, 10)}, 2)->outputs[0];
    om_node *cast = add(g, "Cast", &sum, 1);
    om_node_set_int(cast, "to", 1);
    int as_float = cast->outputs[0], shape = add(g, "Shape", &x, 1)->outputs[0];
    int twice = add(g, "Mul", (int[]){shape, i64(g, 1, 2)}, 2)->outputs[0];
    om_graph_rename_value(g, as_float, "folded");
    om_graph_mark_output(g, add(g, "Identity", &as_float, 1)->outputs[0]);
    om_graph_mark_output(g, twice);
    assert_int_equal(om_graph_fold_constants(g), OM_OK);
    assert_int_equal(g->n_nodes, 3);
    const om_value *v = &g->values[om_graph_find(g, "folded")];
    assert_non_null(v->constant);
    assert_int_equal(v->constant->dtype, OM_DTYPE_F32);
    assert_true(((const float *)v->constant->data)[0] == 11 && ((const float *)v->constant->data)[1] == 12);
    om_graph_destroy(g);
}

/* An overflowing power and a cast of infinity have no integer: they stay unknown. */
static void numbers_that_are_none(void **state)
{
    om_graph *g = new_graph(13);
    om_shape one = om_shape_make(1, (int64_t)1);
    const int64_t low = INT64_MIN;
    const float inf = 1e30f;
    int zero = i64(g, 1, 0), minus = i64(g, 1, -1),
        big = om_graph_add_const(g, NULL, OM_DTYPE_I64, &one, &low);
    int f = om_graph_add_const(g, NULL, OM_DTYPE_F32, &one, &inf);
    const struct {
        const char *op;
        int a, b;
        bool folds;
    } cases[] = {{"Mod", big, minus, true},
                 {"Pow", big, big, false},
                 {"Sub", zero, big, true},
                 {"Mul", big, minus, true}};
    int outs[5];
    for (int i = 0; i < 4; i++) outs[i] = add(g, cases[i].op, (int[]){cases[i].a, cases[i].b}, 2)->outputs[0];
    om_node *cast = add(g, "Cast", &f, 1);
    om_node_set_int(cast, "to", 7);
    outs[4] = cast->outputs[0];
    char names[5][16];
    for (int i = 0; i < 5; i++) {
        snprintf(names[i], sizeof names[i], "case%d", i);
        om_graph_rename_value(g, outs[i], names[i]);
        om_graph_mark_output(g, add(g, "Identity", &outs[i], 1)->outputs[0]);
    }
    assert_int_equal(om_graph_fold_constants(g), OM_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(g->values[om_graph_find(g, names[i])].constant != NULL, i < 4 && cases[i].folds);
    om_graph_destroy(g);
}

/* Engines fold these with the processor's own division, which ends the process: the model is refused. */
static void numbers_that_end_the_process(void **state)
{
    static const struct {
        const char *op;
        int fmod;
        int64_t a, b;
    } cases[] = {{"Div", 0, INT64_MIN, -1},
                 {"Mod", 1, INT64_MIN, -1},
                 {"Mod", 1, 5, 0},
                 {"Mod", 0, 5, 0},
                 {"Div", 0, 5, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        om_graph *g = new_graph(13);
        int a = om_graph_add_const_i64(g, NULL, &cases[i].a, 1),
            b = om_graph_add_const_i64(g, NULL, &cases[i].b, 1);
        om_node *n = add(g, cases[i].op, (int[]){a, b}, 2);
        if (cases[i].fmod) om_node_set_int(n, "fmod", 1);
        om_graph_mark_output(g, n->outputs[0]);
        assert_int_equal(om_graph_infer_shapes(g), OM_ERR_FORMAT);
        assert_non_null(strstr(om_error_message(), "has no result of type i64"));
        om_graph_destroy(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partial_shapes),
        cmocka_unit_test(open_dimension),
        cmocka_unit_test(slices),
        cmocka_unit_test(attribute_forms),
        cmocka_unit_test(old_resize),
        cmocka_unit_test(unknown_operator),
        cmocka_unit_test(absurd_nodes),
        cmocka_unit_test(folding),
        cmocka_unit_test(numbers_that_are_none),
        cmocka_unit_test(numbers_that_end_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
