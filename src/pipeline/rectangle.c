/* The engine's rectangles: which input size a picture goes to, and the plan compiled for it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "pipeline/engine.h"

#define OM_BATCH_GPU 64 /* largest batch on a GPU, where nobody says another */

#define OM_LINE_STEP 8 /* widths of lines of text are multiples of it */
#define OM_LINE_MAX 2560

static int round_up(double v, int stride)
{
    int n = (int)ceil(v - 1e-6);
    n = (n + stride - 1) / stride * stride;
    return n < stride ? stride : n;
}

int om_engine_check_size(const om_model_desc *d, const char *model, om_size size)
{
    if (d->dynamic_width && size.height == d->height && size.width % OM_LINE_STEP == 0) return OM_OK;
    if (!d->dynamic_size) {
        if (size.width == d->width && size.height == d->height) return OM_OK;
        return om_fail(OM_ERR_ARG,
                       "%s takes %dx%d only, not %dx%d: make its size dynamic with 'omma model batch'", model,
                       d->width, d->height, size.width, size.height);
    }
    if (size.width % d->stride || size.height % d->stride)
        return om_fail(OM_ERR_ARG, "--input-size %dx%d: both sides must be multiples of %d", size.width,
                       size.height, d->stride);
    return OM_OK;
}

/* A line of text keeps its height; of the widths there are few, since each is a plan. */
static om_size line_for(const om_model_desc *d, int width, int height)
{
    om_size size = {d->width, d->height};
    while (size.width < OM_LINE_MAX && (double)size.width * height < (double)size.height * width)
        size.width *= 2;
    return size;
}

om_size om_engine_size_for(const om_engine *e, int width, int height)
{
    const om_model_desc *d = e->desc;
    const om_run_options *o = e->options;
    if (o->input_size.width) return o->input_size;
    om_size full = {d->width, d->height};
    if (om_plan_file_size(e->plan_file, width, height, &full)) return full;
    if (d->dynamic_width) return line_for(d, width, height);
    if (!d->dynamic_size) return full;
    if (d->native_size) return (om_size){round_up(width, d->stride), round_up(height, d->stride)};
    if (!o->rectangles || (d->fit != OM_FIT_LETTERBOX && d->fit != OM_FIT_CORNER)) return full;
    double scale = fmin((double)full.width / width, (double)full.height / height);
    return (om_size){round_up(width * scale, d->stride), round_up(height * scale, d->stride)};
}

/* How large the picture comes out in a rectangle, as a share of the size it wants. */
static double scale_in(const om_batcher *b, int width, int height)
{
    return fmin((double)b->plan->width / width, (double)b->plan->height / height);
}

static om_batcher *nearest(const om_engine *e, int width, int height)
{
    om_batcher *best = e->batchers[0];
    for (int i = 1; i < e->n_batchers; i++)
        if (scale_in(e->batchers[i], width, height) > scale_in(best, width, height)) best = e->batchers[i];
    return best;
}

int om_engine_batcher(om_engine *e, int width, int height, om_batcher **out)
{
    *out = NULL;
    om_size want = om_engine_size_for(e, width, height);
    int err = OM_OK;
    pthread_mutex_lock(&e->compile_lock);
    for (int i = 0; i < e->n_batchers && !*out; i++)
        if (e->batchers[i]->plan->width == want.width && e->batchers[i]->plan->height == want.height)
            *out = e->batchers[i];
    if (!*out && e->n_batchers < OM_MAX_RECTANGLES) {
        err = om_batcher_create(e, want.width, want.height, out);
        if (err && !om_engine_move_now(e, err)) err = om_batcher_create(e, want.width, want.height, out);
        if (!err) e->batchers[e->n_batchers++] = *out;
    }
    if (!err && !*out) *out = nearest(e, width, height);
    pthread_mutex_unlock(&e->compile_lock);
    return err;
}

static int batch_for(const om_engine *e)
{
    const om_run_options *o = e->options;
    const om_shape *s = &e->desc->inputs[0].shape;
    if (!e->desc->dynamic_batch && s->rank > 0 && s->dim[0] > 0) return (int)s->dim[0];
    /* A GPU's plans serve any batch up to theirs; a CPU's are made for one size, and the wish was not for the
     * CPU that work has fallen back to. */
    bool gpu = e->device->ops->memory != OM_MEMORY_HOST, fallen = !gpu && atomic_load(&e->generation) > 0;
    int planned = om_plan_file_batch(e->plan_file, gpu);
    int batch = fallen              ? 1
                : o->batch_size > 0 ? o->batch_size
                : o->batch_max > 0  ? o->batch_max
                : planned > 0       ? planned
                : gpu               ? OM_BATCH_GPU
                                    : 1;
    if (e->batch_cap && batch > e->batch_cap) batch = e->batch_cap;
    return batch < OM_BATCH_MAX ? batch : OM_BATCH_MAX;
}

bool om_engine_shrink(om_engine *e)
{
    int batch = batch_for(e);
    if (e->device->ops->memory == OM_MEMORY_HOST || !e->desc->dynamic_batch || batch < 2) return false;
    e->batch_cap = batch / 2;
    e->spared.batches++;
    om_log(OM_LOG_WARN, "device %s: %s; trying batches of %d", e->device->id, om_error_message(),
           e->batch_cap);
    return true;
}

void om_engine_do_with_fewer(om_engine *e, int n, int wanted)
{
    om_log(OM_LOG_WARN, "device %s: %s; %d of %d batches in flight have to do", e->device->id,
           om_error_message(), n, wanted);
    e->spared.sessions++;
}

int om_engine_compile(om_engine *e, int width, int height, om_plan **out)
{
    return om_engine_compile_batch(e, width, height, 0, out);
}

int om_engine_compile_batch(om_engine *e, int width, int height, int batch, om_plan **out)
{
    const om_run_options *o = e->options;
    bool fallen = e->device->ops->memory == OM_MEMORY_HOST && atomic_load(&e->generation) > 0;
    om_compile_params p = {
        .graph = e->graph,
        .desc = e->desc,
        .device = e->device_name,
        .memory = e->device,
        .batch = batch ? batch : batch_for(e),
        .width = width,
        .height = height,
        .precision = fallen ? OM_PRECISION_AUTO : (om_precision)o->precision,
        .mode = (om_mode)o->mode,
        .threads = o->threads,
        .sessions = fallen ? 0 : o->in_flight,
        .cache_dir = o->cache_dir,
        .plan_file = e->plan_file,
    };
    int err = om_plan_compile(e->backend, &p, out);
    if (err) return om_fail_prefix(err, "%s", o->model);
    snprintf(e->note, sizeof(e->note), "%s", (*out)->note);
    om_log(OM_LOG_INFO, "%s: compiled for %dx%d, batch %d: %s", o->model, width, height, p.batch,
           (*out)->note);
    return OM_OK;
}

int om_engine_admit(om_engine *e, const om_plan *plan)
{
    int room = plan->sessions + 1; /* one is being gathered while the others run */
    pthread_mutex_lock(&e->lock);
    if (room > e->arbiter.limit) om_arbiter_set_limit(&e->arbiter, room);
    room = e->arbiter.limit;
    pthread_mutex_unlock(&e->lock);
    return room;
}
