/* A plug-in that brings nothing. */
#include "backend/backend.h"

const om_plugin *omma_plugin(void);
const om_plugin *omma_plugin(void)
{
    static const om_plugin plugin = {.api_version = OM_BACKEND_API_VERSION};
    return &plugin;
}
