#include "kernel/kernel.h"

#include <pthread.h>

#include "base/cpu.h"
#include "kernel/variant.h"

void om_kernels_init(om_kernels *k, uint32_t cpu_flags)
{
    *k = (om_kernels){
        .letterbox = om_letterbox_c, .nms = om_nms_c, .column_max = om_column_max_c, .name = "c"};
#if defined(__x86_64__)
    if (cpu_flags & OM_CPU_AVX2)
        *k = (om_kernels){.letterbox = om_letterbox_avx2,
                          .nms = om_nms_avx2,
                          .column_max = om_column_max_avx2,
                          .name = "avx2"};
#endif
}

size_t om_nms_work_size(size_t n) { return n * (4 * sizeof(uint32_t) + 5 * sizeof(float) + sizeof(int32_t)); }

static om_kernels table;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_table(void) { om_kernels_init(&table, om_cpu_flags()); }

const om_kernels *om_kernels_get(void)
{
    pthread_once(&once, fill_table);
    return &table;
}
