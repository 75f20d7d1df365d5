/* The packets since the last key picture that came out, so that another decoder can take over from there.
 * Private to the media room. They are references: nothing is copied. Thread-safety: one thread. */
#ifndef OM_MEDIA_REPLAY_H
#define OM_MEDIA_REPLAY_H

#include <libavcodec/packet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct om_replay {
    AVPacket **packets;
    uint64_t *numbers; /* of each */
    size_t n, cap, cap_numbers;
    int64_t bytes;
    size_t at; /* the next one to be sent again */
} om_replay;

/* The first one kept is a key packet. What would grow without bound is given up: a stream whose key pictures
 * lie too far apart starts anew at the next one. */
void om_replay_keep(om_replay *r, const AVPacket *pkt, uint64_t number);
/* The picture of this key packet is out: those before it are not needed any more. */
void om_replay_reached(om_replay *r, uint64_t number);
/* The next packet to be sent again and its number; NULL: that was all. */
const AVPacket *om_replay_next(om_replay *r, uint64_t *number);
void om_replay_drop(om_replay *r); /* zeroed is valid */

#endif
