/* omma train: a new classification head on a frozen model. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/outputs.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "train/train.h"

#define MOST_CLASSES 30 /* shown */

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {om_train_option_table, om_learning_option_table, NULL};
    return all;
}

/* The class that this one is taken for most often; -1: never for another. */
static int confused_with(const om_train_result *r, size_t c)
{
    int worst = -1;
    size_t n = r->names.n;
    for (size_t k = 0; k < n; k++) {
        uint32_t v = r->confusion[c * n + k];
        if (k != c && v && (worst < 0 || v > r->confusion[c * n + (size_t)worst])) worst = (int)k;
    }
    return worst;
}

static void percent_cell(om_table *t, double v)
{
    if (isnan(v)) om_table_cell(t, "-");
    else om_table_cell(t, "%.1f%%", 100 * v);
}

static int print_classes(const om_train_result *r, om_str *out)
{
    static const om_column columns[] = {{"class", false, 12, 0},    {"learnt", true, 0, 2},
                                        {"held out", true, 0, 1},   {"precision", true, 0, 0},
                                        {"recall", true, 0, 0},     {"F1", true, 0, 3},
                                        {"taken for", false, 10, 4}};
    om_table t;
    om_table_init(&t, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < r->names.n && i < MOST_CLASSES; i++) {
        const om_train_class *c = &r->classes[i];
        int other = confused_with(r, i);
        om_table_cell(&t, "%s", r->names.items[i]);
        om_table_cell(&t, "%zu", c->learnt);
        om_table_cell(&t, "%zu", c->held_out);
        percent_cell(&t, c->precision);
        percent_cell(&t, c->recall);
        percent_cell(&t, c->f1);
        if (other < 0) om_table_cell(&t, "%s", "");
        else om_table_cell(&t, "%s %u", r->names.items[other], r->confusion[i * r->names.n + (size_t)other]);
    }
    int err = om_table_render(&t, om_console_columns(stdout, 0), out);
    om_table_fini(&t);
    if (r->names.n > MOST_CLASSES)
        om_str_addf(out, "and %zu classes more; --report has all\n", r->names.n - MOST_CLASSES);
    return err;
}

static int print(const om_train_options *o, const om_train_result *r)
{
    om_str out = {0};
    int err = OM_OK;
    if (r->stopped) {
        om_str_addf(&out, "stopped after %lld steps%s%s\n", (long long)r->steps,
                    o->checkpoint && r->classes ? "; --resume goes on from " : "; nothing was written",
                    o->checkpoint && r->classes ? o->checkpoint : "");
    } else {
        if (r->held_out) err = print_classes(r, &out);
        om_str_addf(&out, "%s: %d epochs in %.1f s, the best is %d%s; ", o->output, r->n_epochs, r->train_s,
                    r->best_epoch + 1, r->patience ? " (stopped early)" : "");
        if (r->held_out) om_str_addf(&out, "%.2f%% of %zu held out are right, ", 100 * r->top1, r->held_out);
        om_str_addf(&out, "%.2f%% of %zu learnt\n", 100 * r->train_top1, r->learnt);
    }
    if (!err && out.failed) err = om_fail_nomem("the summary");
    if (!err) fputs(om_str_get(&out), stdout);
    om_str_fini(&out);
    return err;
}

static int write_report(const char *data, const om_train_options *o, const om_learning *l,
                        const om_train_result *r)
{
    om_str text = {0};
    om_json j;
    om_json_init(&j, &text, 1);
    om_json_begin_object(&j);
    om_train_report_json(data, o, l, r, &j);
    om_json_end_object(&j);
    om_str_addc(&text, '\n');
    int err = text.failed ? om_fail_nomem("the report") : OM_OK;
    if (!err && !strcmp(o->report, "-")) fputs(text.data, stdout);
    else if (!err) err = om_write_file_atomic(o->report, text.data, text.len);
    om_str_fini(&text);
    return err;
}

static int work(const char *data, const om_train_options *o, const om_learning *l)
{
    om_train_listener listener = {0};
    om_train_result r = {0};
    om_cancel cancel;
    bool silent = o->quiet || (o->report && !strcmp(o->report, "-"));
    if (!o->quiet) {
        listener.line = om_console_on_line;
        listener.progress = om_console_on_progress;
    }
    int err = om_signals_guard(&cancel);
    if (err) return err;
    err = om_train(data, o, l, &cancel, &listener, &r);
    om_signals_release(&cancel);
    if (!err && o->report) err = write_report(data, o, l, &r);
    if (!err && !silent) err = print(o, &r);
    om_train_result_fini(&r);
    return err;
}

/* A folder, there or not. */
static int check_folder(const char *path)
{
    struct stat st;
    if (!path) return OM_OK;
    if (stat(path, &st)) return om_outfile_check(path);
    if (!S_ISDIR(st.st_mode)) return om_fail(OM_ERR_IO, "%s: is a file; expected a folder", path);
    if (access(path, W_OK | X_OK)) return om_fail(OM_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
    return OM_OK;
}

static int check_outputs(const om_train_options *t)
{
    const om_output files[] = {{"output", t->output, false},
                               {"checkpoint", t->checkpoint, true},
                               {"cache", t->cache, false},
                               {"report", t->report, false}};
    int err = om_outputs_check(files, sizeof files / sizeof *files);
    if (err) return err;
    err = check_folder(t->dump);
    return err ? om_fail_prefix(err, "--dump") : OM_OK;
}

static int run(const om_args *args, int *status)
{
    om_train_options t;
    om_learning l;
    om_run_options o = {0};
    (void)status;
    int err = om_options_init(om_train_option_table, &t);
    int other = om_options_init(om_learning_option_table, &l);
    if (!err) err = other;
    if (!err) err = om_args_apply(args, om_train_option_table, &t);
    if (!err) err = om_args_apply(args, om_learning_option_table, &l);
    if (!err) err = om_args_expect(args, 1, "DATA, a folder of class folders or a CSV of path,class");
    o.quiet = t.quiet;
    o.log_level = t.log_level;
    if (!err) err = om_command_setup("omma train", &o);
    if (!err) err = check_outputs(&t);
    if (!err) err = om_signals_init();
    if (!err) err = work(args->positional[0], &t, &l);
    om_options_fini(om_train_option_table, &t);
    om_options_fini(om_learning_option_table, &l);
    return err;
}

const om_command om_cmd_train = {
    .name = "train",
    .summary = "a new classification head on a frozen model",
    .usage = "DATA -m MODEL -o NEW.onnx [OPTIONS]",
    .about =
        "Computes the features of labelled pictures once, trains a head on them by backpropagation, and writes the "
        "model with the new head and its class names, which 'omma run' takes at once. DATA is a folder with a folder "
        "for each class, a folder with train/ and val/ of these, or a CSV of path,class[,train|val]. The best epoch "
        "on what is held out is kept.",
    .examples =
        "omma train photos/ -m resnet50.onnx -o mine.onnx\n"
        "omma train frames/ -m yolov8n.onnx --cut /model.9/cv2/act/Mul_output_0 --split last -o scene.onnx\n"
        "omma train labels.csv -m mobilenet.onnx -o m.onnx --hidden 256 --class-weights balanced\n"
        "omma train photos/ -m resnet50.onnx -o mine.onnx --cache f.bin --checkpoint c.bin --resume",
    .tables = tables,
    .run = run,
};
