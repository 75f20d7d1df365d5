/* YOLOv10 and other end-to-end exports, which choose their boxes themselves: one output [N, n, 6], a row a
 * box: corners in input pixels, score, class. */
#include <math.h>

#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"

#define COLUMNS 6

static int init(om_head *h, const om_model_desc *desc)
{
    const om_shape *s = &desc->outputs[0].shape;
    if (desc->n_outputs != 1 || s->rank != 3 || (s->dim[2] >= 0 && s->dim[2] != COLUMNS))
        return om_head_misfit(desc, h->ops->name, "one output [N, boxes, 6]");
    h->n_classes = 0;
    return OM_OK;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const om_tensor *t = &outputs[0];
    int rc = om_head_expect(h, t, 0, 3, item);
    if (rc < 0) return rc;
    if (t->shape.dim[2] != COLUMNS) return om_head_misfit(h->desc, h->ops->name, "6 columns");
    size_t n = (size_t)t->shape.dim[1];
    uint8_t *mem = om_head_scratch_get(s, om_cands_size(n) + om_floats_size(t));
    if (!mem) return OM_ERR_NOMEM;
    om_cands c;
    om_cands_init(&c, &mem, n);
    const float *row = om_floats(t, item, &mem);
    for (size_t i = 0; i < n; i++, row += COLUMNS) {
        float label = rintf(row[5]);
        if (!(row[4] > h->params.conf) || !(label >= 0 && label <= 1e6f)) continue;
        om_cands_add(h, &c, row, row[4], (int32_t)label, (uint32_t)i);
    }
    return om_cands_finish(h, &c, g, out);
}

const om_head_ops om_head_yolov10 = {
    .name = "yolov10",
    .title = "YOLOv10 and other end-to-end detection",
    .family = OM_FAMILY_YOLOV10,
    .conf = 0.25f,
    .iou = 1,
    .init = init,
    .decode = decode,
};
