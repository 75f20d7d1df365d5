#include "media/decode.h"

#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "media/frame_av.h"
#include "trace/trace.h"

/* More than any decoder holds back: 16 reordered pictures and one a thread. */
#define RING 128
#define MAX_THREADS 32
#define MAX_PIXELS (1 << 28)
/* Where no picture says it is a key picture, pictures are returned all the same after this many packets. */
#define KEY_PATIENCE 300

typedef enum packet_state { SLOT_SETTLED, SLOT_OPEN, SLOT_REFUSED } packet_state;

typedef struct packet_slot {
    uint64_t number;
    packet_state state;
    bool key;
    int64_t wall_us;
} packet_slot;

struct om_decoder {
    AVCodecContext *ctx;
    AVFrame *frame;
    struct SwsContext *scaler;
    om_source_counts *counts;
    const char *shown;
    uint64_t first, next; /* numbers of the first packet expected here and of the next one */
    int64_t due_ns;
    int drain_errors;
    bool wants_key, draining, warned;
    packet_slot ring[RING];
};

static int open_codec(om_decoder *d, const AVCodecParameters *par, AVRational time_base, int threads,
                      bool live)
{
    const AVCodec *codec = avcodec_find_decoder(par->codec_id);
    if (!codec)
        return om_fail(OM_ERR_UNSUPPORTED, "%s: no decoder for %s in this FFmpeg", d->shown,
                       avcodec_get_name(par->codec_id));
    d->ctx = avcodec_alloc_context3(codec);
    d->frame = av_frame_alloc();
    if (!d->ctx || !d->frame) return om_fail_nomem("a decoder");
    int rc = avcodec_parameters_to_context(d->ctx, par);
    if (rc < 0) return om_fail_av(rc, d->shown);
    d->ctx->pkt_timebase = time_base;
    d->ctx->max_pixels = MAX_PIXELS;
    d->ctx->thread_count = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
    /* A thread a frame delays each picture by a picture a thread. */
    d->ctx->thread_type = live ? FF_THREAD_SLICE : FF_THREAD_FRAME | FF_THREAD_SLICE;
    rc = avcodec_open2(d->ctx, codec, NULL);
    if (rc < 0) return om_fail_av(rc, d->shown);
    const AVCodecDescriptor *desc = avcodec_descriptor_get(par->codec_id);
    /* H.264 and HEVC know themselves from where on their pictures are whole, also without key pictures. */
    d->wants_key = !(desc && (desc->props & AV_CODEC_PROP_INTRA_ONLY)) && par->codec_id != AV_CODEC_ID_H264 &&
                   par->codec_id != AV_CODEC_ID_HEVC;
    return OM_OK;
}

int om_decoder_open(const AVCodecParameters *par, AVRational time_base, int threads, bool live,
                    const char *shown, om_source_counts *counts, om_decoder **out)
{
    *out = NULL;
    om_decoder *d = om_calloc(1, sizeof *d);
    if (!d) return OM_ERR_NOMEM;
    d->shown = shown;
    d->counts = counts;
    d->first = d->next = atomic_load_explicit(&counts->received, memory_order_relaxed);
    int rc = open_codec(d, par, time_base, threads, live);
    if (rc != OM_OK) {
        om_decoder_close(d);
        return rc;
    }
    *out = d;
    return OM_OK;
}

static void count(atomic_ullong *counter) { atomic_fetch_add_explicit(counter, 1, memory_order_relaxed); }

static packet_slot *last_slot(om_decoder *d) { return &d->ring[(d->next - 1) % RING]; }

/* NULL if the decoder returns a number that never went in or left the ring long ago. */
static packet_slot *find_slot(om_decoder *d, int64_t number)
{
    if (number < 0) return NULL;
    packet_slot *s = &d->ring[(uint64_t)number % RING];
    return (uint64_t)number >= d->first && (uint64_t)number < d->next && s->number == (uint64_t)number ? s
                                                                                                       : NULL;
}

static packet_slot *oldest_open(om_decoder *d)
{
    uint64_t n = d->next - d->first > RING ? d->next - RING : d->first;
    for (; n < d->next; n++)
        if (d->ring[n % RING].state == SLOT_OPEN) return &d->ring[n % RING];
    return NULL;
}

static void settle_all(om_decoder *d, atomic_ullong *counter)
{
    for (packet_slot *s; (s = oldest_open(d));) {
        s->state = SLOT_SETTLED;
        count(counter);
    }
}

static void settle_corrupt(om_decoder *d, packet_slot *s, const char *why)
{
    s->state = SLOT_REFUSED;
    count(&d->counts->corrupt);
    om_log(d->warned ? OM_LOG_DEBUG : OM_LOG_WARN, "%s: packet %llu: %s%s", d->shown,
           (unsigned long long)s->number, why, d->warned ? "" : " (further ones are only counted)");
    d->warned = true;
}

void om_decoder_expect(om_decoder *d, int64_t wall_us)
{
    packet_slot *s = &d->ring[d->next % RING];
    if (s->state == SLOT_OPEN) count(&d->counts->no_output);
    *s = (packet_slot){.number = d->next++, .state = SLOT_OPEN, .wall_us = wall_us};
    count(&d->counts->received);
}

static void refuse(om_decoder *d, int averror)
{
    packet_slot *s = d->draining || last_slot(d)->state != SLOT_OPEN ? oldest_open(d) : last_slot(d);
    char words[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(averror, words, sizeof words);
    if (s) settle_corrupt(d, s, words);
}

int om_decoder_send(om_decoder *d, const AVPacket *pkt, int64_t due_ns)
{
    d->due_ns = due_ns;
    if (pkt && pkt->size == 0) { /* libavcodec would take it for the end */
        last_slot(d)->state = SLOT_SETTLED;
        count(&d->counts->no_output);
        return OM_OK;
    }
    if (pkt) {
        last_slot(d)->key = pkt->flags & AV_PKT_FLAG_KEY;
        d->ctx->reordered_opaque = (int64_t)(d->next - 1);
    } else {
        d->draining = true;
    }
    om_trace_begin("decode", -1);
    int rc = avcodec_send_packet(d->ctx, pkt);
    om_trace_end("decode");
    if (rc == AVERROR(ENOMEM)) return om_fail_nomem("decoding");
    if (rc == AVERROR(EAGAIN)) return om_fail(OM_ERR_INTERNAL, "%s: decoder takes no packet", d->shown);
    if (rc < 0 && rc != AVERROR_EOF) refuse(d, rc);
    return OM_OK;
}

/* The packet that this picture settles, or NULL where the picture is not to be returned. */
static packet_slot *claim(om_decoder *d)
{
    packet_slot *s = find_slot(d, d->frame->reordered_opaque);
    if (s && s->state == SLOT_REFUSED) return NULL;
    if (!s || s->state != SLOT_OPEN) s = oldest_open(d);
    if (!s) {
        om_log(OM_LOG_DEBUG, "%s: more pictures than packets", d->shown);
        return NULL;
    }
    if ((d->frame->flags & AV_FRAME_FLAG_CORRUPT) || d->frame->decode_error_flags) {
        settle_corrupt(d, s, "damaged picture");
        return NULL;
    }
    if (d->wants_key && !d->frame->key_frame && !s->key && s->number - d->first < KEY_PATIENCE) {
        s->state = SLOT_SETTLED;
        count(&d->counts->no_output);
        return NULL;
    }
    d->wants_key = false;
    return s;
}

static int next_picture(om_decoder *d)
{
    om_trace_begin("decode", -1);
    int rc = avcodec_receive_frame(d->ctx, d->frame);
    om_trace_end("decode");
    return rc;
}

int om_decoder_receive(om_decoder *d, om_frame **out, int64_t *ts)
{
    *out = NULL;
    for (;;) {
        int rc = next_picture(d);
        if (rc == AVERROR(EAGAIN)) return OM_ERR_AGAIN;
        if (rc == AVERROR(ENOMEM)) return om_fail_nomem("decoding");
        if (rc == AVERROR_EOF || (rc < 0 && d->draining && ++d->drain_errors > RING)) {
            settle_all(d, &d->counts->no_output);
            return OM_ERR_EOF;
        }
        if (rc < 0) {
            refuse(d, rc);
            continue;
        }
        packet_slot *s = claim(d);
        if (!s) {
            av_frame_unref(d->frame);
            continue;
        }
        *ts = d->frame->best_effort_timestamp;
        rc = om_frame_wrap_av(d->frame, &d->scaler, out);
        if (rc != OM_OK) return om_fail_prefix(rc, "%s", d->shown);
        (*out)->packet = s->number;
        (*out)->due_ns = d->due_ns;
        (*out)->wall_us = s->wall_us;
        s->state = SLOT_SETTLED;
        count(&d->counts->decoded);
        return OM_OK;
    }
}

void om_decoder_close(om_decoder *d)
{
    if (!d) return;
    settle_all(d, &d->counts->unread);
    sws_freeContext(d->scaler);
    av_frame_free(&d->frame);
    avcodec_free_context(&d->ctx);
    om_free(d);
}
