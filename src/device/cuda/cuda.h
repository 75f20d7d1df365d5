/* What the files of the CUDA device share. */
#ifndef OM_DEVICE_CUDA_CUDA_H
#define OM_DEVICE_CUDA_CUDA_H

#include <pthread.h>

#include "base/crew.h"
#include "base/thread.h"
#include "device/device.h"

struct CUstream_st;
struct CUevent_st;

#define OM_CUDA_SLOTS 8 /* batches of one device that are uploaded or written at a time */

/* What one gather needs until its work is done: descriptors and host pictures, and the frames it reads. */
typedef struct om_cuda_slot {
    uint8_t *pinned, *device; /* `size` bytes each */
    size_t size;
    struct CUevent_st *done;    /* recorded after the launch */
    struct CUevent_st *written; /* the frames that are read were written before it */
    struct CUevent_st *began,
        *ended; /* around the work, where it is timed; made when it is for the first time */
    bool timed;
    om_frame **frames; /* references held */
    size_t n_frames, cap_frames;
    size_t *places; /* where in the buffers each picture of a batch lies */
    size_t cap_places;
    uint64_t order; /* of its launch among the device's; guarded by the device's lock */
    enum { OM_CUDA_IDLE, OM_CUDA_FILLING, OM_CUDA_FLYING } state; /* guarded by the device's lock */
} om_cuda_slot;

/* om_device.priv */
typedef struct om_cuda {
    struct CUstream_st *stream; /* for callers without one; they wait for it */
    struct CUstream_st
        *frames;          /* decoders and crops write frames here; who reads them waits for it, on the GPU */
    pthread_mutex_t lock; /* guards the slots' states and orders, `launches` and `closing` */
    pthread_cond_t changed; /* of a slot's state */
    om_cuda_slot slots[OM_CUDA_SLOTS];
    uint64_t launches;
    bool closing;
    om_crew *crew;   /* copies large batches of host pictures; NULL: not made; guarded by the lock */
    bool crew_tried; /* guarded by the lock */
    om_thread
        reaper; /* gives frames back as soon as their work is done, so that nobody else has to wait for it */
    void *nvml; /* its device; NULL: not told */
    pthread_mutex_t products_lock;     /* one product at a time; guards what follows */
    struct om_cuda_products *products; /* made when the first is asked for */
} om_cuda;

static inline om_cuda *om_cuda_of(const om_device *d) { return d->priv; }

/* Makes the calling thread speak to this GPU; OM_ERR_DEVICE_LOST where it is lost. */
int om_cuda_enter(const om_device *d);
/* OM_OK for a cudaError_t of success; else the om_err that fits, its sentence set. A fault that outlives the
 * call marks the GPU lost for this process. */
int om_cuda_check(const om_device *d, int cuda_error, const char *doing);
/* The stream itself, or the device's own for NULL. */
struct CUstream_st *om_cuda_stream(const om_device *d, om_stream *s);

/* The stream waits for what decoders and crops have written so far. */
int om_cuda_after_frames(const om_device *d, om_cuda_slot *slot, struct CUstream_st *stream);

/* om_device_ops.crop, usage, and what the latter needs. */
int om_cuda_crop(om_device *d, om_frame *src, int x, int y, int w, int h, om_stream *s, om_frame **out);
int om_cuda_usage(om_device *d, om_device_usage *out);
void om_cuda_usage_init(om_device *d);
/* om_device_ops.peaks */
int om_cuda_peaks(om_device *d, om_device_peaks *out);
/* om_device_ops.product, and what it leaves behind */
int om_cuda_product(om_device *d, const om_mat *a, const om_mat *b, float *c, size_t c_row);
void om_cuda_products_fini(om_device *d);
/* om_device_ops.gather */
int om_cuda_gather(om_device *d, const om_gather_item *items, size_t n, const om_prep *prep, om_stream *s);
/* From now on spans are NVTX ranges, where one of NVIDIA's tools watches this process. */
void om_cuda_nvtx_attach(void);
extern const om_device_ops om_device_cuda;

#endif
