#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "kernel/draw_font.h"
#include "kernel/draw_paint.h"

#define MAX_SEGMENTS 48
#define NO_CHARACTER 0xfffd

typedef struct outline {
    om_segment segments[MAX_SEGMENTS];
    int n;
    float radius;
} outline;

static int hex(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* Pen of a text: strokes of whole pixels lie on whole pixels, which keeps small text crisp. */
typedef struct pen_size {
    float unit, width, snap;
    int height;
} pen_size;

static pen_size pen_of(int height)
{
    float unit = (float)height / OM_FONT_HEIGHT, width = fmaxf(1.15f, (float)height * 0.105f);
    return (pen_size){unit, width, (int)lrintf(width) % 2 ? 0.5f : 0.0f, height};
}

static float snapped(const pen_size *pen, float units)
{
    return floorf(units * pen->unit + 0.5f) + pen->snap;
}

static void trace_part(outline *o, const om_glyph_part *part, const pen_size *pen, int x, int y)
{
    bool joined = false;
    float last_x = 0, last_y = 0;
    for (const char *p = part->strokes; *p; p++) {
        if (*p == ' ') {
            joined = false;
            continue;
        }
        float px, py;
        om_font_place(part, hex(p[0]), hex(p[1]), &px, &py);
        px = (float)x + snapped(pen, px);
        py = (float)y + snapped(pen, py);
        if (joined && o->n < MAX_SEGMENTS) o->segments[o->n++] = (om_segment){last_x, last_y, px, py};
        joined = true;
        last_x = px;
        last_y = py;
        p++;
    }
}

/* A character as it will be drawn: by strokes, or by the rows of a font. */
typedef struct letter {
    om_glyph glyph;
    const uint8_t *rows; /* NULL: the glyph counts */
    int columns;
    int step; /* pixels to the next one */
} letter;

static bool is_blank(uint32_t c)
{
    return c == ' ' || c == 0xa0 || (c >= 0x2000 && c <= 0x200a) || c == 0x202f || c == 0x3000;
}

/* Direction, joining and variation: nothing to be seen. */
static bool is_unseen(uint32_t c)
{
    return (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2060 && c <= 0x2064) ||
           (c >= 0xfe00 && c <= 0xfe0f) || c == 0xfeff;
}

static bool is_combining(uint32_t c) { return c >= 0x300 && c <= 0x36f; }

/* A byte that begins no character counts as one that nobody has. */
static uint32_t take(const char **text)
{
    uint32_t c;
    size_t n = om_utf8_decode((const unsigned char *)*text, strnlen(*text, 4), &c);
    *text += n ? n : 1;
    if (!n) return NO_CHARACTER;
    if (is_blank(c)) return ' ';
    return c >= 0xff01 && c <= 0xff5e ? c - 0xfee0 : c; /* ASCII as wide as Chinese */
}

/* The next character with the marks that combine with it; false at the text's end. */
static bool next_letter(const char **text, const om_font *font, const pen_size *pen, letter *l)
{
    uint32_t c = 0;
    while (!c && **text) {
        c = take(text);
        if (is_unseen(c)) c = 0;
    }
    if (!c) return false;
    const char *behind = *text;
    uint32_t mark = *behind ? take(&behind) : 0;
    uint32_t base = is_combining(c) ? ' ' : is_combining(mark) ? om_font_without_dot(c, mark) : c;
    bool own = om_font_glyph(base, &l->glyph);
    l->rows = own ? NULL : om_font_rows(font, c, &l->columns);
    if (is_combining(c)) om_font_add_mark(&l->glyph, c);
    for (const char *ahead = *text; *ahead && is_combining(c = take(&ahead)); *text = ahead)
        if (!l->rows) om_font_add_mark(&l->glyph, c);
    float units = l->rows ? (float)l->columns : l->glyph.width + OM_FONT_GAP;
    l->step = (int)lrintf(units * pen->unit);
    return true;
}

/* Rows of a font, `scale` pixels to one of theirs, from (x, y) on. */
typedef struct bitmap {
    const uint8_t *rows;
    int columns;
    float x, y, scale;
} bitmap;

static bool is_set(const bitmap *b, int column, int row)
{
    return b->rows[row * (b->columns / 8) + column / 8] & (0x80 >> column % 8);
}

/* How much of each pixel lies in points that are set. */
static void cover_bitmap(const void *shape, int x, int y, int n, float *cover)
{
    const bitmap *b = shape;
    float top = fmaxf(((float)y - b->y) / b->scale, 0),
          bottom = fminf(((float)(y + 1) - b->y) / b->scale, OM_BITMAP_ROWS);
    for (int i = 0; i < n; i++) {
        float left = fmaxf(((float)(x + i) - b->x) / b->scale, 0),
              right = fminf(((float)(x + i + 1) - b->x) / b->scale, (float)b->columns), sum = 0;
        for (int row = (int)top; row < bottom; row++)
            for (int column = (int)left; column < right; column++)
                if (is_set(b, column, row))
                    sum += (fminf(bottom, (float)(row + 1)) - fmaxf(top, (float)row)) *
                           (fminf(right, (float)(column + 1)) - fmaxf(left, (float)column));
        cover[i] = fminf(sum * b->scale * b->scale, 1);
    }
}

static void paint_letter(const om_image *img, const om_paint *paint, const pen_size *pen, const letter *l,
                         int x, int y)
{
    if (l->rows) {
        bitmap b = {l->rows, l->columns, (float)x, (float)y, pen->unit};
        om_paint_shape(img, paint, x, y, x + l->step + 1, y + pen->height + 1, cover_bitmap, &b);
        return;
    }
    int left = (int)lrintf(pen->unit * OM_FONT_GAP / 2);
    outline o = {.radius = pen->width / 2};
    for (int i = 0; i < l->glyph.n; i++) trace_part(&o, &l->glyph.parts[i], pen, x + left, y);
    if (o.n)
        om_paint_stroke_in(img, paint, &(om_stroke){o.segments, o.n, o.radius}, x, y, x + l->step + 1,
                           y + pen->height + 1);
}

int om_draw_text_width(int height, const char *text, const om_font *font)
{
    pen_size pen = pen_of(height);
    letter l;
    int width = 0;
    while (next_letter(&text, font, &pen, &l)) width += l.step;
    return width;
}

int om_draw_text(const om_image *img, int x, int y, int height, const char *text, const om_font *font,
                 om_color color)
{
    pen_size pen = pen_of(height);
    om_paint paint;
    bool reachable = abs(x / 2) < OM_DRAW_REACH && abs(y / 2) < OM_DRAW_REACH;
    if (!reachable || !om_paint_make(img, color, &paint)) return om_draw_text_width(height, text, font);
    letter l;
    int at = x;
    while (next_letter(&text, font, &pen, &l)) {
        if (at < img->width && at + l.step > 0) paint_letter(img, &paint, &pen, &l, at, y);
        at += l.step;
    }
    return at - x;
}
