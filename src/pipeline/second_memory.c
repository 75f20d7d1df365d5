/* What is remembered of a track: its answers, when it was asked about, its best crop. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/second_priv.h"

#define BACK_OFF_MAX 5 /* doublings of the pause after answers that said nothing */
#define CROP_QUALITY 90

char *om_recall_crop_path(const om_second *s, const char *stream, int64_t track)
{
    return om_sprintf("%s/%s-%lld-%s.jpg", s->options->save_crops, stream, (long long)track, s->name);
}

static void save_crop(om_memories *m, const om_second *s, const om_track_memory *t)
{
    const om_recall *mem = &t->models[s->index];
    uint8_t *data = NULL;
    size_t size;
    om_frame *f = mem->crop;
    char *path = om_recall_crop_path(s, m->stream, t->id);
    int err = path ? om_device_thumbnail(m->all->host, f, f->image.width, f->image.height, CROP_QUALITY,
                                         &data, &size)
                   : OM_ERR_NOMEM;
    if (!err) err = om_write_file_atomic(path, data, size);
    if (err) om_log(OM_LOG_WARN, "secondary '%s': %s", s->name, om_error_message());
    om_free(data);
    om_free(path);
}

static void forget(om_memories *m, om_track_memory *t)
{
    for (int i = 0; i < m->all->n; i++) {
        om_second *s = &m->all->items[i];
        om_recall *mem = &t->models[i];
        if (mem->crop) save_crop(m, s, t);
        if (mem->fresh) {
            pthread_mutex_lock(&s->stats.lock);
            s->stats.late++;
            pthread_mutex_unlock(&s->stats.lock);
        }
        om_frame_unref(mem->crop);
        om_votes_fini(&mem->votes);
        om_dets_fini(&mem->dets);
        om_free(mem->text);
    }
    om_free(t->models);
    om_free(t);
}

void om_memories_fini(om_memories *m)
{
    for (int i = 0; i < OM_MEMORY_CHAINS; i++)
        for (om_track_memory *t; (t = m->chains[i]);) {
            m->chains[i] = t->next;
            forget(m, t);
        }
}

om_track_memory *om_memories_get(om_memories *m, int64_t id, bool make)
{
    om_track_memory **chain = &m->chains[(uint64_t)id % OM_MEMORY_CHAINS];
    for (om_track_memory *t = *chain; t; t = t->next)
        if (t->id == id) return t;
    if (!make) return NULL;
    om_track_memory *t = om_calloc(1, sizeof *t);
    if (t) t->models = om_calloc((size_t)m->all->n, sizeof *t->models);
    if (!t || !t->models) {
        om_free(t);
        return NULL;
    }
    t->id = id;
    for (int i = 0; i < m->all->n; i++) t->models[i].class_id = -1;
    t->next = *chain;
    return *chain = t;
}

void om_memories_sweep(om_memories *m, uint64_t before)
{
    for (int i = 0; i < OM_MEMORY_CHAINS; i++)
        for (om_track_memory **p = &m->chains[i], *t; (t = *p);) {
            if (t->last >= before) {
                p = &t->next;
                continue;
            }
            *p = t->next;
            forget(m, t);
        }
}

bool om_recall_settled(const om_second *s, const om_recall *m)
{
    return m->known && m->n_agree >= s->agree && (s->vector || (double)m->score >= s->options->confident);
}

bool om_recall_wants(const om_second *s, const om_recall *m, double quality, uint64_t number, int64_t pts_ns)
{
    const om_second_options *o = s->options;
    if (m->pending || (o->max_asks && m->asks >= o->max_asks)) return false;
    if (!m->asks || (o->better > 0 && quality >= o->better * m->best_quality)) return true;
    int doublings = m->empty_run < BACK_OFF_MAX ? m->empty_run : BACK_OFF_MAX;
    if (number - m->asked_at < (uint64_t)o->every << doublings) return false;
    if (!om_recall_settled(s, m)) return true;
    return o->refresh > 0 && (double)(pts_ns - m->answered_pts_ns) >= o->refresh * 1e9;
}

/* The texts or classes that were said, drawn together. */
static void vote(const om_second *s, om_recall *m)
{
    const om_dets *d = &m->dets;
    for (size_t i = 0; i < d->n; i++)
        if (d->items[i].text && om_votes_add_text(&m->votes, d->items[i].text, d->items[i].text_score))
            om_log(OM_LOG_WARN, "secondary '%s': %s", s->name, om_error_message());
    if (s->classes && d->n) om_votes_add_class(&m->votes, d->items[0].class_id, d->items[0].score);
    if (s->classes) m->class_id = om_votes_class(&m->votes, &m->score, &m->n_agree);
    else {
        char *text;
        if (om_votes_text(&m->votes, s->vector, &text, &m->score, &m->n_agree) || !text) return;
        om_free(m->text);
        m->text = text;
    }
}

static float best_score(const om_dets *d)
{
    float best = 0;
    for (size_t i = 0; i < d->n; i++) {
        float score = d->items[i].text ? d->items[i].text_score : d->items[i].score;
        if (score > best) best = score;
    }
    return best;
}

/* Something was said, be it only a vector. */
static bool says_something(const om_second *s, const om_dets *d)
{
    if (s->vector) return d->n_vector > 0;
    if (!s->text) return d->n > 0;
    return d->n > 0 && d->items[0].text && *d->items[0].text;
}

static void keep_crop(om_recall *m, om_question *q)
{
    float score = q->second->vector ? (float)q->quality : best_score(&m->dets);
    om_frame *f = q->region.pixels;
    if (!q->second->options->save_crops || !f || f->memory != OM_MEMORY_HOST) return;
    if (m->crop && score <= m->crop_score) return;
    om_frame_unref(m->crop);
    m->crop = om_frame_ref(f);
    m->crop_score = score;
}

void om_recall_learn_nothing(om_recall *m, om_absence above)
{
    m->pending = false;
    m->cause = above;
    if (!above) m->empty_run++;
    else if (above == OM_ABSENCE_QUEUE) m->asks--;
}

void om_recall_learn(om_recall *m, om_question *q, uint64_t seq, int64_t pts_ns)
{
    const om_second *s = q->second;
    m->pending = false;
    m->cause = q->cause;
    if (q->cause == OM_ABSENCE_QUEUE) m->asks--; /* it was not asked in fact */
    if (q->cause) return;
    if (!says_something(s, &q->dets)) {
        m->empty_run++;
        return;
    }
    om_dets_fini(&m->dets);
    m->dets = q->dets;
    q->dets = (om_dets){0};
    m->known = m->fresh = true;
    m->empty_run = 0;
    m->n_answers++;
    m->seq = seq;
    m->answered_pts_ns = pts_ns;
    m->n_agree = m->n_answers;
    m->score = best_score(&m->dets);
    if (s->text || s->classes || s->gallery) vote(s, m);
    keep_crop(m, q);
}
