/* A worker that learns: the model's head is taken off, a new one is trained on the features of each batch. */
#ifndef OM_WORKER_RETRAIN_H
#define OM_WORKER_RETRAIN_H

#include "train/trainer.h"
#include "worker/rig.h"

typedef struct om_retrain_params {
    om_learning learning;
    int batch;
    int64_t steps; /* in all, for the schedule; 0: not known, the rate stays */
    uint64_t seed;
    const char *checkpoint; /* NULL: none */
    bool resume;
} om_retrain_params;

/* Thread-safety: one thread. Zeroed is valid and empty. */
typedef struct om_retrain {
    om_retrain_params p;
    om_trainer trainer;
    om_rows none; /* no rows are kept: what is read is learnt from once */
    char *point;  /* the tensor that holds the features; owned */
    int features;
    uint64_t source; /* of the checkpoint; 0: there is none */
    bool placed;     /* the head knows where the features are made */
    double loss;     /* of the last step */
    int64_t right, seen;
} om_retrain;

/* After om_rig_load(): takes the head off the rig's graph. `classes` of the new one. A checkpoint of another
 * model or of other classes is refused. */
int om_retrain_init(om_retrain *t, om_rig *r, const char *cut, const om_strlist *classes,
                    const om_retrain_params *p);
void om_retrain_fini(om_retrain *t);
/* The features of the rig's last inference and their classes: forward, loss, backward, step. */
int om_retrain_step(om_retrain *t, const om_rig *r, const int *labels, int n);
int om_retrain_checkpoint(om_retrain *t); /* atomic; nothing where there is none */
/* The rig's model with the head as it is now. */
int om_retrain_save(om_retrain *t, const om_rig *r, const om_strlist *classes, const char *path);

#endif
