#include "media/nal.h"

#define SLICE_BYTES 32 /* enough of a slice for its frame number */
#define SPS_BYTES 256

/* A unit of a packet: its header and what follows, up to the packet's end where the length is not said. */
typedef struct unit {
    const uint8_t *at;
    int size;
} unit;

typedef struct units {
    const uint8_t *at, *end;
    int length_bytes; /* 0: start codes */
} units;

/* Bits without the bytes that keep start codes out. */
typedef struct bits {
    const uint8_t *at, *end;
    int left; /* of the byte at `at` */
    int zeros;
    bool over;
} bits;

static bool next_by_length(units *u, unit *out)
{
    int64_t length = 0;
    if (u->end - u->at <= u->length_bytes) return false;
    for (int i = 0; i < u->length_bytes; i++) length = length << 8 | u->at[i];
    u->at += u->length_bytes;
    if (length < 1 || length > u->end - u->at) length = u->end - u->at;
    *out = (unit){u->at, (int)length};
    u->at += length;
    return true;
}

static bool next_by_code(units *u, unit *out)
{
    for (const uint8_t *p = u->at; p + 3 < u->end; p++) {
        if (p[2] > 1) {
            p += 2;
            continue;
        }
        if (p[0] || p[1] || p[2] != 1) continue;
        *out = (unit){p + 3, (int)(u->end - p - 3)};
        u->at = p + 3;
        return true;
    }
    return false;
}

static bool next_unit(units *u, unit *out)
{
    return u->length_bytes ? next_by_length(u, out) : next_by_code(u, out);
}

static units units_of(const AVCodecParameters *par, const AVPacket *pkt)
{
    int at = par->codec_id == AV_CODEC_ID_H264 ? 4 : 21;
    bool lengths = par->extradata_size > at && par->extradata[0] == 1;
    return (units){pkt->data, pkt->data + pkt->size, lengths ? (par->extradata[at] & 3) + 1 : 0};
}

static bool is_slice(enum AVCodecID id, int header)
{
    if (id == AV_CODEC_ID_H264) return (header & 31) >= 1 && (header & 31) <= 5;
    return (header >> 1 & 63) < 32;
}

int om_nal_first_slice(const AVCodecParameters *par, const AVPacket *pkt)
{
    if (par->codec_id != AV_CODEC_ID_H264 && par->codec_id != AV_CODEC_ID_HEVC) return 0;
    units all = units_of(par, pkt);
    for (unit u; next_unit(&all, &u);)
        if (is_slice(par->codec_id, u.at[0])) return u.at[0];
    return 0;
}

bool om_nal_fresh_start(const AVCodecParameters *par, const AVPacket *pkt)
{
    int type = om_nal_first_slice(par, pkt);
    switch (par->codec_id) {
    case AV_CODEC_ID_H264: return (type & 31) == 5;
    case AV_CODEC_ID_HEVC: return type && (type >> 1 & 63) >= 16 && (type >> 1 & 63) <= 20; /* BLA and IDR */
    case AV_CODEC_ID_VP8:
    case AV_CODEC_ID_VP9:
    case AV_CODEC_ID_AV1:
    case AV_CODEC_ID_MJPEG: return pkt->flags & AV_PKT_FLAG_KEY;
    default: return false;
    }
}

bool om_nal_disposable(const AVCodecParameters *par, const AVPacket *pkt)
{
    int header = om_nal_first_slice(par, pkt);
    if (!header) return false;
    if (par->codec_id == AV_CODEC_ID_H264) return !(header >> 5 & 3);
    int type = header >> 1 & 63; /* the even ones below 15 are sub-layer non-reference pictures */
    return type < 15 && !(type & 1);
}

static bits bits_of(unit u, int most)
{
    int n = u.size < most ? u.size : most;
    return (bits){.at = u.at + 1, .end = u.at + n, .left = 8};
}

static int bit(bits *b)
{
    if (b->left == 8 && b->zeros >= 2 && b->at < b->end && *b->at == 3) { /* keeps start codes out */
        b->at++;
        b->zeros = 0;
    }
    if (b->at >= b->end) {
        b->over = true;
        return 0;
    }
    int v = *b->at >> --b->left & 1;
    if (!b->left) {
        b->zeros = *b->at ? 0 : b->zeros + 1;
        b->at++;
        b->left = 8;
    }
    return v;
}

static unsigned number(bits *b, int n)
{
    unsigned v = 0;
    while (n-- > 0) v = v << 1 | (unsigned)bit(b);
    return v;
}

static unsigned golomb(bits *b)
{
    int zeros = 0;
    while (!bit(b) && !b->over && zeros < 31) zeros++;
    return (1U << zeros) - 1 + number(b, zeros);
}

static int signed_golomb(bits *b)
{
    unsigned v = golomb(b);
    return v & 1 ? (int)((v + 1) / 2) : -(int)(v / 2);
}

static void skip_scaling_list(bits *b, int n)
{
    int last = 8, next = 8;
    for (int i = 0; i < n && !b->over; i++) {
        if (next) next = (last + signed_golomb(b)) & 255;
        if (next) last = next;
    }
}

/* The part of the high profiles' parameter sets that lies before what is wanted. */
static void skip_high(bits *b, om_h264_order *o)
{
    unsigned chroma = golomb(b);
    if (chroma == 3) o->colour_planes = bit(b);
    golomb(b);
    golomb(b);
    bit(b);
    if (!bit(b)) return;
    for (int i = 0; i < (chroma == 3 ? 12 : 8) && !b->over; i++)
        if (bit(b)) skip_scaling_list(b, i < 6 ? 16 : 64);
}

static bool is_high(unsigned profile)
{
    static const uint8_t all[] = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135};
    for (size_t i = 0; i < sizeof all; i++)
        if (all[i] == profile) return true;
    return false;
}

static void read_sps(om_h264_order *o, unit u)
{
    bits b = bits_of(u, SPS_BYTES);
    unsigned profile = number(&b, 8);
    number(&b, 16);
    golomb(&b);
    o->colour_planes = false;
    if (is_high(profile)) skip_high(&b, o);
    unsigned size = golomb(&b); /* less 4 */
    unsigned order = golomb(&b);
    if (order == 0) golomb(&b);
    if (order == 1) {
        bit(&b);
        signed_golomb(&b);
        signed_golomb(&b);
        unsigned n = golomb(&b);
        for (unsigned i = 0; i < n && i < 256 && !b.over; i++) signed_golomb(&b);
    }
    golomb(&b);
    o->gaps = bit(&b);
    o->bits = b.over || size > 12 ? 0 : (int)size + 4;
}

/* Parameter sets that came with the stream's description, in either framing. */
static void read_extradata(om_h264_order *o, const AVCodecParameters *par)
{
    const uint8_t *d = par->extradata;
    if (!d) return;
    if (par->extradata_size > 9 && d[0] == 1) {
        read_sps(o, (unit){d + 8, par->extradata_size - 8});
        return;
    }
    units all = {d, d + par->extradata_size, 0};
    for (unit u; next_unit(&all, &u);)
        if ((u.at[0] & 31) == 7) read_sps(o, u);
}

static int frame_number(const om_h264_order *o, unit slice)
{
    bits b = bits_of(slice, SLICE_BYTES);
    golomb(&b);
    golomb(&b);
    golomb(&b);
    if (o->colour_planes) number(&b, 2);
    int v = (int)number(&b, o->bits);
    return b.over ? -1 : v;
}

bool om_h264_gap(om_h264_order *o, const AVCodecParameters *par, const AVPacket *pkt)
{
    if (par->codec_id != AV_CODEC_ID_H264) return false;
    units all = units_of(par, pkt);
    unit u = {NULL, 0};
    if (!o->bits) read_extradata(o, par);
    while (next_unit(&all, &u) && !is_slice(AV_CODEC_ID_H264, u.at[0]))
        if ((u.at[0] & 31) == 7) read_sps(o, u);
    if (!u.at || !is_slice(AV_CODEC_ID_H264, u.at[0]) || !o->bits || o->gaps) return false;
    int n = frame_number(o, u), mask = (1 << o->bits) - 1;
    bool whole = (u.at[0] & 31) == 5 || !o->begun; /* begins anew */
    bool gap = !whole && n >= 0 && n != o->last && n != ((o->last + 1) & mask);
    if (n >= 0 && (u.at[0] >> 5 & 3)) {
        o->last = n;
        o->begun = true;
    }
    return gap;
}
