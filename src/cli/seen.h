/* Which objects a run has seen: counts by stream and class, filled by the pipeline's callback.
 * Thread-safety: om_seen_result() from any thread, never twice at once for one stream; the rest after the
 * run. */
#ifndef OM_CLI_SEEN_H
#define OM_CLI_SEEN_H

#include <pthread.h>

#include "base/str.h"
#include "omma/types.h"

typedef struct om_seen_stream {
    uint64_t frames, objects;
    uint64_t *counts; /* by class_id; n of them */
    size_t n;
} om_seen_stream;

typedef struct om_seen {
    om_seen_stream *streams;
    size_t n_streams;
    pthread_mutex_t lock; /* guards labels while it runs */
    om_strlist labels;
} om_seen;

int om_seen_init(om_seen *s, size_t n_streams);
void om_seen_fini(om_seen *s);
/* An om_result_fn; user is the om_seen. */
void om_seen_result(void *user, const om_frame_result *r);
/* Adds what one stream saw to another's counts. */
int om_seen_merge(om_seen_stream *into, const om_seen_stream *from);
void om_seen_stream_fini(om_seen_stream *s);
/* Appends the most frequent classes, at most `most`: "4.0 person, 1.2 car, ..." a frame. */
void om_seen_text(const om_seen *s, const om_seen_stream *stream, size_t most, om_str *out);

#endif
