/* The pipeline room's public header: what the command uses beyond the public API. */
#ifndef OM_PIPELINE_PIPELINE_H
#define OM_PIPELINE_PIPELINE_H

#include "base/hist.h"
#include "base/json.h"
#include "device/device.h"
#include "omma/pipeline.h"
#include "pipeline/config.h"

/* As om_pipeline_create(), with everything already set. The pipeline takes over *c's content, also on
 * failure; *c is blank afterwards. */
int om_pipeline_create_from(om_config *c, om_pipeline **out);

/* The run ends when its last sink has failed, as a program does whose reader has gone. Before the start. */
void om_pipeline_end_with_sinks(om_pipeline *p);

typedef enum om_stream_state {
    OM_STREAM_OPENING,
    OM_STREAM_RUNNING,
    OM_STREAM_ENDED, /* at its end, or stopped */
    OM_STREAM_FAILED,
    OM_STREAM_RECONNECTING, /* a camera that was there and is not */
    OM_STREAM_PAUSED,
    OM_STREAM_REMOVED /* or on its way out */
} om_stream_state;

typedef struct om_stream_status {
    int index;
    char name[OM_STREAM_NAME_MAX + 1];
    char uri[256]; /* without its password; a longer one is cut */
    char codec[32];
    om_stream_state state;
    int width, height;
    double source_fps, duration_s; /* 0: not known */
    double position_s;             /* of the last picture read */
    uint64_t reconnects;           /* times that a camera was reached again */
    char error[256];               /* the last: why it failed, or the camera was or is not reached */
} om_stream_status;

/* How many streams there have been; their numbers are below. */
size_t om_pipeline_n_streams(om_pipeline *p);
/* Of a stream that was removed so long ago that nothing is known of it any more: REMOVED without a name. */
void om_pipeline_stream_status(om_pipeline *p, size_t index, om_stream_status *out);

/* One row of the list of streams. */
typedef struct om_stream_row {
    om_stream_status status;
    om_stream_stats stats;
    double fps, weight; /* fps: what it is sampled with; 0: all */
    int every, priority;
    const char *economy; /* what the policy asks of it: om_step_name() */
    double lag_ms;       /* of its decoder behind its source */
} om_stream_row;

/* All streams at one moment, in the order of their numbers; `removed`: also the last of those that were
 * removed. The caller frees *rows with om_free(). */
int om_pipeline_list(om_pipeline *p, bool removed, om_stream_row **rows, size_t *n);
/* Of one stream; OM_ERR_NOT_FOUND suggests a near name. */
int om_pipeline_row(om_pipeline *p, const char *name, om_stream_row *out);
const char *om_stream_state_name(om_stream_state s);

/* Adds a stream with all its options, before or after the start. Takes over *own's content, also on failure.
 * `listed`: om_pipeline_reload() may change and remove it. `index` may be NULL. */
int om_pipeline_add(om_pipeline *p, om_stream_options *own, bool listed, int *index);
/* As om_pipeline_set_stream() with several options at once (name, value, ... NULL): all of them or, where one
 * is wrong, none. */
int om_pipeline_set_stream_with(om_pipeline *p, const char *name, const char *const *options);

typedef struct om_reload {
    int added, removed, changed, failed; /* failed: could not be added; each was logged */
} om_reload;
/* Makes the streams of the run those of `c`, whose streams are taken over: new ones are added, missing ones
 * removed, failed ones tried again, others left alone; those that were added one by one stay. OM_ERR_ARG:
 * nothing was changed. */
int om_pipeline_reload(om_pipeline *p, om_config *c, om_reload *out);
/* What else `c` says than the run goes by, which a reload does not touch: "conf, secondary 'plate', sinks";
 * "": nothing. Once started. */
int om_pipeline_differs(om_pipeline *p, const om_config *c, om_str *out);
/* Called, from a thread of the run, when a removed stream is gone for good. Before the start. */
void om_pipeline_on_gone(om_pipeline *p, void (*fn)(void *user, int index, const char *name), void *user);
/* What the latency policy asks of whom; "" where nothing. */
void om_pipeline_policy_text(om_pipeline *p, om_str *out);

/* Called by om_pipeline_start() once the model is loaded, before any source or sink is opened; its error ends
 * the start. Before the start. */
void om_pipeline_on_ready(om_pipeline *p, int (*fn)(om_pipeline *p, void *user), void *user);
/* From there: compiles for pictures of this size. */
int om_pipeline_warm(om_pipeline *p, int width, int height);
/* From there: the streams of a run that another process has stopped, in place of the configuration's. Each
 * goes on where it was; text sinks append, others write new files. */
int om_pipeline_take_over(om_pipeline *p, const om_json_value *handover);
/* The member "streams" that it wants, into an open object: those that are not over. Once the run has ended,
 * or while it goes on, for their sizes. */
void om_pipeline_handover_json(om_pipeline *p, om_json *j);
/* True once the work has moved to the fall-back device because this one was lost. While it runs. */
bool om_pipeline_lost(om_pipeline *p, char device[32], char cause[256]);

/* One sentence on model and engine once started: "yolov3-tiny (yolov3, 80 classes) on openvino CPU f32, 2
 * streams". */
void om_pipeline_describe(om_pipeline *p, om_str *out);
/* "skipped 12 (sampled 10, no_output 2), dropped 3 (superseded 3)"; "" where nothing was. index -1: totals.
 */
void om_pipeline_losses(om_pipeline *p, int index, om_str *out);
/* "GPU 71%, NVDEC 93%, 5120 MB, 310 W" of the last moments; "" without a GPU that tells. */
void om_pipeline_gpu_text(om_pipeline *p, om_str *out);
/* The member gpu_memory of the report, into an open object. */
void om_pipeline_gpu_memory_json(om_pipeline *p, om_json *j);
/* The last figures of the run's GPU; false without one that tells. */
bool om_pipeline_gpu_usage(om_pipeline *p, om_device_usage *out);
/* All streams' latencies so far. */
void om_pipeline_latency(om_pipeline *p, om_hist *out);
/* The text of --metrics-file: counters, latencies and stages as Prometheus reads them. */
int om_pipeline_metrics(om_pipeline *p, om_str *out);
/* To be called now and then while a profiled run goes on: looks at its threads. */
void om_pipeline_tick(om_pipeline *p);
/* How many streams failed, and how many sinks. */
size_t om_pipeline_failures(om_pipeline *p);

#endif
