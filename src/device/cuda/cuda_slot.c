/* Slots: a batch's descriptors, its uploaded pictures and its frames, kept until its work is done. */
#include <cuda_runtime_api.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "device/cuda/cuda_slot.h"
#include "trace/trace.h"

#define GROW_STEP ((size_t)1 << 20)
#define HELPERS 3 /* a memory bus has enough of four threads that copy */

static void drop_frames(om_cuda_slot *slot)
{
    for (size_t i = 0; i < slot->n_frames; i++) om_frame_unref(slot->frames[i]);
    slot->n_frames = 0;
}

static void set_idle(om_cuda *c, om_cuda_slot *slot)
{
    pthread_mutex_lock(&c->lock);
    slot->state = OM_CUDA_IDLE;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

/* The slot whose launch is the oldest, or NULL. Under the lock. */
static om_cuda_slot *oldest_flying(om_cuda *c)
{
    om_cuda_slot *found = NULL;
    for (int i = 0; i < OM_CUDA_SLOTS; i++) {
        om_cuda_slot *s = &c->slots[i];
        if (s->state == OM_CUDA_FLYING && (!found || s->order < found->order)) found = s;
    }
    return found;
}

static om_cuda_slot *first_idle(om_cuda *c)
{
    for (int i = 0; i < OM_CUDA_SLOTS; i++)
        if (c->slots[i].state == OM_CUDA_IDLE) return &c->slots[i];
    return NULL;
}

/* The next slot whose work is done, taken out of flight; NULL: none. A failed event counts as done: a lost
 * GPU reads no more frames. */
static om_cuda_slot *take_done(om_cuda *c)
{
    om_cuda_slot *found = NULL;
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < OM_CUDA_SLOTS && !found; i++)
        if (c->slots[i].state == OM_CUDA_FLYING && cudaEventQuery(c->slots[i].done) != cudaErrorNotReady)
            found = &c->slots[i];
    (void)cudaGetLastError();
    if (found) found->state = OM_CUDA_FILLING;
    pthread_mutex_unlock(&c->lock);
    return found;
}

bool om_cuda_slot_begin(om_device *d, om_cuda_slot *slot, struct CUstream_st *stream)
{
    slot->timed = om_device_work_watched(d) &&
                  (slot->began || cudaEventCreate(&slot->began) == cudaSuccess) &&
                  (slot->ended || cudaEventCreate(&slot->ended) == cudaSuccess) &&
                  cudaEventRecord(slot->began, stream) == cudaSuccess;
    if (!slot->timed) (void)cudaGetLastError();
    return slot->timed;
}

/* The time of work that is done; a failure counts nothing. */
static void count_time(om_device *d, om_cuda_slot *slot)
{
    float ms = 0;
    if (!slot->timed) return;
    slot->timed = false;
    if (cudaEventElapsedTime(&ms, slot->began, slot->ended) != cudaSuccess) {
        (void)cudaGetLastError();
        return;
    }
    int64_t now = om_now_ns();
    om_trace_past("gpu gather", (int64_t)(intptr_t)slot, now - (int64_t)((double)ms * 1e6), now);
    om_device_count_work(d, OM_WORK_GATHER, (double)ms / 1e3);
}

void om_cuda_reclaim(om_device *d)
{
    om_cuda *c = om_cuda_of(d);
    for (om_cuda_slot *slot; (slot = take_done(c));) {
        count_time(d, slot);
        drop_frames(slot); /* outside the lock: a frame's release is its owner's code */
        set_idle(c, slot);
    }
}

/* A slot for this caller alone; waits where all are in flight, until the reaper has one back. */
static om_cuda_slot *acquire(om_device *d)
{
    om_cuda *c = om_cuda_of(d);
    om_cuda_slot *slot;
    bool waited = false;
    pthread_mutex_lock(&c->lock);
    for (; !(slot = first_idle(c)); waited = true) pthread_cond_wait(&c->changed, &c->lock);
    slot->state = OM_CUDA_FILLING;
    pthread_mutex_unlock(&c->lock);
    if (waited) om_device_count_sync(d);
    return slot;
}

/* Waits for the oldest work, always, so that frames come home when it is done and not when somebody happens
 * to ask. */
static void *reap(void *arg)
{
    om_device *d = arg;
    om_cuda *c = om_cuda_of(d);
    (void)cudaSetDevice(d->index);
    pthread_mutex_lock(&c->lock);
    while (!c->closing) {
        om_cuda_slot *slot = oldest_flying(c);
        if (!slot) {
            pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        pthread_mutex_unlock(&c->lock);
        (void)cudaEventSynchronize(slot->done); /* a fault shows in the calls of others */
        om_cuda_reclaim(d);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void free_buffers(om_device *d, om_cuda_slot *slot)
{
    if (slot->pinned) (void)cudaFreeHost(slot->pinned);
    om_device_mem_free(d, slot->device);
    slot->pinned = slot->device = NULL;
    slot->size = 0;
}

static int fit(om_device *d, om_cuda_slot *slot, size_t size, size_t n_frames)
{
    if (!slot->done) {
        int err = om_cuda_check(
            d, (int)cudaEventCreateWithFlags(&slot->done, cudaEventDisableTiming | cudaEventBlockingSync),
            "making an event");
        if (err < 0) return err;
    }
    if (!slot->written) {
        int err = om_cuda_check(d, (int)cudaEventCreateWithFlags(&slot->written, cudaEventDisableTiming),
                                "making an event");
        if (err < 0) return err;
    }
    int err = om_grow((void **)&slot->frames, &slot->cap_frames, n_frames, sizeof(*slot->frames));
    if (!err) err = om_grow((void **)&slot->places, &slot->cap_places, n_frames, sizeof(*slot->places));
    if (err < 0 || size <= slot->size) return err;
    free_buffers(d, slot);
    size = (size + GROW_STEP - 1) / GROW_STEP * GROW_STEP;
    err = om_cuda_check(d, (int)cudaHostAlloc((void **)&slot->pinned, size, cudaHostAllocPortable),
                        "pinning memory for pictures");
    if (!err) err = om_device_mem_alloc_for(d, OM_PURPOSE_STAGING, size, (void **)&slot->device);
    if (err < 0) free_buffers(d, slot);
    else slot->size = size;
    return err;
}

int om_cuda_slot_take(om_device *d, size_t size, size_t n_frames, om_cuda_slot **out)
{
    om_cuda_slot *slot = acquire(d);
    int err = fit(d, slot, size, n_frames);
    *out = err < 0 ? NULL : slot;
    if (err < 0) set_idle(om_cuda_of(d), slot);
    return err;
}

void om_cuda_slot_return(om_device *d, om_cuda_slot *slot)
{
    drop_frames(slot);
    slot->timed = false;
    set_idle(om_cuda_of(d), slot);
}

void om_cuda_slot_fly(om_device *d, om_cuda_slot *slot)
{
    om_cuda *c = om_cuda_of(d);
    pthread_mutex_lock(&c->lock);
    slot->order = c->launches++;
    slot->state = OM_CUDA_FLYING;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

om_crew *om_cuda_crew(om_device *d)
{
    om_cuda *c = om_cuda_of(d);
    pthread_mutex_lock(&c->lock);
    if (!c->crew_tried) {
        int cores = om_cpu_count();
        int helpers = cores > HELPERS ? HELPERS : cores - 1;
        c->crew_tried = true;
        if (helpers > 0 && om_crew_create("om-cuda-copy", helpers, &c->crew) != OM_OK) om_error_clear();
    }
    om_crew *crew = c->crew;
    pthread_mutex_unlock(&c->lock);
    return crew;
}

int om_cuda_after_frames(const om_device *d, om_cuda_slot *slot, struct CUstream_st *stream)
{
    int err =
        om_cuda_check(d, (int)cudaEventRecord(slot->written, om_cuda_of(d)->frames), "recording an event");
    return err < 0 ? err
                   : om_cuda_check(d, (int)cudaStreamWaitEvent(stream, slot->written, 0), "ordering streams");
}

int om_cuda_slots_init(om_device *d)
{
    om_cuda *c = om_cuda_of(d);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    return om_thread_start(&c->reaper, "om-cuda-frames", reap, d);
}

void om_cuda_slots_fini(om_device *d)
{
    om_cuda *c = om_cuda_of(d);
    pthread_mutex_lock(&c->lock);
    c->closing = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    om_thread_join(&c->reaper);
    for (int i = 0; i < OM_CUDA_SLOTS; i++) {
        om_cuda_slot *slot = &c->slots[i];
        if (slot->state == OM_CUDA_FLYING) (void)cudaEventSynchronize(slot->done);
        drop_frames(slot);
        free_buffers(d, slot);
        if (slot->done) (void)cudaEventDestroy(slot->done);
        if (slot->written) (void)cudaEventDestroy(slot->written);
        if (slot->began) (void)cudaEventDestroy(slot->began);
        if (slot->ended) (void)cudaEventDestroy(slot->ended);
        om_free(slot->frames);
        om_free(slot->places);
    }
    om_crew_destroy(c->crew);
}
