/* What trace.c records and export.c writes. */
#ifndef OM_TRACE_RING_H
#define OM_TRACE_RING_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

typedef enum om_trace_kind {
    OM_TRACE_BEGIN,
    OM_TRACE_END,
    OM_TRACE_COUNTER,
    OM_TRACE_FLOW,        /* its phase is in `phase`; of the span it stands in */
    OM_TRACE_ASYNC_BEGIN, /* on a track by its id, not by its thread */
    OM_TRACE_ASYNC_END
} om_trace_kind;

typedef struct om_trace_event {
    const char *name;
    int64_t ns;
    int64_t value; /* BEGIN: id or -1; COUNTER: the count; FLOW, ASYNC: the id */
    om_trace_kind kind;
    char phase;
} om_trace_event;

#define OM_TRACE_LABEL 64

/* One thread's events. `next`, `tid`, `thread` never change once the ring is in the list. */
typedef struct om_trace_ring {
    struct om_trace_ring *next;
    long tid;
    char thread[16 + 1 + OM_TRACE_LABEL]; /* its name, and its label behind it */
    pthread_mutex_t lock;                 /* guards the rest; contended only while an export copies */
    om_trace_event *events;               /* grows up to max, then wraps */
    size_t cap, max, head, count;
} om_trace_ring;

/* The newest ring, or NULL. */
om_trace_ring *om_trace_rings(void);
/* Times in the export count from here. */
int64_t om_trace_origin_ns(void);

#endif
