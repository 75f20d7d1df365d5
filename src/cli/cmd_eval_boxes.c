/* omma eval --truth for detectors: COCO's figures of a model's boxes, or of a file of results. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cmd_eval.h"
#include "cli/console.h"
#include "cli/table.h"
#include "media/media.h"

typedef struct boxes_eval {
    const om_eval_job *job;
    om_eval_feed *feed; /* NULL: boxes come from a file */
    om_eval_set set;
    om_strlist files; /* of the pictures, in the set's order */
    om_eval_map map;
    om_eval_boxes found;
    om_outfile save;
    bool saving;
    size_t saved;
} boxes_eval;

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcasecmp(text + n - m, end);
}

/* Of COCO's JSON: below the named folder, else beside the labels. */
static int find_pictures(boxes_eval *b)
{
    const om_eval_flags *f = b->job->flags;
    const char *slash = strrchr(f->truth, '/');
    char *folder = f->inputs.n ? om_strdup(f->inputs.items[0])
                   : slash     ? om_strndup(f->truth, (size_t)(slash - f->truth) + (slash == f->truth))
                               : om_strdup(".");
    const char **names = om_alloc((b->set.n_images + 1) * sizeof *names);
    int err = folder && names ? OM_OK : OM_ERR_NOMEM;
    for (size_t i = 0; i < b->set.n_images && !err; i++) names[i] = b->set.images[i].file;
    if (!err) err = om_eval_find_files(folder, names, b->set.n_images, &b->files);
    om_free(folder);
    om_free(names);
    return err;
}

static int read_truth(boxes_eval *b)
{
    const om_eval_flags *f = b->job->flags;
    if (ends_with(f->truth, ".csv"))
        return om_fail(OM_ERR_ARG,
                       "%s: a CSV has classes or text; boxes are in COCO's JSON or YOLO's text files",
                       f->truth);
    if (!om_eval_is_folder(f->truth)) {
        if (f->inputs.n > 1)
            return om_fail(OM_ERR_ARG, "name one folder of pictures: the labels say which of them count");
        int err = om_eval_read_coco(f->truth, &b->set);
        return !err && b->feed ? find_pictures(b) : err;
    }
    if (!f->inputs.n)
        return om_fail(OM_ERR_ARG, "%s: a folder of YOLO's labels; name the pictures' folder with -i",
                       f->truth);
    int err = om_eval_list_pictures(&f->inputs, &b->files);
    return err ? err : om_eval_read_yolo(f->truth, &b->files, &b->set);
}

static void warn_truth(const boxes_eval *b)
{
    const om_eval_set *s = &b->set;
    const char *path = b->job->flags->truth;
    if (s->strays && s->fractions)
        om_log(OM_LOG_WARN, "%s: %zu files of labels have no picture", path, s->strays);
    else if (s->strays)
        om_log(OM_LOG_WARN, "%s: %zu annotations are of pictures that are not listed; left out", path,
               s->strays);
    if (s->muted)
        om_log(OM_LOG_WARN,
               "%s: an annotation has the id 0; a box that stands for it counts as wrong, as COCO's "
               "evaluation has it: number them from 1",
               path);
    if (!s->truth.n) om_log(OM_LOG_WARN, "%s: there is no object in it", path);
}

static int take(void *user, size_t index, const om_picture *p, const om_picture *reference)
{
    boxes_eval *b = user;
    size_t from = b->found.n;
    (void)reference;
    int err = om_eval_set_size(&b->set, index, p->frame->image.width, p->frame->image.height);
    if (!err) err = om_eval_boxes_add_dets(&b->found, (int)index, &p->dets);
    size_t kept = from;
    for (size_t i = from; i < b->found.n && !err; i++) {
        om_eval_box *box = &b->found.items[i];
        int id = box->class_id;
        box->class_id = id >= 0 && (size_t)id < b->map.n ? b->map.of[id] : -1;
        if (box->class_id >= 0) b->found.items[kept++] = *box;
    }
    if (!err) b->found.n = kept;
    om_str text = {0};
    for (size_t i = from; b->saving && i < kept && !err; i++)
        om_eval_write_found(&text, &b->set, &b->found.items[i], b->saved++ == 0);
    if (text.failed) err = om_fail_nomem("found boxes");
    if (!err && text.len) err = om_outfile_write(&b->save, text.data, text.len);
    om_str_fini(&text);
    return err;
}

static int match_classes(boxes_eval *b)
{
    const om_model_desc *m = b->feed->model.engine->desc;
    int err = om_eval_match_classes(&b->set, m->labels, (size_t)m->n_labels, m->n_classes,
                                    (om_eval_match_by)b->job->flags->match, &b->map);
    if (err) return om_fail_prefix(err, "%s", b->job->flags->truth);
    if (b->map.unmatched)
        om_log(OM_LOG_WARN, "%zu of %zu classes are none of the model's (%s): nothing of them can be found",
               b->map.unmatched, b->set.n_classes, b->map.examples);
    return OM_OK;
}

static int infer(boxes_eval *b)
{
    om_eval_feed *f = b->feed;
    int err = match_classes(b);
    f->take = take;
    f->user = b;
    f->total = b->set.n_images;
    if (!err && b->job->flags->save) err = om_outfile_open(&b->save, b->job->flags->save);
    b->saving = !err && b->job->flags->save;
    for (size_t i = 0; i < b->set.n_images && !err && !om_cancelled(b->job->cancel); i++)
        err = om_eval_feed_file(f, b->files.items[i]);
    if (!err) err = om_eval_feed_finish(f);
    if (!b->saving) return err;
    const char *end = b->saved ? "\n]\n" : "[]\n";
    if (!err) err = om_outfile_write(&b->save, end, strlen(end));
    if (!err) return om_outfile_commit(&b->save);
    om_outfile_abort(&b->save);
    return err;
}

/* YOLO's labels are shares: the pictures tell their sizes. */
static int read_sizes(boxes_eval *b)
{
    int err = OM_OK;
    for (size_t i = 0; i < b->set.n_images && !err; i++) {
        om_frame *f = NULL;
        err = om_picture_load(b->files.items[i], &f);
        if (!err) err = om_eval_set_size(&b->set, i, f->image.width, f->image.height);
        om_frame_unref(f);
    }
    return err;
}

static int read_found(boxes_eval *b)
{
    size_t foreign;
    const char *path = b->job->flags->detections;
    int err = b->set.fractions ? read_sizes(b) : OM_OK;
    if (!err) err = om_eval_read_found(path, &b->set, &b->found, &foreign);
    if (!err && foreign)
        om_log(OM_LOG_WARN, "%s: %zu boxes are of classes that the labels do not have; left out", path,
               foreign);
    if (!err && !b->found.n) om_log(OM_LOG_WARN, "%s: there is no box in it", path);
    return err;
}

/* COCO's figures in COCO's order. */
typedef struct figure {
    const char *key, *title, *overlap, *area;
    int boxes;
    double value;
} figure;

#define FIGURES 12

static void list_figures(const om_eval_scores *s, figure out[FIGURES])
{
    static const char range[] = "0.50:0.95";
    const figure all[FIGURES] = {{"AP", "precision", range, "all", 100, s->ap},
                                 {"AP50", "precision", "0.50", "all", 100, s->ap50},
                                 {"AP75", "precision", "0.75", "all", 100, s->ap75},
                                 {"APs", "precision", range, "small", 100, s->ap_small},
                                 {"APm", "precision", range, "medium", 100, s->ap_medium},
                                 {"APl", "precision", range, "large", 100, s->ap_large},
                                 {"AR1", "recall", range, "all", 1, s->ar[0]},
                                 {"AR10", "recall", range, "all", 10, s->ar[1]},
                                 {"AR100", "recall", range, "all", 100, s->ar[2]},
                                 {"ARs", "recall", range, "small", 100, s->ar_small},
                                 {"ARm", "recall", range, "medium", 100, s->ar_medium},
                                 {"ARl", "recall", range, "large", 100, s->ar_large}};
    memcpy(out, all, sizeof all);
}

static void cell_value(om_table *t, double v)
{
    if (isnan(v)) om_table_cell(t, "%s", "-");
    else om_table_cell(t, "%.4f", v);
}

static int show_scores(const om_eval_scores *s, om_str *out)
{
    static const om_column columns[] = {{"", false, 0, 0},        {"average", false, 0, 3},
                                        {"overlap", false, 0, 2}, {"area", false, 0, 1},
                                        {"boxes", true, 0, 1},    {"value", true, 0, 0}};
    figure all[FIGURES];
    om_table t;
    list_figures(s, all);
    om_table_init(&t, columns, sizeof columns / sizeof *columns);
    for (int i = 0; i < FIGURES; i++) {
        om_table_cell(&t, "%s", all[i].key);
        om_table_cell(&t, "%s", all[i].title);
        om_table_cell(&t, "%s", all[i].overlap);
        om_table_cell(&t, "%s", all[i].area);
        om_table_cell(&t, "%d", all[i].boxes);
        cell_value(&t, all[i].value);
    }
    int err = om_table_render(&t, om_console_columns(stdout, 0), out);
    om_table_fini(&t);
    return err;
}

static const char *class_name(const boxes_eval *b, int c, char text[32])
{
    const om_eval_category *k = &b->set.classes[c];
    const om_model_desc *m = b->feed ? b->feed->model.engine->desc : NULL;
    if (k->name) return k->name;
    return om_eval_class_name(m ? m->labels : NULL, m ? (size_t)m->n_labels : 0, (int)k->id, text);
}

static int show_classes(const boxes_eval *b, const om_eval_result *r, om_str *out)
{
    static const om_column columns[] = {
        {"class", false, 10, 0}, {"objects", true, 0, 2}, {"boxes", true, 0, 3}, {"AP", true, 0, 0},
        {"AP50", true, 0, 0},    {"AP75", true, 0, 1},    {"AR100", true, 0, 1}};
    om_table t;
    char text[32];
    om_table_init(&t, columns, sizeof columns / sizeof *columns);
    for (int c = 0; c < r->n_classes; c++) {
        const om_eval_class *k = &r->classes[c];
        if (!k->truth && !k->found) continue;
        om_table_cell(&t, "%s", class_name(b, c, text));
        om_table_cell(&t, "%zu", k->truth);
        om_table_cell(&t, "%zu", k->found);
        cell_value(&t, k->scores.ap);
        cell_value(&t, k->scores.ap50);
        cell_value(&t, k->scores.ap75);
        cell_value(&t, k->scores.ar[2]);
    }
    om_str_addc(out, '\n');
    int err = om_table_render(&t, om_console_columns(stdout, 0), out);
    om_table_fini(&t);
    return err;
}

static void put_scores(om_eval_report *r, const om_eval_scores *s)
{
    figure all[FIGURES];
    list_figures(s, all);
    for (int i = 0; i < FIGURES; i++) om_eval_put_num(r, all[i].key, all[i].value);
}

static void put_classes(om_eval_report *r, const boxes_eval *b, const om_eval_result *res)
{
    char text[32];
    om_json_key(&r->j, "classes");
    om_json_begin_array(&r->j);
    for (int c = 0; c < res->n_classes; c++) {
        const om_eval_class *k = &res->classes[c];
        if (!k->truth && !k->found) continue;
        om_json_begin_object(&r->j);
        om_eval_put_text(r, "class", class_name(b, c, text));
        om_json_key(&r->j, "id");
        om_json_int(&r->j, b->set.classes[c].id);
        om_eval_put_count(r, "objects", k->truth);
        om_eval_put_count(r, "boxes", k->found);
        put_scores(r, &k->scores);
        om_json_end_object(&r->j);
    }
    om_json_end_array(&r->j);
}

static int report(boxes_eval *b, const om_eval_result *res)
{
    om_eval_report r;
    om_eval_report_begin(&r, b->job, "boxes");
    om_str_addf(&r.shown, "%zu pictures, %zu objects%s, %zu boxes\n\n", res->images, res->truth,
                res->crowds ? " besides crowds" : "", res->found);
    int err = show_scores(&res->scores, &r.shown);
    if (!err && b->job->flags->per_class) err = show_classes(b, res, &r.shown);
    if (b->feed) om_str_addc(&r.shown, '\n');
    if (b->feed) om_eval_put_feed(&r, b->feed);
    else om_eval_put_count(&r, "pictures", res->images);
    om_eval_put_count(&r, "objects", res->truth);
    om_eval_put_count(&r, "crowds", res->crowds);
    om_eval_put_count(&r, "boxes", res->found);
    put_scores(&r, &res->scores);
    put_classes(&r, b, res);
    return om_eval_report_end(&r, err);
}

static int eval_boxes(const om_eval_job *job, om_eval_feed *feed, int *status)
{
    boxes_eval b = {.job = job, .feed = feed};
    om_eval_result res = {0};
    int err = read_truth(&b);
    if (!err) warn_truth(&b);
    if (!err) err = feed ? infer(&b) : read_found(&b);
    int seen = feed ? (int)feed->done : (int)b.set.n_images;
    if (!err) err = om_eval_detection(&b.set.truth, &b.found, seen, (int)b.set.n_classes, NULL, &res);
    if (!err) err = report(&b, &res);
    if (!err && feed) om_eval_judge_stop(feed, status);
    om_eval_result_fini(&res);
    om_eval_boxes_fini(&b.found);
    om_eval_map_fini(&b.map);
    om_strlist_fini(&b.files);
    om_eval_set_fini(&b.set);
    return err;
}

int om_eval_labels(const om_eval_job *job, int *status)
{
    om_eval_feed feed;
    if (job->flags->detections) return eval_boxes(job, NULL, status);
    int err = om_eval_feed_init(&feed, job);
    bool boxes = !err && om_eval_kind_of(feed.model.engine->desc->family) == OM_EVAL_BOXES;
    if (!err) err = boxes ? eval_boxes(job, &feed, status) : om_eval_words(job, &feed, status);
    om_eval_feed_fini(&feed);
    return err;
}
