/* Whether cameras send more than the link carries. Before a run that can only be guessed (preflight.h); here
 * it is measured. */
#include "base/clock.h"
#include "base/log.h"
#include "pipeline/pipeline_priv.h"
#include "pipeline/preflight.h"

#define LOOK_NS (3 * OM_NS_PER_SEC) /* a key picture more or less makes no difference */

void om_pipeline_watch_network_init(om_pipeline *p)
{
    p->link_mbit = om_preflight_link_mbit(&p->config.run);
    p->network_next_ns = p->link_mbit > 0 ? 0 : OM_NEVER;
}

/* What the camera has sent since the last look; until it is known, what it announced, or 0. */
static double mbit_of(om_stream_run *s, int64_t now, bool *measured)
{
    uint64_t bytes = atomic_load_explicit(&s->account.source.bytes, memory_order_relaxed);
    int64_t ns = now - s->looked_bytes_ns;
    double mbit = s->info.bit_rate / 1e6;
    *measured = s->looked_bytes_ns && ns > 0;
    if (*measured) mbit = 8e3 * (double)(bytes - s->looked_bytes) / (double)ns;
    s->looked_bytes = bytes;
    s->looked_bytes_ns =
        bytes ? now : 0; /* one that has just been reached is measured from its first packets on */
    return mbit;
}

void om_pipeline_watch_network(om_pipeline *p)
{
    double sum = 0;
    size_t cameras = 0, known = 0;
    int64_t now = om_now_ns();
    p->network_next_ns = now + LOOK_NS;
    pthread_mutex_lock(&p->roster);
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_streams; i++) {
        om_stream_run *s = p->streams[i];
        bool measured;
        if (!s->remote || atomic_load(&s->done)) continue;
        sum += mbit_of(s, now, &measured);
        cameras++;
        known += measured;
    }
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->roster);
    if (sum <= p->link_mbit) return;
    om_log(
        OM_LOG_WARN,
        "network: %zu cameras send %.1f Mbit/s (%zu measured, the others as announced), more than the "
        "%.3g that the link carries: smaller sub-streams, fewer frames a second or a faster link (--link-mbit)",
        cameras, sum, known, p->link_mbit);
    p->network_next_ns = OM_NEVER; /* once is enough */
}
