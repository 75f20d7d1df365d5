/* A model against a reference: average precision with the reference's boxes as the truth, and pairs. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "eval/detection_run.h"

#define PAIR_IOU 0.5
#define MOST_BOXES 1000 /* a picture and class */

typedef struct pairing {
    om_eval_sorted reference, found;
    double threshold;
    uint8_t *taken; /* of a picture's boxes of the reference */
    size_t cap_taken;
    double drift, drift_abs, iou;
    om_eval_agreement *out;
} pairing;

static const om_eval_box *box_at(const om_eval_sorted *s, size_t i) { return &s->list->items[s->order[i]]; }

static void note(pairing *p, const om_eval_box *found, const om_eval_box *reference, double iou)
{
    double drift = found->score - reference->score;
    p->out->pairs++;
    p->out->matched += found->score >= p->threshold;
    p->drift += drift;
    p->drift_abs += fabs(drift);
    p->iou += iou;
    if (fabs(drift) > p->out->drift_max) p->out->drift_max = fabs(drift);
}

static int pair_image(pairing *p, om_eval_group reference, om_eval_group found)
{
    void *taken = p->taken;
    int err = om_grow(&taken, &p->cap_taken, reference.n + 1, 1);
    p->taken = taken;
    if (err) return err;
    memset(p->taken, 0, reference.n + 1);
    for (size_t d = 0; d < found.n; d++) {
        const om_eval_box *f = box_at(&p->found, found.first + d);
        double best = PAIR_IOU;
        size_t with = reference.n;
        for (size_t i = 0; i < reference.n; i++) {
            double iou = p->taken[i] ? 0 : om_eval_iou(f, box_at(&p->reference, reference.first + i), false);
            if (iou < best) continue;
            best = iou;
            with = i;
        }
        p->out->found += f->score >= p->threshold;
        if (with == reference.n) continue;
        p->taken[with] = 1;
        note(p, f, box_at(&p->reference, reference.first + with), best);
    }
    return OM_OK;
}

static int pair_all(pairing *p, int n_classes)
{
    size_t i = 0, k = 0;
    int image, err = OM_OK;
    for (int c = 0; c < n_classes; c++)
        while (!err && om_eval_next_image(&p->reference, i, &p->found, k, c, &image)) {
            om_eval_group reference = om_eval_next_group(&p->reference, i, c, image);
            om_eval_group found = om_eval_next_group(&p->found, k, c, image);
            i += reference.n;
            k += found.n;
            err = pair_image(p, reference, found);
        }
    return err;
}

static void finish(pairing *p)
{
    om_eval_agreement *a = p->out;
    double n = (double)a->pairs;
    a->missed = a->reference - a->matched;
    a->extra = a->found - a->matched;
    a->drift_mean = a->pairs ? p->drift / n : NAN;
    a->drift_abs = a->pairs ? p->drift_abs / n : NAN;
    a->drift_max = a->pairs ? a->drift_max : NAN;
    a->iou_mean = a->pairs ? p->iou / n : NAN;
}

/* The reference's boxes that count as truth. */
static int take_truth(const om_eval_boxes *reference, double threshold, om_eval_boxes *out)
{
    int err = OM_OK;
    for (size_t i = 0; i < reference->n && !err; i++) {
        om_eval_box b = reference->items[i];
        if (!(b.score >= threshold)) continue;
        b.area = b.w * b.h;
        b.crowd = b.mute = false;
        err = om_eval_boxes_add(out, &b);
    }
    return err;
}

int om_eval_agree(const om_eval_boxes *reference, const om_eval_boxes *found, int n_images, int n_classes,
                  double threshold, om_eval_agreement *out)
{
    static const om_eval_params most = {{MOST_BOXES, MOST_BOXES, MOST_BOXES}};
    om_eval_boxes truth = {0};
    om_eval_result r = {0};
    pairing p = {.threshold = threshold, .out = out};
    *out = (om_eval_agreement){.images = (size_t)(n_images > 0 ? n_images : 0)};
    int err = take_truth(reference, threshold, &truth);
    if (!err) err = om_eval_run(&truth, found, n_images, n_classes, &most, 1, &r);
    out->ap50 = r.scores.ap50;
    out->ap50_95 = r.scores.ap;
    out->reference = r.truth;
    if (!err) err = om_eval_sort(&truth, n_images, n_classes, true, &p.reference);
    if (!err) err = om_eval_sort(found, n_images, n_classes, true, &p.found);
    if (!err) err = pair_all(&p, n_classes);
    if (!err) finish(&p);
    om_eval_sorted_fini(&p.reference);
    om_eval_sorted_fini(&p.found);
    om_free(p.taken);
    om_eval_result_fini(&r);
    om_eval_boxes_fini(&truth);
    if (err) *out = (om_eval_agreement){0};
    return err;
}
