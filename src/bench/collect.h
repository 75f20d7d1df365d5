/* Inside the room: the boxes that a model finds on every frame of clips, none of which is dropped. */
#ifndef OM_BENCH_COLLECT_H
#define OM_BENCH_COLLECT_H

#include "bench/trial.h"

/* Thread-safety: om_finds_result() from any thread; the rest after the run. */
typedef struct om_finds {
    pthread_mutex_t lock; /* guards the rest */
    om_eval_boxes boxes;  /* a picture's number: stream * frames_a_stream + its place in the stream */
    int frames_a_stream, n_streams;
    int *count;    /* frames of each stream so far */
    om_size *size; /* of each picture; 0x0: it did not come */
    om_strlist labels;
    int n_labels, most_class, images;
    bool failed; /* out of memory */
} om_finds;

int om_finds_init(om_finds *c, int streams, int frames);
void om_finds_fini(om_finds *c); /* zeroed is valid */
/* Runs `model` (NULL: the bench's own) over the clips, each `every`th frame. `what`: for the progress line.
 */
int om_finds_run(om_bench *b, const om_strlist *clips, const char *model, int every, const char *what,
                 om_finds *c);

/* --truth: fills the result's accuracy. */
int om_bench_labels(om_bench *b);

#endif
