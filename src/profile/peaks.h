/* What a processor, or a GPU, and its memory can do at most: the roofs of the roofline. */
#ifndef OM_PROFILE_PEAKS_H
#define OM_PROFILE_PEAKS_H

#include <stdbool.h>

#include "device/device.h"

typedef struct om_peaks {
    char cpu[128];      /* or the GPU's name */
    int threads;        /* 0: a GPU's */
    double f32_gflops;  /* multiply and add count as two */
    double bf16_gflops; /* 0: no such instructions, or not measured; so all that follow */
    double f16_gflops, tf32_gflops;
    double int8_gops;
    double memory_gbs;                 /* a stream over arrays larger than the caches */
    double cache_gbs;                  /* the same within the last private cache; a GPU's: its last one */
    double to_device_gbs, to_host_gbs; /* of a GPU, with pinned memory */
} om_peaks;

/* Measures with `threads` threads for about a second, or takes what an earlier call has left in the user's
 * cache folder ($XDG_CACHE_HOME/omma, ~/.cache/omma) under this processor's name. A folder that cannot be
 * written is no failure. */
int om_peaks_get(int threads, bool fresh, om_peaks *out);
/* The same of a device of its own, kept under its name. OM_ERR_UNSUPPORTED: it cannot tell. */
int om_peaks_get_device(om_device *d, bool fresh, om_peaks *out);
/* The roof of a precision's name ("f32", "bf16", "f16", "int8"); that of f32 for those not known. */
double om_peaks_gflops(const om_peaks *p, const char *precision);

/* The file of this machine's processor, or NULL where there is no cache folder. om_free(). */
char *om_peaks_path(int threads);
/* The user's cache folder itself, made where it is missing and can be. om_free(); NULL: none is named. */
char *om_peaks_folder(void);

#endif
