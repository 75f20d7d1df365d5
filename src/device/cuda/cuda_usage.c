/* What a GPU does and holds, as NVIDIA's management library tells it. The library comes with the driver; its
 * few types are written out here, since CUDA's toolkit does not always bring its header. */
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "device/cuda/cuda.h"

#define MAX_PROCESSES 64
/* Why clocks are low: the power cap, hardware slowdown, heat (software, hardware), the power brake. */
#define HELD_BACK (0x4ull | 0x8ull | 0x20ull | 0x40ull | 0x80ull)

typedef struct shares {
    unsigned gpu, memory; /* per cent */
} shares;

typedef struct bytes {
    unsigned long long total, free, used;
} bytes;

typedef struct process {
    unsigned pid;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
} process;

/* Each answers 0 for success. */
static struct nvml {
    int (*init)(void);
    int (*by_bus)(const char *bus, void **device);
    int (*shares)(void *device, shares *out);
    int (*decoder)(void *device, unsigned *percent, unsigned *period_us);
    int (*encoder)(void *device, unsigned *percent, unsigned *period_us);
    int (*memory)(void *device, bytes *out);
    int (*power)(void *device, unsigned *mw);
    int (*processes)(void *device, unsigned *n, process *out); /* may be missing, as those below */
    int (*power_limit)(void *device, unsigned *mw);
    int (*slowed)(void *device, unsigned long long *reasons);
    bool usable;
} nvml;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ISO C has no conversion from void * to a function pointer; POSIX promises that the bytes are the same. */
static bool find(void *library, const char *name, void *to)
{
    void *symbol = dlsym(library, name);
    memcpy(to, &symbol, sizeof symbol);
    return symbol != NULL;
}

static void load(void)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    bool all = find(library, "nvmlInit_v2", &nvml.init) &&
               find(library, "nvmlDeviceGetHandleByPciBusId_v2", &nvml.by_bus) &&
               find(library, "nvmlDeviceGetUtilizationRates", &nvml.shares) &&
               find(library, "nvmlDeviceGetDecoderUtilization", &nvml.decoder) &&
               find(library, "nvmlDeviceGetEncoderUtilization", &nvml.encoder) &&
               find(library, "nvmlDeviceGetMemoryInfo", &nvml.memory) &&
               find(library, "nvmlDeviceGetPowerUsage", &nvml.power);
    (void)find(library, "nvmlDeviceGetComputeRunningProcesses_v3", &nvml.processes);
    (void)find(library, "nvmlDeviceGetEnforcedPowerLimit", &nvml.power_limit);
    (void)find(library, "nvmlDeviceGetCurrentClocksThrottleReasons", &nvml.slowed);
    nvml.usable = all && nvml.init() == 0;
}

void om_cuda_usage_init(om_device *d)
{
    char bus[32];
    om_cuda *c = om_cuda_of(d);
    pthread_once(&once, load);
    if (!nvml.usable || cudaDeviceGetPCIBusId(bus, sizeof bus, d->index) != cudaSuccess) return;
    if (nvml.by_bus(bus, &c->nvml) != 0) c->nvml = NULL;
}

static int64_t memory_of_process(void *device)
{
    process list[MAX_PROCESSES];
    unsigned n = MAX_PROCESSES;
    if (!nvml.processes || nvml.processes(device, &n, list) != 0) return -1;
    for (unsigned i = 0; i < n && i < MAX_PROCESSES; i++)
        if (list[i].pid == (unsigned)getpid() && list[i].memory != ~0ull) return (int64_t)list[i].memory;
    return -1;
}

int om_cuda_usage(om_device *d, om_device_usage *out)
{
    shares s;
    bytes b;
    unsigned percent, period, mw;
    void *device = om_cuda_of(d)->nvml;
    if (!device)
        return om_fail(OM_ERR_UNSUPPORTED, "device %s: the driver's libnvidia-ml.so.1 tells nothing of it",
                       d->id);
    if (nvml.shares(device, &s) == 0) out->compute_percent = s.gpu;
    if (nvml.decoder(device, &percent, &period) == 0) out->decode_percent = percent;
    if (nvml.encoder(device, &percent, &period) == 0) out->encode_percent = percent;
    if (nvml.power(device, &mw) == 0) out->power_w = mw / 1000.0;
    if (nvml.memory(device, &b) == 0) out->memory_used = (int64_t)b.used;
    unsigned long long reasons;
    if (nvml.power_limit && nvml.power_limit(device, &mw) == 0) out->power_limit_w = mw / 1000.0;
    if (nvml.slowed && nvml.slowed(device, &reasons) == 0) out->held_back = (reasons & HELD_BACK) != 0;
    out->memory_process = memory_of_process(device);
    return OM_OK;
}
