/* omma detect: one model on pictures. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/detect.h"
#include "cli/table.h"
#include "kernel/draw.h"
#include "media/media.h"
#include "sink/record.h"

typedef struct detect_flags {
    om_strlist images;
    char *engine, *output, *json, *font;
    int batch, repeat;
} detect_flags;

#define FLAG(field) offsetof(detect_flags, field)

static const om_option flag_table[] = {
    {"engine", 0, OM_OPT_STRING, FLAG(engine), NULL, 0, 0, NULL, "PLAN|MODEL", "Pictures",
     "the model, or a plan that 'omma build' made of one; the same as --model"},
    {"image", 'i', OM_OPT_LIST, FLAG(images), NULL, 0, 0, NULL, "FILE|DIR|GLOB", NULL, "pictures to look at"},
    {"output", 'o', OM_OPT_STRING, FLAG(output), NULL, 0, 0, NULL, "FILE|DIR", NULL,
     "draw what was found: a picture for one, a folder for more"},
    {"font", 0, OM_OPT_STRING, FLAG(font), NULL, 0, 0, NULL, "FILE.hex", NULL,
     "letters beyond Latin, Greek and Cyrillic for what is drawn, in the form of GNU Unifont's unifont.hex"},
    {"json", 0, OM_OPT_STRING, FLAG(json), NULL, 0, 0, NULL, "FILE", NULL,
     "write what was found; '-': standard output"},
    {"batch", 'b', OM_OPT_INT, FLAG(batch), "0", 0, OM_BATCH_MAX, NULL, NULL, NULL,
     "pictures at once; 0: the model's own, or 1"},
    {"repeat", 0, OM_OPT_INT, FLAG(repeat), "1", 1, 100000, NULL, NULL, NULL,
     "do it N times, for the timings"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *all[] = {flag_table, NULL, NULL};
    all[1] = om_detector_options();
    return all;
}

static const char *label(const om_model_desc *m, int id, char text[32])
{
    if (id >= 0 && id < m->n_labels) return m->labels[id];
    snprintf(text, 32, "class %d", id);
    return text;
}

static int list_pictures(const om_args *args, const detect_flags *f, om_strlist *out)
{
    int err = OM_OK;
    size_t n = f->images.n + args->n_positional;
    for (size_t i = 0; i < n && !err; i++) {
        const char *path = i < f->images.n ? f->images.items[i] : args->positional[i - f->images.n];
        struct stat st;
        bool there = stat(path, &st) == 0;
        if (there ? S_ISDIR(st.st_mode) : strpbrk(path, "*?[") != NULL) err = om_picture_list(path, out);
        else err = om_strlist_add(out, path);
    }
    if (!err && !out->n) err = om_fail(OM_ERR_ARG, "no picture: name at least one file, folder or glob");
    return err;
}

/* Many pictures go into a folder, and one may. */
static bool is_folder(const char *output, size_t n)
{
    struct stat st;
    return n > 1 || output[strlen(output) - 1] == '/' || (stat(output, &st) == 0 && S_ISDIR(st.st_mode));
}

static int check_folder(const char *path, size_t n)
{
    struct stat st;
    if (stat(path, &st)) return om_outfile_check(path); /* it can be made where a file could */
    if (!S_ISDIR(st.st_mode))
        return om_fail(OM_ERR_IO, "%s: is no folder, which %zu picture%s would go into", path, n,
                       n == 1 ? "" : "s");
    if (access(path, W_OK | X_OK))
        return om_fail(OM_ERR_IO, "%s: cannot write in this folder: %s", path, strerror(errno));
    return OM_OK;
}

/* Before the work: what is drawn can be written. */
static int check_output(const char *output, size_t n)
{
    if (!output || !*output) return OM_OK;
    if (!is_folder(output, n)) {
        int err = om_picture_check(output);
        return err ? err : om_outfile_check(output);
    }
    char *path = om_strdup(output);
    if (!path) return OM_ERR_NOMEM;
    for (size_t len = strlen(path); len > 1 && path[len - 1] == '/';) path[--len] = '\0';
    int err = check_folder(path, n);
    om_free(path);
    return err;
}

/* Where the drawn picture goes: the file itself, or its name in the folder. om_free(). */
static char *target(const detect_flags *f, const om_picture *p, size_t index, bool folder)
{
    if (!folder) return om_strdup(f->output);
    const char *slash = strrchr(p->path, '/'), *base = slash ? slash + 1 : p->path, *dot = strrchr(base, '.');
    int stem = dot && dot > base ? (int)(dot - base) : (int)strlen(base);
    bool jpeg = dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
    /* Pictures of different folders may have one name: the number keeps them apart. */
    return om_sprintf("%s/%04zu_%.*s%s", f->output, index, stem, base, jpeg ? ".jpg" : ".png");
}

static int save(const om_detector *d, const detect_flags *f, const om_font *font, const om_picture *p,
                size_t index, bool folder)
{
    om_frame *drawn;
    om_labels labels = {d->engine->desc->labels, (size_t)d->engine->desc->n_labels};
    char *path = target(f, p, index, folder);
    if (!path) return OM_ERR_NOMEM;
    int err = om_frame_copy_drawable(p->frame, &drawn);
    if (!err) {
        om_draw_dets(&drawn->image, &p->dets, &labels, font);
        err = om_picture_save(path, &drawn->image, 90);
        om_frame_unref(drawn);
    }
    om_free(path);
    return err;
}

static int save_all(const om_detector *d, const detect_flags *f, const om_font *font,
                    const om_picture *pictures, size_t n)
{
    int err = OM_OK;
    if (!f->output || !*f->output) return OM_OK;
    bool folder = is_folder(f->output, n);
    if (folder && mkdir(f->output, 0777) && errno != EEXIST)
        return om_fail(om_err_from_errno(errno), "%s: cannot make this folder: %s", f->output,
                       strerror(errno));
    for (size_t i = 0; i < n && !err; i++)
        if (pictures[i].frame) err = save(d, f, font, &pictures[i], i, folder);
    return err;
}

static void print_picture(const om_detector *d, const om_picture *p, FILE *to)
{
    static const om_column columns[] = {
        {"  class", false, 8, 0}, {"score", true, 0, 0},  {"x", true, 0, 0},    {"y", true, 0, 0},
        {"width", true, 0, 0},    {"height", true, 0, 0}, {"text", false, 8, 0}};
    om_str out = {0};
    om_table t;
    bool texts = false;
    for (size_t i = 0; i < p->dets.n; i++) texts = texts || p->dets.items[i].text;
    om_table_init(&t, columns, sizeof columns / sizeof columns[0] - !texts);
    for (size_t i = 0; i < p->dets.n; i++) {
        const om_detection *o = &p->dets.items[i];
        char text[32];
        om_table_cell(&t, "  %s", label(d->engine->desc, o->class_id, text));
        om_table_cell(&t, "%.3f", (double)o->score);
        const float box[] = {o->x, o->y, o->w, o->h};
        for (int k = 0; k < 4; k++) om_table_cell(&t, "%.1f", (double)box[k]);
        if (texts) om_table_cell(&t, "%s", o->text ? o->text : "");
    }
    fprintf(to, "%s  %dx%d  %zu object%s\n", p->path, p->frame->image.width, p->frame->image.height,
            p->dets.n, p->dets.n == 1 ? "" : "s");
    if (p->dets.n && !om_table_render(&t, om_console_columns(to, 0), &out)) fputs(om_str_get(&out), to);
    if (p->dets.n_vector) fprintf(to, "  a vector of %zu numbers\n", p->dets.n_vector);
    om_table_fini(&t);
    om_str_fini(&out);
}

static const char *const step_names[] = {"load", "prep", "infer", "head"};

static void print_timings(om_detector *d, size_t shown, double seconds, FILE *to)
{
    static const om_column columns[] = {{"ms a batch", false, 0, 0}, {"min", true, 0, 0},
                                        {"mean", true, 0, 0},        {"median", true, 0, 0},
                                        {"p95", true, 0, 0},         {"p99", true, 0, 0}};
    om_str out = {0};
    om_table t;
    om_table_init(&t, columns, sizeof columns / sizeof columns[0]);
    for (int i = 0; i < OM_STEP_COUNT; i++) {
        om_table_cell(&t, "%s%s", step_names[i], i == OM_STEP_LOAD ? " (a picture)" : "");
        om_table_cell(&t, "%.2f", om_timings_quantile(&d->timings[i], 0));
        om_table_cell(&t, "%.2f", om_timings_mean(&d->timings[i]));
        om_table_cell(&t, "%.2f", om_timings_quantile(&d->timings[i], 0.5));
        om_table_cell(&t, "%.2f", om_timings_quantile(&d->timings[i], 0.95));
        om_table_cell(&t, "%.2f", om_timings_quantile(&d->timings[i], 0.99));
    }
    if (!om_table_render(&t, 0, &out)) fprintf(to, "\n%s", om_str_get(&out));
    fprintf(to, "%zu picture%s in %.3f s without loading: %.1f a second, one batch at a time on %s\n", shown,
            shown == 1 ? "" : "s", seconds, seconds > 0 ? (double)shown / seconds : 0, d->engine->note);
    om_table_fini(&t);
    om_str_fini(&out);
}

static void json_picture(om_json *j, const om_model_desc *m, const om_picture *p)
{
    om_json_begin_object(j);
    om_json_key(j, "image");
    om_json_string(j, p->path);
    om_json_key(j, "width");
    om_json_int(j, p->frame->image.width);
    om_json_key(j, "height");
    om_json_int(j, p->frame->image.height);
    om_json_key(j, "objects");
    om_json_begin_array(j);
    for (size_t i = 0; i < p->dets.n; i++)
        om_json_detection(j, &p->dets.items[i], &(om_labels){m->labels, (size_t)m->n_labels});
    om_json_end_array(j);
    om_json_vector(j, &p->dets);
    om_json_end_object(j);
}

static int write_json(om_detector *d, const char *path, const om_picture *pictures, size_t n, double rate)
{
    om_str text = {0};
    om_json j;
    if (!path) return OM_OK;
    om_json_init(&j, &text, 2);
    om_json_begin_object(&j);
    om_json_key(&j, "model");
    om_json_string(&j, d->engine->options->model);
    om_json_key(&j, "engine");
    om_json_string(&j, d->engine->note);
    om_json_key(&j, "images");
    om_json_begin_array(&j);
    for (size_t i = 0; i < n; i++)
        if (pictures[i].frame) json_picture(&j, d->engine->desc, &pictures[i]);
    om_json_end_array(&j);
    om_json_key(&j, "pictures_per_second");
    om_json_num(&j, rate, 3);
    om_json_key(&j, "timings_ms");
    om_json_begin_object(&j);
    for (int i = 0; i < OM_STEP_COUNT; i++) {
        om_json_key(&j, step_names[i]);
        om_json_begin_object(&j);
        static const struct {
            const char *name;
            double q;
        } quantiles[] = {{"min", 0}, {"median", 0.5}, {"p95", 0.95}, {"p99", 0.99}};
        om_json_key(&j, "mean");
        om_json_num(&j, om_timings_mean(&d->timings[i]), 3);
        for (int k = 0; k < 4; k++) {
            om_json_key(&j, quantiles[k].name);
            om_json_num(&j, om_timings_quantile(&d->timings[i], quantiles[k].q), 3);
        }
        om_json_end_object(&j);
    }
    om_json_end_object(&j);
    om_json_end_object(&j);
    om_str_addc(&text, '\n');
    int err = text.failed ? om_fail_nomem("the JSON") : OM_OK;
    if (!err && !strcmp(path, "-")) fputs(text.data, stdout);
    else if (!err) err = om_write_file_atomic(path, text.data, text.len);
    om_str_fini(&text);
    return err;
}

/* Reads all pictures; those that cannot be are told and left out. *loaded: how many could. */
static int load_all(om_detector *d, om_picture *pictures, const om_strlist *paths, size_t *loaded)
{
    *loaded = 0;
    for (size_t i = 0; i < paths->n; i++) {
        pictures[i].path = paths->items[i];
        int err = om_detector_load(d, &pictures[i]);
        if (err && pictures[i].frame) return err; /* the model's fault, not the picture's */
        if (err) om_command_fail(err);
        *loaded += !err;
    }
    return OM_OK;
}

static int detect(const om_run_options *o, const detect_flags *f, const om_strlist *paths, int *status)
{
    om_detector d = {0};
    om_font *font = NULL;
    size_t loaded = 0;
    om_picture *pictures = om_calloc(paths->n, sizeof *pictures);
    if (!pictures) return OM_ERR_NOMEM;
    int err = f->font ? om_font_load(f->font, &font) : OM_OK;
    if (!err) err = om_detector_init(&d, o);
    if (!err) err = load_all(&d, pictures, paths, &loaded);
    int64_t begin = om_now_ns();
    for (int i = 0; i < f->repeat && !err; i++) err = om_detector_run(&d, pictures, paths->n);
    double seconds = (double)(om_now_ns() - begin) / 1e9;
    double rate = seconds > 0 ? (double)loaded * f->repeat / seconds : 0;
    FILE *to = f->json && !strcmp(f->json, "-") ? stderr : stdout;
    if (!err && !o->quiet && loaded) {
        for (size_t i = 0; i < paths->n; i++)
            if (pictures[i].frame) print_picture(&d, &pictures[i], to);
        print_timings(&d, loaded * (size_t)f->repeat, seconds, to);
    }
    if (!err) err = write_json(&d, f->json, pictures, paths->n, rate);
    if (!err) err = save_all(&d, f, font, pictures, paths->n);
    if (loaded < paths->n) *status = OM_EXIT_FAILED;
    for (size_t i = 0; i < paths->n; i++) om_picture_fini(&pictures[i]);
    om_free(pictures);
    om_font_destroy(font);
    om_detector_fini(&d);
    return err;
}

static int run(const om_args *args, int *status)
{
    detect_flags f;
    om_run_options o;
    om_strlist paths = {0};
    int err = om_options_init(flag_table, &f);
    if (err) return err;
    err = om_options_init(om_run_option_table, &o);
    if (!err) err = om_option_set(om_run_option_table, &o, "mode", "latency");
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_apply(args, om_detector_options(), &o);
    o.batch_size = f.batch;
    if (!err && f.engine && o.model)
        err = om_fail(OM_ERR_ARG, "--engine and --model are the same: name one of them");
    if (!err && f.engine) err = om_option_set(om_run_option_table, &o, "model", f.engine);
    if (!err && !o.model) err = om_fail(OM_ERR_ARG, "no model: name one with -m MODEL.onnx");
    if (!err) err = om_command_setup("omma detect", &o);
    if (!err) err = om_outfile_check(f.json);
    if (!err) err = list_pictures(args, &f, &paths);
    if (!err) err = check_output(f.output, paths.n);
    if (!err) err = detect(&o, &f, &paths, status);
    om_strlist_fini(&paths);
    om_options_fini(om_run_option_table, &o);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_detect = {
    .name = "detect",
    .summary = "one model on pictures: boxes, timings, annotated pictures",
    .usage = "-m MODEL PICTURE... [-o ANNOTATED] [OPTIONS]",
    .about =
        "Runs a model on picture files, folders or globs, prints the boxes it finds and what each step took, and draws them.",
    .examples = "omma detect -m yolov8n.onnx street.jpg -o found.png\n"
                "omma detect -m yolov8n.onnx photos/ -o found/ --json found.json\n"
                "omma detect -m yolov8n.onnx street.jpg --repeat 100\n"
                "omma detect --engine yolov8n.plan --image photos/ --batch 4",
    .tables = tables,
    .run = run,
};
