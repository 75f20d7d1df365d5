/* What a profiled run keeps: stages' histograms, batches over time, who used the processor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "pipeline/census.h"
#include "pipeline/stages.h"

static om_json_value *parsed(om_str *text)
{
    om_json_value *v;
    if (om_json_parse(om_str_get(text), text->len, &v))
        fail_msg("%s: %s", om_error_message(), om_str_get(text));
    om_str_fini(text);
    return v;
}

static double number(const om_json_value *o, const char *key)
{
    const om_json_value *v = om_json_get(o, key);
    if (!v || v->type != OM_JSON_NUM) fail_msg("no number '%s'", key);
    return v->num;
}

static void test_stages(void **state)
{
    om_stages *s;
    om_hist all[OM_STAGE_COUNT] = {0};
    om_str text = {0};
    om_json j;
    assert_int_equal(om_stages_create(&s), OM_OK);
    for (int i = 1; i <= 1000; i++) om_stages_note(s, OM_STAGE_INFER, i * 10000);
    om_stages_note(NULL, OM_STAGE_INFER, 1);
    om_stages_merge(all, s);
    om_stages_merge(all, s);
    om_stages_merge(all, NULL);
    assert_int_equal(all[OM_STAGE_INFER].count, 2000);
    assert_int_equal(all[OM_STAGE_SINK].count, 0);
    om_json_init(&j, &text, 0);
    om_stage_json(OM_STAGE_INFER, &all[OM_STAGE_INFER], 48, &j);
    om_json_value *v = parsed(&text);
    const om_json_value *bars = om_json_get(v, "histogram");
    double n = 0, last = 0;
    for (size_t i = 0; i < bars->n; i++) {
        assert_true(bars->children[i].children[0].num > last);
        last = bars->children[i].children[0].num;
        n += bars->children[i].children[1].num;
    }
    assert_true(n == 2000);
    assert_true(number(v, "p50_ms") > 4.8 && number(v, "p50_ms") < 5.2);
    om_json_free(v);
    om_stages_destroy(s);
    om_stages_destroy(NULL);
}

static void test_below(void **state)
{
    om_hist h = {0};
    for (int i = 0; i < 100; i++) om_hist_add(&h, i * OM_NS_PER_MS);
    assert_int_equal(om_hist_below(&h, 0), 0);
    assert_int_equal(om_hist_below(&h, INT64_MAX), 100);
    uint64_t half = om_hist_below(&h, 50 * OM_NS_PER_MS);
    assert_true(half >= 48 && half <= 52);
}

static double sum(const om_json_value *list)
{
    double all = 0;
    for (size_t i = 0; i < list->n; i++) all += list->children[i].num;
    return all;
}

static void test_batches(void **state)
{
    om_batch_log *l;
    om_str text = {0};
    om_json j;
    assert_int_equal(om_batch_log_create(&l), OM_OK);
    om_batch_log_add(NULL, 1, 1, 1, 1);
    om_batch_log_add(l, 4, 2, 1, 400);
    for (int i = 0; i < 10; i++) {
        l->start_ns -= 20 * OM_NS_PER_SEC; /* as if so much later */
        om_batch_log_add(l, 2, 0, 1, 200);
        om_batch_log_done(l, 3 * OM_NS_PER_MS, 50);
    }
    assert_true(l->n_steps <= OM_TIMELINE_STEPS && l->step_ns * OM_TIMELINE_STEPS > 200 * OM_NS_PER_SEC);
    om_json_init(&j, &text, 0);
    om_json_begin_object(&j);
    om_batch_log_json(l, &j);
    om_json_end_object(&j);
    om_json_value *v = parsed(&text);
    const om_json_value *timeline = om_json_get(v, "timeline"), *sizes = om_json_get(v, "batch_sizes");
    assert_true(number(v, "batches") == 11);
    assert_true(number(sizes, "2") == 10 && number(sizes, "4") == 1);
    double frames = sum(om_json_get(timeline, "fps")) * number(timeline, "step_ms") / 1e3;
    assert_true(frames > 23.9 && frames < 24.1);
    assert_true(number(om_json_get(v, "copies"), "input_bytes") == 2400);
    assert_true(number(om_json_get(v, "copies"), "output_bytes") == 500);
    om_json_free(v);
    om_batch_log_destroy(l);
    om_batch_log_destroy(NULL);
}

static void test_census(void **state)
{
    om_census *c;
    om_str text = {0};
    om_json j;
    om_census_take(NULL);
    om_census_restart(NULL);
    assert_int_equal(om_census_create(&c), OM_OK);
    for (int64_t end = om_thread_cpu_ns() + 60 * OM_NS_PER_MS; om_thread_cpu_ns() < end;) continue;
    om_json_init(&j, &text, 0);
    om_json_begin_object(&j);
    om_census_json(c, 10, &j);
    om_json_end_object(&j);
    om_json_value *v = parsed(&text);
    const om_json_value *threads = om_json_get(v, "threads");
    assert_true(threads->n >= 1);
    assert_true(number(&threads->children[0], "cpu_s") > .03);
    assert_true(number(v, "cpu_seconds") >= .055 && number(v, "cores") >= 1);
    om_json_free(v);
    om_census_destroy(c);
    om_census_destroy(NULL);
    int fd = om_census_open_thread();
    assert_true(om_census_waited_ns(fd) >= 0);
    if (fd >= 0) close(fd);
    assert_int_equal(om_census_waited_ns(-1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stages), cmocka_unit_test(test_below),
                                       cmocka_unit_test(test_batches), cmocka_unit_test(test_census)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
