/* The GPU's heads against the host's, box for box. Exit status 77, with the reason, where there is no GPU or
 * no plug-in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <math.h>

#include "backend/backend.h"
#include "base/error.h"
#include "cuda_plugin.h"
#include "device/cuda/head.h"

#define BATCH 5

static om_device *gpu;
static struct {
    int (*create)(om_device *d, const om_cuda_head_params *p, int batch, om_cuda_head **out);
    void (*destroy)(om_cuda_head *k);
    int (*launch)(om_cuda_head *k, const void *output, int n, om_stream *s);
    int (*fetch)(const om_cuda_head *k, int n, const om_geometry *geo, om_dets *dets);
} head;

/* What one check is made of. */
typedef struct setup {
    const char *what;
    om_cuda_head_kind kind;
    om_dtype dtype;
    int anchors, classes, max_boxes;
    float conf, iou;
    double share;               /* of the anchors that are candidates */
    int levels;                 /* scores are multiples of 1/levels, so that many are equal; 0: any */
    bool agnostic, wanted, odd; /* odd: with numbers that are none, endless or far away */
} setup;

static uint32_t seed = 1;

static double uniform(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) / 16777216.0;
}

static float score_of(const setup *t, bool candidate)
{
    double v = candidate ? t->conf + (1 - t->conf) * uniform() : t->conf * uniform();
    return (float)(t->levels ? ceil(v * t->levels) / t->levels : v);
}

/* Number `i` of an anchor's, in the order of YOLOv5's rows. */
static size_t place(const setup *t, size_t item, size_t anchor, size_t i)
{
    size_t rows = t->kind == OM_CUDA_HEAD_ROWS ? 5 : 4, numbers = rows + (size_t)t->classes,
           n = (size_t)t->anchors;
    return t->kind == OM_CUDA_HEAD_ROWS ? (item * n + anchor) * numbers + i
                                        : item * numbers * n + i * n + anchor;
}

static const float odd_numbers[] = {NAN, INFINITY, -INFINITY, 3e38f, 2e9f};

static void fill(const setup *t, float *v)
{
    size_t first = t->kind == OM_CUDA_HEAD_ROWS ? 5 : 4;
    for (size_t b = 0; b < BATCH; b++)
        for (size_t a = 0; a < (size_t)t->anchors; a++) {
            bool candidate = uniform() < (b == 1 ? 0 : t->share); /* one picture is empty */
            v[place(t, b, a, 0)] = (float)(uniform() * 640);
            v[place(t, b, a, 1)] = (float)(uniform() * 384);
            v[place(t, b, a, 2)] = (float)(4 + uniform() * 120);
            v[place(t, b, a, 3)] = (float)(4 + uniform() * 120);
            if (first == 5)
                v[place(t, b, a, 4)] =
                    candidate ? (float)(0.5 + 0.5 * uniform()) : (float)uniform() * t->conf;
            for (size_t k = 0; k < (size_t)t->classes; k++)
                v[place(t, b, a, first + k)] = score_of(t, candidate && uniform() < 3.0 / t->classes);
            if (t->odd && uniform() < 0.2)
                v[place(t, b, a, (size_t)(uniform() * (double)(first + (size_t)t->classes)))] =
                    odd_numbers[(size_t)(uniform() * 5)];
        }
}

static void to_half(const float *from, uint16_t *to, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] = om_f32_to_f16(from[i]);
}

static void check_ok(int err)
{
    if (err) fail_msg("%s", om_error_message());
}

static om_head *host_head(const setup *t, om_model_desc *desc, om_tensor_spec *spec, const int *wanted,
                          int n_wanted)
{
    static char name[] = "output0";
    int64_t numbers = t->classes + (t->kind == OM_CUDA_HEAD_ROWS ? 5 : 4), anchors = t->anchors;
    bool rows = t->kind == OM_CUDA_HEAD_ROWS;
    *spec = (om_tensor_spec){
        .dtype = t->dtype,
        .shape = om_shape_make(3, (int64_t)BATCH, rows ? anchors : numbers, rows ? numbers : anchors)};
    spec->name = name;
    *desc = (om_model_desc){
        .family = rows ? OM_FAMILY_YOLOV5 : OM_FAMILY_YOLOV8, .outputs = spec, .n_outputs = 1};
    om_head_params p;
    om_head_params_default(&p);
    p.conf = t->conf;
    p.iou = t->iou;
    p.max_boxes = t->max_boxes;
    p.agnostic = t->agnostic;
    p.classes = wanted;
    p.n_classes = n_wanted;
    om_head *h;
    check_ok(om_head_create(desc, &p, &h));
    return h;
}

static void compare(const setup *t, int item, const om_dets *got, const om_dets *want)
{
    if (got->n != want->n) fail_msg("%s, item %d: %zu boxes, expected %zu", t->what, item, got->n, want->n);
    for (size_t i = 0; i < want->n; i++) {
        const om_detection *a = &got->items[i], *b = &want->items[i];
        if (a->x != b->x || a->y != b->y || a->w != b->w || a->h != b->h || a->score != b->score ||
            a->class_id != b->class_id)
            fail_msg("%s, item %d, box %zu: %g %g %g %g, %g of %d, expected %g %g %g %g, %g of %d", t->what,
                     item, i, (double)a->x, (double)a->y, (double)a->w, (double)a->h, (double)a->score,
                     a->class_id, (double)b->x, (double)b->y, (double)b->w, (double)b->h, (double)b->score,
                     b->class_id);
    }
}

static size_t run(const setup *t, om_stream *s)
{
    static const int wanted[] = {0, 2};
    size_t numbers = (size_t)t->classes + (t->kind == OM_CUDA_HEAD_ROWS ? 5 : 4);
    size_t n = BATCH * numbers * (size_t)t->anchors, bytes = n * om_dtype_size(t->dtype), boxes = 0;
    float *v = malloc(n * sizeof *v);
    uint16_t *half = malloc(n * sizeof *half);
    assert_true(v && half);
    fill(t, v);
    if (t->dtype == OM_DTYPE_F16) to_half(v, half, n);
    void *data = t->dtype == OM_DTYPE_F16 ? (void *)half : v, *device;
    om_model_desc desc;
    om_tensor_spec spec;
    om_head *h = host_head(t, &desc, &spec, t->wanted ? wanted : NULL, t->wanted ? 2 : 0);
    om_cuda_head_params p = {.kind = t->kind,
                             .dtype = t->dtype,
                             .anchors = t->anchors,
                             .classes = t->classes,
                             .conf = t->conf,
                             .iou = t->iou,
                             .max_boxes = t->max_boxes,
                             .agnostic = t->agnostic,
                             .wanted = wanted,
                             .n_wanted = t->wanted ? 2 : 0};
    om_cuda_head *k;
    om_geometry geo[BATCH];
    om_dets got[BATCH] = {0}, want[BATCH] = {0};
    om_head_scratch scratch = {0};
    for (int i = 0; i < BATCH; i++)
        om_geometry_fit(OM_FIT_LETTERBOX, 1920 - 100 * i, 1080, 640, 384, &geo[i]);
    check_ok(head.create(gpu, &p, BATCH, &k));
    check_ok(om_device_mem_alloc(gpu, bytes, &device));
    check_ok(om_device_copy(gpu, OM_COPY_TO_DEVICE, device, data, bytes, NULL));
    om_event *e;
    check_ok(om_device_event_create(gpu, &e));
    for (int round = 0; round < 2; round++) { /* used again, it forgets what was */
        check_ok(head.launch(k, device, BATCH, s));
        check_ok(om_device_event_record(gpu, e, s));
        check_ok(om_device_event_sync(gpu, e));
        for (int i = 0; i < BATCH; i++) om_dets_clear(&got[i]);
        check_ok(head.fetch(k, BATCH, geo, got));
    }
    om_tensor output = {.dtype = t->dtype, .shape = spec.shape, .data = data};
    for (int i = 0; i < BATCH; i++) {
        check_ok(om_head_decode(h, &scratch, &output, 1, i, &geo[i], &want[i]));
        compare(t, i, &got[i], &want[i]);
        boxes += want[i].n;
        om_dets_fini(&got[i]);
        om_dets_fini(&want[i]);
    }
    om_device_event_destroy(gpu, e);
    om_device_mem_free(gpu, device);
    head.destroy(k);
    om_head_scratch_fini(&scratch);
    om_head_destroy(h);
    free(half);
    free(v);
    return boxes;
}

static void boxes_are_the_hosts(void **state)
{
    static const setup setups[] = {
        {"few", 0, 0, 1890, 80, 300, 0.25f, 0.45f, 0.01, 0, false, false, false},
        {"many", 0, 0, 8400, 80, 300, 0.25f, 0.45f, 0.3, 0, false, false, false},
        {"many of one class", 0, 0, 8400, 1, 300, 0.25f, 0.7f, 0.5, 0, false, false, false},
        {"equal scores", 0, 0, 2100, 3, 300, 0.25f, 0.45f, 0.4, 8, false, false, false},
        {"agnostic", 0, 0, 2100, 8, 300, 0.25f, 0.5f, 0.3, 16, true, false, false},
        {"wanted classes", 0, 0, 2100, 8, 300, 0.25f, 0.5f, 0.3, 0, false, true, false},
        {"odd numbers", 0, 0, 2100, 8, 300, 0.25f, 0.5f, 0.3, 0, false, false, true},
        {"bounded", 0, 0, 4200, 8, 7, 0.25f, 0.45f, 0.5, 0, false, false, false},
        {"one", 0, 0, 4200, 8, 1, 0.25f, 0.45f, 0.5, 0, false, false, false},
        {"all are kept", 0, 0, 700, 4, 100000, 0.25f, 1.0f, 0.9, 0, false, false, false},
        {"nothing", 0, 0, 2100, 80, 300, 0.25f, 0.45f, 0, 0, false, false, false},
        {"no threshold", 0, 0, 12000, 2, 300, 0.0f, 0.6f, 1.0, 0, false, false, false},
        {"more than enter suppression", 0, 0, 40000, 2, 300, 0.001f, 0.6f, 1.0, 50, false, false, false},
        {"one anchor", 0, 0, 1, 1, 300, 0.25f, 0.45f, 1.0, 0, false, false, false},
    };
    om_stream *s;
    check_ok(om_device_stream_create(gpu, 0, &s));
    for (size_t i = 0; i < 4 * sizeof setups / sizeof setups[0]; i++) {
        setup t = setups[i / 4];
        t.kind = i % 2 ? OM_CUDA_HEAD_COLUMNS : OM_CUDA_HEAD_ROWS;
        t.dtype = i / 2 % 2 ? OM_DTYPE_F16 : OM_DTYPE_F32;
        size_t boxes = run(&t, i % 3 ? s : NULL);
        if (!boxes && t.share > 0 && t.anchors > 1) fail_msg("%s: nothing was compared", t.what);
    }
    om_device_stream_destroy(gpu, s);
}

static void bad_parameters_are_refused(void **state)
{
    om_cuda_head *k;
    om_cuda_head_params good = {
        .dtype = OM_DTYPE_F32, .anchors = 10, .classes = 2, .conf = 0.25f, .iou = 0.5f, .max_boxes = 10};
    om_cuda_head_params p = good;
    p.dtype = OM_DTYPE_U8;
    assert_int_equal(head.create(gpu, &p, 1, &k), OM_ERR_ARG);
    assert_null(k);
    p = good;
    p.anchors = 0;
    assert_int_equal(head.create(gpu, &p, 1, &k), OM_ERR_ARG);
    check_ok(head.create(gpu, &good, 2, &k));
    assert_int_equal(head.launch(k, NULL, 3, NULL), OM_ERR_ARG);
    head.destroy(k);
    head.destroy(NULL);
}

int main(void)
{
    int skip = open_cuda(&gpu);
    if (skip) return skip;
    cuda_symbol("om_cuda_head_create", &head.create);
    cuda_symbol("om_cuda_head_destroy", &head.destroy);
    cuda_symbol("om_cuda_head_launch", &head.launch);
    cuda_symbol("om_cuda_head_fetch", &head.fetch);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_are_the_hosts),
        cmocka_unit_test(bad_parameters_are_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    om_device_close(gpu);
    return failed ? 1 : 0;
}
