/* Lines of a width, with round ends and smooth edges. */
#include <math.h>

#include "kernel/draw_paint.h"

#define SOME 64 /* segments of a path painted together */

/* The x that a segment, `reach` thick, has between two heights; false where it has none. */
static bool span_between(const om_segment *s, float top, float bottom, float reach, float *x0, float *x1)
{
    float dx = s->x1 - s->x0, dy = s->y1 - s->y0, from = 0, to = 1;
    top -= reach;
    bottom += reach;
    if (om_max_float(s->y0, s->y1) < top || om_min_float(s->y0, s->y1) > bottom) return false;
    if (dy != 0) {
        float a = (top - s->y0) / dy, b = (bottom - s->y0) / dy;
        from = om_max_float(0, om_min_float(a, b));
        to = om_min_float(1, om_max_float(a, b));
    }
    float a = s->x0 + from * dx, b = s->x0 + to * dx;
    *x0 = om_min_float(a, b) - reach;
    *x1 = om_max_float(a, b) + reach;
    return true;
}

static void cover_stroke(const void *shape, int x, int y, int n, float *cover)
{
    om_kernels_get()->cover_stroke(shape, x, y, n, cover);
}

void om_paint_stroke_in(const om_image *img, const om_paint *paint, const om_stroke *s, int x0, int y0,
                        int x1, int y1)
{
    om_paint_shape(img, paint, x0, y0, x1, y1, cover_stroke, s);
}

/* Into the picture; not a number is the low end. */
static int within(float v, int size) { return v > 0 ? (v < (float)size ? (int)v : size) : 0; }

/* Paints two rows at a time, so that a slanted line costs what it covers and not the box around it. */
void om_paint_stroke(const om_image *img, const om_paint *paint, const om_stroke *s)
{
    float reach = s->radius + 1, top = INFINITY, bottom = -INFINITY;
    for (int i = 0; i < s->n; i++) {
        top = om_min_float(top, om_min_float(s->segments[i].y0, s->segments[i].y1));
        bottom = om_max_float(bottom, om_max_float(s->segments[i].y0, s->segments[i].y1));
    }
    int y1 = within(ceilf(bottom + reach), img->height);
    for (int y = within(top - reach, img->height) & ~1; y < y1; y += 2) {
        float x0 = INFINITY, x1 = -INFINITY, low, high;
        for (int i = 0; i < s->n; i++) {
            if (!span_between(&s->segments[i], (float)y, (float)(y + 2), reach, &low, &high)) continue;
            x0 = om_min_float(x0, low);
            x1 = om_max_float(x1, high);
        }
        if (x1 > x0)
            om_paint_shape(img, paint, within(x0, img->width), y, within(ceilf(x1), img->width), y + 2,
                           cover_stroke, s);
    }
}

static void stroke(const om_image *img, const om_segment *segments, int n, float radius, om_color color)
{
    om_paint paint;
    if (radius > 0 && om_paint_make(img, color, &paint))
        om_paint_stroke(img, &paint, &(om_stroke){segments, n, radius});
}

void om_draw_line(const om_image *img, int x0, int y0, int x1, int y1, int thickness, om_color color)
{
    om_segment s = {(float)x0 + 0.5f, (float)y0 + 0.5f, (float)x1 + 0.5f, (float)y1 + 0.5f};
    stroke(img, &s, 1, (float)thickness / 2, color);
}

void om_draw_disc(const om_image *img, int cx, int cy, int radius, om_color color)
{
    om_segment s = {(float)cx + 0.5f, (float)cy + 0.5f, (float)cx + 0.5f, (float)cy + 0.5f};
    stroke(img, &s, 1, (float)radius, color);
}

/* A place far outside stays there, one that is no number is left out. */
static bool usable(om_point p) { return fabsf(p.x) < OM_DRAW_REACH && fabsf(p.y) < OM_DRAW_REACH; }

void om_draw_path(const om_image *img, const om_point *points, int n, bool closed, int thickness,
                  om_color color)
{
    om_segment some[SOME];
    int used = 0, last = closed && n > 2 ? n : n > 1 ? n - 1 : n;
    for (int i = 0; i < last; i++) {
        om_point a = points[i], b = points[(i + 1) % n];
        if (!usable(a) || !usable(b)) continue;
        some[used++] = (om_segment){a.x + 0.5f, a.y + 0.5f, b.x + 0.5f, b.y + 0.5f};
        if (used < SOME) continue;
        stroke(img, some, used, (float)thickness / 2, color);
        used = 0;
    }
    if (used) stroke(img, some, used, (float)thickness / 2, color);
}
