/* A moment of a pipeline, read from its own report: the names there are a contract. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "bench/trial.h"

/* Sums the members of an object {cause: number}; keeps them where `out` is given. */
static uint64_t causes(const om_json_value *totals, const char *key, om_loss *out, int *n)
{
    const om_json_value *o = om_json_get(totals, key);
    uint64_t all = 0;
    for (size_t i = 0; o && o->type == OM_JSON_OBJ && i < o->n; i++) {
        uint64_t v = (uint64_t)o->children[i].num;
        all += v;
        if (!out || *n == OM_BENCH_CAUSES) continue;
        snprintf(out[*n].name, sizeof out->name, "%s", o->keys[i]);
        out[(*n)++].n = v;
    }
    return all;
}

static int read_streams(const om_json_value *streams, om_snapshot *out)
{
    if (!streams || streams->type != OM_JSON_ARR) return OM_OK;
    out->stream_inferred = om_calloc(streams->n + 1, sizeof *out->stream_inferred);
    if (!out->stream_inferred) return OM_ERR_NOMEM;
    out->n_streams = (int)streams->n;
    for (size_t i = 0; i < streams->n; i++) {
        const om_json_value *s = &streams->children[i];
        out->stream_inferred[i] = (uint64_t)om_json_get_num(s, "inferred", 0);
        if (strcmp(om_json_get_string(s, "state"), "failed")) continue;
        if (!out->failed++) snprintf(out->error, sizeof out->error, "%s", om_json_get_string(s, "error"));
    }
    return OM_OK;
}

static void read_batches(const om_json_value *model, om_snapshot *out)
{
    const om_json_value *r = model ? om_json_get(model, "rectangles") : NULL;
    double frames = 0;
    for (size_t i = 0; r && r->type == OM_JSON_ARR && i < r->n; i++) {
        out->batches += om_json_get_num(&r->children[i], "batches", 0);
        frames += om_json_get_num(&r->children[i], "batches", 0) *
                  om_json_get_num(&r->children[i], "mean_batch", 0);
    }
    out->mean_batch = out->batches > 0 ? frames / out->batches : 0;
}

static int read_report(const om_json_value *report, om_snapshot *out)
{
    const om_json_value *totals = om_json_get(report, "totals");
    if (!totals) return om_fail(OM_ERR_INTERNAL, "the run's report has no totals");
    out->received = (uint64_t)om_json_get_num(totals, "received", 0);
    out->inferred = (uint64_t)om_json_get_num(totals, "inferred", 0);
    out->in_flight = (uint64_t)om_json_get_num(totals, "in_flight", 0);
    out->skipped = causes(totals, "skipped", NULL, NULL);
    out->dropped = causes(totals, "dropped", out->causes, &out->n_causes);
    out->bytes = (uint64_t)om_json_get_num(totals, "bytes", 0);
    const om_json_value *network = om_json_get(totals, "network_mbit_s");
    out->networked = network && network->type == OM_JSON_NUM;
    read_batches(om_json_get(report, "model"), out);
    return read_streams(om_json_get(report, "streams"), out);
}

int om_snapshot_take(om_pipeline *p, om_snapshot *out)
{
    char *report;
    om_json_value *parsed = NULL;
    om_snapshot_fini(out);
    out->ns = om_now_ns();
    out->cpu_ns = om_process_cpu_ns();
    out->machine_ns = om_machine_busy_ns();
    int err = om_pipeline_report(p, &report);
    om_pipeline_latency(p, &out->latency);
    if (!err) err = om_json_parse(report, strlen(report), &parsed);
    om_free_string(report);
    if (!err) err = read_report(parsed, out);
    om_json_free(parsed);
    return err;
}

void om_snapshot_fini(om_snapshot *s)
{
    om_free(s->stream_inferred);
    memset(s, 0, sizeof *s);
}
