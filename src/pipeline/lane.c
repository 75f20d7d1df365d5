#include "pipeline/lane.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
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
    om_result_unref(l->current);
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

void om_lane_kick(om_lane *l)
{
    pthread_mutex_lock(&l->lock);
    bool queue = l->state == OM_LANE_IDLE;
    if (queue) l->state = OM_LANE_QUEUED;
    else if (l->state == OM_LANE_RUNNING) l->state = OM_LANE_RERUN;
    pthread_mutex_unlock(&l->lock);
    if (queue) enqueue(l);
}

void om_lane_post(om_lane *l, uint64_t order, om_result *r)
{
    pthread_mutex_lock(&l->lock);
    l->slots[order % (uint64_t)l->cap] =
        (om_lane_slot){.result = r, .filled = true, .posted_ns = om_now_ns()};
    pthread_mutex_unlock(&l->lock);
    om_lane_kick(l);
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
    int err = om_tracker_update(l->tracker, r->seq, r->width, r->height, &r->dets);
    if (err && !l->tracker_failed)
        om_log(OM_LOG_WARN, "stream '%s': tracker: %s", l->stream, om_error_message());
    l->tracker_failed = err != OM_OK;
    om_tracker_report(&r->dets, l->conf);
}

static void begin(om_lane *l, om_result *r, int64_t due_ns, int64_t posted_ns)
{
    track(l, r);
    l->begun_ns = om_now_ns();
    om_stages_note(l->account->stages, OM_STAGE_LANE, l->begun_ns - posted_ns);
    r->latency_ns = l->begun_ns - due_ns;
    l->current = r;
    l->offered = 0;
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
        if (om_sink_offer(l->sinks[l->offered], l->current) == OM_ERR_AGAIN) return false;
        l->offered++;
    }
    int64_t now = om_now_ns();
    om_stages_note(l->account->stages, OM_STAGE_SINK, now - l->begun_ns);
    om_account_inferred(l->account, l->current->latency_ns, now);
    om_result_unref(l->current);
    l->current = NULL;
    om_mailbox_credit(l->mailbox);
    if (sinks_dead(l)) l->on_sinks_dead(l->on_sinks_dead_user);
    return true;
}

static void run(om_lane *l)
{
    if (l->current && !deliver(l)) return;
    om_result *r = NULL;
    int64_t posted_ns = 0;
    while (next_slot(l, &r, &posted_ns)) {
        if (!r) { /* a tombstone: its loss was counted where it happened */
            om_mailbox_credit(l->mailbox);
            continue;
        }
        om_trace_begin("lane", r->stream_index);
        om_trace_flow(l->n_sinks ? OM_FLOW_STEP : OM_FLOW_END, om_trace_frame_id(r->stream_index, r->seq));
        /* Until hand-over the field carries the due time: the latency is only known now. */
        begin(l, r, r->latency_ns, posted_ns);
        bool done = deliver(l);
        om_trace_end("lane");
        if (!done) return;
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
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
}
