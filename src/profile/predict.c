/* What would change if: from the measured figures alone. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/mem.h"
#include "profile/diagnose.h"
#include "profile/load.h"

static double pictures_a_second(const om_profile *p)
{
    return p->latency_us > 0 ? 1e6 * p->batch / p->latency_us : 0;
}

/* What a batch costs however many pictures are in it: calls, and weights that have to come from memory. */
static double fixed_us(const om_profile *p)
{
    double us = fmax(0, p->latency_us - p->layers_us);
    for (size_t i = 0; i < p->n_layers; i++)
        if (p->layers[i].roof == OM_ROOF_OVERHEAD) us += p->layers[i].us;
    return fmin(us, .9 * p->latency_us);
}

static int predict_batch(const om_profile *p, long long batch, om_what_if *out)
{
    if (!p->n_layers) return om_fail(OM_ERR_ARG, "what if batch=%lld: needs a model's layers", batch);
    double fixed = fixed_us(p), each = (p->latency_us - fixed) / p->batch;
    out->fps_now = pictures_a_second(p);
    out->fps_then = 1e6 * (double)batch / (fixed + each * (double)batch);
    out->why = om_sprintf(
        "of %.2f ms a batch of %d, %.2f ms are the same for any batch (calls), the rest grows with it",
        p->latency_us / 1e3, p->batch, fixed / 1e3);
    return out->why ? OM_OK : OM_ERR_NOMEM;
}

static int width_of(const char *precision)
{
    return !strcmp(precision, "int8") ? 1 : !strcmp(precision, "bf16") || !strcmp(precision, "f16") ? 2 : 4;
}

/* Products by the measured peaks, what moves by its bytes; what is bound by neither stays. */
static double times_us(const om_profile *p, const char *precision)
{
    double us = fmax(0, p->latency_us - p->layers_us);
    for (size_t i = 0; i < p->n_layers; i++) {
        const om_layer *l = &p->layers[i];
        double factor = 1;
        if (l->macs > 0 && l->roof != OM_ROOF_OVERHEAD) {
            double bytes = (double)width_of(l->precision) / width_of(precision);
            double peak = om_peaks_gflops(&p->peaks, precision) / om_peaks_gflops(&p->peaks, l->precision);
            factor = l->roof == OM_ROOF_COMPUTE ? peak : bytes;
        }
        us += l->us / factor;
    }
    return us;
}

/* By what its form in int8 took. */
static int predict_int8(const om_profile *p, om_what_if *out)
{
    out->fps_now = pictures_a_second(p);
    out->fps_then = 1e6 * p->batch / p->int8_us;
    out->why =
        om_sprintf("measured: %.2f ms in a form of int8 made with a test picture; any other is as fast",
                   p->int8_us / 1e3);
    return out->why ? OM_OK : OM_ERR_NOMEM;
}

static int predict_precision(const om_profile *p, const char *precision, om_what_if *out)
{
    if (!p->n_layers) return om_fail(OM_ERR_ARG, "what if precision=%s: needs a model's layers", precision);
    if (!strcmp(precision, "int8") && p->int8_us > 0) return predict_int8(p, out);
    if (!strcmp(precision, "bf16") && p->peaks.bf16_gflops <= 0)
        return om_fail(OM_ERR_UNSUPPORTED, "what if precision=bf16: this machine has no instructions for it");
    if (!strcmp(precision, "f16") && p->peaks.f16_gflops <= 0)
        return om_fail(OM_ERR_UNSUPPORTED,
                       "what if precision=f16: nothing is known of this device's peak in it");
    if (p->peaks.f32_gflops <= 0)
        return om_fail(OM_ERR_UNSUPPORTED, "what if precision=%s: nothing is known of the device's peaks",
                       precision);
    double then = times_us(p, precision);
    out->fps_now = pictures_a_second(p);
    out->fps_then = then > 0 ? 1e6 * p->batch / then : 0;
    out->why = om_sprintf(
        "products at %.0f instead of %.0f Gop/s where they are what bounds a layer, bytes where those do",
        om_peaks_gflops(&p->peaks, precision), p->peaks.f32_gflops);
    return out->why ? OM_OK : OM_ERR_NOMEM;
}

static double largest(const double demands[OM_RESOURCE_COUNT], om_resource *which)
{
    int worst = 0;
    for (int i = 1; i < OM_RESOURCE_COUNT; i++)
        if (demands[i] > demands[worst]) worst = i;
    *which = (om_resource)worst;
    return demands[worst];
}

/* The processor time of the engine is what nobody else accounts for. */
static double engine_cpu_ms(const om_load *l)
{
    return fmax(0, 1e3 * l->cpu_s / l->frames - l->decode - l->gather - l->head);
}

static const char *const stage_names[] = {"source", "decode", "gather", "infer", "head", "sink"};
#define N_STAGES (sizeof stage_names / sizeof stage_names[0])

static int fail_stage(const char *stage)
{
    const char *near = om_suggest(stage, stage_names, N_STAGES);
    return om_fail(
        OM_ERR_ARG,
        "what if %s: no such stage%s%s%s; expected batch=N, precision=P, or one of source, decode, gather, "
        "infer, head, sink",
        stage, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int speed_up(om_load *l, const char *stage, double factor)
{
    double *stages[N_STAGES] = {&l->source, &l->decode, &l->gather, &l->infer, &l->head, &l->sink};
    double saved = 0;
    for (size_t i = 0; i < N_STAGES; i++) {
        if (strcmp(stage, stage_names[i])) continue;
        bool works = i == 1 || i == 2 || i == 4; /* waiting costs no processor */
        saved = works ? *stages[i] * (1 - 1 / factor) : 0;
        if (i == 3) {
            saved = engine_cpu_ms(l) * (1 - 1 / factor);
            l->batch_infer_ms /= factor;
        }
        *stages[i] /= factor;
        if (i == 1) l->cores_wait /= factor; /* who works less waits less to work */
        l->cpu_s = fmax(0, l->cpu_s - saved * l->frames / 1e3);
        return OM_OK;
    }
    return fail_stage(stage);
}

static int predict_stage(const om_profile *p, const char *stage, double factor, om_what_if *out)
{
    om_load l;
    om_resource before, after;
    double demands[OM_RESOURCE_COUNT];
    om_load_read(p->run, &l);
    if (!l.there) return om_fail(OM_ERR_ARG, "what if %s: needs a run ('omma run --profile')", out->text);
    om_load_demands(&l, demands);
    double now = largest(demands, &before);
    int err = speed_up(&l, stage, factor);
    if (err) return err;
    om_load_demands(&l, demands);
    double then = largest(demands, &after);
    out->fps_now = l.fps;
    out->fps_then = then > 0 ? l.fps * now / then : l.fps;
    if (l.live_streams >= l.n_streams && l.dropped <= .01 * l.received)
        out->fps_then = l.fps; /* its cameras give no more */
    out->why = om_sprintf("bound by %s now (%.3f ms a frame), then by %s (%.3f ms)", om_resource_name(before),
                          now, om_resource_name(after), then);
    return out->why ? OM_OK : OM_ERR_NOMEM;
}

/* What was asked, taken apart. */
typedef struct question {
    char key[32]; /* "batch", "precision", or a stage */
    const char *value;
    long long batch;
    double factor;
} question;

static bool known_precision(const char *name)
{
    return !strcmp(name, "f32") || !strcmp(name, "bf16") || !strcmp(name, "f16") || !strcmp(name, "int8");
}

static int parse(const char *what, question *q)
{
    const char *equals = strchr(what, '=');
    char *end;
    memset(q, 0, sizeof *q);
    if (!equals || equals == what || (size_t)(equals - what) >= sizeof q->key || !equals[1])
        return om_fail(OM_ERR_ARG, "what if '%s': expected batch=16, precision=int8 or STAGE=2x", what);
    memcpy(q->key, what, (size_t)(equals - what));
    q->value = equals + 1;
    if (!strcmp(q->key, "batch")) {
        if (om_parse_int(q->value, &q->batch))
            return om_fail(OM_ERR_ARG, "what if '%s': expected a number of pictures", what);
        if (q->batch < 1 || q->batch > 1024)
            return om_fail(OM_ERR_ARG, "what if %s: expected 1 to 1024", what);
        return OM_OK;
    }
    if (!strcmp(q->key, "precision")) {
        if (known_precision(q->value)) return OM_OK;
        return om_fail(OM_ERR_ARG, "what if %s: expected f32, bf16, f16 or int8", what);
    }
    size_t k = 0;
    while (k < N_STAGES && strcmp(q->key, stage_names[k])) k++;
    if (k == N_STAGES) return fail_stage(q->key);
    q->factor = strtod(q->value, &end);
    if (!(q->factor > 0 && q->factor <= 1000) || end == q->value || (strcasecmp(end, "x") && *end))
        return om_fail(OM_ERR_ARG, "what if '%s': expected how many times faster, as in %s=2x", what, q->key);
    return OM_OK;
}

int om_what_if_check(const char *what, bool *stage)
{
    question q;
    int err = parse(what, &q);
    *stage = !err && q.factor > 0;
    return err;
}

int om_predict(const om_profile *p, const char *what, om_what_if *out)
{
    question q;
    memset(out, 0, sizeof *out);
    int err = parse(what, &q);
    if (err) return err;
    out->text = om_strdup(what);
    if (!out->text) return OM_ERR_NOMEM;
    if (q.batch) return predict_batch(p, q.batch, out);
    return q.factor > 0 ? predict_stage(p, q.key, q.factor, out) : predict_precision(p, q.value, out);
}

void om_what_if_fini(om_what_if *w)
{
    om_free(w->text);
    om_free(w->why);
    memset(w, 0, sizeof *w);
}
