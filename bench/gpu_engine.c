/* The CUDA engine alone, its input and outputs on the GPU:
 *   gpu_engine MODEL WIDTHxHEIGHT BATCH SECONDS [f32|tf32|f16|int8] [layers] [sessions=N] [cache=DIR] [log]
 * MODEL is an ONNX file or a plan; int8 wants one that carries its quantisation. $OMMA_CUDA_WITHOUT:
 * depthwise convolutions by cuDNN ("depthwise") or one number a thread ("blocks"). One JSON line: images a
 * second, the shortest and the middle time of one batch alone; "layers" adds the table, and how many steps of
 * it each kind of numbers has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/planfile.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/queue.h"
#include "base/str.h"

#define MAX_SESSIONS 16
#define MAX_LAYERS 1024
#define ALONE 100

typedef struct job {
    om_session *session;
    om_queue *queue;
} job;

static void on_done(void *user)
{
    job *j = user;
    om_queue_try_push(j->queue, j);
}

/* Nobody reads the raw outputs: they stay where they are. */
static int finish(om_session *s)
{
    s->collecting = true;
    int err = om_session_wait(s);
    s->collecting = false;
    return err;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int alone(om_session *s, int batch, int64_t times[ALONE])
{
    om_queue q;
    job j = {s, &q};
    void *item;
    int err = om_queue_init(&q, 4);
    for (int i = 0; i < ALONE && !err; i++) {
        int64_t start = om_now_ns();
        err = om_session_submit(s, batch, on_done, &j);
        if (!err) err = om_queue_pop(&q, &item, OM_NEVER);
        if (!err) err = finish(s);
        times[i] = om_now_ns() - start;
    }
    om_queue_fini(&q);
    qsort(times, ALONE, sizeof *times, by_size);
    return err;
}

static int together(job *jobs, int n, int batch, double seconds, double *rate)
{
    int64_t start = om_now_ns(), end = start + (int64_t)(seconds * 1e9), done = 0;
    int in_flight = 0, err = OM_OK;
    for (; in_flight < n && !err; in_flight++)
        err = om_session_submit(jobs[in_flight].session, batch, on_done, &jobs[in_flight]);
    while (in_flight && !err) {
        void *item;
        err = om_queue_pop(jobs[0].queue, &item, OM_NEVER);
        if (!err) err = finish(((job *)item)->session);
        done += batch;
        in_flight--;
        if (!err && om_now_ns() < end) {
            err = om_session_submit(((job *)item)->session, batch, on_done, item);
            in_flight++;
        }
    }
    *rate = (double)done / ((double)(om_now_ns() - start) / 1e9);
    return err;
}

static void print_layers(om_session *s)
{
    static om_layer_time layers[MAX_LAYERS];
    int n = om_session_layers(s, layers, MAX_LAYERS);
    double total = 0;
    for (int i = 0; i < n; i++) total += (double)layers[i].ns / 1e3;
    for (int i = 0; i < n; i++)
        printf("%9.1f us %5.1f%%  %-14s %-24s %s\n", (double)layers[i].ns / 1e3,
               (double)layers[i].ns / 10 / total, layers[i].type, layers[i].exec, layers[i].name);
    printf("%9.1f us in %d steps\n", total, n);
    int products = 0, integers = 0;
    double spent = 0;
    for (int i = 0; i < n; i++) {
        bool product = !strncmp(layers[i].type, "Conv", 4) || !strcmp(layers[i].type, "Gemm") ||
                       !strcmp(layers[i].type, "MatMul");
        bool int8 = product && strstr(layers[i].exec, "_i8");
        products += product;
        integers += int8;
        if (int8) spent += (double)layers[i].ns / 1e3;
    }
    printf("%d of %d products in int8: %.1f us of %.1f\n", integers, products, spent, total);
}

static void say(void *user, om_log_level level, const char *line) { printf("%s\n", line); }

int main(int argc, char **argv)
{
    om_graph *g = NULL;
    om_model_desc *d = NULL;
    om_device *memory = NULL;
    om_plan *plan = NULL;
    om_plan_file *file = NULL;
    const om_backend_ops *ops;
    const char *name;
    om_size size;
    long long batch;
    double seconds;
    if (argc < 5) return 2;
    om_compile_params p = {.precision = OM_PRECISION_F16};
    bool layers = false;
    const char *precision = "f16";
    for (int i = 5; i < argc; i++) {
        for (const om_choice *c = om_precision_choices; c->name; c++)
            if (strcmp(argv[i], c->name) == 0) {
                p.precision = (om_precision)c->value;
                precision = c->name;
            }
        if (strcmp(argv[i], "layers") == 0) layers = p.profiling = true;
        else if (strcmp(argv[i], "log") == 0) om_log_set(say, NULL, OM_LOG_DEBUG);
        else if (strncmp(argv[i], "sessions=", 9) == 0) p.sessions = atoi(argv[i] + 9);
        else if (strncmp(argv[i], "cache=", 6) == 0) p.cache_dir = argv[i] + 6;
    }
    int err = om_backend_select("cuda:0", &ops, &name);
    if (!err) err = om_device_open("cuda:0", &memory);
    if (!err) err = om_parse_size(argv[2], &size);
    if (!err) err = om_parse_int(argv[3], &batch);
    if (!err) err = om_parse_double(argv[4], &seconds);
    if (!err) err = om_plan_file_open(argv[1], &g, &file);
    if (!err) err = om_graph_infer_shapes(g);
    if (!err) err = om_model_describe(g, &d);
    p.plan_file = file;
    p.graph = g;
    p.desc = d;
    p.memory = memory;
    p.batch = err ? 1 : (int)batch;
    p.width = err ? 1 : size.width;
    p.height = err ? 1 : size.height;
    int64_t start = om_now_ns();
    if (!err) err = om_plan_compile(ops, &p, &plan);
    double compiled = (double)(om_now_ns() - start) / 1e9, rate = 0;
    job jobs[MAX_SESSIONS] = {{0}};
    int64_t times[ALONE] = {0};
    om_queue q;
    if (!err) err = om_queue_init(&q, 64);
    int n = err ? 0 : plan->sessions < MAX_SESSIONS ? plan->sessions : MAX_SESSIONS;
    for (int i = 0; i < n && !err; i++) {
        jobs[i].queue = &q;
        err = om_session_create(plan, &jobs[i].session);
    }
    if (!err) err = alone(jobs[0].session, plan->batch, times);
    if (!err && layers) print_layers(jobs[0].session);
    if (!err && seconds > 0 && !layers) err = together(jobs, n, plan->batch, seconds, &rate);
    if (err) {
        printf("{\"model\": \"%s\", \"error\": \"%s\"}\n", argv[1], om_error_message());
        return 1;
    }
    printf(
        "{\"model\": \"%s\", \"precision\": \"%s\", \"batch\": %lld, \"img_s\": %.0f, \"batch_ms_min\": %.3f, \"batch_ms_p50\": %.3f, "
        "\"compile_s\": %.2f, \"note\": \"%s\"}\n",
        argv[1], precision, batch, rate, (double)times[0] / 1e6, (double)times[ALONE / 2] / 1e6, compiled,
        plan->note);
    for (int i = 0; i < n; i++) om_session_destroy(jobs[i].session);
    om_queue_fini(&q);
    om_plan_destroy(plan);
    om_plan_file_free(file);
    om_model_desc_free(d);
    om_graph_destroy(g);
    om_device_close(memory);
    return 0;
}
