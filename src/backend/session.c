#include "backend/backend.h"
#include "base/error.h"
#include "base/mem.h"
#include "trace/trace.h"

int om_session_create(om_plan *p, om_session **out)
{
    *out = NULL;
    om_session *s = om_calloc(1, sizeof *s);
    if (!s) return om_fail_nomem("a session");
    s->plan = p;
    int rc;
    if (p->ops->session_priv_size && !(s->priv = om_calloc(1, p->ops->session_priv_size))) {
        om_free(s);
        return om_fail_nomem("a session");
    }
    rc = p->ops->session_init(s);
    if (rc != OM_OK) goto fail;
    *out = s;
    return OM_OK;
fail:
    om_session_destroy(s);
    return rc;
}

void om_session_destroy(om_session *s)
{
    if (!s) return;
    s->plan->ops->session_fini(s);
    om_head_scratch_fini(&s->scratch);
    om_free(s->priv);
    om_free(s);
}

void *om_session_item(om_session *s, int i) { return (char *)s->input.data + (size_t)i * s->item_bytes; }

void om_session_unasked(void *user) { (void)user; }

int om_session_submit(om_session *s, int n, om_session_done_fn done, void *user)
{
    if (n < 1 || n > s->plan->batch)
        return om_fail(OM_ERR_ARG, "%d items submitted to a plan for 1 to %d", n, s->plan->batch);
    if (!done) return om_fail(OM_ERR_ARG, "a submit needs a function to call when done");
    if (s->in_flight) return om_fail(OM_ERR_ARG, "a session was submitted to again before it was waited for");
    s->done = done;
    s->user = user;
    /* Set before the engine starts: once it has, another thread may be collecting, and `s` is no longer ours.
     */
    s->in_flight = true;
    om_trace_begin("session_submit", n);
    int rc = s->plan->ops->submit(s, n);
    om_trace_end("session_submit");
    if (rc != OM_OK) s->in_flight = false;
    return rc;
}

int om_session_wait(om_session *s)
{
    om_trace_begin("session_wait", -1);
    int rc = s->plan->ops->wait(s);
    om_trace_end("session_wait");
    s->in_flight = false;
    return rc;
}

int om_session_collect(om_session *s, const om_head *head, int n, const om_geometry *geo, om_dets *out)
{
    if (n < 1 || n > s->plan->batch)
        return om_fail(OM_ERR_ARG, "%d items collected from a plan for 1 to %d", n, s->plan->batch);
    s->collecting = true;
    int rc = om_session_wait(s);
    s->collecting = false;
    if (rc != OM_OK) return rc;
    om_trace_begin("session_decode", n);
    if (s->plan->ops->decode) {
        rc = s->plan->ops->decode(s, head, n, geo, out);
    } else {
        for (int i = 0; i < n && rc == OM_OK; i++)
            rc = om_head_decode(head, &s->scratch, s->outputs, s->n_outputs, i, &geo[i], &out[i]);
    }
    om_trace_end("session_decode");
    return rc;
}

int om_session_layers(om_session *s, om_layer_time *out, int max)
{
    if (!s->plan->ops->layers)
        return om_fail(OM_ERR_UNSUPPORTED, "the %s backend gives no timings of layers", s->plan->ops->name);
    return s->plan->ops->layers(s, out, max);
}
