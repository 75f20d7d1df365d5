/* Sessions of plans that a GPU shares with the CPU backend, on a machine without a GPU: kernels and CUDA's
 * streams are emulated, callbacks come from another thread, as CUDA's do. Exit status 77: no OpenVINO. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cuda_runtime_api.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "backend/cuda/cuda.h"
#include "base/error.h"
#include "base/mem.h"
#include "device/cuda/cuda.h"

#define ITEMS 2
#define CHANNELS 16
#define SIDE 48
#define ROUNDS 8

static om_device *device;
static const om_part_ops *parts;
static atomic_int copies_left = INT32_MAX; /* then one fails */

/* ---- CUDA, as far as a chain uses it ---- */

int om_cuda_enter(const om_device *d) { return OM_OK; }
void omcu_exec_name(const omcu_program *p, const omcu_step *s, char *out, size_t size)
{
    snprintf(out, size, "%s", s->type);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind kind, cudaStream_t s)
{
    if (atomic_fetch_sub(&copies_left, 1) == 0) return cudaErrorIllegalAddress;
    memcpy(to, from, n);
    return cudaSuccess;
}

typedef struct callback {
    cudaStreamCallback_t fn;
    void *user;
} callback;

static void *call(void *arg)
{
    callback c = *(callback *)arg;
    free(arg);
    c.fn(NULL, cudaSuccess, c.user);
    return NULL;
}

cudaError_t cudaStreamAddCallback(cudaStream_t s, cudaStreamCallback_t fn, void *user, unsigned flags)
{
    pthread_t thread;
    callback *c = malloc(sizeof *c);
    assert_non_null(c);
    *c = (callback){fn, user};
    assert_int_equal(pthread_create(&thread, NULL, call, c), 0);
    pthread_detach(thread);
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode m)
{
    return cudaErrorNotSupported;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g) { return cudaErrorNotSupported; }
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long f)
{
    return cudaErrorNotSupported;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) { return cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g) { return cudaSuccess; }
cudaError_t cudaGraphUpload(cudaGraphExec_t g, cudaStream_t s) { return cudaSuccess; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t g, cudaStream_t s) { return cudaErrorNotSupported; }
cudaError_t cudaGetLastError(void) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t s) { return cudaSuccess; }
cudaError_t cudaEventCreate(cudaEvent_t *e)
{
    *e = (cudaEvent_t)(uintptr_t)1;
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b)
{
    *ms = 1;
    return cudaSuccess;
}

/* ---- the model ---- */

static void check_ok(int err)
{
    if (err < 0) fail_msg("%s", om_error_message());
}

static int weights(om_graph *g, int seed)
{
    om_shape shape = om_shape_make(4, (int64_t)CHANNELS, (int64_t)CHANNELS, (int64_t)3, (int64_t)3);
    static float v[CHANNELS * CHANNELS * 9];
    for (int i = 0; i < CHANNELS * CHANNELS * 9; i++) v[i] = (float)((i * 37 + seed) % 41 - 20) / 1000;
    return om_graph_add_const(g, NULL, OM_DTYPE_F32, &shape, v);
}

static int conv(om_graph *g, int x, int seed)
{
    static const int64_t pads[] = {1, 1, 1, 1};
    int in[] = {x, weights(g, seed)}, n = om_graph_add_node(g, "Conv", "conv", in, 2, 1);
    check_ok(n);
    check_ok(om_node_set_ints(&g->nodes[n], "pads", pads, 4));
    return om_node_out(g, n);
}

/* Convolutions around sums along rows, which the engine has not; `open`: and an end whose size the data
 * tells. */
static om_graph *model(bool open)
{
    om_graph *g;
    om_shape in = om_shape_make(4, (int64_t)ITEMS, (int64_t)CHANNELS, (int64_t)SIDE, (int64_t)SIDE),
             none = {.rank = 0};
    int64_t axis = 3;
    check_ok(om_graph_create("chain", &g));
    check_ok(om_graph_set_opset(g, "", 17));
    g->ir_version = 8;
    int x = om_graph_add_input(g, "x", OM_DTYPE_F32, &in);
    int sum[] = {conv(g, x, 1), om_graph_add_const(g, "axis", OM_DTYPE_I64, &none, &axis)};
    int middle = om_graph_add_node(g, "CumSum", "sum", sum, 2, 1), last = om_node_out(g, middle);
    last = conv(g, last, 2);
    check_ok(om_graph_mark_output(g, last));
    if (open) {
        int node = om_graph_add_node(g, "NonZero", "found", &last, 1, 1);
        check_ok(om_graph_mark_output(g, om_node_out(g, node)));
    }
    check_ok(om_graph_infer_shapes(g));
    return g;
}

typedef struct setup {
    om_graph *g;
    om_plan plan;
    omcu_plan own;
    om_session session;
    omcu_session inside;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done;
} setup;

static void set_up(setup *s, bool open, bool profiling)
{
    omcu_build how = {.half = false};
    *s = (setup){.g = model(open), .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    s->own.device = device;
    s->own.profiling = profiling;
    s->own.rungs[0] = ITEMS;
    s->own.n_rungs = 1;
    s->plan = (om_plan){.memory = device, .batch = ITEMS, .priv = &s->own};
    s->session.plan = &s->plan;
    s->session.priv = &s->inside;
    check_ok(omcu_chain_build(device, s->g, &how, 1, &s->own.chains[0]));
    size_t arena = 1;
    const omcu_chain *c = s->own.chains[0];
    for (int i = 0; i < c->n_stages; i++)
        if (c->stages[i].program && c->stages[i].program->arena > arena) arena = c->stages[i].program->arena;
    check_ok(om_device_mem_alloc(device, arena, &s->inside.binding.arena));
    check_ok(
        om_device_mem_alloc(device, ITEMS * CHANNELS * SIDE * SIDE * sizeof(float), &s->inside.inputs[0]));
}

static void tear_down(setup *s)
{
    omcu_chain_session_fini(&s->session);
    omcu_chain_destroy(s->own.chains[0]);
    om_device_mem_free(device, s->inside.binding.arena);
    om_device_mem_free(device, s->inside.inputs[0]);
    om_graph_destroy(s->g);
}

static void on_done(void *user)
{
    setup *s = user;
    pthread_mutex_lock(&s->lock);
    s->done++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* The status of one inference. */
static int infer(setup *s, int round)
{
    float *x = s->inside.inputs[0];
    int before = s->done;
    for (int i = 0; i < ITEMS * CHANNELS * SIDE * SIDE; i++)
        x[i] = (float)((i * 13 + round * 7) % 23 - 11) / 23;
    s->session.done = on_done;
    s->session.user = s;
    int err = omcu_chain_submit(&s->session, ITEMS);
    if (err) return err;
    pthread_mutex_lock(&s->lock);
    while (s->done == before) pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    err = omcu_chain_wait(&s->session);
    assert_int_equal(s->done, before + 1);
    return err;
}

/* The whole model by the CPU backend alone. */
static void compare(const setup *s)
{
    om_backend_part *part;
    om_backend_part_run *run;
    om_tensor in = {OM_DTYPE_F32, s->g->values[s->g->inputs[0]].shape, s->inside.inputs[0]}, out[2];
    check_ok(parts->compile(s->g, 1, &part));
    for (int i = 0; i < s->g->n_outputs; i++) {
        const om_value *v = &s->g->values[s->g->outputs[i]];
        out[i] = (om_tensor){v->dtype, v->shape, NULL};
    }
    check_ok(parts->open(part, &in, 1, out, s->g->n_outputs, &run));
    check_ok(parts->run(run, out));
    assert_int_equal(s->session.n_outputs, s->g->n_outputs);
    const om_tensor *got = s->session.outputs;
    assert_true(om_shape_equal(&got[0].shape, &out[0].shape));
    for (int64_t i = 0; i < om_shape_count(&out[0].shape); i++)
        if (!(fabsf(((float *)got[0].data)[i] - ((float *)out[0].data)[i]) < 1e-4f))
            fail_msg("number %lld", (long long)i);
    if (s->g->n_outputs > 1) {
        assert_int_equal(got[1].dtype, OM_DTYPE_I64);
        assert_true(om_shape_equal(&got[1].shape, &out[1].shape));
        assert_memory_equal(got[1].data, out[1].data,
                            (size_t)om_shape_count(&out[1].shape) * sizeof(int64_t));
    }
    parts->close(run);
    parts->destroy(part);
}

static void runs_are_the_cpus(void **state)
{
    for (int open = 0; open < 2; open++) {
        setup s;
        set_up(&s, open, false);
        assert_int_equal(s.own.chains[0]->n_stages, open ? 4 : 3);
        check_ok(omcu_chain_session_init(&s.session));
        for (int i = 0; i < ROUNDS; i++) {
            check_ok(infer(&s, i));
            if (i == 0 || i == ROUNDS - 1) compare(&s);
        }
        check_ok(omcu_chain_wait(&s.session)); /* as often as it is asked */
        tear_down(&s);
    }
}

static void a_failure_is_told_and_gone_with_the_next(void **state)
{
    setup s;
    set_up(&s, false, false);
    check_ok(omcu_chain_session_init(&s.session));
    check_ok(infer(&s, 0));
    for (int i = 0; i < 3; i++) { /* down to the CPU, up to the GPU, the output */
        atomic_store(&copies_left, i);
        assert_int_equal(infer(&s, i), OM_ERR_DEVICE);
        assert_non_null(strstr(om_error_message(), "moving a tensor between CPU and GPU"));
        atomic_store(&copies_left, INT32_MAX);
        check_ok(infer(&s, i));
    }
    compare(&s);
    tear_down(&s);
}

static void layers_name_both_sides(void **state)
{
    om_layer_time t[32];
    setup s;
    bool cpu = false, copy = false;
    set_up(&s, false, true);
    check_ok(omcu_chain_session_init(&s.session));
    check_ok(infer(&s, 0));
    int n = omcu_chain_layers(&s.session, t, 32);
    assert_in_range(n, 5, 32);
    for (int i = 0; i < n; i++) {
        cpu = cpu || (strcmp(t[i].exec, "cpu: openvino f32") == 0 && strcmp(t[i].name, "CumSum") == 0 &&
                      t[i].ns > 0);
        copy = copy || (strcmp(t[i].name, "from the GPU") == 0 && strncmp(t[i].exec, "copy, ", 6) == 0);
        assert_true(t[i].ran);
    }
    assert_true(cpu && copy);
    char note[160];
    omcu_chain_note(s.own.chains[0], note, sizeof note);
    assert_string_equal(note, "1 node on the CPU (CumSum), 0.3 MB down, 0.3 MB up a batch");
    tear_down(&s);
}

static void sessions_survive_a_lack_of_memory(void **state)
{
    bool met = true;
    setup s;
    set_up(&s, true, false);
    for (long n = 0; met; n++) {
        om_mem_fail_after(n);
        int err = omcu_chain_session_init(&s.session);
        met = om_mem_injected();
        om_mem_fail_after(-1);
        assert_int_equal(err, met ? OM_ERR_NOMEM : OM_OK);
        omcu_chain_session_fini(&s.session);
    }
    tear_down(&s);
}

int main(void)
{
    const om_backend_ops *ops;
    const char *name;
    if (om_backend_select("cpu", &ops, &name)) {
        fprintf(stderr, "skipped: %s\n", om_error_message());
        return 77;
    }
    parts = ops->parts;
    if (om_device_open("cpu", &device)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_the_cpus),
        cmocka_unit_test(a_failure_is_told_and_gone_with_the_next),
        cmocka_unit_test(layers_name_both_sides),
        cmocka_unit_test(sessions_survive_a_lack_of_memory),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    om_device_close(device);
    return failed ? 1 : 0;
}
