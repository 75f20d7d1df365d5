#include "quant/drift.h"

#include <math.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "quant/collection.h"

#define STEP_NS (2 * OM_NS_PER_SEC)
#define WINDOW 60        /* pictures, the last of a stream, that are judged together */
#define LEAST_SHARE 0.01 /* of the set a bin needs to cover its like */
#define MOST_OUTSIDE 0.3 /* of the window */
#define LEAST_FAR 32     /* bits that a picture must differ from all of the set to be something else */
#define FAR_TIMES 1.5    /* of what nearly all of the set's own pictures differ from the nearest other */
#define MOST_FAR 72      /* pictures of different places differ in about 80 and more */
#define DAY_S 86400.0

enum { BY_LUMA, BY_CONTENT, BY_OBJECTS, N_WAYS };
static const char *const way_names[N_WAYS] = {"brightness", "content", "objects"};
static const char *const way_says[N_WAYS] = {"are brighter or darker than what was collected",
                                             "look like nothing that was collected",
                                             "hold more or fewer objects than what was collected"};

/* The last pictures of one stream, a bit each. */
typedef struct window {
    uint64_t outside; /* the newest lowest */
    int n;
} window;

typedef struct watched {
    bool begun, told[N_WAYS];
    char *name;
    om_sighter sighter;
    int64_t next_ns, next_found_ns;
    uint64_t looked;
    window ways[N_WAYS];
} watched;

struct om_drift {
    om_collection set;
    om_coverage coverage;
    int far;
    double age_s;
    pthread_mutex_t lock; /* guards streams and what is in them, but for a sighter, which is its stream's */
    watched **streams;
    size_t n_streams;
};

/* Of the set's pictures one is as near as this to nearly all others. */
static int usual_distance(const om_collection *c)
{
    size_t count[OM_SIGHT_BITS + 1] = {0}, left = c->n / 20;
    for (size_t i = 0; i < c->n; i++) {
        int least = OM_SIGHT_BITS;
        for (size_t k = 0; k < c->n; k++) {
            int d = k == i ? OM_SIGHT_BITS : om_sight_distance(&c->items[i].sight, &c->items[k].sight);
            if (d < least) least = d;
        }
        count[least]++;
    }
    for (int d = OM_SIGHT_BITS; d > 0; d--) {
        if (count[d] > left) return d;
        left -= count[d];
    }
    return 0;
}

static int load(om_drift *d, const char *manifest)
{
    struct stat st;
    size_t lost;
    bool folder = stat(manifest, &st) == 0 && S_ISDIR(st.st_mode);
    char *path = folder ? om_sprintf("%s/" OM_MANIFEST, manifest) : om_strdup(manifest);
    if (!path) return OM_ERR_NOMEM;
    int err = om_collection_load(path, &d->set, &lost);
    if (!err && !d->set.n)
        err = om_fail(OM_ERR_ARG, "%s: no picture of this collection is there any more", path);
    om_free(path);
    return err;
}

int om_drift_create(const char *manifest, double max_age_s, om_drift **out)
{
    *out = NULL;
    om_drift *d = om_calloc(1, sizeof *d);
    if (!d) return OM_ERR_NOMEM;
    pthread_mutex_init(&d->lock, NULL);
    int err = load(d, manifest);
    if (err) {
        om_drift_destroy(d);
        return err;
    }
    om_coverage_of(&d->set, &d->coverage);
    d->far = (int)fmin(fmax(LEAST_FAR, usual_distance(&d->set) * FAR_TIMES), MOST_FAR);
    d->age_s = (double)(om_wall_us() - d->set.updated_us) / 1e6;
    if (max_age_s > 0 && d->age_s > max_age_s)
        om_log(OM_LOG_WARN,
               "%s: the pictures to calibrate with are %.0f days old, more than --max-age: collect anew",
               manifest, d->age_s / DAY_S);
    *out = d;
    return OM_OK;
}

void om_drift_destroy(om_drift *d)
{
    if (!d) return;
    for (size_t i = 0; i < d->n_streams; i++) {
        if (!d->streams[i]) continue;
        om_sighter_fini(&d->streams[i]->sighter);
        om_free(d->streams[i]->name);
        om_free(d->streams[i]);
    }
    om_free(d->streams);
    om_collection_fini(&d->set);
    pthread_mutex_destroy(&d->lock);
    om_free(d);
}

/* With the lock held; NULL when out of memory. */
static watched *find(om_drift *d, int stream, const char *name)
{
    if (stream < 0) return NULL;
    if ((size_t)stream >= d->n_streams) {
        watched **grown = om_realloc_array(d->streams, (size_t)stream + 1, sizeof(watched *));
        if (!grown) return NULL;
        d->streams = grown;
        while (d->n_streams <= (size_t)stream) grown[d->n_streams++] = NULL;
    }
    watched *w = d->streams[stream];
    if (w) return w;
    w = om_calloc(1, sizeof *w);
    if (w && (!(w->name = om_strdup(name)) || om_sighter_init(&w->sighter))) {
        om_free(w->name);
        om_free(w);
        w = NULL;
    }
    return d->streams[stream] = w;
}

static double share(const window *w)
{
    uint64_t mask = (UINT64_C(1) << WINDOW) - 1;
    return w->n ? (double)__builtin_popcountll(w->outside & mask) / w->n : 0;
}

/* With the lock held. */
static void note(watched *w, int way, bool outside)
{
    window *of = &w->ways[way];
    of->outside = of->outside << 1 | outside;
    if (of->n < WINDOW) of->n++;
    if (of->n < WINDOW / 2 || share(of) < MOST_OUTSIDE || w->told[way]) return;
    w->told[way] = true;
    om_log(OM_LOG_WARN,
           "stream '%s': %.0f %% of its last pictures %s: the int8 model was not calibrated for them; "
           "run omma collect again and quantise anew",
           w->name, 100 * share(of), way_says[way]);
}

static bool thin(size_t in_bin, size_t all) { return (double)in_bin < LEAST_SHARE * (double)all; }

/* A neighbour's pictures cover what lies at a bin's edge. */
static bool covers_luma(const om_coverage *v, double luma)
{
    double edge = 256.0 / OM_LUMA_BINS / 4;
    return !thin(v->luma[om_luma_bin(luma)], v->n) || !thin(v->luma[om_luma_bin(luma - edge)], v->n) ||
           !thin(v->luma[om_luma_bin(luma + edge)], v->n);
}

static int nearest(const om_collection *c, const om_sight *s)
{
    int least = OM_SIGHT_BITS;
    for (size_t i = 0; i < c->n; i++) {
        int d = om_sight_distance(&c->items[i].sight, s);
        if (d < least) least = d;
    }
    return least;
}

void om_drift_look(om_drift *d, int stream, const char *name, const om_frame *f)
{
    om_sight s;
    if (f->memory != OM_MEMORY_HOST) return;
    pthread_mutex_lock(&d->lock);
    watched *w = find(d, stream, name);
    bool due = w && (!w->begun || f->pts_ns >= w->next_ns);
    if (due) {
        w->begun = true;
        w->next_ns = f->pts_ns + STEP_NS;
    }
    pthread_mutex_unlock(&d->lock);
    if (!due || om_sighter_look(&w->sighter, &f->image, &s)) return;
    bool far = nearest(&d->set, &s) > d->far, odd = !covers_luma(&d->coverage, (double)s.luma);
    pthread_mutex_lock(&d->lock);
    w->looked++;
    note(w, BY_LUMA, odd);
    note(w, BY_CONTENT, far);
    pthread_mutex_unlock(&d->lock);
}

void om_drift_found(om_drift *d, int stream, const char *name, int64_t pts_ns, size_t objects)
{
    const om_coverage *v = &d->coverage;
    if (!v->counted) return;
    int bin = om_object_bin(objects > 1000 ? 1000 : (int)objects);
    pthread_mutex_lock(&d->lock);
    watched *w = find(d, stream, name);
    if (w && pts_ns >= w->next_found_ns) {
        w->next_found_ns = pts_ns + STEP_NS;
        note(w, BY_OBJECTS, thin(v->objects[bin], v->counted));
    }
    pthread_mutex_unlock(&d->lock);
}

void om_drift_json(om_drift *d, om_json *j)
{
    om_json_key(j, "age_days");
    om_json_num(j, d->age_s / DAY_S, 3);
    om_json_key(j, "streams");
    om_json_begin_array(j);
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n_streams; i++) {
        const watched *w = d->streams[i];
        if (!w) continue;
        om_json_begin_object(j);
        om_json_key(j, "stream");
        om_json_string(j, w->name);
        om_json_key(j, "looked");
        om_json_uint(j, w->looked);
        om_json_key(j, "outside");
        om_json_begin_object(j);
        for (int k = 0; k < N_WAYS; k++) {
            om_json_key(j, way_names[k]);
            om_json_num(j, share(&w->ways[k]), 3);
        }
        om_json_end_object(j);
        om_json_end_object(j);
    }
    pthread_mutex_unlock(&d->lock);
    om_json_end_array(j);
}
