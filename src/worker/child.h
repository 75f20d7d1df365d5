/* Processes that cannot outlive the one that started them. */
#ifndef OM_WORKER_CHILD_H
#define OM_WORKER_CHILD_H

#include <sched.h>
#include <sys/types.h>

#include "base/str.h"

/* A process beside this one that sees it end, however that happens, and kills what it was told of. The
 * kernel's own death signal reaches children only, not what a prefix command started. Thread-safety: one
 * thread. */
typedef struct om_watchdog {
    int fd; /* -1: none */
    pid_t pid;
} om_watchdog;
int om_watchdog_start(om_watchdog *w);
void om_watchdog_stop(om_watchdog *w); /* once started, or zeroed with fd -1 */

typedef struct om_child_params {
    char *const *argv, *const *envp; /* NULL-terminated; argv[0] is looked for in PATH */
    const cpu_set_t *cores;          /* NULL: this process's */
    const char *log;                 /* standard output and error are appended there */
} om_child_params;

/* A process group of its own that dies with this thread. OM_ERR_NOT_FOUND: no such program. */
int om_child_start(om_watchdog *w, const om_child_params *p, pid_t *out);
/* To all of its group. */
void om_child_signal(pid_t pid, int number);
/* Whether it has ended; *status as waitpid() has it. What is left of its group is killed then. */
bool om_child_ended(om_watchdog *w, pid_t pid, int *status);
/* The environment of this process with NAME=VALUE pairs in place of their own; *out[] freed by
 * om_child_env_free(). */
int om_child_env(const om_strlist *pairs, char ***out);
void om_child_env_free(char **env);

#endif
