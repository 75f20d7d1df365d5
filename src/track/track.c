#include "track/track.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "track/registry.h"

/* Beyond, floats no longer tell pixels apart well. */
#define OM_FARTHEST 1e6f
/* Where many frames are left out at once, motion says little. */
#define OM_FAR 3  /* times the usual distance: a gap */
#define OM_GAPS 8 /* so many of them in a row are the usual distance */
#define OM_MOST_STEPS 10.0

const om_tracker_ops *const *om_tracker_registry(void)
{
    static const om_tracker_ops *const all[] = {&om_tracker_iou, &om_tracker_bytetrack, &om_tracker_ocsort,
                                                NULL};
    return all;
}

const om_tracker_ops *om_tracker_ops_for(const char *name)
{
    const char *names[8];
    size_t n = 0;
    for (const om_tracker_ops *const *o = om_tracker_registry(); *o; o++) {
        if (!strcmp((*o)->name, name)) return *o;
        names[n++] = (*o)->name;
    }
    const char *near = om_suggest(name, names, n);
    if (near) om_fail(OM_ERR_ARG, "unknown tracker '%s'; did you mean '%s'?", name, near);
    else om_fail(OM_ERR_ARG, "unknown tracker '%s': expected iou, bytetrack, ocsort or none", name);
    return NULL;
}

void om_track_params_default(om_track_params *p)
{
    *p = (om_track_params){.high = -1, .low = -1, .start = -1, .match = -1, .buffer = -1, .min_hits = -1};
}

int om_track_params_resolve(const om_tracker_ops *ops, om_track_params *p)
{
    const om_track_params *own = &ops->own;
    bool open_low = p->low < 0, open_start = p->start < 0;
    if (p->high < 0) p->high = !open_low && p->low > own->high ? p->low : own->high;
    if (open_low) p->low = own->low < own->high && own->low < p->high ? own->low : p->high;
    if (open_start) p->start = own->start > p->high ? own->start : p->high;
    if (p->match < 0) p->match = own->match;
    if (p->buffer < 0) p->buffer = own->buffer;
    if (p->min_hits < 0) p->min_hits = own->min_hits;
    if (p->low > p->high)
        return om_fail(OM_ERR_ARG, "--track-low %g is above --track-high %g", p->low, p->high);
    if (p->start < p->low)
        return om_fail(OM_ERR_ARG, "--track-start %g is below --track-low %g", p->start, p->low);
    return OM_OK;
}

int om_tracker_create(const om_tracker_ops *ops, const om_track_params *params, om_tracker **out)
{
    *out = NULL;
    om_tracker *t = om_calloc(1, sizeof(*t));
    if (!t) return OM_ERR_NOMEM;
    t->ops = ops;
    t->params = *params;
    t->next_id = 1;
    int err = om_track_params_resolve(ops, &t->params);
    if (err) goto fail;
    err = OM_ERR_NOMEM;
    t->boxes = om_calloc(OM_TRACK_MAX_BOXES, sizeof(*t->boxes));
    t->ids = om_calloc(OM_TRACK_MAX_BOXES, sizeof(*t->ids));
    t->places = om_calloc(OM_TRACK_MAX_BOXES, sizeof(*t->places));
    t->priv = om_calloc(1, ops->priv_size);
    if (!t->boxes || !t->ids || !t->places || !t->priv) goto fail;
    err = ops->create ? ops->create(t) : OM_OK;
    if (err) goto fail;
    *out = t;
    return OM_OK;
fail:
    om_tracker_destroy(t);
    return err;
}

void om_tracker_destroy(om_tracker *t)
{
    if (!t) return;
    if (t->priv) t->ops->destroy(t);
    om_free(t->priv);
    om_free(t->boxes);
    om_free(t->ids);
    om_free(t->places);
    om_free(t);
}

void om_tracker_reset(om_tracker *t)
{
    t->begun = false;
    t->ops->reset(t);
}

/* The usual distance of frames after one of `apart`. A gap now and then, as of a scene that is looked at when
 * something moves, does not change it; many in a row do, and so does one that is much smaller. */
static double usual(om_tracker *t, double apart)
{
    bool gap = t->stride > 0 && apart > OM_FAR * t->stride, near = apart * OM_FAR < t->stride;
    t->gaps = gap ? t->gaps + 1 : 0;
    if (t->stride <= 0 || near || t->gaps >= OM_GAPS) return apart;
    return gap ? t->stride : t->stride + 0.02 * (apart - t->stride);
}

/* Frames since the last, by their numbers: 1 where every frame comes or every n-th does, more where some were
 * left out. */
static float steps_to(om_tracker *t, uint64_t seq, int width, int height)
{
    bool anew = !t->begun || seq <= t->last_seq || width != t->width || height != t->height;
    double apart = anew ? 0 : (double)(seq - t->last_seq);
    if (anew) {
        if (t->begun) om_tracker_reset(t);
        t->stride = 0;
        t->gaps = 0;
    } else {
        t->stride = usual(t, apart);
    }
    t->begun = true;
    t->last_seq = seq;
    t->width = width;
    t->height = height;
    return anew ? 1 : (float)fmin(apart / t->stride, OM_MOST_STEPS);
}

static bool usable(const om_detection *d, double low)
{
    return d->score >= (float)low && d->score <= 1e6f && fabsf(d->x) <= OM_FARTHEST &&
           fabsf(d->y) <= OM_FARTHEST && d->w > 0 && d->h > 0 && d->w <= OM_FARTHEST && d->h <= OM_FARTHEST;
}

typedef struct om_ranked {
    float score;
    int at;
} om_ranked;

static int by_score(const void *a, const void *b)
{
    const om_ranked *x = a, *y = b;
    return x->score != y->score ? (x->score > y->score ? -1 : 1) : x->at - y->at;
}

/* The usable boxes; where there are too many, the best of them. */
static int take_boxes(om_tracker *t, const om_dets *dets, int *n)
{
    int count = 0;
    for (size_t i = 0; i < dets->n; i++) count += usable(&dets->items[i], t->params.low);
    int kept = count < OM_TRACK_MAX_BOXES ? count : OM_TRACK_MAX_BOXES;
    om_ranked *ranked = NULL;
    if (count > kept && !(ranked = om_calloc((size_t)count, sizeof(*ranked)))) return OM_ERR_NOMEM;
    *n = 0;
    for (size_t i = 0; i < dets->n; i++) {
        if (!usable(&dets->items[i], t->params.low)) continue;
        if (ranked) ranked[(*n)++] = (om_ranked){dets->items[i].score, (int)i};
        else t->places[(*n)++] = (int)i;
    }
    if (ranked) {
        qsort(ranked, (size_t)count, sizeof(*ranked), by_score);
        for (int i = 0; i < kept; i++) t->places[i] = ranked[i].at;
        om_free(ranked);
    }
    *n = kept;
    for (int i = 0; i < kept; i++) {
        const om_detection *d = &dets->items[t->places[i]];
        t->boxes[i] = (om_track_box){{d->x, d->y, d->x + d->w, d->y + d->h}, d->score, d->class_id};
        t->ids[i] = -1;
    }
    return OM_OK;
}

int om_tracker_update(om_tracker *t, uint64_t seq, int width, int height, om_dets *dets)
{
    int n;
    int err = take_boxes(t, dets, &n);
    if (err) return err;
    float steps = steps_to(t, seq, width, height);
    err = t->ops->update(t, steps, t->boxes, n, t->ids);
    for (int i = 0; i < n && !err; i++) dets->items[t->places[i]].track = t->ids[i];
    return err;
}

void om_tracker_report(om_dets *dets, float conf)
{
    size_t kept = 0;
    for (size_t i = 0; i < dets->n; i++)
        if (dets->items[i].track >= 0 || dets->items[i].score > conf) dets->items[kept++] = dets->items[i];
    dets->n = kept;
}
