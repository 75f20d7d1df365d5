#include "pipeline/policy.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "pipeline/pipeline_priv.h"

#define SHARE_OVER 0.05    /* of the frames above the bound: too many */
#define SHARE_NEAR 0.01    /* above seven tenths of it: too many to ask for more */
#define LOOKS_DOWN 2       /* looks in a row that take a rung down */
#define HOLD_MIN 20        /* calm looks that take one back up: five seconds */
#define CALM_LOST 4        /* what a look that is not calm costs of them */
#define HOLD_MAX 240       /* a minute */
#define LOOKS_TOO_EARLY 40 /* down again so soon: the way up was too early */

/* Rungs a class goes down before the next one is asked for the same. */
#define SHARED_STEPS OM_STEP_REFERENCES
#define OWN_STEPS (OM_STEP_COUNT - 1 - SHARED_STEPS)

const char *om_step_name(om_step s)
{
    static const char *const names[OM_STEP_COUNT] = {"none", "loop-filter", "references",
                                                     "half", "quarter",     "keyframes"};
    return names[s];
}

const char *om_step_text(om_step s)
{
    static const char *const texts[OM_STEP_COUNT] = {
        "everything",           "no loop filter",       "no pictures that others do not need",
        "every second picture", "every fourth picture", "key pictures alone",
    };
    return texts[s];
}

void om_ladder_rung(int n, int classes, int *class_index, om_step *step)
{
    n--;
    if (n < SHARED_STEPS * classes) {
        *step = (om_step)(1 + n / classes);
        *class_index = n % classes;
        return;
    }
    n -= SHARED_STEPS * classes;
    *class_index = n / OWN_STEPS;
    *step = (om_step)(SHARED_STEPS + 1 + n % OWN_STEPS);
}

static bool too_late(const om_look *k) { return k->late || (k->any && k->share_over > SHARE_OVER); }

static bool calm(const om_look *k) { return !k->behind && !(k->any && k->share_near > SHARE_NEAR); }

int om_ladder_look(om_ladder *l, const om_look *k)
{
    if (!l->hold) l->hold = HOLD_MIN;
    if (l->fresh) l->fresh--;
    if (too_late(k)) l->over++;
    else if (k->any) l->over = 0; /* streams of few pictures are silent in between */
    /* One slow picture of the few that are left at the bottom must not keep the run there. */
    int lost = too_late(k) ? l->calm : l->calm < CALM_LOST ? l->calm : CALM_LOST;
    l->calm = calm(k) ? l->calm + 1 : l->calm - lost;
    if (l->over >= LOOKS_DOWN && l->rung < l->rungs) {
        if (l->fresh) l->hold = 2 * l->hold < HOLD_MAX ? 2 * l->hold : HOLD_MAX;
        l->fresh = 0; /* what follows is the same fall */
        l->over = 0;
        l->rung++;
        return 1;
    }
    if (l->calm < l->hold || !l->rung) return 0;
    l->calm = 0;
    l->fresh = LOOKS_TOO_EARLY;
    l->rung--;
    if (!l->rung) l->hold = HOLD_MIN;
    return -1;
}

void om_policy_init(om_policy *p, double bound_ms)
{
    memset(p, 0, sizeof(*p));
    p->bound_ns = (int64_t)(bound_ms * 1e6);
}

static om_economy economy_of(om_step step)
{
    static const om_economy levels[OM_STEP_COUNT] = {OM_ECONOMY_NONE,       OM_ECONOMY_LOOP_FILTER,
                                                     OM_ECONOMY_REFERENCES, OM_ECONOMY_REFERENCES,
                                                     OM_ECONOMY_REFERENCES, OM_ECONOMY_KEYFRAMES};
    return levels[step];
}

void om_stream_economise(om_stream_run *s)
{
    om_economy level = economy_of((om_step)atomic_load(&s->step));
    if (!s->source) return;
    om_economy own = s->source->params.economy; /* what its sampling does without */
    om_source_economy(s->source, own > level ? own : level);
}

/* What the streams were like since the last look; `classes`: priorities of those that can be asked for less,
 * lowest first. */
typedef struct sight {
    om_look look;
    int classes[OM_PRIORITIES], n_classes;
} sight;

static void see(om_pipeline *p, sight *out)
{
    uint64_t frames = 0, over = 0, near = 0;
    bool pictures = false;
    bool there[OM_PRIORITIES] = {false};
    memset(out, 0, sizeof(*out));
    pthread_mutex_lock(&p->roster);
    for (size_t i = 0; i < p->n_streams; i++) {
        om_stream_run *s = p->streams[i];
        if (!s->live || atomic_load(&s->done)) continue;
        uint64_t n = atomic_load_explicit(&s->account.inferred, memory_order_relaxed),
                 o = atomic_load_explicit(&s->account.over, memory_order_relaxed),
                 m = atomic_load_explicit(&s->account.near, memory_order_relaxed);
        frames += n - s->looked_inferred;
        over += o - s->looked_over;
        near += m - s->looked_near;
        s->looked_inferred = n;
        s->looked_over = o;
        s->looked_near = m;
        /* Where all packets come too late to be decoded, no picture tells of it. */
        uint64_t late = atomic_load_explicit(&s->account.source.late, memory_order_relaxed);
        bool passed = late != s->looked_late;
        s->looked_late = late;
        if (passed)
            atomic_store(&s->lag_ns, 0); /* that of the last picture: what it lagged behind by is given up */
        int64_t lag = atomic_load_explicit(&s->lag_ns, memory_order_relaxed);
        /* What one picture lagged behind counts once, however long the next one is in coming. */
        uint64_t decoded = atomic_load_explicit(&s->account.source.decoded, memory_order_relaxed);
        if (decoded == s->looked_decoded) lag = 0;
        else pictures = true;
        s->looked_decoded = decoded;
        out->look.late |= passed || lag > p->policy.bound_ns;
        out->look.behind |= passed || lag > p->policy.bound_ns / 2;
        pthread_mutex_lock(&p->lock);
        there[s->own.priority] = true;
        pthread_mutex_unlock(&p->lock);
    }
    pthread_mutex_unlock(&p->roster);
    out->look.any = frames > 0 || pictures;
    out->look.share_over = frames ? (double)over / (double)frames : 0;
    out->look.share_near = frames ? (double)near / (double)frames : 0;
    for (int i = 0; i < OM_PRIORITIES; i++)
        if (there[i]) out->classes[out->n_classes++] = i;
}

/* What the ladder's rung asks of each priority. */
static void steps_of(const om_ladder *l, const sight *w, om_step *out)
{
    memset(out, 0, OM_PRIORITIES * sizeof(*out));
    for (int n = 1; n <= l->rung; n++) {
        int c;
        om_step step;
        om_ladder_rung(n, w->n_classes, &c, &step);
        out[w->classes[c]] = step;
    }
}

/* Streams learn what is asked of them: those of the priority, and those that came since. */
static void apply(om_pipeline *p, const om_step *steps)
{
    pthread_mutex_lock(&p->roster);
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_streams; i++) {
        om_stream_run *s = p->streams[i];
        int step = s->live ? (int)steps[s->own.priority] : OM_STEP_NONE;
        if (atomic_exchange(&s->step, step) != step) om_stream_economise(s);
    }
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->roster);
}

/* Each step is told of once, and counted always. */
static void note_step(om_policy *y, int priority, om_step step, int direction, int64_t now)
{
    if (direction > 0) {
        if (!y->taken[priority][step]++)
            om_log(
                OM_LOG_WARN,
                "frames come later than the bound of %.0f ms: streams of priority %d make do with less: %s",
                (double)y->bound_ns / 1e6, priority, om_step_text(step));
        y->down++;
        if (!y->since_ns) y->since_ns = now;
    } else {
        y->up++;
    }
    if (y->ladder.rung > y->worst) y->worst = y->ladder.rung;
    if (y->ladder.rung || !y->since_ns) return;
    y->degraded_ns += now - y->since_ns;
    y->since_ns = 0;
    om_log(y->up == y->down && y->up <= (uint64_t)y->worst ? OM_LOG_WARN : OM_LOG_DEBUG,
           "frames come within the bound of %.0f ms again: streams get everything back",
           (double)y->bound_ns / 1e6);
}

/* Nobody is left that could be asked for less: those who come next begin with everything. */
static void let_go(om_pipeline *p, int64_t now)
{
    om_policy *y = &p->policy;
    pthread_mutex_lock(&p->lock);
    memset(&y->ladder, 0, sizeof(y->ladder));
    memset(y->step, 0, sizeof(y->step));
    if (y->since_ns) y->degraded_ns += now - y->since_ns;
    y->since_ns = 0;
    pthread_mutex_unlock(&p->lock);
}

void om_pipeline_police(om_pipeline *p)
{
    om_policy *y = &p->policy;
    om_step steps[OM_PRIORITIES];
    sight w;
    int64_t now = om_now_ns();
    y->next_ns = now + OM_POLICY_NS;
    see(p, &w);
    if (!w.n_classes) {
        let_go(p, now);
        return;
    }
    om_ladder *l = &y->ladder;
    l->rungs = w.n_classes * (OM_STEP_COUNT - 1);
    if (l->rung > l->rungs) l->rung = l->rungs; /* a priority has gone */
    int before = l->rung, direction = om_ladder_look(l, &w.look), c;
    om_step step;
    steps_of(l, &w, steps);
    om_ladder_rung(direction > 0 ? l->rung : before ? before : 1, w.n_classes, &c, &step);
    pthread_mutex_lock(&p->lock);
    memcpy(y->step, steps, sizeof(steps));
    if (direction) note_step(y, w.classes[c], step, direction, now);
    pthread_mutex_unlock(&p->lock);
    apply(p, steps);
}

static void steps_json(const om_policy *y, om_json *j)
{
    om_json_key(j, "steps");
    om_json_begin_array(j);
    for (int i = 0; i < OM_PRIORITIES; i++)
        for (int k = 1; k < OM_STEP_COUNT; k++) {
            if (!y->taken[i][k]) continue;
            om_json_begin_object(j);
            om_json_key(j, "priority");
            om_json_int(j, i);
            om_json_key(j, "step");
            om_json_string(j, om_step_name((om_step)k));
            om_json_key(j, "times");
            om_json_uint(j, y->taken[i][k]);
            om_json_end_object(j);
        }
    om_json_end_array(j);
}

void om_pipeline_policy_json(om_pipeline *p, om_json *j)
{
    om_json_key(j, "policy");
    if (!p->policy.bound_ns) {
        om_json_null(j);
        return;
    }
    pthread_mutex_lock(&p->lock);
    om_policy y = p->policy;
    int64_t end = p->end_ns ? p->end_ns : om_now_ns();
    pthread_mutex_unlock(&p->lock);
    int64_t degraded = y.degraded_ns + (y.since_ns ? end - y.since_ns : 0);
    om_json_begin_object(j);
    om_json_key(j, "bound_ms");
    om_json_num(j, (double)y.bound_ns / 1e6, 3);
    om_json_key(j, "rung");
    om_json_int(j, y.ladder.rung);
    om_json_key(j, "worst_rung");
    om_json_int(j, y.worst);
    om_json_key(j, "down");
    om_json_uint(j, y.down);
    om_json_key(j, "up");
    om_json_uint(j, y.up);
    om_json_key(j, "degraded_s");
    om_json_num(j, (double)degraded / 1e9, 3);
    steps_json(&y, j);
    om_json_end_object(j);
}

void om_pipeline_policy_text(om_pipeline *p, om_str *out)
{
    om_step steps[OM_PRIORITIES];
    pthread_mutex_lock(&p->lock);
    memcpy(steps, p->policy.step, sizeof(steps));
    pthread_mutex_unlock(&p->lock);
    const char *comma = "";
    for (int i = 0; i < OM_PRIORITIES; i++) {
        if (!steps[i]) continue;
        om_str_addf(out, "%spriority %d: %s", comma, i, om_step_text(steps[i]));
        comma = "; ";
    }
}
