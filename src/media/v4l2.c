/* Cameras of the machine itself through Video4Linux: "v4l2:///dev/video0?size=1280x720&fps=25&format=mjpeg".
 */
#include <errno.h>
#include <fcntl.h>
#include <libavcodec/avcodec.h>
#include <libavutil/imgutils.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/option.h"
#include "media/decode.h"
#include "media/frame_av.h"
#include "media/pace.h"
#include "media/source_ops.h"

#define SCHEME "v4l2://"
#define BUFFERS 4
#define POLL_MS 50

typedef struct v4l2_wish {
    char device[256];
    om_size size; /* 0x0: the device's own */
    double fps;   /* 0: likewise */
    const struct pixels *format;
} v4l2_wish;

typedef struct v4l2_priv {
    int fd; /* only while `opened` */
    bool opened, streaming;
    struct {
        void *at;
        size_t size;
    } buffers[BUFFERS];
    unsigned n_buffers;
    struct v4l2_format format;
    AVPacket *pkt;
    om_decoder *dec;
    om_timeline pts;
    uint64_t seq;
} v4l2_priv;

/* In the order in which they are asked for: what is compressed goes through any cable, then what needs least
 * work. */
static const struct pixels {
    const char *name;
    uint32_t fourcc;
    enum AVCodecID codec;
    enum AVPixelFormat raw;
} formats[] = {
    {"mjpeg", V4L2_PIX_FMT_MJPEG, AV_CODEC_ID_MJPEG, AV_PIX_FMT_NONE},
    {"jpeg", V4L2_PIX_FMT_JPEG, AV_CODEC_ID_MJPEG, AV_PIX_FMT_NONE},
    {"nv12", V4L2_PIX_FMT_NV12, AV_CODEC_ID_RAWVIDEO, AV_PIX_FMT_NV12},
    {"yuv420", V4L2_PIX_FMT_YUV420, AV_CODEC_ID_RAWVIDEO, AV_PIX_FMT_YUV420P},
    {"yuyv", V4L2_PIX_FMT_YUYV, AV_CODEC_ID_RAWVIDEO, AV_PIX_FMT_YUYV422},
    {"grey", V4L2_PIX_FMT_GREY, AV_CODEC_ID_RAWVIDEO, AV_PIX_FMT_GRAY8},
    {"h264", V4L2_PIX_FMT_H264, AV_CODEC_ID_H264, AV_PIX_FMT_NONE},
};
#define N_FORMATS (sizeof formats / sizeof *formats)

static bool v4l2_accepts(const char *uri) { return strncmp(uri, SCHEME, strlen(SCHEME)) == 0; }

static int wish_for(const char *uri, const char *key, size_t key_n, const char *text, v4l2_wish *out)
{
    static const char *const keys[] = {"size", "fps", "format"};
    int which = -1;
    for (int i = 0; i < 3; i++)
        if (strlen(keys[i]) == key_n && strncmp(keys[i], key, key_n) == 0) which = i;
    if (which == 0 && om_parse_size(text, &out->size) == OM_OK) return OM_OK;
    if (which == 1 && om_parse_double(text, &out->fps) == OM_OK && out->fps > 0.01 && out->fps <= 1000)
        return OM_OK;
    for (size_t i = 0; i < N_FORMATS && which == 2; i++)
        if (strcmp(formats[i].name, text) == 0) {
            out->format = &formats[i];
            return OM_OK;
        }
    return om_fail(OM_ERR_ARG,
                   "%s: '%.*s=%s': expected size=WIDTHxHEIGHT, fps=N or format=mjpeg, jpeg, nv12, yuv420, "
                   "yuyv, grey or h264",
                   uri, (int)key_n, key, text);
}

static int parse(const char *uri, v4l2_wish *out)
{
    *out = (v4l2_wish){.format = NULL};
    const char *path = uri + strlen(SCHEME), *query = path + strcspn(path, "?");
    size_t n = (size_t)(query - path);
    if (path[0] != '/' || n >= sizeof out->device)
        return om_fail(OM_ERR_ARG, "%s: expected a device, as in v4l2:///dev/video0", uri);
    memcpy(out->device, path, n);
    out->device[n] = '\0';
    while (*query) {
        const char *key = query + 1;
        size_t whole = strcspn(key, "&"), key_n = strcspn(key, "=&");
        char text[32] = "";
        if (key_n < whole) snprintf(text, sizeof text, "%.*s", (int)(whole - key_n - 1), key + key_n + 1);
        int rc = wish_for(uri, key, key_n, text, out);
        if (rc != OM_OK) return rc;
        query = key + whole;
    }
    return OM_OK;
}

static int call(int fd, unsigned long request, void *arg)
{
    int rc;
    do rc = ioctl(fd, request, arg);
    while (rc < 0 && errno == EINTR);
    return rc;
}

static int fail_errno(const om_source *s, const char *what)
{
    return om_fail(om_err_from_errno(errno), "%s: %s: %s", s->shown, what, strerror(errno));
}

static bool offers(int fd, uint32_t fourcc)
{
    struct v4l2_fmtdesc f = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
    for (; f.index < 64 && call(fd, VIDIOC_ENUM_FMT, &f) == 0; f.index++)
        if (f.pixelformat == fourcc) return true;
    return false;
}

/* Format, size and rate; what the device makes of them stands in p->format afterwards. */
static int agree(om_source *s, const v4l2_wish *wish, const struct pixels **chosen)
{
    v4l2_priv *p = s->priv;
    *chosen = NULL;
    for (size_t i = 0; i < N_FORMATS && !*chosen; i++) {
        bool meant = !wish->format || wish->format == &formats[i];
        if (meant && offers(p->fd, formats[i].fourcc)) *chosen = &formats[i];
    }
    if (!*chosen)
        return om_fail(OM_ERR_UNSUPPORTED, "%s: the device does not give %s", s->shown,
                       wish->format ? wish->format->name : "any format that omma reads");
    struct v4l2_format *f = &p->format;
    *f = (struct v4l2_format){.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
    if (call(p->fd, VIDIOC_G_FMT, f) < 0) return fail_errno(s, "its format");
    if (wish->size.width) {
        f->fmt.pix.width = (uint32_t)wish->size.width;
        f->fmt.pix.height = (uint32_t)wish->size.height;
    }
    f->fmt.pix.pixelformat = (*chosen)->fourcc;
    f->fmt.pix.field = V4L2_FIELD_ANY;
    f->fmt.pix.bytesperline = 0;
    if (call(p->fd, VIDIOC_S_FMT, f) < 0) return fail_errno(s, "its format");
    if (f->fmt.pix.pixelformat != (*chosen)->fourcc || f->fmt.pix.width < 1 || f->fmt.pix.height < 1 ||
        f->fmt.pix.width > INT16_MAX || f->fmt.pix.height > INT16_MAX)
        return om_fail(OM_ERR_UNSUPPORTED, "%s: the device does not keep to %s", s->shown, (*chosen)->name);
    struct v4l2_streamparm rate = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
    if (wish->fps > 0) {
        rate.parm.capture.timeperframe = (struct v4l2_fract){1000, (uint32_t)(wish->fps * 1000)};
        call(p->fd, VIDIOC_S_PARM, &rate); /* a device without a choice keeps its own */
    }
    if (call(p->fd, VIDIOC_G_PARM, &rate) == 0 && rate.parm.capture.timeperframe.numerator)
        s->info.fps = (double)rate.parm.capture.timeperframe.denominator /
                      (double)rate.parm.capture.timeperframe.numerator;
    return OM_OK;
}

static int start_capture(om_source *s)
{
    v4l2_priv *p = s->priv;
    struct v4l2_requestbuffers wish = {
        .count = BUFFERS, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
    if (call(p->fd, VIDIOC_REQBUFS, &wish) < 0 || wish.count < 1) return fail_errno(s, "buffers");
    unsigned n = wish.count < BUFFERS ? wish.count : BUFFERS;
    for (; p->n_buffers < n; p->n_buffers++) {
        struct v4l2_buffer b = {
            .index = p->n_buffers, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
        if (call(p->fd, VIDIOC_QUERYBUF, &b) < 0) return fail_errno(s, "a buffer");
        void *at = mmap(NULL, b.length, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, b.m.offset);
        if (at == MAP_FAILED) return fail_errno(s, "a buffer");
        p->buffers[p->n_buffers].at = at;
        p->buffers[p->n_buffers].size = b.length;
        if (call(p->fd, VIDIOC_QBUF, &b) < 0) {
            p->n_buffers++;
            return fail_errno(s, "a buffer");
        }
    }
    int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    if (call(p->fd, VIDIOC_STREAMON, &type) < 0) return fail_errno(s, "start");
    p->streaming = true;
    return OM_OK;
}

static int open_decoder(om_source *s, const struct pixels *chosen)
{
    v4l2_priv *p = s->priv;
    const struct v4l2_pix_format *f = &p->format.fmt.pix;
    AVCodecParameters *par = avcodec_parameters_alloc();
    if (!par) return om_fail_nomem("a decoder");
    par->codec_type = AVMEDIA_TYPE_VIDEO;
    par->codec_id = chosen->codec;
    par->format = chosen->raw;
    par->width = (int)f->width;
    par->height = (int)f->height;
    om_decoder_params dp = {.par = par,
                            .time_base = {1, 1000000},
                            .live = true,
                            .camera = true,
                            .source = &s->params,
                            .economy = &s->economy,
                            .on_cpu = &s->on_cpu,
                            .shown = s->shown,
                            .counts = s->counts};
    int rc = om_decoder_open(&dp, &p->dec);
    avcodec_parameters_free(&par);
    return rc;
}

/* Rows must lie side by side: rawvideo knows of no gap between them. */
static int check_rows(const om_source *s, const struct pixels *chosen)
{
    const v4l2_priv *p = s->priv;
    const struct v4l2_pix_format *f = &p->format.fmt.pix;
    if (chosen->raw == AV_PIX_FMT_NONE) return OM_OK;
    int row = av_image_get_linesize(chosen->raw, (int)f->width, 0);
    if (row > 0 && (f->bytesperline == 0 || f->bytesperline == (uint32_t)row)) return OM_OK;
    return om_fail(OM_ERR_UNSUPPORTED, "%s: rows of %u bytes for %u pixels of %s; choose another size",
                   s->shown, f->bytesperline, f->width, chosen->name);
}

static int v4l2_open(om_source *s)
{
    v4l2_priv *p = s->priv;
    v4l2_wish wish;
    const struct pixels *chosen;
    s->camera = true;
    s->info.live = true;
    int rc = parse(s->uri, &wish);
    if (rc != OM_OK) return rc;
    p->pkt = av_packet_alloc();
    if (!p->pkt) return om_fail_nomem("a packet");
    p->fd = open(wish.device, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (p->fd < 0) return fail_errno(s, "open");
    p->opened = true;
    struct v4l2_capability cap = {.capabilities = 0};
    if (call(p->fd, VIDIOC_QUERYCAP, &cap) < 0)
        return om_fail(OM_ERR_FORMAT, "%s: is not a V4L2 device", s->shown);
    uint32_t can = cap.capabilities & V4L2_CAP_DEVICE_CAPS ? cap.device_caps : cap.capabilities;
    if (!(can & V4L2_CAP_VIDEO_CAPTURE) || !(can & V4L2_CAP_STREAMING))
        return om_fail(OM_ERR_UNSUPPORTED, "%s: the device does not capture video", s->shown);
    rc = agree(s, &wish, &chosen);
    if (rc == OM_OK) rc = check_rows(s, chosen);
    if (rc == OM_OK) rc = open_decoder(s, chosen);
    if (rc == OM_OK) rc = start_capture(s);
    if (rc != OM_OK) return rc;
    snprintf(s->info.codec, sizeof s->info.codec, "%s", chosen->name);
    s->info.width = (int)p->format.fmt.pix.width;
    s->info.height = (int)p->format.fmt.pix.height;
    om_timeline_init(&p->pts, s->info.fps);
    return OM_OK;
}

/* The next filled buffer. */
static int dequeue(om_source *s, struct v4l2_buffer *b)
{
    v4l2_priv *p = s->priv;
    int64_t deadline = om_now_ns() + s->params.read_timeout_ms * OM_NS_PER_MS;
    for (;;) {
        if (om_cancelled(s->params.cancel)) return om_fail(OM_ERR_CANCELLED, "%s: cancelled", s->shown);
        if (om_now_ns() > deadline)
            return om_fail(OM_ERR_TIMEOUT, "%s: no data within %.1f s", s->shown,
                           s->params.read_timeout_ms / 1000.0);
        struct pollfd wait = {.fd = p->fd, .events = POLLIN};
        if (poll(&wait, 1, POLL_MS) <= 0) continue;
        *b = (struct v4l2_buffer){.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
        if (call(p->fd, VIDIOC_DQBUF, b) == 0) return b->index < p->n_buffers ? OM_OK : OM_ERR_AGAIN;
        if (errno != EAGAIN) return fail_errno(s, "read");
    }
}

/* A buffer becomes a packet; the device gets it back. *wall: when the picture was taken. */
static int take(om_source *s, int64_t *wall)
{
    v4l2_priv *p = s->priv;
    struct v4l2_buffer b;
    int rc = dequeue(s, &b);
    if (rc != OM_OK) return rc;
    size_t n = b.bytesused <= p->buffers[b.index].size ? b.bytesused : p->buffers[b.index].size;
    int err = av_new_packet(p->pkt, (int)n);
    if (err == 0) memcpy(p->pkt->data, p->buffers[b.index].at, n);
    p->pkt->pts = p->pkt->dts = b.timestamp.tv_sec * 1000000LL + b.timestamp.tv_usec;
    *wall = om_wall_us();
    bool ours = (b.flags & V4L2_BUF_FLAG_TIMESTAMP_MASK) == V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    int64_t age = om_now_ns() / 1000 - p->pkt->pts;
    if (ours && age >= 0 && age < 10000000) *wall -= age;
    if (b.flags & V4L2_BUF_FLAG_ERROR) p->pkt->flags |= AV_PKT_FLAG_CORRUPT;
    if (p->format.fmt.pix.pixelformat != V4L2_PIX_FMT_H264 || (b.flags & V4L2_BUF_FLAG_KEYFRAME))
        p->pkt->flags |= AV_PKT_FLAG_KEY;
    if (call(p->fd, VIDIOC_QBUF, &b) < 0) {
        av_packet_unref(p->pkt);
        return fail_errno(s, "a buffer");
    }
    return err < 0 ? om_fail_nomem("a packet") : OM_OK;
}

static int feed(om_source *s)
{
    v4l2_priv *p = s->priv;
    int64_t wall;
    int rc = take(s, &wall);
    if (rc != OM_OK) return rc == OM_ERR_AGAIN ? OM_OK : rc;
    om_decoder_expect(p->dec, wall);
    atomic_fetch_add_explicit(&s->counts->bytes, (unsigned long long)p->pkt->size, memory_order_relaxed);
    rc = om_decoder_send(p->dec, p->pkt, om_now_ns());
    av_packet_unref(p->pkt);
    return rc;
}

static int v4l2_read(om_source *s, om_frame **out)
{
    v4l2_priv *p = s->priv;
    for (;;) {
        int64_t ts;
        int rc = om_decoder_receive(p->dec, out, &ts);
        if (rc == OM_OK) {
            (*out)->seq = p->seq++;
            (*out)->pts_ns =
                om_timeline_map_live(&p->pts, ts == AV_NOPTS_VALUE ? OM_NO_TIME : ts * 1000, om_now_ns());
            return OM_OK;
        }
        if (rc != OM_ERR_AGAIN) return rc;
        rc = feed(s);
        if (rc != OM_OK) return rc;
    }
}

static void v4l2_close(om_source *s)
{
    v4l2_priv *p = s->priv;
    int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    om_decoder_close(p->dec);
    av_packet_free(&p->pkt);
    if (p->streaming) call(p->fd, VIDIOC_STREAMOFF, &type);
    for (unsigned i = 0; i < p->n_buffers; i++) munmap(p->buffers[i].at, p->buffers[i].size);
    if (p->opened) close(p->fd);
}

const om_source_ops om_source_v4l2 = {"v4l2",    sizeof(v4l2_priv), v4l2_accepts, v4l2_open,
                                      v4l2_read, v4l2_close,        true};
