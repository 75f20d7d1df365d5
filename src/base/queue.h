/* A bounded queue of pointers between threads.
 * Thread-safety: push and pop from any thread between init and fini. The queue never owns what it carries. */
#ifndef OM_BASE_QUEUE_H
#define OM_BASE_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct om_queue {
    void **slots;
    size_t cap, head, count; /* guarded by lock */
    uint64_t pushed, taken;  /* in its whole life; guarded by lock */
    bool closed;             /* guarded by lock */
    pthread_mutex_t lock;
    pthread_cond_t not_empty, not_full;
} om_queue;

int om_queue_init(om_queue *q, size_t cap);
void om_queue_fini(om_queue *q); /* zeroed: no-op */

/* OM_OK; OM_ERR_AGAIN when full (try); OM_ERR_TIMEOUT; OM_ERR_CANCELLED when closed. */
int om_queue_try_push(om_queue *q, void *item);
int om_queue_push(om_queue *q, void *item, int64_t deadline_ns);
/* Pushes; when full, takes the oldest out into *evicted (else NULL). */
int om_queue_push_evict(om_queue *q, void *item, void **evicted);
/* OM_OK; OM_ERR_AGAIN (try); OM_ERR_TIMEOUT; OM_ERR_EOF when closed and empty. */
int om_queue_try_pop(om_queue *q, void **item);
int om_queue_pop(om_queue *q, void **item, int64_t deadline_ns);
size_t om_queue_count(om_queue *q);
/* How many items were ever put in, and taken out (by pops and evictions). */
uint64_t om_queue_pushed(om_queue *q);
uint64_t om_queue_taken(om_queue *q);
/* No more pushes; pops drain what is left, then OM_ERR_EOF. */
void om_queue_close(om_queue *q);

#endif
