/* omma eval --truth for classifiers and readers of text. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "cli/cmd_eval.h"
#include "eval/sheet.h"

typedef struct words_eval {
    const om_eval_job *job;
    om_eval_feed *feed;
    bool texts;
    om_sheet sheet;
    om_strlist files;
    int *truth; /* of each row: its class */
    om_class_scores classes;
    om_text_scores lines;
    om_str wrong; /* texts that differ, for people */
    size_t n_wrong;
} words_eval;

#define SHOWN_WRONG 8

static int take(void *user, size_t index, const om_picture *p, const om_picture *reference)
{
    words_eval *w = user;
    (void)reference;
    if (w->texts) {
        const char *found = om_eval_text_of(&p->dets), *truth = w->sheet.rows[index].word;
        if (strcmp(found, truth) && w->n_wrong++ < SHOWN_WRONG)
            om_str_addf(&w->wrong, "  %s: read '%s', is '%s'\n", w->sheet.rows[index].file, found, truth);
        return om_text_scores_add(&w->lines, found, truth);
    }
    int ranked[5];
    size_t n = 0;
    for (; n < p->dets.n && n < 5; n++) ranked[n] = p->dets.items[n].class_id;
    om_class_scores_add(&w->classes, ranked, n, w->truth[index]);
    return OM_OK;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The words that occur, sorted, each once; they stay the sheet's. */
static size_t list_words(const om_sheet *s, const char **out)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) out[i] = s->rows[i].word;
    qsort(out, s->n, sizeof *out, by_text);
    for (size_t i = 0; i < s->n; i++)
        if (!i || strcmp(out[i], out[n - 1])) out[n++] = out[i];
    return n;
}

/* A word as a class: the model's name, else its number. */
static int class_of(const om_model_desc *m, const char *word)
{
    long long number;
    for (int i = 0; i < m->n_labels; i++)
        if (om_eval_same_name(m->labels[i], word)) return i;
    if (om_parse_int(word, &number) || number < 0 || (m->n_classes && number >= m->n_classes)) return -1;
    return number <= INT32_MAX ? (int)number : -1;
}

/* Names that are none of the model's stand for its classes in order, where there are as many: folders of
 * ImageNet's. */
static int find_classes(words_eval *w)
{
    const om_model_desc *m = w->feed->model.engine->desc;
    const char **words = om_alloc((w->sheet.n + 1) * sizeof *words);
    w->truth = om_alloc((w->sheet.n + 1) * sizeof *w->truth);
    if (!words || !w->truth) {
        om_free(words);
        return OM_ERR_NOMEM;
    }
    size_t n = list_words(&w->sheet, words), unknown = 0;
    const char *first = NULL;
    for (size_t i = 0; i < n; i++) {
        if (class_of(m, words[i]) >= 0) continue;
        if (!unknown++) first = words[i];
    }
    bool in_order = w->job->flags->match == OM_EVAL_MATCH_ORDER ||
                    (w->job->flags->match == OM_EVAL_MATCH_AUTO && unknown == n);
    in_order = in_order && (size_t)m->n_classes == n;
    int err = OM_OK;
    if (unknown && !in_order)
        err = om_fail(OM_ERR_ARG,
                      "%s: %zu of its %zu classes are none of the model's %d, the first of them '%s'",
                      w->job->flags->truth, unknown, n, m->n_classes, first);
    for (size_t i = 0; i < w->sheet.n && !err; i++) {
        const char *word = w->sheet.rows[i].word;
        const char **at = in_order ? bsearch(&word, words, n, sizeof *words, by_text) : NULL;
        w->truth[i] = at ? (int)(at - words) : class_of(m, word);
    }
    om_free(words);
    return err;
}

static int read_truth(words_eval *w)
{
    const om_eval_flags *f = w->job->flags;
    bool folders = om_eval_is_folder(f->truth);
    const char *slash = strrchr(f->truth, '/'), *dot = strrchr(f->truth, '.');
    if (folders && w->texts)
        return om_fail(OM_ERR_ARG, "%s: text is in a CSV of picture and text, not in folders", f->truth);
    if (!folders && dot && !strcasecmp(dot, ".json"))
        return om_fail(OM_ERR_ARG, "%s: the model finds %s, which are in a CSV%s, not in COCO's JSON",
                       f->truth, w->texts ? "texts" : "classes", w->texts ? "" : " or in folders");
    int err = folders ? om_sheet_read_folders(f->truth, &w->sheet) : om_sheet_read_csv(f->truth, &w->sheet);
    char *folder = f->inputs.n ? om_strdup(f->inputs.items[0])
                   : folders   ? om_strdup(f->truth)
                   : slash     ? om_strndup(f->truth, (size_t)(slash - f->truth) + (slash == f->truth))
                               : om_strdup(".");
    const char **names = om_alloc((w->sheet.n + 1) * sizeof *names);
    if (!err && (!folder || !names)) err = OM_ERR_NOMEM;
    for (size_t i = 0; i < w->sheet.n && !err; i++) names[i] = w->sheet.rows[i].file;
    if (!err) err = om_eval_find_files(folder, names, w->sheet.n, &w->files);
    if (!err && !w->texts) err = find_classes(w);
    om_free(folder);
    om_free(names);
    return err;
}

static int report(words_eval *w)
{
    om_eval_report r;
    om_eval_report_begin(&r, w->job, w->texts ? "text" : "classes");
    if (w->texts) {
        const om_text_scores *s = &w->lines;
        om_str_addf(&r.shown, "%zu lines, %zu equal: %.2f %%; %zu errors in %zu characters: %.2f %%\n",
                    s->lines, s->equal, 100 * om_text_scores_exact(s), s->errors, s->characters,
                    100 * om_text_scores_cer(s));
        if (w->wrong.len) om_str_add(&r.shown, om_str_get(&w->wrong));
        if (w->n_wrong > SHOWN_WRONG) om_str_addf(&r.shown, "  and %zu more\n", w->n_wrong - SHOWN_WRONG);
    } else {
        const om_class_scores *s = &w->classes;
        double n = (double)s->pictures;
        om_str_addf(&r.shown, "%zu pictures: top-1 %.2f %%, top-5 %.2f %%\n", s->pictures,
                    100 * (double)s->top1 / n, 100 * (double)s->top5 / n);
    }
    om_eval_put_feed(&r, w->feed);
    if (w->texts) {
        om_eval_put_count(&r, "lines", w->lines.lines);
        om_eval_put_count(&r, "equal", w->lines.equal);
        om_eval_put_num(&r, "exact", om_text_scores_exact(&w->lines));
        om_eval_put_num(&r, "character_error_rate", om_text_scores_cer(&w->lines));
        om_eval_put_count(&r, "characters", w->lines.characters);
        om_eval_put_count(&r, "errors", w->lines.errors);
    } else {
        double n = (double)w->classes.pictures;
        om_eval_put_num(&r, "top1", (double)w->classes.top1 / n);
        om_eval_put_num(&r, "top5", (double)w->classes.top5 / n);
    }
    return om_eval_report_end(&r, OM_OK);
}

int om_eval_words(const om_eval_job *job, om_eval_feed *feed, int *status)
{
    words_eval w = {.job = job, .feed = feed};
    w.texts = om_eval_kind_of(feed->model.engine->desc->family) == OM_EVAL_TEXTS;
    int err = job->flags->save
                  ? om_fail(OM_ERR_ARG, "--save-detections writes boxes; %s finds none", job->options->model)
                  : read_truth(&w);
    feed->take = take;
    feed->user = &w;
    feed->total = w.sheet.n;
    for (size_t i = 0; i < w.files.n && !err && !om_cancelled(job->cancel); i++)
        err = om_eval_feed_file(feed, w.files.items[i]);
    if (!err) err = om_eval_feed_finish(feed);
    if (!err) err = report(&w);
    if (!err) om_eval_judge_stop(feed, status);
    om_sheet_fini(&w.sheet);
    om_strlist_fini(&w.files);
    om_free(w.truth);
    om_str_fini(&w.wrong);
    return err;
}
