/* The sink that forgets: it isolates the cost of everything before it. */
#include "sink/registry.h"

#include "base/error.h"

static int null_open(om_sink *s) { return OM_OK; }

static int null_write(om_sink *s, const om_result *r) { return OM_OK; }

static int null_close(om_sink *s) { return OM_OK; }

const om_sink_ops om_sink_null = {
    .name = "null",
    .target = "(nothing)",
    .help = "counts results and forgets them",
    .open = null_open,
    .write = null_write,
    .close = null_close,
};
