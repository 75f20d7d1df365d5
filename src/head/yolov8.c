/* YOLOv8 and v11 as Ultralytics exports them: one output [N, 4 + classes, anchors], a column an anchor:
 * centre x, centre y, width, height in input pixels, then the classes' scores; or the same turned,
 * [N, anchors, 4 + classes]. */
#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"

#define BOX_ROWS 4

typedef enum anchors { BY_SIZE, COLUMNS, ROWS } anchors; /* what each of them is */

typedef struct yolov8 {
    anchors are;
} yolov8;

/* The number of labels tells, then which dim the model leaves open, which is the anchors'; else, and that is
 * seen at each decode, the anchors are more than the numbers of each. */
static anchors anchors_are(const om_model_desc *desc, const om_shape *s)
{
    int64_t labelled = BOX_ROWS + desc->n_labels;
    if (desc->n_labels && s->dim[1] == labelled) return COLUMNS;
    if (desc->n_labels && s->dim[2] == labelled) return ROWS;
    if (desc->n_labels) return COLUMNS;
    if (s->dim[1] < 0 && s->dim[2] < 0) return BY_SIZE;
    if (s->dim[1] < 0) return s->dim[2] > BOX_ROWS ? ROWS : COLUMNS;
    return s->dim[2] > BOX_ROWS && s->dim[1] > s->dim[2] ? ROWS : COLUMNS;
}

static int init(om_head *h, const om_model_desc *desc)
{
    static const char what[] = "one output [N, 4+classes, anchors]";
    yolov8 *p = h->priv;
    const om_shape *s = &desc->outputs[0].shape;
    if (desc->n_outputs != 1 || s->rank != 3) return om_head_misfit(desc, h->ops->name, what);
    p->are = anchors_are(desc, s);
    int64_t rows = s->dim[p->are == ROWS ? 2 : 1];
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
    const yolov8 *p = h->priv;
    const om_tensor *t = &outputs[0];
    int rc = om_head_expect(h, t, 0, 3, item);
    if (rc < 0) return rc;
    om_box_matrix m;
    anchors are = p->are == BY_SIZE ? anchors_are(h->desc, &t->shape) : p->are;
    om_box_matrix_init(&m, t, item, are == COLUMNS);
    if (m.numbers <= BOX_ROWS) return om_head_misfit(h->desc, h->ops->name, "more than 4 rows");

    om_cands c;
    om_picks k;
    rc = om_picks_take(s, m.n, &c, m.n, &k);
    if (rc < 0) return rc;
    om_scores scores = om_box_matrix_scores(&m, BOX_ROWS, m.numbers - BOX_ROWS);
    k.n = h->kernels->pick(&scores, h->params.conf, k.index, k.best, k.which);
    for (size_t i = 0; i < k.n; i++) {
        if (i + OM_AHEAD < k.n) om_box_prefetch(&m, k.index[i + OM_AHEAD]);
        om_cands_add_centred(h, &c, &m, k.index[i], k.best[i], k.which[i]);
    }
    return om_cands_finish(h, &c, g, out);
}

const om_head_ops om_head_yolov8 = {
    .name = "yolov8",
    .title = "YOLOv8 and v11 detection",
    .family = OM_FAMILY_YOLOV8,
    .conf = 0.25f,
    .iou = 0.7f,
    .priv_size = sizeof(yolov8),
    .init = init,
    .decode = decode,
};
