/* Pooling, resizing, reductions, softmax and layer normalisation. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/cuda/lower.h"
#include "base/error.h"
#include "base/mem.h"

#define EIGHT 8
#define SIXTEEN 16

static bool is_even(const omcu_view *v, int by)
{
    bool ok = v->offset % by == 0 && v->stride[1] == 1 && v->dim[1] % by == 0;
    for (int i = 0; i < v->rank; i++) ok = ok && (i == 1 || v->dim[i] == 1 || v->stride[i] % by == 0);
    return ok;
}

/* 1: the value lies as 8-bit integers, whole pieces of 16 channels side by side. */
static int integers_in(omcu_lower_state *l, int value, omcu_view *x)
{
    if (omcu_grid_of(l, value).scale <= 0) return 0;
    int err = omcu_view_any(l, value, x);
    return err ? err : x->rank == 4 && x->grid.scale > 0 && is_even(x, SIXTEEN);
}

/* 1: there those of `x`, moved or the largest of some, may be written as they are. */
static int integers_out(omcu_lower_state *l, int value, const omcu_view *x, omcu_view *y)
{
    int err = omcu_out_any(l, value, 1, y);
    return err ? err : y->grid.scale == x->grid.scale && y->grid.zero == x->grid.zero && is_even(y, SIXTEEN);
}

static bool is_five(const omcu_lower_state *l, const om_node *n)
{
    int64_t k[4];
    bool ok = strcmp(n->op, "MaxPool") == 0 && om_node_attr_ints(n, "kernel_shape", k, 4) == 2 && k[0] == 5 &&
              k[1] == 5;
    if (ok && om_node_attr_ints(n, "strides", k, 4) == 2) ok = k[0] == 1 && k[1] == 1;
    if (ok && om_node_attr_ints(n, "dilations", k, 4) == 2) ok = k[0] == 1 && k[1] == 1;
    return ok && om_node_attr_ints(n, "pads", k, 4) == 4 && k[0] == 2 && k[1] == 2 && k[2] == 2 &&
           k[3] == 2 && om_shape_equal(omcu_shape(l, n->inputs[0]), omcu_shape(l, n->outputs[0]));
}

/* The pool of five that reads this value, -1: none or several. */
static int next_five(const omcu_lower_state *l, int value)
{
    int found = -1;
    for (int i = 0; i < l->values[value].n_users; i++) {
        int node = l->values[value].users[i];
        if (!is_five(l, &l->g->nodes[node])) continue;
        if (found >= 0) return -1;
        found = node;
    }
    return found;
}

/* Three pools of five in a row in one step; *done: it was that. */
static int lower_sppf(omcu_lower_state *l, int node, const omcu_view *x, bool *done)
{
    int nodes[3] = {node, -1, -1}, err = OM_OK;
    omcu_step s = {.kind = OMCU_STEP_SPPF, .n_in = 1, .n_out = 3};
    omcu_sppf *p = &s.u.sppf;
    *done = false;
    for (int i = 1; i < 3; i++) {
        nodes[i] = next_five(l, l->g->nodes[nodes[i - 1]].outputs[0]);
        if (nodes[i] < 0) return OM_OK;
    }
    if (l->work != OMCU_F16 || l->how->no_fusion || !is_even(x, EIGHT) ||
        !omcu_sppf_takes((int)x->dim[2], (int)x->dim[3]))
        return OM_OK;
    p->integers = x->grid.scale > 0;
    int unit = p->integers ? 2 : 1;
    for (int i = 0; i < 3 && !err; i++) {
        int value = l->g->nodes[nodes[i]].outputs[0];
        int there = p->integers ? integers_out(l, value, x, &s.out[i]) : 1;
        if (there <= 0) return there;
        if (!p->integers) err = omcu_out_view(l, value, false, EIGHT, &s.out[i]);
        if (!err && !is_even(&s.out[i], EIGHT)) return OM_OK;
        p->y_n[i] = s.out[i].stride[0] / unit;
        p->y_h[i] = s.out[i].stride[2] / unit;
        p->y_w[i] = s.out[i].stride[3] / unit;
    }
    if (err) return err;
    omcu_step_name(l, node, &s);
    snprintf(s.type, sizeof s.type, "SPPF");
    p->n = (int)x->dim[0];
    p->c = (int)x->dim[1] / unit;
    p->h = (int)x->dim[2];
    p->wd = (int)x->dim[3];
    p->x_n = x->stride[0] / unit;
    p->x_h = x->stride[2] / unit;
    p->x_w = x->stride[3] / unit;
    s.in[0] = *x;
    err = omcu_add_step(l->p, &s);
    for (int i = 0; i < 3 && err >= 0; i++) {
        l->done[nodes[i]] = true;
        err = omcu_written(l, l->g->nodes[nodes[i]].outputs[0], &s.out[i]);
    }
    *done = err >= 0;
    return err < 0 ? err : OM_OK;
}

static void pool_window(const om_node *n, const omcu_view *x, const om_shape *out, omcu_pool *p)
{
    int64_t v[4] = {1, 1, 0, 0};
    om_node_attr_ints(n, "kernel_shape", v, 4);
    p->r = (int)v[0];
    p->s = (int)v[1];
    p->stride_y = p->stride_x = p->dil_y = p->dil_x = 1;
    if (om_node_attr_ints(n, "strides", v, 4) == 2) p->stride_y = (int)v[0], p->stride_x = (int)v[1];
    if (om_node_attr_ints(n, "dilations", v, 4) == 2) p->dil_y = (int)v[0], p->dil_x = (int)v[1];
    if (om_node_attr_ints(n, "pads", v, 4) == 4) {
        p->pad_y = (int)v[0], p->pad_x = (int)v[1];
        p->pad_y1 = (int)v[2], p->pad_x1 = (int)v[3];
    }
    const char *mode = om_node_attr_string(n, "auto_pad", "NOTSET");
    if (strncmp(mode, "SAME", 4) == 0) {
        int y = (int)(out->dim[2] - 1) * p->stride_y + (p->r - 1) * p->dil_y + 1 - (int)x->dim[2];
        int w = (int)(out->dim[3] - 1) * p->stride_x + (p->s - 1) * p->dil_x + 1 - (int)x->dim[3];
        int lower = strcmp(mode, "SAME_LOWER") == 0;
        y = y < 0 ? 0 : y;
        w = w < 0 ? 0 : w;
        p->pad_y = (y + lower) / 2, p->pad_x = (w + lower) / 2;
        p->pad_y1 = y - p->pad_y, p->pad_x1 = w - p->pad_x;
    }
}

/* Four dims with channels side by side, copied where they lie otherwise. */
static int channels_view(omcu_lower_state *l, int value, omcu_view *out)
{
    static const int nhwc[OM_MAX_RANK] = {0, 2, 3, 1};
    omcu_view v;
    int err = omcu_work_view(l, value, &v);
    *out = v;
    if (err || v.stride[1] == 1 || v.dim[1] == 1) return err;
    err = omcu_new_view(l, l->work, omcu_shape(l, value), nhwc, 1, out);
    return err ? err : omcu_emit_copy(l, &v, out, l->g->values[value].name);
}

/* Where a picture is written: where it is wanted if its channels lie side by side there. */
static int channels_out(omcu_lower_state *l, int value, omcu_view *out)
{
    static const int nhwc[OM_MAX_RANK] = {0, 2, 3, 1};
    int err = omcu_out_view(l, value, false, 1, out);
    if (err || out->stride[1] == 1 || out->dim[1] == 1) return err;
    return omcu_new_view(l, l->work, omcu_shape(l, value), nhwc, 1, out);
}

int omcu_lower_pool(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    const om_shape *in = omcu_shape(l, n->inputs[0]);
    bool fused;
    if (in->rank != 4) return omcu_refuse(l, node, "its input has %d dimensions; expected 4", in->rank);
    if (n->n_outputs > 1 && n->outputs[1] >= 0 &&
        (l->values[n->outputs[1]].n_users || l->g->values[n->outputs[1]].is_output))
        return omcu_refuse(l, node, "its indices are used");
    omcu_step s = {.kind = OMCU_STEP_POOL, .n_in = 1, .n_out = 1};
    int err = is_five(l, n) ? integers_in(l, n->inputs[0], &s.in[0]) : 0;
    if (err < 0) return err;
    if (err) {
        err = lower_sppf(l, node, &s.in[0], &fused);
        if (err || fused) return err;
    }
    err = channels_view(l, n->inputs[0], &s.in[0]);
    if (!err && is_five(l, n)) {
        err = lower_sppf(l, node, &s.in[0], &fused);
        if (err || fused) return err;
    }
    if (!err) err = channels_out(l, n->outputs[0], &s.out[0]);
    if (err) return err;
    omcu_step_name(l, node, &s);
    const omcu_view *x = &s.in[0], *y = &s.out[0];
    omcu_pool *p = &s.u.pool;
    pool_window(n, x, omcu_shape(l, n->outputs[0]), p);
    p->n = (int)x->dim[0], p->c = (int)x->dim[1], p->h = (int)x->dim[2], p->wd = (int)x->dim[3];
    p->ho = (int)y->dim[2], p->wo = (int)y->dim[3];
    p->x_n = x->stride[0], p->x_h = x->stride[2], p->x_w = x->stride[3];
    p->y_n = y->stride[0], p->y_h = y->stride[2], p->y_w = y->stride[3];
    p->half = s.half;
    p->average = strcmp(n->op, "AveragePool") == 0;
    p->count_pad = om_node_attr_int(n, "count_include_pad", 0);
    p->vector = is_even(x, s.half ? 8 : 4) && is_even(y, s.half ? 8 : 4);
    err = omcu_add_step(l->p, &s);
    return err < 0 ? err : omcu_written(l, n->outputs[0], y);
}

/* ---- reductions ---- */

static int reduce(omcu_lower_state *l, int node, const bool away[OM_MAX_RANK], int kind)
{
    const om_node *n = &l->g->nodes[node];
    const om_shape *out = omcu_shape(l, n->outputs[0]);
    omcu_step s = {.kind = OMCU_STEP_REDUCE, .n_in = 1, .n_out = 1};
    omcu_reduce *r = &s.u.reduce;
    omcu_view kept = {.rank = 0}, y;
    int err = omcu_view_of(l, n->inputs[0], &s.in[0]), order[OM_MAX_RANK];
    if (err) return err;
    const omcu_view *x = &s.in[0];
    omcu_step_name(l, node, &s);
    err = omcu_out_view(l, n->outputs[0], true, 1, &s.out[0]);
    if (err) return err;
    for (int i = 0; i < x->rank; i++)
        if (!away[i]) kept.dim[kept.rank++] = x->dim[i];
    if (!omcu_view_reshape(&s.out[0], kept.rank, kept.dim, &y)) {
        err = omcu_new_view(l, l->work, out, NULL, 1, &s.out[0]);
        if (err || !omcu_view_reshape(&s.out[0], kept.rank, kept.dim, &y)) return err ? err : OM_ERR_INTERNAL;
    }
    /* In the order the input lies in, so that neighbours are read by neighbours. */
    int of_kept[OM_MAX_RANK] = {0};
    for (int i = 0, k = 0; i < x->rank; i++)
        if (!away[i]) of_kept[i] = k++;
    omcu_view_order(x, order);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < x->rank; i++) {
            int d = order[i], at = r->kept + r->reduced;
            if (away[d] != (pass == 1) || x->dim[d] == 1) continue;
            if ((pass ? r->reduced : r->kept) == OMCU_DIMS)
                return omcu_refuse(l, node, "more than %d dimensions", OMCU_DIMS);
            r->dim[at] = (int)x->dim[d];
            r->x_stride[at] = x->stride[d];
            if (pass) r->reduced++;
            else r->y_stride[r->kept++] = y.stride[of_kept[d]];
        }
    r->by_column = r->kept > 0 && r->x_stride[r->kept - 1] == 1 && r->dim[r->kept - 1] >= 8;
    r->kind = kind;
    r->x_type = x->type;
    r->y_type = s.out[0].type;
    err = omcu_add_step(l->p, &s);
    return err < 0 ? err : omcu_written(l, n->outputs[0], &s.out[0]);
}

int omcu_lower_global_pool(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    bool away[OM_MAX_RANK] = {false};
    for (int i = 2; i < omcu_shape(l, n->inputs[0])->rank; i++) away[i] = true;
    return reduce(l, node, away, strcmp(n->op, "GlobalMaxPool") == 0 ? OMCU_LARGEST : OMCU_MEAN);
}

int omcu_lower_reduce(omcu_lower_state *l, int node)
{
    static const struct {
        const char *op;
        int kind;
    } kinds[] = {
        {"ReduceSum", OMCU_SUM},
        {"ReduceMean", OMCU_MEAN},
        {"ReduceMax", OMCU_LARGEST},
        {"ReduceMin", OMCU_SMALLEST},
        {"ReduceProd", OMCU_PRODUCT},
        {"ReduceL1", OMCU_L1},
        {"ReduceL2", OMCU_L2},
        {"ReduceLogSum", OMCU_LOG_SUM},
        {"ReduceSumSquare", OMCU_SUM_SQUARE},
        {"ReduceLogSumExp", OMCU_LOG_SUM_EXP},
    };
    const om_node *n = &l->g->nodes[node];
    int64_t axes[OM_MAX_RANK];
    int rank = omcu_shape(l, n->inputs[0])->rank, kind = OMCU_SUM,
        count = om_node_attr_ints(n, "axes", axes, OM_MAX_RANK);
    bool away[OM_MAX_RANK] = {false}, given = omcu_input(n, 1) >= 0;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(n->op, kinds[i].op) == 0) kind = kinds[i].kind;
    if (given) count = omcu_const_ints(l, n, 1, axes, OM_MAX_RANK);
    if (given && count < 0) return omcu_refuse(l, node, "its axes are computed; expected constants");
    if (count <= 0 && om_node_attr_int(n, "noop_with_empty_axes", 0)) return omcu_lower_same(l, node);
    for (int i = 0; i < rank; i++) away[i] = count <= 0;
    for (int i = 0; i < count; i++) away[axes[i] < 0 ? axes[i] + rank : axes[i]] = true;
    return reduce(l, node, away, kind);
}

/* ---- rows ---- */

/* Where rows are written: in the order they are read in, unless they are wanted somewhere. */
static int rows_out(omcu_lower_state *l, int value, const omcu_view *x, omcu_view *out)
{
    int order[OM_MAX_RANK];
    if (l->values[value].is_placed) return omcu_out_view(l, value, true, 1, out);
    omcu_view_order(x, order);
    return omcu_new_view(l, l->work, omcu_shape(l, value), order, 1, out);
}

/* All dims but `axis` become the rows' dims, in the order they lie in. */
static int set_rows(omcu_lower_state *l, int node, omcu_step *s, const omcu_view *x, const omcu_view *y,
                    int axis)
{
    omcu_rows *r = &s->u.rows;
    int order[OM_MAX_RANK];
    omcu_view_order(x, order);
    for (int i = 0; i < x->rank; i++) {
        int d = order[i];
        if (d == axis || x->dim[d] == 1) continue;
        if (r->rank == OMCU_DIMS) return omcu_refuse(l, node, "more than %d dimensions", OMCU_DIMS);
        r->dim[r->rank] = (int)x->dim[d];
        r->x_stride[r->rank] = x->stride[d];
        r->y_stride[r->rank++] = y->stride[d];
    }
    r->len = (int)x->dim[axis];
    r->x_step = x->stride[axis];
    r->y_step = y->stride[axis];
    r->x_type = x->type;
    r->y_type = y->type;
    s->in[0] = *x;
    s->out[0] = *y;
    s->n_out = 1;
    return OM_OK;
}

/* Shares times constants, summed: a softmax and the 1x1 convolution to one channel behind it. */
static bool weighs(omcu_lower_state *l, int value, int axis, int64_t channels, int *conv)
{
    const omcu_value *v = &l->values[value];
    if (v->n_users != 1 || l->g->values[value].is_output || axis != 1 || l->how->no_fusion) return false;
    const om_node *n = &l->g->nodes[v->users[0]];
    if (strcmp(n->op, "Conv") != 0 || !omcu_is_const(l, omcu_input(n, 1)) || omcu_input(n, 2) >= 0)
        return false;
    const om_shape *w = omcu_shape(l, n->inputs[1]);
    int64_t pads[8] = {0}, count = om_node_attr_ints(n, "pads", pads, 8);
    for (int i = 0; i < count; i++)
        if (pads[i]) return false;
    *conv = v->users[0];
    const om_shape *in = omcu_shape(l, value), *out = omcu_shape(l, n->outputs[0]);
    if (in->rank != 4 || out->dim[2] != in->dim[2] || out->dim[3] != in->dim[3]) return false;
    return w->rank == 4 && w->dim[0] == 1 && w->dim[1] == channels && w->dim[2] == 1 && w->dim[3] == 1;
}

static int lower_weighed(omcu_lower_state *l, int node, const omcu_view *x, int conv)
{
    int out = l->g->nodes[conv].outputs[0];
    int64_t count;
    omcu_step s = {.kind = OMCU_STEP_SOFTMAX, .n_in = 2, .has_scale = true};
    omcu_view y;
    float *w = omcu_const_floats(l, l->g->nodes[conv].inputs[1], &count);
    if (!w) return OM_ERR_NOMEM;
    int b = omcu_add_const(l->p, w, (size_t)count * sizeof *w);
    om_free(w);
    if (b < 0) return b;
    omcu_step_name(l, node, &s);
    snprintf(s.type, sizeof s.type, "Softmax+Conv");
    int err = omcu_out_view(l, out, true, 1, &y);
    if (!err) err = set_rows(l, node, &s, x, &y, 1);
    if (err) return err;
    s.in[1] = (omcu_view){.buffer = b, .type = OMCU_F32, .rank = 1, .dim = {count}, .stride = {1}};
    l->done[conv] = true;
    err = omcu_add_step(l->p, &s);
    return err < 0 ? err : omcu_written(l, out, &y);
}

int omcu_lower_softmax(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    int value = n->outputs[0], rank = omcu_shape(l, value)->rank, conv;
    bool old = om_graph_opset(l->g, "") < 13;
    int64_t axis = om_node_attr_int(n, "axis", old ? 1 : -1);
    omcu_step s = {.kind = OMCU_STEP_SOFTMAX, .n_in = 1};
    omcu_view x, y, flat_x, flat_y;
    if (axis < 0) axis += rank;
    omcu_step_name(l, node, &s);
    s.u.rows.log = strcmp(n->op, "LogSoftmax") == 0;
    if (!old || axis == rank - 1) {
        int err = omcu_view_of(l, n->inputs[0], &x);
        if (!err && !s.u.rows.log && weighs(l, value, (int)axis, x.dim[axis], &conv))
            return lower_weighed(l, node, &x, conv);
        if (!err) err = rows_out(l, value, &x, &y);
        if (!err) err = set_rows(l, node, &s, &x, &y, (int)axis);
        if (!err) err = omcu_add_step(l->p, &s);
        return err < 0 ? err : omcu_written(l, value, &y);
    }
    /* Before opset 13 all dims from `axis` on are one row. */
    int64_t flat[2] = {1, 1};
    for (int i = 0; i < rank; i++) flat[i >= axis] *= omcu_shape(l, value)->dim[i];
    int err = omcu_dense_view(l, n->inputs[0], &x);
    if (!err) err = omcu_new_view(l, l->work, omcu_shape(l, value), NULL, 1, &y);
    if (!err && (!omcu_view_reshape(&x, 2, flat, &flat_x) || !omcu_view_reshape(&y, 2, flat, &flat_y)))
        err = OM_ERR_INTERNAL;
    if (!err) err = set_rows(l, node, &s, &flat_x, &flat_y, 1);
    if (!err) err = omcu_add_step(l->p, &s);
    return err < 0 ? err : omcu_written(l, value, &y);
}

static int param_view(omcu_lower_state *l, int node, int input, int64_t want, omcu_view *out)
{
    const om_node *n = &l->g->nodes[node];
    int value = omcu_input(n, input);
    if (!omcu_is_const(l, value))
        return omcu_refuse(l, node, "its parameters are computed; expected constants");
    if (om_shape_count(omcu_shape(l, value)) != want)
        return omcu_refuse(l, node, "its parameters are not one a number");
    return omcu_view_of(l, value, out);
}

int omcu_lower_layer_norm(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    int value = n->outputs[0], rank = omcu_shape(l, value)->rank, err;
    int64_t axis = om_node_attr_int(n, "axis", -1), flat[2] = {1, 1};
    omcu_step s = {.kind = OMCU_STEP_LAYER_NORM, .n_in = 1};
    omcu_view x, y, flat_x, flat_y;
    if (axis < 0) axis += rank;
    for (int i = 0; i < rank; i++) flat[i >= axis] *= omcu_shape(l, value)->dim[i];
    omcu_step_name(l, node, &s);
    if (axis == rank - 1) {
        err = omcu_view_of(l, n->inputs[0], &x);
        if (!err) err = rows_out(l, value, &x, &y);
        if (!err) err = set_rows(l, node, &s, &x, &y, rank - 1);
    } else {
        err = omcu_dense_view(l, n->inputs[0], &x);
        if (!err) err = omcu_new_view(l, l->work, omcu_shape(l, value), NULL, 1, &y);
        if (!err && (!omcu_view_reshape(&x, 2, flat, &flat_x) || !omcu_view_reshape(&y, 2, flat, &flat_y)))
            err = OM_ERR_INTERNAL;
        if (!err) err = set_rows(l, node, &s, &flat_x, &flat_y, 1);
    }
    for (int i = 1; i < 3 && !err; i++) {
        if (omcu_input(n, i) < 0) continue;
        err = param_view(l, node, i, flat[1], &s.in[i]);
        s.n_in = i + 1;
        if (i == 1) s.has_scale = true;
        else s.has_bias = true;
    }
    if (err) return err;
    s.u.rows.epsilon = om_node_attr_float(n, "epsilon", 1e-5f);
    err = omcu_add_step(l->p, &s);
    return err < 0 ? err : omcu_written(l, value, &y);
}

/* ---- Resize ---- */

/* The place in the input that output `i` looks at. */
static double source(const char *mode, double scale, int64_t in, int64_t out, int64_t i)
{
    if (strcmp(mode, "asymmetric") == 0) return (double)i / scale;
    if (strcmp(mode, "align_corners") == 0)
        return out > 1 ? (double)i * (double)(in - 1) / ((double)in * scale - 1) : 0;
    if (strcmp(mode, "pytorch_half_pixel") == 0 && out == 1) return 0;
    return ((double)i + 0.5) / scale - 0.5;
}

static double nearest(const char *mode, double x)
{
    if (strcmp(mode, "floor") == 0) return floor(x);
    if (strcmp(mode, "ceil") == 0) return ceil(x);
    if (strcmp(mode, "round_prefer_ceil") == 0) return floor(x + 0.5);
    return ceil(x - 0.5);
}

static int64_t clamp(double v, int64_t n) { return v < 0 ? 0 : v > (double)(n - 1) ? n - 1 : (int64_t)v; }

static int add_table(omcu_lower_state *l, omcu_step *s, int at, const void *data, int64_t n, int type)
{
    int b = omcu_add_const(l->p, data, (size_t)n * 4);
    s->in[at] = (omcu_view){.buffer = b, .type = type, .rank = 1, .dim = {n}, .stride = {1}};
    return b < 0 ? b : OM_OK;
}

/* Tables of one direction: in[at] the two sources of each output, in[at + 2] the second's share. */
static int add_direction(omcu_lower_state *l, omcu_step *s, const om_node *n, int at, double scale,
                         int64_t in, int64_t out)
{
    bool old = strcmp(n->op, "Upsample") == 0,
         linear = strcmp(om_node_attr_string(n, "mode", "nearest"), "linear") == 0;
    const char *place =
        old ? "asymmetric" : om_node_attr_string(n, "coordinate_transformation_mode", "half_pixel");
    const char *round = old ? "floor" : om_node_attr_string(n, "nearest_mode", "round_prefer_floor");
    /* The operator's first version had no modes. */
    if (om_graph_opset(l->g, "") == 10) place = "asymmetric", round = "floor";
    int *from = om_calloc((size_t)out * 2, sizeof *from);
    float *share = om_calloc((size_t)out, sizeof *share);
    int err = from && share ? OM_OK : OM_ERR_NOMEM;
    for (int64_t i = 0; i < out && !err; i++) {
        double x = source(place, scale, in, out, i);
        if (!linear) {
            from[2 * i] = from[2 * i + 1] = (int)clamp(nearest(round, x), in);
            continue;
        }
        x = x < 0 ? 0 : x > (double)(in - 1) ? (double)(in - 1) : x;
        from[2 * i] = (int)floor(x);
        from[2 * i + 1] = (int)clamp(floor(x) + 1, in);
        share[i] = (float)(x - floor(x));
    }
    if (!err) err = add_table(l, s, at, from, out * 2, OMCU_I32);
    if (!err && linear) err = add_table(l, s, at + 2, share, out, OMCU_F32);
    om_free(from);
    om_free(share);
    s->has_scale = linear;
    s->n_in = linear ? 5 : 3;
    return err;
}

static void take_fours(omcu_resize *r)
{
    r->half = false;
    r->vector = true;
    r->c /= 4;
    r->x_n /= 4, r->x_h /= 4, r->x_w /= 4;
    r->y_n /= 4, r->y_h /= 4, r->y_w /= 4;
}

int omcu_lower_resize(omcu_lower_state *l, int node)
{
    const om_node *n = &l->g->nodes[node];
    const om_shape *in = omcu_shape(l, n->inputs[0]), *out = omcu_shape(l, n->outputs[0]);
    const char *mode = om_node_attr_string(n, "mode", "nearest");
    const char *place = om_node_attr_string(n, "coordinate_transformation_mode", "half_pixel");
    double scale[2];
    if (in->rank != 4 || in->dim[0] != out->dim[0] || in->dim[1] != out->dim[1])
        return omcu_refuse(l, node, "it resizes more than height and width");
    if (strcmp(mode, "nearest") != 0 && strcmp(mode, "linear") != 0)
        return omcu_refuse(l, node, "mode %s; expected nearest or linear", mode);
    if (strncmp(place, "tf_", 3) == 0 || strncmp(place, "half_pixel_s", 12) == 0 ||
        om_node_attr_int(n, "antialias", 0))
        return omcu_refuse(l, node, "its coordinates (%s) are not done", place);
    for (int i = 0; i < 2; i++) scale[i] = (double)out->dim[2 + i] / (double)in->dim[2 + i];
    int at = n->n_inputs > 2 ? 2 : 1, value = omcu_input(n, at);
    int64_t count = 0;
    float *given = omcu_is_const(l, value) ? omcu_const_floats(l, value, &count) : NULL;
    if (!given && omcu_is_const(l, value)) return OM_ERR_NOMEM;
    for (int i = 0; i < 2 && given && count == 4; i++) scale[i] = given[2 + i];
    om_free(given);

    omcu_step s = {.kind = OMCU_STEP_RESIZE, .n_out = 1};
    omcu_step_name(l, node, &s);
    /* Integers that only move do so four at once, as if each four were a float. */
    int integers = strcmp(mode, "nearest") == 0 ? integers_in(l, n->inputs[0], &s.in[0]) : 0;
    if (integers > 0) integers = integers_out(l, n->outputs[0], &s.in[0], &s.out[0]);
    if (integers < 0) return integers;
    int err = integers ? OM_OK : omcu_work_view(l, n->inputs[0], &s.in[0]);
    if (!err && !integers) err = omcu_out_view(l, n->outputs[0], false, 1, &s.out[0]);
    for (int i = 0; i < 2 && !err; i++)
        err = add_direction(l, &s, n, 1 + i, scale[i], in->dim[2 + i], out->dim[2 + i]);
    if (err) return err;
    const omcu_view *x = &s.in[0], *y = &s.out[0];
    s.u.resize = (omcu_resize){.n = (int)out->dim[0],
                               .c = (int)out->dim[1],
                               .ho = (int)out->dim[2],
                               .wo = (int)out->dim[3],
                               .x_n = x->stride[0],
                               .x_c = x->stride[1],
                               .x_h = x->stride[2],
                               .x_w = x->stride[3],
                               .y_n = y->stride[0],
                               .y_c = y->stride[1],
                               .y_h = y->stride[2],
                               .y_w = y->stride[3],
                               .half = s.half};
    s.u.resize.vector = is_even(x, s.half ? 8 : 4) && is_even(y, s.half ? 8 : 4);
    if (integers) take_fours(&s.u.resize);
    err = omcu_add_step(l->p, &s);
    return err < 0 ? err : omcu_written(l, n->outputs[0], y);
}
