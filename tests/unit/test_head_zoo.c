/* Every head on outputs that no network should give: nothing odd comes out, nothing is lost when memory ends.
 * What they make of ordinary ones is shown by tests/e2e/test_heads_zoo.py and test_heads_text.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "head/head.h"

#define MAX_OUTPUTS 9
#define MAX_NUMBERS 8192
#define SIDE 64 /* of the input */

typedef struct output {
    const char *name;
    int rank;
    int64_t dim[5];
} output;

/* A family and outputs that fit it at 64x64. */
typedef struct kind {
    const char *what;
    om_family family;
    int n_labels;
    output outputs[MAX_OUTPUTS];
} kind;

static const kind kinds[] = {
    {"face rows", OM_FAMILY_YOLOV5_FACE, 0, {{"output", 3, {1, 60, 16}}}},
    {"face grids",
     OM_FAMILY_YOLOV5_FACE,
     0,
     {{"a", 5, {1, 3, 8, 8, 16}}, {"b", 5, {1, 3, 4, 4, 16}}, {"c", 5, {1, 3, 2, 2, 16}}}},
    {"face flat grids",
     OM_FAMILY_YOLOV5_FACE,
     0,
     {{"a", 4, {1, 48, 2, 2}}, {"b", 4, {1, 48, 4, 4}}, {"c", 4, {1, 48, 8, 8}}}},
    {"end to end", OM_FAMILY_YOLOV10, 0, {{"output0", 3, {1, 30, 6}}}},
    {"yolox", OM_FAMILY_YOLOX, 3, {{"output", 3, {1, 84, 8}}}},
    {"ssd rows", OM_FAMILY_SSD, 0, {{"scores", 3, {1, 20, 3}}, {"boxes", 3, {1, 20, 4}}}},
    {"ssd offsets",
     OM_FAMILY_SSD,
     0,
     {{"conf", 3, {1, 20, 3}}, {"loc", 3, {1, 20, 4}}, {"priors", 2, {20, 4}}}},
    {"ssd chosen",
     OM_FAMILY_SSD,
     0,
     {{"detection_boxes", 3, {1, 20, 4}},
      {"detection_classes", 2, {1, 20}},
      {"detection_scores", 2, {1, 20}},
      {"num_detections", 1, {1}}}},
    {"ssd listed", OM_FAMILY_SSD, 0, {{"detection_out", 4, {1, 1, 20, 7}}}},
    {"retina faces",
     OM_FAMILY_RETINAFACE,
     0,
     {{"loc", 3, {1, 168, 4}}, {"conf", 3, {1, 168, 2}}, {"landms", 3, {1, 168, 10}}}},
    {"retina plates",
     OM_FAMILY_RETINAFACE,
     0,
     {{"loc", 3, {1, 168, 4}}, {"conf", 3, {1, 168, 3}}, {"landms", 3, {1, 168, 8}}}},
    {"scrfd",
     OM_FAMILY_SCRFD,
     0,
     {{"s8", 2, {128, 1}},
      {"s16", 2, {32, 1}},
      {"s32", 2, {8, 1}},
      {"b8", 2, {128, 4}},
      {"b16", 2, {32, 4}},
      {"b32", 2, {8, 4}},
      {"k8", 2, {128, 10}},
      {"k16", 2, {32, 10}},
      {"k32", 2, {8, 10}}}},
    {"line", OM_FAMILY_CTC, 0, {{"out", 3, {1, 20, 6}}}},
    {"line, steps first", OM_FAMILY_CTC, 0, {{"out", 3, {20, 1, 6}}}},
    {"plate", OM_FAMILY_SLOTS, 0, {{"out", 3, {1, 8, 5}}}},
    {"flat plate", OM_FAMILY_SLOTS, 0, {{"out", 2, {1, 40}}}},
    {"embedding", OM_FAMILY_EMBEDDING, 0, {{"out", 2, {1, 33}}}},
    {"raw", OM_FAMILY_RAW, 0, {{"a", 3, {1, 7, 9}}, {"b", 1, {3}}}},
    {"text", OM_FAMILY_DB, 0, {{"out", 4, {1, 1, 33, 47}}}},
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

typedef struct rig {
    om_model_desc desc;
    om_tensor_spec specs[MAX_OUTPUTS];
    om_tensor tensors[MAX_OUTPUTS];
    om_meta meta;
    const char *labels[4];
    om_head_params params;
    om_head_scratch scratch;
    om_dets dets;
    om_geometry g;
} rig;

static float numbers[MAX_OUTPUTS][MAX_NUMBERS];

static void rig_init(rig *r, const kind *k)
{
    *r = (rig){.meta = {(char *)"character", (char *)"a\nb\n\xc3\xa9\nd\ne\n"},
               .labels = {"one", "two", "three", "four"}};
    r->desc = (om_model_desc){.family = k->family,
                              .outputs = r->specs,
                              .metas = &r->meta,
                              .n_metas = 1,
                              .labels = r->labels,
                              .n_labels = k->n_labels};
    for (int i = 0; i < MAX_OUTPUTS && k->outputs[i].name; i++) {
        om_shape shape = {.rank = k->outputs[i].rank};
        memcpy(shape.dim, k->outputs[i].dim, (size_t)shape.rank * sizeof shape.dim[0]);
        assert_true(om_shape_count(&shape) <= MAX_NUMBERS);
        r->specs[i] = (om_tensor_spec){k->outputs[i].name, OM_DTYPE_F32, shape};
        r->tensors[i] = (om_tensor){OM_DTYPE_F32, shape, numbers[i]};
        r->desc.n_outputs++;
    }
    om_head_params_default(&r->params);
    om_geometry_fit(OM_FIT_LETTERBOX, 640, 480, SIDE, SIDE, &r->g);
}

static void rig_fini(rig *r)
{
    om_dets_fini(&r->dets);
    om_head_scratch_fini(&r->scratch);
}

static int rig_decode(rig *r)
{
    om_head *h;
    om_dets_clear(&r->dets);
    int rc = om_head_create(&r->desc, &r->params, &h);
    if (rc == OM_OK) rc = om_head_decode(h, &r->scratch, r->tensors, r->desc.n_outputs, 0, &r->g, &r->dets);
    om_head_destroy(h);
    return rc;
}

static void expect_clean(const rig *r, const char *what)
{
    const om_dets *d = &r->dets;
    if (d->n > (size_t)r->params.max_boxes) fail_msg("%s: %zu objects", what, d->n);
    for (size_t i = 0; i < d->n; i++) {
        const om_detection *o = &d->items[i];
        bool ok = isfinite(o->score) && o->w > 0 && o->h > 0 && o->x >= 0 && o->y >= 0 &&
                  o->x + o->w <= 640.01f && o->y + o->h <= 480.01f;
        for (int k = 0; k < o->n_landmarks; k++)
            ok = ok && isfinite(o->landmarks[k][0]) && isfinite(o->landmarks[k][1]);
        for (int k = 0; k < 4 * o->has_quad; k++) ok = ok && isfinite(o->quad[k % 4][0] + o->quad[k % 4][1]);
        if (o->text) ok = ok && isfinite(o->text_score) && strlen(o->text) <= 40;
        if (!ok) fail_msg("%s: object %zu is odd", what, i);
    }
    for (size_t i = 0; i < d->n_vector; i++)
        if (!isfinite(d->vector[i])) fail_msg("%s: number %zu is odd", what, i);
}

static void fill(float v)
{
    for (int i = 0; i < MAX_OUTPUTS; i++)
        for (int k = 0; k < MAX_NUMBERS; k++) numbers[i][k] = v;
}

static uint32_t seed;

static float random_unit(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 16777216.0f;
}

static const float odd[] = {NAN,   INFINITY, -INFINITY, 3e38f, -3e38f, 1e9f, 1e-40f,
                            -0.0f, 0,        1,         0.9f,  -1,     100,  1e20f};
#define N_ODD (sizeof odd / sizeof *odd)

/* Mostly ordinary numbers, of which `share` are odd. */
static void fill_random(float scale, float share)
{
    for (int i = 0; i < MAX_OUTPUTS; i++)
        for (int k = 0; k < MAX_NUMBERS; k++)
            numbers[i][k] =
                random_unit() < share ? odd[(size_t)(random_unit() * N_ODD)] : random_unit() * scale;
}

static void test_constants(void **state)
{
    rig r;
    for (size_t i = 0; i < N_KINDS; i++)
        for (size_t k = 0; k < N_ODD; k++) {
            rig_init(&r, &kinds[i]);
            fill(odd[k]);
            if (rig_decode(&r) < 0) fail_msg("%s: %s", kinds[i].what, om_error_message());
            expect_clean(&r, kinds[i].what);
            rig_fini(&r);
        }
}

static void test_random(void **state)
{
    static const float scales[] = {1, 10, 200};
    rig r;
    seed = 1;
    for (size_t i = 0; i < N_KINDS; i++)
        for (int round = 0; round < 60; round++) {
            rig_init(&r, &kinds[i]);
            r.params.conf = round % 2 ? 0 : -1;
            r.params.max_boxes = round % 5 ? 300 : 7;
            fill_random(scales[round % 3], round % 4 ? 0.02f : 0);
            if (rig_decode(&r) < 0) fail_msg("%s: %s", kinds[i].what, om_error_message());
            expect_clean(&r, kinds[i].what);
            rig_fini(&r);
        }
}

static void test_half(void **state)
{
    static uint16_t halves[MAX_OUTPUTS][MAX_NUMBERS];
    rig r;
    seed = 2;
    fill_random(1, 0);
    for (int i = 0; i < MAX_OUTPUTS; i++)
        for (int k = 0; k < MAX_NUMBERS; k++) {
            halves[i][k] = om_f32_to_f16(numbers[i][k]);
            numbers[i][k] = om_f16_to_f32(halves[i][k]);
        }
    for (size_t i = 0; i < N_KINDS; i++) {
        rig_init(&r, &kinds[i]);
        assert_int_equal(rig_decode(&r), OM_OK);
        om_dets whole = r.dets;
        r.dets = (om_dets){0};
        for (int k = 0; k < r.desc.n_outputs; k++) {
            if (strcmp(r.specs[k].name, "num_detections") == 0) continue;
            r.specs[k].dtype = r.tensors[k].dtype = OM_DTYPE_F16;
            r.tensors[k].data = halves[k];
        }
        assert_int_equal(rig_decode(&r), OM_OK);
        if (r.dets.n != whole.n || r.dets.n_vector != whole.n_vector) fail_msg("%s", kinds[i].what);
        for (size_t k = 0; k < whole.n; k++) assert_true(r.dets.items[k].x == whole.items[k].x);
        om_dets_fini(&whole);
        rig_fini(&r);
    }
}

/* Each dim in turn empty, or one more than was declared. */
static void test_sizes(void **state)
{
    rig r;
    fill(0.5f);
    for (size_t i = 0; i < N_KINDS; i++) {
        rig_init(&r, &kinds[i]);
        for (int k = 0; k < r.desc.n_outputs; k++)
            for (int d = 0; d < r.tensors[k].shape.rank; d++)
                for (int change = 0; change < 2; change++) {
                    int64_t was = r.tensors[k].shape.dim[d];
                    r.tensors[k].shape.dim[d] = change ? was + 1 : 0;
                    if (om_shape_count(&r.tensors[k].shape) <= MAX_NUMBERS && rig_decode(&r) < 0)
                        assert_true(strlen(om_error_message()) > 10);
                    expect_clean(&r, kinds[i].what);
                    r.tensors[k].shape.dim[d] = was;
                }
        rig_fini(&r);
    }
}

static void test_out_of_memory(void **state)
{
    rig r;
    seed = 3;
    fill_random(1, 0);
    for (size_t i = 0; i < N_KINDS; i++)
        for (long n = 0;; n++) {
            rig_init(&r, &kinds[i]);
            om_mem_fail_after(n);
            int rc = rig_decode(&r);
            bool met = om_mem_injected();
            om_mem_fail_after(-1);
            rig_fini(&r);
            if (!met) {
                assert_int_equal(rc, OM_OK);
                break;
            }
            if (rc != OM_ERR_NOMEM) fail_msg("%s: allocation %ld: %d", kinds[i].what, n, rc);
        }
}

/* [T, N, classes]: the batch is told by the input's. */
static void test_steps_first(void **state)
{
    static const kind line = {"line", OM_FAMILY_CTC, 0, {{"out", 3, {5, 2, 6}}}};
    om_tensor_spec image = {"x", OM_DTYPE_F32, {4, {2, 1, 32, 100}}};
    static const int best[2][5] = {{1, 1, 0, 1, 5}, {0, 3, 3, 2, 0}};
    rig r;
    rig_init(&r, &line);
    r.desc.inputs = &image;
    r.desc.n_inputs = 1;
    fill(0);
    for (int item = 0; item < 2; item++)
        for (int t = 0; t < 5; t++) numbers[0][(t * 2 + item) * 6 + best[item][t]] = 1;
    for (int item = 0; item < 2; item++) {
        om_head *h;
        om_dets_clear(&r.dets);
        assert_int_equal(om_head_create(&r.desc, &r.params, &h), OM_OK);
        assert_int_equal(om_head_decode(h, &r.scratch, r.tensors, 1, item, &r.g, &r.dets), OM_OK);
        assert_int_equal(r.dets.n, 1);
        assert_string_equal(r.dets.items[0].text, item ? "\xc3\xa9"
                                                         "b"
                                                       : "aae");
        om_head_destroy(h);
    }
    rig_fini(&r);
}

static void test_parameters(void **state)
{
    rig r;
    rig_init(&r, &kinds[0]);
    r.params.mask_conf = 2;
    assert_int_equal(rig_decode(&r), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "mask-conf 2"));
    om_head_params_default(&r.params);
    r.params.unclip = NAN;
    assert_int_equal(rig_decode(&r), OM_ERR_ARG);
    om_head_params_default(&r.params);
    r.params.vector_max = -1;
    assert_int_equal(rig_decode(&r), OM_ERR_ARG);
    om_head_params_default(&r.params);
    r.params.blank = -3;
    assert_int_equal(rig_decode(&r), OM_ERR_ARG);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constants),     cmocka_unit_test(test_random),
        cmocka_unit_test(test_half),          cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_steps_first),
        cmocka_unit_test(test_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
