#include "train/train.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/planfile.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "train/features.h"
#include "train/graft.h"
#include "train/npy.h"

#define PROGRESS_NS (OM_NS_PER_SEC / 4)

enum { WEIGHTS_NONE, WEIGHTS_BALANCED };
static const om_choice weightings[] = {{"none", WEIGHTS_NONE, "every picture counts alike"},
                                       {"balanced", WEIGHTS_BALANCED, "every class counts alike"},
                                       {NULL, 0, NULL}};

#define OPT(field) offsetof(om_train_options, field)

const om_option om_train_option_table[] = {
    {"model", 'm', OM_OPT_STRING, OPT(model), NULL, 0, 0, NULL, "MODEL", "Model",
     "an ONNX file, or a name of 'omma model synth --list': that structure with seeded random weights"},
    {"output", 'o', OM_OPT_STRING, OPT(output), NULL, 0, 0, NULL, "FILE", NULL,
     "the ONNX file to write: the model with the new head and its class names"},
    {"cut", 0, OM_OPT_STRING, OPT(cut), NULL, 0, 0, NULL, "TENSOR|LAYER", NULL,
     "whose output are the features; default: what goes into the classifier's last layer"},
    {"input-size", 0, OM_OPT_SIZE, OPT(input_size), NULL, 0, 0, NULL, NULL, NULL,
     "of pictures, where the model leaves it free"},
    {"device", 'd', OM_OPT_STRING, OPT(device), "cpu", 0, 0, NULL, "DEVICE", NULL,
     "where features are computed"},
    {"threads", 0, OM_OPT_INT, OPT(threads), "0", 0, 1024, NULL, NULL, NULL, "of the engine; 0: one a core"},
    {"extract-batch", 0, OM_OPT_INT, OPT(extract_batch), "8", 1, 128, NULL, NULL, NULL,
     "pictures a time through the model"},

    {"val", 0, OM_OPT_DOUBLE, OPT(share), "0.2", 0, 0.9, NULL, "SHARE", "Data", "share that is held out"},
    {"split", 0, OM_OPT_CHOICE, OPT(holdout), "random", 0, 0, om_holdout_choices, NULL, NULL, "which part"},
    {"dummy-classes", 0, OM_OPT_INT, OPT(dummy_classes), "0", 0, 100000, NULL, "N", NULL,
     "draw labels of N classes by the seed instead of reading them: to measure with"},
    {"class-weights", 0, OM_OPT_CHOICE, OPT(weights), "none", 0, 0, weightings, NULL, NULL,
     "how much each picture counts"},
    {"cache", 0, OM_OPT_STRING, OPT(cache), NULL, 0, 0, NULL, "FILE", NULL,
     "keep features here; the next run of the same model and pictures takes them"},

    {"epochs", 'e', OM_OPT_INT, OPT(epochs), "30", 1, 10000000, NULL, NULL, "Training",
     "passes over the data"},
    {"batch-size", 'b', OM_OPT_INT, OPT(batch), "32", 1, 65536, NULL, NULL, NULL, "pictures a step"},
    {"patience", 0, OM_OPT_INT, OPT(patience), "10", 0, 10000000, NULL, NULL, NULL,
     "stop after so many epochs without a better one; 0: never"},
    {"standardise", 0, OM_OPT_BOOL, OPT(standardise), "yes", 0, 0, NULL, NULL, NULL,
     "features get mean 0 and deviation 1 before the head; folded into its first layer in the end"},
    {"seed", 0, OM_OPT_INT64, OPT(seed), "1", 0, 9e15, NULL, NULL, NULL,
     "of the split, of first weights, of the order"},
    {"max-steps", 0, OM_OPT_INT64, OPT(max_steps), "0", 0, 9e15, NULL, NULL, NULL,
     "stop after so many steps in all, to go on with --resume; 0: no bound"},
    {"checkpoint", 0, OM_OPT_STRING, OPT(checkpoint), NULL, 0, 0, NULL, "FILE", NULL,
     "written after each epoch and when it is stopped"},
    {"resume", 0, OM_OPT_BOOL, OPT(resume), "no", 0, 0, NULL, NULL, NULL,
     "go on from the checkpoint, if it is there"},

    {"report", 0, OM_OPT_STRING, OPT(report), NULL, 0, 0, NULL, "FILE", "Output",
     "write what was learnt as JSON; '-': standard output"},
    {"dump", 0, OM_OPT_STRING, OPT(dump), NULL, 0, 0, NULL, "DIR", NULL,
     "write features, labels, order and weights as NumPy files"},
    {"quiet", 'q', OM_OPT_BOOL, OPT(quiet), "no", 0, 0, NULL, NULL, NULL, "print errors only"},
    {"log-level", 0, OM_OPT_STRING, OPT(log_level), "warn", 0, 0, NULL, "error|warn|info|debug", NULL,
     "what else is said"},
    {0},
};

/* Rows to learn from or to judge by, gathered out of the features. */
typedef struct part {
    float *rows;
    int *labels;
    om_rows view;
} part;

typedef struct training {
    const om_train_options *o;
    const om_learning *l;
    const om_train_listener *listener;
    om_cancel *cancel;
    om_train_result *r;
    om_graph *graph;
    om_model_desc *desc;
    om_dataset data;
    om_features features;
    part learn, held_out;
    float *mean, *scale, *weights; /* NULL: none */
    om_trainer_params params;
    om_trainer trainer;
    om_device *device; /* where the head's large products are computed; NULL: here */
    int64_t next_progress_ns;
} training;

static void say(training *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(training *t, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (t->listener->line) t->listener->line(t->listener->user, text);
}

static void show(training *t, const char *text)
{
    int64_t now = om_now_ns();
    if (text && now < t->next_progress_ns) return;
    t->next_progress_ns = now + PROGRESS_NS;
    if (t->listener->progress) t->listener->progress(t->listener->user, text);
}

static void extracted(void *user, size_t done, size_t of)
{
    char text[96];
    snprintf(text, sizeof text, "features: picture %zu of %zu", done, of);
    show(user, text);
}

static void told(void *user, int epoch, const om_epoch *e)
{
    training *t = user;
    char text[160];
    snprintf(text, sizeof text, "epoch %d of %d: loss %.4f, held out %.4f, right %.2f%%", epoch + 1,
             t->o->epochs, e->train_loss, e->val_loss, 100 * e->val_top1);
    show(t, text);
}

void om_train_result_fini(om_train_result *r)
{
    om_strlist_fini(&r->names);
    om_free(r->classes);
    om_free(r->confusion);
    om_free(r->history);
    om_free(r->point);
    memset(r, 0, sizeof *r);
}

static int open_model(training *t)
{
    const om_train_options *o = t->o;
    struct stat st;
    om_synth_params s = {.seed = (uint64_t)o->seed};
    bool made = stat(o->model, &st) && om_model_is_synth(o->model);
    int err = made ? om_model_synth(o->model, &s, &t->graph) : om_plan_file_open(o->model, &t->graph, NULL);
    if (!err) err = om_graft_cut(t->graph, o->cut, o->input_size, &t->r->point, &t->r->features);
    if (!err) err = om_graft_describe(t->graph, (int)t->data.classes.n, &t->desc);
    if (err) return om_fail_prefix(err, "%s", o->model);
    say(t, "model: %s; %d features at '%s', pictures of %dx%d%s", o->model, t->r->features, t->r->point,
        t->desc->width, t->desc->height,
        made ? "; its weights are random, from the seed: features of chance" : "");
    return OM_OK;
}

static int open_data(training *t, const char *path)
{
    const om_train_options *o = t->o;
    om_dataset_params p = {.dummy_classes = o->dummy_classes,
                           .share = o->share,
                           .holdout = (om_holdout)o->holdout,
                           .seed = (uint64_t)o->seed};
    int err = om_dataset_load(&t->data, path, &p);
    if (err) return err;
    say(t, "data: %zu pictures of %zu classes, %zu held out%s", t->data.files.n, t->data.classes.n,
        t->data.n_held_out, o->dummy_classes ? "; labels are dummies drawn by the seed" : "");
    for (size_t i = 0; i < t->data.classes.n && !err; i++)
        err = om_strlist_add(&t->r->names, t->data.classes.items[i]);
    return err;
}

static int extract(training *t)
{
    const om_train_options *o = t->o;
    om_features_params p = {.device = o->device,
                            .batch = o->extract_batch,
                            .threads = o->threads,
                            .cache = o->cache,
                            .cancel = t->cancel,
                            .progress = extracted,
                            .user = t};
    int err = om_features_extract(&t->features, t->graph, t->desc, &t->data, &p);
    show(t, NULL);
    if (err) return err;
    snprintf(t->r->engine, sizeof t->r->engine, "%s", t->features.engine);
    t->r->cached = t->features.cached;
    t->r->damaged = t->features.damaged;
    t->r->extract_s = t->features.seconds;
    say(t, "features: %s in %.1f s (%s)%s", t->features.cached ? "taken from the cache" : "computed",
        t->features.seconds, t->features.engine,
        t->features.damaged ? "; some pictures could not be read" : "");
    return OM_OK;
}

static int gather(training *t, bool held_out, part *out)
{
    size_t n = 0, width = (size_t)t->features.width;
    for (size_t i = 0; i < t->data.files.n; i++) n += t->data.held_out[i] == held_out && !t->features.bad[i];
    out->rows = om_alloc((n * width + 1) * sizeof *out->rows);
    out->labels = om_alloc((n + 1) * sizeof *out->labels);
    if (!out->rows || !out->labels) return OM_ERR_NOMEM;
    out->view = (om_rows){.rows = out->rows,
                          .labels = out->labels,
                          .n = n,
                          .width = t->features.width,
                          .classes = (int)t->data.classes.n};
    n = 0;
    for (size_t i = 0; i < t->data.files.n; i++) {
        if (t->data.held_out[i] != held_out || t->features.bad[i]) continue;
        const float *from = t->features.rows + i * width;
        for (size_t k = 0; k < width; k++)
            if (!isfinite(from[k]))
                return om_fail(OM_ERR_FORMAT, "%s: the model's features of it are no numbers",
                               t->data.files.items[i]);
        memcpy(out->rows + n * width, from, width * sizeof *from);
        out->labels[n++] = t->data.labels[i];
    }
    return OM_OK;
}

/* Means and deviations of what is learnt from; a feature that never changes is left alone. */
static int standardise(training *t)
{
    size_t width = (size_t)t->features.width, n = t->learn.view.n;
    t->mean = om_calloc(width, sizeof *t->mean);
    t->scale = om_calloc(width, sizeof *t->scale);
    if (!t->mean || !t->scale) return OM_ERR_NOMEM;
    for (size_t k = 0; k < width; k++) {
        double sum = 0, square = 0;
        for (size_t i = 0; i < n; i++) sum += (double)t->learn.rows[i * width + k];
        double mean = sum / (double)n;
        for (size_t i = 0; i < n; i++) {
            double d = (double)t->learn.rows[i * width + k] - mean;
            square += d * d;
        }
        double deviation = sqrt(square / (double)n);
        t->mean[k] = (float)mean;
        t->scale[k] = deviation > 1e-6 * (fabs(mean) + 1e-6) ? (float)(1 / deviation) : 1;
    }
    for (part *p = &t->learn; p; p = p == &t->learn ? &t->held_out : NULL)
        for (size_t i = 0; i < p->view.n * width; i++)
            p->rows[i] = (p->rows[i] - t->mean[i % width]) * t->scale[i % width];
    return OM_OK;
}

/* n / (classes * n of the class), as scikit-learn balances. */
static int balance(training *t)
{
    int classes = t->learn.view.classes;
    if (t->o->weights == WEIGHTS_NONE) return OM_OK;
    t->weights = om_calloc((size_t)classes, sizeof *t->weights);
    if (!t->weights) return OM_ERR_NOMEM;
    for (size_t i = 0; i < t->learn.view.n; i++) t->weights[t->learn.labels[i]]++;
    for (int c = 0; c < classes; c++)
        if (t->weights[c] > 0) t->weights[c] = (float)t->learn.view.n / ((float)classes * t->weights[c]);
    return OM_OK;
}

static int prepare(training *t)
{
    const om_train_options *o = t->o;
    int err = gather(t, false, &t->learn);
    if (!err) err = gather(t, true, &t->held_out);
    if (!err && !t->learn.view.n) err = om_fail(OM_ERR_FORMAT, "no picture is left to learn from");
    if (!err && o->standardise) err = standardise(t);
    if (!err) err = balance(t);
    t->params = (om_trainer_params){.learning = *t->l,
                                    .batch = o->batch,
                                    .epochs = o->epochs,
                                    .patience = o->patience,
                                    .max_steps = o->max_steps,
                                    .weights = t->weights,
                                    .seed = (uint64_t)o->seed,
                                    .checkpoint = o->checkpoint,
                                    .resume = o->resume,
                                    .cancel = t->cancel,
                                    .told = told,
                                    .user = t};
    return err;
}

static int dump_params(training *t, const char *name)
{
    const om_classifier *c = &t->trainer.classifier;
    return om_npy_write(t->o->dump, name, OM_DTYPE_F32, c->params, c->n_params, 0);
}

/* What another program needs to do the same. */
static int dump_start(training *t)
{
    const om_rows *a = &t->learn.view, *b = &t->held_out.view;
    const char *dir = t->o->dump;
    if (!dir) return OM_OK;
    if (mkdir(dir, 0777) && errno != EEXIST)
        return om_fail(om_err_from_errno(errno), "%s: cannot make the folder: %s", dir, strerror(errno));
    uint32_t *order = om_alloc((a->n + 1) * (size_t)t->o->epochs * sizeof *order);
    if (!order) return OM_ERR_NOMEM;
    for (int e = 0; e < t->o->epochs; e++)
        om_trainer_order(t->params.seed, e, order + (size_t)e * a->n, a->n);
    size_t width = (size_t)a->width;
    int err = om_npy_write(dir, "train_x", OM_DTYPE_F32, a->rows, a->n, width);
    if (!err) err = om_npy_write(dir, "train_y", OM_DTYPE_I32, a->labels, a->n, 0);
    if (!err) err = om_npy_write(dir, "val_x", OM_DTYPE_F32, b->rows, b->n, width);
    if (!err) err = om_npy_write(dir, "val_y", OM_DTYPE_I32, b->labels, b->n, 0);
    if (!err) err = om_npy_write(dir, "order", OM_DTYPE_U32, order, (size_t)t->o->epochs, a->n);
    if (!err) err = dump_params(t, "params_first");
    om_free(order);
    return err;
}

/* A GPU that has computed the features multiplies for the head, too. */
static void place_products(training *t)
{
    const om_backend_ops *backend;
    const char *device;
    const om_device_ops *ops =
        om_backend_select(t->o->device, &backend, &device) ? NULL : om_device_find(backend->name);
    if (ops && ops->product && !om_device_open(t->o->device, &t->device))
        t->trainer.classifier.device = t->device;
    else om_error_clear();
}

static int learn(training *t)
{
    int64_t begin = om_now_ns();
    int err = om_trainer_init(&t->trainer, &t->learn.view, &t->held_out.view, &t->params, t->l->hidden);
    if (!err) place_products(t);
    if (!err && t->trainer.resumed)
        say(t, "resumed: epoch %d, step %lld", t->trainer.epoch + 1, (long long)t->trainer.step);
    if (!err) err = dump_start(t);
    if (!err) err = om_trainer_run(&t->trainer, &t->learn.view, &t->held_out.view, &t->params);
    show(t, NULL);
    if (!err && t->o->dump) err = dump_params(t, "params_last");
    t->r->train_s = (double)(om_now_ns() - begin) / 1e9;
    return err;
}

static void judge_classes(om_train_result *r, const om_rows *learn, const om_rows *held_out, const int *best)
{
    size_t n = r->names.n;
    for (size_t i = 0; i < learn->n; i++) r->classes[learn->labels[i]].learnt++;
    for (size_t i = 0; i < held_out->n; i++) {
        r->classes[held_out->labels[i]].held_out++;
        r->confusion[(size_t)held_out->labels[i] * n + (size_t)best[i]]++;
    }
    for (size_t c = 0; c < n; c++) {
        double right = r->confusion[c * n + c], said = 0, there = (double)r->classes[c].held_out;
        for (size_t k = 0; k < n; k++) said += r->confusion[k * n + c];
        r->classes[c].precision = said > 0 ? right / said : NAN;
        r->classes[c].recall = there > 0 ? right / there : NAN;
        r->classes[c].f1 = said + there > 0 ? 2 * right / (said + there) : NAN;
    }
}

static int judge(training *t)
{
    om_train_result *r = t->r;
    size_t n = r->names.n;
    double loss;
    int *best = om_alloc((t->held_out.view.n + 1) * sizeof *best);
    r->classes = om_calloc(n, sizeof *r->classes);
    r->confusion = om_calloc(n * n, sizeof *r->confusion);
    int err = best && r->classes && r->confusion ? OM_OK : OM_ERR_NOMEM;
    om_classifier *c = &t->trainer.classifier;
    if (!err) err = om_trainer_judge(c, &t->learn.view, t->weights, &loss, &r->train_top1, NULL);
    if (!err) err = om_trainer_judge(c, &t->held_out.view, t->weights, &r->loss, &r->top1, best);
    if (!err) judge_classes(r, &t->learn.view, &t->held_out.view, best);
    om_free(best);
    r->history = t->trainer.history;
    t->trainer.history = NULL;
    r->n_epochs = t->trainer.epoch;
    r->best_epoch = t->trainer.best_epoch;
    r->steps = t->trainer.step;
    r->learnt = t->learn.view.n;
    r->held_out = t->held_out.view.n;
    r->resumed = t->trainer.resumed;
    r->stopped = t->trainer.stopped;
    r->patience = !r->stopped && r->n_epochs < t->o->epochs;
    return err;
}

static int check(const om_train_options *o)
{
    if (!o->model) return om_fail(OM_ERR_ARG, "no model: name a file or a known model with -m");
    if (!o->output) return om_fail(OM_ERR_ARG, "no output: name the file to write with -o NEW.onnx");
    if (o->resume && !o->checkpoint) return om_fail(OM_ERR_ARG, "--resume needs --checkpoint FILE");
    if (o->dummy_classes == 1) return om_fail(OM_ERR_ARG, "--dummy-classes 1: expected two or more");
    int err = om_outfile_check(o->output);
    if (!err) err = om_outfile_check(o->checkpoint);
    return err ? err : om_outfile_check(o->cache);
}

static void fini(training *t)
{
    show(t, NULL);
    om_trainer_fini(&t->trainer);
    om_device_close(t->device);
    om_features_fini(&t->features);
    om_dataset_fini(&t->data);
    om_model_desc_free(t->desc);
    om_graph_destroy(t->graph);
    void *owned[] = {t->learn.rows, t->learn.labels, t->held_out.rows, t->held_out.labels,
                     t->mean,       t->scale,        t->weights};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) om_free(owned[i]);
}

int om_train(const char *data, const om_train_options *o, const om_learning *l, om_cancel *cancel,
             const om_train_listener *listener, om_train_result *r)
{
    training t = {.o = o, .l = l, .cancel = cancel, .listener = listener, .r = r};
    memset(r, 0, sizeof *r);
    int err = check(o);
    if (!err) err = open_data(&t, data);
    if (!err) err = open_model(&t);
    if (!err) err = extract(&t);
    if (!err) err = prepare(&t);
    if (!err) err = learn(&t);
    if (!err) err = judge(&t);
    if (!err && !r->stopped)
        err = om_graft_head(t.graph, &t.trainer.classifier, t.mean, t.scale,
                            (const char *const *)r->names.items);
    if (!err && !r->stopped) err = om_model_save(t.graph, o->output);
    if (err == OM_ERR_CANCELLED) { /* before there was anything to keep */
        r->stopped = true;
        err = OM_OK;
    }
    fini(&t);
    if (err) om_train_result_fini(r);
    return err;
}
