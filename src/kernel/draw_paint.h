/* How shapes reach the planes: each is a coverage of pixels by one colour. Private to the room. */
#ifndef OM_KERNEL_DRAW_PAINT_H
#define OM_KERNEL_DRAW_PAINT_H

#include "kernel/draw.h"

#define OM_DRAW_REACH (1 << 24) /* coordinates beyond it are as good as at it */
#define OM_PAINT_FULL 256       /* an alpha that hides what was there */

/* A colour in the samples of one picture. */
typedef struct om_paint {
    uint8_t yuv[3];
    int alpha; /* 1 to OM_PAINT_FULL */
} om_paint;

/* False where nothing can be drawn: the colour cannot be seen, or om_draw_can() says no. */
bool om_paint_make(const om_image *img, om_color color, om_paint *out);

/* Writes the coverage, 0 to 1, of the n pixels from (x, y) rightwards. */
typedef void (*om_cover)(const void *shape, int x, int y, int n, float *cover);
/* Paints every pixel of [x0, x1) x [y0, y1) by its coverage; chroma by the mean of the pixels it serves. */
void om_paint_shape(const om_image *img, const om_paint *paint, int x0, int y0, int x1, int y1,
                    om_cover cover, const void *shape);

typedef struct om_segment {
    float x0, y0, x1, y1;
} om_segment;

/* All that lies within `radius` of some segment; painted once where segments meet. */
typedef struct om_stroke {
    const om_segment *segments;
    int n;
    float radius;
} om_stroke;

void om_paint_stroke(const om_image *img, const om_paint *paint, const om_stroke *s);
/* The same for a stroke known to lie within a small rectangle. */
void om_paint_stroke_in(const om_image *img, const om_paint *paint, const om_stroke *s, int x0, int y0,
                        int x1, int y1);

static inline float om_min_float(float a, float b) { return a < b ? a : b; }
static inline float om_max_float(float a, float b) { return a > b ? a : b; }

#endif
