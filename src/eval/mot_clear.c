/* CLEAR-MOT and the identity measures, counted as py-motmetrics does: a pair of the frame before stays while
 * it overlaps enough. */
#include <math.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/mem.h"
#include "eval/mot_frames.h"

/* What is remembered of an object of the truth. */
typedef struct om_object {
    int partner;  /* the result's track it had last, or -1 */
    size_t found; /* frames with one */
    bool missed;  /* it had one and has none now */
    size_t gaps;  /* times that it lost one and had one again */
} om_object;

typedef struct om_clear {
    om_mot_pair *pair;
    double min_iou, distance;
    om_object *objects;
    bool *taken; /* of the frame's results */
    om_mot_scores *out;
} om_clear;

/* The distance as the reference has it; a pair counts up to 1 - min_iou. */
static bool near_enough(const om_clear *c, double iou) { return 1 - iou <= 1 - c->min_iou; }

static void found(om_clear *c, int object, int partner, double iou)
{
    om_object *o = &c->objects[object];
    if (o->found && o->missed) o->gaps++;
    o->missed = false;
    o->found++;
    o->partner = partner;
    c->distance += 1 - iou;
}

/* Those who were together stay together. */
static void keep_pairs(om_clear *c, const om_mot_frame *f, int *partner)
{
    om_mot_pair *p = c->pair;
    for (size_t i = 0; i < f->n_truth; i++) {
        int object = p->truth_id[f->truth + i], before = c->objects[object].partner;
        partner[i] = -1;
        for (size_t k = 0; k < f->n_result && before >= 0; k++) {
            if (c->taken[k] || p->result_id[f->result + k] != before) continue;
            double v = p->iou[i * f->n_result + k];
            if (near_enough(c, v)) {
                partner[i] = (int)k;
                c->taken[k] = true;
                c->out->matches++;
                found(c, object, before, v);
            }
            break;
        }
    }
}

static int pair_others(om_clear *c, const om_mot_frame *f, int *partner)
{
    om_mot_pair *p = c->pair;
    for (size_t i = 0; i < f->n_truth; i++)
        for (size_t k = 0; k < f->n_result; k++) {
            double v = p->iou[i * f->n_result + k];
            bool open = partner[i] < 0 && !c->taken[k] && near_enough(c, v);
            p->cost[i * f->n_result + k] = open ? (float)(1 - v) : NAN;
        }
    int err = om_assign(&p->work, p->cost, (int)f->n_truth, (int)f->n_result, INFINITY, p->row_col);
    for (size_t i = 0; i < f->n_truth && !err; i++) {
        if (p->row_col[i] < 0) continue;
        size_t k = (size_t)p->row_col[i];
        int object = p->truth_id[f->truth + i], track = p->result_id[f->result + k];
        bool other = c->objects[object].partner >= 0 && c->objects[object].partner != track;
        if (other) c->out->switches++;
        else c->out->matches++;
        partner[i] = (int)k;
        c->taken[k] = true;
        found(c, object, track, p->iou[i * f->n_result + k]);
    }
    return err;
}

static int count_frame(om_clear *c, const om_mot_frame *f, int *partner)
{
    size_t paired = 0;
    for (size_t k = 0; k < f->n_result; k++) c->taken[k] = false;
    om_mot_pair_overlaps(c->pair, f);
    keep_pairs(c, f, partner);
    int err = f->n_truth && f->n_result ? pair_others(c, f, partner) : OM_OK;
    for (size_t i = 0; i < f->n_truth; i++) {
        if (partner[i] >= 0) paired++;
        else c->objects[c->pair->truth_id[f->truth + i]].missed = true;
    }
    c->out->misses += f->n_truth - paired;
    c->out->false_positives += f->n_result - paired;
    return err;
}

static double part(double a, double b) { return b > 0 ? a / b : NAN; }

static void sum_up(om_clear *c)
{
    om_mot_scores *o = c->out;
    for (size_t i = 0; i < c->pair->n_truth_ids; i++) {
        double ratio = (double)c->objects[i].found / (double)c->pair->truth_count[i];
        if (ratio >= 0.8) o->mostly_tracked++;
        else if (ratio >= 0.2) o->partially_tracked++;
        else o->mostly_lost++;
        o->fragmentations += c->objects[i].gaps;
    }
    double detected = (double)(o->matches + o->switches);
    o->mota = 1 - part((double)(o->misses + o->switches + o->false_positives), (double)o->objects);
    o->motp = part(c->distance, detected);
    o->precision = part(detected, detected + (double)o->false_positives);
    o->recall = part(detected, (double)o->objects);
}

int om_mot_clear(om_mot_pair *p, double min_iou, om_mot_scores *out)
{
    size_t most = 1;
    for (size_t i = 0; i < p->n_frames; i++) {
        if (p->frames[i].n_truth > most) most = p->frames[i].n_truth;
        if (p->frames[i].n_result > most) most = p->frames[i].n_result;
    }
    om_clear c = {.pair = p, .min_iou = min_iou, .out = out};
    c.objects = om_calloc(p->n_truth_ids + 1, sizeof(*c.objects));
    c.taken = om_calloc(most, sizeof(*c.taken));
    int *partner = om_calloc(most, sizeof(*partner));
    int err = c.objects && c.taken && partner ? OM_OK : OM_ERR_NOMEM;
    for (size_t i = 0; i < p->n_truth_ids && !err; i++) c.objects[i].partner = -1;
    for (size_t i = 0; i < p->n_frames && !err; i++) err = count_frame(&c, &p->frames[i], partner);
    if (!err) sum_up(&c);
    om_free(c.objects);
    om_free(c.taken);
    om_free(partner);
    return err;
}

/* One track of the result for each object of the truth, so that most boxes agree over the whole sequence. */
int om_mot_identity(om_mot_pair *p, double min_iou, om_mot_scores *out)
{
    size_t rows = p->n_truth_ids, cols = p->n_result_ids, agreed = 0;
    for (size_t i = 0; i < rows * cols; i++) p->cost[i] = 0;
    for (size_t n = 0; n < p->n_frames; n++) {
        const om_mot_frame *f = &p->frames[n];
        om_mot_pair_overlaps(p, f);
        for (size_t i = 0; i < f->n_truth; i++)
            for (size_t k = 0; k < f->n_result; k++)
                if (1 - p->iou[i * f->n_result + k] <= 1 - min_iou)
                    p->cost[(size_t)p->truth_id[f->truth + i] * cols + (size_t)p->result_id[f->result + k]] -=
                        1;
    }
    int err = om_assign(&p->work, p->cost, (int)rows, (int)cols, 0, p->row_col);
    for (size_t i = 0; i < rows && !err; i++)
        if (p->row_col[i] >= 0) agreed += (size_t)-p->cost[i * cols + (size_t)p->row_col[i]];
    out->idtp = agreed;
    out->idfn = out->objects - agreed;
    out->idfp = out->predictions - agreed;
    out->idp = part((double)agreed, (double)out->predictions);
    out->idr = part((double)agreed, (double)out->objects);
    out->idf1 = part(2 * (double)agreed, (double)(out->objects + out->predictions));
    return err;
}
