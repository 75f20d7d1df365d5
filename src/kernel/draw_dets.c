#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "kernel/draw.h"

#define NAME_CHARACTERS 60
#define TEXT_CHARACTERS 50
#define LABEL_SIZE (4 * NAME_CHARACTERS + 60)

typedef struct style {
    int line, text, dot;
} style;

static int clamp_int(int v, int low, int high) { return v < low ? low : v > high ? high : v; }

static style style_of(const om_image *img)
{
    style s = {.line = clamp_int(img->height / 300, 2, 12), .text = clamp_int(img->height / 45, 13, 64)};
    s.dot = s.line + 1;
    return s;
}

/* Boxes come from a network: they may be anything. */
static int to_int(float v)
{
    return v >= -30000 && v <= 100000 ? (int)floorf(v + 0.5f) : v > 0 ? 100000 : -30000;
}

/* Bytes of a text's first characters, for "%.*s". */
static int cut(const char *text, int characters)
{
    const char *p = text;
    for (int i = 0; i < characters && *p; i++) {
        size_t n = om_utf8_length((const unsigned char *)p, strnlen(p, 4));
        p += n ? n : 1;
    }
    return (int)(p - text);
}

static void label_text(char out[LABEL_SIZE], const om_detection *d, const om_labels *labels)
{
    char track[24] = "", name[24];
    const char *known =
        labels && d->class_id >= 0 && (size_t)d->class_id < labels->n ? labels->names[d->class_id] : NULL;
    if (d->track >= 0) snprintf(track, sizeof(track), "#%lld ", (long long)d->track);
    snprintf(name, sizeof(name), "%d", (int)d->class_id);
    if (!known) known = name;
    snprintf(out, LABEL_SIZE, "%s%.*s %.2f", track, cut(known, NAME_CHARACTERS), known, (double)d->score);
}

static om_color contrast_to(om_color c)
{
    int luma = (299 * c.r + 587 * c.g + 114 * c.b) / 1000;
    return luma > 130 ? (om_color){16, 16, 16, 255} : (om_color){255, 255, 255, 255};
}

/* A box that may stand askew: its outline, and a tint within, so that lines of text stay legible. */
static void draw_quad(const om_image *img, const om_detection *d, const style *s, om_color color)
{
    om_point corners[4];
    for (int i = 0; i < 4; i++) corners[i] = (om_point){d->quad[i][0], d->quad[i][1]};
    om_draw_polygon(img, corners, 4, (om_color){color.r, color.g, color.b, 40});
    om_draw_path(img, corners, 4, true, s->line, color);
}

static void draw_box(const om_image *img, const om_detection *d, const style *s)
{
    om_color color = om_draw_palette(d->class_id);
    int x = to_int(d->x), y = to_int(d->y), right = to_int(d->x + d->w), bottom = to_int(d->y + d->h);
    if (d->has_quad) draw_quad(img, d, s, color);
    else om_draw_rect(img, x, y, right - x, bottom - y, s->line, color);
    for (int i = 0; i < d->n_landmarks && i < OM_MAX_LANDMARKS; i++) {
        int lx = to_int(d->landmarks[i][0]), ly = to_int(d->landmarks[i][1]);
        om_draw_disc(img, lx, ly, s->dot + 1, (om_color){16, 16, 16, 200});
        om_draw_disc(img, lx, ly, s->dot, om_draw_palette(d->class_id + 1 + i));
    }
}

/* A line of a label: how large it is, and how it looks. */
typedef struct line {
    char text[LABEL_SIZE];
    int height, pad, w, h;
    om_color back, front;
} line;

static void measure(line *l, int height, const om_font *font)
{
    l->height = height;
    l->pad = height / 6;
    l->w = om_draw_text_width(height, l->text, font) + 2 * l->pad;
    l->h = height + l->pad;
}

static void draw_line(const om_image *img, const line *l, const om_font *font, int x, int y)
{
    om_draw_fill(img, x, y, l->w, l->h, l->back);
    om_draw_text(img, x + l->pad, y + l->pad, l->height, l->text, font, l->front);
}

/* Above the box, or inside its top where there is no room, and never outside the picture. What was read
 * stands above the rest, larger. */
static void draw_label(const om_image *img, const om_detection *d, const om_labels *labels,
                       const om_font *font, const style *s)
{
    line label, read = {.back = {16, 16, 16, 255}, .front = {255, 255, 255, 255}};
    label_text(label.text, d, labels);
    label.back = om_draw_palette(d->class_id);
    label.front = contrast_to(label.back);
    measure(&label, s->text, font);
    if (d->text && *d->text) {
        snprintf(read.text, LABEL_SIZE, "%.*s", cut(d->text, TEXT_CHARACTERS), d->text);
        measure(&read, s->text * 8 / 5, font);
    }
    int w = label.w > read.w ? label.w : read.w, h = label.h + read.h;
    int top = to_int(d->y), y = top >= h ? top - h : top;
    int x = clamp_int(to_int(d->x), 0, img->width > w ? img->width - w : 0);
    y = clamp_int(y, 0, img->height > h ? img->height - h : 0);
    if (read.h) draw_line(img, &read, font, x, y);
    draw_line(img, &label, font, x, y + read.h);
}

/* The best come first in the list, so they are drawn last; labels lie over all boxes. */
void om_draw_dets(const om_image *img, const om_dets *dets, const om_labels *labels, const om_font *font)
{
    style s = style_of(img);
    for (size_t i = dets->n; i-- > 0;) draw_box(img, &dets->items[i], &s);
    for (size_t i = dets->n; i-- > 0;) draw_label(img, &dets->items[i], labels, font, &s);
}

void om_draw_answers(const om_image *img, const om_answers *answers, uint64_t seq)
{
    style s = style_of(img);
    for (size_t i = 0; i < answers->n; i++) {
        const om_answer *a = &answers->items[i];
        if (a->seq == seq && !a->missing && (a->det.w > 0 || a->det.has_quad)) draw_box(img, &a->det, &s);
    }
}
