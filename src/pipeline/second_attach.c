/* Answers into records: those of this frame, and what is remembered of its tracks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/second_priv.h"

#define SAME_OBJECT 0.5 /* least overlap of two boxes of one object */

typedef struct record {
    om_second_stream *st;
    om_second_frame *f;
    om_result *r;
} record;

/* Room for an answer of the model's; NULL without memory: the record goes without it. */
static om_answer *add(record *c, const om_second *s, int object, int parent, uint64_t seq)
{
    om_answer *a = om_answers_add(&c->r->answers);
    if (!a) return NULL;
    a->object = parent >= 0 ? c->r->answers.items[parent].object : object;
    a->parent = parent;
    a->model = s->name;
    a->seq = seq;
    return a;
}

static void add_missing(record *c, const om_second *s, int object, int parent, om_absence cause)
{
    om_answer *a = add(c, s, object, parent, c->r->seq);
    if (a) a->missing = om_absence_name(cause);
}

/* One answer for each detection; returns the place of the first, -1: there is none. */
static int add_dets(record *c, const om_second *s, const om_dets *d, int object, int parent, uint64_t seq)
{
    om_answers *all = &c->r->answers;
    int first = -1;
    for (size_t i = 0; i < d->n; i++) {
        om_answer *a = add(c, s, object, parent, seq);
        if (!a) break;
        if (first < 0) first = (int)(a - all->items);
        a->det = d->items[i];
        if (!s->boxes && !s->classes) a->det.class_id = -1;
        a->label = om_second_label(s, a->det.class_id);
        if (a->det.text) a->det.text = om_answers_text(all, a->det.text);
    }
    return first;
}

static int add_vector(record *c, const om_second *s, const om_dets *d, int object, int parent, uint64_t seq)
{
    om_answers *all = &c->r->answers;
    om_answer *a = add(c, s, object, parent, seq);
    if (!a) return -1;
    a->vector = om_answers_vector(all, d->vector, d->n_vector);
    a->n_vector = a->vector ? d->n_vector : 0;
    if (d->n && d->items[0].text) a->det.text = om_answers_text(all, d->items[0].text);
    if (a->det.text) a->det.text_score = d->items[0].text_score;
    return (int)(a - all->items);
}

/* The track's voted text or class. */
static int add_voted(record *c, const om_second *s, const om_recall *m, int object, int parent)
{
    om_answers *all = &c->r->answers;
    om_answer *a = add(c, s, object, parent, m->seq);
    if (!a) return -1;
    a->votes = m->votes.n;
    if (s->classes) {
        a->det.class_id = m->class_id;
        a->det.score = m->score;
        a->label = om_second_label(s, m->class_id);
    } else if (m->text && (a->det.text = om_answers_text(all, m->text))) {
        a->det.text_score = m->score;
    }
    if (s->vector && m->fresh) {
        a->vector = om_answers_vector(all, m->dets.vector, m->dets.n_vector);
        a->n_vector = a->vector ? m->dets.n_vector : 0;
    }
    return (int)(a - all->items);
}

static int add_known(record *c, const om_second *s, const om_recall *m, int object, int parent)
{
    if (s->boxes || (!s->by_track && !s->vector)) return add_dets(c, s, &m->dets, object, parent, m->seq);
    if (!s->by_track) return add_vector(c, s, &m->dets, object, parent, m->seq);
    return add_voted(c, s, m, object, parent);
}

static void add_crop(record *c, const om_second *s, const om_recall *m, int64_t track)
{
    if (m->entry < 0 || !m->crop) return;
    char *path = om_recall_crop_path(s, c->st->memories.stream, track);
    if (path) c->r->answers.items[m->entry].crop = om_answers_text(&c->r->answers, path);
    om_free(path);
}

/* What is remembered of a track: all of models that are asked by tracks; of others, in live streams, what no
 * record had yet. */
static void attach_memory(record *c, const om_second *s, om_track_memory *t, int object)
{
    om_recall *m = &t->models[s->index];
    int parent = s->parent >= 0 ? t->models[s->parent].entry : -1;
    m->entry = -1;
    if (m->known && (s->by_track || m->fresh)) {
        m->entry = add_known(c, s, m, object, parent);
        add_crop(c, s, m, t->id);
        m->fresh = false;
    } else if (m->cause || (m->pending && s->parent < 0)) {
        add_missing(c, s, object, parent, m->cause ? m->cause : OM_ABSENCE_PENDING);
    }
}

static void attach_track(record *c, int object)
{
    om_seconds *all = c->st->all;
    int64_t track = c->r->dets.items[object].track;
    om_track_memory *t = track >= 0 ? om_memories_get(&c->st->memories, track, false) : NULL;
    for (int i = 0; t && i < all->n; i++) {
        const om_second *s = &all->items[all->order[i]];
        t->models[s->index].entry = -1;
        if (s->by_track || !c->st->wait) attach_memory(c, s, t, object);
    }
}

static double overlap(const om_detection *a, const om_detection *b)
{
    double w = fmin((double)a->x + a->w, (double)b->x + b->w) - fmax(a->x, b->x);
    double h = fmin((double)a->y + a->h, (double)b->y + b->h) - fmax(a->y, b->y);
    if (!(w > 0) || !(h > 0)) return 0;
    return w * h / ((double)a->w * a->h + (double)b->w * b->h - w * h);
}

/* The primary's object that a second opinion about the picture means too; -1: none. */
static int same_object(const om_result *r, const om_answer *a)
{
    int best = -1;
    double most = SAME_OBJECT;
    for (size_t i = 0; i < r->dets.n && a->label; i++) {
        const om_detection *d = &r->dets.items[i];
        if (d->class_id < 0 || (size_t)d->class_id >= r->labels.n) continue;
        double v = overlap(d, &a->det);
        if (v < most || strcmp(r->labels.names[d->class_id], a->label)) continue;
        most = v;
        best = (int)i;
    }
    return best;
}

/* Where in the record the answer stands that this question is about. */
static int entry_above(const record *c, const om_question *q)
{
    const om_question *above = q->above;
    if (!above) return -1;
    if (above->entry >= 0) return above->entry + (q->above_det > 0 ? q->above_det : 0);
    const om_track_memory *t = q->track >= 0 ? om_memories_get(&c->st->memories, q->track, false) : NULL;
    return t ? t->models[above->second->index].entry : -1;
}

/* An answer of this frame. */
static void attach_question(record *c, om_question *q)
{
    const om_second *s = q->second;
    om_answers *all = &c->r->answers;
    int parent = entry_above(c, q);
    q->entry = -1;
    if (q->cause) {
        add_missing(c, s, q->object, parent, q->cause);
        return;
    }
    q->entry = s->vector && q->dets.n_vector ? add_vector(c, s, &q->dets, q->object, parent, c->f->seq)
                                             : add_dets(c, s, &q->dets, q->object, parent, c->f->seq);
    if (q->object >= 0 || q->above || q->entry < 0 || !s->boxes) return;
    for (size_t i = (size_t)q->entry; i < all->n; i++)
        all->items[i].object = same_object(c->r, &all->items[i]);
}

static void attach_late(record *c)
{
    for (om_question *q; (q = c->st->late);) {
        c->st->late = q->next;
        add_dets(c, q->second, &q->dets, -1, -1, q->seq);
        om_question_free(q);
    }
}

/* In the order of the objects, those about the picture first. Parents stay before their children, and point
 * right. */
static void sort(record *c)
{
    om_answers *a = &c->r->answers;
    size_t buckets = c->r->dets.n + 1;
    size_t *start = om_calloc(buckets + 1, sizeof *start);
    om_answer *items = om_calloc(a->n + 1, sizeof *items);
    int *place = om_calloc(a->n + 1, sizeof *place);
    if (start && items && place) {
        for (size_t i = 0; i < a->n; i++) start[a->items[i].object + 2 > 0 ? a->items[i].object + 2 : 0]++;
        for (size_t i = 1; i <= buckets; i++) start[i] += start[i - 1];
        for (size_t i = 0; i < a->n; i++) place[i] = (int)start[a->items[i].object + 1]++;
        for (size_t i = 0; i < a->n; i++) {
            items[place[i]] = a->items[i];
            if (items[place[i]].parent >= 0) items[place[i]].parent = place[items[place[i]].parent];
        }
        memcpy(a->items, items, a->n * sizeof *items);
    } else {
        a->n = 0; /* unordered they are no use */
    }
    om_free(start);
    om_free(items);
    om_free(place);
}

/* An object that has no text of its own gets the best of its answers'. */
static void lift_texts(om_result *r)
{
    const om_answer *best = NULL;
    for (size_t i = 0; i < r->answers.n; i++) {
        const om_answer *a = &r->answers.items[i];
        bool last = i + 1 == r->answers.n || r->answers.items[i + 1].object != a->object;
        if (a->object >= 0 && a->det.text && *a->det.text &&
            (!best || a->det.text_score > best->det.text_score))
            best = a;
        if (!last) continue;
        if (best && !r->dets.items[best->object].text)
            om_dets_set_text(&r->dets, &r->dets.items[best->object], best->det.text, best->det.text_score);
        best = NULL;
    }
}

void om_second_attach(om_second_stream *st, om_second_frame *f, om_result *r)
{
    record c = {st, f, r};
    for (size_t i = 0; i < r->dets.n; i++) attach_track(&c, (int)i);
    for (om_question *q = f->first; q; q = q->sibling) {
        q->entry = -1;
        bool now =
            st->wait ? !q->second->by_track : !q->above && q->track < 0 && (q->object >= 0 || q->cause);
        if (now && !st->wait && !q->cause) add_missing(&c, q->second, q->object, -1, OM_ABSENCE_PENDING);
        else if (now) attach_question(&c, q);
    }
    attach_late(&c);
    if (!r->answers.n) return;
    sort(&c);
    lift_texts(r);
}
