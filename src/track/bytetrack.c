/* ByteTrack (Zhang et al. 2022): tracks take strong boxes first, then what is left may explain itself by weak
 * ones. */
#include <math.h>

#include "base/error.h"
#include "track/registry.h"
#include "track/targets.h"

static const om_noise noise = {.position = 1.0f / 20, .velocity = 1.0f / 160, .measured = 1.0f / 20};

/* A weak box counts only near where it is expected. */
#define OM_WEAK_IOU 0.5f

static int byte_create(om_tracker *t)
{
    om_targets_clear(t->priv);
    return OM_OK;
}

static void byte_destroy(om_tracker *t) { om_targets_fini(t->priv); }
static void byte_reset(om_tracker *t) { om_targets_clear(t->priv); }

static void predict(om_targets *s, float steps)
{
    for (size_t i = 0; i < s->n; i++) {
        om_target *g = &s->items[i];
        if (g->lost > steps) g->motion.axis[2].v = g->motion.axis[3].v = 0; /* unseen, its size stays */
        om_kalman_predict(&g->motion, &noise, steps);
        g->expected = om_kalman_box(&g->motion);
    }
}

static void found(om_tracker *t, om_target *g, const om_track_box *b)
{
    (void)t;
    om_kalman_update(&g->motion, &noise, b->box);
}

static bool counts(const om_target *g) { return g->id >= 0; }
static bool is_new(const om_target *g) { return g->id < 0; }
static bool seen_lately(const om_target *g) { return g->id >= 0 && g->lost <= 10; }

static int byte_update(om_tracker *t, float steps, const om_track_box *boxes, int n, int64_t *ids)
{
    om_targets *s = t->priv;
    const om_track_params *p = &t->params;
    float match = (float)p->match, high = (float)p->high;
    om_match_rule rule = {.min_iou = match, .agnostic = p->agnostic};
    om_round strong = {.wants = counts, .score_from = high, .score_below = INFINITY, .rule = rule};
    om_round weak = {.wants = seen_lately, .score_from = (float)p->low, .score_below = high, .rule = rule};
    om_round fresh = {.wants = is_new, .score_from = high, .score_below = INFINITY, .rule = rule};
    weak.rule.min_iou = match > OM_WEAK_IOU ? match : OM_WEAK_IOU;
    int err = om_targets_begin(s, steps, n);
    if (err) return err;
    predict(s, steps);
    err = om_targets_round(s, t, &strong, boxes, n, ids, found);
    if (!err) err = om_targets_round(s, t, &weak, boxes, n, ids, found);
    if (!err) err = om_targets_rescue(s, t, boxes, n, ids, found);
    if (!err) err = om_targets_round(s, t, &fresh, boxes, n, ids, found);
    for (int i = 0; i < n && !err; i++) {
        if (s->used[i] || boxes[i].score < (float)p->start) continue;
        om_target *g = om_targets_add(s, t, &boxes[i]);
        if (!g) return OM_ERR_NOMEM;
        om_kalman_init(&g->motion, &noise, boxes[i].box);
        ids[i] = g->id;
    }
    if (!err) om_targets_expire(s, t, 0);
    return err;
}

const om_tracker_ops om_tracker_bytetrack = {
    .name = "bytetrack",
    .own = {.high = 0.25, .low = 0.1, .start = 0.25, .match = 0.2, .buffer = 30, .min_hits = 2},
    .priv_size = sizeof(om_targets),
    .create = byte_create,
    .destroy = byte_destroy,
    .reset = byte_reset,
    .update = byte_update,
};
