/* What is worth a closer look among very many scores. Nearly none is, so that the work is to read them once:
 * groups that have nothing above the threshold cost a compare, the others are gone through again. */
#include <math.h>

#include "kernel/filter_half.h"
#include "kernel/variant.h"

#define GROUP 64
#define CHUNK 16
#define AHEAD 24 /* places to fetch in advance where each lies on a line of its own */

/* Whether any of n, a multiple of CHUNK, is above. Not a number loses against the running largest, since it
 * comes first in the comparison. */
static inline bool any_above(const float *v, int n, float least)
{
#if OM_LANES == 1 /* a form that compilers make short vectors of */
    int any = 0;
    for (int i = 0; i < n; i++) any |= v[i] > least;
    return any;
#else
    om_vec limit = om_vec_set(least), a = limit, b = limit;
    if (n == OM_LANES) return om_vec_greater(om_vec_load(v), limit) != 0;
    for (int i = 0; i < n; i += 2 * OM_LANES) {
        a = om_vec_max(om_vec_load(v + i), a);
        b = om_vec_max(om_vec_load(v + i + OM_LANES), b);
    }
    return om_vec_greater(om_vec_max(a, b), limit) != 0;
#endif
}

static inline void raise_best(const float *v, size_t n, int32_t cls, float *restrict best,
                              int32_t *restrict which)
{
    for (size_t i = 0; i < n; i++) {
        bool better = v[i] > best[i];
        best[i] = better ? v[i] : best[i];
        which[i] = better ? cls : which[i];
    }
}

static inline void raise_halves(const uint16_t *v, size_t n, int32_t cls, float *best, int32_t *which)
{
    float wide[GROUP];
    om_halves_widen(v, n, wide);
    raise_best(wide, n, cls, best, which);
}

/* One group in which something is above: mostly in one chunk alone. */
static void raise_group(const float *v, float least, int32_t cls, float *best, int32_t *which)
{
    uint32_t hits = 0;
    for (int i = 0; i < GROUP / CHUNK; i++) hits |= (uint32_t)any_above(v + i * CHUNK, CHUNK, least) << i;
    for (; hits; hits &= hits - 1) {
        int at = __builtin_ctz(hits) * CHUNK;
        raise_best(v + at, CHUNK, cls, best + at, which + at);
    }
}

static void raise_group_of_halves(const uint16_t *v, int16_t floor, int32_t cls, float *best, int32_t *which)
{
    uint32_t hits = 0;
    for (int i = 0; i < GROUP / CHUNK; i++)
        hits |= (uint32_t)om_halves_above(v + i * CHUNK, CHUNK, floor) << i;
    for (; hits; hits &= hits - 1) {
        int at = __builtin_ctz(hits) * CHUNK;
        raise_halves(v + at, CHUNK, cls, best + at, which + at);
    }
}

/* Draws together what rose above `least`. */
static size_t gather_risen(size_t n, float least, uint32_t *index, float *best, int32_t *which)
{
    size_t out = 0;
    om_vec limit = om_vec_set(least);
    for (size_t from = 0; from < n; from += OM_LANES) {
        uint32_t risen = 0;
        if (from + OM_LANES <= n) risen = om_vec_greater(om_vec_load(best + from), limit);
        else
            for (size_t i = from; i < n; i++) risen |= (uint32_t)(best[i] > least) << (i - from);
        for (; risen; risen &= risen - 1) {
            size_t i = from + (size_t)__builtin_ctz(risen);
            index[out] = (uint32_t)i;
            best[out] = best[i];
            which[out++] = which[i];
        }
    }
    return out;
}

static void columns_f32(const om_scores *s, float least, float *best, int32_t *which)
{
    size_t n = s->places, whole = n - n % GROUP;
    for (size_t c = 0; c < s->classes; c++) {
        const float *v = (const float *)s->data + c * s->class_step;
        for (size_t i = 0; i < whole; i += GROUP)
            if (__builtin_expect(any_above(v + i, GROUP, least), 0))
                raise_group(v + i, least, (int32_t)c, best + i, which + i);
        raise_best(v + whole, n - whole, (int32_t)c, best + whole, which + whole);
    }
}

static void columns_f16(const om_scores *s, float least, float *best, int32_t *which)
{
    size_t n = s->places, whole = n - n % GROUP;
    int16_t floor = om_half_floor(least);
    for (size_t c = 0; c < s->classes; c++) {
        const uint16_t *v = (const uint16_t *)s->data + c * s->class_step;
        for (size_t i = 0; i < whole; i += GROUP)
            if (__builtin_expect(om_halves_above(v + i, GROUP, floor), 0))
                raise_group_of_halves(v + i, floor, (int32_t)c, best + i, which + i);
        raise_halves(v + whole, n - whole, (int32_t)c, best + whole, which + whole);
    }
}

static size_t pick_columns(const om_scores *s, float least, uint32_t *index, float *best, int32_t *which)
{
    for (size_t i = 0; i < s->places; i++) best[i] = least; /* `which` counts where best rose alone */
    if (s->dtype == OM_DTYPE_F32) columns_f32(s, least, best, which);
    else columns_f16(s, least, best, which);
    return gather_risen(s->places, least, index, best, which);
}

/* One score a place, far apart: the lines they lie on come in time if asked for. */
static size_t pick_gates(const om_scores *s, float least, uint32_t *index, float *best, int32_t *which)
{
    size_t out = 0, step = s->place_step;
    for (size_t i = 0; i < s->places; i++) {
        float v;
        if (s->dtype == OM_DTYPE_F32) {
            const float *p = (const float *)s->data + i * step;
            __builtin_prefetch((const char *)p + AHEAD * step * sizeof(float));
            v = *p;
        } else {
            const uint16_t *p = (const uint16_t *)s->data + i * step;
            __builtin_prefetch((const char *)p + AHEAD * step * sizeof(uint16_t));
            v = om_half_widen(*p);
        }
        if (__builtin_expect(!(v > least), 1)) continue;
        index[out] = (uint32_t)i;
        best[out] = v;
        which[out++] = 0;
    }
    return out;
}

static inline bool row_above(const float *v, size_t n, float least)
{
    if (n < OM_LANES) {
        bool any = false;
        for (size_t i = 0; i < n; i++) any |= v[i] > least;
        return any;
    }
    om_vec limit = om_vec_set(least), top = limit;
    for (size_t i = 0; i + OM_LANES <= n; i += OM_LANES) top = om_vec_max(om_vec_load(v + i), top);
    top = om_vec_max(om_vec_load(v + n - OM_LANES), top);
    return om_vec_greater(top, limit) != 0;
}

static inline bool half_row_above(const uint16_t *v, size_t n, int16_t floor)
{
    size_t whole = n - n % 16;
    bool any = om_halves_above(v, whole, floor);
    if (n >= 16) return any || om_halves_above(v + n - 16, 16, floor);
    for (size_t i = 0; i < n; i++) any |= om_half_order(v[i]) > floor;
    return any;
}

/* The first of the largest. */
static int32_t largest_f32(const float *v, size_t n, float *best)
{
    om_vec top = om_vec_set(-INFINITY);
    float lanes[OM_LANES], most = -INFINITY;
    size_t i = 0;
    for (; i + OM_LANES <= n; i += OM_LANES) top = om_vec_max(om_vec_load(v + i), top);
    memcpy(lanes, &top, sizeof lanes);
    for (; i < n; i++) most = v[i] > most ? v[i] : most;
    for (int k = 0; k < OM_LANES; k++) most = lanes[k] > most ? lanes[k] : most;
    *best = most;
    om_vec wanted = om_vec_set(most);
    for (i = 0; i + OM_LANES <= n; i += OM_LANES) {
        uint32_t here = om_vec_equal(om_vec_load(v + i), wanted);
        if (!here) continue;
        i += (size_t)__builtin_ctz(here);
        *best = v[i]; /* of two zeros the first one's sign */
        return most > -INFINITY ? (int32_t)i : 0;
    }
    while (i < n && v[i] != most) i++;
    if (i < n) *best = v[i];
    return i < n && most > -INFINITY ? (int32_t)i : 0;
}

static int32_t largest_f16(const uint16_t *v, size_t n, float *best)
{
    float wide[GROUP], top;
    int32_t which = 0;
    *best = -INFINITY;
    for (size_t i = 0; i < n; i += GROUP) {
        size_t some = n - i < GROUP ? n - i : GROUP;
        om_halves_widen(v + i, some, wide);
        int32_t at = largest_f32(wide, some, &top);
        if (!(top > *best)) continue;
        *best = top;
        which = (int32_t)i + at;
    }
    return which;
}

int32_t OM_VARIANT(om_largest)(const void *v, om_dtype dtype, size_t n, float *best)
{
    return dtype == OM_DTYPE_F32 ? largest_f32(v, n, best) : largest_f16(v, n, best);
}

static size_t pick_rows(const om_scores *s, float least, uint32_t *index, float *best, int32_t *which)
{
    size_t out = 0, n = s->classes;
    int16_t floor = om_half_floor(least);
    for (size_t i = 0; i < s->places; i++) {
        if (s->dtype == OM_DTYPE_F32) {
            const float *v = (const float *)s->data + i * s->place_step;
            if (__builtin_expect(!row_above(v, n, least), 1)) continue;
            which[out] = largest_f32(v, n, &best[out]);
        } else {
            const uint16_t *v = (const uint16_t *)s->data + i * s->place_step;
            if (__builtin_expect(!half_row_above(v, n, floor), 1)) continue;
            which[out] = largest_f16(v, n, &best[out]);
        }
        index[out] = (uint32_t)i;
        out += best[out] > least; /* what looked larger in f16's order may have been no number */
    }
    return out;
}

size_t OM_VARIANT(om_pick)(const om_scores *s, float least, uint32_t *index, float *best, int32_t *which)
{
    if (least != least) return 0;
    if (s->place_step == 1) return pick_columns(s, least, index, best, which);
    if (s->classes == 1) return pick_gates(s, least, index, best, which);
    return pick_rows(s, least, index, best, which);
}

void OM_VARIANT(om_widen)(const uint16_t *v, size_t n, float *out) { om_halves_widen(v, n, out); }
