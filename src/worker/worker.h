/* One profiled worker: reads batches of a video, prepares and infers them, in one or two parts, or trains a
 * new head on them, and writes a row of timings for each. */
#ifndef OM_WORKER_WORKER_H
#define OM_WORKER_WORKER_H

#include "base/option.h"
#include "base/thread.h"
#include "train/optimizer.h"
#include "worker/metrics.h"
#include "worker/prep_level.h"

enum { OM_WORKER_INFERENCE, OM_WORKER_RETRAIN };

typedef struct om_worker_options {
    char *model_name, *input_path, *labels, *core_bind, *device, *gpu, *output, *trace, *log_level;
    char *cut, *targets, *checkpoint, *save, *split_point, *split_device, *split_cores;
    int mode, prep_level, batch_size, threads, classes, split_max;
    int64_t max_steps, warmup, seed;
    bool enable_compile, use_amp, prep_on_gpu, infer_on_gpu, resume, split_sweep, quiet;
} om_worker_options;

extern const om_option om_worker_option_table[];

/* What is told while it runs; NULL functions are allowed. */
typedef struct om_worker_listener {
    void (*line)(void *user, const char *text); /* of the log */
    void (*progress)(void *user,
                     const char *text); /* replaces the one before; NULL: there is none any more */
    void *user;
} om_worker_listener;

typedef struct om_worker_result {
    int64_t steps, frames;
    double seconds;    /* of the measured steps */
    double fps;        /* frames a second of them */
    double mean_ms[4]; /* read, prep, exec, total */
    double loss;       /* of the last step that learnt; NAN: none did */
    char csv[OM_METRICS_PATH], log[OM_METRICS_PATH];
} om_worker_result;

/* OM_ERR_ARG where the options do not agree with each other. */
int om_worker_check(const om_worker_options *o);
/* Binds this thread, runs to the end of the input, of --max-steps or until `cancel` fires (which is no
 * error), writes M_{model}_P_{pid}_metrics.csv and .log into --output. Rows are whole whatever happens to the
 * process. */
int om_worker_run(const om_worker_options *o, const om_learning *l, om_cancel *cancel,
                  const om_worker_listener *listener, om_worker_result *out);

#endif
