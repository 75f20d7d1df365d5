/* omma profile: where a model's time goes, and what to do about it. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/profile_print.h"
#include "cli/table.h"
#include "model/operators.h"
#include "profile/counters.h"

typedef struct profile_flags {
    char *device, *json, *csv, *html, *from, *run, *pipeline, *ladder, *int8_model;
    om_strlist what_if, operators;
    int batch, iterations, threads, precision, top;
    om_size input_size;
    bool all, fresh, compare, ncu, nsys, quiet;
} profile_flags;

#define FLAG(field) offsetof(profile_flags, field)

static const om_option flag_table[] = {
    {"device", 'd', OM_OPT_STRING, FLAG(device), "cpu", 0, 0, NULL, "DEVICE", "Measurement",
     "as of 'omma run'"},
    {"batch", 'b', OM_OPT_INT, FLAG(batch), "0", 0, 1024, NULL, NULL, NULL,
     "pictures a batch; 0: the model's own, or 1"},
    {"input-size", 0, OM_OPT_SIZE, FLAG(input_size), NULL, 0, 0, NULL, NULL, NULL, "default: the model's"},
    {"precision", 0, OM_OPT_CHOICE, FLAG(precision), "auto", 0, 0, om_precision_choices, NULL, NULL,
     "numbers the engine computes with"},
    {"iterations", 'n', OM_OPT_INT, FLAG(iterations), "30", 3, 100000, NULL, NULL, NULL,
     "inferences measured, in three rounds"},
    {"threads", 0, OM_OPT_INT, FLAG(threads), "0", 0, 1024, NULL, NULL, NULL,
     "threads of the engine; 0: it decides"},
    {"operators", 0, OM_OPT_LIST, FLAG(operators), NULL, 0, 0, NULL, "FILE.so", NULL,
     "operators of your own for the GPU (docs/operators.md); several are allowed, as in $OMMA_OPERATORS"},
    {"fresh", 0, OM_OPT_BOOL, FLAG(fresh), "no", 0, 0, NULL, NULL, NULL,
     "measure the machine's own limits again, which are kept from the first time on"},
    {"ncu", 0, OM_OPT_BOOL, FLAG(ncu), "no", 0, 0, NULL, NULL, NULL,
     "on a GPU: run once more under Nsight Compute, for each layer's occupancy, cache hits and memory bandwidth"},
    {"nsys", 0, OM_OPT_BOOL, FLAG(nsys), "no", 0, 0, NULL, NULL, NULL,
     "on a GPU: run once more under Nsight Systems, for each layer's time and kernels by that tool's clocks"},

    {"from", 0, OM_OPT_STRING, FLAG(from), NULL, 0, 0, NULL, "FILE", "Other ways",
     "take a profile that was written as JSON instead of measuring"},
    {"run", 0, OM_OPT_STRING, FLAG(run), NULL, 0, 0, NULL, "FILE", NULL,
     "look at a run beside the model: the JSON of 'omma run --profile'"},
    {"pipeline", 0, OM_OPT_STRING, FLAG(pipeline), NULL, 0, 0, NULL, "CONFIG", NULL,
     "profile a whole run: as 'omma run CONFIG --profile'"},
    {"compare", 0, OM_OPT_BOOL, FLAG(compare), "no", 0, 0, NULL, NULL, NULL,
     "show what changed between two profiles written as JSON"},
    {"ladder", 0, OM_OPT_STRING, FLAG(ladder), NULL, 0, 0, NULL, "f32,bf16,...", NULL,
     "measure in each of these precisions; shows speed, and how well the outputs agree with the first's"},
    {"int8-model", 0, OM_OPT_STRING, FLAG(int8_model), NULL, 0, 0, NULL, "FILE", NULL,
     "the quantised model that --ladder takes for int8"},
    {"what-if", 0, OM_OPT_LIST, FLAG(what_if), NULL, 0, 0, NULL, "CHANGE", NULL,
     "predict: batch=16, precision=int8; with a run: decode=2x, or another stage"},

    {"all", 'a', OM_OPT_BOOL, FLAG(all), "no", 0, 0, NULL, NULL, "Output",
     "show all layers, in the order they run"},
    {"top", 0, OM_OPT_INT, FLAG(top), "15", 1, 100000, NULL, NULL, NULL, "how many of the longest to show"},
    {"json", 0, OM_OPT_STRING, FLAG(json), NULL, 0, 0, NULL, "FILE", NULL,
     "write everything as JSON; '-': standard output"},
    {"csv", 0, OM_OPT_STRING, FLAG(csv), NULL, 0, 0, NULL, "FILE", NULL,
     "write a row a layer; '-': standard output"},
    {"html", 0, OM_OPT_STRING, FLAG(html), NULL, 0, 0, NULL, "FILE", NULL,
     "write one page with treemap and roofline that needs no other file"},
    {"quiet", 'q', OM_OPT_BOOL, FLAG(quiet), "no", 0, 0, NULL, NULL, NULL, "print errors only"},
    {0},
};

static const om_option *const *tables(void)
{
    static const om_option *const all[] = {flag_table, NULL};
    return all;
}

static void progress(void *user, const char *what, double share)
{
    char text[160];
    snprintf(text, sizeof text, "%s%3.0f%%  %s", (const char *)user, 100 * share, what);
    om_console_status(text);
}

static bool is_stdout(const char *path) { return path && !strcmp(path, "-"); }

static int predictions(const om_profile *p, const profile_flags *f, om_str *out)
{
    int err = OM_OK;
    for (size_t i = 0; i < f->what_if.n && !err; i++) {
        om_what_if w;
        err = om_predict(p, f->what_if.items[i], &w);
        if (!err)
            om_str_addf(out, "%sif %s: %.1f a second instead of %.1f (%.2f times)\n    %s\n", i ? "" : "\n",
                        w.text, w.fps_then, w.fps_now, w.fps_now > 0 ? w.fps_then / w.fps_now : 0, w.why);
        om_what_if_fini(&w);
    }
    return err;
}

static int output(const om_profile *p, const profile_flags *f)
{
    om_str text = {0};
    om_findings found;
    om_profile_files files = {.json = f->json, .csv = f->csv, .html = f->html};
    int width = om_console_columns(stdout, 0), err = om_diagnose(p, &found);
    if (!err) err = om_profile_write(p, &found, &files);
    if (!err && p->n_layers) err = om_profile_print(p, f->all ? 0 : (size_t)f->top, width, &text);
    if (!err && p->run) err = om_profile_print_run(p, width, &text);
    if (!err) om_findings_print(&found, width, &text);
    if (!err) err = predictions(p, f, &text);
    bool taken = is_stdout(f->json) || is_stdout(f->csv) || is_stdout(f->html);
    if (!err && !taken && !f->quiet) fputs(om_str_get(&text), stdout);
    om_findings_fini(&found);
    om_str_fini(&text);
    return err;
}

static om_profile_params measurement(const profile_flags *f, const char *model, om_precision precision,
                                     const char *what)
{
    return (om_profile_params){.model = model,
                               .device = f->device,
                               .size = f->input_size,
                               .batch = f->batch,
                               .iterations = f->iterations,
                               .threads = f->threads,
                               .precision = precision,
                               .fresh_peaks = f->fresh,
                               .keep_outputs = f->ladder != NULL,
                               .progress = f->quiet ? NULL : progress,
                               .user = (void *)what};
}

static int measure(const profile_flags *f, const char *model, om_precision precision, const char *what,
                   om_profile *p)
{
    om_profile_params q = measurement(f, model, precision, what);
    int err = om_profile_measure(&q, p);
    om_console_status(NULL);
    return err;
}

/* Where that was asked: a model that has no such form is told by the machine's peaks. */
static int measure_int8(const profile_flags *f, const char *model, om_profile *p)
{
    bool asked = false;
    for (size_t i = 0; i < f->what_if.n; i++) asked |= !strcmp(f->what_if.items[i], "precision=int8");
    if (!asked) return OM_OK;
    om_profile_params q = measurement(f, model, OM_PRECISION_AUTO, "int8: ");
    int err = om_profile_measure_int8(&q, &p->int8_us);
    om_console_status(NULL);
    if (err != OM_ERR_ARG && err != OM_ERR_UNSUPPORTED) return err;
    if (!f->quiet) om_log(OM_LOG_WARN, "precision=int8 by the machine's peaks alone: %s", om_error_message());
    return OM_OK;
}

/* A run's account moves into the profile of its model. */
static int add_run(const char *path, om_profile *p)
{
    om_profile run;
    int err = om_profile_load(path, &run);
    if (!err && !run.run)
        err = om_fail(OM_ERR_FORMAT, "%s: holds no run; 'omma run --profile FILE.json' writes one", path);
    if (!err) {
        om_json_free(p->run);
        p->run = run.run;
        run.run = NULL;
    }
    om_profile_fini(&run);
    return err;
}

/* Counters of layers that were measured here and now. */
static int count(const profile_flags *f, om_profile *p)
{
    om_tool_params q = {.tool = f->ncu ? OM_TOOL_NCU : OM_TOOL_NSYS,
                        .precision = (om_precision)f->precision,
                        .size = f->input_size};
    if (!f->quiet) om_console_status(f->ncu ? "counting under ncu" : "tracing under nsys");
    int err = om_profile_count(p, &q);
    om_console_status(NULL);
    return err;
}

static int check_flags(const profile_flags *f)
{
    bool tool = f->ncu || f->nsys;
    if (f->ncu && f->nsys) return om_fail(OM_ERR_ARG, "--ncu and --nsys: one of them");
    if (tool && strncmp(f->device, "cuda", 4))
        return om_fail(OM_ERR_ARG, "%s looks into NVIDIA's GPUs; expected --device cuda:0 with it, not %s",
                       f->ncu ? "--ncu" : "--nsys", f->device);
    if (tool && (f->from || f->compare || f->ladder || f->pipeline))
        return om_fail(OM_ERR_ARG,
                       "--ncu and --nsys go with a model that is measured, not with --from, --compare, "
                       "--ladder or --pipeline");
    return OM_OK;
}

static int one_model(const om_args *args, const profile_flags *f)
{
    om_profile p;
    memset(&p, 0, sizeof p);
    int err = om_args_expect(args, f->from ? 0 : 1, f->from ? "no MODEL with --from" : "a MODEL");
    if (!err)
        err = f->from ? om_profile_load(f->from, &p)
                      : measure(f, args->positional[0], (om_precision)f->precision, "", &p);
    if (!err && !f->from) err = measure_int8(f, args->positional[0], &p);
    if (!err && (f->ncu || f->nsys)) err = count(f, &p);
    if (!err && f->run) err = add_run(f->run, &p);
    if (!err) err = output(&p, f);
    om_profile_fini(&p);
    return err;
}

static int compare(const om_args *args, const profile_flags *f)
{
    om_profile before, after;
    om_comparison c;
    om_str text = {0};
    memset(&before, 0, sizeof before);
    memset(&after, 0, sizeof after);
    memset(&c, 0, sizeof c);
    int err = om_args_expect(args, 2, "BEFORE.json and AFTER.json");
    if (!err) err = om_profile_load(args->positional[0], &before);
    if (!err) err = om_profile_load(args->positional[1], &after);
    if (!err) err = om_compare(&before, &after, &c);
    if (!err && f->json) {
        om_json j;
        om_json_init(&j, &text, 1);
        om_json_begin_object(&j);
        om_comparison_json(&before, &after, &c, &j);
        om_json_end_object(&j);
        om_str_addc(&text, '\n');
        err = om_put_text(f->json, &text);
        om_str_clear(&text);
    }
    if (!err && !is_stdout(f->json) && !f->quiet) {
        err = om_comparison_print(&before, &after, &c, f->all ? 0 : (size_t)f->top,
                                  om_console_columns(stdout, 0), &text);
        if (!err) fputs(om_str_get(&text), stdout);
    }
    om_str_fini(&text);
    om_comparison_fini(&c);
    om_profile_fini(&before);
    om_profile_fini(&after);
    return err;
}

static const om_column ladder_columns[] = {
    {"precision", false, 0, 0}, {"ms", true, 0, 0},    {"images/s", true, 0, 0}, {"times", true, 0, 1},
    {"cosine", true, 0, 2},     {"error", true, 0, 3}, {"", false, 10, 0},
};

/* Steps of a ladder: what was measured, or why not. */
typedef struct step {
    char name[16];
    om_profile p;
    char why[300]; /* not empty: skipped */
} step;

#define MAX_STEPS 5

static int parse_ladder(const char *text, step *steps, size_t *n)
{
    for (*n = 0; *text;) {
        size_t len = strcspn(text, ",");
        if (len >= sizeof steps[0].name || *n == MAX_STEPS)
            return om_fail(OM_ERR_ARG, "--ladder: expected up to %d precisions, as in f32,bf16,f16,int8",
                           MAX_STEPS);
        step *s = &steps[(*n)++];
        /* fp32 and f32 are one. */
        snprintf(s->name, sizeof s->name, "%.*s", (int)len, text);
        if (!strncmp(s->name, "fp", 2)) memmove(s->name + 1, s->name + 2, strlen(s->name + 1));
        text += len + (text[len] == ',');
    }
    return *n ? OM_OK : om_fail(OM_ERR_ARG, "--ladder: expected precisions, as in f32,bf16,f16,int8");
}

/* "" where the device computes in it, as far as it tells; else why not. */
static void check_precision(const profile_flags *f, step *s)
{
    const om_backend_ops *b;
    const char *device;
    om_backend_device list[16];
    if (om_backend_select(f->device, &b, &device)) return;
    int n = b->devices(list, 16);
    for (int i = 0; i < n && i < 16; i++) {
        bool this = !strcmp(list[i].id, f->device) || (device && strstr(list[i].id, device));
        if (this && list[i].precisions[0] && !strstr(list[i].precisions, s->name))
            snprintf(s->why, sizeof s->why, "skipped: %.100s computes in %.60s only", list[i].name,
                     list[i].precisions);
    }
}

static int climb(const profile_flags *f, const char *model, step *s)
{
    char what[32];
    om_precision precision = OM_PRECISION_AUTO;
    bool known = false;
    for (const om_choice *c = om_precision_choices; c->name; c++)
        if (!strcmp(c->name, s->name)) precision = (om_precision)c->value, known = true;
    if (!known)
        return om_fail(OM_ERR_ARG, "--ladder: '%s' is no precision; expected f32, tf32, bf16, f16 or int8",
                       s->name);
    check_precision(f, s);
    if (s->why[0]) return OM_OK;
    snprintf(what, sizeof what, "%s: ", s->name);
    bool quantised = precision == OM_PRECISION_INT8 && f->int8_model;
    int err = measure(f, quantised ? f->int8_model : model, precision, what, &s->p);
    if (err != OM_ERR_ARG && err != OM_ERR_UNSUPPORTED) return err;
    if (err) snprintf(s->why, sizeof s->why, "skipped: %.280s", om_error_message());
    return OM_OK;
}

static void ladder_row(om_table *t, const step *first, const step *s)
{
    double cosine, error;
    om_table_cell(t, "%s", s->name);
    if (s->why[0]) {
        for (int i = 0; i < 5; i++) om_table_cell(t, "%s", "");
        om_table_cell(t, "%s", s->why);
        return;
    }
    om_table_cell(t, "%.2f", s->p.latency_us / 1e3);
    om_table_cell(t, "%.1f", 1e6 * s->p.batch / s->p.latency_us);
    om_table_cell(t, "%.2f", first->p.latency_us / s->p.latency_us);
    if (om_profile_agree(&first->p, &s->p, &cosine, &error)) {
        om_table_cell(t, "%s", "?");
        om_table_cell(t, "%s", "?");
    } else {
        om_table_cell(t, "%.6f", cosine);
        om_table_cell(t, "%.2g", error);
    }
    om_table_cell(t, "%s", s == first ? "reference" : "");
}

static void ladder_json(const step *steps, size_t n, const step *first, om_json *j)
{
    om_json_begin_object(j);
    om_json_key(j, "ladder");
    om_json_begin_array(j);
    for (size_t i = 0; i < n; i++) {
        const step *s = &steps[i];
        double cosine, error;
        om_json_begin_object(j);
        om_json_key(j, "precision");
        om_json_string(j, s->name);
        if (s->why[0]) {
            om_json_key(j, "skipped");
            om_json_string(j, s->why);
        } else {
            om_json_key(j, "latency_us");
            om_json_num(j, s->p.latency_us, 2);
            if (!om_profile_agree(&first->p, &s->p, &cosine, &error)) {
                om_json_key(j, "cosine");
                om_json_num(j, cosine, 8);
                om_json_key(j, "error");
                om_json_num(j, error, 8);
            }
        }
        om_json_end_object(j);
    }
    om_json_end_array(j);
    om_json_end_object(j);
}

static int show_ladder(const profile_flags *f, const step *steps, size_t n)
{
    const step *first = NULL;
    om_str text = {0};
    int err = OM_OK;
    for (size_t i = n; i > 0; i--)
        if (!steps[i - 1].why[0]) first = &steps[i - 1];
    if (!first)
        return om_fail(OM_ERR_UNSUPPORTED, "--ladder: none of these precisions is to be had: %s",
                       steps[0].why);
    if (f->json) {
        om_json j;
        om_json_init(&j, &text, 1);
        ladder_json(steps, n, first, &j);
        om_str_addc(&text, '\n');
        err = om_put_text(f->json, &text);
        om_str_clear(&text);
    }
    if (!err && !is_stdout(f->json) && !f->quiet) {
        om_table t;
        om_table_init(&t, ladder_columns, sizeof ladder_columns / sizeof ladder_columns[0]);
        for (size_t i = 0; i < n; i++) ladder_row(&t, first, &steps[i]);
        err = om_table_render(&t, om_console_columns(stdout, 0), &text);
        om_table_fini(&t);
        if (!err) fputs(om_str_get(&text), stdout);
    }
    om_str_fini(&text);
    return err;
}

static int ladder(const om_args *args, const profile_flags *f)
{
    step steps[MAX_STEPS];
    size_t n = 0;
    memset(steps, 0, sizeof steps);
    int err = om_args_expect(args, 1, "a MODEL");
    if (!err) err = parse_ladder(f->ladder, steps, &n);
    for (size_t i = 0; i < n && !err; i++) err = climb(f, args->positional[0], &steps[i]);
    if (!err) err = show_ladder(f, steps, n);
    for (size_t i = 0; i < n; i++) om_profile_fini(&steps[i].p);
    return err;
}

/* As `omma run CONFIG --profile TARGET`. */
static int pipeline(const om_args *args, const profile_flags *f, int *status)
{
    char *target = f->html ? f->html : f->json ? f->json : NULL;
    char *argv[] = {f->pipeline, "--profile", target ? target : "-", "--quiet"};
    om_args run;
    int err = om_args_expect(args, 0, "no MODEL with --pipeline");
    if (err) return err;
    err = om_args_parse(om_cmd_run.tables(), f->quiet ? 4 : 3, argv, &run);
    if (!err) err = om_cmd_run.run(&run, status);
    om_args_fini(&run);
    return err;
}

static int run(const om_args *args, int *status)
{
    profile_flags f;
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_operators_load_list(&f.operators);
    if (!err) err = check_flags(&f);
    if (!err)
        err = f.pipeline  ? pipeline(args, &f, status)
              : f.compare ? compare(args, &f)
              : f.ladder  ? ladder(args, &f)
                          : one_model(args, &f);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_profile = {
    .name = "profile",
    .summary = "where a model's time goes, layer by layer, and what to do about it",
    .usage = "MODEL [OPTIONS]\n--pipeline CONFIG.yaml [--html FILE]\n--compare BEFORE.json AFTER.json",
    .about =
        "Runs a model with the engine's own clocks and shows each layer's time, arithmetic and traffic against what this "
        "machine can do at most, which operators were fused and which were not, and why; names the bottleneck and says what to "
        "try and what that should gain. Let the machine do nothing else meanwhile. A run's stages come from 'omma run --profile'.",
    .examples = "omma profile yolov8n.onnx\n"
                "omma profile yolov8n.onnx --batch 4 --html yolov8n.html --json yolov8n.json\n"
                "omma profile yolov8n.onnx --ladder f32,bf16,f16,int8 --int8-model yolov8n-int8.onnx\n"
                "omma profile --compare before.json after.json\n"
                "omma profile --from yolov8n.json --what-if batch=16 --what-if precision=int8",
    .tables = tables,
    .run = run,
};
