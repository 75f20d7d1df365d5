/* Many workers or pipelines at a time, by one YAML file: started, pinned, restarted, stopped, summed up.
 *
 *   output: results            folder for everything
 *   defaults: {cores: 0}       any key of a job
 *   jobs:
 *     - name: resnet
 *       command: worker        of omma
 *       args: {model-name: resnet50, input-path: walk.mp4}    or a list of words */
#ifndef OM_WORKER_LAUNCH_H
#define OM_WORKER_LAUNCH_H

#include <sched.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/option.h"
#include "base/thread.h"

enum { OM_RESTART_NEVER, OM_RESTART_ON_FAILURE, OM_RESTART_ALWAYS };

typedef struct om_job {
    char *name, *command, *cores, *device, *prefix;
    double start_s, backoff_s, timeout_s;
    int copies, repeat, restart, restarts;
    om_strlist args, env; /* words of the command line; NAME=VALUE */
    bool bound;
    cpu_set_t set; /* of `cores` */
    int line;      /* in the file */
} om_job;
extern const om_option om_job_option_table[];

typedef struct om_launch_config {
    char *path, *output;
    om_job *jobs; /* owned */
    size_t n, cap;
} om_launch_config;

/* OM_ERR_ARG: "FILE:LINE: what is wrong". Zeroed or uninitialised `c`; fini also after a failure. */
int om_launch_config_load(om_launch_config *c, const char *path);
void om_launch_config_fini(om_launch_config *c);

typedef struct om_launch_params {
    const char *output; /* NULL: the config's */
    bool alone;         /* each job by itself before all together */
    double grace_s;     /* between asking to stop and killing */
    om_cancel *cancel;
    void (*line)(void *user, const char *text);
    void (*progress)(void *user, const char *text);
    void *user;
} om_launch_params;

/* What became of one copy of a job. */
typedef struct om_launched {
    const om_job *job;
    bool alone;
    int copy;
    char *dir;         /* owned */
    om_strlist before; /* what an earlier launch left there */
    int runs, restarts, failures;
    bool gave_up, stopped;
    double seconds;
    char status[64]; /* of the last run: "exit 0", "killed by SIGKILL" */
} om_launched;

typedef struct om_launch_result {
    om_launched *items; /* owned */
    size_t n, cap, failed;
    bool stopped;
    char *dir; /* owned */
    int lock;  /* of that folder, held until om_launch_result_fini() */
} om_launch_result;
void om_launch_result_fini(om_launch_result *r);

/* Runs everything to its end, or until the token fires; then all is stopped. Nothing that was started
 * outlives this call, nor the calling process however that ends. Call from the process's main thread:
 * children die with the thread that started them. The process becomes the parent of its orphaned descendants.
 * OM_ERR_IO where another launch is at work in the same folder. */
int om_launch_run(const om_launch_config *c, const om_launch_params *p, om_launch_result *r);
/* Reads what the jobs wrote; summary.json, summary.csv and summary.html in the folder. */
int om_launch_report(const om_launch_config *c, const om_launch_result *r);

#endif
