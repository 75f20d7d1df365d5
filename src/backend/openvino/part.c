/* Parts of models that another engine runs: what it lacks is computed here, in the host's memory. */
#include <string.h>

#include "backend/openvino/openvino.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"

struct om_backend_part {
    ov_compiled_model_t *model;
    size_t n_inputs, n_outputs;
};

struct om_backend_part_run {
    om_backend_part *part;
    ov_infer_request_t *request;
    ov_tensor_t **inputs, **outputs; /* outputs: ours that are bound, or those of the last run */
    bool *bound;                     /* of each output */
};

static void part_destroy(om_backend_part *p)
{
    if (!p) return;
    ov_compiled_model_free(p->model);
    om_free(p);
    omov_core_put();
}

static int compile_model(ov_core_t *core, const om_graph *g, int threads, om_backend_part *p)
{
    ov_model_t *model = NULL;
    char number[16];
    ov_property_t props[4] = {{ov_property_key_hint_performance_mode, "LATENCY"},
                              {ov_property_key_hint_inference_precision, "f32"},
                              {ov_property_key_hint_enable_cpu_pinning, "NO"},
                              {ov_property_key_inference_num_threads, number}};
    snprintf(number, sizeof number, "%d", threads ? threads : om_cpu_count());
    int err = omov_read(core, g, &model);
    if (err) return err;
    ov_status_e status =
        ov_core_compile_model_props(core, model, "CPU", sizeof props / sizeof props[0], props, &p->model);
    if (status == OK) status = ov_compiled_model_inputs_size(p->model, &p->n_inputs);
    if (status == OK) status = ov_compiled_model_outputs_size(p->model, &p->n_outputs);
    ov_model_free(model);
    return status == OK ? OM_OK : omov_fail(OM_ERR_UNSUPPORTED, status, "OpenVINO cannot compile the part");
}

static int part_compile(const om_graph *g, int threads, om_backend_part **out)
{
    ov_core_t *core;
    *out = NULL;
    int err = omov_core_get(&core);
    if (err) return err;
    om_backend_part *p = om_calloc(1, sizeof *p);
    if (!p) {
        omov_core_put();
        return om_fail_nomem("a part of a model");
    }
    err = compile_model(core, g, threads, p);
    if (err) part_destroy(p);
    else *out = p;
    return err;
}

static void part_close(om_backend_part_run *r)
{
    if (!r) return;
    ov_infer_request_free(r->request);
    for (size_t i = 0; r->inputs && i < r->part->n_inputs; i++) ov_tensor_free(r->inputs[i]);
    for (size_t i = 0; r->outputs && i < r->part->n_outputs; i++) ov_tensor_free(r->outputs[i]);
    om_free(r->inputs);
    om_free(r->outputs);
    om_free(r->bound);
    om_free(r);
}

static int check_type(const ov_compiled_model_t *model, bool input, size_t i, om_dtype want)
{
    ov_output_const_port_t *port = NULL;
    ov_element_type_e type = DYNAMIC;
    ov_status_e status = input ? ov_compiled_model_input_by_index(model, i, &port)
                               : ov_compiled_model_output_by_index(model, i, &port);
    if (status == OK) status = ov_port_get_element_type(port, &type);
    ov_output_const_port_free(port);
    if (status != OK) return omov_fail(OM_ERR_UNSUPPORTED, status, "a part's ports");
    if (type == omov_type(want)) return OM_OK;
    return om_fail(OM_ERR_ARG, "%s %zu of a part is of type %s, expected %s", input ? "input" : "output", i,
                   om_dtype_name(omov_dtype(type)), om_dtype_name(want));
}

/* Makes an engine's tensor of memory of the caller's. */
static int wrap(const om_tensor *t, ov_tensor_t **out)
{
    ov_shape_t shape = {0};
    ov_status_e status = ov_shape_create(t->shape.rank, t->shape.dim, &shape);
    if (status == OK) status = ov_tensor_create_from_host_ptr(omov_type(t->dtype), shape, t->data, out);
    ov_shape_free(&shape);
    return status == OK ? OM_OK : omov_fail(OM_ERR_DEVICE, status, "a part's tensors");
}

static int bind(om_backend_part_run *r, const om_tensor *inputs, const om_tensor *outputs)
{
    const om_backend_part *p = r->part;
    int err = OM_OK;
    for (size_t i = 0; i < p->n_inputs && !err; i++) {
        err = check_type(p->model, true, i, inputs[i].dtype);
        if (!err) err = wrap(&inputs[i], &r->inputs[i]);
        ov_status_e status =
            err ? OK : ov_infer_request_set_input_tensor_by_index(r->request, i, r->inputs[i]);
        if (status != OK) err = omov_fail(OM_ERR_DEVICE, status, "input %zu of a part", i);
    }
    for (size_t i = 0; i < p->n_outputs && !err; i++) {
        err = check_type(p->model, false, i, outputs[i].dtype);
        if (err || !outputs[i].data) continue;
        err = wrap(&outputs[i], &r->outputs[i]);
        ov_status_e status =
            err ? OK : ov_infer_request_set_output_tensor_by_index(r->request, i, r->outputs[i]);
        if (status != OK) err = omov_fail(OM_ERR_DEVICE, status, "output %zu of a part", i);
        r->bound[i] = true;
    }
    return err;
}

static int part_open(om_backend_part *p, const om_tensor *inputs, int n_inputs, const om_tensor *outputs,
                     int n_outputs, om_backend_part_run **out)
{
    *out = NULL;
    if ((size_t)n_inputs != p->n_inputs || (size_t)n_outputs != p->n_outputs)
        return om_fail(OM_ERR_ARG, "a part of %zu inputs and %zu outputs gets %d and %d", p->n_inputs,
                       p->n_outputs, n_inputs, n_outputs);
    om_backend_part_run *r = om_calloc(1, sizeof *r);
    if (!r) return om_fail_nomem("a part's run");
    r->part = p;
    r->inputs = om_calloc(p->n_inputs + 1, sizeof *r->inputs);
    r->outputs = om_calloc(p->n_outputs + 1, sizeof *r->outputs);
    r->bound = om_calloc(p->n_outputs + 1, sizeof *r->bound);
    int err = r->inputs && r->outputs && r->bound ? OM_OK : om_fail_nomem("a part's run");
    ov_status_e status = err ? OK : ov_compiled_model_create_infer_request(p->model, &r->request);
    if (status != OK) err = omov_fail(OM_ERR_DEVICE, status, "a part's run");
    if (!err) err = bind(r, inputs, outputs);
    if (err) part_close(r);
    else *out = r;
    return err;
}

/* An output whose shape the run decided. */
static int take(om_backend_part_run *r, size_t i, om_tensor *out)
{
    ov_shape_t shape = {0};
    ov_tensor_free(r->outputs[i]);
    r->outputs[i] = NULL;
    ov_status_e status = ov_infer_request_get_output_tensor_by_index(r->request, i, &r->outputs[i]);
    if (status == OK) status = ov_tensor_get_shape(r->outputs[i], &shape);
    if (status == OK) status = ov_tensor_data(r->outputs[i], &out->data);
    int err = OM_OK;
    if (status != OK) err = omov_fail(OM_ERR_DEVICE, status, "output %zu of a part", i);
    else if (shape.rank > OM_MAX_RANK)
        err = om_fail(OM_ERR_UNSUPPORTED, "output %zu of a part has more than %d dims", i, OM_MAX_RANK);
    out->shape.rank = err ? 0 : (int)shape.rank;
    for (int k = 0; k < out->shape.rank; k++) out->shape.dim[k] = shape.dims[k];
    ov_shape_free(&shape);
    return err;
}

static int part_run(om_backend_part_run *r, om_tensor *outputs)
{
    ov_status_e status = ov_infer_request_infer(r->request);
    if (status != OK) return omov_fail(OM_ERR_DEVICE, status, "a part of the model fails on the CPU");
    int err = OM_OK;
    for (size_t i = 0; i < r->part->n_outputs && !err; i++)
        if (!r->bound[i]) err = take(r, i, &outputs[i]);
    return err;
}

const om_part_ops omov_parts = {
    .compile = part_compile,
    .destroy = part_destroy,
    .open = part_open,
    .close = part_close,
    .run = part_run,
};
