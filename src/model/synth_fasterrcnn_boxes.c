/* Faster R-CNN's second stage: from proposals to boxes, labels and scores. */
#include <stdint.h>

#include "base/mem.h"
#include "model/synth_fasterrcnn.h"
#include "omma/error.h"

#define HIDDEN 1024
#define DETECTIONS 100
#define BOX_IOU 0.5f
#define LEAST_SCORE 0.05f
#define LEAST_SIDE 1e-2f
#define PASS_LOGIT -1.0986122886681098 /* of a score of 0.25 */

/* Rows of numbers, in the places of a Gemm's weights and bias. */
typedef struct rows {
    float *w, *bias;
    int in, out;
} rows;

static int gemm(om_synth *b, const char *path, int x, const rows *r)
{
    char name[OM_BUILD_NAME];
    om_shape ws = om_shape_make(2, (int64_t)r->out, (int64_t)r->in), bs = om_shape_make(1, (int64_t)r->out);
    int weight = om_build_f32(&b->to, om_build_name(name, "%s.weight", path), &ws, r->w);
    int bias = om_build_f32(&b->to, om_build_name(name, "%s.bias", path), &bs, r->bias);
    int v = om_build_op(&b->to, "Gemm", om_build_name(name, "/%s/Gemm", path), 3, x, weight, bias);
    om_build_float(&b->to, "alpha", 1);
    om_build_float(&b->to, "beta", 1);
    om_build_int(&b->to, "transB", 1);
    return v;
}

static void drawn(om_synth *b, rows *r, float deviation)
{
    for (int i = 0; i < r->out * r->in; i++) r->w[i] = deviation * om_synth_gauss(b);
    for (int i = 0; i < r->out; i++) r->bias[i] = 0;
}

/* Each class listens to one unit of the projection; the background's bias is what they have to pass. */
static void class_rows(om_synth *b, rows *r, int bits)
{
    int units = r->out - 1 < r->in ? r->out - 1 : r->in;
    drawn(b, r, 0.002f);
    if (b->p.boxes == 0) return;
    r->bias[0] = -om_synth_quantile_bias((double)b->p.boxes / OM_RCNN_PROPOSALS, units, bits, PASS_LOGIT);
    for (int k = 1; k <= units; k++) r->w[(size_t)k * (size_t)r->in + (size_t)k - 1] = OM_SYNTH_SLOPE;
}

/* The two layers behind the features: [P, classes] and [P, 4 * classes]. */
static void predict(om_synth *b, om_synth_tensor x, int *logits, int *deltas)
{
    bool plan = b->p.boxes > 0;
    int window = OM_RCNN_POOLED * OM_RCNN_POOLED, classes = b->p.classes, in = x.c * window,
        bits = x.c / 2 * window;
    size_t most = (size_t)HIDDEN * (size_t)(in > 4 * classes ? in : 4 * classes);
    rows r = {.w = om_alloc(most * sizeof *r.w),
              .bias = om_alloc((size_t)(HIDDEN > 4 * classes ? HIDDEN : 4 * classes) * sizeof *r.bias)};
    if (!r.w || !r.bias) b->to.err = OM_ERR_NOMEM;
    if (!b->to.err) {
        int flat = om_build_op(&b->to, "Flatten", "/roi_heads/box_head/4/Flatten", 1, x.v);
        om_build_int(&b->to, "axis", 1);
        om_synth_conv c = {.out = HIDDEN, .size = OM_RCNN_POOLED, .stride = 1};
        r.in = in;
        r.out = HIDDEN;
        if (plan) om_synth_project(b, x.c / 2, x, c, r.w, r.bias);
        else om_synth_draw(b, x, c, r.w, r.bias);
        int v = gemm(b, "roi_heads.box_head.5", flat, &r);
        v = om_build_op(&b->to, "Relu", "/roi_heads/box_head/6/Relu", 1, v);
        r.in = HIDDEN;
        r.out = classes;
        class_rows(b, &r, bits);
        *logits = gemm(b, "roi_heads.box_predictor.cls_score", v, &r);
        r.out = 4 * classes;
        drawn(b, &r, 0.01f);
        *deltas = gemm(b, "roi_heads.box_predictor.bbox_pred", v, &r);
    }
    om_free(r.w);
    om_free(r.bias);
}

/* A box of each class for each proposal, [P, classes, 4]; *n: P as a list of one. */
static int class_boxes(om_synth *b, const om_rcnn_rois *rois, int deltas, int *n)
{
    static const float weight[4] = {10, 10, 5, 5};
    int delta[4], rest = om_build_one(&b->to, -1), one = om_build_one(&b->to, 1);
    *n = om_rcnn_length(b, om_rcnn_op1(b, "Shape", rois->boxes), 0);
    deltas = om_rcnn_op2(b, "Reshape", deltas, om_build_join(&b->to, NULL, 0, 2, (int[]){*n, rest}));
    for (int i = 0; i < 4; i++)
        delta[i] = om_rcnn_number(b, "Div", om_rcnn_slice(b, deltas, i, om_rcnn_end(b), 1, 4), weight[i]);
    int x = om_rcnn_op2(b, "Add", rois->left, om_rcnn_number(b, "Mul", rois->width, 0.5f)),
        y = om_rcnn_op2(b, "Add", rois->top, om_rcnn_number(b, "Mul", rois->height, 0.5f));
    int width = om_rcnn_op2(b, "Unsqueeze", rois->width, one),
        height = om_rcnn_op2(b, "Unsqueeze", rois->height, one);
    x = om_rcnn_op2(b, "Unsqueeze", x, one);
    y = om_rcnn_op2(b, "Unsqueeze", y, one);
    int flat = om_rcnn_op1(b, "Flatten", om_rcnn_decode(b, delta, width, height, x, y));
    om_build_int(&b->to, "axis", 1);
    int shape = om_build_join(&b->to, NULL, 0, 3, (int[]){*n, rest, om_build_one(&b->to, 4)});
    return om_rcnn_op2(b, "Reshape", flat, shape);
}

/* Numbers of classes, as many as there are probabilities. */
static int class_numbers(om_synth *b, int scores)
{
    int64_t *number = om_alloc((size_t)b->p.classes * sizeof *number);
    om_shape row = om_shape_make(2, (int64_t)1, (int64_t)b->p.classes);
    if (!number) b->to.err = OM_ERR_NOMEM;
    for (int i = 0; i < b->p.classes && number; i++) number[i] = i;
    int v = om_build_const(&b->to, "class_numbers", OM_DTYPE_I64, &row, number);
    om_free(number);
    return om_rcnn_op2(b, "Expand", v, om_rcnn_op1(b, "Shape", scores));
}

/* All that class 0, the background, is not, in one list. */
static int without_background(om_synth *b, int x, const char *shape, int columns)
{
    x = om_rcnn_slice(b, x, 1, om_rcnn_end(b), 1, 1);
    int flat = columns ? om_build_i64(&b->to, shape, 2, -1, columns) : om_build_one(&b->to, -1);
    return om_rcnn_op2(b, "Reshape", x, flat);
}

/* The candidates of all proposals and classes. */
static om_rcnn_list candidates(om_synth *b, const om_rcnn *r, int boxes, int scores, int n)
{
    boxes = om_rcnn_slice(b, boxes, 0, n, 0, 0);
    scores = om_rcnn_slice(b, scores, 0, n, 0, 0);
    int size = om_rcnn_op1(b, "Shape", boxes);
    int shape = om_build_join(
        &b->to, NULL, 0, 3,
        (int[]){om_rcnn_length(b, size, 0), om_rcnn_length(b, size, 1), om_build_one(&b->to, 4)});
    boxes = om_rcnn_op2(b, "Reshape", om_rcnn_clip(b, r, boxes, 2), shape);
    int labels = class_numbers(b, scores);
    om_rcnn_list list = {.boxes = without_background(b, boxes, "any_boxes", 4),
                         .scores = without_background(b, scores, NULL, 0),
                         .groups = without_background(b, labels, NULL, 0)};
    int passing = om_rcnn_where(b, om_rcnn_number(b, "Greater", list.scores, LEAST_SCORE));
    list = om_rcnn_choose(b, &list, passing);
    return om_rcnn_choose(b, &list, om_rcnn_large(b, list.boxes, LEAST_SIDE));
}

/* Boxes in the input's own pixels. */
static int scaled(om_synth *b, const om_rcnn *r, int boxes)
{
    static const int order[4] = {0, 2, 1, 3}; /* as the original takes them */
    float ratio[2] = {(float)b->p.width / (float)r->width, (float)b->p.height / (float)r->height};
    int side[4], sizes = om_build_i64(&b->to, "four_ones", 4, 1, 1, 1, 1);
    om_build_many(&b->to, "Split", "/Split", 4, 2, (int[]){boxes, sizes});
    om_build_int(&b->to, "axis", 1);
    for (int i = 0; i < 4; i++) side[i] = om_build_out(&b->to, i);
    for (int i = 0; i < 4; i++) side[i] = om_rcnn_op2(b, "Squeeze", side[i], om_build_one(&b->to, 1));
    for (int i = 0; i < 4; i++) {
        int k = order[i];
        side[k] = om_rcnn_number(b, "Mul", side[k], ratio[k % 2]);
    }
    return om_rcnn_stack(b, 1, 4, side);
}

static void outputs(om_synth *b, const om_rcnn *r, const om_rcnn_list *list)
{
    static const char *const dims[OM_MAX_RANK] = {"detections"};
    om_shape one = om_shape_make(1, (int64_t)1), four = om_shape_make(2, (int64_t)1, (int64_t)4);
    om_synth_output(b, "boxes", scaled(b, r, list->boxes), OM_DTYPE_F32, &four, dims);
    om_synth_output(b, "labels", list->groups, OM_DTYPE_I64, &one, dims);
    om_synth_output(b, "scores", list->scores, OM_DTYPE_F32, &one, dims);
}

void om_rcnn_detect(om_synth *b, const om_rcnn *r, int proposals)
{
    char name[OM_BUILD_NAME];
    int logits = OM_NO_VALUE, deltas = OM_NO_VALUE, n;
    om_rcnn_rois rois;
    om_synth_tensor x = {OM_NO_VALUE, OM_RCNN_CHANNELS, 0, OM_SYNTH_SCALE * OM_SYNTH_SCALE, 0};
    x.v = om_rcnn_pool(b, r, proposals, &rois);
    for (int i = 0; i < 4; i++) {
        om_synth_conv c = {.out = OM_RCNN_CHANNELS, .size = 3, .stride = 1, .pad = 1};
        om_synth_role role = i == 3 && b->p.boxes > 0 ? OM_SYNTH_BITS : OM_SYNTH_PLAIN;
        x = om_synth_role_layer(b, role, om_build_name(name, "roi_heads/box_head/%d", i), x, c, 0,
                                OM_SYNTH_RELU);
    }
    predict(b, x, &logits, &deltas);
    int boxes = class_boxes(b, &rois, deltas, &n);
    int scores = om_rcnn_op1(b, "Softmax", logits);
    om_build_int(&b->to, "axis", -1);
    om_rcnn_list list = candidates(b, r, boxes, scores, n);
    list = om_rcnn_choose(b, &list, om_rcnn_suppress(b, "roi_heads", &list, BOX_IOU, DETECTIONS));
    outputs(b, r, &list);
}
