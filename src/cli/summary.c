#include "cli/summary.h"

#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "cli/console.h"
#include "cli/table.h"
#include "cli/text.h"

#define LOSS_LINES 16 /* with more streams, only the total's losses are told */

static const om_column columns[] = {
    {"stream", false, 16, 0}, {"size", false, 0, 5},  {"received", true, 0, 4},
    {"inferred", true, 0, 0}, {"lost", true, 0, 3},   {"fps", true, 0, 0},
    {"p50 ms", true, 0, 2},   {"p99 ms", true, 0, 1}, {"objects a frame", false, 12, 6},
};

static void stat_cells(om_table *t, const om_stream_stats *s, const char *objects)
{
    om_table_cell(t, "%llu", (unsigned long long)s->received);
    om_table_cell(t, "%llu", (unsigned long long)s->inferred);
    om_table_cell(t, "%llu", (unsigned long long)(s->skipped + s->dropped));
    om_table_cell(t, "%.1f", s->fps);
    om_table_cell(t, "%.1f", s->latency_ms_p50);
    om_table_cell(t, "%.1f", s->latency_ms_p99);
    om_table_cell(t, "%s", objects);
}

typedef struct listing {
    om_stream_row *rows;
    size_t n;
} listing;

static void add_row(const om_summary *s, om_table *t, const om_stream_row *r)
{
    static const char *const notes[] = {[OM_STREAM_FAILED] = " (failed)", [OM_STREAM_REMOVED] = " (removed)"};
    const om_stream_status *st = &r->status;
    om_str objects = {0};
    bool noted = st->state == OM_STREAM_FAILED || st->state == OM_STREAM_REMOVED;
    om_seen_text(s->seen, om_seen_at(s->seen, st->index), 2, &objects);
    om_table_cell(t, "%s%s", st->name, noted ? notes[st->state] : "");
    if (st->width) om_table_cell(t, "%dx%d", st->width, st->height);
    else om_table_cell(t, "%s", "");
    stat_cells(t, &r->stats, om_str_get(&objects));
    om_str_fini(&objects);
}

static void add_total(const om_summary *s, om_table *t, const om_seen_stream *all)
{
    om_stream_stats stats;
    om_str objects = {0};
    if (om_pipeline_stats(s->pipeline, -1, &stats)) memset(&stats, 0, sizeof stats);
    om_seen_text(s->seen, all, 2, &objects);
    om_table_cell(t, "total");
    om_table_cell(t, "%s", "");
    stat_cells(t, &stats, om_str_get(&objects));
    om_str_fini(&objects);
}

static void add_table(const om_summary *s, const listing *l, int width, om_str *out)
{
    om_table t;
    om_seen_stream all = {0};
    om_table_init(&t, columns, sizeof columns / sizeof columns[0]);
    om_seen_merge(&all, &s->seen->gone);
    for (size_t i = 0; i < l->n; i++) {
        add_row(s, &t, &l->rows[i]);
        if (om_seen_merge(&all, om_seen_at(s->seen, l->rows[i].status.index))) break;
    }
    if (l->n > 1) {
        om_table_rule(&t);
        add_total(s, &t, &all);
    }
    om_table_render(&t, width, out);
    om_table_fini(&t);
    om_seen_stream_fini(&all);
}

/* "  head    text", wrapped behind the head. */
static void add_note(om_str *out, const char *head, const char *text, int width)
{
    om_str wrapped = {0};
    char clean[2048], name[32];
    om_text_clean(text, clean, sizeof clean);
    om_text_clip(head, 9, name, sizeof name);
    om_text_wrap(clean, 11, width < 40 ? 40 : width, &wrapped);
    int pad = 11 - om_text_width(name);
    om_str_addf(out, "%s%*s%s", name, pad, "", wrapped.failed || wrapped.len < 11 ? "\n" : wrapped.data + 11);
    om_str_fini(&wrapped);
}

static const char *add_loss(const om_summary *s, const char *name, int index, const char *head, int width,
                            om_str *out)
{
    om_str losses = {0}, text = {0};
    om_pipeline_losses(s->pipeline, index, &losses);
    if (losses.len) {
        om_str_addf(&text, "%s: %s", name, om_str_get(&losses));
        add_note(out, head, om_str_get(&text), width);
        head = "";
    }
    om_str_fini(&losses);
    om_str_fini(&text);
    return head;
}

/* One note a stream, the first under its heading. */
static void add_losses(const om_summary *s, const listing *l, int width, om_str *out)
{
    const char *head = "lost";
    if (l->n > LOSS_LINES) add_loss(s, "all streams", -1, head, width, out);
    for (size_t i = 0; i < l->n && l->n <= LOSS_LINES; i++)
        head = add_loss(s, l->rows[i].status.name, l->rows[i].status.index, head, width, out);
}

static void add_failures(const listing *l, int width, om_str *out)
{
    const char *head = "failed";
    for (size_t i = 0; i < l->n; i++) {
        const om_stream_status *st = &l->rows[i].status;
        char text[512];
        if (st->state != OM_STREAM_FAILED) continue;
        snprintf(text, sizeof text, "%s: %s", st->name, st->error);
        add_note(out, head, text, width);
        head = "";
    }
}

static void add_classes(const om_summary *s, const listing *l, int width, om_str *out)
{
    const char *head = "seen";
    for (size_t i = 0; i < l->n; i++) {
        om_str text = {0};
        const om_seen_stream *seen = om_seen_at(s->seen, l->rows[i].status.index);
        if (!seen->frames) continue;
        om_str_addf(&text, "%s: ", l->rows[i].status.name);
        size_t before = text.len;
        om_seen_text(s->seen, seen, 20, &text);
        om_str_add(&text, text.len > before ? " a frame" : "nothing");
        add_note(out, head, om_str_get(&text), width);
        om_str_fini(&text);
        head = "";
    }
}

static void add_machine(const om_summary *s, int width, om_str *out)
{
    char text[256];
    om_str model = {0};
    om_pipeline_describe(s->pipeline, &model);
    add_note(out, "model", om_str_get(&model), width);
    om_str_fini(&model);
    snprintf(text, sizeof text, "%.2f s%s, %.1f of %d cores busy, %.0f MB at most", s->seconds,
             s->stopped ? " (stopped)" : "", s->seconds > 0 ? s->cpu_seconds / s->seconds : 0, om_cpu_count(),
             (double)om_mem_peak() / (1 << 20));
    add_note(out, "time", text, width);
}

void om_summary_print(const om_summary *s, FILE *to)
{
    om_stream_stats total;
    om_str out = {0};
    listing l;
    int columns_of = om_console_columns(to, 0);
    int width = columns_of ? columns_of : 110;
    if (om_pipeline_stats(s->pipeline, -1, &total) || !total.received) return;
    if (om_pipeline_list(s->pipeline, true, &l.rows, &l.n)) return;
    add_table(s, &l, columns_of, &out);
    om_str_addc(&out, '\n');
    if (s->classes) add_classes(s, &l, width, &out);
    add_losses(s, &l, width, &out);
    add_failures(&l, width, &out);
    add_machine(s, width, &out);
    fputs(om_str_get(&out), to);
    om_str_fini(&out);
    om_free(l.rows);
}
