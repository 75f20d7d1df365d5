/* An engine that computes nothing: outputs of the right shapes, all zero, after a stated delay. Its
 * completion comes from a thread of its own, as real engines' does, so that everything around an engine can
 * be tested and timed. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "backend/backend.h"
#include "backend/registry.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/thread.h"

#define ALIGN 64
#define MAX_DELAY_US 60000000
#define DEFAULT_SESSIONS 2

typedef struct null_session {
    om_session *next; /* in the plan's queue; guarded by the plan's lock */
    bool busy;        /* from submit until the callback has returned; guarded by the plan's lock */
} null_session;

typedef struct null_plan {
    int64_t delay_ns;
    om_tensor *outputs; /* shapes only */
    int n_outputs;
    om_thread thread;
    bool have_lock;
    pthread_mutex_t lock;
    pthread_cond_t work, idle; /* a session was queued or `stop` set; a session ceased to be busy */
    om_session *first, *last;  /* queued sessions; guarded by lock */
    bool stop;                 /* guarded by lock */
} null_plan;

static int null_devices(om_backend_device *out, int max)
{
    if (max > 0)
        out[0] = (om_backend_device){
            .id = "null", .name = "computes nothing (null:MICROSECONDS waits)", .precisions = "f32"};
    return 1;
}

static const char *null_version(void) { return "1"; }

static int null_supports(const char *device, const om_graph *g, const om_node *n, const char **why)
{
    *why = "computes nothing, so every operator will do";
    return 1;
}

static void *null_main(void *arg)
{
    null_plan *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->first && !p->stop) om_cond_wait_until(&p->work, &p->lock, OM_NEVER);
        om_session *s = p->first;
        if (!s) break;
        null_session *ns = s->priv;
        p->first = ns->next;
        if (!p->first) p->last = NULL;
        pthread_mutex_unlock(&p->lock);
        if (p->delay_ns) om_cancel_sleep_until(NULL, om_now_ns() + p->delay_ns);
        s->done(s->user);
        pthread_mutex_lock(&p->lock);
        ns->busy = false;
        pthread_cond_broadcast(&p->idle);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* The shapes that the model's outputs have for this input; a count that only the picture decides is 0. */
static int infer_outputs(null_plan *p, const om_plan *plan, const om_graph *graph)
{
    om_graph *g = NULL;
    int rc = om_graph_clone(graph, &g);
    if (rc != OM_OK) return rc;
    int c = plan->prep.channels == OM_CHANNELS_GRAY ? 1 : 3, h = plan->height, w = plan->width;
    om_shape in = {4, {plan->batch, c, h, w}};
    if (plan->prep.layout == OM_LAYOUT_NHWC) in = (om_shape){4, {plan->batch, h, w, c}};
    rc = om_graph_set_input_shape(g, 0, &in);
    if (rc == OM_OK) rc = om_graph_infer_shapes(g);
    if (rc != OM_OK) goto done;
    p->outputs = om_calloc((size_t)g->n_outputs, sizeof *p->outputs);
    if (!p->outputs) {
        rc = om_fail_nomem("the outputs' shapes");
        goto done;
    }
    for (int i = 0; i < g->n_outputs; i++) {
        const om_value *v = &g->values[g->outputs[i]];
        om_tensor *t = &p->outputs[p->n_outputs];
        *t = (om_tensor){.dtype = v->dtype, .shape = v->shape};
        for (int k = 0; k < t->shape.rank; k++)
            if (t->shape.dim[k] < 0) t->shape.dim[k] = 0;
        if (v->shape.rank < 0 || om_dtype_size(v->dtype) == 0 || om_shape_count(&t->shape) < 0) {
            rc = om_fail(OM_ERR_UNSUPPORTED,
                         "output '%s': its shape or type does not follow from the input's", v->name);
            goto done;
        }
        p->n_outputs++;
    }
done:
    om_graph_destroy(g);
    return rc;
}

static int parse_delay(const char *device, int64_t *ns)
{
    long long us = 0;
    if (device && (om_parse_int(device, &us) != OM_OK || us < 0 || us > MAX_DELAY_US))
        return om_fail(OM_ERR_ARG, "device 'null:%s': expected the delay in microseconds, 0 to %d", device,
                       MAX_DELAY_US);
    *ns = us * 1000;
    return OM_OK;
}

static int null_compile(om_plan *plan, const om_compile_params *params)
{
    null_plan *p = plan->priv;
    int rc = parse_delay(params->device, &p->delay_ns);
    if (rc == OM_OK) rc = infer_outputs(p, plan, params->graph);
    if (rc != OM_OK) return rc;
    if (pthread_mutex_init(&p->lock, NULL) != 0) return om_fail_nomem("a lock");
    if ((rc = om_cond_init(&p->work)) != OM_OK) goto no_work;
    if ((rc = om_cond_init(&p->idle)) != OM_OK) goto no_idle;
    p->have_lock = true;
    plan->sessions = params->sessions ? params->sessions : DEFAULT_SESSIONS;
    snprintf(plan->note, sizeof plan->note, "null, %lld us a batch", (long long)(p->delay_ns / 1000));
    return om_thread_start(&p->thread, "om-null", null_main, p);
no_idle:
    pthread_cond_destroy(&p->work);
no_work:
    pthread_mutex_destroy(&p->lock);
    return rc;
}

static void null_plan_fini(om_plan *plan)
{
    null_plan *p = plan->priv;
    if (p->have_lock) {
        pthread_mutex_lock(&p->lock);
        p->stop = true;
        pthread_cond_broadcast(&p->work);
        pthread_mutex_unlock(&p->lock);
        om_thread_join(&p->thread);
        pthread_cond_destroy(&p->idle);
        pthread_cond_destroy(&p->work);
        pthread_mutex_destroy(&p->lock);
    }
    om_free(p->outputs);
}

static int alloc_zeroed(om_tensor *t)
{
    size_t size = (size_t)om_shape_count(&t->shape) * om_dtype_size(t->dtype);
    t->data = om_aligned_alloc(ALIGN, size ? size : ALIGN);
    if (!t->data) return om_fail_nomem("a session's tensors");
    memset(t->data, 0, size);
    return OM_OK;
}

static int null_session_init(om_session *s)
{
    const om_plan *plan = s->plan;
    null_plan *p = plan->priv;
    int c = plan->prep.channels == OM_CHANNELS_GRAY ? 1 : 3, h = plan->height, w = plan->width;
    s->input.dtype = plan->prep.dtype;
    s->input.shape = plan->prep.layout == OM_LAYOUT_NHWC
                         ? om_shape_make(4, (int64_t)plan->batch, (int64_t)h, (int64_t)w, (int64_t)c)
                         : om_shape_make(4, (int64_t)plan->batch, (int64_t)c, (int64_t)h, (int64_t)w);
    s->item_bytes = (size_t)c * (size_t)h * (size_t)w * om_dtype_size(plan->prep.dtype);
    int rc = alloc_zeroed(&s->input);
    if (rc != OM_OK) return rc;
    s->outputs = om_calloc((size_t)p->n_outputs, sizeof *s->outputs);
    if (!s->outputs) return om_fail_nomem("a session's tensors");
    for (int i = 0; i < p->n_outputs; i++) {
        s->outputs[i] = p->outputs[i];
        s->n_outputs = i + 1;
        if ((rc = alloc_zeroed(&s->outputs[i])) != OM_OK) return rc;
    }
    return OM_OK;
}

static int null_wait(om_session *s)
{
    null_plan *p = s->plan->priv;
    null_session *ns = s->priv;
    pthread_mutex_lock(&p->lock);
    while (ns->busy) om_cond_wait_until(&p->idle, &p->lock, OM_NEVER);
    pthread_mutex_unlock(&p->lock);
    return OM_OK;
}

static void null_session_fini(om_session *s)
{
    null_wait(s);
    for (int i = 0; i < s->n_outputs; i++) om_free(s->outputs[i].data);
    om_free(s->outputs);
    om_free(s->input.data);
}

static int null_submit(om_session *s, int n)
{
    null_plan *p = s->plan->priv;
    null_session *ns = s->priv;
    pthread_mutex_lock(&p->lock);
    ns->next = NULL;
    ns->busy = true;
    if (p->last) ((null_session *)p->last->priv)->next = s;
    else p->first = s;
    p->last = s;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    return OM_OK;
}

const om_backend_ops om_backend_null = {
    .api_version = OM_BACKEND_API_VERSION,
    .name = "null",
    .title = "no inference: empty results after a stated delay",
    .plan_priv_size = sizeof(null_plan),
    .session_priv_size = sizeof(null_session),
    .devices = null_devices,
    .version = null_version,
    .supports = null_supports,
    .compile = null_compile,
    .plan_fini = null_plan_fini,
    .session_init = null_session_init,
    .session_fini = null_session_fini,
    .submit = null_submit,
    .wait = null_wait,
};
