/* Up the ladder until a limit breaks, then to the point between. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "bench/trial.h"

#define MAX_SPREAD_S 2.0 /* over which clips begin: their key pictures then fall apart, as cameras' do */

int om_rung_add(om_bench_result *r, const om_rung *rung)
{
    void *items = r->rungs;
    int err = om_grow(&items, &r->cap_rungs, r->n_rungs + 1, sizeof *r->rungs);
    r->rungs = items;
    if (!err) r->rungs[r->n_rungs++] = *rung;
    return err;
}

static double spread(const om_bench_options *o)
{
    double s = fmin(MAX_SPREAD_S, o->warmup / 2);
    return fmax(s, 1 / o->fps); /* every moment between two frames of a stream is some stream's */
}

om_trial_params om_bench_paced(const om_bench_options *o, int streams)
{
    return (om_trial_params){.inputs = &o->inputs,
                             .streams = streams,
                             .paced = true,
                             .fps = o->fps,
                             .spread_s = spread(o),
                             .seed = o->seed,
                             .conf = -1};
}

void om_bench_describe(om_trial *t)
{
    om_bench_result *r = t->bench->result;
    om_str text = {0};
    om_pipeline_describe(t->pipeline, &text);
    snprintf(r->engine, sizeof r->engine, "%s", om_str_get(&text));
    om_str_fini(&text);
}

/* Nothing could be measured with so many: that is what the rung says. */
static void rung_broken(int streams, double target, const char *why, om_rung *out)
{
    *out = (om_rung){.streams = streams, .target = target, .failed = streams};
    out->fps_min = out->fps_median = 0;
    out->mean_ms = out->p50_ms = out->p95_ms = out->p99_ms = out->max_ms = out->drop_percent = NAN;
    out->cpu_percent = out->memory_mb = out->gpu_percent = out->gpu_memory_mb = out->nvdec_percent = NAN;
    out->network_mbit = out->mean_batch = out->others_percent = NAN;
    out->books = true;
    snprintf(out->error, sizeof out->error, "%s", why);
}

int om_rung_measure(om_bench *b, int streams, const char *what, om_rung *out)
{
    const om_bench_options *o = b->options;
    om_trial_params p = om_bench_paced(o, streams);
    om_trial t;
    char text[120];
    bool books = true;
    int err = om_trial_start(b, &p, &t);
    if (err == OM_ERR_CANCELLED || err == OM_ERR_ARG || (err && !b->result->n_rungs)) return err;
    if (err) {
        rung_broken(streams, o->fps, om_error_message(), out);
        return OM_OK;
    }
    om_bench_describe(&t);
    snprintf(text, sizeof text, "%s: warming up", what);
    int rc = om_trial_wait(&t, o->warmup, text);
    if (!rc || rc == OM_ERR_EOF) rc = om_trial_measure(&t, rc ? 0 : o->duration, what);
    double target = om_trial_target(&t, o->fps);
    if (t.last.ns > t.first.ns) err = om_trial_rung(&t, target, out);
    else err = rc ? rc : om_fail(OM_ERR_INTERNAL, "nothing was measured");
    int stopped = om_trial_stop(&t, &books);
    out->books = books;
    om_trial_fini(&t);
    if (rc == OM_ERR_CANCELLED) return rc; /* a rung that was cut short says nothing */
    return err ? err : stopped;
}

static void tell(om_bench *b, const om_rung *r)
{
    char text[400];
    if (!b->caller->line) return;
    if (!r->carried && (r->failed || isnan(r->mean_ms)))
        snprintf(text, sizeof text, "%d stream%s: %s", r->streams, r->streams == 1 ? "" : "s", r->why);
    else
        snprintf(
            text, sizeof text,
            "%d stream%s: %.2f fps each (least %.2f), latency %.0f ms mean, %.0f ms p99, dropped %.2f%%, CPU %.0f%%: %s",
            r->streams, r->streams == 1 ? "" : "s", r->fps_median, r->fps_min, r->mean_ms, r->p99_ms,
            r->drop_percent, r->cpu_percent, r->carried ? "held" : r->why);
    b->caller->line(b->caller->user, text);
}

static int climb(om_bench *b, int streams)
{
    om_bench_result *res = b->result;
    om_rung r;
    char what[64];
    snprintf(what, sizeof what, "%d stream%s", streams, streams == 1 ? "" : "s");
    memset(&r, 0, sizeof r);
    int err = om_rung_measure(b, streams, what, &r);
    if (err) return err;
    r.streams = streams;
    om_rung_judge(b->options, &r);
    if (b->caller->progress) b->caller->progress(b->caller->user, NULL);
    tell(b, &r);
    if (r.carried && streams > res->carried) res->carried = streams;
    if (!r.carried && (!res->broken || streams < res->broken)) res->broken = streams;
    return om_rung_add(res, &r);
}

static const om_rung *find(const om_bench_result *r, int streams)
{
    for (size_t i = 0; i < r->n_rungs; i++)
        if (r->rungs[i].streams == streams) return &r->rungs[i];
    return NULL;
}

/* Neighbours, or as near as two in a hundred. */
static bool close_enough(int low, int high) { return high - low <= 1 || (high - low) * 50 <= low; }

static int bisect(om_bench *b)
{
    const om_bench_result *r = b->result;
    int err = OM_OK;
    while (!err && r->carried && r->broken && r->carried < r->broken && !close_enough(r->carried, r->broken))
        err = climb(b, r->carried + (r->broken - r->carried) / 2);
    return err;
}

int om_bench_ladder(om_bench *b)
{
    const om_bench_options *o = b->options;
    om_bench_result *r = b->result;
    om_bench_rungs ladder;
    int err = om_bench_rungs_parse(o->ladder, &ladder), top = 0;
    while (!err && !r->broken && (top = om_bench_rungs_next(&ladder, top, o->max_streams)) > 0)
        err = climb(b, top);
    if (!err && !r->broken)
        snprintf(r->stopped, sizeof r->stopped,
                 ladder.endless ? "--max-streams %d was reached" : "the ladder ends at %d",
                 ladder.endless ? o->max_streams : ladder.rungs[ladder.n - 1]);
    if (!err && o->bisect) err = bisect(b);
    if (!err && o->streams && !find(r, o->streams)) err = climb(b, o->streams);
    return err;
}
