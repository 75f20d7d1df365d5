/* Classification: one output [N, classes] (or [N, classes, 1, 1]). Scores that are no probabilities yet go
 * through a softmax; the best top_k above the threshold become detections that cover what was looked at. */
#include <math.h>

#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"

static int init(om_head *h, const om_model_desc *desc)
{
    static const char what[] = "one output [N, classes]";
    if (desc->n_outputs != 1) return om_head_misfit(desc, h->ops->name, what);
    const om_shape *s = &desc->outputs[0].shape;
    if (s->rank < 2) return om_head_misfit(desc, h->ops->name, what);
    for (int i = 2; i < s->rank; i++)
        if (s->dim[i] > 1) return om_head_misfit(desc, h->ops->name, what);
    if (s->dim[1] < 0) return OM_OK;
    if (desc->n_labels && s->dim[1] != desc->n_labels)
        return om_fail(OM_ERR_ARG, "%s head: output %s has %lld scores for %d labels", h->ops->name,
                       desc->outputs[0].name, (long long)s->dim[1], desc->n_labels);
    h->n_classes = (int)s->dim[1];
    return OM_OK;
}

/* Already a distribution: nothing negative, and one in all but for rounding. */
static bool sums_to_one(const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(v[i] >= 0)) return false;
        sum += v[i];
    }
    return fabs(sum - 1) < 1e-2;
}

/* The scores of unwanted classes become none at all, in a copy unless they lie there already. */
static const float *only_wanted(const om_head *h, const float *v, size_t n, float *copy)
{
    if (!h->params.n_classes) return v;
    for (size_t i = 0; i < n; i++) copy[i] = om_head_wants(h, (int32_t)i) ? v[i] : -INFINITY;
    return copy;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const om_tensor *t = &outputs[0];
    int rc = om_head_expect(h, t, 0, h->desc->outputs[0].shape.rank, item);
    if (rc < 0) return rc;
    for (int i = 2; i < t->shape.rank; i++)
        if (t->shape.dim[i] != 1) return om_head_misfit(h->desc, h->ops->name, "one place for each picture");
    size_t n = (size_t)t->shape.dim[1];
    size_t most = (size_t)(h->params.top_k < h->params.max_boxes ? h->params.top_k : h->params.max_boxes);
    most = most < n ? most : n;
    uint8_t *mem = om_head_scratch_get(s, om_piece(n * sizeof(float)) + om_piece(most * sizeof(uint32_t)) +
                                              om_floats_size(t));
    if (!mem) return OM_ERR_NOMEM;
    float *soft = om_take(&mem, n * sizeof *soft);
    uint32_t *index = om_take(&mem, most * sizeof *index);
    const float *p = om_floats(t, item, &mem);
    if (!h->desc->probabilities && !sums_to_one(p, n)) {
        h->kernels->softmax(p, n, soft);
        p = soft;
    }

    p = only_wanted(h, p, n, soft);

    size_t found = h->kernels->top_k(p, n, h->params.conf > 0 ? h->params.conf : -INFINITY, most, index);
    for (size_t k = 0; k < found; k++) {
        om_detection *d = om_dets_add(out);
        if (!d) return om_fail_nomem("detections");
        d->x = (float)g->src_x;
        d->y = (float)g->src_y;
        d->w = (float)g->src_w;
        d->h = (float)g->src_h;
        d->score = p[index[k]];
        d->class_id = (int32_t)index[k];
    }
    return OM_OK;
}

const om_head_ops om_head_classify = {
    .name = "classify",
    .title = "classification, the best classes of a picture",
    .family = OM_FAMILY_CLASSIFY,
    .conf = 0,
    .iou = 1,
    .init = init,
    .decode = decode,
};
