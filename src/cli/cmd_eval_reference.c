/* omma eval --reference: how far a model agrees with another on the same pictures. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/cmd_eval.h"
#include "cli/console.h"
#include "cli/table.h"
#include "eval/sheet.h"

typedef struct reference_eval {
    const om_eval_job *job;
    om_eval_feed feed;
    om_eval_kind kind;
    om_eval_map map;   /* the model's classes as the reference's */
    om_eval_set names; /* the reference's classes */
    int n_classes;
    om_eval_boxes found, truth;
    om_class_scores classes;
    om_text_scores lines;
    double drift, drift_max; /* of a classifier's best score */
} reference_eval;

static int mapped(const reference_eval *e, int id)
{
    return id >= 0 && (size_t)id < e->map.n ? e->map.of[id] : -1;
}

static int take_class(reference_eval *e, const om_picture *p, const om_picture *reference)
{
    const om_dets *a = &p->dets, *b = &reference->dets;
    int ranked[5];
    size_t n = 0;
    for (; n < a->n && n < 5; n++) ranked[n] = mapped(e, a->items[n].class_id);
    if (!b->n) return OM_OK;
    om_class_scores_add(&e->classes, ranked, n, b->items[0].class_id);
    double drift = a->n ? fabs((double)a->items[0].score - (double)b->items[0].score) : 1;
    e->drift += drift;
    e->drift_max = fmax(e->drift_max, drift);
    return OM_OK;
}

static int take(void *user, size_t index, const om_picture *p, const om_picture *reference)
{
    reference_eval *e = user;
    if (e->kind == OM_EVAL_CLASSES) return take_class(e, p, reference);
    if (e->kind == OM_EVAL_TEXTS)
        return om_text_scores_add(&e->lines, om_eval_text_of(&p->dets), om_eval_text_of(&reference->dets));
    size_t from = e->found.n;
    int err = om_eval_boxes_add_dets(&e->found, (int)index, &p->dets);
    for (size_t i = from; i < e->found.n; i++)
        e->found.items[i].class_id = mapped(e, e->found.items[i].class_id);
    return err ? err : om_eval_boxes_add_dets(&e->truth, (int)index, &reference->dets);
}

/* The reference's classes as a data set's, so that the model's are matched by the same rules. */
static int match_classes(reference_eval *e)
{
    const om_model_desc *m = e->feed.model.engine->desc, *r = e->feed.reference.engine->desc;
    size_t known = (size_t)(r->n_classes > r->n_labels ? r->n_classes : r->n_labels);
    size_t n = known;
    /* Where neither knows how many, all numbers are their own. */
    if (!n) n = (size_t)(m->n_classes > m->n_labels ? m->n_classes : m->n_labels);
    if (!n) n = 1000;
    int err = om_eval_set_add_classes(&e->names, n, r->labels, (size_t)r->n_labels);
    if (!err)
        err = om_eval_match_classes(&e->names, m->labels, (size_t)m->n_labels, known ? m->n_classes : (int)n,
                                    (om_eval_match_by)e->job->flags->match, &e->map);
    if (err) return om_fail_prefix(err, "%s against %s", e->job->options->model, e->job->flags->reference);
    e->n_classes = (int)n;
    if (e->map.unmatched)
        om_log(OM_LOG_WARN, "%zu of the reference's %zu classes are none of the model's (%s)",
               e->map.unmatched, n, e->map.examples);
    return OM_OK;
}

static int check_kinds(reference_eval *e)
{
    const om_model_desc *m = e->feed.model.engine->desc, *r = e->feed.reference.engine->desc;
    e->kind = om_eval_kind_of(m->family);
    if (e->kind == om_eval_kind_of(r->family)) return e->kind == OM_EVAL_TEXTS ? OM_OK : match_classes(e);
    return om_fail(OM_ERR_ARG, "%s is of the family '%s' and %s of '%s': their results cannot be compared",
                   e->job->options->model, om_family_name(m->family), e->job->flags->reference,
                   om_family_name(r->family));
}

static void row(om_table *t, const char *title, const char *fmt, double v)
{
    char text[40];
    snprintf(text, sizeof text, fmt, v);
    om_table_cell(t, "%s", title);
    om_table_cell(t, "%s", isnan(v) ? "-" : text);
}

static int show_boxes(const om_eval_agreement *a, double threshold, om_str *out)
{
    static const om_column columns[] = {{"agreement", false, 20, 0}, {"value", true, 0, 0}};
    om_table t;
    char title[64];
    om_table_init(&t, columns, sizeof columns / sizeof *columns);
    row(&t, "AP at overlap 0.50", "%.4f", a->ap50);
    row(&t, "AP at overlaps 0.50 to 0.95", "%.4f", a->ap50_95);
    snprintf(title, sizeof title, "the reference's boxes from score %g", threshold);
    row(&t, title, "%.0f", (double)a->reference);
    row(&t, "the model's boxes from there", "%.0f", (double)a->found);
    row(&t, "boxes of both", "%.0f", (double)a->matched);
    row(&t, "missed", "%.0f", (double)a->missed);
    row(&t, "extra", "%.0f", (double)a->extra);
    row(&t, "score drift, mean", "%+.4f", a->drift_mean);
    row(&t, "score drift, mean size", "%.4f", a->drift_abs);
    row(&t, "score drift, largest", "%.4f", a->drift_max);
    row(&t, "overlap of pairs, mean", "%.4f", a->iou_mean);
    int err = om_table_render(&t, om_console_columns(stdout, 0), out);
    om_table_fini(&t);
    return err;
}

static void put_boxes(om_eval_report *r, const om_eval_agreement *a, double threshold)
{
    om_eval_put_num(r, "threshold", threshold);
    om_eval_put_num(r, "AP50", a->ap50);
    om_eval_put_num(r, "AP", a->ap50_95);
    om_eval_put_count(r, "reference_boxes", a->reference);
    om_eval_put_count(r, "boxes", a->found);
    om_eval_put_count(r, "matched", a->matched);
    om_eval_put_count(r, "missed", a->missed);
    om_eval_put_count(r, "extra", a->extra);
    om_eval_put_count(r, "pairs", a->pairs);
    om_eval_put_num(r, "score_drift_mean", a->drift_mean);
    om_eval_put_num(r, "score_drift_abs", a->drift_abs);
    om_eval_put_num(r, "score_drift_max", a->drift_max);
    om_eval_put_num(r, "overlap_mean", a->iou_mean);
}

static int report_boxes(reference_eval *e, om_eval_report *r)
{
    om_eval_agreement a;
    double threshold = e->job->flags->threshold;
    int err = om_eval_agree(&e->truth, &e->found, (int)e->feed.done, e->n_classes, threshold, &a);
    if (err) return err;
    put_boxes(r, &a, threshold);
    if (!a.reference)
        om_log(OM_LOG_WARN, "the reference found nothing from score %g on: there is nothing to agree with",
               threshold);
    return show_boxes(&a, threshold, &r->shown);
}

static void report_classes(reference_eval *e, om_eval_report *r)
{
    const om_class_scores *s = &e->classes;
    double n = s->pictures ? (double)s->pictures : NAN;
    om_str_addf(&r->shown, "%zu pictures: best class the same on %.2f %%, among the best five on %.2f %%\n",
                s->pictures, 100 * (double)s->top1 / n, 100 * (double)s->top5 / n);
    om_str_addf(&r->shown, "best score differs by %.4f on average, by %.4f at most\n", e->drift / n,
                e->drift_max);
    om_eval_put_num(r, "top1", (double)s->top1 / n);
    om_eval_put_num(r, "top5", (double)s->top5 / n);
    om_eval_put_num(r, "score_drift_abs", e->drift / n);
    om_eval_put_num(r, "score_drift_max", e->drift_max);
}

static void report_texts(const om_text_scores *s, om_eval_report *r)
{
    om_str_addf(&r->shown, "%zu lines, %zu equal: %.2f %%; %zu characters of %zu differ: %.2f %%\n", s->lines,
                s->equal, 100 * om_text_scores_exact(s), s->errors, s->characters,
                100 * om_text_scores_cer(s));
    om_eval_put_count(r, "lines", s->lines);
    om_eval_put_count(r, "equal", s->equal);
    om_eval_put_num(r, "exact", om_text_scores_exact(s));
    om_eval_put_num(r, "character_error_rate", om_text_scores_cer(s));
    om_eval_put_count(r, "characters", s->characters);
    om_eval_put_count(r, "errors", s->errors);
}

static int report(reference_eval *e)
{
    om_eval_report r;
    int err = OM_OK;
    om_eval_report_begin(&r, e->job, "agreement");
    om_str_addf(&r.shown, "%zu pictures\n\n", e->feed.done);
    if (e->kind == OM_EVAL_CLASSES) report_classes(e, &r);
    else if (e->kind == OM_EVAL_TEXTS) report_texts(&e->lines, &r);
    else err = report_boxes(e, &r);
    om_str_addc(&r.shown, '\n');
    om_eval_put_feed(&r, &e->feed);
    return om_eval_report_end(&r, err);
}

int om_eval_reference(const om_eval_job *job, int *status)
{
    reference_eval e = {.job = job};
    int err = job->flags->save ? om_fail(OM_ERR_ARG, "--save-detections goes with --truth") : OM_OK;
    if (!err) err = om_eval_feed_init(&e.feed, job);
    e.feed.take = take;
    e.feed.user = &e;
    if (!err) err = check_kinds(&e);
    if (!err) err = om_eval_feed_sources(&e.feed, &job->flags->inputs, job->flags->frames);
    if (!err) err = report(&e);
    if (!err) om_eval_judge_stop(&e.feed, status);
    om_eval_feed_fini(&e.feed);
    om_eval_map_fini(&e.map);
    om_eval_set_fini(&e.names);
    om_eval_boxes_fini(&e.found);
    om_eval_boxes_fini(&e.truth);
    return err;
}
