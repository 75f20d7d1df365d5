/* Every split of a model that makes sense, measured: a table, JSON, and a page with plots. */
#ifndef OM_WORKER_SWEEP_H
#define OM_WORKER_SWEEP_H

#include <stdint.h>

#include "worker/split.h"

typedef struct om_sweep_params {
    const om_rig_params *rig; /* of the model and its first part */
    const char *device;       /* of the second part */
    const cpu_set_t *first, *second;
    int max;       /* splits at most */
    int64_t steps; /* batches a measurement; at most 1000 */
    bool amp;
    const char *dir; /* split_MODEL.csv, .json, .html go there */
    om_cancel *cancel;
    void (*line)(void *user, const char *text);
    void *user;
} om_sweep_params;

/* `frames`: a batch of prepared pictures (rig->batch at most). Ended by the token, what was measured so far
 * is written. */
int om_sweep_run(const om_sweep_params *p, om_frame *const *frames, int n);

#endif
