/* Greedy suppression. A candidate is compared with the kept boxes of its own class alone; those lie as
 * columns, so that many are compared at once. */
#include <string.h>

#include "kernel/nms_work.h"
#include "kernel/variant.h"
#include "kernel/vec.h"

#define MAX_DIGITS 2048
#define FEW 48
#define MANY 2500

typedef struct kept {
    float *x0, *y0, *x1, *y1, *area;
} kept;

/* A class's kept boxes are columns [start, start + n). */
typedef struct bucket {
    uint32_t start, n;
} bucket;

typedef struct buckets {
    om_nms_class *table;
    size_t mask;
    bucket *items;
    uint32_t *of; /* each candidate's */
    int32_t n;
} buckets;

/* Floats in an order integers have; not a number comes last, the two zeros are equal. */
static uint32_t descending_key(float score)
{
    uint32_t bits;
    if (!(score == score)) return UINT32_MAX;
    score += 0.0f;
    memcpy(&bits, &score, sizeof(bits));
    return ~(bits & 0x80000000u ? ~bits : bits | 0x80000000u);
}

static void insertion_sort(om_nms_entry *e, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        om_nms_entry moved = e[i];
        size_t j = i;
        for (; j > 0 && e[j - 1].key > moved.key; j--) e[j] = e[j - 1];
        e[j] = moved;
    }
}

static void radix_pass(const om_nms_entry *from, om_nms_entry *to, size_t n, uint32_t least, int shift,
                       int bits)
{
    uint32_t start[MAX_DIGITS], sum = 0, digits = 1u << bits;
    memset(start, 0, digits * sizeof *start);
    for (size_t i = 0; i < n; i++) start[(from[i].key - least) >> shift & (digits - 1)]++;
    for (size_t d = 0; d < digits; d++) {
        uint32_t count = start[d];
        start[d] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++) to[start[(from[i].key - least) >> shift & (digits - 1)]++] = from[i];
}

/* All sorts are stable, so equal scores keep the order of their indices. Returns where the sorted ones lie.
 */
static const om_nms_entry *sort_entries(om_nms_entry *a, om_nms_entry *b, size_t n)
{
    uint32_t least = UINT32_MAX, most = 0;
    if (n <= FEW) {
        insertion_sort(a, n);
        return a;
    }
    for (size_t i = 0; i < n; i++) {
        least = a[i].key < least ? a[i].key : least;
        most = a[i].key > most ? a[i].key : most;
    }
    /* The counts of small digits are soon summed up. */
    int bits = most > least ? 32 - __builtin_clz(most - least) : 0, digit = n < MANY ? 8 : 11;
    for (int shift = 0; shift < bits; shift += digit) {
        radix_pass(a, b, n, least, shift, digit);
        om_nms_entry *sorted = b;
        b = a;
        a = sorted;
    }
    return a;
}

static uint32_t bucket_of(buckets *b, int32_t cls)
{
    size_t at = ((uint32_t)cls * 2654435769u >> 7) & b->mask;
    while (b->table[at].bucket >= 0 && b->table[at].cls != cls) at = (at + 1) & b->mask;
    if (b->table[at].bucket < 0) {
        b->table[at] = (om_nms_class){cls, b->n};
        b->items[b->n++] = (bucket){0, 0};
    }
    return (uint32_t)b->table[at].bucket;
}

/* Gives each class as many columns as it has candidates. */
static void fill_buckets(buckets *b, const int32_t *classes, size_t n)
{
    uint32_t start = 0;
    if (!classes) { /* one for all */
        b->items[0] = (bucket){0, 0};
        memset(b->of, 0, n * sizeof *b->of);
        return;
    }
    memset(b->table, -1, (b->mask + 1) * sizeof *b->table);
    for (size_t i = 0; i < n; i++) b->items[b->of[i] = bucket_of(b, classes[i])].n++;
    for (int32_t i = 0; i < b->n; i++) {
        uint32_t count = b->items[i].n;
        b->items[i] = (bucket){start, 0};
        start += count;
    }
}

/* Whether a kept box of the bucket overlaps the box by more than `iou`, which decides their quotient. Most
 * pairs need none: what does not meet overlaps by nothing, and rounding keeps order, so that where
 * inter < iou * both the quotient is no larger than iou. For an iou below zero neither holds. */
static bool suppressed(const kept *k, bucket in, const float box[4], float area, float iou)
{
    om_vec x0 = om_vec_set(box[0]), y0 = om_vec_set(box[1]), x1 = om_vec_set(box[2]), y1 = om_vec_set(box[3]);
    om_vec own = om_vec_set(area), most = om_vec_set(iou), zero = om_vec_set(0);
    bool lazy = iou >= 0;
    for (uint32_t at = in.start, end = in.start + in.n; at < end; at += OM_LANES) {
        om_vec w = om_vec_min(om_vec_load(k->x1 + at), x1) - om_vec_max(om_vec_load(k->x0 + at), x0);
        om_vec h = om_vec_min(om_vec_load(k->y1 + at), y1) - om_vec_max(om_vec_load(k->y0 + at), y0);
        if (lazy && !om_vec_greater(om_vec_min(w, h), zero)) continue;
        om_vec inter = om_vec_max(w, zero) * om_vec_max(h, zero);
        om_vec both = om_vec_load(k->area + at) + own - inter;
        uint32_t valid = end - at < OM_LANES ? (1u << (end - at)) - 1 : UINT32_MAX;
        if (lazy && !(om_vec_not_less(inter, most * both) & valid)) continue;
        if (om_vec_greater(inter / both, most) & valid) return true;
    }
    return false;
}

size_t OM_VARIANT(om_nms)(const float *boxes, const float *scores, const int32_t *classes, size_t n,
                          float iou, bool agnostic, size_t max_out, uint32_t *keep, void *work)
{
    size_t column = n + OM_NMS_SLACK, out = 0;
    om_nms_entry *a = work, *b = a + n;
    buckets by_class = {.table = (om_nms_class *)(b + n), .mask = om_nms_table_size(n) - 1};
    by_class.items = (bucket *)(by_class.table + by_class.mask + 1);
    by_class.of = (uint32_t *)(by_class.items + n);
    float *columns = (float *)(by_class.of + n);
    kept k = {columns, columns + column, columns + 2 * column, columns + 3 * column, columns + 4 * column};
    if (n == 0) return 0;

    fill_buckets(&by_class, agnostic ? NULL : classes, n);
    for (size_t i = 0; i < n; i++) a[i] = (om_nms_entry){descending_key(scores[i]), (uint32_t)i};
    const om_nms_entry *sorted = sort_entries(a, b, n);
    for (size_t i = 0; i < n && out < max_out; i++) {
        uint32_t index = sorted[i].index;
        const float *box = boxes + 4 * (size_t)index;
        float area = (box[2] - box[0]) * (box[3] - box[1]);
        bucket *in = &by_class.items[by_class.of[index]];
        if (suppressed(&k, *in, box, area, iou)) continue;
        uint32_t at = in->start + in->n++;
        k.x0[at] = box[0];
        k.y0[at] = box[1];
        k.x1[at] = box[2];
        k.y1[at] = box[3];
        k.area[at] = area;
        keep[out++] = index;
    }
    return out;
}
