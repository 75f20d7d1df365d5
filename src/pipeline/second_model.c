/* A secondary model: loaded, and checked against the role it is given. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/second_priv.h"

#define BATCH_GPU 16

bool om_second_finds_boxes(om_family f)
{
    return f != OM_FAMILY_CLASSIFY && f != OM_FAMILY_RAW && f != OM_FAMILY_CTC && f != OM_FAMILY_SLOTS &&
           f != OM_FAMILY_EMBEDDING;
}

static bool finds_points(om_family f)
{
    return f == OM_FAMILY_CENTERFACE || f == OM_FAMILY_YOLOV5_FACE || f == OM_FAMILY_RETINAFACE ||
           f == OM_FAMILY_SCRFD;
}

static const om_model_desc *parent_desc(const om_second *s)
{
    return s->parent >= 0 ? s->all->items[s->parent].engine->desc : s->all->primary->desc;
}

static const char *parent_name(const om_second *s)
{
    return s->parent >= 0                 ? s->all->items[s->parent].name
           : s->parent == OM_PARENT_FRAME ? "frame"
                                          : "primary";
}

const char *om_second_label(const om_second *s, int32_t class_id)
{
    const om_model_desc *d = s->engine->desc;
    return class_id >= 0 && class_id < d->n_labels ? d->labels[class_id] : NULL;
}

/* The class's number among the parent's. */
static int class_number(const om_second *s, const char *key, const char *text, int *out)
{
    const om_model_desc *d = parent_desc(s);
    long long number = -1;
    if (om_parse_int(text, &number)) number = -1;
    for (int c = 0; c < d->n_labels; c++)
        if (!strcmp(d->labels[c], text)) number = c;
    int most = d->n_classes ? d->n_classes : d->n_labels ? d->n_labels : 1000000;
    if (number >= 0 && number < most) {
        *out = (int)number;
        return OM_OK;
    }
    const char *near = om_suggest(text, d->labels, (size_t)d->n_labels);
    return om_fail(OM_ERR_ARG, "%s: its parent '%s' has no class '%s'%s%s%s", key, parent_name(s), text,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int read_classes(const om_second *s, const char *key, const om_strlist *l, bool **out, int *n)
{
    int number = 0, err = OM_OK;
    for (size_t i = 0; i < l->n && !err; i++) {
        err = class_number(s, key, l->items[i], &number);
        if (err) break;
        if (number >= *n) {
            bool *more = om_realloc_array(*out, (size_t)number + 1, sizeof **out);
            if (!more) return OM_ERR_NOMEM;
            memset(more + *n, 0, (size_t)(number + 1 - *n) * sizeof *more);
            *out = more;
            *n = number + 1;
        }
        (*out)[number] = true;
    }
    return err;
}

/* What the parent must give for this. */
static int check_role(const om_second *s)
{
    const om_second_options *o = s->options;
    om_family parent = parent_desc(s)->family;
    const char *name = parent_name(s), *is = om_family_name(parent);
    bool frame = s->parent == OM_PARENT_FRAME;
    if (s->parent == OM_PARENT_PRIMARY && !om_second_finds_boxes(parent))
        return om_fail(OM_ERR_ARG,
                       "parent: primary (%s) finds no objects to look at; parent: frame looks at the picture",
                       is);
    if (o->turn_classes.n && parent != OM_FAMILY_CLASSIFY)
        return om_fail(OM_ERR_ARG, "turn-classes: its parent '%s' (%s) is no classifier", name, is);
    if (o->turn_classes.n && frame) return om_fail(OM_ERR_ARG, "turn-classes: the frame is no classifier");
    if ((o->crop == OM_CROP_QUAD || o->crop == OM_CROP_LANDMARKS) &&
        (frame || (om_second_finds_boxes(parent) && !finds_points(parent) && parent != OM_FAMILY_DB)))
        return om_fail(OM_ERR_ARG, "crop: its parent '%s' (%s) gives no points to straighten crops by", name,
                       is);
    if (o->crop == OM_CROP_LANDMARKS && parent == OM_FAMILY_DB)
        return om_fail(OM_ERR_ARG, "crop: landmarks, but its parent '%s' (db) gives quads: crop: quad", name);
    if (o->gallery && s->engine->desc->family != OM_FAMILY_EMBEDDING)
        return om_fail(OM_ERR_ARG, "gallery: %s (%s) makes no embeddings", s->run.model,
                       om_family_name(s->engine->desc->family));
    return OM_OK;
}

static int open_gallery(om_second *s)
{
    if (!s->options->gallery) return OM_OK;
    int err = om_gallery_open(s->options->gallery, &s->gallery);
    if (err) return err;
    const om_shape *shape = &s->engine->desc->outputs[0].shape;
    size_t dim = om_gallery_dim(s->gallery);
    if (shape->rank >= 2 && shape->dim[1] > 0 && (size_t)shape->dim[1] != dim)
        return om_fail(OM_ERR_ARG, "gallery %s: its vectors have %zu numbers, the model's %lld",
                       s->options->gallery, dim, (long long)shape->dim[1]);
    uint64_t made_by = om_gallery_model(s->gallery), own = 0;
    if (!made_by) return OM_OK;
    err = om_gallery_fingerprint(s->run.model, &own);
    if (!err && own != made_by)
        err = om_fail(OM_ERR_ARG, "gallery %s: it was made with another model", s->options->gallery);
    return err;
}

static int check_folder(const om_second *s)
{
    struct stat st;
    const char *dir = s->options->save_crops;
    if (!dir) return OM_OK;
    if (stat(dir, &st) && mkdir(dir, 0777))
        return om_fail(OM_ERR_ARG, "save-crops: the folder '%s' cannot be made", dir);
    if (!stat(dir, &st) && !S_ISDIR(st.st_mode))
        return om_fail(OM_ERR_ARG, "save-crops: '%s' is no folder", dir);
    return access(dir, W_OK) ? om_fail(OM_ERR_ARG, "save-crops: '%s' cannot be written", dir) : OM_OK;
}

/* Its options, with the run's where they say nothing. The texts stay the options'. */
static void inherit(om_second *s)
{
    const om_run_options *run = &s->all->config->run;
    om_run_options *o = &s->run;
    *o = s->options->run;
    if (!o->device) o->device = s->all->primary->options->device;
    if (!o->fallback) o->fallback = run->fallback;
    if (!o->gpu_memory) o->gpu_memory = run->gpu_memory;
    if (!o->precision) o->precision = run->precision;
    if (!o->threads) o->threads = run->threads;
    o->mode = run->mode;
    o->cache_dir = run->cache_dir;
    o->decode = OM_DECODE_CPU; /* it decodes nothing: no decoders are looked for */
}

/* The batch the engine is to get. */
static int batch_of(const om_second *s)
{
    const om_shape *in = &s->engine->desc->inputs[0].shape;
    if (!s->engine->desc->dynamic_batch && in->rank > 0 && in->dim[0] > 0) return (int)in->dim[0];
    if (s->options->batch) return s->options->batch;
    return s->engine->device->ops->memory == OM_MEMORY_HOST ? 1 : BATCH_GPU;
}

static om_size own_size(const om_second *s)
{
    const om_model_desc *d = s->engine->desc;
    return s->run.input_size.width ? s->run.input_size : (om_size){d->width, d->height};
}

/* Sides of crops for models that take any size: few, since each is a plan. */
static om_size native_for(const om_second *s, int w, int h)
{
    int side = 128, want = w > h ? w : h, stride = s->engine->desc->stride;
    while (side < want && side < 1024) side *= 2;
    if (stride > 1) side = (side + stride - 1) / stride * stride;
    return (om_size){side, side};
}

om_size om_second_size_for(const om_second *s, int w, int h)
{
    const om_model_desc *d = s->engine->desc;
    if (s->run.input_size.width) return s->run.input_size;
    if (d->dynamic_width || s->parent == OM_PARENT_FRAME) return om_engine_size_for(s->engine, w, h);
    return d->native_size ? native_for(s, w, h) : own_size(s);
}

/* Compiling the size that most crops have tells now what would not work later. */
static int compile_first(om_second *s)
{
    const om_model_desc *d = s->engine->desc;
    if ((d->native_size || (d->dynamic_size && s->parent == OM_PARENT_FRAME)) && !s->run.input_size.width)
        return OM_OK;
    om_second_bucket *b = om_second_bucket_for(s, own_size(s));
    for (int i = 0; i < b->n_rungs; i++) {
        om_second_rung *r = &b->rungs[i];
        pthread_mutex_lock(&s->engine->compile_lock);
        int err = om_engine_compile_batch(s->engine, b->width, b->height, r->batch, &r->plan);
        if (err && !om_engine_move_now(s->engine, err))
            err = om_engine_compile_batch(s->engine, b->width, b->height, r->batch, &r->plan);
        pthread_mutex_unlock(&s->engine->compile_lock);
        if (err) return err;
    }
    return OM_OK;
}

static void describe_answers(om_second *s)
{
    om_family f = s->engine->desc->family;
    s->boxes = om_second_finds_boxes(f);
    s->text = f == OM_FAMILY_CTC || f == OM_FAMILY_SLOTS;
    s->classes = f == OM_FAMILY_CLASSIFY;
    s->vector = f == OM_FAMILY_EMBEDDING || f == OM_FAMILY_RAW;
    s->agree = s->options->agree ? s->options->agree : s->text || s->classes ? 2 : 1;
}

static bool same_device(const om_engine *a, const om_engine *b)
{
    const char *x = a->device_name ? a->device_name : "", *y = b->device_name ? b->device_name : "";
    return a->backend == b->backend && !strcmp(x, y);
}

static int load(om_second *s)
{
    const om_second_options *o = s->options;
    inherit(s);
    int err = om_engine_load(&s->run, &s->engine);
    if (err) return err;
    describe_answers(s);
    s->batch = batch_of(s);
    s->host = s->engine->device->ops->memory == OM_MEMORY_HOST;
    err = check_role(s);
    if (!err)
        err = read_classes(s, "parent-classes", &o->parent_classes, &s->parent_class, &s->n_parent_class);
    if (!err) err = read_classes(s, "turn-classes", &o->turn_classes, &s->turn_class, &s->n_turn_class);
    if (!err) err = open_gallery(s);
    if (!err) err = check_folder(s);
    if (!err) err = compile_first(s);
    s->shares = same_device(s->engine, s->all->primary);
    return err;
}

int om_second_load(om_seconds *all, int index)
{
    om_second *s = &all->items[index];
    int err = load(s);
    return err ? om_fail_prefix(err, "secondary '%s'", s->name) : OM_OK;
}

void om_second_unload(om_second *s)
{
    om_gallery_destroy(s->gallery);
    om_engine_destroy(s->engine);
    om_free(s->parent_class);
    om_free(s->turn_class);
}
