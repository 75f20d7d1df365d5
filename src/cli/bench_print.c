#include "cli/bench_print.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "cli/table.h"
#include "cli/text.h"

static void number(om_table *t, double v, int decimals)
{
    if (isnan(v)) om_table_cell(t, "%s", "-");
    else om_table_cell(t, "%.*f", decimals, v);
}

static int by_streams(const void *a, const void *b)
{
    const om_rung *x = a, *y = b;
    return (x->streams > y->streams) - (x->streams < y->streams);
}

static const om_column ladder_columns[] = {
    {"streams", true, 0, 0},   {"fps", true, 0, 0},    {"least", true, 0, 0}, {"mean ms", true, 0, 0},
    {"p50", true, 0, 6},       {"p95", true, 0, 5},    {"p99", true, 0, 0},   {"lost %", true, 0, 0},
    {"CPU %", true, 0, 0},     {"MB", true, 0, 2},     {"GPU %", true, 0, 1}, {"GPU MB", true, 0, 4},
    {"NVDEC %", true, 0, 3},   {"Mbit/s", true, 0, 7}, {"batch", true, 0, 9}, {"others %", true, 0, 8},
    {"outcome", false, 22, 0},
};
#define LADDER_COLUMNS (sizeof ladder_columns / sizeof ladder_columns[0])

/* The columns of a GPU's figures, which most machines do not have. */
static bool of_gpu(size_t column) { return column >= 10 && column <= 12; }

static void outcome(const om_rung *r, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s", r->carried ? "held" : r->why);
    for (int i = 0; i < r->n_causes && n < size && !r->failed; i++)
        if (r->causes[i].n)
            n += (size_t)snprintf(out + n, size - n, "; %s %llu", r->causes[i].name,
                                  (unsigned long long)r->causes[i].n);
}

static void ladder_row(om_table *t, const om_rung *r, bool gpu)
{
    char text[400];
    const double v[] = {r->fps_median,   r->fps_min,     r->mean_ms,       r->p50_ms,
                        r->p95_ms,       r->p99_ms,      r->drop_percent,  r->cpu_percent,
                        r->memory_mb,    r->gpu_percent, r->gpu_memory_mb, r->nvdec_percent,
                        r->network_mbit, r->mean_batch,  r->others_percent};
    static const int decimals[] = {2, 2, 1, 1, 1, 1, 2, 0, 0, 0, 0, 0, 1, 2, 0};
    om_table_cell(t, "%d", r->streams);
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        if (gpu || !of_gpu(i + 1)) number(t, v[i], decimals[i]);
    outcome(r, text, sizeof text);
    om_table_cell(t, "%s", text);
}

static int print_ladder(const om_bench_result *r, int width, om_str *out)
{
    om_column columns[LADDER_COLUMNS];
    size_t n = 0;
    bool gpu = false;
    om_table t;
    om_rung *sorted = om_alloc((r->n_rungs + 1) * sizeof *sorted);
    if (!sorted) return OM_ERR_NOMEM;
    if (r->n_rungs) memcpy(sorted, r->rungs, r->n_rungs * sizeof *sorted);
    qsort(sorted, r->n_rungs, sizeof *sorted, by_streams);
    for (size_t i = 0; i < r->n_rungs; i++)
        gpu |= !isnan(sorted[i].gpu_percent) || !isnan(sorted[i].gpu_memory_mb);
    for (size_t i = 0; i < LADDER_COLUMNS; i++)
        if (gpu || !of_gpu(i)) columns[n++] = ladder_columns[i];
    om_table_init(&t, columns, n);
    for (size_t i = 0; i < r->n_rungs; i++) ladder_row(&t, &sorted[i], gpu);
    int err = om_table_render(&t, width, out);
    om_table_fini(&t);
    om_free(sorted);
    if (r->soak.measured) return err;
    om_str_addc(out, '\n');
    if (r->carried) om_str_addf(out, "%d stream%s held", r->carried, r->carried == 1 ? "" : "s");
    else om_str_add(out, "no rung held");
    if (r->broken) om_str_addf(out, "; %d did not", r->broken);
    if (r->stopped[0]) om_str_addf(out, "; it did not break: %s", r->stopped);
    om_str_add(out, gpu ? "\n" : "; GPU and NVDEC: not measured, no GPU took part\n");
    return err;
}

static const om_column verdict_columns[] = {{"", false, 12, 0},
                                            {"measured", true, 0, 0},
                                            {"limit", true, 0, 0},
                                            {"", false, 0, 1},
                                            {"outcome", false, 12, 0}};

static int print_verdicts(const om_bench_result *r, int width, om_str *out)
{
    om_table t;
    om_table_init(&t, verdict_columns, sizeof verdict_columns / sizeof *verdict_columns);
    om_str_addf(out, "\nAcceptance of %d stream%s\n", r->judged->streams, r->judged->streams == 1 ? "" : "s");
    for (int i = 0; i < r->n_verdicts; i++) {
        const om_judgement *v = &r->verdicts[i];
        const om_limit_info *info = &om_limit_infos[v->limit];
        om_table_cell(&t, "%s", info->title);
        if (isnan(v->value)) om_table_cell(&t, "%s", "-");
        else om_table_cell(&t, "%.*f %s", info->decimals, v->value, info->unit);
        om_table_cell(&t, "%s %g", info->relation, v->bound);
        om_table_cell(&t, "%s", v->required ? "required" : "advised");
        om_table_cell(&t, "%s%s%s", v->outcome == OM_FAILED ? "FAILED" : om_outcome_name(v->outcome),
                      v->why ? ": " : "", v->why ? v->why : "");
    }
    int err = om_table_render(&t, width, out);
    om_table_fini(&t);
    return err;
}

static void way_row(om_table *t, const char *name, const om_batching_way *w)
{
    om_table_cell(t, "%s", name);
    number(t, w->camera_fps, 2);
    number(t, w->combined_fps, 2);
    number(t, w->drop_percent, 1);
    number(t, w->memory_mb, 0);
    number(t, w->mean_batch, 2);
}

static const om_column way_columns[] = {{"", false, 12, 0},       {"fps a camera", true, 0, 0},
                                        {"together", true, 0, 0}, {"less %", true, 0, 0},
                                        {"MB", true, 0, 1},       {"batch", true, 0, 2}};

static int print_batching(const om_bench_options *o, const om_batching *b, int width, om_str *out)
{
    char own[64], shared[64];
    om_table t;
    om_table_init(&t, way_columns, sizeof way_columns / sizeof *way_columns);
    snprintf(own, sizeof own, "%d cameras, an engine each", b->cameras);
    snprintf(shared, sizeof shared, "%d cameras, one engine", b->cameras);
    way_row(&t, "one camera alone", &b->one);
    way_row(&t, own, &b->own);
    way_row(&t, shared, &b->shared);
    int err = om_table_render(&t, width, out);
    om_table_fini(&t);
    om_str_addf(out, "\nMedians of %d round%s. ", b->rounds, b->rounds == 1 ? "" : "s");
    if (isnan(b->shared.drop_percent)) om_str_add(out, "Not measured: too few frames\n");
    else
        om_str_addf(out, "On one engine together %.1f%% %s than one camera alone; allowed: %g%% less: %s\n",
                    fabs(b->shared.drop_percent), b->shared.drop_percent > 0 ? "less" : "more",
                    o->max_batching_loss, b->within ? "passed" : "FAILED");
    return err;
}

static const om_column trend_columns[] = {
    {"", false, 12, 0},     {"first", true, 0, 3},   {"median", true, 0, 0}, {"an hour", true, 0, 1},
    {"in all", true, 0, 0}, {"allowed", true, 0, 0}, {"z", true, 0, 2},      {"outcome", false, 6, 0}};

static int print_soak(const om_soak *s, int width, om_str *out)
{
    om_table t;
    om_str_addf(out, "\nSoak: %.4g h, %zu samples, the first %zu left out of trends\n", s->seconds / 3600,
                s->n_samples, s->skipped);
    om_table_init(&t, trend_columns, sizeof trend_columns / sizeof *trend_columns);
    for (int k = 0; k < OM_TREND_COUNT; k++) {
        const om_trend *x = &s->trends[k];
        om_table_cell(&t, "%s%s%s", om_trend_names[k], *om_trend_units[k] ? ", " : "", om_trend_units[k]);
        number(&t, x->first, 1);
        number(&t, x->median, 1);
        number(&t, x->slope, 2);
        number(&t, x->rise, 2);
        number(&t, x->allowed, 2);
        number(&t, x->z, 2);
        om_table_cell(&t, "%s", isnan(x->slope) ? "too few samples" : x->rising ? "RISES" : "flat");
    }
    int err = om_table_render(&t, width, out);
    om_table_fini(&t);
    om_str_addf(out, "frames: %llu received, %llu accounted for: %s", (unsigned long long)s->received,
                (unsigned long long)s->accounted, s->received == s->accounted ? "equal" : "NOT EQUAL");
    if (s->removed)
        om_str_addf(out, "; streams taken away %llu, added again %llu", (unsigned long long)s->removed,
                    (unsigned long long)s->added);
    if (s->ended) om_str_add(out, "\nthe streams ended before the soak did");
    om_str_addf(out, "\nsoak: %s\n", s->flat ? "passed" : "FAILED");
    return err;
}

static void print_accuracy(const om_accuracy *a, om_str *out)
{
    const om_eval_agreement *g = &a->agreement;
    if (!a->measured) return;
    om_str_addf(out, "\n%s %zu frames: AP50 %.2f%%, AP50-95 %.2f%%; ",
                a->labels ? "accuracy against labels on" : "agreement with the reference on", g->images,
                100 * g->ap50, 100 * g->ap50_95);
    if (a->labels) om_str_addf(out, "%zu objects\n", g->reference);
    else om_str_addf(out, "%zu of its %zu boxes found, %zu others\n", g->matched, g->reference, g->extra);
}

int om_bench_print(const om_bench_options *o, const om_bench_result *r, int width, om_str *out)
{
    int err = OM_OK;
    char engine[256];
    om_text_clean(r->engine, engine, sizeof engine);
    if (*engine) om_str_addf(out, "%s\n\n", engine);
    if (r->batching.measured) err = print_batching(o, &r->batching, width, out);
    if (!err && r->n_rungs) err = print_ladder(r, width, out);
    if (!err && r->soak.measured) err = print_soak(&r->soak, width, out);
    print_accuracy(&r->accuracy, out);
    if (r->interrupted) om_str_add(out, "\nINTERRUPTED: this is what was measured until then\n");
    if (!err && r->judged) err = print_verdicts(r, width, out);
    return err ? err : out->failed ? om_fail_nomem("the tables") : OM_OK;
}
