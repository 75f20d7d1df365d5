#include "pipeline/engine.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/operators.h"
#include "trace/trace.h"

#define OM_FAILURES_MAX 10
#define OM_FLIGHTS_MAX 256

/* A picture in the memory of a GPU that is lost cannot be drawn on any more. */
static bool gone_with_gpu(const om_engine *e, const om_frame *f)
{
    return f && f->memory != OM_MEMORY_HOST && e->decode_device && om_device_is_lost(e->decode_device, false);
}

/* A flight's pictures become results, in their lanes. */
static void deliver(om_engine *e, om_flight *f)
{
    for (int i = 0; i < f->n; i++) {
        om_pick *p = &f->picks[i];
        om_trace_flow(OM_FLOW_STEP, om_trace_frame_id(p->mailbox->lane->stream_index, p->seq));
        om_result *r = p->lost ? NULL : om_result_create();
        if (!p->lost && !r) om_account_drop(p->mailbox->account, OM_DROP_NO_MEMORY);
        if (r) {
            om_lane *lane = p->mailbox->lane;
            r->stream = lane->stream;
            r->stream_index = lane->stream_index;
            r->seq = p->seq;
            r->pts_ns = p->pts_ns;
            r->wall_us = p->wall_us;
            r->epoch = p->epoch;
            r->width = p->width;
            r->height = p->height;
            r->latency_ns = p->due_ns; /* the lane turns it into the latency at hand-over */
            r->labels = (om_labels){e->desc->labels, (size_t)e->desc->n_labels};
            r->dets = f->dets[i];
            memset(&f->dets[i], 0, sizeof(f->dets[i]));
            if (!gone_with_gpu(e, p->frame)) {
                r->frame = p->frame;
                p->frame = NULL;
            }
        }
        om_dets_fini(&f->dets[i]);
        om_frame_unref(p->frame);
        p->frame = NULL;
        om_lane_post(p->mailbox->lane, p->order, r);
    }
}

static uint64_t output_bytes(const om_session *s)
{
    uint64_t bytes = 0;
    for (int i = 0; i < s->n_outputs; i++) {
        int64_t n = om_shape_count(&s->outputs[i].shape);
        bytes += n > 0 ? (uint64_t)n * om_dtype_size(s->outputs[i].dtype) : 0;
    }
    return bytes;
}

/* What all frames of a batch go through together counts for each with its share. */
static void note_stages(om_engine *e, const om_flight *f, int64_t taken_ns, int64_t decoded_ns)
{
    if (!e->log) return;
    om_batch_log_done(e->log, f->done_ns - f->submitted_ns, output_bytes(f->session));
    for (int i = 0; i < f->n; i++) {
        om_stages *s = f->picks[i].mailbox->account->stages;
        om_stages_note(s, OM_STAGE_MAILBOX, f->picked_ns - f->picks[i].put_ns);
        om_stages_note(s, OM_STAGE_GATHER, (f->submitted_ns - f->picked_ns) / f->n);
        om_stages_note(s, OM_STAGE_INFER, f->done_ns - f->submitted_ns);
        om_stages_note(s, OM_STAGE_FINISH, taken_ns - f->done_ns);
        om_stages_note(s, OM_STAGE_HEAD, (decoded_ns - taken_ns) / f->n);
    }
}

static bool all_lost(const om_flight *f)
{
    for (int i = 0; i < f->n; i++)
        if (!f->picks[i].lost) return false;
    return true;
}

static void *finisher(void *arg)
{
    om_engine *e = arg;
    void *item;
    while (om_queue_pop(&e->done, &item, INT64_MAX) == OM_OK) {
        om_flight *f = item;
        int64_t taken_ns = om_now_ns();
        if (!all_lost(f)) {
            int err = om_session_collect(f->session, e->head, f->n, f->geo, f->dets);
            if (err) {
                om_engine_failed(f->batcher, err, "inference failed");
                om_flight_lose(f, om_drop_of(err));
            } else {
                atomic_store_explicit(&e->failures_in_a_row, 0, memory_order_relaxed);
                note_stages(e, f, taken_ns, om_now_ns());
            }
        }
        om_trace_begin("deliver", f->n);
        deliver(e, f);
        om_trace_end("deliver");
        om_batcher_return(f);
    }
    return NULL;
}

void om_engine_failed(om_batcher *b, int code, const char *what)
{
    om_engine *e = b->engine;
    if (b->generation != atomic_load(&e->generation)) return; /* of a device that is given up already */
    if (code == OM_ERR_DEVICE_LOST && om_engine_move(e)) return;
    if (code == OM_ERR_NOMEM && om_engine_spare(b)) return;
    int n = atomic_fetch_add(&e->failures_in_a_row, 1) + 1;
    if (n == 1) om_log(OM_LOG_WARN, "%s: %s", what, om_error_message());
    if (n < OM_FAILURES_MAX || om_engine_move(e) || atomic_exchange(&e->dead, true)) return;
    om_fail_prefix(OM_ERR_DEVICE, "%s %d times in a row", what, n);
    e->on_failed(e->user, OM_ERR_DEVICE);
}

static int parse_classes(om_engine *e)
{
    const om_strlist *l = &e->options->classes;
    if (!l->n) return OM_OK;
    e->classes = om_calloc(l->n, sizeof(*e->classes));
    if (!e->classes) return OM_ERR_NOMEM;
    for (size_t i = 0; i < l->n; i++) {
        long long number = -1;
        if (om_parse_int(l->items[i], &number)) {
            for (int c = 0; c < e->desc->n_labels; c++)
                if (!strcmp(e->desc->labels[c], l->items[i])) number = c;
            if (number < 0) {
                const char *near = om_suggest(l->items[i], e->desc->labels, (size_t)e->desc->n_labels);
                return om_fail(OM_ERR_ARG, "--classes: the model has no class '%s'%s%s%s", l->items[i],
                               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
            }
        }
        if (number < 0 || (e->desc->n_classes && number >= e->desc->n_classes))
            return om_fail(OM_ERR_ARG, "--classes: %lld is outside the model's classes 0 to %d", number,
                           e->desc->n_classes - 1);
        e->classes[e->n_classes++] = (int)number;
    }
    return OM_OK;
}

static int check_batch(const om_engine *e)
{
    const om_shape *s = &e->desc->inputs[0].shape;
    int wish = e->options->batch_size;
    if (wish > 0 && !e->desc->dynamic_batch && s->rank == 4 && s->dim[0] != wish)
        return om_fail(OM_ERR_ARG,
                       "%s has a fixed batch of %lld, not %d: make it dynamic with 'omma model batch'",
                       e->options->model, (long long)s->dim[0], wish);
    return OM_OK;
}

/* "first", "last" or a class's number. */
static int parse_blank(const char *text, int *out)
{
    long long n;
    if (!text) *out = OM_BLANK_OWN;
    else if (!strcmp(text, "first")) *out = 0;
    else if (!strcmp(text, "last")) *out = OM_BLANK_LAST;
    else if (!om_parse_int(text, &n) && n >= 0 && n <= INT_MAX) *out = (int)n;
    else return om_fail(OM_ERR_ARG, "--blank '%s': expected first, last or the number of a class", text);
    return OM_OK;
}

/* A tracker may want weaker boxes than are reported: the head has to find them. */
static int prepare_tracking(om_engine *e)
{
    float conf = e->head->params.conf;
    int err = om_tracking_of(e->options, conf, &e->tracking);
    if (!err) err = om_tracking_check(&e->tracking, e->options->model, e->desc->family);
    if (!err && e->tracking.ops && (float)e->tracking.params.low < conf)
        e->head->params.conf = (float)e->tracking.params.low;
    return err;
}

static int make_head(om_engine *e)
{
    const om_run_options *o = e->options;
    om_head_params p;
    om_head_params_default(&p);
    p.conf = (float)o->conf;
    p.iou = (float)o->iou;
    p.max_boxes = o->max_boxes;
    p.agnostic = o->agnostic;
    p.top_k = o->top_k;
    p.classes = e->classes;
    p.n_classes = e->n_classes;
    p.alphabet = o->alphabet;
    p.anchors = o->anchors;
    p.mask_conf = (float)o->mask_conf;
    p.mask_dilate = o->mask_dilate;
    p.unclip = (float)o->unclip;
    p.vector_max = o->vector_max;
    int err = parse_blank(o->blank, &p.blank);
    if (!err) err = om_head_create(e->desc, &p, &e->head);
    if (!err) return prepare_tracking(e);
    if (e->desc->family != OM_FAMILY_UNKNOWN) return err;
    return om_fail(err, "%s: %s; --head FAMILY tells how to read it", o->model, om_error_message());
}

/* Before its outputs are judged: a model of several inputs needs more than a picture. */
static int check_inputs(const om_engine *e)
{
    if (e->desc->n_inputs == 1) return OM_OK;
    return om_fail(OM_ERR_UNSUPPORTED, "%s: the model has %d inputs; expected one, the picture",
                   e->options->model, e->desc->n_inputs);
}

static int load_model(om_engine *e)
{
    const om_run_options *o = e->options;
    int err = om_operators_load_list(&o->operators);
    if (!err) err = om_plan_file_open(o->model, &e->graph, &e->plan_file);
    if (!err) err = om_graph_infer_shapes(e->graph);
    if (!err) err = om_model_describe(e->graph, &e->desc);
    if (!err) err = check_inputs(e);
    if (!err && o->head) {
        int family = om_family_parse(o->head);
        err = family < 0 ? family : om_model_desc_set_family(e->desc, (om_family)family);
    }
    if (!err && o->labels) err = om_model_desc_load_labels(e->desc, o->labels);
    if (!err) om_plan_file_describe(e->plan_file, e->desc);
    if (!err) om_model_desc_set_input(e->desc, (om_normalize)o->normalize, o->channels, o->fit);
    if (!err && o->input_size.width) err = om_engine_check_size(e->desc, o->model, o->input_size);
    if (!err) err = check_batch(e);
    if (!err) err = parse_classes(e);
    return err ? err : make_head(e);
}

static int start_finishers(om_engine *e)
{
    int n = om_cpu_count() / 4;
    if (n < 1) n = 1;
    if (n > 8) n = 8;
    int err = om_queue_init(&e->done, OM_FLIGHTS_MAX);
    for (; !err && e->n_finishers < n; e->n_finishers++) {
        err = om_thread_start(&e->finishers[e->n_finishers], "om-finish", finisher, e);
        if (err) break;
    }
    return err;
}

int om_engine_load(const om_run_options *o, om_engine **out)
{
    *out = NULL;
    om_engine *e = om_calloc(1, sizeof(*e));
    if (!e) return OM_ERR_NOMEM;
    e->options = o;
    pthread_mutex_init(&e->compile_lock, NULL);
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->sparing_lock, NULL);
    int err = load_model(e);
    if (!err)
        err = om_backend_select(om_plan_file_device(e->plan_file, o->device), &e->backend, &e->device_name);
    if (!err) err = om_engine_open_devices(e);
    if (err) om_engine_destroy(e);
    else *out = e;
    return err;
}

int om_engine_create(const om_run_options *o, om_engine **out)
{
    int err = om_engine_load(o, out);
    if (!err) err = start_finishers(*out);
    if (!err) return OM_OK;
    om_engine_destroy(*out);
    *out = NULL;
    return err;
}

bool om_engine_settle(om_engine *e, int64_t deadline_ns)
{
    bool settled = true;
    om_engine_stop_sparing(e);
    om_thread_join(&e->mover);
    for (int i = 0; i < e->n_batchers; i++) {
        om_batcher_stop(e->batchers[i]);
        settled = om_batcher_settle(e->batchers[i], deadline_ns) && settled;
    }
    return settled;
}

void om_engine_destroy(om_engine *e)
{
    if (!e) return;
    om_engine_stop_sparing(e);
    om_thread_join(&e->mover);
    for (int i = 0; i < e->n_batchers; i++) om_batcher_stop(e->batchers[i]);
    if (e->done.slots) om_queue_close(&e->done);
    for (int i = 0; i < e->n_finishers; i++) om_thread_join(&e->finishers[i]);
    for (int i = 0; i < e->n_batchers; i++) om_batcher_destroy(e->batchers[i]);
    for (size_t i = 0; i < e->n_retired; i++) om_batcher_destroy(e->retired[i]);
    om_free(e->retired);
    om_queue_fini(&e->done);
    om_batch_log_destroy(e->log);
    om_head_destroy(e->head);
    om_model_desc_free(e->desc);
    om_graph_destroy(e->graph);
    om_plan_file_free(e->plan_file);
    om_engine_close_devices(e);
    om_free(e->classes);
    pthread_mutex_destroy(&e->sparing_lock);
    pthread_mutex_destroy(&e->lock);
    pthread_mutex_destroy(&e->compile_lock);
    om_free(e);
}
