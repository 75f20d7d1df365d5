/* Lists of boxes as torchvision's export of Faster R-CNN handles them, operator for operator. */
#include <math.h>
#include <stdint.h>

#include "model/synth_fasterrcnn.h"

int om_rcnn_op1(om_synth *b, const char *op, int x) { return om_build_op(&b->to, op, NULL, 1, x); }
int om_rcnn_op2(om_synth *b, const char *op, int x, int y) { return om_build_op(&b->to, op, NULL, 2, x, y); }

static int scalar(om_synth *b, float x)
{
    char name[OM_BUILD_NAME];
    return om_build_f32_scalar(&b->to, om_build_name(name, "f_%.9g", (double)x), x);
}

int om_rcnn_number(om_synth *b, const char *op, int x, float y)
{
    return om_rcnn_op2(b, op, x, scalar(b, y));
}

int om_rcnn_take(om_synth *b, int x, int index, int axis)
{
    int v = om_rcnn_op2(b, "Gather", x, index);
    om_build_int(&b->to, "axis", axis);
    return v;
}

int om_rcnn_column(om_synth *b, int x, int number)
{
    return om_rcnn_take(b, x, om_build_scalar(&b->to, number), 1);
}

int om_rcnn_end(om_synth *b)
{
    static const int64_t end = INT64_MAX;
    om_shape one = om_shape_make(1, (int64_t)1);
    return om_build_const(&b->to, "list_end", OM_DTYPE_I64, &one, &end);
}

int om_rcnn_slice(om_synth *b, int x, int from, int to, int axis, int step)
{
    int in[] = {x, om_build_one(&b->to, from), to, om_build_one(&b->to, axis),
                step ? om_build_one(&b->to, step) : OM_NO_VALUE};
    return om_build_many(&b->to, "Slice", NULL, 1, step ? 5 : 4, in);
}

int om_rcnn_stack(om_synth *b, int axis, int n, const int *x)
{
    int in[4];
    for (int i = 0; i < n; i++) in[i] = om_rcnn_op2(b, "Unsqueeze", x[i], om_build_one(&b->to, axis));
    return om_build_join(&b->to, NULL, axis, n, in);
}

int om_rcnn_length(om_synth *b, int shape, int axis)
{
    return om_rcnn_op2(b, "Unsqueeze", om_build_gather(&b->to, NULL, shape, axis), om_build_one(&b->to, 0));
}

int om_rcnn_where(om_synth *b, int test)
{
    int v = om_rcnn_op1(b, "Transpose", om_rcnn_op1(b, "NonZero", test));
    om_build_ints(&b->to, "perm", 2, 1, 0);
    return om_rcnn_op2(b, "Squeeze", v, om_build_one(&b->to, 1));
}

int om_rcnn_decode(om_synth *b, const int delta[4], int width, int height, int centre_x, int centre_y)
{
    int limit = scalar(b, (float)log(1000.0 / 16));
    int grow_x = om_build_op(&b->to, "Clip", NULL, 3, delta[2], OM_NO_VALUE, limit),
        grow_y = om_build_op(&b->to, "Clip", NULL, 3, delta[3], OM_NO_VALUE, limit);
    int x = om_rcnn_op2(b, "Add", om_rcnn_op2(b, "Mul", delta[0], width), centre_x),
        y = om_rcnn_op2(b, "Add", om_rcnn_op2(b, "Mul", delta[1], height), centre_y);
    width = om_rcnn_op2(b, "Mul", om_rcnn_op1(b, "Exp", grow_x), width);
    height = om_rcnn_op2(b, "Mul", om_rcnn_op1(b, "Exp", grow_y), height);
    int down = om_rcnn_op2(b, "Mul", scalar(b, 0.5f), height),
        across = om_rcnn_op2(b, "Mul", scalar(b, 0.5f), width);
    int corners[] = {om_rcnn_op2(b, "Sub", x, across), om_rcnn_op2(b, "Sub", y, down),
                     om_rcnn_op2(b, "Add", x, across), om_rcnn_op2(b, "Add", y, down)};
    return om_rcnn_stack(b, 2, 4, corners);
}

int om_rcnn_clip(om_synth *b, const om_rcnn *r, int boxes, int axis)
{
    int side[2], most[2] = {r->width, r->height};
    for (int i = 0; i < 2; i++) {
        side[i] = om_rcnn_slice(b, boxes, i, om_rcnn_end(b), axis, 2);
        side[i] = om_rcnn_number(b, "Min", om_rcnn_number(b, "Max", side[i], 0), (float)most[i]);
    }
    return om_rcnn_stack(b, axis + 1, 2, side);
}

int om_rcnn_large(om_synth *b, int boxes, float side)
{
    int long_enough[2];
    for (int i = 0; i < 2; i++) {
        int length = om_rcnn_op2(b, "Sub", om_rcnn_column(b, boxes, 2 + i), om_rcnn_column(b, boxes, i));
        long_enough[i] = om_rcnn_number(b, "GreaterOrEqual", length, side);
    }
    return om_rcnn_where(b, om_rcnn_op2(b, "And", long_enough[0], long_enough[1]));
}

/* Inside a branch constants are nodes, as the exporter leaves them. */
static int held_i64(om_build *in, int rank, int64_t v)
{
    om_shape shape = {.rank = rank, .dim = {1}};
    return om_build_held(in, OM_DTYPE_I64, &shape, &v);
}

static int held_f32(om_build *in, int rank, float v)
{
    om_shape shape = {.rank = rank, .dim = {1}};
    return om_build_held(in, OM_DTYPE_F32, &shape, &v);
}

static int unsqueezed(om_build *in, int x, int axis)
{
    return om_build_op(in, "Unsqueeze", NULL, 2, x, held_i64(in, 1, axis));
}

static int as_f32(om_build *in, int x)
{
    int v = om_build_op(in, "Cast", NULL, 1, x);
    om_build_int(in, "to", 1);
    return v;
}

/* The suppression of a list that is not empty: each group is moved beyond the largest coordinate. `zero` and
 * `one` come from outside, as the exporter has the axes and steps of this one Slice. */
static int suppress_some(om_build *in, int boxes, int scores, int groups, int zero, int one, float iou)
{
    int reach = om_build_op(in, "ReduceMax", NULL, 1, boxes);
    om_build_int(in, "keepdims", 0);
    reach = om_build_op(in, "Add", NULL, 2, reach, held_f32(in, 0, 1));
    int away = om_build_op(in, "Mul", NULL, 2, as_f32(in, groups), reach);
    int from = held_i64(in, 1, 0), to = held_i64(in, 1, INT64_MAX), axis = unsqueezed(in, zero, 0),
        step = unsqueezed(in, one, 0);
    away = om_build_op(in, "Slice", NULL, 5, away, from, to, axis, step);
    boxes = om_build_op(in, "Add", NULL, 2, boxes, unsqueezed(in, away, 1));
    boxes = as_f32(in, unsqueezed(in, boxes, 0));
    scores = as_f32(in, unsqueezed(in, unsqueezed(in, scores, 0), 0));
    int most = held_i64(in, 1, INT64_MAX), threshold = held_f32(in, 1, iou);
    int kept = om_build_op(in, "NonMaxSuppression", NULL, 4, boxes, scores, most, threshold);
    kept = om_build_op(in, "Gather", NULL, 2, kept, held_i64(in, 1, 2));
    om_build_int(in, "axis", 1);
    return om_build_op(in, "Squeeze", NULL, 2, kept, held_i64(in, 1, 1));
}

int om_rcnn_suppress(om_synth *b, const char *path, const om_rcnn_list *x, float iou, int most)
{
    char name[OM_BUILD_NAME];
    om_build in;
    om_shape none = om_shape_make(1, (int64_t)0);
    int zero = om_build_scalar(&b->to, 0), one = om_build_scalar(&b->to, 1);
    int count = om_rcnn_op1(b, "ReduceProd", om_rcnn_op1(b, "Shape", x->boxes));
    om_build_int(&b->to, "keepdims", 0);
    int empty = om_rcnn_op2(b, "Equal", count, zero);
    int kept = om_build_op(&b->to, "If", om_build_name(name, "/%s/If", path), 1, empty);
    om_build_branch_begin(&b->to, &in, "none");
    int nothing = om_build_held(&in, OM_DTYPE_I64, &none, NULL);
    om_build_branch_end(&b->to, "then_branch", &in, nothing, om_build_name(name, "/%s/none", path));
    om_build_branch_begin(&b->to, &in, "some");
    int boxes = om_build_capture(&in, &b->to, x->boxes), scores = om_build_capture(&in, &b->to, x->scores),
        groups = om_build_capture(&in, &b->to, x->groups);
    zero = om_build_capture(&in, &b->to, zero);
    one = om_build_capture(&in, &b->to, one);
    int some = suppress_some(&in, boxes, scores, groups, zero, one, iou);
    om_build_branch_end(&b->to, "else_branch", &in, some, om_build_name(name, "/%s/some", path));
    return om_rcnn_slice(b, kept, 0, om_build_one(&b->to, most), 0, 1);
}

om_rcnn_list om_rcnn_choose(om_synth *b, const om_rcnn_list *x, int index)
{
    return (om_rcnn_list){om_rcnn_take(b, x->boxes, index, 0), om_rcnn_take(b, x->scores, index, 0),
                          om_rcnn_take(b, x->groups, index, 0)};
}
