/* Threads, locks with time-outs, and a token that cancels sleeps. */
#ifndef OM_BASE_THREAD_H
#define OM_BASE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct om_thread {
    pthread_t id;
    bool started;
} om_thread;

/* Starts `fn(arg)` under a name of at most 15 characters; signals are blocked in the new thread.
 * A zeroed om_thread may be joined and is then a no-op. */
int om_thread_start(om_thread *t, const char *name, void *(*fn)(void *), void *arg);
void om_thread_join(om_thread *t);
/* Joins within `timeout_ms`; OM_ERR_TIMEOUT: the thread is detached and must never touch freed memory. */
int om_thread_join_timeout(om_thread *t, int timeout_ms);

/* Condition variables here run on CLOCK_MONOTONIC. */
int om_cond_init(pthread_cond_t *cond);
/* OM_OK when woken, OM_ERR_TIMEOUT at `deadline_ns` (om_now_ns() scale; INT64_MAX: none). */
int om_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ns);

/* A token that one side cancels and others poll or sleep on.
 * Thread-safety: all calls from any thread between init and fini. */
typedef struct om_cancel {
    atomic_bool cancelled;
    pthread_mutex_t lock; /* orders the wake-up with the sleepers */
    pthread_cond_t cond;
} om_cancel;

int om_cancel_init(om_cancel *c);
void om_cancel_fini(om_cancel *c);
void om_cancel_fire(om_cancel *c);
static inline bool om_cancelled(om_cancel *c)
{
    return c && atomic_load_explicit(&c->cancelled, memory_order_acquire);
}
/* Sleeps until the deadline: OM_OK, or OM_ERR_CANCELLED as soon as the token fires. NULL token: plain sleep.
 */
int om_cancel_sleep_until(om_cancel *c, int64_t deadline_ns);

#endif
