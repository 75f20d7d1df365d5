#include "cli/detect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "media/media.h"

static const char *const shared_names[] = {
    "model",     "head",       "labels",  "conf",       "iou",      "max-boxes", "top-k",     "classes",
    "agnostic",  "input-size", "fit",     "rectangles", "device",   "precision", "mode",      "threads",
    "cache-dir", "cpu-mask",   "quiet",   "log-level",  "alphabet", "blank",     "mask-conf", "mask-dilate",
    "unclip",    "vector-max", "anchors", "normalize",  "channels", "operators",
};
#define N_SHARED (sizeof shared_names / sizeof shared_names[0])

void om_run_options_some(const char *const *names, size_t n_names, om_option *out)
{
    const char *group = NULL;
    size_t n = 0;
    for (const om_option *o = om_run_option_table; o->name; o++) {
        if (o->group) group = o->group;
        for (size_t i = 0; i < n_names && n < n_names; i++) {
            if (strcmp(o->name, names[i])) continue;
            out[n] = *o;
            out[n++].group = group;
        }
    }
}

const om_option *om_detector_options(void)
{
    static om_option shared[N_SHARED + 1];
    om_run_options_some(shared_names, N_SHARED, shared);
    /* One batch at a time: all threads should work on it. */
    for (om_option *o = shared; o->name; o++)
        if (!strcmp(o->name, "mode")) o->def = "latency";
    return shared;
}

static int add_time(om_timings *t, int64_t ns)
{
    void *items = t->ms;
    int err = om_grow(&items, &t->cap, t->n + 1, sizeof *t->ms);
    t->ms = items;
    if (!err) t->ms[t->n++] = (double)ns / 1e6;
    return err;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double om_timings_sum(const om_timings *t)
{
    double sum = 0;
    for (size_t i = 0; i < t->n; i++) sum += t->ms[i];
    return sum;
}

double om_timings_mean(const om_timings *t) { return t->n ? om_timings_sum(t) / (double)t->n : 0; }

double om_timings_quantile(om_timings *t, double q)
{
    if (!t->n) return 0;
    qsort(t->ms, t->n, sizeof *t->ms, by_value);
    size_t i = (size_t)ceil(q * (double)t->n);
    return t->ms[i > 0 ? i - 1 : 0];
}

int om_detector_init(om_detector *d, const om_run_options *o)
{
    memset(d, 0, sizeof *d);
    return om_engine_create(o, &d->engine);
}

void om_detector_fini(om_detector *d)
{
    for (int i = 0; i < d->n_slots; i++) {
        om_session_destroy(d->slots[i].session);
        om_plan_destroy(d->slots[i].plan);
    }
    om_engine_destroy(d->engine);
    for (int i = 0; i < OM_STEP_COUNT; i++) om_free(d->timings[i].ms);
    memset(d, 0, sizeof *d);
}

void om_picture_fini(om_picture *p)
{
    om_frame_unref(p->frame);
    om_dets_fini(&p->dets);
    p->frame = NULL;
}

static double scale_in(const om_plan *p, int width, int height)
{
    return fmin((double)p->width / width, (double)p->height / height);
}

static int add_slot(om_detector *d, om_size size)
{
    int i = d->n_slots, err = om_engine_compile(d->engine, size.width, size.height, &d->slots[i].plan);
    if (err) return err;
    d->n_slots++;
    return om_session_create(d->slots[i].plan, &d->slots[i].session);
}

int om_detector_place(om_detector *d, om_picture *p)
{
    int width = p->frame->image.width, height = p->frame->image.height;
    om_size want = om_engine_size_for(d->engine, width, height);
    p->slot = 0;
    for (int i = 0; i < d->n_slots; i++) {
        const om_plan *plan = d->slots[i].plan;
        if (plan->width == want.width && plan->height == want.height) {
            p->slot = i;
            return OM_OK;
        }
        if (scale_in(plan, width, height) > scale_in(d->slots[p->slot].plan, width, height)) p->slot = i;
    }
    if (d->n_slots == OM_DETECTOR_PLANS) return OM_OK;
    p->slot = d->n_slots;
    return add_slot(d, want);
}

int om_detector_load(om_detector *d, om_picture *p)
{
    int64_t begin = om_now_ns();
    int err = om_picture_load(p->path, &p->frame);
    if (!err) err = add_time(&d->timings[OM_STEP_LOAD], om_now_ns() - begin);
    return err ? err : om_detector_place(d, p);
}

static void done(void *user) { (void)user; }

/* Prepares, infers and decodes one batch of `n` pictures. */
static int run_batch(om_detector *d, int slot, om_picture *const *pictures, int n)
{
    om_session *s = d->slots[slot].session;
    const om_plan *plan = d->slots[slot].plan;
    om_gather_item items[OM_BATCH_MAX];
    om_geometry geo[OM_BATCH_MAX];
    om_dets dets[OM_BATCH_MAX];
    memset(dets, 0, sizeof dets);
    int64_t t[4] = {om_now_ns()};
    for (int i = 0; i < n; i++) {
        const om_image *img = &pictures[i]->frame->image;
        om_geometry_fit(d->engine->desc->fit, img->width, img->height, plan->width, plan->height, &geo[i]);
        items[i] = (om_gather_item){pictures[i]->frame, geo[i], om_session_item(s, i)};
    }
    int err = om_device_gather(d->engine->device, items, (size_t)n, &plan->prep, NULL);
    t[1] = om_now_ns();
    if (!err) err = om_session_submit(s, n, done, NULL);
    if (!err) err = om_session_wait(s);
    t[2] = om_now_ns();
    if (!err) err = om_session_collect(s, d->engine->head, n, geo, dets);
    t[3] = om_now_ns();
    for (int i = 0; i < n; i++) {
        om_dets_fini(&pictures[i]->dets);
        pictures[i]->dets = dets[i];
    }
    for (int i = 0; i < 3 && !err; i++) err = add_time(&d->timings[OM_STEP_PREP + i], t[i + 1] - t[i]);
    return err;
}

int om_detector_run(om_detector *d, om_picture *pictures, size_t n)
{
    om_picture *batch[OM_BATCH_MAX];
    int err = OM_OK;
    for (int slot = 0; slot < d->n_slots && !err; slot++) {
        int filled = 0, size = d->slots[slot].plan->batch;
        if (size > OM_BATCH_MAX) size = OM_BATCH_MAX;
        for (size_t i = 0; i < n && !err; i++) {
            if (pictures[i].frame && pictures[i].slot == slot) batch[filled++] = &pictures[i];
            if (filled < size) continue;
            err = run_batch(d, slot, batch, filled);
            filled = 0;
        }
        if (filled && !err) err = run_batch(d, slot, batch, filled);
    }
    return err;
}
