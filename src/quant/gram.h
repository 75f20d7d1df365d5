/* Inside the room: how the numbers that one output of a layer is made of go together, and weights rounded so
 * that their errors cancel for such numbers. */
#ifndef OM_QUANT_GRAM_H
#define OM_QUANT_GRAM_H

#include "model/model.h"

/* How the weights of a layer lie: [outer][n][inner], n output channels. */
typedef struct om_weight_form {
    int axis;
    int64_t outer, n, inner;
} om_weight_form;

/* Visits all weights of output channel `c` in the order in which they lie. */
#define OM_FOR_CHANNEL(f, c, at)                                                                             \
    for (int64_t o_ = 0; o_ < (f)->outer; o_++)                                                              \
        for (int64_t at = (o_ * (f)->n + (c)) * (f)->inner, end_ = at + (f)->inner; at < end_; at++)

/* Second moments of a layer's windows, in the order of its weights, from a sample of places: memory is the
 * same for any number of pictures. Thread-safety: one thread. */
typedef struct om_gram {
    int64_t groups, k; /* windows at a place, numbers in one */
    uint64_t n, shown; /* places; tensors */
    double *sum;       /* [groups][k] */
    double *xx;        /* [groups][k][k], the lower half */
    float *x;          /* the places of one tensor: [MOST_PLACES][k] */
    /* The rounding, as of `rounded` places. */
    uint64_t rounded;
    int8_t *q;
    float *scale; /* of each output channel; 0: nothing was seen of what it reads */
    double noise, signal;
} om_gram;

/* *out NULL: a layer of another kind, or too large. */
int om_gram_create(const om_graph *g, const om_node *n, const om_weight_form *f, om_gram **out);
void om_gram_destroy(om_gram *m);
/* Takes some places of what the layer reads. A tensor of another form is left out. */
void om_gram_add(om_gram *m, const om_node *n, const om_shape *weights, const om_tensor *t);
/* Fills the rounding, weights up to `most`. `centered`: what they do to the mean is made up for by the bias.
 * `pairs`: no two neighbours of one sign are together larger than 128, so that 255 times both fits 16 bits.
 */
int om_gram_round(om_gram *m, const om_weight_form *f, const float *w, int most, bool centered, bool pairs);
/* The mean of the k-th number that output channel `c` of `n` reads. */
static inline double om_gram_mean(const om_gram *m, int64_t n, int64_t c, int64_t k)
{
    return m->sum[c / (n / m->groups) * m->k + k] / (double)m->n;
}

#endif
