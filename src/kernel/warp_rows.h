/* Where the pixels of a straightened row lie in the source; shared by the warps, compiled for each variant.
 */
#ifndef OM_KERNEL_WARP_ROWS_H
#define OM_KERNEL_WARP_ROWS_H

#include <math.h>

#include "kernel/arena.h"
#include "kernel/kernel.h"
#include "kernel/quad.h"

typedef struct om_warp_row {
    int *x0, *y0, *x1, *y1; /* the samples around each pixel, inside the picture */
    float *part_x, *part_y; /* how far from the first to the second, 0 to below 1 */
} om_warp_row;

static inline void om_warp_row_take(om_warp_row *r, om_arena *a, int width)
{
    int **const ints[] = {&r->x0, &r->y0, &r->x1, &r->y1};
    for (int i = 0; i < 4; i++) *ints[i] = (int *)om_arena_take(a, (size_t)width, sizeof(int));
    r->part_x = (float *)om_arena_take(a, (size_t)width, sizeof(float));
    r->part_y = (float *)om_arena_take(a, (size_t)width, sizeof(float));
}

/* Beyond these the edges go on, so nothing is lost; the comparisons take what is no number to the low one. */
static inline double om_warp_keep(double v, double high)
{
    v = v > 0 ? v : 0;
    return v < high ? v : high;
}

static inline void om_warp_row_fill(om_warp_row *r, const om_perspective *p, const om_image *src,
                                    om_filter filter, int row, int n)
{
    const double *m = p->m;
    double bx = m[1] * row + m[2], by = m[4] * row + m[5], bw = m[7] * row + 1;
    double right = src->width - 1, bottom = src->height - 1, nearest = filter == OM_FILTER_NEAREST ? 0.5 : 0;
    for (int i = 0; i < n; i++) {
        double inverse = 1 / (m[6] * i + bw);
        double x = om_warp_keep((m[0] * i + bx) * inverse + nearest, right);
        double y = om_warp_keep((m[3] * i + by) * inverse + nearest, bottom);
        r->x0[i] = (int)x;
        r->y0[i] = (int)y;
        r->part_x[i] = (float)(x - r->x0[i]);
        r->part_y[i] = (float)(y - r->y0[i]);
    }
    if (filter == OM_FILTER_NEAREST)
        for (int i = 0; i < n; i++) r->part_x[i] = r->part_y[i] = 0;
    for (int i = 0; i < n; i++) {
        r->x1[i] = r->x0[i] + (r->part_x[i] > 0);
        r->y1[i] = r->y0[i] + (r->part_y[i] > 0);
    }
}

/* A component in a plane. */
typedef struct om_warp_component {
    const uint8_t *base;
    ptrdiff_t stride;
    int shift_x, shift_y, unit;
} om_warp_component;

/* The first n (1 or 3) components of a picture. */
static inline void om_warp_components(const om_image *src, int n, om_warp_component out[3])
{
    const om_pixfmt_info *info = om_pixfmt_get(src->fmt);
    for (int i = 0; i < n; i++) {
        bool chroma = info->yuv && i > 0, paired = chroma && info->chroma_interleaved;
        int plane = !chroma ? 0 : paired ? 1 : i, offset = !info->yuv ? i : paired ? i - 1 : 0;
        out[i] = (om_warp_component){.base = src->plane[plane] + offset * info->sample_bytes,
                                     .stride = src->stride[plane],
                                     .shift_x = chroma ? info->chroma_shift_x : 0,
                                     .shift_y = chroma ? info->chroma_shift_y : 0,
                                     .unit = info->sample_bytes * (!info->yuv ? 3
                                                                   : paired   ? 2
                                                                              : 1)};
    }
}

static inline const uint8_t *om_warp_at(const om_warp_component *c, int x, int y)
{
    return c->base + (ptrdiff_t)(y >> c->shift_y) * c->stride + (ptrdiff_t)(x >> c->shift_x) * c->unit;
}

#endif
