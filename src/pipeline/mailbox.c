#include "pipeline/mailbox.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "pipeline/batcher.h"

int om_mailbox_init(om_mailbox *m, const om_mailbox_params *p)
{
    memset(m, 0, sizeof(*m));
    m->lock = p->lock;
    m->lane = p->lane;
    m->account = p->account;
    m->cap = p->replace ? 1 : p->cap < OM_MAILBOX_MAX ? p->cap : OM_MAILBOX_MAX;
    m->replace = p->replace;
    m->priority = p->priority;
    m->weight = p->weight;
    m->credits = p->credits;
    m->on_end = p->on_end;
    m->user = p->user;
    return om_cond_init(&m->room);
}

void om_mailbox_fini(om_mailbox *m)
{
    if (!m->lock) return;
    for (; m->count; m->count--, m->head = (m->head + 1) % OM_MAILBOX_MAX) om_frame_unref(m->ring[m->head]);
    pthread_cond_destroy(&m->room);
}

/* With the lock held. True exactly once, when nothing can come out of this mailbox any more. */
static bool reached_end(om_mailbox *m)
{
    if (!m->closed || m->count || m->used || m->ended) return false;
    return m->ended = true;
}

static void unlock_and_tell(om_mailbox *m)
{
    bool end = reached_end(m);
    pthread_mutex_unlock(m->lock);
    if (end) m->on_end(m->user);
}

static om_frame *pop(om_mailbox *m)
{
    om_frame *f = m->ring[m->head];
    m->ring[m->head] = NULL;
    m->head = (m->head + 1) % OM_MAILBOX_MAX;
    m->count--;
    return f;
}

static void push(om_mailbox *m, om_frame *f, int64_t since)
{
    int slot = (m->head + m->count++) % OM_MAILBOX_MAX;
    m->ring[slot] = f;
    m->put_ns[slot] = since;
}

void om_mailbox_follow(om_mailbox *m)
{
    struct om_batcher *to = m->batcher ? om_batcher_current(m->batcher) : NULL;
    if (to == m->batcher) return;
    om_batcher_unqueue(m->batcher, m);
    m->batcher = to;
    for (int n = m->count; n > 0; n--) {
        int64_t since = m->put_ns[m->head];
        om_frame *f = pop(m);
        if (om_batcher_reads(to, f)) {
            push(m, f, since);
            continue;
        }
        om_account_drop(m->account, OM_DROP_DEVICE_LOST);
        om_frame_unref(f);
    }
    if (om_mailbox_ready(m)) om_batcher_enqueue(to, m);
    pthread_cond_broadcast(&m->room);
}

/* True when `f` may be placed now. A live mailbox makes room by giving up what it holds, to *old. */
static bool make_room(om_mailbox *m, struct om_batcher *b, om_frame **old)
{
    if (m->count == 0) return true;
    if (m->replace) {
        *old = pop(m);
        return true;
    }
    return m->count < m->cap && m->batcher == b;
}

int om_mailbox_put(om_mailbox *m, struct om_batcher *b, om_frame *f)
{
    om_frame *old = NULL;
    pthread_mutex_lock(m->lock);
    om_mailbox_follow(m);
    b = om_batcher_current(b);
    while (!m->closed && !make_room(m, b, &old)) {
        om_cond_wait_until(&m->room, m->lock, OM_NEVER);
        b = om_batcher_current(b);
    }
    bool stopped = m->closed, lost = !stopped && !om_batcher_reads(b, f);
    if (stopped || lost) {
        pthread_mutex_unlock(m->lock);
        if (stopped) om_account_skip(m->account, OM_SKIP_STOPPED);
        else om_account_drop(m->account, OM_DROP_DEVICE_LOST);
        om_frame_unref(f);
    } else {
        if (m->batcher != b) {
            if (m->batcher) om_batcher_unqueue(m->batcher, m);
            m->batcher = b;
        }
        push(m, f, om_now_ns());
        if (om_mailbox_ready(m)) om_batcher_enqueue(b, m);
        pthread_mutex_unlock(m->lock);
    }
    if (old) {
        om_account_drop(m->account, OM_DROP_SUPERSEDED);
        om_frame_unref(old);
    }
    return stopped ? OM_ERR_CANCELLED : OM_OK;
}

void om_mailbox_close(om_mailbox *m)
{
    pthread_mutex_lock(m->lock);
    m->closed = true;
    pthread_cond_broadcast(&m->room);
    unlock_and_tell(m);
}

void om_mailbox_abort(om_mailbox *m)
{
    om_frame *waiting[OM_MAILBOX_MAX];
    int n = 0;
    pthread_mutex_lock(m->lock);
    m->closed = true;
    while (m->count) waiting[n++] = pop(m);
    if (m->batcher) om_batcher_unqueue(m->batcher, m);
    pthread_cond_broadcast(&m->room);
    for (int i = 0; i < n; i++) om_account_skip(m->account, OM_SKIP_STOPPED);
    unlock_and_tell(m);
    for (int i = 0; i < n; i++) om_frame_unref(waiting[i]);
}

void om_mailbox_tune(om_mailbox *m, int priority, double weight)
{
    pthread_mutex_lock(m->lock);
    bool queued = m->queued;
    if (queued) om_batcher_unqueue(m->batcher, m); /* the lists are by priority */
    m->priority = priority;
    m->weight = weight;
    if (queued) om_batcher_enqueue(m->batcher, m);
    pthread_mutex_unlock(m->lock);
}

void om_mailbox_credit(om_mailbox *m)
{
    pthread_mutex_lock(m->lock);
    m->used--;
    om_mailbox_follow(m);
    if (om_mailbox_ready(m)) om_batcher_enqueue(m->batcher, m);
    unlock_and_tell(m);
}

om_frame *om_mailbox_take(om_mailbox *m, uint64_t *order)
{
    om_frame *f = pop(m);
    m->used++;
    *order = m->next_order++;
    pthread_cond_signal(&m->room);
    return f;
}
