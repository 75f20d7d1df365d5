#include "bench/collect.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define LOW_SCORE 0.001 /* boxes down to here make the precision curve */

static void add_box(om_finds *c, int image, const om_detection *d)
{
    om_eval_box box = {.image = image,
                       .class_id = d->class_id,
                       .x = (double)d->x,
                       .y = (double)d->y,
                       .w = (double)d->w,
                       .h = (double)d->h,
                       .score = (double)d->score,
                       .area = (double)d->w * (double)d->h};
    if (d->class_id > c->most_class) c->most_class = d->class_id;
    if (om_eval_boxes_add(&c->boxes, &box)) c->failed = true;
}

static void add_frame(om_finds *c, const om_frame_result *r)
{
    int image = r->stream_index * c->frames_a_stream + c->count[r->stream_index]++;
    if (!c->images++)
        for (size_t i = 0; i < r->n_labels; i++)
            if (om_strlist_add(&c->labels, r->labels[i])) c->failed = true;
    c->n_labels = (int)r->n_labels;
    c->size[image] = (om_size){r->width, r->height};
    for (size_t i = 0; i < r->n_objects; i++) add_box(c, image, &r->objects[i]);
}

static void on_result(void *user, const om_frame_result *r)
{
    om_finds *c = user;
    pthread_mutex_lock(&c->lock);
    bool known = r->stream_index >= 0 && r->stream_index < c->n_streams;
    if (known && c->count[r->stream_index] < c->frames_a_stream) add_frame(c, r);
    pthread_mutex_unlock(&c->lock);
}

int om_finds_init(om_finds *c, int streams, int frames)
{
    memset(c, 0, sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    c->frames_a_stream = frames;
    c->n_streams = streams;
    c->count = om_calloc((size_t)streams, sizeof *c->count);
    c->size = om_calloc((size_t)streams * (size_t)frames, sizeof *c->size);
    return c->count && c->size ? OM_OK : OM_ERR_NOMEM;
}

void om_finds_fini(om_finds *c)
{
    if (!c->n_streams) return;
    om_eval_boxes_fini(&c->boxes);
    om_strlist_fini(&c->labels);
    om_free(c->count);
    om_free(c->size);
    pthread_mutex_destroy(&c->lock);
}

int om_finds_run(om_bench *b, const om_strlist *clips, const char *model, int every, const char *what,
                 om_finds *c)
{
    om_trial_params p = {.inputs = clips,
                         .streams = (int)clips->n,
                         .every = every,
                         .max_frames = c->frames_a_stream,
                         .once = true,
                         .model = model,
                         .conf = LOW_SCORE,
                         .on_result = on_result,
                         .user = c};
    om_trial t;
    int err = om_trial_start(b, &p, &t);
    if (err) return err;
    while (!(err = om_trial_wait(&t, 1, what))) continue;
    if (err == OM_ERR_EOF) err = OM_OK; /* the clips' end is what it waited for */
    om_trial_fini(&t);
    return err ? err : c->failed ? om_fail_nomem("the boxes") : OM_OK;
}
