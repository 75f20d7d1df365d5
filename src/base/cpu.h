/* What the processor offers, and how much of it this process may use. */
#ifndef OM_BASE_CPU_H
#define OM_BASE_CPU_H

#include <stdint.h>

#define OM_CPU_AVX2 (1u << 0)   /* AVX2 + FMA + F16C */
#define OM_CPU_AVX512 (1u << 1) /* F, BW, DQ, VL */
#define OM_CPU_VNNI (1u << 2)
#define OM_CPU_BF16 (1u << 3)
#define OM_CPU_AMX (1u << 4)

/* Detected flags, less what om_cpu_mask() took away. */
uint32_t om_cpu_flags(void);
/* Their names, "avx2 vnni"; the calling thread's, until it asks again. */
const char *om_cpu_flags_text(void);
/* Keeps only `mask`'s flags for kernels initialised afterwards. Call before threads start. */
void om_cpu_mask(uint32_t mask);
/* "none", "avx2", "avx512", or a number. OM_ERR_ARG otherwise. */
int om_cpu_mask_parse(const char *text, uint32_t *mask);
/* Cores this process may run on (affinity and cgroup quota, rounded up). */
int om_cpu_count(void);
/* Model name as the kernel tells it, "unknown" if it does not. */
const char *om_cpu_model(void);

#endif
