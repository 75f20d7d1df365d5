/* The graph: names, edits, ordering, copies. */
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

static om_graph *new_graph(void)
{
    om_graph *g;
    assert_int_equal(om_graph_create("g", &g), OM_OK);
    assert_int_equal(om_graph_set_opset(g, "", 17), OM_OK);
    g->ir_version = 8;
    return g;
}

static int node(om_graph *g, const char *op, const char *name, int a, int b)
{
    int in[] = {a, b}, n = om_graph_add_node(g, op, name, in, b == OM_NO_VALUE ? 1 : 2, 1);
    assert_true(n >= 0);
    return n;
}

static int input(om_graph *g, const char *name)
{
    om_shape s = om_shape_make(2, (int64_t)1, (int64_t)4);
    int v = om_graph_add_input(g, name, OM_DTYPE_F32, &s);
    assert_true(v >= 0);
    return v;
}

static void names(void **state)
{
    om_graph *g = new_graph();
    char name[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "value/%d", i * 7);
        assert_int_equal(om_graph_add_value(g, name, OM_DTYPE_F32, NULL), i);
    }
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "value/%d", i * 7);
        assert_int_equal(om_graph_find(g, name), i);
    }
    assert_int_equal(om_graph_find(g, "value/1"), OM_ERR_NOT_FOUND);
    assert_int_equal(om_graph_add_value(g, "value/7", OM_DTYPE_F32, NULL), OM_ERR_FORMAT);
    assert_non_null(strstr(om_error_message(), "'value/7'"));
    assert_int_equal(om_graph_add_value(g, "", OM_DTYPE_F32, NULL), OM_ERR_FORMAT);
    int fresh = om_graph_add_value(g, NULL, OM_DTYPE_F32, NULL);
    assert_int_equal(om_graph_find(g, g->values[fresh].name), fresh);
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "renamed %d", i);
        assert_int_equal(om_graph_rename_value(g, i, name), OM_OK);
        assert_int_equal(om_graph_find(g, name), i);
    }
    assert_int_equal(om_graph_find(g, "value/7"), OM_ERR_NOT_FOUND);
    assert_int_equal(om_graph_rename_value(g, 3, "renamed 4"), OM_ERR_ARG);
    assert_int_equal(om_graph_rename_value(g, 3, "renamed 3"), OM_OK);
    om_graph_destroy(g);
}

static void attributes(void **state)
{
    om_graph *g = new_graph();
    int at = node(g, "Conv", "c", input(g, "x"), OM_NO_VALUE);
    om_node *n = &g->nodes[at];
    const int64_t pads[] = {1, 2, 3, 4};
    int64_t out[2];
    assert_int_equal(om_node_set_ints(n, "pads", pads, 4), OM_OK);
    assert_int_equal(om_node_set_int(n, "group", 3), OM_OK);
    assert_int_equal(om_node_set_float(n, "alpha", 0.5f), OM_OK);
    assert_int_equal(om_node_set_string(n, "auto_pad", "VALID"), OM_OK);
    assert_int_equal(om_node_attr_ints(n, "pads", out, 2), 4);
    assert_int_equal(out[1], 2);
    assert_int_equal(om_node_attr_ints(n, "group", out, 2), -1);
    assert_int_equal(om_node_attr_int(n, "group", 1), 3);
    assert_int_equal(om_node_attr_int(n, "pads", 9), 9);
    assert_true(om_node_attr_float(n, "alpha", 0) == 0.5f);
    assert_string_equal(om_node_attr_string(n, "auto_pad", ""), "VALID");
    assert_int_equal(om_node_set_int(n, "pads", 1), OM_OK); /* of another type now */
    assert_int_equal(om_node_attr_ints(n, "pads", out, 2), -1);
    assert_int_equal(n->n_attrs, 4);
    assert_null(om_node_attr(n, "absent"));
    om_graph_destroy(g);
}

static void metas_and_opsets(void **state)
{
    om_graph *g = new_graph();
    assert_null(om_graph_meta(g, "stride"));
    assert_int_equal(om_graph_set_meta(g, "stride", "32"), OM_OK);
    assert_int_equal(om_graph_set_meta(g, "stride", "64"), OM_OK);
    assert_string_equal(om_graph_meta(g, "stride"), "64");
    assert_int_equal(g->n_metas, 1);
    assert_int_equal(om_graph_opset(g, "ai.onnx"), 17);
    assert_int_equal(om_graph_set_opset(g, "ai.onnx", 18), OM_OK);
    assert_int_equal(om_graph_opset(g, ""), 18);
    assert_int_equal(g->n_opsets, 1);
    assert_int_equal(om_graph_opset(g, "com.microsoft"), 0);
    om_graph_destroy(g);
}

static void node_names_of_values(void **state)
{
    om_graph *g = new_graph();
    int x = input(g, "x"), n = om_graph_add_node(g, "Split", "/s", &x, 1, 2);
    assert_string_equal(g->values[g->nodes[n].outputs[1]].name, "/s_output_1");
    int bad = 99;
    assert_int_equal(om_graph_add_node(g, "Relu", NULL, &bad, 1, 1), OM_ERR_ARG);
    assert_int_equal(g->n_nodes, 1);
    om_graph_destroy(g);
}

/* x -> a -> b -> out; b removed: the output keeps its name and is made by a. */
static void output_keeps_its_name(void **state)
{
    om_graph *g = new_graph();
    int a = node(g, "Relu", "a", input(g, "x"), OM_NO_VALUE),
        b = node(g, "Identity", "b", om_node_out(g, a), OM_NO_VALUE);
    assert_int_equal(om_graph_rename_value(g, om_node_out(g, b), "out"), OM_OK);
    om_graph_mark_output(g, om_node_out(g, b));
    assert_int_equal(om_graph_replace_uses(g, om_node_out(g, b), om_node_out(g, a)), OM_OK);
    om_graph_remove_node(g, b);
    assert_int_equal(om_graph_compact(g), OM_OK);
    assert_int_equal(g->n_nodes, 1);
    assert_int_equal(g->n_values, 2);
    assert_string_equal(g->values[g->outputs[0]].name, "out");
    assert_string_equal(g->nodes[g->values[om_graph_find(g, "out")].producer].name, "a");
    assert_int_equal(om_graph_validate(g, "g"), OM_OK);
    om_graph_destroy(g);
}

/* Where the replacement is a graph input, which has a name of its own to keep. */
static void output_becomes_input(void **state)
{
    om_graph *g = new_graph();
    int x = input(g, "x"), a = node(g, "Relu", "a", x, OM_NO_VALUE);
    assert_int_equal(om_graph_rename_value(g, om_node_out(g, a), "out"), OM_OK);
    om_graph_mark_output(g, om_node_out(g, a));
    assert_int_equal(om_graph_replace_uses(g, om_node_out(g, a), x), OM_OK);
    om_graph_remove_node(g, a);
    assert_int_equal(om_graph_compact(g), OM_OK);
    assert_int_equal(om_graph_validate(g, "g"), OM_OK);
    assert_string_equal(g->values[g->inputs[0]].name, "x");
    assert_string_equal(g->values[g->outputs[0]].name, "out");
    assert_string_equal(g->nodes[0].op, "Identity");
    om_graph_destroy(g);
}

/* An If whose branches take `name` from outside. */
static int branching(om_graph *g, const char *name)
{
    om_shape scalar = om_shape_make(0);
    int cond = om_graph_add_input(g, "cond", OM_DTYPE_BOOL, &scalar),
        at = om_graph_add_node(g, "If", "if", &cond, 1, 1);
    const char *branches[] = {"then_branch", "else_branch"};
    for (int i = 0; i < 2; i++) {
        om_graph *sub = new_graph();
        int taken = om_graph_add_value(sub, name, OM_DTYPE_NONE, NULL);
        om_graph_mark_output(sub,
                             om_node_out(sub, node(sub, i ? "Neg" : "Relu", "inner", taken, OM_NO_VALUE)));
        assert_int_equal(om_node_set_int(&g->nodes[at], branches[i], 0), OM_OK);
        om_attr *a = &g->nodes[at].attrs[i];
        a->type = OM_ATTR_GRAPH;
        a->n = 1;
        a->graphs = om_calloc(1, sizeof *a->graphs);
        a->graphs[0] = sub;
    }
    return at;
}

static void names_from_outside(void **state)
{
    om_graph *g = new_graph();
    int a = node(g, "Relu", "a", input(g, "x"), OM_NO_VALUE),
        b = node(g, "Abs", "b", om_node_out(g, a), OM_NO_VALUE);
    char *taken = om_strdup(g->values[om_node_out(g, b)].name);
    om_graph_mark_output(g, om_node_out(g, branching(g, taken)));
    assert_int_equal(om_graph_validate(g, "g"), OM_OK);
    assert_int_equal(om_graph_compact(g), OM_OK); /* b is used, though no node names it */
    assert_int_equal(g->n_nodes, 3);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    assert_int_equal(g->values[g->outputs[0]].shape.dim[1], 4);

    assert_int_equal(om_graph_replace_uses(g, om_graph_find(g, taken), om_graph_find(g, "a_output_0")),
                     OM_OK);
    om_graph_remove_node(g, 1);
    assert_int_equal(om_graph_compact(g), OM_OK);
    assert_int_equal(om_graph_validate(g, "g"), OM_OK);
    assert_true(om_graph_find(g->nodes[1].attrs[0].graphs[0], "a_output_0") >= 0);
    assert_int_equal(om_graph_find(g->nodes[1].attrs[1].graphs[0], taken), OM_ERR_NOT_FOUND);

    om_graph_remove_node(g, 0); /* now what the branches take is made by nobody */
    assert_int_equal(om_graph_validate(g, "file.onnx"), OM_ERR_FORMAT);
    assert_non_null(
        strstr(om_error_message(), "file.onnx: node 'if' (If): node 'inner' (Relu): nothing makes"));
    om_free(taken);
    om_graph_destroy(g);
}

static void order(void **state)
{
    om_graph *g = new_graph();
    int x = input(g, "x"), a = node(g, "Relu", "a", x, OM_NO_VALUE), b = node(g, "Relu", "b", x, OM_NO_VALUE),
        c = node(g, "Add", "c", om_node_out(g, a), om_node_out(g, b));
    om_graph_mark_output(g, om_node_out(g, c));
    int d = node(g, "Relu", "d", x, OM_NO_VALUE);
    g->nodes[a].inputs[0] = om_node_out(g, d); /* d comes last but is needed first */
    assert_int_equal(om_graph_sort(g), OM_OK);
    const char *want[] = {"d", "a", "b", "c"};
    for (int i = 0; i < 4; i++) assert_string_equal(g->nodes[i].name, want[i]);
    for (int i = 0; i < 4; i++) assert_int_equal(g->values[om_node_out(g, i)].producer, i);
    g->nodes[0].inputs[0] = om_node_out(g, 3);
    assert_int_equal(om_graph_sort(g), OM_ERR_FORMAT);
    assert_non_null(strstr(om_error_message(), "on a cycle"));
    om_graph_destroy(g);
}

/* A long chain must not recurse. */
static void long_chain(void **state)
{
    om_graph *g = new_graph();
    int v = input(g, "x");
    for (int i = 0; i < 50000; i++) v = om_node_out(g, node(g, "Relu", NULL, v, OM_NO_VALUE));
    om_graph_mark_output(g, v);
    for (int i = 0; i < 25000; i++) { /* back to front */
        om_node t = g->nodes[i];
        g->nodes[i] = g->nodes[49999 - i];
        g->nodes[49999 - i] = t;
    }
    for (int i = 0; i < 50000; i++) g->values[om_node_out(g, i)].producer = i;
    assert_int_equal(om_graph_validate(g, "g"), OM_OK);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    assert_int_equal(g->values[v].shape.dim[1], 4);
    om_graph_destroy(g);
}

static om_graph *everything(void)
{
    om_graph *g = new_graph();
    const float w[] = {1, 2, 3, 4};
    om_shape s = om_shape_make(1, (int64_t)4);
    int k = om_graph_add_const(g, "k", OM_DTYPE_F32, &s, w);
    int a = node(g, "Add", "a", input(g, "x"), k);
    om_graph_set_dim_param(g, g->inputs[0], 0, "batch");
    om_node_set_string(&g->nodes[a], "note", "text");
    om_graph_mark_output(g, om_node_out(g, branching(g, g->values[om_node_out(g, a)].name)));
    om_graph_set_meta(g, "key", "value");
    return g;
}

static void copies(void **state)
{
    om_graph *g = everything(), *copy;
    char *a, *b;
    size_t na, nb;
    assert_int_equal(om_graph_clone(g, &copy), OM_OK);
    assert_int_equal(om_model_serialize(g, &a, &na), OM_OK);
    om_graph_destroy(g);
    assert_int_equal(om_model_serialize(copy, &b, &nb), OM_OK);
    assert_int_equal(na, nb);
    assert_memory_equal(a, b, na);
    int added = om_graph_add_const_f32(copy, "k2", 1);
    assert_int_equal(added, copy->n_values - 1);
    om_free(a);
    om_free(b);
    om_graph_destroy(copy);
}

/* Each allocation fails once: nothing crashes, nothing leaks, the code says why. */
static void without_memory(void **state)
{
    om_graph *g = everything(), *copy;
    for (long n = 0;; n++) {
        om_mem_fail_after(n);
        int err = om_graph_clone(g, &copy);
        if (err >= 0) err = om_graph_replace_uses(copy, om_graph_find(copy, "x"), om_graph_find(copy, "k"));
        if (err >= 0) err = om_graph_compact(copy);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        om_graph_destroy(copy);
        if (!met) break;
        if (err < 0) assert_int_equal(err, OM_ERR_NOMEM);
    }
    om_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(attributes),
        cmocka_unit_test(metas_and_opsets),
        cmocka_unit_test(node_names_of_values),
        cmocka_unit_test(output_keeps_its_name),
        cmocka_unit_test(output_becomes_input),
        cmocka_unit_test(names_from_outside),
        cmocka_unit_test(order),
        cmocka_unit_test(long_chain),
        cmocka_unit_test(copies),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
