/* omma's spans as NVTX ranges of the domain "omma", for Nsight's tools; the id is the range's payload. Where
 * no tool watches this process there is no domain, and nobody is told anything. */
#include <nvtx3/nvToolsExt.h>

#include "device/cuda/cuda.h"
#include "trace/trace.h"

static nvtxDomainHandle_t domain;

static void push(const char *name, int64_t id)
{
    nvtxEventAttributes_t a = {.version = NVTX_VERSION,
                               .size = NVTX_EVENT_ATTRIB_STRUCT_SIZE,
                               .messageType = NVTX_MESSAGE_TYPE_ASCII,
                               .message.ascii = name};
    if (id >= 0) {
        a.payloadType = NVTX_PAYLOAD_TYPE_INT64;
        a.payload.llValue = id;
    }
    (void)nvtxDomainRangePushEx(domain, &a);
}

static void pop(void) { (void)nvtxDomainRangePop(domain); }

void om_cuda_nvtx_attach(void)
{
    static const om_trace_tool tool = {.push = push, .pop = pop};
    domain = nvtxDomainCreateA("omma");
    if (domain) om_trace_set_tool(&tool);
}
