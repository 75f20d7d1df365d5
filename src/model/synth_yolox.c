/* YOLOX-s as Megvii's export script makes it, simplified: boxes undecoded, scores behind their sigmoids. */
#include <math.h>
#include <stdint.h>

#include "base/mem.h"
#include "model/synth.h"
#include "omma/error.h"

#define LEVELS 3
#define OBJECTNESS 4.0f /* nearly certain: the classes decide */

/* Four pictures of half the size as channels: top left, bottom left, top right, bottom right. */
static om_synth_tensor focus(om_synth *b, om_synth_tensor x)
{
    static const int64_t far[2] = {INT64_MAX, INT64_MAX};
    char name[OM_BUILD_NAME];
    om_synth_tensor parts[4];
    om_shape two = om_shape_make(1, (int64_t)2);
    int ends = om_build_const(&b->to, "focus_ends", OM_DTYPE_I64, &two, far),
        axes = om_build_i64(&b->to, "focus_axes", 2, 2, 3),
        steps = om_build_i64(&b->to, "focus_steps", 2, 2, 2);
    for (int i = 0; i < 4; i++) {
        int starts = om_build_i64(&b->to, om_build_name(name, "focus_starts_%d", i), 2, i % 2, i / 2);
        parts[i] = x;
        om_build_name(name, "/backbone/stem/Slice_%d", i);
        parts[i].v = om_build_op(&b->to, "Slice", name, 5, x.v, starts, ends, axes, steps);
    }
    return om_synth_concat(b, "/backbone/stem/Concat", parts, 4);
}

static om_synth_tensor spp(om_synth *b, const char *path, om_synth_tensor x)
{
    return om_synth_spp(b, path, x, (const int[]){5, 9, 13});
}

/* Grids at strides 8, 16 and 32. */
static void body(om_synth *b, float width, float depth, om_synth_tensor x, om_synth_tensor out[LEVELS])
{
    int c[5], n3 = om_synth_depth(3, depth), n9 = 3 * n3;
    for (int i = 0; i < 5; i++) c[i] = om_synth_width(64 << i, width);
    x = om_synth_cbs(b, "backbone/stem/conv", focus(b, x), c[0], 3, 1);
    x = om_synth_cbs(b, "backbone/dark2/0", x, c[1], 3, 2);
    x = om_synth_c3(b, "backbone/dark2/1", x, c[1], n3, true, false);
    x = om_synth_cbs(b, "backbone/dark3/0", x, c[2], 3, 2);
    om_synth_tensor p3 = om_synth_c3(b, "backbone/dark3/1", x, c[2], n9, true, false);
    x = om_synth_cbs(b, "backbone/dark4/0", p3, c[3], 3, 2);
    om_synth_tensor p4 = om_synth_c3(b, "backbone/dark4/1", x, c[3], n9, true, false);
    x = om_synth_cbs(b, "backbone/dark5/0", p4, c[4], 3, 2);
    x = spp(b, "backbone/dark5/1", x);
    x = om_synth_c3(b, "backbone/dark5/2", x, c[4], n3, false, false);

    om_synth_tensor l5 = om_synth_cbs(b, "backbone/lateral_conv0", x, c[3], 1, 1);
    x = om_synth_join(b, "/backbone/Concat", om_synth_upsample(b, "backbone/upsample", l5), p4);
    x = om_synth_c3(b, "backbone/C3_p4", x, c[3], n3, false, false);
    om_synth_tensor l4 = om_synth_cbs(b, "backbone/reduce_conv1", x, c[2], 1, 1);
    x = om_synth_join(b, "/backbone/Concat_1", om_synth_upsample(b, "backbone/upsample_1", l4), p3);
    out[0] = om_synth_c3(b, "backbone/C3_p3", x, c[2], n3, false, false);
    x = om_synth_join(b, "/backbone/Concat_2", om_synth_cbs(b, "backbone/bu_conv2", out[0], c[2], 3, 2), l4);
    out[1] = om_synth_c3(b, "backbone/C3_n3", x, c[3], n3, false, false);
    x = om_synth_join(b, "/backbone/Concat_3", om_synth_cbs(b, "backbone/bu_conv1", out[1], c[3], 3, 2), l5);
    out[2] = om_synth_c3(b, "backbone/C3_n4", x, c[4], n3, false, false);
}

/* A layer of small numbers about `middle`. */
static int small_layer(om_synth *b, const char *path, om_synth_tensor x, int out, float gain, float middle)
{
    om_synth_conv c = {.out = out, .size = 1, .stride = 1};
    if (b->p.boxes == 0) return om_synth_conv_random(b, path, x, c).v;
    float *w = om_alloc((size_t)(out * x.c) * sizeof *w), *bias = om_alloc((size_t)out * sizeof *bias);
    int v = OM_NO_VALUE;
    if (!w || !bias) b->to.err = OM_ERR_NOMEM;
    if (!b->to.err) {
        om_synth_draw(b, x, c, w, bias);
        for (int i = 0; i < out * x.c; i++) w[i] *= gain / OM_SYNTH_SCALE;
        for (int i = 0; i < out; i++) bias[i] = bias[i] * gain / OM_SYNTH_SCALE + middle;
        v = om_synth_conv_given(b, path, x, c, w, bias).v;
    }
    om_free(w);
    om_free(bias);
    return v;
}

static int class_branch(om_synth *b, int level, om_synth_tensor x, int cells)
{
    char path[OM_BUILD_NAME];
    bool plan = b->p.boxes > 0;
    int classes = b->p.classes;
    double score = 0.25 * (1 + exp(-OBJECTNESS));
    float shift = om_synth_quantile_bias((double)b->p.boxes / cells, x.c < classes ? x.c : classes,
                                         x.c / 2 * 9, log(score / (1 - score)));
    om_synth_conv c = {.out = x.c, .size = 3, .stride = 1, .pad = 1};
    om_build_name(path, "head/cls_convs.%d/0", level);
    x = om_synth_role_layer(b, plan ? OM_SYNTH_BITS : OM_SYNTH_PLAIN, path, x, c, 0, OM_SYNTH_SILU);
    om_build_name(path, "head/cls_convs.%d/1", level);
    x = om_synth_role_layer(b, plan ? OM_SYNTH_PROJECT : OM_SYNTH_PLAIN, path, x, c, x.c / 2, OM_SYNTH_SILU);
    om_build_name(path, "head/cls_preds.%d", level);
    return om_synth_class_layer(b, path, x, classes, shift).v;
}

static int detect_level(om_synth *b, int level, om_synth_tensor x, int hidden, int cells)
{
    char name[OM_BUILD_NAME];
    x = om_synth_cbs(b, om_build_name(name, "head/stems.%d", level), x, hidden, 1, 1);
    int classes = class_branch(b, level, x, cells);
    for (int i = 0; i < 2; i++)
        x = om_synth_cbs(b, om_build_name(name, "head/reg_convs.%d/%d", level, i), x, hidden, 3, 1);
    int box = small_layer(b, om_build_name(name, "head/reg_preds.%d", level), x, 4, 0.7f, 1);
    int object = small_layer(b, om_build_name(name, "head/obj_preds.%d", level), x, 1, 0.1f, OBJECTNESS);
    object = om_build_op(&b->to, "Sigmoid", om_build_name(name, "/head/Sigmoid_obj_%d", level), 1, object);
    classes = om_build_op(&b->to, "Sigmoid", om_build_name(name, "/head/Sigmoid_cls_%d", level), 1, classes);
    return om_build_join(&b->to, om_build_name(name, "/head/Concat_%d", level), 1, 3,
                         (int[]){box, object, classes});
}

int om_synth_yolox(om_synth *b, float width, float depth, om_synth_tensor images)
{
    char name[OM_BUILD_NAME];
    om_synth_tensor grids[LEVELS];
    int flat[LEVELS], cells = 0, values = 5 + b->p.classes;
    body(b, width, depth, images, grids);
    for (int s = 8; s <= 32; s *= 2) cells += (b->p.height / s) * (b->p.width / s);
    for (int i = 0; i < LEVELS; i++) {
        int raw = detect_level(b, i, grids[i], om_synth_width(256, width), cells);
        int shape = om_build_i64(&b->to, om_build_name(name, "flat_%d", i), 3, b->p.dynamic ? -1 : 1, values,
                                 (b->p.height >> (3 + i)) * (b->p.width >> (3 + i)));
        flat[i] = om_build_op(&b->to, "Reshape", om_build_name(name, "/head/Reshape_%d", i), 2, raw, shape);
    }
    int v = om_build_join(&b->to, "/head/Concat_out", 2, LEVELS, flat);
    v = om_build_op(&b->to, "Transpose", "/head/Transpose", 1, v);
    om_build_ints(&b->to, "perm", 3, 0, 2, 1);
    return v;
}
