/* The report of an evaluation: what it was, pictures, speed; JSON and text. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/cmd_eval.h"
#include "cli/console.h"
#include "omma/version.h"

void om_eval_put_num(om_eval_report *r, const char *key, double v)
{
    om_json_key(&r->j, key);
    om_json_num(&r->j, v, 9);
}

void om_eval_put_count(om_eval_report *r, const char *key, size_t v)
{
    om_json_key(&r->j, key);
    om_json_uint(&r->j, v);
}

void om_eval_put_text(om_eval_report *r, const char *key, const char *v)
{
    om_json_key(&r->j, key);
    om_json_string(&r->j, v);
}

void om_eval_report_begin(om_eval_report *r, const om_eval_job *job, const char *kind)
{
    memset(r, 0, sizeof *r);
    r->job = job;
    om_json_init(&r->j, &r->text, 2);
    om_json_begin_object(&r->j);
    om_eval_put_text(r, "omma", om_version());
    om_eval_put_text(r, "measured", kind);
    if (job->flags->truth) om_eval_put_text(r, "truth", job->flags->truth);
    if (job->flags->detections) om_eval_put_text(r, "detections", job->flags->detections);
}

static const char *const step_names[OM_STEP_COUNT] = {"load", "prep", "infer", "head"};

static double seconds_of(const om_detector *d)
{
    double ms = 0;
    for (int i = OM_STEP_PREP; i < OM_STEP_COUNT; i++) ms += om_timings_sum(&d->timings[i]);
    return ms / 1e3;
}

static void put_model(om_eval_report *r, const char *key, om_detector *d, size_t pictures)
{
    static const struct {
        const char *name;
        double q;
    } quantiles[] = {{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}};
    const om_engine *e = d->engine;
    double seconds = seconds_of(d);
    om_json_key(&r->j, key);
    om_json_begin_object(&r->j);
    om_eval_put_text(r, "file", e->options->model);
    om_eval_put_text(r, "family", om_family_name(e->desc->family));
    om_eval_put_text(r, "engine", e->note);
    om_eval_put_num(r, "pictures_per_second", seconds > 0 ? (double)pictures / seconds : NAN);
    om_json_key(&r->j, "batch");
    om_json_int(&r->j, d->n_slots ? d->slots[0].plan->batch : 0);
    om_json_key(&r->j, "ms");
    om_json_begin_object(&r->j);
    for (int i = 0; i < OM_STEP_COUNT; i++) {
        om_timings *t = &d->timings[i];
        if (!t->n) continue;
        om_json_key(&r->j, step_names[i]);
        om_json_begin_object(&r->j);
        om_json_key(&r->j, "mean");
        om_json_num(&r->j, om_timings_mean(t), 3);
        for (size_t k = 0; k < sizeof quantiles / sizeof *quantiles; k++) {
            om_json_key(&r->j, quantiles[k].name);
            om_json_num(&r->j, om_timings_quantile(t, quantiles[k].q), 3);
        }
        om_json_end_object(&r->j);
    }
    om_json_end_object(&r->j);
    om_json_end_object(&r->j);
}

static void show_speed(om_eval_report *r, const char *what, om_detector *d, size_t pictures)
{
    double seconds = seconds_of(d);
    om_timings *infer = &d->timings[OM_STEP_INFER];
    if (!pictures || !infer->n || seconds <= 0) return;
    om_str_addf(&r->shown, "%s: %.1f pictures a second, a batch of %d in %.2f ms (p95 %.2f), on %s\n", what,
                (double)pictures / seconds, d->slots[0].plan->batch, om_timings_quantile(infer, 0.5),
                om_timings_quantile(infer, 0.95), d->engine->note);
}

void om_eval_put_feed(om_eval_report *r, om_eval_feed *f)
{
    bool whole = !om_cancelled(f->job->cancel);
    om_eval_put_count(r, "pictures", f->done);
    om_json_key(&r->j, "complete");
    om_json_bool(&r->j, whole);
    put_model(r, "model", &f->model, f->done);
    if (f->two) put_model(r, "reference", &f->reference, f->done);
    show_speed(r, f->two ? "model" : "speed", &f->model, f->done);
    if (f->two) show_speed(r, "reference", &f->reference, f->done);
    if (whole) return;
    om_str_addf(&r->shown, "stopped after %zu", f->done);
    if (f->total) om_str_addf(&r->shown, " of %zu", f->total);
    om_str_add(&r->shown, " pictures: the figures are theirs alone\n");
}

int om_eval_report_end(om_eval_report *r, int err)
{
    const char *path = r->job->flags->json;
    bool to_stdout = path && !strcmp(path, "-");
    om_json_end_object(&r->j);
    om_str_addc(&r->text, '\n');
    if (!err && (r->text.failed || r->shown.failed)) err = om_fail_nomem("the report");
    om_console_status(NULL);
    if (!err && to_stdout) fputs(om_str_get(&r->text), stdout);
    else if (!err && path) err = om_write_file_atomic(path, om_str_get(&r->text), r->text.len);
    if (!err && !to_stdout && !r->job->options->quiet) fputs(om_str_get(&r->shown), stdout);
    om_str_fini(&r->text);
    om_str_fini(&r->shown);
    return err;
}
