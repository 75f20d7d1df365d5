/* An atomic reference count to embed. */
#ifndef OM_BASE_REF_H
#define OM_BASE_REF_H

#include <stdatomic.h>
#include <stdbool.h>

typedef struct om_ref {
    atomic_int count;
} om_ref;

static inline void om_ref_init(om_ref *r) { atomic_init(&r->count, 1); }
static inline void om_ref_inc(om_ref *r) { atomic_fetch_add_explicit(&r->count, 1, memory_order_relaxed); }
/* True when this was the last reference: the caller now destroys the object. */
static inline bool om_ref_dec(om_ref *r)
{
    if (atomic_fetch_sub_explicit(&r->count, 1, memory_order_acq_rel) == 1) return true;
    return false;
}

#endif
