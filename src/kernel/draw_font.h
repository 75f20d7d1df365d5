/* A stroke font. Each glyph is a text of polylines separated by spaces, two hexadecimal digits a point: x,
 * then y. Capitals stand from y = 2 to the baseline y = 12, small letters from 5; descenders reach 15. A
 * polyline of one point twice is a dot. ASCII, Latin (with Vietnamese), Greek and Cyrillic are there; letters
 * with marks are put together. */
#ifndef OM_KERNEL_DRAW_FONT_H
#define OM_KERNEL_DRAW_FONT_H

#include <stdbool.h>
#include <stdint.h>

#define OM_FONT_HEIGHT 16   /* units of a cell */
#define OM_FONT_BASELINE 12 /* where letters stand */
#define OM_FONT_GAP 3       /* units between glyphs */
#define OM_FONT_SPACE 3     /* width of a blank */
#define OM_GLYPH_PARTS 4

/* Strokes, made larger or smaller where they touch the baseline, then moved. */
typedef struct om_glyph_part {
    const char *strokes;
    float scale_x, scale_y, dx, dy;
} om_glyph_part;

typedef struct om_glyph {
    om_glyph_part parts[OM_GLYPH_PARTS];
    int n;
    float width;  /* units from the left edge to the rightmost point */
    float marked; /* how far to the right marks above it reach; negative: there are none */
} om_glyph;

/* False where the font lacks the character: *g is then a box with a cross, to be seen as what it is. */
bool om_font_glyph(uint32_t code, om_glyph *g);
/* i and j lose their dots where a mark comes above them. */
uint32_t om_font_without_dot(uint32_t code, uint32_t mark);
/* Puts a combining mark on a glyph; false if it is none that the font knows. */
bool om_font_add_mark(om_glyph *g, uint32_t mark);
/* Where a point of a part's strokes lies. */
void om_font_place(const om_glyph_part *part, int x, int y, float *px, float *py);

#endif
