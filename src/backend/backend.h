/* Inference engines. A backend compiles a graph into a plan for one input shape; sessions run it.
 *
 *   om_backend  ->  om_plan (graph x device x shape x precision)  ->  om_session (one inference in flight)
 *
 * Completion only posts: the callback of om_session_submit() comes from an engine's thread and must return at
 * once; a worker then calls om_session_collect(), which waits (already done), and runs the head where the
 * outputs are. */
#ifndef OM_BACKEND_BACKEND_H
#define OM_BACKEND_BACKEND_H

#include "base/option.h"
#include "device/device.h"
#include "head/head.h"
#include "model/model.h"

#define OM_BACKEND_API_VERSION 4u

typedef struct om_plan om_plan;
typedef struct om_session om_session;
typedef struct om_plan_file om_plan_file; /* backend/planfile.h */

typedef enum om_precision {
    OM_PRECISION_AUTO, /* what the model and the device do best without a loss of accuracy to speak of: bf16
                          on CPUs that have it; on GPUs f16, and int8 of a model that is quantised */
    OM_PRECISION_F32,
    OM_PRECISION_F16,
    OM_PRECISION_BF16,
    OM_PRECISION_INT8, /* of a model that carries its own quantisation (QDQ) */
    OM_PRECISION_TF32  /* f32, products with factors rounded to tf32's ten bits behind the point */
} om_precision;
extern const om_choice om_precision_choices[];

typedef enum om_mode { OM_MODE_THROUGHPUT, OM_MODE_LATENCY } om_mode;
extern const om_choice om_mode_choices[];

typedef struct om_compile_params {
    const om_graph *graph;     /* only read during the call */
    const om_model_desc *desc; /* outlives the plan */
    const char *device;        /* the backend's own name of it: "CPU", "GPU.0"; NULL: its default */
    om_device *memory;         /* where the caller's gather writes; the host device for CPU engines */
    int batch, width, height;  /* the static shape: every plan has one */
    om_precision precision;
    om_mode mode;
    int threads;             /* 0: the engine decides */
    int sessions;            /* wished number in flight; 0: the engine decides */
    const char *cache_dir;   /* compiled blobs; NULL: none */
    bool profiling;          /* per-layer timings wanted */
    bool keep_prep;          /* the input as desc->prep says; else the engine may ask for another (u8) */
    om_plan_file *plan_file; /* its compiled form is taken where it fits, and its precision where none is
                                asked for; NULL: none */
} om_compile_params;

typedef void (*om_session_done_fn)(void *user);

typedef struct om_layer_time {
    char name[128], type[64], exec[64]; /* layer, operator, the engine's implementation */
    int64_t ns;
    bool ran;
    int64_t runs; /* ns is the mean of the plan's first `runs` inferences; 0 or 1: it is the last one's own */
} om_layer_time;

typedef struct om_backend_device {
    char id[32];         /* what --device takes: "cpu", "openvino:GPU.0" */
    char name[160];      /* for people */
    char precisions[64]; /* "f32 bf16 int8" */
} om_backend_device;

/* What a compiled form holds for one of the batches that it serves. */
typedef struct om_plan_part {
    int batch, steps;
    size_t bytes;      /* of the device's memory, for one session */
    char products[96]; /* "31 by cuDNN, 3 by cuBLASLt, 1 by own kernels" */
} om_plan_part;

/* The extension point; a plug-in returns one from omma_plugin(). Optional entries are marked. */
typedef struct om_backend_ops {
    uint32_t api_version;
    const char *name; /* "openvino", "null", "cuda" */
    const char *title;
    size_t plan_priv_size, session_priv_size;

    /* Fills at most `max` devices; returns how many there are. */
    int (*devices)(om_backend_device *out, int max);
    const char *(*version)(void);
    /* 1: runs this node on `device`; 0: it does not; *why gets a sentence (static). */
    int (*supports)(const char *device, const om_graph *g, const om_node *n, const char **why);

    /* Compiles into plan->priv, and sets plan->sessions, plan->prep (how its input wants to be written) and
     * plan->note. */
    int (*compile)(om_plan *plan, const om_compile_params *params);
    void (*plan_fini)(om_plan *plan); /* also after a failed compile */

    /* Binds input and outputs: fills session->input, outputs, n_outputs. */
    int (*session_init)(om_session *s);
    void (*session_fini)(om_session *s); /* waits for what is in flight */
    /* Starts inference of the first `n` items; calls s->done(s->user) exactly once iff it returned OM_OK. */
    int (*submit)(om_session *s, int n);
    /* Blocks until the last submit is done and returns its status. */
    int (*wait)(om_session *s);
    /* Optional: decodes where the outputs are. NULL: the wrapper runs the head on the host outputs. */
    int (*decode)(om_session *s, const om_head *head, int n, const om_geometry *geo, om_dets *out);
    /* Optional: timings of the session's inferences; fills at most `max`, returns how many layers there are.
     * What was fused into a layer may follow it as entries that did not run. */
    int (*layers)(om_session *s, om_layer_time *out, int max);
    /* Optional, both or neither: the compiled form as bytes (om_free), and a plan of such bytes in place of
     * compile(). `import` is only given what the same version exported on a device of the same name. A plan
     * whose form cannot be kept: OM_ERR_UNSUPPORTED, and why. */
    int (*plan_export)(om_plan *plan, char **blob, size_t *len);
    int (*plan_import)(om_plan *plan, const om_compile_params *params, const void *blob, size_t len);
    /* Optional: parts of other engines' models, on the CPU; NULL: it takes none. */
    const struct om_part_ops *parts;
    /* Optional: what such bytes hold, read without the device; at most `max`; how many there are. */
    int (*plan_parts)(const void *blob, size_t len, om_plan_part *out, int max);
} om_backend_ops;

/* A part of a graph for an engine that lacks operators: any number of inputs and outputs of any types, in the
 * host's memory, shapes of outputs left to the data where they do not follow from the inputs'.
 * Thread-safety: a part is constant once compiled; a run belongs to one thread at a time. */
typedef struct om_backend_part om_backend_part;
typedef struct om_backend_part_run om_backend_part_run;
typedef struct om_part_ops {
    /* `g` is only read. Computed in 32-bit floats; threads 0: the engine decides. */
    int (*compile)(const om_graph *g, int threads, om_backend_part **out);
    void (*destroy)(om_backend_part *part); /* after its runs; NULL is allowed */
    /* Binds the memory for the run's life: inputs, and those outputs whose data is not NULL. OM_ERR_ARG where
     * types or numbers of ports differ from the part's. */
    int (*open)(om_backend_part *part, const om_tensor *inputs, int n_inputs, const om_tensor *outputs,
                int n_outputs, om_backend_part_run **out);
    void (*close)(om_backend_part_run *run); /* NULL is allowed */
    /* Computes now. Outputs that were not bound get shape and data, valid until the next call or close. */
    int (*run)(om_backend_part_run *run, om_tensor *outputs);
} om_part_ops;

/* Thread-safety: constant after om_plan_compile(). */
struct om_plan {
    const om_backend_ops *ops;
    const om_model_desc *desc;
    om_device *memory;
    int batch, width, height;
    int sessions;   /* how many in flight make it fastest */
    om_prep prep;   /* how the input is to be written; starts as desc->prep */
    char note[160]; /* for the log: "openvino CPU bf16, 2 streams" */
    void *priv;
};

/* Thread-safety: one thread at a time; `done` comes from the engine's. */
struct om_session {
    om_plan *plan;
    om_tensor input; /* batch x ...; memory of plan->memory */
    om_tensor *outputs;
    int n_outputs;
    size_t item_bytes; /* of one item of the input */
    om_stream
        *stream; /* of plan->memory: submit's work runs in its order, so that gathers into `input` go there
                    without waiting; NULL: they are done when submit is called. Set by session_init */
    om_session_done_fn done;
    void *user;
    om_head_scratch scratch;
    bool in_flight;  /* from a successful submit to the wait that follows */
    bool collecting; /* the wait is one of om_session_collect(): decode comes next, nobody reads `outputs`
                        before */
    void *priv;
};

int om_backend_register(const om_backend_ops *ops);
/* NULL-terminated list of those registered; loads the plug-ins first. */
const om_backend_ops *const *om_backend_list(void);
/* By --device text: "auto", "cpu", "null", "openvino:GPU.0", "cuda:0". *device gets the part after ':' (or
 * NULL), pointing into `text`; "CPU" for "cpu". OM_ERR_ARG: not a device's name, and what there is.
 * OM_ERR_NOT_FOUND: which plug-in is missing and how to get it, or why it does not load. Loads no plug-in but
 * the one it needs. */
int om_backend_select(const char *text, const om_backend_ops **out, const char **device);

int om_plan_compile(const om_backend_ops *ops, const om_compile_params *params, om_plan **out);
void om_plan_destroy(om_plan *p); /* after its sessions */
/* The compiled form (om_free), never empty; OM_ERR_UNSUPPORTED where the backend, or this plan, has none. */
int om_plan_export(om_plan *p, char **blob, size_t *len);
int om_session_create(om_plan *p, om_session **out);
void om_session_destroy(om_session *s);
/* Where item i's picture is to be written. */
void *om_session_item(om_session *s, int i);
/* `done` may be called, and another thread may collect, before this has returned. OM_ERR_ARG while in flight.
 */
int om_session_submit(om_session *s, int n, om_session_done_fn done, void *user);
/* A `done` for those who wait themselves, at once and with nothing else to do: an engine may leave out what
 * telling costs, and may wait awake. */
void om_session_unasked(void *user);
/* The status of the last submit, as often as it is asked. When this has returned, `done` has returned too. */
int om_session_wait(om_session *s);
/* Waits, then decodes item i into out[i] with geo[i] for i < n. */
int om_session_collect(om_session *s, const om_head *head, int n, const om_geometry *geo, om_dets *out);
int om_session_layers(om_session *s, om_layer_time *out, int max);

/* Plug-ins: shared objects `omma-NAME.so` that export omma_plugin(). Looked for in $OMMA_PLUGINS, beside the
 * binary, and where omma was installed; never unloaded. */
typedef struct om_plugin {
    uint32_t api_version;          /* OM_BACKEND_API_VERSION */
    const om_backend_ops *backend; /* NULL: none */
    const om_device_ops *device;   /* NULL: none; at least one of the two */
} om_plugin;
typedef const om_plugin *(*om_plugin_fn)(void);

/* What happened to each plug-in, for `omma info`: path, then "loaded" or the reason. Valid for the process's
 * life. */
typedef struct om_plugin_state {
    const char *name, *path, *state;
    bool loaded;
} om_plugin_state;
size_t om_plugins(const om_plugin_state **out);

#endif
