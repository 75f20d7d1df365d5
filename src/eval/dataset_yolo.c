/* YOLO's labels: a text file a picture, a line an object. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "eval/dataset.h"

#define FILE_MAX_BYTES ((size_t)1 << 26)
#define MOST_NUMBERS 4096 /* of an outline */
#define HIGHEST_CLASS 999999

typedef struct reader {
    const char *path;
    int line;
    om_eval_set *set;
    int image;
    int64_t highest; /* class */
    double *numbers; /* of a line */
} reader;

static int wrong(const reader *r, const char *what)
{
    return om_fail(OM_ERR_FORMAT, "%s:%d: %s", r->path, r->line, what);
}

/* How many numbers the line has, or an error. */
static int read_numbers(const reader *r, const char *line)
{
    int n = 0;
    for (const char *p = line + strspn(line, " \t"); *p; n++) {
        char *end;
        if (n == MOST_NUMBERS) return wrong(r, "too many numbers");
        r->numbers[n] = strtod(p, &end);
        if (end == p || (*end && !strchr(" \t", *end)) || !isfinite(r->numbers[n]))
            return wrong(r, "expected numbers parted by blanks: class cx cy w h");
        p = end + strspn(end, " \t");
    }
    return n;
}

/* The box around "x y x y ...". */
static void around(const double *xy, int n, om_eval_box *b)
{
    double low[2] = {xy[0], xy[1]}, high[2] = {xy[0], xy[1]};
    for (int i = 2; i < n; i++) {
        low[i % 2] = fmin(low[i % 2], xy[i]);
        high[i % 2] = fmax(high[i % 2], xy[i]);
    }
    b->x = low[0];
    b->y = low[1];
    b->w = high[0] - low[0];
    b->h = high[1] - low[1];
}

static int read_line(reader *r, const char *line)
{
    const double *v = r->numbers;
    om_eval_box b = {.image = r->image};
    int n = read_numbers(r, line);
    if (n <= 0) return n;
    if (n != 5 && !(n >= 7 && n % 2))
        return wrong(r, "expected class cx cy w h, or class and the points of an outline");
    if (!(v[0] >= 0 && v[0] <= HIGHEST_CLASS) || v[0] != floor(v[0]))
        return wrong(r, "the class has to be a whole number from 0");
    for (int i = 1; i < n; i++)
        if (!(v[i] >= -0.01 && v[i] <= 1.01))
            return wrong(r, "places have to be shares of the picture, 0 to 1");
    b.class_id = (int)v[0];
    if (n == 5) {
        b.w = v[3];
        b.h = v[4];
        b.x = v[1] - v[3] / 2;
        b.y = v[2] - v[4] / 2;
    } else {
        around(v + 1, n - 1, &b);
    }
    if (b.class_id > r->highest) r->highest = b.class_id;
    return om_eval_boxes_add(&r->set->truth, &b);
}

/* OM_ERR_NOT_FOUND where there is no such file. */
static int read_file(reader *r, const char *path)
{
    char *text;
    size_t len;
    r->path = path;
    r->line = 0;
    int err = om_read_file(path, FILE_MAX_BYTES, &text, &len);
    if (err) return err;
    if (strlen(text) != len) err = om_fail(OM_ERR_FORMAT, "%s: not a text", path);
    for (char *line = text, *next; line && !err; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        r->line++;
        line[strcspn(line, "\r")] = '\0';
        err = read_line(r, line);
    }
    om_free(text);
    return err;
}

static int add_picture(om_eval_set *s, const char *file)
{
    void *items = s->images;
    int err = om_grow(&items, &s->cap_images, s->n_images + 1, sizeof *s->images);
    s->images = items;
    if (err) return err;
    om_eval_image im = {.file = om_strdup(file), .id = (int64_t)s->n_images, .first = s->truth.n};
    if (!im.file) return OM_ERR_NOMEM;
    s->images[s->n_images++] = im;
    return OM_OK;
}

static int read_labels(reader *r, const char *folder, const char *picture, size_t *labelled)
{
    const char *stem;
    size_t n = om_eval_stem(picture, &stem);
    int err = add_picture(r->set, picture);
    char *path = err ? NULL : om_sprintf("%s/%.*s.txt", folder, (int)n, stem);
    if (!path) return OM_ERR_NOMEM;
    om_eval_image *im = &r->set->images[r->set->n_images - 1];
    r->image = (int)im->id;
    err = read_file(r, path);
    if (err == OM_ERR_NOT_FOUND) err = OM_OK;
    else *labelled += !err;
    im->n = r->set->truth.n - im->first;
    om_free(path);
    return err;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int find_text(const om_strlist *sorted, const char *text)
{
    return sorted->n && bsearch(&text, sorted->items, sorted->n, sizeof text, by_text) != NULL;
}

/* The stems of the pictures, sorted; each once. */
static int list_stems(const om_strlist *pictures, om_strlist *out)
{
    int err = OM_OK;
    for (size_t i = 0; i < pictures->n && !err; i++) {
        const char *stem;
        size_t n = om_eval_stem(pictures->items[i], &stem);
        err = om_strlist_addn(out, stem, n);
    }
    if (err || !out->n) return err;
    qsort(out->items, out->n, sizeof *out->items, by_text);
    for (size_t i = 1; i < out->n; i++)
        if (!strcmp(out->items[i - 1], out->items[i]))
            return om_fail(OM_ERR_ARG, "two pictures are named '%s': their labels would be one file",
                           out->items[i]);
    return OM_OK;
}

/* Counts files of labels that none of the pictures has. */
static int count_strays(const char *folder, const om_strlist *stems, om_eval_set *out)
{
    DIR *d = opendir(folder);
    if (!d) return om_fail(om_err_from_errno(errno), "%s: %s", folder, strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (n < 5 || strcmp(e->d_name + n - 4, ".txt") || !strcmp(e->d_name, "classes.txt")) continue;
        e->d_name[n - 4] = '\0';
        out->strays += !find_text(stems, e->d_name);
    }
    closedir(d);
    return OM_OK;
}

int om_eval_read_yolo(const char *folder, const om_strlist *pictures, om_eval_set *out)
{
    om_strlist stems = {0};
    size_t labelled = 0;
    *out = (om_eval_set){.fractions = true};
    reader r = {.set = out, .highest = -1, .numbers = om_alloc(MOST_NUMBERS * sizeof(double))};
    int err = r.numbers ? list_stems(pictures, &stems) : OM_ERR_NOMEM;
    if (!err) err = count_strays(folder, &stems, out);
    for (size_t i = 0; i < pictures->n && !err; i++)
        err = read_labels(&r, folder, pictures->items[i], &labelled);
    if (!err && !labelled)
        err = om_fail(OM_ERR_ARG, "%s: none of the %zu pictures has labels here%s", folder, pictures->n,
                      out->strays ? "; there are labels of other pictures" : "");
    if (!err) err = om_eval_set_add_classes(out, (size_t)(r.highest + 1), NULL, 0);
    om_strlist_fini(&stems);
    om_free(r.numbers);
    if (err) om_eval_set_fini(out);
    return err;
}
