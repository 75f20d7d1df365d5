#include "device/cuda/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

const char *om_cuda_library_load(const char *variable, const char *const *files,
                                 const om_cuda_symbol *symbols, size_t n)
{
    static _Thread_local char why[256];
    const char *own = getenv(variable);
    void *lib = own && *own ? dlopen(own, RTLD_NOW | RTLD_LOCAL) : NULL;
    for (; !lib && *files; files++) lib = dlopen(*files, RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        snprintf(why, sizeof why, "%.200s", dlerror());
        return why;
    }
    for (size_t i = 0; i < n; i++) {
        *symbols[i].to = dlsym(lib, symbols[i].name);
        if (*symbols[i].to) continue;
        snprintf(why, sizeof why, "it lacks %s", symbols[i].name);
        return why;
    }
    return NULL;
}
