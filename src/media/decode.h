/* One video decoder with an account of its packets. Private to the media room.
 *
 * Every packet gets a number that travels through the decoder and ends in exactly one way:
 * - decoded: its picture was returned
 * - no_output: the decoder took it and no picture came of it (second fields, empty packets); known when the
 *   decoder has run dry or OM_PACKETS_OPEN packets have come after it
 * - corrupt: the decoder refused it, or flagged its picture as damaged, and the picture is not returned; of a
 *   camera with `until_key` also what comes after damage and before the next key picture
 * - no_key: it came before a camera's first key picture
 * - economy: it was not decoded because less is wanted
 * - unread: still inside when the decoder was closed
 *
 * There are never more pictures than packets. Where one packet gives several pictures, the first is its own
 * and each further one stands for the oldest packet still open (packed B-frames come with an empty packet for
 * each); where none is open, it is not returned.
 *
 * Where a GPU decodes, the packets since the last key picture are kept. When the GPU does not take the
 * stream, fails, or is lost, the CPU goes on from that key picture: what had been returned before is decoded
 * again and not returned, so no picture is lost. Counted in counts->fallbacks and logged.
 *
 * A stream that is wished elsewhere goes there at a key packet of which on nothing is made of what came
 * before: the old decoder gives all it holds, then the new one begins. Nothing is lost or decoded twice.
 * Thread-safety: one thread; the counts are read by any. */
#ifndef OM_MEDIA_DECODE_H
#define OM_MEDIA_DECODE_H

#include <libavcodec/avcodec.h>

#include "media/source.h"

typedef struct om_decoder om_decoder;

typedef struct om_decoder_params {
    const AVCodecParameters *par; /* only read during the call */
    AVRational time_base;
    bool live;                      /* pictures are wanted soon: no thread a frame */
    bool camera;                    /* begins anywhere, and may be damaged */
    const om_source_params *source; /* threads, hwaccel, hold, cancel */
    const atomic_int *economy;      /* an om_economy: how much to leave undone */
    const atomic_int *on_cpu;       /* not 0: the CPU is to decode; see om_source_decode_on_cpu() */
    const char *shown;              /* names the source in messages */
    om_source_counts *counts;       /* with those before outlives the decoder */
} om_decoder_params;

int om_decoder_open(const om_decoder_params *p, om_decoder **out);
/* Whether om_decoder_rewind() will do for a stream of these parameters. */
bool om_decoder_fits(const om_decoder *d, const AVCodecParameters *par);
/* Whether the stream's first packet may follow its last one, with nothing between: H.264 whose first picture
 * needs no other. FFmpeg's H.264 decoder begins anew after its end, which takes a GPU a tenth of a second. */
bool om_decoder_splices(const om_decoder *d, const AVPacket *first);
/* The same stream once more from its beginning, after om_decoder_receive() said OM_ERR_EOF: what the decoder
 * holds, on a GPU above all, is dear to make anew. */
void om_decoder_rewind(om_decoder *d, AVRational time_base);
/* A packet came out of the demuxer: counts it as received. Before om_decoder_send() of the same packet. */
void om_decoder_expect(om_decoder *d, int64_t wall_us);
/* Gives it to the decoder; NULL: the end. After om_decoder_receive() said OM_ERR_AGAIN only. A refused packet
 * is counted, not an error. `due_ns` is stamped on the pictures that come out next. */
int om_decoder_send(om_decoder *d, const AVPacket *pkt, int64_t due_ns);
/* A picture (on the GPU or not, see source.h) with packet, key, due and the packet's wall time filled; *ts is
 * its timestamp in the time base, or AV_NOPTS_VALUE. OM_ERR_AGAIN: wants a packet. OM_ERR_EOF: dry; every
 * packet has found its end. */
int om_decoder_receive(om_decoder *d, om_frame **out, int64_t *ts);
/* Counts what is still inside as unread. NULL is allowed. */
void om_decoder_close(om_decoder *d);

#endif
