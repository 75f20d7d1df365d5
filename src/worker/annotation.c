#include "worker/annotation.h"

#include <math.h>
#include <stdio.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "sink/record.h"
#include "worker/picture_writer.h"

struct om_annotations {
    om_annotations_params p;
    char *dir, *labels_dir, *coco_path;
    om_outfile json;
    om_str coco_images, coco_boxes; /* list items so far */
    om_str text;                    /* work */
    uint64_t pictures, boxes;
    int classes; /* numbers seen, where the model has no names */
};

static void class_name(const om_annotations *a, int id, char *out, size_t size)
{
    if ((size_t)id < a->p.labels.n) snprintf(out, size, "%s", a->p.labels.names[id]);
    else snprintf(out, size, "class %d", id);
}

static int n_classes(const om_annotations *a)
{
    return a->p.labels.n > (size_t)a->classes ? (int)a->p.labels.n : a->classes;
}

static int flush(om_annotations *a)
{
    if (a->text.failed) return om_fail_nomem("annotations");
    int err = om_outfile_write(&a->json, om_str_get(&a->text), a->text.len);
    om_str_clear(&a->text);
    return err;
}

static int begin_json(om_annotations *a)
{
    char *path = om_sprintf("%s/detections.json", a->dir);
    int err = path ? om_outfile_open(&a->json, path) : OM_ERR_NOMEM;
    om_free(path);
    om_json j;
    om_json_init(&j, &a->text, 0);
    om_str_add(&a->text, "{\"model\":");
    om_json_string(&j, a->p.model);
    om_str_add(&a->text, ",\"engine\":");
    j.need_comma = false;
    om_json_string(&j, a->p.engine);
    om_str_addf(&a->text, ",\"threshold\":%g,\"images\":[", a->p.threshold);
    return err ? err : flush(a);
}

int om_annotations_open(const om_annotations_params *p, om_annotations **out)
{
    *out = NULL;
    om_annotations *a = om_calloc(1, sizeof *a);
    if (!a) return OM_ERR_NOMEM;
    a->p = *p;
    a->dir = om_strdup(p->dir);
    a->labels_dir = om_sprintf("%s/labels", p->dir);
    a->coco_path = om_sprintf("%s/coco.json", p->dir);
    int err = a->dir && a->labels_dir && a->coco_path ? OM_OK : OM_ERR_NOMEM;
    if (!err && (p->forms & OM_ANNOTATE_YOLO)) err = om_folder_make(a->labels_dir);
    if (!err && (p->forms & OM_ANNOTATE_JSON)) err = begin_json(a);
    if (err) {
        om_annotations_close(a, false);
        return err;
    }
    *out = a;
    return OM_OK;
}

static int add_json(om_annotations *a, const om_annotated *p)
{
    om_json j;
    om_str_add(&a->text, a->pictures ? ",\n" : "\n");
    om_json_init(&j, &a->text, 0);
    om_json_begin_object(&j);
    om_json_key(&j, "image");
    om_json_string(&j, p->file);
    om_json_key(&j, "source");
    om_json_string(&j, p->source);
    if (p->video) {
        om_json_key(&j, "seq");
        om_json_uint(&j, p->seq);
        om_json_key(&j, "pts");
        om_json_num(&j, (double)p->pts_ns / 1e9, 6);
    }
    om_json_key(&j, "width");
    om_json_int(&j, p->width);
    om_json_key(&j, "height");
    om_json_int(&j, p->height);
    om_json_key(&j, "objects");
    om_json_begin_array(&j);
    for (size_t i = 0; i < p->dets->n; i++) om_json_detection(&j, &p->dets->items[i], &a->p.labels);
    om_json_end_array(&j);
    om_json_end_object(&j);
    return flush(a);
}

/* A box that an editor can show: inside the picture, with an area. */
static bool clip(const om_detection *d, const om_annotated *p, double box[4])
{
    double x0 = fmax((double)d->x, 0), y0 = fmax((double)d->y, 0);
    double x1 = fmin((double)d->x + (double)d->w, p->width),
           y1 = fmin((double)d->y + (double)d->h, p->height);
    box[0] = x0;
    box[1] = y0;
    box[2] = x1 - x0;
    box[3] = y1 - y0;
    return d->class_id >= 0 && box[2] > 0 && box[3] > 0;
}

static int add_coco(om_annotations *a, const om_annotated *p)
{
    unsigned long long image = (unsigned long long)a->pictures + 1;
    om_json j;
    om_str *images = &a->coco_images, *boxes = &a->coco_boxes;
    om_str_addf(images, "%s{\"id\":%llu,\"file_name\":", a->pictures ? ",\n" : "\n", image);
    om_json_init(&j, images, 0);
    om_json_string(&j, p->file);
    om_str_addf(images, ",\"width\":%d,\"height\":%d}", p->width, p->height);
    for (size_t i = 0; i < p->dets->n; i++) {
        const om_detection *d = &p->dets->items[i];
        double b[4];
        if (!clip(d, p, b)) continue;
        om_str_addf(boxes,
                    "%s{\"id\":%llu,\"image_id\":%llu,\"category_id\":%d,\"bbox\":[%.2f,%.2f,%.2f,%.2f],"
                    "\"area\":%.2f,\"iscrowd\":0,\"segmentation\":[",
                    a->boxes ? ",\n" : "\n", (unsigned long long)a->boxes + 1, image, d->class_id + 1, b[0],
                    b[1], b[2], b[3], b[2] * b[3]);
        for (int k = 0; k < 4 && d->has_quad; k++)
            om_str_addf(boxes, "%s%.2f,%.2f%s", k ? "," : "[", (double)d->quad[k][0], (double)d->quad[k][1],
                        k == 3 ? "]" : "");
        om_str_addf(boxes, "],\"score\":%.4f}", (double)d->score);
        a->boxes++;
    }
    return images->failed || boxes->failed ? om_fail_nomem("annotations") : OM_OK;
}

static int add_yolo(om_annotations *a, const om_annotated *p)
{
    om_str text = {0};
    for (size_t i = 0; i < p->dets->n; i++) {
        const om_detection *d = &p->dets->items[i];
        double b[4];
        if (clip(d, p, b))
            om_str_addf(&text, "%d %.6f %.6f %.6f %.6f\n", d->class_id, (b[0] + b[2] / 2) / p->width,
                        (b[1] + b[3] / 2) / p->height, b[2] / p->width, b[3] / p->height);
    }
    char *path = om_sprintf("%s/%s.txt", a->labels_dir, p->name);
    int err = text.failed ? om_fail_nomem("annotations") : path ? OM_OK : OM_ERR_NOMEM;
    if (!err) err = om_file_put(path, om_str_get(&text), text.len);
    om_free(path);
    om_str_fini(&text);
    return err;
}

int om_annotations_add(om_annotations *a, const om_annotated *picture)
{
    int err = OM_OK;
    for (size_t i = 0; i < picture->dets->n; i++)
        if (picture->dets->items[i].class_id >= a->classes) a->classes = picture->dets->items[i].class_id + 1;
    if (a->p.forms & OM_ANNOTATE_JSON) err = add_json(a, picture);
    if (!err && (a->p.forms & OM_ANNOTATE_COCO)) err = add_coco(a, picture);
    if (!err && (a->p.forms & OM_ANNOTATE_YOLO)) err = add_yolo(a, picture);
    a->pictures += !err;
    return err;
}

static int finish_json(om_annotations *a)
{
    om_str_add(&a->text, "\n]}\n");
    int err = flush(a);
    return err ? err : om_outfile_commit(&a->json);
}

static int finish_coco(om_annotations *a)
{
    om_str *t = &a->text;
    char name[128];
    om_json j;
    om_str_clear(t);
    om_str_addf(t, "{\"images\":[%s\n],\n\"annotations\":[%s\n],\n\"categories\":[",
                om_str_get(&a->coco_images), om_str_get(&a->coco_boxes));
    for (int i = 0; i < n_classes(a); i++) {
        class_name(a, i, name, sizeof name);
        om_str_addf(t, "%s{\"id\":%d,\"name\":", i ? ",\n" : "\n", i + 1);
        om_json_init(&j, t, 0);
        om_json_string(&j, name);
        om_str_addc(t, '}');
    }
    om_str_add(t, "\n]}\n");
    return t->failed ? om_fail_nomem("annotations")
                     : om_write_file_atomic(a->coco_path, om_str_get(t), t->len);
}

static int finish_classes(om_annotations *a)
{
    om_str text = {0};
    char name[128], *path = om_sprintf("%s/classes.txt", a->dir);
    for (int i = 0; i < n_classes(a); i++) {
        class_name(a, i, name, sizeof name);
        om_str_addf(&text, "%s\n", name);
    }
    int err = text.failed || !path ? om_fail_nomem("annotations") : OM_OK;
    if (!err) err = om_write_file_atomic(path, om_str_get(&text), text.len);
    om_free(path);
    om_str_fini(&text);
    return err;
}

int om_annotations_close(om_annotations *a, bool ok)
{
    if (!a) return OM_OK;
    int err = OM_OK;
    if (ok && (a->p.forms & OM_ANNOTATE_JSON)) err = finish_json(a);
    if (ok && !err && (a->p.forms & OM_ANNOTATE_COCO)) err = finish_coco(a);
    if (ok && !err && (a->p.forms & OM_ANNOTATE_YOLO)) err = finish_classes(a);
    om_outfile_abort(&a->json);
    om_str_fini(&a->coco_images);
    om_str_fini(&a->coco_boxes);
    om_str_fini(&a->text);
    om_free(a->dir);
    om_free(a->labels_dir);
    om_free(a->coco_path);
    om_free(a);
    return err;
}
