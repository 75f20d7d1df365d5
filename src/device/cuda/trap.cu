// A fault on purpose, so that tests can meet a real one: an instruction that stops the GPU's context for
// good.
#include <cuda_runtime.h>

extern "C" int omma_cuda_trap(int index);

namespace
{
__global__ void trap() { asm("trap;"); }
} // namespace

// Exported for tests alone; nothing of omma calls it. Returns the cudaError_t that the fault shows as.
int omma_cuda_trap(int index)
{
    cudaError_t e = cudaSetDevice(index);
    if (e != cudaSuccess) return e;
    trap<<<1, 1>>>();
    return cudaDeviceSynchronize();
}
