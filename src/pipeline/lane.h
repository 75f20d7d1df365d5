/* Lanes put a stream's results back in order and hand them to its sinks. A small pool of workers runs them,
 * one worker a lane at a time; a lane whose sink is full is left alone until the sink has room, so no worker
 * ever waits. */
#ifndef OM_PIPELINE_LANE_H
#define OM_PIPELINE_LANE_H

#include "base/thread.h"
#include "pipeline/mailbox.h"
#include "sink/sink.h"
#include "track/track.h"

#define OM_LANE_AHEAD 8 /* frames that may wait for secondary models */

struct om_second_stream;
struct om_second_frame;

typedef struct om_lane om_lane;

/* Thread-safety: kick from any thread between start and stop. */
typedef struct om_lane_pool {
    pthread_mutex_t lock; /* guards first, last, stopping */
    pthread_cond_t wake;
    om_lane *first, *last;
    bool stopping;
    om_thread threads[8];
    int n_threads;
} om_lane_pool;

int om_lane_pool_start(om_lane_pool *p, int threads);
void om_lane_pool_stop(om_lane_pool *p); /* zeroed: no-op; lanes may still be kicked, and are not served */
void om_lane_pool_fini(om_lane_pool *p); /* of one that was started, when nobody kicks any more */

typedef struct om_lane_slot {
    om_result *result; /* NULL in a tombstone */
    bool filled;
    int64_t posted_ns;
} om_lane_slot;

typedef enum om_lane_state { OM_LANE_IDLE, OM_LANE_QUEUED, OM_LANE_RUNNING, OM_LANE_RERUN } om_lane_state;

struct om_lane {
    om_lane_pool *pool;
    const char *stream; /* its name and number, for results; owned by the pipeline */
    int stream_index;
    om_mailbox *mailbox; /* gets its credits back here */
    om_account *account;
    om_sink **sinks; /* n_sinks; constant while it runs */
    size_t n_sinks;
    void (*on_sinks_dead)(
        void *user); /* after each result once every sink of this lane has failed; may be NULL */
    void *on_sinks_dead_user;
    struct om_drift *drift; /* is told how many objects there are; may be NULL */
    om_result_fn callback;  /* may be NULL */
    void *callback_user;

    pthread_mutex_t lock; /* guards slots, next, state */
    om_lane_slot *slots;  /* a ring of `cap`, as many as the stream has credits */
    int cap;
    uint64_t next; /* order number that leaves next */
    om_lane_state state;
    om_lane *run_next; /* guarded by the pool's lock */

    om_tracker *tracker; /* the running worker's; owned; NULL: none */
    uint32_t epoch;      /* of the last result it saw */
    float conf;          /* where there is a tracker: what is reported without a track */
    bool tracker_failed; /* it was told */

    struct om_second_stream *second; /* owned; NULL: no secondary models */
    atomic_ullong through;           /* number behind the last picture that was handed over */
    bool drops_pictures;             /* once they are cut: no sink wants them */
    struct {
        om_result *result;
        struct om_second_frame *questions; /* NULL: it goes without */
        int64_t asked_ns;
    } ahead[OM_LANE_AHEAD]; /* the running worker's: asked about, not answered yet; a ring */
    int first_ahead, n_ahead;

    atomic_bool give_up; /* a sink without room is waited for no longer */
    om_result *current;  /* the running worker's: handed to sinks [0, offered) so far */
    size_t offered;
    int64_t begun_ns;
};

int om_lane_init(om_lane *l, om_lane_pool *pool, om_mailbox *mailbox, om_account *account, int credits);
void om_lane_fini(om_lane *l);
/* Once the pool has stopped: what is still in the lane was never handed over, and is counted as
 * skipped{stopped}. */
void om_lane_abandon(om_lane *l);
/* The result of order number `order` (the reference goes over), or NULL: lost, already counted. Any thread.
 */
void om_lane_post(om_lane *l, uint64_t order, om_result *r);
/* Late answers of secondary models kick it no more. */
void om_lane_close(om_lane *l);
/* No worker runs it or is about to. */
bool om_lane_idle(om_lane *l);
/* Something it waited for may be there now. Any thread. */
void om_lane_kick(om_lane *l);

#endif
