/* Pictures of an evaluation, through the model and the reference. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd_eval.h"
#include "cli/console.h"
#include "media/media.h"

#define TICK_NS 250000000
#define LEAST_SCORE 0.001f /* boxes count down to here, for curves of precision */
#define CLASSES_SEEN 5
#define LIVE_STEP 25 /* of a camera's pictures one in so many is taken */

om_eval_kind om_eval_kind_of(om_family family)
{
    switch (family) {
    case OM_FAMILY_CLASSIFY: return OM_EVAL_CLASSES;
    case OM_FAMILY_CTC:
    case OM_FAMILY_SLOTS: return OM_EVAL_TEXTS;
    case OM_FAMILY_UNKNOWN:
    case OM_FAMILY_RAW:
    case OM_FAMILY_EMBEDDING: return OM_EVAL_NONE;
    default: return OM_EVAL_BOXES;
    }
}

const char *om_eval_text_of(const om_dets *d)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->items[i].text) return d->items[i].text;
    return "";
}

const char *om_eval_class_name(const char *const *labels, size_t n, int id, char text[32])
{
    if (id >= 0 && (size_t)id < n && labels[id]) return labels[id];
    snprintf(text, 32, "class %d", id);
    return text;
}

static int open_model(om_detector *d, om_run_options *o)
{
    if (o->top_k < CLASSES_SEEN) o->top_k = CLASSES_SEEN;
    int err = om_detector_init(d, o);
    if (err) return err;
    om_engine *e = d->engine;
    om_eval_kind kind = om_eval_kind_of(e->desc->family);
    if (kind == OM_EVAL_NONE)
        return om_fail(OM_ERR_ARG, "%s: its family '%s' finds neither boxes nor classes nor text", o->model,
                       om_family_name(e->desc->family));
    if (kind == OM_EVAL_BOXES && o->conf < 0) e->head->params.conf = LEAST_SCORE;
    return OM_OK;
}

int om_eval_feed_init(om_eval_feed *f, const om_eval_job *job)
{
    const om_eval_flags *fl = job->flags;
    memset(f, 0, sizeof *f);
    f->job = job;
    f->begin_ns = om_now_ns();
    for (int i = 0; i < 2; i++) f->options[i] = *job->options;
    int err = open_model(&f->model, &f->options[0]);
    if (err || !fl->reference) return err;
    f->options[1].model = fl->reference;
    f->options[1].precision = fl->reference_precision;
    if (fl->reference_device) f->options[1].device = fl->reference_device;
    f->two = true;
    return open_model(&f->reference, &f->options[1]);
}

void om_eval_feed_fini(om_eval_feed *f)
{
    for (size_t i = 0; i < OM_EVAL_CHUNK; i++) {
        om_picture_fini(&f->pictures[i]);
        om_picture_fini(&f->twins[i]);
    }
    om_detector_fini(&f->reference);
    om_detector_fini(&f->model);
}

static void show_progress(om_eval_feed *f)
{
    char text[120];
    int64_t now = om_now_ns();
    if (now < f->next_tick_ns || f->job->options->quiet) return;
    if (!f->next_tick_ns) f->begin_ns = now; /* after the models were compiled */
    f->next_tick_ns = now + TICK_NS;
    double seconds = (double)(now - f->begin_ns) / 1e9;
    int n = snprintf(text, sizeof text, "%zu", f->done);
    if (f->total) n += snprintf(text + n, sizeof text - (size_t)n, " of %zu", f->total);
    n += snprintf(text + n, sizeof text - (size_t)n, " pictures");
    if (seconds > 0.5)
        snprintf(text + n, sizeof text - (size_t)n, "  %.1f a second", (double)f->done / seconds);
    om_console_status(text);
}

static int flush(om_eval_feed *f)
{
    size_t n = f->waiting;
    int err = n ? om_detector_run(&f->model, f->pictures, n) : OM_OK;
    if (!err && n && f->two) err = om_detector_run(&f->reference, f->twins, n);
    for (size_t i = 0; i < n && !err; i++) {
        err = f->take(f->user, f->done, &f->pictures[i], f->two ? &f->twins[i] : NULL);
        f->done += !err;
    }
    for (size_t i = 0; i < n; i++) {
        om_picture_fini(&f->pictures[i]);
        om_picture_fini(&f->twins[i]);
    }
    memset(f->pictures, 0, sizeof f->pictures);
    memset(f->twins, 0, sizeof f->twins);
    f->waiting = 0;
    show_progress(f);
    return err;
}

int om_eval_feed_finish(om_eval_feed *f)
{
    int err = flush(f);
    if (!err && !f->done && om_cancelled(f->job->cancel))
        err = om_fail(OM_ERR_CANCELLED, "stopped before the first picture was seen");
    return err;
}

/* The picture at `waiting` is there; the twin gets its frame. */
static int admit(om_eval_feed *f)
{
    om_picture *p = &f->pictures[f->waiting], *twin = &f->twins[f->waiting];
    f->waiting++;
    if (f->two) {
        *twin = (om_picture){.path = p->path, .frame = om_frame_ref(p->frame)};
        int err = om_detector_place(&f->reference, twin);
        if (err) return err;
    }
    return f->waiting == OM_EVAL_CHUNK ? flush(f) : OM_OK;
}

int om_eval_feed_file(om_eval_feed *f, const char *path)
{
    om_picture *p = &f->pictures[f->waiting];
    p->path = path;
    int err = om_detector_load(&f->model, p);
    return err ? err : admit(f);
}

int om_eval_feed_frame(om_eval_feed *f, om_frame *frame, const char *path)
{
    om_picture *p = &f->pictures[f->waiting];
    p->path = path;
    p->frame = om_frame_ref(frame);
    int err = om_detector_place(&f->model, p);
    return err ? err : admit(f);
}

/* `quota` frames (0: all), evenly over the source where its length is known. */
static int feed_source(om_eval_feed *f, const char *uri, size_t quota, size_t *taken)
{
    om_source_params params = {.decode_threads = om_cpu_count(), .cancel = f->job->cancel};
    om_source_counts counts;
    om_source *s;
    om_frame *frame = NULL;
    memset(&counts, 0, sizeof counts);
    int err = om_source_open(uri, &params, &counts, &s);
    if (err) return err;
    double total = s->info.duration_s * s->info.fps, next = 0;
    double step = s->info.live ? LIVE_STEP : quota && total > (double)quota ? total / (double)quota : 1;
    *taken = 0;
    for (double at = 0; (!quota || *taken < quota) && !err; at++) {
        err = om_source_read(s, &frame);
        if (!err && at >= next) {
            err = om_eval_feed_frame(f, frame, uri);
            next += step;
            ++*taken;
        }
        om_frame_unref(frame);
        frame = NULL;
    }
    if (err == OM_ERR_EOF || (err == OM_ERR_CANCELLED && om_cancelled(f->job->cancel))) err = OM_OK;
    int flushed = flush(f); /* frames of a decoder end before it does */
    unsigned long long corrupt = atomic_load(&counts.corrupt);
    if (corrupt) om_log(OM_LOG_WARN, "%s: %llu pictures could not be read", s->shown, corrupt);
    om_source_close(s);
    return err ? err : flushed;
}

int om_eval_feed_sources(om_eval_feed *f, const om_strlist *inputs, int frames)
{
    size_t left = (size_t)frames;
    int err = OM_OK;
    f->total = left;
    for (size_t i = 0; i < inputs->n && !err && !om_cancelled(f->job->cancel); i++) {
        size_t sources = inputs->n - i, taken = 0;
        if (frames && !left) break;
        err = feed_source(f, inputs->items[i], frames ? (left + sources - 1) / sources : 0, &taken);
        left -= frames ? taken : 0;
    }
    if (!err) err = om_eval_feed_finish(f);
    if (!err && !f->done) err = om_fail(OM_ERR_ARG, "there was no picture to compare on");
    return err;
}

void om_eval_judge_stop(const om_eval_feed *feed, int *status)
{
    if (om_cancelled(feed->job->cancel)) *status = OM_EXIT_FAILED;
}

bool om_eval_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int om_eval_list_pictures(const om_strlist *inputs, om_strlist *out)
{
    int err = OM_OK;
    for (size_t i = 0; i < inputs->n && !err; i++) {
        const char *path = inputs->items[i];
        struct stat st;
        bool there = stat(path, &st) == 0;
        if (there ? S_ISDIR(st.st_mode) : strpbrk(path, "*?[") != NULL) err = om_picture_list(path, out);
        else err = om_strlist_add(out, path);
    }
    return err;
}

int om_eval_find_files(const char *folder, const char *const *names, size_t n, om_strlist *out)
{
    size_t missing = 0;
    const char *first = NULL;
    int err = OM_OK;
    for (size_t i = 0; i < n && !err; i++) {
        struct stat st;
        const char *slash = strrchr(names[i], '/');
        char *path = names[i][0] == '/' ? om_strdup(names[i]) : om_sprintf("%s/%s", folder, names[i]);
        if (path && slash && stat(path, &st)) {
            om_free(path);
            path = om_sprintf("%s%s", folder, slash);
        }
        if (path && (!names[i][0] || stat(path, &st))) {
            if (!missing++) first = names[i];
        }
        err = path ? om_strlist_add(out, path) : OM_ERR_NOMEM;
        om_free(path);
    }
    if (!err && missing)
        err = om_fail(OM_ERR_NOT_FOUND,
                      "%zu of %zu pictures are not in %s, the first of them '%s'; -i names their "
                      "folder",
                      missing, n, folder, first);
    return err;
}
