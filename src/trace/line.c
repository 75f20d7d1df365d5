#include "trace/line.h"

#include <string.h>

#include "base/json.h"

#define NUMBER 24 /* the longest, with its sign, point and quotes */

void om_trace_line_end(om_trace_line *l)
{
    om_str_addn(l->out, l->text, l->len);
    l->len = 0;
}

void om_trace_line_addn(om_trace_line *l, const char *text, size_t n)
{
    if (n > sizeof l->text - l->len) om_trace_line_end(l);
    if (n > sizeof l->text) {
        om_str_addn(l->out, text, n);
    } else {
        memcpy(l->text + l->len, text, n);
        l->len += n;
    }
}

/* Where a number goes. */
static char *number_at(om_trace_line *l)
{
    if (NUMBER > sizeof l->text - l->len) om_trace_line_end(l);
    return l->text + l->len;
}

/* Its length where nothing is to be escaped, else SIZE_MAX. */
static size_t plain_length(const char *text)
{
    size_t n = 0;
    for (; text[n]; n++) {
        unsigned char c = (unsigned char)text[n];
        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') return SIZE_MAX;
    }
    return n;
}

void om_trace_line_quote(om_trace_line *l, const char *text)
{
    size_t n = plain_length(text);
    if (n < SIZE_MAX) {
        om_trace_line_add(l, "\"");
        om_trace_line_addn(l, text, n);
        om_trace_line_add(l, "\"");
    } else {
        om_json j;
        om_trace_line_end(l);
        om_json_init(&j, l->out, 0);
        om_json_string(&j, text);
    }
}

/* Its digits; returns where they end. */
static char *digits(char *to, uint64_t v)
{
    char buf[NUMBER], *at = buf + sizeof buf;
    while (v >= 100) {
        unsigned pair = (unsigned)(v % 100);
        v /= 100;
        *--at = (char)('0' + pair % 10);
        *--at = (char)('0' + pair / 10);
    }
    *--at = (char)('0' + v % 10);
    if (v >= 10) *--at = (char)('0' + v / 10);
    size_t n = (size_t)(buf + sizeof buf - at);
    memcpy(to, at, n);
    return to + n;
}

/* Its sign; returns what is left of it. */
static uint64_t sign(char **to, int64_t v)
{
    if (v >= 0) return (uint64_t)v;
    *(*to)++ = '-';
    return -(uint64_t)v;
}

void om_trace_line_int(om_trace_line *l, int64_t v)
{
    char *to = number_at(l);
    uint64_t left = sign(&to, v);
    l->len = (size_t)(digits(to, left) - l->text);
}

void om_trace_line_hex(om_trace_line *l, uint64_t v)
{
    char *to = number_at(l);
    memcpy(to, "\"0x", 3);
    to += 3;
    for (int shift = v ? (63 - __builtin_clzll(v)) & ~3 : 0; shift >= 0; shift -= 4)
        *to++ = "0123456789abcdef"[v >> shift & 15];
    *to++ = '"';
    l->len = (size_t)(to - l->text);
}

void om_trace_line_us(om_trace_line *l, int64_t ns)
{
    char *to = number_at(l);
    uint64_t left = sign(&to, ns);
    to = digits(to, left / 1000);
    unsigned rest = (unsigned)(left % 1000);
    to[0] = '.';
    to[1] = (char)('0' + rest / 100);
    to[2] = (char)('0' + rest / 10 % 10);
    to[3] = (char)('0' + rest % 10);
    l->len = (size_t)(to + 4 - l->text);
}
