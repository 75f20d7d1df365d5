/* The words at the end of a run. */
#ifndef OM_CLI_SUMMARY_H
#define OM_CLI_SUMMARY_H

#include <stdio.h>

#include "cli/seen.h"
#include "pipeline/pipeline.h"

typedef struct om_summary {
    om_pipeline *pipeline; /* has ended */
    const om_seen *seen;
    double seconds, cpu_seconds;
    bool classes; /* all classes of each stream: nothing else tells what was seen */
    bool stopped; /* by a signal */
} om_summary;

/* Prints the table of the streams, what got lost, what failed, model and machine. Nothing where no stream
 * yielded a packet. */
void om_summary_print(const om_summary *s, FILE *to);

#endif
