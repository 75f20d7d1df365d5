#include "quant/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "eval/detection.h"

#define MOST_BYTES ((size_t)256 << 20)
#define FEW 32            /* inferences that boxes and outputs are compared on */
#define MANY 256          /* and texts or classes, each of which is equal or not */
#define LEAST_CONF 0.001f /* boxes below make up no precision curve */

const char *om_quant_metric_name(om_quant_metric m)
{
    static const char *const names[] = {"cosine", "agreement AP50", "equal texts", "equal classes"};
    return names[m];
}

static om_quant_metric metric_of(om_family f)
{
    switch (f) {
    case OM_FAMILY_UNKNOWN:
    case OM_FAMILY_RAW:
    case OM_FAMILY_EMBEDDING: return OM_METRIC_COSINE;
    case OM_FAMILY_CTC:
    case OM_FAMILY_SLOTS: return OM_METRIC_TEXT;
    case OM_FAMILY_CLASSIFY: return OM_METRIC_TOP1;
    default: return OM_METRIC_AP50;
    }
}

static bool is_share(om_quant_metric m) { return m == OM_METRIC_TEXT || m == OM_METRIC_TOP1; }

int om_judge_init(om_judge *j, const om_model_desc *desc, int n_outputs, size_t most)
{
    om_head_params p;
    *j = (om_judge){.metric = metric_of(desc->family), .n_outputs = n_outputs};
    if (!most) most = is_share(j->metric) ? MANY : FEW;
    j->kept = om_calloc(most, sizeof *j->kept);
    if (!j->kept) return OM_ERR_NOMEM;
    j->most = most;
    if (j->metric == OM_METRIC_COSINE) return OM_OK;
    om_head_params_default(&p);
    p.conf = j->metric == OM_METRIC_AP50 ? LEAST_CONF : 0;
    p.top_k = 1;
    int err = om_head_create(desc, &p, &j->head);
    if (err == OM_ERR_NOMEM) return err;
    if (err) j->metric = OM_METRIC_COSINE; /* outputs that the family's head does not take */
    else j->threshold = (double)j->head->ops->conf;
    return OM_OK;
}

static void forget(om_judge *j, om_judged *k)
{
    for (int o = 0; k->outputs && o < j->n_outputs; o++) om_free(k->outputs[o]);
    for (int o = 0; k->dets && o < k->items; o++) om_dets_fini(&k->dets[o]);
    om_free(k->outputs);
    om_free(k->counts);
    om_free(k->input);
    om_free(k->geo);
    om_free(k->dets);
    j->bytes -= k->bytes;
    *k = (om_judged){0};
}

void om_judge_thin(om_judge *j)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n; i++) {
        om_judged k = j->kept[i];
        if (i % 2) forget(j, &k);
        else j->kept[n++] = k;
    }
    for (size_t i = n; i < j->n; i++) j->kept[i] = (om_judged){0};
    j->n = n;
}

void om_judge_fini(om_judge *j)
{
    for (size_t i = 0; i < j->n; i++) forget(j, &j->kept[i]);
    om_free(j->kept);
    om_free(j->turns);
    om_head_scratch_fini(&j->scratch);
    om_head_destroy(j->head);
    *j = (om_judge){0};
}

bool om_judge_full(const om_judge *j) { return j->n == j->most || j->bytes >= MOST_BYTES; }

static size_t count_of(const om_tensor *t)
{
    int64_t n = om_shape_static(&t->shape) ? om_shape_count(&t->shape) : -1;
    return n > 0 && t->dtype == OM_DTYPE_F32 ? (size_t)n : 0;
}

static int keep_outputs(om_judge *j, om_judged *k, const om_session *s)
{
    k->outputs = om_calloc((size_t)j->n_outputs, sizeof *k->outputs);
    k->counts = om_calloc((size_t)j->n_outputs, sizeof *k->counts);
    if (!k->outputs || !k->counts) return OM_ERR_NOMEM;
    for (int i = 0; i < j->n_outputs; i++) {
        size_t bytes = (k->counts[i] = count_of(&s->outputs[i])) * sizeof(float);
        if (!bytes) continue;
        k->outputs[i] = om_alloc(bytes);
        if (!k->outputs[i]) return OM_ERR_NOMEM;
        memcpy(k->outputs[i], s->outputs[i].data, bytes);
        j->bytes += bytes;
        k->bytes += bytes;
    }
    return OM_OK;
}

int om_judge_keep(om_judge *j, om_session *s, const om_geometry *geo, int items)
{
    om_judged *k = &j->kept[j->n++];
    size_t bytes = s->item_bytes * (size_t)s->plan->batch;
    k->input = om_alloc(bytes);
    k->geo = om_alloc((size_t)items * sizeof *k->geo);
    if (j->head) k->dets = om_calloc((size_t)items, sizeof *k->dets);
    if (!k->input || !k->geo || (j->head && !k->dets)) return OM_ERR_NOMEM;
    k->items = items;
    memcpy(k->input, s->input.data, bytes);
    memcpy(k->geo, geo, (size_t)items * sizeof *geo);
    j->bytes += bytes;
    k->bytes += bytes;
    int err = keep_outputs(j, k, s);
    for (int i = 0; i < items && j->head && !err; i++)
        err = om_head_decode(j->head, &j->scratch, s->outputs, j->n_outputs, i, &geo[i], &k->dets[i]);
    return err;
}

/* Sums over pictures: of one output, and of what the head makes of all. */
typedef struct sums {
    double dot, aa, bb, noise;
    size_t pictures;
} sums;

typedef struct tally {
    sums *of;
    om_eval_boxes truth, found;
    int images, classes;
    size_t equal, asked;
} tally;

/* Spaces at the ends say nothing: readers see more or fewer of them behind a line. */
static bool same_words(const char *a, const char *b)
{
    a += strspn(a, " ");
    b += strspn(b, " ");
    size_t n = strlen(a), m = strlen(b);
    while (n && a[n - 1] == ' ') n--;
    while (m && b[m - 1] == ' ') m--;
    return n == m && !memcmp(a, b, n);
}

static bool same_text(const om_dets *a, const om_dets *b)
{
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        const char *u = a->items[i].text, *v = b->items[i].text;
        if (!u != !v || (u && !same_words(u, v))) return false;
    }
    return true;
}

static int note_classes(int classes, const om_dets *d)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->items[i].class_id >= classes) classes = d->items[i].class_id + 1;
    return classes;
}

static int add_item(const om_judge *j, tally *t, const om_dets *a, const om_dets *b)
{
    int err = OM_OK;
    if (j->metric == OM_METRIC_AP50) {
        err = om_eval_boxes_add_dets(&t->truth, t->images, a);
        if (!err) err = om_eval_boxes_add_dets(&t->found, t->images, b);
        t->images++;
        t->classes = note_classes(note_classes(t->classes, a), b);
    } else if (a->n) {
        t->asked++;
        t->equal += j->metric == OM_METRIC_TEXT ? same_text(a, b)
                                                : b->n && a->items[0].class_id == b->items[0].class_id;
    }
    return err;
}

static void add_output(sums *to, const float *a, const float *b, size_t n)
{
    to->pictures++;
    for (size_t x = 0; x < n; x++) {
        double u = (double)a[x], v = (double)b[x];
        to->dot += u * v;
        to->aa += u * u;
        to->bb += v * v;
        to->noise += (u - v) * (u - v);
    }
}

static void done(void *user) { (void)user; }

static int judge_one(om_judge *j, om_session *s, const om_judged *k, tally *t)
{
    memcpy(s->input.data, k->input, s->item_bytes * (size_t)s->plan->batch);
    int err = om_session_submit(s, s->plan->batch, done, NULL);
    if (!err) err = om_session_wait(s);
    if (err) return err;
    for (int i = 0; i < j->n_outputs; i++)
        if (k->outputs[i] && count_of(&s->outputs[i]) == k->counts[i])
            add_output(&t->of[i], k->outputs[i], s->outputs[i].data, k->counts[i]);
    for (int i = 0; i < k->items && j->head && !err; i++) {
        om_dets dets = {0};
        err = om_head_decode(j->head, &j->scratch, s->outputs, j->n_outputs, i, &k->geo[i], &dets);
        if (!err) err = add_item(j, t, &k->dets[i], &dets);
        om_dets_fini(&dets);
    }
    return err;
}

static double cosine(const sums *s)
{
    return s->pictures && s->aa > 0 && s->bb > 0 ? s->dot / sqrt(s->aa * s->bb) : NAN;
}

static int conclude(const om_judge *j, const tally *t, om_judgement *v)
{
    double noise = 0, likeness = 0;
    int n = 0;
    for (int i = 0; i < j->n_outputs; i++) {
        if (!t->of[i].pictures || !(t->of[i].aa > 0)) continue;
        noise += t->of[i].noise / t->of[i].aa;
        likeness += isnan(cosine(&t->of[i])) ? 0 : cosine(&t->of[i]);
        n++;
    }
    *v = (om_judgement){.score = NAN, .noise = n ? noise / n : NAN};
    if (j->metric == OM_METRIC_AP50) {
        om_eval_agreement a;
        int err = om_eval_agree(&t->truth, &t->found, t->images, t->classes, j->threshold, &a);
        if (!err) v->score = a.ap50;
        return err;
    }
    if (j->metric != OM_METRIC_COSINE) {
        if (t->asked) v->score = (double)t->equal / (double)t->asked;
    } else if (n) v->score = likeness / n;
    return OM_OK;
}

/* What the float model says something of. */
static size_t to_ask(const om_judge *j, size_t most)
{
    size_t n = 0;
    for (size_t k = 0; k < j->n && k < most && j->head; k++)
        for (int i = 0; i < j->kept[k].items; i++) n += j->kept[k].dets[i].n > 0;
    return n;
}

static double sure_of(const om_judged *k)
{
    double least = 1;
    for (int i = 0; i < k->items; i++)
        for (size_t d = 0; d < k->dets[i].n; d++) least = fmin(least, (double)k->dets[i].items[d].score);
    return least;
}

static int compare_turns(const void *a, const void *b)
{
    const om_judge_turn *x = a, *y = b;
    if (x->sure != y->sure) return x->sure < y->sure ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static int set_turns(om_judge *j)
{
    if (j->n_turns == j->n) return OM_OK;
    om_free(j->turns);
    j->turns = om_calloc(j->n, sizeof *j->turns);
    j->n_turns = j->turns ? j->n : 0;
    if (!j->turns) return OM_ERR_NOMEM;
    for (size_t i = 0; i < j->n; i++) j->turns[i] = (om_judge_turn){sure_of(&j->kept[i]), i};
    qsort(j->turns, j->n, sizeof *j->turns, compare_turns);
    return OM_OK;
}

static void bring_forward(om_judge *j, size_t turn)
{
    om_judge_turn t = j->turns[turn];
    memmove(j->turns + 1, j->turns, turn * sizeof t);
    j->turns[0] = t;
}

/* Until more differ than the floor allows. */
static int run_until(om_judge *j, om_session *s, double floor, tally *t)
{
    double may = (1 - floor) * (double)to_ask(j, j->n) * (1 + 1e-9);
    int err = set_turns(j);
    for (size_t k = 0; k < j->n && !err; k++) {
        size_t differed = t->asked - t->equal;
        err = judge_one(j, s, &j->kept[j->turns[k].at], t);
        if (t->asked - t->equal > differed) bring_forward(j, k);
        if ((double)(t->asked - t->equal) > may) break;
    }
    return err;
}

int om_judge_run(om_judge *j, om_session *s, size_t most, double floor, om_judgement *v,
                 om_quant_output *outputs)
{
    tally t = {.of = om_calloc((size_t)j->n_outputs, sizeof *t.of)};
    int err = t.of ? OM_OK : OM_ERR_NOMEM;
    if (!err && s->n_outputs != j->n_outputs)
        err = om_fail(OM_ERR_INTERNAL, "the int8 model has %d outputs, the float one %d", s->n_outputs,
                      j->n_outputs);
    bool until = floor > 0 && is_share(j->metric) && j->head;
    if (!err && until) err = run_until(j, s, floor, &t);
    for (size_t k = 0; k < j->n && k < most && !err && !until; k++) err = judge_one(j, s, &j->kept[k], &t);
    if (!err) err = conclude(j, &t, v);
    for (int i = 0; i < j->n_outputs && outputs && !err; i++) {
        const sums *o = &t.of[i];
        outputs[i].pictures = o->pictures;
        outputs[i].cosine = cosine(o);
        outputs[i].db = o->pictures && o->aa > 0 ? 10 * log10(o->aa / fmax(o->noise, 1e-300)) : NAN;
    }
    om_eval_boxes_fini(&t.truth);
    om_eval_boxes_fini(&t.found);
    om_free(t.of);
    return err;
}
