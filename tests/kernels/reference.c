#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double sample(const om_image *img, int plane, int x, int y)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    const uint8_t *p =
        img->plane[plane] + (ptrdiff_t)y * img->stride[plane] + (ptrdiff_t)x * info->sample_bytes;
    uint16_t wide;
    if (info->sample_bytes == 1) return *p;
    memcpy(&wide, p, sizeof(wide));
    return img->fmt == OM_PIX_P010 ? wide / 64.0 : wide;
}

/* Y, U, V or R, G, B of a pixel, chroma nearest. */
static void components(const om_image *img, int x, int y, double c[3])
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    c[1] = c[2] = info->sample_bytes == 2 ? 512 : 128;
    if (!info->yuv) {
        for (int i = 0; i < 3; i++) c[i] = sample(img, 0, 3 * x + (img->fmt == OM_PIX_BGR24 ? 2 - i : i), y);
        return;
    }
    c[0] = sample(img, 0, x, y);
    int cx = x >> info->chroma_shift_x, cy = y >> info->chroma_shift_y;
    for (int i = 0; i < 2 && info->planes > 1; i++)
        c[1 + i] = info->chroma_interleaved ? sample(img, 1, 2 * cx + i, cy) : sample(img, 1 + i, cx, cy);
}

static void to_rgb(const om_image *img, const double c[3], double rgb[3])
{
    static const double red[] = {0.299, 0.2126, 0.2627}, blue[] = {0.114, 0.0722, 0.0593};
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    if (!info->yuv) {
        memcpy(rgb, c, 3 * sizeof(*rgb));
        return;
    }
    double kr = red[img->matrix], kb = blue[img->matrix], step = info->sample_bytes == 2 ? 4 : 1;
    double full = info->sample_bytes == 2 ? 1023 : 255, y = c[0] / full, u = (c[1] - 128 * step) / full,
           v = (c[2] - 128 * step) / full;
    if (img->range == OM_RANGE_LIMITED) {
        y = (c[0] - 16 * step) / (219 * step);
        u = (c[1] - 128 * step) / (224 * step);
        v = (c[2] - 128 * step) / (224 * step);
    }
    rgb[0] = 255 * (y + 2 * (1 - kr) * v);
    rgb[2] = 255 * (y + 2 * (1 - kb) * u);
    rgb[1] = (255 * y - kr * rgb[0] - kb * rgb[2]) / (1 - kr - kb);
}

/* Weight of source position k (of n) in destination position i (of m). */
static double weight(om_filter filter, int i, int m, int k, int n)
{
    if (filter == OM_FILTER_NEAREST) return (int64_t)i * n / m == k;
    if (filter == OM_FILTER_AREA) {
        double from = (double)i * n, to = from + n, left = (double)k * m, right = left + m;
        double covered = fmin(right, to) - fmax(left, from);
        return covered > 0 ? covered / n : 0;
    }
    double at = fmin(fmax((i + 0.5) * ((double)n / m) - 0.5, 0), n - 1);
    return fmax(0, 1 - fabs(at - k));
}

static void source_span(om_filter filter, int i, int m, int n, int *first, int *last)
{
    double at = (double)i * n / m, next = (double)(i + 1) * n / m;
    *first = (int)fmax(floor(fmin(at, (at + next) / 2 - 1)) - 1, 0);
    *last = (int)fmin(ceil(next) + 1, n - 1);
    while (*first < *last && weight(filter, i, m, *first, n) == 0) ++*first;
    while (*last > *first && weight(filter, i, m, *last, n) == 0) --*last;
}

static void reference_pixel(const om_image *src, const om_geometry *g, const om_prep *p, int x, int y,
                            double rgb[3])
{
    double sum[3] = {0};
    int x0, x1, y0, y1;
    source_span(p->filter, x, g->inner_w, g->src_w, &x0, &x1);
    source_span(p->filter, y, g->inner_h, g->src_h, &y0, &y1);
    for (int sy = y0; sy <= y1; sy++)
        for (int sx = x0; sx <= x1; sx++) {
            double c[3], w = weight(p->filter, x, g->inner_w, sx, g->src_w) *
                             weight(p->filter, y, g->inner_h, sy, g->src_h);
            components(src, g->src_x + sx, g->src_y + sy, c);
            for (int i = 0; i < 3; i++) sum[i] += w * c[i];
        }
    to_rgb(src, sum, rgb);
}

static double gray_of(const om_image *src, const double rgb[3])
{
    static const double red[] = {0.299, 0.2126, 0.2627}, blue[] = {0.114, 0.0722, 0.0593};
    int m = om_pixfmt_get(src->fmt)->yuv ? (int)src->matrix : 0;
    return red[m] * rgb[0] + (1 - red[m] - blue[m]) * rgb[1] + blue[m] * rgb[2];
}

/* One pixel's colours, before they become elements, to where they belong. */
static void put_pixel(const om_image *src, const om_prep *p, int dst_w, int dst_h, int x, int y,
                      const double *rgb, double *dst)
{
    int channels = p->channels == OM_CHANNELS_GRAY ? 1 : 3;
    size_t at = (size_t)y * (size_t)dst_w + (size_t)x, plane = (size_t)dst_w * (size_t)dst_h;
    for (int c = 0; c < channels; c++) {
        double v = !rgb            ? p->pad[c]
                   : channels == 1 ? gray_of(src, rgb)
                                   : rgb[p->channels == OM_CHANNELS_BGR ? 2 - c : c];
        if (rgb && !isnan(v)) v = fmin(fmax(v, 0), 255);
        if (p->dtype != OM_DTYPE_U8) v = (v - p->mean[c]) * p->scale[c];
        dst[p->layout == OM_LAYOUT_NCHW ? (size_t)c * plane + at : at * (size_t)channels + (size_t)c] = v;
    }
}

void reference_letterbox(const om_image *src, const om_geometry *g, const om_prep *p, double *dst)
{
    for (int y = 0; y < g->dst_h; y++)
        for (int x = 0; x < g->dst_w; x++) {
            double rgb[3];
            int ix = x - g->pad_x, iy = y - g->pad_y;
            bool inside = ix >= 0 && iy >= 0 && ix < g->inner_w && iy < g->inner_h;
            if (inside) reference_pixel(src, g, p, ix, iy, rgb);
            put_pixel(src, p, g->dst_w, g->dst_h, x, y, inside ? rgb : NULL, dst);
        }
}

/* The eight numbers of the perspective from destination to source, by elimination. */
static void solve_perspective(const float quad[8], int dst_w, int dst_h, double m[8])
{
    const double u[4] = {0, dst_w, dst_w, 0}, v[4] = {0, 0, dst_h, dst_h};
    double a[8][9];
    for (int i = 0; i < 8; i++) {
        int k = i / 2;
        double to = quad[i], row[9] = {0, 0, 0, 0, 0, 0, -u[k] * to, -v[k] * to, to};
        double *own = row + (i % 2 ? 3 : 0);
        own[0] = u[k];
        own[1] = v[k];
        own[2] = 1;
        memcpy(a[i], row, sizeof(row));
    }
    for (int c = 0; c < 8; c++) {
        int best = c;
        for (int r = c + 1; r < 8; r++)
            if (fabs(a[r][c]) > fabs(a[best][c])) best = r;
        for (int k = 0; k < 9; k++) {
            double t = a[c][k];
            a[c][k] = a[best][k];
            a[best][k] = t;
        }
        for (int r = 0; r < 8; r++) {
            double factor = r == c ? 0 : a[r][c] / a[c][c];
            for (int k = c; k < 9; k++) a[r][k] -= factor * a[c][k];
        }
    }
    for (int i = 0; i < 8; i++) m[i] = a[i][8] / a[i][i];
}

/* Sample and weight of the second neighbour along one axis. */
static int neighbour(double at, int size, bool nearest, double *part)
{
    double inside = fmin(fmax(at, 0), size - 1);
    if (nearest) {
        double up = floor(inside + 0.5);
        *part = fabs(inside + 0.5 - rint(inside + 0.5)) < 1e-6 ? NAN : 0;
        return (int)up;
    }
    *part = inside - floor(inside);
    return (int)floor(inside);
}

void reference_warp(const om_image *src, const float quad[8], int dst_w, int dst_h, const om_prep *p,
                    double *dst)
{
    double m[8];
    solve_perspective(quad, dst_w, dst_h, m);
    for (int y = 0; y < dst_h; y++)
        for (int x = 0; x < dst_w; x++) {
            double u = x + 0.5, v = y + 0.5, w = m[6] * u + m[7] * v + 1, px, py, sum[3] = {0}, rgb[3];
            bool nearest = p->filter == OM_FILTER_NEAREST;
            int sx = neighbour((m[0] * u + m[1] * v + m[2]) / w - 0.5, src->width, nearest, &px);
            int sy = neighbour((m[3] * u + m[4] * v + m[5]) / w - 0.5, src->height, nearest, &py);
            for (int i = 0; i < 4; i++) {
                int dx = i % 2 && sx + 1 < src->width, dy = i / 2 && sy + 1 < src->height;
                double c[3], weight = (i % 2 ? px : 1 - px) * (i / 2 ? py : 1 - py);
                components(src, sx + dx, sy + dy, c);
                for (int k = 0; k < 3; k++) sum[k] += weight * c[k];
            }
            to_rgb(src, sum, rgb);
            put_pixel(src, p, dst_w, dst_h, x, y, rgb, dst);
        }
}

static bool overlaps(const float *a, const float *b, float iou)
{
    float w = fminf(a[2], b[2]) - fmaxf(a[0], b[0]), h = fminf(a[3], b[3]) - fmaxf(a[1], b[1]);
    float inter = fmaxf(w, 0) * fmaxf(h, 0);
    float area_a = (a[2] - a[0]) * (a[3] - a[1]), area_b = (b[2] - b[0]) * (b[3] - b[1]);
    return inter / (area_a + area_b - inter) > iou;
}

size_t reference_nms(const float *boxes, const float *scores, const int32_t *classes, size_t n, float iou,
                     bool agnostic, size_t max_out, uint32_t *keep)
{
    bool *gone = calloc(n + 1, sizeof(*gone));
    size_t out = 0;
    while (gone && out < max_out) {
        size_t best = n;
        for (size_t i = 0; i < n; i++)
            if (!gone[i] &&
                (best == n || scores[i] > scores[best] || (isnan(scores[best]) && !isnan(scores[i]))))
                best = i;
        if (best == n) break;
        keep[out++] = (uint32_t)best;
        gone[best] = true;
        for (size_t i = 0; i < n; i++)
            if ((agnostic || classes[i] == classes[best]) && overlaps(boxes + 4 * best, boxes + 4 * i, iou))
                gone[i] = true;
    }
    free(gone);
    return out;
}

void reference_column_max(const float *m, size_t stride, size_t rows, size_t n, float *best, int32_t *row)
{
    for (size_t i = 0; i < n; i++) {
        best[i] = -INFINITY;
        row[i] = 0;
        for (size_t r = 0; r < rows; r++)
            if (m[r * stride + i] > best[i]) {
                best[i] = m[r * stride + i];
                row[i] = (int32_t)r;
            }
    }
}

double tensor_value(const void *data, om_dtype dtype, size_t i)
{
    uint32_t bits;
    float v;
    switch (dtype) {
    case OM_DTYPE_F32: return ((const float *)data)[i];
    case OM_DTYPE_F16: return om_f16_to_f32(((const uint16_t *)data)[i]);
    case OM_DTYPE_BF16:
        bits = (uint32_t)((const uint16_t *)data)[i] << 16;
        memcpy(&v, &bits, sizeof(v));
        return v;
    case OM_DTYPE_U8: return ((const uint8_t *)data)[i];
    default: return ((const int8_t *)data)[i];
    }
}
