/* The CUDA engine against ONNX Runtime:   test_engine_cuda DEVICE CASES [NAME [every]]
 *
 * CASES is a folder that make_engine_cases.py wrote: cases.txt with a line "NAME f32-bound f16-bound
 * [int8-bound]" for each NAME.onnx and NAME.bin, which holds the inputs and then the expected outputs as
 * 32-bit floats. A bound is the largest difference allowed, relative to the largest expected number; where
 * they are negative (whole networks), of the root mean squares. DEVICE "cpu" needs the emulated kernels;
 * "cuda:0" the real ones, and there each case runs in f32, tf32 and f16, as guessed and tuned; those with a
 * bound for it in int8 too.
 * "every" runs each way of computing a product that there is, not the fastest, and tells the engine's own
 * log. Names that start with "pic_" have their first input written as the gather writes pictures: [n, h, w,
 * c], in the program's own type; those that start with "cpu_" have operators that the engine lacks, and are
 * shared with the CPU backend. Exit status 77: no such device. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/engine.h"
#include "backend/cuda/subgraph.h"
#include "backend/cuda/tune.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define MAX_FILE ((size_t)1 << 30)
#define MAX_PORTS 16
#define MAX_GROUPS 1024
#define MAX_PICKS 24

typedef struct test_case {
    const char *name;
    om_graph *g;
    float *data;
    size_t count;
} test_case;

typedef struct way {
    const char *what;
    bool half, tuned, fused, gpu, tf32, int8;
    int pick; /* which candidate; 0: the fastest */
} way;

/* Absent where the kernels are emulated. */
extern const om_device_ops om_device_cuda __attribute__((weak));

static om_device *device;
static char last_product[32]; /* how the last product of the last program was computed */

static bool finite_near(float a, float b, float bound)
{
    if (isnan(b)) return isnan(a);
    if (isinf(b)) return a == b;
    return fabsf(a - b) <= bound;
}

/* The largest difference by the largest expected number, or (`mean`) root mean square by root mean square;
 * negative: not comparable. */
static double difference(const float *got, const float *want, size_t n, bool mean)
{
    double top = 1e-6, worst = 0, square = 1e-12, off = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(want[i])) top = fmax(top, fabs(want[i]));
    for (size_t i = 0; i < n; i++) {
        if (!finite_near(got[i], want[i], INFINITY) || isnan(got[i]) != isnan(want[i])) return -1;
        if (!isfinite(want[i])) continue;
        double d = (double)got[i] - want[i];
        worst = fmax(worst, fabs(d));
        off += d * d;
        square += (double)want[i] * want[i];
    }
    return mean ? sqrt(off / square) : worst / top;
}

static int count_convs(const omcu_program *p)
{
    int n = 0;
    for (int i = 0; i < p->n_steps; i++) n += p->steps[i].kind == OMCU_STEP_CONV;
    return n;
}

static int count_int8(const omcu_program *p)
{
    int n = 0;
    for (int i = 0; i < p->n_steps; i++)
        n += p->steps[i].kind == OMCU_STEP_CONV && p->steps[i].in[0].grid.scale > 0;
    return n;
}

/* Input `i` as the program reads it. */
static int put_input(const omcu_program *p, const test_case *c, int i, const float *from, bool picture,
                     void *to)
{
    const om_shape *s = &c->g->values[c->g->inputs[i]].shape;
    int64_t n = om_shape_count(s);
    bool turn = picture && i == 0 && s->rank == 4, half = turn && p->half;
    uint8_t *bytes = om_calloc((size_t)n + 1, 4);
    if (!bytes) return OM_ERR_NOMEM;
    int64_t area = turn ? s->dim[2] * s->dim[3] : 1, channels = turn ? s->dim[1] : 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t at = k;
        if (turn) {
            int64_t image = k / (area * channels), rest = k % (area * channels);
            at = image * area * channels + rest % area * channels + rest / area;
        }
        if (half) ((uint16_t *)(void *)bytes)[at] = om_f32_to_f16(from[k]);
        else ((float *)(void *)bytes)[at] = from[k];
    }
    int err = om_device_copy(device, OM_COPY_TO_DEVICE, to, bytes, (size_t)n * (half ? 2 : 4), NULL);
    om_free(bytes);
    return err;
}

/* The program of a way; `int8`: all that may lie as 8-bit integers does. */
static int build(const test_case *c, const way *w, omcu_store *store, omcu_program **p)
{
    bool narrow[MAX_GROUPS];
    omcu_qdq qdq = {.n_values = 0};
    om_graph *g = NULL;
    omcu_build how = {.half = w->half,
                      .tf32 = w->tf32,
                      .picture_nhwc = strncmp(c->name, "pic_", 4) == 0,
                      .no_fusion = !w->fused,
                      .narrow = narrow,
                      .store = store};
    memset(narrow, 1, sizeof narrow);
    int err = om_graph_clone(c->g, &g);
    if (!err) err = omcu_qdq_take(g, w->int8 ? &qdq : NULL);
    if (w->int8) how.qdq = &qdq;
    if (!err && qdq.n_groups > MAX_GROUPS)
        err = om_fail(OM_ERR_UNSUPPORTED, "more groups than the test has room for");
    if (!err) err = omcu_lower(device, g, &how, p);
    omcu_qdq_fini(&qdq);
    om_graph_destroy(g);
    return err;
}

/* What nobody has written must not count: in any type it is no number, or a large one. */
static int spoil(void *memory, size_t size)
{
    const size_t piece = (size_t)8 << 20;
    uint8_t *bytes = om_alloc(piece);
    int err = bytes ? OM_OK : OM_ERR_NOMEM;
    if (bytes) memset(bytes, 0xff, piece);
    for (size_t at = 0; at < size && !err; at += piece)
        err = om_device_copy(device, OM_COPY_TO_DEVICE, (uint8_t *)memory + at, bytes,
                             size - at < piece ? size - at : piece, NULL);
    om_free(bytes);
    return err;
}

static int run(const test_case *c, const way *w, bool mean, double *worst)
{
    bool picture = strncmp(c->name, "pic_", 4) == 0, tuned = w->tuned;
    omcu_program *p = NULL;
    void *inputs[MAX_PORTS] = {NULL}, *outputs[MAX_PORTS] = {NULL};
    omcu_binding b = {.inputs = inputs, .outputs = outputs};
    const float *at = c->data;
    int err = build(c, w, NULL, &p);
    if (err) return err;
    if (w->int8)
        printf("        %s: %d of %d convolutions in 8-bit integers\n", c->name, count_int8(p),
               count_convs(p));
    omcu_tune_params tune = {.seconds = 20, .libraries = true, .threads = 4, .pick = w->pick};
    if (tuned) err = omcu_tune(p, &tune);
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].kind == OMCU_STEP_CONV)
            snprintf(last_product, sizeof last_product, "tactic %d", p->steps[i].tactic);
    if (!err) err = om_device_mem_alloc(device, p->arena, &b.arena);
    if (!err) err = om_device_mem_alloc(device, p->workspace ? p->workspace : 1, &b.workspace);
    if (!err) err = spoil(b.arena, p->arena);
    for (int i = 0; i < p->n_inputs && !err; i++) {
        err = om_device_mem_alloc(device, p->buffers[p->inputs[i]].bytes, &inputs[i]);
        if (!err) err = put_input(p, c, i, at, picture, inputs[i]);
        at += om_shape_count(&c->g->values[c->g->inputs[i]].shape);
    }
    for (int i = 0; i < p->n_outputs && !err; i++)
        err = om_device_mem_alloc(device, p->buffers[p->outputs[i]].bytes, &outputs[i]);
    om_stream *stream = NULL;
    om_event *event = NULL;
    bool gpu = device->ops->memory == OM_MEMORY_CUDA;
    if (!err && gpu) err = om_device_stream_create(device, 0, &stream);
    if (!err && gpu) err = om_device_event_create(device, &event);
    if (!err) err = omcu_run(p, &b, (void *)stream);
    if (!err && gpu) err = om_device_event_record(device, event, stream);
    if (!err && gpu) err = om_device_event_sync(device, event);
    *worst = 0;
    for (int i = 0; i < p->n_outputs && !err; i++) {
        size_t n = (size_t)om_shape_count(&p->out[i].shape);
        float *got = om_alloc((n + 1) * sizeof *got);
        if (!got) err = OM_ERR_NOMEM;
        if (!err && at + n > c->data + c->count) err = om_fail(OM_ERR_FORMAT, "its .bin is too short");
        if (!err) err = om_device_copy(device, OM_COPY_TO_HOST, got, outputs[i], n * sizeof *got, NULL);
        double d = err ? 0 : difference(got, at, n, mean);
        if (d < 0 || *worst < 0) *worst = -1;
        else if (d > *worst) *worst = d;
        at += n;
        om_free(got);
    }
    if (event) om_device_event_destroy(device, event);
    if (stream) om_device_stream_destroy(device, stream);
    for (int i = 0; i < MAX_PORTS; i++) {
        if (inputs[i]) om_device_mem_free(device, inputs[i]);
        if (outputs[i]) om_device_mem_free(device, outputs[i]);
    }
    if (b.arena) om_device_mem_free(device, b.arena);
    if (b.workspace) om_device_mem_free(device, b.workspace);
    omcu_program_destroy(p);
    return err;
}

/* One wire of a chain: on the device, in the host's memory, or both. */
typedef struct end {
    void *device;
    om_tensor host;
} end;

static int run_stage(const omcu_chain *chain, const omcu_stage *t, end *ends)
{
    om_tensor in[MAX_PORTS], out[MAX_PORTS];
    void *inputs[MAX_PORTS], *outputs[MAX_PORTS];
    omcu_binding b = {.inputs = inputs, .outputs = outputs};
    int err = OM_OK;
    for (int i = 0; i < t->n_in; i++) {
        in[i] = ends[t->in[i]].host;
        inputs[i] = ends[t->in[i]].device;
    }
    for (int i = 0; i < t->n_out; i++) {
        out[i] = ends[t->out[i]].host;
        outputs[i] = ends[t->out[i]].device;
    }
    if (t->part) {
        om_backend_part_run *run = NULL;
        err = chain->parts->open(t->part, in, t->n_in, out, t->n_out, &run);
        if (!err) err = chain->parts->run(run, out);
        for (int i = 0; i < t->n_out && !err; i++) {
            end *e = &ends[t->out[i]];
            if (!e->host.data) { /* the run's own, which goes with it */
                size_t bytes = (size_t)om_shape_count(&out[i].shape) * om_dtype_size(out[i].dtype);
                e->host = out[i];
                e->host.data = om_alloc(bytes + 1);
                if (e->host.data) memcpy(e->host.data, out[i].data, bytes);
                else err = OM_ERR_NOMEM;
            } else if (e->device)
                err = om_device_copy(device, OM_COPY_TO_DEVICE, e->device, e->host.data,
                                     chain->wires[t->out[i]].bytes, NULL);
        }
        chain->parts->close(run);
        return err;
    }
    om_stream *stream = NULL;
    om_event *event = NULL;
    bool gpu = device->ops->memory == OM_MEMORY_CUDA;
    err = om_device_mem_alloc(device, t->program->arena + 1, &b.arena);
    if (!err && gpu) err = om_device_stream_create(device, 0, &stream);
    if (!err && gpu) err = om_device_event_create(device, &event);
    if (!err) err = omcu_run(t->program, &b, (void *)stream);
    if (!err && gpu) err = om_device_event_record(device, event, stream);
    if (!err && gpu) err = om_device_event_sync(device, event);
    for (int i = 0; i < t->n_out && !err; i++)
        err = om_device_copy(device, OM_COPY_TO_HOST, ends[t->out[i]].host.data, outputs[i],
                             chain->wires[t->out[i]].bytes, NULL);
    if (event) om_device_event_destroy(device, event);
    if (stream) om_device_stream_destroy(device, stream);
    if (b.arena) om_device_mem_free(device, b.arena);
    return err;
}

/* The same for a graph that the engine shares with the CPU backend. */
static int run_chain(const test_case *c, const way *w, bool mean, double *worst)
{
    omcu_build how = {.half = w->half, .tf32 = w->tf32, .no_fusion = !w->fused};
    omcu_chain *chain = NULL;
    const float *at = c->data;
    *worst = 0;
    int err = omcu_chain_build(device, c->g, &how, 2, &chain);
    if (err) return err;
    end *ends = om_calloc((size_t)chain->n_wires + 1, sizeof *ends);
    if (!ends) err = OM_ERR_NOMEM;
    for (int i = 0; i < chain->n_wires && !err; i++) {
        const omcu_wire *wire = &chain->wires[i];
        ends[i].host = (om_tensor){.dtype = wire->dtype, .shape = wire->shape};
        if (!wire->bytes) continue;
        ends[i].host.data = om_calloc(1, wire->bytes);
        if (!ends[i].host.data) err = OM_ERR_NOMEM;
        if (!err && (wire->maker < 0 || wire->from_gpu || wire->to_gpu))
            err = om_device_mem_alloc(device, wire->bytes, &ends[i].device);
    }
    for (int i = 0; i < c->g->n_inputs && !err; i++) {
        size_t n = (size_t)om_shape_count(&c->g->values[c->g->inputs[i]].shape);
        for (int k = 0; k < chain->n_wires && !err; k++)
            if (!strcmp(chain->wires[k].name, c->g->values[c->g->inputs[i]].name))
                err = om_device_copy(device, OM_COPY_TO_DEVICE, ends[k].device, at, n * sizeof *at, NULL);
        at += n;
    }
    for (int i = 0; i < chain->n_stages && !err; i++)
        if (chain->stages[i].n_nodes) err = run_stage(chain, &chain->stages[i], ends);
    for (int i = 0; i < chain->n_outputs && !err; i++) {
        const om_tensor *t = &ends[chain->outputs[i]].host;
        size_t n = (size_t)om_shape_count(&t->shape);
        float *got = om_alloc((n + 1) * sizeof *got);
        if (!got) err = OM_ERR_NOMEM;
        if (!err && at + n > c->data + c->count) err = om_fail(OM_ERR_FORMAT, "its .bin is too short");
        for (size_t k = 0; k < n && !err; k++)
            got[k] =
                t->dtype == OM_DTYPE_I64 ? (float)((const int64_t *)t->data)[k] : ((const float *)t->data)[k];
        double d = err ? 0 : difference(got, at, n, mean);
        if (d < 0 || *worst < 0) *worst = -1;
        else if (d > *worst) *worst = d;
        at += n;
        om_free(got);
    }
    if (!err && at != c->data + c->count) err = om_fail(OM_ERR_FORMAT, "fewer numbers than expected");
    for (int i = 0; ends && i < chain->n_wires; i++) {
        om_free(ends[i].host.data);
        if (ends[i].device) om_device_mem_free(device, ends[i].device);
    }
    om_free(ends);
    char note[160];
    omcu_chain_note(chain, note, sizeof note);
    if (!err) printf("        %s: %d stages, %s\n", c->name, chain->n_stages, note);
    omcu_chain_destroy(chain);
    return err;
}

/* Every allocation of the lowering fails once: that error, and nothing left behind (AddressSanitizer looks).
 */
static int starve(const test_case *c)
{
    const way w = {.half = true, .fused = true, .int8 = strncmp(c->name, "q_", 2) == 0};
    bool met = true;
    for (long n = 0; met; n++) {
        omcu_program *p = NULL;
        om_mem_fail_after(n);
        int err = build(c, &w, NULL, &p);
        met = om_mem_injected();
        om_mem_fail_after(-1);
        omcu_program_destroy(p);
        if (err == (met ? OM_ERR_NOMEM : OM_OK)) continue;
        printf("FAILED  %s: allocation %ld failed, and so the lowering: %d, %s\n", c->name, n, err,
               om_error_message());
        return 1;
    }
    return 0;
}

/* A second program of the same model takes the first one's constants, and keeps them when that one goes. */
static int share(const test_case *c)
{
    const way w = {.half = true, .fused = true, .int8 = strncmp(c->name, "q_", 2) == 0};
    omcu_store *store = NULL;
    omcu_program *p[2] = {NULL};
    size_t held[2], asked[2];
    int err = omcu_store_create(device, &store);
    for (int i = 0; i < 2 && !err; i++) {
        err = build(c, &w, store, &p[i]);
        if (!err) omcu_store_sizes(store, &held[i], &asked[i]);
    }
    omcu_store_unref(store);
    omcu_program_destroy(p[0]);
    bool good = !err && held[0] == held[1] && asked[1] == 2 * asked[0] && held[0] <= asked[0];
    omcu_program_destroy(p[1]);
    if (!good) printf("FAILED  %s: two programs of it do not share their constants\n", c->name);
    return !good;
}

/* A rehearsal has the same steps over the same memory, and holds fewer constants, or no large ones. */
static int rehearse(const test_case *c)
{
    const way w = {.half = true, .fused = true, .int8 = strncmp(c->name, "q_", 2) == 0};
    omcu_store *store[2] = {NULL};
    omcu_program *p[2] = {NULL};
    size_t held[2] = {0}, asked[2] = {0};
    int err = omcu_store_create(device, &store[0]);
    if (!err) err = omcu_store_create_rehearsal(device, &store[1]);
    for (int i = 0; i < 2 && !err; i++) {
        err = build(c, &w, store[i], &p[i]);
        omcu_store_sizes(store[i], &held[i], &asked[i]);
    }
    bool good = !err && p[0]->n_steps == p[1]->n_steps && p[0]->arena == p[1]->arena &&
                asked[0] == asked[1] && held[1] <= held[0] && !omcu_store_rehearses(store[0]) &&
                omcu_store_rehearses(store[1]);
    for (int i = 0; i < 2; i++) {
        omcu_program_destroy(p[i]);
        omcu_store_unref(store[i]);
    }
    if (!good) printf("FAILED  %s: its rehearsal is not the program: %d\n", c->name, err);
    return !good;
}

/* Every candidate of every product, one after the other. */
static int each_candidate(const test_case *c, const double bound[3])
{
    static const way ways[] = {{.what = "f32", .tuned = true, .fused = true},
                               {.what = "tf32", .tuned = true, .fused = true, .tf32 = true},
                               {.what = "f16", .half = true, .tuned = true, .fused = true},
                               {.what = "int8", .half = true, .tuned = true, .fused = true, .int8 = true}};
    int failed = 0;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        double most =
            fmax(fabs(bound[ways[i].int8 ? 2 : ways[i].half || ways[i].tf32]), ways[i].tf32 ? 5e-3 : 0);
        if (ways[i].int8 && bound[2] == 0) continue;
        for (int pick = 1; pick <= MAX_PICKS; pick++) {
            way w = ways[i];
            double worst = 0;
            w.pick = pick;
            int err = run(c, &w, bound[1] < 0, &worst);
            bool ok = !err && worst >= 0 && worst <= most;
            failed += !ok;
            printf("%s %s %s candidate %d: %.3g %s\n", ok ? "ok     " : "FAILED ", c->name, w.what, pick,
                   worst, err ? om_error_message() : last_product);
            if (err == OM_ERR_DEVICE_LOST) return failed;
        }
    }
    return failed;
}

static int load(const char *folder, const char *name, test_case *c)
{
    om_graph *g = NULL;
    char *model = om_sprintf("%s/%s.onnx", folder, name), *data = om_sprintf("%s/%s.bin", folder, name),
         *bytes = NULL;
    size_t len = 0;
    *c = (test_case){.name = name};
    int err = model && data ? om_model_load(model, &g) : OM_ERR_NOMEM;
    if (!err) err = omcu_settle(g, NULL, 0, &c->g);
    if (!err) err = om_read_file(data, MAX_FILE, &bytes, &len);
    c->data = (float *)(void *)bytes;
    c->count = len / sizeof(float);
    om_graph_destroy(g);
    om_free(model);
    om_free(data);
    return err;
}

/* How many of its ways failed; -1: a node test of something the engine says it does not do. */
static int one(const char *folder, const char *name, const double bound[3], bool gpu, bool every)
{
    test_case c;
    int failed = 0, err = load(folder, name, &c);
    if (err) {
        printf("FAILED  %s: %s\n", name, om_error_message());
        failed = 1;
    }
    static const way ways[] = {
        {.what = "f32", .fused = true},
        {.what = "f16", .half = true, .fused = true},
        {.what = "f16 apart", .half = true},
        {.what = "int8", .half = true, .fused = true, .int8 = true},
        {.what = "f16 tuned", .half = true, .tuned = true, .fused = true, .gpu = true},
        {.what = "int8 tuned", .half = true, .tuned = true, .fused = true, .gpu = true, .int8 = true},
        {.what = "tf32", .fused = true, .tf32 = true, .gpu = true},
        {.what = "tf32 tuned", .fused = true, .tuned = true, .tf32 = true, .gpu = true},
        {.what = "f32 tuned", .tuned = true, .fused = true, .gpu = true}};
    if (every && !err) failed = each_candidate(&c, bound);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0] && !err && !every; i++) {
        double worst = 0;
        if ((ways[i].gpu && !gpu) || (ways[i].int8 && bound[2] == 0)) continue;
        bool mean = bound[1] < 0;
        /* A factor of tf32 has as many digits as one of f16. */
        double most = fabs(ways[i].int8 ? bound[2] : ways[i].half || ways[i].tf32 ? bound[1] : bound[0]);
        if (ways[i].tf32 && most < 5e-3) most = 5e-3;
        bool shared = strncmp(name, "cpu_", 4) == 0;
        if (shared && ways[i].tuned) continue;
        err = shared ? run_chain(&c, &ways[i], mean, &worst) : run(&c, &ways[i], mean, &worst);
        if ((err == OM_ERR_UNSUPPORTED && strncmp(name, "node_", 5) == 0) ||
            (err == OM_ERR_NOT_FOUND && shared)) {
            printf("skipped %s: %s\n", name, om_error_message());
            failed = -1;
            break;
        }
        if (err) printf("FAILED  %s %s: %s\n", name, ways[i].what, om_error_message());
        else if (worst < 0 || worst > most)
            printf("FAILED  %s %s: differs by %.3g, bound %.3g\n", name, ways[i].what, worst, most);
        else {
            printf("ok      %s %s: %.2g\n", name, ways[i].what, worst);
            continue;
        }
        failed++;
        if (err == OM_ERR_DEVICE_LOST) break;
        err = OM_OK;
    }
    static const char *const starved[] = {"crnn",       "c2f",        "sppf",
                                          "head_v5",    "head_v8",    "attention_64_50",
                                          "q_u8_block", "q_s8_pools", "linear_resize"};
    for (size_t i = 0; i < sizeof starved / sizeof starved[0] && !gpu && !failed; i++)
        if (strcmp(name, starved[i]) == 0) failed = starve(&c) || share(&c) || rehearse(&c);
    om_graph_destroy(c.g);
    om_free(c.data);
    return failed;
}

static void say(void *user, om_log_level level, const char *line) { printf("        %s\n", line); }

int main(int argc, char **argv)
{
    char path[512], line[256], name[128];
    double bound[3];
    int failed = 0, skipped = 0, n = 0;
    if (argc < 3) return 2;
    bool every = argc > 4 && strcmp(argv[4], "every") == 0;
    om_log_set(say, NULL, every ? OM_LOG_DEBUG : OM_LOG_INFO);
    if (&om_device_cuda) om_device_register(&om_device_cuda);
    if (om_device_open(argv[1], &device)) {
        fprintf(stderr, "skipped: %s\n", om_error_message());
        return 77;
    }
    snprintf(path, sizeof path, "%s/cases.txt", argv[2]);
    FILE *list = fopen(path, "r");
    if (!list) {
        fprintf(stderr, "%s: cannot be read\n", path);
        return 1;
    }
    bool gpu = device->ops->memory == OM_MEMORY_CUDA;
    while (fgets(line, sizeof line, list)) {
        bound[2] = 0;
        if (sscanf(line, "%127s %lf %lf %lf", name, &bound[0], &bound[1], &bound[2]) < 3) continue;
        if (argc > 3 && !strstr(name, argv[3])) continue;
        int result = one(argv[2], name, bound, gpu, every);
        failed += result > 0;
        skipped += result < 0;
        n++;
        fflush(stdout);
    }
    fclose(list);
    om_device_close(device);
    printf("%d passed, %d failed, %d skipped\n", n - failed - skipped, failed, skipped);
    return failed || !n;
}
