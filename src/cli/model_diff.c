/* omma model diff: what tells two models apart. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/model_tools.h"
#include "cli/table.h"
#include "cli/text.h"
#include "model/diff.h"

#define MAX_ROWS 40 /* a part, in the table */

typedef struct diff_flags {
    bool json, all;
} diff_flags;

static const om_option flag_table[] = {
    {"all", 0, OM_OPT_BOOL, offsetof(diff_flags, all), "no", 0, 0, NULL, NULL, "Options",
     "every difference, not only the first 40 of a kind"},
    {"json", 0, OM_OPT_BOOL, offsetof(diff_flags, json), "no", 0, 0, NULL, NULL, NULL, "as JSON"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

static void count(const om_diff *d, int counts[OM_DIFF_PARTS][3])
{
    memset(counts, 0, OM_DIFF_PARTS * sizeof counts[0]);
    for (size_t i = 0; i < d->n; i++) counts[d->items[i].part][d->items[i].change]++;
}

static void cell(om_table *t, const char *text)
{
    char clean[512];
    om_text_clean(text, clean, sizeof clean);
    om_table_cell(t, "%s", clean);
}

static int print_table(const om_diff *d, const diff_flags *f, int width, om_str *out)
{
    static const om_column columns[] = {{"what", false, 0, 0},
                                        {"change", false, 0, 0},
                                        {"name", false, 12, 0},
                                        {"first", false, 12, 0},
                                        {"second", false, 12, 0}};
    int shown[OM_DIFF_PARTS] = {0};
    om_table t;
    om_table_init(&t, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < d->n; i++) {
        const om_diff_item *item = &d->items[i];
        char second[600];
        if (shown[item->part]++ >= MAX_ROWS && !f->all) continue;
        if (item->max_difference >= 0)
            snprintf(second, sizeof second, "differs by up to %.3g", item->max_difference);
        else snprintf(second, sizeof second, "%s", item->b);
        om_table_cell(&t, "%s", om_diff_part_names[item->part]);
        om_table_cell(&t, "%s", om_diff_change_names[item->change]);
        cell(&t, item->name);
        cell(&t, item->a);
        cell(&t, second);
    }
    int err = d->n ? om_table_render(&t, width, out) : OM_OK;
    om_table_fini(&t);
    return err;
}

static void print_summary(const om_diff *d, const diff_flags *f, om_str *out)
{
    int counts[OM_DIFF_PARTS][3];
    count(d, counts);
    for (int p = 0; p < OM_DIFF_PARTS && !f->all; p++) {
        int all = counts[p][0] + counts[p][1] + counts[p][2];
        if (all > MAX_ROWS)
            om_str_addf(out, "... and %d more of %s (--all shows them)\n", all - MAX_ROWS,
                        om_diff_part_names[p]);
    }
    if (!d->n) om_str_add(out, "the same: ");
    om_str_addf(out, "%d operators and %d weights are the same", d->same_nodes, d->same_weights);
    for (int p = 0; p < OM_DIFF_PARTS; p++)
        for (int c = 0; c < 3; c++)
            if (counts[p][c])
                om_str_addf(out, ", %d %s %s", counts[p][c], om_diff_part_names[p], om_diff_change_names[c]);
    om_str_addc(out, '\n');
}

static void print_json(const om_diff *d, om_str *out)
{
    om_json j;
    om_json_init(&j, out, 2);
    om_json_begin_object(&j);
    om_json_key(&j, "same"), om_json_bool(&j, !d->n);
    om_json_key(&j, "same_operators"), om_json_int(&j, d->same_nodes);
    om_json_key(&j, "same_weights"), om_json_int(&j, d->same_weights);
    om_json_key(&j, "differences");
    om_json_begin_array(&j);
    for (size_t i = 0; i < d->n; i++) {
        const om_diff_item *item = &d->items[i];
        om_json_begin_object(&j);
        om_json_key_string(&j, "what", om_diff_part_names[item->part]);
        om_json_key_string(&j, "change", om_diff_change_names[item->change]);
        om_json_key_string(&j, "name", item->name);
        om_json_key_string(&j, "first", item->change == OM_DIFF_ADDED ? NULL : item->a);
        om_json_key_string(&j, "second", item->change == OM_DIFF_REMOVED ? NULL : item->b);
        om_json_key(&j, "max_difference");
        if (item->max_difference >= 0) om_json_num(&j, item->max_difference, 12);
        else om_json_null(&j);
        om_json_end_object(&j);
    }
    om_json_end_array(&j);
    om_json_end_object(&j);
    om_str_addc(out, '\n');
}

static int diff(const char *first, const char *second, const diff_flags *f, int *status)
{
    om_graph *a = NULL, *b = NULL;
    om_diff *d = NULL;
    om_str out = {0};
    int err = om_model_open(first, &a);
    if (!err) err = om_model_open(second, &b);
    if (!err) err = om_graph_diff(a, b, &d);
    if (!err && f->json) print_json(d, &out);
    else if (!err) {
        err = print_table(d, f, om_console_columns(stdout, 0), &out);
        print_summary(d, f, &out);
    }
    if (!err && out.failed) err = om_fail_nomem("the differences");
    if (!err) fputs(om_str_get(&out), stdout);
    if (!err && d->n) *status = OM_EXIT_FAILED;
    om_str_fini(&out);
    om_diff_free(d);
    om_graph_destroy(a);
    om_graph_destroy(b);
    return err;
}

static int run(const om_args *args, int *status)
{
    diff_flags f;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_expect(args, 2, "two models");
    if (!err) err = diff(args->positional[0], args->positional[1], &f, status);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_model_diff = {
    .name = "model diff",
    .summary = "what tells two models apart",
    .usage = "FIRST.onnx SECOND.onnx [--json]",
    .about =
        "Compares metadata, inputs, outputs, operators and weights; operators are matched by what they make, then by their "
        "names. Exit code 0: the same; 1: not.",
    .examples = "omma model diff yolov8n.onnx yolov8n-simple.onnx",
    .tables = tables,
    .run = run,
};
