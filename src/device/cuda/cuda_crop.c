/* A rectangle of a frame as a frame of its own, on the GPU. */
#include <cuda_runtime_api.h>

#include "base/error.h"
#include "base/mem.h"
#include "device/cuda/cuda_slot.h"
#include "device/host.h"

#define ROW_ALIGN ((size_t)256)

typedef struct crop {
    om_frame frame; /* first, so that a frame is its crop */
    om_device *device;
    void *pixels;
    size_t size;
} crop;

/* Who read it has unreferenced it after that was done, so the memory may go in any stream's order. */
static void release(om_frame *f)
{
    crop *c = (crop *)(void *)f;
    (void)cudaSetDevice(c->device->index);
    (void)cudaFreeAsync(c->pixels, om_cuda_of(c->device)->frames);
    (void)cudaGetLastError();
    om_device_mem_release(c->device, OM_PURPOSE_CROPS, c->size);
    om_free(c);
}

/* An empty frame of that size; its memory is there once the stream of frames has reached this point. */
static int make_frame(om_device *d, const om_frame *like, int w, int h, crop **out)
{
    const om_pixfmt_info *info = om_pixfmt_get(like->image.fmt);
    size_t offset[3] = {0}, pitch[3] = {0}, total = 0;
    for (int p = 0; p < info->planes; p++) {
        int bytes, rows;
        om_pixfmt_plane_size(like->image.fmt, p, w, h, &bytes, &rows);
        pitch[p] = ((size_t)bytes + ROW_ALIGN - 1) / ROW_ALIGN * ROW_ALIGN;
        offset[p] = total;
        total += pitch[p] * (size_t)rows;
    }
    crop *c = om_calloc(1, sizeof(*c));
    if (!c) return OM_ERR_NOMEM;
    int err = om_device_mem_claim(d, OM_PURPOSE_CROPS, total);
    if (err < 0) {
        om_free(c);
        return err;
    }
    c->size = total;
    err = om_cuda_check(d, (int)cudaMallocAsync(&c->pixels, total, om_cuda_of(d)->frames),
                        "making room for a crop");
    if (err < 0) {
        om_device_mem_release(d, OM_PURPOSE_CROPS, total);
        om_free(c);
        return err;
    }
    om_frame *f = &c->frame;
    *f = *like;
    om_ref_init(&f->ref);
    f->image.width = w;
    f->image.height = h;
    f->native = NULL;
    f->owner = NULL;
    f->written = NULL; /* behind all that the stream of frames was given, and not behind the source's event */
    f->release = release;
    c->device = d;
    for (int p = 0; p < info->planes; p++) {
        f->image.plane[p] = (uint8_t *)c->pixels + offset[p];
        f->image.stride[p] = (int)pitch[p];
    }
    *out = c;
    return OM_OK;
}

static int copy_planes(om_device *d, const om_image *src, const om_image *dst, int left, int top)
{
    int err = OM_OK;
    for (int p = 0; p < om_pixfmt_get(src->fmt)->planes && !err; p++) {
        int bytes, rows, skip_bytes, skip_rows;
        om_pixfmt_plane_size(src->fmt, p, dst->width, dst->height, &bytes, &rows);
        om_pixfmt_plane_size(src->fmt, p, left, top, &skip_bytes, &skip_rows);
        const uint8_t *from = src->plane[p] + (ptrdiff_t)skip_rows * src->stride[p] + skip_bytes;
        err = om_cuda_check(d,
                            (int)cudaMemcpy2DAsync(dst->plane[p], (size_t)dst->stride[p], from,
                                                   (size_t)src->stride[p], (size_t)bytes, (size_t)rows,
                                                   cudaMemcpyDeviceToDevice, om_cuda_of(d)->frames),
                            "copying a crop");
    }
    return err;
}

/* The copy runs where frames are written, so that it is ordered before everything that reads frames; `s`
 * waits for it as all readers do. */
static int crop_here(om_device *d, om_frame *src, int x, int y, int w, int h, om_stream *s, om_frame **out)
{
    const om_pixfmt_info *info = om_pixfmt_get(src->image.fmt);
    int extra_x = x & ((1 << info->chroma_shift_x) - 1), extra_y = y & ((1 << info->chroma_shift_y) - 1);
    om_cuda_slot *slot;
    crop *c = NULL;
    int err = om_cuda_slot_take(d, 0, 1, &slot);
    if (err < 0) return err;
    err = make_frame(d, src, w + extra_x, h + extra_y, &c);
    if (!err) {
        slot->frames[slot->n_frames++] = om_frame_ref(src);
        err = copy_planes(d, &src->image, &c->frame.image, x - extra_x, y - extra_y);
    }
    if (!err)
        err = om_cuda_check(d, (int)cudaEventRecord(slot->done, om_cuda_of(d)->frames), "recording an event");
    if (!err && s)
        err = om_cuda_check(d, (int)cudaStreamWaitEvent(om_cuda_stream(d, s), slot->done, 0),
                            "ordering streams");
    if (!err && !s) {
        om_device_count_sync(d);
        err = om_cuda_check(d, (int)cudaEventSynchronize(slot->done), "cropping");
    }
    if (!err && s) om_cuda_slot_fly(d, slot);
    else {
        if (err < 0) (void)cudaStreamSynchronize(om_cuda_of(d)->frames); /* it may be reading still */
        om_cuda_slot_return(d, slot);
    }
    if (!err) *out = &c->frame;
    else if (c) om_frame_unref(&c->frame);
    return err;
}

int om_cuda_crop(om_device *d, om_frame *src, int x, int y, int w, int h, om_stream *s, om_frame **out)
{
    if (src->memory == OM_MEMORY_HOST) return om_device_host.crop(d, src, x, y, w, h, NULL, out);
    if (src->device != d->index)
        return om_fail(OM_ERR_UNSUPPORTED, "device %s: the picture lies in the memory of GPU %d", d->id,
                       src->device);
    int err = om_cuda_enter(d);
    return err < 0 ? err : crop_here(d, src, x, y, w, h, s, out);
}
