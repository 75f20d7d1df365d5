/* What the plug-in's files share. */
#ifndef OM_BACKEND_OPENVINO_OPENVINO_H
#define OM_BACKEND_OPENVINO_OPENVINO_H

#include <openvino/c/openvino.h>
#include <stdatomic.h>

#include "backend/backend.h"

/* Of om_plan.priv. */
typedef struct omov_plan {
    bool have_core;
    ov_core_t *own_core; /* of a plan that was imported; else NULL: the process's one */
    ov_compiled_model_t *model;
    om_tensor *outputs; /* types and shapes; OM_DIM_DYNAMIC where only the picture decides */
    int n_outputs;
    bool profiling;
    bool means;          /* the engine's timings are means over all inferences: those of CPUs are */
    atomic_llong n_runs; /* inferences started; only counted for profiling */
} omov_plan;

/* Of om_session.priv. */
typedef struct omov_session {
    ov_infer_request_t *request;
    ov_callback_t callback; /* the request keeps a copy of its fields; the session outlives the request */
    ov_tensor_t *input;
    ov_tensor_t **outputs; /* bound ones of ours, or those that the last inference made */
    bool started;
} omov_session;

/* The process's one core, made for the first user and freed with the last. Thread-safety: any thread. */
int omov_core_get(ov_core_t **out);
void omov_core_put(void);

/* Returns `code` with "what: the engine's own reason" in the error slot, on one line. */
int omov_fail(int code, ov_status_e status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

ov_element_type_e omov_type(om_dtype t);  /* DYNAMIC: the engine has none such */
om_dtype omov_dtype(ov_element_type_e t); /* OM_DTYPE_NONE: omma has none such */

/* The static shape of a plan's input. */
om_shape omov_input_shape(const om_plan *plan, om_layout layout);
/* Reads a graph; the caller frees *out. */
int omov_read(ov_core_t *core, const om_graph *g, ov_model_t **out);

/* The same model without activations of signed bytes around another number than zero, the caller's; NULL
 * where there are none. */
int omov_make_unsigned(const om_graph *g, om_graph **out);
/* The same model with GELUs behind matrix products that stay nodes of their own, the caller's; NULL where
 * there are none. */
int omov_part_gelus(const om_graph *g, om_graph **out);
/* A living node of ONNX's own operator `op`. */
bool omov_is_op(const om_graph *g, int node, const char *op);

int omov_compile(om_plan *plan, const om_compile_params *params);
void omov_plan_fini(om_plan *plan);
int omov_export(om_plan *plan, char **blob, size_t *len);
int omov_import(om_plan *plan, const om_compile_params *params, const void *blob, size_t len);

#define OMOV_MAX_PROPERTIES 12

/* Property values are texts that live until the model is compiled. */
typedef struct omov_properties {
    ov_property_t items[OMOV_MAX_PROPERTIES];
    char numbers[OMOV_MAX_PROPERTIES][16];
    size_t n;
} omov_properties;

/* What a plan's parameters mean to the engine. */
void omov_choose_properties(omov_properties *l, const om_compile_params *params, const char *device);
/* How the engine's own input is written: plan->prep. True: as bytes that it normalises. */
bool omov_choose_prep(om_plan *plan, bool keep_prep);
/* After p->model is there: outputs, sessions, note. */
int omov_describe(om_plan *plan, const om_compile_params *params, const char *device);
int omov_supports(const char *device, const om_graph *g, const om_node *n, const char **why);

extern const om_part_ops omov_parts; /* part.c */

int omov_session_init(om_session *s);
void omov_session_fini(om_session *s);
int omov_submit(om_session *s, int n);
int omov_wait(om_session *s);
int omov_layers(om_session *s, om_layer_time *out, int max);

#endif
