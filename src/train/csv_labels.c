#include "train/csv_labels.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/mem.h"
#include "train/dataset_priv.h"

#define CSV_MAX (256u << 20)

/* One field from *p on, which ends up at the comma or the end of the line. */
static int take_field(char **p, om_strlist *fields)
{
    om_str text = {0};
    char *s = *p;
    while (*s == ' ' || *s == '\t') s++;
    if (*s == '"') {
        for (s++; *s && (*s != '"' || s[1] == '"'); s++) {
            s += *s == '"';
            om_str_addc(&text, *s);
        }
        while (*s && *s != ',') s++;
    } else {
        size_t n = strcspn(s, ","), end = n;
        while (end && isspace((unsigned char)s[end - 1])) end--;
        om_str_addn(&text, s, end);
        s += n;
    }
    int err = text.failed ? OM_ERR_NOMEM : om_strlist_add(fields, om_str_get(&text));
    om_str_fini(&text);
    *p = s;
    return err;
}

bool om_csv_next(char **text, int *line, om_strlist *fields, int *err)
{
    om_strlist_fini(fields);
    *err = OM_OK;
    if (!*line && !strncmp(*text, "\xef\xbb\xbf", 3)) *text += 3; /* as some write before the first line */
    while (**text) {
        char *begin = *text, *end = begin + strcspn(begin, "\n");
        *text = *end ? end + 1 : end;
        *end = '\0';
        ++*line;
        while (end > begin && isspace((unsigned char)end[-1])) *--end = '\0';
        if (!*begin || *begin == '#') continue;
        for (char *p = begin; !*err; p++) {
            *err = take_field(&p, fields);
            if (*p != ',') break;
        }
        return true;
    }
    return false;
}

static bool is_heading(const om_strlist *fields)
{
    static const char *const words[] = {"path", "file", "filename", "image", "picture", "frame"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(fields->items[0], words[i])) return true;
    return false;
}

static int part_of(const char *word)
{
    if (!strcmp(word, "train")) return OM_PART_TRAIN;
    return !strcmp(word, "val") || !strcmp(word, "test") ? OM_PART_HELD_OUT : -1;
}

static int add_line(om_loading *l, const char *path, int line, const om_strlist *fields)
{
    if (fields->n < 2 || fields->n > 3 || !*fields->items[0] || !*fields->items[1])
        return om_fail(OM_ERR_FORMAT, "%s:%d: expected path,class or path,class,train|val", path, line);
    int part = fields->n == 3 ? part_of(fields->items[2]) : OM_PART_OPEN;
    if (part < 0)
        return om_fail(OM_ERR_FORMAT, "%s:%d: '%s': expected train or val", path, line, fields->items[2]);
    const char *file = fields->items[0], *slash = strrchr(path, '/');
    char *full =
        *file == '/' || !slash ? om_strdup(file) : om_sprintf("%.*s/%s", (int)(slash - path), path, file);
    int err = full ? om_loading_add(l, full, fields->items[1], part) : OM_ERR_NOMEM;
    om_free(full);
    return err;
}

int om_loading_csv(om_loading *l, const char *path)
{
    om_strlist fields = {0};
    char *text = NULL, *at;
    size_t len;
    bool first = true;
    int line = 0, err = om_read_file(path, CSV_MAX, &text, &len), failed = OM_OK;
    if (!err && memchr(text, '\0', len))
        err = om_fail(OM_ERR_FORMAT,
                      "%s: not a text; expected a folder of class folders, or a CSV of path,class", path);
    at = text;
    while (!err && om_csv_next(&at, &line, &fields, &failed)) {
        err = failed;
        if (!err && !(first && is_heading(&fields))) err = add_line(l, path, line, &fields);
        first = false;
    }
    om_strlist_fini(&fields);
    om_free(text);
    return err;
}
