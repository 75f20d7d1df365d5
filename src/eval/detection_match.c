/* Which found box stands for which object: COCOeval.evaluateImg() and what it calls. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "eval/detection_priv.h"

void om_match_work_fini(om_match_work *w)
{
    om_free(w->iou);
    om_free(w->order);
    om_free(w->taken);
    *w = (om_match_work){0};
}

double om_eval_threshold(int t)
{
    /* As numpy.linspace(0.5, 0.95, 10) makes them: an overlap may be equal to one to the last bit. */
    static const double step = (0.95 - 0.5) / 9;
    return t == OM_EVAL_THRESHOLDS - 1 ? 0.95 : t * step + 0.5;
}

bool om_eval_in_area(int area, double size)
{
    static const double range[OM_EVAL_AREAS][2] = {{0, 1e10}, {0, 1024}, {1024, 9216}, {9216, 1e10}};
    return !(size < range[area][0] || size > range[area][1]);
}

double om_eval_iou(const om_eval_box *found, const om_eval_box *truth, bool crowd)
{
    double w = fmin(found->w + found->x, truth->w + truth->x) - fmax(found->x, truth->x);
    if (w <= 0) return 0;
    double h = fmin(found->h + found->y, truth->h + truth->y) - fmax(found->y, truth->y);
    if (h <= 0) return 0;
    double own = found->w * found->h, both = w * h;
    return both / (crowd ? own : own + truth->w * truth->h - both);
}

static int reserve(om_match_work *w, size_t n_truth, size_t n_found)
{
    void *iou = w->iou, *order = w->order, *taken = w->taken;
    int err = om_grow(&iou, &w->cap_iou, n_truth * n_found, sizeof *w->iou);
    if (!err) err = om_grow(&order, &w->cap_order, n_truth, sizeof *w->order);
    if (!err) err = om_grow(&taken, &w->cap_taken, n_truth, sizeof *w->taken);
    w->iou = iou;
    w->order = order;
    w->taken = taken;
    return err;
}

static bool is_outside(const om_eval_box *truth, int area)
{
    return truth->crowd || !om_eval_in_area(area, truth->area);
}

/* Objects that count first, each part in its order. Returns how many count. */
static size_t put_in_order(om_match_work *w, const om_eval_box *truth, const size_t *index, size_t n,
                           int area)
{
    size_t k = 0, counted;
    for (size_t i = 0; i < n; i++)
        if (!is_outside(&truth[index[i]], area)) w->order[k++] = i;
    counted = k;
    for (size_t i = 0; i < n; i++)
        if (is_outside(&truth[index[i]], area)) w->order[k++] = i;
    return counted;
}

/* The place in w->order of what a box stands for at this overlap, or n. `iou`: the box's row. */
static size_t choose(const om_match_work *w, const om_eval_box *truth, const size_t *index, size_t n,
                     size_t counted, const double *iou, double least)
{
    size_t best = n;
    for (size_t k = 0; k < n; k++) {
        size_t i = w->order[k];
        if (w->taken[i] && !truth[index[i]].crowd) continue;
        /* Whoever has found an object that counts takes none that does not. */
        if (best < counted && k >= counted) break;
        if (iou[i] < least) continue;
        least = iou[i];
        best = k;
    }
    return best;
}

static void match_at(om_match_work *w, const om_eval_box *truth, const size_t *truth_index, size_t n_truth,
                     size_t counted, const om_eval_box *found, const size_t *found_index, size_t n_found,
                     int area, int t, om_judged *judged)
{
    uint16_t bit = (uint16_t)(1u << t);
    if (n_truth) memset(w->taken, 0, n_truth);
    for (size_t d = 0; d < n_found; d++) {
        const om_eval_box *box = &found[found_index[d]];
        double least = fmin(om_eval_threshold(t), 1 - 1e-10);
        size_t k = choose(w, truth, truth_index, n_truth, counted, w->iou + d * n_truth, least);
        bool matched = false;
        if (k < n_truth) {
            size_t i = w->order[k];
            w->taken[i] = 1;
            matched = !truth[truth_index[i]].mute;
            if (k >= counted) judged[d].mute[area] |= bit;
        }
        if (matched) judged[d].hit[area] |= bit;
        else if (!om_eval_in_area(area, box->w * box->h)) judged[d].mute[area] |= bit;
    }
}

int om_eval_match(om_match_work *w, const om_eval_box *truth, const size_t *truth_order, size_t n_truth,
                  const om_eval_box *found, const size_t *found_order, size_t n_found, int areas,
                  om_judged *judged)
{
    int err = reserve(w, n_truth, n_found);
    if (err) return err;
    for (size_t d = 0; d < n_found; d++)
        for (size_t i = 0; i < n_truth; i++)
            w->iou[d * n_truth + i] =
                om_eval_iou(&found[found_order[d]], &truth[truth_order[i]], truth[truth_order[i]].crowd);
    for (int area = 0; area < areas; area++) {
        size_t counted = put_in_order(w, truth, truth_order, n_truth, area);
        for (int t = 0; t < OM_EVAL_THRESHOLDS; t++)
            match_at(w, truth, truth_order, n_truth, counted, found, found_order, n_found, area, t, judged);
    }
    return OM_OK;
}
