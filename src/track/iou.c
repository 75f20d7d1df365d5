/* The plainest tracker: a box belongs to the track whose last box it overlaps most. */
#include <math.h>

#include "base/error.h"
#include "track/registry.h"
#include "track/targets.h"

static int iou_create(om_tracker *t)
{
    om_targets_clear(t->priv);
    return OM_OK;
}

static void iou_destroy(om_tracker *t) { om_targets_fini(t->priv); }
static void iou_reset(om_tracker *t) { om_targets_clear(t->priv); }

static void found(om_tracker *t, om_target *g, const om_track_box *b)
{
    (void)t;
    g->expected = b->box;
}

static int iou_update(om_tracker *t, float steps, const om_track_box *boxes, int n, int64_t *ids)
{
    om_targets *s = t->priv;
    om_round all = {.score_from = (float)t->params.low,
                    .score_below = INFINITY,
                    .rule = {.min_iou = (float)t->params.match, .agnostic = t->params.agnostic}};
    int err = om_targets_begin(s, steps, n);
    if (!err) err = om_targets_round(s, t, &all, boxes, n, ids, found);
    if (!err) err = om_targets_rescue(s, t, boxes, n, ids, found);
    for (int i = 0; i < n && !err; i++) {
        if (s->used[i] || boxes[i].score < (float)t->params.start) continue;
        const om_target *g = om_targets_add(s, t, &boxes[i]);
        if (!g) return OM_ERR_NOMEM;
        ids[i] = g->id;
    }
    if (!err) om_targets_expire(s, t, 0);
    return err;
}

const om_tracker_ops om_tracker_iou = {
    .name = "iou",
    .own = {.high = 0.25, .low = 0.25, .start = 0.25, .match = 0.3, .buffer = 10, .min_hits = 2},
    .priv_size = sizeof(om_targets),
    .create = iou_create,
    .destroy = iou_destroy,
    .reset = iou_reset,
    .update = iou_update,
};
