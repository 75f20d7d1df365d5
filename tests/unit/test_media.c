/* The media room without the network: addresses, pictures, the encoder, and the account of
 * packets. What FFmpeg's own tools say about real videos is compared in tests/e2e/test_media.py. */
#include <libavutil/log.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <libavutil/frame.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "media/frame_av.h"
#include "media/media.h"

#include "clip.h"
#include "folder.h"

static void write_bytes(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

/* ---- addresses */

static void test_redact(void **state)
{
    static const char *const pairs[][2] = {
        {"rtsp://user:secret@host/gate", "rtsp://host/gate"},
        {"rtsp://user@host:554/a@b", "rtsp://host:554/a@b"},
        {"rtsp://u:p@ss@host/x", "rtsp://host/x"},
        {"rtsp://u:p/ss@host/x", "rtsp://host/x"},
        {"rtsp://host:554/x", "rtsp://host:554/x"},
        {"rtsp://[fe80::1]/cam@2", "rtsp://[fe80::1]/cam@2"},
        {"http://h/x?a=1&password=secret&b=2", "http://h/x?a=1&password=***&b=2"},
        {"http://h/x?Token=secret", "http://h/x?Token=***"},
        {"http://h/x?tokens=3", "http://h/x?tokens=3"},
        {"folder/a@b.mp4", "folder/a@b.mp4"},
        {"rtsp://u:p'q r@h/1", "rtsp://h/1"},
        {"rtsp://u:p", "rtsp://u:***"},
        {"tcp://host:554 failed", "tcp://host:554 failed"},
        {"http://proxy/rtsp://u:p@h/1", "http://proxy/rtsp://h/1"},
        {"rtsp://a@b:c/d@e", "rtsp://e"},
        {"opening 'rtsp://u:p@h/1' and http://v:q@i/2 failed", "opening 'rtsp://h/1' and http://i/2 failed"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *got = om_uri_redact(pairs[i][0]);
        assert_string_equal(got, pairs[i][1]);
        om_free(got);
    }
}

static void test_name(void **state)
{
    static const char *const pairs[][2] = {
        {"rtsp://u:p@host/gate", "gate"},
        {"rtsp://u:p@host:554/Streaming/Channels/101", "101"},
        {"rtsp://host", "host"},
        {"rtsp://10.0.0.7:554/", "10.0.0.7"},
        {"http://h/x.mp4?tok=1", "x"},
        {"a/bikes.mp4", "bikes"},
        {"bikes", "bikes"},
        {"file:///srv/a b.avi", "a_b"},
        {"pictures/", "pictures"},
        {"a/b/*.jpg", "b"},
        {"images:night@5", "night_5"},
        {"pattern:64x64", "pattern"},
        {"/", "stream"},
        {".", "stream"},
        {".hidden", ".hidden"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *got = om_uri_name(pairs[i][0]);
        assert_string_equal(got, pairs[i][1]);
        om_free(got);
    }
}

/* ---- encoder and files */

/* A clip of the test pattern; returns its bytes. */
static char *make_clip(const char *path, const char *pattern, size_t *len)
{
    clip_make(path, pattern);
    char *data;
    assert_int_equal(om_read_file(path, 1 << 26, &data, len), OM_OK);
    return data;
}

typedef struct outcome {
    int open_code, code;
    unsigned long long received, decoded, no_output, corrupt, unread, returned;
} outcome;

/* Reads up to `max` pictures and checks what must always hold. */
static outcome read_source(const char *uri, om_source_params params, unsigned long long max)
{
    om_source_counts c = {0};
    om_source *s = NULL;
    outcome o = {0};
    int64_t last = -1;
    o.open_code = o.code = om_source_open(uri, &params, &c, &s);
    while (o.code == OM_OK && o.returned < max) {
        om_frame *f;
        o.code = om_source_read(s, &f);
        if (o.code != OM_OK) {
            assert_null(f);
            break;
        }
        assert_int_equal(f->seq, o.returned++);
        assert_true(f->pts_ns > last);
        last = f->pts_ns;
        om_frame_unref(f);
    }
    om_source_close(s);
    o.received = atomic_load(&c.received);
    o.decoded = atomic_load(&c.decoded);
    o.no_output = atomic_load(&c.no_output);
    o.corrupt = atomic_load(&c.corrupt);
    o.unread = atomic_load(&c.unread);
    assert_int_equal(o.received, o.decoded + o.no_output + o.corrupt + o.unread);
    assert_int_equal(o.decoded, o.returned);
    return o;
}

static void test_encoded_clip_comes_back(void **state)
{
    size_t len;
    char *data = make_clip(folder_path("clip.mp4"), "pattern:320x240@25:frames=60", &len);
    om_free(data);
    outcome o = read_source(folder_path("clip.mp4"), (om_source_params){0}, 1000);
    assert_int_equal(o.code, OM_ERR_EOF);
    assert_int_equal(o.received, 60);
    assert_int_equal(o.decoded, 60);
}

static void test_odd_size_is_encoded(void **state)
{
    size_t len;
    om_free(make_clip(folder_path("odd.mp4"), "pattern:161x91:frames=3:shapes=1", &len));
    assert_int_equal(read_source(folder_path("odd.mp4"), (om_source_params){0}, 10).decoded, 3);
}

static void test_loop_counts_on(void **state)
{
    size_t len;
    om_free(make_clip(folder_path("loop.mp4"), "pattern:64x64@25:frames=5", &len));
    outcome o = read_source(folder_path("loop.mp4"), (om_source_params){.loop = true}, 17);
    assert_int_equal(o.code, OM_OK);
    assert_int_equal(o.decoded, 17);
    assert_true(o.received >= 17 && o.received <= 20);
}

/* As a killed process would leave it, at whatever moment. */
static void test_unfinished_file_is_readable(void **state)
{
    om_source_params params = {0};
    om_source_counts counts = {0};
    om_source *s;
    om_encoder *e;
    om_frame *f;
    unsigned long long readable = 0;
    assert_int_equal(om_source_open("pattern:64x64@25:frames=150", &params, &counts, &s), OM_OK);
    assert_int_equal(om_encoder_open(folder_path("growing.mp4"), 64, 64, 25, &e), OM_OK);
    for (unsigned long long n = 0; om_source_read(s, &f) == OM_OK; n++) {
        assert_int_equal(om_encoder_write(e, &f->image, f->pts_ns), OM_OK);
        om_frame_unref(f);
        if (n % 10 != 9) continue;
        outcome o = read_source(folder_path("growing.mp4"), (om_source_params){0}, 1000);
        assert_true(o.decoded >= readable && o.decoded == o.received);
        readable = o.decoded;
        assert_true(readable + 15 > n); /* half a second a fragment */
    }
    om_source_close(s);
    assert_true(readable >= 135);
    assert_int_equal(om_encoder_close(e), OM_OK);
    assert_int_equal(read_source(folder_path("growing.mp4"), (om_source_params){0}, 1000).decoded, 150);
}

/* What was written before the disk was full can be played. */
static void test_full_disk_leaves_whole_fragments(void **state)
{
    struct rlimit old, small;
    om_source_params params = {0};
    om_source_counts counts = {0};
    om_source *s;
    om_encoder *e;
    om_frame *f;
    int rc = OM_OK;
    assert_int_equal(om_source_open("pattern:320x240@25:frames=0", &params, &counts, &s), OM_OK);
    assert_int_equal(om_encoder_open(folder_path("full.mp4"), 320, 240, 25, &e), OM_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    small = old;
    small.rlim_cur = 50001;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int n = 0; rc == OM_OK && n < 5000; n++) {
        assert_int_equal(om_source_read(s, &f), OM_OK);
        rc = om_encoder_write(e, &f->image, f->pts_ns);
        om_frame_unref(f);
    }
    int closed = om_encoder_close(e);
    setrlimit(RLIMIT_FSIZE, &old);
    om_source_close(s);
    assert_true(rc < 0);
    assert_int_equal(closed, rc);
    assert_non_null(strstr(om_error_message(), "full.mp4"));
    outcome o = read_source(folder_path("full.mp4"), (om_source_params){0}, 10000);
    assert_int_equal(o.code, OM_ERR_EOF);
    assert_true(o.decoded > 25 && o.decoded == o.received);
}

/* Whatever happens to the bytes: no crash, an end, and an exact account. */
static void test_damaged_files_keep_the_account(void **state)
{
    size_t len;
    char *data = make_clip(folder_path("good.mp4"), "pattern:128x96@25:frames=50", &len);
    unsigned long long damaged = 0;
    for (unsigned seed = 0; seed < 24; seed++) {
        char *bad = malloc(len);
        assert_non_null(bad);
        memcpy(bad, data, len);
        srand(seed);
        size_t n = seed < 8 ? len * (seed + 1) / 9 : len;
        for (unsigned flips = seed < 8 ? 0 : 1u << (seed - 8) / 2; flips > 0; flips--)
            bad[1200 + (size_t)rand() % (len - 1200)] = (char)rand();
        write_bytes(folder_path("bad.mp4"), bad, n);
        free(bad);
        outcome o = read_source(folder_path("bad.mp4"),
                                (om_source_params){.decode_threads = 1 + (int)seed % 3}, 1000);
        damaged += o.corrupt;
        assert_true(o.code != OM_OK && o.code != OM_ERR_INTERNAL);
    }
    assert_true(damaged > 0);
    om_free(data);
}

static void test_closed_early_counts_unread(void **state)
{
    size_t len;
    om_free(make_clip(folder_path("early.mp4"), "pattern:64x64@25:frames=30", &len));
    outcome o = read_source(folder_path("early.mp4"), (om_source_params){.decode_threads = 3}, 4);
    assert_int_equal(o.decoded, 4);
    assert_true(o.unread > 0);
}

static void expect_open_error(const char *path, int code, const char *words)
{
    om_source_params params = {0};
    om_source_counts counts = {0};
    om_source *s = (om_source *)&counts;
    assert_int_equal(om_source_open(path, &params, &counts, &s), code);
    assert_null(s);
    assert_non_null(strstr(om_error_message(), words));
    assert_null(strstr(om_error_message(), "secret"));
    if (!strstr(path, "://")) assert_non_null(strstr(om_error_message(), path));
}

static void test_bad_inputs_are_named(void **state)
{
    write_bytes(folder_path("zero.mp4"), "", 0);
    write_bytes(folder_path("text.txt"), "hello, world\n", 13);
    write_bytes(folder_path("broken.jpg"), "\xff\xd8\xff nothing", 11);
    write_bytes(folder_path("text.png"), "hello", 5);
    mkdir(folder_path("empty"), 0700);
    expect_open_error(folder_path("none.mp4"), OM_ERR_NOT_FOUND, "No such file");
    expect_open_error(folder_path("zero.mp4"), OM_ERR_FORMAT, "empty file");
    expect_open_error(folder_path("text.txt"), OM_ERR_FORMAT, "not a video");
    expect_open_error(folder_path("broken.jpg"), OM_ERR_FORMAT, "damaged");
    expect_open_error(folder_path("text.png"), OM_ERR_FORMAT, "not a picture");
    expect_open_error(folder_path("empty"), OM_ERR_NOT_FOUND, "no pictures");
    expect_open_error(folder_path("empty/*.jpg"), OM_ERR_NOT_FOUND, "no pictures");
    expect_open_error("gopher://user:secret@host/x", OM_ERR_UNSUPPORTED, "unknown kind of source");
    om_source_params params = {.rtsp_transport = "pigeon"};
    om_source_counts counts = {0};
    om_source *s;
    assert_int_equal(om_source_open("rtsp://u:secret@127.0.0.1:1/x", &params, &counts, &s), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "tcp, udp or auto"));
}

static void keep_line(void *user, om_log_level level, const char *line)
{
    (void)level;
    snprintf(user, 2048, "%s", line);
}

/* FFmpeg's lines are cut where they are long: never so that half an address would show what is in it. */
static void test_long_lines_show_no_password(void **state)
{
    char said[2048], padding[1200];
    om_log_set(keep_line, said, OM_LOG_DEBUG);
    for (int n = 0; n < 1100; n += 7) {
        memset(padding, 'x', sizeof padding);
        padding[n] = '\0';
        *said = '\0';
        av_log(NULL, AV_LOG_ERROR, "%s rtsp://user:geheim@10.0.0.7/%s\n", padding, padding);
        assert_true(*said);
        assert_null(strstr(said, "user"));
        assert_null(strstr(said, "gehe"));
    }
    om_log_set(NULL, NULL, OM_LOG_DEBUG);
}

static void test_encoder_refuses(void **state)
{
    om_encoder *e = (om_encoder *)folder;
    assert_int_equal(om_encoder_open(folder_path("no/such/x.mp4"), 64, 64, 25, &e), OM_ERR_NOT_FOUND);
    assert_null(e);
    assert_int_equal(om_encoder_close(NULL), OM_OK);
}

/* Pictures of any size go into one video. */
static void test_encoder_fits_pictures_in(void **state)
{
    static const int sizes[][2] = {{32, 32}, {64, 64}, {1, 1},      {1, 300}, {300, 1},
                                   {200, 3}, {63, 64}, {1000, 999}, {2, 2}};
    for (int odd = 0; odd < 2; odd++) {
        om_encoder *e = NULL;
        assert_int_equal(om_encoder_open(folder_path("size.mp4"), 64 - odd, 48 - odd, 25, &e), OM_OK);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            om_frame *f;
            assert_int_equal(om_frame_create(OM_PIX_NV12, sizes[i][0], sizes[i][1], &f), OM_OK);
            memset(f->image.plane[0], 99, (size_t)f->image.stride[0] * (size_t)sizes[i][1]);
            memset(f->image.plane[1], 99, (size_t)f->image.stride[1] * (size_t)((sizes[i][1] + 1) / 2));
            assert_int_equal(om_encoder_write(e, &f->image, (int64_t)i * 40000000), OM_OK);
            om_frame_unref(f);
        }
        assert_int_equal(om_encoder_close(e), OM_OK);
    }
}

/* Every write to it says that the disk is full. */
static void test_full_disk_is_reported(void **state)
{
    om_encoder *e = NULL;
    int rc = om_encoder_open("/dev/full", 64, 64, 25, &e);
    assert_int_equal(rc, OM_ERR_FULL);
    assert_non_null(strstr(om_error_message(), "/dev/full"));
    assert_null(e);
}

/* ---- pictures */

static om_frame *rgb_gradient(int w, int h)
{
    om_frame *f;
    assert_int_equal(om_frame_create(OM_PIX_RGB24, w, h, &f), OM_OK);
    f->image.range = OM_RANGE_FULL;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            uint8_t *p = f->image.plane[0] + (ptrdiff_t)y * f->image.stride[0] + 3 * x;
            p[0] = (uint8_t)(x * 255 / w);
            p[1] = (uint8_t)(y * 255 / h);
            p[2] = 64;
        }
    return f;
}

static void test_png_is_lossless(void **state)
{
    om_frame *f = rgb_gradient(97, 61), *back;
    assert_int_equal(om_picture_save(folder_path("g.png"), &f->image, 0), OM_OK);
    assert_int_equal(om_picture_load(folder_path("g.png"), &back), OM_OK);
    assert_int_equal(back->image.fmt, OM_PIX_RGB24);
    for (int y = 0; y < 61; y++)
        assert_memory_equal(f->image.plane[0] + (ptrdiff_t)y * f->image.stride[0],
                            back->image.plane[0] + (ptrdiff_t)y * back->image.stride[0], 97 * 3);
    om_frame_unref(back);
    om_frame_unref(f);
}

static void test_jpeg_quality_matters(void **state)
{
    om_frame *f = rgb_gradient(160, 120), *back;
    struct stat fine, rough;
    assert_int_equal(om_picture_save(folder_path("fine.jpg"), &f->image, 95), OM_OK);
    assert_int_equal(om_picture_save(folder_path("rough.jpg"), &f->image, 10), OM_OK);
    assert_int_equal(om_picture_save(folder_path("x.tiff"), &f->image, 10), OM_ERR_ARG);
    assert_int_equal(om_picture_save(folder_path("no/x.jpg"), &f->image, 10), OM_ERR_NOT_FOUND);
    stat(folder_path("fine.jpg"), &fine);
    stat(folder_path("rough.jpg"), &rough);
    assert_true(fine.st_size > rough.st_size);
    assert_int_equal(om_picture_load(folder_path("fine.jpg"), &back), OM_OK);
    assert_int_equal(back->image.fmt, OM_PIX_I420);
    assert_int_equal(back->image.range, OM_RANGE_FULL);
    om_frame_unref(back);
    om_frame_unref(f);
}

static void test_folder_is_a_stream(void **state)
{
    om_frame *f = rgb_gradient(32, 32);
    mkdir(folder_path("pics [1]"), 0700);
    assert_int_equal(om_picture_save(folder_path("pics [1]/b.png"), &f->image, 0), OM_OK);
    assert_int_equal(om_picture_save(folder_path("pics [1]/a.jpg"), &f->image, 90), OM_OK);
    write_bytes(folder_path("pics [1]/c.png"), "\x89PNG\r\n\x1a\n damaged", 16);
    write_bytes(folder_path("pics [1]/notes.txt"), "x", 1);
    om_frame_unref(f);

    om_strlist list = {0};
    assert_int_equal(om_picture_list(folder_path("pics [1]"), &list), OM_OK);
    assert_int_equal(list.n, 3);
    assert_non_null(strstr(list.items[0], "a.jpg"));
    assert_non_null(strstr(list.items[1], "b.png"));
    om_strlist_fini(&list);

    outcome o = read_source(folder_path("pics [1]"), (om_source_params){0}, 10);
    assert_int_equal(o.code, OM_ERR_EOF);
    assert_int_equal(o.received, 3);
    assert_int_equal(o.decoded, 2);
    assert_int_equal(o.corrupt, 1);
    o = read_source(folder_path("pics*/*.jpg"), (om_source_params){.loop = true}, 3);
    assert_int_equal(o.decoded, 3);
    assert_int_equal(read_source(folder_path("pics [1]/b.png"), (om_source_params){0}, 9).decoded, 1);
}

static void test_pictures_are_a_second_apart(void **state)
{
    om_frame *f = rgb_gradient(16, 16), *second;
    mkdir(folder_path("two"), 0700);
    assert_int_equal(om_picture_save(folder_path("two/1.png"), &f->image, 0), OM_OK);
    assert_int_equal(om_picture_save(folder_path("two/2.png"), &f->image, 0), OM_OK);
    om_frame_unref(f);
    static const struct {
        const char *suffix;
        int64_t gap;
    } rates[] = {{"", OM_NS_PER_SEC}, {"@4", OM_NS_PER_SEC / 4}};
    for (int i = 0; i < 2; i++) {
        char uri[300];
        snprintf(uri, sizeof uri, "images:%s%s", folder_path("two"), rates[i].suffix);
        om_source_params params = {0};
        om_source_counts counts = {0};
        om_source *s;
        assert_int_equal(om_source_open(uri, &params, &counts, &s), OM_OK);
        assert_int_equal(om_source_read(s, &f), OM_OK);
        assert_int_equal(om_source_read(s, &second), OM_OK);
        assert_int_equal(second->pts_ns - f->pts_ns, rates[i].gap);
        om_frame_unref(f);
        om_frame_unref(second);
        om_source_close(s);
    }
}

/* ---- FFmpeg's pictures */

static AVFrame *av_picture(enum AVPixelFormat fmt, int w, int h)
{
    AVFrame *av = av_frame_alloc();
    assert_non_null(av);
    av->format = fmt;
    av->width = w;
    av->height = h;
    assert_int_equal(av_frame_get_buffer(av, 0), 0);
    for (int i = 0; i < 4 && av->buf[i]; i++) memset(av->buf[i]->data, 128, (size_t)av->buf[i]->size);
    return av;
}

static void check_wrap(enum AVPixelFormat from, int h, om_pixfmt to, om_range range, om_matrix matrix)
{
    AVFrame *av = av_picture(from, 64, h);
    const uint8_t *plane = av->data[0];
    om_frame *f;
    assert_int_equal(om_frame_from_av(av, &f), OM_OK);
    assert_null(av->data[0]); /* left blank */
    assert_int_equal(f->image.fmt, to);
    assert_int_equal(f->image.range, range);
    assert_int_equal(f->image.matrix, matrix);
    assert_int_equal(f->image.height, h);
    if (f->native) assert_ptr_equal(f->image.plane[0], plane); /* not copied */
    om_frame *drawable;
    assert_int_equal(om_frame_copy_drawable(f, &drawable), OM_OK);
    assert_true(drawable->image.fmt == OM_PIX_I420 || drawable->image.fmt == OM_PIX_NV12);
    om_frame_unref(drawable);
    om_frame_unref(f);
    av_frame_free(&av);
}

static void test_wrap_formats(void **state)
{
    check_wrap(AV_PIX_FMT_YUV420P, 480, OM_PIX_I420, OM_RANGE_LIMITED, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_YUV420P, 720, OM_PIX_I420, OM_RANGE_LIMITED, OM_MATRIX_BT709);
    check_wrap(AV_PIX_FMT_YUVJ420P, 480, OM_PIX_I420, OM_RANGE_FULL, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_YUVJ444P, 480, OM_PIX_I444, OM_RANGE_FULL, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_YUV422P, 480, OM_PIX_I422, OM_RANGE_LIMITED, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_NV12, 480, OM_PIX_NV12, OM_RANGE_LIMITED, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_P010LE, 480, OM_PIX_P010, OM_RANGE_LIMITED, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_YUV420P10LE, 480, OM_PIX_I010, OM_RANGE_LIMITED, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_YUV422P10LE, 480, OM_PIX_I210, OM_RANGE_LIMITED, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_YUV444P10LE, 480, OM_PIX_I410, OM_RANGE_LIMITED, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_GRAY8, 480, OM_PIX_GRAY8, OM_RANGE_FULL, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_RGB24, 480, OM_PIX_RGB24, OM_RANGE_FULL, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_BGR24, 480, OM_PIX_BGR24, OM_RANGE_FULL, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_YUV411P, 480, OM_PIX_I420, OM_RANGE_LIMITED, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_RGBA, 480, OM_PIX_RGB24, OM_RANGE_FULL, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_PAL8, 480, OM_PIX_RGB24, OM_RANGE_FULL, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_GRAY16LE, 480, OM_PIX_GRAY8, OM_RANGE_FULL, OM_MATRIX_BT601);
    check_wrap(AV_PIX_FMT_YUV420P12LE, 480, OM_PIX_I420, OM_RANGE_LIMITED, OM_MATRIX_BT601);
}

static void test_wrap_refuses(void **state)
{
    AVFrame *av = av_picture(AV_PIX_FMT_YUV420P, 16, 16);
    om_frame *f = (om_frame *)av;
    av->format = AV_PIX_FMT_VAAPI;
    assert_int_equal(om_frame_from_av(av, &f), OM_ERR_UNSUPPORTED);
    assert_null(f);
    assert_non_null(strstr(om_error_message(), "vaapi"));
    av_frame_free(&av);
}

/* ---- memory that runs out */

static void test_every_allocation_may_fail(void **state)
{
    size_t len;
    om_free(make_clip(folder_path("oom.mp4"), "pattern:64x64:frames=3", &len));
    om_frame *f = rgb_gradient(16, 16);
    assert_int_equal(om_picture_save(folder_path("oom.png"), &f->image, 0), OM_OK);
    om_frame_unref(f);
    const char *const uris[] = {"pattern:64x64:frames=3", folder_path("oom.mp4"), folder_path("oom.png")};
    for (size_t u = 0; u < 3; u++) {
        bool met = true;
        for (long n = 0; met; n++) {
            om_mem_fail_after(n);
            outcome o = read_source(uris[u], (om_source_params){0}, 100);
            met = om_mem_injected();
            om_mem_fail_after(-1);
            if (met) assert_true(o.code == OM_ERR_NOMEM || o.code == OM_ERR_EOF);
            assert_true(n < 1000);
        }
    }
}

static int make_folder(void **state)
{
    om_media_quiet();
    return folder_make(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redact),
        cmocka_unit_test(test_name),
        cmocka_unit_test(test_encoded_clip_comes_back),
        cmocka_unit_test(test_odd_size_is_encoded),
        cmocka_unit_test(test_loop_counts_on),
        cmocka_unit_test(test_unfinished_file_is_readable),
        cmocka_unit_test(test_full_disk_leaves_whole_fragments),
        cmocka_unit_test(test_damaged_files_keep_the_account),
        cmocka_unit_test(test_closed_early_counts_unread),
        cmocka_unit_test(test_bad_inputs_are_named),
        cmocka_unit_test(test_long_lines_show_no_password),
        cmocka_unit_test(test_encoder_refuses),
        cmocka_unit_test(test_encoder_fits_pictures_in),
        cmocka_unit_test(test_full_disk_is_reported),
        cmocka_unit_test(test_png_is_lossless),
        cmocka_unit_test(test_jpeg_quality_matters),
        cmocka_unit_test(test_folder_is_a_stream),
        cmocka_unit_test(test_pictures_are_a_second_apart),
        cmocka_unit_test(test_wrap_formats),
        cmocka_unit_test(test_wrap_refuses),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_folder, folder_remove);
}
