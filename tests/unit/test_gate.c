/* The common start of local files: nothing begins before all decoders are made, and nobody waits for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "pipeline/pipeline_priv.h"

#include "check.h"
#include "clip.h"
#include "folder.h"

#define STREAMS 6

/* ---- the gate alone */

static void gate_make(om_gate *g, om_cancel *c, int streams, int places, int64_t patience_ns)
{
    om_cancel_init(c);
    assert_ok(om_gate_init(g, streams, places, patience_ns));
}

static void gate_drop(om_gate *g, om_cancel *c)
{
    om_gate_fini(g);
    om_cancel_fini(c);
}

static void it_opens_for_the_last(void **state)
{
    om_gate g;
    om_cancel c;
    int64_t start;
    gate_make(&g, &c, 3, 2, 60 * OM_NS_PER_SEC);
    assert_false(om_gate_arrive(&g));
    assert_false(om_gate_arrive(&g));
    assert_int_equal(atomic_load(&g.start_ns), 0);
    assert_true(om_gate_arrive(&g));
    assert_int_equal(atomic_load(&g.start_ns), 0); /* the last one opens it */
    int64_t now = om_now_ns();
    om_gate_open(&g);
    assert_true(atomic_load(&g.start_ns) > now);
    assert_ok(om_gate_wait(&g, &c, &start)); /* who comes now begins now */
    assert_true(start >= now);
    gate_drop(&g, &c);
}

static void who_hangs_is_not_waited_for(void **state)
{
    om_gate g;
    om_cancel c;
    int64_t start;
    gate_make(&g, &c, 2, 1, 30 * OM_NS_PER_MS);
    assert_ok(om_gate_enter(&g, &c)); /* hangs */
    assert_ok(om_gate_enter(&g, &c)); /* after the patience */
    assert_false(om_gate_arrive(&g));
    assert_int_equal(om_gate_wait(&g, &c, &start), OM_ERR_TIMEOUT);
    om_gate_open(&g);
    assert_false(om_gate_arrive(&g)); /* it comes at last: the gate is open */
    assert_ok(om_gate_wait(&g, &c, &start));
    om_gate_leave(&g);
    om_gate_leave(&g);
    om_cancel_fire(&c);
    assert_int_equal(om_gate_enter(&g, &c), OM_ERR_CANCELLED);
    assert_int_equal(om_gate_wait(&g, &c, &start), OM_ERR_CANCELLED);
    gate_drop(&g, &c);
}

/* ---- phases */

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Whatever the number of streams: no gap between neighbours is more than three times what an even share were,
 * and none less than a third of it. */
static void phases_are_spread_over_the_time_between_two_pictures(void **state)
{
    const int64_t period = OM_NS_PER_SEC / 5;
    for (int n = 2; n <= 64; n++) {
        int64_t at[65];
        for (int i = 0; i < n; i++) at[i] = om_gate_phase_ns(i, 5);
        qsort(at, (size_t)n, sizeof *at, by_time);
        at[n] = at[0] + period; /* the first one's next */
        for (int i = 0; i < n; i++) {
            int64_t gap = at[i + 1] - at[i];
            if (gap * n > 3 * period || gap * n * 3 < period)
                fail_msg("%d streams: a gap of %lld us", n, (long long)gap / 1000);
        }
    }
    assert_int_equal(om_gate_phase_ns(1, 0), om_gate_phase_ns(1, 25));   /* not known */
    assert_int_equal(om_gate_phase_ns(1, 60), om_gate_phase_ns(1, 25));  /* quick ones */
    assert_int_equal(om_gate_phase_ns(1, 0.01), om_gate_phase_ns(1, 1)); /* nobody waits for minutes */
}

/* ---- the first picture */

static void the_first_picture_is_made_before_its_time(void **state)
{
    atomic_llong start = 0;
    om_source_counts c = {0};
    om_source_params params = {.live = true, .start_ns = &start, .phase_ns = 20 * OM_NS_PER_MS};
    om_source *s;
    om_frame *f;
    clip_make(folder_path("first.mp4"), "pattern:96x64@10:frames=8");
    assert_ok(om_source_open(folder_path("first.mp4"), &params, &c, &s));
    om_source_prime(s); /* nobody has said yet when it begins */
    unsigned long long sent = atomic_load(&c.received);
    assert_true(sent >= 1);
    assert_int_equal(atomic_load(&c.decoder), OM_DECODER_CPU);
    assert_int_equal(atomic_load(&c.decoded), 0); /* it has not been given */
    atomic_store(&start, om_now_ns() + 50 * OM_NS_PER_MS);
    int64_t last = -1;
    for (int i = 0; i < 8; i++) {
        assert_ok(om_source_read(s, &f));
        assert_int_equal(f->seq, i);
        assert_true(f->due_ns >= atomic_load(&start) + params.phase_ns);
        assert_true(f->due_ns <= om_now_ns());
        assert_true(f->pts_ns > last && f->wall_us > 0);
        last = f->pts_ns;
        om_frame_unref(f);
    }
    assert_int_equal(om_source_read(s, &f), OM_ERR_EOF);
    assert_int_equal(atomic_load(&c.decoded), 8);
    om_source_close(s);
}

static void what_fails_early_fails_in_its_turn(void **state)
{
    om_source_counts c = {0};
    om_source_params params = {0};
    om_source *s;
    om_frame *f;
    clip_make(folder_path("closed.mp4"), "pattern:96x64@10:frames=8");
    assert_ok(om_source_open(folder_path("closed.mp4"), &params, &c, &s));
    om_source_prime(s);
    om_source_close(s); /* the picture that nobody took */
    assert_int_equal(atomic_load(&c.decoded), 0);
    assert_int_equal(atomic_load(&c.received), atomic_load(&c.unread));

    om_cancel cancel;
    om_source_counts c2 = {0};
    om_cancel_init(&cancel);
    params.cancel = &cancel;
    assert_ok(om_source_open(folder_path("closed.mp4"), &params, &c2, &s));
    om_source_prime(s);
    om_cancel_fire(&cancel);
    assert_int_equal(om_source_read(s, &f), OM_ERR_CANCELLED);
    om_source_close(s);
    assert_int_equal(atomic_load(&c2.received), atomic_load(&c2.unread));
    om_cancel_fini(&cancel);
}

/* ---- a run */

static int64_t first_result_ns;

static void note_first(void *user, const om_frame_result *r)
{
    if (!first_result_ns) first_result_ns = om_now_ns();
}

/* Live files on the null engine: at the moment the gate opens each has its decoder and its first picture, the
 * one that cannot be opened holds up nobody, and nothing was late. */
static void a_run_begins_with_all_decoders_made(void **state)
{
    om_pipeline *p;
    char *text;
    clip_make(folder_path("run.mp4"), "pattern:96x64@10:frames=10");
    first_result_ns = 0;
    assert_ok(om_pipeline_create(&p));
    assert_ok(om_pipeline_set(p, "model", TEST_DATA "/shapes.onnx"));
    assert_ok(om_pipeline_set(p, "device", "null"));
    assert_ok(om_pipeline_set(p, "live", "yes"));
    assert_ok(om_pipeline_on_result(p, note_first, NULL));
    for (int i = 0; i < STREAMS; i++) assert_ok(om_pipeline_add_stream(p, folder_path("run.mp4"), NULL));
    assert_ok(om_pipeline_add_stream(p, folder_path("none.mp4"), "none"));
    assert_ok(om_pipeline_start(p));
    int64_t end = om_now_ns() + 30 * OM_NS_PER_SEC;
    while (!atomic_load(&p->gate.start_ns) && om_now_ns() < end)
        om_cancel_sleep_until(NULL, om_now_ns() + OM_NS_PER_MS / 10);
    assert_true(atomic_load(&p->gate.start_ns) > 0);
    pthread_mutex_lock(&p->roster);
    for (int i = 0; i < STREAMS; i++) {
        const om_source_counts *c = &p->streams[i]->account.source;
        assert_int_equal(atomic_load(&c->decoder), OM_DECODER_CPU);
        assert_true(atomic_load(&c->received) >= 1);
    }
    for (int i = 0; i < STREAMS; i++) { /* a clip of 10 frames a second: over 100 ms */
        int64_t start;
        while (!(start = atomic_load(&p->streams[i]->start_ns)) && om_now_ns() < end)
            om_cancel_sleep_until(NULL, om_now_ns() + OM_NS_PER_MS / 10);
        assert_true(start >= atomic_load(&p->gate.start_ns) + om_gate_phase_ns(i, 10));
    }
    pthread_mutex_unlock(&p->roster);
    assert_int_not_equal(om_pipeline_wait(p, 30000), OM_ERR_TIMEOUT); /* `none` fails it */
    assert_true(first_result_ns >= atomic_load(&p->gate.start_ns));
    assert_ok(om_pipeline_report(p, &text));
    assert_non_null(strstr(text, "\"begin_s\": 0."));
    om_free_string(text);
    for (int i = 0; i < STREAMS; i++) {
        om_stream_stats st;
        assert_ok(om_pipeline_stats(p, i, &st));
        assert_int_equal(st.received, 10);
        assert_int_equal(st.received, st.inferred + st.skipped + st.dropped);
    }
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
        cmocka_unit_test(it_opens_for_the_last),
        cmocka_unit_test(who_hangs_is_not_waited_for),
        cmocka_unit_test(phases_are_spread_over_the_time_between_two_pictures),
        cmocka_unit_test(the_first_picture_is_made_before_its_time),
        cmocka_unit_test(what_fails_early_fails_in_its_turn),
        cmocka_unit_test(a_run_begins_with_all_decoders_made),
    };
    return cmocka_run_group_tests(tests, make_folder, folder_remove);
}
