/* The host's side of a detection head on the GPU: memory, launches, and boxes into source pixels. */
#include "device/cuda/head.h"

#include <cuda_runtime_api.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "device/cuda/boxes.h"
#include "device/cuda/cuda.h"

#define MAX_ANCHORS (1 << 24)
#define MAX_ITEMS 65535

struct om_cuda_head {
    om_device *device;
    int batch;
    int n_outputs;
    bool unclean;        /* counts and raw may be anything */
    om_cuda_boxes boxes; /* without outputs and n */
    void *memory;        /* keys, scratch, rects, class_of, counts, raw, wanted */
    void *pinned;        /* kept, n_kept, kept_points */
};

static size_t piece(size_t size) { return (size + 255) & ~(size_t)255; }

static void *take(uint8_t **at, size_t size)
{
    void *p = *at;
    *at += piece(size);
    return p;
}

/* Of all grids, where the kind has some. */
static int count_anchors(const om_cuda_head_params *p)
{
    int64_t n = 0;
    if (p->kind < OM_CUDA_HEAD_GRIDS) return p->anchors;
    if (p->kind == OM_CUDA_HEAD_CENTERS) n = (int64_t)p->grid[0].rows * p->grid[0].columns;
    else
        for (int i = 0; i < p->n_grids && i < OM_CUDA_HEAD_MAX_GRIDS; i++)
            n += (int64_t)p->grid[i].rows * p->grid[i].columns * p->grid[i].anchors;
    return n < 0 || n > INT32_MAX ? 0 : (int)n;
}

static int check_params(const om_device *d, const om_cuda_head_params *p, int batch)
{
    if (p->dtype != OM_DTYPE_F32 && p->dtype != OM_DTYPE_F16)
        return om_fail(OM_ERR_ARG, "device %s: a head of %s, expected f32 or f16", d->id,
                       om_dtype_name(p->dtype));
    int anchors = count_anchors(p);
    if (anchors < 1 || anchors > MAX_ANCHORS || p->classes < 1 || batch < 1 || batch > MAX_ITEMS)
        return om_fail(OM_ERR_ARG, "device %s: a head for %d items of %d anchors and %d classes", d->id,
                       batch, anchors, p->classes);
    bool grids = p->kind >= OM_CUDA_HEAD_GRIDS;
    int n_grids = p->kind == OM_CUDA_HEAD_CENTERS ? 1 : p->n_grids;
    if (grids && (n_grids < 1 || n_grids > OM_CUDA_HEAD_MAX_GRIDS || p->width < 1 || p->height < 1))
        return om_fail(OM_ERR_ARG, "device %s: a head of %d grids for an input of %dx%d", d->id, n_grids,
                       p->width, p->height);
    for (int i = 0; i < n_grids && grids; i++) {
        const om_cuda_head_grid *g = &p->grid[i];
        bool cells = g->rows > 0 && g->columns > 0 && (int64_t)g->rows * g->columns <= MAX_ANCHORS;
        if (!cells || g->anchors < 1 || g->anchors > OM_CUDA_HEAD_MAX_ANCHORS)
            return om_fail(OM_ERR_ARG, "device %s: a head's grid of %dx%d cells with %d anchors", d->id,
                           g->columns, g->rows, g->anchors);
    }
    if (p->kind == OM_CUDA_HEAD_PRIORS && p->points != 4 && p->points != 5)
        return om_fail(OM_ERR_ARG, "device %s: a head of %d points, expected 4 or 5", d->id, p->points);
    if (p->max_boxes < 1 || !(p->conf >= 0)) /* negative scores would sort the other way round */
        return om_fail(OM_ERR_ARG, "device %s: a head with max-boxes %d and conf %g", d->id, p->max_boxes,
                       (double)p->conf);
    return OM_OK;
}

static void describe_grids(const om_cuda_head_params *p, om_cuda_boxes *b)
{
    b->n_grids = p->kind == OM_CUDA_HEAD_CENTERS ? 1 : p->n_grids;
    for (int i = 0, first = 0; i < b->n_grids; i++) {
        const om_cuda_head_grid *from = &p->grid[i];
        om_cuda_box_grid *to = &b->grid[i];
        bool priors = p->kind == OM_CUDA_HEAD_PRIORS;
        *to = (om_cuda_box_grid){.first = first,
                                 .rows = from->rows,
                                 .columns = from->columns,
                                 .anchors = from->anchors,
                                 .scale_xy = from->scale_xy,
                                 .step_x = priors ? (float)(8 << i) : (float)p->width / (float)from->columns,
                                 .step_y = priors ? (float)(8 << i) : (float)p->height / (float)from->rows};
        memcpy(to->size, from->size, sizeof to->size);
        first += from->rows * from->columns * from->anchors;
    }
}

static om_cuda_boxes describe(const om_cuda_head_params *p)
{
    int anchors = count_anchors(p);
    om_cuda_boxes b = {.half = p->dtype == OM_DTYPE_F16,
                       .kind = (int)p->kind,
                       .anchors = anchors,
                       .classes = p->classes,
                       .points = p->kind == OM_CUDA_HEAD_PRIORS ? p->points
                                 : p->kind == OM_CUDA_HEAD_FACES || p->kind == OM_CUDA_HEAD_CENTERS ? 5
                                                                                                    : 0,
                       .width = (float)p->width,
                       .height = (float)p->height,
                       .conf = p->conf,
                       .iou = p->iou,
                       .max_boxes = p->max_boxes < anchors ? p->max_boxes : anchors,
                       .agnostic = p->agnostic,
                       .capacity = 1};
    while (b.capacity < anchors) b.capacity *= 2;
    if (p->kind >= OM_CUDA_HEAD_GRIDS) describe_grids(p, &b);
    return b;
}

static int make_memory(om_cuda_head *k)
{
    om_cuda_boxes *b = &k->boxes;
    size_t n = (size_t)k->batch, anchors = (size_t)b->anchors, boxes = n * (size_t)b->max_boxes;
    size_t keys = n * (size_t)b->capacity * sizeof(*b->keys), kept = boxes * sizeof(*b->kept);
    size_t class_of = n * anchors * sizeof(*b->class_of), counts = n * sizeof(*b->counts);
    size_t rects = n * anchors * 4 * sizeof(float), points = boxes * 2 * (size_t)b->points * sizeof(float);
    int err = om_device_mem_alloc_for(k->device, OM_PURPOSE_HEADS,
                                      piece(keys) + piece(kept) + piece(rects) + piece(class_of) +
                                          2 * piece(counts) + piece((size_t)b->classes),
                                      &k->memory);
    if (!err)
        err = om_device_pinned_alloc(k->device, piece(kept) + piece(counts) + piece(points), &k->pinned);
    if (err < 0) return err;
    uint8_t *at = k->memory;
    b->keys = take(&at, keys);
    b->scratch = take(&at, kept);
    b->rects = take(&at, rects);
    b->class_of = take(&at, class_of);
    b->counts = take(&at, counts);
    b->raw = take(&at, counts);
    b->wanted = at;
    at = k->pinned;
    b->kept = take(&at, kept);
    b->n_kept = take(&at, counts);
    b->kept_points = take(&at, points);
    memset(b->n_kept, 0, counts);
    return OM_OK;
}

static int send_wanted(om_cuda_head *k, const om_cuda_head_params *p)
{
    if (!p->n_wanted) {
        k->boxes.wanted = NULL;
        return OM_OK;
    }
    uint8_t *mask = om_calloc((size_t)p->classes, 1);
    if (!mask) return OM_ERR_NOMEM;
    for (int i = 0; i < p->n_wanted; i++)
        if (p->wanted[i] >= 0 && p->wanted[i] < p->classes) mask[p->wanted[i]] = 1;
    int err =
        om_device_copy(k->device, OM_COPY_TO_DEVICE, (void *)k->boxes.wanted, mask, (size_t)p->classes, NULL);
    om_free(mask);
    return err;
}

/* Counts and flags, of all items; each batch leaves them so. */
static int clean(om_cuda_head *k, struct CUstream_st *stream)
{
    size_t counts = piece((size_t)k->batch * sizeof(*k->boxes.counts)); /* `raw` follows them */
    int err = om_cuda_enter(k->device);
    if (!err)
        err = om_cuda_check(k->device, (int)cudaMemsetAsync(k->boxes.counts, 0, 2 * counts, stream),
                            "clearing a head's counts");
    k->unclean = err < 0;
    return err;
}

int om_cuda_head_create(om_device *d, const om_cuda_head_params *p, int batch, om_cuda_head **out)
{
    *out = NULL;
    int err = check_params(d, p, batch);
    if (err < 0) return err;
    om_cuda_head *k = om_calloc(1, sizeof(*k));
    if (!k) return OM_ERR_NOMEM;
    k->device = d;
    k->batch = batch;
    k->boxes = describe(p);
    k->n_outputs = p->kind == OM_CUDA_HEAD_GRIDS     ? p->n_grids
                   : p->kind == OM_CUDA_HEAD_CENTERS ? 4
                   : p->kind == OM_CUDA_HEAD_PRIORS  ? 3
                                                     : 1;
    k->unclean = true;
    err = make_memory(k);
    if (!err) err = send_wanted(k, p);
    if (err < 0) {
        om_cuda_head_destroy(k);
        return err;
    }
    *out = k;
    return OM_OK;
}

void om_cuda_head_destroy(om_cuda_head *k)
{
    if (!k) return;
    om_device_mem_free(k->device, k->memory);
    om_device_pinned_free(k->device, k->pinned);
    om_free(k);
}

int om_cuda_head_launch(om_cuda_head *k, const void *const *outputs, int n, om_stream *s)
{
    const om_device *d = k->device;
    struct CUstream_st *stream = om_cuda_stream(d, s);
    om_cuda_boxes b = k->boxes;
    if (n < 1 || n > k->batch)
        return om_fail(OM_ERR_ARG, "device %s: %d items for a head of 1 to %d", d->id, n, k->batch);
    for (int i = 0; i < k->n_outputs; i++) b.outputs[i] = outputs[i];
    b.n = n;
    int err = k->unclean ? clean(k, stream) : om_cuda_enter(d);
    if (!err) err = om_cuda_check(d, om_cuda_boxes_filter(&b, stream), "launching a head");
    if (!err) err = om_cuda_check(d, om_cuda_boxes_suppress(&b, stream), "launching a head");
    k->unclean |= err < 0;
    if (!err && !s) err = om_cuda_check(d, (int)cudaStreamSynchronize(stream), "running a head");
    return err;
}

/* All of them or none: one that is no number spoils the set. Four are a plate's corners. */
static void add_points(const om_cuda_boxes *b, const float *xy, const om_geometry *g, om_detection *d)
{
    float to[OM_MAX_LANDMARKS][2];
    for (int i = 0; i < b->points; i++) {
        om_geometry_unmap(g, xy[2 * i], xy[2 * i + 1], &to[i][0], &to[i][1]);
        if (!isfinite(to[i][0]) || !isfinite(to[i][1])) return;
    }
    memcpy(d->landmarks, to, (size_t)b->points * sizeof to[0]);
    d->n_landmarks = b->points;
    if (b->points != 4) return;
    memcpy(d->quad, d->landmarks, sizeof d->quad);
    d->has_quad = 1;
}

int om_cuda_head_fetch(const om_cuda_head *k, int n, const om_geometry *geo, om_dets *dets)
{
    const om_cuda_boxes *b = &k->boxes;
    size_t bytes = 0; /* the kernel has written them to the host */
    if (n < 1 || n > k->batch)
        return om_fail(OM_ERR_ARG, "device %s: %d items of a head of 1 to %d", k->device->id, n, k->batch);
    for (int i = 0; i < n; i++) {
        const om_cuda_box *kept = b->kept + (size_t)i * (size_t)b->max_boxes;
        bytes += sizeof *b->n_kept + (size_t)b->n_kept[i] * sizeof *kept;
        for (int32_t j = 0; j < b->n_kept[i]; j++) {
            const float corners[] = {kept[j].x0, kept[j].y0, kept[j].x1, kept[j].y1};
            om_detection *d;
            int err = om_geometry_add_box(&geo[i], corners, kept[j].score, kept[j].class_id, &dets[i], &d);
            if (err < 0) return err;
            size_t at = (size_t)i * (size_t)b->max_boxes + (size_t)j;
            if (d && b->points) add_points(b, b->kept_points + at * 2 * (size_t)b->points, &geo[i], d);
        }
    }
    om_device_count_copy(k->device, OM_COPY_TO_HOST, bytes);
    return OM_OK;
}
