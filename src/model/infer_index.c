/* Operators that pick elements by position. */
#include <inttypes.h>

#include "base/error.h"
#include "model/infer.h"

/* What Slice says of one axis. */
typedef struct span {
    bool said, known;
    int64_t start, step, count;
} span;

static int64_t clamp(int64_t v, int64_t low, int64_t high) { return v < low ? low : v > high ? high : v; }

/* Elements from `start` to before `end`, both counted from the end where negative, cut to the axis. */
static void make_span(int64_t size, int64_t start, int64_t end, int64_t step, span *out)
{
    out->step = step;
    out->known = false;
    if (size < 0 || start == OM_CALL_UNKNOWN || end == OM_CALL_UNKNOWN) return;
    if (start < 0) start += size;
    /* INT64_MIN + size stays far below zero, which is what the widest reach backwards means. */
    if (end < 0) end += size;
    bool forward = step > 0;
    start = forward ? clamp(start, 0, size) : clamp(start, 0, size - 1);
    end = forward ? clamp(end, 0, size) : clamp(end, -1, size - 1);
    int64_t reach = !size ? 0 : forward ? end - start : start - end;
    uint64_t by = forward ? (uint64_t)step : -(uint64_t)step;
    out->start = start;
    out->count = reach <= 0 ? 0 : (int64_t)(((uint64_t)reach - 1) / by + 1);
    out->known = true;
}

/* A whole dynamic axis stays what it is; the ends that exporters write for "to the end". */
static bool takes_all(int64_t start, int64_t end, int64_t step)
{
    return start == 0 && end >= INT32_MAX && step == 1;
}

static int read_lists(const om_call *c, int rank, int64_t *starts, int64_t *ends, int64_t *axes,
                      int64_t *steps)
{
    int n = om_call_attr_or_input(c, "starts", 1, starts, OM_MAX_RANK);
    int m = om_call_attr_or_input(c, "ends", 2, ends, OM_MAX_RANK);
    int na = om_call_attr_or_input(c, "axes", 3, axes, OM_MAX_RANK);
    int ns = om_call_attr_or_input(c, "steps", 4, steps, OM_MAX_RANK);
    if (n == OM_CALL_ABSENT || m == OM_CALL_ABSENT) return om_call_bad(c, "starts and ends are needed");
    if (n == -1 || m == -1 || na == -1 || ns == -1) return 0;
    if (n != m || (na >= 0 && na != n) || (ns >= 0 && ns != n))
        return om_call_bad(c, "starts, ends, axes and steps of different lengths");
    if (n > rank) return om_call_bad(c, "%d starts for a tensor of rank %d", n, rank);
    for (int i = 0; i < n; i++) {
        if (na < 0) axes[i] = i;
        if (ns < 0) steps[i] = 1;
    }
    return n + 1;
}

/* spans[] of all axes; 1 more than how many lists' items there are, 0: even the axes are unknown. */
static int read_spans(const om_call *c, const om_shape *x, span *spans)
{
    int64_t starts[OM_MAX_RANK], ends[OM_MAX_RANK], axes[OM_MAX_RANK], steps[OM_MAX_RANK];
    for (int i = 0; i < x->rank; i++)
        spans[i] = (span){.known = x->dim[i] >= 0, .step = 1, .count = x->dim[i]};
    int n = read_lists(c, x->rank, starts, ends, axes, steps);
    for (int i = 0; i < n - 1; i++) {
        if (axes[i] == OM_CALL_UNKNOWN) return 0;
        int axis = om_call_axis(c, axes[i], x->rank);
        if (axis < 0) return axis;
        if (steps[i] == 0) return om_call_bad(c, "a step of 0");
        if (takes_all(starts[i], ends[i], steps[i])) continue;
        spans[axis].said = true;
        if (steps[i] == OM_CALL_UNKNOWN) spans[axis].known = false;
        else make_span(x->dim[axis], starts[i], ends[i], steps[i], &spans[axis]);
    }
    return n;
}

int om_infer_slice(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    span spans[OM_MAX_RANK];
    if (!x) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    int n = read_spans(c, x, spans);
    if (n < 0) return n;
    om_shape out = *x;
    for (int i = 0; i < x->rank; i++)
        if (n == 0 || !spans[i].known) out.dim[i] = OM_DIM_DYNAMIC;
        else out.dim[i] = spans[i].count;
    return om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_eval_slice(const om_call *c, const om_part *const *in, om_part **out)
{
    span spans[OM_MAX_RANK];
    if (!in[0] || !out[0] || !out[0]->n) return OM_OK;
    int n = read_spans(c, &in[0]->shape, spans);
    if (n <= 0) return n;
    for (int i = 0; i < in[0]->shape.rank; i++)
        if (!spans[i].known || spans[i].count != out[0]->shape.dim[i]) return OM_OK;
    int64_t at[OM_MAX_RANK] = {0}, k = 0;
    do {
        int64_t from[OM_MAX_RANK];
        for (int i = 0; i < in[0]->shape.rank; i++) from[i] = spans[i].start + at[i] * spans[i].step;
        om_part_take(out[0], k++, in[0], om_flat_index(&in[0]->shape, from));
    } while (om_next_index(&out[0]->shape, at));
    return OM_OK;
}

int om_infer_gather(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0), *idx = om_call_shape(c, 1);
    if (!x || !idx) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    int axis = om_call_axis(c, om_node_attr_int(c->n, "axis", 0), x->rank);
    if (axis < 0) return axis;
    if (x->rank + idx->rank - 1 > OM_MAX_RANK) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    om_shape out = {.rank = 0};
    for (int i = 0; i < axis; i++) out.dim[out.rank++] = x->dim[i];
    for (int i = 0; i < idx->rank; i++) out.dim[out.rank++] = idx->dim[i];
    for (int i = axis + 1; i < x->rank; i++) out.dim[out.rank++] = x->dim[i];
    return om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_eval_gather(const om_call *c, const om_part *const *in, om_part **out)
{
    if (!in[0] || !in[1] || !out[0] || !out[0]->n || !in[0]->shape.rank || om_dtype_is_float(in[1]->dtype))
        return OM_OK;
    const om_shape *x = &in[0]->shape, *idx = &in[1]->shape;
    int axis = om_call_axis(c, om_node_attr_int(c->n, "axis", 0), x->rank);
    int64_t at[OM_MAX_RANK] = {0}, k = 0;
    if (axis < 0) return axis;
    if (out[0]->shape.rank != x->rank + idx->rank - 1) return OM_OK;
    do {
        int64_t which = om_flat_index(idx, at + axis), from[OM_MAX_RANK], pick = in[1]->v[which].i;
        if (in[1]->known[which]) {
            if (pick < 0) pick += x->dim[axis];
            if (pick < 0 || pick >= x->dim[axis])
                return om_call_bad(c, "index %" PRId64 " of %" PRId64, in[1]->v[which].i, x->dim[axis]);
            for (int i = 0; i < x->rank; i++)
                from[i] = i < axis ? at[i] : i == axis ? pick : at[i + idx->rank - 1];
            om_part_take(out[0], k, in[0], om_flat_index(x, from));
        }
        k++;
    } while (om_next_index(&out[0]->shape, at));
    return OM_OK;
}

int om_infer_gather_elements(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0), *idx = om_call_shape(c, 1);
    if (x && idx && x->rank != idx->rank)
        return om_call_bad(c, "indices of rank %d, %d is expected", idx->rank, x->rank);
    return om_call_set(c, 0, om_call_dtype(c, 0), idx);
}

int om_infer_gather_nd(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0), *idx = om_call_shape(c, 1);
    int64_t batch = om_node_attr_int(c->n, "batch_dims", 0);
    if (!x || !idx || !idx->rank || idx->dim[idx->rank - 1] < 0)
        return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    int64_t depth = idx->dim[idx->rank - 1];
    if (batch < 0 || batch >= idx->rank || depth < 1 || depth > x->rank - batch)
        return om_call_bad(c,
                           "indices of %" PRId64 " axes into a tensor of rank %d with %" PRId64 " batch axes",
                           depth, x->rank, batch);
    int rank = idx->rank - 1 + x->rank - (int)batch - (int)depth;
    if (rank > OM_MAX_RANK) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
    om_shape out = {.rank = 0};
    for (int i = 0; i < idx->rank - 1; i++) out.dim[out.rank++] = idx->dim[i];
    for (int i = (int)(batch + depth); i < x->rank; i++) out.dim[out.rank++] = x->dim[i];
    return om_call_set(c, 0, om_call_dtype(c, 0), &out);
}

int om_infer_compress(const om_call *c)
{
    const om_shape *x = om_call_shape(c, 0);
    om_shape out = om_shape_make(1, (int64_t)OM_DIM_DYNAMIC);
    if (om_node_attr(c->n, "axis")) {
        if (!x) return om_call_set(c, 0, om_call_dtype(c, 0), NULL);
        int axis = om_call_axis(c, om_node_attr_int(c->n, "axis", 0), x->rank);
        if (axis < 0) return axis;
        out = *x;
        out.dim[axis] = OM_DIM_DYNAMIC;
    }
    return om_call_set(c, 0, om_call_dtype(c, 0), &out);
}
