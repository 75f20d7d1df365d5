/* Operators that arrange elements anew. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "model/infer.h"

/* The one dimension that is left open, from the count of elements. */
static int fill_open(const om_call *c, const om_shape *x, om_shape *out, int open)
{
    char text[OM_SHAPE_TEXT];
    int64_t total = om_shape_count(x), rest = 1;
    om_shape_text(x, text);
    for (int i = 0; i < out->rank; i++) {
        if (i == open) continue;
        if (out->dim[i] < 0) return OM_OK;
        if (__builtin_mul_overflow(rest, out->dim[i], &rest))
            return om_call_bad(c, "a shape of more elements than fit in memory");
    }
    if (total < 0) return OM_OK;
    if (open < 0) {
        if (rest == total) return OM_OK;
        return om_call_bad(c, "%" PRId64 " elements (%s) cannot become %" PRId64, total, text, rest);
    }
    if (rest ? total % rest : total)
        return om_call_bad(c, "%" PRId64 " elements (%s) are no multiple of %" PRId64, total, text, rest);
    out->dim[open] = rest ? total / rest : 0;
    return OM_OK;
}

/* With dynamic dimensions on both sides that are the very same axes, the open one may follow from the others.
 */
static void fill_by_ratio(const om_shape *x, const int *from, om_shape *out, int open)
{
    int64_t have = 1, need = 1;
    bool taken[OM_MAX_RANK] = {false};
    for (int i = 0; i < out->rank; i++) {
        if (i == open) continue;
        if (from[i] >= 0 && x->dim[from[i]] < 0) taken[from[i]] = true;
        else if (out->dim[i] <= 0 || __builtin_mul_overflow(need, out->dim[i], &need)) return;
    }
    for (int i = 0; i < x->rank; i++)
        if (!taken[i] && (x->dim[i] <= 0 || __builtin_mul_overflow(have, x->dim[i], &have))) return;
    if (have % need == 0) out->dim[open] = have / need;
}

int om_infer_reshape(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    const om_part *p = om_call_part(c, 1);
    int64_t said[OM_MAX_RANK];
    bool zero_is_zero = om_node_attr_int(c->n, "allowzero", 0) != 0;
    if (p && p->n > OM_MAX_RANK) return om_call_bad(c, "a shape of %" PRId64 " axes", p->n);
    int n = om_call_attr_or_input(c, "shape", 1, said, OM_MAX_RANK), open = -1, from[OM_MAX_RANK];
    if (n < 0) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    om_shape out = {.rank = n};
    bool guess = false;
    for (int i = 0; i < n; i++) {
        from[i] = -1;
        out.dim[i] = said[i] == OM_CALL_UNKNOWN ? OM_DIM_DYNAMIC : said[i];
        guess = guess || said[i] == OM_CALL_UNKNOWN;
        if (said[i] == 0 && !zero_is_zero) {
            if (x && i >= x->rank)
                return om_call_bad(c, "axis %d is to be kept, but the input's rank is %d", i, x->rank);
            out.dim[i] = x ? x->dim[i] : OM_DIM_DYNAMIC;
            from[i] = i;
        } else if (said[i] == -1 && open >= 0) return om_call_bad(c, "two dimensions of -1");
        else if (said[i] == -1) open = i;
        else if (said[i] < -1 && said[i] != OM_CALL_UNKNOWN)
            return om_call_bad(c, "a dimension of %" PRId64, said[i]);
    }
    int err = x ? fill_open(c, x, &out, open) : OM_OK;
    if (err >= 0 && x && open >= 0 && out.dim[open] < 0 && !guess) fill_by_ratio(x, from, &out, open);
    return err < 0 ? err : om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_infer_flatten(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    if (!x) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    int64_t axis = om_node_attr_int(c->n, "axis", 1);
    if (axis < -x->rank || axis > x->rank)
        return om_call_bad(c, "axis %" PRId64 " of a tensor of rank %d", axis, x->rank);
    if (axis < 0) axis += x->rank;
    om_shape out = om_shape_make(2, (int64_t)1, (int64_t)1);
    int err = OM_OK;
    for (int i = 0; i < x->rank && err >= 0; i++)
        err = om_call_mul(c, out.dim[i >= axis], x->dim[i], &out.dim[i >= axis]);
    return err < 0 ? err : om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_infer_squeeze(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    int64_t axes[OM_MAX_RANK];
    bool gone[OM_MAX_RANK] = {false};
    int n = om_call_attr_or_input(c, "axes", 1, axes, OM_MAX_RANK);
    if (!x || n == -1) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    for (int i = 0; i < n; i++) {
        if (axes[i] == OM_CALL_UNKNOWN) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
        int axis = om_call_axis(c, axes[i], x->rank);
        if (axis < 0) return axis;
        if (x->dim[axis] >= 0 && x->dim[axis] != 1)
            return om_call_bad(c, "axis %d of size %" PRId64 " cannot go", axis, x->dim[axis]);
        gone[axis] = true;
    }
    om_shape out = {.rank = 0};
    for (int i = 0; i < x->rank; i++) {
        if (n == OM_CALL_ABSENT && x->dim[i] < 0) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
        if (!(n == OM_CALL_ABSENT ? x->dim[i] == 1 : gone[i])) out.dim[out.rank++] = x->dim[i];
    }
    return om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_infer_unsqueeze(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    int64_t axes[OM_MAX_RANK];
    bool made[OM_MAX_RANK] = {false};
    int n = om_call_attr_or_input(c, "axes", 1, axes, OM_MAX_RANK);
    if (n == OM_CALL_ABSENT) return om_call_bad(c, "it has no axes");
    if (!x || n < 0) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    om_shape out = {.rank = x->rank + n};
    if (out.rank > OM_MAX_RANK)
        return om_call_bad(c, "an output of rank %d, at most %d is supported", out.rank, OM_MAX_RANK);
    for (int i = 0; i < n; i++) {
        if (axes[i] == OM_CALL_UNKNOWN) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
        int axis = om_call_axis(c, axes[i], out.rank);
        if (axis < 0) return axis;
        if (made[axis]) return om_call_bad(c, "axis %d is given twice", axis);
        made[axis] = true;
    }
    for (int i = 0, k = 0; i < out.rank; i++) out.dim[i] = made[i] ? 1 : x->dim[k++];
    return om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_infer_transpose(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    int64_t perm[OM_MAX_RANK];
    bool seen[OM_MAX_RANK] = {false};
    if (!x) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    int n = om_node_attr_ints(c->n, "perm", perm, OM_MAX_RANK);
    if (n >= 0 && n != x->rank)
        return om_call_bad(c, "'perm' of %d axes for a tensor of rank %d", n, x->rank);
    om_shape out = {.rank = x->rank};
    for (int i = 0; i < x->rank; i++) {
        int axis = n < 0 ? x->rank - 1 - i : om_call_axis(c, perm[i], x->rank);
        if (axis < 0) return axis;
        if (seen[axis]) return om_call_bad(c, "'perm' has axis %d twice", axis);
        seen[axis] = true;
        out.dim[i] = x->dim[axis];
    }
    return om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_infer_expand(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    int64_t said[OM_MAX_RANK];
    int n = om_call_ints(c, 1, said, OM_MAX_RANK);
    if (!x || n < 0) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    om_shape to = {.rank = n}, out;
    for (int i = 0; i < n; i++) {
        if (said[i] < 0 && said[i] != OM_CALL_UNKNOWN)
            return om_call_bad(c, "a dimension of %" PRId64, said[i]);
        to.dim[i] = said[i] == OM_CALL_UNKNOWN ? OM_DIM_DYNAMIC : said[i];
    }
    int err = om_call_broadcast(c, x, &to, &out);
    return err < 0 ? err : om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_infer_tile(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    int64_t times[OM_MAX_RANK];
    if (!x) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    int n = om_call_ints(c, 1, times, OM_MAX_RANK), err = OM_OK;
    if (n >= 0 && n != x->rank) return om_call_bad(c, "%d repeats for a tensor of rank %d", n, x->rank);
    om_shape out = *x;
    for (int i = 0; i < x->rank && err >= 0; i++) {
        if (n < 0 || times[i] == OM_CALL_UNKNOWN) out.dim[i] = OM_DIM_DYNAMIC;
        else if (times[i] < 0) return om_call_bad(c, "a repeat of %" PRId64, times[i]);
        else err = om_call_mul(c, x->dim[i], times[i], &out.dim[i]);
    }
    return err < 0 ? err : om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_infer_pad(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    int64_t pads[2 * OM_MAX_RANK], axes[OM_MAX_RANK];
    if (!x) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    int n = om_call_attr_or_input(c, "pads", 1, pads, 2 * OM_MAX_RANK), k = x->rank;
    bool some = om_call_has(c, 3);
    if (some && (k = om_call_ints(c, 3, axes, OM_MAX_RANK)) < 0) n = -1;
    if (n >= 0 && n != 2 * k) return om_call_bad(c, "%d pads for %d axes", n, k);
    om_shape out = *x;
    for (int i = 0; n < 0 && i < out.rank; i++) out.dim[i] = OM_DIM_DYNAMIC;
    for (int i = 0; n >= 0 && i < k; i++) {
        bool hidden = some && axes[i] == OM_CALL_UNKNOWN;
        int axis = hidden ? 0 : some ? om_call_axis(c, axes[i], x->rank) : i;
        if (axis < 0) return axis;
        if (hidden) {
            for (int a = 0; a < out.rank; a++) out.dim[a] = OM_DIM_DYNAMIC;
            break;
        }
        if (pads[i] == OM_CALL_UNKNOWN || pads[k + i] == OM_CALL_UNKNOWN || x->dim[axis] < 0) {
            out.dim[axis] = OM_DIM_DYNAMIC;
            continue;
        }
        if (pads[i] < -OM_DIM_MAX || pads[i] > OM_DIM_MAX || pads[k + i] < -OM_DIM_MAX ||
            pads[k + i] > OM_DIM_MAX || x->dim[axis] + pads[i] + pads[k + i] < 0)
            return om_call_bad(c, "pads of %" PRId64 " and %" PRId64 " for a size of %" PRId64, pads[i],
                               pads[k + i], x->dim[axis]);
        out.dim[axis] = x->dim[axis] + pads[i] + pads[k + i];
    }
    return om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_infer_concat(const om_call *c)
{
    om_shape out = {.rank = -1};
    om_dtype t = OM_DTYPE_NONE;
    int axis = 0, missing = 0;
    for (int i = 0; i < c->n->n_inputs; i++) {
        const om_shape *x = om_call_shape(c, i);
        if (t == OM_DTYPE_NONE) t = om_call_dtype(c, i);
        if (!x) {
            missing++;
            continue;
        }
        if (out.rank < 0) {
            out = *x;
            axis = om_call_axis(c, om_node_attr_int(c->n, "axis", 1), x->rank);
            if (axis < 0) return axis;
            continue;
        }
        if (x->rank != out.rank) return om_call_bad(c, "inputs of rank %d and %d", out.rank, x->rank);
        for (int k = 0; k < out.rank; k++) {
            if (k == axis) {
                out.dim[k] = out.dim[k] < 0 || x->dim[k] < 0 ? OM_DIM_DYNAMIC : out.dim[k] + x->dim[k];
                continue;
            }
            int err = om_call_same(c, "an axis that is not joined", out.dim[k], x->dim[k]);
            if (err < 0) return err;
            if (out.dim[k] < 0) out.dim[k] = x->dim[k];
        }
        if (out.dim[axis] > OM_DIM_MAX) break;
    }
    if (missing && out.rank >= 0) out.dim[axis] = OM_DIM_DYNAMIC;
    return om_call_set(c, 0, t, &out);
}

/* Sizes by attribute or input, or equal parts with a smaller last one. */
int om_infer_split(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    const om_attr *a = om_node_attr(c->n, "split");
    const om_part *p = om_call_has(c, 1) ? om_call_part(c, 1) : NULL;
    int n = c->n->n_outputs, err = OM_OK;
    om_dtype t = om_call_dtype(c, 0);
    for (int i = 0; !x && i < n && err >= 0; i++) err = om_call_set(c, i, t, NULL);
    if (!x) return err;
    int axis = om_call_axis(c, om_node_attr_int(c->n, "axis", 0), x->rank);
    if (axis < 0) return axis;
    bool said = a || om_call_has(c, 1);
    int64_t have = a && a->type == OM_ATTR_INTS ? (int64_t)a->n : p ? p->n : n, each = 0, sum = 0;
    if (have != n) return om_call_bad(c, "%" PRId64 " sizes for %d outputs", have, n);
    if (x->dim[axis] >= 0) each = (x->dim[axis] + n - 1) / n;
    if (!said && x->dim[axis] >= 0 && c->opset < 18 && x->dim[axis] % n)
        return om_call_bad(c, "a size of %" PRId64 " in %d equal parts", x->dim[axis], n);
    bool all = true;
    for (int i = 0; i < n && err >= 0; i++) {
        om_shape out = *x;
        int64_t left = x->dim[axis] - each * i;
        if (a && a->ints) out.dim[axis] = a->ints[i];
        else if (p) out.dim[axis] = p->known[i] ? p->v[i].i : OM_DIM_DYNAMIC;
        else if (said || x->dim[axis] < 0) out.dim[axis] = OM_DIM_DYNAMIC;
        else out.dim[axis] = left < each ? (left < 0 ? 0 : left) : each;
        bool known = (a && a->ints) || (p && p->known[i]);
        if (known && (out.dim[axis] < 0 || out.dim[axis] > OM_DIM_MAX))
            return om_call_bad(c, "a part of size %" PRId64, out.dim[axis]);
        all = all && known;
        if (known && sum <= OM_DIM_MAX) sum += out.dim[axis];
        err = om_call_set(c, i, t, &out);
    }
    if (err >= 0 && all && said)
        err = om_call_same(c, "the axis and the sum of its parts", x->dim[axis], sum);
    return err;
}
