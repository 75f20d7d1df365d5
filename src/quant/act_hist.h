/* How the numbers of one tensor are spread: exact ends, and a histogram that widens as larger numbers come.
 * Memory is constant, whatever is added. Thread-safety: one thread. */
#ifndef OM_QUANT_ACT_HIST_H
#define OM_QUANT_ACT_HIST_H

#include <stddef.h>
#include <stdint.h>

#define OM_ACT_BINS 8192
#define OM_ACT_SAMPLES 131072 /* of one tensor and inference; larger ones are sampled evenly */

/* Zeroed is valid and empty. Bin i holds what lies in [(i - BINS/2) * width, (i + 1 - BINS/2) * width); exact
 * zeros are counted apart, since every grid has them without an error. */
typedef struct om_act_hist {
    double lo, hi; /* of all numbers, not only of those sampled */
    double width;  /* of a bin; 0: only zeros so far */
    uint64_t zeros, samples;
    uint64_t tensors;
    uint64_t bin[OM_ACT_BINS];
    double mass[OM_ACT_BINS]; /* the same, each number counted by how much an error in it matters */
} om_act_hist;

/* How much an error in each channel matters, 1 in the mean: number i is of channel i / inner % n. */
typedef struct om_act_matter {
    const float *of;
    size_t n, inner;
} om_act_matter;

/* OM_ERR_FORMAT without a message of its own where a number is not finite; nothing was added then. `m` NULL:
 * all matter alike. */
int om_act_hist_add(om_act_hist *h, const float *v, size_t n, const om_act_matter *m);
/* The middle of a bin. */
static inline double om_act_hist_center(const om_act_hist *h, int i)
{
    return ((double)i - OM_ACT_BINS / 2 + 0.5) * h->width;
}

#endif
