/* H.264 and HEVC packets by their units, framed by start codes or by lengths as in MP4. Private to the media
 * room. */
#ifndef OM_MEDIA_NAL_H
#define OM_MEDIA_NAL_H

#include <libavcodec/avcodec.h>
#include <stdbool.h>
#include <stdint.h>

/* The first byte of the first slice's header; 0: there is none, or the codec is another. */
int om_nal_first_slice(const AVCodecParameters *par, const AVPacket *pkt);
/* A key packet from which on no picture is made of any before it, in the order of the packets. False where
 * that is not known. */
bool om_nal_fresh_start(const AVCodecParameters *par, const AVPacket *pkt);
/* No other picture is made of this one: leaving it out harms nothing. False where that is not known. */
bool om_nal_disposable(const AVCodecParameters *par, const AVPacket *pkt);

/* What H.264's frame numbers tell of lost pictures. Thread-safety: one thread. Zeroed is valid. */
typedef struct om_h264_order {
    int bits;           /* of a frame number; 0: not known yet */
    bool colour_planes; /* a slice says which one it is of */
    bool gaps;          /* numbers may be missing: nothing can be told */
    bool begun;
    int last; /* the last reference picture's */
} om_h264_order;

/* Takes note of the packet. True: a picture that this one may be made of is missing before it. */
bool om_h264_gap(om_h264_order *o, const AVCodecParameters *par, const AVPacket *pkt);

#endif
