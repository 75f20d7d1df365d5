/* A model in two parts on two devices, or on one with cores apart: the first part's outputs go into the
 * second's input, while the first part already works on the next batch.
 *
 * The second part has one input: all tensors that are live at the split, one behind the other as f32. */
#ifndef OM_WORKER_SPLIT_H
#define OM_WORKER_SPLIT_H

#include <sched.h>

#include "base/queue.h"
#include "base/thread.h"
#include "worker/rig.h"

#define OM_SPLIT_SLOTS 2 /* batches in the second part: one runs, one is being filled */
#define OM_SPLIT_LIVE 64

/* A tensor that is live at the split. */
typedef struct om_live {
    char *name;     /* owned */
    om_dtype dtype; /* in the model; f32 on its way */
    om_shape shape;
    size_t offset, count; /* numbers, in the second part's input */
} om_live;

/* The two graphs. Zeroed is valid and empty. */
typedef struct om_split_graphs {
    om_graph *first, *second; /* NULL once taken */
    om_live live[OM_SPLIT_LIVE];
    int n_live;
    size_t count;      /* numbers on the way, in all */
    int width, height; /* of the second part's input: 1 x 1 x height x width */
    int *second_of;    /* of each output of the model: the second part's, or -1 - live number; owned */
    int n_outputs;
    int64_t first_macs, second_macs;
} om_split_graphs;

/* A position: all nodes up to number `position` in the graph's order come first. */
typedef struct om_split_point {
    int position;
    char *name; /* the tensor there, or the first of them; owned */
    int n_live;
    size_t bytes; /* a batch */
    int64_t macs; /* of the first part */
} om_split_point;

/* Fixes the batch and the input's size; what follows from them becomes constant. Before the others. */
int om_split_prepare(om_graph *g, const om_model_desc *desc, int batch);
/* `point`: a tensor or a layer, with "MODEL:" before it or not, or a module whose layers are named below it:
 * what it is made by comes first, all the rest second. OM_ERR_ARG says what is wrong with it. */
int om_split_at(const om_graph *g, const char *model, const char *point, om_split_graphs *out);
int om_split_after(const om_graph *g, int position, om_split_graphs *out);
void om_split_graphs_fini(om_split_graphs *s);
/* Positions worth a measurement, at most `max`, spread over the work; *n of them, freed by
 * om_split_points_free(). */
int om_split_points(const om_graph *g, int max, om_split_point **out, int *n);
void om_split_points_free(om_split_point *points, int n);

/* A batch on its way through both parts. The caller's until submitted, then the split's until `done`. */
typedef struct om_split_job {
    int slot, n;
    int64_t step, begun_ns, read_ns, prepared_ns, first_ns, slot_ns, sent_ns, second_begin_ns, second_ns;
    om_geometry geo[OM_RIG_BATCH_MAX];
} om_split_job;

typedef struct om_split_params {
    const char *device; /* of the second part */
    int batch, threads;
    bool amp;
    const cpu_set_t *cores; /* of the second part */
    om_head *head;          /* of the whole model; NULL: outputs are not read */
    /* In the second part's thread, in order; `dets` of the batch's pictures, cleared afterwards. An error
     * ends the work. */
    int (*done)(void *user, om_split_job *job, om_dets *dets);
    void *user;
} om_split_params;

/* Thread-safety: one thread. */
typedef struct om_split om_split;

/* Takes the second graph; compiles it in a thread of its own that runs on `cores` alone. */
int om_split_create(om_split_graphs *graphs, const om_split_params *p, om_split **out);
void om_split_destroy(om_split *s); /* ends the thread; what is under way is finished */
/* A job to fill; waits while all are on their way. */
int om_split_job_get(om_split *s, om_split_job **out);
/* The first part's outputs, of a session of `first`, into the second part; waits for a place there. */
int om_split_submit(om_split *s, om_split_job *job, om_rig *first);
void om_split_job_put(om_split *s, om_split_job *job); /* unused */
/* Until all that was submitted is done; the first error of the second part. */
int om_split_drain(om_split *s);
const char *om_split_note(const om_split *s); /* its engine */

#endif
