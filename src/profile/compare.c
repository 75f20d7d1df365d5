#include "profile/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

static double shift(const om_change *c) { return fabs(fmax(c->after, 0) - fmax(c->before, 0)); }

static int by_shift(const void *a, const void *b)
{
    double x = shift(a), y = shift(b);
    return (x < y) - (x > y);
}

static int by_name(const void *a, const void *b)
{
    const om_layer *x = *(const om_layer *const *)a, *y = *(const om_layer *const *)b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x > y) - (x < y);
}

static const om_layer **sorted(const om_profile *p)
{
    const om_layer **l = om_calloc(p->n_layers + 1, sizeof *l);
    for (size_t i = 0; l && i < p->n_layers; i++) l[i] = &p->layers[i];
    if (l) qsort(l, p->n_layers, sizeof *l, by_name);
    return l;
}

static int compare_layers(const om_profile *before, const om_profile *after, om_comparison *out)
{
    const om_layer **a = sorted(before), **b = sorted(after);
    size_t i = 0, k = 0;
    out->layers = om_calloc(before->n_layers + after->n_layers + 1, sizeof *out->layers);
    bool ok = a && b && out->layers;
    while (ok && (i < before->n_layers || k < after->n_layers)) {
        int order = i == before->n_layers ? 1 : k == after->n_layers ? -1 : strcmp(a[i]->name, b[k]->name);
        const om_layer *l = order > 0 ? b[k] : a[i];
        om_change *c = &out->layers[out->n_layers++];
        *c = (om_change){.name = l->name,
                         .type = l->type,
                         .before = order > 0 ? -1 : a[i]->us,
                         .after = order < 0 ? -1 : b[k]->us};
        i += order <= 0;
        k += order >= 0;
    }
    om_free(a);
    om_free(b);
    if (!ok) return om_fail_nomem("a comparison");
    qsort(out->layers, out->n_layers, sizeof *out->layers, by_shift);
    return OM_OK;
}

static const om_json_value *stages_of(const om_profile *p)
{
    const om_json_value *v = p->run ? om_json_get(p->run, "stages") : NULL;
    return v && v->type == OM_JSON_ARR ? v : NULL;
}

static const char *stage_name(const om_json_value *s)
{
    const om_json_value *v = om_json_get(s, "stage");
    return v && v->type == OM_JSON_STR ? v->str : "";
}

static double stage_mean(const om_json_value *list, const char *name)
{
    for (size_t i = 0; list && i < list->n; i++) {
        const om_json_value *mean = om_json_get(&list->children[i], "mean_ms");
        if (!strcmp(stage_name(&list->children[i]), name))
            return mean && mean->type == OM_JSON_NUM ? mean->num : -1;
    }
    return -1;
}

static int compare_stages(const om_profile *before, const om_profile *after, om_comparison *out)
{
    const om_json_value *a = stages_of(before), *b = stages_of(after);
    if (!a || !b) return OM_OK;
    out->stages = om_calloc(a->n + b->n + 1, sizeof *out->stages);
    if (!out->stages) return om_fail_nomem("a comparison");
    for (size_t i = 0; i < a->n + b->n; i++) {
        const char *name = stage_name(i < a->n ? &a->children[i] : &b->children[i - a->n]);
        double was = stage_mean(a, name), is = stage_mean(b, name);
        if (i >= a->n && was >= 0) continue; /* told already */
        out->stages[out->n_stages++] = (om_change){.name = name, .type = "stage", .before = was, .after = is};
    }
    return OM_OK;
}

int om_compare(const om_profile *before, const om_profile *after, om_comparison *out)
{
    memset(out, 0, sizeof *out);
    bool layers = before->n_layers && after->n_layers;
    if (!layers && !(before->run && after->run))
        return om_fail(OM_ERR_ARG, "nothing to compare: expected two profiles of models, or two of runs");
    out->fps_before = om_json_get_num(before->run, "fps", 0);
    out->fps_after = om_json_get_num(after->run, "fps", 0);
    int err = layers ? compare_layers(before, after, out) : OM_OK;
    return err ? err : compare_stages(before, after, out);
}

void om_comparison_fini(om_comparison *c)
{
    om_free(c->layers);
    om_free(c->stages);
    memset(c, 0, sizeof *c);
}

static void num(om_json *j, const char *key, double v)
{
    om_json_key(j, key);
    if (v < 0) om_json_null(j);
    else om_json_num(j, v, 4);
}

static void changes_json(const char *key, const om_change *c, size_t n, om_json *j)
{
    om_json_key(j, key);
    om_json_begin_array(j);
    for (size_t i = 0; i < n; i++) {
        om_json_begin_object(j);
        om_json_key(j, "name");
        om_json_string(j, c[i].name);
        om_json_key(j, "type");
        om_json_string(j, c[i].type);
        num(j, "before", c[i].before);
        num(j, "after", c[i].after);
        om_json_end_object(j);
    }
    om_json_end_array(j);
}

void om_comparison_json(const om_profile *before, const om_profile *after, const om_comparison *c, om_json *j)
{
    num(j, "latency_us_before", before->latency_us);
    num(j, "latency_us_after", after->latency_us);
    if (before->run && after->run) {
        num(j, "fps_before", c->fps_before);
        num(j, "fps_after", c->fps_after);
    }
    changes_json("layers", c->layers, c->n_layers, j);
    changes_json("stages", c->stages, c->n_stages, j);
    om_profile_system_json("system_before", before, j);
    om_profile_system_json("system_after", after, j);
}
