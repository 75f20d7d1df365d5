/* The host's side of a detection head on the GPU: memory, launches, and boxes into source pixels. */
#include "device/cuda/head.h"

#include <cuda_runtime_api.h>
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
    om_cuda_boxes boxes; /* without output and n */
    void *memory;        /* keys, scratch, class_of, counts, wanted */
    void *pinned;        /* kept, n_kept */
};

static size_t piece(size_t size) { return (size + 255) & ~(size_t)255; }

static void *take(uint8_t **at, size_t size)
{
    void *p = *at;
    *at += piece(size);
    return p;
}

static int check_params(const om_device *d, const om_cuda_head_params *p, int batch)
{
    if (p->dtype != OM_DTYPE_F32 && p->dtype != OM_DTYPE_F16)
        return om_fail(OM_ERR_ARG, "device %s: a head of %s, expected f32 or f16", d->id,
                       om_dtype_name(p->dtype));
    if (p->anchors < 1 || p->anchors > MAX_ANCHORS || p->classes < 1 || batch < 1 || batch > MAX_ITEMS)
        return om_fail(OM_ERR_ARG, "device %s: a head for %d items of %d anchors and %d classes", d->id,
                       batch, p->anchors, p->classes);
    if (p->max_boxes < 1 || !(p->conf >= 0)) /* negative scores would sort the other way round */
        return om_fail(OM_ERR_ARG, "device %s: a head with max-boxes %d and conf %g", d->id, p->max_boxes,
                       (double)p->conf);
    return OM_OK;
}

static om_cuda_boxes describe(const om_cuda_head_params *p)
{
    om_cuda_boxes b = {.half = p->dtype == OM_DTYPE_F16,
                       .columns = p->kind == OM_CUDA_HEAD_COLUMNS,
                       .anchors = p->anchors,
                       .classes = p->classes,
                       .conf = p->conf,
                       .iou = p->iou,
                       .max_boxes = p->max_boxes < p->anchors ? p->max_boxes : p->anchors,
                       .agnostic = p->agnostic,
                       .capacity = 1};
    while (b.capacity < p->anchors) b.capacity *= 2;
    return b;
}

static int make_memory(om_cuda_head *k)
{
    om_cuda_boxes *b = &k->boxes;
    size_t n = (size_t)k->batch, anchors = (size_t)b->anchors, boxes = n * (size_t)b->max_boxes;
    size_t keys = n * (size_t)b->capacity * sizeof(*b->keys), kept = boxes * sizeof(*b->kept);
    size_t class_of = n * anchors * sizeof(*b->class_of), counts = n * sizeof(*b->counts);
    int err = om_device_mem_alloc(
        k->device, piece(keys) + piece(kept) + piece(class_of) + piece(counts) + piece((size_t)b->classes),
        &k->memory);
    if (!err) err = om_device_pinned_alloc(k->device, piece(kept) + piece(counts), &k->pinned);
    if (err < 0) return err;
    uint8_t *at = k->memory;
    b->keys = take(&at, keys);
    b->scratch = take(&at, kept);
    b->class_of = take(&at, class_of);
    b->counts = take(&at, counts);
    b->wanted = at;
    at = k->pinned;
    b->kept = take(&at, kept);
    b->n_kept = take(&at, counts);
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

int om_cuda_head_launch(om_cuda_head *k, const void *output, int n, om_stream *s)
{
    const om_device *d = k->device;
    struct CUstream_st *stream = om_cuda_stream(d, s);
    om_cuda_boxes b = k->boxes;
    if (n < 1 || n > k->batch)
        return om_fail(OM_ERR_ARG, "device %s: %d items for a head of 1 to %d", d->id, n, k->batch);
    b.output = output;
    b.n = n;
    int err = om_cuda_enter(d);
    if (!err)
        err = om_cuda_check(d, (int)cudaMemsetAsync(b.counts, 0, (size_t)n * sizeof(*b.counts), stream),
                            "clearing a head's counts");
    if (!err) err = om_cuda_check(d, om_cuda_boxes_filter(&b, stream), "launching a head");
    if (!err) err = om_cuda_check(d, om_cuda_boxes_suppress(&b, stream), "launching a head");
    if (!err && !s) err = om_cuda_check(d, (int)cudaStreamSynchronize(stream), "running a head");
    return err;
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
        }
    }
    om_device_count_copy(k->device, OM_COPY_TO_HOST, bytes);
    return OM_OK;
}
