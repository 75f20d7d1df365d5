#include "eval/dataset.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

const om_choice om_eval_match_choices[] = {
    {"auto", OM_EVAL_MATCH_AUTO, "by name where both have names, else by order or id"},
    {"name", OM_EVAL_MATCH_NAME, "classes of one name"},
    {"order", OM_EVAL_MATCH_ORDER, "the model's first is the one of the lowest id, and so on"},
    {"id", OM_EVAL_MATCH_ID, "the model's numbers are the ids"},
    {NULL, 0, NULL},
};

void om_eval_set_fini(om_eval_set *s)
{
    for (size_t i = 0; i < s->n_images; i++) om_free(s->images[i].file);
    for (size_t i = 0; i < s->n_classes; i++) om_free(s->classes[i].name);
    om_free(s->images);
    om_free(s->classes);
    om_eval_boxes_fini(&s->truth);
    *s = (om_eval_set){0};
}

int om_eval_set_add_classes(om_eval_set *s, size_t n, const char *const *names, size_t n_names)
{
    void *items = s->classes;
    int err = om_grow(&items, &s->cap_classes, n, sizeof *s->classes);
    s->classes = items;
    for (size_t i = 0; i < n && !err; i++) {
        om_eval_category c = {.id = (int64_t)i};
        if (i < n_names && !(c.name = om_strdup(names[i]))) err = OM_ERR_NOMEM;
        if (!err) s->classes[s->n_classes++] = c;
    }
    return err;
}

int om_eval_set_size(om_eval_set *s, size_t i, int width, int height)
{
    om_eval_image *im = &s->images[i];
    if (im->width && (im->width != width || im->height != height))
        return om_fail(OM_ERR_ARG,
                       "%s is %dx%d, but the labels are of a picture of %dx%d: are they of other pictures?",
                       im->file, width, height, im->width, im->height);
    if (im->width) return OM_OK;
    im->width = width;
    im->height = height;
    for (size_t k = im->first; s->fractions && k < im->first + im->n; k++) {
        om_eval_box *b = &s->truth.items[k];
        b->x *= width;
        b->w *= width;
        b->y *= height;
        b->h *= height;
        b->area = b->w * b->h;
    }
    return OM_OK;
}

size_t om_eval_stem(const char *file, const char **stem)
{
    const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file, *dot = strrchr(base, '.');
    *stem = base;
    return dot && dot > base ? (size_t)(dot - base) : strlen(base);
}

static int plain(char c) { return c == '_' || c == '-' ? ' ' : tolower((unsigned char)c); }

bool om_eval_same_name(const char *a, const char *b)
{
    while (*a && plain(*a) == plain(*b)) a++, b++;
    return !*a && !*b;
}

static int find_name(const char *const *labels, size_t n, const char *name)
{
    for (size_t i = 0; i < n && name; i++)
        if (om_eval_same_name(labels[i], name)) return (int)i;
    return -1;
}

void om_eval_map_fini(om_eval_map *m)
{
    om_free(m->of);
    om_free(m->examples);
    *m = (om_eval_map){0};
}

typedef struct matching {
    const om_eval_set *set;
    const char *const *labels;
    size_t n_labels, n_model; /* n_model 0: not known */
    size_t named;             /* classes of the set whose name the model has */
    bool in_order;            /* and each of them stands in its place */
} matching;

static void count_names(matching *m)
{
    m->in_order = true;
    for (size_t c = 0; c < m->set->n_classes; c++) {
        int k = find_name(m->labels, m->n_labels, m->set->classes[c].name);
        if (k < 0) continue;
        m->named++;
        m->in_order = m->in_order && (size_t)k == c;
    }
}

static bool ids_fit(const matching *m)
{
    for (size_t c = 0; c < m->set->n_classes; c++) {
        int64_t id = m->set->classes[c].id;
        if (id < 0 || (m->n_model && id >= (int64_t)m->n_model)) return false;
    }
    return true;
}

static void list_names(om_str *out, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n && i < 4; i++) om_str_addf(out, "%s%s", i ? ", " : "", names[i]);
    if (n > 4) om_str_add(out, ", ...");
}

static int no_match(const matching *m)
{
    om_str text = {0};
    const om_eval_set *s = m->set;
    om_str_addf(&text, "the model has %zu class%s", m->n_model, m->n_model == 1 ? "" : "es");
    if (m->n_labels) om_str_add(&text, " (");
    list_names(&text, m->labels, m->n_labels);
    if (m->n_labels) om_str_add(&text, ")");
    om_str_addf(&text, ", the labels have %zu (", s->n_classes);
    for (size_t c = 0; c < s->n_classes && c < 4; c++) {
        if (s->classes[c].name) om_str_addf(&text, "%s%s", c ? ", " : "", s->classes[c].name);
        else om_str_addf(&text, "%s%lld", c ? ", " : "", (long long)s->classes[c].id);
    }
    om_str_addf(&text, "%s): they do not match; --match name, order or id says how they should",
                s->n_classes > 4 ? ", ..." : "");
    int err = om_fail(OM_ERR_ARG, "%s", om_str_get(&text));
    om_str_fini(&text);
    return err;
}

static int choose_way(const matching *m, om_eval_match_by *how)
{
    size_t n = m->set->n_classes;
    bool numbered = n && !m->set->classes[0].name, same = m->n_model == n;
    switch (*how) {
    case OM_EVAL_MATCH_NAME: return m->named ? OM_OK : no_match(m);
    case OM_EVAL_MATCH_ORDER: return m->n_model && m->n_model < n ? no_match(m) : OM_OK;
    case OM_EVAL_MATCH_ID: return ids_fit(m) ? OM_OK : no_match(m);
    default: break;
    }
    if (numbered) *how = OM_EVAL_MATCH_ID;
    else if (m->named && (!same || !m->in_order)) *how = OM_EVAL_MATCH_NAME;
    else if (same && (m->named || !m->n_labels)) *how = OM_EVAL_MATCH_ORDER;
    else if (!m->n_labels) *how = OM_EVAL_MATCH_ID;
    else return no_match(m);
    return *how == OM_EVAL_MATCH_ID && !ids_fit(m) ? no_match(m) : OM_OK;
}

static int note_unmatched(const om_eval_set *s, om_eval_map *out)
{
    om_str text = {0};
    for (size_t c = 0; c < s->n_classes; c++) {
        bool there = false;
        for (size_t k = 0; k < out->n && !there; k++) there = out->of[k] == (int)c;
        if (there) continue;
        if (out->unmatched < 4 && s->classes[c].name)
            om_str_addf(&text, "%s%s", out->unmatched ? ", " : "", s->classes[c].name);
        else if (out->unmatched < 4)
            om_str_addf(&text, "%s%lld", out->unmatched ? ", " : "", (long long)s->classes[c].id);
        out->unmatched++;
    }
    if (out->unmatched > 4) om_str_add(&text, ", ...");
    if (!text.failed && !text.len) return OM_OK;
    out->examples = om_str_take(&text);
    return out->examples ? OM_OK : om_fail_nomem("names of classes");
}

#define MOST_CLASSES 1000000

int om_eval_match_classes(const om_eval_set *s, const char *const *labels, size_t n_labels, int n_classes,
                          om_eval_match_by how, om_eval_map *out)
{
    matching m = {.set = s, .labels = labels, .n_labels = n_labels};
    *out = (om_eval_map){0};
    m.n_model = n_classes > 0 ? (size_t)n_classes : n_labels;
    count_names(&m);
    int err = choose_way(&m, &how);
    if (err) return err;
    int64_t highest = s->n_classes ? s->classes[s->n_classes - 1].id : 0;
    size_t by_id = how == OM_EVAL_MATCH_ID ? (size_t)highest + 1 : 0;
    out->n = m.n_model > n_labels ? m.n_model : n_labels;
    if (out->n < by_id) out->n = by_id;
    if (out->n < s->n_classes) out->n = s->n_classes;
    if (out->n > MOST_CLASSES) return om_fail(OM_ERR_UNSUPPORTED, "%zu classes are too many", out->n);
    out->of = om_alloc(out->n * sizeof *out->of);
    if (!out->of) return OM_ERR_NOMEM;
    for (size_t k = 0; k < out->n; k++) out->of[k] = -1;
    for (size_t c = 0; c < s->n_classes; c++) {
        int64_t k = how == OM_EVAL_MATCH_NAME    ? find_name(labels, n_labels, s->classes[c].name)
                    : how == OM_EVAL_MATCH_ORDER ? (int64_t)c
                                                 : s->classes[c].id;
        if (k >= 0) out->of[k] = (int)c;
    }
    err = note_unmatched(s, out);
    if (err) om_eval_map_fini(out);
    return err;
}
