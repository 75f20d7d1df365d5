/* A GPU by the CUDA runtime: memory, streams, events and copies in the primary context. */
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "device/cuda/cuda.h"
#include "device/cuda/cuda_slot.h"

#define MAX_GPUS 64

/* The primary context is the process's, so a fault in it outlives the device that met it. */
static atomic_bool lost[MAX_GPUS];

static bool is_final(cudaError_t e)
{
    switch (e) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
    case cudaErrorCudartUnloading:
    case cudaErrorUnknown: return true;
    default: return false;
    }
}

/* The two below as om_device_ops.open wants them: without the device's name in front. */
static int check(const om_device *d, cudaError_t e, const char *doing)
{
    if (e == cudaSuccess) return OM_OK;
    (void)cudaGetLastError(); /* or the next call would report it again */
    int err = e == cudaErrorMemoryAllocation ? OM_ERR_NOMEM : OM_ERR_DEVICE;
    if (is_final(e)) {
        atomic_store(&lost[d->index], true);
        err = OM_ERR_DEVICE_LOST;
    }
    return om_fail(err, "%s: %s (%s)", doing, cudaGetErrorString(e), cudaGetErrorName(e));
}

static int enter(const om_device *d)
{
    if (atomic_load(&lost[d->index])) return om_fail(OM_ERR_DEVICE_LOST, "lost by an earlier fault");
    return check(d, cudaSetDevice(d->index), "selecting it");
}

int om_cuda_check(const om_device *d, int cuda_error, const char *doing)
{
    int err = check(d, (cudaError_t)cuda_error, doing);
    return err < 0 ? om_fail_prefix(err, "device %s", d->id) : OM_OK;
}

int om_cuda_enter(const om_device *d)
{
    int err = enter(d);
    return err < 0 ? om_fail_prefix(err, "device %s", d->id) : OM_OK;
}

struct CUstream_st *om_cuda_stream(const om_device *d, om_stream *s)
{
    return s ? (cudaStream_t)(void *)s : om_cuda_of(d)->stream;
}

/* Calls without a stream are done when they return. */
static int settle(const om_device *d, om_stream *s, const char *doing)
{
    return s ? OM_OK : om_cuda_check(d, (int)cudaStreamSynchronize(om_cuda_of(d)->stream), doing);
}

static int cuda_count(void)
{
    int n = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    if (e == cudaSuccess) return n < MAX_GPUS ? n : MAX_GPUS;
    (void)cudaGetLastError();
    if (e == cudaErrorNoDevice) return 0;
    if (e == cudaErrorInsufficientDriver) {
        int driver = 0, runtime = 0;
        if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
            return om_fail(OM_ERR_UNSUPPORTED, "no CUDA driver is installed");
        (void)cudaRuntimeGetVersion(&runtime);
        return om_fail(OM_ERR_UNSUPPORTED, "the CUDA driver is for CUDA %d.%d, expected %d.%d or newer",
                       driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    }
    return om_fail(OM_ERR_DEVICE, "counting GPUs: %s", cudaGetErrorString(e));
}

static void cuda_close(om_device *d)
{
    om_cuda *c = om_cuda_of(d);
    (void)cudaSetDevice(d->index);
    om_cuda_slots_fini(d);
    om_cuda_products_fini(d);
    pthread_mutex_destroy(&c->products_lock);
    if (c->frames) (void)cudaStreamDestroy(c->frames);
    if (c->stream) (void)cudaStreamDestroy(c->stream);
    (void)cudaGetLastError();
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
}

static int cuda_open(om_device *d, int index)
{
    om_cuda *c = om_cuda_of(d);
    int err = enter(d);
    if (!err) err = check(d, cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "making a stream");
    if (!err) err = check(d, cudaStreamCreateWithFlags(&c->frames, cudaStreamNonBlocking), "making a stream");
    if (!err) err = om_cuda_slots_init(d);
    if (err < 0) {
        if (c->frames) (void)cudaStreamDestroy(c->frames);
        if (c->stream) (void)cudaStreamDestroy(c->stream);
        return err;
    }
    om_cuda_usage_init(d);
    pthread_mutex_init(&c->products_lock, NULL);
    return OM_OK;
}

/* The primary context, which every device of this GPU shares: the runtime made it current. Only the driver
 * tells it, which is no library to link against: where there is none, the plug-in still loads and says so. */
static int cuda_native(om_device *d, void **context, void **stream)
{
    CUresult (*get_current)(CUcontext *) = NULL;
    CUcontext current = NULL;
    int err = om_cuda_enter(d);
    if (err < 0) return err;
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    void *symbol = driver ? dlsym(driver, "cuCtxGetCurrent") : NULL;
    memcpy(&get_current, &symbol, sizeof symbol);
    if (!get_current || get_current(&current) != CUDA_SUCCESS || !current)
        return om_fail(OM_ERR_DEVICE, "device %s: the driver does not tell its context", d->id);
    *context = current;
    *stream = om_cuda_of(d)->frames;
    return OM_OK;
}

/* A sticky fault is told by every call: one that asks for nothing will do. */
static bool cuda_lost(om_device *d, bool probe)
{
    if (atomic_load(&lost[d->index])) return true;
    if (!probe || cudaSetDevice(d->index) != cudaSuccess) return atomic_load(&lost[d->index]);
    cudaError_t e = cudaStreamQuery(om_cuda_of(d)->frames);
    if (e == cudaErrorNotReady) (void)cudaGetLastError();
    else if (e != cudaSuccess) (void)check(d, e, "asking for its health");
    return atomic_load(&lost[d->index]);
}

static int cuda_info(om_device *d, om_device_info *out)
{
    struct cudaDeviceProp prop;
    size_t free_bytes = 0, total = 0;
    int err = om_cuda_enter(d);
    if (!err) err = om_cuda_check(d, (int)cudaGetDeviceProperties(&prop, d->index), "asking for its name");
    if (!err) err = om_cuda_check(d, (int)cudaMemGetInfo(&free_bytes, &total), "asking for its memory");
    if (err < 0) return err;
    *out = (om_device_info){.memory_total = (int64_t)total, .memory_free = (int64_t)free_bytes};
    snprintf(out->name, sizeof out->name, "%.120s", prop.name);
    return OM_OK;
}

static int cuda_mem_alloc(om_device *d, size_t size, void **out)
{
    char doing[64];
    int err = om_cuda_enter(d);
    if (err < 0) return err;
    snprintf(doing, sizeof doing, "allocating %zu bytes", size);
    return om_cuda_check(d, (int)cudaMalloc(out, size ? size : 1), doing);
}

static void cuda_mem_free(om_device *d, void *p)
{
    (void)cudaSetDevice(d->index);
    (void)cudaFree(p);
    (void)cudaGetLastError();
}

static int cuda_pinned_alloc(om_device *d, size_t size, void **out)
{
    char doing[64];
    int err = om_cuda_enter(d);
    if (err < 0) return err;
    snprintf(doing, sizeof doing, "pinning %zu bytes of host memory", size);
    return om_cuda_check(d, (int)cudaHostAlloc(out, size ? size : 1, cudaHostAllocPortable), doing);
}

static void cuda_pinned_free(om_device *d, void *p)
{
    (void)cudaSetDevice(d->index);
    (void)cudaFreeHost(p);
    (void)cudaGetLastError();
}

/* CUDA counts urgency downward and clamps it to what the GPU has. */
static int cuda_stream_create(om_device *d, int priority, om_stream **out)
{
    cudaStream_t stream = NULL;
    int err = om_cuda_enter(d);
    if (err < 0) return err;
    err = om_cuda_check(d, (int)cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, -priority),
                        "making a stream");
    if (!err) *out = (om_stream *)(void *)stream;
    return err;
}

static void cuda_stream_destroy(om_device *d, om_stream *s)
{
    (void)cudaSetDevice(d->index);
    (void)cudaStreamDestroy((cudaStream_t)(void *)s);
    (void)cudaGetLastError();
}

static cudaEvent_t event_of(om_event *e) { return (cudaEvent_t)(void *)e; }

/* Waiting threads sleep: there are many more streams than cores. */
static int cuda_event_create(om_device *d, om_event **out)
{
    cudaEvent_t event = NULL;
    int err = om_cuda_enter(d);
    if (err < 0) return err;
    err = om_cuda_check(d,
                        (int)cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync),
                        "making an event");
    if (!err) *out = (om_event *)(void *)event;
    return err;
}

static void cuda_event_destroy(om_device *d, om_event *e)
{
    (void)cudaSetDevice(d->index);
    (void)cudaEventDestroy(event_of(e));
    (void)cudaGetLastError();
}

static int cuda_event_record(om_device *d, om_event *e, om_stream *s)
{
    int err = om_cuda_enter(d);
    if (err < 0) return err;
    return om_cuda_check(d, (int)cudaEventRecord(event_of(e), om_cuda_stream(d, s)), "recording an event");
}

static int cuda_event_wait(om_device *d, om_event *e, om_stream *s)
{
    int err = om_cuda_enter(d);
    if (err < 0) return err;
    err = om_cuda_check(d, (int)cudaStreamWaitEvent(om_cuda_stream(d, s), event_of(e), 0),
                        "letting a stream wait");
    return err < 0 ? err : settle(d, s, "waiting for an event");
}

static int cuda_event_query(om_device *d, om_event *e)
{
    int err = om_cuda_enter(d);
    if (err < 0) return err;
    cudaError_t got = cudaEventQuery(event_of(e));
    if (got == cudaErrorNotReady) {
        (void)cudaGetLastError();
        return om_fail(OM_ERR_AGAIN, "device %s: the event is not reached yet", d->id);
    }
    err = om_cuda_check(d, (int)got, "asking for an event");
    if (!err) om_cuda_reclaim(d);
    return err;
}

static int cuda_event_sync(om_device *d, om_event *e)
{
    int err = om_cuda_enter(d);
    if (err < 0) return err;
    err = om_cuda_check(d, (int)cudaEventSynchronize(event_of(e)), "waiting for an event");
    if (!err) om_cuda_reclaim(d);
    return err;
}

static int cuda_copy(om_device *d, om_copy_kind kind, void *dst, const void *src, size_t size, om_stream *s)
{
    static const enum cudaMemcpyKind kinds[] = {[OM_COPY_TO_DEVICE] = cudaMemcpyHostToDevice,
                                                [OM_COPY_TO_HOST] = cudaMemcpyDeviceToHost,
                                                [OM_COPY_ON_DEVICE] = cudaMemcpyDeviceToDevice};
    int err = om_cuda_enter(d);
    if (err < 0) return err;
    err = om_cuda_check(d, (int)cudaMemcpyAsync(dst, src, size, kinds[kind], om_cuda_stream(d, s)),
                        "copying memory");
    return err < 0 ? err : settle(d, s, "copying memory");
}

const om_device_ops om_device_cuda = {
    .api_version = OM_DEVICE_API_VERSION,
    .name = "cuda",
    .priv_size = sizeof(om_cuda),
    .memory = OM_MEMORY_CUDA,
    .count = cuda_count,
    .open = cuda_open,
    .close = cuda_close,
    .info = cuda_info,
    .mem_alloc = cuda_mem_alloc,
    .mem_free = cuda_mem_free,
    .pinned_alloc = cuda_pinned_alloc,
    .pinned_free = cuda_pinned_free,
    .stream_create = cuda_stream_create,
    .stream_destroy = cuda_stream_destroy,
    .event_create = cuda_event_create,
    .event_destroy = cuda_event_destroy,
    .event_record = cuda_event_record,
    .event_wait = cuda_event_wait,
    .event_query = cuda_event_query,
    .event_sync = cuda_event_sync,
    .copy = cuda_copy,
    .gather = om_cuda_gather,
    .crop = om_cuda_crop,
    .native = cuda_native,
    .usage = om_cuda_usage,
    .peaks = om_cuda_peaks,
    .product = om_cuda_product,
    .lost = cuda_lost,
};
