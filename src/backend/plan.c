#include <stdio.h>
#include <string.h>

#include "backend/backend.h"
#include "backend/planfile.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "trace/trace.h"

#define MAX_SIDE 16384
#define MAX_BATCH 1024

static int check_params(const om_backend_ops *ops, const om_compile_params *p)
{
    if (!ops || !p->graph || !p->desc || !p->memory)
        return om_fail(OM_ERR_ARG, "a plan needs a backend, a graph, its description and a memory device");
    if (p->batch < 1 || p->batch > MAX_BATCH)
        return om_fail(OM_ERR_ARG, "batch %d: expected 1 to %d", p->batch, MAX_BATCH);
    if (p->width < 1 || p->height < 1 || p->width > MAX_SIDE || p->height > MAX_SIDE)
        return om_fail(OM_ERR_ARG, "input size %dx%d: expected sides of 1 to %d", p->width, p->height,
                       MAX_SIDE);
    if (p->threads < 0 || p->sessions < 0)
        return om_fail(OM_ERR_ARG, "%d threads, %d sessions: expected 0 (the engine decides) or more",
                       p->threads, p->sessions);
    const om_graph *g = p->graph;
    if (g->n_inputs < 1) return om_fail(OM_ERR_FORMAT, "the model has no input");
    if (g->n_inputs > 1)
        return om_fail(OM_ERR_UNSUPPORTED,
                       "the model has %d inputs ('%s', '%s'%s); expected one, the picture", g->n_inputs,
                       g->values[g->inputs[0]].name, g->values[g->inputs[1]].name,
                       g->n_inputs > 2 ? ", ..." : "");
    if (g->n_outputs < 1) return om_fail(OM_ERR_FORMAT, "the model has no output");
    return OM_OK;
}

static int create(const om_backend_ops *ops, const om_compile_params *params, om_plan **out)
{
    om_plan *p = om_calloc(1, sizeof *p);
    *out = NULL;
    if (!p) return om_fail_nomem("a plan");
    p->ops = ops;
    p->desc = params->desc;
    p->memory = params->memory;
    p->batch = params->batch;
    p->width = params->width;
    p->height = params->height;
    p->prep = params->desc->prep;
    if (ops->plan_priv_size && !(p->priv = om_calloc(1, ops->plan_priv_size))) {
        om_free(p);
        return om_fail_nomem("a plan");
    }
    *out = p;
    return OM_OK;
}

static void say_once(om_plan_file *f, const char *why)
{
    if (atomic_exchange(&f->said, true)) return;
    om_log(OM_LOG_WARN,
           "%s %s: the model inside is compiled anew ('omma build --rebuild' makes a plan that fits)",
           f->path, why);
}

/* The compiled form that fits, or NULL; sets the precision that the plan was made in, where none is asked
 * for. */
static const om_plan_blob *find_blob(const om_backend_ops *ops, om_compile_params *p)
{
    om_plan_file *f = p->plan_file;
    char why[512];
    if (!f) return NULL;
    const char *misfit = om_plan_file_misfit(f, ops, p->device, why);
    bool own = !strcmp(f->info.backend, ops->name);
    if (own && p->precision == OM_PRECISION_AUTO) p->precision = f->info.precision;
    if (f->fresh) return NULL;
    if (!misfit && p->precision != f->info.precision) misfit = "was built in another precision";
    if (misfit) {
        say_once(f, misfit);
        return NULL;
    }
    for (int i = 0; i < f->n_blobs; i++) {
        const om_plan_blob *b = &f->blobs[i];
        if (b->width == p->width && b->height == p->height && b->batch == p->batch)
            return b->len && ops->plan_import && !p->keep_prep ? b : NULL;
    }
    if (ops->plan_import)
        om_log(OM_LOG_INFO, "%s holds nothing for %dx%d and batch %d: compiling", f->path, p->width,
               p->height, p->batch);
    return NULL;
}

int om_plan_compile(const om_backend_ops *ops, const om_compile_params *params, om_plan **out)
{
    om_compile_params with = *params;
    om_plan *p = NULL;
    *out = NULL;
    int rc = check_params(ops, params);
    if (rc != OM_OK) return rc;
    om_trace_begin("plan_compile", -1);
    const om_plan_blob *blob = find_blob(ops, &with);
    if (blob) {
        rc = create(ops, &with, &p);
        if (rc == OM_OK) rc = ops->plan_import(p, &with, blob->data, blob->len);
        if (rc == OM_OK)
            om_log(OM_LOG_INFO, "%s: what was compiled for %dx%d, batch %d is taken", with.plan_file->path,
                   p->width, p->height, p->batch);
        if (rc != OM_OK && rc != OM_ERR_NOMEM) {
            char why[512];
            snprintf(why, sizeof why, "holds a compiled form that is refused (%.400s)", om_error_message());
            say_once(with.plan_file, why);
            om_plan_destroy(p);
            p = NULL;
            blob = NULL;
            rc = OM_OK;
        }
    }
    if (!blob && rc == OM_OK) rc = create(ops, &with, &p);
    if (!blob && rc == OM_OK) rc = ops->compile(p, &with);
    om_trace_end("plan_compile");
    if (rc != OM_OK) goto fail;
    if (p->sessions < 1) p->sessions = 1;
    *out = p;
    return OM_OK;
fail:
    om_plan_destroy(p);
    return rc;
}

void om_plan_destroy(om_plan *p)
{
    if (!p) return;
    p->ops->plan_fini(p);
    om_free(p->priv);
    om_free(p);
}

int om_plan_export(om_plan *p, char **blob, size_t *len)
{
    *blob = NULL;
    *len = 0;
    if (!p->ops->plan_export)
        return om_fail(OM_ERR_UNSUPPORTED, "the %s backend keeps no compiled form", p->ops->name);
    return p->ops->plan_export(p, blob, len);
}
