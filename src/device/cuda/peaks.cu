// A copy that runs over the same bytes again and again, past the multiprocessors' own caches: what the GPU's
// last cache gives.
#include <cuda_runtime.h>

#include "device/cuda/peaks.h"

#define THREADS 512

__global__ static void copy_again(const float4 *from, float4 *to, size_t n, int rounds)
{
    size_t step = (size_t)gridDim.x * THREADS;
    for (int r = 0; r < rounds; r++)
        for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < n; i += step)
            __stcg(to + i, __ldcg(from + i));
}

int om_cuda_copy_again(const void *from, void *to, size_t bytes, int rounds, struct CUstream_st *stream)
{
    int device = 0, units = 1;
    cudaError_t e = cudaGetDevice(&device);
    if (e == cudaSuccess) e = cudaDeviceGetAttribute(&units, cudaDevAttrMultiProcessorCount, device);
    if (e != cudaSuccess) return (int)e;
    copy_again<<<units * 4, THREADS, 0, stream>>>((const float4 *)from, (float4 *)to, bytes / sizeof(float4),
                                                  rounds);
    return (int)cudaGetLastError();
}
