/* Inside the room: numbers that follow from a seed, the same on every machine. */
#ifndef OM_TRAIN_RANDOM_H
#define OM_TRAIN_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct om_random {
    uint64_t state;
} om_random;

/* SplitMix64. */
static inline uint64_t om_random_next(om_random *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 .. n-1 */
static inline size_t om_random_below(om_random *r, size_t n)
{
    return (size_t)(((__uint128_t)om_random_next(r) * n) >> 64);
}

/* -bound .. bound */
static inline float om_random_within(om_random *r, double bound)
{
    return (float)(((double)(om_random_next(r) >> 11) / 4503599627370496.0 - 1) * bound);
}

/* Fisher and Yates. */
static inline void om_random_shuffle(om_random *r, uint32_t *v, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t k = om_random_below(r, i);
        uint32_t t = v[i - 1];
        v[i - 1] = v[k];
        v[k] = t;
    }
}

#endif
