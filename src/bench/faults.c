#include "bench/faults.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"

/* SplitMix64: any seed will do, and the same one makes the same soak. */
static uint64_t draw(om_faults *f)
{
    uint64_t z = f->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(om_faults *f) { return ((double)(draw(f) >> 11) + 0.5) / 9007199254740992.0; }

/* Moments as independent events have them; never so dense that a stream does nothing but open. */
#define MEAN_S 5.0
#define LEAST_EVENTS 40 /* of a short soak */
#define LEAST_S 0.05

static void plan(om_faults *f)
{
    double s = fmax(LEAST_S, -f->mean_s * log(uniform(f)));
    f->next_ns = om_now_ns() + (int64_t)(s * 1e9);
}

void om_faults_init(om_faults *f, int64_t seed, double soak_s, const om_trial_params *p)
{
    memset(f, 0, sizeof *f);
    f->params = p;
    f->wanted = seed >= 0;
    f->state = (uint64_t)seed;
    f->mean_s = fmin(MEAN_S, soak_s / LEAST_EVENTS);
    plan(f);
}

static bool is_away(const om_faults *f, int stream)
{
    for (int i = 0; i < f->n_away; i++)
        if (f->away[i] == stream) return true;
    return false;
}

static int bring_back(om_faults *f, om_pipeline *p)
{
    int which = (int)(draw(f) % (uint64_t)f->n_away), err;
    om_stream_options own;
    if ((err = om_trial_stream(f->params, f->away[which], &own))) return err;
    if ((err = om_pipeline_add(p, &own, false, NULL)))
        return om_fail_prefix(err, "--faults: adding a stream");
    f->away[which] = f->away[--f->n_away];
    f->added++;
    return OM_OK;
}

static int take_away(om_faults *f, om_pipeline *p)
{
    int stream;
    do stream = (int)(draw(f) % (uint64_t)f->params->streams);
    while (is_away(f, stream));
    char name[16];
    snprintf(name, sizeof name, "%03d", stream);
    int err = om_pipeline_remove_stream(p, name);
    if (err) return om_fail_prefix(err, "--faults: removing a stream");
    f->away[f->n_away++] = stream;
    f->removed++;
    return OM_OK;
}

/* At most half of the streams are away at a time. */
static int happen(om_faults *f, om_pipeline *p)
{
    int most = f->params->streams / 2 < OM_FAULTS_AWAY ? f->params->streams / 2 : OM_FAULTS_AWAY;
    if (most < 1) most = 1;
    bool back = f->n_away && (f->n_away == most || draw(f) % 2);
    int err = back ? bring_back(f, p) : take_away(f, p);
    plan(f);
    return err;
}

int om_faults_wait(om_faults *f, om_trial *t, double seconds, const char *what)
{
    int64_t end = om_now_ns() + (int64_t)(seconds * 1e9);
    int err = OM_OK;
    while (!err) {
        int64_t now = om_now_ns(), until = f->wanted && f->next_ns < end ? f->next_ns : end;
        if (until > now) err = om_trial_wait(t, (double)(until - now) / 1e9, what);
        if (err || until == end) break;
        err = happen(f, t->pipeline);
    }
    return err;
}
