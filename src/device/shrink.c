#include "device/shrink.h"

#include <string.h>

/* The part of a side that a new sample covers: whole samples from `first` to `last`, but for what of these
 * two lies outside. */
typedef struct extent {
    int first, last;
    float head, tail; /* weights of the two */
    float inverse;    /* of the sum of all weights */
} extent;

static extent extent_of(int i, int n, int size)
{
    double from = (double)i * size / n, to = (double)(i + 1) * size / n;
    extent e = {.first = (int)from, .last = (int)to};
    if (e.last >= size || (double)e.last == to) e.last--;
    if (e.last < e.first) e.last = e.first;
    e.head = (float)((e.first == e.last ? to : e.first + 1) - from);
    e.tail = (float)(to - e.last);
    e.inverse = (float)(1 / (to - from));
    return e;
}

static float weight_at(const extent *e, int i)
{
    return i == e->first ? e->head : i == e->last ? e->tail : 1;
}

static void add_bytes(const uint8_t *row, int n, int step, float weight, float *restrict sum)
{
    if (step == 1) {
        for (int x = 0; x < n; x++) sum[x] += weight * (float)row[x];
        return;
    }
    for (int x = 0; x < n; x++) sum[x] += weight * (float)row[x * step];
}

static void add_words(const uint16_t *row, int n, int step, float weight, float *restrict sum)
{
    for (int x = 0; x < n; x++) sum[x] += weight * (float)row[x * step];
}

static float mean_of(const float *sum, const extent *e)
{
    float total = sum[e->first] * e->head;
    for (int x = e->first + 1; x < e->last; x++) total += sum[x];
    if (e->last > e->first) total += sum[e->last] * e->tail;
    return total * e->inverse;
}

void om_samples_shrink(const om_samples *s, int width, int height, float *work, float *out)
{
    for (int y = 0; y < height; y++) {
        extent rows = extent_of(y, height, s->height);
        memset(work, 0, (size_t)s->width * sizeof *work);
        for (int i = rows.first; i <= rows.last; i++) {
            const uint8_t *row = s->data + i * s->stride;
            float weight = weight_at(&rows, i) * rows.inverse;
            if (s->bytes == 1) add_bytes(row, s->width, s->channels, weight, work);
            else add_words((const uint16_t *)(const void *)row, s->width, s->channels, weight, work);
        }
        for (int x = 0; x < width; x++) {
            extent columns = extent_of(x, width, s->width);
            out[(size_t)y * (size_t)width + (size_t)x] = mean_of(work, &columns);
        }
    }
}
