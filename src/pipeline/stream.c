/* A stream's thread: open, read, sample, hand over. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "media/media.h"
#include "pipeline/pipeline_priv.h"
#include "pipeline/sampler.h"
#include "trace/trace.h"

/* Surfaces of a hardware decoder that are not in the mailbox: one being handed over, and those in gathers
 * under way. */
#define OM_HELD_BEYOND 2
#define OM_HELD_BY_SINKS 8
#define OM_ALL_KEYS 8 /* key pictures in a row: the source has no others */

static void set_state(om_stream_run *s, om_stream_state state)
{
    om_pipeline *p = s->pipeline;
    pthread_mutex_lock(&p->lock);
    s->state = state;
    if (state == OM_STREAM_FAILED) snprintf(s->error, sizeof(s->error), "%s", om_error_message());
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

typedef struct want {
    om_engine *engine;
    om_size size;
} want;

typedef struct wants {
    want *items;
    size_t n;
} wants;

/* Of the open local sources, in the order of the streams. */
static wants local_wants(om_pipeline *p)
{
    pthread_mutex_lock(&p->roster);
    wants all = {.items = om_calloc(p->n_streams + 1, sizeof(want))};
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_streams && all.items; i++) {
        const om_stream_run *s = p->streams[i];
        bool there = s->local && s->state != OM_STREAM_FAILED && s->info.width > 0 && s->info.height > 0;
        if (there) all.items[all.n++] = (want){s->unit->engine, {s->info.width, s->info.height}};
    }
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->roster);
    return all;
}

void om_pipeline_open_gate(om_pipeline *p)
{
    wants all = local_wants(p);
    om_batcher *b;
    pthread_mutex_lock(&p->lock);
    if (p->stopping) all.n = 0;
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < all.n; i++)
        if (om_engine_batcher(all.items[i].engine, all.items[i].size.width, all.items[i].size.height, &b))
            break; /* the stream meets the error itself */
    om_free(all.items);
    om_census_restart(p->census);
    om_pipeline_forget_gpu(p);
    pthread_mutex_lock(&p->lock);
    p->begin_ns = om_now_ns();
    p->begin_cpu_ns = om_process_cpu_ns();
    pthread_mutex_unlock(&p->lock);
    om_gate_open(&p->gate);
}

bool om_stream_arrive(om_stream_run *s)
{
    return s->gated && !atomic_exchange(&s->arrived, true) && om_gate_arrive(&s->pipeline->gate);
}

static void arrive(om_stream_run *s)
{
    if (om_stream_arrive(s)) om_pipeline_open_gate(s->pipeline);
}

/* What a camera does goes into the stream's status, and into the log once for each cause. */
static void note_source(void *user, om_source_state state, const char *why)
{
    om_stream_run *s = user;
    om_pipeline *p = s->pipeline;
    pthread_mutex_lock(&p->lock);
    /* What is away does not lag: what it did before would be held against all others. */
    atomic_store_explicit(&s->lag_ns, 0, memory_order_relaxed);
    bool back = state == OM_SOURCE_RUNNING, was_away = s->away,
         news = why && (!s->away || strcmp(s->error, why));
    s->away = !back;
    if (back && s->source) s->info = s->source->info; /* it may have become another camera's */
    if (why) snprintf(s->error, sizeof(s->error), "%s", why);
    s->state = back                            ? OM_STREAM_RUNNING
               : state == OM_SOURCE_CONNECTING ? OM_STREAM_OPENING
                                               : OM_STREAM_RECONNECTING;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (news) om_log(OM_LOG_WARN, "stream '%s': %s; it is tried again", s->name, why);
    if (back && was_away) om_log(OM_LOG_WARN, "stream '%s': is there", s->name);
}

static om_sample_mode sample_mode(const om_stream_run *s)
{
    int own = s->options->sample;
    return (om_sample_mode)(own >= 0 ? own : s->pipeline->config.run.sample);
}

/* The rate it is sampled at now. */
static void rate_of(const om_stream_run *s, int *every, double *fps)
{
    const om_run_options *o = &s->pipeline->config.run;
    pthread_mutex_lock(&s->pipeline->lock);
    *every = s->own.every > 0 ? s->own.every : o->every;
    *fps = s->own.fps >= 0 ? s->own.fps : o->fps;
    pthread_mutex_unlock(&s->pipeline->lock);
}

/* A live stream's place between those of the others. What it plays tells how far apart its frames are, once
 * it is open. */
static int64_t phase_of(om_stream_run *s)
{
    double wanted, source;
    int every;
    rate_of(s, &every, &wanted);
    pthread_mutex_lock(&s->pipeline->lock);
    source = s->info.fps / (every > 1 ? every : 1);
    pthread_mutex_unlock(&s->pipeline->lock);
    return om_gate_phase_ns(s->index, source > 0 && (wanted <= 0 || source < wanted) ? source : wanted);
}

static void source_params(om_stream_run *s, om_source_params *out)
{
    om_pipeline *p = s->pipeline;
    const om_run_options *o = &p->config.run;
    double duration = s->options->duration >= 0 ? s->options->duration : o->duration;
    *out = (om_source_params){
        .live = s->live,
        .loop = s->options->loop >= 0 ? s->options->loop : o->loop,
        .decode_threads = o->decode_threads,
        .decode_size = o->decode_size,
        .phase_ns = s->options->phase >= 0 ? (int64_t)(s->options->phase * 1e9)
                    : s->gated             ? 0
                                           : phase_of(s),
        .start_ns = s->gated ? &s->start_ns : NULL,
        .open_timeout_ms = (int)(o->open_timeout * 1e3),
        .read_timeout_ms = (int)(o->read_timeout * 1e3),
        .rtsp_transport = o->rtsp_transport,
        .reconnect = o->reconnect,
        .backoff_ms = (int)(o->reconnect_min * 1e3),
        .backoff_max_ms = (int)(o->reconnect_max * 1e3),
        .until_ns = duration > 0 && !s->local ? om_now_ns() + (int64_t)(duration * 1e9) : 0,
        .on_state = note_source,
        .user = s,
        .credentials = o->credentials,
        .until_key = o->damaged == OM_DAMAGED_UNTIL_KEY,
        .economy = sample_mode(s) == OM_SAMPLE_KEYFRAMES ? OM_ECONOMY_KEYFRAMES : OM_ECONOMY_NONE,
        .hwaccel = s->unit->engine->hwaccel,
        .on_cpu = s->on_cpu,
        .hold = s->mailbox.cap + OM_HELD_BEYOND + (s->unit->engine->keep_frames ? OM_HELD_BY_SINKS : 0),
        .late_ns = s->live ? 2 * p->policy.bound_ns : 0,
        .cancel = &s->halt,
    };
}

static int make_sampler(const om_stream_run *s, om_sampler *out)
{
    const om_run_options *o = &s->pipeline->config.run;
    int every;
    double fps;
    rate_of(s, &every, &fps);
    om_sampling_params params = {.mode = sample_mode(s),
                                 .every = every,
                                 .fps = fps,
                                 .motion = o->motion,
                                 .hold_s = o->motion_hold,
                                 .place = s->live && !s->local ? om_gate_share(s->index) : -1,
                                 .heartbeat_s = o->heartbeat};
    return om_sampling_init(out, &params);
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
    if ((*f)->memory == OM_MEMORY_HOST || (om_batcher_reads(b, *f) && !s->unit->engine->download)) return;
    int err = om_frame_download(*f, &copy);
    if (err) om_log(OM_LOG_DEBUG, "stream '%s': %s", s->name, om_error_message());
    if (err) om_account_drop(&s->account, OM_DROP_DEVICE_LOST);
    om_frame_unref(*f);
    *f = err ? NULL : copy;
}

static int hand_over(om_stream_run *s, om_frame *f)
{
    om_batcher *b;
    if (s->pipeline->drift) om_drift_look(s->pipeline->drift, s->index, s->name, f);
    int err = om_engine_batcher(s->unit->engine, f->image.width, f->image.height, &b);
    if (!err) make_readable(s, b, &f);
    if (!err) return f ? om_mailbox_put(&s->mailbox, b, f) : OM_OK;
    om_account_skip(&s->account, OM_SKIP_STOPPED);
    om_frame_unref(f);
    if (om_cancelled(&s->cancel)) return OM_ERR_CANCELLED;
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

/* A file stands still while it is paused; OM_ERR_CANCELLED. */
static int wait_while_paused(om_stream_run *s)
{
    om_pipeline *p = s->pipeline;
    pthread_mutex_lock(&p->lock);
    while (s->paused && !om_cancelled(&s->cancel)) om_cond_wait_until(&p->changed, &p->lock, OM_NEVER);
    pthread_mutex_unlock(&p->lock);
    return om_cancelled(&s->cancel) ? OM_ERR_CANCELLED : OM_OK;
}

/* What was changed from outside since the last look, and what the policy asks for. */
typedef struct changes {
    unsigned tuned;
    bool paused;
} changes;

/* Of the pictures that would be wanted each so manieth is. Where all are key pictures, to ask for those alone
 * is to ask for nothing. */
static int thinning(const om_stream_run *s, int step)
{
    static const int each[OM_STEP_COUNT] = {[OM_STEP_HALF] = 2, [OM_STEP_QUARTER] = 4};
    if (step == OM_STEP_KEYFRAMES) return s->keys_in_row >= OM_ALL_KEYS ? 8 : 1;
    return each[step] ? each[step] : 1;
}

static int take_changes(om_stream_run *s, om_sampler *sampler, changes *c)
{
    int step = atomic_load_explicit(&s->step, memory_order_relaxed);
    om_sampling_thin(sampler, thinning(s, step));
    unsigned tuned = atomic_load(&s->tuned);
    if (tuned == c->tuned) return OM_OK;
    int every;
    double fps;
    c->tuned = tuned;
    rate_of(s, &every, &fps);
    om_sampling_set(sampler, every, fps);
    pthread_mutex_lock(&s->pipeline->lock);
    c->paused = s->paused;
    pthread_mutex_unlock(&s->pipeline->lock);
    if (!c->paused || s->live) return OM_OK;
    c->paused = false;
    return wait_while_paused(s);
}

/* The reader has had to wait for packets since the picture before: nothing lies unread, and how late the
 * picture is is the network's doing. */
static bool has_waited(om_stream_run *s, int64_t now)
{
    int64_t all = atomic_load_explicit(&s->account.source.waited_ns, memory_order_relaxed);
    int64_t since = all - s->waited_ns;
    s->waited_ns = all;
    return since > (now - s->quickest_ns) / 4;
}

/* Of a camera nobody knows when a picture was taken: its lag is how much later it is than the quickest so
 * far, or than the last that was waited for; that place is given up slowly, as clocks drift. */
static int64_t lag_of(om_stream_run *s, const om_frame *f)
{
    int64_t now = om_now_ns(), behind = now - f->pts_ns;
    if (s->local) return now - f->due_ns;
    s->quickest += (now - s->quickest_ns) / 1000;
    bool first = !s->quickest_ns;
    if (has_waited(s, now) || first || behind < s->quickest) s->quickest = behind;
    s->quickest_ns = now;
    int64_t lag = behind - s->quickest, waited = now - f->due_ns;
    return lag > waited ? lag : waited;
}

/* Numbers and times go on where they were before a pause. */
static void note_arrival(om_stream_run *s, om_frame *f)
{
    f->seq += s->seq_base;
    f->epoch += s->epoch_base;
    s->last_epoch = f->epoch;
    f->pts_ns += s->pts_base;
    s->next_seq = f->seq + 1;
    s->last_pts = f->pts_ns;
    if (s->live) atomic_store_explicit(&s->lag_ns, lag_of(s, f), memory_order_relaxed);
    bool all = atomic_load_explicit(&s->step, memory_order_relaxed) != OM_STEP_KEYFRAMES;
    if (all) s->keys_in_row = !f->key ? 0 : s->keys_in_row < OM_ALL_KEYS ? s->keys_in_row + 1 : OM_ALL_KEYS;
    om_account_enter(&s->account);
    note_position(s, f);
}

/* Whether the model is to see it; else why not. */
static bool is_wanted(om_stream_run *s, om_sampler *sampler, const om_frame *f, bool paused, om_skip *cause)
{
    static const om_skip causes[] = {
        [OM_VERDICT_SAMPLED] = OM_SKIP_SAMPLED, [OM_VERDICT_STILL] = OM_SKIP_STILL};
    *cause = OM_SKIP_PAUSED;
    if (paused) return false;
    *cause = OM_SKIP_ECONOMY; /* where there is no decoder to leave them out */
    if (!f->key && atomic_load_explicit(&s->step, memory_order_relaxed) == OM_STEP_KEYFRAMES) return false;
    om_verdict verdict = om_sampling_look(sampler, f, (uint64_t)superseded(s));
    if (verdict == OM_VERDICT_WANTED) return true;
    *cause = causes[verdict];
    return false;
}

static int read_sampled(om_stream_run *s, om_source *source, om_sampler *sampler)
{
    const om_run_options *o = &s->pipeline->config.run;
    double duration = s->options->duration >= 0 ? s->options->duration : o->duration;
    int64_t max = s->options->max_frames >= 0 ? s->options->max_frames : o->max_frames;
    changes seen = {.tuned = 0};
    while (!max || s->given - superseded(s) < max) {
        om_frame *f;
        int err = take_changes(s, sampler, &seen);
        if (err) return err;
        om_trace_begin("read", s->index);
        err = read_picture(s, source, &f);
        if (!err) om_trace_flow(OM_FLOW_START, om_trace_frame_id(s->index, f->seq));
        om_trace_end("read");
        if (err) return err == OM_ERR_EOF ? OM_OK : err;
        note_arrival(s, f);
        bool over = duration > 0 && (double)f->pts_ns / 1e9 >= duration;
        om_skip cause = OM_SKIP_STOPPED;
        bool wanted = !over && is_wanted(s, sampler, f, seen.paused, &cause);
        if (!over && f->seq < s->from_seq) { /* the sampler counts on from these */
            wanted = false;
            cause = OM_SKIP_RESUMED;
        }
        if (!wanted) {
            om_account_skip(&s->account, cause);
            om_frame_unref(f);
            if (over) return OM_OK;
            continue;
        }
        err = hand_over(s, f);
        if (err) return err;
        s->given++;
    }
    return OM_OK;
}

/* Reads to the end; OM_OK also when a bound of the run was reached. */
static int read_all(om_stream_run *s, om_source *source)
{
    om_sampler sampler;
    int err = make_sampler(s, &sampler);
    sampler.turn = (uint64_t)s->index; /* those that take every second do not all take the same */
    if (!err) err = read_sampled(s, source, &sampler);
    om_sampling_fini(&sampler);
    return err;
}

/* The policy speaks to the source from its own thread, as long as it is said to be there. */
static void show_source(om_stream_run *s, om_source *source)
{
    om_pipeline *p = s->pipeline;
    pthread_mutex_lock(&p->lock);
    s->source = source;
    if (source) om_stream_economise(s);
    if (source) om_source_decode_on_cpu(source, s->on_cpu);
    pthread_mutex_unlock(&p->lock);
}

static int open_source(om_stream_run *s, om_source **out)
{
    om_source_params params;
    source_params(s, &params);
    int err = om_source_open(s->options->uri, &params, &s->account.source, out);
    if (err) {
        if (err != OM_ERR_CANCELLED) set_state(s, OM_STREAM_FAILED);
        return err;
    }
    pthread_mutex_lock(&s->pipeline->lock);
    s->info = (*out)->info;
    pthread_mutex_unlock(&s->pipeline->lock);
    set_state(s, OM_STREAM_RUNNING);
    return OM_OK;
}

/* Files are opened so many at a time, with their first picture: then their decoders are made. */
static int open_in_turn(om_stream_run *s, om_source **out)
{
    om_gate *g = &s->pipeline->gate;
    if (!s->local) return open_source(s, out);
    int err = om_gate_enter(g, &s->cancel);
    if (err) return err;
    err = open_source(s, out);
    if (!err) om_source_prime(*out);
    om_gate_leave(g);
    return err;
}

/* Until all have been opened. */
static int wait_for_start(om_stream_run *s)
{
    om_pipeline *p = s->pipeline;
    int64_t start;
    int err = om_gate_wait(&p->gate, &s->cancel, &start);
    if (err == OM_ERR_TIMEOUT) {
        om_log(OM_LOG_WARN, "some streams take too long to open: the others begin without them");
        om_pipeline_open_gate(p);
        err = om_gate_wait(&p->gate, &s->cancel, &start);
    }
    if (!err && s->options->phase < 0) start += phase_of(s);
    if (!err) atomic_store(&s->start_ns, start);
    return err;
}

static int run_once(om_stream_run *s)
{
    om_source *source = NULL;
    int err = open_in_turn(s, &source);
    arrive(s);
    if (err) return err;
    show_source(s, source);
    if (s->gated) err = wait_for_start(s);
    if (!err) err = read_all(s, source);
    char message[400];
    snprintf(message, sizeof(message), "%s", om_error_message());
    show_source(s, NULL);
    om_source_close(source);
    return err && err != OM_ERR_CANCELLED ? om_fail(err, "%s", message) : err;
}

/* A camera that was paused begins anew: its pictures are numbered on, and later by the time that has passed.
 */
static int resume(om_stream_run *s)
{
    int64_t from = om_now_ns();
    atomic_store_explicit(&s->lag_ns, 0, memory_order_relaxed);
    set_state(s, OM_STREAM_OPENING);
    int err = wait_while_paused(s);
    s->seq_base = s->next_seq;
    s->epoch_base = s->last_epoch + 1;
    s->pts_base = s->next_seq ? s->last_pts + (om_now_ns() - from) : 0;
    pthread_mutex_lock(&s->pipeline->lock);
    if (!s->paused) atomic_store(&s->halt.cancelled, false); /* else it was paused anew meanwhile */
    pthread_mutex_unlock(&s->pipeline->lock);
    if (om_cancelled(&s->cancel)) om_cancel_fire(&s->halt);
    return err;
}

static int run(om_stream_run *s)
{
    int err = s->local ? OM_OK : wait_while_paused(s);
    while (!err) {
        err = run_once(s);
        if (err != OM_ERR_CANCELLED || om_cancelled(&s->cancel)) break;
        err = resume(s);
    }
    return err;
}

/* The last that is heard of the thread: the supervisor may free the stream once it has been joined. */
static void say_done(om_stream_run *s)
{
    om_pipeline *p = s->pipeline;
    om_census_leave(p->census);
    atomic_store(&s->done, true);
    pthread_mutex_lock(&p->lock);
    p->attention = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void *om_stream_main(void *arg)
{
    om_stream_run *s = arg;
    om_trace_label(s->name);
    s->sched_fd = s->account.stages ? om_census_open_thread() : -1;
    int err = run(s);
    s->complete = !err;
    if (s->sched_fd >= 0) close(s->sched_fd);
    if (err && err != OM_ERR_CANCELLED) {
        om_log(OM_LOG_ERROR, "stream '%s': %s", s->name, om_error_message());
        if (!s->added) om_pipeline_note_error(s->pipeline, err);
        set_state(s, OM_STREAM_FAILED);
    } else {
        set_state(s, OM_STREAM_ENDED);
    }
    if (om_cancelled(&s->cancel)) om_mailbox_abort(&s->mailbox);
    else om_mailbox_close(&s->mailbox);
    say_done(s);
    return NULL;
}
