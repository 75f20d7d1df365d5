/* COCO's JSON: pictures with annotations, and results. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "eval/dataset.h"
#include "eval/json_items.h"

#define FILE_MAX_BYTES ((size_t)1 << 33)
#define WHOLE_MAX 9007199254740992.0 /* from here on doubles skip whole numbers */

static bool whole(const om_json_value *v, int64_t *out)
{
    if (!v || v->type != OM_JSON_NUM || !(fabs(v->num) < WHOLE_MAX) || v->num != floor(v->num)) return false;
    *out = (int64_t)v->num;
    return true;
}

static bool number(const om_json_value *v, double *out)
{
    if (!v || v->type != OM_JSON_NUM || !isfinite(v->num)) return false;
    *out = v->num;
    return true;
}

/* x, y, w, h. */
static bool box_of(const om_json_value *v, om_eval_box *b)
{
    return v && v->type == OM_JSON_ARR && v->n == 4 && number(&v->children[0], &b->x) &&
           number(&v->children[1], &b->y) && number(&v->children[2], &b->w) && number(&v->children[3], &b->h);
}

typedef int (*entry_fn)(void *user, const om_json_value *entry, const char *where);

/* Calls `each` for the entries of a list. `what` names it in messages. */
static int each_entry(const char *path, const char *what, const char *text, size_t len, entry_fn each,
                      void *user)
{
    om_json_items it;
    om_json_item item;
    size_t n = 0;
    int more, err = om_json_items_open(&it, text, len, false);
    if (err) return om_fail_prefix(err, "%s: '%s'", path, what);
    while ((more = om_json_items_next(&it, &item)) > 0) {
        char where[64];
        om_json_value *v = NULL;
        snprintf(where, sizeof where, "%s[%zu]", what, n++);
        err = om_json_parse(item.text, item.len, &v);
        if (!err && v->type != OM_JSON_OBJ) err = om_fail(OM_ERR_FORMAT, "expected an object");
        if (!err) err = each(user, v, where);
        om_json_free(v);
        if (err == OM_ERR_FORMAT || err == OM_ERR_ARG) om_fail_prefix(err, "%s: %s", path, where);
        if (err) return err;
    }
    return more < 0 ? om_fail_prefix(more, "%s: '%s'", path, what) : OM_OK;
}

static int add_image(void *user, const om_json_value *e, const char *where)
{
    om_eval_set *s = user;
    const om_json_value *file = om_json_get(e, "file_name");
    om_eval_image im = {0};
    int64_t width = 0, height = 0;
    void *items = s->images;
    (void)where;
    if (!whole(om_json_get(e, "id"), &im.id))
        return om_fail(OM_ERR_FORMAT, "a picture's 'id' has to be a whole number");
    if (om_json_get(e, "width") && om_json_get(e, "height") &&
        (!whole(om_json_get(e, "width"), &width) || !whole(om_json_get(e, "height"), &height) || width < 1 ||
         height < 1 || width > 1 << 20 || height > 1 << 20))
        return om_fail(OM_ERR_FORMAT, "a picture's 'width' and 'height' have to be whole numbers of pixels");
    im.width = (int)width;
    im.height = (int)height;
    if (file && file->type != OM_JSON_STR) return om_fail(OM_ERR_FORMAT, "'file_name' has to be a text");
    int err = om_grow(&items, &s->cap_images, s->n_images + 1, sizeof *s->images);
    s->images = items;
    im.file = err ? NULL : om_strdup(file ? file->str : "");
    if (!im.file) return OM_ERR_NOMEM;
    s->images[s->n_images++] = im;
    return OM_OK;
}

static int add_category(void *user, const om_json_value *e, const char *where)
{
    om_eval_set *s = user;
    const om_json_value *name = om_json_get(e, "name");
    om_eval_category c = {0};
    void *items = s->classes;
    (void)where;
    if (!whole(om_json_get(e, "id"), &c.id))
        return om_fail(OM_ERR_FORMAT, "a category's 'id' has to be a whole number");
    if (name && name->type != OM_JSON_STR) return om_fail(OM_ERR_FORMAT, "'name' has to be a text");
    int err = om_grow(&items, &s->cap_classes, s->n_classes + 1, sizeof *s->classes);
    s->classes = items;
    if (!err && name && !(c.name = om_strdup(name->str))) err = OM_ERR_NOMEM;
    if (!err) s->classes[s->n_classes++] = c;
    return err;
}

static int by_image_id(const void *a, const void *b)
{
    const om_eval_image *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int by_category_id(const void *a, const void *b)
{
    const om_eval_category *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int find_image(const om_eval_set *s, int64_t id)
{
    const om_eval_image key = {.id = id};
    const om_eval_image *at =
        s->n_images ? bsearch(&key, s->images, s->n_images, sizeof key, by_image_id) : NULL;
    return at ? (int)(at - s->images) : -1;
}

static int find_category(const om_eval_set *s, int64_t id)
{
    const om_eval_category key = {.id = id};
    const om_eval_category *at =
        s->n_classes ? bsearch(&key, s->classes, s->n_classes, sizeof key, by_category_id) : NULL;
    return at ? (int)(at - s->classes) : -1;
}

static int sort_ids(om_eval_set *s, const char *path)
{
    if (s->n_images) qsort(s->images, s->n_images, sizeof *s->images, by_image_id);
    if (s->n_classes) qsort(s->classes, s->n_classes, sizeof *s->classes, by_category_id);
    for (size_t i = 1; i < s->n_images; i++)
        if (s->images[i - 1].id == s->images[i].id)
            return om_fail(OM_ERR_FORMAT, "%s: two pictures have the id %lld", path,
                           (long long)s->images[i].id);
    for (size_t i = 1; i < s->n_classes; i++)
        if (s->classes[i - 1].id == s->classes[i].id)
            return om_fail(OM_ERR_FORMAT, "%s: two categories have the id %lld", path,
                           (long long)s->classes[i].id);
    return OM_OK;
}

/* The annotations, while their ids are looked at. */
typedef struct annotations {
    om_eval_set *set;
    int64_t *ids;
    size_t n, cap;
} annotations;

static int add_id(annotations *a, int64_t id)
{
    void *ids = a->ids;
    int err = om_grow(&ids, &a->cap, a->n + 1, sizeof *a->ids);
    a->ids = ids;
    if (!err) a->ids[a->n++] = id;
    return err;
}

static bool truth_of(const om_json_value *v)
{
    return v && ((v->type == OM_JSON_NUM && v->num != 0) || (v->type == OM_JSON_BOOL && v->boolean));
}

static int add_annotation(void *user, const om_json_value *e, const char *where)
{
    annotations *a = user;
    om_eval_set *s = a->set;
    om_eval_box b = {0};
    int64_t id, image, category;
    (void)where;
    if (!whole(om_json_get(e, "id"), &id) || !whole(om_json_get(e, "image_id"), &image) ||
        !whole(om_json_get(e, "category_id"), &category))
        return om_fail(OM_ERR_FORMAT, "'id', 'image_id' and 'category_id' have to be whole numbers");
    if (!box_of(om_json_get(e, "bbox"), &b))
        return om_fail(OM_ERR_FORMAT, "'bbox' has to be four numbers: left, top, width, height");
    b.area = b.w * b.h;
    if (om_json_get(e, "area") && !number(om_json_get(e, "area"), &b.area))
        return om_fail(OM_ERR_FORMAT, "'area' has to be a number");
    b.crowd = truth_of(om_json_get(e, "iscrowd"));
    b.image = find_image(s, image);
    b.class_id = find_category(s, category);
    if (b.class_id < 0)
        return om_fail(OM_ERR_FORMAT, "category_id %lld is not among the categories", (long long)category);
    int err = add_id(a, id);
    if (err) return err;
    if (b.image < 0) {
        s->strays++;
        return OM_OK;
    }
    b.mute = id == 0;
    s->muted += b.mute;
    return om_eval_boxes_add(&s->truth, &b);
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int check_ids(annotations *a, const char *path)
{
    if (a->n) qsort(a->ids, a->n, sizeof *a->ids, by_number);
    for (size_t i = 1; i < a->n; i++)
        if (a->ids[i - 1] == a->ids[i])
            return om_fail(OM_ERR_FORMAT, "%s: two annotations have the id %lld", path, (long long)a->ids[i]);
    return OM_OK;
}

static const char *const list_names[] = {"images", "categories", "annotations"};

/* Where the three lists lie in the text. */
static int find_lists(const char *path, const char *text, size_t len, om_json_item lists[3])
{
    om_json_items it;
    om_json_item item;
    int more, err = om_json_items_open(&it, text, len, true);
    if (err)
        return om_fail_prefix(err, "%s: COCO's labels are an object with images, annotations, categories",
                              path);
    while ((more = om_json_items_next(&it, &item)) > 0)
        for (int k = 0; k < 3; k++)
            if (om_json_item_is(&item, list_names[k])) lists[k] = item;
    if (more < 0) return om_fail_prefix(more, "%s", path);
    for (int k = 0; k < 3; k++)
        if (!lists[k].text)
            return om_fail(OM_ERR_FORMAT, "%s: has no '%s', as COCO's labels have", path, list_names[k]);
    return OM_OK;
}

int om_eval_read_coco(const char *path, om_eval_set *out)
{
    static const entry_fn readers[] = {add_image, add_category};
    annotations a = {.set = out};
    om_json_item lists[3] = {{0}};
    char *text = NULL;
    size_t len;
    *out = (om_eval_set){0};
    int err = om_read_file(path, FILE_MAX_BYTES, &text, &len);
    if (err) return err;
    err = find_lists(path, text, len, lists);
    for (int k = 0; k < 2 && !err; k++)
        err = each_entry(path, list_names[k], lists[k].text, lists[k].len, readers[k], out);
    if (!err) err = sort_ids(out, path);
    if (!err) err = each_entry(path, list_names[2], lists[2].text, lists[2].len, add_annotation, &a);
    if (!err) err = check_ids(&a, path);
    if (!err && !out->n_images) err = om_fail(OM_ERR_ARG, "%s: lists no pictures", path);
    om_free(text);
    om_free(a.ids);
    if (err) om_eval_set_fini(out);
    return err;
}

/* Results, being read. */
typedef struct results {
    const om_eval_set *set;
    om_eval_boxes *out;
    size_t *foreign;
} results;

static bool is_named(const om_eval_image *im, const char *name)
{
    const char *stem, *slash = strrchr(im->file, '/');
    size_t n = om_eval_stem(im->file, &stem);
    return !strcmp(slash ? slash + 1 : im->file, name) || (strlen(name) == n && !strncmp(stem, name, n));
}

/* A picture of YOLO's files goes by its name, which may be a number's text. */
static int find_named(const om_eval_set *s, const om_json_value *v, int hint)
{
    char text[32];
    int64_t id;
    const char *name = v && v->type == OM_JSON_STR ? v->str : NULL;
    if (!name && whole(v, &id)) {
        snprintf(text, sizeof text, "%lld", (long long)id);
        name = text;
    }
    if (!name) return -1;
    /* Results of a picture stand together. */
    if (hint >= 0 && is_named(&s->images[hint], name)) return hint;
    for (size_t i = 0; i < s->n_images; i++)
        if (is_named(&s->images[i], name)) return (int)i;
    return -1;
}

static int add_found(void *user, const om_json_value *e, const char *where)
{
    results *r = user;
    const om_json_value *image = om_json_get(e, "image_id");
    om_eval_box b = {0};
    int64_t id = 0, category;
    (void)where;
    bool sound = whole(om_json_get(e, "category_id"), &category) && number(om_json_get(e, "score"), &b.score);
    if (!sound || !image)
        return om_fail(OM_ERR_FORMAT, "expected 'image_id', 'category_id', 'bbox' and 'score'");
    if (!box_of(om_json_get(e, "bbox"), &b))
        return om_fail(OM_ERR_FORMAT, "'bbox' has to be four numbers: left, top, width, height");
    if (r->set->fractions) {
        b.image = find_named(r->set, image, r->out->n ? r->out->items[r->out->n - 1].image : -1);
    } else if (!whole(image, &id)) {
        return om_fail(OM_ERR_FORMAT, "'image_id' has to be a whole number");
    } else {
        b.image = find_image(r->set, id);
    }
    if (b.image < 0)
        return image->type == OM_JSON_STR
                   ? om_fail(OM_ERR_ARG, "picture '%s' is not in the labels: results of other pictures?",
                             image->str)
                   : om_fail(OM_ERR_ARG, "picture %.0f is not in the labels: results of other pictures?",
                             image->num);
    b.class_id = find_category(r->set, category);
    b.area = b.w * b.h;
    if (b.class_id < 0) {
        ++*r->foreign;
        return OM_OK;
    }
    return om_eval_boxes_add(r->out, &b);
}

int om_eval_read_found(const char *path, const om_eval_set *s, om_eval_boxes *out, size_t *foreign)
{
    results r = {s, out, foreign};
    char *text = NULL;
    size_t len;
    *out = (om_eval_boxes){0};
    *foreign = 0;
    int err = om_read_file(path, FILE_MAX_BYTES, &text, &len);
    if (err) return err;
    err = each_entry(path, "results", text, len, add_found, &r);
    om_free(text);
    if (err) om_eval_boxes_fini(out);
    return err;
}

void om_eval_write_found(om_str *out, const om_eval_set *s, const om_eval_box *b, bool first)
{
    const om_eval_image *im = &s->images[b->image];
    const char *stem;
    size_t n = om_eval_stem(im->file, &stem);
    om_str_add(out, first ? "[\n" : ",\n");
    om_str_add(out, "{\"image_id\":");
    if (s->fractions) {
        om_json j;
        char *name = om_strndup(stem, n);
        om_json_init(&j, out, 0);
        if (name) om_json_string(&j, name);
        else out->failed = true;
        om_free(name);
    } else {
        om_str_addf(out, "%lld", (long long)im->id);
    }
    /* Nine digits tell floats apart, so equal scores stay equal and others do not become so. */
    om_str_addf(out, ",\"category_id\":%lld,\"bbox\":[%.9g,%.9g,%.9g,%.9g],\"score\":%.9g}",
                (long long)s->classes[b->class_id].id, b->x, b->y, b->w, b->h, b->score);
}
