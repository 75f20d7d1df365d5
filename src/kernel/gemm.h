/* Sizes of the panels that om_kernels.gemm packs. Private to the room. */
#ifndef OM_KERNEL_GEMM_H
#define OM_KERNEL_GEMM_H

/* Whole tiles of every variant fit: multiples of 6 rows and of 32 columns. */
#define OM_GEMM_ROWS 96
#define OM_GEMM_COLUMNS 256
#define OM_GEMM_DEPTH 256

#endif
