/* Lists of cores: "0-3", "0,2,4-5", "all". */
#ifndef OM_WORKER_CORES_H
#define OM_WORKER_CORES_H

#include <sched.h>
#include <stdbool.h>

#include "base/str.h"

/* OM_ERR_ARG: not a list, or cores that this process may not use; says which there are. `text` NULL or "all":
 * all that it may. */
int om_cores_parse(const char *text, cpu_set_t *out);
/* Appends "0-3,6". */
void om_cores_text(const cpu_set_t *set, om_str *out);
/* This thread, and all that it starts from now on, run on these alone. */
int om_cores_bind(const cpu_set_t *set);
/* The threads of this process at some time, and later those that were started since, bound to cores. Engines
 * start threads of their own when they compile and when they first run. */
#define OM_THREADS_MAX 512
typedef struct om_threads_before {
    int ids[OM_THREADS_MAX], n;
} om_threads_before;
void om_threads_look(om_threads_before *t);
void om_threads_bind_new(const om_threads_before *t, const cpu_set_t *set);
/* A list in two halves, the first the larger; false: there is but one core, which both get. */
bool om_cores_halve(const cpu_set_t *set, cpu_set_t *first, cpu_set_t *second);
/* Appends a line for each other `omma worker` on this machine that may run on some of these cores. */
void om_cores_overlaps(const cpu_set_t *set, om_strlist *out);

#endif
