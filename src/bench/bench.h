/* How many streams a machine carries, and whether that is enough: the ladder of `omma bench`, its soak and
 * its comparison of batching. The room's public header.
 *
 *   om_bench_options  ->  om_bench_run()  ->  om_bench_result  ->  verdicts, JSON, CSV, page
 *
 * Figures that nobody could measure are NAN: they are said to be so, and are never taken for passed. */
#ifndef OM_BENCH_BENCH_H
#define OM_BENCH_BENCH_H

#include "base/json.h"
#include "base/thread.h"
#include "eval/detection.h"
#include "pipeline/config.h"

#define OM_BENCH_VERSION 1
#define OM_BENCH_CAUSES 16

typedef struct om_bench_options {
    om_strlist inputs;
    char *ladder;
    double fps, warmup, duration;
    int64_t seed;
    int streams;     /* the number that acceptance is about; 0: the most that were carried */
    int max_streams; /* where a ladder without an end ends */
    bool bisect;
    /* limits; 0: none */
    double min_fps; /* 0: nine tenths of what was asked for */
    double max_latency, max_p99, max_drops, min_accuracy, max_gpu_memory, max_cpu, max_gpu, max_network;
    bool strict;
    /* accuracy */
    char *reference, *truth, *sample;
    int sample_frames;
    /* other ways */
    bool compare_batching;
    int rounds;
    double max_batching_loss;
    double soak;          /* hours; 0: none */
    double sample_period; /* seconds; 0: chosen */
    int64_t faults;       /* the seed; negative: none */
    char *json, *csv, *html;
} om_bench_options;

extern const om_option om_bench_option_table[];

/* The rungs asked for: `n` of them, and whether they go on behind the last. */
typedef struct om_bench_rungs {
    int rungs[64];
    int n;
    bool endless;
} om_bench_rungs;

/* "1,10,30,..." OM_ERR_ARG names what is wrong with it. */
int om_bench_rungs_parse(const char *text, om_bench_rungs *out);
/* The one above `streams`; 0: there is none, or none up to `most`. */
int om_bench_rungs_next(const om_bench_rungs *l, int streams, int most);

typedef struct om_loss {
    char name[24];
    uint64_t n;
} om_loss;

/* What was measured with so many streams. */
typedef struct om_rung {
    int streams;
    int failed;      /* streams that gave up */
    char error[256]; /* why the first of them did, or why nothing ran */
    double target; /* frames a second that a stream was to give: what was asked for, or what the source has */
    double seconds;
    double fps_min, fps_median, fps_total; /* of the streams; of all together */
    double mean_ms, p50_ms, p95_ms, p99_ms, max_ms;
    uint64_t inferred, dropped;
    om_loss causes[OM_BENCH_CAUSES]; /* of what was dropped */
    int n_causes;
    double drop_percent; /* of the frames that the model was to see */
    double cpu_percent;  /* of the cores this process may use */
    double memory_mb;    /* resident, the most in that time */
    double gpu_percent, gpu_memory_mb, nvdec_percent;
    double network_mbit; /* packets read, a second */
    double mean_batch;
    double others_percent; /* of the machine's cores: what all the rest took meanwhile */
    bool books;            /* received = inferred + skipped + dropped at the end */
    bool carried;          /* within every limit that more streams may break */
    char why[160];         /* not carried: what broke */
} om_rung;

typedef enum om_limit {
    OM_LIMIT_FPS,
    OM_LIMIT_LATENCY,
    OM_LIMIT_P99,
    OM_LIMIT_DROPS,
    OM_LIMIT_ACCURACY,
    OM_LIMIT_GPU_MEMORY,
    OM_LIMIT_CPU,
    OM_LIMIT_GPU,
    OM_LIMIT_NETWORK,
    OM_LIMIT_COUNT
} om_limit;

typedef enum om_outcome { OM_PASSED, OM_FAILED, OM_NOT_MEASURED } om_outcome;

typedef struct om_judgement {
    om_limit limit;
    bool required;
    double bound, value;
    om_outcome outcome;
    const char *why; /* NOT_MEASURED: what is missing */
} om_judgement;

/* Words of a limit: "mean latency", "mean", "ms", "<", "latency_ms". */
typedef struct om_limit_info {
    const char *title, *brief, *unit, *relation, *key;
    int decimals;
    bool required, at_least;
    bool breaks; /* more streams may break it: it decides where the ladder ends */
} om_limit_info;
extern const om_limit_info om_limit_infos[OM_LIMIT_COUNT];

/* How the model's boxes agree with a reference's on sampled frames of the clips. */
typedef struct om_accuracy {
    bool measured;
    char why[200]; /* not measured: why */
    bool labels;   /* against labels: of `agreement` ap50, ap50_95, images, reference and found are meant */
    om_eval_agreement agreement;
    double threshold;
} om_accuracy;

/* One way to serve cameras, as fast as it goes: medians of the rounds. */
typedef struct om_batching_way {
    double camera_fps;   /* median of the cameras */
    double combined_fps; /* all together */
    double drop_percent; /* of one camera's alone: how much less all together are */
    double memory_mb, mean_batch;
} om_batching_way;

typedef struct om_batching {
    bool measured;
    int cameras, rounds;
    om_batching_way one, own, shared; /* a camera alone; an engine each; one engine for all */
    bool within;                      /* shared loses at most what it may */
} om_batching;

typedef enum om_trend_of {
    OM_TREND_MEMORY,
    OM_TREND_HANDLES,
    OM_TREND_THREADS,
    OM_TREND_MEAN,
    OM_TREND_P99,
    OM_TREND_COUNT
} om_trend_of;

typedef struct om_soak_sample {
    double at_s;
    double value[OM_TREND_COUNT]; /* MB, number, number, ms, ms; NAN: not known */
    double fps;                   /* all streams together, since the sample before */
    int streams;
} om_soak_sample;

typedef struct om_trend {
    double first, median; /* of the samples looked at */
    double slope;         /* Theil-Sen, an hour */
    double rise;          /* what the slope makes of the time looked at */
    double allowed;       /* a rise up to here is none */
    double z;             /* Mann-Kendall: how unlike chance; NAN: too few samples */
    bool rising;          /* rise > allowed and z > 2.58 */
} om_trend;

typedef struct om_soak {
    bool measured;
    double seconds;
    om_soak_sample *samples; /* owned */
    size_t n_samples, cap_samples;
    size_t skipped; /* samples at the start that trends leave out */
    om_trend trends[OM_TREND_COUNT];
    bool enough;                  /* samples for a trend */
    bool ended;                   /* the streams ended before the soak did */
    uint64_t removed, added;      /* faults */
    uint64_t received, accounted; /* at the end; equal unless a frame is lost */
    bool flat;                    /* no trend, and the books agree */
} om_soak;

extern const char *const om_trend_names[OM_TREND_COUNT];
extern const char *const om_trend_units[OM_TREND_COUNT];

/* Zeroed is valid and empty. Thread-safety: one thread. */
typedef struct om_bench_result {
    char model[256], engine[256]; /* as om_pipeline_describe() */
    om_rung *rungs;               /* as they were measured; owned */
    size_t n_rungs, cap_rungs;
    int carried, broken; /* most streams that were, fewest that were not; 0: none */
    bool interrupted;
    char stopped[200]; /* why the ladder ended without breaking; "": it broke */
    om_accuracy accuracy;
    om_batching batching;
    om_soak soak;
    const om_rung *judged; /* the one that verdicts are about; NULL: none */
    om_judgement verdicts[OM_LIMIT_COUNT];
    int n_verdicts;
    om_strlist system_keys, system_values;
    int64_t started_us;
} om_bench_result;

/* What the caller wants to hear, and how it configures runs. NULL functions but `configure` are allowed. */
typedef struct om_bench_caller {
    /* Sets what is common to all runs (model, engine); called anew for each. */
    int (*configure)(void *user, om_run_options *o);
    void (*progress)(void *user,
                     const char *text); /* replaces the one before; NULL: there is none any more */
    void (*line)(void *user, const char *text);
    void *user;
} om_bench_caller;

/* OM_ERR_ARG where the options do not agree with each other. */
int om_bench_check(const om_bench_options *o);
/* Ladder, comparison or soak, as the options say. When `cancel` fires it ends early with OM_OK and
 * `interrupted`. Also after a failure *out is valid and holds what was measured until then. */
int om_bench_run(const om_bench_options *o, const om_bench_caller *caller, om_cancel *cancel,
                 om_bench_result *out);
void om_bench_result_fini(om_bench_result *r);

/* A required limit was missed (with `strict` also: not measured), a soak rose, batching lost too much. */
bool om_bench_failed(const om_bench_options *o, const om_bench_result *r);
const char *om_outcome_name(om_outcome o);

/* The whole result as docs/bench.md says. */
void om_bench_json(const om_bench_options *o, const om_bench_result *r, om_json *j);
/* A row a rung; of a soak, a row a sample. */
void om_bench_csv(const om_bench_result *r, om_str *out);
/* One self-contained page. */
void om_bench_page(const om_bench_options *o, const om_bench_result *r, om_str *out);

#endif
