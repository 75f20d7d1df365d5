/* Models from bytes and back, with and without memory. Outside witnesses: tests/e2e/test_model_ir*.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/model.h"

/* x [n,3,h,w] -> Conv -> Reshape(y, Concat(Slice(Shape(y)), [-1])) -> out, and an If that takes x from
 * outside. */
static om_graph *sample(void)
{
    om_graph *g, *sub;
    float w[2 * 3] = {1, 2, 3, 4, 5, 6};
    const int64_t zero = 0, two = 2, rest = -1;
    om_shape in = om_shape_make(4, (int64_t)-1, (int64_t)3, (int64_t)-1, (int64_t)-1),
             ws = om_shape_make(4, (int64_t)2, (int64_t)3, (int64_t)1, (int64_t)1), scalar = om_shape_make(0);
    assert_int_equal(om_graph_create("sample", &g), OM_OK);
    g->ir_version = 8;
    g->producer = om_strdup("test");
    om_graph_set_opset(g, "", 13);
    om_graph_set_meta(g, "names", "{0: 'thing'}");
    int x = om_graph_add_input(g, "x", OM_DTYPE_F32, &in),
        cond = om_graph_add_input(g, "cond", OM_DTYPE_BOOL, &scalar);
    const char *params[] = {"n", NULL, "h", "w"};
    for (int i = 0; i < 4; i++) om_graph_set_dim_param(g, x, i, params[i]);
    int conv_in[] = {x, om_graph_add_const(g, "w", OM_DTYPE_F32, &ws, w)};
    int conv = om_graph_add_node(g, "Conv", "conv", conv_in, 2, 1), y = om_node_out(g, conv);
    const int64_t kernel[] = {1, 1};
    om_node_set_ints(&g->nodes[conv], "kernel_shape", kernel, 2);
    int shape = om_node_out(g, om_graph_add_node(g, "Shape", "shape", &y, 1, 1));
    int slice_in[] = {shape, om_graph_add_const_i64(g, "from", &zero, 1),
                      om_graph_add_const_i64(g, "to", &two, 1)};
    int slice = om_node_out(g, om_graph_add_node(g, "Slice", "slice", slice_in, 3, 1));
    int concat_in[] = {slice, om_graph_add_const_i64(g, "rest", &rest, 1)};
    int concat = om_graph_add_node(g, "Concat", "concat", concat_in, 2, 1);
    om_node_set_int(&g->nodes[concat], "axis", 0);
    int reshape_in[] = {y, om_node_out(g, concat)};
    int out = om_node_out(g, om_graph_add_node(g, "Reshape", "reshape", reshape_in, 2, 1));
    om_graph_rename_value(g, out, "out");
    om_graph_mark_output(g, out);
    int branch = om_graph_add_node(g, "If", "if", &cond, 1, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(om_graph_create("branch", &sub), OM_OK);
        int taken = om_graph_add_value(sub, "x", OM_DTYPE_NONE, NULL),
            n = om_graph_add_node(sub, "Relu", "inner", &taken, 1, 1);
        om_graph_mark_output(sub, om_node_out(sub, n));
        om_node_set_int(&g->nodes[branch], i ? "else_branch" : "then_branch", 0);
        om_attr *a = &g->nodes[branch].attrs[i];
        a->type = OM_ATTR_GRAPH;
        a->n = 1;
        a->graphs = om_calloc(1, sizeof *a->graphs);
        a->graphs[0] = sub;
    }
    om_graph_mark_output(g, om_node_out(g, branch));
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    return g;
}

static void bytes_and_back(void **state)
{
    om_graph *g = sample(), *back;
    char *a, *b;
    size_t na, nb;
    assert_int_equal(om_model_serialize(g, &a, &na), OM_OK);
    assert_int_equal(om_model_load_memory(a, na, "sample", NULL, &back), OM_OK);
    assert_string_equal(back->producer, "test");
    assert_string_equal(om_graph_meta(back, "names"), "{0: 'thing'}");
    assert_int_equal(om_graph_opset(back, ""), 13);
    const om_value *x = &back->values[back->inputs[0]], *w = &back->values[om_graph_find(back, "w")];
    assert_string_equal(x->dim_param[3], "w");
    assert_int_equal(x->shape.dim[0], OM_DIM_DYNAMIC);
    assert_memory_equal(w->constant->data, g->values[om_graph_find(g, "w")].constant->data, 24);
    assert_int_equal(om_graph_infer_shapes(back), OM_OK);
    const om_shape *out = &back->values[om_graph_find(back, "out")].shape;
    assert_int_equal(out->rank, 3);
    assert_int_equal(out->dim[1], 2);
    assert_int_equal(om_model_serialize(back, &b, &nb), OM_OK);
    assert_int_equal(na, nb);
    assert_memory_equal(a, b, na);
    om_free(a);
    om_free(b);
    om_graph_destroy(g);
    om_graph_destroy(back);
}

static void through_a_file(void **state)
{
    char path[] = "/tmp/omma-model-XXXXXX";
    om_graph *g = sample(), *back;
    close(mkstemp(path));
    assert_int_equal(om_model_save(g, path), OM_OK);
    assert_int_equal(om_model_load(path, &back), OM_OK);
    assert_int_equal(back->n_nodes, g->n_nodes);
    om_graph_destroy(back);
    unlink(path);
    assert_int_equal(om_model_load(path, &back), OM_ERR_NOT_FOUND);
    assert_null(back);
    assert_int_equal(om_model_save(g, "/nonexistent/m.onnx"), OM_ERR_NOT_FOUND);
    om_graph_destroy(g);
}

static void cut_anywhere(void **state)
{
    om_graph *g = sample(), *back;
    char *bytes;
    size_t n;
    assert_int_equal(om_model_serialize(g, &bytes, &n), OM_OK);
    for (size_t i = 0; i < n; i++)
        if (om_model_load_memory(bytes, i, "cut", NULL, &back) < 0) {
            assert_null(back);
            assert_memory_equal(om_error_message(), "cut: ", 5);
        } else om_graph_destroy(back); /* only trailing metadata is missing */
    om_free(bytes);
    om_graph_destroy(g);
}

static int whole_life(const char *bytes, size_t len)
{
    om_graph *g, *copy = NULL;
    char *again = NULL;
    size_t n;
    int err = om_model_load_memory(bytes, len, "sample", NULL, &g);
    if (err >= 0) err = om_graph_infer_shapes(g);
    if (err >= 0) err = om_graph_clone(g, &copy);
    if (err >= 0) err = om_graph_fold_constants(copy);
    if (err >= 0) err = om_model_serialize(copy, &again, &n);
    om_free(again);
    om_graph_destroy(copy);
    om_graph_destroy(g);
    return err;
}

/* Each allocation from loading to saving fails once. */
static void without_memory(void **state)
{
    om_graph *g = sample();
    char *bytes;
    size_t n;
    long tried = 0;
    assert_int_equal(om_model_serialize(g, &bytes, &n), OM_OK);
    for (;; tried++) {
        om_mem_fail_after(tried);
        int err = whole_life(bytes, n);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        if (!met) {
            assert_int_equal(err, OM_OK);
            break;
        }
        assert_int_equal(err, OM_ERR_NOMEM);
        assert_non_null(strstr(om_error_message(), "out of memory"));
    }
    assert_true(tried > 300);
    om_free(bytes);
    om_graph_destroy(g);
}

static void opset_bounds(void **state)
{
    om_graph *g = sample();
    for (int64_t version = 7; version < 31; version++) {
        om_graph_set_opset(g, "", version);
        bool fits = version >= OM_OPSET_MIN && version <= OM_OPSET_MAX;
        assert_int_equal(om_graph_validate(g, "m.onnx"), fits ? OM_OK : OM_ERR_UNSUPPORTED);
        if (!fits) assert_memory_equal(om_error_message(), "m.onnx: ONNX opset", 18);
    }
    om_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_back), cmocka_unit_test(through_a_file), cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(without_memory), cmocka_unit_test(opset_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
