/* Protobuf's wire format: reading it strictly, and writing it from the end to the front.
 * Thread-safety: functions without state; a writer belongs to one thread. */
#ifndef OM_MODEL_WIRE_H
#define OM_MODEL_WIRE_H

#include "model/graph.h"

typedef enum om_wire_type {
    OM_WIRE_VARINT = 0,
    OM_WIRE_64BIT = 1,
    OM_WIRE_BYTES = 2,
    OM_WIRE_32BIT = 5
} om_wire_type;

typedef struct om_wire_field {
    uint32_t number;
    om_wire_type type;
    const uint8_t *start;   /* of the tag */
    const uint8_t *payload; /* behind tag and length */
    size_t len;             /* of the payload */
    uint64_t value;         /* VARINT only */
} om_wire_field;

/* The field at *p, which moves behind it. NULL, or what is wrong with the bytes. */
const char *om_wire_next(const uint8_t **p, const uint8_t *end, om_wire_field *out);
/* A varint at *p; false where it is longer than ten bytes or cut off. */
bool om_wire_varint(const uint8_t **p, const uint8_t *end, uint64_t *out);

/* The payload of field `number` among kept bytes; false: absent. */
bool om_unknown_find(const om_unknown *u, uint32_t number, const uint8_t **payload, size_t *len);
/* Keeps a field: for BYTES the length is put before the payload, else `payload` is as on the wire. */
int om_unknown_put(om_unknown *u, uint32_t number, om_wire_type type, const void *payload, size_t len);

/* Writes messages back to front, so that a length is known when it is written and nothing is moved: fields in
 * reverse order, a message's content before its tag. Zeroed is empty. After a failure (`err`) writes do
 * nothing. */
typedef struct om_wire_writer {
    uint8_t *data; /* the text is its last `len` bytes; owned */
    size_t cap, len;
    int err;
} om_wire_writer;

void om_wire_fini(om_wire_writer *w);
void om_wire_bytes(om_wire_writer *w, const void *data, size_t len); /* without a tag */
void om_wire_put_varint(om_wire_writer *w, uint32_t number, uint64_t v);
void om_wire_put_f32(om_wire_writer *w, uint32_t number, float v);
void om_wire_put_bytes(om_wire_writer *w, uint32_t number, const void *data, size_t len);
/* Nothing where the text is NULL or empty. */
void om_wire_put_text(om_wire_writer *w, uint32_t number, const char *text);
/* Tag and length before all that was written since `len` was `since`. */
void om_wire_put_message(om_wire_writer *w, uint32_t number, size_t since);
/* Hands the bytes over; om_free. An empty message gives a block too. */
int om_wire_take(om_wire_writer *w, char **bytes, size_t *len);

#endif
