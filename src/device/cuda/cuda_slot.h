/* Slots of a CUDA device: see om_cuda_slot. */
#ifndef OM_DEVICE_CUDA_CUDA_SLOT_H
#define OM_DEVICE_CUDA_CUDA_SLOT_H

#include "device/cuda/cuda.h"

/* A slot with buffers of `size` bytes and room for `n_frames` references, for the caller alone. Waits for the
 * oldest work where all slots are in flight. Goes back by one of the next two. */
int om_cuda_slot_take(om_device *d, size_t size, size_t n_frames, om_cuda_slot **out);
/* Nothing of it is in flight (any more). */
void om_cuda_slot_return(om_device *d, om_cuda_slot *slot);
/* Its `done` was recorded: it comes back by itself when that is reached. */
void om_cuda_slot_fly(om_device *d, om_cuda_slot *slot);

/* Where its device's work is watched: from here on `stream` is timed, up to `ended`, which the caller
 * records; false: it is not. */
bool om_cuda_slot_begin(om_device *d, om_cuda_slot *slot, struct CUstream_st *stream);

/* Threads that share the copying of a large batch; NULL: there is one core, or there were no threads to have.
 */
om_crew *om_cuda_crew(om_device *d);

/* Unreferences the frames of work that is done. */
void om_cuda_reclaim(om_device *d);
int om_cuda_slots_init(om_device *d);
/* Waits for all work and frees what it used. */
void om_cuda_slots_fini(om_device *d);

#endif
