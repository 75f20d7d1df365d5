/* Inside the CUDA device: a kernel that measures. */
#ifndef OM_DEVICE_CUDA_PEAKS_H
#define OM_DEVICE_CUDA_PEAKS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st;

/* Copies `bytes` (a multiple of 16) `rounds` times within one launch. Returns a cudaError_t. */
int om_cuda_copy_again(const void *from, void *to, size_t bytes, int rounds, struct CUstream_st *stream);

#ifdef __cplusplus
}
#endif

#endif
