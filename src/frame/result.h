/* Detections of one picture, and the record that travels from lane to sinks. */
#ifndef OM_FRAME_RESULT_H
#define OM_FRAME_RESULT_H

#include "base/ref.h"
#include "frame/frame.h"
#include "omma/types.h"

/* A growing list of detections with their texts. Zeroed is valid and empty. Thread-safety: one thread at a
 * time. */
typedef struct om_dets {
    om_detection *items;
    size_t n, cap;
    char **texts; /* owned; detections point into it */
    size_t n_texts, cap_texts;
    float *vector; /* owned; embedding or raw output, NULL if the head yields none */
    size_t n_vector, cap_vector;
} om_dets;

void om_dets_fini(om_dets *d);
void om_dets_clear(om_dets *d); /* keeps the memory */
/* Room for one more, zeroed, with track -1; NULL when out of memory. */
om_detection *om_dets_add(om_dets *d);
/* Gives the detection a copy of `text`. */
int om_dets_set_text(om_dets *d, om_detection *det, const char *text, float score);
int om_dets_set_vector(om_dets *d, const float *v, size_t n);

/* What secondary models said, and the memory of it. Zeroed is valid and empty. Thread-safety: one thread at a
 * time. */
typedef struct om_answers {
    om_answer *items;
    size_t n, cap;
    void **owned; /* n_owned blocks: texts and vectors that items point into */
    size_t n_owned, cap_owned;
} om_answers;

void om_answers_fini(om_answers *a);
/* Room for one more, about nothing yet; NULL when out of memory. */
om_answer *om_answers_add(om_answers *a);
/* Copies that live as long as the list; NULL when out of memory. */
const char *om_answers_text(om_answers *a, const char *text);
const float *om_answers_vector(om_answers *a, const float *v, size_t n);

typedef struct om_labels {
    const char *const *names; /* n of them; owned by the model's description, which outlives all results */
    size_t n;
} om_labels;

/* One inferred frame's record, shared by its sinks.
 * Thread-safety: constant once handed to the first sink; ref and unref from any thread. */
typedef struct om_result {
    om_ref ref;
    const char *stream; /* owned by the pipeline, which outlives all results */
    int stream_index;
    uint64_t seq;
    int64_t pts_ns, wall_us;
    uint32_t epoch; /* as the frame's: tracks do not outlive a connection */
    int width, height;
    int64_t latency_ns;
    om_labels labels;
    om_dets dets;
    om_answers answers;
    om_frame *frame; /* a reference, only where some sink asked for pictures; else NULL */
} om_result;

om_result *om_result_create(void); /* NULL when out of memory */
om_result *om_result_ref(om_result *r);
void om_result_unref(om_result *r);
/* The public view of it; valid while `r` is. */
void om_result_view(const om_result *r, om_frame_result *out);

#endif
