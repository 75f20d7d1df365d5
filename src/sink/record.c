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

void om_json_detection(om_json *j, const om_detection *d, const om_labels *labels)
{
    const float box[] = {d->x, d->y, d->w, d->h};
    om_json_begin_object(j);
    if (d->track >= 0) {
        om_json_key(j, "track");
        om_json_int(j, d->track);
    }
    if (d->class_id >= 0 && (size_t)d->class_id < labels->n) {
        om_json_key(j, "class");
        om_json_string(j, labels->names[d->class_id]);
    }
    om_json_key(j, "class_id");
    om_json_int(j, d->class_id);
    om_json_key(j, "score");
    om_json_num(j, (double)d->score, 4);
    om_json_key(j, "box");
    om_json_begin_array(j);
    for (int i = 0; i < 4; i++) om_json_num(j, (double)box[i], 2);
    om_json_end_array(j);
    if (d->n_landmarks) points(j, "landmarks", d->landmarks, d->n_landmarks);
    if (d->has_quad) points(j, "quad", d->quad, 4);
    if (d->text) {
        om_json_key(j, "text");
        om_json_string(j, d->text);
        om_json_key(j, "text_score");
        om_json_num(j, (double)d->text_score, 4);
    }
    om_json_end_object(j);
}

void om_json_vector(om_json *j, const om_dets *dets)
{
    if (!dets->n_vector) return;
    om_json_key(j, "vector");
    om_json_begin_array(j);
    for (size_t i = 0; i < dets->n_vector; i++) om_json_num(j, (double)dets->vector[i], 6);
    om_json_end_array(j);
}
