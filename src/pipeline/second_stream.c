/* One stream's questions: what is asked about a frame, in which order, and what follows from the answers. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/second_priv.h"

#define SWEEP_RECORDS 32

static bool class_wanted(const bool *set, int n, int32_t id) { return !n || (id >= 0 && id < n && set[id]); }

/* Of the parent's classes and scores: one that is asked about. */
static bool wanted(const om_second *s, const om_detection *d)
{
    const om_second_options *o = s->options;
    double score = d->text ? (double)d->text_score : (double)d->score;
    return class_wanted(s->parent_class, s->n_parent_class, d->class_id) && score >= o->min_score &&
           (score < o->max_score || o->max_score >= 1);
}

static bool large_enough(const om_second *s, const om_detection *d)
{
    return d->w >= (float)s->options->min_size.width && d->h >= (float)s->options->min_size.height;
}

static bool turned(const om_second *s, const om_detection *d)
{
    return s->n_turn_class && d && class_wanted(s->turn_class, s->n_turn_class, d->class_id) &&
           (double)d->score > s->options->turn_score;
}

static om_question *question_new(om_second_frame *f, om_second *s, int object, int64_t track)
{
    om_question *q = om_calloc(1, sizeof *q);
    if (!q) return NULL;
    q->frame = f;
    q->second = s;
    q->object = object;
    q->track = track;
    q->above_det = -1;
    if (f->last) f->last->sibling = q;
    else f->first = q;
    f->last = q;
    if (!f->round) f->round = q;
    return q;
}

static om_absence cause_of(int err)
{
    if (err == OM_ERR_NOMEM) return OM_ABSENCE_NO_MEMORY;
    if (err == OM_ERR_DEVICE_LOST) return OM_ABSENCE_DEVICE_LOST;
    return err == OM_ERR_ARG ? OM_ABSENCE_OUTSIDE : OM_ABSENCE_FAILED;
}

static void settle(om_second_stream *st, om_question *q);

/* Cuts and asks; where that cannot be done the question says why at once. */
static void ask(om_question *q, const om_region *base, const om_detection *d, bool turn)
{
    om_second *s = q->second;
    om_second_frame *f = q->frame;
    if (!f->stream->wait && q->object >= 0 && q->track < 0) q->cause = OM_ABSENCE_UNTRACKED;
    else if (f->asked[s->index] >= s->options->budget) q->cause = OM_ABSENCE_BUDGET;
    else {
        int err = om_region_cut(s, base, d, turn, &q->region);
        if (err) q->cause = cause_of(err);
    }
    if (!q->cause) {
        f->asked[s->index]++;
        pthread_mutex_lock(&f->inbox->lock);
        f->outstanding++;
        pthread_mutex_unlock(&f->inbox->lock);
        if (om_second_submit(q, !f->stream->wait)) return; /* it is the engine's now */
        pthread_mutex_lock(&f->inbox->lock);
        f->outstanding--;
        pthread_mutex_unlock(&f->inbox->lock);
    }
    om_second_count_missing(s, q->cause);
    if (!f->stream->wait) settle(f->stream, q);
}

/* What is remembered of the question's track and a model; NULL: nothing can be. */
static om_recall *memory_of(om_second_stream *st, int64_t track, const om_second *s)
{
    om_track_memory *t = track >= 0 ? om_memories_get(&st->memories, track, false) : NULL;
    return t ? &t->models[s->index] : NULL;
}

static bool remembers(const om_second_stream *st, const om_second *s) { return s->by_track || !st->wait; }

/* The questions that should have followed find nothing to be asked about. */
static void nothing_below(om_second_stream *st, const om_question *q, uint32_t missed)
{
    for (int i = 0; i < st->all->n; i++) {
        om_second *s = &st->all->items[i];
        om_recall *m = missed >> i & 1 ? memory_of(st, q->track, s) : NULL;
        if (m && m->pending) om_recall_learn_nothing(m, q->cause);
    }
}

static bool below_with_question(const om_second *s, om_question *q, int det, const om_detection *d)
{
    om_question *child = question_new(q->frame, q->frame->stream->all->items + s->index, q->object, q->track);
    if (!child) return false;
    child->above = q;
    child->above_det = det;
    child->wants = q->wants & s->under;
    child->quality = q->quality;
    const om_detection *first = q->dets.n ? &q->dets.items[0] : NULL;
    ask(child, &q->region, d, turned(s, first));
    return true;
}

/* Asks one model about the answer; returns whether it did. */
static bool ask_below(om_second_stream *st, om_second *s, om_question *q)
{
    const om_dets *d = &q->dets;
    const om_second *above = q->second;
    if (!above->boxes) {
        bool fits = above->vector || (d->n && wanted(s, &d->items[0]));
        return fits && below_with_question(s, q, -1, NULL);
    }
    int most = s->options->most ? s->options->most : s->by_track && q->track >= 0 ? 1 : (int)d->n, asked = 0;
    for (size_t i = 0; i < d->n && asked < most; i++)
        if (wanted(s, &d->items[i]) && large_enough(s, &d->items[i]))
            asked += below_with_question(s, q, (int)i, &d->items[i]);
    return asked > 0;
}

/* Draws the consequences of an answer: asks what follows, and remembers it. */
static void settle(om_second_stream *st, om_question *q)
{
    om_second *s = q->second;
    om_second_frame *f = q->frame;
    uint32_t missed = q->wants;
    q->settled = true;
    if (!q->cause) {
        for (int i = 0; i < st->all->n; i++)
            if (s->below & q->wants & 1u << i && ask_below(st, &st->all->items[i], q))
                missed &= ~(1u << i | st->all->items[i].under);
        om_region_map_dets(&q->region, &q->dets, s->boxes);
    }
    nothing_below(st, q, missed);
    om_recall *m = remembers(st, s) ? memory_of(st, q->track, s) : NULL;
    if (m) om_recall_learn(m, q, f->seq, f->pts_ns);
    if (q->object < 0 && !q->above) st->frame_pending &= ~(1u << s->index);
    om_region_fini(&q->region);
}

/* An answer about a picture whose record has left. */
static void keep_late(om_second_stream *st, om_question *q)
{
    if (q->object >= 0 || q->cause || !q->dets.n) {
        if (q->track < 0 && !q->cause) om_second_count(q->second, &q->second->stats.late);
        return;
    }
    om_question *copy = om_calloc(1, sizeof *copy);
    if (!copy) return;
    *copy = (om_question){.second = q->second, .object = -1, .track = -1, .above_det = -1, .dets = q->dets};
    copy->seq = q->frame->seq;
    q->dets = (om_dets){0};
    om_question **end = &st->late;
    while (*end) end = &(*end)->next;
    *end = copy;
}

/* Files: the frame's questions are settled in the order they were asked, once all of a round have come. Live:
 * as they come. */
static void settle_round(om_second_stream *st, om_second_frame *f)
{
    while (f->round && !f->outstanding) {
        om_question *q, *last = f->last;
        do {
            q = f->round;
            f->round = q->sibling;
            if (!q->settled) settle(st, q);
        } while (q != last);
    }
}

static void take_live(om_second_stream *st, om_question *q)
{
    om_second_frame *f = q->frame;
    settle(st, q);
    if (!f->held) keep_late(st, q);
    settle_round(st, f);
    if (!f->held && !om_second_outstanding(f)) om_second_frame_free(f);
}

void om_second_harvest(om_second_stream *st)
{
    pthread_mutex_lock(&st->inbox->lock);
    om_question *q = st->inbox->first;
    st->inbox->first = st->inbox->last = NULL;
    pthread_mutex_unlock(&st->inbox->lock);
    while (q) {
        om_question *next = q->next;
        pthread_mutex_lock(&st->inbox->lock);
        q->frame->outstanding--;
        pthread_mutex_unlock(&st->inbox->lock);
        if (st->wait) {
            if (!om_second_outstanding(q->frame)) settle_round(st, q->frame);
        } else {
            take_live(st, q);
        }
        q = next;
    }
}

/* What may be asked about an object, while it is decided what is. */
typedef struct candidate {
    int object;
    bool first;      /* never asked */
    uint64_t waited; /* records since it was */
    float area;
    double quality;
    uint32_t wants; /* of the models below and this one */
} candidate;

/* The models below that are worth asking about this track. */
static uint32_t wants_below(om_second_stream *st, const om_second *s, int64_t track, double quality,
                            const om_second_frame *f)
{
    uint32_t out = 0;
    for (int i = 0; i < st->all->n; i++) {
        const om_second *c = &st->all->items[i];
        if (!(s->under >> i & 1)) continue;
        om_recall *m = c->by_track ? memory_of(st, track, c) : NULL;
        bool wants = c->by_track ? m && om_recall_wants(c, m, quality, f->number, f->pts_ns)
                                 : f->number % (uint64_t)c->options->every == 0;
        if (wants) out |= 1u << i;
    }
    return out;
}

/* What is above a wanted model has to be asked for its sake. */
static uint32_t with_those_above(const om_seconds *all, uint32_t wants)
{
    for (int i = 0; i < all->n; i++)
        if (wants >> i & 1)
            for (int p = all->items[i].parent; p >= 0; p = all->items[p].parent) wants |= 1u << p;
    return wants;
}

static double quality_of(const om_result *r, const om_detection *d)
{
    double area = (double)d->w * (double)d->h;
    return area > 0 ? area * om_region_sharpness(r->frame, d) : 0;
}

/* Whether, and for what, the model is to be asked about this object. */
static bool consider(om_second_stream *st, om_second *s, const om_second_frame *f, const om_result *r,
                     int object, double *quality, candidate *out)
{
    const om_detection *d = &r->dets.items[object];
    if (!wanted(s, d) || !large_enough(s, d)) return false;
    om_recall *known = remembers(st, s) ? memory_of(st, d->track, s) : NULL, *m = s->by_track ? known : NULL;
    if (s->by_track && !m) return false;       /* not a track yet */
    if (known && known->pending) return false; /* live: one question at a time */
    if (s->weighs && *quality < 0) *quality = quality_of(r, d);
    *out = (candidate){.object = object, .area = d->w * d->h, .quality = *quality > 0 ? *quality : 0};
    out->wants = wants_below(st, s, d->track, out->quality, f);
    bool self = m ? om_recall_wants(s, m, out->quality, f->number, f->pts_ns)
                  : f->number % (uint64_t)s->options->every == 0;
    if (!self && !out->wants) return false;
    out->wants = with_those_above(st->all, out->wants) & s->under;
    out->first = !m || !m->asks;
    out->waited = m ? f->number - m->asked_at : 0;
    return true;
}

static int by_urgency(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->first != y->first) return x->first ? -1 : 1;
    if (x->waited != y->waited) return x->waited > y->waited ? -1 : 1;
    if (x->area > y->area || x->area < y->area) return x->area > y->area ? -1 : 1;
    return x->object - y->object;
}

static void note_asked(om_recall *m, double quality, uint64_t number)
{
    m->asks++;
    m->pending = true;
    m->asked_at = number;
    if (quality > m->best_quality) m->best_quality = quality;
}

/* The track's memories of what is asked now. */
static void mark_asked(om_second_stream *st, const om_question *q)
{
    uint32_t set = q->wants | 1u << q->second->index;
    for (int i = 0; i < st->all->n; i++) {
        om_second *s = &st->all->items[i];
        om_recall *m = set >> i & 1 && remembers(st, s) ? memory_of(st, q->track, s) : NULL;
        if (m) note_asked(m, q->quality, q->frame->number);
    }
}

static void ask_about_objects(om_second_stream *st, om_second *s, om_second_frame *f, const om_result *r,
                              double *qualities, candidate *list)
{
    om_region base;
    int n = 0;
    for (int i = 0; i < (int)r->dets.n; i++) n += consider(st, s, f, r, i, &qualities[i], &list[n]);
    qsort(list, (size_t)n, sizeof *list, by_urgency);
    om_region_of_frame(r->frame, &base);
    for (int i = 0; i < n; i++) {
        const om_detection *d = &r->dets.items[list[i].object];
        om_question *q = question_new(f, s, list[i].object, d->track);
        if (!q) return;
        q->wants = list[i].wants;
        q->quality = list[i].quality;
        /* What is over the budget was not asked: it stays as urgent as it is. */
        if (f->asked[s->index] < s->options->budget) mark_asked(st, q);
        ask(q, &base, d, false);
    }
}

/* Some object of the primary's is what it looks out for; without rules about objects, always. */
static bool frame_in_doubt(const om_second *s, const om_result *r)
{
    const om_second_options *o = s->options;
    if (!s->n_parent_class && o->min_score <= 0 && o->max_score >= 1) return true;
    for (size_t i = 0; i < r->dets.n; i++)
        if (wanted(s, &r->dets.items[i])) return true;
    return false;
}

static void ask_about_frame(om_second_stream *st, om_second *s, om_second_frame *f, const om_result *r)
{
    om_region base;
    if (f->number % (uint64_t)s->options->every || st->frame_pending >> s->index & 1 || !frame_in_doubt(s, r))
        return;
    om_question *q = question_new(f, s, -1, -1);
    if (!q) return;
    q->wants = s->under;
    if (!st->wait) st->frame_pending |= 1u << s->index;
    om_region_of_frame(r->frame, &base);
    ask(q, &base, NULL, false);
}

/* The tracks that are there now. */
static void meet_tracks(om_second_stream *st, const om_result *r)
{
    for (size_t i = 0; i < r->dets.n; i++) {
        if (r->dets.items[i].track < 0) continue;
        om_track_memory *t = om_memories_get(&st->memories, r->dets.items[i].track, true);
        if (t) t->last = st->number;
    }
    uint64_t keep = (uint64_t)st->all->keep_records;
    if (st->number % SWEEP_RECORDS == 0 && st->number > keep)
        om_memories_sweep(&st->memories, st->number - keep);
}

om_second_frame *om_second_begin(om_second_stream *st, om_result *r)
{
    om_second_frame *f = om_calloc(1, sizeof *f);
    if (!f) return NULL;
    f->inbox = st->inbox;
    om_ref_inc(&f->inbox->ref);
    f->stream = st;
    f->seq = r->seq;
    f->pts_ns = r->pts_ns;
    f->number = st->number;
    f->held = true;
    meet_tracks(st, r);
    double *qualities = om_calloc(r->dets.n + 1, sizeof *qualities);
    candidate *list = om_calloc(r->dets.n + 1, sizeof *list);
    for (size_t i = 0; qualities && i < r->dets.n; i++) qualities[i] = -1;
    for (int i = 0; i < st->all->n && r->frame && qualities && list; i++) {
        om_second *s = &st->all->items[i];
        if (st->all->top >> i & 1) ask_about_objects(st, s, f, r, qualities, list);
        if (st->all->of_frame >> i & 1) ask_about_frame(st, s, f, r);
    }
    om_free(qualities);
    om_free(list);
    st->number++;
    if (!om_second_outstanding(f)) settle_round(st, f);
    return f;
}

bool om_second_ready(const om_second_frame *f)
{
    return !f->stream->wait || (!om_second_outstanding((om_second_frame *)f) && !f->round);
}

void om_second_abandon(om_second_frame *f)
{
    f->held = false;
    if (!om_second_outstanding(f)) om_second_frame_free(f);
}

void om_second_finish(om_second_stream *st, om_second_frame *f, om_result *r)
{
    om_second_attach(st, f, r);
    om_second_abandon(f);
}
