/* A plug-in of a device alone, which says why none of its kind can be used. */
#include "backend/backend.h"
#include "base/error.h"
#include "device/host.h"

static int count(void) { return om_fail(OM_ERR_UNSUPPORTED, "its cable is unplugged"); }

const om_plugin *omma_plugin(void);
const om_plugin *omma_plugin(void)
{
    static om_device_ops device;
    static const om_plugin plugin = {.api_version = OM_BACKEND_API_VERSION, .device = &device};
    device = om_device_host;
    device.name = "gadget";
    device.count = count;
    return &plugin;
}
