/* The kernels' files are compiled once for plain C and once more for each instruction set worth it; OM_ISA
 * names the one at hand. The arithmetic is the same in all (no contraction), so their results are equal bit
 * for bit. */
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
    size_t om_nms_##isa(const float *boxes, const float *scores, const int32_t *classes, size_t n,           \
                        float iou, bool agnostic, size_t max_out, uint32_t *keep, void *work);               \
    void om_column_max_##isa(const float *m, size_t stride, size_t rows, size_t n, float *best, int32_t *row);

OM_DECLARE_VARIANT(c)
OM_DECLARE_VARIANT(avx2)

#endif
