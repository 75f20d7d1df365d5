#include "cli/summary.h"

#include <string.h>
#include <sys/resource.h>

#include "base/cpu.h"
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

static void add_row(const om_summary *s, om_table *t, int index, const om_seen_stream *seen)
{
    om_stream_stats stats;
    om_str objects = {0};
    if (om_pipeline_stats(s->pipeline, index, &stats)) memset(&stats, 0, sizeof stats);
    om_seen_text(s->seen, seen, 2, &objects);
    if (index < 0) {
        om_table_cell(t, "total");
        om_table_cell(t, "%s", "");
    } else {
        om_stream_status st;
        om_pipeline_stream_status(s->pipeline, (size_t)index, &st);
        om_table_cell(t, "%s%s", st.name, st.state == OM_STREAM_FAILED ? " (failed)" : "");
        if (st.width) om_table_cell(t, "%dx%d", st.width, st.height);
        else om_table_cell(t, "%s", "");
    }
    stat_cells(t, &stats, om_str_get(&objects));
    om_str_fini(&objects);
}

static void add_table(const om_summary *s, int width, om_str *out)
{
    om_table t;
    om_seen_stream all = {0};
    size_t n = om_pipeline_n_streams(s->pipeline);
    om_table_init(&t, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        add_row(s, &t, (int)i, &s->seen->streams[i]);
        if (om_seen_merge(&all, &s->seen->streams[i])) break;
    }
    if (n > 1) {
        om_table_rule(&t);
        add_row(s, &t, -1, &all);
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

/* One note a stream, the first under its heading. */
static void add_losses(const om_summary *s, int width, om_str *out)
{
    size_t n = om_pipeline_n_streams(s->pipeline);
    const char *head = "lost";
    for (int i = n > LOSS_LINES ? -1 : 0; i < (int)n; i++) {
        om_str losses = {0}, text = {0};
        om_stream_status st = {.name = "all streams"};
        if (i >= 0) om_pipeline_stream_status(s->pipeline, (size_t)i, &st);
        om_pipeline_losses(s->pipeline, i, &losses);
        if (losses.len) {
            om_str_addf(&text, "%s: %s", st.name, om_str_get(&losses));
            add_note(out, head, om_str_get(&text), width);
            head = "";
        }
        om_str_fini(&losses);
        om_str_fini(&text);
        if (i < 0) return;
    }
}

static void add_failures(const om_summary *s, int width, om_str *out)
{
    const char *head = "failed";
    for (size_t i = 0; i < om_pipeline_n_streams(s->pipeline); i++) {
        om_stream_status st;
        char text[512];
        om_pipeline_stream_status(s->pipeline, i, &st);
        if (st.state != OM_STREAM_FAILED) continue;
        snprintf(text, sizeof text, "%.200s: %s", st.name, st.error);
        add_note(out, head, text, width);
        head = "";
    }
}

static void add_classes(const om_summary *s, int width, om_str *out)
{
    const char *head = "seen";
    for (size_t i = 0; i < om_pipeline_n_streams(s->pipeline); i++) {
        om_str text = {0};
        om_stream_status st;
        om_pipeline_stream_status(s->pipeline, i, &st);
        if (!s->seen->streams[i].frames) continue;
        om_str_addf(&text, "%s: ", st.name);
        size_t before = text.len;
        om_seen_text(s->seen, &s->seen->streams[i], 20, &text);
        om_str_add(&text, text.len > before ? " a frame" : "nothing");
        add_note(out, head, om_str_get(&text), width);
        om_str_fini(&text);
        head = "";
    }
}

static void add_machine(const om_summary *s, int width, om_str *out)
{
    struct rusage u = {0};
    char text[256];
    om_str model = {0};
    om_pipeline_describe(s->pipeline, &model);
    add_note(out, "model", om_str_get(&model), width);
    om_str_fini(&model);
    getrusage(RUSAGE_SELF, &u);
    snprintf(text, sizeof text, "%.2f s%s, %.1f of %d cores busy, %.0f MB at most", s->seconds,
             s->stopped ? " (stopped)" : "", s->seconds > 0 ? s->cpu_seconds / s->seconds : 0, om_cpu_count(),
             (double)u.ru_maxrss / 1024);
    add_note(out, "time", text, width);
}

void om_summary_print(const om_summary *s, FILE *to)
{
    om_stream_stats total;
    om_str out = {0};
    int columns_of = om_console_columns(to, 0);
    int width = columns_of ? columns_of : 110;
    if (om_pipeline_stats(s->pipeline, -1, &total) || !total.received) return;
    add_table(s, columns_of, &out);
    om_str_addc(&out, '\n');
    if (s->classes) add_classes(s, width, &out);
    add_losses(s, width, &out);
    add_failures(s, width, &out);
    add_machine(s, width, &out);
    fputs(om_str_get(&out), to);
    om_str_fini(&out);
}
