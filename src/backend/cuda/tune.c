/* Tuning: equal convolutions are one key; a key's candidates are our kernel's forms, cuDNN's engines and
 * cuBLASLt's algorithms. They are built by several threads and timed one after the other in the program's own
 * memory. */
#include "backend/cuda/tune.h"

#include <cuda_runtime_api.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/cuda/join.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "device/cuda/cuda.h"

#define MAX_CANDIDATES 40
#define MAX_CUDNN 6
#define MAX_LT 5
#define MAX_THREADS 16
#define KEY_SIZE 256
#define CACHE_VERSION "2"

typedef struct candidate {
    int tactic;
    omcu_cudnn_plan *cudnn;
    omcu_lt_plan *lt;
    bool ready;
    double ns;
} candidate;

typedef struct entry {
    char key[KEY_SIZE];
    int step; /* the first with this key */
    candidate list[MAX_CANDIDATES];
    int n, best;
} entry;

struct omcu_tuner {
    entry *entries;
    int n_entries, cap_entries;
    atomic_int next; /* of the builds: candidate numbers over all entries */
    int64_t deadline;
    om_device *device;
    int products[3]; /* steps by cuDNN, by cuBLASLt, by own kernels */
    char note[128];
};

static const char *kind_of(const omcu_step *s)
{
    if (s->kind == OMCU_STEP_DEPTHWISE) return s->half ? "depthwise " : "depthwise f32 ";
    if (s->u.conv.groups > 1) return s->half ? "grouped " : "grouped f32 ";
    return "";
}

static void key_of(const omcu_step *s, char out[KEY_SIZE])
{
    const omcu_conv *c = &s->u.conv;
    snprintf(
        out, KEY_SIZE,
        "%s%d,%d,%d,%d>%d,%d,%d k%dx%d s%d,%d p%d,%d d%d,%d g%d x%lld,%lld,%lld y%lld,%lld,%lld r%lld,%lld,%lld a%d,%d%s%s%s",
        kind_of(s), c->n, c->h, c->wd, c->c, c->ho, c->wo, c->k, c->r, c->s, c->stride_y, c->stride_x,
        c->pad_y, c->pad_x, c->dil_y, c->dil_x, c->groups, (long long)c->x_n, (long long)c->x_h,
        (long long)c->x_w, (long long)c->y_n, (long long)c->y_h, (long long)c->y_w, (long long)c->r_n,
        (long long)c->r_h, (long long)c->r_w, c->act1.op, c->act2.op, s->has_res ? " res" : "",
        c->wide ? " wide" : "", c->vector ? "" : " odd");
}

static entry *find_entry(omcu_tuner *t, const char *key)
{
    for (int i = 0; i < t->n_entries; i++)
        if (strcmp(t->entries[i].key, key) == 0) return &t->entries[i];
    return NULL;
}

static bool is_tuned(const omcu_step *s)
{
    if (s->kind == OMCU_STEP_DEPTHWISE) return s->tactic >= OMCU_TACTIC_DEPTHWISE;
    if (s->kind == OMCU_STEP_CONV && s->u.conv.groups > 1) return true;
    return s->kind == OMCU_STEP_CONV && s->half && s->tactic >= 0;
}

static int collect(omcu_tuner *t, const omcu_program *p)
{
    for (int i = 0; i < p->n_steps; i++) {
        char key[KEY_SIZE];
        if (!is_tuned(&p->steps[i])) continue;
        key_of(&p->steps[i], key);
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

static void list_candidates(const omcu_program *p, entry *e, bool with_lt, bool with_cudnn)
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
    for (int i = 0; i < omcu_conv_forms() && !grouped; i++) add(e, (candidate){.tactic = i, .ready = true});
    int n = with_lt && !grouped ? omcu_lt_candidates(p, s, lt, MAX_LT) : 0;
    for (int i = 0; i < n; i++) add(e, (candidate){.tactic = OMCU_TACTIC_LT + i, .lt = lt[i], .ready = true});
    n = with_cudnn ? omcu_cudnn_candidates(p, s, cudnn, MAX_CUDNN) : 0;
    for (int i = 0; i < n; i++) add(e, (candidate){.tactic = OMCU_TACTIC_CUDNN + i, .cudnn = cudnn[i]});
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

typedef struct bench {
    omcu_program *p;
    omcu_binding b;
    void *inputs[16], *outputs[16];
    cudaStream_t stream;
    cudaEvent_t from, to;
} bench;

static void bench_fini(bench *x)
{
    if (x->b.arena) om_device_mem_free(x->p->device, x->b.arena);
    if (x->b.workspace) om_device_mem_free(x->p->device, x->b.workspace);
    for (int i = 0; i < 16; i++) {
        if (x->inputs[i]) om_device_mem_free(x->p->device, x->inputs[i]);
        if (x->outputs[i]) om_device_mem_free(x->p->device, x->outputs[i]);
    }
    if (x->from) (void)cudaEventDestroy(x->from);
    if (x->to) (void)cudaEventDestroy(x->to);
    if (x->stream) (void)cudaStreamDestroy(x->stream);
}

static int bench_init(bench *x, omcu_program *p, size_t workspace)
{
    *x = (bench){.p = p};
    x->b.inputs = x->inputs;
    x->b.outputs = x->outputs;
    int err = p->n_inputs > 16 || p->n_outputs > 16
                  ? om_fail(OM_ERR_UNSUPPORTED, "more than 16 inputs or outputs")
                  : OM_OK;
    if (!err) err = om_device_mem_alloc_for(p->device, OM_PURPOSE_WORK, p->arena, &x->b.arena);
    if (!err) err = om_device_mem_alloc_for(p->device, OM_PURPOSE_WORK, workspace, &x->b.workspace);
    for (int i = 0; i < p->n_inputs && !err; i++)
        err = om_device_mem_alloc_for(p->device, OM_PURPOSE_WORK, p->buffers[p->inputs[i]].bytes,
                                      &x->inputs[i]);
    for (int i = 0; i < p->n_outputs && !err; i++)
        err = om_device_mem_alloc_for(p->device, OM_PURPOSE_WORK, p->buffers[p->outputs[i]].bytes,
                                      &x->outputs[i]);
    if (!err)
        err = om_cuda_check(p->device, (int)cudaStreamCreateWithFlags(&x->stream, cudaStreamNonBlocking),
                            "tuning");
    if (!err) err = om_cuda_check(p->device, (int)cudaEventCreate(&x->from), "tuning");
    if (!err) err = om_cuda_check(p->device, (int)cudaEventCreate(&x->to), "tuning");
    if (!err)
        err = om_cuda_check(p->device, (int)cudaMemsetAsync(x->b.arena, 0, p->arena, x->stream), "tuning");
    for (int i = 0; i < p->n_inputs && !err; i++)
        err = om_cuda_check(p->device,
                            (int)cudaMemsetAsync(x->inputs[i], 0, p->buffers[p->inputs[i]].bytes, x->stream),
                            "tuning");
    return err;
}

/* Nanoseconds of one launch; negative: it does not run, or the device is lost. */
static double time_step(bench *x, const omcu_step *s)
{
    float ms = 0;
    int reps = 3;
    if (omcu_step_run(x->p, s, &x->b, x->stream)) return -1;
    for (int round = 0; round < 2; round++) {
        (void)cudaEventRecord(x->from, x->stream);
        for (int i = 0; i < reps; i++)
            if (omcu_step_run(x->p, s, &x->b, x->stream)) return -1;
        (void)cudaEventRecord(x->to, x->stream);
        if (cudaEventSynchronize(x->to) != cudaSuccess ||
            cudaEventElapsedTime(&ms, x->from, x->to) != cudaSuccess)
            return -1;
        /* Short ones again, longer: their times are mostly noise. */
        if (ms > 0.3f) break;
        reps = 20;
    }
    return (double)ms * 1e6 / reps;
}

static double time_any(void *user, const omcu_step *s) { return time_step(user, s); }

static int time_entry(bench *x, entry *e)
{
    omcu_step s = x->p->steps[e->step];
    e->best = -1;
    for (int i = 0; i < e->n; i++) {
        candidate *c = &e->list[i];
        if (!c->ready) continue;
        s.tactic = c->tactic;
        s.cudnn = c->cudnn;
        s.lt = c->lt;
        c->ns = time_step(x, &s);
        if (c->ns > 0 && (e->best < 0 || c->ns < e->list[e->best].ns)) e->best = i;
    }
    int err = om_cuda_enter(x->p->device);
    if (err) return err;
    return e->best < 0 ? om_fail(OM_ERR_DEVICE, "node '%s': no way of computing it runs here", s.name)
                       : OM_OK;
}

/* ---- memory of past tunings ---- */

static char *cache_path(const omcu_program *p, const char *dir)
{
    om_device_info info;
    if (!dir || om_device_info_get(p->device, &info)) return NULL;
    for (char *c = info.name; *c; c++)
        if (*c == ' ' || *c == '/') *c = '-';
    return om_sprintf("%s/cuda-%s-cudnn-%s-v" CACHE_VERSION ".tactics", dir, info.name, omcu_cudnn_version());
}

/* A line is "key<TAB>tactic name". */
static void tactic_name(const candidate *c, char out[64])
{
    if (c->cudnn) snprintf(out, 64, "%s", omcu_cudnn_name(c->cudnn));
    else if (c->lt) snprintf(out, 64, "cublaslt %d", c->tactic - OMCU_TACTIC_LT);
    else if (c->tactic >= OMCU_TACTIC_DEPTHWISE)
        snprintf(out, 64, "depthwise %s", omcu_depthwise_form_name(c->tactic - OMCU_TACTIC_DEPTHWISE));
    else if (c->tactic == OMCU_TACTIC_PLAIN) snprintf(out, 64, "plain");
    else snprintf(out, 64, "tiles %s", omcu_conv_form_name(c->tactic));
}

static bool remembered(const char *text, const char *key, char out[64])
{
    size_t n = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, key, n) != 0 || line[n] != '\t') continue;
        snprintf(out, 64, "%.*s", (int)strcspn(line + n + 1, "\n"), line + n + 1);
        return true;
    }
    return false;
}

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
    if (remembered(text, e->key, wanted)) (void)keep_named(e, wanted);
}

/* ---- what a plan file keeps ---- */

static int recall_entry(const omcu_program *p, entry *e, const omcu_form_rung *from)
{
    const omcu_choice *c = omcu_form_find(from, e->key);
    const char *node = p->steps[e->step].name;
    if (!c) return om_fail(OM_ERR_FORMAT, "it says nothing of node '%s'", node);
    list_candidates(p, e, strncmp(c->tactic, "cublaslt", 8) == 0, strncmp(c->tactic, "cudnn", 5) == 0);
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
    omcu_join_export(p, out->pairs);
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

static int save_cache(const omcu_tuner *t, const char *path, const char *old)
{
    om_outfile f = {0};
    om_str text = {0};
    char name[64];
    if (old) om_str_add(&text, old);
    for (int i = 0; i < t->n_entries; i++) {
        const entry *e = &t->entries[i];
        char was[64];
        if (e->best < 0 || (old && remembered(old, e->key, was))) continue;
        tactic_name(&e->list[e->best], name);
        om_str_addf(&text, "%s\t%s\n", e->key, name);
    }
    int err = om_outfile_open(&f, path);
    if (!err) err = om_outfile_write(&f, om_str_get(&text), strlen(om_str_get(&text)));
    if (!err) err = om_outfile_commit(&f);
    else om_outfile_abort(&f);
    om_str_fini(&text);
    return err;
}

/* ---- all together ---- */

static void apply(omcu_tuner *t, omcu_program *p)
{
    int *n = t->products;
    for (int i = 0; i < p->n_steps; i++) {
        omcu_step *s = &p->steps[i];
        char key[KEY_SIZE];
        if (!is_tuned(s)) continue;
        key_of(s, key);
        const entry *e = find_entry(t, key);
        if (!e || e->best < 0) continue;
        const candidate *c = &e->list[e->best];
        s->tactic = c->tactic;
        s->cudnn = c->cudnn;
        s->lt = c->lt;
        s->ns = c->ns;
        n[c->cudnn ? 0 : c->lt ? 1 : 2]++;
        size_t need = c->cudnn ? omcu_cudnn_workspace(c->cudnn) : c->lt ? omcu_lt_workspace(c->lt) : 0;
        if (need > p->workspace) p->workspace = need;
    }
    snprintf(t->note, sizeof t->note, "%d products by cuDNN, %d by cuBLASLt, %d by own kernels", n[0], n[1],
             n[2]);
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

int omcu_tune(omcu_program *p, const omcu_tune_params *params)
{
    bench x = {.p = p};
    char *old = NULL, *path = NULL;
    size_t old_len = 0, workspace = 1;
    if (params->seconds <= 0) return OM_OK;
    omcu_tuner *t = om_calloc(1, sizeof *t);
    if (!t) return OM_ERR_NOMEM;
    p->tuner = t;
    t->device = p->device;
    t->deadline = om_now_ns() + (int64_t)(params->seconds * 1e9);
    int err = om_cuda_enter(p->device);
    if (!err) err = collect(t, p);
    if (err || !t->n_entries) return err;
    path = cache_path(p, params->cache_dir);
    if (path && (access(path, R_OK) || om_read_file(path, 16u << 20, &old, &old_len))) old = NULL;
    for (int i = 0; i < t->n_entries && params->recall && !err; i++)
        err = recall_entry(p, &t->entries[i], params->recall);
    if (params->recall) {
        if (!err) build_all(t, params->threads);
        if (!err) err = take_recalled(t, p);
        if (!err) apply(t, p);
        return err ? err : omcu_join_recall(p, params->recall->pairs);
    }
    for (int i = 0; i < t->n_entries; i++) {
        list_candidates(p, &t->entries[i], params->libraries, params->libraries);
        if (old) narrow(&t->entries[i], old);
    }
    build_all(t, params->threads);
    for (int i = 0; i < t->n_entries; i++)
        for (int k = 0; k < t->entries[i].n; k++) {
            const candidate *c = &t->entries[i].list[k];
            size_t need = !c->ready  ? 0
                          : c->cudnn ? omcu_cudnn_workspace(c->cudnn)
                          : c->lt    ? omcu_lt_workspace(c->lt)
                                     : 0;
            if (need > workspace) workspace = need;
        }
    err = bench_init(&x, p, workspace);
    for (int i = 0; i < t->n_entries && !err; i++) err = time_entry(&x, &t->entries[i]);
    if (!err) {
        drop_losers(t);
        apply(t, p);
        omcu_join_tune(p, time_any, &x);
        err = om_cuda_enter(p->device);
    }
    bench_fini(&x);
    if (!err && path && save_cache(t, path, old))
        om_log(OM_LOG_WARN, "tuning is not remembered: %s", om_error_message());
    om_free(path);
    om_free(old);
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
    om_free(t->entries);
    om_free(t);
}

const char *omcu_tuner_note(const omcu_tuner *t) { return t ? t->note : "not tuned"; }
