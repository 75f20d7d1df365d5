/* Greedy suppression. The kept boxes lie as columns, so that a candidate is compared with many of them at
 * once. */
#include <string.h>

#include "kernel/variant.h"

#define DIGIT_BITS 11
#define DIGITS (1 << DIGIT_BITS)
#define FEW 48
#define BLOCK 32 /* kept boxes compared before looking whether one suppressed the candidate */

typedef struct entry {
    uint32_t key; /* ascending where the score descends */
    uint32_t index;
} entry;

typedef struct kept {
    float *x0, *y0, *x1, *y1, *area;
    int32_t *cls;
} kept;

/* Floats in an order integers have; not a number comes last, the two zeros are equal. */
static uint32_t descending_key(float score)
{
    uint32_t bits;
    if (!(score == score)) return UINT32_MAX;
    score += 0.0f;
    memcpy(&bits, &score, sizeof(bits));
    return ~(bits & 0x80000000u ? ~bits : bits | 0x80000000u);
}

static void insertion_sort(entry *e, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        entry moved = e[i];
        size_t j = i;
        for (; j > 0 && e[j - 1].key > moved.key; j--) e[j] = e[j - 1];
        e[j] = moved;
    }
}

static void radix_pass(const entry *from, entry *to, size_t n, int shift)
{
    uint32_t start[DIGITS] = {0}, sum = 0;
    for (size_t i = 0; i < n; i++) start[from[i].key >> shift & (DIGITS - 1)]++;
    for (size_t d = 0; d < DIGITS; d++) {
        uint32_t count = start[d];
        start[d] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++) to[start[from[i].key >> shift & (DIGITS - 1)]++] = from[i];
}

/* Both sorts are stable, so equal scores keep the order of their indices. Returns where the sorted ones lie.
 */
static const entry *sort_entries(entry *a, entry *b, size_t n)
{
    if (n <= FEW) {
        insertion_sort(a, n);
        return a;
    }
    radix_pass(a, b, n, 0);
    radix_pass(b, a, n, DIGIT_BITS);
    radix_pass(a, b, n, 2 * DIGIT_BITS);
    return b;
}

static inline float larger(float a, float b) { return a > b ? a : b; }
static inline float smaller(float a, float b) { return a < b ? a : b; }

/* How many of the n kept boxes from k0 on suppress the candidate. */
static int suppressors(const kept *k, size_t k0, size_t n, const float box[4], float area, int32_t cls,
                       float iou)
{
    const float *x0 = k->x0 + k0, *y0 = k->y0 + k0, *x1 = k->x1 + k0, *y1 = k->y1 + k0, *areas = k->area + k0;
    const int32_t *classes = k->cls + k0;
    float bx0 = box[0], by0 = box[1], bx1 = box[2], by1 = box[3];
    int hits = 0;
    for (size_t i = 0; i < n; i++) {
        float w = smaller(x1[i], bx1) - larger(x0[i], bx0);
        float h = smaller(y1[i], by1) - larger(y0[i], by0);
        float inter = larger(w, 0) * larger(h, 0);
        float overlap = inter / (areas[i] + area - inter);
        hits += (overlap > iou) & (classes[i] == cls);
    }
    return hits;
}

static bool suppressed(const kept *k, size_t n, const float box[4], float area, int32_t cls, float iou)
{
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK)
        if (suppressors(k, i, BLOCK, box, area, cls, iou)) return true;
    return suppressors(k, i, n - i, box, area, cls, iou) > 0;
}

size_t OM_VARIANT(om_nms)(const float *boxes, const float *scores, const int32_t *classes, size_t n,
                          float iou, bool agnostic, size_t max_out, uint32_t *keep, void *work)
{
    entry *a = work, *b = a + n;
    float *columns = (float *)(b + n);
    kept k = {columns,         columns + n,     columns + 2 * n,
              columns + 3 * n, columns + 4 * n, (int32_t *)(columns + 5 * n)};
    size_t out = 0;

    for (size_t i = 0; i < n; i++) a[i] = (entry){descending_key(scores[i]), (uint32_t)i};
    const entry *sorted = sort_entries(a, b, n);
    for (size_t i = 0; i < n && out < max_out; i++) {
        const float *box = boxes + 4 * (size_t)sorted[i].index;
        float area = (box[2] - box[0]) * (box[3] - box[1]);
        int32_t cls = agnostic || !classes ? 0 : classes[sorted[i].index];
        if (suppressed(&k, out, box, area, cls, iou)) continue;
        k.x0[out] = box[0];
        k.y0[out] = box[1];
        k.x1[out] = box[2];
        k.y1[out] = box[3];
        k.area[out] = area;
        k.cls[out] = cls;
        keep[out++] = sorted[i].index;
    }
    return out;
}
