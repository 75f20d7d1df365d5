#include "cli/args.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

typedef struct parser {
    const om_option *const *tables;
    int argc, at;
    char *const *argv;
    om_args *out;
} parser;

static int add_positional(om_args *a, const char *text)
{
    void *items = a->positional;
    int err = om_grow(&items, &a->cap_positional, a->n_positional + 1, sizeof *a->positional);
    a->positional = items;
    if (err) return err;
    a->positional[a->n_positional++] = text;
    return OM_OK;
}

static int add(om_args *a, om_arg arg)
{
    void *items = a->items;
    int err = om_grow(&items, &a->cap, a->n + 1, sizeof *a->items);
    a->items = items;
    if (err) return err;
    a->items[a->n++] = arg;
    return OM_OK;
}

/* The nearest name there is; `bools`: only what can be negated. */
static const char *suggest(const om_option *const *tables, const char *name, bool bools)
{
    size_t n = 1, cap = 0;
    void *names = NULL;
    for (const om_option *const *t = tables; *t; t++)
        for (const om_option *o = *t; o->name; o++) n++;
    if (om_grow(&names, &cap, n, sizeof(char *))) return NULL;
    const char **list = names;
    n = 0;
    if (!bools) list[n++] = "help";
    for (const om_option *const *t = tables; *t; t++)
        for (const om_option *o = *t; o->name; o++)
            if (!bools || o->type == OM_OPT_BOOL) list[n++] = o->name;
    const char *near = om_suggest(name, list, n);
    om_free(names);
    return near;
}

/* `flag` as it was typed, its value cut off; `name` is what to look for. */
static int fail_unknown(const parser *p, const char *flag, const char *name)
{
    bool negated = !strncmp(name, "no-", 3) || !strncmp(name, "no_", 3);
    const char *near = negated ? suggest(p->tables, name + 3, true) : NULL;
    if (near) return om_fail(OM_ERR_ARG, "unknown flag '%s'; did you mean '--no-%s'?", flag, near);
    near = suggest(p->tables, name, false);
    if (!near && negated) near = suggest(p->tables, name + 3, false);
    if (near) return om_fail(OM_ERR_ARG, "unknown flag '%s'; did you mean '--%s'?", flag, near);
    return om_fail(OM_ERR_ARG, "unknown flag '%s'", flag);
}

static const om_option *find(const parser *p, const char *name, const om_option **table)
{
    for (const om_option *const *t = p->tables; *t; t++) {
        const om_option *o = om_option_find(*t, name);
        if (!o && !strncmp(name, "no", 2) && (name[2] == '-' || name[2] == '_')) {
            o = om_option_find(*t, name + 3);
            if (o && o->type != OM_OPT_BOOL) o = NULL;
        }
        *table = *t;
        if (o) return o;
    }
    return NULL;
}

static const om_option *find_short(const parser *p, char c, const om_option **table)
{
    for (const om_option *const *t = p->tables; *t; t++) {
        const om_option *o = om_option_find_short(*t, c);
        *table = *t;
        if (o) return o;
    }
    return NULL;
}

static int add_flag(parser *p, om_arg arg, const char *flag)
{
    if (!arg.value && arg.option->type != OM_OPT_BOOL) {
        if (p->at == p->argc) return om_fail(OM_ERR_ARG, "flag '%s' needs a value", flag);
        arg.value = p->argv[p->at++];
    }
    return add(p->out, arg);
}

static int parse_long(parser *p, char *flag)
{
    om_arg arg = {0};
    char *equals = strchr(flag, '=');
    char *name = om_strndup(flag + 2, equals ? (size_t)(equals - flag) - 2 : strlen(flag + 2));
    if (!name) return OM_ERR_NOMEM;
    int err = OM_OK;
    if (!strcmp(name, "help")) {
        p->out->help = true;
    } else if (!(arg.option = find(p, name, &arg.table))) {
        char *shown = om_sprintf("--%s", name);
        err = shown ? fail_unknown(p, shown, name) : OM_ERR_NOMEM;
        om_free(shown);
    } else {
        arg.negated = om_option_find(arg.table, name) != arg.option;
        arg.value = equals ? equals + 1 : NULL;
        err = add_flag(p, arg, flag);
    }
    om_free(name);
    return err;
}

static int parse_short(parser *p, char *flag)
{
    om_arg arg = {0};
    if (!strcmp(flag, "-h")) {
        p->out->help = true;
        return OM_OK;
    }
    if (flag[2] || !(arg.option = find_short(p, flag[1], &arg.table))) return fail_unknown(p, flag, flag + 1);
    return add_flag(p, arg, flag);
}

int om_args_parse(const om_option *const *tables, int argc, char *const *argv, om_args *out)
{
    parser p = {.tables = tables, .argc = argc, .argv = argv, .out = out};
    bool flags = true;
    int err = OM_OK;
    memset(out, 0, sizeof *out);
    while (p.at < argc && !err) {
        char *text = argv[p.at++];
        if (!flags || text[0] != '-' || !text[1]) err = add_positional(out, text);
        else if (!strcmp(text, "--")) flags = false;
        else err = text[1] == '-' ? parse_long(&p, text) : parse_short(&p, text);
    }
    if (err) om_args_fini(out);
    return err;
}

static int set_negated(const om_arg *arg, void *obj)
{
    bool on = true;
    int err = arg->value ? om_parse_bool(arg->value, &on) : OM_OK;
    if (err) return om_fail_prefix(err, "option 'no-%s'", arg->option->name);
    return om_option_set(arg->table, obj, arg->option->name, on ? "no" : "yes");
}

int om_args_apply(const om_args *a, const om_option *table, void *obj)
{
    for (size_t i = 0; i < a->n; i++) {
        const om_arg *arg = &a->items[i];
        if (arg->table != table) continue;
        bool first = true;
        for (size_t k = 0; k < i; k++) first = first && a->items[k].option != arg->option;
        if (first && arg->option->type == OM_OPT_LIST)
            om_strlist_fini((om_strlist *)(void *)((char *)obj + arg->option->offset));
        int err =
            arg->negated ? set_negated(arg, obj) : om_option_set(table, obj, arg->option->name, arg->value);
        if (err) return err;
    }
    return OM_OK;
}

void om_args_fini(om_args *a)
{
    if (!a) return;
    om_free(a->items);
    om_free(a->positional);
    memset(a, 0, sizeof *a);
}
