/* YOLOv5 as its own export writes it: [N, anchors, 5 + classes], a row an anchor: centre x, centre y, width,
 * height in input pixels, objectness, then the classes' scores, all decoded. Exports that add the raw grids
 * put them behind and with more dimensions; they are not read. */
#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"

#define BOX_COLUMNS 5

typedef struct yolov5 {
    int output;
} yolov5;

static int init(om_head *h, const om_model_desc *desc)
{
    static const char what[] = "an output [N, anchors, 5+classes]";
    yolov5 *p = h->priv;
    while (p->output < desc->n_outputs && desc->outputs[p->output].shape.rank != 3) p->output++;
    if (p->output == desc->n_outputs) return om_head_misfit(desc, h->ops->name, what);
    int64_t columns = desc->outputs[p->output].shape.dim[2];
    if (columns < 0) return OM_OK;
    if (columns <= BOX_COLUMNS) return om_head_misfit(desc, h->ops->name, what);
    if (desc->n_labels && columns != BOX_COLUMNS + desc->n_labels)
        return om_fail(OM_ERR_ARG,
                       "%s head: output %s has %lld columns; 5 and one for each of %d labels were expected",
                       h->ops->name, desc->outputs[p->output].name, (long long)columns, desc->n_labels);
    h->n_classes = (int)(columns - BOX_COLUMNS);
    return OM_OK;
}

/* The largest class's index; NaN never wins. */
static int best_class(const float *score, int n)
{
    int best = 0;
    for (int k = 1; k < n; k++)
        if (score[k] > score[best] || score[best] != score[best]) best = k;
    return best;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const yolov5 *p = h->priv;
    const om_tensor *t = &outputs[p->output];
    int rc = om_head_expect(h, t, p->output, 3, item);
    if (rc < 0) return rc;
    if (t->shape.dim[2] <= BOX_COLUMNS) return om_head_misfit(h->desc, h->ops->name, "more than 5 columns");
    size_t n = (size_t)t->shape.dim[1], columns = (size_t)t->shape.dim[2];

    uint8_t *mem = om_head_scratch_get(s, om_cands_size(n) + om_floats_size(t));
    if (!mem) return OM_ERR_NOMEM;
    om_cands c;
    om_cands_init(&c, &mem, n);
    const float *row = om_floats(t, item, &mem);
    float conf = h->params.conf;
    for (size_t i = 0; i < n; i++, row += columns) {
        if (!(row[4] > conf)) continue;
        int k = best_class(row + BOX_COLUMNS, (int)(columns - BOX_COLUMNS));
        float score = row[4] * row[BOX_COLUMNS + k], dx = row[2] / 2, dy = row[3] / 2;
        if (!(score > conf)) continue;
        om_cands_add(h, &c, (float[]){row[0] - dx, row[1] - dy, row[0] + dx, row[1] + dy}, score, k,
                     (uint32_t)i);
    }
    return om_cands_finish(h, &c, g, out);
}

const om_head_ops om_head_yolov5 = {
    .name = "yolov5",
    .title = "YOLOv5 detection",
    .family = OM_FAMILY_YOLOV5,
    .conf = 0.25f,
    .iou = 0.45f,
    .priv_size = sizeof(yolov5),
    .init = init,
    .decode = decode,
};
