/* Whole runs on the null engine: order, books, stops, streams that fail beside others that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "pipeline/pipeline.h"

#include "check.h"

#define STREAMS 8

typedef struct seen {
    atomic_ullong frames[STREAMS];
    uint64_t last[STREAMS]; /* touched by one worker at a time, in order */
    atomic_int disorder;
    om_pipeline *stop_at_first;
} seen;

static void on_result(void *user, const om_frame_result *r)
{
    seen *s = user;
    int i = r->stream_index;
    if (atomic_fetch_add(&s->frames[i], 1) && r->seq <= s->last[i]) atomic_fetch_add(&s->disorder, 1);
    s->last[i] = r->seq;
    if (s->stop_at_first) om_pipeline_stop(s->stop_at_first);
}

static om_pipeline *make(seen *s, const char *const *options)
{
    om_pipeline *p;
    assert_int_equal(om_pipeline_create(&p), OM_OK);
    assert_int_equal(om_pipeline_set(p, "model", TEST_DATA "/shapes.onnx"), OM_OK);
    assert_int_equal(om_pipeline_set(p, "device", "null"), OM_OK);
    for (; options && *options; options += 2)
        assert_int_equal(om_pipeline_set(p, options[0], options[1]), OM_OK);
    memset(s, 0, sizeof(*s));
    assert_int_equal(om_pipeline_on_result(p, on_result, s), OM_OK);
    return p;
}

static void assert_books(om_pipeline *p, int index, om_stream_stats *st)
{
    assert_int_equal(om_pipeline_stats(p, index, st), OM_OK);
    assert_int_equal(st->in_flight, 0);
    assert_int_equal(st->received, st->inferred + st->skipped + st->dropped);
}

static void every_frame_once_and_in_order(void **state)
{
    seen s;
    om_stream_stats st;
    om_pipeline *p = make(&s, (const char *const[]){"batch-size", "4", NULL});
    for (int i = 0; i < STREAMS; i++)
        assert_int_equal(om_pipeline_add_stream(p, "pattern:160x120:frames=60", NULL), OM_OK);
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_wait(p, 60000));
    for (int i = 0; i < STREAMS; i++) {
        assert_int_equal(atomic_load(&s.frames[i]), 60);
        assert_books(p, i, &st);
        assert_int_equal(st.inferred, 60);
    }
    assert_books(p, -1, &st);
    assert_int_equal(st.received, 60 * STREAMS);
    assert_int_equal(atomic_load(&s.disorder), 0);
    om_pipeline_destroy(p);
}

static void names_are_made_unique(void **state)
{
    seen s;
    om_pipeline *p = make(&s, NULL);
    assert_int_equal(om_pipeline_add_stream(p, "pattern:160x120:frames=2", "gate"), OM_OK);
    assert_int_equal(om_pipeline_add_stream(p, "pattern:160x120:frames=2", "gate"), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "gate"));
    assert_int_equal(om_pipeline_set(p, "modle", "x"), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "'model'"));
    assert_int_equal(om_pipeline_add_sink(p, "json:x"), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "jsonl"));
    om_pipeline_destroy(p);
}

static void a_stop_settles_the_books(void **state)
{
    seen s;
    om_stream_stats st;
    om_pipeline *p = make(&s, (const char *const[]){"device", "null:2000", NULL});
    for (int i = 0; i < STREAMS; i++)
        assert_int_equal(om_pipeline_add_stream(p, "pattern:160x120:frames=0", NULL), OM_OK);
    s.stop_at_first = p;
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_wait(p, 60000));
    assert_books(p, -1, &st);
    assert_true(st.inferred >= 1);
    assert_int_equal(atomic_load(&s.disorder), 0);
    om_pipeline_destroy(p);
}

static void a_stream_that_fails_hurts_no_other(void **state)
{
    seen s;
    om_stream_stats st;
    om_stream_status status;
    om_pipeline *p = make(&s, NULL);
    assert_int_equal(om_pipeline_add_stream(p, "pattern:160x120:frames=30", NULL), OM_OK);
    assert_int_equal(om_pipeline_add_stream(p, "/nowhere/at-all.mp4", NULL), OM_OK);
    assert_ok(om_pipeline_start(p));
    assert_true(om_pipeline_wait(p, 60000) < 0);
    assert_non_null(strstr(om_error_message(), "at-all.mp4"));
    assert_books(p, 0, &st);
    assert_int_equal(st.inferred, 30);
    om_pipeline_stream_status(p, 1, &status);
    assert_int_equal(status.state, OM_STREAM_FAILED);
    assert_int_equal(om_pipeline_failures(p), 1);
    om_pipeline_destroy(p);
}

static void sampling_and_bounds_are_counted(void **state)
{
    seen s;
    om_stream_stats st;
    om_pipeline *p = make(&s, (const char *const[]){"every", "3", "max-frames", "10", NULL});
    assert_int_equal(om_pipeline_add_stream(p, "pattern:160x120@25:frames=60", NULL), OM_OK);
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_wait(p, 60000));
    assert_books(p, 0, &st);
    assert_int_equal(st.inferred, 10);
    assert_int_equal(s.last[0], 27);
    om_pipeline_destroy(p);

    p = make(&s, (const char *const[]){"fps", "5", NULL});
    assert_int_equal(om_pipeline_add_stream(p, "pattern:160x120@25:frames=100", NULL), OM_OK);
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_wait(p, 60000));
    assert_books(p, 0, &st);
    assert_int_equal(st.inferred, 20);
    om_pipeline_destroy(p);
}

static void live_streams_drop_what_is_late(void **state)
{
    seen s;
    om_stream_stats st;
    /* 200 frames a second each, while the engine takes 40 ms a frame. */
    om_pipeline *p =
        make(&s, (const char *const[]){"live", "yes", "device", "null:40000", "in-flight", "1", NULL});
    for (int i = 0; i < 4; i++)
        assert_int_equal(om_pipeline_add_stream(p, "pattern:160x120@200:frames=100", NULL), OM_OK);
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_wait(p, 60000));
    assert_books(p, -1, &st);
    assert_int_equal(st.received, 400);
    assert_true(st.dropped > 100);
    assert_int_equal(atomic_load(&s.disorder), 0);
    om_pipeline_destroy(p);
}

static void the_report_is_json_and_adds_up(void **state)
{
    seen s;
    char *text;
    om_json_value *v;
    om_pipeline *p = make(&s, NULL);
    assert_int_equal(om_pipeline_add_stream(p, "pattern:160x120:frames=20", "a"), OM_OK);
    assert_int_equal(om_pipeline_add_sink(p, "null:"), OM_OK);
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_wait(p, 60000));
    assert_int_equal(om_pipeline_report(p, &text), OM_OK);
    assert_int_equal(om_json_parse(text, strlen(text), &v), OM_OK);
    const om_json_value *t = om_json_get(v, "totals");
    assert_true(om_json_get(t, "received")->num == 20 && om_json_get(t, "inferred")->num == 20);
    assert_non_null(om_json_get(om_json_get(t, "latency_ms"), "p99"));
    assert_true(om_json_get(om_json_get(t, "skipped"), "no_output")->num == 0);
    assert_int_equal(om_json_get(v, "streams")->n, 1);
    om_json_free(v);
    om_free_string(text);
    om_pipeline_destroy(p);
}

static void destroying_while_it_runs_is_clean(void **state)
{
    seen s;
    om_pipeline *p = make(&s, NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(om_pipeline_add_stream(p, "pattern:160x120:frames=0", NULL), OM_OK);
    assert_ok(om_pipeline_start(p));
    int64_t start = om_now_ns();
    om_pipeline_destroy(p);
    assert_true(om_now_ns() - start < 2 * OM_NS_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_frame_once_and_in_order),
        cmocka_unit_test(names_are_made_unique),
        cmocka_unit_test(a_stop_settles_the_books),
        cmocka_unit_test(a_stream_that_fails_hurts_no_other),
        cmocka_unit_test(sampling_and_bounds_are_counted),
        cmocka_unit_test(live_streams_drop_what_is_late),
        cmocka_unit_test(the_report_is_json_and_adds_up),
        cmocka_unit_test(destroying_while_it_runs_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
