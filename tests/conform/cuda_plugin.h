/* What the tests of the CUDA plug-in share: finding it, or saying why there is nothing to test. */
#ifndef OM_TEST_CUDA_PLUGIN_H
#define OM_TEST_CUDA_PLUGIN_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "base/error.h"

#define SKIPPED 77

static const om_plugin_state *cuda_state(void)
{
    const om_plugin_state *plugins;
    size_t n = om_plugins(&plugins);
    for (size_t i = 0; i < n; i++)
        if (strcmp(plugins[i].name, "cuda") == 0) return &plugins[i];
    return NULL;
}

static int skipped(const char *why)
{
    printf("skipped: %s\n", why);
    return SKIPPED;
}

/* 0, or the exit status of a program that has nothing to test. `out` may be NULL. */
static int open_cuda(om_device **out)
{
    const om_plugin_state *found = cuda_state();
    if (!found) return skipped("the plug-in omma-cuda.so is not there");
    if (!found->loaded) {
        printf("%s: %s\n", found->path, found->state);
        return 1;
    }
    int count = om_device_find("cuda")->count();
    if (count <= 0) return skipped(count < 0 ? om_error_message() : "no GPU");
    if (!out || om_device_open("cuda", out) == 0) return 0;
    printf("%s\n", om_error_message());
    return 1;
}

/* A function of the plug-in's own. Ends the program where it is not there. */
static inline void cuda_symbol(const char *name, void *to)
{
    void *handle = dlopen(cuda_state()->path, RTLD_NOW | RTLD_NOLOAD),
         *symbol = handle ? dlsym(handle, name) : NULL;
    if (!symbol) {
        printf("%s: no %s\n", cuda_state()->path, name);
        exit(1);
    }
    memcpy(to, &symbol, sizeof symbol);
}

#endif
