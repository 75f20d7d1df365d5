/* Where memory lies and work runs: the host, or a GPU brought by a plug-in.
 * The host device's streams run each call at once in the caller's thread; its events are always done. */
#ifndef OM_DEVICE_DEVICE_H
#define OM_DEVICE_DEVICE_H

#include "kernel/kernel.h"

#define OM_DEVICE_API_VERSION 4u

typedef struct om_device om_device;
typedef struct om_stream om_stream; /* an ordered sequence of work */
typedef struct om_event om_event;   /* a point in a stream */

/* One picture to be written into one place of a batch's input tensor. */
typedef struct om_gather_item {
    om_frame *frame; /* the device takes its own reference if it reads it after the call has returned */
    om_geometry geometry;
    void *dst;         /* device memory of one item */
    const float *quad; /* not NULL: straightens this quadrilateral, as om_kernels.warp has it, into all of the
                          geometry's dst_w x dst_h; nothing else of the geometry is read */
} om_gather_item;

typedef struct om_device_info {
    char name[128];
    int64_t memory_total, memory_free; /* bytes; 0: not told */
    int decoders, encoders;            /* hardware units; 0: none or not told */
} om_device_info;

/* What a device does now and holds now; negative: not told. */
typedef struct om_device_usage {
    double compute_percent, decode_percent, encode_percent; /* of the last moments */
    double power_w;
    int64_t memory_used;    /* bytes, of all that use the device */
    int64_t memory_process; /* bytes, of this process */
    double power_limit_w;
    int held_back; /* 1: it slows itself down for power or heat right now; 0: it does not */
} om_device_usage;

/* What a device did of its own, by its own clocks, while somebody watched. Batches overlap: their times may
 * add up to more than passed. */
typedef enum om_work { OM_WORK_GATHER, OM_WORK_INFER, OM_WORK_HEAD, OM_WORKS } om_work;
typedef struct om_device_work {
    double seconds[OM_WORKS];
    uint64_t times[OM_WORKS];
    uint64_t bytes_to_device, bytes_to_host; /* always counted, from when it was opened */
} om_device_work;

/* What a device can do at most, measured; multiply and add count as two. 0: it has none of that, or what
 * would measure it is missing. */
typedef struct om_device_peaks {
    double f32_gflops, tf32_gflops, f16_gflops, bf16_gflops, int8_gops;
    double memory_gbs, cache_gbs;      /* a copy's reads and writes; within its own cache */
    double to_device_gbs, to_host_gbs; /* from and to pinned memory */
} om_device_peaks;

/* What a device's memory is for, as it is counted. */
typedef enum om_purpose {
    OM_PURPOSE_WEIGHTS,
    OM_PURPOSE_WORK, /* activations, workspace */
    OM_PURPOSE_INPUTS,
    OM_PURPOSE_OUTPUTS,
    OM_PURPOSE_STAGING,  /* pictures and descriptors on their way up */
    OM_PURPOSE_CROPS,    /* of pictures, for secondary models */
    OM_PURPOSE_SURFACES, /* of decoders: their size times their number */
    OM_PURPOSE_HEADS,    /* what boxes are decoded and sorted in */
    OM_PURPOSE_OTHER,
    OM_PURPOSES
} om_purpose;
const char *om_purpose_name(om_purpose purpose); /* "weights", as reports have it */

/* Bytes, of all in this process that have the device open. */
typedef struct om_device_memory {
    int64_t now[OM_PURPOSES], peak[OM_PURPOSES];
    int64_t total, total_peak;
    /* What the process holds beyond: the driver's context, kernels, libraries. Of the last
     * om_device_usage_get(); negative: the driver does not tell. */
    int64_t driver, driver_peak;
    int64_t cap;      /* 0: none */
    uint64_t refused; /* claims, for the cap or by a test */
} om_device_memory;

typedef enum om_copy_kind { OM_COPY_TO_DEVICE, OM_COPY_TO_HOST, OM_COPY_ON_DEVICE } om_copy_kind;

/* The extension point. Entries marked optional may be NULL: the wrapper answers OM_ERR_UNSUPPORTED.
 * Every call returns OM_OK or a negative om_err with the message set; OM_ERR_DEVICE_LOST is final. */
typedef struct om_device_ops {
    uint32_t api_version;
    const char *name; /* "host", "cuda" */
    size_t priv_size; /* bytes of the device's own state, zeroed, at om_device.priv */
    om_memory memory; /* where mem_alloc's memory lies */

    int (*count)(void); /* 0: none here; negative: why they cannot be used */
    int (*open)(om_device *d, int index);
    void (*close)(om_device *d);
    int (*info)(om_device *d, om_device_info *out);

    int (*mem_alloc)(om_device *d, size_t size, void **out);
    void (*mem_free)(om_device *d, void *p);
    int (*pinned_alloc)(om_device *d, size_t size, void **out); /* host memory the device copies fast */
    void (*pinned_free)(om_device *d, void *p);

    int (*stream_create)(om_device *d, int priority,
                         om_stream **out); /* optional: NULL stream = synchronous */
    void (*stream_destroy)(om_device *d, om_stream *s);
    int (*event_create)(om_device *d, om_event **out); /* optional, with record, wait, query, sync */
    void (*event_destroy)(om_device *d, om_event *e);
    int (*event_record)(om_device *d, om_event *e, om_stream *s);
    int (*event_wait)(om_device *d, om_event *e, om_stream *s); /* the stream waits, not the host */
    int (*event_query)(om_device *d, om_event *e);              /* OM_OK done, OM_ERR_AGAIN not yet */
    int (*event_sync)(om_device *d, om_event *e);               /* the host waits: counted */

    int (*copy)(om_device *d, om_copy_kind kind, void *dst, const void *src, size_t size, om_stream *s);

    /* Letterboxes all items with one preparation: one launch for the batch. Frames may be unreferenced by the
     * caller as soon as this returns. */
    int (*gather)(om_device *d, const om_gather_item *items, size_t n, const om_prep *prep, om_stream *s);
    /* A private host- or device-memory copy of a rectangle of a frame, same pixel format. Optional. */
    int (*crop)(om_device *d, om_frame *src, int x, int y, int w, int h, om_stream *s, om_frame **out);
    /* JPEG of the picture scaled to fit width x height; *data from om_alloc. Optional. */
    int (*thumbnail)(om_device *d, om_frame *src, int width, int height, int quality, uint8_t **data,
                     size_t *size);

    /* For the decoders of the device: its context, and the stream on which frames are written, as the
     * vendor's own pointers. A gather or crop is ordered after what is in that stream. Optional. */
    int (*native)(om_device *d, void **context, void **stream);
    /* Optional. */
    int (*usage)(om_device *d, om_device_usage *out);
    /* Optional. Takes a second or so, and all of the device. */
    int (*peaks)(om_device *d, om_device_peaks *out);
    /* c += a * b for f32 matrices in host memory without gaps, rows of c `c_row` apart; done when it returns,
     * and on a failure c is as it was. Optional. */
    int (*product)(om_device *d, const om_mat *a, const om_mat *b, float *c, size_t c_row);
    /* True once a fault has ended its use for this process; `probe` asks the device, else what is known
     * counts. NULL: never. */
    bool (*lost)(om_device *d, bool probe);
} om_device_ops;

/* Thread-safety: all calls from any thread; one stream is used by one thread at a time. */
struct om_device {
    const om_device_ops *ops;
    int index;
    char id[32]; /* "cpu", "cuda:0" */
    void *priv;
};

/* Registered devices: host first, then plug-ins'. */
int om_device_register(const om_device_ops *ops);
const om_device_ops *om_device_find(const char *name);
size_t om_device_kinds(const om_device_ops *const **out);

/* Opens "cpu", "host" or "KIND[:INDEX]"; OM_ERR_NOT_FOUND names what there is. Freed by om_device_close(). */
int om_device_open(const char *id, om_device **out);
void om_device_close(om_device *d);

/* Wrappers: validate, trace, and refuse absent entries. */
int om_device_info_get(om_device *d, om_device_info *out);
/* Counted under `purpose`. OM_ERR_NOMEM: the device is full, or the cap would be passed. */
int om_device_mem_alloc_for(om_device *d, om_purpose purpose, size_t size, void **out);
int om_device_mem_alloc(om_device *d, size_t size, void **out); /* for OM_PURPOSE_OTHER */
void om_device_mem_free(om_device *d, void *p);
/* Counts memory that somebody else allocates (a decoder, a plug-in itself), before it does: OM_ERR_NOMEM as
 * above. Given back with the same purpose and size. */
int om_device_mem_claim(om_device *d, om_purpose purpose, size_t size);
void om_device_mem_release(om_device *d, om_purpose purpose, size_t size);
void om_device_memory_get(om_device *d, om_device_memory *out);
/* What this process may hold of the device from now on; 0: all. What it holds already stays. */
void om_device_memory_cap(om_device *d, int64_t bytes);
/* Fault injection: after `n` further claims the next `times` fail, on any device; n < 0 switches it off. The
 * environment variable OMMA_FAIL_DEVICE_ALLOC=n[:times] sets it at start. */
void om_device_mem_fail_after(long n, long times);
int om_device_pinned_alloc(om_device *d, size_t size, void **out);
void om_device_pinned_free(om_device *d, void *p);
int om_device_copy(om_device *d, om_copy_kind kind, void *dst, const void *src, size_t size, om_stream *s);
int om_device_gather(om_device *d, const om_gather_item *items, size_t n, const om_prep *prep, om_stream *s);
int om_device_crop(om_device *d, om_frame *src, int x, int y, int w, int h, om_stream *s, om_frame **out);
int om_device_thumbnail(om_device *d, om_frame *src, int width, int height, int quality, uint8_t **data,
                        size_t *size);
int om_device_stream_create(om_device *d, int priority, om_stream **out);
void om_device_stream_destroy(om_device *d, om_stream *s);
int om_device_event_create(om_device *d, om_event **out);
void om_device_event_destroy(om_device *d, om_event *e);
int om_device_event_record(om_device *d, om_event *e, om_stream *s);
int om_device_event_wait(om_device *d, om_event *e, om_stream *s);
int om_device_event_query(om_device *d, om_event *e);
int om_device_event_sync(om_device *d, om_event *e);
/* Until the stream's work so far is done; the host's always is. */
int om_device_settle(om_device *d, om_stream *s);
int om_device_native(om_device *d, void **context, void **stream);
int om_device_usage_get(om_device *d, om_device_usage *out);
int om_device_product(om_device *d, const om_mat *a, const om_mat *b, float *c, size_t c_row);
int om_device_peaks_measure(om_device *d, om_device_peaks *out);
bool om_device_is_lost(om_device *d, bool probe);
/* How often a thread on a frame's way waited for this device since it was opened: for an event, or because
 * all that may be in flight was. */
uint64_t om_device_sync_count(const om_device *d);
void om_device_count_sync(om_device *d); /* for plug-ins */
/* Plug-ins time their work only where it is watched: that takes marks in the device's streams. */
void om_device_work_watch(om_device *d, bool on);
bool om_device_work_watched(const om_device *d);
void om_device_count_work(om_device *d, om_work what, double seconds);    /* for plug-ins */
void om_device_count_copy(om_device *d, om_copy_kind kind, size_t bytes); /* for plug-ins */
void om_device_work_get(const om_device *d, om_device_work *out);

#endif
