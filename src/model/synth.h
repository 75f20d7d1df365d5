/* Inside the room: what the makers of models with random weights share.
 *
 * Weights are drawn so that every convolution's output has mean 0 and one deviation over a picture, as far as
 * a formula can tell: each tensor carries the mean and variance expected of it. Thread-safety: one thread. */
#ifndef OM_MODEL_SYNTH_H
#define OM_MODEL_SYNTH_H

#include "model/build.h"

typedef struct om_synth {
    om_build to;
    om_synth_params p; /* its defaults filled in */
    uint64_t random[4];
} om_synth;

typedef struct om_synth_tensor {
    int v, c;
    float mean, var;
} om_synth_tensor;

/* A convolution's window and shape. */
typedef struct om_synth_conv {
    int out, size, stride, pad;
} om_synth_conv;

void om_synth_seed(om_synth *b, uint64_t seed);
float om_synth_gauss(om_synth *b); /* mean 0, variance 1 */
/* Deviation of what convolutions yield: where SiLU is nearly linear above 0, so that errors of scale do not
 * grow. */
#define OM_SYNTH_SCALE 3.0f
/* Weights and biases that take x to mean 0 and that deviation. */
void om_synth_draw(om_synth *b, om_synth_tensor x, om_synth_conv c, float *w, float *bias);
/* What becomes of a Gaussian's mean and variance. */
void om_synth_silu_stats(om_synth_tensor *t);
void om_synth_maxpool_stats(om_synth_tensor *t);

/* Conv of the module `path` ("model.2/m.0/cv1"): weights drawn for x's statistics. */
om_synth_tensor om_synth_conv_random(om_synth *b, const char *path, om_synth_tensor x, om_synth_conv c);
/* The same with given numbers: weight [out][x.c][size][size], bias [out]. */
om_synth_tensor om_synth_conv_given(om_synth *b, const char *path, om_synth_tensor x, om_synth_conv c,
                                    const float *w, const float *bias);
/* SiLU as the exports have it, Sigmoid and Mul, on an input of that mean and variance. */
om_synth_tensor om_synth_silu(om_synth *b, const char *path, om_synth_tensor x);
/* Conv then SiLU: the module "Conv" of both projects. */
om_synth_tensor om_synth_cbs(om_synth *b, const char *path, om_synth_tensor x, int out, int size, int stride);
om_synth_tensor om_synth_concat(om_synth *b, const char *name, const om_synth_tensor *x, int n);
om_synth_tensor om_synth_add(om_synth *b, const char *name, om_synth_tensor x, om_synth_tensor y);
om_synth_tensor om_synth_bottleneck(om_synth *b, const char *path, om_synth_tensor x, int size1, bool add);
om_synth_tensor om_synth_sppf(om_synth *b, const char *path, om_synth_tensor x);
om_synth_tensor om_synth_upsample(om_synth *b, const char *path, om_synth_tensor x);

/* Classification that lets a chosen share of the anchors pass, whatever the picture.
 *
 * How a vector's projections on random directions are spread depends on the vector's length only. So the
 * first of these layers makes bits: filters that ignore a flat picture, in pairs of channels whose difference
 * saturates at +1 or -1. Vectors of bits all have one length. The second layer projects them, and the third's
 * bias is a quantile. */
void om_synth_bits(om_synth *b, om_synth_tensor x, om_synth_conv c, float *w, float *bias);
/* `n_bits` of the input's leading channels are pairs of bits; the others get small weights. */
void om_synth_project(om_synth *b, int n_bits, om_synth_tensor x, om_synth_conv c, float *w, float *bias);
/* Statistics of what om_synth_bits() and om_synth_project() yield. */
om_synth_tensor om_synth_bits_stats(om_synth_tensor t);
om_synth_tensor om_synth_project_stats(om_synth_tensor t);
/* The bias for a logit of OM_SYNTH_SLOPE times a projection behind SiLU, so that a slot with `units` of them,
 * each of so many bits, passes `logit` with this probability. */
#define OM_SYNTH_SLOPE 3.0f
float om_synth_quantile_bias(double probability, int units, int bits, double logit);

int om_synth_width(int channels, float width);
int om_synth_depth(int n, float depth);

/* Whole models; the value of the output. */
int om_synth_yolov8(om_synth *b, float width, float depth, om_synth_tensor images);
int om_synth_yolov5(om_synth *b, float width, float depth, om_synth_tensor images);

#endif
