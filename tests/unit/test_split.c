/* Models in two parts: graphs that stand by themselves, work that adds up, and what is no split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "worker/split.h"

#define CHAIN 400000

static om_graph *prepare(const char *name, int batch)
{
    om_graph *g = NULL;
    om_model_desc *d = NULL;
    om_synth_params p = {.seed = 1};
    int err = strchr(name, '/') ? om_model_load(name, &g) : om_model_synth(name, &p, &g);
    if (!err) err = om_graph_infer_shapes(g);
    if (!err) err = om_model_describe(g, &d);
    if (!err && !d->dynamic_batch) err = om_model_make_dynamic(g, true, false);
    if (!err) err = om_split_prepare(g, d, batch);
    if (err) fail_msg("%s: %s", name, om_error_message());
    om_model_desc_free(d);
    return g;
}

/* Each part is a model of its own, and nothing is done twice or not at all. */
static void check_parts(const om_graph *g, const om_split_graphs *s)
{
    assert_int_equal(om_graph_validate(s->first, "first"), OM_OK);
    assert_int_equal(om_graph_validate(s->second, "second"), OM_OK);
    assert_int_equal(s->first_macs + s->second_macs, om_graph_macs(g));
    assert_int_equal(s->first->n_outputs, s->n_live);
    assert_int_equal(s->second->n_inputs, 1);
    assert_true((size_t)s->width * (size_t)s->height >= s->count);
    size_t count = 0;
    for (int i = 0; i < s->n_live; i++) {
        const om_value *v = &s->first->values[s->first->outputs[i]];
        assert_int_equal(v->dtype, OM_DTYPE_F32);
        assert_int_equal(om_shape_count(&v->shape), s->live[i].count);
        assert_int_equal(s->live[i].offset, count);
        count += s->live[i].count;
    }
    assert_int_equal(count, s->count);
    for (int i = 0; i < s->n_outputs; i++) {
        const om_value *was = &g->values[g->outputs[i]];
        if (s->second_of[i] < 0) continue;
        const om_value *is = &s->second->values[s->second->outputs[s->second_of[i]]];
        assert_string_equal(is->name, was->name);
        assert_true(om_shape_equal(&is->shape, &was->shape));
    }
}

static void every_point_makes_two_models(void **state)
{
    static const char *const names[] = {"mobilenet_v2", "yolov8n"};
    (void)state;
    for (int k = 0; k < 2; k++) {
        om_graph *g = prepare(names[k], 2);
        om_split_point *points;
        int n;
        if (om_split_points(g, 7, &points, &n)) fail_msg("%s", om_error_message());
        assert_true(n > 2 && n <= 7);
        for (int i = 0; i < n; i++) {
            om_split_graphs s;
            if (om_split_after(g, points[i].position, &s)) fail_msg("%s", om_error_message());
            check_parts(g, &s);
            assert_int_equal(s.count * sizeof(float), points[i].bytes);
            assert_int_equal(s.n_live, points[i].n_live);
            assert_int_equal(s.first_macs, points[i].macs);
            om_split_graphs_fini(&s);
        }
        om_split_points_free(points, n);
        om_graph_destroy(g);
    }
}

/* A layer in the middle of everything: what it is made by, and all that others need besides. */
static void named_layers_take_what_is_live(void **state)
{
    static const char *const points[] = {"model.9", "yolov8n:model.12", "/model.22/Concat_1",
                                         "/model.2/m.0/cv1/conv/Conv"};
    om_graph *g = prepare("yolov8n", 1);
    (void)state;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        om_split_graphs s;
        if (om_split_at(g, "yolov8n", points[i], &s)) fail_msg("%s: %s", points[i], om_error_message());
        check_parts(g, &s);
        assert_true(s.n_live >= 2);
        om_split_graphs_fini(&s);
    }
    om_graph_destroy(g);
}

static void expect(const om_graph *g, const char *point, const char *words)
{
    om_split_graphs s;
    assert_int_equal(om_split_at(g, "classify.onnx", point, &s), OM_ERR_ARG);
    if (!strstr(om_error_message(), words)) fail_msg("%s: %s", point, om_error_message());
}

static void no_splits(void **state)
{
    om_graph *g = prepare(TEST_DATA "/classify.onnx", 1);
    (void)state;
    expect(g, "men", "did you mean");
    expect(g, "", "no layer");
    expect(g, ":", "is for the model ''");
    expect(g, "other:mean", "is for the model 'other'");
    expect(g, "classify:nothing", "no layer, tensor or module is called 'nothing'");
    expect(g, "output0", "nothing comes behind it");
    expect(g, "images", "no layer");
    om_graph_destroy(g);
}

/* As long as a file may make it: no recursion runs as deep as the model does. */
static void long_chains(void **state)
{
    om_graph *g = NULL;
    om_shape s = om_shape_make(4, (int64_t)1, (int64_t)3, (int64_t)8, (int64_t)8);
    (void)state;
    assert_int_equal(om_graph_create("chain", &g), OM_OK);
    int v = om_graph_add_input(g, "images", OM_DTYPE_F32, &s);
    for (int i = 0; i < CHAIN && v >= 0; i++) {
        int node = om_graph_add_node(g, "Add", i == CHAIN - 2 ? "late" : "", (int[]){v, v}, 2, 1);
        v = node < 0 ? node : om_node_out(g, node);
    }
    assert_true(v >= 0);
    assert_true(om_graph_mark_output(g, v) >= 0);
    expect(g, "late", "its size depends on the picture"); /* nobody has inferred shapes */
    om_graph_destroy(g);
}

static int split_once(const om_graph *g, const cpu_set_t *cores)
{
    om_split_graphs s;
    om_split *split = NULL;
    om_split_params p = {.device = "null:0", .batch = 1, .threads = 1, .cores = cores};
    int err = om_split_at(g, "classify", "mean", &s);
    if (err) return err;
    err = om_split_create(&s, &p, &split);
    om_split_destroy(split);
    om_split_graphs_fini(&s);
    return err;
}

static void memory_may_run_out(void **state)
{
    om_graph *g = prepare(TEST_DATA "/classify.onnx", 1);
    cpu_set_t cores;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof cores, &cores), 0);
    assert_int_equal(split_once(g, &cores), OM_OK); /* what is made once is there from now on */
    for (long n = 0;; n++) {
        om_mem_fail_after(n);
        int err = split_once(g, &cores);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_true(n < 3000);
        if (!met) {
            assert_int_equal(err, OM_OK);
            break;
        }
        assert_true(err == OM_ERR_NOMEM || err == OM_OK);
    }
    om_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_point_makes_two_models),
        cmocka_unit_test(named_layers_take_what_is_live),
        cmocka_unit_test(no_splits),
        cmocka_unit_test(long_chains),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
