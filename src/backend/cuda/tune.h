/* Which way of computing each convolution and matrix product is the fastest here: measured, remembered. */
#ifndef OM_BACKEND_CUDA_TUNE_H
#define OM_BACKEND_CUDA_TUNE_H

#include "backend/cuda/engine.h"
#include "base/str.h"

typedef struct omcu_tuner omcu_tuner;

typedef struct omcu_tune_params {
    const char *cache_dir; /* NULL: nothing is remembered */
    double seconds;        /* for building and timing candidates; 0: none are timed */
    bool libraries;        /* cuDNN and cuBLASLt take part, where they are there */
    int threads;           /* that build candidates; 0: as many as there are cores, at most 16 */
    om_str *memo; /* what was measured before, as in the cache, which is left alone then; grows. NULL: none */
    int pick;     /* > 0, for tests: the candidate of this number among those that run, turning round */
    bool rate;    /* only sums up what all steps take, into program->ns: what `memo` knows is not built */
    bool whole;   /* times the program as a whole too, into program->ns */
    const struct omcu_form_rung *recall; /* of a plan file: nothing is timed; NULL: none */
} omcu_tune_params;

/* Chooses tactics for all steps of a placed program; its arena is allocated for the while. */
int omcu_tune(omcu_program *p, const omcu_tune_params *params);
void omcu_tuner_destroy(omcu_tuner *t); /* takes NULL */
/* key.c: what names a product in the cache and in plan files. Steps of one key share what was chosen for the
 * first of them. */
#define OMCU_KEY 256
void omcu_product_key(const omcu_step *s, bool tf32, char out[OMCU_KEY]);
/* memo.c: the cache's text for this GPU: lines of "key<TAB>value[<TAB>nanoseconds]". Loading what is not
 * there is no error. */
int omcu_memo_load(om_device *device, const char *cache_dir, om_str *memo);
int omcu_memo_save(om_device *device, const char *cache_dir, const om_str *memo);
/* The value of a key as om_free() text; NULL: not there. */
char *omcu_memo_find(const om_str *memo, const char *key);
/* What was measured under a key: the tactic's name and its time, 0 where none is told; false: nothing. */
bool omcu_memo_recall(const char *text, const char *key, char out[64], double *ns);

/* choose.c: which groups of `qdq` lie as 8-bit integers in the program of `g`, by what the steps take: fills
 * narrow[qdq->n_groups]. All of them, from there each group the other way while that helps; and none if the
 * program of f16 is faster as a whole. Takes a part of params->seconds. */
int omcu_choose(om_device *device, const om_graph *g, const omcu_build *how, const omcu_tune_params *params,
                bool *narrow);
/* What was chosen, for a plan file; omcu_rung_fini() frees the texts. */
int omcu_tuner_export(const omcu_program *p, struct omcu_form_rung *out);
void omcu_rung_fini(struct omcu_form_rung *r);
/* "cuDNN 9.19, 52 of 63 convolutions" for the plan's note. */
const char *omcu_tuner_note(const omcu_tuner *t);

/* conv_cudnn.c: fused convolutions of cuDNN's backend API. */
typedef struct omcu_cudnn_plan omcu_cudnn_plan;
/* NULL: cuDNN is there; else why not (static). */
const char *omcu_cudnn_missing(void);
const char *omcu_cudnn_version(void); /* "9.19.0" */
/* Up to `max` candidates for a step, not built yet: descriptions of engines. Returns how many. */
int omcu_cudnn_candidates(const omcu_program *p, const omcu_step *s, omcu_cudnn_plan **out, int max);
/* Builds the one (compiles kernels where the engine does that). Any thread. */
int omcu_cudnn_build(omcu_cudnn_plan *plan);
/* Builds shall take the engine from its written form, which outlives them; where that is refused, as ever. */
void omcu_cudnn_recall(omcu_cudnn_plan *plan, const char *json, size_t len);
/* The written form (om_free) of one that is built; NULL: it has none. */
int omcu_cudnn_text(const omcu_cudnn_plan *plan, char **out, size_t *len);
void omcu_cudnn_destroy(omcu_cudnn_plan *plan);
size_t omcu_cudnn_workspace(const omcu_cudnn_plan *plan);
const char *omcu_cudnn_name(const omcu_cudnn_plan *plan);
/* A cudaError_t. */
int omcu_cudnn_run(const omcu_program *p, const omcu_step *s, const omcu_conv *c, void *workspace,
                   struct CUstream_st *stream);

/* gemm_lt.c: matrix products of cuBLASLt, for steps that are convolutions of 1x1 over a row of pixels. */
typedef struct omcu_lt_plan omcu_lt_plan;
const char *omcu_lt_missing(void);
int omcu_lt_candidates(const omcu_program *p, const omcu_step *s, omcu_lt_plan **out, int max);
/* The same algorithm for a step of the same key: a plan has its step's bias. NULL: it cannot be had. */
omcu_lt_plan *omcu_lt_clone(const omcu_program *p, const omcu_step *s, const omcu_lt_plan *from);
void omcu_lt_destroy(omcu_lt_plan *plan);
size_t omcu_lt_workspace(const omcu_lt_plan *plan);
int omcu_lt_run(const omcu_program *p, const omcu_step *s, const omcu_conv *c, void *workspace,
                struct CUstream_st *stream);

#endif
