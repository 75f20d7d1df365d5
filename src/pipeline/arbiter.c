#include "pipeline/arbiter.h"

#include "base/clock.h"

static bool before(const om_claim *a, const om_claim *b)
{
    if (a->priority != b->priority) return a->priority > b->priority;
    return a->guest != b->guest ? b->guest : a->since < b->since;
}

static void unlink_claim(om_arbiter *a, om_claim *claim)
{
    for (om_claim **p = &a->waiting; *p; p = &(*p)->next) {
        if (*p != claim) continue;
        *p = claim->next;
        break;
    }
    claim->waiting = false;
}

/* Who enters now, or NULL. Where the best has to wait for room, so do those behind it, but for a guest that
 * has lost its patience. */
static om_claim *next_in(const om_arbiter *a)
{
    om_claim *best = a->waiting;
    for (om_claim *c = a->waiting; c; c = c->next)
        if (before(c, best)) best = c;
    if (!best || best->guest || a->in_use < a->limit) return best;
    om_claim *longest = NULL;
    for (om_claim *c = a->waiting; c; c = c->next)
        if (c->guest && (!longest || c->since < longest->since)) longest = c;
    return longest && om_now_ns() - longest->since_ns >= OM_GUEST_PATIENCE_NS ? longest : NULL;
}

static void admit(om_arbiter *a)
{
    for (om_claim *c; (c = next_in(a));) {
        unlink_claim(a, c);
        c->granted = true;
        a->in_use += !c->guest;
        pthread_cond_signal(c->cond);
    }
}

void om_arbiter_request(om_arbiter *a, om_claim *claim, int priority)
{
    claim->priority = priority;
    if (claim->granted) return;
    if (!claim->waiting) {
        claim->waiting = true;
        claim->since = a->tickets++;
        claim->since_ns = claim->guest ? om_now_ns() : 0;
        claim->next = a->waiting;
        a->waiting = claim;
    }
    admit(a);
}

void om_arbiter_withdraw(om_arbiter *a, om_claim *claim)
{
    if (claim->waiting) unlink_claim(a, claim);
    bool room = claim->granted && !claim->guest;
    claim->granted = false;
    if (room) om_arbiter_release(a);
    else admit(a); /* it may have stood before others */
}

void om_arbiter_release(om_arbiter *a)
{
    a->in_use--;
    admit(a);
}

void om_arbiter_set_limit(om_arbiter *a, int limit)
{
    a->limit = limit;
    admit(a);
}
