/* omma-cuda.so: brings the device and the engine. */
#include "backend/backend.h"
#include "device/cuda/cuda.h"

extern const om_backend_ops om_backend_cuda; /* backend/cuda: the other half of this plug-in */

const om_plugin *omma_plugin(void);
const om_plugin *omma_plugin(void)
{
    static const om_plugin plugin = {
        .api_version = OM_BACKEND_API_VERSION, .backend = &om_backend_cuda, .device = &om_device_cuda};
    om_cuda_nvtx_attach();
    return &plugin;
}
