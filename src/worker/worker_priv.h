/* Inside the room: a worker at work, and what its files share. Thread-safety: one thread, but for what
 * om_worker_finish_second() writes. */
#ifndef OM_WORKER_WORKER_PRIV_H
#define OM_WORKER_WORKER_PRIV_H

#include "worker/feed.h"
#include "worker/metrics.h"
#include "worker/retrain.h"
#include "worker/rig.h"
#include "worker/split.h"
#include "worker/worker.h"

#define OM_WORKER_CLASSES 65536

typedef struct worker {
    const om_worker_options *o;
    const om_learning *l;
    const om_worker_listener *listener;
    om_cancel *cancel;
    char input[4096]; /* the address of --input-path */
    om_metrics metrics;
    om_rig rig;
    om_feed *feed;
    om_retrain retrain;
    bool learns;
    om_split *split;          /* NULL: the model runs in one part */
    om_head *head;            /* of the split model; owned */
    size_t split_bytes;       /* a batch's, from part to part */
    cpu_set_t cores, second;  /* the first part's or all; the second part's */
    om_worker_result *result; /* the caller's; of a split model written by the second part's thread alone */
    int64_t warm, submitted;
    om_preparer preparer;
    om_frame *frames[OM_RIG_BATCH_MAX]; /* of the batch; NULL from n on */
    om_frame *ready[OM_RIG_BATCH_MAX];  /* prepared ones */
    om_geometry geo[OM_RIG_BATCH_MAX];
    om_dets dets[OM_RIG_BATCH_MAX];
    int labels[OM_RIG_BATCH_MAX];
    uint64_t *seen; /* how often each class was found */
    int64_t sum_ns[4], next_progress_ns, next_log_ns, next_checkpoint_ns, begun_ns;
} worker;

/* Into the log and to the listener. */
void om_worker_say(worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void om_worker_say_config(worker *w);
void om_worker_say_system(worker *w);
int om_worker_bind_cores(worker *w);
int om_worker_open_feed(worker *w);
om_rig_params om_worker_rig_params(const worker *w);
/* Model, devices, and what retraining or a split needs. */
int om_worker_make_rig(worker *w);

/* OM_ERR_EOF: nothing is left. The input's last batch may be a small one. */
int om_worker_read_batch(worker *w, int *n);
void om_worker_drop_frames(worker *w);
/* All steps, with their rows. */
int om_worker_run_all(worker *w);
int om_worker_save_checkpoint(worker *w, bool now);
/* In the second part's thread: the row of a batch that went through both. */
int om_worker_finish_second(void *user, om_split_job *job, om_dets *dets);

#endif
