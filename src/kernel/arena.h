/* One block of memory handed out in aligned pieces: the same calls first count its size, then take from it.
 */
#ifndef OM_KERNEL_ARENA_H
#define OM_KERNEL_ARENA_H

#include <stddef.h>
#include <stdint.h>

#define OM_ARENA_ALIGN 64

typedef struct om_arena {
    uint8_t *base; /* NULL while counting */
    size_t used;
} om_arena;

/* NULL while counting. */
static inline void *om_arena_take(om_arena *a, size_t count, size_t size)
{
    void *p = a->base ? a->base + a->used : NULL;
    a->used += (count * size + OM_ARENA_ALIGN - 1) & ~(size_t)(OM_ARENA_ALIGN - 1);
    return p;
}

#endif
