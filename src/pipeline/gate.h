/* The common start of a run's local sources: it opens when each has been opened and its first picture
 * decoded, or has failed, so that live files start together with their decoders made, and rectangles are
 * shared out in the order of the streams, not of their threads.
 *
 * Decoders are dear to make, on a GPU above all, and disturb those at work: so many at a time are, also
 * later, for streams that come while the run goes on. Thread-safety: all calls from any thread. */
#ifndef OM_PIPELINE_GATE_H
#define OM_PIPELINE_GATE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/thread.h"

typedef struct om_gate {
    pthread_mutex_t lock; /* guards the rest but for start_ns */
    pthread_cond_t changed;
    int64_t patience_ns; /* without any progress for so long, nobody is waited for any longer */
    int64_t progress_ns;
    int missing, places;
    bool opening;          /* somebody has been told to open it */
    atomic_llong start_ns; /* 0 until it opens */
} om_gate;

/* For `expected` sources of which `places` may be opened at a time. */
int om_gate_init(om_gate *g, int expected, int places, int64_t patience_ns);
void om_gate_fini(om_gate *g);
/* Waits for a place among those that open their sources; om_gate_leave() gives it back. A source that hangs
 * holds its place, but nobody up for longer than the patience. OM_ERR_CANCELLED: there is none. */
int om_gate_enter(om_gate *g, om_cancel *c);
void om_gate_leave(om_gate *g);
/* One source is ready or has failed. True for the last of them, who must then call om_gate_open(). */
bool om_gate_arrive(om_gate *g);
void om_gate_open(om_gate *g);
/* *start: when the caller's source begins (om_now_ns() scale): with all others, or now where they have begun
 * without it. OM_ERR_CANCELLED; OM_ERR_TIMEOUT: the others are waited for no longer, and the caller, nobody
 * else, must call om_gate_open() and wait again. */
int om_gate_wait(om_gate *g, om_cancel *c, int64_t *start);

/* How long after the common start the index-th live stream begins, of whose pictures `fps` a second are
 * wanted (0: unknown): spread over the time between two of them, so that the streams' pictures do not fall
 * together. */
int64_t om_gate_phase_ns(int index, double fps);
/* The same as a part of that time, from 0 to 1. */
double om_gate_share(int index);

#endif
