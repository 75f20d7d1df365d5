#include "train/classifier.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "train/random.h"

static void lay_out(om_classifier *c)
{
    const om_classifier_shape s = c->shape;
    c->n_layers = s.hidden ? 2 : 1;
    c->n_params = 0;
    for (int i = 0; i < c->n_layers; i++) {
        om_classifier_layer *l = &c->layers[i];
        l->in = i ? s.hidden : s.features;
        l->out = i == c->n_layers - 1 ? s.classes : s.hidden;
        l->weight = c->n_params;
        l->bias = l->weight + (size_t)l->in * (size_t)l->out;
        c->n_params = l->bias + (size_t)l->out;
    }
}

int om_classifier_init(om_classifier *c, om_classifier_shape shape, int batch, uint64_t seed)
{
    om_random r = {seed};
    memset(c, 0, sizeof *c);
    c->shape = shape;
    c->batch = batch;
    c->kernels = om_kernels_get();
    lay_out(c);
    size_t rows = (size_t)batch, hidden = (size_t)shape.hidden;
    c->params = om_calloc(c->n_params, sizeof *c->params);
    c->grad = om_calloc(c->n_params, sizeof *c->grad);
    c->logits = om_calloc(rows * (size_t)shape.classes, sizeof *c->logits);
    c->hidden = om_calloc(rows * hidden + 1, sizeof *c->hidden);
    c->hidden_grad = om_calloc(rows * hidden + 1, sizeof *c->hidden_grad);
    c->work = om_aligned_alloc(64, om_gemm_work_size());
    if (!c->params || !c->grad || !c->logits || !c->hidden || !c->hidden_grad || !c->work) {
        om_classifier_fini(c);
        return om_fail_nomem("a classifier");
    }
    for (int i = 0; i < c->n_layers; i++) {
        const om_classifier_layer *l = &c->layers[i];
        double bound = 1 / sqrt((double)l->in);
        for (size_t k = l->weight; k < l->bias + (size_t)l->out; k++)
            c->params[k] = om_random_within(&r, bound);
    }
    return OM_OK;
}

void om_classifier_fini(om_classifier *c)
{
    void *owned[] = {c->params, c->grad, c->logits, c->hidden, c->hidden_grad, c->work};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) om_free(owned[i]);
    memset(c, 0, sizeof *c);
}

static om_mat rows_of(const float *v, int rows, int columns)
{
    return (om_mat){v, (size_t)rows, (size_t)columns, (size_t)columns, 1};
}

static om_mat turned(om_mat m) { return (om_mat){m.data, m.columns, m.rows, m.column_step, m.row_step}; }

/* Matrices go there and back for each product: only much arithmetic for their size is worth that. */
#define HOST_FLOPS_NS 40.0  /* of one core */
#define DEVICE_BYTES_NS 8.0 /* copied into pinned memory and sent */
#define DEVICE_NS 60e3      /* what any product there takes at least */

static bool pays_on_device(const om_mat *a, const om_mat *b)
{
    double m = (double)a->rows, k = (double)a->columns, n = (double)b->columns;
    return 2 * m * k * n / HOST_FLOPS_NS > DEVICE_NS + 4 * (m * k + k * n + 2 * m * n) / DEVICE_BYTES_NS;
}

/* out += a * b */
static void multiply(om_classifier *c, const om_mat *a, const om_mat *b, float *out, size_t out_row)
{
    if (c->device && pays_on_device(a, b)) {
        if (om_device_product(c->device, a, b, out, out_row) == OM_OK) return;
        om_log(OM_LOG_WARN, "the head's products are computed on the CPU: %s", om_error_message());
        om_error_clear();
        c->device = NULL;
    }
    c->kernels->gemm(a, b, out, out_row, c->work);
}

/* y = x * weight' + bias */
static void run_layer(om_classifier *c, const om_classifier_layer *l, const float *x, int n, float *y)
{
    om_mat in = rows_of(x, n, l->in), weight = turned(rows_of(c->params + l->weight, l->out, l->in));
    for (int i = 0; i < n; i++)
        memcpy(y + (size_t)i * (size_t)l->out, c->params + l->bias, sizeof *y * (size_t)l->out);
    multiply(c, &in, &weight, y, (size_t)l->out);
}

void om_classifier_forward(om_classifier *c, const float *x, int n)
{
    const om_classifier_layer *last = &c->layers[c->n_layers - 1];
    if (c->n_layers == 2) {
        run_layer(c, &c->layers[0], x, n, c->hidden);
        for (size_t i = 0; i < (size_t)n * (size_t)c->shape.hidden; i++)
            c->hidden[i] = c->hidden[i] > 0 ? c->hidden[i] : 0;
        x = c->hidden;
    }
    run_layer(c, last, x, n, c->logits);
}

/* -log of the label's likelihood; the scores become likelihoods. */
static double soften(float *v, int n, int label)
{
    float most = v[0];
    double sum = 0, own = (double)v[label];
    for (int i = 1; i < n; i++) most = v[i] > most ? v[i] : most;
    for (int i = 0; i < n; i++) sum += (double)(v[i] = expf(v[i] - most));
    for (int i = 0; i < n; i++) v[i] = (float)((double)v[i] / sum);
    return (double)most + log(sum) - own;
}

static int best_of(const float *v, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (v[i] > v[best]) best = i;
    return best;
}

/* c->logits become likelihoods. *total: the sum of the rows' weights. */
static double soften_rows(om_classifier *c, const int *labels, int n, const float *weights, double *total,
                          int *correct)
{
    double loss = 0;
    int right = 0;
    *total = 0;
    for (int i = 0; i < n; i++) {
        float *row = c->logits + (size_t)i * (size_t)c->shape.classes;
        double weight = weights ? (double)weights[labels[i]] : 1;
        right += best_of(row, c->shape.classes) == labels[i];
        loss += weight * soften(row, c->shape.classes, labels[i]);
        *total += weight;
    }
    if (correct) *correct = right;
    return *total > 0 ? loss / *total : 0;
}

double om_classifier_loss(om_classifier *c, const float *x, const int *labels, int n, const float *weights,
                          int *correct)
{
    double total;
    om_classifier_forward(c, x, n);
    return soften_rows(c, labels, n, weights, &total, correct);
}

/* From the gradient of a layer's outputs to that of its numbers. */
static void learn_layer(om_classifier *c, const om_classifier_layer *l, const float *x, const float *dy,
                        int n)
{
    om_mat in = rows_of(x, n, l->in), out = turned(rows_of(dy, n, l->out));
    float *bias = c->grad + l->bias;
    multiply(c, &out, &in, c->grad + l->weight, (size_t)l->in);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < l->out; k++) bias[k] += dy[(size_t)i * (size_t)l->out + (size_t)k];
}

double om_classifier_learn(om_classifier *c, const float *x, const int *labels, int n, const float *weights,
                           int *correct)
{
    const om_classifier_layer *last = &c->layers[c->n_layers - 1];
    int classes = c->shape.classes;
    double total;
    om_classifier_forward(c, x, n);
    double loss = soften_rows(c, labels, n, weights, &total, correct);
    memset(c->grad, 0, c->n_params * sizeof *c->grad);
    if (!(total > 0)) return loss;
    for (int i = 0; i < n; i++) {
        float *row = c->logits + (size_t)i * (size_t)classes;
        float share = (float)((weights ? (double)weights[labels[i]] : 1) / total);
        row[labels[i]] -= 1;
        for (int k = 0; k < classes; k++) row[k] *= share;
    }
    if (c->n_layers == 1) {
        learn_layer(c, last, x, c->logits, n);
        return loss;
    }
    size_t hidden = (size_t)n * (size_t)c->shape.hidden;
    om_mat dy = rows_of(c->logits, n, classes), weight = rows_of(c->params + last->weight, classes, last->in);
    learn_layer(c, last, c->hidden, c->logits, n);
    memset(c->hidden_grad, 0, hidden * sizeof *c->hidden_grad);
    multiply(c, &dy, &weight, c->hidden_grad, (size_t)c->shape.hidden);
    for (size_t i = 0; i < hidden; i++)
        if (!(c->hidden[i] > 0)) c->hidden_grad[i] = 0;
    learn_layer(c, &c->layers[0], x, c->hidden_grad, n);
    return loss;
}
