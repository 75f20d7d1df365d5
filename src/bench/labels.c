/* How many of the labelled objects the model finds: --truth. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "bench/collect.h"
#include "eval/dataset.h"
#include "media/media.h"

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && !strcmp(text + n - k, end);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int find_image(const om_eval_set *s, const char *picture)
{
    for (size_t i = 0; i < s->n_images; i++)
        if (!strcmp(base_name(s->images[i].file), base_name(picture))) return (int)i;
    return -1;
}

/* Where each picture stands in the set; at least one must. */
static int place_pictures(const om_strlist *pictures, bool by_order, const om_eval_set *s, int *place)
{
    int known = 0;
    for (size_t i = 0; i < pictures->n; i++) {
        place[i] = by_order ? (int)i : find_image(s, pictures->items[i]);
        known += place[i] >= 0;
    }
    return known ? OM_OK
                 : om_fail(OM_ERR_ARG, "--truth: it labels none of the %zu pictures of --sample, as '%s'",
                           pictures->n, base_name(pictures->items[0]));
}

/* Only what is labelled on pictures that were shown counts. */
static int shown_truth(const om_eval_set *s, const int *place, size_t n, om_eval_boxes *out)
{
    int err = OM_OK;
    for (size_t k = 0; k < s->truth.n && !err; k++)
        for (size_t i = 0; i < n && !err; i++)
            if (place[i] == s->truth.items[k].image) err = om_eval_boxes_add(out, &s->truth.items[k]);
    return err;
}

static int found_boxes(const om_finds *c, const int *place, const om_eval_map *map, om_eval_boxes *out)
{
    int err = OM_OK;
    for (size_t i = 0; i < c->boxes.n && !err; i++) {
        om_eval_box box = c->boxes.items[i];
        int class_id = box.class_id >= 0 && (size_t)box.class_id < map->n ? map->of[box.class_id] : -1;
        if (place[box.image] < 0 || class_id < 0) continue;
        box.image = place[box.image];
        box.class_id = class_id;
        err = om_eval_boxes_add(out, &box);
    }
    return err;
}

static int score(om_accuracy *a, om_eval_set *s, const om_finds *c, const int *place)
{
    om_eval_map map = {0};
    om_eval_boxes truth = {0}, found = {0};
    om_eval_result r = {0};
    int n = c->frames_a_stream;
    int err = om_eval_match_classes(s, (const char *const *)c->labels.items, c->labels.n, 0,
                                    OM_EVAL_MATCH_AUTO, &map);
    if (err) om_fail_prefix(err, "--truth");
    for (int i = 0; i < n && !err; i++)
        if (place[i] >= 0) err = om_eval_set_size(s, (size_t)place[i], c->size[i].width, c->size[i].height);
    if (!err) err = shown_truth(s, place, (size_t)n, &truth);
    if (!err) err = found_boxes(c, place, &map, &found);
    if (!err) err = om_eval_detection(&truth, &found, (int)s->n_images, (int)s->n_classes, NULL, &r);
    if (!err) {
        a->labels = true;
        a->agreement = (om_eval_agreement){.ap50 = r.scores.ap50,
                                           .ap50_95 = r.scores.ap,
                                           .images = (size_t)n,
                                           .reference = r.truth,
                                           .found = r.found};
        a->measured = !isnan(r.scores.ap50);
        if (!a->measured) snprintf(a->why, sizeof a->why, "no labelled object");
    }
    om_eval_result_fini(&r);
    om_eval_boxes_fini(&truth);
    om_eval_boxes_fini(&found);
    om_eval_map_fini(&map);
    return err;
}

int om_bench_labels(om_bench *b)
{
    const om_bench_options *o = b->options;
    bool coco = ends_with(o->truth, ".json");
    om_strlist pictures = {0}, clips = {0};
    om_eval_set set = {0};
    om_finds c = {0};
    int *place = NULL;
    int err = om_picture_list(o->sample, &pictures);
    if (!err) err = coco ? om_eval_read_coco(o->truth, &set) : om_eval_read_yolo(o->truth, &pictures, &set);
    if (!err && !(place = om_calloc(pictures.n, sizeof *place))) err = OM_ERR_NOMEM;
    if (!err) err = place_pictures(&pictures, !coco, &set, place);
    if (!err) err = om_strlist_add(&clips, o->sample);
    if (!err) err = om_finds_init(&c, 1, (int)pictures.n);
    if (!err) err = om_finds_run(b, &clips, NULL, 1, "accuracy: labelled pictures", &c);
    if (!err && c.images != c.frames_a_stream)
        err = om_fail(OM_ERR_FORMAT, "--sample %s: %d of %d pictures could not be read", o->sample,
                      c.frames_a_stream - c.images, c.frames_a_stream);
    if (!err) err = score(&b->result->accuracy, &set, &c, place);
    om_finds_fini(&c);
    om_free(place);
    om_eval_set_fini(&set);
    om_strlist_fini(&clips);
    om_strlist_fini(&pictures);
    return err;
}
