/* YOLOv5-face: faces with five landmarks. Either decoded, [N, anchors, 15 + classes], a row an anchor:
 * centre, size, objectness, five points, classes, all in input pixels; or the raw grids of its strides, each
 * [N, anchors, rows, columns, 15 + classes] or [N, anchors*(15 + classes), rows, columns]. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"
#include "head/number.h"

#define POINTS 5
#define POINT_COLUMN 5
#define CLASS_COLUMN (POINT_COLUMN + 2 * POINTS)
#define MAX_GRIDS 4
#define MAX_ANCHORS 8

/* The original's, for three strides and for four. */
static const char three[] = "4,5,8,10,13,16;23,29,43,55,73,105;146,217,231,300,335,433";
static const char four[] = "6,7,9,11,13,16;18,23,26,33,37,47;54,67,77,104,112,154;174,238,258,355,445,568";

typedef struct face {
    int output; /* the decoded one, or -1: raw grids */
    int grids, anchors;
    int columns;
    float anchor[MAX_GRIDS][MAX_ANCHORS][2]; /* by falling number of cells */
} face;

static int read_anchors(face *p, const om_head *h)
{
    const char *from = h->params.anchors ? h->params.anchors : om_model_desc_meta(h->desc, "omma.anchors");
    if (!from) from = p->grids == 4 ? four : three;
    const char *text = from;
    for (int i = 0; i < p->grids; i++) {
        double size[2 * MAX_ANCHORS];
        int n = om_group_read(&text, size, 2 * MAX_ANCHORS);
        if (n != 2 * p->anchors || (i == p->grids - 1 && *text))
            return om_fail(
                OM_ERR_ARG,
                "%s head: anchors '%.80s'; expected %d width,height pairs for each of %d strides, as "
                "in '%s'",
                h->ops->name, from, p->anchors, p->grids, three);
        for (int k = 0; k < p->anchors; k++) {
            p->anchor[i][k][0] = (float)size[2 * k];
            p->anchor[i][k][1] = (float)size[2 * k + 1];
        }
    }
    return OM_OK;
}

/* Anchors and columns of a raw grid; false where it is none. */
static bool grid_of(const om_shape *s, int *anchors, int *columns)
{
    int64_t a = 3, n = s->rank == 4 ? s->dim[1] : 0;
    if (s->rank == 5) {
        a = s->dim[1];
        n = a * s->dim[4];
    }
    if (a < 1 || a > MAX_ANCHORS || n <= 0 || n % a || n / a <= CLASS_COLUMN || n / a > 1000) return false;
    *anchors = (int)a;
    *columns = (int)(n / a);
    return true;
}

static int init_grids(om_head *h, const om_model_desc *desc)
{
    face *p = h->priv;
    int anchors = 0, columns = 0;
    p->output = -1;
    p->grids = desc->n_outputs;
    bool fits = p->grids >= 1 && p->grids <= MAX_GRIDS;
    for (int i = 0; i < p->grids && fits; i++) {
        fits = grid_of(&desc->outputs[i].shape, &anchors, &columns) && (i == 0 || columns == p->columns);
        p->anchors = anchors;
        p->columns = columns;
    }
    if (!fits)
        return om_head_misfit(
            desc, h->ops->name,
            "an output [N, anchors, 15+classes], or raw grids [N, 3, rows, columns, 15+classes]");
    return read_anchors(p, h);
}

static int init(om_head *h, const om_model_desc *desc)
{
    face *p = h->priv;
    while (p->output < desc->n_outputs && desc->outputs[p->output].shape.rank != 3) p->output++;
    if (p->output == desc->n_outputs) {
        int rc = init_grids(h, desc);
        if (rc < 0) return rc;
    } else {
        int64_t columns = desc->outputs[p->output].shape.dim[2];
        if (columns >= 0 && columns <= CLASS_COLUMN)
            return om_head_misfit(desc, h->ops->name, "an output [N, anchors, 15+classes]");
        p->columns = columns > 0 ? (int)columns : 0;
    }
    if (!p->columns) return OM_OK;
    h->n_classes = p->columns - CLASS_COLUMN;
    if (desc->n_labels && desc->n_labels != h->n_classes)
        return om_fail(OM_ERR_ARG, "%s head: %d columns; 15 and one for each of %d labels were expected",
                       h->ops->name, p->columns, desc->n_labels);
    return OM_OK;
}

/* Candidates whose points are looked up again after suppression. */
typedef struct found {
    om_cands c;
    float *points; /* of candidate i: 2*POINTS from 2*POINTS*i on */
} found;

static size_t found_size(size_t n) { return om_cands_size(n) + om_piece(n * 2 * POINTS * sizeof(float)); }

static void found_init(found *f, uint8_t **mem, size_t n)
{
    om_cands_init(&f->c, mem, n);
    f->points = om_take(mem, n * 2 * POINTS * sizeof(float));
}

/* `row` decoded. The candidate's source is where its points were put. */
static void add(const om_head *h, found *f, const float *row, int columns)
{
    if (!(row[4] > h->params.conf)) return;
    size_t k = om_row_best(row + CLASS_COLUMN, (size_t)(columns - CLASS_COLUMN)), at = f->c.n;
    float score = row[4] * row[CLASS_COLUMN + k], dx = row[2] / 2, dy = row[3] / 2;
    if (!(score > h->params.conf)) return;
    om_cands_add(h, &f->c, (float[]){row[0] - dx, row[1] - dy, row[0] + dx, row[1] + dy}, score, (int32_t)k,
                 (uint32_t)at);
    if (f->c.n > at) memcpy(f->points + 2 * POINTS * at, row + POINT_COLUMN, 2 * POINTS * sizeof(float));
}

static float sigmoid(float x) { return 1 / (1 + expf(-x)); }

/* A raw grid: element k of a cell lies `step` floats behind element k - 1. */
static void add_grid(const om_head *h, found *f, const float *m, int rows, int columns,
                     const float (*anchor)[2], const om_geometry *g, bool cells_last)
{
    const face *p = h->priv;
    size_t area = (size_t)rows * (size_t)columns, n = (size_t)p->columns, step = cells_last ? area : 1;
    float conf = h->params.conf, least = conf <= 0 ? -INFINITY : logf(conf / (1 - conf)) - 1e-3f;
    float sx = (float)g->dst_w / (float)columns, sy = (float)g->dst_h / (float)rows, row[1000];
    for (size_t i = 0; i < area * (size_t)p->anchors; i++) {
        size_t a = i / area, cell = i % area;
        const float *t = m + a * area * n + cell * (cells_last ? 1 : n);
        if (!(t[4 * step] > least)) continue;
        float x = (float)(cell % (size_t)columns), y = (float)(cell / (size_t)columns);
        row[0] = (sigmoid(t[0]) * 2 - 0.5f + x) * sx;
        row[1] = (sigmoid(t[step]) * 2 - 0.5f + y) * sy;
        for (int k = 0; k < 2; k++) {
            float side = sigmoid(t[(size_t)(2 + k) * step]) * 2;
            row[2 + k] = side * side * anchor[a][k];
        }
        row[4] = sigmoid(t[4 * step]);
        for (size_t k = 0; k < POINTS; k++) {
            row[POINT_COLUMN + 2 * k] = t[(POINT_COLUMN + 2 * k) * step] * anchor[a][0] + x * sx;
            row[POINT_COLUMN + 2 * k + 1] = t[(POINT_COLUMN + 2 * k + 1) * step] * anchor[a][1] + y * sy;
        }
        for (size_t k = CLASS_COLUMN; k < n; k++) row[k] = sigmoid(t[k * step]);
        add(h, f, row, p->columns);
    }
}

/* The grids in the order of falling cells, as the anchors are. */
static void order_grids(const om_tensor *outputs, int n, int order[MAX_GRIDS])
{
    for (int i = 0; i < n; i++) {
        int64_t area = outputs[i].shape.dim[2] * outputs[i].shape.dim[3];
        int j = i;
        for (; j > 0; j--) {
            const om_shape *s = &outputs[order[j - 1]].shape;
            if (s->dim[2] * s->dim[3] >= area) break;
            order[j] = order[j - 1];
        }
        order[j] = i;
    }
}

static int decode_grids(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int item,
                        const om_geometry *g, found *f)
{
    const face *p = h->priv;
    size_t n = 0, floats = 0;
    int order[MAX_GRIDS] = {0}, anchors, columns;
    for (int i = 0; i < p->grids; i++) {
        int rc = om_head_expect(h, &outputs[i], i, h->desc->outputs[i].shape.rank, item);
        if (rc < 0) return rc;
        const om_shape *shape = &outputs[i].shape;
        if (!grid_of(shape, &anchors, &columns) || anchors != p->anchors || columns != p->columns)
            return om_head_misfit(h->desc, h->ops->name, "grids as the model declares them");
        n += (size_t)(shape->dim[2] * shape->dim[3]) * (size_t)p->anchors;
        floats += om_floats_size(&outputs[i]);
    }
    uint8_t *mem = om_head_scratch_get(s, found_size(n) + floats);
    if (!mem) return OM_ERR_NOMEM;
    found_init(f, &mem, n);
    order_grids(outputs, p->grids, order);
    for (int i = 0; i < p->grids; i++) {
        const om_tensor *t = &outputs[order[i]];
        const float *m = om_floats(t, item, &mem);
        add_grid(h, f, m, (int)t->shape.dim[2], (int)t->shape.dim[3], (const float(*)[2])p->anchor[i], g,
                 t->shape.rank == 4);
    }
    return OM_OK;
}

static int decode_rows(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int item, found *f)
{
    const face *p = h->priv;
    const om_tensor *t = &outputs[p->output];
    int rc = om_head_expect(h, t, p->output, 3, item);
    if (rc < 0) return rc;
    if (t->shape.dim[2] <= CLASS_COLUMN || t->shape.dim[2] > INT32_MAX)
        return om_head_misfit(h->desc, h->ops->name, "more than 15 columns");
    size_t n = (size_t)t->shape.dim[1];
    uint8_t *mem = om_head_scratch_get(s, found_size(n) + om_floats_size(t));
    if (!mem) return OM_ERR_NOMEM;
    found_init(f, &mem, n);
    const float *row = om_floats(t, item, &mem);
    for (size_t i = 0; i < n; i++, row += t->shape.dim[2]) add(h, f, row, (int)t->shape.dim[2]);
    return OM_OK;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const face *p = h->priv;
    found f;
    int rc = p->output < 0 ? decode_grids(h, s, outputs, item, g, &f) : decode_rows(h, s, outputs, item, &f);
    if (rc < 0) return rc;
    size_t kept = om_cands_suppress(h, &f.c);
    for (size_t k = 0; k < kept; k++) {
        om_detection *d;
        rc = om_cands_emit(&f.c, f.c.keep[k], g, out, &d);
        if (rc < 0) return rc;
        const float *xy = f.points + 2 * POINTS * (size_t)f.c.source[f.c.keep[k]];
        if (d) om_points_set(d, g, (const float(*)[2])xy, POINTS);
    }
    return OM_OK;
}

static bool grids(const om_head *h, om_head_grids *out)
{
    const face *p = h->priv;
    *out = (om_head_grids){.output = {p->output}, .n_outputs = 1, .points = POINTS};
    return p->output >= 0;
}

const om_head_ops om_head_yolov5_face = {
    .name = "yolov5-face",
    .title = "YOLOv5-face: faces with five landmarks",
    .family = OM_FAMILY_YOLOV5_FACE,
    .conf = 0.25f,
    .iou = 0.45f,
    .priv_size = sizeof(face),
    .init = init,
    .decode = decode,
    .grids = grids,
};
