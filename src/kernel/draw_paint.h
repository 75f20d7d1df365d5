/* How shapes reach the planes: each is a coverage of pixels by one colour. */
#ifndef OM_KERNEL_DRAW_PAINT_H
#define OM_KERNEL_DRAW_PAINT_H

#include "kernel/draw.h"

#define OM_DRAW_REACH (1 << 24) /* coordinates beyond it are as good as at it */

/* A colour in the samples of one picture. */
typedef struct om_paint {
    uint8_t yuv[3];
    float opacity;
} om_paint;

/* False where nothing can be drawn onto: other formats, or 16-bit samples. */
bool om_paint_make(const om_image *img, om_color color, om_paint *out);

/* Coverage of the pixel whose centre is (x, y), 0 to 1. */
typedef float (*om_coverage)(const void *shape, float x, float y);
/* Paints every pixel of [x0, x1) x [y0, y1) by its coverage; chroma by the mean of the pixels it serves. */
void om_paint_shape(const om_image *img, const om_paint *paint, int x0, int y0, int x1, int y1,
                    om_coverage coverage, const void *shape);

typedef struct om_segment {
    float x0, y0, x1, y1;
} om_segment;

/* Distance of a point from a segment, squared. */
float om_segment_distance2(const om_segment *s, float x, float y);

#endif
