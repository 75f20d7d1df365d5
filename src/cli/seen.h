/* Which objects a run has seen: counts by stream and class, filled by the pipeline's callback.
 * Thread-safety: om_seen_result() from any thread, never twice at once for one stream; om_seen_gone() when no
 * more of that stream comes; the rest after the run. */
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

typedef struct om_seen_entry {
    int index;
    om_seen_stream *stream;
} om_seen_entry;

typedef struct om_seen {
    pthread_mutex_t lock;   /* guards the rest while it runs, but for what streams hold */
    om_seen_entry *entries; /* by index */
    size_t n_entries, cap_entries;
    om_seen_stream gone; /* of streams that were removed */
    om_strlist labels;
} om_seen;

int om_seen_init(om_seen *s);
void om_seen_fini(om_seen *s); /* zeroed is valid */
/* What a stream saw; a blank one where it saw nothing. */
const om_seen_stream *om_seen_at(const om_seen *s, int index);
/* For om_pipeline_on_gone(). */
void om_seen_gone(void *user, int index, const char *name);
/* An om_result_fn; user is the om_seen. */
void om_seen_result(void *user, const om_frame_result *r);
/* Adds what one stream saw to another's counts. */
int om_seen_merge(om_seen_stream *into, const om_seen_stream *from);
void om_seen_stream_fini(om_seen_stream *s);
/* Appends the most frequent classes, at most `most`: "4.0 person, 1.2 car, ..." a frame. */
void om_seen_text(const om_seen *s, const om_seen_stream *stream, size_t most, om_str *out);

#endif
