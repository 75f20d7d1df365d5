/* The host as a device: its memory is ordinary memory, its work is done when a call returns. */
#ifndef OM_DEVICE_HOST_H
#define OM_DEVICE_HOST_H

#include "device/device.h"

extern const om_device_ops om_device_host;

#endif
