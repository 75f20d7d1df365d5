/* Who used the processor: CPU time and time spent waiting for a core, by thread; and the energy it took,
 * where the machine tells. */
#ifndef OM_PIPELINE_CENSUS_H
#define OM_PIPELINE_CENSUS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

#define OM_CENSUS_GROUPS 32

typedef struct om_census_thread {
    long tid;
    char name[16];
    int64_t cpu_ns, wait_ns; /* since the census began; wait: ready to run, and no core free */
    int64_t cpu_base, wait_base;
    int threads; /* that it stands for: those of one kind that have ended are one, without a tid */
} om_census_thread;

/* Threads are asked as long as they live: a census at least every second misses little.
 * Thread-safety: every call takes the lock. */
typedef struct om_census {
    pthread_mutex_t lock; /* guards the rest */
    om_census_thread *threads;
    size_t n, cap;
    int64_t start_ns, last_ns, cpu_base_ns;
    double energy_base_j, energy_j; /* negative: not told */
    int64_t hot_base, hot;          /* how often the processor slowed itself down; negative: not told */
    int64_t throttled_base_us, throttled_us; /* by a quota; negative: not told */
} om_census;

int om_census_create(om_census **out);
/* Counts from now on: what was used to start is none of the run's. NULL: nobody asked. */
void om_census_restart(om_census *c);
void om_census_destroy(om_census *c);
/* NULL: nobody asked. */
void om_census_take(om_census *c);
/* The calling thread is about to end: its figures join those of its kind. NULL: nobody asked. */
void om_census_leave(om_census *c);
/* Members "threads", "cpu_seconds", "cores_busy", "core_wait_seconds", "power" into an open object. */
/* How long the calling thread has waited for a core in its life, by what om_census_open_thread() gave it; 0
 * where the machine does not tell. */
int om_census_open_thread(void); /* a file to close(), or negative */
int64_t om_census_waited_ns(int fd);
void om_census_json(om_census *c, uint64_t frames, om_json *j);

#endif
