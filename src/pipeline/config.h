/* What a run is made of: one struct filled by flags, YAML or om_pipeline_set() through the same tables. */
#ifndef OM_PIPELINE_CONFIG_H
#define OM_PIPELINE_CONFIG_H

#include "backend/backend.h"
#include "base/option.h"

typedef enum om_decode {
    OM_DECODE_AUTO,
    OM_DECODE_CPU,
    OM_DECODE_CUDA,
    OM_DECODE_CUDA_HOST,
    OM_DECODE_HYBRID
} om_decode;

/* Which pictures of a camera count as damaged. */
typedef enum om_damaged { OM_DAMAGED_UNTIL_KEY, OM_DAMAGED_FLAGGED } om_damaged;

typedef struct om_run_options {
    /* model */
    char *model, *head, *labels;
    double conf, iou;
    int max_boxes, top_k;
    om_strlist classes; /* names or numbers */
    bool agnostic;
    om_size input_size;
    bool rectangles;              /* default true */
    int normalize, channels, fit; /* om_normalize; om_channels and om_fit or -1 */
    char *alphabet, *blank, *anchors;
    double mask_conf, unclip;
    bool mask_dilate; /* default true */
    int vector_max;
    /* tracks; negative: the tracker's own */
    char *track;
    double track_high, track_low, track_start, track_match;
    int track_buffer, track_min_hits;
    bool track_agnostic;
    om_strlist secondary; /* specs; om_config_read_seconds() turns them into om_config.seconds */
    /* engine */
    char *device, *fallback;
    char *gpu_memory;    /* "4000", "50%"; NULL: no cap */
    int precision, mode; /* om_precision, om_mode */
    int threads;
    char *cache_dir;
    om_strlist operators; /* files of users' operators */
    int batch_size;       /* fixed batch of the model; 0: chosen */
    int batch_min, batch_max;
    double batch_timeout_ms; /* 0: off */
    int in_flight;           /* 0: the engine's wish */
    /* streams' defaults */
    bool live, loop;
    double fps;                            /* sampling; 0: every frame */
    int sample;                            /* om_sample_mode */
    double motion, motion_hold, heartbeat; /* per cent, seconds, seconds */
    int every;                             /* every n-th picture; 1 */
    double duration;                       /* seconds; 0: to the end */
    int64_t max_frames;                    /* a stream; 0: all */
    int decode;                            /* om_decode */
    int decode_threads;
    om_size decode_size; /* 0x0: whole */
    char *rtsp_transport;
    double open_timeout, read_timeout;
    bool reconnect; /* default true */
    double reconnect_min, reconnect_max;
    char *credentials;
    int damaged;        /* om_damaged */
    int stream_credits; /* frames of one stream between gather and lane exit; 0: chosen */
    /* output */
    char *report, *trace, *profile, *metrics_file;
    double stats;      /* seconds between stats lines; 0: off */
    double trace_last; /* seconds kept to be dumped; 0: all is kept to the end */
    char *drift;       /* the manifest of pictures calibrated with, to compare the streams with */
    double max_age;    /* days it may be old; 0: any */
    double warn_latency, warn_stall, warn_lost; /* seconds, seconds, per cent; 0: no warning */
    int sink_policy, sink_queue;
    char *font; /* a file of characters for what is drawn */
    bool quiet, progress;
    char *log_level;
    char *cpu_mask;
    /* a run of many streams */
    bool keep;               /* goes on without streams */
    char *control;           /* the control socket's path */
    double latency_bound_ms; /* 0: none */
    double link_mbit;        /* 0: as the system says */
    char *core_bind;
} om_run_options;

extern const om_option om_run_option_table[];

typedef struct om_stream_options {
    char *uri, *name;
    int priority;  /* 0 (default) .. 9: higher first */
    double weight; /* share among equals; 1 */
    /* unset (-1; 0 for every): the run's default */
    int live, loop; /* -1, 0, 1 */
    double fps;
    int every;
    int sample;   /* -1, or an om_sample_mode */
    double phase; /* seconds that a live file begins after the common start; -1: chosen */
    double duration;
    int64_t max_frames;
} om_stream_options;

extern const om_option om_stream_option_table[];

typedef struct om_second_options om_second_options; /* second_config.h */

typedef struct om_config {
    om_run_options run;
    om_stream_options *streams;
    size_t n_streams, cap_streams;
    om_strlist sinks;
    om_second_options *seconds; /* secondary models */
    size_t n_seconds, cap_seconds;
} om_config;

int om_config_init(om_config *c);
void om_config_fini(om_config *c);
/* Whether the run goes on when it has no streams. */
bool om_config_keeps(const om_config *c);
#define OM_STREAM_NAME_MAX 100 /* bytes */
/* A stream needs a URI and a name that is no other's: `taken` tells; without one it gets one. *s stays the
 * caller's. */
int om_stream_options_check(om_stream_options *s, bool (*taken)(void *user, const char *name), void *user);
/* OM_ERR_NOT_FOUND: no stream of this name. */
int om_config_remove_stream(om_config *c, const char *name);
/* `options`: name, value, ... NULL. */
int om_config_set_stream(om_config *c, const char *name, const char *const *options);
int om_config_add_stream(om_config *c, const char *uri, const char *name);
/* A blank stream for a reader to fill by the stream table; om_config_stream() then checks it, names it and
 * counts it in, or frees its content on failure. NULL when out of memory. */
om_stream_options *om_config_new_stream(om_config *c);
int om_config_stream(om_config *c, om_stream_options *s);
/* Keys of the run table at top level, `streams:` (a list of URIs or maps), `sinks:` (a list of specs).
 * OM_ERR_ARG: "FILE:LINE: unknown key 'X'; did you mean 'Y'?", wrong types, duplicate stream names. */
int om_config_load_yaml(om_config *c, const char *path);
/* A list: a line 'URI [key=value ...]' a stream, by the stream table's keys; '#' begins a comment; what holds
 * spaces goes in quotes. A file named .yaml or .yml is one of those. OM_ERR_ARG: "FILE:LINE: ...". */
int om_config_load_list(om_config *c, const char *path);
/* What can be checked without looking outside: a model and a stream are there, bounds agree, per-stream sinks
 * have %s. One message. */
int om_config_check(const om_config *c);
/* That the files it names exist (for --check; a run meets them itself). */
int om_config_check_files(const om_config *c);
/* --gpu-memory: "4000" (MB) or "50%" of `total`, in bytes; 0 for NULL. OM_ERR_ARG: neither. */
int om_gpu_memory_parse(const char *text, int64_t total, int64_t *out);
/* A commented example with every key and its default, generated from the tables. */
int om_config_example(om_str *out);

#endif
