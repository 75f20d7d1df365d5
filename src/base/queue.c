#include "base/queue.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/thread.h"

int om_queue_init(om_queue *q, size_t cap)
{
    memset(q, 0, sizeof *q);
    if (cap == 0) return om_fail(OM_ERR_ARG, "a queue needs room for one item at least");
    void **slots = om_calloc(cap, sizeof *slots);
    if (!slots) return om_fail_nomem("a queue");
    int rc = om_cond_init(&q->not_empty);
    if (rc < 0) goto fail;
    rc = om_cond_init(&q->not_full);
    if (rc < 0) {
        pthread_cond_destroy(&q->not_empty);
        goto fail;
    }
    pthread_mutex_init(&q->lock, NULL);
    q->slots = slots;
    q->cap = cap;
    return OM_OK;
fail:
    om_free(slots);
    return rc;
}

void om_queue_fini(om_queue *q)
{
    if (!q || !q->slots) return;
    pthread_cond_destroy(&q->not_full);
    pthread_cond_destroy(&q->not_empty);
    pthread_mutex_destroy(&q->lock);
    om_free(q->slots);
    memset(q, 0, sizeof *q);
}

static void put(om_queue *q, void *item)
{
    q->slots[(q->head + q->count) % q->cap] = item;
    q->count++;
    q->pushed++;
    pthread_cond_signal(&q->not_empty);
}

static void *take(om_queue *q)
{
    void *item = q->slots[q->head];
    q->head = (q->head + 1) % q->cap;
    q->count--;
    q->taken++;
    pthread_cond_signal(&q->not_full);
    return item;
}

static int fail_closed(void) { return om_fail(OM_ERR_CANCELLED, "the queue is closed"); }
static int fail_ended(void) { return om_fail(OM_ERR_EOF, "the queue is closed and empty"); }

int om_queue_try_push(om_queue *q, void *item)
{
    int rc = OM_OK;
    pthread_mutex_lock(&q->lock);
    if (q->closed) rc = fail_closed();
    else if (q->count == q->cap) rc = om_fail(OM_ERR_AGAIN, "the queue is full");
    else put(q, item);
    pthread_mutex_unlock(&q->lock);
    return rc;
}

int om_queue_push(om_queue *q, void *item, int64_t deadline_ns)
{
    int rc = OM_OK;
    pthread_mutex_lock(&q->lock);
    while (!q->closed && q->count == q->cap && rc == OM_OK)
        rc = om_cond_wait_until(&q->not_full, &q->lock, deadline_ns);
    /* Room that came together with the time-out still counts. */
    if (q->closed) {
        rc = fail_closed();
    } else if (q->count < q->cap) {
        put(q, item);
        rc = OM_OK;
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

int om_queue_push_evict(om_queue *q, void *item, void **evicted)
{
    int rc = OM_OK;
    *evicted = NULL;
    pthread_mutex_lock(&q->lock);
    if (q->closed) {
        rc = fail_closed();
    } else {
        if (q->count == q->cap) *evicted = take(q);
        put(q, item);
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

int om_queue_try_pop(om_queue *q, void **item)
{
    int rc = OM_OK;
    *item = NULL;
    pthread_mutex_lock(&q->lock);
    if (q->count > 0) *item = take(q);
    else rc = q->closed ? fail_ended() : om_fail(OM_ERR_AGAIN, "the queue is empty");
    pthread_mutex_unlock(&q->lock);
    return rc;
}

int om_queue_pop(om_queue *q, void **item, int64_t deadline_ns)
{
    int rc = OM_OK;
    *item = NULL;
    pthread_mutex_lock(&q->lock);
    while (!q->closed && q->count == 0 && rc == OM_OK)
        rc = om_cond_wait_until(&q->not_empty, &q->lock, deadline_ns);
    if (q->count > 0) {
        *item = take(q);
        rc = OM_OK;
    } else if (q->closed) {
        rc = fail_ended();
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

size_t om_queue_count(om_queue *q)
{
    pthread_mutex_lock(&q->lock);
    size_t n = q->count;
    pthread_mutex_unlock(&q->lock);
    return n;
}

uint64_t om_queue_pushed(om_queue *q)
{
    pthread_mutex_lock(&q->lock);
    uint64_t n = q->pushed;
    pthread_mutex_unlock(&q->lock);
    return n;
}

uint64_t om_queue_taken(om_queue *q)
{
    pthread_mutex_lock(&q->lock);
    uint64_t n = q->taken;
    pthread_mutex_unlock(&q->lock);
    return n;
}

void om_queue_close(om_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->not_empty);
    pthread_cond_broadcast(&q->not_full);
    pthread_mutex_unlock(&q->lock);
}
