/* The engine as a library: make a pipeline, give it options, streams and outputs, run it.
 *
 * Options are the same names and texts as the command's flags and the YAML's keys ("model", "batch-max",
 * ...); `omma run --help` lists them. The library sets no signal handler, writes to no terminal and never
 * exits. */
#ifndef OMMA_PIPELINE_H
#define OMMA_PIPELINE_H

#include <stdbool.h>

#include "omma/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct om_pipeline om_pipeline;

/* Called once per inferred frame, in order within a stream, from a worker thread; never twice at once for one
 * stream. Slow callbacks slow their own stream alone. */
typedef void (*om_result_fn)(void *user, const om_frame_result *result);

/* Counters of one stream, or of all. received = inferred + skipped + dropped + in_flight at every moment. */
typedef struct om_stream_stats {
    uint64_t received; /* video packets */
    uint64_t decoded;  /* pictures out of the decoder */
    uint64_t inferred;
    uint64_t skipped; /* by policy or because a packet yields no picture */
    uint64_t dropped; /* lost, by a named cause */
    uint64_t in_flight;
    double fps;
    double latency_ms_p50, latency_ms_p95, latency_ms_p99, latency_ms_max;
    uint64_t network_bytes; /* of cameras' packets, and those of live files, which stand for cameras */
    double network_mbit_s;  /* these, between the first and the last; negative: too few to tell */
} om_stream_stats;

/* Makes an empty pipeline. The caller owns *out and frees it with om_pipeline_destroy(). */
int om_pipeline_create(om_pipeline **out);

/* Sets one option by name. Before om_pipeline_start() only. OM_ERR_ARG names the option and a near one. */
int om_pipeline_set(om_pipeline *p, const char *option, const char *value);

/* Adds a stream, also while it runs: a file, URL, folder, glob or "pattern:..." source. `name` may be NULL
 * (made from the URI).
 */
int om_pipeline_add_stream(om_pipeline *p, const char *uri, const char *name);

/* The same with options of its own, texts in pairs of name and value, ended by a NULL: {"fps", "5",
 * "priority", "2", NULL}. `omma run --help` tells of them under "Stream". NULL: none. */
int om_pipeline_add_stream_with(om_pipeline *p, const char *uri, const char *name,
                                const char *const *options);

/* Streams come and go while the pipeline runs; option "keep" makes it go on when there are none. Removing and
 * setting work before the start too. OM_ERR_NOT_FOUND: no stream of this name.
 *
 * A removed stream's name is free at once; what it had under way still reaches the sinks, and its counters
 * stay in the report. A camera that is paused is disconnected; a file stands still; a file at its own pace
 * goes on unseen. Of a running stream "priority", "weight", "fps" and "every" may be set. */
int om_pipeline_remove_stream(om_pipeline *p, const char *name);
int om_pipeline_pause_stream(om_pipeline *p, const char *name, bool pause);
int om_pipeline_set_stream(om_pipeline *p, const char *name, const char *option, const char *value);

/* Adds a sink written `kind:target`, as the command's -o. */
int om_pipeline_add_sink(om_pipeline *p, const char *spec);

/* Adds a callback for every inferred frame of every stream. */
int om_pipeline_on_result(om_pipeline *p, om_result_fn fn, void *user);

/* Loads the model, opens devices and streams and starts to work; returns once threads run. */
int om_pipeline_start(om_pipeline *p);

/* Waits until every stream has ended and every sink is flushed, or until `timeout_ms` (negative: no bound)
 * passes: OM_ERR_TIMEOUT. Returns the first fatal error of the run otherwise. */
int om_pipeline_wait(om_pipeline *p, int timeout_ms);

/* Asks for a stop and returns at once: frames in flight are finished, sinks flushed. Any thread, any time,
 * also from a signal handler's helper thread; repeatable. */
void om_pipeline_stop(om_pipeline *p);

/* Figures so far. `index` of a stream (as in om_frame_result; they are given out in order and never twice),
 * or -1 for the total. */
int om_pipeline_stats(om_pipeline *p, int index, om_stream_stats *out);

/* The run's JSON summary (the text of --report). The caller frees *out with om_free_string(). */
int om_pipeline_report(om_pipeline *p, char **out);

/* Stops if need be, waits, frees. NULL is allowed.
 * Thread-safety of om_pipeline: create, set, start and destroy from one thread at a time, and add_* before
 * the start; the rest from any thread while it is alive. */
void om_pipeline_destroy(om_pipeline *p);

void om_free_string(char *s);

#ifdef __cplusplus
}
#endif
#endif
