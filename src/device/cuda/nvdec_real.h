/* NVIDIA's own libnvcuvid, behind the stand-in of the same name. */
#ifndef OM_DEVICE_CUDA_NVDEC_REAL_H
#define OM_DEVICE_CUDA_NVDEC_REAL_H

#include <cuda.h>
#include <ffnvcodec/dynlink_cuviddec.h>
#include <ffnvcodec/dynlink_nvcuvid.h>

#include "device/nvdec.h"

#define OURS __attribute__((visibility("default")))

#define NVDEC_EACH(X)                                                                                        \
    X(cuvidGetDecoderCaps)                                                                                   \
    X(cuvidCreateDecoder)                                                                                    \
    X(cuvidDestroyDecoder)                                                                                   \
    X(cuvidDecodePicture)                                                                                    \
    X(cuvidGetDecodeStatus)                                                                                  \
    X(cuvidReconfigureDecoder)                                                                               \
    X(cuvidMapVideoFrame64)                                                                                  \
    X(cuvidUnmapVideoFrame64)                                                                                \
    X(cuvidCtxLockCreate)                                                                                    \
    X(cuvidCtxLockDestroy)                                                                                   \
    X(cuvidCtxLock)                                                                                          \
    X(cuvidCtxUnlock)                                                                                        \
    X(cuvidCreateVideoSource)                                                                                \
    X(cuvidCreateVideoSourceW)                                                                               \
    X(cuvidDestroyVideoSource)                                                                               \
    X(cuvidSetVideoSourceState)                                                                              \
    X(cuvidGetVideoSourceState)                                                                              \
    X(cuvidGetSourceVideoFormat)                                                                             \
    X(cuvidGetSourceAudioFormat)                                                                             \
    X(cuvidCreateVideoParser)                                                                                \
    X(cuvidParseVideoData)                                                                                   \
    X(cuvidDestroyVideoParser)

#define NVDEC_DECLARE(name) OURS t##name name;
NVDEC_EACH(NVDEC_DECLARE)

typedef struct nvdec_functions {
#define NVDEC_MEMBER(name) t##name *name;
    NVDEC_EACH(NVDEC_MEMBER)
    CUresult (*get_current)(CUcontext *);
} nvdec_functions;

/* NULL where it is not there. Looked for once; from any thread. */
const nvdec_functions *nvdec_real(void);

#endif
