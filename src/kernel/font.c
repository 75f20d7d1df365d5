#include "kernel/font.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#define OM_FONT_FILE_MAX (32u << 20)
#define OM_FONT_CODE_MAX 0x10ffff

typedef struct character {
    uint32_t code;
    uint32_t at; /* of its first row among the bits */
    int columns;
} character;

struct om_font {
    character *characters; /* by code */
    size_t n, cap;
    uint8_t *bits;
    size_t used, size;
};

void om_font_destroy(om_font *f)
{
    if (!f) return;
    om_free(f->characters);
    om_free(f->bits);
    om_free(f);
}

static int digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static size_t digits(const char *s)
{
    size_t n = 0;
    while (digit(s[n]) >= 0) n++;
    return n;
}

static int add(om_font *f, uint32_t code, const char *rows, size_t n)
{
    void *list = f->characters, *bits = f->bits;
    int err = om_grow(&list, &f->cap, f->n + 1, sizeof *f->characters);
    f->characters = list;
    if (!err) err = om_grow(&bits, &f->size, f->used + n / 2, 1);
    f->bits = bits;
    if (err) return err;
    f->characters[f->n++] = (character){code, (uint32_t)f->used, (int)(n * 4 / OM_BITMAP_ROWS)};
    for (size_t i = 0; i < n; i += 2)
        f->bits[f->used++] = (uint8_t)(digit(rows[i]) << 4 | digit(rows[i + 1]));
    return OM_OK;
}

/* A line, ended by NUL; blank ones and '#' are passed over. */
static int read_line(om_font *f, char *line, const char *path, size_t number)
{
    size_t len = strlen(line);
    while (len && strchr(" \t\r", line[len - 1])) line[--len] = '\0';
    if (!len || *line == '#') return OM_OK;
    size_t code_digits = digits(line);
    const char *rows = line + code_digits + 1;
    bool whole = code_digits >= 1 && code_digits <= 8 && line[code_digits] == ':';
    size_t n = whole ? digits(rows) : 0, unit = 2 * OM_BITMAP_ROWS;
    unsigned long code = whole ? strtoul(line, NULL, 16) : 0;
    if (!whole || rows[n] || !n || n % unit || n > 4 * unit || code > OM_FONT_CODE_MAX)
        return om_fail(OM_ERR_FORMAT,
                       "%s:%zu: no line of a .hex font: CODE:ROWS is expected, with 32, 64, 96 or 128 "
                       "hexadecimal digits of rows, as in GNU Unifont's unifont.hex",
                       path, number);
    return add(f, (uint32_t)code, rows, n);
}

static int read_lines(om_font *f, char *text, size_t len, const char *path)
{
    char *at = text, *end = text + len;
    int err = OM_OK;
    for (size_t number = 1; at < end && !err; number++) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        char *line_end = stop ? stop : end;
        *line_end = '\0';
        if (strlen(at) != (size_t)(line_end - at))
            return om_fail(OM_ERR_FORMAT, "%s:%zu: no text: a .hex font as GNU Unifont's is expected", path,
                           number);
        err = read_line(f, at, path, number);
        at = line_end + 1;
    }
    if (!err && !f->n) err = om_fail(OM_ERR_FORMAT, "%s: no character in it", path);
    return err;
}

static int by_code(const void *a, const void *b)
{
    const character *x = a, *y = b;
    return x->code != y->code ? (x->code > y->code) - (x->code < y->code) : (x->at > y->at) - (x->at < y->at);
}

/* Of two lines of one code the last one counts, as in files that are joined. */
static void drop_doubles(om_font *f)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->n; i++)
        if (i + 1 == f->n || f->characters[i].code != f->characters[i + 1].code)
            f->characters[kept++] = f->characters[i];
    f->n = kept;
}

int om_font_load(const char *path, om_font **out)
{
    char *text = NULL;
    size_t len = 0;
    *out = NULL;
    om_font *f = om_calloc(1, sizeof *f);
    int err = f ? om_read_file(path, OM_FONT_FILE_MAX, &text, &len) : OM_ERR_NOMEM;
    if (!err) err = read_lines(f, text, len, path);
    om_free(text);
    if (err) {
        om_font_destroy(f);
        return err;
    }
    qsort(f->characters, f->n, sizeof *f->characters, by_code);
    drop_doubles(f);
    *out = f;
    return OM_OK;
}

const uint8_t *om_font_rows(const om_font *f, uint32_t code, int *columns)
{
    size_t low = 0, high = f ? f->n : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const character *c = &f->characters[middle];
        if (c->code == code) {
            *columns = c->columns;
            return f->bits + c->at;
        }
        if (c->code < code) low = middle + 1;
        else high = middle;
    }
    return NULL;
}
