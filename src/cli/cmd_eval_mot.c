/* omma eval --mot: tracks against true ones. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/cmd_eval.h"
#include "cli/console.h"
#include "cli/table.h"
#include "eval/mot.h"

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

int om_eval_tracks(const om_eval_flags *f, const char *result)
{
    om_mot_boxes truth = {0}, found = {0};
    om_mot_scores s;
    int err = om_mot_read(f->mot, NULL, true, &truth);
    if (!err) err = om_mot_read(result, f->stream, false, &found);
    if (!err && !truth.n) om_log(OM_LOG_WARN, "%s: there is no box in it", f->mot);
    if (!err && !found.n) om_log(OM_LOG_WARN, "%s: there is no box in it", result);
    if (!err) err = om_mot_score(&truth, &found, f->min_iou, &s);
    if (!err && f->json) err = write_json(&s, f->json);
    if (!err && !(f->json && !strcmp(f->json, "-"))) err = show(&s);
    om_mot_boxes_fini(&truth);
    om_mot_boxes_fini(&found);
    return err;
}
