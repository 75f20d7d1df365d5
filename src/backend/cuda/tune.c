/* Tuning: equal convolutions are one key; a key's candidates are our kernel's forms, cuDNN's engines and
 * cuBLASLt's algorithms. They are built by several threads and timed one after the other in the program's own
 * memory. */
#include "backend/cuda/tune.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/bench.h"
#include "backend/cuda/plan_io.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "device/cuda/cuda.h"

#define MAX_CANDIDATES 40
#define MAX_CUDNN 6
#define MAX_LT 5
#define WHOLE_ROUNDS 8
#define MAX_THREADS 16

typedef struct candidate {
    int tactic;
    omcu_cudnn_plan *cudnn;
    omcu_lt_plan *lt;
    bool ready;
    double ns;
} candidate;

typedef struct entry {
    char key[OMCU_KEY];
    int step; /* the first with this key */
    candidate list[MAX_CANDIDATES];
    int n, best;
    double known; /* nanoseconds, of an earlier time; 0: not known */
} entry;

struct omcu_tuner {
    entry *entries;
    int n_entries, cap_entries;
    atomic_int next; /* of the builds: candidate numbers over all entries */
    int64_t deadline;
    om_device *device;
    omcu_lt_plan **clones; /* of winners, for further steps of the same key */
    size_t n_clones, cap_clones;
    int products[3]; /* steps by cuDNN, by cuBLASLt, by own kernels */
    char note[128];
};

static entry *find_entry(omcu_tuner *t, const char *key)
{
    for (int i = 0; i < t->n_entries; i++)
        if (strcmp(t->entries[i].key, key) == 0) return &t->entries[i];
    return NULL;
}

static bool is_tuned(const omcu_step *s)
{
    if (s->kind == OMCU_STEP_DEPTHWISE) return s->tactic >= OMCU_TACTIC_DEPTHWISE;
    return s->kind == OMCU_STEP_CONV && (s->u.conv.groups > 1 || s->tactic >= 0);
}

/* Whether a tiled form computes the step: f32 without tensor cores is right for tf32 too, and may be faster.
 */
static bool form_fits(const omcu_program *p, const omcu_step *s, int form)
{
    omcu_numbers numbers = omcu_conv_form_numbers(form);
    if (s->in[0].grid.scale > 0) return numbers == OMCU_NUMBERS_INT8;
    if (s->half) return numbers == OMCU_NUMBERS_F16;
    return numbers == OMCU_NUMBERS_F32 || (p->tf32 && numbers == OMCU_NUMBERS_TF32);
}

static int collect(omcu_tuner *t, const omcu_program *p)
{
    for (int i = 0; i < p->n_steps; i++) {
        char key[OMCU_KEY];
        if (!is_tuned(&p->steps[i])) continue;
        omcu_product_key(&p->steps[i], p->tf32, key);
        if (find_entry(t, key)) continue;
        size_t cap = (size_t)t->cap_entries;
        int err = om_grow((void **)&t->entries, &cap, (size_t)t->n_entries + 1, sizeof *t->entries);
        if (err) return err;
        t->cap_entries = (int)cap;
        entry *e = &t->entries[t->n_entries++];
        memset(e, 0, sizeof *e);
        memcpy(e->key, key, sizeof key);
        e->step = i;
    }
    return OM_OK;
}

static void add(entry *e, candidate c)
{
    if (e->n < MAX_CANDIDATES) e->list[e->n++] = c;
}

/* Our own forms; the libraries' algorithms and engines, of the latter at most `with_cudnn`. */
static void list_candidates(const omcu_program *p, entry *e, bool with_lt, int with_cudnn)
{
    const omcu_step *s = &p->steps[e->step];
    omcu_cudnn_plan *cudnn[MAX_CUDNN];
    omcu_lt_plan *lt[MAX_LT];
    bool depthwise = s->kind == OMCU_STEP_DEPTHWISE;
    for (int i = 0; i < omcu_depthwise_forms() && depthwise; i++)
        if (omcu_depthwise_takes(i, s->half, &s->u.conv))
            add(e, (candidate){.tactic = OMCU_TACTIC_DEPTHWISE + i, .ready = true});
    if (depthwise) return;
    bool grouped = s->u.conv.groups > 1;
    if (grouped) add(e, (candidate){.tactic = OMCU_TACTIC_PLAIN, .ready = true});
    for (int i = 0; i < omcu_conv_forms() && !grouped; i++)
        if (form_fits(p, s, i)) add(e, (candidate){.tactic = i, .ready = true});
    int n = with_lt && !grouped ? omcu_lt_candidates(p, s, lt, MAX_LT) : 0;
    for (int i = 0; i < n; i++) add(e, (candidate){.tactic = OMCU_TACTIC_LT + i, .lt = lt[i], .ready = true});
    n = with_cudnn ? omcu_cudnn_candidates(p, s, cudnn, with_cudnn) : 0;
    for (int i = 0; i < n; i++) add(e, (candidate){.tactic = OMCU_TACTIC_CUDNN + i, .cudnn = cudnn[i]});
}

/* Unique among those of one key, whatever the numbers. */
static void tactic_name(const candidate *c, char out[64])
{
    if (c->cudnn) snprintf(out, 64, "%s", omcu_cudnn_name(c->cudnn));
    else if (c->lt) snprintf(out, 64, "cublaslt %d", c->tactic - OMCU_TACTIC_LT);
    else if (c->tactic >= OMCU_TACTIC_DEPTHWISE)
        snprintf(out, 64, "depthwise %s", omcu_depthwise_form_name(c->tactic - OMCU_TACTIC_DEPTHWISE));
    else if (c->tactic == OMCU_TACTIC_PLAIN) snprintf(out, 64, "plain");
    else snprintf(out, 64, "tiles %s", omcu_conv_form_name(c->tactic));
}

/* ---- building ---- */

static candidate *numbered(omcu_tuner *t, int number)
{
    for (int i = 0; i < t->n_entries; i++) {
        if (number < t->entries[i].n) return &t->entries[i].list[number];
        number -= t->entries[i].n;
    }
    return NULL;
}

static void *builder(void *arg)
{
    omcu_tuner *t = arg;
    candidate *c;
    if (om_cuda_enter(t->device)) return NULL;
    while ((c = numbered(t, atomic_fetch_add(&t->next, 1))))
        if (c->cudnn && !c->ready && om_now_ns() < t->deadline)
            c->ready = omcu_cudnn_build(c->cudnn) == OM_OK;
    return NULL;
}

static void build_all(omcu_tuner *t, int threads)
{
    om_thread workers[MAX_THREADS];
    int n = 0;
    if (threads < 1) threads = om_cpu_count();
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    atomic_store(&t->next, 0);
    while (n < threads && om_thread_start(&workers[n], "om-tune", builder, t) == OM_OK) n++;
    if (!n) builder(t);
    for (int i = 0; i < n; i++) om_thread_join(&workers[i]);
}

/* ---- timing ---- */

/* The program's own way of computing a step, before anything was chosen: its answer is what others are held
 * against, own ones too: engines of libraries were wrong in f32, tf32 and f16. NULL: it has none. */
static uint8_t *first_answer(omcu_bench *x, const entry *e, size_t *n)
{
    const omcu_step *s = &x->p->steps[e->step];
    return s->cudnn || s->lt ? NULL : omcu_bench_answer(x, s, n);
}

static bool is_right(omcu_bench *x, const omcu_step *s, const candidate *c, const uint8_t *own, size_t n_own)
{
    size_t n = 0;
    uint8_t *theirs = own ? omcu_bench_answer(x, s, &n) : NULL;
    bool right = !own || (theirs && n == n_own &&
                          omcu_answers_agree(s->out[0].type, x->p->tf32 && !s->half, own, theirs, n));
    if (!right) {
        char name[64];
        tactic_name(c, name);
        om_log(OM_LOG_INFO, "cuda: node '%s': '%s' gives other numbers than our own product and is left out",
               s->name, name);
    }
    om_free(theirs);
    return right;
}

static void keep_own(omcu_bench *x, entry *e)
{
    const omcu_step *s = &x->p->steps[e->step];
    for (int i = 0; i < e->n; i++) {
        omcu_cudnn_destroy(e->list[i].cudnn);
        omcu_lt_destroy(e->list[i].lt);
    }
    e->list[0] = (candidate){.tactic = s->tactic, .ready = true, .ns = omcu_bench_time(x, s, 0)};
    e->n = 1;
    e->best = e->list[0].ns > 0 ? 0 : -1;
}

static int time_entry(omcu_bench *x, entry *e, int pick)
{
    size_t n_own = 0;
    int ran[MAX_CANDIDATES], n_ran = 0;
    omcu_step s = x->p->steps[e->step];
    uint8_t *own = first_answer(x, e, &n_own);
    e->best = -1;
    for (int i = 0; i < e->n; i++) {
        candidate *c = &e->list[i];
        if (!c->ready) continue;
        s.tactic = c->tactic;
        s.cudnn = c->cudnn;
        s.lt = c->lt;
        c->ns = omcu_bench_time(x, &s, e->best < 0 ? 0 : e->list[e->best].ns);
        if (c->ns > 0 && !is_right(x, &s, c, own, n_own)) c->ns = -1;
        if (c->ns > 0) ran[n_ran++] = i;
        if (c->ns > 0 && (e->best < 0 || c->ns < e->list[e->best].ns)) e->best = i;
    }
    /* Nothing gives those numbers: the way they were made stays. */
    if (own && e->best < 0) keep_own(x, e);
    om_free(own);
    if (pick > 0 && n_ran) e->best = ran[(pick - 1) % n_ran];
    int err = om_cuda_enter(x->p->device);
    if (err) return err;
    return e->best < 0 ? om_fail(OM_ERR_DEVICE, "node '%s': no way of computing it runs here", s.name)
                       : OM_OK;
}

/* ---- memory of past tunings ---- */

/* Keeps the candidate of this name alone; false: it is not among them. */
static bool keep_named(entry *e, const char *wanted)
{
    char name[64];
    int keep = -1;
    for (int i = 0; i < e->n; i++) {
        tactic_name(&e->list[i], name);
        if (strcmp(name, wanted) == 0) keep = i;
    }
    if (keep < 0) return false;
    for (int i = 0; i < e->n; i++) {
        if (i == keep) continue;
        omcu_cudnn_destroy(e->list[i].cudnn);
        omcu_lt_destroy(e->list[i].lt);
    }
    e->list[0] = e->list[keep];
    e->n = 1;
    return true;
}

/* Keeps the remembered candidate alone, unless it is not among them any more. */
static void narrow(entry *e, const char *text)
{
    char wanted[64];
    double ns;
    if (omcu_memo_recall(text, e->key, wanted, &ns)) (void)keep_named(e, wanted);
}

/* ---- what a plan file keeps ---- */

static int recall_entry(const omcu_program *p, entry *e, const omcu_form_rung *from)
{
    const omcu_choice *c = omcu_form_find(from, e->key);
    const char *node = p->steps[e->step].name;
    if (!c) return om_fail(OM_ERR_FORMAT, "it says nothing of node '%s'", node);
    list_candidates(p, e, strncmp(c->tactic, "cublaslt", 8) == 0,
                    strncmp(c->tactic, "cudnn", 5) == 0 ? MAX_CUDNN : 0);
    if (!keep_named(e, c->tactic))
        return om_fail(OM_ERR_FORMAT, "node '%s' was computed by '%s', which is not to be had here", node,
                       c->tactic);
    e->list[0].ns = c->ns;
    if (e->list[0].cudnn && c->engine) omcu_cudnn_recall(e->list[0].cudnn, c->engine, c->engine_len);
    return OM_OK;
}

static int take_recalled(omcu_tuner *t, const omcu_program *p)
{
    for (int i = 0; i < t->n_entries; i++) {
        entry *e = &t->entries[i];
        if (!e->list[0].ready) return om_fail_prefix(OM_ERR_UNSUPPORTED, "node '%s'", p->steps[e->step].name);
        e->best = 0;
    }
    return OM_OK;
}

void omcu_rung_fini(omcu_form_rung *r)
{
    for (int i = 0; i < r->n_choices; i++) {
        om_free((char *)(uintptr_t)r->choices[i].tactic);
        om_free((char *)(uintptr_t)r->choices[i].engine);
    }
    om_free(r->choices);
    *r = (omcu_form_rung){.n_choices = 0};
}

int omcu_tuner_export(const omcu_program *p, omcu_form_rung *out)
{
    const omcu_tuner *t = p->tuner;
    int n = t ? t->n_entries : 0, err = OM_OK;
    *out = (omcu_form_rung){
        .steps = p->n_steps, .arena = p->arena, .constants = p->constants, .workspace = p->workspace};
    for (int i = 0; t && i < 3; i++) out->products[i] = t->products[i];
    out->choices = om_calloc((size_t)n + 1, sizeof *out->choices);
    if (!out->choices) return OM_ERR_NOMEM;
    for (int i = 0; i < n && !err; i++) {
        const entry *e = &t->entries[i];
        if (e->best < 0) continue;
        const candidate *best = &e->list[e->best];
        omcu_choice *c = &out->choices[out->n_choices++];
        char name[64], *engine = NULL;
        tactic_name(best, name);
        *c = (omcu_choice){.key = e->key, .tactic = om_strdup(name), .ns = best->ns};
        err = c->tactic ? OM_OK : OM_ERR_NOMEM;
        if (!err && best->cudnn) err = omcu_cudnn_text(best->cudnn, &engine, &c->engine_len);
        c->engine = engine;
    }
    if (err) omcu_rung_fini(out);
    return err;
}

/* What was timed now, behind what was known. */
static void remember(const omcu_tuner *t, om_str *memo)
{
    char name[64], was[64];
    double ns;
    for (int i = 0; i < t->n_entries; i++) {
        const entry *e = &t->entries[i];
        if (e->known > 0 || e->best < 0 || omcu_memo_recall(om_str_get(memo), e->key, was, &ns)) continue;
        tactic_name(&e->list[e->best], name);
        om_str_addf(memo, "%s\t%s\t%.0f\n", e->key, name, e->list[e->best].ns);
    }
}

/* ---- what a program takes ---- */

/* Of a step that is not tuned: what it does is in its sizes. */
static void step_key(const omcu_step *s, char out[OMCU_KEY])
{
    uint64_t hash = 14695981039346656037u;
    int n = s->n_in + s->n_out;
    for (int i = 0; i < n; i++) {
        const omcu_view *v = i < s->n_in ? &s->in[i] : &s->out[i - s->n_in];
        int64_t all[2 * OM_MAX_RANK + 2] = {v->type, v->rank};
        for (int d = 0; d < v->rank; d++) {
            all[2 + 2 * d] = v->dim[d];
            all[3 + 2 * d] = v->stride[d];
        }
        for (int k = 0; k < 2 + 2 * v->rank; k++) hash = (hash ^ (uint64_t)all[k]) * 1099511628211u;
    }
    int code = s->kind == OMCU_STEP_POINT ? s->u.point.n_code : 0;
    snprintf(out, OMCU_KEY, "step %d %d %d %016llx", s->kind, n, code, (unsigned long long)hash);
}

/* The sum over all steps, each timed once in `memo`'s life. */
static int rate(omcu_tuner *t, omcu_program *p, omcu_bench *x, om_str *memo)
{
    p->ns = 0;
    for (int i = 0; i < p->n_steps; i++) {
        const omcu_step *s = &p->steps[i];
        char key[OMCU_KEY], was[64];
        double ns = 0;
        if (is_tuned(s)) {
            omcu_product_key(s, p->tf32, key);
            const entry *e = find_entry(t, key);
            ns = e->known > 0 ? e->known : e->list[e->best].ns;
        } else {
            step_key(s, key);
            if (!omcu_memo_recall(om_str_get(memo), key, was, &ns) || ns <= 0) {
                ns = omcu_bench_time(x, s, 0);
                if (ns < 0) return om_cuda_enter(p->device) ? om_cuda_enter(p->device) : OM_ERR_DEVICE;
                om_str_addf(memo, "%s\t-\t%.0f\n", key, ns);
            }
        }
        p->ns += ns;
    }
    return memo->failed ? OM_ERR_NOMEM : OM_OK;
}

/* ---- all together ---- */

static int clone_lt(omcu_tuner *t, const omcu_program *p, omcu_step *s, const omcu_lt_plan *from)
{
    int err = om_grow((void **)&t->clones, &t->cap_clones, t->n_clones + 1, sizeof *t->clones);
    if (err) return err;
    s->lt = omcu_lt_clone(p, s, from);
    if (!s->lt) return om_fail(OM_ERR_DEVICE, "node '%s': cuBLASLt has no second plan of its kind", s->name);
    t->clones[t->n_clones++] = s->lt;
    return OM_OK;
}

static int apply(omcu_tuner *t, omcu_program *p)
{
    int *n = t->products, integers = 0;
    for (int i = 0; i < p->n_steps; i++) {
        omcu_step *s = &p->steps[i];
        char key[OMCU_KEY];
        if (!is_tuned(s)) continue;
        omcu_product_key(s, p->tf32, key);
        const entry *e = find_entry(t, key);
        if (!e || e->best < 0) continue;
        const candidate *c = &e->list[e->best];
        s->tactic = c->tactic;
        s->cudnn = c->cudnn;
        s->lt = c->lt;
        int err = c->lt && i != e->step ? clone_lt(t, p, s, c->lt) : OM_OK;
        if (err) return err;
        s->ns = c->ns;
        n[c->cudnn ? 0 : c->lt ? 1 : 2]++;
        integers += s->in[0].grid.scale > 0;
        size_t need = c->cudnn ? omcu_cudnn_workspace(c->cudnn) : c->lt ? omcu_lt_workspace(c->lt) : 0;
        if (need > p->workspace) p->workspace = need;
    }
    snprintf(t->note, sizeof t->note, "%d products by cuDNN, %d by cuBLASLt, %d by own kernels", n[0], n[1],
             n[2]);
    size_t len = strlen(t->note);
    if (integers) snprintf(t->note + len, sizeof t->note - len, ", %d of them in int8", integers);
    return OM_OK;
}

/* The losers' memory goes as soon as the winner is known. */
static void drop_losers(omcu_tuner *t)
{
    for (int i = 0; i < t->n_entries; i++)
        for (int k = 0; k < t->entries[i].n; k++) {
            candidate *c = &t->entries[i].list[k];
            if (k == t->entries[i].best) continue;
            omcu_cudnn_destroy(c->cudnn);
            omcu_lt_destroy(c->lt);
            c->cudnn = NULL;
            c->lt = NULL;
        }
}

static size_t most_workspace(const omcu_tuner *t)
{
    size_t most = 1;
    for (int i = 0; i < t->n_entries; i++)
        for (int k = 0; k < t->entries[i].n; k++) {
            const candidate *c = &t->entries[i].list[k];
            size_t need = !c->ready  ? 0
                          : c->cudnn ? omcu_cudnn_workspace(c->cudnn)
                          : c->lt    ? omcu_lt_workspace(c->lt)
                                     : 0;
            if (need > most) most = need;
        }
    return most;
}

static void list_all(omcu_tuner *t, const omcu_program *p, const omcu_tune_params *params, const om_str *memo)
{
    const int cudnn = params->libraries ? MAX_CUDNN : 0;
    for (int i = 0; i < t->n_entries; i++) {
        entry *e = &t->entries[i];
        char name[64];
        if (params->rate && omcu_memo_recall(om_str_get(memo), e->key, name, &e->known) && e->known > 0)
            continue;
        e->known = 0;
        list_candidates(p, e, params->libraries, cudnn);
        narrow(e, om_str_get(memo));
    }
}

/* What a plan file chose, built and taken. */
static int recall(omcu_tuner *t, omcu_program *p, const omcu_tune_params *params)
{
    int err = OM_OK;
    for (int i = 0; i < t->n_entries && !err; i++) err = recall_entry(p, &t->entries[i], params->recall);
    if (err || !t->n_entries) return err;
    build_all(t, params->threads);
    err = take_recalled(t, p);
    return err ? err : apply(t, p);
}

/* What was looked at, if anything was. */
static void tell(const omcu_tuner *t, int64_t start, int64_t built)
{
    int products = 0, candidates = 0;
    for (int i = 0; i < t->n_entries; i++) {
        if (t->entries[i].n < 2) continue;
        products++;
        candidates += t->entries[i].n;
    }
    int64_t now = om_now_ns();
    if (products)
        om_log(OM_LOG_DEBUG, "cuda: %d ways of computing %d products: %.2f s to build, %.2f s to time",
               candidates, products, (double)(built - start) / 1e9, (double)(now - built) / 1e9);
}

int omcu_tune(omcu_program *p, const omcu_tune_params *params)
{
    omcu_bench x = {.p = p};
    om_str own = {0}, *memo = params->memo ? params->memo : &own;
    if (params->seconds <= 0) return OM_OK;
    omcu_tuner *t = om_calloc(1, sizeof *t);
    if (!t) return OM_ERR_NOMEM;
    p->tuner = t;
    t->device = p->device;
    int64_t start = om_now_ns();
    t->deadline = start + (int64_t)(params->seconds * 1e9);
    int err = om_cuda_enter(p->device);
    if (!err) err = collect(t, p);
    if (!err && params->recall) {
        err = recall(t, p, params);
        goto done;
    }
    if (!err && !params->memo) err = omcu_memo_load(p->device, params->cache_dir, memo);
    if (err || (!t->n_entries && !params->rate)) goto done;
    list_all(t, p, params, memo);
    build_all(t, params->threads);
    int64_t built = om_now_ns();
    err = omcu_bench_init(&x, p, most_workspace(t));
    for (int i = 0; i < t->n_entries && !err; i++)
        if (t->entries[i].known <= 0) err = time_entry(&x, &t->entries[i], params->pick);
    tell(t, start, built);
    if (!err) remember(t, memo);
    if (!err && params->rate) err = rate(t, p, &x, memo);
    if (!err && !params->rate) {
        drop_losers(t);
        err = apply(t, p);
    }
    if (!err && params->whole) p->ns = omcu_bench_whole(&x, WHOLE_ROUNDS);
    omcu_bench_fini(&x);
    if (err || params->rate) goto done;
    if (!params->memo && omcu_memo_save(p->device, params->cache_dir, memo))
        om_log(OM_LOG_WARN, "tuning is not remembered: %s", om_error_message());
done:
    om_str_fini(&own);
    return err;
}

void omcu_tuner_destroy(omcu_tuner *t)
{
    if (!t) return;
    for (int i = 0; i < t->n_entries; i++)
        for (int k = 0; k < t->entries[i].n; k++) {
            omcu_cudnn_destroy(t->entries[i].list[k].cudnn);
            omcu_lt_destroy(t->entries[i].list[k].lt);
        }
    for (size_t i = 0; i < t->n_clones; i++) omcu_lt_destroy(t->clones[i]);
    om_free(t->clones);
    om_free(t->entries);
    om_free(t);
}

const char *omcu_tuner_note(const omcu_tuner *t) { return t && t->note[0] ? t->note : "not tuned"; }
