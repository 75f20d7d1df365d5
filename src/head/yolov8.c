/* YOLOv8 and v11 as Ultralytics exports them: one output [N, 4 + classes, anchors], a column an anchor:
 * centre x, centre y, width, height in input pixels, then the classes' scores. */
#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"

#define BOX_ROWS 4

static int init(om_head *h, const om_model_desc *desc)
{
    static const char what[] = "one output [N, 4+classes, anchors]";
    const om_shape *s = &desc->outputs[0].shape;
    if (desc->n_outputs != 1 || s->rank != 3) return om_head_misfit(desc, h->ops->name, what);
    int64_t rows = s->dim[1];
    if (rows < 0) return OM_OK;
    if (rows <= BOX_ROWS) return om_head_misfit(desc, h->ops->name, what);
    if (desc->n_labels && rows != BOX_ROWS + desc->n_labels)
        return om_fail(OM_ERR_ARG,
                       "%s head: output %s has %lld rows; 4 and one for each of %d labels were expected",
                       h->ops->name, desc->outputs[0].name, (long long)rows, desc->n_labels);
    h->n_classes = (int)(rows - BOX_ROWS);
    return OM_OK;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const om_tensor *t = &outputs[0];
    int rc = om_head_expect(h, t, 0, 3, item);
    if (rc < 0) return rc;
    if (t->shape.dim[1] <= BOX_ROWS) return om_head_misfit(h->desc, h->ops->name, "more than 4 rows");
    size_t classes = (size_t)t->shape.dim[1] - BOX_ROWS, n = (size_t)t->shape.dim[2];

    uint8_t *mem =
        om_head_scratch_get(s, om_cands_size(n) + 2 * om_piece(n * sizeof(float)) + om_floats_size(t));
    if (!mem) return OM_ERR_NOMEM;
    om_cands c;
    om_cands_init(&c, &mem, n);
    float *best = om_take(&mem, n * sizeof *best);
    int32_t *row = om_take(&mem, n * sizeof *row);
    const float *m = om_floats(t, item, &mem);

    h->kernels->column_max(m + BOX_ROWS * n, n, classes, n, best, row);
    const float *x = m, *y = m + n, *w = m + 2 * n, *hh = m + 3 * n;
    for (size_t i = 0; i < n; i++) {
        if (!(best[i] > h->params.conf)) continue;
        float dx = w[i] / 2, dy = hh[i] / 2;
        om_cands_add(h, &c, (float[]){x[i] - dx, y[i] - dy, x[i] + dx, y[i] + dy}, best[i], row[i],
                     (uint32_t)i);
    }
    return om_cands_finish(h, &c, g, out);
}

const om_head_ops om_head_yolov8 = {
    .name = "yolov8",
    .title = "YOLOv8 and v11 detection",
    .family = OM_FAMILY_YOLOV8,
    .conf = 0.25f,
    .iou = 0.7f,
    .init = init,
    .decode = decode,
};
