/* A quadrilateral straightened with vectors. The samples of a row are collected one by one, as their places
 * know no order, and all that follows is done in 16-bit fixed point. */
#include "kernel/variant.h"
#include "kernel/vec16.h"

#if defined(OM_V_LANES)

#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernel/emit16.h"
#include "kernel/mix16.h"
#include "kernel/warp_rows.h"

typedef struct plan {
    const om_image *src;
    int width;  /* whole vectors */
    int *at[4]; /* bytes from the plane's start to the samples left and right above, left and right below */
    om_warp_row row;
    om_warp_component in[3];
    om_mix16 mix;
    om_emit16 emit;
    uint16_t *corner[4]; /* those samples as they lie in memory */
    uint32_t *both[2];   /* paired chroma above and below: both components' left and right samples */
    int16_t *part_x, *part_y;
    int16_t *picked[3], *colour[3];
    void *typed[3];
} plan;

static void take_all(plan *pl, om_arena *a, int dst_w)
{
    size_t width = (size_t)pl->width;
    om_warp_row_take(&pl->row, a, dst_w);
    for (int i = 0; i < 4; i++) {
        pl->at[i] = (int *)om_arena_take(a, width, sizeof(int));
        pl->corner[i] = (uint16_t *)om_arena_take(a, width, sizeof(uint16_t));
    }
    for (int i = 0; i < 2; i++) pl->both[i] = (uint32_t *)om_arena_take(a, width, sizeof(uint32_t));
    pl->part_x = (int16_t *)om_arena_take(a, width, sizeof(int16_t));
    pl->part_y = (int16_t *)om_arena_take(a, width, sizeof(int16_t));
    for (int i = 0; i < 3; i++) {
        pl->picked[i] = (int16_t *)om_arena_take(a, width, sizeof(int16_t));
        pl->colour[i] = (int16_t *)om_arena_take(a, width, sizeof(int16_t));
        pl->typed[i] = om_arena_take(a, width, sizeof(float));
    }
}

static void place(int *restrict out, const int *restrict x, const int *restrict y, int n,
                  const om_warp_component *c)
{
    int shift_x = c->shift_x, shift_y = c->shift_y, unit = c->unit, stride = (int)c->stride;
    for (int i = 0; i < n; i++) out[i] = (y[i] >> shift_y) * stride + (x[i] >> shift_x) * unit;
}

static void collect(uint16_t *restrict out, const uint8_t *restrict base, const int *restrict at, bool wide,
                    int n)
{
    if (wide)
        for (int i = 0; i < n; i++) out[i] = *(const om_sample16 *)(base + at[i]);
    else
        for (int i = 0; i < n; i++) out[i] = base[at[i]];
}

OM_INLINE om_v16 between(om_v16 a, om_v16 b, om_v16 part)
{
    return om_v_add16(a, om_v_mulhrs(om_v_sub16(b, a), part));
}

/* A corner's samples in the scale of 16-bit components: shifted to the top, and half of that. */
OM_INLINE om_v16 scaled(const plan *pl, int corner, int i, int high_bits)
{
    return om_v_shr16(om_v_shl16(om_v_load(pl->corner[corner] + i), high_bits), 1);
}

static void blend(const plan *pl, int16_t *out, int high_bits)
{
    for (int i = 0; i < pl->width; i += OM_V16) {
        om_v16 x = om_v_load(pl->part_x + i), y = om_v_load(pl->part_y + i);
        om_v16 above = between(scaled(pl, 0, i, high_bits), scaled(pl, 1, i, high_bits), x);
        om_v16 below = between(scaled(pl, 2, i, high_bits), scaled(pl, 3, i, high_bits), x);
        om_v_store(out + i, between(above, below, y));
    }
}

/* Where 8-bit samples of a component are at most two bytes apart, the left and the right one are loaded at
 * once, the right one in the high byte; at the row's end both move left, and the right one alone counts. */
static bool neighbours(const om_image *src)
{
    const om_pixfmt_info *info = om_pixfmt_get(src->fmt);
    return info->yuv && info->sample_bytes == 1 && src->width > 1 << info->chroma_shift_x;
}

static void place_pairs(int *restrict out, const int *restrict x, const int *restrict y, int n, int last,
                        const om_warp_component *c)
{
    int shift_x = c->shift_x, shift_y = c->shift_y, unit = c->unit, stride = (int)c->stride;
    for (int i = 0; i < n; i++) {
        int left = x[i] >> shift_x;
        out[i] = (y[i] >> shift_y) * stride + (left < last ? left : last) * unit;
    }
}

static void part_pairs(int16_t *restrict out, const om_warp_row *row, int n, int last, int shift_x)
{
    const om_warp_row r = *row;
    for (int i = 0; i < n; i++) {
        int left = r.x0[i] >> shift_x, right = r.x1[i] >> shift_x;
        int part = right > left ? (int)(r.part_x[i] * 32767 + 0.5f) : 0;
        out[i] = (int16_t)(left > last ? 32767 : part);
    }
}

static void collect_pairs(uint16_t *restrict out, const uint8_t *restrict base, const int *restrict at, int n)
{
    for (int i = 0; i < n; i++) out[i] = *(const om_sample16 *)(base + at[i]);
}

static void collect_both(uint32_t *restrict out, const uint8_t *restrict base, const int *restrict at, int n)
{
    for (int i = 0; i < n; i++) memcpy(&out[i], base + at[i], sizeof(*out));
}

static void split_both(uint16_t *restrict out, const uint32_t *restrict both, int shift, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = (uint16_t)((both[i] >> shift & 0xff) | (both[i] >> (shift + 8) & 0xff00));
}

static void blend_pairs(const plan *pl, int16_t *out)
{
    om_v16 right = om_v_set16(0xff00);
    for (int i = 0; i < pl->width; i += OM_V16) {
        om_v16 x = om_v_load(pl->part_x + i), y = om_v_load(pl->part_y + i);
        om_v16 a = om_v_load(pl->corner[0] + i), b = om_v_load(pl->corner[1] + i);
        om_v16 above = between(om_v_shr16(om_v_shl16(a, 8), 1), om_v_shr16(om_v_and(a, right), 1), x);
        om_v16 below = between(om_v_shr16(om_v_shl16(b, 8), 1), om_v_shr16(om_v_and(b, right), 1), x);
        om_v_store(out + i, between(above, below, y));
    }
}

static void pick_pairs(plan *pl, int c, bool same, int n)
{
    const om_warp_component *in = &pl->in[c];
    int last = ((pl->src->width - 1) >> in->shift_x) - 1;
    for (int k = 0; k < 2; k++) {
        if (!same) place_pairs(pl->at[k], pl->row.x0, k ? pl->row.y1 : pl->row.y0, n, last, in);
        if (in->unit == 1) collect_pairs(pl->corner[k], in->base, pl->at[k], n);
        else if (!same) collect_both(pl->both[k], in->base, pl->at[k], n);
        if (in->unit == 2) split_both(pl->corner[k], pl->both[k], same ? 8 : 0, n);
    }
    if (!same) part_pairs(pl->part_x, &pl->row, n, last, in->shift_x);
    blend_pairs(pl, pl->picked[c]);
}

static void pick_single(plan *pl, int c, bool same, int n)
{
    const om_warp_component *in = &pl->in[c];
    om_pixfmt fmt = pl->src->fmt;
    bool wide = om_pixfmt_get(fmt)->sample_bytes == 2;
    for (int k = 0; k < 4; k++) {
        if (!same) place(pl->at[k], k & 1 ? pl->row.x1 : pl->row.x0, k & 2 ? pl->row.y1 : pl->row.y0, n, in);
        collect(pl->corner[k], in->base, pl->at[k], wide, n);
    }
    for (int i = 0; i < n; i++) pl->part_x[i] = (int16_t)(pl->row.part_x[i] * 32767 + 0.5f);
    blend(pl, pl->picked[c], !wide ? 8 : fmt == OM_PIX_P010 ? 0 : 6);
}

static void pick_row(plan *pl, int n)
{
    bool pairs = neighbours(pl->src);
    for (int i = 0; i < n; i++) pl->part_y[i] = (int16_t)(pl->row.part_y[i] * 32767 + 0.5f);
    for (int c = 0; c < pl->mix.n_in; c++) {
        const om_warp_component *in = &pl->in[c], *before = c > 0 ? in - 1 : NULL;
        bool same = before && before->stride == in->stride && before->unit == in->unit &&
                    before->shift_x == in->shift_x && before->shift_y == in->shift_y;
        if (pairs) pick_pairs(pl, c, same, n);
        else pick_single(pl, c, same, n);
    }
}

static void write_row(plan *pl, const om_prep *p, void *dst, int dst_w, int dst_h, int y)
{
    om_row_pair in[3];
    for (int i = 0; i < 3; i++) in[i] = (om_row_pair){pl->picked[i], pl->picked[i]};
    bool all = om_mix16_row(&pl->mix, in, 0, pl->width, pl->colour) > 1;
    const int16_t *rows[3] = {pl->colour[0], pl->colour[all ? 1 : 0], pl->colour[all ? 2 : 0]};
    om_emit16_row(&pl->emit, p, dst, dst_w, dst_h, 0, y, rows, pl->typed, dst_w);
}

/* Whether the bytes of a plane can be counted in 32 bits. */
static bool countable(const om_image *src)
{
    for (int i = 0; i < om_pixfmt_get(src->fmt)->planes; i++)
        if ((int64_t)abs(src->stride[i]) * src->height > INT32_MAX) return false;
    return true;
}

int OM_VARIANT(om_warp)(const om_image *src, const float quad[8], int dst_w, int dst_h, const om_prep *p,
                        void *dst)
{
    plan pl = {.src = src, .width = (dst_w + OM_V16 - 1) / OM_V16 * OM_V16};
    om_perspective view;
    int err = om_prep_check("warp", src, p);
    if (err < 0) return err;
    if (!countable(src)) return OM_VARIANT(om_warp_plain)(src, quad, dst_w, dst_h, p, dst);
    if (dst_w < 1 || dst_h < 1)
        return om_fail(OM_ERR_ARG, "warp: a destination of %dx%d has no pixels", dst_w, dst_h);
    err = om_perspective_solve(quad, dst_w, dst_h, &view);
    if (err < 0) return err;

    om_mix16_fill(&pl.mix, src, p);
    om_emit16_fill(&pl.emit, p);
    om_warp_components(src, pl.mix.n_in, pl.in);
    om_arena a = {0};
    take_all(&pl, &a, dst_w);
    void *block = a.base = om_aligned_alloc(OM_ARENA_ALIGN, a.used);
    if (!block) return om_fail_nomem("warp rows");
    memset(block, 0, a.used); /* the ends of the last vectors are computed on, though not written */
    a.used = 0;
    take_all(&pl, &a, dst_w);

    for (int y = 0; y < dst_h; y++) {
        om_warp_row_fill(&pl.row, &view, src, p->filter, y, dst_w);
        pick_row(&pl, dst_w);
        write_row(&pl, p, dst, dst_w, dst_h, y);
    }
    om_free(block);
    return OM_OK;
}

#else

int OM_VARIANT(om_warp)(const om_image *src, const float quad[8], int dst_w, int dst_h, const om_prep *p,
                        void *dst)
{
    return OM_VARIANT(om_warp_plain)(src, quad, dst_w, dst_h, p, dst);
}

#endif
