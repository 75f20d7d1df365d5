#include "pipeline/gate.h"

#include <math.h>

#include "base/clock.h"
#include "base/error.h"

#define LOOK_NS (50 * OM_NS_PER_MS) /* at the cancel */
#define AHEAD_NS (10 * OM_NS_PER_MS)
#define USUAL_FPS 25.0

int om_gate_init(om_gate *g, int expected, int places, int64_t patience_ns)
{
    *g = (om_gate){.missing = expected, .places = places, .patience_ns = patience_ns};
    g->progress_ns = om_now_ns();
    atomic_init(&g->start_ns, 0);
    pthread_mutex_init(&g->lock, NULL);
    return om_cond_init(&g->changed);
}

void om_gate_fini(om_gate *g)
{
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->lock);
}

/* Lock held. */
static bool out_of_patience(const om_gate *g) { return om_now_ns() - g->progress_ns > g->patience_ns; }

int om_gate_enter(om_gate *g, om_cancel *c)
{
    pthread_mutex_lock(&g->lock);
    while (g->places <= 0 && !om_cancelled(c) && !out_of_patience(g))
        om_cond_wait_until(&g->changed, &g->lock, om_now_ns() + LOOK_NS);
    bool in = !om_cancelled(c);
    g->places -= in;
    pthread_mutex_unlock(&g->lock);
    return in ? OM_OK : om_fail(OM_ERR_CANCELLED, "cancelled");
}

void om_gate_leave(om_gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->places++;
    g->progress_ns = om_now_ns();
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

bool om_gate_arrive(om_gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->progress_ns = om_now_ns();
    bool last = --g->missing == 0 && !g->opening;
    g->opening |= last;
    pthread_mutex_unlock(&g->lock);
    return last;
}

void om_gate_open(om_gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->opening = true;
    atomic_store(&g->start_ns, om_now_ns() + AHEAD_NS);
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

int om_gate_wait(om_gate *g, om_cancel *c, int64_t *start)
{
    int err = OM_OK;
    pthread_mutex_lock(&g->lock);
    *start = atomic_load(&g->start_ns);
    int64_t now = om_now_ns();
    if (*start && *start < now) *start = now; /* too late for the common one */
    while (!*start && !err && !om_cancelled(c)) {
        if (!g->opening && out_of_patience(g)) {
            g->opening = true;
            err = OM_ERR_TIMEOUT;
            break;
        }
        om_cond_wait_until(&g->changed, &g->lock, om_now_ns() + LOOK_NS);
        *start = atomic_load(&g->start_ns);
    }
    pthread_mutex_unlock(&g->lock);
    return om_cancelled(c) ? OM_ERR_CANCELLED : err;
}

/* Even whatever the number of streams: the golden ratio does that. */
double om_gate_share(int index) { return fmod((double)index * 0.6180339887498949, 1.0); }

int64_t om_gate_phase_ns(int index, double fps)
{
    double period = 1 / (fps > 0 ? fmin(fmax(fps, 1), USUAL_FPS) : USUAL_FPS);
    return (int64_t)(om_gate_share(index) * period * 1e9);
}
