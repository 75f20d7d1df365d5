#include "frame/result.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

void om_dets_clear(om_dets *d)
{
    for (size_t i = 0; i < d->n_texts; i++) om_free(d->texts[i]);
    d->n_texts = 0;
    d->n = 0;
    d->n_vector = 0;
}

void om_dets_fini(om_dets *d)
{
    if (!d) return;
    om_dets_clear(d);
    om_free(d->items);
    om_free(d->texts);
    om_free(d->vector);
    *d = (om_dets){0};
}

om_detection *om_dets_add(om_dets *d)
{
    if (om_grow((void **)&d->items, &d->cap, d->n + 1, sizeof(*d->items)) < 0) return NULL;
    om_detection *det = &d->items[d->n++];
    *det = (om_detection){.track = -1};
    return det;
}

int om_dets_set_text(om_dets *d, om_detection *det, const char *text, float score)
{
    int err = om_grow((void **)&d->texts, &d->cap_texts, d->n_texts + 1, sizeof(*d->texts));
    if (err < 0) return err;
    char *copy = om_strdup(text);
    if (!copy) return om_fail_nomem("a detection's text");
    d->texts[d->n_texts++] = copy;
    det->text = copy;
    det->text_score = score;
    return OM_OK;
}

int om_dets_set_vector(om_dets *d, const float *v, size_t n)
{
    int err = om_grow((void **)&d->vector, &d->cap_vector, n, sizeof(*d->vector));
    if (err < 0) return err;
    if (n) memcpy(d->vector, v, n * sizeof(*v));
    d->n_vector = n;
    return OM_OK;
}

void om_answers_fini(om_answers *a)
{
    for (size_t i = 0; i < a->n_owned; i++) om_free(a->owned[i]);
    om_free(a->owned);
    om_free(a->items);
    *a = (om_answers){0};
}

om_answer *om_answers_add(om_answers *a)
{
    if (om_grow((void **)&a->items, &a->cap, a->n + 1, sizeof(*a->items)) < 0) return NULL;
    om_answer *x = &a->items[a->n++];
    *x = (om_answer){.object = -1, .parent = -1, .det = {.class_id = -1, .track = -1}};
    return x;
}

static void *keep(om_answers *a, const void *data, size_t size)
{
    if (om_grow((void **)&a->owned, &a->cap_owned, a->n_owned + 1, sizeof(*a->owned)) < 0) return NULL;
    void *copy = om_alloc(size ? size : 1);
    if (!copy) return NULL;
    memcpy(copy, data, size);
    return a->owned[a->n_owned++] = copy;
}

const char *om_answers_text(om_answers *a, const char *text) { return keep(a, text, strlen(text) + 1); }

const float *om_answers_vector(om_answers *a, const float *v, size_t n) { return keep(a, v, n * sizeof(*v)); }

om_result *om_result_create(void)
{
    om_result *r = om_calloc(1, sizeof(*r));
    if (r) om_ref_init(&r->ref);
    return r;
}

om_result *om_result_ref(om_result *r)
{
    om_ref_inc(&r->ref);
    return r;
}

void om_result_unref(om_result *r)
{
    if (!r || !om_ref_dec(&r->ref)) return;
    om_frame_unref(r->frame);
    om_dets_fini(&r->dets);
    om_answers_fini(&r->answers);
    om_free(r);
}

void om_result_view(const om_result *r, om_frame_result *out)
{
    *out = (om_frame_result){
        .stream = r->stream,
        .stream_index = r->stream_index,
        .seq = r->seq,
        .pts = (double)r->pts_ns * 1e-9,
        .time_us = r->wall_us,
        .width = r->width,
        .height = r->height,
        .objects = r->dets.items,
        .n_objects = r->dets.n,
        .labels = r->labels.names,
        .n_labels = r->labels.n,
        .vector = r->dets.n_vector ? r->dets.vector : NULL,
        .n_vector = r->dets.n_vector,
        .answers = r->answers.items,
        .n_answers = r->answers.n,
        .latency_ms = (double)r->latency_ns * 1e-6,
    };
}
