/* A model ready to be stepped: loaded or made, compiled for a batch, with a place for preparing and one for
 * inferring. */
#ifndef OM_WORKER_RIG_H
#define OM_WORKER_RIG_H

#include "backend/backend.h"

#define OM_RIG_BATCH_MAX 128

typedef struct om_rig_params {
    const char *model;  /* a file, or a name of om_model_synth_names() */
    const char *labels; /* a file with a class name a line; NULL: the model's own */
    const char *device; /* of the engine where infer_on_gpu is off, as --device takes it */
    const char *gpu;    /* "cuda:0": where infer_on_gpu and prep_on_gpu are */
    uint64_t seed;
    int batch, threads;
    bool prep_on_gpu, infer_on_gpu;
    bool tuned; /* compiled in several ways, the fastest is taken */
    bool amp;   /* half precision where the device has it */
} om_rig_params;

/* Thread-safety: one thread. */
typedef struct om_rig {
    om_graph *graph;
    om_model_desc *desc;
    om_head *head; /* NULL: the outputs' meaning is not known */
    const om_backend_ops *backend;
    om_device *prep, *infer; /* the same where both are in one place */
    om_stream *prep_stream;  /* of `prep`, where it is not `infer` */
    om_event *prepared;      /* of `prep`, where it has a stream */
    void *staging;           /* a batch on `prep`, where it is not `infer` */
    om_plan *plan;
    om_session *session;
    bool random_weights;
    char precision[64]; /* what was asked for, in words */
    char tuning[256];   /* what was tried; empty: nothing */
} om_rig;

/* OM_ERR_NOT_FOUND: no such model, plug-in or GPU, in one line. `r` may be zeroed or not; fini also after a
 * failure. In two steps, between which the graph may be replaced by a part of it. */
int om_rig_load(om_rig *r, const om_rig_params *p);
int om_rig_compile(om_rig *r, const om_rig_params *p);
void om_rig_fini(om_rig *r);
/* The frames (host memory) into the input; done when it returns, wherever it runs. */
int om_rig_prepare(om_rig *r, om_frame *const *frames, int n, om_geometry *geo);
/* The first `n` through the model. dets[i] is filled where there is a head. */
int om_rig_execute(om_rig *r, int n, const om_geometry *geo, om_dets *dets);

#endif
