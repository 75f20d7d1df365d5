/* Picture to tensor in one pass, for every format, filter and ratio. Interpolation and colour are both
 * linear, so rows are first blended vertically in the picture's own samples, then picked horizontally, and
 * only the destination's pixels are converted. This is the reference; letterbox_simd.c is the fast way. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernel/axis.h"
#include "kernel/row_out.h"
#include "kernel/variant.h"

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
} component;

typedef struct plan {
    const om_image *src;
    const om_geometry *g;
    om_filter filter;
    bool wide;
    om_axis x, y;
    strip strips[3];
    int n_strips;
    component in[3];
    int n_in;
    int *index[4];
    om_row_out out;
    void *block;
} plan;

static void take_all(plan *pl, om_arena *a)
{
    const om_geometry *g = pl->g;
    om_axis_take(&pl->x, a, pl->filter, g->src_w, g->inner_w);
    om_axis_take(&pl->y, a, pl->filter, g->src_h, g->inner_h);
    for (int i = 0; i < pl->n_strips; i++)
        pl->strips[i].row = om_arena_take(a, (size_t)pl->strips[i].samples, sizeof(float));
    for (int i = 0; i < 4; i++) pl->index[i] = om_arena_take(a, (size_t)g->inner_w, sizeof(int));
    om_row_out_take(&pl->out, a, g->inner_w);
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

/* Which planes are read, and as which components. */
static void choose_strips(plan *pl, const om_prep *p)
{
    const om_pixfmt_info *info = om_pixfmt_get(pl->src->fmt);
    int planes = om_row_out_components(pl->src, p) == 1 ? 1 : info->planes;
    pl->wide = info->sample_bytes == 2;
    add_strip(pl, 0, false, 0, 0);
    for (int i = 1; i < planes; i++)
        add_strip(pl, i, info->chroma_interleaved, info->chroma_shift_x, info->chroma_shift_y);
}

/* Positions of one axis in the samples of a strip: those of luma, and those of chroma where they differ. */
static void fill_indices(plan *pl)
{
    for (int i = 0; i < pl->n_in; i++) {
        component *c = &pl->in[i];
        bool shared = i > 0 && c->step == pl->in[i - 1].step && c->shift_x == pl->in[i - 1].shift_x;
        int *at0 = pl->index[i == 0 ? 0 : 2], *at1 = pl->index[i == 0 ? 1 : 3];
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
    *pl = (plan){.src = src, .g = g, .filter = p->filter};
    choose_strips(pl, p);
    om_arena a = {0};
    take_all(pl, &a);
    pl->block = a.base = om_aligned_alloc(OM_ARENA_ALIGN, a.used);
    if (!pl->block) return om_fail_nomem("letterbox rows");
    a.used = 0;
    take_all(pl, &a);
    om_axis_fill(&pl->x, p->filter, g->src_w, g->inner_w);
    om_axis_fill(&pl->y, p->filter, g->src_h, g->inner_h);
    fill_indices(pl);
    om_row_out_fill(&pl->out, src, p);
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
    const om_axis *a = &pl->y;
    const uint8_t *only = only_row(pl, s, y);
    if (only) {
        om_row_widen(s->row, only, pl->wide, s->samples);
        return;
    }
    if (pl->filter == OM_FILTER_LINEAR) {
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

static void pick_area(const plan *pl, const component *c, float *picked)
{
    const om_axis *a = &pl->x;
    int origin = pl->g->src_x >> c->shift_x;
    const float *row = c->from->row + c->offset;
    for (int x = 0; x < a->n; x++) {
        const float *weight = a->weight + (size_t)x * (size_t)a->taps;
        float sum = 0;
        for (int k = a->first[x]; k <= a->last[x]; k++)
            sum += weight[k - a->first[x]] * row[(((pl->g->src_x + k) >> c->shift_x) - origin) * c->step];
        picked[x] = sum;
    }
}

static void pick(const plan *pl, const component *c, float *picked, int y)
{
    const uint8_t *only = only_row(pl, c->from, y);
    int n = pl->x.n;
    if (pl->x.taps == 1 && only)
        om_row_pick_source(picked, only + (size_t)c->offset * (pl->wide ? 2 : 1), c->at0, pl->wide, n);
    else if (pl->x.taps == 1) om_row_pick(picked, c->from->row + c->offset, c->at0, n);
    else if (pl->filter == OM_FILTER_LINEAR)
        om_row_lerp(picked, c->from->row + c->offset, c->at0, c->at1, pl->x.weight, n);
    else pick_area(pl, c, picked);
}

int OM_VARIANT(om_letterbox_plain)(const om_image *src, const om_geometry *g, const om_prep *p, void *dst)
{
    plan pl;
    int err = om_prep_check_geometry("letterbox", src, g, p);
    if (err < 0) return err;
    err = make_plan(&pl, src, g, p);
    if (err < 0) return err;
    om_prep_pad(g, p, dst);
    for (int y = 0; y < g->inner_h; y++) {
        for (int i = 0; i < pl.n_strips; i++)
            if (pl.x.taps > 1 || !only_row(&pl, &pl.strips[i], y)) blend_strip(&pl, &pl.strips[i], y);
        for (int i = 0; i < pl.n_in; i++) pick(&pl, &pl.in[i], pl.out.picked[i], y);
        om_row_out_write(&pl.out, dst, g->dst_w, g->dst_h, g->pad_x, g->pad_y + y, g->inner_w);
    }
    om_free(pl.block);
    return OM_OK;
}
