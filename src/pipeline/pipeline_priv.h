/* What the pipeline's own files share. */
#ifndef OM_PIPELINE_PRIV_H
#define OM_PIPELINE_PRIV_H

#include "pipeline/census.h"
#include "pipeline/engine.h"
#include "pipeline/pipeline.h"
#include "sink/sink.h"

/* Opens when every local source has been opened (or has failed): live streams start together, and rectangles
 * are shared out in the order of the streams, not of their threads. Guarded by its own lock but for start_ns.
 */
typedef struct om_gate {
    pthread_mutex_t lock;
    pthread_cond_t open;
    int missing;
    atomic_llong start_ns; /* 0 until it opens */
} om_gate;

typedef struct om_stream_run {
    om_pipeline *pipeline;
    const om_stream_options *options;
    int index;
    char *name, *shown; /* shown: the URI without its password */
    om_account account;
    om_mailbox mailbox;
    om_lane lane;
    om_sink **own_sinks; /* per-stream ones; n_own */
    size_t n_own;
    om_thread thread;
    bool local;   /* takes part in the gate */
    int sched_fd; /* the thread's own, while the run is profiled */
    bool live;
    /* Guarded by the pipeline's lock. */
    om_stream_state state;
    om_source_info info;
    int64_t position_ns;
    char error[256];
} om_stream_run;

/* What the run's GPU did, sampled twice a second. */
typedef struct om_gpu_load {
    om_device_usage last, sum; /* sum: of the shares and the power */
    int64_t memory_peak, memory_process_peak;
    int samples; /* 0: no GPU, or it does not tell */
} om_gpu_load;

struct om_pipeline {
    om_config config;
    om_engine *engine;
    om_lane_pool pool;
    om_stream_run *streams;
    size_t n_streams;
    om_sink **shared_sinks;
    size_t n_shared;
    om_result_fn callback;
    void *callback_user;
    om_census *census; /* NULL unless the run is profiled */
    om_cancel cancel;
    om_gate gate;
    om_thread supervisor;
    bool started;
    bool end_with_sinks;
    bool abandoned; /* a thread hangs in a foreign library: its memory must stay */
    int64_t start_ns, start_cpu_ns, start_wall_us;

    pthread_mutex_t lock; /* guards what follows, and the streams' states */
    pthread_cond_t changed;
    size_t n_ended;
    bool stopping, finished;
    int64_t stop_ns, end_ns, end_cpu_ns;
    om_gpu_load gpu;
    int error; /* the first, with its message */
    char error_text[512];
};

/* The thread of one stream. */
void *om_stream_main(void *arg);
/* Remembers the first failure of the run; the message is in the error slot. */
void om_pipeline_note_error(om_pipeline *p, int code);
int om_gate_init(om_gate *g, int expected);
void om_gate_fini(om_gate *g);
/* One local source is open or has failed. True for the last of them, who must then call om_gate_open(). */
bool om_gate_arrive(om_gate *g);
void om_gate_open(om_gate *g);
/* OM_ERR_CANCELLED when the run is stopped first. */
int om_gate_wait(om_gate *g, om_cancel *c);

/* load.c */
#define OM_GPU_SAMPLE_NS (500 * OM_NS_PER_MS)
/* Takes the pipeline's lock itself. */
void om_pipeline_sample_gpu(om_pipeline *p);
/* The members gpu_percent ... of the report, into an open object; null where there is nothing to say. */
void om_pipeline_gpu_json(om_pipeline *p, om_json *j);

/* stage_report.c: what a profiled run found out about itself, as an object. */
void om_pipeline_profile_json(om_pipeline *p, om_json *j);

/* sinks.c */
int om_pipeline_open_sinks(om_pipeline *p);
/* Finishes all sinks; bounded once a stop is asked for. */
void om_pipeline_finish_sinks(om_pipeline *p);
void om_pipeline_close_sinks(om_pipeline *p);

#endif
