#include "kernel/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/color.h"
#include "kernel/draw_paint.h"

static int min_int(int a, int b) { return a < b ? a : b; }
static int max_int(int a, int b) { return a > b ? a : b; }

bool om_paint_make(const om_image *img, om_color color, om_paint *out)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    if (!info->yuv || info->sample_bytes != 1 || !color.a) return false;
    om_color_from_rgb(img, color.r, color.g, color.b, out->yuv);
    out->opacity = (float)color.a / 255.0f;
    return true;
}

static void blend(uint8_t *p, uint8_t sample, float alpha)
{
    *p = (uint8_t)((float)*p + alpha * (float)(sample - *p) + 0.5f);
}

/* Both chroma samples at chroma position (cx, cy). */
static void blend_chroma(const om_image *img, const om_paint *paint, int cx, int cy, float alpha)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    for (int i = 0; i < 2; i++) {
        int plane = info->chroma_interleaved ? 1 : 1 + i, column = info->chroma_interleaved ? 2 * cx + i : cx;
        blend(img->plane[plane] + (ptrdiff_t)cy * img->stride[plane] + column, paint->yuv[1 + i], alpha);
    }
}

void om_paint_shape(const om_image *img, const om_paint *paint, int x0, int y0, int x1, int y1,
                    om_coverage coverage, const void *shape)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    int step_x = 1 << info->chroma_shift_x, step_y = 1 << info->chroma_shift_y;
    x0 = max_int(x0, 0) & -step_x;
    y0 = max_int(y0, 0) & -step_y;
    x1 = min_int(x1, img->width);
    y1 = min_int(y1, img->height);
    for (int by = y0; by < y1; by += step_y)
        for (int bx = x0; bx < x1; bx += step_x) {
            int right = min_int(bx + step_x, img->width), bottom = min_int(by + step_y, img->height);
            float sum = 0;
            for (int y = by; y < bottom; y++)
                for (int x = bx; x < right; x++) {
                    float alpha = paint->opacity * coverage(shape, (float)x + 0.5f, (float)y + 0.5f);
                    sum += alpha;
                    if (alpha > 0)
                        blend(img->plane[0] + (ptrdiff_t)y * img->stride[0] + x, paint->yuv[0], alpha);
                }
            if (sum > 0 && info->planes > 1)
                blend_chroma(img, paint, bx >> info->chroma_shift_x, by >> info->chroma_shift_y,
                             sum / (float)((right - bx) * (bottom - by)));
        }
}

static void fill_row(uint8_t *p, int n, uint8_t sample, float alpha)
{
    if (alpha >= 1) {
        memset(p, sample, (size_t)n);
        return;
    }
    for (int i = 0; i < n; i++) blend(p + i, sample, alpha);
}

/* How much of a chroma sample's pixels along one axis lies in [a, b). */
static float share(int at, int shift, int size, int a, int b)
{
    int first = at << shift, end = min_int(first + (1 << shift), size);
    return (float)(min_int(end, b) - max_int(first, a)) / (float)(end - first);
}

static void fill_chroma(const om_image *img, const om_paint *paint, int x0, int y0, int x1, int y1)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    int sx = info->chroma_shift_x, sy = info->chroma_shift_y;
    for (int cy = y0 >> sy; cy <= (y1 - 1) >> sy; cy++) {
        float row = paint->opacity * share(cy, sy, img->height, y0, y1);
        for (int cx = x0 >> sx; cx <= (x1 - 1) >> sx; cx++)
            blend_chroma(img, paint, cx, cy, row * share(cx, sx, img->width, x0, x1));
    }
}

/* The right or lower side of a rectangle, without overflow. */
static int far_side(int at, int size, int limit)
{
    int64_t end = (int64_t)at + max_int(size, 0);
    return (int)(end < limit ? end : limit);
}

void om_draw_fill(const om_image *img, int x, int y, int w, int h, om_color color)
{
    om_paint paint;
    int x0 = max_int(x, 0), y0 = max_int(y, 0), x1 = far_side(x, w, img->width),
        y1 = far_side(y, h, img->height);
    if (x0 >= x1 || y0 >= y1 || !om_paint_make(img, color, &paint)) return;
    for (int row = y0; row < y1; row++)
        fill_row(img->plane[0] + (ptrdiff_t)row * img->stride[0] + x0, x1 - x0, paint.yuv[0], paint.opacity);
    if (om_pixfmt_get(img->fmt)->planes > 1) fill_chroma(img, &paint, x0, y0, x1, y1);
}

/* Keeps what lies far outside every picture from overflowing sums of coordinates. */
static int within_reach(int v) { return max_int(-OM_DRAW_REACH, min_int(v, OM_DRAW_REACH)); }

void om_draw_rect(const om_image *img, int x, int y, int w, int h, int thickness, om_color color)
{
    if (w <= 0 || h <= 0) return;
    x = within_reach(x);
    y = within_reach(y);
    w = within_reach(w);
    h = within_reach(h);
    if (thickness >= (min_int(w, h) + 1) / 2) {
        om_draw_fill(img, x, y, w, h, color);
        return;
    }
    int inner = h - 2 * thickness;
    om_draw_fill(img, x, y, w, thickness, color);
    om_draw_fill(img, x, y + h - thickness, w, thickness, color);
    om_draw_fill(img, x, y + thickness, thickness, inner, color);
    om_draw_fill(img, x + w - thickness, y + thickness, thickness, inner, color);
}

float om_segment_distance2(const om_segment *s, float x, float y)
{
    float dx = s->x1 - s->x0, dy = s->y1 - s->y0, px = x - s->x0, py = y - s->y0;
    float length2 = dx * dx + dy * dy;
    float t = length2 > 0 ? (px * dx + py * dy) / length2 : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    px -= t * dx;
    py -= t * dy;
    return px * px + py * py;
}

typedef struct pen {
    om_segment path;
    float radius;
} pen;

static float pen_coverage(const void *shape, float x, float y)
{
    const pen *p = shape;
    float inside = p->radius + 0.5f - sqrtf(om_segment_distance2(&p->path, x, y));
    return inside < 0 ? 0 : inside > 1 ? 1 : inside;
}

static void draw_pen(const om_image *img, const pen *p, om_color color)
{
    om_paint paint;
    const om_segment *s = &p->path;
    if (!om_paint_make(img, color, &paint)) return;
    float reach = p->radius + 1;
    float limit_x = (float)img->width, limit_y = (float)img->height;
    float x0 = fminf(fmaxf(fminf(s->x0, s->x1) - reach, 0), limit_x),
          x1 = fminf(fmaxf(s->x0, s->x1) + reach, limit_x);
    float y0 = fminf(fmaxf(fminf(s->y0, s->y1) - reach, 0), limit_y),
          y1 = fminf(fmaxf(s->y0, s->y1) + reach, limit_y);
    if (x1 > x0 && y1 > y0)
        om_paint_shape(img, &paint, (int)x0, (int)y0, (int)ceilf(x1), (int)ceilf(y1), pen_coverage, p);
}

void om_draw_line(const om_image *img, int x0, int y0, int x1, int y1, int thickness, om_color color)
{
    pen p = {{(float)x0 + 0.5f, (float)y0 + 0.5f, (float)x1 + 0.5f, (float)y1 + 0.5f}, (float)thickness / 2};
    draw_pen(img, &p, color);
}

void om_draw_disc(const om_image *img, int cx, int cy, int radius, om_color color)
{
    pen p = {{(float)cx + 0.5f, (float)cy + 0.5f, (float)cx + 0.5f, (float)cy + 0.5f}, (float)radius};
    draw_pen(img, &p, color);
}

om_color om_draw_palette(int64_t n)
{
    static const float values[] = {1.0f, 0.8f, 0.92f};
    static const float saturations[] = {0.85f, 1.0f, 0.6f};
    uint64_t u = (uint64_t)n;
    double turn = (double)(u % 100003) * 0.61803398875 + 0.02; /* the golden angle keeps neighbours apart */
    float hue = (float)(turn - floor(turn)) * 6, value = values[u % 3] * 255,
          saturation = saturations[u / 3 % 3];
    float rgb[3];
    for (int i = 0; i < 3; i++) {
        float k = fmodf((float)(5 - 2 * i) + hue, 6);
        float dip = fmaxf(0, fminf(fminf(k, 4 - k), 1));
        rgb[i] = value - value * saturation * dip;
    }
    return (om_color){(uint8_t)rgb[0], (uint8_t)rgb[1], (uint8_t)rgb[2], 255};
}
