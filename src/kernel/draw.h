/* Drawing onto a writable host picture of 8-bit luma and chroma: NV12, I420, I422, I444, GRAY8; on others
 * nothing is drawn. Everything is clipped; nothing fails. A colour's `a` is its opacity. */
#ifndef OM_KERNEL_DRAW_H
#define OM_KERNEL_DRAW_H

#include "kernel/font.h"
#include "kernel/kernel.h"

/* In pixels; (0, 0) is the middle of the left upper one. */
typedef struct om_point {
    float x, y;
} om_point;

bool om_draw_can(om_pixfmt fmt);
void om_draw_rect(const om_image *img, int x, int y, int w, int h, int thickness, om_color color);
void om_draw_fill(const om_image *img, int x, int y, int w, int h, om_color color);
void om_draw_line(const om_image *img, int x0, int y0, int x1, int y1, int thickness, om_color color);
/* A line through n points (one: a dot), back to the first if closed: a track's tail, a quad's outline. */
void om_draw_path(const om_image *img, const om_point *points, int n, bool closed, int thickness,
                  om_color color);
/* What n points enclose; where the outline crosses itself, what it goes around an odd number of times. */
void om_draw_polygon(const om_image *img, const om_point *points, int n, om_color color);
void om_draw_disc(const om_image *img, int cx, int cy, int radius, om_color color);
/* A line of text, UTF-8, whose cell is `height` pixels high; returns its width. Latin, Greek and Cyrillic are
 * drawn by omma's own strokes, what these lack by `font` (NULL: none), what nobody has as a crossed box, each
 * byte that is no UTF-8 too. From left to right, without joining letters. */
int om_draw_text(const om_image *img, int x, int y, int height, const char *text, const om_font *font,
                 om_color color);
int om_draw_text_width(int height, const char *text, const om_font *font);
/* A colour for a class or track number, well apart from its neighbours. */
om_color om_draw_palette(int64_t n);
/* Boxes, labels with score, landmarks and track numbers of one result, sized for the picture. `font` as
 * of om_draw_text(). */
void om_draw_dets(const om_image *img, const om_dets *dets, const om_labels *labels, const om_font *font);
/* What secondary models found in picture `seq`: boxes, quads and landmarks. What they remember of earlier
 * pictures has moved since, and is not drawn. */
void om_draw_answers(const om_image *img, const om_answers *answers, uint64_t seq);

#endif
