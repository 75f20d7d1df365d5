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
    OM_FIT_CROP,      /* keep the aspect, fill, cut what stands over (classification) */
    OM_FIT_CORNER     /* keep the aspect, pad right and below alone (YOLOX, SCRFD, lines of text) */
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
/* Adds the box between two corners of the destination (x0, y0, x1, y1) as a detection of the source. *out:
 * it, until the next one is added; NULL where no part of it lies in the source, or it is no box. */
int om_geometry_add_box(const om_geometry *g, const float corners[4], float score, int32_t class_id,
                        om_dets *dets, om_detection **out);

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

/* One rectangle of a picture that a further model is to see. */
typedef struct om_roi {
    float x, y, w, h;     /* in source pixels; may stand over the picture's edge */
    void *dst;            /* dst_w * dst_h * channels elements, the caller's */
    om_geometry geometry; /* filled: what was read, in whole pixels of the picture, and where it lies */
    int status;           /* filled: OM_OK, or OM_ERR_ARG where nothing lies in the picture: dst is padding */
} om_roi;

/* A matrix of scores, f32 or f16, in either memory order: one of the steps is 1. Steps are in elements. */
typedef struct om_scores {
    const void *data;
    om_dtype dtype;
    size_t places, classes;
    size_t place_step, class_step;
} om_scores;

/* A character of a line: its class, and the step it was first seen at with its score there. */
typedef struct om_ctc_symbol {
    int32_t label;
    uint32_t step;
    float score;
} om_ctc_symbol;

/* A matrix of f32 in any order: element (i, j) lies at data[i * row_step + j * column_step]. */
typedef struct om_mat {
    const float *data;
    size_t rows, columns, row_step, column_step;
} om_mat;

struct om_stroke; /* draw_paint.h */

/* Thread-safety: a filled table is constant; all functions are reentrant. */
typedef struct om_kernels {
    /* One pass from the planes to the tensor of one picture (dst: dst_w*dst_h*channels elements). Linear is
     * cv2.INTER_LINEAR's sampling (half-pixel centres, edges repeated), chroma of a subsampled format taken
     * as cv2.cvtColor does (nearest). Before it is rounded to its type a result lies within 1/8 of one level
     * of 0..255 of exact arithmetic. Returns OM_ERR_UNSUPPORTED for a format or dtype it does not know. */
    int (*letterbox)(const om_image *src, const om_geometry *g, const om_prep *p, void *dst);

    /* Letterboxes `n` rectangles of one picture. An empty or outlying one is told in its status and does not
     * stop the others; an error that is returned concerns all. */
    int (*rois)(const om_image *src, om_roi *rois, size_t n, om_fit fit, int dst_w, int dst_h,
                const om_prep *p);

    /* Straightens a convex quadrilateral: its corners (x, y from the left top of the picture's first pixel;
     * left top, right top, right bottom, left bottom of what is seen in it) become those of dst_w x dst_h.
     * Sampling as letterbox does it, area as linear; beyond the picture its edges go on. OM_ERR_ARG for
     * corners that are not finite or make no convex quadrilateral. */
    int (*warp)(const om_image *src, const float quad[8], int dst_w, int dst_h, const om_prep *p, void *dst);

    /* Keeps the best boxes: sorts by score (ties: lower index first), drops those that overlap a better one
     * of the same class (any class if agnostic) by more than `iou`, at most max_out. Boxes are x0,y0,x1,y1;
     * `keep` gets indices in order; returns their number. `work` holds om_nms_work_size(n) bytes. */
    size_t (*nms)(const float *boxes, const float *scores, const int32_t *classes, size_t n, float iou,
                  bool agnostic, size_t max_out, uint32_t *keep, void *work);

    /* For `n` columns of a row-major matrix [rows][n] (row stride `stride` floats): the largest of the rows
     * and which row it was, for columns i in [0,n). NaN never wins; where nothing does: -infinity, row 0. */
    void (*column_max)(const float *m, size_t stride, size_t rows, size_t n, float *best, int32_t *row);

    /* The places where some class scores above `least`, in rising order: which, their best score and the
     * first class that has it; returns their number. Not a number is above nothing, infinity above
     * everything. `index`, `best` and `which` have room for s->places and may be written to all over. */
    size_t (*pick)(const om_scores *s, float least, uint32_t *index, float *best, int32_t *which);
    /* The first of the largest of n numbers, f32 or f16; not a number never wins. Where nothing does: 0, and
     * *best is -infinity. */
    int32_t (*largest)(const void *v, om_dtype dtype, size_t n, float *best);
    void (*widen)(const uint16_t *f16, size_t n, float *out);

    /* Likelihoods of n scores; what is not finite counts as none at all. Returns that of the largest score, 0
     * where there is nothing finite. Within 4e-6 of the largest likelihood. */
    float (*softmax)(const float *v, size_t n, float *out);
    /* The `most` best of those above `least` and below infinity, best first, of equal ones the earlier;
     * returns their number. */
    size_t (*top_k)(const float *v, size_t n, float least, size_t most, uint32_t *index);
    /* A line of text: the best class of each place (a step), runs drawn together, without blanks. `out` has
     * room for s->places; returns their number. */
    size_t (*ctc_greedy)(const om_scores *s, int32_t blank, om_ctc_symbol *out);

    /* The mean luma of each cell of a grid over the picture, in 256ths of a level (of 8 bits), from up to 8
     * rows a cell. `work` holds img->width elements; no more columns or rows than the picture has. */
    void (*luma_grid)(const om_image *img, int columns, int rows, uint16_t *work, uint16_t *cells);
    /* The sum of absolute differences, and how many are more than `above`. */
    uint64_t (*grid_difference)(const uint16_t *a, const uint16_t *b, size_t n, uint16_t above,
                                size_t *changed);

    /* p = (p * (256 - alpha) + sample * alpha + 128) >> 8, alpha 0 to 256: one alpha and samples that
     * alternate (NV12's chroma; twice the same else), or an alpha for each. */
    void (*blend_row)(uint8_t *p, size_t n, const uint8_t sample[2], int alpha);
    void (*blend_cover)(uint8_t *p, size_t n, uint8_t sample, const uint16_t *alpha);
    /* How much of each of n pixels from (x, y) rightwards a stroke covers, 0 to 1. */
    void (*cover_stroke)(const struct om_stroke *s, int x, int y, int n, float *cover);

    /* c += a * b, c row-major with `c_row` numbers from row to row. One thread; the sum of an element is
     * taken in one order whatever the sizes around it, so that the same numbers give the same bits. `work`
     * holds om_gemm_work_size() bytes. */
    void (*gemm)(const om_mat *a, const om_mat *b, float *c, size_t c_row, void *work);

    const char *name; /* of the highest variant in the table: "c", "avx2", ... */
} om_kernels;

size_t om_nms_work_size(size_t n);
size_t om_gemm_work_size(void);

/* The table for this processor less om_cpu_mask(). Built once; call om_cpu_mask() before. */
const om_kernels *om_kernels_get(void);
/* Fills a table for exactly these flags (tests). */
void om_kernels_init(om_kernels *k, uint32_t cpu_flags);

#endif
