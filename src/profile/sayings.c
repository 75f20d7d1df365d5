/* The words of each cause: what was measured, what to try, and how much that gains by the figures at hand. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "profile/facts.h"

void om_evidence(om_finding *x, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    om_strlist_add(&x->evidence, text);
}

void om_advise(om_finding *x, double times, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (x->advice.n == OM_ADVICE_MAX || n < 0) return;
    if (times > 0 && (size_t)n < sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, ": up to %.2f times as fast", times);
    if (om_strlist_add(&x->advice, text)) return;
    size_t at = x->advice.n - 1;
    char *added = x->advice.items[at];
    for (; at > 0 && x->gains[at - 1] < times; at--) {
        x->advice.items[at] = x->advice.items[at - 1];
        x->gains[at] = x->gains[at - 1];
    }
    x->advice.items[at] = added;
    x->gains[at] = times;
}

double om_gain(double share, double factor) { return 1 / (1 - fmin(share, .99) + share / factor); }

/* What was measured goes before what the peaks say. */
static void advise_measured_int8(const om_profile *p, om_finding *x)
{
    if (p->latency_us > 1.05 * p->int8_us)
        om_advise(x, p->latency_us / p->int8_us,
                  "quantise to int8: a form of this model in int8 took %.2f ms instead of %.2f",
                  p->int8_us / 1e3, p->latency_us / 1e3);
}

static void advise_precision(const om_facts *f, om_finding *x)
{
    const om_peaks *peaks = &f->p->peaks;
    double share = f->f32_dot_us / fmax(f->p->latency_us, 1), f32 = fmax(peaks->f32_gflops, 1);
    if (share < .1) return;
    if (f->p->int8_us > 0) advise_measured_int8(f->p, x);
    if (peaks->f16_gflops > 1.05 * f32) /* a GPU: what its engine does not compute in gains nothing */
        om_advise(x, om_gain(share, peaks->f16_gflops / f32), "--precision f16: %.1f times the products",
                  peaks->f16_gflops / f32);
    if (peaks->f16_gflops > 0) return;
    if (peaks->int8_gops > 1.05 * f32 && f->p->int8_us <= 0)
        om_advise(
            x, om_gain(share, peaks->int8_gops / f32),
            "quantise to int8: this machine does %.1f times the products in int8, and %.0f%% of the time is f32 products",
            peaks->int8_gops / f32, 100 * share);
    if (peaks->bf16_gflops > 1.05 * f32)
        om_advise(x, om_gain(share, peaks->bf16_gflops / f32), "--precision bf16: %.1f times the products",
                  peaks->bf16_gflops / f32);
}

/* The next smaller multiple of 32 that is about seven eighths of it. */
static int smaller(int side) { return side * 7 / 8 / 32 * 32; }

static void advise_size(const om_facts *f, om_finding *x)
{
    const om_profile *p = f->p;
    if (p->width < 256 || p->height < 256) return;
    int w = smaller(p->width), h = smaller(p->height);
    om_advise(x, (double)p->width * p->height / ((double)w * h),
              "a smaller --input-size, %dx%d, where what is looked for is large enough", w, h);
}

void om_say_conv(const om_facts *f, om_finding *x)
{
    const om_profile *p = f->p;
    double ideal_us = 0, us = 0;
    for (size_t i = 0; i < p->n_layers; i++) {
        const om_layer *l = &p->layers[i];
        if (l->roof != OM_ROOF_COMPUTE || !om_layer_is_dot(l)) continue;
        ideal_us += 2e-3 * (double)l->macs / fmax(1, om_peaks_gflops(&p->peaks, l->precision));
        us += l->us;
    }
    double reach = us > 0 ? ideal_us / us : 0;
    x->title =
        om_sprintf("%.0f%% of an inference is convolutions and products that compute more than they move",
                   100 * f->conv);
    om_evidence(
        x,
        "they reach %.0f%% of this machine's peak in their precisions (f32: %.0f GFLOP/s): better kernels or shapes can give %.2f times at the very most",
        100 * reach, p->peaks.f32_gflops, om_gain(f->conv, 1 / fmin(1, fmax(reach, .01))));
    advise_precision(f, x);
    advise_size(f, x);
    if (!x->advice.n) om_advise(x, 0, "a smaller model of the same family: time goes with its multiply-adds");
}

void om_say_memory(const om_facts *f, om_finding *x)
{
    const om_profile *p = f->p;
    double bytes = 0, us = 0;
    for (size_t i = 0; i < p->n_layers; i++) {
        if (p->layers[i].roof != OM_ROOF_MEMORY) continue;
        bytes += (double)p->layers[i].bytes;
        us += p->layers[i].us;
    }
    double gbs = us > 0 ? bytes / us / 1e3 : 0;
    x->title =
        om_sprintf("%.0f%% of an inference is layers that move more than they compute", 100 * f->memory);
    om_evidence(x,
                "they move %.1f MB at %.1f GB/s; the machine's memory gives %.1f GB/s, its caches %.1f GB/s",
                bytes / 1e6, gbs, p->peaks.memory_gbs, p->peaks.cache_gbs);
    if (f->depthwise > .2) om_evidence(x, "%.0f%% of the time is depthwise convolutions", 100 * f->depthwise);
    double single = 0; /* of what is bound by memory: in f32 */
    for (size_t i = 0; i < p->n_layers; i++)
        if (p->layers[i].roof == OM_ROOF_MEMORY && !strcmp(p->layers[i].precision, "f32"))
            single += p->layers[i].us / fmax(1, p->layers_us);
    if (!p->in_place && single > .05) om_advise(x, om_gain(single, 2), "--precision f16: half the bytes");
    if (p->in_place && f->wide_memory > .05)
        om_advise(x, om_gain(f->wide_memory, 4), "narrower numbers: int8 moves a quarter of the bytes");
    if (f->fusible_us > .02 * p->latency_us)
        om_advise(x, om_gain(f->fusible_us / p->latency_us, 100),
                  "fuse what is not fused (see the fusions): %.2f ms of an inference", f->fusible_us / 1e3);
    if (f->depthwise > .2 && gbs > 0 && p->peaks.cache_gbs > gbs)
        om_advise(x, om_gain(f->depthwise, p->peaks.cache_gbs / gbs),
                  "a depthwise kernel that keeps to the caches, or dense convolutions of the same size");
    if (!x->advice.n) om_advise(x, om_gain(f->memory, 2), "half as many channels or pixels in these layers");
}

void om_say_copy(const om_facts *f, om_finding *x)
{
    const om_profile *p = f->p;
    x->title = om_sprintf("%.0f%% of an inference is layers that only move data", 100 * f->copy);
    for (size_t i = 0; i < p->n_layers && x->evidence.n < 3; i++)
        if (p->layers[i].roof == OM_ROOF_COPY && p->layers[i].us > .05 * p->layers_us)
            om_evidence(x, "%s (%s): %.1f us for %.1f MB", p->layers[i].name, p->layers[i].type,
                        p->layers[i].us, (double)p->layers[i].bytes / 1e6);
    if (!x->evidence.n) om_evidence(x, "no one of them takes more than 5%%");
    om_advise(x, om_gain(f->copy, 100),
              "take them out of the model ('omma model simplify', 'omma model cut')");
    om_advise(x, om_gain(f->copy, 4), "work at half the side: a quarter of the bytes");
}

void om_say_launch(const om_facts *f, om_finding *x)
{
    const om_profile *p = f->p;
    double each = f->overhead * fmax(p->latency_us, p->layers_us) / (double)p->n_layers;
    x->title =
        om_sprintf("%.0f%% of an inference is the calling of %zu layers, most of which do almost nothing",
                   100 * f->overhead, p->n_layers);
    om_evidence(x,
                "%zu of %zu layers are short and far below the machine's roofs; %.1f us a layer on the whole",
                f->tiny, p->n_layers, each);
    om_advise(x, om_gain(f->overhead, 8), "a larger batch shares the calls: --batch 8");
    om_advise(x, om_gain(f->overhead, 2), "half as many operators: 'omma model simplify' folds and merges");
    if (!p->in_place) {
        om_advise(x, 0,
                  "more streams or models beside each other: a small kernel leaves most of the GPU idle");
        return;
    }
    om_advise(
        x, 0,
        "--threads 1 with several inferences beside each other: a small layer gains nothing by being shared out");
}

void om_say_diverse(const om_facts *f, om_finding *x)
{
    x->title = om_sprintf("no operator stands out: the longest kind, %s, takes %.0f%%",
                          f->top_name ? f->top_name : "?", 100 * f->top_type);
    om_evidence(x, "%zu kinds take more than 5%% each", f->types);
    om_advise(x, om_gain(f->top_type, 2),
              "the longest kind at twice the speed: look at size and precision of the whole rather");
    advise_precision(f, x);
    advise_size(f, x);
}

/* How far the run could go with a resource gone that takes `ms` of processor time a frame: to the next limit.
 */
static double without(const om_facts *f, om_resource r, double ms)
{
    double now = 0, next = 0;
    for (int i = 0; i < OM_RESOURCE_COUNT; i++) {
        double d = f->demand[i];
        now = fmax(now, d);
        if (i == (int)r || (r == OM_RESOURCE_DECODE && i == OM_RESOURCE_SOURCE)) continue;
        if (i == OM_RESOURCE_CPU) d -= fmin(d, ms / f->load.cores);
        next = fmax(next, d);
    }
    return next > 0 ? fmin(100, now / next) : 1;
}

void om_say_source(const om_facts *f, om_finding *x)
{
    x->title = om_sprintf("streams wait for their sources: %.1f ms of each frame", f->load.source);
    om_evidence(x, "decoding takes %.2f ms of a frame; the cores are busy to %.0f%%", f->load.decode,
                100 * f->use[OM_RESOURCE_CPU]);
    om_advise(x, without(f, OM_RESOURCE_SOURCE, 0), "faster storage or network");
    om_advise(x, 0, "more streams beside each other: the waiting overlaps");
}

void om_say_decode(const om_facts *f, om_finding *x)
{
    double most = without(f, OM_RESOURCE_DECODE, f->load.decode);
    x->title = om_sprintf("decoding takes %.2f ms of each frame, %.0f%% of what the cores do", f->load.decode,
                          100 * om_share_of_work(f, f->load.decode));
    om_evidence(x, "the streams' threads work %.0f%% of the time, the engine %.0f%%",
                100 * f->use[OM_RESOURCE_DECODE], 100 * f->use[OM_RESOURCE_INFER]);
    om_advise(x, most, "decode on a GPU (--decode cuda) where there is one");
    if (f->use[OM_RESOURCE_CPU] < .7) om_advise(x, fmin(2, most), "--decode-threads 2");
    om_advise(x, fmin(2, most), "smaller streams: half the pixels");
}

void om_say_prepost(const om_facts *f, om_finding *x)
{
    bool pre = f->load.gather >= f->load.head;
    double ms = pre ? f->load.gather : f->load.head;
    x->title = om_sprintf("%s takes %.2f ms of each frame",
                          pre ? "preparing the model's input" : "reading the model's outputs", ms);
    om_evidence(
        x, "prepare %.2f ms, infer %.2f ms, read outputs %.2f ms; the engine is in use %.0f%% of the time",
        f->load.gather, f->load.infer, f->load.head, 100 * f->use[OM_RESOURCE_INFER]);
    if (pre) om_advise(x, without(f, OM_RESOURCE_GATHER, ms), "smaller pictures: the camera's second stream");
    else om_advise(x, without(f, OM_RESOURCE_HEAD, ms), "a higher --conf, fewer --classes or --max-boxes");
    om_advise(x, 0, "see with 'omma info' that the vector kernels are in use (--cpu-mask takes them away)");
}

void om_say_batching(const om_facts *f, om_finding *x)
{
    x->title = om_sprintf("batches go out with %.1f of %.0f frames", f->load.mean_batch, f->load.batch_limit);
    om_evidence(x, "the engine is in use %.0f%% of the time", 100 * f->use[OM_RESOURCE_INFER]);
    om_advise(x, f->load.batch_limit / f->load.mean_batch,
              "a smaller --batch-size, where the model computes the whole batch whatever is in it");
    om_advise(x, 0, "--batch-min %.0f --batch-timeout-ms %.0f: fuller batches for some latency",
              f->load.batch_limit / 2, fmax(1, f->load.batch_infer_ms / 2));
}

void om_say_inference(const om_facts *f, om_finding *x)
{
    double ms = f->load.batch_infer_ms / f->load.mean_batch;
    x->title = om_sprintf("the model is what takes the time: %.2f ms a frame in the engine", ms);
    om_evidence(
        x,
        "the engine is in use %.0f%% of the time, the cores are busy to %.0f%%; frames wait %.2f ms for a batch",
        100 * f->use[OM_RESOURCE_INFER], 100 * f->use[OM_RESOURCE_CPU], f->load.mailbox);
    om_evidence(x, "decoding is %.0f%% of the work, preparing and reading outputs %.0f%%",
                100 * om_share_of_work(f, f->load.decode),
                100 * om_share_of_work(f, f->load.gather + f->load.head));
    om_advise(x, fmin(2, without(f, OM_RESOURCE_INFER, ms)),
              "--every 2, or half the --fps: the model sees half the frames");
    advise_precision(f, x);
    if (!f->layers) om_advise(x, 0, "'omma profile MODEL' shows which layers");
}

void om_say_contended(const om_facts *f, om_finding *x)
{
    const om_load *l = &f->load;
    x->title =
        om_sprintf("threads wait for cores: %.1f of %.0f cores were ours", l->cores_busy, l->machine_cores);
    om_evidence(x, "ready threads waited %.2f s while %.2f s of processor time were used", l->core_wait_s,
                l->cpu_s);
    if (l->throttled_s > 0)
        om_evidence(x, "a quota held the process back for %.2f of %.2f s", l->throttled_s, l->seconds);
    if (l->cores < l->machine_cores)
        om_evidence(x, "the process may use %.0f of the machine's %.0f cores", l->cores, l->machine_cores);
    om_advise(x, l->machine_cores / fmax(.1, fmin(l->cores_busy, l->cores)),
              "give it the cores (affinity, quota, fewer neighbours)");
}

void om_say_sink(const om_facts *f, om_finding *x)
{
    x->title = om_sprintf("streams wait %.2f ms of each frame for a sink", f->load.sink);
    om_evidence(x, "handing over takes %.0f%% of each stream's time; the engine is in use %.0f%%",
                100 * f->use[OM_RESOURCE_SINK], 100 * f->use[OM_RESOURCE_INFER]);
    om_advise(x, without(f, OM_RESOURCE_SINK, 0), "a faster target, or less in it");
    om_advise(x, 0, "--sink-policy drop-oldest, where results may be lost rather than late");
}

void om_say_power(const om_facts *f, om_finding *x)
{
    x->title =
        om_sprintf("the processor slowed itself down %.0f times during the run", f->load.power_throttles);
    om_evidence(x, "%.1f W, %.3f J a frame, as far as the machine tells", f->load.watts,
                f->load.joules_a_frame);
    om_advise(x, 0, "quantise: fewer joules a product; better cooling; a lower --fps");
}

void om_say_none(const om_facts *f, om_finding *x)
{
    const om_load *l = &f->load;
    x->title = om_strdup("nothing wrong: no rule holds");
    if (!l->there) return;
    om_evidence(
        x, "%.0f of %.0f packets were lost; half the frames took less than %.1f ms, 99%% less than %.1f ms",
        l->dropped, l->received, l->latency_p50_ms, l->latency_p99_ms);
    om_evidence(x, "the engine is in use %.0f%% of the time, the cores are busy to %.0f%%",
                100 * f->use[OM_RESOURCE_INFER], 100 * f->use[OM_RESOURCE_CPU]);
}
