/* What the pipeline does when the device fails: everything goes on elsewhere, and nothing is lost but what
 * was on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/json.h"
#include "pipeline/pipeline.h"

#define STREAMS 4
#define FRAMES 120

typedef struct seen {
    unsigned long long frames[STREAMS], last[STREAMS]; /* of one worker at a time */
    int disorder;
    double latest_gap_ms;
} seen;

static void on_result(void *user, const om_frame_result *r)
{
    seen *s = user;
    int i = r->stream_index;
    if (s->frames[i]++ && r->seq <= s->last[i]) s->disorder++;
    s->last[i] = r->seq;
}

static void check(int err)
{
    if (err) print_error("%s\n", om_error_message());
    assert_int_equal(err, OM_OK);
}

static om_pipeline *make(seen *s, const char *device, const char *fallback, const char *uri)
{
    om_pipeline *p;
    memset(s, 0, sizeof(*s));
    check(om_pipeline_create(&p));
    check(om_pipeline_set(p, "model", TEST_DATA "/shapes.onnx"));
    check(om_pipeline_set(p, "device", device));
    check(om_pipeline_set(p, "fallback", fallback));
    check(om_pipeline_on_result(p, on_result, s));
    for (int i = 0; i < STREAMS; i++) check(om_pipeline_add_stream(p, uri, NULL));
    return p;
}

static uint64_t check_books(om_pipeline *p, const seen *s, uint64_t frames)
{
    uint64_t dropped = 0;
    for (int i = 0; i < STREAMS; i++) {
        om_stream_stats st;
        check(om_pipeline_stats(p, i, &st));
        assert_int_equal(st.received, frames);
        assert_int_equal(st.in_flight, 0);
        assert_int_equal(st.skipped, 0);
        assert_int_equal(st.received, st.inferred + st.dropped);
        assert_int_equal(st.inferred, s->frames[i]);
        dropped += st.dropped;
    }
    assert_int_equal(s->disorder, 0);
    return dropped;
}

/* Files: no frame is missing but those of the batches that were on the device. */
static void goes_on_elsewhere(void **state)
{
    static const char *const at[] = {"flaky:1", "flaky:17"};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        seen s;
        om_pipeline *p = make(&s, at[i], "null:500", "pattern:160x120:frames=120");
        check(om_pipeline_start(p));
        check(om_pipeline_wait(p, 60000));
        uint64_t lost = check_books(p, &s, FRAMES);
        /* At most as many batches as the device took at a time, each with what the mailboxes held. */
        assert_in_range(lost, 1, 3 * STREAMS * 2);
        char *report = NULL;
        check(om_pipeline_report(p, &report));
        const char *moved = strstr(report, "\"moved\": {");
        assert_non_null(moved);
        assert_non_null(strstr(moved, "\"from\": \"flaky:"));
        assert_non_null(strstr(moved, "\"to\": \"null:500\""));
        assert_non_null(strstr(moved, "fell off the bus"));
        assert_non_null(strstr(report, "\"device_lost\": "));
        double took = atof(strstr(moved, "\"took_s\": ") + 10);
        assert_true(took < 5);
        om_free_string(report);
        om_pipeline_destroy(p);
    }
}

/* Of two devices the one that is left takes over, before --fallback does; its own streams notice nothing. */
static void another_device_of_the_run_takes_over(void **state)
{
    seen s;
    char *report = NULL;
    om_pipeline *p = make(&s, "flaky:17,null:300", "null:500", "pattern:160x120:frames=120");
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, 60000));
    uint64_t lost = check_books(p, &s, FRAMES);
    assert_in_range(lost, 1, 3 * STREAMS * 2);
    for (int i = 1; i < STREAMS; i += 2) {
        om_stream_stats st;
        check(om_pipeline_stats(p, i, &st));
        assert_int_equal(st.inferred, FRAMES);
    }
    check(om_pipeline_report(p, &report));
    const char *moved = strstr(report, "\"moved\": {");
    assert_non_null(moved);
    assert_non_null(strstr(moved, "\"from\": \"flaky:"));
    assert_non_null(strstr(moved, "\"to\": \"null:300\""));
    om_free_string(report);
    om_pipeline_destroy(p);
}

/* Live: the streams go on at their pace. */
static void live_streams_go_on(void **state)
{
    seen s;
    om_stream_stats st;
    om_pipeline *p = make(&s, "flaky:9", "null:500", "pattern:160x120@50:frames=75");
    check(om_pipeline_set(p, "live", "yes"));
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, 60000));
    for (int i = 0; i < STREAMS; i++) {
        check(om_pipeline_stats(p, i, &st));
        assert_int_equal(st.received, st.inferred + st.dropped + st.skipped);
        assert_true(st.inferred >= 60);
        assert_true(s.last[i] >= 73);
    }
    om_pipeline_destroy(p);
}

static void a_run_without_a_way_out_ends(void **state)
{
    seen s;
    om_pipeline *p = make(&s, "flaky:5", "none", "pattern:160x120:frames=0");
    check(om_pipeline_start(p));
    assert_int_equal(om_pipeline_wait(p, 60000), OM_ERR_DEVICE);
    assert_non_null(strstr(om_error_message(), "fell off the bus"));
    om_pipeline_destroy(p);
}

/* A way out that is none: the run ends with both reasons. */
static void a_way_out_that_fails_ends_the_run(void **state)
{
    seen s;
    om_pipeline *p = make(&s, "flaky:5", "null:never", "pattern:160x120:frames=0");
    check(om_pipeline_start(p));
    assert_true(om_pipeline_wait(p, 60000) < 0);
    assert_non_null(strstr(om_error_message(), "fell off the bus"));
    assert_non_null(strstr(om_error_message(), "null:never"));
    om_pipeline_destroy(p);
}

static void short_memory_shrinks_the_batch(void **state)
{
    seen s;
    om_pipeline *p = make(&s, "flaky:1005", "null:500", "pattern:160x120:frames=120");
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, 60000));
    assert_int_equal(check_books(p, &s, FRAMES), 0);
    char *report = NULL;
    check(om_pipeline_report(p, &report));
    assert_non_null(strstr(report, "\"moved\": null"));
    assert_non_null(strstr(report, "\"backend\": \"flaky\""));
    om_free_string(report);
    om_pipeline_destroy(p);
}

static void no_memory_at_all_moves_the_work(void **state)
{
    seen s;
    om_pipeline *p = make(&s, "flaky:1000", "null:500", "pattern:160x120:frames=120");
    check(om_pipeline_start(p));
    check(om_pipeline_wait(p, 60000));
    assert_int_equal(check_books(p, &s, FRAMES), 0);
    char *report = NULL;
    check(om_pipeline_report(p, &report));
    assert_non_null(strstr(report, "\"backend\": \"null\""));
    assert_non_null(strstr(report, "out of memory"));
    om_free_string(report);
    om_pipeline_destroy(p);
}

/* totals.GROUP.KEY of the report, or totals.gpu_memory.GROUP.KEY; -1: not there or null. */
static double figure(const char *report, const char *group, const char *key)
{
    om_json_value *v;
    assert_int_equal(om_json_parse(report, strlen(report), &v), OM_OK);
    const om_json_value *totals = om_json_get(v, "totals"), *of = om_json_get(totals, group);
    double n = om_json_get_num(of ? of : om_json_get(om_json_get(totals, "gpu_memory"), group), key, -1);
    om_json_free(v);
    return n;
}

static void a_cap_shrinks_the_batch(void **state)
{
    static const struct {
        const char *cap, *batch; /* as options */
        double work, smaller, fewer, fallback;
    } all[] = {
        {"1000", "16", 3 * 16, 0, 0, 0}, /* room for 3 sessions of 16 */
        {"30", "16", 3 * 8, 1, 0, 0},    /* of 8 */
        {"4.5", "16", 2, 4, 1, 0},       /* for two of one picture */
        {"2.5", "16", 0, 4, 0, 1},       /* for none */
        {"1", "16", 0, 4, 0, 1},         /* not even for the plan */
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        seen s;
        char *report = NULL;
        om_pipeline *p = make(&s, "flaky:1500", "null:500", "pattern:160x120:frames=120");
        check(om_pipeline_set(p, "gpu-memory", all[i].cap));
        check(om_pipeline_set(p, "batch-size", all[i].batch));
        check(om_pipeline_start(p));
        check(om_pipeline_wait(p, 60000));
        assert_int_equal(check_books(p, &s, FRAMES), 0);
        check(om_pipeline_report(p, &report));
        assert_true(figure(report, "now", "work") == all[i].work);
        assert_true(figure(report, "now", "weights") == (all[i].fallback > 0 ? 0 : 2));
        assert_true(figure(report, "peak", "counted") <= atof(all[i].cap));
        assert_true(figure(report, "now", "driver") == -1); /* null */
        assert_true(figure(report, "steps", "smaller_batches") == all[i].smaller);
        assert_true(figure(report, "steps", "fewer_sessions") == all[i].fewer);
        assert_true(figure(report, "steps", "fallback") == all[i].fallback);
        assert_int_equal(strstr(report, "\"backend\": \"null\"") != NULL, all[i].fallback > 0);
        om_free_string(report);
        om_pipeline_destroy(p);
    }
}

/* Allocations that fail while batches are under way: smaller ones follow, then the fall-back device. */
static void short_memory_at_work(void **state)
{
    static const struct {
        long after, times;
        double smaller;
        bool moves;
    } all[] = {{40, 1, 1, false}, {40, 3, 2, false}, {40, 100000, 4, true}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        seen s;
        char *report = NULL;
        om_pipeline *p = make(&s, "flaky:1500", "null:500", "pattern:160x120:frames=120");
        check(om_pipeline_set(p, "batch-size", "16"));
        om_device_mem_fail_after(all[i].after, all[i].times);
        check(om_pipeline_start(p));
        check(om_pipeline_wait(p, 60000));
        om_device_mem_fail_after(-1, 0);
        uint64_t lost = check_books(p, &s, FRAMES);
        check(om_pipeline_report(p, &report));
        assert_in_range(lost, all[i].times > 1 ? 1 : 0, 3 * STREAMS * 4);
        double smaller = figure(report, "steps", "smaller_batches");
        assert_true(smaller >= 1 && smaller <= all[i].smaller);
        assert_true(figure(report, "steps", "fallback") == all[i].moves);
        if (all[i].moves) assert_true(figure(report, "now", "counted") == 0);
        assert_true(figure(report, "dropped", "no_memory") == (double)lost);
        om_free_string(report);
        om_pipeline_destroy(p);
    }
}

static void wrong_caps_are_refused(void **state)
{
    static const char *const all[] = {"0", "-3", "x", "101%", "%", "4GB"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        seen s;
        om_pipeline *p = make(&s, "flaky:1500", "null:500", "pattern:160x120:frames=1");
        check(om_pipeline_set(p, "gpu-memory", all[i]));
        assert_int_equal(om_pipeline_start(p), OM_ERR_ARG);
        assert_non_null(strstr(om_error_message(), "--gpu-memory"));
        om_pipeline_destroy(p);
    }
}

typedef struct answers {
    seen seen;
    unsigned long long given, lost;
} answers;

static void on_answers(void *user, const om_frame_result *r)
{
    answers *a = user;
    for (size_t i = 0; i < r->n_answers; i++) {
        const char *missing = r->answers[i].missing;
        if (!missing) __atomic_fetch_add(&a->given, 1, __ATOMIC_RELAXED);
        else if (!strcmp(missing, "device_lost")) __atomic_fetch_add(&a->lost, 1, __ATOMIC_RELAXED);
    }
    on_result(&a->seen, r);
}

/* A secondary model whose device is lost goes on elsewhere and asks again; without a way out its answers are
 * missing, by name. The primary loses nothing either way. */
static void a_secondary_goes_on_elsewhere(void **state)
{
    static const struct {
        const char *spec;
        bool moves;
    } all[] = {{"fallback=null:500", true}, {"fallback=null:500,batch=8", true}, {"fallback=none", false}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        answers a = {0};
        char spec[256], *report = NULL;
        om_pipeline *p = make(&a.seen, "null", "none", "pattern:160x120:frames=120");
        snprintf(spec, sizeof spec, "model=%s,parent=frame,device=flaky:%d,%s", TEST_DATA "/classify.onnx",
                 i ? 17 : 1, all[i].spec);
        check(om_pipeline_set(p, "secondary", spec));
        check(om_pipeline_on_result(p, on_answers, &a));
        check(om_pipeline_start(p));
        check(om_pipeline_wait(p, 60000));
        assert_int_equal(check_books(p, &a.seen, FRAMES), 0);
        check(om_pipeline_report(p, &report));
        const char *second = strstr(report, "\"secondary\": [");
        assert_non_null(second);
        assert_int_equal(a.given + a.lost, STREAMS * FRAMES);
        if (all[i].moves) assert_int_equal(a.lost, 0);
        else assert_true(a.lost > STREAMS * FRAMES / 2);
        assert_int_equal(strstr(second, "\"from\": \"flaky:") != NULL, all[i].moves);
        assert_non_null(strstr(report, "\"moved\": null")); /* the primary's */
        om_free_string(report);
        om_pipeline_destroy(p);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2 || setenv("OMMA_PLUGINS", argv[1], 1) != 0) return 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on_elsewhere),
        cmocka_unit_test(a_secondary_goes_on_elsewhere),
        cmocka_unit_test(another_device_of_the_run_takes_over),
        cmocka_unit_test(live_streams_go_on),
        cmocka_unit_test(a_run_without_a_way_out_ends),
        cmocka_unit_test(a_way_out_that_fails_ends_the_run),
        cmocka_unit_test(short_memory_shrinks_the_batch),
        cmocka_unit_test(no_memory_at_all_moves_the_work),
        cmocka_unit_test(a_cap_shrinks_the_batch),
        cmocka_unit_test(short_memory_at_work),
        cmocka_unit_test(wrong_caps_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
