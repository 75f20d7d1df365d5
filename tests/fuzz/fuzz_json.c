/* Whatever parses must come out of the writer and parse again to the same text; and no bytes at all make a
 * string that the reader refuses. The first byte chooses an allocation that fails. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void insist(bool holds)
{
    if (!holds) abort();
}

static void write_value(om_json *j, const om_json_value *v)
{
    switch (v->type) {
    case OM_JSON_NULL: om_json_null(j); break;
    case OM_JSON_BOOL: om_json_bool(j, v->boolean); break;
    case OM_JSON_NUM: om_json_num(j, v->num, 17); break;
    case OM_JSON_STR: om_json_string(j, v->str); break;
    case OM_JSON_ARR: om_json_begin_array(j); break;
    case OM_JSON_OBJ: om_json_begin_object(j); break;
    }
    for (size_t i = 0; i < v->n; i++) {
        if (v->keys) om_json_key(j, v->keys[i]);
        write_value(j, &v->children[i]);
    }
    if (v->type == OM_JSON_ARR) om_json_end_array(j);
    if (v->type == OM_JSON_OBJ) om_json_end_object(j);
}

/* Into *out, zeroed before. False: not JSON. */
static bool rewrite(const char *text, size_t len, int indent, om_str *out)
{
    om_json_value *v;
    om_json j;
    if (om_json_parse(text, len, &v) < 0) {
        insist(v == NULL);
        return false;
    }
    om_json_init(&j, out, indent);
    write_value(&j, v);
    om_json_free(v);
    return true;
}

static void check_text(const char *text, size_t len)
{
    om_str once = {0}, spread = {0}, again = {0};
    if (rewrite(text, len, 0, &once)) {
        insist(rewrite(om_str_get(&once), once.len, 3, &spread));
        insist(rewrite(om_str_get(&spread), spread.len, 0, &again));
        insist(!strcmp(om_str_get(&once), om_str_get(&again)));
    }
    om_str_fini(&once);
    om_str_fini(&spread);
    om_str_fini(&again);
}

static void check_string(const char *text)
{
    om_str out = {0};
    om_json j;
    om_json_value *v;
    om_json_init(&j, &out, 0);
    om_json_string(&j, text);
    insist(om_json_parse(om_str_get(&out), out.len, &v) == OM_OK && v->type == OM_JSON_STR);
    om_json_free(v);
    om_str_fini(&out);
}

static void check_without_memory(const char *text, size_t len, int n)
{
    om_str out = {0};
    om_mem_fail_after(n);
    rewrite(text, len, 2, &out);
    om_mem_fail_after(-1);
    om_str_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    char *text = om_alloc(size);
    if (!text) return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = 0;
    check_text(text, size - 1);
    check_string(text);
    check_without_memory(text, size - 1, data[0]);
    om_free(text);
    return 0;
}
