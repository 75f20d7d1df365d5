/* Sessions: one batch in flight on a stream of its own, replayed as a CUDA graph. */
#include <cuda_runtime_api.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "backend/cuda/user_op.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "device/cuda/cuda.h"
#include "trace/trace.h"

#define AWAKE_NS (20 * OM_NS_PER_MS)

static int check(const omcu_plan *p, cudaError_t e, const char *doing)
{
    return om_cuda_check(p->device, (int)e, doing);
}

const omcu_program *omcu_first_program(const omcu_plan *p)
{
    return p->chains[0] ? p->chains[0]->stages[0].program : p->programs[0];
}

static bool is_staged(const om_session *s) { return s->plan->memory->ops->memory == OM_MEMORY_HOST; }

/* With a mark before each step and two behind the last: what lies between those two is what a mark costs.
 * `flags` cudaEventRecordExternal: into a graph that is being captured. */
static int run_marked(const omcu_plan *p, omcu_session *c, unsigned flags)
{
    const omcu_program *top = p->programs[0];
    bool told = om_trace_has_tool();
    int err = OM_OK;
    for (int i = 0; i < top->n_steps + 2 && !err; i++) {
        err = check(p, cudaEventRecordWithFlags(c->marks[i], c->stream, flags), "recording an event");
        if (err || i >= top->n_steps) continue;
        const omcu_step *step = &top->steps[i];
        char name[sizeof OM_TRACE_STEP + 16 + OMCU_NAME];
        snprintf(name, sizeof name, OM_TRACE_STEP "%d %s", i, step->name);
        if (told) om_trace_tool_begin(name, i);
        err = omcu_step_run(top, step, &c->binding, c->stream);
        if (told) om_trace_tool_end();
    }
    return err;
}

/* The graph of a rung; a program that cannot be captured is launched step by step. */
static void capture(om_session *s, int rung)
{
    const omcu_plan *p = s->plan->priv;
    omcu_session *c = s->priv;
    cudaGraph_t graph = NULL;
    if (cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) return;
    int err = p->profiling ? run_marked(p, c, cudaEventRecordExternal)
                           : omcu_run(p->programs[rung], &c->binding, c->stream);
    if (cudaStreamEndCapture(c->stream, &graph) != cudaSuccess) graph = NULL;
    if (!err && graph && cudaGraphInstantiate(&c->graphs[rung], graph, 0) != cudaSuccess)
        c->graphs[rung] = NULL;
    if (graph) (void)cudaGraphDestroy(graph);
    if (!c->graphs[rung]) {
        (void)cudaGetLastError();
        om_log(OM_LOG_DEBUG, "cuda: batch %d runs without a graph", p->rungs[rung]);
    } else {
        (void)cudaGraphUpload(c->graphs[rung], c->stream);
    }
}

static int alloc_outputs(om_session *s)
{
    const omcu_plan *p = s->plan->priv;
    const omcu_program *top = p->programs[0];
    omcu_session *c = s->priv;
    s->outputs = om_calloc((size_t)top->n_outputs + 1, sizeof *s->outputs);
    c->device_outputs = om_calloc((size_t)top->n_outputs + 1, sizeof *c->device_outputs);
    if (!s->outputs || !c->device_outputs) return om_fail_nomem("a session's tensors");
    c->binding.outputs = c->device_outputs;
    s->n_outputs = top->n_outputs;
    int err = OM_OK;
    for (int i = 0; i < top->n_outputs && !err; i++) {
        s->outputs[i] = top->out[i];
        size_t bytes = top->buffers[top->outputs[i]].bytes;
        err = om_device_pinned_alloc(p->device, bytes, &s->outputs[i].data);
        if (!err) err = om_device_mem_alloc_for(p->device, OM_PURPOSE_OUTPUTS, bytes, &c->device_outputs[i]);
    }
    return err;
}

static int alloc_input(om_session *s)
{
    const om_plan *plan = s->plan;
    const omcu_plan *p = plan->priv;
    omcu_session *c = s->priv;
    int64_t ch = plan->prep.channels == OM_CHANNELS_GRAY ? 1 : 3, n = plan->batch, h = plan->height,
            w = plan->width;
    bool nhwc = plan->prep.layout == OM_LAYOUT_NHWC;
    s->input.dtype = plan->prep.dtype;
    s->input.shape = nhwc ? om_shape_make(4, n, h, w, ch) : om_shape_make(4, n, ch, h, w);
    s->item_bytes = (size_t)(ch * h * w) * om_dtype_size(plan->prep.dtype);
    c->binding.inputs = c->inputs;
    size_t bytes = s->item_bytes * (size_t)n;
    const omcu_program *first = omcu_first_program(p);
    if (!first || bytes != first->buffers[first->inputs[0]].bytes)
        return om_fail(OM_ERR_UNSUPPORTED, "the model's input has not the %lld channels of a picture",
                       (long long)ch);
    int err = om_device_mem_alloc_for(p->device, OM_PURPOSE_INPUTS, bytes, &c->inputs[0]);
    if (!err && is_staged(s)) err = om_device_pinned_alloc(p->device, bytes, &s->input.data);
    if (!err && !is_staged(s)) s->input.data = c->inputs[0];
    if (!err && is_staged(s)) memset(s->input.data, 0, bytes);
    return err ? err : check(p, cudaMemsetAsync(c->inputs[0], 0, bytes, c->stream), "clearing an input");
}

static int make_marks(om_session *s)
{
    const omcu_plan *p = s->plan->priv;
    omcu_session *c = s->priv;
    int n = p->programs[0]->n_steps + 2;
    c->marks = om_calloc((size_t)n, sizeof *c->marks);
    if (!c->marks) return om_fail_nomem("a session's marks");
    int err = OM_OK;
    for (int i = 0; i < n && !err; i++) err = check(p, cudaEventCreate(&c->marks[i]), "making an event");
    return err;
}

static void need_memory(const omcu_program *p, size_t *arena, size_t *workspace)
{
    if (p->arena > *arena) *arena = p->arena;
    if (p->workspace > *workspace) *workspace = p->workspace;
}

int omcu_session_init(om_session *s)
{
    const omcu_plan *p = s->plan->priv;
    omcu_session *c = s->priv;
    size_t arena = 1, workspace = 1;
    for (int i = 0; i < p->n_rungs; i++) {
        const omcu_chain *chain = p->chains[i];
        if (p->programs[i]) need_memory(p->programs[i], &arena, &workspace);
        for (int k = 0; chain && k < chain->n_stages; k++)
            if (chain->stages[k].program) need_memory(chain->stages[k].program, &arena, &workspace);
    }
    int err = om_cuda_enter(p->device);
    if (!err) err = check(p, cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "making a stream");
    if (!err)
        err = check(p, cudaEventCreateWithFlags(&c->done, cudaEventDisableTiming | cudaEventBlockingSync),
                    "making an event");
    if (!err) err = om_device_mem_alloc_for(p->device, OM_PURPOSE_WORK, arena, &c->binding.arena);
    if (!err) err = om_device_mem_alloc_for(p->device, OM_PURPOSE_WORK, workspace, &c->binding.workspace);
    if (!err && !p->chains[0]) err = alloc_outputs(s);
    if (!err) err = alloc_input(s);
    if (!err && p->chains[0]) err = omcu_chain_session_init(s);
    if (!err && p->profiling && !p->chains[0]) err = make_marks(s);
    /* A tool is told which step a kernel belongs to as it is launched: not by a graph. */
    bool graphs = !p->chains[0] && (!p->profiling || !om_trace_has_tool());
    for (int i = 0; i < p->n_rungs && !err && graphs; i++) capture(s, i);
    if (!err) err = check(p, cudaStreamSynchronize(c->stream), "making a session");
    if (!err && !is_staged(s)) s->stream = (om_stream *)(void *)c->stream;
    return err;
}

void omcu_session_fini(om_session *s)
{
    const omcu_plan *p = s->plan->priv;
    omcu_session *c = s->priv;
    if (!p->device) return;
    (void)cudaSetDevice(p->device->index);
    omcu_chain_session_fini(s);
    if (c->stream) (void)cudaStreamSynchronize(c->stream);
    om_cuda_head_destroy(c->head);
    for (int i = 0; i < OMCU_RUNGS; i++)
        if (c->graphs[i]) (void)cudaGraphExecDestroy(c->graphs[i]);
    for (int i = 0; c->marks && i < p->programs[0]->n_steps + 2; i++)
        if (c->marks[i]) (void)cudaEventDestroy(c->marks[i]);
    om_free(c->marks);
    for (int i = 0; i < 3; i++)
        if (c->work[i]) (void)cudaEventDestroy(c->work[i]);
    if (c->done) (void)cudaEventDestroy(c->done);
    if (c->stream) (void)cudaStreamDestroy(c->stream);
    for (int i = 0; i < s->n_outputs; i++) {
        if (s->outputs[i].data) om_device_pinned_free(p->device, s->outputs[i].data);
        if (c->device_outputs && c->device_outputs[i]) om_device_mem_free(p->device, c->device_outputs[i]);
    }
    om_free(s->outputs);
    om_free(c->device_outputs);
    if (is_staged(s) && s->input.data) om_device_pinned_free(p->device, s->input.data);
    if (c->inputs[0]) om_device_mem_free(p->device, c->inputs[0]);
    if (c->binding.arena) om_device_mem_free(p->device, c->binding.arena);
    if (c->binding.workspace) om_device_mem_free(p->device, c->binding.workspace);
    (void)cudaGetLastError();
}

/* A callback, not a host function: it comes after a fault too, and whoever waits learns of it. */
static void CUDART_CB on_done(cudaStream_t stream, cudaError_t status, void *user)
{
    om_session *s = user;
    omcu_session *c = s->priv;
    if (c->timed) c->seen_ns = om_now_ns();
    s->done(s->user);
}

/* One of the three marks that time a batch; without one it is not timed. */
static void mark_work(const omcu_plan *p, omcu_session *c, int which)
{
    bool first = which == 0;
    if (first) c->timed = om_device_work_watched(p->device);
    if (!c->timed) return;
    c->timed = (c->work[which] || cudaEventCreate(&c->work[which]) == cudaSuccess) &&
               cudaEventRecord(c->work[which], c->stream) == cudaSuccess;
    if (!c->timed) (void)cudaGetLastError();
}

static void count_work(const omcu_plan *p, omcu_session *c)
{
    float infer = 0, head = 0;
    if (!c->timed) return;
    c->timed = false;
    if (cudaEventElapsedTime(&infer, c->work[0], c->work[1]) != cudaSuccess ||
        cudaEventElapsedTime(&head, c->work[1], c->work[2]) != cudaSuccess) {
        (void)cudaGetLastError();
        return;
    }
    int64_t track = (int64_t)(intptr_t)c->stream, end = c->seen_ns,
            behind = end - (int64_t)((double)head * 1e6);
    om_trace_past("gpu infer", track, behind - (int64_t)((double)infer * 1e6), behind);
    if (c->head_ran) om_trace_past("gpu head", track, behind, end);
    om_device_count_work(p->device, OM_WORK_INFER, (double)infer / 1e3);
    if (c->head_ran) om_device_count_work(p->device, OM_WORK_HEAD, (double)head / 1e3);
}

/* On their way behind what is in the stream. */
static int send_outputs(om_session *s, int n)
{
    const omcu_plan *p = s->plan->priv;
    omcu_session *c = s->priv;
    int err = OM_OK;
    for (int i = 0; i < s->n_outputs && !err; i++) {
        const om_shape *shape = &s->outputs[i].shape;
        size_t bytes = p->programs[0]->buffers[p->programs[0]->outputs[i]].bytes;
        /* Of a part of the batch that part; an output without a batch dimension whole. */
        if (shape->rank > 0 && shape->dim[0] == s->plan->batch)
            bytes = bytes / (size_t)s->plan->batch * (size_t)n;
        err = check(p,
                    cudaMemcpyAsync(s->outputs[i].data, c->device_outputs[i], bytes, cudaMemcpyDeviceToHost,
                                    c->stream),
                    "fetching an output");
        if (!err) om_device_count_copy(p->device, OM_COPY_TO_HOST, bytes);
    }
    return err;
}

int omcu_submit(om_session *s, int n)
{
    const omcu_plan *p = s->plan->priv;
    omcu_session *c = s->priv;
    int rung = 0, err = om_cuda_enter(p->device);
    while (rung + 1 < p->n_rungs && p->rungs[rung + 1] >= n) rung++;
    if (!err && is_staged(s))
        err = check(p,
                    cudaMemcpyAsync(c->inputs[0], s->input.data, s->item_bytes * (size_t)n,
                                    cudaMemcpyHostToDevice, c->stream),
                    "uploading an input");
    if (err) return err;
    if (is_staged(s)) om_device_count_copy(p->device, OM_COPY_TO_DEVICE, s->item_bytes * (size_t)n);
    if (c->chain) return omcu_chain_submit(s, n);
    mark_work(p, c, 0);
    if (c->graphs[rung])
        err = check(p, cudaGraphLaunch(c->graphs[rung], c->stream), "launching an inference");
    else if (p->profiling) err = run_marked(p, c, cudaEventRecordDefault);
    else err = omcu_run(p->programs[rung], &c->binding, c->stream);
    c->head_ran = false;
    mark_work(p, c, 1);
    if (!err && c->head) {
        err = om_cuda_head_launch(c->head, c->head_outputs, n, (om_stream *)(void *)c->stream);
        c->head_ran = !err;
    }
    mark_work(p, c, 2);
    c->told = s->done != om_session_unasked;
    c->fetched = !err && !c->told && !c->head;
    if (c->fetched) err = send_outputs(s, n);
    if (err) {
        (void)cudaStreamSynchronize(c->stream);
        (void)cudaGetLastError();
        return err;
    }
    c->started = true;
    c->n = n;
    if (c->told) err = check(p, cudaStreamAddCallback(c->stream, on_done, s, 0), "asking for a callback");
    if (err) return err;
    /* Failing now would be telling twice: the wait will say it. */
    (void)cudaEventRecord(c->done, c->stream);
    return OM_OK;
}

static int fetch_outputs(om_session *s)
{
    const omcu_plan *p = s->plan->priv;
    omcu_session *c = s->priv;
    if (c->fetched) return OM_OK;
    int err = send_outputs(s, c->n);
    om_device_count_sync(p->device);
    return err ? err : check(p, cudaStreamSynchronize(c->stream), "fetching the outputs");
}

/* Sleeping and being woken takes longer than many a batch; a long one is slept through after all. */
static cudaError_t wait_awake(cudaEvent_t event)
{
    int64_t until = om_now_ns() + AWAKE_NS;
    cudaError_t got;
    while ((got = cudaEventQuery(event)) == cudaErrorNotReady && om_now_ns() < until) sched_yield();
    if (got != cudaErrorNotReady) return got;
    (void)cudaGetLastError();
    return cudaEventSynchronize(event);
}

static int await(om_session *s)
{
    const omcu_plan *p = s->plan->priv;
    omcu_session *c = s->priv;
    if (c->told) return check(p, cudaEventSynchronize(c->done), "an inference");
    int err = check(p, wait_awake(c->done), "an inference");
    if (c->timed) c->seen_ns = om_now_ns();
    return err;
}

int omcu_wait(om_session *s)
{
    const omcu_plan *p = s->plan->priv;
    omcu_session *c = s->priv;
    if (c->chain) return omcu_chain_wait(s);
    if (!c->started) return OM_OK;
    int err = om_cuda_enter(p->device);
    if (!err) err = await(s);
    if (!err) count_work(p, c);
    /* Raw outputs travel only where nobody decodes them on the GPU. */
    if (!err && !s->collecting) err = fetch_outputs(s);
    return err;
}

/* ---- detections ---- */

/* What the GPU's head is of each family; false: it decodes on the host. */
static bool head_kind(om_family family, om_cuda_head_kind *out)
{
    static const struct {
        om_family family;
        om_cuda_head_kind kind;
    } kinds[] = {{OM_FAMILY_YOLOV5, OM_CUDA_HEAD_ROWS},        {OM_FAMILY_YOLOV8, OM_CUDA_HEAD_COLUMNS},
                 {OM_FAMILY_YOLOV5_FACE, OM_CUDA_HEAD_FACES},  {OM_FAMILY_YOLOV3, OM_CUDA_HEAD_GRIDS},
                 {OM_FAMILY_CENTERFACE, OM_CUDA_HEAD_CENTERS}, {OM_FAMILY_RETINAFACE, OM_CUDA_HEAD_PRIORS}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].family == family) {
            *out = kinds[i].kind;
            return true;
        }
    return false;
}

/* Rows, columns and classes as the outputs' shapes tell them; false where they are not as the host's head
 * would have them, which then says why. */
static bool head_shapes(const om_session *s, const om_head_grids *g, om_cuda_head_params *p)
{
    const om_shape *shape[OM_HEAD_GRIDS];
    for (int i = 0; i < g->n_outputs; i++) shape[i] = &s->outputs[g->output[i]].shape;
    p->width = s->plan->width;
    p->height = s->plan->height;
    p->n_grids = g->n;
    p->points = g->points;
    for (int i = 0; i < g->n; i++) {
        p->grid[i].anchors = g->anchors[i];
        p->grid[i].scale_xy = g->scale_xy[i];
        memcpy(p->grid[i].size, g->anchor[i], sizeof p->grid[i].size);
    }
    if (p->kind == OM_CUDA_HEAD_GRIDS) {
        for (int i = 0; i < g->n; i++) {
            if (shape[i]->rank != 4 || shape[i]->dim[1] % g->anchors[i]) return false;
            int classes = (int)(shape[i]->dim[1] / g->anchors[i]) - 5;
            if (i && classes != p->classes) return false;
            p->classes = classes;
            p->grid[i].rows = (int)shape[i]->dim[2];
            p->grid[i].columns = (int)shape[i]->dim[3];
        }
        return true;
    }
    if (p->kind == OM_CUDA_HEAD_CENTERS) {
        static const int channels[] = {1, 2, 2, 10};
        for (int i = 0; i < 4; i++)
            if (shape[i]->rank != 4 || shape[i]->dim[1] != channels[i] ||
                shape[i]->dim[2] != shape[0]->dim[2] || shape[i]->dim[3] != shape[0]->dim[3])
                return false;
        p->classes = 1;
        p->grid[0] = (om_cuda_head_grid){
            .rows = (int)shape[0]->dim[2], .columns = (int)shape[0]->dim[3], .anchors = 1};
        return true;
    }
    int64_t priors = 0;
    for (int i = 0; i < g->n; i++) {
        int side = 8 << i;
        p->grid[i].rows = (p->height + side - 1) / side;
        p->grid[i].columns = (p->width + side - 1) / side;
        priors += (int64_t)p->grid[i].rows * p->grid[i].columns * g->anchors[i];
    }
    for (int i = 0; i < 3; i++)
        if (shape[i]->rank != 3 || shape[i]->dim[1] != priors) return false;
    p->classes = (int)shape[1]->dim[2] - 1;
    return shape[0]->dim[2] == 4 && shape[2]->dim[2] == 2 * g->points;
}

static bool head_params(const om_session *s, const om_head *head, om_head_grids *grids,
                        om_cuda_head_params *out)
{
    *out = (om_cuda_head_params){.dtype = OM_DTYPE_F32,
                                 .conf = head->params.conf,
                                 .iou = head->params.iou,
                                 .max_boxes = head->params.max_boxes,
                                 .agnostic = head->params.agnostic,
                                 .wanted = head->params.classes,
                                 .n_wanted = head->params.n_classes};
    *grids = (om_head_grids){.n_outputs = 1};
    if (!head_kind(head->ops->family, &out->kind)) return false;
    if (head->ops->grids && !head->ops->grids(head, grids)) return false;
    for (int i = 0; i < grids->n_outputs; i++)
        if (grids->output[i] >= s->n_outputs) return false;
    if (out->kind >= OM_CUDA_HEAD_GRIDS) return head_shapes(s, grids, out) && out->classes > 0;
    const om_shape *shape = &s->outputs[grids->output[0]].shape;
    if (shape->rank != 3 || (!head->ops->grids && s->n_outputs != 1)) return false;
    bool columns = out->kind == OM_CUDA_HEAD_COLUMNS;
    out->anchors = (int)shape->dim[columns ? 2 : 1];
    out->classes = (int)(columns ? shape->dim[1] - 4 : shape->dim[2]);
    if (out->kind == OM_CUDA_HEAD_ROWS) out->classes -= 5;
    if (out->kind == OM_CUDA_HEAD_FACES) out->classes -= 15;
    return out->classes > 0;
}

static int decode_here(om_session *s, const om_head *head, int n, const om_geometry *geo, om_dets *out)
{
    const omcu_session *c = s->priv;
    int err = c->chain ? OM_OK : fetch_outputs(s);
    for (int i = 0; i < n && !err; i++)
        err = om_head_decode(head, &s->scratch, s->outputs, s->n_outputs, i, &geo[i], &out[i]);
    return err;
}

/* Once a plan: the run's log says where boxes that suppress each other are made. */
static void say_host(omcu_plan *p, const om_head *head)
{
    if (head->own_iou < 1 && !atomic_exchange(&p->told_host, true))
        om_log(OM_LOG_INFO, "cuda: %s is decoded on the host, from one copy of the raw outputs a batch",
               head->ops->name);
}

int omcu_decode(om_session *s, const om_head *head, int n, const om_geometry *geo, om_dets *out)
{
    omcu_plan *p = s->plan->priv;
    omcu_session *c = s->priv;
    om_cuda_head_params params;
    om_head_grids grids;
    if (c->chain || !head_params(s, head, &grids, &params)) {
        say_host(p, head);
        return decode_here(s, head, n, geo, out);
    }
    if (c->head_of != head) {
        om_cuda_head_destroy(c->head);
        c->head = NULL;
        c->head_of = head;
        c->head_ran = false;
        for (int i = 0; i < grids.n_outputs; i++) c->head_outputs[i] = c->device_outputs[grids.output[i]];
        if (om_cuda_head_create(p->device, &params, s->plan->batch, &c->head) != OM_OK) {
            om_log(OM_LOG_DEBUG, "cuda: boxes are decoded on the host: %s", om_error_message());
            c->head = NULL;
        }
    }
    if (!c->head) return decode_here(s, head, n, geo, out);
    int err = om_cuda_enter(p->device);
    if (!err && !c->head_ran) {
        err = om_cuda_head_launch(c->head, c->head_outputs, n, (om_stream *)(void *)c->stream);
        if (!err) err = check(p, cudaStreamSynchronize(c->stream), "decoding boxes");
    }
    return err ? err : om_cuda_head_fetch(c->head, n, geo, out);
}

/* ---- profile ---- */

/* The numbers it computes with, behind its name as the profile wants it. */
static const char *type_name(const omcu_program *p, const omcu_step *s)
{
    bool product = s->kind == OMCU_STEP_CONV && p->tf32;
    if (product &&
        (s->cudnn || s->lt || (s->tactic >= 0 && omcu_conv_form_numbers(s->tactic) == OMCU_NUMBERS_TF32)))
        return "_tf32";
    bool half = s->half || (s->n_in && s->in[0].type == OMCU_F16) || s->out[0].type == OMCU_F16;
    return s->n_in && s->in[0].type == OMCU_I8 ? "_i8" : half ? "_f16" : "_f32";
}

void omcu_exec_name(const omcu_program *p, const omcu_step *s, char *out, size_t size)
{
    const char *type = type_name(p, s);
    static const char *const kinds[] = {"conv",   "depthwise", "transposed conv", "pointwise", "pool",
                                        "sppf",   "resize",    "reduce",          "softmax",   "layer norm",
                                        "matmul", "attention", "gather",          "clear",     "lstm"};
    if (s->kind == OMCU_STEP_DEPTHWISE)
        snprintf(out, size, "own depthwise %s%s", omcu_depthwise_form_name(s->tactic - OMCU_TACTIC_DEPTHWISE),
                 type);
    else if (s->kind == OMCU_STEP_USER) snprintf(out, size, "user %s%s", omcu_user_name(s->u.user), type);
    else if (s->kind != OMCU_STEP_CONV) snprintf(out, size, "own %s%s", kinds[s->kind], type);
    else if (s->cudnn) snprintf(out, size, "cudnn %d%s", s->tactic - OMCU_TACTIC_CUDNN, type);
    else if (s->lt) snprintf(out, size, "cublaslt %d%s", s->tactic - OMCU_TACTIC_LT, type);
    else if (s->tactic == OMCU_TACTIC_FIRST) snprintf(out, size, "own first conv%s", type);
    else if (s->tactic >= 0) snprintf(out, size, "own tiles %s%s", omcu_conv_form_name(s->tactic), type);
    else snprintf(out, size, "own plain conv%s", type);
}

int omcu_layers(om_session *s, om_layer_time *out, int max)
{
    const omcu_plan *p = s->plan->priv;
    const omcu_session *c = s->priv;
    const omcu_program *top = p->programs[0];
    if (c->chain) return omcu_chain_layers(s, out, max);
    if (!c->marks) return om_fail(OM_ERR_ARG, "the plan was compiled without profiling");
    int n = top->n_steps < max ? top->n_steps : max;
    float mark_ms = 0;
    if (!c->started ||
        cudaEventElapsedTime(&mark_ms, c->marks[top->n_steps], c->marks[top->n_steps + 1]) != cudaSuccess)
        (void)cudaGetLastError();
    for (int i = 0; i < n; i++) {
        float ms = 0;
        const omcu_step *step = &top->steps[i];
        bool ran = c->started && cudaEventElapsedTime(&ms, c->marks[i], c->marks[i + 1]) == cudaSuccess;
        double ns = ((double)ms - (double)mark_ms) * 1e6;
        out[i] = (om_layer_time){.ns = ns > 0 ? (int64_t)ns : 0, .ran = ran};
        snprintf(out[i].name, sizeof out[i].name, "%s", step->name);
        snprintf(out[i].type, sizeof out[i].type, "%s", step->type);
        omcu_exec_name(top, step, out[i].exec, sizeof out[i].exec);
    }
    return top->n_steps;
}
