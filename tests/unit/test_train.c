/* Heads that learn: gradients against finite differences, optimizers against their formulas, runs that stop
 * and go on, data sets, new heads on models. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "train/classifier.h"
#include "train/csv_labels.h"
#include "train/dataset.h"
#include "train/features.h"
#include "train/graft.h"
#include "train/optimizer.h"
#include "train/trainer.h"

#define ROWS 61
#define WIDTH 13
#define CLASSES 4

static char folder[64];
static float rows[ROWS * WIDTH];
static int labels[ROWS];
static uint32_t seed = 3;

static float uniform(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1;
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/omma-test-train-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    for (int i = 0; i < ROWS; i++) {
        labels[i] = i % CLASSES;
        for (int k = 0; k < WIDTH; k++) rows[i * WIDTH + k] = uniform() + (k == labels[i]);
    }
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static om_learning learning(om_optimizer_kind kind)
{
    return (om_learning){.optimizer = (int)kind,
                         .lr = 0.05,
                         .momentum = 0.9,
                         .weight_decay = 0.01,
                         .lr_step = 10,
                         .lr_decay = 0.5,
                         .schedule = OM_SCHEDULE_COSINE};
}

/* Which hidden units of which rows are at work. */
static void active(const om_classifier *c, bool *out)
{
    for (int i = 0; i < ROWS * c->shape.hidden; i++) out[i] = c->hidden[i] > 0;
}

/* Central differences of the loss at each number; none where a unit begins or ceases to work in between, as
 * the loss has a kink there. */
static void check_gradients(int hidden, const float *weights)
{
    om_classifier c;
    om_classifier_shape shape = {WIDTH, hidden, CLASSES};
    bool above_set[ROWS * 16] = {false}, below_set[ROWS * 16] = {false};
    double worst = 0;
    size_t checked = 0;
    assert_int_equal(om_classifier_init(&c, shape, ROWS, 11), OM_OK);
    om_classifier_learn(&c, rows, labels, ROWS, weights, NULL);
    for (size_t i = 0; i < c.n_params; i++) {
        const float step = 1.0f / 256;
        float was = c.params[i];
        c.params[i] = was + step;
        double above = om_classifier_loss(&c, rows, labels, ROWS, weights, NULL);
        active(&c, above_set);
        c.params[i] = was - step;
        double below = om_classifier_loss(&c, rows, labels, ROWS, weights, NULL);
        active(&c, below_set);
        c.params[i] = was;
        if (memcmp(above_set, below_set, sizeof above_set)) continue;
        double slope = (above - below) / (2 * (double)step), off = fabs(slope - (double)c.grad[i]);
        if (off > worst) worst = off;
        checked++;
    }
    if (worst > 1e-4) fail_msg("hidden %d: a gradient is off by %g", hidden, worst);
    assert_true(checked > c.n_params / 2);
    om_classifier_fini(&c);
}

static void gradients_are_slopes(void **state)
{
    const float weights[CLASSES] = {1, 0.25f, 3, 0};
    (void)state;
    check_gradients(0, NULL);
    check_gradients(7, NULL);
    check_gradients(0, weights);
    check_gradients(9, weights);
}

static int products;
static bool product_fails;

static int multiply(om_device *d, const om_mat *a, const om_mat *b, float *c, size_t c_row)
{
    products++;
    if (product_fails) return om_fail(OM_ERR_DEVICE, "device %s: broken", d->id);
    for (size_t r = 0; r < a->rows; r++)
        for (size_t i = 0; i < a->columns; i++) {
            float v = a->data[r * a->row_step + i * a->column_step];
            for (size_t k = 0; k < b->columns; k++)
                c[r * c_row + k] += v * b->data[i * b->row_step + k * b->column_step];
        }
    return OM_OK;
}

/* Loss of one step, and its gradients' difference from `host`'s as a share of their length. */
static double learn_on(om_device *d, const om_classifier *host, const float *x, const int *y, int n,
                       double *apart)
{
    om_classifier c;
    double sum = 0, all = 0;
    assert_int_equal(om_classifier_init(&c, host->shape, n, 7), OM_OK);
    c.device = d;
    double loss = om_classifier_learn(&c, x, y, n, NULL, NULL);
    assert_true(c.device == (product_fails ? NULL : d));
    for (size_t i = 0; i < c.n_params; i++) {
        sum += pow((double)c.grad[i] - (double)host->grad[i], 2);
        all += pow((double)host->grad[i], 2);
    }
    *apart = sqrt(sum / all);
    om_classifier_fini(&c);
    return loss;
}

/* A device multiplies what is large; where it fails, the kernels do, as if there had been none. */
static void a_device_multiplies(void **state)
{
    static const om_device_ops ops = {
        .api_version = OM_DEVICE_API_VERSION, .name = "fake", .product = multiply};
    enum { N = 16, FEATURES = 1024, CLASSES_ = 600 };
    om_device fake = {.ops = &ops, .id = "fake"};
    om_classifier host;
    int y[N];
    double apart;
    float *x = om_alloc(N * FEATURES * sizeof *x);
    assert_non_null(x);
    for (int i = 0; i < N * FEATURES; i++) x[i] = uniform();
    for (int i = 0; i < N; i++) y[i] = i * 7;
    assert_int_equal(om_classifier_init(&host, (om_classifier_shape){FEATURES, 0, CLASSES_}, N, 7), OM_OK);
    double loss = om_classifier_learn(&host, x, y, N, NULL, NULL);
    assert_true(fabs(learn_on(&fake, &host, x, y, N, &apart) - loss) < 1e-4 * loss);
    assert_true(apart < 1e-4);
    assert_int_equal(products,
                     1); /* forward; the weights' gradients are as many bytes as they are products */
    product_fails = true;
    assert_true(learn_on(&fake, &host, x, y, N, &apart) == loss);
    assert_true(apart == 0);
    assert_int_equal(products, 2);
    products = 0;
    product_fails = false;
    om_classifier_fini(&host);
    om_free(x);
    /* Small ones are not worth the way. */
    assert_int_equal(om_classifier_init(&host, (om_classifier_shape){WIDTH, 0, CLASSES}, ROWS, 7), OM_OK);
    om_classifier_learn(&host, rows, labels, ROWS, NULL, NULL);
    learn_on(&fake, &host, rows, labels, ROWS, &apart);
    assert_true(apart == 0);
    assert_int_equal(products, 0);
    om_classifier_fini(&host);
}

/* The formulas in double precision. */
static void optimizers_follow_their_formulas(void **state)
{
    (void)state;
    for (int kind = OM_OPTIMIZER_SGD; kind <= OM_OPTIMIZER_ADAMW; kind++) {
        om_optimizer o;
        om_learning l = learning((om_optimizer_kind)kind);
        float p = 0.7f;
        double q = (double)p, m = 0, v = 0;
        assert_int_equal(om_optimizer_init(&o, &l, 1), OM_OK);
        for (int t = 1; t <= 20; t++) {
            float g = uniform();
            double rate = 0.01 * t, d = (double)g;
            om_optimizer_step(&o, &p, &g, rate);
            if (kind == OM_OPTIMIZER_SGD) {
                d += l.weight_decay * q;
                m = t > 1 ? l.momentum * m + d : d;
                q -= rate * m;
            } else {
                q *= 1 - rate * l.weight_decay;
                m = 0.9 * m + 0.1 * d;
                v = 0.999 * v + 0.001 * d * d;
                q -= rate * (m / (1 - pow(0.9, t))) / (sqrt(v / (1 - pow(0.999, t))) + 1e-8);
            }
            assert_true(fabs((double)p - q) < 1e-4);
        }
        om_optimizer_fini(&o);
    }
}

static void schedules(void **state)
{
    om_learning l = learning(OM_OPTIMIZER_SGD);
    (void)state;
    l.lr = 1;
    l.lr_ramp = 4;
    assert_true(fabs(om_learning_rate(&l, 0, 104) - 0.25) < 1e-12);
    assert_true(fabs(om_learning_rate(&l, 3, 104) - 1) < 1e-12);
    assert_true(fabs(om_learning_rate(&l, 4, 104) - 1) < 1e-12);
    assert_true(fabs(om_learning_rate(&l, 54, 104) - 0.5) < 1e-12);
    l.lr_min = 0.1;
    assert_true(fabs(om_learning_rate(&l, 104, 104) - 0.1) < 1e-12);
    l.schedule = OM_SCHEDULE_STEP;
    assert_true(fabs(om_learning_rate(&l, 13, 104) - 1) < 1e-12);
    assert_true(fabs(om_learning_rate(&l, 14, 104) - 0.5) < 1e-12);
    assert_true(fabs(om_learning_rate(&l, 24, 104) - 0.25) < 1e-12);
    l.schedule = OM_SCHEDULE_CONSTANT;
    assert_true(om_learning_rate(&l, 99, 104) == 1);
}

static const om_rows learn_rows = {rows, labels, 48, WIDTH, CLASSES};
static const om_rows held_rows = {rows + 48 * WIDTH, labels + 48, ROWS - 48, WIDTH, CLASSES};

static om_trainer_params params(om_optimizer_kind kind, const char *checkpoint)
{
    return (om_trainer_params){.learning = learning(kind),
                               .batch = 10,
                               .epochs = 12,
                               .seed = 5,
                               .checkpoint = checkpoint,
                               .resume = true};
}

static void train_all(om_trainer_params *p, int hidden, om_trainer *t)
{
    if (om_trainer_init(t, &learn_rows, &held_rows, p, hidden)) fail_msg("%s", om_error_message());
    if (om_trainer_run(t, &learn_rows, &held_rows, p)) fail_msg("%s", om_error_message());
}

/* Stopped in the middle of epochs, and between them: the same bits in the end. */
static void stopped_runs_end_alike(void **state)
{
    char path[96];
    (void)state;
    snprintf(path, sizeof path, "%s/checkpoint", folder);
    for (int kind = OM_OPTIMIZER_SGD; kind <= OM_OPTIMIZER_ADAMW; kind++)
        for (int hidden = 0; hidden <= 6; hidden += 6) {
            om_trainer whole, t;
            om_trainer_params p = params((om_optimizer_kind)kind, NULL);
            train_all(&p, hidden, &whole);
            assert_false(whole.stopped);
            assert_true(whole.history[11].train_loss < whole.history[0].train_loss);
            p = params((om_optimizer_kind)kind, path);
            remove(path);
            for (int64_t at = 3;; at += 7) {
                p.max_steps = at;
                train_all(&p, hidden, &t);
                assert_int_equal(t.resumed, at > 3);
                if (!t.stopped) break;
                assert_int_equal(t.step, at);
                om_trainer_fini(&t);
            }
            assert_int_equal(t.step, whole.step);
            assert_int_equal(t.best_epoch, whole.best_epoch);
            assert_memory_equal(t.classifier.params, whole.classifier.params,
                                whole.classifier.n_params * sizeof(float));
            assert_memory_equal(t.history, whole.history, 12 * sizeof *whole.history);
            om_trainer_fini(&t);
            om_trainer_fini(&whole);
        }
}

static void expect_refusal(const om_trainer_params *p, int hidden, int err, const char *words)
{
    om_trainer t;
    assert_int_equal(om_trainer_init(&t, &learn_rows, &held_rows, p, hidden), err);
    if (!strstr(om_error_message(), words)) fail_msg("%s", om_error_message());
}

static void foreign_checkpoints_are_refused(void **state)
{
    char path[96];
    om_trainer t;
    (void)state;
    snprintf(path, sizeof path, "%s/other", folder);
    om_trainer_params p = params(OM_OPTIMIZER_SGD, path);
    p.max_steps = 5;
    train_all(&p, 0, &t);
    om_trainer_fini(&t);
    expect_refusal(&p, 3, OM_ERR_ARG, "its head is 13-0-4");
    p.learning.lr = 0.1;
    expect_refusal(&p, 0, OM_ERR_ARG, "other options");
    p.learning.lr = 0.05;
    rows[0] += 1;
    expect_refusal(&p, 0, OM_ERR_ARG, "other pictures");
    rows[0] -= 1;
    p.source = 1;
    expect_refusal(&p, 0, OM_ERR_ARG, "another model");
    p.source = 0;
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, 56, SEEK_SET); /* the number of steps */
    fputc(6, f);
    fflush(f);
    expect_refusal(&p, 0, OM_ERR_FORMAT, "damaged");
    fseek(f, 56, SEEK_SET);
    fputc(5, f);
    fseek(f, -3, SEEK_END);
    fputc('x', f);
    fclose(f);
    expect_refusal(&p, 0, OM_ERR_FORMAT, "damaged");
    assert_int_equal(truncate(path, 100), 0);
    expect_refusal(&p, 0, OM_ERR_FORMAT, "cut off");
    assert_int_equal(
        om_write_file_atomic(path,
                             "something else altogether, long enough to be read as a header .............."
                             "....................................................................."
                             ".....................................................................",
                             200),
        OM_OK);
    expect_refusal(&p, 0, OM_ERR_FORMAT, "not a checkpoint");
}

static void losing_patience(void **state)
{
    om_trainer t;
    om_trainer_params p = params(OM_OPTIMIZER_SGD, NULL);
    (void)state;
    p.epochs = 500;
    p.patience = 4;
    p.learning.schedule = OM_SCHEDULE_CONSTANT;
    train_all(&p, 0, &t);
    assert_true(t.epoch < 500);
    assert_int_equal(t.epoch - 1 - t.best_epoch, 4);
    double loss, top1;
    assert_int_equal(om_trainer_judge(&t.classifier, &held_rows, NULL, &loss, &top1, NULL), OM_OK);
    assert_true(loss == t.best_loss && top1 == t.best_top1); /* the best numbers are the ones that stay */
    om_trainer_fini(&t);
}

static void loss_that_is_no_number(void **state)
{
    om_trainer t;
    om_trainer_params p = params(OM_OPTIMIZER_SGD, NULL);
    (void)state;
    p.learning.lr = 1e30;
    p.learning.schedule = OM_SCHEDULE_CONSTANT;
    assert_int_equal(om_trainer_init(&t, &learn_rows, &held_rows, &p, 5), OM_OK);
    assert_int_equal(om_trainer_run(&t, &learn_rows, &held_rows, &p), OM_ERR_FORMAT);
    assert_non_null(strstr(om_error_message(), "--lr"));
    om_trainer_fini(&t);
}

static void touch(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *p = path + strlen(folder) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(path, 0777);
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
}

static void data_sets_are_read(void **state)
{
    char path[96], name[64];
    om_dataset d;
    (void)state;
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof name, "set/cat/a_%06d_%d.500000.jpg", i, i);
        touch(name);
        snprintf(name, sizeof name, "set/dog/deep/b_%06d.png", i);
        touch(name);
    }
    touch("set/dog/notes.txt");
    snprintf(path, sizeof path, "%s/set", folder);
    om_dataset_params p = {.share = 1.0 / 3, .holdout = OM_HOLDOUT_LAST, .seed = 1};
    assert_int_equal(om_dataset_load(&d, path, &p), OM_OK);
    assert_int_equal(d.files.n, 18);
    assert_int_equal(d.classes.n, 2);
    assert_int_equal(d.n_held_out, 6);
    for (size_t i = 0; i < 18; i++) {
        assert_int_equal(d.labels[i], i >= 9);
        assert_int_equal(d.held_out[i], i % 9 >= 6);
    }
    om_dataset_fini(&d);
    p.holdout = OM_HOLDOUT_RANDOM;
    assert_int_equal(om_dataset_load(&d, path, &p), OM_OK);
    assert_int_equal(d.n_held_out, 6);
    om_dataset_fini(&d);
    p.dummy_classes = 5;
    assert_int_equal(om_dataset_load(&d, path, &p), OM_OK);
    assert_int_equal(d.classes.n, 5);
    om_dataset_fini(&d);
}

static void load_csv(const char *text, int err, const char *words)
{
    char path[96];
    om_dataset d;
    om_dataset_params p = {.share = 0.5, .seed = 1};
    snprintf(path, sizeof path, "%s/list.csv", folder);
    assert_int_equal(om_write_file_atomic(path, text, strlen(text)), OM_OK);
    assert_int_equal(om_dataset_load(&d, path, &p), err);
    if (err) {
        if (!strstr(om_error_message(), words)) fail_msg("%s", om_error_message());
        return;
    }
    assert_int_equal(d.files.n, 4);
    assert_string_equal(d.classes.items[0], "2");
    assert_string_equal(d.classes.items[1], "10");
    assert_string_equal(d.classes.items[2], "a, \"b\"");
    assert_string_equal(d.files.items[0] + strlen(folder), "/one.jpg");
    assert_int_equal(d.n_held_out, 1);
    assert_true(d.held_out[3]);
    om_dataset_fini(&d);
}

static void csv_lists_are_read(void **state)
{
    (void)state;
    load_csv(
        "path,class\none.jpg,10\r\n# no\n\ntwo.jpg, 2 ,train\n\"x, y.jpg\",\"a, \"\"b\"\"\"\nz.jpg,2,val\n",
        OM_OK, NULL);
    load_csv(
        "\xef\xbb\xbfpath,class\none.jpg,10\ntwo.jpg,2,train\n\"x, y.jpg\",\"a, \"\"b\"\"\"\nz.jpg,2,val\n",
        OM_OK, NULL);
    load_csv(
        "# made by hand\nFile,class\none.jpg,10\ntwo.jpg,2,train\n\"x, y.jpg\",\"a, \"\"b\"\"\"\nz.jpg,2,val\n",
        OM_OK, NULL);
    load_csv("one.jpg\n", OM_ERR_FORMAT, "list.csv:1: expected path,class");
    load_csv("a.jpg,1\nb.jpg,2,maybe\n", OM_ERR_FORMAT, "list.csv:2: 'maybe': expected train or val");
    load_csv("a.jpg,1\nb.jpg,1\n", OM_ERR_ARG, "one class");
    load_csv("a.jpg,1\nb.jpg,2,val\n", OM_ERR_ARG, "class '2' has no picture to learn from");
    load_csv("", OM_ERR_NOT_FOUND, "no pictures");
}

/* Before an engine is asked for anything. */
static void features_without_memory(void **state)
{
    om_value value = {.shape = om_shape_make(2, (int64_t)-1, (int64_t)8)};
    int output = 0;
    om_graph g = {.values = &value, .outputs = &output, .n_outputs = 1};
    om_dataset d = {.files.n = 3};
    om_features_params p = {.device = "cpu", .batch = 1};
    (void)state;
    for (long n = 0; n < 2; n++) {
        om_features f;
        om_mem_fail_after(n);
        int err = om_features_extract(&f, &g, NULL, &d, &p);
        om_mem_fail_after(-1);
        assert_int_equal(err, OM_ERR_NOMEM);
        assert_null(f.rows);
    }
}

/* The old head goes, the new one says its classes' names; features and numbers are where they belong. */
static void heads_are_replaced(void **state)
{
    static const char *const names[] = {"ape", "bee", "it's"};
    om_graph *g = NULL;
    om_model_desc *d = NULL;
    om_classifier c;
    char *point = NULL;
    int features = 0;
    (void)state;
    om_synth_params p = {.seed = 1};
    assert_int_equal(om_model_synth("mobilenet_v2", &p, &g), OM_OK);
    if (om_graft_cut(g, NULL, (om_size){0, 0}, &point, &features)) fail_msg("%s", om_error_message());
    assert_int_equal(features, 1280);
    assert_int_equal(om_classifier_init(&c, (om_classifier_shape){features, 6, 3}, 1, 1), OM_OK);
    if (om_graft_head(g, &c, NULL, NULL, names)) fail_msg("%s", om_error_message());
    assert_int_equal(om_graph_validate(g, "new"), OM_OK);
    assert_int_equal(om_model_describe(g, &d), OM_OK);
    assert_int_equal(d->family, OM_FAMILY_CLASSIFY);
    assert_int_equal(d->n_classes, 3);
    assert_int_equal(d->n_labels, 3);
    assert_string_equal(d->labels[2], "it's");
    assert_int_equal(d->width, 224);
    assert_true(d->prep.mean[0] > 100); /* ImageNet's, as the model had */
    om_model_desc_free(d);
    om_classifier_fini(&c);
    om_free(point);
    om_graph_destroy(g);

    assert_int_equal(om_model_synth("yolov8n", &p, &g), OM_OK);
    assert_int_equal(om_graft_cut(g, NULL, (om_size){0, 0}, &point, &features), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "--cut"));
    om_graph_destroy(g);
    assert_int_equal(om_model_synth("yolov8n", &p, &g), OM_OK);
    if (om_graft_cut(g, "/model.9/cv2/act/Mul", (om_size){0, 0}, &point, &features))
        fail_msg("%s", om_error_message());
    assert_int_equal(features, 256);
    assert_int_equal(om_graft_describe(g, 2, &d), OM_OK);
    assert_true(d->prep.mean[0] == 0 && d->fit == OM_FIT_CROP); /* 0..1, as the detector's */
    om_model_desc_free(d);
    om_free(point);
    om_graph_destroy(g);
}

static int train_once(const char *path)
{
    om_trainer t;
    om_trainer_params p = params(OM_OPTIMIZER_ADAMW, path);
    p.epochs = 1;
    p.resume = false;
    int err = om_trainer_init(&t, &learn_rows, &held_rows, &p, 3);
    if (!err) err = om_trainer_run(&t, &learn_rows, &held_rows, &p);
    if (!err) om_trainer_fini(&t);
    else if (t.classifier.params) om_trainer_fini(&t);
    return err;
}

static void memory_may_run_out(void **state)
{
    char path[96];
    (void)state;
    snprintf(path, sizeof path, "%s/short", folder);
    for (long n = 0;; n++) {
        om_mem_fail_after(n);
        int err = train_once(path);
        bool met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_true(n < 200);
        if (!met) {
            assert_int_equal(err, OM_OK);
            break;
        }
        assert_int_equal(err, OM_ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(a_device_multiplies),
        cmocka_unit_test(optimizers_follow_their_formulas),
        cmocka_unit_test(schedules),
        cmocka_unit_test(stopped_runs_end_alike),
        cmocka_unit_test(foreign_checkpoints_are_refused),
        cmocka_unit_test(losing_patience),
        cmocka_unit_test(loss_that_is_no_number),
        cmocka_unit_test(data_sets_are_read),
        cmocka_unit_test(csv_lists_are_read),
        cmocka_unit_test(features_without_memory),
        cmocka_unit_test(heads_are_replaced),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
