/* The worker room's parts: cores, choice of frames, JPEG's planes, the work on pictures, files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernel/color.h"
#include "worker/annotation.h"
#include "worker/cores.h"
#include "worker/jfif.h"
#include "worker/launch_stats.h"
#include "worker/metrics.h"
#include "worker/picture_writer.h"
#include "worker/prep_level.h"
#include "worker/sampler.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/omma-test-worker-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

static void cores_are_read_and_said(void **state)
{
    static const char *const bad[] = {"",   "a",   "0-",  "-1",    "1-0",
                                      "0,", "0;1", "0 1", "0-1-2", "99999999999999999999"};
    cpu_set_t all, one;
    om_str text = {0};
    (void)state;
    assert_int_equal(om_cores_parse("all", &all), OM_OK);
    assert_int_equal(om_cores_parse(NULL, &one), OM_OK);
    assert_true(CPU_EQUAL(&all, &one));
    om_cores_text(&all, &text);
    assert_int_equal(om_cores_parse(om_str_get(&text), &one), OM_OK);
    assert_true(CPU_EQUAL(&all, &one));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(om_cores_parse(bad[i], &one), OM_ERR_ARG);
    assert_int_equal(om_cores_parse("0-5000", &one), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "there is no core"));
    om_str_clear(&text);
    CPU_ZERO(&one);
    for (int i = 1; i < 8; i++)
        if (i != 4) CPU_SET(i, &one);
    CPU_SET(9, &one);
    om_cores_text(&one, &text);
    assert_string_equal(om_str_get(&text), "1-3,5-7,9");
    om_str_fini(&text);
}

/* Which of 60 frames at 25 a second are taken. */
static int choose(const om_sampler_params *p, bool taken[60])
{
    om_sampler s;
    om_frame *f;
    int err = om_sampler_init(&s, p), n = 0;
    memset(taken, 0, 60 * sizeof *taken);
    assert_int_equal(om_frame_create(OM_PIX_GRAY8, 128, 72, &f), OM_OK);
    for (int i = 0; i < 60 && !err; i++, n++) {
        /* A slow ramp, and cuts at 20 and 41. */
        memset(f->image.plane[0], (i < 20 ? 40 : i < 41 ? 150 : 90) + i % 3, (size_t)f->image.stride[0] * 72);
        f->pts_ns = (int64_t)i * 40000000;
        err = om_sampler_look(&s, f, &taken[i]);
        if (err) break;
    }
    om_frame_unref(f);
    om_sampler_fini(&s);
    assert_true(err == OM_OK || err == OM_ERR_EOF);
    return n;
}

static void frames_are_chosen(void **state)
{
    bool taken[60];
    (void)state;
    assert_int_equal(choose(&(om_sampler_params){0}, taken), 60);
    for (int i = 0; i < 60; i++) assert_true(taken[i]);
    assert_int_equal(choose(&(om_sampler_params){.start_s = 0.4, .end_s = 1.2}, taken), 30);
    for (int i = 0; i < 60; i++) assert_int_equal(taken[i], i >= 10 && i < 30);
    choose(&(om_sampler_params){.fps = 10}, taken); /* every 2.5th */
    for (int i = 0; i < 60; i++) assert_int_equal(taken[i], i % 5 == 0 || i % 5 == 3);
    choose(&(om_sampler_params){.fps = 1000}, taken);
    for (int i = 0; i < 60; i++) assert_true(taken[i]);
    choose(&(om_sampler_params){.scenes = true, .scene_threshold = 0.15}, taken);
    for (int i = 0; i < 60; i++) assert_int_equal(taken[i], i == 0 || i == 20 || i == 41);
    om_sampler s;
    assert_int_equal(om_sampler_init(&s, &(om_sampler_params){.start_s = 2, .end_s = 2}), OM_ERR_ARG);
}

static void fill_random(const om_image *img, unsigned seed)
{
    for (int p = 0; p < om_pixfmt_get(img->fmt)->planes; p++) {
        int bytes, rows;
        om_pixfmt_plane_size(img->fmt, p, img->width, img->height, &bytes, &rows);
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < bytes; x++) {
                seed = seed * 1664525u + 1013904223u;
                img->plane[p][(ptrdiff_t)y * img->stride[p] + x] = (uint8_t)(16 + (seed >> 24) % 220);
            }
    }
}

static int sample(const om_image *img, int c, int x, int y)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    if (!c) return img->plane[0][(ptrdiff_t)y * img->stride[0] + x];
    x >>= info->chroma_shift_x;
    y >>= info->chroma_shift_y;
    if (img->fmt == OM_PIX_NV12) return img->plane[1][(ptrdiff_t)y * img->stride[1] + 2 * x + c - 1];
    return img->plane[c][(ptrdiff_t)y * img->stride[c] + x];
}

/* Luma and chroma of JFIF in exact arithmetic. */
static void jfif_exact(const om_image *img, int x, int y, double out[3])
{
    double m[3][4], rgb[3], s[3] = {0};
    om_color_to_rgb(img, m);
    for (int c = 0; c < (img->fmt == OM_PIX_GRAY8 ? 1 : 3); c++) s[c] = sample(img, c, x, y);
    for (int i = 0; i < 3; i++) rgb[i] = m[i][0] * s[0] + m[i][1] * s[1] + m[i][2] * s[2] + m[i][3];
    out[0] = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
    out[1] = (rgb[2] - out[0]) / 1.772 + 128;
    out[2] = (rgb[0] - out[0]) / 1.402 + 128;
    for (int i = 0; i < 3; i++) out[i] = fmin(fmax(out[i], 0), 255);
}

static void check_jfif(om_pixfmt fmt, om_range range, om_matrix matrix, int w, int h)
{
    om_frame *f;
    om_jfif j = {0};
    assert_int_equal(om_frame_create(fmt, w, h, &f), OM_OK);
    f->image.range = range;
    f->image.matrix = matrix;
    fill_random(&f->image, (unsigned)(w * 31 + h));
    assert_int_equal(om_jfif_convert(&j, &f->image), OM_OK);
    int wide = (w + (1 << j.shift_x) - 1) >> j.shift_x << j.shift_x;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < wide; x++) {
            double e[3];
            jfif_exact(&f->image, x < w ? x : w - 1, y, e);
            assert_true(fabs(j.plane[0][(ptrdiff_t)y * j.stride[0] + x] - e[0]) <= 1.01);
            for (int c = 1; c < j.planes; c++)
                assert_true(fabs(j.plane[c][(ptrdiff_t)(y >> j.shift_y) * j.stride[c] + (x >> j.shift_x)] -
                                 e[c]) <= 1.01);
        }
    om_jfif_fini(&j);
    om_frame_unref(f);
}

static void jpeg_planes_are_exact(void **state)
{
    static const om_pixfmt formats[] = {OM_PIX_I420, OM_PIX_NV12, OM_PIX_I422, OM_PIX_I444, OM_PIX_GRAY8};
    (void)state;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        for (int matrix = OM_MATRIX_BT601; matrix <= OM_MATRIX_BT2020; matrix++)
            for (int odd = 0; odd < 2; odd++) {
                check_jfif(formats[i], OM_RANGE_LIMITED, (om_matrix)matrix, 34 + odd, 18 + odd);
                check_jfif(formats[i], OM_RANGE_FULL, (om_matrix)matrix, 34 + odd, 18 + odd);
            }
    check_jfif(OM_PIX_I420, OM_RANGE_LIMITED, OM_MATRIX_BT709, 1, 1);
    assert_false(om_jfif_knows(OM_PIX_RGB24));
    assert_false(om_jfif_knows(OM_PIX_I010));
}

static int by_value(const void *a, const void *b) { return *(const uint8_t *)a - *(const uint8_t *)b; }

static int inside(int v, int n) { return v < 0 ? 0 : v >= n ? n - 1 : v; }

static void check_filters(int w, int h)
{
    static const int weight[5] = {1, 4, 6, 4, 1};
    om_frame *in, *out;
    uint8_t *work = malloc((size_t)w * (size_t)h * 3);
    assert_int_equal(om_frame_create(OM_PIX_RGB24, w, h, &in), OM_OK);
    assert_int_equal(om_frame_create(OM_PIX_RGB24, w, h, &out), OM_OK);
    for (int k = 0; k < 2; k++) {
        fill_random(&in->image, 7);
        fill_random(&out->image, 7);
        if (k) om_blur5(&out->image, work);
        else om_median3(&out->image, work);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < 3 * w; x++) {
                uint8_t v[9];
                double sum = 0;
                for (int i = 0; i < 9; i++)
                    v[i] = in->image.plane[0][inside(y + i / 3 - 1, h) * in->image.stride[0] +
                                              3 * inside(x / 3 + i % 3 - 1, w) + x % 3];
                for (int i = 0; i < 25; i++)
                    sum += weight[i / 5] * weight[i % 5] / 256.0 *
                           in->image.plane[0][inside(y + i / 5 - 2, h) * in->image.stride[0] +
                                              3 * inside(x / 3 + i % 5 - 2, w) + x % 3];
                qsort(v, 9, 1, by_value);
                int got = out->image.plane[0][y * out->image.stride[0] + x];
                if (k) assert_true(fabs(got - sum) <= 1.01);
                else assert_int_equal(got, v[4]);
            }
    }
    free(work);
    om_frame_unref(in);
    om_frame_unref(out);
}

static void filters_are_exact(void **state)
{
    (void)state;
    check_filters(17, 9);
    check_filters(2, 2);
    check_filters(1, 1);
}

static void levels_crop_and_repeat(void **state)
{
    om_frame *f, *a, *b;
    (void)state;
    assert_int_equal(om_frame_create(OM_PIX_I420, 161, 90, &f), OM_OK);
    fill_random(&f->image, 3);
    for (int level = OM_PREP_SIMPLE; level <= OM_PREP_COMPLEX; level++) {
        om_preparer one = {.level = (om_prep_level)level, .seed = 5}, two = one;
        assert_int_equal(om_preparer_apply(&one, f, &a), OM_OK);
        assert_int_equal(om_preparer_apply(&two, f, &b), OM_OK);
        if (level == OM_PREP_SIMPLE) {
            assert_ptr_equal(a, f);
        } else {
            assert_int_equal(a->image.fmt, OM_PIX_RGB24);
            assert_int_equal(a->image.width, 140);
            assert_int_equal(a->image.height, 78);
            for (int y = 0; y < 78; y++)
                assert_memory_equal(a->image.plane[0] + y * a->image.stride[0],
                                    b->image.plane[0] + y * b->image.stride[0], 3 * 140);
        }
        om_frame_unref(a);
        om_frame_unref(b);
        om_preparer_fini(&one);
        om_preparer_fini(&two);
    }
    om_frame_unref(f);
}

static void rows_are_whole(void **state)
{
    om_metrics m;
    char text[512] = "";
    (void)state;
    assert_int_equal(om_metrics_open(&m, folder, "x", false), OM_OK);
    assert_int_equal(om_metrics_row_add(&m, &(om_metrics_row){3, 1500000, 250000, 42, 1750042}), OM_OK);
    FILE *f = fopen(m.csv_path, "r");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    assert_string_equal(text,
                        "step,read_latency_ms,prep_latency_ms,exec_latency_ms,total_step_latency_ms,loss\n"
                        "3,1.5000,0.2500,0.0000,1.7500,\n");
    om_metrics_close(&m);
    assert_int_equal(om_metrics_open(&m, "/nowhere", "x", false), OM_ERR_NOT_FOUND);
    om_metrics_close(&m);
}

/* What is no row is counted, and none behind it is lost: cut short, no number, bytes of a disk that went
 * down. */
static void torn_rows_are_counted(void **state)
{
    static const char text[] =
        "step,read_latency_ms,prep_latency_ms,exec_latency_ms,total_step_latency_ms,loss\n"
        "0,1,2,3,6,0.5\n1,1,2\n2,1,\0,3,6,\n3,1,2,inf,6,\n4,1,2,4,7,\n5,1,2,3,6,";
    om_launch_stats s;
    char dir[96], path[128];
    (void)state;
    snprintf(dir, sizeof dir, "%s/torn", folder);
    snprintf(path, sizeof path, "%s/M_x_P_1_metrics.csv", dir);
    assert_int_equal(mkdir(dir, 0777), 0);
    assert_int_equal(om_file_put(path, text, sizeof text - 1), OM_OK);
    assert_int_equal(om_launch_stats_read(&s, dir, NULL), OM_OK);
    assert_int_equal(s.steps, 3);
    assert_int_equal(s.torn, 4);
    assert_true(s.phases[3].max == 7 && s.sum_error == 0);
    om_launch_stats_fini(&s);
}

/* A picture and its annotations, or the first error. */
static int annotate_one(om_frame *f, om_picture_format format)
{
    char path[128];
    om_picture_writer *w = NULL;
    om_annotations *a = NULL;
    om_detection d = {.x = 1, .y = 2, .w = 10, .h = 12, .score = 0.5f, .class_id = 1, .track = -1};
    om_dets dets = {.items = &d, .n = 1};
    om_annotated item = {
        .name = "p", .file = "p.jpg", .source = "v.mp4", .width = 34, .height = 18, .dets = &dets};
    snprintf(path, sizeof path, "%s/p.%s", folder, om_picture_format_name(format));
    int err = om_picture_writer_create(format, 80, 1, &w);
    if (!err) err = om_picture_writer_put(w, f, path);
    int closed = om_picture_writer_close(w, NULL);
    if (!err) err = closed;
    om_annotations_params p = {.dir = folder, .forms = 7, .model = "m", .engine = "e", .threshold = 0.25};
    if (!err) err = om_annotations_open(&p, &a);
    if (!err) err = om_annotations_add(a, &item);
    closed = om_annotations_close(a, !err);
    return err ? err : closed;
}

/* Each allocation of ours fails once; nothing leaks (under the sanitizers) and the failure is told. */
static void memory_may_run_out(void **state)
{
    om_frame *f;
    (void)state;
    assert_int_equal(om_frame_create(OM_PIX_I420, 34, 18, &f), OM_OK);
    fill_random(&f->image, 1);
    for (om_picture_format format = OM_PICTURE_JPG; format <= OM_PICTURE_PNG; format++)
        for (long n = 0;; n++) {
            om_mem_fail_after(n);
            int err = annotate_one(f, format);
            bool met = om_mem_injected();
            om_mem_fail_after(-1);
            assert_true(n < 500);
            if (!met) {
                assert_int_equal(err, OM_OK);
                break;
            }
            assert_int_equal(err, OM_ERR_NOMEM);
        }
    om_frame_unref(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cores_are_read_and_said), cmocka_unit_test(frames_are_chosen),
        cmocka_unit_test(jpeg_planes_are_exact),   cmocka_unit_test(filters_are_exact),
        cmocka_unit_test(levels_crop_and_repeat),  cmocka_unit_test(rows_are_whole),
        cmocka_unit_test(torn_rows_are_counted),   cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
