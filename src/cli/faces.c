#include "cli/faces.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "gallery/align.h"
#include "media/media.h"

#define TEMPLATE 112

static const char *const embed_names[] = {"model",    "head",      "input-size", "normalize", "channels",
                                          "device",   "precision", "mode",       "threads",   "cache-dir",
                                          "cpu-mask", "quiet",     "log-level"};
#define N_EMBED (sizeof embed_names / sizeof *embed_names)
/* What the detector has in common with the embedding model. */
static const char *const common_names[] = {"device", "precision", "mode", "threads", "cache-dir"};

static const om_family with_points[] = {OM_FAMILY_CENTERFACE, OM_FAMILY_YOLOV5_FACE, OM_FAMILY_RETINAFACE,
                                        OM_FAMILY_SCRFD};

const om_option *om_face_options(void)
{
    static om_option picked[N_EMBED + 1];
    const char *group = NULL;
    size_t n = 0;
    for (const om_option *o = om_run_option_table; o->name; o++) {
        if (o->group) group = o->group;
        for (size_t i = 0; i < N_EMBED && n < N_EMBED; i++) {
            if (strcmp(o->name, embed_names[i])) continue;
            picked[n] = *o;
            picked[n].group = group;
            if (!strcmp(o->name, "model")) picked[n].help = "embedding model: an upright face to a vector";
            n++;
        }
    }
    return picked;
}

static int copy_common(const om_run_options *from, om_run_options *to)
{
    int err = OM_OK;
    for (size_t i = 0; i < sizeof common_names / sizeof *common_names && !err; i++) {
        om_str value = {0};
        err = om_option_get(om_run_option_table, from, common_names[i], &value);
        if (!err && value.len)
            err = om_option_set(om_run_option_table, to, common_names[i], om_str_get(&value));
        om_str_fini(&value);
    }
    return err;
}

static int open_detector(om_face_reader *r, const char *model, double conf)
{
    om_run_options *o = &r->find_options;
    int err = om_options_init(om_run_option_table, o);
    if (!err) err = copy_common(r->embed_options, o);
    if (!err) err = om_option_set(om_run_option_table, o, "model", model);
    if (err) return err;
    o->conf = conf;
    err = om_detector_init(&r->find, o);
    if (err) return err;
    r->finds = true;
    om_family family = r->find.engine->desc->family;
    for (size_t i = 0; i < sizeof with_points / sizeof *with_points; i++)
        if (family == with_points[i]) return OM_OK;
    return om_fail(OM_ERR_ARG, "--detector %s: %s finds no landmarks; a face needs five to be set upright",
                   model, om_family_name(family));
}

int om_face_reader_init(om_face_reader *r, om_run_options *embed, const char *detector, double conf)
{
    memset(r, 0, sizeof *r);
    r->embed_options = embed;
    int err = om_gallery_fingerprint(embed->model, &r->model);
    /* Whatever its outputs look like, here it is asked for a vector. */
    if (!err && !embed->head) err = om_option_set(om_run_option_table, embed, "head", "embedding");
    if (!err) err = om_detector_init(&r->embed, embed);
    if (!err && r->embed.engine->desc->family != OM_FAMILY_EMBEDDING)
        err = om_fail(OM_ERR_ARG, "%s: --head %s gives no vector of a face", embed->model, embed->head);
    if (!err && r->embed.engine->desc->dynamic_size && !embed->input_size.width)
        embed->input_size = (om_size){TEMPLATE, TEMPLATE};
    if (!err && detector) err = open_detector(r, detector, conf);
    if (err) om_face_reader_fini(r);
    return err;
}

void om_face_reader_fini(om_face_reader *r)
{
    om_detector_fini(&r->find);
    om_detector_fini(&r->embed);
    om_options_fini(om_run_option_table, &r->find_options);
    memset(r, 0, sizeof *r);
}

void om_face_list_fini(om_face_list *l)
{
    for (size_t i = 0; i < l->n; i++) om_dets_fini(&l->items[i].vector);
    om_free(l->items);
    *l = (om_face_list){0};
}

/* The upright face as a picture of its own, as large as the model wants it. */
static int cut(const om_image *img, const om_detection *face, om_size size, om_frame **out)
{
    const om_prep prep = {.layout = OM_LAYOUT_NHWC, .channels = OM_CHANNELS_RGB, .dtype = OM_DTYPE_U8};
    size_t row = (size_t)size.width * 3;
    float quad[8];
    *out = NULL;
    int err = om_face_align(face->landmarks, size.width, size.height, quad);
    if (err) return err;
    uint8_t *pixels = om_alloc(row * (size_t)size.height);
    if (!pixels) return OM_ERR_NOMEM;
    err = om_kernels_get()->warp(img, quad, size.width, size.height, &prep, pixels);
    if (!err) err = om_frame_create(OM_PIX_RGB24, size.width, size.height, out);
    for (int y = 0; y < size.height && !err; y++)
        memcpy((*out)->image.plane[0] + (ptrdiff_t)y * (*out)->image.stride[0], pixels + (size_t)y * row,
               row);
    if (!err) (*out)->image.range = OM_RANGE_FULL;
    om_free(pixels);
    return err;
}

static int save_crop(om_face_reader *r, const om_frame *face)
{
    if (!r->crops) return OM_OK;
    if (mkdir(r->crops, 0777) && errno != EEXIST)
        return om_fail(om_err_from_errno(errno), "%s: cannot make this folder: %s", r->crops,
                       strerror(errno));
    char *path = om_sprintf("%s/%04zu.png", r->crops, ++r->n_crops);
    if (!path) return OM_ERR_NOMEM;
    int err = om_picture_save(path, &face->image, 90);
    om_free(path);
    return err;
}

/* The faces that are large enough. Without a detector: the picture. */
static int find(om_face_reader *r, om_picture *p, om_face_list *out)
{
    const om_image *img = &p->frame->image;
    int err = r->finds ? om_detector_place(&r->find, p) : OM_OK;
    if (!err && r->finds) err = om_detector_run(&r->find, p, 1);
    if (!err && !r->finds) {
        om_detection *whole = om_dets_add(&p->dets);
        if (!whole) return om_fail_nomem("a face");
        whole->w = (float)img->width;
        whole->h = (float)img->height;
        whole->score = 1;
    }
    if (err || !p->dets.n) return err;
    out->items = om_calloc(p->dets.n, sizeof *out->items);
    if (!out->items) return OM_ERR_NOMEM;
    for (size_t i = 0; i < p->dets.n; i++) {
        const om_detection *d = &p->dets.items[i];
        if (r->finds && d->n_landmarks != 5)
            return om_fail(OM_ERR_ARG, "%s: a face has %d landmarks; five are needed to set it upright",
                           r->find_options.model, d->n_landmarks);
        if ((double)(d->w < d->h ? d->w : d->h) < r->least_side) continue;
        out->items[out->n++].at = *d;
    }
    return OM_OK;
}

static int embed(om_face_reader *r, om_picture *p, om_face_list *faces)
{
    int err = OM_OK;
    om_size size = om_engine_size_for(r->embed.engine, TEMPLATE, TEMPLATE);
    om_picture *upright = om_calloc(faces->n + 1, sizeof *upright);
    if (!upright) return OM_ERR_NOMEM;
    for (size_t i = 0; i < faces->n && !err; i++) {
        if (!r->finds) upright[i].frame = om_frame_ref(p->frame);
        else err = cut(&p->frame->image, &faces->items[i].at, size, &upright[i].frame);
        if (err == OM_ERR_ARG) { /* a face that cannot be set upright is no reason to miss the others */
            om_log(OM_LOG_WARN, "%s: %s", p->path, om_error_message());
            err = OM_OK;
            continue;
        }
        if (!err) err = save_crop(r, upright[i].frame);
        if (!err) err = om_detector_place(&r->embed, &upright[i]);
    }
    if (!err) err = om_detector_run(&r->embed, upright, faces->n);
    for (size_t i = 0; i < faces->n; i++) {
        om_dets made = upright[i].dets;
        upright[i].dets = faces->items[i].vector;
        faces->items[i].vector = made;
        om_picture_fini(&upright[i]);
    }
    om_free(upright);
    return err;
}

int om_face_reader_read(om_face_reader *r, const char *path, om_face_list *out)
{
    om_picture p = {.path = path};
    *out = (om_face_list){0};
    int err = om_picture_load(path, &p.frame);
    if (!err) {
        out->width = p.frame->image.width;
        out->height = p.frame->image.height;
        err = find(r, &p, out);
    }
    if (!err) err = embed(r, &p, out);
    om_picture_fini(&p);
    return err;
}
