/* Outputs in 16-bit floats and in the other memory order: the same boxes. */
#include "head_rig.h"

typedef struct order_of_boxes {
    int classes;
    bool labels_needed; /* to tell the order */
} order_of_boxes;

static void test_half(void **state)
{
    float m[(4 + CLASSES) * ANCHORS];
    uint16_t half[(4 + CLASSES) * ANCHORS];
    rig r = {0};
    fill_yolov8(m, 0.875f);
    for (size_t i = 0; i < sizeof m / sizeof *m; i++) half[i] = om_f32_to_f16(m[i]);
    rig_yolov8(&r, m);
    r.specs[0].dtype = r.tensors[0].dtype = OM_DTYPE_F16;
    r.tensors[0].data = half;
    assert_int_equal(rig_decode(&r), 0);
    assert_int_equal(r.dets.n, ANCHORS);
    assert_float_equal(r.dets.items[2].x, 115, 1e-4);
    assert_float_equal(r.dets.items[2].score, 0.875f, 0);
    rig_fini(&r);
}

/* All of f16's numbers, as the scalar conversion has them. */
static void test_half_exact(void **state)
{
    enum { ALL = 65536 };
    uint16_t *half = om_alloc(ALL * sizeof *half);
    assert_non_null(half);
    for (int i = 0; i < ALL; i++) half[i] = (uint16_t)i;
    om_tensor t = {OM_DTYPE_F16, om_shape_make(3, (int64_t)2, (int64_t)4, (int64_t)ALL / 8), half};
    for (int item = 0; item < 2; item++) {
        uint8_t *mem = om_alloc(om_floats_size(&t)), *at = mem;
        assert_non_null(mem);
        const float *f = om_floats(&t, item, &at);
        for (int i = 0; i < ALL / 2; i++) {
            float want = om_f16_to_f32((uint16_t)(item * ALL / 2 + i));
            assert_true(f[i] == want || (isnan(f[i]) && isnan(want)));
            assert_int_equal(signbit(f[i]) != 0, signbit(want) != 0);
        }
        om_free(mem);
    }
    om_free(half);
}

static void expect_same(const om_dets *a, const om_dets *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        assert_memory_equal(&a->items[i].x, &b->items[i].x, 4 * sizeof(float));
        assert_float_equal(a->items[i].score, b->items[i].score, 0);
        assert_int_equal(a->items[i].class_id, b->items[i].class_id);
    }
}

/* A matrix of boxes in the other memory order, in both types: the same boxes, number for number. */
static void check_turned(om_family family, int rows, int columns, const float *m, order_of_boxes order)
{
    float *turned = om_alloc((size_t)(rows * columns) * sizeof *turned);
    uint16_t *half = om_alloc((size_t)(rows * columns) * sizeof *half);
    rig a = {0}, b = {0};
    assert_true(turned && half);
    for (int i = 0; i < rows; i++)
        for (int k = 0; k < columns; k++) {
            float v = om_f16_to_f32(om_f32_to_f16(m[i * columns + k])); /* so that f16 loses nothing */
            turned[k * rows + i] = v;
            half[k * rows + i] = om_f32_to_f16(v);
        }
    for (int pass = 0; pass < 4; pass++) {
        rig_init(&b, family);
        b.desc.n_labels = pass % 2 || order.labels_needed ? order.classes : 0;
        void *data = pass < 2 ? (void *)turned : half;
        rig_add(&b, "out", pass < 2 ? OM_DTYPE_F32 : OM_DTYPE_F16,
                om_shape_make(3, (int64_t)1, (int64_t)columns, (int64_t)rows), data);
        assert_int_equal(rig_decode(&b), 0);
        if (pass == 0) { /* the usual order, of the same rounded numbers */
            float *plain = om_alloc((size_t)(rows * columns) * sizeof *plain);
            assert_non_null(plain);
            for (int i = 0; i < rows * columns; i++) plain[i] = om_f16_to_f32(om_f32_to_f16(m[i]));
            rig_init(&a, family);
            rig_add(&a, "out", OM_DTYPE_F32, om_shape_make(3, (int64_t)1, (int64_t)rows, (int64_t)columns),
                    plain);
            assert_int_equal(rig_decode(&a), 0);
            assert_true(a.dets.n > 2);
            om_free(plain);
        }
        expect_same(&a.dets, &b.dets);
    }
    om_free(turned);
    om_free(half);
    rig_fini(&a);
    rig_fini(&b);
}

static void test_turned(void **state)
{
    enum { BOXES = 50 };
    float v8[(4 + CLASSES) * BOXES], v5[BOXES * (5 + CLASSES)];
    for (int i = 0; i < BOXES; i++) {
        const float box[4] = {20 + 12 * (float)i, 300, 30, 40};
        for (int k = 0; k < 4; k++) v8[k * BOXES + i] = v5[i * (5 + CLASSES) + k] = box[k];
        v5[i * (5 + CLASSES) + 4] = i % 3 ? 0.9f : 0.1f;
        for (int k = 0; k < CLASSES; k++)
            v8[(4 + k) * BOXES + i] = v5[i * (5 + CLASSES) + 5 + k] = (float)((i * 7 + k * 5) % 11) / 11;
    }
    v8[4 * BOXES + 9] = v5[9 * (5 + CLASSES) + 5] = NAN;
    v8[5 * BOXES + 11] = v5[11 * (5 + CLASSES) + 6] = INFINITY;
    check_turned(OM_FAMILY_YOLOV8, 4 + CLASSES, BOXES, v8, (order_of_boxes){CLASSES, false});
    check_turned(OM_FAMILY_YOLOV5, BOXES, 5 + CLASSES, v5, (order_of_boxes){CLASSES, true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half),
        cmocka_unit_test(test_half_exact),
        cmocka_unit_test(test_turned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
