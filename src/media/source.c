#include "media/source.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "media/camera.h"
#include "media/source_ops.h"
#include "trace/trace.h"

#define OPEN_TIMEOUT_MS 5000
#define READ_TIMEOUT_MS 10000
#define BACKOFF_MS 500
#define BACKOFF_MAX_MS 30000

/* The first that accepts a URI gets it: from the special forms to the plain path. */
static const om_source_ops *const registry[] = {
    &om_source_pattern,
    &om_source_rtsp,
    &om_source_http,
    &om_source_v4l2,
    &om_source_images,
    &om_source_file,
    NULL,
};

const om_source_ops *const *om_source_registry(void) { return registry; }

static const om_source_ops *find_ops(const char *uri)
{
    for (size_t i = 0; registry[i]; i++)
        if (registry[i]->accepts(uri)) return registry[i];
    return NULL;
}

static int fill(om_source *s, const char *uri, const om_source_params *params, om_source_counts *counts)
{
    s->counts = counts;
    s->params = *params;
    if (s->params.open_timeout_ms <= 0) s->params.open_timeout_ms = OPEN_TIMEOUT_MS;
    if (s->params.read_timeout_ms <= 0) s->params.read_timeout_ms = READ_TIMEOUT_MS;
    if (s->params.backoff_ms <= 0) s->params.backoff_ms = BACKOFF_MS;
    if (s->params.backoff_max_ms <= 0) s->params.backoff_max_ms = BACKOFF_MAX_MS;
    if (s->params.decode_threads <= 0) s->params.decode_threads = 1;
    s->info.live = params->live;
    atomic_init(&s->economy, (int)params->economy);
    atomic_init(&s->on_cpu, params->on_cpu);
    s->uri = om_strdup(uri);
    s->shown = om_uri_redact(uri);
    return s->uri && s->shown ? OM_OK : OM_ERR_NOMEM;
}

static int open_ops(om_source *s)
{
    if (!s->uri[0]) return om_fail(OM_ERR_ARG, "a source needs a file, folder or address; it is empty");
    if (om_cancelled(s->params.cancel)) return om_fail(OM_ERR_CANCELLED, "%s: cancelled", s->shown);
    s->ops = find_ops(s->uri);
    if (!s->ops)
        return om_fail(
            OM_ERR_UNSUPPORTED,
            "%s: unknown kind of source; a file, folder, glob, http://, https://, rtsp://, v4l2:// or pattern: is",
            s->shown);
    snprintf(s->info.kind, sizeof s->info.kind, "%s", s->ops->name);
    s->priv = om_calloc(1, s->ops->priv_size);
    if (!s->priv) return OM_ERR_NOMEM;
    return s->ops->camera && s->params.reconnect ? om_camera_open(s) : s->ops->open(s);
}

int om_source_open(const char *uri, const om_source_params *params, om_source_counts *counts, om_source **out)
{
    *out = NULL;
    om_source *s = om_calloc(1, sizeof *s);
    if (!s) return OM_ERR_NOMEM;
    om_trace_begin("source open", -1);
    int rc = fill(s, uri, params, counts);
    if (rc == OM_OK) rc = open_ops(s);
    om_trace_end("source open");
    if (rc != OM_OK) {
        om_source_close(s);
        return rc;
    }
    *out = s;
    return OM_OK;
}

int om_source_read(om_source *s, om_frame **out)
{
    *out = NULL;
    if (om_cancelled(s->params.cancel)) return om_fail(OM_ERR_CANCELLED, "%s: cancelled", s->shown);
    om_trace_begin("source read", -1);
    int rc = s->connection ? om_camera_read(s, out) : s->ops->read(s, out);
    om_trace_end("source read");
    return rc;
}

void om_source_decode_on_cpu(om_source *s, bool on_cpu)
{
    atomic_store_explicit(&s->on_cpu, on_cpu, memory_order_relaxed);
}

void om_source_prime(om_source *s)
{
    if (!s->ops->prime || s->connection || om_cancelled(s->params.cancel)) return;
    om_trace_begin("source prime", -1);
    s->ops->prime(s);
    om_trace_end("source prime");
}

void om_source_economy(om_source *s, om_economy level)
{
    atomic_store_explicit(&s->economy, (int)level, memory_order_relaxed);
}

void om_source_close(om_source *s)
{
    if (!s) return;
    if (s->priv) s->ops->close(s);
    om_free(s->connection);
    om_free(s->priv);
    om_free(s->uri);
    om_free(s->shown);
    om_free(s);
}
