#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/mem.h"
#include "train/random.h"

void om_trainer_order(uint64_t seed, int epoch, uint32_t *order, size_t n)
{
    om_random r = {seed * 0x2545f4914f6cdd1du + (uint64_t)epoch + 1};
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    om_random_shuffle(&r, order, n);
}

static int64_t steps_of_epoch(const om_rows *learn, const om_trainer_params *p)
{
    return ((int64_t)learn->n + p->batch - 1) / p->batch;
}

int64_t om_trainer_steps(const om_rows *learn, const om_trainer_params *p)
{
    return steps_of_epoch(learn, p) * p->epochs;
}

int om_trainer_init(om_trainer *t, const om_rows *learn, const om_rows *held_out, const om_trainer_params *p,
                    int hidden)
{
    struct stat st;
    om_classifier_shape shape = {learn->width, hidden, learn->classes};
    memset(t, 0, sizeof *t);
    t->best_epoch = -1;
    int err = om_classifier_init(&t->classifier, shape, p->batch, p->seed);
    if (!err) err = om_optimizer_init(&t->optimizer, &p->learning, t->classifier.n_params);
    if (!err && !(t->best = om_calloc(t->classifier.n_params, sizeof *t->best))) err = OM_ERR_NOMEM;
    if (!err && p->checkpoint && p->resume && !stat(p->checkpoint, &st)) {
        err = om_checkpoint_read(t, learn, held_out, p);
        t->resumed = !err;
    }
    if (err) om_trainer_fini(t);
    return err;
}

void om_trainer_fini(om_trainer *t)
{
    om_classifier_fini(&t->classifier);
    om_optimizer_fini(&t->optimizer);
    om_free(t->history);
    om_free(t->best);
    memset(t, 0, sizeof *t);
}

/* The rows' places in the order, gathered. */
static void gather(const om_rows *r, const uint32_t *order, int n, float *rows, int *labels)
{
    size_t width = (size_t)r->width;
    for (int i = 0; i < n; i++) {
        memcpy(rows + (size_t)i * width, r->rows + order[i] * width, width * sizeof *rows);
        labels[i] = r->labels[order[i]];
    }
}

static double weight_of(const float *weights, const int *labels, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += weights ? (double)weights[labels[i]] : 1;
    return sum;
}

typedef struct buffers {
    uint32_t *order;
    float *rows;
    int *labels;
} buffers;

static int learn_step(om_trainer *t, const om_rows *learn, const om_trainer_params *p, const buffers *b)
{
    size_t from = (size_t)t->epoch_step * (size_t)p->batch, left = learn->n - from;
    int n = left < (size_t)p->batch ? (int)left : p->batch, right = 0;
    gather(learn, b->order + from, n, b->rows, b->labels);
    double loss = om_classifier_learn(&t->classifier, b->rows, b->labels, n, p->weights, &right);
    if (!isfinite(loss))
        return om_fail(OM_ERR_FORMAT,
                       "step %lld: the loss is no number any more; a lower --lr (now %g) may help",
                       (long long)t->step, p->learning.lr);
    double rate = om_learning_rate(&p->learning, t->step, om_trainer_steps(learn, p));
    om_optimizer_step(&t->optimizer, t->classifier.params, t->classifier.grad, rate);
    double weight = weight_of(p->weights, b->labels, n);
    t->loss_sum += loss * weight;
    t->weight_sum += weight;
    t->right += right;
    t->seen += n;
    t->step++;
    t->epoch_step++;
    return OM_OK;
}

int om_trainer_judge(om_classifier *c, const om_rows *r, const float *weights, double *loss, double *top1,
                     int *best)
{
    double sum = 0, total = 0;
    int64_t right = 0;
    size_t classes = (size_t)r->classes;
    for (size_t i = 0; i < r->n; i += (size_t)c->batch) {
        int n = r->n - i < (size_t)c->batch ? (int)(r->n - i) : c->batch, correct = 0;
        double weight = weight_of(weights, r->labels + i, n);
        sum += weight *
               om_classifier_loss(c, r->rows + i * (size_t)r->width, r->labels + i, n, weights, &correct);
        total += weight;
        right += correct;
        for (int k = 0; k < n && best; k++) {
            const float *v = c->logits + (size_t)k * classes;
            int at = 0;
            for (int j = 1; j < r->classes; j++)
                if (v[j] > v[at]) at = j;
            best[i + (size_t)k] = at;
        }
    }
    *loss = total > 0 ? sum / total : NAN;
    *top1 = r->n ? (double)right / (double)r->n : NAN;
    return OM_OK;
}

/* Better is what is right more often; of those alike, what is surer. */
static void keep_best(om_trainer *t, const om_epoch *e)
{
    double loss = isnan(e->val_loss) ? e->train_loss : e->val_loss;
    double top1 = isnan(e->val_top1) ? e->train_top1 : e->val_top1;
    if (t->best_epoch >= 0 && (top1 < t->best_top1 || (top1 == t->best_top1 && !(loss < t->best_loss))))
        return;
    t->best_epoch = t->epoch;
    t->best_loss = loss;
    t->best_top1 = top1;
    memcpy(t->best, t->classifier.params, t->classifier.n_params * sizeof *t->best);
}

static int end_epoch(om_trainer *t, const om_rows *learn, const om_rows *held_out, const om_trainer_params *p)
{
    om_epoch e = {.train_loss = t->weight_sum > 0 ? t->loss_sum / t->weight_sum : NAN,
                  .train_top1 = (double)t->right / (double)t->seen,
                  .rate = om_learning_rate(&p->learning, t->step - 1, om_trainer_steps(learn, p))};
    int err = om_grow((void **)&t->history, &t->cap, (size_t)t->epoch + 1, sizeof *t->history);
    if (!err) err = om_trainer_judge(&t->classifier, held_out, p->weights, &e.val_loss, &e.val_top1, NULL);
    if (err) return err;
    keep_best(t, &e);
    t->history[t->epoch++] = e;
    t->epoch_step = t->right = t->seen = 0;
    t->loss_sum = t->weight_sum = 0;
    if (p->told) p->told(p->user, t->epoch - 1, &e);
    return p->checkpoint ? om_checkpoint_write(t, learn, held_out, p) : OM_OK;
}

static bool out_of_patience(const om_trainer *t, const om_trainer_params *p)
{
    return p->patience && t->best_epoch >= 0 && t->epoch - 1 - t->best_epoch >= p->patience;
}

static int run(om_trainer *t, const om_rows *learn, const om_rows *held_out, const om_trainer_params *p,
               const buffers *b)
{
    int64_t of_epoch = steps_of_epoch(learn, p);
    int err = OM_OK;
    while (!err && t->epoch < p->epochs && !out_of_patience(t, p)) {
        om_trainer_order(p->seed, t->epoch, b->order, learn->n);
        while (!err && t->epoch_step < of_epoch) {
            t->stopped = om_cancelled(p->cancel) || (p->max_steps && t->step >= p->max_steps);
            if (t->stopped) return p->checkpoint ? om_checkpoint_write(t, learn, held_out, p) : OM_OK;
            err = learn_step(t, learn, p, b);
        }
        if (!err) err = end_epoch(t, learn, held_out, p);
    }
    if (!err && t->best_epoch >= 0)
        memcpy(t->classifier.params, t->best, t->classifier.n_params * sizeof *t->best);
    return err;
}

int om_trainer_run(om_trainer *t, const om_rows *learn, const om_rows *held_out, const om_trainer_params *p)
{
    size_t batch = (size_t)p->batch;
    buffers b = {.order = om_alloc((learn->n + 1) * sizeof *b.order),
                 .rows = om_alloc(batch * (size_t)learn->width * sizeof *b.rows),
                 .labels = om_alloc(batch * sizeof *b.labels)};
    int err = b.order && b.rows && b.labels ? run(t, learn, held_out, p, &b) : OM_ERR_NOMEM;
    om_free(b.order);
    om_free(b.rows);
    om_free(b.labels);
    return err;
}
