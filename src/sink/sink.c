#include "sink/sink.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "trace/trace.h"

#define OM_SINK_QUEUE 64
#define OM_SINK_QUEUE_FRAMES 4 /* each result keeps a decoded picture alive */
#define OM_SINK_FLUSH_MS 500

static size_t kind_length(const char *spec)
{
    const char *colon = strchr(spec, ':');
    return colon ? (size_t)(colon - spec) : strlen(spec);
}

static const om_sink_ops *find(const char *spec)
{
    size_t n = kind_length(spec);
    for (const om_sink_ops *const *o = om_sink_registry(); *o; o++)
        if (strlen((*o)->name) == n && !strncmp((*o)->name, spec, n)) return *o;
    return NULL;
}

const om_sink_ops *om_sink_ops_for(const char *spec)
{
    const om_sink_ops *ops = find(spec);
    if (ops) return ops;
    const char *names[16];
    size_t n = 0;
    om_str list = {0};
    for (const om_sink_ops *const *o = om_sink_registry(); *o && n < 16; o++) {
        om_str_addf(&list, "%s%s", n ? ", " : "", (*o)->name);
        names[n++] = (*o)->name;
    }
    char kind[64];
    snprintf(kind, sizeof(kind), "%.*s", (int)(kind_length(spec) < 63 ? kind_length(spec) : 63), spec);
    const char *near = om_suggest(kind, names, n);
    if (near)
        om_fail(OM_ERR_ARG, "unknown sink '%s'; did you mean '%s:'? There are: %s", spec, near,
                om_str_get(&list));
    else
        om_fail(OM_ERR_ARG, "unknown sink '%s': write KIND:TARGET with KIND one of %s", spec,
                om_str_get(&list));
    om_str_fini(&list);
    return NULL;
}

bool om_sink_is_per_stream(const char *spec)
{
    const om_sink_ops *ops = find(spec);
    return (ops && ops->flags & OM_SINK_PER_STREAM) || strstr(spec, "%s");
}

/* The spec's target with the first %s replaced; other '%' stay as they are. */
static char *expand(const char *spec, const char *stream)
{
    size_t n = kind_length(spec);
    const char *target = spec[n] ? spec + n + 1 : "";
    const char *mark = stream ? strstr(target, "%s") : NULL;
    return mark ? om_sprintf("%.*s%s%s", (int)(mark - target), target, stream, mark + 2) : om_strdup(target);
}

/* Keeps the first error for good; the message is in the error slot. */
static void note_failure(om_sink *s, int err)
{
    if (atomic_load(&s->status)) return;
    snprintf(s->error, sizeof(s->error), "%s", om_error_message());
    atomic_store(&s->status, err);
}

static void write_one(om_sink *s, om_result *r)
{
    if (!atomic_load(&s->status)) {
        om_trace_begin("sink", r->stream_index);
        om_trace_flow(OM_FLOW_END, om_trace_frame_id(r->stream_index, r->seq));
        int err = s->ops->write(s, r);
        om_trace_end("sink");
        if (err) note_failure(s, err);
    }
    atomic_fetch_add(atomic_load(&s->status) ? &s->failed : &s->written, 1);
    om_result_unref(r);
}

static void flush(om_sink *s)
{
    int err = s->ops->flush && !atomic_load(&s->status) ? s->ops->flush(s) : OM_OK;
    if (err) note_failure(s, err);
}

/* Pairs with om_sink_offer(): who was refused before this pop is called back after it, or after a later one:
 * once half the queue is free. Called back for each free place, all streams of a shared sink would come for
 * it. */
static void tell_room(om_sink *s)
{
    if (2 * om_queue_count(&s->queue) > s->queue.cap) return;
    if (atomic_exchange(&s->refused, false) && s->on_room) s->on_room(s->on_room_user);
}

static void *sink_main(void *arg)
{
    om_sink *s = arg;
    int64_t every = (s->params.flush_ms > 0 ? s->params.flush_ms : OM_SINK_FLUSH_MS) * OM_NS_PER_MS;
    int64_t flush_at = OM_NEVER; /* nothing written since the last flush */
    for (;;) {
        void *item;
        int err = om_queue_pop(&s->queue, &item, flush_at);
        if (err == OM_ERR_EOF) break;
        if (!err) {
            tell_room(s);
            uint64_t taken = om_queue_taken(&s->queue);
            write_one(s, item);
            atomic_store(&s->settled, taken);
            if (flush_at == OM_NEVER) flush_at = om_now_ns() + every;
        }
        if (om_now_ns() >= flush_at) {
            flush(s);
            flush_at = OM_NEVER;
        }
    }
    int err = s->ops->close(s);
    s->open = false;
    if (err) note_failure(s, err);
    pthread_mutex_lock(&s->end_lock);
    s->ended = true;
    pthread_cond_broadcast(&s->end_cond);
    pthread_mutex_unlock(&s->end_lock);
    return NULL;
}

static int queue_size(const om_sink *s)
{
    if (s->params.queue > 0) return s->params.queue;
    return s->ops->flags & OM_SINK_WANTS_FRAMES ? OM_SINK_QUEUE_FRAMES : OM_SINK_QUEUE;
}

int om_sink_open(const char *spec, const char *stream, const om_sink_params *params, om_sink **out)
{
    *out = NULL;
    const om_sink_ops *ops = om_sink_ops_for(spec);
    if (!ops) return OM_ERR_ARG;
    om_sink *s = om_calloc(1, sizeof(*s));
    if (!s) return OM_ERR_NOMEM;
    int err = OM_ERR_NOMEM;
    pthread_mutex_init(&s->end_lock, NULL);
    om_cond_init(&s->end_cond);
    s->ops = ops;
    s->params = *params;
    s->spec = om_strdup(spec);
    s->target = expand(spec, stream);
    s->priv = om_calloc(1, ops->priv_size ? ops->priv_size : 1);
    if (!s->spec || !s->target || !s->priv) goto fail;
    err = om_queue_init(&s->queue, (size_t)queue_size(s));
    if (err) goto fail;
    err = ops->open(s);
    if (err) goto fail;
    s->open = true;
    err = om_thread_start(&s->thread, "om-sink", sink_main, s);
    if (err) goto fail;
    *out = s;
    return OM_OK;
fail:
    om_sink_destroy(s);
    return err;
}

void om_sink_on_room(om_sink *s, void (*fn)(void *user), void *user)
{
    s->on_room = fn;
    s->on_room_user = user;
}

static int push(om_sink *s, om_result *r)
{
    void *old = NULL;
    if (s->params.policy != OM_SINK_DROP_OLDEST) return om_queue_try_push(&s->queue, r);
    int err = om_queue_push_evict(&s->queue, r, &old);
    if (old) {
        atomic_fetch_add(&s->dropped, 1);
        om_result_unref(old);
    }
    return err;
}

int om_sink_offer(om_sink *s, om_result *r)
{
    om_result_ref(r);
    int err = push(s, r);
    if (err == OM_ERR_AGAIN) {
        /* First say so, then look again: a pop between the two either makes room now or calls back. */
        atomic_store(&s->refused, true);
        err = push(s, r);
    }
    if (!err) return OM_OK;
    om_result_unref(r);
    if (err == OM_ERR_AGAIN) return err;
    atomic_fetch_add(&s->failed, 1); /* closed already */
    return OM_OK;
}

uint64_t om_sink_mark(om_sink *s) { return om_queue_pushed(&s->queue); }

bool om_sink_is_past(om_sink *s, uint64_t mark) { return atomic_load(&s->settled) >= mark; }

int om_sink_finish(om_sink *s, int timeout_ms)
{
    int64_t deadline = om_now_ns() + timeout_ms * OM_NS_PER_MS;
    int err = OM_OK;
    om_queue_close(&s->queue);
    pthread_mutex_lock(&s->end_lock);
    while (!s->ended && !err) err = om_cond_wait_until(&s->end_cond, &s->end_lock, deadline);
    bool ended = s->ended;
    pthread_mutex_unlock(&s->end_lock);
    if (!ended) return om_fail(OM_ERR_TIMEOUT, "sink '%s' has not finished yet", s->spec);
    err = atomic_load(&s->status);
    return err ? om_fail(err, "%s", s->error) : OM_OK;
}

void om_sink_destroy(om_sink *s)
{
    if (!s) return;
    if (s->queue.slots) om_queue_close(&s->queue);
    om_thread_join(&s->thread);
    if (s->open) s->ops->close(s);
    void *item;
    /* Counted, not popped to the end: the message of why it is destroyed stays in the slot. */
    while (s->queue.slots && om_queue_count(&s->queue) && !om_queue_try_pop(&s->queue, &item))
        om_result_unref(item);
    om_queue_fini(&s->queue);
    pthread_cond_destroy(&s->end_cond);
    pthread_mutex_destroy(&s->end_lock);
    om_free(s->priv);
    om_free(s->target);
    om_free(s->spec);
    om_free(s);
}
