#include "sink/record.h"

static void points(om_json *j, const char *key, const float (*xy)[2], int n)
{
    om_json_key(j, key);
    om_json_begin_array(j);
    for (int i = 0; i < n; i++) {
        om_json_begin_array(j);
        om_json_num(j, (double)xy[i][0], 2);
        om_json_num(j, (double)xy[i][1], 2);
        om_json_end_array(j);
    }
    om_json_end_array(j);
}

static void class_of(om_json *j, const char *name, int32_t id)
{
    if (name) {
        om_json_key(j, "class");
        om_json_string(j, name);
    }
    om_json_key(j, "class_id");
    om_json_int(j, id);
}

static void score_of(om_json *j, float score)
{
    om_json_key(j, "score");
    om_json_num(j, (double)score, 4);
}

static void box_of(om_json *j, const om_detection *d)
{
    const float box[] = {d->x, d->y, d->w, d->h};
    om_json_key(j, "box");
    om_json_begin_array(j);
    for (int i = 0; i < 4; i++) om_json_num(j, (double)box[i], 2);
    om_json_end_array(j);
}

/* What only some have. */
static void parts_of(om_json *j, const om_detection *d)
{
    if (d->n_landmarks) points(j, "landmarks", d->landmarks, d->n_landmarks);
    if (d->has_quad) points(j, "quad", d->quad, 4);
    if (!d->text) return;
    om_json_key(j, "text");
    om_json_string(j, d->text);
    om_json_key(j, "text_score");
    om_json_num(j, (double)d->text_score, 4);
}

static void detection_members(om_json *j, const om_detection *d, const om_labels *labels)
{
    if (d->track >= 0) {
        om_json_key(j, "track");
        om_json_int(j, d->track);
    }
    bool named = d->class_id >= 0 && (size_t)d->class_id < labels->n;
    class_of(j, named ? labels->names[d->class_id] : NULL, d->class_id);
    score_of(j, d->score);
    box_of(j, d);
    parts_of(j, d);
}

void om_json_detection(om_json *j, const om_detection *d, const om_labels *labels)
{
    om_json_begin_object(j);
    detection_members(j, d, labels);
    om_json_end_object(j);
}

static void vector_of(om_json *j, const float *v, size_t n)
{
    om_json_key(j, "vector");
    om_json_begin_array(j);
    for (size_t i = 0; i < n; i++) om_json_num(j, (double)v[i], 6);
    om_json_end_array(j);
}

static void answers_below(om_json *j, const om_result *r, int32_t object, int32_t parent);

static void answer(om_json *j, const om_result *r, size_t index)
{
    const om_answer *a = &r->answers.items[index];
    const om_detection *d = &a->det;
    om_json_begin_object(j);
    om_json_key(j, "model");
    om_json_string(j, a->model);
    if (a->missing) {
        om_json_key(j, "missing");
        om_json_string(j, a->missing);
    }
    if (d->class_id >= 0) {
        class_of(j, a->label, d->class_id);
        score_of(j, d->score);
    }
    if (d->w > 0) box_of(j, d);
    parts_of(j, d);
    if (a->n_vector) vector_of(j, a->vector, a->n_vector);
    if (a->votes) {
        om_json_key(j, "votes");
        om_json_int(j, a->votes);
    }
    if (!a->missing && a->seq != r->seq) {
        om_json_key(j, "seq");
        om_json_uint(j, a->seq);
    }
    if (a->crop) {
        om_json_key(j, "crop");
        om_json_string(j, a->crop);
    }
    answers_below(j, r, a->object, (int32_t)index);
    om_json_end_object(j);
}

/* The key "second", where there is something below. Answers stand behind those they are about, so the search
 * never looks back. */
static void answers_below(om_json *j, const om_result *r, int32_t object, int32_t parent)
{
    bool any = false;
    for (size_t i = parent < 0 ? 0 : (size_t)parent + 1; i < r->answers.n; i++) {
        if (r->answers.items[i].object != object || r->answers.items[i].parent != parent) continue;
        if (!any) {
            om_json_key(j, "second");
            om_json_begin_array(j);
        }
        any = true;
        answer(j, r, i);
    }
    if (any) om_json_end_array(j);
}

void om_json_object(om_json *j, const om_result *r, size_t index)
{
    om_json_begin_object(j);
    detection_members(j, &r->dets.items[index], &r->labels);
    answers_below(j, r, (int32_t)index, -1);
    om_json_end_object(j);
}

void om_json_picture_answers(om_json *j, const om_result *r) { answers_below(j, r, -1, -1); }

void om_json_vector(om_json *j, const om_dets *dets)
{
    if (dets->n_vector) vector_of(j, dets->vector, dets->n_vector);
}
