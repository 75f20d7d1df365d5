/* Heads at their edges: what holds for all families. That ordinary tensors decode as each family's original
 * does is shown by tests/e2e/test_heads.py. */
#include "head_rig.h"

static void test_none_and_all(void **state)
{
    float m[(4 + CLASSES) * ANCHORS];
    rig r = {0};
    fill_yolov8(m, 0.25f); /* not above the threshold */
    rig_yolov8(&r, m);
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 0);

    fill_yolov8(m, 0.9f);
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, ANCHORS);
    expect_clean(&r.dets);
    const om_detection *d = &r.dets.items[1];
    assert_float_equal(d->x, 65, 1e-4);
    assert_float_equal(d->y, 220, 1e-4); /* 80 rows of padding above */
    assert_float_equal(d->w, 20, 1e-4);
    assert_float_equal(d->h, 40, 1e-4);
    assert_int_equal(d->class_id, 1);
    assert_int_equal(d->track, -1);

    r.params.max_boxes = 5;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 5);
    rig_fini(&r);
}

static void test_not_finite(void **state)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f};
    float m[(4 + CLASSES) * ANCHORS];
    rig r = {0};
    rig_yolov8(&r, m);
    for (int row = 0; row < 4 + CLASSES; row++)
        for (size_t k = 0; k < sizeof odd / sizeof *odd; k++) {
            fill_yolov8(m, 0.9f);
            m[row * ANCHORS + 4] = odd[k];
            assert_int_equal(rig_decode(&r), 0);
            assert_true(r.dets.n >= ANCHORS - 1);
            expect_clean(&r.dets);
        }
    for (size_t i = 0; i < sizeof m / sizeof *m; i++) m[i] = NAN;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 0);
    rig_fini(&r);
}

static void test_classes(void **state)
{
    float m[(4 + CLASSES) * ANCHORS];
    int wanted[] = {2, 0};
    rig r = {0};
    fill_yolov8(m, 0.9f);
    rig_yolov8(&r, m);
    r.params.classes = wanted;
    r.params.n_classes = 2;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, ANCHORS * 2 / 3);
    for (size_t i = 0; i < r.dets.n; i++) assert_int_not_equal(r.dets.items[i].class_id, 1);
    wanted[1] = CLASSES;
    expect_refused(&r, "classes are 0 to 2");
    wanted[1] = -1;
    expect_refused(&r, "class -1");
    rig_fini(&r);
}

static void test_agnostic(void **state)
{
    float m[(4 + CLASSES) * ANCHORS];
    rig r = {0};
    fill_yolov8(m, 0.9f);
    for (int i = 0; i < ANCHORS; i++) m[i] = 100; /* all at one place: a class each remains, or one */
    rig_yolov8(&r, m);
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, CLASSES);
    r.params.agnostic = true;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 1);
    r.params.iou = 1; /* nothing overlaps by more */
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, ANCHORS);
    rig_fini(&r);
}

static void test_padding_alone(void **state)
{
    float m[(4 + CLASSES) * ANCHORS];
    rig r = {0};
    fill_yolov8(m, 0.9f);
    for (int i = 0; i < ANCHORS; i++) m[ANCHORS + i] = 30; /* all above the picture */
    rig_yolov8(&r, m);
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 0);
    rig_fini(&r);
}

/* More candidates than enter suppression: the best stay. */
static void test_many(void **state)
{
    enum { MANY = 40000 };
    float *m = om_calloc(5 * MANY, sizeof *m);
    rig r = {0};
    assert_non_null(m);
    for (int i = 0; i < MANY; i++) {
        m[0 * MANY + i] = 1 + 2 * (float)(i % 319);
        m[1 * MANY + i] = 100 + 3 * (float)(i / 319);
        m[2 * MANY + i] = m[3 * MANY + i] = 1;
        m[4 * MANY + i] = 0.3f + 0.6f * (float)((i * 7919) % MANY) / MANY;
    }
    rig_init(&r, OM_FAMILY_YOLOV8);
    rig_add(&r, "output0", OM_DTYPE_F32, om_shape_make(3, (int64_t)1, (int64_t)5, (int64_t)MANY), m);
    r.params.max_boxes = MANY;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 30000);
    for (size_t i = 0; i < r.dets.n; i++) {
        assert_float_equal(r.dets.items[i].score, 0.3f + 0.6f * (float)(MANY - 1 - i) / MANY, 1e-6);
    }
    for (int i = 0; i < MANY; i++) m[4 * MANY + i] = 0.5f; /* of equal ones the first */
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 30000);
    for (size_t i = 0; i < r.dets.n; i++)
        assert_float_equal(r.dets.items[i].x, 0.5f + 2 * (float)(i % 319), 1e-3);
    om_free(m);
    rig_fini(&r);
}

static void test_wrong_shapes(void **state)
{
    float m[64] = {0};
    rig r = {0};
    rig_init(&r, OM_FAMILY_YOLOV8);
    rig_add(&r, "out", OM_DTYPE_F32, om_shape_make(2, (int64_t)1, (int64_t)64), m);
    expect_refused(&r, "expected one output [N, 4+classes, anchors]; the model has out 1x64 f32");
    rig_init(&r, OM_FAMILY_YOLOV5);
    rig_add(&r, "out", OM_DTYPE_F32, om_shape_make(3, (int64_t)1, (int64_t)16, (int64_t)4), m);
    expect_refused(&r, "[N, anchors, 5+classes]");
    rig_init(&r, OM_FAMILY_CENTERFACE);
    rig_add(&r, "out", OM_DTYPE_F32, om_shape_make(4, (int64_t)1, (int64_t)1, (int64_t)2, (int64_t)2), m);
    expect_refused(&r, "four outputs");
    rig_init(&r, OM_FAMILY_BOXES);
    rig_add(&r, "boxes", OM_DTYPE_F32, om_shape_make(2, (int64_t)1, (int64_t)4), m);
    expect_refused(&r, "labels [n] of whole numbers");
    rig_init(&r, OM_FAMILY_CLASSIFY);
    rig_add(&r, "out", OM_DTYPE_F32, om_shape_make(4, (int64_t)1, (int64_t)2, (int64_t)4, (int64_t)4), m);
    expect_refused(&r, "[N, classes]");
    rig_init(&r, OM_FAMILY_UNKNOWN);
    r.desc.family_why = "it is near nothing";
    rig_add(&r, "out", OM_DTYPE_F32, om_shape_make(1, (int64_t)64), m);
    expect_refused(&r, "embedding, raw) (it is near nothing); the model has out");
    rig_fini(&r);
}

/* What the description left open is checked at each decode. */
static void test_wrong_tensors(void **state)
{
    float m[(4 + CLASSES) * ANCHORS];
    rig r = {0};
    fill_yolov8(m, 0.9f);
    rig_yolov8(&r, m);
    r.tensors[0].dtype = OM_DTYPE_I32;
    expect_refused(&r, "output output0 is i32; f32 or f16 was expected");
    rig_yolov8(&r, m);
    r.tensors[0].shape.rank = 2;
    expect_refused(&r, "3 dimensions were expected");
    rig_yolov8(&r, m);
    r.tensors[0].shape.dim[0] = 0;
    expect_refused(&r, "no item 0");
    rig_yolov8(&r, m);
    r.tensors[0].data = NULL;
    expect_refused(&r, "has no data");
    rig_yolov8(&r, m);
    r.tensors[0].shape.dim[1] = 4;
    expect_refused(&r, "more than 4 rows");
    rig_yolov8(&r, m);
    r.tensors[0].shape.dim[2] = 0; /* no anchors is no error */
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 0);
    r.g.dst_w = 0;
    expect_refused(&r, "empty input picture");
    rig_fini(&r);
}

static void test_params(void **state)
{
    float m[(4 + CLASSES) * ANCHORS];
    rig r = {0};
    fill_yolov8(m, 0.9f);
    rig_yolov8(&r, m);
    r.params.conf = 1.5f;
    expect_refused(&r, "conf 1.5");
    rig_yolov8(&r, m);
    r.params.iou = NAN;
    expect_refused(&r, "iou nan");
    rig_yolov8(&r, m);
    r.params.max_boxes = 0;
    expect_refused(&r, "max-boxes 0");
    rig_yolov8(&r, m);
    r.params.top_k = 0;
    expect_refused(&r, "top-k 0");
    rig_yolov8(&r, m);
    om_head *h;
    assert_int_equal(om_head_create(&r.desc, NULL, &h), 0);
    assert_float_equal(h->params.conf, 0.25, 1e-6);
    assert_float_equal(h->params.iou, 0.7, 1e-6);
    om_head_destroy(h);
    om_head_destroy(NULL);
    rig_fini(&r);
}

/* Every allocation of a head's life may fail: an error, never a crash or a half-filled list. */
static void test_out_of_memory(void **state)
{
    float m[(4 + CLASSES) * ANCHORS];
    int wanted[] = {0, 1};
    fill_yolov8(m, 0.9f);
    for (long n = 0; n < 64; n++) {
        rig r = {0};
        rig_yolov8(&r, m);
        r.params.classes = wanted;
        r.params.n_classes = 2;
        om_mem_fail_after(n);
        int rc = rig_decode(&r);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_int_equal(rc, met ? OM_ERR_NOMEM : 0);
        assert_int_equal(r.dets.n, met ? 0 : 8);
        rig_fini(&r);
        if (!met) return;
    }
    fail_msg("allocations without end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_and_all),  cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_classes),       cmocka_unit_test(test_agnostic),
        cmocka_unit_test(test_padding_alone), cmocka_unit_test(test_many),
        cmocka_unit_test(test_wrong_shapes),  cmocka_unit_test(test_wrong_tensors),
        cmocka_unit_test(test_params),        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
