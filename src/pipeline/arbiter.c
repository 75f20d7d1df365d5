#include "pipeline/arbiter.h"

static bool before(const om_claim *a, const om_claim *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->since < b->since;
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

static void admit(om_arbiter *a)
{
    while (a->in_use < a->limit && a->waiting) {
        om_claim *best = a->waiting;
        for (om_claim *c = best->next; c; c = c->next)
            if (before(c, best)) best = c;
        unlink_claim(a, best);
        best->granted = true;
        a->in_use++;
        pthread_cond_signal(best->cond);
    }
}

void om_arbiter_request(om_arbiter *a, om_claim *claim, int priority)
{
    claim->priority = priority;
    if (claim->granted) return;
    if (!claim->waiting) {
        claim->waiting = true;
        claim->since = a->tickets++;
        claim->next = a->waiting;
        a->waiting = claim;
    }
    admit(a);
}

void om_arbiter_withdraw(om_arbiter *a, om_claim *claim)
{
    if (claim->waiting) unlink_claim(a, claim);
    if (!claim->granted) return;
    claim->granted = false;
    om_arbiter_release(a);
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
