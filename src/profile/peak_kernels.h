/* Loops that keep one unit of a core as busy as it gets. */
#ifndef OM_PROFILE_PEAK_KERNELS_H
#define OM_PROFILE_PEAK_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct om_peak_kernel {
    double ops;                /* of one round */
    float (*run)(long rounds); /* the result only keeps the loop alive */
} om_peak_kernel;

/* The best this processor has; ops 0: none. `flags` as of om_cpu_flags(). */
om_peak_kernel om_peak_f32(uint32_t flags);
om_peak_kernel om_peak_bf16(uint32_t flags);
om_peak_kernel om_peak_int8(uint32_t flags);
/* a[i] = b[i] + s * c[i]: 12 bytes an element. */
void om_peak_triad(float *a, const float *b, const float *c, float s, size_t n);

#endif
