/* What a run says about itself: stream states, figures, the JSON report. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "omma/version.h"
#include "pipeline/pipeline_priv.h"

size_t om_pipeline_n_streams(const om_pipeline *p) { return p->n_streams; }

void om_pipeline_stream_status(om_pipeline *p, size_t index, om_stream_status *out)
{
    om_stream_run *s = &p->streams[index];
    memset(out, 0, sizeof(*out));
    out->name = s->name;
    out->uri = s->shown;
    pthread_mutex_lock(&p->lock);
    out->state = s->state;
    out->width = s->info.width;
    out->height = s->info.height;
    out->source_fps = s->info.fps;
    out->duration_s = s->info.duration_s;
    out->position_s = (double)s->position_ns / 1e9;
    memcpy(out->error, s->error, sizeof(out->error));
    pthread_mutex_unlock(&p->lock);
}

/* index -1: all. The result is large (it holds a histogram): callers keep it off small stacks. */
static int tally(om_pipeline *p, int index, om_tally *out)
{
    if (index >= (int)p->n_streams || index < -1)
        return om_fail(OM_ERR_ARG, "no stream %d: there are %zu", index, p->n_streams);
    memset(out, 0, sizeof(*out));
    om_tally one;
    for (size_t i = 0; i < p->n_streams; i++) {
        if (index >= 0 && i != (size_t)index) continue;
        om_account_tally(&p->streams[i].account, &one);
        om_tally_merge(out, &one);
    }
    return OM_OK;
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
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_streams; i++) n += p->streams[i].state == OM_STREAM_FAILED;
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->n_shared; i++) n += atomic_load(&p->shared_sinks[i]->status) != OM_OK;
    for (size_t i = 0; i < p->n_streams; i++)
        for (size_t k = 0; k < p->streams[i].n_own; k++)
            n += atomic_load(&p->streams[i].own_sinks[k]->status) != OM_OK;
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
}

static const char *state_name(om_stream_state s)
{
    static const char *const names[] = {"opening", "running", "ended", "failed"};
    return names[s];
}

static void key_string(om_json *j, const char *key, const char *v)
{
    om_json_key(j, key);
    om_json_string(j, v);
}

static void key_num(om_json *j, const char *key, double v, int decimals)
{
    om_json_key(j, key);
    om_json_num(j, v, decimals);
}

static void decoder_json(om_source_counts *c, om_json *j)
{
    static const char *const names[] = {
        [OM_DECODER_NONE] = NULL, [OM_DECODER_CPU] = "cpu", [OM_DECODER_CUDA] = "cuda"};
    const char *name = names[atomic_load(&c->decoder)];
    om_json_key(j, "decoder");
    if (name) om_json_string(j, name);
    else om_json_null(j);
    om_json_key(j, "decoder_fallbacks");
    om_json_uint(j, (uint64_t)atomic_load(&c->fallbacks));
}

/* The work's change of device; null: it did not happen. Lock held. */
static void move_json(om_pipeline *p, om_json *j)
{
    const om_move *m = &p->engine->move;
    om_json_key(j, "moved");
    if (!m->at_ns) {
        om_json_null(j);
        return;
    }
    om_json_begin_object(j);
    key_string(j, "from", m->from);
    key_string(j, "to", m->to);
    key_string(j, "cause", m->cause);
    key_num(j, "at_s", (double)(m->at_ns - p->start_ns) / 1e9, 3);
    key_num(j, "took_s", (double)m->took_ns / 1e9, 3);
    om_json_end_object(j);
}

static void stream_json(om_pipeline *p, size_t i, om_json *j)
{
    om_stream_status st;
    om_tally t;
    om_pipeline_stream_status(p, i, &st);
    om_json_begin_object(j);
    key_string(j, "name", st.name);
    key_string(j, "uri", st.uri);
    key_string(j, "state", state_name(st.state));
    if (st.error[0]) key_string(j, "error", st.error);
    key_string(j, "codec", p->streams[i].info.codec);
    decoder_json(&p->streams[i].account.source, j);
    key_num(j, "width", st.width, 0);
    key_num(j, "height", st.height, 0);
    if (!tally(p, (int)i, &t)) om_tally_json(&t, j);
    om_json_end_object(j);
}

static void batches_json(om_engine *e, om_json *j)
{
    om_json_key(j, "rectangles");
    om_json_begin_array(j);
    pthread_mutex_lock(&e->compile_lock);
    for (int i = 0; i < e->n_batchers; i++) {
        om_batcher *b = e->batchers[i];
        pthread_mutex_lock(&e->lock);
        uint64_t batches = b->batches, items = b->items;
        pthread_mutex_unlock(&e->lock);
        om_json_begin_object(j);
        key_num(j, "width", b->plan->width, 0);
        key_num(j, "height", b->plan->height, 0);
        key_num(j, "batches", (double)batches, 0);
        key_num(j, "mean_batch", batches ? (double)items / (double)batches : 0, 3);
        om_json_end_object(j);
    }
    pthread_mutex_unlock(&e->compile_lock);
    om_json_end_array(j);
}

static void model_json(om_pipeline *p, om_json *j)
{
    om_engine *e = p->engine;
    om_json_key(j, "model");
    om_json_begin_object(j);
    key_string(j, "path", p->config.run.model);
    key_string(j, "family", om_family_name(e->desc->family));
    pthread_mutex_lock(&e->compile_lock);
    key_string(j, "backend", e->backend->name);
    key_string(j, "engine", e->note);
    move_json(p, j);
    pthread_mutex_unlock(&e->compile_lock);
    batches_json(e, j);
    om_json_end_object(j);
}

static void sink_json(const om_sink *s, om_json *j)
{
    om_json_begin_object(j);
    key_string(j, "sink", s->spec);
    om_json_key(j, "written");
    om_json_uint(j, atomic_load(&s->written));
    om_json_key(j, "dropped");
    om_json_uint(j, atomic_load(&s->dropped));
    om_json_key(j, "failed");
    om_json_uint(j, atomic_load(&s->failed));
    if (atomic_load(&s->status)) key_string(j, "error", s->error);
    om_json_end_object(j);
}

static void sinks_json(om_pipeline *p, om_json *j)
{
    om_json_key(j, "sinks");
    om_json_begin_array(j);
    for (size_t i = 0; i < p->n_shared; i++) sink_json(p->shared_sinks[i], j);
    for (size_t i = 0; i < p->n_streams; i++)
        for (size_t k = 0; k < p->streams[i].n_own; k++) sink_json(p->streams[i].own_sinks[k], j);
    om_json_end_array(j);
}

static void machine_json(om_pipeline *p, double seconds, double cpu, om_json *j)
{
    struct rusage u = {0};
    getrusage(RUSAGE_SELF, &u);
    key_num(j, "seconds", seconds, 3);
    key_num(j, "cpu_percent", seconds > 0 ? 100.0 * cpu / seconds / om_cpu_count() : 0, 1);
    key_num(j, "cpu_seconds", cpu, 3);
    key_num(j, "memory_peak_mb", (double)u.ru_maxrss / 1024.0, 1);
    om_pipeline_gpu_json(p, j);
    om_json_key(j, "network_mbit_s"); /* of the contract; not measured */
    om_json_null(j);
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
    key_string(&j, "omma", OMMA_VERSION_STRING);
    key_string(&j, "started", when);
    key_string(&j, "cpu", om_cpu_model());
    key_num(&j, "cores", om_cpu_count(), 0);
    model_json(p, &j);
    om_json_key(&j, "streams");
    om_json_begin_array(&j);
    for (size_t i = 0; i < p->n_streams; i++) stream_json(p, i, &j);
    om_json_end_array(&j);
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
