#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "device/device.h"
#include "device/host.h"

static void host_opens_by_its_names(void **state)
{
    static const char *const names[] = {"cpu", "host", "cpu:0"};
    for (size_t i = 0; i < 3; i++) {
        om_device *d;
        om_device_info info;
        assert_int_equal(om_device_open(names[i], &d), OM_OK);
        assert_string_equal(d->id, "cpu");
        assert_int_equal(om_device_info_get(d, &info), OM_OK);
        assert_true(info.name[0] && info.memory_total > 0);
        om_device_close(d);
    }
    om_device_close(NULL);
}

static void wrong_names_say_what_there_is(void **state)
{
    om_device *d = (om_device *)1;
    assert_int_equal(om_device_open("gpu:0", &d), OM_ERR_NOT_FOUND);
    assert_null(d);
    assert_non_null(strstr(om_error_message(), "gpu:0"));
    assert_non_null(strstr(om_error_message(), "cpu"));
    assert_int_equal(om_device_open("cpu:1", &d), OM_ERR_NOT_FOUND);
    assert_int_equal(om_device_open("cpu:x", &d), OM_ERR_ARG);
    assert_int_equal(om_device_open("cpu:-1", &d), OM_ERR_ARG);
    assert_int_equal(om_device_open("", &d), OM_ERR_NOT_FOUND);
    assert_int_equal(om_device_open("a-name-longer-than-any-kind-of-device", &d), OM_ERR_NOT_FOUND);
    om_mem_fail_after(0);
    assert_int_equal(om_device_open("cpu", &d), OM_ERR_NOMEM);
    om_mem_fail_after(-1);
}

static void memory_streams_and_events(void **state)
{
    om_device *d;
    void *a, *b;
    om_stream *s;
    om_event *e;
    assert_int_equal(om_device_open("cpu", &d), OM_OK);
    assert_int_equal(om_device_mem_alloc(d, 100, &a), OM_OK);
    assert_int_equal(om_device_pinned_alloc(d, 100, &b), OM_OK);
    assert_int_equal((uintptr_t)a % 64, 0);
    assert_int_equal(om_device_stream_create(d, 0, &s), OM_OK);
    assert_int_equal(om_device_event_create(d, &e), OM_OK);
    assert_non_null(e);
    memset(b, 7, 100);
    assert_int_equal(om_device_copy(d, OM_COPY_TO_DEVICE, a, b, 100, s), OM_OK);
    assert_memory_equal(a, b, 100);
    assert_int_equal(om_device_copy(d, OM_COPY_TO_DEVICE, NULL, b, 100, s), OM_ERR_ARG);
    assert_int_equal(om_device_event_record(d, e, s), OM_OK);
    assert_int_equal(om_device_event_wait(d, e, s), OM_OK);
    assert_int_equal(om_device_event_query(d, e), OM_OK);
    assert_int_equal(om_device_sync_count(d), 0);
    assert_int_equal(om_device_event_sync(d, e), OM_OK);
    assert_int_equal(om_device_sync_count(d), 1);
    om_device_event_destroy(d, e);
    om_device_stream_destroy(d, s);
    om_device_mem_free(d, a);
    om_device_pinned_free(d, b);
    om_device_mem_free(d, NULL);
    om_mem_fail_after(0);
    assert_int_equal(om_device_mem_alloc(d, 100, &a), OM_ERR_NOMEM);
    assert_null(a);
    om_mem_fail_after(-1);
    om_device_close(d);
}

static int64_t process_holds;

static int usage_of_process(om_device *d, om_device_usage *out)
{
    out->memory_process = process_holds;
    return OM_OK;
}

/* What the driver held when the cap was set counts on, also while it is told too low: memory that was claimed
 * has not been taken yet. */
static void a_cap_counts_what_the_driver_held_at_first(void **state)
{
    static om_device_ops ops;
    om_device *d;
    om_device_usage u;
    om_device_memory m;
    ops = om_device_host;
    ops.name = "told";
    ops.usage = usage_of_process;
    assert_int_equal(om_device_register(&ops), OM_OK);
    assert_int_equal(om_device_open("told:0", &d), OM_OK);
    process_holds = 3000;
    om_device_memory_cap(d, 10000);
    assert_int_equal(om_device_usage_get(d, &u), OM_OK);
    assert_int_equal(om_device_mem_claim(d, OM_PURPOSE_SURFACES, 4000), OM_OK);
    assert_int_equal(om_device_usage_get(d, &u), OM_OK); /* none of it is taken */
    om_device_memory_get(d, &m);
    assert_int_equal(m.driver, 0);
    assert_int_equal(om_device_mem_claim(d, OM_PURPOSE_SURFACES, 3001), OM_ERR_NOMEM);
    assert_int_equal(om_device_mem_claim(d, OM_PURPOSE_SURFACES, 3000), OM_OK);
    om_device_mem_release(d, OM_PURPOSE_SURFACES, 3000);
    process_holds = 4000 + 5000; /* it has come to hold more */
    assert_int_equal(om_device_usage_get(d, &u), OM_OK);
    assert_int_equal(om_device_mem_claim(d, OM_PURPOSE_SURFACES, 1001), OM_ERR_NOMEM);
    assert_int_equal(om_device_mem_claim(d, OM_PURPOSE_SURFACES, 1000), OM_OK);
    om_device_memory_cap(d, 0);
    assert_int_equal(om_device_mem_claim(d, OM_PURPOSE_SURFACES, 100000), OM_OK);
    om_device_mem_release(d, OM_PURPOSE_SURFACES, 105000);
    om_device_close(d);
}

/* Counted by purpose, shared by all that open the device, held to a cap, made to fail. */
static void memory_is_counted(void **state)
{
    om_device *d, *same;
    om_device_memory m;
    void *a, *b, *c;
    assert_int_equal(om_device_open("cpu", &d), OM_OK);
    assert_int_equal(om_device_open("host", &same), OM_OK);
    assert_int_equal(om_device_mem_alloc_for(d, OM_PURPOSE_WEIGHTS, 1000, &a), OM_OK);
    assert_int_equal(om_device_mem_alloc_for(same, OM_PURPOSE_WORK, 500, &b), OM_OK);
    assert_int_equal(om_device_mem_claim(d, OM_PURPOSE_SURFACES, 4000), OM_OK);
    om_device_memory_get(same, &m);
    assert_int_equal(m.now[OM_PURPOSE_WEIGHTS], 1000);
    assert_int_equal(m.now[OM_PURPOSE_WORK], 500);
    assert_int_equal(m.now[OM_PURPOSE_SURFACES], 4000);
    assert_int_equal(m.total, 5500);
    assert_true(m.driver < 0);
    om_device_memory_cap(d, 6000);
    assert_int_equal(om_device_mem_alloc_for(d, OM_PURPOSE_CROPS, 501, &c), OM_ERR_NOMEM);
    assert_null(c);
    assert_non_null(strstr(om_error_message(), "crops"));
    assert_int_equal(om_device_mem_alloc_for(d, OM_PURPOSE_CROPS, SIZE_MAX, &c), OM_ERR_NOMEM);
    assert_int_equal(om_device_mem_alloc_for(d, OM_PURPOSE_CROPS, 500, &c), OM_OK);
    om_device_mem_free(same, a);
    om_device_mem_release(same, OM_PURPOSE_SURFACES, 4000);
    om_device_memory_get(d, &m);
    assert_int_equal(m.total, 1000);
    assert_int_equal(m.total_peak, 6000);
    assert_int_equal(m.peak[OM_PURPOSE_WEIGHTS], 1000);
    assert_int_equal(m.now[OM_PURPOSE_WEIGHTS], 0);
    assert_int_equal(m.refused, 2);
    om_device_memory_cap(d, 0);
    om_device_mem_free(d, b);
    om_device_mem_free(d, c);
    om_device_mem_fail_after(1, 2);
    for (int i = 0; i < 4; i++) {
        int err = om_device_mem_alloc_for(d, OM_PURPOSE_OTHER, 8, &a);
        assert_int_equal(err, i == 1 || i == 2 ? OM_ERR_NOMEM : OM_OK);
        om_device_mem_free(d, a);
    }
    om_device_close(same);
    om_device_memory_get(d, &m);
    assert_int_equal(m.total, 0);
    for (int i = 0; i < OM_PURPOSES; i++) assert_true(*om_purpose_name((om_purpose)i));
    /* No memory for the books themselves: nothing stays counted. */
    for (int i = 0; i < 2; i++) {
        om_mem_fail_after(i);
        assert_int_equal(om_device_mem_alloc_for(d, OM_PURPOSE_WORK, 100, &a), OM_ERR_NOMEM);
        assert_null(a);
    }
    om_mem_fail_after(-1);
    om_device_memory_get(d, &m);
    assert_int_equal(m.total, 0);
    om_device_close(d);
    assert_int_equal(om_device_open("cpu", &d), OM_OK); /* the last has closed the books */
    om_device_memory_get(d, &m);
    assert_int_equal(m.total_peak, 0);
    om_device_close(d);
}

/* Each sample tells its place: plane, column and row. */
static om_frame *numbered(om_pixfmt fmt, int w, int h)
{
    om_frame *f;
    assert_int_equal(om_frame_create(fmt, w, h, &f), OM_OK);
    for (int p = 0; p < om_pixfmt_get(fmt)->planes; p++) {
        int bytes, rows;
        om_pixfmt_plane_size(fmt, p, w, h, &bytes, &rows);
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < bytes; x++)
                f->image.plane[p][(ptrdiff_t)y * f->image.stride[p] + x] = (uint8_t)(p * 80 + y * 8 + x);
    }
    return f;
}

static void gather_is_the_kernel(void **state)
{
    om_device *d;
    om_frame *f[2] = {numbered(OM_PIX_I420, 16, 12), numbered(OM_PIX_NV12, 9, 16)};
    om_prep prep = {.dtype = OM_DTYPE_F32, .scale = {1, 1, 1}, .pad = {114, 114, 114}};
    float got[2][3 * 8 * 8], want[3 * 8 * 8];
    om_gather_item items[2];
    assert_int_equal(om_device_open("cpu", &d), OM_OK);
    for (int i = 0; i < 2; i++) {
        items[i] = (om_gather_item){.frame = f[i], .dst = got[i]};
        om_geometry_fit(OM_FIT_LETTERBOX, f[i]->image.width, f[i]->image.height, 8, 8, &items[i].geometry);
    }
    assert_int_equal(om_device_gather(d, items, 2, &prep, NULL), OM_OK);
    for (int i = 0; i < 2; i++) {
        om_kernels_get()->letterbox(&f[i]->image, &items[i].geometry, &prep, want);
        assert_memory_equal(got[i], want, sizeof(want));
    }
    assert_int_equal(om_device_gather(d, items, 0, &prep, NULL), OM_OK);
    items[1].geometry.src_w = 1000;
    assert_int_equal(om_device_gather(d, items, 2, &prep, NULL), OM_ERR_ARG);
    items[1].frame = NULL;
    assert_int_equal(om_device_gather(d, items, 2, &prep, NULL), OM_ERR_ARG);
    om_frame_unref(f[0]);
    om_frame_unref(f[1]);
    om_device_close(d);
}

static void crop_keeps_the_chroma_grid(void **state)
{
    om_device *d;
    assert_int_equal(om_device_open("cpu", &d), OM_OK);
    for (om_pixfmt fmt = OM_PIX_NV12; fmt < OM_PIX_COUNT; fmt++) {
        const om_pixfmt_info *info = om_pixfmt_get(fmt);
        om_frame *f = numbered(fmt, 15, 9), *c;
        int left = info->chroma_shift_x ? 2 : 3, top = info->chroma_shift_y ? 4 : 5;
        f->seq = 41;
        f->image.matrix = OM_MATRIX_BT709;
        assert_int_equal(om_device_crop(d, f, 3, 5, 12, 4, NULL, &c), OM_OK);
        assert_int_equal(c->image.width, 15 - left);
        assert_int_equal(c->image.height, 9 - top);
        assert_int_equal(c->seq, 41);
        assert_int_equal(c->image.matrix, OM_MATRIX_BT709);
        for (int p = 0; p < info->planes; p++) {
            int bytes, rows, skip, skip_rows;
            om_pixfmt_plane_size(fmt, p, c->image.width, c->image.height, &bytes, &rows);
            om_pixfmt_plane_size(fmt, p, left, top, &skip, &skip_rows);
            for (int y = 0; y < rows; y++)
                assert_memory_equal(c->image.plane[p] + (ptrdiff_t)y * c->image.stride[p],
                                    f->image.plane[p] + (ptrdiff_t)(y + skip_rows) * f->image.stride[p] +
                                        skip,
                                    (size_t)bytes);
        }
        om_frame_unref(c);
        assert_int_equal(om_device_crop(d, f, 10, 0, 6, 4, NULL, &c), OM_ERR_ARG);
        assert_null(c);
        om_frame_unref(f);
    }
    om_device_close(d);
}

static void thumbnail_of_every_format(void **state)
{
    om_device *d;
    uint8_t *data;
    size_t size;
    assert_int_equal(om_device_open("cpu", &d), OM_OK);
    for (om_pixfmt fmt = OM_PIX_NONE + 1; fmt < OM_PIX_COUNT; fmt++)
        for (int side = 1; side < 70; side += 17) {
            om_frame *f = numbered(fmt, side, 71 - side);
            assert_int_equal(om_device_thumbnail(d, f, 16, 20, 80, &data, &size), OM_OK);
            assert_true(size > 100 && data[0] == 0xff && data[1] == 0xd8);
            om_free(data);
            om_frame_unref(f);
        }
    om_frame *f = numbered(OM_PIX_NV12, 40, 30);
    assert_int_equal(om_device_thumbnail(d, f, 0, 20, 80, &data, &size), OM_ERR_ARG);
    assert_int_equal(om_device_thumbnail(d, f, 20, 20, 101, &data, &size), OM_ERR_ARG);
    for (long n = 0; n < 3; n++) {
        om_mem_fail_after(n);
        assert_int_equal(om_device_thumbnail(d, f, 20, 20, 80, &data, &size), OM_ERR_NOMEM);
        om_mem_fail_after(-1);
        assert_null(data);
    }
    f->memory = OM_MEMORY_CUDA;
    assert_int_equal(om_device_thumbnail(d, f, 20, 20, 80, &data, &size), OM_ERR_UNSUPPORTED);
    f->memory = OM_MEMORY_HOST;
    om_frame_unref(f);
    om_device_close(d);
}

static int no_device(void) { return 0; }
static int refuse_open(om_device *d, int index) { return om_fail(OM_ERR_DEVICE, "the driver is too old"); }
static int one_device(void) { return 1; }

static void registry_checks_what_it_takes(void **state)
{
    static om_device_ops other;
    const om_device_ops *const *kinds;
    om_device *d;
    uint8_t *data;
    size_t size, n = om_device_kinds(&kinds);
    assert_string_equal(kinds[0]->name, "host");
    other = *kinds[0];
    assert_int_equal(om_device_register(&other), OM_ERR_ARG); /* the name is taken */
    other.name = "other";
    other.api_version++;
    assert_int_equal(om_device_register(&other), OM_ERR_UNSUPPORTED);
    other.api_version--;
    other.gather = NULL;
    assert_int_equal(om_device_register(&other), OM_ERR_ARG);
    other = *kinds[0];
    other.name = "other";
    other.count = no_device;
    other.crop = NULL;
    other.thumbnail = NULL;
    other.event_sync = NULL;
    assert_int_equal(om_device_register(&other), OM_OK);
    assert_int_equal(om_device_kinds(&kinds), n + 1);
    assert_ptr_equal(om_device_find("other"), &other);
    assert_int_equal(om_device_open("other", &d), OM_ERR_NOT_FOUND);
    other.count = one_device;
    assert_int_equal(om_device_open("other:0", &d), OM_OK);
    assert_string_equal(d->id, "other:0");
    om_frame *f = numbered(OM_PIX_GRAY8, 4, 4), *c;
    assert_int_equal(om_device_crop(d, f, 0, 0, 2, 2, NULL, &c), OM_ERR_UNSUPPORTED);
    assert_int_equal(om_device_event_sync(d, NULL), OM_ERR_UNSUPPORTED);
    assert_int_equal(om_device_thumbnail(d, f, 10, 10, 80, &data, &size), OM_ERR_UNSUPPORTED);
    om_frame_unref(f);
    om_device_close(d);
    other.open = refuse_open;
    assert_int_equal(om_device_open("other", &d), OM_ERR_DEVICE);
    assert_null(d);
    assert_non_null(strstr(om_error_message(), "other:0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_opens_by_its_names),
        cmocka_unit_test(wrong_names_say_what_there_is),
        cmocka_unit_test(memory_streams_and_events),
        cmocka_unit_test(memory_is_counted),
        cmocka_unit_test(a_cap_counts_what_the_driver_held_at_first),
        cmocka_unit_test(gather_is_the_kernel),
        cmocka_unit_test(crop_keeps_the_chroma_grid),
        cmocka_unit_test(thumbnail_of_every_format),
        cmocka_unit_test(registry_checks_what_it_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
