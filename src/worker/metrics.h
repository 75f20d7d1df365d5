/* A worker's files: a row of timings for each step, and a log. Each row and line is one write at the file's
 * end, so that none is ever torn. */
#ifndef OM_WORKER_METRICS_H
#define OM_WORKER_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#define OM_METRICS_PATH 4352 /* a folder's longest, and a name */

typedef struct om_metrics_row {
    int64_t step;
    int64_t read_ns, prep_ns, exec_ns, total_ns;
    bool has_loss; /* of a step that learnt */
    double loss;
    /* Of a model in two parts: what exec_ns is made of. */
    int64_t first_ns, transfer_ns, second_ns, wait_ns, bytes;
} om_metrics_row;

/* Thread-safety: one thread. */
typedef struct om_metrics {
    int csv, log; /* -1: not open */
    bool split;   /* rows have the columns of a model in two parts */
    char csv_path[OM_METRICS_PATH], log_path[OM_METRICS_PATH];
} om_metrics;

/* DIR/M_{model}_P_{pid}_metrics.csv and .log, begun anew. */
int om_metrics_open(om_metrics *m, const char *dir, const char *model, bool split);
int om_metrics_row_add(om_metrics *m, const om_metrics_row *row);
/* A line, with the time before it. What cannot be logged is no reason to stop. */
void om_metrics_log(om_metrics *m, const char *text);
void om_metrics_close(om_metrics *m); /* once opened, also after a failure */

#endif
