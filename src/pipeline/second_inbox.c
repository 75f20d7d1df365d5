/* What lies between a stream and the engines that answer it: the inbox, and whose a frame's questions are
 * when the stream is gone. */
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/second_priv.h"

#define DEPTH_FREE 8 /* frames under way where no answer bears on later questions */

const char *om_absence_name(om_absence c)
{
    static const char *const names[OM_ABSENCE_COUNT] = {"",          "pending",   "budget", "queue",
                                                        "outside",   "untracked", "failed", "device_lost",
                                                        "no_memory", "stopped"};
    return names[c];
}

void om_question_free(om_question *q)
{
    om_region_fini(&q->region);
    om_dets_fini(&q->dets);
    om_free(q);
}

static void inbox_unref(om_inbox *b)
{
    if (!om_ref_dec(&b->ref)) return;
    pthread_mutex_destroy(&b->lock);
    om_free(b);
}

void om_second_frame_free(om_second_frame *f)
{
    for (om_question *q; (q = f->first);) {
        f->first = q->sibling;
        om_question_free(q);
    }
    inbox_unref(f->inbox);
    om_free(f);
}

void om_second_count(om_second *s, uint64_t *counter)
{
    pthread_mutex_lock(&s->stats.lock);
    ++*counter;
    pthread_mutex_unlock(&s->stats.lock);
}

static void count_answer(const om_question *q)
{
    om_second *s = q->second;
    bool empty = s->vector ? !q->dets.n_vector : !q->dets.n;
    uint64_t *counter = q->cause ? &s->stats.missing[q->cause] : empty ? &s->stats.empty : &s->stats.answered;
    om_second_count(s, counter);
}

void om_second_post(om_question *q)
{
    om_inbox *b = q->frame->inbox;
    count_answer(q);
    om_second_frame *gone = NULL;
    pthread_mutex_lock(&b->lock);
    if (b->orphan) {
        if (!--q->frame->outstanding) gone = q->frame;
    } else {
        q->next = NULL;
        if (b->last) b->last->next = q;
        else b->first = q;
        b->last = q;
        if (!b->closed) b->answered(b->user);
    }
    pthread_mutex_unlock(&b->lock);
    if (gone) om_second_frame_free(gone);
}

int om_second_stream_create(om_seconds *s, const char *name, bool wait, void (*answered)(void *user),
                            void *user, om_second_stream **out)
{
    *out = NULL;
    om_second_stream *st = om_calloc(1, sizeof *st);
    if (st) st->inbox = om_calloc(1, sizeof *st->inbox);
    if (!st || !st->inbox) {
        om_free(st);
        return OM_ERR_NOMEM;
    }
    st->all = s;
    st->wait = wait;
    st->memories = (om_memories){.all = s, .stream = name};
    om_ref_init(&st->inbox->ref);
    pthread_mutex_init(&st->inbox->lock, NULL);
    st->inbox->answered = answered;
    st->inbox->user = user;
    if (!wait && s->top && !s->primary->tracking.ops)
        om_log(OM_LOG_WARN,
               "stream '%s' is live and waits for no answer, and without a tracker none can be remembered: "
               "secondary models that look at objects are not asked (--track bytetrack)",
               name);
    *out = st;
    return OM_OK;
}

void om_second_stream_close(om_second_stream *st)
{
    if (!st) return;
    pthread_mutex_lock(&st->inbox->lock);
    st->inbox->closed = true;
    pthread_mutex_unlock(&st->inbox->lock);
}

int om_second_stream_depth(const om_second_stream *st) { return st->all->any_track ? 1 : DEPTH_FREE; }

/* Some are told before anything was asked. */
void om_second_count_missing(om_second *s, om_absence cause)
{
    pthread_mutex_lock(&s->stats.lock);
    s->stats.missing[cause]++;
    s->stats.asked += cause > OM_ABSENCE_UNTRACKED;
    pthread_mutex_unlock(&s->stats.lock);
}

void om_second_stream_destroy(om_second_stream *st)
{
    if (!st) return;
    om_second_frame *gone = NULL; /* those with nothing in queue or engine, chained by their first question */
    pthread_mutex_lock(&st->inbox->lock);
    st->inbox->closed = st->inbox->orphan = true;
    om_question *q = st->inbox->first;
    st->inbox->first = st->inbox->last = NULL;
    pthread_mutex_unlock(&st->inbox->lock);
    while (q) {
        om_question *next = q->next;
        pthread_mutex_lock(&st->inbox->lock);
        gone = --q->frame->outstanding ? NULL : q->frame;
        pthread_mutex_unlock(&st->inbox->lock);
        if (gone) om_second_frame_free(gone);
        q = next;
    }
    for (om_question *l; (l = st->late);) {
        st->late = l->next;
        om_question_free(l);
    }
    om_memories_fini(&st->memories);
    inbox_unref(st->inbox);
    om_free(st);
}

int om_second_outstanding(om_second_frame *f)
{
    pthread_mutex_lock(&f->inbox->lock);
    int n = f->outstanding;
    pthread_mutex_unlock(&f->inbox->lock);
    return n;
}
