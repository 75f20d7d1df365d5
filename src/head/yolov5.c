/* YOLOv5 as its own export writes it: [N, anchors, 5 + classes], a row an anchor: centre x, centre y, width,
 * height in input pixels, objectness, then the classes' scores, all decoded. Exports that add the raw grids
 * put them behind and with more dimensions; they are not read. The same matrix turned, a column an anchor, is
 * known by the number of labels. Objectness rules nearly all boxes out, and is all that is read of those. */
#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"

#define BOX_COLUMNS 5

#define OBJECTNESS 4

typedef struct yolov5 {
    int output;
    bool columns; /* an anchor is one */
} yolov5;

static int init(om_head *h, const om_model_desc *desc)
{
    static const char what[] = "an output [N, anchors, 5+classes]";
    yolov5 *p = h->priv;
    while (p->output < desc->n_outputs && desc->outputs[p->output].shape.rank != 3) p->output++;
    if (p->output == desc->n_outputs) return om_head_misfit(desc, h->ops->name, what);
    const om_shape *s = &desc->outputs[p->output].shape;
    int64_t labelled = BOX_COLUMNS + desc->n_labels;
    p->columns = desc->n_labels && s->dim[1] == labelled && s->dim[2] != labelled;
    int64_t columns = s->dim[p->columns ? 1 : 2];
    if (columns < 0) return OM_OK;
    if (columns <= BOX_COLUMNS) return om_head_misfit(desc, h->ops->name, what);
    if (desc->n_labels && columns != BOX_COLUMNS + desc->n_labels)
        return om_fail(OM_ERR_ARG,
                       "%s head: output %s has %lld columns; 5 and one for each of %d labels were expected",
                       h->ops->name, desc->outputs[p->output].name, (long long)columns, desc->n_labels);
    h->n_classes = (int)(columns - BOX_COLUMNS);
    return OM_OK;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const yolov5 *p = h->priv;
    const om_tensor *t = &outputs[p->output];
    int rc = om_head_expect(h, t, p->output, 3, item);
    if (rc < 0) return rc;
    om_box_matrix m;
    om_box_matrix_init(&m, t, item, p->columns);
    if (m.numbers <= BOX_COLUMNS) return om_head_misfit(h->desc, h->ops->name, "more than 5 columns");

    om_cands c;
    om_picks k;
    rc = om_picks_take(s, m.n, &c, m.n, &k);
    if (rc < 0) return rc;
    om_scores objectness = om_box_matrix_scores(&m, OBJECTNESS, 1);
    float conf = h->params.conf;
    k.n = h->kernels->pick(&objectness, conf, k.index, k.best, k.which);
    for (size_t i = 0; i < k.n; i++) {
        float best;
        if (i + OM_AHEAD < k.n) om_box_prefetch(&m, k.index[i + OM_AHEAD]);
        int32_t class_id = om_box_best(h, &m, k.index[i], BOX_COLUMNS, &best);
        float score = k.best[i] * best;
        if (score > conf) om_cands_add_centred(h, &c, &m, k.index[i], score, class_id);
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
