/* What the figures mean: causes, with their evidence and what to try. */
#ifndef OM_PROFILE_DIAGNOSE_H
#define OM_PROFILE_DIAGNOSE_H

#include "profile/profile.h"

typedef enum om_cause {
    OM_CAUSE_NONE,      /* nothing wrong */
    OM_CAUSE_CONV,      /* convolutions and products, at a decent share of the machine */
    OM_CAUSE_MEMORY,    /* layers that move more than they compute */
    OM_CAUSE_COPY,      /* layers that only move */
    OM_CAUSE_DIVERSE,   /* no operator stands out */
    OM_CAUSE_LAUNCH,    /* so many small layers that calling them is what takes the time */
    OM_CAUSE_SOURCE,    /* waiting for packets */
    OM_CAUSE_DECODE,    /* decoders */
    OM_CAUSE_PREPOST,   /* preparing pictures, or reading outputs */
    OM_CAUSE_BATCHING,  /* batches go out far from full though the engine gains by fuller ones */
    OM_CAUSE_INFERENCE, /* the model; its layers tell more */
    OM_CAUSE_CONTENDED, /* threads wait for cores that others have */
    OM_CAUSE_SINK,      /* streams wait for a sink */
    OM_CAUSE_POWER,     /* the processor is held back */
    OM_CAUSE_COUNT
} om_cause;

const char *om_cause_name(om_cause c);

#define OM_ADVICE_MAX 8

typedef struct om_finding {
    om_cause cause;
    double weight; /* share of the time that it explains, 0..1; the list is sorted by it */
    char *title;   /* one sentence */
    om_strlist evidence, advice;
    double
        gains[OM_ADVICE_MAX]; /* of each advice: the rate over the rate now, largest first; 0: not computed */
} om_finding;

#define OM_FINDINGS_MAX 8

typedef struct om_findings {
    om_finding items[OM_FINDINGS_MAX]; /* the first is what to look at */
    size_t n;
} om_findings;

/* From the layers, from the run, or both; never empty: OM_CAUSE_NONE where no rule holds. */
int om_diagnose(const om_profile *p, om_findings *out);
void om_findings_fini(om_findings *f);
void om_findings_json(const om_findings *f, om_json *j);

/* "batch=16", "precision=int8", "decode=2x": what would change. */
typedef struct om_what_if {
    char *text; /* as asked */
    double fps_now, fps_then;
    char *why; /* how it was computed */
} om_what_if;
/* OM_ERR_ARG: not one of these. *stage: it is asked of a run's stage, not of a model. */
int om_what_if_check(const char *what, bool *stage);
int om_predict(const om_profile *p, const char *what, om_what_if *out);
void om_what_if_fini(om_what_if *w);

#endif
