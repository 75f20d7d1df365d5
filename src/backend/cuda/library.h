/* NVIDIA's libraries, found when the first plan wants them: the plug-in loads without. */
#ifndef OM_BACKEND_CUDA_LIBRARY_H
#define OM_BACKEND_CUDA_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

typedef struct omcu_symbol {
    const char *name;
    void **to;
} omcu_symbol;

/* Loads the first of `files` (NULL-terminated) that is there, from $`variable` first, and fills the symbols.
 * NULL, or why not (static text). Not thread-safe: call under the caller's pthread_once. */
const char *omcu_library_load(const char *variable, const char *const *files, const omcu_symbol *symbols,
                              size_t n);

#endif
