/* What `omma run` does beside a run that goes on: keeps the metrics file, warns where a bound is crossed,
 * dumps the last seconds of the trace when a frame was slow or SIGUSR2 came; and writes the profile at its
 * end. */
#ifndef OM_CLI_RUN_WATCH_H
#define OM_CLI_RUN_WATCH_H

#include <stdio.h>

#include "base/hist.h"
#include "pipeline/pipeline.h"

typedef struct om_watch_stream {
    int index;
    uint64_t inferred;
    int64_t since_ns; /* when that last changed */
    bool warned;
} om_watch_stream;

/* Thread-safety: one thread. Zeroed is valid. */
typedef struct om_run_watch {
    char *profile, *metrics_file, *trace;
    double metrics_s, warn_latency, warn_lost, warn_stall, trace_last;
    int64_t next_ns, next_metrics_ns;
    int64_t quiet_dump_ns, quiet_latency_ns, quiet_lost_ns,
        quiet_metrics_ns; /* until when nothing more is said of it */
    om_hist latency;      /* at the last look */
    uint64_t received, lost;
    om_watch_stream *streams; /* by index */
    size_t n_streams;
    int n_dumps;
} om_run_watch;

/* Takes from the configuration what it needs. */
int om_run_watch_init(om_run_watch *w, const om_config *c);
void om_run_watch_fini(om_run_watch *w);
/* Called four times a second. */
void om_run_watch_tick(om_run_watch *w, om_pipeline *p);
/* The run has ended: writes what is written then, one file also where another cannot be. Says what went wrong
 * and returns the exit code. `to_terminal`: where a profile "-" may be printed. */
int om_run_watch_end(om_run_watch *w, om_pipeline *p, FILE *to_terminal);

#endif
