/* The second half of Faster R-CNN: from anchors to proposals, from those to boxes, labels and scores. */
#include <math.h>
#include <stdint.h>

#include "base/mem.h"
#include "model/synth_fasterrcnn.h"
#include "omma/error.h"

#define LEVELS OM_RCNN_LEVELS
#define RATIOS 3
#define POOLED 7 /* cells of a proposal's side */
#define HIDDEN 1024
#define BEST_OF_LEVEL 1000
#define PROPOSALS 1000
#define DETECTIONS 100
#define RPN_IOU 0.7f
#define BOX_IOU 0.5f
#define LEAST_SCORE 0.05f
#define PASS_LOGIT -1.0986122886681098 /* of a score of 0.25 */

static int op1(om_synth *b, const char *op, int x) { return om_build_op(&b->to, op, NULL, 1, x); }
static int op2(om_synth *b, const char *op, int x, int y) { return om_build_op(&b->to, op, NULL, 2, x, y); }

static int number(om_synth *b, const char *op, int x, float y)
{
    char name[OM_BUILD_NAME];
    return op2(b, op, x, om_build_f32_scalar(&b->to, om_build_name(name, "f_%.9g", (double)y), y));
}

static int part(om_synth *b, int x, int axis, int from, int to)
{
    char name[OM_BUILD_NAME];
    int64_t end = to > 0 ? to : INT64_MAX;
    om_shape one = om_shape_make(1, (int64_t)1);
    int stop = om_build_const(&b->to, om_build_name(name, "end_%d", to), OM_DTYPE_I64, &one, &end);
    return om_build_op(&b->to, "Slice", NULL, 4, x, om_build_one(&b->to, from), stop,
                       om_build_one(&b->to, axis));
}

static int take(om_synth *b, int x, int index)
{
    int v = op2(b, "Gather", x, index);
    om_build_int(&b->to, "axis", 0);
    return v;
}

static int reduce(om_synth *b, const char *op, int x)
{
    int v = op1(b, op, x);
    om_build_ints(&b->to, "axes", 1, 1);
    om_build_int(&b->to, "keepdims", 0);
    return v;
}

/* Where a list of bools holds, as a list of indices. */
static int where(om_synth *b, int test)
{
    return op2(b, "Squeeze", op1(b, "NonZero", test), om_build_one(&b->to, 0));
}

/* Four numbers that repeat x and y. */
static int pair(om_synth *b, const char *name, float x, float y)
{
    om_shape four = om_shape_make(1, (int64_t)4);
    return om_build_f32(&b->to, name, &four, (const float[]){x, y, x, y});
}

/* Deltas [P, C, 4] on centres and sizes [P, 1, 2] become corners [P, C, 4] within the picture. */
static int decode(om_synth *b, const om_rcnn *r, int centres, int sizes, int deltas, float xy, float wh)
{
    int zero = om_build_f32_scalar(&b->to, "f_0", 0);
    int move = part(b, deltas, 2, 0, 2), grow = part(b, deltas, 2, 2, 4);
    if (xy != 1) move = number(b, "Div", move, xy);
    if (wh != 1) grow = number(b, "Div", grow, wh);
    grow = number(b, "Min", grow, (float)log(1000.0 / 16));
    move = op2(b, "Add", op2(b, "Mul", move, sizes), centres);
    grow = number(b, "Mul", op2(b, "Mul", op1(b, "Exp", grow), sizes), 0.5f);
    int corners[2] = {op2(b, "Sub", move, grow), op2(b, "Add", move, grow)};
    int boxes = om_build_join(&b->to, NULL, 2, 2, corners);
    boxes = op2(b, "Max", boxes, zero);
    return op2(b, "Min", boxes, pair(b, "picture", (float)r->width, (float)r->height));
}

/* Bools: both sides of boxes [P, 4] are at least so long. */
static int large(om_synth *b, int boxes, float side)
{
    int sides = op2(b, "Sub", part(b, boxes, 1, 2, 4), part(b, boxes, 1, 0, 2));
    return number(b, "GreaterOrEqual", reduce(b, "ReduceMin", sides), side);
}

/* Indices of the boxes that stay; `apart` [P, 1] keeps what must not meet from meeting. */
static int suppress(om_synth *b, int boxes, int apart, int scores, float iou, int most)
{
    char name[OM_BUILD_NAME];
    int64_t all = INT64_MAX >> 31; /* more than there can be, and as a 32-bit number too */
    om_shape one = om_shape_make(1, (int64_t)1);
    int front = om_build_one(&b->to, 0), both = om_build_i64(&b->to, "list_0_1", 2, 0, 1);
    int limit = om_build_const(&b->to, "no_limit", OM_DTYPE_I64, &one, &all),
        threshold = om_build_f32(&b->to, om_build_name(name, "iou_%g", (double)iou), &one, &iou);
    boxes = op2(b, "Unsqueeze", op2(b, "Add", boxes, apart), front);
    scores = op2(b, "Unsqueeze", scores, both);
    int v = om_build_op(&b->to, "NonMaxSuppression", NULL, 4, boxes, scores, limit, threshold);
    v = op2(b, "Gather", v, om_build_scalar(&b->to, 2));
    om_build_int(&b->to, "axis", 1);
    return part(b, v, 0, 0, most);
}

/* Centres and sizes of every anchor, level by level, row by row. */
static void anchors(om_synth *b, const om_rcnn *r, int *centres, int *sizes)
{
    static const float ratio[RATIOS] = {0.5f, 1, 2};
    int64_t n = 0, at = 0;
    for (int i = 0; i < LEVELS; i++) n += (int64_t)RATIOS * r->rows[i] * r->columns[i];
    float *c = om_alloc((size_t)n * 2 * sizeof *c), *s = om_alloc((size_t)n * 2 * sizeof *s);
    om_shape shape = om_shape_make(3, n, (int64_t)1, (int64_t)2);
    if (!c || !s) b->to.err = OM_ERR_NOMEM;
    for (int i = 0; i < LEVELS && !b->to.err; i++)
        for (int y = 0; y < r->rows[i]; y++)
            for (int x = 0; x < r->columns[i]; x++)
                for (int k = 0; k < RATIOS; k++, at += 2) {
                    float side = (float)(32 << i), root = sqrtf(ratio[k]);
                    c[at] = (float)(x * (r->padded_w / r->columns[i]));
                    c[at + 1] = (float)(y * (r->padded_h / r->rows[i]));
                    s[at] = 2 * rintf(side / root / 2); /* the original rounds half of each */
                    s[at + 1] = 2 * rintf(side * root / 2);
                }
    if (!b->to.err) {
        *centres = om_build_f32(&b->to, "anchor_centres", &shape, c);
        *sizes = om_build_f32(&b->to, "anchor_sizes", &shape, s);
    }
    om_free(c);
    om_free(s);
}

/* The best anchors of each level by number, and what keeps the levels apart in the suppression. */
static int best_of_levels(om_synth *b, const om_rcnn *r, const int objectness[LEVELS], int *apart)
{
    char name[OM_BUILD_NAME];
    int index[LEVELS], first = 0, total = 0;
    float *offset = om_alloc((size_t)LEVELS * BEST_OF_LEVEL * sizeof *offset);
    if (!offset) b->to.err = OM_ERR_NOMEM;
    for (int i = 0; i < LEVELS && !b->to.err; i++) {
        int n = RATIOS * r->rows[i] * r->columns[i], k = n < BEST_OF_LEVEL ? n : BEST_OF_LEVEL;
        int flat = op2(b, "Squeeze", objectness[i], om_build_one(&b->to, 1));
        om_build_many(&b->to, "TopK", NULL, 2, 2, (int[]){flat, om_build_one(&b->to, k)});
        om_build_int(&b->to, "axis", 0);
        index[i] = op2(b, "Add", om_build_out(&b->to, 1),
                       om_build_i64(&b->to, om_build_name(name, "first_anchor_%d", i), 0, first));
        for (int j = 0; j < k; j++)
            offset[total++] = (float)(i * ((r->width > r->height ? r->width : r->height) + 1));
        first += n;
    }
    om_shape shape = om_shape_make(2, (int64_t)total, (int64_t)1);
    if (!b->to.err) *apart = om_build_f32(&b->to, "levels_apart", &shape, offset);
    om_free(offset);
    return om_build_join(&b->to, NULL, 0, LEVELS, index);
}

int om_rcnn_proposals(om_synth *b, const om_rcnn *r, const int objectness[LEVELS], const int deltas[LEVELS])
{
    int centres = OM_NO_VALUE, sizes = OM_NO_VALUE, apart = OM_NO_VALUE;
    anchors(b, r, &centres, &sizes);
    int delta = om_build_join(&b->to, "/rpn/Concat_deltas", 0, LEVELS, deltas);
    delta = op2(b, "Unsqueeze", delta, om_build_one(&b->to, 1));
    int boxes = op2(b, "Squeeze", decode(b, r, centres, sizes, delta, 1, 1), om_build_one(&b->to, 1));
    int score = om_build_join(&b->to, "/rpn/Concat_scores", 0, LEVELS, objectness);
    score = op2(b, "Squeeze", score, om_build_one(&b->to, 1));
    int index = best_of_levels(b, r, objectness, &apart);
    boxes = take(b, boxes, index);
    score = op1(b, "Sigmoid", take(b, score, index));
    int keep = where(b, large(b, boxes, 1e-3f));
    boxes = take(b, boxes, keep);
    keep = suppress(b, boxes, take(b, apart, keep), take(b, score, keep), RPN_IOU, PROPOSALS);
    return take(b, boxes, keep);
}

/* Each proposal's features, from the level that fits its size; *rois in the order of the features. */
static int pool(om_synth *b, const om_rcnn *r, int *rois)
{
    int index[4], pooled[4];
    int sides = op2(b, "Sub", part(b, *rois, 1, 2, 4), part(b, *rois, 1, 0, 2));
    int level = number(b, "Div", op1(b, "Sqrt", reduce(b, "ReduceProd", sides)), 224);
    level = number(b, "Div", op1(b, "Log", level), (float)log(2));
    level = op1(b, "Floor", number(b, "Add", level, 4 + 1e-6f));
    level = number(b, "Min", number(b, "Max", level, 2), 5);
    level = op1(b, "Cast", level);
    om_build_int(&b->to, "to", 7);
    for (int i = 0; i < 4; i++) {
        index[i] = where(b, op2(b, "Equal", level, om_build_scalar(&b->to, i + 2)));
        int first = op2(b, "Sub", index[i], index[i]); /* all are of the one picture */
        pooled[i] = om_build_op(&b->to, "RoiAlign", NULL, 3, r->level[i].v, take(b, *rois, index[i]), first);
        om_build_string(&b->to, "coordinate_transformation_mode", "output_half_pixel");
        om_build_string(&b->to, "mode", "avg");
        om_build_int(&b->to, "output_height", POOLED);
        om_build_int(&b->to, "output_width", POOLED);
        om_build_int(&b->to, "sampling_ratio", 2);
        om_build_float(&b->to, "spatial_scale", 1.0f / (float)(4 << i));
    }
    *rois = take(b, *rois, om_build_join(&b->to, NULL, 0, 4, index));
    return om_build_join(&b->to, NULL, 0, 4, pooled);
}

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
    r->bias[0] = -om_synth_quantile_bias((double)b->p.boxes / PROPOSALS, units, bits, PASS_LOGIT);
    for (int k = 1; k <= units; k++) r->w[(size_t)k * (size_t)r->in + (size_t)k - 1] = OM_SYNTH_SLOPE;
}

/* The two layers behind the features: [P, classes] and [P, 4 * classes]. */
static void predict(om_synth *b, om_synth_tensor x, int *logits, int *deltas)
{
    bool plan = b->p.boxes > 0;
    int window = POOLED * POOLED, classes = b->p.classes, in = x.c * window, bits = x.c / 2 * window;
    size_t most = (size_t)HIDDEN * (size_t)(in > 4 * classes ? in : 4 * classes);
    rows r = {.w = om_alloc(most * sizeof *r.w),
              .bias = om_alloc((size_t)(HIDDEN > 4 * classes ? HIDDEN : 4 * classes) * sizeof *r.bias)};
    if (!r.w || !r.bias) b->to.err = OM_ERR_NOMEM;
    if (!b->to.err) {
        int flat = op2(b, "Reshape", x.v, om_build_i64(&b->to, "roi_flat", 2, -1, in));
        om_synth_conv c = {.out = HIDDEN, .size = POOLED, .stride = 1};
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

static void outputs(om_synth *b, const om_rcnn *r, int boxes, int labels, int scores)
{
    static const char *const dims[OM_MAX_RANK] = {"detections"};
    om_shape one = om_shape_make(1, (int64_t)1), four = om_shape_make(2, (int64_t)1, (int64_t)4);
    boxes = op2(b, "Div", boxes, pair(b, "ratio", r->up_x, r->up_y));
    om_synth_output(b, "boxes", boxes, OM_DTYPE_F32, &four, dims);
    om_synth_output(b, "labels", labels, OM_DTYPE_I64, &one, dims);
    om_synth_output(b, "scores", scores, OM_DTYPE_F32, &one, dims);
}

void om_rcnn_detect(om_synth *b, const om_rcnn *r, int rois)
{
    char name[OM_BUILD_NAME];
    int classes = b->p.classes, logits = OM_NO_VALUE, deltas = OM_NO_VALUE,
        most = r->width > r->height ? r->width : r->height;
    om_synth_tensor x = {OM_NO_VALUE, OM_RCNN_CHANNELS, 0, OM_SYNTH_SCALE * OM_SYNTH_SCALE, 0};
    x.v = pool(b, r, &rois);
    for (int i = 0; i < 4; i++) {
        om_synth_conv c = {.out = OM_RCNN_CHANNELS, .size = 3, .stride = 1, .pad = 1};
        om_synth_role role = i == 3 && b->p.boxes > 0 ? OM_SYNTH_BITS : OM_SYNTH_PLAIN;
        x = om_synth_role_layer(b, role, om_build_name(name, "roi_heads/box_head/%d", i), x, c, 0,
                                OM_SYNTH_RELU);
    }
    predict(b, x, &logits, &deltas);

    int lo = part(b, rois, 1, 0, 2), hi = part(b, rois, 1, 2, 4), middle = om_build_one(&b->to, 1);
    int sizes = op2(b, "Sub", hi, lo), centres = op2(b, "Add", lo, number(b, "Mul", sizes, 0.5f));
    deltas = op2(b, "Reshape", deltas, om_build_i64(&b->to, "box_per_class", 3, -1, classes, 4));
    int boxes =
        decode(b, r, op2(b, "Unsqueeze", centres, middle), op2(b, "Unsqueeze", sizes, middle), deltas, 10, 5);
    int scores = op1(b, "Softmax", logits);
    om_build_int(&b->to, "axis", -1);
    /* Class 0 is the background. */
    boxes = op2(b, "Reshape", part(b, boxes, 1, 1, classes), om_build_i64(&b->to, "boxes_flat", 2, -1, 4));
    scores = op2(b, "Reshape", part(b, scores, 1, 1, classes), om_build_one(&b->to, -1));
    int keep = where(b, op2(b, "And", number(b, "Greater", scores, LEAST_SCORE), large(b, boxes, 1e-2f)));
    int labels =
        op2(b, "Add", op2(b, "Mod", keep, om_build_scalar(&b->to, classes - 1)), om_build_scalar(&b->to, 1));
    boxes = take(b, boxes, keep);
    scores = take(b, scores, keep);
    int apart = op1(b, "Cast", labels);
    om_build_int(&b->to, "to", 1);
    apart = op2(b, "Unsqueeze", number(b, "Mul", apart, (float)(most + 1)), middle);
    keep = suppress(b, boxes, apart, scores, BOX_IOU, DETECTIONS);
    outputs(b, r, take(b, boxes, keep), take(b, labels, keep), take(b, scores, keep));
}
