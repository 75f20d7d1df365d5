/* `omma run --supervise`: a process that watches a run, and when its GPU was lost and answers again, has a
 * new process take the run over. */
#ifndef OM_CLI_SUPERVISE_H
#define OM_CLI_SUPERVISE_H

#include "pipeline/config.h"

/* Runs this command line again, and again, until it has ended; *status gets its exit code. Before there are
 * threads. `report`: where the reports of all go, together; NULL: nowhere. */
int om_supervise(const char *report, int *status);

#endif
