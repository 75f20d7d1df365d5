/* One video decoder with an account of its packets. Private to the media room.
 *
 * Every packet gets a number that travels through the decoder and ends in exactly one way:
 *   decoded    its picture was returned
 *   no_output  the decoder took it and no picture came of it (second fields, empty packets, what comes before
 * the first key picture); known when the decoder has run dry or RING packets have come after it corrupt the
 * decoder refused it, or flagged its picture as damaged; the picture is not returned unread     still inside
 * when the decoder was closed There are never more pictures than packets. Where one packet gives several
 * pictures, the first is its own and each further one stands for the oldest packet still open (packed
 * B-frames come with an empty packet for each); where none is open, it is not returned. Thread-safety: one
 * thread; the counts are read by any. */
#ifndef OM_MEDIA_DECODE_H
#define OM_MEDIA_DECODE_H

#include <libavcodec/avcodec.h>

#include "media/source.h"

typedef struct om_decoder om_decoder;

/* `shown` names the source in messages; it and `counts` outlive the decoder. */
int om_decoder_open(const AVCodecParameters *par, AVRational time_base, int threads, bool live,
                    const char *shown, om_source_counts *counts, om_decoder **out);
/* A packet came out of the demuxer: counts it as received. Before om_decoder_send() of the same packet. */
void om_decoder_expect(om_decoder *d, int64_t wall_us);
/* Gives it to the decoder; NULL: the end. After om_decoder_receive() said OM_ERR_AGAIN only. A refused packet
 * is counted, not an error. `due_ns` is stamped on the pictures that come out next. */
int om_decoder_send(om_decoder *d, const AVPacket *pkt, int64_t due_ns);
/* A picture with packet, key, due and the packet's wall time filled; *ts is its timestamp in the time base,
 * or AV_NOPTS_VALUE. OM_ERR_AGAIN: wants a packet. OM_ERR_EOF: dry; every packet has found its end. */
int om_decoder_receive(om_decoder *d, om_frame **out, int64_t *ts);
/* Counts what is still inside as unread. NULL is allowed. */
void om_decoder_close(om_decoder *d);

#endif
