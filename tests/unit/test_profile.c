/* What a profile is made of: groups of operators, fusions, the files there and back, causes, predictions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "profile/compare.h"
#include "profile/diagnose.h"
#include "profile/group.h"
#include "profile/html.h"

static int add_conv(om_graph *g, const char *name, int input, int channels, int groups, int window)
{
    om_shape w =
        om_shape_make(4, (int64_t)channels, (int64_t)(groups > 1 ? 1 : g->values[input].shape.dim[1]),
                      (int64_t)window, (int64_t)window);
    char weights[64];
    float *zeros = calloc((size_t)om_shape_count(&w), sizeof *zeros);
    snprintf(weights, sizeof weights, "%s.w", name);
    int inputs[] = {input, om_graph_add_const(g, weights, OM_DTYPE_F32, &w, zeros)};
    free(zeros);
    int node = om_graph_add_node(g, "Conv", name, inputs, 2, 1);
    int64_t pads[] = {window / 2, window / 2, window / 2, window / 2};
    om_node_set_ints(&g->nodes[node], "pads", pads, 4);
    if (groups > 1) om_node_set_int(&g->nodes[node], "group", groups);
    return om_node_out(g, node);
}

static int add_op(om_graph *g, const char *op, const char *name, int a, int b)
{
    int inputs[] = {a, b};
    return om_node_out(g, om_graph_add_node(g, op, name, inputs, b < 0 ? 1 : 2, 1));
}

/* conv -> x*sigmoid(x) -> depthwise -> relu -> pointwise, added to the first; */
static om_graph *make_graph(void)
{
    om_graph *g;
    om_shape in = om_shape_make(4, (int64_t)1, (int64_t)3, (int64_t)16, (int64_t)16);
    assert_int_equal(om_graph_create("g", &g), OM_OK);
    assert_int_equal(om_graph_set_opset(g, "", 17), OM_OK);
    int x = add_conv(g, "first", om_graph_add_input(g, "in", OM_DTYPE_F32, &in), 8, 1, 3);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    int s = add_op(g, "Mul", "silu", x, add_op(g, "Sigmoid", "gate", x, -1));
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    int d = add_op(g, "Relu", "relu", add_conv(g, "depthwise", s, 8, 8, 3), -1);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    int p = add_conv(g, "pointwise", d, 8, 1, 1);
    int sum = add_op(g, "Add", "add", p, s);
    assert_true(om_graph_mark_output(g, sum) >= 0);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    return g;
}

static om_layer_time entry(const char *name, const char *type, const char *exec, double us)
{
    om_layer_time t = {.ns = (int64_t)(us * 1000), .ran = us > 0, .runs = 1};
    snprintf(t.name, sizeof t.name, "%s", name);
    snprintf(t.type, sizeof t.type, "%s", type);
    snprintf(t.exec, sizeof t.exec, "%s", exec);
    return t;
}

/* As OpenVINO lists them: what was fused follows its host. Nodes: 0 first, 1 gate, 2 silu, 3 depthwise, 4
 * relu, 5 pointwise, 6 add. */
#define N_TIMES 8
static void list_times(om_layer_time *t)
{
    t[0] = entry("in", "Parameter", "unknown_FP32", 0);
    t[1] = entry("@0@_abcd_acdb_@3@", "Reorder", "reorder_FP32", 5);
    t[2] = entry("@0@/WithoutBiases", "Convolution", "jit_avx2_FP32", 100);
    t[3] = entry("@2@", "Eltwise", "undef", 0);
    t[4] = entry("@3@", "Convolution", "jit_avx2_dw_FP32", 30);
    t[5] = entry("@4@", "Eltwise", "undef", 0);
    t[6] = entry("@5@", "Convolution", "jit_avx2_1x1_I8", 20);
    t[7] = entry("@6@", "Eltwise", "jit_avx2_FP32", 10);
}

static const om_prep prep = {.dtype = OM_DTYPE_U8};

typedef struct grouped {
    om_graph *g;
    om_profile p;
    int owner[16], entry[N_TIMES];
} grouped;

static void group(grouped *q)
{
    om_layer_time times[N_TIMES];
    om_plan plan = {.prep = prep};
    memset(q, 0, sizeof *q);
    q->g = make_graph();
    q->p.requested = om_strdup("f32");
    list_times(times);
    assert_int_equal(om_group_layers(q->g, times, N_TIMES, &plan, &q->p, q->owner, q->entry), OM_OK);
    for (int i = 0; i < N_TIMES; i++)
        if (q->entry[i] >= 0) q->p.layers[q->entry[i]].us = (double)times[i].ns / 1000;
}

static void ungroup(grouped *q)
{
    om_profile_fini(&q->p);
    om_graph_destroy(q->g);
}

static void test_tags(void **state)
{
    const char *text = "x@12@_abcd_@3@/y@z@7", *end = text + strlen(text);
    assert_int_equal(om_tag_next(&text), 12);
    assert_int_equal(om_tag_next(&text), 3);
    assert_int_equal(om_tag_next(&text), -1);
    assert_ptr_equal(text, end);
    om_graph *g = make_graph();
    om_tags tags;
    assert_int_equal(om_tags_put(g, &tags), OM_OK);
    assert_string_equal(g->nodes[3].name, "@3@");
    om_tags_remove(&tags);
    assert_string_equal(g->nodes[3].name, "depthwise");
    om_tags_remove(&tags);
    om_graph_destroy(g);
}

static void test_tags_without_memory(void **state)
{
    om_graph *g = make_graph();
    for (long n = 0; n < 8; n++) {
        om_tags tags;
        om_mem_fail_after(n);
        assert_int_equal(om_tags_put(g, &tags), OM_ERR_NOMEM);
        om_mem_fail_after(-1);
        om_tags_remove(&tags);
        assert_string_equal(g->nodes[0].name, "first");
        assert_string_equal(g->nodes[6].name, "add");
    }
    om_graph_destroy(g);
}

static void test_groups(void **state)
{
    grouped q;
    group(&q);
    assert_int_equal(q.p.n_layers, 6);
    static const int owners[] = {2, 2, 2, 3, 3, 4, 5};
    for (int i = 0; i < 7; i++) assert_int_equal(q.owner[i], owners[i]);
    const om_layer *conv = &q.p.layers[2];
    assert_string_equal(conv->name, "first");
    assert_string_equal(conv->type, "Conv");
    assert_string_equal(conv->precision, "f32");
    assert_string_equal(conv->shape, "1x8x16x16");
    assert_int_equal(conv->members.n, 3);
    assert_string_equal(conv->members.items[1], "gate (Sigmoid)");
    assert_int_equal(conv->macs, 8 * 16 * 16 * 3 * 9);
    assert_int_equal(conv->bytes, 3 * 16 * 16 + 8 * 3 * 9 * 4 + 8 * 16 * 16 * 4);
    assert_string_equal(q.p.layers[3].type, "Conv dw");
    assert_string_equal(q.p.layers[4].type, "Conv 1x1");
    assert_string_equal(q.p.layers[4].precision, "int8");
    assert_true(q.p.layers[1].inserted);
    assert_string_equal(q.p.layers[1].name, "first_abcd_acdb_depthwise");
    assert_int_equal(q.p.layers[1].bytes, 2 * 8 * 16 * 16 * 4);
    ungroup(&q);
}

static const om_fusion *find_fusion(const om_profile *p, const char *pattern)
{
    for (size_t i = 0; i < p->n_fusions; i++)
        if (!strcmp(p->fusions[i].pattern, pattern)) return &p->fusions[i];
    fail_msg("no %s", pattern);
    return NULL;
}

static void test_fusions(void **state)
{
    grouped q;
    group(&q);
    assert_int_equal(om_fusion_check(q.g, q.owner, &q.p), OM_OK);
    size_t activations = 0;
    for (size_t i = 0; i < q.p.n_fusions; i++)
        if (!strcmp(q.p.fusions[i].pattern, "Conv+Activation")) {
            assert_int_equal(q.p.fusions[i].state, OM_FUSION_DONE);
            activations++;
        }
    assert_int_equal(activations, 2);
    const om_fusion *f = find_fusion(&q.p, "Conv+Add");
    assert_int_equal(f->state, OM_FUSION_OPEN);
    assert_string_equal(f->where, "pointwise + add");
    assert_non_null(strstr(f->why, "layer of its own"));
    assert_true(f->us == 10);
    assert_int_equal(find_fusion(&q.p, "Depthwise+Pointwise")->state, OM_FUSION_OPEN);
    assert_int_equal(q.p.notes.n, 2);
    assert_non_null(strstr(q.p.notes.items[0], "reformat inserted: first_abcd_acdb_depthwise, 5.0 us"));
    assert_non_null(strstr(q.p.notes.items[1], "precision fall-back: pointwise runs in int8, not in f32"));
    ungroup(&q);
}

static void test_groups_without_memory(void **state)
{
    bool met = true;
    for (long n = 0; met; n++) {
        grouped q;
        om_layer_time times[N_TIMES];
        om_plan plan = {.prep = prep};
        memset(&q, 0, sizeof q);
        q.g = make_graph();
        q.p.requested = om_strdup("f32");
        list_times(times);
        om_mem_fail_after(n);
        int err = om_group_layers(q.g, times, N_TIMES, &plan, &q.p, q.owner, q.entry);
        if (!err) err = om_fusion_check(q.g, q.owner, &q.p);
        met = om_mem_injected();
        om_mem_fail_after(-1);
        if (!met) assert_int_equal(err, OM_OK);
        ungroup(&q);
    }
}

/* A profile as a file says it. */
static void profile_from(const char *json, om_profile *p)
{
    char path[] = "/tmp/omma-profile-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, json, strlen(json)), (ssize_t)strlen(json));
    close(fd);
    int err = om_profile_load(path, p);
    unlink(path);
    if (err) fail_msg("%s", om_error_message());
}

static void test_files(void **state)
{
    grouped q;
    om_str text = {0};
    om_json j;
    om_profile back;
    om_findings found;
    group(&q);
    q.p.model = om_strdup("m \"x\" <b>.onnx");
    q.p.device = om_strdup("cpu");
    q.p.engine = om_strdup("engine");
    q.p.engine_version = om_strdup("1");
    q.p.layers_us = 165;
    q.p.latency_us = 200;
    q.p.batch = 2;
    q.p.peaks =
        (om_peaks){.threads = 2, .f32_gflops = 100, .int8_gops = 200, .memory_gbs = 10, .cache_gbs = 50};
    assert_int_equal(om_fusion_check(q.g, q.owner, &q.p), OM_OK);
    om_json_init(&j, &text, 1);
    om_json_begin_object(&j);
    om_profile_json(&q.p, &j);
    om_json_end_object(&j);
    profile_from(om_str_get(&text), &back);
    assert_string_equal(back.model, q.p.model);
    assert_int_equal(back.n_layers, q.p.n_layers);
    assert_int_equal(back.batch, 2);
    for (size_t i = 0; i < back.n_layers; i++) {
        assert_string_equal(back.layers[i].name, q.p.layers[i].name);
        assert_string_equal(back.layers[i].shape, q.p.layers[i].shape);
        assert_int_equal(back.layers[i].macs, q.p.layers[i].macs);
        assert_int_equal(back.layers[i].members.n, q.p.layers[i].members.n);
        assert_true(back.layers[i].us == q.p.layers[i].us);
    }
    om_str_clear(&text);
    om_profile_csv(&q.p, &text);
    size_t lines = 0;
    for (const char *at = om_str_get(&text); *at; at++) lines += *at == '\n';
    assert_int_equal(lines, 1 + q.p.n_layers);
    om_str_clear(&text);
    assert_int_equal(om_diagnose(&q.p, &found), OM_OK);
    om_profile_html(&q.p, &found, &text);
    assert_non_null(strstr(om_str_get(&text), "m &quot;x&quot; &lt;b&gt;.onnx"));
    assert_null(strstr(om_str_get(&text), "<b>.onnx"));
    assert_null(strstr(om_str_get(&text), "http"));
    om_findings_fini(&found);
    om_str_fini(&text);
    om_profile_fini(&back);
    ungroup(&q);
}

static void test_bad_files(void **state)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{}",
                                      "{\"profile\":2}",
                                      "{\"profile\":1,\"layers\":7}",
                                      "{\"profile\":1,\"model\":[]}",
                                      "{\"profile\":1,\"layers\":[{\"us\":\"x\"}]}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[] = "/tmp/omma-profile-XXXXXX";
        om_profile p;
        int fd = mkstemp(path);
        assert_int_equal(write(fd, bad[i], strlen(bad[i])), (ssize_t)strlen(bad[i]));
        close(fd);
        assert_int_equal(om_profile_load(path, &p), OM_ERR_FORMAT);
        om_profile_fini(&p);
        unlink(path);
    }
}

#define LAYER(name, type, us, macs, bytes, bound)                                                            \
    "{\"name\":\"" name "\",\"type\":\"" type "\",\"precision\":\"f32\",\"us\":" #us ",\"macs\":" #macs      \
    ",\"bytes\":" #bytes ",\"bound\":\"" bound "\",\"operators\":[]}"
#define PROFILE(totals, layers)                                                                                                   \
    "{\"profile\":1,\"batch\":1,\"width\":640,\"height\":640,\"peaks\":{\"f32_gflops\":100,\"int8_gops\":200,\"memory_gbs\":10}," \
    "\"totals\":{" totals "},\"layers\":[" layers "]}"

static om_cause first_cause(const char *json)
{
    om_profile p;
    om_findings f;
    profile_from(json, &p);
    assert_int_equal(om_diagnose(&p, &f), OM_OK);
    om_cause c = f.items[0].cause;
    assert_true(c == OM_CAUSE_NONE || (f.items[0].evidence.n > 0 && f.items[0].advice.n > 0));
    om_findings_fini(&f);
    om_profile_fini(&p);
    return c;
}

static void test_layer_causes(void **state)
{
    assert_int_equal(first_cause(PROFILE("\"layers_us\":1000,\"latency_us\":1010",
                                         LAYER("a", "Conv", 800, 30000000, 100000,
                                               "compute") "," LAYER("b", "Concat", 200, 0, 2000000, "copy"))),
                     OM_CAUSE_CONV);
    assert_int_equal(first_cause(PROFILE("\"layers_us\":1000,\"latency_us\":1010",
                                         LAYER("a", "Conv dw", 700, 300000, 5000000, "memory") "," LAYER(
                                             "b", "Conv", 300, 9000000, 100000, "compute"))),
                     OM_CAUSE_MEMORY);
    assert_int_equal(first_cause(PROFILE("\"layers_us\":1000,\"latency_us\":1010",
                                         LAYER("a", "Resize", 700, 0, 5000000, "copy") "," LAYER(
                                             "b", "Conv", 300, 9000000, 100000, "compute"))),
                     OM_CAUSE_COPY);
    assert_int_equal(
        first_cause(
            PROFILE("\"layers_us\":1000,\"latency_us\":1010",
                    LAYER("a", "Conv", 300, 30000000, 100000, "compute") "," LAYER(
                        "b", "MatMul", 150, 15000000, 100000,
                        "compute") "," LAYER("c", "Softmax", 200, 0, 900000,
                                             "memory") "," LAYER("d", "Concat", 200, 0, 900000,
                                                                 "copy") "," LAYER("e", "MaxPool", 150, 0,
                                                                                   100000, "compute"))),
        OM_CAUSE_DIVERSE);
}

static void test_launch_cause(void **state)
{
    om_str text = {0};
    om_str_add(&text,
               "{\"profile\":1,\"batch\":1,\"totals\":{\"layers_us\":600,\"latency_us\":2000},\"layers\":[");
    for (int i = 0; i < 300; i++)
        om_str_addf(&text, "%s%s", i ? "," : "", LAYER("t", "Relu", 2, 0, 100, "overhead"));
    om_str_add(&text, "]}");
    assert_int_equal(first_cause(om_str_get(&text)), OM_CAUSE_LAUNCH);
    om_str_fini(&text);
}

/* A run of 100 frames in 10 s on two cores. */
#define STAGE(name, ms) "{\"stage\":\"" name "\",\"mean_ms\":" #ms "}"
#define RUN(more, stages)                                                                                                      \
    "{\"profile\":1,\"run\":{\"seconds\":10,\"frames\":100,\"fps\":10,\"received\":100,\"n_streams\":1,\"in_flight_limit\":2," \
    "\"cores\":2,\"cores_of_machine\":2," more ",\"stages\":[" stages "]}}"

static void test_run_causes(void **state)
{
    assert_int_equal(first_cause(RUN("\"cpu_seconds\":18,\"cores_busy\":1.8,\"batch_infer_ms\":180",
                                     STAGE("decode", 10) "," STAGE("infer", 180))),
                     OM_CAUSE_INFERENCE);
    assert_int_equal(first_cause(RUN("\"cpu_seconds\":18,\"cores_busy\":1.8,\"batch_infer_ms\":20",
                                     STAGE("decode", 95) "," STAGE("infer", 20))),
                     OM_CAUSE_DECODE);
    assert_int_equal(first_cause(RUN("\"cpu_seconds\":3,\"cores_busy\":0.3,\"batch_infer_ms\":20",
                                     STAGE("source", 90) "," STAGE("decode", 5) "," STAGE("infer", 20))),
                     OM_CAUSE_SOURCE);
    assert_int_equal(first_cause(RUN("\"cpu_seconds\":3,\"cores_busy\":0.3,\"batch_infer_ms\":20",
                                     STAGE("decode", 5) "," STAGE("infer", 20) "," STAGE("sink", 98))),
                     OM_CAUSE_SINK);
    assert_int_equal(first_cause(RUN("\"cpu_seconds\":17,\"cores_busy\":1.7,\"batch_infer_ms\":20",
                                     STAGE("gather", 90) "," STAGE("infer", 20))),
                     OM_CAUSE_PREPOST);
    assert_int_equal(
        first_cause(
            RUN("\"cpu_seconds\":8,\"cores_busy\":0.8,\"core_wait_seconds\":20,\"batch_infer_ms\":190",
                STAGE("decode", 10) "," STAGE("infer", 190))),
        OM_CAUSE_CONTENDED);
    assert_int_equal(
        first_cause(RUN(
            "\"cpu_seconds\":3,\"cores_busy\":0.3,\"batch_infer_ms\":600,\"mean_batch\":4,\"batch_limit\":16",
            STAGE("decode", 10) "," STAGE("infer", 600))),
        OM_CAUSE_BATCHING);
    assert_int_equal(
        first_cause(RUN("\"cpu_seconds\":3,\"cores_busy\":0.3,\"batch_infer_ms\":20,\"power_throttles\":3",
                        STAGE("decode", 10) "," STAGE("infer", 20))),
        OM_CAUSE_POWER);
    assert_int_equal(
        first_cause(RUN("\"cpu_seconds\":8,\"cores_busy\":0.8,\"batch_infer_ms\":40,\"live_streams\":1",
                        STAGE("source", 90) "," STAGE("decode", 10) "," STAGE("infer", 40))),
        OM_CAUSE_NONE);
}

/* On a GPU, whose own figures say what is short. */
#define DEVICE(figures) "\"cpu_seconds\":3,\"cores_busy\":0.3,\"batch_infer_ms\":150,\"device\":{" figures "}"
#define WORK(gather, infer, head)                                                                            \
    "\"gather\":{\"share\":" #gather "},\"infer\":{\"share\":" #infer "},\"head\":{\"share\":" #head "}"

static void test_gpu_causes(void **state)
{
    static const struct {
        const char *run;
        om_cause cause;
    } cases[] = {
        {RUN(DEVICE(WORK(0.01, 0.98, 0.01) ",\"nvdec_percent\":97,\"gpu_percent\":30"), STAGE("decode", 99)),
         OM_CAUSE_DECODE},
        {RUN(DEVICE(WORK(0.6, 0.39, 0.01) ",\"nvdec_percent\":0,\"bytes_to_device\":300000000"),
             STAGE("infer", 20)),
         OM_CAUSE_COPY},
        {RUN(DEVICE(WORK(0.4, 0.35, 0.25) ",\"nvdec_percent\":20,\"bytes_to_device\":30000"),
             STAGE("infer", 190)),
         OM_CAUSE_PREPOST},
        {RUN(DEVICE(
                 WORK(0.01, 0.98, 0.01) ",\"held_back\":0.9,\"gpu_power_w\":699,\"gpu_power_limit_w\":700"),
             STAGE("infer", 20)),
         OM_CAUSE_POWER},
        {RUN(DEVICE(WORK(0.01, 0.98, 0.01) ",\"nvdec_percent\":10"), STAGE("infer", 190)), OM_CAUSE_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        om_cause c = first_cause(cases[i].run);
        if (c != cases[i].cause) fail_msg("case %zu: %s", i, om_cause_name(c));
    }
}

/* Is it among what is advised on the first finding? */
static bool advised(const char *json, const char *text)
{
    om_profile p;
    om_findings f;
    bool found = false;
    profile_from(json, &p);
    assert_int_equal(om_diagnose(&p, &f), OM_OK);
    for (size_t i = 0; i < f.items[0].advice.n; i++)
        found |= strstr(f.items[0].advice.items[i], text) != NULL;
    om_findings_fini(&f);
    om_profile_fini(&p);
    return found;
}

/* By the peaks where int8 was not measured, by that where it was, and not where it gains nothing. */
static void test_advice_of_int8(void **state)
{
#define ONE_CONV(totals)                                                                                     \
    PROFILE("\"layers_us\":900,\"latency_us\":1000" totals,                                                  \
            LAYER("a", "Conv", 900, 30000000, 100000, "compute"))
    assert_true(advised(ONE_CONV(""), "times the products in int8"));
    assert_false(advised(ONE_CONV(",\"int8_latency_us\":400"), "times the products in int8"));
    assert_true(advised(ONE_CONV(",\"int8_latency_us\":400"), "took 0.40 ms instead of 1.00"));
    assert_false(advised(ONE_CONV(",\"int8_latency_us\":1100"), "quantise to int8"));
#undef ONE_CONV
}

static double predicted(const char *json, const char *what)
{
    om_profile p;
    om_what_if w;
    profile_from(json, &p);
    if (om_predict(&p, what, &w)) fail_msg("%s", om_error_message());
    double times = w.fps_then / w.fps_now;
    om_what_if_fini(&w);
    om_profile_fini(&p);
    return times;
}

static void assert_near(double v, double expected)
{
    if (v < expected * .99 || v > expected * 1.01) fail_msg("%g, expected %g", v, expected);
}

static void test_predictions(void **state)
{
    const char *layers = PROFILE("\"layers_us\":900,\"latency_us\":1000",
                                 LAYER("a", "Conv", 600, 30000000, 100000,
                                       "compute") "," LAYER("b", "Conv", 300, 300000, 2000000, "memory"));
    /* 100 us the same for any batch: 8 pictures in 7300 us. */
    assert_near(predicted(layers, "batch=8"), 8 * 1000.0 / 7300);
    /* 600/2 of products, 300/4 of bytes, 100 between. */
    assert_near(predicted(layers, "precision=int8"), 1000.0 / (300 + 75 + 100));
    /* What was measured goes before what the peaks say. */
    const char *quantised = PROFILE("\"layers_us\":900,\"latency_us\":1000,\"int8_latency_us\":400",
                                    LAYER("a", "Conv", 600, 30000000, 100000, "compute"));
    assert_near(predicted(quantised, "precision=int8"), 2.5);
    const char *run = RUN("\"cpu_seconds\":12,\"cores_busy\":1.2,\"batch_infer_ms\":20",
                          STAGE("decode", 95) "," STAGE("infer", 20));
    /* Decode bounds at 95 ms, then the cores: (12 s - 4.75 s) / 100 / 2. */
    assert_near(predicted(run, "decode=2x"), 95 / 47.5);
    assert_near(predicted(run, "sink=2x"), 1);
    static const char *const bad[] = {"",         "batch",     "batch=x",   "batch=0",       "=3",
                                      "decod=2x", "decode=0x", "decode=2y", "precision=int9"};
    om_profile p;
    profile_from(run, &p);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        om_what_if w;
        assert_int_equal(om_predict(&p, bad[i], &w), OM_ERR_ARG);
        om_what_if_fini(&w);
    }
    om_profile_fini(&p);
}

static void test_comparison(void **state)
{
    om_profile a, b;
    om_comparison c;
    profile_from(PROFILE("\"latency_us\":1000",
                         LAYER("x", "Conv", 600, 1, 1, "compute") "," LAYER("y", "Add", 100, 0, 1, "memory")),
                 &a);
    profile_from(PROFILE("\"latency_us\":500",
                         LAYER("z", "Add", 5, 0, 1, "memory") "," LAYER("x", "Conv", 200, 1, 1, "compute")),
                 &b);
    assert_int_equal(om_compare(&a, &b, &c), OM_OK);
    assert_int_equal(c.n_layers, 3);
    assert_string_equal(c.layers[0].name, "x");
    assert_true(c.layers[0].before == 600 && c.layers[0].after == 200);
    assert_string_equal(c.layers[1].name, "y");
    assert_true(c.layers[1].after < 0);
    assert_true(c.layers[2].before < 0);
    om_comparison_fini(&c);
    om_profile_fini(&a);
    om_profile_fini(&b);
}

static void test_peaks(void **state)
{
    char dir[] = "/tmp/omma-peaks-XXXXXX";
    om_peaks a, b;
    struct stat st;
    assert_non_null(mkdtemp(dir));
    setenv("XDG_CACHE_HOME", dir, 1);
    assert_int_equal(om_peaks_get(1, false, &a), OM_OK);
    assert_true(a.f32_gflops > .5 && a.memory_gbs > .1 && a.cache_gbs > .1);
    char *path = om_peaks_path(1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(om_peaks_get(1, false, &b), OM_OK);
    /* Kept to six digits. */
    assert_near(b.f32_gflops, a.f32_gflops);
    assert_near(b.memory_gbs, a.memory_gbs);
    assert_true(om_peaks_gflops(&b, "f32") == b.f32_gflops);
    unlink(path);
    om_free(path);
    char *folder = om_sprintf("%s/omma", dir);
    rmdir(folder);
    om_free(folder);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_tags_without_memory),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_fusions),
        cmocka_unit_test(test_groups_without_memory),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_layer_causes),
        cmocka_unit_test(test_launch_cause),
        cmocka_unit_test(test_run_causes),
        cmocka_unit_test(test_gpu_causes),
        cmocka_unit_test(test_advice_of_int8),
        cmocka_unit_test(test_predictions),
        cmocka_unit_test(test_comparison),
        cmocka_unit_test(test_peaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
