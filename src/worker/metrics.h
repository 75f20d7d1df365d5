/* A worker's files: a row of timings for each step, and a log. Each row and line is one write at the file's
 * end, so that none is ever torn. */
#ifndef OM_WORKER_METRICS_H
#define OM_WORKER_METRICS_H

#include <stdint.h>

typedef struct om_metrics_row {
    int64_t step;
    int64_t read_ns, prep_ns, exec_ns, total_ns;
} om_metrics_row;

/* Thread-safety: one thread. */
typedef struct om_metrics {
    int csv, log; /* -1: not open */
    char csv_path[512], log_path[512];
} om_metrics;

/* DIR/M_{model}_P_{pid}_metrics.csv and .log, begun anew. */
int om_metrics_open(om_metrics *m, const char *dir, const char *model);
int om_metrics_row_add(om_metrics *m, const om_metrics_row *row);
/* A line, with the time before it. What cannot be logged is no reason to stop. */
void om_metrics_log(om_metrics *m, const char *text);
void om_metrics_close(om_metrics *m); /* once opened, also after a failure */

#endif
