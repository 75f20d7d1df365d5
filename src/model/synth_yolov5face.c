/* YOLOv5-Face as its own repository exports it, simplified: boxes and five landmarks, decoded. */
#include <stdio.h>

#include "base/mem.h"
#include "model/synth.h"
#include "omma/error.h"

#define LEVELS 3
#define SHAPES 3
#define BEFORE 15 /* a slot's values before its classes: box, objectness, landmarks */

static const float anchor_shapes[LEVELS][2 * SHAPES] = {
    {4, 5, 8, 10, 13, 16}, {23, 29, 43, 55, 73, 105}, {146, 217, 231, 300, 335, 433}};

static om_synth_tensor stem(om_synth *b, const char *path, om_synth_tensor x, int out)
{
    char name[OM_BUILD_NAME];
    x = om_synth_cbs(b, om_build_name(name, "%s/stem_1", path), x, out, 3, 2);
    om_synth_tensor y = om_synth_cbs(b, om_build_name(name, "%s/stem_2a", path), x, out / 2, 1, 1);
    y = om_synth_cbs(b, om_build_name(name, "%s/stem_2b", path), y, out, 3, 2);
    om_build_name(name, "/%s/stem_2p/MaxPool", path);
    x = om_synth_maxpool(b, name, x, (om_synth_conv){.size = 2, .stride = 2});
    y = om_synth_join(b, om_build_name(name, "/%s/Concat", path), y, x);
    return om_synth_cbs(b, om_build_name(name, "%s/stem_3", path), y, out, 1, 1);
}

static om_synth_tensor depthwise(om_synth *b, const char *path, om_synth_tensor x, int stride)
{
    return om_synth_conv_random(
        b, path, x, (om_synth_conv){.out = x.c, .size = 3, .stride = stride, .pad = 1, .groups = x.c});
}

/* The channels' halves interleaved. */
static om_synth_tensor shuffle(om_synth *b, const char *path, om_synth_tensor x, int level)
{
    char name[OM_BUILD_NAME];
    int batch = b->p.dynamic ? -1 : 1, h = b->p.height >> (3 + level), w = b->p.width >> (3 + level);
    om_build_name(name, "/%s/apart", path);
    int apart = om_build_i64(&b->to, name, 5, batch, 2, x.c / 2, h, w);
    om_build_name(name, "/%s/together", path);
    int together = om_build_i64(&b->to, name, 4, batch, x.c, h, w);
    x.v = om_build_op(&b->to, "Reshape", om_build_name(name, "/%s/Reshape", path), 2, x.v, apart);
    x.v = om_build_op(&b->to, "Transpose", om_build_name(name, "/%s/Transpose", path), 1, x.v);
    om_build_ints(&b->to, "perm", 5, 0, 2, 1, 3, 4);
    x.v = om_build_op(&b->to, "Reshape", om_build_name(name, "/%s/Reshape_1", path), 2, x.v, together);
    return x;
}

static void halves(om_synth *b, const char *path, om_synth_tensor x, om_synth_tensor out[2])
{
    char name[OM_BUILD_NAME];
    int half = x.c / 2, axis = om_build_one(&b->to, 1);
    for (int i = 0; i < 2; i++) {
        out[i] = (om_synth_tensor){.c = half, .mean = x.mean, .var = x.var};
        om_build_name(name, "/%s/Slice_%d", path, i);
        out[i].v = om_build_op(&b->to, "Slice", name, 4, x.v, om_build_one(&b->to, i * half),
                               om_build_one(&b->to, (i + 1) * half), axis);
    }
}

static om_synth_tensor shuffle_block(om_synth *b, const char *path, om_synth_tensor x, int out, int stride,
                                     int level)
{
    char name[OM_BUILD_NAME];
    om_synth_tensor side[2] = {x, x};
    om_synth_conv half = {.out = out / 2, .size = 1, .stride = 1};
    if (stride > 1) {
        om_synth_tensor y = depthwise(b, om_build_name(name, "%s/branch1/0", path), x, stride);
        side[0] = om_synth_cbs_of(b, om_build_name(name, "%s/branch1/2", path), y, half);
    } else {
        halves(b, path, x, side);
    }
    om_synth_tensor y = om_synth_cbs_of(b, om_build_name(name, "%s/branch2/0", path), side[1], half);
    y = depthwise(b, om_build_name(name, "%s/branch2/3", path), y, stride);
    side[1] = om_synth_cbs_of(b, om_build_name(name, "%s/branch2/5", path), y, half);
    y = om_synth_concat(b, om_build_name(name, "/%s/Concat", path), side, 2);
    return shuffle(b, path, y, level);
}

/* The levels at strides 8, 16 and 32 of the smallest model. */
static void shuffle_net(om_synth *b, om_synth_tensor x, om_synth_tensor out[LEVELS])
{
    static const int repeats[LEVELS] = {3, 7, 3};
    char name[OM_BUILD_NAME];
    x = stem(b, "model.0", x, 32);
    for (int i = 0; i < LEVELS; i++) {
        x = shuffle_block(b, om_build_name(name, "model.%d", 2 * i + 1), x, 128 << i, 2, i);
        for (int k = 0; k < repeats[i]; k++)
            x = shuffle_block(b, om_build_name(name, "model.%d/%d", 2 * i + 2, k), x, 128 << i, 1, i);
        out[i] = x;
    }
}

/* The same levels of the larger ones. */
static void csp_net(om_synth *b, float width, float depth, om_synth_tensor x, om_synth_tensor out[LEVELS])
{
    int c[5], n3 = om_synth_depth(3, depth), n9 = om_synth_depth(9, depth);
    for (int i = 0; i < 5; i++) c[i] = om_synth_width(64 << i, width);
    x = stem(b, "model.0", x, c[0]);
    x = om_synth_c3(b, "model.1", x, c[1], n3, true, false);
    x = om_synth_cbs(b, "model.2", x, c[2], 3, 2);
    out[0] = om_synth_c3(b, "model.3", x, c[2], n9, true, false);
    x = om_synth_cbs(b, "model.4", out[0], c[3], 3, 2);
    out[1] = om_synth_c3(b, "model.5", x, c[3], n9, true, false);
    x = om_synth_cbs(b, "model.6", out[1], c[4], 3, 2);
    x = om_synth_spp(b, "model.7", x, (const int[]){3, 5, 7});
    out[2] = om_synth_c3(b, "model.8", x, c[4], n3, false, false);
}

/* Channels of the neck: of the layer that takes each level in, and of what comes out at each. */
typedef struct neck {
    int lateral[2], out[LEVELS], repeats, first; /* the number of its first layer */
} neck;

static void paths(om_synth *b, const neck *n, om_synth_tensor p[LEVELS])
{
    char name[OM_BUILD_NAME], up[OM_BUILD_NAME];
    bool end = b->p.boxes > 0;
    om_synth_tensor lateral[2], x = p[2];
    int at = n->first;
    for (int i = 0; i < 2; i++, at += 4) {
        om_build_name(name, "model.%d", at);
        lateral[i] = om_synth_cbs(b, name, x, n->lateral[i], 1, 1);
        om_build_name(up, "model.%d", at + 1);
        om_build_name(name, "/model.%d/Concat", at + 2);
        x = om_synth_join(b, name, om_synth_upsample(b, up, lateral[i]), p[1 - i]);
        om_build_name(name, "model.%d", at + 3);
        x = om_synth_c3(b, name, x, i == 0 ? n->lateral[0] : n->out[0], n->repeats, false, end && i == 1);
    }
    p[0] = x;
    for (int i = 1; i < LEVELS; i++, at += 3) {
        x = om_synth_cbs(b, om_build_name(name, "model.%d", at), p[i - 1], p[i - 1].c, 3, 2);
        x = om_synth_join(b, om_build_name(name, "/model.%d/Concat", at + 1), x, lateral[2 - i]);
        p[i] = om_synth_c3(b, om_build_name(name, "model.%d", at + 2), x, n->out[i], n->repeats, false, end);
    }
}

/* The part of the values in [from, to). */
static int values(om_synth *b, int level, int v, int from, int to)
{
    char name[OM_BUILD_NAME];
    om_build_name(name, "/detect/Slice_%d_of_%d_%d_%d", level, v, from, to);
    return om_build_op(&b->to, "Slice", name, 4, v, om_build_one(&b->to, from), om_build_one(&b->to, to),
                       om_build_one(&b->to, 4));
}

static int op2(om_synth *b, const char *op, const char *leaf, int level, int x, int y)
{
    char name[OM_BUILD_NAME];
    return om_build_op(&b->to, op, om_build_name(name, "/detect/%s_%d", leaf, level), 2, x, y);
}

/* For each cell of a level and each shape: its column and row, the same in pixels, its anchor's size. */
typedef struct tables {
    int cells, corners, sizes; /* [1, 3, h, w, 2] */
} tables;

static tables frozen_tables(om_synth *b, int level)
{
    char name[OM_BUILD_NAME];
    int h = b->p.height >> (3 + level), w = b->p.width >> (3 + level), stride = 8 << level;
    om_shape shape = om_shape_make(5, (int64_t)1, (int64_t)SHAPES, (int64_t)h, (int64_t)w, (int64_t)2);
    size_t count = (size_t)(SHAPES * h * w) * 2;
    float *v = om_alloc(3 * count * sizeof *v), *at = v;
    tables out = {OM_NO_VALUE, OM_NO_VALUE, OM_NO_VALUE};
    if (!v) b->to.err = OM_ERR_NOMEM;
    if (b->to.err) {
        om_free(v);
        return out;
    }
    for (int s = 0; s < SHAPES; s++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++, at += 2)
                for (int k = 0; k < 2; k++) {
                    at[k] = (float)(k ? y : x);
                    at[count + (size_t)k] = (float)(stride * (k ? y : x));
                    at[2 * count + (size_t)k] = anchor_shapes[level][2 * s + k];
                }
    out.cells = om_build_f32(&b->to, om_build_name(name, "cells_%d", level), &shape, v);
    out.corners = om_build_f32(&b->to, om_build_name(name, "corners_%d", level), &shape, v + count);
    out.sizes = om_build_f32(&b->to, om_build_name(name, "sizes_%d", level), &shape, v + 2 * count);
    om_free(v);
    return out;
}

static int decode_level(om_synth *b, int level, int raw)
{
    char name[OM_BUILD_NAME];
    int classes = b->p.classes, no = BEFORE + classes, batch = b->p.dynamic ? -1 : 1,
        h = b->p.height >> (3 + level), w = b->p.width >> (3 + level), parts[9];
    tables t = frozen_tables(b, level);
    int apart = om_build_i64(&b->to, om_build_name(name, "apart_%d", level), 5, batch, SHAPES, no, h, w),
        flat = om_build_i64(&b->to, om_build_name(name, "flat_%d", level), 3, batch, SHAPES * h * w, no),
        two = om_build_f32_scalar(&b->to, "two", 2), half = om_build_f32_scalar(&b->to, "half", 0.5f),
        stride = om_build_f32_scalar(&b->to, om_build_name(name, "stride_%d", level), (float)(8 << level));
    int v = op2(b, "Reshape", "Reshape", level, raw, apart);
    v = om_build_op(&b->to, "Transpose", om_build_name(name, "/detect/Transpose_%d", level), 1, v);
    om_build_ints(&b->to, "perm", 5, 0, 1, 3, 4, 2);
    int box = values(b, level, v, 0, 5), score = values(b, level, v, BEFORE, no);
    box = om_build_op(&b->to, "Sigmoid", om_build_name(name, "/detect/Sigmoid_%d", level), 1, box);
    score = om_build_op(&b->to, "Sigmoid", om_build_name(name, "/detect/Sigmoid_1_%d", level), 1, score);
    int y = om_build_join(&b->to, om_build_name(name, "/detect/Concat_y_%d", level), 4, 3,
                          (int[]){box, values(b, level, v, 5, BEFORE), score});
    parts[0] = op2(b, "Mul", "Mul_xy", level, values(b, level, y, 0, 2), two);
    parts[0] = op2(b, "Sub", "Sub_xy", level, parts[0], half);
    parts[0] = op2(b, "Add", "Add_xy", level, parts[0], t.cells);
    parts[0] = op2(b, "Mul", "Mul_stride", level, parts[0], stride);
    parts[1] = op2(b, "Mul", "Mul_wh", level, values(b, level, y, 2, 4), two);
    parts[1] = op2(b, "Pow", "Pow", level, parts[1], two);
    parts[1] = op2(b, "Mul", "Mul_anchor", level, parts[1], t.sizes);
    parts[2] = values(b, level, y, 4, 5);
    for (int i = 0; i < 5; i++) {
        char leaf[32];
        snprintf(leaf, sizeof leaf, "Mul_mark_%d", i);
        parts[3 + i] = op2(b, "Mul", leaf, level, values(b, level, y, 5 + 2 * i, 7 + 2 * i), t.sizes);
        snprintf(leaf, sizeof leaf, "Add_mark_%d", i);
        parts[3 + i] = op2(b, "Add", leaf, level, parts[3 + i], t.corners);
    }
    parts[8] = values(b, level, y, BEFORE, no);
    v = om_build_join(&b->to, om_build_name(name, "/detect/Concat_%d", level), 4, 9, parts);
    return op2(b, "Reshape", "Reshape_flat", level, v, flat);
}

static int detect(om_synth *b, const om_synth_tensor x[LEVELS], int number)
{
    char name[OM_BUILD_NAME];
    int flat[LEVELS], anchors = 0;
    for (int s = 8; s <= 32; s *= 2) anchors += SHAPES * (b->p.height / s) * (b->p.width / s);
    for (int i = 0; i < LEVELS; i++) {
        om_build_name(name, "model.%d/m.%d", number, i);
        flat[i] = decode_level(b, i, om_synth_anchors_layer(b, name, x[i], BEFORE, x[i].c / 4, anchors).v);
    }
    return om_build_join(&b->to, "/detect/Concat", 1, LEVELS, flat);
}

int om_synth_yolov5n_face(om_synth *b, float width, float depth, om_synth_tensor images)
{
    om_synth_tensor x[LEVELS];
    (void)width;
    (void)depth;
    shuffle_net(b, images, x);
    paths(b, &(neck){{128, 128}, {128, 128, 128}, 1, 7}, x);
    return detect(b, x, 21);
}

int om_synth_yolov5_face(om_synth *b, float width, float depth, om_synth_tensor images)
{
    om_synth_tensor x[LEVELS];
    int c[3];
    for (int i = 0; i < 3; i++) c[i] = om_synth_width(256 << i, width);
    csp_net(b, width, depth, images, x);
    paths(b, &(neck){{c[1], c[0]}, {c[0], c[1], c[2]}, om_synth_depth(3, depth), 9}, x);
    return detect(b, x, 23);
}
