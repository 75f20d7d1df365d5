/* omma run: streams through a model into sinks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/outputs.h"
#include "cli/progress.h"
#include "cli/run_watch.h"
#include "cli/signals.h"
#include "cli/summary.h"
#include "cli/supervise.h"
#include "cli/ward.h"
#include "media/media.h"
#include "pipeline/pipeline.h"
#include "pipeline/preflight.h"
#include "pipeline/second_config.h"
#include "serve/serve.h"
#include "trace/trace.h"
#include "worker/cores.h"

#define TRACE_EVENTS 65536

typedef struct run_flags {
    om_strlist inputs, outputs, lists;
    int test_streams;
    bool check, supervise;
} run_flags;

#define FLAG(field) offsetof(run_flags, field)

static const om_option run_flag_table[] = {
    {"input", 'i', OM_OPT_LIST, offsetof(run_flags, inputs), NULL, 0, 0, NULL, "URI", "Input and output",
     "a stream: video file, folder or glob of pictures, http(s)://, rtsp:// or pattern:"},
    {"output", 'o', OM_OPT_LIST, offsetof(run_flags, outputs), NULL, 0, 0, NULL, "SINK", NULL,
     "where results go: jsonl:FILE, csv:FILE, video:FILE.mp4, vtt:FILE, null: ('-' as FILE: standard output; %s in it: the stream's name)"},
    {"config-file", 0, OM_OPT_LIST, FLAG(lists), NULL, 0, 0, NULL, "FILE", NULL,
     "a list of streams, a line 'URI [name=NAME] [priority=N] [fps=N] ...' each, or YAML; read again on SIGHUP"},
    {"test-streams", 0, OM_OPT_INT, FLAG(test_streams), "0", 0, 100000, NULL, NULL, NULL,
     "so many streams of the videos given by -i, in turn, each again and again at its own pace, as cameras"},
    {"supervise", 0, OM_OPT_BOOL, FLAG(supervise), "no", 0, 0, NULL, NULL, NULL,
     "watch the run from a process of its own: when its GPU was lost and answers again, a new process takes over there"},
    {"check", 0, OM_OPT_BOOL, offsetof(run_flags, check), "no", 0, 0, NULL, NULL, NULL,
     "check the configuration and that its files exist, show what would run, and end"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {run_flag_table, om_run_option_table, NULL};
    return all;
}

static bool is_config(const char *text)
{
    const char *dot = strrchr(text, '.');
    return dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
}

static int add_streams(om_config *c, char *const *uris, size_t n)
{
    int err = OM_OK;
    for (size_t i = 0; i < n && !err; i++) err = om_config_add_stream(c, uris[i], NULL);
    return err;
}

/* Paced, endless copies. */
static int add_test_streams(om_config *c, const run_flags *flags)
{
    size_t n = flags->inputs.n;
    if (!n)
        return om_fail(OM_ERR_ARG, "--test-streams %d: of which video? Name it with -i", flags->test_streams);
    int err = OM_OK;
    for (size_t i = 0; i < (size_t)flags->test_streams && !err; i++) {
        om_stream_options *s = om_config_new_stream(c);
        if (!s) return OM_ERR_NOMEM;
        err = om_option_set(om_stream_option_table, s, "uri", flags->inputs.items[i % n]);
        if (!err) err = om_option_set(om_stream_option_table, s, "live", "yes");
        if (!err) err = om_option_set(om_stream_option_table, s, "loop", "yes");
        if (err) om_options_fini(om_stream_option_table, s);
        else err = om_config_stream(c, s);
    }
    return err;
}

static int load_config(const om_args *args, om_config *c)
{
    const char *file = NULL;
    for (size_t i = 0; i < args->n_positional; i++) {
        const char *text = args->positional[i];
        if (!is_config(text)) continue;
        if (file) return om_fail(OM_ERR_ARG, "two configurations, %s and %s: give one", file, text);
        file = text;
    }
    int err = file ? om_config_load_yaml(c, file) : OM_OK;
    return err == OM_ERR_NOT_FOUND ? OM_ERR_ARG : err; /* a name mistyped on the command line */
}

/* The config file first, so that flags win wherever they stand; streams and sinks are added to those it
 * names. */
static int configure(const om_args *args, run_flags *flags, om_config *c)
{
    int err = load_config(args, c);
    if (!err) err = om_args_apply(args, run_flag_table, flags);
    if (!err) err = om_args_apply(args, om_run_option_table, &c->run);
    for (size_t i = 0; i < flags->lists.n && !err; i++) err = om_config_load_list(c, flags->lists.items[i]);
    if (!err && flags->test_streams) err = add_test_streams(c, flags);
    else if (!err) err = add_streams(c, flags->inputs.items, flags->inputs.n);
    for (size_t i = 0; i < args->n_positional && !err; i++)
        if (!is_config(args->positional[i])) err = om_config_add_stream(c, args->positional[i], NULL);
    for (size_t i = 0; i < flags->outputs.n && !err; i++)
        err = om_strlist_add(&c->sinks, flags->outputs.items[i]);
    if (!err) err = om_config_read_seconds(c);
    return err ? err : om_config_check(c);
}

static int check_outputs(const om_config *c)
{
    const om_output files[] = {{"report", c->run.report, false},
                               {"trace", c->run.trace, false},
                               {"metrics-file", c->run.metrics_file, true},
                               {"profile", c->run.profile, false}};
    return om_outputs_check(files, sizeof files / sizeof *files);
}

static int check(const om_config *c)
{
    int err = om_config_check_files(c);
    if (err) return om_fail_prefix(OM_ERR_ARG, "check");
    printf("model   %s\nengine  %s\n", c->run.model, c->run.device);
    for (size_t i = 0; i < c->n_seconds; i++)
        printf("%-7s %s: %s, looks at %s\n", i ? "" : "second", c->seconds[i].name, c->seconds[i].run.model,
               c->seconds[i].parent);
    for (size_t i = 0; i < c->n_streams; i++) {
        char *shown = om_uri_redact(c->streams[i].uri);
        printf("%-7s %s: %s\n", i ? "" : "streams", c->streams[i].name, shown ? shown : "");
        om_free(shown);
    }
    for (size_t i = 0; i < c->sinks.n; i++) printf("%-7s %s\n", i ? "" : "sinks", c->sinks.items[i]);
    if (!c->sinks.n) printf("sinks   none: what was seen is printed at the end\n");
    return OM_OK;
}

static bool writes_to_stdout(const om_config *c)
{
    for (size_t i = 0; i < c->sinks.n; i++) {
        const char *target = strchr(c->sinks.items[i], ':');
        if (target && !strcmp(target, ":-")) return true;
    }
    return false;
}

typedef struct session {
    const om_args *args; /* to be read again */
    om_pipeline *pipeline;
    om_control *control;
    om_progress progress;
    om_run_watch watch;
    om_seen seen;
    om_ward ward;
    char *report, *trace, *control_path;
    bool quiet, no_sink, stdout_taken;
    int64_t start_ns, start_cpu_ns;
} session;

static void stop(void *user) { om_pipeline_stop(user); }

static int write_report(const session *s)
{
    char *text;
    if (s->ward.fd >= 0 || !s->report) return OM_OK; /* the supervisor writes it */
    int err = om_pipeline_report(s->pipeline, &text);
    if (!err) err = om_write_file_atomic(s->report, text, strlen(text));
    om_free_string(text);
    return err;
}

/* Takes over *c. */
static int open_session(session *s, om_config *c)
{
    int err = om_progress_init(&s->progress, c);
    if (!err) err = om_run_watch_init(&s->watch, c);
    if (!err) err = om_seen_init(&s->seen);
    s->quiet = c->run.quiet;
    s->no_sink = !c->sinks.n;
    s->stdout_taken = writes_to_stdout(c);
    /* Results on the same terminal and a line that is redrawn below them do not go together. */
    if (s->stdout_taken && isatty(STDOUT_FILENO)) s->progress.line = false;
    if (!err && c->run.report && !(s->report = om_strdup(c->run.report))) err = OM_ERR_NOMEM;
    if (!err && c->run.trace && !(s->trace = om_strdup(c->run.trace))) err = OM_ERR_NOMEM;
    if (!err && c->run.control && !(s->control_path = om_strdup(c->run.control))) err = OM_ERR_NOMEM;
    if (!err) err = om_pipeline_create_from(c, &s->pipeline);
    if (!err) err = om_pipeline_on_result(s->pipeline, om_seen_result, &s->seen);
    if (err) return err;
    om_pipeline_on_gone(s->pipeline, om_seen_gone, &s->seen);
    om_pipeline_end_with_sinks(s->pipeline);
    return OM_OK;
}

static void summarize(session *s)
{
    om_summary summary = {.pipeline = s->pipeline,
                          .seen = &s->seen,
                          .seconds = (double)(om_now_ns() - s->start_ns) / 1e9,
                          .cpu_seconds = (double)(om_process_cpu_ns() - s->start_cpu_ns) / 1e9,
                          .classes = s->no_sink,
                          .stopped = om_signals_seen()};
    if (!s->quiet) om_summary_print(&summary, s->stdout_taken ? stderr : stdout);
}

/* What a reload cannot change is said, so that nobody waits for it. */
static void tell_differences(const session *s, const om_config *c)
{
    om_str text = {0};
    if (!om_pipeline_differs(s->pipeline, c, &text) && text.len)
        om_log(OM_LOG_WARN, "reload: %s: what has changed there takes a restart", om_str_get(&text));
    om_str_fini(&text);
}

/* Whoever reads a pipe a second time waits, perhaps for ever. */
static int check_pipe(const char *path)
{
    struct stat st;
    if (stat(path, &st) || !S_ISFIFO(st.st_mode)) return OM_OK;
    return om_fail(OM_ERR_ARG, "%s: a pipe cannot be read again", path);
}

static int check_pipes(const om_args *args)
{
    int err = OM_OK;
    for (size_t i = 0; i < args->n && !err; i++)
        if (!strcmp(args->items[i].option->name, "config-file")) err = check_pipe(args->items[i].value);
    for (size_t i = 0; i < args->n_positional && !err; i++)
        if (is_config(args->positional[i])) err = check_pipe(args->positional[i]);
    return err;
}

/* Reads the configuration again; what changed of its streams is applied, or nothing. */
static void reload(session *s)
{
    run_flags flags;
    om_config config;
    om_reload done;
    memset(&flags, 0, sizeof flags);
    memset(&config, 0, sizeof config);
    int err = om_options_init(run_flag_table, &flags);
    if (!err) err = om_config_init(&config);
    if (!err) err = check_pipes(s->args);
    if (!err) err = configure(s->args, &flags, &config);
    if (!err) tell_differences(s, &config);
    if (!err) err = om_pipeline_reload(s->pipeline, &config, &done);
    if (err) om_log(OM_LOG_ERROR, "reload: %s; the run goes on as it was", om_error_message());
    else
        om_log(OM_LOG_WARN, "reload: %d stream%s added, %d removed, %d changed%s", done.added,
               done.added == 1 ? "" : "s", done.removed, done.changed,
               done.failed ? "; some could not be added" : "");
    om_config_fini(&config);
    om_options_fini(run_flag_table, &flags);
}

/* To the end of the run, however it comes. Returns the exit code. */
static int watch(session *s)
{
    int err;
    om_signals_attach(stop, s->pipeline);
    while ((err = om_pipeline_wait(s->pipeline, 250)) == OM_ERR_TIMEOUT) {
        if (om_signals_take_hup()) reload(s);
        om_ward_tick(&s->ward, s->pipeline);
        om_progress_tick(&s->progress, s->pipeline);
        om_run_watch_tick(&s->watch, s->pipeline);
    }
    om_signals_attach(NULL, NULL);
    int status = om_command_fail(err);
    if (!status && om_pipeline_failures(s->pipeline)) status = OM_EXIT_FAILED;
    summarize(s);
    err = om_ward_end(&s->ward, s->pipeline);
    err = om_command_fail(err ? err : write_report(s));
    int err2 = om_run_watch_end(&s->watch, s->pipeline, s->stdout_taken ? stderr : stdout);
    return status ? status : err ? err : err2;
}

static int open_control(session *s)
{
    return s->control_path ? om_control_open(s->control_path, s->pipeline, &s->control) : OM_OK;
}

/* One that follows another run gets ready beside it, and begins when that has ended. */
static int wait_for_turn(om_pipeline *p, void *user)
{
    session *s = user;
    int err = om_ward_wait(&s->ward, p);
    s->start_ns = om_now_ns();
    return err ? err : open_control(s);
}

static int start_session(session *s, om_config *c)
{
    s->start_ns = om_now_ns();
    s->start_cpu_ns = om_process_cpu_ns();
    int err = open_session(s, c);
    if (!err && s->trace) err = om_trace_start(TRACE_EVENTS);
    if (!err && s->progress.line) om_console_status("loading the model");
    /* First the socket: two runs are not to share one, and the second must not begin. */
    if (!err && !s->ward.follows) err = open_control(s);
    if (!err && s->ward.follows) om_pipeline_on_ready(s->pipeline, wait_for_turn, s);
    if (!err) err = om_pipeline_start(s->pipeline);
    if (!err && s->control) err = om_control_start(s->control);
    if (!err) om_ward_started(&s->ward);
    return err;
}

static int close_session(session *s)
{
    int err = OM_OK;
    om_control_close(s->control);
    om_pipeline_destroy(s->pipeline);
    if (s->trace && om_trace_enabled()) {
        om_trace_stop();
        if (!(s->watch.trace_last > 0)) err = om_trace_export(s->trace);
        om_trace_fini();
    }
    om_progress_fini(&s->progress);
    om_run_watch_fini(&s->watch);
    om_seen_fini(&s->seen);
    om_ward_fini(&s->ward);
    om_free(s->report);
    om_free(s->trace);
    om_free(s->control_path);
    return err;
}

/* There is a file to be read again. */
static bool can_reload(const om_args *args)
{
    bool file = false;
    for (size_t i = 0; i < args->n; i++) file |= !strcmp(args->items[i].option->name, "config-file");
    for (size_t i = 0; i < args->n_positional; i++) file |= is_config(args->positional[i]);
    return file;
}

static int watch_streams(const om_args *args, om_config *c)
{
    session s;
    memset(&s, 0, sizeof s);
    s.args = args;
    om_ward_init(&s.ward);
    if (can_reload(args)) om_signals_catch_hup();
    cpu_set_t cores;
    int err = om_cores_parse(c->run.core_bind, &cores);
    if (!err) err = om_cores_bind(&cores);
    if (!err) om_preflight(c);
    if (!err) err = om_signals_init();
    if (!err) err = start_session(&s, c);
    int status = err ? om_command_fail(err) : watch(&s);
    err = om_command_fail(close_session(&s));
    return status ? status : err;
}

static int run(const om_args *args, int *status)
{
    run_flags flags;
    om_config config;
    int err = om_options_init(run_flag_table, &flags);
    if (err) return err;
    err = om_config_init(&config);
    if (!err) err = configure(args, &flags, &config);
    if (!err) err = om_command_setup("omma run", &config.run);
    if (!err) err = check_outputs(&config);
    if (!err && flags.check) err = check(&config);
    else if (!err && flags.supervise && !getenv(OM_WARD_ENV)) err = om_supervise(config.run.report, status);
    else if (!err) *status = watch_streams(args, &config);
    om_config_fini(&config);
    om_options_fini(run_flag_table, &flags);
    return err;
}

const om_command om_cmd_run = {
    .name = "run",
    .summary = "watch streams: videos and a model in, detections out",
    .usage = "[CONFIG.yaml] -m MODEL VIDEO... [-o SINK]... [OPTIONS]",
    .about =
        "Decodes streams, runs a model on their frames and hands what it finds to sinks. Family, input size, normalisation and "
        "labels are read from the model itself. Without a sink the classes seen are printed at the end. Options can also "
        "stand in CONFIG.yaml (omma init writes one): flags win over it, -i and -o add to its streams and sinks. Ctrl-C "
        "stops gracefully: sinks are finished, the report is written, the exit code is 0; a second Ctrl-C ends at once (130).",
    .examples = "omma run -m yolov8n.onnx cam.mp4\n"
                "omma run -m yolov8n.onnx gate.mp4 yard.mp4 -o jsonl:boxes.jsonl -o video:boxes_%s.mp4\n"
                "omma run -m yolov8n.onnx -i rtsp://camera/stream1 --fps 5 -o jsonl:-\n"
                "omma run cameras.yaml --report report.json --stats 10",
    .tables = tables,
    .run = run,
};
