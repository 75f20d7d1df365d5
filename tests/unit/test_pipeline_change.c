/* Streams that are paused, tuned, reloaded and asked for less while a run goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/utf8.h"
#include "live_rig.h"

static uint64_t inferred_of(om_pipeline *p, const char *name)
{
    om_stream_row r;
    assert_ok(om_pipeline_row(p, name, &r));
    return r.stats.inferred;
}

static void wait_failed(om_pipeline *p, const char *name, om_stream_row *row)
{
    int64_t end = PATIENCE;
    do {
        nap();
        assert_ok(om_pipeline_row(p, name, row));
        assert_true(om_now_ns() < end);
    } while (row->status.state != OM_STREAM_FAILED);
}

static void a_pause_stops_one_stream_alone(void **state)
{
    seen s;
    om_stream_row row;
    om_pipeline *p = make(&s, NULL);
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_add_stream(p, "pattern:64x48:frames=0", "file"));
    assert_ok(live(p, "camera"));
    wait_inferred(p, "file", 5);
    wait_inferred(p, "camera", 5);
    assert_ok(om_pipeline_pause_stream(p, "file", true));
    assert_ok(om_pipeline_pause_stream(p, "camera", true));
    assert_ok(live(p, "other"));
    wait_inferred(p, "other", 20); /* what was under way is through by then */
    uint64_t file = inferred_of(p, "file"), camera = inferred_of(p, "camera");
    wait_inferred(p, "other", 40);
    assert_int_equal(inferred_of(p, "file"), file);
    assert_int_equal(inferred_of(p, "camera"), camera);
    assert_ok(om_pipeline_row(p, "file", &row));
    assert_int_equal(row.status.state, OM_STREAM_PAUSED);
    assert_ok(om_pipeline_pause_stream(p, "file", false));
    assert_ok(om_pipeline_pause_stream(p, "camera", false));
    wait_inferred(p, "file", file + 5);
    wait_inferred(p, "camera", camera + 5);
    assert_ok(om_pipeline_row(p, "camera", &row));
    assert_true(row.stats.skipped > 5); /* its pictures went on unseen */
    assert_ok(om_pipeline_pause_stream(p, "file", true));
    stop(p); /* also while one is paused */
    om_pipeline_destroy(p);
}

static void a_running_stream_can_be_tuned(void **state)
{
    seen s;
    om_stream_row row;
    om_pipeline *p = make(&s, NULL);
    assert_ok(om_pipeline_start(p));
    assert_ok(live(p, "a"));
    wait_inferred(p, "a", 2);
    assert_ok(om_pipeline_set_stream(p, "a", "priority", "7"));
    assert_ok(om_pipeline_set_stream(p, "a", "weight", "3"));
    assert_ok(om_pipeline_set_stream(p, "a", "fps", "10"));
    assert_ok(om_pipeline_row(p, "a", &row));
    assert_true(row.priority == 7 && row.weight == 3 && row.fps == 10);
    assert_int_equal(om_pipeline_set_stream(p, "a", "priority", "70"), OM_ERR_ARG);
    assert_int_equal(om_pipeline_set_stream(p, "a", "uri", "x"), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "remove"));
    assert_int_equal(om_pipeline_set_stream(p, "a", "wieght", "1"), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "'weight'"));
    assert_int_equal(om_pipeline_set_stream(p, "b", "fps", "1"), OM_ERR_NOT_FOUND);
    const char *const wrong[] = {"priority", "1", "weight", "2", "fps", "fast", NULL};
    assert_int_equal(om_pipeline_set_stream_with(p, "a", wrong), OM_ERR_ARG);
    assert_ok(om_pipeline_row(p, "a", &row));
    assert_true(row.priority == 7 && row.weight == 3 && row.fps == 10); /* all or none */
    uint64_t skipped = row.stats.skipped, inferred = row.stats.inferred;
    do {
        nap();
        assert_ok(om_pipeline_row(p, "a", &row));
    } while (row.stats.skipped < skipped + 50);
    assert_true(row.stats.inferred - inferred < 20); /* a tenth of the pictures, not all */
    stop(p);
    om_pipeline_destroy(p);
}

static void a_stream_can_be_renamed_before_the_start(void **state)
{
    seen s;
    om_stream_row row;
    om_pipeline *p = make(&s, NULL);
    assert_ok(live(p, "a"));
    assert_ok(live(p, "b"));
    assert_int_equal(om_pipeline_set_stream(p, "a", "name", "b"), OM_ERR_ARG);
    assert_non_null(strstr(om_error_message(), "two streams are named 'b'"));
    assert_int_equal(om_pipeline_set_stream(p, "a", "name", "c/d"), OM_ERR_ARG);
    const char *const wrong[] = {"priority", "5", "name", "", NULL};
    assert_int_equal(om_pipeline_set_stream_with(p, "a", wrong), OM_ERR_ARG);
    const char *const right[] = {"name", "c", "weight", "3", NULL};
    assert_ok(om_pipeline_set_stream_with(p, "a", right));
    assert_int_equal(om_pipeline_set_stream(p, "a", "fps", "1"), OM_ERR_NOT_FOUND);
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_row(p, "c", &row));
    assert_true(row.priority == 0 && row.weight == 3);
    stop(p);
    om_pipeline_destroy(p);
}

static void long_names_are_cut_between_letters(void **state)
{
    char uri[300];
    om_config c;
    assert_ok(om_config_init(&c));
    for (int i = 0; i < 3; i++) {
        int n = snprintf(uri, sizeof(uri), "/films/%.*s", i, "ab");
        for (int k = 0; k < 60; k++) n += snprintf(uri + n, sizeof(uri) - (size_t)n, "\xe5\x90\x8d");
        assert_ok(om_config_add_stream(&c, uri, NULL));
        const unsigned char *name = (const unsigned char *)c.streams[i].name;
        size_t len = strlen(c.streams[i].name), step;
        assert_true(len > 80 && len <= OM_STREAM_NAME_MAX);
        for (; len; name += step, len -= step) assert_true((step = om_utf8_length(name, len)) > 0);
    }
    om_config_fini(&c);
}

static void a_stream_that_cannot_be_opened_is_its_own_trouble(void **state)
{
    seen s;
    om_stream_row row;
    om_pipeline *p = make(&s, NULL);
    assert_ok(om_pipeline_start(p));
    assert_ok(om_pipeline_add_stream(p, "/nowhere/at-all.mp4", "lost"));
    assert_ok(om_pipeline_add_stream(p, "pattern:64x48:frames=9", "found"));
    wait_failed(p, "lost", &row);
    assert_non_null(strstr(row.status.error, "at-all"));
    wait_inferred(p, "found", 9);
    assert_ok(om_pipeline_remove_stream(p, "lost"));
    stop(p);
    assert_int_equal(om_pipeline_failures(p), 0);
    om_pipeline_destroy(p);
}

static void add_to(om_config *c, const char *uri, const char *name, const char *fps)
{
    assert_ok(om_config_add_stream(c, uri, name));
    assert_ok(om_option_set(om_stream_option_table, &c->streams[c->n_streams - 1], "live", "yes"));
    assert_ok(om_option_set(om_stream_option_table, &c->streams[c->n_streams - 1], "fps", fps));
}

static void a_reload_touches_what_differs_alone(void **state)
{
    seen s;
    om_config c;
    om_reload done;
    om_stream_row row;
    om_pipeline *p = make(&s, NULL);
    for (int i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), 0};
        assert_ok(live(p, name));
    }
    assert_ok(om_pipeline_start(p));
    assert_ok(live(p, "by-hand"));
    for (int i = 0; i < 3; i++) wait_inferred(p, (const char *const[]){"a", "b", "c"}[i], 3);
    assert_ok(om_config_init(&c)); /* a as it was, b slower, c another picture, d new */
    add_to(&c, ENDLESS, "a", "-1");
    add_to(&c, ENDLESS, "b", "2");
    add_to(&c, "pattern:80x60@100:frames=0", "c", "-1");
    add_to(&c, ENDLESS, "d", "-1");
    assert_ok(om_pipeline_reload(p, &c, &done));
    om_config_fini(&c);
    assert_int_equal(done.added, 2);
    assert_int_equal(done.removed, 1);
    assert_int_equal(done.changed, 1);
    assert_int_equal(done.failed, 0);
    wait_inferred(p, "c", 3);
    wait_inferred(p, "d", 3);
    assert_ok(om_pipeline_row(p, "a", &row));
    assert_int_equal(row.status.index, 0);
    assert_ok(om_pipeline_row(p, "b", &row));
    assert_true(row.status.index == 1 && row.fps == 2);
    assert_ok(om_pipeline_row(p, "c", &row));
    assert_int_equal(row.status.width, 80);
    assert_ok(om_pipeline_row(p, "by-hand", &row)); /* no list's */
    assert_ok(om_config_init(&c));
    add_to(&c, ENDLESS, "by-hand", "-1");
    assert_int_equal(om_pipeline_reload(p, &c, &done), OM_ERR_ARG);
    om_config_fini(&c);
    wait_streams(p, 5);
    stop(p);
    om_pipeline_destroy(p);
}

/* What was mended meanwhile need not be taken out of the list and put in again. */
static void a_reload_tries_again_what_failed(void **state)
{
    seen s;
    om_config c;
    om_reload done;
    om_stream_row row;
    om_pipeline *p = make(&s, NULL);
    assert_ok(om_pipeline_add_stream(p, "/nowhere/at-all.mp4", "lost"));
    assert_ok(live(p, "a"));
    assert_ok(om_pipeline_start(p));
    wait_failed(p, "lost", &row);
    assert_ok(om_config_init(&c));
    assert_ok(om_config_add_stream(&c, "/nowhere/at-all.mp4", "lost"));
    add_to(&c, ENDLESS, "a", "-1");
    assert_ok(om_pipeline_reload(p, &c, &done));
    om_config_fini(&c);
    assert_true(done.added == 1 && done.removed == 1 && !done.changed);
    assert_ok(om_pipeline_row(p, "lost", &row));
    assert_int_equal(row.status.index, 2);
    assert_ok(om_pipeline_row(p, "a", &row));
    assert_int_equal(row.status.index, 1);
    om_pipeline_stop(p);
    om_pipeline_wait(p, 30000); /* with the failure of the first */
    om_pipeline_destroy(p);
}

/* Streams that nobody could serve in full: the bound holds all the same, and the important one is spared. */
static void the_policy_holds_the_bound_under_load(void **state)
{
    seen s;
    char *text;
    om_json_value *v;
    om_stream_row row;
    /* 4 streams of 20 frames a second, 25 ms each: twice what there is. */
    om_pipeline *p = make(
        &s, (const char *const[]){"device", "null:25000", "in-flight", "1", "latency-bound-ms", "60", NULL});
    assert_ok(om_pipeline_start(p));
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof(name), "s%d", i);
        assert_ok(om_pipeline_add_stream_with(
            p, "pattern:64x48@20:frames=0", name,
            (const char *const[]){"live", "yes", "priority", i ? "0" : "5", NULL}));
    }
    int64_t end = PATIENCE;
    bool policed = false;
    while (!policed) {
        nap();
        assert_true(om_now_ns() < end);
        assert_ok(om_pipeline_row(p, "s1", &row));
        policed = strcmp(row.economy, "none") && strcmp(row.economy, "loop-filter") &&
                  strcmp(row.economy, "references");
    }
    assert_ok(om_pipeline_row(p, "s0", &row));
    assert_true(!strcmp(row.economy, "none") || !strcmp(row.economy, "loop-filter") ||
                !strcmp(row.economy, "references"));
    assert_ok(om_pipeline_report(p, &text));
    assert_ok(om_json_parse(text, strlen(text), &v));
    const om_json_value *policy = om_json_get(v, "policy");
    assert_true(om_json_get(policy, "down")->num >= 4 && om_json_get(policy, "steps")->n >= 4);
    om_json_free(v);
    om_free_string(text);
    /* With nobody left to ask for less, those who come next begin with everything. */
    for (int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof(name), "s%d", i);
        assert_ok(om_pipeline_remove_stream(p, name));
    }
    wait_streams(p, 0);
    for (bool asked = true; asked; nap()) {
        om_str words = {0};
        om_pipeline_policy_text(p, &words);
        asked = words.len > 0;
        om_str_fini(&words);
        assert_true(om_now_ns() < end);
    }
    stop(p);
    om_pipeline_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pause_stops_one_stream_alone),
        cmocka_unit_test(a_running_stream_can_be_tuned),
        cmocka_unit_test(a_stream_can_be_renamed_before_the_start),
        cmocka_unit_test(long_names_are_cut_between_letters),
        cmocka_unit_test(a_stream_that_cannot_be_opened_is_its_own_trouble),
        cmocka_unit_test(a_reload_touches_what_differs_alone),
        cmocka_unit_test(a_reload_tries_again_what_failed),
        cmocka_unit_test(the_policy_holds_the_bound_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
