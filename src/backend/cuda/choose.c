/* Which tensors of a quantised model lie as 8-bit integers. A group of tensors lies one way, and what it
 * costs shows in all steps that touch it: products of the one kind or the other, and what changes numbers at
 * the borders. So whole programs are compared, by sums over steps that are each timed once. */
#include <stdio.h>
#include <string.h>

#include "backend/cuda/tune.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"

#define MAX_SWEEPS 2
#define SHARE 0.4     /* of the time for tuning */
#define COMPARISONS 3 /* of whole programs, in turn */

typedef struct search {
    om_device *device;
    const om_graph *g;
    omcu_build how;
    omcu_tune_params params;
    int64_t deadline;
    int tried;
} search;

static int rate(search *s, const bool *narrow, double *ns)
{
    omcu_program *p = NULL;
    omcu_tune_params params = s->params;
    params.rate = true;
    params.seconds = (double)(s->deadline - om_now_ns()) / 1e9;
    if (params.seconds < 0.1) params.seconds = 0.1;
    s->how.narrow = narrow;
    int err = omcu_lower(s->device, s->g, &s->how, &p);
    if (!err) err = omcu_tune(p, &params);
    *ns = err ? 0 : p->ns;
    omcu_program_destroy(p);
    s->tried++;
    return err;
}

/* Names the decision: the same graph, sizes and grids. */
static void key_of(const search *s, char *out, size_t size)
{
    uint64_t hash = 14695981039346656037u;
    const omcu_qdq *q = s->how.qdq;
    for (int i = 0; i < s->g->n_nodes; i++) {
        const om_node *n = &s->g->nodes[i];
        if (n->dead) continue;
        for (const char *c = n->op; *c; c++) hash = (hash ^ (uint64_t)*c) * 1099511628211u;
        const om_shape *shape =
            n->n_outputs && n->outputs[0] >= 0 ? &s->g->values[n->outputs[0]].shape : NULL;
        for (int d = 0; shape && d < shape->rank; d++)
            hash = (hash ^ (uint64_t)shape->dim[d]) * 1099511628211u;
        int group = shape && n->outputs[0] < q->n_values ? q->groups[n->outputs[0]] : -1;
        hash = (hash ^ (uint64_t)(int64_t)group) * 1099511628211u;
    }
    snprintf(out, size, "groups %d %016llx", q->n_groups, (unsigned long long)hash);
}

static bool recall(const search *s, const char *key, bool *narrow)
{
    int n = s->how.qdq->n_groups;
    char *bits = omcu_memo_find(s->params.memo, key);
    bool found = bits && strlen(bits) == (size_t)n;
    for (int i = 0; i < n && found; i++) narrow[i] = bits[i] == '1';
    om_free(bits);
    return found;
}

/* Nanoseconds of the whole program as it would run. */
static int time_whole(search *s, const bool *narrow, double *ns)
{
    omcu_program *p = NULL;
    omcu_tune_params params = s->params;
    params.whole = true;
    s->how.narrow = narrow;
    int err = omcu_lower(s->device, s->g, &s->how, &p);
    if (!err) err = omcu_tune(p, &params);
    if (!err && p->ns > 0 && (*ns <= 0 || p->ns < *ns)) *ns = p->ns;
    omcu_program_destroy(p);
    return err;
}

/* The sums leave out what steps do to each other: whether the choice beats f16 is seen of whole programs. */
static int compare(search *s, const bool *narrow, double *none, double *best)
{
    int err = OM_OK;
    bool *no = om_calloc((size_t)s->how.qdq->n_groups + 1, sizeof *no);
    if (!no) return OM_ERR_NOMEM;
    *none = *best = 0;
    for (int i = 0; i < COMPARISONS && !err; i++) {
        err = time_whole(s, no, none);
        if (!err) err = time_whole(s, narrow, best);
    }
    om_free(no);
    return err;
}

/* Each group the other way, kept where that is faster. */
static int sweep(search *s, bool *narrow, double *best, bool *changed)
{
    *changed = false;
    for (int i = 0; i < s->how.qdq->n_groups && om_now_ns() < s->deadline; i++) {
        double ns;
        narrow[i] = !narrow[i];
        int err = rate(s, narrow, &ns);
        if (err) return err;
        if (ns < *best) {
            *best = ns;
            *changed = true;
        } else {
            narrow[i] = !narrow[i];
        }
    }
    return OM_OK;
}

static int write_down(const search *s, const char *key, const bool *narrow)
{
    om_str *memo = s->params.memo;
    om_str_addf(memo, "%s\t", key);
    for (int i = 0; i < s->how.qdq->n_groups; i++) om_str_addc(memo, narrow[i] ? '1' : '0');
    om_str_add(memo, "\n");
    return memo->failed ? OM_ERR_NOMEM : OM_OK;
}

int omcu_choose(om_device *device, const om_graph *g, const omcu_build *how, const omcu_tune_params *params,
                bool *narrow)
{
    search s = {.device = device, .g = g, .how = *how, .params = *params};
    int n = how->qdq->n_groups, kept = 0;
    double none = 0, all = 0, best = 0, whole = 0, whole_none = 0;
    char key[64];
    bool changed = true;
    int64_t start = om_now_ns();
    s.deadline = start + (int64_t)(params->seconds * SHARE * 1e9);
    key_of(&s, key, sizeof key);
    if (!n || recall(&s, key, narrow)) return OM_OK;
    memset(narrow, 0, (size_t)n * sizeof *narrow);
    /* Constants of what is only tried are no part of the plan's. */
    int err = omcu_store_create_rehearsal(device, &s.how.store);
    if (!err) err = rate(&s, narrow, &none);
    memset(narrow, 1, (size_t)n * sizeof *narrow);
    if (!err) err = rate(&s, narrow, &all);
    best = all;
    for (int i = 0; i < MAX_SWEEPS && !err && changed; i++) err = sweep(&s, narrow, &best, &changed);
    if (!err) err = compare(&s, narrow, &whole_none, &whole);
    /* What could not be timed as a whole (0) tells nothing. */
    if (!err && whole_none > 0 && whole_none < whole) memset(narrow, 0, (size_t)n * sizeof *narrow);
    omcu_store_unref(s.how.store);
    if (err) return err;
    for (int i = 0; i < n; i++) kept += narrow[i];
    om_log(
        OM_LOG_INFO,
        "cuda: %d of %d groups of tensors as 8-bit integers: %.3f ms by the sum of steps (all %.3f, none %.3f), "
        "%.3f ms as a whole (none %.3f); %d programs compared in %.1f s",
        kept, n, best / 1e6, all / 1e6, none / 1e6, whole / 1e6, whole_none / 1e6, s.tried,
        (double)(om_now_ns() - start) / 1e9);
    return write_down(&s, key, narrow);
}
