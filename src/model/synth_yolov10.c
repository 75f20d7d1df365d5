/* YOLOv10 as Ultralytics exports it, simplified, static or dynamic: no NMS is left to do. */
#include "model/synth.h"

#define LEVELS 3

static om_synth_tensor c2f(om_synth *b, const char *path, om_synth_tensor x, int out, int n, bool add)
{
    return om_synth_c2f(b, path, x, out / 2, out, n, add, om_synth_bottleneck3);
}

static om_synth_tensor depthwise(om_synth *b, const char *path, om_synth_tensor x, int size)
{
    return om_synth_cbs_of(
        b, path, x, (om_synth_conv){.out = x.c, .size = size, .stride = 1, .pad = size / 2, .groups = x.c});
}

/* Compact inverted block; its middle is a window of 7 after the two of its branches are made one. */
static om_synth_tensor cib(om_synth *b, const char *path, om_synth_tensor x, bool add)
{
    char name[OM_BUILD_NAME];
    om_synth_tensor y = depthwise(b, om_build_name(name, "%s/cv1/cv1.0", path), x, 3);
    y = om_synth_cbs(b, om_build_name(name, "%s/cv1/cv1.1", path), y, 2 * x.c, 1, 1);
    y = depthwise(b, om_build_name(name, "%s/cv1/cv1.2", path), y, 7);
    y = om_synth_cbs(b, om_build_name(name, "%s/cv1/cv1.3", path), y, x.c, 1, 1);
    y = depthwise(b, om_build_name(name, "%s/cv1/cv1.4", path), y, 3);
    return add ? om_synth_add(b, om_build_name(name, "/%s/Add", path), x, y) : y;
}

/* Halves the size with a depthwise layer that has no activation. */
static om_synth_tensor scdown(om_synth *b, const char *path, om_synth_tensor x, int out)
{
    char name[OM_BUILD_NAME];
    om_synth_conv half = {.out = out, .size = 3, .stride = 2, .pad = 1, .groups = out};
    x = om_synth_cbs(b, om_build_name(name, "%s/cv1", path), x, out, 1, 1);
    return om_synth_conv_random(b, om_build_name(name, "%s/cv2/conv", path), x, half);
}

static om_synth_tensor psa(om_synth *b, const char *path, om_synth_tensor x)
{
    char name[OM_BUILD_NAME];
    om_synth_tensor halves[2];
    om_synth_tensor y = om_synth_cbs(b, om_build_name(name, "%s/cv1", path), x, x.c, 1, 1);
    om_synth_halves(b, path, y, halves);
    om_build_name(name, "%s/attn", path);
    halves[1] = om_synth_psa_block(b, path, name, halves[1]);
    y = om_synth_concat(b, om_build_name(name, "/%s/Concat", path), halves, 2);
    return om_synth_cbs(b, om_build_name(name, "%s/cv2", path), y, x.c, 1, 1);
}

/* `index` [N, k] as one that takes rows of `columns` numbers each from [N, A, columns]. */
static int take_rows(om_synth *b, const char *leaf, int from, int index, int columns, int rows)
{
    char name[OM_BUILD_NAME];
    int whole = om_build_op(&b->to, "Unsqueeze", om_synth_at(b, om_build_name(name, "%s/Unsqueeze", leaf)), 2,
                            index, om_build_one(&b->to, -1));
    om_build_name(name, "expand_%d_%d", rows, columns);
    int shape = om_build_i64(&b->to, name, 3, 1, rows, columns);
    whole = om_build_op(&b->to, "Expand", om_synth_at(b, om_build_name(name, "%s/Expand", leaf)), 2, whole,
                        shape);
    int v = om_build_op(&b->to, "GatherElements",
                        om_synth_at(b, om_build_name(name, "%s/GatherElements", leaf)), 2, from, whole);
    om_build_int(&b->to, "axis", 1);
    return v;
}

static void body(om_synth *b, float width, float depth, om_synth_tensor x, om_synth_tensor out[LEVELS])
{
    int c[5], n3 = om_synth_depth(3, depth), n6 = om_synth_depth(6, depth);
    for (int i = 0; i < 5; i++) c[i] = om_synth_width(64 << i, width);
    x = om_synth_cbs(b, "model.0", x, c[0], 3, 2);
    x = om_synth_cbs(b, "model.1", x, c[1], 3, 2);
    x = c2f(b, "model.2", x, c[1], n3, true);
    x = om_synth_cbs(b, "model.3", x, c[2], 3, 2);
    om_synth_tensor p3 = c2f(b, "model.4", x, c[2], n6, true);
    x = scdown(b, "model.5", p3, c[3]);
    om_synth_tensor p4 = c2f(b, "model.6", x, c[3], n6, true);
    x = scdown(b, "model.7", p4, c[4]);
    x = c2f(b, "model.8", x, c[4], n3, true);
    om_synth_tensor p5 = psa(b, "model.10", om_synth_sppf(b, "model.9", x));

    x = om_synth_join(b, "/model.12/Concat", om_synth_upsample(b, "model.11", p5), p4);
    om_synth_tensor n4 = c2f(b, "model.13", x, c[3], n3, false);
    x = om_synth_join(b, "/model.15/Concat", om_synth_upsample(b, "model.14", n4), p3);
    out[0] = c2f(b, "model.16", x, c[2], n3, false);
    x = om_synth_join(b, "/model.18/Concat", om_synth_cbs(b, "model.17", out[0], c[2], 3, 2), n4);
    out[1] = c2f(b, "model.19", x, c[3], n3, false);
    x = om_synth_join(b, "/model.21/Concat", scdown(b, "model.20", out[1], c[3]), p5);
    out[2] = om_synth_c2f(b, "model.22", x, c[4] / 2, c[4], n3, true, cib);
}

/* The best anchors by their best class, then the best of all their scores. */
static int best(om_synth *b, int y, int anchors)
{
    int classes = b->p.classes, rows = anchors < OM_SYNTH_BEST ? anchors : OM_SYNTH_BEST,
        k = om_build_one(&b->to, rows), last = om_build_one(&b->to, -1);
    y = om_build_op(&b->to, "Transpose", om_synth_at(b, "Transpose"), 1, y);
    om_build_ints(&b->to, "perm", 3, 0, 2, 1);
    int sizes = om_build_i64(&b->to, "box_and_scores", 2, 4, classes);
    int box = om_build_op(&b->to, "Split", om_synth_at(b, "Split"), 2, y, sizes);
    int scores = om_build_out(&b->to, 1);
    om_build_int(&b->to, "axis", -1);
    int top = om_build_op(&b->to, "ReduceMax", om_synth_at(b, "ReduceMax"), 1, scores);
    om_build_ints(&b->to, "axes", 1, -1);
    om_build_int(&b->to, "keepdims", 0);
    om_build_many(&b->to, "TopK", om_synth_at(b, "TopK"), 2, 2, (int[]){top, k});
    om_build_int(&b->to, "axis", 1);
    int anchor = om_build_out(&b->to, 1);
    scores = take_rows(b, "scores", scores, anchor, classes, rows);
    int flat = om_build_op(&b->to, "Flatten", om_synth_at(b, "Flatten"), 1, scores);
    om_build_int(&b->to, "axis", 1);
    int value = om_build_many(&b->to, "TopK", om_synth_at(b, "TopK_1"), 2, 2, (int[]){flat, k});
    om_build_int(&b->to, "axis", 1);
    int index = om_build_out(&b->to, 1), count = om_build_scalar(&b->to, classes);
    int class = om_build_op(&b->to, "Mod", om_synth_at(b, "Mod"), 2, index, count);
    value = om_build_op(&b->to, "Unsqueeze", om_synth_at(b, "Unsqueeze"), 2, value, last);
    class = om_build_op(&b->to, "Unsqueeze", om_synth_at(b, "Unsqueeze_1"), 2, class, last);
    class = om_build_op(&b->to, "Cast", om_synth_at(b, "Cast"), 1, class);
    om_build_int(&b->to, "to", 1);
    int row = om_build_op(&b->to, "Div", om_synth_at(b, "Div"), 2, index, count);
    row = om_build_op(&b->to, "GatherElements", om_synth_at(b, "GatherElements"), 2, anchor, row);
    om_build_int(&b->to, "axis", 1);
    box = take_rows(b, "boxes", box, row, 4, rows);
    return om_build_join(&b->to, om_synth_at(b, "Concat_best"), -1, 3, (int[]){box, value, class});
}

int om_synth_yolov10(om_synth *b, float width, float depth, om_synth_tensor images)
{
    om_synth_tensor grids[LEVELS];
    int anchors = 0;
    body(b, width, depth, images, grids);
    for (int s = 8; s <= 32; s *= 2) anchors += (b->p.height / s) * (b->p.width / s);
    om_synth_detect d = {.module = "model.23", .light = true, .corners = true};
    return best(b, om_synth_detect_layer(b, &d, grids), anchors);
}
