/* Where the tracks of one stream have been, for pictures that show it. */
#ifndef OM_SINK_TRAILS_H
#define OM_SINK_TRAILS_H

#include "frame/result.h"

/* Zeroed is valid and empty. Thread-safety: one thread. */
typedef struct om_trails {
    struct om_trail *items;
    size_t n, cap;
    uint64_t frames;
} om_trails;

void om_trails_fini(om_trails *t);
/* Notes where the frame's tracks are and forgets those not seen for long. OM_ERR_NOMEM: some are left out. */
int om_trails_add(om_trails *t, const om_dets *dets);
/* Draws the tails of the tracks that this frame shows. */
void om_trails_draw(const om_trails *t, const om_image *img);

#endif
