#include "eval/mot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "eval/mot_frames.h"

void om_mot_boxes_fini(om_mot_boxes *b)
{
    om_free(b->items);
    *b = (om_mot_boxes){0};
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Numbers the ids of all boxes in their order, and counts the boxes of each. */
static int number_ids(const om_mot_boxes *b, int **id_of, size_t **count, size_t *n_ids)
{
    int64_t *ids = om_calloc(b->n + 1, sizeof(*ids));
    *id_of = om_calloc(b->n + 1, sizeof(**id_of));
    *count = om_calloc(b->n + 1, sizeof(**count));
    if (!ids || !*id_of || !*count) {
        om_free(ids);
        return OM_ERR_NOMEM;
    }
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) ids[i] = b->items[i].id;
    qsort(ids, b->n, sizeof(*ids), by_number);
    for (size_t i = 0; i < b->n; i++)
        if (!i || ids[i] != ids[n - 1]) ids[n++] = ids[i];
    for (size_t i = 0; i < b->n; i++) {
        const int64_t *at = bsearch(&b->items[i].id, ids, n, sizeof(*ids), by_number);
        (*id_of)[i] = (int)(at - ids);
        (*count)[at - ids]++;
    }
    *n_ids = n;
    om_free(ids);
    return OM_OK;
}

static size_t same_frame(const om_mot_boxes *b, size_t from, int frame)
{
    size_t n = 0;
    while (from + n < b->n && b->items[from + n].frame == frame) n++;
    return n;
}

/* Frames that either has, in order. */
static int pair_frames(om_mot_pair *p, size_t *most_truth, size_t *most_result)
{
    p->frames = om_calloc(p->truth->n + p->result->n + 1, sizeof(*p->frames));
    if (!p->frames) return OM_ERR_NOMEM;
    for (size_t i = 0, k = 0; i < p->truth->n || k < p->result->n;) {
        int a = i < p->truth->n ? p->truth->items[i].frame : INT32_MAX;
        int b = k < p->result->n ? p->result->items[k].frame : INT32_MAX, frame = a < b ? a : b;
        om_mot_frame *f = &p->frames[p->n_frames++];
        *f = (om_mot_frame){i, same_frame(p->truth, i, frame), k, same_frame(p->result, k, frame)};
        i += f->n_truth;
        k += f->n_result;
        if (f->n_truth > *most_truth) *most_truth = f->n_truth;
        if (f->n_result > *most_result) *most_result = f->n_result;
    }
    return OM_OK;
}

int om_mot_pair_init(om_mot_pair *p, const om_mot_boxes *truth, const om_mot_boxes *result)
{
    size_t most_truth = 1, most_result = 1;
    *p = (om_mot_pair){.truth = truth, .result = result};
    int err = number_ids(truth, &p->truth_id, &p->truth_count, &p->n_truth_ids);
    if (!err) err = number_ids(result, &p->result_id, &p->result_count, &p->n_result_ids);
    if (!err) err = pair_frames(p, &most_truth, &most_result);
    if (err) return err;
    size_t rows = most_truth > p->n_truth_ids ? most_truth : p->n_truth_ids;
    size_t cols = most_result > p->n_result_ids ? most_result : p->n_result_ids;
    if (rows > 100000 || cols > 100000)
        return om_fail(OM_ERR_UNSUPPORTED, "%zu and %zu tracks are too many to compare", p->n_truth_ids,
                       p->n_result_ids);
    p->cost = om_calloc(rows * cols + 1, sizeof(*p->cost));
    p->iou = om_calloc(most_truth * most_result, sizeof(*p->iou));
    p->row_col = om_calloc(rows + 1, sizeof(*p->row_col));
    return p->cost && p->iou && p->row_col ? OM_OK : OM_ERR_NOMEM;
}

void om_mot_pair_fini(om_mot_pair *p)
{
    om_free(p->frames);
    om_free(p->truth_id);
    om_free(p->result_id);
    om_free(p->truth_count);
    om_free(p->result_count);
    om_free(p->cost);
    om_free(p->iou);
    om_free(p->row_col);
    om_assign_fini(&p->work);
    memset(p, 0, sizeof(*p));
}

static double iou(const om_mot_box *a, const om_mot_box *b)
{
    double w = fmin(a->x + a->w, b->x + b->w) - fmax(a->x, b->x);
    double h = fmin(a->y + a->h, b->y + b->h) - fmax(a->y, b->y);
    if (!(w > 0 && h > 0)) return 0;
    double both = w * h, either = a->w * a->h + b->w * b->h - both;
    return either > 0 ? both / either : 0; /* boxes so thin that they have no area */
}

void om_mot_pair_overlaps(om_mot_pair *p, const om_mot_frame *f)
{
    for (size_t i = 0; i < f->n_truth; i++)
        for (size_t k = 0; k < f->n_result; k++)
            p->iou[i * f->n_result + k] =
                iou(&p->truth->items[f->truth + i], &p->result->items[f->result + k]);
}

int om_mot_score(const om_mot_boxes *truth, const om_mot_boxes *result, double min_iou, om_mot_scores *out)
{
    om_mot_pair p;
    *out = (om_mot_scores){.objects = truth->n, .predictions = result->n};
    int err = om_mot_pair_init(&p, truth, result);
    out->frames = p.n_frames;
    out->truth_ids = p.n_truth_ids;
    out->result_ids = p.n_result_ids;
    if (!err) err = om_mot_clear(&p, min_iou, out);
    if (!err) err = om_mot_identity(&p, min_iou, out);
    if (!err) err = om_mot_hota(&p, out);
    om_mot_pair_fini(&p);
    return err;
}
