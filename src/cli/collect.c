#include "cli/collect.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/contact.h"
#include "media/media.h"
#include "worker/picture_writer.h"

#define MOST_THREADS 64
#define OVERSAMPLE 4 /* pictures looked at for each that a file may give */
#define CAMERA_STEP_S 2
#define SAVE_NS (10 * OM_NS_PER_SEC)
#define TICK_NS (OM_NS_PER_SEC / 4)

struct om_collector {
    om_collect_params p;
    om_thread threads[MOST_THREADS];
    pthread_mutex_t lock; /* guards all below */
    om_collection set;
    om_detector detector;
    double conf; /* of an object, where there is a model */
    om_picture_encoder *encoder;
    size_t next, failed, cameras_left;
    uint64_t looked;
    int64_t saved_ns, ticked_ns;
    int err; /* what ends it all */
    char message[512];
};

const om_collection *om_collector_set(const om_collector *c) { return &c->set; }

/* Of a camera's pictures the wall clock tells them apart, of a file's their time in it. om_free(). */
static char *name_of(const om_collector *c, const om_source *s, const char *stream, const om_frame *f)
{
    const char *suffix = om_picture_format_name((om_picture_format)c->p.format);
    long long ms = s->info.live ? f->wall_us / 1000 : f->pts_ns / 1000000;
    for (int k = 1;; k++) {
        char *name = k == 1 ? om_sprintf("%s_%09lld.%s", stream, ms, suffix)
                            : om_sprintf("%s_%09lld-%d.%s", stream, ms, k, suffix);
        char *path = name ? om_sprintf("%s/%s", c->p.folder, name) : NULL;
        bool taken = path && access(path, F_OK) == 0;
        om_free(path);
        if (!path || !taken) {
            if (path) return name;
            om_free(name);
            return NULL;
        }
        om_free(name);
    }
}

static int write_picture(om_collector *c, const om_frame *f, const char *name)
{
    const uint8_t *data;
    size_t size;
    char *path = om_sprintf("%s/%s", c->p.folder, name);
    int err = path ? om_picture_encode(c->encoder, &f->image, &data, &size) : OM_ERR_NOMEM;
    if (!err) err = om_file_put(path, data, size);
    om_free(path);
    return err;
}

static int keep(om_collector *c, const om_source *s, int stream, const om_frame *f, const om_sample *like,
                int victim)
{
    om_sample sample = *like;
    char *gone;
    sample.file = name_of(c, s, c->set.streams[stream].name, f);
    if (!sample.file) return OM_ERR_NOMEM;
    int err = write_picture(c, f, sample.file);
    if (err) {
        om_free(sample.file);
        return err;
    }
    err = om_collection_put(&c->set, &sample, victim, &gone);
    if (gone) {
        char *path = om_sprintf("%s/%s", c->p.folder, gone);
        if (path) unlink(path);
        om_free(path);
        om_free(gone);
    }
    return err;
}

static int ask_model(om_collector *c, om_frame *f, om_sight *sight)
{
    om_picture picture = {.frame = om_frame_ref(f)};
    int err = om_detector_place(&c->detector, &picture);
    if (!err) err = om_detector_run(&c->detector, &picture, 1);
    if (!err) om_sight_objects(sight, &picture.dets, c->conf);
    for (int i = 0; i < OM_STEP_COUNT; i++) c->detector.timings[i].n = 0;
    om_picture_fini(&picture);
    return err;
}

static void show_progress(om_collector *c)
{
    char text[120];
    int64_t now = om_now_ns();
    if (c->p.quiet || now < c->ticked_ns + TICK_NS) return;
    c->ticked_ns = now;
    snprintf(text, sizeof text, "%llu pictures looked at, %zu of %zu kept", (unsigned long long)c->looked,
             c->set.n, c->set.most);
    om_console_status(text);
}

/* With the lock held. */
static int consider(om_collector *c, const om_source *s, int stream, om_frame *f, om_sight *sight)
{
    om_sample sample = {.stream = stream,
                        .pts = (double)f->pts_ns / 1e9,
                        .time_us = s->info.live ? f->wall_us : 0,
                        .width = f->image.width,
                        .height = f->image.height};
    int victim, err = c->p.model ? ask_model(c, f, sight) : OM_OK;
    if (err) return err;
    c->looked++;
    c->set.streams[stream].position = sample.pts;
    sample.hard = om_collection_look(&c->set, stream, sight);
    sample.sight = *sight;
    if (om_collection_wants(&c->set, stream, sight, sample.hard, &victim, &sample.nearest))
        err = keep(c, s, stream, f, &sample, victim);
    show_progress(c);
    if (!err && om_now_ns() > c->saved_ns + SAVE_NS) {
        err = om_collection_save(&c->set, c->p.folder);
        c->saved_ns = om_now_ns();
    }
    return err;
}

/* Ends everything with the error slot's message. */
static void give_up(om_collector *c, int err)
{
    pthread_mutex_lock(&c->lock);
    if (!c->err) {
        c->err = err;
        snprintf(c->message, sizeof c->message, "%s", om_error_message());
    }
    pthread_mutex_unlock(&c->lock);
    om_cancel_fire(c->p.cancel);
}

static double step_of(const om_collector *c, const om_source *s)
{
    double each = (double)c->set.most / (double)c->p.inputs->n * OVERSAMPLE;
    if (c->p.interval_s > 0) return c->p.interval_s;
    if (s->info.live) return CAMERA_STEP_S;
    return s->info.duration_s > 0 && strcmp(s->info.kind, "images") != 0 ? s->info.duration_s / each : 0;
}

/* OM_ERR_EOF: nothing more is wanted of the source. Another error ends everything. */
static int look(om_collector *c, const om_source *s, om_sighter *sighter, int stream, om_frame *f)
{
    om_sight sight;
    int err = om_sighter_look(sighter, &f->image, &sight);
    if (err == OM_ERR_UNSUPPORTED) {
        om_log(OM_LOG_WARN, "%s: %s", s->shown, om_error_message());
        return OM_OK;
    }
    pthread_mutex_lock(&c->lock);
    if (!err) err = consider(c, s, stream, f, &sight);
    bool full = s->info.live && c->p.duration_s <= 0 && c->set.n == c->set.most;
    pthread_mutex_unlock(&c->lock);
    return err ? err : full ? OM_ERR_EOF : OM_OK;
}

static int read_source(om_collector *c, om_source *s, int stream, double from)
{
    om_sighter sighter;
    double step = step_of(c, s), next = from;
    int fatal = om_sighter_init(&sighter), err = OM_OK;
    while (!fatal && !err) {
        om_frame *f = NULL;
        err = om_source_read(s, &f);
        if (err) break;
        double at = (double)f->pts_ns / 1e9;
        if (s->info.live && c->p.duration_s > 0 && at > c->p.duration_s) err = OM_ERR_EOF;
        else if (at + 1e-6 >= next && at > from) {
            fatal = look(c, s, &sighter, stream, f);
            next = fmax(next + step, at + step / 2);
        }
        om_frame_unref(f);
        if (fatal == OM_ERR_EOF) fatal = OM_OK, err = OM_ERR_EOF;
    }
    om_sighter_fini(&sighter);
    if (fatal) give_up(c, fatal);
    return fatal ? OM_ERR_CANCELLED : err;
}

/* A file's name may be another's too. */
static int add_stream(om_collector *c, const om_source *s, double *from, bool *done)
{
    char *name = om_uri_name(s->uri), *unused = NULL;
    int stream = OM_ERR_NOMEM;
    pthread_mutex_lock(&c->lock);
    for (int k = 1; name && !unused; k++) {
        unused = k == 1 ? om_strdup(name) : om_sprintf("%s-%d", name, k);
        if (!unused) break;
        for (size_t i = 0; i < c->set.n_streams; i++) {
            if (!strcmp(c->set.streams[i].uri, s->shown) || strcmp(c->set.streams[i].name, unused) != 0)
                continue;
            om_free(unused);
            unused = NULL;
            break;
        }
    }
    if (unused) stream = om_collection_stream(&c->set, s->shown, unused);
    if (stream >= 0) {
        *from = s->info.live ? -1 : c->set.streams[stream].position;
        *done = !s->info.live && c->set.streams[stream].done;
    }
    pthread_mutex_unlock(&c->lock);
    om_free(unused);
    om_free(name);
    return stream;
}

static int collect_from(om_collector *c, const char *uri)
{
    om_source *s = NULL;
    om_source_counts counts;
    double duration = c->p.duration_s, from;
    bool done = false;
    memset(&counts, 0, sizeof counts);
    om_source_params p = {.decode_threads = 1,
                          .cancel = c->p.cancel,
                          .reconnect = true,
                          .until_ns = duration > 0 ? om_now_ns() + (int64_t)(duration * 1e9) : 0};
    int err = om_source_open(uri, &p, &counts, &s);
    if (err) return err;
    int stream = add_stream(c, s, &from, &done);
    if (stream < 0) err = stream;
    else if (!done) err = read_source(c, s, stream, from);
    if (err == OM_ERR_EOF) {
        pthread_mutex_lock(&c->lock);
        c->set.streams[stream].done = !s->info.live;
        pthread_mutex_unlock(&c->lock);
        err = OM_OK;
    }
    unsigned long long bad = atomic_load(&counts.corrupt);
    if (bad) om_log(OM_LOG_WARN, "%s: %llu damaged packets left out", s->shown, bad);
    om_source_close(s);
    return err == OM_ERR_CANCELLED && om_cancelled(c->p.cancel) ? OM_OK : err;
}

static void *work(void *arg)
{
    om_collector *c = arg;
    while (!om_cancelled(c->p.cancel)) {
        pthread_mutex_lock(&c->lock);
        size_t at = c->next < c->p.inputs->n ? c->next++ : SIZE_MAX;
        pthread_mutex_unlock(&c->lock);
        if (at == SIZE_MAX) break;
        int err = collect_from(c, c->p.inputs->items[at]);
        if (!err) continue;
        if (err == OM_ERR_NOMEM) give_up(c, err);
        else om_command_fail(err);
        pthread_mutex_lock(&c->lock);
        c->failed++;
        pthread_mutex_unlock(&c->lock);
    }
    return NULL;
}

/* Cameras are watched all at once; files two at a time. */
static size_t count_threads(const om_strlist *inputs)
{
    size_t cameras = 0;
    for (size_t i = 0; i < inputs->n; i++) cameras += strstr(inputs->items[i], "://") != NULL;
    size_t n = cameras + 2 < inputs->n ? cameras + 2 : inputs->n;
    return n < MOST_THREADS ? n : MOST_THREADS;
}

int om_collector_run(om_collector *c, size_t *failed)
{
    size_t n = count_threads(c->p.inputs);
    int err = OM_OK;
    for (size_t i = 0; i < n && !err; i++) err = om_thread_start(&c->threads[i], "om-collect", work, c);
    if (err) om_cancel_fire(c->p.cancel);
    for (size_t i = 0; i < n; i++) om_thread_join(&c->threads[i]);
    *failed = c->failed;
    if (!err && c->err) err = om_fail(c->err, "%s", c->message);
    return err;
}

int om_collector_finish(om_collector *c)
{
    int err = om_collection_save(&c->set, c->p.folder);
    return err ? err : om_contact_write(&c->set, c->p.folder);
}

static int load_set(om_collector *c)
{
    char *path = om_sprintf("%s/" OM_MANIFEST, c->p.folder);
    size_t lost = 0;
    if (!path) return OM_ERR_NOMEM;
    int err = om_collection_load(path, &c->set, &lost);
    if (err == OM_ERR_NOT_FOUND) {
        err = OM_OK;
        c->set.created_us = om_wall_us();
    } else if (!err && lost) om_log(OM_LOG_WARN, "%s: %zu pictures that it lists are gone", path, lost);
    om_free(path);
    if (err) return err;
    c->set.most = (size_t)c->p.count;
    c->set.distance = c->p.distance;
    c->set.hard_share = c->p.hard_share;
    if (c->set.n > c->set.most)
        return om_fail(OM_ERR_ARG, "%s: holds %zu pictures already, more than --count %zu", c->p.folder,
                       c->set.n, c->set.most);
    if (!c->p.model) return OM_OK;
    om_free(c->set.model);
    c->set.model = om_strdup(c->p.model->model);
    return c->set.model ? OM_OK : OM_ERR_NOMEM;
}

/* Boxes of half the usual score are wanted too: they are what the model is unsure of. */
static int load_model(om_collector *c)
{
    if (!c->p.model) return OM_OK;
    int err = om_detector_init(&c->detector, c->p.model);
    if (err) return err;
    om_head *head = c->detector.engine->head;
    c->conf = (double)head->params.conf;
    head->params.conf /= 2;
    return OM_OK;
}

int om_collector_create(const om_collect_params *p, om_collector **out)
{
    *out = NULL;
    om_collector *c = om_calloc(1, sizeof *c);
    if (!c) return OM_ERR_NOMEM;
    c->p = *p;
    pthread_mutex_init(&c->lock, NULL);
    int err = om_folder_make(p->folder);
    if (!err) err = load_set(c);
    if (!err) err = om_picture_encoder_create((om_picture_format)p->format, p->quality, &c->encoder);
    if (!err) err = load_model(c);
    c->saved_ns = om_now_ns();
    if (err) om_collector_destroy(c);
    else *out = c;
    return err;
}

void om_collector_destroy(om_collector *c)
{
    if (!c) return;
    om_collection_fini(&c->set);
    om_detector_fini(&c->detector);
    om_picture_encoder_destroy(c->encoder);
    pthread_mutex_destroy(&c->lock);
    om_free(c);
}
