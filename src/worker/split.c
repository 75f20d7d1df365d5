/* The second part at work: a thread of its own, bound to its cores, between two queues. */
#include "worker/split.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "trace/trace.h"
#include "worker/cores.h"

struct om_split {
    om_split_params p;
    om_split_graphs graphs;
    cpu_set_t cores;
    om_model_desc *desc;
    om_device *memory;
    om_plan *plan;
    om_session *sessions[OM_SPLIT_SLOTS];
    om_split_job jobs[OM_SPLIT_SLOTS + 1];
    int slots[OM_SPLIT_SLOTS];
    om_queue free_jobs, free_slots, sent; /* of jobs, of int *, of jobs */
    om_tensor *outputs;                   /* the whole model's, in its order; owned */
    om_head_scratch scratch;
    om_dets dets[OM_RIG_BATCH_MAX];
    om_thread thread;
    pthread_mutex_t lock;
    pthread_cond_t settled; /* `ready` or `under_way` changed */
    bool have_lock, ready;  /* guarded by lock, as all below */
    int under_way, err;
    char message[600];
};

static void fail_split(om_split *s, int err)
{
    pthread_mutex_lock(&s->lock);
    if (!s->err) {
        s->err = err;
        snprintf(s->message, sizeof s->message, "%s", om_error_message());
    }
    pthread_mutex_unlock(&s->lock);
}

static int report(om_split *s)
{
    pthread_mutex_lock(&s->lock);
    int err = s->err ? om_fail(s->err, "%s", s->message) : OM_OK;
    pthread_mutex_unlock(&s->lock);
    return err;
}

static int describe(om_split *s)
{
    int err = om_model_describe(s->graphs.second, &s->desc);
    if (err) return err;
    s->desc->prep = (om_prep){
        .layout = OM_LAYOUT_NCHW, .channels = OM_CHANNELS_GRAY, .dtype = OM_DTYPE_F32, .scale = {1, 1, 1}};
    return OM_OK;
}

static int open_device(om_split *s, const om_backend_ops **backend, const char **device)
{
    int err = om_backend_select(s->p.device, backend, device);
    if (err) return err;
    const om_device_ops *own = om_device_find((*backend)->name);
    return om_device_open(own && own->memory != OM_MEMORY_HOST ? s->p.device : "cpu", &s->memory);
}

static void done(void *user) { (void)user; }

static int compile(om_split *s)
{
    const om_backend_ops *backend;
    const char *device = NULL;
    int err = describe(s);
    if (!err) err = open_device(s, &backend, &device);
    if (err) return err;
    bool bf16 = om_cpu_flags() & (OM_CPU_BF16 | OM_CPU_AMX), gpu = s->memory->ops->memory != OM_MEMORY_HOST;
    om_precision half = gpu ? OM_PRECISION_F16 : bf16 ? OM_PRECISION_BF16 : OM_PRECISION_F32;
    om_compile_params cp = {.graph = s->graphs.second,
                            .desc = s->desc,
                            .device = device,
                            .memory = s->memory,
                            .batch = 1,
                            .width = s->graphs.width,
                            .height = s->graphs.height,
                            .precision = s->p.amp ? half : OM_PRECISION_F32,
                            .mode = OM_MODE_LATENCY,
                            .threads = s->p.threads,
                            .sessions = OM_SPLIT_SLOTS,
                            .keep_prep = true};
    err = om_plan_compile(backend, &cp, &s->plan);
    for (int i = 0; i < OM_SPLIT_SLOTS && !err; i++) err = om_session_create(s->plan, &s->sessions[i]);
    for (int i = 0; i < OM_SPLIT_SLOTS && !err; i++) { /* so that the engine's threads are there */
        err = om_session_submit(s->sessions[i], 1, done, NULL);
        if (!err) err = om_session_wait(s->sessions[i]);
    }
    return err;
}

/* Where each of the model's outputs lies after this slot's inference. */
static int gather_outputs(om_split *s, int slot)
{
    om_session *session = s->sessions[slot];
    for (int i = 0; i < s->graphs.n_outputs; i++) {
        int at = s->graphs.second_of[i];
        if (at >= 0) {
            s->outputs[i] = session->outputs[at];
            continue;
        }
        const om_live *l = &s->graphs.live[-1 - at];
        if (s->memory->ops->memory != OM_MEMORY_HOST || l->dtype != OM_DTYPE_F32)
            return om_fail(OM_ERR_UNSUPPORTED,
                           "the output '%s' is made before the split and cannot be taken along here",
                           l->name);
        s->outputs[i] = (om_tensor){OM_DTYPE_F32, l->shape, (float *)session->input.data + l->offset};
    }
    return OM_OK;
}

static int decode(om_split *s, om_split_job *job)
{
    int err = s->p.head ? gather_outputs(s, job->slot) : OM_OK;
    for (int i = 0; i < job->n && !err && s->p.head; i++)
        err = om_head_decode(s->p.head, &s->scratch, s->outputs, s->graphs.n_outputs, i, &job->geo[i],
                             &s->dets[i]);
    return err;
}

static int run_second(om_split *s, om_split_job *job)
{
    om_session *session = s->sessions[job->slot];
    job->second_begin_ns = om_now_ns();
    om_trace_begin("second", job->step);
    int err = om_session_submit(session, 1, done, NULL);
    if (!err) err = om_session_wait(session);
    if (!err) err = decode(s, job);
    om_trace_end("second");
    job->second_ns = om_now_ns();
    if (!err && s->p.done) err = s->p.done(s->p.user, job, s->dets);
    for (int i = 0; i < job->n; i++) om_dets_clear(&s->dets[i]);
    return err;
}

static void tell_ready(om_split *s)
{
    pthread_mutex_lock(&s->lock);
    s->ready = true;
    pthread_cond_broadcast(&s->settled);
    pthread_mutex_unlock(&s->lock);
}

static void tell_done(om_split *s, om_split_job *job)
{
    om_queue_push(&s->free_slots, &s->slots[job->slot], OM_NEVER);
    om_queue_push(&s->free_jobs, job, OM_NEVER);
    pthread_mutex_lock(&s->lock);
    s->under_way--;
    pthread_cond_broadcast(&s->settled);
    pthread_mutex_unlock(&s->lock);
}

static void *second_main(void *arg)
{
    om_split *s = arg;
    void *item;
    om_threads_before before;
    om_threads_look(&before);
    int err = om_cores_bind(&s->cores);
    if (!err) err = compile(s);
    if (err) fail_split(s, err);
    om_threads_bind_new(&before, &s->cores);
    tell_ready(s);
    while (!om_queue_pop(&s->sent, &item, OM_NEVER)) {
        om_split_job *job = item;
        if (!err && (err = run_second(s, job))) fail_split(s, err);
        tell_done(s, job);
    }
    return NULL;
}

static int make_queues(om_split *s)
{
    int err = om_queue_init(&s->free_jobs, OM_SPLIT_SLOTS + 1);
    if (!err) err = om_queue_init(&s->free_slots, OM_SPLIT_SLOTS);
    if (!err) err = om_queue_init(&s->sent, OM_SPLIT_SLOTS);
    for (int i = 0; i < OM_SPLIT_SLOTS + 1 && !err; i++)
        err = om_queue_push(&s->free_jobs, &s->jobs[i], OM_NEVER);
    for (int i = 0; i < OM_SPLIT_SLOTS && !err; i++) {
        s->slots[i] = i;
        err = om_queue_push(&s->free_slots, &s->slots[i], OM_NEVER);
    }
    return err;
}

static int make_lock(om_split *s)
{
    if (pthread_mutex_init(&s->lock, NULL)) return om_fail_nomem("a lock");
    int err = om_cond_init(&s->settled);
    if (err) pthread_mutex_destroy(&s->lock);
    s->have_lock = !err;
    return err;
}

int om_split_create(om_split_graphs *graphs, const om_split_params *p, om_split **out)
{
    *out = NULL;
    om_split *s = om_calloc(1, sizeof *s);
    if (!s) return OM_ERR_NOMEM;
    s->p = *p;
    s->cores = *p->cores;
    s->graphs = *graphs;
    memset(graphs, 0, sizeof *graphs);
    s->outputs = om_calloc((size_t)s->graphs.n_outputs, sizeof *s->outputs);
    int err = s->outputs ? make_lock(s) : OM_ERR_NOMEM;
    if (!err) err = make_queues(s);
    if (!err) err = om_thread_start(&s->thread, "om-second", second_main, s);
    if (!err) {
        pthread_mutex_lock(&s->lock);
        while (!s->ready) om_cond_wait_until(&s->settled, &s->lock, OM_NEVER);
        pthread_mutex_unlock(&s->lock);
        err = report(s);
    }
    if (err) {
        char message[600];
        snprintf(message, sizeof message, "%s", om_error_message());
        om_split_destroy(s);
        return om_fail(err, "the second part: %s", message);
    }
    *out = s;
    return OM_OK;
}

void om_split_destroy(om_split *s)
{
    if (!s) return;
    if (s->thread.started) {
        om_queue_close(&s->sent);
        om_thread_join(&s->thread);
    }
    for (int i = 0; i < OM_SPLIT_SLOTS; i++) om_session_destroy(s->sessions[i]);
    om_plan_destroy(s->plan);
    om_device_close(s->memory);
    om_model_desc_free(s->desc);
    om_split_graphs_fini(&s->graphs);
    om_queue_fini(&s->free_jobs);
    om_queue_fini(&s->free_slots);
    om_queue_fini(&s->sent);
    om_head_scratch_fini(&s->scratch);
    for (int i = 0; i < OM_RIG_BATCH_MAX; i++) om_dets_fini(&s->dets[i]);
    om_free(s->outputs);
    if (s->have_lock) {
        pthread_cond_destroy(&s->settled);
        pthread_mutex_destroy(&s->lock);
    }
    om_free(s);
}

int om_split_job_get(om_split *s, om_split_job **out)
{
    void *item = NULL;
    int err = report(s);
    if (!err) err = om_queue_pop(&s->free_jobs, &item, OM_NEVER);
    *out = item;
    return err;
}

void om_split_job_put(om_split *s, om_split_job *job) { om_queue_push(&s->free_jobs, job, OM_NEVER); }

static int transfer(om_split *s, om_rig *first, int slot)
{
    bool host = s->memory->ops->memory == OM_MEMORY_HOST;
    float *to = s->sessions[slot]->input.data;
    for (int i = 0; i < s->graphs.n_live; i++) {
        const om_live *l = &s->graphs.live[i];
        const om_tensor *t = &first->session->outputs[i];
        if (t->dtype != OM_DTYPE_F32 || om_shape_count(&t->shape) != (int64_t)l->count)
            return om_fail(OM_ERR_UNSUPPORTED, "the engine's '%s' is not f32 of %zu numbers", l->name,
                           l->count);
        if (host) {
            memcpy(to + l->offset, t->data, l->count * sizeof *to);
            continue;
        }
        int err = om_device_copy(s->memory, OM_COPY_TO_DEVICE, to + l->offset, t->data, l->count * sizeof *to,
                                 NULL);
        if (err) return err;
    }
    return OM_OK;
}

int om_split_submit(om_split *s, om_split_job *job, om_rig *first)
{
    void *slot = NULL;
    int err = om_queue_pop(&s->free_slots, &slot, OM_NEVER);
    if (err) return err;
    job->slot = *(int *)slot;
    job->slot_ns = om_now_ns();
    om_trace_begin("transfer", job->step);
    err = transfer(s, first, job->slot);
    om_trace_end("transfer");
    job->sent_ns = om_now_ns();
    if (err) {
        om_queue_push(&s->free_slots, slot, OM_NEVER);
        om_queue_push(&s->free_jobs, job, OM_NEVER);
        return err;
    }
    pthread_mutex_lock(&s->lock);
    s->under_way++;
    pthread_mutex_unlock(&s->lock);
    return om_queue_push(&s->sent, job, OM_NEVER);
}

int om_split_drain(om_split *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->under_way) om_cond_wait_until(&s->settled, &s->lock, OM_NEVER);
    pthread_mutex_unlock(&s->lock);
    return report(s);
}

const char *om_split_note(const om_split *s) { return s->plan->note; }
