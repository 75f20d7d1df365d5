#include "device/ledger.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define BUCKETS 256

typedef struct entry {
    const void *at;
    size_t size;
    om_purpose purpose;
    struct entry *next;
} entry;

struct om_ledger {
    const om_device_ops *ops;
    int index, users; /* guarded by `opening` */
    om_ledger *next;
    pthread_mutex_t lock; /* guards what follows */
    om_device_memory m;
    /* What the driver held when the cap was set, which it never gives back. Later it is told too low while
     * memory is claimed that is not taken yet: decoders are made many at a time. */
    int64_t base;
    bool base_asked;         /* the next telling is it */
    entry *entries[BUCKETS]; /* by address */
};

static om_ledger *all;
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER; /* guards the list and `users` */

/* After so many more claims the next `fail_times` fail. */
static atomic_long fail_after = -1, fail_times;

static void count_peak(int64_t now, int64_t *peak)
{
    if (now > *peak) *peak = now;
}

void om_device_mem_fail_after(long n, long times)
{
    atomic_store(&fail_times, times);
    atomic_store(&fail_after, n);
}

__attribute__((constructor)) static void read_environment(void)
{
    const char *text = secure_getenv("OMMA_FAIL_DEVICE_ALLOC");
    char *end;
    if (!text) return;
    long n = strtol(text, &end, 10), times = *end == ':' ? strtol(end + 1, &end, 10) : 1;
    if (end != text && !*end) om_device_mem_fail_after(n, times);
}

static bool meets_fault(void)
{
    if (atomic_load_explicit(&fail_after, memory_order_relaxed) < 0) return false;
    if (atomic_fetch_sub(&fail_after, 1) > 0) return false;
    atomic_store(&fail_after, atomic_fetch_sub(&fail_times, 1) > 1 ? 0 : -1);
    return true;
}

om_ledger *om_ledger_open(const om_device_ops *ops, int index)
{
    pthread_mutex_lock(&opening);
    om_ledger *l = all;
    while (l && (l->ops != ops || l->index != index)) l = l->next;
    if (!l && (l = om_calloc(1, sizeof *l))) {
        l->ops = ops;
        l->index = index;
        l->m.driver = l->m.driver_peak = -1;
        pthread_mutex_init(&l->lock, NULL);
        l->next = all;
        all = l;
    }
    if (l) l->users++;
    pthread_mutex_unlock(&opening);
    return l;
}

void om_ledger_close(om_ledger *l)
{
    if (!l) return;
    pthread_mutex_lock(&opening);
    bool last = --l->users == 0;
    om_ledger **p = &all;
    while (last && *p != l) p = &(*p)->next;
    if (last) *p = l->next;
    pthread_mutex_unlock(&opening);
    if (!last) return;
    for (int i = 0; i < BUCKETS; i++)
        for (entry *e; (e = l->entries[i]);) {
            l->entries[i] = e->next;
            om_free(e);
        }
    pthread_mutex_destroy(&l->lock);
    om_free(l);
}

static double mb(int64_t bytes) { return (double)bytes / (1 << 20); }

/* The driver's own share counts only once it is told. */
static int64_t held(const om_ledger *l)
{
    return l->m.total + (l->m.driver > l->base ? l->m.driver : l->base);
}

int om_ledger_add(om_ledger *l, const char *id, om_purpose purpose, size_t size)
{
    int err = OM_OK;
    pthread_mutex_lock(&l->lock);
    om_device_memory *m = &l->m;
    int64_t after = size > INT64_MAX / 2 ? INT64_MAX : held(l) + (int64_t)size;
    if (meets_fault())
        err = om_fail(OM_ERR_NOMEM, "device %s: out of memory by OMMA_FAIL_DEVICE_ALLOC: %.1f MB for %s", id,
                      mb((int64_t)size), om_purpose_name(purpose));
    else if (m->cap > 0 && after > m->cap)
        err = om_fail(OM_ERR_NOMEM,
                      "device %s: %.1f MB for %s on top of %.1f MB is more than the cap of %.1f MB", id,
                      mb((int64_t)size), om_purpose_name(purpose), mb(held(l)), mb(m->cap));
    if (err) {
        m->refused++;
    } else {
        m->now[purpose] += (int64_t)size;
        m->total += (int64_t)size;
        count_peak(m->now[purpose], &m->peak[purpose]);
        count_peak(m->total, &m->total_peak);
    }
    pthread_mutex_unlock(&l->lock);
    return err;
}

static void sub(om_device_memory *m, om_purpose purpose, size_t size)
{
    m->now[purpose] -= (int64_t)size;
    m->total -= (int64_t)size;
}

void om_ledger_sub(om_ledger *l, om_purpose purpose, size_t size)
{
    pthread_mutex_lock(&l->lock);
    sub(&l->m, purpose, size);
    pthread_mutex_unlock(&l->lock);
}

/* Addresses are multiples of 256 or more on GPUs, of 64 on the host. */
static entry **chain_of(om_ledger *l, const void *at)
{
    uintptr_t v = (uintptr_t)at >> 6;
    return &l->entries[(v ^ (v >> 8) ^ (v >> 16)) % BUCKETS];
}

int om_ledger_note(om_ledger *l, const void *at, om_purpose purpose, size_t size)
{
    entry *e = om_alloc(sizeof *e);
    if (!e) return OM_ERR_NOMEM;
    *e = (entry){.at = at, .size = size, .purpose = purpose};
    pthread_mutex_lock(&l->lock);
    entry **chain = chain_of(l, at);
    e->next = *chain;
    *chain = e;
    pthread_mutex_unlock(&l->lock);
    return OM_OK;
}

void om_ledger_forget(om_ledger *l, const void *at)
{
    pthread_mutex_lock(&l->lock);
    entry **p = chain_of(l, at), *e;
    while (*p && (*p)->at != at) p = &(*p)->next;
    e = *p;
    if (e) {
        *p = e->next;
        sub(&l->m, e->purpose, e->size);
    }
    pthread_mutex_unlock(&l->lock);
    om_free(e);
}

void om_ledger_read(om_ledger *l, om_device_memory *out)
{
    pthread_mutex_lock(&l->lock);
    *out = l->m;
    pthread_mutex_unlock(&l->lock);
}

void om_ledger_cap(om_ledger *l, int64_t bytes)
{
    pthread_mutex_lock(&l->lock);
    l->m.cap = bytes;
    l->base = 0;
    l->base_asked = bytes > 0;
    pthread_mutex_unlock(&l->lock);
}

void om_ledger_told(om_ledger *l, int64_t process)
{
    if (process < 0) return;
    pthread_mutex_lock(&l->lock);
    om_device_memory *m = &l->m;
    m->driver = process > m->total ? process - m->total : 0;
    if (l->base_asked) l->base = m->driver;
    l->base_asked = false;
    count_peak(m->driver, &m->driver_peak);
    pthread_mutex_unlock(&l->lock);
}
