/* What the backend's own files share. */
#ifndef OM_BACKEND_CUDA_CUDA_H
#define OM_BACKEND_CUDA_CUDA_H

#include <stdatomic.h>

#include "backend/backend.h"
#include "backend/cuda/chain.h"
#include "backend/cuda/engine.h"
#include "backend/cuda/subgraph.h"
#include "device/cuda/head.h"

#define OMCU_RUNGS 8

/* Of om_plan.priv. */
typedef struct omcu_plan {
    om_device *device; /* the GPU: plan->memory, or our own where the caller's memory is the host's */
    bool own_device, profiling, nhwc;
    atomic_bool told_host;              /* that boxes are decoded on the host */
    omcu_store *store;                  /* the constants of all programs */
    omcu_program *programs[OMCU_RUNGS]; /* for falling batches; the first for the plan's */
    omcu_chain *chains[OMCU_RUNGS];     /* in their place, where the CPU backend does a part of the model */
    int rungs[OMCU_RUNGS], n_rungs;
    bool *narrow; /* of a quantised model: which groups of tensors lie as 8-bit integers; NULL: not decided */
    int n_narrow;
} omcu_plan;

/* Of om_session.priv. */
typedef struct omcu_session {
    struct CUstream_st *stream;
    struct CUevent_st *done; /* behind the callback of the last submit */
    omcu_binding binding;
    void *inputs[1], **device_outputs;
    struct CUgraphExec_st *graphs[OMCU_RUNGS]; /* NULL: the program is launched step by step */
    om_cuda_head *head;                        /* made when the first decode tells which */
    const om_head *head_of;
    const void *head_outputs[OM_HEAD_GRIDS]; /* device_outputs in the order the head wants them */
    bool head_ran;                           /* behind the last submit */
    struct CUevent_st **marks;               /* profiling: before each step, and behind the last */
    struct CUevent_st *work[3]; /* where it is watched: before the inference, behind it, behind the head */
    bool timed;                 /* the last submit was */
    int64_t seen_ns;            /* when its end was seen */
    bool started;
    bool told;                 /* of the last submit: somebody else than who waits is told of its end */
    bool fetched;              /* of the last submit: its outputs travel behind it */
    int n;                     /* of the last submit */
    omcu_chain_session *chain; /* of a plan with chains; most of the above is not used then */
} omcu_session;

/* The program that reads the picture. */
const omcu_program *omcu_first_program(const omcu_plan *p);
void omcu_exec_name(const omcu_program *p, const omcu_step *s, char *out, size_t size);

int omcu_session_init(om_session *s);
void omcu_session_fini(om_session *s);
int omcu_submit(om_session *s, int n);
int omcu_wait(om_session *s);
int omcu_decode(om_session *s, const om_head *head, int n, const om_geometry *geo, om_dets *out);
int omcu_layers(om_session *s, om_layer_time *out, int max);

extern const om_backend_ops om_backend_cuda;

#endif
