/* Epochs over feature vectors: shuffled batches, what is held out after each, the best kept, the rest
 * resumed.
 *
 * All that happens follows from the rows, the parameters and the seed: a run that was stopped and resumed
 * ends in the same bits as one that was not. */
#ifndef OM_TRAIN_TRAINER_H
#define OM_TRAIN_TRAINER_H

#include "base/thread.h"
#include "train/classifier.h"
#include "train/optimizer.h"

/* Rows to learn from or to judge by; all the caller's. */
typedef struct om_rows {
    const float *rows; /* [n][width] */
    const int *labels;
    size_t n;
    int width, classes;
} om_rows;

typedef struct om_epoch {
    double rate;                   /* of its last step */
    double train_loss, train_top1; /* means over the epoch, as it learnt */
    double val_loss, val_top1;     /* NAN: nothing is held out */
} om_epoch;

typedef struct om_trainer_params {
    om_learning learning;
    int batch, epochs;
    int patience;         /* epochs without a better one until it stops; 0: never */
    int64_t max_steps;    /* stops there, to be resumed; 0: no bound */
    const float *weights; /* of each class; NULL: 1 */
    uint64_t seed;
    uint64_t source;        /* of rows that come one by one: a number that tells their model from others */
    const char *checkpoint; /* written after each epoch and when it stops; NULL: none */
    bool resume;            /* from `checkpoint`, where there is one */
    om_cancel *cancel;
    void (*told)(void *user, int epoch, const om_epoch *e); /* after each; NULL is allowed */
    void *user;
} om_trainer_params;

/* Thread-safety: one thread. Zeroed is valid and empty. */
typedef struct om_trainer {
    om_classifier classifier;
    om_optimizer optimizer;
    om_epoch *history; /* owned; `epoch` of them */
    size_t cap;
    int epoch;                /* the one under way */
    int64_t step, epoch_step; /* done in all, and of this epoch */
    double loss_sum, weight_sum;
    int64_t right, seen; /* of this epoch */
    float *best;         /* owned: the numbers after best_epoch */
    int best_epoch;      /* -1: none yet */
    double best_loss, best_top1;
    bool stopped; /* by the token or max_steps: not all was done */
    bool resumed;
} om_trainer;

/* The numbers start from params->seed. OM_ERR_ARG: the checkpoint is another run's (says how). */
int om_trainer_init(om_trainer *t, const om_rows *learn, const om_rows *held_out, const om_trainer_params *p,
                    int hidden);
void om_trainer_fini(om_trainer *t);
/* To the last epoch, to the end of patience, to max_steps, or until the token fires. The classifier then
 * holds the best numbers, unless it was stopped. OM_ERR_FORMAT: the loss is no number any more. */
int om_trainer_run(om_trainer *t, const om_rows *learn, const om_rows *held_out, const om_trainer_params *p);
/* The order in which epoch `epoch` takes n rows. */
void om_trainer_order(uint64_t seed, int epoch, uint32_t *order, size_t n);
int64_t om_trainer_steps(const om_rows *learn, const om_trainer_params *p); /* of all epochs */

/* Loss and best classes of rows; `best` may be NULL. */
int om_trainer_judge(om_classifier *c, const om_rows *r, const float *weights, double *loss, double *top1,
                     int *best);

/* Inside the room: the file. */
int om_checkpoint_write(const om_trainer *t, const om_rows *learn, const om_rows *held_out,
                        const om_trainer_params *p);
int om_checkpoint_read(om_trainer *t, const om_rows *learn, const om_rows *held_out,
                       const om_trainer_params *p);

#endif
