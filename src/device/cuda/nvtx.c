/* omma's spans as NVTX ranges of the domain "omma", for Nsight's tools; the id is the range's payload. Where
 * no tool watches this process there is no domain, and nobody is told anything. */
#include <nvtx3/nvToolsExt.h>
#include <pthread.h>
#include <string.h>

#include "device/cuda/cuda.h"
#include "trace/trace.h"

static nvtxDomainHandle_t domain;

static nvtxEventAttributes_t describe(const char *name, int64_t id)
{
    nvtxEventAttributes_t a = {.version = NVTX_VERSION,
                               .size = NVTX_EVENT_ATTRIB_STRUCT_SIZE,
                               .messageType = NVTX_MESSAGE_TYPE_ASCII,
                               .message.ascii = name};
    if (id >= 0) {
        a.payloadType = NVTX_PAYLOAD_TYPE_INT64;
        a.payload.llValue = id;
    }
    return a;
}

static void push(const char *name, int64_t id)
{
    nvtxEventAttributes_t a = describe(name, id);
    (void)nvtxDomainRangePushEx(domain, &a);
}

static void pop(void) { (void)nvtxDomainRangePop(domain); }

/* Ranges that are open across threads; what does not fit is not told. */
#define MAX_OPEN 256
static struct open_range {
    const char *name;
    int64_t id;
    nvtxRangeId_t range;
} opened[MAX_OPEN];
static int n_opened;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards both */

static void async(const char *name, int64_t id, bool begin)
{
    nvtxEventAttributes_t a = describe(name, id);
    pthread_mutex_lock(&lock);
    if (begin && n_opened < MAX_OPEN) {
        opened[n_opened++] = (struct open_range){name, id, nvtxDomainRangeStartEx(domain, &a)};
    } else if (!begin) {
        int i = 0;
        while (i < n_opened && (opened[i].id != id || strcmp(opened[i].name, name))) i++;
        if (i < n_opened) {
            nvtxDomainRangeEnd(domain, opened[i].range);
            opened[i] = opened[--n_opened];
        }
    }
    pthread_mutex_unlock(&lock);
}

void om_cuda_nvtx_attach(void)
{
    static const om_trace_tool tool = {.push = push, .pop = pop, .async = async};
    domain = nvtxDomainCreateA("omma");
    if (domain) om_trace_set_tool(&tool);
}
