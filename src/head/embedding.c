/* Embeddings: one output [N, numbers] (or with ones behind it) becomes the frame's vector of length 1. */
#include <math.h>

#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"

static int check(const om_head *h, const om_shape *s)
{
    for (int i = 2; i < s->rank; i++)
        if (s->dim[i] > 1) return om_head_misfit(h->desc, h->ops->name, "one output [N, numbers]");
    if (s->dim[1] > h->params.vector_max)
        return om_fail(OM_ERR_ARG, "%s head: output %s has %lld numbers, but vector-max is %d", h->ops->name,
                       h->desc->outputs[0].name, (long long)s->dim[1], h->params.vector_max);
    return OM_OK;
}

static int init(om_head *h, const om_model_desc *desc)
{
    if (desc->n_outputs != 1 || desc->outputs[0].shape.rank < 2)
        return om_head_misfit(desc, h->ops->name, "one output [N, numbers]");
    h->n_classes = 0;
    return check(h, &desc->outputs[0].shape);
}

/* What is no number counts as 0. A vector of nothing but zeros stays one. */
static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    const om_tensor *t = &outputs[0];
    int rc = om_head_expect(h, t, 0, h->desc->outputs[0].shape.rank, item);
    if (rc == OM_OK) rc = check(h, &t->shape);
    if (rc < 0) return rc;
    size_t n = (size_t)t->shape.dim[1];
    uint8_t *mem = om_head_scratch_get(s, om_piece(n * sizeof(float)) + om_floats_size(t));
    if (!mem) return OM_ERR_NOMEM;
    float *unit = om_take(&mem, n * sizeof *unit);
    const float *v = om_floats(t, item, &mem);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += isfinite(v[i]) ? (double)v[i] * v[i] : 0;
    double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (size_t i = 0; i < n; i++) unit[i] = isfinite(v[i]) ? (float)(v[i] * scale) : 0;
    return om_dets_set_vector(out, unit, n);
}

const om_head_ops om_head_embedding = {
    .name = "embedding",
    .title = "an embedding: a vector of length 1",
    .family = OM_FAMILY_EMBEDDING,
    .conf = 0,
    .iou = 1,
    .init = init,
    .decode = decode,
};
