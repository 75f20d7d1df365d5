/* The engine: one model on one device, its rectangles, and the threads that finish its batches. */
#ifndef OM_PIPELINE_ENGINE_H
#define OM_PIPELINE_ENGINE_H

#include "backend/planfile.h"
#include "media/source.h"
#include "pipeline/batcher.h"
#include "pipeline/config.h"
#include "pipeline/lane.h"
#include "pipeline/tracking.h"

#define OM_MAX_RECTANGLES 3

typedef struct om_engine om_engine;

/* The work's one change of device. */
typedef struct om_move {
    char from[32], to[32], cause[256];
    int64_t at_ns;   /* om_now_ns() when the loss was met; 0: it did not happen */
    int64_t took_ns; /* until the other device was ready */
    int failed;      /* an om_err: it never was */
} om_move;

/* What was done for want of the device's memory. */
typedef struct om_spared {
    int batches;  /* times that batches became smaller */
    int sessions; /* rectangles that do with fewer sessions */
    bool moved;   /* to the fall-back device */
} om_spared;

/* Called once, when the engine can do no more work; the message is in the error slot. Any thread. */
typedef void (*om_engine_failed_fn)(void *user, int code);

struct om_engine {
    const om_run_options *options; /* outlive the engine */
    /* Guarded by compile_lock once streams run: they change when the device is lost. */
    const om_backend_ops *backend;
    const char *device_name;  /* the backend's name of it, or NULL; points into options */
    om_device *device;        /* where input tensors lie */
    om_device *first_device;  /* what `device` was at the start; the same, while it is not lost */
    om_device *between;       /* the refuge, once that was lost too */
    bool settled;             /* the work has gone to --fallback */
    om_device *decode_device; /* whose hardware decodes, or NULL; `first_device` or one of its own */
    om_hwaccel *hwaccel;      /* of it, or NULL */
    bool download;            /* what it decodes has to be copied to host memory */
    om_graph *graph;
    om_plan_file *plan_file; /* that the model came in, or NULL; owned */
    om_model_desc *desc;
    om_head *head;
    om_tracking tracking; /* the head finds what it looks at */
    int *classes;         /* --classes as numbers */
    int n_classes;
    bool keep_frames;  /* some sink wants pictures; set before the first batcher */
    om_batch_log *log; /* owned; NULL unless the run is profiled; set before the first batcher */
    om_engine_failed_fn on_failed;
    /* Another of the run's devices that takes over where this one is lost; NULL: there is none, --fallback
     * does. May be NULL itself. Any thread. */
    const char *(*refuge)(void *user, const om_engine *e);
    void *user;

    pthread_mutex_t compile_lock; /* guards batchers, n_batchers; held while compiling */
    om_batcher *batchers[OM_MAX_RECTANGLES];
    int n_batchers;
    om_batcher **retired; /* of the device that was lost, or too large for its memory */
    size_t n_retired, cap_retired;
    int batch_cap; /* largest batch that the device had memory for; 0: no bound */
    om_move move;
    om_spared spared; /* guarded by compile_lock */

    pthread_mutex_t lock; /* guards the arbiter, `serving`, all mailboxes and batchers' ready lists */
    om_arbiter arbiter;
    int serving; /* batchers of an earlier generation start nothing any more */

    om_queue done; /* of om_flight *: finished, to be decoded */
    om_thread finishers[8];
    int n_finishers;
    atomic_int failures_in_a_row;
    atomic_bool dead;
    char note[160]; /* guarded by compile_lock */

    atomic_int generation;        /* how often the work has gone to another device */
    atomic_bool moving;           /* somebody takes it there, or has taken it to the last */
    pthread_mutex_t sparing_lock; /* guards what follows */
    bool sparing, settling;       /* a thread makes batches smaller; it is too late for that */
    int spare_generation;         /* of the device whose memory was short */
    om_thread sparer;
    char spare_cause[256];
    om_thread mover;
    char move_cause[256]; /* for `mover`, written before it starts */
};

/* Loads and describes the model, finds backend and device, makes the head. Without batchers and their
 * threads: what a secondary model needs. */
int om_engine_load(const om_run_options *o, om_engine **out);
/* The same, and starts the finishers. */
int om_engine_create(const om_run_options *o, om_engine **out);
/* Batchers' threads end once their mailboxes are empty; call after all mailboxes have ended. NULL is allowed.
 */
void om_engine_destroy(om_engine *e);
/* At the same moment, before the streams are freed: stops the batchers and waits for what is in the engine,
 * as its results go to lanes. False at the deadline: then nothing of the run may be freed. */
bool om_engine_settle(om_engine *e, int64_t deadline_ns);

/* The batcher for pictures of this size: an existing rectangle, a new one while there are fewer than three,
 * else the nearest. Compiles at the first call for a rectangle, which takes a while. Any thread. */
int om_engine_batcher(om_engine *e, int width, int height, om_batcher **out);

/* OM_ERR_ARG where the model cannot take this --input-size. */
int om_engine_check_size(const om_model_desc *d, const char *model, om_size size);

/* The input size a picture of this size wants: the smallest rectangle of whole strides that holds it scaled
 * to the model's preferred square (1920x1080 for 640x640 and stride 32: 640x384), the fixed size where the
 * model has one. */
om_size om_engine_size_for(const om_engine *e, int width, int height);

/* For batchers. `batch` 0: chosen by the options. */
int om_engine_compile_batch(om_engine *e, int width, int height, int batch, om_plan **out);
int om_engine_compile(om_engine *e, int width, int height, om_plan **out);
/* Raises the arbiter's limit for this plan; returns how many flights it needs. */
int om_engine_admit(om_engine *e, const om_plan *plan);
/* Memory was short: batches become smaller. False when they are as small as can be. */
bool om_engine_shrink(om_engine *e);
/* As many sessions as it has memory for, where that is less than it wants. With compile_lock held. */
void om_engine_do_with_fewer(om_engine *e, int n, int wanted);
/* A batch of `b` failed with `code`; logs. Where memory is short, batches become smaller, and when they are
 * as small as can be the work goes to the fall-back device. When the device is lost, or after several in a
 * row, everything goes to the fall-back device, if there is another; else the engine gives up. */
void om_engine_failed(om_batcher *b, int code, const char *what);
/* Takes everything to the fall-back device; false where there is none. The message in the error slot is the
 * cause. Returns at once: a thread of its own does it. */
bool om_engine_move(om_engine *e);
/* The same, at once, where `code` says that memory is short or the device lost; OM_OK when all is on the
 * fall-back device, else an error. With compile_lock held. */
int om_engine_move_now(om_engine *e, int code);
/* Opens what --device and --decode ask for. */
int om_engine_open_devices(om_engine *e);
void om_engine_close_devices(om_engine *e);
/* The GPU of the run, or NULL. */
om_device *om_engine_gpu(const om_engine *e);
/* Its memory ran short at work: true where a thread of its own now makes the batches of `b`'s engine smaller,
 * or had begun to. The message in the error slot is the cause. */
bool om_engine_spare(om_batcher *b);
/* No more of that; waits for what has begun. */
void om_engine_stop_sparing(om_engine *e);

/* memory.c */
/* Holds a GPU to --gpu-memory; others, and NULL, are left alone. */
int om_engine_cap_memory(const om_engine *e, om_device *d);
/* The device whose memory is counted: not the host. NULL: there is none. */
om_device *om_engine_memory(const om_engine *e);

#endif
