/* The inside of a gallery. Private to the room. */
#ifndef OM_GALLERY_GALLERY_PRIV_H
#define OM_GALLERY_GALLERY_PRIV_H

#include "gallery/gallery.h"

#define LANES 16

struct om_gallery {
    size_t dim, stride; /* a vector lies in `stride` numbers, zeros behind it */
    uint64_t model;
    size_t n;
    char **names; /* owned */
    float *vectors;
    size_t cap_names, cap_vectors;
};

/* Room for `n` entries. */
int om_gallery_room(om_gallery *g, size_t n);

#endif
