#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"

typedef struct thread_start {
    void *(*fn)(void *);
    void *arg;
    char name[16];
} thread_start;

static void *thread_main(void *p)
{
    thread_start start = *(thread_start *)p;
    om_free(p);
    pthread_setname_np(pthread_self(), start.name);
    return start.fn(start.arg);
}

/* Everything but the faults, which belong to the thread that causes them, and the profiler's tick. */
static void signals_to_block(sigset_t *set)
{
    static const int keep[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF};
    sigfillset(set);
    for (size_t i = 0; i < sizeof keep / sizeof keep[0]; i++) sigdelset(set, keep[i]);
}

int om_thread_start(om_thread *t, const char *name, void *(*fn)(void *), void *arg)
{
    t->started = false;
    thread_start *start = om_alloc(sizeof *start);
    if (!start) return om_fail_nomem("a thread");
    start->fn = fn;
    start->arg = arg;
    snprintf(start->name, sizeof start->name, "%s", name);

    sigset_t block, old;
    signals_to_block(&block);
    pthread_sigmask(SIG_BLOCK, &block, &old);
    int rc = pthread_create(&t->id, NULL, thread_main, start);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        om_free(start);
        return om_fail(rc == ENOMEM ? OM_ERR_NOMEM : OM_ERR_IO, "cannot start thread '%s': %s", name,
                       strerror(rc));
    }
    t->started = true;
    return OM_OK;
}

void om_thread_join(om_thread *t)
{
    if (!t || !t->started) return;
    pthread_join(t->id, NULL);
    t->started = false;
}

int om_thread_join_timeout(om_thread *t, int timeout_ms)
{
    if (!t || !t->started) return OM_OK;
    /* Polled, because the timed join runs on the wall clock, which may jump. */
    int64_t deadline = om_now_ns() + timeout_ms * OM_NS_PER_MS, pause = OM_NS_PER_MS / 10;
    t->started = false;
    while (pthread_tryjoin_np(t->id, NULL) == EBUSY) {
        int64_t now = om_now_ns();
        if (now >= deadline) {
            pthread_detach(t->id);
            return om_fail(OM_ERR_TIMEOUT, "a thread did not end within %d ms", timeout_ms);
        }
        om_cancel_sleep_until(NULL, deadline - now < pause ? deadline : now + pause);
        if (pause < 5 * OM_NS_PER_MS) pause *= 2;
    }
    return OM_OK;
}

static struct timespec timespec_of(int64_t ns)
{
    if (ns < 0) ns = 0;
    return (struct timespec){.tv_sec = ns / OM_NS_PER_SEC, .tv_nsec = ns % OM_NS_PER_SEC};
}

int om_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);
    if (rc == 0) {
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        rc = pthread_cond_init(cond, &attr);
        pthread_condattr_destroy(&attr);
    }
    return rc == 0 ? OM_OK : om_fail(OM_ERR_NOMEM, "cannot make a condition variable: %s", strerror(rc));
}

int om_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ns)
{
    if (deadline_ns == OM_NEVER) {
        pthread_cond_wait(cond, lock);
        return OM_OK;
    }
    struct timespec t = timespec_of(deadline_ns);
    if (pthread_cond_timedwait(cond, lock, &t) == ETIMEDOUT) return om_fail(OM_ERR_TIMEOUT, "timed out");
    return OM_OK;
}

int om_cancel_init(om_cancel *c)
{
    atomic_init(&c->cancelled, false);
    pthread_mutex_init(&c->lock, NULL);
    return om_cond_init(&c->cond);
}

void om_cancel_fini(om_cancel *c)
{
    if (!c) return;
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->lock);
}

void om_cancel_fire(om_cancel *c)
{
    pthread_mutex_lock(&c->lock);
    atomic_store_explicit(&c->cancelled, true, memory_order_release);
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->lock);
}

int om_cancel_sleep_until(om_cancel *c, int64_t deadline_ns)
{
    if (!c) {
        struct timespec t = timespec_of(deadline_ns);
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) continue;
        return OM_OK;
    }
    pthread_mutex_lock(&c->lock);
    while (!om_cancelled(c) && om_now_ns() < deadline_ns) om_cond_wait_until(&c->cond, &c->lock, deadline_ns);
    pthread_mutex_unlock(&c->lock);
    return om_cancelled(c) ? om_fail(OM_ERR_CANCELLED, "cancelled") : OM_OK;
}
