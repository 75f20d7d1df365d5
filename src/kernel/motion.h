/* How much a stream's picture has changed since the one looked at before: its luma on a coarse grid, compared
 * cell by cell. Cheap enough for every decoded picture. */
#ifndef OM_KERNEL_MOTION_H
#define OM_KERNEL_MOTION_H

#include "kernel/kernel.h"

typedef struct om_motion_level {
    bool fresh;    /* nothing to compare with: the first picture, or one of another size, format or range */
    float mean;    /* mean absolute difference of the cells, in levels of 0..255; 0 where fresh */
    float changed; /* share of cells that differ by more than the threshold; 1 where fresh */
} om_motion_level;

/* Zeroed is valid to fini. Thread-safety: one thread at a time. */
typedef struct om_motion {
    int columns, rows;        /* of the grid, less where a picture has fewer pixels */
    float threshold;          /* levels */
    uint16_t *cells, *before; /* levels times 256; `before` is valid where `known` */
    uint16_t *work;
    size_t work_cap; /* in elements */
    om_image like;   /* what `before` was made of; its planes are not read */
    bool known;
} om_motion;

/* A grid of 1..256 x 1..256 cells; 64 x 36 with a threshold of 8 levels suits most. OM_ERR_ARG, OM_ERR_NOMEM.
 */
int om_motion_init(om_motion *m, int columns, int rows, float threshold);
void om_motion_fini(om_motion *m);
/* Compares a host picture with the one before and keeps it in its place. OM_ERR_UNSUPPORTED for a picture
 * without a format, OM_ERR_NOMEM; then nothing is kept. */
int om_motion_update(om_motion *m, const om_image *img, om_motion_level *out);
/* The next picture is a first one. */
void om_motion_forget(om_motion *m);

#endif
