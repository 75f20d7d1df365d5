/* The tensor's side of a picture kernel: elements, their places, the padding, and the matrix from samples to
 * numbers. */
#ifndef OM_KERNEL_PREP_H
#define OM_KERNEL_PREP_H

#include "kernel/kernel.h"

static inline int om_prep_channels(const om_prep *p) { return p->channels == OM_CHANNELS_GRAY ? 1 : 3; }

/* OM_ERR_UNSUPPORTED for a pixel format or element type that is not ours; `what` names the kernel. */
int om_prep_check(const char *what, const om_image *src, const om_prep *p);
/* The same, and OM_ERR_ARG for rectangles outside the picture or the destination. */
int om_prep_check_geometry(const char *what, const om_image *src, const om_geometry *g, const om_prep *p);

/* Where element (x, y) of a channel lies in a tensor of one dst_w x dst_h picture. */
static inline uint8_t *om_prep_at(const om_prep *p, void *dst, int dst_w, int dst_h, int channel, int x,
                                  int y)
{
    size_t at = (size_t)y * (size_t)dst_w + (size_t)x;
    if (p->layout == OM_LAYOUT_NCHW) at += (size_t)channel * (size_t)dst_w * (size_t)dst_h;
    else at = at * (size_t)om_prep_channels(p) + (size_t)channel;
    return (uint8_t *)dst + at * om_dtype_size(p->dtype);
}

/* Fills what lies around the inner picture. With no inner picture (inner_h 0) that is everything. */
void om_prep_pad(const om_geometry *g, const om_prep *p, void *dst);

/* Red, green and blue of 0..255 from the components as they lie in memory (Y, U, V or the three bytes of a
 * pixel): rgb[i] = m[i][0] * c0 + m[i][1] * c1 + m[i][2] * c2 + m[i][3]. */
void om_prep_rgb(const om_image *src, double m[3][4]);
/* The weights of red, green and blue in a gray result. */
void om_prep_luma(const om_image *src, double weight[3]);

#endif
