/* Inside the room: the float model at work, and int8 models tried beside it. */
#ifndef OM_QUANT_CALIBRATE_H
#define OM_QUANT_CALIBRATE_H

#include "quant/judge.h"

#define OM_WHAT_LEN 256
#define OM_SNAPSHOTS 2

/* The int8 graph as it would be if the pictures had ended there. */
typedef struct om_snapshot {
    om_graph *graph;
    size_t frames;
} om_snapshot;

typedef enum om_showing {
    OM_SHOW_SCOUT,     /* before the channels are equalised */
    OM_SHOW_CALIBRATE, /* to the quantizer, and some to the judge */
    OM_SHOW_CHECK      /* to the judge alone */
} om_showing;

typedef struct om_calibration {
    const om_quant_job *job;
    om_quant_report *r;
    om_graph *tapped; /* the float graph, with taps */
    om_model_desc *desc;
    const om_backend_ops *backend;
    const char *device;
    om_device *memory;
    om_quantizer *q;
    int n_outputs;  /* the model's own; taps come behind */
    int *output_of; /* of each tap: the session's output, or -1: its input */
    om_plan *plan;
    om_session *session;
    om_showing showing;
    om_geometry *geo; /* of each item of the batch */
    int filled;
    size_t taken, wanted;
    char what[OM_WHAT_LEN];
    om_judge judge;
    size_t kept_every, inferences;       /* of the calibration's inferences one in so many is kept; so far */
    om_snapshot snapshots[OM_SNAPSHOTS]; /* the later one last */
} om_calibration;

/* For `graph`, on the size that was calibrated. */
int om_calibration_compile(const om_calibration *c, const om_graph *g, bool profiling, om_plan **plan,
                           om_session **session);
void om_calibration_progress(const om_calibration *c, const char *what, size_t done, size_t of);
/* What the judge says of a graph, on at most `most` inferences; 0: all. */
int om_calibration_judge(om_calibration *c, const om_graph *g, size_t most, om_judgement *v,
                         om_quant_output *outputs);
/* The same of a variant, on all, or until it is clear that a share stays below `floor` (0: none). */
int om_calibration_try(om_calibration *c, const om_quant_variant *variant, double floor, om_judgement *v);

/* Which layers go back to float, and the graph of that. Fills the report's layers too. */
int om_quant_mix(om_calibration *c, om_graph **out);
/* Tries what might have kept the floor, and says what each gained. */
int om_quant_advise(om_calibration *c);

#endif
