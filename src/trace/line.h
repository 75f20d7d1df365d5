/* One event's text, put together on the stack: a trace has tens of events a frame, and printf or a general
 * JSON writer would take longer over them than recording them took. Thread-safety: one thread. */
#ifndef OM_TRACE_LINE_H
#define OM_TRACE_LINE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

#define OM_TRACE_LINE_BYTES 512

typedef struct om_trace_line {
    om_str *out;
    size_t len;
    char text[OM_TRACE_LINE_BYTES]; /* not yet in `out` */
} om_trace_line;

/* What was put together goes to `out`. */
void om_trace_line_end(om_trace_line *l);
/* `text` is taken as it is, whatever its length. */
void om_trace_line_addn(om_trace_line *l, const char *text, size_t n);
/* As a JSON string, escaped where it needs to be. */
void om_trace_line_quote(om_trace_line *l, const char *text);
void om_trace_line_int(om_trace_line *l, int64_t v);
void om_trace_line_hex(om_trace_line *l, uint64_t v); /* "0x1f", quoted */
/* In microseconds, to the nanosecond. */
void om_trace_line_us(om_trace_line *l, int64_t ns);

/* Keys, brackets, commas: of a literal the compiler knows the length. */
static inline void om_trace_line_add(om_trace_line *l, const char *text)
{
    size_t n = strlen(text);
    if (n > sizeof l->text - l->len) {
        om_trace_line_addn(l, text, n);
    } else {
        memcpy(l->text + l->len, text, n);
        l->len += n;
    }
}

#endif
