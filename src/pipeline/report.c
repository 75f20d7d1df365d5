/* What a run says about itself: stream states, figures, the JSON report. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "omma/version.h"
#include "pipeline/pipeline_priv.h"

size_t om_pipeline_n_streams(om_pipeline *p)
{
    pthread_mutex_lock(&p->roster);
    size_t n = p->started ? (size_t)p->next_index : p->config.n_streams;
    pthread_mutex_unlock(&p->roster);
    return n;
}

static void copy_text(char *out, size_t size, const char *text) { snprintf(out, size, "%s", text); }

static void fill_info(const om_source_info *info, om_stream_status *out)
{
    memcpy(out->codec, info->codec, sizeof(out->codec));
    out->width = info->width;
    out->height = info->height;
    out->source_fps = info->fps;
    out->duration_s = info->duration_s;
}

static bool is_at_work(om_stream_state s)
{
    return s == OM_STREAM_OPENING || s == OM_STREAM_RUNNING || s == OM_STREAM_RECONNECTING;
}

/* Roster held. */
static void status_of(om_stream_run *s, om_stream_status *out)
{
    om_pipeline *p = s->pipeline;
    memset(out, 0, sizeof(*out));
    out->index = s->index;
    copy_text(out->name, sizeof(out->name), s->name);
    copy_text(out->uri, sizeof(out->uri), s->shown);
    pthread_mutex_lock(&p->lock);
    out->state = s->leaving                          ? OM_STREAM_REMOVED
                 : s->paused && is_at_work(s->state) ? OM_STREAM_PAUSED
                                                     : s->state;
    fill_info(&s->info, out);
    out->position_s = (double)s->position_ns / 1e9;
    out->reconnects = atomic_load(&s->account.source.reconnects);
    memcpy(out->error, s->error, sizeof(out->error));
    pthread_mutex_unlock(&p->lock);
}

static void status_of_gone(const om_gone *g, om_stream_status *out)
{
    memset(out, 0, sizeof(*out));
    out->index = g->index;
    out->state = OM_STREAM_REMOVED;
    copy_text(out->name, sizeof(out->name), g->name);
    copy_text(out->uri, sizeof(out->uri), g->shown);
    fill_info(&g->info, out);
    out->reconnects = g->reconnects;
    memcpy(out->error, g->error, sizeof(out->error));
}

/* Roster held. */
static om_gone *find_gone(om_pipeline *p, int index)
{
    for (size_t i = 0; i < p->n_gone; i++)
        if (p->gone[i].index == index) return &p->gone[i];
    return NULL;
}

void om_pipeline_stream_status(om_pipeline *p, size_t index, om_stream_status *out)
{
    memset(out, 0, sizeof(*out));
    out->index = (int)index;
    out->state = OM_STREAM_REMOVED;
    pthread_mutex_lock(&p->roster);
    om_stream_run *s = om_roster_at(p, (int)index);
    om_gone *g = s ? NULL : find_gone(p, (int)index);
    if (s) status_of(s, out);
    if (g) status_of_gone(g, out);
    pthread_mutex_unlock(&p->roster);
}

static void row_of(om_stream_run *s, om_stream_row *out)
{
    const om_run_options *o = &s->pipeline->config.run;
    om_tally t;
    status_of(s, &out->status);
    om_account_tally(&s->account, &t);
    om_tally_stats(&t, &out->stats);
    pthread_mutex_lock(&s->pipeline->lock);
    out->fps = s->own.fps >= 0 ? s->own.fps : o->fps;
    out->every = s->own.every > 0 ? s->own.every : o->every;
    out->priority = s->own.priority;
    out->weight = s->own.weight;
    pthread_mutex_unlock(&s->pipeline->lock);
    out->economy = om_step_name((om_step)atomic_load(&s->step));
    out->lag_ms = s->live ? (double)atomic_load(&s->lag_ns) / 1e6 : 0;
}

static void row_of_gone(const om_gone *g, om_stream_row *out)
{
    memset(out, 0, sizeof(*out));
    status_of_gone(g, &out->status);
    om_tally_stats(&g->tally, &out->stats);
    out->every = 1;
    out->economy = om_step_name(OM_STEP_NONE);
}

static int by_index(const void *a, const void *b)
{
    const om_stream_row *x = a, *y = b;
    return (x->status.index > y->status.index) - (x->status.index < y->status.index);
}

int om_pipeline_list(om_pipeline *p, bool removed, om_stream_row **rows, size_t *n)
{
    *n = 0;
    pthread_mutex_lock(&p->roster);
    *rows = om_calloc(p->n_streams + p->n_gone + 1, sizeof(**rows));
    for (size_t i = 0; i < p->n_streams && *rows; i++) row_of(p->streams[i], &(*rows)[(*n)++]);
    for (size_t i = 0; i < p->n_gone && *rows && removed; i++) row_of_gone(&p->gone[i], &(*rows)[(*n)++]);
    pthread_mutex_unlock(&p->roster);
    if (!*rows) return OM_ERR_NOMEM;
    qsort(*rows, *n, sizeof(**rows), by_index);
    return OM_OK;
}

int om_pipeline_row(om_pipeline *p, const char *name, om_stream_row *out)
{
    pthread_mutex_lock(&p->roster);
    om_stream_run *s = om_roster_find(p, name);
    if (s) row_of(s, out);
    int err = s ? OM_OK : om_roster_fail_unknown(p, name);
    pthread_mutex_unlock(&p->roster);
    return err;
}

/* Roster held. */
static void tally_all(om_pipeline *p, om_tally *out)
{
    om_tally one;
    om_tally_merge(out, &p->earlier);
    for (size_t i = 0; i < p->n_gone; i++) om_tally_merge(out, &p->gone[i].tally);
    for (size_t i = 0; i < p->n_streams; i++) {
        om_account_tally(&p->streams[i]->account, &one);
        om_tally_merge(out, &one);
    }
}

/* index -1: all. The result is large (it holds a histogram): callers keep it off small stacks. */
static int tally(om_pipeline *p, int index, om_tally *out)
{
    int err = OM_OK;
    memset(out, 0, sizeof(*out));
    pthread_mutex_lock(&p->roster);
    om_stream_run *s = index < 0 ? NULL : om_roster_at(p, index);
    om_gone *g = s || index < 0 ? NULL : find_gone(p, index);
    if (index == -1) tally_all(p, out);
    else if (s) om_account_tally(&s->account, out);
    else if (g) *out = g->tally;
    else err = om_fail(OM_ERR_ARG, "no stream %d: there are %d", index, p->next_index);
    pthread_mutex_unlock(&p->roster);
    return err;
}

void om_pipeline_latency(om_pipeline *p, om_hist *out)
{
    om_tally t;
    tally(p, -1, &t);
    *out = t.latency;
}

int om_pipeline_stats(om_pipeline *p, int index, om_stream_stats *out)
{
    om_tally t;
    int err = tally(p, index, &t);
    if (!err) om_tally_stats(&t, out);
    return err;
}

void om_pipeline_losses(om_pipeline *p, int index, om_str *out)
{
    om_tally t;
    if (!tally(p, index, &t)) om_tally_losses(&t, out);
}

size_t om_pipeline_failures(om_pipeline *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_shared; i++) n += atomic_load(&p->shared_sinks[i]->status) != OM_OK;
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < p->n_streams; i++) {
        const om_stream_run *s = p->streams[i];
        pthread_mutex_lock(&p->lock);
        n += s->state == OM_STREAM_FAILED && !s->added;
        pthread_mutex_unlock(&p->lock);
        for (size_t k = 0; k < s->n_own; k++) n += atomic_load(&s->own_sinks[k]->status) != OM_OK;
    }
    pthread_mutex_unlock(&p->roster);
    return n;
}

void om_pipeline_describe(om_pipeline *p, om_str *out)
{
    om_engine *e = p->engine;
    const char *slash = strrchr(p->config.run.model, '/');
    om_str_addf(out, "%s (%s", slash ? slash + 1 : p->config.run.model, om_family_name(e->desc->family));
    if (e->desc->n_classes)
        om_str_addf(out, ", %d class%s", e->desc->n_classes, e->desc->n_classes == 1 ? "" : "es");
    pthread_mutex_lock(&e->compile_lock);
    om_str_addf(out, ") on %s", e->note[0] ? e->note : e->backend->title);
    for (int i = 0; i < e->n_batchers; i++)
        om_str_addf(out, "%s %dx%d", i ? "," : ", input", e->batchers[i]->plan->width,
                    e->batchers[i]->plan->height);
    pthread_mutex_unlock(&e->compile_lock);
    if (p->n_units > 1) om_str_addf(out, ", on %d devices: %s", p->n_units, p->config.run.device);
}

const char *om_stream_state_name(om_stream_state s)
{
    static const char *const names[] = {"opening",      "running", "ended",  "failed",
                                        "reconnecting", "paused",  "removed"};
    return names[s];
}

static void decoder_json(int decoder, int fallbacks, int refused, int changes, om_json *j)
{
    static const char *const names[] = {
        [OM_DECODER_NONE] = NULL, [OM_DECODER_CPU] = "cpu", [OM_DECODER_CUDA] = "cuda"};
    om_json_key(j, "decoder");
    if (names[decoder]) om_json_string(j, names[decoder]);
    else om_json_null(j);
    om_json_key(j, "decoder_fallbacks");
    om_json_uint(j, (uint64_t)fallbacks);
    om_json_key(j, "decoder_refused");
    om_json_uint(j, (uint64_t)refused);
    om_json_key(j, "decoder_changes");
    om_json_uint(j, (uint64_t)changes);
}

/* The work's change of device; null: it did not happen. compile_lock held. */
static void move_json(om_pipeline *p, const om_engine *e, om_json *j)
{
    const om_move *m = &e->move;
    om_json_key(j, "moved");
    if (!m->at_ns) {
        om_json_null(j);
        return;
    }
    om_json_begin_object(j);
    om_json_key_string(j, "from", m->from);
    om_json_key_string(j, "to", m->to);
    om_json_key_string(j, "cause", m->cause);
    om_json_key_num(j, "at_s", (double)(m->at_ns - p->start_ns) / 1e9, 3);
    om_json_key_num(j, "took_s", (double)m->took_ns / 1e9, 3);
    om_json_end_object(j);
}

static void status_json(const om_stream_status *st, const char *uri, om_json *j)
{
    om_json_key_string(j, "name", st->name);
    om_json_key_string(j, "uri", uri);
    om_json_key_string(j, "state", om_stream_state_name(st->state));
    bool bad = st->state == OM_STREAM_FAILED || st->state == OM_STREAM_RECONNECTING ||
               st->state == OM_STREAM_OPENING;
    if (st->error[0]) om_json_key_string(j, bad ? "error" : "last_error", st->error);
    om_json_key(j, "reconnects");
    om_json_uint(j, st->reconnects);
    om_json_key_string(j, "codec", st->codec);
    om_json_key_num(j, "width", st->width, 0);
    om_json_key_num(j, "height", st->height, 0);
}

static void stream_json(om_stream_run *s, om_json *j)
{
    om_stream_row r;
    om_tally t;
    row_of(s, &r);
    om_json_begin_object(j);
    status_json(&r.status, s->shown, j);
    om_json_key_string(j, "device", s->unit->device);
    const om_source_counts *c = &s->account.source;
    decoder_json(atomic_load(&c->decoder), atomic_load(&c->fallbacks), atomic_load(&c->refused),
                 atomic_load(&c->changes), j);
    om_json_key_num(j, "priority", r.priority, 0);
    om_json_key_string(j, "economy", r.economy);
    om_account_tally(&s->account, &t);
    om_tally_json(&t, j);
    om_json_end_object(j);
}

static void gone_json(const om_gone *g, om_json *j)
{
    om_stream_status st;
    status_of_gone(g, &st);
    om_json_begin_object(j);
    status_json(&st, g->shown, j);
    om_json_key_string(j, "device", g->unit->device);
    decoder_json(g->decoder, g->fallbacks, g->refused, g->changes, j);
    om_tally_json(&g->tally, j);
    om_json_end_object(j);
}

/* Those that run or have ended, then the last of those that were removed; what came before them is one sum.
 */
static void streams_json(om_pipeline *p, om_json *j)
{
    pthread_mutex_lock(&p->roster);
    om_json_key(j, "streams");
    om_json_begin_array(j);
    for (size_t i = 0; i < p->n_streams; i++) stream_json(p->streams[i], j);
    for (size_t i = 0; i < p->n_gone; i++) gone_json(&p->gone[i], j);
    om_json_end_array(j);
    if (p->n_earlier) {
        om_json_key(j, "removed_earlier");
        om_json_begin_object(j);
        om_json_key(j, "streams");
        om_json_uint(j, p->n_earlier);
        om_tally_json(&p->earlier, j);
        om_json_end_object(j);
    }
    pthread_mutex_unlock(&p->roster);
}

static void batches_json(om_engine *e, om_json *j)
{
    pthread_mutex_lock(&e->compile_lock);
    for (int i = 0; i < e->n_batchers; i++) {
        om_batcher *b = e->batchers[i];
        pthread_mutex_lock(&e->lock);
        uint64_t batches = b->batches, items = b->items;
        pthread_mutex_unlock(&e->lock);
        om_json_begin_object(j);
        om_json_key_num(j, "width", b->plan->width, 0);
        om_json_key_num(j, "height", b->plan->height, 0);
        om_json_key_num(j, "batches", (double)batches, 0);
        om_json_key_num(j, "mean_batch", batches ? (double)items / (double)batches : 0, 3);
        om_json_key_string(j, "device", e->options->device);
        om_json_end_object(j);
    }
    pthread_mutex_unlock(&e->compile_lock);
}

static void rectangles_json(om_pipeline *p, om_json *j)
{
    om_json_key(j, "rectangles");
    om_json_begin_array(j);
    for (int i = 0; i < p->n_units; i++) batches_json(p->units[i].engine, j);
    om_json_end_array(j);
}

/* The first device whose work has gone elsewhere, or the first. */
static om_engine *moved_engine(om_pipeline *p)
{
    om_engine *found = NULL;
    for (int i = 0; i < p->n_units && !found; i++) {
        om_engine *e = p->units[i].engine;
        pthread_mutex_lock(&e->compile_lock);
        if (e->move.at_ns) found = e;
        pthread_mutex_unlock(&e->compile_lock);
    }
    return found ? found : p->engine;
}

/* What the unit's streams have come to, with those that are listed after their removal. */
static void unit_streams_json(om_pipeline *p, const om_unit *u, om_json *j)
{
    uint64_t streams = 0, received = 0, inferred = 0;
    om_tally t;
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < p->n_streams + p->n_gone; i++) {
        const om_gone *g = i < p->n_streams ? NULL : &p->gone[i - p->n_streams];
        om_stream_run *s = g ? NULL : p->streams[i];
        if ((g ? g->unit : s->unit) != u) continue;
        if (s) om_account_tally(&s->account, &t);
        streams++;
        received += s ? t.received : g->tally.received;
        inferred += s ? t.inferred : g->tally.inferred;
    }
    pthread_mutex_unlock(&p->roster);
    om_json_key_uint(j, "streams", streams);
    om_json_key_uint(j, "received", received);
    om_json_key_uint(j, "inferred", inferred);
}

static void devices_json(om_pipeline *p, om_json *j)
{
    om_json_key(j, "devices");
    om_json_begin_array(j);
    for (int i = 0; i < p->n_units; i++) {
        om_unit *u = &p->units[i];
        om_json_begin_object(j);
        om_json_key_string(j, "device", u->device);
        pthread_mutex_lock(&u->engine->compile_lock);
        om_json_key_string(j, "engine", u->engine->note);
        move_json(p, u->engine, j);
        pthread_mutex_unlock(&u->engine->compile_lock);
        unit_streams_json(p, u, j);
        om_pipeline_unit_gpu_json(p, u, j);
        om_json_end_object(j);
    }
    om_json_end_array(j);
}

static void model_json(om_pipeline *p, om_json *j)
{
    om_engine *e = p->engine;
    om_json_key(j, "model");
    om_json_begin_object(j);
    om_json_key_string(j, "path", p->config.run.model);
    om_json_key_string(j, "family", om_family_name(e->desc->family));
    pthread_mutex_lock(&e->compile_lock);
    om_json_key_string(j, "backend", e->backend->name);
    om_json_key_string(j, "engine", e->note);
    pthread_mutex_unlock(&e->compile_lock);
    e = moved_engine(p);
    pthread_mutex_lock(&e->compile_lock);
    move_json(p, e, j);
    pthread_mutex_unlock(&e->compile_lock);
    rectangles_json(p, j);
    om_json_end_object(j);
}

static void sink_json(const om_sink *s, om_json *j)
{
    om_json_begin_object(j);
    om_json_key_string(j, "sink", s->spec);
    om_json_key(j, "written");
    om_json_uint(j, atomic_load(&s->written));
    om_json_key(j, "dropped");
    om_json_uint(j, atomic_load(&s->dropped));
    om_json_key(j, "failed");
    om_json_uint(j, atomic_load(&s->failed));
    if (atomic_load(&s->status)) om_json_key_string(j, "error", s->error);
    om_json_end_object(j);
}

static void sinks_json(om_pipeline *p, om_json *j)
{
    om_json_key(j, "sinks");
    om_json_begin_array(j);
    for (size_t i = 0; i < p->n_shared; i++) sink_json(p->shared_sinks[i], j);
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < p->n_streams; i++)
        for (size_t k = 0; k < p->streams[i]->n_own; k++) sink_json(p->streams[i]->own_sinks[k], j);
    pthread_mutex_unlock(&p->roster);
    om_json_end_array(j);
}

/* Where the run's own time began, for rates that leave the opening of files and models out. */
static void begin_json(om_pipeline *p, om_json *j)
{
    pthread_mutex_lock(&p->lock);
    int64_t begin = p->begin_ns, cpu = p->begin_cpu_ns;
    pthread_mutex_unlock(&p->lock);
    om_json_key(j, "begin_s");
    if (begin) om_json_num(j, (double)(begin - p->start_ns) / 1e9, 3);
    else om_json_null(j);
    om_json_key(j, "begin_cpu_s");
    if (begin) om_json_num(j, (double)(cpu - p->start_cpu_ns) / 1e9, 3);
    else om_json_null(j);
}

static void machine_json(om_pipeline *p, double seconds, double cpu, om_json *j)
{
    om_json_key_num(j, "seconds", seconds, 3);
    begin_json(p, j);
    om_json_key_num(j, "cpu_percent", seconds > 0 ? 100.0 * cpu / seconds / om_cpu_count() : 0, 1);
    om_json_key_num(j, "cpu_seconds", cpu, 3);
    om_json_key_num(j, "memory_peak_mb", (double)om_mem_peak() / (1 << 20), 1);
    om_pipeline_gpu_json(p, j);
}

int om_pipeline_report(om_pipeline *p, char **out)
{
    *out = NULL;
    if (!p->started) return om_fail(OM_ERR_ARG, "report: the pipeline has not been started");
    om_str text = {0};
    om_json j;
    char when[OM_ISO_TIME_SIZE];
    om_tally t;
    pthread_mutex_lock(&p->lock);
    int64_t end = p->end_ns ? p->end_ns : om_now_ns();
    int64_t cpu = p->end_ns ? p->end_cpu_ns : om_process_cpu_ns();
    pthread_mutex_unlock(&p->lock);
    om_iso_time(p->start_wall_us, when);
    om_json_init(&j, &text, 2);
    om_json_begin_object(&j);
    om_json_key_string(&j, "omma", OMMA_VERSION_STRING);
    om_json_key_string(&j, "started", when);
    om_json_key_string(&j, "cpu", om_cpu_model());
    om_json_key_num(&j, "cores", om_cpu_count(), 0);
    model_json(p, &j);
    devices_json(p, &j);
    om_json_key(&j, "secondary");
    om_json_begin_array(&j);
    for (int i = 0; i < p->n_units; i++) om_seconds_json(p->units[i].seconds, p->census != NULL, &j);
    om_json_end_array(&j);
    om_pipeline_policy_json(p, &j);
    streams_json(p, &j);
    sinks_json(p, &j);
    om_json_key(&j, "totals");
    om_json_begin_object(&j);
    tally(p, -1, &t);
    om_tally_json(&t, &j);
    machine_json(p, (double)(end - p->start_ns) / 1e9, (double)(cpu - p->start_cpu_ns) / 1e9, &j);
    om_json_end_object(&j);
    if (p->census) {
        om_json_key(&j, "profile");
        om_pipeline_profile_json(p, &j);
    }
    om_json_end_object(&j);
    om_str_addc(&text, '\n');
    *out = om_str_take(&text);
    return *out ? OM_OK : OM_ERR_NOMEM;
}

void om_free_string(char *s) { om_free(s); }
