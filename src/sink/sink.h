/* Sinks: where results go. Each has a thread, a bounded queue and a policy for when it is full. */
#ifndef OM_SINK_SINK_H
#define OM_SINK_SINK_H

#include <stdatomic.h>

#include "base/queue.h"
#include "base/thread.h"
#include "frame/result.h"
#include "kernel/font.h"

typedef struct om_sink om_sink;

typedef enum om_sink_policy {
    OM_SINK_BLOCK,      /* the stream waits (parked, no worker is held) */
    OM_SINK_DROP_OLDEST /* the oldest waiting result of this sink is dropped and counted */
} om_sink_policy;

#define OM_SINK_WANTS_FRAMES (1u << 0) /* results must carry their picture */
#define OM_SINK_PER_STREAM (1u << 1)   /* one instance a stream, always (video) */
#define OM_SINK_APPENDS (1u << 2)      /* can go on behind what a target holds */

/* The extension point. write, flush and close are called from the sink's thread only. */
typedef struct om_sink_ops {
    const char *name;
    const char *target; /* for --help: "FILE ('-': standard output)" */
    const char *help;
    unsigned flags;
    size_t priv_size;
    int (*open)(om_sink *s); /* checks that the target can be written; from the caller's thread */
    int (*write)(om_sink *s, const om_result *r); /* OM_ERR_FULL, OM_ERR_IO: the sink has failed for good */
    int (*flush)(om_sink *s);                     /* optional: everything written so far is readable */
    int (*close)(om_sink *s); /* finishes; what was written stays readable; after a failure too */
} om_sink_ops;

typedef struct om_sink_params {
    om_sink_policy policy;
    int queue;           /* results; 0: 64 (4 where frames are wanted) */
    int flush_ms;        /* at most this long until a written record is readable; 0: 500 */
    bool append;         /* with OM_SINK_APPENDS: what the target holds stays */
    const om_font *font; /* the caller's, for as long as the sink lives; NULL: none */
} om_sink_params;

/* Thread-safety: offer and stats from any thread; open, finish and destroy from the owner. */
struct om_sink {
    const om_sink_ops *ops;
    char *target; /* after "kind:", with %s replaced by the stream's name */
    char *spec;   /* for messages */
    om_sink_params params;
    om_queue queue; /* of om_result *, a reference each */
    om_thread thread;
    void (*on_room)(void *user); /* called when an offer had been refused and half the queue is free again */
    void *on_room_user;
    atomic_bool refused;
    atomic_ullong written, dropped, failed;
    atomic_ullong settled;    /* of all results ever queued, so many are out of the queue and done with */
    pthread_mutex_t end_lock; /* guards ended */
    pthread_cond_t end_cond;
    bool ended;        /* the thread has closed the target */
    bool open;         /* the target is; the thread's once it runs */
    atomic_int status; /* OM_OK, or the first error */
    char error[256];   /* its message; readable once status is set */
    void *priv;
};

const om_sink_ops *const *om_sink_registry(void); /* NULL-terminated */
/* The ops of "kind:target", or NULL with OM_ERR_ARG's message (suggesting a near kind). */
const om_sink_ops *om_sink_ops_for(const char *spec);
/* True when the spec needs an instance a stream: its ops say so or its target holds %s. */
bool om_sink_is_per_stream(const char *spec);

/* Opens and starts the thread. `stream`: name to put for %s (NULL if not per stream). OM_ERR_ARG, OM_ERR_IO
 * name the target. A per-stream spec without %s and more than one stream is the caller's to refuse. */
int om_sink_open(const char *spec, const char *stream, const om_sink_params *params, om_sink **out);
void om_sink_on_room(om_sink *s, void (*fn)(void *user), void *user); /* before the first offer */
/* Takes a reference of its own. OM_OK also when the sink has failed (counted in `failed`); OM_ERR_AGAIN:
 * full, and on_room will be called. */
int om_sink_offer(om_sink *s, om_result *r);
/* Where the last result stands that was offered before; once the sink is past it, it has done with all up to
 * there. Any thread. */
uint64_t om_sink_mark(om_sink *s);
bool om_sink_is_past(om_sink *s, uint64_t mark);
/* Takes no more, drains, flushes and closes; returns the first error of the sink's life. OM_ERR_TIMEOUT if
 * that takes longer than the bound: it goes on, and may be asked again. */
int om_sink_finish(om_sink *s, int timeout_ms);
void om_sink_destroy(om_sink *s);

#endif
