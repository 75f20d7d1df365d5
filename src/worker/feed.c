#include "worker/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/labels.h"
#include "train/csv_labels.h"
#include "train/trainer.h"

#define TARGETS_MAX (64u << 20)

/* From frame `from` on pictures show class `label`. */
typedef struct stretch {
    long long from;
    int label;
} stretch;

struct om_feed {
    om_feed_params p;
    char *uri;
    om_source *source; /* NULL: `data` */
    om_source_counts counts;
    uint64_t done;   /* pictures of sources that ended */
    long long frame; /* number of the next one since the source's start */
    om_dataset data;
    uint32_t *order; /* of the round; owned */
    size_t at;
    int round;
    om_source_info info;
    om_strlist classes;
    int *number;        /* of each class of the data among `classes`; owned; NULL: they are the same */
    stretch *stretches; /* owned, rising */
    size_t n_stretches, cap;
    char origin[160];
};

static int open_source(om_feed *f)
{
    om_source_params p = {.decode_threads = 1, .loop = f->p.loop && !f->n_stretches, .cancel = f->p.cancel};
    memset(&f->counts, 0, sizeof f->counts);
    f->frame = 0;
    int err = om_source_open(f->uri, &p, &f->counts, &f->source);
    if (!err) f->info = f->source->info;
    return err;
}

static bool has_class_folders(const char *uri)
{
    struct stat st;
    om_strlist pictures = {0};
    size_t n = strlen(uri);
    if (stat(uri, &st)) return false;
    if (!S_ISDIR(st.st_mode)) return n > 4 && !strcmp(uri + n - 4, ".csv");
    bool own = om_picture_list(uri, &pictures) == OM_OK;
    om_strlist_fini(&pictures);
    om_error_clear();
    return !own;
}

static int open_dataset(om_feed *f)
{
    om_dataset_params p = {.seed = f->p.seed};
    om_frame *first = NULL;
    int err = om_dataset_load(&f->data, f->uri, &p);
    if (!err && !(f->order = om_alloc(f->data.files.n * sizeof *f->order))) err = OM_ERR_NOMEM;
    for (size_t i = 0; i < f->data.classes.n && !err; i++)
        err = om_strlist_add(&f->classes, f->data.classes.items[i]);
    if (!err) err = om_picture_load(f->data.files.items[0], &first);
    if (err) return err;
    snprintf(f->info.kind, sizeof f->info.kind, "pictures");
    f->info.width = first->image.width;
    f->info.height = first->image.height;
    f->info.fps = 1;
    f->info.duration_s = (double)f->data.files.n;
    om_frame_unref(first);
    om_trainer_order(f->p.seed, 0, f->order, f->data.files.n);
    snprintf(f->origin, sizeof f->origin, "classes are the folders' or the CSV's: %zu of %zu pictures",
             f->classes.n, f->data.files.n);
    return OM_OK;
}

static int class_number(om_feed *f, const char *name)
{
    for (size_t i = 0; i < f->classes.n; i++)
        if (!strcmp(f->classes.items[i], name)) return (int)i;
    int err = om_strlist_add(&f->classes, name);
    return err ? err : (int)f->classes.n - 1;
}

static int add_stretch(om_feed *f, int line, bool first, const om_strlist *fields)
{
    long long from;
    if (fields->n != 2 || om_parse_int(fields->items[0], &from) || from < 0 || !*fields->items[1]) {
        if (first) return OM_OK; /* a heading */
        return om_fail(OM_ERR_FORMAT, "%s:%d: expected frame,class", f->p.targets, line);
    }
    if (f->n_stretches && from <= f->stretches[f->n_stretches - 1].from)
        return om_fail(OM_ERR_FORMAT, "%s:%d: frame %lld does not come after the line before", f->p.targets,
                       line, from);
    int label = class_number(f, fields->items[1]);
    if (label < 0) return label;
    int err = om_grow((void **)&f->stretches, &f->cap, f->n_stretches + 1, sizeof *f->stretches);
    if (!err) f->stretches[f->n_stretches++] = (stretch){from, label};
    return err;
}

static int read_targets(om_feed *f)
{
    om_strlist fields = {0};
    char *text = NULL, *at;
    size_t len;
    bool first = true;
    int line = 0, failed = OM_OK, err = om_read_file(f->p.targets, TARGETS_MAX, &text, &len);
    if (!err && memchr(text, '\0', len))
        err = om_fail(OM_ERR_FORMAT, "%s: not a text; expected lines of frame,class", f->p.targets);
    at = text;
    while (!err && om_csv_next(&at, &line, &fields, &failed)) {
        err = failed;
        if (!err) err = add_stretch(f, line, first, &fields);
        first = false;
    }
    om_strlist_fini(&fields);
    om_free(text);
    if (!err && f->classes.n < 2)
        err = om_fail(OM_ERR_FORMAT, "%s: %zu classes; expected lines of frame,class with two or more",
                      f->p.targets, f->classes.n);
    snprintf(f->origin, sizeof f->origin,
             "classes of the frames are those of the targets: %zu stretches, %zu classes", f->n_stretches,
             f->classes.n);
    return err;
}

static int name_dummies(om_feed *f)
{
    char name[16];
    int err = OM_OK;
    for (int i = 0; i < f->p.dummy_classes && !err; i++) {
        snprintf(name, sizeof name, "%d", i);
        err = om_strlist_add(&f->classes, name);
    }
    snprintf(f->origin, sizeof f->origin,
             "labels are dummies drawn by the seed, %d classes: the loss means nothing", f->p.dummy_classes);
    return err;
}

static int place_of(const om_strlist *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (!strcmp(names->items[i], name)) return (int)i;
    return -1;
}

/* The file's names and their order instead of those of the data. */
static int use_names(om_feed *f, bool dummies)
{
    om_strlist names = {0};
    int err = om_labels_read(f->p.labels, &names);
    if (!err && names.n < 2)
        err = om_fail(OM_ERR_ARG, "%s: %zu class names; expected two or more", f->p.labels, names.n);
    if (!err && !dummies && !(f->number = om_calloc(f->classes.n, sizeof *f->number))) err = OM_ERR_NOMEM;
    for (size_t i = 0; i < f->classes.n && !err && !dummies; i++) {
        f->number[i] = place_of(&names, f->classes.items[i]);
        if (f->number[i] < 0)
            err = om_fail(OM_ERR_ARG, "%s: class '%s' of the data is not among its %zu names", f->p.labels,
                          f->classes.items[i], names.n);
    }
    if (err) {
        om_strlist_fini(&names);
        return err;
    }
    om_strlist_fini(&f->classes);
    f->classes = names;
    return OM_OK;
}

int om_feed_open(const char *uri, const om_feed_params *p, om_feed **out)
{
    *out = NULL;
    om_feed *f = om_calloc(1, sizeof *f);
    if (!f) return OM_ERR_NOMEM;
    f->p = *p;
    int err = (f->uri = om_strdup(uri)) ? OM_OK : OM_ERR_NOMEM;
    if (!err && p->labelled && has_class_folders(uri)) {
        err = p->targets ? om_fail(OM_ERR_ARG, "--targets are for videos; %s has classes of its own", uri)
                         : open_dataset(f);
    } else if (!err) {
        if (p->labelled) err = p->targets ? read_targets(f) : name_dummies(f);
        if (!err && p->labelled && p->labels && !p->targets) {
            err = use_names(f, true);
            f->p.dummy_classes = (int)f->classes.n;
        }
        if (!err) err = open_source(f);
    }
    bool named = f->data.files.n || f->n_stretches;
    if (!err && p->labels && named) err = use_names(f, false);
    if (err) om_feed_close(f);
    else *out = f;
    return err;
}

void om_feed_close(om_feed *f)
{
    if (!f) return;
    om_source_close(f->source);
    om_dataset_fini(&f->data);
    om_strlist_fini(&f->classes);
    om_free(f->order);
    om_free(f->stretches);
    om_free(f->number);
    om_free(f->uri);
    om_free(f);
}

static int read_file(om_feed *f, om_frame **out, int *label)
{
    if (f->at == f->data.files.n) {
        if (!f->p.loop || !f->data.files.n) return om_fail(OM_ERR_EOF, "the pictures are over");
        om_trainer_order(f->p.seed, ++f->round, f->order, f->data.files.n);
        f->at = 0;
    }
    if (om_cancelled(f->p.cancel)) return om_fail(OM_ERR_CANCELLED, "stopped");
    uint32_t i = f->order[f->at++];
    int err = om_picture_load(f->data.files.items[i], out);
    *label = f->data.labels[i];
    f->done += !err;
    return err;
}

static int by_start(const void *key, const void *item)
{
    long long frame = *(const long long *)key;
    const stretch *s = item;
    return frame < s->from ? -1 : frame >= s[1].from;
}

/* The stretch the frame lies in; before the first one: that. */
static int target_of(const om_feed *f, long long frame)
{
    size_t last = f->n_stretches - 1;
    if (frame < f->stretches[0].from) return f->stretches[0].label;
    if (frame >= f->stretches[last].from) return f->stretches[last].label;
    const stretch *s = bsearch(&frame, f->stretches, last, sizeof *s, by_start);
    return s->label;
}

/* The same frame has the same label, whenever it is read. */
static int dummy_of(const om_feed *f, long long frame)
{
    uint64_t h = ((uint64_t)frame + 1) * 0x9e3779b97f4a7c15u ^ f->p.seed * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 30)) * 0x94d049bb133111ebu;
    return (int)((h >> 33) % (uint64_t)f->p.dummy_classes);
}

static int read_next(om_feed *f, om_frame **out, int *label)
{
    *label = -1;
    if (!f->source) return read_file(f, out, label);
    int err = om_source_read(f->source, out);
    if (err == OM_ERR_EOF && f->p.loop && f->n_stretches && f->frame) {
        f->done += (uint64_t)f->frame;
        om_source_close(f->source);
        f->source = NULL;
        err = open_source(f);
        if (!err) err = om_source_read(f->source, out);
    }
    if (err) return err;
    if (f->n_stretches) *label = target_of(f, f->frame);
    else if (f->p.labelled) *label = dummy_of(f, f->frame);
    f->frame++;
    return OM_OK;
}

int om_feed_read(om_feed *f, om_frame **out, int *label)
{
    int err = read_next(f, out, label);
    if (!err && f->number && *label >= 0) *label = f->number[*label];
    return err;
}

const char *om_feed_shown(const om_feed *f) { return f->source ? f->source->shown : f->uri; }
const om_source_info *om_feed_info(const om_feed *f) { return &f->info; }
uint64_t om_feed_pictures(const om_feed *f) { return f->done + (uint64_t)f->frame; }
const om_strlist *om_feed_classes(const om_feed *f) { return &f->classes; }
const char *om_feed_origin(const om_feed *f) { return f->origin; }
