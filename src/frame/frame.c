#include "frame/frame.h"

#include <stddef.h>

#include "base/error.h"
#include "base/mem.h"

#define PLANE_ALIGN 64
#define MAX_SIDE 65536

static const om_pixfmt_info formats[OM_PIX_COUNT] = {
    [OM_PIX_NONE] = {"none", 0, 0, 0, 0, false, false},
    [OM_PIX_NV12] = {"nv12", 2, 1, 1, 1, true, true},
    [OM_PIX_I420] = {"i420", 3, 1, 1, 1, false, true},
    [OM_PIX_I422] = {"i422", 3, 1, 1, 0, false, true},
    [OM_PIX_I444] = {"i444", 3, 1, 0, 0, false, true},
    [OM_PIX_P010] = {"p010", 2, 2, 1, 1, true, true},
    [OM_PIX_I010] = {"i010", 3, 2, 1, 1, false, true},
    [OM_PIX_I210] = {"i210", 3, 2, 1, 0, false, true},
    [OM_PIX_I410] = {"i410", 3, 2, 0, 0, false, true},
    [OM_PIX_GRAY8] = {"gray8", 1, 1, 0, 0, false, true},
    [OM_PIX_RGB24] = {"rgb24", 1, 1, 0, 0, false, false},
    [OM_PIX_BGR24] = {"bgr24", 1, 1, 0, 0, false, false},
};

const om_pixfmt_info *om_pixfmt_get(om_pixfmt fmt)
{
    return (unsigned)fmt < OM_PIX_COUNT ? &formats[fmt] : &formats[OM_PIX_NONE];
}

void om_pixfmt_plane_size(om_pixfmt fmt, int plane, int width, int height, int *row_bytes, int *rows)
{
    const om_pixfmt_info *info = om_pixfmt_get(fmt);

    *row_bytes = 0;
    *rows = 0;
    if (plane < 0 || plane >= info->planes) return;
    if (plane == 0) {
        *row_bytes = width * info->sample_bytes * (info->yuv ? 1 : 3);
        *rows = height;
        return;
    }
    int chroma_w = (width + (1 << info->chroma_shift_x) - 1) >> info->chroma_shift_x;
    *row_bytes = chroma_w * info->sample_bytes * (info->chroma_interleaved ? 2 : 1);
    *rows = (height + (1 << info->chroma_shift_y) - 1) >> info->chroma_shift_y;
}

om_frame *om_frame_ref(om_frame *f)
{
    om_ref_inc(&f->ref);
    return f;
}

void om_frame_unref(om_frame *f)
{
    if (f && om_ref_dec(&f->ref)) f->release(f);
}

static void release_host(om_frame *f)
{
    om_free(f->owner);
    om_free(f);
}

int om_frame_create(om_pixfmt fmt, int width, int height, om_frame **out)
{
    const om_pixfmt_info *info = om_pixfmt_get(fmt);
    size_t offset[3] = {0}, total = 0;
    int stride[3] = {0};

    *out = NULL;
    if (!info->planes) return om_fail(OM_ERR_ARG, "frame: pixel format %d is not one of ours", (int)fmt);
    if (width < 1 || height < 1 || width > MAX_SIDE || height > MAX_SIDE)
        return om_fail(OM_ERR_ARG, "frame: size %dx%d, expected 1x1 to %dx%d", width, height, MAX_SIDE,
                       MAX_SIDE);
    for (int p = 0; p < info->planes; p++) {
        int row_bytes, rows;
        om_pixfmt_plane_size(fmt, p, width, height, &row_bytes, &rows);
        stride[p] = (row_bytes + PLANE_ALIGN - 1) & ~(PLANE_ALIGN - 1);
        offset[p] = total;
        total += (size_t)stride[p] * (size_t)rows;
    }

    om_frame *f = om_calloc(1, sizeof(*f));
    uint8_t *pixels = om_aligned_alloc(PLANE_ALIGN, total);
    if (!f || !pixels) {
        om_free(pixels);
        om_free(f);
        return om_fail_nomem("frame");
    }
    om_ref_init(&f->ref);
    f->image = (om_image){.fmt = fmt, .width = width, .height = height};
    for (int p = 0; p < info->planes; p++) {
        f->image.plane[p] = pixels + offset[p];
        f->image.stride[p] = stride[p];
    }
    f->memory = OM_MEMORY_HOST;
    f->release = release_host;
    f->owner = pixels;
    *out = f;
    return OM_OK;
}
