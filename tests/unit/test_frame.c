#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "frame/result.h"

static void plane_sizes_round_up(void **state)
{
    static const struct {
        om_pixfmt fmt;
        int plane, bytes, rows;
    } want[] = {
        {OM_PIX_NV12, 0, 5, 3},   {OM_PIX_NV12, 1, 6, 2},   {OM_PIX_I420, 2, 3, 2},  {OM_PIX_I422, 1, 3, 3},
        {OM_PIX_I444, 1, 5, 3},   {OM_PIX_P010, 0, 10, 3},  {OM_PIX_P010, 1, 12, 2}, {OM_PIX_I010, 1, 6, 2},
        {OM_PIX_I210, 2, 6, 3},   {OM_PIX_I410, 2, 10, 3},  {OM_PIX_GRAY8, 0, 5, 3}, {OM_PIX_GRAY8, 1, 0, 0},
        {OM_PIX_RGB24, 0, 15, 3}, {OM_PIX_BGR24, 0, 15, 3}, {OM_PIX_NV12, 2, 0, 0},
    };
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        int bytes, rows;
        om_pixfmt_plane_size(want[i].fmt, want[i].plane, 5, 3, &bytes, &rows);
        assert_int_equal(bytes, want[i].bytes);
        assert_int_equal(rows, want[i].rows);
    }
    assert_string_equal(om_pixfmt_get(OM_PIX_P010)->name, "p010");
    assert_string_equal(om_pixfmt_get((om_pixfmt)99)->name, "none");
}

static void planes_are_apart_and_aligned(void **state)
{
    for (om_pixfmt fmt = OM_PIX_NV12; fmt < OM_PIX_COUNT; fmt++) {
        om_frame *f;
        assert_int_equal(om_frame_create(fmt, 33, 7, &f), OM_OK);
        for (int p = 0; p < om_pixfmt_get(fmt)->planes; p++) {
            int bytes, rows;
            om_pixfmt_plane_size(fmt, p, 33, 7, &bytes, &rows);
            assert_int_equal((uintptr_t)f->image.plane[p] % 64, 0);
            assert_int_equal(f->image.stride[p] % 64, 0);
            assert_true(f->image.stride[p] >= bytes);
            for (int y = 0; y < rows; y++)
                memset(f->image.plane[p] + (ptrdiff_t)y * f->image.stride[p], p + 1, (size_t)bytes);
        }
        for (int p = 0; p < om_pixfmt_get(fmt)->planes; p++) assert_int_equal(f->image.plane[p][0], p + 1);
        om_frame_unref(f);
    }
}

static void bad_frames_are_refused(void **state)
{
    om_frame *f = (om_frame *)1;
    assert_int_equal(om_frame_create(OM_PIX_NONE, 4, 4, &f), OM_ERR_ARG);
    assert_null(f);
    assert_int_equal(om_frame_create(OM_PIX_I420, 0, 4, &f), OM_ERR_ARG);
    assert_int_equal(om_frame_create(OM_PIX_I420, 4, 1 << 30, &f), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "4x1073741824"));
}

static void memory_failures_leave_nothing(void **state)
{
    for (long n = 0; n < 2; n++) {
        om_frame *f = (om_frame *)1;
        om_mem_fail_after(n);
        assert_int_equal(om_frame_create(OM_PIX_I420, 16, 16, &f), OM_ERR_NOMEM);
        assert_null(f);
    }
    om_mem_fail_after(-1);
}

static int released;
static void count_release(om_frame *f) { released++; }

static void last_unref_releases(void **state)
{
    om_frame f = {.release = count_release};
    om_ref_init(&f.ref);
    released = 0;
    assert_ptr_equal(om_frame_ref(&f), &f);
    om_frame_unref(&f);
    assert_int_equal(released, 0);
    om_frame_unref(&f);
    assert_int_equal(released, 1);
    om_frame_unref(NULL);
}

static void detections_grow_and_clear(void **state)
{
    om_dets d = {0};
    float v[3] = {1, 2, 3};
    for (int i = 0; i < 100; i++) {
        om_detection *det = om_dets_add(&d);
        assert_non_null(det);
        assert_int_equal(det->track, -1);
        det->class_id = i;
        assert_int_equal(om_dets_set_text(&d, det, i % 2 ? "odd" : "even", 0.5f), OM_OK);
    }
    assert_int_equal(d.n, 100);
    assert_int_equal(d.items[57].class_id, 57);
    assert_string_equal(d.items[57].text, "odd");
    assert_int_equal(om_dets_set_vector(&d, v, 3), OM_OK);
    om_dets_clear(&d);
    assert_int_equal(d.n, 0);
    assert_true(d.cap >= 100);
    om_dets_fini(&d);
    om_dets_fini(&d);
    om_dets_fini(NULL);
}

static void detections_survive_memory_failures(void **state)
{
    for (long n = 0; n < 4; n++) {
        om_dets d = {0};
        float v = 1;
        om_mem_fail_after(n);
        om_detection *det = om_dets_add(&d);
        int err = det ? om_dets_set_text(&d, det, "text", 1) : OM_ERR_NOMEM;
        if (err == OM_OK) err = om_dets_set_vector(&d, &v, 1);
        assert_int_equal(err, OM_ERR_NOMEM);
        om_dets_fini(&d);
    }
    om_mem_fail_after(-1);
}

static void views_show_the_record(void **state)
{
    static const char *const names[] = {"person", "car"};
    om_frame_result view;
    om_result *r = om_result_create();
    assert_non_null(r);
    assert_int_equal(om_frame_create(OM_PIX_GRAY8, 4, 4, &r->frame), OM_OK);
    r->stream = "gate";
    r->seq = 12;
    r->pts_ns = 480000000;
    r->latency_ns = 2500000;
    r->labels = (om_labels){names, 2};
    om_dets_add(&r->dets)->class_id = 1;
    om_result_view(r, &view);
    assert_string_equal(view.stream, "gate");
    assert_int_equal(view.seq, 12);
    assert_true(view.pts > 0.4799 && view.pts < 0.4801);
    assert_true(view.latency_ms > 2.49 && view.latency_ms < 2.51);
    assert_int_equal(view.n_objects, 1);
    assert_string_equal(view.labels[view.objects[0].class_id], "car");
    assert_null(view.vector);
    om_result_unref(om_result_ref(r));
    om_result_unref(r);
    om_result_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plane_sizes_round_up),
        cmocka_unit_test(planes_are_apart_and_aligned),
        cmocka_unit_test(bad_frames_are_refused),
        cmocka_unit_test(memory_failures_leave_nothing),
        cmocka_unit_test(last_unref_releases),
        cmocka_unit_test(detections_grow_and_clear),
        cmocka_unit_test(detections_survive_memory_failures),
        cmocka_unit_test(views_show_the_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
