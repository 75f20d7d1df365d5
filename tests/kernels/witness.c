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

int witness_letterbox(const witness_picture *w, int fit, int dst_w, int dst_h, int channels, int filter,
                      int simd, float *out)
{
    om_image img = {.fmt = (om_pixfmt)w->fmt,
                    .range = (om_range)w->range,
                    .matrix = (om_matrix)w->matrix,
                    .width = w->width,
                    .height = w->height};
    om_prep p = {.dtype = OM_DTYPE_F32,
                 .channels = (om_channels)channels,
                 .filter = (om_filter)filter,
                 .scale = {1, 1, 1},
                 .pad = {114, 114, 114}};
    om_geometry g;
    for (int i = 0; i < 3; i++) {
        img.plane[i] = w->plane[i];
        img.stride[i] = w->stride[i];
    }
    om_geometry_fit((om_fit)fit, img.width, img.height, dst_w, dst_h, &g);
    return table(simd).letterbox(&img, &g, &p, out);
}

long witness_nms(const float *boxes, const float *scores, const int32_t *classes, long n, float iou,
                 int agnostic, int simd, uint32_t *keep, void *work)
{
    return (long)table(simd).nms(boxes, scores, classes, (size_t)n, iou, agnostic, (size_t)n, keep, work);
}

long witness_nms_work_size(long n) { return (long)om_nms_work_size((size_t)n); }
