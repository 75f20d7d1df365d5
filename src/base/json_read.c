#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"

#define DEPTH_MAX 64

typedef struct reader {
    const char *text;
    size_t len, at;
    int depth;
} reader;

static int fail_at(const reader *r, size_t at, const char *what)
{
    return om_fail(OM_ERR_FORMAT, "JSON: %s at byte %zu", what, at);
}

static int peek(const reader *r) { return r->at < r->len ? (unsigned char)r->text[r->at] : -1; }

static void skip_space(reader *r)
{
    while (r->at < r->len && memchr(" \t\r\n", r->text[r->at], 4)) r->at++;
}

static int read_hex4(reader *r, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        int c = peek(r), digit;
        if (c >= '0' && c <= '9') digit = c - '0';
        else if ((c | 32) >= 'a' && (c | 32) <= 'f') digit = (c | 32) - 'a' + 10;
        else return fail_at(r, r->at, "expected four hex digits");
        v = v << 4 | (uint32_t)digit;
    }
    *out = v;
    return OM_OK;
}

/* After "\u". */
static int read_code_point(reader *r, om_str *out)
{
    size_t start = r->at - 2;
    uint32_t c = 0, low = 0;
    int rc = read_hex4(r, &c);
    if (rc < 0) return rc;
    if (c >= 0xd800 && c <= 0xdbff) {
        if (r->len - r->at < 2 || memcmp(r->text + r->at, "\\u", 2) != 0)
            return fail_at(r, start, "half a surrogate pair");
        r->at += 2;
        rc = read_hex4(r, &low);
        if (rc < 0) return rc;
        if (low < 0xdc00 || low > 0xdfff) return fail_at(r, start, "half a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    } else if (c >= 0xdc00 && c <= 0xdfff) {
        return fail_at(r, start, "half a surrogate pair");
    }
    if (c == 0) return fail_at(r, start, "a NUL character");
    char utf8[4];
    om_str_addn(out, utf8, om_utf8_encode(c, utf8));
    return OM_OK;
}

static int read_escape(reader *r, om_str *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    r->at++;
    int c = peek(r);
    if (c == 'u') {
        r->at++;
        return read_code_point(r, out);
    }
    const char *at = c > 0 ? memchr(from, c, sizeof from - 1) : NULL;
    if (!at) return fail_at(r, r->at, "unknown escape");
    om_str_addc(out, to[at - from]);
    r->at++;
    return OM_OK;
}

static int read_string(reader *r, char **out)
{
    om_str s = {0};
    int rc = OM_OK;
    *out = NULL;
    size_t start = r->at++;
    for (;;) {
        int c = peek(r);
        size_t n = om_utf8_length((const unsigned char *)r->text + r->at, r->len - r->at);
        if (c < 0) rc = fail_at(r, start, "a string without its end");
        else if (c < 0x20) rc = fail_at(r, r->at, "a control character in a string");
        else if (n == 0) rc = fail_at(r, r->at, "bytes that are not UTF-8");
        if (rc < 0 || c == '"') break;
        if (c == '\\') {
            rc = read_escape(r, &s);
            if (rc < 0) break;
        } else {
            om_str_addn(&s, r->text + r->at, n);
            r->at += n;
        }
    }
    if (rc < 0) {
        om_str_fini(&s);
        return rc;
    }
    r->at++;
    *out = om_str_take(&s);
    return *out ? OM_OK : om_fail_nomem("a JSON string");
}

static bool skip_digits(reader *r)
{
    size_t start = r->at;
    while (peek(r) >= '0' && peek(r) <= '9') r->at++;
    return r->at > start;
}

static bool skip_number(reader *r)
{
    if (peek(r) == '-') r->at++;
    if (peek(r) == '0') r->at++;
    else if (!skip_digits(r)) return false;
    if (peek(r) == '.') {
        r->at++;
        if (!skip_digits(r)) return false;
    }
    if (peek(r) == 'e' || peek(r) == 'E') {
        r->at++;
        if (peek(r) == '+' || peek(r) == '-') r->at++;
        if (!skip_digits(r)) return false;
    }
    return true;
}

static int read_number(reader *r, double *out)
{
    size_t start = r->at;
    if (!skip_number(r)) return fail_at(r, r->at, "expected a value");
    char *copy = om_strndup(r->text + start, r->at - start);
    if (!copy) return om_fail_nomem("a JSON number");
    int rc = om_parse_double(copy, out);
    om_free(copy);
    return rc < 0 ? fail_at(r, start, "a number out of range") : OM_OK;
}

static int read_value(reader *r, om_json_value *v);

/* One more child (and key slot), zeroed. */
static int add_child(om_json_value *v, size_t *cap, size_t *key_cap)
{
    if (om_grow((void **)&v->children, cap, v->n + 1, sizeof *v->children) < 0) return om_fail_nomem("JSON");
    if (v->type == OM_JSON_OBJ && om_grow((void **)&v->keys, key_cap, v->n + 1, sizeof *v->keys) < 0)
        return om_fail_nomem("JSON");
    v->children[v->n] = (om_json_value){0};
    if (v->type == OM_JSON_OBJ) v->keys[v->n] = NULL;
    v->n++;
    return OM_OK;
}

static int read_member(reader *r, om_json_value *v)
{
    if (v->type == OM_JSON_OBJ) {
        if (peek(r) != '"') return fail_at(r, r->at, "expected a key in quotes");
        int rc = read_string(r, &v->keys[v->n - 1]);
        if (rc < 0) return rc;
        skip_space(r);
        if (peek(r) != ':') return fail_at(r, r->at, "expected ':'");
        r->at++;
        skip_space(r);
    }
    return read_value(r, &v->children[v->n - 1]);
}

static int read_container(reader *r, om_json_value *v, om_json_type type, char close)
{
    size_t cap = 0, key_cap = 0;
    v->type = type;
    if (++r->depth > DEPTH_MAX) return fail_at(r, r->at, "nested deeper than 64 levels");
    r->at++;
    skip_space(r);
    while (v->n > 0 || peek(r) != close) {
        int rc = add_child(v, &cap, &key_cap);
        if (rc == OM_OK) rc = read_member(r, v);
        if (rc < 0) return rc;
        skip_space(r);
        if (peek(r) == close) break;
        if (peek(r) != ',')
            return fail_at(r, r->at, type == OM_JSON_OBJ ? "expected ',' or '}'" : "expected ',' or ']'");
        r->at++;
        skip_space(r);
    }
    r->at++;
    r->depth--;
    return OM_OK;
}

static bool read_word(reader *r, const char *word)
{
    size_t n = strlen(word);
    if (r->len - r->at < n || memcmp(r->text + r->at, word, n) != 0) return false;
    r->at += n;
    return true;
}

static int read_value(reader *r, om_json_value *v)
{
    switch (peek(r)) {
    case '{': return read_container(r, v, OM_JSON_OBJ, '}');
    case '[': return read_container(r, v, OM_JSON_ARR, ']');
    case '"': v->type = OM_JSON_STR; return read_string(r, &v->str);
    case 't':
    case 'f':
        v->type = OM_JSON_BOOL;
        v->boolean = peek(r) == 't';
        if (read_word(r, v->boolean ? "true" : "false")) return OM_OK;
        break;
    case 'n':
        if (read_word(r, "null")) return OM_OK;
        break;
    default: v->type = OM_JSON_NUM; return read_number(r, &v->num);
    }
    return fail_at(r, r->at, "expected a value");
}

static void value_fini(om_json_value *v)
{
    for (size_t i = 0; i < v->n; i++) {
        value_fini(&v->children[i]);
        if (v->keys) om_free(v->keys[i]);
    }
    om_free(v->children);
    om_free(v->keys);
    om_free(v->str);
}

int om_json_parse(const char *text, size_t len, om_json_value **out)
{
    reader r = {.text = text, .len = len};
    *out = NULL;
    om_json_value *v = om_calloc(1, sizeof *v);
    if (!v) return om_fail_nomem("JSON");
    skip_space(&r);
    int rc = read_value(&r, v);
    if (rc == OM_OK) {
        skip_space(&r);
        if (r.at < r.len) rc = fail_at(&r, r.at, "something after the end");
    }
    if (rc < 0) {
        om_json_free(v);
        return rc;
    }
    *out = v;
    return OM_OK;
}

void om_json_free(om_json_value *v)
{
    if (!v) return;
    value_fini(v);
    om_free(v);
}

const om_json_value *om_json_get(const om_json_value *obj, const char *key)
{
    if (!obj || obj->type != OM_JSON_OBJ) return NULL;
    for (size_t i = obj->n; i > 0; i--) /* of keys said twice the last one holds */
        if (!strcmp(obj->keys[i - 1], key)) return &obj->children[i - 1];
    return NULL;
}

double om_json_get_num(const om_json_value *obj, const char *key, double otherwise)
{
    const om_json_value *v = om_json_get(obj, key);
    return v && v->type == OM_JSON_NUM ? v->num : otherwise;
}

const char *om_json_get_string(const om_json_value *obj, const char *key)
{
    const om_json_value *v = om_json_get(obj, key);
    return v && v->type == OM_JSON_STR ? v->str : "";
}

const om_json_value *om_json_get_list(const om_json_value *obj, const char *key)
{
    const om_json_value *v = om_json_get(obj, key);
    return v && v->type == OM_JSON_ARR ? v : NULL;
}
