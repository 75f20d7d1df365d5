/* A run that another process goes on with: what the one says of its streams, and how the other takes them up.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "pipeline/pipeline_priv.h"
#include "track/track.h"

struct om_taken {
    char *name;
    uint64_t seq;    /* the first picture that is still to be seen */
    int64_t pts_ns;  /* of the last one read */
    int64_t wall_us; /* when that was said */
    int64_t given;   /* pictures that the model has got */
    int64_t next_track;
    uint32_t epoch;
    bool paused;
};

static uint64_t count_of(atomic_ullong *c) { return atomic_load_explicit(c, memory_order_relaxed); }

/* It begins anew, as a camera does after a pause; else it is read up to where it was. */
static bool begins_anew(const om_stream_run *s)
{
    bool loop = s->options->loop >= 0 ? s->options->loop : s->pipeline->config.run.loop;
    return s->live || loop;
}

/* Nothing of it is left to be done. */
static bool is_over(om_stream_run *s)
{
    if (s->leaving || s->state == OM_STREAM_FAILED) return true;
    return s->complete && (begins_anew(s) || !count_of(&s->account.skipped[OM_SKIP_STOPPED]));
}

static void options_json(const om_stream_run *s, om_json *j)
{
    om_str text = {0};
    om_json_key(j, "options");
    om_json_begin_object(j);
    for (const om_option *o = om_stream_option_table; o->name; o++) {
        if (!om_option_changed(om_stream_option_table, &s->own, o)) continue;
        om_str_clear(&text);
        if (om_option_get(om_stream_option_table, &s->own, o->name, &text)) continue;
        om_json_key_string(j, o->name, om_str_get(&text));
    }
    om_json_end_object(j);
    om_str_fini(&text);
}

static void stream_json(om_stream_run *s, om_json *j)
{
    om_account *a = &s->account;
    uint64_t given = count_of(&a->inferred) + count_of(&a->dropped[OM_DROP_INFER_FAILED]) +
                     count_of(&a->dropped[OM_DROP_NO_MEMORY]) + count_of(&a->dropped[OM_DROP_DEVICE_LOST]);
    uint64_t through = atomic_load(&s->lane.through);
    om_json_begin_object(j);
    om_json_key_string(j, "name", s->name);
    om_json_key_int(j, "width", s->info.width);
    om_json_key_int(j, "height", s->info.height);
    om_json_key_uint(j, "seq", begins_anew(s) ? s->next_seq : through > s->from_seq ? through : s->from_seq);
    om_json_key_int(j, "pts_us", s->last_pts / 1000);
    om_json_key_int(j, "wall_us", om_wall_us());
    om_json_key_int(j, "given", s->given_before + (int64_t)given);
    om_json_key_uint(j, "epoch", s->last_epoch);
    om_json_key_int(j, "next_track", s->lane.tracker ? s->lane.tracker->next_id : 0);
    om_json_key_bool(j, "paused", s->paused);
    options_json(s, j);
    om_json_end_object(j);
}

void om_pipeline_handover_json(om_pipeline *p, om_json *j)
{
    om_json_key(j, "streams");
    om_json_begin_array(j);
    pthread_mutex_lock(&p->roster);
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_streams; i++)
        if (!is_over(p->streams[i])) stream_json(p->streams[i], j);
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->roster);
    om_json_end_array(j);
}

static int add_stream(om_pipeline *p, const om_json_value *v)
{
    const om_json_value *options = om_json_get(v, "options"), *paused = om_json_get(v, "paused");
    om_taken *t = &p->taken[p->n_taken];
    om_stream_options *own = om_config_new_stream(&p->config);
    if (!own) return OM_ERR_NOMEM;
    int err = OM_OK;
    for (size_t i = 0; options && i < options->n && !err; i++)
        err = om_option_set(om_stream_option_table, own, options->keys[i],
                            options->children[i].str ? options->children[i].str : "");
    if (err) om_options_fini(om_stream_option_table, own);
    else err = om_config_stream(&p->config, own);
    if (err) return err;
    t->name = om_strdup(om_json_get_string(v, "name"));
    if (!t->name) return OM_ERR_NOMEM;
    p->n_taken++;
    t->seq = (uint64_t)om_json_get_num(v, "seq", 0);
    t->pts_ns = (int64_t)om_json_get_num(v, "pts_us", 0) * 1000;
    t->wall_us = (int64_t)om_json_get_num(v, "wall_us", 0);
    t->given = (int64_t)om_json_get_num(v, "given", 0);
    t->next_track = (int64_t)om_json_get_num(v, "next_track", 0);
    t->epoch = (uint32_t)om_json_get_num(v, "epoch", 0);
    t->paused = paused && paused->boolean;
    return OM_OK;
}

int om_pipeline_take_over(om_pipeline *p, const om_json_value *handover)
{
    const om_json_value *streams = om_json_get_list(handover, "streams");
    size_t n = streams ? streams->n : 0;
    p->taken = om_calloc(n + 1, sizeof(*p->taken));
    if (!p->taken) return OM_ERR_NOMEM;
    for (size_t i = 0; i < p->config.n_streams; i++)
        om_options_fini(om_stream_option_table, &p->config.streams[i]);
    p->config.n_streams = 0;
    int err = OM_OK;
    for (size_t i = 0; i < n && !err; i++) err = add_stream(p, &streams->children[i]);
    return err;
}

int om_pipeline_warm(om_pipeline *p, int width, int height)
{
    om_batcher *b;
    int err = OM_OK;
    for (int i = 0; i < p->n_units && !err && width > 0 && height > 0; i++)
        err = om_engine_batcher(p->units[i].engine, width, height, &b);
    return err;
}

void om_stream_take_up(om_stream_run *s)
{
    const om_taken *t = NULL;
    for (size_t i = 0; i < s->pipeline->n_taken && !t; i++)
        if (!strcmp(s->pipeline->taken[i].name, s->name)) t = &s->pipeline->taken[i];
    if (!t) return;
    s->given = s->given_before = t->given;
    s->paused = t->paused;
    if (t->paused) atomic_store(&s->tuned, 1); /* a file looks when something has changed */
    s->next_seq = t->seq;
    s->last_pts = t->pts_ns;
    s->epoch_base = s->last_epoch = t->epoch + 1;
    if (s->lane.tracker && t->next_track > 0) s->lane.tracker->next_id = t->next_track;
    if (!begins_anew(s)) s->from_seq = t->seq;
    else if (t->seq) {
        int64_t gap = (om_wall_us() - t->wall_us) * 1000;
        s->seq_base = t->seq;
        s->pts_base = t->pts_ns + (gap > 0 ? gap : 0);
    }
}

void om_pipeline_taken_fini(om_pipeline *p)
{
    for (size_t i = 0; i < p->n_taken; i++) om_free(p->taken[i].name);
    om_free(p->taken);
}

bool om_pipeline_lost(om_pipeline *p, char device[32], char cause[256])
{
    bool lost = false;
    for (int i = 0; i < p->n_units && !lost; i++) {
        om_engine *e = p->units[i].engine;
        pthread_mutex_lock(&e->compile_lock);
        lost = e->move.at_ns && e->move.took_ns && !e->move.failed && !e->spared.moved;
        snprintf(device, 32, "%s", e->move.from);
        snprintf(cause, 256, "%s", e->move.cause);
        pthread_mutex_unlock(&e->compile_lock);
    }
    return lost;
}
