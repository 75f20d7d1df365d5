#include "media/packets.h"

#include "base/log.h"

static void count(atomic_ullong *counter) { atomic_fetch_add_explicit(counter, 1, memory_order_relaxed); }

void om_packets_init(om_packets *p, om_source_counts *counts, const char *shown)
{
    *p = (om_packets){.counts = counts, .shown = shown};
    p->first = p->next = atomic_load_explicit(&counts->received, memory_order_relaxed);
}

void om_packets_expect(om_packets *p, int64_t wall_us)
{
    om_packet *s = &p->ring[p->next % OM_PACKETS_OPEN];
    if (s->state == OM_PACKET_OPEN) om_packets_empty(p, s);
    *s = (om_packet){.number = p->next++, .state = OM_PACKET_OPEN, .wall_us = wall_us};
    count(&p->counts->received);
}

om_packet *om_packets_last(om_packets *p) { return &p->ring[(p->next - 1) % OM_PACKETS_OPEN]; }

om_packet *om_packets_find(om_packets *p, int64_t number)
{
    if (number < 0) return NULL;
    om_packet *s = &p->ring[(uint64_t)number % OM_PACKETS_OPEN];
    bool known = (uint64_t)number >= p->first && (uint64_t)number < p->next;
    return known && s->number == (uint64_t)number ? s : NULL;
}

om_packet *om_packets_oldest(om_packets *p)
{
    uint64_t n = p->next - p->first > OM_PACKETS_OPEN ? p->next - OM_PACKETS_OPEN : p->first;
    for (; n < p->next; n++)
        if (p->ring[n % OM_PACKETS_OPEN].state == OM_PACKET_OPEN) return &p->ring[n % OM_PACKETS_OPEN];
    return NULL;
}

void om_packets_settle(om_packet *s, atomic_ullong *counter)
{
    s->state = OM_PACKET_SETTLED;
    count(counter);
}

void om_packets_empty(om_packets *p, om_packet *s)
{
    om_packets_settle(s, s->thrift ? &p->counts->economy : &p->counts->no_output);
}

void om_packets_corrupt(om_packets *p, om_packet *s, const char *why)
{
    s->state = OM_PACKET_REFUSED;
    count(&p->counts->corrupt);
    om_log(p->warned ? OM_LOG_DEBUG : OM_LOG_WARN, "%s: packet %llu: %s%s", p->shown,
           (unsigned long long)s->number, why, p->warned ? "" : " (further ones are only counted)");
    p->warned = true;
}

void om_packets_rest_empty(om_packets *p)
{
    for (om_packet *s; (s = om_packets_oldest(p));) om_packets_empty(p, s);
}

void om_packets_rest_unread(om_packets *p)
{
    for (om_packet *s; (s = om_packets_oldest(p));) om_packets_settle(s, &p->counts->unread);
}
