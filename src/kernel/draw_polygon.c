/* Filled outlines: each row of pixels is cut by a few lines, and what lies inside along them is added up. */
#include <math.h>
#include <string.h>

#include "kernel/draw_paint.h"

#define LINES 4 /* a row of pixels */
#define MOST_CROSSINGS 64

typedef struct polygon {
    const om_point *points;
    int n;
} polygon;

/* Where the outline crosses the height y, from left to right. */
static int crossings(const polygon *p, float y, float x[MOST_CROSSINGS])
{
    int n = 0;
    for (int i = 0; i < p->n; i++) {
        om_point a = p->points[i], b = p->points[(i + 1) % p->n];
        if ((a.y <= y) == (b.y <= y) || n == MOST_CROSSINGS) continue;
        float at = a.x + (y - a.y) * (b.x - a.x) / (b.y - a.y);
        int k = n++;
        for (; k > 0 && x[k - 1] > at; k--) x[k] = x[k - 1];
        x[k] = at;
    }
    return n & ~1;
}

/* Adds `weight` times the part of each pixel between two places; pixels are n wide from 0. */
static void add_span(float from, float to, int n, float weight, float *cover)
{
    from = om_max_float(from, 0);
    to = om_min_float(to, (float)n);
    if (!(from < to)) return;
    int first = (int)from, last = (int)to;
    if (first == last) {
        cover[first] += weight * (to - from);
        return;
    }
    cover[first] += weight * ((float)(first + 1) - from);
    for (int i = first + 1; i < last; i++) cover[i] += weight;
    if (last < n) cover[last] += weight * (to - (float)last);
}

static void cover_polygon(const void *shape, int x, int y, int n, float *cover)
{
    float at[MOST_CROSSINGS];
    memset(cover, 0, (size_t)n * sizeof *cover);
    for (int line = 0; line < LINES; line++) {
        float height = (float)y - 0.5f + ((float)line + 0.5f) / LINES, left = (float)x - 0.5f;
        int found = crossings(shape, height, at);
        for (int i = 0; i < found; i += 2) add_span(at[i] - left, at[i + 1] - left, n, 1.0f / LINES, cover);
    }
}

static int within(float v, int size) { return v > 0 ? (v < (float)size ? (int)v : size) : 0; }

void om_draw_polygon(const om_image *img, const om_point *points, int n, om_color color)
{
    om_paint paint;
    float x0 = INFINITY, y0 = INFINITY, x1 = -INFINITY, y1 = -INFINITY;
    if (n < 3 || !om_paint_make(img, color, &paint)) return;
    for (int i = 0; i < n; i++) {
        om_point p = points[i];
        if (!(fabsf(p.x) < OM_DRAW_REACH && fabsf(p.y) < OM_DRAW_REACH)) return;
        x0 = om_min_float(x0, p.x);
        y0 = om_min_float(y0, p.y);
        x1 = om_max_float(x1, p.x);
        y1 = om_max_float(y1, p.y);
    }
    om_paint_shape(img, &paint, within(x0 - 1, img->width), within(y0 - 1, img->height),
                   within(x1 + 2, img->width), within(y1 + 2, img->height), cover_polygon,
                   &(polygon){points, n});
}
