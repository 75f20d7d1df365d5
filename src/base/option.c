#include "base/option.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

/* A field's value outside the struct, to compare with. Strings and lists are compared as text instead. */
typedef union scalar {
    bool b;
    int i;
    int64_t i64;
    double d;
    om_size size;
} scalar;

static void *field(const om_option *o, void *obj) { return (char *)obj + o->offset; }
static const void *field_const(const om_option *o, const void *obj) { return (const char *)obj + o->offset; }

static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_'))) return false;
    return *a == *b;
}

int om_parse_bool(const char *text, bool *out)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i]) != 0) continue;
        *out = i % 2 == 1;
        return OM_OK;
    }
    return om_fail(OM_ERR_ARG, "'%s' is not yes or no", text);
}

int om_parse_size(const char *text, om_size *out)
{
    const long long max = 65536;
    char first[16];
    const char *x = strpbrk(text, "xX");
    size_t n = x ? (size_t)(x - text) : strlen(text);
    long long w = -1, h = -1;
    if (n < sizeof first) {
        memcpy(first, text, n);
        first[n] = 0;
        if (om_parse_int(first, &w) < 0) w = -1;
        h = w;
        if (x && om_parse_int(x + 1, &h) < 0) h = -1;
    }
    bool unset = w == 0 && h == 0;
    if (!unset && (w < 1 || h < 1 || w > max || h > max))
        return om_fail(OM_ERR_ARG, "'%s' is not a size: expected WIDTHxHEIGHT or one number, at most %lld",
                       text, max);
    *out = (om_size){(int)w, (int)h};
    return OM_OK;
}

/* Digits, a point, an exponent; the rest is the unit. */
static size_t number_length(const char *text)
{
    size_t n = strspn(text, "0123456789.");
    if (n == 0 || (text[n] != 'e' && text[n] != 'E')) return n;
    size_t sign = text[n + 1] == '-' || text[n + 1] == '+',
           digits = strspn(text + n + 1 + sign, "0123456789");
    return digits ? n + 1 + sign + digits : n;
}

int om_parse_time(const char *text, double *seconds)
{
    /* Divided where the unit is below a second: 500 ms is exactly 0.5 s. */
    static const struct {
        const char *suffix;
        double times, over;
    } units[] = {{"us", 1, 1e6}, {"ms", 1, 1e3}, {"s", 1, 1}, {"m", 60, 1}, {"h", 3600, 1}, {"", 1, 1}};
    char number[48];
    size_t n = number_length(text);
    for (size_t i = 0; n > 0 && n < sizeof number && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + n, units[i].suffix) != 0) continue;
        double v;
        memcpy(number, text, n);
        number[n] = 0;
        if (om_parse_double(number, &v) < 0 || !isfinite(v * units[i].times)) break;
        *seconds = v * units[i].times / units[i].over;
        return OM_OK;
    }
    return om_fail(OM_ERR_ARG, "'%s' is not a time: expected a number with us, ms, s, m or h, as in 500ms",
                   text);
}

static bool bounded(const om_option *o) { return o->min != 0 || o->max != 0; }

static int check_bounds(const om_option *o, const char *text, double v)
{
    if (!bounded(o) || (v >= o->min && v <= o->max)) return OM_OK;
    if (o->max >= 1e18) return om_fail(OM_ERR_ARG, "%s is below %.15g", text, o->min);
    return om_fail(OM_ERR_ARG, "%s is not from %.15g to %.15g", text, o->min, o->max);
}

static int parse_integer(const om_option *o, const char *text, long long low, long long high, long long *out)
{
    if (om_parse_int(text, out) < 0) return om_fail(OM_ERR_ARG, "'%s' is not a whole number", text);
    if (*out < low || *out > high) return om_fail(OM_ERR_ARG, "%s is out of range", text);
    return check_bounds(o, text, (double)*out);
}

static int parse_choice(const om_option *o, const char *text, int *out)
{
    om_str all = {0};
    for (const om_choice *c = o->choices; c->name; c++) {
        if (same_name(c->name, text)) {
            *out = c->value;
            om_str_fini(&all);
            return OM_OK;
        }
        if (c != o->choices) om_str_add(&all, ", ");
        om_str_add(&all, c->name);
    }
    om_fail(OM_ERR_ARG, "'%s' is not one of %s", text, om_str_get(&all));
    om_str_fini(&all);
    return OM_ERR_ARG;
}

/* Into *out, of the type's own C type; nothing is stored unless it fits. Not for strings and lists. */
static int parse_scalar(const om_option *o, const char *text, void *out)
{
    long long n;
    double v;
    int rc;
    switch (o->type) {
    case OM_OPT_BOOL: return om_parse_bool(text, out);
    case OM_OPT_INT:
        rc = parse_integer(o, text, INT_MIN, INT_MAX, &n);
        if (rc == OM_OK) *(int *)out = (int)n;
        return rc;
    case OM_OPT_INT64:
        rc = parse_integer(o, text, INT64_MIN, INT64_MAX, &n);
        if (rc == OM_OK) *(int64_t *)out = n;
        return rc;
    case OM_OPT_DOUBLE:
    case OM_OPT_TIME:
        if (o->type == OM_OPT_TIME) rc = om_parse_time(text, &v);
        else rc = om_parse_double(text, &v) < 0 ? om_fail(OM_ERR_ARG, "'%s' is not a number", text) : OM_OK;
        if (rc == OM_OK) rc = check_bounds(o, text, v);
        if (rc == OM_OK) *(double *)out = v;
        return rc;
    case OM_OPT_CHOICE: return parse_choice(o, text, out);
    case OM_OPT_SIZE: return om_parse_size(text, out);
    case OM_OPT_STRING:
    case OM_OPT_LIST: break;
    }
    return om_fail(OM_ERR_INTERNAL, "option '%s' has no type", o->name);
}

static int set_string(char **where, const char *text)
{
    char *copy = NULL;
    if (*text) {
        copy = om_strdup(text);
        if (!copy) return om_fail_nomem("an option");
    }
    om_free(*where);
    *where = copy;
    return OM_OK;
}

static int set_field(const om_option *o, void *obj, const char *text)
{
    void *where = field(o, obj);
    if (o->type == OM_OPT_STRING) return set_string(where, text);
    if (o->type != OM_OPT_LIST) return parse_scalar(o, text, where);
    if (!*text) return om_fail(OM_ERR_ARG, "empty");
    return om_strlist_add(where, text) < 0 ? om_fail_nomem("an option") : OM_OK;
}

static size_t field_size(om_option_type type)
{
    static const size_t sizes[] = {
        [OM_OPT_BOOL] = sizeof(bool),       [OM_OPT_INT] = sizeof(int),
        [OM_OPT_INT64] = sizeof(int64_t),   [OM_OPT_DOUBLE] = sizeof(double),
        [OM_OPT_STRING] = sizeof(char *),   [OM_OPT_CHOICE] = sizeof(int),
        [OM_OPT_SIZE] = sizeof(om_size),    [OM_OPT_TIME] = sizeof(double),
        [OM_OPT_LIST] = sizeof(om_strlist),
    };
    return sizes[type];
}

/* A list's default is one text with commas. */
static int set_default(const om_option *o, void *obj)
{
    if (o->type != OM_OPT_LIST) return set_field(o, obj, o->def);
    for (const char *p = o->def; *p;) {
        size_t n = strcspn(p, ",");
        if (om_strlist_addn(field(o, obj), p, n) < 0) return om_fail_nomem("an option");
        p += n + (p[n] == ',');
    }
    return OM_OK;
}

int om_options_init(const om_option *table, void *obj)
{
    for (const om_option *o = table; o->name; o++) memset(field(o, obj), 0, field_size(o->type));
    for (const om_option *o = table; o->name; o++) {
        if (!o->def) continue;
        int rc = set_default(o, obj);
        if (rc == OM_OK) continue;
        if (rc != OM_ERR_NOMEM) rc = om_fail_prefix(OM_ERR_INTERNAL, "default of option '%s'", o->name);
        om_options_fini(table, obj);
        return rc;
    }
    return OM_OK;
}

void om_options_fini(const om_option *table, void *obj)
{
    if (!obj) return;
    for (const om_option *o = table; o->name; o++) {
        if (o->type == OM_OPT_LIST) {
            om_strlist_fini(field(o, obj));
        } else if (o->type == OM_OPT_STRING) {
            char **text = field(o, obj);
            om_free(*text);
            *text = NULL;
        }
    }
}

const om_option *om_option_find(const om_option *table, const char *name)
{
    for (const om_option *o = table; o->name; o++)
        if (same_name(o->name, name)) return o;
    return NULL;
}

const om_option *om_option_find_short(const om_option *table, char c)
{
    for (const om_option *o = table; c && o->name; o++)
        if (o->short_name == c) return o;
    return NULL;
}

static int fail_unknown(const om_option *table, const char *name)
{
    /* In runs, the best of the ones before in front, so that a table of any length needs no memory. */
    const char *names[32], *best = NULL;
    for (const om_option *o = table; o->name;) {
        size_t n = 0;
        if (best) names[n++] = best;
        while (o->name && n < sizeof names / sizeof names[0]) names[n++] = o++->name;
        best = om_suggest(name, names, n);
    }
    if (best) return om_fail(OM_ERR_ARG, "unknown option '%s'; did you mean '%s'?", name, best);
    return om_fail(OM_ERR_ARG, "unknown option '%s'", name);
}

static int set_negated(const om_option *o, void *obj, const char *value)
{
    bool on = true;
    int rc = value && *value ? om_parse_bool(value, &on) : OM_OK;
    if (rc < 0) return om_fail_prefix(rc, "option 'no-%s'", o->name);
    *(bool *)field(o, obj) = !on;
    return OM_OK;
}

int om_option_set(const om_option *table, void *obj, const char *name, const char *value)
{
    const om_option *o = om_option_find(table, name);
    if (!o && !strncmp(name, "no", 2) && (name[2] == '-' || name[2] == '_')) {
        const om_option *positive = om_option_find(table, name + 3);
        if (positive && positive->type == OM_OPT_BOOL) return set_negated(positive, obj, value);
    }
    if (!o) return fail_unknown(table, name);
    if (o->type == OM_OPT_BOOL && (!value || !*value)) value = "yes";
    if (!value) return om_fail(OM_ERR_ARG, "option '%s' needs a value", o->name);
    int rc = set_field(o, obj, value);
    return rc == OM_ERR_ARG ? om_fail_prefix(rc, "option '%s'", o->name) : rc;
}

/* The fewest digits that read back as the same double. */
static void add_double(om_str *out, double v)
{
    size_t start = out->len;
    for (int digits = 6; digits <= 17 && !out->failed; digits++) {
        double back;
        out->len = start;
        om_str_addf(out, "%.*g", digits, v);
        if (!out->failed && om_parse_double(out->data + start, &back) == OM_OK && back == v) break;
    }
}

static void add_choice(const om_option *o, int value, om_str *out)
{
    for (const om_choice *c = o->choices; c->name; c++) {
        if (c->value != value) continue;
        om_str_add(out, c->name);
        return;
    }
    om_str_addf(out, "%d", value);
}

static void add_list(const om_strlist *l, om_str *out)
{
    for (size_t i = 0; i < l->n; i++) {
        if (i) om_str_addc(out, ',');
        om_str_add(out, l->items[i]);
    }
}

int om_option_get(const om_option *table, const void *obj, const char *name, om_str *out)
{
    const om_option *o = om_option_find(table, name);
    if (!o) return fail_unknown(table, name);
    const void *p = field_const(o, obj);
    switch (o->type) {
    case OM_OPT_BOOL: om_str_add(out, *(const bool *)p ? "yes" : "no"); break;
    case OM_OPT_INT: om_str_addf(out, "%d", *(const int *)p); break;
    case OM_OPT_INT64: om_str_addf(out, "%" PRId64, *(const int64_t *)p); break;
    case OM_OPT_DOUBLE:
    case OM_OPT_TIME: add_double(out, *(const double *)p); break;
    case OM_OPT_STRING: om_str_add(out, *(char *const *)p ? *(char *const *)p : ""); break;
    case OM_OPT_CHOICE: add_choice(o, *(const int *)p, out); break;
    case OM_OPT_SIZE:
        om_str_addf(out, "%dx%d", ((const om_size *)p)->width, ((const om_size *)p)->height);
        break;
    case OM_OPT_LIST: add_list(p, out); break;
    }
    return out->failed ? om_fail_nomem("an option's text") : OM_OK;
}

static bool list_says(const om_strlist *l, const char *text)
{
    for (size_t i = 0; i < l->n; i++) {
        size_t n = strlen(l->items[i]);
        if (strncmp(text, l->items[i], n) != 0 || text[n] != (i + 1 < l->n ? ',' : 0)) return false;
        text += n + (text[n] == ',');
    }
    return !*text;
}

bool om_option_changed(const om_option *table, const void *obj, const om_option *opt)
{
    const void *p = field_const(opt, obj);
    const char *def = opt->def ? opt->def : "";
    if (opt->type == OM_OPT_LIST) return !list_says(p, def);
    if (opt->type == OM_OPT_STRING) return strcmp(*(char *const *)p ? *(char *const *)p : "", def) != 0;
    scalar value;
    memset(&value, 0, sizeof value);
    if (opt->def && parse_scalar(opt, opt->def, &value) < 0) return true;
    switch (opt->type) {
    case OM_OPT_BOOL: return value.b != *(const bool *)p;
    case OM_OPT_INT64: return value.i64 != *(const int64_t *)p;
    case OM_OPT_DOUBLE:
    case OM_OPT_TIME: return value.d != *(const double *)p;
    case OM_OPT_SIZE:
        return value.size.width != ((const om_size *)p)->width ||
               value.size.height != ((const om_size *)p)->height;
    default: return value.i != *(const int *)p;
    }
}
