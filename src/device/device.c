#include "device/device.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "device/host.h"
#include "device/ledger.h"
#include "trace/trace.h"

#define MAX_KINDS 8

/* Kinds are only ever added: whoever read n_kinds may read that many without the lock. */
static const om_device_ops *kinds[MAX_KINDS] = {&om_device_host};
static atomic_size_t n_kinds = 1;
static pthread_mutex_t registering = PTHREAD_MUTEX_INITIALIZER; /* guards writing to both */

typedef struct opened {
    om_device device; /* first, so that a device is its opened */
    om_ledger *ledger;
    atomic_uint_fast64_t syncs;
    atomic_bool watched;
    atomic_int_fast64_t work_ns[OM_WORKS];
    atomic_uint_fast64_t work_times[OM_WORKS], copied[2]; /* to the device, to the host */
    max_align_t priv[];
} opened;

static om_ledger *ledger_of(om_device *d) { return ((opened *)d)->ledger; }

const om_device_ops *om_device_find(const char *name)
{
    size_t n = atomic_load(&n_kinds);
    for (size_t i = 0; i < n; i++)
        if (strcmp(kinds[i]->name, name) == 0) return kinds[i];
    return NULL;
}

size_t om_device_kinds(const om_device_ops *const **out)
{
    *out = kinds;
    return atomic_load(&n_kinds);
}

static bool complete(const om_device_ops *o)
{
    return o->count && o->open && o->close && o->info && o->mem_alloc && o->mem_free && o->pinned_alloc &&
           o->pinned_free && o->copy && o->gather;
}

int om_device_register(const om_device_ops *ops)
{
    int err = OM_OK;
    if (ops->api_version != OM_DEVICE_API_VERSION)
        return om_fail(OM_ERR_UNSUPPORTED, "device kind '%s' speaks version %u of the interface, expected %u",
                       ops->name, ops->api_version, OM_DEVICE_API_VERSION);
    if (!complete(ops))
        return om_fail(OM_ERR_ARG, "device kind '%s' lacks an entry that is not optional", ops->name);
    pthread_mutex_lock(&registering);
    size_t n = atomic_load(&n_kinds);
    if (om_device_find(ops->name))
        err = om_fail(OM_ERR_ARG, "device kind '%s' is registered already", ops->name);
    else if (n == MAX_KINDS)
        err = om_fail(OM_ERR_FULL, "device kind '%s': %d kinds are registered, no more fit", ops->name,
                      MAX_KINDS);
    else {
        kinds[n] = ops;
        atomic_store(&n_kinds, n + 1);
    }
    pthread_mutex_unlock(&registering);
    return err;
}

/* "cpu, cuda:0, cuda:1" */
static int fail_not_found(const char *id)
{
    om_str list = {0};
    om_str_add(&list, "cpu");
    size_t n = atomic_load(&n_kinds);
    for (size_t i = 1; i < n; i++) {
        int count = kinds[i]->count();
        for (int k = 0; k < count; k++) om_str_addf(&list, ", %s:%d", kinds[i]->name, k);
        if (count < 0) om_str_addf(&list, " (%s: %s)", kinds[i]->name, om_error_message());
    }
    int err = om_fail(OM_ERR_NOT_FOUND, "device '%s': not here; there are: %s", id, om_str_get(&list));
    om_str_fini(&list);
    return err;
}

/* "KIND[:INDEX]"; "cpu" is the host. */
static int parse_id(const char *id, const om_device_ops **ops, int *index)
{
    char kind[24];
    const char *colon = strchr(id, ':');
    size_t length = colon ? (size_t)(colon - id) : strlen(id);
    long long number = 0;
    if (colon && (om_parse_int(colon + 1, &number) < 0 || number < 0))
        return om_fail(OM_ERR_ARG, "device '%s': '%s' is no index, expected KIND or KIND:NUMBER", id,
                       colon + 1);
    if (length >= sizeof(kind)) return fail_not_found(id);
    memcpy(kind, id, length);
    kind[length] = 0;
    *ops = om_device_find(strcmp(kind, "cpu") == 0 ? om_device_host.name : kind);
    if (!*ops || number >= (*ops)->count()) return fail_not_found(id);
    *index = (int)number;
    return OM_OK;
}

int om_device_open(const char *id, om_device **out)
{
    const om_device_ops *ops = NULL;
    int index = 0;

    *out = NULL;
    int err = parse_id(id, &ops, &index);
    if (err < 0) return err;
    opened *o = om_calloc(1, sizeof(*o) + ops->priv_size);
    if (!o) return om_fail_nomem("device");
    o->ledger = om_ledger_open(ops, index);
    if (!o->ledger) {
        om_free(o);
        return om_fail_nomem("device");
    }
    o->device = (om_device){.ops = ops, .index = index, .priv = o->priv};
    if (ops == &om_device_host) snprintf(o->device.id, sizeof(o->device.id), "cpu");
    else snprintf(o->device.id, sizeof(o->device.id), "%s:%d", ops->name, index);
    err = ops->open(&o->device, index);
    if (err < 0) {
        om_fail_prefix(err, "device %s", o->device.id);
        om_ledger_close(o->ledger);
        om_free(o);
        return err;
    }
    *out = &o->device;
    return OM_OK;
}

void om_device_close(om_device *d)
{
    if (!d) return;
    om_ledger *ledger = ledger_of(d);
    d->ops->close(d);
    om_ledger_close(ledger);
    om_free(d);
}

static int absent(const om_device *d, const char *what)
{
    return om_fail(OM_ERR_UNSUPPORTED, "device %s cannot %s", d->id, what);
}

int om_device_info_get(om_device *d, om_device_info *out)
{
    *out = (om_device_info){0};
    return d->ops->info(d, out);
}

int om_device_mem_alloc_for(om_device *d, om_purpose purpose, size_t size, void **out)
{
    void *p = NULL;
    *out = NULL;
    int err = om_device_mem_claim(d, purpose, size);
    if (err < 0) return err;
    err = d->ops->mem_alloc(d, size, &p);
    if (!err) err = om_ledger_note(ledger_of(d), p, purpose, size);
    if (!err) *out = p;
    else {
        if (p) d->ops->mem_free(d, p);
        om_device_mem_release(d, purpose, size);
    }
    return err;
}

int om_device_mem_alloc(om_device *d, size_t size, void **out)
{
    return om_device_mem_alloc_for(d, OM_PURPOSE_OTHER, size, out);
}

void om_device_mem_free(om_device *d, void *p)
{
    if (!p) return;
    om_ledger_forget(ledger_of(d), p); /* before: the address may be another's as soon as it is free */
    d->ops->mem_free(d, p);
}

int om_device_mem_claim(om_device *d, om_purpose purpose, size_t size)
{
    return om_ledger_add(ledger_of(d), d->id, purpose, size);
}

void om_device_mem_release(om_device *d, om_purpose purpose, size_t size)
{
    om_ledger_sub(ledger_of(d), purpose, size);
}

void om_device_memory_get(om_device *d, om_device_memory *out) { om_ledger_read(ledger_of(d), out); }

void om_device_memory_cap(om_device *d, int64_t bytes) { om_ledger_cap(ledger_of(d), bytes); }

const char *om_purpose_name(om_purpose purpose)
{
    static const char *const names[OM_PURPOSES] = {
        [OM_PURPOSE_WEIGHTS] = "weights",   [OM_PURPOSE_WORK] = "work",       [OM_PURPOSE_INPUTS] = "inputs",
        [OM_PURPOSE_OUTPUTS] = "outputs",   [OM_PURPOSE_STAGING] = "staging", [OM_PURPOSE_CROPS] = "crops",
        [OM_PURPOSE_SURFACES] = "surfaces", [OM_PURPOSE_HEADS] = "heads",     [OM_PURPOSE_OTHER] = "other"};
    return names[purpose];
}

int om_device_pinned_alloc(om_device *d, size_t size, void **out)
{
    *out = NULL;
    return d->ops->pinned_alloc(d, size, out);
}

void om_device_pinned_free(om_device *d, void *p)
{
    if (p) d->ops->pinned_free(d, p);
}

int om_device_copy(om_device *d, om_copy_kind kind, void *dst, const void *src, size_t size, om_stream *s)
{
    if (!size) return OM_OK;
    if (!dst || !src)
        return om_fail(OM_ERR_ARG, "device %s: copy of %zu bytes without %s", d->id, size,
                       dst ? "a source" : "a place");
    om_trace_begin("device copy", (int64_t)size);
    int err = d->ops->copy(d, kind, dst, src, size, s);
    om_trace_end("device copy");
    if (!err) om_device_count_copy(d, kind, size);
    return err;
}

int om_device_gather(om_device *d, const om_gather_item *items, size_t n, const om_prep *prep, om_stream *s)
{
    for (size_t i = 0; i < n; i++)
        if (!items[i].frame || !items[i].dst)
            return om_fail(OM_ERR_ARG, "device %s: gather item %zu of %zu lacks its %s", d->id, i + 1, n,
                           items[i].frame ? "place" : "picture");
    if (!n) return OM_OK;
    om_trace_begin("gather", (int64_t)n);
    int err = d->ops->gather(d, items, n, prep, s);
    om_trace_end("gather");
    return err;
}

int om_device_crop(om_device *d, om_frame *src, int x, int y, int w, int h, om_stream *s, om_frame **out)
{
    *out = NULL;
    if (!d->ops->crop) return absent(d, "crop pictures");
    const om_image *img = &src->image;
    if (x < 0 || y < 0 || w < 1 || h < 1 || w > img->width - x || h > img->height - y)
        return om_fail(OM_ERR_ARG, "device %s: crop of %dx%d at %d,%d does not lie in a picture of %dx%d",
                       d->id, w, h, x, y, img->width, img->height);
    om_trace_begin("crop", (int64_t)src->seq);
    int err = d->ops->crop(d, src, x, y, w, h, s, out);
    om_trace_end("crop");
    return err;
}

int om_device_thumbnail(om_device *d, om_frame *src, int width, int height, int quality, uint8_t **data,
                        size_t *size)
{
    *data = NULL;
    *size = 0;
    if (!d->ops->thumbnail) return absent(d, "make thumbnails");
    if (width < 1 || height < 1 || quality < 1 || quality > 100)
        return om_fail(OM_ERR_ARG,
                       "device %s: thumbnail of %dx%d at quality %d, expected 1x1 or more at 1 to 100", d->id,
                       width, height, quality);
    om_trace_begin("thumbnail", (int64_t)src->seq);
    int err = d->ops->thumbnail(d, src, width, height, quality, data, size);
    om_trace_end("thumbnail");
    return err;
}

int om_device_stream_create(om_device *d, int priority, om_stream **out)
{
    *out = NULL;
    return d->ops->stream_create ? d->ops->stream_create(d, priority, out) : absent(d, "make streams");
}

void om_device_stream_destroy(om_device *d, om_stream *s)
{
    if (s && d->ops->stream_destroy) d->ops->stream_destroy(d, s);
}

int om_device_event_create(om_device *d, om_event **out)
{
    *out = NULL;
    return d->ops->event_create ? d->ops->event_create(d, out) : absent(d, "make events");
}

void om_device_event_destroy(om_device *d, om_event *e)
{
    if (e && d->ops->event_destroy) d->ops->event_destroy(d, e);
}

int om_device_event_record(om_device *d, om_event *e, om_stream *s)
{
    return d->ops->event_record ? d->ops->event_record(d, e, s) : absent(d, "record events");
}

int om_device_event_wait(om_device *d, om_event *e, om_stream *s)
{
    return d->ops->event_wait ? d->ops->event_wait(d, e, s) : absent(d, "wait for events");
}

int om_device_event_query(om_device *d, om_event *e)
{
    return d->ops->event_query ? d->ops->event_query(d, e) : absent(d, "ask for events");
}

int om_device_event_sync(om_device *d, om_event *e)
{
    if (!d->ops->event_sync) return absent(d, "wait for events");
    om_device_count_sync(d);
    om_trace_begin("event sync", -1);
    int err = d->ops->event_sync(d, e);
    om_trace_end("event sync");
    return err;
}

int om_device_settle(om_device *d, om_stream *s)
{
    om_event *e = NULL;
    if (!s || !d->ops->event_create) return OM_OK;
    int err = om_device_event_create(d, &e);
    if (!err) err = om_device_event_record(d, e, s);
    if (!err) err = om_device_event_sync(d, e);
    om_device_event_destroy(d, e);
    return err;
}

int om_device_native(om_device *d, void **context, void **stream)
{
    *context = *stream = NULL;
    return d->ops->native ? d->ops->native(d, context, stream) : absent(d, "lend itself to decoders");
}

int om_device_usage_get(om_device *d, om_device_usage *out)
{
    *out = (om_device_usage){-1, -1, -1, -1, -1, -1, -1, -1};
    if (!d->ops->usage) return absent(d, "tell its load");
    int err = d->ops->usage(d, out);
    if (!err) om_ledger_told(ledger_of(d), out->memory_process);
    return err;
}

int om_device_product(om_device *d, const om_mat *a, const om_mat *b, float *c, size_t c_row)
{
    if (!d->ops->product) return absent(d, "multiply matrices");
    if (a->columns != b->rows || c_row < b->columns)
        return om_fail(OM_ERR_ARG, "device %s: a product of %zux%zu by %zux%zu with rows of %zu", d->id,
                       a->rows, a->columns, b->rows, b->columns, c_row);
    om_trace_begin("product", -1);
    int err = d->ops->product(d, a, b, c, c_row);
    om_trace_end("product");
    return err;
}

int om_device_peaks_measure(om_device *d, om_device_peaks *out)
{
    *out = (om_device_peaks){0};
    return d->ops->peaks ? d->ops->peaks(d, out) : absent(d, "tell what it can do at most");
}

bool om_device_is_lost(om_device *d, bool probe) { return d->ops->lost && d->ops->lost(d, probe); }

void om_device_count_sync(om_device *d)
{
    atomic_fetch_add_explicit(&((opened *)d)->syncs, 1, memory_order_relaxed);
}

void om_device_work_watch(om_device *d, bool on) { atomic_store(&((opened *)d)->watched, on); }

bool om_device_work_watched(const om_device *d)
{
    return atomic_load_explicit(&((const opened *)d)->watched, memory_order_relaxed);
}

void om_device_count_work(om_device *d, om_work what, double seconds)
{
    opened *o = (opened *)d;
    atomic_fetch_add_explicit(&o->work_ns[what], (int_fast64_t)(seconds * 1e9), memory_order_relaxed);
    atomic_fetch_add_explicit(&o->work_times[what], 1, memory_order_relaxed);
}

void om_device_count_copy(om_device *d, om_copy_kind kind, size_t bytes)
{
    if (kind == OM_COPY_ON_DEVICE) return;
    atomic_fetch_add_explicit(&((opened *)d)->copied[kind == OM_COPY_TO_HOST], bytes, memory_order_relaxed);
}

void om_device_work_get(const om_device *d, om_device_work *out)
{
    const opened *o = (const opened *)d;
    for (int i = 0; i < OM_WORKS; i++) {
        out->seconds[i] = (double)atomic_load_explicit(&o->work_ns[i], memory_order_relaxed) / 1e9;
        out->times[i] = atomic_load_explicit(&o->work_times[i], memory_order_relaxed);
    }
    out->bytes_to_device = atomic_load_explicit(&o->copied[0], memory_order_relaxed);
    out->bytes_to_host = atomic_load_explicit(&o->copied[1], memory_order_relaxed);
}

uint64_t om_device_sync_count(const om_device *d)
{
    return atomic_load_explicit(&((const opened *)d)->syncs, memory_order_relaxed);
}
