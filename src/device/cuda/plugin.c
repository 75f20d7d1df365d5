/* omma-cuda.so: brings the device; it has no engine of its own. */
#include "backend/backend.h"
#include "device/cuda/cuda.h"

const om_plugin *omma_plugin(void);
const om_plugin *omma_plugin(void)
{
    static const om_plugin plugin = {.api_version = OM_BACKEND_API_VERSION, .device = &om_device_cuda};
    return &plugin;
}
