#include <math.h>
#include <stdlib.h>

#include "kernel/draw_font.h"
#include "kernel/draw_paint.h"

#define MAX_SEGMENTS 24

typedef struct outline {
    om_segment segments[MAX_SEGMENTS];
    int n;
    float radius;
} outline;

static int hex(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* Pen of a text: strokes of whole pixels lie on whole pixels, which keeps small text crisp. */
typedef struct pen_size {
    float unit, width, snap;
} pen_size;

static pen_size pen_of(int height)
{
    float unit = (float)height / OM_FONT_HEIGHT, width = fmaxf(1.15f, (float)height * 0.105f);
    return (pen_size){unit, width, (int)lrintf(width) % 2 ? 0.5f : 0.0f};
}

static float snapped(const pen_size *pen, int units)
{
    return floorf((float)units * pen->unit + 0.5f) + pen->snap;
}

static void trace_glyph(outline *o, const char *glyph, const pen_size *pen, int x, int y)
{
    bool joined = false;
    float last_x = 0, last_y = 0;
    for (; *glyph; glyph++) {
        if (*glyph == ' ') {
            joined = false;
            continue;
        }
        float px = (float)x + snapped(pen, hex(glyph[0])), py = (float)y + snapped(pen, hex(glyph[1]));
        if (joined && o->n < MAX_SEGMENTS) o->segments[o->n++] = (om_segment){last_x, last_y, px, py};
        joined = true;
        last_x = px;
        last_y = py;
        glyph++;
    }
}

static int advance(const char *glyph, const pen_size *pen)
{
    return (int)lrintf((float)(om_font_width(glyph) + OM_FONT_GAP) * pen->unit);
}

int om_draw_text_width(int height, const char *text)
{
    pen_size pen = pen_of(height);
    int width = 0;
    for (; *text; text++) width += advance(om_font_glyph((unsigned char)*text), &pen);
    return width;
}

int om_draw_text(const om_image *img, int x, int y, int height, const char *text, om_color color)
{
    pen_size pen = pen_of(height);
    om_paint paint;
    bool reachable = abs(x / 2) < OM_DRAW_REACH && abs(y / 2) < OM_DRAW_REACH;
    if (!reachable || !om_paint_make(img, color, &paint)) return om_draw_text_width(height, text);
    int left = (int)lrintf(pen.unit * OM_FONT_GAP / 2), at = x;
    for (; *text; text++) {
        const char *glyph = om_font_glyph((unsigned char)*text);
        int step = advance(glyph, &pen);
        outline o = {.radius = pen.width / 2};
        trace_glyph(&o, glyph, &pen, at + left, y);
        if (o.n && at < img->width && at + step > 0)
            om_paint_stroke_in(img, &paint, &(om_stroke){o.segments, o.n, o.radius}, at, y, at + step + 1,
                               y + height + 1);
        at += step;
    }
    return at - x;
}
