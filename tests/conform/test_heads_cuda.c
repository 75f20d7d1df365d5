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
    int (*launch)(om_cuda_head *k, const void *const *outputs, int n, om_stream *s);
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
        check_ok(head.launch(k, (const void *[]){device}, BATCH, s));
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

/* ---- heads with several outputs, and with landmarks ---- */

#define MOST_OUTPUTS 4
#define SIDE_W 320
#define SIDE_H 256

/* A family at one size: its outputs' shapes behind the batch, and how far the GPU's numbers may be off. */
typedef struct family_case {
    const char *what;
    om_family family;
    om_cuda_head_kind kind;
    int n;
    int64_t dim[MOST_OUTPUTS][3]; /* 0: not there */
    float shift, spread;          /* of the raw numbers */
    bool probabilities;           /* scores between 0 and 1 */
    const char *metas[4][2];
} family_case;

static const family_case family_cases[] = {
    {"yolov5-face", OM_FAMILY_YOLOV5_FACE, OM_CUDA_HEAD_FACES, 1, {{5040, 17}}, 0.4f, 0.6f, false, {{0}}},
    {"yolov3",
     OM_FAMILY_YOLOV3,
     OM_CUDA_HEAD_GRIDS,
     2,
     {{3 * 12, 8, 10}, {2 * 12, 16, 20}},
     0,
     2.5f,
     false,
     {{"omma.classes", "7"},
      {"omma.anchors", "10,14,23,27,37,58;10,14,23,27,37,58"},
      {"omma.masks", "0,1,2;0,2"},
      {"omma.scale_x_y", "1;1.05"}}},
    {"centerface",
     OM_FAMILY_CENTERFACE,
     OM_CUDA_HEAD_CENTERS,
     4,
     {{1, 64, 80}, {2, 64, 80}, {2, 64, 80}, {10, 64, 80}},
     0.3f,
     0.8f,
     false,
     {{0}}},
    {"retinaface",
     OM_FAMILY_RETINAFACE,
     OM_CUDA_HEAD_PRIORS,
     3,
     {{3360, 4}, {3360, 2}, {3360, 10}},
     0,
     1.5f,
     false,
     {{0}}},
    {"plates, probabilities",
     OM_FAMILY_RETINAFACE,
     OM_CUDA_HEAD_PRIORS,
     3,
     {{3360, 4}, {3360, 2}, {3360, 8}},
     0.5f,
     0.5f,
     true,
     {{0}}},
};

static size_t numbers_of(const family_case *f, int i)
{
    size_t n = 1;
    for (int k = 0; k < 3; k++) n *= f->dim[i][k] ? (size_t)f->dim[i][k] : 1;
    return n;
}

/* What tells boxes apart by position is spread over the picture; the rest is noise around `shift`. */
static void fill_family(const family_case *f, int i, float *v)
{
    size_t each = numbers_of(f, i), columns = (size_t)f->dim[i][1];
    for (size_t k = 0; k < BATCH * each; k++) {
        double x = f->shift + f->spread * (2 * uniform() - 1);
        size_t column = k % columns;
        if (f->kind == OM_CUDA_HEAD_FACES && column < 4)
            x = column < 2 ? uniform() * 256 : 8 + uniform() * 60;
        if (f->kind == OM_CUDA_HEAD_PRIORS && f->probabilities && columns == 2) x = uniform();
        if (f->kind == OM_CUDA_HEAD_CENTERS && i == 1) x = 0.5 + uniform() * 2;
        if (uniform() < 0.0005) x = NAN;
        v[k] = (float)x;
    }
}

static om_head *family_head(const family_case *f, om_model_desc *desc, om_tensor_spec *spec, om_meta *metas)
{
    static char names[MOST_OUTPUTS][8] = {"a", "b", "c", "d"};
    *desc = (om_model_desc){.family = f->family, .outputs = spec, .n_outputs = f->n, .metas = metas};
    for (int i = 0; i < f->n; i++) {
        bool flat = !f->dim[i][2];
        spec[i] = (om_tensor_spec){.name = names[i], .dtype = OM_DTYPE_F32};
        spec[i].shape = flat ? om_shape_make(3, (int64_t)BATCH, f->dim[i][0], f->dim[i][1])
                             : om_shape_make(4, (int64_t)BATCH, f->dim[i][0], f->dim[i][1], f->dim[i][2]);
    }
    for (int i = 0; i < 4 && f->metas[i][0]; i++)
        metas[desc->n_metas++] =
            (om_meta){(char *)(uintptr_t)f->metas[i][0], (char *)(uintptr_t)f->metas[i][1]};
    om_head_params p;
    om_head_params_default(&p);
    om_head *h;
    check_ok(om_head_create(desc, &p, &h));
    return h;
}

/* As the backend describes it to the GPU. */
static void family_params(const family_case *f, const om_head *h, om_cuda_head_params *p)
{
    om_head_grids g;
    assert_true(h->ops->grids(h, &g));
    *p = (om_cuda_head_params){.kind = f->kind,
                               .dtype = OM_DTYPE_F32,
                               .anchors = (int)f->dim[0][0],
                               .classes = f->kind == OM_CUDA_HEAD_FACES   ? (int)f->dim[0][1] - 15
                                          : f->kind == OM_CUDA_HEAD_GRIDS ? 7
                                                                          : 1,
                               .n_grids = g.n,
                               .width = SIDE_W,
                               .height = SIDE_H,
                               .points = g.points,
                               .conf = h->params.conf,
                               .iou = h->params.iou,
                               .max_boxes = h->params.max_boxes,
                               .agnostic = h->params.agnostic};
    for (int i = 0; i < g.n; i++) {
        bool priors = f->kind == OM_CUDA_HEAD_PRIORS;
        p->grid[i] = (om_cuda_head_grid){.rows = priors ? SIDE_H / (8 << i) : (int)f->dim[i][1],
                                         .columns = priors ? SIDE_W / (8 << i) : (int)f->dim[i][2],
                                         .anchors = g.anchors[i],
                                         .scale_xy = g.scale_xy[i]};
        memcpy(p->grid[i].size, g.anchor[i], sizeof p->grid[i].size);
    }
    if (f->kind == OM_CUDA_HEAD_CENTERS)
        p->grid[0] = (om_cuda_head_grid){(int)f->dim[0][1], (int)f->dim[0][2], 1, {{0}}, 0};
}

/* Within the bound of head.h; `exact`: none. */
static bool near(float a, float b, float bound, bool exact)
{
    return exact ? a == b : fabsf(a - b) <= bound + 1e-6f * fabsf(b);
}

static bool same(const om_detection *a, const om_detection *b, bool exact)
{
    bool ok = near(a->x, b->x, 2e-2f, exact) && near(a->y, b->y, 2e-2f, exact) &&
              near(a->w, b->w, 2e-2f, exact) && near(a->h, b->h, 2e-2f, exact) &&
              near(a->score, b->score, 1e-5f, exact) && a->class_id == b->class_id &&
              a->n_landmarks == b->n_landmarks && a->has_quad == b->has_quad;
    for (int i = 0; i < b->n_landmarks && ok; i++)
        ok = near(a->landmarks[i][0], b->landmarks[i][0], 2e-2f, exact) &&
             near(a->landmarks[i][1], b->landmarks[i][1], 2e-2f, exact);
    return ok;
}

/* Boxes of nearly one score may change places, and one at a threshold's edge may be there or not. */
static void compare_family(const family_case *f, int item, const om_dets *got, const om_dets *want,
                           size_t *off)
{
    bool exact = f->kind == OM_CUDA_HEAD_FACES;
    for (size_t i = 0; i < want->n; i++) {
        bool met = false;
        for (size_t k = exact ? i : 0; k < got->n && !met && (!exact || k == i); k++)
            met = same(&got->items[k], &want->items[i], exact);
        *off += !met;
        if (!met && exact)
            fail_msg("%s, item %d, box %zu: %g %g %g %g, %g differs", f->what, item, i,
                     (double)want->items[i].x, (double)want->items[i].y, (double)want->items[i].w,
                     (double)want->items[i].h, (double)want->items[i].score);
    }
    *off += got->n > want->n ? got->n - want->n : 0;
}

static void run_family(const family_case *f)
{
    om_model_desc desc;
    om_tensor_spec spec[MOST_OUTPUTS];
    om_meta metas[4];
    om_head *h = family_head(f, &desc, spec, metas);
    om_cuda_head_params p;
    om_cuda_head *k;
    om_tensor outputs[MOST_OUTPUTS];
    void *device[MOST_OUTPUTS] = {NULL};
    om_geometry geo[BATCH];
    om_dets got[BATCH] = {0}, want[BATCH] = {0};
    om_head_scratch scratch = {0};
    size_t boxes = 0, off = 0, points = 0;
    family_params(f, h, &p);
    for (int i = 0; i < f->n; i++) {
        size_t n = BATCH * numbers_of(f, i);
        outputs[i] =
            (om_tensor){.dtype = OM_DTYPE_F32, .shape = spec[i].shape, .data = malloc(n * sizeof(float))};
        assert_non_null(outputs[i].data);
        fill_family(f, i, outputs[i].data);
        check_ok(om_device_mem_alloc(gpu, n * sizeof(float), &device[i]));
        check_ok(om_device_copy(gpu, OM_COPY_TO_DEVICE, device[i], outputs[i].data, n * sizeof(float), NULL));
    }
    for (int i = 0; i < BATCH; i++)
        om_geometry_fit(OM_FIT_LETTERBOX, 1920 - 100 * i, 1080, SIDE_W, SIDE_H, &geo[i]);
    check_ok(head.create(gpu, &p, BATCH, &k));
    check_ok(head.launch(k, (const void *const *)device, BATCH, NULL));
    check_ok(head.fetch(k, BATCH, geo, got));
    for (int i = 0; i < BATCH; i++) {
        check_ok(om_head_decode(h, &scratch, outputs, f->n, i, &geo[i], &want[i]));
        compare_family(f, i, &got[i], &want[i], &off);
        boxes += want[i].n;
        for (size_t j = 0; j < want[i].n; j++) points += (size_t)want[i].items[j].n_landmarks;
        om_dets_fini(&got[i]);
        om_dets_fini(&want[i]);
    }
    printf("%s: %zu boxes, %zu points, %zu off\n", f->what, boxes, points, off);
    if (boxes < 50) fail_msg("%s: only %zu boxes were compared", f->what, boxes);
    if ((f->kind != OM_CUDA_HEAD_GRIDS) != (points > 0)) fail_msg("%s: %zu points", f->what, points);
    if (off * 200 > boxes) fail_msg("%s: %zu of %zu boxes differ", f->what, off, boxes);
    head.destroy(k);
    for (int i = 0; i < f->n; i++) {
        om_device_mem_free(gpu, device[i]);
        free(outputs[i].data);
    }
    om_head_scratch_fini(&scratch);
    om_head_destroy(h);
}

static void families_are_the_hosts(void **state)
{
    for (size_t i = 0; i < sizeof family_cases / sizeof family_cases[0]; i++) run_family(&family_cases[i]);
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
        cmocka_unit_test(families_are_the_hosts),
        cmocka_unit_test(bad_parameters_are_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    om_device_close(gpu);
    return failed ? 1 : 0;
}
