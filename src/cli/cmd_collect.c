/* omma collect: pictures to calibrate with, out of what cameras see. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "cli/collect.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/signals.h"

#define DAY_US 86400e6

typedef struct collect_flags {
    om_strlist inputs;
    char *output;
    int count, distance, format, quality;
    double hard, interval, duration, max_age;
} collect_flags;

#define FLAG(field) offsetof(collect_flags, field)

static const om_option flag_table[] = {
    {"input", 'i', OM_OPT_LIST, FLAG(inputs), NULL, 0, 0, NULL, "URI", "Options",
     "camera or video: file, folder, glob, http(s)://, rtsp:// or pattern:"},
    {"output", 'o', OM_OPT_STRING, FLAG(output), NULL, 0, 0, NULL, "DIR", NULL,
     "folder for the pictures, manifest.json and contact.jpg; goes on with what it holds"},
    {"format", 0, OM_OPT_CHOICE, FLAG(format), "jpg", 0, 0, om_picture_format_choices, NULL, NULL,
     "of the pictures"},
    {"quality", 0, OM_OPT_INT, FLAG(quality), "95", 1, 100, NULL, NULL, NULL, "of jpg and webp"},
    {"count", 'n', OM_OPT_INT, FLAG(count), "1000", 1, 100000, NULL, NULL, "Which pictures",
     "how many to keep; once they are there, better ones take the place of others"},
    {"distance", 0, OM_OPT_INT, FLAG(distance), "6", 0, OM_SIGHT_BITS, NULL, "BITS", NULL,
     "of 256 that tell what a picture looks like: a stream's pictures that differ in fewer are the same"},
    {"hard", 0, OM_OPT_DOUBLE, FLAG(hard), "0.3", 0, 1, NULL, "SHARE", NULL,
     "of the pictures that may be kept for being hard: dark, blurred, few or many objects, low scores"},
    {"interval", 0, OM_OPT_TIME, FLAG(interval), "0", 0, 1e6, NULL, NULL, NULL,
     "between pictures that are looked at; 0: 2s of a camera, of a file by its length"},
    {"duration", 0, OM_OPT_TIME, FLAG(duration), "0", 0, 1e9, NULL, NULL, NULL,
     "of a camera; 0: until all pictures are there"},
    {"max-age", 0, OM_OPT_DOUBLE, FLAG(max_age), "90", 0, 1e6, NULL, "DAYS", NULL,
     "warn where what the folder holds is older; 0: never"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *all[] = {flag_table, NULL, NULL};
    all[1] = om_detector_options();
    return all;
}

static void put_bins(om_str *o, const char *what, const char *const *names, const size_t *v, int n,
                     size_t all)
{
    om_str_addf(o, "  %-11s", what);
    for (int i = 0; i < n; i++)
        om_str_addf(o, "%s%s %.0f %%", i ? ", " : "", names[i], all ? 100.0 * (double)v[i] / (double)all : 0);
    om_str_addc(o, '\n');
}

static void put_streams(om_str *o, const om_collection *c)
{
    for (size_t i = 0; i < c->n_streams; i++) {
        const om_collected_stream *s = &c->streams[i];
        om_str_addf(o, "  %s: %zu kept of %llu looked at, %llu like others\n", s->name, s->kept,
                    (unsigned long long)s->looked, (unsigned long long)s->alike);
    }
}

static int print(const om_collection *c, const char *folder)
{
    om_coverage v;
    om_str out = {0};
    om_strlist gaps = {0};
    const char *hard[OM_HARD_COUNT];
    om_coverage_of(c, &v);
    for (int i = 0; i < OM_HARD_COUNT; i++) hard[i] = om_hard_name(1u << i);
    om_str_addf(&out, "%s: %zu of %zu pictures from %zu stream%s\n", folder, c->n, c->most, c->n_streams,
                c->n_streams == 1 ? "" : "s");
    put_streams(&out, c);
    if (v.n) {
        om_str_addf(&out, "  %-11sday %.0f %%, night %.0f %%\n", "light",
                    100.0 * (double)(v.n - v.night) / (double)v.n, 100.0 * (double)v.night / (double)v.n);
        put_bins(&out, "motion", om_motion_bin_names, v.motion, OM_MOTION_BINS, v.n);
        if (v.counted) put_bins(&out, "objects", om_object_bin_names, v.objects, OM_OBJECT_BINS, v.counted);
        put_bins(&out, "hard", hard, v.hard, OM_HARD_COUNT, v.n);
    }
    int err = om_coverage_gaps(&v, &gaps);
    for (size_t i = 0; i < gaps.n; i++) om_str_addf(&out, "  thin: %s\n", gaps.items[i]);
    if (!err && out.failed) err = om_fail_nomem("the summary");
    if (!err) fputs(om_str_get(&out), stdout);
    om_strlist_fini(&gaps);
    om_str_fini(&out);
    return err;
}

static void warn_age(const om_collection *c, const collect_flags *f)
{
    double days = (double)(om_wall_us() - c->updated_us) / DAY_US;
    if (c->n && f->max_age > 0 && days > f->max_age)
        om_log(OM_LOG_WARN,
               "%s: its pictures are %.0f days old, more than --max-age %g: a new folder would show what "
               "the cameras see now",
               f->output, days, f->max_age);
}

static int collect(const collect_flags *f, const om_run_options *o, om_cancel *cancel, int *status)
{
    om_collector *c = NULL;
    size_t failed = 0;
    om_collect_params p = {.folder = f->output,
                           .inputs = &f->inputs,
                           .count = f->count,
                           .distance = f->distance,
                           .format = f->format,
                           .quality = f->quality,
                           .hard_share = f->hard,
                           .interval_s = f->interval,
                           .duration_s = f->duration,
                           .model = o->model ? o : NULL,
                           .cancel = cancel,
                           .quiet = o->quiet};
    int err = om_collector_create(&p, &c);
    if (err) return err;
    warn_age(om_collector_set(c), f);
    err = om_collector_run(c, &failed);
    om_console_status(NULL);
    if (err) *status = om_command_fail(err);
    /* What was kept so far is worth its manifest, whatever ended it. */
    err = om_collector_finish(c);
    if (!err && failed) *status = OM_EXIT_FAILED;
    if (!err && !o->quiet) err = print(om_collector_set(c), f->output);
    om_collector_destroy(c);
    return err;
}

static int run_with(const om_args *args, collect_flags *f, om_run_options *o, int *status)
{
    om_cancel cancel;
    int err = om_args_apply(args, flag_table, f);
    if (!err) err = om_args_apply(args, om_detector_options(), o);
    for (size_t i = 0; i < args->n_positional && !err; i++)
        err = om_strlist_add(&f->inputs, args->positional[i]);
    if (!err) err = om_command_setup("omma collect", o);
    if (!err && !f->inputs.n) err = om_fail(OM_ERR_ARG, "no input: name a camera or a video with -i URI");
    if (!err && !f->output)
        err = om_fail(OM_ERR_ARG, "no output: name a folder for the pictures with -o DIR");
    if (!err) err = om_signals_init();
    if (!err) err = om_signals_guard(&cancel);
    if (err) return err;
    err = collect(f, o, &cancel, status);
    om_signals_release(&cancel);
    return err;
}

static int run(const om_args *args, int *status)
{
    collect_flags f;
    om_run_options o;
    int err = om_options_init(flag_table, &f);
    if (err) return err;
    err = om_options_init(om_run_option_table, &o);
    if (!err) err = om_option_set(om_run_option_table, &o, "mode", "latency");
    if (!err) err = run_with(args, &f, &o, status);
    om_options_fini(om_run_option_table, &o);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_collect = {
    .name = "collect",
    .summary = "pictures to calibrate with, out of what cameras see",
    .usage = "URI... -o DIR [-m MODEL] [OPTIONS]",
    .about =
        "Looks at cameras and videos and keeps pictures that differ from each other, spread over streams and time, hard ones "
        "among them: dark, blurred and, with a model, those with few or many objects or low scores. Writes the pictures, "
        "manifest.json and contact.jpg, and says what they cover. Called again with the same folder it goes on: files from "
        "where they were left, cameras with what they show now. Ctrl-C keeps what is there. omma run --drift DIR says when "
        "the cameras show something else.",
    .examples = "omma collect rtsp://gate/1 rtsp://yard/1 -o frames/ --duration 24h\n"
                "omma collect day.mp4 night.mp4 -o frames/ -n 500 -m yolov8n.onnx\n"
                "omma quantize yolov8n.onnx -o yolov8n-int8.onnx --calib frames/",
    .tables = tables,
    .run = run,
};
