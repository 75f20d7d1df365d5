#include "train/dataset.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/mem.h"
#include "media/media.h"
#include "train/dataset_priv.h"
#include "train/random.h"

#define MAX_DEPTH 16

const om_choice om_holdout_choices[] = {{"random", OM_HOLDOUT_RANDOM, "a share of each class"},
                                        {"last", OM_HOLDOUT_LAST, "the last share of each clip's frames"},
                                        {NULL, 0, NULL}};

void om_dataset_fini(om_dataset *d)
{
    om_strlist_fini(&d->files);
    om_strlist_fini(&d->classes);
    om_free(d->labels);
    om_free(d->held_out);
    memset(d, 0, sizeof *d);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

int om_loading_add(om_loading *l, const char *path, const char *class, int part)
{
    om_loading_item item = {.path = om_strdup(path), .class = om_strdup(class), .part = part};
    int err = item.path && item.class ? om_grow((void **)&l->items, &l->cap, l->n + 1, sizeof *l->items)
                                      : OM_ERR_NOMEM;
    if (err) {
        om_free(item.path);
        om_free(item.class);
        return err;
    }
    l->items[l->n++] = item;
    return OM_OK;
}

static void loading_fini(om_loading *l)
{
    for (size_t i = 0; i < l->n; i++) {
        om_free(l->items[i].path);
        om_free(l->items[i].class);
    }
    om_free(l->items);
}

/* The names of what lies in a folder, sorted; hidden ones aside. */
static int list_folder(const char *path, om_strlist *out)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, NULL, alphasort), err = OM_OK;
    if (n < 0) return om_fail(om_err_from_errno(errno), "%s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (!err && entries[i]->d_name[0] != '.') err = om_strlist_add(out, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return err;
}

/* The pictures of a folder and of all below it. */
static int add_pictures(om_loading *l, const char *path, const char *class, int part, int depth)
{
    om_strlist list = {0}, names = {0};
    int err = om_picture_list(path, &list);
    if (err == OM_ERR_NOT_FOUND) err = OM_OK;
    for (size_t i = 0; i < list.n && !err; i++) err = om_loading_add(l, list.items[i], class, part);
    if (!err) err = list_folder(path, &names);
    for (size_t i = 0; i < names.n && !err && depth < MAX_DEPTH; i++) {
        char *below = om_sprintf("%s/%s", path, names.items[i]);
        if (!below) err = OM_ERR_NOMEM;
        else if (is_folder(below)) err = add_pictures(l, below, class, part, depth + 1);
        om_free(below);
    }
    om_strlist_fini(&list);
    om_strlist_fini(&names);
    return err;
}

static int add_classes(om_loading *l, const char *path, int part)
{
    om_strlist names = {0};
    int err = list_folder(path, &names);
    for (size_t i = 0; i < names.n && !err; i++) {
        char *below = om_sprintf("%s/%s", path, names.items[i]);
        if (!below) err = OM_ERR_NOMEM;
        else if (is_folder(below)) err = add_pictures(l, below, names.items[i], part, 0);
        om_free(below);
    }
    om_strlist_fini(&names);
    return err;
}

static int load_folder(om_loading *l, const char *path, bool dummy)
{
    if (dummy) return add_pictures(l, path, "", OM_PART_OPEN, 0);
    char *train = om_sprintf("%s/train", path), *val = om_sprintf("%s/val", path);
    int err = train && val ? OM_OK : OM_ERR_NOMEM;
    if (!err && is_folder(train) && is_folder(val)) {
        err = add_classes(l, train, OM_PART_TRAIN);
        if (!err) err = add_classes(l, val, OM_PART_HELD_OUT);
    } else if (!err) {
        err = add_classes(l, path, OM_PART_OPEN);
    }
    om_free(train);
    om_free(val);
    return err;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const om_loading_item *)a)->path, ((const om_loading_item *)b)->path);
}

static bool all_digits(const char *s) { return *s && !s[strspn(s, "0123456789")] && strlen(s) < 10; }

static int by_name(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    bool x_number = all_digits(x), y_number = all_digits(y);
    if (x_number != y_number) return x_number ? -1 : 1;
    if (x_number && atol(x) != atol(y)) return atol(x) < atol(y) ? -1 : 1;
    return strcmp(x, y);
}

static int name_classes(om_dataset *d, const om_loading *l, const om_dataset_params *p)
{
    int err = OM_OK;
    const char **all = om_alloc((l->n + 1) * sizeof *all);
    if (!all) return OM_ERR_NOMEM;
    for (size_t i = 0; i < l->n; i++) all[i] = l->items[i].class;
    qsort(all, l->n, sizeof *all, by_name);
    for (int i = 0; i < p->dummy_classes && !err; i++) {
        char *name = om_sprintf("%d", i);
        err = name ? om_strlist_add(&d->classes, name) : OM_ERR_NOMEM;
        om_free(name);
    }
    for (size_t i = 0; i < l->n && !err && !p->dummy_classes; i++)
        if (!i || strcmp(all[i], all[i - 1])) err = om_strlist_add(&d->classes, all[i]);
    om_free(all);
    return err;
}

static int class_of(const om_dataset *d, const char *name)
{
    char **at = bsearch(&name, d->classes.items, d->classes.n, sizeof *d->classes.items, by_name);
    return at ? (int)(at - d->classes.items) : -1;
}

/* How much of a path tells one run of pictures from another: all but numbers at the end of the name, as
 * "walk_000123_4.920000.jpg" has them. */
static size_t run_length(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    size_t base = (size_t)(name - path), n = dot && dot > name ? (size_t)(dot - path) : strlen(path), end = n;
    while (end > base && (isdigit((unsigned char)path[end - 1]) || strchr("._-", path[end - 1]))) end--;
    return end;
}

static bool same_run(const char *a, const char *b)
{
    size_t n = run_length(a);
    return n == run_length(b) && !strncmp(a, b, n);
}

static size_t share_of(size_t n, double share)
{
    size_t k = (size_t)llround((double)n * share);
    if (share > 0 && !k && n > 1) k = 1;
    return k < n ? k : n - (n > 0);
}

static void hold_out_last(om_dataset *d, double share)
{
    for (size_t i = 0, end; i < d->files.n; i = end) {
        for (end = i + 1; end < d->files.n && same_run(d->files.items[i], d->files.items[end]);) end++;
        for (size_t k = 0; k < share_of(end - i, share); k++) d->held_out[end - 1 - k] = true;
    }
}

static int hold_out_random(om_dataset *d, double share, uint64_t seed)
{
    om_random r = {seed ^ 0x5eedu};
    uint32_t *at = om_alloc((d->files.n + 1) * sizeof *at);
    if (!at) return OM_ERR_NOMEM;
    for (int c = 0; c < (int)d->classes.n; c++) {
        size_t n = 0;
        for (size_t i = 0; i < d->files.n; i++)
            if (d->labels[i] == c) at[n++] = (uint32_t)i;
        om_random_shuffle(&r, at, n);
        for (size_t k = 0; k < share_of(n, share); k++) d->held_out[at[k]] = true;
    }
    om_free(at);
    return OM_OK;
}

static int settle(om_dataset *d, om_loading *l, const om_dataset_params *p)
{
    om_random r = {p->seed ^ 0xd0d0u};
    bool settled = false;
    if (l->n) qsort(l->items, l->n, sizeof *l->items, by_path);
    d->labels = om_calloc(l->n + 1, sizeof *d->labels);
    d->held_out = om_calloc(l->n + 1, sizeof *d->held_out);
    int err = d->labels && d->held_out ? name_classes(d, l, p) : OM_ERR_NOMEM;
    for (size_t i = 0; i < l->n && !err; i++) {
        err = om_strlist_add(&d->files, l->items[i].path);
        d->labels[i] = p->dummy_classes ? (int)om_random_below(&r, (size_t)p->dummy_classes)
                                        : class_of(d, l->items[i].class);
        d->held_out[i] = l->items[i].part == OM_PART_HELD_OUT;
        settled = settled || l->items[i].part != OM_PART_OPEN;
    }
    if (!err && !settled && p->holdout == OM_HOLDOUT_LAST) hold_out_last(d, p->share);
    else if (!err && !settled) err = hold_out_random(d, p->share, p->seed);
    for (size_t i = 0; i < d->files.n; i++) d->n_held_out += d->held_out[i];
    return err;
}

static int check(const om_dataset *d, const char *path)
{
    if (!d->files.n)
        return om_fail(OM_ERR_NOT_FOUND,
                       "%s: no pictures; expected a folder of class folders, or a CSV of path,class", path);
    if (d->classes.n < 2)
        return om_fail(OM_ERR_ARG, "%s: all pictures are of one class ('%s'); expected two or more", path,
                       d->classes.items[0]);
    for (int c = 0; c < (int)d->classes.n; c++) {
        size_t learn = 0;
        for (size_t i = 0; i < d->files.n; i++) learn += d->labels[i] == c && !d->held_out[i];
        if (!learn)
            return om_fail(OM_ERR_ARG, "%s: class '%s' has no picture to learn from", path,
                           d->classes.items[c]);
    }
    return OM_OK;
}

int om_dataset_load(om_dataset *d, const char *path, const om_dataset_params *p)
{
    om_loading l = {0};
    struct stat st;
    memset(d, 0, sizeof *d);
    if (stat(path, &st)) return om_fail(om_err_from_errno(errno), "%s: %s", path, strerror(errno));
    int err = S_ISDIR(st.st_mode) ? load_folder(&l, path, p->dummy_classes > 0) : om_loading_csv(&l, path);
    if (!err) err = settle(d, &l, p);
    if (!err) err = check(d, path);
    loading_fini(&l);
    if (err) om_dataset_fini(d);
    return err;
}
