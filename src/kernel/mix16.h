/* Rows of 16-bit components to rows of colour, and those to elements of the tensor. Components are 0..255
 * times 128; colours are 0..255 times 64, kept within these. */
#ifndef OM_KERNEL_MIX16_H
#define OM_KERNEL_MIX16_H

#include <math.h>
#include <string.h>

#include "kernel/prep.h"
#include "kernel/vec16.h"

#if defined(OM_V_LANES)

#define OM_MIX16_WHITE (255 * 64)

typedef enum om_mix16_kind {
    OM_MIX16_YUV, /* Y, U, V to three colours */
    OM_MIX16_ONE, /* each output from one component */
    OM_MIX16_SUM  /* gray from three */
} om_mix16_kind;

typedef struct om_mix16 {
    om_mix16_kind kind;
    int n_in, n_out;
    int16_t luma, add[3]; /* YUV: of Y, and the constants of red, green and blue; ONE: of each */
    int16_t red_v, green_u, green_v, blue_u;
    int16_t share[3]; /* SUM */
    int from[3];      /* ONE: the component of each output; YUV: the output's colour */
} om_mix16;

/* Two rows between which a component lies. */
typedef struct om_row_pair {
    const int16_t *a, *b;
} om_row_pair;

static inline int16_t om_mix16_round(double v)
{
    return (int16_t)lrint(v < -32768 ? -32768 : v > 32767 ? 32767 : v);
}

/* What a sample of 1, as it lies in memory, is in the components' scale. */
static inline double om_mix16_unit(om_pixfmt fmt)
{
    if (om_pixfmt_get(fmt)->sample_bytes == 1) return 128;
    return fmt == OM_PIX_P010 ? 0.5 : 32;
}

static inline void om_mix16_fill(om_mix16 *m, const om_image *src, const om_prep *p)
{
    const om_pixfmt_info *info = om_pixfmt_get(src->fmt);
    double rgb[3][4], luma[3], unit = om_mix16_unit(src->fmt);
    double to_coef = 64 * 32768.0 / unit, centre = 16384 / unit;
    om_prep_rgb(src, rgb);
    om_prep_luma(src, luma);
    m->n_out = om_prep_channels(p);
    m->n_in = info->yuv && (m->n_out == 1 || info->planes == 1) ? 1 : 3;
    m->kind = m->n_in == 1    ? OM_MIX16_ONE
              : m->n_out == 1 ? OM_MIX16_SUM
              : info->yuv     ? OM_MIX16_YUV
                              : OM_MIX16_ONE;
    m->luma = om_mix16_round(info->yuv ? rgb[0][0] * to_coef : to_coef);
    for (int c = 0; c < 3; c++) {
        int colour = p->channels == OM_CHANNELS_BGR ? 2 - c : c;
        double chroma = (rgb[c][1] + rgb[c][2]) * centre; /* they are centred before they are multiplied */
        bool swapped = !info->yuv && src->fmt == OM_PIX_BGR24;
        m->add[c] = om_mix16_round(info->yuv ? 64 * (rgb[c][3] + chroma) : 0);
        m->share[c] = om_mix16_round(luma[swapped ? 2 - c : c] * to_coef);
        m->from[c] = m->n_in == 1 ? 0 : swapped ? 2 - colour : colour;
    }
    /* Chroma is doubled first: its factors may exceed the largest that a vector holds. */
    m->red_v = om_mix16_round(rgb[0][2] * to_coef / 2);
    m->green_u = om_mix16_round(rgb[1][1] * to_coef / 2);
    m->green_v = om_mix16_round(rgb[1][2] * to_coef / 2);
    m->blue_u = om_mix16_round(rgb[2][1] * to_coef / 2);
}

OM_INLINE om_v16 om_mix16_fetch(const om_row_pair *r, int i, bool blend, om_v16 weight)
{
    om_v16 a = om_v_load(r->a + i);
    if (!blend) return a;
    return om_v_add16(a, om_v_mulhrs(om_v_sub16(om_v_load(r->b + i), a), weight));
}

OM_INLINE void om_mix16_store(int16_t *out, om_v16 v)
{
    om_v_store(out, om_v_max16(om_v_min16(v, om_v_set16(OM_MIX16_WHITE)), om_v_set16(0)));
}

OM_INLINE void om_mix16_yuv(const om_mix16 *m, const om_row_pair in[3], bool blend, int weight, int n,
                            int16_t *const out[3])
{
    om_v16 w = om_v_set16(weight), centre = om_v_set16(16384), luma = om_v_set16(m->luma);
    om_v16 red_v = om_v_set16(m->red_v), green_u = om_v_set16(m->green_u);
    om_v16 green_v = om_v_set16(m->green_v), blue_u = om_v_set16(m->blue_u);
    om_v16 add_r = om_v_set16(m->add[0]), add_g = om_v_set16(m->add[1]), add_b = om_v_set16(m->add[2]);
    int16_t *red = out[m->from[0]], *green = out[m->from[1]], *blue = out[m->from[2]];
    for (int i = 0; i < n; i += OM_V16) {
        om_v16 y = om_v_mulhrs(om_mix16_fetch(&in[0], i, blend, w), luma);
        om_v16 u = om_v_shl16(om_v_sub16(om_mix16_fetch(&in[1], i, blend, w), centre), 1);
        om_v16 v = om_v_shl16(om_v_sub16(om_mix16_fetch(&in[2], i, blend, w), centre), 1);
        om_v16 g = om_v_adds16(om_v_adds16(y, add_g), om_v_mulhrs(u, green_u));
        om_mix16_store(red + i, om_v_adds16(om_v_adds16(y, add_r), om_v_mulhrs(v, red_v)));
        om_mix16_store(green + i, om_v_adds16(g, om_v_mulhrs(v, green_v)));
        om_mix16_store(blue + i, om_v_adds16(om_v_adds16(y, add_b), om_v_mulhrs(u, blue_u)));
    }
}

OM_INLINE void om_mix16_one(const om_mix16 *m, const om_row_pair *in, bool blend, int weight, int n,
                            int16_t *out)
{
    om_v16 w = om_v_set16(weight), luma = om_v_set16(m->luma), add = om_v_set16(m->add[0]);
    for (int i = 0; i < n; i += OM_V16)
        om_mix16_store(out + i, om_v_adds16(om_v_mulhrs(om_mix16_fetch(in, i, blend, w), luma), add));
}

OM_INLINE void om_mix16_sum(const om_mix16 *m, const om_row_pair in[3], bool blend, int weight, int n,
                            int16_t *out)
{
    om_v16 w = om_v_set16(weight);
    for (int i = 0; i < n; i += OM_V16) {
        om_v16 sum = om_v_set16(0);
        for (int c = 0; c < 3; c++)
            sum = om_v_add16(sum, om_v_mulhrs(om_mix16_fetch(&in[c], i, blend, w), om_v_set16(m->share[c])));
        om_mix16_store(out + i, sum);
    }
}

OM_INLINE void om_mix16_any(const om_mix16 *m, const om_row_pair in[3], bool blend, int weight, int n,
                            int16_t *const out[3])
{
    if (m->kind == OM_MIX16_YUV) om_mix16_yuv(m, in, blend, weight, n, out);
    else if (m->kind == OM_MIX16_SUM) om_mix16_sum(m, in, blend, weight, n, out[0]);
    else if (m->n_in == 1) om_mix16_one(m, in, blend, weight, n, out[0]);
    else
        for (int c = 0; c < 3; c++) om_mix16_one(m, &in[m->from[c]], blend, weight, n, out[c]);
}

/* `n` is rounded up to whole vectors, which all rows must hold. weight: of row b, times 32768; 0: row a
 * alone. Returns how many different rows of `out` were filled: 1 where all channels are the same. */
static inline int om_mix16_row(const om_mix16 *m, const om_row_pair in[3], int weight, int n,
                               int16_t *const out[3])
{
    if (weight) om_mix16_any(m, in, true, weight, n, out);
    else om_mix16_any(m, in, false, 0, n, out);
    return m->n_in == 1 ? 1 : m->n_out;
}

#endif
#endif
