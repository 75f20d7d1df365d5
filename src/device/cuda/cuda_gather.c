/* Host side of a gather: describes each picture, uploads those that lie in host memory, launches once. */
#include <cuda_runtime_api.h>
#include <string.h>

#include "base/error.h"
#include "device/cuda/cuda_slot.h"
#include "device/cuda/gather.h"
#include "kernel/color.h"
#include "kernel/quad.h"

#define PLANE_ALIGN ((size_t)256)
#define ROW_ALIGN ((size_t)64)
#define MAX_ITEMS 65535               /* layers of a grid */
#define SHARED_COPY ((size_t)2 << 20) /* as much as pays for waking threads */

static size_t round_up(size_t v, size_t to) { return (v + to - 1) / to * to; }

/* The part of one plane that is read. */
typedef struct part {
    const uint8_t *corner;
    int step, shift_x, shift_y; /* samples of a pixel; subsampling */
    size_t row_bytes, rows;
} part;

static part part_of(const om_image *img, const om_geometry *g, int plane)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    part p = {.step = 1};
    if (plane > 0) {
        p.shift_x = info->chroma_shift_x;
        p.shift_y = info->chroma_shift_y;
        p.step = info->chroma_interleaved ? 2 : 1;
    } else if (!info->yuv) {
        p.step = 3;
    }
    int left = g->src_x >> p.shift_x, top = g->src_y >> p.shift_y;
    int right = (g->src_x + g->src_w - 1) >> p.shift_x, bottom = (g->src_y + g->src_h - 1) >> p.shift_y;
    size_t pixel = (size_t)p.step * (size_t)info->sample_bytes;
    p.corner = img->plane[plane] + (ptrdiff_t)top * img->stride[plane] + (size_t)left * pixel;
    p.row_bytes = (size_t)(right - left + 1) * pixel;
    p.rows = (size_t)(bottom - top + 1);
    return p;
}

/* All of the picture is read for a quadrilateral, which may lie anywhere. */
static om_geometry geometry_of(const om_gather_item *item)
{
    const om_image *img = &item->frame->image;
    om_geometry g = item->geometry;
    if (!item->quad) return g;
    return (om_geometry){.src_w = img->width,
                         .src_h = img->height,
                         .dst_w = g.dst_w,
                         .dst_h = g.dst_h,
                         .inner_w = g.dst_w,
                         .inner_h = g.dst_h};
}

static int channels_of(const om_prep *p) { return p->channels == OM_CHANNELS_GRAY ? 1 : 3; }

/* A gray result of a YUV picture needs no chroma. */
static int planes_of(const om_image *img, const om_prep *p)
{
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    return info->yuv && channels_of(p) == 1 ? 1 : info->planes;
}

static int element_of(om_dtype type)
{
    switch (type) {
    case OM_DTYPE_F32: return OM_CUDA_F32;
    case OM_DTYPE_F16: return OM_CUDA_F16;
    case OM_DTYPE_BF16: return OM_CUDA_BF16;
    case OM_DTYPE_U8: return OM_CUDA_U8;
    case OM_DTYPE_I8: return OM_CUDA_I8;
    default: return -1;
    }
}

static int check_geometry(const om_device *d, const om_image *img, const om_geometry *g)
{
    bool source = g->src_x >= 0 && g->src_y >= 0 && g->src_w > 0 && g->src_h > 0 &&
                  g->src_w <= img->width - g->src_x && g->src_h <= img->height - g->src_y;
    bool inner = g->pad_x >= 0 && g->pad_y >= 0 && g->inner_w > 0 && g->inner_h > 0 &&
                 g->inner_w <= g->dst_w - g->pad_x && g->inner_h <= g->dst_h - g->pad_y;
    if (!source)
        return om_fail(OM_ERR_ARG, "device %s: rectangle %dx%d at %d,%d does not lie in a picture of %dx%d",
                       d->id, g->src_w, g->src_h, g->src_x, g->src_y, img->width, img->height);
    if (!inner)
        return om_fail(OM_ERR_ARG,
                       "device %s: picture of %dx%d at %d,%d does not lie in a destination of %dx%d", d->id,
                       g->inner_w, g->inner_h, g->pad_x, g->pad_y, g->dst_w, g->dst_h);
    if (g->src_w > OM_CUDA_MAX_SIDE || g->src_h > OM_CUDA_MAX_SIDE || g->dst_w > OM_CUDA_MAX_SIDE ||
        g->dst_h > OM_CUDA_MAX_SIDE)
        return om_fail(OM_ERR_UNSUPPORTED, "device %s: %dx%d to %dx%d, sides of at most %d can be gathered",
                       d->id, g->src_w, g->src_h, g->dst_w, g->dst_h, OM_CUDA_MAX_SIDE);
    return OM_OK;
}

static int check_item(const om_device *d, const om_gather_item *item)
{
    const om_frame *f = item->frame;
    const om_pixfmt_info *info = om_pixfmt_get(f->image.fmt);
    if (!info->planes)
        return om_fail(OM_ERR_UNSUPPORTED, "device %s: pixel format %d is not one of ours", d->id,
                       (int)f->image.fmt);
    if (f->memory == OM_MEMORY_CUDA && f->device != d->index)
        return om_fail(OM_ERR_UNSUPPORTED, "device %s: the picture lies in the memory of GPU %d", d->id,
                       f->device);
    for (int p = 0; p < info->planes && f->memory == OM_MEMORY_CUDA && info->sample_bytes == 2; p++)
        if ((uintptr_t)f->image.plane[p] % 2 || f->image.stride[p] % 2)
            return om_fail(OM_ERR_UNSUPPORTED, "device %s: 16-bit samples at an odd address", d->id);
    om_perspective view;
    om_geometry g = geometry_of(item);
    int err = check_geometry(d, &f->image, &g);
    return err < 0 || !item->quad ? err : om_perspective_solve(item->quad, g.dst_w, g.dst_h, &view);
}

static int check(const om_device *d, const om_gather_item *items, size_t n, const om_prep *prep)
{
    if (element_of(prep->dtype) < 0)
        return om_fail(OM_ERR_UNSUPPORTED, "device %s: cannot write elements of type %s", d->id,
                       om_dtype_name(prep->dtype));
    if (n > MAX_ITEMS)
        return om_fail(OM_ERR_ARG, "device %s: gather of %zu pictures, expected at most %d", d->id, n,
                       MAX_ITEMS);
    for (size_t i = 0; i < n; i++) {
        int err = check_item(d, &items[i]);
        if (err < 0) return err;
    }
    return OM_OK;
}

/* Bytes of the read parts of a picture that lies in host memory. */
static size_t picture_size(const om_gather_item *item, const om_prep *prep)
{
    const om_frame *f = item->frame;
    size_t size = 0;
    for (int k = 0; k < planes_of(&f->image, prep) && f->memory == OM_MEMORY_HOST; k++) {
        om_geometry g = geometry_of(item);
        part p = part_of(&f->image, &g, k);
        size += round_up(round_up(p.row_bytes, ROW_ALIGN) * p.rows, PLANE_ALIGN);
    }
    return size;
}

static size_t descriptors_size(size_t n) { return round_up(n * sizeof(om_cuda_picture), PLANE_ALIGN); }

/* Bytes that go up: descriptors, then the pictures. */
static size_t upload_size(const om_gather_item *items, size_t n, const om_prep *prep)
{
    size_t size = descriptors_size(n);
    for (size_t i = 0; i < n; i++) size += picture_size(&items[i], prep);
    return size;
}

/* Tells each picture its place, from the descriptors on. */
static void place_pictures(om_cuda_slot *slot, const om_gather_item *items, size_t n, const om_prep *prep)
{
    size_t at = descriptors_size(n);
    for (size_t i = 0; i < n; i++) {
        slot->places[i] = at;
        at += picture_size(&items[i], prep);
    }
}

static void copy_part(uint8_t *to, size_t pitch, const part *p, int stride)
{
    for (size_t y = 0; y < p->rows; y++)
        memcpy(to + y * pitch, p->corner + (ptrdiff_t)y * stride, p->row_bytes);
}

static void fill_planes(om_cuda_picture *out, const om_gather_item *item, const om_prep *prep,
                        const om_cuda_slot *slot, size_t at)
{
    const om_frame *f = item->frame;
    om_geometry g = geometry_of(item);
    for (int k = 0; k < planes_of(&f->image, prep); k++) {
        part p = part_of(&f->image, &g, k);
        const uint8_t *base = p.corner;
        int64_t stride = f->image.stride[k];
        if (f->memory == OM_MEMORY_HOST) {
            size_t pitch = round_up(p.row_bytes, ROW_ALIGN);
            copy_part(slot->pinned + at, pitch, &p, f->image.stride[k]);
            base = slot->device + at;
            stride = (int64_t)pitch;
            at += round_up(pitch * p.rows, PLANE_ALIGN);
        }
        for (int i = 0; i < p.step; i++)
            out->in[out->components++] = (om_cuda_component){.base = base + i * (out->wide ? 2 : 1),
                                                             .stride = stride,
                                                             .step = p.step,
                                                             .shift_x = p.shift_x,
                                                             .shift_y = p.shift_y,
                                                             .odd_x = g.src_x & ((1 << p.shift_x) - 1),
                                                             .odd_y = g.src_y & ((1 << p.shift_y) - 1)};
    }
}

/* Colour, order of channels, mean and scale become one matrix and its bounds, as the host's kernel has it. */
static void fill_matrix(om_cuda_picture *out, const om_image *img, const om_prep *p)
{
    bool yuv = om_pixfmt_get(img->fmt)->yuv, plain = p->dtype == OM_DTYPE_U8;
    double rgb[3][4] = {{0}}, luma[3];
    if (yuv) om_color_to_rgb(img, rgb);
    else
        for (int i = 0; i < 3; i++) rgb[i][img->fmt == OM_PIX_BGR24 ? 2 - i : i] = 1;
    om_color_luma(yuv ? img->matrix : OM_MATRIX_BT601, luma);
    for (int c = 0; c < channels_of(p); c++) {
        double scale = plain ? 1 : p->scale[c], mean = plain ? 0 : p->mean[c];
        const double *row = rgb[p->channels == OM_CHANNELS_BGR ? 2 - c : c];
        for (int k = 0; k < 4; k++) {
            double v = channels_of(p) == 3 ? row[k]
                                           : luma[0] * rgb[0][k] + luma[1] * rgb[1][k] + luma[2] * rgb[2][k];
            out->matrix[c][k] = (float)(k < 3 ? v * scale : (v - mean) * scale);
        }
        float black = (float)((0 - mean) * scale), white = (float)((255 - mean) * scale);
        out->low[c] = black < white ? black : white;
        out->high[c] = black < white ? white : black;
    }
}

static void fill_picture(om_cuda_picture *out, const om_gather_item *item, const om_prep *prep,
                         const om_cuda_slot *slot, size_t at)
{
    const om_image *img = &item->frame->image;
    const om_pixfmt_info *info = om_pixfmt_get(img->fmt);
    om_geometry g = geometry_of(item);
    om_perspective view;
    *out = (om_cuda_picture){.wide = info->sample_bytes == 2,
                             .src_w = g.src_w,
                             .src_h = g.src_h,
                             .dst_w = g.dst_w,
                             .dst_h = g.dst_h,
                             .pad_x = g.pad_x,
                             .pad_y = g.pad_y,
                             .inner_w = g.inner_w,
                             .inner_h = g.inner_h,
                             .dst = item->dst};
    if (item->quad &&
        om_perspective_solve(item->quad, g.dst_w, g.dst_h, &view) == OM_OK) { /* checked before */
        out->warped = true;
        memcpy(out->view, view.m, sizeof out->view);
    }
    fill_planes(out, item, prep, slot, at);
    fill_matrix(out, img, prep);
}

typedef struct filling {
    const om_cuda_slot *slot;
    const om_gather_item *items;
    const om_prep *prep;
} filling;

static void fill_one(void *arg, size_t i)
{
    const filling *f = arg;
    om_cuda_picture *pictures = (om_cuda_picture *)(void *)f->slot->pinned;
    fill_picture(&pictures[i], &f->items[i], f->prep, f->slot, f->slot->places[i]);
}

static om_cuda_batch batch_of(const om_gather_item *items, size_t n, const om_prep *prep,
                              const om_cuda_slot *slot)
{
    om_cuda_batch b = {.pictures = (const om_cuda_picture *)(const void *)slot->device,
                       .n = (int)n,
                       .channels = channels_of(prep),
                       .planar = prep->layout == OM_LAYOUT_NCHW,
                       .filter = prep->filter == OM_FILTER_LINEAR    ? OM_CUDA_LINEAR
                                 : prep->filter == OM_FILTER_NEAREST ? OM_CUDA_NEAREST
                                                                     : OM_CUDA_AREA,
                       .element = (om_cuda_element)element_of(prep->dtype),
                       .straight = true,
                       .zero_point = prep->zero_point};
    for (size_t i = 0; i < n; i++) {
        if (items[i].quad) b.straight = false;
        if (items[i].geometry.dst_w > b.max_w) b.max_w = items[i].geometry.dst_w;
        if (items[i].geometry.dst_h > b.max_h) b.max_h = items[i].geometry.dst_h;
    }
    for (int c = 0; c < b.channels; c++)
        b.pad[c] =
            prep->dtype == OM_DTYPE_U8 ? prep->pad[c] : (prep->pad[c] - prep->mean[c]) * prep->scale[c];
    return b;
}

/* Frames in device memory are read after the call has returned. */
static void hold_frames(om_cuda_slot *slot, const om_gather_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (items[i].frame->memory == OM_MEMORY_CUDA)
            slot->frames[slot->n_frames++] = om_frame_ref(items[i].frame);
}

/* The stream waits for what is still being written of these frames. */
static int after_writing(const om_device *d, om_cuda_slot *slot, cudaStream_t stream)
{
    bool others = false;
    int err = OM_OK;
    for (size_t i = 0; i < slot->n_frames && !err; i++) {
        void *written = slot->frames[i]->written;
        if (written)
            err = om_cuda_check(d, (int)cudaStreamWaitEvent(stream, (cudaEvent_t)written, 0),
                                "ordering streams");
        else others = true;
    }
    return err < 0 || !others ? err : om_cuda_after_frames(d, slot, stream);
}

int om_cuda_gather(om_device *d, const om_gather_item *items, size_t n, const om_prep *prep, om_stream *s)
{
    om_cuda_slot *slot;
    cudaStream_t stream = om_cuda_stream(d, s);
    size_t used = 0;
    int err = om_cuda_enter(d);
    if (!err) err = check(d, items, n, prep);
    if (!err) used = upload_size(items, n, prep);
    if (!err) err = om_cuda_slot_take(d, used, n, &slot);
    if (err < 0) return err;
    place_pictures(slot, items, n, prep);
    om_crew_run(used >= SHARED_COPY ? om_cuda_crew(d) : NULL, fill_one, &(filling){slot, items, prep}, n);
    hold_frames(slot, items, n);
    om_cuda_batch batch = batch_of(items, n, prep, slot);
    err = after_writing(d, slot, stream);
    bool timed = !err && s && om_cuda_slot_begin(d, slot, stream);
    if (!err)
        err = om_cuda_check(
            d, (int)cudaMemcpyAsync(slot->device, slot->pinned, used, cudaMemcpyHostToDevice, stream),
            "uploading pictures");
    if (!err) err = om_cuda_check(d, om_cuda_gather_launch(&batch, stream), "launching a gather");
    if (!err) om_device_count_copy(d, OM_COPY_TO_DEVICE, used);
    if (!err && timed)
        err = om_cuda_check(d, (int)cudaEventRecord(slot->ended, stream), "recording an event");
    if (!err && s) err = om_cuda_check(d, (int)cudaEventRecord(slot->done, stream), "recording an event");
    if (!err && s) {
        om_cuda_slot_fly(d, slot);
        return OM_OK;
    }
    int waited = om_cuda_check(d, (int)cudaStreamSynchronize(stream), "gathering pictures");
    om_cuda_slot_return(d, slot);
    return err < 0 ? err : waited;
}
