/* The pipeline room's public header: what the command uses beyond the public API. */
#ifndef OM_PIPELINE_PIPELINE_H
#define OM_PIPELINE_PIPELINE_H

#include "base/hist.h"
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
    OM_STREAM_FAILED
} om_stream_state;

typedef struct om_stream_status {
    const char *name; /* lives as long as the pipeline */
    const char *uri;  /* without its password */
    om_stream_state state;
    int width, height;
    double source_fps, duration_s; /* 0: not known */
    double position_s;             /* of the last picture read */
    char error[256];               /* FAILED: why */
} om_stream_status;

size_t om_pipeline_n_streams(const om_pipeline *p);
void om_pipeline_stream_status(om_pipeline *p, size_t index, om_stream_status *out);

/* One sentence on model and engine once started: "yolov3-tiny (yolov3, 80 classes) on openvino CPU f32, 2
 * streams". */
void om_pipeline_describe(om_pipeline *p, om_str *out);
/* "skipped 12 (sampled 10, no_output 2), dropped 3 (superseded 3)"; "" where nothing was. index -1: totals.
 */
void om_pipeline_losses(om_pipeline *p, int index, om_str *out);
/* "GPU 71%, NVDEC 93%, 5120 MB, 310 W" of the last moments; "" without a GPU that tells. */
void om_pipeline_gpu_text(om_pipeline *p, om_str *out);
/* All streams' latencies so far. */
void om_pipeline_latency(om_pipeline *p, om_hist *out);
/* The text of --metrics-file: counters, latencies and stages as Prometheus reads them. */
int om_pipeline_metrics(om_pipeline *p, om_str *out);
/* To be called now and then while a profiled run goes on: looks at its threads. */
void om_pipeline_tick(om_pipeline *p);
/* How many streams failed, and how many sinks. */
size_t om_pipeline_failures(om_pipeline *p);

#endif
