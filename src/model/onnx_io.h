/* What loading and saving share: the scan before unpacking, the numbers ONNX gives types, types and tensors
 * read from their messages. Thread-safety: functions without state. */
#ifndef OM_MODEL_ONNX_IO_H
#define OM_MODEL_ONNX_IO_H

#include "model/graph.h"
#include "model/onnx.pb-c.h"

/* Checks the bytes of a whole ModelProto before anything recursive reads them: nesting of messages, lengths,
 * wire types, and how much memory the unpacked messages would take. OM_ERR_FORMAT says what and where. */
int om_onnx_prescan(const uint8_t *bytes, size_t len);

/* Allocates through om_alloc; `allocator_data` is a bool that is set when memory ran out. */
ProtobufCAllocator om_onnx_allocator(bool *out_of_memory);

om_dtype om_onnx_dtype(int32_t data_type); /* NONE: one that omma does not compute with */
int32_t om_onnx_data_type(om_dtype dtype); /* 0 for NONE */

/* What a type message says of a tensor. */
typedef struct om_onnx_type {
    om_dtype dtype;
    om_shape shape;
    const char *dim_param[OM_MAX_RANK]; /* inside the message */
    bool whole;                         /* dtype, shape and names say all that the message says */
} om_onnx_type;
int om_onnx_read_type(const Onnx__TypeProto *t, om_onnx_type *out);

/* Fields the schema does not know, appended to `u`. */
int om_onnx_keep_unknown(om_unknown *u, const ProtobufCMessage *m);
/* A known message kept as bytes, as field `number`. NULL: nothing. */
int om_onnx_keep_message(om_unknown *u, uint32_t number, const ProtobufCMessage *m);
int om_onnx_keep_text(om_unknown *u, uint32_t number, const char *text);

/* A tensor: all of ONNX's ways to write the numbers become little-endian data; raw data is taken out of the
 * message instead of copied. `dir`: where external data may lie, or NULL. Errors name the tensor. */
int om_onnx_read_tensor(Onnx__TensorProto *t, const char *dir, om_const **out);
/* External data: exactly `need` bytes; *data is freed by om_free. */
int om_onnx_read_external(const Onnx__TensorProto *t, const char *dir, size_t need, void **data);

#endif
