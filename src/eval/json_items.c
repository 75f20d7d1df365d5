#include "eval/json_items.h"

#include <string.h>

#include "base/error.h"

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
    return p;
}

/* Behind the string that begins at `p`, or NULL. */
static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end; p++) {
        if (*p == '"') return p + 1;
        if (*p == '\\') p++;
    }
    return NULL;
}

/* Behind the value that begins at `p`, or NULL. */
static const char *skip_value(const char *p, const char *end)
{
    size_t depth = 0;
    const char *begin = p;
    while (p < end) {
        if (*p == '"') {
            p = skip_string(p, end);
            if (!p || !depth) return p;
            continue;
        }
        if (*p == '{' || *p == '[') depth++;
        else if (*p == '}' || *p == ']') {
            if (!depth) break;
            if (!--depth) return p + 1;
        } else if (!depth && (*p == ',' || *p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) break;
        p++;
    }
    return depth || p == begin ? NULL : p;
}

static int broken(const om_json_items *it, const char *at)
{
    return om_fail(OM_ERR_FORMAT, "not JSON at byte %zu", (size_t)(at - it->text));
}

int om_json_items_open(om_json_items *it, const char *text, size_t len, bool object)
{
    *it = (om_json_items){.text = text, .at = text, .end = text + len, .object = object, .first = true};
    it->at = skip_space(it->at, it->end);
    if (it->at == it->end || *it->at != (object ? '{' : '['))
        return om_fail(OM_ERR_FORMAT, "expected %s", object ? "an object, {...}" : "a list, [...]");
    it->at++;
    return OM_OK;
}

int om_json_items_next(om_json_items *it, om_json_item *out)
{
    const char *p = skip_space(it->at, it->end), *behind;
    *out = (om_json_item){0};
    if (p < it->end && *p == (it->object ? '}' : ']')) {
        p = skip_space(p + 1, it->end);
        return p == it->end ? 0 : broken(it, p);
    }
    if (!it->first) {
        if (p == it->end || *p != ',') return broken(it, p);
        p = skip_space(p + 1, it->end);
    }
    it->first = false;
    if (it->object) {
        behind = p < it->end && *p == '"' ? skip_string(p, it->end) : NULL;
        if (!behind) return broken(it, p);
        out->key = p + 1;
        out->key_len = (size_t)(behind - p) - 2;
        p = skip_space(behind, it->end);
        if (p == it->end || *p != ':') return broken(it, p);
        p = skip_space(p + 1, it->end);
    }
    behind = skip_value(p, it->end);
    if (!behind) return broken(it, p);
    out->text = p;
    out->len = (size_t)(behind - p);
    it->at = behind;
    return 1;
}

bool om_json_item_is(const om_json_item *item, const char *key)
{
    return item->key_len == strlen(key) && !memcmp(item->key, key, item->key_len);
}
