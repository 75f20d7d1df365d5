/* Text found by segmentation (differentiable binarization): one map [N, 1, h, w] of how likely a pixel is the
 * core of a line of text. Regions above `mask_conf`, and the holes in them, become rectangles, which may
 * stand askew; those whose mean likeness reaches `conf` grow to the size of the text they are the core of, by
 * whole pixels and with round corners as the original's do, and get a rectangle once more. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"
#include "head/region.h"

#define MAX_BOXES 1000 /* as in the original */
#define MIN_CORE 3     /* pixels of the map that the shorter side must have, before and after it grows */
#define MIN_BOX 5

typedef struct box {
    om_askew at;
    float score;
} box;

/* One picture's work. Everything lies in the scratch. */
typedef struct work {
    const float *map;
    int width, height;
    uint8_t *bitmap;
    om_run *runs;
    size_t n_runs;
    uint32_t *order, *start; /* runs by region; where a region's begin, by its root */
    int32_t *low, *high;     /* a region's extent by row, from the row above the picture on */
    int32_t *rows;
    om_vec2 *points, *hull;
    box *boxes;
    size_t n_boxes;
} work;

static int init(om_head *h, const om_model_desc *desc)
{
    const om_shape *s = &desc->outputs[0].shape;
    if (s->rank != 4 || (s->dim[1] >= 0 && s->dim[1] != 1))
        return om_head_misfit(desc, h->ops->name, "a first output [N, 1, h, w]");
    h->n_classes = 1;
    return OM_OK;
}

/* The mask grown by a pixel right and down is what a 2x2 kernel makes of it. */
static void make_bitmap(work *w, float least, bool dilate)
{
    size_t width = (size_t)w->width;
    for (size_t y = 0; y < (size_t)w->height; y++) {
        const float *v = w->map + y * width;
        uint8_t *row = w->bitmap + y * width;
        for (size_t x = 0; x < width; x++) row[x] = (v[x] > least) & (v[x] < INFINITY);
    }
    if (!dilate) return;
    for (size_t y = (size_t)w->height; y-- > 0;) {
        uint8_t *row = w->bitmap + y * width;
        if (y > 0)
            for (size_t x = 0; x < width; x++) row[x] |= row[x - width];
        for (size_t x = width; x-- > 1;) row[x] |= row[x - 1];
    }
}

static size_t map_bytes(const om_tensor *t)
{
    return om_floats_size(t) + om_piece((size_t)(t->shape.dim[2] * t->shape.dim[3]));
}

/* Of an outline: two a row, or what it takes to grow. */
static size_t most_points(size_t rows) { return 2 * rows > OM_GROWN_MAX ? 2 * rows : OM_GROWN_MAX; }

static size_t rest_bytes(size_t runs, size_t height)
{
    size_t rows = height + 2;
    return om_piece(runs * sizeof(om_run)) + 2 * om_piece((runs + 1) * sizeof(uint32_t)) +
           3 * om_piece(2 * rows * sizeof(int32_t)) + om_piece(most_points(rows) * sizeof(om_vec2)) +
           om_piece(2 * most_points(rows) * sizeof(om_vec2)) + om_piece(MAX_BOXES * sizeof(box));
}

/* The map, its mask and its runs. How many those are is known once the mask is made; where the scratch has to
 * grow for them, the mask is made again. */
static int take_map(work *w, const om_head *h, om_head_scratch *s, const om_tensor *t, int item)
{
    uint8_t *mem = om_head_scratch_get(s, map_bytes(t));
    w->height = (int)t->shape.dim[2];
    w->width = (int)t->shape.dim[3];
    for (;;) {
        if (!mem) return OM_ERR_NOMEM;
        w->map = om_floats(t, item, &mem);
        w->bitmap = om_take(&mem, (size_t)w->width * (size_t)w->height);
        make_bitmap(w, h->params.mask_conf, h->params.mask_dilate);
        w->n_runs = om_runs_count(w->bitmap, w->width, w->height);
        size_t need = map_bytes(t) + rest_bytes(w->n_runs, (size_t)w->height);
        if (s->size >= need) break;
        mem = om_head_scratch_get(s, need);
    }
    size_t rows = (size_t)w->height + 2;
    w->runs = om_take(&mem, w->n_runs * sizeof *w->runs);
    w->order = om_take(&mem, (w->n_runs + 1) * sizeof *w->order);
    w->start = om_take(&mem, (w->n_runs + 1) * sizeof *w->start);
    w->low = om_take(&mem, 2 * rows * sizeof *w->low);
    w->high = om_take(&mem, 2 * rows * sizeof *w->high);
    w->rows = om_take(&mem, 2 * rows * sizeof *w->rows);
    w->points = om_take(&mem, most_points(rows) * sizeof *w->points);
    w->hull = om_take(&mem, 2 * most_points(rows) * sizeof *w->hull);
    w->boxes = om_take(&mem, MAX_BOXES * sizeof *w->boxes);
    return OM_OK;
}

/* order[start[r] .. start[r + 1]) are the runs of the region whose first run is r, from above. */
static void group_runs(work *w)
{
    memset(w->start, 0, (w->n_runs + 1) * sizeof *w->start);
    for (size_t i = 0; i < w->n_runs; i++) w->start[w->runs[i].parent + 1]++;
    for (size_t i = 0; i < w->n_runs; i++) w->start[i + 1] += w->start[i];
    for (size_t i = 0; i < w->n_runs; i++) w->order[w->start[w->runs[i].parent]++] = (uint32_t)i;
    for (size_t i = w->n_runs; i > 0; i--) w->start[i] = w->start[i - 1];
    w->start[0] = 0;
}

static void extend(work *w, int row, int x0, int x1)
{
    if (x0 < w->low[row + 1]) w->low[row + 1] = x0;
    if (x1 > w->high[row + 1]) w->high[row + 1] = x1;
}

/* A hole's outline are the set pixels around it. Unset regions at the picture's edge are no holes. */
static bool trace_region(work *w, size_t root, int *top, int *bottom)
{
    uint32_t from = w->start[root], to = w->start[root + 1];
    int margin = w->runs[root].set ? 0 : 1;
    *top = w->runs[w->order[from]].y - margin;
    *bottom = w->runs[w->order[to - 1]].y + margin;
    if (margin && (*top < 0 || *bottom >= w->height)) return false;
    for (int y = *top; y <= *bottom; y++) {
        w->low[y + 1] = w->width;
        w->high[y + 1] = -1;
    }
    for (uint32_t i = from; i < to; i++) {
        const om_run *r = &w->runs[w->order[i]];
        if (margin && (r->x0 == 0 || r->x1 == w->width - 1)) return false;
        extend(w, r->y, r->x0 - margin, r->x1 + margin);
        if (!margin) continue;
        extend(w, r->y - 1, r->x0, r->x1);
        extend(w, r->y + 1, r->x0, r->x1);
    }
    return true;
}

static om_askew rectangle_of(work *w, int top, int bottom)
{
    size_t n = 0;
    for (int y = top; y <= bottom; y++) {
        w->points[n++] = (om_vec2){(float)w->low[y + 1], (float)y};
        if (w->high[y + 1] > w->low[y + 1]) w->points[n++] = (om_vec2){(float)w->high[y + 1], (float)y};
    }
    return om_askew_around(w->hull, om_hull(w->points, n, w->hull));
}

static float shorter(const om_askew *r) { return r->w < r->h ? r->w : r->h; }

static void judge_region(const om_head *h, work *w, size_t root)
{
    int top, bottom;
    if (!trace_region(w, root, &top, &bottom)) return;
    om_askew r = rectangle_of(w, top, bottom);
    if (shorter(&r) < MIN_CORE) return;
    om_vec2 corner[4];
    om_askew_corners(&r, corner);
    float score = om_mean_inside(w->map, w->width, w->height, corner, w->rows);
    if (!(score >= h->params.conf)) return;
    double grow = (double)r.w * (double)r.h * (double)h->params.unclip / (2 * ((double)r.w + (double)r.h));
    size_t n = om_grown(corner, grow, w->points);
    r = om_askew_around(w->hull, om_hull(w->points, n, w->hull));
    if (shorter(&r) < MIN_BOX) return;
    w->boxes[w->n_boxes++] = (box){r, score};
}

/* Best first; of equal ones the first found. */
static void sort_boxes(box *b, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        box moved = b[i];
        size_t j = i;
        for (; j > 0 && b[j - 1].score < moved.score; j--) b[j] = b[j - 1];
        b[j] = moved;
    }
}

static float between(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

static int emit(const work *w, const box *b, const om_geometry *g, om_dets *out)
{
    om_vec2 corner[4];
    float left = INFINITY, top = INFINITY, right = -INFINITY, bottom = -INFINITY, quad[4][2];
    om_askew_corners(&b->at, corner);
    for (int i = 0; i < 4; i++) {
        float x, y;
        om_geometry_unmap(g, corner[i].x * (float)g->dst_w / (float)w->width,
                          corner[i].y * (float)g->dst_h / (float)w->height, &x, &y);
        /* Whole pixels, as the original has them: readers of small text were tuned to its crops. */
        quad[i][0] = x = between(rintf(x), (float)g->src_x, (float)(g->src_x + g->src_w));
        quad[i][1] = y = between(rintf(y), (float)g->src_y, (float)(g->src_y + g->src_h));
        left = fminf(left, x);
        right = fmaxf(right, x);
        top = fminf(top, y);
        bottom = fmaxf(bottom, y);
    }
    if (!(right > left && bottom > top)) return OM_OK; /* in the padding alone */
    om_detection *d = om_dets_add(out);
    if (!d) return om_fail_nomem("detections");
    d->x = left;
    d->y = top;
    d->w = right - left;
    d->h = bottom - top;
    d->score = b->score;
    d->has_quad = 1;
    memcpy(d->quad, quad, sizeof quad);
    return OM_OK;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const om_tensor *t = &outputs[0];
    work w = {0};
    int rc = om_head_expect(h, t, 0, 4, item);
    if (rc < 0) return rc;
    if (t->shape.dim[1] != 1 || t->shape.dim[2] > INT16_MAX || t->shape.dim[3] > INT16_MAX)
        return om_head_misfit(h->desc, h->ops->name, "one map of at most 32767x32767 for each picture");
    if (t->shape.dim[2] < 1 || t->shape.dim[3] < 1 || !om_head_wants(h, 0)) return OM_OK;
    rc = take_map(&w, h, s, t, item);
    if (rc < 0) return rc;
    om_runs_link(w.bitmap, w.width, w.height, w.runs, w.n_runs);
    group_runs(&w);
    for (size_t i = 0; i < w.n_runs && w.n_boxes < MAX_BOXES; i++)
        if (w.runs[i].parent == i) judge_region(h, &w, i);
    sort_boxes(w.boxes, w.n_boxes);
    for (size_t i = 0; i < w.n_boxes && i < (size_t)h->params.max_boxes; i++) {
        rc = emit(&w, &w.boxes[i], g, out);
        if (rc < 0) return rc;
    }
    return OM_OK;
}

const om_head_ops om_head_db = {
    .name = "db",
    .title = "text regions by segmentation (DBNet, PP-OCR)",
    .family = OM_FAMILY_DB,
    .conf = 0.5f,
    .iou = 1,
    .init = init,
    .decode = decode,
};
