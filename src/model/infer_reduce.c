/* Operators that reduce axes or select among elements. */
#include <inttypes.h>

#include "base/error.h"
#include "model/infer.h"

int om_infer_reduce(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    int64_t axes[OM_MAX_RANK];
    bool keep = om_node_attr_int(c->n, "keepdims", 1) != 0, gone[OM_MAX_RANK] = {false};
    if (!x) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    int n = om_call_attr_or_input(c, "axes", 1, axes, OM_MAX_RANK);
    bool none = n == OM_CALL_ABSENT || n == 0, unknown = n == -1;
    if (none && om_node_attr_int(c->n, "noop_with_empty_axes", 0)) return om_infer_same(c);
    for (int i = 0; i < n; i++) {
        if (axes[i] == OM_CALL_UNKNOWN) unknown = true;
        int axis = axes[i] == OM_CALL_UNKNOWN ? 0 : om_call_axis(c, axes[i], x->rank);
        if (axis < 0) return axis;
        if (x->rank) gone[axis] = true;
    }
    om_shape out = {.rank = unknown && !keep ? (n > 0 && n <= x->rank ? x->rank - n : -1) : 0};
    for (int i = 0; unknown && i < (keep ? x->rank : out.rank); i++) out.dim[i] = OM_DIM_DYNAMIC;
    if (unknown && keep) out.rank = x->rank;
    for (int i = 0; !unknown && i < x->rank; i++) {
        if (!gone[i] && !none) out.dim[out.rank++] = x->dim[i];
        else if (keep) out.dim[out.rank++] = 1;
    }
    return om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_infer_arg(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    if (!x) return om_call_set(c, 0, OM_DTYPE_I64, NULL);
    int axis = om_call_axis(c, om_node_attr_int(c->n, "axis", 0), x->rank);
    if (axis < 0) return axis;
    bool keep = om_node_attr_int(c->n, "keepdims", 1) != 0;
    om_shape out = {.rank = 0};
    for (int i = 0; i < x->rank; i++)
        if (i != axis || keep) out.dim[out.rank++] = i == axis ? 1 : x->dim[i];
    return om_call_set(c, 0, OM_DTYPE_I64, &out);
}

int om_infer_topk(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    int64_t k = om_node_attr_int(c->n, "k", OM_CALL_UNKNOWN);
    om_shape out = {.rank = -1};
    if (om_call_has(c, 1) && om_call_ints(c, 1, &k, 1) != 1) k = OM_CALL_UNKNOWN;
    if (x) {
        int axis = om_call_axis(c, om_node_attr_int(c->n, "axis", -1), x->rank);
        if (axis < 0) return axis;
        if (k != OM_CALL_UNKNOWN && (k < 0 || (x->dim[axis] >= 0 && k > x->dim[axis])))
            return om_call_bad(c, "the best %" PRId64 " of %" PRId64, k, x->dim[axis]);
        out = *x;
        out.dim[axis] = k == OM_CALL_UNKNOWN ? OM_DIM_DYNAMIC : k;
    }
    int err = om_call_set(c, 0, om_call_dtype(c, 0), &out);
    return err < 0 ? err : om_call_set(c, 1, OM_DTYPE_I64, &out);
}

int om_infer_roi_align(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0), *rois = om_call_shape(c, 1);
    if ((x && x->rank != 4) || (rois && rois->rank != 2))
        return om_call_bad(c, "features of rank %d and regions of rank %d, 4 and 2 are expected",
                           x ? x->rank : 4, rois ? rois->rank : 2);
    om_shape out = om_shape_make(
        4, rois ? rois->dim[0] : (int64_t)OM_DIM_DYNAMIC, x ? x->dim[1] : (int64_t)OM_DIM_DYNAMIC,
        om_node_attr_int(c->n, "output_height", 1), om_node_attr_int(c->n, "output_width", 1));
    return om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_infer_nonzero(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    om_shape out = om_shape_make(2, x ? (int64_t)x->rank : (int64_t)OM_DIM_DYNAMIC, (int64_t)OM_DIM_DYNAMIC);
    return om_call_set(c, 0, OM_DTYPE_I64, &out);
}

int om_infer_nms(const om_call *c)
{
    const om_shape *boxes = om_call_shape(c, 0), *scores = om_call_shape(c, 1);
    if ((boxes && boxes->rank != 3) || (scores && scores->rank != 3))
        return om_call_bad(c, "boxes and scores of rank 3 are expected");
    int err = boxes && scores ? om_call_same(c, "boxes and scores", boxes->dim[1], scores->dim[2]) : OM_OK;
    if (err >= 0 && boxes) err = om_call_same(c, "numbers of a box", boxes->dim[2], 4);
    om_shape out = om_shape_make(2, (int64_t)OM_DIM_DYNAMIC, (int64_t)3);
    return err < 0 ? err : om_call_set(c, 0, OM_DTYPE_I64, &out);
}

int om_infer_onehot(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    const om_part *depth = om_call_part(c, 1);
    om_dtype t = om_call_dtype(c, 2);
    if (!x || x->rank >= OM_MAX_RANK) return om_call_set(c, 0, t, NULL);
    int axis = om_call_axis(c, om_node_attr_int(c->n, "axis", -1), x->rank + 1);
    if (axis < 0) return axis;
    om_shape out = {.rank = x->rank + 1};
    for (int i = 0; i < out.rank; i++) out.dim[i] = i == axis ? OM_DIM_DYNAMIC : x->dim[i - (i > axis)];
    if (depth && depth->n == 1 && depth->known[0]) {
        int64_t d = om_dtype_is_float(depth->dtype)
                        ? (depth->v[0].f >= 0 && depth->v[0].f < 1e9 ? (int64_t)depth->v[0].f : -1)
                        : depth->v[0].i;
        if (d < 0) return om_call_bad(c, "a depth that is no count");
        out.dim[axis] = d;
    }
    return om_call_set(c, 0, t, &out);
}
