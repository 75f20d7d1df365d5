/* Letterbox in 16-bit fixed point, for processors with vectors. Every source row that is needed is resampled
 * horizontally once, to the destination's width; pairs of such rows (or for area: sums) are blended,
 * converted and written. What does not fit (tiny pictures, reductions beyond the shuffle masks) takes the
 * plain way. */
#include "kernel/variant.h"
#include "kernel/vec16.h"

#if defined(OM_V_LANES)

#include <math.h>

#include "base/error.h"
#include "base/mem.h"
#include "kernel/emit16.h"
#include "kernel/mix16.h"
#include "kernel/picks.h"

#define CACHE_LINE 64
#define MOST_ROWS 16     /* summed for area: each adds up to 1/256 level of rounding */
#define AHEAD_BYTES 8192 /* of source rows asked for in advance */

/* A plane: its rows as resampled, of which the last even and the last odd one are kept. */
typedef struct plane {
    const uint8_t *base;
    ptrdiff_t stride;
    int shift_y, components, sample_bytes;
    int first_out; /* of its components among all */
    const om_picks *picks;
    int held[2];
    int16_t *row[2]; /* `components` rows each */
} plane;

typedef struct plan {
    const om_image *src;
    const om_geometry *g;
    const om_prep *p;
    om_axis x, y;
    om_picks_row luma_row, chroma_row;
    om_picks luma, chroma;
    plane planes[3];
    int n_planes, width; /* width: of a resampled row, whole vectors */
    om_mix16 mix;
    om_emit16 emit;
    int16_t *sum[3], *colour[3];
    void *typed[3];
    void *block;
} plan;

static om_picks_row row_of(const om_image *src, int number, int origin)
{
    const om_pixfmt_info *info = om_pixfmt_get(src->fmt);
    int bytes, rows, step = !info->yuv ? 3 : number > 0 && info->chroma_interleaved ? 2 : 1;
    om_pixfmt_plane_size(src->fmt, number, src->width, src->height, &bytes, &rows);
    return (om_picks_row){.origin = origin,
                          .shift = number > 0 ? info->chroma_shift_x : 0,
                          .unit = step * info->sample_bytes,
                          .sample_bytes = info->sample_bytes,
                          .limit = bytes - 16 - (step == 3 ? 2 : 0)};
}

static void choose_planes(plan *pl)
{
    const om_image *src = pl->src;
    const om_pixfmt_info *info = om_pixfmt_get(src->fmt);
    int n = pl->mix.n_in == 1 ? 1 : info->planes, out = 0;
    for (int i = 0; i < n; i++) {
        int components = !info->yuv ? 3 : i > 0 && info->chroma_interleaved ? 2 : 1;
        pl->planes[i] = (plane){.base = src->plane[i],
                                .stride = src->stride[i],
                                .shift_y = i > 0 ? info->chroma_shift_y : 0,
                                .components = components,
                                .sample_bytes = info->sample_bytes,
                                .first_out = out,
                                .picks = i > 0 ? &pl->chroma : &pl->luma,
                                .held = {-1, -1}};
        out += components;
    }
    pl->n_planes = n;
}

static void take_axes(plan *pl, om_arena *a)
{
    om_axis_take(&pl->x, a, pl->p->filter, pl->g->src_w, pl->g->inner_w);
    om_axis_take(&pl->y, a, pl->p->filter, pl->g->src_h, pl->g->inner_h);
}

static void take_rows(plan *pl, om_arena *a)
{
    size_t width = (size_t)pl->width;
    om_picks_take(&pl->luma, a);
    if (pl->n_planes > 1) om_picks_take(&pl->chroma, a);
    for (int i = 0; i < pl->n_planes; i++)
        for (int k = 0; k < 2; k++)
            pl->planes[i].row[k] =
                (int16_t *)om_arena_take(a, width * (size_t)pl->planes[i].components, sizeof(int16_t));
    for (int i = 0; i < 3; i++) {
        pl->sum[i] = (int16_t *)om_arena_take(a, width, sizeof(int16_t));
        pl->colour[i] = (int16_t *)om_arena_take(a, width, sizeof(int16_t));
        pl->typed[i] = om_arena_take(a, width, sizeof(float));
    }
}

/* The most that the masks of an axis can need, so that one block holds all before the axes are known. */
static void guess_picks(const plan *pl, om_picks *t)
{
    *t = (om_picks){.vectors = pl->width / OM_V16, .windows = OM_PICKS_WINDOWS, .pairs = 1};
    if (pl->p->filter == OM_FILTER_AREA) t->pairs = (pl->g->src_w / pl->g->inner_w + 3) / 2;
    if (t->pairs > OM_PICKS_PAIRS) t->pairs = OM_PICKS_PAIRS;
}

static void set_high_bits(plan *pl)
{
    bool wide = om_pixfmt_get(pl->src->fmt)->sample_bytes == 2;
    pl->luma.high_bits = pl->chroma.high_bits = !wide ? -1 : pl->src->fmt == OM_PIX_P010 ? 0 : 6;
}

/* OM_ERR_UNSUPPORTED, without a message, where the plain kernel has to do it. */
static int make_plan(plan *pl, const om_image *src, const om_geometry *g, const om_prep *p)
{
    *pl = (plan){.src = src, .g = g, .p = p, .width = (g->inner_w + OM_V16 - 1) / OM_V16 * OM_V16};
    om_mix16_fill(&pl->mix, src, p);
    om_emit16_fill(&pl->emit, p);
    choose_planes(pl);
    guess_picks(pl, &pl->luma);
    guess_picks(pl, &pl->chroma);
    om_arena a = {0};
    take_axes(pl, &a);
    take_rows(pl, &a);
    pl->block = a.base = om_aligned_alloc(OM_ARENA_ALIGN, a.used);
    if (!pl->block) return om_fail_nomem("letterbox rows");
    a.used = 0;
    take_axes(pl, &a);
    om_axis_fill(&pl->x, p->filter, g->src_w, g->inner_w);
    om_axis_fill(&pl->y, p->filter, g->src_h, g->inner_h);
    pl->luma_row = row_of(src, 0, g->src_x);
    pl->chroma_row = row_of(src, 1, g->src_x);
    if (pl->y.taps > MOST_ROWS || !om_picks_size(&pl->luma, &pl->x, &pl->luma_row) ||
        (pl->n_planes > 1 && !om_picks_size(&pl->chroma, &pl->x, &pl->chroma_row)))
        return OM_ERR_UNSUPPORTED;
    set_high_bits(pl);
    take_rows(pl, &a);
    om_picks_fill(&pl->luma, &pl->x, p->filter, &pl->luma_row);
    if (pl->n_planes > 1) om_picks_fill(&pl->chroma, &pl->x, p->filter, &pl->chroma_row);
    return OM_OK;
}

static int plane_row(const plan *pl, const plane *s, int y) { return (pl->g->src_y + y) >> s->shift_y; }

/* Asks for the source rows of destination row y before they are needed: a picture is larger than the caches
 * near the core, and its rows are too short for the processor to foresee the next. */
static void prefetch_rows(const plan *pl, int y)
{
    for (int i = 0; i < pl->n_planes && y < pl->y.n; i++) {
        const plane *s = &pl->planes[i];
        const om_picks_row *r = i > 0 ? &pl->chroma_row : &pl->luma_row;
        int from = om_picks_byte(r, 0), to = om_picks_byte(r, pl->g->src_w - 1) + r->unit;
        int last = plane_row(pl, s, pl->y.last[y]);
        for (int row = plane_row(pl, s, pl->y.first[y]); row <= last; row++) {
            const uint8_t *p = s->base + (ptrdiff_t)row * s->stride;
            for (int x = from; x < to; x += CACHE_LINE) om_v_prefetch(p + x);
            om_v_prefetch(p + to - 1);
        }
    }
}

/* Row y of a plane, resampled: its components one after the other. */
static const int16_t *resampled(const plan *pl, plane *s, int y)
{
    int slot = y & 1;
    if (s->held[slot] == y) return s->row[slot];
    const uint8_t *row = s->base + (ptrdiff_t)y * s->stride;
    int16_t *out = s->row[slot];
    if (s->components == 2) om_picks_apply(s->picks, row, out, out + pl->width);
    for (int c = 0; c < s->components && s->components != 2; c++)
        om_picks_apply(s->picks, row + c * s->sample_bytes, out + c * pl->width, NULL);
    s->held[slot] = y;
    return s->row[slot];
}

static void accumulate(int16_t *restrict sum, const int16_t *restrict row, int weight, bool first, int n)
{
    om_v16 w = om_v_set16(weight);
    for (int i = 0; i < n; i += OM_V16) {
        om_v16 v = om_v_mulhrs(om_v_load(row + i), w);
        om_v_store(sum + i, first ? v : om_v_add16(om_v_load(sum + i), v));
    }
}

/* Area: the sum of the rows that destination row y covers, those of luma that share one of chroma together.
 */
static void sum_rows(plan *pl, plane *s, int y, om_row_pair out[3])
{
    const om_axis *a = &pl->y;
    int n = a->last[y] - a->first[y] + 1, from = plane_row(pl, s, a->first[y]);
    bool single = from == plane_row(pl, s, a->last[y]), first = true;
    float sum = 0;
    int before = 0;
    if (single) {
        const int16_t *row = resampled(pl, s, from);
        for (int c = 0; c < s->components; c++) out[c].a = row + c * pl->width;
        return;
    }
    for (int k = 0; k < n; k++) {
        sum += om_axis_share(a, OM_FILTER_AREA, y, k);
        int row = plane_row(pl, s, a->first[y] + k);
        if (k + 1 < n && plane_row(pl, s, a->first[y] + k + 1) == row) continue;
        int whole = k + 1 == n ? 32768 : (int)(sum * 32767 + 0.5f);
        const int16_t *samples = resampled(pl, s, row);
        for (int c = 0; c < s->components; c++)
            accumulate(pl->sum[s->first_out + c], samples + c * pl->width, whole - before, first, pl->width);
        before = whole;
        first = false;
    }
    for (int c = 0; c < s->components; c++) out[c].a = pl->sum[s->first_out + c];
}

/* The rows between which destination row y lies; returns the weight of the second, times 32768. */
static int find_rows(plan *pl, int y, om_row_pair in[3])
{
    const om_axis *a = &pl->y;
    bool area = pl->p->filter == OM_FILTER_AREA, alone = a->first[y] == a->last[y];
    for (int i = 0; i < pl->n_planes; i++) {
        plane *s = &pl->planes[i];
        if (area) {
            sum_rows(pl, s, y, in + s->first_out);
            continue;
        }
        const int16_t *first = resampled(pl, s, plane_row(pl, s, a->first[y]));
        const int16_t *last = resampled(pl, s, plane_row(pl, s, a->last[y]));
        for (int c = 0; c < s->components; c++)
            in[s->first_out + c] = (om_row_pair){first + c * pl->width, last + c * pl->width};
    }
    if (area || alone) return 0;
    int weight = (int)(om_axis_share(a, pl->p->filter, y, 1) * 32768 + 0.5f);
    return weight < 32767 ? weight : 32767;
}

static void write_row(plan *pl, int y, void *dst)
{
    const om_geometry *g = pl->g;
    om_row_pair in[3] = {{0}};
    int weight = find_rows(pl, y, in);
    bool all = om_mix16_row(&pl->mix, in, weight, pl->width, pl->colour) > 1;
    const int16_t *rows[3] = {pl->colour[0], pl->colour[all ? 1 : 0], pl->colour[all ? 2 : 0]};
    om_emit16_row(&pl->emit, pl->p, dst, g->dst_w, g->dst_h, g->pad_x, g->pad_y + y, rows, pl->typed,
                  g->inner_w);
}

static int rows_ahead(const plan *pl)
{
    int bytes = pl->g->src_w * om_pixfmt_get(pl->src->fmt)->sample_bytes * pl->y.taps;
    return bytes < AHEAD_BYTES ? AHEAD_BYTES / bytes : 1;
}

int OM_VARIANT(om_letterbox)(const om_image *src, const om_geometry *g, const om_prep *p, void *dst)
{
    plan pl;
    int err = om_prep_check_geometry("letterbox", src, g, p);
    if (err < 0) return err;
    err = make_plan(&pl, src, g, p);
    if (err == OM_OK) {
        int ahead = rows_ahead(&pl);
        for (int y = 0; y < ahead; y++) prefetch_rows(&pl, y);
        om_prep_pad(g, p, dst);
        for (int y = 0; y < g->inner_h; y++) {
            prefetch_rows(&pl, y + ahead);
            write_row(&pl, y, dst);
        }
    }
    om_free(pl.block);
    return err == OM_ERR_UNSUPPORTED ? OM_VARIANT(om_letterbox_plain)(src, g, p, dst) : err;
}

#else

int OM_VARIANT(om_letterbox)(const om_image *src, const om_geometry *g, const om_prep *p, void *dst)
{
    return OM_VARIANT(om_letterbox_plain)(src, g, p, dst);
}

#endif
