/* A floor was missed: what might have kept it is tried on the spot. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "quant/calibrate.h"
#include "quant/quantizer.h"

#define MOST_ADVICE 4
#define WORST_PART 10 /* of the layers one in so many is made float, to see what that brings */

static om_quant_advice *next(om_quant_report *r, const char *step)
{
    om_quant_advice *a = &r->advice[r->n_advice++];
    snprintf(a->step, sizeof a->step, "%s", step);
    a->score = a->gain = NAN;
    return a;
}

static double base_of(const om_quant_report *r) { return isnan(r->plain_score) ? r->score : r->plain_score; }

static int advise_frames(om_calibration *c)
{
    const om_snapshot *half = NULL;
    om_judgement v;
    for (int i = 0; i < OM_SNAPSHOTS; i++) {
        const om_snapshot *s = &c->snapshots[i];
        if (s->graph && (!half || s->frames * 4 <= c->r->frames * 3)) half = s;
    }
    if (!half) return OM_OK;
    int err = om_calibration_judge(c, half->graph, 0, &v, NULL);
    if (err) return err;
    om_quant_advice *a = next(c->r, "frames");
    a->gain = base_of(c->r) - v.score;
    snprintf(a->text, sizeof a->text, "more pictures: going from %zu to %zu brought %+.4f here", half->frames,
             c->r->frames, a->gain);
    return OM_OK;
}

static int advise_method(om_calibration *c)
{
    om_quant_advice *best = next(c->r, "method");
    char others[120] = "";
    for (const om_choice *o = om_quant_method_choices; o->name; o++) {
        om_judgement v;
        if (o->value == (int)c->job->params.method) continue;
        int err = om_calibration_try(c, &(om_quant_variant){.method = (om_quant_method)o->value}, 0, &v);
        if (err) return err;
        size_t used = strlen(others);
        snprintf(others + used, sizeof others - used, "%s%s %.4f", used ? ", " : "", o->name, v.score);
        if (isnan(best->score) || v.score > best->score) {
            best->score = v.score;
            best->gain = v.score - base_of(c->r);
            snprintf(best->text, sizeof best->text, "--method %s: %.4f, %+.4f", o->name, v.score, best->gain);
        }
    }
    size_t used = strlen(best->text);
    if (!(best->gain > 0))
        snprintf(best->text, sizeof best->text, "no other --method does better on these pictures (%s)",
                 others);
    else snprintf(best->text + used, sizeof best->text - used, " (of %s)", others);
    return OM_OK;
}

static double local_db(const om_quant_report *r, const om_quant_layer *l)
{
    return l->quantised && l->act >= 0 ? fmin(l->weight_db, r->acts[l->act].db) : INFINITY;
}

static int advise_mixed(om_calibration *c)
{
    om_quant_report *r = c->r;
    size_t left = (om_quant_report_quantised(r) + WORST_PART - 1) / WORST_PART, n = left;
    const char **keep = om_calloc(r->n_layers, sizeof *keep);
    if (!keep) return OM_ERR_NOMEM;
    if (left < 1 || left >= om_quant_report_quantised(r)) {
        om_free(keep);
        return OM_OK;
    }
    for (; left; left--) {
        size_t worst = 0;
        double least = INFINITY;
        for (size_t i = 0; i < r->n_layers; i++)
            if (!keep[i] && local_db(r, &r->layers[i]) < least) least = local_db(r, &r->layers[i]), worst = i;
        if (isinf(least)) break;
        keep[worst] = "it loses most";
    }
    om_judgement v;
    int err = om_calibration_try(c, &(om_quant_variant){c->job->params.method, keep}, 0, &v);
    om_free(keep);
    if (err) return err;
    om_quant_advice *a = next(r, "mixed");
    a->score = v.score;
    a->gain = v.score - base_of(r);
    snprintf(
        a->text, sizeof a->text,
        "--mixed, which looks for the layers to leave float: the %zu that lose most as float alone %s %.4f, %+.4f",
        n, n == 1 ? "makes" : "make", v.score, a->gain);
    return OM_OK;
}

static double rank(const om_quant_advice *a) { return isnan(a->gain) ? -INFINITY : a->gain; }

int om_quant_advise(om_calibration *c)
{
    om_quant_report *r = c->r;
    r->advice = om_calloc(MOST_ADVICE, sizeof *r->advice);
    int err = r->advice ? OM_OK : OM_ERR_NOMEM;
    om_calibration_progress(c, "what would help: step", 1, 3);
    if (!err && !c->job->mixed) err = advise_mixed(c);
    if (!err) om_calibration_progress(c, "what would help: step", 2, 3);
    if (!err) err = advise_method(c);
    if (!err) om_calibration_progress(c, "what would help: step", 3, 3);
    if (!err) err = advise_frames(c);
    if (err) return err;
    snprintf(
        next(r, "qat")->text, sizeof r->advice->text,
        "training with quantisation (QAT) outside; omma takes the QDQ model that it exports: not measured here");
    for (size_t i = 1; i < r->n_advice; i++)
        for (size_t k = i; k > 0 && rank(&r->advice[k]) > rank(&r->advice[k - 1]); k--) {
            om_quant_advice t = r->advice[k];
            r->advice[k] = r->advice[k - 1];
            r->advice[k - 1] = t;
        }
    return OM_OK;
}
