/* Rows of colour (0..255 times 64, whole vectors of them) to elements of the tensor, `n` of them and no byte
 * more. */
#ifndef OM_KERNEL_EMIT16_H
#define OM_KERNEL_EMIT16_H

#include <string.h>

#include "kernel/letterbox_rows.h"
#include "kernel/prep.h"
#include "kernel/vec16.h"

#if defined(OM_V_LANES)

/* An element is row * mul + add; I8's zero point is in `add`. */
typedef struct om_emit16 {
    float mul[3], add[3];
} om_emit16;

static inline void om_emit16_fill(om_emit16 *e, const om_prep *p)
{
    for (int c = 0; c < 3; c++) {
        e->mul[c] = p->scale[c] / 64;
        e->add[c] = -p->mean[c] * p->scale[c] + (p->dtype == OM_DTYPE_I8 ? (float)p->zero_point : 0);
    }
}

/* One vector of colours to OM_V16 elements. */
OM_INLINE void om_emit16_vector(om_dtype t, void *dst, const int16_t *row, om_v32f mul, om_v32f add)
{
    uint8_t *out = (uint8_t *)dst;
    if (t == OM_DTYPE_U8) {
        om_v_store_bytes(out, om_v_mulhrs(om_v_load(row), om_v_set16(512)));
        return;
    }
    om_v32f low = om_v_fma(om_v_float(om_v_widen(row)), mul, add);
    om_v32f high = om_v_fma(om_v_float(om_v_widen(row + OM_V32)), mul, add);
    if (t == OM_DTYPE_F32) {
        om_v_storef(out, low);
        om_v_storef(out + 4 * OM_V32, high);
    } else if (t == OM_DTYPE_F16) {
        om_v_store_f16(out, low);
        om_v_store_f16(out + 2 * OM_V32, high);
    } else if (t == OM_DTYPE_I8) {
        om_v_store_i8(out, low, high);
    } else {
        om_v16 half = om_v_set32(0x7fff), one = om_v_set32(1), a = om_v_bits(low), b = om_v_bits(high);
        a = om_v_add32(om_v_add32(a, half), om_v_and(om_v_shr32(a, 16), one));
        b = om_v_add32(om_v_add32(b, half), om_v_and(om_v_shr32(b, 16), one));
        om_v_store_words(out, om_v_shr32(a, 16));
        om_v_store_words(out + 2 * OM_V32, om_v_shr32(b, 16));
    }
}

OM_INLINE void om_emit16_loop(om_dtype t, size_t element, void *dst, const int16_t *row, float mul, float add,
                              int n)
{
    uint8_t *out = (uint8_t *)dst, rest[4 * OM_V16];
    om_v32f m = om_v_setf(mul), a = om_v_setf(add);
    int i = 0;
    for (; i + OM_V16 <= n; i += OM_V16) om_emit16_vector(t, out + (size_t)i * element, row + i, m, a);
    if (i == n) return;
    om_emit16_vector(t, rest, row + i, m, a);
    memcpy(out + (size_t)i * element, rest, (size_t)(n - i) * element);
}

static inline void om_emit16_plane(const om_emit16 *e, om_dtype t, int channel, void *dst, const int16_t *row,
                                   int n)
{
    float mul = e->mul[channel], add = e->add[channel];
    if (t == OM_DTYPE_F32) om_emit16_loop(OM_DTYPE_F32, 4, dst, row, mul, add, n);
    else if (t == OM_DTYPE_F16) om_emit16_loop(OM_DTYPE_F16, 2, dst, row, mul, add, n);
    else if (t == OM_DTYPE_BF16) om_emit16_loop(OM_DTYPE_BF16, 2, dst, row, mul, add, n);
    else if (t == OM_DTYPE_I8) om_emit16_loop(OM_DTYPE_I8, 1, dst, row, mul, add, n);
    else om_emit16_loop(OM_DTYPE_U8, 1, dst, row, mul, add, n);
}

/* OM_V16 pixels of three bytes; writes 4 bytes more than they have. */
OM_INLINE void om_emit16_pixels(uint8_t *dst, const int16_t *const rows[3], int i)
{
    static const uint8_t keep[16] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0x80, 0x80, 0x80, 0x80};
    om_v16 round = om_v_set16(512), mask = om_v_repeat(keep);
    om_v16 a = om_v_mulhrs(om_v_load(rows[0] + i), round), b = om_v_mulhrs(om_v_load(rows[1] + i), round);
    om_v16 c = om_v_mulhrs(om_v_load(rows[2] + i), round), ab = om_v_or(a, om_v_shl16(b, 8));
    om_v_store12(dst, om_v_shuffle(om_v_unpack_low16(ab, c), mask),
                 om_v_shuffle(om_v_unpack_high16(ab, c), mask));
}

static inline void om_emit16_bytes(uint8_t *dst, const int16_t *const rows[3], int n)
{
    uint8_t rest[3 * OM_V16 + 4];
    int i = 0;
    for (; i + OM_V16 + 2 <= n; i += OM_V16) om_emit16_pixels(dst + 3 * i, rows, i);
    for (; i < n; i += OM_V16) {
        int m = n - i < OM_V16 ? n - i : OM_V16;
        om_emit16_pixels(rest, rows, i);
        memcpy(dst + 3 * i, rest, (size_t)(3 * m));
    }
}

/* A row at (x, y) of a tensor of one dst_w x dst_h picture. `typed` holds three rows of elements, for
 * interleaved ones. */
static inline void om_emit16_row(const om_emit16 *e, const om_prep *p, void *dst, int dst_w, int dst_h, int x,
                                 int y, const int16_t *const rows[3], void *const typed[3], int n)
{
    int channels = om_prep_channels(p);
    bool planar = p->layout == OM_LAYOUT_NCHW || channels == 1;
    if (!planar && p->dtype == OM_DTYPE_U8) {
        om_emit16_bytes(om_prep_at(p, dst, dst_w, dst_h, 0, x, y), rows, n);
        return;
    }
    for (int c = 0; c < channels; c++)
        om_emit16_plane(e, p->dtype, c, planar ? om_prep_at(p, dst, dst_w, dst_h, c, x, y) : typed[c],
                        rows[c], n);
    if (!planar) om_row_weave(om_dtype_size(p->dtype), om_prep_at(p, dst, dst_w, dst_h, 0, x, y), typed, n);
}

#endif
#endif
