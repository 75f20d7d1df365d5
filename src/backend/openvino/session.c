/* Requests with memory of ours bound to them: nothing is copied in or out. */
#include <stdio.h>
#include <string.h>

#include "backend/openvino/openvino.h"
#include "base/error.h"
#include "base/mem.h"

#define ALIGN 64

/* Comes from the engine's thread, with failures too: the status is for whoever waits. */
static void OPENVINO_C_API_CALLBACK on_done(void *arg)
{
    om_session *s = arg;
    s->done(s->user);
}

/* Allocates t->data, zeroed, and makes an engine's tensor of it. */
static int bind(om_tensor *t, ov_tensor_t **out)
{
    size_t size = (size_t)om_shape_count(&t->shape) * om_dtype_size(t->dtype);
    t->data = om_aligned_alloc(ALIGN, size ? size : ALIGN);
    if (!t->data) return om_fail_nomem("a session's tensors");
    memset(t->data, 0, size);
    ov_shape_t shape = {0};
    ov_status_e status = ov_shape_create(t->shape.rank, t->shape.dim, &shape);
    if (status == OK) status = ov_tensor_create_from_host_ptr(omov_type(t->dtype), shape, t->data, out);
    ov_shape_free(&shape);
    return status == OK ? OM_OK : omov_fail(OM_ERR_DEVICE, status, "a session's tensors");
}

static int bind_outputs(om_session *s, omov_session *p, const omov_plan *plan)
{
    s->outputs = om_calloc((size_t)plan->n_outputs, sizeof *s->outputs);
    p->outputs = om_calloc((size_t)plan->n_outputs, sizeof *p->outputs);
    if (!s->outputs || !p->outputs) return om_fail_nomem("a session's tensors");
    s->n_outputs = plan->n_outputs;
    for (int i = 0; i < s->n_outputs; i++) {
        s->outputs[i] = plan->outputs[i];
        if (!om_shape_static(&s->outputs[i].shape)) continue;
        int rc = bind(&s->outputs[i], &p->outputs[i]);
        if (rc != OM_OK) return rc;
        ov_status_e status =
            ov_infer_request_set_output_tensor_by_index(p->request, (size_t)i, p->outputs[i]);
        if (status != OK) return omov_fail(OM_ERR_DEVICE, status, "output %d of a session", i);
    }
    return OM_OK;
}

int omov_session_init(om_session *s)
{
    omov_session *p = s->priv;
    const omov_plan *plan = s->plan->priv;
    ov_status_e status = ov_compiled_model_create_infer_request(plan->model, &p->request);
    if (status != OK) return omov_fail(OM_ERR_DEVICE, status, "a session");
    s->input.dtype = s->plan->prep.dtype;
    s->input.shape = omov_input_shape(s->plan, s->plan->prep.layout);
    s->item_bytes =
        (size_t)om_shape_count(&s->input.shape) / (size_t)s->plan->batch * om_dtype_size(s->input.dtype);
    int rc = bind(&s->input, &p->input);
    if (rc != OM_OK) return rc;
    status = ov_infer_request_set_input_tensor(p->request, p->input);
    if (status != OK) return omov_fail(OM_ERR_DEVICE, status, "the input of a session");
    rc = bind_outputs(s, p, plan);
    if (rc != OM_OK) return rc;
    p->callback = (ov_callback_t){.callback_func = on_done, .args = s};
    status = ov_infer_request_set_callback(p->request, &p->callback);
    return status == OK ? OM_OK : omov_fail(OM_ERR_DEVICE, status, "a session");
}

void omov_session_fini(om_session *s)
{
    omov_session *p = s->priv;
    const omov_plan *plan = s->plan->priv;
    if (p->started && ov_infer_request_wait(p->request) != OK) p->started = false;
    ov_infer_request_free(p->request);
    ov_tensor_free(p->input);
    for (int i = 0; i < s->n_outputs; i++) {
        ov_tensor_free(p->outputs[i]);
        if (om_shape_static(&plan->outputs[i].shape)) om_free(s->outputs[i].data);
    }
    om_free(p->outputs);
    om_free(s->outputs);
    om_free(s->input.data);
}

int omov_submit(om_session *s, int n)
{
    omov_session *p = s->priv;
    omov_plan *plan = s->plan->priv;
    p->started = true;
    if (plan->profiling) atomic_fetch_add(&plan->n_runs, 1);
    ov_status_e status = ov_infer_request_start_async(p->request);
    if (status == OK) return OM_OK;
    p->started = false;
    return omov_fail(OM_ERR_DEVICE, status, "an inference of %d does not start", n);
}

/* The outputs whose shapes the inference decided. */
static int take_output(om_session *s, omov_session *p, int i)
{
    ov_tensor_free(p->outputs[i]);
    p->outputs[i] = NULL;
    ov_shape_t shape = {0};
    ov_status_e status = ov_infer_request_get_output_tensor_by_index(p->request, (size_t)i, &p->outputs[i]);
    if (status == OK) status = ov_tensor_get_shape(p->outputs[i], &shape);
    if (status == OK) status = ov_tensor_data(p->outputs[i], &s->outputs[i].data);
    int rc = OM_OK;
    if (status != OK) rc = omov_fail(OM_ERR_DEVICE, status, "output %d", i);
    else if (shape.rank > OM_MAX_RANK)
        rc = om_fail(OM_ERR_UNSUPPORTED, "output %d has more than %d dims", i, OM_MAX_RANK);
    s->outputs[i].shape.rank = rc == OM_OK ? (int)shape.rank : 0;
    for (int k = 0; k < s->outputs[i].shape.rank; k++) s->outputs[i].shape.dim[k] = shape.dims[k];
    ov_shape_free(&shape);
    return rc;
}

int omov_wait(om_session *s)
{
    omov_session *p = s->priv;
    const omov_plan *plan = s->plan->priv;
    if (!p->started) return OM_OK;
    ov_status_e status = ov_infer_request_wait(p->request);
    if (status != OK) return omov_fail(OM_ERR_DEVICE, status, "the inference failed");
    for (int i = 0; i < s->n_outputs; i++) {
        if (om_shape_static(&plan->outputs[i].shape)) continue;
        int rc = take_output(s, p, i);
        if (rc != OM_OK) return rc;
    }
    return OM_OK;
}

int omov_layers(om_session *s, om_layer_time *out, int max)
{
    omov_session *p = s->priv;
    omov_plan *plan = s->plan->priv;
    if (!plan->profiling)
        return om_fail(OM_ERR_ARG, "timings of layers need a plan that was compiled for profiling");
    ov_profiling_info_list_t list = {0};
    ov_status_e status = ov_infer_request_get_profiling_info(p->request, &list);
    if (status != OK) return omov_fail(OM_ERR_DEVICE, status, "timings of layers");
    int n = (int)list.size;
    for (int i = 0; i < n && i < max; i++) {
        const ov_profiling_info_t *l = &list.profiling_infos[i];
        snprintf(out[i].name, sizeof out[i].name, "%s", l->node_name);
        snprintf(out[i].type, sizeof out[i].type, "%s", l->node_type);
        snprintf(out[i].exec, sizeof out[i].exec, "%s", l->exec_type);
        out[i].ns = l->real_time * 1000;
        out[i].ran = l->status == EXECUTED;
        out[i].runs = plan->means ? atomic_load(&plan->n_runs) : 1;
    }
    ov_profiling_info_list_free(&list);
    return n;
}
