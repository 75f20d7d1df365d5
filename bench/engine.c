/* The engine alone: as many inferences in flight as it wants, nothing before and nothing after them. Prints
 * one number, inferences a second. bench_engine MODEL WIDTHxHEIGHT SECONDS [PRECISION [DEVICE]] */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/option.h"
#include "base/queue.h"

#define MAX_SESSIONS 64

typedef struct job {
    om_session *session;
    om_queue *done;
} job;

static void on_done(void *user)
{
    job *j = user;
    om_queue_try_push(j->done, j);
}

static int die(void)
{
    fprintf(stderr, "bench_engine: %s\n", om_error_message());
    return 1;
}

static int measure(om_plan *plan, double seconds)
{
    om_queue done = {0};
    job jobs[MAX_SESSIONS];
    int n = plan->sessions + 1 < MAX_SESSIONS ? plan->sessions + 1 : MAX_SESSIONS;
    if (om_queue_init(&done, MAX_SESSIONS)) return die();
    for (int i = 0; i < n; i++) {
        jobs[i].done = &done;
        if (om_session_create(plan, &jobs[i].session)) return die();
        memset(jobs[i].session->input.data, 0, jobs[i].session->item_bytes * (size_t)plan->batch);
        if (om_session_submit(jobs[i].session, plan->batch, on_done, &jobs[i])) return die();
    }
    int64_t warm = om_now_ns() + OM_NS_PER_SEC, start = 0, end = warm + (int64_t)(seconds * 1e9), now;
    long count = 0;
    int running = n;
    while (running) {
        void *item;
        if (om_queue_pop(&done, &item, OM_NEVER)) return die();
        job *j = item;
        if (om_session_wait(j->session)) return die();
        now = om_now_ns();
        if (!start && now >= warm) start = now;
        else if (start && now < end) count += plan->batch;
        running--;
        if (now >= end) continue;
        if (om_session_submit(j->session, plan->batch, on_done, j)) return die();
        running++;
    }
    printf("%.3f\n", (double)count * 1e9 / (double)(end - start));
    for (int i = 0; i < n; i++) om_session_destroy(jobs[i].session);
    om_queue_fini(&done);
    return 0;
}

static int precision_of(const char *name)
{
    for (const om_choice *c = om_precision_choices; c->name; c++)
        if (!strcmp(c->name, name)) return c->value;
    return OM_PRECISION_AUTO;
}

int main(int argc, char **argv)
{
    om_size size;
    om_graph *g = NULL;
    om_model_desc *desc = NULL;
    om_device *host = NULL;
    om_plan *plan = NULL;
    const om_backend_ops *backend;
    const char *device;
    if (argc < 4 || om_parse_size(argv[2], &size)) {
        fprintf(stderr, "usage: bench_engine MODEL WIDTHxHEIGHT SECONDS [PRECISION [DEVICE]]\n");
        return 2;
    }
    if (om_model_load(argv[1], &g) || om_graph_infer_shapes(g) || om_model_describe(g, &desc) ||
        om_device_open("cpu", &host) || om_backend_select(argc > 5 ? argv[5] : "auto", &backend, &device))
        return die();
    om_compile_params p = {.graph = g,
                           .desc = desc,
                           .device = device,
                           .memory = host,
                           .batch = 1,
                           .width = size.width,
                           .height = size.height,
                           .precision = (om_precision)precision_of(argc > 4 ? argv[4] : "auto")};
    if (om_plan_compile(backend, &p, &plan)) return die();
    int rc = measure(plan, atof(argv[3]));
    om_plan_destroy(plan);
    om_device_close(host);
    om_model_desc_free(desc);
    om_graph_destroy(g);
    return rc;
}
