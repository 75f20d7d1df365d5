#include <stdio.h>
#include <string.h>

#include "base/option.h"

#define INDENT 2
#define COLUMN_MAX 30 /* longer flags push their sentence to the next line */

static const char *metavar(const om_option *o)
{
    static const char *const names[] = {
        [OM_OPT_INT] = "N",       [OM_OPT_INT64] = "N",  [OM_OPT_DOUBLE] = "X",  [OM_OPT_STRING] = "TEXT",
        [OM_OPT_CHOICE] = "NAME", [OM_OPT_SIZE] = "WxH", [OM_OPT_TIME] = "TIME", [OM_OPT_LIST] = "TEXT",
    };
    return o->metavar ? o->metavar : names[o->type];
}

static bool is_on(const om_option *o)
{
    bool on = false;
    return o->type == OM_OPT_BOOL && o->def && om_parse_bool(o->def, &on) == 0 && on;
}

static void add_flag(const om_option *o, om_str *out)
{
    if (o->short_name) om_str_addf(out, "%*s-%c, ", INDENT, "", o->short_name);
    else om_str_addf(out, "%*s", INDENT + 4, "");
    om_str_addf(out, "--%s%s", is_on(o) ? "[no-]" : "", o->name);
    if (o->type != OM_OPT_BOOL) om_str_addf(out, " %s", metavar(o));
}

static bool describes_choices(const om_option *o)
{
    for (const om_choice *c = o->choices; o->type == OM_OPT_CHOICE && c->name; c++)
        if (c->help) return true;
    return false;
}

static void add_sentence(const om_option *o, om_str *out)
{
    om_str_add(out, o->help ? o->help : "");
    if (o->type == OM_OPT_LIST) om_str_add(out, " (may be repeated)");
    if (o->type == OM_OPT_CHOICE && !describes_choices(o)) {
        om_str_add(out, " (one of:");
        for (const om_choice *c = o->choices; c->name; c++)
            om_str_addf(out, "%s %s", c == o->choices ? "" : ",", c->name);
        om_str_addc(out, ')');
    }
    if (o->def && *o->def && (o->type != OM_OPT_BOOL || is_on(o))) om_str_addf(out, " (default: %s)", o->def);
}

/* Characters, not bytes: sentences may hold more than ASCII. */
static int columns(const char *text, size_t n)
{
    int count = 0;
    for (size_t i = 0; i < n; i++) count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* Writes `text` wrapped between `left` and `width`; the cursor stands at `left` already. */
static void add_wrapped(om_str *out, const char *text, int left, int width)
{
    int at = left;
    while (*text) {
        text += strspn(text, " ");
        size_t n = strcspn(text, " ");
        int w = columns(text, n);
        if (at > left && at + 1 + w > width) {
            om_str_addf(out, "\n%*s", left, "");
            at = left;
        } else if (at > left) {
            om_str_addc(out, ' ');
            at++;
        }
        om_str_addn(out, text, n);
        at += w;
        text += n;
    }
    om_str_addc(out, '\n');
}

static void add_padding(om_str *out, size_t line_start, int column)
{
    int used = out->failed ? 0 : columns(out->data + line_start, out->len - line_start);
    if (used + 2 <= column) om_str_addf(out, "%*s", column - used, "");
    else om_str_addf(out, "\n%*s", column, "");
}

static void add_choices(const om_option *o, int column, int width, om_str *out)
{
    int longest = 0;
    for (const om_choice *c = o->choices; c->name; c++) {
        int w = columns(c->name, strlen(c->name));
        if (w > longest) longest = w;
    }
    for (const om_choice *c = o->choices; c->name; c++) {
        om_str_addf(out, "%*s%-*s  ", column + 2, "", longest, c->name);
        add_wrapped(out, c->help ? c->help : "", column + 2 + longest + 2, width);
    }
}

static void add_option(const om_option *o, int column, int width, om_str *out)
{
    om_str sentence = {0};
    size_t line_start = out->len;
    add_flag(o, out);
    add_padding(out, line_start, column);
    add_sentence(o, &sentence);
    add_wrapped(out, om_str_get(&sentence), column, width);
    out->failed |= sentence.failed;
    om_str_fini(&sentence);
    if (describes_choices(o)) add_choices(o, column, width, out);
}

static int widest_flag(const om_option *table, om_str *scratch)
{
    int widest = 0;
    for (const om_option *o = table; o->name; o++) {
        if (!scratch->failed) om_str_clear(scratch);
        add_flag(o, scratch);
        int w = columns(om_str_get(scratch), scratch->len);
        if (w + 2 <= COLUMN_MAX && w > widest) widest = w;
    }
    return widest;
}

void om_options_help(const om_option *table, int width, om_str *out)
{
    om_str scratch = {0};
    int column = widest_flag(table, &scratch) + 2;
    out->failed |= scratch.failed;
    om_str_fini(&scratch);
    if (width < column + 20) width = column + 20;
    const char *group = NULL;
    for (const om_option *o = table; o->name; o++) {
        if (o->group && (!group || strcmp(group, o->group) != 0)) {
            om_str_addf(out, "%s%s:\n", group ? "\n" : "", o->group);
            group = o->group;
        }
        add_option(o, column, width, out);
    }
}
