#include "sink/trails.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernel/draw.h"

#define OM_TAIL 32        /* places that a tail has */
#define OM_FORGET 300     /* frames after which a track that is gone is forgotten */
#define OM_TRAILS_MAX 512 /* tracks with tails */

typedef struct om_trail {
    int64_t track;
    uint64_t seen; /* the frame in which it was last */
    om_point places[OM_TAIL];
    int n; /* the latest is the last */
} om_trail;

void om_trails_fini(om_trails *t)
{
    om_free(t->items);
    *t = (om_trails){0};
}

static void forget(om_trails *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (t->items[i].seen + OM_FORGET < t->frames) continue;
        if (kept != i) t->items[kept] = t->items[i];
        kept++;
    }
    t->n = kept;
}

static om_trail *find(om_trails *t, int64_t track)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->items[i].track == track) return &t->items[i];
    if (t->n >= OM_TRAILS_MAX || om_grow((void **)&t->items, &t->cap, t->n + 1, sizeof(*t->items)))
        return NULL;
    om_trail *trail = &t->items[t->n++];
    memset(trail, 0, sizeof(*trail));
    trail->track = track;
    return trail;
}

int om_trails_add(om_trails *t, const om_dets *dets)
{
    int err = OM_OK;
    t->frames++;
    forget(t);
    for (size_t i = 0; i < dets->n; i++) {
        const om_detection *d = &dets->items[i];
        if (d->track < 0) continue;
        om_trail *trail = find(t, d->track);
        if (!trail) {
            if (t->n < OM_TRAILS_MAX) err = OM_ERR_NOMEM;
            continue;
        }
        if (trail->n == OM_TAIL)
            memmove(trail->places, trail->places + 1, (size_t)--trail->n * sizeof(*trail->places));
        trail->places[trail->n++] = (om_point){d->x + d->w / 2, d->y + d->h / 2};
        trail->seen = t->frames;
    }
    return err;
}

void om_trails_draw(const om_trails *t, const om_image *img)
{
    int line = img->height / 300 < 2 ? 2 : img->height / 300;
    for (size_t i = 0; i < t->n; i++) {
        const om_trail *trail = &t->items[i];
        if (trail->seen != t->frames || trail->n < 2) continue;
        om_draw_path(img, trail->places, trail->n, false, line, om_draw_palette(trail->track));
    }
}
