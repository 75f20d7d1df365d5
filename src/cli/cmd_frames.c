/* omma frames: pictures out of videos. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/signals.h"
#include "cli/text.h"
#include "media/media.h"
#include "worker/picture_writer.h"
#include "worker/sampler.h"

#define TICK_NS (OM_NS_PER_SEC / 4)

typedef struct frames_flags {
    om_strlist inputs;
    char *output, *prefix, *log_level;
    double fps, start, end, scene_threshold;
    int format, quality, threads;
    int64_t max_frames;
    bool scene, quiet;
} frames_flags;

#define FLAG(field) offsetof(frames_flags, field)

static const om_option flag_table[] = {
    {"input", 'i', OM_OPT_LIST, FLAG(inputs), NULL, 0, 0, NULL, "URI", "Options",
     "file, folder, glob, http(s)://, rtsp:// or pattern:"},
    {"output", 'o', OM_OPT_STRING, FLAG(output), NULL, 0, 0, NULL, "DIR", NULL,
     "folder for the pictures; made where it is not there"},
    {"prefix", 0, OM_OPT_STRING, FLAG(prefix), NULL, 0, 0, NULL, "TEXT", NULL,
     "what names begin with; default: the input's name"},
    {"format", 0, OM_OPT_CHOICE, FLAG(format), "jpg", 0, 0, om_picture_format_choices, NULL, NULL,
     "of the pictures"},
    {"quality", 0, OM_OPT_INT, FLAG(quality), "92", 1, 100, NULL, NULL, NULL, "of jpg and webp"},
    {"fps", 0, OM_OPT_DOUBLE, FLAG(fps), "0", 0, 1000, NULL, NULL, "Which frames",
     "the first frame of each 1/FPS seconds; 0: all"},
    {"start", 0, OM_OPT_TIME, FLAG(start), "0", 0, 1e9, NULL, NULL, NULL,
     "from here on, as in 90, 1500ms, 2m"},
    {"end", 0, OM_OPT_TIME, FLAG(end), "0", 0, 1e9, NULL, NULL, NULL,
     "up to here, this one not included; 0: to the end"},
    {"scene", 0, OM_OPT_BOOL, FLAG(scene), "no", 0, 0, NULL, NULL, NULL,
     "only the first frame of each scene"},
    {"scene-threshold", 0, OM_OPT_DOUBLE, FLAG(scene_threshold), "0.15", 0, 1, NULL, NULL, NULL,
     "how much a picture must differ from the one before to begin a scene"},
    {"max-frames", 0, OM_OPT_INT64, FLAG(max_frames), "0", 0, 9e15, NULL, NULL, NULL,
     "pictures of each input; 0: all"},
    {"threads", 0, OM_OPT_INT, FLAG(threads), "0", 0, 64, NULL, NULL, "How",
     "decoder threads, and as many that encode; 0: one a core"},
    {"quiet", 'q', OM_OPT_BOOL, FLAG(quiet), "no", 0, 0, NULL, NULL, NULL, "print errors only"},
    {"log-level", 0, OM_OPT_STRING, FLAG(log_level), "warn", 0, 0, NULL, "error|warn|info|debug", NULL,
     "what else is said"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

typedef struct extraction {
    const frames_flags *flags;
    om_cancel *cancel;
    om_picture_writer *writer;
    om_strlist names; /* of the inputs so far: none is used twice */
    uint64_t read, chosen;
    int64_t next_tick_ns;
} extraction;

/* "bikes", or "bikes-2" where an input before had that name too. om_free(). */
static char *unused_name(extraction *x, const char *uri)
{
    char *name = om_uri_name(uri), *whole = NULL;
    const char *prefix = x->flags->prefix;
    if (!name) return NULL;
    if (prefix && x->flags->inputs.n == 1) whole = om_strdup(prefix);
    else whole = prefix ? om_sprintf("%s_%s", prefix, name) : om_strdup(name);
    om_free(name);
    for (int k = 1; whole; k++) {
        char *tried = k == 1 ? om_strdup(whole) : om_sprintf("%s-%d", whole, k);
        bool used = false;
        for (size_t i = 0; tried && i < x->names.n; i++) used = used || !strcmp(x->names.items[i], tried);
        if (tried && used) {
            om_free(tried);
            continue;
        }
        om_free(whole);
        if (tried && om_strlist_add(&x->names, tried)) {
            om_free(tried);
            return NULL;
        }
        return tried;
    }
    return NULL;
}

/* PREFIX_NUMBER_SECONDS: the number of the picture in its stream and its time, to the microsecond. */
static int put(extraction *x, om_frame *f, const char *name)
{
    long long us = (f->pts_ns + 500) / 1000;
    char *path =
        om_sprintf("%s/%s_%06llu_%lld.%06lld.%s", x->flags->output, name, (unsigned long long)f->seq,
                   us / 1000000, us % 1000000, om_picture_format_name((om_picture_format)x->flags->format));
    if (!path) return OM_ERR_NOMEM;
    int err = om_picture_writer_put(x->writer, f, path);
    om_free(path);
    return err;
}

static void show_progress(extraction *x, const om_source *s, const om_frame *f, uint64_t chosen)
{
    int64_t now = om_now_ns();
    char text[200], share[32] = "";
    if (now < x->next_tick_ns || x->flags->quiet) return;
    x->next_tick_ns = now + TICK_NS;
    double end = s->info.duration_s;
    if (x->flags->end > 0 && (end <= 0 || x->flags->end < end)) end = x->flags->end;
    if (end > 0) snprintf(share, sizeof share, "  %.0f%%", 100 * ((double)f->pts_ns / 1e9) / end);
    snprintf(text, sizeof text, "%s  %llu frames read  %llu pictures%s", s->shown,
             (unsigned long long)f->seq + 1, (unsigned long long)chosen, share);
    om_console_status(text);
}

static int extract(extraction *x, om_source *s, const char *name)
{
    const frames_flags *fl = x->flags;
    om_sampler sampler;
    om_sampler_params p = {.start_s = fl->start,
                           .end_s = fl->end,
                           .fps = fl->fps,
                           .scenes = fl->scene,
                           .scene_threshold = fl->scene_threshold};
    uint64_t chosen = 0;
    int err = om_sampler_init(&sampler, &p);
    while (!err) {
        om_frame *f = NULL;
        bool wanted = false;
        err = om_source_read(s, &f);
        if (err) break;
        x->read++;
        err = om_sampler_look(&sampler, f, &wanted);
        if (!err && wanted) err = put(x, f, name);
        chosen += !err && wanted;
        show_progress(x, s, f, chosen);
        om_frame_unref(f);
        if (!err && fl->max_frames && chosen == (uint64_t)fl->max_frames) err = OM_ERR_EOF;
    }
    om_sampler_fini(&sampler);
    x->chosen += chosen;
    if (err == OM_ERR_EOF && !chosen && fl->start > 0)
        return om_fail(OM_ERR_NOT_FOUND, "%s: no frame at or after --start %g s", s->shown, fl->start);
    return err == OM_ERR_EOF || (err == OM_ERR_CANCELLED && om_cancelled(x->cancel)) ? OM_OK : err;
}

static int extract_input(extraction *x, const char *uri)
{
    om_source *s = NULL;
    om_source_counts counts = {0};
    int cores = om_cpu_count();
    om_source_params p = {.decode_threads = x->flags->threads ? x->flags->threads : cores,
                          .cancel = x->cancel};
    char *name = unused_name(x, uri);
    if (!name) return OM_ERR_NOMEM;
    int err = om_source_open(uri, &p, &counts, &s);
    if (!err) err = extract(x, s, name);
    unsigned long long bad = atomic_load(&counts.corrupt);
    if (bad) om_log(OM_LOG_WARN, "%s: %llu damaged packets left out", s ? s->shown : name, bad);
    om_source_close(s);
    om_free(name);
    return err == OM_ERR_CANCELLED && om_cancelled(x->cancel) ? OM_OK : err;
}

static void print_summary(const extraction *x, const om_picture_totals *t, double seconds)
{
    char bytes[32];
    om_text_count((double)t->bytes, bytes, sizeof bytes);
    printf("%llu frame%s read, %llu picture%s in %s (%sB), %.2f s: %.1f frames a second\n",
           (unsigned long long)x->read, x->read == 1 ? "" : "s", (unsigned long long)t->pictures,
           t->pictures == 1 ? "" : "s", x->flags->output, bytes, seconds,
           seconds > 0 ? (double)x->read / seconds : 0);
}

static int extract_all(const frames_flags *f, om_cancel *cancel, int *status)
{
    extraction x = {.flags = f, .cancel = cancel};
    om_picture_totals totals = {0};
    int64_t begin = om_now_ns();
    int err = om_folder_make(f->output);
    if (!err) err = om_picture_writer_create((om_picture_format)f->format, f->quality, f->threads, &x.writer);
    for (size_t i = 0; i < f->inputs.n && !err && !om_cancelled(cancel); i++) {
        int bad = extract_input(&x, f->inputs.items[i]);
        /* One input's fault is told, and the others go on. What cannot be written ends it all. */
        if (bad == OM_ERR_FULL || bad == OM_ERR_NOMEM || f->inputs.n == 1) err = bad;
        else if (bad) *status = om_command_fail(bad);
    }
    int closed = om_picture_writer_close(x.writer, &totals);
    om_console_status(NULL);
    if (!f->quiet && x.read) print_summary(&x, &totals, (double)(om_now_ns() - begin) / 1e9);
    om_strlist_fini(&x.names);
    return closed ? closed : err;
}

static int check(const frames_flags *f)
{
    if (!f->inputs.n) return om_fail(OM_ERR_ARG, "no input: name a video with -i VIDEO");
    if (!f->output) return om_fail(OM_ERR_ARG, "no output: name a folder for the pictures with -o DIR");
    if (f->end > 0 && f->end <= f->start)
        return om_fail(OM_ERR_ARG, "--end %g s is not after --start %g s", f->end, f->start);
    if (f->prefix && strchr(f->prefix, '/'))
        return om_fail(OM_ERR_ARG, "--prefix '%s': a name cannot hold '/'; -o names the folder", f->prefix);
    return OM_OK;
}

static int run(const om_args *args, int *status)
{
    frames_flags f;
    om_run_options o = {0};
    om_cancel cancel;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    for (size_t i = 0; i < args->n_positional && !err; i++)
        err = om_strlist_add(&f.inputs, args->positional[i]);
    if (!err) err = check(&f);
    o.quiet = f.quiet;
    o.log_level = f.log_level;
    if (!err) err = om_command_setup("omma frames", &o);
    if (!err) err = om_signals_init();
    if (!err) err = om_signals_guard(&cancel);
    if (!err) {
        err = extract_all(&f, &cancel, status);
        om_signals_release(&cancel);
    }
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_frames = {
    .name = "frames",
    .summary = "videos into pictures",
    .usage = "-i VIDEO -o DIR [OPTIONS]",
    .about =
        "Writes a video's frames as pictures. Names are PREFIX_NUMBER_SECONDS: the frame's number in its video from 0, "
        "and its time since the video's first frame, to the microsecond. Decoding and encoding go on side by side on "
        "all cores.",
    .examples = "omma frames -i walk.mp4 -o walk/\n"
                "omma frames -i walk.mp4 -o walk/ --fps 2 --start 1m --end 90s --format png\n"
                "omma frames -i walk.mp4 -o cuts/ --scene",
    .tables = tables,
    .run = run,
};
