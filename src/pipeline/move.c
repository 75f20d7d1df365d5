/* The engine's devices: which there are at the start, and the move to another when one is lost. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/engine.h"

#define SETTLE_NS (10 * OM_NS_PER_SEC) /* until a batch in flight counts as stuck */

/* A backend whose plug-in brings a device of the same name has its tensors there; all others in host memory.
 */
static int open_memory(const om_backend_ops *backend, const char *name, om_device **out)
{
    char id[64];
    if (!om_device_find(backend->name)) return om_device_open("cpu", out);
    snprintf(id, sizeof(id), "%s%s%s", backend->name, name ? ":" : "", name ? name : "");
    return om_device_open(id, out);
}

/* What --decode asks for. Asked for by nobody in particular, it may be missing. */
static int open_decoders(om_engine *e)
{
    om_decode wish = (om_decode)e->options->decode;
    if (wish == OM_DECODE_CPU || (wish == OM_DECODE_AUTO && !e->device->ops->native)) return OM_OK;
    int err = OM_OK;
    if (e->device->ops->native) e->decode_device = e->device;
    else {
        const om_plugin_state *loaded;
        om_plugins(&loaded);
        err = om_device_open("cuda", &e->decode_device);
    }
    if (!err) err = om_hwaccel_create(e->decode_device, &e->hwaccel);
    e->download = wish == OM_DECODE_CUDA_HOST || e->device->ops->memory == OM_MEMORY_HOST;
    if (!err && e->decode_device != e->device) err = om_engine_cap_memory(e, e->decode_device);
    if (!err) return OM_OK;
    if (wish != OM_DECODE_AUTO) return om_fail_prefix(err, "--decode");
    om_log(OM_LOG_WARN, "streams are decoded on the CPU: %s", om_error_message());
    return OM_OK;
}

int om_engine_open_devices(om_engine *e)
{
    int err = open_memory(e->backend, e->device_name, &e->device);
    if (err) return err;
    e->first_device = e->device;
    err = om_engine_cap_memory(e, e->device);
    return err ? err : open_decoders(e);
}

void om_engine_close_devices(om_engine *e)
{
    om_hwaccel_destroy(e->hwaccel);
    if (e->decode_device != e->first_device) om_device_close(e->decode_device);
    if (e->device != e->first_device) om_device_close(e->device);
    om_device_close(e->between);
    om_device_close(e->first_device);
}

om_device *om_engine_gpu(const om_engine *e)
{
    if (e->decode_device && e->decode_device->ops->usage) return e->decode_device;
    return e->first_device && e->first_device->ops->usage ? e->first_device : NULL;
}

/* Where the work goes now: another device of the run once, then the fall-back. */
static const char *target(const om_engine *e)
{
    const char *other = e->refuge && !atomic_load(&e->generation) ? e->refuge(e->user, e) : NULL;
    return other ? other : e->options->fallback;
}

/* There is somewhere to go, and it is not where the work is. */
static bool may_move(const om_engine *e)
{
    const char *to = target(e);
    return to && strcmp(to, "none") && strcmp(e->first_device->id, "cpu");
}

/* The other backend and its memory. compile_lock held. */
static int change_device(om_engine *e, const char *to)
{
    const om_backend_ops *backend;
    const char *name;
    om_device *device;
    int err = om_backend_select(to, &backend, &name);
    if (!err) err = open_memory(backend, name, &device);
    if (err) return err;
    snprintf(e->move.from, sizeof(e->move.from), "%s", e->device->id);
    snprintf(e->move.to, sizeof(e->move.to), "%s", to);
    e->backend = backend;
    e->device_name = name;
    if (e->device != e->first_device) e->between = e->device;
    e->device = device;
    atomic_fetch_add(&e->generation, 1);
    atomic_store(&e->failures_in_a_row, 0);
    return OM_OK;
}

/* Nothing new starts on the device that is lost. */
static void retire_all(om_engine *e)
{
    pthread_mutex_lock(&e->lock);
    for (int i = 0; i < e->n_batchers; i++) om_batcher_retire(e->batchers[i]);
    om_arbiter_set_limit(&e->arbiter, 0);
    pthread_mutex_unlock(&e->lock);
}

/* A new batcher, for what the engine now has, takes over the mailboxes of an old one. */
static int replace(om_engine *e, int i)
{
    om_batcher *old = e->batchers[i], *fresh;
    int err = om_grow((void **)&e->retired, &e->cap_retired, e->n_retired + 1, sizeof(*e->retired));
    if (!err) err = om_batcher_create(e, old->plan->width, old->plan->height, &fresh);
    if (err) return err;
    pthread_mutex_lock(&e->lock);
    om_batcher_succeed(old, fresh);
    pthread_mutex_unlock(&e->lock);
    om_batcher_stop(old);
    e->batchers[i] = fresh;
    e->retired[e->n_retired++] = old;
    return OM_OK;
}

static int replace_batchers(om_engine *e)
{
    int err = OM_OK;
    for (int i = 0; i < e->n_batchers && !err; i++) err = replace(e, i);
    return err;
}

/* The device still works, for others: what the run held of it is theirs. */
static void free_retired(om_engine *e)
{
    for (size_t i = 0; i < e->n_retired; i++) {
        om_batcher *b = e->retired[i];
        if (!om_batcher_settle(b, om_now_ns() + SETTLE_NS)) continue;
        om_batcher_free_flights(b);
        om_batcher_free_plan(b);
    }
}

/* What cannot be done there can be done on the fall-back. compile_lock held. */
static int change(om_engine *e, const char *to)
{
    int err = change_device(e, to);
    if (!err) err = replace_batchers(e);
    e->settled = !strcmp(to, e->options->fallback);
    if (!err || e->settled || !strcmp(e->options->fallback, "none")) return err;
    om_log(OM_LOG_WARN, "device '%s' does not take it: %s", to, om_error_message());
    retire_all(e);
    return change(e, e->options->fallback);
}

/* compile_lock held. */
static int move(om_engine *e, int code, const char *cause)
{
    if (e->move.at_ns && e->settled) return e->move.failed;
    e->spared.moved = code == OM_ERR_NOMEM;
    const char *to = target(e);
    e->move.at_ns = om_now_ns();
    snprintf(e->move.cause, sizeof(e->move.cause), "%s", cause);
    om_log(OM_LOG_ERROR, "%s; everything goes on to device '%s'", cause, to);
    retire_all(e);
    int err = change(e, to);
    if (e->spared.moved) free_retired(e);
    e->move.took_ns = om_now_ns() - e->move.at_ns;
    if (err) e->move.failed = om_fail_prefix(err, "after the loss of %s (%s)", e->first_device->id, cause);
    else
        om_log(OM_LOG_WARN, "the work goes on: %s, %.1f s after the loss", e->note,
               (double)e->move.took_ns / 1e9);
    return err;
}

static void *mover_main(void *arg)
{
    om_engine *e = arg;
    pthread_mutex_lock(&e->compile_lock);
    int err = move(e, OM_ERR_DEVICE_LOST, e->move_cause);
    if (!err && !e->settled) atomic_store(&e->moving, false); /* it may be lost there once more */
    pthread_mutex_unlock(&e->compile_lock);
    if (err && !atomic_exchange(&e->dead, true)) e->on_failed(e->user, err);
    return NULL;
}

bool om_engine_move(om_engine *e)
{
    if (!may_move(e)) return false;
    if (atomic_exchange(&e->moving, true)) return true;
    pthread_mutex_lock(&e->lock);
    e->serving = atomic_load(&e->generation) + 1; /* at once: what is started from here on would be lost */
    pthread_mutex_unlock(&e->lock);
    om_thread_join(&e->mover); /* of the device before; it has said that it is done */
    snprintf(e->move_cause, sizeof(e->move_cause), "%s", om_error_message());
    return om_thread_start(&e->mover, "om-mover", mover_main, e) == OM_OK;
}

int om_engine_move_now(om_engine *e, int code)
{
    char cause[sizeof(e->move.cause)];
    if ((code != OM_ERR_NOMEM && code != OM_ERR_DEVICE_LOST) || !may_move(e)) return code;
    snprintf(cause, sizeof(cause), "%s", om_error_message());
    return move(e, code, cause);
}

/* What waits for the old batchers' memory is freed before the new ones ask for theirs. compile_lock held. */
static int make_smaller(om_engine *e)
{
    if (!om_engine_shrink(e)) return OM_ERR_NOMEM;
    for (int i = 0; i < e->n_batchers; i++) {
        om_batcher *old = e->batchers[i];
        pthread_mutex_lock(&e->lock);
        om_batcher_retire(old);
        pthread_mutex_unlock(&e->lock);
        om_batcher_stop(old);
        bool idle = om_batcher_settle(old, om_now_ns() + SETTLE_NS);
        if (idle) om_batcher_free_flights(old);
        int err = replace(e, i);
        if (err) return err;
        if (idle) om_batcher_free_plan(old);
    }
    om_log(OM_LOG_WARN, "the work goes on in smaller batches: %s", e->note);
    return OM_OK;
}

static void *sparer_main(void *arg)
{
    om_engine *e = arg;
    int err = OM_OK;
    pthread_mutex_lock(&e->compile_lock);
    om_fail(OM_ERR_NOMEM, "%s", e->spare_cause);
    if (atomic_load(&e->generation) == e->spare_generation) err = make_smaller(e);
    if (err) err = om_engine_move_now(e, err);
    pthread_mutex_unlock(&e->compile_lock);
    if (err && !atomic_exchange(&e->dead, true)) e->on_failed(e->user, err);
    atomic_store(&e->failures_in_a_row, 0);
    pthread_mutex_lock(&e->sparing_lock);
    e->sparing = false;
    pthread_mutex_unlock(&e->sparing_lock);
    return NULL;
}

bool om_engine_spare(om_batcher *b)
{
    om_engine *e = b->engine;
    if (b->memory->ops->memory == OM_MEMORY_HOST) return false;
    pthread_mutex_lock(&e->lock);
    bool old = b->retired; /* what it still has in flight tells nothing new */
    pthread_mutex_unlock(&e->lock);
    if (old) return true;
    pthread_mutex_lock(&e->sparing_lock);
    bool begun = e->sparing || e->settling;
    if (!begun) {
        om_thread_join(&e->sparer); /* the one before has nothing more to do */
        e->spare_generation = b->generation;
        snprintf(e->spare_cause, sizeof(e->spare_cause), "%s", om_error_message());
        begun = e->sparing = om_thread_start(&e->sparer, "om-sparer", sparer_main, e) == OM_OK;
    }
    pthread_mutex_unlock(&e->sparing_lock);
    return begun;
}

void om_engine_stop_sparing(om_engine *e)
{
    pthread_mutex_lock(&e->sparing_lock);
    e->settling = true;
    pthread_mutex_unlock(&e->sparing_lock);
    om_thread_join(&e->sparer);
}
