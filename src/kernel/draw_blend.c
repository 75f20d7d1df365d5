/* Rows of one colour over what is there, and how much of a row a stroke covers. */
#include <math.h>
#include <string.h>

#include "kernel/draw_paint.h"
#include "kernel/variant.h"

#define FULL 256

void OM_VARIANT(om_blend_row)(uint8_t *p, size_t n, const uint8_t sample[2], int alpha)
{
    size_t i = 0;
    if (alpha >= FULL && sample[0] == sample[1]) {
        memset(p, sample[0], n);
        return;
    }
    unsigned keep = (unsigned)(FULL - alpha), even = sample[0] * (unsigned)alpha + FULL / 2,
             odd = sample[1] * (unsigned)alpha + FULL / 2;
    for (; i + 2 <= n; i += 2) {
        p[i] = (uint8_t)((uint16_t)(p[i] * keep + even) >> 8);
        p[i + 1] = (uint8_t)((uint16_t)(p[i + 1] * keep + odd) >> 8);
    }
    if (i < n) p[i] = (uint8_t)((uint16_t)(p[i] * keep + even) >> 8);
}

void OM_VARIANT(om_blend_cover)(uint8_t *p, size_t n, uint8_t sample, const uint16_t *alpha)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)((uint16_t)(p[i] * (FULL - alpha[i]) + sample * alpha[i] + FULL / 2) >> 8);
}

/* Squared distances of n pixels of a row from a segment, where they are nearer than before. */
static void approach(const om_segment *s, float x, float y, int n, float *restrict nearest)
{
    float dx = s->x1 - s->x0, dy = s->y1 - s->y0, length2 = dx * dx + dy * dy;
    float inverse = length2 > 0 ? 1 / length2 : 0, py = y - s->y0;
    for (int i = 0; i < n; i++) {
        float px = x + (float)i - s->x0, t = (px * dx + py * dy) * inverse;
        t = t < 0 ? 0 : t > 1 ? 1 : t;
        float ex = px - t * dx, ey = py - t * dy, d = ex * ex + ey * ey;
        nearest[i] = d < nearest[i] ? d : nearest[i];
    }
}

void OM_VARIANT(om_cover_stroke)(const om_stroke *s, int x, int y, int n, float *cover)
{
    float at = (float)y + 0.5f, width = (float)n, reach = s->radius + 1;
    for (int i = 0; i < n; i++) cover[i] = INFINITY;
    for (int i = 0; i < s->n; i++) {
        const om_segment *line = &s->segments[i];
        if (om_max_float(line->y0, line->y1) < at - reach || om_min_float(line->y0, line->y1) > at + reach)
            continue;
        float low = om_max_float(om_min_float(line->x0, line->x1) - reach - (float)x, 0),
              high = om_min_float(om_max_float(line->x0, line->x1) + reach + 1 - (float)x, width);
        if (low >= high) continue;
        int first = (int)low, end = (int)high;
        approach(line, (float)(x + first) + 0.5f, at, end - first, cover + first);
    }
    for (int i = 0; i < n; i++) {
        float inside = s->radius + 0.5f - sqrtf(cover[i]);
        cover[i] = inside < 0 ? 0 : inside > 1 ? 1 : inside;
    }
}
