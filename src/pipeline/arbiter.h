/* The device's door: at most `limit` batches are being gathered or in flight, over all batchers of the
 * device. Who waits with the highest priority enters first; among equals the one that waits longest. Guests
 * (secondary models, which bound themselves) take up no room: one enters as long as nobody of its priority or
 * a higher one waits, or once it has waited for OM_GUEST_PATIENCE_NS, so that a device that never rests gives
 * it a little all the same. Guarded by its engine's lock: every call with that lock held. */
#ifndef OM_PIPELINE_ARBITER_H
#define OM_PIPELINE_ARBITER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define OM_GUEST_PATIENCE_NS 200000000

typedef struct om_claim {
    pthread_cond_t *cond; /* signalled when granted */
    bool guest;
    int priority;
    uint64_t since;   /* ticket: lower waits longer */
    int64_t since_ns; /* a guest's */
    bool waiting, granted;
    struct om_claim *next;
} om_claim;

typedef struct om_arbiter {
    int limit, in_use;
    uint64_t tickets;
    om_claim *waiting;
} om_arbiter;

/* Asks for room; `claim->granted` tells whether and, once signalled, when. Asking again updates the priority.
 */
void om_arbiter_request(om_arbiter *a, om_claim *claim, int priority);
/* Gives up a request, or the room if it was granted meanwhile. */
void om_arbiter_withdraw(om_arbiter *a, om_claim *claim);
/* Gives room back (not a guest's); the best waiting claim gets it. */
void om_arbiter_release(om_arbiter *a);
/* Changes how many may be inside. */
void om_arbiter_set_limit(om_arbiter *a, int limit);

#endif
