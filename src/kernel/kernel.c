#include "kernel/kernel.h"

#include <pthread.h>

#include "base/cpu.h"
#include "kernel/gemm.h"
#include "kernel/nms_work.h"
#include "kernel/variant.h"

#define OM_TABLE(isa)                                                                                        \
    {                                                                                                        \
        .letterbox = om_letterbox_##isa, .rois = om_rois_##isa, .warp = om_warp_##isa, .nms = om_nms_##isa,  \
        .column_max = om_column_max_##isa, .pick = om_pick_##isa, .largest = om_largest_##isa,               \
        .widen = om_widen_##isa, .softmax = om_softmax_##isa, .top_k = om_top_k_##isa,                       \
        .ctc_greedy = om_ctc_greedy_##isa, .luma_grid = om_luma_grid_##isa,                                  \
        .grid_difference = om_grid_difference_##isa, .blend_row = om_blend_row_##isa,                        \
        .blend_cover = om_blend_cover_##isa, .cover_stroke = om_cover_stroke_##isa, .gemm = om_gemm_##isa,   \
        .name = #isa,                                                                                        \
    }

void om_kernels_init(om_kernels *k, uint32_t cpu_flags)
{
    *k = (om_kernels)OM_TABLE(c);
#if defined(__x86_64__)
    if (cpu_flags & OM_CPU_AVX2) *k = (om_kernels)OM_TABLE(avx2);
    if (cpu_flags & OM_CPU_AVX512) *k = (om_kernels)OM_TABLE(avx512);
#endif
}

size_t om_nms_work_size(size_t n)
{
    size_t bucket = 2 * sizeof(uint32_t), candidate = 2 * sizeof(om_nms_entry) + bucket + sizeof(uint32_t);
    return n * candidate + om_nms_table_size(n) * sizeof(om_nms_class) +
           5 * (n + OM_NMS_SLACK) * sizeof(float);
}

size_t om_gemm_work_size(void) { return sizeof(float) * OM_GEMM_DEPTH * (OM_GEMM_ROWS + OM_GEMM_COLUMNS); }

static om_kernels table;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_table(void) { om_kernels_init(&table, om_cpu_flags()); }

const om_kernels *om_kernels_get(void)
{
    pthread_once(&once, fill_table);
    return &table;
}
