/* Constants on the GPU, each once: programs of one model for several batches share their weights.
 * Thread-safety: one thread at a time; programs that run only read what was made. */
#ifndef OM_BACKEND_CUDA_STORE_H
#define OM_BACKEND_CUDA_STORE_H

#include "device/device.h"

typedef struct omcu_store omcu_store;

int omcu_store_create(om_device *device, omcu_store **out); /* one reference, the caller's */
/* The same for programs that are only timed: large constants share memory of one small number. */
int omcu_store_create_rehearsal(om_device *device, omcu_store **out);
bool omcu_store_rehearses(const omcu_store *s);
omcu_store *omcu_store_ref(omcu_store *s); /* NULL stays NULL */
void omcu_store_unref(omcu_store *s);      /* the last frees all; NULL is allowed */
/* Device memory that holds these bytes (of a rehearsal as many), until the last reference goes. */
int omcu_store_get(omcu_store *s, const void *data, size_t bytes, void **out);
/* Bytes that are held, and bytes that were asked for. */
void omcu_store_sizes(const omcu_store *s, size_t *held, size_t *asked);

#endif
