/* Decoding that goes from the GPU to the CPU and back. The GPU is a stand-in: this program brings its own
 * media/hwaccel.h, on which FFmpeg's ordinary decoders do the work, so that what surrounds a GPU's decoder
 * can be tested where there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libavformat/avformat.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "media/media.h"

#include "check.h"
#include "fake_hwaccel.h"
#include "folder.h"

/* ---- */

#define FRAMES 120
#define GOP 12

/* H.264 with B-pictures and closed groups of twelve, in Matroska. Skips where FFmpeg has no libx264. */
static void make_clip(const char *path)
{
    om_source_params params = {0};
    om_source_counts counts = {0};
    om_source *s;
    om_frame *f;
    AVFormatContext *out;
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    if (!codec) skip();
    AVCodecContext *enc = avcodec_alloc_context3(codec);
    AVDictionary *opts = NULL;
    AVPacket *pkt = av_packet_alloc();
    enc->width = 96;
    enc->height = 64;
    enc->pix_fmt = AV_PIX_FMT_YUV420P;
    enc->time_base = (AVRational){1, 25};
    enc->gop_size = GOP;
    enc->max_b_frames = 2;
    enc->thread_count = 1;
    enc->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_CLOSED_GOP;
    av_dict_set(&opts, "preset", "fast", 0);
    assert_true(avcodec_open2(enc, codec, &opts) >= 0);
    av_dict_free(&opts);
    assert_true(avformat_alloc_output_context2(&out, NULL, "matroska", path) >= 0);
    AVStream *st = avformat_new_stream(out, NULL);
    st->time_base = enc->time_base;
    assert_true(avcodec_parameters_from_context(st->codecpar, enc) >= 0);
    assert_true(avio_open(&out->pb, path, AVIO_FLAG_WRITE) >= 0);
    assert_true(avformat_write_header(out, NULL) >= 0);
    assert_ok(om_source_open("pattern:96x64@25:frames=120", &params, &counts, &s));
    for (int i = 0; i <= FRAMES; i++) {
        AVFrame *av = NULL;
        if (i < FRAMES) {
            om_frame *i420;
            assert_ok(om_source_read(s, &f));
            assert_ok(om_frame_copy_drawable(f, &i420));
            av = av_frame_alloc();
            av->format = AV_PIX_FMT_YUV420P;
            av->width = 96;
            av->height = 64;
            av->pts = i;
            assert_true(av_frame_get_buffer(av, 0) >= 0);
            for (int p = 0; p < 3; p++)
                for (int y = 0; y < (p ? 32 : 64); y++)
                    memcpy(av->data[p] + y * av->linesize[p],
                           i420->image.plane[p] + y * i420->image.stride[p], p ? 48 : 96);
            om_frame_unref(i420);
            om_frame_unref(f);
        }
        assert_true(avcodec_send_frame(enc, av) >= 0);
        av_frame_free(&av);
        while (avcodec_receive_packet(enc, pkt) >= 0) {
            av_packet_rescale_ts(pkt, enc->time_base, st->time_base);
            assert_true(av_interleaved_write_frame(out, pkt) >= 0);
        }
    }
    om_source_close(s);
    av_write_trailer(out);
    avio_closep(&out->pb);
    avformat_free_context(out);
    avcodec_free_context(&enc);
    av_packet_free(&pkt);
}

static uint64_t sum_of(const om_image *img)
{
    uint64_t h = 1469598103934665603u;
    for (int y = 0; y < img->height; y++)
        for (int x = 0; x < img->width; x++)
            h = (h ^ img->plane[0][(ptrdiff_t)y * img->stride[0] + x]) * 1099511628211u;
    return h;
}

typedef struct reading {
    int n;
    int64_t pts[3 * FRAMES];
    uint64_t sum[3 * FRAMES];
} reading;

/* Reads all, or `most`; each `turn` pictures the stream is wished elsewhere. */
static void read_all(om_hwaccel *accel, bool on_cpu, int turn, int most, om_source_counts *c, reading *r)
{
    om_source_params params = {.hwaccel = accel, .on_cpu = on_cpu, .hold = 2, .loop = most > FRAMES};
    om_source *s;
    om_frame *f;
    memset(c, 0, sizeof(*c));
    memset(r, 0, sizeof(*r));
    assert_ok(om_source_open(folder_path("change.mkv"), &params, c, &s));
    while (r->n < most && om_source_read(s, &f) == OM_OK) {
        assert_int_equal(f->seq, r->n);
        r->pts[r->n] = f->pts_ns;
        r->sum[r->n++] = sum_of(&f->image);
        om_frame_unref(f);
        if (turn && r->n % turn == 0) om_source_decode_on_cpu(s, on_cpu = !on_cpu);
    }
    om_source_close(s);
    assert_int_equal(atomic_load(&c->received), atomic_load(&c->decoded) + atomic_load(&c->unread));
}

static void assert_same(const reading *a, const reading *b)
{
    assert_int_equal(a->n, b->n);
    for (int i = 0; i < a->n; i++) {
        assert_int_equal(a->pts[i], b->pts[i]);
        assert_int_equal(a->sum[i], b->sum[i]);
    }
}

/* There and back again, on each turn, and nothing is missing, twice or another picture. */
static void it_goes_there_and_back_without_a_loss(void **state)
{
    om_source_counts c;
    reading *want = om_calloc(2, sizeof(*want)), *got = want + 1;
    om_hwaccel accel = {0};
    make_clip(folder_path("change.mkv"));
    assert_ok(om_device_open("cpu", &accel.device));
    read_all(NULL, false, 0, FRAMES, &c, want);
    assert_int_equal(want->n, FRAMES);
    read_all(&accel, false, 0, FRAMES, &c, got);
    assert_same(got, want);
    assert_int_equal(accel.opened, 1);
    assert_int_equal(atomic_load(&c.changes), 0);
    for (int turn = 5; turn < 45; turn += 13) {
        accel.opened = accel.closed = 0;
        read_all(&accel, turn & 1, turn, FRAMES, &c, got);
        assert_same(got, want);
        assert_in_range(atomic_load(&c.changes), 1, FRAMES / GOP);
        assert_int_equal(accel.opened, accel.closed);
        assert_true(accel.opened >= 1 && accel.opened <= atomic_load(&c.changes));
        assert_int_equal(atomic_load(&c.fallbacks), 0);
    }
    /* A file that begins anew meanwhile. */
    read_all(NULL, false, 0, 3 * FRAMES, &c, want);
    read_all(&accel, false, 30, 3 * FRAMES, &c, got);
    assert_same(got, want);
    assert_true(atomic_load(&c.changes) >= 3);
    om_device_close(accel.device);
    om_free(want);
}

/* What the GPU does not take is decoded on the CPU from its first picture on, is counted once, and does not
 * try the GPU again. */
static void what_is_refused_stays_on_the_cpu(void **state)
{
    om_source_counts c;
    reading *want = om_calloc(2, sizeof(*want)), *got = want + 1;
    om_hwaccel accel = {.refuse = 1};
    make_clip(folder_path("change.mkv"));
    assert_ok(om_device_open("cpu", &accel.device));
    read_all(NULL, false, 0, FRAMES, &c, want);
    read_all(&accel, false, 20, FRAMES, &c, got);
    assert_same(got, want);
    assert_int_equal(accel.opened, 1);
    assert_int_equal(atomic_load(&c.refused), 1);
    assert_int_equal(atomic_load(&c.fallbacks), 1);
    assert_int_equal(atomic_load(&c.changes), 0);
    assert_int_equal(atomic_load(&c.decoder), OM_DECODER_CPU);
    om_device_close(accel.device);
    om_free(want);
}

static int make_folder(void **state)
{
    om_media_quiet();
    return folder_make(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_there_and_back_without_a_loss),
        cmocka_unit_test(what_is_refused_stays_on_the_cpu),
    };
    return cmocka_run_group_tests(tests, make_folder, folder_remove);
}
