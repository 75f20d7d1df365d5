/* The page of a bench: verdicts first, then plots, then every figure. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/html.h"
#include "base/mem.h"
#include "bench/bench.h"
#include "bench/plot.h"
#include "media/source.h"

/* A figure, or a dash where there is none. */
static void cell(om_str *o, double v, int decimals)
{
    if (isnan(v)) om_str_add(o, "<td data-v=\"-1\" title=\"not measured\">–</td>");
    else om_html_cell_num(o, v, decimals);
}

static void text_cell(om_str *o, const char *text)
{
    om_str_add(o, "<td>");
    om_html_text(o, text);
    om_str_add(o, "</td>");
}

static void heads(om_str *o, const char *css, const char *const *titles, size_t n)
{
    om_str_addf(o, "<div class=\"table\"><table class=\"%s\"><thead><tr>", css);
    for (size_t i = 0; i < n; i++) om_str_addf(o, "<th>%s</th>", titles[i]);
    om_str_add(o, "</tr></thead><tbody>");
}

static void tile(om_str *o, const char *label, double v, int decimals, const char *unit)
{
    if (!isnan(v)) om_html_tile(o, label, "%.*f%s", decimals, v, unit);
}

static void tiles(const om_bench_result *r, om_str *o)
{
    const om_rung *x = r->judged;
    om_str_add(o, "<div class=\"tiles\">");
    if (r->carried && !r->soak.measured) om_html_tile(o, "streams held", "%d", r->carried);
    if (r->broken && !r->soak.measured) om_html_tile(o, "streams did not hold", "%d", r->broken);
    if (x) {
        if (x->streams != r->carried) om_html_tile(o, "streams measured", "%d", x->streams);
        tile(o, "frames a second, all together", x->fps_total, 1, "");
        tile(o, "mean latency", x->mean_ms, 1, " ms");
        tile(o, "CPU", x->cpu_percent, 0, "%");
        tile(o, "memory", x->memory_mb, 0, " MB");
    }
    om_str_add(o, "</div>");
}

static void verdict(const om_judgement *v, om_str *o)
{
    static const char *const css[] = {"yes", "no", "unknown"};
    const om_limit_info *info = &om_limit_infos[v->limit];
    om_str_add(o, "<tr>");
    text_cell(o, info->title);
    if (isnan(v->value)) om_str_add(o, "<td>–</td>");
    else om_str_addf(o, "<td>%.*f %s</td>", info->decimals, v->value, info->unit);
    om_str_addf(o, "<td>%s %g %s</td><td>%s</td><td class=\"%s\">",
                info->at_least                 ? "at least"
                : strcmp(info->relation, "<=") ? "under"
                                               : "at most",
                v->bound, info->unit, v->required ? "required" : "advised", css[v->outcome]);
    om_html_text(o, om_outcome_name(v->outcome));
    if (v->why) {
        om_str_add(o, ": ");
        om_html_text(o, v->why);
    }
    om_str_add(o, "</td></tr>");
}

static void acceptance(const om_bench_options *opt, const om_bench_result *r, om_str *o)
{
    static const char *const titles[] = {"what", "measured", "limit", "", "outcome"};
    if (!r->judged) return;
    bool failed = om_bench_failed(opt, r);
    om_str_addf(o, "<h2>Acceptance of %d stream%s</h2>", r->judged->streams,
                r->judged->streams == 1 ? "" : "s");
    om_str_addf(o, "<div class=\"finding%s\"><h3>%s</h3>", failed ? "" : " ok",
                failed ? "Not accepted" : "Accepted");
    if (!r->judged->carried) {
        om_str_add(o, "<p>");
        om_html_text(o, r->judged->why);
        om_str_add(o, "</p>");
    }
    om_str_add(o, "</div>");
    heads(o, "facts", titles, sizeof titles / sizeof *titles);
    for (int i = 0; i < r->n_verdicts; i++) verdict(&r->verdicts[i], o);
    om_str_add(o, "</tbody></table></div>");
}

static int by_streams(const void *a, const void *b)
{
    const om_rung *x = a, *y = b;
    return (x->streams > y->streams) - (x->streams < y->streams);
}

/* Columns of the rungs for the plots: `n` numbers each behind one another. */
enum {
    X,
    FPS_MIN,
    FPS_MEDIAN,
    MEAN,
    P50,
    P95,
    P99,
    DROPS,
    CPU,
    GPU,
    NVDEC,
    MEMORY,
    GPU_MEMORY,
    NETWORK,
    COLUMNS
};

static void fill(const om_rung *r, size_t i, size_t n, double *c)
{
    const double v[COLUMNS] = {r->streams,       r->fps_min,     r->fps_median,    r->mean_ms,
                               r->p50_ms,        r->p95_ms,      r->p99_ms,        r->drop_percent,
                               r->cpu_percent,   r->gpu_percent, r->nvdec_percent, r->memory_mb,
                               r->gpu_memory_mb, r->network_mbit};
    for (size_t k = 0; k < COLUMNS; k++) c[k * n + i] = v[k];
}

static double bound(const om_bench_result *r, om_limit l)
{
    for (int i = 0; i < r->n_verdicts; i++)
        if (r->verdicts[i].limit == l) return r->verdicts[i].bound;
    return NAN;
}

static void ladder_plots(const om_bench_result *r, const double *c, size_t n, om_str *o)
{
    const om_plot plots[] = {
        {.title = "Frames a second of a stream",
         .unit = "fps",
         .limit = bound(r, OM_LIMIT_FPS),
         .n_series = 2,
         .series = {{"median", c + FPS_MEDIAN * n}, {"least", c + FPS_MIN * n}}},
        {.title = "Latency",
         .unit = "ms",
         .limit = bound(r, OM_LIMIT_LATENCY),
         .n_series = 4,
         .series =
             {{"mean", c + MEAN * n}, {"50%", c + P50 * n}, {"95%", c + P95 * n}, {"99%", c + P99 * n}}},
        {.title = "Frames lost",
         .unit = "%",
         .limit = bound(r, OM_LIMIT_DROPS),
         .n_series = 1,
         .series = {{"lost", c + DROPS * n}}},
        {.title = "Load",
         .unit = "%",
         .limit = bound(r, OM_LIMIT_CPU),
         .n_series = 3,
         .series = {{"CPU", c + CPU * n}, {"GPU", c + GPU * n}, {"NVDEC", c + NVDEC * n}}},
        {.title = "Memory",
         .unit = "MB",
         .n_series = 2,
         .series = {{"resident", c + MEMORY * n}, {"GPU", c + GPU_MEMORY * n}}},
        {.title = "Network",
         .unit = "Mbit/s",
         .limit = bound(r, OM_LIMIT_NETWORK),
         .n_series = 1,
         .series = {{"read", c + NETWORK * n}}},
    };
    om_str_add(o, "<h2>Up the ladder</h2><div class=\"bars\">");
    for (size_t i = 0; i < sizeof plots / sizeof *plots; i++) {
        om_plot p = plots[i];
        p.x = c + X * n;
        p.n = n;
        p.x_label = "streams";
        p.dots = true;
        om_plot_add(&p, o);
    }
    om_str_add(o, "</div>");
}

static void rung_row(const om_rung *r, om_str *o)
{
    om_str causes = {0};
    for (int i = 0; i < r->n_causes; i++)
        if (r->causes[i].n)
            om_str_addf(&causes, "%s%s %llu", causes.len ? ", " : "", r->causes[i].name,
                        (unsigned long long)r->causes[i].n);
    om_str_addf(o, "<tr><td>%d</td>", r->streams);
    om_html_cell_text(o, r->carried ? "held" : r->why);
    cell(o, r->fps_median, 2);
    cell(o, r->fps_min, 2);
    cell(o, r->mean_ms, 1);
    cell(o, r->p50_ms, 1);
    cell(o, r->p95_ms, 1);
    cell(o, r->p99_ms, 1);
    cell(o, r->drop_percent, 2);
    om_html_cell_text(o, om_str_get(&causes));
    cell(o, r->cpu_percent, 0);
    cell(o, r->memory_mb, 0);
    cell(o, r->gpu_percent, 0);
    cell(o, r->gpu_memory_mb, 0);
    cell(o, r->nvdec_percent, 0);
    cell(o, r->network_mbit, 1);
    cell(o, r->mean_batch, 2);
    cell(o, r->others_percent, 0);
    om_str_add(o, "</tr>");
    om_str_fini(&causes);
}

static void rungs(const om_rung *sorted, size_t n, om_str *o)
{
    static const char *const titles[] = {
        "streams", "outcome", "fps, median", "fps, least", "mean ms",        "50% ms",
        "95% ms",  "99% ms",  "lost %",      "lost",       "CPU %",          "MB",
        "GPU %",   "GPU MB",  "NVDEC %",     "Mbit/s",     "frames a batch", "others %"};
    om_str_add(o, "<h2>Rungs</h2>");
    heads(o, "sort", titles, sizeof titles / sizeof *titles);
    for (size_t i = 0; i < n; i++) rung_row(&sorted[i], o);
    om_str_add(o, "</tbody></table></div>");
}

static void add_ladder(const om_bench_result *r, om_str *o)
{
    size_t n = r->n_rungs;
    om_rung *sorted = om_alloc((n + 1) * sizeof *sorted);
    double *columns = om_alloc((n + 1) * COLUMNS * sizeof *columns);
    if (sorted && columns) {
        memcpy(sorted, r->rungs, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, by_streams);
        for (size_t i = 0; i < n; i++) fill(&sorted[i], i, n, columns);
        if (n > 1) ladder_plots(r, columns, n, o);
        rungs(sorted, n, o);
    } else {
        o->failed = true;
    }
    om_free(sorted);
    om_free(columns);
}

static void trend_rows(const om_soak *s, om_str *o)
{
    static const char *const titles[] = {
        "what",   "first", "median", "change an hour", "change in all", "allowed", "unlike chance (z)",
        "outcome"};
    heads(o, "facts", titles, sizeof titles / sizeof *titles);
    for (int k = 0; k < OM_TREND_COUNT; k++) {
        const om_trend *t = &s->trends[k];
        const double v[] = {t->first, t->median, t->slope, t->rise, t->allowed, t->z};
        om_str_add(o, "<tr>");
        text_cell(o, om_trend_names[k]);
        for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
            if (isnan(v[i])) om_str_add(o, "<td>–</td>");
            else om_str_addf(o, "<td>%.4g %s</td>", v[i], i < 5 ? om_trend_units[k] : "");
        }
        om_str_addf(o, "<td class=\"%s\">%s</td></tr>",
                    isnan(t->slope) ? "unknown"
                    : t->rising     ? "no"
                                    : "yes",
                    isnan(t->slope) ? "too few samples"
                    : t->rising     ? "rises"
                                    : "flat");
    }
    om_str_add(o, "</tbody></table></div>");
}

static void add_soak(const om_soak *s, om_str *o)
{
    static const char *const titles[OM_TREND_COUNT] = {"Resident memory", "Open handles", "Threads",
                                                       "Mean latency", "99th percentile of latencies"};
    size_t n = s->n_samples;
    bool long_one = s->seconds > 3 * 3600;
    double *x = om_alloc((2 * n + 1) * sizeof *x);
    om_str_addf(
        o,
        "<h2>Soak of %.4g h</h2><div class=\"finding%s\"><h3>%s</h3><p>%llu packets received, %llu accounted for; %llu "
        "streams taken away, %llu added again.</p></div>",
        s->seconds / 3600, s->flat ? " ok" : "",
        s->flat     ? "Nothing rises"
        : s->enough ? "It did not hold"
                    : "Too few samples to tell",
        (unsigned long long)s->received, (unsigned long long)s->accounted, (unsigned long long)s->removed,
        (unsigned long long)s->added);
    trend_rows(s, o);
    om_str_add(o, "<div class=\"bars\">");
    for (int k = 0; k < OM_TREND_COUNT && x; k++) {
        for (size_t i = 0; i < n; i++) {
            x[i] = s->samples[i].at_s / (long_one ? 3600 : 60);
            x[n + i] = s->samples[i].value[k];
        }
        om_plot p = {.title = titles[k],
                     .unit = om_trend_units[k],
                     .x_label = long_one ? "hours" : "minutes",
                     .x = x,
                     .n = n,
                     .n_series = 1,
                     .series = {{"", x + n}}};
        om_plot_add(&p, o);
    }
    om_str_add(o, "</div>");
    if (!x) o->failed = true;
    om_free(x);
}

static void way_row(const char *name, const om_batching_way *w, om_str *o)
{
    om_str_add(o, "<tr>");
    text_cell(o, name);
    cell(o, w->camera_fps, 2);
    cell(o, w->combined_fps, 2);
    cell(o, w->drop_percent, 1);
    cell(o, w->memory_mb, 0);
    cell(o, w->mean_batch, 2);
    om_str_add(o, "</tr>");
}

static void add_batching(const om_bench_options *opt, const om_batching *b, om_str *o)
{
    static const char *const titles[] = {"",   "fps a camera",  "fps together", "less than one alone, %",
                                         "MB", "frames a batch"};
    const om_bar together[] = {{"one camera alone", b->one.combined_fps},
                               {"an engine each", b->own.combined_fps},
                               {"one engine for all", b->shared.combined_fps}};
    const om_bar memory[] = {{"one camera alone", b->one.memory_mb},
                             {"an engine each", b->own.memory_mb},
                             {"one engine for all", b->shared.memory_mb}};
    double drop = b->shared.drop_percent;
    om_str_addf(o, "<h2>Batching: %d cameras</h2><div class=\"finding%s\"><h3>", b->cameras,
                b->within ? " ok" : "");
    if (isnan(drop)) om_str_add(o, "Not measured: too few frames");
    else
        om_str_addf(o,
                    "%d cameras on one engine are %.1f%% %s together than one alone; %g%% slower are allowed",
                    b->cameras, fabs(drop), drop > 0 ? "slower" : "faster", opt->max_batching_loss);
    om_str_add(o, "</h3></div>");
    heads(o, "facts", titles, sizeof titles / sizeof *titles);
    way_row("one camera alone", &b->one, o);
    way_row("an engine each", &b->own, o);
    way_row("one engine for all", &b->shared, o);
    om_str_addf(o, "</tbody></table></div><p class=\"dim\">Medians of %d round%s.</p><div class=\"bars\">",
                b->rounds, b->rounds == 1 ? "" : "s");
    om_bars_add("Frames a second, all together", "fps", together, 3, o);
    om_bars_add("Memory", "MB", memory, 3, o);
    om_str_add(o, "</div>");
}

static void add_accuracy(const om_accuracy *a, om_str *o)
{
    const om_eval_agreement *g = &a->agreement;
    if (!a->measured) return;
    om_str_addf(o, "<h2>%s</h2><div class=\"tiles\">",
                a->labels ? "Accuracy against labels" : "Agreement with the reference");
    om_html_tile(o, "AP at overlap 0.5", "%.2f%%", 100 * g->ap50);
    om_html_tile(o, "AP at 0.5 to 0.95", "%.2f%%", 100 * g->ap50_95);
    om_html_tile(o, "frames", "%zu", g->images);
    om_html_tile(o, a->labels ? "objects" : "boxes of the reference", "%zu", g->reference);
    if (!a->labels) om_html_tile(o, "of them found", "%zu", g->matched);
    om_str_add(o, "</div>");
}

static void add_inputs(const om_bench_options *opt, om_str *o)
{
    om_str_add(o, "<p class=\"dim\">");
    for (size_t i = 0; i < opt->inputs.n; i++) {
        char *shown = om_uri_redact(opt->inputs.items[i]);
        if (i) om_str_add(o, ", ");
        om_html_text(o, shown ? shown : "");
        om_free(shown);
    }
    if (opt->compare_batching) om_str_add(o, "; as fast as it goes</p>");
    else om_str_addf(o, "; %g frames a second of each</p>", opt->fps);
}

void om_bench_page(const om_bench_options *opt, const om_bench_result *r, om_str *o)
{
    const char *slash = strrchr(r->model, '/');
    om_html_begin(o, slash ? slash + 1 : r->model, "omma bench");
    om_str_add(o, "<p class=\"dim\">");
    om_html_text(o, r->engine);
    om_str_add(o, "</p>");
    add_inputs(opt, o);
    if (r->interrupted) om_str_add(o, "<p><b>Interrupted: this is what was measured until then.</b></p>");
    if (r->judged) tiles(r, o);
    if (r->batching.measured) add_batching(opt, &r->batching, o);
    acceptance(opt, r, o);
    if (r->soak.measured) add_soak(&r->soak, o);
    if (r->n_rungs && !r->soak.measured) add_ladder(r, o);
    add_accuracy(&r->accuracy, o);
    om_html_pairs(o, "System", &r->system_keys, &r->system_values);
    om_html_end(o);
}
