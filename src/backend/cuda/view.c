/* Views: reshapes, slices and turns that move no memory. */
#include <string.h>

#include "backend/cuda/engine.h"

size_t omcu_type_size(int type)
{
    switch (type) {
    case OMCU_F16: return 2;
    case OMCU_U8:
    case OMCU_I8: return 1;
    case OMCU_I64: return 8;
    default: return 4;
    }
}

int omcu_type_of(om_dtype t)
{
    switch (t) {
    case OM_DTYPE_F32: return OMCU_F32;
    case OM_DTYPE_F16: return OMCU_F16;
    case OM_DTYPE_U8: return OMCU_U8;
    case OM_DTYPE_I8: return OMCU_I8;
    case OM_DTYPE_I32: return OMCU_I32;
    case OM_DTYPE_I64: return OMCU_I64;
    default: return -1;
    }
}

int64_t omcu_view_count(const omcu_view *v)
{
    int64_t n = 1;
    for (int i = 0; i < v->rank; i++) n *= v->dim[i];
    return n;
}

omcu_view omcu_view_dense(int type, const om_shape *shape, const int *order, int pad, size_t *bytes)
{
    omcu_view v = {.buffer = -1, .type = type, .rank = shape->rank};
    int64_t step = 1;
    for (int i = 0; i < v.rank; i++) v.dim[i] = shape->dim[i];
    for (int i = v.rank - 1; i >= 0; i--) {
        int d = order ? order[i] : i;
        v.stride[d] = step;
        step *= i == v.rank - 1 ? (v.dim[d] + pad - 1) / pad * pad : v.dim[d];
    }
    *bytes = (size_t)step * omcu_type_size(type);
    return v;
}

bool omcu_view_reshape(const omcu_view *v, int rank, const int64_t *dim, omcu_view *out)
{
    int64_t old_dim[OM_MAX_RANK], old_stride[OM_MAX_RANK];
    int n_old = 0;
    omcu_view r = {.buffer = v->buffer, .type = v->type, .rank = rank, .offset = v->offset, .grid = v->grid};
    for (int i = 0; i < rank; i++) r.dim[i] = dim[i];
    for (int i = 0; i < v->rank; i++)
        if (v->dim[i] != 1) {
            old_dim[n_old] = v->dim[i];
            old_stride[n_old++] = v->stride[i];
        }
    int from = 0, to = 0;
    while (from < n_old && to < rank) {
        int from_end = from + 1, to_end = to + 1;
        int64_t a = old_dim[from], b = dim[to];
        while (a != b) {
            if (b < a) {
                if (to_end == rank) return false;
                b *= dim[to_end++];
            } else {
                if (from_end == n_old) return false;
                a *= old_dim[from_end++];
            }
        }
        for (int i = from; i + 1 < from_end; i++)
            if (old_stride[i] != old_dim[i + 1] * old_stride[i + 1]) return false;
        int64_t step = old_stride[from_end - 1];
        for (int i = to_end - 1; i >= to; i--) {
            r.stride[i] = step;
            step *= dim[i];
        }
        from = from_end;
        to = to_end;
    }
    int64_t step = to > 0 ? r.stride[to - 1] : 1;
    for (int i = to; i < rank; i++) {
        if (dim[i] != 1) return false;
        r.stride[i] = step;
    }
    if (from < n_old) return false;
    *out = r;
    return true;
}

omcu_view omcu_view_slice(const omcu_view *v, int axis, int64_t first, int64_t count, int64_t step)
{
    omcu_view r = *v;
    r.offset += first * v->stride[axis];
    r.dim[axis] = count;
    r.stride[axis] = v->stride[axis] * step;
    return r;
}

omcu_view omcu_view_permute(const omcu_view *v, const int *perm)
{
    omcu_view r = *v;
    for (int i = 0; i < v->rank; i++) {
        r.dim[i] = v->dim[perm[i]];
        r.stride[i] = v->stride[perm[i]];
    }
    return r;
}

bool omcu_view_expand(const omcu_view *v, int rank, const int64_t *dim, omcu_view *out)
{
    omcu_view r = {.buffer = v->buffer, .type = v->type, .rank = rank, .offset = v->offset, .grid = v->grid};
    if (v->rank > rank) return false;
    for (int i = 0; i < rank; i++) {
        int at = i - (rank - v->rank);
        bool given = at >= 0 && v->dim[at] != 1;
        if (given && v->dim[at] != dim[i]) return false;
        r.dim[i] = dim[i];
        r.stride[i] = given ? v->stride[at] : 0;
    }
    *out = r;
    return true;
}

bool omcu_view_same(const omcu_view *a, const omcu_view *b)
{
    if (a->buffer != b->buffer || a->offset != b->offset || a->rank != b->rank || a->type != b->type)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i] || (a->dim[i] != 1 && a->stride[i] != b->stride[i])) return false;
    return true;
}

void omcu_view_order(const omcu_view *v, int order[OM_MAX_RANK])
{
    for (int i = 0; i < v->rank; i++) order[i] = i;
    for (int i = 1; i < v->rank; i++)
        for (int k = i; k > 0 && v->stride[order[k]] > v->stride[order[k - 1]] && v->dim[order[k]] != 1;
             k--) {
            int t = order[k];
            order[k] = order[k - 1];
            order[k - 1] = t;
        }
}
