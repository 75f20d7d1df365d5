/* Secondary models in the configuration: reading, naming, checking. */
#include "pipeline/second_config.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "pipeline/tracking.h"

om_second_options *om_config_new_second(om_config *c)
{
    void *items = c->seconds;
    if (c->n_seconds >= OM_SECOND_MAX) {
        om_fail(OM_ERR_ARG, "more than %d secondary models", OM_SECOND_MAX);
        return NULL;
    }
    if (om_grow(&items, &c->cap_seconds, c->n_seconds + 1, sizeof(*c->seconds))) return NULL;
    c->seconds = items;
    om_second_options *o = &c->seconds[c->n_seconds];
    memset(o, 0, sizeof(*o));
    return om_options_init(om_second_option_table, o) ? NULL : o;
}

/* "plates/rec.onnx": "rec". */
static char *name_of(const char *file)
{
    const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file, *dot = strrchr(base, '.');
    return dot && dot > base ? om_strndup(base, (size_t)(dot - base)) : om_strdup(base);
}

static const om_second_options *find(const om_config *c, const char *name)
{
    for (size_t i = 0; i < c->n_seconds; i++)
        if (!strcmp(c->seconds[i].name, name)) return &c->seconds[i];
    return NULL;
}

static int check_name(const om_config *c, const char *name)
{
    if (!*name || strchr(name, '/'))
        return om_fail(
            OM_ERR_ARG,
            "secondary name '%s': it becomes part of file names, so it must not be empty or hold '/'", name);
    if (!strcmp(name, "primary") || !strcmp(name, "frame"))
        return om_fail(OM_ERR_ARG, "secondary name '%s': that is the name of another parent", name);
    if (find(c, name))
        return om_fail(OM_ERR_ARG, "two secondary models are named '%s': give them names that differ", name);
    return OM_OK;
}

/* A permutation of 0123. */
static bool is_order(const char *text)
{
    unsigned seen = 0;
    for (int i = 0; i < OM_SECOND_CORNERS; i++) {
        if (text[i] < '0' || text[i] > '3') return false;
        seen |= 1u << (text[i] - '0');
    }
    return seen == 15 && !text[OM_SECOND_CORNERS];
}

static int check_own(const om_second_options *o)
{
    const char *n = o->name;
    if (o->run.head) {
        int family = om_family_parse(o->run.head);
        if (family < 0) return om_fail_prefix(family, "secondary '%s'", n);
    }
    if (!(o->min_score <= o->max_score))
        return om_fail(OM_ERR_ARG, "secondary '%s': min-score %g is above max-score %g", n, o->min_score,
                       o->max_score);
    if (!is_order(o->corners))
        return om_fail(OM_ERR_ARG, "secondary '%s': corners '%s': expected the digits 0 to 3 in some order",
                       n, o->corners);
    if (o->each == OM_EACH_TRACK && !strcmp(o->parent, "frame"))
        return om_fail(OM_ERR_ARG, "secondary '%s': each: track, but a frame has no track", n);
    return OM_OK;
}

int om_config_second(om_config *c, om_second_options *o)
{
    int err = OM_OK;
    if (!o->run.model || !*o->run.model)
        err = om_fail(OM_ERR_ARG, "a secondary model needs a file (model: FILE)");
    else if (!o->name && !(o->name = name_of(o->run.model))) err = OM_ERR_NOMEM;
    if (!err) err = check_name(c, o->name);
    if (!err) err = check_own(o);
    if (err) om_options_fini(om_second_option_table, o);
    else c->n_seconds++;
    return err;
}

/* Takes the text up to `end`, a backslash giving the next character as it is; *rest is behind the end. */
static char *take(const char *text, char end, const char **rest)
{
    om_str s = {0};
    om_str_add(&s, "");
    for (; *text && *text != end; text++) {
        if (*text == '\\' && text[1]) text++;
        om_str_addc(&s, *text);
    }
    *rest = *text ? text + 1 : text;
    return om_str_take(&s);
}

static int set_value(om_second_options *o, const char *key, const char *value)
{
    const om_option *opt = om_option_find(om_second_option_table, key);
    if (!opt || opt->type != OM_OPT_LIST) return om_option_set(om_second_option_table, o, key, value);
    int err = OM_OK;
    while (*value && !err) {
        char *item = take(value, ';', &value);
        if (!item) return OM_ERR_NOMEM;
        err = om_option_set(om_second_option_table, o, key, item);
        om_free(item);
    }
    return err;
}

static int set_pair(om_second_options *o, char *pair)
{
    char *equal = strchr(pair, '=');
    if (!equal) return om_fail(OM_ERR_ARG, "'%s': expected key=value", pair);
    *equal = '\0';
    return set_value(o, pair, equal + 1);
}

int om_config_add_second(om_config *c, const char *spec)
{
    om_second_options *o = om_config_new_second(c);
    if (!o) return c->n_seconds >= OM_SECOND_MAX ? OM_ERR_ARG : OM_ERR_NOMEM;
    int err = OM_OK;
    if (!strchr(spec, '=')) err = set_value(o, "model", spec);
    for (const char *rest = spec; !err && strchr(spec, '=') && *rest;) {
        char *pair = take(rest, ',', &rest);
        if (!pair) err = OM_ERR_NOMEM;
        else err = set_pair(o, pair);
        om_free(pair);
    }
    if (err) om_options_fini(om_second_option_table, o);
    else err = om_config_second(c, o);
    return err == OM_ERR_ARG ? om_fail_prefix(err, "--secondary") : err;
}

int om_config_read_seconds(om_config *c)
{
    om_strlist *l = &c->run.secondary;
    int err = OM_OK;
    for (size_t i = 0; i < l->n && !err; i++) err = om_config_add_second(c, l->items[i]);
    om_strlist_fini(l);
    return err;
}

void om_config_free_seconds(om_config *c)
{
    for (size_t i = 0; i < c->n_seconds; i++) om_options_fini(om_second_option_table, &c->seconds[i]);
    om_free(c->seconds);
    c->seconds = NULL;
    c->n_seconds = c->cap_seconds = 0;
}

int om_second_parent(const om_config *c, const om_second_options *o, int *out)
{
    const char *names[OM_SECOND_MAX + 2] = {"primary", "frame"};
    *out = !strcmp(o->parent, "frame") ? OM_PARENT_FRAME : OM_PARENT_PRIMARY;
    if (!strcmp(o->parent, "primary") || !strcmp(o->parent, "frame")) return OM_OK;
    const om_second_options *p = find(c, o->parent);
    if (p) {
        *out = (int)(p - c->seconds);
        return OM_OK;
    }
    for (size_t i = 0; i < c->n_seconds; i++) names[i + 2] = c->seconds[i].name;
    const char *near = om_suggest(o->parent, names, c->n_seconds + 2);
    return om_fail(OM_ERR_ARG, "secondary '%s': no model is named '%s'%s%s%s", o->name, o->parent,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* Follows the parents up to the primary; what takes more steps than there are models goes round. */
static int check_circle(const om_config *c, size_t i)
{
    int at = (int)i;
    for (size_t steps = 0; steps <= c->n_seconds; steps++) {
        int err = om_second_parent(c, &c->seconds[at], &at);
        if (err) return err;
        if (at < 0) return OM_OK;
    }
    return om_fail(OM_ERR_ARG, "secondary '%s': its parents go round in a circle", c->seconds[i].name);
}

int om_config_check_seconds(const om_config *c)
{
    om_tracking tracking;
    int err = om_tracking_of(&c->run, (float)c->run.conf, &tracking);
    for (size_t i = 0; i < c->n_seconds && !err; i++) {
        const om_second_options *o = &c->seconds[i];
        err = check_circle(c, i);
        if (!err && o->each == OM_EACH_TRACK && !tracking.ops)
            err = om_fail(OM_ERR_ARG, "secondary '%s': each: track needs a tracker (--track bytetrack)",
                          o->name);
    }
    return err;
}
