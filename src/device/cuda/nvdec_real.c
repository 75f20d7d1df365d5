/* Finds NVIDIA's libnvcuvid, and passes on what the stand-in has no opinion of. */
#include "device/cuda/nvdec_real.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static nvdec_functions real;
static bool found;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* In libcuda's folder: by its soname alone the stand-in would be found. */
static void *open_beside(void *symbol)
{
    Dl_info where;
    char path[PATH_MAX];
    if (!dladdr(symbol, &where) || !where.dli_fname) return NULL;
    const char *slash = strrchr(where.dli_fname, '/');
    if (!slash) return NULL;
    snprintf(path, sizeof path, "%.*s/" OM_NVDEC_SONAME, (int)(slash - where.dli_fname), where.dli_fname);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static void *find(void *lib, const char *name, void *into)
{
    void *at = dlsym(lib, name);
    memcpy(into, &at, sizeof at);
    return at;
}

static void load(void)
{
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!driver || !find(driver, "cuCtxGetCurrent", &real.get_current)) return;
    void *lib = open_beside(dlsym(driver, "cuCtxGetCurrent"));
    if (!lib) return;
#define NVDEC_FIND(name) find(lib, #name, &real.name);
    NVDEC_EACH(NVDEC_FIND)
    found = real.cuvidCreateDecoder && real.cuvidDestroyDecoder && real.cuvidDecodePicture &&
            real.cuvidMapVideoFrame64 && real.cuvidUnmapVideoFrame64;
}

const nvdec_functions *nvdec_real(void)
{
    pthread_once(&once, load);
    return found ? &real : NULL;
}

#define PASS(name, parameters, arguments)                                                                    \
    OURS CUresult CUDAAPI name parameters                                                                    \
    {                                                                                                        \
        return nvdec_real() && real.name ? real.name arguments : CUDA_ERROR_NOT_SUPPORTED;                   \
    }
PASS(cuvidGetDecoderCaps, (CUVIDDECODECAPS * caps), (caps))
PASS(cuvidCtxLockCreate, (CUvideoctxlock * out, CUcontext context), (out, context))
PASS(cuvidCtxLockDestroy, (CUvideoctxlock l), (l))
PASS(cuvidCtxLock, (CUvideoctxlock l, unsigned int flags), (l, flags))
PASS(cuvidCtxUnlock, (CUvideoctxlock l, unsigned int flags), (l, flags))
PASS(cuvidCreateVideoSource, (CUvideosource * out, const char *file, CUVIDSOURCEPARAMS *as), (out, file, as))
PASS(cuvidCreateVideoSourceW, (CUvideosource * out, const wchar_t *file, CUVIDSOURCEPARAMS *as),
     (out, file, as))
PASS(cuvidDestroyVideoSource, (CUvideosource source), (source))
PASS(cuvidSetVideoSourceState, (CUvideosource source, cudaVideoState to), (source, to))
PASS(cuvidGetSourceVideoFormat, (CUvideosource source, CUVIDEOFORMAT *out, unsigned int flags),
     (source, out, flags))
PASS(cuvidGetSourceAudioFormat, (CUvideosource source, CUAUDIOFORMAT *out, unsigned int flags),
     (source, out, flags))
PASS(cuvidCreateVideoParser, (CUvideoparser * out, CUVIDPARSERPARAMS *as), (out, as))
PASS(cuvidParseVideoData, (CUvideoparser parser, CUVIDSOURCEDATAPACKET *packet), (parser, packet))
PASS(cuvidDestroyVideoParser, (CUvideoparser parser), (parser))

OURS cudaVideoState CUDAAPI cuvidGetVideoSourceState(CUvideosource source)
{
    return nvdec_real() && real.cuvidGetVideoSourceState ? real.cuvidGetVideoSourceState(source)
                                                         : cudaVideoState_Error;
}
