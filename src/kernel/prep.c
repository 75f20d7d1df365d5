#include "kernel/prep.h"

#include <string.h>

#include "base/error.h"
#include "kernel/color.h"
#include "kernel/letterbox_rows.h"

#define RUN_BYTES 4096 /* what a filled run is copied on from: small enough to stay in the first cache */

static bool supported(om_dtype t)
{
    return t == OM_DTYPE_F32 || t == OM_DTYPE_F16 || t == OM_DTYPE_BF16 || t == OM_DTYPE_U8 ||
           t == OM_DTYPE_I8;
}

int om_prep_check(const char *what, const om_image *src, const om_prep *p)
{
    if (!om_pixfmt_get(src->fmt)->planes)
        return om_fail(OM_ERR_UNSUPPORTED, "%s: pixel format %d is not one of ours", what, (int)src->fmt);
    if (!supported(p->dtype))
        return om_fail(OM_ERR_UNSUPPORTED, "%s: cannot write elements of type %s", what,
                       om_dtype_name(p->dtype));
    return OM_OK;
}

int om_prep_check_geometry(const char *what, const om_image *src, const om_geometry *g, const om_prep *p)
{
    int err = om_prep_check(what, src, p);
    if (err < 0) return err;
    bool source = g->src_x >= 0 && g->src_y >= 0 && g->src_w > 0 && g->src_h > 0 &&
                  g->src_w <= src->width - g->src_x && g->src_h <= src->height - g->src_y;
    bool inner = g->pad_x >= 0 && g->pad_y >= 0 && g->inner_w > 0 && g->inner_h > 0 &&
                 g->inner_w <= g->dst_w - g->pad_x && g->inner_h <= g->dst_h - g->pad_y;
    if (!source)
        return om_fail(OM_ERR_ARG, "%s: rectangle %dx%d at %d,%d does not lie in a picture of %dx%d", what,
                       g->src_w, g->src_h, g->src_x, g->src_y, src->width, src->height);
    if (!inner)
        return om_fail(OM_ERR_ARG, "%s: picture of %dx%d at %d,%d does not lie in a destination of %dx%d",
                       what, g->inner_w, g->inner_h, g->pad_x, g->pad_y, g->dst_w, g->dst_h);
    return OM_OK;
}

/* `n` times the same pixel. */
static void fill_run(uint8_t *dst, const uint8_t *pixel, size_t size, size_t n)
{
    size_t total = n * size, run = RUN_BYTES / size * size, done = size;
    if (!n) return;
    memcpy(dst, pixel, size);
    while (done < total) {
        size_t part = done < run ? done : run;
        if (part > total - done) part = total - done;
        memcpy(dst + done, dst, part);
        done += part;
    }
}

static void pad_pixels(const om_geometry *g, uint8_t *dst, const uint8_t *pixel, size_t size)
{
    size_t row = (size_t)g->dst_w, left = (size_t)g->pad_x, right = row - left - (size_t)g->inner_w;
    size_t above = (size_t)g->pad_y * row, below = (size_t)(g->dst_h - g->pad_y - g->inner_h) * row;
    /* From one inner row's end to the next one's start the padding is one run. */
    uint8_t *at = dst;
    if (g->inner_h == 0) {
        fill_run(dst, pixel, size, above + below);
        return;
    }
    if (above + below + left + right == 0) return;
    fill_run(at, pixel, size, above + left);
    at += (above + left) * size;
    for (int y = 0; y < g->inner_h; y++) {
        at += (size_t)g->inner_w * size;
        size_t n = y + 1 < g->inner_h ? right + left : right + below;
        fill_run(at, pixel, size, n);
        at += n * size;
    }
}

void om_prep_pad(const om_geometry *g, const om_prep *p, void *dst)
{
    bool planar = p->layout == OM_LAYOUT_NCHW;
    int channels = om_prep_channels(p);
    size_t element = om_dtype_size(p->dtype);
    uint8_t pixel[3 * sizeof(float)];
    for (int c = 0; c < channels; c++) {
        float v = p->dtype == OM_DTYPE_U8 ? p->pad[c] : (p->pad[c] - p->mean[c]) * p->scale[c];
        om_row_store(p, pixel + (size_t)c * element, &v, 1);
    }
    if (!planar) pad_pixels(g, dst, pixel, element * (size_t)channels);
    for (int c = 0; planar && c < channels; c++)
        pad_pixels(g, om_prep_at(p, dst, g->dst_w, g->dst_h, c, 0, 0), pixel + (size_t)c * element, element);
}

void om_prep_rgb(const om_image *src, double m[3][4])
{
    if (om_pixfmt_get(src->fmt)->yuv) {
        om_color_to_rgb(src, m);
        return;
    }
    memset(m, 0, 3 * sizeof(m[0]));
    for (int i = 0; i < 3; i++) m[i][src->fmt == OM_PIX_BGR24 ? 2 - i : i] = 1;
}

void om_prep_luma(const om_image *src, double weight[3])
{
    om_color_luma(om_pixfmt_get(src->fmt)->yuv ? src->matrix : OM_MATRIX_BT601, weight);
}
