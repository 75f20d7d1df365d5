/* The sum of a launch: a table, JSON, and a page that shows how jobs stand in each other's way. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/csv.h"
#include "base/error.h"
#include "base/mem.h"
#include "profile/profile.h"
#include "worker/launch.h"
#include "worker/launch_stats.h"
#include "worker/page.h"

#define CURVE 200 /* points of a distribution */

typedef struct report {
    const om_launch_config *c;
    const om_launch_result *r;
    om_launch_stats *stats;  /* one an item */
    om_strlist keys, values; /* of the system */
} report;

static const char *label(const om_launched *i, char out[160])
{
    char copy[16] = "";
    if (i->job->copies > 1 && !i->alone) snprintf(copy, sizeof copy, ".%d", i->copy + 1);
    snprintf(out, 160, "%s%s", i->job->name, copy);
    return out;
}

/* The same job by itself; NULL: it was not run so, or there is nothing to compare. */
static const om_launch_stats *alone_of(const report *p, size_t at)
{
    const om_launched *i = &p->r->items[at];
    for (size_t k = 0; k < p->r->n && !i->alone; k++)
        if (p->r->items[k].alone && p->r->items[k].job == i->job) return &p->stats[k];
    return NULL;
}

/* How many times as long a step takes among the others; NAN: not known. */
static double slowdown(const report *p, size_t at, double *p99)
{
    const om_launch_stats *a = alone_of(p, at), *s = &p->stats[at];
    *p99 = NAN;
    if (!a) return NAN;
    if (a->steps && s->steps) {
        *p99 = s->phases[3].p99 / a->phases[3].p99;
        return s->phases[3].mean / a->phases[3].mean;
    }
    if (!a->pipeline || !s->pipeline) return NAN;
    *p99 = s->latency_p99 / a->latency_p99;
    return a->fps / s->fps;
}

static void csv_number(om_str *out, double v)
{
    if (isnan(v)) om_str_addc(out, ',');
    else om_str_addf(out, ",%.6g", v);
}

static void add_csv(const report *p, om_str *out)
{
    om_str_add(out, "job,copy,alone,status,runs,restarts,seconds,steps,torn,steps_per_s");
    for (int k = 0; k < OM_PHASES; k++)
        for (int q = 0; q < 5; q++)
            om_str_addf(out, ",%s_ms_%s", om_phase_names[k],
                        (const char *const[]){"mean", "p50", "p95", "p99", "max"}[q]);
    om_str_add(out,
               ",sum_error,loss,fps,latency_ms_p50,latency_ms_p95,latency_ms_p99,slowdown,slowdown_p99\n");
    for (size_t i = 0; i < p->r->n; i++) {
        const om_launched *it = &p->r->items[i];
        const om_launch_stats *s = &p->stats[i];
        double p99, times = slowdown(p, i, &p99);
        om_csv_field(out, it->job->name);
        om_str_addf(out, ",%d,%d,%s,%d,%d,%.3f,%zu,%zu", it->copy + 1, it->alone, it->status, it->runs,
                    it->restarts, it->seconds, s->steps, s->torn);
        csv_number(out, s->steps ? s->steps_per_s : NAN);
        for (int k = 0; k < OM_PHASES; k++) {
            const om_phase *f = &s->phases[k];
            const double v[] = {f->mean, f->p50, f->p95, f->p99, f->max};
            for (int q = 0; q < 5; q++) csv_number(out, s->steps ? v[q] : NAN);
        }
        csv_number(out, s->steps ? s->sum_error : NAN);
        const double rest[] = {s->loss, s->fps, s->latency_p50, s->latency_p95, s->latency_p99, times, p99};
        for (size_t k = 0; k < sizeof rest / sizeof *rest; k++) csv_number(out, rest[k]);
        om_str_addc(out, '\n');
    }
}

static void add_phases(const om_launch_stats *s, om_json *j)
{
    for (int k = 0; k < OM_PHASES && s->steps; k++) {
        char key[32];
        snprintf(key, sizeof key, "%s_ms", om_phase_names[k]);
        om_json_key(j, key);
        om_json_begin_object(j);
        om_json_key_num(j, "mean", s->phases[k].mean, 4);
        om_json_key_num(j, "p50", s->phases[k].p50, 4);
        om_json_key_num(j, "p95", s->phases[k].p95, 4);
        om_json_key_num(j, "p99", s->phases[k].p99, 4);
        om_json_key_num(j, "max", s->phases[k].max, 4);
        om_json_end_object(j);
    }
}

static void add_pipeline(const om_launch_stats *s, om_json *j)
{
    if (!s->pipeline) return;
    om_json_key_num(j, "frames", s->frames, 4);
    om_json_key_num(j, "fps", s->fps, 4);
    om_json_key(j, "latency_ms");
    om_json_begin_object(j);
    om_json_key_num(j, "p50", s->latency_p50, 4);
    om_json_key_num(j, "p95", s->latency_p95, 4);
    om_json_key_num(j, "p99", s->latency_p99, 4);
    om_json_end_object(j);
}

static void add_item(const report *p, size_t at, om_json *j)
{
    const om_launched *i = &p->r->items[at];
    const om_launch_stats *s = &p->stats[at];
    double p99, times = slowdown(p, at, &p99);
    om_json_begin_object(j);
    om_json_key(j, "job");
    om_json_string(j, i->job->name);
    om_json_key_int(j, "copy", i->copy + 1);
    om_json_key(j, "alone");
    om_json_bool(j, i->alone);
    om_json_key(j, "folder");
    om_json_string(j, i->dir);
    om_json_key(j, "status");
    om_json_string(j, i->status);
    om_json_key(j, "failed");
    om_json_bool(j, i->gave_up);
    om_json_key(j, "stopped");
    om_json_bool(j, i->stopped);
    om_json_key_int(j, "runs", i->runs);
    om_json_key_int(j, "restarts", i->restarts);
    om_json_key_num(j, "seconds", i->seconds, 4);
    om_json_key_int(j, "steps", (int64_t)s->steps);
    om_json_key_int(j, "torn", (int64_t)s->torn);
    if (s->steps) om_json_key_num(j, "steps_per_s", s->steps_per_s, 4);
    add_phases(s, j);
    if (s->steps) om_json_key_num(j, "sum_error", s->sum_error, 4);
    if (!isnan(s->loss)) om_json_key_num(j, "loss", s->loss, 4);
    add_pipeline(s, j);
    if (!isnan(times)) om_json_key_num(j, "slowdown", times, 4);
    if (!isnan(p99)) om_json_key_num(j, "slowdown_p99", p99, 4);
    om_json_end_object(j);
}

static void add_json(const report *p, om_str *out)
{
    om_json j;
    om_json_init(&j, out, 1);
    om_json_begin_object(&j);
    om_json_key(&j, "config");
    om_json_string(&j, p->c->path);
    om_json_key(&j, "stopped");
    om_json_bool(&j, p->r->stopped);
    om_json_key_int(&j, "failed", (int64_t)p->r->failed);
    om_json_key(&j, "system");
    om_json_begin_object(&j);
    for (size_t i = 0; i < p->keys.n; i++) om_json_key_string(&j, p->keys.items[i], p->values.items[i]);
    om_json_end_object(&j);
    om_json_key(&j, "processes");
    om_json_begin_array(&j);
    for (size_t i = 0; i < p->r->n; i++) add_item(p, i, &j);
    om_json_end_array(&j);
    om_json_end_object(&j);
    om_str_addc(out, '\n');
}

/* The share of steps that take no longer than x, at a few hundred points. */
static void draw_curve(om_chart *c, const om_launch_stats *s, int colour, bool dashed, const char *tip)
{
    double x[CURVE + 1], y[CURVE + 1];
    const double *v = s->phases[3].ms;
    for (int i = 0; i <= CURVE; i++) {
        size_t at = (size_t)((double)(s->steps - 1) * i / CURVE);
        x[i] = v[at];
        y[i] = 100 * (double)(at + 1) / (double)s->steps;
    }
    om_chart_line(c, x, y, CURVE + 1, colour, dashed, tip);
}

static int job_number(const report *p, const om_job *job) { return (int)(job - p->c->jobs); }

static void add_distributions(const report *p, om_str *out)
{
    om_chart c = {.out = out,
                  .log_x = true,
                  .y1 = 100,
                  .x_label = "ms a step (read + prep + exec)",
                  .y_label = "% of steps"};
    bool any = false;
    for (size_t i = 0; i < p->r->n; i++) {
        const om_launch_stats *s = &p->stats[i];
        if (!s->steps) continue;
        double low = fmax(s->phases[3].ms[0], 1e-3), high = fmax(s->phases[3].max, low * 1.01);
        if (!any || low < c.x0) c.x0 = low;
        if (!any || high > c.x1) c.x1 = high;
        any = true;
    }
    if (!any) return;
    om_str_add(
        out,
        "<h2>How long steps take</h2><p class=\"dim\">The share of steps that take no longer. Dashed: the job "
        "alone.</p>");
    const char **names = om_alloc((p->c->n + 1) * sizeof *names);
    for (size_t i = 0; i < p->c->n && names; i++) names[i] = NULL;
    for (size_t i = 0; i < p->r->n && names; i++)
        if (p->stats[i].steps) names[job_number(p, p->r->items[i].job)] = p->r->items[i].job->name;
    if (names) om_page_legend(out, names, p->c->n);
    om_free(names);
    om_chart_begin(&c);
    for (size_t i = 0; i < p->r->n; i++) {
        const om_launched *it = &p->r->items[i];
        char tip[200], name[160];
        snprintf(tip, sizeof tip, "%s%s", label(it, name), it->alone ? " alone" : "");
        if (p->stats[i].steps) draw_curve(&c, &p->stats[i], job_number(p, it->job), it->alone, tip);
    }
    om_chart_end(&c);
}

static void add_interference(const report *p, om_str *out)
{
    bool any = false;
    double p99;
    for (size_t i = 0; i < p->r->n; i++) any = any || !isnan(slowdown(p, i, &p99));
    if (!any) return;
    om_str_add(
        out,
        "<h2>Interference</h2><p class=\"dim\">How many times as long a step takes with all the others at work; of "
        "pipelines, how many times fewer frames a second.</p><div class=\"table\"><table><thead><tr><th>job</th>"
        "<th>alone ms</th><th>together ms</th><th>times</th><th>p99 alone</th><th>p99 together</th><th>times</th>"
        "</tr></thead><tbody>");
    for (size_t i = 0; i < p->r->n; i++) {
        const om_launch_stats *a = alone_of(p, i), *s = &p->stats[i];
        double times = slowdown(p, i, &p99);
        char name[160];
        if (isnan(times)) continue;
        om_str_add(out, "<tr><td>");
        om_html_text(out, label(&p->r->items[i], name));
        if (s->steps)
            om_str_addf(
                out,
                "</td><td>%.2f</td><td>%.2f</td><td>%.2f</td><td>%.2f</td><td>%.2f</td><td>%.2f</td></tr>",
                a->phases[3].mean, s->phases[3].mean, times, a->phases[3].p99, s->phases[3].p99, p99);
        else
            om_str_addf(
                out,
                "</td><td>%.1f fps</td><td>%.1f fps</td><td>%.2f</td><td>%.2f</td><td>%.2f</td><td>%.2f</td></tr>",
                a->fps, s->fps, times, a->latency_p99, s->latency_p99, p99);
    }
    om_str_add(out, "</tbody></table></div>");
}

static void add_table(const report *p, om_str *out)
{
    om_str_add(
        out,
        "<h2>Processes</h2><div class=\"table\"><table><thead><tr><th>job</th><th>ended</th><th>runs</th>"
        "<th>seconds</th><th>steps</th><th>steps/s</th><th>read ms</th><th>prep ms</th><th>exec ms</th>"
        "<th>total ms</th><th>p50</th><th>p95</th><th>p99</th><th>max</th><th>loss</th></tr></thead><tbody>");
    for (size_t i = 0; i < p->r->n; i++) {
        const om_launched *it = &p->r->items[i];
        const om_launch_stats *s = &p->stats[i];
        char name[160];
        om_str_addf(out, "<tr%s><td>", it->gave_up ? " class=\"bad\"" : "");
        om_html_text(out, label(it, name));
        om_str_addf(out, "%s</td><td>%s</td><td>%d</td><td>%.1f</td>", it->alone ? " (alone)" : "",
                    it->status, it->runs, it->seconds);
        if (s->steps) {
            om_str_addf(out, "<td>%zu</td><td>%.1f</td>", s->steps, s->steps_per_s);
            for (int k = 0; k < OM_PHASES; k++) om_str_addf(out, "<td>%.2f</td>", s->phases[k].mean);
            om_str_addf(out, "<td>%.2f</td><td>%.2f</td><td>%.2f</td><td>%.2f</td>", s->phases[3].p50,
                        s->phases[3].p95, s->phases[3].p99, s->phases[3].max);
            if (isnan(s->loss)) om_str_add(out, "<td></td>");
            else om_str_addf(out, "<td>%.4f</td>", s->loss);
        } else if (s->pipeline) {
            om_str_addf(
                out,
                "<td>%.0f frames</td><td>%.1f fps</td><td></td><td></td><td></td><td></td><td>%.2f</td>"
                "<td>%.2f</td><td>%.2f</td><td></td><td></td>",
                s->frames, s->fps, s->latency_p50, s->latency_p95, s->latency_p99);
        } else {
            om_str_add(out, "<td colspan=\"11\"></td>");
        }
        om_str_add(out, "</tr>");
    }
    om_str_add(out, "</tbody></table></div>");
}

static void add_system(const report *p, om_str *out)
{
    om_str_add(out, "<h2>System</h2><div class=\"table\"><table class=\"facts\"><tbody>");
    for (size_t i = 0; i < p->keys.n; i++) {
        om_str_add(out, "<tr><td>");
        om_html_text(out, p->keys.items[i]);
        om_str_add(out, "</td><td>");
        om_html_text(out, p->values.items[i]);
        om_str_add(out, "</td></tr>");
    }
    om_str_add(out, "</tbody></table></div>");
}

static void add_page(const report *p, om_str *out)
{
    char below[300];
    snprintf(below, sizeof below, "%zu jobs, %zu processes%s%s", p->c->n, p->r->n,
             p->r->failed ? ", some failed" : "", p->r->stopped ? ", stopped before the end" : "");
    om_page_begin(out, p->c->path, below);
    add_distributions(p, out);
    add_interference(p, out);
    add_table(p, out);
    add_system(p, out);
    om_page_end(out);
}

static int write_one(const report *p, const char *suffix, void (*fill)(const report *p, om_str *out))
{
    om_str text = {0};
    char *path = om_sprintf("%s/summary.%s", p->r->dir, suffix);
    fill(p, &text);
    int err =
        !path || text.failed ? om_fail_nomem("the summary") : om_write_file_atomic(path, text.data, text.len);
    om_free(path);
    om_str_fini(&text);
    return err;
}

int om_launch_report(const om_launch_config *c, const om_launch_result *r)
{
    report p = {.c = c, .r = r, .stats = om_calloc(r->n + 1, sizeof *p.stats)};
    int err = p.stats ? OM_OK : OM_ERR_NOMEM;
    if (!err) err = om_system_describe(&p.keys, &p.values);
    for (size_t i = 0; i < r->n && !err; i++)
        err = om_launch_stats_read(&p.stats[i], r->items[i].dir, &r->items[i].before);
    if (!err) err = write_one(&p, "json", add_json);
    if (!err) err = write_one(&p, "csv", add_csv);
    if (!err) err = write_one(&p, "html", add_page);
    for (size_t i = 0; i < r->n && p.stats; i++) om_launch_stats_fini(&p.stats[i]);
    om_free(p.stats);
    om_strlist_fini(&p.keys);
    om_strlist_fini(&p.values);
    return err;
}
