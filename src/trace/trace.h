/* Spans and counters in per-thread rings, written out as Chrome/Perfetto JSON. Off: one relaxed load a span.
 * Thread-safety: span and counter calls from any thread; start, stop and export from one. */
#ifndef OM_TRACE_TRACE_H
#define OM_TRACE_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

extern atomic_bool om_trace_on;

/* Starts recording; each thread keeps its last `events_per_thread` events. */
int om_trace_start(int events_per_thread);
void om_trace_stop(void);
/* Writes everything recorded so far to `path`. */
int om_trace_export(const char *path);
/* Frees the rings. Call after all traced threads have ended. */
void om_trace_fini(void);

/* `name` must be a literal (kept by pointer). `id` shows beside it (a stream, a sequence number); -1: none.
 */
void om_trace_emit_begin(const char *name, int64_t id);
void om_trace_emit_end(const char *name);
void om_trace_emit_counter(const char *name, int64_t value);

static inline bool om_trace_enabled(void) { return atomic_load_explicit(&om_trace_on, memory_order_relaxed); }
static inline void om_trace_begin(const char *name, int64_t id)
{
    if (om_trace_enabled()) om_trace_emit_begin(name, id);
}
static inline void om_trace_end(const char *name)
{
    if (om_trace_enabled()) om_trace_emit_end(name);
}
static inline void om_trace_counter(const char *name, int64_t value)
{
    if (om_trace_enabled()) om_trace_emit_counter(name, value);
}

#endif
