/* Heads at their edges. That ordinary tensors decode as each family's original does is shown by
 * tests/e2e/test_heads.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "head/candidate.h"

#define MAX_OUTPUTS 4

/* A model's description and outputs, filled by hand. */
typedef struct rig {
    om_model_desc desc;
    om_tensor_spec specs[MAX_OUTPUTS];
    om_tensor tensors[MAX_OUTPUTS];
    om_head_params params;
    om_head_scratch scratch;
    om_dets dets;
    om_geometry g;
} rig;

static void rig_fini(rig *r)
{
    om_dets_fini(&r->dets);
    om_head_scratch_fini(&r->scratch);
}

/* Of a zeroed rig, or of one that was used. */
static void rig_init(rig *r, om_family family)
{
    rig_fini(r);
    *r = (rig){.desc = {.family = family}};
    r->desc.outputs = r->specs;
    om_head_params_default(&r->params);
    om_geometry_fit(OM_FIT_LETTERBOX, 640, 480, 640, 640, &r->g);
}

static void rig_add(rig *r, const char *name, om_dtype dtype, om_shape shape, void *data)
{
    int i = r->desc.n_outputs++;
    r->specs[i] = (om_tensor_spec){name, dtype, shape};
    r->tensors[i] = (om_tensor){dtype, shape, data};
}

static int rig_decode(rig *r)
{
    om_head *h;
    om_dets_clear(&r->dets);
    int rc = om_head_create(&r->desc, &r->params, &h);
    if (rc < 0) {
        assert_null(h);
        return rc;
    }
    rc = om_head_decode(h, &r->scratch, r->tensors, r->desc.n_outputs, 0, &r->g, &r->dets);
    om_head_destroy(h);
    return rc;
}

/* Fails with OM_ERR_ARG and a message that has the word. */
static void expect_refused(rig *r, const char *word)
{
    assert_int_equal(rig_decode(r), OM_ERR_ARG);
    if (!strstr(om_error_message(), word)) fail_msg("'%s' is not in: %s", word, om_error_message());
    assert_int_equal(r->dets.n, 0);
}

static void expect_clean(const om_dets *d)
{
    for (size_t i = 0; i < d->n; i++) {
        const om_detection *o = &d->items[i];
        assert_true(isfinite(o->x) && isfinite(o->y) && isfinite(o->w) && isfinite(o->h) &&
                    isfinite(o->score));
        assert_true(o->w > 0 && o->h > 0);
        assert_true(o->x >= 0 && o->y >= 0 && o->x + o->w <= 640.01f && o->y + o->h <= 480.01f);
        for (int k = 0; k < o->n_landmarks; k++)
            assert_true(isfinite(o->landmarks[k][0]) && isfinite(o->landmarks[k][1]));
    }
}

typedef struct order_of_boxes {
    int classes;
    bool labels_needed; /* to tell the order */
} order_of_boxes;

#define ANCHORS 12
#define CLASSES 3

/* A YOLOv8 matrix of boxes in a row, none of which overlaps another; all of class i % CLASSES. */
static void fill_yolov8(float *m, float score)
{
    memset(m, 0, (4 + CLASSES) * ANCHORS * sizeof *m);
    for (int i = 0; i < ANCHORS; i++) {
        m[0 * ANCHORS + i] = 25 + 50 * (float)i;
        m[1 * ANCHORS + i] = 320;
        m[2 * ANCHORS + i] = 20;
        m[3 * ANCHORS + i] = 40;
        m[(4 + i % CLASSES) * ANCHORS + i] = score;
    }
}

static void rig_yolov8(rig *r, float *m)
{
    rig_init(r, OM_FAMILY_YOLOV8);
    rig_add(r, "output0", OM_DTYPE_F32, om_shape_make(3, (int64_t)1, (int64_t)4 + CLASSES, (int64_t)ANCHORS),
            m);
}

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
        cmocka_unit_test(test_none_and_all),    cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_classes),         cmocka_unit_test(test_agnostic),
        cmocka_unit_test(test_padding_alone),   cmocka_unit_test(test_many),
        cmocka_unit_test(test_wrong_shapes),    cmocka_unit_test(test_wrong_tensors),
        cmocka_unit_test(test_params),          cmocka_unit_test(test_yolov3),
        cmocka_unit_test(test_yolov3_metadata), cmocka_unit_test(test_yolov5_ignores_grids),
        cmocka_unit_test(test_centerface),      cmocka_unit_test(test_boxes),
        cmocka_unit_test(test_classify),        cmocka_unit_test(test_half),
        cmocka_unit_test(test_half_exact),      cmocka_unit_test(test_turned),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("head", tests, NULL, NULL);
}
