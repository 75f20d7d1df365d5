/* The planes of a video picture as JPEG wants them. */
#ifndef OM_WORKER_JFIF_H
#define OM_WORKER_JFIF_H

#include <stddef.h>

#include "frame/frame.h"

/* Zeroed is valid and empty; the memory stays from picture to picture. Thread-safety: one thread. */
typedef struct om_jfif {
    const uint8_t *plane[3]; /* full range, BT.601: the picture's own, or in `memory` */
    int stride[3];
    int planes, shift_x, shift_y; /* of the chroma; planes 1: gray */
    uint8_t *memory;              /* owned */
    size_t cap;
} om_jfif;

/* Whether om_jfif_convert() knows the format: 8-bit YUV and gray. */
bool om_jfif_knows(om_pixfmt fmt);
/* Within one level of exact arithmetic. Sides that the chroma's steps do not divide grow by repeating the
 * last column or row. `img` must live as long as the planes are read. */
int om_jfif_convert(om_jfif *j, const om_image *img);
void om_jfif_fini(om_jfif *j);

#endif
