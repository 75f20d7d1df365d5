#include "backend/cuda/chain.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "device/cuda/cuda.h"

/* What one stage of a rung needs: its ports' memory and how it is started. */
typedef struct leg {
    void **inputs, **outputs; /* of the GPU */
    om_tensor *results;       /* of a part */
    om_backend_part_run *run;
    cudaGraphExec_t graph;
    cudaEvent_t *marks; /* profiling: before the copies up, the steps, the copies down, and behind them */
    int64_t ns;         /* of a part's last run */
} leg;

/* One rung: device and pinned memory of each wire, NULL where it is not there. */
typedef struct way {
    void **device, **host;
    leg *legs;
} way;

struct omcu_chain_session {
    om_session *session;
    way ways[OMCU_RUNGS];
    om_thread thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool have_lock, have_cond;
    bool ready, finished, closing;
    int status; /* a cudaError_t of the stage that is done */
    /* Of the thread that is at it: submit, then the session's own. */
    int rung, stage;
    bool started;
    int err;
    char message[512];
};

static int check(const om_session *s, cudaError_t e, const char *doing)
{
    const omcu_plan *p = s->plan->priv;
    return om_cuda_check(p->device, (int)e, doing);
}

/* ---- memory ---- */

static int make_wires(om_session *s, const omcu_chain *chain, way *w)
{
    const omcu_plan *p = s->plan->priv;
    const omcu_session *c = s->priv;
    w->device = om_calloc((size_t)chain->n_wires + 1, sizeof *w->device);
    w->host = om_calloc((size_t)chain->n_wires + 1, sizeof *w->host);
    if (!w->device || !w->host) return om_fail_nomem("a session's wires");
    int err = OM_OK;
    for (int i = 0; i < chain->n_wires && !err; i++) {
        const omcu_wire *wire = &chain->wires[i];
        if (wire->maker < 0) w->device[i] = c->inputs[0];
        if (wire->maker < 0 || !wire->bytes) continue;
        if (wire->from_gpu || wire->to_gpu)
            err = om_device_mem_alloc_for(p->device, OM_PURPOSE_WORK, wire->bytes, &w->device[i]);
        bool on_host = !wire->from_gpu || wire->to_cpu || wire->is_output;
        if (!err && on_host) err = om_device_pinned_alloc(p->device, wire->bytes, &w->host[i]);
        if (!err && on_host) memset(w->host[i], 0, wire->bytes);
    }
    return err;
}

static int open_part(const omcu_chain *chain, const omcu_stage *t, const way *w, leg *l)
{
    om_tensor *in = om_calloc((size_t)t->n_in + 1, sizeof *in);
    l->results = om_calloc((size_t)t->n_out + 1, sizeof *l->results);
    int err = in && l->results ? OM_OK : om_fail_nomem("a part's ports");
    for (int i = 0; i < t->n_in && !err; i++) {
        const omcu_wire *wire = &chain->wires[t->in[i]];
        in[i] = (om_tensor){wire->dtype, wire->shape, w->host[t->in[i]]};
    }
    for (int i = 0; i < t->n_out && !err; i++) {
        const omcu_wire *wire = &chain->wires[t->out[i]];
        l->results[i] = (om_tensor){wire->dtype, wire->shape, w->host[t->out[i]]};
    }
    if (!err) err = chain->parts->open(t->part, in, t->n_in, l->results, t->n_out, &l->run);
    om_free(in);
    return err;
}

static int make_marks(const om_session *s, const omcu_stage *t, leg *l)
{
    int n = t->program->n_steps + 3, err = OM_OK;
    l->marks = om_calloc((size_t)n, sizeof *l->marks);
    if (!l->marks) return om_fail_nomem("a session's marks");
    for (int i = 0; i < n && !err; i++) err = check(s, cudaEventCreate(&l->marks[i]), "making an event");
    return err;
}

static int make_leg(const om_session *s, const omcu_chain *chain, const omcu_stage *t, const way *w, leg *l)
{
    const omcu_plan *p = s->plan->priv;
    if (t->part) return open_part(chain, t, w, l);
    if (!t->program) return OM_OK;
    l->inputs = om_calloc((size_t)t->n_in + 1, sizeof *l->inputs);
    l->outputs = om_calloc((size_t)t->n_out + 1, sizeof *l->outputs);
    if (!l->inputs || !l->outputs) return om_fail_nomem("a stage's ports");
    for (int i = 0; i < t->n_in; i++) l->inputs[i] = w->device[t->in[i]];
    for (int i = 0; i < t->n_out; i++) l->outputs[i] = w->device[t->out[i]];
    return p->profiling ? make_marks(s, t, l) : OM_OK;
}

/* ---- a stage of the GPU ---- */

static int mark(const om_session *s, const leg *l, int i)
{
    const omcu_session *c = s->priv;
    return l->marks ? check(s, cudaEventRecord(l->marks[i], c->stream), "recording an event") : OM_OK;
}

static int copy(const om_session *s, void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    const omcu_session *c = s->priv;
    return check(s, cudaMemcpyAsync(to, from, bytes, kind, c->stream), "moving a tensor between CPU and GPU");
}

/* What the CPU made goes up, the steps, what the CPU reads comes down. */
static int enqueue(const om_session *s, const omcu_chain *chain, const omcu_stage *t, const way *w,
                   const leg *l)
{
    const omcu_session *c = s->priv;
    omcu_binding b = {.arena = c->binding.arena,
                      .workspace = c->binding.workspace,
                      .inputs = l->inputs,
                      .outputs = l->outputs};
    int n = t->program->n_steps, err = mark(s, l, 0);
    for (int i = 0; i < t->n_in && !err; i++) {
        const omcu_wire *wire = &chain->wires[t->in[i]];
        if (wire->maker < 0 || wire->from_gpu) continue;
        err = copy(s, w->device[t->in[i]], w->host[t->in[i]], wire->bytes, cudaMemcpyHostToDevice);
    }
    if (!err) err = mark(s, l, 1);
    for (int i = 0; i < n && !err; i++) {
        err = omcu_step_run(t->program, &t->program->steps[i], &b, c->stream);
        if (!err) err = mark(s, l, i + 2);
    }
    for (int i = 0; i < t->n_out && !err; i++) {
        const omcu_wire *wire = &chain->wires[t->out[i]];
        if (w->host[t->out[i]])
            err = copy(s, w->host[t->out[i]], w->device[t->out[i]], wire->bytes, cudaMemcpyDeviceToHost);
    }
    return err ? err : mark(s, l, n + 2);
}

static void capture(om_session *s, const omcu_chain *chain, const omcu_stage *t, const way *w, leg *l)
{
    const omcu_session *c = s->priv;
    cudaGraph_t graph = NULL;
    if (cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) return;
    int err = enqueue(s, chain, t, w, l);
    if (cudaStreamEndCapture(c->stream, &graph) != cudaSuccess) graph = NULL;
    if (!err && graph && cudaGraphInstantiate(&l->graph, graph, 0) != cudaSuccess) l->graph = NULL;
    if (graph) (void)cudaGraphDestroy(graph);
    if (l->graph) (void)cudaGraphUpload(l->graph, c->stream);
    else (void)cudaGetLastError();
}

static void wake(omcu_chain_session *x, int status)
{
    pthread_mutex_lock(&x->lock);
    x->status = status;
    x->ready = true;
    pthread_cond_broadcast(&x->changed);
    pthread_mutex_unlock(&x->lock);
}

/* A callback, not a host function: it comes after a fault too. */
static void CUDART_CB on_stage(cudaStream_t stream, cudaError_t status, void *user)
{
    wake(user, (int)status);
}

/* ---- the chain ---- */

/* Runs stages until one is on its way on the GPU; true: all are done, or one has failed. */
static bool advance(omcu_chain_session *x)
{
    om_session *s = x->session;
    const omcu_plan *p = s->plan->priv;
    const omcu_session *c = s->priv;
    const omcu_chain *chain = p->chains[x->rung];
    const way *w = &x->ways[x->rung];
    for (; x->stage < chain->n_stages && !x->err; x->stage++) {
        const omcu_stage *t = &chain->stages[x->stage];
        leg *l = &w->legs[x->stage];
        if (t->part) {
            int64_t from = om_now_ns();
            x->err = chain->parts->run(l->run, l->results);
            l->ns = om_now_ns() - from;
        } else if (t->program) {
            x->err = om_cuda_enter(p->device);
            if (!x->err && l->graph)
                x->err = check(s, cudaGraphLaunch(l->graph, c->stream), "launching a stage");
            else if (!x->err) x->err = enqueue(s, chain, t, w, l);
            x->stage++;
            if (x->err) return true;
            /* From here on the thread that the callback wakes may be at it: nothing of `x` is touched. */
            int err = check(s, cudaStreamAddCallback(c->stream, on_stage, x, 0), "asking for a callback");
            if (err) x->err = err;
            return err != OM_OK;
        }
    }
    return true;
}

/* The model's outputs are where the chain left them. */
static void set_outputs(omcu_chain_session *x)
{
    om_session *s = x->session;
    const omcu_plan *p = s->plan->priv;
    const omcu_chain *chain = p->chains[x->rung];
    const way *w = &x->ways[x->rung];
    for (int i = 0; i < chain->n_outputs; i++) {
        int at = chain->outputs[i];
        const omcu_wire *wire = &chain->wires[at];
        s->outputs[i] = (om_tensor){wire->dtype, wire->shape, w->host[at]};
        if (w->host[at]) continue;
        const omcu_stage *t = &chain->stages[wire->maker];
        for (int k = 0; k < t->n_out; k++)
            if (t->out[k] == at) s->outputs[i] = w->legs[wire->maker].results[k];
    }
}

static void finish(omcu_chain_session *x)
{
    om_session *s = x->session;
    if (x->err) snprintf(x->message, sizeof x->message, "%s", om_error_message());
    else set_outputs(x);
    s->done(s->user);
    pthread_mutex_lock(&x->lock);
    x->finished = true;
    pthread_cond_broadcast(&x->changed);
    pthread_mutex_unlock(&x->lock);
}

static void *work(void *arg)
{
    omcu_chain_session *x = arg;
    for (;;) {
        pthread_mutex_lock(&x->lock);
        while (!x->ready && !x->closing) pthread_cond_wait(&x->changed, &x->lock);
        bool leave = x->closing;
        int status = x->status;
        x->ready = false;
        pthread_mutex_unlock(&x->lock);
        if (leave) return NULL;
        x->err = check(x->session, (cudaError_t)status, "a stage of an inference");
        if (x->err || advance(x)) finish(x);
    }
}

static int init_outputs(om_session *s, const omcu_chain *chain, const way *w)
{
    s->outputs = om_calloc((size_t)chain->n_outputs + 1, sizeof *s->outputs);
    if (!s->outputs) return om_fail_nomem("a session's tensors");
    s->n_outputs = chain->n_outputs;
    for (int i = 0; i < s->n_outputs; i++) {
        const omcu_wire *wire = &chain->wires[chain->outputs[i]];
        s->outputs[i] = (om_tensor){wire->dtype, wire->shape, w->host[chain->outputs[i]]};
    }
    return OM_OK;
}

int omcu_chain_session_init(om_session *s)
{
    const omcu_plan *p = s->plan->priv;
    omcu_session *c = s->priv;
    omcu_chain_session *x = c->chain = om_calloc(1, sizeof *x);
    if (!x) return om_fail_nomem("a session");
    x->session = s;
    x->finished = true;
    x->have_lock = !pthread_mutex_init(&x->lock, NULL);
    x->have_cond = x->have_lock && !om_cond_init(&x->changed);
    int err = x->have_cond ? OM_OK : om_fail_nomem("a session's lock");
    for (int r = 0; r < p->n_rungs && !err; r++) {
        const omcu_chain *chain = p->chains[r];
        way *w = &x->ways[r];
        w->legs = om_calloc((size_t)chain->n_stages + 1, sizeof *w->legs);
        err = w->legs ? make_wires(s, chain, w) : om_fail_nomem("a session's stages");
        for (int i = 0; i < chain->n_stages && !err; i++) {
            err = make_leg(s, chain, &chain->stages[i], w, &w->legs[i]);
            if (!err && chain->stages[i].program && !p->profiling)
                capture(s, chain, &chain->stages[i], w, &w->legs[i]);
        }
    }
    if (!err) err = init_outputs(s, p->chains[0], &x->ways[0]);
    return err ? err : om_thread_start(&x->thread, "omma-stages", work, x);
}

static void free_way(const om_session *s, const omcu_chain *chain, way *w)
{
    const omcu_plan *p = s->plan->priv;
    for (int i = 0; w->legs && i < chain->n_stages; i++) {
        leg *l = &w->legs[i];
        if (l->graph) (void)cudaGraphExecDestroy(l->graph);
        for (int k = 0; l->marks && k < chain->stages[i].program->n_steps + 3; k++)
            if (l->marks[k]) (void)cudaEventDestroy(l->marks[k]);
        if (l->run) chain->parts->close(l->run);
        om_free(l->marks);
        om_free(l->inputs);
        om_free(l->outputs);
        om_free(l->results);
    }
    for (int i = 0; i < chain->n_wires; i++) {
        if (w->device && w->device[i] && chain->wires[i].maker >= 0)
            om_device_mem_free(p->device, w->device[i]);
        if (w->host && w->host[i]) om_device_pinned_free(p->device, w->host[i]);
    }
    om_free(w->legs);
    om_free(w->device);
    om_free(w->host);
}

void omcu_chain_session_fini(om_session *s)
{
    const omcu_plan *p = s->plan->priv;
    omcu_session *c = s->priv;
    omcu_chain_session *x = c->chain;
    if (!x) return;
    if (x->thread.started) {
        pthread_mutex_lock(&x->lock);
        while (!x->finished) pthread_cond_wait(&x->changed, &x->lock);
        x->closing = true;
        pthread_cond_broadcast(&x->changed);
        pthread_mutex_unlock(&x->lock);
        om_thread_join(&x->thread);
    }
    for (int r = 0; r < p->n_rungs; r++) free_way(s, p->chains[r], &x->ways[r]);
    if (x->have_cond) pthread_cond_destroy(&x->changed);
    if (x->have_lock) pthread_mutex_destroy(&x->lock);
    om_free(s->outputs);
    s->outputs = NULL;
    s->n_outputs = 0;
    om_free(x);
    c->chain = NULL;
}

int omcu_chain_submit(om_session *s, int n)
{
    const omcu_plan *p = s->plan->priv;
    const omcu_session *c = s->priv;
    omcu_chain_session *x = c->chain;
    x->rung = x->stage = x->err = 0;
    while (x->rung + 1 < p->n_rungs && p->rungs[x->rung + 1] >= n) x->rung++;
    x->started = true;
    pthread_mutex_lock(&x->lock);
    x->finished = x->ready = false;
    pthread_mutex_unlock(&x->lock);
    if (!p->chains[x->rung]->stages[0].program) {
        wake(x, cudaSuccess);
        return OM_OK;
    }
    if (!advance(x)) return OM_OK;
    int err = x->err;
    pthread_mutex_lock(&x->lock);
    x->finished = true;
    pthread_mutex_unlock(&x->lock);
    (void)cudaStreamSynchronize(c->stream);
    (void)cudaGetLastError();
    return err;
}

int omcu_chain_wait(om_session *s)
{
    const omcu_session *c = s->priv;
    omcu_chain_session *x = c->chain;
    if (!x->started) return OM_OK;
    pthread_mutex_lock(&x->lock);
    while (!x->finished) pthread_cond_wait(&x->changed, &x->lock);
    pthread_mutex_unlock(&x->lock);
    return x->err ? om_fail(x->err, "%s", x->message) : OM_OK;
}

/* ---- profile ---- */

static void add_layer(om_layer_time *out, int max, int *n, const char *name, const char *type,
                      const char *exec, int64_t ns)
{
    if (*n < max) {
        out[*n] = (om_layer_time){.ns = ns, .ran = ns >= 0};
        snprintf(out[*n].name, sizeof out[*n].name, "%s", name);
        snprintf(out[*n].type, sizeof out[*n].type, "%s", type);
        snprintf(out[*n].exec, sizeof out[*n].exec, "%s", exec);
    }
    ++*n;
}

static int64_t between(const leg *l, int i)
{
    float ms = 0;
    if (cudaEventElapsedTime(&ms, l->marks[i], l->marks[i + 1]) != cudaSuccess) return -1;
    return (int64_t)((double)ms * 1e6);
}

static size_t bytes_of(const omcu_chain *chain, const way *w, const omcu_stage *t, bool up)
{
    size_t sum = 0;
    for (int i = 0; i < (up ? t->n_in : t->n_out); i++) {
        int at = up ? t->in[i] : t->out[i];
        const omcu_wire *wire = &chain->wires[at];
        if (up ? wire->maker >= 0 && !wire->from_gpu : w->host[at] != NULL) sum += wire->bytes;
    }
    return sum;
}

int omcu_chain_layers(om_session *s, om_layer_time *out, int max)
{
    const omcu_plan *p = s->plan->priv;
    const omcu_session *c = s->priv;
    const omcu_chain_session *x = c->chain;
    const omcu_chain *chain = p->chains[0];
    const way *w = &x->ways[0];
    char text[64];
    int n = 0;
    if (!p->profiling) return om_fail(OM_ERR_ARG, "the plan was compiled without profiling");
    for (int i = 0; i < chain->n_stages; i++) {
        const omcu_stage *t = &chain->stages[i];
        const leg *l = &w->legs[i];
        int steps = t->program ? t->program->n_steps : 0;
        for (int k = 0; t->program && k < steps + 2; k++) {
            size_t bytes = k == 0 || k > steps ? bytes_of(chain, w, t, k == 0) : 0;
            int64_t ns = x->started ? between(l, k) : -1;
            snprintf(text, sizeof text, "copy, %.1f MB", (double)bytes / 1e6);
            if (k && k <= steps) {
                omcu_exec_name(t->program, &t->program->steps[k - 1], text, sizeof text);
                add_layer(out, max, &n, t->program->steps[k - 1].name, t->program->steps[k - 1].type, text,
                          ns);
            } else if (bytes) {
                add_layer(out, max, &n, k ? "from the GPU" : "to the GPU", "Transfer", text, ns);
            }
        }
        if (!t->part) continue;
        snprintf(text, sizeof text, "%d nodes on the CPU", t->n_nodes);
        add_layer(out, max, &n, t->what[0] ? t->what : "a part", text, "cpu: openvino f32",
                  x->started ? l->ns : -1);
    }
    return n;
}
