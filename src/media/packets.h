/* The account of the packets that a decoder was given: each ends in exactly one way (see decode.h). Private
 * to the media room. Thread-safety: one thread; the counts are read by any. */
#ifndef OM_MEDIA_PACKETS_H
#define OM_MEDIA_PACKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "media/source.h"

/* More than any decoder holds back: 16 reordered pictures and one a thread. */
#define OM_PACKETS_OPEN 128

typedef enum om_packet_state { OM_PACKET_SETTLED, OM_PACKET_OPEN, OM_PACKET_REFUSED } om_packet_state;

typedef struct om_packet {
    uint64_t number;
    om_packet_state state;
    bool key;
    bool thrift; /* sent to a decoder that leaves pictures out */
    int64_t wall_us;
} om_packet;

typedef struct om_packets {
    om_source_counts *counts;
    const char *shown;
    uint64_t first, next; /* numbers of the first packet expected here and of the next one */
    bool warned;
    om_packet ring[OM_PACKETS_OPEN];
} om_packets;

/* Numbers go on behind what the counts have received. Both pointers are kept. */
void om_packets_init(om_packets *p, om_source_counts *counts, const char *shown);
/* Another one came: it is open, and counted as received. One that is still open in its place ends as empty.
 */
void om_packets_expect(om_packets *p, int64_t wall_us);
om_packet *om_packets_last(om_packets *p);
/* NULL if the decoder returns a number that never went in or left the ring long ago. */
om_packet *om_packets_find(om_packets *p, int64_t number);
om_packet *om_packets_oldest(om_packets *p); /* still open; NULL: none is */

/* It ends here, in this count. */
void om_packets_settle(om_packet *s, atomic_ullong *count);
/* The decoder made nothing of it. */
void om_packets_empty(om_packets *p, om_packet *s);
/* Its picture is not returned. The first one of a source is a warning. */
void om_packets_corrupt(om_packets *p, om_packet *s, const char *why);
void om_packets_rest_empty(om_packets *p); /* all that are open */
void om_packets_rest_unread(om_packets *p);

#endif
