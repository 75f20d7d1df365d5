/* The kernels behind flat functions, for a test in another language to load and compare with its own. */
#include "witness.h"

#include "base/cpu.h"

static om_kernels table(int simd)
{
    om_kernels k;
    om_kernels_init(&k, simd ? om_cpu_flags() : 0);
    return k;
}

const char *witness_table(int simd) { return table(simd).name; }

void witness_fit(int fit, const int size[4], int out[10])
{
    om_geometry g;
    om_geometry_fit((om_fit)fit, size[0], size[1], size[2], size[3], &g);
    const int flat[10] = {g.src_x, g.src_y, g.src_w, g.src_h,   g.dst_w,
                          g.dst_h, g.pad_x, g.pad_y, g.inner_w, g.inner_h};
    for (int i = 0; i < 10; i++) out[i] = flat[i];
}

static om_image image_of(const witness_picture *w)
{
    om_image img = {.fmt = (om_pixfmt)w->fmt,
                    .range = (om_range)w->range,
                    .matrix = (om_matrix)w->matrix,
                    .width = w->width,
                    .height = w->height};
    for (int i = 0; i < 3; i++) {
        img.plane[i] = w->plane[i];
        img.stride[i] = w->stride[i];
    }
    return img;
}

static om_prep levels(int channels, int filter)
{
    return (om_prep){.dtype = OM_DTYPE_F32,
                     .channels = (om_channels)channels,
                     .filter = (om_filter)filter,
                     .scale = {1, 1, 1},
                     .pad = {114, 114, 114}};
}

int witness_letterbox(const witness_picture *w, int fit, int dst_w, int dst_h, int channels, int filter,
                      int simd, float *out)
{
    om_image img = image_of(w);
    om_prep p = levels(channels, filter);
    om_geometry g;
    om_geometry_fit((om_fit)fit, img.width, img.height, dst_w, dst_h, &g);
    return table(simd).letterbox(&img, &g, &p, out);
}

int witness_model_input(const witness_picture *w, int dst_w, int dst_h, int layout, int bytes, int simd,
                        void *out)
{
    om_image img = image_of(w);
    om_prep p = levels(OM_CHANNELS_RGB, OM_FILTER_LINEAR);
    om_geometry g;
    p.layout = (om_layout)layout;
    p.dtype = bytes ? OM_DTYPE_U8 : OM_DTYPE_F32;
    for (int i = 0; i < 3; i++) p.scale[i] = 1 / 255.0f;
    om_geometry_fit(OM_FIT_LETTERBOX, img.width, img.height, dst_w, dst_h, &g);
    return table(simd).letterbox(&img, &g, &p, out);
}

int witness_rois(const witness_picture *w, const float *boxes, int n, int dst_w, int dst_h, int simd,
                 float *out)
{
    om_image img = image_of(w);
    om_prep p = levels(OM_CHANNELS_RGB, OM_FILTER_LINEAR);
    om_roi rois[64];
    for (int i = 0; i < n && i < 64; i++)
        rois[i] = (om_roi){.x = boxes[4 * i],
                           .y = boxes[4 * i + 1],
                           .w = boxes[4 * i + 2],
                           .h = boxes[4 * i + 3],
                           .dst = out + (size_t)i * 3 * (size_t)dst_w * (size_t)dst_h};
    return table(simd).rois(&img, rois, (size_t)(n < 64 ? n : 64), OM_FIT_STRETCH, dst_w, dst_h, &p);
}

int witness_warp(const witness_picture *w, const float *quad, int dst_w, int dst_h, int simd, float *out)
{
    om_image img = image_of(w);
    om_prep p = levels(OM_CHANNELS_RGB, OM_FILTER_LINEAR);
    return table(simd).warp(&img, quad, dst_w, dst_h, &p, out);
}

long witness_nms(const float *boxes, const float *scores, const int32_t *classes, long n, float iou,
                 int agnostic, int simd, uint32_t *keep, void *work)
{
    return (long)table(simd).nms(boxes, scores, classes, (size_t)n, iou, agnostic, (size_t)n, keep, work);
}

long witness_nms_work_size(long n) { return (long)om_nms_work_size((size_t)n); }
