/* So many streams for so long: what must stay as it is, stays. */
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "bench/faults.h"
#include "bench/trial.h"

#define SAMPLES 720      /* of a long soak: enough for a trend, few enough to compare each with each */
#define LEAST_SAMPLES 24 /* of a short one */
#define MOST_SAMPLES 4000
#define SETTLING 5 /* the first fifth is left out of trends: pools fill, buffers find their size */

const char *const om_trend_names[OM_TREND_COUNT] = {"resident memory", "open handles", "threads",
                                                    "mean latency", "99th percentile of latencies"};
const char *const om_trend_units[OM_TREND_COUNT] = {"MB", "", "", "ms", "ms"};

static double period_of(const om_bench_options *o)
{
    double all = o->soak * 3600;
    if (o->sample_period > 0) return fmax(o->sample_period, all / MOST_SAMPLES);
    return fmax(0.1, fmin(fmax(1, all / SAMPLES), all / LEAST_SAMPLES));
}

/* A rise that is none: 2 MB or a hundredth; half a handle; 5 ms or a tenth. */
static double allowance(om_trend_of what, double median)
{
    switch (what) {
    case OM_TREND_MEMORY: return fmax(2, 0.01 * median);
    case OM_TREND_MEAN:
    case OM_TREND_P99: return fmax(5, 0.1 * median);
    default: return 0.5;
    }
}

static void look(om_trial *t, om_hist *before, double at_s, uint64_t *inferred, double seconds,
                 om_soak_sample *out)
{
    om_hist now, window;
    om_stream_stats s = {0};
    malloc_trim(0); /* freed memory that the allocator keeps is no leak */
    om_process p = om_process_look();
    om_pipeline_latency(t->pipeline, &now);
    om_hist_since(&now, before, &window);
    *before = now;
    om_pipeline_stats(t->pipeline, -1, &s);
    *out = (om_soak_sample){.at_s = at_s};
    out->value[OM_TREND_MEMORY] = p.memory_mb >= 0 ? p.memory_mb : NAN;
    out->value[OM_TREND_HANDLES] = p.handles >= 0 ? p.handles : NAN;
    out->value[OM_TREND_THREADS] = p.threads >= 0 ? p.threads : NAN;
    out->value[OM_TREND_MEAN] = window.count ? om_hist_mean(&window) / 1e6 : NAN;
    out->value[OM_TREND_P99] = window.count ? (double)om_hist_quantile(&window, .99) / 1e6 : NAN;
    out->fps = seconds > 0 ? (double)(s.inferred - *inferred) / seconds : NAN;
    *inferred = s.inferred;
}

static int keep(om_soak *s, const om_soak_sample *sample)
{
    void *items = s->samples;
    int err = om_grow(&items, &s->cap_samples, s->n_samples + 1, sizeof *s->samples);
    s->samples = items;
    if (!err) s->samples[s->n_samples++] = *sample;
    return err;
}

static void progress_text(const om_bench_options *o, const om_soak *s, double at_s, char *out, size_t size)
{
    double memory = s->n_samples ? s->samples[s->n_samples - 1].value[OM_TREND_MEMORY] : 0;
    snprintf(out, size, "soak: %.0f of %.0f s, %.0f MB", at_s, o->soak * 3600, memory);
}

/* To the end of the soak; OM_ERR_CANCELLED, OM_ERR_EOF: the pipeline ended. */
static int go_on(om_bench *b, om_trial *t, om_faults *f)
{
    const om_bench_options *o = b->options;
    om_soak *s = &b->result->soak;
    double period = period_of(o);
    int64_t begin = om_now_ns(), last = begin;
    om_hist before = t->first.latency;
    uint64_t inferred = t->first.inferred;
    int err = OM_OK;
    while (!err && s->seconds < o->soak * 3600) {
        char text[96];
        progress_text(o, s, s->seconds, text, sizeof text);
        double next = fmin((double)(s->n_samples + 1) * period, o->soak * 3600) - s->seconds;
        err = om_faults_wait(f, t, fmax(next, 0.01), text);
        int64_t now = om_now_ns();
        s->seconds = (double)(now - begin) / 1e9;
        if (err) break;
        om_soak_sample sample;
        look(t, &before, s->seconds, &inferred, (double)(now - last) / 1e9, &sample);
        last = now;
        sample.streams = o->streams - f->n_away;
        err = keep(s, &sample);
    }
    s->removed = f->removed;
    s->added = f->added;
    return err;
}

static int trends(om_soak *s)
{
    s->skipped = s->n_samples / SETTLING;
    size_t n = s->n_samples - s->skipped;
    double *x = om_alloc((2 * n + 1) * sizeof *x), *y = x ? x + n : NULL;
    if (!x) return OM_ERR_NOMEM;
    int err = OM_OK;
    s->enough = true;
    for (int k = 0; k < OM_TREND_COUNT && !err; k++) {
        for (size_t i = 0; i < n; i++) {
            x[i] = s->samples[s->skipped + i].at_s / 3600;
            y[i] = s->samples[s->skipped + i].value[k];
        }
        om_trend *t = &s->trends[k];
        err = om_trend_fit(x, y, n, t);
        if (!err) om_trend_allow(t, allowance((om_trend_of)k, isnan(t->median) ? 0 : t->median));
        s->enough = s->enough && !isnan(t->slope);
    }
    om_free(x);
    return err;
}

static bool is_flat(const om_soak *s, const om_rung *r)
{
    bool flat = s->enough && !s->ended && s->received == s->accounted && !r->failed;
    for (int k = 0; k < OM_TREND_COUNT; k++) flat = flat && !s->trends[k].rising;
    return flat;
}

int om_bench_soak(om_bench *b)
{
    const om_bench_options *o = b->options;
    om_soak *s = &b->result->soak;
    om_trial_params p = om_bench_paced(o, o->streams);
    p.reconnect = true;
    om_trial t;
    om_faults f;
    om_rung r;
    bool books;
    int err = om_trial_start(b, &p, &t);
    if (err) return err;
    om_bench_describe(&t);
    om_faults_init(&f, o->faults, o->soak * 3600, &p);
    int rc = om_trial_wait(&t, o->warmup, "soak: warming up");
    if (!rc) rc = om_snapshot_take(t.pipeline, &t.first);
    if (!rc) rc = go_on(b, &t, &f);
    s->ended = rc == OM_ERR_EOF;
    double target = om_trial_target(&t, o->fps);
    if (s->n_samples) err = om_snapshot_take(t.pipeline, &t.last);
    int stopped = om_trial_stop(&t, &books);
    s->received = t.received;
    s->accounted = t.accounted;
    if (!err && s->n_samples && !(err = om_trial_rung(&t, target, &r))) {
        r.streams = o->streams;
        r.books = books;
        if (s->removed) r.fps_min = r.fps_median = NAN; /* those that came and went have other times */
        for (size_t i = 0; i < s->n_samples; i++)
            r.memory_mb = fmax(r.memory_mb, s->samples[i].value[OM_TREND_MEMORY]);
        om_rung_judge(o, &r);
        err = om_rung_add(b->result, &r);
        if (!err) err = trends(s);
        s->measured = !err;
        s->flat = !err && is_flat(s, &r);
    }
    om_trial_fini(&t);
    if (rc == OM_ERR_EOF) rc = s->n_samples ? OM_OK : om_fail(OM_ERR_IO, "the streams ended at once");
    return rc ? rc : err ? err : stopped;
}
