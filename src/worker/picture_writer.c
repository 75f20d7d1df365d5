#include "worker/picture_writer.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/queue.h"
#include "base/thread.h"
#include "trace/trace.h"

#define MOST_THREADS 64

typedef struct job {
    om_frame *frame;
    char path[]; /* terminated */
} job;

struct om_picture_writer {
    om_queue jobs; /* of job *, owned by who took it */
    om_thread threads[MOST_THREADS];
    om_picture_encoder *encoders[MOST_THREADS]; /* a thread each */
    int n, started;
    atomic_int next_encoder;
    atomic_ullong pictures, bytes;
    pthread_mutex_t lock; /* guards message; `failed` is set under it */
    atomic_int failed;    /* the first error */
    char message[512];
};

static void job_free(job *j)
{
    if (j) om_frame_unref(j->frame);
    om_free(j);
}

/* Not synced: of thousands of pictures none is worth a wait for the disk. */
int om_file_put(const char *path, const void *data, size_t size)
{
    om_outfile f;
    int err = om_outfile_open(&f, path);
    if (err) return err;
    f.lazy = true;
    err = om_outfile_write(&f, data, size);
    if (!err) return om_outfile_commit(&f);
    om_outfile_abort(&f);
    return err;
}

static void fail(om_picture_writer *w, int err)
{
    pthread_mutex_lock(&w->lock);
    if (!atomic_load(&w->failed)) {
        snprintf(w->message, sizeof w->message, "%s", om_error_message());
        atomic_store(&w->failed, err);
    }
    pthread_mutex_unlock(&w->lock);
}

static int repeat_failure(om_picture_writer *w)
{
    pthread_mutex_lock(&w->lock);
    int err = om_fail(atomic_load(&w->failed), "%s", w->message);
    pthread_mutex_unlock(&w->lock);
    return err;
}

static void work(om_picture_writer *w, om_picture_encoder *e, const job *j)
{
    const uint8_t *data;
    size_t size;
    om_trace_begin("encode picture", -1);
    int err = om_picture_encode(e, &j->frame->image, &data, &size);
    om_trace_end("encode picture");
    om_trace_begin("write picture", -1);
    if (!err) err = om_file_put(j->path, data, size);
    om_trace_end("write picture");
    if (err) {
        fail(w, err);
        return;
    }
    atomic_fetch_add(&w->pictures, 1);
    atomic_fetch_add(&w->bytes, size);
}

static void *writer(void *arg)
{
    om_picture_writer *w = arg;
    om_picture_encoder *e = w->encoders[atomic_fetch_add(&w->next_encoder, 1)];
    void *item;
    while (om_queue_pop(&w->jobs, &item, OM_NEVER) == OM_OK) {
        if (!atomic_load(&w->failed)) work(w, e, item);
        job_free(item);
    }
    return NULL;
}

int om_picture_writer_create(om_picture_format format, int quality, int threads, om_picture_writer **out)
{
    *out = NULL;
    om_picture_writer *w = om_calloc(1, sizeof *w);
    if (!w) return OM_ERR_NOMEM;
    pthread_mutex_init(&w->lock, NULL);
    /* One more than cores: some wait for the disk. */
    w->n = threads > 0 ? threads : om_cpu_count() + 1;
    if (w->n > MOST_THREADS) w->n = MOST_THREADS;
    int err = om_queue_init(&w->jobs, (size_t)w->n * 2);
    for (int i = 0; i < w->n && !err; i++) err = om_picture_encoder_create(format, quality, &w->encoders[i]);
    for (; w->started < w->n && !err; w->started++) {
        err = om_thread_start(&w->threads[w->started], "om-picture", writer, w);
        if (err) break;
    }
    if (err) {
        om_picture_writer_close(w, NULL);
        return err;
    }
    *out = w;
    return OM_OK;
}

int om_picture_writer_put(om_picture_writer *w, om_frame *frame, const char *path)
{
    if (atomic_load(&w->failed)) return repeat_failure(w);
    size_t n = strlen(path) + 1;
    job *j = om_alloc(sizeof *j + n);
    if (!j) return OM_ERR_NOMEM;
    j->frame = om_frame_ref(frame);
    memcpy(j->path, path, n);
    int err = om_queue_push(&w->jobs, j, OM_NEVER);
    if (err) job_free(j);
    return err;
}

int om_picture_writer_close(om_picture_writer *w, om_picture_totals *totals)
{
    if (!w) return OM_OK;
    if (w->jobs.slots) om_queue_close(&w->jobs);
    for (int i = 0; i < w->started; i++) om_thread_join(&w->threads[i]);
    for (int i = 0; i < w->n; i++) om_picture_encoder_destroy(w->encoders[i]);
    om_queue_fini(&w->jobs);
    int err = atomic_load(&w->failed) ? repeat_failure(w) : OM_OK;
    if (totals) *totals = (om_picture_totals){atomic_load(&w->pictures), atomic_load(&w->bytes)};
    pthread_mutex_destroy(&w->lock);
    om_free(w);
    return err;
}

int om_folder_make(const char *path)
{
    struct stat st;
    char *copy = om_strdup(path);
    if (!copy) return OM_ERR_NOMEM;
    int err = OM_OK;
    for (char *p = copy + 1; *copy && !err; p++) {
        char was = *p;
        if (was != '/' && was != '\0') continue;
        *p = '\0';
        if (mkdir(copy, 0777) && errno != EEXIST) {
            err = om_fail(om_err_from_errno(errno), "%s: cannot make this folder: %s", copy, strerror(errno));
        }
        *p = was;
        if (!was) break;
    }
    if (!err && (stat(path, &st) || !S_ISDIR(st.st_mode)))
        err = om_fail(OM_ERR_IO, "%s: is a file; expected a folder", path);
    om_free(copy);
    return err;
}
