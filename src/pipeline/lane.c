#include "pipeline/lane.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/second.h"
#include "quant/drift.h"
#include "trace/trace.h"

int om_lane_init(om_lane *l, om_lane_pool *pool, om_mailbox *mailbox, om_account *account, int credits)
{
    memset(l, 0, sizeof(*l));
    l->slots = om_calloc((size_t)credits, sizeof(*l->slots));
    if (!l->slots) return OM_ERR_NOMEM;
    l->cap = credits;
    l->pool = pool;
    l->mailbox = mailbox;
    l->account = account;
    pthread_mutex_init(&l->lock, NULL);
    return OM_OK;
}

void om_lane_fini(om_lane *l)
{
    if (!l->slots) return;
    for (int i = 0; i < l->cap; i++) om_result_unref(l->slots[i].result);
    for (; l->n_ahead; l->n_ahead--) {
        if (l->ahead[l->first_ahead].questions) om_second_abandon(l->ahead[l->first_ahead].questions);
        om_result_unref(l->ahead[l->first_ahead].result);
        l->first_ahead = (l->first_ahead + 1) % OM_LANE_AHEAD;
    }
    om_result_unref(l->current);
    om_second_stream_destroy(l->second);
    om_tracker_destroy(l->tracker);
    pthread_mutex_destroy(&l->lock);
    om_free(l->slots);
    om_free(l->sinks);
    l->slots = NULL;
}

static void abandon(om_lane *l, om_result *r)
{
    if (!r) return;
    om_account_skip(l->account, OM_SKIP_STOPPED);
    om_result_unref(r);
}

void om_lane_abandon(om_lane *l)
{
    abandon(l, l->current);
    l->current = NULL;
    for (int i = 0; i < l->n_ahead; i++) {
        int k = (l->first_ahead + i) % OM_LANE_AHEAD;
        abandon(l, l->ahead[k].result);
        l->ahead[k].result = NULL;
    }
    for (int i = 0; i < l->cap; i++) {
        abandon(l, l->slots[i].result);
        l->slots[i] = (om_lane_slot){0};
    }
}

static void enqueue(om_lane *l)
{
    om_lane_pool *p = l->pool;
    pthread_mutex_lock(&p->lock);
    l->run_next = NULL;
    if (p->last) p->last->run_next = l;
    else p->first = l;
    p->last = l;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

/* True: the caller has to enqueue it, after unlocking. Lock held. */
static bool wake(om_lane *l)
{
    bool queue = l->state == OM_LANE_IDLE;
    if (queue) l->state = OM_LANE_QUEUED;
    else if (l->state == OM_LANE_RUNNING) l->state = OM_LANE_RERUN;
    return queue;
}

void om_lane_kick(om_lane *l)
{
    pthread_mutex_lock(&l->lock);
    bool queue = wake(l);
    pthread_mutex_unlock(&l->lock);
    if (queue) enqueue(l);
}

void om_lane_close(om_lane *l) { om_second_stream_close(l->second); }

bool om_lane_idle(om_lane *l)
{
    pthread_mutex_lock(&l->lock);
    bool idle = l->state == OM_LANE_IDLE;
    pthread_mutex_unlock(&l->lock);
    return idle;
}

void om_lane_post(om_lane *l, uint64_t order, om_result *r)
{
    pthread_mutex_lock(&l->lock);
    l->slots[order % (uint64_t)l->cap] =
        (om_lane_slot){.result = r, .filled = true, .posted_ns = om_now_ns()};
    /* In one go: a lane whose stream was removed may be freed when its last result is through. */
    bool queue = wake(l);
    pthread_mutex_unlock(&l->lock);
    if (queue) enqueue(l);
}

/* Takes the next slot in order; false if it has not come yet. */
static bool next_slot(om_lane *l, om_result **r, int64_t *posted_ns)
{
    pthread_mutex_lock(&l->lock);
    om_lane_slot *s = &l->slots[l->next % (uint64_t)l->cap];
    bool filled = s->filled;
    if (filled) {
        *r = s->result;
        *posted_ns = s->posted_ns;
        *s = (om_lane_slot){0};
        l->next++;
    }
    pthread_mutex_unlock(&l->lock);
    return filled;
}

/* Gives the objects their tracks. Without memory for it a frame goes on without. */
static void track(om_lane *l, om_result *r)
{
    if (!l->tracker) return;
    if (r->epoch != l->epoch) om_tracker_reset(l->tracker);
    l->epoch = r->epoch;
    int err = om_tracker_update(l->tracker, r->seq, r->width, r->height, &r->dets);
    if (err && !l->tracker_failed)
        om_log(OM_LOG_WARN, "stream '%s': tracker: %s", l->stream, om_error_message());
    l->tracker_failed = err != OM_OK;
    om_tracker_report(&r->dets, l->conf);
}

/* The result is complete: from here on it is handed over. */
static void complete(om_lane *l, om_result *r)
{
    l->begun_ns = om_now_ns();
    r->latency_ns = l->begun_ns - r->latency_ns; /* until here the field carried the due time */
    l->current = r;
    l->offered = 0;
    if (l->drift) om_drift_found(l->drift, l->stream_index, l->stream, r->pts_ns, r->dets.n);
    if (!l->callback) return;
    om_frame_result view;
    om_result_view(r, &view);
    l->callback(l->callback_user, &view);
}

/* Nobody is left to hear of this stream. */
static bool sinks_dead(const om_lane *l)
{
    if (!l->n_sinks || !l->on_sinks_dead) return false;
    for (size_t i = 0; i < l->n_sinks; i++)
        if (!atomic_load_explicit(&l->sinks[i]->status, memory_order_relaxed)) return false;
    return true;
}

/* Hands the current result on; false when a sink is full and the lane has to stop here. */
static bool deliver(om_lane *l)
{
    while (l->offered < l->n_sinks) {
        if (om_sink_offer(l->sinks[l->offered], l->current) == OM_ERR_AGAIN) {
            if (!atomic_load(&l->give_up)) return false;
            break;
        }
        l->offered++;
    }
    int64_t now = om_now_ns();
    om_stages_note(l->account->stages, OM_STAGE_SINK, now - l->begun_ns);
    if (l->offered == l->n_sinks) {
        atomic_store_explicit(&l->through, l->current->seq + 1, memory_order_relaxed);
        om_account_inferred(l->account, l->current->latency_ns, now);
    } else om_account_skip(l->account, OM_SKIP_STOPPED);
    om_result_unref(l->current);
    l->current = NULL;
    om_mailbox_credit(l->mailbox);
    if (sinks_dead(l)) l->on_sinks_dead(l->on_sinks_dead_user);
    return true;
}

/* The first frame that waits for secondary models; false: its answers are not all there. */
static bool complete_ahead(om_lane *l)
{
    if (!l->n_ahead) return false;
    om_second_frame *q = l->ahead[l->first_ahead].questions;
    om_result *r = l->ahead[l->first_ahead].result;
    if (q && !om_second_ready(q)) return false;
    om_trace_begin("secondary", r->stream_index);
    if (q) om_second_finish(l->second, q, r);
    om_trace_end("secondary");
    om_stages_note(l->account->stages, OM_STAGE_SECONDARY, om_now_ns() - l->ahead[l->first_ahead].asked_ns);
    l->first_ahead = (l->first_ahead + 1) % OM_LANE_AHEAD;
    l->n_ahead--;
    complete(l, r);
    return true;
}

static void ask(om_lane *l, om_result *r)
{
    int at = (l->first_ahead + l->n_ahead++) % OM_LANE_AHEAD;
    l->ahead[at].result = r;
    l->ahead[at].asked_ns = om_now_ns();
    l->ahead[at].questions = om_second_begin(l->second, r);
    if (!l->drops_pictures) return;
    om_frame_unref(r->frame); /* its crops are cut */
    r->frame = NULL;
}

/* The next frame in order: followed by the tracker, and asked about or complete at once. False: none has
 * come, or the secondary models have enough to do. */
static bool begin_next(om_lane *l)
{
    om_result *r = NULL;
    int64_t posted_ns = 0;
    if (l->second && l->n_ahead >= om_second_stream_depth(l->second)) return false;
    if (!next_slot(l, &r, &posted_ns)) return false;
    if (!r) { /* a tombstone: its loss was counted where it happened */
        om_mailbox_credit(l->mailbox);
        return true;
    }
    om_stages *stages = l->account->stages;
    int64_t now = om_now_ns();
    om_trace_begin("lane", r->stream_index);
    om_trace_flow(l->n_sinks ? OM_FLOW_STEP : OM_FLOW_END, om_trace_frame_id(r->stream_index, r->seq));
    om_stages_note(stages, OM_STAGE_LANE, now - posted_ns);
    track(l, r);
    if (l->tracker) om_stages_note(stages, OM_STAGE_TRACK, om_now_ns() - now);
    if (l->second) ask(l, r);
    else complete(l, r);
    om_trace_end("lane");
    return true;
}

static void run(om_lane *l)
{
    if (l->second) om_second_harvest(l->second);
    for (;;) {
        if (l->current && !deliver(l)) return;
        if (!complete_ahead(l) && !begin_next(l)) return;
    }
}

static om_lane *next_lane(om_lane_pool *p)
{
    pthread_mutex_lock(&p->lock);
    while (!p->first && !p->stopping) om_cond_wait_until(&p->wake, &p->lock, OM_NEVER);
    om_lane *l = p->first;
    if (l) {
        p->first = l->run_next;
        if (!p->first) p->last = NULL;
    }
    pthread_mutex_unlock(&p->lock);
    return l;
}

static void *worker(void *arg)
{
    om_lane_pool *p = arg;
    for (om_lane *l; (l = next_lane(p));) {
        pthread_mutex_lock(&l->lock);
        l->state = OM_LANE_RUNNING;
        pthread_mutex_unlock(&l->lock);
        run(l);
        pthread_mutex_lock(&l->lock);
        bool again = l->state == OM_LANE_RERUN;
        l->state = again ? OM_LANE_QUEUED : OM_LANE_IDLE;
        pthread_mutex_unlock(&l->lock);
        if (again) enqueue(l);
    }
    return NULL;
}

int om_lane_pool_start(om_lane_pool *p, int threads)
{
    memset(p, 0, sizeof(*p));
    pthread_mutex_init(&p->lock, NULL);
    om_cond_init(&p->wake);
    int max = (int)(sizeof(p->threads) / sizeof(p->threads[0]));
    if (threads > max) threads = max;
    for (; p->n_threads < threads; p->n_threads++) {
        int err = om_thread_start(&p->threads[p->n_threads], "om-lane", worker, p);
        if (err) {
            om_lane_pool_stop(p);
            return err;
        }
    }
    return OM_OK;
}

void om_lane_pool_stop(om_lane_pool *p)
{
    if (!p->n_threads) return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_threads; i++) om_thread_join(&p->threads[i]);
    p->n_threads = 0;
}

void om_lane_pool_fini(om_lane_pool *p)
{
    om_lane_pool_stop(p);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
}
