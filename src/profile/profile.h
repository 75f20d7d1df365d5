/* Where a model's time goes, layer by layer, against what the machine can do. The room's public header.
 *
 *   om_profile_measure()  ->  om_profile  ->  text, JSON, CSV, HTML; findings; comparison with another one */
#ifndef OM_PROFILE_PROFILE_H
#define OM_PROFILE_PROFILE_H

#include "backend/backend.h"
#include "base/json.h"
#include "base/thread.h"
#include "profile/peaks.h"

#define OM_PROFILE_VERSION 1

/* What bounds a layer. */
typedef enum om_roof {
    OM_ROOF_COMPUTE, /* more arithmetic a byte than the machine does while it fetches one */
    OM_ROOF_MEMORY,  /* less */
    OM_ROOF_COPY,    /* moves data and computes nothing */
    OM_ROOF_OVERHEAD /* far below both roofs and short: the call itself */
} om_roof;
const char *om_roof_name(om_roof r);

/* What a vendor's tool counts of a layer's kernels; means weighted by their time. Negative: not told. */
typedef struct om_counters {
    int kernels;
    double us;                 /* on the device, in that tool's run */
    double occupancy;          /* warps that are active, of those that could be: 0..1 */
    double l2_hits;            /* 0..1 */
    double dram_gbs;           /* read and written */
    double dram_busy, sm_busy; /* of what they can do at most, 0..1 */
} om_counters;

/* The span around the last measured inference: what tools are told to look at. */
#define OM_PROFILE_SPAN "counted_inference"

/* One step of the engine: an operator of the model, several that were fused, or a step that the engine put
 * in. */
typedef struct om_layer {
    char *name,
        *type; /* of its main operator: "Conv", "Conv dw", "Conv 1x1"; the engine's words where it has none */
    char engine_type[64], exec[64], precision[8], shape[OM_SHAPE_TEXT];
    om_strlist members;           /* the model's operators in it, "/model.0/conv/Conv (Conv)" */
    bool inserted;                /* a reformat or conversion that the model does not have */
    double us, least_us, most_us; /* median, and the range, of the rounds or inferences */
    int64_t macs, bytes;          /* a batch; 0: none, or not known */
    double gflops, gbs;           /* achieved */
    double reach;                 /* share of the nearer roof, 0..1 */
    om_roof roof;
    int step;             /* its number among the engine's, as the ranges of tools have it; -1: none */
    om_counters counters; /* .kernels 0: not counted */
} om_layer;

typedef enum om_fusion_state { OM_FUSION_DONE, OM_FUSION_OPEN } om_fusion_state;

/* A place where operators could run as one. */
typedef struct om_fusion {
    const char *pattern; /* "Conv+Activation" */
    char *where, *why;   /* why: of those that did not come about */
    om_fusion_state state;
    double us; /* what the second operator costs on its own; 0 where fused */
} om_fusion;

typedef struct om_profile {
    char *model, *device, *engine, *engine_version, *requested; /* requested: the precision's name */
    int batch, width, height, threads;
    int iterations, rounds;
    om_layer *layers;
    size_t n_layers, cap_layers;
    double layers_us;   /* sum of the layers */
    double latency_us;  /* of an inference without measuring; median */
    double profiled_us; /* of one with; median */
    double int8_us;     /* as latency_us, of its form in int8; 0: not measured */
    char *gap;          /* why sum and latency differ by more than 5%; NULL: they do not */
    bool in_place;      /* input and output are host memory that the engine uses where it is: no transfers */
    double to_device_us, to_host_us;
    char counted_by[8]; /* "ncu", "nsys"; empty: layers have no counters */
    int64_t input_bytes, output_bytes, parameters;
    om_peaks peaks;
    om_fusion *fusions;
    size_t n_fusions, cap_fusions;
    om_strlist notes; /* reformats and precision fall-backs, a sentence each */
    om_strlist system_keys, system_values;
    float *outputs; /* of the measured input, where they were to be kept: n_outputs numbers */
    size_t n_outputs;
    om_json_value *run; /* owned; a run's stages (see docs/profiling.md), NULL: none */
} om_profile;

typedef struct om_profile_params {
    const char *model, *device; /* --device text */
    om_size size;               /* 0x0: the model's own */
    int batch, iterations, threads;
    om_precision precision;
    bool fresh_peaks;  /* measure the machine anew */
    bool keep_outputs; /* for om_profile_agree() */
    om_cancel *cancel; /* fired: OM_ERR_CANCELLED as soon as an inference is over; NULL: never */
    /* May be NULL: told what is going on, "measuring the machine", 0..1. */
    void (*progress)(void *user, const char *what, double share);
    void *user;
} om_profile_params;

/* Loads, compiles and measures. `*p` is filled from scratch; om_profile_fini() also after a failure.
 * Thread-safety: one thread; the machine should do nothing else meanwhile. */
int om_profile_measure(const om_profile_params *params, om_profile *p);
/* How long an inference of the float model takes in int8: of a form of it that was calibrated with a test
 * picture, whose speed is that of any. OM_ERR_ARG, OM_ERR_UNSUPPORTED: it has none; the message says why. */
int om_profile_measure_int8(const om_profile_params *params, double *latency_us);
void om_profile_fini(om_profile *p);

/* How well the outputs of two measurements of one model agree: the cosine between them, and the length of
 * their difference over that of the first. OM_ERR_ARG where they cannot be compared. */
int om_profile_agree(const om_profile *reference, const om_profile *other, double *cosine, double *error);

/* JSON there and back; reading takes what compare, findings and pages need. OM_ERR_FORMAT names the member.
 */
void om_profile_json(const om_profile *p, om_json *j);
int om_profile_load(const char *path, om_profile *p);
/* The machine it was measured on, as the object `key`. */
void om_profile_system_json(const char *key, const om_profile *p, om_json *j);
/* Takes the object `key` out of `from`: a run's account. OM_ERR_NOT_FOUND where there is none. */
int om_profile_take_run(om_profile *p, om_json_value *from, const char *key);
/* A row a layer, with a header; of a run alone a row a stage, of all streams and of each. */
void om_profile_csv(const om_profile *p, om_str *out);

/* Sums over layers of one operator type, longest first. Returns how many; at most `max`. */
typedef struct om_type_sum {
    const char *type; /* belongs to the profile */
    size_t count;
    double us;
    int64_t macs, bytes;
} om_type_sum;
size_t om_profile_types(const om_profile *p, om_type_sum *out, size_t max);
/* Numbers of the layers, longest first; `n_layers` of them into `out`. */
void om_profile_order(const om_profile *p, size_t *out);

/* What the machine and the libraries are, into keys and values. */
int om_system_describe(om_strlist *keys, om_strlist *values);

#endif
