#include "worker/sweep.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/csv.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "worker/cores.h"
#include "worker/page.h"

#define WARM 2
#define MOST_STEPS 1000
#define MOST_NAME 200

/* What one split takes; times are medians in milliseconds. */
typedef struct outcome {
    om_split_point point; /* its name is the point list's */
    double share, first_ms, transfer_ms, second_ms, latency_ms, fps;
} outcome;

typedef struct sweep {
    const om_sweep_params *p;
    om_frame *const *frames;
    int n, steps;
    om_rig base; /* the whole model */
    om_split_point *points;
    int n_points, n_done;
    outcome *outcomes; /* owned */
    outcome whole;
    int64_t macs;
    char first_note[160], second_note[160];
    om_split_job done; /* what the second part finished last */
} sweep;

static void say(const sweep *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const sweep *s, const char *fmt, ...)
{
    char text[500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    s->p->line(s->p->user, text);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_size);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double ms(int64_t ns) { return (double)ns / 1e6; }

static int finished(void *user, om_split_job *job, om_dets *dets)
{
    sweep *s = user;
    (void)dets;
    s->done = *job;
    return OM_OK;
}

/* The first part on what is in its input. */
static int run_first(om_rig *r, om_split_job *job, int n, const om_geometry *geo)
{
    job->n = n;
    memcpy(job->geo, geo, sizeof job->geo);
    job->prepared_ns = om_now_ns();
    int err = om_rig_execute(r, n, geo, NULL);
    job->first_ns = om_now_ns();
    return err;
}

static int stopped(const sweep *s)
{
    return om_cancelled(s->p->cancel) ? om_fail(OM_ERR_CANCELLED, "stopped") : OM_OK;
}

static int pass(sweep *s, om_split *split, om_rig *r, const om_geometry *geo)
{
    om_split_job *job;
    int err = stopped(s);
    if (!err) err = om_split_job_get(split, &job);
    if (err) return err;
    err = run_first(r, job, s->n, geo);
    if (!err) return om_split_submit(split, job, r);
    om_split_job_put(split, job);
    return err;
}

static int measure_latency(sweep *s, om_split *split, om_rig *r, const om_geometry *geo, outcome *o)
{
    double v[4][MOST_STEPS];
    int err = OM_OK;
    for (int i = -WARM; i < s->steps && !err; i++) {
        err = pass(s, split, r, geo);
        if (!err) err = om_split_drain(split);
        if (err || i < 0) continue;
        const om_split_job *j = &s->done;
        v[0][i] = ms(j->first_ns - j->prepared_ns);
        v[1][i] = ms(j->sent_ns - j->slot_ns);
        v[2][i] = ms(j->second_ns - j->second_begin_ns);
        v[3][i] = ms(j->second_ns - j->prepared_ns);
    }
    if (err) return err;
    o->first_ms = median(v[0], s->steps);
    o->transfer_ms = median(v[1], s->steps);
    o->second_ms = median(v[2], s->steps);
    o->latency_ms = median(v[3], s->steps);
    return OM_OK;
}

/* Both parts at work at a time. */
static int measure_throughput(sweep *s, om_split *split, om_rig *r, const om_geometry *geo, outcome *o)
{
    int64_t begin = om_now_ns();
    int err = OM_OK;
    for (int i = 0; i < s->steps && !err; i++) err = pass(s, split, r, geo);
    int drained = om_split_drain(split);
    o->fps = (double)s->steps * s->n / ((double)(om_now_ns() - begin) / 1e9);
    return err ? err : drained;
}

static int measure(sweep *s, const om_split_point *point, outcome *o)
{
    om_split_graphs graphs;
    om_split *split = NULL;
    om_geometry geo[OM_RIG_BATCH_MAX];
    om_rig r = {0};
    om_split_params p = {.device = s->p->device,
                         .batch = s->p->rig->batch,
                         .threads = CPU_COUNT(s->p->second),
                         .amp = s->p->amp,
                         .cores = s->p->second,
                         .head = s->base.head,
                         .done = finished,
                         .user = s};
    o->point = *point;
    o->share = s->macs > 0 ? (double)point->macs / (double)s->macs : 0;
    int err = om_split_after(s->base.graph, point->position, &graphs);
    if (err) return err;
    r.graph = graphs.first;
    graphs.first = NULL;
    r.desc = s->base.desc;
    err = om_rig_compile(&r, s->p->rig);
    if (!err) err = om_split_create(&graphs, &p, &split);
    if (!err) err = om_rig_prepare(&r, s->frames, s->n, geo);
    if (!err) err = measure_latency(s, split, &r, geo, o);
    if (!err) err = measure_throughput(s, split, &r, geo, o);
    if (!err && !s->n_done) {
        snprintf(s->first_note, sizeof s->first_note, "%s", r.plan->note);
        snprintf(s->second_note, sizeof s->second_note, "%s", om_split_note(split));
    }
    om_split_destroy(split);
    om_split_graphs_fini(&graphs);
    r.desc = NULL; /* the whole model's */
    om_rig_fini(&r);
    return err;
}

/* Unsplit, on all the cores that both parts have. */
static int measure_whole(sweep *s)
{
    cpu_set_t all;
    om_geometry geo[OM_RIG_BATCH_MAX];
    om_dets dets[OM_RIG_BATCH_MAX];
    om_rig_params p = *s->p->rig;
    double v[MOST_STEPS];
    CPU_OR(&all, s->p->first, s->p->second);
    p.threads = CPU_COUNT(&all);
    memset(dets, 0, sizeof dets);
    int err = om_cores_bind(&all);
    if (!err) err = om_rig_compile(&s->base, &p);
    if (!err) err = om_rig_prepare(&s->base, s->frames, s->n, geo);
    int64_t begin = 0;
    for (int i = -WARM; i < s->steps && !err; i++) {
        int64_t at = om_now_ns();
        if (!i) begin = at;
        err = stopped(s);
        if (!err) err = om_rig_execute(&s->base, s->n, geo, dets);
        if (i >= 0) v[i] = ms(om_now_ns() - at);
        for (int k = 0; k < s->n; k++) om_dets_clear(&dets[k]);
    }
    if (!err) {
        s->whole.fps = (double)s->steps * s->n / ((double)(om_now_ns() - begin) / 1e9);
        s->whole.latency_ms = median(v, s->steps);
    }
    for (int i = 0; i < OM_RIG_BATCH_MAX; i++) om_dets_fini(&dets[i]);
    return err;
}

static void add_csv(const sweep *s, om_str *out)
{
    om_str_add(out,
               "position,tensor,live_tensors,transfer_bytes,first_share,first_latency_ms,transfer_latency_ms,"
               "second_latency_ms,latency_ms,fps\n");
    if (s->whole.fps > 0) om_str_addf(out, ",,0,0,1,,,,%.4f,%.3f\n", s->whole.latency_ms, s->whole.fps);
    for (int i = 0; i < s->n_done; i++) {
        const outcome *o = &s->outcomes[i];
        om_str_addf(out, "%d,", o->point.position);
        om_csv_quoted(out, o->point.name);
        om_str_addf(out, ",%d,%zu,%.4f,%.4f,%.4f,%.4f,%.4f,%.3f\n", o->point.n_live, o->point.bytes, o->share,
                    o->first_ms, o->transfer_ms, o->second_ms, o->latency_ms, o->fps);
    }
}

static void add_json(const sweep *s, om_str *out)
{
    om_json j;
    om_json_init(&j, out, 1);
    om_json_begin_object(&j);
    om_json_key(&j, "model");
    om_json_string(&j, s->p->rig->model);
    om_json_key(&j, "batch");
    om_json_int(&j, s->n);
    om_json_key(&j, "steps");
    om_json_int(&j, s->steps);
    om_json_key(&j, "first");
    om_json_string(&j, s->first_note);
    om_json_key(&j, "second");
    om_json_string(&j, s->second_note);
    om_json_key(&j, "unsplit");
    om_json_begin_object(&j);
    om_json_key_num(&j, "latency_ms", s->whole.latency_ms, 4);
    om_json_key_num(&j, "fps", s->whole.fps, 4);
    om_json_end_object(&j);
    om_json_key(&j, "splits");
    om_json_begin_array(&j);
    for (int i = 0; i < s->n_done; i++) {
        const outcome *o = &s->outcomes[i];
        om_json_begin_object(&j);
        om_json_key(&j, "position");
        om_json_int(&j, o->point.position);
        om_json_key(&j, "tensor");
        om_json_string(&j, o->point.name);
        om_json_key(&j, "live_tensors");
        om_json_int(&j, o->point.n_live);
        om_json_key(&j, "transfer_bytes");
        om_json_uint(&j, o->point.bytes);
        om_json_key_num(&j, "first_share", o->share, 4);
        om_json_key_num(&j, "first_latency_ms", o->first_ms, 4);
        om_json_key_num(&j, "transfer_latency_ms", o->transfer_ms, 4);
        om_json_key_num(&j, "second_latency_ms", o->second_ms, 4);
        om_json_key_num(&j, "latency_ms", o->latency_ms, 4);
        om_json_key_num(&j, "fps", o->fps, 4);
        om_json_end_object(&j);
    }
    om_json_end_array(&j);
    om_json_end_object(&j);
    om_str_addc(out, '\n');
}

static void plot_latency(const sweep *s, om_str *out)
{
    static const char *const names[] = {"first part", "transfer", "second part", "waiting", "unsplit"};
    om_chart c = {.out = out,
                  .x0 = 0.4,
                  .x1 = s->n_done + 0.6,
                  .whole_x = true,
                  .x_label = "split, by the table's number",
                  .y_label = "ms a batch"};
    for (int i = 0; i < s->n_done; i++)
        if (s->outcomes[i].latency_ms > c.y1) c.y1 = s->outcomes[i].latency_ms;
    if (s->whole.latency_ms > c.y1) c.y1 = s->whole.latency_ms;
    om_str_add(out, "<h2>Latency of a batch alone</h2>");
    om_page_legend(out, names, 5);
    om_chart_begin(&c);
    for (int i = 0; i < s->n_done; i++) {
        const outcome *o = &s->outcomes[i];
        double part[] = {o->first_ms, o->transfer_ms, o->second_ms, 0}, y = 0;
        part[3] = o->latency_ms - part[0] - part[1] - part[2];
        for (int k = 0; k < 4; k++) {
            char tip[300];
            if (part[k] <= 0) continue;
            snprintf(tip, sizeof tip, "%d: %.180s\n%s %.3f ms", i + 1, o->point.name, names[k], part[k]);
            om_chart_bar(&c, i + 0.7, i + 1.3, y, y + part[k], k, tip);
            y += part[k];
        }
    }
    if (s->whole.latency_ms > 0)
        om_chart_line(&c, (double[]){c.x0, c.x1}, (double[]){s->whole.latency_ms, s->whole.latency_ms}, 2, 4,
                      true, "unsplit");
    om_chart_end(&c);
}

static void plot_throughput(const sweep *s, om_str *out)
{
    om_chart c = {.out = out,
                  .x0 = 0.4,
                  .x1 = s->n_done + 0.6,
                  .whole_x = true,
                  .x_label = "split",
                  .y_label = "pictures a second"};
    double *x = om_alloc(((size_t)s->n_done + 1) * sizeof *x),
           *y = om_alloc(((size_t)s->n_done + 1) * sizeof *y);
    c.y1 = s->whole.fps;
    for (int i = 0; i < s->n_done && x && y; i++) {
        x[i] = i + 1;
        y[i] = s->outcomes[i].fps;
        if (y[i] > c.y1) c.y1 = y[i];
    }
    om_str_add(out, "<h2>Throughput with both parts at work</h2>");
    om_page_legend(out, (const char *const[]){"in two parts", "unsplit"}, 2);
    om_chart_begin(&c);
    if (x && y) om_chart_line(&c, x, y, (size_t)s->n_done, 0, false, "both parts at work");
    if (s->whole.fps > 0)
        om_chart_line(&c, (double[]){c.x0, c.x1}, (double[]){s->whole.fps, s->whole.fps}, 2, 1, true,
                      "unsplit");
    om_chart_end(&c);
    om_free(x);
    om_free(y);
}

static void plot_bytes(const sweep *s, om_str *out)
{
    om_chart c = {.out = out,
                  .x0 = 0.4,
                  .x1 = s->n_done + 0.6,
                  .whole_x = true,
                  .x_label = "split",
                  .y_label = "MB a batch"};
    for (int i = 0; i < s->n_done; i++)
        if ((double)s->outcomes[i].point.bytes / 1e6 > c.y1) c.y1 = (double)s->outcomes[i].point.bytes / 1e6;
    om_str_add(out, "<h2>What passes from part to part</h2>");
    om_chart_begin(&c);
    for (int i = 0; i < s->n_done; i++)
        om_chart_bar(&c, i + 0.7, i + 1.3, 0, (double)s->outcomes[i].point.bytes / 1e6, 0,
                     s->outcomes[i].point.name);
    om_chart_end(&c);
}

static void add_table(const sweep *s, om_str *out)
{
    om_str_add(
        out,
        "<h2>Splits</h2><div class=\"table\"><table><thead><tr><th>behind</th><th>number</th><th>live</th><th>MB"
        "</th><th>work before %</th><th>first ms</th><th>transfer ms</th><th>second ms</th><th>latency ms</th>"
        "<th>pictures/s</th></tr></thead><tbody>");
    if (s->whole.fps > 0)
        om_str_addf(
            out,
            "<tr><td>unsplit</td><td></td><td></td><td></td><td></td><td></td><td></td><td></td><td>%.3f</td>"
            "<td>%.1f</td></tr>",
            s->whole.latency_ms, s->whole.fps);
    for (int i = 0; i < s->n_done; i++) {
        const outcome *o = &s->outcomes[i];
        om_str_add(out, "<tr><td>");
        om_html_text(out, o->point.name);
        om_str_addf(
            out,
            "</td><td>%d</td><td>%d</td><td>%.3f</td><td>%.1f</td><td>%.3f</td><td>%.3f</td><td>%.3f</td>"
            "<td>%.3f</td><td>%.1f</td></tr>",
            i + 1, o->point.n_live, (double)o->point.bytes / 1e6, 100 * o->share, o->first_ms, o->transfer_ms,
            o->second_ms, o->latency_ms, o->fps);
    }
    om_str_add(out, "</tbody></table></div>");
}

static void add_page(const sweep *s, om_str *out)
{
    char below[600];
    snprintf(below, sizeof below,
             "batch %d, %d batches a measurement, medians; first part on %s; second part on %s", s->n,
             s->steps, s->first_note, s->second_note);
    om_str title = {0};
    om_str_addf(&title, "%s in two parts", s->p->rig->model);
    om_page_begin(out, om_str_get(&title), below);
    om_str_fini(&title);
    plot_latency(s, out);
    plot_throughput(s, out);
    plot_bytes(s, out);
    add_table(s, out);
    om_page_end(out);
}

static int write_one(const sweep *s, const char *suffix, void (*fill)(const sweep *s, om_str *out))
{
    const char *model = s->p->rig->model, *slash = strrchr(model, '/'), *base = slash ? slash + 1 : model;
    om_str text = {0};
    size_t n = strlen(base);
    if (n > 5 && !strcmp(base + n - 5, ".onnx")) n -= 5;
    if (n > MOST_NAME) /* with what stands around it it is to be a file's */
        for (n = MOST_NAME; n && ((unsigned char)base[n] & 0xc0) == 0x80;) n--;
    char *path = om_sprintf("%s/split_%.*s.%s", s->p->dir, (int)n, base, suffix);
    fill(s, &text);
    int err = !path || text.failed ? om_fail_nomem("the table of splits")
                                   : om_write_file_atomic(path, text.data, text.len);
    if (!err) say(s, "written: %s", path);
    om_free(path);
    om_str_fini(&text);
    return err;
}

static int run(sweep *s)
{
    int err = om_rig_load(&s->base, s->p->rig);
    if (!err) err = om_split_prepare(s->base.graph, s->base.desc, s->p->rig->batch);
    if (!err) err = om_split_points(s->base.graph, s->p->max, &s->points, &s->n_points);
    if (err) return err;
    s->macs = om_graph_macs(s->base.graph);
    s->outcomes = om_calloc((size_t)s->n_points, sizeof *s->outcomes);
    if (!s->outcomes) return OM_ERR_NOMEM;
    say(s, "sweep: %d splits, %d batches of %d each", s->n_points, s->steps, s->n);
    for (int i = 0; i < s->n_points && !err && !om_cancelled(s->p->cancel); i++) {
        outcome *o = &s->outcomes[s->n_done];
        err = measure(s, &s->points[i], o);
        if (err == OM_ERR_CANCELLED) break; /* half a measurement is none */
        if (err) return om_fail_prefix(err, "split behind '%s'", s->points[i].name);
        s->n_done++;
        say(s, "split %d of %d: '%s': %.2f + %.2f + %.2f ms, latency %.2f ms, %.1f fps, %.3f MB", i + 1,
            s->n_points, o->point.name, o->first_ms, o->transfer_ms, o->second_ms, o->latency_ms, o->fps,
            (double)o->point.bytes / 1e6);
    }
    if (!om_cancelled(s->p->cancel)) err = measure_whole(s);
    if (err && err != OM_ERR_CANCELLED) return err;
    if (s->whole.fps > 0) say(s, "unsplit: latency %.2f ms, %.1f fps", s->whole.latency_ms, s->whole.fps);
    err = write_one(s, "csv", add_csv);
    if (!err) err = write_one(s, "json", add_json);
    return err ? err : write_one(s, "html", add_page);
}

int om_sweep_run(const om_sweep_params *p, om_frame *const *frames, int n)
{
    sweep *s = om_calloc(1, sizeof *s);
    if (!s) return OM_ERR_NOMEM;
    s->p = p;
    s->frames = frames;
    s->n = n;
    s->steps = p->steps < MOST_STEPS ? (int)p->steps : MOST_STEPS;
    int err = run(s);
    om_split_points_free(s->points, s->n_points);
    om_rig_fini(&s->base);
    om_free(s->outcomes);
    om_free(s);
    return err;
}
