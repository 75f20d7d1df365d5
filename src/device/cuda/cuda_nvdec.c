/* Puts the library that shares decoder sessions before NVIDIA's, for all that ask for NVDEC from then on. */
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "device/cuda/cuda.h"
#include "device/nvdec.h"

/* For good: FFmpeg opens and closes it with each decoder. */
static void load(void)
{
    Dl_info where;
    char path[PATH_MAX];
    const char *wish = getenv("OMMA_NVDEC_SHARE"), *slash;
    void *at;
    if (wish && !strcmp(wish, "0")) return;
    void (*here)(void) = load;
    memcpy(&at, &here, sizeof at);
    if (!dladdr(at, &where) || !(slash = strrchr(where.dli_fname, '/'))) return;
    snprintf(path, sizeof path, "%.*s/" OM_NVDEC_FILE, (int)(slash - where.dli_fname), where.dli_fname);
    void *lib = dlopen(OM_NVDEC_SONAME, RTLD_NOW | RTLD_NOLOAD);
    if (lib) {
        dlclose(lib);
        om_log(OM_LOG_DEBUG, "NVDEC is in use already: streams share no sessions");
    } else if (!dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)) {
        om_log(OM_LOG_DEBUG, "streams share no decoder sessions: %s", dlerror());
    }
}

void om_cuda_share_decoders(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
}
