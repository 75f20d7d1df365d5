/* omma worker: one model over one video, a row of timings for every batch. */
#include <malloc.h>
#include <stdio.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/outputs.h"
#include "cli/signals.h"
#include "worker/worker.h"

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {om_worker_option_table, om_learning_option_table, NULL};
    return all;
}

/* A batch's pictures are given back together, a step after the other: their memory stays with the process,
 * else each step would have it given and cleared by the kernel anew. */
static void keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
}

static int work(const om_worker_options *o, const om_learning *l)
{
    om_worker_listener listener = {0};
    om_worker_result r;
    om_cancel cancel;
    if (!o->quiet) {
        listener.line = om_console_on_line;
        listener.progress = om_console_on_progress;
    }
    int err = om_signals_guard(&cancel);
    if (err) return err;
    err = om_worker_run(o, l, &cancel, &listener, &r);
    om_signals_release(&cancel);
    if (!err && !o->quiet && !o->split_sweep)
        printf("%.2f fps over %lld frames; %s\n", r.fps, (long long)r.frames, r.csv);
    return err;
}

static int check_outputs(const om_worker_options *w)
{
    const om_output files[] = {
        {"trace", w->trace, false}, {"save", w->save, false}, {"checkpoint", w->checkpoint, true}};
    return om_outputs_check(files, sizeof files / sizeof *files);
}

static int run(const om_args *args, int *status)
{
    om_worker_options w;
    om_learning l;
    om_run_options o = {0};
    (void)status;
    int err = om_options_init(om_worker_option_table, &w),
        other = om_options_init(om_learning_option_table, &l);
    if (!err) err = other;
    if (!err) err = om_args_apply(args, om_worker_option_table, &w);
    if (!err) err = om_args_apply(args, om_learning_option_table, &l);
    if (!err) err = om_args_expect(args, 0, "flags alone");
    if (!err) err = om_worker_check(&w);
    o.quiet = w.quiet;
    o.log_level = w.log_level;
    if (!err) err = om_command_setup("omma worker", &o);
    if (!err) err = check_outputs(&w);
    if (!err) err = om_signals_init();
    keep_memory();
    if (!err) err = work(&w, &l);
    om_options_fini(om_worker_option_table, &w);
    om_options_fini(om_learning_option_table, &l);
    return err;
}

const om_command om_cmd_worker = {
    .name = "worker",
    .summary = "one profiled worker: a row of timings for every batch",
    .usage = "--model-name NAME --input-path VIDEO [OPTIONS]",
    .about =
        "Reads batches of a video, prepares them and runs a model, one step after another, and writes how long each "
        "part of each step took to M_{model}_P_{pid}_metrics.csv. With --mode retrain each step trains a new head on the "
        "model's features; with --split-point the model runs in two parts. Flags may be spelled with '_' for '-'.",
    .examples =
        "omma worker --model-name resnet50 --input-path walk.mp4 --batch-size 8 --core-bind 0-1\n"
        "omma worker --model_name vit_b_16 --input_path walk.mp4 --max_steps 100 --prep_level complex\n"
        "omma worker -m resnet50 -i photos/ --mode retrain --max-steps 500 --save mine.onnx\n"
        "omma worker -m resnet50 -i walk.mp4 --split-point resnet50:layer2 --max-steps 100\n"
        "omma worker -m mine.onnx -i rtsp://camera/1 --enable-compile --use-amp -o results/",
    .tables = tables,
    .run = run,
};
