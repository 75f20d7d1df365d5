/* A stream's thread: open, read, sample, hand over. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "media/media.h"
#include "pipeline/pipeline_priv.h"
#include "trace/trace.h"

/* Surfaces of a hardware decoder that are not in the mailbox: one being handed over, and those in gathers
 * under way. */
#define OM_HELD_BEYOND 2
#define OM_HELD_BY_SINKS 8

int om_gate_init(om_gate *g, int expected)
{
    g->missing = expected;
    atomic_init(&g->start_ns, 0);
    pthread_mutex_init(&g->lock, NULL);
    return om_cond_init(&g->open);
}

void om_gate_fini(om_gate *g)
{
    pthread_cond_destroy(&g->open);
    pthread_mutex_destroy(&g->lock);
}

bool om_gate_arrive(om_gate *g)
{
    pthread_mutex_lock(&g->lock);
    bool last = --g->missing == 0;
    pthread_mutex_unlock(&g->lock);
    return last;
}

void om_gate_open(om_gate *g)
{
    pthread_mutex_lock(&g->lock);
    atomic_store(&g->start_ns, om_now_ns() + 10 * OM_NS_PER_MS);
    pthread_cond_broadcast(&g->open);
    pthread_mutex_unlock(&g->lock);
}

int om_gate_wait(om_gate *g, om_cancel *c)
{
    pthread_mutex_lock(&g->lock);
    while (!atomic_load(&g->start_ns) && !om_cancelled(c))
        om_cond_wait_until(&g->open, &g->lock, om_now_ns() + 50 * OM_NS_PER_MS);
    pthread_mutex_unlock(&g->lock);
    return om_cancelled(c) ? OM_ERR_CANCELLED : OM_OK;
}

static void set_state(om_stream_run *s, om_stream_state state)
{
    om_pipeline *p = s->pipeline;
    pthread_mutex_lock(&p->lock);
    s->state = state;
    if (state == OM_STREAM_FAILED) snprintf(s->error, sizeof(s->error), "%s", om_error_message());
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* Every local source is open: the rectangles are made in the order of the streams. */
static void share_rectangles(om_pipeline *p)
{
    for (size_t i = 0; i < p->n_streams && !om_cancelled(&p->cancel); i++) {
        om_stream_run *s = &p->streams[i];
        pthread_mutex_lock(&p->lock);
        int w = s->state == OM_STREAM_FAILED || !s->local ? 0 : s->info.width, h = s->info.height;
        pthread_mutex_unlock(&p->lock);
        om_batcher *b;
        if (w > 0 && h > 0 && om_engine_batcher(p->engine, w, h, &b))
            break; /* the stream meets the error itself */
    }
}

static void arrive(om_stream_run *s)
{
    if (!s->local || !om_gate_arrive(&s->pipeline->gate)) return;
    share_rectangles(s->pipeline);
    om_census_restart(s->pipeline->census);
    om_gate_open(&s->pipeline->gate);
}

static void source_params(om_stream_run *s, om_source_params *out)
{
    om_pipeline *p = s->pipeline;
    const om_run_options *o = &p->config.run;
    /* Phases spread evenly over a frame's time whatever the number of streams: the golden ratio does that. */
    double phase = fmod((double)s->index * 0.6180339887498949, 1.0);
    *out = (om_source_params){
        .live = s->live,
        .loop = s->options->loop >= 0 ? s->options->loop : o->loop,
        .decode_threads = o->decode_threads,
        .phase_ns = (int64_t)(phase * 40e6),
        .start_ns = s->local ? &p->gate.start_ns : NULL,
        .open_timeout_ms = (int)(o->open_timeout * 1e3),
        .read_timeout_ms = (int)(o->read_timeout * 1e3),
        .rtsp_transport = o->rtsp_transport,
        .hwaccel = p->engine->hwaccel,
        .hold = s->mailbox.cap + OM_HELD_BEYOND + (p->engine->keep_frames ? OM_HELD_BY_SINKS : 0),
        .cancel = &p->cancel,
    };
}

/* Which pictures the model is to see. */
typedef struct om_sampler {
    int every;
    double fps;
    double next_s; /* when fps is set: the next picture wanted */
    uint64_t seen;
} om_sampler;

static bool wanted(om_sampler *s, double pts)
{
    uint64_t n = s->seen++;
    if (s->every > 1 && n % (uint64_t)s->every) return false;
    if (s->fps <= 0) return true;
    if (pts + 1e-6 < s->next_s) return false;
    s->next_s += 1.0 / s->fps;
    if (s->next_s <= pts)
        s->next_s = pts + 1.0 / s->fps; /* slower than asked for: no catching up in bursts */
    return true;
}

static void note_position(om_stream_run *s, const om_frame *f)
{
    pthread_mutex_lock(&s->pipeline->lock);
    s->position_ns = f->pts_ns;
    s->info.width = f->image.width;
    s->info.height = f->image.height;
    pthread_mutex_unlock(&s->pipeline->lock);
}

/* A picture that the model's device cannot read is copied to where it can; *f is NULL where that failed, as
 * it does when the GPU is lost: the picture is counted. */
static void make_readable(om_stream_run *s, const om_batcher *b, om_frame **f)
{
    om_frame *copy;
    if ((*f)->memory == OM_MEMORY_HOST || (om_batcher_reads(b, *f) && !s->pipeline->engine->download)) return;
    int err = om_frame_download(*f, &copy);
    if (err) om_log(OM_LOG_DEBUG, "stream '%s': %s", s->name, om_error_message());
    if (err) om_account_drop(&s->account, OM_DROP_DEVICE_LOST);
    om_frame_unref(*f);
    *f = err ? NULL : copy;
}

static int hand_over(om_stream_run *s, om_frame *f)
{
    om_batcher *b;
    int err = om_engine_batcher(s->pipeline->engine, f->image.width, f->image.height, &b);
    if (!err) make_readable(s, b, &f);
    if (!err) return f ? om_mailbox_put(&s->mailbox, b, f) : OM_OK;
    om_account_skip(&s->account, OM_SKIP_STOPPED);
    om_frame_unref(f);
    om_pipeline_note_error(s->pipeline, err);
    om_pipeline_stop(s->pipeline); /* the model does not run here: no stream can go on */
    return OM_ERR_CANCELLED;
}

/* Frames handed over that the model will never see; only this thread's hand-overs raise it. */
static int64_t superseded(const om_stream_run *s)
{
    return (int64_t)atomic_load_explicit(&s->account.dropped[OM_DROP_SUPERSEDED], memory_order_relaxed);
}

/* The next picture; what the thread works at it is decoding, the rest of the time it waits for packets. */
static int read_picture(om_stream_run *s, om_source *source, om_frame **out)
{
    om_stages *stages = s->account.stages;
    if (!stages) return om_source_read(source, out);
    int64_t begin = om_now_ns(), cpu = om_thread_cpu_ns(), cores = om_census_waited_ns(s->sched_fd);
    int err = om_source_read(source, out);
    om_stages_test_delay(OM_STAGE_SOURCE);
    om_stages_test_delay(OM_STAGE_DECODE);
    cpu = om_thread_cpu_ns() - cpu;
    cores = om_census_waited_ns(s->sched_fd) - cores;
    if (err) return err;
    om_stages_note(stages, OM_STAGE_DECODE, cpu);
    om_stages_note(stages, OM_STAGE_CORES, cores);
    om_stages_note(stages, OM_STAGE_SOURCE, om_now_ns() - begin - cpu - cores);
    return OM_OK;
}

/* Reads to the end; OM_OK also when a bound of the run was reached. */
static int read_all(om_stream_run *s, om_source *source)
{
    const om_run_options *o = &s->pipeline->config.run;
    double duration = s->options->duration >= 0 ? s->options->duration : o->duration;
    int64_t max = s->options->max_frames >= 0 ? s->options->max_frames : o->max_frames;
    om_sampler sampler = {.every = s->options->every > 0 ? s->options->every : o->every,
                          .fps = s->options->fps >= 0 ? s->options->fps : o->fps};
    for (int64_t given = 0; !max || given - superseded(s) < max;) {
        om_frame *f;
        om_trace_begin("read", s->index);
        int err = read_picture(s, source, &f);
        if (!err) om_trace_flow(OM_FLOW_START, om_trace_frame_id(s->index, f->seq));
        om_trace_end("read");
        if (err) return err == OM_ERR_EOF ? OM_OK : err;
        om_account_enter(&s->account);
        note_position(s, f);
        bool over = duration > 0 && (double)f->pts_ns / 1e9 >= duration;
        if (over || !wanted(&sampler, (double)f->pts_ns / 1e9)) {
            om_account_skip(&s->account, over ? OM_SKIP_STOPPED : OM_SKIP_SAMPLED);
            om_frame_unref(f);
            if (over) return OM_OK;
            continue;
        }
        err = hand_over(s, f);
        if (err) return err;
        given++;
    }
    return OM_OK;
}

static int run(om_stream_run *s)
{
    om_source_params params;
    om_source *source = NULL;
    source_params(s, &params);
    int err = om_source_open(s->options->uri, &params, &s->account.source, &source);
    if (err) {
        set_state(s, err == OM_ERR_CANCELLED ? OM_STREAM_ENDED : OM_STREAM_FAILED);
        arrive(s);
        return err;
    }
    pthread_mutex_lock(&s->pipeline->lock);
    s->info = source->info;
    pthread_mutex_unlock(&s->pipeline->lock);
    set_state(s, OM_STREAM_RUNNING);
    arrive(s);
    if (s->local) err = om_gate_wait(&s->pipeline->gate, &s->pipeline->cancel);
    if (!err) err = read_all(s, source);
    char message[400];
    snprintf(message, sizeof(message), "%s", om_error_message());
    om_source_close(source);
    return err && err != OM_ERR_CANCELLED ? om_fail(err, "%s", message) : err;
}

void *om_stream_main(void *arg)
{
    om_stream_run *s = arg;
    s->sched_fd = s->account.stages ? om_census_open_thread() : -1;
    int err = run(s);
    if (s->sched_fd >= 0) close(s->sched_fd);
    if (err && err != OM_ERR_CANCELLED) {
        om_log(OM_LOG_ERROR, "stream '%s': %s", s->name, om_error_message());
        om_pipeline_note_error(s->pipeline, err);
        set_state(s, OM_STREAM_FAILED);
    } else {
        set_state(s, OM_STREAM_ENDED);
    }
    if (om_cancelled(&s->pipeline->cancel)) om_mailbox_abort(&s->mailbox);
    else om_mailbox_close(&s->mailbox);
    om_census_take(s->pipeline->census); /* the last that is heard of this thread */
    return NULL;
}
