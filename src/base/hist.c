#include "base/hist.h"

#include <math.h>
#include <stddef.h>

/* 32 buckets to each power of two: values under 32 ns are exact, the middle of any other bucket is within
 * 1/64 of what fell into it, and 1280 buckets end at 2^44 ns (4.9 hours). */
#define SUB_BITS 5
#define SUB (1 << SUB_BITS)

static size_t bucket_of(uint64_t v)
{
    if (v < SUB) return (size_t)v;
    unsigned top = 63u - (unsigned)__builtin_clzll(v);
    size_t i = (size_t)(top - SUB_BITS + 1) * SUB + ((v >> (top - SUB_BITS)) & (SUB - 1));
    return i < OM_HIST_BUCKETS ? i : OM_HIST_BUCKETS - 1;
}

static int64_t middle_of(size_t i)
{
    if (i < SUB) return (int64_t)i;
    unsigned shift = (unsigned)(i / SUB) - 1;
    int64_t low = (int64_t)(SUB + i % SUB) << shift;
    return low + ((1LL << shift) >> 1);
}

static void bucket_raise(uint32_t *bucket, uint32_t n)
{
    if (__builtin_add_overflow(*bucket, n, bucket)) *bucket = UINT32_MAX;
}

void om_hist_add(om_hist *h, int64_t ns)
{
    if (ns < 0) ns = 0;
    if (h->count == 0 || ns < h->min_ns) h->min_ns = ns;
    if (ns > h->max_ns) h->max_ns = ns;
    h->count++;
    h->sum_ns += ns;
    bucket_raise(&h->bucket[bucket_of((uint64_t)ns)], 1);
}

void om_hist_merge(om_hist *into, const om_hist *from)
{
    if (from->count == 0) return;
    if (into->count == 0 || from->min_ns < into->min_ns) into->min_ns = from->min_ns;
    if (from->max_ns > into->max_ns) into->max_ns = from->max_ns;
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    for (size_t i = 0; i < OM_HIST_BUCKETS; i++) bucket_raise(&into->bucket[i], from->bucket[i]);
}

int64_t om_hist_quantile(const om_hist *h, double q)
{
    if (h->count == 0) return 0;
    if (!(q > 0)) return h->min_ns;
    if (q >= 1) return h->max_ns;
    double want = ceil(q * (double)h->count);
    uint64_t rank = want < 1 ? 1 : (uint64_t)want, seen = 0;
    for (size_t i = 0; i < OM_HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen < rank) continue;
        int64_t v = middle_of(i);
        return v < h->min_ns ? h->min_ns : v > h->max_ns ? h->max_ns : v;
    }
    return h->max_ns;
}

uint64_t om_hist_below(const om_hist *h, int64_t ns)
{
    uint64_t n = 0;
    for (size_t i = 0; i < OM_HIST_BUCKETS && middle_of(i) < ns; i++) n += h->bucket[i];
    return n;
}

double om_hist_mean(const om_hist *h) { return h->count ? (double)h->sum_ns / (double)h->count : 0; }

void om_hist_since(const om_hist *now, const om_hist *then, om_hist *out)
{
    *out = *now;
    out->count -= then->count;
    out->sum_ns -= then->sum_ns;
    for (size_t i = 0; i < OM_HIST_BUCKETS; i++) out->bucket[i] -= then->bucket[i];
    /* The extremes known are of the whole time: these are the outermost buckets'. */
    out->min_ns = 0;
    out->max_ns = INT64_MAX;
    out->min_ns = out->count ? om_hist_quantile(out, 1e-12) : 0;
    out->max_ns = out->count ? om_hist_quantile(out, 1 - 1e-12) : 0;
}
