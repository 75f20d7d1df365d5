/* JSON: a streaming writer that escapes, and a small bounded reader. */
#ifndef OM_BASE_JSON_H
#define OM_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Writes into an om_str. Commas and colons are placed for you. Numbers that JSON cannot say become null.
 * Bytes that are not UTF-8 become U+FFFD. `indent` 0: one line. Thread-safety: one thread. */
typedef struct om_json {
    om_str *out;
    int indent, depth;
    bool need_comma, after_key;
} om_json;

void om_json_init(om_json *j, om_str *out, int indent);
void om_json_begin_object(om_json *j);
void om_json_end_object(om_json *j);
void om_json_begin_array(om_json *j);
void om_json_end_array(om_json *j);
void om_json_key(om_json *j, const char *key);
void om_json_string(om_json *j, const char *s); /* NULL: null */
void om_json_int(om_json *j, int64_t v);
void om_json_uint(om_json *j, uint64_t v);
void om_json_bool(om_json *j, bool v);
void om_json_null(om_json *j);
/* Shortest text with at most `decimals` digits behind the point, trailing zeros dropped. */
void om_json_num(om_json *j, double v, int decimals);

/* A member of an object in one call: its key and its value. */
void om_json_key_string(om_json *j, const char *key, const char *s); /* NULL: null */
void om_json_key_int(om_json *j, const char *key, int64_t v);
void om_json_key_uint(om_json *j, const char *key, uint64_t v);
void om_json_key_bool(om_json *j, const char *key, bool v);
void om_json_key_num(om_json *j, const char *key, double v, int decimals);
void om_json_key_texts(om_json *j, const char *key, const om_strlist *l); /* an array of strings */

typedef enum om_json_type {
    OM_JSON_NULL,
    OM_JSON_BOOL,
    OM_JSON_NUM,
    OM_JSON_STR,
    OM_JSON_ARR,
    OM_JSON_OBJ
} om_json_type;

typedef struct om_json_value {
    om_json_type type;
    bool boolean;
    double num;
    char *str;                      /* STR: terminated */
    char **keys;                    /* OBJ: n of them */
    struct om_json_value *children; /* ARR, OBJ: n of them */
    size_t n;
} om_json_value;

/* Parses one whole text; depth at most 64. OM_ERR_FORMAT names the byte offset. Freed by om_json_free(). */
int om_json_parse(const char *text, size_t len, om_json_value **out);
void om_json_free(om_json_value *v);
/* The member, or NULL. */
const om_json_value *om_json_get(const om_json_value *obj, const char *key);
/* The member where it is of the type asked for; else `otherwise`, "" or NULL. `obj` may be NULL. */
double om_json_get_num(const om_json_value *obj, const char *key, double otherwise);
const char *om_json_get_string(const om_json_value *obj, const char *key);
const om_json_value *om_json_get_list(const om_json_value *obj, const char *key);

#endif
