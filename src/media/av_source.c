/* Files and network streams through libavformat. */
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "media/credentials.h"
#include "media/decode.h"
#include "media/frame_av.h"
#include "media/pace.h"
#include "media/source_ops.h"
#include "trace/trace.h"

/* Enough to find the parameters of any camera's stream; FFmpeg's own 5 MB stay in memory for each stream. */
#define PROBE_BYTES (1 << 20)
#define PROBE_US (2 * AV_TIME_BASE)
#define MOST_STREAMS 128 /* of a source: the demuxer keeps nearly a megabyte for each that is announced */
#define CLOSE_TIMEOUT_MS 500
/* A camera's own idea of a picture's time is believed when it is so near to the arrival. */
#define CLOCK_TRUST_US 10000000
/* Of a camera that sends packets: read time-outs without a picture before it is connected to again. */
#define BLIND_TIMEOUTS 6

typedef struct av_priv {
    AVFormatContext *fmt;
    AVPacket *pkt;
    om_decoder *dec;
    AVRational time_base;
    int stream;
    int64_t deadline_ns; /* of the network call under way */
    om_pace pace;
    om_timeline dts, pts;
    uint64_t seq, round_start; /* packets received before this round of a loop */
    uint64_t
        spliced_at; /* number of the first packet of a round that follows the one before without a break */
    bool untimed;   /* its timestamps are none of the camera's */
    int64_t picture_ns;    /* when the last picture came, of a camera */
    uint64_t corrupt_then; /* damaged packets up to then */
    bool draining;
    int end_code; /* why the demuxer ended; OM_ERR_EOF at its end */
    char end_message[256];
    /* The first picture, decoded before its time. */
    bool priming, primed; /* under way; there is one, or the error that came instead */
    om_frame *first;
    int64_t first_ns; /* its last packet's place in the timeline */
    int first_code;
    char first_message[256];
} av_priv;

static int interrupted(void *opaque)
{
    om_source *s = opaque;
    av_priv *p = s->priv;
    return om_cancelled(s->params.cancel) || om_now_ns() > p->deadline_ns;
}

static void set_deadline(av_priv *p, int timeout_ms)
{
    p->deadline_ns = om_now_ns() + timeout_ms * OM_NS_PER_MS;
}

/* Of a call to a camera: it ends with the camera's time, too. */
static void set_patience(om_source *s, int timeout_ms)
{
    av_priv *p = s->priv;
    set_deadline(p, timeout_ms);
    int64_t until = s->params.until_ns, now = om_now_ns();
    bool camera = s->connection && (s->camera || s->ops == &om_source_rtsp);
    if (camera && until && until < p->deadline_ns) p->deadline_ns = until > now ? until : now;
}

static bool networked(const om_source *s) { return s->ops != &om_source_file; }

static bool starts_with(const char *uri, const char *scheme)
{
    return strncasecmp(uri, scheme, strlen(scheme)) == 0;
}

static bool rtsp_accepts(const char *uri)
{
    return starts_with(uri, "rtsp://") || starts_with(uri, "rtsps://");
}

static bool http_accepts(const char *uri)
{
    return starts_with(uri, "http://") || starts_with(uri, "https://");
}

static bool file_accepts(const char *uri) { return starts_with(uri, "file://") || !strstr(uri, "://"); }

static const char *file_path(const char *uri)
{
    return starts_with(uri, "file://") ? uri + 7 : starts_with(uri, "file:") ? uri + 5 : uri;
}

/* What a call's failure was: the caller's cancel, its time-out, or itself. */
static int fail_call(om_source *s, int averror, const char *silence, int timeout_ms)
{
    av_priv *p = s->priv;
    if (om_cancelled(s->params.cancel)) return om_fail(OM_ERR_CANCELLED, "%s: cancelled", s->shown);
    /* FFmpeg may meet the interruption in one call and tell of it in the next. */
    if (om_now_ns() > p->deadline_ns || averror == AVERROR(ETIMEDOUT) || averror == AVERROR_EXIT)
        return om_fail(OM_ERR_TIMEOUT, "%s: %s within %.1f s", s->shown, silence, timeout_ms / 1000.0);
    if (averror == AVERROR(ENOMEM)) /* rather a packet of absurd size than memory that is short */
        return om_fail(OM_ERR_FORMAT, "%s: damaged: what it announces does not fit into memory", s->shown);
    return om_fail_av(averror, s->shown);
}

static int check_file(om_source *s)
{
    struct stat st;
    const char *path = file_path(s->uri);
    if (stat(path, &st) != 0) return om_fail(om_err_from_errno(errno), "%s: %s", s->shown, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return om_fail(OM_ERR_FORMAT, "%s: is a folder; expected a video file", s->shown);
    if (S_ISCHR(st.st_mode) && strncmp(path, "/dev/video", 10) == 0)
        return om_fail(OM_ERR_FORMAT, "%s: is a device; for a camera write v4l2://%s", s->shown, path);
    if (!S_ISREG(st.st_mode)) return om_fail(OM_ERR_FORMAT, "%s: is not a regular file", s->shown);
    if (st.st_size == 0) return om_fail(OM_ERR_FORMAT, "%s: empty file", s->shown);
    return OM_OK;
}

/* The protocols that what is opened may open in turn: a playlist on disk must not reach into the network. */
static const char *allowed_protocols(const om_source *s)
{
    if (!networked(s)) return "file,crypto,data";
    if (s->ops == &om_source_http) return "http,https,httpproxy,tcp,tls,crypto,data";
    return "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,httpproxy,crypto";
}

static int set_options(om_source *s, AVDictionary **opts)
{
    char timeout_us[32];
    snprintf(timeout_us, sizeof timeout_us, "%lld", s->params.read_timeout_ms * 1000LL);
    int rc = av_dict_set(opts, "protocol_whitelist", allowed_protocols(s), 0);
    if (rc >= 0 && networked(s)) rc = av_dict_set(opts, "timeout", timeout_us, 0);
    if (rc >= 0 && s->ops == &om_source_rtsp) {
        const char *transport = s->params.rtsp_transport ? s->params.rtsp_transport : "tcp";
        bool either = strcmp(transport, "auto") == 0;
        if (!either && strcmp(transport, "tcp") != 0 && strcmp(transport, "udp") != 0)
            return om_fail(OM_ERR_ARG, "rtsp transport '%s': expected tcp, udp or auto", transport);
        rc = av_dict_set(opts, "rtsp_transport", either ? "tcp+udp" : transport, 0);
        if (rc >= 0 && either) rc = av_dict_set(opts, "rtsp_flags", "prefer_tcp", 0);
        if (rc >= 0) rc = av_dict_set(opts, "allowed_media_types", "video", 0);
    }
    return rc < 0 ? om_fail_nomem("options") : OM_OK;
}

/* Text is drawn as pictures by some demuxers; nobody means that. */
static bool is_text_art(const AVFormatContext *fmt)
{
    static const char *const names[] = {"tty", "bin", "xbin", "idf", "adf", "lrc"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(fmt->iformat->name, names[i]) == 0) return true;
    return false;
}

/* Demuxers say the strangest things about damaged files; what the system said is passed on. */
static int fail_open(om_source *s, int averror)
{
    bool system = averror == AVERROR(EACCES) || averror == AVERROR(EIO) || averror == AVERROR(EMFILE) ||
                  averror == AVERROR(ENFILE);
    bool address = networked(s) && averror != AVERROR_INVALIDDATA;
    bool ended = om_cancelled(s->params.cancel) || om_now_ns() > ((av_priv *)s->priv)->deadline_ns;
    if (address || system || ended) return fail_call(s, averror, "no answer", s->params.open_timeout_ms);
    return om_fail(OM_ERR_FORMAT, "%s: not a video: no container format that FFmpeg knows, or it is damaged",
                   s->shown);
}

static int open_input(om_source *s)
{
    av_priv *p = s->priv;
    AVDictionary *opts = NULL;
    char *url = NULL;
    int rc = set_options(s, &opts);
    if (rc != OM_OK) goto fail;
    rc = OM_ERR_NOMEM;
    if (!networked(s)) url = om_sprintf("file:%s", file_path(s->uri));
    else if ((rc = om_credentials_apply(s->params.credentials, s->uri, &url)) != OM_OK) goto fail;
    rc = OM_ERR_NOMEM;
    p->fmt = avformat_alloc_context();
    if (!url) goto fail;
    if (!p->fmt) {
        rc = om_fail_nomem("a demuxer");
        goto fail;
    }
    p->fmt->interrupt_callback = (AVIOInterruptCB){interrupted, s};
    p->fmt->max_streams = MOST_STREAMS;
    p->fmt->probesize = PROBE_BYTES;
    p->fmt->max_analyze_duration = PROBE_US;
    set_patience(s, networked(s) ? s->params.open_timeout_ms : INT_MAX);
    rc = avformat_open_input(&p->fmt, url, NULL, &opts);
    rc = rc < 0 ? fail_open(s, rc) : is_text_art(p->fmt) ? fail_open(s, AVERROR_INVALIDDATA) : OM_OK;
fail:
    av_dict_free(&opts);
    om_credentials_wipe(url);
    return rc;
}

/* The video stream, never a picture attached to a song. */
static int choose_stream(om_source *s)
{
    av_priv *p = s->priv;
    int best = av_find_best_stream(p->fmt, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (best >= 0 && (p->fmt->streams[best]->disposition & AV_DISPOSITION_ATTACHED_PIC)) best = -1;
    bool audio = false;
    for (unsigned i = 0; i < p->fmt->nb_streams; i++) {
        audio |= p->fmt->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO;
        p->fmt->streams[i]->discard = (int)i == best ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    }
    if (best < 0)
        return om_fail(OM_ERR_FORMAT, "%s: has no video stream%s", s->shown, audio ? " (audio only)" : "");
    p->stream = best;
    p->time_base = p->fmt->streams[best]->time_base;
    return OM_OK;
}

static void fill_info(om_source *s)
{
    av_priv *p = s->priv;
    AVStream *st = p->fmt->streams[p->stream];
    AVRational rate = av_guess_frame_rate(p->fmt, st, NULL);
    double fps = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
    s->info.fps = fps > 0.001 && fps < 1000 ? fps : 0;
    snprintf(s->info.codec, sizeof s->info.codec, "%s", avcodec_get_name(st->codecpar->codec_id));
    s->info.bit_rate = st->codecpar->bit_rate > 0 ? (double)st->codecpar->bit_rate : 0;
    s->info.width = st->codecpar->width;
    s->info.height = st->codecpar->height;
    bool endless = p->fmt->duration == AV_NOPTS_VALUE || p->fmt->duration <= 0;
    s->info.duration_s = endless ? 0 : (double)p->fmt->duration / AV_TIME_BASE;
    om_pace_init(&p->pace, &s->params, s->params.live && !s->camera);
}

/* What is endless, has no size and cannot be sought in is a camera. */
static void tell_camera(om_source *s)
{
    av_priv *p = s->priv;
    bool endless = p->fmt->duration == AV_NOPTS_VALUE || p->fmt->duration <= 0;
    bool seekable = p->fmt->pb && (p->fmt->pb->seekable & AVIO_SEEKABLE_NORMAL);
    bool sized = p->fmt->pb && avio_size(p->fmt->pb) > 0;
    s->camera = s->ops == &om_source_rtsp || (s->ops == &om_source_http && endless && !seekable && !sized);
    s->info.live = s->params.live || s->camera;
    p->untimed = s->camera && (p->fmt->iformat->flags & AVFMT_NOTIMESTAMPS);
    p->picture_ns = om_now_ns();
    p->corrupt_then = atomic_load_explicit(&s->counts->corrupt, memory_order_relaxed);
}

static void close_demuxer(om_source *s)
{
    av_priv *p = s->priv;
    set_deadline(p, CLOSE_TIMEOUT_MS); /* a camera's goodbye goes over the network */
    avformat_close_input(&p->fmt);
}

static void close_input(om_source *s)
{
    av_priv *p = s->priv;
    om_decoder_close(p->dec);
    p->dec = NULL;
    close_demuxer(s);
}

/* Whether the decoder of the round before will do. */
static bool goes_on(const av_priv *p)
{
    return p->dec && om_decoder_fits(p->dec, p->fmt->streams[p->stream]->codecpar);
}

/* MP4 tells all in its head; of other files something is read, and decoded, to know them. */
static int know_stream(om_source *s)
{
    av_priv *p = s->priv;
    bool mp4 = strncmp(p->fmt->iformat->name, "mov,", 4) == 0;
    if (mp4 && p->dec && choose_stream(s) == OM_OK && goes_on(p)) return OM_OK;
    /* Else it waits for 20 pictures to learn the rate. */
    bool untimed = networked(s) && (p->fmt->iformat->flags & AVFMT_NOTIMESTAMPS);
    if (s->ops == &om_source_rtsp || untimed) p->fmt->fps_probe_size = 1;
    int rc = avformat_find_stream_info(p->fmt, NULL);
    if (rc < 0 || om_cancelled(s->params.cancel)) return fail_open(s, rc);
    return choose_stream(s);
}

/* Demuxer and decoder, at the file's beginning. */
static int start_round(om_source *s)
{
    av_priv *p = s->priv;
    int rc = networked(s) ? OM_OK : check_file(s);
    if (rc == OM_OK) rc = open_input(s);
    if (rc == OM_OK) rc = know_stream(s);
    if (rc != OM_OK) return rc;
    tell_camera(s);
    p->draining = false;
    p->round_start = atomic_load_explicit(&s->counts->received, memory_order_relaxed);
    p->spliced_at = 0;
    if (goes_on(p)) {
        om_decoder_rewind(p->dec, p->time_base);
        return OM_OK;
    }
    om_decoder_close(p->dec);
    p->dec = NULL;
    om_decoder_params dp = {.par = p->fmt->streams[p->stream]->codecpar,
                            .time_base = p->time_base,
                            .live = s->info.live,
                            .camera = s->camera,
                            .source = &s->params,
                            .economy = &s->economy,
                            .on_cpu = &s->on_cpu,
                            .shown = s->shown,
                            .counts = s->counts};
    return om_decoder_open(&dp, &p->dec);
}

static int av_open(om_source *s)
{
    av_priv *p = s->priv;
    p->pkt = av_packet_alloc();
    if (!p->pkt) return om_fail_nomem("a packet");
    int rc = start_round(s);
    if (rc != OM_OK) return rc;
    fill_info(s);
    om_timeline_init(&p->dts, s->info.fps);
    om_timeline_init(&p->pts, s->info.fps);
    return OM_OK;
}

/* A camera may send packets and no picture: of a stream that has become another, without key pictures, or
 * broken. Connecting anew mends each. */
static int check_blind(om_source *s)
{
    av_priv *p = s->priv;
    uint64_t corrupt = atomic_load_explicit(&s->counts->corrupt, memory_order_relaxed);
    int64_t patience = s->params.read_timeout_ms * OM_NS_PER_MS;
    if (corrupt == p->corrupt_then) patience *= BLIND_TIMEOUTS;
    if (!s->connection || om_now_ns() - p->picture_ns < patience) return OM_OK;
    return om_fail(OM_ERR_TIMEOUT, "%s: packets, but no picture for %.1f s", s->shown,
                   (double)(om_now_ns() - p->picture_ns) / 1e9);
}

/* The next packet of the chosen stream into p->pkt. */
static int demux(om_source *s)
{
    av_priv *p = s->priv;
    int rc = s->camera ? check_blind(s) : OM_OK;
    if (rc != OM_OK) return rc;
    set_patience(s, networked(s) ? s->params.read_timeout_ms : INT_MAX);
    for (;;) {
        om_trace_begin("demux", -1);
        int64_t from = s->camera ? om_now_ns() : 0;
        rc = av_read_frame(p->fmt, p->pkt);
        if (s->camera)
            atomic_fetch_add_explicit(&s->counts->waited_ns, om_now_ns() - from, memory_order_relaxed);
        om_trace_end("demux");
        if (rc == AVERROR(EAGAIN) && !interrupted(s)) { /* some demuxers wait for nothing */
            om_cancel_sleep_until(s->params.cancel, om_now_ns() + OM_NS_PER_MS);
            continue;
        }
        if (rc < 0 && rc != AVERROR_EOF) return fail_call(s, rc, "no data", s->params.read_timeout_ms);
        if (om_cancelled(s->params.cancel)) {
            av_packet_unref(p->pkt);
            return om_fail(OM_ERR_CANCELLED, "%s: cancelled", s->shown);
        }
        if (rc == AVERROR_EOF) {
            double end = s->info.duration_s - 1;
            s->finite = end > 0 && (double)p->dts.last / 1e9 >= end;
            bool late = networked(s) && om_now_ns() > p->deadline_ns;
            return late ? fail_call(s, rc, "no data", s->params.read_timeout_ms) : OM_ERR_EOF;
        }
        if (p->pkt->stream_index == p->stream) return OM_OK;
        av_packet_unref(p->pkt);
    }
}

static int64_t to_ns(int64_t ts, AVRational time_base)
{
    return ts == AV_NOPTS_VALUE ? OM_NO_TIME : av_rescale_q(ts, time_base, (AVRational){1, 1000000000});
}

/* The demuxer ended: the decoder gives what it holds, then the stream ends for the reason kept here. */
static int start_draining(av_priv *p, int code)
{
    if (code == OM_ERR_CANCELLED || code == OM_ERR_NOMEM) return code;
    p->draining = true;
    p->end_code = code;
    snprintf(p->end_message, sizeof p->end_message, "%s", om_error_message());
    return om_decoder_send(p->dec, NULL, om_now_ns());
}

static bool loops(const om_source *s)
{
    const av_priv *p = s->priv;
    return s->params.loop && !(s->info.live && !p->pace.paced);
}

static uint64_t received(const om_source *s)
{
    return atomic_load_explicit(&s->counts->received, memory_order_relaxed);
}

/* The file's end was reached: its first packet again, where that may follow at once. OM_ERR_EOF: the decoder
 * has to come to an end before. */
static int splice(om_source *s)
{
    av_priv *p = s->priv;
    if (!loops(s) || received(s) == p->round_start || p->draining) return OM_ERR_EOF;
    close_demuxer(s);
    int rc = networked(s) ? OM_OK : check_file(s);
    if (rc == OM_OK) rc = open_input(s);
    if (rc == OM_OK) rc = know_stream(s);
    if (rc == OM_OK && !goes_on(p)) rc = OM_ERR_EOF;
    if (rc == OM_OK) rc = demux(s);
    if (rc != OM_OK) return rc;
    if (!om_decoder_splices(p->dec, p->pkt)) {
        av_packet_unref(p->pkt);
        return OM_ERR_EOF;
    }
    om_timeline_break(&p->dts);
    p->round_start = p->spliced_at = received(s);
    return OM_OK;
}

/* Wall clock of a packet: a camera's own, where its RTCP reports tell and it is not far off. */
static int64_t wall_of(const om_source *s, const AVPacket *pkt)
{
    int64_t now = om_wall_us();
    size_t size = 0;
    const uint8_t *data = s->camera ? av_packet_get_side_data(pkt, AV_PKT_DATA_PRFT, &size) : NULL;
    if (!data || size < sizeof(AVProducerReferenceTime)) return now;
    AVProducerReferenceTime prft;
    memcpy(&prft, data, sizeof prft);
    return prft.wallclock > now - CLOCK_TRUST_US && prft.wallclock < now + CLOCK_TRUST_US ? prft.wallclock
                                                                                          : now;
}

/* What came, and when: a rate is made of it. */
static void count_bytes(om_source *s, int size)
{
    om_source_counts *c = s->counts;
    int64_t now = om_now_ns();
    if (!atomic_load_explicit(&c->first_ns, memory_order_relaxed))
        atomic_store_explicit(&c->first_ns, now, memory_order_relaxed);
    atomic_store_explicit(&c->last_ns, now, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->bytes, (unsigned long long)size, memory_order_relaxed);
}

/* Before the start nothing is due, and nothing late. */
static int wait_turn(av_priv *p, int64_t dts, int64_t *due)
{
    p->first_ns = p->priming ? dts : p->first_ns;
    if (!p->priming) return om_pace_wait(&p->pace, dts, due);
    *due = om_now_ns();
    return OM_OK;
}

static int feed(om_source *s)
{
    av_priv *p = s->priv;
    int rc = demux(s);
    if (rc == OM_ERR_EOF) rc = splice(s);
    if (rc != OM_OK) return start_draining(p, rc);
    om_decoder_expect(p->dec, wall_of(s, p->pkt));
    count_bytes(s, p->pkt->size);
    int64_t due, dts = to_ns(p->pkt->dts, p->time_base);
    dts = s->camera ? om_timeline_map_live(&p->dts, dts, om_now_ns()) : om_timeline_map(&p->dts, dts);
    rc = wait_turn(p, dts, &due);
    if (rc == OM_OK) rc = om_decoder_send(p->dec, p->pkt, due);
    av_packet_unref(p->pkt);
    return rc;
}

/* All pictures are out. Files that loop start again. */
static int end_round(om_source *s)
{
    av_priv *p = s->priv;
    if (p->end_code != OM_ERR_EOF) return om_fail(p->end_code, "%s", p->end_message);
    if (received(s) == p->round_start)
        return om_fail(OM_ERR_FORMAT, "%s: holds no video packets (damaged or truncated?)", s->shown);
    if (!loops(s)) return OM_ERR_EOF;
    close_demuxer(s);
    om_timeline_break(&p->dts);
    om_timeline_break(&p->pts);
    int rc = start_round(s);
    if (rc != OM_OK) close_input(s);
    return rc;
}

static void stamp(om_source *s, om_frame *f, int64_t ts)
{
    av_priv *p = s->priv;
    if (!s->camera) {
        f->pts_ns = om_timeline_map(&p->pts, ts);
        f->wall_us = p->pace.wall_us + f->pts_ns / 1000;
        return;
    }
    p->picture_ns = om_now_ns();
    p->corrupt_then = atomic_load_explicit(&s->counts->corrupt, memory_order_relaxed);
    f->pts_ns = om_timeline_map_live(&p->pts, ts, p->picture_ns);
}

static int read_next(om_source *s, om_frame **out)
{
    av_priv *p = s->priv;
    if (!p->dec) return OM_ERR_EOF; /* a loop could not start again */
    for (;;) {
        int64_t ts;
        int rc = om_decoder_receive(p->dec, out, &ts);
        if (rc == OM_OK) {
            if (p->spliced_at && (*out)->packet >= p->spliced_at) {
                om_timeline_break(&p->pts);
                p->spliced_at = 0;
            }
            (*out)->seq = p->seq++;
            stamp(s, *out, p->untimed ? OM_NO_TIME : to_ns(ts, p->time_base));
            return OM_OK;
        }
        if (rc == OM_ERR_AGAIN) rc = feed(s);
        else if (rc == OM_ERR_EOF) rc = end_round(s);
        if (rc != OM_OK) return rc;
    }
}

/* Not returned yet, it does not count as decoded. */
static int av_prime(om_source *s)
{
    av_priv *p = s->priv;
    p->priming = true;
    p->first_code = read_next(s, &p->first);
    p->priming = false;
    p->primed = true;
    if (p->first_code != OM_OK) snprintf(p->first_message, sizeof p->first_message, "%s", om_error_message());
    else atomic_fetch_sub_explicit(&s->counts->decoded, 1, memory_order_relaxed);
    return p->first_code;
}

/* What om_source_prime() left, when its time has come. */
static int read_first(om_source *s, om_frame **out)
{
    av_priv *p = s->priv;
    int64_t due;
    p->primed = false;
    if (p->first_code == OM_ERR_EOF) return OM_ERR_EOF;
    if (p->first_code != OM_OK) return om_fail(p->first_code, "%s", p->first_message);
    int rc = om_pace_wait(&p->pace, p->first_ns, &due);
    p->primed = rc != OM_OK;
    if (rc != OM_OK) return rc;
    *out = p->first;
    p->first = NULL;
    om_source_count(&s->counts->decoded);
    (*out)->due_ns = due;
    (*out)->wall_us = p->pace.wall_us + (*out)->pts_ns / 1000;
    return OM_OK;
}

static int av_read(om_source *s, om_frame **out)
{
    return ((av_priv *)s->priv)->primed ? read_first(s, out) : read_next(s, out);
}

static void av_close(om_source *s)
{
    av_priv *p = s->priv;
    if (p->first) om_source_count(&s->counts->unread);
    om_frame_unref(p->first);
    p->first = NULL;
    close_input(s);
    av_packet_free(&p->pkt);
}

const om_source_ops om_source_rtsp = {"rtsp",  sizeof(av_priv), rtsp_accepts, av_open,
                                      av_read, av_close,        true};
const om_source_ops om_source_http = {"http",  sizeof(av_priv), http_accepts, av_open,
                                      av_read, av_close,        true};
const om_source_ops om_source_file = {"file",  sizeof(av_priv), file_accepts, av_open,
                                      av_read, av_close,        false,        av_prime};
