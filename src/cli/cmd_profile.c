/* omma profile: where a model's time goes, and what to do about it. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/outputs.h"
#include "cli/profile_ladder.h"
#include "cli/profile_print.h"
#include "cli/signals.h"
#include "cli/text.h"
#include "model/operators.h"
#include "profile/counters.h"

typedef struct profile_flags {
    char *device, *json, *csv, *html, *from, *run, *pipeline, *ladder, *int8_model;
    om_strlist what_if, operators;
    int batch, iterations, threads, precision, top;
    om_size input_size;
    bool all, fresh, compare, ncu, nsys, quiet;
    om_cancel cancel; /* fired by Ctrl-C; not an option */
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
     "write a row a layer, of a run a row a stage and stream; '-': standard output"},
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

/* Those before the first that cannot be told; *n of them, with an error if there is one. */
static int predict(const om_profile *p, const om_strlist *changes, om_what_if **out, size_t *n)
{
    int err = OM_OK;
    *n = 0;
    *out = om_calloc(changes->n + 1, sizeof **out);
    if (!*out) return OM_ERR_NOMEM;
    for (size_t i = 0; i < changes->n && !err; i++) {
        err = om_predict(p, changes->items[i], &(*out)[i]);
        if (err) om_what_if_fini(&(*out)[i]);
        else *n = i + 1;
    }
    return err;
}

static void print_predictions(const om_what_if *w, size_t n, int width, om_str *out)
{
    for (size_t i = 0; i < n; i++) {
        om_str line = {0};
        om_str_addf(&line, "if %s: %.1f a second instead of %.1f (%.2f times)", w[i].text, w[i].fps_then,
                    w[i].fps_now, w[i].fps_now > 0 ? w[i].fps_then / w[i].fps_now : 0);
        if (!i) om_str_addc(out, '\n');
        om_text_wrap(om_str_get(&line), 0, width ? width : 110, out);
        om_text_wrap(w[i].why, 4, width ? width : 110, out);
        om_str_fini(&line);
    }
}

/* A prediction that cannot be told keeps nothing else back. */
static int output(const om_profile *p, const profile_flags *f)
{
    om_str text = {0};
    om_findings found;
    om_what_if *what_if;
    size_t n;
    char message[400] = "";
    int width = om_console_columns(stdout, 0), unknown = predict(p, &f->what_if, &what_if, &n);
    if (unknown) snprintf(message, sizeof message, "%s", om_error_message());
    om_profile_files files = {
        .json = f->json, .csv = f->csv, .html = f->html, .what_if = what_if, .n_what_if = n};
    int err = om_diagnose(p, &found);
    if (!err) err = om_profile_write(p, &found, &files);
    if (!err && p->n_layers) err = om_profile_print(p, f->all ? 0 : (size_t)f->top, width, &text);
    if (!err && p->run) err = om_profile_print_run(p, width, &text);
    if (!err) om_findings_print(&found, width, &text);
    print_predictions(what_if, n, width, &text);
    if (!err) om_profile_print_system(p, width, &text);
    bool taken = is_stdout(f->json) || is_stdout(f->csv) || is_stdout(f->html);
    if (!err && !taken && !f->quiet) fputs(om_str_get(&text), stdout);
    for (size_t i = 0; i < n; i++) om_what_if_fini(&what_if[i]);
    om_free(what_if);
    om_findings_fini(&found);
    om_str_fini(&text);
    return err || !unknown ? err : om_fail(unknown, "%s", message);
}

static om_profile_params measurement(profile_flags *f, const char *model, om_precision precision,
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
                               .cancel = &f->cancel,
                               .progress = f->quiet ? NULL : progress,
                               .user = (void *)what};
}

static int measure(profile_flags *f, const char *model, om_precision precision, const char *what,
                   om_profile *p)
{
    om_profile_params q = measurement(f, model, precision, what);
    int err = om_profile_measure(&q, p);
    om_console_status(NULL);
    return err;
}

/* Where that was asked: a model that has no such form is told by the machine's peaks. */
static int measure_int8(profile_flags *f, const char *model, om_profile *p)
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

/* Before a model is measured for it. */
static int check_run(const char *path)
{
    om_profile none;
    memset(&none, 0, sizeof none);
    int err = add_run(path, &none);
    om_profile_fini(&none);
    return err;
}

/* Counters of layers that were measured here and now. */
static int count(profile_flags *f, om_profile *p)
{
    om_tool_params q = {.tool = f->ncu ? OM_TOOL_NCU : OM_TOOL_NSYS,
                        .precision = (om_precision)f->precision,
                        .size = f->input_size,
                        .cancel = &f->cancel};
    if (!f->quiet) om_console_status(f->ncu ? "counting under ncu" : "tracing under nsys");
    int err = om_profile_count(p, &q);
    om_console_status(NULL);
    return err;
}

enum { MODEL = 1, FROM = 2, COMPARE = 4, LADDER = 8, PIPELINE = 16 };

/* Which of the ways have a use for a flag; those not named here go with all. */
static const struct {
    const char *flag;
    unsigned ways;
} uses[] = {{"device", MODEL | LADDER},
            {"batch", MODEL | LADDER},
            {"input-size", MODEL | LADDER},
            {"precision", MODEL},
            {"iterations", MODEL | LADDER},
            {"threads", MODEL | LADDER},
            {"fresh", MODEL | LADDER},
            {"ncu", MODEL},
            {"nsys", MODEL},
            {"run", MODEL | FROM},
            {"int8-model", LADDER},
            {"what-if", MODEL | FROM | PIPELINE},
            {"csv", MODEL | FROM | PIPELINE},
            {"html", MODEL | FROM | PIPELINE},
            {"top", MODEL | FROM | COMPARE},
            {"all", MODEL | FROM | COMPARE}};

static int choose_way(const profile_flags *f, unsigned *way, const char **name)
{
    const struct {
        bool given;
        unsigned way;
        const char *name;
    } ways[] = {{f->from != NULL, FROM, "--from"},
                {f->compare, COMPARE, "--compare"},
                {f->ladder != NULL, LADDER, "--ladder"},
                {f->pipeline != NULL, PIPELINE, "--pipeline"}};
    *way = MODEL;
    *name = "a model";
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (!ways[i].given) continue;
        if (*way != MODEL) return om_fail(OM_ERR_ARG, "%s and %s: one of them", *name, ways[i].name);
        *way = ways[i].way;
        *name = ways[i].name;
    }
    return OM_OK;
}

/* What would not be looked at is an error: it was meant for something. */
static int check_uses(const om_args *args, unsigned way, const char *name)
{
    for (size_t i = 0; i < args->n; i++)
        for (size_t k = 0; k < sizeof uses / sizeof uses[0]; k++)
            if (!strcmp(args->items[i].option->name, uses[k].flag) && !(uses[k].ways & way))
                return om_fail(OM_ERR_ARG, "--%s does not go with %s", uses[k].flag, name);
    return OM_OK;
}

static int check_flags(const profile_flags *f, unsigned way)
{
    const om_output files[] = {{"json", f->json, false}, {"csv", f->csv, false}, {"html", f->html, false}};
    if (is_stdout(f->json) + is_stdout(f->csv) + is_stdout(f->html) > 1)
        return om_fail(OM_ERR_ARG, "--json, --csv and --html: only one of them can be standard output");
    if (f->ncu && f->nsys) return om_fail(OM_ERR_ARG, "--ncu and --nsys: one of them");
    if ((f->ncu || f->nsys) && strncmp(f->device, "cuda", 4))
        return om_fail(OM_ERR_ARG, "%s looks into NVIDIA's GPUs; expected --device cuda:0 with it, not %s",
                       f->ncu ? "--ncu" : "--nsys", f->device);
    for (size_t i = 0; i < f->what_if.n; i++) {
        bool stage;
        int err = om_what_if_check(f->what_if.items[i], &stage);
        if (!err && stage && way == MODEL && !f->run)
            err = om_fail(OM_ERR_ARG, "what if %s: needs a run: --run FILE ('omma run --profile' writes it)",
                          f->what_if.items[i]);
        if (err) return err;
    }
    return om_outputs_check(files, sizeof files / sizeof *files);
}

static int one_model(const om_args *args, profile_flags *f)
{
    om_profile p;
    memset(&p, 0, sizeof p);
    int err = om_args_expect(args, f->from ? 0 : 1, f->from ? "no MODEL with --from" : "a MODEL");
    if (!err && f->run) err = check_run(f->run);
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

static int ladder(const om_args *args, profile_flags *f)
{
    int err = om_args_expect(args, 1, "a MODEL");
    if (err) return err;
    om_profile_params measure = measurement(f, args->positional[0], OM_PRECISION_AUTO, "");
    om_ladder_params p = {.precisions = f->ladder,
                          .int8_model = f->int8_model,
                          .json = f->json,
                          .measure = &measure,
                          .quiet = f->quiet};
    return om_ladder_run(&p);
}

/* `omma run CONFIG` with a profile, which is then shown and written as any other. */
static int pipeline(const om_args *args, profile_flags *f, int *status)
{
    char *path = NULL;
    struct stat st;
    om_profile p;
    om_args run;
    memset(&p, 0, sizeof p);
    memset(&run, 0, sizeof run);
    const char *dot = strrchr(f->pipeline, '.');
    int err = om_args_expect(args, 0, "no MODEL with --pipeline");
    if (!err && (!dot || (strcmp(dot, ".yaml") && strcmp(dot, ".yml"))))
        err = om_fail(OM_ERR_ARG, "--pipeline %s: expected a configuration of 'omma run', CONFIG.yaml",
                      f->pipeline);
    if (!err) err = om_temp_file("run", ".json", &path);
    char *argv[] = {f->pipeline, "--profile", path, "--quiet"};
    bool silent = f->quiet || is_stdout(f->json) || is_stdout(f->csv) || is_stdout(f->html);
    if (!err) err = om_args_parse(om_cmd_run.tables(), silent ? 4 : 3, argv, &run);
    if (!err) err = om_cmd_run.run(&run, status);
    bool told = !err && !stat(path, &st) && st.st_size > 0; /* else the run says why not */
    if (told) err = om_profile_load(path, &p);
    if (told && !err) err = output(&p, f);
    if (path) unlink(path);
    om_free(path);
    om_args_fini(&run);
    om_profile_fini(&p);
    return err;
}

/* The first Ctrl-C ends it between two inferences, the second one at once. */
static int measured(const om_args *args, profile_flags *f, unsigned way, int *status)
{
    int err = om_signals_init();
    if (!err) err = om_signals_guard(&f->cancel);
    if (err) return err;
    err = way == LADDER ? ladder(args, f) : one_model(args, f);
    bool stopped = om_cancelled(&f->cancel);
    om_signals_release(&f->cancel);
    om_console_status(NULL);
    if (!stopped || !err) return err;
    om_console_line("omma profile: stopped; nothing was written");
    *status = 130;
    return OM_OK;
}

static int run(const om_args *args, int *status)
{
    profile_flags f;
    unsigned way = MODEL;
    const char *name;
    memset(&f, 0, sizeof f);
    int err = om_options_init(flag_table, &f);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = choose_way(&f, &way, &name);
    if (!err) err = check_uses(args, way, name);
    if (!err) err = check_flags(&f, way);
    if (!err) err = om_operators_load_list(&f.operators);
    if (!err)
        err = way == PIPELINE  ? pipeline(args, &f, status)
              : way == COMPARE ? compare(args, &f)
              : way == FROM    ? one_model(args, &f)
                               : measured(args, &f, way, status);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_profile = {
    .name = "profile",
    .summary = "where a model's time goes, layer by layer, and what to do about it",
    .usage =
        "MODEL [OPTIONS]\n--from PROFILE.json [OPTIONS]\n--pipeline CONFIG.yaml [OPTIONS]\n--compare BEFORE.json AFTER.json",
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
