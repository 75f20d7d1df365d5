/* One model, one input, through one backend: the raw outputs for a witness to compare, or the engine's own
 * speed.
 *
 *   infer DEVICE MODEL WIDTHxHEIGHT BATCH INPUT OUTPUT [u8]   INPUT: the raw input tensor; writes OUTPUT.0,
 * OUTPUT.1, ... infer DEVICE MODEL WIDTHxHEIGHT BATCH speed SECONDS [u8] [latency]
 *
 * Without "u8" the input is as the model's description says. Prints one JSON line. Exit status 77: no such
 * backend. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/queue.h"
#include "base/str.h"

#define MAX_SESSIONS 64
#define MAX_INPUT (1u << 30)

typedef struct job {
    om_graph *graph;
    om_model_desc *desc;
    om_device *memory;
    om_plan *plan;
    om_queue done;
} job;

/* What on_done() gets: the session and where to put it. */
typedef struct slot {
    om_session *session;
    om_queue *queue;
} slot;

static void on_done(void *user)
{
    const slot *s = user;
    om_queue_try_push(s->queue, s->session);
}

static int load(job *j, char **argv, bool latency, bool u8)
{
    om_size size;
    long long batch;
    const om_backend_ops *ops;
    const char *device;
    int rc = om_backend_select(argv[1], &ops, &device);
    if (rc == OM_ERR_NOT_FOUND) {
        fprintf(stderr, "skipped: %s\n", om_error_message());
        exit(77);
    }
    if (rc == OM_OK) rc = om_parse_size(argv[3], &size);
    if (rc == OM_OK) rc = om_parse_int(argv[4], &batch);
    if (rc == OM_OK) rc = om_model_load(argv[2], &j->graph);
    if (rc == OM_OK) rc = om_graph_infer_shapes(j->graph);
    if (rc == OM_OK) rc = om_model_describe(j->graph, &j->desc);
    if (rc == OM_OK) rc = om_device_open("cpu", &j->memory);
    if (rc != OM_OK) return rc;
    om_compile_params p = {.graph = j->graph,
                           .desc = j->desc,
                           .device = device,
                           .memory = j->memory,
                           .batch = (int)batch,
                           .width = size.width,
                           .height = size.height,
                           .mode = latency ? OM_MODE_LATENCY : OM_MODE_THROUGHPUT,
                           .keep_prep = !u8};
    const char *text = getenv("INFER_SESSIONS");
    if (text) p.sessions = atoi(text);
    return om_plan_compile(ops, &p, &j->plan);
}

static int write_outputs(const om_session *s, const char *prefix)
{
    printf("\"outputs\": [");
    for (int i = 0; i < s->n_outputs; i++) {
        const om_tensor *t = &s->outputs[i];
        char *path = om_sprintf("%s.%d", prefix, i);
        FILE *f = path ? fopen(path, "wb") : NULL;
        om_free(path);
        if (!f) return om_fail(OM_ERR_IO, "%s.%d: cannot be written", prefix, i);
        fwrite(t->data, om_dtype_size(t->dtype), (size_t)om_shape_count(&t->shape), f);
        fclose(f);
        printf("%s{\"dtype\": \"%s\", \"shape\": [", i ? ", " : "", om_dtype_name(t->dtype));
        for (int k = 0; k < t->shape.rank; k++) printf("%s%lld", k ? ", " : "", (long long)t->shape.dim[k]);
        printf("]}");
    }
    printf("]");
    return OM_OK;
}

static int run_once(job *j, const char *input, const char *output)
{
    om_session *s = NULL;
    char *bytes = NULL;
    size_t len;
    int rc = om_session_create(j->plan, &s);
    if (rc == OM_OK) rc = om_read_file(input, MAX_INPUT, &bytes, &len);
    if (rc == OM_OK && len != s->item_bytes * (size_t)j->plan->batch)
        rc = om_fail(OM_ERR_ARG, "%s: %zu bytes, expected %zu", input, len,
                     s->item_bytes * (size_t)j->plan->batch);
    if (rc == OM_OK) {
        memcpy(s->input.data, bytes, len);
        slot place = {s, &j->done};
        rc = om_session_submit(s, j->plan->batch, on_done, &place);
        if (rc == OM_OK) rc = om_session_wait(s);
    }
    if (rc == OM_OK) rc = write_outputs(s, output);
    om_free(bytes);
    om_session_destroy(s);
    return rc;
}

/* As many in flight as the plan wants, for `seconds`. */
static int run_for(job *j, double seconds)
{
    slot slots[MAX_SESSIONS] = {0};
    int n = j->plan->sessions < MAX_SESSIONS ? j->plan->sessions : MAX_SESSIONS, in_flight = 0, rc = OM_OK;
    long long done = 0;
    for (int i = 0; i < n && rc == OM_OK; i++) {
        slots[i].queue = &j->done;
        rc = om_session_create(j->plan, &slots[i].session);
    }
    int64_t cpu = om_process_cpu_ns(), start = om_now_ns(), end = start + (int64_t)(seconds * 1e9);
    for (int i = 0; i < n && rc == OM_OK; i++, in_flight++)
        rc = om_session_submit(slots[i].session, j->plan->batch, on_done, &slots[i]);
    while (in_flight && rc == OM_OK) {
        void *item;
        rc = om_queue_pop(&j->done, &item, OM_NEVER);
        if (rc == OM_OK) rc = om_session_wait(item);
        in_flight--;
        done += j->plan->batch;
        for (int i = 0; i < n && rc == OM_OK && om_now_ns() < end; i++)
            if (slots[i].session == item) {
                rc = om_session_submit(item, j->plan->batch, on_done, &slots[i]);
                in_flight++;
            }
    }
    double took = (double)(om_now_ns() - start) / 1e9;
    for (int i = 0; i < n; i++) om_session_destroy(slots[i].session);
    double cpu_ms = done ? (double)(om_process_cpu_ns() - cpu) / 1e6 / (double)done : 0;
    printf("\"fps\": %.2f, \"cpu_ms\": %.2f", (double)done / took, cpu_ms);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        fprintf(
            stderr,
            "usage: infer DEVICE MODEL WIDTHxHEIGHT BATCH (INPUT OUTPUT | speed SECONDS) [u8] [latency]\n");
        return 2;
    }
    bool u8 = false, latency = false;
    for (int i = 7; i < argc; i++) {
        u8 |= strcmp(argv[i], "u8") == 0;
        latency |= strcmp(argv[i], "latency") == 0;
    }
    job j = {0};
    int64_t start = om_now_ns();
    int rc = om_queue_init(&j.done, MAX_SESSIONS);
    if (rc == OM_OK) rc = load(&j, argv, latency, u8);
    if (rc == OM_OK) {
        const om_prep *prep = &j.desc->prep;
        printf("{\"note\": \"%s\", \"sessions\": %d, \"load_ms\": %.0f, ", j.plan->note, j.plan->sessions,
               (double)(om_now_ns() - start) / 1e6);
        printf("\"prep\": {\"mean\": [%.9g, %.9g, %.9g], \"scale\": [%.9g, %.9g, %.9g]}, ",
               (double)prep->mean[0], (double)prep->mean[1], (double)prep->mean[2], (double)prep->scale[0],
               (double)prep->scale[1], (double)prep->scale[2]);
        rc = strcmp(argv[5], "speed") == 0 ? run_for(&j, strtod(argv[6], NULL))
                                           : run_once(&j, argv[5], argv[6]);
        printf("}\n");
    }
    if (rc != OM_OK) fprintf(stderr, "infer: %s\n", om_error_message());
    om_plan_destroy(j.plan);
    om_model_desc_free(j.desc);
    om_device_close(j.memory);
    om_graph_destroy(j.graph);
    om_queue_fini(&j.done);
    return rc == OM_OK ? 0 : 1;
}
