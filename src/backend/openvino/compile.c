/* From a graph to a compiled model of one static shape. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/openvino/openvino.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

om_shape omov_input_shape(const om_plan *plan, om_layout layout)
{
    int64_t c = plan->prep.channels == OM_CHANNELS_GRAY ? 1 : 3, n = plan->batch, h = plan->height,
            w = plan->width;
    return layout == OM_LAYOUT_NHWC ? om_shape_make(4, n, h, w, c) : om_shape_make(4, n, c, h, w);
}

int omov_read(ov_core_t *core, const om_graph *g, ov_model_t **out)
{
    *out = NULL;
    char *bytes = NULL;
    size_t len = 0;
    om_graph *same;
    int rc = omov_make_unsigned(g, &same);
    if (rc == OM_OK) rc = om_model_serialize(same ? same : g, &bytes, &len);
    om_graph_destroy(same);
    if (rc != OM_OK) return rc;
    ov_status_e status = ov_core_read_model_from_memory_buffer(core, bytes, len, NULL, out);
    om_free(bytes);
    if (status != OK) return omov_fail(OM_ERR_UNSUPPORTED, status, "OpenVINO cannot read the model");
    return OM_OK;
}

/* As the device computes it fastest. */
static int read_for(ov_core_t *core, const om_graph *g, const char *device, ov_model_t **out)
{
    om_graph *apart = NULL;
    bool narrow = !strcmp(device, "CPU") && !(om_cpu_flags() & OM_CPU_AVX512);
    int rc = narrow ? omov_part_gelus(g, &apart) : OM_OK;
    *out = NULL;
    if (rc == OM_OK) rc = omov_read(core, apart ? apart : g, out);
    om_graph_destroy(apart);
    return rc;
}

/* The reader's complaint may be of a node far behind the one it does not know: then that one is named. */
static void name_foreign_node(const om_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        bool foreign = n->domain && n->domain[0] && strcmp(n->domain, "ai.onnx");
        const char *why;
        if (!foreign || omov_supports("CPU", g, n, &why)) continue;
        om_fail(OM_ERR_UNSUPPORTED, "node '%s': OpenVINO does not know the operator %s of domain '%s'",
                n->name, n->op, n->domain);
        return;
    }
}

static int reshape(ov_model_t *model, const om_plan *plan)
{
    om_shape shape = omov_input_shape(plan, plan->desc->prep.layout);
    ov_partial_shape_t partial = {0};
    ov_status_e status = ov_partial_shape_create_static(shape.rank, shape.dim, &partial);
    if (status == OK) status = ov_model_reshape_single_input(model, partial);
    ov_partial_shape_free(&partial);
    if (status == OK) return OM_OK;
    char text[OM_SHAPE_TEXT];
    om_shape_text(&shape, text);
    return omov_fail(OM_ERR_UNSUPPORTED, status, "the model cannot take an input of %s", text);
}

static int input_type(const ov_model_t *model, ov_element_type_e *out)
{
    ov_output_const_port_t *port = NULL;
    ov_status_e status = ov_model_const_input(model, &port);
    if (status == OK) status = ov_port_get_element_type(port, out);
    ov_output_const_port_free(port);
    return status == OK ? OM_OK : omov_fail(OM_ERR_UNSUPPORTED, status, "the model's input");
}

/* Bytes are a quarter of the floats to write and to read; the engine converts them at its first layer. */
static bool takes_bytes(const om_prep *p)
{
    for (int c = 0; c < 3; c++)
        if (p->scale[c] == 0) return false;
    return p->dtype == OM_DTYPE_F32;
}

static ov_status_e set_layout(ov_preprocess_input_tensor_info_t *tensor,
                              ov_preprocess_input_model_info_t *model, om_layout layout)
{
    ov_layout_t *l = NULL;
    ov_status_e status = ov_layout_create(layout == OM_LAYOUT_NHWC ? "NHWC" : "NCHW", &l);
    if (status == OK && tensor) status = ov_preprocess_input_tensor_info_set_layout(tensor, l);
    if (status == OK && model) status = ov_preprocess_input_model_info_set_layout(model, l);
    ov_layout_free(l);
    return status;
}

/* (v - mean) * scale, as the engine spells it: minus, then divided by. */
static ov_status_e add_normalisation(ov_preprocess_preprocess_steps_t *steps, const om_prep *p)
{
    int n = p->channels == OM_CHANNELS_GRAY ? 1 : 3;
    bool mean = false, scale = false;
    float divisor[3];
    for (int c = 0; c < n; c++) {
        divisor[c] = 1 / p->scale[c];
        mean |= p->mean[c] != 0;
        scale |= p->scale[c] != 1;
    }
    ov_status_e status = ov_preprocess_preprocess_steps_convert_element_type(steps, F32);
    if (status == OK && mean) status = ov_preprocess_preprocess_steps_mean_multi_channels(steps, p->mean, n);
    if (status == OK && scale)
        status = ov_preprocess_preprocess_steps_scale_multi_channels(steps, divisor, n);
    return status;
}

/* Replaces *model by one whose input is written as plan->prep says and whose own conversion does the rest. */
static int fold_input(ov_model_t **model, const om_plan *plan, bool normalise)
{
    ov_preprocess_prepostprocessor_t *pp = NULL;
    ov_preprocess_input_info_t *info = NULL;
    ov_preprocess_input_tensor_info_t *tensor = NULL;
    ov_preprocess_input_model_info_t *inner = NULL;
    ov_preprocess_preprocess_steps_t *steps = NULL;
    ov_model_t *built = NULL;
    ov_status_e status = ov_preprocess_prepostprocessor_create(*model, &pp);
    if (status == OK) status = ov_preprocess_prepostprocessor_get_input_info(pp, &info);
    if (status == OK) status = ov_preprocess_input_info_get_tensor_info(info, &tensor);
    if (status == OK) status = ov_preprocess_input_info_get_model_info(info, &inner);
    if (status == OK) status = ov_preprocess_input_info_get_preprocess_steps(info, &steps);
    if (status == OK)
        status = ov_preprocess_input_tensor_info_set_element_type(tensor, omov_type(plan->prep.dtype));
    if (status == OK) status = set_layout(tensor, NULL, plan->prep.layout);
    if (status == OK) status = set_layout(NULL, inner, plan->desc->prep.layout);
    if (status == OK && normalise) status = add_normalisation(steps, &plan->desc->prep);
    if (status == OK) status = ov_preprocess_prepostprocessor_build(pp, &built);
    ov_preprocess_preprocess_steps_free(steps);
    ov_preprocess_input_model_info_free(inner);
    ov_preprocess_input_tensor_info_free(tensor);
    ov_preprocess_input_info_free(info);
    ov_preprocess_prepostprocessor_free(pp);
    if (status != OK)
        return omov_fail(OM_ERR_UNSUPPORTED, status, "an input of %s", om_dtype_name(plan->prep.dtype));
    ov_model_free(*model);
    *model = built;
    return OM_OK;
}

bool omov_choose_prep(om_plan *plan, bool keep_prep)
{
    if (keep_prep || !takes_bytes(&plan->desc->prep)) return false;
    plan->prep.dtype = OM_DTYPE_U8;
    plan->prep.layout = OM_LAYOUT_NHWC;
    return true;
}

static int prepare_input(ov_model_t **model, om_plan *plan, bool keep_prep)
{
    ov_element_type_e type;
    int rc = input_type(*model, &type);
    if (rc != OM_OK) return rc;
    bool bytes = omov_choose_prep(plan, keep_prep);
    if (omov_type(plan->prep.dtype) == type && plan->prep.layout == plan->desc->prep.layout) return OM_OK;
    return fold_input(model, plan, bytes);
}

static bool is_quantised(const om_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const om_node *n = &g->nodes[i];
        if (!n->dead && (strcmp(n->op, "DequantizeLinear") == 0 || strcmp(n->op, "QLinearConv") == 0))
            return true;
    }
    return false;
}

static void add_text(omov_properties *l, const char *key, const char *value)
{
    l->items[l->n++] = (ov_property_t){key, value};
}

static void add_number(omov_properties *l, const char *key, int value)
{
    snprintf(l->numbers[l->n], sizeof l->numbers[0], "%d", value);
    add_text(l, key, l->numbers[l->n]);
}

static const char *precision_name(om_precision p)
{
    switch (p) {
    case OM_PRECISION_F32: return "f32";
    case OM_PRECISION_F16: return "f16";
    case OM_PRECISION_BF16: return "bf16";
    default: return NULL;
    }
}

/* What the engine would take by itself counts the machine's cores, not the ones a quota leaves to this
 * process. */
static int cpu_threads(const om_compile_params *params)
{
    if (params->threads) return params->threads;
    int allowed = om_cpu_count();
    return allowed < (int)sysconf(_SC_NPROCESSORS_ONLN) ? allowed : 0;
}

void omov_choose_properties(omov_properties *l, const om_compile_params *params, const char *device)
{
    add_text(l, ov_property_key_hint_performance_mode,
             params->mode == OM_MODE_LATENCY ? "LATENCY" : "THROUGHPUT");
    const char *precision = precision_name(params->precision);
    if (precision) add_text(l, ov_property_key_hint_inference_precision, precision);
    if (strcmp(device, "CPU") == 0) {
        int threads = cpu_threads(params);
        if (threads) add_number(l, ov_property_key_inference_num_threads, threads);
        if (params->sessions) add_number(l, ov_property_key_num_streams, params->sessions);
        /* Decoders run on the same cores; a pinned thread waits behind one while another core is free. */
        add_text(l, ov_property_key_hint_enable_cpu_pinning, "NO");
    } else if (params->sessions) {
        add_number(l, ov_property_key_hint_num_requests, params->sessions);
    }
    if (params->cache_dir) add_text(l, ov_property_key_cache_dir, params->cache_dir);
    if (params->profiling) add_text(l, ov_property_key_enable_profiling, "YES");
}

/* A refused device gets the list of those that are there. */
static int compile_failed(ov_core_t *core, ov_status_e status, const char *device)
{
    omov_fail(OM_ERR_UNSUPPORTED, status, "OpenVINO cannot compile the model for %s", device);
    ov_available_devices_t list = {0};
    size_t n = strcspn(device, ".:(");
    bool known = strncmp(device, "AUTO", 4) == 0 || strncmp(device, "HETERO", 6) == 0 ||
                 strncmp(device, "MULTI", 5) == 0;
    om_str names = {0};
    if (ov_core_get_available_devices(core, &list) == OK) {
        for (size_t i = 0; i < list.size; i++) {
            known |= strncmp(list.devices[i], device, n) == 0;
            om_str_addf(&names, "%s%s", i ? ", " : "", list.devices[i]);
        }
        ov_available_devices_free(&list);
        if (!known)
            om_fail(OM_ERR_NOT_FOUND, "OpenVINO has no device '%s' here; there are: %s", device,
                    om_str_get(&names));
    }
    om_str_fini(&names);
    return known ? OM_ERR_UNSUPPORTED : OM_ERR_NOT_FOUND;
}

static int describe_output(const ov_output_const_port_t *port, om_tensor *out)
{
    ov_partial_shape_t shape = {0};
    ov_element_type_e type = DYNAMIC;
    char *name = NULL;
    ov_status_e status = ov_port_get_element_type(port, &type);
    if (status == OK) status = ov_port_get_partial_shape(port, &shape);
    if (status != OK) return omov_fail(OM_ERR_UNSUPPORTED, status, "the model's outputs");
    int rc = OM_OK;
    bool ranked = !ov_rank_is_dynamic(shape.rank);
    out->dtype = omov_dtype(type);
    if (out->dtype == OM_DTYPE_NONE || (ranked && shape.rank.max > OM_MAX_RANK)) {
        if (ov_port_get_any_name(port, &name) != OK) name = NULL;
        rc = om_fail(OM_ERR_UNSUPPORTED, "output '%s' has a type or rank that omma does not know",
                     name ? name : "?");
        ov_free(name);
    } else {
        out->shape.rank = ranked ? (int)shape.rank.max : -1;
        for (int i = 0; i < out->shape.rank; i++)
            out->shape.dim[i] = ov_dimension_is_dynamic(shape.dims[i]) ? OM_DIM_DYNAMIC : shape.dims[i].max;
    }
    ov_partial_shape_free(&shape);
    return rc;
}

static int describe_outputs(omov_plan *p)
{
    size_t n = 0;
    ov_status_e status = ov_compiled_model_outputs_size(p->model, &n);
    if (status != OK) return omov_fail(OM_ERR_UNSUPPORTED, status, "the model's outputs");
    p->outputs = om_calloc(n, sizeof *p->outputs);
    if (!p->outputs) return om_fail_nomem("the outputs' shapes");
    p->n_outputs = (int)n;
    for (size_t i = 0; i < n; i++) {
        ov_output_const_port_t *port = NULL;
        status = ov_compiled_model_output_by_index(p->model, i, &port);
        if (status != OK) return omov_fail(OM_ERR_UNSUPPORTED, status, "the model's outputs");
        int rc = describe_output(port, &p->outputs[i]);
        ov_output_const_port_free(port);
        if (rc != OM_OK) return rc;
    }
    return OM_OK;
}

/* A property of the compiled model as a number; `def` where it has none. */
static int get_number(const omov_plan *p, const char *key, int def)
{
    char *text = NULL;
    if (ov_compiled_model_get_property(p->model, key, &text) != OK) return def;
    int v = atoi(text);
    ov_free(text);
    return v > 0 ? v : def;
}

static void write_note(om_plan *plan, const om_compile_params *params, const char *device)
{
    omov_plan *p = plan->priv;
    char *text = NULL;
    if (ov_compiled_model_get_property(p->model, ov_property_key_hint_inference_precision, &text) != OK)
        text = NULL;
    const char *asked = precision_name(params->precision);
    if (asked && text && strcmp(asked, text) != 0)
        om_log(OM_LOG_WARN, "%s has no %s; computing in %s", device, asked, text);
    int streams = get_number(p, ov_property_key_num_streams, 0);
    int threads = get_number(p, ov_property_key_inference_num_threads, 0);
    int len = snprintf(plan->note, sizeof plan->note, "openvino %s %s%s, %s input", device, text ? text : "",
                       is_quantised(params->graph) ? "+int8" : "", om_dtype_name(plan->prep.dtype));
    if (streams && len > 0 && (size_t)len < sizeof plan->note)
        snprintf(plan->note + len, sizeof plan->note - (size_t)len, ", %d stream%s, %d thread%s", streams,
                 streams > 1 ? "s" : "", threads, threads > 1 ? "s" : "");
    ov_free(text);
}

int omov_describe(om_plan *plan, const om_compile_params *params, const char *device)
{
    omov_plan *p = plan->priv;
    int rc = describe_outputs(p);
    if (rc != OM_OK) return rc;
    plan->sessions = get_number(p, ov_property_key_optimal_number_of_infer_requests, 1);
    write_note(plan, params, device);
    return OM_OK;
}

int omov_compile(om_plan *plan, const om_compile_params *params)
{
    omov_plan *p = plan->priv;
    const char *device = params->device ? params->device : "CPU";
    if (plan->memory->ops->memory != OM_MEMORY_HOST)
        return om_fail(OM_ERR_UNSUPPORTED, "OpenVINO reads its input from the host's memory, not from %s",
                       plan->memory->id);
    if (params->precision == OM_PRECISION_INT8 && !is_quantised(params->graph))
        return om_fail(
            OM_ERR_ARG,
            "precision int8: the model carries no quantisation (QuantizeLinear, DequantizeLinear)");
    if (params->precision == OM_PRECISION_TF32)
        return om_fail(OM_ERR_UNSUPPORTED,
                       "precision tf32: OpenVINO has none; expected f32, bf16, f16 or int8");
    ov_core_t *core;
    int rc = omov_core_get(&core);
    if (rc != OM_OK) return rc;
    p->have_core = true;
    p->profiling = params->profiling;
    p->means = strcmp(device, "CPU") == 0;

    ov_model_t *model;
    rc = read_for(core, params->graph, device, &model);
    if (rc == OM_ERR_UNSUPPORTED) name_foreign_node(params->graph);
    if (rc != OM_OK) return rc;
    rc = reshape(model, plan);
    if (rc == OM_OK) rc = prepare_input(&model, plan, params->keep_prep);
    if (rc == OM_OK) {
        omov_properties props = {.n = 0};
        omov_choose_properties(&props, params, device);
        ov_status_e status =
            ov_core_compile_model_props(core, model, device, props.n, props.items, &p->model);
        if (status != OK) rc = compile_failed(core, status, device);
    }
    ov_model_free(model);
    return rc == OM_OK ? omov_describe(plan, params, device) : rc;
}

void omov_plan_fini(om_plan *plan)
{
    omov_plan *p = plan->priv;
    ov_compiled_model_free(p->model);
    om_free(p->outputs);
    ov_core_free(p->own_core);
    if (p->have_core) omov_core_put();
}
