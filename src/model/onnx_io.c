/* Types and kept bytes of ONNX messages. Tensors: onnx_tensor.c. */
#include "model/onnx_io.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/graph_priv.h"
#include "model/wire.h"

static void *pb_alloc(void *out_of_memory, size_t size)
{
    void *p = om_alloc(size);
    if (!p) *(bool *)out_of_memory = true;
    return p;
}

static void pb_free(void *out_of_memory, void *p) { om_free(p); }

ProtobufCAllocator om_onnx_allocator(bool *out_of_memory)
{
    *out_of_memory = false;
    return (ProtobufCAllocator){pb_alloc, pb_free, out_of_memory};
}

static const struct {
    int32_t onnx;
    om_dtype dtype;
} dtypes[] = {{1, OM_DTYPE_F32},  {2, OM_DTYPE_U8},   {3, OM_DTYPE_I8},   {4, OM_DTYPE_U16},
              {5, OM_DTYPE_I16},  {6, OM_DTYPE_I32},  {7, OM_DTYPE_I64},  {8, OM_DTYPE_STRING},
              {9, OM_DTYPE_BOOL}, {10, OM_DTYPE_F16}, {11, OM_DTYPE_F64}, {12, OM_DTYPE_U32},
              {13, OM_DTYPE_U64}, {16, OM_DTYPE_BF16}};

om_dtype om_onnx_dtype(int32_t data_type)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (dtypes[i].onnx == data_type) return dtypes[i].dtype;
    return OM_DTYPE_NONE;
}

int32_t om_onnx_data_type(om_dtype dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (dtypes[i].dtype == dtype) return dtypes[i].onnx;
    return 0;
}

static int read_dim(const Onnx__TensorShapeProto__Dimension *d, int i, om_onnx_type *out)
{
    out->shape.dim[i] = OM_DIM_DYNAMIC;
    if (d->denotation || d->base.n_unknown_fields) out->whole = false;
    if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM) {
        if (*d->dim_param) out->dim_param[i] = d->dim_param;
        else out->whole = false;
    } else if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE) {
        if (d->dim_value > OM_DIM_MAX)
            return om_fail(OM_ERR_FORMAT, "dimension %d is %lld, larger than any tensor", i,
                           (long long)d->dim_value);
        if (d->dim_value < 0) out->whole = false; /* some exporters write -1 for a dynamic one */
        else out->shape.dim[i] = d->dim_value;
    }
    return OM_OK;
}

int om_onnx_read_type(const Onnx__TypeProto *t, om_onnx_type *out)
{
    memset(out, 0, sizeof *out);
    out->shape.rank = -1;
    if (!t) {
        out->whole = true;
        return OM_OK;
    }
    const Onnx__TypeProto__Tensor *tensor =
        t->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ? t->tensor_type : NULL;
    if (!tensor) return OM_OK;
    out->dtype = om_onnx_dtype(tensor->elem_type);
    out->whole = out->dtype != OM_DTYPE_NONE && !t->denotation && !t->base.n_unknown_fields &&
                 !tensor->base.n_unknown_fields;
    const Onnx__TensorShapeProto *shape = tensor->shape;
    if (!shape) return OM_OK;
    if (shape->base.n_unknown_fields || shape->n_dim > OM_MAX_RANK) out->whole = false;
    if (shape->n_dim > OM_MAX_RANK) return OM_OK;
    out->shape.rank = (int)shape->n_dim;
    for (int i = 0; i < out->shape.rank; i++) {
        int err = read_dim(shape->dim[i], i, out);
        if (err < 0) return err;
    }
    return OM_OK;
}

int om_onnx_keep_unknown(om_unknown *u, const ProtobufCMessage *m)
{
    for (unsigned i = 0; i < m->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *f = &m->unknown_fields[i];
        const uint8_t *p = f->data, *end = f->data + f->len;
        uint64_t len = 0;
        if (f->wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED && !om_wire_varint(&p, end, &len))
            return om_fail(OM_ERR_INTERNAL, "field %u: kept without its length", f->tag);
        int err = om_unknown_put(u, f->tag, (om_wire_type)f->wire_type, p, (size_t)(end - p));
        if (err < 0) return err;
    }
    return OM_OK;
}

int om_onnx_keep_message(om_unknown *u, uint32_t number, const ProtobufCMessage *m)
{
    if (!m) return OM_OK;
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = om_alloc(len);
    if (!bytes) return OM_ERR_NOMEM;
    protobuf_c_message_pack(m, bytes);
    int err = om_unknown_put(u, number, OM_WIRE_BYTES, bytes, len);
    om_free(bytes);
    return err;
}

int om_onnx_keep_text(om_unknown *u, uint32_t number, const char *text)
{
    return text && *text ? om_unknown_put(u, number, OM_WIRE_BYTES, text, strlen(text)) : OM_OK;
}
