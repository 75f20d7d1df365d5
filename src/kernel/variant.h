/* The kernels' files are compiled once for plain C and once more for each instruction set worth it; OM_ISA
 * names the one at hand. Box arithmetic is the same in all (no contraction), so its results are equal bit for
 * bit. Pictures are computed in single precision by the plain kernels, in 16-bit fixed point (within 1/8
 * level) by those written for vectors, and alike by all of these. */
#ifndef OM_KERNEL_VARIANT_H
#define OM_KERNEL_VARIANT_H

#include "kernel/kernel.h"

#ifndef OM_ISA
#define OM_ISA c
#endif
#define OM_VARIANT_PASTE(name, isa) name##_##isa
#define OM_VARIANT_EXPAND(name, isa) OM_VARIANT_PASTE(name, isa)
#define OM_VARIANT(name) OM_VARIANT_EXPAND(name, OM_ISA)

#define OM_DECLARE_VARIANT(isa)                                                                              \
    int om_letterbox_##isa(const om_image *src, const om_geometry *g, const om_prep *p, void *dst);          \
    int om_letterbox_plain_##isa(const om_image *src, const om_geometry *g, const om_prep *p, void *dst);    \
    int om_rois_##isa(const om_image *src, om_roi *rois, size_t n, om_fit fit, int dst_w, int dst_h,         \
                      const om_prep *p);                                                                     \
    int om_warp_##isa(const om_image *src, const float quad[8], int dst_w, int dst_h, const om_prep *p,      \
                      void *dst);                                                                            \
    int om_warp_plain_##isa(const om_image *src, const float quad[8], int dst_w, int dst_h,                  \
                            const om_prep *p, void *dst);                                                    \
    size_t om_nms_##isa(const float *boxes, const float *scores, const int32_t *classes, size_t n,           \
                        float iou, bool agnostic, size_t max_out, uint32_t *keep, void *work);               \
    void om_column_max_##isa(const float *m, size_t stride, size_t rows, size_t n, float *best,              \
                             int32_t *row);                                                                  \
    size_t om_pick_##isa(const om_scores *s, float least, uint32_t *index, float *best, int32_t *which);     \
    int32_t om_largest_##isa(const void *v, om_dtype dtype, size_t n, float *best);                          \
    void om_widen_##isa(const uint16_t *f16, size_t n, float *out);                                          \
    float om_softmax_##isa(const float *v, size_t n, float *out);                                            \
    size_t om_top_k_##isa(const float *v, size_t n, float least, size_t most, uint32_t *index);              \
    size_t om_ctc_greedy_##isa(const om_scores *s, int32_t blank, om_ctc_symbol *out);                       \
    void om_luma_grid_##isa(const om_image *img, int columns, int rows, uint16_t *work, uint16_t *cells);    \
    uint64_t om_grid_difference_##isa(const uint16_t *a, const uint16_t *b, size_t n, uint16_t above,        \
                                      size_t *changed);                                                      \
    void om_blend_row_##isa(uint8_t *p, size_t n, const uint8_t sample[2], int alpha);                       \
    void om_blend_cover_##isa(uint8_t *p, size_t n, uint8_t sample, const uint16_t *alpha);                  \
    void om_cover_stroke_##isa(const struct om_stroke *s, int x, int y, int n, float *cover);                \
    void om_gemm_##isa(const om_mat *a, const om_mat *b, float *c, size_t c_row, void *work);

OM_DECLARE_VARIANT(c)
OM_DECLARE_VARIANT(avx2)
OM_DECLARE_VARIANT(avx512)

#endif
