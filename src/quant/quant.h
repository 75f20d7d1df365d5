/* From a model in 32-bit floats to one in 8-bit integers, written as standard QuantizeLinear and
 * DequantizeLinear. This is the room's public header.
 *
 * om_quantizer_create() chooses what becomes int8 and which tensors have to be watched; the caller runs the
 * float model and shows them; om_quantizer_finish() chooses ranges and rewrites. om_quantize() does all of it
 * with pictures. */
#ifndef OM_QUANT_QUANT_H
#define OM_QUANT_QUANT_H

#include "base/json.h"
#include "base/option.h"
#include "model/model.h"

typedef enum om_quant_method {
    OM_QUANT_MINMAX,     /* all that was seen */
    OM_QUANT_PERCENTILE, /* all but the rarest of it */
    OM_QUANT_ENTROPY,    /* what loses least of the distribution (Kullback and Leibler) */
    OM_QUANT_MSE         /* what makes the smallest square error */
} om_quant_method;

typedef enum om_quant_target {
    OM_QUANT_CPU, /* activations u8 with a zero point */
    OM_QUANT_CUDA /* activations s8 around zero */
} om_quant_target;

/* What of the layers becomes int8: one alone is computed in floats, and shows what it does to the model. */
typedef enum om_quant_parts { OM_QUANT_BOTH, OM_QUANT_WEIGHTS, OM_QUANT_ACTIVATIONS } om_quant_parts;

extern const om_choice om_quant_method_choices[], om_quant_target_choices[], om_quant_bits_choices[],
    om_quant_parts_choices[];

typedef struct om_quant_params {
    om_quant_method method;
    om_quant_target target;
    om_quant_parts parts;
    double percent;    /* of the numbers that PERCENTILE keeps */
    bool correct_bias; /* what rounding of weights adds on average is taken off the bias */
    int weight_bits; /* 8, or 7: for processors that add pairs of products in 16 bits; 0: as this one needs */
    bool equalise;   /* channels between two convolutions are made alike in size */
    bool fit_rounding;       /* weights are rounded so that their errors cancel for what was seen */
    bool whole;              /* the layers before the outputs too, which else stay float */
    double layer_floor;      /* dB that a layer's input and weights each keep, else it stays float; 0: any */
    const char *const *keep; /* names of layers or operators that stay float */
    size_t n_keep;
} om_quant_params;

/* A layer that has weights: what became of it. */
typedef struct om_quant_layer {
    char *name;
    char op[24];
    bool quantised;
    char why[160];    /* it stayed float */
    double weight_db; /* signal to noise of what its weights make of its input; 0 where it stayed float */
    /* NAN where it was not measured (--mixed): signal to noise of the outputs and the metric where it alone
     * is int8, its time as float and as int8. */
    double alone_db, alone_score, float_us, int8_us;
    int act; /* index of the activation it reads, or -1 */
} om_quant_layer;

#define OM_QUANT_BARS 64

/* A tensor that was put on a grid of 8 bits. */
typedef struct om_quant_act {
    char *name;
    bool used; /* false: whatever reads it stayed float */
    double seen_lo, seen_hi, lo, hi;
    float scale;
    int zero;
    double db;                /* signal to noise of what was seen */
    float bar[OM_QUANT_BARS]; /* share of what was seen, from seen_lo to seen_hi */
} om_quant_act;

/* An output of the int8 model against the float model's, over the pictures that were kept for it. */
typedef struct om_quant_output {
    char *name;
    double cosine, db; /* NAN: not compared */
    size_t pictures;
} om_quant_output;

/* How the int8 model is judged by what the float model says of the same pictures. */
typedef enum om_quant_metric {
    OM_METRIC_COSINE, /* of the outputs; for models whose outputs say nothing to us */
    OM_METRIC_AP50,   /* boxes: average precision, the float model's boxes for truth */
    OM_METRIC_TEXT,   /* lines of text that are equal */
    OM_METRIC_TOP1    /* classes that are equal */
} om_quant_metric;
const char *om_quant_metric_name(om_quant_metric m);

/* Something to try where the floor is missed, the most promising first. */
typedef struct om_quant_advice {
    char step[16];  /* "mixed", "frames", "method", "qat" */
    char text[240]; /* what, and what it gained here */
    double score;   /* of the metric with it; NAN: not measured */
    double gain;
} om_quant_advice;

/* What was done, for people and scripts. Zeroed is valid and empty. */
typedef struct om_quant_report {
    om_quant_layer *layers;
    size_t n_layers;
    om_quant_act *acts;
    size_t n_acts;
    om_quant_output *outputs;
    size_t n_outputs;
    om_quant_metric metric;
    double score;             /* of the metric; NAN: nothing to judge by */
    size_t judged;            /* pictures it comes from */
    bool judged_apart;        /* they were not calibrated with */
    double plain_score;       /* before layers were made float again (--mixed); NAN: as `score` */
    size_t mixed;             /* layers made float again */
    double floor;             /* 0: none */
    bool missed;              /* the floor, or the speed that was asked for */
    double speed, speed_goal; /* times the float model's, by its layers' times; NAN; 0: none asked for */
    om_quant_advice *advice;
    size_t n_advice;
    double int8_share;      /* of the layers' multiplications; NAN: sizes are not known */
    size_t equalised;       /* tensors */
    size_t frames, damaged; /* calibrated with; pictures that could not be read */
    double seconds;         /* of calibration */
    char engine[160];
    int weight_bits;
    int64_t opset_from, opset_to;
} om_quant_report;
void om_quant_report_fini(om_quant_report *r);
size_t om_quant_report_quantised(const om_quant_report *r); /* layers */

/* OM_ERR_ARG, naming the node, where a model carries quantisation already. */
int om_quant_check_float(const om_graph *g, const char *name);
/* Raises the graph's opset to 13, from which on quantisation may have a scale a channel. Shapes are inferred.
 * OM_ERR_UNSUPPORTED names a node whose meaning cannot be kept. */
int om_quant_raise_opset(om_graph *g);

/* Thread-safety: one thread. */
typedef struct om_quantizer om_quantizer;
/* `g`: float, simplified, opset raised, shapes inferred. Takes it over, on failure too. `p` outlives the
 * quantizer. OM_ERR_UNSUPPORTED: nothing in it can be int8. */
int om_quantizer_create(om_graph *g, const om_quant_params *p, om_quantizer **out);
void om_quantizer_destroy(om_quantizer *q);
/* Before anything is shown: the model's input is (level - mean) * scale of a picture's 256 levels, each of
 * which gets a place of its grid. What om_quantizer_graph() is may change. */
int om_quantizer_set_levels(om_quantizer *q, double mean, double scale);
/* The tensors to be shown, by name, in rising number. */
size_t om_quantizer_taps(const om_quantizer *q);
const char *om_quantizer_tap(const om_quantizer *q, size_t i);
/* Shows tap `i` of one inference: f32 on the host. `what` names the picture in messages. */
int om_quantizer_observe(om_quantizer *q, size_t i, const om_tensor *t, const char *what);
/* After some inferences were shown, once: scales the weights of convolutions around a tensor so that its
 * channels become alike; the float model says the same as before. How many tensors; everything that was
 * observed is forgotten, and the model that is run has to be made anew of om_quantizer_graph(). */
int om_quantizer_equalise(om_quantizer *q);
const om_graph *om_quantizer_graph(const om_quantizer *q);
/* Layers with weights, and whether one may be int8. */
size_t om_quantizer_layers(const om_quantizer *q);
bool om_quantizer_takes(const om_quantizer *q, size_t layer);
/* Its multiplications; 0: its size is not known. */
double om_quantizer_work(const om_quantizer *q, size_t layer);

/* One way to write the model. */
typedef struct om_quant_variant {
    om_quant_method method;
    const char *const *keep; /* of each layer: why it stays float, or NULL; NULL: none does */
} om_quant_variant;
/* The int8 graph, the caller's, as often as wished. `r` (NULL: not wanted) gets layers and activations.
 * OM_ERR_UNSUPPORTED: nothing was left to quantise. */
int om_quantizer_make(om_quantizer *q, const om_quant_variant *v, om_graph **out, om_quant_report *r);
/* With the parameters' own method, and all that can be. */
int om_quantizer_finish(om_quantizer *q, om_graph **out, om_quant_report *r);

/* `what` is under way: "calibrating", "layer", ... */
typedef void (*om_quant_progress_fn)(void *user, const char *what, size_t done, size_t of);

typedef struct om_quant_job {
    const char *model;
    const om_strlist *sources;    /* files, folders, globs, videos: the frames are spread over all of them */
    int frames, min_frames;       /* how many to take, and how few are too few */
    const char *device;           /* the float model runs there: as --device */
    om_size input_size;           /* 0x0: the model's own */
    const char *family;           /* NULL: the model's own */
    int normalize, channels, fit; /* as om_model_desc_set_input() */
    om_quant_params params;
    const om_strlist *check; /* pictures to judge by; NULL or empty: some of those it is calibrated with */
    int check_frames;        /* how many of them; 0: as the metric needs */
    bool mixed;              /* layers go back to float until `floor` is met, or while `speed` is */
    double floor;            /* of the metric; 0: none */
    double speed;            /* times the float model's; 0: as fast as can be */
    om_quant_progress_fn progress; /* NULL: none */
    void *user;
} om_quant_job;

/* The whole way; *out is the caller's, to be saved. OM_ERR_ARG: too few pictures, already quantised. A missed
 * floor is no error: the report says so, and what to try. */
int om_quantize(const om_quant_job *job, om_graph **out, om_quant_report *r);
/* The report as JSON: the members of an object that the caller has begun. */
void om_quant_report_json(const om_quant_job *job, const om_quant_report *r, om_json *j);
/* The report as one self-contained page. */
void om_quant_report_html(const om_quant_job *job, const om_quant_report *r, om_str *out);

#endif
