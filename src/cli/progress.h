/* What is said while a run goes on: the progress line of a terminal, and the lines of --stats. */
#ifndef OM_CLI_PROGRESS_H
#define OM_CLI_PROGRESS_H

#include "pipeline/pipeline.h"

#define OM_PROGRESS_SAMPLES 9

/* What bounds a stream's length; 0: nothing. */
typedef struct om_progress_bound {
    double duration_s, frames_a_second;
    int64_t max_frames;
    bool endless;
} om_progress_bound;

/* Thread-safety: one thread. */
typedef struct om_progress {
    om_progress_bound *bounds; /* one a stream that was there at the start; owned */
    size_t n_bounds;
    bool endless;   /* the run is: streams come and go */
    bool line;      /* the progress line is wanted */
    double stats_s; /* between --stats lines; 0: none */
    int64_t start_ns, next_stats_ns;
    uint64_t stats_inferred, stats_bytes;
    int64_t stats_ns;
    struct {
        int64_t ns;
        uint64_t inferred;
    } samples[OM_PROGRESS_SAMPLES]; /* the last two seconds */
    size_t n_samples;
} om_progress;

/* Takes from the configuration what it needs of it. */
int om_progress_init(om_progress *pr, const om_config *c);
void om_progress_fini(om_progress *pr);
/* Called four times a second. */
void om_progress_tick(om_progress *pr, om_pipeline *p);
/* Share of the run that is done, 0..1; negative where a stream has no known end. */
double om_progress_share(const om_progress *pr, om_pipeline *p);

#endif
