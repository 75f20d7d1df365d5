/* Inside the room: what the makers of models with random weights share.
 *
 * Weights are drawn so that every convolution's output has one mean and one deviation over a picture, as far
 * as a formula can tell: each tensor carries the mean and variance expected of it. Thread-safety: one thread.
 */
#ifndef OM_MODEL_SYNTH_H
#define OM_MODEL_SYNTH_H

#include "model/build.h"

typedef struct om_synth {
    om_build to;
    om_synth_params p; /* its defaults filled in */
    uint64_t random[4];
    const char *module; /* the path of the layer that om_synth_at() names nodes of */
    char name[OM_BUILD_NAME];
} om_synth;

typedef struct om_synth_tensor {
    int v, c;
    float mean, var;
    int quiet; /* so many of the first channels carry bits or projections, which magnify what rounding did:
                * other layers hardly listen to them, and the statistics are those of the other channels */
} om_synth_tensor;
#define OM_SYNTH_QUIET 0.02f /* of a weight's deviation: how loud such channels are */

/* A convolution's window and shape. */
typedef struct om_synth_conv {
    int out, size, stride, pad;
    int groups;  /* 0: one */
    int pad_end; /* what the far sides get beyond `pad`, as "same" padding of even sizes asks */
    float lift;  /* the mean of what it yields */
    int units;   /* so many of the outputs of a projection project, the others are plain; 0: all project */
} om_synth_conv;
/* The numbers of one filter. */
int om_synth_filter(om_synth_tensor x, om_synth_conv c);

/* "/module/leaf", good until the next call. */
const char *om_synth_at(om_synth *b, const char *leaf);

void om_synth_seed(om_synth *b, uint64_t seed);
float om_synth_gauss(om_synth *b); /* mean 0, variance 1 */
/* Deviation of what convolutions yield, and its mean where an activation follows. Normalised layers whose
 * activation bends in the middle of their numbers make a rounding error grow with each of them, by 1.2 about
 * 0 and a deviation of 3, a thousandfold in 40 layers; one deviation above the bend it grows by 1.03 to 1.06.
 */
#define OM_SYNTH_SCALE 1.0f
#define OM_SYNTH_LIFT 1.0f
/* Weights and biases that take x to the mean `c.lift` and that deviation. */
void om_synth_draw(om_synth *b, om_synth_tensor x, om_synth_conv c, float *w, float *bias);
/* What becomes of a Gaussian's mean and variance. */
typedef enum om_synth_act {
    OM_SYNTH_SILU,
    OM_SYNTH_RELU,
    OM_SYNTH_RELU6,
    OM_SYNTH_LEAKY, /* 0.1, Darknet's */
    OM_SYNTH_GELU
} om_synth_act;
void om_synth_act_stats(om_synth_act act, om_synth_tensor *t);
void om_synth_maxpool_stats(om_synth_tensor *t);

/* Conv of the module `path` ("model.2/m.0/cv1"): weights drawn for x's statistics. */
om_synth_tensor om_synth_conv_random(om_synth *b, const char *path, om_synth_tensor x, om_synth_conv c);
/* The same with given numbers: weight [out][x.c/groups][size][size], bias [out]. */
om_synth_tensor om_synth_conv_given(om_synth *b, const char *path, om_synth_tensor x, om_synth_conv c,
                                    const float *w, const float *bias);
/* An activation as the exports have it: SiLU is Sigmoid and Mul, GELU five nodes. */
om_synth_tensor om_synth_activate(om_synth *b, om_synth_act act, const char *path, om_synth_tensor x);
om_synth_tensor om_synth_silu(om_synth *b, const char *path, om_synth_tensor x);
/* `path`/conv of any form, then SiLU. */
om_synth_tensor om_synth_cbs_of(om_synth *b, const char *path, om_synth_tensor x, om_synth_conv c);
/* Conv then SiLU: the module "Conv" of both projects. */
om_synth_tensor om_synth_cbs(om_synth *b, const char *path, om_synth_tensor x, int out, int size, int stride);
om_synth_tensor om_synth_concat(om_synth *b, const char *name, const om_synth_tensor *x, int n);
om_synth_tensor om_synth_add(om_synth *b, const char *name, om_synth_tensor x, om_synth_tensor y);
om_synth_tensor om_synth_bottleneck(om_synth *b, const char *path, om_synth_tensor x, int size1, bool add);
/* The two outputs of a Split of the channels into halves. */
void om_synth_halves(om_synth *b, const char *path, om_synth_tensor x, om_synth_tensor out[2]);
om_synth_tensor om_synth_maxpool(om_synth *b, const char *name, om_synth_tensor x, om_synth_conv window);
/* Gemm of rows [N, x.c] with weights [out, x.c]: a classifier's last layer. */
om_synth_tensor om_synth_linear(om_synth *b, const char *path, om_synth_tensor x, int out);
om_synth_tensor om_synth_sppf(om_synth *b, const char *path, om_synth_tensor x);
om_synth_tensor om_synth_spp(om_synth *b, const char *path, om_synth_tensor x, const int windows[3]);
om_synth_tensor om_synth_upsample(om_synth *b, const char *path, om_synth_tensor x);

/* `path`/conv, then an activation. */
om_synth_tensor om_synth_cba(om_synth *b, const char *path, om_synth_tensor x, om_synth_conv c,
                             om_synth_act act);
/* Each channel's mean, as rows [N, c]. */
om_synth_tensor om_synth_pooled(om_synth *b, om_synth_tensor x);

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

/* A layer of such a chain, `path`/conv and its activation. */
typedef enum om_synth_role {
    OM_SYNTH_PLAIN,
    OM_SYNTH_DETAIL, /* depthwise, before bits that see one cell only: it ignores a flat picture */
    OM_SYNTH_BITS,
    OM_SYNTH_PASS,   /* hands on what it gets: a layer between bits and their projection */
    OM_SYNTH_PROJECT /* of `n_bits` */
} om_synth_role;
om_synth_tensor om_synth_role_layer(om_synth *b, om_synth_role role, const char *path, om_synth_tensor x,
                                    om_synth_conv c, int n_bits, om_synth_act act);
/* The last layer, where each class listens to one unit of the projection, if there are enough; plain random
 * weights where no boxes are planned. */
om_synth_tensor om_synth_class_layer(om_synth *b, const char *path, om_synth_tensor x, int classes,
                                     float shift);

/* C3 blocks and YOLOv5's last layers, which YOLOv5-Face shares. */
om_synth_tensor om_synth_c3(om_synth *b, const char *path, om_synth_tensor x, int out, int n, bool add,
                            bool classifying);
/* One level's raw layer: 3 anchor shapes of `before` values, classes behind them; `x` is a projection of so
 * many bits, and there are so many anchors in all. */
om_synth_tensor om_synth_anchors_layer(om_synth *b, const char *path, om_synth_tensor x, int before, int bits,
                                       int anchors);
om_synth_tensor om_synth_join(om_synth *b, const char *name, om_synth_tensor x, om_synth_tensor y);
/* YOLOv8's block of split halves, the bottlenecks between by `inner`. */
typedef om_synth_tensor om_synth_inner(om_synth *b, const char *path, om_synth_tensor x, bool add);
om_synth_tensor om_synth_c2f(om_synth *b, const char *path, om_synth_tensor x, int hidden, int out, int n,
                             bool add, om_synth_inner *inner);
om_synth_inner om_synth_bottleneck3;

/* Ultralytics' attention over cells with the feed-forward layers behind it, each beside its input: one block
 * of C2PSA and what PSA is made of. */
om_synth_tensor om_synth_psa_block(om_synth *b, const char *path, const char *attention, om_synth_tensor x);

/* Ultralytics' detection layer. */
typedef struct om_synth_detect {
    const char *module; /* "model.22" */
    bool light;         /* its class branches have depthwise layers */
    bool corners;       /* boxes as two corners, not centre and size */
} om_synth_detect;
int om_synth_detect_layer(om_synth *b, const om_synth_detect *d, const om_synth_tensor x[3]);

int om_synth_width(int channels, float width);
int om_synth_depth(int n, float depth);

/* Makes `made` an output of that name; dims[i] not NULL: open, and called so. */
void om_synth_output(om_synth *b, const char *name, int made, om_dtype dtype, const om_shape *shape,
                     const char *const *dims);

/* Whole models; the value of the output. */
/* `width` and `depth` scale the channels and repeats of a model that comes in several sizes. */
typedef int om_synth_make(om_synth *b, float width, float depth, om_synth_tensor images);
om_synth_make om_synth_yolov8, om_synth_yolov5, om_synth_yolo11, om_synth_yolov10, om_synth_yolox;
om_synth_make om_synth_yolov5n_face, om_synth_yolov5_face, om_synth_yolov3_tiny;
om_synth_make om_synth_resnet50, om_synth_mobilenet_v2, om_synth_efficientnet_lite0, om_synth_vit_b_16;
om_synth_make om_synth_fasterrcnn;
/* The levels at strides 4, 8, 16 and 32. */
void om_synth_resnet50_body(om_synth *b, const char *path, om_synth_tensor x, om_synth_tensor out[4]);
#define OM_SYNTH_BEST 300 /* the rows of a YOLOv10's output */

#endif
