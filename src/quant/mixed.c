/* Which layers go back to float: each, or each few of a large model, is tried alone as int8, and those that
 * disturb the outputs most for the work that they do go first. How many graphs are compiled is bounded. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "quant/calibrate.h"
#include "quant/quantizer.h"

#define ALONE_JUDGED 24 /* inferences that tell what a layer does alone */
#define TIMED_RUNS 12
#define LEAST_GAIN 0.02 /* of what a mean layer does or saves: no layer counts for less */
#define MOST_BLOCKS 48
#define MOST_PRUNED 24 /* trials of making some int8 once more at the end */
#define WHY_LEN 160

typedef struct layer_item {
    double float_us, int8_us; /* NAN: not measured */
    size_t block;
    bool takes; /* may be int8 */
} layer_item;

/* Neighbouring layers that stay float or become int8 together: one, but in large models. */
typedef struct block {
    double noise, score; /* of the outputs, where it alone is int8; NAN: not tried */
    double float_us, int8_us, work;
    size_t layers;
    bool keep, needed, chosen; /* stays float; was found to have to; is tried as int8 once more */
    char why[WHY_LEN];
} block;

typedef struct mix {
    om_calibration *c;
    layer_item *layers;
    size_t n;
    block *items;
    size_t n_items;
    size_t *order; /* of those that were tried: the first goes back first */
    size_t n_order;
    const char **keep;
    double float_us, int8_us; /* of all layers; 0: not measured */
} mix;

static bool stays(const mix *m, size_t layer)
{
    return m->layers[layer].takes && m->items[m->layers[layer].block].keep;
}

static om_quant_variant variant_of(mix *m)
{
    for (size_t i = 0; i < m->n; i++) m->keep[i] = stays(m, i) ? m->items[m->layers[i].block].why : NULL;
    return (om_quant_variant){.method = m->c->job->params.method, .keep = m->keep};
}

/* Exchanges the layers' names with "@NUMBER@", by which they are found in the engine's list. */
static void swap_tags(om_quantizer *q, char **names)
{
    for (int i = 0; i < q->n_layers; i++) {
        om_node *n = &q->g->nodes[q->layers[i].node];
        char *name = n->name;
        n->name = names[i];
        names[i] = name;
    }
}

static int layer_of(const char *name, int n)
{
    const char *at = strchr(name, '@');
    char *end;
    long k = at ? strtol(at + 1, &end, 10) : -1;
    return k >= 0 && k < n && end > at + 1 && *end == '@' ? (int)k : -1;
}

static void done(void *user) { (void)user; }

/* The least of some runs for each of the engine's layers, added up by ours. */
static int read_times(om_session *s, double *us, int n, double *total)
{
    int count = om_session_layers(s, NULL, 0), err = count < 0 ? count : OM_OK;
    size_t room = count > 0 ? (size_t)count : 1;
    om_layer_time *now = om_calloc(room, sizeof *now);
    double *least = om_alloc(room * sizeof *least);
    if (!now || !least) err = OM_ERR_NOMEM;
    for (int r = 0; r < TIMED_RUNS && !err; r++) {
        err = om_session_submit(s, s->plan->batch, done, NULL);
        if (!err) err = om_session_wait(s);
        if (!err && om_session_layers(s, now, count) != count)
            err = om_fail(OM_ERR_INTERNAL, "the engine's list of layers changed");
        for (int i = 0; i < count && !err; i++) {
            double t = now[i].ran ? (double)now[i].ns / 1e3 : 0;
            least[i] = r ? fmin(least[i], t) : t;
        }
    }
    *total = 0;
    for (int i = 0; i < count && !err; i++) {
        int k = layer_of(now[i].name, n);
        if (k >= 0) us[k] += least[i];
        *total += least[i];
    }
    om_free(now);
    om_free(least);
    return err;
}

static int time_graph(const om_calibration *c, const om_graph *g, double *us, int n, double *total)
{
    om_plan *plan = NULL;
    om_session *s = NULL;
    int err = om_calibration_compile(c, g, true, &plan, &s);
    if (!err) memcpy(s->input.data, c->judge.kept[0].input, s->item_bytes * (size_t)plan->batch);
    if (!err) err = read_times(s, us, n, total);
    om_session_destroy(s);
    om_plan_destroy(plan);
    return err;
}

static int time_both(mix *m, double *us)
{
    om_quantizer *q = m->c->q;
    om_graph *g = NULL;
    om_quant_variant all = variant_of(m);
    char **names = om_calloc(m->n, sizeof *names);
    int err = names ? OM_OK : OM_ERR_NOMEM;
    for (size_t i = 0; i < m->n && !err; i++)
        if (!(names[i] = om_sprintf("@%zu@", i))) err = OM_ERR_NOMEM;
    if (!err) {
        swap_tags(q, names);
        err = om_quantizer_make(q, &all, &g, NULL);
        if (!err) err = time_graph(m->c, q->g, us, (int)m->n, &m->float_us);
        if (!err) err = time_graph(m->c, g, us + m->n, (int)m->n, &m->int8_us);
        swap_tags(q, names);
    }
    for (size_t i = 0; names && i < m->n; i++) om_free(names[i]);
    om_free(names);
    om_graph_destroy(g);
    return err;
}

/* Times of the layers as float and as int8. An engine that tells none leaves all equal. */
static int measure(mix *m)
{
    double *us = om_calloc(2 * m->n, sizeof *us);
    if (!us) return OM_ERR_NOMEM;
    int err = m->c->backend->layers ? time_both(m, us) : OM_OK;
    if (!err && m->c->job->speed > 0 && m->float_us <= 0)
        err = om_fail(OM_ERR_UNSUPPORTED, "--speed: the %s backend tells no times of layers",
                      m->c->backend->name);
    for (size_t i = 0; i < m->n && !err; i++) {
        layer_item *l = &m->layers[i];
        l->float_us = m->float_us > 0 ? us[i] : NAN;
        l->int8_us = m->float_us > 0 ? us[m->n + i] : NAN;
        if (!l->takes) continue;
        m->items[l->block].float_us += l->float_us;
        m->items[l->block].int8_us += l->int8_us;
    }
    om_free(us);
    return err;
}

/* How many times faster than float the present choice is, by its layers. */
static double speed(const mix *m)
{
    double us = m->int8_us;
    if (m->float_us <= 0 || us <= 0) return NAN;
    for (size_t i = 0; i < m->n; i++)
        if (stays(m, i)) us += m->layers[i].float_us - m->layers[i].int8_us;
    return us > 0 ? m->float_us / us : NAN;
}

static int try_alone(mix *m, size_t item)
{
    om_graph *g;
    om_judgement v;
    for (size_t i = 0; i < m->n_items; i++) m->items[i].keep = i != item;
    om_quant_variant alone = variant_of(m);
    int err = om_quantizer_make(m->c->q, &alone, &g, NULL);
    if (err == OM_ERR_UNSUPPORTED) return OM_OK; /* its input never changes: it stays float anyway */
    if (!err) err = om_calibration_judge(m->c, g, ALONE_JUDGED, &v, NULL);
    om_graph_destroy(g);
    if (err) return err;
    m->items[item].noise = v.noise;
    m->items[item].score = v.score;
    m->order[m->n_order++] = item;
    return OM_OK;
}

/* What a block as int8 is good for: multiplications where a floor is asked for, for they are the same
 * whatever else the machine does; microseconds where a speed is. 0: not known. */
static double use_of(const mix *m, size_t item)
{
    const block *x = &m->items[item];
    if (m->c->job->floor > 0) return x->work;
    return m->float_us > 0 ? x->float_us - x->int8_us : 0;
}

static double disturbs(const mix *m, size_t item)
{
    return isnan(m->items[item].noise) ? 0 : m->items[item].noise;
}

/* The first to go back: of the noise for the use, that of none below a part of the mean. */
static double worth(const mix *m, size_t item)
{
    double all = m->float_us;
    if (m->c->job->floor > 0) {
        all = 0;
        for (size_t i = 0; i < m->n_items; i++) all += m->items[i].work;
    }
    double least = LEAST_GAIN * all / (double)m->n_items;
    return all > 0 ? disturbs(m, item) / fmax(use_of(m, item), least) : disturbs(m, item);
}

/* By insertion: equal ones keep their order. */
static void sort_order(mix *m)
{
    for (size_t i = 1; i < m->n_order; i++)
        for (size_t k = i; k > 0 && worth(m, m->order[k]) > worth(m, m->order[k - 1]); k--) {
            size_t t = m->order[k];
            m->order[k] = m->order[k - 1];
            m->order[k - 1] = t;
        }
}

static void say_why(block *b)
{
    double db = -10 * log10(fmax(b->noise, 1e-20));
    if (b->layers == 1)
        snprintf(b->why, sizeof b->why, "it disturbs most for its work (alone %.1f dB at the outputs)", db);
    else
        snprintf(b->why, sizeof b->why,
                 "it and its neighbours disturb most for their work (these %zu alone %.1f dB at the outputs)",
                 b->layers, db);
}

static int find_sensitivity(mix *m)
{
    bool single = true;
    for (size_t i = 0; i < m->n_items; i++) single = single && m->items[i].layers == 1;
    for (size_t i = 0; i < m->n_items; i++) {
        int err = try_alone(m, i);
        if (err) return err;
        om_calibration_progress(
            m->c, single ? "how much a layer disturbs: layer" : "how much some layers disturb: part", i + 1,
            m->n_items);
    }
    for (size_t i = 0; i < m->n_items; i++) {
        m->items[i].keep = false;
        say_why(&m->items[i]);
    }
    sort_order(m);
    return OM_OK;
}

/* Of the first `k` of the order as floats; where it misses the floor, some of the pictures may have told. */
static int score_of_first(mix *m, size_t k, double floor, double *score)
{
    om_judgement v;
    for (size_t i = 0; i < m->n_order; i++) m->items[m->order[i]].keep = i < k;
    om_quant_variant some = variant_of(m);
    int err = om_calibration_try(m->c, &some, floor, &v);
    *score = err ? NAN : v.score;
    return err;
}

/* Up to `most` of what stays float and may be int8, by the work that it does for what it disturbs. */
static size_t choose_some(mix *m, size_t most)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_items; i++) m->items[i].chosen = false;
    for (; n < most; n++) {
        size_t dearest = m->n_items;
        double least = 0;
        for (size_t i = 0; i < m->n_items; i++) {
            const block *x = &m->items[i];
            double cost = fmax(x->work, 1) / fmax(disturbs(m, i), 1e-12);
            if (x->keep && !x->needed && !x->chosen && cost > least) least = cost, dearest = i;
        }
        if (dearest == m->n_items) break;
        m->items[dearest].chosen = true;
    }
    return n;
}

static void set_chosen(mix *m, bool keep)
{
    for (size_t i = 0; i < m->n_items; i++)
        if (m->items[i].chosen) m->items[i].keep = keep;
}

/* Some of what went back is tried as int8 again: many at once, fewer where that is too much. */
static int prune(mix *m, double floor)
{
    size_t some = 0;
    for (size_t i = 0; i < m->n_items; i++) some += m->items[i].keep;
    some = some > 4 ? some / 4 : 1;
    for (size_t round = 0; round < MOST_PRUNED; round++) {
        om_judgement v;
        size_t n = choose_some(m, some);
        if (!n) break;
        set_chosen(m, false);
        om_quant_variant less = variant_of(m);
        int err = om_calibration_try(m->c, &less, floor, &v);
        if (err) return err;
        om_calibration_progress(m->c, "int8 after all: trial", round + 1, MOST_PRUNED);
        if (v.score >= floor) continue;
        set_chosen(m, true);
        for (size_t i = 0; i < m->n_items && n == 1; i++)
            if (m->items[i].chosen) m->items[i].needed = true;
        some = n > 1 ? n / 2 : 1;
    }
    return OM_OK;
}

/* The fewest of the order that keep the floor: by doubling, then by halves. Where none do, as near to float
 * as it comes. */
static int keep_floor(mix *m, double floor, double plain)
{
    size_t fails = 0, passes = 0, last = m->n_order ? m->n_order - 1 : 0;
    double score;
    int err = OM_OK;
    if (plain >= floor) return score_of_first(m, 0, floor, &score);
    for (size_t k = 1; k <= last && !passes && !err; k = k * 2 > last && k < last ? last : k * 2) {
        err = score_of_first(m, k, floor, &score);
        om_calibration_progress(m->c, "floats for the floor: first", k, m->n_order);
        if (score >= floor) passes = k;
        else fails = k;
    }
    if (err || !passes) return err ? err : score_of_first(m, last, 0, &score);
    while (passes - fails > 1 && !err) {
        size_t k = fails + (passes - fails) / 2;
        err = score_of_first(m, k, floor, &score);
        om_calibration_progress(m->c, "floats for the floor: first", k, m->n_order);
        if (score >= floor) passes = k;
        else fails = k;
    }
    for (size_t i = 0; i < m->n_order; i++) m->items[m->order[i]].keep = i < passes;
    return err ? err : prune(m, floor);
}

/* As many as the speed allows. */
static void keep_speed(mix *m, double goal)
{
    for (size_t i = 0; i < m->n_order; i++) {
        block *x = &m->items[m->order[i]];
        x->keep = true;
        if (!(speed(m) >= goal)) x->keep = false;
        if (!x->keep && x->float_us > x->int8_us) break;
    }
    size_t left = 0;
    for (size_t i = 0; i < m->n_order; i++) left += !m->items[m->order[i]].keep;
    if (!left && m->n_order) m->items[m->order[m->n_order - 1]].keep = false;
}

static int choose(mix *m)
{
    const om_quant_job *j = m->c->job;
    om_quant_report *r = m->c->r;
    double plain;
    int err = score_of_first(m, 0, 0, &plain);
    if (err) return err;
    r->plain_score = plain;
    if (j->floor > 0 && isnan(plain)) return OM_OK; /* told by the caller */
    if (j->floor > 0) err = keep_floor(m, j->floor, plain);
    else keep_speed(m, j->speed);
    r->speed = speed(m);
    r->missed = j->speed > 0 && !(r->speed >= j->speed);
    return err;
}

static int make(mix *m, om_graph **out)
{
    om_quant_report *r = m->c->r;
    om_quant_variant v = variant_of(m);
    int err = om_quantizer_make(m->c->q, &v, out, r);
    for (size_t i = 0; i < m->n && !err; i++) {
        const block *x = &m->items[m->layers[i].block];
        om_quant_layer *l = &r->layers[i];
        l->float_us = m->layers[i].float_us;
        l->int8_us = m->layers[i].int8_us;
        r->mixed += stays(m, i);
        if (!m->layers[i].takes) continue;
        l->alone_db = isnan(x->noise) ? NAN : -10 * log10(fmax(x->noise, 1e-20));
        l->alone_score = x->score;
    }
    return err;
}

/* Layers that may be int8, as evenly into blocks as their number allows. */
static void set_blocks(mix *m)
{
    size_t of = 0, at = 0;
    for (size_t i = 0; i < m->n; i++) of += m->layers[i].takes = om_quantizer_takes(m->c->q, i);
    m->n_items = of < MOST_BLOCKS ? of : MOST_BLOCKS;
    for (size_t i = 0; i < m->n_items; i++) m->items[i].noise = m->items[i].score = NAN;
    for (size_t i = 0; i < m->n; i++) {
        if (!m->layers[i].takes) continue;
        block *b = &m->items[m->layers[i].block = at++ * m->n_items / of];
        b->work += om_quantizer_work(m->c->q, i);
        b->layers++;
    }
}

int om_quant_mix(om_calibration *c, om_graph **out)
{
    mix m = {.c = c, .n = om_quantizer_layers(c->q)};
    m.layers = om_calloc(m.n, sizeof *m.layers);
    m.items = om_calloc(MOST_BLOCKS, sizeof *m.items);
    m.order = om_calloc(MOST_BLOCKS, sizeof *m.order);
    m.keep = om_calloc(m.n, sizeof *m.keep);
    int err = m.layers && m.items && m.order && m.keep ? OM_OK : OM_ERR_NOMEM;
    if (!err) set_blocks(&m);
    if (!err) err = measure(&m);
    if (!err) err = find_sensitivity(&m);
    if (!err) err = choose(&m);
    if (!err) err = make(&m, out);
    om_free(m.layers);
    om_free(m.items);
    om_free(m.order);
    om_free(m.keep);
    return err;
}
