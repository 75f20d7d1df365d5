#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "trace/line.h"
#include "trace/ring.h"
#include "trace/trace.h"

#define FLUSH_BYTES (64 * 1024)

typedef struct writer {
    om_outfile file;
    om_str text;
    bool first;
    int64_t since_ns; /* what is older is left out */
    char who[64];     /* whose events follow: members of each one's object */
} writer;

typedef struct ring_copy {
    om_trace_event *events; /* oldest first */
    size_t count;
} ring_copy;

static int ring_copy_make(om_trace_ring *ring, ring_copy *copy)
{
    int rc = OM_OK;
    *copy = (ring_copy){0};
    pthread_mutex_lock(&ring->lock);
    size_t n = ring->count, tail = n - ring->head;
    if (n) copy->events = om_realloc_array(NULL, n, sizeof *copy->events);
    if (n && !copy->events) {
        rc = om_fail_nomem("the trace");
    } else if (n) {
        memcpy(copy->events, ring->events + ring->head, tail * sizeof *copy->events);
        memcpy(copy->events + tail, ring->events, ring->head * sizeof *copy->events);
        copy->count = n;
    }
    pthread_mutex_unlock(&ring->lock);
    return rc;
}

static int flush(writer *w)
{
    if (w->text.failed) return om_fail_nomem("the trace");
    int rc = om_outfile_write(&w->file, om_str_get(&w->text), w->text.len);
    om_str_clear(&w->text);
    return rc;
}

static void set_thread(writer *w, long tid)
{
    snprintf(w->who, sizeof w->who, ",\"pid\":%d,\"tid\":%ld", (int)getpid(), tid);
}

static void event_open(writer *w, om_trace_line *l, const char *phase, const char *name)
{
    l->out = &w->text;
    l->len = 0;
    om_trace_line_add(l, w->first ? "\n{\"ph\":\"" : ",\n{\"ph\":\"");
    om_trace_line_add(l, phase);
    om_trace_line_add(l, "\",\"name\":");
    om_trace_line_quote(l, name);
    om_trace_line_add(l, w->who);
    w->first = false;
}

static void event_close(om_trace_line *l)
{
    om_trace_line_add(l, "}");
    om_trace_line_end(l);
}

static void add_time(om_trace_line *l, const om_trace_event *e)
{
    om_trace_line_add(l, ",\"ts\":");
    om_trace_line_us(l, e->ns - om_trace_origin_ns());
}

/* `key` with the brackets before it; closed by as many behind. */
static void add_argument(om_trace_line *l, const char *key, int64_t value)
{
    om_trace_line_add(l, key);
    om_trace_line_int(l, value);
    om_trace_line_add(l, "}");
}

static void add_name(writer *w, const char *what, const char *name)
{
    om_trace_line l;
    event_open(w, &l, "M", what);
    om_trace_line_add(&l, ",\"args\":{\"name\":");
    om_trace_line_quote(&l, name);
    om_trace_line_add(&l, "}");
    event_close(&l);
}

/* A span; one that is still open has no end yet. */
static void add_span(writer *w, const om_trace_event *begin, const om_trace_event *end)
{
    om_trace_line l;
    event_open(w, &l, end ? "X" : "B", begin->name);
    add_time(&l, begin);
    if (end) {
        om_trace_line_add(&l, ",\"dur\":");
        om_trace_line_us(&l, end->ns - begin->ns);
    }
    if (begin->value >= 0) add_argument(&l, ",\"args\":{\"id\":", begin->value);
    event_close(&l);
}

static void add_counter(writer *w, const om_trace_event *e)
{
    om_trace_line l;
    event_open(w, &l, "C", e->name);
    add_time(&l, e);
    add_argument(&l, ",\"args\":{\"value\":", e->value);
    event_close(&l);
}

static void add_flow(writer *w, const om_trace_event *e)
{
    om_trace_line l;
    char phase[2] = {e->phase, '\0'};
    event_open(w, &l, phase, e->name);
    om_trace_line_add(&l, ",\"cat\":\"frame\",\"id\":");
    om_trace_line_int(&l, e->value);
    add_time(&l, e);
    if (e->phase == 'f') om_trace_line_add(&l, ",\"bp\":\"e\""); /* binds to the span it stands in */
    event_close(&l);
}

static void add_async(writer *w, const om_trace_event *e)
{
    om_trace_line l;
    event_open(w, &l, e->kind == OM_TRACE_ASYNC_BEGIN ? "b" : "e", e->name);
    om_trace_line_add(&l, ",\"cat\":\"session\",\"id\":");
    om_trace_line_hex(&l, (uint64_t)e->value);
    add_time(&l, e);
    event_close(&l);
}

/* Closes the innermost open span of that name and those inside it, whose own ends are missing. An end whose
 * begin the ring has overwritten matches none and is left out. */
static void close_span(writer *w, const om_trace_event *events, size_t *open, size_t *depth,
                       const om_trace_event *end)
{
    size_t at = *depth;
    while (at > 0 && strcmp(events[open[at - 1]].name, end->name) != 0) at--;
    if (at == 0) return;
    while (*depth >= at) add_span(w, &events[open[--*depth]], end);
}

static int add_events(writer *w, const ring_copy *copy, size_t *open)
{
    size_t depth = 0;
    int rc = OM_OK;
    for (size_t i = 0; i < copy->count && rc == OM_OK; i++) {
        const om_trace_event *e = &copy->events[i];
        if (e->ns < w->since_ns) continue;
        switch (e->kind) {
        case OM_TRACE_BEGIN: open[depth++] = i; break;
        case OM_TRACE_END: close_span(w, copy->events, open, &depth, e); break;
        case OM_TRACE_COUNTER: add_counter(w, e); break;
        case OM_TRACE_FLOW: add_flow(w, e); break;
        case OM_TRACE_ASYNC_BEGIN:
        case OM_TRACE_ASYNC_END: add_async(w, e); break;
        }
        if (w->text.len > FLUSH_BYTES) rc = flush(w);
    }
    for (size_t i = 0; i < depth; i++) add_span(w, &copy->events[open[i]], NULL);
    return rc;
}

static int add_ring(writer *w, om_trace_ring *ring)
{
    ring_copy copy;
    size_t *open = NULL;
    set_thread(w, ring->tid);
    add_name(w, "thread_name", ring->thread);
    int rc = ring_copy_make(ring, &copy);
    if (rc == OM_OK && copy.count) {
        open = om_realloc_array(NULL, copy.count, sizeof *open);
        rc = open ? add_events(w, &copy, open) : om_fail_nomem("the trace");
    }
    om_free(open);
    om_free(copy.events);
    return rc < 0 ? rc : flush(w);
}

static int export_since(const char *path, int64_t since_ns)
{
    writer w = {.first = true, .since_ns = since_ns};
    int rc = om_outfile_open(&w.file, path);
    if (rc < 0) return rc;
    set_thread(&w, getpid());
    om_str_add(&w.text, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[");
    add_name(&w, "process_name", "omma");
    for (om_trace_ring *ring = om_trace_rings(); ring && rc == OM_OK; ring = ring->next)
        rc = add_ring(&w, ring);
    om_str_add(&w.text, "\n]}\n");
    if (rc == OM_OK) rc = flush(&w);
    om_str_fini(&w.text);
    if (rc == OM_OK) return om_outfile_commit(&w.file);
    om_outfile_abort(&w.file);
    return rc;
}

int om_trace_export(const char *path) { return export_since(path, INT64_MIN); }

int om_trace_export_last(const char *path, int64_t ns) { return export_since(path, om_now_ns() - ns); }
