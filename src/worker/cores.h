/* Lists of cores: "0-3", "0,2,4-5", "all". */
#ifndef OM_WORKER_CORES_H
#define OM_WORKER_CORES_H

#include <sched.h>

#include "base/str.h"

/* OM_ERR_ARG: not a list, or cores that this process may not use; says which there are. `text` NULL or "all":
 * all that it may. */
int om_cores_parse(const char *text, cpu_set_t *out);
/* Appends "0-3,6". */
void om_cores_text(const cpu_set_t *set, om_str *out);
/* This thread, and all that it starts from now on, run on these alone. */
int om_cores_bind(const cpu_set_t *set);
/* Appends a line for each other `omma worker` on this machine that may run on some of these cores. */
void om_cores_overlaps(const cpu_set_t *set, om_strlist *out);

#endif
