/* NVIDIA's libraries, found when somebody wants them: the plug-in loads without. */
#ifndef OM_DEVICE_CUDA_LIBRARY_H
#define OM_DEVICE_CUDA_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

typedef struct om_cuda_symbol {
    const char *name;
    void **to;
} om_cuda_symbol;

/* Loads the first of `files` (NULL-terminated) that is there, from $`variable` first, and fills the symbols.
 * NULL, or why not (static text). Not thread-safe: call under the caller's pthread_once. */
const char *om_cuda_library_load(const char *variable, const char *const *files,
                                 const om_cuda_symbol *symbols, size_t n);

#endif
