/* Planes made smaller by the mean of what each new sample covers. Private to the room. */
#ifndef OM_DEVICE_SHRINK_H
#define OM_DEVICE_SHRINK_H

#include <stddef.h>
#include <stdint.h>

/* One sample in so many of a plane: those of one channel, 8 or 16 bits wide. */
typedef struct om_samples {
    const uint8_t *data; /* the channel's first */
    ptrdiff_t stride;    /* bytes from row to row */
    int width, height;   /* in samples of the channel */
    int channels;        /* that lie side by side */
    int bytes;           /* of a sample: 1 or 2 */
} om_samples;

/* Writes width x height means; a side may also grow, then samples repeat. `work` holds s->width floats. */
void om_samples_shrink(const om_samples *s, int width, int height, float *work, float *out);

#endif
