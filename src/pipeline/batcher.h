/* A batcher serves one model on one device at one rectangle: when the arbiter lets it in, it takes pictures
 * from ready mailboxes (strict priority, then weighted deficit round-robin), gathers them into a session's
 * input and submits. */
#ifndef OM_PIPELINE_BATCHER_H
#define OM_PIPELINE_BATCHER_H

#include "backend/backend.h"
#include "base/queue.h"
#include "pipeline/arbiter.h"
#include "pipeline/mailbox.h"

#define OM_BATCH_MAX 128

struct om_engine;
typedef struct om_batcher om_batcher;

typedef struct om_pick {
    om_mailbox *mailbox;
    om_frame *frame; /* NULL once gathered, unless sinks want pictures */
    uint64_t order;
    bool lost; /* already counted */
    /* Of the picture, which is gone once gathered. */
    uint64_t seq;
    int64_t pts_ns, wall_us, due_ns, put_ns;
    uint32_t epoch;
    int width, height;
} om_pick;

/* One batch on its way through the engine; belongs to its batcher and is used again. */
typedef struct om_flight {
    om_batcher *batcher;
    om_session *session;
    int n;
    om_pick *picks; /* plan->batch of each */
    om_geometry *geo;
    om_gather_item *items;
    om_dets *dets;
    int64_t picked_ns, submitted_ns, done_ns; /* done_ns: written by the engine before it posts */
    struct om_flight *next;
} om_flight;

typedef struct om_ready_list {
    om_mailbox *first, *last;
} om_ready_list;

/* Thread-safety: fields below `ready` are guarded by the engine's lock. */
struct om_batcher {
    struct om_engine *engine;
    om_plan *plan;
    om_device *memory; /* where its pictures are gathered: outlives the plan */
    int generation;    /* of the engine's device when it was made */
    om_thread thread;
    pthread_cond_t wake;
    om_ready_list ready[OM_PRIORITIES];
    int n_ready;         /* mailboxes in the lists */
    int64_t ready_since; /* when n_ready left 0 */
    om_claim claim;
    om_flight *idle; /* flights not in use */
    int n_flights;
    bool stopping;
    bool retired;            /* its device is lost or short of memory: it takes no more pictures */
    om_batcher *successor;   /* who takes them; NULL until there is one */
    uint64_t batches, items; /* gathered so far */
};

/* Compiles the plan for width x height and starts the thread. */
int om_batcher_create(struct om_engine *e, int width, int height, om_batcher **out);
/* Stops the thread once its mailboxes are empty or aborted, and frees everything. After the engine's
 * completion threads have returned all flights. */
void om_batcher_stop(om_batcher *b);
/* Once it is stopped: waits until no flight is in the engine or on its way back. False at the deadline. */
bool om_batcher_settle(om_batcher *b, int64_t deadline_ns);
/* Then: frees its flights, and its plan once it has a successor. The batcher stays. */
void om_batcher_free_flights(om_batcher *b);
void om_batcher_free_plan(om_batcher *b);
void om_batcher_destroy(om_batcher *b);

/* With the engine's lock held: starts no more batches; what is ready waits for a successor. */
void om_batcher_retire(om_batcher *b);
/* With the engine's lock held: `to` serves its mailboxes from now on. */
void om_batcher_succeed(om_batcher *b, om_batcher *to);
/* With the engine's lock held: who serves in its place now, or itself. */
om_batcher *om_batcher_current(om_batcher *b);
/* Whether its device can read the picture. */
bool om_batcher_reads(const om_batcher *b, const om_frame *f);

/* With the engine's lock held. */
void om_batcher_enqueue(om_batcher *b, om_mailbox *m);
void om_batcher_unqueue(om_batcher *b, om_mailbox *m);
/* A flight's results are out: the flight is free and the arbiter has room. Takes the lock itself. */
void om_batcher_return(om_flight *f);
/* The cause of a drop that an om_err stands for. */
om_drop om_drop_of(int err);
/* Counts every picture of the flight that is not lost yet as dropped for this cause. */
void om_flight_lose(om_flight *f, om_drop cause);

#endif
