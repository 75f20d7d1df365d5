/* Depthwise convolutions and the pointwise ones behind them: where one kernel for both is faster than two. */
#ifndef OM_BACKEND_CUDA_JOIN_H
#define OM_BACKEND_CUDA_JOIN_H

#include "backend/cuda/engine.h"
#include "backend/cuda/plan_io.h"

/* Marks the pairs that one kernel could do, and keeps their input until the second step: before the buffers
 * are placed. */
void omcu_join_mark(omcu_program *p);
/* Nanoseconds of a step; negative: it does not run. */
typedef double omcu_timer(void *user, const omcu_step *s);
/* Decides by timing, once every step has its tactic. */
void omcu_join_tune(omcu_program *p, omcu_timer *time, void *user);
/* What was decided, a letter a pair: '1' one kernel, '2' two. `out` holds OMCU_FORM_PAIRS. */
void omcu_join_export(const omcu_program *p, char *out);
/* OM_ERR_FORMAT: it was decided for other pairs. */
int omcu_join_recall(omcu_program *p, const char *decided);

#endif
