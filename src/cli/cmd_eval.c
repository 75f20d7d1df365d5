/* omma eval: how good results are against ground truth. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/table.h"
#include "eval/mot.h"

typedef struct eval_flags {
    char *mot, *stream, *json;
    double min_iou;
} eval_flags;

#define FLAG(field) offsetof(eval_flags, field)

static const om_option flag_table[] = {
    {"mot", 0, OM_OPT_STRING, FLAG(mot), NULL, 0, 0, NULL, "GT", "Tracks",
     "the true tracks: MOTChallenge rows, frame,id,x,y,w,h and more"},
    {"stream", 0, OM_OPT_STRING, FLAG(stream), NULL, 0, 0, NULL, "NAME", NULL,
     "which stream of the result, where it holds several"},
    {"min-iou", 0, OM_OPT_DOUBLE, FLAG(min_iou), "0.5", 0.01, 1, NULL, "IOU", NULL,
     "least overlap of a box with an object it stands for (HOTA has its own, 0.05 to 0.95)"},
    {"json", 0, OM_OPT_STRING, FLAG(json), NULL, 0, 0, NULL, "FILE", NULL,
     "write the figures as JSON; '-': standard output, in place of the table"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

/* A figure by its name in JSON; whole numbers have no share. */
typedef struct figure {
    const char *key, *title;
    size_t count;
    double share;
    bool whole;
} figure;

#define COUNT(key, title)                                                                                    \
    {                                                                                                        \
#key, title, s->key, 0, true                                                                         \
    }
#define SHARE(key, title)                                                                                    \
    {                                                                                                        \
#key, title, 0, s->key, false                                                                        \
    }

typedef void (*use_fn)(void *user, const figure *f);

static void each_figure(const om_mot_scores *s, use_fn use, void *user)
{
    const figure all[] = {
        SHARE(hota, "HOTA"),
        SHARE(deta, "DetA"),
        SHARE(assa, "AssA"),
        SHARE(loca, "LocA"),
        SHARE(mota, "MOTA"),
        SHARE(motp, "MOTP, mean of 1 - IoU"),
        SHARE(idf1, "IDF1"),
        SHARE(idp, "ID precision"),
        SHARE(idr, "ID recall"),
        SHARE(precision, "precision"),
        SHARE(recall, "recall"),
        COUNT(frames, "frames"),
        COUNT(objects, "true boxes"),
        COUNT(predictions, "boxes of the result"),
        COUNT(truth_ids, "true tracks"),
        COUNT(result_ids, "tracks of the result"),
        COUNT(matches, "matches"),
        COUNT(switches, "switches"),
        COUNT(false_positives, "false positives"),
        COUNT(misses, "misses"),
        COUNT(fragmentations, "fragmentations"),
        COUNT(mostly_tracked, "mostly tracked"),
        COUNT(partially_tracked, "partially tracked"),
        COUNT(mostly_lost, "mostly lost"),
        COUNT(idtp, "ID true positives"),
        COUNT(idfp, "ID false positives"),
        COUNT(idfn, "ID false negatives"),
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) use(user, &all[i]);
}

static void add_row(void *user, const figure *f)
{
    om_table_cell(user, "%s", f->title);
    if (f->whole) om_table_cell(user, "%zu", f->count);
    else if (isfinite(f->share)) om_table_cell(user, "%.4f", f->share);
    else om_table_cell(user, "%s", "-");
}

static void add_member(void *user, const figure *f)
{
    om_json_key(user, f->key);
    if (f->whole) om_json_uint(user, f->count);
    else om_json_num(user, f->share, 6);
}

static int show(const om_mot_scores *s)
{
    static const om_column columns[] = {{"measure", false, 0, 0}, {"value", true, 0, 0}};
    om_table t;
    om_str out = {0};
    om_table_init(&t, columns, sizeof columns / sizeof *columns);
    each_figure(s, add_row, &t);
    int err = om_table_render(&t, om_console_columns(stdout, 0), &out);
    if (!err) fputs(om_str_get(&out), stdout);
    om_table_fini(&t);
    om_str_fini(&out);
    return err;
}

static int write_json(const om_mot_scores *s, const char *path)
{
    om_str out = {0};
    om_json j;
    om_json_init(&j, &out, 2);
    om_json_begin_object(&j);
    each_figure(s, add_member, &j);
    om_json_end_object(&j);
    om_str_addc(&out, '\n');
    int err = out.failed ? om_fail_nomem("the figures") : OM_OK;
    if (!err && !strcmp(path, "-")) fputs(om_str_get(&out), stdout);
    else if (!err) err = om_write_file_atomic(path, om_str_get(&out), out.len);
    om_str_fini(&out);
    return err;
}

static int eval_tracks(const eval_flags *f, const char *result_path)
{
    om_mot_boxes truth = {0}, result = {0};
    om_mot_scores s;
    int err = om_mot_read(f->mot, NULL, true, &truth);
    if (!err) err = om_mot_read(result_path, f->stream, false, &result);
    if (!err) err = om_mot_score(&truth, &result, f->min_iou, &s);
    if (!err && f->json) err = write_json(&s, f->json);
    if (!err && !(f->json && !strcmp(f->json, "-"))) err = show(&s);
    om_mot_boxes_fini(&truth);
    om_mot_boxes_fini(&result);
    return err;
}

static int run(const om_args *args, int *status)
{
    eval_flags f;
    (void)status;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err && !f.mot) err = om_fail(OM_ERR_ARG, "say what to measure: --mot GT.txt RESULT");
    if (!err) err = om_args_expect(args, 1, "one RESULT, tracks as MOTChallenge rows or JSONL");
    if (!err) err = eval_tracks(&f, args->positional[0]);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_eval = {
    .name = "eval",
    .summary = "how good tracks are against ground truth",
    .usage = "--mot GT.txt RESULT",
    .about =
        "Compares the tracks of a result with true ones: HOTA, CLEAR-MOT (MOTA, MOTP, switches and so on, counted as "
        "py-motmetrics does) and identities (IDF1). RESULT is what 'omma run --track ... -o jsonl:FILE' writes, or rows of "
        "MOTChallenge; frames of these count from 1, 'seq' from 0. Rows of GT whose seventh number is 0 are left out.",
    .examples =
        "omma run -m yolov8n.onnx --classes person --track bytetrack video.mp4 -o jsonl:tracks.jsonl\n"
        "omma eval --mot gt.txt tracks.jsonl\n"
        "omma eval --mot gt.txt tracks.txt --json scores.json",
    .tables = tables,
    .run = run,
};
