/* omma bench: how many streams a machine carries, and whether that is enough. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "bench/bench.h"
#include "cli/bench_print.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/profile_print.h"
#include "cli/signals.h"

#define OM_EXIT_INTERRUPTED 130

/* What a run of the bench takes over from `omma run`. */
static const char *const shared_names[] = {
    "model",
    "head",
    "labels",
    "conf",
    "iou",
    "max-boxes",
    "top-k",
    "classes",
    "agnostic",
    "input-size",
    "rectangles",
    "normalize",
    "channels",
    "fit",
    "anchors",
    "alphabet",
    "blank",
    "track",
    "device",
    "precision",
    "mode",
    "threads",
    "in-flight",
    "batch-size",
    "batch-max",
    "batch-min",
    "batch-timeout-ms",
    "cache-dir",
    "operators",
    "cpu-mask",
    "core-bind",
    "decode",
    "decode-threads",
    "rtsp-transport",
    "open-timeout",
    "read-timeout",
    "credentials",
    "latency-bound-ms",
    "quiet",
    "progress",
    "log-level",
};
#define N_SHARED (sizeof shared_names / sizeof shared_names[0])

static const om_option *shared_options(void)
{
    static om_option shared[N_SHARED + 1];
    const char *group = NULL;
    size_t n = 0;
    for (const om_option *o = om_run_option_table; o->name; o++) {
        if (o->group) group = o->group;
        for (size_t i = 0; i < N_SHARED && n < N_SHARED; i++) {
            if (strcmp(o->name, shared_names[i])) continue;
            shared[n] = *o;
            shared[n++].group = group;
        }
    }
    return shared;
}

static const om_option *const *tables(void)
{
    static const om_option *all[3];
    all[0] = om_bench_option_table;
    all[1] = shared_options();
    return all;
}

static int configure(void *user, om_run_options *o)
{
    int err = om_args_apply(user, shared_options(), o);
    o->quiet = true; /* the bench speaks for its runs */
    return err;
}

static bool is_stdout(const char *path) { return path && !strcmp(path, "-"); }

static int write_files(const om_bench_options *o, const om_bench_result *r)
{
    om_str text = {0};
    int err = OM_OK;
    if (o->json) {
        om_json j;
        om_json_init(&j, &text, 1);
        om_bench_json(o, r, &j);
        om_str_addc(&text, '\n');
        err = om_put_text(o->json, &text);
    }
    om_str_clear(&text);
    if (!err && o->csv) {
        om_bench_csv(r, &text);
        err = om_put_text(o->csv, &text);
    }
    om_str_clear(&text);
    if (!err && o->html) {
        om_bench_page(o, r, &text);
        err = om_put_text(o->html, &text);
    }
    om_str_fini(&text);
    return err;
}

static int report(const om_bench_options *o, const om_bench_result *r, bool quiet)
{
    om_str text = {0};
    bool taken = is_stdout(o->json) || is_stdout(o->csv) || is_stdout(o->html);
    int err = taken || quiet ? OM_OK : om_bench_print(o, r, om_console_columns(stdout, 0), &text);
    if (!err && text.len) fputs(om_str_get(&text), stdout);
    om_str_fini(&text);
    return err ? err : write_files(o, r);
}

static bool measured_something(const om_bench_result *r)
{
    return r->n_rungs || r->batching.measured || r->accuracy.measured;
}

static int bench(const om_args *args, const om_bench_options *o, const om_run_options *run, int *status)
{
    om_bench_caller caller = {.configure = configure, .user = (void *)args};
    om_bench_result r;
    om_cancel cancel;
    if (!run->quiet && run->progress && om_console_has_status()) caller.progress = om_console_on_progress;
    if (!run->quiet) caller.line = om_console_on_line;
    int err = om_signals_guard(&cancel);
    if (err) return err;
    err = om_bench_run(o, &caller, &cancel, &r);
    om_signals_release(&cancel);
    if (err && measured_something(&r)) { /* what was measured before it failed is kept */
        *status = om_command_fail(err);
        err = OM_OK;
    }
    bool nothing = r.interrupted && !measured_something(&r);
    if (!err && nothing) om_console_error("interrupted before anything was measured");
    if (!err && !nothing) err = report(o, &r, run->quiet);
    if (!err && !*status)
        *status = r.interrupted ? OM_EXIT_INTERRUPTED : om_bench_failed(o, &r) ? OM_EXIT_FAILED : OM_EXIT_OK;
    om_bench_result_fini(&r);
    return err;
}

static int run(const om_args *args, int *status)
{
    om_bench_options o;
    om_run_options common;
    int err = om_options_init(om_bench_option_table, &o);
    if (err) return err;
    err = om_options_init(om_run_option_table, &common);
    if (!err) err = om_args_apply(args, om_bench_option_table, &o);
    if (!err) err = om_args_apply(args, shared_options(), &common);
    for (size_t i = 0; i < args->n_positional && !err; i++)
        err = om_strlist_add(&o.inputs, args->positional[i]);
    if (!err && !common.model) err = om_fail(OM_ERR_ARG, "no model: name one with -m MODEL.onnx");
    if (!err) err = om_bench_check(&o);
    if (!err) err = om_outfile_check(o.json);
    if (!err) err = om_outfile_check(o.csv);
    if (!err) err = om_outfile_check(o.html);
    if (!err) err = om_command_setup("omma bench", &common);
    if (!err) err = om_signals_init();
    if (!err) err = bench(args, &o, &common, status);
    om_options_fini(om_run_option_table, &common);
    om_options_fini(om_bench_option_table, &o);
    return err;
}

const om_command om_cmd_bench = {
    .name = "bench",
    .summary = "how many streams this machine carries, and whether that is enough",
    .usage =
        "-m MODEL -i CLIP [OPTIONS]\n-m MODEL -i CLIP --compare-batching [--streams N]\n-m MODEL -i CLIP --soak HOURS --streams N",
    .about =
        "Plays more and more streams, as cameras would, until a required limit breaks, finds the point between and judges what "
        "held by an acceptance table: frames a second, latency, losses, accuracy, memory. What was not measured is said to be "
        "so and is no pass. Exit code 1 when a required limit is missed, 130 when Ctrl-C ended it early (what was measured is "
        "printed). Let the machine do nothing else meanwhile.",
    .examples =
        "omma bench -m yolov8n.onnx -i street.mp4\n"
        "omma bench -m yolov8n-int8.onnx --reference yolov8n.onnx -i street.mp4 --html bench.html\n"
        "omma bench -m yolov8n.onnx -i rtsp://server/cam --ladder 10,30,50 --streams 50 --duration 1m\n"
        "omma bench -m yolov8n.onnx -i street.mp4 --compare-batching\n"
        "omma bench -m yolov8n.onnx -i street.mp4 --soak 0.5 --streams 8 --faults 7",
    .tables = tables,
    .run = run,
};
