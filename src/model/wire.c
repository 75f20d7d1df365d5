#include "model/wire.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define MAX_FIELD 536870911u /* 2^29 - 1 */
#define MAX_BYTES 0x7fffffff /* protobuf's limit for one message */
#define MAX_VARINT 10

bool om_wire_varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
    uint64_t v = 0;
    for (int i = 0; i < MAX_VARINT && *p + i < end; i++) {
        uint8_t b = (*p)[i];
        if (i == MAX_VARINT - 1 && b > 1) return false;
        v |= (uint64_t)(b & 0x7f) << (7 * i);
        if (b & 0x80) continue;
        *p += i + 1;
        *out = v;
        return true;
    }
    return false;
}

static const char *payload(const uint8_t **p, const uint8_t *end, om_wire_field *f)
{
    uint64_t len = 0;
    f->payload = *p;
    switch (f->type) {
    case OM_WIRE_VARINT:
        if (!om_wire_varint(p, end, &f->value)) return "a broken or cut number";
        f->len = (size_t)(*p - f->payload);
        return NULL;
    case OM_WIRE_64BIT: len = 8; break;
    case OM_WIRE_32BIT: len = 4; break;
    case OM_WIRE_BYTES:
        if (!om_wire_varint(p, end, &len)) return "a broken or cut length";
        f->payload = *p;
        break;
    default: return "a wire type that is none";
    }
    if (len > (uint64_t)(end - *p)) return "a field longer than what holds it (a cut file?)";
    f->len = (size_t)len;
    *p += len;
    return NULL;
}

const char *om_wire_next(const uint8_t **p, const uint8_t *end, om_wire_field *out)
{
    uint64_t tag;
    out->start = *p;
    if (!om_wire_varint(p, end, &tag)) return "a broken or cut tag";
    if (tag >> 3 == 0 || tag >> 3 > MAX_FIELD) return "a field number that is none";
    out->number = (uint32_t)(tag >> 3);
    out->type = (om_wire_type)(tag & 7);
    out->value = 0;
    return payload(p, end, out);
}

bool om_unknown_find(const om_unknown *u, uint32_t number, const uint8_t **found, size_t *len)
{
    if (!u->len) return false;
    const uint8_t *p = u->bytes, *end = u->bytes + u->len;
    om_wire_field f;
    while (p < end && !om_wire_next(&p, end, &f)) {
        if (f.number != number) continue;
        *found = f.payload;
        *len = f.len;
        return true;
    }
    return false;
}

static size_t encode(uint64_t v, uint8_t out[MAX_VARINT])
{
    size_t n = 0;
    for (; v > 0x7f; v >>= 7) out[n++] = (uint8_t)(v | 0x80);
    out[n++] = (uint8_t)v;
    return n;
}

int om_unknown_put(om_unknown *u, uint32_t number, om_wire_type type, const void *data, size_t len)
{
    uint8_t head[2 * MAX_VARINT];
    size_t n = encode((uint64_t)number << 3 | type, head);
    if (type == OM_WIRE_BYTES) n += encode(len, head + n);
    uint8_t *grown = om_realloc(u->bytes, u->len + n + len);
    if (!grown) return OM_ERR_NOMEM;
    memcpy(grown + u->len, head, n);
    if (len) memcpy(grown + u->len + n, data, len);
    u->bytes = grown;
    u->len += n + len;
    return OM_OK;
}

void om_wire_fini(om_wire_writer *w)
{
    om_free(w->data);
    *w = (om_wire_writer){0};
}

/* Room for `more` bytes in front; the text stays at the end of the larger block. */
static uint8_t *front(om_wire_writer *w, size_t more)
{
    if (w->err) return NULL;
    if (more > MAX_BYTES || w->len + more > MAX_BYTES) {
        w->err = om_fail(OM_ERR_UNSUPPORTED, "the model is larger than 2 GB, which an ONNX file cannot be");
        return NULL;
    }
    if (w->len + more > w->cap) {
        size_t cap = w->cap * 2 > w->len + more + 4096 ? w->cap * 2 : w->len + more + 4096;
        uint8_t *data = om_alloc(cap);
        if (!data) {
            w->err = OM_ERR_NOMEM;
            return NULL;
        }
        if (w->len) memcpy(data + cap - w->len, w->data + w->cap - w->len, w->len);
        om_free(w->data);
        w->data = data;
        w->cap = cap;
    }
    w->len += more;
    return w->data + w->cap - w->len;
}

void om_wire_bytes(om_wire_writer *w, const void *data, size_t len)
{
    uint8_t *at = len ? front(w, len) : NULL;
    if (at) memcpy(at, data, len);
}

static void number_in_front(om_wire_writer *w, uint64_t v)
{
    uint8_t text[MAX_VARINT];
    size_t n = encode(v, text);
    om_wire_bytes(w, text, n);
}

static void tag(om_wire_writer *w, uint32_t number, om_wire_type type)
{
    number_in_front(w, (uint64_t)number << 3 | type);
}

void om_wire_put_varint(om_wire_writer *w, uint32_t number, uint64_t v)
{
    number_in_front(w, v);
    tag(w, number, OM_WIRE_VARINT);
}

void om_wire_put_f32(om_wire_writer *w, uint32_t number, float v)
{
    om_wire_bytes(w, &v, sizeof v);
    tag(w, number, OM_WIRE_32BIT);
}

void om_wire_put_bytes(om_wire_writer *w, uint32_t number, const void *data, size_t len)
{
    size_t since = w->len;
    om_wire_bytes(w, data, len);
    om_wire_put_message(w, number, since);
}

void om_wire_put_text(om_wire_writer *w, uint32_t number, const char *text)
{
    if (text && *text) om_wire_put_bytes(w, number, text, strlen(text));
}

void om_wire_put_message(om_wire_writer *w, uint32_t number, size_t since)
{
    if (w->err) return;
    number_in_front(w, w->len - since);
    tag(w, number, OM_WIRE_BYTES);
}

int om_wire_take(om_wire_writer *w, char **bytes, size_t *len)
{
    *bytes = NULL;
    *len = 0;
    if (!w->err && !w->data && !(w->data = om_alloc(1))) w->err = OM_ERR_NOMEM;
    int err = w->err;
    if (err >= 0) {
        memmove(w->data, w->data + w->cap - w->len, w->len);
        *bytes = (char *)w->data;
        *len = w->len;
        w->data = NULL;
    }
    om_wire_fini(w);
    return err;
}
