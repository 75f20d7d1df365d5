/* The histogram against exact quantiles. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hist.h"

#define COUNT 20000

static om_hist h, other;
static int64_t values[COUNT];

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t exact(double q)
{
    double rank = ceil(q * COUNT);
    return values[rank < 1 ? 0 : (size_t)rank - 1];
}

static void assert_within(int64_t got, int64_t want)
{
    double error = fabs((double)(got - want)) / (double)want;
    if (error >= 0.02) fail_msg("got %lld, want %lld", (long long)got, (long long)want);
}

static void quantiles_are_within_two_percent(void **state)
{
    static const double qs[] = {0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1};
    uint64_t seed = 88172645463325252ull;
    memset(&h, 0, sizeof h);
    for (int i = 0; i < COUNT; i++) {
        /* evenly spread over the magnitudes from 1 us to 1 h */
        double u = (double)(next_random(&seed) >> 11) * 0x1p-53;
        values[i] = (int64_t)(1e3 * pow(3.6e9, u));
        om_hist_add(&h, values[i]);
    }
    qsort(values, COUNT, sizeof values[0], ascending);
    for (size_t i = 0; i < sizeof qs / sizeof qs[0]; i++)
        assert_within(om_hist_quantile(&h, qs[i]), exact(qs[i]));
    assert_int_equal(om_hist_quantile(&h, 0), values[0]);
    assert_int_equal(om_hist_quantile(&h, 1), values[COUNT - 1]);
}

static void what_came_since_is_told_apart(void **state)
{
    om_hist then, since;
    memset(&h, 0, sizeof h);
    for (int i = 0; i < 100; i++) om_hist_add(&h, 900000000);
    then = h;
    om_hist_since(&h, &then, &since);
    assert_int_equal(since.count, 0);
    assert_int_equal(om_hist_quantile(&since, 0.99), 0);
    for (int i = 1; i <= 100; i++) om_hist_add(&h, i * 1000000);
    om_hist_since(&h, &then, &since);
    assert_int_equal(since.count, 100);
    assert_within((int64_t)om_hist_mean(&since), 50500000);
    assert_within(om_hist_quantile(&since, 0.5), 50000000);
    assert_within(since.max_ns, 100000000); /* not the 900 ms of before */
    assert_within(since.min_ns, 1000000);
}

static void every_magnitude_is_within_two_percent(void **state)
{
    int64_t last = 0;
    for (double v = 1000; v < 3.6e12; v *= 1.003) {
        memset(&h, 0, sizeof h);
        /* wide minimum and maximum, so that they do not clamp the answer */
        om_hist_add(&h, 1);
        om_hist_add(&h, (int64_t)v);
        om_hist_add(&h, INT64_C(1) << 43);
        int64_t got = om_hist_quantile(&h, 0.5);
        assert_within(got, (int64_t)v);
        assert_true(got >= last);
        last = got;
    }
}

static void edges(void **state)
{
    memset(&h, 0, sizeof h);
    assert_int_equal(om_hist_quantile(&h, 0.5), 0);
    assert_true(om_hist_mean(&h) == 0);
    om_hist_add(&h, -5);
    assert_int_equal(h.min_ns, 0);
    assert_int_equal(h.max_ns, 0);
    om_hist_add(&h, 1234567);
    assert_within(om_hist_quantile(&h, 0.99), 1234567);
    assert_true(om_hist_quantile(&h, 0.99) <= h.max_ns);
    assert_true(om_hist_mean(&h) == 1234567 / 2.0);
    om_hist_add(&h, INT64_MAX / 4);
    assert_true(om_hist_quantile(&h, 0.99) <= h.max_ns);
    assert_int_equal(om_hist_quantile(&h, 2), INT64_MAX / 4);
    assert_int_equal(om_hist_quantile(&h, -1), 0);
    assert_int_equal(om_hist_quantile(&h, NAN), 0);
    assert_int_equal(h.count, 3);
}

static void merging_equals_adding(void **state)
{
    static om_hist both;
    uint64_t seed = 7;
    memset(&h, 0, sizeof h);
    memset(&other, 0, sizeof other);
    memset(&both, 0, sizeof both);
    om_hist_merge(&h, &other);
    assert_int_equal(h.count, 0);
    for (int i = 0; i < 1000; i++) {
        int64_t v = (int64_t)(next_random(&seed) % 100000000);
        om_hist_add(i % 3 ? &h : &other, v);
        om_hist_add(&both, v);
    }
    om_hist_merge(&h, &other);
    assert_memory_equal(&h, &both, sizeof h);
    memset(&other, 0, sizeof other);
    om_hist_merge(&other, &both);
    assert_memory_equal(&other, &both, sizeof other);
}

static void full_buckets_stay_full(void **state)
{
    memset(&h, 0, sizeof h);
    om_hist_add(&h, 7);
    h.bucket[7] = UINT32_MAX;
    om_hist_add(&h, 7);
    assert_int_equal(h.bucket[7], UINT32_MAX);
    om_hist_merge(&h, &h);
    assert_int_equal(h.bucket[7], UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_within_two_percent),
        cmocka_unit_test(what_came_since_is_told_apart),
        cmocka_unit_test(every_magnitude_is_within_two_percent),
        cmocka_unit_test(edges),
        cmocka_unit_test(merging_equals_adding),
        cmocka_unit_test(full_buckets_stay_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
