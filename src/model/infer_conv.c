/* Operators with windows over spatial axes, and those that scale them. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "model/infer.h"

#define MAX_SPATIAL (OM_MAX_RANK - 2)

typedef struct window {
    int n; /* spatial axes */
    int64_t kernel[MAX_SPATIAL], stride[MAX_SPATIAL], dilation[MAX_SPATIAL];
    int64_t pads[2 * MAX_SPATIAL];
    enum { PAD_SAID, PAD_SAME, PAD_VALID } pad;
    bool ceil;
} window;

/* `kernel` of the weights where the attribute is absent; NULL: the attribute is needed. */
static int read_window(const om_call *c, int spatial, const int64_t *kernel, window *w)
{
    const char *pad = om_node_attr_string(c->n, "auto_pad", "NOTSET");
    *w = (window){.n = spatial};
    if (spatial < 0 || spatial > MAX_SPATIAL)
        return om_call_bad(c, "an input of rank %d, batch, channels and space are expected", spatial + 2);
    w->pad = !strcmp(pad, "VALID") ? PAD_VALID : !strncmp(pad, "SAME", 4) ? PAD_SAME : PAD_SAID;
    w->ceil = om_node_attr_int(c->n, "ceil_mode", 0) != 0;
    if (!kernel && !om_node_attr(c->n, "kernel_shape"))
        return om_call_bad(c, "attribute 'kernel_shape' is missing");
    bool from_weights = kernel && !om_node_attr(c->n, "kernel_shape");
    int err = from_weights ? OM_OK : om_call_sizes(c, "kernel_shape", w->kernel, spatial, 1, 1);
    if (from_weights && spatial) memcpy(w->kernel, kernel, (size_t)spatial * sizeof *kernel);
    if (err >= 0) err = om_call_sizes(c, "strides", w->stride, spatial, 1, 1);
    if (err >= 0) err = om_call_sizes(c, "dilations", w->dilation, spatial, 1, 1);
    if (err >= 0) err = om_call_sizes(c, "pads", w->pads, 2 * spatial, 0, -(int64_t)INT32_MAX);
    for (int i = 0; !from_weights && kernel && i < spatial && err >= 0; i++)
        err = om_call_same(c, "kernel_shape and the weights", w->kernel[i], kernel[i]);
    return err;
}

/* How many windows fit along axis `i` of `size`. */
static int windows(const om_call *c, const window *w, int i, int64_t size, int64_t *out)
{
    *out = OM_DIM_DYNAMIC;
    if (size < 0 || w->kernel[i] < 0) return OM_OK;
    if (w->pad == PAD_SAME) {
        *out = (size + w->stride[i] - 1) / w->stride[i];
        return OM_OK;
    }
    int64_t before = w->pad == PAD_SAID ? w->pads[i] : 0, after = w->pad == PAD_SAID ? w->pads[w->n + i] : 0,
            reach;
    if (__builtin_mul_overflow(w->kernel[i] - 1, w->dilation[i], &reach)) reach = INT64_MAX / 4;
    int64_t room = size + before + after - reach - 1;
    if (room < 0)
        return om_call_bad(c, "a window of %" PRId64 " is larger than its input of %" PRId64 " with padding",
                           reach + 1, size + before + after);
    *out = (w->ceil ? room + w->stride[i] - 1 : room) / w->stride[i] + 1;
    /* A window that would begin in the padding behind the input does not count. */
    if (w->ceil && (*out - 1) * w->stride[i] >= size + before) --*out;
    return OM_OK;
}

static int check_weights(const om_call *c, const om_shape *x, const om_shape *w, const om_shape *bias,
                         int64_t group)
{
    if (x && w && x->rank != w->rank)
        return om_call_bad(c, "an input of rank %d and weights of rank %d", x->rank, w->rank);
    if (w && w->rank < 3) return om_call_bad(c, "weights of rank %d, at least 3 is expected", w->rank);
    if (group < 1 || group > INT32_MAX) return om_call_bad(c, "attribute 'group' is %" PRId64, group);
    if (w && w->dim[0] >= 0 && w->dim[0] % group)
        return om_call_bad(c, "%" PRId64 " filters in %" PRId64 " groups", w->dim[0], group);
    if (bias && bias->rank != 1) return om_call_bad(c, "a bias of rank %d, 1 is expected", bias->rank);
    return OM_OK;
}

static int conv(const om_call *c, int xi, int wi, int bi, om_dtype dtype)
{
    const om_shape *x = om_call_shape(c, xi), *w = om_call_shape(c, wi),
                   *bias = bi < 0 ? NULL : om_call_shape(c, bi);
    int64_t group = om_node_attr_int(c->n, "group", 1), need;
    window win;
    int err = check_weights(c, x, w, bias, group);
    if (err < 0) return err;
    if (!x || !w) return om_call_set(c, 0, dtype, NULL);
    err = om_call_mul(c, w->dim[1], group, &need);
    if (err >= 0 && x->dim[1] >= 0 && need >= 0 && x->dim[1] != need)
        return om_call_bad(c, "an input of %" PRId64 " channels, the weights expect %" PRId64, x->dim[1],
                           need);
    if (err >= 0 && bias) err = om_call_same(c, "filters and biases", w->dim[0], bias->dim[0]);
    if (err >= 0) err = read_window(c, x->rank - 2, w->dim + 2, &win);
    om_shape out = {.rank = x->rank, .dim = {x->dim[0], w->dim[0]}};
    for (int i = 0; i < x->rank - 2 && err >= 0; i++)
        err = windows(c, &win, i, x->dim[2 + i], &out.dim[2 + i]);
    return err < 0 ? err : om_call_set(c, 0, dtype, &out);
}

int om_infer_conv(const om_call *c) { return conv(c, 0, 1, 2, om_call_dtype(c, 0)); }
int om_infer_conv_integer(const om_call *c) { return conv(c, 0, 1, -1, OM_DTYPE_I32); }
int om_infer_qlinear_conv(const om_call *c) { return conv(c, 0, 3, 8, om_call_dtype(c, 7)); }

int om_infer_conv_transpose(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0), *w = om_call_shape(c, 1), *bias = om_call_shape(c, 2);
    int64_t group = om_node_attr_int(c->n, "group", 1), said[MAX_SPATIAL], extra[MAX_SPATIAL];
    window win;
    int err = check_weights(c, x, w, bias, group);
    if (err < 0) return err;
    if (!x || !w) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    int n = x->rank - 2;
    om_shape out = {.rank = x->rank, .dim = {x->dim[0]}};
    err = om_call_same(c, "input channels and the weights' first axis", x->dim[1], w->dim[0]);
    if (err >= 0) err = om_call_mul(c, w->dim[1], group, &out.dim[1]);
    if (err >= 0) err = read_window(c, n, w->dim + 2, &win);
    if (err >= 0) err = om_call_sizes(c, "output_shape", said, n, -1, -1);
    if (err >= 0) err = om_call_sizes(c, "output_padding", extra, n, 0, 0);
    for (int i = 0; i < n && err >= 0; i++) {
        int64_t size = x->dim[2 + i], grown, reach;
        out.dim[2 + i] = said[i];
        if (said[i] >= 0 || size < 0 || win.kernel[i] < 0) continue;
        err = om_call_mul(c, size, win.stride[i], &grown);
        if (err < 0) break;
        if (win.pad == PAD_SAME) {
            out.dim[2 + i] = grown;
            continue;
        }
        if (__builtin_mul_overflow(win.kernel[i] - 1, win.dilation[i], &reach)) reach = INT64_MAX / 4;
        int64_t pads = win.pad == PAD_VALID ? 0 : win.pads[i] + win.pads[n + i];
        out.dim[2 + i] = grown - win.stride[i] + extra[i] + reach + 1 - pads;
        if (out.dim[2 + i] < 1) err = om_call_bad(c, "its output would have no %s", i ? "width" : "height");
    }
    return err < 0 ? err : om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_infer_pool(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    window win;
    if (!x) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    int err = read_window(c, x->rank - 2, NULL, &win);
    if (err < 0) return err;
    om_shape out = *x;
    for (int i = 0; i < win.n && err >= 0; i++) err = windows(c, &win, i, x->dim[2 + i], &out.dim[2 + i]);
    if (err >= 0) err = om_call_set(c, 0, om_call_dtype(c, 0), &out);
    return err < 0 || c->variant != OM_POOL_MAX ? err : om_call_set(c, 1, OM_DTYPE_I64, &out);
}

int om_infer_global_pool(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    if (!x) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    if (x->rank < 2) return om_call_bad(c, "an input of rank %d, batch and channels are expected", x->rank);
    om_shape out = *x;
    for (int i = 2; i < out.rank; i++) out.dim[i] = 1;
    return om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

static int blocks(const om_call *c, const om_shape **x, int64_t *b)
{
    *x = om_call_shape(c, 0);
    *b = om_node_attr_int(c->n, "blocksize", 0);
    if (*b < 1 || *b > 65536) return om_call_bad(c, "attribute 'blocksize' is %" PRId64, *b);
    if (*x && (*x)->rank != 4) return om_call_bad(c, "an input of rank %d, 4 is expected", (*x)->rank);
    return OM_OK;
}

int om_infer_depth_to_space(const om_call *c)
{
    const om_shape *x;
    int64_t b;
    int err = blocks(c, &x, &b);
    if (err < 0 || !x) return err < 0 ? err : om_infer_same(c);
    if (x->dim[1] >= 0 && x->dim[1] % (b * b))
        return om_call_bad(c, "%" PRId64 " channels in blocks of %" PRId64, x->dim[1], b * b);
    om_shape out = {.rank = 4, .dim = {x->dim[0], x->dim[1] < 0 ? OM_DIM_DYNAMIC : x->dim[1] / (b * b)}};
    for (int i = 2; i < 4 && err >= 0; i++) err = om_call_mul(c, x->dim[i], b, &out.dim[i]);
    return err < 0 ? err : om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_infer_space_to_depth(const om_call *c)
{
    const om_shape *x;
    int64_t b;
    int err = blocks(c, &x, &b);
    if (err < 0 || !x) return err < 0 ? err : om_infer_same(c);
    om_shape out = {.rank = 4, .dim = {x->dim[0]}};
    err = om_call_mul(c, x->dim[1], b * b, &out.dim[1]);
    for (int i = 2; i < 4 && err >= 0; i++) {
        if (x->dim[i] >= 0 && x->dim[i] % b)
            return om_call_bad(c, "a size of %" PRId64 " in blocks of %" PRId64, x->dim[i], b);
        out.dim[i] = x->dim[i] < 0 ? OM_DIM_DYNAMIC : x->dim[i] / b;
    }
    return err < 0 ? err : om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

/* The axes that scales or sizes speak of. */
static int resize_axes(const om_call *c, int rank, int *axes)
{
    int64_t said[OM_MAX_RANK];
    int n = om_node_attr_ints(c->n, "axes", said, OM_MAX_RANK);
    for (int i = 0; n < 0 && i < rank; i++) axes[i] = i;
    if (n < 0) return rank;
    if (n > rank) return om_call_bad(c, "%d axes of a tensor of rank %d", n, rank);
    for (int i = 0; i < n; i++) {
        axes[i] = om_call_axis(c, said[i], rank);
        if (axes[i] < 0) return axes[i];
    }
    return n;
}

static int scale_by(const om_call *c, int64_t size, double by, int64_t *out)
{
    double scaled = floor((double)size * by);
    *out = OM_DIM_DYNAMIC;
    if (size < 0) return OM_OK;
    if (!(by > 0) || !(scaled <= (double)OM_DIM_MAX))
        return om_call_bad(c, "a scale of %g for a size of %" PRId64, by, size);
    *out = (int64_t)scaled;
    return OM_OK;
}

/* "not_larger" and "not_smaller" scale all axes by one factor. */
static double common_scale(const om_shape *x, const om_part *sizes, const int *axes, int n, bool larger)
{
    double best = 0;
    for (int i = 0; i < n; i++) {
        if (x->dim[axes[i]] <= 0 || !sizes->known[i]) return -1;
        double by = (double)sizes->v[i].i / (double)x->dim[axes[i]];
        if (i == 0 || (larger ? by > best : by < best)) best = by;
    }
    return best;
}

static int resize_to(const om_call *c, const om_part *sizes, const int *axes, int n, const om_shape *x,
                     om_shape *out)
{
    const char *policy = om_node_attr_string(c->n, "keep_aspect_ratio_policy", "stretch");
    bool stretch = !strcmp(policy, "stretch");
    double by = stretch ? 0 : common_scale(x, sizes, axes, n, !strcmp(policy, "not_smaller"));
    for (int i = 0; i < n; i++) {
        int64_t *d = &out->dim[axes[i]];
        *d = OM_DIM_DYNAMIC;
        if (!stretch && by >= 0) *d = (int64_t)floor((double)x->dim[axes[i]] * by + 0.5);
        else if (stretch && sizes->known[i]) *d = sizes->v[i].i;
        if (*d < OM_DIM_DYNAMIC || *d > OM_DIM_MAX) return om_call_bad(c, "a size of %" PRId64, *d);
    }
    return OM_OK;
}

static int resize_scales(const om_call *c, const om_part *scales, const int *axes, int n, om_shape *out)
{
    int err = OM_OK;
    for (int i = 0; i < n && err >= 0; i++) {
        if (scales->known[i]) err = scale_by(c, out->dim[axes[i]], scales->v[i].f, &out->dim[axes[i]]);
        else out->dim[axes[i]] = OM_DIM_DYNAMIC;
    }
    return err;
}

static int upsample_by_attr(const om_call *c, om_shape *out)
{
    const om_attr *a = om_node_attr(c->n, "scales");
    if (!a || a->type != OM_ATTR_FLOATS || a->n != (size_t)out->rank)
        return om_call_bad(c, "a scale for each of %d axes is expected", out->rank);
    int err = OM_OK;
    for (int i = 0; i < out->rank && err >= 0; i++)
        err = scale_by(c, out->dim[i], (double)a->floats[i], &out->dim[i]);
    return err;
}

/* Resize of opset 10 and Upsample have (X, scales); later ones (X, roi, scales, sizes). */
int om_infer_resize(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    int axes[OM_MAX_RANK], at = c->n->n_inputs == 2 ? 1 : 2, err = OM_OK;
    if (!x) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    om_shape out = *x;
    int n = resize_axes(c, x->rank, axes);
    if (n < 0) return n;
    const om_part *scales = om_call_part(c, at), *sizes = om_call_part(c, 3);
    bool by_sizes = om_call_has(c, 3);
    if (c->n->n_inputs == 1) err = upsample_by_attr(c, &out);
    else if (by_sizes && sizes && sizes->n == n && !om_dtype_is_float(sizes->dtype))
        err = resize_to(c, sizes, axes, n, x, &out);
    else if (!by_sizes && scales && scales->n == n && om_dtype_is_float(scales->dtype))
        err = resize_scales(c, scales, axes, n, &out);
    else if ((by_sizes && sizes) || (!by_sizes && scales && scales->n))
        return om_call_bad(c, "%" PRId64 " sizes or scales for %d axes", by_sizes ? sizes->n : scales->n, n);
    else
        for (int i = 0; i < n; i++) out.dim[axes[i]] = OM_DIM_DYNAMIC;
    return err < 0 ? err : om_call_set(c, 0, om_call_dtype(c, 0), &out);
}
