#include "trace/trace.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "trace/ring.h"

#define FIRST_EVENTS 256

atomic_bool om_trace_on;
static atomic_bool recording;
static _Atomic(const om_trace_tool *) tool;

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER; /* guards rings */
static om_trace_ring *rings;
static atomic_int ring_events;
static atomic_llong origin_ns;
/* Raised when the rings are freed, so that a thread that lives on does not use its old one. */
static atomic_uint generation = 1;

static _Thread_local struct {
    om_trace_ring *ring;
    unsigned generation;
    char label[OM_TRACE_LABEL];
} mine;

om_trace_ring *om_trace_rings(void)
{
    pthread_mutex_lock(&list_lock);
    om_trace_ring *first = rings;
    pthread_mutex_unlock(&list_lock);
    return first;
}

int64_t om_trace_origin_ns(void) { return atomic_load(&origin_ns); }

int om_trace_start(int events_per_thread)
{
    if (events_per_thread < 2)
        return om_fail(OM_ERR_ARG, "a trace needs room for 2 events a thread at least");
    atomic_store(&ring_events, events_per_thread);
    if (!om_trace_rings()) atomic_store(&origin_ns, om_now_ns());
    atomic_store(&recording, true);
    atomic_store(&om_trace_on, true);
    return OM_OK;
}

void om_trace_stop(void)
{
    atomic_store(&recording, false);
    atomic_store(&om_trace_on, om_trace_has_tool());
}

void om_trace_fini(void)
{
    om_trace_stop();
    pthread_mutex_lock(&list_lock);
    om_trace_ring *ring = rings;
    rings = NULL;
    atomic_fetch_add(&generation, 1);
    pthread_mutex_unlock(&list_lock);
    while (ring) {
        om_trace_ring *next = ring->next;
        pthread_mutex_destroy(&ring->lock);
        om_free(ring->events);
        om_free(ring);
        ring = next;
    }
}

int64_t om_trace_kept_ns(void)
{
    int64_t now = om_now_ns(), kept = INT64_MAX;
    for (om_trace_ring *ring = om_trace_rings(); ring; ring = ring->next) {
        pthread_mutex_lock(&ring->lock);
        if (ring->count && ring->count == ring->max && now - ring->events[ring->head].ns < kept)
            kept = now - ring->events[ring->head].ns;
        pthread_mutex_unlock(&ring->lock);
    }
    return kept;
}

/* NULL when out of memory: the thread goes on untraced. */
static om_trace_ring *my_ring(void)
{
    unsigned now = atomic_load_explicit(&generation, memory_order_acquire);
    if (mine.generation == now) return mine.ring;
    om_trace_ring *ring = om_calloc(1, sizeof *ring);
    mine.generation = now;
    mine.ring = ring;
    if (!ring) return NULL;
    pthread_mutex_init(&ring->lock, NULL);
    ring->tid = syscall(SYS_gettid);
    ring->max = (size_t)atomic_load(&ring_events);
    pthread_getname_np(pthread_self(), ring->thread, sizeof ring->thread - sizeof mine.label - 1);
    if (*mine.label) {
        size_t n = strlen(ring->thread);
        snprintf(ring->thread + n, sizeof ring->thread - n, " %s", mine.label);
    }
    pthread_mutex_lock(&list_lock);
    ring->next = rings;
    rings = ring;
    pthread_mutex_unlock(&list_lock);
    return ring;
}

/* Rings start small: hundreds of threads that trace little must not cost what a busy one does. */
static void make_room(om_trace_ring *ring)
{
    if (ring->count < ring->cap || ring->cap == ring->max) return;
    size_t want = ring->cap ? ring->cap * 2 : FIRST_EVENTS;
    if (want > ring->max) want = ring->max;
    om_trace_event *grown = om_realloc_array(ring->events, want, sizeof *grown);
    if (grown) {
        ring->events = grown;
        ring->cap = want;
    } else {
        ring->max = ring->cap;
    }
}

static void put(om_trace_event event)
{
    if (!atomic_load_explicit(&recording, memory_order_relaxed)) return;
    om_trace_ring *ring = my_ring();
    if (!ring) return;
    if (!event.ns) event.ns = om_now_ns();
    pthread_mutex_lock(&ring->lock);
    make_room(ring);
    if (ring->count < ring->cap) {
        ring->events[ring->count++] = event; /* head stays 0 until the ring is full */
    } else if (ring->cap) {
        ring->events[ring->head] = event;
        ring->head = (ring->head + 1) % ring->cap;
    }
    pthread_mutex_unlock(&ring->lock);
}

void om_trace_label(const char *text)
{
    snprintf(mine.label, sizeof mine.label, "%s", text);
    size_t n = strlen(mine.label);
    bool cut = n < strlen(text);
    while (cut && n && ((unsigned char)text[n] & 0xc0) == 0x80) n--; /* whole characters */
    mine.label[n] = '\0';
}

void om_trace_set_tool(const om_trace_tool *t)
{
    atomic_store(&tool, t);
    atomic_store(&om_trace_on, t || atomic_load(&recording));
}

bool om_trace_has_tool(void) { return atomic_load_explicit(&tool, memory_order_acquire) != NULL; }

void om_trace_tool_begin(const char *name, int64_t id)
{
    const om_trace_tool *t = atomic_load_explicit(&tool, memory_order_acquire);
    if (t) t->push(name, id);
}

void om_trace_tool_end(void)
{
    const om_trace_tool *t = atomic_load_explicit(&tool, memory_order_acquire);
    if (t) t->pop();
}

void om_trace_emit_begin(const char *name, int64_t id)
{
    const om_trace_tool *t = atomic_load_explicit(&tool, memory_order_acquire);
    put((om_trace_event){.name = name, .value = id, .kind = OM_TRACE_BEGIN});
    if (t) t->push(name, id);
}

void om_trace_emit_end(const char *name)
{
    const om_trace_tool *t = atomic_load_explicit(&tool, memory_order_acquire);
    if (t) t->pop();
    put((om_trace_event){.name = name, .kind = OM_TRACE_END});
}

void om_trace_emit_counter(const char *name, int64_t value)
{
    put((om_trace_event){.name = name, .value = value, .kind = OM_TRACE_COUNTER});
}

void om_trace_emit_flow(om_trace_flow_step step, int64_t id)
{
    static const char phases[] = {'s', 't', 'f'};
    put((om_trace_event){.name = "frame", .value = id, .kind = OM_TRACE_FLOW, .phase = phases[step]});
}

void om_trace_emit_async(const char *name, int64_t id, bool begin)
{
    const om_trace_tool *t = atomic_load_explicit(&tool, memory_order_acquire);
    if (t && t->async) t->async(name, id, begin);
    put((om_trace_event){
        .name = name, .value = id, .kind = begin ? OM_TRACE_ASYNC_BEGIN : OM_TRACE_ASYNC_END});
}

void om_trace_emit_past(const char *name, int64_t id, int64_t begin_ns, int64_t end_ns)
{
    put((om_trace_event){.name = name, .value = id, .ns = begin_ns, .kind = OM_TRACE_ASYNC_BEGIN});
    put((om_trace_event){.name = name, .value = id, .ns = end_ns, .kind = OM_TRACE_ASYNC_END});
}
