/* Pictures through a model, one batch at a time: the engine room of `omma detect`. */
#ifndef OM_CLI_DETECT_H
#define OM_CLI_DETECT_H

#include "pipeline/engine.h"

typedef struct om_picture {
    const char *path; /* the caller's */
    om_frame *frame;  /* owned; NULL: could not be read */
    int slot;         /* which of the detector's plans it goes through */
    om_dets dets;
} om_picture;

/* Durations of one step, one entry a batch (load: a picture). */
typedef struct om_timings {
    double *ms;
    size_t n, cap;
} om_timings;

typedef enum om_step { OM_STEP_LOAD, OM_STEP_PREP, OM_STEP_INFER, OM_STEP_HEAD, OM_STEP_COUNT } om_step;

#define OM_DETECTOR_PLANS 3

/* Zeroed is valid. Thread-safety: one thread. */
typedef struct om_detector {
    om_engine *engine;
    struct {
        om_plan *plan;
        om_session *session;
    } slots[OM_DETECTOR_PLANS];
    int n_slots;
    om_timings timings[OM_STEP_COUNT];
} om_detector;

/* Those of a run's options that have these names, in the table's order; `out` has room for n_names + 1,
 * zeroed. */
void om_run_options_some(const char *const *names, size_t n_names, om_option *out);
/* Of a run's options, those that mean something for pictures; the table is made at the first call. `mode` is
 * latency where nothing else is said: set it before flags are applied. */
const om_option *om_detector_options(void);

/* `o` outlives the detector. */
int om_detector_init(om_detector *d, const om_run_options *o);
void om_detector_fini(om_detector *d);
/* Reads the file and finds (or compiles) the plan for its size. */
int om_detector_load(om_detector *d, om_picture *p);
/* The same for a picture that is there already: p->frame. */
int om_detector_place(om_detector *d, om_picture *p);
/* All pictures that were read, batch by batch; fills their dets. */
int om_detector_run(om_detector *d, om_picture *pictures, size_t n);
void om_picture_fini(om_picture *p);

double om_timings_sum(const om_timings *t);
double om_timings_mean(const om_timings *t); /* 0 where there is none */
/* q in 0..1 of what is there; sorts. */
double om_timings_quantile(om_timings *t, double q);

#endif
