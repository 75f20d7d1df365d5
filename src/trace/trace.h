/* Spans and counters in per-thread rings, written out as Chrome/Perfetto JSON. Off: one relaxed load a span.
 * Thread-safety: span and counter calls from any thread; start, stop and export from one. */
#ifndef OM_TRACE_TRACE_H
#define OM_TRACE_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Spans are recorded, or a tool is told of them. */
extern atomic_bool om_trace_on;

/* Starts recording; each thread keeps its last `events_per_thread` events. */
int om_trace_start(int events_per_thread);
void om_trace_stop(void);
/* Writes everything recorded so far to `path`. */
int om_trace_export(const char *path);
/* As om_trace_export(), of the last `ns` only. Recording goes on. */
int om_trace_export_last(const char *path, int64_t ns);
/* How far back the trace of every thread goes: less than asked for where a busy one has filled its ring.
 * INT64_MAX: none has. */
int64_t om_trace_kept_ns(void);
/* Frees the rings. Call after all traced threads have ended. */
void om_trace_fini(void);

/* What the calling thread's track is called besides the thread's name, a stream's; copied, 63 bytes at most.
 * Before its first span. */
void om_trace_label(const char *text);

/* `name` must be a literal (kept by pointer). `id` shows beside it (a stream, a sequence number); -1: none.
 */
void om_trace_emit_begin(const char *name, int64_t id);
void om_trace_emit_end(const char *name);
void om_trace_emit_counter(const char *name, int64_t value);
/* Of what a device did while nobody looked: on a track by its id (a stream of the device's), at these times.
 */
void om_trace_emit_past(const char *name, int64_t id, int64_t begin_ns, int64_t end_ns);
typedef enum om_trace_flow_step { OM_FLOW_START, OM_FLOW_STEP, OM_FLOW_END } om_trace_flow_step;
void om_trace_emit_flow(om_trace_flow_step step, int64_t id);
void om_trace_emit_async(const char *name, int64_t id, bool begin);

/* Who else is told of spans' begins and ends, whether or not they are recorded: a plug-in attaches what
 * watches this process (NVTX's tools). The functions stay valid for the process's life. NULL: nobody. */
typedef struct om_trace_tool {
    void (*push)(const char *name, int64_t id);
    void (*pop)(void);
    /* Of what may end in another thread, by name and id; NULL: not told. */
    void (*async)(const char *name, int64_t id, bool begin);
} om_trace_tool;
void om_trace_set_tool(const om_trace_tool *tool);

bool om_trace_has_tool(void);
/* What the span of a model's step begins with; its number among the engine's steps and a name follow. */
#define OM_TRACE_STEP "step#"
/* A span for the tool alone, whose name need not outlive the call: a model's layers. */
void om_trace_tool_begin(const char *name, int64_t id);
void om_trace_tool_end(void);

static inline bool om_trace_enabled(void) { return atomic_load_explicit(&om_trace_on, memory_order_relaxed); }
static inline void om_trace_begin(const char *name, int64_t id)
{
    if (om_trace_enabled()) om_trace_emit_begin(name, id);
}
static inline void om_trace_end(const char *name)
{
    if (om_trace_enabled()) om_trace_emit_end(name);
}
/* The arrows that follow one frame from span to span; call inside a span. */
static inline int64_t om_trace_frame_id(int stream, uint64_t seq)
{
    return (int64_t)stream << 40 | (int64_t)(seq & ((1ull << 40) - 1));
}
static inline void om_trace_flow(om_trace_flow_step step, int64_t id)
{
    if (om_trace_enabled()) om_trace_emit_flow(step, id);
}
/* What begins in one thread and ends in another, on a track of its own by `id`. */
static inline void om_trace_async(const char *name, int64_t id, bool begin)
{
    if (om_trace_enabled()) om_trace_emit_async(name, id, begin);
}
static inline void om_trace_past(const char *name, int64_t id, int64_t begin_ns, int64_t end_ns)
{
    if (om_trace_enabled()) om_trace_emit_past(name, id, begin_ns, end_ns);
}
static inline void om_trace_counter(const char *name, int64_t value)
{
    if (om_trace_enabled()) om_trace_emit_counter(name, value);
}

#endif
