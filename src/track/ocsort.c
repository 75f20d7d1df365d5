/* OC-SORT (Cao et al. 2023): trusts boxes more than the filter. A pair that keeps the track's direction is
 * worth more; a track found again has its filter led along the straight way between its boxes; what is left
 * may match by the last box. */
#include <math.h>

#include "base/error.h"
#include "track/registry.h"
#include "track/targets.h"

static const om_noise noise = {.position = 1.0f / 20, .velocity = 1.0f / 160, .measured = 1.0f / 20};

#define OM_INERTIA 0.2f /* what a kept direction is worth, against IoU */
#define OM_LOOK_BACK 3  /* frames over which a direction is taken */

typedef struct om_ocsort {
    om_targets targets;
    double now;                /* in frames */
    const om_track_box *boxes; /* of the running update */
} om_ocsort;

static int oc_create(om_tracker *t)
{
    om_ocsort *o = t->priv;
    om_targets_clear(&o->targets);
    return OM_OK;
}

static void oc_destroy(om_tracker *t)
{
    om_ocsort *o = t->priv;
    om_targets_fini(&o->targets);
}

static void oc_reset(om_tracker *t)
{
    om_ocsort *o = t->priv;
    om_targets_clear(&o->targets);
}

/* The box of OM_LOOK_BACK frames ago, or the next younger one; the oldest that is remembered where all are
 * older. */
static om_box earlier_box(const om_target *g, double now)
{
    int n = g->n_past < OM_PAST ? g->n_past : OM_PAST;
    for (int i = n; i > 0; i--) {
        int at = (g->n_past - i) % OM_PAST;
        if (g->past_at[at] >= now - OM_LOOK_BACK) return g->past[at];
    }
    return g->last;
}

static void remember(om_target *g, om_box box, double now)
{
    g->past[g->n_past % OM_PAST] = box;
    g->past_at[g->n_past % OM_PAST] = now;
    if (++g->n_past >= 2 * OM_PAST) g->n_past -= OM_PAST;
}

/* From the middle of `a` to that of `b`, of length 1; (0, 0) where they are the same. */
static void direction(om_box a, om_box b, float *x, float *y)
{
    float dx = b.x0 + b.x1 - a.x0 - a.x1, dy = b.y0 + b.y1 - a.y0 - a.y1, len = sqrtf(dx * dx + dy * dy);
    *x = len > 1e-3f ? dx / len : 0;
    *y = len > 1e-3f ? dy / len : 0;
}

/* IoU, and up to OM_INERTIA / 2 more or less by how well the track would keep its direction. */
static float worth(const void *user, int row, int col, float iou)
{
    const om_ocsort *o = user;
    const om_target *g = &o->targets.items[row];
    const om_track_box *b = &o->boxes[col];
    float x, y;
    if (g->way_x == 0 && g->way_y == 0) return iou;
    direction(earlier_box(g, o->now), b->box, &x, &y);
    float cosine = fminf(fmaxf(x * g->way_x + y * g->way_y, -1), 1);
    float kept = (float)(0.5 - (double)acosf(cosine) / M_PI);
    return fmaxf(iou + OM_INERTIA * kept * fminf(b->score, 1), 1e-3f);
}

static om_box between(om_box a, om_box b, float part)
{
    return (om_box){a.x0 + part * (b.x0 - a.x0), a.y0 + part * (b.y0 - a.y0), a.x1 + part * (b.x1 - a.x1),
                    a.y1 + part * (b.y1 - a.y1)};
}

/* Leads the filter from where it was last sure along the straight way to the new box, up to the step before
 * it. */
static void retrace(om_target *g, om_box to)
{
    int steps = (int)(g->lost + 0.5f);
    g->motion = g->frozen;
    for (int i = 1; i <= steps; i++) {
        om_kalman_predict(&g->motion, &noise, g->lost / (float)steps);
        if (i < steps) om_kalman_update(&g->motion, &noise, between(g->last, to, (float)i / (float)steps));
    }
}

static void found(om_tracker *t, om_target *g, const om_track_box *b)
{
    om_ocsort *o = t->priv;
    direction(earlier_box(g, o->now), b->box, &g->way_x, &g->way_y);
    if (g->lost > 1.5f) retrace(g, b->box);
    om_kalman_update(&g->motion, &noise, b->box);
    g->frozen = g->motion;
    remember(g, b->box, o->now);
}

static void predict(om_targets *s, float steps)
{
    for (size_t i = 0; i < s->n; i++) {
        om_target *g = &s->items[i];
        om_kalman_predict(&g->motion, &noise, steps);
        g->expected = om_kalman_box(&g->motion);
    }
}

static int add(om_tracker *t, const om_track_box *b, int64_t *id)
{
    om_ocsort *o = t->priv;
    om_target *g = om_targets_add(&o->targets, t, b);
    if (!g) return OM_ERR_NOMEM;
    om_kalman_init(&g->motion, &noise, b->box);
    g->frozen = g->motion;
    remember(g, b->box, o->now);
    *id = g->id;
    return OM_OK;
}

static int oc_update(om_tracker *t, float steps, const om_track_box *boxes, int n, int64_t *ids)
{
    om_ocsort *o = t->priv;
    om_targets *s = &o->targets;
    const om_track_params *p = &t->params;
    float match = (float)p->match, high = (float)p->high;
    om_match_rule rule = {.min_iou = match, .agnostic = p->agnostic, .worth = worth, .user = o};
    om_round by_motion = {.score_from = high, .score_below = INFINITY, .rule = rule};
    om_round weak = {.score_from = (float)p->low, .score_below = high, .rule = rule};
    om_round by_last = {.score_from = high, .score_below = INFINITY, .by_last = true, .rule = rule};
    by_last.rule.worth = weak.rule.worth = NULL;
    o->now += (double)steps;
    o->boxes = boxes;
    int err = om_targets_begin(s, steps, n);
    if (err) return err;
    predict(s, steps);
    err = om_targets_round(s, t, &by_motion, boxes, n, ids, found);
    if (!err && p->low < p->high) err = om_targets_round(s, t, &weak, boxes, n, ids, found);
    if (!err) err = om_targets_rescue(s, t, boxes, n, ids, found);
    if (!err) err = om_targets_round(s, t, &by_last, boxes, n, ids, found);
    for (int i = 0; i < n && !err; i++)
        if (!s->used[i] && boxes[i].score >= (float)p->start) err = add(t, &boxes[i], &ids[i]);
    if (!err) om_targets_expire(s, t, 1);
    return err;
}

const om_tracker_ops om_tracker_ocsort = {
    .name = "ocsort",
    .own = {.high = 0.25, .low = 0.25, .start = 0.25, .match = 0.3, .buffer = 30, .min_hits = 3},
    .priv_size = sizeof(om_ocsort),
    .create = oc_create,
    .destroy = oc_destroy,
    .reset = oc_reset,
    .update = oc_update,
};
