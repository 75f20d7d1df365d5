#include "kernel/draw.h"

#include <math.h>
#include <string.h>

#include "kernel/color.h"
#include "kernel/draw_paint.h"

#define CHUNK 128 /* pixels painted at a time; a multiple of every chroma step */

static int min_int(int a, int b) { return a < b ? a : b; }
static int max_int(int a, int b) { return a > b ? a : b; }

bool om_draw_can(om_pixfmt fmt)
{
    const om_pixfmt_info *info = om_pixfmt_get(fmt);
    return info->planes && info->yuv && info->sample_bytes == 1;
}

bool om_paint_make(const om_image *img, om_color color, om_paint *out)
{
    if (!om_draw_can(img->fmt) || !color.a) return false;
    om_color_from_rgb(img, color.r, color.g, color.b, out->yuv);
    out->alpha = (color.a * OM_PAINT_FULL + 127) / 255;
    return true;
}

static void blend(uint8_t *p, uint8_t sample, int alpha)
{
    *p = (uint8_t)((*p * (OM_PAINT_FULL - alpha) + sample * alpha + OM_PAINT_FULL / 2) >> 8);
}

/* Both chroma samples at chroma position (cx, cy). */
static void blend_chroma(const om_image *img, const om_paint *paint, int cx, int cy, int alpha)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    for (int i = 0; i < 2; i++) {
        int plane = info->chroma_interleaved ? 1 : 1 + i, column = info->chroma_interleaved ? 2 * cx + i : cx;
        blend(img->plane[plane] + (ptrdiff_t)cy * img->stride[plane] + column, paint->yuv[1 + i], alpha);
    }
}

/* The luma of up to CHUNK pixels of a row; leaves their alphas. False where none of them is covered. */
static bool paint_pixels(const om_image *img, const om_paint *paint, int x, int y, int n, om_cover cover,
                         const void *shape, uint16_t alpha[CHUNK])
{
    float covered[CHUNK];
    int any = 0;
    cover(shape, x, y, n, covered);
    for (int i = 0; i < n; i++) {
        alpha[i] = (uint16_t)(int)(covered[i] * (float)paint->alpha + 0.5f);
        any |= alpha[i];
    }
    if (any)
        om_kernels_get()->blend_cover(img->plane[0] + (ptrdiff_t)y * img->stride[0] + x, (size_t)n,
                                      paint->yuv[0], alpha);
    return any;
}

/* One row of chroma and the one or two rows of luma that it serves. */
static void paint_block(const om_image *img, const om_paint *paint, int x, int y, int right, int bottom,
                        om_cover cover, const void *shape)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    uint16_t alpha[2][CHUNK];
    bool any = false;
    int sx = info->chroma_shift_x, width = right - x, height = bottom - y;
    for (int row = 0; row < height; row++)
        any |= paint_pixels(img, paint, x, y + row, width, cover, shape, alpha[row]);
    if (!any || info->planes == 1) return;
    for (int at = 0; at < width; at += 1 << sx) {
        int sum = 0, pixels = min_int(1 << sx, width - at);
        for (int row = 0; row < height; row++)
            for (int i = 0; i < pixels; i++) sum += alpha[row][at + i];
        pixels *= height;
        if (sum)
            blend_chroma(img, paint, (x + at) >> sx, y >> info->chroma_shift_y, (sum + pixels / 2) / pixels);
    }
}

void om_paint_shape(const om_image *img, const om_paint *paint, int x0, int y0, int x1, int y1,
                    om_cover cover, const void *shape)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    int step_x = 1 << info->chroma_shift_x, step_y = 1 << info->chroma_shift_y;
    x0 = max_int(x0, 0) & -step_x;
    y0 = max_int(y0, 0) & -step_y;
    x1 = min_int((min_int(x1, img->width) + step_x - 1) & -step_x, img->width);
    y1 = min_int((min_int(y1, img->height) + step_y - 1) & -step_y, img->height);
    for (int y = y0; y < y1; y += step_y)
        for (int x = x0; x < x1; x += CHUNK)
            paint_block(img, paint, x, y, min_int(x + CHUNK, x1), min_int(y + step_y, y1), cover, shape);
}

/* How much of a chroma sample's pixels along one axis lies in [a, b). */
static float share(int at, int shift, int size, int a, int b)
{
    int first = at << shift, end = min_int(first + (1 << shift), size);
    return (float)(min_int(end, b) - max_int(first, a)) / (float)(end - first);
}

/* The samples of one row of chroma: whole ones but for those at the two ends. */
static void fill_chroma_row(const om_image *img, const om_paint *paint, int cy, int x0, int x1, int alpha)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    const om_kernels *k = om_kernels_get();
    int sx = info->chroma_shift_x, first = x0 >> sx, last = (x1 - 1) >> sx;
    float left = share(first, sx, img->width, x0, x1), right = share(last, sx, img->width, x0, x1);
    if (left < 1) blend_chroma(img, paint, first++, cy, (int)((float)alpha * left + 0.5f));
    if (right < 1 && last >= first) blend_chroma(img, paint, last--, cy, (int)((float)alpha * right + 0.5f));
    if (last < first) return;
    size_t n = (size_t)(last - first + 1);
    if (info->chroma_interleaved) {
        k->blend_row(img->plane[1] + (ptrdiff_t)cy * img->stride[1] + 2 * first, 2 * n, paint->yuv + 1,
                     alpha);
        return;
    }
    for (int i = 1; i < 3; i++)
        k->blend_row(img->plane[i] + (ptrdiff_t)cy * img->stride[i] + first, n,
                     (const uint8_t[2]){paint->yuv[i], paint->yuv[i]}, alpha);
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
    const om_kernels *k = om_kernels_get();
    const uint8_t luma[2] = {paint.yuv[0], paint.yuv[0]};
    for (int row = y0; row < y1; row++)
        k->blend_row(img->plane[0] + (ptrdiff_t)row * img->stride[0] + x0, (size_t)(x1 - x0), luma,
                     paint.alpha);
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    int sy = info->chroma_shift_y;
    for (int cy = y0 >> sy; info->planes > 1 && cy <= (y1 - 1) >> sy; cy++)
        fill_chroma_row(img, &paint, cy, x0, x1,
                        (int)((float)paint.alpha * share(cy, sy, img->height, y0, y1) + 0.5f));
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
