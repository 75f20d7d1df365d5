#include "eval/sheet.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/mem.h"

#define FILE_MAX_BYTES ((size_t)1 << 31)

void om_sheet_fini(om_sheet *s)
{
    for (size_t i = 0; i < s->n; i++) {
        om_free(s->rows[i].file);
        om_free(s->rows[i].word);
    }
    om_free(s->rows);
    *s = (om_sheet){0};
}

/* Takes over both texts, on failure too; NULL: memory was short. */
static int add_row(om_sheet *s, char *file, char *word)
{
    void *rows = s->rows;
    int err = file && word ? om_grow(&rows, &s->cap, s->n + 1, sizeof *s->rows) : OM_ERR_NOMEM;
    s->rows = rows;
    if (err) {
        om_free(file);
        om_free(word);
        return err;
    }
    s->rows[s->n++] = (om_sheet_row){file, word};
    return OM_OK;
}

/* One field, unquoted; *p stands behind it, at ',', a line's end or the text's. */
static int read_field(const char **p, int *line, om_str *out)
{
    const char *at = *p;
    om_str_clear(out);
    if (*at != '"') {
        size_t n = strcspn(at, ",\r\n");
        om_str_addn(out, at, n);
        *p = at + n;
        return OM_OK;
    }
    for (at++; *at && (*at != '"' || at[1] == '"'); at++) {
        at += *at == '"';
        *line += *at == '\n';
        om_str_addc(out, *at);
    }
    if (!*at) return OM_ERR_FORMAT;
    *p = at + 1;
    return **p && !strchr(",\r\n", **p) ? OM_ERR_FORMAT : OM_OK;
}

static bool is_heading(const char *file)
{
    static const char *const words[] = {"file", "filename", "image", "path", "name"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(file, words[i])) return true;
    return false;
}

static int read_rows(const char *path, const char *text, om_sheet *out)
{
    om_str field[2] = {{0}, {0}};
    int line = 1, err = OM_OK;
    if (!strncmp(text, "\xef\xbb\xbf", 3)) text += 3;
    for (const char *p = text; *p && !err;) {
        int begin = line, columns = 0;
        om_str rest = {0};
        do {
            p += columns > 0;
            err = read_field(&p, &line, columns < 2 ? &field[columns] : &rest);
        } while (++columns && !err && *p == ',');
        om_str_fini(&rest);
        bool blank = columns == 1 && !*om_str_get(&field[0]);
        if (err) err = om_fail(err, "%s:%d: a quoted field without its end", path, begin);
        else if (!blank && columns < 2)
            err = om_fail(OM_ERR_FORMAT, "%s:%d: expected picture,word", path, begin);
        else if (field[0].failed || field[1].failed) err = om_fail_nomem("a row");
        else if (!blank && (out->n || begin > 1 || !is_heading(om_str_get(&field[0]))))
            err = add_row(out, om_strdup(om_str_get(&field[0])), om_strdup(om_str_get(&field[1])));
        p += *p == '\r';
        if (*p == '\n') p++, line++;
    }
    om_str_fini(&field[0]);
    om_str_fini(&field[1]);
    return err;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int check_twice(const om_sheet *s, const char *path)
{
    char **files = om_alloc(s->n * sizeof *files);
    int err = OM_OK;
    if (!files) return OM_ERR_NOMEM;
    for (size_t i = 0; i < s->n; i++) files[i] = s->rows[i].file;
    qsort(files, s->n, sizeof *files, by_text);
    for (size_t i = 1; i < s->n && !err; i++)
        if (!strcmp(files[i - 1], files[i]))
            err = om_fail(OM_ERR_ARG, "%s: picture '%s' stands there twice", path, files[i]);
    om_free(files);
    return err;
}

int om_sheet_read_csv(const char *path, om_sheet *out)
{
    char *text;
    size_t len;
    *out = (om_sheet){0};
    int err = om_read_file(path, FILE_MAX_BYTES, &text, &len);
    if (err) return err;
    if (strlen(text) != len) err = om_fail(OM_ERR_FORMAT, "%s: not a text", path);
    if (!err) err = read_rows(path, text, out);
    if (!err && !out->n) err = om_fail(OM_ERR_ARG, "%s: has no rows", path);
    if (!err) err = check_twice(out, path);
    om_free(text);
    if (err) om_sheet_fini(out);
    return err;
}

/* Names in a folder, sorted, without hidden ones. */
static int list_folder(const char *folder, om_strlist *out)
{
    DIR *d = opendir(folder);
    int err = OM_OK;
    if (!d) return om_fail(om_err_from_errno(errno), "%s: %s", folder, strerror(errno));
    for (struct dirent *e; !err && (e = readdir(d));)
        if (e->d_name[0] != '.') err = om_strlist_add(out, e->d_name);
    closedir(d);
    if (out->n) qsort(out->items, out->n, sizeof *out->items, by_text);
    return err;
}

static bool is_picture(const char *name)
{
    static const char *const suffixes[] = {".jpg", ".jpeg", ".png", ".bmp", ".webp",
                                           ".tif", ".tiff", ".ppm", ".pgm"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof suffixes / sizeof *suffixes; i++)
        if (!strcasecmp(dot, suffixes[i])) return true;
    return false;
}

static int add_folder(const char *folder, const char *word, om_sheet *out)
{
    struct stat st;
    om_strlist names = {0};
    char *path = om_sprintf("%s/%s", folder, word);
    if (!path) return OM_ERR_NOMEM;
    int err = stat(path, &st) || !S_ISDIR(st.st_mode) ? OM_OK : list_folder(path, &names);
    for (size_t i = 0; i < names.n && !err; i++)
        if (is_picture(names.items[i]))
            err = add_row(out, om_sprintf("%s/%s", word, names.items[i]), om_strdup(word));
    om_strlist_fini(&names);
    om_free(path);
    return err;
}

int om_sheet_read_folders(const char *folder, om_sheet *out)
{
    om_strlist words = {0};
    *out = (om_sheet){0};
    int err = list_folder(folder, &words);
    for (size_t i = 0; i < words.n && !err; i++) err = add_folder(folder, words.items[i], out);
    if (!err && !out->n)
        err = om_fail(OM_ERR_ARG, "%s: no folder in it holds pictures; expected %s/CLASS/PICTURE", folder,
                      folder);
    om_strlist_fini(&words);
    if (err) om_sheet_fini(out);
    return err;
}

void om_class_scores_add(om_class_scores *s, const int *ranked, size_t n, int truth)
{
    s->pictures++;
    for (size_t i = 0; i < n && i < 5; i++) {
        if (ranked[i] != truth) continue;
        s->top1 += i == 0;
        s->top5++;
        return;
    }
}
