/* H.264 in fragmented MP4. FFmpeg's own reader refuses a file whose last fragment's header is torn, so the
 * muxer writes into memory and each fragment goes to the file whole, in one call. */
#include <errno.h>
#include <fcntl.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "media/frame_av.h"
#include "media/media.h"
#include "trace/trace.h"

#define TICKS 90000
#define KEY_SECONDS 2
#define FRAGMENT_US 500000 /* what a kill or a full disk may cost */
#define HD_LINES 720
#define IO_BYTES 32768

struct om_encoder {
    char *path;
    AVFormatContext *fmt;
    AVCodecContext *ctx;
    AVFrame *frame;
    AVPacket *pkt;
    struct SwsContext *scaler;
    om_image target; /* what `frame` is, in our words */
    int width, height;
    int64_t first_ns, last_tick;
    uint8_t *muxed; /* what the muxer wrote and the file has not */
    size_t n_muxed, cap_muxed;
    int fd;             /* -1 until it is open */
    int64_t whole;      /* bytes in the file, up to the end of the last whole fragment */
    bool started, told; /* told: that the file has no name any more */
    int failed;         /* the first error; nothing more is written after it */
    char message[256];
};

static const AVCodec *find_codec(void)
{
    const AVCodec *x264 = avcodec_find_encoder_by_name("libx264");
    return x264 ? x264 : avcodec_find_encoder(AV_CODEC_ID_MPEG4);
}

static void set_codec(om_encoder *e, double fps)
{
    AVCodecContext *c = e->ctx;
    bool hd = e->target.matrix == OM_MATRIX_BT709;
    c->width = e->target.width;
    c->height = e->target.height;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->color_range = AVCOL_RANGE_MPEG;
    c->colorspace = hd ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
    c->color_primaries = hd ? AVCOL_PRI_BT709 : AVCOL_PRI_SMPTE170M;
    c->color_trc = hd ? AVCOL_TRC_BT709 : AVCOL_TRC_SMPTE170M;
    c->framerate = av_d2q(fps, 100000);
    /* MPEG-4's own clock has 16 bits. */
    c->time_base = c->codec_id == AV_CODEC_ID_H264 ? (AVRational){1, TICKS} : (AVRational){1, 60000};
    c->gop_size = (int)fmax(1, fmin(250, ceil(fps * KEY_SECONDS)));
    c->max_b_frames = 0;
    c->thread_count = 1;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (c->codec_id == AV_CODEC_ID_H264) {
        av_opt_set(c->priv_data, "preset", "veryfast", 0);
        av_opt_set(c->priv_data, "crf", "23", 0);
        av_opt_set_int(c->priv_data, "rc-lookahead", 0, 0);
        av_opt_set_int(c->priv_data, "mbtree", 0, 0);
    } else {
        c->flags |= AV_CODEC_FLAG_QSCALE;
        c->global_quality = FF_QP2LAMBDA * 4;
    }
}

static int open_codec(om_encoder *e, double fps)
{
    const AVCodec *codec = find_codec();
    if (!codec)
        return om_fail(OM_ERR_UNSUPPORTED, "%s: this FFmpeg has no H.264 and no MPEG-4 encoder", e->path);
    e->ctx = avcodec_alloc_context3(codec);
    e->frame = av_frame_alloc();
    e->pkt = av_packet_alloc();
    if (!e->ctx || !e->frame || !e->pkt) return om_fail_nomem("an encoder");
    set_codec(e, fps);
    int rc = avcodec_open2(e->ctx, codec, NULL);
    if (rc < 0) return om_fail_av(rc, e->path);
    e->frame->format = AV_PIX_FMT_YUV420P;
    e->frame->width = e->ctx->width;
    e->frame->height = e->ctx->height;
    e->frame->color_range = e->ctx->color_range;
    e->frame->colorspace = e->ctx->colorspace;
    rc = av_frame_get_buffer(e->frame, 0);
    return rc < 0 ? om_fail_nomem("a picture") : OM_OK;
}

/* The muxer's output. */
static int keep_muxed(void *opaque, uint8_t *data, int n)
{
    om_encoder *e = opaque;
    if (om_grow((void **)&e->muxed, &e->cap_muxed, e->n_muxed + (size_t)n, 1) != OM_OK)
        return AVERROR(ENOMEM);
    memcpy(e->muxed + e->n_muxed, data, (size_t)n);
    e->n_muxed += (size_t)n;
    return n;
}

static int fail_file(om_encoder *e)
{
    int err = errno;
    return om_fail(om_err_from_errno(err), "%s: %s", e->path, strerror(err));
}

/* What has no name any more is lost at the end, and a video cannot go on in a new file. */
static void check_name(om_encoder *e)
{
    struct stat st;
    if (e->told || !e->n_muxed || fstat(e->fd, &st) || st.st_nlink > 0) return;
    om_log(OM_LOG_WARN, "%s: was removed while it was written; nobody will see what it holds", e->path);
    e->told = true;
}

/* Moves what was muxed, always whole fragments, to the file. */
static int commit(om_encoder *e)
{
    check_name(e);
    for (size_t done = 0; done < e->n_muxed;) {
        ssize_t n = write(e->fd, e->muxed + done, e->n_muxed - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            int rc = fail_file(e);
            /* The torn fragment goes, so that every player takes the rest; what is no file has no end to cut.
             */
            if (ftruncate(e->fd, e->whole) != 0 && errno != EINVAL)
                om_log(OM_LOG_WARN, "%s: its end may be damaged: %s", e->path, strerror(errno));
            return rc;
        }
        done += (size_t)n;
    }
    e->whole += (int64_t)e->n_muxed;
    e->n_muxed = 0;
    return OM_OK;
}

static int write_header(om_encoder *e, double fps)
{
    AVStream *st = avformat_new_stream(e->fmt, NULL);
    if (!st || avcodec_parameters_from_context(st->codecpar, e->ctx) < 0)
        return om_fail_nomem("a video stream");
    st->time_base = e->ctx->time_base;
    st->avg_frame_rate = av_d2q(fps, 100000);
    AVDictionary *opts = NULL;
    av_dict_set(&opts, "movflags", "frag_keyframe+empty_moov+default_base_moof", 0);
    av_dict_set_int(&opts, "frag_duration", FRAGMENT_US, 0);
    e->fmt->flags |= AVFMT_FLAG_FLUSH_PACKETS;
    int rc = avformat_write_header(e->fmt, &opts);
    av_dict_free(&opts);
    if (rc < 0) return om_fail_av(rc, e->path);
    avio_flush(e->fmt->pb);
    return commit(e);
}

static int open_muxer(om_encoder *e)
{
    if (avformat_alloc_output_context2(&e->fmt, NULL, "mp4", NULL) < 0) return om_fail_nomem("a muxer");
    uint8_t *buffer = av_malloc(IO_BYTES);
    if (buffer) e->fmt->pb = avio_alloc_context(buffer, IO_BYTES, 1, e, NULL, keep_muxed, NULL);
    if (e->fmt->pb) return OM_OK;
    av_free(buffer);
    return om_fail_nomem("a muxer");
}

static int open_file(om_encoder *e)
{
    e->fd = open(e->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return e->fd < 0 ? fail_file(e) : open_muxer(e);
}

static void destroy(om_encoder *e)
{
    if (e->fmt && e->fmt->pb) {
        av_freep(&e->fmt->pb->buffer);
        avio_context_free(&e->fmt->pb);
    }
    avformat_free_context(e->fmt);
    avcodec_free_context(&e->ctx);
    av_frame_free(&e->frame);
    av_packet_free(&e->pkt);
    sws_freeContext(e->scaler);
    if (e->fd >= 0) close(e->fd);
    om_free(e->muxed);
    om_free(e->path);
    om_free(e);
}

int om_encoder_open(const char *path, int width, int height, double fps, om_encoder **out)
{
    *out = NULL;
    if (width < 1 || height < 1) return om_fail(OM_ERR_ARG, "%s: a video needs a size", path);
    om_encoder *e = om_calloc(1, sizeof *e);
    if (!e) return OM_ERR_NOMEM;
    e->fd = -1;
    e->width = width;
    e->height = height;
    double rate = fps > 0.01 && fps < 1000 ? fps : 25;
    /* Chroma at half size wants even sides. */
    e->target = (om_image){.fmt = OM_PIX_I420,
                           .range = OM_RANGE_LIMITED,
                           .width = width + (width & 1),
                           .height = height + (height & 1),
                           .matrix = height < HD_LINES ? OM_MATRIX_BT601 : OM_MATRIX_BT709};
    int rc = (e->path = om_strdup(path)) ? OM_OK : OM_ERR_NOMEM;
    if (rc == OM_OK) rc = open_file(e);
    if (rc == OM_OK) rc = open_codec(e, rate);
    if (rc == OM_OK) rc = write_header(e, rate);
    if (rc != OM_OK) {
        destroy(e);
        return rc;
    }
    *out = e;
    return OM_OK;
}

/* What the encoder has ready goes to the file. */
static int write_packets(om_encoder *e)
{
    for (;;) {
        int rc = avcodec_receive_packet(e->ctx, e->pkt);
        if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF) return OM_OK;
        if (rc < 0) return om_fail_av(rc, e->path);
        av_packet_rescale_ts(e->pkt, e->ctx->time_base, e->fmt->streams[0]->time_base);
        rc = av_write_frame(e->fmt, e->pkt);
        av_packet_unref(e->pkt);
        if (rc >= 0) rc = e->fmt->pb->error;
        rc = rc < 0 ? om_fail_av(rc, e->path) : commit(e);
        if (rc != OM_OK) return rc;
    }
}

static int even(double v) { return v < 2 ? 2 : (int)(v / 2 + 0.5) * 2; }

/* A picture of another size, as large as it fits into the middle of a black one. */
static void make_room(om_image *into, const om_image *img)
{
    double x = (double)into->width / img->width, y = (double)into->height / img->height, by = x < y ? x : y;
    int w = even(img->width * by), h = even(img->height * by);
    if (w > into->width) w = into->width;
    if (h > into->height) h = into->height;
    int left = (into->width - w) / 4 * 2, top = (into->height - h) / 4 * 2;
    for (int i = 0; i < 3; i++) {
        int half = i > 0, rows = into->height >> half;
        for (int row = 0; row < rows; row++)
            memset(into->plane[i] + (ptrdiff_t)row * into->stride[i], half ? 128 : 16,
                   (size_t)(into->width >> half));
        into->plane[i] += (ptrdiff_t)(top >> half) * into->stride[i] + (left >> half);
    }
    into->width = w;
    into->height = h;
}

static int encode(om_encoder *e, const om_image *img, int64_t pts_ns)
{
    int rc = av_frame_make_writable(e->frame);
    if (rc < 0) return om_fail_nomem("a picture");
    for (int i = 0; i < 3; i++) {
        e->target.plane[i] = e->frame->data[i];
        e->target.stride[i] = e->frame->linesize[i];
    }
    om_image into = e->target;
    if (img->width != e->width || img->height != e->height) make_room(&into, img);
    rc = om_image_convert(img, &into, &e->scaler);
    if (rc != OM_OK) return om_fail_prefix(rc, "%s", e->path);
    if (!e->started) e->first_ns = pts_ns;
    int64_t tick = av_rescale_q(pts_ns - e->first_ns, (AVRational){1, 1000000000}, e->ctx->time_base);
    if (e->started && tick <= e->last_tick) tick = e->last_tick + 1;
    e->started = true;
    e->last_tick = e->frame->pts = tick;
    rc = avcodec_send_frame(e->ctx, e->frame);
    return rc < 0 ? om_fail_av(rc, e->path) : write_packets(e);
}

int om_encoder_write(om_encoder *e, const om_image *img, int64_t pts_ns)
{
    if (e->failed) return om_fail(e->failed, "%s", e->message);
    om_trace_begin("encode", -1);
    int rc = encode(e, img, pts_ns);
    om_trace_end("encode");
    if (rc != OM_OK) {
        e->failed = rc;
        snprintf(e->message, sizeof e->message, "%s", om_error_message());
    }
    return rc;
}

static int finish(om_encoder *e)
{
    int rc = avcodec_send_frame(e->ctx, NULL);
    rc = rc < 0 ? om_fail_av(rc, e->path) : write_packets(e);
    if (rc != OM_OK) return rc;
    rc = av_write_trailer(e->fmt);
    if (rc < 0) return om_fail_av(rc, e->path);
    avio_flush(e->fmt->pb);
    rc = commit(e);
    if (rc != OM_OK) return rc;
    int fd = e->fd;
    e->fd = -1;
    return close(fd) != 0 ? fail_file(e) : OM_OK;
}

int om_encoder_close(om_encoder *e)
{
    if (!e) return OM_OK;
    int rc = e->failed ? om_fail(e->failed, "%s", e->message) : finish(e);
    destroy(e);
    return rc;
}
