/* What the pipeline's own files share. */
#ifndef OM_PIPELINE_PRIV_H
#define OM_PIPELINE_PRIV_H

#include "pipeline/census.h"
#include "pipeline/engine.h"
#include "pipeline/gate.h"
#include "pipeline/hybrid.h"
#include "pipeline/pipeline.h"
#include "pipeline/policy.h"
#include "pipeline/second.h"
#include "quant/drift.h"
#include "sink/sink.h"

/* What the run's GPU did, sampled twice a second. */
typedef struct om_gpu_load {
    om_device_usage last, sum; /* sum: of the shares and the power */
    int64_t memory_peak, memory_process_peak;
    int held_back; /* samples in which it slowed itself down for power or heat; negative: not told */
    int samples;   /* 0: no GPU, or it does not tell */
} om_gpu_load;

/* Who decodes what. The supervisor's. */
typedef struct om_decoding {
    bool active; /* the CPU may help the GPU's decoders */
    bool told;
    int streams, first, begun; /* of the configuration; those that begin on the CPU; asked about so far */
    om_hybrid hybrid;
    int64_t next_ns, looked_ns, looked_cpu_ns;
    long long looked_idle;
} om_decoding;

/* An engine of the run, and what belongs to it alone: there is one for each device. Constant after the start
 * but for what is said to be guarded. */
typedef struct om_unit {
    int index;
    char *device;       /* as --device names it */
    om_run_options run; /* the run's, but for the device */
    om_engine *engine;
    om_seconds *seconds; /* NULL: none */
    om_gpu_load gpu;     /* guarded by the pipeline's lock, as `rate` */
    double rate;         /* what a stream takes of the device, by its weight; see om_units_place() */
    int rated;           /* the sample that `rate` is of */
    om_decoding decoding;
} om_unit;

/* A stream in a run. It comes with om_pipeline_add() and stays where it is until om_roster_reap() frees it,
 * once nothing of it is left in mailbox, engine and lane. */
typedef struct om_stream_run {
    om_pipeline *pipeline;
    om_unit *unit;         /* whose engine it goes through */
    om_stream_options own; /* owned; priority, weight, fps and every: guarded by the pipeline's lock */
    const om_stream_options *options; /* `own` */
    int index;                        /* its number: they grow, and none is given twice */
    char *name, *shown;               /* shown: the URI without its password */
    om_account account;
    om_mailbox mailbox;
    om_lane lane;
    om_sink **own_sinks; /* per-stream ones; n_own */
    size_t n_own;
    bool own_finished;
    om_thread thread;
    om_cancel cancel; /* fires when it is removed, or the run stopped */
    om_cancel halt;   /* the source's: fires then, and when a camera is paused */
    atomic_bool done; /* its thread is through with everything but its own end */
    bool local;
    bool remote; /* its packets come over the network */
    bool gated;  /* takes part in the gate */
    atomic_bool arrived;
    atomic_llong start_ns; /* when its first packet is due, but for a `phase` that was asked for; 0: it does
                              not know yet */
    bool added;            /* while the run went on: its failure is not the run's */
    bool listed;           /* in a list that is read again: a reload may remove it */
    int sched_fd;          /* the thread's own, while the run is profiled */
    bool live;
    /* The thread's own: where a camera goes on that was paused. */
    bool complete;        /* its source is at its end, or a bound was reached */
    uint64_t from_seq;    /* of a file that another process began: what comes before was seen there */
    int64_t given_before; /* pictures that the model got there */
    uint64_t seq_base, next_seq;
    uint32_t epoch_base, last_epoch; /* likewise, of connections */
    int64_t pts_base, last_pts, given;
    int64_t quickest, quickest_ns, waited_ns; /* see lag_of() */
    int keys_in_row;
    atomic_int step;     /* an om_step: what the policy asks of it */
    atomic_llong lag_ns; /* how long after its due time the last picture came out of the decoder */
    atomic_uint tuned;   /* counts the changes of `own` */
    /* The policy's: at its last look. */
    uint64_t looked_inferred, looked_over, looked_near, looked_late, looked_decoded;
    uint64_t looked_bytes; /* likewise, of the look at the network */
    int64_t looked_bytes_ns;
    /* Guarded by the pipeline's lock. */
    om_source *source; /* while it is open */
    om_stream_state state;
    om_source_info info;
    int64_t position_ns;
    bool on_cpu;     /* wished to be decoded there though there is a GPU */
    char error[256]; /* the last */
    bool away;       /* a camera that is not reached */
    bool paused;
    bool leaving; /* removed; its name is free */
    bool ended;   /* nothing of it is in mailbox, engine and lane any more */
    int64_t leave_ns;
} om_stream_run;

/* What is left of a stream that was removed. */
typedef struct om_gone {
    int index;
    const om_unit *unit;
    char *name, *shown;
    char error[256];
    om_source_info info;
    int decoder, fallbacks, refused, changes;
    uint64_t reconnects;
    om_tally tally;
    uint64_t *marks; /* of each shared sink: where its last record stands */
} om_gone;

#define OM_GONE_MAX 64   /* streams that are listed after their removal */
#define OM_ENDED_MAX 256 /* of a run that goes on without streams: those listed after their end */

typedef struct om_taken om_taken; /* handover.c: a stream that another process began */

struct om_pipeline {
    om_taken *taken; /* n_taken; NULL: this run began itself */
    size_t n_taken;
    int (*on_ready)(om_pipeline *p, void *user);
    void *on_ready_user;
    om_config config; /* its streams: what is added before the start */
    om_unit *units;
    int n_units;
    om_engine *engine; /* the first one's */
    bool sinks_want_frames;
    om_lane_pool pool;
    om_font *font; /* for what sinks draw; NULL: none */
    om_sink **shared_sinks;
    size_t n_shared;
    om_result_fn callback;
    void *callback_user;
    void (*on_gone)(void *user, int index, const char *name);
    void *on_gone_user;
    om_census *census; /* NULL unless the run is profiled */
    om_drift *drift;   /* NULL unless the streams are compared with a collection */
    om_gate gate;
    om_thread supervisor;
    bool started;
    bool end_with_sinks;
    bool abandoned; /* a thread hangs in a foreign library: its memory must stay */
    int64_t start_ns, start_cpu_ns, start_wall_us;

    pthread_mutex_t admin; /* one change of the streams at a time; taken before all others */

    /* Guards what follows up to `lock`. Taken before it, the engine's and the lanes' locks; never held while
     * waiting for a thread, a sink or a compilation. */
    pthread_mutex_t roster;
    om_stream_run **streams; /* by their numbers */
    size_t n_streams, cap_streams;
    int next_index;
    om_gone *gone; /* the last OM_GONE_MAX that were removed, oldest first */
    size_t n_gone;
    om_tally earlier; /* of those removed before them, all together */
    uint64_t n_earlier;
    om_stages *gone_stages; /* of all that were removed; NULL unless the run is profiled */

    om_gone *names; /* the supervisor's alone: of streams in no list any more, while shared sinks need them */
    size_t n_names, cap_names;

    om_policy policy;
    int64_t network_next_ns; /* the supervisor's: when it looks at the network; OM_NEVER: not any more */
    double link_mbit;

    pthread_mutex_t lock; /* guards what follows, and the streams' states */
    pthread_cond_t changed;
    size_t n_active; /* streams that have not ended */
    bool stopping, closing, finished;
    bool attention; /* some stream has ended or was removed since the supervisor looked */
    int64_t stop_ns, end_ns, end_cpu_ns;
    int64_t begin_ns, begin_cpu_ns; /* when the gate opened; 0: it has not */
    int error;                      /* the first, with its message */
    char error_text[512];
};

/* handover.c: where another process stopped it, a new stream goes on. */
void om_stream_take_up(om_stream_run *s);
void om_pipeline_taken_fini(om_pipeline *p);

/* The thread of one stream. */
void *om_stream_main(void *arg);
/* Remembers the first failure of the run; the message is in the error slot. */
void om_pipeline_note_error(om_pipeline *p, int code);

/* load.c */
#define OM_GPU_SAMPLE_NS (500 * OM_NS_PER_MS)
/* Before the threads start: says whether the GPU that is to decode has memory for all streams. */
void om_pipeline_tell_decoders(om_pipeline *p);
/* Takes the pipeline's lock itself. */
void om_pipeline_sample_gpu(om_pipeline *p);
/* The samples taken so far were of a run that had not begun. Takes the lock itself. */
void om_pipeline_forget_gpu(om_pipeline *p);
/* The members gpu_percent ... of the report, into an open object; null where there is nothing to say. */
void om_pipeline_gpu_json(om_pipeline *p, om_json *j);
/* memory.c: "weights 30, surfaces 1200" of the moment, in MB. */
void om_pipeline_gpu_memory_text(om_pipeline *p, om_str *out);
/* The member gpu_memory of one device, null where its memory is the host's. */
void om_pipeline_unit_memory_json(const om_unit *u, om_json *j);
/* Likewise of one device. */
void om_pipeline_unit_gpu_json(om_pipeline *p, const om_unit *u, om_json *j);

/* units.c */
/* The devices that --device names, one by one: cuda:all is each there is. OM_ERR_ARG, OM_ERR_NOT_FOUND. */
int om_units_parse(const char *text, om_strlist *out);
int om_units_create(om_pipeline *p);
int om_units_make_seconds(om_pipeline *p);
/* An om_engine.refuge: another device that is there and has room. */
const char *om_units_refuge(void *pipeline, const om_engine *e);
bool om_units_settle(om_pipeline *p, int64_t deadline_ns);
void om_units_destroy(om_pipeline *p);
/* Which of them takes another stream: the one that would be least busy with it, by what its streams decode
 * and, once that is known, by how much of the device they take. Those whose device is lost come last. Admin
 * held. */
om_unit *om_units_place(om_pipeline *p);

/* decoding.c: who decodes which stream. */
void om_decoding_init(om_pipeline *p);
/* Whether the unit's next stream of the configuration begins on the CPU. */
bool om_decoding_begins_on_cpu(om_unit *u);
/* Sends streams from the GPU's decoders to the CPU and back. The supervisor's, without locks. */
void om_decoding_look(om_pipeline *p);

/* network.c: what cameras send, against what the link carries. The supervisor's. */
void om_pipeline_watch_network_init(om_pipeline *p);
void om_pipeline_watch_network(om_pipeline *p);

/* stage_report.c: what a profiled run found out about itself, as an object. */
void om_pipeline_profile_json(om_pipeline *p, om_json *j);

/* roster.c: streams come and go. */
/* A stream that is ready to run, in no list yet. Takes over *own's content, also on failure. Admin held. */
int om_stream_create(om_pipeline *p, om_stream_options *own, om_stream_run **out);
void om_stream_destroy(om_stream_run *s); /* no thread runs in it; NULL is allowed */
/* Puts it into the roster. OM_ERR_CANCELLED where the run is about to end. Admin held. */
int om_roster_insert(om_pipeline *p, om_stream_run *s);
int om_stream_start(om_stream_run *s);
/* The one of this name that is not being removed, or NULL. Roster held. */
om_stream_run *om_roster_find(om_pipeline *p, const char *name);
om_stream_run *om_roster_at(om_pipeline *p, int index);
/* OM_ERR_NOT_FOUND, with a name that is near. Roster held. */
int om_roster_fail_unknown(om_pipeline *p, const char *name);
/* Finishes the sinks of streams that have ended, frees those that were removed and have come to rest. Returns
 * when it wants to look again, or OM_NEVER. The supervisor's. */
int64_t om_roster_reap(om_pipeline *p);
/* Frees everything, when all threads are gone. */
void om_roster_fini(om_pipeline *p);
/* Whether om_pipeline_set_stream() takes it while the stream runs. */
bool om_stream_is_tunable(const char *option);
/* Tells the thread that it is to end, and throws away what waits. Roster held. */
void om_stream_cancel(om_stream_run *s);
/* The gate waits for it no longer. True: for nobody now, and the caller must call om_pipeline_open_gate(),
 * without locks. */
bool om_stream_arrive(om_stream_run *s);
void om_pipeline_open_gate(om_pipeline *p);
/* Tells its decoder how much to leave out. The pipeline's lock held. */
void om_stream_economise(om_stream_run *s);
/* The run goes on without streams. */
bool om_pipeline_keeps(const om_pipeline *p);

/* sinks.c */
int om_pipeline_open_sinks(om_pipeline *p);
/* The stream's own sinks, and the list its lane serves. */
int om_stream_open_sinks(om_stream_run *s);
/* Asks them to finish; true when they have, or there are none. */
bool om_stream_finish_sinks(om_stream_run *s, int timeout_ms);
void om_stream_close_sinks(om_stream_run *s);
/* Finishes all sinks; bounded once a stop is asked for. */
void om_pipeline_finish_sinks(om_pipeline *p);
void om_pipeline_close_sinks(om_pipeline *p);

#endif
