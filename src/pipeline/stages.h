/* Where a frame's time goes between its source and its sinks; only kept while a run is profiled.
 *
 *   source   waiting for packets: the network, the file, the pace of a live stream
 *   decode   the stream's thread at work (demuxing counts; a decoder's own threads do not)
 *   cores    that thread ready to work, and no core free
 *   mailbox  waiting for a batch
 *   gather   writing the model's input, a share of the batch's time
 *   infer    in the engine
 *   finish   waiting for a thread that reads the outputs
 *   head     reading them, a share of the batch's time
 *   lane     waiting for its turn in the stream
 *   track      following its objects, where the run tracks
 *   secondary  cutting crops and, for files, waiting for the secondary models' answers
 *   sink     being handed over, waiting for room in a full sink included */
#ifndef OM_PIPELINE_STAGES_H
#define OM_PIPELINE_STAGES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/hist.h"
#include "base/json.h"

typedef enum om_stage {
    OM_STAGE_SOURCE,
    OM_STAGE_DECODE,
    OM_STAGE_CORES,
    OM_STAGE_MAILBOX,
    OM_STAGE_GATHER,
    OM_STAGE_INFER,
    OM_STAGE_FINISH,
    OM_STAGE_HEAD,
    OM_STAGE_LANE,
    OM_STAGE_TRACK,
    OM_STAGE_SECONDARY,
    OM_STAGE_SINK,
    OM_STAGE_COUNT
} om_stage;
const char *om_stage_name(om_stage s);

/* One stream's. Thread-safety: note and copy from any thread. */
typedef struct om_stages {
    pthread_mutex_t lock; /* guards hist */
    om_hist hist[OM_STAGE_COUNT];
} om_stages;

int om_stages_create(om_stages **out);
void om_stages_destroy(om_stages *s);
/* NULL: nobody asked. */
void om_stages_note(om_stages *s, om_stage stage, int64_t ns);
/* Adds what `s` holds to into[OM_STAGE_COUNT]; NULL: nothing. */
void om_stages_merge(om_hist *into, om_stages *s);
/* {"stage", "count", "mean_ms", ...}; `bars` above 0: with a histogram of so many. */
void om_stage_json(om_stage stage, const om_hist *h, int bars, om_json *j);

/* For tests of what is said about a run: OMMA_TEST_DELAY=source:20,decode:5 makes each frame of a profiled
 * run wait, or work, that many milliseconds longer in these stages. */
void om_stages_test_delay(om_stage s);

#define OM_TIMELINE_STEPS 240
#define OM_BATCH_SIZES 129

/* What the batches of a run were like, over time: steps grow as the run does, so that memory stays.
 * Thread-safety: every call takes the lock. */
typedef struct om_batch_log {
    pthread_mutex_t lock; /* guards the rest */
    int64_t start_ns, step_ns;
    int n_steps;
    struct {
        uint32_t batches, frames, ready, in_use;
    } steps[OM_TIMELINE_STEPS];
    uint64_t sizes[OM_BATCH_SIZES]; /* by frames in the batch */
    uint64_t batches, frames;
    uint64_t input_bytes, output_bytes;
    om_hist batch_infer; /* of whole batches */
} om_batch_log;

int om_batch_log_create(om_batch_log **out);
void om_batch_log_destroy(om_batch_log *l);
/* A batch of n goes out; `ready` streams still wait, `in_use` batches are under way. NULL: nobody asked. */
void om_batch_log_add(om_batch_log *l, int n, int ready, int in_use, uint64_t input_bytes);
void om_batch_log_done(om_batch_log *l, int64_t infer_ns, uint64_t output_bytes);
/* Members "batches", "timeline", "copies", "mean_batch" into an open object. */
void om_batch_log_json(om_batch_log *l, om_json *j);

#endif
