#include "device/host.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "device/thumbnail.h"

#define MEMORY_ALIGN 64

static int host_count(void) { return 1; }

static int host_open(om_device *d, int index) { return OM_OK; }
static void host_close(om_device *d) {}

static int host_info(om_device *d, om_device_info *out)
{
    int64_t page = sysconf(_SC_PAGESIZE);
    *out = (om_device_info){0};
    snprintf(out->name, sizeof(out->name), "%s", om_cpu_model());
    out->memory_total = page * sysconf(_SC_PHYS_PAGES);
    out->memory_free = page * sysconf(_SC_AVPHYS_PAGES);
    return OM_OK;
}

static int host_alloc(om_device *d, size_t size, void **out)
{
    *out = om_aligned_alloc(MEMORY_ALIGN, size);
    return *out ? OM_OK : OM_ERR_NOMEM;
}

static void host_free(om_device *d, void *p) { om_free(p); }

/* Calls run at once, so there is no order to keep and no point to wait for: no stream, and one event for all.
 */
static char done;

static int host_stream_create(om_device *d, int priority, om_stream **out)
{
    *out = NULL;
    return OM_OK;
}

static void host_stream_destroy(om_device *d, om_stream *s) {}

static int host_event_create(om_device *d, om_event **out)
{
    *out = (om_event *)&done;
    return OM_OK;
}

static void host_event_destroy(om_device *d, om_event *e) {}
static int host_event_record(om_device *d, om_event *e, om_stream *s) { return OM_OK; }
static int host_event_wait(om_device *d, om_event *e, om_stream *s) { return OM_OK; }
static int host_event_query(om_device *d, om_event *e) { return OM_OK; }
static int host_event_sync(om_device *d, om_event *e) { return OM_OK; }

static int host_copy(om_device *d, om_copy_kind kind, void *dst, const void *src, size_t size, om_stream *s)
{
    memcpy(dst, src, size);
    return OM_OK;
}

static int host_gather(om_device *d, const om_gather_item *items, size_t n, const om_prep *prep, om_stream *s)
{
    const om_kernels *k = om_kernels_get();
    for (size_t i = 0; i < n; i++) {
        const om_frame *f = items[i].frame;
        if (f->memory != OM_MEMORY_HOST)
            return om_fail(OM_ERR_UNSUPPORTED, "gather on the host: picture %zu of %zu lies in device memory",
                           i + 1, n);
        const om_geometry *g = &items[i].geometry;
        int err = items[i].quad ? k->warp(&f->image, items[i].quad, g->dst_w, g->dst_h, prep, items[i].dst)
                                : k->letterbox(&f->image, g, prep, items[i].dst);
        if (err < 0) return err;
    }
    return OM_OK;
}

static void copy_plane(const om_image *src, const om_image *dst, int plane, size_t skip_bytes, int skip_rows)
{
    int bytes, rows;
    om_pixfmt_plane_size(dst->fmt, plane, dst->width, dst->height, &bytes, &rows);
    for (int y = 0; y < rows; y++)
        memcpy(dst->plane[plane] + (ptrdiff_t)y * dst->stride[plane],
               src->plane[plane] + (ptrdiff_t)(y + skip_rows) * src->stride[plane] + skip_bytes,
               (size_t)bytes);
}

/* The left top corner moves up to the chroma grid; the right bottom one stays. */
static int host_crop(om_device *d, om_frame *src, int x, int y, int w, int h, om_stream *s, om_frame **out)
{
    const om_pixfmt_info *info = om_pixfmt_get(src->image.fmt);
    int extra_x = x & ((1 << info->chroma_shift_x) - 1), extra_y = y & ((1 << info->chroma_shift_y) - 1);
    om_frame *f;

    if (src->memory != OM_MEMORY_HOST)
        return om_fail(OM_ERR_UNSUPPORTED, "crop on the host: the picture lies in device memory");
    int err = om_frame_create(src->image.fmt, w + extra_x, h + extra_y, &f);
    if (err < 0) return err;
    f->image.range = src->image.range;
    f->image.matrix = src->image.matrix;
    f->seq = src->seq;
    f->packet = src->packet;
    f->pts_ns = src->pts_ns;
    f->wall_us = src->wall_us;
    f->due_ns = src->due_ns;
    f->key = src->key;
    for (int p = 0; p < info->planes; p++) {
        int skip_bytes, skip_rows; /* what lies left of and above the corner is a plane of that size */
        om_pixfmt_plane_size(src->image.fmt, p, x - extra_x, y - extra_y, &skip_bytes, &skip_rows);
        copy_plane(&src->image, &f->image, p, (size_t)skip_bytes, skip_rows);
    }
    *out = f;
    return OM_OK;
}

static int host_thumbnail(om_device *d, om_frame *src, int width, int height, int quality, uint8_t **data,
                          size_t *size)
{
    if (src->memory != OM_MEMORY_HOST)
        return om_fail(OM_ERR_UNSUPPORTED, "thumbnail on the host: the picture lies in device memory");
    return om_thumbnail_make(&src->image, width, height, quality, data, size);
}

const om_device_ops om_device_host = {
    .api_version = OM_DEVICE_API_VERSION,
    .name = "host",
    .memory = OM_MEMORY_HOST,
    .count = host_count,
    .open = host_open,
    .close = host_close,
    .info = host_info,
    .mem_alloc = host_alloc,
    .mem_free = host_free,
    .pinned_alloc = host_alloc,
    .pinned_free = host_free,
    .stream_create = host_stream_create,
    .stream_destroy = host_stream_destroy,
    .event_create = host_event_create,
    .event_destroy = host_event_destroy,
    .event_record = host_event_record,
    .event_wait = host_event_wait,
    .event_query = host_event_query,
    .event_sync = host_event_sync,
    .copy = host_copy,
    .gather = host_gather,
    .crop = host_crop,
    .thumbnail = host_thumbnail,
};
