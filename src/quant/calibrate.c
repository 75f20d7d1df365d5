/* Pictures through the float model, with every tensor that matters as a further output. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "media/media.h"
#include "quant/calibrate.h"

#define MAX_KEPT 8   /* inferences that the int8 model is compared on, where no floor was asked for */
#define LIVE_STEP 25 /* of a camera's pictures one in so many is taken */
#define SCOUTS 16    /* pictures that tell how channels differ */

static int open_model(om_calibration *c, om_graph **out)
{
    const om_quant_job *j = c->job;
    om_graph *g = NULL;
    *out = NULL;
    int err = om_model_load(j->model, &g);
    if (!err) err = om_quant_check_float(g, j->model);
    if (!err) err = om_graph_infer_shapes(g);
    if (!err) err = om_model_describe(g, &c->desc);
    if (!err && j->family) {
        int family = om_family_parse(j->family);
        err = family < 0 ? family : om_model_desc_set_family(c->desc, (om_family)family);
    }
    if (!err && (c->desc->n_inputs != 1 || c->desc->inputs[0].shape.rank != 4))
        err = om_fail(OM_ERR_UNSUPPORTED, "%s: expected a model of one input of four dimensions, a picture",
                      j->model);
    if (!err) om_model_desc_set_input(c->desc, (om_normalize)j->normalize, j->channels, j->fit);
    if (!err) {
        c->r->opset_from = om_graph_opset(g, "");
        err = om_graph_simplify(g, OM_SIMPLIFY_ALL);
        if (!err) err = om_quant_raise_opset(g);
        if (err) om_fail_prefix(err, "%s", j->model);
        else c->r->opset_to = om_graph_opset(g, "");
    }
    if (err) om_graph_destroy(g);
    else *out = g;
    return err;
}

/* Makes each tap an output of the float graph, unless it is one or is the input. */
static int add_taps(om_calibration *c)
{
    om_graph *g = c->tapped;
    size_t n = om_quantizer_taps(c->q);
    c->n_outputs = g->n_outputs;
    c->output_of = om_alloc(n * sizeof *c->output_of);
    if (!c->output_of) return OM_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        int v = om_graph_find(g, om_quantizer_tap(c->q, i)), at = -1, err = OM_OK;
        if (v < 0) return om_fail(OM_ERR_INTERNAL, "tensor '%s' got lost", om_quantizer_tap(c->q, i));
        c->output_of[i] = -1;
        if (g->values[v].is_input) continue;
        for (int k = 0; k < g->n_outputs; k++)
            if (g->outputs[k] == v) at = k;
        if (at < 0) {
            at = g->n_outputs;
            err = om_graph_mark_output(g, v);
        }
        if (err < 0) return err;
        c->output_of[i] = at;
    }
    return OM_OK;
}

static int open_device(om_calibration *c)
{
    int err = om_backend_select(c->job->device, &c->backend, &c->device);
    if (!err) err = om_device_open("cpu", &c->memory);
    if (!err && om_device_find(c->backend->name) &&
        om_device_find(c->backend->name)->memory != OM_MEMORY_HOST)
        err = om_fail(OM_ERR_UNSUPPORTED,
                      "device '%s': the float model is calibrated on a device that writes host memory",
                      c->job->device);
    return err;
}

static int round_up(double v, int stride)
{
    int n = ((int)ceil(v - 1e-6) + stride - 1) / stride * stride;
    return n < stride ? stride : n;
}

/* Where the size is free, the smallest that holds the first picture as the model would get it. */
static int choose_size(const om_calibration *c, int width, int height, om_size *out)
{
    const om_model_desc *d = c->desc;
    om_size asked = c->job->input_size;
    *out = (om_size){d->width, d->height};
    if (asked.width) {
        bool may = d->dynamic_size || (d->dynamic_width && asked.height == d->height) ||
                   (asked.width == d->width && asked.height == d->height);
        *out = asked;
        return may ? OM_OK
                   : om_fail(OM_ERR_ARG, "%s takes %dx%d only, not %dx%d", c->job->model, d->width, d->height,
                             asked.width, asked.height);
    }
    if (!d->dynamic_size) return OM_OK;
    if (d->native_size) *out = (om_size){round_up(width, d->stride), round_up(height, d->stride)};
    else if (d->fit == OM_FIT_LETTERBOX || (d->fit == OM_FIT_CORNER && !d->dynamic_width)) {
        double scale = fmin((double)d->width / width, (double)d->height / height);
        *out = (om_size){round_up(width * scale, d->stride), round_up(height * scale, d->stride)};
    }
    return OM_OK;
}

static int compile(const om_calibration *c, const om_graph *g, om_size size, bool profiling, om_plan **plan,
                   om_session **session)
{
    const om_shape *in = &c->desc->inputs[0].shape;
    om_compile_params p = {.graph = g,
                           .desc = c->desc,
                           .device = c->device,
                           .memory = c->memory,
                           .batch = c->desc->dynamic_batch || in->dim[0] < 1 ? 1 : (int)in->dim[0],
                           .width = size.width,
                           .height = size.height,
                           .precision = OM_PRECISION_F32,
                           .mode = OM_MODE_LATENCY,
                           .sessions = 1,
                           .profiling = profiling,
                           .keep_prep = true};
    int err = om_plan_compile(c->backend, &p, plan);
    if (!err) err = om_session_create(*plan, session);
    return err ? om_fail_prefix(err, "%s", c->job->model) : OM_OK;
}

int om_calibration_compile(const om_calibration *c, const om_graph *g, bool profiling, om_plan **plan,
                           om_session **session)
{
    return compile(c, g, (om_size){c->plan->width, c->plan->height}, profiling, plan, session);
}

void om_calibration_progress(const om_calibration *c, const char *what, size_t done, size_t of)
{
    if (c->job->progress) c->job->progress(c->job->user, what, done, of);
}

static size_t n_check(const om_quant_job *j) { return j->check ? j->check->n : 0; }

/* Inferences to judge by; 0: as the metric needs. */
static size_t most_kept(const om_quant_job *j)
{
    bool scored = j->floor > 0 || j->mixed || n_check(j);
    return scored ? (size_t)j->check_frames : MAX_KEPT;
}

static void done(void *user) { (void)user; }

/* The int8 graph of what was seen so far, for the advice that more pictures may help. */
static int snapshot(om_calibration *c)
{
    om_graph *g;
    int err = om_quantizer_finish(c->q, &g, NULL);
    if (err == OM_ERR_UNSUPPORTED) return OM_OK; /* all that was seen so far is constant */
    if (err) return err;
    om_graph_destroy(c->snapshots[0].graph);
    c->snapshots[0] = c->snapshots[1];
    c->snapshots[1] = (om_snapshot){g, c->taken};
    return OM_OK;
}

/* Half of what was asked for is too late to know where fewer come: powers of two lie near every half. */
static bool wants_snapshot(const om_calibration *c, size_t before)
{
    if (c->showing != OM_SHOW_CALIBRATE || c->job->floor <= 0 || c->taken >= c->wanted) return false;
    for (size_t n = 8; n <= c->taken; n *= 2)
        if (before < n) return true;
    return false;
}

/* How many pictures will come is not known before they ended: where there is room for no more, every other
 * one goes, and half as many of those that follow are kept. */
static bool wants_kept(om_calibration *c)
{
    if (c->showing == OM_SHOW_CHECK) return !om_judge_full(&c->judge);
    if (c->showing == OM_SHOW_SCOUT || n_check(c->job)) return false;
    if (om_judge_full(&c->judge)) {
        om_judge_thin(&c->judge);
        c->kept_every *= 2;
    }
    return !om_judge_full(&c->judge) && c->inferences++ % c->kept_every == 0;
}

/* The batch's last places repeat its first picture where there are no more. */
static int run_batch(om_calibration *c)
{
    om_session *s = c->session;
    int items = c->filled;
    for (int i = items; i < s->plan->batch; i++)
        memcpy(om_session_item(s, i), om_session_item(s, 0), s->item_bytes);
    c->filled = 0;
    int err = om_session_submit(s, s->plan->batch, done, NULL);
    if (!err) err = om_session_wait(s);
    for (size_t i = 0; i < om_quantizer_taps(c->q) && !err && c->showing != OM_SHOW_CHECK; i++)
        err = om_quantizer_observe(c->q, i, c->output_of[i] < 0 ? &s->input : &s->outputs[c->output_of[i]],
                                   c->what);
    if (!err && wants_kept(c)) err = om_judge_keep(&c->judge, s, c->geo, items);
    if (!err && wants_snapshot(c, c->taken - (size_t)items)) err = snapshot(c);
    return err;
}

static int take(om_calibration *c, om_frame *f, const char *shown)
{
    om_size size;
    int err = OM_OK;
    if (!c->session) {
        err = choose_size(c, f->image.width, f->image.height, &size);
        if (!err) err = compile(c, c->tapped, size, false, &c->plan, &c->session);
        if (err) return err;
        om_free(c->geo);
        c->geo = om_calloc((size_t)c->plan->batch, sizeof *c->geo);
        if (!c->geo) return OM_ERR_NOMEM;
        snprintf(c->r->engine, sizeof c->r->engine, "%s", c->plan->note);
    }
    const om_plan *p = c->plan;
    om_geometry *geo = &c->geo[c->filled];
    om_geometry_fit(c->desc->fit, f->image.width, f->image.height, p->width, p->height, geo);
    om_gather_item item = {.frame = f, .geometry = *geo, .dst = om_session_item(c->session, c->filled)};
    err = om_device_gather(c->memory, &item, 1, &p->prep, NULL);
    if (err) return err;
    snprintf(c->what, sizeof c->what, "%.200s, picture %llu", shown, (unsigned long long)f->seq);
    c->filled++;
    c->taken++;
    if (c->filled == p->batch) err = run_batch(c);
    if (!err && c->showing == OM_SHOW_CALIBRATE)
        om_calibration_progress(c, "calibrating: picture", c->taken, c->wanted);
    return err;
}

/* `quota` pictures, evenly over the source where its length is known. */
static int feed(om_calibration *c, const char *uri, size_t quota)
{
    om_source_params params = {.decode_threads = 2};
    om_source_counts counts;
    om_source *s;
    om_frame *f = NULL;
    memset(&counts, 0, sizeof counts);
    int err = om_source_open(uri, &params, &counts, &s);
    if (err) return err;
    double total = s->info.duration_s * s->info.fps, next = 0;
    double step = s->info.live ? LIVE_STEP : fmax(1, total / (double)quota);
    size_t taken = 0;
    for (double at = 0; taken < quota && !err; at++) {
        int end = om_source_read(s, &f);
        if (end == OM_ERR_NOMEM) err = end;
        if (end && end != OM_ERR_EOF && !err) om_log(OM_LOG_WARN, "%s", om_error_message());
        if (end) break;
        if (at >= floor(next)) {
            err = take(c, f, s->shown);
            next += step;
            taken++;
        }
        om_frame_unref(f);
        f = NULL;
    }
    c->r->damaged += (size_t)atomic_load(&counts.corrupt);
    om_source_close(s);
    return err;
}

static int feed_all(om_calibration *c, om_showing showing, const om_strlist *sources, size_t frames)
{
    int err = OM_OK;
    size_t damaged = c->r->damaged;
    c->showing = showing;
    c->taken = c->r->damaged = 0;
    c->wanted = frames;
    for (size_t i = 0; i < sources->n && !err && c->taken < frames; i++) {
        size_t left = frames - c->taken, rest = sources->n - i;
        err = feed(c, sources->items[i], (left + rest - 1) / rest);
    }
    if (!err && c->filled) err = run_batch(c);
    if (showing == OM_SHOW_CHECK) c->r->damaged = damaged; /* those of the calibration are told */
    return err;
}

static int make_tapped(om_calibration *c)
{
    om_graph_destroy(c->tapped);
    om_free(c->output_of);
    c->output_of = NULL;
    int err = om_graph_clone(om_quantizer_graph(c->q), &c->tapped);
    return err ? err : add_taps(c);
}

/* A few pictures first, where channels are to be equalised by what they show. */
static int scout(om_calibration *c)
{
    size_t few = c->job->frames < SCOUTS ? (size_t)c->job->frames : SCOUTS;
    if (!c->job->params.equalise) return OM_OK;
    int err = feed_all(c, OM_SHOW_SCOUT, c->job->sources, few), n = err ? err : om_quantizer_equalise(c->q);
    if (n < 0) return n;
    c->r->equalised = (size_t)n;
    om_session_destroy(c->session);
    om_plan_destroy(c->plan);
    c->session = NULL;
    c->plan = NULL;
    return make_tapped(c);
}

static int calibrate(om_calibration *c)
{
    const om_quant_job *j = c->job;
    int64_t begin = om_now_ns();
    int err = feed_all(c, OM_SHOW_CALIBRATE, j->sources, (size_t)j->frames);
    c->r->frames = c->taken;
    c->r->seconds = (double)(om_now_ns() - begin) / 1e9;
    if (!err && c->taken < (size_t)j->min_frames) {
        char damaged[64] = "";
        if (c->r->damaged) snprintf(damaged, sizeof damaged, " (%zu more could not be read)", c->r->damaged);
        err = om_fail(
            OM_ERR_ARG,
            "too few pictures: %zu%s, at least %d are needed for ranges that hold; name more, or say how few "
            "are enough with --min-frames",
            c->taken, damaged, j->min_frames);
    }
    return err;
}

/* Pictures of their own to judge by. */
static int show_check(om_calibration *c)
{
    const om_quant_job *j = c->job;
    if (!n_check(j)) return OM_OK;
    int err = feed_all(c, OM_SHOW_CHECK, j->check, c->judge.most);
    if (!err && !c->judge.n)
        err = om_fail(OM_ERR_ARG, "%s: no picture to judge by could be read", j->check->items[0]);
    c->r->judged_apart = !err;
    return err;
}

static int judge_graph(om_calibration *c, const om_graph *g, size_t most, double floor, om_judgement *v,
                       om_quant_output *outputs)
{
    om_plan *plan = NULL;
    om_session *s = NULL;
    int err = om_calibration_compile(c, g, false, &plan, &s);
    if (!err) err = om_judge_run(&c->judge, s, most ? most : c->judge.n, floor, v, outputs);
    om_session_destroy(s);
    om_plan_destroy(plan);
    return err;
}

int om_calibration_judge(om_calibration *c, const om_graph *g, size_t most, om_judgement *v,
                         om_quant_output *outputs)
{
    return judge_graph(c, g, most, 0, v, outputs);
}

int om_calibration_try(om_calibration *c, const om_quant_variant *variant, double floor, om_judgement *v)
{
    om_graph *g;
    int err = om_quantizer_make(c->q, variant, &g, NULL);
    if (!err) err = judge_graph(c, g, 0, floor, v, NULL);
    om_graph_destroy(g);
    return err;
}

/* The int8 model, in the engine, on pictures whose float outputs are known. */
static int judge(om_calibration *c, const om_graph *g)
{
    om_quant_report *r = c->r;
    om_judgement v = {NAN, NAN};
    r->outputs = om_calloc((size_t)c->n_outputs, sizeof *r->outputs);
    int err = r->outputs ? om_calibration_judge(c, g, 0, &v, r->outputs) : OM_ERR_NOMEM;
    for (int i = 0; i < c->n_outputs && !err; i++) {
        r->outputs[r->n_outputs++].name = om_strdup(g->values[g->outputs[i]].name);
        if (!r->outputs[i].name) err = OM_ERR_NOMEM;
    }
    r->metric = c->judge.metric;
    r->score = v.score;
    for (size_t i = 0; i < c->judge.n; i++) r->judged += (size_t)c->judge.kept[i].items;
    return err;
}

static int check_score(om_calibration *c)
{
    const om_quant_job *j = c->job;
    om_quant_report *r = c->r;
    r->floor = j->floor;
    r->speed_goal = j->speed;
    if (j->floor <= 0) return OM_OK;
    if (isnan(r->score))
        return om_fail(OM_ERR_ARG,
                       "%s: the float model finds nothing in the %zu pictures that it is judged by, so that "
                       "--floor says nothing; name others with --check",
                       j->model, r->judged);
    r->missed = r->missed || r->score < j->floor;
    return r->score < j->floor ? om_quant_advise(c) : OM_OK;
}

static void calibration_fini(om_calibration *c)
{
    om_judge_fini(&c->judge);
    for (int i = 0; i < OM_SNAPSHOTS; i++) om_graph_destroy(c->snapshots[i].graph);
    om_session_destroy(c->session);
    om_plan_destroy(c->plan);
    om_quantizer_destroy(c->q);
    om_graph_destroy(c->tapped);
    om_model_desc_free(c->desc);
    om_device_close(c->memory);
    om_free(c->output_of);
    om_free(c->geo);
}

/* Where all channels have the same. */
static int set_levels(om_calibration *c)
{
    const om_prep *p = &c->desc->prep;
    for (int i = 1; i < 3; i++)
        if (p->mean[i] != p->mean[0] || p->scale[i] != p->scale[0]) return OM_OK;
    int err = om_quantizer_set_levels(c->q, (double)p->mean[0], (double)p->scale[0]);
    return err < 0 ? err : OM_OK;
}

/* From the float graph on, which it takes over. */
static int quantise(om_calibration *c, om_graph *g, om_graph **out)
{
    const om_quant_job *j = c->job;
    int err = om_quantizer_create(g, &j->params, &c->q);
    if (err < 0) return om_fail_prefix(err, "%s", j->model);
    err = set_levels(c);
    if (!err) err = make_tapped(c);
    if (!err) err = om_judge_init(&c->judge, c->desc, c->n_outputs, most_kept(j));
    if (!err) err = open_device(c);
    if (!err) err = scout(c);
    if (!err) err = calibrate(c);
    if (!err) err = show_check(c);
    if (err) return err;
    err = j->mixed ? om_quant_mix(c, out) : om_quantizer_finish(c->q, out, c->r);
    if (err < 0) return om_fail_prefix(err, "%s", j->model);
    err = judge(c, *out);
    return err ? err : check_score(c);
}

int om_quantize(const om_quant_job *job, om_graph **out, om_quant_report *r)
{
    om_calibration c = {.job = job, .r = r, .kept_every = 1};
    om_graph *g = NULL;
    *out = NULL;
    *r = (om_quant_report){.score = NAN, .plain_score = NAN, .speed = NAN, .int8_share = NAN};
    if (!job->sources->n)
        return om_fail(OM_ERR_ARG,
                       "no pictures to calibrate with: name folders, pictures or videos with --calib");
    int err = open_model(&c, &g);
    if (!err) err = quantise(&c, g, out);
    if (err) {
        om_graph_destroy(*out);
        *out = NULL;
    }
    calibration_fini(&c);
    return err;
}
