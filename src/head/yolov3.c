/* YOLOv3 and its kin as Darknet computes them: a raw grid [N, anchors*(5+classes), rows, columns] for each
 * scale; the anchors, which of them a scale uses, the number of classes and the centres' stretch come from
 * the model's metadata (omma.anchors, omma.masks, omma.classes, omma.scale_x_y), written by the Darknet
 * import. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"
#include "head/number.h"

#define BOX_PLANES 5
#define MAX_SCALES OM_HEAD_GRIDS
#define MAX_ANCHORS 64

typedef struct scale {
    int n;                        /* anchors */
    float anchor[MAX_ANCHORS][2]; /* width, height in input pixels */
    float scale_xy;
} scale;

typedef struct yolov3 {
    int n, classes;
    scale scales[MAX_SCALES]; /* in the order of the outputs */
} yolov3;

static int bad_meta(const om_model_desc *desc, const char *key, const char *expected)
{
    const char *value = om_model_desc_meta(desc, key);
    if (!value)
        return om_fail(OM_ERR_ARG, "yolov3 head: the model has no metadata %s; expected %s", key, expected);
    return om_fail(OM_ERR_ARG, "yolov3 head: metadata %s is '%.80s'; expected %s", key, value, expected);
}

static int read_classes(yolov3 *p, const om_model_desc *desc)
{
    double n;
    const char *text = om_model_desc_meta(desc, "omma.classes");
    if (!text || om_group_read(&text, &n, 1) != 1 || *text || !(n >= 1 && n <= 1e6))
        return bad_meta(desc, "omma.classes", "the number of classes");
    p->classes = (int)n;
    return OM_OK;
}

/* The anchors that each output's boxes have, out of the list beside them. */
static int read_anchors(yolov3 *p, const om_model_desc *desc)
{
    static const char some[] =
        "a group of width,height pairs for each output, as in '10,14,23,27;10,14,23,27'";
    static const char which[] = "a group of the anchors' numbers for each output, as in '3,4,5;0,1,2'";
    const char *anchors = om_model_desc_meta(desc, "omma.anchors"),
               *masks = om_model_desc_meta(desc, "omma.masks");
    if (!anchors) return bad_meta(desc, "omma.anchors", some);
    if (!masks) return bad_meta(desc, "omma.masks", which);
    for (int i = 0; i < p->n; i++) {
        double size[2 * MAX_ANCHORS], mask[MAX_ANCHORS];
        scale *s = &p->scales[i];
        int n = om_group_read(&anchors, size, 2 * MAX_ANCHORS);
        if (n < 2 || n % 2) return bad_meta(desc, "omma.anchors", some);
        s->n = om_group_read(&masks, mask, MAX_ANCHORS);
        if (s->n < 1) return bad_meta(desc, "omma.masks", which);
        for (int k = 0; k < s->n; k++) {
            if (!(mask[k] >= 0 && mask[k] < n / 2)) return bad_meta(desc, "omma.masks", which);
            s->anchor[k][0] = (float)size[2 * (int)mask[k]];
            s->anchor[k][1] = (float)size[2 * (int)mask[k] + 1];
        }
    }
    if (*anchors) return bad_meta(desc, "omma.anchors", some);
    return *masks ? bad_meta(desc, "omma.masks", which) : OM_OK;
}

static int read_scale_xy(yolov3 *p, const om_model_desc *desc)
{
    static const char key[] = "omma.scale_x_y", expected[] = "a number for each output, as in '1;1.05'";
    const char *text = om_model_desc_meta(desc, key);
    for (int i = 0; i < p->n; i++) {
        double v = 1;
        if (text && om_group_read(&text, &v, 1) != 1) return bad_meta(desc, key, expected);
        p->scales[i].scale_xy = (float)v;
    }
    return text && *text ? bad_meta(desc, key, expected) : OM_OK;
}

static int read_meta(yolov3 *p, const om_model_desc *desc)
{
    int rc = read_classes(p, desc);
    if (rc == OM_OK) rc = read_anchors(p, desc);
    if (rc == OM_OK) rc = read_scale_xy(p, desc);
    return rc;
}

static int init(om_head *h, const om_model_desc *desc)
{
    yolov3 *p = h->priv;
    if (desc->n_outputs < 1 || desc->n_outputs > MAX_SCALES)
        return om_head_misfit(desc, h->ops->name, "1 to 8 outputs [N, anchors*(5+classes), rows, columns]");
    p->n = desc->n_outputs;
    int rc = read_meta(p, desc);
    if (rc < 0) return rc;
    for (int i = 0; i < p->n; i++) {
        const om_shape *s = &desc->outputs[i].shape;
        int planes = p->scales[i].n * (BOX_PLANES + p->classes);
        if (s->rank == 4 && (s->dim[1] < 0 || s->dim[1] == planes)) continue;
        char what[96];
        snprintf(what, sizeof what, "output %d as [N, %d*(5+%d) = %d, rows, columns]", i, p->scales[i].n,
                 p->classes, planes);
        return om_head_misfit(desc, h->ops->name, what);
    }
    h->n_classes = p->classes;
    return OM_OK;
}

static float sigmoid(float x) { return 1 / (1 + expf(-x)); }

/* One anchor's planes: a column a cell. Objectness alone rules nearly all cells out, and so is looked at
 * first, and as the network left it. */
static void decode_anchor(const om_head *h, const scale *s, const om_box_matrix *m, int rows, int columns,
                          const float anchor[2], const om_geometry *g, om_picks *k, om_cands *c)
{
    float conf = h->params.conf;
    float least = conf <= 0 ? -INFINITY : logf(conf / (1 - conf)) - 1e-3f;
    float shift = (s->scale_xy - 1) / 2;
    float step_x = (float)g->dst_w / (float)columns, step_y = (float)g->dst_h / (float)rows;
    om_scores objectness = om_box_matrix_scores(m, 4, 1);
    k->n = h->kernels->pick(&objectness, least, k->index, k->best, k->which);
    for (size_t j = 0; j < k->n; j++) {
        size_t i = k->index[j];
        float best;
        int32_t class_id = om_box_best(h, m, i, BOX_PLANES, &best);
        float score = sigmoid(k->best[j]) * sigmoid(best);
        if (!(score > conf)) continue;
        float x =
            ((float)(i % (size_t)columns) + sigmoid(om_box_number(m, i, 0)) * s->scale_xy - shift) * step_x;
        float y =
            ((float)(i / (size_t)columns) + sigmoid(om_box_number(m, i, 1)) * s->scale_xy - shift) * step_y;
        float dx = expf(om_box_number(m, i, 2)) * anchor[0] / 2,
              dy = expf(om_box_number(m, i, 3)) * anchor[1] / 2;
        om_cands_add(h, c, (float[]){x - dx, y - dy, x + dx, y + dy}, score, class_id, (uint32_t)i);
    }
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const yolov3 *p = h->priv;
    size_t cells = 0, most = 0;
    for (int i = 0; i < p->n; i++) {
        const om_tensor *t = &outputs[i];
        int rc = om_head_expect(h, t, i, 4, item);
        if (rc < 0) return rc;
        if (t->shape.dim[1] != p->scales[i].n * (BOX_PLANES + p->classes))
            return om_head_misfit(h->desc, h->ops->name, "as many planes as its metadata tells");
        size_t area = (size_t)(t->shape.dim[2] * t->shape.dim[3]);
        cells += area * (size_t)p->scales[i].n;
        most = area > most ? area : most;
    }
    om_cands c;
    om_picks k;
    int rc = om_picks_take(s, cells, &c, most, &k);
    if (rc < 0) return rc;
    for (int i = 0; i < p->n; i++) {
        int rows = (int)outputs[i].shape.dim[2], columns = (int)outputs[i].shape.dim[3];
        size_t area = (size_t)rows * (size_t)columns, numbers = (size_t)(BOX_PLANES + p->classes);
        om_box_matrix m = {om_item_data(&outputs[i], item), outputs[i].dtype, area, numbers, 1, area};
        for (int a = 0; a < p->scales[i].n; a++) {
            decode_anchor(h, &p->scales[i], &m, rows, columns, p->scales[i].anchor[a], g, &k, &c);
            m.data = (const uint8_t *)m.data + numbers * area * om_dtype_size(m.dtype);
        }
    }
    return om_cands_finish(h, &c, g, out);
}

static bool grids(const om_head *h, om_head_grids *out)
{
    const yolov3 *p = h->priv;
    *out = (om_head_grids){.n = p->n, .n_outputs = p->n};
    for (int i = 0; i < p->n; i++) {
        if (p->scales[i].n > OM_HEAD_ANCHORS) return false;
        out->output[i] = i;
        out->anchors[i] = p->scales[i].n;
        out->scale_xy[i] = p->scales[i].scale_xy;
        memcpy(out->anchor[i], p->scales[i].anchor, (size_t)p->scales[i].n * sizeof out->anchor[i][0]);
    }
    return true;
}

const om_head_ops om_head_yolov3 = {
    .name = "yolov3",
    .title = "YOLOv3 raw grids of a Darknet import",
    .family = OM_FAMILY_YOLOV3,
    .conf = 0.25f,
    .iou = 0.45f,
    .priv_size = sizeof(yolov3),
    .init = init,
    .decode = decode,
    .grids = grids,
};
