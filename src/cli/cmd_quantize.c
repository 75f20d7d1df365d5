/* omma quantize: a float model into one of 8-bit integers. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/table.h"
#include "quant/quant.h"

#define WORST 5          /* activations shown */
#define MIXED_FLOOR 0.97 /* of --mixed alone */

typedef struct quantize_flags {
    om_strlist calib, keep, check;
    char *output, *device, *head, *report, *html;
    int frames, min_frames, check_frames, method, target, parts, normalize, channels, fit;
    double percent, floor, layer_floor, speed;
    om_size input_size;
    int weight_bits;
    bool mixed, whole, correct_bias, equalise, fit_rounding, quiet;
} quantize_flags;

#define FLAG(field) offsetof(quantize_flags, field)

static const om_option flag_table[] = {
    {"output", 'o', OM_OPT_STRING, FLAG(output), NULL, 0, 0, NULL, "FILE", "Files", "the ONNX file to write"},
    {"calib", 'c', OM_OPT_LIST, FLAG(calib), NULL, 0, 0, NULL, "DIR|FILE|VIDEO", NULL,
     "pictures and videos like those that the model will see"},
    {"report", 0, OM_OPT_STRING, FLAG(report), NULL, 0, 0, NULL, "FILE", NULL,
     "write what was done as JSON; '-': standard output"},
    {"html", 0, OM_OPT_STRING, FLAG(html), NULL, 0, 0, NULL, "FILE", NULL,
     "write what was done as one page, with the histogram of each tensor"},

    {"frames", 'n', OM_OPT_INT, FLAG(frames), "300", 1, 1000000, NULL, NULL, "Calibration",
     "pictures to take, spread over all that was named"},
    {"min-frames", 0, OM_OPT_INT, FLAG(min_frames), "16", 1, 1000000, NULL, NULL, NULL, "fewer are an error"},
    {"method", 0, OM_OPT_CHOICE, FLAG(method), "mse", 0, 0, om_quant_method_choices, NULL, NULL,
     "how the range of each tensor is chosen"},
    {"percent", 0, OM_OPT_DOUBLE, FLAG(percent), "99.99", 50, 100, NULL, NULL, NULL,
     "of its numbers that method percentile keeps"},
    {"device", 'd', OM_OPT_STRING, FLAG(device), "cpu", 0, 0, NULL, "DEVICE", NULL,
     "where the float model runs"},
    {"input-size", 0, OM_OPT_SIZE, FLAG(input_size), NULL, 0, 0, NULL, NULL, NULL,
     "default: the model's own; where it is free, as the first picture needs it"},

    {"check", 0, OM_OPT_LIST, FLAG(check), NULL, 0, 0, NULL, "DIR|FILE|VIDEO", "Accuracy",
     "pictures to judge the int8 model by; default: some of the calibration's"},
    {"check-frames", 0, OM_OPT_INT, FLAG(check_frames), "0", 0, 100000, NULL, NULL, NULL,
     "how many of them, where memory allows; 0: 256 where texts or classes are counted, else 32"},
    {"floor", 0, OM_OPT_DOUBLE, FLAG(floor), "0", 0, 1, NULL, NULL, NULL,
     "least agreement with the float model: AP50 of boxes, equal texts or classes, else cosine of the outputs; "
     "below it there is advice, and the exit code is 1; 0: none"},
    {"mixed", 0, OM_OPT_BOOL, FLAG(mixed), "no", 0, 0, NULL, NULL, NULL,
     "layers that disturb most stay float: for their work until --floor (0.97) is kept, or for the time they save while --speed is"},
    {"layer-floor", 0, OM_OPT_DOUBLE, FLAG(layer_floor), "0", 0, 100, NULL, "DB", NULL,
     "layers whose input or weights would keep less signal to noise stay float: 36 for readers of text; 0: none do"},
    {"speed", 0, OM_OPT_DOUBLE, FLAG(speed), "0", 0, 100, NULL, NULL, NULL,
     "with --mixed: be this many times as fast as the float model, by the times of its layers here; 0: no goal"},

    {"target", 0, OM_OPT_CHOICE, FLAG(target), "cpu", 0, 0, om_quant_target_choices, NULL, "Numbers",
     "whose integers"},
    {"keep-float", 0, OM_OPT_LIST, FLAG(keep), NULL, 0, 0, NULL, "LAYER|OPERATOR", NULL,
     "leave these as they are"},
    {"parts", 0, OM_OPT_CHOICE, FLAG(parts), "both", 0, 0, om_quant_parts_choices, NULL, NULL,
     "what of the layers becomes int8; one part alone is computed in floats and shows what it costs"},
    {"whole", 0, OM_OPT_BOOL, FLAG(whole), "no", 0, 0, NULL, NULL, NULL,
     "quantise the layers before the outputs too, which else stay float"},
    {"bias-correction", 0, OM_OPT_BOOL, FLAG(correct_bias), "yes", 0, 0, NULL, NULL, NULL,
     "take the average error of rounded weights off the bias"},
    {"equalise", 0, OM_OPT_BOOL, FLAG(equalise), "yes", 0, 0, NULL, NULL, NULL,
     "scale weights so that the channels between two convolutions become alike"},
    {"fit-rounding", 0, OM_OPT_BOOL, FLAG(fit_rounding), "yes", 0, 0, NULL, NULL, NULL,
     "round weights so that their errors cancel for what the pictures show, instead of each to the nearest"},
    {"weight-bits", 0, OM_OPT_CHOICE, FLAG(weight_bits), "auto", 0, 0, om_quant_bits_choices, NULL, NULL,
     "7: for processors whose sums of 8-bit products overflow"},

    {"head", 0, OM_OPT_STRING, FLAG(head), NULL, 0, 0, NULL, "FAMILY", "Model",
     "how the model wants its pictures"},
    {"normalize", 0, OM_OPT_CHOICE, FLAG(normalize), "own", 0, 0, om_normalize_choices, NULL, NULL,
     "numbers of the input"},
    {"channels", 0, OM_OPT_CHOICE, FLAG(channels), "own", 0, 0, om_channels_choices, NULL, NULL,
     "order of colours"},
    {"fit", 0, OM_OPT_CHOICE, FLAG(fit), "own", 0, 0, om_fit_choices, NULL, NULL,
     "how pictures fit into the input"},
    {"quiet", 'q', OM_OPT_BOOL, FLAG(quiet), "no", 0, 0, NULL, NULL, NULL, "print errors only"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

static void progress(void *user, const char *what, size_t done, size_t of)
{
    char text[96];
    (void)user;
    snprintf(text, sizeof text, "%s %zu of %zu", what, done, of);
    om_console_status(text);
}

static void print_float(const om_quant_report *r, om_str *out)
{
    size_t n = r->n_layers - om_quant_report_quantised(r);
    if (n) om_str_addf(out, "%zu stay%s float:\n", n, n == 1 ? "s" : "");
    for (size_t i = 0; i < r->n_layers; i++)
        if (!r->layers[i].quantised)
            om_str_addf(out, "  %s (%s): %s\n", r->layers[i].name, r->layers[i].op, r->layers[i].why);
}

/* Those whose grid loses most. */
static int print_worst(const om_quant_report *r, om_str *out)
{
    static const om_column columns[] = {{"  tensors that lose most", false, 12, 0},
                                        {"signal/noise dB", true, 0, 0},
                                        {"seen", true, 0, 1},
                                        {"range", true, 0, 0}};
    om_table t;
    double above = -INFINITY;
    size_t last = 0;
    om_table_init(&t, columns, sizeof columns / sizeof columns[0]);
    for (int n = 0; n < WORST; n++) {
        const om_quant_act *worst = NULL;
        size_t at = 0;
        for (size_t i = 0; i < r->n_acts; i++) {
            const om_quant_act *a = &r->acts[i];
            bool later = a->db > above || (a->db == above && n && i > last);
            if (a->used && later && (!worst || a->db < worst->db)) worst = a, at = i;
        }
        if (!worst) break;
        above = worst->db;
        last = at;
        om_table_cell(&t, "  %s", worst->name);
        om_table_cell(&t, "%.1f", worst->db);
        om_table_cell(&t, "%.4g..%.4g", worst->seen_lo, worst->seen_hi);
        om_table_cell(&t, "%.4g..%.4g", worst->lo, worst->hi);
    }
    int err = om_table_render(&t, om_console_columns(stdout, 0), out);
    om_table_fini(&t);
    return err;
}

static void print_score(const om_quant_report *r, om_str *out)
{
    const char *apart = r->judged_apart ? "" : " of the calibration";
    if (isnan(r->score))
        om_str_addf(out, "the float model finds nothing in the %zu pictures%s that it is judged by\n",
                    r->judged, apart);
    else
        om_str_addf(out, "%s with the float model: %.4f on %zu picture%s%s\n",
                    om_quant_metric_name(r->metric), r->score, r->judged, r->judged == 1 ? "" : "s", apart);
    if (!isnan(r->plain_score))
        om_str_addf(out, "%zu layer%s went back to float; with all of them int8: %.4f\n", r->mixed,
                    r->mixed == 1 ? "" : "s", r->plain_score);
    if (!isnan(r->speed))
        om_str_addf(out, "%.2f times as fast as the float model, by the times of its layers here\n",
                    r->speed);
    if (r->speed_goal > 0 && r->missed)
        om_str_addf(out, "the speed of %.2f times was missed\n", r->speed_goal);
    if (r->floor > 0 && r->score < r->floor)
        om_str_addf(out, "the floor of %.4f was missed; what to try, the most promising first:\n", r->floor);
    for (size_t i = 0; i < r->n_advice; i++) om_str_addf(out, "  %zu. %s\n", i + 1, r->advice[i].text);
}

static int print(const quantize_flags *f, const om_quant_report *r)
{
    om_str out = {0};
    om_str_addf(&out, "%s: %zu of %zu layers int8, calibrated with %zu picture%s in %.1f s\n", f->output,
                om_quant_report_quantised(r), r->n_layers, r->frames, r->frames == 1 ? "" : "s", r->seconds);
    if (!isnan(r->int8_share))
        om_str_addf(&out, "the int8 layers do %.1f %% of the multiplications\n", 100 * r->int8_share);
    if (r->weight_bits == 7)
        om_str_add(&out, "weights of 7 bits, as CPUs without VNNI need them; --weight-bits 8 for others\n");
    if (r->damaged) om_str_addf(&out, "%zu pictures could not be read\n", r->damaged);
    print_float(r, &out);
    int err = print_worst(r, &out);
    om_str_add(&out, "outputs against the float model, on pictures of the calibration:\n");
    for (size_t i = 0; i < r->n_outputs; i++) {
        const om_quant_output *o = &r->outputs[i];
        if (!o->pictures)
            om_str_addf(&out, "  %s: not compared, its shape depends on the picture\n", o->name);
        else om_str_addf(&out, "  %s: cosine %.5f, signal/noise %.1f dB\n", o->name, o->cosine, o->db);
    }
    print_score(r, &out);
    if (!err && out.failed) err = om_fail_nomem("the summary");
    if (!err) fputs(om_str_get(&out), stdout);
    om_str_fini(&out);
    return err;
}

static int write_html(const om_quant_job *job, const om_quant_report *r, const char *path)
{
    om_str text = {0};
    om_quant_report_html(job, r, &text);
    int err = text.failed ? om_fail_nomem("the page") : om_write_file_atomic(path, text.data, text.len);
    om_str_fini(&text);
    return err;
}

static int write_report(const om_quant_job *job, const om_quant_report *r, const char *path)
{
    om_str text = {0};
    om_json j;
    om_json_init(&j, &text, 1);
    om_json_begin_object(&j);
    om_quant_report_json(job, r, &j);
    om_json_end_object(&j);
    om_str_addc(&text, '\n');
    int err = text.failed ? om_fail_nomem("the report") : OM_OK;
    if (!err && !strcmp(path, "-")) fputs(text.data, stdout);
    else if (!err) err = om_write_file_atomic(path, text.data, text.len);
    om_str_fini(&text);
    return err;
}

/* Before the work: the files can be made, and none is the model itself. */
static int check_outputs(const char *model, const quantize_flags *f)
{
    struct stat a, b;
    const char *output = f->output;
    if (!output) return om_fail(OM_ERR_ARG, "no output: name the file to write with -o OUT.onnx");
    if (!stat(model, &a) && !stat(output, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return om_fail(OM_ERR_ARG, "%s: is the float model itself; name another file to write", output);
    int err = om_outfile_check(output);
    if (!err) err = om_outfile_check(f->report);
    return err ? err : om_outfile_check(f->html);
}

static int quantize(const om_args *args, quantize_flags *f, int *status)
{
    om_graph *g = NULL;
    om_quant_report r = {0};
    om_quant_job job = {.model = args->positional[0],
                        .sources = &f->calib,
                        .frames = f->frames,
                        .min_frames = f->min_frames,
                        .device = f->device,
                        .input_size = f->input_size,
                        .family = f->head,
                        .normalize = f->normalize,
                        .channels = f->channels,
                        .fit = f->fit,
                        .params = {.method = (om_quant_method)f->method,
                                   .target = (om_quant_target)f->target,
                                   .parts = (om_quant_parts)f->parts,
                                   .percent = f->percent,
                                   .correct_bias = f->correct_bias,
                                   .weight_bits = f->weight_bits,
                                   .equalise = f->equalise,
                                   .fit_rounding = f->fit_rounding,
                                   .whole = f->whole,
                                   .layer_floor = f->layer_floor,
                                   .keep = (const char *const *)f->keep.items,
                                   .n_keep = f->keep.n},
                        .check = &f->check,
                        .check_frames = f->check_frames,
                        .mixed = f->mixed,
                        .floor = f->floor,
                        .speed = f->speed,
                        .progress = f->quiet ? NULL : progress};
    int err = om_quantize(&job, &g, &r);
    om_console_status(NULL);
    if (!err) err = om_model_save(g, f->output);
    if (!err && f->report) err = write_report(&job, &r, f->report);
    if (!err && f->html) err = write_html(&job, &r, f->html);
    if (!err && r.missed) *status = OM_EXIT_FAILED;
    if (!err && !f->quiet && !(f->report && !strcmp(f->report, "-"))) err = print(f, &r);
    om_quant_report_fini(&r);
    om_graph_destroy(g);
    return err;
}

static int run(const om_args *args, int *status)
{
    quantize_flags f;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err && !args->n_positional) err = om_fail(OM_ERR_ARG, "expected a MODEL.onnx");
    for (size_t i = 1; i < args->n_positional && !err; i++)
        err = om_strlist_add(&f.calib, args->positional[i]);
    if (!err && f.min_frames > f.frames) f.min_frames = f.frames;
    if (!err && f.speed > 0 && !f.mixed)
        err = om_fail(OM_ERR_ARG, "--speed says how many layers --mixed may leave float: give --mixed too");
    if (!err && f.speed > 0 && f.floor > 0)
        err = om_fail(
            OM_ERR_ARG,
            "--floor and --speed: give one, for layers are left float until the one or while the other is kept");
    if (!err && f.mixed && f.floor <= 0 && f.speed <= 0) f.floor = MIXED_FLOOR;
    if (!err) err = check_outputs(args->positional[0], &f);
    if (!err) err = quantize(args, &f, status);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_quantize = {
    .name = "quantize",
    .summary = "a float model into one of 8-bit integers",
    .usage = "MODEL.onnx -o OUT.onnx --calib DIR|VIDEO... [OPTIONS]",
    .about =
        "Runs the float model over pictures, sees how large each tensor's numbers get, and writes the model with "
        "8-bit weights (a scale a channel) and activations, as standard QuantizeLinear and DequantizeLinear "
        "operators. Layers before the outputs stay float. Give pictures of the place where the model will work, "
        "a few hundred, of all hours. The int8 model is then judged by what the float model says of the same pictures; "
        "--mixed leaves the layers float that spoil it.",
    .examples =
        "omma quantize yolov8n.onnx -o yolov8n-int8.onnx --calib frames/\n"
        "omma quantize face.onnx -o face-int8.onnx --calib day.mp4 --calib night.mp4 --method entropy\n"
        "omma quantize m.onnx -o m8.onnx --calib frames/ --keep-float /model.0/conv/Conv --report m8.json\n"
        "omma quantize m.onnx -o m8.onnx --calib frames/ --check other.mp4 --mixed --floor 0.98",
    .tables = tables,
    .run = run,
};
