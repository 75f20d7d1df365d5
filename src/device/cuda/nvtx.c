/* omma's spans as NVTX ranges, for Nsight's tools: they are told while tracing is on. */
#include <nvtx3/nvToolsExt.h>

#include "device/cuda/cuda.h"
#include "trace/trace.h"

static void push(const char *name, int64_t id) { nvtxRangePushA(name); }

static void pop(void) { nvtxRangePop(); }

void om_cuda_nvtx_attach(void)
{
    static const om_trace_tool tool = {.push = push, .pop = pop};
    om_trace_set_tool(&tool);
}
