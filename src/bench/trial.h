/* Inside the room: a pipeline under measurement, and what it looked like at two moments. */
#ifndef OM_BENCH_TRIAL_H
#define OM_BENCH_TRIAL_H

#include "base/clock.h"
#include "base/hist.h"
#include "bench/bench.h"
#include "pipeline/pipeline.h"

#define OM_TICK_MS 100

/* The common part of a bench. */
typedef struct om_bench {
    const om_bench_options *options;
    const om_bench_caller *caller;
    om_cancel *cancel;
    om_bench_result *result;
} om_bench;

/* Counters of one moment. Zeroed is valid. */
typedef struct om_snapshot {
    int64_t ns, cpu_ns, machine_ns; /* machine_ns: om_machine_busy_ns() */
    uint64_t received, inferred, skipped, dropped, in_flight, bytes;
    bool networked; /* the bytes are of streams on a network, or that stand for such */
    om_loss causes[OM_BENCH_CAUSES];
    int n_causes;
    uint64_t *stream_inferred; /* owned; n_streams of them */
    int n_streams;
    int failed;
    char error[256];
    double batches, mean_batch;
    om_hist latency;
} om_snapshot;

int om_snapshot_take(om_pipeline *p, om_snapshot *out);
void om_snapshot_fini(om_snapshot *s);

/* Resident memory, open files, threads of this process; negative where the system does not tell. */
typedef struct om_process {
    double memory_mb;
    int handles, threads;
} om_process;
om_process om_process_look(void);
/* How long the machine's cores have worked so far, all together and for whomever; what a hypervisor kept of
 * them counts too. Negative where the system does not tell. */
int64_t om_machine_busy_ns(void);

typedef struct om_trial_params {
    const om_strlist *inputs;
    int streams;
    bool paced;      /* as cameras; else as fast as it goes, to be ended by the caller */
    double fps;      /* frames a second the model sees; 0: all */
    double spread_s; /* paced: streams begin within so much */
    int64_t seed;
    const char *model;  /* instead of the caller's; NULL: that */
    int every;          /* 0: all */
    int64_t max_frames; /* 0: no bound */
    bool once;          /* clips end at their end */
    bool reconnect;     /* cameras that cannot be reached are tried again; else their streams fail */
    double conf;        /* negative: the caller's */
    om_result_fn on_result;
    void *user;
} om_trial_params;

typedef struct om_trial {
    om_bench *bench;
    om_pipeline *pipeline;
    om_snapshot first, last; /* around what is measured */
    double memory_mb;        /* the most, while measured */
    double gpu_sum, nvdec_sum, gpu_memory_mb;
    int gpu_n, nvdec_n;
    uint64_t received, accounted; /* once stopped: packets, and what became of them */
} om_trial;

/* The options of stream `i`; *out is uninitialised. The caller owns its content. */
int om_trial_stream(const om_trial_params *p, int i, om_stream_options *out);
/* Starts and returns once every stream is open (or has failed) and a frame has come, or the pipeline has
 * ended. OM_ERR_CANCELLED, OM_ERR_TIMEOUT. On failure *t is finished; with its error in the slot. */
int om_trial_start(om_bench *b, const om_trial_params *p, om_trial *t);
/* Lets it run; `what` is for the progress line. OM_ERR_CANCELLED; OM_ERR_EOF: it has ended by itself. */
int om_trial_wait(om_trial *t, double seconds, const char *what);
/* As om_trial_wait(), between two snapshots: t->first and t->last. Those are taken in any case. */
int om_trial_measure(om_trial *t, double seconds, const char *what);
/* Stops, and says whether the books agreed at the end. */
int om_trial_stop(om_trial *t, bool *books);
void om_trial_fini(om_trial *t);
/* What is between the snapshots. */
int om_trial_rung(const om_trial *t, double target, om_rung *out);
/* Frames a second that a stream of this pipeline can give: `fps`, or its source's where that is lower. */
double om_trial_target(om_trial *t, double fps);

bool om_bench_is_remote(const char *uri);
double om_median(double *values, size_t n); /* sorts them; NAN for none */

/* What a ladder's and a soak's streams are: paced, sampled, spread. */
om_trial_params om_bench_paced(const om_bench_options *o, int streams);
/* Keeps the engine's description. */
void om_bench_describe(om_trial *t);
/* Measures one rung. OM_ERR_CANCELLED: it was cut short, *out holds nothing. */
int om_rung_measure(om_bench *b, int streams, const char *what, om_rung *out);
int om_rung_add(om_bench_result *r, const om_rung *rung);
/* Whether it holds every limit that more streams may break; fills carried and why. */
void om_rung_judge(const om_bench_options *o, om_rung *r);
/* Fills r->judged and r->verdicts. */
void om_bench_judge(const om_bench_options *o, om_bench_result *r);

int om_bench_ladder(om_bench *b);
int om_bench_accuracy(om_bench *b);
int om_bench_batching(om_bench *b);
int om_bench_soak(om_bench *b);

/* Theil-Sen and Mann-Kendall of n pairs, x rising; NAN values are left out, and fewer than eight tell
 * nothing: NAN. OM_ERR_NOMEM. */
int om_trend_fit(const double *x, const double *y, size_t n, om_trend *out);
/* A rise up to `allowed` is none. */
void om_trend_allow(om_trend *t, double allowed);

#endif
