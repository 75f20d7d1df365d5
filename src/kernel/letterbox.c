/* Picture to tensor in one pass. Interpolation and colour are both linear, so rows are first blended
 * vertically in the picture's own samples, then picked horizontally, and only the destination's pixels are
 * converted. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernel/color.h"
#include "kernel/letterbox_rows.h"
#include "kernel/variant.h"

#define BLOCK_ALIGN 64

/* Of which samples each destination position of one axis is made. */
typedef struct axis {
    int n, taps; /* positions; most samples of one position */
    int *first, *last;
    float *weight; /* taps of them a position */
} axis;

/* A plane, or the part of it that is read, and one row blended from it. */
typedef struct strip {
    const uint8_t *base;
    ptrdiff_t stride;
    int shift_y, src_y;
    int samples;
    float *row;
} strip;

/* One colour component: where in its strip its samples lie. */
typedef struct component {
    const strip *from;
    int offset, step, shift_x;
    const int *at0, *at1; /* sample of the first and last tap of each position */
    float *picked;
} component;

typedef struct plan {
    const om_image *src;
    const om_geometry *g;
    const om_prep *p;
    bool wide;
    axis x, y;
    strip strips[3];
    int n_strips;
    component in[3];
    int n_in, n_out;
    float m[3][4], low[3], high[3];
    int *index[4];
    float *picked[3], *mixed;
    void *typed[3];
    uint8_t *pad_row;
    size_t element;
    void *block;
} plan;

static bool supported_dtype(om_dtype t)
{
    return t == OM_DTYPE_F32 || t == OM_DTYPE_F16 || t == OM_DTYPE_BF16 || t == OM_DTYPE_U8 ||
           t == OM_DTYPE_I8;
}

static int check(const om_image *src, const om_geometry *g, const om_prep *p)
{
    if (!om_pixfmt_get(src->fmt)->planes)
        return om_fail(OM_ERR_UNSUPPORTED, "letterbox: pixel format %d is not one of ours", (int)src->fmt);
    if (!supported_dtype(p->dtype))
        return om_fail(OM_ERR_UNSUPPORTED, "letterbox: cannot write elements of type %s",
                       om_dtype_name(p->dtype));
    bool source = g->src_x >= 0 && g->src_y >= 0 && g->src_w > 0 && g->src_h > 0 &&
                  g->src_w <= src->width - g->src_x && g->src_h <= src->height - g->src_y;
    bool inner = g->pad_x >= 0 && g->pad_y >= 0 && g->inner_w > 0 && g->inner_h > 0 &&
                 g->inner_w <= g->dst_w - g->pad_x && g->inner_h <= g->dst_h - g->pad_y;
    if (!source)
        return om_fail(OM_ERR_ARG, "letterbox: rectangle %dx%d at %d,%d does not lie in a picture of %dx%d",
                       g->src_w, g->src_h, g->src_x, g->src_y, src->width, src->height);
    if (!inner)
        return om_fail(OM_ERR_ARG,
                       "letterbox: picture of %dx%d at %d,%d does not lie in a destination of %dx%d",
                       g->inner_w, g->inner_h, g->pad_x, g->pad_y, g->dst_w, g->dst_h);
    return OM_OK;
}

/* Most samples of the source that one destination position can touch. */
static int most_taps(om_filter filter, int src, int dst)
{
    if (filter == OM_FILTER_NEAREST) return 1;
    if (filter == OM_FILTER_LINEAR) return 2;
    return src / dst + 2;
}

static void fill_linear(axis *a, int src, int dst)
{
    double scale = (double)src / dst;
    bool whole = true;
    for (int i = 0; i < dst; i++) {
        double at = (i + 0.5) * scale - 0.5;
        int first = (int)floor(at);
        float weight = (float)(at - first);
        if (first < 0 || first >= src - 1) {
            first = first < 0 ? 0 : src - 1;
            weight = 0;
        }
        a->first[i] = first;
        a->last[i] = weight > 0 ? first + 1 : first;
        a->weight[i] = weight;
        whole = whole && weight == 0;
    }
    a->taps = whole ? 1 : 2;
}

static void fill_nearest(axis *a, int src, int dst)
{
    for (int i = 0; i < dst; i++) a->first[i] = a->last[i] = (int)((int64_t)i * src / dst);
}

/* Destination position i covers i*src to (i+1)*src in units of which a source sample is `dst` long. */
static void fill_area(axis *a, int src, int dst)
{
    for (int i = 0; i < dst; i++) {
        int64_t from = (int64_t)i * src, to = from + src;
        a->first[i] = (int)(from / dst);
        a->last[i] = (int)((to - 1) / dst);
        for (int k = a->first[i]; k <= a->last[i]; k++) {
            int64_t left = (int64_t)k * dst, right = left + dst;
            int64_t covered = (right < to ? right : to) - (left > from ? left : from);
            a->weight[(size_t)i * a->taps + (k - a->first[i])] = (float)((double)covered / src);
        }
    }
}

static void fill_axis(axis *a, om_filter filter, int src, int dst)
{
    if (filter == OM_FILTER_LINEAR) fill_linear(a, src, dst);
    else if (filter == OM_FILTER_NEAREST) fill_nearest(a, src, dst);
    else fill_area(a, src, dst);
}

/* Bytes of the block taken so far; the block itself is absent while they are only counted. */
typedef struct arena {
    uint8_t *base;
    size_t used;
} arena;

static void *take(arena *a, size_t count, size_t size)
{
    void *p = a->base ? a->base + a->used : NULL;
    a->used += (count * size + BLOCK_ALIGN - 1) & ~(size_t)(BLOCK_ALIGN - 1);
    return p;
}

static void take_axis(arena *a, axis *x, om_filter filter, int src, int dst)
{
    x->n = dst;
    x->taps = most_taps(filter, src, dst);
    x->first = take(a, (size_t)dst, sizeof(int));
    x->last = take(a, (size_t)dst, sizeof(int));
    x->weight = take(a, (size_t)dst * (filter == OM_FILTER_LINEAR ? 1 : (size_t)x->taps), sizeof(float));
}

static void take_all(plan *pl, arena *a)
{
    const om_geometry *g = pl->g;
    take_axis(a, &pl->x, pl->p->filter, g->src_w, g->inner_w);
    take_axis(a, &pl->y, pl->p->filter, g->src_h, g->inner_h);
    for (int i = 0; i < pl->n_strips; i++)
        pl->strips[i].row = take(a, (size_t)pl->strips[i].samples, sizeof(float));
    for (int i = 0; i < 4; i++) pl->index[i] = take(a, (size_t)g->inner_w, sizeof(int));
    for (int i = 0; i < 3; i++) {
        pl->picked[i] = take(a, (size_t)g->inner_w, sizeof(float));
        pl->typed[i] = take(a, (size_t)g->inner_w, sizeof(float));
    }
    pl->mixed = take(a, (size_t)g->inner_w, sizeof(float));
    pl->pad_row = take(a, (size_t)g->dst_w * (size_t)pl->n_out, sizeof(float));
}

static void add_strip(plan *pl, int plane, bool interleaved, int shift_x, int shift_y)
{
    const om_geometry *g = pl->g;
    int step = pl->src->fmt == OM_PIX_RGB24 || pl->src->fmt == OM_PIX_BGR24 ? 3 : interleaved ? 2 : 1;
    int column = g->src_x >> shift_x, columns = ((g->src_x + g->src_w - 1) >> shift_x) - column + 1;
    strip *s = &pl->strips[pl->n_strips++];
    *s = (strip){.base = pl->src->plane[plane] + (size_t)column * (size_t)step * (pl->wide ? 2 : 1),
                 .stride = pl->src->stride[plane],
                 .shift_y = shift_y,
                 .src_y = g->src_y,
                 .samples = columns * step};
    for (int i = 0; i < step; i++)
        pl->in[pl->n_in++] = (component){.from = s, .offset = i, .step = step, .shift_x = shift_x};
}

/* Which planes are read, and as which components. A gray result of a YUV picture needs no chroma. */
static void choose_strips(plan *pl)
{
    const om_pixfmt_info *info = om_pixfmt_get(pl->src->fmt);
    int planes = info->yuv && pl->n_out == 1 ? 1 : info->planes;
    pl->wide = info->sample_bytes == 2;
    add_strip(pl, 0, false, 0, 0);
    for (int i = 1; i < planes; i++)
        add_strip(pl, i, info->chroma_interleaved, info->chroma_shift_x, info->chroma_shift_y);
}

/* Red, green and blue (or gray) from the components, in 0..255. */
static void source_matrix(const plan *pl, double rgb[3][4])
{
    memset(rgb, 0, 3 * sizeof(rgb[0]));
    if (om_pixfmt_get(pl->src->fmt)->yuv) {
        om_color_to_rgb(pl->src, rgb);
        return;
    }
    for (int i = 0; i < 3; i++) rgb[i][pl->src->fmt == OM_PIX_BGR24 ? 2 - i : i] = 1;
}

/* Colour, order of channels, mean and scale become one matrix and its bounds. */
static void fill_matrix(plan *pl)
{
    const om_prep *p = pl->p;
    bool plain = p->dtype == OM_DTYPE_U8;
    double rgb[3][4], luma[3];
    source_matrix(pl, rgb);
    om_color_luma(om_pixfmt_get(pl->src->fmt)->yuv ? pl->src->matrix : OM_MATRIX_BT601, luma);
    for (int c = 0; c < pl->n_out; c++) {
        double scale = plain ? 1 : p->scale[c], mean = plain ? 0 : p->mean[c];
        const double *row = rgb[p->channels == OM_CHANNELS_BGR ? 2 - c : c];
        for (int k = 0; k < 4; k++) {
            double v =
                pl->n_out == 3 ? row[k] : luma[0] * rgb[0][k] + luma[1] * rgb[1][k] + luma[2] * rgb[2][k];
            pl->m[c][k] = (float)(k < 3 ? v * scale : (v - mean) * scale);
        }
        float black = (float)((0 - mean) * scale), white = (float)((255 - mean) * scale);
        pl->low[c] = black < white ? black : white;
        pl->high[c] = black < white ? white : black;
    }
}

/* Positions of one axis in the samples of a strip: those of luma, and those of chroma where they differ. */
static void fill_indices(plan *pl)
{
    for (int i = 0; i < pl->n_in; i++) {
        component *c = &pl->in[i];
        bool shared = i > 0 && c->step == pl->in[i - 1].step && c->shift_x == pl->in[i - 1].shift_x;
        int *at0 = pl->index[i == 0 ? 0 : 2], *at1 = pl->index[i == 0 ? 1 : 3];
        c->picked = pl->picked[i];
        if (shared) {
            c->at0 = pl->in[i - 1].at0;
            c->at1 = pl->in[i - 1].at1;
            continue;
        }
        int origin = pl->g->src_x >> c->shift_x;
        for (int x = 0; x < pl->x.n; x++) {
            at0[x] = (((pl->g->src_x + pl->x.first[x]) >> c->shift_x) - origin) * c->step;
            at1[x] = (((pl->g->src_x + pl->x.last[x]) >> c->shift_x) - origin) * c->step;
        }
        c->at0 = at0;
        c->at1 = at1;
    }
}

static int make_plan(plan *pl, const om_image *src, const om_geometry *g, const om_prep *p)
{
    *pl = (plan){.src = src, .g = g, .p = p};
    pl->n_out = p->channels == OM_CHANNELS_GRAY ? 1 : 3;
    pl->element = om_dtype_size(p->dtype);
    choose_strips(pl);
    arena a = {0};
    take_all(pl, &a);
    pl->block = a.base = om_aligned_alloc(BLOCK_ALIGN, a.used);
    if (!pl->block) return om_fail_nomem("letterbox rows");
    a.used = 0;
    take_all(pl, &a);
    fill_axis(&pl->x, p->filter, g->src_w, g->inner_w);
    fill_axis(&pl->y, p->filter, g->src_h, g->inner_h);
    fill_indices(pl);
    fill_matrix(pl);
    return OM_OK;
}

static const uint8_t *strip_row(const strip *s, int y)
{
    return s->base + (ptrdiff_t)((s->src_y + y) >> s->shift_y) * s->stride;
}

/* The source row of a strip that alone makes destination row y; NULL where several do. */
static const uint8_t *only_row(const plan *pl, const strip *s, int y)
{
    const uint8_t *first = strip_row(s, pl->y.first[y]);
    return first == strip_row(s, pl->y.last[y]) ? first : NULL;
}

static void blend_strip(const plan *pl, const strip *s, int y)
{
    const axis *a = &pl->y;
    const uint8_t *only = only_row(pl, s, y);
    if (only) {
        om_row_widen(s->row, only, pl->wide, s->samples);
        return;
    }
    if (pl->p->filter == OM_FILTER_LINEAR) {
        om_row_blend(s->row, strip_row(s, a->first[y]), strip_row(s, a->last[y]), a->weight[y], pl->wide,
                     s->samples);
        return;
    }
    const float *weight = a->weight + (size_t)y * (size_t)a->taps;
    om_row_widen(s->row, strip_row(s, a->first[y]), pl->wide, s->samples);
    om_row_scale(s->row, weight[0], s->samples);
    for (int k = 1; k <= a->last[y] - a->first[y]; k++)
        om_row_accumulate(s->row, strip_row(s, a->first[y] + k), weight[k], pl->wide, s->samples);
}

static void pick_area(const plan *pl, const component *c)
{
    const axis *a = &pl->x;
    int origin = pl->g->src_x >> c->shift_x;
    const float *row = c->from->row + c->offset;
    for (int x = 0; x < a->n; x++) {
        const float *weight = a->weight + (size_t)x * (size_t)a->taps;
        float sum = 0;
        for (int k = a->first[x]; k <= a->last[x]; k++)
            sum += weight[k - a->first[x]] * row[(((pl->g->src_x + k) >> c->shift_x) - origin) * c->step];
        c->picked[x] = sum;
    }
}

static void pick(const plan *pl, const component *c, int y)
{
    const uint8_t *only = only_row(pl, c->from, y);
    int n = pl->x.n;
    if (pl->x.taps == 1 && only)
        om_row_pick_source(c->picked, only + (size_t)c->offset * (pl->wide ? 2 : 1), c->at0, pl->wide, n);
    else if (pl->x.taps == 1) om_row_pick(c->picked, c->from->row + c->offset, c->at0, n);
    else if (pl->p->filter == OM_FILTER_LINEAR)
        om_row_lerp(c->picked, c->from->row + c->offset, c->at0, c->at1, pl->x.weight, n);
    else pick_area(pl, c);
}

/* One channel of a row of the result, still as floats. */
static void mix(const plan *pl, int channel, float *out)
{
    const float *m = pl->m[channel];
    float low = pl->low[channel], high = pl->high[channel];
    int used = 0, single = 0;
    for (int i = 0; i < pl->n_in; i++) {
        used += m[i] != 0;
        single = m[i] != 0 ? i : single;
    }
    if (pl->n_in == 1 || used == 1)
        om_row_affine(out, pl->picked[single], m[single], m[3], low, high, pl->x.n);
    else om_row_mix(out, pl->picked[0], pl->picked[1], pl->picked[2], m, low, high, pl->x.n);
}

/* A row of floats to elements of the tensor. */
static void store(const om_prep *p, void *dst, const float *v, int n)
{
    if (p->dtype == OM_DTYPE_F32) memcpy(dst, v, (size_t)n * sizeof(*v));
    else if (p->dtype == OM_DTYPE_F16) om_row_store_f16(dst, v, n);
    else if (p->dtype == OM_DTYPE_BF16) om_row_store_bf16(dst, v, n);
    else if (p->dtype == OM_DTYPE_U8) om_row_store_u8(dst, v, n);
    else om_row_store_i8(dst, v, p->zero_point, n);
}

/* The rows of three channels, already elements, to a row of pixels. */
static void weave(size_t element, void *dst, void *const rows[3], int n)
{
    if (element == 1) om_row_weave8(dst, rows[0], rows[1], rows[2], n);
    else if (element == 2) om_row_weave16(dst, rows[0], rows[1], rows[2], n);
    else om_row_weave32(dst, rows[0], rows[1], rows[2], n);
}

/* Where element (x, y) of a channel lies in the tensor. */
static uint8_t *element_at(const plan *pl, void *dst, int channel, int x, int y)
{
    size_t at = (size_t)y * (size_t)pl->g->dst_w + (size_t)x;
    if (pl->p->layout == OM_LAYOUT_NCHW) at += (size_t)channel * (size_t)pl->g->dst_w * (size_t)pl->g->dst_h;
    else at = at * (size_t)pl->n_out + (size_t)channel;
    return (uint8_t *)dst + at * pl->element;
}

static void write_row(const plan *pl, int y, void *dst)
{
    int n = pl->g->inner_w, top = pl->g->pad_y + y, left = pl->g->pad_x;
    bool planar = pl->p->layout == OM_LAYOUT_NCHW || pl->n_out == 1, direct = pl->p->dtype == OM_DTYPE_F32;
    for (int c = 0; c < pl->n_out; c++) {
        void *out = planar ? element_at(pl, dst, c, left, top) : pl->typed[c];
        float *mixed = direct ? out : pl->mixed;
        mix(pl, c, mixed);
        if (!direct) store(pl->p, out, mixed, n);
    }
    if (!planar) weave(pl->element, element_at(pl, dst, 0, left, top), pl->typed, n);
}

/* A whole row of padding: of one channel, or of all where they are interleaved. */
static void fill_pad_row(const plan *pl, int channel)
{
    const om_prep *p = pl->p;
    bool planar = p->layout == OM_LAYOUT_NCHW;
    int channels = planar ? 1 : pl->n_out;
    uint8_t pixel[3 * sizeof(float)];
    for (int i = 0; i < channels; i++) {
        int c = channel + i;
        float v = p->dtype == OM_DTYPE_U8 ? p->pad[c] : (p->pad[c] - p->mean[c]) * p->scale[c];
        store(p, pixel + (size_t)i * pl->element, &v, 1);
    }
    size_t size = (size_t)channels * pl->element;
    for (int x = 0; x < pl->g->dst_w; x++) memcpy(pl->pad_row + (size_t)x * size, pixel, size);
}

static void copy_pad(const plan *pl, void *dst, int channel, int x, int y, int n)
{
    size_t pixel = pl->element * (size_t)(pl->p->layout == OM_LAYOUT_NCHW ? 1 : pl->n_out);
    if (n > 0) memcpy(element_at(pl, dst, channel, x, y), pl->pad_row, (size_t)n * pixel);
}

static void write_padding(const plan *pl, void *dst)
{
    const om_geometry *g = pl->g;
    int right = g->pad_x + g->inner_w, below = g->pad_y + g->inner_h;
    if (g->inner_w == g->dst_w && g->inner_h == g->dst_h) return;
    for (int c = 0; c < (pl->p->layout == OM_LAYOUT_NCHW ? pl->n_out : 1); c++) {
        fill_pad_row(pl, c);
        for (int y = 0; y < g->dst_h; y++) {
            bool inside = y >= g->pad_y && y < below;
            copy_pad(pl, dst, c, 0, y, inside ? g->pad_x : g->dst_w);
            if (inside) copy_pad(pl, dst, c, right, y, g->dst_w - right);
        }
    }
}

int OM_VARIANT(om_letterbox)(const om_image *src, const om_geometry *g, const om_prep *p, void *dst)
{
    plan pl;
    int err = check(src, g, p);
    if (err < 0) return err;
    err = make_plan(&pl, src, g, p);
    if (err < 0) return err;
    write_padding(&pl, dst);
    for (int y = 0; y < g->inner_h; y++) {
        for (int i = 0; i < pl.n_strips; i++)
            if (pl.x.taps > 1 || !only_row(&pl, &pl.strips[i], y)) blend_strip(&pl, &pl.strips[i], y);
        for (int i = 0; i < pl.n_in; i++) pick(&pl, &pl.in[i], y);
        write_row(&pl, y, dst);
    }
    om_free(pl.block);
    return OM_OK;
}
