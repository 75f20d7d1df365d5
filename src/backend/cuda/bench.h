/* Steps of a program timed, and what they write compared: for tuning. One thread at a time. */
#ifndef OM_BACKEND_CUDA_BENCH_H
#define OM_BACKEND_CUDA_BENCH_H

#include "backend/cuda/engine.h"

#define OMCU_BENCH_PORTS 16

typedef struct omcu_bench {
    const omcu_program *p;
    omcu_binding b;
    void *inputs[OMCU_BENCH_PORTS], *outputs[OMCU_BENCH_PORTS];
    struct CUstream_st *stream;
    struct CUevent_st *from, *to;
} omcu_bench;

/* Memory for a placed program, filled with numbers around 1 of both signs in f16 and smaller ones in f32,
 * that differ from each other: what is read from a wrong place shows. On failure too, omcu_bench_fini() frees
 * what there is. */
int omcu_bench_init(omcu_bench *x, const omcu_program *p, size_t workspace);
void omcu_bench_fini(omcu_bench *x);
/* Nanoseconds of one launch; negative: it does not run, or the device is lost. What takes far longer than
 * `best` (0: none yet) is timed roughly. */
double omcu_bench_time(omcu_bench *x, const omcu_step *s, double best);
/* Of the whole program as one graph: the shortest of `rounds`; negative as above. */
double omcu_bench_whole(omcu_bench *x, int rounds);
/* The first bytes of what a step writes, om_free(); NULL: it cannot be had. */
uint8_t *omcu_bench_answer(omcu_bench *x, const omcu_step *s, size_t *n);
/* Floats within a thousandth of the largest, of `tf32` a hundredth, of f16 two; 8-bit integers within two
 * steps. */
bool omcu_answers_agree(int type, bool tf32, const uint8_t *a, const uint8_t *b, size_t n);

#endif
