#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd"

void om_json_init(om_json *j, om_str *out, int indent) { *j = (om_json){.out = out, .indent = indent}; }

static void new_line(om_json *j)
{
    if (j->indent <= 0) return;
    om_str_addc(j->out, '\n');
    for (int i = 0; i < j->depth * j->indent; i++) om_str_addc(j->out, ' ');
}

static void before_value(om_json *j)
{
    if (!j->after_key) {
        if (j->need_comma) om_str_addc(j->out, ',');
        if (j->depth > 0) new_line(j);
    }
    j->after_key = false;
    j->need_comma = true;
}

static void begin(om_json *j, char bracket)
{
    before_value(j);
    om_str_addc(j->out, bracket);
    j->depth++;
    j->need_comma = false;
}

static void end(om_json *j, char bracket)
{
    j->depth--;
    if (j->need_comma) new_line(j);
    om_str_addc(j->out, bracket);
    j->need_comma = true;
}

void om_json_begin_object(om_json *j) { begin(j, '{'); }
void om_json_end_object(om_json *j) { end(j, '}'); }
void om_json_begin_array(om_json *j) { begin(j, '['); }
void om_json_end_array(om_json *j) { end(j, ']'); }

static void add_escaped(om_str *out, unsigned char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = memchr(from, c, sizeof from - 1);
    if (at) {
        om_str_addc(out, '\\');
        om_str_addc(out, to[at - from]);
    } else {
        om_str_addf(out, "\\u%04x", c);
    }
}

static void add_quoted(om_str *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t n = strlen(text), start = 0, i = 0;
    om_str_addc(out, '"');
    while (i < n) {
        size_t len = om_utf8_length(s + i, n - i);
        bool plain = len > 1 || (len == 1 && s[i] >= 0x20 && s[i] != '"' && s[i] != '\\');
        if (plain) {
            i += len;
            continue;
        }
        om_str_addn(out, text + start, i - start);
        if (len == 0) om_str_add(out, REPLACEMENT);
        else add_escaped(out, s[i]);
        start = ++i;
    }
    om_str_addn(out, text + start, n - start);
    om_str_addc(out, '"');
}

void om_json_key(om_json *j, const char *key)
{
    before_value(j);
    add_quoted(j->out, key);
    om_str_add(j->out, j->indent > 0 ? ": " : ":");
    j->after_key = true;
}

void om_json_string(om_json *j, const char *s)
{
    before_value(j);
    if (s) add_quoted(j->out, s);
    else om_str_add(j->out, "null");
}

/* `digits` at least, with leading zeros. */
static void add_digits(om_str *out, uint64_t v, int digits)
{
    char buf[20];
    int n = 0;
    do {
        buf[sizeof buf - ++n] = (char)('0' + v % 10);
        v /= 10;
    } while (v || n < digits);
    om_str_addn(out, buf + sizeof buf - n, (size_t)n);
}

void om_json_int(om_json *j, int64_t v)
{
    before_value(j);
    if (v < 0) om_str_addc(j->out, '-');
    add_digits(j->out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 1);
}

void om_json_uint(om_json *j, uint64_t v)
{
    before_value(j);
    add_digits(j->out, v, 1);
}

void om_json_bool(om_json *j, bool v)
{
    before_value(j);
    om_str_add(j->out, v ? "true" : "false");
}

void om_json_null(om_json *j)
{
    before_value(j);
    om_str_add(j->out, "null");
}

/* The usual case, by integers: a printf for each coordinate would show in a busy pipeline's profile. */
static void add_short(om_str *out, double v, int decimals)
{
    static const uint64_t power[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
    uint64_t scaled = (uint64_t)nearbyint(fabs(v) * (double)power[decimals]);
    if (v < 0 && scaled) om_str_addc(out, '-');
    while (decimals > 0 && scaled % 10 == 0) {
        scaled /= 10;
        decimals--;
    }
    add_digits(out, scaled / power[decimals], 1);
    if (decimals == 0) return;
    om_str_addc(out, '.');
    add_digits(out, scaled % power[decimals], decimals);
}

static void drop_zeros(om_str *out, size_t start)
{
    if (out->failed || !strchr(out->data + start, '.')) return;
    while (out->data[out->len - 1] == '0') out->len--;
    if (out->data[out->len - 1] == '.') out->len--;
    out->data[out->len] = 0;
}

static bool says(const om_str *out, size_t start, double v)
{
    double back;
    return out->failed || (om_parse_double(out->data + start, &back) == 0 && back == v);
}

/* 15 significant digits if they mean the same double, else the 17 that always do. */
static void add_long(om_str *out, double v, int decimals)
{
    size_t start = out->len;
    int whole = v != 0 ? (int)floor(log10(fabs(v))) + 1 : 0;
    for (int digits = 15; digits <= 17; digits++) {
        int places = digits - whole < decimals ? digits - whole : decimals;
        out->len = start;
        om_str_addf(out, "%.*f", places > 0 ? places : 0, v);
        if (places == decimals || says(out, start, v)) break;
    }
    drop_zeros(out, start);
    if (!out->failed && !strcmp(out->data + start, "-0")) {
        out->len = start;
        om_str_addc(out, '0');
    }
}

static void add_huge(om_str *out, double v)
{
    size_t start = out->len;
    for (int digits = 15; digits <= 17; digits++) {
        out->len = start;
        om_str_addf(out, "%.*g", digits, v);
        if (says(out, start, v)) break;
    }
}

void om_json_num(om_json *j, double v, int decimals)
{
    if (!isfinite(v)) {
        om_json_null(j);
        return;
    }
    before_value(j);
    if (decimals < 0) decimals = 0;
    if (decimals <= 6 && fabs(v) < 1e9) add_short(j->out, v, decimals);
    else if (fabs(v) < 1e15) add_long(j->out, v, decimals);
    else add_huge(j->out, v);
}

void om_json_key_string(om_json *j, const char *key, const char *s)
{
    om_json_key(j, key);
    om_json_string(j, s);
}

void om_json_key_int(om_json *j, const char *key, int64_t v)
{
    om_json_key(j, key);
    om_json_int(j, v);
}

void om_json_key_uint(om_json *j, const char *key, uint64_t v)
{
    om_json_key(j, key);
    om_json_uint(j, v);
}

void om_json_key_bool(om_json *j, const char *key, bool v)
{
    om_json_key(j, key);
    om_json_bool(j, v);
}

void om_json_key_num(om_json *j, const char *key, double v, int decimals)
{
    om_json_key(j, key);
    om_json_num(j, v, decimals);
}

void om_json_key_texts(om_json *j, const char *key, const om_strlist *l)
{
    om_json_key(j, key);
    om_json_begin_array(j);
    for (size_t i = 0; i < l->n; i++) om_json_string(j, l->items[i]);
    om_json_end_array(j);
}
