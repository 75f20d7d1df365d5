/* The streams of a run: how they come, how they go, and what is left of them. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "media/media.h"
#include "pipeline/pipeline_priv.h"

#define OM_RING_FILE 2 /* pictures a file's mailbox holds */
#define OM_RING_GPU 64 /* all files' together where a GPU decodes, so that few files fill its batches */
#define OM_CREDITS 32  /* of a stream whose results carry no pictures */
#define OM_CREDITS_PICTURES 8 /* of one whose results keep their pictures alive */

#define OM_GIVE_UP_NS OM_NS_PER_SEC /* a removed stream's results wait so long for a full sink */
#define OM_REAP_SOON_NS (10 * OM_NS_PER_MS)
#define OM_REAP_LATE_NS (500 * OM_NS_PER_MS)

static void stream_ended(void *user)
{
    om_stream_run *s = user;
    om_pipeline *p = s->pipeline;
    pthread_mutex_lock(&p->lock);
    s->ended = true;
    p->n_active--;
    p->attention = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* Nobody hears of any stream any more. */
static void sinks_dead(void *user)
{
    om_pipeline *p = user;
    size_t alive = 0;
    for (size_t i = 0; i < p->n_shared; i++) alive += !atomic_load(&p->shared_sinks[i]->status);
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < p->n_streams; i++)
        for (size_t k = 0; k < p->streams[i]->n_own; k++)
            alive += !atomic_load(&p->streams[i]->own_sinks[k]->status);
    pthread_mutex_unlock(&p->roster);
    if (!alive) om_pipeline_stop(p);
}

/* Cameras are live whatever is said; a file is when asked for. */
static bool is_remote(const char *uri) { return strstr(uri, "://") && strncasecmp(uri, "file:", 5); }

static size_t count_streams(om_pipeline *p)
{
    pthread_mutex_lock(&p->roster);
    size_t n = p->n_streams;
    pthread_mutex_unlock(&p->roster);
    return n;
}

static int ring_size(om_pipeline *p, const om_engine *e)
{
    size_t there = count_streams(p), n = p->config.n_streams > there ? p->config.n_streams : there + 1;
    int share = OM_RING_GPU / (int)(n < OM_RING_GPU ? n : OM_RING_GPU);
    if (!e->hwaccel || share < OM_RING_FILE) return OM_RING_FILE;
    return share < OM_MAILBOX_MAX ? share : OM_MAILBOX_MAX;
}

static void kick_lane(void *user) { om_lane_kick(user); }

static int make_lane(om_stream_run *s, int credits)
{
    om_pipeline *p = s->pipeline;
    const om_tracking *tracking = &s->unit->engine->tracking;
    om_seconds *seconds = s->unit->seconds;
    int err = om_lane_init(&s->lane, &p->pool, &s->mailbox, &s->account, credits);
    if (err) return err;
    s->lane.stream = s->name;
    s->lane.stream_index = s->index;
    s->lane.on_sinks_dead = p->end_with_sinks ? sinks_dead : NULL;
    s->lane.on_sinks_dead_user = p;
    s->lane.drift = p->drift;
    s->lane.callback = p->callback;
    s->lane.callback_user = p->callback_user;
    s->lane.conf = tracking->conf;
    s->lane.drops_pictures = seconds && !p->sinks_want_frames;
    if (tracking->ops) err = om_tracker_create(tracking->ops, &tracking->params, &s->lane.tracker);
    if (err || !seconds) return err;
    return om_second_stream_create(seconds, s->name, !s->live, kick_lane, &s->lane, &s->lane.second);
}

static int make_parts(om_stream_run *s)
{
    om_pipeline *p = s->pipeline;
    const om_run_options *o = &p->config.run;
    om_engine *e = s->unit->engine;
    s->local = !is_remote(s->own.uri);
    s->live = !s->local || (s->own.live >= 0 ? s->own.live : o->live);
    s->remote = !s->local && strncasecmp(s->own.uri, "v4l2:", 5);
    s->account.networked = s->remote || (s->local && s->live);
    s->name = om_strdup(s->own.name);
    s->shown = om_uri_redact(s->own.uri);
    if (!s->name || !s->shown) return OM_ERR_NOMEM;
    int credits = o->stream_credits > 0 ? o->stream_credits
                  : e->keep_frames      ? OM_CREDITS_PICTURES
                                        : OM_CREDITS;
    om_mailbox_params mp = {.lock = &e->lock,
                            .lane = &s->lane,
                            .account = &s->account,
                            .cap = ring_size(p, e),
                            .credits = credits,
                            .priority = s->own.priority,
                            .weight = s->own.weight,
                            .replace = s->live,
                            .on_end = stream_ended,
                            .user = s};
    int err = e->log ? om_stages_create(&s->account.stages) : OM_OK;
    if (!err) err = om_mailbox_init(&s->mailbox, &mp);
    return err ? err : make_lane(s, credits);
}

int om_stream_create(om_pipeline *p, om_stream_options *own, om_stream_run **out)
{
    *out = NULL;
    om_stream_run *s = om_calloc(1, sizeof(*s));
    if (!s) {
        om_options_fini(om_stream_option_table, own);
        return OM_ERR_NOMEM;
    }
    s->pipeline = p;
    s->unit = om_units_place(p);
    s->own = *own;
    s->options = &s->own;
    memset(own, 0, sizeof(*own));
    s->sched_fd = -1;
    pthread_mutex_lock(&p->roster);
    s->index = p->next_index++;
    pthread_mutex_unlock(&p->roster);
    om_cancel_init(&s->cancel);
    om_cancel_init(&s->halt);
    om_account_init(&s->account);
    s->account.bound_ns = p->policy.bound_ns;
    int err = make_parts(s);
    if (!err) om_stream_take_up(s);
    if (err) {
        om_stream_destroy(s);
        return err;
    }
    *out = s;
    return OM_OK;
}

void om_stream_destroy(om_stream_run *s)
{
    if (!s) return;
    om_stream_close_sinks(s);
    om_lane_fini(&s->lane);
    om_mailbox_fini(&s->mailbox);
    om_account_fini(&s->account);
    om_cancel_fini(&s->cancel);
    om_cancel_fini(&s->halt);
    om_options_fini(om_stream_option_table, &s->own);
    om_free(s->name);
    om_free(s->shown);
    om_free(s);
}

/* Roster held. Once the run is about to end its supervisor reads the list without that: it stays as it is. */
static int insert(om_pipeline *p, om_stream_run *s)
{
    int err = OM_OK;
    pthread_mutex_lock(&p->lock);
    if (p->stopping || p->closing)
        err = om_fail(OM_ERR_CANCELLED, "stream '%s': the run is about to end", s->name);
    void *items = p->streams;
    if (!err) err = om_grow(&items, &p->cap_streams, p->n_streams + 1, sizeof(*p->streams));
    if (!err) {
        p->streams = items;
        p->n_active++;
        p->streams[p->n_streams++] = s;
    }
    pthread_mutex_unlock(&p->lock);
    return err;
}

int om_roster_insert(om_pipeline *p, om_stream_run *s)
{
    pthread_mutex_lock(&p->roster);
    int err = insert(p, s);
    pthread_mutex_unlock(&p->roster);
    return err;
}

int om_stream_start(om_stream_run *s)
{
    char name[32];
    snprintf(name, sizeof(name), "om-s%d", s->index);
    int err = om_thread_start(&s->thread, name, om_stream_main, s);
    if (!err) return OM_OK;
    atomic_store(&s->done, true);
    om_mailbox_abort(&s->mailbox);
    return err;
}

om_stream_run *om_roster_find(om_pipeline *p, const char *name)
{
    for (size_t i = 0; i < p->n_streams; i++) {
        om_stream_run *s = p->streams[i];
        pthread_mutex_lock(&p->lock);
        bool leaving = s->leaving;
        pthread_mutex_unlock(&p->lock);
        if (!leaving && !strcmp(s->name, name)) return s;
    }
    return NULL;
}

om_stream_run *om_roster_at(om_pipeline *p, int index)
{
    size_t low = 0, high = p->n_streams;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (p->streams[mid]->index < index) low = mid + 1;
        else high = mid;
    }
    return low < p->n_streams && p->streams[low]->index == index ? p->streams[low] : NULL;
}

void om_stream_cancel(om_stream_run *s)
{
    om_cancel_fire(&s->cancel);
    om_cancel_fire(&s->halt);
    om_mailbox_abort(&s->mailbox);
}

static void gone_fini(om_gone *g)
{
    om_free(g->name);
    om_free(g->shown);
    om_free(g->marks);
}

/* Shared sinks have written everything that carries its name. */
static bool forgotten(const om_pipeline *p, const om_gone *g)
{
    for (size_t i = 0; i < p->n_shared && g->marks; i++)
        if (!om_sink_is_past(p->shared_sinks[i], g->marks[i])) return false;
    return g->marks || !p->n_shared;
}

/* Out of the list: its figures go into those of all earlier ones, its name waits if it has to. Roster held.
 */
static void drop_oldest(om_pipeline *p)
{
    om_gone *g = &p->gone[0];
    om_tally_merge(&p->earlier, &g->tally);
    p->n_earlier++;
    void *items = p->names;
    if (forgotten(p, g)) gone_fini(g);
    else if (!om_grow(&items, &p->cap_names, p->n_names + 1, sizeof(*p->names))) {
        p->names = items;
        p->names[p->n_names++] = *g;
    } /* without memory for that the name stays: somebody may still read it */
    memmove(&p->gone[0], &p->gone[1], (OM_GONE_MAX - 1) * sizeof(*p->gone));
    p->n_gone--;
}

static void forget_names(om_pipeline *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->n_names; i++) {
        if (forgotten(p, &p->names[i])) gone_fini(&p->names[i]);
        else p->names[kept++] = p->names[i];
    }
    p->n_names = kept;
}

/* Takes it out of the roster; what it counted stays. Roster held. */
static void fold(om_pipeline *p, om_stream_run *s)
{
    size_t at = 0;
    while (p->streams[at] != s) at++;
    memmove(&p->streams[at], &p->streams[at + 1], (p->n_streams - at - 1) * sizeof(*p->streams));
    p->n_streams--;
    if (p->n_gone == OM_GONE_MAX) drop_oldest(p);
    om_gone *g = &p->gone[p->n_gone++];
    *g = (om_gone){.index = s->index, .unit = s->unit, .name = s->name, .shown = s->shown, .info = s->info};
    g->decoder = atomic_load(&s->account.source.decoder);
    g->fallbacks = atomic_load(&s->account.source.fallbacks);
    g->refused = atomic_load(&s->account.source.refused);
    g->changes = atomic_load(&s->account.source.changes);
    g->reconnects = atomic_load(&s->account.source.reconnects);
    memcpy(g->error, s->error, sizeof(g->error));
    s->name = s->shown = NULL;
    om_account_tally(&s->account, &g->tally);
    if (p->gone_stages) om_stages_merge(p->gone_stages->hist, s->account.stages);
    g->marks = p->n_shared ? om_calloc(p->n_shared, sizeof(*g->marks)) : NULL;
    for (size_t i = 0; i < p->n_shared && g->marks; i++) g->marks[i] = om_sink_mark(p->shared_sinks[i]);
}

/* Its results wait for a sink that has no room, and the stream is not wanted any more. */
static void hurry(om_stream_run *s)
{
    atomic_store(&s->lane.give_up, true);
    om_lane_kick(&s->lane);
}

typedef enum rest { REST_BUSY, REST_DONE, REST_GONE } rest;

/* One step towards its end: REST_BUSY: there is something to wait for. */
static rest lay_to_rest(om_pipeline *p, om_stream_run *s, int64_t now, int64_t *again)
{
    pthread_mutex_lock(&p->lock);
    bool ended = s->ended, leaving = s->leaving;
    int64_t since = now - s->leave_ns;
    pthread_mutex_unlock(&p->lock);
    bool still = ended && atomic_load(&s->done) && om_lane_idle(&s->lane);
    if (leaving && !ended && since > OM_GIVE_UP_NS) hurry(s);
    if (still) still = om_stream_finish_sinks(s, 0);
    if (!still) {
        if (leaving || ended) {
            int64_t pause = leaving && since < 2 * OM_NS_PER_SEC ? OM_REAP_SOON_NS : OM_REAP_LATE_NS;
            if (now + pause < *again) *again = now + pause;
        }
        return REST_BUSY;
    }
    if (!leaving) return REST_DONE;
    om_stream_close_sinks(s);
    om_lane_close(&s->lane);
    pthread_mutex_lock(&p->roster);
    bool idle = om_lane_idle(&s->lane); /* a sink may have called it once more */
    if (idle) fold(p, s);
    pthread_mutex_unlock(&p->roster);
    if (!idle) {
        *again = now;
        return REST_BUSY;
    }
    om_thread_join(&s->thread); /* it has said that it is done */
    const char *name = p->gone[p->n_gone - 1].name;
    om_log(OM_LOG_INFO, "stream '%s' is gone", name);
    if (p->on_gone) p->on_gone(p->on_gone_user, s->index, name);
    om_stream_destroy(s);
    return REST_GONE;
}

/* A run that streams come to and end in keeps the last of them listed. */
static void retire_ended(om_pipeline *p)
{
    if (!om_pipeline_keeps(p)) return;
    size_t ended = 0;
    pthread_mutex_lock(&p->roster);
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_streams; i++) ended += p->streams[i]->ended && !p->streams[i]->leaving;
    for (size_t i = 0; i < p->n_streams && ended > OM_ENDED_MAX; i++) {
        if (!p->streams[i]->ended || p->streams[i]->leaving) continue;
        p->streams[i]->leaving = true;
        p->streams[i]->leave_ns = om_now_ns();
        ended--;
    }
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->roster);
}

int64_t om_roster_reap(om_pipeline *p)
{
    int64_t now = om_now_ns(), again = OM_NEVER;
    retire_ended(p);
    for (size_t i = 0;;) {
        pthread_mutex_lock(&p->roster);
        om_stream_run *s = i < p->n_streams ? p->streams[i] : NULL;
        pthread_mutex_unlock(&p->roster);
        if (!s) break;
        if (lay_to_rest(p, s, now, &again) != REST_GONE) i++;
    }
    forget_names(p);
    if (p->n_names && now + OM_REAP_LATE_NS < again) again = now + OM_REAP_LATE_NS;
    return again;
}

void om_roster_fini(om_pipeline *p)
{
    for (size_t i = 0; i < p->n_streams; i++) om_stream_destroy(p->streams[i]);
    om_free(p->streams);
    for (size_t i = 0; i < p->n_gone; i++) gone_fini(&p->gone[i]);
    om_free(p->gone);
    for (size_t i = 0; i < p->n_names; i++) gone_fini(&p->names[i]);
    om_free(p->names);
    om_stages_destroy(p->gone_stages);
}

/* OM_ERR_NOT_FOUND, with a name that is near. Roster held. */
int om_roster_fail_unknown(om_pipeline *p, const char *name)
{
    const char **names = om_calloc(p->n_streams + 1, sizeof(*names));
    for (size_t i = 0; i < p->n_streams && names; i++) names[i] = p->streams[i]->name;
    const char *near = names ? om_suggest(name, names, p->n_streams) : NULL;
    int err = om_fail(OM_ERR_NOT_FOUND, "no stream '%s'%s%s%s", name, near ? "; did you mean '" : "",
                      near ? near : "", near ? "'?" : "");
    om_free(names);
    return err;
}

/* Roster held. True: it was the last that the gate waits for, and the caller has to open that. */
static bool remove_stream(om_pipeline *p, om_stream_run *s)
{
    pthread_mutex_lock(&p->lock);
    s->leaving = true;
    s->leave_ns = om_now_ns();
    p->attention = true;
    pthread_mutex_unlock(&p->lock);
    om_stream_cancel(s);
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return om_stream_arrive(s);
}

static int remove_running(om_pipeline *p, const char *name, int index)
{
    pthread_mutex_lock(&p->roster);
    om_stream_run *s = name ? om_roster_find(p, name) : om_roster_at(p, index);
    bool last = s && remove_stream(p, s);
    int err = s || !name ? OM_OK : om_roster_fail_unknown(p, name);
    pthread_mutex_unlock(&p->roster);
    if (last) om_pipeline_open_gate(p);
    return err;
}

int om_pipeline_remove_stream(om_pipeline *p, const char *name)
{
    pthread_mutex_lock(&p->admin);
    int err = p->started ? remove_running(p, name, -1) : om_config_remove_stream(&p->config, name);
    pthread_mutex_unlock(&p->admin);
    return err;
}

int om_pipeline_pause_stream(om_pipeline *p, const char *name, bool pause)
{
    pthread_mutex_lock(&p->roster);
    om_stream_run *s = om_roster_find(p, name);
    int err = s ? OM_OK : om_roster_fail_unknown(p, name);
    pthread_mutex_lock(&p->lock);
    if (s) s->paused = pause;
    if (s) atomic_fetch_add(&s->tuned, 1);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (s && pause && !s->local) om_cancel_fire(&s->halt);
    pthread_mutex_unlock(&p->roster);
    return err;
}

bool om_stream_is_tunable(const char *option)
{
    static const char *const names[] = {"priority", "weight", "fps", "every"};
    const om_option *o = om_option_find(om_stream_option_table, option);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (o && !strcmp(o->name, names[i])) return true;
    return false;
}

/* Whether each could be set, found out on options that nobody uses. */
static int check_settings(const char *const *options, bool running)
{
    om_stream_options tried;
    memset(&tried, 0, sizeof(tried));
    int err = om_options_init(om_stream_option_table, &tried);
    for (; !err && options[0]; options += 2) {
        if (running && !om_stream_is_tunable(options[0]) &&
            om_option_find(om_stream_option_table, options[0]))
            err = om_fail(
                OM_ERR_ARG,
                "'%s' of a running stream cannot be changed: priority, weight, fps and every can; remove "
                "it and add it again",
                options[0]);
        else err = om_option_set(om_stream_option_table, &tried, options[0], options[1]);
    }
    om_options_fini(om_stream_option_table, &tried);
    return err;
}

static int tune(om_pipeline *p, om_stream_run *s, const char *const *options)
{
    int err = OM_OK;
    pthread_mutex_lock(&p->lock);
    for (; !err && options[0]; options += 2)
        err = om_option_set(om_stream_option_table, &s->own, options[0], options[1]);
    int priority = s->own.priority;
    double weight = s->own.weight;
    pthread_mutex_unlock(&p->lock);
    if (err) return err;
    om_mailbox_tune(&s->mailbox, priority, weight);
    atomic_fetch_add(&s->tuned, 1);
    return OM_OK;
}

static int set_running(om_pipeline *p, const char *name, const char *const *options)
{
    pthread_mutex_lock(&p->roster);
    om_stream_run *s = om_roster_find(p, name);
    int err = s ? check_settings(options, true) : om_roster_fail_unknown(p, name);
    if (!err) err = tune(p, s, options);
    pthread_mutex_unlock(&p->roster);
    return err;
}

int om_pipeline_set_stream_with(om_pipeline *p, const char *name, const char *const *options)
{
    pthread_mutex_lock(&p->admin);
    int err = p->started ? set_running(p, name, options) : check_settings(options, false);
    if (!p->started && !err) err = om_config_set_stream(&p->config, name, options);
    pthread_mutex_unlock(&p->admin);
    return err;
}

int om_pipeline_set_stream(om_pipeline *p, const char *name, const char *option, const char *value)
{
    return om_pipeline_set_stream_with(p, name, (const char *const[]){option, value, NULL});
}

static bool name_taken(void *user, const char *name) { return om_roster_find(user, name) != NULL; }

static int add_running(om_pipeline *p, om_stream_options *own, bool listed, int *index)
{
    om_stream_run *s;
    pthread_mutex_lock(&p->roster);
    int err = om_stream_options_check(own, name_taken, p);
    pthread_mutex_unlock(&p->roster);
    if (err) {
        om_options_fini(om_stream_option_table, own);
        return err;
    }
    err = om_stream_create(p, own, &s);
    if (err) return err;
    s->added = true;
    s->listed = listed;
    if (index) *index = s->index;
    int number = s->index;
    err = om_stream_open_sinks(s);
    pthread_mutex_lock(&p->roster);
    if (!err) err = insert(p, s);
    bool in = !err;
    if (in) err = om_stream_start(s); /* with the lock: who ends the run waits for it, and finds the thread */
    pthread_mutex_unlock(&p->roster);
    if (!in) om_stream_destroy(s);
    else if (err) remove_running(p, NULL, number);
    return err;
}

int om_pipeline_add(om_pipeline *p, om_stream_options *own, bool listed, int *index)
{
    int err;
    pthread_mutex_lock(&p->admin);
    if (p->started) {
        err = add_running(p, own, listed, index);
    } else {
        om_stream_options *s = om_config_new_stream(&p->config);
        if (s) *s = *own;
        else om_options_fini(om_stream_option_table, own);
        err = s ? om_config_stream(&p->config, s) : OM_ERR_NOMEM;
        if (!err && index) *index = (int)p->config.n_streams - 1;
        memset(own, 0, sizeof(*own));
    }
    pthread_mutex_unlock(&p->admin);
    return err;
}
