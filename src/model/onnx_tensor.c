/* Tensors of a file to constants, whichever of ONNX's ways holds their numbers. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/graph_priv.h"
#include "model/onnx_io.h"
#include "model/wire.h"

static const char *label(const Onnx__TensorProto *t) { return t->name && *t->name ? t->name : "(nameless)"; }

static int read_dims(const Onnx__TensorProto *t, om_shape *shape)
{
    shape->rank = t->n_dims > OM_MAX_RANK ? -1 : (int)t->n_dims;
    for (size_t i = 0; i < t->n_dims; i++) {
        if (t->dims[i] < 0 || t->dims[i] > OM_DIM_MAX)
            return om_fail(OM_ERR_FORMAT, "tensor '%s': dimension %zu is %" PRId64, label(t), i, t->dims[i]);
        if (i < OM_MAX_RANK) shape->dim[i] = t->dims[i];
    }
    if (shape->rank >= 0 && om_shape_count(shape) < 0)
        return om_fail(OM_ERR_FORMAT, "tensor '%s': its dimensions multiply to more than any memory",
                       label(t));
    return OM_OK;
}

/* Types that omma does not compute with are carried along as they are, all but the name. */
static int keep_whole(const Onnx__TensorProto *t, om_const *c)
{
    if (t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        return om_fail(OM_ERR_UNSUPPORTED, "tensor '%s': external data of type %d or rank %zu", label(t),
                       t->data_type, t->n_dims);
    Onnx__TensorProto nameless = *t;
    nameless.name = NULL;
    size_t len = protobuf_c_message_get_packed_size(&nameless.base);
    c->unknown.bytes = om_alloc(len);
    if (!c->unknown.bytes) return OM_ERR_NOMEM;
    c->unknown.len = protobuf_c_message_pack(&nameless.base, c->unknown.bytes);
    return OM_OK;
}

static int wrong_count(const Onnx__TensorProto *t, const om_const *c, size_t have, const char *unit,
                       size_t need)
{
    char text[OM_SHAPE_TEXT];
    om_shape_text(&c->shape, text);
    return om_fail(OM_ERR_FORMAT, "tensor '%s': holds %zu %s, %s of %s needs %zu", label(t), have, unit, text,
                   om_dtype_name(c->dtype), need);
}

static void narrow32(const int32_t *from, size_t n, om_dtype dtype, void *to)
{
    size_t size = om_dtype_size(dtype);
    for (size_t i = 0; i < n; i++)
        memcpy((char *)to + i * size, &from[i], size); /* little-endian: the low bytes */
}

static void narrow64(const uint64_t *from, size_t n, om_dtype dtype, void *to)
{
    size_t size = om_dtype_size(dtype);
    for (size_t i = 0; i < n; i++) memcpy((char *)to + i * size, &from[i], size);
}

/* The list that holds this type's numbers, and how many there are. */
static const void *typed_list(const Onnx__TensorProto *t, om_dtype dtype, size_t *n)
{
    switch (dtype) {
    case OM_DTYPE_F32: *n = t->n_float_data; return t->float_data;
    case OM_DTYPE_F64: *n = t->n_double_data; return t->double_data;
    case OM_DTYPE_I64: *n = t->n_int64_data; return t->int64_data;
    case OM_DTYPE_U64:
    case OM_DTYPE_U32: *n = t->n_uint64_data; return t->uint64_data;
    default: *n = t->n_int32_data; return t->int32_data;
    }
}

static int read_typed(const Onnx__TensorProto *t, om_const *c, size_t count)
{
    size_t n;
    const void *list = typed_list(t, c->dtype, &n);
    if (n != count) return wrong_count(t, c, n, "numbers", count);
    c->data = om_alloc(c->size);
    if (!c->data) return OM_ERR_NOMEM;
    if (!n) return OM_OK;
    if (c->dtype == OM_DTYPE_U32 || c->dtype == OM_DTYPE_U64) narrow64(list, n, c->dtype, c->data);
    else if (c->dtype == OM_DTYPE_F32 || c->dtype == OM_DTYPE_F64 || c->dtype == OM_DTYPE_I64)
        memcpy(c->data, list, c->size);
    else narrow32(list, n, c->dtype, c->data);
    return OM_OK;
}

static int read_raw(Onnx__TensorProto *t, om_const *c)
{
    if (t->raw_data.len != c->size) return wrong_count(t, c, t->raw_data.len, "bytes", c->size);
    if (!c->size) {
        c->data = om_alloc(0);
        return c->data ? OM_OK : OM_ERR_NOMEM;
    }
    c->data = t->raw_data.data;
    t->raw_data.data = NULL;
    t->raw_data.len = 0;
    t->has_raw_data = false;
    return OM_OK;
}

static int read_strings(const Onnx__TensorProto *t, om_const *c, size_t count)
{
    if (t->n_string_data != count) return wrong_count(t, c, t->n_string_data, "texts", count);
    c->strings = om_calloc(count, sizeof *c->strings);
    c->string_len = om_calloc(count, sizeof *c->string_len);
    if (!c->strings || !c->string_len) return OM_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const ProtobufCBinaryData *s = &t->string_data[i];
        c->string_len[i] = s->len;
        c->strings[i] = om_alloc(s->len + 1);
        if (!c->strings[i]) return OM_ERR_NOMEM;
        if (s->len) memcpy(c->strings[i], s->data, s->len);
        c->strings[i][s->len] = 0;
    }
    return OM_OK;
}

static int read_data(Onnx__TensorProto *t, const char *dir, om_const *c)
{
    size_t count = (size_t)om_shape_count(&c->shape);
    if (c->dtype == OM_DTYPE_STRING) return read_strings(t, c, count);
    if (__builtin_mul_overflow(count, om_dtype_size(c->dtype), &c->size))
        return om_fail(OM_ERR_FORMAT, "tensor '%s': its dimensions multiply to more than any memory",
                       label(t));
    if (t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        return om_onnx_read_external(t, dir, c->size, &c->data);
    return t->has_raw_data ? read_raw(t, c) : read_typed(t, c, count);
}

int om_onnx_read_tensor(Onnx__TensorProto *t, const char *dir, om_const **out)
{
    *out = NULL;
    if (t->segment) return om_fail(OM_ERR_UNSUPPORTED, "tensor '%s': stored in segments", label(t));
    om_const *c = om_calloc(1, sizeof *c);
    if (!c) return OM_ERR_NOMEM;
    int err = read_dims(t, &c->shape);
    if (err < 0) goto fail;
    c->dtype = om_onnx_dtype(t->data_type);
    if (c->dtype == OM_DTYPE_NONE || c->shape.rank < 0) {
        c->dtype = OM_DTYPE_NONE;
        err = keep_whole(t, c);
    } else {
        err = read_data(t, dir, c);
        if (err >= 0) err = om_onnx_keep_unknown(&c->unknown, &t->base);
        if (err >= 0) err = om_onnx_keep_text(&c->unknown, 12, t->doc_string);
    }
    if (err < 0) goto fail;
    *out = c;
    return OM_OK;
fail:
    om_const_destroy(c);
    return err;
}
