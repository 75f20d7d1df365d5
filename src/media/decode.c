#include "media/decode.h"

#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "media/frame_av.h"
#include "media/hwaccel.h"
#include "media/nal.h"
#include "media/packets.h"
#include "media/replay.h"
#include "trace/trace.h"

#define MAX_THREADS 32
#define MAX_PIXELS (1 << 28)
/* Where no picture says it is a key picture, pictures are returned all the same after this many packets. */
#define KEY_PATIENCE 300
/* Errors of the GPU in a row, of kinds that a damaged stream does not make. */
#define HW_PATIENCE 3

/* Why packets are passed over until a key packet comes. */
typedef enum await_key { AWAIT_NONE, AWAIT_FIRST, AWAIT_ECONOMY, AWAIT_DAMAGE } await_key;

struct om_decoder {
    AVCodecContext *ctx;
    AVCodecParameters *par; /* for opening it again */
    AVFrame *frame;
    struct SwsContext *scaler;
    const om_source_params *source;
    om_source_counts *counts;
    const char *shown;
    AVRational time_base;
    om_packets packets;
    int64_t due_ns;
    int drain_errors;
    bool live, camera, wants_key, draining;
    om_surfaces *surfaces; /* where a GPU decodes; else NULL */
    int hw_errors;         /* in a row */
    om_replay replay;
    await_key await;
    int awaited;                        /* packets passed over for it */
    uint64_t key_number;                /* of the last key packet that went in */
    uint64_t damage_from, damage_until; /* numbers of packets whose pictures are made of damage */
    om_h264_order order;
    const atomic_int *economy, *on_cpu;
    om_economy level; /* in force */
    AVPacket *parked; /* the first of another decoder, while this one gives what it holds; else NULL */
    bool left_gpu;    /* it failed this stream */
    bool intra;       /* every picture is a key picture */
    bool pulse;       /* told to give up the one picture it holds */
    bool replaying;
    uint64_t replayed; /* packets before this one were given to another decoder too */
};

static void close_codec(om_decoder *d)
{
    avcodec_free_context(&d->ctx);
    om_surfaces_unref(d->surfaces);
    d->surfaces = NULL;
}

/* How often this decoder may halve the picture. */
static int halvings(const om_decoder *d, const AVCodec *codec)
{
    om_size least = d->source->decode_size;
    int n = 0, most = 0, w = d->par->width, h = d->par->height;
    while (least.width > 0 && w >> (most + 1) >= least.width && h >> (most + 1) >= least.height) most++;
    while (n < most && n < codec->max_lowres) n++;
    bool first = !atomic_load_explicit(&d->counts->received, memory_order_relaxed);
    if (n < most && first)
        om_log(OM_LOG_WARN, "%s: %s is decoded at %dx%d: its decoder cannot go down to %dx%d", d->shown,
               codec->name, w >> n, h >> n, least.width, least.height);
    return n;
}

static int open_codec(om_decoder *d, om_hwaccel *accel)
{
    enum AVCodecID id = d->par->codec_id;
    const AVCodec *codec = accel ? om_hwaccel_codec(accel, id) : NULL;
    if (!codec) {
        accel = NULL;
        codec = avcodec_find_decoder(id);
    }
    if (!codec)
        return om_fail(OM_ERR_UNSUPPORTED, "%s: no decoder for %s in this FFmpeg", d->shown,
                       avcodec_get_name(id));
    d->ctx = avcodec_alloc_context3(codec);
    if (!d->ctx) return om_fail_nomem("a decoder");
    int rc = avcodec_parameters_to_context(d->ctx, d->par);
    if (rc < 0) return om_fail_av(rc, d->shown);
    if (!accel) d->ctx->lowres = halvings(d, codec);
    int threads = d->source->decode_threads;
    d->ctx->pkt_timebase = d->time_base;
    d->ctx->max_pixels = MAX_PIXELS;
    d->ctx->thread_count = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
    /* A thread a frame delays each picture by a picture a thread. */
    d->ctx->thread_type = d->live ? FF_THREAD_SLICE : FF_THREAD_FRAME | FF_THREAD_SLICE;
    if (accel && (rc = om_hwaccel_attach(accel, d->ctx, d->source->hold, &d->surfaces)) < 0) return rc;
    rc = avcodec_open2(d->ctx, codec, NULL);
    if (rc < 0) return om_fail_av(rc, d->shown);
    atomic_store_explicit(&d->counts->decoder, accel ? OM_DECODER_CUDA : OM_DECODER_CPU,
                          memory_order_relaxed);
    const AVCodecDescriptor *desc = avcodec_descriptor_get(id);
    d->intra = desc && (desc->props & AV_CODEC_PROP_INTRA_ONLY);
    /* H.264 and HEVC know themselves from where on their pictures are whole, also without key pictures. */
    d->wants_key = !d->intra && id != AV_CODEC_ID_H264 && id != AV_CODEC_ID_HEVC;
    d->level = OM_ECONOMY_NONE;
    d->pulse = false;
    return OM_OK;
}

/* The GPU that is to decode, or NULL. One that is lost already, or has failed this stream, is not asked. */
static om_hwaccel *usable_accel(const om_decoder *d)
{
    om_hwaccel *accel = d->source->hwaccel;
    if (!accel || d->left_gpu || atomic_load_explicit(d->on_cpu, memory_order_relaxed)) return NULL;
    return om_device_is_lost(om_hwaccel_device(accel), false) ? NULL : accel;
}

static void note_refusal(om_decoder *d)
{
    d->left_gpu = true;
    atomic_fetch_add_explicit(&d->counts->refused, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&d->counts->fallbacks, 1, memory_order_relaxed);
}

/* On the GPU, or where that does not even begin on the CPU. */
static int open_somewhere(om_decoder *d)
{
    int rc = open_codec(d, usable_accel(d));
    if (rc == OM_OK || !d->surfaces) return rc;
    om_log(OM_LOG_WARN, "%s: decoded on the CPU: the GPU's decoder does not open: %s", d->shown,
           om_error_message());
    note_refusal(d);
    close_codec(d);
    return open_codec(d, NULL);
}

int om_decoder_open(const om_decoder_params *p, om_decoder **out)
{
    *out = NULL;
    om_decoder *d = om_calloc(1, sizeof *d);
    if (!d) return OM_ERR_NOMEM;
    d->shown = p->shown;
    d->counts = p->counts;
    d->source = p->source;
    d->time_base = p->time_base;
    d->live = p->live;
    d->economy = p->economy;
    d->on_cpu = p->on_cpu;
    d->damage_from = d->damage_until = UINT64_MAX;
    d->camera = p->camera;
    d->await = p->camera ? AWAIT_FIRST : AWAIT_NONE;
    om_packets_init(&d->packets, p->counts, p->shown);
    d->frame = av_frame_alloc();
    d->par = avcodec_parameters_alloc();
    int rc = OM_OK;
    if (!d->frame || !d->par || avcodec_parameters_copy(d->par, p->par) < 0) rc = om_fail_nomem("a decoder");
    if (rc == OM_OK) rc = open_somewhere(d);
    if (rc != OM_OK) {
        om_decoder_close(d);
        return rc;
    }
    *out = d;
    return OM_OK;
}

bool om_decoder_fits(const om_decoder *d, const AVCodecParameters *par)
{
    const AVCodecParameters *own = d->par;
    return par->codec_id == own->codec_id && par->width == own->width && par->height == own->height &&
           par->width > 0 && par->extradata_size == own->extradata_size && par->extradata_size > 0 &&
           memcmp(par->extradata, own->extradata, (size_t)par->extradata_size) == 0;
}

bool om_decoder_splices(const om_decoder *d, const AVPacket *first)
{
    const AVCodecParameters *par = d->par;
    bool lengths = par->extradata_size >= 5 && par->extradata[0] == 1;
    /* Its first slice is of an IDR picture. */
    return par->codec_id == AV_CODEC_ID_H264 && lengths && (om_nal_first_slice(par, first) & 31) == 5;
}

void om_decoder_rewind(om_decoder *d, AVRational time_base)
{
    avcodec_flush_buffers(d->ctx);
    om_replay_drop(&d->replay);
    d->replaying = d->draining = false;
    d->drain_errors = 0;
    d->time_base = d->ctx->pkt_timebase = time_base;
    av_packet_free(&d->parked);
}

/* What is made of this packet is damaged, up to the next key packet. */
static void taint(om_decoder *d, uint64_t number)
{
    if (!d->camera || !d->source->until_key || d->intra) return;
    if (number < d->damage_from || number >= d->damage_until) d->damage_from = number;
    bool over = d->key_number > number && d->await != AWAIT_DAMAGE;
    d->damage_until = over ? d->key_number : UINT64_MAX;
    if (!over) d->await = AWAIT_DAMAGE;
}

void om_decoder_expect(om_decoder *d, int64_t wall_us) { om_packets_expect(&d->packets, wall_us); }

/* The decoder is to give all it holds. */
static bool ends(const om_decoder *d) { return d->draining || d->parked; }

static void refuse(om_decoder *d, int averror)
{
    om_packet *last = om_packets_last(&d->packets);
    om_packet *s = ends(d) || last->state != OM_PACKET_OPEN ? om_packets_oldest(&d->packets) : last;
    char words[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(averror, words, sizeof words);
    if (!s) return;
    om_packets_corrupt(&d->packets, s, words);
    taint(d, s->number);
}

/* Why the GPU's decoder has to be left, after a call that answered `averror` or before one (0); else NULL. */
static const char *leave_reason(om_decoder *d, int averror)
{
    bool failed = averror < 0 && averror != AVERROR(EAGAIN) && averror != AVERROR_EOF;
    if (om_device_is_lost(om_hwaccel_device(d->source->hwaccel), failed)) return "the GPU is lost";
    if (om_surfaces_refused(d->surfaces)) return om_surfaces_refused(d->surfaces);
    bool its_own = averror == AVERROR_EXTERNAL || averror == AVERROR(ENOMEM) || averror == AVERROR_UNKNOWN;
    if (its_own && ++d->hw_errors >= HW_PATIENCE) return "the GPU's decoder fails again and again";
    return NULL;
}

/* 1: the CPU has taken over, and what is kept for replay comes first; 0: no reason to; negative: it cannot.
 */
static int leave_gpu(om_decoder *d, int averror)
{
    const char *why = leave_reason(d, averror);
    if (!why) return 0;
    if (om_surfaces_refused(d->surfaces)) note_refusal(d);
    else atomic_fetch_add_explicit(&d->counts->fallbacks, 1, memory_order_relaxed);
    d->left_gpu |= !om_device_is_lost(om_hwaccel_device(d->source->hwaccel), false);
    om_log(OM_LOG_WARN, "%s: decoded on the CPU from here on: %s", d->shown, why);
    av_frame_unref(d->frame);
    close_codec(d);
    d->replaying = d->replay.n > 0;
    d->replayed = d->packets.next;
    int rc = open_codec(d, NULL);
    return rc < 0 ? rc : 1;
}

static int give(om_decoder *d, const AVPacket *pkt, uint64_t number)
{
    if (pkt) d->ctx->reordered_opaque = (int64_t)number;
    om_trace_begin("decode", -1);
    int rc = avcodec_send_packet(d->ctx, pkt);
    om_trace_end("decode");
    return rc;
}

/* Another packet that the GPU had been given before. */
static void replay_one(om_decoder *d)
{
    uint64_t number;
    const AVPacket *pkt = om_replay_next(&d->replay, &number);
    if (!pkt) d->replaying = false;
    if (!pkt && !ends(d)) return;
    int rc = give(d, pkt, number);
    om_packet *s = rc < 0 && pkt ? om_packets_find(&d->packets, (int64_t)number) : NULL;
    if (!s || s->state != OM_PACKET_OPEN) return;
    om_packets_corrupt(&d->packets, s, "refused");
    taint(d, s->number);
}

/* As avcodec_send_packet(), on the GPU first; *err: an om_err that ends the stream. */
static int send_somewhere(om_decoder *d, const AVPacket *pkt, int *err)
{
    int moved = 0, rc = 0;
    if (d->surfaces) {
        if (pkt) om_replay_keep(&d->replay, pkt, d->packets.next - 1);
        *err = om_surfaces_wait(d->surfaces, d->source->cancel);
        if (*err == OM_ERR_CANCELLED) return 0;
        moved = leave_gpu(d, 0);
    }
    if (moved == 0) rc = give(d, pkt, d->packets.next - 1);
    if (moved == 0 && d->surfaces) moved = leave_gpu(d, rc);
    *err = moved < 0 ? moved : OM_OK;
    if (moved <= 0) return rc;
    return d->replaying ? 0 : give(d, pkt, d->packets.next - 1);
}

/* The stream is wished elsewhere, and may go there with this packet. */
static bool may_change(const om_decoder *d, const AVPacket *pkt)
{
    bool there = usable_accel(d) && om_hwaccel_codec(d->source->hwaccel, d->par->codec_id);
    if (there == (d->surfaces != NULL) || !d->source->hwaccel) return false;
    bool lost = d->surfaces && om_device_is_lost(om_hwaccel_device(d->source->hwaccel), false);
    return !lost && !d->replaying && om_nal_fresh_start(d->par, pkt);
}

/* The packet waits until what was sent before is out. False: it does not, and nothing has changed. */
static bool begin_change(om_decoder *d, const AVPacket *pkt)
{
    d->parked = av_packet_clone(pkt);
    if (!d->parked) return false;
    give(d, NULL, 0);
    return true;
}

/* The old decoder is empty: the new one begins with the parked packet. */
static int end_change(om_decoder *d)
{
    AVPacket *pkt = d->parked;
    for (om_packet *s; (s = om_packets_oldest(&d->packets)) && s != om_packets_last(&d->packets);)
        om_packets_empty(&d->packets, s);
    om_log(OM_LOG_INFO, "%s: decoded on the %s from here on", d->shown, d->surfaces ? "CPU" : "GPU");
    d->parked = NULL;
    d->drain_errors = 0;
    om_replay_drop(&d->replay);
    close_codec(d);
    int err = open_somewhere(d), rc = 0;
    if (err == OM_OK) atomic_fetch_add_explicit(&d->counts->changes, 1, memory_order_relaxed);
    if (err == OM_OK) rc = send_somewhere(d, pkt, &err);
    av_packet_free(&pkt);
    if (err == OM_OK && rc < 0) refuse(d, rc);
    return err;
}

/* The decoder's own switches, where the wish has changed. */
static void apply_economy(om_decoder *d)
{
    om_economy level = (om_economy)atomic_load_explicit(d->economy, memory_order_relaxed);
    if (level == d->level) return;
    d->level = level;
    bool rough = level == OM_ECONOMY_LOOP_FILTER || level == OM_ECONOMY_REFERENCES;
    d->ctx->skip_loop_filter = rough ? AVDISCARD_ALL : AVDISCARD_DEFAULT;
    d->ctx->skip_frame = level >= OM_ECONOMY_REFERENCES ? AVDISCARD_NONREF : AVDISCARD_DEFAULT;
}

/* Whoever waits for this picture has given it up. */
static bool is_late(const om_decoder *d)
{
    return d->source->late_ns && om_now_ns() > d->due_ns + d->source->late_ns;
}

/* Where this packet ends if it is not decoded; NULL: it is. */
static atomic_ullong *pass_over(om_decoder *d, const AVPacket *pkt)
{
    bool key = pkt->flags & AV_PKT_FLAG_KEY || d->intra;
    om_source_counts *c = d->counts;
    if ((d->await == AWAIT_NONE || d->await == AWAIT_ECONOMY) && is_late(d)) {
        d->await = AWAIT_ECONOMY;
        d->awaited = 0;
        atomic_fetch_add_explicit(&c->late, 1, memory_order_relaxed);
        return &c->economy;
    }
    if (key || ++d->awaited > KEY_PATIENCE) {
        if (d->await == AWAIT_DAMAGE) d->damage_until = d->packets.next - 1;
        d->await = AWAIT_NONE;
        d->awaited = 0;
        d->key_number = d->packets.next - 1;
        if (key) return NULL;
    }
    if (d->level >= OM_ECONOMY_KEYFRAMES && d->await == AWAIT_NONE) d->await = AWAIT_ECONOMY;
    switch (d->await) {
    case AWAIT_FIRST: return &c->no_key;
    case AWAIT_ECONOMY: return &c->economy;
    case AWAIT_DAMAGE: return &c->corrupt;
    case AWAIT_NONE: break;
    }
    d->awaited = 0;
    return d->level >= OM_ECONOMY_REFERENCES && om_nal_disposable(d->par, pkt) ? &c->economy : NULL;
}

/* What is known to be wrong with a camera's packet before it is decoded, or NULL. */
static const char *spoilt(const om_decoder *d, const AVPacket *pkt)
{
    if (!d->camera) return NULL;
    if (pkt->flags & AV_PKT_FLAG_CORRUPT) return "damaged on its way";
    if (d->par->codec_id != AV_CODEC_ID_MJPEG) return NULL;
    int last = pkt->size - 1; /* cameras fill up with zeros */
    while (last > 0 && !pkt->data[last]) last--;
    for (int i = last; i > 0 && i > last - 64; i--)
        if (pkt->data[i - 1] == 0xff && pkt->data[i] == 0xd9) return NULL;
    return "a JPEG without its end"; /* it would be grey below */
}

/* With nothing but key pictures a decoder that puts pictures in order would wait for the next one. */
static int give_up_picture(om_decoder *d)
{
    d->pulse = d->level >= OM_ECONOMY_KEYFRAMES && !d->surfaces && !d->intra;
    return d->pulse ? give(d, NULL, 0) : 0;
}

int om_decoder_send(om_decoder *d, const AVPacket *pkt, int64_t due_ns)
{
    d->due_ns = due_ns;
    if (pkt && pkt->size == 0) { /* libavcodec would take it for the end */
        om_packets_settle(om_packets_last(&d->packets), &d->counts->no_output);
        return OM_OK;
    }
    apply_economy(d);
    /* What is made of a picture that got lost is as good as damaged, and no decoder says so. */
    if (pkt && d->camera && om_h264_gap(&d->order, d->par, pkt) && d->await == AWAIT_NONE)
        taint(d, d->packets.next - 1);
    atomic_ullong *end = pkt ? pass_over(d, pkt) : NULL;
    if (end) {
        om_packets_settle(om_packets_last(&d->packets), end);
        return OM_OK;
    }
    const char *wrong = pkt ? spoilt(d, pkt) : NULL;
    if (wrong) {
        om_packets_corrupt(&d->packets, om_packets_last(&d->packets), wrong);
        taint(d, d->packets.next - 1);
        return OM_OK;
    }
    if (!pkt) d->draining = true;
    else {
        om_packet *last = om_packets_last(&d->packets);
        last->key = pkt->flags & AV_PKT_FLAG_KEY;
        last->thrift = d->level >= OM_ECONOMY_REFERENCES;
    }
    if (pkt && may_change(d, pkt) && begin_change(d, pkt)) return OM_OK;
    int err = OM_OK, rc = send_somewhere(d, pkt, &err);
    if (err != OM_OK) return err;
    if (rc == 0 && pkt) rc = give_up_picture(d);
    if (rc == AVERROR(ENOMEM) && !d->surfaces) return om_fail_nomem("decoding");
    if (rc == AVERROR(EAGAIN)) return om_fail(OM_ERR_INTERNAL, "%s: decoder takes no packet", d->shown);
    if (rc < 0 && rc != AVERROR_EOF) refuse(d, rc);
    return OM_OK;
}

/* The packet that this picture settles, or NULL where the picture is not to be returned. */
static om_packet *claim(om_decoder *d)
{
    int64_t number = d->frame->reordered_opaque;
    om_packet *s = om_packets_find(&d->packets, number);
    if (number < (int64_t)d->replayed && (!s || s->state != OM_PACKET_OPEN))
        return NULL; /* it was out before */
    if (s && s->state == OM_PACKET_REFUSED) return NULL;
    if (!s || s->state != OM_PACKET_OPEN) s = om_packets_oldest(&d->packets);
    if (!s) {
        om_log(OM_LOG_DEBUG, "%s: more pictures than packets", d->shown);
        return NULL;
    }
    if ((d->frame->flags & AV_FRAME_FLAG_CORRUPT) || d->frame->decode_error_flags) {
        om_packets_corrupt(&d->packets, s, "damaged picture");
        taint(d, s->number);
        return NULL;
    }
    if (s->number >= d->damage_from && s->number < d->damage_until) {
        om_packets_corrupt(&d->packets, s, "made of a damaged picture");
        return NULL;
    }
    if (d->wants_key && !d->frame->key_frame && !s->key && s->number - d->packets.first < KEY_PATIENCE) {
        om_packets_settle(s, &d->counts->no_output);
        return NULL;
    }
    d->wants_key = false;
    if (s->key && d->surfaces) om_replay_reached(&d->replay, s->number);
    return s;
}

static int next_picture(om_decoder *d)
{
    om_trace_begin("decode", -1);
    int rc = avcodec_receive_frame(d->ctx, d->frame);
    om_trace_end("decode");
    return rc;
}

/* As avcodec_receive_frame(), wherever it is decoded; *err: an om_err that ends the stream. */
static int receive_somewhere(om_decoder *d, int *err)
{
    for (;;) {
        *err = d->surfaces ? om_surfaces_wait(d->surfaces, d->source->cancel) : OM_OK;
        if (*err == OM_ERR_CANCELLED) return 0;
        int rc = next_picture(d);
        int moved = d->surfaces && rc != AVERROR(EAGAIN) ? leave_gpu(d, rc) : 0;
        *err = moved < 0 ? moved : OM_OK;
        if (moved < 0) return 0;
        if (d->replaying && (moved || rc == AVERROR(EAGAIN))) replay_one(d);
        else if (!moved && !(d->replaying && rc < 0)) return rc;
        else if (moved && ends(d)) give(d, NULL, 0);
    }
}

/* The picture in d->frame, as packet s has it, goes to the caller. */
static int hand_out(om_decoder *d, om_packet *s, om_frame **out, int64_t *ts)
{
    *ts = d->frame->best_effort_timestamp;
    int rc = om_frame_wrap_av(d->frame, &d->scaler, out);
    if (rc != OM_OK) return om_fail_prefix(rc, "%s", d->shown);
    if (d->surfaces) om_surfaces_hold(d->surfaces, *out);
    d->hw_errors = 0;
    (*out)->packet = s->number;
    (*out)->due_ns = d->due_ns;
    (*out)->wall_us = s->wall_us;
    om_packets_settle(s, &d->counts->decoded);
    return OM_OK;
}

int om_decoder_receive(om_decoder *d, om_frame **out, int64_t *ts)
{
    *out = NULL;
    for (;;) {
        int err, rc = receive_somewhere(d, &err);
        if (err != OM_OK) return err;
        if (rc == AVERROR(EAGAIN)) return OM_ERR_AGAIN;
        if (rc == AVERROR(ENOMEM) && !d->surfaces) return om_fail_nomem("decoding");
        if (rc == AVERROR_EOF && d->pulse) {
            avcodec_flush_buffers(d->ctx);
            d->pulse = false;
            d->await = AWAIT_ECONOMY; /* it knows of no picture any more */
            om_packets_rest_empty(&d->packets);
            return OM_ERR_AGAIN;
        }
        bool dry = rc == AVERROR_EOF || (rc < 0 && ends(d) && ++d->drain_errors > OM_PACKETS_OPEN);
        if (dry && d->parked) {
            err = end_change(d);
            if (err != OM_OK) return err;
            continue;
        }
        if (dry) {
            om_packets_rest_empty(&d->packets);
            return OM_ERR_EOF;
        }
        if (rc < 0) {
            refuse(d, rc);
            continue;
        }
        om_packet *s = claim(d);
        if (s) return hand_out(d, s, out, ts);
        av_frame_unref(d->frame);
    }
}

void om_decoder_close(om_decoder *d)
{
    if (!d) return;
    om_packets_rest_unread(&d->packets);
    sws_freeContext(d->scaler);
    av_frame_free(&d->frame);
    av_packet_free(&d->parked);
    close_codec(d);
    om_replay_drop(&d->replay);
    avcodec_parameters_free(&d->par);
    om_free(d);
}
