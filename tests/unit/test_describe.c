/* What is read from a model's shapes and metadata, family by family. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/model.h"

typedef struct port {
    const char *name;
    om_dtype dtype;
    om_shape shape;
} port;

/* A graph without nodes: inputs and outputs are all that a description looks at. */
static om_graph *graph_of(const port *in, int n_in, const port *out, int n_out)
{
    om_graph *g = NULL;
    assert_int_equal(om_graph_create("g", &g), OM_OK);
    for (int i = 0; i < n_in; i++)
        assert_true(om_graph_add_input(g, in[i].name, in[i].dtype, &in[i].shape) >= 0);
    for (int i = 0; i < n_out; i++) {
        int v = om_graph_add_value(g, out[i].name, out[i].dtype, &out[i].shape);
        assert_true(v >= 0 && om_graph_mark_output(g, v) >= 0);
    }
    return g;
}

static om_model_desc *describe(om_graph *g)
{
    om_model_desc *d = NULL;
    if (om_model_describe(g, &d) != OM_OK) fail_msg("%s", om_error_message());
    om_graph_destroy(g);
    return d;
}

#define D OM_DIM_DYNAMIC
#define SHAPE(...)                                                                                           \
    {                                                                                                        \
        (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), { __VA_ARGS__ }                           \
    }
static const port image = {"images", OM_DTYPE_F32, SHAPE(1, 3, 640, 640)};
static const port open_image = {"images", OM_DTYPE_F32, SHAPE(D, 3, D, D)};

static om_model_desc *describe_one(port in, om_shape out, const char *names)
{
    port o = {"output0", OM_DTYPE_F32, out};
    om_graph *g = graph_of(&in, 1, &o, 1);
    if (names) assert_int_equal(om_graph_set_meta(g, "names", names), OM_OK);
    return describe(g);
}

static void test_yolo_shapes(void **state)
{
    static const struct {
        om_shape out;
        bool open;
        const char *names;
        om_family family;
        int classes;
    } cases[] = {
        {SHAPE(1, 84, 8400), false, NULL, OM_FAMILY_YOLOV8, 80},
        {SHAPE(1, 25200, 85), false, NULL, OM_FAMILY_YOLOV5, 80},
        {SHAPE(D, 84, D), true, NULL, OM_FAMILY_YOLOV8, 80},
        {SHAPE(D, D, 85), true, NULL, OM_FAMILY_YOLOV5, 80},
        {SHAPE(D, 7, 3), true, "{0: 'red', 1: 'green', 2: 'blue'}", OM_FAMILY_YOLOV8, 3},
        {SHAPE(1, 3, 7), false, "['a', 'b']", OM_FAMILY_YOLOV5, 2},
        {SHAPE(1, 5, 8400), false, NULL, OM_FAMILY_YOLOV8, 1},
        {SHAPE(1, 25200, 6), false, NULL, OM_FAMILY_YOLOV5, 1},
        {SHAPE(1, 8400, 85), false, NULL, OM_FAMILY_YOLOX, 80}, /* a row a cell, not three */
        {SHAPE(1, 8400, 7), false, "['a', 'b']", OM_FAMILY_YOLOX, 2},
        {SHAPE(1, 8400, 7), false, "['a', 'b', 'c']", OM_FAMILY_YOLOV8, 3}, /* a turned one */
        {SHAPE(1, 7, 8400), false, "['a', 'b']", OM_FAMILY_YOLOV5, 2},      /* a turned one */
        {SHAPE(1, 300, 6), false, NULL, OM_FAMILY_YOLOV10, 0},              /* its own selection */
        {SHAPE(1, 25200, 16), false, NULL, OM_FAMILY_YOLOV5_FACE, 1},
        {SHAPE(D, D, 16), true, NULL, OM_FAMILY_YOLOV5_FACE, 1},
        {SHAPE(1, 25200, 16), false, "['a','b','c','d','e','f','g','h','i','j','k']", OM_FAMILY_YOLOV5, 11},
        {SHAPE(1, 1, 640, 640), false, NULL, OM_FAMILY_DB, 1},
        {SHAPE(D, 1, D, D), true, NULL, OM_FAMILY_DB, 1},
        {SHAPE(1, 1000), false, NULL, OM_FAMILY_CLASSIFY, 1000},
        {SHAPE(1, 1000, 1, 1), false, NULL, OM_FAMILY_CLASSIFY, 1000},
        {SHAPE(1, 255, 20, 20), false, NULL, OM_FAMILY_UNKNOWN, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        om_model_desc *d = describe_one(cases[i].open ? open_image : image, cases[i].out, cases[i].names);
        if (d->family != cases[i].family || d->n_classes != cases[i].classes)
            fail_msg("case %zu: %s with %d classes: %s", i, om_family_name(d->family), d->n_classes,
                     d->family_why);
        assert_true(strlen(d->family_why) > 0);
        om_model_desc_free(d);
    }
}

static void test_yolo_input(void **state)
{
    om_model_desc *d = describe_one(open_image, (om_shape)SHAPE(D, 84, D), NULL);
    assert_true(d->dynamic_batch && d->dynamic_size);
    assert_int_equal(d->width, 640);
    assert_int_equal(d->height, 640);
    assert_int_equal(d->stride, 32);
    assert_int_equal(d->n_labels, 80);
    assert_string_equal(d->labels[79], "toothbrush");
    assert_int_equal(d->fit, OM_FIT_LETTERBOX);
    assert_int_equal(d->prep.channels, OM_CHANNELS_RGB);
    assert_true(d->prep.scale[0] == 1.0f / 255 && d->prep.pad[1] == 114);
    om_model_desc_free(d);

    port bytes = {"x", OM_DTYPE_U8, SHAPE(1, 384, 640, 3)}, out = {"y", OM_DTYPE_F32, SHAPE(1, 84, 5040)};
    om_graph *g = graph_of(&bytes, 1, &out, 1);
    assert_int_equal(om_graph_set_meta(g, "stride", "64"), OM_OK);
    d = describe(g);
    assert_int_equal(d->prep.layout, OM_LAYOUT_NHWC);
    assert_int_equal(d->prep.dtype, OM_DTYPE_U8);
    assert_int_equal(d->width, 640);
    assert_int_equal(d->height, 384);
    assert_int_equal(d->stride, 64);
    assert_false(d->dynamic_size);
    om_model_desc_free(d);
}

static void test_names(void **state)
{
    om_model_desc *d = describe_one(image, (om_shape)SHAPE(1, 8, 8400),
                                    "{0: 'it\\'s', 1: \"a 'b'\", \"3\": 'caf\\xe9\\u00e9', 2: '\\\\'}");
    assert_int_equal(d->n_labels, 4);
    assert_string_equal(d->labels[0], "it's");
    assert_string_equal(d->labels[1], "a 'b'");
    assert_string_equal(d->labels[2], "\\");
    assert_string_equal(d->labels[3], "caf\xc3\xa9\xc3\xa9");
    om_model_desc_free(d);

    static const char *const broken[] = {"{0: 'a'",      "{0 'a'}",   "{0: a}",   "{0: 'a' 1: 'b'}",
                                         "nonsense",     "{-1: 'a'}", "{0: 'a\\", "{99999999999: 'x'}",
                                         "{0: '\\xZZ'}", ""};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        d = describe_one(image, (om_shape)SHAPE(1, 8, 8400), broken[i]);
        assert_int_equal(d->n_labels, 0);
        assert_int_equal(d->n_classes, 4);
        om_model_desc_free(d);
    }
    /* As many names as the outputs do not have: better none than wrong ones. */
    d = describe_one(image, (om_shape)SHAPE(1, 8, 8400), "['a', 'b']");
    assert_int_equal(d->n_labels, 0);
    om_model_desc_free(d);
}

static void test_centerface(void **state)
{
    port in = {"input.1", OM_DTYPE_F32, SHAPE(10, 3, 32, 32)};
    port out[] = {{"537", OM_DTYPE_F32, SHAPE(10, 1, 8, 8)},
                  {"538", OM_DTYPE_F32, SHAPE(10, 2, 8, 8)},
                  {"539", OM_DTYPE_F32, SHAPE(10, 2, 8, 8)},
                  {"540", OM_DTYPE_F32, SHAPE(10, 10, 8, 8)}};
    om_model_desc *d = describe(graph_of(&in, 1, out, 4));
    assert_int_equal(d->family, OM_FAMILY_CENTERFACE);
    assert_true(d->dynamic_batch && d->dynamic_size && d->native_size);
    assert_int_equal(d->stride, 32);
    assert_int_equal(d->fit, OM_FIT_STRETCH);
    assert_true(d->prep.scale[0] == 1 && d->prep.mean[0] == 0);
    assert_string_equal(d->labels[0], "face");
    om_model_desc_free(d);
}

static void test_boxes_and_classes(void **state)
{
    port in = {"image", OM_DTYPE_F32, SHAPE(3, D, D)};
    port out[] = {{"boxes", OM_DTYPE_F32, SHAPE(D, 4)},
                  {"labels", OM_DTYPE_I64, SHAPE(D)},
                  {"scores", OM_DTYPE_F32, SHAPE(D)}};
    om_model_desc *d = describe(graph_of(&in, 1, out, 3));
    assert_int_equal(d->family, OM_FAMILY_BOXES);
    assert_int_equal(d->n_classes, 0);
    om_model_desc_free(d);

    d = describe_one((port){"data", OM_DTYPE_F32, SHAPE(D, 3, D, D)}, (om_shape)SHAPE(D, 1000), NULL);
    assert_int_equal(d->width, 224);
    assert_int_equal(d->fit, OM_FIT_CROP);
    assert_true(d->prep.mean[2] > 103.4f && d->prep.mean[2] < 103.6f);
    assert_false(d->probabilities);
    om_model_desc_free(d);
}

/* What is told at first sight from the outputs of the zoo's other models. */
static void test_zoo_shapes(void **state)
{
    static const struct {
        om_family family;
        int classes;
        const char *label; /* of the only class */
        port in;
        port out[10];
    } cases[] = {
        {OM_FAMILY_RETINAFACE,
         1,
         "face",
         {"x", OM_DTYPE_F32, SHAPE(1, 3, 640, 640)},
         {{"a", OM_DTYPE_F32, SHAPE(1, 16800, 4)},
          {"b", OM_DTYPE_F32, SHAPE(1, 16800, 2)},
          {"c", OM_DTYPE_F32, SHAPE(1, 16800, 10)}}},
        {OM_FAMILY_RETINAFACE,
         1,
         "plate",
         {"x", OM_DTYPE_F32, SHAPE(D, 3, D, D)},
         {{"loc", OM_DTYPE_F32, SHAPE(D, D, 4)},
          {"conf", OM_DTYPE_F32, SHAPE(D, D, 2)},
          {"landms", OM_DTYPE_F32, SHAPE(D, D, 8)}}},
        {OM_FAMILY_YOLOV5,
         2,
         NULL,
         {"images", OM_DTYPE_F32, SHAPE(1, 3, 640, 640)},
         {{"output", OM_DTYPE_F32, SHAPE(1, 25200, 7)},
          {"345", OM_DTYPE_F32, SHAPE(1, 3, 80, 80, 7)},
          {"403", OM_DTYPE_F32, SHAPE(1, 3, 40, 40, 7)},
          {"461", OM_DTYPE_F32, SHAPE(1, 3, 20, 20, 7)}}},
        {OM_FAMILY_SCRFD,
         1,
         "face",
         {"x", OM_DTYPE_F32, SHAPE(1, 3, D, D)},
         {{"448", OM_DTYPE_F32, SHAPE(12800, 1)},
          {"471", OM_DTYPE_F32, SHAPE(3200, 1)},
          {"494", OM_DTYPE_F32, SHAPE(800, 1)},
          {"451", OM_DTYPE_F32, SHAPE(12800, 4)},
          {"474", OM_DTYPE_F32, SHAPE(3200, 4)},
          {"497", OM_DTYPE_F32, SHAPE(800, 4)},
          {"454", OM_DTYPE_F32, SHAPE(12800, 10)},
          {"477", OM_DTYPE_F32, SHAPE(3200, 10)},
          {"500", OM_DTYPE_F32, SHAPE(800, 10)}}},
        {OM_FAMILY_SSD,
         0,
         NULL,
         {"x", OM_DTYPE_F32, SHAPE(1, 3, 240, 320)},
         {{"scores", OM_DTYPE_F32, SHAPE(1, 4420, 2)}, {"boxes", OM_DTYPE_F32, SHAPE(1, 4420, 4)}}},
        {OM_FAMILY_SSD,
         0,
         NULL,
         {"image", OM_DTYPE_U8, SHAPE(D, D, D, 3)},
         {{"detection_boxes", OM_DTYPE_F32, SHAPE(D, 100, 4)},
          {"detection_classes", OM_DTYPE_F32, SHAPE(D, 100)},
          {"detection_scores", OM_DTYPE_F32, SHAPE(D, 100)},
          {"num_detections", OM_DTYPE_F32, SHAPE(D)}}},
        {OM_FAMILY_SSD,
         0,
         NULL,
         {"data", OM_DTYPE_F32, SHAPE(1, 3, 300, 300)},
         {{"detection_out", OM_DTYPE_F32, SHAPE(1, 1, D, 7)}}},
        {OM_FAMILY_BOXES,
         0,
         NULL,
         {"image", OM_DTYPE_F32, SHAPE(1, 3, 1200, 1200)},
         {{"bboxes", OM_DTYPE_F32, SHAPE(1, D, 4)},
          {"labels", OM_DTYPE_I64, SHAPE(1, D)},
          {"scores", OM_DTYPE_F32, SHAPE(1, D)}}},
        {OM_FAMILY_YOLOV5_FACE,
         1,
         "face",
         {"input", OM_DTYPE_F32, SHAPE(1, 3, 640, 640)},
         {{"stride_8", OM_DTYPE_F32, SHAPE(1, 3, 80, 80, 16)},
          {"stride_16", OM_DTYPE_F32, SHAPE(1, 3, 40, 40, 16)},
          {"stride_32", OM_DTYPE_F32, SHAPE(1, 3, 20, 20, 16)}}},
        {OM_FAMILY_CTC,
         1,
         "text",
         {"x", OM_DTYPE_F32, SHAPE(D, 3, 48, D)},
         {{"softmax", OM_DTYPE_F32, SHAPE(D, D, 6625)}}},
        {OM_FAMILY_CTC,
         1,
         "text",
         {"x", OM_DTYPE_F32, SHAPE(1, 1, 32, 100)},
         {{"out", OM_DTYPE_F32, SHAPE(26, 1, 37)}}},
        {OM_FAMILY_SLOTS,
         1,
         "plate",
         {"input", OM_DTYPE_U8, SHAPE(D, 70, 140, 1)},
         {{"plate", OM_DTYPE_F32, SHAPE(D, 9, 37)}}},
        {OM_FAMILY_EMBEDDING,
         0,
         NULL,
         {"input.1", OM_DTYPE_F32, SHAPE(D, 3, 112, 112)},
         {{"683", OM_DTYPE_F32, SHAPE(D, 512)}}},
        {OM_FAMILY_EMBEDDING,
         0,
         NULL,
         {"images", OM_DTYPE_F32, SHAPE(D, 3, 256, 128)},
         {{"embedding", OM_DTYPE_F32, SHAPE(D, 2048)}}},
        {OM_FAMILY_CLASSIFY,
         512,
         NULL,
         {"images", OM_DTYPE_F32, SHAPE(D, 3, 224, 224)},
         {{"out", OM_DTYPE_F32, SHAPE(D, 512)}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int n = 0;
        while (cases[i].out[n].name) n++;
        om_model_desc *d = describe(graph_of(&cases[i].in, 1, cases[i].out, n));
        if (d->family != cases[i].family || d->n_classes != cases[i].classes)
            fail_msg("case %zu: %s with %d classes: %s", i, om_family_name(d->family), d->n_classes,
                     d->family_why);
        if (cases[i].label) assert_string_equal(d->labels[0], cases[i].label);
        else assert_int_equal(d->n_labels, 0);
        om_model_desc_free(d);
    }
}

/* A matrix of open rows is YOLOX's where it ends in a Transpose (raw) or holds an Exp (decoded). */
static void test_yolox_by_its_end(void **state)
{
    static const char *const ends[][2] = {{"Transpose", NULL}, {"Exp", "Concat"}, {"Sigmoid", "Concat"}};
    for (int i = 0; i < 3; i++) {
        om_graph *g = graph_of(&open_image, 1, NULL, 0);
        om_shape rows = SHAPE(D, D, 85);
        int v = g->inputs[0];
        for (int k = 0; k < 2 && ends[i][k]; k++)
            v = om_node_out(g, om_graph_add_node(g, ends[i][k], "", &v, 1, 1));
        g->values[v].dtype = OM_DTYPE_F32;
        g->values[v].shape = rows;
        assert_true(om_graph_mark_output(g, v) >= 0);
        om_model_desc *d = describe(g);
        assert_int_equal(d->family, i < 2 ? OM_FAMILY_YOLOX : OM_FAMILY_YOLOV5);
        assert_int_equal(d->decoded, i == 1);
        if (i < 2) assert_true(d->prep.channels == OM_CHANNELS_BGR && d->prep.scale[0] == 1);
        om_model_desc_free(d);
    }
}

static void test_line_input(void **state)
{
    port in = {"x", OM_DTYPE_F32, SHAPE(D, 3, D, D)}, out = {"softmax", OM_DTYPE_F32, SHAPE(D, D, 97)};
    om_graph *g = graph_of(&in, 1, &out, 1);
    assert_int_equal(om_graph_set_meta(g, "character", "a\nb"), OM_OK);
    om_model_desc *d = describe(g);
    assert_int_equal(d->family, OM_FAMILY_CTC);
    assert_true(d->dynamic_width);
    assert_int_equal(d->width, 320);
    assert_int_equal(d->height, 48);
    assert_int_equal(d->fit, OM_FIT_CORNER);
    assert_true(d->prep.channels == OM_CHANNELS_BGR && d->prep.mean[0] == 127.5f && d->prep.pad[0] == 127.5f);
    om_model_desc_set_input(d, OM_NORMALIZE_IMAGENET, OM_CHANNELS_RGB, OM_FIT_STRETCH);
    assert_true(d->prep.channels == OM_CHANNELS_RGB && d->prep.mean[2] > 103.4f && d->fit == OM_FIT_STRETCH);
    om_model_desc_set_input(d, OM_NORMALIZE_NONE, -1, -1);
    assert_true(d->prep.scale[1] == 1 && d->prep.mean[1] == 0 && d->fit == OM_FIT_STRETCH);
    om_model_desc_free(d);
}

/* Small pictures make small matrices: names tell them from a plate's or a line's. */
static void test_small_detectors(void **state)
{
    static const char names[] = "['a', 'b', 'c']";
    om_model_desc *d =
        describe_one((port){"images", OM_DTYPE_F32, SHAPE(1, 3, 64, 128)}, (om_shape)SHAPE(1, 7, 168), names);
    assert_int_equal(d->family, OM_FAMILY_YOLOV8);
    om_model_desc_free(d);
    d = describe_one((port){"images", OM_DTYPE_F32, SHAPE(1, 3, 96, 128)}, (om_shape)SHAPE(1, 7, 128), names);
    assert_int_equal(d->family, OM_FAMILY_YOLOV8);
    om_model_desc_free(d);
}

/* Outputs of no family: the shapes, and what could be forced on them. */
static void test_near_families(void **state)
{
    port out[] = {{"a", OM_DTYPE_F32, SHAPE(1, 255, 20, 20)}, {"b", OM_DTYPE_F32, SHAPE(1, 7)}};
    om_model_desc *d = describe(graph_of(&image, 1, out, 2));
    assert_int_equal(d->family, OM_FAMILY_UNKNOWN);
    assert_non_null(strstr(d->family_why, "a f32 1x255x20x20, b f32 1x7"));
    assert_non_null(strstr(d->family_why, "--head could be slots"));
    om_model_desc_free(d);
}

static void test_probabilities(void **state)
{
    port in = {"data", OM_DTYPE_F32, SHAPE(1, 3, 224, 224)};
    om_graph *g = graph_of(&in, 1, NULL, 0);
    int pooled = om_graph_add_node(g, "GlobalAveragePool", "pool", g->inputs, 1, 1);
    int v = om_node_out(g, pooled);
    int soft = om_graph_add_node(g, "Softmax", "soft", &v, 1, 1);
    v = om_node_out(g, soft);
    int flat = om_graph_add_node(g, "Flatten", "flat", &v, 1, 1);
    assert_true(om_graph_mark_output(g, om_node_out(g, flat)) >= 0);
    assert_int_equal(om_graph_set_opset(g, "", 13), OM_OK);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    om_model_desc *d = describe(g);
    assert_int_equal(d->family, OM_FAMILY_CLASSIFY);
    assert_true(d->probabilities);
    om_model_desc_free(d);
}

static void test_metadata_decides(void **state)
{
    port out = {"out", OM_DTYPE_F32, SHAPE(1, 116, 8400)};
    om_graph *g = graph_of(&image, 1, &out, 1);
    assert_int_equal(om_graph_set_meta(g, "task", "pose"), OM_OK);
    om_model_desc *d = describe(g);
    assert_int_equal(d->family, OM_FAMILY_UNKNOWN);
    assert_non_null(strstr(d->family_why, "pose"));
    assert_non_null(strstr(d->family_why, "1x116x8400"));
    om_model_desc_free(d);

    g = graph_of(&image, 1, &out, 1);
    assert_int_equal(om_graph_set_meta(g, "omma.family", "yolov3"), OM_OK);
    assert_int_equal(om_model_describe(g, &d), OM_ERR_FORMAT);
    assert_null(d);
    om_graph_destroy(g);
}

static void test_overrides(void **state)
{
    om_model_desc *d = describe_one(image, (om_shape)SHAPE(1, 7, 8400), NULL);
    char path[] = "/tmp/omma-labels-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "one\r\ntwo words\nthree\n\n", 22), 22);
    assert_int_equal(om_model_desc_load_labels(d, path), OM_OK);
    assert_string_equal(d->labels[0], "one");
    assert_string_equal(d->labels[1], "two words");
    assert_int_equal(write(fd, "four\n", 5), 5); /* behind a blank line: five in all */
    assert_int_equal(om_model_desc_load_labels(d, path), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "3 classes"));
    assert_int_equal(d->n_labels, 3);
    assert_int_equal(om_model_desc_load_labels(d, "/nonexistent/names"), OM_ERR_NOT_FOUND);
    assert_int_equal(om_model_desc_set_family(d, OM_FAMILY_CENTERFACE), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "1x7x8400"));
    assert_int_equal(d->family, OM_FAMILY_YOLOV8);
    assert_int_equal(om_model_desc_set_family(d, OM_FAMILY_RAW), OM_OK);
    assert_int_equal(d->family, OM_FAMILY_RAW);
    om_model_desc_free(d);
    close(fd);
    unlink(path);

    assert_int_equal(om_family_parse("yolov8"), OM_FAMILY_YOLOV8);
    assert_int_equal(om_family_parse("yolo8"), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "yolov8"));
}

static void test_out_of_memory(void **state)
{
    for (long n = 0;; n++) {
        port out = {"out", OM_DTYPE_F32, SHAPE(1, 84, 8400)};
        om_graph *g = graph_of(&image, 1, &out, 1);
        assert_int_equal(om_graph_set_meta(g, "stride", "32"), OM_OK);
        om_model_desc *d = NULL;
        om_mem_fail_after(n);
        int e = om_model_describe(g, &d);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        om_model_desc_free(d);
        om_graph_destroy(g);
        if (!met) {
            assert_int_equal(e, OM_OK);
            break;
        }
        assert_int_equal(e, OM_ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yolo_shapes),
        cmocka_unit_test(test_yolo_input),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_centerface),
        cmocka_unit_test(test_boxes_and_classes),
        cmocka_unit_test(test_zoo_shapes),
        cmocka_unit_test(test_yolox_by_its_end),
        cmocka_unit_test(test_line_input),
        cmocka_unit_test(test_small_detectors),
        cmocka_unit_test(test_near_families),
        cmocka_unit_test(test_probabilities),
        cmocka_unit_test(test_metadata_decides),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
