/* A classifier of feature vectors, trained by backpropagation: one linear layer, or a hidden one with ReLU
 * before it. Numbers lie as PyTorch's Linear has them: weight [out][in], then bias [out], layer by layer. */
#ifndef OM_TRAIN_CLASSIFIER_H
#define OM_TRAIN_CLASSIFIER_H

#include "device/device.h"

typedef struct om_classifier_shape {
    int features, hidden, classes; /* hidden 0: there is none */
} om_classifier_shape;

/* A layer's place among the numbers. */
typedef struct om_classifier_layer {
    int in, out;
    size_t weight, bias; /* offsets */
} om_classifier_layer;

/* Thread-safety: one thread. Zeroed is valid and empty. */
typedef struct om_classifier {
    om_classifier_shape shape;
    om_classifier_layer layers[2];
    int n_layers;
    size_t n_params;
    float *params; /* owned, as all below */
    float *grad;   /* of the mean loss, by om_classifier_learn() */
    int batch;     /* the most rows at a time */
    float *hidden, *hidden_grad, *logits;
    void *work;
    const om_kernels *kernels;
    om_device
        *device; /* not owned; multiplies what is large; NULL, also after it failed: the kernels do all */
} om_classifier;

/* Uniform within 1/sqrt(in), as PyTorch starts a Linear. */
int om_classifier_init(om_classifier *c, om_classifier_shape shape, int batch, uint64_t seed);
void om_classifier_fini(om_classifier *c);

/* c->logits [n][classes] of `x` [n][features], n at most c->batch. */
void om_classifier_forward(om_classifier *c, const float *x, int n);
/* Forward, softmax and cross-entropy: the mean over the rows, each counted with its class's weight (NULL: all
 * 1), as PyTorch's CrossEntropyLoss does it. *correct (may be NULL): rows whose best class is the label. */
double om_classifier_loss(om_classifier *c, const float *x, const int *labels, int n, const float *weights,
                          int *correct);
/* The same, and c->grad. */
double om_classifier_learn(om_classifier *c, const float *x, const int *labels, int n, const float *weights,
                           int *correct);

#endif
