#include <math.h>

#include "base/error.h"
#include "kernel/kernel.h"

static int at_least_one(double v) { return v < 1 ? 1 : (int)v; }
static double min2(double a, double b) { return a < b ? a : b; }

void om_geometry_fit(om_fit fit, int src_w, int src_h, int dst_w, int dst_h, om_geometry *out)
{
    *out = (om_geometry){
        .src_w = src_w, .src_h = src_h, .dst_w = dst_w, .dst_h = dst_h, .inner_w = dst_w, .inner_h = dst_h};
    double by_width = (double)dst_w / src_w, by_height = (double)dst_h / src_h;
    if (fit == OM_FIT_LETTERBOX || fit == OM_FIT_CORNER) {
        /* rint, not round: the rule was written in a language that rounds halves to even. */
        double scale = min2(by_width, by_height);
        out->inner_w = at_least_one(min2(rint(src_w * scale), dst_w));
        out->inner_h = at_least_one(min2(rint(src_h * scale), dst_h));
        if (fit == OM_FIT_CORNER) return;
        out->pad_x = (int)rint((dst_w - out->inner_w) / 2.0 - 0.1);
        out->pad_y = (int)rint((dst_h - out->inner_h) / 2.0 - 0.1);
    } else if (fit == OM_FIT_CROP) {
        double scale = by_width > by_height ? by_width : by_height;
        out->src_w = at_least_one(min2(rint(dst_w / scale), src_w));
        out->src_h = at_least_one(min2(rint(dst_h / scale), src_h));
        out->src_x = (src_w - out->src_w) / 2;
        out->src_y = (src_h - out->src_h) / 2;
    }
}

void om_geometry_unmap(const om_geometry *g, float x, float y, float *src_x, float *src_y)
{
    *src_x = (float)((x - g->pad_x) * ((double)g->src_w / g->inner_w) + g->src_x);
    *src_y = (float)((y - g->pad_y) * ((double)g->src_h / g->inner_h) + g->src_y);
}

/* Not a number becomes the low end, so that no caller needs to look for it. */
static float clip(float v, int low, int size)
{
    float high = (float)(low + size);
    return v > (float)low ? (v < high ? v : high) : (float)low;
}

void om_geometry_unmap_box(const om_geometry *g, float *x, float *y, float *w, float *h)
{
    float x0, y0, x1, y1;
    om_geometry_unmap(g, *x, *y, &x0, &y0);
    om_geometry_unmap(g, *x + *w, *y + *h, &x1, &y1);
    *x = clip(x0, g->src_x, g->src_w);
    *y = clip(y0, g->src_y, g->src_h);
    *w = clip(x1, g->src_x, g->src_w) - *x;
    *h = clip(y1, g->src_y, g->src_h) - *y;
}

int om_geometry_add_box(const om_geometry *g, const float corners[4], float score, int32_t class_id,
                        om_dets *dets, om_detection **out)
{
    float x = corners[0], y = corners[1], w = corners[2] - corners[0], h = corners[3] - corners[1];
    *out = NULL;
    om_geometry_unmap_box(g, &x, &y, &w, &h);
    if (!(w > 0 && h > 0) || !isfinite(x) || !isfinite(y) || !isfinite(w) || !isfinite(h)) return OM_OK;
    om_detection *d = om_dets_add(dets);
    if (!d) return om_fail_nomem("detections");
    d->x = x;
    d->y = y;
    d->w = w;
    d->h = h;
    d->score = score;
    d->class_id = class_id;
    *out = d;
    return OM_OK;
}
