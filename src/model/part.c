/* Small tensors whose elements are known one by one. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/infer.h"

bool om_dtype_is_float(om_dtype t)
{
    return t == OM_DTYPE_F32 || t == OM_DTYPE_F16 || t == OM_DTYPE_BF16 || t == OM_DTYPE_F64;
}

static uint32_t f32_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float bf16_to_f32(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

om_num om_num_fit(om_dtype t, om_num v)
{
    switch (t) {
    case OM_DTYPE_F32: return (om_num){.f = (float)v.f};
    case OM_DTYPE_F16: return (om_num){.f = om_f16_to_f32(om_f32_to_f16((float)v.f))};
    case OM_DTYPE_BF16: return (om_num){.f = bf16_to_f32(om_f32_to_bf16_bits(f32_bits((float)v.f)))};
    case OM_DTYPE_U8: return (om_num){.i = (uint8_t)v.i};
    case OM_DTYPE_I8: return (om_num){.i = (int8_t)v.i};
    case OM_DTYPE_U16: return (om_num){.i = (uint16_t)v.i};
    case OM_DTYPE_I16: return (om_num){.i = (int16_t)v.i};
    case OM_DTYPE_U32: return (om_num){.i = (uint32_t)v.i};
    case OM_DTYPE_I32: return (om_num){.i = (int32_t)v.i};
    case OM_DTYPE_BOOL: return (om_num){.i = v.i != 0};
    default: return v;
    }
}

int om_part_create(om_dtype dtype, const om_shape *shape, om_part **out)
{
    *out = NULL;
    int64_t n = om_shape_count(shape);
    om_part *p = om_calloc(1, sizeof *p);
    if (!p) return OM_ERR_NOMEM;
    p->dtype = dtype;
    p->shape = *shape;
    p->n = n < 0 ? 0 : n;
    p->v = om_calloc((size_t)p->n, sizeof *p->v);
    p->known = om_calloc((size_t)p->n, sizeof *p->known);
    if (!p->v || !p->known) {
        om_part_destroy(p);
        return OM_ERR_NOMEM;
    }
    *out = p;
    return OM_OK;
}

void om_part_destroy(om_part *p)
{
    if (!p) return;
    om_free(p->v);
    om_free(p->known);
    om_free(p);
}

bool om_part_complete(const om_part *p)
{
    for (int64_t i = 0; i < p->n; i++)
        if (!p->known[i]) return false;
    return true;
}

static om_num read_num(om_dtype t, const void *data, int64_t i)
{
    switch (t) {
    case OM_DTYPE_F32: return (om_num){.f = ((const float *)data)[i]};
    case OM_DTYPE_F64: return (om_num){.f = ((const double *)data)[i]};
    case OM_DTYPE_F16: return (om_num){.f = om_f16_to_f32(((const uint16_t *)data)[i])};
    case OM_DTYPE_BF16: return (om_num){.f = bf16_to_f32(((const uint16_t *)data)[i])};
    case OM_DTYPE_I8: return (om_num){.i = ((const int8_t *)data)[i]};
    case OM_DTYPE_I16: return (om_num){.i = ((const int16_t *)data)[i]};
    case OM_DTYPE_U16: return (om_num){.i = ((const uint16_t *)data)[i]};
    case OM_DTYPE_I32: return (om_num){.i = ((const int32_t *)data)[i]};
    case OM_DTYPE_U32: return (om_num){.i = ((const uint32_t *)data)[i]};
    case OM_DTYPE_I64:
    case OM_DTYPE_U64: return (om_num){.i = ((const int64_t *)data)[i]};
    default: /* U8 and BOOL */ return (om_num){.i = ((const uint8_t *)data)[i]};
    }
}

static void write_num(om_dtype t, void *data, int64_t i, om_num v)
{
    float f = om_dtype_is_float(t) ? (float)v.f : 0;
    if (t == OM_DTYPE_F32) ((float *)data)[i] = f;
    else if (t == OM_DTYPE_F64) ((double *)data)[i] = v.f;
    else if (t == OM_DTYPE_F16) ((uint16_t *)data)[i] = om_f32_to_f16(f);
    else if (t == OM_DTYPE_BF16) ((uint16_t *)data)[i] = (uint16_t)(f32_bits(f) >> 16); /* fitted already */
    else memcpy((char *)data + (size_t)i * om_dtype_size(t), &v.i, om_dtype_size(t));
}

int om_part_from_const(const om_const *c, int64_t limit, om_part **out)
{
    *out = NULL;
    int64_t n = om_shape_count(&c->shape);
    if (n < 0 || n > limit || !om_dtype_size(c->dtype) || !c->data) return OM_OK;
    int err = om_part_create(c->dtype, &c->shape, out);
    if (err < 0) return err;
    for (int64_t i = 0; i < n; i++) {
        (*out)->v[i] = read_num(c->dtype, c->data, i);
        (*out)->known[i] = true;
    }
    (*out)->pure = true;
    return OM_OK;
}

int om_part_to_const(const om_part *p, om_const **out)
{
    *out = NULL;
    om_const *c = om_calloc(1, sizeof *c);
    if (!c) return OM_ERR_NOMEM;
    c->dtype = p->dtype;
    c->shape = p->shape;
    c->size = (size_t)p->n * om_dtype_size(p->dtype);
    c->data = om_alloc(c->size);
    if (!c->data) {
        om_free(c);
        return OM_ERR_NOMEM;
    }
    for (int64_t i = 0; i < p->n; i++) write_num(p->dtype, c->data, i, p->v[i]);
    *out = c;
    return OM_OK;
}

bool om_next_index(const om_shape *s, int64_t *at)
{
    for (int i = s->rank; i-- > 0;) {
        if (++at[i] < s->dim[i]) return true;
        at[i] = 0;
    }
    return false;
}

int64_t om_flat_index(const om_shape *s, const int64_t *at)
{
    int64_t k = 0;
    for (int i = 0; i < s->rank; i++) k = k * s->dim[i] + at[i];
    return k;
}

void om_part_take(om_part *out, int64_t to, const om_part *in, int64_t from)
{
    if (to < 0 || to >= out->n || from < 0 || from >= in->n) return;
    out->v[to] = in->v[from];
    out->known[to] = in->known[from];
}
