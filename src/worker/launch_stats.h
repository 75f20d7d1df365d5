/* What a job wrote about itself, in figures. */
#ifndef OM_WORKER_LAUNCH_STATS_H
#define OM_WORKER_LAUNCH_STATS_H

#include "base/json.h"

#define OM_PHASES 4 /* read, prep, exec, total */
extern const char *const om_phase_names[OM_PHASES];

typedef struct om_phase {
    double *ms; /* sorted; owned */
    double mean, p50, p95, p99, max;
} om_phase;

/* Zeroed is valid and empty. */
typedef struct om_launch_stats {
    size_t files, steps, cap, torn; /* torn: lines that are no whole rows */
    om_phase phases[OM_PHASES];
    double sum_error;   /* |read + prep + exec - total| / total, the worst row */
    double loss;        /* of the last row that has one; NAN: none has */
    double steps_per_s; /* 1000 / mean total */
    bool pipeline;      /* from a report of `omma run` */
    double frames, fps, latency_p50, latency_p95, latency_p99;
} om_launch_stats;

/* What of these files is in a folder already, before a job begins; no folder: nothing. */
int om_launch_files_note(const char *dir, om_strlist *out);
/* All M_*_metrics.csv of a folder, and its report.json, but for those that are as they were `before` (NULL:
 * none). */
int om_launch_stats_read(om_launch_stats *s, const char *dir, const om_strlist *before);
void om_launch_stats_fini(om_launch_stats *s);

#endif
