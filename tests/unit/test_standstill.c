/* Streams that stand still: a demuxer that keeps saying that it has nothing yet, and a camera that is paused
 * anew while it resumes. The linker puts this program's own functions before the calls that decide it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libavformat/avformat.h>

#include "base/clock.h"
#include "clip.h"
#include "folder.h"
#include "live_rig.h"
#include "pipeline/pipeline_priv.h"

/* ---- a demuxer that has nothing */

#define IDLE_MS 100
#define LOOKS                                                                                                \
    1000 /* far more than one who waits a millisecond takes in that time, and far fewer than one who does    \
            not */

static atomic_int empty_looks; /* so often it has nothing yet */

int __real_av_read_frame(AVFormatContext *s, AVPacket *pkt);
int __wrap_av_read_frame(AVFormatContext *s, AVPacket *pkt);
int __wrap_av_read_frame(AVFormatContext *s, AVPacket *pkt)
{
    if (atomic_load(&empty_looks) == 0) return __real_av_read_frame(s, pkt);
    atomic_fetch_sub(&empty_looks, 1);
    return AVERROR(EAGAIN);
}

static om_source *open_clip(om_cancel *cancel, om_source_counts *counts)
{
    om_source_params params = {.cancel = cancel};
    om_source *s;
    clip_make(folder_path("again.mp4"), "pattern:96x64@10:frames=5");
    assert_ok(om_source_open(folder_path("again.mp4"), &params, counts, &s));
    return s;
}

static void *cancel_later(void *cancel)
{
    om_cancel_sleep_until(NULL, om_now_ns() + IDLE_MS * OM_NS_PER_MS);
    om_cancel_fire(cancel);
    return NULL;
}

static void a_reader_that_waits_can_be_stopped(void **state)
{
    om_cancel cancel;
    om_source_counts counts = {0};
    om_frame *f;
    pthread_t other;
    om_cancel_init(&cancel);
    om_source *s = open_clip(&cancel, &counts);
    atomic_store(&empty_looks, LOOKS);
    assert_int_equal(pthread_create(&other, NULL, cancel_later, &cancel), 0);
    assert_int_equal(om_source_read(s, &f), OM_ERR_CANCELLED);
    assert_int_not_equal(atomic_exchange(&empty_looks, 0), 0);
    pthread_join(other, NULL);
    om_source_close(s);
    om_cancel_fini(&cancel);
}

static void what_comes_later_is_read(void **state)
{
    om_source_counts counts = {0};
    om_frame *f;
    om_source *s = open_clip(NULL, &counts);
    atomic_store(&empty_looks, 3);
    for (int i = 0; i < 5; i++) {
        assert_ok(om_source_read(s, &f));
        om_frame_unref(f);
    }
    assert_int_equal(om_source_read(s, &f), OM_ERR_EOF);
    om_source_close(s);
}

/* ---- a camera that is paused */

static om_pipeline *run;          /* of the test */
static _Thread_local bool reader; /* this thread opened the camera */
static atomic_bool pause_again;   /* the moment the reader has seen that it may go on */
static atomic_int tries, opened;

int64_t __real_om_now_ns(void);
int64_t __wrap_om_now_ns(void);
int64_t __wrap_om_now_ns(void)
{
    if (reader && atomic_exchange(&pause_again, false)) om_pipeline_pause_stream(run, "camera", true);
    return __real_om_now_ns();
}

/* The camera is a pattern. */
int __real_om_source_open(const char *uri, const om_source_params *params, om_source_counts *counts,
                          om_source **out);
int __wrap_om_source_open(const char *uri, const om_source_params *params, om_source_counts *counts,
                          om_source **out);
int __wrap_om_source_open(const char *uri, const om_source_params *params, om_source_counts *counts,
                          om_source **out)
{
    bool camera = strncmp(uri, "rtsp:", 5) == 0;
    reader |= camera;
    int err = __real_om_source_open(camera ? ENDLESS : uri, params, counts, out);
    if (camera && !err) atomic_fetch_add(&opened, 1);
    if (camera) atomic_fetch_add(&tries, 1);
    return err;
}

/* Its reader has left the source and waits to be resumed. */
static bool stands_still(om_pipeline *p)
{
    pthread_mutex_lock(&p->lock);
    const om_stream_run *s = p->streams[0];
    bool still = s->state == OM_STREAM_OPENING && !s->source;
    pthread_mutex_unlock(&p->lock);
    return still;
}

static void a_pause_during_a_resume_is_not_lost(void **state)
{
    seen s;
    om_stream_row row;
    om_pipeline *p = run = make(&s, NULL);
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_add_stream(p, "rtsp://camera.invalid/0", "camera"));
    wait_inferred(p, "camera", 3);
    assert_ok(om_pipeline_pause_stream(p, "camera", true));
    for (int64_t end = PATIENCE; !stands_still(p); nap()) assert_true(om_now_ns() < end);
    atomic_store(&pause_again, true);
    assert_ok(om_pipeline_pause_stream(p, "camera", false));
    for (int64_t end = PATIENCE; atomic_load(&tries) < 2 || atomic_load(&pause_again); nap())
        assert_true(om_now_ns() < end);
    assert_int_equal(atomic_load(&opened), 1); /* it was not connected to again */
    assert_ok(om_pipeline_row(p, "camera", &row));
    assert_int_equal(row.status.state, OM_STREAM_PAUSED);
    uint64_t before = row.stats.inferred;
    assert_ok(om_pipeline_pause_stream(p, "camera", false));
    wait_inferred(p, "camera", before + 3);
    assert_int_equal(atomic_load(&opened), 2);
    stop(p);
    om_pipeline_destroy(p);
}

static int make_folder(void **state)
{
    om_media_quiet();
    return folder_make(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_that_waits_can_be_stopped),
        cmocka_unit_test(what_comes_later_is_read),
        cmocka_unit_test(a_pause_during_a_resume_is_not_lost),
    };
    return cmocka_run_group_tests(tests, make_folder, folder_remove);
}
