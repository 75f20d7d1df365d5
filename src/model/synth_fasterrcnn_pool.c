/* Faster R-CNN's features of proposals: each is pooled from the level that fits its size. */
#include <math.h>

#include "model/synth_fasterrcnn.h"

#define LEVELS 4 /* the fifth only proposes */
#define FIRST_LEVEL 2
#define USUAL_SIDE 224 /* of a proposal that belongs to USUAL_LEVEL */
#define USUAL_LEVEL 4

/* The number of the picture in front of each box: there is one, 0. */
static int numbered(om_synth *b, int boxes)
{
    int column = om_rcnn_slice(b, boxes, 0, om_build_one(&b->to, 1), 1, 1);
    int zeros = om_rcnn_op1(b, "ConstantOfShape", om_rcnn_op1(b, "Shape", column));
    om_build_tensor(&b->to, "value", 0);
    return om_build_join(&b->to, NULL, 1, 2, (int[]){zeros, boxes});
}

static int cast(om_synth *b, int x)
{
    int v = om_rcnn_op1(b, "Cast", x);
    om_build_int(&b->to, "to", 7);
    return v;
}

/* Of each proposal, 0 to 3. */
static int level_of(om_synth *b, int width, int height)
{
    int side = om_rcnn_op1(b, "Sqrt", om_rcnn_op2(b, "Mul", width, height));
    int v = om_rcnn_op1(b, "Log", om_rcnn_number(b, "Div", side, USUAL_SIDE));
    v = om_rcnn_number(b, "Div", v, (float)log(2));
    v = om_rcnn_number(b, "Add", om_rcnn_number(b, "Add", v, USUAL_LEVEL), 1e-6f);
    int least = om_build_f32_scalar(&b->to, "f_2", FIRST_LEVEL),
        most = om_build_f32_scalar(&b->to, "f_5", FIRST_LEVEL + LEVELS - 1);
    v = om_build_op(&b->to, "Clip", NULL, 3, om_rcnn_op1(b, "Floor", v), least, most);
    return om_rcnn_op2(b, "Sub", cast(b, v), om_build_scalar(&b->to, FIRST_LEVEL));
}

static int pooled(om_synth *b, const om_rcnn *r, int level, int rois)
{
    char name[OM_BUILD_NAME];
    int first = om_rcnn_take(b, rois, om_build_one(&b->to, 0), 1);
    first = cast(b, om_rcnn_op2(b, "Squeeze", first, om_build_one(&b->to, 1)));
    rois = om_rcnn_take(b, rois, om_build_i64(&b->to, "roi_corners", 4, 1, 2, 3, 4), 1);
    om_build_name(name, "/roi_heads/box_roi_pool/RoiAlign_%d", level);
    int v = om_build_op(&b->to, "RoiAlign", name, 3, r->level[level].v, rois, first);
    om_build_string(&b->to, "coordinate_transformation_mode", "output_half_pixel");
    om_build_int(&b->to, "output_height", OM_RCNN_POOLED);
    om_build_int(&b->to, "output_width", OM_RCNN_POOLED);
    om_build_int(&b->to, "sampling_ratio", 2);
    om_build_float(&b->to, "spatial_scale", 1.0f / (float)(4 << level));
    return v;
}

/* [n, channels, 7, 7], n a list of one. */
static int features_shape(om_synth *b, int n)
{
    int side = om_build_one(&b->to, OM_RCNN_POOLED);
    return om_build_join(&b->to, NULL, 0, 4, (int[]){n, om_build_one(&b->to, OM_RCNN_CHANNELS), side, side});
}

/* Rows of `to` at `index` become those of `from`. */
static int scattered(om_synth *b, int to, int index, int from)
{
    int rows = om_rcnn_op2(b, "Reshape", index, om_build_i64(&b->to, "one_a_row", 4, -1, 1, 1, 1));
    int shape = features_shape(b, om_rcnn_length(b, om_rcnn_op1(b, "Shape", rows), 0));
    int open = om_rcnn_op2(b, "Equal", shape, om_build_i64(&b->to, "four_open", 4, -1, -1, -1, -1));
    shape =
        om_build_op(&b->to, "Where", NULL, 3, open, om_build_i64(&b->to, "four_ones", 4, 1, 1, 1, 1), shape);
    rows = om_rcnn_op2(b, "Expand", rows, shape);
    int v = om_build_op(&b->to, "ScatterElements", NULL, 3, to, rows, from);
    om_build_int(&b->to, "axis", 0);
    return v;
}

int om_rcnn_pool(om_synth *b, const om_rcnn *r, int proposals, om_rcnn_rois *out)
{
    int index[LEVELS], found[LEVELS], rois = numbered(b, proposals);
    out->boxes = proposals;
    out->left = om_rcnn_column(b, proposals, 0);
    out->top = om_rcnn_column(b, proposals, 1);
    out->width = om_rcnn_op2(b, "Sub", om_rcnn_column(b, proposals, 2), out->left);
    out->height = om_rcnn_op2(b, "Sub", om_rcnn_column(b, proposals, 3), out->top);
    int level = level_of(b, out->width, out->height);
    for (int i = 0; i < LEVELS; i++) {
        index[i] = om_rcnn_where(b, om_rcnn_op2(b, "Equal", level, om_build_scalar(&b->to, i)));
        found[i] = pooled(b, r, i, om_rcnn_take(b, rois, index[i], 0));
    }
    int shape = features_shape(b, om_rcnn_length(b, om_rcnn_op1(b, "Shape", level), 0));
    int all = om_rcnn_op1(b, "ConstantOfShape", shape);
    om_build_tensor(&b->to, "value", 0);
    for (int i = 0; i < LEVELS; i++) all = scattered(b, all, index[i], found[i]);
    return all;
}
