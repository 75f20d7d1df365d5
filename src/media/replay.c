#include "media/replay.h"

#include <string.h>

#include "base/mem.h"

#define MAX_PACKETS 2048
#define MAX_BYTES (16 << 20)

static void forget(om_replay *r)
{
    for (size_t i = 0; i < r->n; i++) av_packet_free(&r->packets[i]);
    r->n = r->at = 0;
    r->bytes = 0;
}

void om_replay_drop(om_replay *r)
{
    forget(r);
    om_free(r->packets);
    om_free(r->numbers);
    *r = (om_replay){0};
}

void om_replay_keep(om_replay *r, const AVPacket *pkt, uint64_t number)
{
    if (!r->n && !(pkt->flags & AV_PKT_FLAG_KEY)) return;
    bool room = r->n < MAX_PACKETS && r->bytes + pkt->size <= MAX_BYTES &&
                om_grow((void **)&r->packets, &r->cap, r->n + 1, sizeof(*r->packets)) == 0 &&
                om_grow((void **)&r->numbers, &r->cap_numbers, r->n + 1, sizeof(*r->numbers)) == 0;
    AVPacket *copy = room ? av_packet_clone(pkt) : NULL;
    if (!copy) {
        forget(r);
        return;
    }
    r->packets[r->n] = copy;
    r->numbers[r->n++] = number;
    r->bytes += copy->size;
}

void om_replay_reached(om_replay *r, uint64_t number)
{
    size_t gone = 0;
    while (gone < r->n && r->numbers[gone] < number) {
        r->bytes -= r->packets[gone]->size;
        av_packet_free(&r->packets[gone++]);
    }
    r->n -= gone;
    if (!gone) return;
    memmove(r->packets, r->packets + gone, r->n * sizeof(*r->packets));
    memmove(r->numbers, r->numbers + gone, r->n * sizeof(*r->numbers));
}

const AVPacket *om_replay_next(om_replay *r, uint64_t *number)
{
    if (r->at == r->n) {
        om_replay_drop(r);
        return NULL;
    }
    *number = r->numbers[r->at];
    return r->packets[r->at++];
}
