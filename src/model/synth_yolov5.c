/* YOLOv5 (release 6) as its own repository exports it, simplified, static or dynamic. */
#include <math.h>

#include "base/mem.h"
#include "model/synth.h"
#include "omma/error.h"

#define LEVELS 3
#define SHAPES 3             /* anchor shapes a level */
#define OBJECTNESS 4.0f      /* nearly certain: the classes decide */
#define BOX_DEVIATION 0.7f   /* of the raw box numbers */
#define MARK_DEVIATION 0.08f /* of raw landmarks, which are counted in anchors' sizes */

static const float anchor_shapes[LEVELS][2 * SHAPES] = {
    {10, 13, 16, 30, 33, 23}, {30, 61, 62, 45, 59, 119}, {116, 90, 156, 198, 373, 326}};

/* In a classifying block the last bottleneck's 3x3 layer makes bits and the block's last layer projects them;
 * a quarter of its channels stays plain, for the boxes and for the layers that follow. */
om_synth_tensor om_synth_c3(om_synth *b, const char *path, om_synth_tensor x, int out, int n, bool add,
                            bool classifying)
{
    char name[OM_BUILD_NAME];
    int half = out / 2;
    om_synth_conv bits = {.out = half, .size = 3, .stride = 1, .pad = 1},
                  last = {.out = out, .size = 1, .stride = 1};
    om_synth_tensor y = om_synth_cbs(b, om_build_name(name, "%s/cv1", path), x, half, 1, 1);
    for (int i = 0; i < n; i++) {
        if (classifying && i == n - 1) {
            y = om_synth_cbs(b, om_build_name(name, "%s/m/m.%d/cv1", path, i), y, half, 1, 1);
            om_build_name(name, "%s/m/m.%d/cv2", path, i);
            y = om_synth_role_layer(b, OM_SYNTH_BITS, name, y, bits, 0, OM_SYNTH_SILU);
        } else {
            y = om_synth_bottleneck(b, om_build_name(name, "%s/m/m.%d", path, i), y, 1, add);
        }
    }
    om_synth_tensor side = om_synth_cbs(b, om_build_name(name, "%s/cv2", path), x, half, 1, 1);
    y = om_synth_join(b, om_build_name(name, "/%s/Concat", path), y, side);
    if (classifying) {
        int wanted = SHAPES * b->p.classes, most = out - out / 4;
        last.units = wanted < most ? wanted : most;
        y.quiet = half;
        y.mean = side.mean;
        y.var = side.var;
    }
    om_build_name(name, "%s/cv3", path);
    return om_synth_role_layer(b, classifying ? OM_SYNTH_PROJECT : OM_SYNTH_PLAIN, name, y, last, half / 2,
                               OM_SYNTH_SILU);
}

/* Grids at strides 8, 16 and 32. */
static void body(om_synth *b, float width, float depth, om_synth_tensor x, om_synth_tensor out[LEVELS])
{
    int c[5], n3 = om_synth_depth(3, depth), n6 = om_synth_depth(6, depth), n9 = om_synth_depth(9, depth);
    bool end = b->p.boxes > 0;
    for (int i = 0; i < 5; i++) c[i] = om_synth_width(64 << i, width);
    x = om_synth_cbs(b, "model.0", x, c[0], 6, 2);
    x = om_synth_cbs(b, "model.1", x, c[1], 3, 2);
    x = om_synth_c3(b, "model.2", x, c[1], n3, true, false);
    x = om_synth_cbs(b, "model.3", x, c[2], 3, 2);
    om_synth_tensor p3 = om_synth_c3(b, "model.4", x, c[2], n6, true, false);
    x = om_synth_cbs(b, "model.5", p3, c[3], 3, 2);
    om_synth_tensor p4 = om_synth_c3(b, "model.6", x, c[3], n9, true, false);
    x = om_synth_cbs(b, "model.7", p4, c[4], 3, 2);
    x = om_synth_c3(b, "model.8", x, c[4], n3, true, false);
    x = om_synth_sppf(b, "model.9", x);

    om_synth_tensor l5 = om_synth_cbs(b, "model.10", x, c[3], 1, 1);
    x = om_synth_join(b, "/model.12/Concat", om_synth_upsample(b, "model.11", l5), p4);
    x = om_synth_c3(b, "model.13", x, c[3], n3, false, false);
    om_synth_tensor l4 = om_synth_cbs(b, "model.14", x, c[2], 1, 1);
    x = om_synth_join(b, "/model.16/Concat", om_synth_upsample(b, "model.15", l4), p3);
    out[0] = om_synth_c3(b, "model.17", x, c[2], n3, false, end);
    x = om_synth_join(b, "/model.19/Concat", om_synth_cbs(b, "model.18", out[0], c[2], 3, 2), l4);
    out[1] = om_synth_c3(b, "model.20", x, c[3], n3, false, end);
    x = om_synth_join(b, "/model.22/Concat", om_synth_cbs(b, "model.21", out[1], c[3], 3, 2), l5);
    out[2] = om_synth_c3(b, "model.23", x, c[4], n3, false, end);
}

/* Box numbers are small; a class of an anchor shape listens to one unit of the projection, if there are
 * enough. */
static void detect_weights(om_synth *b, om_synth_tensor x, int before, float shift, int units, float *w,
                           float *bias)
{
    int values = before + b->p.classes, plain = x.c - x.quiet;
    for (int row = 0; row < SHAPES * values; row++) {
        int shape = row / values, value = row % values, class = value - before;
        float deviation = value < 4 ? BOX_DEVIATION : value > 4 && class < 0 ? MARK_DEVIATION : 0.1f;
        deviation /= sqrtf((float)plain * x.var);
        double sum = 0;
        for (int u = 0; u < x.c; u++) {
            bool speaks = class >= 0 && u % SHAPES == shape && u / SHAPES < units && u / SHAPES == class;
            float draw = (u < x.quiet ? OM_SYNTH_QUIET : 1) * deviation * om_synth_gauss(b);
            w[row * x.c + u] = speaks ? OM_SYNTH_SLOPE : draw;
            if (!speaks && u >= x.quiet) sum += draw;
        }
        bias[row] = (float)(-sum * x.mean) + (value == 4 ? OBJECTNESS : class < 0 ? 0 : shift);
        if (class >= units) bias[row] -= 4; /* no unit speaks for this one */
    }
}

om_synth_tensor om_synth_anchors_layer(om_synth *b, const char *path, om_synth_tensor x, int before, int bits,
                                       int anchors)
{
    int classes = b->p.classes, most = (x.quiet ? x.quiet : x.c) / SHAPES,
        units = most < classes ? most : classes;
    double score = 0.25 * (1 + exp(-OBJECTNESS));
    om_synth_conv c = {.out = SHAPES * (before + classes), .size = 1, .stride = 1, .pad = 0};
    if (b->p.boxes == 0) return om_synth_conv_random(b, path, x, c);
    float *w = om_alloc((size_t)(c.out * x.c) * sizeof *w), *bias = om_alloc((size_t)c.out * sizeof *bias);
    if (!w || !bias) b->to.err = OM_ERR_NOMEM;
    if (!b->to.err) {
        float shift =
            om_synth_quantile_bias((double)b->p.boxes / anchors, units, bits, log(score / (1 - score)));
        detect_weights(b, x, before, shift, units, w, bias);
        x = om_synth_conv_given(b, path, x, c, w, bias);
    }
    om_free(w);
    om_free(bias);
    return x;
}

static int raw_level(om_synth *b, int level, om_synth_tensor x, int anchors)
{
    char name[OM_BUILD_NAME];
    om_build_name(name, "model.24/m.%d", level);
    return om_synth_anchors_layer(b, name, x, 5, x.c / 4, anchors).v;
}

/* What the decoding of one level is made of: constants of a static model, values of a dynamic one. */
typedef struct level_parts {
    int apart, flat;   /* shapes [N, 3, 5+classes, h, w] and [N, 3*h*w, 5+classes] */
    int grid, anchors; /* [1, 3, h, w, 2] */
} level_parts;

static const char *name_of(char out[OM_BUILD_NAME], const char *what, int level)
{
    return om_build_name(out, "/model.24/%s_%d", what, level);
}

static level_parts frozen_parts(om_synth *b, int level)
{
    char n[OM_BUILD_NAME];
    int h = b->p.height >> (3 + level), w = b->p.width >> (3 + level), values = 5 + b->p.classes;
    om_shape shape = om_shape_make(5, (int64_t)1, (int64_t)SHAPES, (int64_t)h, (int64_t)w, (int64_t)2);
    size_t count = (size_t)(SHAPES * h * w) * 2;
    float *v = om_alloc(2 * count * sizeof *v), *at = v;
    level_parts out = {.grid = OM_NO_VALUE};
    if (!v) b->to.err = OM_ERR_NOMEM;
    if (b->to.err) {
        om_free(v);
        return out;
    }
    for (int s = 0; s < SHAPES; s++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++, at += 2) {
                at[0] = (float)x - 0.5f;
                at[1] = (float)y - 0.5f;
                at[count] = anchor_shapes[level][2 * s];
                at[count + 1] = anchor_shapes[level][2 * s + 1];
            }
    out.grid = om_build_f32(&b->to, name_of(n, "grid", level), &shape, v);
    out.anchors = om_build_f32(&b->to, name_of(n, "anchor_grid", level), &shape, v + count);
    out.apart = om_build_i64(&b->to, name_of(n, "apart", level), 5, 1, SHAPES, values, h, w);
    out.flat = om_build_i64(&b->to, name_of(n, "flat", level), 3, 1, SHAPES * h * w, values);
    om_free(v);
    return out;
}

static int to_float(om_synth *b, const char *name, int v)
{
    v = om_build_op(&b->to, "Cast", name, 1, v);
    om_build_int(&b->to, "to", 1);
    return v;
}

/* Columns and rows of the grid's cells as [h, w, 2]. */
static int open_cells(om_synth *b, int level, int h, int w)
{
    char n[OM_BUILD_NAME];
    int zero = om_build_f32_scalar(&b->to, "f_zero", 0), step = om_build_f32_scalar(&b->to, "f_one", 1);
    int y = to_float(b, name_of(n, "Cast_h", level), h), x = to_float(b, name_of(n, "Cast_w", level), w);
    y = om_build_op(&b->to, "Range", name_of(n, "Range_y", level), 3, zero, y, step);
    x = om_build_op(&b->to, "Range", name_of(n, "Range_x", level), 3, zero, x, step);
    int ys = om_build_op(&b->to, "Shape", name_of(n, "Shape_y", level), 1, y);
    int xs = om_build_op(&b->to, "Shape", name_of(n, "Shape_x", level), 1, x);
    int size = om_build_join(&b->to, name_of(n, "Concat_size", level), 0, 2, (int[]){ys, xs});
    y = om_build_op(&b->to, "Reshape", name_of(n, "Reshape_y", level), 2, y,
                    om_build_i64(&b->to, "list_-1_1", 2, -1, 1));
    x = om_build_op(&b->to, "Reshape", name_of(n, "Reshape_x", level), 2, x,
                    om_build_i64(&b->to, "list_1_-1", 2, 1, -1));
    y = om_build_op(&b->to, "Expand", name_of(n, "Expand_y", level), 2, y, size);
    x = om_build_op(&b->to, "Expand", name_of(n, "Expand_x", level), 2, x, size);
    x = om_build_op(&b->to, "Unsqueeze", name_of(n, "Unsqueeze_x", level), 2, x, om_build_one(&b->to, 2));
    y = om_build_op(&b->to, "Unsqueeze", name_of(n, "Unsqueeze_y", level), 2, y, om_build_one(&b->to, 2));
    return om_build_join(&b->to, name_of(n, "Concat_xy", level), 2, 2, (int[]){x, y});
}

/* The original's export asks whether any entry of a shape is -1, an answer that is always no; kept for its
 * form. */
static int settled_shape(om_synth *b, int level, int shape)
{
    char n[OM_BUILD_NAME];
    static const uint8_t no[5];
    om_shape five = om_shape_make(1, (int64_t)5);
    int never = b->to.err ? OM_NO_VALUE : om_graph_find(b->to.g, "never");
    if (never < 0 && !b->to.err) never = om_graph_add_const(b->to.g, "never", OM_DTYPE_BOOL, &five, no);
    if (never < 0 && !b->to.err) b->to.err = never;
    return om_build_op(&b->to, "Where", name_of(n, "Where", level), 3, never,
                       om_build_i64(&b->to, "ones_5", 5, 1, 1, 1, 1, 1), shape);
}

static level_parts open_parts(om_synth *b, int level, int raw)
{
    char n[OM_BUILD_NAME];
    level_parts out;
    om_shape shape = om_shape_make(5, (int64_t)1, (int64_t)SHAPES, (int64_t)1, (int64_t)1, (int64_t)2);
    int values = om_build_one(&b->to, 5 + b->p.classes), three = om_build_one(&b->to, SHAPES),
        front = om_build_one(&b->to, 0);
    int size = om_build_op(&b->to, "Shape", name_of(n, "Shape", level), 1, raw);
    int batch = om_build_gather(&b->to, name_of(n, "Gather_n", level), size, 0);
    int h = om_build_gather(&b->to, name_of(n, "Gather_h", level), size, 2);
    int w = om_build_gather(&b->to, name_of(n, "Gather_w", level), size, 3);
    int batch1 = om_build_op(&b->to, "Unsqueeze", name_of(n, "Unsqueeze_n", level), 2, batch, front);
    int h1 = om_build_op(&b->to, "Unsqueeze", name_of(n, "Unsqueeze_h", level), 2, h, front);
    int w1 = om_build_op(&b->to, "Unsqueeze", name_of(n, "Unsqueeze_w", level), 2, w, front);
    out.apart = om_build_join(&b->to, name_of(n, "Concat_apart", level), 0, 5,
                              (int[]){batch1, three, values, h1, w1});
    int count =
        om_build_op(&b->to, "Mul", name_of(n, "Mul_3w", level), 2, w, om_build_scalar(&b->to, SHAPES));
    count = om_build_op(&b->to, "Mul", name_of(n, "Mul_3wh", level), 2, count, h);
    count = om_build_op(&b->to, "Unsqueeze", name_of(n, "Unsqueeze_count", level), 2, count, front);
    out.flat = om_build_join(&b->to, name_of(n, "Concat_flat", level), 0, 3, (int[]){batch1, count, values});
    int full[] = {om_build_one(&b->to, 1), three, h1, w1, om_build_one(&b->to, 2)};
    int wanted = settled_shape(b, level, om_build_join(&b->to, name_of(n, "Concat_full", level), 0, 5, full));
    int cells = om_build_op(&b->to, "Expand", name_of(n, "Expand_cells", level), 2,
                            open_cells(b, level, h, w), wanted);
    out.grid = om_build_op(&b->to, "Sub", name_of(n, "Sub", level), 2, cells,
                           om_build_f32_scalar(&b->to, "half", 0.5f));
    int anchors = om_build_f32(&b->to, name_of(n, "anchors", level), &shape, anchor_shapes[level]);
    out.anchors = om_build_op(&b->to, "Expand", name_of(n, "Expand_anchors", level), 2, anchors, wanted);
    return out;
}

static int decode_level(om_synth *b, int level, int raw)
{
    char n[OM_BUILD_NAME];
    level_parts p = b->p.dynamic ? open_parts(b, level, raw) : frozen_parts(b, level);
    int two = om_build_f32_scalar(&b->to, "two", 2);
    int v = om_build_op(&b->to, "Reshape", name_of(n, "Reshape", level), 2, raw, p.apart);
    v = om_build_op(&b->to, "Transpose", name_of(n, "Transpose", level), 1, v);
    om_build_ints(&b->to, "perm", 5, 0, 1, 3, 4, 2);
    v = om_build_op(&b->to, "Sigmoid", name_of(n, "Sigmoid", level), 1, v);
    int parts = om_build_i64(&b->to, "parts", 3, 2, 2, 1 + b->p.classes);
    int xy = om_build_op(&b->to, "Split", name_of(n, "Split", level), 2, v, parts);
    int wh = om_build_out(&b->to, 1), scores = om_build_out(&b->to, 2);
    om_build_int(&b->to, "axis", 4);
    xy = om_build_op(&b->to, "Mul", name_of(n, "Mul_xy", level), 2, xy, two);
    xy = om_build_op(&b->to, "Add", name_of(n, "Add_xy", level), 2, xy, p.grid);
    om_build_name(n, "stride_%d", 8 << level);
    int stride = om_build_f32_scalar(&b->to, n, (float)(8 << level));
    xy = om_build_op(&b->to, "Mul", name_of(n, "Mul_stride", level), 2, xy, stride);
    wh = om_build_op(&b->to, "Mul", name_of(n, "Mul_wh", level), 2, wh, two);
    wh = om_build_op(&b->to, "Pow", name_of(n, "Pow", level), 2, wh, two);
    wh = om_build_op(&b->to, "Mul", name_of(n, "Mul_anchor", level), 2, wh, p.anchors);
    v = om_build_join(&b->to, name_of(n, "Concat", level), 4, 3, (int[]){xy, wh, scores});
    return om_build_op(&b->to, "Reshape", name_of(n, "Reshape_flat", level), 2, v, p.flat);
}

int om_synth_yolov5(om_synth *b, float width, float depth, om_synth_tensor images)
{
    om_synth_tensor grids[LEVELS];
    int flat[LEVELS], anchors = 0;
    body(b, width, depth, images, grids);
    for (int s = 8; s <= 32; s *= 2) anchors += SHAPES * (b->p.height / s) * (b->p.width / s);
    for (int i = 0; i < LEVELS; i++) flat[i] = decode_level(b, i, raw_level(b, i, grids[i], anchors));
    return om_build_join(&b->to, "/model.24/Concat_out", 1, LEVELS, flat);
}
