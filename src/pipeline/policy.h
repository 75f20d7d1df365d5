/* What a run does when it cannot keep up: live streams are asked for less, step by step, the least important
 * first, until frames come within the latency bound again; and get it all back as soon as there is room.
 *
 * The rungs of the ladder, with streams of priorities a < b: loop filter of a, of b; references of a, of b;
 * then a goes down to key pictures before b is asked for any of it. */
#ifndef OM_PIPELINE_POLICY_H
#define OM_PIPELINE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "omma/pipeline.h"
#include "pipeline/mailbox.h"

typedef enum om_step {
    OM_STEP_NONE,
    OM_STEP_LOOP_FILTER, /* the decoder leaves out the loop filter */
    OM_STEP_REFERENCES,  /* ... and pictures that no other needs */
    OM_STEP_HALF,        /* ... and the model sees every second of the pictures it would see */
    OM_STEP_QUARTER,     /* ... every fourth */
    OM_STEP_KEYFRAMES,   /* ... key pictures alone; of a source without others every eighth */
    OM_STEP_COUNT
} om_step;

const char *om_step_name(om_step s);
/* "leave out the loop filter": what streams do on that step. */
const char *om_step_text(om_step s);

/* Where the ladder stands. The deciding part, without a pipeline: feed it looks, read `rung`.
 * Thread-safety: one thread; the counters are read under the pipeline's lock. */
typedef struct om_ladder {
    int rung, rungs;
    int over;  /* looks in a row */
    int calm;  /* calm looks, less some for each that was not */
    int hold;  /* calm looks that a step back up takes; doubles when it comes too early */
    int fresh; /* looks for which the last step back up still counts as recent */
} om_ladder;

/* `share_over`: of the frames since the last look, those above the bound; `share_near`: above seven tenths of
 * it; `late`: a decoder lags behind by more than the bound, or passes over what is later still; `behind`: by
 * more than half of it. Returns 1: one rung further down, -1: one back up, 0. */
typedef struct om_look {
    bool any; /* frames or pictures came since the last look */
    double share_over, share_near;
    bool late, behind;
} om_look;
int om_ladder_look(om_ladder *l, const om_look *look);

/* What the n-th rung (from 1) means for `classes` priorities, lowest first: which of them, and what step. */
void om_ladder_rung(int n, int classes, int *class_index, om_step *step);

typedef struct om_policy {
    int64_t bound_ns; /* 0: there is none */
    int64_t next_ns;
    om_ladder ladder;
    /* Guarded by the pipeline's lock. */
    om_step step[OM_PRIORITIES];
    int worst; /* the furthest rung so far */
    uint64_t down, up;
    uint64_t taken[OM_PRIORITIES][OM_STEP_COUNT];
    int64_t degraded_ns, since_ns; /* how long some step was taken, so far; since when it is now, or 0 */
} om_policy;

void om_policy_init(om_policy *p, double bound_ms);
/* Looks at the streams; due every OM_POLICY_NS. The supervisor's. */
#define OM_POLICY_NS 250000000LL
void om_pipeline_police(om_pipeline *p);
/* The member "policy" of the report, into an open object; null without a bound. */
void om_pipeline_policy_json(om_pipeline *p, om_json *j);
/* "priority 0: every second picture; priority 2: no loop filter"; "" where nothing is left out. */
void om_pipeline_policy_text(om_pipeline *p, om_str *out);

#endif
