/* Models with random weights, their cost, and static ones made dynamic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "histogram.h"
#include "model/model.h"

static om_graph *make(const char *name, om_synth_params p)
{
    om_graph *g = NULL;
    if (om_model_synth(name, &p, &g)) fail_msg("%s: %s", name, om_error_message());
    if (om_graph_validate(g, name)) fail_msg("%s: %s", name, om_error_message());
    return g;
}

static void infer_at(om_graph *g, int64_t n, int64_t h, int64_t w)
{
    om_shape shape = om_shape_make(4, n, (int64_t)3, h, w);
    assert_int_equal(om_graph_set_input_shape(g, 0, &shape), OM_OK);
    if (om_graph_infer_shapes(g)) fail_msg("%s", om_error_message());
}

/* Sources: YOLOv8: ultralytics 8.4.190, YOLO('yolov8X.yaml').export(format='onnx', opset=17), its default
 * with simplify=True (onnxslim 0.1.98), static and dynamic=True; parameters as its summary says of the fused
 * model. YOLOv5: github.com/ultralytics/yolov5 at 5081342, export.py --opset 17 --simplify, static and
 * --dynamic; parameters of the fused model. Exported with torch 2.15.0. MACs of both: 2-D convolutions of the
 * exported graph at 640x640, half of the GFLOPs both projects state
 * (8.7, 28.6, 78.9; 4.5, 16.4, 48.9). */
#define V8_STATIC                                                                                                   \
    "Add:8 Concat:17 Conv:64 Div:1 MaxPool:3 Mul:58 Reshape:8 Resize:2 Sigmoid:58 Slice:2 Softmax:1 Split:8 Sub:2 " \
    "Transpose:1"
#define V8_DYNAMIC                                                                                                   \
    "Add:14 Cast:6 Concat:32 ConstantOfShape:3 Conv:64 Div:1 Expand:6 Gather:9 MaxPool:3 Mul:61 Range:6 Reshape:17 " \
    "Resize:2 Shape:10 Sigmoid:58 Slice:2 Softmax:1 Split:8 Sub:2 Transpose:3 Unsqueeze:13"
#define V5_STATIC                                                                                            \
    "Add:10 Concat:17 Conv:60 MaxPool:3 Mul:69 Pow:3 Reshape:6 Resize:2 Sigmoid:60 Split:3 Transpose:3"
#define V5_DYNAMIC                                                                                                   \
    "Add:10 Cast:6 Concat:32 Conv:60 Expand:12 Gather:9 MaxPool:3 Mul:75 Pow:3 Range:6 Reshape:12 Resize:2 Shape:9 " \
    "Sigmoid:60 Split:3 Sub:3 Transpose:3 Unsqueeze:18 Where:3"
#define V8M_STATIC                                                                                                   \
    "Add:14 Concat:17 Conv:84 Div:1 MaxPool:3 Mul:78 Reshape:8 Resize:2 Sigmoid:78 Slice:2 Softmax:1 Split:8 Sub:2 " \
    "Transpose:1"
#define V5M_STATIC                                                                                           \
    "Add:17 Concat:17 Conv:82 MaxPool:3 Mul:91 Pow:3 Reshape:6 Resize:2 Sigmoid:82 Split:3 Transpose:3"

static void test_equals_original(void **state)
{
    static const struct {
        const char *name;
        int64_t params, macs;
        const char *fixed, *open; /* NULL: not counted */
    } originals[] = {
        {"yolov8n", 3151904, 4371993600, V8_STATIC, V8_DYNAMIC},
        {"yolov8s", 11156544, 14301312000, V8_STATIC, NULL},
        {"yolov8m", 25886080, 39468364800, V8M_STATIC, NULL},
        {"yolov5n", 1867405, 2234060800, V5_STATIC, V5_DYNAMIC},
        {"yolov5s", 7225885, 8216780800, V5_STATIC, V5_DYNAMIC},
        {"yolov5m", 21172173, 24436224000, V5M_STATIC, NULL},
    };
    char text[400];
    for (size_t i = 0; i < sizeof originals / sizeof *originals; i++) {
        om_graph *g = make(originals[i].name, (om_synth_params){.boxes = 30});
        infer_at(g, 1, 640, 640);
        histogram(g, text, sizeof text);
        assert_string_equal(text, originals[i].fixed);
        assert_int_equal(om_graph_params(g), originals[i].params);
        assert_int_equal(om_graph_macs(g), originals[i].macs);
        om_graph_destroy(g);
        if (!originals[i].open) continue;
        g = make(originals[i].name, (om_synth_params){.boxes = 30, .dynamic = true});
        infer_at(g, 1, 640, 640);
        histogram(g, text, sizeof text);
        assert_string_equal(text, originals[i].open);
        assert_int_equal(om_graph_params(g), originals[i].params);
        assert_int_equal(om_graph_macs(g), originals[i].macs);
        om_graph_destroy(g);
    }
}

static void test_seeds(void **state)
{
    char *a = NULL, *b = NULL, *c = NULL;
    size_t na, nb, nc;
    om_graph *g = make("yolov5n", (om_synth_params){.seed = 7, .width = 64});
    assert_int_equal(om_model_serialize(g, &a, &na), OM_OK);
    om_graph_destroy(g);
    g = make("yolov5n", (om_synth_params){.seed = 7, .width = 64});
    assert_int_equal(om_model_serialize(g, &b, &nb), OM_OK);
    om_graph_destroy(g);
    g = make("yolov5n", (om_synth_params){.seed = 8, .width = 64});
    assert_int_equal(om_model_serialize(g, &c, &nc), OM_OK);
    om_graph_destroy(g);
    assert_int_equal(na, nb);
    assert_memory_equal(a, b, na);
    assert_true(na != nc || memcmp(a, c, na) != 0);
    om_free(a);
    om_free(b);
    om_free(c);
}

static void test_params(void **state)
{
    om_graph *g = make("yolov8n", (om_synth_params){.width = 96, .height = 64, .classes = 3, .boxes = 5});
    om_model_desc *d = NULL;
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    assert_int_equal(om_model_describe(g, &d), OM_OK);
    assert_int_equal(d->family, OM_FAMILY_YOLOV8);
    assert_int_equal(d->n_classes, 3);
    assert_int_equal(d->n_labels, 3);
    assert_int_equal(d->width, 96);
    assert_int_equal(d->height, 64);
    om_model_desc_free(d);
    om_graph_destroy(g);

    static const struct {
        const char *name;
        om_synth_params p;
        int code;
        const char *says;
    } refused[] = {
        {"yolov9", {0}, OM_ERR_NOT_FOUND, "yolov8n, yolov8s"},
        {"yolov8n", {.width = 100}, OM_ERR_ARG, "multiples of 32"},
        {"yolov8n", {.width = 1 << 20}, OM_ERR_ARG, "multiples of 32"},
        {"yolov8n", {.classes = -1}, OM_ERR_ARG, "classes -1"},
        {"yolov8n", {.boxes = -1}, OM_ERR_ARG, "boxes -1"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_int_equal(om_model_synth(refused[i].name, &refused[i].p, &g), refused[i].code);
        assert_non_null(strstr(om_error_message(), refused[i].says));
        assert_null(g);
    }
}

static void test_made_dynamic(void **state)
{
    static const char *const names[] = {"yolov8n", "yolov5n"};
    for (int i = 0; i < 2; i++) {
        om_graph *g = make(names[i], (om_synth_params){.width = 128}),
                 *open = make(names[i], (om_synth_params){.dynamic = true});
        if (om_model_make_dynamic(g, true, true)) fail_msg("%s: %s", names[i], om_error_message());
        assert_int_equal(om_model_make_dynamic(g, true, true), OM_OK); /* nothing left to do */
        assert_int_equal(g->values[g->inputs[0]].shape.dim[0], OM_DIM_DYNAMIC);
        assert_string_equal(g->values[g->inputs[0]].dim_param[2], "height");
        infer_at(g, 5, 96, 320);
        infer_at(open, 5, 96, 320);
        assert_true(om_shape_equal(&g->values[g->outputs[0]].shape, &open->values[open->outputs[0]].shape));
        assert_true(om_shape_static(&g->values[g->outputs[0]].shape));
        om_graph_destroy(g);
        om_graph_destroy(open);

        g = make(names[i], (om_synth_params){.width = 128});
        assert_int_equal(om_model_make_dynamic(g, true, false), OM_OK);
        infer_at(g, 4, 128, 128);
        assert_int_equal(g->values[g->outputs[0]].shape.dim[0], 4);
        om_graph_destroy(g);
    }
}

/* images [1, 3, 32, 32] -> Conv 1x1 to 2 channels; the caller adds what cannot be freed. */
static om_graph *little(int *v)
{
    om_graph *g = NULL;
    om_shape in = om_shape_make(4, (int64_t)1, (int64_t)3, (int64_t)32, (int64_t)32);
    om_shape ws = om_shape_make(4, (int64_t)2, (int64_t)3, (int64_t)1, (int64_t)1);
    float w[6] = {1, 2, 3, 4, 5, 6};
    assert_int_equal(om_graph_create("little", &g), OM_OK);
    assert_int_equal(om_graph_set_opset(g, "", 13), OM_OK);
    int inputs[2] = {om_graph_add_input(g, "images", OM_DTYPE_F32, &in),
                     om_graph_add_const(g, "w", OM_DTYPE_F32, &ws, w)};
    *v = om_node_out(g, om_graph_add_node(g, "Conv", "conv", inputs, 2, 1));
    return g;
}

static void refuse(om_graph *g, int v, const char *node)
{
    char *before = NULL, *after = NULL;
    size_t n_before, n_after;
    assert_true(om_graph_mark_output(g, v) >= 0);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    assert_int_equal(om_model_serialize(g, &before, &n_before), OM_OK);
    assert_int_equal(om_model_make_dynamic(g, true, true), OM_ERR_UNSUPPORTED);
    if (!strstr(om_error_message(), node)) fail_msg("'%s' does not name %s", om_error_message(), node);
    assert_int_equal(om_model_serialize(g, &after, &n_after), OM_OK);
    assert_int_equal(n_before, n_after); /* a refusal changes nothing */
    assert_memory_equal(before, after, n_before);
    om_free(before);
    om_free(after);
    om_graph_destroy(g);
}

static void test_refusals(void **state)
{
    int v;
    om_graph *g = little(&v);
    float noise[32 * 32];
    for (int i = 0; i < 32 * 32; i++) noise[i] = (float)(i * 7919 % 101);
    om_shape plane = om_shape_make(2, (int64_t)32, (int64_t)32);
    int add[2] = {v, om_graph_add_const(g, "noise", OM_DTYPE_F32, &plane, noise)};
    refuse(g, om_node_out(g, om_graph_add_node(g, "Add", "learned_grid", add, 2, 1)), "learned_grid");

    g = little(&v);
    int64_t ends[] = {16};
    int slice[4] = {v, om_graph_add_const_i64(g, "zero", (int64_t[]){0}, 1),
                    om_graph_add_const_i64(g, "half", ends, 1),
                    om_graph_add_const_i64(g, "axis", (int64_t[]){2}, 1)};
    refuse(g, om_node_out(g, om_graph_add_node(g, "Slice", "top_half", slice, 4, 1)), "top_half");

    g = little(&v);
    int flat = om_graph_add_node(g, "Flatten", "flat", &v, 1, 1);
    om_shape ws = om_shape_make(2, (int64_t)2048, (int64_t)2);
    float *w = om_calloc(4096, sizeof *w);
    int gemm[2] = {om_node_out(g, flat), om_graph_add_const(g, "fc", OM_DTYPE_F32, &ws, w)};
    om_free(w);
    refuse(g, om_node_out(g, om_graph_add_node(g, "Gemm", "classifier", gemm, 2, 1)), "classifier");
}

/* A ramp over rows is computed anew, and what is one number along the size shrinks to it. */
static void test_grids(void **state)
{
    int v;
    om_graph *g = little(&v);
    float rows[32], same[2 * 32 * 32];
    for (int i = 0; i < 32; i++) rows[i] = 0.5f + 8 * (float)i;
    for (int i = 0; i < 2 * 32 * 32; i++) same[i] = i < 32 * 32 ? 3 : 4;
    om_shape column = om_shape_make(2, (int64_t)32, (int64_t)1),
             block = om_shape_make(3, (int64_t)2, (int64_t)32, (int64_t)32);
    int add[2] = {v, om_graph_add_const(g, "rows", OM_DTYPE_F32, &column, rows)};
    v = om_node_out(g, om_graph_add_node(g, "Add", "add", add, 2, 1));
    int mul[2] = {v, om_graph_add_const(g, "same", OM_DTYPE_F32, &block, same)};
    v = om_node_out(g, om_graph_add_node(g, "Mul", "mul", mul, 2, 1));
    assert_true(om_graph_mark_output(g, v) >= 0);
    if (om_model_make_dynamic(g, true, true)) fail_msg("%s", om_error_message());
    infer_at(g, 2, 64, 96);
    om_shape want = om_shape_make(4, (int64_t)2, (int64_t)2, (int64_t)64, (int64_t)96);
    assert_true(om_shape_equal(&g->values[g->outputs[0]].shape, &want));
    om_graph_destroy(g);
}

static void test_macs(void **state)
{
    int v;
    om_graph *g = little(&v);
    assert_true(om_graph_mark_output(g, v) >= 0);
    assert_int_equal(om_graph_macs(g), -1);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    assert_int_equal(om_graph_macs(g), 2 * 32 * 32 * 3);
    assert_int_equal(om_graph_params(g), 6);
    om_graph_destroy(g);
}

static void test_out_of_memory(void **state)
{
    static const char *const names[] = {"yolov8n", "yolov5n"};
    for (int i = 0; i < 2; i++) {
        bool met = true;
        for (long n = 0; met; n += 61) { /* a sample: each run makes the whole model */
            om_graph *g = NULL;
            om_synth_params p = {.width = 32, .boxes = 3, .dynamic = i == 0};
            om_mem_fail_after(n);
            int e = om_model_synth(names[i], &p, &g);
            met = om_mem_injected();
            om_mem_fail_after(-1);
            /* The names of open dims may be lost without a word, nothing else. */
            assert_true(e == OM_OK || (met && e == OM_ERR_NOMEM));
            om_graph_destroy(g);
        }
    }
    bool met = true;
    om_graph *g = make("yolov5n", (om_synth_params){.width = 32});
    for (long n = 0; met; n += 613) {
        om_mem_fail_after(n);
        int e = om_model_make_dynamic(g, true, true);
        met = om_mem_injected();
        om_mem_fail_after(-1);
        if (e != OM_OK && !(met && e == OM_ERR_NOMEM))
            fail_msg("allocation %ld: %d: %s", n, e, om_error_message());
        if (e == OM_OK) break;
    }
    om_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_original),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_made_dynamic),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_grids),
        cmocka_unit_test(test_macs),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
