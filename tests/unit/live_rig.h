/* A run on the null engine and generated pictures, for tests of streams that come, change and go. */
#ifndef OM_TEST_LIVE_RIG_H
#define OM_TEST_LIVE_RIG_H

#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/thread.h"
#include "check.h"
#include "pipeline/pipeline.h"

#define ENDLESS "pattern:64x48@100:frames=0"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

typedef struct seen {
    atomic_ullong frames;
    atomic_int last_index;
} seen;

static inline void on_result(void *user, const om_frame_result *r)
{
    seen *s = user;
    assert_true(strlen(r->stream) > 0); /* the name is there as long as anybody reads it */
    atomic_store(&s->last_index, r->stream_index);
    atomic_fetch_add(&s->frames, 1);
}

static inline om_pipeline *make(seen *s, const char *const *options)
{
    om_pipeline *p;
    assert_ok(om_pipeline_create(&p));
    assert_ok(om_pipeline_set(p, "model", TEST_DATA "/shapes.onnx"));
    assert_ok(om_pipeline_set(p, "device", "null"));
    assert_ok(om_pipeline_set(p, "keep", "yes"));
    for (; options && *options; options += 2) assert_ok(om_pipeline_set(p, options[0], options[1]));
    memset(s, 0, sizeof(*s));
    assert_ok(om_pipeline_on_result(p, on_result, s));
    return p;
}

static inline void nap(void) { om_cancel_sleep_until(NULL, om_now_ns() + 2 * OM_NS_PER_MS); }

/* Bounded waits, far above what they take. */
#define PATIENCE (om_now_ns() + 30 * OM_NS_PER_SEC)

static inline void wait_frames(seen *s, uint64_t n)
{
    for (int64_t end = PATIENCE; atomic_load(&s->frames) < n; nap()) assert_true(om_now_ns() < end);
}

static inline size_t count_streams(om_pipeline *p)
{
    om_stream_row *rows;
    size_t n;
    assert_ok(om_pipeline_list(p, false, &rows, &n));
    om_free(rows);
    return n;
}

static inline void wait_streams(om_pipeline *p, size_t n)
{
    for (int64_t end = PATIENCE; count_streams(p) != n; nap()) assert_true(om_now_ns() < end);
}

static inline void wait_inferred(om_pipeline *p, const char *name, uint64_t n)
{
    om_stream_row r;
    int64_t end = PATIENCE;
    do {
        nap();
        assert_ok(om_pipeline_row(p, name, &r));
        assert_true(om_now_ns() < end);
    } while (r.stats.inferred < n);
}

static inline void stop(om_pipeline *p)
{
    om_stream_stats st;
    om_pipeline_stop(p);
    assert_ok(om_pipeline_wait(p, 30000));
    assert_ok(om_pipeline_stats(p, -1, &st));
    assert_int_equal(st.in_flight, 0);
    assert_int_equal(st.received, st.inferred + st.skipped + st.dropped);
}

static inline int live(om_pipeline *p, const char *name)
{
    return om_pipeline_add_stream_with(p, ENDLESS, name, (const char *const[]){"live", "yes", NULL});
}

#endif
