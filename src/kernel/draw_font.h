/* A stroke font. Each glyph is a text of polylines separated by spaces, two hexadecimal digits a point: x,
 * then y. Capitals stand from y = 2 to the baseline y = 12, small letters from 5; descenders reach 15. A
 * polyline of one point twice is a dot. */
#ifndef OM_KERNEL_DRAW_FONT_H
#define OM_KERNEL_DRAW_FONT_H

#define OM_FONT_HEIGHT 16 /* units of a cell */
#define OM_FONT_GAP 3     /* units between glyphs */
#define OM_FONT_SPACE 3   /* width of a blank */

/* The strokes of a character; a box for those the font lacks. Never NULL. */
const char *om_font_glyph(unsigned char c);
/* Units from the left edge to the rightmost point. */
int om_font_width(const char *glyph);

#endif
