/* All secondary models of a run: made in the order of their parents, told about, ended. */
#include "pipeline/second.h"

#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/second_priv.h"

#define KEEP_BEYOND 30 /* records that a track is remembered longer than its tracker keeps it */

/* Whose answers it goes back to in the end: the primary's objects, or the picture. */
static int root_of(const om_seconds *all, const om_second *s)
{
    int at = s->parent;
    while (at >= 0) at = all->items[at].parent;
    return at;
}

static int place(om_seconds *all)
{
    const om_config *c = all->config;
    for (int i = 0; i < all->n; i++) {
        om_second *s = &all->items[i];
        s->all = all;
        s->index = i;
        s->options = &c->seconds[i];
        s->name = s->options->name;
        pthread_mutex_init(&s->stats.lock, NULL);
        om_cond_init(&s->wake);
        s->claim.cond = &s->wake;
        int err = om_second_parent(c, s->options, &s->parent);
        if (err) return err;
    }
    int n = 0;
    for (int round = 0; n < all->n && round < all->n; round++)
        for (int i = 0; i < all->n; i++) { /* depth by depth */
            int depth = 0;
            for (int at = all->items[i].parent; at >= 0; at = all->items[at].parent) depth++;
            if (depth == round) all->order[n++] = i;
        }
    return OM_OK;
}

static int connect(om_seconds *all)
{
    bool tracks = all->primary->tracking.ops != NULL;
    for (int i = 0; i < all->n; i++) {
        om_second *s = &all->items[i];
        bool objects = root_of(all, s) == OM_PARENT_PRIMARY;
        if (s->parent == OM_PARENT_PRIMARY) all->top |= 1u << i;
        else if (s->parent == OM_PARENT_FRAME) all->of_frame |= 1u << i;
        else all->items[s->parent].below |= 1u << i;
        for (int at = s->parent; at >= 0; at = all->items[at].parent) all->items[at].under |= 1u << i;
        if (s->options->each == OM_EACH_TRACK && !objects)
            return om_fail(OM_ERR_ARG, "secondary '%s': each: track, but a frame has no track", s->name);
        s->by_track =
            s->options->each == OM_EACH_TRACK || (s->options->each == OM_EACH_AUTO && tracks && objects);
        all->any_track |= s->by_track;
        if (!s->by_track || !(s->options->better > 0 || s->options->save_crops)) continue;
        for (int at = i; at >= 0; at = all->items[at].parent) all->items[at].weighs = true;
    }
    if (tracks) all->keep_records = all->primary->tracking.params.buffer + KEEP_BEYOND;
    return OM_OK;
}

int om_seconds_create(const om_config *c, om_engine *primary, om_seconds **out)
{
    *out = NULL;
    om_seconds *all = om_calloc(1, sizeof *all);
    if (!all) return OM_ERR_NOMEM;
    all->config = c;
    all->primary = primary;
    all->items = om_calloc(c->n_seconds, sizeof *all->items);
    if (!all->items) {
        om_free(all);
        return OM_ERR_NOMEM;
    }
    all->n = (int)c->n_seconds;
    int err = place(all);
    if (!err) err = connect(all);
    if (!err) err = om_device_open("cpu", &all->host);
    for (int i = 0; i < all->n && !err; i++) err = om_second_load(all, all->order[i]);
    for (int i = 0; i < all->n && !err; i++) err = om_second_start(&all->items[i]);
    if (err) om_seconds_destroy(all);
    else *out = all;
    return err;
}

void om_seconds_cancel(om_seconds *all)
{
    pthread_mutex_lock(&all->primary->lock);
    for (int i = 0; i < all->n; i++) {
        all->items[i].cancelled = true;
        pthread_cond_broadcast(&all->items[i].wake);
    }
    pthread_mutex_unlock(&all->primary->lock);
}

void om_seconds_destroy(om_seconds *all)
{
    if (!all) return;
    for (int i = 0; i < all->n; i++) {
        if (!all->items[i].all) continue;
        om_second_stop(&all->items[i]);
        om_second_unload(&all->items[i]);
        pthread_cond_destroy(&all->items[i].wake);
        pthread_mutex_destroy(&all->items[i].stats.lock);
    }
    om_device_close(all->host);
    om_free(all->items);
    om_free(all);
}

static void times_json(om_json *j, const char *key, const om_hist *h)
{
    om_json_key(j, key);
    om_json_begin_object(j);
    om_json_key_num(j, "mean", om_hist_mean(h) / 1e6, 3);
    om_json_key_num(j, "p50", (double)om_hist_quantile(h, .5) / 1e6, 3);
    om_json_key_num(j, "p99", (double)om_hist_quantile(h, .99) / 1e6, 3);
    om_json_key_num(j, "max", (double)h->max_ns / 1e6, 3);
    om_json_end_object(j);
}

static void missing_json(om_json *j, const om_second_stats *t)
{
    om_json_key(j, "missing");
    om_json_begin_object(j);
    for (int i = OM_ABSENCE_BUDGET; i < OM_ABSENCE_COUNT; i++)
        if (t->missing[i]) om_json_key_uint(j, om_absence_name((om_absence)i), t->missing[i]);
    om_json_end_object(j);
}

static void sizes_json(om_json *j, const om_second_stats *t)
{
    om_json_key(j, "batch_sizes");
    om_json_begin_array(j); /* [[crops, batches], ...] */
    for (int i = 1; i < OM_BATCH_SIZES; i++) {
        if (!t->sizes[i]) continue;
        om_json_begin_array(j);
        om_json_int(j, i);
        om_json_uint(j, t->sizes[i]);
        om_json_end_array(j);
    }
    om_json_end_array(j);
}

static void stats_json(om_second *s, bool profile, om_json *j)
{
    om_second_stats *t = &s->stats;
    pthread_mutex_lock(&t->lock);
    om_json_key_uint(j, "asked", t->asked);
    om_json_key_uint(j, "answered", t->answered);
    om_json_key_uint(j, "empty", t->empty);
    om_json_key_uint(j, "late", t->late);
    uint64_t done = t->answered + t->empty;
    for (int i = OM_ABSENCE_UNTRACKED + 1; i < OM_ABSENCE_COUNT; i++) done += t->missing[i];
    om_json_key_uint(j, "in_flight", t->asked > done ? t->asked - done : 0);
    missing_json(j, t);
    om_json_key_uint(j, "batches", t->batches);
    om_json_key_num(j, "mean_batch", t->batches ? (double)t->items / (double)t->batches : 0, 3);
    om_json_key_uint(j, "queue_max", (uint64_t)t->queue_max);
    om_json_key_num(j, "queue_mean", t->asked ? (double)t->queue_sum / (double)t->asked : 0, 2);
    times_json(j, "wait_ms", &t->wait);
    times_json(j, "infer_ms", &t->infer);
    if (profile) sizes_json(j, t);
    pthread_mutex_unlock(&t->lock);
}

static void moved_json(const om_move *m, om_json *j)
{
    om_json_key(j, "moved");
    if (!m->at_ns) {
        om_json_null(j);
        return;
    }
    om_json_begin_object(j);
    om_json_key(j, "from");
    om_json_string(j, m->from);
    om_json_key(j, "to");
    om_json_string(j, m->to);
    om_json_key(j, "cause");
    om_json_string(j, m->cause);
    om_json_end_object(j);
}

void om_seconds_json(om_seconds *all, bool profile, om_json *j)
{
    for (int i = 0; all && i < all->n; i++) {
        om_second *s = &all->items[i];
        om_json_begin_object(j);
        om_json_key(j, "name");
        om_json_string(j, s->name);
        om_json_key_string(j, "device", s->engine->options->device);
        om_json_key(j, "model");
        om_json_string(j, s->run.model);
        om_json_key(j, "family");
        om_json_string(j, om_family_name(s->engine->desc->family));
        om_json_key(j, "parent");
        om_json_string(j, s->options->parent);
        om_json_key(j, "each");
        om_json_string(j, s->by_track ? "track" : "frame");
        pthread_mutex_lock(&s->engine->compile_lock);
        om_json_key(j, "engine");
        om_json_string(j, s->engine->note);
        moved_json(&s->engine->move, j);
        pthread_mutex_unlock(&s->engine->compile_lock);
        stats_json(s, profile, j);
        om_json_end_object(j);
    }
}
