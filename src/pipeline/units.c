/* The engines of a run, one for each device of --device, and which of them takes a stream. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/pipeline_priv.h"

#define UNITS_MAX 32
#define USUAL_PIXELS (1920.0 * 1080)
#define USUAL_FPS 25
#define ROOM_PERCENT 75 /* a device that is busier takes nobody else's work */
#define BUSY_PERCENT 20 /* below that a device's share tells nothing of what another stream costs */

/* Some of OpenVINO's devices are lists themselves. */
static bool is_list(const char *text)
{
    static const char *const own[] = {"AUTO:", "MULTI:", "HETERO:"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strstr(text, own[i])) return false;
    return strchr(text, ',') || strstr(text, ":all");
}

static int add_name(om_strlist *l, const char *name, const char *all)
{
    if (!name[0])
        return om_fail(OM_ERR_ARG, "--device '%s': expected devices with commas between, as in cuda:0,cuda:1",
                       all);
    if (l->n == UNITS_MAX) return om_fail(OM_ERR_ARG, "--device '%s': more than %d devices", all, UNITS_MAX);
    return om_strlist_add(l, name);
}

/* cuda:all: each there is. */
static int add_all(om_strlist *l, char *name, const char *all)
{
    const om_plugin_state *loaded;
    char one[64];
    *strchr(name, ':') = '\0';
    om_plugins(&loaded);
    const om_device_ops *ops = om_device_find(name);
    int n = ops && ops->count ? ops->count() : 0;
    if (n <= 0)
        return om_fail(OM_ERR_NOT_FOUND, "--device '%s': there is no device of the kind '%s'", all, name);
    int err = OM_OK;
    for (int i = 0; i < n && !err; i++) {
        snprintf(one, sizeof one, "%s:%d", name, i);
        err = add_name(l, one, all);
    }
    return err;
}

int om_units_parse(const char *text, om_strlist *out)
{
    if (!text || !is_list(text)) return om_strlist_add(out, text ? text : "auto");
    char *copy = om_strdup(text);
    if (!copy) return OM_ERR_NOMEM;
    int err = OM_OK;
    for (char *at = copy, *next = copy; next && !err; at = next) {
        next = strchr(at, ',');
        if (next) *next++ = '\0';
        char *colon = strchr(at, ':');
        err = colon && !strcmp(colon, ":all") ? add_all(out, at, text) : add_name(out, at, text);
    }
    om_free(copy);
    return err;
}

/* The engine of one device; its options are the run's but for that. */
static int create(om_pipeline *p, om_unit *u, const char *device)
{
    u->run = p->config.run;
    u->device = om_strdup(device);
    if (!u->device) return OM_ERR_NOMEM;
    u->run.device = u->device;
    u->index = p->n_units++;
    return om_engine_create(&u->run, &u->engine);
}

int om_units_create(om_pipeline *p)
{
    om_strlist names = {0};
    int err = om_units_parse(p->config.run.device, &names);
    if (!err) p->units = om_calloc(names.n, sizeof(*p->units));
    if (!err && !p->units) err = OM_ERR_NOMEM;
    for (size_t i = 0; i < names.n && !err; i++) err = create(p, &p->units[i], names.items[i]);
    if (!err) p->engine = p->units[0].engine;
    om_strlist_fini(&names);
    return err;
}

int om_units_make_seconds(om_pipeline *p)
{
    int err = OM_OK;
    for (int i = 0; i < p->n_units && !err; i++)
        err = om_seconds_create(&p->config, p->units[i].engine, &p->units[i].seconds);
    return err;
}

bool om_units_settle(om_pipeline *p, int64_t deadline_ns)
{
    bool settled = true;
    for (int i = 0; i < p->n_units; i++)
        settled = om_engine_settle(p->units[i].engine, deadline_ns) && settled;
    return settled;
}

void om_units_destroy(om_pipeline *p)
{
    for (int i = 0; i < p->n_units; i++) om_seconds_destroy(p->units[i].seconds);
    for (int i = p->n_units - 1; i >= 0; i--) {
        om_unit *u = &p->units[i];
        if (i && u->engine) u->engine->log = NULL; /* the first one's */
        om_engine_destroy(u->engine);
        om_free(u->device);
    }
    om_free(p->units);
}

/* What a stream asks of its device: pixels a second that are decoded. Lock held. */
static double weight_of(const om_stream_run *s)
{
    double pixels = (double)s->info.width * s->info.height;
    return (pixels > 0 ? pixels : USUAL_PIXELS) * (s->info.fps > 0 ? s->info.fps : USUAL_FPS);
}

static bool is_lost(const om_engine *e)
{
    return om_device_is_lost(e->first_device, false) || atomic_load(&e->generation) > 0;
}

const char *om_units_refuge(void *pipeline, const om_engine *e)
{
    om_pipeline *p = pipeline;
    const char *found = NULL;
    double best = ROOM_PERCENT;
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < p->n_units; i++) {
        const om_unit *u = &p->units[i];
        const om_gpu_load *l = &u->gpu;
        double busy = l->samples ? fmax(l->last.compute_percent, l->last.decode_percent) : 0;
        if (u->engine == e || is_lost(u->engine) || !strcmp(u->device, e->options->device) || busy >= best)
            continue;
        found = u->device;
        best = busy;
    }
    pthread_mutex_unlock(&p->lock);
    return found;
}

/* How much of the device a unit of weight takes, by the last sample of it; 0: too little runs there to tell.
 * What was added since the sample does not count for it. */
static double rate_of(om_unit *u, double weight)
{
    const om_gpu_load *l = &u->gpu;
    double busy = l->samples ? fmax(l->last.compute_percent, l->last.decode_percent) : 0;
    if (l->samples != u->rated) u->rate = busy > BUSY_PERCENT && weight > 0 ? busy / weight : 0;
    u->rated = l->samples;
    return u->rate;
}

om_unit *om_units_place(om_pipeline *p)
{
    double weights[UNITS_MAX] = {0}, sum = 0, best = 0;
    om_unit *found = NULL;
    if (p->n_units == 1) return &p->units[0];
    pthread_mutex_lock(&p->roster);
    pthread_mutex_lock(&p->lock);
    size_t n = 0;
    bool measured = true;
    for (size_t i = 0; i < p->n_streams; i++) {
        const om_stream_run *s = p->streams[i];
        if (s->leaving || s->ended || s->state == OM_STREAM_FAILED) continue;
        /* Read as fast as it goes it takes what there is: how busy a device is does not tell what one costs.
         */
        measured &= s->live;
        weights[s->unit->index] += weight_of(s);
        sum += weight_of(s);
        n++;
    }
    double more =
        n ? sum / (double)n : USUAL_PIXELS * USUAL_FPS; /* as the others are, for want of a better guess */
    for (int i = 0; i < p->n_units; i++) measured &= rate_of(&p->units[i], weights[i]) > 0;
    for (int lost = 0; lost < 2 && !found; lost++)
        for (int i = 0; i < p->n_units; i++) {
            om_unit *u = &p->units[i];
            double cost = (weights[i] + more) * (measured ? u->rate : 1);
            if (is_lost(u->engine) != lost || (found && cost >= best)) continue;
            found = u;
            best = cost;
        }
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->roster);
    return found;
}
