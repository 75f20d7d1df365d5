/* The second half of the plain kernels: a row of components, as floats, to a row of the tensor. Colour, order
 * of channels, mean and scale are one matrix and its bounds. */
#ifndef OM_KERNEL_ROW_OUT_H
#define OM_KERNEL_ROW_OUT_H

#include "kernel/arena.h"
#include "kernel/letterbox_rows.h"
#include "kernel/prep.h"

typedef struct om_row_out {
    const om_prep *p;
    int n_in, n_out;
    float m[3][4], low[3], high[3];
    float *picked[3], *mixed; /* of a row; the caller fills picked[0 .. n_in) */
    void *typed[3];
} om_row_out;

/* The components that are read: a gray result of a YUV picture needs no chroma. */
static inline int om_row_out_components(const om_image *src, const om_prep *p)
{
    const om_pixfmt_info *info = om_pixfmt_get(src->fmt);
    return info->yuv && (om_prep_channels(p) == 1 || info->planes == 1) ? 1 : 3;
}

static inline void om_row_out_take(om_row_out *o, om_arena *a, int width)
{
    for (int i = 0; i < 3; i++) {
        o->picked[i] = om_arena_take(a, (size_t)width, sizeof(float));
        o->typed[i] = om_arena_take(a, (size_t)width, sizeof(float));
    }
    o->mixed = om_arena_take(a, (size_t)width, sizeof(float));
}

static inline void om_row_out_fill(om_row_out *o, const om_image *src, const om_prep *p)
{
    double rgb[3][4], luma[3];
    o->p = p;
    o->n_in = om_row_out_components(src, p);
    o->n_out = om_prep_channels(p);
    om_prep_rgb(src, rgb);
    om_prep_luma(src, luma);
    for (int c = 0; c < o->n_out; c++) {
        bool plain = p->dtype == OM_DTYPE_U8;
        double scale = plain ? 1 : p->scale[c], mean = plain ? 0 : p->mean[c];
        const double *row = rgb[p->channels == OM_CHANNELS_BGR ? 2 - c : c];
        for (int k = 0; k < 4; k++) {
            double v =
                o->n_out == 3 ? row[k] : luma[0] * rgb[0][k] + luma[1] * rgb[1][k] + luma[2] * rgb[2][k];
            o->m[c][k] = (float)(k < 3 ? v * scale : (v - mean) * scale);
        }
        float black = (float)((0 - mean) * scale), white = (float)((255 - mean) * scale);
        o->low[c] = black < white ? black : white;
        o->high[c] = black < white ? white : black;
    }
}

/* One channel of a row of the result, still as floats. */
static inline void om_row_out_mix(const om_row_out *o, int channel, float *out, int n)
{
    const float *m = o->m[channel];
    int used = 0, single = 0;
    for (int i = 0; i < o->n_in; i++) {
        used += m[i] != 0;
        single = m[i] != 0 ? i : single;
    }
    if (o->n_in == 1 || used == 1)
        om_row_affine(out, o->picked[single], m[single], m[3], o->low[channel], o->high[channel], n);
    else om_row_mix(out, o->picked[0], o->picked[1], o->picked[2], m, o->low[channel], o->high[channel], n);
}

/* Writes the picked row at (x, y) of a tensor of one dst_w x dst_h picture. */
static inline void om_row_out_write(const om_row_out *o, void *dst, int dst_w, int dst_h, int x, int y, int n)
{
    const om_prep *p = o->p;
    bool planar = p->layout == OM_LAYOUT_NCHW || o->n_out == 1, direct = p->dtype == OM_DTYPE_F32;
    for (int c = 0; c < o->n_out; c++) {
        void *out = planar ? om_prep_at(p, dst, dst_w, dst_h, c, x, y) : o->typed[c];
        float *mixed = direct ? (float *)out : o->mixed;
        om_row_out_mix(o, c, mixed, n);
        if (!direct) om_row_store(p, out, mixed, n);
    }
    if (!planar)
        om_row_weave(om_dtype_size(p->dtype), om_prep_at(p, dst, dst_w, dst_h, 0, x, y), o->typed, n);
}

#endif
