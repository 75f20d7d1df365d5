/* YOLOX: [N, cells, 5 + classes], a row a cell of the grids with strides 8, 16 and 32: centre, size,
 * objectness, classes. As exported by default the centre counts in cells from the cell's corner and the size
 * is the logarithm of cells; an export that decodes has pixels there. */
#include <math.h>

#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"
#include "head/number.h"

#define BOX_COLUMNS 5
#define FIRST_STRIDE 8
#define MAX_STRIDE 64

static int init(om_head *h, const om_model_desc *desc)
{
    static const char what[] = "one output [N, cells, 5+classes]";
    const om_shape *s = &desc->outputs[0].shape;
    if (desc->n_outputs != 1 || s->rank != 3) return om_head_misfit(desc, h->ops->name, what);
    if (s->dim[2] < 0) return OM_OK;
    if (s->dim[2] <= BOX_COLUMNS) return om_head_misfit(desc, h->ops->name, what);
    if (desc->n_labels && s->dim[2] != BOX_COLUMNS + desc->n_labels)
        return om_fail(OM_ERR_ARG,
                       "%s head: output %s has %lld columns; 5 and one for each of %d labels were expected",
                       h->ops->name, desc->outputs[0].name, (long long)s->dim[2], desc->n_labels);
    h->n_classes = (int)s->dim[2] - BOX_COLUMNS;
    return OM_OK;
}

static size_t cells(const om_geometry *g, int stride)
{
    return (size_t)(g->dst_w / stride) * (size_t)(g->dst_h / stride);
}

/* The last stride of grids that have n cells in all (32, or 64 in models with a fourth), 0 where none has. */
static int last_stride(const om_geometry *g, size_t n)
{
    size_t sum = 0;
    for (int stride = FIRST_STRIDE; stride <= MAX_STRIDE; stride *= 2) {
        sum += cells(g, stride);
        if (sum == n && stride >= 32) return stride;
    }
    return 0;
}

static int no_grid(const om_head *h, const om_geometry *g, size_t n)
{
    size_t sum = 0;
    for (int stride = FIRST_STRIDE; stride <= 32; stride *= 2) sum += cells(g, stride);
    return om_fail(
        OM_ERR_ARG,
        "%s head: output %s has %zu rows; the grids of strides 8, 16 and 32 of an input of %dx%d have "
        "%zu cells",
        h->ops->name, h->desc->outputs[0].name, n, g->dst_w, g->dst_h, sum);
}

/* The place of row i among the grids. */
static void find_cell(const om_geometry *g, int last, size_t i, float *x, float *y, float *stride)
{
    int s = FIRST_STRIDE;
    for (; s < last && i >= cells(g, s); s *= 2) i -= cells(g, s);
    size_t across = (size_t)(g->dst_w / s);
    *x = (float)(i % across);
    *y = (float)(i / across);
    *stride = (float)s;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const om_tensor *t = &outputs[0];
    int rc = om_head_expect(h, t, 0, 3, item);
    if (rc < 0) return rc;
    if (t->shape.dim[2] <= BOX_COLUMNS) return om_head_misfit(h->desc, h->ops->name, "more than 5 columns");
    size_t n = (size_t)t->shape.dim[1], columns = (size_t)t->shape.dim[2];
    int last = h->desc->decoded ? 0 : last_stride(g, n);
    if (!last && !h->desc->decoded && n) return no_grid(h, g, n);

    uint8_t *mem = om_head_scratch_get(s, om_cands_size(n) + om_floats_size(t));
    if (!mem) return OM_ERR_NOMEM;
    om_cands c;
    om_cands_init(&c, &mem, n);
    const float *row = om_floats(t, item, &mem);
    for (size_t i = 0; i < n; i++, row += columns) {
        if (!(row[4] > h->params.conf)) continue;
        size_t k = om_row_best(row + BOX_COLUMNS, columns - BOX_COLUMNS);
        float score = row[4] * row[BOX_COLUMNS + k];
        if (!(score > h->params.conf)) continue;
        float x = row[0], y = row[1], dx = row[2] / 2, dy = row[3] / 2;
        if (last) {
            float column, line, stride;
            find_cell(g, last, i, &column, &line, &stride);
            x = (x + column) * stride;
            y = (y + line) * stride;
            dx = expf(row[2]) * stride / 2;
            dy = expf(row[3]) * stride / 2;
        }
        om_cands_add(h, &c, (float[]){x - dx, y - dy, x + dx, y + dy}, score, (int32_t)k, (uint32_t)i);
    }
    return om_cands_finish(h, &c, g, out);
}

const om_head_ops om_head_yolox = {
    .name = "yolox",
    .title = "YOLOX detection",
    .family = OM_FAMILY_YOLOX,
    .conf = 0.25f,
    .iou = 0.45f,
    .init = init,
    .decode = decode,
};
