/* Faster R-CNN (ResNet-50, FPN, version 2) as torchvision's export has it once what is constant has been
 * computed, operator for operator: picture to objectness and deltas of anchors. */
#include "model/synth_fasterrcnn.h"

#include <math.h>

#include "base/mem.h"
#include "omma/error.h"

#define LEVELS OM_RCNN_LEVELS
#define SHORT_SIDE 800 /* what its transform resizes to */
#define LONG_SIDE 1333
#define DIVISOR 32
#define ANCHORS 3 /* a cell */

static const float channel_mean[3] = {0.485f, 0.456f, 0.406f},
                   channel_deviation[3] = {0.229f, 0.224f, 0.225f};

static int round_up(int n) { return (n + DIVISOR - 1) / DIVISOR * DIVISOR; }

static void measure(const om_synth *b, om_rcnn *r)
{
    int least = b->p.height < b->p.width ? b->p.height : b->p.width,
        most = b->p.height < b->p.width ? b->p.width : b->p.height;
    double scale = fmin((double)SHORT_SIDE / least, (double)LONG_SIDE / most);
    r->height = (int)floor(b->p.height * scale);
    r->width = (int)floor(b->p.width * scale);
    r->padded_h = round_up(r->height);
    r->padded_w = round_up(r->width);
    for (int i = 0; i < LEVELS; i++) {
        r->rows[i] = i < 4 ? r->padded_h / (4 << i) : (r->rows[3] + 1) / 2;
        r->columns[i] = i < 4 ? r->padded_w / (4 << i) : (r->columns[3] + 1) / 2;
    }
}

/* Of a list of one. */
static int only(om_synth *b, const char *name, int x)
{
    int v = om_build_op(&b->to, "Gather", name, 2, x, om_build_scalar(&b->to, 0));
    om_build_int(&b->to, "axis", 0);
    return v;
}

static int listed(om_synth *b, const char *name, int x)
{
    return om_build_op(&b->to, "Unsqueeze", name, 2, x, om_build_one(&b->to, 0));
}

static void resize_as(om_synth *b, const char *coordinates, const char *mode)
{
    om_build_string(&b->to, "coordinate_transformation_mode", coordinates);
    om_build_float(&b->to, "cubic_coeff_a", -0.75f);
    om_build_string(&b->to, "mode", mode);
    om_build_string(&b->to, "nearest_mode", "floor");
}

/* Normalised, resized to a short side of 800, padded to multiples of 32. */
static om_synth_tensor transform(om_synth *b, const om_rcnn *r, om_synth_tensor x)
{
    om_shape three = om_shape_make(3, (int64_t)3, (int64_t)1, (int64_t)1);
    int v = only(b, "/Gather", x.v);
    v = om_build_op(&b->to, "Sub", "/transform/Sub", 2, v,
                    om_build_f32(&b->to, "mean", &three, channel_mean));
    v = om_build_op(&b->to, "Div", "/transform/Div", 2, v,
                    om_build_f32(&b->to, "deviation", &three, channel_deviation));
    v = listed(b, "/transform/Unsqueeze", v);
    int sizes = om_build_i64(&b->to, "transform_size", 4, 1, 3, r->height, r->width);
    v = om_build_op(&b->to, "Resize", "/transform/Resize", 4, v, OM_NO_VALUE, OM_NO_VALUE, sizes);
    resize_as(b, "half_pixel", "linear");
    v = only(b, "/transform/Gather", v);
    if (r->padded_h != r->height || r->padded_w != r->width) {
        int pads = om_build_i64(&b->to, "transform_pads", 6, 0, 0, 0, 0, r->padded_h - r->height,
                                r->padded_w - r->width);
        v = om_build_op(&b->to, "Pad", "/transform/Pad", 2, v, pads);
        om_build_string(&b->to, "mode", "constant");
    }
    return (om_synth_tensor){listed(b, "/transform/Unsqueeze_1", v), 3, 0, 1, 0};
}

static om_synth_tensor conv(om_synth *b, const char *path, om_synth_tensor x, int out, int size)
{
    return om_synth_conv_random(b, path, x,
                                (om_synth_conv){.out = out, .size = size, .stride = 1, .pad = size / 2});
}

/* The feature pyramid over the backbone's four levels. */
static void pyramid(om_synth *b, om_rcnn *r, const om_synth_tensor in[4])
{
    char name[OM_BUILD_NAME];
    om_synth_tensor above = {.v = OM_NO_VALUE};
    for (int i = 3; i >= 0; i--) {
        om_synth_tensor x =
            conv(b, om_build_name(name, "fpn/inner_blocks/%d", i), in[i], OM_RCNN_CHANNELS, 1);
        if (i < 3) {
            om_build_name(name, "fpn_size_%d", i);
            int sizes = om_build_i64(&b->to, name, 4, 1, OM_RCNN_CHANNELS, r->rows[i], r->columns[i]);
            above.v = om_build_op(&b->to, "Resize", om_build_name(name, "/fpn/Resize_%d", i), 4, above.v,
                                  OM_NO_VALUE, OM_NO_VALUE, sizes);
            resize_as(b, "asymmetric", "nearest");
            x = om_synth_add(b, om_build_name(name, "/fpn/Add_%d", i), x, above);
        }
        above = x;
        om_build_name(name, "fpn/layer_blocks/%d", i);
        r->level[i] = conv(b, name, x, OM_RCNN_CHANNELS, 3);
    }
    r->level[4] = om_synth_maxpool(b, "/fpn/MaxPool", r->level[3], (om_synth_conv){.size = 1, .stride = 2});
}

/* One convolution that all levels share. */
typedef struct shared {
    om_synth_conv c;
    int weight, bias;
} shared;

static shared share(om_synth *b, const char *path, om_synth_tensor x, int out, int size, float gain,
                    float lift)
{
    char name[OM_BUILD_NAME];
    shared s = {.c = {.out = out, .size = size, .stride = 1, .pad = size / 2, .lift = lift}};
    om_shape ws = om_shape_make(4, (int64_t)out, (int64_t)x.c, (int64_t)size, (int64_t)size),
             bs = om_shape_make(1, (int64_t)out);
    size_t n = (size_t)out * (size_t)om_synth_filter(x, s.c);
    float *w = om_alloc(n * sizeof *w), *bias = om_alloc((size_t)out * sizeof *bias);
    if (!w || !bias) b->to.err = OM_ERR_NOMEM;
    if (!b->to.err) {
        om_synth_draw(b, x, s.c, w, bias);
        for (size_t i = 0; i < n; i++) w[i] *= gain;
        for (int i = 0; i < out; i++) bias[i] *= gain;
        s.weight = om_build_f32(&b->to, om_build_name(name, "%s.weight", path), &ws, w);
        s.bias = om_build_f32(&b->to, om_build_name(name, "%s.bias", path), &bs, bias);
    }
    om_free(w);
    om_free(bias);
    return s;
}

static int apply(om_synth *b, const char *name, const shared *s, int x)
{
    int v = om_build_op(&b->to, "Conv", name, 3, x, s->weight, s->bias);
    om_build_ints(&b->to, "dilations", 2, 1, 1);
    om_build_int(&b->to, "group", 1);
    om_build_ints(&b->to, "kernel_shape", 2, s->c.size, s->c.size);
    om_build_ints(&b->to, "pads", 4, s->c.pad, s->c.pad, s->c.pad, s->c.pad);
    om_build_ints(&b->to, "strides", 2, 1, 1);
    return v;
}

/* [1, 3 * each, h, w] to [1, h * w * 3, each]. */
static int flatten(om_synth *b, const char *what, int level, int x, int each, const om_rcnn *r)
{
    char name[OM_BUILD_NAME];
    om_build_name(name, "rpn_%s_%d", what, level);
    int apart = om_build_i64(&b->to, name, 5, 1, -1, each, r->rows[level], r->columns[level]),
        flat = om_build_i64(&b->to, om_build_name(name, "rpn_flat_%d", each), 3, 1, -1, each);
    x = om_build_op(&b->to, "Reshape", om_build_name(name, "/rpn/%s/Reshape_%d", what, level), 2, x, apart);
    x = om_build_op(&b->to, "Transpose", om_build_name(name, "/rpn/%s/Transpose_%d", what, level), 1, x);
    om_build_ints(&b->to, "perm", 5, 0, 3, 4, 1, 2);
    return om_build_op(&b->to, "Reshape", om_build_name(name, "/rpn/%s/Reshape_flat_%d", what, level), 2, x,
                       flat);
}

/* Objectness and box deltas of every anchor. */
static void propose(om_synth *b, const om_rcnn *r, int objectness[LEVELS], int deltas[LEVELS])
{
    char name[OM_BUILD_NAME];
    om_synth_tensor x = r->level[0],
                    y = {OM_NO_VALUE, x.c, OM_SYNTH_LIFT, OM_SYNTH_SCALE * OM_SYNTH_SCALE, 0};
    om_synth_act_stats(OM_SYNTH_RELU, &y);
    shared first = share(b, "rpn.head.conv.0", x, OM_RCNN_CHANNELS, 3, 1, OM_SYNTH_LIFT),
           second = share(b, "rpn.head.conv.1", y, OM_RCNN_CHANNELS, 3, 1, OM_SYNTH_LIFT),
           logits = share(b, "rpn.head.cls_logits", y, ANCHORS, 1, 1, 0),
           boxes = share(b, "rpn.head.bbox_pred", y, 4 * ANCHORS, 1, 0.3f, 0);
    for (int i = 0; i < LEVELS; i++) {
        int v = apply(b, om_build_name(name, "/rpn/conv.0/Conv_%d", i), &first, r->level[i].v);
        v = om_build_op(&b->to, "Relu", om_build_name(name, "/rpn/conv.0/Relu_%d", i), 1, v);
        v = apply(b, om_build_name(name, "/rpn/conv.1/Conv_%d", i), &second, v);
        v = om_build_op(&b->to, "Relu", om_build_name(name, "/rpn/conv.1/Relu_%d", i), 1, v);
        int score = apply(b, om_build_name(name, "/rpn/cls_logits/Conv_%d", i), &logits, v);
        int delta = apply(b, om_build_name(name, "/rpn/bbox_pred/Conv_%d", i), &boxes, v);
        objectness[i] = flatten(b, "score", i, score, 1, r);
        deltas[i] = flatten(b, "delta", i, delta, 4, r);
    }
}

int om_synth_fasterrcnn(om_synth *b, float width, float depth, om_synth_tensor images)
{
    om_rcnn r;
    om_synth_tensor levels[4];
    int objectness[LEVELS], deltas[LEVELS];
    (void)width;
    (void)depth;
    measure(b, &r);
    om_synth_resnet50_body(b, "backbone/", transform(b, &r, images), levels);
    pyramid(b, &r, levels);
    propose(b, &r, objectness, deltas);
    om_rcnn_detect(b, &r, om_rcnn_proposals(b, &r, objectness, deltas));
    return OM_NO_VALUE;
}
