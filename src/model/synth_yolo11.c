/* YOLO11 as Ultralytics exports it, simplified, static or dynamic. */
#include <math.h>

#include "base/mem.h"
#include "model/synth.h"
#include "omma/error.h"

#define LEVELS 3
#define HEAD_DIM 64 /* channels of an attention head */

/* A bottleneck whose middle is half as wide. */
static om_synth_tensor narrow(om_synth *b, const char *path, om_synth_tensor x, bool add)
{
    char name[OM_BUILD_NAME];
    om_synth_tensor y = om_synth_cbs(b, om_build_name(name, "%s/cv1", path), x, x.c / 2, 3, 1);
    y = om_synth_cbs(b, om_build_name(name, "%s/cv2", path), y, x.c, 3, 1);
    return add ? om_synth_add(b, om_build_name(name, "/%s/Add", path), x, y) : y;
}

/* A C3 block of two 3x3 bottlenecks. */
static om_synth_tensor c3k(om_synth *b, const char *path, om_synth_tensor x, bool add)
{
    char name[OM_BUILD_NAME];
    om_synth_tensor y = om_synth_cbs(b, om_build_name(name, "%s/cv1", path), x, x.c / 2, 1, 1);
    for (int i = 0; i < 2; i++)
        y = om_synth_bottleneck3(b, om_build_name(name, "%s/m/m.%d", path, i), y, add);
    om_synth_tensor side = om_synth_cbs(b, om_build_name(name, "%s/cv2", path), x, x.c / 2, 1, 1);
    y = om_synth_join(b, om_build_name(name, "/%s/Concat", path), y, side);
    return om_synth_cbs(b, om_build_name(name, "%s/cv3", path), y, x.c, 1, 1);
}

static om_synth_tensor conv1(om_synth *b, const char *path, om_synth_tensor x, int out)
{
    return om_synth_conv_random(b, path, x, (om_synth_conv){.out = out, .size = 1, .stride = 1});
}

/* Queries and keys of deviation 1, so that attention looks at many cells; values as every layer has them. */
static int query_layer(om_synth *b, const char *path, om_synth_tensor x, int each, int key, int heads)
{
    om_synth_conv c = {.out = each * heads, .size = 1, .stride = 1};
    float *w = om_alloc((size_t)(c.out * x.c) * sizeof *w), *bias = om_alloc((size_t)c.out * sizeof *bias);
    int v = OM_NO_VALUE;
    if (!w || !bias) b->to.err = OM_ERR_NOMEM;
    if (!b->to.err) {
        om_synth_draw(b, x, c, w, bias);
        for (int o = 0; o < c.out; o++) {
            if (o % each >= 2 * key) continue;
            for (int i = 0; i < x.c; i++) w[o * x.c + i] /= OM_SYNTH_SCALE;
            bias[o] /= OM_SYNTH_SCALE;
        }
        v = om_synth_conv_given(b, path, x, c, w, bias).v;
    }
    om_free(w);
    om_free(bias);
    return v;
}

/* Shapes that the attention sees its input in: constants of a static model. */
typedef struct views {
    int heads, cells; /* [N, heads, 2 * key + value, cells], [N, C, h, w] */
} views;

static views frozen_views(om_synth *b, const char *path, int heads, int each, int channels)
{
    char name[OM_BUILD_NAME];
    int h = b->p.height / 32, w = b->p.width / 32;
    views out = {0};
    out.heads = om_build_i64(&b->to, om_build_name(name, "/%s/heads", path), 4, 1, heads, each, h * w);
    out.cells = om_build_i64(&b->to, om_build_name(name, "/%s/cells", path), 4, 1, channels, h, w);
    return out;
}

static views open_views(om_synth *b, const char *path, int x, int channels, int heads, int each)
{
    char name[OM_BUILD_NAME];
    static const int open[3] = {0, 2, 3};
    int dim[4], list[4] = {0, om_build_one(&b->to, channels)}, front = om_build_one(&b->to, 0);
    views out;
    int shape = om_build_op(&b->to, "Shape", om_build_name(name, "/%s/Shape", path), 1, x);
    for (int i = 0; i < 3; i++) {
        om_build_name(name, "/%s/Gather_%d", path, open[i]);
        dim[open[i]] = om_build_gather(&b->to, name, shape, open[i]);
    }
    int cells = om_build_op(&b->to, "Mul", om_build_name(name, "/%s/Mul_cells", path), 2, dim[2], dim[3]);
    for (int i = 0; i < 3; i++) {
        om_build_name(name, "/%s/Unsqueeze_%d", path, open[i]);
        list[open[i]] = om_build_op(&b->to, "Unsqueeze", name, 2, dim[open[i]], front);
    }
    cells =
        om_build_op(&b->to, "Unsqueeze", om_build_name(name, "/%s/Unsqueeze_cells", path), 2, cells, front);
    out.heads =
        om_build_join(&b->to, om_build_name(name, "/%s/Concat", path), 0, 4,
                      (int[]){list[0], om_build_one(&b->to, heads), om_build_one(&b->to, each), cells});
    out.cells = om_build_join(&b->to, om_build_name(name, "/%s/Concat_1", path), 0, 4, list);
    return out;
}

static int transposed(om_synth *b, const char *path, int i, int v)
{
    char name[OM_BUILD_NAME];
    v = om_build_op(&b->to, "Transpose", om_build_name(name, "/%s/Transpose_%d", path, i), 1, v);
    om_build_ints(&b->to, "perm", 4, 0, 1, 3, 2);
    return v;
}

/* Of keys half as long as values, with a depthwise layer that tells the place. */
static om_synth_tensor attention(om_synth *b, const char *path, om_synth_tensor x)
{
    char name[OM_BUILD_NAME];
    int heads = x.c >= HEAD_DIM ? x.c / HEAD_DIM : 1, value = x.c / heads, key = value / 2;
    int qkv = query_layer(b, om_build_name(name, "%s/qkv/conv", path), x, 2 * key + value, key, heads);
    views shapes = b->p.dynamic ? open_views(b, path, x.v, x.c, heads, 2 * key + value)
                                : frozen_views(b, path, heads, 2 * key + value, x.c);
    int v = om_build_op(&b->to, "Reshape", om_build_name(name, "/%s/Reshape", path), 2, qkv, shapes.heads);
    int sizes = om_build_i64(&b->to, om_build_name(name, "/%s/sizes", path), 3, key, key, value);
    int q = om_build_op(&b->to, "Split", om_build_name(name, "/%s/Split", path), 2, v, sizes);
    int k = om_build_out(&b->to, 1);
    v = om_build_out(&b->to, 2);
    om_build_int(&b->to, "axis", 2);
    int scale = om_build_f32_scalar(&b->to, om_build_name(name, "/%s/scale", path), 1 / sqrtf((float)key));
    q = om_build_op(&b->to, "Mul", om_build_name(name, "/%s/Mul", path), 2, q, scale);
    int a = om_build_op(&b->to, "MatMul", om_build_name(name, "/%s/MatMul", path), 2,
                        transposed(b, path, 0, q), k);
    a = om_build_op(&b->to, "Softmax", om_build_name(name, "/%s/Softmax", path), 1, a);
    om_build_int(&b->to, "axis", -1);
    a = transposed(b, path, 1, a);
    a = om_build_op(&b->to, "MatMul", om_build_name(name, "/%s/MatMul_1", path), 2, v, a);
    a = om_build_op(&b->to, "Reshape", om_build_name(name, "/%s/Reshape_1", path), 2, a, shapes.cells);
    /* What attention yields is a mean over many cells: little beside what the depthwise layer adds. */
    om_synth_tensor seen = {a, x.c, 0, 0.1f, 0},
                    flat = {OM_NO_VALUE, x.c, 0, OM_SYNTH_SCALE * OM_SYNTH_SCALE, 0};
    flat.v = om_build_op(&b->to, "Reshape", om_build_name(name, "/%s/Reshape_2", path), 2, v, shapes.cells);
    om_synth_conv place = {.out = x.c, .size = 3, .stride = 1, .pad = 1, .groups = x.c};
    flat = om_synth_conv_random(b, om_build_name(name, "%s/pe/conv", path), flat, place);
    seen = om_synth_add(b, om_build_name(name, "/%s/Add", path), seen, flat);
    return conv1(b, om_build_name(name, "%s/proj/conv", path), seen, x.c);
}

om_synth_tensor om_synth_psa_block(om_synth *b, const char *path, const char *at, om_synth_tensor x)
{
    char name[OM_BUILD_NAME];
    om_synth_tensor y = attention(b, at, x);
    x = om_synth_add(b, om_build_name(name, "/%s/Add", path), x, y);
    y = om_synth_cbs(b, om_build_name(name, "%s/ffn/ffn.0", path), x, 2 * x.c, 1, 1);
    y = conv1(b, om_build_name(name, "%s/ffn/ffn.1/conv", path), y, x.c);
    return om_synth_add(b, om_build_name(name, "/%s/Add_1", path), x, y);
}

static om_synth_tensor c2psa(om_synth *b, const char *path, om_synth_tensor x)
{
    char name[OM_BUILD_NAME], at[OM_BUILD_NAME];
    om_synth_tensor halves[2];
    om_synth_tensor y = om_synth_cbs(b, om_build_name(name, "%s/cv1", path), x, x.c, 1, 1);
    om_synth_halves(b, path, y, halves);
    om_build_name(name, "%s/m/m.0", path);
    om_build_name(at, "%s/m/m.0/attn", path);
    halves[1] = om_synth_psa_block(b, name, at, halves[1]);
    y = om_synth_concat(b, om_build_name(name, "/%s/Concat", path), halves, 2);
    return om_synth_cbs(b, om_build_name(name, "%s/cv2", path), y, x.c, 1, 1);
}

/* Ends in bottlenecks or, where the block is wide, in C3k. */
static om_synth_tensor c3k2(om_synth *b, const char *path, om_synth_tensor x, int out, int hidden, bool wide)
{
    return om_synth_c2f(b, path, x, hidden, out, 1, true, wide ? c3k : narrow);
}

int om_synth_yolo11(om_synth *b, float width, float depth, om_synth_tensor x)
{
    int c[5];
    om_synth_tensor out[LEVELS];
    (void)depth; /* every block of the one size there is has one bottleneck */
    for (int i = 0; i < 5; i++) c[i] = om_synth_width(64 << i, width);
    x = om_synth_cbs(b, "model.0", x, c[0], 3, 2);
    x = om_synth_cbs(b, "model.1", x, c[1], 3, 2);
    x = c3k2(b, "model.2", x, c[2], c[2] / 4, false);
    x = om_synth_cbs(b, "model.3", x, c[2], 3, 2);
    om_synth_tensor p3 = c3k2(b, "model.4", x, c[3], c[3] / 4, false);
    x = om_synth_cbs(b, "model.5", p3, c[3], 3, 2);
    om_synth_tensor p4 = c3k2(b, "model.6", x, c[3], c[3] / 2, true);
    x = om_synth_cbs(b, "model.7", p4, c[4], 3, 2);
    x = c3k2(b, "model.8", x, c[4], c[4] / 2, true);
    om_synth_tensor p5 = c2psa(b, "model.10", om_synth_sppf(b, "model.9", x));

    x = om_synth_join(b, "/model.12/Concat", om_synth_upsample(b, "model.11", p5), p4);
    om_synth_tensor n4 = c3k2(b, "model.13", x, c[3], c[3] / 2, false);
    x = om_synth_join(b, "/model.15/Concat", om_synth_upsample(b, "model.14", n4), p3);
    out[0] = c3k2(b, "model.16", x, c[2], c[2] / 2, false);
    x = om_synth_join(b, "/model.18/Concat", om_synth_cbs(b, "model.17", out[0], c[2], 3, 2), n4);
    out[1] = c3k2(b, "model.19", x, c[3], c[3] / 2, false);
    x = om_synth_join(b, "/model.21/Concat", om_synth_cbs(b, "model.20", out[1], c[3], 3, 2), p5);
    out[2] = c3k2(b, "model.22", x, c[4], c[4] / 2, true);
    return om_synth_detect_layer(b, &(om_synth_detect){.module = "model.23", .light = true}, out);
}
