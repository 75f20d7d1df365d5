/* The rules: which measured figures mean which cause, what to try, and what that should gain. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "profile/facts.h"

const char *om_cause_name(om_cause c)
{
    static const char *const names[OM_CAUSE_COUNT] = {
        [OM_CAUSE_NONE] = "nothing wrong",        [OM_CAUSE_CONV] = "conv-dominated",
        [OM_CAUSE_MEMORY] = "memory-bound",       [OM_CAUSE_COPY] = "copy-bound",
        [OM_CAUSE_DIVERSE] = "operator-diverse",  [OM_CAUSE_LAUNCH] = "launch-bound",
        [OM_CAUSE_SOURCE] = "source-bound",       [OM_CAUSE_DECODE] = "decode-bound",
        [OM_CAUSE_PREPOST] = "pre/post-bound",    [OM_CAUSE_BATCHING] = "batching-bound",
        [OM_CAUSE_INFERENCE] = "inference-bound", [OM_CAUSE_CONTENDED] = "cpu-contended",
        [OM_CAUSE_SINK] = "sink-bound",           [OM_CAUSE_POWER] = "power-bound",
    };
    return names[c];
}

#define CALL_US 20

bool om_layer_is_dot(const om_layer *l) { return l->macs > 0 && strcmp(l->type, "Conv dw"); }

double om_share_of_work(const om_facts *f, double ms)
{
    return f->load.cpu_s > 0 ? ms * f->load.frames / 1e3 / f->load.cpu_s : 0;
}

static void look_at_types(om_facts *f)
{
    om_type_sum sums[64];
    const om_profile *p = f->p;
    size_t n = om_profile_types(p, sums, 64);
    for (size_t i = 0; i < n; i++) f->types += sums[i].us > .05 * p->layers_us;
    if (!n) return;
    f->top_type = sums[0].us / p->layers_us;
    f->top_name = sums[0].type;
}

static void look_at_layers(om_facts *f)
{
    const om_profile *p = f->p;
    /* What no layer accounts for is their calls' own; more than so much a layer is something else's. */
    double calls = fmin(fmax(0, p->latency_us - p->layers_us), CALL_US * (double)p->n_layers);
    double all = p->layers_us + calls;
    f->layers = p->n_layers > 0 && all > 0;
    if (!f->layers) return;
    for (size_t i = 0; i < p->n_layers; i++) {
        const om_layer *l = &p->layers[i];
        double share = l->us / all;
        f->conv += l->roof == OM_ROOF_COMPUTE && om_layer_is_dot(l) ? share : 0;
        f->depthwise += !strcmp(l->type, "Conv dw") ? share : 0;
        f->memory += l->roof == OM_ROOF_MEMORY ? share : 0;
        f->wide_memory += l->roof == OM_ROOF_MEMORY && strcmp(l->precision, "int8") ? share : 0;
        f->copy += l->roof == OM_ROOF_COPY ? share : 0;
        f->overhead += l->roof == OM_ROOF_OVERHEAD ? share : 0;
        f->tiny += l->roof == OM_ROOF_OVERHEAD;
        if (om_layer_is_dot(l) && !strcmp(l->precision, "f32")) f->f32_dot_us += l->us;
    }
    f->overhead += calls / all;
    for (size_t i = 0; i < p->n_fusions; i++)
        if (p->fusions[i].state == OM_FUSION_OPEN && strcmp(p->fusions[i].pattern, "QDQ island"))
            f->fusible_us += p->fusions[i].us;
    look_at_types(f);
}

static void look_at_run(om_facts *f)
{
    om_load_read(f->p->run, &f->load);
    if (!f->load.there) return;
    om_load_demands(&f->load, f->demand);
    for (int i = 0; i < OM_RESOURCE_COUNT; i++) f->use[i] = fmin(1, f->demand[i] * f->load.fps / 1e3);
}

static double no_loss(const om_facts *f)
{
    const om_load *l = &f->load;
    if (!l->there || l->live_streams < l->n_streams) return 0;
    return l->dropped <= .01 * l->received ? 1 : 0;
}

/* What each cause weighs: the share of the time that it explains, 0 where it does not hold. */
static double weigh_conv(const om_facts *f) { return f->layers && f->conv >= .5 ? f->conv : 0; }

static double weigh_memory(const om_facts *f)
{
    return f->layers && f->memory >= .25 && f->memory >= f->conv ? f->memory : 0;
}

static double weigh_copy(const om_facts *f) { return f->layers && f->copy >= .25 ? f->copy : 0; }

static double weigh_launch(const om_facts *f)
{
    return f->layers && f->overhead >= .35 && f->tiny >= 20 ? f->overhead : 0;
}

static double weigh_diverse(const om_facts *f)
{
    bool any = weigh_conv(f) > 0 || weigh_memory(f) > 0 || weigh_copy(f) > 0 || weigh_launch(f) > 0;
    return f->layers && !any && f->types >= 4 ? 1 - f->top_type : 0;
}

static double weigh_source(const om_facts *f)
{
    const om_load *l = &f->load;
    if (!l->there || l->live_streams > 0 || l->source < l->decode) return 0;
    double share = l->source / l->n_streams * l->fps / 1e3;
    return share >= .5 && f->use[OM_RESOURCE_CPU] < .85 ? fmin(1, share) : 0;
}

/* A share of what the cores did, or a thread a stream that never rests. */
static double weigh_decode(const om_facts *f)
{
    if (!f->load.there || om_weigh_decoders(f) > 0) return 0;
    double work = om_share_of_work(f, f->load.decode), thread = f->use[OM_RESOURCE_DECODE];
    if (f->use[OM_RESOURCE_CPU] >= .7 && work >= .5) return work;
    return thread >= .7 && f->use[OM_RESOURCE_INFER] < thread ? thread : 0;
}

static double weigh_prepost(const om_facts *f)
{
    if (!f->load.there) return 0;
    double work = om_share_of_work(f, f->load.gather + f->load.head);
    double thread = fmax(f->use[OM_RESOURCE_GATHER], f->use[OM_RESOURCE_HEAD]);
    if (f->use[OM_RESOURCE_CPU] >= .7 && work >= .4) return work;
    return thread >= .6 ? thread : 0;
}

static double weigh_sink(const om_facts *f)
{
    if (!f->load.there) return 0;
    double use = f->use[OM_RESOURCE_SINK];
    return use >= .5 && f->load.sink > f->load.infer / 4 ? use : 0;
}

static double weigh_batching(const om_facts *f)
{
    const om_load *l = &f->load;
    bool low = l->there && l->batch_limit > 1 && l->mean_batch < .5 * l->batch_limit;
    return low && f->use[OM_RESOURCE_INFER] >= .7
               ? f->use[OM_RESOURCE_INFER] * (1 - l->mean_batch / l->batch_limit)
               : 0;
}

/* Other programs take cores, or a quota or an affinity keeps them from us. */
static double weigh_contended(const om_facts *f)
{
    const om_load *l = &f->load;
    if (!l->there) return 0;
    double throttled = l->throttled_s / l->seconds;
    if (throttled >= .1) return fmin(1, throttled);
    double wait = l->core_wait_s / fmax(1e-9, l->core_wait_s + l->cpu_s);
    bool fewer = l->cores < l->machine_cores, full = l->cores_busy >= .8 * l->cores;
    if (fewer && (full || wait >= .3)) return .92;
    /* Whatever else holds is not to be trusted then. */
    return wait >= .3 && !full ? .6 + .4 * wait : 0;
}

static double weigh_inference(const om_facts *f)
{
    if (!f->load.there) return 0;
    const om_load *l = &f->load;
    double rest = l->cpu_s - (l->decode + l->gather + l->head) * l->frames / 1e3;
    double work = l->cpu_s > 0 ? fmax(0, rest) / l->cpu_s : 0;
    if (f->use[OM_RESOURCE_CPU] >= .7 && work >= .5) return work * .85;
    return f->use[OM_RESOURCE_INFER] >= .8 ? f->use[OM_RESOURCE_INFER] * .6 : 0;
}

static double weigh_power(const om_facts *f) { return f->load.there && f->load.power_throttles > 0 ? .5 : 0; }

/* The table. `run`: not asked where a run of live streams loses nothing, which is what it is for. */
static const struct rule {
    om_cause cause;
    bool run;
    double (*weigh)(const om_facts *f);
    om_say_fn say;
} rules[] = {
    {OM_CAUSE_CONTENDED, true, weigh_contended, om_say_contended},
    {OM_CAUSE_POWER, true, weigh_power, om_say_power},
    {OM_CAUSE_POWER, true, om_weigh_gpu_power, om_say_gpu_power},
    {OM_CAUSE_SINK, true, weigh_sink, om_say_sink},
    {OM_CAUSE_SOURCE, true, weigh_source, om_say_source},
    {OM_CAUSE_DECODE, true, weigh_decode, om_say_decode},
    {OM_CAUSE_DECODE, true, om_weigh_decoders, om_say_decoders},
    {OM_CAUSE_COPY, true, om_weigh_upload, om_say_upload},
    {OM_CAUSE_PREPOST, true, weigh_prepost, om_say_prepost},
    {OM_CAUSE_PREPOST, true, om_weigh_gpu_prepost, om_say_gpu_prepost},
    {OM_CAUSE_BATCHING, true, weigh_batching, om_say_batching},
    {OM_CAUSE_INFERENCE, true, weigh_inference, om_say_inference},
    {OM_CAUSE_LAUNCH, false, weigh_launch, om_say_launch},
    {OM_CAUSE_COPY, false, weigh_copy, om_say_copy},
    {OM_CAUSE_MEMORY, false, weigh_memory, om_say_memory},
    {OM_CAUSE_CONV, false, weigh_conv, om_say_conv},
    {OM_CAUSE_DIVERSE, false, weigh_diverse, om_say_diverse},
};

static int by_weight(const void *a, const void *b)
{
    const om_finding *x = a, *y = b;
    return x->weight != y->weight ? (x->weight < y->weight) - (x->weight > y->weight)
                                  : (int)x->cause - (int)y->cause;
}

int om_diagnose(const om_profile *p, om_findings *out)
{
    om_facts f = {.p = p};
    memset(out, 0, sizeof *out);
    look_at_layers(&f);
    look_at_run(&f);
    bool fine = no_loss(&f) > 0;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0] && out->n < OM_FINDINGS_MAX; i++) {
        double weight = rules[i].run && fine ? 0 : rules[i].weigh(&f);
        if (!(weight > 0)) continue;
        om_finding *x = &out->items[out->n++];
        x->cause = rules[i].cause;
        x->weight = weight;
        rules[i].say(&f, x);
    }
    if (!out->n || (fine && !f.layers)) {
        om_finding *x = &out->items[out->n++];
        *x = (om_finding){.cause = OM_CAUSE_NONE, .weight = out->n > 1 ? 0 : 1};
        om_say_none(&f, x);
    }
    qsort(out->items, out->n, sizeof out->items[0], by_weight);
    for (size_t i = 0; i < out->n; i++)
        if (!out->items[i].title) return om_fail_nomem("findings");
    return OM_OK;
}

void om_findings_fini(om_findings *f)
{
    for (size_t i = 0; i < f->n; i++) {
        om_free(f->items[i].title);
        om_strlist_fini(&f->items[i].evidence);
        om_strlist_fini(&f->items[i].advice);
    }
    memset(f, 0, sizeof *f);
}

void om_findings_json(const om_findings *f, om_json *j)
{
    om_json_key(j, "findings");
    om_json_begin_array(j);
    for (size_t i = 0; i < f->n; i++) {
        om_json_begin_object(j);
        om_json_key(j, "cause");
        om_json_string(j, om_cause_name(f->items[i].cause));
        om_json_key(j, "weight");
        om_json_num(j, f->items[i].weight, 3);
        om_json_key(j, "title");
        om_json_string(j, f->items[i].title);
        om_json_key_texts(j, "evidence", &f->items[i].evidence);
        om_json_key_texts(j, "advice", &f->items[i].advice);
        om_json_key(j, "gains");
        om_json_begin_array(j);
        for (size_t k = 0; k < f->items[i].advice.n; k++)
            if (f->items[i].gains[k] > 0) om_json_num(j, f->items[i].gains[k], 3);
            else om_json_null(j);
        om_json_end_array(j);
        om_json_end_object(j);
    }
    om_json_end_array(j);
}
