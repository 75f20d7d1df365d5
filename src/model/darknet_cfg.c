#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/darknet.h"

#define MAX_SECTIONS 4096
#define MAX_OPTIONS 256

int om_dn_fail(const om_dn_cfg *cfg, const om_dn_section *s, int line, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return om_fail(OM_ERR_FORMAT, "%s:%d: [%s] %s", cfg->name, line, s->type, text);
}

void om_dn_cfg_fini(om_dn_cfg *cfg)
{
    for (size_t i = 0; i < cfg->n; i++) om_free(cfg->sections[i].options);
    om_free(cfg->sections);
    om_free(cfg->text);
    memset(cfg, 0, sizeof *cfg);
}

/* Cuts blanks off both ends, in place. */
static char *trim(char *line)
{
    while (*line == ' ' || *line == '\t') line++;
    size_t n = strlen(line);
    while (n > 0 && strchr(" \t\r", line[n - 1])) line[--n] = 0;
    return line;
}

static int add_section(om_dn_cfg *cfg, char *line, int number)
{
    size_t n = strlen(line);
    if (line[n - 1] != ']' || n < 3)
        return om_fail(OM_ERR_FORMAT, "%s:%d: a section is written [name]", cfg->name, number);
    if (cfg->n >= MAX_SECTIONS)
        return om_fail(OM_ERR_FORMAT, "%s:%d: more than %d sections", cfg->name, number, MAX_SECTIONS);
    if (om_grow((void **)&cfg->sections, &cfg->cap, cfg->n + 1, sizeof *cfg->sections) < 0)
        return OM_ERR_NOMEM;
    line[n - 1] = 0;
    cfg->sections[cfg->n++] = (om_dn_section){.type = trim(line + 1), .line = number};
    return OM_OK;
}

static int add_option(om_dn_cfg *cfg, char *line, int number)
{
    char *equals = strchr(line, '=');
    if (cfg->n == 0)
        return om_fail(OM_ERR_FORMAT, "%s:%d: expected a section such as [net], not '%.40s'", cfg->name,
                       number, line);
    om_dn_section *s = &cfg->sections[cfg->n - 1];
    if (!equals || equals == line) return om_dn_fail(cfg, s, number, "expected key=value, not '%.40s'", line);
    if (s->n >= MAX_OPTIONS) return om_dn_fail(cfg, s, number, "more than %d options", MAX_OPTIONS);
    if (om_grow((void **)&s->options, &s->cap, s->n + 1, sizeof *s->options) < 0) return OM_ERR_NOMEM;
    *equals = 0;
    s->options[s->n++] = (om_dn_option){.key = trim(line), .value = trim(equals + 1), .line = number};
    return OM_OK;
}

int om_dn_cfg_parse(const char *name, const char *text, om_dn_cfg *out)
{
    *out = (om_dn_cfg){.name = name, .text = om_strdup(text)};
    int e = out->text ? OM_OK : OM_ERR_NOMEM, number = 0;
    for (char *next = out->text; !e && next;) {
        char *line = next;
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        number++;
        line[strcspn(line, "#;")] = 0;
        line = trim(line);
        if (*line) e = *line == '[' ? add_section(out, line, number) : add_option(out, line, number);
    }
    if (!e && out->n == 0) e = om_fail(OM_ERR_FORMAT, "%s: no sections; is it a Darknet cfg?", name);
    if (e) om_dn_cfg_fini(out);
    return e;
}

const om_dn_option *om_dn_find(const om_dn_section *s, const char *key)
{
    for (size_t i = s->n; i-- > 0;)
        if (strcmp(s->options[i].key, key) == 0) return &s->options[i];
    return NULL;
}

const char *om_dn_text(const om_dn_section *s, const char *key, const char *def)
{
    const om_dn_option *o = om_dn_find(s, key);
    return o ? o->value : def;
}

int om_dn_int(const om_dn_cfg *cfg, const om_dn_section *s, const char *key, int def, int min, int max,
              int *out)
{
    const om_dn_option *o = om_dn_find(s, key);
    long long v;
    *out = def;
    if (!o) return OM_OK;
    if (om_parse_int(o->value, &v) != OM_OK || v < min || v > max)
        return om_dn_fail(cfg, s, o->line, "%s: expected a whole number from %d to %d, not '%.40s'", key, min,
                          max, o->value);
    *out = (int)v;
    return OM_OK;
}

int om_dn_float(const om_dn_cfg *cfg, const om_dn_section *s, const char *key, float def, float *out)
{
    const om_dn_option *o = om_dn_find(s, key);
    double v;
    *out = def;
    if (!o) return OM_OK;
    if (om_parse_double(o->value, &v) != OM_OK || !isfinite((float)v))
        return om_dn_fail(cfg, s, o->line, "%s: expected a number, not '%.40s'", key, o->value);
    *out = (float)v;
    return OM_OK;
}

int om_dn_list(const om_dn_cfg *cfg, const om_dn_section *s, const char *key, double *out, int max, int *n)
{
    const om_dn_option *o = om_dn_find(s, key);
    *n = 0;
    for (const char *p = o ? o->value : ""; *p;) {
        char item[48];
        size_t len = strcspn(p, ",");
        snprintf(item, sizeof item, "%.*s", (int)(len < sizeof item ? len : sizeof item - 1), p);
        const char *number = trim(item);
        if (*n >= max) return om_dn_fail(cfg, s, o->line, "%s: more than %d numbers", key, max);
        if (om_parse_double(number, &out[*n]) != OM_OK || !isfinite(out[*n]))
            return om_dn_fail(cfg, s, o->line, "%s: expected numbers joined by ',', not '%.40s'", key,
                              number);
        (*n)++;
        p += len + (p[len] == ',');
    }
    return OM_OK;
}
