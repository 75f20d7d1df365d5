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

om_synth_tensor om_synth_c2f(om_synth *b, const char *path, om_synth_tensor x, int hidden, int out, int n,
                             bool add, om_synth_inner *inner)
{
    char name[OM_BUILD_NAME];
    om_synth_tensor parts[MAX_C2F];
    om_synth_tensor y = om_synth_cbs(b, om_build_name(name, "%s/cv1", path), x, 2 * hidden, 1, 1);
    om_synth_halves(b, path, y, parts);
    for (int i = 0; i < n; i++)
        parts[i + 2] = inner(b, om_build_name(name, "%s/m.%d", path, i), parts[i + 1], add);
    y = om_synth_concat(b, om_build_name(name, "/%s/Concat", path), parts, n + 2);
    return om_synth_cbs(b, om_build_name(name, "%s/cv2", path), y, out, 1, 1);
}

om_synth_tensor om_synth_bottleneck3(om_synth *b, const char *path, om_synth_tensor x, bool add)
{
    return om_synth_bottleneck(b, path, x, 3, add);
}

static om_synth_tensor c2f(om_synth *b, const char *path, om_synth_tensor x, int out, int n, bool add)
{
    return om_synth_c2f(b, path, x, out / 2, out, n, add, om_synth_bottleneck3);
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

    x = om_synth_join(b, "/model.11/Concat", om_synth_upsample(b, "model.10", p5), p4);
    om_synth_tensor n4 = c2f(b, "model.12", x, c[3], n3, false);
    x = om_synth_join(b, "/model.14/Concat", om_synth_upsample(b, "model.13", n4), p3);
    out[0] = c2f(b, "model.15", x, c[2], n3, false);
    x = om_synth_join(b, "/model.17/Concat", om_synth_cbs(b, "model.16", out[0], c[2], 3, 2), n4);
    out[1] = c2f(b, "model.18", x, c[3], n3, false);
    x = om_synth_join(b, "/model.20/Concat", om_synth_cbs(b, "model.19", out[1], c[3], 3, 2), p5);
    out[2] = c2f(b, "model.21", x, c[4], n3, false);
}

/* Distributions over the distances to a box's sides, leaning to the small ones. */
static int box_branch(om_synth *b, int level, om_synth_tensor x, int hidden)
{
    char path[OM_BUILD_NAME];
    om_synth_conv c = {.out = 4 * BINS, .size = 1, .stride = 1, .pad = 0};
    for (int i = 0; i < 2; i++) {
        om_build_name(path, "%s/cv2.%d/cv2.%d.%d", b->module, level, level, i);
        x = om_synth_cbs(b, path, x, hidden, 3, 1);
    }
    float *w = om_alloc((size_t)(c.out * x.c) * sizeof *w), bias[4 * BINS];
    if (!w) b->to.err = OM_ERR_NOMEM;
    if (!b->to.err) {
        om_synth_draw(b, x, c, w, bias);
        for (int i = 0; i < c.out * x.c; i++) w[i] /= OM_SYNTH_SCALE;
        for (int i = 0; i < c.out; i++) bias[i] = bias[i] / OM_SYNTH_SCALE - 0.35f * (float)(i % BINS);
        om_build_name(path, "%s/cv2.%d/cv2.%d.2", b->module, level, level);
        x = om_synth_conv_given(b, path, x, c, w, bias);
    }
    om_free(w);
    return x.v;
}

/* Two layers of 3x3, or of 3x3 depthwise and 1x1, and the classes' own. */
static int class_branch(om_synth *b, int level, om_synth_tensor x, int hidden, int anchors, bool light)
{
    char path[OM_BUILD_NAME];
    bool plan = b->p.boxes > 0;
    int classes = b->p.classes, window = light ? 1 : 9;
    float shift = om_synth_quantile_bias((double)b->p.boxes / anchors, hidden < classes ? hidden : classes,
                                         hidden / 2 * window, PASS_LOGIT);
    for (int i = 0; i < 2; i++) {
        om_synth_role each = i == 0 ? OM_SYNTH_DETAIL : OM_SYNTH_PASS,
                      role = i == 0 ? OM_SYNTH_BITS : OM_SYNTH_PROJECT;
        om_synth_conv deep = {.out = x.c, .size = 3, .stride = 1, .pad = 1, .groups = x.c},
                      c = {.out = hidden, .size = light ? 1 : 3, .stride = 1, .pad = light ? 0 : 1};
        om_build_name(path, "%s/cv3.%d/cv3.%d.%d%s", b->module, level, level, i, light ? "/0" : "");
        if (light) x = om_synth_role_layer(b, plan ? each : OM_SYNTH_PLAIN, path, x, deep, 0, OM_SYNTH_SILU);
        if (light) path[strlen(path) - 1] = '1';
        x = om_synth_role_layer(b, plan ? role : OM_SYNTH_PLAIN, path, x, c, hidden / 2, OM_SYNTH_SILU);
    }
    om_build_name(path, "%s/cv3.%d/cv3.%d.2", b->module, level, level);
    return om_synth_class_layer(b, path, x, classes, shift).v;
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
    *points = om_build_f32(&b->to, om_synth_at(b, "anchors"), &ps, v);
    *strides = om_build_f32(&b->to, om_synth_at(b, "strides"), &ss, v + 2 * n);
    om_free(v);
}

typedef struct grid {
    int points, strides; /* [n, 2], [n, 1] */
} grid;

static const char *name_of(om_synth *b, const char *what, int level)
{
    return om_build_name(b->name, "/%s/%s_%d", b->module, what, level);
}

/* Centres 0.5, 1.5, ... along one side of a grid. */
static int centres(om_synth *b, char side, int count, int level)
{
    bool x = side == 'x';
    int v = om_build_op(&b->to, "Range", name_of(b, x ? "Range_x" : "Range_y", level), 3,
                        om_build_scalar(&b->to, 0), count, om_build_scalar(&b->to, 1));
    v = om_build_op(&b->to, "Cast", name_of(b, x ? "Cast_x" : "Cast_y", level), 1, v);
    om_build_int(&b->to, "to", 1);
    return om_build_op(&b->to, "Add", name_of(b, x ? "Add_x" : "Add_y", level), 2, v,
                       om_build_f32_scalar(&b->to, "half", 0.5f));
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
    int h = om_build_gather(&b->to, name_of(b, "Gather_h", level), shape, 2),
        w = om_build_gather(&b->to, name_of(b, "Gather_w", level), shape, 3);
    int cells = om_build_op(&b->to, "Mul", name_of(b, "Mul_cells", level), 2, h, w);
    int x = centres(b, 'x', w, level), y = centres(b, 'y', h, level);
    int xs = om_build_op(&b->to, "Shape", name_of(b, "Shape_x", level), 1, x);
    int ys = om_build_op(&b->to, "Shape", name_of(b, "Shape_y", level), 1, y);
    int column = om_build_op(&b->to, "Reshape", name_of(b, "Reshape_y", level), 2, y,
                             om_build_i64(&b->to, "list_-1_1", 2, -1, 1));
    int row = om_build_op(&b->to, "Reshape", name_of(b, "Reshape_x", level), 2, x,
                          om_build_i64(&b->to, "list_1_-1", 2, 1, -1));
    int size = om_build_join(&b->to, name_of(b, "Concat_size", level), 0, 2, (int[]){ys, xs});
    y = om_build_op(&b->to, "Expand", name_of(b, "Expand_y", level), 2, column, size);
    x = om_build_op(&b->to, "Expand", name_of(b, "Expand_x", level), 2, row, size);
    x = om_build_op(&b->to, "Unsqueeze", name_of(b, "Unsqueeze_x", level), 2, x, om_build_one(&b->to, -1));
    y = om_build_op(&b->to, "Unsqueeze", name_of(b, "Unsqueeze_y", level), 2, y, om_build_one(&b->to, -1));
    int points = om_build_join(&b->to, name_of(b, "Concat_xy", level), -1, 2, (int[]){x, y});
    points = om_build_op(&b->to, "Reshape", name_of(b, "Reshape_xy", level), 2, points,
                         om_build_i64(&b->to, "list_-1_2", 2, -1, 2));
    int count = om_build_op(&b->to, "Unsqueeze", name_of(b, "Unsqueeze_cells", level), 2, cells,
                            om_build_one(&b->to, 0));
    count = om_build_join(&b->to, name_of(b, "Concat_cells", level), 0, 2,
                          (int[]){count, om_build_one(&b->to, 1)});
    int strides = constant_of_shape(b, name_of(b, "ConstantOfShape", level), count, (float)(8 << level));
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
    int all = om_build_join(&b->to, om_synth_at(b, "Concat_points"), 0, LEVELS, p);
    all = om_build_op(&b->to, "Transpose", om_synth_at(b, "Transpose_points"), 1, all);
    om_build_ints(&b->to, "perm", 2, 1, 0);
    *points =
        om_build_op(&b->to, "Unsqueeze", om_synth_at(b, "Unsqueeze_points"), 2, all, om_build_one(&b->to, 0));
    all = om_build_join(&b->to, om_synth_at(b, "Concat_strides"), 0, LEVELS, s);
    *strides = om_build_op(&b->to, "Transpose", om_synth_at(b, "Transpose_strides"), 1, all);
    om_build_ints(&b->to, "perm", 2, 1, 0);
}

/* [N, 64, A] to the four distances [N, 4, A]: the mean of each distribution. */
static int distances(om_synth *b, int boxes, int64_t anchors)
{
    float bins[BINS];
    char weight[OM_BUILD_NAME];
    om_shape ws = om_shape_make(4, (int64_t)1, (int64_t)BINS, (int64_t)1, (int64_t)1);
    int apart, together;
    if (b->p.dynamic) {
        int shape = om_build_op(&b->to, "Shape", om_synth_at(b, "dfl/Shape"), 1, boxes);
        int n = om_build_gather(&b->to, om_synth_at(b, "dfl/Gather"), shape, 0),
            a = om_build_gather(&b->to, om_synth_at(b, "dfl/Gather_1"), shape, 2);
        n = om_build_op(&b->to, "Unsqueeze", om_synth_at(b, "dfl/Unsqueeze"), 2, n, om_build_one(&b->to, 0));
        a = om_build_op(&b->to, "Unsqueeze", om_synth_at(b, "dfl/Unsqueeze_1"), 2, a,
                        om_build_one(&b->to, 0));
        apart = om_build_join(&b->to, om_synth_at(b, "dfl/Concat"), 0, 4,
                              (int[]){n, om_build_one(&b->to, 4), om_build_one(&b->to, BINS), a});
        together = om_build_join(&b->to, om_synth_at(b, "dfl/Concat_1"), 0, 3,
                                 (int[]){n, om_build_one(&b->to, 4), a});
    } else {
        apart = om_build_i64(&b->to, om_synth_at(b, "dfl/apart"), 4, 1, 4, BINS, (int)anchors);
        together = om_build_i64(&b->to, om_synth_at(b, "dfl/together"), 3, 1, 4, (int)anchors);
    }
    for (int i = 0; i < BINS; i++) bins[i] = (float)i;
    om_build_name(weight, "%s.dfl.conv.weight", b->module);
    int v = om_build_op(&b->to, "Reshape", om_synth_at(b, "dfl/Reshape"), 2, boxes, apart);
    v = om_build_op(&b->to, "Transpose", om_synth_at(b, "dfl/Transpose"), 1, v);
    om_build_ints(&b->to, "perm", 4, 0, 2, 1, 3);
    v = om_build_op(&b->to, "Softmax", om_synth_at(b, "dfl/Softmax"), 1, v);
    om_build_int(&b->to, "axis", 1);
    v = om_build_op(&b->to, "Conv", om_synth_at(b, "dfl/conv/Conv"), 2, v,
                    om_build_f32(&b->to, weight, &ws, bins));
    om_build_ints(&b->to, "dilations", 2, 1, 1);
    om_build_int(&b->to, "group", 1);
    om_build_ints(&b->to, "kernel_shape", 2, 1, 1);
    om_build_ints(&b->to, "pads", 4, 0, 0, 0, 0);
    om_build_ints(&b->to, "strides", 2, 1, 1);
    return om_build_op(&b->to, "Reshape", om_synth_at(b, "dfl/Reshape_1"), 2, v, together);
}

static int decode(om_synth *b, int distance, int points, int strides, int scores, bool corners)
{
    int near = om_build_op(&b->to, "Slice", om_synth_at(b, "Slice"), 4, distance, om_build_one(&b->to, 0),
                           om_build_one(&b->to, 2), om_build_one(&b->to, 1));
    int far = om_build_op(&b->to, "Slice", om_synth_at(b, "Slice_1"), 4, distance, om_build_one(&b->to, 2),
                          om_build_one(&b->to, 4), om_build_one(&b->to, 1));
    int from = om_build_op(&b->to, "Sub", om_synth_at(b, "Sub"), 2, points, near);
    int to = om_build_op(&b->to, "Add", om_synth_at(b, "Add_to"), 2, points, far);
    int parts[2] = {from, to};
    if (!corners) {
        int sum = om_build_op(&b->to, "Add", om_synth_at(b, "Add_sum"), 2, from, to),
            two = om_build_f32_scalar(&b->to, "two", 2);
        parts[1] = om_build_op(&b->to, "Sub", om_synth_at(b, "Sub_1"), 2, to, from);
        parts[0] = om_build_op(&b->to, "Div", om_synth_at(b, "Div"), 2, sum, two);
    }
    int box = om_build_join(&b->to, om_synth_at(b, "Concat_box"), 1, 2, parts);
    box = om_build_op(&b->to, "Mul", om_synth_at(b, "Mul_box"), 2, box, strides);
    int pass = om_build_op(&b->to, "Sigmoid", om_synth_at(b, "Sigmoid"), 1, scores);
    return om_build_join(&b->to, om_synth_at(b, "Concat_out"), 1, 2, (int[]){box, pass});
}

/* The shape [N, rows, -1] that a level's grids are flattened to. */
static int flat_shape(om_synth *b, const char *leaf, int batch, int rows)
{
    char constant[OM_BUILD_NAME];
    om_build_name(constant, "flat_%d", rows);
    if (!b->p.dynamic) return om_build_i64(&b->to, constant, 3, 1, rows, -1);
    return om_build_join(&b->to, om_synth_at(b, leaf), 0, 3,
                         (int[]){batch, om_build_one(&b->to, rows), om_build_one(&b->to, -1)});
}

static int open_batch(om_synth *b, int shape)
{
    int batch = om_build_gather(&b->to, om_synth_at(b, "Gather_batch"), shape, 0);
    return om_build_op(&b->to, "Unsqueeze", om_synth_at(b, "Unsqueeze_batch"), 2, batch,
                       om_build_one(&b->to, 0));
}

int om_synth_detect_layer(om_synth *b, const om_synth_detect *d, const om_synth_tensor x[LEVELS])
{
    int classes = b->p.classes, anchors = 0, batch = OM_NO_VALUE, shapes[LEVELS], boxes[LEVELS],
        scores[LEVELS];
    int c2 = x[0].c / 4 > 4 * BINS ? x[0].c / 4 : 4 * BINS, least = classes < 100 ? classes : 100;
    int c3 = x[0].c > least ? x[0].c : least;
    b->module = d->module;
    for (int s = 8; s <= 32; s *= 2) anchors += (b->p.height / s) * (b->p.width / s);
    for (int i = 0; i < LEVELS && b->p.dynamic; i++)
        shapes[i] = om_build_op(&b->to, "Shape", name_of(b, "Shape", i), 1, x[i].v);
    if (b->p.dynamic) batch = open_batch(b, shapes[0]);
    int box_shape = flat_shape(b, "Concat_box_shape", batch, 4 * BINS);
    int score_shape = flat_shape(b, "Concat_score_shape", batch, classes);
    for (int i = 0; i < LEVELS; i++) {
        int raw = box_branch(b, i, x[i], c2);
        boxes[i] = om_build_op(&b->to, "Reshape", name_of(b, "Reshape_box", i), 2, raw, box_shape);
    }
    for (int i = 0; i < LEVELS; i++) {
        int raw = class_branch(b, i, x[i], c3, anchors, d->light);
        scores[i] = om_build_op(&b->to, "Reshape", name_of(b, "Reshape_score", i), 2, raw, score_shape);
    }
    int box = om_build_join(&b->to, om_synth_at(b, "Concat"), -1, LEVELS, boxes),
        score = om_build_join(&b->to, om_synth_at(b, "Concat_1"), -1, LEVELS, scores);
    int points = OM_NO_VALUE, strides = OM_NO_VALUE;
    if (b->p.dynamic) open_anchors(b, shapes, &points, &strides);
    else frozen_anchors(b, &points, &strides);
    return decode(b, distances(b, box, anchors), points, strides, score, d->corners);
}

int om_synth_yolov8(om_synth *b, float width, float depth, om_synth_tensor images)
{
    om_synth_tensor grids[LEVELS];
    body(b, width, depth, images, grids);
    return om_synth_detect_layer(b, &(om_synth_detect){.module = "model.22"}, grids);
}
