#include "eval/detection.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "eval/detection_run.h"

int om_eval_boxes_add(om_eval_boxes *b, const om_eval_box *box)
{
    void *items = b->items;
    int err = om_grow(&items, &b->cap, b->n + 1, sizeof *b->items);
    b->items = items;
    if (!err) b->items[b->n++] = *box;
    return err;
}

int om_eval_boxes_add_dets(om_eval_boxes *b, int image, const om_dets *d)
{
    int err = OM_OK;
    for (size_t i = 0; i < d->n && !err; i++) {
        const om_detection *o = &d->items[i];
        double w = (double)o->w, h = (double)o->h;
        om_eval_box box = {.image = image,
                           .class_id = o->class_id,
                           .x = (double)o->x,
                           .y = (double)o->y,
                           .w = w,
                           .h = h,
                           .score = (double)o->score,
                           .area = w * h};
        err = om_eval_boxes_add(b, &box);
    }
    return err;
}

void om_eval_boxes_fini(om_eval_boxes *b)
{
    om_free(b->items);
    *b = (om_eval_boxes){0};
}

static int check(const om_eval_boxes *b, bool scores)
{
    for (size_t i = 0; i < b->n; i++) {
        const om_eval_box *v = &b->items[i];
        const double all[] = {v->x, v->y, v->w, v->h, scores ? v->score : v->area};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            if (!isfinite(all[k]))
                return om_fail(OM_ERR_ARG, "%s %zu has a number that is not finite",
                               scores ? "found box" : "true box", i);
    }
    return OM_OK;
}

typedef struct keyed {
    int class_id, image;
    double score;
    size_t index;
} keyed;

/* By class, then picture, then falling score, then place in the list. */
static int by_key(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    if (x->class_id != y->class_id) return x->class_id < y->class_id ? -1 : 1;
    if (x->image != y->image) return x->image < y->image ? -1 : 1;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

int om_eval_sort(const om_eval_boxes *b, int n_images, int n_classes, bool scores, om_eval_sorted *out)
{
    *out = (om_eval_sorted){.list = b};
    keyed *keys = om_alloc(b->n * sizeof *keys);
    out->order = om_alloc(b->n * sizeof *out->order);
    if (!keys || !out->order) {
        om_free(keys);
        return OM_ERR_NOMEM;
    }
    for (size_t i = 0; i < b->n; i++) {
        const om_eval_box *v = &b->items[i];
        if (v->image < 0 || v->image >= n_images || v->class_id < 0 || v->class_id >= n_classes) continue;
        keys[out->n++] = (keyed){v->class_id, v->image, scores ? v->score : 0, i};
    }
    if (out->n) qsort(keys, out->n, sizeof *keys, by_key);
    for (size_t i = 0; i < out->n; i++) out->order[i] = keys[i].index;
    om_free(keys);
    return OM_OK;
}

void om_eval_sorted_fini(om_eval_sorted *s)
{
    om_free(s->order);
    *s = (om_eval_sorted){0};
}

static const om_eval_box *at(const om_eval_sorted *s, size_t i) { return &s->list->items[s->order[i]]; }

om_eval_group om_eval_next_group(const om_eval_sorted *s, size_t from, int class_id, int image)
{
    om_eval_group g = {from, 0};
    while (from + g.n < s->n && at(s, from + g.n)->class_id == class_id && at(s, from + g.n)->image == image)
        g.n++;
    return g;
}

bool om_eval_next_image(const om_eval_sorted *a, size_t i, const om_eval_sorted *b, size_t k, int class_id,
                        int *image)
{
    bool more_a = i < a->n && at(a, i)->class_id == class_id,
         more_b = k < b->n && at(b, k)->class_id == class_id;
    if (!more_a && !more_b) return false;
    *image = more_a && (!more_b || at(a, i)->image <= at(b, k)->image) ? at(a, i)->image : at(b, k)->image;
    return true;
}

/* One evaluation. */
typedef struct evaluation {
    om_eval_sorted truth, found;
    size_t next_truth, next_found; /* of the class to be judged */
    int max_dets[3], areas;
    om_match_work match;
    om_judged *judged; /* of one class */
    size_t n_judged, cap_judged;
    double *curve; /* room for its two curves */
    size_t cap_curve;
} evaluation;

static int by_score(const void *a, const void *b)
{
    const om_judged *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->image != y->image) return x->image < y->image ? -1 : 1;
    return x->rank - y->rank;
}

static int judge_image(evaluation *e, om_eval_group truth, om_eval_group found, int image)
{
    void *judged = e->judged;
    size_t n = found.n < (size_t)e->max_dets[2] ? found.n : (size_t)e->max_dets[2];
    int err = om_grow(&judged, &e->cap_judged, e->n_judged + n, sizeof *e->judged);
    e->judged = judged;
    if (err || !n) return err;
    om_judged *into = e->judged + e->n_judged;
    for (size_t d = 0; d < n; d++)
        into[d] = (om_judged){.score = at(&e->found, found.first + d)->score, .image = image, .rank = (int)d};
    e->n_judged += n;
    return om_eval_match(&e->match, e->truth.list->items, e->truth.order + truth.first, truth.n,
                         e->found.list->items, e->found.order + found.first, n, e->areas, into);
}

/* Judges all boxes of a class; *objects: how many of each area count. */
static int judge_class(evaluation *e, int class_id, om_eval_class *c, size_t objects[OM_EVAL_AREAS],
                       size_t *crowds)
{
    int image, err = OM_OK;
    memset(objects, 0, OM_EVAL_AREAS * sizeof *objects);
    e->n_judged = 0;
    while (!err && om_eval_next_image(&e->truth, e->next_truth, &e->found, e->next_found, class_id, &image)) {
        om_eval_group truth = om_eval_next_group(&e->truth, e->next_truth, class_id, image);
        om_eval_group found = om_eval_next_group(&e->found, e->next_found, class_id, image);
        for (size_t i = 0; i < truth.n; i++) {
            const om_eval_box *b = at(&e->truth, truth.first + i);
            *crowds += b->crowd;
            for (int a = 0; a < e->areas; a++) objects[a] += !b->crowd && om_eval_in_area(a, b->area);
            c->truth += !b->crowd;
        }
        c->found += found.n;
        e->next_truth += truth.n;
        e->next_found += found.n;
        err = judge_image(e, truth, found, image);
    }
    if (!err && e->n_judged) qsort(e->judged, e->n_judged, sizeof *e->judged, by_score);
    return err;
}

static double mean_of(const double v[OM_EVAL_THRESHOLDS])
{
    double sum = 0;
    for (int t = 0; t < OM_EVAL_THRESHOLDS; t++) sum += v[t];
    return sum / OM_EVAL_THRESHOLDS;
}

static int score_class(evaluation *e, const size_t objects[OM_EVAL_AREAS], om_eval_scores *s)
{
    double ap[OM_EVAL_THRESHOLDS], recall[OM_EVAL_THRESHOLDS];
    double *const ap_of[OM_EVAL_AREAS] = {NULL, &s->ap_small, &s->ap_medium, &s->ap_large};
    double *const ar_of[OM_EVAL_AREAS] = {NULL, &s->ar_small, &s->ar_medium, &s->ar_large};
    void *curve = e->curve;
    int err = om_grow(&curve, &e->cap_curve, 2 * e->n_judged + 1, sizeof *e->curve);
    e->curve = curve;
    if (err) return err;
    for (int k = 0; k < 3 && objects[0]; k++) {
        om_eval_curve(e->judged, e->n_judged, 0, e->max_dets[k], objects[0], e->curve, ap, recall);
        s->ar[k] = mean_of(recall);
        if (k < 2) continue;
        s->ap = mean_of(ap);
        s->ap50 = ap[0];
        s->ap75 = ap[5];
    }
    for (int a = 1; a < e->areas; a++) {
        if (!objects[a]) continue;
        om_eval_curve(e->judged, e->n_judged, a, e->max_dets[2], objects[a], e->curve, ap, recall);
        *ap_of[a] = mean_of(ap);
        *ar_of[a] = mean_of(recall);
    }
    return OM_OK;
}

#define FIGURES (sizeof(om_eval_scores) / sizeof(double))

static void set_figure(om_eval_scores *s, size_t i, double v)
{
    memcpy((char *)s + i * sizeof v, &v, sizeof v);
}

static double get_figure(const om_eval_scores *s, size_t i)
{
    double v;
    memcpy(&v, (const char *)s + i * sizeof v, sizeof v);
    return v;
}

/* Each figure's mean over the classes that have one. */
static void average(om_eval_result *r)
{
    for (size_t f = 0; f < FIGURES; f++) {
        double sum = 0;
        int n = 0;
        for (int c = 0; c < r->n_classes; c++) {
            double v = get_figure(&r->classes[c].scores, f);
            if (isnan(v)) continue;
            sum += v;
            n++;
        }
        set_figure(&r->scores, f, n ? sum / n : NAN);
    }
}

static int evaluate(evaluation *e, om_eval_result *out)
{
    int err = OM_OK;
    for (int c = 0; c < out->n_classes && !err; c++) {
        size_t objects[OM_EVAL_AREAS];
        om_eval_class *k = &out->classes[c];
        for (size_t f = 0; f < FIGURES; f++) set_figure(&k->scores, f, NAN);
        err = judge_class(e, c, k, objects, &out->crowds);
        if (!err) err = score_class(e, objects, &k->scores);
        out->truth += k->truth;
        out->found += k->found;
    }
    if (!err) average(out);
    return err;
}

static int set_limits(evaluation *e, const om_eval_params *p)
{
    static const int coco[3] = {1, 10, 100};
    memcpy(e->max_dets, p && p->max_dets[2] ? p->max_dets : coco, sizeof coco);
    if (e->max_dets[0] < 1 || e->max_dets[1] < e->max_dets[0] || e->max_dets[2] < e->max_dets[1])
        return om_fail(OM_ERR_ARG, "most boxes %d, %d, %d: expected numbers from 1 that rise", e->max_dets[0],
                       e->max_dets[1], e->max_dets[2]);
    return OM_OK;
}

int om_eval_run(const om_eval_boxes *truth, const om_eval_boxes *found, int n_images, int n_classes,
                const om_eval_params *params, int areas, om_eval_result *out)
{
    evaluation e = {.areas = areas};
    *out = (om_eval_result){.n_classes = n_classes, .images = (size_t)(n_images > 0 ? n_images : 0)};
    if (n_images < 0 || n_classes < 0)
        return om_fail(OM_ERR_ARG, "%d pictures and %d classes: expected 0 or more", n_images, n_classes);
    out->classes = om_calloc((size_t)n_classes, sizeof *out->classes);
    int err = out->classes ? set_limits(&e, params) : OM_ERR_NOMEM;
    if (!err) err = check(truth, false);
    if (!err) err = check(found, true);
    if (!err) err = om_eval_sort(truth, n_images, n_classes, false, &e.truth);
    if (!err) err = om_eval_sort(found, n_images, n_classes, true, &e.found);
    if (!err) err = evaluate(&e, out);
    om_eval_sorted_fini(&e.truth);
    om_eval_sorted_fini(&e.found);
    om_match_work_fini(&e.match);
    om_free(e.judged);
    om_free(e.curve);
    if (err) om_eval_result_fini(out);
    return err;
}

int om_eval_detection(const om_eval_boxes *truth, const om_eval_boxes *found, int n_images, int n_classes,
                      const om_eval_params *params, om_eval_result *out)
{
    return om_eval_run(truth, found, n_images, n_classes, params, OM_EVAL_AREAS, out);
}

void om_eval_result_fini(om_eval_result *r)
{
    om_free(r->classes);
    *r = (om_eval_result){0};
}
