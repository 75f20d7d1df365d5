/* The bench room without pipelines: ladders, limits, verdicts, trends. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/option.h"
#include "bench/trial.h"
#include "omma/error.h"

static void assert_near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9)) fail_msg("got %.12g, want %.12g", got, want);
}

static om_bench_options options(void)
{
    om_bench_options o;
    assert_int_equal(om_options_init(om_bench_option_table, &o), OM_OK);
    return o;
}

static void ladders_rise(void **state)
{
    om_bench_rungs l;
    assert_int_equal(om_bench_rungs_parse("1,10,30,50,70,...", &l), OM_OK);
    assert_true(l.endless);
    static const int want[] = {1, 10, 30, 50, 70, 90, 110, 130, 150, 170, 191};
    int at = 0;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        at = om_bench_rungs_next(&l, at, 1000);
        assert_int_equal(at, want[i]);
    }
    assert_int_equal(om_bench_rungs_next(&l, 90, 100), 100);
    assert_int_equal(om_bench_rungs_next(&l, 100, 100), 0);
    assert_int_equal(om_bench_rungs_parse("2,8", &l), OM_OK);
    assert_false(l.endless);
    assert_int_equal(om_bench_rungs_next(&l, 8, 1000), 0);
    assert_int_equal(om_bench_rungs_parse("4,...", &l), OM_OK);
    assert_int_equal(om_bench_rungs_next(&l, 4, 1000), 8);
    static const char *const bad[] = {"",    "...", "0",  "1,1",     "3,2",       "1,",
                                      "1,x", "1..", "-1", "1,10,..", "9999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(om_bench_rungs_parse(bad[i], &l), OM_ERR_ARG);
}

static om_rung good_rung(void)
{
    return (om_rung){.streams = 30,
                     .target = 5,
                     .seconds = 10,
                     .inferred = 1500,
                     .fps_min = 4.9,
                     .fps_median = 5,
                     .mean_ms = 50,
                     .p99_ms = 150,
                     .drop_percent = 0,
                     .cpu_percent = 70,
                     .gpu_percent = NAN,
                     .gpu_memory_mb = NAN,
                     .network_mbit = 100,
                     .books = true};
}

static om_outcome outcome(const om_bench_result *r, om_limit l)
{
    for (int i = 0; i < r->n_verdicts; i++)
        if (r->verdicts[i].limit == l) return r->verdicts[i].outcome;
    fail_msg("no verdict on %s", om_limit_infos[l].title);
    return OM_FAILED;
}

static void rungs_break(void **state)
{
    om_bench_options o = options();
    om_rung r = good_rung();
    om_rung_judge(&o, &r);
    assert_true(r.carried);
    struct {
        double *value, bad;
        const char *why;
    } breaks[] = {{&r.fps_min, 4.49, "fps 4.49, not >= 4.5"},
                  {&r.mean_ms, 200, "mean 200 ms, not < 200"},
                  {&r.drop_percent, 2, "lost 2%, not < 2"},
                  {&r.gpu_memory_mb, 22 * 1024, "GPU memory 22 GB, not < 22"}};
    for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
        r = good_rung();
        *breaks[i].value = breaks[i].bad;
        om_rung_judge(&o, &r);
        assert_false(r.carried);
        assert_string_equal(r.why, breaks[i].why);
    }
    r = good_rung();
    r.fps_min = 4.5; /* at the limit is within it */
    om_rung_judge(&o, &r);
    assert_true(r.carried);
    r.target = 4; /* a slow clip */
    r.fps_min = 3.6;
    om_rung_judge(&o, &r);
    assert_true(r.carried);
    o.max_p99 = 100;
    om_rung_judge(&o, &r);
    assert_false(r.carried);
    r = good_rung();
    r.failed = 2;
    snprintf(r.error, sizeof r.error, "gone");
    om_rung_judge(&o, &r);
    assert_string_equal(r.why, "2 of 30 streams failed: gone");
    r = good_rung();
    r.books = false;
    om_rung_judge(&o, &r);
    assert_false(r.carried);
    om_options_fini(om_bench_option_table, &o);
}

static void unmeasured_is_never_passed(void **state)
{
    om_bench_options o = options();
    om_bench_result r = {0};
    om_rung rung = good_rung();
    om_rung_judge(&o, &rung);
    assert_int_equal(om_rung_add(&r, &rung), OM_OK);
    snprintf(r.accuracy.why, sizeof r.accuracy.why, "no --reference");
    om_bench_judge(&o, &r);
    assert_int_equal(outcome(&r, OM_LIMIT_FPS), OM_PASSED);
    assert_int_equal(outcome(&r, OM_LIMIT_ACCURACY), OM_NOT_MEASURED);
    assert_int_equal(outcome(&r, OM_LIMIT_GPU_MEMORY), OM_NOT_MEASURED);
    assert_int_equal(outcome(&r, OM_LIMIT_CPU), OM_FAILED); /* advised alone */
    assert_false(om_bench_failed(&o, &r));
    o.strict = true;
    assert_true(om_bench_failed(&o, &r));
    o.strict = false;
    r.accuracy.measured = true;
    r.accuracy.agreement.ap50 = 0.9499;
    om_bench_judge(&o, &r);
    assert_int_equal(outcome(&r, OM_LIMIT_ACCURACY), OM_FAILED);
    assert_true(om_bench_failed(&o, &r));
    o.min_accuracy = 0; /* no limit, no row */
    om_bench_judge(&o, &r);
    assert_false(om_bench_failed(&o, &r));
    for (int i = 0; i < r.n_verdicts; i++) assert_int_not_equal(r.verdicts[i].limit, OM_LIMIT_ACCURACY);
    om_bench_result_fini(&r);
    om_options_fini(om_bench_option_table, &o);
}

static void the_right_rung_is_judged(void **state)
{
    om_bench_options o = options();
    om_bench_result r = {0};
    static const int streams[] = {1, 10, 30, 20, 15};
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        om_rung rung = good_rung();
        rung.streams = streams[i];
        if (streams[i] > 15) rung.mean_ms = 400;
        om_rung_judge(&o, &rung);
        assert_int_equal(om_rung_add(&r, &rung), OM_OK);
    }
    om_bench_judge(&o, &r);
    assert_int_equal(r.judged->streams, 15);
    assert_false(om_bench_failed(&o, &r));
    o.streams = 20;
    om_bench_judge(&o, &r);
    assert_int_equal(r.judged->streams, 20);
    assert_true(om_bench_failed(&o, &r));
    om_bench_result_fini(&r);
    om_options_fini(om_bench_option_table, &o);
}

static void fit(const double *x, const double *y, size_t n, double allowed, om_trend *out)
{
    assert_int_equal(om_trend_fit(x, y, n, out), OM_OK);
    om_trend_allow(out, allowed);
}

/* The slope is the median of numpy over all pairs; Mann-Kendall's S and variance by hand. */
static void trends_are_theil_and_sen(void **state)
{
    static const double x[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    static const double y[] = {1, 3, 2, 5, 4, 60, 6, 8, 7, 9}; /* one leap */
    om_trend t;
    fit(x, y, 10, 2, &t);
    assert_near(t.slope, 5.0 / 6);
    assert_near(t.rise, 7.5);
    assert_near(t.median, 5.5);
    /* S = 45 pairs less twice the 7 that fall; variance 10*9*25/18 */
    assert_near(t.z, (31 - 1) / sqrt(125.0));
    assert_true(t.rising);
    fit(x, y, 10, 8, &t);
    assert_false(t.rising); /* allowed */
}

static void flat_figures_are_flat(void **state)
{
    double x[200], y[200];
    om_trend t;
    for (int i = 0; i < 200; i++) {
        x[i] = i;
        y[i] = 100 + (i * 7919 % 13); /* noise without a trend */
    }
    fit(x, y, 200, 0.5, &t);
    assert_false(t.rising);
    for (int i = 0; i < 200; i++) y[i] = 21;
    fit(x, y, 200, 0.5, &t);
    assert_near(t.slope, 0);
    assert_near(t.z, 0);
    for (int i = 0; i < 200; i++) y[i] = 21 + i / 40; /* a handle every 40 looks */
    fit(x, y, 200, 0.5, &t);
    assert_true(t.rising);
    for (int i = 0; i < 200; i++) y[i] = 21 - i / 40;
    fit(x, y, 200, 0.5, &t);
    assert_false(t.rising);
    for (int i = 0; i < 200; i++) y[i] = i % 30 ? NAN : 1;
    fit(x, y, 200, 0.5, &t);
    assert_true(isnan(t.slope)); /* seven values tell nothing */
    om_mem_fail_after(0);
    assert_int_equal(om_trend_fit(x, y, 200, &t), OM_ERR_NOMEM);
    om_mem_fail_after(-1);
}

static void what_others_take_is_told(void **state)
{
    double cores = (double)sysconf(_SC_NPROCESSORS_ONLN);
    om_trial t = {.first = {.ns = OM_NS_PER_SEC, .cpu_ns = 5, .machine_ns = 7},
                  .last = {.ns = 11 * OM_NS_PER_SEC, .inferred = 1}};
    om_rung r;
    t.last.cpu_ns = t.first.cpu_ns + 2 * OM_NS_PER_SEC;
    t.last.machine_ns = t.first.machine_ns + 3 * OM_NS_PER_SEC;
    assert_int_equal(om_trial_rung(&t, 5, &r), OM_OK);
    assert_near(r.others_percent, 10 / cores);
    t.last.machine_ns = t.first.machine_ns + 2 * OM_NS_PER_SEC - 10 * OM_NS_PER_MS; /* ticks are coarse */
    assert_int_equal(om_trial_rung(&t, 5, &r), OM_OK);
    assert_near(r.others_percent, 0);
    t.first.machine_ns = -1;
    assert_int_equal(om_trial_rung(&t, 5, &r), OM_OK);
    assert_true(isnan(r.others_percent));

    int64_t busy = om_machine_busy_ns(), cpu = om_process_cpu_ns();
    if (busy < 0) skip();
    while (om_process_cpu_ns() < cpu + 100 * OM_NS_PER_MS) {
    }
    assert_true(om_machine_busy_ns() >= busy + 70 * OM_NS_PER_MS); /* in ticks of 10 ms */
}

static void wrong_options_are_told(void **state)
{
    static const struct {
        const char *set[3][2];
        const char *says;
    } bad[] = {
        {{{"soak", "1"}}, "--streams"},
        {{{"faults", "3"}}, "--soak"},
        {{{"soak", "1"}, {"streams", "2"}, {"compare-batching", "yes"}}, "one at a time"},
        {{{"soak", "0.001"}, {"streams", "2"}, {"sample-period", "1"}}, "ten of them"},
        {{{"compare-batching", "yes"}, {"input", "rtsp://x/y"}}, "no cameras"},
        {{{"sample", "x.mp4"}}, "--reference"},
        {{{"truth", "x.json"}}, "--sample"},
        {{{"truth", "x.json"}, {"sample", "x"}, {"reference", "y"}}, "no --reference"},
        {{{"ladder", "5,4"}}, "rising"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        om_bench_options o = options();
        assert_int_equal(om_option_set(om_bench_option_table, &o, "input", "pattern:"), OM_OK);
        for (size_t k = 0; k < 3 && bad[i].set[k][0]; k++)
            assert_int_equal(om_option_set(om_bench_option_table, &o, bad[i].set[k][0], bad[i].set[k][1]),
                             OM_OK);
        assert_int_equal(om_bench_check(&o), OM_ERR_ARG);
        if (!strstr(om_error_message(), bad[i].says))
            fail_msg("'%s' in: %s", bad[i].says, om_error_message());
        om_options_fini(om_bench_option_table, &o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ladders_rise),
        cmocka_unit_test(rungs_break),
        cmocka_unit_test(unmeasured_is_never_passed),
        cmocka_unit_test(the_right_rung_is_judged),
        cmocka_unit_test(trends_are_theil_and_sen),
        cmocka_unit_test(flat_figures_are_flat),
        cmocka_unit_test(what_others_take_is_told),
        cmocka_unit_test(wrong_options_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
