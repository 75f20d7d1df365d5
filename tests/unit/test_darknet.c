/* Darknet files to graphs: structure, numbers, and one clear line for what is wrong with them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/darknet.h"

#define HEADER 20 /* bytes: three int32 and a uint64 */

typedef struct weights {
    uint8_t *bytes;
    size_t len;
} weights;

/* Version 0.2 and `n` floats 0.01, 0.02, ... */
static weights weights_of(int n)
{
    weights w = {calloc(1, HEADER + (size_t)n * 4), HEADER + (size_t)n * 4};
    assert_non_null(w.bytes);
    w.bytes[4] = 2;
    for (int i = 0; i < n; i++) {
        float v = 0.01f * (float)(i + 1);
        memcpy(w.bytes + HEADER + 4 * i, &v, 4);
    }
    return w;
}

static int import(const char *cfg, int floats, om_graph **out)
{
    weights w = weights_of(floats);
    int e = om_dn_import("t.cfg", cfg, "t.weights", w.bytes, w.len, NULL, out);
    free(w.bytes);
    return e;
}

/* Six channels of one box and one class come out of each net here. */
#define NET "[net]\nwidth=64\nheight=32\nchannels=3\n"
#define CONV6 "[convolutional]\nfilters=6\nsize=1\nstride=1\npad=1\nactivation=linear\n"
#define YOLO "[yolo]\nmask=1\nanchors=10,14, 23,27\nclasses=1\nnum=2\n"

static const om_node *find_op(const om_graph *g, const char *op)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (strcmp(g->nodes[i].op, op) == 0) return &g->nodes[i];
    return NULL;
}

static const float *constant(const om_graph *g, const om_node *n, int input)
{
    return g->values[n->inputs[input]].constant->data;
}

static void test_folds_normalisation(void **state)
{
    om_graph *g = NULL;
    /* biases .01, scales .02, means .03, variances .04 for one filter, then its 3 weights .05 .06 .07 */
    int e = import(NET "[convolutional]\nbatch_normalize=1\nfilters=1\nsize=1\nactivation=leaky\n" CONV6 YOLO,
                   7 + 12, &g);
    if (e) fail_msg("%s", om_error_message());
    const om_node *conv = find_op(g, "Conv");
    double k = 0.02 / (sqrt(0.04) + 1e-6);
    assert_true(fabs(constant(g, conv, 1)[0] - 0.05 * k) < 1e-7);
    assert_true(fabs(constant(g, conv, 2)[0] - (0.01 - 0.03 * k)) < 1e-7);
    assert_non_null(find_op(g, "LeakyRelu"));
    assert_null(find_op(g, "BatchNormalization"));
    assert_string_equal(om_graph_meta(g, "omma.anchors"), "10,14,23,27");
    assert_string_equal(om_graph_meta(g, "omma.masks"), "1");
    assert_string_equal(om_graph_meta(g, "omma.scale_x_y"), "1");
    assert_string_equal(om_graph_meta(g, "imgsz"), "[32, 64]");
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    om_model_desc *d = NULL;
    assert_int_equal(om_model_describe(g, &d), OM_OK);
    assert_int_equal(d->family, OM_FAMILY_YOLOV3);
    assert_int_equal(d->n_classes, 1);
    assert_int_equal(d->width, 64);
    assert_int_equal(d->height, 32);
    assert_true(d->prep.pad[0] == 127.5f);
    om_model_desc_free(d);
    om_graph_destroy(g);
}

static void test_sections(void **state)
{
    static const struct {
        const char *cfg, *op;
        int floats;
    } cases[] = {
        {NET "[maxpool]\nsize=2\nstride=1\n" CONV6 YOLO, "MaxPool", 24},
        {NET "[upsample]\nstride=2\n" CONV6 YOLO, "Resize", 24},
        {NET "[dropout]\n" CONV6 YOLO, "Conv", 24},
        {NET
         "[convolutional]\nfilters=3\nsize=3\npad=1\ngroups=3\nactivation=mish\n[shortcut]\nfrom=-1\n" CONV6
             YOLO,
         "Add", 30 + 24},
        {NET
         "[convolutional]\nfilters=4\nsize=1\nactivation=swish\n[route]\nlayers=-1\ngroups=2\ngroup_id=1\n" CONV6
             YOLO,
         "Slice", 16 + 18},
        {NET "[convolutional]\nfilters=4\nsize=1\nactivation=relu\n[route]\nlayers=-1, 0\n" CONV6 YOLO,
         "Concat", 16 + 54},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        om_graph *g = NULL;
        if (import(cases[i].cfg, cases[i].floats, &g)) fail_msg("case %zu: %s", i, om_error_message());
        if (!find_op(g, cases[i].op)) fail_msg("case %zu: no %s", i, cases[i].op);
        assert_int_equal(om_graph_validate(g, "t"), OM_OK);
        assert_int_equal(om_graph_infer_shapes(g), OM_OK);
        om_graph_destroy(g);
    }
}

static void test_same_pooling(void **state)
{
    om_graph *g = NULL;
    assert_int_equal(import(NET "[maxpool]\nsize=2\nstride=1\n" CONV6 YOLO, 24, &g), OM_OK);
    int64_t pads[4];
    assert_int_equal(om_node_attr_ints(find_op(g, "MaxPool"), "pads", pads, 4), 4);
    assert_true(pads[0] == 0 && pads[1] == 0 && pads[2] == 1 && pads[3] == 1);
    om_shape shape = om_shape_make(4, (int64_t)2, (int64_t)3, (int64_t)96, (int64_t)160);
    assert_int_equal(om_graph_set_input_shape(g, 0, &shape), OM_OK);
    assert_int_equal(om_graph_infer_shapes(g), OM_OK);
    om_shape want = om_shape_make(4, (int64_t)2, (int64_t)6, (int64_t)96, (int64_t)160);
    assert_true(om_shape_equal(&g->values[g->outputs[0]].shape, &want));
    om_graph_destroy(g);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *cfg;
        int floats, code;
        const char *says;
    } cases[] = {
        {"", 0, OM_ERR_FORMAT, "t.cfg: no sections"},
        {"width=3\n", 0, OM_ERR_FORMAT, "t.cfg:1: expected a section"},
        {CONV6, 24, OM_ERR_FORMAT, "t.cfg:1: [convolutional] comes first"},
        {"[net\n", 0, OM_ERR_FORMAT, "t.cfg:1:"},
        {"[net]\nwidth\n", 0, OM_ERR_FORMAT, "t.cfg:2: [net] expected key=value"},
        {"[net]\nwidth=abc\n", 0, OM_ERR_FORMAT, "t.cfg:2: [net] width: expected a whole number"},
        {NET "\n# text\n[crop]\n", 0, OM_ERR_UNSUPPORTED, "t.cfg:7: [crop]"},
        {NET "[convolutional]\nfilters=999999\n", 0, OM_ERR_FORMAT, "t.cfg:6: [convolutional] filters"},
        {NET "[convolutional]\nactivation=wave\n", 9, OM_ERR_UNSUPPORTED,
         "t.cfg:6: [convolutional] activation 'wave'"},
        {NET "[convolutional]\nfilters=2\ngroups=2\n", 9, OM_ERR_FORMAT, "groups"},
        {NET "[convolutional]\nsize=63\n", 9, OM_ERR_FORMAT, "larger than its input"},
        {NET "[route]\nlayers=3\n", 0, OM_ERR_FORMAT, "t.cfg:6: [route] layers: there is no layer 3"},
        {NET "[route]\n", 0, OM_ERR_FORMAT, "needs layers="},
        {NET CONV6 "[route]\nlayers=x\n", 24, OM_ERR_FORMAT, "t.cfg:12: [route] layers"},
        {NET CONV6 YOLO "[route]\nlayers=-1\n", 24, OM_ERR_FORMAT, "is a [yolo]"},
        {NET CONV6 YOLO "[upsample]\n", 24, OM_ERR_FORMAT, "reads a [yolo]"},
        {NET CONV6 "[maxpool]\nsize=2\nstride=2\n[shortcut]\nfrom=-2\n", 24, OM_ERR_FORMAT, "adds"},
        {NET CONV6 "[yolo]\nmask=7\nanchors=1,2\nclasses=1\nnum=1\n", 24, OM_ERR_FORMAT,
         "there is no anchor 7"},
        {NET CONV6 "[yolo]\nmask=0,1\nanchors=1,2,3,4\nclasses=1\nnum=2\n", 24, OM_ERR_FORMAT,
         "expects 12 channels"},
        {NET CONV6 "[yolo]\nmask=0\nanchors=1,2,3\nclasses=1\nnum=2\n", 24, OM_ERR_FORMAT, "anchors"},
        {NET CONV6, 24, OM_ERR_FORMAT, "no [yolo] section"},
        {NET CONV6 YOLO, 23, OM_ERR_FORMAT,
         "t.weights: ends inside the weights of [convolutional] at t.cfg:5: 18 numbers"},
        {NET CONV6 YOLO, 25, OM_ERR_FORMAT, "t.weights: 4 bytes are left over"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        om_graph *g = (om_graph *)1;
        int e = import(cases[i].cfg, cases[i].floats, &g);
        if (e != cases[i].code || !strstr(om_error_message(), cases[i].says))
            fail_msg("case %zu: %d: %s; expected '%s'", i, e, om_error_message(), cases[i].says);
        assert_null(g);
    }
}

static void test_weights_header(void **state)
{
    om_graph *g = NULL;
    weights w = weights_of(24);
    assert_int_equal(om_dn_import("c", NET CONV6 YOLO, "w", w.bytes, 10, NULL, &g), OM_ERR_FORMAT);
    w.bytes[3] = 0x7f;
    assert_int_equal(om_dn_import("c", NET CONV6 YOLO, "w", w.bytes, w.len, NULL, &g), OM_ERR_FORMAT);
    assert_non_null(strstr(om_error_message(), "version"));
    w.bytes[3] = 0;
    memset(w.bytes + HEADER, 0xff, 4); /* NaN */
    assert_int_equal(om_dn_import("c", NET CONV6 YOLO, "w", w.bytes, w.len, NULL, &g), OM_ERR_FORMAT);
    assert_non_null(strstr(om_error_message(), "finite"));
    free(w.bytes);
}

static void test_labels(void **state)
{
    om_graph *g = NULL;
    om_strlist labels = {0};
    weights w = weights_of(24);
    assert_int_equal(om_strlist_add(&labels, "it's"), OM_OK);
    assert_int_equal(om_dn_import("c", NET CONV6 YOLO, "w", w.bytes, w.len, &labels, &g), OM_OK);
    assert_string_equal(om_graph_meta(g, "names"), "{0: \"it's\"}");
    om_graph_destroy(g);
    assert_int_equal(om_strlist_add(&labels, "b"), OM_OK);
    assert_int_equal(om_dn_import("c", NET CONV6 YOLO, "w", w.bytes, w.len, &labels, &g), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "2 class names"));
    om_strlist_fini(&labels);
    free(w.bytes);
}

static void test_out_of_memory(void **state)
{
    bool met = true;
    for (long n = 0; met; n++) {
        om_graph *g = NULL;
        om_mem_fail_after(n);
        int e = import(
            NET
            "[upsample]\nstride=2\n[convolutional]\nfilters=2\nactivation=mish\n[route]\nlayers=-1,-2\n" CONV6
                YOLO,
            8 + 6 + 30, &g);
        met = om_mem_injected();
        om_mem_fail_after(-1);
        /* The names of open dims may be lost without a word, nothing else. */
        assert_true(e == OM_OK || (met && e == OM_ERR_NOMEM));
        om_graph_destroy(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folds_normalisation), cmocka_unit_test(test_sections),
        cmocka_unit_test(test_same_pooling),        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_weights_header),      cmocka_unit_test(test_labels),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
