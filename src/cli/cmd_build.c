/* omma build: a model into a plan file. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/planfile.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/build_show.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/detect.h"
#include "model/labels.h"
#include "omma/version.h"
#include "quant/quant.h"

#define FLAG(field) offsetof(om_build_flags, field)

static const om_option flag_table[] = {
    {"output", 'o', OM_OPT_STRING, FLAG(output), NULL, 0, 0, NULL, "PLAN", "Plan",
     "the plan file to write; with --rebuild by default the plan itself"},
    {"input-size", 0, OM_OPT_LIST, FLAG(sizes), NULL, 0, 0, NULL, "WxH", NULL,
     "a size to compile for, where the model's is free; several are allowed; default: the model's own"},
    {"min-batch", 0, OM_OPT_INT, FLAG(min_batch), "0", 0, 1024, NULL, NULL, NULL, "smallest batch; 0: 1"},
    {"opt-batch", 0, OM_OPT_INT, FLAG(opt_batch), "0", 0, 1024, NULL, NULL, NULL,
     "the batch that is run where nobody asks for another; 0: the smallest"},
    {"max-batch", 0, OM_OPT_INT, FLAG(max_batch), "0", 0, 1024, NULL, NULL, NULL,
     "largest batch; 0: --opt-batch"},
    {"calib", 'c', OM_OPT_LIST, FLAG(calib), NULL, 0, 0, NULL, "DIR|FILE|VIDEO", NULL,
     "with --precision int8: quantise a float model first, by these pictures"},
    {"frames", 'n', OM_OPT_INT, FLAG(frames), "300", 1, 1000000, NULL, NULL, NULL,
     "how many of them, spread over all that was named"},
    {"min-frames", 0, OM_OPT_INT, FLAG(min_frames), "16", 1, 1000000, NULL, NULL, NULL, "fewer are an error"},

    {"inspect", 0, OM_OPT_BOOL, FLAG(inspect), "no", 0, 0, NULL, NULL, "Other ways",
     "show what a plan holds, and whether it fits here"},
    {"rebuild", 0, OM_OPT_BOOL, FLAG(rebuild), "no", 0, 0, NULL, NULL, NULL,
     "make a plan anew from the model inside, for this machine; what is not said stays"},
    {"json", 0, OM_OPT_STRING, FLAG(json), NULL, 0, 0, NULL, "FILE", NULL,
     "with --inspect: write it as JSON; '-': standard output"},
    {0},
};

static const char *const shared_names[] = {"device", "precision", "mode",      "threads",
                                           "head",   "labels",    "normalize", "channels",
                                           "fit",    "operators", "quiet",     "log-level"};
#define N_SHARED (sizeof shared_names / sizeof shared_names[0])

static const om_option *shared_options(void)
{
    static om_option some[N_SHARED + 1];
    om_run_options_some(shared_names, N_SHARED, some);
    return some;
}

static const om_option *const *tables(void)
{
    static const om_option *all[] = {flag_table, NULL, NULL};
    all[1] = shared_options();
    return all;
}

/* One build. */
typedef struct build {
    const om_build_flags *flags;
    om_run_options *options;
    const char *source; /* what the user named */
    om_engine *engine;
    int quantised_fd; /* of the int8 model in memory, or -1 */
    char quantised[48];
    om_size sizes[OM_PLAN_BLOBS_MAX];
    int n_sizes;
    int batches[3], n_batches;
    om_plan_info info;
    om_plan_blob blobs[OM_PLAN_BLOBS_MAX];
    char *owned[OM_PLAN_BLOBS_MAX]; /* the blobs' data */
    int n_blobs;
    char unkept[400]; /* why compiled forms are not */
} build;

static void show_calibration(void *user, const char *what, size_t done, size_t of)
{
    char text[120];
    (void)user;
    snprintf(text, sizeof text, "%.60s: %zu of %zu", what, done, of);
    om_console_status(text);
}

/* The engine reads models from files: this one is in memory alone. */
static int keep_in_memory(build *b, const om_graph *g)
{
    char *bytes = NULL;
    size_t len = 0, done = 0;
    int err = om_model_serialize(g, &bytes, &len);
    if (err) return err;
    b->quantised_fd = memfd_create("omma-int8", MFD_CLOEXEC);
    while (b->quantised_fd >= 0 && done < len) {
        ssize_t n = write(b->quantised_fd, bytes + done, len - done);
        if (n <= 0) break;
        done += (size_t)n;
    }
    om_free(bytes);
    if (done < len) return om_fail(OM_ERR_IO, "%s: the quantised model finds no room in memory", b->source);
    snprintf(b->quantised, sizeof b->quantised, "/proc/self/fd/%d", b->quantised_fd);
    return OM_OK;
}

static int quantize(build *b)
{
    const om_build_flags *f = b->flags;
    const om_run_options *o = b->options;
    om_graph *g = NULL;
    om_quant_report r = {0};
    om_size size = {0};
    int err = f->sizes.n ? om_parse_size(f->sizes.items[0], &size) : OM_OK;
    om_quant_job job = {.model = b->source,
                        .sources = &f->calib,
                        .frames = f->frames,
                        .min_frames = f->min_frames < f->frames ? f->min_frames : f->frames,
                        .device = "cpu",
                        .input_size = size,
                        .family = o->head,
                        .normalize = o->normalize,
                        .channels = o->channels,
                        .fit = o->fit,
                        .params = {.method = OM_QUANT_MSE,
                                   .target = !strncmp(o->device, "cuda", 4) ? OM_QUANT_CUDA : OM_QUANT_CPU,
                                   .percent = 99.99,
                                   .correct_bias = true,
                                   .equalise = true,
                                   .fit_rounding = true},
                        .progress = o->quiet ? NULL : show_calibration};
    if (!err) err = om_quantize(&job, &g, &r);
    om_console_status(NULL);
    if (!err && !o->quiet)
        printf("%zu of %zu layers int8, calibrated with %zu pictures in %.1f s\n",
               om_quant_report_quantised(&r), r.n_layers, r.frames, r.seconds);
    if (!err) err = keep_in_memory(b, g);
    om_quant_report_fini(&r);
    om_graph_destroy(g);
    return err;
}

static int choose_sizes(build *b)
{
    const om_model_desc *d = b->engine->desc;
    const om_plan_file *from = b->engine->plan_file;
    const om_strlist *asked = &b->flags->sizes;
    for (size_t i = 0; i < asked->n; i++) {
        om_size *s = &b->sizes[b->n_sizes];
        if (b->n_sizes == OM_PLAN_BLOBS_MAX / 3)
            return om_fail(OM_ERR_ARG, "--input-size: at most %d sizes", OM_PLAN_BLOBS_MAX / 3);
        int err = om_parse_size(asked->items[i], s);
        if (!err && !s->width) err = om_fail(OM_ERR_ARG, "--input-size '%s': expected WxH", asked->items[i]);
        if (!err) err = om_engine_check_size(d, b->source, *s);
        if (err) return err;
        b->n_sizes++;
    }
    for (int i = 0; from && !asked->n && i < from->n_blobs; i++) {
        om_size s = {from->blobs[i].width, from->blobs[i].height};
        bool there = false;
        for (int k = 0; k < b->n_sizes; k++)
            there = there || (b->sizes[k].width == s.width && b->sizes[k].height == s.height);
        if (!there && b->n_sizes < OM_PLAN_BLOBS_MAX / 3) b->sizes[b->n_sizes++] = s;
    }
    if (!b->n_sizes) b->sizes[b->n_sizes++] = (om_size){d->width, d->height};
    return OM_OK;
}

static int choose_batches(build *b)
{
    const om_build_flags *f = b->flags;
    const om_plan_file *from = b->engine->plan_file;
    const om_model_desc *d = b->engine->desc;
    const om_shape *in = &d->inputs[0].shape;
    bool asked = f->min_batch || f->opt_batch || f->max_batch;
    om_plan_info *p = &b->info;
    p->min_batch = f->min_batch ? f->min_batch : from && !asked ? from->info.min_batch : 1;
    p->opt_batch = f->opt_batch ? f->opt_batch : from && !asked ? from->info.opt_batch : p->min_batch;
    p->max_batch = f->max_batch ? f->max_batch : from && !asked ? from->info.max_batch : p->opt_batch;
    if (f->max_batch && !f->opt_batch && p->opt_batch > p->max_batch) p->opt_batch = p->max_batch;
    if (!d->dynamic_batch && in->rank > 0 && in->dim[0] > 0) {
        int own = (int)in->dim[0];
        if (asked && (p->min_batch != own || p->opt_batch != own || p->max_batch != own))
            return om_fail(OM_ERR_ARG, "%s has a fixed batch of %d: make it dynamic with 'omma model batch'",
                           b->source, own);
        p->min_batch = p->opt_batch = p->max_batch = own;
    }
    if (p->min_batch > p->opt_batch || p->opt_batch > p->max_batch)
        return om_fail(OM_ERR_ARG,
                       "batches %d, %d, %d: expected --min-batch, --opt-batch and --max-batch to rise",
                       p->min_batch, p->opt_batch, p->max_batch);
    /* A GPU's plan for the largest has rungs for the smaller ones in it. */
    if (b->engine->device->ops->memory != OM_MEMORY_HOST) {
        b->batches[b->n_batches++] = p->max_batch;
        return OM_OK;
    }
    b->batches[b->n_batches++] = p->min_batch;
    if (p->opt_batch > p->min_batch) b->batches[b->n_batches++] = p->opt_batch;
    if (p->max_batch > p->opt_batch) b->batches[b->n_batches++] = p->max_batch;
    return OM_OK;
}

/* What the backend can keep of it is kept: without, the plan is compiled at each start. */
static int keep_form(build *b, om_plan *plan, om_plan_blob *blob)
{
    int err = om_plan_export(plan, &b->owned[b->n_blobs], &blob->len);
    if (err == OM_ERR_UNSUPPORTED) snprintf(b->unkept, sizeof b->unkept, "%s", om_error_message());
    blob->data = b->owned[b->n_blobs];
    return err == OM_ERR_UNSUPPORTED ? OM_OK : err;
}

/* Compiles for one size and batch. */
static int compile(build *b, om_size size, int batch)
{
    om_plan *plan = NULL;
    om_plan_blob *blob = &b->blobs[b->n_blobs];
    char text[100];
    snprintf(text, sizeof text, "compiling %dx%d, batch %d", size.width, size.height, batch);
    if (!b->options->quiet) om_console_status(text);
    int err = om_engine_compile_batch(b->engine, size.width, size.height, batch, &plan);
    *blob = (om_plan_blob){.width = size.width, .height = size.height, .batch = batch};
    if (!err) err = keep_form(b, plan, blob);
    if (!err && !b->n_blobs) snprintf(b->info.note, sizeof b->info.note, "%s", plan->note);
    b->n_blobs += !err;
    om_plan_destroy(plan);
    om_console_status(NULL);
    return err;
}

static int compile_all(build *b)
{
    int err = OM_OK;
    for (int s = 0; s < b->n_sizes && !err; s++)
        for (int k = 0; k < b->n_batches && !err; k++) err = compile(b, b->sizes[s], b->batches[k]);
    return err;
}

/* What was said about the model goes into it, where every reader finds it. */
static int settle(build *b)
{
    om_graph *g = b->engine->graph;
    const om_model_desc *d = b->engine->desc;
    om_str names = {0};
    int err = OM_OK;
    if (b->options->head) err = om_graph_set_meta(g, "omma.family", om_family_name(d->family));
    if (!err && b->options->labels) {
        om_labels_write(d->labels, d->n_labels, &names);
        err = names.failed ? om_fail_nomem("class names") : om_graph_set_meta(g, "names", om_str_get(&names));
    }
    om_str_fini(&names);
    return err;
}

static void fill_info(build *b)
{
    om_plan_info *p = &b->info;
    const om_engine *e = b->engine;
    const om_run_options *o = b->options;
    const om_plan_info *from = e->plan_file ? &e->plan_file->info : NULL;
    const char *slash = strrchr(b->source, '/');
    snprintf(p->omma, sizeof p->omma, "%s", om_version());
    snprintf(p->backend, sizeof p->backend, "%s", e->backend->name);
    snprintf(p->engine, sizeof p->engine, "%s", e->backend->version());
    const char *device = om_plan_file_device(e->plan_file, o->device);
    snprintf(p->device, sizeof p->device, "%s", device && strcmp(device, "auto") ? device : e->backend->name);
    om_plan_machine(e->backend, e->device_name, p->machine, sizeof p->machine);
    snprintf(p->model, sizeof p->model, "%.*s", (int)sizeof p->model - 1,
             from    ? from->model
             : slash ? slash + 1
                     : b->source);
    snprintf(p->family, sizeof p->family, "%s", om_family_name(e->desc->family));
    p->precision = from && !o->precision ? from->precision : (om_precision)o->precision;
    p->mode = from && o->mode == OM_MODE_THROUGHPUT ? from->mode : (om_mode)o->mode;
    p->threads = from && !o->threads ? from->threads : o->threads;
    p->normalize = o->normalize == OM_NORMALIZE_OWN && from ? from->normalize : o->normalize;
    p->channels = o->channels < 0 && from ? from->channels : o->channels;
    p->fit = o->fit < 0 && from ? from->fit : o->fit;
    p->made_us = om_wall_us();
}

static int check_precision(const build *b)
{
    const om_build_flags *f = b->flags;
    bool int8 = b->options->precision == OM_PRECISION_INT8;
    if (f->calib.n && !int8) return om_fail(OM_ERR_ARG, "--calib goes with --precision int8");
    if (f->calib.n && f->rebuild)
        return om_fail(OM_ERR_ARG, "--rebuild keeps the model inside; it takes no --calib");
    if (!int8 || f->calib.n || f->rebuild) return OM_OK;
    om_graph *g = NULL;
    int err = om_plan_file_open(b->source, &g, NULL);
    if (!err && om_quant_check_float(g, b->source) == OM_OK)
        err = om_fail(OM_ERR_ARG, "%s is a float model: --calib DIR names pictures to quantise it by",
                      b->source);
    om_graph_destroy(g);
    return err;
}

static int write_plan(build *b, const char *path)
{
    char *model = NULL;
    size_t len = 0;
    struct stat st;
    int err = settle(b);
    if (!err) err = om_model_serialize(b->engine->graph, &model, &len);
    if (!err) err = om_plan_file_write(path, &b->info, model, len, b->blobs, b->n_blobs);
    om_free(model);
    if (!err && !b->options->quiet)
        printf("%s: %s, %d compiled form%s, %.1f MB\n", path, b->info.note, b->n_blobs,
               b->n_blobs == 1 ? "" : "s", stat(path, &st) ? 0 : (double)st.st_size / 1e6);
    if (!err && !b->options->quiet && b->unkept[0])
        printf("%s: the plan holds the model and how to compile it\n", b->unkept);
    return err;
}

static int make(build *b, const char *output)
{
    om_run_options *o = b->options;
    char *named = o->model;
    int err = check_precision(b);
    if (!err && b->flags->calib.n) err = quantize(b);
    o->model = b->quantised[0] ? b->quantised : (char *)b->source;
    if (!err) err = om_engine_create(o, &b->engine);
    if (!err && b->flags->rebuild && !b->engine->plan_file)
        err = om_fail(OM_ERR_ARG, "%s is no plan file: --rebuild wants one", b->source);
    if (!err && b->engine->plan_file) b->engine->plan_file->fresh = true;
    if (!err) err = choose_sizes(b);
    if (!err) err = choose_batches(b);
    if (!err) fill_info(b);
    if (!err) err = compile_all(b);
    if (!err) err = write_plan(b, output);
    om_engine_destroy(b->engine);
    o->model = named;
    for (int i = 0; i < OM_PLAN_BLOBS_MAX; i++) om_free(b->owned[i]);
    if (b->quantised_fd >= 0) close(b->quantised_fd);
    return err;
}

static int run_with(const om_args *args, const om_build_flags *f, om_run_options *o)
{
    int err = om_command_setup("omma build", o);
    if (!err) err = om_args_expect(args, 1, f->inspect || f->rebuild ? "a PLAN" : "a MODEL.onnx");
    if (err) return err;
    if (f->inspect) return om_build_inspect(args->positional[0], f->json);
    if (f->json) return om_fail(OM_ERR_ARG, "--json goes with --inspect");
    const char *output = f->output ? f->output : f->rebuild ? args->positional[0] : NULL;
    if (!output) return om_fail(OM_ERR_ARG, "no output: name the plan to write with -o PLAN");
    if ((err = om_outfile_check(output))) return err;
    build *b = om_calloc(1, sizeof *b);
    if (!b) return OM_ERR_NOMEM;
    b->flags = f;
    b->options = o;
    b->source = args->positional[0];
    b->quantised_fd = -1;
    err = make(b, output);
    om_free(b);
    return err;
}

static int run(const om_args *args, int *status)
{
    om_build_flags f;
    om_run_options o;
    (void)status;
    int err = om_options_init(flag_table, &f);
    if (err) return err;
    err = om_options_init(om_run_option_table, &o);
    if (!err) err = om_args_apply(args, flag_table, &f);
    if (!err) err = om_args_apply(args, shared_options(), &o);
    if (!err) err = run_with(args, &f, &o);
    om_options_fini(om_run_option_table, &o);
    om_options_fini(flag_table, &f);
    return err;
}

const om_command om_cmd_build = {
    .name = "build",
    .summary = "a model into a plan file for one device: compiled, with all that is needed to run it",
    .usage = "MODEL.onnx -o PLAN [OPTIONS]\nPLAN --inspect\nPLAN --rebuild [-o PLAN]",
    .about =
        "Compiles a model for a device, a precision, sizes and batches, and writes one file that holds the model, its "
        "description and what the engine made of it. 'omma run', 'detect', 'eval', 'annotate' and 'profile' take it where "
        "they take a model, and start faster. On another machine, or with another version of the engine or of omma, the "
        "model inside is compiled anew, which a warning says. A file that is cut short or damaged is refused. The compiled "
        "form is read by the engine, which trusts it: take plans from where you would take programs.",
    .examples = "omma build yolov8n.onnx -o yolov8n.plan --device cpu --precision bf16\n"
                "omma build yolov8n.onnx -o yolov8n.plan --input-size 640x384 --max-batch 4\n"
                "omma build yolov8n.onnx -o yolov8n-int8.plan --precision int8 --calib frames/\n"
                "omma build yolov8n.plan --inspect\n"
                "omma detect --engine yolov8n.plan --image street.jpg --batch 4",
    .tables = tables,
    .run = run,
};
