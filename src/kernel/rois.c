/* Many rectangles of one picture. */
#include <math.h>

#include "base/error.h"
#include "kernel/prep.h"
#include "kernel/variant.h"

/* To whole pixels within 0..size; what is no number to 0. */
static int edge(float v, int size) { return v > 0 ? (v < (float)size ? (int)lrintf(v) : size) : 0; }

/* The pixels that a span from `at`, `length` long, takes of 0..size; at least one of those it touches. */
static bool clip(float at, float length, int size, int *first, int *count)
{
    if (!(length > 0) || !(at < (float)size) || !(at + length > 0)) return false;
    int end = edge(at + length, size);
    *first = edge(at, size);
    if (*first == size) *first = size - 1;
    *count = end > *first ? end - *first : 1;
    return true;
}

static int letterbox_roi(const om_image *src, om_roi *r, om_fit fit, int dst_w, int dst_h, const om_prep *p)
{
    int x, y, w, h;
    r->status = OM_OK;
    if (!clip(r->x, r->w, src->width, &x, &w) || !clip(r->y, r->h, src->height, &y, &h)) {
        r->geometry = (om_geometry){.dst_w = dst_w, .dst_h = dst_h};
        r->status = OM_ERR_ARG;
        om_prep_pad(&r->geometry, p, r->dst);
        return OM_OK;
    }
    om_geometry_fit(fit, w, h, dst_w, dst_h, &r->geometry);
    r->geometry.src_x += x;
    r->geometry.src_y += y;
    return OM_VARIANT(om_letterbox)(src, &r->geometry, p, r->dst);
}

int OM_VARIANT(om_rois)(const om_image *src, om_roi *rois, size_t n, om_fit fit, int dst_w, int dst_h,
                        const om_prep *p)
{
    int err = om_prep_check("rois", src, p);
    if (err < 0) return err;
    if (dst_w < 1 || dst_h < 1)
        return om_fail(OM_ERR_ARG, "rois: a destination of %dx%d has no pixels", dst_w, dst_h);
    for (size_t i = 0; i < n; i++) {
        err = letterbox_roi(src, &rois[i], fit, dst_w, dst_h, p);
        if (err < 0) return err;
    }
    return OM_OK;
}
