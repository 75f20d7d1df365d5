#include "backend/backend.h"
#include "base/error.h"
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

int om_plan_compile(const om_backend_ops *ops, const om_compile_params *params, om_plan **out)
{
    *out = NULL;
    int rc = check_params(ops, params);
    if (rc != OM_OK) return rc;
    om_plan *p = om_calloc(1, sizeof *p);
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
    om_trace_begin("plan_compile", -1);
    rc = ops->compile(p, params);
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
