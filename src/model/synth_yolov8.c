/* YOLOv8 as Ultralytics exports it, simplified, static or dynamic. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/synth.h"
#include "omma/error.h"

#define BINS 16                        /* of each box side's distribution */
#define PASS_LOGIT -1.0986122886681098 /* of a score of 0.25 */
#define LEVELS 3
#define MAX_C2F 16

static om_synth_tensor c2f(om_synth *b, const char *path, om_synth_tensor x, int out, int n, bool add)
{
    char name[OM_BUILD_NAME];
    om_synth_tensor parts[MAX_C2F];
    int half = out / 2;
    om_build_name(name, "%s/cv1", path);
    om_synth_tensor y = om_synth_cbs(b, name, x, out, 1, 1);
    om_build_name(name, "split_%d", half);
    int sizes = om_build_i64(&b->to, name, 2, half, half);
    om_build_name(name, "/%s/Split", path);
    om_build_op(&b->to, "Split", name, 2, y.v, sizes);
    om_build_int(&b->to, "axis", 1);
    for (int i = 0; i < 2; i++) parts[i] = (om_synth_tensor){om_build_out(&b->to, i), half, y.mean, y.var};
    for (int i = 0; i < n; i++) {
        om_build_name(name, "%s/m.%d", path, i);
        parts[i + 2] = om_synth_bottleneck(b, name, parts[i + 1], 3, add);
    }
    om_build_name(name, "/%s/Concat", path);
    y = om_synth_concat(b, name, parts, n + 2);
    om_build_name(name, "%s/cv2", path);
    return om_synth_cbs(b, name, y, out, 1, 1);
}

static om_synth_tensor join(om_synth *b, const char *name, om_synth_tensor x, om_synth_tensor y)
{
    return om_synth_concat(b, name, (om_synth_tensor[]){x, y}, 2);
}

/* Grids at strides 8, 16 and 32. */
static void body(om_synth *b, float width, float depth, om_synth_tensor x, om_synth_tensor out[LEVELS])
{
    static const int channels[5] = {64, 128, 256, 512, 1024};
    /* The widest layers of the larger models are capped: 768 for m, as its own table says. */
    int cap = width > 0.7f ? 768 : 1024, c[5], n3 = om_synth_depth(3, depth), n6 = om_synth_depth(6, depth);
    for (int i = 0; i < 5; i++) c[i] = om_synth_width(channels[i] < cap ? channels[i] : cap, width);
    x = om_synth_cbs(b, "model.0", x, c[0], 3, 2);
    x = om_synth_cbs(b, "model.1", x, c[1], 3, 2);
    x = c2f(b, "model.2", x, c[1], n3, true);
    x = om_synth_cbs(b, "model.3", x, c[2], 3, 2);
    om_synth_tensor p3 = c2f(b, "model.4", x, c[2], n6, true);
    x = om_synth_cbs(b, "model.5", p3, c[3], 3, 2);
    om_synth_tensor p4 = c2f(b, "model.6", x, c[3], n6, true);
    x = om_synth_cbs(b, "model.7", p4, c[4], 3, 2);
    x = c2f(b, "model.8", x, c[4], n3, true);
    om_synth_tensor p5 = om_synth_sppf(b, "model.9", x);

    x = join(b, "/model.11/Concat", om_synth_upsample(b, "model.10", p5), p4);
    om_synth_tensor n4 = c2f(b, "model.12", x, c[3], n3, false);
    x = join(b, "/model.14/Concat", om_synth_upsample(b, "model.13", n4), p3);
    out[0] = c2f(b, "model.15", x, c[2], n3, false);
    x = join(b, "/model.17/Concat", om_synth_cbs(b, "model.16", out[0], c[2], 3, 2), n4);
    out[1] = c2f(b, "model.18", x, c[3], n3, false);
    x = join(b, "/model.20/Concat", om_synth_cbs(b, "model.19", out[1], c[3], 3, 2), p5);
    out[2] = c2f(b, "model.21", x, c[4], n3, false);
}

/* Distributions over the distances to a box's sides, leaning to the small ones. */
static int box_branch(om_synth *b, int level, om_synth_tensor x, int hidden)
{
    char path[OM_BUILD_NAME];
    om_synth_conv c = {.out = 4 * BINS, .size = 1, .stride = 1, .pad = 0};
    for (int i = 0; i < 2; i++) {
        om_build_name(path, "model.22/cv2.%d/cv2.%d.%d", level, level, i);
        x = om_synth_cbs(b, path, x, hidden, 3, 1);
    }
    float *w = om_alloc((size_t)(c.out * x.c) * sizeof *w), bias[4 * BINS];
    if (!w) b->to.err = OM_ERR_NOMEM;
    if (!b->to.err) {
        om_synth_draw(b, x, c, w, bias);
        for (int i = 0; i < c.out * x.c; i++) w[i] /= OM_SYNTH_SCALE;
        for (int i = 0; i < c.out; i++) bias[i] = bias[i] / OM_SYNTH_SCALE - 0.35f * (float)(i % BINS);
        om_build_name(path, "model.22/cv2.%d/cv2.%d.2", level, level);
        x = om_synth_conv_given(b, path, x, c, w, bias);
    }
    om_free(w);
    return x.v;
}

/* Each class listens to one unit of the projection, if there are enough. */
static void class_weights(om_synth *b, om_synth_tensor x, int classes, float shift, float *w, float *bias)
{
    for (int k = 0; k < classes; k++) {
        for (int u = 0; u < x.c; u++) w[k * x.c + u] = u == k ? OM_SYNTH_SLOPE : 0.02f * om_synth_gauss(b);
        bias[k] = k < x.c ? shift : shift - 4; /* more classes than units: these have none */
    }
}

static int class_branch(om_synth *b, int level, om_synth_tensor x, int hidden, int anchors)
{
    char path[OM_BUILD_NAME];
    int classes = b->p.classes, out = hidden > classes ? hidden : classes, in = hidden > x.c ? hidden : x.c;
    om_synth_conv c = {.out = hidden, .size = 3, .stride = 1, .pad = 1};
    float *w = om_alloc((size_t)(out * in * 9) * sizeof *w), *bias = om_alloc((size_t)out * sizeof *bias);
    float shift = om_synth_quantile_bias((double)b->p.boxes / anchors, hidden < classes ? hidden : classes,
                                         hidden / 2 * 9, PASS_LOGIT);
    if (!w || !bias) b->to.err = OM_ERR_NOMEM;
    for (int i = 0; i < 3 && !b->to.err; i++) {
        om_build_name(path, "model.22/cv3.%d/cv3.%d.%d%s", level, level, i, i < 2 ? "/conv" : "");
        if (i == 2) c = (om_synth_conv){.out = classes, .size = 1, .stride = 1, .pad = 0};
        if (b->p.boxes == 0) om_synth_draw(b, x, c, w, bias);
        else if (i == 0) om_synth_bits(b, x, c, w, bias);
        else if (i == 1) om_synth_project(b, hidden / 2, x, c, w, bias);
        else class_weights(b, x, classes, shift, w, bias);
        x = om_synth_conv_given(b, path, x, c, w, bias);
        if (i == 2) break;
        path[strlen(path) - strlen("/conv")] = 0;
        x = om_synth_silu(b, path, x);
    }
    om_free(w);
    om_free(bias);
    return x.v;
}

static void frozen_anchors(om_synth *b, int *points, int *strides)
{
    int64_t n = 0, at = 0;
    for (int s = 8; s <= 32; s *= 2) n += (int64_t)(b->p.height / s) * (b->p.width / s);
    float *v = om_alloc((size_t)n * 3 * sizeof *v);
    if (!v) b->to.err = OM_ERR_NOMEM;
    if (b->to.err) {
        om_free(v);
        return;
    }
    for (int s = 8; s <= 32; s *= 2)
        for (int y = 0; y < b->p.height / s; y++)
            for (int x = 0; x < b->p.width / s; x++, at++) {
                v[at] = (float)x + 0.5f;
                v[n + at] = (float)y + 0.5f;
                v[2 * n + at] = (float)s;
            }
    om_shape ps = om_shape_make(3, (int64_t)1, (int64_t)2, n), ss = om_shape_make(2, (int64_t)1, n);
    *points = om_build_f32(&b->to, "/model.22/anchors", &ps, v);
    *strides = om_build_f32(&b->to, "/model.22/strides", &ss, v + 2 * n);
    om_free(v);
}

typedef struct grid {
    int points, strides; /* [n, 2], [n, 1] */
} grid;

static const char *name_of(char out[OM_BUILD_NAME], const char *what, int level)
{
    return om_build_name(out, "/model.22/%s_%d", what, level);
}

/* Centres 0.5, 1.5, ... along one side of a grid. */
static int centres(om_synth *b, char side, int count, int level)
{
    char n[OM_BUILD_NAME];
    om_build_name(n, "/model.22/Range_%c_%d", side, level);
    int v = om_build_op(&b->to, "Range", n, 3, om_build_scalar(&b->to, 0), count, om_build_scalar(&b->to, 1));
    om_build_name(n, "/model.22/Cast_%c_%d", side, level);
    v = om_build_op(&b->to, "Cast", n, 1, v);
    om_build_int(&b->to, "to", 1);
    om_build_name(n, "/model.22/Add_%c_%d", side, level);
    return om_build_op(&b->to, "Add", n, 2, v, om_build_f32_scalar(&b->to, "half", 0.5f));
}

static int constant_of_shape(om_synth *b, const char *name, int shape, float value)
{
    int v = om_build_op(&b->to, "ConstantOfShape", name, 1, shape);
    om_build_tensor(&b->to, "value", value);
    return v;
}

/* One level's anchor points and strides, computed from the grid's own size. */
static grid open_grid(om_synth *b, int level, int shape)
{
    char n[OM_BUILD_NAME];
    int h = om_build_gather(&b->to, name_of(n, "Gather_h", level), shape, 2),
        w = om_build_gather(&b->to, name_of(n, "Gather_w", level), shape, 3);
    int cells = om_build_op(&b->to, "Mul", name_of(n, "Mul_cells", level), 2, h, w);
    int x = centres(b, 'x', w, level), y = centres(b, 'y', h, level);
    int xs = om_build_op(&b->to, "Shape", name_of(n, "Shape_x", level), 1, x);
    int ys = om_build_op(&b->to, "Shape", name_of(n, "Shape_y", level), 1, y);
    int column = om_build_op(&b->to, "Reshape", name_of(n, "Reshape_y", level), 2, y,
                             om_build_i64(&b->to, "list_-1_1", 2, -1, 1));
    int row = om_build_op(&b->to, "Reshape", name_of(n, "Reshape_x", level), 2, x,
                          om_build_i64(&b->to, "list_1_-1", 2, 1, -1));
    int size = om_build_join(&b->to, name_of(n, "Concat_size", level), 0, 2, (int[]){ys, xs});
    y = om_build_op(&b->to, "Expand", name_of(n, "Expand_y", level), 2, column, size);
    x = om_build_op(&b->to, "Expand", name_of(n, "Expand_x", level), 2, row, size);
    x = om_build_op(&b->to, "Unsqueeze", name_of(n, "Unsqueeze_x", level), 2, x, om_build_one(&b->to, -1));
    y = om_build_op(&b->to, "Unsqueeze", name_of(n, "Unsqueeze_y", level), 2, y, om_build_one(&b->to, -1));
    int points = om_build_join(&b->to, name_of(n, "Concat_xy", level), -1, 2, (int[]){x, y});
    points = om_build_op(&b->to, "Reshape", name_of(n, "Reshape_xy", level), 2, points,
                         om_build_i64(&b->to, "list_-1_2", 2, -1, 2));
    int count = om_build_op(&b->to, "Unsqueeze", name_of(n, "Unsqueeze_cells", level), 2, cells,
                            om_build_one(&b->to, 0));
    count = om_build_join(&b->to, name_of(n, "Concat_cells", level), 0, 2,
                          (int[]){count, om_build_one(&b->to, 1)});
    int strides = constant_of_shape(b, name_of(n, "ConstantOfShape", level), count, (float)(8 << level));
    return (grid){points, strides};
}

static void open_anchors(om_synth *b, const int shapes[LEVELS], int *points, int *strides)
{
    int p[LEVELS], s[LEVELS];
    for (int i = 0; i < LEVELS; i++) {
        grid g = open_grid(b, i, shapes[i]);
        p[i] = g.points;
        s[i] = g.strides;
    }
    int all = om_build_join(&b->to, "/model.22/Concat_points", 0, LEVELS, p);
    all = om_build_op(&b->to, "Transpose", "/model.22/Transpose_points", 1, all);
    om_build_ints(&b->to, "perm", 2, 1, 0);
    *points = om_build_op(&b->to, "Unsqueeze", "/model.22/Unsqueeze_points", 2, all, om_build_one(&b->to, 0));
    all = om_build_join(&b->to, "/model.22/Concat_strides", 0, LEVELS, s);
    *strides = om_build_op(&b->to, "Transpose", "/model.22/Transpose_strides", 1, all);
    om_build_ints(&b->to, "perm", 2, 1, 0);
}

/* [N, 64, A] to the four distances [N, 4, A]: the mean of each distribution. */
static int distances(om_synth *b, int boxes, int64_t anchors)
{
    float bins[BINS];
    om_shape ws = om_shape_make(4, (int64_t)1, (int64_t)BINS, (int64_t)1, (int64_t)1);
    int apart, together;
    if (b->p.dynamic) {
        int shape = om_build_op(&b->to, "Shape", "/model.22/dfl/Shape", 1, boxes);
        int n = om_build_gather(&b->to, "/model.22/dfl/Gather", shape, 0),
            a = om_build_gather(&b->to, "/model.22/dfl/Gather_1", shape, 2);
        n = om_build_op(&b->to, "Unsqueeze", "/model.22/dfl/Unsqueeze", 2, n, om_build_one(&b->to, 0));
        a = om_build_op(&b->to, "Unsqueeze", "/model.22/dfl/Unsqueeze_1", 2, a, om_build_one(&b->to, 0));
        apart = om_build_join(&b->to, "/model.22/dfl/Concat", 0, 4,
                              (int[]){n, om_build_one(&b->to, 4), om_build_one(&b->to, BINS), a});
        together =
            om_build_join(&b->to, "/model.22/dfl/Concat_1", 0, 3, (int[]){n, om_build_one(&b->to, 4), a});
    } else {
        apart = om_build_i64(&b->to, "/model.22/dfl/apart", 4, 1, 4, BINS, (int)anchors);
        together = om_build_i64(&b->to, "/model.22/dfl/together", 3, 1, 4, (int)anchors);
    }
    for (int i = 0; i < BINS; i++) bins[i] = (float)i;
    int v = om_build_op(&b->to, "Reshape", "/model.22/dfl/Reshape", 2, boxes, apart);
    v = om_build_op(&b->to, "Transpose", "/model.22/dfl/Transpose", 1, v);
    om_build_ints(&b->to, "perm", 4, 0, 2, 1, 3);
    v = om_build_op(&b->to, "Softmax", "/model.22/dfl/Softmax", 1, v);
    om_build_int(&b->to, "axis", 1);
    v = om_build_op(&b->to, "Conv", "/model.22/dfl/conv/Conv", 2, v,
                    om_build_f32(&b->to, "model.22.dfl.conv.weight", &ws, bins));
    om_build_ints(&b->to, "dilations", 2, 1, 1);
    om_build_int(&b->to, "group", 1);
    om_build_ints(&b->to, "kernel_shape", 2, 1, 1);
    om_build_ints(&b->to, "pads", 4, 0, 0, 0, 0);
    om_build_ints(&b->to, "strides", 2, 1, 1);
    return om_build_op(&b->to, "Reshape", "/model.22/dfl/Reshape_1", 2, v, together);
}

static int decode(om_synth *b, int distance, int points, int strides, int scores)
{
    int near = om_build_op(&b->to, "Slice", "/model.22/Slice", 4, distance, om_build_one(&b->to, 0),
                           om_build_one(&b->to, 2), om_build_one(&b->to, 1));
    int far = om_build_op(&b->to, "Slice", "/model.22/Slice_1", 4, distance, om_build_one(&b->to, 2),
                          om_build_one(&b->to, 4), om_build_one(&b->to, 1));
    int from = om_build_op(&b->to, "Sub", "/model.22/Sub", 2, points, near);
    int to = om_build_op(&b->to, "Add", "/model.22/Add_to", 2, points, far);
    int sum = om_build_op(&b->to, "Add", "/model.22/Add_sum", 2, from, to);
    int size = om_build_op(&b->to, "Sub", "/model.22/Sub_1", 2, to, from);
    int centre = om_build_op(&b->to, "Div", "/model.22/Div", 2, sum, om_build_f32_scalar(&b->to, "two", 2));
    int box = om_build_join(&b->to, "/model.22/Concat_box", 1, 2, (int[]){centre, size});
    box = om_build_op(&b->to, "Mul", "/model.22/Mul_box", 2, box, strides);
    int pass = om_build_op(&b->to, "Sigmoid", "/model.22/Sigmoid", 1, scores);
    return om_build_join(&b->to, "/model.22/Concat_out", 1, 2, (int[]){box, pass});
}

/* The shapes [N, rows, -1] that a level's grids are flattened to. */
static int flat_shape(om_synth *b, const char *name, int batch, int rows)
{
    char constant[OM_BUILD_NAME];
    om_build_name(constant, "flat_%d", rows);
    if (!b->p.dynamic) return om_build_i64(&b->to, constant, 3, 1, rows, -1);
    return om_build_join(&b->to, name, 0, 3,
                         (int[]){batch, om_build_one(&b->to, rows), om_build_one(&b->to, -1)});
}

static int head(om_synth *b, const om_synth_tensor x[LEVELS])
{
    char n[OM_BUILD_NAME];
    int classes = b->p.classes, anchors = 0, batch = OM_NO_VALUE, shapes[LEVELS], boxes[LEVELS],
        scores[LEVELS];
    int c2 = x[0].c / 4 > 4 * BINS ? x[0].c / 4 : 4 * BINS, least = classes < 100 ? classes : 100;
    int c3 = x[0].c > least ? x[0].c : least;
    for (int s = 8; s <= 32; s *= 2) anchors += (b->p.height / s) * (b->p.width / s);
    for (int i = 0; i < LEVELS && b->p.dynamic; i++)
        shapes[i] = om_build_op(&b->to, "Shape", name_of(n, "Shape", i), 1, x[i].v);
    if (b->p.dynamic)
        batch = om_build_op(&b->to, "Unsqueeze", "/model.22/Unsqueeze_batch", 2,
                            om_build_gather(&b->to, "/model.22/Gather_batch", shapes[0], 0),
                            om_build_one(&b->to, 0));
    int box_shape = flat_shape(b, "/model.22/Concat_box_shape", batch, 4 * BINS);
    int score_shape = flat_shape(b, "/model.22/Concat_score_shape", batch, classes);
    for (int i = 0; i < LEVELS; i++)
        boxes[i] = om_build_op(&b->to, "Reshape", name_of(n, "Reshape_box", i), 2, box_branch(b, i, x[i], c2),
                               box_shape);
    for (int i = 0; i < LEVELS; i++)
        scores[i] = om_build_op(&b->to, "Reshape", name_of(n, "Reshape_score", i), 2,
                                class_branch(b, i, x[i], c3, anchors), score_shape);
    int box = om_build_join(&b->to, "/model.22/Concat", -1, LEVELS, boxes),
        score = om_build_join(&b->to, "/model.22/Concat_1", -1, LEVELS, scores);
    int points = OM_NO_VALUE, strides = OM_NO_VALUE;
    if (b->p.dynamic) open_anchors(b, shapes, &points, &strides);
    else frozen_anchors(b, &points, &strides);
    return decode(b, distances(b, box, anchors), points, strides, score);
}

int om_synth_yolov8(om_synth *b, float width, float depth, om_synth_tensor images)
{
    om_synth_tensor grids[LEVELS];
    body(b, width, depth, images, grids);
    return head(b, grids);
}
