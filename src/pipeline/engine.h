/* The engine: one model on one device, its rectangles, and the threads that finish its batches. */
#ifndef OM_PIPELINE_ENGINE_H
#define OM_PIPELINE_ENGINE_H

#include "pipeline/batcher.h"
#include "pipeline/config.h"
#include "pipeline/lane.h"

#define OM_MAX_RECTANGLES 3

typedef struct om_engine om_engine;

/* Called once, when the engine can do no more work; the message is in the error slot. Any thread. */
typedef void (*om_engine_failed_fn)(void *user, int code);

struct om_engine {
    const om_run_options *options; /* outlive the engine */
    const om_backend_ops *backend;
    const char *device_name; /* the backend's name of it, or NULL; points into options */
    om_device *device;       /* where input tensors lie */
    om_graph *graph;
    om_model_desc *desc;
    om_head *head;
    int *classes; /* --classes as numbers */
    int n_classes;
    bool keep_frames; /* some sink wants pictures; set before the first batcher */
    om_engine_failed_fn on_failed;
    void *user;

    pthread_mutex_t compile_lock; /* guards batchers, n_batchers; held while compiling */
    om_batcher *batchers[OM_MAX_RECTANGLES];
    int n_batchers;

    pthread_mutex_t lock; /* guards the arbiter, all mailboxes and batchers' ready lists */
    om_arbiter arbiter;

    om_queue done; /* of om_flight *: finished, to be decoded */
    om_thread finishers[8];
    int n_finishers;
    atomic_int failures_in_a_row;
    atomic_bool dead;
    char note[160]; /* guarded by compile_lock */
};

/* Loads and describes the model, finds backend and device, makes the head, starts the finishers. */
int om_engine_create(const om_run_options *o, om_engine **out);
/* Batchers' threads end once their mailboxes are empty; call after all mailboxes have ended. NULL is allowed.
 */
void om_engine_destroy(om_engine *e);

/* The batcher for pictures of this size: an existing rectangle, a new one while there are fewer than three,
 * else the nearest. Compiles at the first call for a rectangle, which takes a while. Any thread. */
int om_engine_batcher(om_engine *e, int width, int height, om_batcher **out);

/* OM_ERR_ARG where the model cannot take this --input-size. */
int om_engine_check_size(const om_model_desc *d, const char *model, om_size size);

/* The input size a picture of this size wants: the smallest rectangle of whole strides that holds it scaled
 * to the model's preferred square (1920x1080 for 640x640 and stride 32: 640x384), the fixed size where the
 * model has one. */
om_size om_engine_size_for(const om_engine *e, int width, int height);

/* For batchers. */
int om_engine_compile(om_engine *e, int width, int height, om_plan **out);
/* Raises the arbiter's limit for this plan; returns how many flights it needs. */
int om_engine_admit(om_engine *e, const om_plan *plan);
/* A batch failed; logs, and gives up after several in a row. */
void om_engine_failed(om_engine *e, const char *what);

#endif
