#include "train/features.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "media/media.h"
#include "train/feature_cache.h"

#define MAX_BATCH 128
#define MAX_READERS 16

typedef struct extraction {
    const om_dataset *data;
    const om_features_params *p;
    om_features *f;
    om_device *memory;
    om_plan *plan;
    om_session *session;
    om_fit fit;
    om_frame *frames[MAX_BATCH];
    size_t first; /* file of frames[0] */
    int n;
    atomic_int next; /* the next of the batch to be read */
} extraction;

static int open_engine(extraction *x, const om_graph *graph, const om_model_desc *desc)
{
    const om_backend_ops *backend;
    const char *device;
    int err = om_backend_select(x->p->device, &backend, &device);
    if (!err) err = om_device_open("cpu", &x->memory);
    if (!err && om_device_find(backend->name) && om_device_find(backend->name)->memory != OM_MEMORY_HOST) {
        om_device_close(x->memory);
        x->memory = NULL;
        err = om_device_open(x->p->device, &x->memory);
    }
    if (err) return err;
    om_compile_params cp = {.graph = graph,
                            .desc = desc,
                            .device = device,
                            .memory = x->memory,
                            .batch = x->p->batch,
                            .width = desc->width,
                            .height = desc->height,
                            .precision = OM_PRECISION_F32,
                            .mode = OM_MODE_LATENCY,
                            .threads = x->p->threads ? x->p->threads : om_cpu_count(),
                            .sessions = 1};
    x->fit = desc->fit;
    err = om_plan_compile(backend, &cp, &x->plan);
    return err ? err : om_session_create(x->plan, &x->session);
}

static void *read_pictures(void *arg)
{
    extraction *x = arg;
    for (int i; (i = atomic_fetch_add(&x->next, 1)) < x->n;) {
        if (om_picture_load(x->data->files.items[x->first + (size_t)i], &x->frames[i]) == OM_OK) continue;
        om_log(OM_LOG_WARN, "left out: %s", om_error_message());
        x->f->bad[x->first + (size_t)i] = true;
    }
    return NULL;
}

static int read_batch(extraction *x)
{
    om_thread readers[MAX_READERS] = {0};
    int n = om_cpu_count() < x->n ? om_cpu_count() : x->n, err = OM_OK;
    n = n < MAX_READERS ? n : MAX_READERS;
    atomic_store(&x->next, 0);
    for (int i = 1; i < n && !err; i++) err = om_thread_start(&readers[i], "om-pictures", read_pictures, x);
    read_pictures(x);
    for (int i = 1; i < n; i++) om_thread_join(&readers[i]);
    return err;
}

static void done(void *user) { (void)user; }

static int infer(extraction *x)
{
    om_gather_item items[MAX_BATCH];
    size_t good = 0, place[MAX_BATCH];
    for (int i = 0; i < x->n; i++) {
        if (!x->frames[i]) continue;
        const om_image *img = &x->frames[i]->image;
        om_gather_item *item = &items[good];
        *item = (om_gather_item){.frame = x->frames[i], .dst = om_session_item(x->session, (int)good)};
        om_geometry_fit(x->fit, img->width, img->height, x->plan->width, x->plan->height, &item->geometry);
        place[good++] = x->first + (size_t)i;
    }
    if (!good) return OM_OK;
    int err = om_device_gather(x->memory, items, good, &x->plan->prep, x->session->stream);
    if (!err) err = om_device_settle(x->memory, x->session->stream);
    if (!err) err = om_session_submit(x->session, (int)good, done, NULL);
    if (!err) err = om_session_wait(x->session);
    if (err) return err;
    const om_tensor *t = &x->session->outputs[0];
    size_t width = (size_t)x->f->width;
    if (t->dtype != OM_DTYPE_F32 || t->shape.rank != 2 || t->shape.dim[1] != x->f->width)
        return om_fail(OM_ERR_UNSUPPORTED, "the engine's features are not [N, %d] of f32", x->f->width);
    for (size_t i = 0; i < good; i++)
        memcpy(x->f->rows + place[i] * width, (const float *)t->data + i * width, width * sizeof(float));
    return OM_OK;
}

static int extract(extraction *x)
{
    size_t n = x->data->files.n;
    int err = OM_OK;
    for (x->first = 0; x->first < n && !err; x->first += (size_t)x->n) {
        size_t left = n - x->first;
        if (om_cancelled(x->p->cancel)) return om_fail(OM_ERR_CANCELLED, "stopped");
        x->n = left < (size_t)x->p->batch ? (int)left : x->p->batch;
        err = read_batch(x);
        if (!err) err = infer(x);
        for (int i = 0; i < x->n; i++) {
            om_frame_unref(x->frames[i]);
            x->frames[i] = NULL;
        }
        if (!err && x->p->progress) x->p->progress(x->p->user, x->first + (size_t)x->n, n);
    }
    return err;
}

static int compute(extraction *x, const om_graph *graph, const om_model_desc *desc)
{
    int err = open_engine(x, graph, desc);
    if (!err) {
        snprintf(x->f->engine, sizeof x->f->engine, "%s", x->plan->note);
        err = extract(x);
    }
    om_session_destroy(x->session);
    om_plan_destroy(x->plan);
    om_device_close(x->memory);
    return err;
}

int om_features_extract(om_features *f, const om_graph *graph, const om_model_desc *desc,
                        const om_dataset *data, const om_features_params *p)
{
    extraction x = {.data = data, .p = p, .f = f};
    om_feature_key key = {0};
    int64_t begin = om_now_ns();
    memset(f, 0, sizeof *f);
    f->n = data->files.n;
    f->width = (int)graph->values[graph->outputs[0]].shape.dim[1];
    if (p->batch < 1 || p->batch > MAX_BATCH)
        return om_fail(OM_ERR_ARG, "batch %d: expected 1 to %d", p->batch, MAX_BATCH);
    f->rows = om_calloc(f->n * (size_t)f->width + 1, sizeof *f->rows);
    f->bad = om_calloc(f->n + 1, sizeof *f->bad);
    int err = f->rows && f->bad ? OM_OK : om_fail_nomem("features");
    if (!err && p->cache) err = om_feature_key_make(&key, graph, desc, data, p->device);
    if (!err && p->cache) f->cached = om_feature_cache_read(p->cache, &key, f);
    if (!err && !f->cached) err = compute(&x, graph, desc);
    for (size_t i = 0; f->bad && i < f->n; i++) f->damaged += f->bad[i];
    if (!err && f->damaged == f->n) err = om_fail(OM_ERR_FORMAT, "no picture could be read");
    if (!err && p->cache && !f->cached) err = om_feature_cache_write(p->cache, &key, f);
    f->seconds = (double)(om_now_ns() - begin) / 1e9;
    if (err) om_features_fini(f);
    return err;
}

void om_features_fini(om_features *f)
{
    om_free(f->rows);
    om_free(f->bad);
    memset(f, 0, sizeof *f);
}
