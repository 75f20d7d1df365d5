#include "cli/run_watch.h"

#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/profile_print.h"
#include "trace/trace.h"

#define LOOK_NS OM_NS_PER_SEC
#define WARN_PAUSE_NS (30 * OM_NS_PER_SEC)
#define DUMP_PAUSE_NS (10 * OM_NS_PER_SEC)
#define SPIKE 5          /* times the median: a slow frame where no bound was given */
#define SPIKE_FRAMES 100 /* before the median means anything */

static volatile sig_atomic_t dump_wanted;

static void on_usr2(int number)
{
    (void)number;
    dump_wanted = 1;
}

static int copy_text(char **out, const char *text)
{
    *out = text ? om_strdup(text) : NULL;
    return text && !*out ? OM_ERR_NOMEM : OM_OK;
}

int om_run_watch_init(om_run_watch *w, const om_config *c)
{
    const om_run_options *o = &c->run;
    memset(w, 0, sizeof *w);
    w->metrics_s = o->stats > 0 ? o->stats : 5;
    w->warn_latency = o->warn_latency;
    w->warn_lost = o->warn_lost;
    w->warn_stall = o->warn_stall;
    w->trace_last = o->trace_last;
    if (w->trace_last > 0 && !o->trace) return om_fail(OM_ERR_ARG, "--trace-last needs --trace FILE");
    int err = copy_text(&w->profile, o->profile);
    if (!err) err = copy_text(&w->metrics_file, o->metrics_file);
    if (!err) err = copy_text(&w->trace, o->trace);
    if (!err) {
        struct sigaction sa = {.sa_handler = on_usr2, .sa_flags = SA_RESTART};
        sigaction(SIGUSR2, &sa, NULL);
    }
    return err;
}

void om_run_watch_fini(om_run_watch *w)
{
    om_free(w->profile);
    om_free(w->metrics_file);
    om_free(w->trace);
    om_free(w->streams);
    memset(w, 0, sizeof *w);
}

static int write_metrics(om_run_watch *w, om_pipeline *p)
{
    om_str text = {0};
    int err = om_pipeline_metrics(p, &text);
    if (!err) err = om_write_file_atomic(w->metrics_file, om_str_get(&text), text.len);
    om_str_fini(&text);
    return err;
}

/* "trace.json" -> "trace-2.json" */
static void dump_trace(om_run_watch *w, int64_t now, const char *why)
{
    const char *dot = strrchr(w->trace, '.'), *slash = strrchr(w->trace, '/');
    size_t stem = dot && (!slash || dot > slash) ? (size_t)(dot - w->trace) : strlen(w->trace);
    if (now < w->quiet_dump_ns) return;
    char *path = om_sprintf("%.*s-%d%s", (int)stem, w->trace, ++w->n_dumps, w->trace + stem);
    double kept = (double)om_trace_kept_ns() / 1e9;
    int err = path ? om_trace_export_last(path, (int64_t)(w->trace_last * 1e9)) : OM_ERR_NOMEM;
    if (err) om_log(OM_LOG_ERROR, "the trace: %s", om_error_message());
    else if (kept < w->trace_last)
        om_log(OM_LOG_WARN, "%s: the trace is in %s; its busiest thread's events go back %.3g s of the %.4g",
               why, path, kept, w->trace_last);
    else om_log(OM_LOG_WARN, "%s: the last %.3g s of the trace are in %s", why, w->trace_last, path);
    om_free(path);
    w->quiet_dump_ns = now + DUMP_PAUSE_NS;
}

static void on_dump_wanted(om_run_watch *w, int64_t now)
{
    dump_wanted = 0;
    w->quiet_dump_ns = 0;
    if (w->trace_last > 0) dump_trace(w, now, "SIGUSR2");
    else
        om_log(OM_LOG_WARN,
               "SIGUSR2: there is nothing to write; --trace FILE --trace-last SEC keeps a trace");
}

static void look_at_latency(om_run_watch *w, om_pipeline *p, int64_t now)
{
    om_hist all, recent;
    om_pipeline_latency(p, &all);
    double median = (double)om_hist_quantile(&all, .5) / 1e9;
    bool enough = all.count >= SPIKE_FRAMES;
    om_hist_since(&all, &w->latency, &recent);
    w->latency = all;
    double p99 = (double)om_hist_quantile(&recent, .99) / 1e9, longest = (double)recent.max_ns / 1e9;
    if (!recent.count) return;
    if (w->warn_latency > 0 && p99 > w->warn_latency && now >= w->quiet_latency_ns) {
        w->quiet_latency_ns = now + WARN_PAUSE_NS;
        om_log(OM_LOG_WARN, "latency: 99%% of the last second's frames took up to %.0f ms, more than %.4g ms",
               1e3 * p99, 1e3 * w->warn_latency);
    }
    double bound = w->warn_latency > 0 ? w->warn_latency : SPIKE * median;
    if (w->trace_last > 0 && longest > bound && (w->warn_latency > 0 || enough))
        dump_trace(w, now, "a slow frame");
}

static void look_at_losses(om_run_watch *w, om_pipeline *p, int64_t now)
{
    om_stream_stats s;
    if (om_pipeline_stats(p, -1, &s)) return;
    double received = (double)(s.received - w->received), lost = (double)(s.dropped - w->lost);
    if (received > 0 && 100 * lost / received > w->warn_lost && now >= w->quiet_lost_ns) {
        w->quiet_lost_ns = now + WARN_PAUSE_NS;
        om_log(OM_LOG_WARN, "losses: %.1f%% of the last second's frames, more than %.3g%%",
               100 * lost / received, w->warn_lost);
    }
    w->received = s.received;
    w->lost = s.dropped;
}

static void look_at_stream(const om_run_watch *w, om_watch_stream *s, const om_stream_row *r, int64_t now)
{
    const char *name = r->status.name;
    bool more = r->stats.inferred != s->inferred;
    if (more || !s->since_ns || r->status.state != OM_STREAM_RUNNING) {
        if (s->warned && more) om_log(OM_LOG_WARN, "stream '%s' goes on", name);
        s->inferred = r->stats.inferred;
        s->since_ns = now;
        s->warned = false;
    } else if (!s->warned && (double)(now - s->since_ns) / 1e9 > w->warn_stall) {
        om_log(OM_LOG_WARN, "stream '%s' has given no frame for %.1f s", name,
               (double)(now - s->since_ns) / 1e9);
        s->warned = true;
    }
}

/* Both lists are in the order of the streams' numbers. */
static void look_at_streams(om_run_watch *w, om_pipeline *p, int64_t now)
{
    om_stream_row *rows;
    size_t n, k = 0;
    if (om_pipeline_list(p, false, &rows, &n)) return;
    om_watch_stream *next = om_calloc(n + 1, sizeof *next);
    for (size_t i = 0; i < n && next; i++) {
        int index = rows[i].status.index;
        while (k < w->n_streams && w->streams[k].index < index) k++;
        bool known = k < w->n_streams && w->streams[k].index == index;
        next[i] = known ? w->streams[k] : (om_watch_stream){.index = index};
        look_at_stream(w, &next[i], &rows[i], now);
    }
    om_free(rows);
    if (!next) return;
    om_free(w->streams);
    w->streams = next;
    w->n_streams = n;
}

void om_run_watch_tick(om_run_watch *w, om_pipeline *p)
{
    int64_t now = om_now_ns();
    om_pipeline_tick(p);
    if (w->metrics_file && now >= w->next_metrics_ns) {
        if (write_metrics(w, p) && now >= w->quiet_metrics_ns) {
            w->quiet_metrics_ns = now + WARN_PAUSE_NS;
            om_log(OM_LOG_ERROR, "%s", om_error_message());
        }
        w->next_metrics_ns = now + (int64_t)(w->metrics_s * 1e9);
    }
    if (dump_wanted) on_dump_wanted(w, now);
    if (now < w->next_ns) return;
    w->next_ns = now + LOOK_NS;
    if (w->warn_latency > 0 || w->trace_last > 0) look_at_latency(w, p, now);
    if (w->warn_lost > 0) look_at_losses(w, p, now);
    if (w->warn_stall > 0) look_at_streams(w, p, now);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && !strcmp(text + n - k, end);
}

/* The run's account becomes a profile without layers. */
static int profile_of(om_pipeline *p, om_profile *out)
{
    char *text;
    om_json_value *report = NULL;
    memset(out, 0, sizeof *out);
    int err = om_pipeline_report(p, &text);
    if (!err) err = om_json_parse(text, strlen(text), &report);
    om_free_string(text);
    if (!err) err = om_profile_take_run(out, report, "profile");
    om_json_free(report);
    return err ? err : om_system_describe(&out->system_keys, &out->system_values);
}

static int write_profile(om_run_watch *w, om_pipeline *p, FILE *to)
{
    om_profile profile;
    om_findings found;
    om_str text = {0};
    memset(&found, 0, sizeof found);
    int err = profile_of(p, &profile);
    if (!err) err = om_diagnose(&profile, &found);
    bool page = ends_with(w->profile, ".html") || ends_with(w->profile, ".htm"),
         terminal = !strcmp(w->profile, "-");
    om_profile_files files = {.html = page ? w->profile : NULL, .json = page || terminal ? NULL : w->profile};
    if (!err && !terminal) err = om_profile_write(&profile, &found, &files);
    if (!err && terminal) {
        int width = om_console_columns(to, 0);
        err = om_profile_print_run(&profile, width, &text);
        om_findings_print(&found, width, &text);
        om_profile_print_system(&profile, width, &text);
        if (!err) fputs(om_str_get(&text), to);
    }
    om_str_fini(&text);
    om_findings_fini(&found);
    om_profile_fini(&profile);
    return err;
}

int om_run_watch_end(om_run_watch *w, om_pipeline *p, FILE *to_terminal)
{
    int metrics = om_command_fail(w->metrics_file ? write_metrics(w, p) : OM_OK);
    int profile = om_command_fail(w->profile ? write_profile(w, p, to_terminal) : OM_OK);
    return metrics ? metrics : profile;
}
