#include "track/targets.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define OM_RESCUE_FRAMES 10
#define OM_WITHIN 0.6f

void om_targets_fini(om_targets *s)
{
    om_matcher_fini(&s->matcher);
    om_free(s->items);
    om_free(s->rows);
    om_free(s->cols);
    om_free(s->row_col);
    om_free(s->used);
    memset(s, 0, sizeof(*s));
}

void om_targets_clear(om_targets *s)
{
    s->n = 0;
    s->first = true;
}

int om_targets_begin(om_targets *s, float steps, int n_boxes)
{
    size_t rows = s->n + 1, cols = (size_t)n_boxes + 1;
    int err = om_grow((void **)&s->rows, &s->cap_rows, rows, sizeof(*s->rows));
    if (!err) err = om_grow((void **)&s->cols, &s->cap_cols, cols, sizeof(*s->cols));
    if (!err) err = om_grow((void **)&s->row_col, &s->cap_row_col, rows, sizeof(*s->row_col));
    if (!err) err = om_grow((void **)&s->used, &s->cap_used, cols, sizeof(*s->used));
    if (err) return err;
    memset(s->used, 0, cols * sizeof(*s->used));
    s->n_boxes = n_boxes;
    for (size_t i = 0; i < s->n; i++) s->items[i].lost += steps;
    return OM_OK;
}

int om_targets_round(om_targets *s, om_tracker *t, const om_round *round, const om_track_box *boxes, int n,
                     int64_t *ids, om_found_fn found)
{
    int n_rows = 0, n_cols = 0;
    for (size_t i = 0; i < s->n; i++) {
        const om_target *g = &s->items[i];
        if (g->lost <= 0 || (round->wants && !round->wants(g))) continue;
        s->rows[n_rows++] = (om_match_item){round->by_last ? g->last : g->expected, g->class_id, (int)i};
    }
    for (int i = 0; i < n; i++) {
        bool fits = boxes[i].score >= round->score_from && boxes[i].score < round->score_below;
        if (fits && !s->used[i]) s->cols[n_cols++] = (om_match_item){boxes[i].box, boxes[i].class_id, i};
    }
    int err = om_match(&s->matcher, s->rows, n_rows, s->cols, n_cols, &round->rule, s->row_col);
    for (int i = 0; i < n_rows && !err; i++) {
        if (s->row_col[i] < 0) continue;
        om_target *g = &s->items[s->rows[i].index];
        int at = s->cols[s->row_col[i]].index;
        if (!round->partial) {
            found(t, g, &boxes[at]);
            g->last = boxes[at].box;
            g->class_id = boxes[at].class_id;
        }
        g->lost = 0;
        om_target_hit(t, g);
        s->used[at] = 1;
        ids[at] = g->id;
    }
    return err;
}

static bool counts_lately(const om_target *g) { return g->id >= 0 && g->lost <= OM_RESCUE_FRAMES; }

int om_targets_rescue(om_targets *s, om_tracker *t, const om_track_box *boxes, int n, int64_t *ids,
                      om_found_fn found)
{
    const om_track_params *p = &t->params;
    om_round r = {.wants = counts_lately,
                  .score_from = (float)p->high,
                  .score_below = INFINITY,
                  .by_last = true,
                  .rule = {.min_iou = (float)p->match, .agnostic = p->agnostic}};
    int err = om_targets_round(s, t, &r, boxes, n, ids, found);
    if (err) return err;
    r.by_last = false;
    r.rule.within = true;
    r.rule.min_iou = OM_WITHIN;
    r.partial = true;
    return om_targets_round(s, t, &r, boxes, n, ids, found);
}

void om_target_hit(om_tracker *t, om_target *g)
{
    if (g->id >= 0) return;
    if (++g->hits >= t->params.min_hits) g->id = t->next_id++;
}

/* Where there are too many, the one that was lost for longest makes room. */
static om_target *place_for(om_targets *s)
{
    if (s->n >= OM_TRACK_MAX_TRACKS) {
        size_t oldest = 0;
        for (size_t i = 1; i < s->n; i++)
            if (s->items[i].lost > s->items[oldest].lost) oldest = i;
        return &s->items[oldest];
    }
    if (om_grow((void **)&s->items, &s->cap, s->n + 1, sizeof(*s->items))) return NULL;
    return &s->items[s->n++];
}

om_target *om_targets_add(om_targets *s, om_tracker *t, const om_track_box *b)
{
    om_target *g = place_for(s);
    if (!g) return NULL;
    *g = (om_target){.expected = b->box, .last = b->box, .class_id = b->class_id, .id = -1};
    if (s->first) g->hits = t->params.min_hits;
    om_target_hit(t, g);
    return g;
}

void om_targets_expire(om_targets *s, const om_tracker *t, float patience)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++) {
        const om_target *g = &s->items[i];
        if (g->lost > (g->id >= 0 ? (float)t->params.buffer : patience)) continue;
        if (kept != i) s->items[kept] = *g;
        kept++;
    }
    s->n = kept;
    s->first = false;
}
