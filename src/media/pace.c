#include "media/pace.h"

#include "base/clock.h"
#include "base/error.h"
#include "trace/trace.h"

#define JUMP_AHEAD_NS (30 * OM_NS_PER_SEC)
#define LIVE_LEAP_NS (10 * OM_NS_PER_SEC)
#define JITTER_NS OM_NS_PER_SEC
#define LEAST_NS 1000 /* what records can tell apart */
#define START_POLL_NS (2 * OM_NS_PER_MS)
#define SANE_NS (INT64_MAX / 8)

void om_timeline_init(om_timeline *t, double fps)
{
    *t = (om_timeline){.frame_ns = (int64_t)(1e9 / (fps > 0.001 ? fps : 25.0))};
    if (t->frame_ns < 1) t->frame_ns = 1;
}

void om_timeline_break(om_timeline *t) { t->anchored = false; }

int64_t om_timeline_map(om_timeline *t, int64_t ts_ns)
{
    bool known = ts_ns > -SANE_NS && ts_ns < SANE_NS;
    int64_t next = t->started ? t->last + t->frame_ns : 0;
    t->started = true;
    if (!known) return t->last = next;

    int64_t mapped = ts_ns + t->offset;
    bool jumps = mapped > next + JUMP_AHEAD_NS || mapped < t->last - JITTER_NS;
    if (!t->anchored || jumps) {
        t->anchored = true;
        t->offset = next - ts_ns;
        return t->last = next;
    }
    return t->last = mapped > t->last ? mapped : t->last + LEAST_NS;
}

/* A time that does not rise for a moment is put just after its forerunner, until its clock is there again;
 * from half a second on that clock stands still, or runs backwards, and is not waited for until it rises. */
int64_t om_timeline_map_live(om_timeline *t, int64_t ts_ns, int64_t now_ns)
{
    bool known = ts_ns > -SANE_NS && ts_ns < SANE_NS, use = known && t->anchored;
    int64_t passed = t->started && now_ns > t->rose_now ? now_ns - t->rose_now : 0;
    int64_t last = t->started ? t->last : -LEAST_NS;
    int64_t mapped = use ? ts_ns + t->offset : 0;
    bool leaps = use && (mapped > last + passed + LIVE_LEAP_NS || mapped < last - JITTER_NS);
    bool held = use && mapped <= last;
    t->started = true;
    if (use && ts_ns > t->last_ts) t->stands = false;
    else if (held && passed >= JITTER_NS / 2) t->stands = true;
    if (known) t->last_ts = ts_ns;
    bool fill = !use || leaps || (held && t->stands);
    if (fill) mapped = last + (passed > 0 ? passed : LEAST_NS);
    if (fill && known) t->offset = mapped - ts_ns;
    if (fill || !held) t->rose_now = now_ns;
    t->anchored |= known;
    return t->last = mapped > last ? mapped : last + LEAST_NS;
}

void om_pace_init(om_pace *p, const om_source_params *params, bool paced)
{
    *p = (om_pace){.params = params, .paced = paced, .wall_us = om_wall_us()};
}

/* The common start, once somebody has set it. */
static int wait_start(om_pace *p, int64_t *start)
{
    const atomic_llong *common = p->params->start_ns;
    *start = common ? atomic_load_explicit(common, memory_order_acquire) : om_now_ns();
    while (*start == 0) {
        int rc = om_cancel_sleep_until(p->params->cancel, om_now_ns() + START_POLL_NS);
        if (rc != OM_OK) return rc;
        *start = atomic_load_explicit(common, memory_order_acquire);
    }
    return OM_OK;
}

static int start_clock(om_pace *p)
{
    int64_t start;
    int rc = wait_start(p, &start);
    if (rc != OM_OK) return rc;
    p->base_ns = start + p->params->phase_ns;
    p->wall_us = om_wall_us() + (p->base_ns - om_now_ns()) / 1000;
    p->started = true;
    return OM_OK;
}

int om_pace_wait(om_pace *p, int64_t t_ns, int64_t *due)
{
    if (om_cancelled(p->params->cancel)) return om_fail(OM_ERR_CANCELLED, "cancelled");
    if (!p->paced) {
        *due = om_now_ns();
        return OM_OK;
    }
    int rc = p->started ? OM_OK : start_clock(p);
    if (rc != OM_OK) return rc;
    *due = p->base_ns + t_ns;
    if (*due <= om_now_ns()) return OM_OK;
    om_trace_begin("pace", -1);
    rc = om_cancel_sleep_until(p->params->cancel, *due);
    om_trace_end("pace");
    return rc;
}
