#include "cli/supervise_report.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "omma/version.h"

#define DECIMALS 6

void om_json_copy(om_json *j, const om_json_value *v)
{
    bool object = v && v->type == OM_JSON_OBJ;
    switch (v ? v->type : OM_JSON_NULL) {
    case OM_JSON_NULL: om_json_null(j); return;
    case OM_JSON_BOOL: om_json_bool(j, v->boolean); return;
    case OM_JSON_NUM: om_json_num(j, v->num, DECIMALS); return;
    case OM_JSON_STR: om_json_string(j, v->str); return;
    default: break;
    }
    if (object) om_json_begin_object(j);
    else om_json_begin_array(j);
    for (size_t i = 0; i < v->n; i++) {
        if (object) om_json_key(j, v->keys[i]);
        om_json_copy(j, &v->children[i]);
    }
    if (object) om_json_end_object(j);
    else om_json_end_array(j);
}

int om_supervised_add(om_supervised *s, om_json_value *end)
{
    int err = om_grow((void **)&s->ends, &s->cap, s->n + 1, sizeof *s->ends);
    if (!err) s->ends[s->n++] = end;
    return err;
}

void om_supervised_fini(om_supervised *s)
{
    for (size_t i = 0; i < s->n; i++) om_json_free(s->ends[i]);
    om_free(s->ends);
    *s = (om_supervised){0};
}

static const om_json_value *totals_of(const om_supervised *s, size_t i, const char *group)
{
    const om_json_value *t = om_json_get(om_json_get(s->ends[i], "report"), "totals");
    return group ? om_json_get(t, group) : t;
}

static void sum(const om_supervised *s, const char *group, const char *key, om_json *j)
{
    double all = 0;
    for (size_t i = 0; i < s->n; i++) all += om_json_get_num(totals_of(s, i, group), key, 0);
    om_json_key_num(j, key, all, DECIMALS);
}

/* By cause, as the first of them has them. */
static void sums(const om_supervised *s, const char *group, om_json *j)
{
    const om_json_value *causes = s->n ? totals_of(s, 0, group) : NULL;
    om_json_key(j, group);
    om_json_begin_object(j);
    for (size_t i = 0; causes && i < causes->n; i++) sum(s, group, causes->keys[i], j);
    om_json_end_object(j);
}

static void totals_json(const om_supervised *s, om_json *j)
{
    static const char *const plain[] = {"received",  "decoded", "inferred",
                                        "in_flight", "seconds", "cpu_seconds"};
    om_json_key(j, "totals");
    om_json_begin_object(j);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) sum(s, NULL, plain[i], j);
    sums(s, "skipped", j);
    sums(s, "dropped", j);
    om_json_end_object(j);
}

int om_supervised_write(const om_supervised *s, const char *path)
{
    om_json j;
    om_str text = {0};
    om_json_init(&j, &text, 2);
    om_json_begin_object(&j);
    om_json_key_string(&j, "omma", OMMA_VERSION_STRING);
    om_json_key(&j, "supervised");
    om_json_begin_object(&j);
    om_json_key_string(&j, "device", s->losses ? s->device : NULL);
    om_json_key_string(&j, "cause", s->losses ? s->cause : NULL);
    om_json_key_int(&j, "losses", s->losses);
    om_json_key_int(&j, "returns", s->returns);
    om_json_key_int(&j, "probes", s->probes);
    om_json_key_num(&j, "gap_s", s->gap_s, 3);
    om_json_end_object(&j);
    totals_json(s, &j);
    om_json_key(&j, "runs");
    om_json_begin_array(&j);
    for (size_t i = 0; i < s->n; i++) om_json_copy(&j, om_json_get(s->ends[i], "report"));
    om_json_end_array(&j);
    om_json_end_object(&j);
    om_str_addc(&text, '\n');
    int err = text.failed ? OM_ERR_NOMEM : om_write_file_atomic(path, text.data, text.len);
    om_str_fini(&text);
    return err;
}
