#include "pipeline/stages.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/thread.h"

#define FIRST_STEP_NS (50 * OM_NS_PER_MS)

const char *om_stage_name(om_stage s)
{
    static const char *const names[OM_STAGE_COUNT] = {"source", "decode", "cores",     "mailbox",
                                                      "gather", "infer",  "finish",    "head",
                                                      "lane",   "track",  "secondary", "sink"};
    return names[s];
}

int om_stages_create(om_stages **out)
{
    *out = om_calloc(1, sizeof **out);
    if (!*out) return OM_ERR_NOMEM;
    pthread_mutex_init(&(*out)->lock, NULL);
    return OM_OK;
}

void om_stages_destroy(om_stages *s)
{
    if (!s) return;
    pthread_mutex_destroy(&s->lock);
    om_free(s);
}

void om_stages_note(om_stages *s, om_stage stage, int64_t ns)
{
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    om_hist_add(&s->hist[stage], ns);
    pthread_mutex_unlock(&s->lock);
}

void om_stages_merge(om_hist *into, om_stages *s)
{
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < OM_STAGE_COUNT; i++) om_hist_merge(&into[i], &s->hist[i]);
    pthread_mutex_unlock(&s->lock);
}

static double test_delays[OM_STAGE_COUNT];

static void read_test_delays(void)
{
    const char *text = getenv("OMMA_TEST_DELAY");
    for (; text && *text; text += *text == ',') {
        for (int i = 0; i < OM_STAGE_COUNT; i++) {
            size_t n = strlen(om_stage_name((om_stage)i));
            if (!strncmp(text, om_stage_name((om_stage)i), n) && text[n] == ':')
                test_delays[i] = strtod(text + n + 1, NULL);
        }
        text += strcspn(text, ",");
    }
}

void om_stages_test_delay(om_stage s)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_test_delays);
    if (!(test_delays[s] > 0)) return;
    int64_t ns = (int64_t)(test_delays[s] * 1e6);
    if (s == OM_STAGE_SOURCE) om_cancel_sleep_until(NULL, om_now_ns() + ns);
    else
        for (int64_t end = om_thread_cpu_ns() + ns; om_thread_cpu_ns() < end;) continue;
}

/* [[from_ms, count], ...] between the 1st and the 99.9th percentile, in steps that grow by the same factor.
 */
static void histogram(const om_hist *h, int bars, om_json *j)
{
    double low = (double)om_hist_quantile(h, .005), high = (double)om_hist_quantile(h, .999);
    if (low < 1000) low = 1000;
    if (high < 2 * low) high = 2 * low;
    double factor = pow(high / low, 1.0 / bars);
    uint64_t below = 0;
    om_json_begin_array(j);
    for (int i = 0; i < bars; i++) {
        double from = low * pow(factor, i), to = i + 1 < bars ? from * factor : 1e18;
        uint64_t upto = om_hist_below(h, (int64_t)to);
        om_json_begin_array(j);
        om_json_num(j, from / 1e6, 4);
        om_json_uint(j, upto - below);
        om_json_end_array(j);
        below = upto;
    }
    om_json_end_array(j);
}

void om_stage_json(om_stage stage, const om_hist *h, int bars, om_json *j)
{
    om_json_begin_object(j);
    om_json_key(j, "stage");
    om_json_string(j, om_stage_name(stage));
    om_json_key(j, "count");
    om_json_uint(j, h->count);
    om_json_key_num(j, "mean_ms", om_hist_mean(h) / 1e6, 5);
    om_json_key_num(j, "p50_ms", (double)om_hist_quantile(h, .50) / 1e6, 5);
    om_json_key_num(j, "p95_ms", (double)om_hist_quantile(h, .95) / 1e6, 5);
    om_json_key_num(j, "p99_ms", (double)om_hist_quantile(h, .99) / 1e6, 5);
    om_json_key_num(j, "max_ms", (double)h->max_ns / 1e6, 5);
    if (bars > 0 && h->count) {
        om_json_key(j, "histogram");
        histogram(h, bars, j);
    }
    om_json_end_object(j);
}

int om_batch_log_create(om_batch_log **out)
{
    *out = om_calloc(1, sizeof **out);
    if (!*out) return OM_ERR_NOMEM;
    pthread_mutex_init(&(*out)->lock, NULL);
    (*out)->start_ns = om_now_ns();
    (*out)->step_ns = FIRST_STEP_NS;
    return OM_OK;
}

void om_batch_log_destroy(om_batch_log *l)
{
    if (!l) return;
    pthread_mutex_destroy(&l->lock);
    om_free(l);
}

/* Two steps become one. */
static void halve(om_batch_log *l)
{
    for (int i = 0; i < OM_TIMELINE_STEPS / 2; i++) {
        l->steps[i] = l->steps[2 * i];
        l->steps[i].batches += l->steps[2 * i + 1].batches;
        l->steps[i].frames += l->steps[2 * i + 1].frames;
        l->steps[i].ready += l->steps[2 * i + 1].ready;
        l->steps[i].in_use += l->steps[2 * i + 1].in_use;
    }
    memset(&l->steps[OM_TIMELINE_STEPS / 2], 0, sizeof l->steps / 2);
    l->n_steps = (l->n_steps + 1) / 2;
    l->step_ns *= 2;
}

void om_batch_log_add(om_batch_log *l, int n, int ready, int in_use, uint64_t input_bytes)
{
    if (!l) return;
    int64_t now = om_now_ns();
    pthread_mutex_lock(&l->lock);
    /* Time spent on compiling before the first batch is none of the run's. */
    if (!l->batches) l->start_ns = now;
    while ((now - l->start_ns) / l->step_ns >= OM_TIMELINE_STEPS) halve(l);
    int step = (int)((now - l->start_ns) / l->step_ns);
    if (step >= l->n_steps) l->n_steps = step + 1;
    l->steps[step].batches++;
    l->steps[step].frames += (uint32_t)n;
    l->steps[step].ready += (uint32_t)ready;
    l->steps[step].in_use += (uint32_t)in_use;
    l->sizes[n < OM_BATCH_SIZES ? n : OM_BATCH_SIZES - 1]++;
    l->batches++;
    l->frames += (uint64_t)n;
    l->input_bytes += input_bytes;
    pthread_mutex_unlock(&l->lock);
}

void om_batch_log_done(om_batch_log *l, int64_t infer_ns, uint64_t output_bytes)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    om_hist_add(&l->batch_infer, infer_ns);
    l->output_bytes += output_bytes;
    pthread_mutex_unlock(&l->lock);
}

static void sizes_json(const om_batch_log *l, om_json *j)
{
    om_json_key(j, "batch_sizes");
    om_json_begin_object(j);
    for (int i = 0; i < OM_BATCH_SIZES; i++) {
        char key[8];
        if (!l->sizes[i]) continue;
        key[0] = (char)('0' + i / 100);
        key[1] = (char)('0' + i / 10 % 10);
        key[2] = (char)('0' + i % 10);
        key[3] = '\0';
        om_json_key(j, key + (i < 100) + (i < 10));
        om_json_uint(j, l->sizes[i]);
    }
    om_json_end_object(j);
}

static void timeline_json(const om_batch_log *l, om_json *j)
{
    static const char *const keys[] = {"fps", "batch", "ready", "busy"};
    om_json_key(j, "timeline");
    om_json_begin_object(j);
    om_json_key_num(j, "step_ms", (double)l->step_ns / 1e6, 3);
    for (int k = 0; k < 4; k++) {
        om_json_key(j, keys[k]);
        om_json_begin_array(j);
        for (int i = 0; i < l->n_steps; i++) {
            double batches = l->steps[i].batches, frames = l->steps[i].frames, ready = l->steps[i].ready;
            double each = batches > 0 ? 1 / batches : 0;
            double v[] = {frames * 1e9 / (double)l->step_ns, frames * each, ready * each,
                          l->steps[i].in_use * each};
            om_json_num(j, v[k], 3);
        }
        om_json_end_array(j);
    }
    om_json_end_object(j);
}

void om_batch_log_json(om_batch_log *l, om_json *j)
{
    pthread_mutex_lock(&l->lock);
    om_json_key_num(j, "mean_batch", l->batches ? (double)l->frames / (double)l->batches : 0, 4);
    om_json_key(j, "batches");
    om_json_uint(j, l->batches);
    om_json_key_num(j, "batch_infer_ms", om_hist_mean(&l->batch_infer) / 1e6, 5);
    sizes_json(l, j);
    timeline_json(l, j);
    om_json_key(j, "copies");
    om_json_begin_object(j);
    om_json_key(j, "input_bytes");
    om_json_uint(j, l->input_bytes);
    om_json_key(j, "output_bytes");
    om_json_uint(j, l->output_bytes);
    om_json_end_object(j);
    pthread_mutex_unlock(&l->lock);
}
