/* The first families at their own edges: metadata, shapes, numbers that are none. */
#include "head_rig.h"

static const char *const darknet_good[][2] = {{"omma.classes", "2"},
                                              {"omma.anchors", "10,14, 23,27;10,14,23,27"},
                                              {"omma.masks", "1;0"},
                                              {"omma.scale_x_y", "1;1.5"}};

/* Two grids of 2x2 and 4x4 cells, one anchor each, two classes. */
static void rig_yolov3(rig *r, om_meta metas[4], float *coarse, float *fine)
{
    rig_init(r, OM_FAMILY_YOLOV3);
    rig_add(r, "a", OM_DTYPE_F32, om_shape_make(4, (int64_t)1, (int64_t)7, (int64_t)2, (int64_t)2), coarse);
    rig_add(r, "b", OM_DTYPE_F32, om_shape_make(4, (int64_t)1, (int64_t)7, (int64_t)4, (int64_t)4), fine);
    for (int i = 0; i < 4; i++) metas[i] = (om_meta){(char *)darknet_good[i][0], (char *)darknet_good[i][1]};
    r->desc.metas = metas;
    r->desc.n_metas = 4;
}

static void test_yolov3(void **state)
{
    float coarse[7 * 4], fine[7 * 16];
    om_meta metas[4];
    rig r = {0};
    for (size_t i = 0; i < sizeof coarse / sizeof *coarse; i++) coarse[i] = -20;
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) fine[i] = -20;
    rig_yolov3(&r, metas, coarse, fine);
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 0);

    int cell = 2 * 4 + 1;                            /* row 2, column 1 */
    fine[0 * 16 + cell] = fine[1 * 16 + cell] = 100; /* the far corner, stretched by scale_x_y */
    fine[2 * 16 + cell] = fine[3 * 16 + cell] = 0;
    fine[4 * 16 + cell] = fine[6 * 16 + cell] = 100;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 1);
    const om_detection *d = &r.dets.items[0];
    assert_int_equal(d->class_id, 1);
    assert_float_equal(d->w, 10, 1e-3);
    assert_float_equal(d->h, 14, 1e-3);
    assert_float_equal(d->x + d->w / 2, (1 + 1.5 - 0.25) * 160, 1e-2);
    assert_float_equal(d->y + d->h / 2, (2 + 1.5 - 0.25) * 160 - 80, 1e-2);

    fine[2 * 16 + cell] = 1000; /* a width beyond all numbers */
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 0);
    r.params.conf = 1;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 0);
    rig_fini(&r);
}

static void test_yolov3_metadata(void **state)
{
    static const struct {
        int index;
        const char *value, *word;
    } bad[] = {
        {0, "zero", "omma.classes is 'zero'; expected the number"},
        {0, "3", "[N, 1*(5+3) = 8, rows, columns]"},
        {0, "2;2", "omma.classes"},
        {1, "10,14,23", "omma.anchors"},
        {1, "10,14,23,27", "omma.anchors"},
        {1, "10,,23,27;1,2", "omma.anchors"},
        {1, "10,14,23,27;10,14,23,27;1,2", "omma.anchors"},
        {2, "1;2", "omma.masks"},
        {2, "1", "omma.masks"},
        {2, "1;-1", "omma.masks"},
        {2, "0,1;0", "[N, 2*(5+2) = 14, rows, columns]"},
        {3, "1;2;3", "omma.scale_x_y"},
        {3, "1,2;3", "omma.scale_x_y"},
    };
    float m[7 * 16] = {0};
    om_meta metas[4];
    rig r = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rig_yolov3(&r, metas, m, m);
        metas[bad[i].index].value = (char *)bad[i].value;
        expect_refused(&r, bad[i].word);
    }
    rig_yolov3(&r, metas, m, m);
    r.desc.n_metas = 2;
    expect_refused(&r, "no metadata omma.masks");
    rig_yolov3(&r, metas, m, m);
    r.desc.n_metas = 3; /* the stretch may be absent */
    assert_int_equal(rig_decode(&r), 0);
    rig_fini(&r);
}

static void test_yolov5_ignores_grids(void **state)
{
    float raw[6] = {0}, m[2 * 7] = {320, 320, 10, 20, 0.8f, 0.1f, 0.9f, 320, 100, 10, 20, NAN, 0.1f, 0.9f};
    rig r = {0};
    rig_init(&r, OM_FAMILY_YOLOV5);
    rig_add(&r, "raw", OM_DTYPE_F32,
            om_shape_make(5, (int64_t)1, (int64_t)1, (int64_t)1, (int64_t)1, (int64_t)6), raw);
    rig_add(&r, "output", OM_DTYPE_F32, om_shape_make(3, (int64_t)1, (int64_t)2, (int64_t)7), m);
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 1);
    assert_int_equal(r.dets.items[0].class_id, 1);
    assert_float_equal(r.dets.items[0].score, 0.8f * 0.9f, 1e-6);
    rig_fini(&r);
}

static void test_centerface(void **state)
{
    float heat[4] = {0, 0.9f, 0, 0}, size[8] = {0}, offset[8] = {0}, marks[40] = {0};
    rig r = {0};
    rig_init(&r, OM_FAMILY_CENTERFACE);
    om_geometry_fit(OM_FIT_STRETCH, 16, 16, 8, 8, &r.g);
    rig_add(&r, "h", OM_DTYPE_F32, om_shape_make(4, (int64_t)1, (int64_t)1, (int64_t)2, (int64_t)2), heat);
    rig_add(&r, "s", OM_DTYPE_F32, om_shape_make(4, (int64_t)1, (int64_t)2, (int64_t)2, (int64_t)2), size);
    rig_add(&r, "o", OM_DTYPE_F32, om_shape_make(4, (int64_t)1, (int64_t)2, (int64_t)2, (int64_t)2), offset);
    rig_add(&r, "l", OM_DTYPE_F32, om_shape_make(4, (int64_t)1, (int64_t)10, (int64_t)2, (int64_t)2), marks);
    marks[4 * 1 + 1] = 0.5f; /* the first landmark's x */
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 1);
    assert_float_equal(r.dets.items[0].x, 8, 1e-4);
    assert_float_equal(r.dets.items[0].w, 8, 1e-4);
    assert_int_equal(r.dets.items[0].n_landmarks, 5);
    assert_float_equal(r.dets.items[0].landmarks[0][0], 12, 1e-4);
    assert_float_equal(r.dets.items[0].landmarks[0][1], 0, 1e-4);

    marks[4 * 6 + 1] = NAN;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 1);
    assert_int_equal(r.dets.items[0].n_landmarks, 0);
    assert_float_equal(r.dets.items[0].landmarks[0][0], 0, 0);
    size[1] = NAN;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 0);
    size[1] = INFINITY;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 0);

    r.tensors[3].shape.dim[3] = 1;
    expect_refused(&r, "output l is 1x10x2x1; 10 channels on the grid of 1x1x2x2 were expected");
    rig_fini(&r);
}

static void test_boxes(void **state)
{
    float box[] = {10, 100, 30, 150, 12, 102, 31, 151, NAN, 0, 1, 1};
    int64_t label[] = {1, 90, 3};
    float score[] = {0.5f, 0.9f, 0.9f};
    rig r = {0};
    /* No telling names: shapes and types decide, in any order. */
    rig_init(&r, OM_FAMILY_BOXES);
    rig_add(&r, "2", OM_DTYPE_F32, om_shape_make(1, (int64_t)3), score);
    rig_add(&r, "7", OM_DTYPE_I64, om_shape_make(1, (int64_t)3), label);
    rig_add(&r, "1", OM_DTYPE_F32, om_shape_make(2, (int64_t)3, (int64_t)4), box);
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 2); /* the model suppressed already: overlapping ones stay */
    assert_int_equal(r.dets.items[0].class_id, 90);
    assert_int_equal(r.dets.items[1].class_id, 1);
    assert_float_equal(r.dets.items[1].y, 20, 1e-4);
    r.tensors[0].shape.dim[0] = 2;
    expect_refused(&r, "3 boxes, 3 labels and 2 scores");

    /* With a batch, named, labels as floats. */
    float names[] = {4, NAN, 5};
    rig_init(&r, OM_FAMILY_BOXES);
    rig_add(&r, "pred_Labels", OM_DTYPE_F32, om_shape_make(2, (int64_t)1, (int64_t)3), names);
    rig_add(&r, "pred_Scores", OM_DTYPE_F32, om_shape_make(2, (int64_t)1, (int64_t)3), score);
    rig_add(&r, "pred_Boxes", OM_DTYPE_F32, om_shape_make(3, (int64_t)1, (int64_t)3, (int64_t)4), box);
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 1);
    assert_int_equal(r.dets.items[0].class_id, 4);

    om_head *h;
    assert_int_equal(om_head_create(&r.desc, &r.params, &h), 0);
    assert_int_equal(om_head_decode(h, &r.scratch, r.tensors, 3, 1, &r.g, &r.dets), OM_ERR_ARG);
    assert_int_equal(om_head_decode(h, &r.scratch, r.tensors, 2, 0, &r.g, &r.dets), OM_ERR_ARG);
    assert_int_equal(r.dets.n, 1);
    om_head_destroy(h);
    rig_fini(&r);
}

static void test_classify(void **state)
{
    float v[] = {1, 3, 2, NAN, 3};
    rig r = {0};
    rig_init(&r, OM_FAMILY_CLASSIFY);
    rig_add(&r, "out", OM_DTYPE_F32, om_shape_make(2, (int64_t)1, (int64_t)5), v);
    r.params.top_k = 99;
    assert_int_equal(rig_decode(&r), 0);
    static const int order[] = {1, 4, 2, 0, 3};
    double sum = 0;
    assert_int_equal(r.dets.n, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(r.dets.items[i].class_id, order[i]);
        assert_float_equal(r.dets.items[i].w, 640, 0);
        assert_float_equal(r.dets.items[i].h, 480, 0);
        sum += (double)r.dets.items[i].score;
    }
    assert_float_equal(sum, 1, 1e-5);
    r.params.top_k = 2;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 2);
    r.params.top_k = 5;
    r.params.conf = 0.2f;
    int wanted[] = {4};
    r.params.classes = wanted;
    r.params.n_classes = 1;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 1);
    assert_int_equal(r.dets.items[0].class_id, 4);
    r.params.n_classes = 0;

    static const float done[] = {0.1f, 0.2f, 0.3f, 0.4f, 0};
    memcpy(v, done, sizeof v);
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 2);
    assert_float_equal(r.dets.items[0].score, 0.4f, 1e-7);
    for (int i = 0; i < 5; i++) v[i] = NAN;
    r.params.conf = 0.01f;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, 0);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yolov3),
        cmocka_unit_test(test_yolov3_metadata),
        cmocka_unit_test(test_yolov5_ignores_grids),
        cmocka_unit_test(test_centerface),
        cmocka_unit_test(test_boxes),
        cmocka_unit_test(test_classify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
