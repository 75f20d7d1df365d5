/* Inside the room: streams that vanish and come back while a soak goes on. */
#ifndef OM_BENCH_FAULTS_H
#define OM_BENCH_FAULTS_H

#include "bench/trial.h"

#define OM_FAULTS_AWAY 64

/* Thread-safety: one thread. */
typedef struct om_faults {
    const om_trial_params *params; /* outlive it */
    bool wanted;
    uint64_t state; /* of the random numbers */
    double mean_s;  /* between them */
    int64_t next_ns;
    int away[OM_FAULTS_AWAY]; /* streams that are gone */
    int n_away;
    uint64_t removed, added;
} om_faults;

/* `seed` negative: no faults. */
void om_faults_init(om_faults *f, int64_t seed, double soak_s, const om_trial_params *p);
/* As om_trial_wait(), with faults meanwhile. */
int om_faults_wait(om_faults *f, om_trial *t, double seconds, const char *what);

#endif
