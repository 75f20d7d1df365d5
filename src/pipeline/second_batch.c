/* A secondary model's queue, its batches, and what happens when they fail. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/second_priv.h"
#include "trace/trace.h"

#define FLIGHTS_MAX 1024
#define FAILURES_MAX 10

static pthread_mutex_t *lock_of(const om_second *s) { return &s->all->primary->lock; }

static long long apart(const om_second_bucket *b, om_size size)
{
    long long w = b->width - size.width, h = b->height - size.height;
    return w * w + h * h;
}

om_second_bucket *om_second_bucket_for(om_second *s, om_size size)
{
    om_second_bucket *nearest = s->buckets;
    for (int i = 0; i < s->n_buckets; i++) {
        om_second_bucket *b = &s->buckets[i];
        if (b->width == size.width && b->height == size.height) return b;
        if (apart(b, size) < apart(nearest, size)) nearest = b;
    }
    if (s->n_buckets == OM_SECOND_BUCKETS) return nearest;
    om_second_bucket *b = &s->buckets[s->n_buckets++];
    *b = (om_second_bucket){.width = size.width, .height = size.height};
    /* A CPU's plan computes whole batches: few crops go one by one. */
    if (s->host && s->engine->desc->dynamic_batch && s->batch > 1) b->rungs[b->n_rungs++].batch = 1;
    b->rungs[b->n_rungs++].batch = s->batch;
    return b;
}

static void push(om_second_bucket *b, om_question *q)
{
    q->next = NULL;
    if (b->last) b->last->next = q;
    else b->first = q;
    b->last = q;
    b->n++;
}

static void push_front(om_second_bucket *b, om_question *q)
{
    q->next = b->first;
    b->first = q;
    if (!b->last) b->last = q;
    b->n++;
}

static om_question *pop(om_second_bucket *b)
{
    om_question *q = b->first;
    if (!q) return NULL;
    b->first = q->next;
    if (!b->first) b->last = NULL;
    b->n--;
    q->next = NULL;
    return q;
}

bool om_second_submit(om_question *q, bool bounded)
{
    om_second *s = q->second;
    om_size size = om_second_size_for(s, q->region.w, q->region.h);
    q->asked_ns = om_now_ns();
    pthread_mutex_lock(lock_of(s));
    if (s->cancelled || s->stopping) q->cause = OM_ABSENCE_STOPPED;
    else if (s->dead) q->cause = OM_ABSENCE_DEVICE_LOST;
    else if (bounded && s->waiting >= s->options->queue) q->cause = OM_ABSENCE_QUEUE;
    if (!q->cause) {
        push(om_second_bucket_for(s, size), q);
        s->waiting++;
        pthread_cond_signal(&s->wake);
    }
    int waiting = s->waiting;
    om_absence cause = q->cause; /* once it is in the queue, it is the batcher's */
    pthread_mutex_unlock(lock_of(s));
    if (cause) return false;
    pthread_mutex_lock(&s->stats.lock);
    s->stats.asked++;
    s->stats.queue_sum += (uint64_t)waiting;
    if (waiting > s->stats.queue_max) s->stats.queue_max = waiting;
    pthread_mutex_unlock(&s->stats.lock);
    return true;
}

static void flight_destroy(om_second_flight *f)
{
    if (!f) return;
    om_session_destroy(f->session);
    om_free(f->questions);
    om_free(f->geo);
    om_free(f->items);
    om_free(f->dets);
    om_free(f);
}

static int flight_create(om_second *s, om_second_rung *r, om_second_flight **out)
{
    size_t n = (size_t)r->plan->batch;
    int err = OM_ERR_NOMEM;
    om_second_flight *f = om_calloc(1, sizeof *f);
    if (!f) return err;
    f->second = s;
    f->rung = r;
    f->questions = om_calloc(n, sizeof(om_question *));
    f->geo = om_calloc(n, sizeof *f->geo);
    f->items = om_calloc(n, sizeof *f->items);
    f->dets = om_calloc(n, sizeof *f->dets);
    if (f->questions && f->geo && f->items && f->dets) err = om_session_create(r->plan, &f->session);
    if (err) flight_destroy(f);
    else *out = f;
    return err;
}

/* Compiles the rung where that has not been done, and makes its flights. Without the lock: a rung without
 * flights is the batcher's alone. */
static int prepare(om_second *s, const om_second_bucket *b, om_second_rung *r)
{
    int err = OM_OK;
    if (!r->plan) {
        pthread_mutex_lock(&s->engine->compile_lock);
        err = om_engine_compile_batch(s->engine, b->width, b->height, r->batch, &r->plan);
        pthread_mutex_unlock(&s->engine->compile_lock);
    }
    om_second_flight *made = NULL;
    int n = 0;
    for (; !err && n < r->plan->sessions; n++) {
        om_second_flight *f = NULL;
        err = flight_create(s, r, &f);
        if (err) break;
        f->next = made;
        made = f;
    }
    if (n) err = OM_OK; /* fewer will do */
    pthread_mutex_lock(lock_of(s));
    r->idle = made;
    r->n_flights = n;
    pthread_mutex_unlock(lock_of(s));
    return err;
}

/* All that waits in the bucket gets no answer. Lock held; gives it up while it tells. */
static void give_up_bucket(om_second *s, om_second_bucket *b, om_absence cause)
{
    om_question *first = b->first;
    b->first = b->last = NULL;
    s->waiting -= b->n;
    b->n = 0;
    pthread_mutex_unlock(lock_of(s));
    for (om_question *q; (q = first);) {
        first = q->next;
        q->cause = cause;
        om_second_post(q);
    }
    pthread_mutex_lock(lock_of(s));
}

static void give_up_all(om_second *s, om_absence cause)
{
    for (int i = 0; i < s->n_buckets; i++)
        if (s->buckets[i].first) give_up_bucket(s, &s->buckets[i], cause);
}

/* Which of a bucket's rungs serves what waits there. */
static om_second_rung *rung_for(om_second_bucket *b)
{
    om_second_rung *large = &b->rungs[b->n_rungs - 1];
    if (b->n_rungs == 1) return large;
    bool many = 2 * b->n > large->batch;
    if (many && (!large->n_flights || large->idle)) return large;
    return &b->rungs[0];
}

/* The bucket whose first question waits longest among those that can be served, or NULL. Lock held. */
static om_second_bucket *choose(om_second *s)
{
    om_second_bucket *best = NULL;
    for (int i = 0; i < s->n_buckets; i++) {
        om_second_bucket *b = &s->buckets[i];
        if (!b->first) continue;
        om_second_rung *r = rung_for(b);
        if (r->n_flights && !r->idle) continue;
        if (!best || b->first->asked_ns < best->first->asked_ns) best = b;
    }
    return best;
}

static void flight_done(void *user)
{
    om_second_flight *f = user;
    f->done_ns = om_now_ns();
    om_trace_async("second", (int64_t)(intptr_t)f->session, false);
    /* The queue holds as many as there can be flights: this never fails and never waits. */
    om_queue_try_push(&f->second->done, f);
}

/* A crop that lies where the model's device cannot read it comes to the host. */
static int make_readable(om_second *s, om_question *q)
{
    om_frame *f = q->region.pixels, *copy;
    if (f->memory == OM_MEMORY_HOST || f->memory == s->engine->device->ops->memory) return OM_OK;
    const om_engine *e = s->all->primary;
    int err = om_region_download(e->decode_device ? e->decode_device : e->first_device, f, &copy);
    if (err) return err;
    om_frame_unref(f);
    q->region.pixels = copy;
    return OM_OK;
}

static int gather_one(om_second *s, om_second_flight *f, int i)
{
    om_question *q = f->questions[i];
    const om_plan *plan = f->rung->plan;
    const om_region *r = &q->region;
    int err = make_readable(s, q);
    if (err) return err;
    om_geometry_fit(plan->desc->fit, r->w, r->h, plan->width, plan->height, &f->geo[i]);
    f->geo[i].src_x += r->x;
    f->geo[i].src_y += r->y;
    f->items[i] = (om_gather_item){q->region.pixels, f->geo[i], om_session_item(f->session, i), NULL};
    return OM_OK;
}

/* A crop that cannot be read hurts its own question alone. */
static int gather(om_second *s, om_second_flight *f)
{
    const om_plan *plan = f->rung->plan;
    int err = OM_OK;
    om_trace_begin("second_gather", f->n);
    for (int i = 0; i < f->n && !err; i++) err = gather_one(s, f, i);
    if (!err) err = om_device_gather(plan->memory, f->items, (size_t)f->n, &plan->prep, f->session->stream);
    for (int i = 0; err && err != OM_ERR_DEVICE_LOST && i < f->n; i++) {
        if (!gather_one(s, f, i) &&
            !om_device_gather(plan->memory, &f->items[i], 1, &plan->prep, f->session->stream))
            continue;
        om_geometry_fit(plan->desc->fit, 1, 1, plan->width, plan->height, &f->geo[i]);
        f->questions[i]->cause = OM_ABSENCE_FAILED;
    }
    om_trace_end("second_gather");
    return err == OM_ERR_DEVICE_LOST ? err : OM_OK;
}

/* The batch came to nothing. Where the device is lost its questions go back, once, to be asked on another. */
static void failed(om_second *s, om_second_flight *f, int code, const char *what)
{
    int n = atomic_fetch_add(&s->failures_in_a_row, 1) + 1;
    bool lost = code == OM_ERR_DEVICE_LOST || n == FAILURES_MAX;
    if (n == 1) om_log(OM_LOG_WARN, "secondary '%s': %s: %s", s->name, what, om_error_message());
    pthread_mutex_lock(lock_of(s));
    if (lost && !s->want_move && !s->dead) {
        s->want_move = true;
        snprintf(s->cause, sizeof s->cause, "secondary '%s': %s: %s", s->name, what, om_error_message());
    }
    for (int i = f->n - 1; i >= 0; i--) {
        om_question *q = f->questions[i];
        if (q->cause) continue;
        if (!lost || q->retried || s->dead || s->stopping) {
            q->cause = lost ? OM_ABSENCE_DEVICE_LOST : OM_ABSENCE_FAILED;
            continue;
        }
        q->retried = true;
        push_front(om_second_bucket_for(s, om_second_size_for(s, q->region.w, q->region.h)), q);
        s->waiting++;
        f->questions[i] = NULL;
    }
    pthread_mutex_unlock(lock_of(s));
}

static void launch(om_second *s, om_second_flight *f)
{
    int64_t now = om_now_ns();
    pthread_mutex_lock(&s->stats.lock);
    s->stats.batches++;
    s->stats.items += (uint64_t)f->n;
    s->stats.sizes[f->n < OM_BATCH_SIZES ? f->n : OM_BATCH_SIZES - 1]++;
    for (int i = 0; i < f->n; i++) om_hist_add(&s->stats.wait, now - f->questions[i]->asked_ns);
    pthread_mutex_unlock(&s->stats.lock);
    f->submitted_ns = 0;
    int err = gather(s, f);
    if (err) failed(s, f, err, "crops could not be prepared");
    else {
        f->submitted_ns = om_now_ns();
        om_trace_async("second", (int64_t)(intptr_t)f->session, true);
        err = om_session_submit(f->session, f->n, flight_done, f);
        if (!err) return;
        f->submitted_ns = 0;
        failed(s, f, err, "inference could not be started");
    }
    flight_done(f);
}

static void free_rung(om_second_rung *r)
{
    for (om_second_flight *f; (f = r->idle);) {
        r->idle = f->next;
        flight_destroy(f);
    }
    om_plan_destroy(r->plan);
    r->plan = NULL;
    r->n_flights = 0;
}

/* To the fall-back device, once nothing is in flight. Lock held; given up meanwhile. */
static void move(om_second *s)
{
    char cause[sizeof s->cause];
    memcpy(cause, s->cause, sizeof cause);
    pthread_mutex_unlock(lock_of(s));
    pthread_mutex_lock(&s->engine->compile_lock);
    om_fail(OM_ERR_DEVICE_LOST, "%s", cause);
    int err = om_engine_move_now(s->engine, OM_ERR_DEVICE_LOST);
    pthread_mutex_unlock(&s->engine->compile_lock);
    bool gone = err && om_device_is_lost(s->engine->device, true);
    pthread_mutex_lock(lock_of(s));
    s->want_move = false;
    s->dead = gone;
    atomic_store(&s->failures_in_a_row, 0);
    if (err && !gone) return; /* it may do better with what comes */
    if (gone) {
        om_log(OM_LOG_ERROR, "secondary '%s' gives no more answers: %s", s->name, om_error_message());
        return;
    }
    s->shares = false;
    s->host = s->engine->device->ops->memory == OM_MEMORY_HOST;
    if (s->engine->desc->dynamic_batch) s->batch = 1;
    for (int i = 0; i < s->n_buckets; i++) {
        om_second_bucket *b = &s->buckets[i];
        for (int k = 0; k < b->n_rungs; k++) free_rung(&b->rungs[k]);
        b->n_rungs = 1;
        b->rungs[0].batch = s->batch;
        b->broken = false;
    }
}

/* Waits until the device lets it in. Lock held; false: it has to look again at what there is to do. */
static bool enter(om_second *s)
{
    om_arbiter *a = &s->all->primary->arbiter;
    if (!s->shares) return true;
    s->claim.guest = true;
    om_arbiter_request(a, &s->claim, s->options->priority);
    while (!s->claim.granted && !s->stopping && !s->cancelled && !s->want_move) {
        om_cond_wait_until(&s->wake, lock_of(s), om_now_ns() + OM_GUEST_PATIENCE_NS);
        om_arbiter_request(a, &s->claim, s->options->priority); /* it may have lost its patience */
    }
    if (s->claim.granted) {
        s->claim.granted = false;
        return true;
    }
    om_arbiter_withdraw(a, &s->claim);
    return false;
}

/* One batch of what waits in the bucket. Lock held; given up meanwhile. */
static void serve(om_second *s, om_second_bucket *b)
{
    om_second_rung *r = rung_for(b);
    if (!r->n_flights) {
        bool broken = b->broken;
        pthread_mutex_unlock(lock_of(s));
        int err = broken ? OM_ERR_DEVICE : prepare(s, b, r);
        if (err && !broken)
            om_log(OM_LOG_ERROR, "secondary '%s': input %dx%d: %s", s->name, b->width, b->height,
                   om_error_message());
        pthread_mutex_lock(lock_of(s));
        b->broken = err != OM_OK;
        if (err) give_up_bucket(s, b, err == OM_ERR_NOMEM ? OM_ABSENCE_NO_MEMORY : OM_ABSENCE_FAILED);
        return;
    }
    if (!enter(s)) return;
    om_second_flight *f = r->idle;
    r->idle = f->next;
    for (f->n = 0; f->n < r->plan->batch && b->first; f->n++) f->questions[f->n] = pop(b);
    s->waiting -= f->n;
    s->in_flight++;
    pthread_mutex_unlock(lock_of(s));
    launch(s, f);
    pthread_mutex_lock(lock_of(s));
}

static void *batcher_main(void *arg)
{
    om_second *s = arg;
    pthread_mutex_lock(lock_of(s));
    for (;;) {
        if (s->stopping || s->cancelled) give_up_all(s, OM_ABSENCE_STOPPED);
        else if (s->dead) give_up_all(s, OM_ABSENCE_DEVICE_LOST);
        if (s->stopping && !s->waiting && !s->in_flight) break;
        om_second_bucket *b = s->want_move || s->stopping ? NULL : choose(s);
        if (s->want_move && !s->in_flight && !s->stopping) move(s);
        else if (b) serve(s, b);
        else if (!((s->stopping || s->cancelled || s->dead) && s->waiting))
            om_cond_wait_until(&s->wake, lock_of(s), OM_NEVER);
    }
    pthread_mutex_unlock(lock_of(s));
    return NULL;
}

/* The vector's name becomes the answer's text. */
static void name_vector(om_second *s, om_dets *d)
{
    om_gallery_hit hit;
    if (!s->gallery || !d->n_vector) return;
    int n = om_gallery_search(s->gallery, d->vector, d->n_vector, (float)s->options->threshold, &hit, 1);
    if (n < 1) return;
    om_detection *det = om_dets_add(d);
    if (!det) return;
    det->class_id = -1;
    om_dets_set_text(d, det, hit.name, hit.score);
}

static void finish(om_second *s, om_second_flight *f)
{
    int err = OM_OK;
    if (f->submitted_ns) {
        err = om_session_collect(f->session, s->engine->head, f->n, f->geo, f->dets);
        if (err) failed(s, f, err, "inference failed");
        else atomic_store_explicit(&s->failures_in_a_row, 0, memory_order_relaxed);
        pthread_mutex_lock(&s->stats.lock);
        om_hist_add(&s->stats.infer, f->done_ns - f->submitted_ns);
        pthread_mutex_unlock(&s->stats.lock);
    }
    for (int i = 0; i < f->n; i++) {
        om_question *q = f->questions[i];
        f->questions[i] = NULL;
        if (q && !q->cause) {
            q->dets = f->dets[i];
            f->dets[i] = (om_dets){0};
            name_vector(s, &q->dets);
        }
        om_dets_fini(&f->dets[i]);
        if (q) om_second_post(q);
    }
}

static void *finisher_main(void *arg)
{
    om_second *s = arg;
    void *item;
    while (om_queue_pop(&s->done, &item, OM_NEVER) == OM_OK) {
        om_second_flight *f = item;
        om_trace_begin("second_finish", f->n);
        finish(s, f);
        om_trace_end("second_finish");
        pthread_mutex_lock(lock_of(s));
        f->next = f->rung->idle;
        f->rung->idle = f;
        s->in_flight--;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(lock_of(s));
    }
    return NULL;
}

int om_second_start(om_second *s)
{
    int err = om_queue_init(&s->done, FLIGHTS_MAX);
    if (!err) err = om_thread_start(&s->finisher, "om-2nd-finish", finisher_main, s);
    if (!err) err = om_thread_start(&s->batcher, "om-2nd-batch", batcher_main, s);
    return err;
}

void om_second_stop(om_second *s)
{
    pthread_mutex_lock(lock_of(s));
    s->stopping = true;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(lock_of(s));
    om_thread_join(&s->batcher);
    if (s->done.slots) om_queue_close(&s->done);
    om_thread_join(&s->finisher);
    for (int i = 0; i < s->n_buckets; i++)
        for (int k = 0; k < s->buckets[i].n_rungs; k++) free_rung(&s->buckets[i].rungs[k]);
    om_queue_fini(&s->done);
}
