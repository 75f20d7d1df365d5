/* The walk over a model's bytes before protobuf-c unpacks them: it recurses without a bound and trusts sizes.
 */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "model/onnx_io.h"
#include "model/wire.h"

#define MAX_DEPTH 64
/* A file of many tiny messages may unpack to far more than its size; no honest one is near this. */
#define MEMORY_BASE (256ull << 20)
#define MEMORY_FACTOR 16
#define WIRE_COST 48 /* what protobuf-c notes for each field while it works */

typedef struct scan {
    const uint8_t *begin;
    uint64_t memory, max_memory;
} scan;

static int broken(const scan *s, const uint8_t *at, const char *message, const char *what)
{
    return om_fail(OM_ERR_FORMAT, "not a valid ONNX model: %s in %s at byte %zu", what, message,
                   (size_t)(at - s->begin));
}

static om_wire_type native_type(ProtobufCType t)
{
    switch (t) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT: return OM_WIRE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return OM_WIRE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return OM_WIRE_BYTES;
    default: return OM_WIRE_VARINT;
    }
}

/* Many numbers in one field. What is wrong, or NULL; *count of them. */
static const char *scan_packed(const om_wire_field *f, om_wire_type item, uint64_t *count)
{
    if (item == OM_WIRE_32BIT || item == OM_WIRE_64BIT) {
        size_t size = item == OM_WIRE_32BIT ? 4 : 8;
        *count = f->len / size;
        return f->len % size ? "a list of numbers with a cut last one" : NULL;
    }
    const uint8_t *p = f->payload, *end = p + f->len;
    uint64_t v;
    for (*count = 0; p < end; ++*count)
        if (!om_wire_varint(&p, end, &v)) return "a broken number in a list";
    return NULL;
}

/* A known field that is no message: its wire type and content. */
static const char *scan_plain(const om_wire_field *f, const ProtobufCFieldDescriptor *d, uint64_t *memory)
{
    om_wire_type want = native_type(d->type);
    bool repeated = d->label == PROTOBUF_C_LABEL_REPEATED;
    uint64_t count = 1;
    if (repeated && want != OM_WIRE_BYTES && f->type == OM_WIRE_BYTES) {
        const char *wrong = scan_packed(f, want, &count);
        if (wrong) return wrong;
    } else if (f->type != want) {
        return "a field of another wire type than the schema's";
    }
    if (d->type == PROTOBUF_C_TYPE_STRING && memchr(f->payload, 0, f->len)) return "a text with a zero byte";
    *memory += want == OM_WIRE_BYTES ? f->len + 32 : count * 16;
    return NULL;
}

static int scan_message(scan *s, const uint8_t *p, const uint8_t *end, const ProtobufCMessageDescriptor *m,
                        int depth)
{
    uint64_t seen = 0;
    if (depth >= MAX_DEPTH)
        return om_fail(OM_ERR_FORMAT, "not a valid ONNX model: messages nested deeper than %d at byte %zu",
                       MAX_DEPTH, (size_t)(p - s->begin));
    s->memory += m->sizeof_message + WIRE_COST;
    while (p < end) {
        const uint8_t *at = p;
        om_wire_field f;
        const char *wrong = om_wire_next(&p, end, &f);
        if (wrong) return broken(s, at, m->short_name, wrong);
        const ProtobufCFieldDescriptor *d = protobuf_c_message_descriptor_get_field(m, f.number);
        s->memory += WIRE_COST;
        if (!d) s->memory += f.len + WIRE_COST;
        else if (d->type != PROTOBUF_C_TYPE_MESSAGE) wrong = scan_plain(&f, d, &s->memory);
        else if (f.type != OM_WIRE_BYTES) wrong = "a field of another wire type than the schema's";
        if (wrong) return broken(s, at, m->short_name, wrong);
        if (s->memory > s->max_memory)
            return om_fail(OM_ERR_FORMAT,
                           "not a valid ONNX model: its messages would take more than %" PRIu64 " MB",
                           s->max_memory >> 20);
        if (!d || d->type != PROTOBUF_C_TYPE_MESSAGE) continue;
        uint64_t bit = 1ull << ((size_t)(d - m->fields) & 63);
        if (d->label != PROTOBUF_C_LABEL_REPEATED && (seen & bit))
            return broken(s, at, m->short_name, "a second message where one may be");
        seen |= bit;
        int err = scan_message(s, f.payload, f.payload + f.len, d->descriptor, depth + 1);
        if (err < 0) return err;
    }
    return OM_OK;
}

int om_onnx_prescan(const uint8_t *bytes, size_t len)
{
    if (!len) return om_fail(OM_ERR_FORMAT, "not an ONNX model: the file is empty");
    if (len > INT32_MAX)
        return om_fail(OM_ERR_FORMAT, "not an ONNX model: larger than 2 GB, which none can be");
    scan s = {bytes, 0, MEMORY_BASE + MEMORY_FACTOR * (uint64_t)len};
    return scan_message(&s, bytes, bytes + len, &onnx__model_proto__descriptor, 0);
}
