/* Steps down the gradient, and how long each is. */
#ifndef OM_TRAIN_OPTIMIZER_H
#define OM_TRAIN_OPTIMIZER_H

#include <stdint.h>

#include "base/option.h"

typedef enum om_optimizer_kind { OM_OPTIMIZER_SGD, OM_OPTIMIZER_ADAMW } om_optimizer_kind;
typedef enum om_schedule { OM_SCHEDULE_CONSTANT, OM_SCHEDULE_STEP, OM_SCHEDULE_COSINE } om_schedule;

/* What may be chosen about learning; its option table serves every command that learns. */
typedef struct om_learning {
    int optimizer, schedule, hidden;
    double lr, momentum, weight_decay;
    double lr_min;            /* where the cosine ends */
    double lr_decay;          /* STEP: factor ... */
    int64_t lr_step, lr_ramp; /* ... after so many steps; steps of rising from 0 to lr before all */
} om_learning;
extern const om_option om_learning_option_table[];

/* The length of step `step` (from 0) of `steps` in all. */
double om_learning_rate(const om_learning *l, int64_t step, int64_t steps);

/* Thread-safety: one thread. Zeroed is valid and empty. */
typedef struct om_optimizer {
    om_optimizer_kind kind;
    double momentum, weight_decay;
    size_t n;
    int64_t steps;
    float *first, *second; /* owned: momentum, and of AdamW the mean square */
} om_optimizer;

int om_optimizer_init(om_optimizer *o, const om_learning *l, size_t n);
void om_optimizer_fini(om_optimizer *o);
/* As torch.optim's SGD (momentum, decay added to the gradient) and AdamW (0.9, 0.999, 1e-8, decay apart). */
void om_optimizer_step(om_optimizer *o, float *params, const float *grad, double rate);

#endif
