/* The CUDA device against the host's C reference. Exit status 77, with the reason, where there is no GPU or
 * no plug-in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "base/error.h"
#include "base/thread.h"
#include "cuda_plugin.h"

#define FORMATS (OM_PIX_COUNT - 1)

static om_device *gpu;
static om_kernels reference;

typedef struct size2 {
    int w, h;
} size2;

static uint32_t noise(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

/* Noise, so that a sample taken from the wrong place shows. */
static om_frame *make_picture(om_pixfmt fmt, size2 size, uint32_t seed)
{
    om_frame *f;
    assert_int_equal(om_frame_create(fmt, size.w, size.h, &f), OM_OK);
    f->image.range = seed % 2 ? OM_RANGE_FULL : OM_RANGE_LIMITED;
    f->image.matrix = (om_matrix)(seed % 3);
    const om_pixfmt_info *info = om_pixfmt_get(fmt);
    for (int p = 0; p < info->planes; p++) {
        int bytes, rows;
        om_pixfmt_plane_size(fmt, p, size.w, size.h, &bytes, &rows);
        for (int y = 0; y < rows; y++) {
            uint8_t *row = f->image.plane[p] + (ptrdiff_t)y * f->image.stride[p];
            for (int x = 0; x < bytes; x += info->sample_bytes) {
                uint16_t v = (uint16_t)noise(&seed);
                if (info->sample_bytes == 1) row[x] = (uint8_t)v;
                else v = fmt == OM_PIX_P010 ? (uint16_t)(v << 6) : v & 1023;
                if (info->sample_bytes == 2) memcpy(row + x, &v, 2);
            }
        }
    }
    return f;
}

static float element(const om_prep *p, const uint8_t *data, size_t i)
{
    uint16_t half;
    uint32_t bits;
    float v;
    if (p->dtype == OM_DTYPE_U8) return data[i];
    if (p->dtype == OM_DTYPE_I8) return (float)(int8_t)data[i];
    if (p->dtype == OM_DTYPE_F32) {
        memcpy(&v, data + i * 4, 4);
        return v;
    }
    memcpy(&half, data + i * 2, 2);
    if (p->dtype == OM_DTYPE_F16) return om_f16_to_f32(half);
    bits = (uint32_t)half << 16;
    memcpy(&v, &bits, 4);
    return v;
}

/* One level of 255 in the units of the result. */
static float level(const om_prep *p)
{
    if (p->dtype == OM_DTYPE_U8 || p->dtype == OM_DTYPE_I8) return 1;
    return 1.01f * p->scale[0];
}

static void compare(const om_prep *p, const uint8_t *got, const uint8_t *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        float a = element(p, got, i), b = element(p, want, i), apart = a > b ? a - b : b - a;
        if (!(apart <= level(p)))
            fail_msg("%s, %s, filter %d, layout %d, channels %d: element %zu is %g, expected %g", what,
                     om_dtype_name(p->dtype), (int)p->filter, (int)p->layout, (int)p->channels, i, (double)a,
                     (double)b);
    }
}

/* In a batch of quadrilaterals those with a rectangle of their own are letterboxed all the same. */
static bool is_warped(float (*quads)[8], const om_geometry *geometry, size_t i)
{
    return quads && !geometry[i].src_w;
}

/* Gathers n pictures on `s` and compares each with the reference. `host`: the same pictures in host memory.
 */
static void check_items(om_frame **frames, om_frame **host, const om_geometry *geometry, float (*quads)[8],
                        size_t n, const om_prep *p, om_stream *s)
{
    om_gather_item items[FORMATS];
    size_t elements =
        (size_t)geometry->dst_w * (size_t)geometry->dst_h * (p->channels == OM_CHANNELS_GRAY ? 1 : 3);
    size_t item = elements * om_dtype_size(p->dtype);
    uint8_t *batch = NULL, *got = malloc(n * item), *want = malloc(item);
    assert_true(got && want);
    assert_int_equal(om_device_mem_alloc(gpu, n * item, (void **)&batch), OM_OK);
    for (size_t i = 0; i < n; i++)
        items[i] = (om_gather_item){.frame = frames[i],
                                    .geometry = geometry[i],
                                    .dst = batch + i * item,
                                    .quad = is_warped(quads, geometry, i) ? quads[i] : NULL};
    int err = om_device_gather(gpu, items, n, p, s);
    if (err < 0) fail_msg("%s", om_error_message());
    assert_int_equal(om_device_copy(gpu, OM_COPY_TO_HOST, got, batch, n * item, s), OM_OK);
    om_event *e;
    assert_int_equal(om_device_event_create(gpu, &e), OM_OK);
    assert_int_equal(om_device_event_record(gpu, e, s), OM_OK);
    assert_int_equal(om_device_event_sync(gpu, e), OM_OK);
    om_device_event_destroy(gpu, e);
    for (size_t i = 0; i < n; i++) {
        const om_image *img = &host[i]->image;
        char what[96];
        snprintf(what, sizeof what, "%s %dx%d, range %d, matrix %d", om_pixfmt_get(img->fmt)->name,
                 img->width, img->height, (int)img->range, (int)img->matrix);
        if (is_warped(quads, geometry, i))
            assert_int_equal(reference.warp(img, quads[i], geometry[i].dst_w, geometry[i].dst_h, p, want),
                             OM_OK);
        else assert_int_equal(reference.letterbox(img, &geometry[i], p, want), OM_OK);
        compare(p, got + i * item, want, elements, what);
    }
    om_device_mem_free(gpu, batch);
    free(got);
    free(want);
}

static void check_gather(om_frame **frames, om_frame **host, const om_geometry *geometry, size_t n,
                         const om_prep *p, om_stream *s)
{
    check_items(frames, host, geometry, NULL, n, p, s);
}

#define UNIT                                                                                                 \
    {                                                                                                        \
        1 / 255.0f, 1 / 255.0f, 1 / 255.0f                                                                   \
    }
#define GREY                                                                                                 \
    {                                                                                                        \
        114, 113, 112                                                                                        \
    }
static const om_prep preps[] = {
    {OM_LAYOUT_NCHW, OM_CHANNELS_RGB, OM_DTYPE_F32, OM_FILTER_LINEAR, {0}, UNIT, GREY, 0},
    {OM_LAYOUT_NHWC, OM_CHANNELS_BGR, OM_DTYPE_F32, OM_FILTER_LINEAR, {124, 116, 104}, UNIT, GREY, 0},
    {OM_LAYOUT_NCHW, OM_CHANNELS_BGR, OM_DTYPE_F16, OM_FILTER_LINEAR, {0}, UNIT, GREY, 0},
    {OM_LAYOUT_NHWC, OM_CHANNELS_RGB, OM_DTYPE_F16, OM_FILTER_LINEAR, {0}, UNIT, GREY, 0},
    {OM_LAYOUT_NHWC, OM_CHANNELS_RGB, OM_DTYPE_BF16, OM_FILTER_LINEAR, {0}, UNIT, GREY, 0},
    {OM_LAYOUT_NCHW, OM_CHANNELS_RGB, OM_DTYPE_U8, OM_FILTER_LINEAR, {0}, {1, 1, 1}, GREY, 0},
    {OM_LAYOUT_NHWC, OM_CHANNELS_BGR, OM_DTYPE_U8, OM_FILTER_LINEAR, {0}, {1, 1, 1}, GREY, 0},
    {OM_LAYOUT_NHWC, OM_CHANNELS_RGB, OM_DTYPE_I8, OM_FILTER_LINEAR, {128, 120, 9}, {0.5f, 1, 1}, GREY, -5},
    {OM_LAYOUT_NCHW, OM_CHANNELS_GRAY, OM_DTYPE_F32, OM_FILTER_LINEAR, {0}, UNIT, GREY, 0},
};
#define PREPS (sizeof preps / sizeof preps[0])

static void make_batch(om_frame **frames, size2 size, uint32_t seed)
{
    for (int i = 0; i < FORMATS; i++) frames[i] = make_picture((om_pixfmt)(i + 1), size, seed + (uint32_t)i);
}

static void drop_batch(om_frame **frames)
{
    for (int i = 0; i < FORMATS; i++) om_frame_unref(frames[i]);
}

/* Every format in one batch, each preparation and filter, up and down, even and odd. */
static void gathers_as_the_reference(void **state)
{
    static const size2 sizes[] = {{64, 48}, {97, 53}, {1, 1}, {640, 360}}, places[] = {{64, 64}, {121, 75}};
    om_stream *s;
    assert_int_equal(om_device_stream_create(gpu, 0, &s), OM_OK);
    for (size_t k = 0; k < 4 * 2 * 3; k++) {
        om_frame *frames[FORMATS];
        om_geometry geometry[FORMATS];
        size2 size = sizes[k % 4], place = places[k / 4 % 2];
        make_batch(frames, size, (uint32_t)k);
        for (int i = 0; i < FORMATS; i++)
            om_geometry_fit((om_fit)(k / 8), size.w, size.h, place.w, place.h, &geometry[i]);
        for (size_t i = 0; i < PREPS * 3; i++) {
            om_prep p = preps[i / 3];
            p.filter = (om_filter)(i % 3);
            check_gather(frames, frames, geometry, FORMATS, &p, i % 2 ? s : NULL);
        }
        drop_batch(frames);
    }
    om_device_stream_destroy(gpu, s);
}

/* Rectangles off the chroma grid, pictures of different sizes in one batch, a full-size one. */
static void gathers_rectangles_of_any_size(void **state)
{
    om_frame *frames[FORMATS];
    om_geometry geometry[FORMATS];
    for (int i = 0; i < FORMATS; i++) {
        size2 size = i == 0 ? (size2){1920, 1080} : (size2){90 + 7 * i, 70 + 5 * i};
        frames[i] = make_picture((om_pixfmt)(i + 1), size, (uint32_t)i * 5);
        geometry[i] = (om_geometry){.src_x = 3 + i % 2,
                                    .src_y = 5 - i % 2,
                                    .src_w = size.w - 11,
                                    .src_h = size.h - 10,
                                    .dst_w = 96,
                                    .dst_h = 80,
                                    .pad_x = i,
                                    .pad_y = 7,
                                    .inner_w = 61,
                                    .inner_h = 67};
    }
    for (size_t i = 0; i < PREPS; i++) check_gather(frames, frames, geometry, FORMATS, &preps[i], NULL);
    drop_batch(frames);
}

static int released;

static void release(om_frame *f)
{
    released++;
    for (int p = 0; p < 3; p++) om_device_mem_free(gpu, f->image.plane[p]);
    free(f);
}

/* The same picture in the GPU's memory, with rows further apart. */
static om_frame *to_gpu(const om_frame *host)
{
    om_frame *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    om_ref_init(&f->ref);
    f->image = host->image;
    f->memory = OM_MEMORY_CUDA;
    f->device = gpu->index;
    f->release = release;
    memset(f->image.plane, 0, sizeof f->image.plane);
    for (int p = 0; p < om_pixfmt_get(host->image.fmt)->planes; p++) {
        int bytes, rows;
        om_pixfmt_plane_size(host->image.fmt, p, host->image.width, host->image.height, &bytes, &rows);
        f->image.stride[p] = bytes + 22;
        size_t size = (size_t)rows * (size_t)f->image.stride[p];
        assert_int_equal(om_device_mem_alloc(gpu, size, (void **)&f->image.plane[p]), OM_OK);
        for (int y = 0; y < rows; y++)
            assert_int_equal(om_device_copy(gpu, OM_COPY_TO_DEVICE,
                                            f->image.plane[p] + (ptrdiff_t)y * f->image.stride[p],
                                            host->image.plane[p] + (ptrdiff_t)y * host->image.stride[p],
                                            (size_t)bytes, NULL),
                             OM_OK);
    }
    return f;
}

static void gathers_from_device_memory(void **state)
{
    om_frame *host[FORMATS], *frames[FORMATS];
    om_geometry geometry[FORMATS];
    make_batch(host, (size2){131, 77}, 4);
    for (int i = 0; i < FORMATS; i++) {
        frames[i] = i % 4 == 3 ? om_frame_ref(host[i]) : to_gpu(host[i]); /* both kinds in one batch */
        om_geometry_fit(OM_FIT_LETTERBOX, 131, 77, 64, 64, &geometry[i]);
    }
    for (size_t i = 0; i < PREPS; i++) check_gather(frames, host, geometry, FORMATS, &preps[i], NULL);
    drop_batch(frames);
    drop_batch(host);
}

/* Quadrilaterals in every position, over the picture's edges too, in host and device memory. */
static void straightens_as_the_reference(void **state)
{
    om_frame *host[FORMATS], *frames[FORMATS];
    om_geometry geometry[FORMATS];
    float quads[FORMATS][8];
    uint32_t seed = 5;
    make_batch(host, (size2){131, 77}, 4);
    for (int i = 0; i < FORMATS; i++) {
        frames[i] = i % 4 == 3 ? om_frame_ref(host[i]) : to_gpu(host[i]);
        geometry[i] = (om_geometry){.dst_w = 94, .dst_h = 24};
        if (i % 3 == 1)
            om_geometry_fit(OM_FIT_LETTERBOX, host[i]->image.width, host[i]->image.height, 94, 24,
                            &geometry[i]);
    }
    for (size_t k = 0; k < 3 * PREPS; k++) {
        om_prep p = preps[k / 3];
        p.filter = (om_filter)(k % 3);
        for (int i = 0; i < FORMATS; i++) {
            float x = (float)(noise(&seed) % 90) - 10, y = (float)(noise(&seed) % 50) - 10;
            const float corners[8] = {x, y, x + 60, y + 4, x + 55, y + 30, x + 3, y + 24};
            for (int c = 0; c < 8; c++) quads[i][c] = corners[c] + (float)(noise(&seed) % 100) / 25;
        }
        check_items(frames, host, geometry, quads, FORMATS, &p, NULL);
    }
    float bow[8] = {0, 0, 20, 20, 20, 0, 0, 20}, room[4];
    om_gather_item item = {.frame = host[0], .geometry = {.dst_w = 8, .dst_h = 8}, .dst = room, .quad = bow};
    assert_int_equal(om_device_gather(gpu, &item, 1, &preps[0], NULL), OM_ERR_ARG);
    drop_batch(frames);
    drop_batch(host);
}

/* The device keeps its own reference while it reads, and gives it back once an event says so. */
static void frames_are_held_while_read(void **state)
{
    om_stream *s;
    om_event *e;
    void *out;
    om_frame *host = make_picture(OM_PIX_NV12, (size2){640, 480}, 1), *f = to_gpu(host);
    om_gather_item item = {.frame = f};
    om_geometry_fit(OM_FIT_LETTERBOX, 640, 480, 320, 320, &item.geometry);
    assert_int_equal(om_device_stream_create(gpu, 1, &s), OM_OK);
    assert_int_equal(om_device_event_create(gpu, &e), OM_OK);
    assert_int_equal(om_device_mem_alloc(gpu, 320 * 320 * 3 * 4, &out), OM_OK);
    item.dst = out;
    released = 0;
    assert_int_equal(om_device_gather(gpu, &item, 1, &preps[0], s), OM_OK);
    om_frame_unref(f);
    assert_int_equal(om_device_event_record(gpu, e, s), OM_OK);
    assert_int_equal(om_device_event_sync(gpu, e), OM_OK);
    assert_int_equal(released, 1);
    assert_int_equal(om_device_event_query(gpu, e), OM_OK);
    om_device_event_destroy(gpu, e);
    om_device_stream_destroy(gpu, s);
    om_device_mem_free(gpu, out);
    om_frame_unref(host);
}

/* Batch after batch, each in the order of its stream: the host looks whether one is done, and never waits. */
static void many_batches_without_a_wait(void **state)
{
    enum { BATCHES = 40 };
    om_stream *s;
    om_event *e;
    void *out;
    om_frame *host = make_picture(OM_PIX_NV12, (size2){640, 480}, 1), *f = to_gpu(host);
    om_gather_item item = {.frame = f};
    om_geometry_fit(OM_FIT_LETTERBOX, 640, 480, 320, 320, &item.geometry);
    assert_int_equal(om_device_stream_create(gpu, 1, &s), OM_OK);
    assert_int_equal(om_device_event_create(gpu, &e), OM_OK);
    assert_int_equal(om_device_mem_alloc(gpu, 320 * 320 * 3 * 4, &out), OM_OK);
    item.dst = out;
    uint64_t before = om_device_sync_count(gpu);
    for (int i = 0; i < BATCHES; i++) {
        assert_int_equal(om_device_gather(gpu, &item, 1, &preps[0], s), OM_OK);
        assert_int_equal(om_device_event_record(gpu, e, s), OM_OK);
        int err;
        while ((err = om_device_event_query(gpu, e)) == OM_ERR_AGAIN) continue;
        assert_int_equal(err, OM_OK);
    }
    assert_int_equal(om_device_sync_count(gpu), before);
    om_frame_unref(f);
    om_device_event_destroy(gpu, e);
    om_device_stream_destroy(gpu, s);
    om_device_mem_free(gpu, out);
    om_frame_unref(host);
}

static void memory_goes_there_and_back(void **state)
{
    enum { SIZE = 3000001 };
    uint8_t *a, *b, *here, *back;
    om_stream *first, *second;
    om_event *e;
    assert_int_equal(om_device_mem_alloc(gpu, SIZE, (void **)&a), OM_OK);
    assert_int_equal(om_device_mem_alloc(gpu, SIZE, (void **)&b), OM_OK);
    assert_int_equal(om_device_pinned_alloc(gpu, SIZE, (void **)&here), OM_OK);
    assert_int_equal(om_device_pinned_alloc(gpu, SIZE, (void **)&back), OM_OK);
    assert_int_equal(om_device_stream_create(gpu, 0, &first), OM_OK);
    assert_int_equal(om_device_stream_create(gpu, 5, &second), OM_OK);
    assert_int_equal(om_device_event_create(gpu, &e), OM_OK);
    uint32_t seed = 9;
    for (size_t i = 0; i < SIZE; i++) here[i] = (uint8_t)noise(&seed);
    memset(back, 0, SIZE);
    assert_int_equal(om_device_copy(gpu, OM_COPY_TO_DEVICE, a, here, SIZE, first), OM_OK);
    assert_int_equal(om_device_event_record(gpu, e, first), OM_OK);
    assert_int_equal(om_device_event_wait(gpu, e, second), OM_OK);
    assert_int_equal(om_device_copy(gpu, OM_COPY_ON_DEVICE, b, a, SIZE, second), OM_OK);
    assert_int_equal(om_device_copy(gpu, OM_COPY_TO_HOST, back, b, SIZE, second), OM_OK);
    assert_int_equal(om_device_event_record(gpu, e, second), OM_OK);
    int err;
    while ((err = om_device_event_query(gpu, e)) == OM_ERR_AGAIN) continue;
    assert_int_equal(err, OM_OK);
    assert_memory_equal(here, back, SIZE);
    memset(back, 0, SIZE);
    assert_int_equal(om_device_copy(gpu, OM_COPY_TO_HOST, back, a, SIZE, NULL), OM_OK);
    assert_memory_equal(here, back, SIZE);
    om_device_event_destroy(gpu, e);
    om_device_stream_destroy(gpu, first);
    om_device_stream_destroy(gpu, second);
    om_device_pinned_free(gpu, here);
    om_device_pinned_free(gpu, back);
    om_device_mem_free(gpu, a);
    om_device_mem_free(gpu, b);
}

static void *gather_often(void *arg)
{
    om_stream *s;
    om_geometry geometry;
    om_frame *f = make_picture(OM_PIX_I420, (size2){320, 180}, 3);
    if (om_device_stream_create(gpu, 0, &s) < 0) return arg;
    om_geometry_fit(OM_FIT_LETTERBOX, 320, 180, 64, 64, &geometry);
    void *out = NULL;
    int err = om_device_mem_alloc(gpu, 64 * 64 * 3 * 4, &out);
    om_gather_item item = {.frame = f, .geometry = geometry, .dst = out};
    for (int i = 0; i < 50 && !err; i++) err = om_device_gather(gpu, &item, 1, &preps[0], s);
    *(int *)arg = err;
    if (!err) check_gather(&f, &f, &geometry, 1, &preps[0], s);
    om_device_stream_destroy(gpu, s);
    om_device_mem_free(gpu, out);
    om_frame_unref(f);
    return NULL;
}

/* More gathers at a time than the device has slots, from several threads. */
static void threads_gather_beside_each_other(void **state)
{
    om_thread threads[6];
    int errors[6] = {0};
    for (int i = 0; i < 6; i++)
        assert_int_equal(om_thread_start(&threads[i], "gather", gather_often, &errors[i]), OM_OK);
    for (int i = 0; i < 6; i++) om_thread_join(&threads[i]);
    for (int i = 0; i < 6; i++) assert_int_equal(errors[i], OM_OK);
}

/* Batches so large that several threads copy them, from several threads: one of these has the helpers. */
static void *gather_much(void *arg)
{
    om_frame *frames[FORMATS];
    om_geometry geometry[FORMATS];
    om_stream *s;
    uint32_t seed = *(uint32_t *)arg;
    make_batch(frames, (size2){960, 540}, seed);
    for (int i = 0; i < FORMATS; i++) om_geometry_fit(OM_FIT_LETTERBOX, 960, 540, 128, 96, &geometry[i]);
    if (om_device_stream_create(gpu, 0, &s) < 0) return arg;
    for (int i = 0; i < 10; i++) check_gather(frames, frames, geometry, FORMATS, &preps[i % 2], s);
    om_device_stream_destroy(gpu, s);
    drop_batch(frames);
    return NULL;
}

static void large_batches_are_copied_by_several(void **state)
{
    om_thread threads[3];
    uint32_t seeds[3] = {1, 20, 40};
    for (int i = 0; i < 3; i++)
        assert_int_equal(om_thread_start(&threads[i], "gather", gather_much, &seeds[i]), OM_OK);
    for (int i = 0; i < 3; i++) om_thread_join(&threads[i]);
}

static void refusals_leave_the_device_usable(void **state)
{
    void *p;
    om_device_info info;
    om_frame *f = make_picture(OM_PIX_NV12, (size2){64, 64}, 1);
    om_gather_item item = {.frame = f, .dst = &info};
    om_prep prep = preps[0];
    assert_int_equal(om_device_mem_alloc(gpu, (size_t)1 << 46, &p), OM_ERR_NOMEM);
    assert_null(p);
    om_geometry_fit(OM_FIT_STRETCH, 66, 64, 32, 32, &item.geometry);
    assert_int_equal(om_device_gather(gpu, &item, 1, &prep, NULL), OM_ERR_ARG);
    om_geometry_fit(OM_FIT_STRETCH, 64, 64, 32, 32, &item.geometry);
    prep.dtype = OM_DTYPE_F64;
    assert_int_equal(om_device_gather(gpu, &item, 1, &prep, NULL), OM_ERR_UNSUPPORTED);
    om_geometry_fit(OM_FIT_STRETCH, 64, 64, 32, 32, &item.geometry);
    check_gather(&f, &f, &item.geometry, 1, &preps[0], NULL);
    assert_int_equal(om_device_info_get(gpu, &info), OM_OK);
    assert_true(info.name[0] && info.memory_total > 0 && info.memory_free > 0);
    om_frame_unref(f);
}

int main(void)
{
    int skip = open_cuda(&gpu);
    if (skip) return skip;
    om_kernels_init(&reference, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_goes_there_and_back),
        cmocka_unit_test(gathers_as_the_reference),
        cmocka_unit_test(gathers_rectangles_of_any_size),
        cmocka_unit_test(gathers_from_device_memory),
        cmocka_unit_test(straightens_as_the_reference),
        cmocka_unit_test(many_batches_without_a_wait),
        cmocka_unit_test(frames_are_held_while_read),
        cmocka_unit_test(threads_gather_beside_each_other),
        cmocka_unit_test(large_batches_are_copied_by_several),
        cmocka_unit_test(refusals_leave_the_device_usable),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    om_device_close(gpu);
    return failed ? 1 : 0;
}
