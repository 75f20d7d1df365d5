#include "base/crew.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/thread.h"

struct om_crew {
    pthread_mutex_t taken; /* held by whoever runs */
    pthread_mutex_t lock;  /* guards what follows, but for `next` */
    pthread_cond_t offered, left;
    void (*fn)(void *arg, size_t i);
    void *arg;
    size_t n;
    unsigned round; /* of the loop that is offered, or was last */
    int at_work;
    bool open, closing;
    atomic_size_t next;
    int n_threads;
    om_thread threads[];
};

static void work(om_crew *c, void (*fn)(void *arg, size_t i), void *arg, size_t n)
{
    for (size_t i; (i = atomic_fetch_add_explicit(&c->next, 1, memory_order_relaxed)) < n;) fn(arg, i);
}

/* Whoever wakes up too late finds the loop closed, and nobody has waited for him. */
static void *help(void *user)
{
    om_crew *c = user;
    unsigned seen = 0;
    pthread_mutex_lock(&c->lock);
    while (!c->closing) {
        if (!c->open || c->round == seen) {
            pthread_cond_wait(&c->offered, &c->lock);
            continue;
        }
        void (*fn)(void *arg, size_t i) = c->fn;
        void *arg = c->arg;
        size_t n = c->n;
        seen = c->round;
        c->at_work++;
        pthread_mutex_unlock(&c->lock);
        work(c, fn, arg, n);
        pthread_mutex_lock(&c->lock);
        if (!--c->at_work) pthread_cond_signal(&c->left);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

int om_crew_create(const char *name, int helpers, om_crew **out)
{
    *out = NULL;
    om_crew *c = om_calloc(1, sizeof *c + (size_t)helpers * sizeof *c->threads);
    if (!c) return om_fail_nomem("a crew");
    pthread_mutex_init(&c->taken, NULL);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->offered, NULL);
    pthread_cond_init(&c->left, NULL);
    int err = OM_OK;
    for (; c->n_threads < helpers && !err; c->n_threads += !err)
        err = om_thread_start(&c->threads[c->n_threads], name, help, c);
    if (err) om_crew_destroy(c);
    else *out = c;
    return err;
}

void om_crew_destroy(om_crew *c)
{
    if (!c) return;
    pthread_mutex_lock(&c->lock);
    c->closing = true;
    pthread_cond_broadcast(&c->offered);
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < c->n_threads; i++) om_thread_join(&c->threads[i]);
    pthread_cond_destroy(&c->left);
    pthread_cond_destroy(&c->offered);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->taken);
    om_free(c);
}

static void offer(om_crew *c, void (*fn)(void *arg, size_t i), void *arg, size_t n)
{
    pthread_mutex_lock(&c->lock);
    c->fn = fn;
    c->arg = arg;
    c->n = n;
    c->round++;
    c->open = true;
    atomic_store_explicit(&c->next, 0, memory_order_relaxed);
    pthread_cond_broadcast(&c->offered);
    pthread_mutex_unlock(&c->lock);
}

void om_crew_run(om_crew *c, void (*fn)(void *arg, size_t i), void *arg, size_t n)
{
    if (!c || n < 2 || pthread_mutex_trylock(&c->taken)) {
        for (size_t i = 0; i < n; i++) fn(arg, i);
        return;
    }
    offer(c, fn, arg, n);
    work(c, fn, arg, n);
    pthread_mutex_lock(&c->lock);
    c->open = false;
    while (c->at_work) pthread_cond_wait(&c->left, &c->lock);
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&c->taken);
}
