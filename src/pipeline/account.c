#include "pipeline/account.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "omma/error.h"

static const char *const skip_names[OM_SKIP_COUNT] = {"no_output", "sampled", "stopped", "still",
                                                      "no_key",    "economy", "paused",  "resumed"};
static const char *const drop_names[OM_DROP_COUNT] = {"corrupt", "superseded", "infer_failed", "no_memory",
                                                      "device_lost"};

#define OM_NETWORK_LEAST_NS (OM_NS_PER_SEC / 2) /* packets of a shorter time make no rate */

static void count(atomic_ullong *c) { atomic_fetch_add_explicit(c, 1, memory_order_relaxed); }

static uint64_t get(atomic_ullong *c) { return atomic_load_explicit(c, memory_order_relaxed); }

static void leave(om_account *a) { atomic_fetch_sub_explicit(&a->inside, 1, memory_order_release); }

int om_account_init(om_account *a)
{
    memset(a, 0, sizeof(*a));
    pthread_mutex_init(&a->lock, NULL);
    return OM_OK;
}

void om_account_fini(om_account *a)
{
    pthread_mutex_destroy(&a->lock);
    om_stages_destroy(a->stages);
}

void om_account_enter(om_account *a) { atomic_fetch_add_explicit(&a->inside, 1, memory_order_relaxed); }

void om_account_skip(om_account *a, om_skip cause)
{
    count(&a->skipped[cause]);
    leave(a);
}

void om_account_drop(om_account *a, om_drop cause)
{
    count(&a->dropped[cause]);
    leave(a);
}

void om_account_inferred(om_account *a, int64_t latency_ns, int64_t now_ns)
{
    count(&a->inferred);
    if (a->bound_ns && latency_ns > a->bound_ns) count(&a->over);
    if (a->bound_ns && latency_ns > a->bound_ns / 10 * 7) count(&a->near);
    pthread_mutex_lock(&a->lock);
    om_hist_add(&a->latency, latency_ns);
    if (!a->first_ns) a->first_ns = now_ns;
    a->last_ns = now_ns;
    pthread_mutex_unlock(&a->lock);
    leave(a);
}

void om_account_tally(om_account *a, om_tally *out)
{
    memset(out, 0, sizeof(*out));
    /* `inside` first and with acquire: a picture that leaves later may be seen twice, never lost. */
    long long inside = atomic_load_explicit(&a->inside, memory_order_acquire);
    out->inferred = get(&a->inferred);
    for (int i = 0; i < OM_SKIP_COUNT; i++) out->skipped[i] = get(&a->skipped[i]);
    for (int i = 0; i < OM_DROP_COUNT; i++) out->dropped[i] = get(&a->dropped[i]);
    out->skipped[OM_SKIP_NO_OUTPUT] += get(&a->source.no_output);
    out->skipped[OM_SKIP_STOPPED] += get(&a->source.unread);
    out->skipped[OM_SKIP_NO_KEY] += get(&a->source.no_key);
    out->skipped[OM_SKIP_ECONOMY] += get(&a->source.economy);
    out->dropped[OM_DROP_CORRUPT] += get(&a->source.corrupt);
    out->decoded = get(&a->source.decoded);
    out->received = get(&a->source.received);
    out->bytes = get(&a->source.bytes);
    if (a->networked && out->bytes) {
        out->network_bytes = out->bytes;
        out->network_first_ns = atomic_load_explicit(&a->source.first_ns, memory_order_relaxed);
        out->network_last_ns = atomic_load_explicit(&a->source.last_ns, memory_order_relaxed);
    }
    uint64_t settled = out->decoded + get(&a->source.no_output) + get(&a->source.corrupt) +
                       get(&a->source.unread) + get(&a->source.no_key) + get(&a->source.economy);
    out->in_flight =
        (inside > 0 ? (uint64_t)inside : 0) + (out->received > settled ? out->received - settled : 0);
    pthread_mutex_lock(&a->lock);
    out->latency = a->latency;
    out->first_ns = a->first_ns;
    out->last_ns = a->last_ns;
    pthread_mutex_unlock(&a->lock);
}

/* [*first, *last] grows to hold the other span; 0: there is none. */
static void span(int64_t *first, int64_t *last, int64_t other_first, int64_t other_last)
{
    if (other_first && (!*first || other_first < *first)) *first = other_first;
    if (other_last > *last) *last = other_last;
}

void om_tally_merge(om_tally *into, const om_tally *from)
{
    into->received += from->received;
    into->bytes += from->bytes;
    into->decoded += from->decoded;
    into->inferred += from->inferred;
    into->in_flight += from->in_flight;
    for (int i = 0; i < OM_SKIP_COUNT; i++) into->skipped[i] += from->skipped[i];
    for (int i = 0; i < OM_DROP_COUNT; i++) into->dropped[i] += from->dropped[i];
    om_hist_merge(&into->latency, &from->latency);
    into->network_bytes += from->network_bytes;
    span(&into->network_first_ns, &into->network_last_ns, from->network_first_ns, from->network_last_ns);
    span(&into->first_ns, &into->last_ns, from->first_ns, from->last_ns);
}

static uint64_t sum(const uint64_t *v, int n)
{
    uint64_t s = 0;
    for (int i = 0; i < n; i++) s += v[i];
    return s;
}

uint64_t om_tally_skipped(const om_tally *t) { return sum(t->skipped, OM_SKIP_COUNT); }

uint64_t om_tally_dropped(const om_tally *t) { return sum(t->dropped, OM_DROP_COUNT); }

double om_tally_fps(const om_tally *t)
{
    if (t->inferred < 2 || t->last_ns <= t->first_ns) return 0;
    return (double)(t->inferred - 1) * 1e9 / (double)(t->last_ns - t->first_ns);
}

double om_tally_network_mbit(const om_tally *t)
{
    int64_t ns = t->network_last_ns - t->network_first_ns;
    if (!t->network_bytes || ns < OM_NETWORK_LEAST_NS) return -1;
    return 8e3 * (double)t->network_bytes / (double)ns;
}

static double quantile_ms(const om_hist *h, double q) { return (double)om_hist_quantile(h, q) / 1e6; }

void om_tally_stats(const om_tally *t, om_stream_stats *out)
{
    *out = (om_stream_stats){
        .received = t->received,
        .decoded = t->decoded,
        .inferred = t->inferred,
        .skipped = om_tally_skipped(t),
        .dropped = om_tally_dropped(t),
        .in_flight = t->in_flight,
        .fps = om_tally_fps(t),
        .latency_ms_p50 = quantile_ms(&t->latency, .50),
        .latency_ms_p95 = quantile_ms(&t->latency, .95),
        .latency_ms_p99 = quantile_ms(&t->latency, .99),
        .latency_ms_max = (double)t->latency.max_ns / 1e6,
        .network_bytes = t->network_bytes,
        .network_mbit_s = om_tally_network_mbit(t),
    };
}

static void causes_json(om_json *j, const char *key, const char *const *names, const uint64_t *v, int n)
{
    om_json_key(j, key);
    om_json_begin_object(j);
    for (int i = 0; i < n; i++) {
        om_json_key(j, names[i]);
        om_json_uint(j, v[i]);
    }
    om_json_end_object(j);
}

void om_tally_json(const om_tally *t, om_json *j)
{
    om_stream_stats s;
    om_tally_stats(t, &s);
    om_json_key_uint(j, "received", s.received);
    om_json_key_uint(j, "bytes", t->bytes);
    om_json_key_num(j, "network_mbit_s", s.network_mbit_s >= 0 ? s.network_mbit_s : NAN, 3);
    om_json_key_uint(j, "decoded", s.decoded);
    om_json_key_uint(j, "inferred", s.inferred);
    om_json_key_uint(j, "in_flight", s.in_flight);
    causes_json(j, "skipped", skip_names, t->skipped, OM_SKIP_COUNT);
    causes_json(j, "dropped", drop_names, t->dropped, OM_DROP_COUNT);
    om_json_key_num(j, "fps", s.fps, 3);
    om_json_key(j, "latency_ms");
    om_json_begin_object(j);
    om_json_key_num(j, "mean", om_hist_mean(&t->latency) / 1e6, 3);
    om_json_key_num(j, "p50", s.latency_ms_p50, 3);
    om_json_key_num(j, "p95", s.latency_ms_p95, 3);
    om_json_key_num(j, "p99", s.latency_ms_p99, 3);
    om_json_key_num(j, "max", s.latency_ms_max, 3);
    om_json_end_object(j);
}

static void causes_text(om_str *out, const char *what, const char *const *names, const uint64_t *v, int n)
{
    uint64_t all = sum(v, n);
    if (!all) return;
    om_str_addf(out, "%s %llu (", what, (unsigned long long)all);
    const char *comma = "";
    for (int i = 0; i < n; i++) {
        if (!v[i]) continue;
        om_str_addf(out, "%s%s %llu", comma, names[i], (unsigned long long)v[i]);
        comma = ", ";
    }
    om_str_addc(out, ')');
}

void om_tally_losses(const om_tally *t, om_str *out)
{
    size_t before = out->len;
    causes_text(out, "skipped", skip_names, t->skipped, OM_SKIP_COUNT);
    if (out->len > before && sum(t->dropped, OM_DROP_COUNT)) om_str_add(out, ", ");
    causes_text(out, "dropped", drop_names, t->dropped, OM_DROP_COUNT);
}
