/* One step at a time, in the program's own memory. */
#include "backend/cuda/bench.h"

#include <cuda_runtime_api.h>

#include "base/error.h"
#include "base/mem.h"
#include "device/cuda/cuda.h"

/* Half of it from the end: a batch's last picture has to be as right as its first. */
#define ANSWER_BYTES ((size_t)128 << 10)
#define FAR 3e4f /* near the end of f16's range */
#define FILLING_WORDS                                                                                        \
    ((size_t)131071) /* of two bytes: a prime, so that no row or picture is like the next                    \
                      */

void omcu_bench_fini(omcu_bench *x)
{
    if (x->b.arena) om_device_mem_free(x->p->device, x->b.arena);
    if (x->b.workspace) om_device_mem_free(x->p->device, x->b.workspace);
    for (int i = 0; i < OMCU_BENCH_PORTS; i++) {
        if (x->inputs[i]) om_device_mem_free(x->p->device, x->inputs[i]);
        if (x->outputs[i]) om_device_mem_free(x->p->device, x->outputs[i]);
    }
    if (x->from) (void)cudaEventDestroy(x->from);
    if (x->to) (void)cudaEventDestroy(x->to);
    if (x->stream) (void)cudaStreamDestroy(x->stream);
}

/* The pattern goes up once and doubles there. It repeats after an odd number of f16, so that f32 begin with
 * either half of a pair of them. */
static int fill(const omcu_bench *x, void *to, size_t bytes, const uint16_t *words)
{
    size_t done = FILLING_WORDS * sizeof *words < bytes ? FILLING_WORDS * sizeof *words : bytes;
    cudaError_t e = cudaMemcpyAsync(to, words, done, cudaMemcpyHostToDevice, x->stream);
    while (e == cudaSuccess && done < bytes) {
        size_t next = done < bytes - done ? done : bytes - done;
        e = cudaMemcpyAsync((uint8_t *)to + done, to, next, cudaMemcpyDeviceToDevice, x->stream);
        done += next;
    }
    return om_cuda_check(x->p->device, (int)e, "tuning");
}

static int fill_all(const omcu_bench *x)
{
    const omcu_program *p = x->p;
    uint16_t *words = om_alloc(FILLING_WORDS * sizeof *words);
    uint32_t state = 1;
    if (!words) return om_fail_nomem("numbers to tune with");
    /* f16 from 0.5 to 2 and their negatives; as f32 their upper halves make 0.00003 to 2. */
    for (size_t i = 0; i < FILLING_WORDS; i++) {
        state = state * 1664525u + 1013904223u;
        words[i] = (uint16_t)(0x3800u | (state >> 16 & 0x87ffu));
    }
    int err = fill(x, x->b.arena, p->arena, words);
    for (int i = 0; i < p->n_inputs && !err; i++)
        err = fill(x, x->inputs[i], p->buffers[p->inputs[i]].bytes, words);
    if (!err) err = om_cuda_check(p->device, (int)cudaStreamSynchronize(x->stream), "tuning");
    om_free(words);
    return err;
}

int omcu_bench_init(omcu_bench *x, const omcu_program *p, size_t workspace)
{
    *x = (omcu_bench){.p = p};
    x->b.inputs = x->inputs;
    x->b.outputs = x->outputs;
    int err = p->n_inputs > OMCU_BENCH_PORTS || p->n_outputs > OMCU_BENCH_PORTS
                  ? om_fail(OM_ERR_UNSUPPORTED, "more than %d inputs or outputs", OMCU_BENCH_PORTS)
                  : OM_OK;
    if (!err) err = om_device_mem_alloc_for(p->device, OM_PURPOSE_WORK, p->arena, &x->b.arena);
    if (!err) err = om_device_mem_alloc_for(p->device, OM_PURPOSE_WORK, workspace, &x->b.workspace);
    for (int i = 0; i < p->n_inputs && !err; i++)
        err = om_device_mem_alloc_for(p->device, OM_PURPOSE_WORK, p->buffers[p->inputs[i]].bytes,
                                      &x->inputs[i]);
    for (int i = 0; i < p->n_outputs && !err; i++)
        err = om_device_mem_alloc_for(p->device, OM_PURPOSE_WORK, p->buffers[p->outputs[i]].bytes,
                                      &x->outputs[i]);
    if (!err)
        err = om_cuda_check(p->device, (int)cudaStreamCreateWithFlags(&x->stream, cudaStreamNonBlocking),
                            "tuning");
    if (!err) err = om_cuda_check(p->device, (int)cudaEventCreate(&x->from), "tuning");
    if (!err) err = om_cuda_check(p->device, (int)cudaEventCreate(&x->to), "tuning");
    return err ? err : fill_all(x);
}

double omcu_bench_time(omcu_bench *x, const omcu_step *s, double best)
{
    float ms = 0;
    int reps = 3;
    if (omcu_step_run(x->p, s, &x->b, x->stream)) return -1;
    for (int round = 0; round < 2; round++) {
        (void)cudaEventRecord(x->from, x->stream);
        for (int i = 0; i < reps; i++)
            if (omcu_step_run(x->p, s, &x->b, x->stream)) return -1;
        (void)cudaEventRecord(x->to, x->stream);
        if (cudaEventSynchronize(x->to) != cudaSuccess ||
            cudaEventElapsedTime(&ms, x->from, x->to) != cudaSuccess)
            return -1;
        /* Short ones again, longer: their times are mostly noise. */
        if (round || ms > 0.3f || (best > 0 && (double)ms * 1e6 / reps > best * 2)) break;
        reps = 20;
    }
    return (double)ms * 1e6 / reps;
}

double omcu_bench_whole(omcu_bench *x, int rounds)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    double best = -1;
    if (cudaStreamBeginCapture(x->stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) return -1;
    int err = omcu_run(x->p, &x->b, x->stream);
    if (cudaStreamEndCapture(x->stream, &graph) != cudaSuccess) graph = NULL;
    if (err || !graph || cudaGraphInstantiate(&exec, graph, 0) != cudaSuccess) exec = NULL;
    for (int i = 0; i <= rounds && exec; i++) {
        float ms = 0;
        (void)cudaEventRecord(x->from, x->stream);
        bool ok = cudaGraphLaunch(exec, x->stream) == cudaSuccess;
        (void)cudaEventRecord(x->to, x->stream);
        if (cudaEventSynchronize(x->to) != cudaSuccess || !ok ||
            cudaEventElapsedTime(&ms, x->from, x->to) != cudaSuccess) {
            best = -1;
            break;
        }
        /* The first one warms up. */
        if (i && (best < 0 || (double)ms * 1e6 < best)) best = (double)ms * 1e6;
    }
    if (exec) (void)cudaGraphExecDestroy(exec);
    if (graph) (void)cudaGraphDestroy(graph);
    if (best < 0) (void)cudaGetLastError();
    return best;
}

uint8_t *omcu_bench_answer(omcu_bench *x, const omcu_step *s, size_t *n)
{
    const omcu_view *v = &s->out[0];
    size_t span = 1, size = omcu_type_size(v->type);
    for (int i = 0; i < v->rank; i++) span += (size_t)((v->dim[i] - 1) * v->stride[i]);
    bool whole = span * size <= ANSWER_BYTES;
    *n = whole ? span * size : ANSWER_BYTES;
    uint8_t *y = omcu_address(x->p, v, &x->b), *out = om_calloc(*n, 1);
    size_t head = whole ? *n : ANSWER_BYTES / 2, tail = *n - head;
    uint8_t *end = y + span * size - tail;
    bool ok = out && cudaMemsetAsync(y, 0, head, x->stream) == cudaSuccess &&
              cudaMemsetAsync(end, 0, tail, x->stream) == cudaSuccess &&
              omcu_step_run(x->p, s, &x->b, x->stream) == OM_OK &&
              cudaMemcpyAsync(out, y, head, cudaMemcpyDeviceToHost, x->stream) == cudaSuccess &&
              cudaMemcpyAsync(out + head, end, tail, cudaMemcpyDeviceToHost, x->stream) == cudaSuccess &&
              cudaStreamSynchronize(x->stream) == cudaSuccess;
    if (!ok) om_free(out);
    return ok ? out : NULL;
}

static float number_at(int type, const uint8_t *from, size_t i)
{
    if (type == OMCU_F16) return om_f16_to_f32(((const uint16_t *)(const void *)from)[i]);
    return type == OMCU_I8 ? (float)((const int8_t *)from)[i] : ((const float *)(const void *)from)[i];
}

bool omcu_answers_agree(int type, bool tf32, const uint8_t *a, const uint8_t *b, size_t n)
{
    float top = 1e-6f, worst = 0;
    for (size_t i = 0; i < n / omcu_type_size(type); i++) {
        float x = number_at(type, a, i), y = number_at(type, b, i), d = x > y ? x - y : y - x;
        /* Sums near the end of the range and past it tell nothing. */
        if (!(x < FAR && x > -FAR)) continue;
        if (y != y || y - y != 0) return false;
        if (x > top) top = x;
        if (-x > top) top = -x;
        if (d > worst) worst = d;
    }
    if (type == OMCU_I8) return worst <= 2;
    return worst <= top * (type == OMCU_F16 ? 2e-2f : tf32 ? 1e-2f : 1e-3f);
}
