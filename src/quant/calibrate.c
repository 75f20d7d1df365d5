/* Pictures through the float model, with every tensor that matters as a further output. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/backend.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "media/media.h"
#include "quant/quant.h"

#define MAX_KEPT 8   /* inferences that the int8 model is compared on */
#define LIVE_STEP 25 /* of a camera's pictures one in so many is taken */
#define WHAT_LEN 256
#define SCOUTS 16 /* pictures that tell how channels differ */

typedef struct kept {
    void *input;
    float **outputs; /* of each output of the model; NULL: not comparable */
} kept;

typedef struct calibration {
    const om_quant_job *job;
    om_quant_report *r;
    om_graph *tapped; /* the float graph, with taps */
    om_model_desc *desc;
    const om_backend_ops *backend;
    const char *device;
    om_device *memory;
    om_quantizer *q;
    int n_outputs;  /* the model's own; taps come behind */
    int *output_of; /* of each tap: the session's output, or -1: its input */
    om_plan *plan;
    om_session *session;
    bool scouting; /* before the channels are equalised */
    int filled;    /* items of the batch */
    size_t taken;
    char what[WHAT_LEN];
    kept kept[MAX_KEPT];
    int n_kept;
} calibration;

static int open_model(calibration *c, om_graph **out)
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
static int add_taps(calibration *c)
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

static int open_device(calibration *c)
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
static int choose_size(const calibration *c, int width, int height, om_size *out)
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

static int compile(calibration *c, const om_graph *g, om_size size, om_plan **plan, om_session **session)
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
                           .keep_prep = true};
    int err = om_plan_compile(c->backend, &p, plan);
    if (!err) err = om_session_create(*plan, session);
    return err ? om_fail_prefix(err, "%s", c->job->model) : OM_OK;
}

static size_t count_of(const om_tensor *t)
{
    int64_t n = om_shape_static(&t->shape) ? om_shape_count(&t->shape) : -1;
    return n > 0 && t->dtype == OM_DTYPE_F32 ? (size_t)n : 0;
}

/* Remembers an input and what the float model made of it. */
static int keep(calibration *c)
{
    om_session *s = c->session;
    kept *k = &c->kept[c->n_kept++];
    size_t bytes = s->item_bytes * (size_t)s->plan->batch;
    k->input = om_alloc(bytes);
    k->outputs = om_calloc((size_t)c->n_outputs, sizeof *k->outputs);
    if (!k->input || !k->outputs) return OM_ERR_NOMEM;
    memcpy(k->input, s->input.data, bytes);
    for (int i = 0; i < c->n_outputs; i++) {
        size_t n = count_of(&s->outputs[i]);
        if (!n) continue;
        k->outputs[i] = om_alloc(n * sizeof(float));
        if (!k->outputs[i]) return OM_ERR_NOMEM;
        memcpy(k->outputs[i], s->outputs[i].data, n * sizeof(float));
    }
    return OM_OK;
}

static void done(void *user) { (void)user; }

/* The batch's last places repeat its first picture where there are no more. */
static int run_batch(calibration *c)
{
    om_session *s = c->session;
    for (int i = c->filled; i < s->plan->batch; i++)
        memcpy(om_session_item(s, i), om_session_item(s, 0), s->item_bytes);
    c->filled = 0;
    int err = om_session_submit(s, s->plan->batch, done, NULL);
    if (!err) err = om_session_wait(s);
    for (size_t i = 0; i < om_quantizer_taps(c->q) && !err; i++)
        err = om_quantizer_observe(c->q, i, c->output_of[i] < 0 ? &s->input : &s->outputs[c->output_of[i]],
                                   c->what);
    size_t every = ((size_t)c->job->frames + MAX_KEPT - 1) / MAX_KEPT;
    if (!err && !c->scouting && c->n_kept < MAX_KEPT && c->taken > (size_t)c->n_kept * every) err = keep(c);
    return err;
}

static int take(calibration *c, om_frame *f, const char *shown)
{
    om_geometry geo;
    om_size size;
    int err = OM_OK;
    if (!c->session) {
        err = choose_size(c, f->image.width, f->image.height, &size);
        if (!err) err = compile(c, c->tapped, size, &c->plan, &c->session);
        if (err) return err;
        snprintf(c->r->engine, sizeof c->r->engine, "%s", c->plan->note);
    }
    const om_plan *p = c->plan;
    om_geometry_fit(c->desc->fit, f->image.width, f->image.height, p->width, p->height, &geo);
    om_gather_item item = {.frame = f, .geometry = geo, .dst = om_session_item(c->session, c->filled)};
    err = om_device_gather(c->memory, &item, 1, &p->prep, NULL);
    if (err) return err;
    snprintf(c->what, sizeof c->what, "%.200s, picture %llu", shown, (unsigned long long)f->seq);
    c->filled++;
    c->taken++;
    if (c->filled == p->batch) err = run_batch(c);
    if (!err && c->job->progress && !c->scouting)
        c->job->progress(c->job->user, c->taken, (size_t)c->job->frames);
    return err;
}

/* `quota` pictures, evenly over the source where its length is known. */
static int feed(calibration *c, const char *uri, size_t quota)
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

static int feed_all(calibration *c, size_t frames)
{
    const om_quant_job *j = c->job;
    int err = OM_OK;
    c->taken = c->r->damaged = 0;
    for (size_t i = 0; i < j->sources->n && !err && c->taken < frames; i++) {
        size_t left = frames - c->taken, sources = j->sources->n - i;
        err = feed(c, j->sources->items[i], (left + sources - 1) / sources);
    }
    return !err && c->filled ? run_batch(c) : err;
}

static int make_tapped(calibration *c)
{
    om_graph_destroy(c->tapped);
    om_free(c->output_of);
    c->output_of = NULL;
    int err = om_graph_clone(om_quantizer_graph(c->q), &c->tapped);
    return err ? err : add_taps(c);
}

/* A few pictures first, where channels are to be equalised by what they show. */
static int scout(calibration *c)
{
    size_t few = c->job->frames < SCOUTS ? (size_t)c->job->frames : SCOUTS;
    if (!c->job->params.equalise) return OM_OK;
    c->scouting = true;
    int err = feed_all(c, few), n = err ? err : om_quantizer_equalise(c->q);
    c->scouting = false;
    if (n < 0) return n;
    c->r->equalised = (size_t)n;
    om_session_destroy(c->session);
    om_plan_destroy(c->plan);
    c->session = NULL;
    c->plan = NULL;
    return make_tapped(c);
}

static int calibrate(calibration *c)
{
    const om_quant_job *j = c->job;
    int64_t begin = om_now_ns();
    int err = feed_all(c, (size_t)j->frames);
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

/* Sums over what was kept. */
typedef struct sums {
    double dot, aa, bb, noise;
    size_t pictures;
} sums;

static int compare(calibration *c, om_session *s, sums *of)
{
    for (int k = 0; k < c->n_kept; k++) {
        memcpy(s->input.data, c->kept[k].input, s->item_bytes * (size_t)s->plan->batch);
        int err = om_session_submit(s, s->plan->batch, done, NULL);
        if (!err) err = om_session_wait(s);
        if (err) return err;
        for (int i = 0; i < c->n_outputs; i++) {
            const float *a = c->kept[k].outputs[i], *b = s->outputs[i].data;
            size_t n = count_of(&s->outputs[i]);
            if (!a || n != count_of(&c->session->outputs[i])) continue;
            of[i].pictures++;
            for (size_t x = 0; x < n; x++) {
                double u = (double)a[x], v = (double)b[x];
                of[i].dot += u * v;
                of[i].aa += u * u;
                of[i].bb += v * v;
                of[i].noise += (u - v) * (u - v);
            }
        }
    }
    return OM_OK;
}

/* The int8 model, in the engine, on pictures whose float outputs are known. */
static int judge(calibration *c, const om_graph *g)
{
    om_plan *plan = NULL;
    om_session *s = NULL;
    om_quant_report *r = c->r;
    sums *of = om_calloc((size_t)c->n_outputs, sizeof *of);
    r->outputs = om_calloc((size_t)c->n_outputs, sizeof *r->outputs);
    int err = of && r->outputs ? compile(c, g, (om_size){c->plan->width, c->plan->height}, &plan, &s)
                               : OM_ERR_NOMEM;
    if (!err && s->n_outputs != c->n_outputs)
        err = om_fail(OM_ERR_INTERNAL, "the int8 model has %d outputs, the float one %d", s->n_outputs,
                      c->n_outputs);
    if (!err) err = compare(c, s, of);
    for (int i = 0; i < c->n_outputs && !err; i++) {
        om_quant_output *o = &r->outputs[r->n_outputs++];
        o->name = om_strdup(g->values[g->outputs[i]].name);
        o->pictures = of[i].pictures;
        o->cosine = o->pictures && of[i].aa > 0 && of[i].bb > 0 ? of[i].dot / sqrt(of[i].aa * of[i].bb) : NAN;
        o->db = o->pictures && of[i].aa > 0 ? 10 * log10(of[i].aa / fmax(of[i].noise, 1e-300)) : NAN;
        if (!o->name) err = OM_ERR_NOMEM;
    }
    om_session_destroy(s);
    om_plan_destroy(plan);
    om_free(of);
    return err;
}

static void calibration_fini(calibration *c)
{
    for (int i = 0; i < c->n_kept; i++) {
        for (int k = 0; c->kept[i].outputs && k < c->n_outputs; k++) om_free(c->kept[i].outputs[k]);
        om_free(c->kept[i].outputs);
        om_free(c->kept[i].input);
    }
    om_session_destroy(c->session);
    om_plan_destroy(c->plan);
    om_quantizer_destroy(c->q);
    om_graph_destroy(c->tapped);
    om_model_desc_free(c->desc);
    om_device_close(c->memory);
    om_free(c->output_of);
}

int om_quantize(const om_quant_job *job, om_graph **out, om_quant_report *r)
{
    calibration c = {.job = job, .r = r};
    om_graph *g = NULL;
    *out = NULL;
    memset(r, 0, sizeof *r);
    if (!job->sources->n)
        return om_fail(OM_ERR_ARG,
                       "no pictures to calibrate with: name folders, pictures or videos with --calib");
    int err = open_model(&c, &g);
    if (!err && (err = om_quantizer_create(g, &job->params, &c.q)) < 0) om_fail_prefix(err, "%s", job->model);
    if (!err) err = make_tapped(&c);
    if (!err) err = open_device(&c);
    if (!err) err = scout(&c);
    if (!err) err = calibrate(&c);
    if (!err && (err = om_quantizer_finish(c.q, out, r)) < 0) om_fail_prefix(err, "%s", job->model);
    if (!err) err = judge(&c, *out);
    if (err) {
        om_graph_destroy(*out);
        *out = NULL;
    }
    calibration_fini(&c);
    return err;
}
