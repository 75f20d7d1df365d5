/* The outputs' own numbers, one output behind the other, as the frame's vector, for models that no family
 * fits. At most `vector_max` of them. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "head/candidate.h"
#include "head/family.h"

static int init(om_head *h, const om_model_desc *desc)
{
    if (desc->n_outputs < 1) return om_head_misfit(desc, h->ops->name, "an output");
    h->n_classes = 0;
    return OM_OK;
}

static float bf16(uint16_t v)
{
    uint32_t bits = (uint32_t)v << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Element i as a float; what is not finite, and what is no number, as 0. */
static float element(const om_tensor *t, size_t i)
{
    float v = 0;
    switch (t->dtype) {
    case OM_DTYPE_F32: v = ((const float *)t->data)[i]; break;
    case OM_DTYPE_F16: v = om_f16_to_f32(((const uint16_t *)t->data)[i]); break;
    case OM_DTYPE_BF16: v = bf16(((const uint16_t *)t->data)[i]); break;
    case OM_DTYPE_F64: v = (float)((const double *)t->data)[i]; break;
    case OM_DTYPE_U8: v = ((const uint8_t *)t->data)[i]; break;
    case OM_DTYPE_I8: v = ((const int8_t *)t->data)[i]; break;
    case OM_DTYPE_U16: v = ((const uint16_t *)t->data)[i]; break;
    case OM_DTYPE_I16: v = ((const int16_t *)t->data)[i]; break;
    case OM_DTYPE_U32: v = (float)((const uint32_t *)t->data)[i]; break;
    case OM_DTYPE_I32: v = (float)((const int32_t *)t->data)[i]; break;
    case OM_DTYPE_U64: v = (float)((const uint64_t *)t->data)[i]; break;
    case OM_DTYPE_I64: v = (float)((const int64_t *)t->data)[i]; break;
    case OM_DTYPE_BOOL: v = ((const uint8_t *)t->data)[i] != 0; break;
    default: break;
    }
    return isfinite(v) ? v : 0;
}

/* An item's part of an output; outputs without a batch belong to the first item. */
static void item_of(const om_head *h, const om_tensor *t, int item, size_t *first, size_t *n)
{
    const om_model_desc *d = h->desc;
    const om_shape *in = d->n_inputs > 0 ? &d->inputs[0].shape : NULL;
    bool batched = t->shape.rank > 1 && (!in || in->rank == 4 || in->rank < 0);
    size_t count = (size_t)om_shape_count(&t->shape), items = batched ? (size_t)t->shape.dim[0] : 1;
    *n = items && (size_t)item < items ? count / items : 0;
    *first = *n * (size_t)item;
}

static int decode(const om_head *h, om_head_scratch *s, const om_tensor *outputs, int n_outputs, int item,
                  const om_geometry *g, om_dets *out)
{
    size_t n = 0, most = (size_t)h->params.vector_max, first, count;
    float *v = om_head_scratch_get(s, most * sizeof *v);
    if (!v) return OM_ERR_NOMEM;
    for (int i = 0; i < n_outputs; i++) {
        item_of(h, &outputs[i], item, &first, &count);
        for (size_t k = 0; k < count && n < most; k++) v[n++] = element(&outputs[i], first + k);
    }
    return om_dets_set_vector(out, v, n);
}

const om_head_ops om_head_raw = {
    .name = "raw",
    .title = "the outputs' own numbers",
    .family = OM_FAMILY_RAW,
    .conf = 0,
    .iou = 1,
    .init = init,
    .decode = decode,
};
