#include "kernel/axis.h"

/* Most samples of the source that one destination position can touch. */
static int most_taps(om_filter filter, int src, int dst)
{
    if (filter == OM_FILTER_NEAREST) return 1;
    if (filter == OM_FILTER_LINEAR) return 2;
    return src / dst + 2;
}

void om_axis_take(om_axis *a, om_arena *from, om_filter filter, int src, int dst)
{
    a->n = dst;
    a->taps = most_taps(filter, src, dst);
    a->first = om_arena_take(from, (size_t)dst, sizeof(int));
    a->last = om_arena_take(from, (size_t)dst, sizeof(int));
    a->weight =
        om_arena_take(from, (size_t)dst * (filter == OM_FILTER_AREA ? (size_t)a->taps : 1), sizeof(float));
}

/* Position i lies at ((2i + 1) * src - dst) / (2 * dst), kept as whole + rest / (2 * dst). */
static void fill_linear(om_axis *a, int src, int dst)
{
    int64_t unit = 2 * (int64_t)dst, step = 2 * (int64_t)src, at = src - (int64_t)dst;
    int64_t whole = at / unit - (at % unit < 0), rest = at - whole * unit;
    int64_t step_whole = step / unit, step_rest = step % unit;
    float inverse = 1.0f / (float)unit;
    bool exact = true;
    for (int i = 0; i < dst; i++) {
        bool inside = whole >= 0 && whole < src - 1;
        a->first[i] = whole < 0 ? 0 : whole < src - 1 ? (int)whole : src - 1;
        a->weight[i] = inside ? (float)rest * inverse : 0;
        a->last[i] = a->first[i] + (a->weight[i] > 0);
        exact = exact && a->weight[i] == 0;
        whole += step_whole;
        rest += step_rest;
        if (rest >= unit) {
            rest -= unit;
            whole++;
        }
    }
    a->taps = exact ? 1 : 2;
}

static void fill_nearest(om_axis *a, int src, int dst)
{
    for (int i = 0; i < dst; i++) a->first[i] = a->last[i] = (int)((int64_t)i * src / dst);
}

/* Destination position i covers i*src to (i+1)*src in units of which a source sample is `dst` long. */
static void fill_area(om_axis *a, int src, int dst)
{
    int most = 1;
    for (int i = 0; i < dst; i++) {
        int64_t from = (int64_t)i * src, to = from + src;
        a->first[i] = (int)(from / dst);
        a->last[i] = (int)((to - 1) / dst);
        if (a->last[i] - a->first[i] >= most) most = a->last[i] - a->first[i] + 1;
    }
    a->taps = most;
    for (int i = 0; i < dst; i++) {
        int64_t from = (int64_t)i * src, to = from + src;
        for (int k = a->first[i]; k <= a->last[i]; k++) {
            int64_t left = (int64_t)k * dst, right = left + dst;
            int64_t covered = (right < to ? right : to) - (left > from ? left : from);
            a->weight[(size_t)i * (size_t)most + (size_t)(k - a->first[i])] = (float)covered / (float)src;
        }
    }
}

void om_axis_fill(om_axis *a, om_filter filter, int src, int dst)
{
    if (filter == OM_FILTER_LINEAR) fill_linear(a, src, dst);
    else if (filter == OM_FILTER_NEAREST) fill_nearest(a, src, dst);
    else fill_area(a, src, dst);
}

float om_axis_share(const om_axis *a, om_filter filter, int i, int k)
{
    if (filter == OM_FILTER_AREA) return a->weight[(size_t)i * (size_t)a->taps + (size_t)k];
    if (filter == OM_FILTER_NEAREST || a->taps == 1) return 1;
    return k ? a->weight[i] : 1 - a->weight[i];
}
