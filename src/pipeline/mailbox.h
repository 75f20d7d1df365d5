/* A stream's mailbox: where its source leaves pictures for a batcher. Live, it holds one and a newer one
 * replaces it; for files it is a short ring and the source waits. The weighted ready list that batchers serve
 * is made of mailboxes.
 *
 * Thread-safety: every field is guarded by the engine's lock, which the calls take themselves unless they say
 * so. */
#ifndef OM_PIPELINE_MAILBOX_H
#define OM_PIPELINE_MAILBOX_H

#include "base/thread.h"
#include "frame/frame.h"
#include "pipeline/account.h"

#define OM_MAILBOX_MAX 16
#define OM_PRIORITIES 10

struct om_batcher;
struct om_lane;

typedef struct om_mailbox {
    pthread_mutex_t *lock; /* the engine's */
    om_frame *ring[OM_MAILBOX_MAX];
    int64_t put_ns[OM_MAILBOX_MAX]; /* since when each waits */
    int cap, head, count;
    bool replace; /* live */
    bool closed;
    pthread_cond_t room;        /* the source waits here */
    struct om_batcher *batcher; /* who serves it; NULL before the first picture */
    struct om_lane *lane;
    om_account *account;
    int priority;
    double weight, deficit;
    bool queued; /* in a ready list */
    struct om_mailbox *next;
    int credits, used;          /* pictures allowed, and now, between pick and lane exit */
    uint64_t next_order;        /* the number the next picked picture gets; the lane restores this order */
    bool ended;                 /* `on_end` has been called */
    void (*on_end)(void *user); /* closed, empty and nothing in flight; called without the lock */
    void *user;
} om_mailbox;

typedef struct om_mailbox_params {
    pthread_mutex_t *lock;
    struct om_lane *lane;
    om_account *account;
    int cap, credits, priority;
    double weight;
    bool replace;
    void (*on_end)(void *user);
    void *user;
} om_mailbox_params;

int om_mailbox_init(om_mailbox *m, const om_mailbox_params *p);
void om_mailbox_fini(om_mailbox *m);

/* Leaves a picture (ownership goes over, on failure too) for `b`. Waits for room where the mailbox is a ring,
 * or where the pictures before this one wait for another batcher. OM_ERR_CANCELLED: closed meanwhile, the
 * picture is counted as skipped{stopped}. */
int om_mailbox_put(om_mailbox *m, struct om_batcher *b, om_frame *f);
/* No more pictures come. on_end follows, at once or when the last one has left its lane. */
void om_mailbox_close(om_mailbox *m);
/* Throws away what waits, counted as skipped{stopped}, and closes. */
void om_mailbox_abort(om_mailbox *m);
/* Another priority and weight, from the next picture on. */
void om_mailbox_tune(om_mailbox *m, int priority, double weight);
/* A picture has left its lane. */
void om_mailbox_credit(om_mailbox *m);

/* With the lock held: goes over to its batcher's successor, if there is one. Pictures that it cannot read, in
 * the memory of a device that is lost, are dropped. */
void om_mailbox_follow(om_mailbox *m);

/* With the lock held: takes the next picture, using up a credit; its order number goes to *order. */
om_frame *om_mailbox_take(om_mailbox *m, uint64_t *order);
/* With the lock held: has a picture and a credit for it. */
static inline bool om_mailbox_ready(const om_mailbox *m) { return m->count > 0 && m->used < m->credits; }

#endif
