/* Pixel and box arithmetic: the C reference and, where the processor has more, faster variants of the same.
 * om_kernels_init() fills the table with the reference, then lets each ISA override what it has. */
#ifndef OM_KERNEL_KERNEL_H
#define OM_KERNEL_KERNEL_H

#include "base/tensor.h"
#include "frame/frame.h"
#include "frame/result.h"

typedef enum om_fit {
    OM_FIT_LETTERBOX, /* keep the aspect, pad evenly */
    OM_FIT_STRETCH,   /* fill, distorting */
    OM_FIT_CROP       /* keep the aspect, fill, cut what stands over (classification) */
} om_fit;

typedef enum om_filter { OM_FILTER_LINEAR, OM_FILTER_NEAREST, OM_FILTER_AREA } om_filter;

/* Where a rectangle of the source lands in the destination. Made by om_geometry_fit(). */
typedef struct om_geometry {
    int src_x, src_y, src_w, src_h; /* the part of the source that is read */
    int dst_w, dst_h;               /* the whole destination */
    int pad_x, pad_y;               /* left and top of the picture inside it */
    int inner_w, inner_h;           /* the picture inside it */
} om_geometry;

/* The whole source into the destination. For LETTERBOX: scale = min(dst/src), inner = round(src * scale),
 * padding split evenly with the odd row or column below or right (Ultralytics' rule: round(pad/2 - 0.1)). */
void om_geometry_fit(om_fit fit, int src_w, int src_h, int dst_w, int dst_h, om_geometry *out);
/* Destination coordinates back to source pixels. */
void om_geometry_unmap(const om_geometry *g, float x, float y, float *src_x, float *src_y);
/* A box (x, y, w, h in destination pixels) to the source's, clipped to the source rectangle. */
void om_geometry_unmap_box(const om_geometry *g, float *x, float *y, float *w, float *h);

typedef enum om_layout { OM_LAYOUT_NCHW, OM_LAYOUT_NHWC } om_layout;
typedef enum om_channels { OM_CHANNELS_RGB, OM_CHANNELS_BGR, OM_CHANNELS_GRAY } om_channels;

/* How a picture becomes numbers: out = (v - mean[c]) * scale[c] with v in 0..255, c in the order of
 * `channels`. For U8 mean and scale are ignored; for I8 out = round(out) + zero_point, saturated. */
typedef struct om_prep {
    om_layout layout;
    om_channels channels;
    om_dtype dtype; /* F32, F16, BF16, U8, I8 */
    om_filter filter;
    float mean[3], scale[3];
    float pad[3]; /* colour of the padding, 0..255, in the order of `channels` */
    int zero_point;
} om_prep;

typedef struct om_color {
    uint8_t r, g, b, a;
} om_color;

/* Thread-safety: a filled table is constant; all functions are reentrant. */
typedef struct om_kernels {
    /* One pass from the planes to the tensor of one picture (dst: dst_w*dst_h*channels elements). Linear is
     * cv2.INTER_LINEAR's sampling (half-pixel centres, edges repeated), chroma of a subsampled format taken
     * as cv2.cvtColor does (nearest). Returns OM_ERR_UNSUPPORTED for a format or dtype it does not know. */
    int (*letterbox)(const om_image *src, const om_geometry *g, const om_prep *p, void *dst);

    /* Keeps the best boxes: sorts by score (ties: lower index first), drops those that overlap a better one
     * of the same class (any class if agnostic) by more than `iou`, at most max_out. Boxes are x0,y0,x1,y1;
     * `keep` gets indices in order; returns their number. `work` holds om_nms_work_size(n) bytes. */
    size_t (*nms)(const float *boxes, const float *scores, const int32_t *classes, size_t n, float iou,
                  bool agnostic, size_t max_out, uint32_t *keep, void *work);

    /* For `n` columns of a row-major matrix [rows][n] (row stride `stride` floats): the largest of the rows
     * and which row it was, for columns i in [0,n). NaN never wins; where nothing does: -infinity, row 0. */
    void (*column_max)(const float *m, size_t stride, size_t rows, size_t n, float *best, int32_t *row);

    const char *name; /* of the highest variant in the table: "c", "avx2", ... */
} om_kernels;

size_t om_nms_work_size(size_t n);

/* The table for this processor less om_cpu_mask(). Built once; call om_cpu_mask() before. */
const om_kernels *om_kernels_get(void);
/* Fills a table for exactly these flags (tests). */
void om_kernels_init(om_kernels *k, uint32_t cpu_flags);

#endif
