/* omma annotate: pictures and videos with boxes drawn, and what was found in the forms that training tools
 * read. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/detect.h"
#include "cli/signals.h"
#include "kernel/draw.h"
#include "media/media.h"
#include "worker/annotation.h"
#include "worker/picture_writer.h"
#include "worker/sampler.h"

#define CHUNK 16
#define TICK_NS (OM_NS_PER_SEC / 4)

typedef struct annotate_flags {
    om_strlist inputs;
    char *output, *font;
    double threshold, fps, start, end;
    int batch, quality;
    int64_t max_frames;
    bool pictures, plain, video, json, coco, yolo;
} annotate_flags;

#define FLAG(field) offsetof(annotate_flags, field)

static const om_option flag_table[] = {
    {"input", 'i', OM_OPT_LIST, FLAG(inputs), NULL, 0, 0, NULL, "FILE|DIR|GLOB|URI", "Options",
     "pictures, folders of pictures, videos, streams"},
    {"output", 'o', OM_OPT_STRING, FLAG(output), NULL, 0, 0, NULL, "DIR", NULL,
     "folder for all that is written; made where it is not there"},
    {"threshold", 't', OM_OPT_DOUBLE, FLAG(threshold), "-1", -1, 1, NULL, NULL, NULL,
     "least score of a box, as --conf; -1: as the family has it (0.25)"},
    {"batch", 'b', OM_OPT_INT, FLAG(batch), "0", 0, OM_BATCH_MAX, NULL, NULL, NULL,
     "pictures at once; 0: the model's own, or 1"},
    {"pictures", 0, OM_OPT_BOOL, FLAG(pictures), "yes", 0, 0, NULL, NULL, "What is written",
     "labelled/NAME.jpg: pictures with boxes drawn"},
    {"json", 0, OM_OPT_BOOL, FLAG(json), "yes", 0, 0, NULL, NULL, NULL, "detections.json, a picture a line"},
    {"coco", 0, OM_OPT_BOOL, FLAG(coco), "yes", 0, 0, NULL, NULL, NULL, "coco.json"},
    {"yolo", 0, OM_OPT_BOOL, FLAG(yolo), "yes", 0, 0, NULL, NULL, NULL, "labels/NAME.txt and classes.txt"},
    {"plain", 0, OM_OPT_BOOL, FLAG(plain), "no", 0, 0, NULL, NULL, NULL,
     "images/NAME.jpg: the pictures without boxes, to train on"},
    {"video", 0, OM_OPT_BOOL, FLAG(video), "no", 0, 0, NULL, NULL, NULL,
     "NAME.mp4: of each video one with boxes drawn"},
    {"font", 0, OM_OPT_STRING, FLAG(font), NULL, 0, 0, NULL, "FILE.hex", NULL,
     "letters beyond Latin, Greek and Cyrillic for what is drawn, in the form of GNU Unifont's unifont.hex"},
    {"quality", 0, OM_OPT_INT, FLAG(quality), "90", 1, 100, NULL, NULL, NULL, "of the pictures"},
    {"fps", 0, OM_OPT_DOUBLE, FLAG(fps), "0", 0, 1000, NULL, NULL, "Which frames",
     "of videos the first frame of each 1/FPS seconds; 0: all"},
    {"start", 0, OM_OPT_TIME, FLAG(start), "0", 0, 1e9, NULL, NULL, NULL, "of videos from here on"},
    {"end", 0, OM_OPT_TIME, FLAG(end), "0", 0, 1e9, NULL, NULL, NULL,
     "of videos up to here, this one not included; 0: to the end"},
    {"max-frames", 0, OM_OPT_INT64, FLAG(max_frames), "0", 0, 9e15, NULL, NULL, NULL,
     "of each video; 0: all"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *all[] = {flag_table, NULL, NULL};
    all[1] = om_detector_options();
    return all;
}

/* A picture that waits for its batch. */
typedef struct waiting {
    char *name;         /* owned */
    const char *source; /* of the caller */
    bool video;
} waiting;

typedef struct annotator {
    const annotate_flags *flags;
    bool quiet;
    om_cancel *cancel;
    om_detector detector;
    om_annotations *annotations;
    om_picture_writer *writer;
    om_font *font;
    om_encoder *encoder; /* of the video under way, once it has a frame */
    int width, height;   /* of that video's first frame */
    int64_t first_pts_ns;
    om_strlist names;
    om_picture pictures[CHUNK];
    waiting about[CHUNK];
    size_t n;
    uint64_t done, boxes;
    int64_t next_tick_ns;
} annotator;

static bool is_picture(const char *path)
{
    static const char *const suffixes[] = {".jpg", ".jpeg", ".png", ".bmp", ".webp",
                                           ".tif", ".tiff", ".ppm", ".pgm"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        size_t m = strlen(suffixes[i]);
        if (n > m && !strcasecmp(path + n - m, suffixes[i])) return !strstr(path, "://");
    }
    return false;
}

/* `stem`, or "stem-2" where that name is taken. om_free(). */
static char *unused_name(annotator *a, const char *stem)
{
    for (int k = 1;; k++) {
        char *name = k == 1 ? om_strdup(stem) : om_sprintf("%s-%d", stem, k);
        bool used = false;
        for (size_t i = 0; name && i < a->names.n; i++) used = used || !strcmp(a->names.items[i], name);
        if (name && used) {
            om_free(name);
            continue;
        }
        if (name && om_strlist_add(&a->names, name)) {
            om_free(name);
            return NULL;
        }
        return name;
    }
}

static int write_picture(annotator *a, const char *folder, const char *name, om_frame *f)
{
    char *path = om_sprintf("%s/%s/%s.jpg", a->flags->output, folder, name);
    int err = path ? om_picture_writer_put(a->writer, f, path) : OM_ERR_NOMEM;
    om_free(path);
    return err;
}

static int write_video(annotator *a, const waiting *w, const om_frame *original, const om_frame *drawn)
{
    int err = OM_OK;
    const om_image *img = &drawn->image;
    if (!a->encoder) {
        char *stem = om_uri_name(w->source),
             *path = stem ? om_sprintf("%s/%s.mp4", a->flags->output, stem) : NULL;
        double fps = a->flags->fps > 0 ? a->flags->fps : 25;
        err = path ? om_encoder_open(path, img->width, img->height, fps, &a->encoder) : OM_ERR_NOMEM;
        om_free(stem);
        om_free(path);
        a->width = img->width;
        a->height = img->height;
        a->first_pts_ns = original->pts_ns;
    }
    /* A file keeps its size: frames of another are in the pictures alone. */
    if (err || img->width != a->width || img->height != a->height) return err;
    return om_encoder_write(a->encoder, img, original->pts_ns - a->first_pts_ns);
}

static int write_one(annotator *a, const om_picture *p, const waiting *w)
{
    const annotate_flags *f = a->flags;
    const om_model_desc *m = a->detector.engine->desc;
    om_labels labels = {m->labels, (size_t)m->n_labels};
    om_frame *drawn = NULL;
    int err = OM_OK;
    char *file = w->video || f->plain
                     ? om_sprintf("%s.jpg", w->name)
                     : om_strdup(strrchr(w->source, '/') ? strrchr(w->source, '/') + 1 : w->source);
    char *shown = om_uri_redact(w->source); /* without its password */
    if (!file || !shown) {
        om_free(file);
        om_free(shown);
        return OM_ERR_NOMEM;
    }
    om_annotated item = {.name = w->name,
                         .file = file,
                         .source = shown,
                         .video = w->video,
                         .seq = p->frame->seq,
                         .pts_ns = p->frame->pts_ns,
                         .width = p->frame->image.width,
                         .height = p->frame->image.height,
                         .dets = &p->dets};
    err = om_annotations_add(a->annotations, &item);
    if (!err && f->plain) err = write_picture(a, "images", w->name, p->frame);
    if (!err && (f->pictures || (f->video && w->video))) {
        err = om_frame_copy_drawable(p->frame, &drawn);
        if (!err) om_draw_dets(&drawn->image, &p->dets, &labels, a->font);
        if (!err && f->pictures) err = write_picture(a, "labelled", w->name, drawn);
        if (!err && f->video && w->video) err = write_video(a, w, p->frame, drawn);
        om_frame_unref(drawn);
    }
    om_free(file);
    om_free(shown);
    a->done += !err;
    a->boxes += p->dets.n;
    return err;
}

static void show_progress(annotator *a)
{
    char text[120];
    int64_t now = om_now_ns();
    if (now < a->next_tick_ns || a->quiet) return;
    a->next_tick_ns = now + TICK_NS;
    snprintf(text, sizeof text, "%llu pictures  %llu boxes", (unsigned long long)a->done,
             (unsigned long long)a->boxes);
    om_console_status(text);
}

/* What waits goes through the model and into the files. */
static int flush(annotator *a)
{
    int err = a->n ? om_detector_run(&a->detector, a->pictures, a->n) : OM_OK;
    for (size_t i = 0; i < a->n; i++) {
        if (!err) err = write_one(a, &a->pictures[i], &a->about[i]);
        om_picture_fini(&a->pictures[i]);
        om_free(a->about[i].name);
    }
    memset(a->pictures, 0, sizeof a->pictures);
    a->n = 0;
    show_progress(a);
    return err;
}

/* Picture a->n is loaded and placed; takes over `name`. */
static int queue(annotator *a, char *name, const char *source, bool video)
{
    a->about[a->n++] = (waiting){name, source, video};
    return a->n == CHUNK ? flush(a) : OM_OK;
}

/* *fault: the picture's own, told to the user; the others go on. */
static int add_picture(annotator *a, const char *path, int *status)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    om_picture *p = &a->pictures[a->n];
    p->path = path;
    int err = om_detector_load(&a->detector, p);
    if (err && !p->frame && err != OM_ERR_NOMEM) {
        *status = om_command_fail(OM_ERR_FORMAT);
        return OM_OK;
    }
    char *stem = om_strndup(base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
    char *name = !err && stem ? unused_name(a, stem) : NULL;
    om_free(stem);
    if (!name) {
        om_picture_fini(p);
        return err ? err : OM_ERR_NOMEM;
    }
    return queue(a, name, path, false);
}

static int add_frame(annotator *a, om_frame *f, const char *video, const char *uri)
{
    long long us = (f->pts_ns + 500) / 1000;
    om_picture *p = &a->pictures[a->n];
    p->path = uri;
    p->frame = om_frame_ref(f);
    int err = om_detector_place(&a->detector, p);
    char *name = err ? NULL
                     : om_sprintf("%s_%06llu_%lld.%06lld", video, (unsigned long long)f->seq, us / 1000000,
                                  us % 1000000);
    if (!name) {
        om_picture_fini(p);
        return err ? err : OM_ERR_NOMEM;
    }
    return queue(a, name, uri, true);
}

static int read_video(annotator *a, om_source *s, const char *name, const char *uri)
{
    const annotate_flags *fl = a->flags;
    om_sampler_params sp = {.start_s = fl->start, .end_s = fl->end, .fps = fl->fps};
    om_sampler sampler;
    int64_t n = 0;
    int err = om_sampler_init(&sampler, &sp);
    while (!err) {
        om_frame *f = NULL;
        bool wanted = false;
        err = om_source_read(s, &f);
        if (!err) err = om_sampler_look(&sampler, f, &wanted);
        if (!err && wanted) err = add_frame(a, f, name, uri);
        om_frame_unref(f);
        n += !err && wanted;
        if (!err && fl->max_frames && n == fl->max_frames) err = OM_ERR_EOF;
    }
    om_sampler_fini(&sampler);
    return err;
}

static int add_video(annotator *a, const char *uri)
{
    om_source *s = NULL;
    om_source_counts counts = {0};
    om_source_params p = {.decode_threads = om_cpu_count(), .cancel = a->cancel};
    char *stem = om_uri_name(uri), *name = stem ? unused_name(a, stem) : NULL;
    int err = name ? om_source_open(uri, &p, &counts, &s) : OM_ERR_NOMEM;
    if (!err) err = read_video(a, s, name, uri);
    bool over = err == OM_ERR_EOF || (err == OM_ERR_CANCELLED && om_cancelled(a->cancel));
    int flushed = flush(a); /* what was read before a fault too */
    int closed = a->encoder ? om_encoder_close(a->encoder) : OM_OK;
    a->encoder = NULL;
    om_source_close(s);
    om_free(stem);
    om_free(name);
    return !over ? err : flushed ? flushed : closed;
}

static int add_input(annotator *a, const char *input, int *status)
{
    struct stat st;
    bool there = !stat(input, &st);
    bool many = there ? S_ISDIR(st.st_mode) : strpbrk(input, "*?[") && !strstr(input, "://");
    om_strlist list = {0};
    int err = OM_OK;
    if (!many && !is_picture(input)) {
        err = flush(a); /* a video's frames are written before the next begins */
        return err ? err : add_video(a, input);
    }
    err = many ? om_picture_list(input, &list) : om_strlist_add(&list, input);
    for (size_t i = 0; i < list.n && !err && !om_cancelled(a->cancel); i++)
        err = add_picture(a, list.items[i], status);
    int flushed = flush(a); /* the list's names end here */
    om_strlist_fini(&list);
    return err ? err : flushed;
}

static int make_folder(const char *dir, const char *name)
{
    char *path = om_sprintf("%s/%s", dir, name);
    int err = path ? om_folder_make(path) : OM_ERR_NOMEM;
    om_free(path);
    return err;
}

/* A model that says what a picture is as a whole has nothing to draw. */
static int check_family(const om_model_desc *m, const char *model)
{
    static const om_family whole[] = {OM_FAMILY_CLASSIFY, OM_FAMILY_EMBEDDING, OM_FAMILY_RAW, OM_FAMILY_CTC,
                                      OM_FAMILY_SLOTS};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (m->family == whole[i])
            return om_fail(OM_ERR_ARG, "%s: its family '%s' finds no boxes; annotate wants a detector", model,
                           om_family_name(m->family));
    return OM_OK;
}

static int open_outputs(annotator *a, const om_run_options *o)
{
    const annotate_flags *f = a->flags;
    const om_engine *e = a->detector.engine;
    om_annotations_params p = {.dir = f->output,
                               .forms = (f->json ? OM_ANNOTATE_JSON : 0u) |
                                        (f->coco ? OM_ANNOTATE_COCO : 0u) | (f->yolo ? OM_ANNOTATE_YOLO : 0u),
                               .model = o->model,
                               .engine = e->backend->name,
                               .threshold = (double)e->head->params.conf,
                               .labels = {e->desc->labels, (size_t)e->desc->n_labels}};
    int err = om_folder_make(f->output);
    if (!err && f->pictures) err = make_folder(f->output, "labelled");
    if (!err && f->plain) err = make_folder(f->output, "images");
    if (!err) err = om_annotations_open(&p, &a->annotations);
    if (!err) err = om_picture_writer_create(OM_PICTURE_JPG, f->quality, 0, &a->writer);
    return err;
}

static int annotate(const om_run_options *o, const annotate_flags *f, om_cancel *cancel, int *status)
{
    annotator a = {.flags = f, .quiet = o->quiet, .cancel = cancel};
    om_picture_totals totals = {0};
    int err = f->font ? om_font_load(f->font, &a.font) : OM_OK;
    if (!err) err = om_detector_init(&a.detector, o);
    if (!err) err = check_family(a.detector.engine->desc, o->model);
    if (!err) err = open_outputs(&a, o);
    int64_t begin = om_now_ns();
    for (size_t i = 0; i < f->inputs.n && !err && !om_cancelled(cancel); i++) {
        err = add_input(&a, f->inputs.items[i], status);
        bool its_own = err == OM_ERR_NOT_FOUND || err == OM_ERR_FORMAT || err == OM_ERR_UNSUPPORTED;
        if (its_own && f->inputs.n > 1) { /* the others go on */
            *status = om_command_fail(err);
            err = flush(&a);
        }
    }
    for (size_t i = 0; i < a.n; i++) {
        om_picture_fini(&a.pictures[i]);
        om_free(a.about[i].name);
    }
    int written = om_picture_writer_close(a.writer, &totals);
    if (!err) err = written;
    bool ok = !err || a.done; /* what was found before a fault is kept */
    int closed = om_annotations_close(a.annotations, ok);
    if (!err) err = closed;
    double seconds = (double)(om_now_ns() - begin) / 1e9;
    om_console_status(NULL);
    if (!o->quiet && a.done)
        printf("%llu picture%s, %llu box%s in %s, %.2f s: %.1f pictures a second\n",
               (unsigned long long)a.done, a.done == 1 ? "" : "s", (unsigned long long)a.boxes,
               a.boxes == 1 ? "" : "es", f->output, seconds, seconds > 0 ? (double)a.done / seconds : 0);
    om_strlist_fini(&a.names);
    om_font_destroy(a.font);
    om_detector_fini(&a.detector);
    return err;
}

static int check(const annotate_flags *f, const om_run_options *o)
{
    if (!o->model) return om_fail(OM_ERR_ARG, "no model: name one with -m MODEL.onnx");
    if (!f->inputs.n) return om_fail(OM_ERR_ARG, "no input: name a picture, folder or video with -i");
    if (!f->output) return om_fail(OM_ERR_ARG, "no output: name a folder with -o DIR");
    if (!(f->pictures || f->plain || f->video || f->json || f->coco || f->yolo))
        return om_fail(OM_ERR_ARG, "nothing to write: all of pictures, json, coco and yolo are off");
    if (f->end > 0 && f->end <= f->start)
        return om_fail(OM_ERR_ARG, "--end %g s is not after --start %g s", f->end, f->start);
    return OM_OK;
}

static int run(const om_args *args, int *status)
{
    annotate_flags f;
    om_run_options o;
    om_cancel cancel;
    int err = om_options_init(flag_table, &f);
    if (err) return err;
    err = om_options_init(om_run_option_table, &o);
    if (!err) err = om_option_set(om_run_option_table, &o, "mode", "latency");
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_apply(args, om_detector_options(), &o);
    for (size_t i = 0; i < args->n_positional && !err; i++)
        err = om_strlist_add(&f.inputs, args->positional[i]);
    o.batch_size = f.batch;
    if (f.threshold >= 0) o.conf = f.threshold;
    if (!err) err = check(&f, &o);
    if (!err) err = om_command_setup("omma annotate", &o);
    if (!err) err = om_signals_init();
    if (!err) err = om_signals_guard(&cancel);
    if (!err) {
        err = annotate(&o, &f, &cancel, status);
        om_signals_release(&cancel);
    }
    om_options_fini(om_run_option_table, &o);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_annotate = {
    .name = "annotate",
    .summary = "pictures or videos into labelled pictures, COCO and YOLO text",
    .usage = "-m MODEL -i INPUT -o DIR [OPTIONS]",
    .about =
        "Runs a detector over pictures, folders and videos. Writes the pictures with boxes drawn, and what was "
        "found as JSON, COCO and YOLO text, to be corrected and trained on.",
    .examples = "omma annotate -m yolov8n.onnx photos/ -o found/\n"
                "omma annotate -m yolov8n.onnx walk.mp4 -o walk/ --fps 2 --threshold 0.4 --plain\n"
                "omma annotate -m yolov8n.onnx walk.mp4 -o walk/ --video --no-pictures",
    .tables = tables,
    .run = run,
};
