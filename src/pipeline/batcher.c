#include "pipeline/batcher.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/engine.h"
#include "trace/trace.h"

void om_batcher_enqueue(om_batcher *b, om_mailbox *m)
{
    if (m->queued) return;
    om_ready_list *l = &b->ready[m->priority];
    m->queued = true;
    m->next = NULL;
    if (l->last) l->last->next = m;
    else l->first = m;
    l->last = m;
    if (!b->n_ready++) b->ready_since = om_now_ns();
    if (b->claim.waiting && m->priority > b->claim.priority)
        om_arbiter_request(&b->engine->arbiter, &b->claim, m->priority);
    pthread_cond_signal(&b->wake);
}

void om_batcher_unqueue(om_batcher *b, om_mailbox *m)
{
    if (!m->queued) return;
    om_ready_list *l = &b->ready[m->priority];
    om_mailbox *before = NULL;
    for (om_mailbox *i = l->first; i != m; i = i->next) before = i;
    if (before) before->next = m->next;
    else l->first = m->next;
    if (l->last == m) l->last = before;
    m->queued = false;
    b->n_ready--;
    pthread_cond_signal(&b->wake); /* it may be waiting for the device on behalf of nobody now */
}

void om_batcher_retire(om_batcher *b)
{
    b->retired = true;
    pthread_cond_broadcast(&b->wake);
}

om_batcher *om_batcher_current(om_batcher *b)
{
    while (b->successor) b = b->successor;
    return b;
}

bool om_batcher_reads(const om_batcher *b, const om_frame *f)
{
    /* What lies on a GPU lies on the first one, whose decoder made it: after a move that is another. */
    return f->memory == OM_MEMORY_HOST || (!b->generation && f->memory == b->memory->ops->memory);
}

void om_batcher_succeed(om_batcher *b, om_batcher *to)
{
    b->successor = to;
    for (int p = 0; p < OM_PRIORITIES; p++)
        while (b->ready[p].first) om_mailbox_follow(b->ready[p].first);
}

static int top_priority(const om_batcher *b)
{
    for (int p = OM_PRIORITIES - 1; p >= 0; p--)
        if (b->ready[p].first) return p;
    return 0;
}

/* One visit of deficit round-robin: a mailbox may give as many pictures as its weight has saved up. */
static void serve(om_batcher *b, om_mailbox *m, om_flight *f)
{
    om_batcher_unqueue(b, m);
    m->deficit += m->weight;
    while (f->n < b->plan->batch && m->deficit >= 1 && om_mailbox_ready(m)) {
        om_pick *p = &f->picks[f->n++];
        int64_t put_ns = m->put_ns[m->head];
        om_frame *frame = om_mailbox_take(m, &p->order);
        *p = (om_pick){.mailbox = m,
                       .frame = frame,
                       .order = p->order,
                       .seq = frame->seq,
                       .pts_ns = frame->pts_ns,
                       .wall_us = frame->wall_us,
                       .epoch = frame->epoch,
                       .due_ns = frame->due_ns,
                       .put_ns = put_ns,
                       .width = frame->image.width,
                       .height = frame->image.height};
        m->deficit -= 1;
    }
    if (om_mailbox_ready(m)) om_batcher_enqueue(b, m);
    else if (!m->count) m->deficit = 0; /* nobody saves up while it has nothing to send */
}

/* Fills the flight from the ready lists. */
static void pick(om_batcher *b, om_flight *f)
{
    f->n = 0;
    for (int p = OM_PRIORITIES - 1; p >= 0; p--)
        while (f->n < b->plan->batch && b->ready[p].first) serve(b, b->ready[p].first, f);
    b->batches++;
    b->items += (uint64_t)f->n;
    f->picked_ns = om_now_ns();
    om_batch_log_add(b->engine->log, f->n, b->n_ready, b->engine->arbiter.in_use,
                     (uint64_t)f->n * f->session->item_bytes);
}

static void lose(om_flight *f, int i, om_drop cause)
{
    om_pick *p = &f->picks[i];
    if (p->lost) return;
    p->lost = true;
    om_account_drop(p->mailbox->account, cause);
}

om_drop om_drop_of(int err)
{
    return err == OM_ERR_DEVICE_LOST ? OM_DROP_DEVICE_LOST
           : err == OM_ERR_NOMEM     ? OM_DROP_NO_MEMORY
                                     : OM_DROP_INFER_FAILED;
}

void om_flight_lose(om_flight *f, om_drop cause)
{
    for (int i = 0; i < f->n; i++) lose(f, i, cause);
}

/* Writes the pictures into the session's input. A picture that cannot be read hurts its own stream alone. */
static void gather(om_batcher *b, om_flight *f)
{
    const om_plan *plan = b->plan;
    for (int i = 0; i < f->n; i++) {
        const om_image *img = &f->picks[i].frame->image;
        om_geometry_fit(plan->desc->fit, img->width, img->height, plan->width, plan->height, &f->geo[i]);
        f->items[i] = (om_gather_item){f->picks[i].frame, f->geo[i], om_session_item(f->session, i)};
    }
    om_stream *stream = f->session->stream;
    om_trace_begin("gather", f->n);
    if (b->engine->log) om_stages_test_delay(OM_STAGE_GATHER);
    int err = om_device_gather(plan->memory, f->items, (size_t)f->n, &plan->prep, stream);
    if (err == OM_ERR_NOMEM) om_engine_failed(b, err, "pictures could not be prepared");
    if (err && err != OM_ERR_DEVICE_LOST)
        for (int i = 0; i < f->n; i++) {
            int one = om_device_gather(plan->memory, &f->items[i], 1, &plan->prep, stream);
            if (!one) continue;
            om_log(OM_LOG_WARN, "a picture of %dx%d could not be prepared: %s", f->picks[i].width,
                   f->picks[i].height, om_error_message());
            lose(f, i, om_drop_of(one));
        }
    for (int i = 0; i < f->n && om_trace_enabled(); i++)
        om_trace_flow(OM_FLOW_STEP,
                      om_trace_frame_id(f->picks[i].mailbox->lane->stream_index, f->picks[i].seq));
    om_trace_end("gather");
    if (err == OM_ERR_DEVICE_LOST) {
        om_engine_failed(b, err, "pictures could not be prepared");
        om_flight_lose(f, OM_DROP_DEVICE_LOST);
    }
    if (b->engine->keep_frames) return;
    for (int i = 0; i < f->n; i++) {
        om_frame_unref(f->picks[i].frame);
        f->picks[i].frame = NULL;
    }
}

static void flight_destroy(om_flight *f)
{
    if (!f) return;
    om_session_destroy(f->session);
    om_free(f->picks);
    om_free(f->geo);
    om_free(f->items);
    om_free(f->dets);
    om_free(f);
}

static int flight_create(om_batcher *b, om_flight **out)
{
    size_t n = (size_t)b->plan->batch;
    int err = OM_ERR_NOMEM;
    om_flight *f = om_calloc(1, sizeof(*f));
    if (!f) return err;
    f->batcher = b;
    f->picks = om_calloc(n, sizeof(*f->picks));
    f->geo = om_calloc(n, sizeof(*f->geo));
    f->items = om_calloc(n, sizeof(*f->items));
    f->dets = om_calloc(n, sizeof(*f->dets));
    if (f->picks && f->geo && f->items && f->dets) err = om_session_create(b->plan, &f->session);
    if (err) flight_destroy(f);
    else *out = f;
    return err;
}

static bool has_work(const om_batcher *b)
{
    return b->n_ready && !b->retired && b->generation >= b->engine->serving;
}

/* Waits for --batch-min pictures, no longer than --batch-timeout-ms. Lock held. */
static void wait_for_more(om_batcher *b)
{
    const om_run_options *o = b->engine->options;
    if (o->batch_min < 2 || o->batch_timeout_ms <= 0) return;
    int64_t deadline = b->ready_since + (int64_t)(o->batch_timeout_ms * 1e6);
    while (!b->stopping && has_work(b) && b->n_ready < o->batch_min && om_now_ns() < deadline)
        om_cond_wait_until(&b->wake, &b->engine->lock, deadline);
}

static om_flight *take_idle(om_batcher *b)
{
    om_flight *f = b->idle;
    if (f) b->idle = f->next;
    return f;
}

/* Waits until there are pictures, the device has room and a flight is free. Lock held; NULL: time to go. */
static om_flight *next_flight(om_batcher *b)
{
    for (;;) {
        while (has_work(b) ? !b->idle : !b->stopping)
            om_cond_wait_until(&b->wake, &b->engine->lock, OM_NEVER);
        if (!has_work(b)) return NULL;
        wait_for_more(b);
        if (has_work(b)) om_arbiter_request(&b->engine->arbiter, &b->claim, top_priority(b));
        while (has_work(b) && !b->claim.granted) om_cond_wait_until(&b->wake, &b->engine->lock, OM_NEVER);
        om_flight *f = has_work(b) ? take_idle(b) : NULL;
        if (f) return f;
        om_arbiter_withdraw(&b->engine->arbiter, &b->claim);
    }
}

static void flight_done(void *user)
{
    om_flight *f = user;
    f->done_ns = om_now_ns();
    om_trace_async("infer", (int64_t)(intptr_t)f->session, false);
    /* The queue holds as many as there are flights: this never fails and never waits. */
    om_queue_try_push(&f->batcher->engine->done, f);
}

static void launch(om_batcher *b, om_flight *f)
{
    gather(b, f);
    bool any = false;
    for (int i = 0; i < f->n; i++) any |= !f->picks[i].lost;
    f->submitted_ns = om_now_ns();
    om_trace_async("infer", (int64_t)(intptr_t)f->session, true);
    int err = any ? om_session_submit(f->session, f->n, flight_done, f) : OM_OK;
    if (any && !err) return;
    if (err) om_engine_failed(b, err, "inference could not be started");
    om_flight_lose(f, om_drop_of(err));
    flight_done(f);
}

static void *batcher_main(void *arg)
{
    om_batcher *b = arg;
    pthread_mutex_lock(&b->engine->lock);
    for (om_flight *f; (f = next_flight(b));) {
        b->claim.granted = false; /* the flight holds the room now, until om_batcher_return() */
        pick(b, f);
        pthread_mutex_unlock(&b->engine->lock);
        launch(b, f);
        pthread_mutex_lock(&b->engine->lock);
    }
    pthread_mutex_unlock(&b->engine->lock);
    return NULL;
}

void om_batcher_return(om_flight *f)
{
    om_batcher *b = f->batcher;
    pthread_mutex_lock(&b->engine->lock);
    f->next = b->idle;
    b->idle = f;
    om_arbiter_release(&b->engine->arbiter);
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->engine->lock);
}

static int make_flights(om_batcher *b, int n)
{
    for (; b->n_flights < n; b->n_flights++) {
        om_flight *f = NULL;
        int err = flight_create(b, &f);
        if (err) return err;
        f->next = b->idle;
        b->idle = f;
    }
    return OM_OK;
}

void om_batcher_free_flights(om_batcher *b)
{
    for (om_flight *f; (f = take_idle(b));) flight_destroy(f);
    b->n_flights = 0;
}

void om_batcher_free_plan(om_batcher *b)
{
    om_plan_destroy(b->plan);
    b->plan = NULL;
}

/* The plan and its flights; where the device's memory is short, for smaller batches, and then with fewer. */
static int make_plan(om_batcher *b, int width, int height)
{
    om_engine *e = b->engine;
    for (;;) {
        int wanted = 0, err = om_engine_compile(e, width, height, &b->plan);
        if (!err) err = make_flights(b, wanted = om_engine_admit(e, b->plan));
        if (err != OM_ERR_NOMEM) return err;
        if (!om_engine_shrink(e)) {
            if (!b->n_flights) return err;
            om_engine_do_with_fewer(e, b->n_flights, wanted);
            return OM_OK;
        }
        om_batcher_free_flights(b);
        om_batcher_free_plan(b);
    }
}

int om_batcher_create(om_engine *e, int width, int height, om_batcher **out)
{
    *out = NULL;
    om_batcher *b = om_calloc(1, sizeof(*b));
    if (!b) return OM_ERR_NOMEM;
    b->engine = e;
    b->generation = e->generation;
    b->memory = e->device;
    om_cond_init(&b->wake);
    b->claim.cond = &b->wake;
    int err = make_plan(b, width, height);
    if (err) goto fail;
    err = om_thread_start(&b->thread, "om-batcher", batcher_main, b);
    if (err) goto fail;
    *out = b;
    return OM_OK;
fail:
    om_batcher_destroy(b);
    return err;
}

void om_batcher_stop(om_batcher *b)
{
    pthread_mutex_lock(&b->engine->lock);
    b->stopping = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->engine->lock);
    om_thread_join(&b->thread);
}

static bool all_idle(const om_batcher *b)
{
    int n = 0;
    for (const om_flight *f = b->idle; f; f = f->next) n++;
    return n == b->n_flights;
}

bool om_batcher_settle(om_batcher *b, int64_t deadline_ns)
{
    pthread_mutex_lock(&b->engine->lock);
    while (!all_idle(b) && om_now_ns() < deadline_ns)
        om_cond_wait_until(&b->wake, &b->engine->lock, deadline_ns);
    bool settled = all_idle(b);
    pthread_mutex_unlock(&b->engine->lock);
    return settled;
}

void om_batcher_destroy(om_batcher *b)
{
    if (!b) return;
    om_batcher_free_flights(b);
    om_batcher_free_plan(b);
    pthread_cond_destroy(&b->wake);
    om_free(b);
}
